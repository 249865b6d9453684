//! The rules of `native`, one test each.

use centrala_core::dialect::native::{
    Event, How, Limit, List, Message, Party, Refusal, Request, To, VERSION, Who, frame_max,
};
use centrala_core::exchange::Gone;
use centrala_core::host::Reply;
use centrala_core::limits::{Limits, Registration};
use centrala_tests::lab::{Given, Lab, ROOMY, Sizes, asked, frame, hello, told, topic_request};
use centrala_tests::with_io;

const ANNA: Party<'static> = Party { number: 1, name: b"anna" };
const BARTEK: Party<'static> = Party { number: 2, name: b"bartek" };
const NEWS: Party<'static> = Party { number: 1, name: b"news" };

fn to_user<'a>(name: &'a str, text: &'a str) -> Request<'a> {
    let to = To::User(Who::Name(name.as_bytes()));
    Request::Send { to, priority: 3, receipt: false, text: text.as_bytes() }
}

fn to_group(number: u32, text: &'static str) -> Request<'static> {
    let to = To::Group(Who::Number(number));
    Request::Send { to, priority: 3, receipt: false, text: text.as_bytes() }
}

fn with_receipt(request: Request<'_>) -> Request<'_> {
    match request {
        Request::Send { to, priority, text, .. } => {
            Request::Send { to, priority, receipt: true, text }
        }
        other => other,
    }
}

fn done(id: u32, how: How, number: u32) -> Vec<u8> {
    told(&Event::Done { id, how, number })
}

fn refused(id: u32, why: Refusal) -> Vec<u8> {
    told(&Event::Refused { id, why })
}

/// The message of that number, of the lab's first millisecond.
fn message<'a>(
    number: u64,
    id: u32,
    from: Party<'a>,
    group: Option<Party<'a>>,
    text: &'a str,
) -> Message<'a> {
    let (time, text) = (1_700_000_000_000, text.as_bytes());
    Message {
        number,
        id,
        mark: 0,
        time,
        priority: 3,
        offline: false,
        from,
        group,
        private: None,
        image: false,
        text,
    }
}

fn live(message: Message<'_>) -> Vec<u8> {
    told(&Event::Message(message))
}

fn mail(mark: u32, message: Message<'_>) -> Given {
    let frame = told(&Event::Message(Message { mark, offline: true, ..message }));
    Given::Mail(frame, mark)
}

#[test]
fn before_a_hello_everything_is_refused_and_after_10_s_it_is_closed() {
    let mut lab = Lab::default();
    let link = lab.line();
    for request in [Request::Ping, Request::LogOut, Request::ShutDown, to_user("anna", "x")] {
        assert_eq!(lab.ask(link, &request), refused(9, Refusal::NotLoggedIn), "{request:?}");
    }
    assert_eq!(lab.exchange.users().count(), 0, "nobody was made");
    assert!(!lab.desk.shut_down);
    lab.wait(9_999);
    assert_eq!(lab.desk.closed, []);
    lab.wait(1);
    assert_eq!(lab.desk.closed, [link]);
    assert_eq!(lab.receive(link, &hello(1, "anna", "")), Err(Gone));
}

#[test]
fn a_hello_is_welcomed_by_name_or_number() {
    let mut lab = Lab::default();
    let welcome =
        |id| told(&Event::Welcome { id, version: VERSION, user: ANNA, message_length: 1024 });
    let link = lab.line();
    lab.send(link, &hello(7, "anna", ""));
    assert_eq!(lab.got(link), [welcome(7)]);
    lab.disconnect(link);
    let link = lab.line();
    for (number, answer) in [(2, refused(0, Refusal::NoSuchUser)), (1, welcome(0))] {
        let user = Who::Number(number);
        lab.send(link, &asked(0, &Request::Hello { version: VERSION, user, password: b"" }));
        assert_eq!(lab.got(link), [answer], "also where the id is 0");
    }
}

#[test]
fn a_hello_of_another_version_is_told_which_one_is_spoken() {
    let mut lab = Lab::default();
    let link = lab.line();
    let user = Who::Name(b"anna");
    lab.send(link, &asked(3, &Request::Hello { version: VERSION + 1, user, password: b"" }));
    assert_eq!(lab.got(link), [refused(3, Refusal::Version { speaks: VERSION })]);
    assert_eq!(lab.exchange.users().count(), 0);
}

#[test]
fn a_log_in_that_cannot_be_is_refused_and_may_be_tried_again() {
    let sizes = Sizes { users: 1, ..ROOMY };
    let mut lab = Lab::new(&sizes, Limits::new(1024));
    let link = lab.line();
    for (name, why) in [
        ("", Refusal::BadName),
        ("#anna", Refusal::BadName),
        ("123456789012345678901234567890", Refusal::BadName),
    ] {
        lab.send(link, &hello(1, name, ""));
        assert_eq!(lab.got(link), [refused(1, why)], "{name}");
    }
    let anna = lab.native("anna");
    lab.send(link, &hello(1, "anna", ""));
    assert_eq!(lab.got(link), [refused(1, Refusal::InUse)]);
    lab.send(link, &hello(1, "bartek", ""));
    let full = Refusal::Full { limit: Limit::Users, size: 1 };
    assert_eq!(lab.got(link), [refused(1, full)]);
    lab.disconnect(anna);
    lab.send(link, &hello(2, "anna", ""));
    assert_eq!(lab.got(link).len(), 1);
    assert_eq!(lab.exchange.user_of(link).unwrap().name, b"anna");

    let mut closed = Limits::new(1024);
    closed.registration = Registration::Closed;
    let mut lab = Lab::new(&ROOMY, closed);
    let link = lab.line();
    lab.send(link, &hello(1, "anna", ""));
    assert_eq!(lab.got(link), [refused(1, Refusal::NoSuchUser)]);
}

#[test]
fn a_password_is_set_with_the_first_hello_and_asked_for_afterwards() {
    let mut lab = Lab::default();
    let link = lab.line();
    lab.send(link, &hello(1, "anna", "secret"));
    assert_eq!(lab.got(link), [[0u8; 0]; 0]);
    assert_eq!(lab.receive(link, &asked(2, &Request::Ping)), Ok(0), "a question is open");
    assert_eq!(lab.desk.asked[0].2, b"secret");
    lab.reply(Reply::Prepared(true)).unwrap();
    lab.send(link, &asked(2, &Request::Ping));
    assert_eq!(lab.got(link).len(), 2);
    assert_eq!(lab.shelf.records, ["user 1 anna with a password"]);
    lab.disconnect(link);

    let link = lab.line();
    for (right, answers) in [
        (false, refused(1, Refusal::NotAllowed)),
        (true, {
            told(&Event::Welcome { id: 1, version: VERSION, user: ANNA, message_length: 1024 })
        }),
    ] {
        lab.send(link, &hello(1, "anna", "guess"));
        lab.reply(Reply::Verified(right)).unwrap();
        assert_eq!(lab.got(link), [answers]);
    }
}

#[test]
fn a_message_has_its_sender_its_time_and_its_priority() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.native("anna"), lab.native("bartek"));
    let to = To::User(Who::Number(2));
    for (n, (given, priority)) in [(1, 1), (5, 5), (0, 3), (6, 3), (255, 3)].iter().enumerate() {
        let send = Request::Send { to, priority: *given, receipt: false, text: b"hej" };
        lab.send(anna, &asked(7, &send));
        assert_eq!(lab.got(anna), [done(7, How::Done, 2)]);
        let want =
            Message { priority: *priority, ..message(n as u64 + 1, n as u32, ANNA, None, "hej") };
        assert_eq!(lab.got(bartek), [live(want)]);
    }
    lab.send(anna, &asked(8, &to_user("nobody", "x")));
    lab.send(anna, &asked(9, &to_group(4, "x")));
    assert_eq!(lab.got(anna), [refused(8, Refusal::NoSuchUser), refused(9, Refusal::NoSuchGroup)]);
}

#[test]
fn a_request_of_id_0_is_answered_only_if_it_is_refused() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.native("anna"), lab.native("bartek"));
    lab.send(anna, &asked(0, &to_user("bartek", "hej")));
    lab.send(anna, &asked(0, &Request::CreateGroup { name: b"news" }));
    lab.send(anna, &asked(0, &Request::Join { group: Who::Number(1), count: None }));
    lab.send(anna, &asked(0, &Request::Ping));
    assert_eq!(lab.got(anna), [[0u8; 0]; 0]);
    assert_eq!(lab.got(bartek).len(), 1);
    lab.disconnect(bartek);
    lab.send(anna, &asked(0, &to_user("bartek", "stored")));
    assert_eq!(lab.got(anna), [[0u8; 0]; 0]);
    lab.send(anna, &asked(0, &to_user("nobody", "hej")));
    assert_eq!(lab.got(anna), [refused(0, Refusal::NoSuchUser)]);
}

#[test]
fn what_promises_to_be_kept_leaves_with_its_refusal_beside_it() {
    let mut lab = Lab::default();
    let anna = lab.native("anna");
    let bartek = lab.native("bartek");
    lab.disconnect(bartek);
    lab.send(anna, &asked(7, &to_user("bartek", "hej")));
    let store = Refusal::Full { limit: Limit::Store, size: 0 };
    let (granted, refused) = (done(7, How::Stored, 2), refused(7, store));
    assert_eq!(lab.given(anna), [Given::Promise { granted, refused }]);
}

#[test]
fn mail_is_kept_until_the_client_acknowledges_its_mark() {
    let mut lab = Lab::default();
    let anna = lab.native("anna");
    let bartek = lab.native("bartek");
    lab.disconnect(bartek);
    for text in ["one", "two", "three"] {
        lab.send(anna, &asked(0, &to_user("bartek", text)));
    }
    let parts = [(0, "one"), (1, "two"), (2, "three")];
    let all = parts.map(|(id, text)| message(u64::from(id) + 1, id, ANNA, None, text));
    let link = lab.line();
    lab.send(link, &hello(1, "bartek", ""));
    let given = lab.given(link);
    assert_eq!(given[1..], [mail(1, all[0]), mail(2, all[1]), mail(3, all[2])]);
    // Never answered, whatever its mark.
    lab.send(link, &asked(5, &Request::Ack { mark: 2 }));
    lab.send(link, &asked(6, &Request::Ack { mark: 2 }));
    assert_eq!(lab.got(link), [[0u8; 0]; 0]);
    assert_eq!(lab.exchange.usage().entries, 1);
    lab.disconnect(link);

    let link = lab.line();
    lab.send(link, &hello(1, "bartek", ""));
    assert_eq!(lab.given(link)[1..], [mail(1, all[2])], "marks of a session begin with 1");
    lab.send(link, &asked(0, &Request::Ack { mark: 1 }));
    assert_eq!((lab.exchange.usage().entries, lab.shelf.mail.len()), (0, 0));
}

#[test]
fn what_was_asked_before_another_hello_is_not_answered_behind_it() {
    let mut lab = Lab::default();
    let (direct, link) = (lab.direct("bartek"), lab.line());
    lab.send(link, &hello(1, "anna", ""));
    lab.send(link, &asked(7, &with_receipt(to_user("bartek", "hej"))));
    lab.send(link, &hello(1, "ola", ""));
    lab.got(link);
    // Its sender would be told now, under an id that is somebody else's.
    let id = lab.got(direct).len() as u32;
    assert_eq!(id, 1);
    lab.wait(3_000);
    assert_eq!(lab.got(link), [[0u8; 0]; 0]);
    let kept = lab.shelf.records.iter().filter(|record| record.starts_with("mail")).count();
    assert_eq!(kept, 1, "and it is kept all the same: {:?}", lab.shelf.records);
}

#[test]
fn another_hello_on_a_link_begins_the_session_anew() {
    let mut lab = Lab::default();
    let anna = lab.native("anna");
    let bartek = lab.native("bartek");
    lab.disconnect(bartek);
    for text in ["one", "two"] {
        lab.send(anna, &asked(0, &to_user("bartek", text)));
    }
    let link = lab.line();
    let all = [message(1, 0, ANNA, None, "one"), message(2, 1, ANNA, None, "two")];
    for _ in 0..2 {
        lab.send(link, &hello(1, "bartek", ""));
        assert_eq!(lab.given(link)[1..], [mail(1, all[0]), mail(2, all[1])]);
    }
    // As somebody else, too; and a wrong one ends what was.
    lab.send(link, &hello(2, "celina", ""));
    assert_eq!(lab.exchange.user_of(link).unwrap().name, b"celina");
    lab.got(link);
    lab.send(link, &hello(3, "#", ""));
    assert_eq!(lab.got(link), [refused(3, Refusal::BadName)]);
    assert_eq!(lab.ask(link, &Request::Ping), refused(9, Refusal::NotLoggedIn));
    lab.wait(10_000);
    assert_eq!(lab.desk.closed, [link], "as if it had never said one");
    assert_eq!(lab.exchange.usage().sessions, 1);
}

#[test]
fn a_sender_may_wait_until_the_recipient_has_it() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.native("anna"), lab.direct("bartek"));
    // The recipient's dialect has receipts: without one the exchange's word is the answer.
    lab.send(anna, &asked(1, &to_user("bartek", "a")));
    assert_eq!(lab.got(anna), [done(1, How::Done, 2)]);
    lab.send(anna, &asked(2, &with_receipt(to_user("bartek", "b"))));
    assert_eq!(lab.got(anna), [[0u8; 0]; 0]);
    for id in [0, 1] {
        lab.send(bartek, &frame(1, id, "bartek", "anna", b"200"));
    }
    assert_eq!(lab.got(anna), [done(2, How::Received, 2)]);
    lab.send(anna, &asked(3, &with_receipt(to_user("bartek", "c"))));
    lab.wait(3_000);
    assert_eq!(lab.got(anna), [done(3, How::Stored, 2)], "no answer within 3 s");
    // A recipient in native has it when it was given to its link.
    let bartek = lab.native("bartek");
    lab.send(bartek, &asked(0, &Request::Ack { mark: 1 }));
    lab.got(bartek);
    lab.send(anna, &asked(4, &with_receipt(to_user("bartek", "d"))));
    assert_eq!((lab.got(bartek).len(), lab.got(anna)), (1, vec![done(4, How::Done, 2)]));
}

#[test]
fn groups_are_made_joined_and_left_by_name_or_number() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.native("anna"), lab.native("bartek"));
    let create = |name| Request::CreateGroup { name };
    assert_eq!(lab.ask(anna, &create(b"news")), done(9, How::Done, 1));
    assert_eq!(lab.ask(anna, &create(b"news")), refused(9, Refusal::Exists));
    assert_eq!(lab.ask(anna, &create(b"a/b")), refused(9, Refusal::BadName));
    assert_eq!(lab.ask(anna, &create(b"sport")), done(9, How::Done, 2));
    let join = |group, count| Request::Join { group, count };
    assert_eq!(lab.ask(bartek, &join(Who::Name(b"news"), None)), done(9, How::Done, 1));
    assert_eq!(lab.ask(bartek, &join(Who::Number(2), Some(2))), done(9, How::Done, 2));
    assert_eq!(lab.ask(bartek, &join(Who::Number(3), None)), refused(9, Refusal::NoSuchGroup));
    for count in [0, 1 << 31, u32::MAX] {
        let answer = lab.ask(bartek, &join(Who::Number(1), Some(count)));
        assert_eq!(answer, refused(9, Refusal::Malformed), "{count}");
    }
    assert_eq!(lab.ask(anna, &to_group(1, "hej")), done(9, How::Done, 1));
    assert_eq!(lab.got(bartek), [live(message(1, 0, ANNA, Some(NEWS), "hej"))]);
    let leave = Request::Leave { group: Who::Name(b"news") };
    assert_eq!(lab.ask(bartek, &leave), done(9, How::Done, 1));
    assert_eq!(lab.ask(anna, &to_group(1, "hej")), done(9, How::Done, 1));
    assert_eq!(lab.got(bartek), [[0u8; 0]; 0]);
}

#[test]
fn a_counted_membership_says_when_it_has_ended() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.native("anna"), lab.native("bartek"));
    lab.ask(anna, &Request::CreateGroup { name: b"news" });
    lab.ask(bartek, &Request::Join { group: Who::Number(1), count: Some(2) });
    for text in ["one", "two", "three"] {
        lab.ask(anna, &to_group(1, text));
    }
    let of = |id, text| live(message(u64::from(id) + 1, id, ANNA, Some(NEWS), text));
    let ended = told(&Event::Ended { group: NEWS });
    assert_eq!(lab.got(bartek), [of(0, "one"), of(1, "two"), ended]);
}

#[test]
fn a_group_message_is_encoded_once_for_all() {
    let mut lab = Lab::default();
    let anna = lab.native("anna");
    lab.ask(anna, &Request::CreateGroup { name: b"news" });
    let links: Vec<_> = (0..8).map(|n| lab.native(&format!("user {n}"))).collect();
    for link in &links {
        lab.ask(*link, &Request::Join { group: Who::Number(1), count: None });
    }
    lab.exchange.join(1, 1, -1, &mut lab.shelf).unwrap();
    let calls = lab.desk.calls;
    lab.ask(anna, &to_group(1, "hej"));
    assert_eq!(lab.desk.calls, calls + 1);
    for link in links {
        assert_eq!(lab.got(link), [live(message(1, 0, ANNA, Some(NEWS), "hej"))]);
    }
}

#[test]
fn lists_have_numbers_names_and_how_each_stands() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.native("anna"), lab.native("bartek"));
    let celina = lab.native("celina");
    for name in [&b"news"[..], b"sport", b"empty"] {
        lab.ask(anna, &Request::CreateGroup { name });
    }
    for (link, group, count) in [(anna, 1, Some(5)), (anna, 2, None), (celina, 1, None)] {
        lab.ask(link, &Request::Join { group: Who::Number(group), count });
    }
    lab.disconnect(celina);
    let mut list = |link, list| {
        lab.send(link, &asked(3, &Request::List(list)));
        lab.got(link)
    };
    let row = |number, name: &'static str, active, left| {
        let party = Party { number, name: name.as_bytes() };
        told(&Event::Row { id: 3, party, active, left })
    };
    let end = done(3, How::Done, 0);
    let online = [row(1, "anna", true, None), row(2, "bartek", true, None), end.clone()];
    assert_eq!(list(anna, List::Online), online);
    let all = [&online[..2], &[row(3, "celina", false, None)], &online[2..]].concat();
    assert_eq!(list(anna, List::Users), all);
    let groups = [
        row(1, "news", true, Some(5)),
        row(2, "sport", true, None),
        row(3, "empty", false, None),
        end.clone(),
    ];
    assert_eq!(list(anna, List::Groups), groups);
    assert_eq!(list(anna, List::MyGroups), [&groups[..2], &groups[3..]].concat());
    let other = [row(1, "news", false, None), row(2, "sport", false, None)];
    assert_eq!(list(bartek, List::Groups), [&other[..], &groups[2..]].concat());
    assert_eq!(list(bartek, List::MyGroups), groups[3..]);
    let members = [row(1, "anna", true, Some(5)), row(3, "celina", false, None), end];
    assert_eq!(list(bartek, List::Members(Who::Name(b"news"))), members);
    assert_eq!(list(bartek, List::Members(Who::Number(3))), groups[3..]);
    let unknown = list(bartek, List::Members(Who::Number(4)));
    assert_eq!(unknown, [refused(3, Refusal::NoSuchGroup)]);
}

#[test]
fn a_list_waits_for_room_and_what_is_asked_behind_it_waits_for_it() {
    let mut lab = Lab::default();
    let anna = lab.native("anna");
    for n in 0..10 {
        let name = format!("group {n}");
        lab.ask(anna, &Request::CreateGroup { name: name.as_bytes() });
    }
    lab.room(anna, 3 * 64);
    lab.send(anna, &asked(3, &Request::List(List::Groups)));
    assert_eq!(lab.got(anna).len(), 3);
    assert_eq!(lab.receive(anna, &asked(4, &Request::Ping)), Ok(0));
    lab.room(anna, 1 << 20);
    assert_eq!(lab.got(anna).len(), 8);
    assert_eq!(lab.ask(anna, &Request::Ping), done(9, How::Done, 0));
}

#[test]
fn the_host_may_be_ended_where_it_allows_it() {
    let mut lab = Lab::default();
    let anna = lab.native("anna");
    lab.desk.keeps_running = true;
    assert_eq!(lab.ask(anna, &Request::ShutDown), refused(9, Refusal::NotAllowed));
    assert!(!lab.desk.shut_down);
    lab.desk.keeps_running = false;
    assert_eq!(lab.ask(anna, &Request::ShutDown), done(9, How::Done, 0));
    assert!(lab.desk.shut_down);
}

#[test]
fn logging_out_is_answered_and_closes() {
    let mut lab = Lab::default();
    let anna = lab.native("anna");
    assert_eq!(lab.receive(anna, &asked(9, &Request::LogOut)), Err(Gone));
    assert_eq!(lab.got(anna), [done(9, How::Done, 0)]);
    assert_eq!((lab.desk.closed.len(), lab.exchange.usage().sessions), (1, 0));
    lab.native("anna");
}

#[test]
fn what_is_no_request_is_refused_and_the_link_goes_on() {
    let mut lab = Lab::new(&Sizes { message_length: 100, ..ROOMY }, Limits::new(100));
    let anna = lab.native("anna");
    lab.send(anna, b"\x02\0\x07\x63");
    assert_eq!(lab.got(anna), [refused(7, Refusal::Malformed)]);
    // Longer than any request: skipped as it comes.
    let long = frame_max(100) - 1;
    lab.send(anna, &[&(long as u16).to_le_bytes()[..], &[8]].concat());
    let full = Refusal::Full { limit: Limit::MessageLength, size: 100 };
    assert_eq!(lab.got(anna), [refused(8, full)]);
    lab.send(anna, &vec![0xee; long - 11]);
    let rest = [&[0xee; 10][..], &asked(9, &Request::Ping)].concat();
    lab.send(anna, &rest);
    assert_eq!(lab.got(anna), [done(9, How::Done, 0)]);
    // A frame that fits, with a text that does not.
    static TEXT: [u8; 101] = [b'x'; 101];
    let to = To::User(Who::Number(1));
    let send = Request::Send { to, priority: 3, receipt: false, text: &TEXT };
    assert_eq!(lab.ask(anna, &send), refused(9, full));
    // Half a frame may wait for its rest for 10 s.
    assert_eq!(lab.receive(anna, b"\x09\0\x01"), Ok(0));
    lab.wait(10_000);
    assert_eq!(lab.desk.closed, [anna]);
}

#[test]
fn a_slow_client_gets_its_backlog_in_order_when_it_has_room() {
    let mut lab = Lab::default();
    let (anna, bartek) = (lab.native("anna"), lab.native("bartek"));
    lab.room(bartek, 0);
    for (id, text) in [(1, "one"), (2, "two")] {
        lab.send(anna, &asked(id, &to_user("bartek", text)));
    }
    assert_eq!(lab.got(anna), [done(1, How::Done, 2), done(2, How::Done, 2)]);
    assert_eq!(lab.got(bartek), [[0u8; 0]; 0]);
    lab.room(bartek, 1 << 20);
    // Promised to be kept, they are mail, which was not told so.
    let parts = [(0, "one", 1), (1, "two", 2)];
    let want = parts.map(|(id, text, mark)| {
        let message = Message { mark, ..message(mark.into(), id, ANNA, None, text) };
        Given::Mail(live(message), mark)
    });
    assert_eq!(lab.given(bartek), want);
    lab.send(bartek, &asked(0, &Request::Ack { mark: 2 }));
    assert_eq!(lab.exchange.usage().entries, 0);
}

#[test]
fn every_dialect_reaches_native_and_native_every_dialect() {
    let mut lab = Lab::default();
    let endpoint = lab.topics();
    let (anna, bartek) = (lab.native("anna"), lab.direct("bartek"));
    let (ola, id) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    lab.send(endpoint, &topic_request(2, id, 0, 0, "news"));
    lab.send(endpoint, &topic_request(3, id, 0, -1, ""));
    lab.got(ola);
    lab.ask(anna, &Request::Join { group: Who::Number(1), count: None });
    lab.send(bartek, &frame(0, 5, "bartek", "anna", b"from direct"));
    assert_eq!(lab.got(anna), [live(message(1, 5, BARTEK, None, "from direct"))]);
    assert_eq!(lab.got(bartek), [frame(1, 5, "anna", "bartek", b"200")]);
    lab.send(endpoint, &topic_request(4, id, 0, 1, "from topics"));
    let from = Party { number: 3, name: b"ola" };
    let want = Message { priority: 1, ..message(2, 0, from, Some(NEWS), "from topics") };
    assert_eq!(lab.got(anna), [live(want)]);
    lab.got(ola);
    lab.ask(anna, &to_group(1, "to topics"));
    assert_eq!(lab.queue(ola), [(4, 3, "news: to topics".to_string())]);
    lab.send(anna, &asked(1, &to_user("bartek", "to direct")));
    assert_eq!(lab.got(bartek), [frame(0, 1, "anna", "bartek", b"to direct")]);
    with_io!(lab, handle_timeout());
}
