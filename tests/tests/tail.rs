//! Memory holds the head of a mailbox, the store its tail.

use centrala_core::exchange::Link;
use centrala_core::host::{Posted, Record, Room};
use centrala_core::limits::Limits;
use centrala_tests::lab::{Given, Lab, ROOMY, Sizes, frame, topic_message, topic_request};
use centrala_tests::with_io;

/// A lab whose mailboxes have 4 places in memory.
fn lab() -> Lab {
    let mut lab = Lab::new(&ROOMY, Limits { mailbox: 4, ..Limits::new(1024) });
    lab.shelf.pages = true;
    lab
}

/// Takes all mail as it comes, page by page; its texts.
fn read_all(lab: &mut Lab, link: Link) -> Vec<String> {
    let mut texts = Vec::new();
    loop {
        let given = lab.given(link);
        for given in &given {
            let bytes = given.bytes();
            texts.push(String::from_utf8_lossy(&bytes[24..]).into_owned());
            if let Given::Mail(_, mark) = given {
                with_io!(*lab, taken(link, *mark));
            }
        }
        if !lab.page() && given.is_empty() {
            return texts;
        }
        assert!(lab.exchange.usage().entries <= 8);
    }
}

#[test]
fn more_mail_than_memory_comes_in_order_page_by_page() {
    let mut lab = lab();
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    lab.disconnect(bartek);
    for id in 0..50 {
        lab.send(anna, &frame(0, id, "anna", "bartek", id.to_string().as_bytes()));
        assert_eq!(lab.got(anna), [frame(1, id, "bartek", "anna", b"300")]);
    }
    assert_eq!(lab.exchange.usage().entries, 4);
    assert_eq!(lab.shelf.mail.len(), 50);
    let bartek = lab.direct("bartek");
    lab.send(anna, &frame(0, 50, "anna", "bartek", b"50"));
    assert_eq!(lab.got(anna), [frame(1, 50, "bartek", "anna", b"300")], "behind the rest");
    let want: Vec<_> = (0..51).map(|id| id.to_string()).collect();
    assert_eq!(read_all(&mut lab, bartek), want);
    assert!(lab.shelf.mail.is_empty());
    assert_eq!(lab.exchange.usage().entries, 0);
    lab.send(anna, &frame(0, 51, "anna", "bartek", b"live"));
    assert_eq!(
        lab.got(bartek),
        [frame(0, 51, "anna", "bartek", b"live")],
        "all is read: live again"
    );
}

#[test]
fn what_is_more_urgent_takes_the_place_of_what_is_less() {
    let mut lab = lab();
    let endpoint = lab.topics();
    let (ola, _) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    let (jan, _) = lab.subscriber(endpoint, 1001, "jan").unwrap();
    lab.send(endpoint, &topic_request(2, 0, 0, 0, "t"));
    lab.send(endpoint, &topic_request(3, 1, 0, -1, ""));
    lab.room(jan, 0);
    let priorities = [3, 5, 1, 4, 3, 2, 5, 1, 3, 1, 2, 4, 3, 5, 1];
    for (i, priority) in priorities.iter().enumerate() {
        lab.send(endpoint, &topic_request(4, 0, 0, *priority, &i.to_string()));
    }
    assert!(lab.queue(ola).iter().all(|(kind, info, _)| (*kind, *info) == (2, 0)));
    assert_eq!(lab.exchange.usage().entries, 4);
    lab.got(jan);
    lab.room(jan, 1 << 20);
    let mut got = Vec::new();
    loop {
        let given = lab.given(jan);
        for given in &given {
            let (_, priority, text) = topic_message(given.bytes());
            got.push((priority, text[3..].parse::<usize>().unwrap()));
            let Given::Mail(_, mark) = given else { panic!("kept, so to be confirmed") };
            with_io!(lab, taken(jan, *mark));
        }
        if !lab.page() && given.is_empty() {
            break;
        }
    }
    let mut want: Vec<_> = priorities.iter().copied().zip(0..).collect();
    want.sort_unstable();
    assert_eq!(got, want);
    assert!(lab.shelf.mail.is_empty());
}

#[test]
fn mail_that_comes_while_a_page_is_read_is_neither_lost_nor_doubled() {
    for answer_after in 0..4 {
        let mut lab = lab();
        let endpoint = lab.topics();
        lab.subscriber(endpoint, 1000, "ola").unwrap();
        let (jan, _) = lab.subscriber(endpoint, 1001, "jan").unwrap();
        lab.send(endpoint, &topic_request(2, 0, 0, 0, "t"));
        lab.send(endpoint, &topic_request(3, 1, 0, -1, ""));
        lab.room(jan, 0);
        lab.got(jan);
        let publish = |lab: &mut Lab, priority, text: u32| {
            lab.send(endpoint, &topic_request(4, 0, 0, priority, &text.to_string()));
        };
        for text in 0..6 {
            publish(&mut lab, 3, text);
        }
        lab.room(jan, 1 << 20);
        let mut got = Vec::new();
        let mut text = 6;
        for round in 0..100 {
            for given in lab.given(jan) {
                let (_, _, text) = topic_message(given.bytes());
                got.push(text[3..].parse::<u32>().unwrap());
                if let Given::Mail(_, mark) = given {
                    with_io!(lab, taken(jan, mark));
                }
            }
            if round < 12 {
                with_io!(lab, room(jan, Room { messages: round % 3 * 60, ..Room::of(1 << 20) }));
                publish(&mut lab, if round % 4 == 3 { 1 } else { 3 }, text);
                text += 1;
            } else {
                lab.room(jan, 1 << 20);
            }
            if round % 4 >= answer_after {
                lab.page();
            }
        }
        got.sort_unstable();
        assert_eq!(got, (0..text).collect::<Vec<_>>(), "answered after {answer_after}");
        assert_eq!((lab.shelf.mail.len(), lab.exchange.usage().entries), (0, 0));
    }
}

#[test]
fn after_a_restart_mail_is_read_when_its_user_logs_in() {
    let mut before = lab();
    let (anna, bartek) = (before.direct("anna"), before.direct("bartek"));
    before.disconnect(bartek);
    for id in 0..7 {
        before.send(anna, &frame(0, id, "anna", "bartek", id.to_string().as_bytes()));
    }
    let mut lab = lab();
    lab.shelf = before.shelf;
    for (number, name) in [(1, b"anna" as &[u8]), (2, b"bartek")] {
        let user = centrala_core::host::Record::User { number, name, secret: None };
        lab.exchange.restore(user).unwrap();
    }
    lab.exchange.restore_tail(2);
    assert_eq!(lab.exchange.usage().entries, 0);
    let bartek = lab.direct("bartek");
    let want: Vec<_> = (0..7).map(|id| id.to_string()).collect();
    assert_eq!(read_all(&mut lab, bartek), want);
}

#[test]
fn a_full_table_of_messages_stops_nobody_whose_mail_the_store_takes() {
    let sizes = Sizes { messages: 3, entries: 3, ..ROOMY };
    let mut lab = Lab::new(&sizes, Limits::new(1024));
    lab.shelf.pages = true;
    let anna = lab.direct("anna");
    let users = ["u1", "u2", "u3"].map(|name| lab.direct(name));
    users.iter().for_each(|user| lab.disconnect(*user));
    for id in 0..30 {
        let to = ["u1", "u2", "u3"][id as usize % 3];
        lab.send(anna, &frame(0, id, "anna", to, id.to_string().as_bytes()));
        assert_eq!(lab.got(anna), [frame(1, id, to, "anna", b"300")]);
    }
    for (i, name) in ["u3", "u1", "u2"].into_iter().enumerate() {
        let link = lab.direct(name);
        let first = [2, 0, 1][i];
        let want: Vec<_> = (0..10).map(|id| (first + 3 * id).to_string()).collect();
        assert_eq!(read_all(&mut lab, link), want);
        lab.disconnect(link);
    }
    assert!(lab.shelf.mail.is_empty());
}

#[test]
fn a_session_whose_queue_is_still_there_goes_on_after_a_restart() {
    let mut before = lab();
    let (topics, lanes) = (before.topics(), before.lanes());
    before.subscriber(topics, 1000, "ola").unwrap();
    let (jan, _) = before.subscriber(topics, 1001, "jan").unwrap();
    before.subscriber(topics, 1002, "ewa").unwrap();
    before.disconnect(jan);
    let element = |second, text: &str| {
        let mut bytes = vec![0; 528];
        let text = text.as_bytes();
        let element = centrala_core::dialect::lanes::Element { lane: 1, first: 4, second, text };
        let len = element.emit(&mut bytes).unwrap();
        bytes.truncate(len);
        bytes
    };
    before.send(lanes, &element(1, "ola "));
    before.wait(5);
    assert_eq!(before.shelf.sessions.len(), 3, "{:?}", before.shelf.sessions);

    let mut lab = lab();
    for (number, name) in [(1, b"ola" as &[u8]), (2, b"jan"), (3, b"ewa")] {
        let user = centrala_core::host::Record::User { number, name, secret: None };
        lab.exchange.restore(user).unwrap();
    }
    let (topics, lanes) = (lab.topics(), lab.lanes());
    lab.desk.missing.insert(1002);
    lab.shelf.sessions = before.shelf.sessions.clone();
    let restored: Vec<_> = before
        .shelf
        .sessions
        .iter()
        .map(|(dialect, address, user)| {
            with_io!(lab, restore_session(*dialect, *address, *user)).is_some()
        })
        .collect();
    assert_eq!(restored, [true, false, true], "one queue is gone");
    assert_eq!(lab.shelf.sessions.len(), 2);
    let ola = lab.desk.opened[0].0;
    lab.send(topics, &topic_request(2, 0, 0, 0, "t"));
    assert_eq!(topic_message(&lab.got(ola)[0]), (2, 0, String::new()), "no log-in needed");
    assert_eq!(lab.subscriber(topics, 2000, "ola"), Err(-1), "it is logged in");
    lab.send(lanes, &element(3, ""));
    let lane = lab.desk.opened[1].0;
    assert_eq!(&lab.got(lane)[0][16..], b"ola,\0");
    lab.send(lanes, &element(2, ""));
    assert_eq!(lab.shelf.sessions.len(), 1);
}

#[test]
fn mail_that_found_no_room_in_memory_is_read_when_there_is_some() {
    let sizes = Sizes { messages: 2, entries: 2, questions: 1, ..ROOMY };
    let mut lab = Lab::new(&sizes, Limits::new(1024));
    lab.shelf.pages = true;
    let anna = lab.direct("anna");
    let (first, second) = (lab.direct("first"), lab.direct("second"));
    lab.disconnect(first);
    lab.disconnect(second);
    for id in 0..4 {
        let to = ["first", "second"][id as usize / 2];
        lab.send(anna, &frame(0, id, "anna", to, b"mail"));
    }
    // Both places are taken by the first one's mail, which is not confirmed.
    let first = lab.direct("first");
    assert_eq!(lab.got(first).len(), 2);
    let second = lab.direct("second");
    assert_eq!((lab.got(second).len(), lab.page()), (0, false));
    with_io!(lab, taken(first, 2));
    lab.wait(100);
    assert!(lab.page());
    assert_eq!(lab.got(second).len(), 2);
}

#[test]
fn mail_of_those_who_are_away_makes_room_in_memory_for_those_who_are_there() {
    let sizes = Sizes { messages: 3, entries: 3, ..ROOMY };
    let mut lab = Lab::new(&sizes, Limits::new(1024));
    lab.shelf.pages = true;
    let anna = lab.direct("anna");
    let (away, there) = (lab.direct("away"), lab.direct("there"));
    lab.disconnect(away);
    lab.disconnect(there);
    for id in 0..10 {
        let to = ["away", "there"][id as usize / 5];
        lab.send(anna, &frame(0, id, "anna", to, id.to_string().as_bytes()));
    }
    assert_eq!(lab.exchange.usage().entries, 3, "all of one user, who may never come");
    for (name, first) in [("there", 5), ("away", 0)] {
        let link = lab.direct(name);
        let want: Vec<_> = (first..first + 5).map(|id| id.to_string()).collect();
        assert_eq!(read_all(&mut lab, link), want);
    }
    assert_eq!((lab.shelf.mail.len(), lab.exchange.usage().entries), (0, 0));
}

#[test]
fn mail_that_went_to_the_store_for_want_of_room_comes_when_there_is_some() {
    let sizes = Sizes { messages: 1, entries: 1, ..ROOMY };
    let mut lab = Lab::new(&sizes, Limits::new(1024));
    lab.shelf.pages = true;
    let (anna, bartek) = (lab.direct("anna"), lab.direct("bartek"));
    lab.send(anna, &frame(0, 1, "anna", "bartek", b"in memory"));
    lab.send(anna, &frame(0, 2, "anna", "bartek", b"in the store"));
    assert_eq!(lab.got(bartek).len(), 1);
    lab.send(bartek, &frame(1, 1, "bartek", "anna", b"200"));
    assert_eq!(lab.exchange.usage().entries, 0);
    lab.wait(100);
    assert_eq!(read_all(&mut lab, bartek), ["in the store"]);
}

#[test]
fn a_page_that_is_older_than_the_end_of_a_group_or_a_sender_is_read_anew() {
    for group in [true, false] {
        let mut lab = lab();
        let endpoint = lab.topics();
        lab.subscriber(endpoint, 1000, "ola").unwrap();
        let jan = lab.direct("jan");
        lab.disconnect(jan);
        lab.send(endpoint, &topic_request(2, 0, 0, 0, "t"));
        lab.exchange.join(2, 1, -1, &mut lab.shelf).unwrap();
        (0..5).for_each(|i| lab.send(endpoint, &topic_request(4, 0, 0, 3, &i.to_string())));
        let jan = lab.direct("jan");
        with_io!(lab, taken(jan, 4));
        assert_eq!((lab.given(jan).len(), lab.desk.pages.len()), (4, 1));
        match group {
            true => lab.exchange.remove_group(1, &mut lab.shelf).unwrap(),
            false => with_io!(lab, remove_user(1)).unwrap(),
        }
        lab.page();
        assert_eq!(lab.given(jan), [], "it was asked for before that");
        assert_eq!(lab.desk.pages.len(), 1);
    }
}

#[test]
fn what_one_session_has_to_answer_for_is_not_settled_by_the_mail_of_another() {
    let mut lab = Lab::default();
    let endpoint = lab.topics();
    let anna = lab.direct("anna");
    lab.disconnect(anna);
    lab.subscriber(endpoint, 1000, "ola").unwrap();
    lab.send(endpoint, &topic_request(2, 1, 0, 0, "t"));
    lab.exchange.join(1, 1, -1, &mut lab.shelf).unwrap();
    lab.send(endpoint, &topic_request(4, 1, 0, 3, "mail"));
    let anna = lab.direct("anna");
    let (queue, _) = lab.subscriber(endpoint, 1001, "anna").unwrap();
    lab.room(queue, 0);
    lab.send(endpoint, &topic_request(4, 1, 0, 3, "live"));
    lab.room(queue, 1 << 20);
    let given = lab.given(anna);
    assert!(matches!(given[0], Given::Mail(_, 1)), "{given:?}");
    assert!(matches!(given[1], Given::Deliver(_)), "{given:?}");
    assert_eq!(lab.exchange.usage().entries, 2);
    with_io!(lab, taken(anna, 1));
    assert_eq!(lab.exchange.usage().entries, 1, "the live one is still to be answered for");
    lab.send(anna, &frame(1, 1, "anna", "ola", b"200"));
    assert_eq!(lab.exchange.usage().entries, 0);
    assert!(lab.shelf.mail.is_empty());
}

#[test]
fn the_end_of_a_membership_is_told_behind_its_last_message_from_the_store() {
    let mut lab = lab();
    let endpoint = lab.topics();
    lab.subscriber(endpoint, 1000, "ola").unwrap();
    let (jan, _) = lab.subscriber(endpoint, 1001, "jan").unwrap();
    lab.send(endpoint, &topic_request(2, 0, 0, 0, "t"));
    lab.send(endpoint, &topic_request(3, 1, 0, 6, ""));
    lab.got(jan);
    lab.room(jan, 0);
    (0..7).for_each(|i| lab.send(endpoint, &topic_request(4, 0, 0, 3, &i.to_string())));
    assert_eq!(lab.got(jan), [[0u8; 0]; 0], "two of them are in the store alone");
    lab.room(jan, 1 << 20);
    let mut got = Vec::new();
    loop {
        let given = lab.given(jan);
        for given in &given {
            got.push(topic_message(given.bytes()).2);
            if let Given::Mail(_, mark) = given {
                with_io!(lab, taken(jan, *mark));
            }
        }
        if !lab.page() && given.is_empty() {
            break;
        }
    }
    assert_eq!(got, ["t: 0", "t: 1", "t: 2", "t: 3", "t: 4", "t: 5", "0. t"]);
}

#[test]
fn what_is_on_its_way_is_not_read_back_behind_something_more_urgent() {
    for confirmed in [false, true] {
        let mut lab = lab();
        let endpoint = lab.topics();
        lab.subscriber(endpoint, 1000, "ola").unwrap();
        let (anna, jan) = (lab.direct("anna"), lab.direct("jan"));
        lab.disconnect(jan);
        lab.send(endpoint, &topic_request(2, 0, 0, 0, "t"));
        lab.exchange.join(3, 1, -1, &mut lab.shelf).unwrap();
        for text in 0..4 {
            lab.send(endpoint, &topic_request(4, 0, 0, 5, &text.to_string()));
        }
        // All of the mailbox's places in memory are of mail that was sent and is not confirmed.
        let jan = lab.direct("jan");
        assert_eq!(lab.got(jan).len(), 4);
        lab.send(anna, &frame(0, 7, "anna", "jan", b"urgent"));
        assert_eq!(lab.got(anna), [frame(1, 7, "jan", "anna", b"300")], "in the store");
        with_io!(lab, taken(jan, 2));
        assert_eq!(lab.desk.pages.len(), 1);
        if confirmed {
            // The page is as it was when it was asked for.
            let then = lab.shelf.mail.clone();
            with_io!(lab, taken(jan, 4));
            let now = std::mem::replace(&mut lab.shelf.mail, then);
            lab.page();
            lab.shelf.mail = now;
        }
        while lab.page() {}
        let got = lab.given(jan);
        assert_eq!(got.len(), 1, "confirmed: {confirmed}");
        assert_eq!(&got[0].bytes()[24..], b"urgent");
        with_io!(lab, taken(jan, 5));
        while lab.page() {}
        assert_eq!(lab.given(jan), []);
        assert_eq!((lab.shelf.mail.len(), lab.exchange.usage().entries), (0, 0));
    }
}

#[test]
fn what_comes_back_has_a_number_of_its_own_wherever_it_is_kept() {
    let mut lab = lab();
    let endpoint = lab.topics();
    let (ola, _) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    let (jan, _) = lab.subscriber(endpoint, 1001, "jan").unwrap();
    lab.send(endpoint, &topic_request(2, 0, 0, 0, "t"));
    lab.send(endpoint, &topic_request(3, 1, 0, -1, ""));
    for text in 0..12 {
        lab.send(endpoint, &topic_request(4, 0, 0, 3, &text.to_string()));
    }
    assert!(!lab.got(ola).is_empty());
    // Of what lay unread, and comes back each time, most has no place in memory.
    let mut link = jan;
    for round in 0..3 {
        let lying: Vec<_> = lab.got(link).into_iter().filter(|frame| frame[0] == 4).collect();
        assert_eq!(lying.len(), 12, "round {round}");
        lab.desk.lying.insert(link.index(), lying);
        lab.disconnect(link);
        assert_eq!(lab.shelf.mail.len(), 12, "round {round}");
        link = lab.subscriber(endpoint, 1001, "jan").unwrap().0;
        let mut all = Vec::new();
        loop {
            let given = lab.given(link);
            for given in &given {
                let Given::Mail(frame, mark) = given else { panic!("{given:?}") };
                all.push((link, Given::Deliver(frame.clone())));
                with_io!(lab, taken(link, *mark));
            }
            if !lab.page() && given.is_empty() {
                break;
            }
        }
        let texts: Vec<_> = all.iter().map(|(_, given)| topic_message(given.bytes()).2).collect();
        let want: Vec<_> = (0..12).map(|text| format!("t: {text}")).collect();
        assert_eq!(texts, want, "round {round}");
        lab.desk.given.insert(link.index(), all);
    }
}

#[test]
fn ids_that_the_exchange_gives_are_not_given_again_after_a_restart() {
    let restored = |newest: Option<u64>| {
        let mut lab = lab();
        for (number, name) in [(1, b"ola" as &[u8]), (2, b"anna")] {
            lab.exchange.restore(Record::User { number, name, secret: None }).unwrap();
        }
        lab.exchange.restore(Record::Group { number: 1, name: b"t", owner: 0 }).unwrap();
        lab.exchange.restore(Record::Member { user: 2, group: 1, left: -1 }).unwrap();
        if let Some(sequence) = newest {
            lab.exchange.restore(Record::Posted(Posted { sequence, ..Posted::NONE })).unwrap();
        }
        lab
    };
    // The ids that anna gets with three messages of ola's.
    let three = |lab: &mut Lab| {
        let (topics, anna) = (lab.topics(), lab.direct("anna"));
        let (_, ola) = lab.subscriber(topics, 1000, "ola").unwrap();
        (0..3).for_each(|_| lab.send(topics, &topic_request(4, ola, 0, 3, "text")));
        let id = |frame: &Vec<u8>| u32::from_be_bytes(frame[4..8].try_into().unwrap());
        lab.got(anna).iter().map(id).collect::<Vec<_>>()
    };
    assert_eq!(three(&mut restored(None)), [0, 1, 2]);
    // The first sequence is 2 to the 62nd and 1.
    assert_eq!(three(&mut restored(Some((1 << 62) + 3))), [3, 4, 5]);
}
