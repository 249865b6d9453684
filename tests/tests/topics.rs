//! The rules of `topics`, one test each, in the documents' structs.

use centrala_core::exchange::Link;
use centrala_core::host::{Note, Reply, Room};
use centrala_core::limits::{Limits, Topics};
use centrala_tests::lab::{Given, Lab, ROOMY, frame, topic_message, topic_request};
use centrala_tests::with_io;

fn text(kind: i64, info: i32, text: &str) -> (i64, i32, String) {
    (kind, info, text.to_string())
}

/// A lab with the endpoint and users 0, 1, … with keys 1000, 1001, …
fn lab_with(names: &[&str]) -> (Lab, Link, Vec<Link>) {
    let mut lab = Lab::default();
    let endpoint = lab.topics();
    let links = names
        .iter()
        .zip(0..)
        .map(|(name, id)| {
            let (link, given) = lab.subscriber(endpoint, 1000 + id, name).unwrap();
            assert_eq!(given, id);
            link
        })
        .collect();
    (lab, endpoint, links)
}

fn ask(lab: &mut Lab, endpoint: Link, client: Link, bytes: &[u8]) -> i32 {
    lab.send(endpoint, bytes);
    let answers = lab.queue(client);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!((answers[0].0, &answers[0].2[..]), (2, ""));
    answers[0].1
}

#[test]
fn log_in_answers_in_the_servers_queue_under_the_clients_key() {
    let (mut lab, endpoint, links) = lab_with(&["ola", "jan"]);
    assert_eq!(lab.desk.opened, [(links[0], 1000), (links[1], 1001)]);
    assert_eq!(lab.subscriber(endpoint, 2000, "ola"), Err(-1), "logged in already");
    assert_eq!(lab.subscriber(endpoint, 1001, "ewa"), Err(-1), "the key is bound");
    assert_eq!(lab.subscriber(endpoint, 12345, "ewa"), Err(-1), "Centrala's own key");
    assert_eq!(lab.subscriber(endpoint, 2000, ""), Err(-1), "no name");
    assert_eq!(lab.subscriber(endpoint, 2000, "a/b"), Err(-1), "not a name");
    lab.desk.missing.insert(3000);
    assert_eq!(lab.subscriber(endpoint, 3000, "ewa"), Err(-1), "no such queue");
    for key in [7, 1, 0, -1, i32::MIN] {
        lab.send(endpoint, &topic_request(1, key, 0, 0, "ewa"));
        assert_eq!(lab.got(endpoint), [[0u8; 0]; 0], "key {key} cannot be answered");
    }
    assert_eq!(lab.exchange.usage().sessions, 3, "nothing is left of the refused");
    lab.disconnect(links[0]);
    assert_eq!(lab.subscriber(endpoint, 1000, "ola").unwrap().1, 0, "the same id again");
}

#[test]
fn a_log_in_beyond_clients_nr_is_minus_2() {
    let limits = Limits { topics: Topics { clients: 1, topics: 1 }, ..Limits::new(1024) };
    let mut lab = Lab::new(&ROOMY, limits);
    let endpoint = lab.topics();
    let (ola, _) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    assert_eq!(lab.subscriber(endpoint, 1001, "jan"), Err(-2));
    assert_eq!(ask(&mut lab, endpoint, ola, &topic_request(2, 0, 0, 0, "one")), 0);
    assert_eq!(ask(&mut lab, endpoint, ola, &topic_request(2, 0, 0, 0, "one")), 1);
    assert_eq!(ask(&mut lab, endpoint, ola, &topic_request(2, 0, 0, 0, "two")), 2);
    lab.disconnect(ola);
    let (jan, id) = lab.subscriber(endpoint, 1001, "jan").unwrap();
    assert_eq!(ask(&mut lab, endpoint, jan, &topic_request(3, id, 0, -1, "")), 0);
}

#[test]
fn groups_above_topics_nr_do_not_exist_here() {
    let limits = Limits { topics: Topics { clients: 20, topics: 2 }, ..Limits::new(1024) };
    let mut lab = Lab::new(&ROOMY, limits);
    for name in ["a", "b", "c"] {
        lab.exchange.create_group(name.as_bytes(), 0, &mut lab.shelf).unwrap();
    }
    let endpoint = lab.topics();
    let (ola, _) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    lab.exchange.join(1, 3, -1, &mut lab.shelf).unwrap();
    for kind in [3, 4] {
        assert_eq!(ask(&mut lab, endpoint, ola, &topic_request(kind, 0, 2, 1, "")), 1);
    }
    lab.send(endpoint, &topic_request(5, 0, 0, 0, ""));
    assert_eq!(lab.queue(ola), [text(1, 0, "0. a"), text(1, 0, "1. b"), text(1, 0, "")]);
    lab.send(endpoint, &topic_request(6, 0, 0, 0, ""));
    assert_eq!(lab.queue(ola), [text(1, 0, "")]);
}

#[test]
fn new_topic_answers_0_created_1_exists_2_no_room() {
    let (mut lab, endpoint, links) = lab_with(&["ola"]);
    for (name, answer) in [("sport", 0), ("sport", 1), ("", 1), ("#x", 1), ("news", 0)] {
        let request = topic_request(2, 0, 0, 77, name);
        assert_eq!(ask(&mut lab, endpoint, links[0], &request), answer, "{name:?}");
    }
    lab.send(endpoint, &topic_request(5, 0, 0, 0, ""));
    let list = [text(1, 0, "0. sport"), text(1, 0, "1. news"), text(1, 0, "")];
    assert_eq!(lab.queue(links[0]), list);
    for i in 2..20 {
        let request = topic_request(2, 0, 0, 0, &format!("t{i}"));
        assert_eq!(ask(&mut lab, endpoint, links[0], &request), 0);
    }
    assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(2, 0, 0, 0, "t20")), 2);
}

#[test]
fn a_publication_reaches_subscribers_with_priority_and_not_its_sender() {
    let (mut lab, endpoint, links) = lab_with(&["ola", "jan", "ewa"]);
    assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(2, 0, 0, 0, "sport")), 0);
    for id in 0..2 {
        let request = topic_request(3, id, 0, -1, "");
        assert_eq!(ask(&mut lab, endpoint, links[id as usize], &request), 0);
    }
    for (number, info) in [(1, 1), (5, 5), (0, 3), (6, 3), (-1, 3), (i32::MAX, 3)] {
        assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(4, 0, 0, number, "goal")), 0);
        assert_eq!(lab.queue(links[1]), [text(4, info, "sport: goal")]);
    }
    assert_eq!(lab.got(links[2]), [[0u8; 0]; 0]);
    assert_eq!(ask(&mut lab, endpoint, links[2], &topic_request(4, 2, 0, 1, "outsider")), 0);
    assert_eq!(lab.queue(links[0]), [text(4, 1, "sport: outsider")]);
    for topic in [1, -1, 20, i32::MAX, i32::MIN] {
        assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(4, 0, topic, 1, "x")), 1);
    }
}

#[test]
fn a_subscription_is_counted_down_and_its_end_comes_behind_the_last_message() {
    let (mut lab, endpoint, links) = lab_with(&["ola", "jan"]);
    let (ola, jan) = (links[0], links[1]);
    assert_eq!(ask(&mut lab, endpoint, ola, &topic_request(2, 0, 0, 0, "sport")), 0);
    for (topic, number, answer) in
        [(0, 0, 1), (0, -2, 1), (0, i32::MIN, 1), (1, -1, 1), (-1, 1, 1), (0, 5, 0), (0, 2, 0)]
    {
        let request = topic_request(3, 1, topic, number, "");
        assert_eq!(ask(&mut lab, endpoint, jan, &request), answer, "{topic} {number}");
    }
    for i in 0..3 {
        let request = topic_request(4, 0, 0, 3, &format!("goal {i}"));
        assert_eq!(ask(&mut lab, endpoint, ola, &request), 0);
    }
    let want = [text(4, 3, "sport: goal 0"), text(4, 3, "sport: goal 1"), text(3, 0, "0. sport")];
    assert_eq!(lab.queue(jan), want);
    assert_eq!(lab.exchange.usage().memberships, 0);
    assert!(lab.shelf.records.contains(&"no member 2 of 1".to_string()));
}

#[test]
fn a_stored_message_counts_too_and_the_end_waits_behind_it() {
    let (mut lab, endpoint, links) = lab_with(&["ola", "jan"]);
    assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(2, 0, 0, 0, "sport")), 0);
    assert_eq!(ask(&mut lab, endpoint, links[1], &topic_request(3, 1, 0, 2, "")), 0);
    lab.room(links[1], 70);
    for i in 0..3 {
        let request = topic_request(4, 0, 0, 3, &format!("goal {i}"));
        assert_eq!(ask(&mut lab, endpoint, links[0], &request), 0);
    }
    assert_eq!(lab.queue(links[1]), [text(4, 3, "sport: goal 0")]);
    lab.room(links[1], 1000);
    assert_eq!(lab.queue(links[1]), [text(4, 3, "sport: goal 1"), text(3, 0, "0. sport")]);
    with_io!(lab, taken(links[1], 1));

    assert_eq!(ask(&mut lab, endpoint, links[1], &topic_request(3, 1, 0, 1, "")), 0);
    lab.disconnect(links[1]);
    assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(4, 0, 0, 3, "offline")), 0);
    let (jan, _) = lab.subscriber(endpoint, 1001, "jan").unwrap();
    assert_eq!(lab.queue(jan), [text(4, 3, "sport: offline"), text(3, 0, "0. sport")]);
}

#[test]
fn the_backlog_is_by_priority_then_in_order() {
    let (mut lab, endpoint, links) = lab_with(&["ola", "jan"]);
    assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(2, 0, 0, 0, "t")), 0);
    assert_eq!(ask(&mut lab, endpoint, links[1], &topic_request(3, 1, 0, -1, "")), 0);
    lab.room(links[1], 0);
    for (i, priority) in [3, 5, 1, 3, 1, 2, 9].into_iter().enumerate() {
        let request = topic_request(4, 0, 0, priority, &i.to_string());
        assert_eq!(ask(&mut lab, endpoint, links[0], &request), 0);
    }
    lab.room(links[1], 150);
    lab.room(links[1], 10_000);
    let order: Vec<String> = lab.queue(links[1]).into_iter().map(|(_, _, text)| text).collect();
    assert_eq!(order, ["t: 2", "t: 4", "t: 5", "t: 0", "t: 3", "t: 6", "t: 1"]);
}

#[test]
fn lists_are_sent_as_there_is_room_and_an_answer_comes_behind_them() {
    let (mut lab, endpoint, links) = lab_with(&["ola"]);
    for i in 0..6 {
        let request = topic_request(2, 0, 0, 0, &format!("t{i}"));
        assert_eq!(ask(&mut lab, endpoint, links[0], &request), 0);
    }
    lab.room(links[0], 130);
    lab.send(endpoint, &topic_request(5, 0, 0, 0, ""));
    assert_eq!(lab.queue(links[0]), [text(1, 0, "0. t0"), text(1, 0, "1. t1")]);
    lab.room(links[0], 64);
    assert_eq!(lab.queue(links[0]), [text(1, 0, "2. t2")]);
    lab.send(endpoint, &topic_request(3, 0, 9, 1, ""));
    let rest = [
        text(1, 0, "3. t3"),
        text(1, 0, "4. t4"),
        text(1, 0, "5. t5"),
        text(1, 0, ""),
        text(2, 1, ""),
    ];
    assert_eq!(lab.queue(links[0]), rest);
}

#[test]
fn my_topics_are_those_subscribed_to() {
    let (mut lab, endpoint, links) = lab_with(&["ola"]);
    for name in ["a", "b", "c"] {
        assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(2, 0, 0, 0, name)), 0);
    }
    for topic in [2, 0] {
        assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(3, 0, topic, -1, "")), 0);
    }
    lab.send(endpoint, &topic_request(6, 0, 0, 0, ""));
    let mine = [text(1, 0, "0. a"), text(1, 0, "2. c"), text(1, 0, "")];
    assert_eq!(lab.queue(links[0]), mine);
}

#[test]
fn an_answer_to_a_log_in_that_nobody_fetches_is_taken_back_after_10_s() {
    let (mut lab, endpoint, links) = lab_with(&["ola"]);
    lab.desk.unfetched.insert(1000, vec![vec![]]);
    lab.wait(9_999);
    assert_eq!(lab.exchange.usage().sessions, 2);
    lab.wait(1);
    assert_eq!(lab.desk.closed, [links[0]], "it cannot know its id");
    assert_eq!(lab.desk.notes, [Note::Recalled { address: 1000 }]);
    let (_, id) = lab.subscriber(endpoint, 1000, "ola").unwrap();
    assert_eq!(id, 0);
    lab.wait(10_000);
    assert_eq!(lab.exchange.usage().sessions, 2, "fetched: nothing to take back");
    assert_eq!(lab.subscriber(endpoint, 2000, "ola"), Err(-1));
    lab.desk.unfetched.insert(2000, vec![vec![]]);
    lab.wait(10_000);
    assert!(lab.desk.unfetched.is_empty(), "a refusal is taken back too");
}

#[test]
fn requests_that_are_none_are_dropped_and_counted() {
    let (mut lab, endpoint, links) = lab_with(&["ola"]);
    let whole = topic_request(5, 0, 0, 0, "");
    let mut dropped = 0;
    for bytes in [
        topic_request(8, 0, 0, 0, ""),
        topic_request(0, 0, 0, 0, ""),
        topic_request(-5, 0, 0, 0, ""),
        topic_request(5, 1, 0, 0, ""),
        topic_request(5, -1, 0, 0, ""),
        topic_request(4, i32::MIN, 0, 0, "x"),
        topic_request(4, i32::MAX, 0, 0, "x"),
        whole[..19].to_vec(),
        vec![0; 1049],
        vec![1],
    ] {
        lab.send(endpoint, &bytes);
        dropped += 1;
        assert_eq!(lab.exchange.counters().dropped, dropped, "{bytes:?}");
    }
    lab.send(endpoint, &whole[..20]);
    assert_eq!(lab.queue(links[0]), [text(1, 0, "")], "fixed fields whole, no text at all");
    let mut unpadded = topic_request(2, 0, 0, 0, &"x".repeat(29));
    unpadded.resize(1044, b'?');
    assert_eq!(ask(&mut lab, endpoint, links[0], &unpadded), 0, "padded or not");
}

#[test]
fn text_without_a_nul_ends_with_the_message_and_a_long_one_is_cut() {
    let (mut lab, endpoint, links) = lab_with(&["ola", "jan"]);
    assert_eq!(ask(&mut lab, endpoint, links[0], &topic_request(2, 0, 0, 0, &"n".repeat(29))), 0);
    assert_eq!(ask(&mut lab, endpoint, links[1], &topic_request(3, 1, 0, -1, "")), 0);
    let mut publish = topic_request(4, 0, 0, 1, "");
    publish.truncate(20);
    publish.extend_from_slice(&[b'x'; 1024]);
    publish.extend_from_slice(b"pad!");
    assert_eq!(ask(&mut lab, endpoint, links[0], &publish), 0);
    let [(4, 1, got)] = &lab.queue(links[1])[..] else { panic!() };
    assert_eq!(got.len(), 29 + 2 + 1024, "MESSAGE_LENGTH + NAME_LENGTH + 2, less the NUL");
    assert_eq!(*got, format!("{}: {}", "n".repeat(29), "x".repeat(1024)));
}

#[test]
fn shut_down_is_asked_of_the_host() {
    let (mut lab, endpoint, _) = lab_with(&["ola"]);
    for id in [0, 5, -1] {
        lab.desk.shut_down = false;
        lab.send(endpoint, &topic_request(7, id, 0, 0, ""));
        assert!(lab.desk.shut_down, "whoever may write to the queue may ask: {id}");
    }
}

#[test]
fn a_password_stands_behind_the_name_and_a_wrong_one_is_minus_1() {
    let mut lab = Lab::default();
    let endpoint = lab.topics();
    let ola = lab.exchange.create_user(b"ola", &mut lab.shelf).unwrap();
    lab.exchange.set_password(ola, true).unwrap();
    for (text, password, right) in
        [("ola\0wrong\0", "wrong", false), ("ola", "", false), ("ola\0secret", "secret", true)]
    {
        let mut request = topic_request(1, 1000, 0, 0, text);
        request.extend_from_slice(&[0; 8]);
        lab.send(endpoint, &request);
        assert_eq!(lab.got(endpoint), [[0u8; 0]; 0]);
        let (token, user, given) = lab.desk.asked.pop().unwrap();
        assert_eq!((user, &given[..]), (Some(ola), password.as_bytes()));
        let answered = with_io!(lab, answer_question(token, Reply::Verified(right)));
        assert_eq!(answered.is_ok(), right);
        let info = if right { 0 } else { -1 };
        assert_eq!(topic_message(&lab.got(endpoint)[0]), (1000, info, String::new()));
    }
    assert_eq!(lab.subscriber(endpoint, 1001, "jan\0stack rubbish").unwrap().1, 1, "ignored");
}

#[test]
fn a_direct_message_has_its_own_type_and_its_own_share_of_the_queue() {
    let (mut lab, endpoint, links) = lab_with(&["ola", "jan"]);
    let ola = links[0];
    let anna = lab.direct("anna");
    lab.send(anna, &frame(0, 7, "anna", "ola", b"hej"));
    assert_eq!(lab.queue(ola), [text(1_000_002, 3, "anna: hej")]);
    let answered = [frame(1, 7, "ola", "anna", b"200")];
    assert_eq!(lab.got(anna), answered, "the server answers once the transport has taken it");

    assert_eq!(ask(&mut lab, endpoint, links[1], &topic_request(2, 1, 0, 0, "t")), 0);
    assert_eq!(ask(&mut lab, endpoint, ola, &topic_request(3, 0, 0, -1, "")), 0);
    with_io!(lab, room(ola, Room { direct: 100, ..Room::of(8192) }));
    for id in 8..12 {
        lab.send(anna, &frame(0, id, "anna", "ola", &[b'x'; 20]));
    }
    assert_eq!(lab.got(ola).len(), 1);
    assert_eq!(ask(&mut lab, endpoint, links[1], &topic_request(4, 1, 0, 1, "news")), 0);
    assert_eq!(lab.queue(ola), [text(4, 1, "t: news")], "unread direct messages stop nobody");
    assert_eq!(lab.got(anna), [frame(1, 8, "ola", "anna", b"200")]);
    lab.wait(3_000);
    let stored: Vec<_> = (9..12).map(|id| frame(1, id, "ola", "anna", b"300")).collect();
    assert_eq!(lab.got(anna), stored);
    lab.room(ola, 8192);
    assert_eq!(lab.queue(ola).len(), 3);
    assert_eq!(lab.desk.closed, [], "its client is not asked to answer");
}

#[test]
fn a_short_direct_message_does_not_overtake_a_long_one() {
    let (mut lab, _, links) = lab_with(&["ola", "jan"]);
    let (ola, anna) = (links[0], lab.direct("anna"));
    with_io!(lab, room(ola, Room { direct: 0, ..Room::of(8192) }));
    for (id, text) in [(1, &[b'x'; 500][..]), (2, b"short")] {
        lab.send(anna, &frame(0, id, "anna", "ola", text));
    }
    with_io!(lab, room(ola, Room { direct: 100, ..Room::of(8192) }));
    assert!(lab.got(ola).is_empty(), "there is room for the second one only");
    lab.room(ola, 8192);
    let texts: Vec<usize> = lab.queue(ola).iter().map(|(_, _, text)| text.len()).collect();
    assert_eq!(texts, ["anna: ".len() + 500, "anna: short".len()]);
}

#[test]
fn what_lies_unread_comes_back_before_all_that_waits() {
    let (mut lab, endpoint, links) = lab_with(&["ola", "jan"]);
    let (ola, jan) = (links[0], links[1]);
    assert_eq!(ask(&mut lab, endpoint, ola, &topic_request(2, 0, 0, 0, "a: b")), 0);
    assert_eq!(ask(&mut lab, endpoint, jan, &topic_request(3, 1, 0, -1, "")), 0);
    for i in 0..3 {
        let request = topic_request(4, 0, 0, 3, &i.to_string());
        assert_eq!(ask(&mut lab, endpoint, ola, &request), 0);
    }
    let unread = lab.got(jan);
    assert_eq!(topic_message(&unread[0]), text(4, 3, "a: b: 0"));
    lab.room(jan, 0);
    assert_eq!(ask(&mut lab, endpoint, ola, &topic_request(4, 0, 0, 3, "3")), 0);
    for bytes in unread.iter().rev() {
        with_io!(lab, give_back(jan, bytes));
    }
    with_io!(lab, give_back(jan, b"rubbish"));
    lab.disconnect(jan);
    assert_eq!(lab.exchange.usage().entries, 4);
    let (jan, _) = lab.subscriber(endpoint, 1001, "jan").unwrap();
    let again: Vec<_> = lab.given(jan);
    assert!(again.iter().all(|given| matches!(given, Given::Mail(..))));
    let texts: Vec<_> = again.iter().map(|given| topic_message(given.bytes()).2).collect();
    assert_eq!(texts, ["a: b: 0", "a: b: 1", "a: b: 2", "a: b: 3"]);
    with_io!(lab, taken(jan, 4));
    assert_eq!((lab.exchange.usage().entries, lab.exchange.usage().messages), (0, 0));
    assert_eq!(lab.exchange.counters().not_kept, 0);
}
