//! The rules of `queues`, one test each, in the document's struct.

use centrala_core::dialect::queues::{Message, SIZE};
use centrala_core::exchange::Link;
use centrala_core::host::Reply;
use centrala_core::limits::{Limits, Registration};
use centrala_tests::lab::{Given, Lab, ROOMY, Sizes, frame, topic_request};
use centrala_tests::with_io;

fn request(kind: i64, text: &str, address: i32) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    Message { kind, text: text.as_bytes(), address, time: 77 }.emit(&mut bytes).unwrap();
    bytes
}

fn parsed(bytes: &[u8]) -> (i64, String, i32) {
    assert_eq!(bytes.len(), SIZE);
    let m = Message::new_checked(bytes).unwrap();
    (m.kind, String::from_utf8(m.text.to_vec()).unwrap(), m.address)
}

fn message(kind: i64, text: &str, address: i32) -> (i64, String, i32) {
    (kind, text.to_string(), address)
}

fn inbox(lab: &mut Lab, link: Link) -> Vec<(i64, String, i32)> {
    lab.got(link).iter().map(|bytes| parsed(bytes)).collect()
}

/// Logs in users 1, 2, … who have no password, with keys 5001, 5002, …
fn lab_with(names: &[&str]) -> (Lab, Link, Vec<Link>) {
    let mut lab = Lab::default();
    let server = lab.queues();
    let links = (1..).zip(names).map(|(k, name)| {
        lab.exchange.create_user(name.as_bytes(), &mut lab.shelf).unwrap();
        let key = 5000 + k;
        lab.send(server, &request(100, name, key));
        lab.send(server, &request(100, "", key));
        let link = lab.desk.opened.last().unwrap().0;
        let k = k.to_string();
        let want = ["poprawne", "poprawne", &k].map(|text| message(100, text, key));
        assert_eq!(inbox(&mut lab, link), want);
        link
    });
    let links = links.collect();
    (lab, server, links)
}

#[test]
fn a_struct_byte_by_byte() {
    let bytes = request(13, "hej", 0x01020304);
    assert_eq!(bytes[..8], [13, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&bytes[8..12], b"hej\0");
    assert!(bytes[12..408].iter().all(|byte| *byte == 0));
    assert_eq!(bytes[408..], [4, 3, 2, 1, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(Message::new_checked(&bytes[..412]).unwrap().time, 0, "msgsz 404: no time");
    assert_eq!(Message::new_checked(&bytes[..411]), None);
    assert_eq!(Message::new_checked(&[0; 425]), None);
    let mut full = bytes.clone();
    full[8..408].fill(b'x');
    assert_eq!(Message::new_checked(&full).unwrap().text.len(), 400, "no NUL: to its end");
}

#[test]
fn log_in_goes_step_by_step_and_a_wrong_password_is_asked_for_again() {
    let closed = Limits { registration: Registration::Closed, ..Limits::new(1024) };
    let mut lab = Lab::new(&ROOMY, closed);
    let server = lab.queues();
    lab.exchange.create_user(b"ola", &mut lab.shelf).unwrap();
    lab.exchange.set_password(1, true).unwrap();
    lab.send(server, &request(100, "nobody", 5001));
    let link = lab.desk.opened[0].0;
    assert_eq!(inbox(&mut lab, link), [message(100, "error", 5001)]);
    lab.send(server, &request(100, "ola", 5001));
    assert_eq!(inbox(&mut lab, link), [message(100, "poprawne", 5001)]);
    lab.send(server, &request(100, "wrong/not split", 5001));
    assert_eq!(lab.desk.asked[0].2, b"wrong/not split", "only a first text is");
    lab.send(server, &request(100, "while it is asked", 5001));
    assert_eq!(lab.exchange.counters().dropped, 1);
    assert_eq!(lab.reply(Reply::Verified(false)), Ok(link));
    assert_eq!(inbox(&mut lab, link), [message(100, "error", 5001)]);
    lab.send(server, &request(100, "right", 5001));
    assert_eq!(lab.reply(Reply::Verified(true)), Ok(link));
    assert_eq!(inbox(&mut lab, link), [message(100, "poprawne", 5001), message(100, "1", 5001)]);
    assert_eq!(lab.desk.opened.len(), 1);
}

#[test]
fn one_text_may_bring_login_and_password() {
    let (mut lab, server, _) = lab_with(&["ola"]);
    lab.exchange.create_user(b"jan", &mut lab.shelf).unwrap();
    lab.exchange.set_password(2, true).unwrap();
    lab.send(server, &request(100, "jan/a/b", 5002));
    let jan = lab.desk.opened[1].0;
    assert_eq!(lab.desk.asked[0].2, b"a/b");
    lab.reply(Reply::Verified(false)).unwrap();
    let texts = |lab: &mut Lab, link| {
        inbox(lab, link).into_iter().map(|(_, text, _)| text).collect::<Vec<_>>()
    };
    assert_eq!(texts(&mut lab, jan), ["poprawne", "error"]);
    lab.send(server, &request(100, "a/b", 5002));
    assert_eq!(lab.desk.asked[0].2, b"a/b", "the same step again: the password");
    lab.reply(Reply::Verified(true)).unwrap();
    assert_eq!(texts(&mut lab, jan), ["poprawne", "2"]);

    lab.send(server, &request(100, "ewa/new", 5003));
    let ewa = lab.desk.opened[2].0;
    assert_eq!(lab.desk.asked[0].2, b"new");
    lab.reply(Reply::Prepared(true)).unwrap();
    assert_eq!(texts(&mut lab, ewa), ["poprawne", "poprawne", "3"]);
    assert_eq!(lab.shelf.records.last().unwrap(), "user 3 ewa with a password");
    lab.disconnect(ewa);
    lab.send(server, &request(100, "ewa/other", 5003));
    assert_eq!(lab.desk.asked[0].1, Some(3), "it is asked for from now on");
}

#[test]
fn what_cannot_log_in_is_error_and_what_cannot_be_answered_is_dropped() {
    let (mut lab, server, links) = lab_with(&["ola"]);
    for text in ["ola", "a\nb", ""] {
        lab.send(server, &request(100, text, 5002));
        let link = lab.desk.opened.last().unwrap().0;
        assert_eq!(inbox(&mut lab, link), [message(100, "error", 5002)], "{text:?}");
    }
    let before = lab.exchange.counters().dropped;
    for key in [5001, 99999, 0] {
        lab.send(server, &request(100, "jan", key));
        assert_eq!(lab.got(links[0]), [[0u8; 0]; 0], "key {key} is not its own");
    }
    lab.desk.missing.insert(6000);
    lab.send(server, &request(100, "jan", 6000));
    assert_eq!(lab.exchange.counters().dropped, before + 3, "a key of 0 is a number");
    lab.send(server, &request(100, "jan", 7));
    let link = lab.desk.opened.last().unwrap().0;
    assert_eq!(inbox(&mut lab, link), [message(100, "error", 7)], "a key within 1..=CLIENTS_NR");
    lab.send(server, &request(100, "jan", 7));
    assert_eq!(inbox(&mut lab, link), [message(100, "error", 7)]);
    lab.wait(60_000);
    assert_eq!(lab.exchange.usage().sessions, 2, "half a log-in lapses");
}

#[test]
fn a_log_in_without_a_free_session_is_error() {
    let mut lab = Lab::new(&Sizes { sessions: 2, ..ROOMY }, Limits::new(1024));
    let server = lab.queues();
    lab.send(server, &request(100, "ola", 5001));
    lab.send(server, &request(100, "jan", 5002));
    let (address, frame) = &lab.desk.turned_away[0];
    assert_eq!((*address, parsed(frame)), (5002, message(100, "error", 5002)));
    lab.disconnect(lab.desk.opened[0].0);
    lab.send(server, &request(100, "jan/x", 5002));
    assert_eq!(lab.desk.opened.len(), 2);
}

#[test]
fn a_direct_message_is_read_both_ways_and_delivered_with_its_time() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    lab.now = 5_000;
    lab.send(server, &request(1, "by struct", 2));
    let got = lab.got(links[1]);
    assert_eq!(parsed(&got[0]), message(1, "by struct", 5002));
    assert_eq!(Message::new_checked(&got[0]).unwrap().time, 1_700_000_005);
    lab.send(server, &request(2, "by key", 5001));
    assert_eq!(inbox(&mut lab, links[1]), [message(1, "by key", 5002)]);
    lab.send(server, &request(2, "to itself", 2));
    assert_eq!(inbox(&mut lab, links[1]), [message(2, "to itself", 5002)]);
    let before = lab.exchange.counters().dropped;
    for (kind, address) in [(9, 1), (9, 5009), (1, -5), (1_000_000_000_000, 1)] {
        lab.send(server, &request(kind, "from nobody", address));
    }
    assert_eq!(lab.exchange.counters().dropped, before + 4);
    lab.send(server, &request(1, "to nobody", 9));
    assert!(links.iter().all(|link| lab.got(*link).is_empty()));
}

#[test]
fn lists_are_lines_and_what_does_not_fit_is_counted() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    lab.exchange.create_user(b"offline", &mut lab.shelf).unwrap();
    lab.send(server, &request(13, "1", 5001));
    assert_eq!(inbox(&mut lab, links[0]), [message(13, "1 ola\n2 jan\n", 5001)]);
    lab.send(server, &request(13, "2", 5001));
    assert_eq!(inbox(&mut lab, links[0]).len(), 1, "answered as the state it asks for");

    let news = lab.exchange.create_group(b"news", 0, &mut lab.shelf).unwrap();
    lab.exchange.join(3, news, -1, &mut lab.shelf).unwrap();
    for (text, want) in [("1", "3 offline\n"), (" 1 ", "3 offline\n"), ("2", ""), ("x", "")] {
        lab.send(server, &request(16, text, 5001));
        assert_eq!(inbox(&mut lab, links[0]), [message(16, want, 5001)], "{text:?}");
    }
    for k in 4..=20 {
        let name = format!("{k:026}");
        let user = lab.exchange.create_user(name.as_bytes(), &mut lab.shelf).unwrap();
        lab.exchange.join(user, news, -1, &mut lab.shelf).unwrap();
        lab.send(server, &request(16, "1", 5001));
        let text = inbox(&mut lab, links[0])[0].1.clone();
        let mut members = lab
            .exchange
            .members(news)
            .map(|user| format!("{} {}\n", user.number, String::from_utf8_lossy(user.name)));
        let all: String = members.by_ref().collect();
        if all.len() <= 399 {
            assert_eq!(text, all);
        } else {
            let (lines, rest) = text.rsplit_once('+').unwrap();
            assert!(text.len() <= 399 && all.starts_with(lines) && lines.ends_with('\n'));
            let left = all.lines().count() - lines.lines().count();
            assert_eq!(rest, format!("{left}\n"));
            let next = all[lines.len()..].lines().next().unwrap().len() + 1;
            assert!(lines.len() + next + format!("+{}\n", left - 1).len() > 399, "as many as fit");
        }
    }
}

#[test]
fn both_halves_at_once_get_one_answer_with_the_new_state() {
    let (mut lab, server, links) = lab_with(&["ola"]);
    for name in ["a", "b", "c"] {
        lab.exchange.create_group(name.as_bytes(), 0, &mut lab.shelf).unwrap();
    }
    let mut joined = |kind, first: &str, second: &str, want: &str| {
        lab.send(server, &request(kind, first, 5001));
        assert_eq!(lab.got(links[0]), [[0u8; 0]; 0]);
        lab.wait(99);
        lab.send(server, &request(kind, second, 5001));
        assert_eq!(inbox(&mut lab, links[0]), [message(kind, want, 5001)]);
        lab.wait(60_000);
        assert_eq!(lab.got(links[0]), [[0u8; 0]; 0], "exactly one");
    };
    joined(14, "1", "3", "0 0 1");
    joined(14, "1", "1", "1 0 1");
    joined(14, "1", "4", "1 0 1");
    joined(14, "1", "x", "1 0 1");
    joined(14, "1", "1/2", "1 0 1");
    joined(15, "1", "3", "1 0 0");
    joined(15, "1", "3", "1 0 0");
    for (kind, text, want) in
        [(14, "1/2", "1 1 0"), (15, "1/1", "0 1 0"), (14, "2/3", "0 1 0"), (14, "2", "0 1 0")]
    {
        lab.send(server, &request(kind, text, 5001));
        assert_eq!(inbox(&mut lab, links[0]), [message(kind, want, 5001)], "{text}");
    }
}

#[test]
fn a_second_half_that_is_late_is_obeyed_silently() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    lab.exchange.create_group(b"a", 0, &mut lab.shelf).unwrap();
    lab.send(server, &request(14, "1", 5001));
    lab.wait(100);
    assert_eq!(inbox(&mut lab, links[0]), [message(14, "0", 5001)], "the state so far");
    lab.wait(59_000);
    lab.send(server, &request(14, "1", 5001));
    assert_eq!(lab.got(links[0]), [[0u8; 0]; 0]);
    assert_eq!(lab.exchange.usage().memberships, 1);

    lab.send(server, &request(15, "1", 5001));
    lab.wait(60_100);
    assert_eq!(lab.got(links[0]).len(), 1);
    lab.send(server, &request(15, "1", 5001));
    lab.wait(100);
    assert_eq!(lab.exchange.usage().memberships, 1, "it had lapsed: this was a first half");
    assert_eq!(inbox(&mut lab, links[0]), [message(15, "1", 5001)]);

    // Any other request of that client ends it; unanswered, it is answered first.
    lab.wait(60_000);
    lab.send(server, &request(15, "1", 5001));
    lab.send(server, &request(2, "another's request does not", 2));
    lab.send(server, &request(13, "1", 5001));
    let want = [message(15, "1", 5001), message(13, "1 ola\n2 jan\n", 5001)];
    assert_eq!(inbox(&mut lab, links[0]), want);
    lab.wait(1_000);
    assert_eq!(lab.got(links[0]), [[0u8; 0]; 0]);
    assert_eq!(lab.exchange.usage().memberships, 1);
}

#[test]
fn a_group_message_names_its_group_or_goes_to_every_group_of_its_sender() {
    let (mut lab, server, links) = lab_with(&["ola", "jan", "ewa"]);
    for name in ["a", "b"] {
        lab.exchange.create_group(name.as_bytes(), 0, &mut lab.shelf).unwrap();
    }
    for (user, group) in [(1, 1), (1, 2), (2, 1), (3, 2)] {
        lab.exchange.join(user, group, -1, &mut lab.shelf).unwrap();
    }
    let mut sent = |text: &str, address, want: [&[(i64, String, i32)]; 3]| {
        lab.send(server, &request(19, text, address));
        for (link, want) in links.iter().zip(want) {
            assert_eq!(inbox(&mut lab, *link), want, "{text}");
        }
    };
    let (a, b) = (|text: &str| message(19, text, 1), |text: &str| message(19, text, 2));
    sent("by struct", 1, [&[a("by struct")], &[a("by struct")], &[]]);
    sent("2/by key", 5001, [&[], &[], &[b("ola: by key")]]);
    sent("1/x/y", 5001, [&[], &[a("ola: x/y")], &[]]);
    sent("to all", 5001, [&[], &[a("ola: to all")], &[b("ola: to all")]]);
    sent("x/y", 5001, [&[], &[a("ola: x/y")], &[b("ola: x/y")]]);
    sent("nowhere", 7777, [&[], &[], &[]]);
    sent("9/no such group", 5001, [&[], &[], &[]]);
}

#[test]
fn log_out_needs_the_own_index_and_what_lies_unread_is_mail_again() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    lab.send(server, &request(12, "2", 5001));
    assert_eq!(lab.exchange.usage().sessions, 3);
    for i in 0..3 {
        lab.send(server, &request(2, &i.to_string(), 1));
    }
    let mut lying = lab.got(links[0]);
    lying.insert(1, request(13, "an answer", 5001));
    lab.desk.lying.insert(links[0].index(), lying);
    lab.send(server, &request(12, "1", 5001));
    assert_eq!(lab.desk.closed, [links[0]]);
    assert_eq!(lab.exchange.usage().entries, 3);
    lab.send(server, &request(100, "ola/", 5003));
    let link = lab.desk.opened[2].0;
    let mail: Vec<_> = lab.given(link).split_off(3);
    assert!(mail.iter().all(|given| matches!(given, Given::Mail(..))));
    let texts: Vec<_> = mail.iter().map(|given| parsed(given.bytes())).collect();
    assert_eq!(texts, ["0", "1", "2"].map(|text| message(2, text, 5003)));
    with_io!(lab, taken(link, 3));
    assert_eq!(lab.exchange.usage().entries, 0);
}

#[test]
fn a_password_that_is_error_for_whatever_reason_is_asked_for_again() {
    let (mut lab, server, links) = lab_with(&["anna"]);
    lab.disconnect(links[0]);
    let step = |lab: &mut Lab, key, text| {
        lab.send(server, &request(100, text, key));
        let link = lab.desk.opened.last().unwrap().0;
        let texts = inbox(lab, link).into_iter().map(|(_, text, _)| text);
        texts.collect::<Vec<_>>()
    };
    assert_eq!(step(&mut lab, 6001, "anna"), ["poprawne"]);
    let first = lab.desk.opened.last().unwrap().0;
    // Another client of hers is quicker.
    assert_eq!(step(&mut lab, 6002, "anna/secret"), ["poprawne", "poprawne", "1"]);
    let second = lab.desk.opened.last().unwrap().0;
    for _ in 0..2 {
        lab.send(server, &request(100, "secret", 6001));
        assert_eq!(inbox(&mut lab, first), [message(100, "error", 6001)], "it is no name");
    }
    lab.disconnect(second);
    lab.send(server, &request(100, "secret", 6001));
    assert_eq!(inbox(&mut lab, first).len(), 2);
    assert_eq!(lab.exchange.usage().users, 1);
}

#[test]
fn what_lies_unread_for_a_user_that_is_removed_is_kept_for_nobody() {
    let (mut lab, server, links) = lab_with(&["anna", "jan"]);
    lab.send(server, &request(1, "for jan alone", 2));
    let lying = lab.got(links[1]);
    lab.desk.lying.insert(links[1].index(), lying);
    with_io!(lab, remove_user(2)).unwrap();
    assert_eq!(lab.desk.closed, [links[1]]);
    assert!(lab.shelf.mail.is_empty(), "its number may be another user's some day");
    assert_eq!(lab.exchange.usage().entries, 0);
}

#[test]
fn each_unread_message_that_cannot_be_kept_is_counted() {
    let (mut lab, server, links) = lab_with(&["anna", "jan"]);
    for text in ["1", "2", "3"] {
        lab.send(server, &request(1, text, 2));
    }
    let lying = lab.got(links[1]);
    lab.desk.lying.insert(links[1].index(), lying);
    lab.shelf.full = true;
    lab.disconnect(links[1]);
    assert_eq!(lab.exchange.counters().not_kept, 3);
    assert_eq!(lab.desk.notes.len(), 3);
}

#[test]
fn a_client_known_to_be_gone_gives_its_name_free_at_once() {
    let (mut lab, server, links) = lab_with(&["ola"]);
    lab.send(server, &request(100, "ola", 5002));
    let second = lab.desk.opened[1].0;
    assert_eq!(inbox(&mut lab, second), [message(100, "error", 5002)]);
    lab.desk.dead.push(links[0]);
    lab.send(server, &request(100, "ola/", 5002));
    assert_eq!(lab.desk.closed, [links[0]]);
    assert_eq!(lab.exchange.user_of(second).unwrap().number, 1);
}

#[test]
fn an_answer_does_not_wait_behind_messages_that_are_not_read() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    let room = centrala_core::host::Room { replies: 8192, ..Default::default() };
    with_io!(lab, room(links[0], room));
    lab.send(server, &request(2, "unread", 1));
    assert_eq!(lab.got(links[0]), [[0u8; 0]; 0]);
    lab.send(server, &request(13, "1", 5001));
    assert_eq!(inbox(&mut lab, links[0]).len(), 1);
}

#[test]
fn messages_cross_between_the_dialects() {
    let (mut lab, server, links) = lab_with(&["ola"]);
    let topics = lab.topics();
    let (jan, _) = lab.subscriber(topics, 1000, "jan").unwrap();
    let anna = lab.direct("anna");
    lab.send(topics, &topic_request(2, 1, 0, 0, "news"));
    for user in 1..=3 {
        lab.exchange.join(user, 1, -1, &mut lab.shelf).unwrap();
    }
    lab.got(jan);
    lab.send(server, &request(1, "dm", 2));
    lab.send(server, &request(1, "dm", 3));
    lab.send(server, &request(19, "1/group", 5001));
    let want = [(1_000_000, 3, "ola: dm".into()), (4, 3, "news: group".into())];
    assert_eq!(lab.queue(jan), want);
    let want = [frame(0, 1, "ola", "anna", b"dm"), frame(0, 2, "ola", "#news", b"group")];
    assert_eq!(lab.got(anna), want);
    assert!(lab.shelf.records.iter().any(|record| record.starts_with("mail user 3")));
    lab.send(anna, &frame(0, 5, "anna", "ola", b"dm"));
    lab.send(anna, &frame(0, 6, "anna", "#1", &[b'x'; 500]));
    let cut = format!("anna: {}…", "x".repeat(399 - 6 - 3));
    assert_eq!(inbox(&mut lab, links[0]), [message(3, "dm", 5001), message(19, &cut, 1)]);
}
