//! The rules of `rooms`: who gets what, what is refused and why, and the way to other dialects.

use centrala_core::dialect::Dialect;
use centrala_core::exchange::Link;
use centrala_core::host::{Count, Posted, Reply, Room};
use centrala_core::limits::{Limits, Registration};
use centrala_core::request::Chat;
use centrala_tests::lab::{Given, Lab, ROOMY, Sizes, frame, topic_request};
use centrala_tests::with_io;
use serde_json::{Value, json};

/// The first message's place among all.
const FIRST: u64 = 1 << 62;
/// When the lab's clock stands still.
const NOW: u64 = 1_700_000_000_000;

fn connect(lab: &mut Lab) -> Link {
    lab.exchange.connect(Dialect::Rooms, Room::of(1 << 20), lab.now).expect("a free session")
}

/// Sends an event.
fn call(lab: &mut Lab, link: Link, event: Value) {
    lab.send(link, &rmp_serde::to_vec(&event).unwrap());
}

/// The events that a link was given since it was last asked; parts of one are put together.
fn events(lab: &mut Lab, link: Link) -> Vec<Value> {
    let (mut parts, mut events) = (Vec::new(), Vec::new());
    for given in lab.given(link) {
        match given {
            Given::Part(bytes, last) => {
                parts.extend(bytes);
                if last {
                    events.push(std::mem::take(&mut parts));
                }
            }
            whole => events.push(whole.bytes().to_vec()),
        }
    }
    assert!(parts.is_empty(), "an answer that does not end");
    events.iter().map(|event| serde_json::from_slice(event).expect("JSON")).collect()
}

/// Sends an event and returns what its sender was given.
fn ask(lab: &mut Lab, link: Link, event: Value) -> Vec<Value> {
    call(lab, link, event);
    events(lab, link)
}

/// A socket of a user.
fn user(lab: &mut Lab, name: &str) -> Link {
    let link = connect(lab);
    let answers = ask(lab, link, json!(["auth-request", name]));
    assert_eq!(answers[0][1], 1, "{answers:?}");
    link
}

/// An advert, and who is there: its owner, anna (1), ola (2) and ewa (3), of whom the first two are
/// in its room.
fn flat() -> (Lab, Link, Link, Link) {
    let mut lab = Lab::default();
    lab.shelf.history = true;
    let [anna, ola, ewa] = ["anna", "ola", "ewa"].map(|name| user(&mut lab, name));
    let made = ask(&mut lab, anna, json!(["create-anons", "flat"]));
    assert_eq!(made, [json!(["create-anons-response", 1, "OK"])]);
    for link in [anna, ola] {
        let joined = ask(&mut lab, link, json!(["join-chat", 1, 0]));
        assert_eq!(joined, [json!(["join-chat-response", 1, 0, "OK"])]);
    }
    assert_eq!(events(&mut lab, anna), [json!(["user-join", 1, 0, "ola"])]);
    (lab, anna, ola, ewa)
}

#[test]
fn what_one_says_is_shown_before_its_answer_however_full_the_way_is() {
    let mut lab = Lab::default();
    let [anna, _] = ["anna", "ola"].map(|name| user(&mut lab, name));
    lab.room(anna, 0);
    let events = ask(&mut lab, anna, json!(["chat-msg", 0, 2, "hej"]));
    assert_eq!(events[0], json!(["chat-msg", 1, 0, 2, "anna", NOW, "hej"]));
    assert_eq!(events[1..], [json!(["chat-response", 1, "OK"])]);
}

#[test]
fn what_goes_to_the_store_alone_is_shown_to_whoever_says_it() {
    let mut lab = Lab::new(&Sizes { messages: 1, entries: 1, ..ROOMY }, Limits::new(1024));
    lab.shelf.pages = true;
    let [anna, ola] = ["anna", "ola"].map(|name| user(&mut lab, name));
    lab.disconnect(ola);
    for id in 1..4 {
        let events = ask(&mut lab, anna, json!(["chat-msg", 0, 2, "hej"]));
        assert_eq!(events[0], json!(["chat-msg", id, 0, 2, "anna", NOW, "hej"]));
        assert_eq!(events[1..], [json!(["chat-response", 1, "OK"])]);
    }
}

#[test]
fn nothing_is_answered_before_a_good_auth_request_but_unauthorized() {
    let mut lab = Lab::default();
    let link = connect(&mut lab);
    let unauthorized = [json!(["auth-response", -1, "Unauthorized"])];
    for event in [
        json!(["get-user-chats"]),
        json!(["get-chat-messages", 1, 0]),
        json!(["new-chat", 1]),
        json!(["join-chat", 1, 0]),
        json!(["leave-chat", 1, 0]),
        json!(["chat-msg", 1, 0, "x"]),
        json!(["chat-msg"]),
        json!(["chat-img", 1, 0, "x.png", "image/png", 5]),
        json!(["create-anons", "x"]),
        json!(["get-anons"]),
        json!(["get-users"]),
        json!(["get-image", 1]),
    ] {
        assert_eq!(ask(&mut lab, link, event.clone()), unauthorized, "{event}");
    }
    let usage = lab.exchange.usage();
    assert_eq!((usage.users, usage.groups, usage.questions), (0, 0, 0));
    // It may take its time: a page is open before anybody logs in.
    lab.wait(100_000);
    assert!(lab.desk.closed.is_empty());
}

#[test]
fn an_auth_request_is_answered_by_the_number_of_the_user_or_a_reason() {
    let closed = Limits { registration: Registration::Closed, ..Limits::new(1024) };
    let mut lab = Lab::new(&ROOMY, closed);
    for name in ["anna", "ola"] {
        lab.exchange.create_user(name.as_bytes(), &mut lab.shelf).unwrap();
    }
    lab.exchange.set_password(2, true).unwrap();
    let link = connect(&mut lab);
    let no = |why: &str| json!(["auth-response", -1, why]);
    let nobody = ask(&mut lab, link, json!(["auth-request", "ewa"]));
    assert_eq!(nobody, [no("No such user")]);
    assert!(ask(&mut lab, link, json!(["auth-request", "ola"])).is_empty());
    lab.reply(Reply::Verified(false)).unwrap();
    assert_eq!(events(&mut lab, link), [no("Wrong password")]);
    call(&mut lab, link, json!(["auth-request", "ola", "secret"]));
    assert_eq!(lab.desk.asked.last().unwrap().2, b"secret");
    lab.reply(Reply::Verified(true)).unwrap();
    assert_eq!(events(&mut lab, link), [json!(["auth-response", 1, "2"])]);
    let again = ask(&mut lab, link, json!(["auth-request", "ola"]));
    assert_eq!(again, [json!(["auth-response", 1, "2"])], "who one is already");
    let other = ask(&mut lab, link, json!(["auth-request", "anna"]));
    assert_eq!(other, [no("Already logged in as another user")]);

    let mut open = Lab::default();
    let link = connect(&mut open);
    for wrong in [json!("a/b"), json!(" x"), json!(""), json!("#x"), json!("é".repeat(15))] {
        let answer = ask(&mut open, link, json!(["auth-request", wrong]));
        assert_eq!(answer, [no("Not a name")], "{wrong}");
    }
    assert_eq!(ask(&mut open, link, json!(["auth-request", 5])), [no("Unauthorized")]);
}

#[test]
fn a_message_reaches_its_sender_those_in_the_room_and_those_outside() {
    let (mut lab, anna, ola, ewa) = flat();
    lab.exchange.join(3, 1, -1, &mut lab.shelf).unwrap();
    let message = json!([1, 1, 0, "ola", NOW, "hej \"wam\""]);
    let event = |name: &str| {
        let mut event = message.clone();
        event.as_array_mut().unwrap().insert(0, json!(name));
        event
    };
    let answers = ask(&mut lab, ola, json!(["chat-msg", 1, 0, "hej \"wam\""]));
    assert_eq!(answers, [event("chat-msg"), json!(["chat-response", 1, "OK"])]);
    assert_eq!(events(&mut lab, anna), [event("chat-msg")]);
    assert_eq!(events(&mut lab, ewa), [event("new-msg-notification")]);
    let tagged = ask(&mut lab, ola, json!(["chat-msg", 1, 0, "", 77]));
    assert_eq!(tagged[1], json!(["chat-response", 1, "OK", 77]));
    assert_eq!(tagged[0][1], 2, "ids rise by one");
}

#[test]
fn only_those_in_the_room_may_speak_there() {
    let (mut lab, anna, ola, ewa) = flat();
    let no = [json!(["chat-response", -1, "You are not in this chat"])];
    assert_eq!(ask(&mut lab, ewa, json!(["chat-msg", 1, 0, "x"])), no);
    let left = ask(&mut lab, ola, json!(["leave-chat", 1, 0]));
    assert_eq!(left, [json!(["leave-chat-response", 1, 0, "OK"])]);
    assert_eq!(events(&mut lab, anna), [json!(["user-leave", 1, 0, "ola"])]);
    assert_eq!(ask(&mut lab, ola, json!(["chat-msg", 1, 0, "x"])), no);
    let again = ask(&mut lab, ola, json!(["leave-chat", 1, 0]));
    assert_eq!(again, [json!(["leave-chat-response", 1, -1, "You are not in this chat"])]);
    let none = ask(&mut lab, ola, json!(["chat-msg", 9, 0, "x"]));
    assert_eq!(none, [json!(["chat-response", -1, "No such advert"])]);
    let none = ask(&mut lab, ola, json!(["join-chat", 9, 0]));
    assert_eq!(none, [json!(["join-chat-response", 9, -1, "No such advert"])]);
    // A membership outlasts it.
    call(&mut lab, anna, json!(["chat-msg", 1, 0, "still"]));
    assert_eq!(events(&mut lab, ola)[0][0], "new-msg-notification");
}

#[test]
fn a_room_is_entered_once_and_left_with_the_last_word_of_a_session() {
    let (mut lab, anna, ola, _) = flat();
    let again = ask(&mut lab, ola, json!(["join-chat", 1, 0]));
    assert_eq!(again, [json!(["join-chat-response", 1, 0, "OK"])]);
    assert_eq!(events(&mut lab, anna), [json!(null); 0], "nobody joined");
    call(&mut lab, anna, json!(["chat-msg", 1, 0, "x"]));
    lab.shelf.records.clear();
    events(&mut lab, anna);
    lab.disconnect(ola);
    assert_eq!(events(&mut lab, anna), [json!(["user-leave", 1, 0, "ola"])]);
    let seen = ["user 2 has seen Some(Group(1)) up to 1", "user 2 has seen None up to 1"];
    assert_eq!(lab.shelf.records, seen);
    assert_eq!(lab.exchange.usage().memberships, 2);
}

#[test]
fn a_private_chat_is_between_the_owner_and_one_user() {
    let (mut lab, anna, ola, ewa) = flat();
    let no = |why: &str| [json!(["new-chat-response", 1, -1, why])];
    assert_eq!(ask(&mut lab, anna, json!(["new-chat", 1])), no("It is your own advert"));
    let none = ask(&mut lab, anna, json!(["new-chat", 7]));
    assert_eq!(none, [json!(["new-chat-response", 7, -1, "No such advert"])]);
    let made = ask(&mut lab, ola, json!(["new-chat", 1]));
    assert_eq!(made, [json!(["new-chat-response", 1, 2, "OK"])]);
    assert_eq!(ask(&mut lab, ola, json!(["new-chat", 1])), no("It exists already"));
    let kept = lab.shelf.records.iter().any(|record| record == "chat about 1 with 2");
    assert!(kept, "{:?}", lab.shelf.records);

    // Its creator is in it; the owner is told of it, and may answer when it is in it too.
    let said = ask(&mut lab, ola, json!(["chat-msg", 1, 2, "is it free?"]));
    assert_eq!(said[0], json!(["chat-msg", 1, 1, 2, "ola", NOW, "is it free?"]));
    let told = json!(["new-msg-notification", 1, 1, 2, "ola", NOW, "is it free?"]);
    assert_eq!(events(&mut lab, anna), [told]);
    let no = [json!(["chat-response", -1, "You are not in this chat"])];
    assert_eq!(ask(&mut lab, anna, json!(["chat-msg", 1, 2, "yes"])), no);
    let joined = ask(&mut lab, anna, json!(["join-chat", 1, 2]));
    assert_eq!(joined, [json!(["join-chat-response", 1, 2, "OK"])]);
    assert_eq!(events(&mut lab, ola), [json!(["user-join", 1, 2, "anna"])]);
    call(&mut lab, anna, json!(["chat-msg", 1, 2, "yes"]));
    assert_eq!(events(&mut lab, ola), [json!(["chat-msg", 2, 1, 2, "anna", NOW, "yes"])]);

    // For others there is no such chat.
    let none = ask(&mut lab, ewa, json!(["join-chat", 1, 2]));
    assert_eq!(none, [json!(["join-chat-response", 1, -1, "No such chat"])]);
    let none = ask(&mut lab, ewa, json!(["chat-msg", 1, 2, "me too"]));
    assert_eq!(none, [json!(["chat-response", -1, "No such chat"])]);
    let none = ask(&mut lab, ewa, json!(["get-chat-messages", 1, 2]));
    assert_eq!(none, [json!(["chat-messages", 0, []])]);
    assert_eq!(lab.exchange.chats_of(3).count(), 0);
    let chats = [Chat::Group(1), Chat::Private { group: 1, user: 2 }];
    assert_eq!(lab.exchange.chats_of(1).collect::<Vec<_>>(), chats);
    assert_eq!(lab.exchange.chats_of(2).collect::<Vec<_>>(), chats);

    // It goes with the advert.
    lab.exchange.remove_group(1, &mut lab.shelf).unwrap();
    assert_eq!(lab.exchange.usage().chats, 0);
    let none = ask(&mut lab, ola, json!(["chat-msg", 1, 2, "hello?"]));
    assert_eq!(none, [json!(["chat-response", -1, "No such chat"])]);
}

#[test]
fn the_table_of_private_chats_has_its_limit() {
    let sizes = Sizes { chats: 1, ..ROOMY };
    let mut lab = Lab::new(&sizes, Limits::new(1024));
    let [anna, ola, ewa] = ["anna", "ola", "ewa"].map(|name| user(&mut lab, name));
    ask(&mut lab, anna, json!(["create-anons", "flat"]));
    ask(&mut lab, ola, json!(["new-chat", 1]));
    let full = ask(&mut lab, ewa, json!(["new-chat", 1]));
    assert_eq!(full, [json!(["new-chat-response", 1, -1, "No room"])]);
    with_io!(lab, remove_user(2)).unwrap();
    let gone = lab.shelf.records.iter().position(|record| record == "no user 2").unwrap();
    let seen = lab.shelf.records.iter().rposition(|record| record.starts_with("user 2 has seen"));
    assert!(seen.is_some_and(|seen| seen < gone), "{:?}", lab.shelf.records);
    let room = ask(&mut lab, ewa, json!(["new-chat", 1]));
    assert_eq!(room, [json!(["new-chat-response", 1, 3, "OK"])]);
}

#[test]
fn direct_messages_are_chats_without_an_advert() {
    let (mut lab, anna, ola, _) = flat();
    let said = ask(&mut lab, ola, json!(["chat-msg", 0, 1, "psst"]));
    assert_eq!(said[0], json!(["chat-msg", 1, 0, 1, "ola", NOW, "psst"]));
    assert_eq!(said[1], json!(["chat-response", 1, "OK"]));
    assert_eq!(events(&mut lab, anna), [json!(["chat-msg", 1, 0, 2, "ola", NOW, "psst"])]);
    let own = ask(&mut lab, ola, json!(["chat-msg", 0, 2, "note to self"]));
    assert_eq!(own.len(), 2, "once: {own:?}");
    assert_eq!(own[0][3], 2);
    let none = ask(&mut lab, ola, json!(["chat-msg", 0, 30, "who?"]));
    assert_eq!(none, [json!(["chat-response", -1, "No such user"])]);
    let joined = ask(&mut lab, ola, json!(["join-chat", 0, 1]));
    assert_eq!(joined, [json!(["join-chat-response", 0, 1, "OK"])]);
    let left = ask(&mut lab, ola, json!(["leave-chat", 0, 1]));
    assert_eq!(left, [json!(["leave-chat-response", 0, 1, "OK"])]);
    assert_eq!(lab.shelf.records.last().unwrap(), "user 2 has seen Some(Direct(1)) up to 2");
}

#[test]
fn a_room_is_the_group_of_the_other_dialects() {
    let (mut lab, anna, ola, _) = flat();
    let endpoint = lab.topics();
    let (queue, id) = lab.subscriber(endpoint, 1000, "jan").unwrap();
    lab.send(endpoint, &topic_request(3, id, 0, -1, ""));
    let piotr = lab.direct("piotr");
    lab.exchange.join(5, 1, -1, &mut lab.shelf).unwrap();
    lab.got(queue);
    call(&mut lab, ola, json!(["chat-msg", 1, 0, "to all"]));
    assert_eq!(lab.queue(queue), [(4, 3, "flat: to all".to_owned())]);
    assert_eq!(lab.got(piotr), [frame(0, 0, "ola", "#flat", b"to all")]);
    lab.send(piotr, &frame(1, 0, "piotr", "ola", b"200"));
    for link in [anna, ola] {
        events(&mut lab, link);
    }

    lab.send(endpoint, &topic_request(4, id, 0, 1, "from a topic"));
    lab.send(piotr, &frame(0, 4, "piotr", "#flat", b"from a stream"));
    for link in [anna, ola] {
        let got = events(&mut lab, link);
        assert_eq!(got[0], json!(["chat-msg", 2, 1, 0, "jan", NOW, "from a topic"]));
        assert_eq!(got[1], json!(["chat-msg", 3, 1, 0, "piotr", NOW, "from a stream"]));
    }

    // A private chat reaches its other party as a direct message, and so does the answer.
    let jan = user(&mut lab, "jan");
    call(&mut lab, jan, json!(["new-chat", 1]));
    lab.disconnect(jan);
    lab.got(queue);
    call(&mut lab, anna, json!(["join-chat", 1, 4]));
    call(&mut lab, anna, json!(["chat-msg", 1, 4, "about it"]));
    assert_eq!(lab.queue(queue), [(1_000_000, 3, "anna: about it".to_owned())]);
    lab.send(piotr, &frame(0, 5, "piotr", "anna", b"hej"));
    let got = events(&mut lab, anna);
    assert_eq!(got.last().unwrap(), &json!(["chat-msg", 5, 0, 5, "piotr", NOW, "hej"]));
}

#[test]
fn what_one_says_elsewhere_shows_in_ones_own_room() {
    let (mut lab, anna, ola, _) = flat();
    let direct = lab.direct("ola");
    lab.send(direct, &frame(0, 9, "ola", "#flat", b"on my way"));
    let shown = [json!(["chat-msg", 1, 1, 0, "ola", NOW, "on my way"])];
    assert_eq!(events(&mut lab, ola), shown);
    assert_eq!(events(&mut lab, anna), shown);
    assert_eq!(lab.got(direct), [frame(1, 9, "#flat", "ola", b"200")], "and only there");
}

#[test]
fn what_another_session_of_ones_own_has_seen_takes_nobody_out_of_a_room() {
    use centrala_core::dialect::native::{Chat, Request};
    use centrala_tests::lab::{asked, hello};
    let (mut lab, anna, ola, _) = flat();
    let native = lab.exchange.connect(Dialect::Native, Room::of(1 << 20), lab.now).unwrap();
    lab.send(native, &hello(1, "ola", ""));
    lab.send(native, &asked(2, &Request::Seen { chat: Chat::Group(1) }));
    assert_eq!(lab.shelf.records.last().unwrap(), "user 2 has seen Some(Group(1)) up to 0");
    assert!(events(&mut lab, anna).is_empty(), "nobody left");
    let said = ask(&mut lab, ola, json!(["chat-msg", 1, 0, "still here"]));
    assert_eq!(said[1], json!(["chat-response", 1, "OK"]));
}

#[test]
fn offline_mail_comes_as_notifications_after_the_answer_to_the_log_in() {
    let (mut lab, anna, ola, _) = flat();
    lab.disconnect(ola);
    call(&mut lab, anna, json!(["chat-msg", 1, 0, "to the room"]));
    call(&mut lab, anna, json!(["chat-msg", 0, 2, "to you"]));
    let ola = connect(&mut lab);
    call(&mut lab, ola, json!(["auth-request", "ola"]));
    let given = lab.given(ola);
    assert!(matches!(given[0], Given::Promise { .. }));
    let event = |given: &Given| serde_json::from_slice::<Value>(given.bytes()).unwrap();
    let wants = [
        json!(["new-msg-notification", 1, 1, 0, "anna", NOW, "to the room"]),
        json!(["new-msg-notification", 2, 0, 1, "anna", NOW, "to you"]),
    ];
    for (n, (given, want)) in given[1..].iter().zip(wants).enumerate() {
        assert_eq!(event(given), want);
        assert!(matches!(given, Given::Mail(_, mark) if *mark as usize == n + 1));
    }
    with_io!(lab, taken(ola, 1));
    lab.disconnect(ola);
    let ola = connect(&mut lab);
    call(&mut lab, ola, json!(["auth-request", "ola"]));
    let again = events(&mut lab, ola);
    assert_eq!(again.len(), 2, "what was not taken comes again: {again:?}");
    assert_eq!(again[1][1], 2);
}

#[test]
fn several_sockets_of_a_user_are_one_session() {
    let (mut lab, anna, ola, _) = flat();
    let second = connect(&mut lab);
    let sessions = lab.exchange.usage().sessions;
    let answers = ask(&mut lab, second, json!(["auth-request", "ola"]));
    assert_eq!(answers, [json!(["auth-response", 1, "2"])]);
    assert_eq!(lab.desk.merged, [(second, ola)]);
    assert_eq!(lab.exchange.usage().sessions, sessions - 1, "its link is over");
    assert!(events(&mut lab, anna).is_empty() && lab.desk.closed.is_empty());
    call(&mut lab, anna, json!(["chat-msg", 1, 0, "x"]));
    assert_eq!(events(&mut lab, ola).len(), 1, "the host gives it to both");
}

#[test]
fn a_history_is_read_in_parts_and_is_one_event() {
    let (mut lab, _, ola, _) = flat();
    call(&mut lab, ola, json!(["get-chat-messages", 1, 0, 900]));
    let (token, asked) = lab.desk.reads.pop().unwrap();
    let before = FIRST + 900;
    let want =
        format!("History {{ user: 2, chat: Group(1), before: Some({before}), limit: 1000 }}");
    assert_eq!(asked, want);
    // Its next event waits.
    let next = rmp_serde::to_vec(&json!(["get-user-chats"])).unwrap();
    assert_eq!(lab.receive(ola, &next), Ok(0));
    let said = Posted { sequence: FIRST + 5, from: 1, group: 1, text: b"a", ..Posted::NONE };
    let image = Posted { sequence: FIRST + 7, from: 0, image: true, text: b"[image: a]", ..said };
    assert_eq!(with_io!(lab, history_page(token, 3, [said, said], false)), None);
    let other = connect(&mut lab);
    lab.disconnect(other);
    assert_eq!(with_io!(lab, history_page(token, 3, [image], true)), Some(ola));
    let row = |id: u64, name: &str, text: &str| {
        json!({"message_id": id, "anons_id": 1, "chat_id": 0, "username": name,
               "message_date": 0, "message_text": text})
    };
    let mut last = row(7, "", "[image: a]");
    last["image"] = json!(true);
    let want = json!(["chat-messages", 3, [row(5, "anna", "a"), row(5, "anna", "a"), last]]);
    assert_eq!(events(&mut lab, ola), [want]);
    assert_eq!(lab.receive(ola, &next), Ok(next.len()));

    let (token, asked) = lab.desk.reads.pop().unwrap();
    assert_eq!(asked, "Chats { user: 2 }");
    let counts = [
        Count { chat: Chat::Group(1), all: 9, new: 2 },
        Count { chat: Chat::Private { group: 1, user: 2 }, all: 1, new: 0 },
        Count { chat: Chat::Direct(3), all: 4, new: 4 },
    ];
    assert_eq!(with_io!(lab, chats_page(token, 3, counts, true)), Some(ola));
    let row = |anons: u32, chat: u32, all: u32, new: u32| json!({"anons_id": anons, "chat_id": chat, "AllMsgs": all, "NewMsgs": new});
    let rows = [row(1, 0, 9, 2), row(1, 2, 1, 0), row(0, 3, 4, 4)];
    assert_eq!(events(&mut lab, ola), [json!(["user-chats", 3, rows])]);

    // An empty one, and one whose asker has gone.
    call(&mut lab, ola, json!(["get-chat-messages", 0, 3]));
    let (token, _) = lab.desk.reads.pop().unwrap();
    with_io!(lab, history_page(token, 0, [], true));
    assert_eq!(events(&mut lab, ola), [json!(["chat-messages", 0, []])]);
    call(&mut lab, ola, json!(["get-chat-messages", 0, 3]));
    let (token, _) = lab.desk.reads.pop().unwrap();
    lab.disconnect(ola);
    assert_eq!(with_io!(lab, history_page(token, 1, [said], true)), None);
    assert_eq!(lab.exchange.usage().questions, 0);
}

#[test]
fn an_image_is_bytes_in_the_room_and_words_elsewhere() {
    let (mut lab, anna, ola, ewa) = flat();
    lab.exchange.join(3, 1, -1, &mut lab.shelf).unwrap();
    let jan = lab.direct("jan");
    lab.exchange.join(4, 1, -1, &mut lab.shelf).unwrap();
    let image = json!(["chat-img", 1, 0, "a, b.png", "image/png", 99]);
    let shown = json!(["chat-img", 1, 1, 0, "ola", NOW, "a, b.png", "image/png", {"image": 1}]);
    let answers = ask(&mut lab, ola, image);
    assert_eq!(answers, [shown.clone(), json!(["chat-response", 1, "OK"])]);
    assert_eq!(events(&mut lab, anna), [shown]);
    let told = json!(["new-img-notification", 1, 1, 0, "ola", NOW, "a, b.png", "image/png"]);
    assert_eq!(events(&mut lab, ewa), [told]);
    let words = b"[image: a, b.png, image/png, 99]";
    assert_eq!(lab.got(jan), [frame(0, 0, "ola", "#flat", words)]);
    let long = "x".repeat(400);
    let refused = ask(&mut lab, ola, json!(["chat-img", 1, 0, long, "image/png", 9]));
    assert_eq!(refused, [json!(["chat-response", -1, "Not a name, or not an image"])]);

    // Whoever is in the group's conversation may have it again; a direct one is for its two.
    let group =
        Posted { sequence: FIRST + 1, from: 2, group: 1, image: true, text: words, ..Posted::NONE };
    let direct = Posted { group: 0, to: 1, ..group };
    let text = Posted { image: false, ..group };
    let given = json!(["image", 1, "image/png", {"image": 1}]);
    let none = json!(["image", 1, "", null]);
    for (link, message, want) in [
        (ewa, Some(group), &given),
        (ewa, Some(direct), &none),
        (anna, Some(direct), &given),
        (ewa, Some(text), &none),
        (ewa, None, &none),
    ] {
        call(&mut lab, link, json!(["get-image", 1]));
        let (token, asked) = lab.desk.reads.pop().unwrap();
        assert_eq!(asked, format!("Message {{ sequence: {} }}", FIRST + 1));
        assert_eq!(with_io!(lab, history_page(token, 1, message, true)), Some(link));
        assert_eq!(events(&mut lab, link), std::slice::from_ref(want), "{message:?}");
    }
}

#[test]
fn lists_are_whole_whatever_room_there_is() {
    let mut lab = Lab::default();
    let anna = user(&mut lab, "anna");
    for n in 0..30 {
        let link = connect(&mut lab);
        let name = format!("user \"{n}\" with a long name");
        lab.exchange.create_user(name.as_bytes(), &mut lab.shelf).unwrap();
        lab.exchange.create_group(format!("group \\{n}").as_bytes(), 1, &mut lab.shelf).unwrap();
        lab.disconnect(link);
    }
    lab.room(anna, 0);
    let users = ask(&mut lab, anna, json!(["get-users"]));
    assert_eq!(users.len(), 1);
    assert_eq!((&users[0][0], &users[0][1]), (&json!("users"), &json!(31)));
    assert_eq!(users[0][2][0], json!({"user_id": 1, "username": "anna", "online": true}));
    assert_eq!(users[0][2][30]["online"], false);
    assert_eq!(users[0][2].as_array().unwrap().len(), 31);
    let adverts = ask(&mut lab, anna, json!(["get-anons"]));
    assert_eq!((&adverts[0][0], &adverts[0][1]), (&json!("anons"), &json!(30)));
    let last = json!({"anons_id": 30, "name": "group \\29", "owner": "anna"});
    assert_eq!(adverts[0][2][29], last);
}

#[test]
fn a_slow_reader_gets_it_later_and_the_sender_is_not_stopped() {
    let (mut lab, anna, ola, _) = flat();
    lab.room(anna, 0);
    let said = ask(&mut lab, ola, json!(["chat-msg", 1, 0, "one"]));
    assert_eq!(said[1], json!(["chat-response", 1, "OK"]));
    assert_eq!(events(&mut lab, anna).len(), 0);
    lab.room(anna, 1 << 20);
    assert_eq!(events(&mut lab, anna), [json!(["chat-msg", 1, 1, 0, "ola", NOW, "one"])]);
}

#[test]
fn a_copy_that_cannot_be_kept_is_said_and_a_failed_commit_too() {
    let (mut lab, _, ola, _) = flat();
    lab.exchange.create_user(b"absent", &mut lab.shelf).unwrap();
    lab.shelf.full = true;
    let said = ask(&mut lab, ola, json!(["chat-msg", 0, 4, "x"]));
    assert_eq!(said, [json!(["chat-response", -1, "It could not be kept"])]);
    lab.shelf.full = false;
    call(&mut lab, ola, json!(["chat-msg", 0, 4, "x"]));
    let Some(Given::Promise { refused, .. }) = lab.given(ola).pop() else { panic!("a promise") };
    let refused: Value = serde_json::from_slice(&refused).unwrap();
    assert_eq!(refused, json!(["chat-response", -1, "It could not be kept"]));
    let long = ask(&mut lab, ola, json!(["chat-msg", 1, 0, "x".repeat(1025)]));
    assert_eq!(long, [json!(["chat-response", -1, "Too long"])]);
}
