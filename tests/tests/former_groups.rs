//! Mail of a group that is no more, when its number is another group's by then: no dialect says
//! that it is of that one.

use centrala_core::dialect::{Dialect, lanes, native, queues};
use centrala_core::host::{FORMER_GROUP, Room};
use centrala_core::limits::{Lanes, Limits};
use centrala_tests::lab::{Lab, ROOMY, Sizes, frame, topic_request};
use centrala_tests::with_io;

const USERS: u32 = 9;
const GROUPS: u32 = 3;
/// An absent member for each dialect, by number from 2, and one who is there.
const MEMBERS: [&str; 7] = ["d", "n", "t", "q", "l", "r", "here"];

/// anna has written to the group news, which is no more: its number is the group sport's now, and
/// its members are the same.
fn lab() -> Lab {
    let lanes = Lanes { users: USERS, groups: GROUPS };
    let limits = Limits { lanes, ..Limits::new(1024) };
    let mut lab = Lab::new(&Sizes { groups: 1, ..ROOMY }, limits);
    let anna = lab.direct("anna");
    let group = lab.exchange.create_group(b"news", 1, &mut lab.shelf).unwrap();
    for (name, number) in MEMBERS.iter().zip(2..) {
        let made = lab.exchange.create_user(name.as_bytes(), &mut lab.shelf);
        assert_eq!(made, Ok(number));
        lab.exchange.join(number, group, -1, &mut lab.shelf).unwrap();
    }
    // It is counted, and ends with this message.
    lab.exchange.join(4, group, 1, &mut lab.shelf).unwrap();
    lab.send(anna, &frame(0, 0, "anna", "#news", b"hej"));
    assert_eq!(lab.got(anna), [frame(1, 0, "#news", "anna", b"200")]);
    rename(&mut lab);
    lab
}

/// Another group gets the number.
fn rename(lab: &mut Lab) {
    lab.exchange.remove_group(1, &mut lab.shelf).unwrap();
    let group = lab.exchange.create_group(b"sport", 1, &mut lab.shelf).unwrap();
    assert_eq!(group, 1, "the same number");
    for number in 2..2 + MEMBERS.len() as u32 {
        lab.exchange.join(number, group, -1, &mut lab.shelf).unwrap();
    }
}

#[test]
fn direct_names_a_number_that_no_group_has() {
    let mut lab = lab();
    let link = lab.direct("d");
    assert_eq!(lab.got(link), [frame(2, 0, "anna", "#0", b"hej")]);
    lab.send(link, &frame(0, 7, "d", "#0", b"back"));
    assert_eq!(lab.got(link), [frame(1, 7, "", "d", b"404")]);
}

#[test]
fn native_says_that_it_is_of_a_group_without_number_and_name() {
    let mut lab = lab();
    let link = lab.native("n");
    let got = lab.got(link);
    let (payload, _) = native::look(&got[0]).unwrap();
    let Ok(native::Event::Message(message)) = native::Event::decode(payload) else {
        panic!("{payload:?}")
    };
    assert_eq!((message.text, message.from.name), (&b"hej"[..], &b"anna"[..]));
    assert_eq!(message.group.map(|group| (group.number, group.name)), Some((0, &b""[..])));
}

#[test]
fn topics_has_it_as_a_direct_message_that_says_so_and_no_subscription_ends_with_it() {
    let mut lab = lab();
    let endpoint = lab.topics();
    let (link, _) = lab.subscriber(endpoint, 1000, "t").unwrap();
    assert_eq!(lab.queue(link), [(1_000_000, 3, "#0: hej".into())]);
}

#[test]
fn in_topics_it_has_no_more_than_the_share_of_direct_messages() {
    let mut lab = lab();
    lab.desk.room = Room { direct: 0, ..Room::of(1 << 20) };
    let endpoint = lab.topics();
    let (link, _) = lab.subscriber(endpoint, 1000, "t").unwrap();
    let anna = lab.direct("d");
    lab.got(anna);
    lab.send(anna, &frame(0, 1, "d", "#sport", b"goal"));
    assert_eq!(lab.queue(link), [(4, 3, "sport: goal".into())], "which does not wait behind it");
    with_io!(lab, room(link, Room::of(1 << 20)));
    assert_eq!(lab.queue(link), [(1_000_000, 3, "#0: hej".into())]);
}

#[test]
fn queues_has_it_from_a_group_of_number_0() {
    let mut lab = lab();
    let endpoint = lab.queues();
    let mut request = vec![0; queues::SIZE];
    let log_in = queues::Message { kind: 100, text: b"q/", address: 5000, time: 0 };
    log_in.emit(&mut request).unwrap();
    lab.send(endpoint, &request);
    let link = lab.desk.opened.last().unwrap().0;
    let got = lab.got(link);
    let message = queues::Message::new_checked(got.last().unwrap()).unwrap();
    assert_eq!((message.kind, message.address, message.text), (19, 0, &b"anna: hej"[..]));
}

#[test]
fn lanes_has_the_group_before_the_text_as_of_one_that_has_no_number_there() {
    let mut lab = lab();
    let endpoint = lab.lanes();
    let mut request = vec![0; 528];
    let log_in = lanes::Element { lane: 1, first: 0, second: 1, text: b"l x" };
    let len = log_in.emit(&mut request).unwrap();
    lab.send(endpoint, &request[..len]);
    lab.wait(5);
    let link = lab.desk.opened.last().unwrap().0;
    let got = lab.got(link);
    let element = lanes::Element::new_checked(got.last().unwrap()).unwrap();
    assert_eq!((element.first, element.second, element.text), (4, 0, &b"#0 hej"[..]));
}

#[test]
fn rooms_has_it_from_the_room_of_no_advert() {
    let mut lab = lab();
    let link = lab.exchange.connect(Dialect::Rooms, Room::of(1 << 20), lab.now).unwrap();
    lab.send(link, &rmp_serde::to_vec(&["auth-request", "r"]).unwrap());
    let got = lab.got(link);
    let event: serde_json::Value = serde_json::from_slice(got.last().unwrap()).unwrap();
    let want =
        serde_json::json!(["new-msg-notification", 1, 0, 0, "anna", 1_700_000_000_000_u64, "hej"]);
    assert_eq!(event, want);
}

#[test]
fn what_was_on_its_way_when_its_group_was_removed_is_of_none_when_it_comes_again() {
    let mut lab = Lab::new(&Sizes { groups: 1, ..ROOMY }, Limits::new(1024));
    let [anna, bartek] = ["anna", "bartek"].map(|name| lab.direct(name));
    let group = lab.exchange.create_group(b"news", 1, &mut lab.shelf).unwrap();
    lab.exchange.join(2, group, -1, &mut lab.shelf).unwrap();
    lab.send(anna, &frame(0, 0, "anna", "#news", b"hej"));
    assert_eq!(lab.got(bartek), [frame(0, 0, "anna", "#news", b"hej")]);
    rename_of_two(&mut lab);
    lab.wait(3_000);
    let bartek = lab.direct("bartek");
    assert_eq!(lab.got(bartek), [frame(2, 0, "anna", "#0", b"hej")]);
}

fn rename_of_two(lab: &mut Lab) {
    lab.exchange.remove_group(1, &mut lab.shelf).unwrap();
    assert_eq!(lab.exchange.create_group(b"sport", 1, &mut lab.shelf), Ok(1));
}

#[test]
fn what_came_back_unread_from_a_queue_under_another_name_is_not_of_the_group_of_that_number() {
    let mut lab = Lab::new(&Sizes { groups: 1, ..ROOMY }, Limits::new(1024));
    let endpoint = lab.topics();
    lab.subscriber(endpoint, 1000, "anna").unwrap();
    let (queue, id) = lab.subscriber(endpoint, 1001, "ola").unwrap();
    lab.send(endpoint, &topic_request(2, id, 0, 0, "news"));
    lab.send(endpoint, &topic_request(3, id, 0, -1, ""));
    lab.got(queue);
    lab.send(endpoint, &topic_request(4, 0, 0, 3, "hej"));
    let unread = lab.got(queue);
    rename_of_two(&mut lab);
    lab.desk.lying.insert(queue.index(), unread);
    lab.disconnect(queue);
    let kept = lab.shelf.mail.values().next().unwrap();
    assert_eq!((kept.group, &kept.text[..]), (FORMER_GROUP, &b"news: hej"[..]));
    let (queue, _) = lab.subscriber(endpoint, 1002, "ola").unwrap();
    assert_eq!(lab.queue(queue), [(1_000_099, 3, "#0: news: hej".into())]);
}
