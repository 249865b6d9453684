//! A log-in whose commit failed: its client is told that it is none, and then it is none.

use centrala_core::dialect::native::{Event, Refusal, Request};
use centrala_core::dialect::{Dialect, lanes, native, queues};
use centrala_core::exchange::Link;
use centrala_core::host::Room;
use centrala_core::limits::{Lanes, Limits};
use centrala_tests::lab::{Given, Lab, ROOMY, frame, hello, told};
use centrala_tests::with_io;

const USERS: u32 = 5;

fn lab() -> Lab {
    let lanes = Lanes { users: USERS, groups: 2 };
    let mut lab = Lab::new(&ROOMY, Limits { lanes, ..Limits::new(1024) });
    lab.exchange.create_user(b"ola", &mut lab.shelf).unwrap();
    lab
}

/// The commit of the log-in that was granted last fails.
fn fail(lab: &mut Lab) -> Link {
    let (link, log_in) = lab.desk.log_ins.pop().expect("a log-in");
    with_io!(*lab, log_in_refused(link, log_in));
    link
}

/// A message to ola, who is not there or does not count as being there.
fn assert_absent(lab: &mut Lab) {
    let anna = lab.direct("anna");
    lab.send(anna, &frame(0, 1, "anna", "ola", b"hej"));
    assert_eq!(lab.got(anna), [frame(1, 1, "ola", "anna", b"300")]);
    lab.disconnect(anna);
}

#[test]
fn in_topics_neither_the_name_nor_the_key_is_taken_afterwards() {
    let mut lab = lab();
    let endpoint = lab.topics();
    let (link, id) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    assert_eq!(fail(&mut lab), link);
    assert_eq!(lab.desk.closed, [link]);
    assert!(lab.shelf.sessions.is_empty());
    assert_absent(&mut lab);
    let (link, again) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    assert_eq!((again, lab.queue(link).len()), (id, 1), "with what was kept meanwhile");
}

#[test]
fn in_queues_the_same_step_is_tried_again() {
    let mut lab = lab();
    let endpoint = lab.queues();
    let send = |lab: &mut Lab, text: &str| {
        let mut bytes = vec![0; queues::SIZE];
        let request = queues::Message { kind: 100, text: text.as_bytes(), address: 5001, time: 0 };
        request.emit(&mut bytes).unwrap();
        lab.send(endpoint, &bytes);
    };
    send(&mut lab, "ola");
    let link = lab.desk.opened[0].0;
    lab.got(link);
    send(&mut lab, "");
    let Given::Promise { granted, refused } = lab.given(link).remove(0) else { panic!() };
    let text = |bytes: &[u8]| queues::Message::new_checked(bytes).unwrap().text.to_vec();
    assert_eq!([text(&granted), text(&refused)], [b"poprawne".to_vec(), b"error".to_vec()]);
    assert_eq!(fail(&mut lab), link);
    assert!(lab.desk.closed.is_empty() && lab.shelf.sessions.is_empty());
    assert_absent(&mut lab);
    send(&mut lab, "");
    let texts: Vec<_> = lab.got(link).iter().map(|bytes| text(bytes)).collect();
    assert_eq!(texts, [&b"poprawne"[..], b"1", b"hej"]);
    assert_eq!(lab.exchange.user_of(link).unwrap().number, 1);
    // And what is not tried again lapses.
    assert_eq!(fail(&mut lab), link);
    lab.wait(60_000);
    assert_eq!(lab.desk.closed, [link]);
}

#[test]
fn in_lanes_the_log_in_is_undone_and_its_refusal_is_taken_back() {
    let mut lab = lab();
    let endpoint = lab.lanes();
    let log_in = |lab: &mut Lab| {
        let mut bytes = vec![0; 528];
        let request = lanes::Element { lane: 1, first: 0, second: 1, text: b"ola" };
        let len = request.emit(&mut bytes).unwrap();
        lab.send(endpoint, &bytes[..len]);
        lab.wait(5);
        let got = lab.got(endpoint);
        String::from_utf8(lanes::Element::new_checked(&got[0]).unwrap().text.to_vec()).unwrap()
    };
    assert_eq!(log_in(&mut lab), "Zalogowano\n");
    let link = fail(&mut lab);
    assert_eq!(lab.desk.closed, [link]);
    assert_eq!(log_in(&mut lab), "Zalogowano\n", "at once");
    fail(&mut lab);
    let lane = 2;
    let mut refusal = vec![0; 528];
    let element = lanes::Element { lane, first: 4, second: 1, text: b"Zly login\n" };
    let len = element.emit(&mut refusal).unwrap();
    lab.desk.unfetched.insert(lane, vec![refusal[..len].to_vec()]);
    lab.wait(5_000);
    assert!(lab.desk.unfetched.is_empty());
    assert_absent(&mut lab);
}

#[test]
fn in_native_the_connection_stays_and_a_later_hello_is_not_undone_with_an_earlier_one() {
    let mut lab = lab();
    let link = lab.line();
    lab.send(link, &hello(1, "ola", ""));
    let Given::Promise { .. } = lab.given(link).remove(0) else { panic!() };
    fail(&mut lab);
    assert!(lab.exchange.user_of(link).is_none() && lab.desk.closed.is_empty());
    let refused = told(&Event::Refused { id: 9, why: Refusal::NotLoggedIn });
    assert_eq!(lab.ask(link, &Request::Ping), refused);
    assert_absent(&mut lab);
    lab.send(link, &hello(2, "ola", ""));
    let got = lab.got(link);
    let (payload, _) = native::look(&got[1]).unwrap();
    assert!(
        matches!(Event::decode(payload), Ok(Event::Message(message)) if message.text == b"hej")
    );
    // One that came since is another one.
    let earlier = lab.desk.log_ins.pop().unwrap();
    lab.send(link, &hello(3, "ola", ""));
    with_io!(lab, log_in_refused(earlier.0, earlier.1));
    assert_eq!(lab.exchange.user_of(link).unwrap().number, 1);
    // Whoever says nothing more is closed, as anybody who has not logged in.
    fail(&mut lab);
    lab.wait(10_000);
    assert_eq!(lab.desk.closed, [link]);
}

#[test]
fn in_rooms_the_socket_stays_and_is_in_no_room() {
    let mut lab = lab();
    let auth = rmp_serde::to_vec(&["auth-request", "ola"]).unwrap();
    let link = lab.exchange.connect(Dialect::Rooms, Room::of(1 << 20), lab.now).unwrap();
    lab.send(link, &auth);
    lab.got(link);
    let group = lab.exchange.create_group(b"flat", 0, &mut lab.shelf).unwrap();
    lab.send(link, &rmp_serde::to_vec(&("join-chat", group, 0)).unwrap());
    lab.got(link);
    fail(&mut lab);
    assert!(lab.exchange.user_of(link).is_none() && lab.desk.closed.is_empty());
    lab.send(link, &rmp_serde::to_vec(&("chat-msg", group, 0, "hej")).unwrap());
    let event = String::from_utf8(lab.got(link).remove(0)).unwrap();
    assert_eq!(event.trim(), "[\"auth-response\",-1,\"Unauthorized\"]");
    lab.send(link, &auth);
    lab.got(link);
    lab.send(link, &rmp_serde::to_vec(&("chat-msg", group, 0, "hej")).unwrap());
    let event = String::from_utf8(lab.got(link).remove(0)).unwrap();
    assert!(event.starts_with("[\"chat-response\",-1"), "{event}");
}
