//! The rules of `direct`, one test each, in bytes.

use centrala_core::exchange::Gone;
use centrala_core::host::Reply;
use centrala_core::limits::{Limits, Registration};
use centrala_core::request::Target;
use centrala_tests::lab::{Given, Lab, ROOMY, Sizes, frame};
use centrala_tests::with_io;

fn response(id: u32, src: &str, dst: &str, code: &str) -> Vec<u8> {
    frame(1, id, src, dst, code.as_bytes())
}

#[test]
fn the_documents_example_byte_by_byte() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.connect(), lab.direct("bartek"));
    let hello = b"\x00\x18\x00\x01\x00\x00\x00\x00anna\0\0\0\0\0\0\0\0\0\0\0\0";
    lab.send(anna, hello);
    assert_eq!(lab.got(anna), [[0u8; 0]; 0], "a hello has no answer");
    let message = b"\x00\x1f\x00\x00\x00\x00\x00\x07anna\0\0\0\0bartek\0\0cze\xc5\x9b\xc4\x87";
    lab.send(anna, message);
    assert_eq!(lab.got(bartek), [message]);
    let answer = b"\x00\x1b\x00\x01\x00\x00\x00\x07bartek\0\0anna\0\0\0\x00200";
    lab.send(bartek, answer);
    assert_eq!(lab.got(anna), [answer]);
    assert_eq!(lab.exchange.usage().entries + lab.exchange.usage().messages, 0);

    lab.send(anna, message);
    lab.wait(2_999);
    assert_eq!(lab.got(anna), [[0u8; 0]; 0]);
    lab.wait(1);
    assert_eq!(lab.got(anna), [b"\x00\x1b\x00\x01\x00\x00\x00\x07bartek\0\0anna\0\0\0\x00300"]);
    assert_eq!(lab.desk.closed, [bartek], "who does not answer counts as disconnected");
    assert_eq!(lab.receive(bartek, answer), Err(Gone));

    let bartek = lab.direct("bartek");
    let mail = b"\x00\x1f\x00\x02\x00\x00\x00\x07anna\0\0\0\0bartek\0\0cze\xc5\x9b\xc4\x87";
    assert_eq!(lab.given(bartek), [Given::Mail(mail.to_vec(), 1)]);
    with_io!(lab, taken(bartek, 1));
    assert_eq!(lab.shelf.records[2..], ["mail user 1 from 2 group 0: cześć", "settled user 1"]);
    assert_eq!(lab.exchange.usage().entries, 0);
}

#[test]
fn a_frame_may_be_split_anywhere_and_many_may_come_at_once() {
    let stream = [
        frame(1, 0, "anna", "", b""),
        frame(0, 7, "anna", "bartek", b"one"),
        frame(0, 8, "anna", "bartek", &[b'x'; 1000]),
        frame(0, 9, "anna", "nobody", b""),
    ]
    .concat();
    for step in [1, 2, 3, 23, 24, 25, 100, stream.len()] {
        let mut lab = Lab::default();
        let (anna, bartek) = (lab.connect(), lab.direct("bartek"));
        let (mut kept, mut sent) = (Vec::new(), 0);
        for part in stream.chunks(step) {
            kept.extend_from_slice(part);
            let used = lab.receive(anna, &kept).unwrap();
            kept.drain(..used);
            sent += used;
        }
        assert_eq!(sent, stream.len());
        let got = lab.got(bartek);
        assert_eq!(got.concat(), stream[24..stream.len() - 24], "forwarded as they are");
        assert_eq!(lab.got(anna), [response(9, "", "anna", "404")]);
    }
}

#[test]
fn the_first_frame_binds_and_a_later_one_from_another_is_401() {
    let mut lab = Lab::default();
    let anna = lab.connect();
    lab.send(anna, &frame(0, 0, "anna", "anna", b"to myself"));
    assert_eq!(lab.exchange.user_of(anna).unwrap().name, b"anna");
    assert_eq!(lab.got(anna), [frame(0, 0, "anna", "anna", b"to myself")]);
    let other = frame(0, 1, "celina", "anna", b"");
    assert_eq!(lab.receive(anna, &other), Err(Gone));
    assert_eq!(lab.got(anna), [response(1, "", "anna", "401")]);
    assert_eq!(lab.desk.closed, [anna]);
    assert!(lab.exchange.find_user(Target::UserName(b"celina")).is_none());
}

#[test]
fn what_is_malformed_is_400_and_closes() {
    let mut long = frame(0, 5, "anna", "x", b"");
    long[..2].copy_from_slice(&1025u16.to_be_bytes());
    let mut short = frame(0, 5, "anna", "x", b"");
    short[..2].copy_from_slice(&23u16.to_be_bytes());
    let cases = [
        (long, 5),
        (short, 5),
        (vec![0, 0], 0),
        (frame(3, 6, "anna", "x", b""), 6),
        (frame(0xffff, 7, "anna", "x", b""), 7),
        (frame(0, 8, "", "x", b""), 8),
        (frame(1, 9, "#anna", "", b""), 9),
        (frame(1, 9, " anna", "", b""), 9),
    ];
    for (bytes, id) in cases {
        let mut lab = Lab::default();
        let link = lab.connect();
        assert_eq!(lab.receive(link, &bytes), Err(Gone), "{bytes:?}");
        assert_eq!(lab.got(link), [response(id, "", "", "400")], "{bytes:?}");
        assert_eq!(lab.desk.closed, [link]);
        assert_eq!(lab.exchange.usage().sessions, 0);
    }
}

#[test]
fn a_name_has_one_connection_and_the_second_is_409() {
    let mut lab = Lab::default();
    let first = lab.direct("anna");
    let second = lab.connect();
    assert_eq!(lab.receive(second, &frame(1, 3, "anna", "", b"")), Err(Gone));
    assert_eq!(lab.got(second), [response(3, "", "", "409")]);
    lab.disconnect(first);
    lab.direct("anna");
}

#[test]
fn a_message_to_an_offline_user_is_300_at_once_and_comes_as_mail_in_order() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    lab.disconnect(bartek);
    for id in 0..3 {
        lab.send(anna, &frame(2, id, "anna", "bartek", &[b'a' + id as u8]));
    }
    let codes: Vec<_> = (0..3).map(|id| response(id, "bartek", "anna", "300")).collect();
    assert_eq!(lab.got(anna), codes, "a type 2 from a client counts as type 0");
    let bartek = lab.direct("bartek");
    lab.send(anna, &frame(0, 3, "anna", "bartek", b"newer"));
    let want: Vec<_> =
        (0..3).map(|id| frame(2, id, "anna", "bartek", &[b'a' + id as u8])).collect();
    assert_eq!(lab.got(bartek), [want, vec![frame(0, 3, "anna", "bartek", b"newer")]].concat());
}

#[test]
fn mail_stays_until_the_transport_has_taken_it() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    lab.disconnect(bartek);
    for id in 0..4 {
        lab.send(anna, &frame(0, id, "anna", "bartek", b"mail"));
    }
    let bartek = lab.direct("bartek");
    assert_eq!(lab.got(bartek).len(), 4);
    with_io!(lab, taken(bartek, 2));
    lab.disconnect(bartek);
    let bartek = lab.direct("bartek");
    let again: Vec<_> = (2..4).map(|id| frame(2, id, "anna", "bartek", b"mail")).collect();
    assert_eq!(lab.got(bartek), again, "what was not acknowledged comes again");
    with_io!(lab, not_taken(bartek, 2));
    lab.room(bartek, 1 << 20);
    assert_eq!(lab.given(bartek), [Given::Mail(again[1].clone(), 3)]);
    with_io!(lab, taken(bartek, 3));
    assert_eq!(lab.exchange.usage().entries, 0);
    assert_eq!(lab.shelf.records.iter().filter(|r| *r == "settled user 2").count(), 4);
}

#[test]
fn a_late_or_stray_200_is_dropped() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    lab.send(bartek, &response(7, "bartek", "anna", "200"));
    lab.send(anna, &frame(0, 7, "anna", "bartek", b""));
    for stray in ["300", "201", ""] {
        lab.send(bartek, &response(7, "bartek", "anna", stray));
    }
    lab.send(bartek, &response(8, "bartek", "anna", "200"));
    lab.send(bartek, &response(7, "bartek", "bartek", "200"));
    lab.send(bartek, &response(7, "bartek", "nobody", "200"));
    assert_eq!(lab.got(anna), [[0u8; 0]; 0]);
    lab.send(bartek, &response(7, "bartek", "anna", "200"));
    lab.send(bartek, &response(7, "bartek", "anna", "200"));
    assert_eq!(lab.got(anna), [response(7, "bartek", "anna", "200")]);
    assert_eq!(lab.exchange.counters().dropped, 7);
}

#[test]
fn receipts_match_sender_and_id_and_the_oldest_first() {
    let mut lab = Lab::default();
    let (anna, bartek, celina) = (lab.direct("anna"), lab.direct("bartek"), lab.direct("celina"));
    lab.send(anna, &frame(0, 1, "anna", "bartek", b""));
    lab.send(celina, &frame(0, 1, "celina", "bartek", b""));
    lab.wait(100);
    lab.send(anna, &frame(0, 1, "anna", "bartek", b"the id is not checked"));
    lab.send(bartek, &response(1, "bartek", "anna", "200"));
    assert_eq!(lab.got(anna).len(), 1);
    assert_eq!(lab.got(celina).len(), 0);
    lab.send(bartek, &response(1, "bartek", "celina", "200"));
    assert_eq!(lab.got(celina).len(), 1);
    lab.wait(2_950);
    assert_eq!(lab.desk.closed, [], "the oldest was answered, the newer has 50 ms left");
    lab.wait(50);
    assert_eq!(lab.desk.closed, [bartek]);
}

#[test]
fn all_unanswered_frames_become_mail_when_the_connection_closes() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    for id in 0..3 {
        lab.send(anna, &frame(0, id, "anna", "bartek", &[b'a' + id as u8]));
    }
    lab.send(bartek, &response(1, "bartek", "anna", "200"));
    lab.disconnect(bartek);
    let told = [
        response(1, "bartek", "anna", "200"),
        response(0, "bartek", "anna", "300"),
        response(2, "bartek", "anna", "300"),
    ];
    assert_eq!(lab.got(anna), told);
    let bartek = lab.direct("bartek");
    let mail = [frame(2, 0, "anna", "bartek", b"a"), frame(2, 2, "anna", "bartek", b"c")];
    assert_eq!(lab.got(bartek), mail);
    assert_eq!(lab.exchange.poll_timeout(), None);
}

#[test]
fn a_connection_that_says_nothing_or_half_a_frame_is_closed_after_10_s() {
    let mut lab = Lab::default();
    let (silent, half, anna) = (lab.connect(), lab.connect(), lab.direct("anna"));
    let hello = frame(1, 0, "half", "", b"");
    assert_eq!(lab.receive(half, &hello[..23]), Ok(0));
    lab.wait(9_999);
    assert_eq!(lab.desk.closed, []);
    lab.wait(1);
    assert_eq!(lab.desk.closed, [silent, half]);
    assert_eq!(lab.receive(anna, &frame(0, 0, "anna", "x", b"")[..1]), Ok(0));
    lab.wait(9_000);
    lab.send(anna, &frame(0, 0, "anna", "x", b""));
    lab.wait(60_000);
    assert_eq!(lab.desk.closed.len(), 2, "a whole frame ends the wait");
    let two = [frame(0, 0, "anna", "x", b""), vec![0]].concat();
    assert_eq!(lab.receive(anna, &two), Ok(24));
    lab.wait(10_000);
    assert_eq!(lab.desk.closed, [silent, half, anna]);
}

#[test]
fn a_frame_longer_than_this_exchange_keeps_is_507_and_skipped() {
    let sizes = Sizes { message_length: 128, ..ROOMY };
    let mut lab = Lab::new(&sizes, Limits::new(1024));
    assert_eq!(lab.exchange.limits().message_length, 128, "what the arena has");
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    let long = frame(0, 1, "anna", "bartek", &[0; 129]);
    let fits = frame(0, 2, "anna", "bartek", &[b'x'; 128]);
    let mut kept = Vec::new();
    for part in [&long[..50], &long[50..100], &[&long[100..], &fits[..]].concat()] {
        kept.extend_from_slice(part);
        let used = lab.receive(anna, &kept).unwrap();
        kept.drain(..used);
        assert!(kept.len() < 153, "nothing of a skipped text is kept");
    }
    assert_eq!(lab.got(anna), [response(1, "", "anna", "507")]);
    assert_eq!(lab.got(bartek), [fits]);
}

#[test]
fn a_name_over_8_bytes_is_its_number_and_a_group_its_name_or_number() {
    let mut lab = Lab::default();
    let shelf = &mut lab.shelf;
    let long = lab.exchange.create_user(b"bartholomew", shelf).unwrap();
    let eight = lab.exchange.create_user(b"12345678", shelf).unwrap();
    let news = lab.exchange.create_group(b"news", 0, shelf).unwrap();
    let eights = lab.exchange.create_group(b"eightlen", 0, shelf).unwrap();
    for user in [long, eight] {
        lab.exchange.join(user, news, -1, shelf).unwrap();
        lab.exchange.join(user, eights, -1, shelf).unwrap();
    }
    let (long, eight) = (lab.direct("~1"), lab.direct("12345678"));
    lab.send(long, &frame(0, 7, "~1", "12345678", b"dm"));
    lab.send(long, &frame(0, 8, "~1", "#news", b"by name"));
    lab.send(long, &frame(0, 9, "~1", "#2", b"by number"));
    lab.send(eight, &frame(0, 7, "12345678", "~1", b"dm"));
    lab.send(eight, &frame(0, 8, "12345678", "#1", b"group"));
    let want = [
        frame(0, 7, "~1", "12345678", b"dm"),
        frame(0, 0, "~1", "#news", b"by name"),
        frame(0, 1, "~1", "#2", b"by number"),
        frame(1, 8, "#news", "12345678", b"200"),
    ];
    assert_eq!(lab.got(eight), want);
    let want = [
        frame(1, 8, "#news", "~1", b"200"),
        frame(1, 9, "#2", "~1", b"200"),
        frame(0, 7, "12345678", "~1", b"dm"),
        frame(0, 0, "12345678", "#news", b"group"),
    ];
    assert_eq!(lab.got(long), want);
    for (dst, id) in [("~0", 1), ("~3", 2), ("~x", 3), ("#3", 4), ("#none", 5), ("", 6)] {
        lab.send(long, &frame(0, id, "~1", dst, b""));
        assert_eq!(lab.got(long), [response(id, "", "~1", "404")], "{dst}");
    }
}

#[test]
fn a_group_message_is_kept_for_each_member_until_it_answers() {
    let mut lab = Lab::default();
    let group = lab.exchange.create_group(b"news", 0, &mut lab.shelf).unwrap();
    let links = ["anna", "bartek", "celina", "off"].map(|name| lab.direct(name));
    for user in 1..=4 {
        lab.exchange.join(user, group, -1, &mut lab.shelf).unwrap();
    }
    lab.disconnect(links[3]);
    lab.shelf.records.clear();
    lab.send(links[0], &frame(0, 5, "anna", "#news", b"hello"));
    assert_eq!(lab.desk.calls, 1, "encoded once, given once with all links");
    let refused = response(5, "", "anna", "507");
    let granted = response(5, "#news", "anna", "200");
    assert_eq!(lab.given(links[0]), [Given::Promise { granted, refused }]);
    let kept: Vec<_> =
        (2..=4).map(|user| format!("mail user {user} from 1 group 1: hello")).collect();
    assert_eq!(lab.shelf.records, kept, "promised at once, so kept at once");
    assert_eq!(lab.exchange.usage().messages, 1);
    assert_eq!(lab.got(links[1]), [frame(0, 0, "anna", "#news", b"hello")]);
    lab.send(links[1], &response(0, "bartek", "anna", "200"));
    assert_eq!(lab.got(links[0]), [[0u8; 0]; 0], "one 200, when the server has taken it");
    lab.wait(3_000);
    assert_eq!(lab.desk.closed, [links[2]]);
    assert_eq!(lab.got(links[0]), [[0u8; 0]; 0]);
    let celina = lab.direct("celina");
    assert_eq!(lab.got(celina), [frame(2, 0, "anna", "#news", b"hello")]);
    with_io!(lab, taken(celina, 1));
    lab.direct("off");
    assert_eq!(lab.shelf.records.len(), 3 + 2);
}

#[test]
fn a_password_is_asked_for_and_stops_the_link_until_it_is_answered() {
    let mut lab = Lab::default();
    let anna = lab.exchange.create_user(b"anna", &mut lab.shelf).unwrap();
    lab.exchange.set_password(anna, true).unwrap();
    let link = lab.connect();
    let two = [frame(1, 0, "anna", "", b"secret"), frame(0, 1, "anna", "x", b"")].concat();
    assert_eq!(lab.receive(link, &two), Ok(30));
    assert_eq!(lab.receive(link, &two[30..]), Ok(0), "the host keeps the rest");
    let (token, user, password) = lab.desk.asked.pop().unwrap();
    assert_eq!((user, &password[..]), (Some(anna), &b"secret"[..]));
    assert_eq!(with_io!(lab, answer_question(token, Reply::Verified(true))), Ok(link));
    assert_eq!(lab.receive(link, &two[30..]), Ok(24));
    assert_eq!(lab.got(link), [response(1, "", "anna", "404")]);
    assert_eq!(with_io!(lab, answer_question(token, Reply::Verified(true))), Err(Gone));

    let link = lab.connect();
    lab.send(link, &frame(1, 4, "anna", "", b"wrong"));
    let (token, ..) = lab.desk.asked.pop().unwrap();
    assert_eq!(with_io!(lab, answer_question(token, Reply::Verified(false))), Err(Gone));
    assert_eq!(lab.got(link), [response(4, "", "", "401")]);

    let link = lab.connect();
    assert_eq!(lab.receive(link, &frame(0, 2, "anna", "x", b"")), Err(Gone));
    assert_eq!(lab.got(link), [response(2, "", "", "401")], "no hello, no password");
}

#[test]
fn an_unknown_name_is_refused_where_registration_is_closed_and_slowed_where_it_is_open() {
    let closed = Limits { registration: Registration::Closed, ..Limits::new(1024) };
    let mut lab = Lab::new(&ROOMY, closed);
    let link = lab.connect();
    lab.send(link, &frame(1, 1, "anna", "", b""));
    assert_eq!(lab.got(link), [response(1, "", "", "404")]);
    lab.send(link, &frame(1, 2, "anna", "", b"secret"));
    let (token, user, _) = lab.desk.asked.pop().unwrap();
    assert_eq!(user, None, "asked for unknown names too, so that both take as long");
    assert_eq!(with_io!(lab, answer_question(token, Reply::Verified(false))), Ok(link));
    assert_eq!(lab.got(link), [response(2, "", "", "404")]);

    let mut lab = Lab::default();
    for i in 0..10 {
        lab.direct(&format!("u{i}"));
    }
    let link = lab.connect();
    lab.send(link, &frame(1, 1, "u10", "", b""));
    assert_eq!(lab.got(link), [response(1, "", "", "507")], "10 a minute");
    lab.wait(6_000);
    lab.send(link, &frame(1, 2, "u10", "", b""));
    assert_eq!(lab.exchange.user_of(link).unwrap().name, b"u10");
}

#[test]
fn a_failed_commit_turns_promises_into_refusals_and_a_full_store_refuses_at_once() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    lab.disconnect(bartek);
    lab.send(anna, &frame(0, 1, "anna", "bartek", b""));
    let granted = response(1, "bartek", "anna", "300");
    let refused = response(1, "", "anna", "507");
    assert_eq!(lab.given(anna), [Given::Promise { granted, refused }]);
    lab.shelf.full = true;
    lab.send(anna, &frame(0, 2, "anna", "bartek", b""));
    assert_eq!(lab.given(anna), [Given::Reply(response(2, "", "anna", "507"))]);
    assert_eq!((lab.exchange.usage().entries, lab.exchange.usage().messages), (1, 1));

    let bartek = lab.direct("bartek");
    lab.send(anna, &frame(0, 3, "anna", "bartek", b"live"));
    assert_eq!(lab.got(bartek).len(), 2, "live delivery goes on");
    lab.wait(3_000);
    assert_eq!(lab.got(anna), [response(3, "", "anna", "507")], "and 300 would be a lie");
}

#[test]
fn a_slow_receiver_gets_the_rest_in_order_of_priority_when_it_has_room() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    lab.room(bartek, 50);
    for id in 0..3 {
        lab.send(anna, &frame(0, id, "anna", "bartek", &[b'a' + id as u8; 20]));
    }
    assert_eq!(lab.got(bartek), [frame(0, 0, "anna", "bartek", &[b'a'; 20])]);
    lab.room(bartek, 43);
    lab.send(anna, &frame(0, 3, "anna", "bartek", b""));
    assert_eq!(lab.got(bartek), [[0u8; 0]; 0], "a short one does not overtake");
    lab.room(bartek, 1000);
    let rest = [
        frame(0, 1, "anna", "bartek", &[b'b'; 20]),
        frame(0, 2, "anna", "bartek", &[b'c'; 20]),
        frame(0, 3, "anna", "bartek", b""),
    ];
    assert_eq!(lab.got(bartek), rest);
    for id in 0..4 {
        lab.send(bartek, &response(id, "bartek", "anna", "200"));
    }
    assert_eq!(lab.got(anna).len(), 4);
    assert_eq!(lab.exchange.usage().entries, 0);
}
