//! The rules of `lanes`, one test each, in the document's struct.

use centrala_core::dialect::lanes::{BasicTxt, Element, Order};
use centrala_core::exchange::Link;
use centrala_core::host::{Reply, Room};
use centrala_core::limits::{Lanes, Limits, Registration};
use centrala_tests::lab::{Lab, ROOMY, frame, topic_request};
use centrala_tests::with_io;

const USERS: i32 = 5;
const GROUPS: u32 = 3;

fn element(lane: i64, first: i32, second: i32, text: &str) -> Vec<u8> {
    let mut bytes = vec![0; 528];
    let len = Element { lane, first, second, text: text.as_bytes() }.emit(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

type Parsed = (i64, i32, i32, String);

fn parsed(bytes: &[u8]) -> Parsed {
    let e = Element::new_checked(bytes).unwrap();
    (e.lane, e.first, e.second, String::from_utf8(e.text.to_vec()).unwrap())
}

fn want(lane: i64, first: i32, second: i32, text: &str) -> Parsed {
    (lane, first, second, text.to_string())
}

fn inbox(lab: &mut Lab, link: Link) -> Vec<Parsed> {
    lab.got(link).iter().map(|bytes| parsed(bytes)).collect()
}

fn limits() -> Limits {
    let lanes = Lanes { users: USERS as u32, groups: GROUPS };
    Limits { lanes, ..Limits::new(1024) }
}

/// A lab with users 1, 2, … without a password, and groups g1, g2, g3.
fn lab_of(names: &[&str]) -> (Lab, Link) {
    let mut lab = Lab::new(&ROOMY, limits());
    let server = lab.lanes();
    for name in names {
        lab.exchange.create_user(name.as_bytes(), &mut lab.shelf).unwrap();
    }
    for group in ["g1", "g2", "g3"] {
        lab.exchange.create_group(group.as_bytes(), 0, &mut lab.shelf).unwrap();
    }
    (lab, server)
}

/// The same with all of them logged in.
fn lab_with(names: &[&str]) -> (Lab, Link, Vec<Link>) {
    let (mut lab, server) = lab_of(names);
    for name in names {
        lab.send(server, &element(1, 0, 1, name));
    }
    lab.wait(5);
    let links = lab.desk.opened.iter().map(|(link, _)| *link).collect();
    assert_eq!(lab.got(server).len(), 2 * names.len());
    lab.wait(5_000);
    (lab, server, links)
}

/// Asks as user k, and reads the one answer.
fn ask(lab: &mut Lab, server: Link, link: Link, k: i32, order: Order, text: &str) -> Parsed {
    lab.send(server, &element(1, k + 3, order.second(GROUPS), text));
    let answers = inbox(lab, link);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(answers[0].0, i64::from(k + 3 + USERS), "on the lane of its answers");
    answers[0].clone()
}

#[test]
fn log_ins_that_wait_get_their_first_messages_in_order_and_then_their_second_ones() {
    let (mut lab, server) = lab_of(&["ola", "jan", "ewa"]);
    lab.exchange.set_password(2, true).unwrap();
    lab.send(server, &element(1, 0, 1, "ola x"));
    lab.send(server, &element(1, 0, 1, "jan secret"));
    lab.send(server, &element(1, 0, 1, "nobody x"));
    lab.reply(Reply::Prepared(false)).unwrap();
    lab.send(server, &element(1, 0, 1, "ewa "));
    lab.send(server, &element(1, 0, 1, "ewa x"));
    lab.wait(5);
    assert_eq!(lab.got(server), [[0u8; 0]; 0], "one of them is not decided");
    lab.send(server, &element(1, 0, 1, ""));
    lab.reply(Reply::Verified(true)).unwrap();
    assert_eq!(lab.got(server), [[0u8; 0]; 0], "another has just come");
    lab.wait(5);
    let answers = [
        want(2, 4, 0, "Zalogowano\n"),
        want(2, 5, 0, "Zalogowano\n"),
        want(2, 0, 1, "Zly login\n"),
        want(2, 6, 0, "Zalogowano\n"),
        want(2, 0, 1, "Taka osoba juz jest zalogowana\n"),
        want(2, 0, 1, "Zly login\n"),
        want(2, USERS, GROUPS as i32, ""),
        want(2, USERS, GROUPS as i32, ""),
        want(2, USERS, GROUPS as i32, ""),
    ];
    assert_eq!(inbox(&mut lab, server), answers);
    assert_eq!(lab.exchange.usage().sessions, 4);
    let mut lanes: Vec<_> = lab.desk.opened.iter().map(|(_, address)| *address).collect();
    lanes.sort_unstable();
    assert_eq!(lanes, [4, 5, 6]);
}

#[test]
fn a_wrong_password_an_unknown_login_and_a_user_without_a_lane() {
    let (mut lab, server) = lab_of(&["ola", "two", "three", "four", "five", "six"]);
    lab.exchange.set_password(1, true).unwrap();
    let mut logged = |text: &str, reply: Option<Reply>, answer: &str| {
        lab.send(server, &element(1, 0, 1, text));
        if let Some(reply) = reply {
            let _ = lab.reply(reply);
        }
        lab.wait(5);
        assert_eq!(inbox(&mut lab, server), [want(2, 0, 1, answer)], "{text}");
    };
    logged("ola wrong", Some(Reply::Verified(false)), "Zle haslo\n");
    logged("six x", None, "Zly login\n");
    logged("a/b x", None, "Zly login\n");
    logged("seven x", None, "Zly login\n");
    assert_eq!(lab.exchange.usage().sessions, 1);
    assert_eq!(lab.exchange.usage().users, 6, "nobody above p is made here");
}

#[test]
fn an_unknown_name_is_made_with_its_password_while_there_are_lanes() {
    let (mut lab, server) = lab_of(&["ola"]);
    lab.send(server, &element(1, 0, 1, "jan_kowal secret word"));
    assert_eq!(lab.desk.asked[0].2, b"secret word", "all behind the first space");
    lab.reply(Reply::Prepared(true)).unwrap();
    lab.wait(5);
    assert_eq!(inbox(&mut lab, server)[0], want(2, 5, 0, "Zalogowano\n"));
    assert_eq!(lab.shelf.records.last().unwrap(), "user 2 jan_kowal with a password");

    let closed = Limits { registration: Registration::Closed, ..limits() };
    let mut lab = Lab::new(&ROOMY, closed);
    let server = lab.lanes();
    lab.send(server, &element(1, 0, 1, "jan secret"));
    lab.reply(Reply::Verified(false)).unwrap();
    lab.wait(5);
    assert_eq!(inbox(&mut lab, server), [want(2, 0, 1, "Zly login\n")]);
}

#[test]
fn a_name_whose_place_is_taken_while_its_password_is_looked_at_is_not_made() {
    let (mut lab, server) = lab_of(&["u1", "u2", "u3", "u4"]);
    lab.send(server, &element(1, 0, 1, "new secret"));
    lab.exchange.create_user(b"u5", &mut lab.shelf).unwrap();
    let _ = lab.reply(Reply::Prepared(true));
    lab.wait(5);
    assert_eq!(inbox(&mut lab, server), [want(2, 0, 1, "Zly login\n")], "user 6 has no lane");
    assert_eq!(lab.exchange.usage().users, 5);
}

#[test]
fn nothing_is_delivered_before_a_log_in_is_answered_and_then_the_oldest_first() {
    let (mut lab, server) = lab_of(&["ola", "jan"]);
    let jan = lab.direct("jan");
    lab.send(jan, &frame(0, 1, "jan", "ola", b"old"));
    lab.send(server, &element(1, 0, 1, "ola"));
    let ola = lab.desk.opened[0].0;
    lab.send(jan, &frame(0, 2, "jan", "ola", b"new"));
    with_io!(lab, room(ola, Room::of(1 << 20)));
    assert_eq!(lab.got(ola), [[0u8; 0]; 0], "there may be others to be answered with it");
    lab.wait(5);
    assert_eq!(inbox(&mut lab, server)[0], want(2, 4, 0, "Zalogowano\n"));
    assert_eq!(inbox(&mut lab, ola), [want(4, 5, 0, "old"), want(4, 5, 0, "new")]);
}

#[test]
fn a_name_alone_waits_1_s_for_its_password_and_nobody_waits_for_it() {
    let (mut lab, server) = lab_of(&["ola", "jan"]);
    lab.exchange.set_password(1, true).unwrap();
    lab.send(server, &element(1, 0, 1, "ola"));
    lab.send(server, &element(1, 0, 1, "jan"));
    lab.wait(5);
    assert_eq!(inbox(&mut lab, server).len(), 2, "jan has no password and is in");
    lab.wait(900);
    lab.send(server, &element(3, 0, 0, "secret"));
    assert_eq!((lab.desk.asked[0].1, &lab.desk.asked[0].2[..]), (Some(1), &b"secret"[..]));
    lab.reply(Reply::Verified(true)).unwrap();
    assert_eq!(inbox(&mut lab, server)[0], want(2, 4, 0, "Zalogowano\n"));
    lab.disconnect(lab.desk.opened[1].0);
    lab.send(server, &element(1, 0, 1, "ola"));
    lab.wait(1_000);
    assert_eq!(inbox(&mut lab, server), [want(2, 0, 1, "Zle haslo\n")]);
    let dropped = lab.exchange.counters().dropped;
    lab.send(server, &element(3, 0, 0, "late"));
    assert_eq!(lab.exchange.counters().dropped, dropped + 1);
}

#[test]
fn an_answer_to_a_log_in_unread_for_5_s_is_removed_and_its_user_logged_out() {
    let (mut lab, server) = lab_of(&["ola", "jan", "ewa"]);
    for name in ["ola", "jan", "ewa"] {
        lab.send(server, &element(1, 0, 1, name));
    }
    lab.wait(5);
    let answers = lab.got(server);
    // ola never reads; jan reads both; ewa reads its first and dies.
    let left = [&answers[0], &answers[3], &answers[4]].map(Clone::clone).to_vec();
    lab.desk.unfetched.insert(2, left);
    let jan = lab.exchange.find_user(centrala_core::request::Target::User(2)).unwrap().number;
    lab.send(server, &element(1, jan as i32 + 3, 3, ""));
    lab.wait(4_999);
    assert_eq!(lab.exchange.usage().sessions, 4);
    lab.wait(1);
    assert_eq!(lab.exchange.usage().sessions, 2);
    assert_eq!(lab.exchange.user_of(lab.desk.opened[1].0).unwrap().name, b"jan");
    assert!(lab.desk.unfetched.is_empty());
}

#[test]
fn a_log_in_unread_when_its_session_ends_is_removed_with_it() {
    let (mut lab, server) = lab_of(&["ola"]);
    let log_in = |lab: &mut Lab| {
        lab.send(server, &element(1, 0, 1, "ola"));
        lab.wait(5);
        let answers = lab.got(server);
        assert_eq!(parsed(&answers[0]), want(2, 4, 0, "Zalogowano\n"));
        lab.desk.unfetched.entry(2).or_default().extend(answers);
        lab.desk.opened.last().unwrap().0
    };
    let first = log_in(&mut lab);
    // Its client dies before it reads, and comes back at once.
    lab.desk.dead.push(first);
    let second = log_in(&mut lab);
    assert_eq!(lab.desk.closed, [first]);
    assert_eq!(lab.desk.unfetched[&2].len(), 2, "only what is for the second one");
    lab.desk.unfetched.clear();
    lab.wait(5_000);
    assert!(lab.exchange.user_of(second).is_some(), "it has read its own");
}

#[test]
fn a_password_that_came_in_time_may_take_its_time() {
    let (mut lab, server) = lab_of(&["ola"]);
    lab.exchange.set_password(1, true).unwrap();
    lab.send(server, &element(1, 0, 1, "ola"));
    lab.wait(900);
    lab.send(server, &element(3, 0, 0, "secret"));
    lab.wait(2_000);
    assert_eq!(lab.got(server), [[0u8; 0]; 0], "it is being looked at");
    lab.reply(Reply::Verified(true)).unwrap();
    assert_eq!(inbox(&mut lab, server)[0], want(2, 4, 0, "Zalogowano\n"));
}

#[test]
fn a_refusal_that_nobody_reads_is_removed_after_5_s_and_a_younger_one_is_not() {
    let (mut lab, server) = lab_of(&["six"]);
    let refused = |lab: &mut Lab| {
        lab.send(server, &element(1, 0, 1, "a/b x"));
        lab.wait(5);
        lab.got(server).remove(0)
    };
    let first = refused(&mut lab);
    lab.wait(2_000);
    let second = refused(&mut lab);
    lab.desk.unfetched.insert(2, vec![first, second]);
    lab.wait(2_989);
    assert_eq!(lab.desk.unfetched[&2].len(), 2);
    lab.wait(6);
    assert_eq!(lab.desk.unfetched[&2].len(), 1, "the older one");
    lab.wait(2_005);
    assert!(lab.desk.unfetched.is_empty());
}

#[test]
fn a_log_in_empties_the_lane_of_stale_answers() {
    let (mut lab, server) = lab_of(&["ola"]);
    lab.desk.unfetched.insert(i64::from(4 + USERS), vec![element(4, 0, 0, "stale")]);
    lab.send(server, &element(1, 0, 1, "ola"));
    lab.wait(5);
    assert!(lab.desk.unfetched.is_empty());
}

#[test]
fn every_order_at_its_edges() {
    let (mut lab, server, links) = lab_with(&["ola", "jan", "u3", "u4", "u5"]);
    let (ola, jan) = (links[0], links[1]);
    let answer = |second, text: &str| want(i64::from(4 + USERS), 4, second, text);
    for group in [1, GROUPS] {
        let mut go = |order, text| ask(&mut lab, server, ola, 1, order, text);
        assert_eq!(go(Order::ToGroup(group), "x"), answer(0, "Nie nalezysz do tej grupy\n"));
        assert_eq!(go(Order::Join(group), ""), answer(group as i32, ""));
        assert_eq!(go(Order::Members(group), ""), answer(0, "ola "));
        assert_eq!(go(Order::ToGroup(group), "x"), answer(0, "Wiadomosc wyslana"));
        assert_eq!(go(Order::Leave(group), ""), answer(group as i32, ""));
        assert_eq!(go(Order::Leave(group), ""), answer(group as i32, ""), "done already");
        assert_eq!(go(Order::Members(group), ""), answer(0, ""));
    }
    let mut go = |order, text| ask(&mut lab, server, ola, 1, order, text);
    assert_eq!(go(Order::Online, ""), answer(0, "ola,jan,u3,u4,u5,"));
    for user in [1, USERS as u32] {
        let told = ask(&mut lab, server, jan, 2, Order::ToUser(user), "hej");
        assert_eq!(told, want(i64::from(5 + USERS), 5, 0, "Wiadomosc wyslana"));
        let got = inbox(&mut lab, links[user as usize - 1]);
        assert_eq!(got, [want(i64::from(user) + 3, 5, 0, "hej")], "`first` is the sender's");
    }
    let last = Order::ToUser(USERS as u32).second(GROUPS);
    for second in [0, -1, last + 1, i32::MAX, i32::MIN] {
        lab.send(server, &element(1, 4, second, "x"));
        let blad = [want(i64::from(4 + USERS), 0, 0, "Blad\n")];
        let (own, shared) = (inbox(&mut lab, ola), inbox(&mut lab, server));
        assert_eq!(
            [own, shared].concat().iter().map(|e| (e.0, &e.3)).collect::<Vec<_>>(),
            [(blad[0].0, &blad[0].3)],
            "{second}"
        );
    }
    lab.send(server, &element(1, 4, 2, ""));
    assert_eq!(inbox(&mut lab, ola), [answer(2, "")], "log-out is answered");
    assert_eq!(lab.desk.closed, [ola]);
}

#[test]
fn a_request_out_of_range_is_answered_behind_the_list_before_it() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    lab.room(links[0], 0);
    lab.send(server, &element(1, 4, Order::Online.second(GROUPS), ""));
    assert_eq!(lab.got(links[0]), [[0u8; 0]; 0], "no room");
    lab.send(server, &element(1, 4, 0, ""));
    let lane = i64::from(4 + USERS);
    let answers = [want(lane, 4, 0, "ola,jan,"), want(lane, 4, 0, "Blad\n")];
    assert_eq!(inbox(&mut lab, links[0]), answers);
}

#[test]
fn who_is_not_logged_in_gets_blad_on_the_lane_it_names_if_there_is_one() {
    let (mut lab, server) = lab_of(&["ola"]);
    for first in [4, 3 + USERS] {
        lab.send(server, &element(1, first, 3, ""));
        let answer = want(i64::from(first + USERS), first, 0, "Blad\n");
        assert_eq!(inbox(&mut lab, server), [answer]);
    }
    let dropped = lab.exchange.counters().dropped;
    for first in [3, 0, -1, 4 + USERS, i32::MAX, i32::MIN] {
        lab.send(server, &element(1, first, 3, ""));
        assert_eq!(lab.got(server), [[0u8; 0]; 0], "{first}");
    }
    for bytes in [element(2, 4, 3, ""), element(4, 4, 3, ""), vec![1; 15], vec![0; 529]] {
        lab.send(server, &bytes);
    }
    assert_eq!(lab.exchange.counters().dropped, dropped + 10);
}

#[test]
fn a_message_to_a_free_place_or_one_that_cannot_be_kept_is_blad() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    assert_eq!(ask(&mut lab, server, links[0], 1, Order::ToUser(4), "x").3, "Blad\n");
    lab.disconnect(links[1]);
    lab.shelf.full = true;
    assert_eq!(ask(&mut lab, server, links[0], 1, Order::ToUser(2), "x").3, "Blad\n");
    lab.shelf.full = false;
    assert_eq!(ask(&mut lab, server, links[0], 1, Order::ToUser(2), "x").3, "Wiadomosc wyslana");
    lab.send(server, &element(1, 0, 1, "jan"));
    lab.wait(5);
    let jan = lab.desk.opened[2].0;
    assert_eq!(inbox(&mut lab, jan), [want(5, 4, 0, "x")], "offline mail, behind the log-in");
}

#[test]
fn senders_and_groups_without_a_number_here_are_named_in_the_text() {
    let (mut lab, _, links) = lab_with(&["ola"]);
    for name in ["two", "three", "four", "five", "six"] {
        lab.exchange.create_user(name.as_bytes(), &mut lab.shelf).unwrap();
    }
    let far = lab.exchange.create_group(b"far off", 0, &mut lab.shelf).unwrap();
    lab.exchange.join(1, far, -1, &mut lab.shelf).unwrap();
    lab.exchange.join(1, 2, -1, &mut lab.shelf).unwrap();
    let (two, six) = (lab.direct("two"), lab.direct("six"));
    lab.send(two, &frame(0, 1, "two", "ola", b"dm"));
    lab.send(six, &frame(0, 1, "six", "ola", b"dm"));
    lab.send(two, &frame(0, 2, "two", "#g2", b"group"));
    lab.send(two, &frame(0, 3, "two", "#far off", b"group"));
    lab.send(six, &frame(0, 2, "six", "#4", b"group"));
    let got = [
        want(4, 5, 0, "dm"),
        want(4, 3, 0, "six: dm"),
        want(4, 5, 2, "group"),
        want(4, 5, 0, "#far off group"),
        want(4, 3, 0, "#far off six: group"),
    ];
    assert_eq!(inbox(&mut lab, links[0]), got);
    lab.send(two, &frame(0, 4, "two", "ola", &[b'x'; 1000]));
    assert_eq!(inbox(&mut lab, links[0])[0].3, format!("{}…", "x".repeat(508)));
}

#[test]
fn a_group_message_has_a_lane_for_each_member() {
    let (mut lab, server, links) = lab_with(&["ola", "jan", "ewa"]);
    for k in 1..=3 {
        lab.exchange.join(k, 1, -1, &mut lab.shelf).unwrap();
    }
    assert_eq!(ask(&mut lab, server, links[1], 2, Order::ToGroup(1), "hej").3, "Wiadomosc wyslana");
    assert_eq!(inbox(&mut lab, links[0]), [want(4, 5, 1, "hej")]);
    assert_eq!(inbox(&mut lab, links[2]), [want(6, 5, 1, "hej")]);
}

#[test]
fn what_lies_for_a_user_who_logs_out_is_taken_back_and_comes_again() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    for text in ["one", "two"] {
        ask(&mut lab, server, links[1], 2, Order::ToUser(1), text);
    }
    let lying = lab.got(links[0]);
    lab.desk.lying.insert(links[0].index(), lying);
    lab.send(server, &element(1, 4, 2, ""));
    ask(&mut lab, server, links[1], 2, Order::ToUser(1), "three");
    lab.send(server, &element(1, 0, 1, "ola"));
    lab.wait(5);
    let ola = lab.desk.opened[2].0;
    let got = ["one", "two", "three"].map(|text| want(4, 5, 0, text));
    assert_eq!(inbox(&mut lab, ola), got);
    with_io!(lab, taken(ola, 3));
    assert_eq!(lab.exchange.usage().entries, 0);
}

#[test]
fn a_silent_number_can_be_taken_over_after_60_s_or_when_its_client_is_known_to_be_gone() {
    let (mut lab, server, links) = lab_with(&["ola"]);
    let again = |lab: &mut Lab| {
        lab.send(server, &element(1, 0, 1, "ola"));
        lab.wait(5);
        inbox(lab, server)[0].3.clone()
    };
    assert_eq!(again(&mut lab), "Taka osoba juz jest zalogowana\n");
    ask(&mut lab, server, links[0], 1, Order::Online, "");
    lab.wait(59_000);
    assert_eq!(again(&mut lab), "Taka osoba juz jest zalogowana\n");
    lab.wait(1_000);
    assert_eq!(again(&mut lab), "Zalogowano\n");
    assert_eq!(lab.desk.closed.iter().filter(|link| **link == links[0]).count(), 1);
    lab.desk.dead.push(lab.desk.opened[1].0);
    assert_eq!(again(&mut lab), "Zalogowano\n", "at once");
}

#[test]
fn the_file_of_names() {
    let (mut lab, _server) = lab_of(&["ola", "jan kowal"]);
    lab.exchange.join(2, 2, -1, &mut lab.shelf).unwrap();
    lab.exchange.join(1, 2, -1, &mut lab.shelf).unwrap();
    with_io!(lab, remove_user(1)).unwrap();
    lab.exchange.remove_group(3, &mut lab.shelf).unwrap();
    let file = "o 1 - \no 2 jan_kowal \no 3 - \no 4 - \no 5 - \ng 1 g1 \ng 2 g2 2 \ng 3 - \n";
    assert_eq!(BasicTxt(&lab.exchange).to_string(), file);
}

#[test]
fn no_room_in_the_shared_queue_holds_up_deliveries_but_no_answers() {
    let (mut lab, server, links) = lab_with(&["ola", "jan"]);
    with_io!(lab, room(links[0], Room::default()));
    let topics = lab.topics();
    let (_, id) = lab.subscriber(topics, 1000, "ewa").unwrap();
    lab.send(topics, &topic_request(4, id, 0, 0, "x"));
    assert_eq!(ask(&mut lab, server, links[1], 2, Order::ToUser(1), "x").3, "Wiadomosc wyslana");
    assert_eq!(lab.got(links[0]), [[0u8; 0]; 0]);
    lab.send(server, &element(1, 4, Order::Join(1).second(GROUPS), ""));
    assert_eq!(inbox(&mut lab, links[0]).len(), 1);
    lab.room(links[0], 1000);
    assert_eq!(inbox(&mut lab, links[0]), [want(4, 5, 0, "x")]);
}
