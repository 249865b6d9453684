//! Every table, full: the answer in each dialect, and that a place given back is used again.

use centrala_core::dialect::native::{self, Event, Refusal, Request, To, Who};
use centrala_core::dialect::{lanes, queues};
use centrala_core::event::Limit;
use centrala_core::exchange::Link;
use centrala_core::host::{Note, Reply};
use centrala_core::limits::{Lanes, Limits, Topics};
use centrala_tests::lab::{Lab, ROOMY, Sizes, asked, frame, hello, topic_message, topic_request};
use centrala_tests::with_io;

/// An exchange with an endpoint of each queue dialect.
struct Office {
    lab: Lab,
    topics: Link,
    queues: Link,
    lanes: Link,
    key: i32,
}

impl Office {
    fn new(sizes: Sizes, limits: Limits) -> Office {
        // A session each for the endpoints.
        let sizes = Sizes { sessions: sizes.sessions + 3, ..sizes };
        let mut lab = Lab::new(&sizes, limits);
        let (topics, queues, lanes) = (lab.topics(), lab.queues(), lab.lanes());
        Office { lab, topics, queues, lanes, key: 5000 }
    }

    /// Logs in with a name alone in each dialect, and tells what was answered. What succeeded is
    /// logged out again.
    fn log_in(&mut self, name: &str) -> [String; 5] {
        let queues = [self.topics(name), self.queues(name), self.lanes(name)];
        let [topics, queues, lanes] = queues;
        [self.direct(name), topics, queues, lanes, self.native(name)]
    }

    fn native(&mut self, name: &str) -> String {
        let Ok(link) = self.lab.try_line() else { return "no connection".into() };
        self.lab.send(link, &hello(1, name, ""));
        let got = self.lab.got(link);
        self.lab.disconnect(link);
        match answer(&got[0]).as_str() {
            "Welcome" => "in".into(),
            other => other.into(),
        }
    }

    fn direct(&mut self, name: &str) -> String {
        let Ok(link) = self.lab.try_connect() else { return "no connection".into() };
        let _ = self.lab.receive(link, &frame(1, 0, name, "", b""));
        let got = self.lab.got(link);
        self.lab.disconnect(link);
        got.first().map_or("in".into(), |bytes| text(&bytes[24..]))
    }

    fn topics(&mut self, name: &str) -> String {
        self.key += 1;
        match self.lab.subscriber(self.topics, self.key, name) {
            Ok((link, _)) => {
                self.lab.disconnect(link);
                "in".into()
            }
            Err(code) => code.to_string(),
        }
    }

    fn queues(&mut self, name: &str) -> String {
        self.key += 1;
        let opened = self.lab.desk.opened.len();
        let server = self.queues;
        self.lab.send(server, &queue_request(100, &format!("{name}/"), self.key));
        if let Some((_, bytes)) = self.lab.desk.turned_away.pop() {
            return text(queues::Message::new_checked(&bytes).unwrap().text);
        }
        let link = self.lab.desk.opened[opened].0;
        let got = self.lab.got(link);
        self.lab.disconnect(link);
        let last = queues::Message::new_checked(got.last().unwrap()).unwrap();
        if last.text.first().is_some_and(u8::is_ascii_digit) {
            "in".into()
        } else {
            text(last.text)
        }
    }

    fn lanes(&mut self, name: &str) -> String {
        let opened = self.lab.desk.opened.len();
        let server = self.lanes;
        self.lab.send(server, &lane_request(0, 1, &format!("{name} ")));
        self.lab.wait(5);
        let got = self.lab.got(server);
        for (link, _) in self.lab.desk.opened.split_off(opened) {
            self.lab.disconnect(link);
        }
        let first = lanes::Element::new_checked(&got[0]).unwrap();
        if first.second == 0 { "in".into() } else { text(first.text) }
    }

    fn full(&self, limit: Limit) -> bool {
        self.lab
            .desk
            .notes
            .iter()
            .any(|note| matches!(note, Note::NotKept { limit: l, .. } if *l == limit))
    }
}

/// What `native` was answered: how, or which limit and its size.
fn answer(bytes: &[u8]) -> String {
    let (payload, _) = native::look(bytes).unwrap();
    match Event::decode(payload).unwrap() {
        Event::Welcome { .. } => "Welcome".into(),
        Event::Done { how, .. } => format!("{how:?}"),
        Event::Refused { why: Refusal::Full { limit, size }, .. } => format!("{limit:?} {size}"),
        other => format!("{other:?}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn queue_request(kind: i64, text: &str, address: i32) -> Vec<u8> {
    let mut bytes = vec![0; queues::SIZE];
    queues::Message { kind, text: text.as_bytes(), address, time: 0 }.emit(&mut bytes).unwrap();
    bytes
}

fn lane_request(first: i32, second: i32, text: &str) -> Vec<u8> {
    let mut bytes = vec![0; lanes::SIZE];
    let element = lanes::Element { lane: 1, first, second, text: text.as_bytes() };
    let len = element.emit(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

const LIMITS: Limits = Limits::new(1024);
const IN: [&str; 5] = ["in"; 5];

/// What a log-in is answered when a table is full; `native` says which one and its size.
fn refused(limit: &str) -> [&str; 5] {
    ["507", "-2", "error", "Zly login\n", limit]
}

#[test]
fn users() {
    let mut office = Office::new(Sizes { users: 1, ..ROOMY }, LIMITS);
    assert_eq!(office.log_in("anna"), IN);
    assert_eq!(office.log_in("bartek"), refused("Users 1"));
    with_io!(office.lab, remove_user(1)).unwrap();
    assert_eq!(office.log_in("bartek"), IN);
    assert_eq!(office.log_in("anna"), refused("Users 1"));
}

#[test]
fn sessions() {
    let mut office = Office::new(Sizes { sessions: 1, ..ROOMY }, LIMITS);
    assert_eq!(office.log_in("anna"), IN, "one after another");
    let holder = office.lab.direct("holder");
    let none = "no connection";
    assert_eq!(office.log_in("anna"), [none, "-2", "error", "Zly login\n", none]);
    office.lab.disconnect(holder);
    assert_eq!(office.log_in("anna"), IN);
}

#[test]
fn questions() {
    let mut office = Office::new(Sizes { questions: 1, ..ROOMY }, LIMITS);
    for (name, user) in [("anna", 1), ("bartek", 2)] {
        office.lab.exchange.create_user(name.as_bytes(), &mut office.lab.shelf).unwrap();
        office.lab.exchange.set_password(user, true).unwrap();
    }
    let anna = office.lab.connect();
    office.lab.send(anna, &frame(1, 0, "anna", "", b"secret"));
    assert_eq!(office.log_in("bartek"), refused("Questions 1"));
    office.lab.reply(Reply::Verified(true)).unwrap();
    let bartek = office.lab.connect();
    office.lab.send(bartek, &frame(1, 0, "bartek", "", b"secret"));
    office.lab.reply(Reply::Verified(true)).unwrap();
    assert_eq!(office.lab.exchange.user_of(bartek).unwrap().name, b"bartek");
}

/// An office with anna logged in everywhere and bartek nowhere, both members of group 1.
fn correspondents(sizes: Sizes, limits: Limits) -> (Office, Link, [Link; 4]) {
    let mut office = Office::new(sizes, limits);
    let Office { lab, topics, queues, lanes, .. } = &mut office;
    for name in ["anna", "bartek"] {
        lab.exchange.create_user(name.as_bytes(), &mut lab.shelf).unwrap();
    }
    lab.exchange.create_group(b"news", 0, &mut lab.shelf).unwrap();
    let direct = lab.direct("anna");
    let (topic, _) = lab.subscriber(*topics, 1000, "anna").unwrap();
    lab.send(*queues, &queue_request(100, "anna/", 1001));
    let queue = lab.desk.opened[1].0;
    lab.send(*lanes, &lane_request(0, 1, "anna "));
    lab.wait(5);
    let lane = lab.desk.opened[2].0;
    let native = lab.native("anna");
    lab.got(queue);
    lab.got(*lanes);
    (office, direct, [topic, queue, lane, native])
}

/// Sends to bartek and to the group in each dialect; what each was answered.
fn send_all(
    office: &mut Office,
    direct: Link,
    [topic, queue, lane, native]: [Link; 4],
) -> Vec<String> {
    let Office { lab, topics, queues, lanes, .. } = office;
    let mut answers = Vec::new();
    for to in ["bartek", "#news"] {
        lab.send(direct, &frame(0, 0, "anna", to, b"x"));
        answers.push(text(&lab.got(direct)[0][24..]));
    }
    lab.send(*topics, &topic_request(4, 0, 0, 3, "x"));
    answers.push(topic_message(&lab.got(topic)[0]).1.to_string());
    lab.send(*queues, &queue_request(1, "x", 2));
    lab.send(*queues, &queue_request(19, "1/x", 1001));
    assert!(lab.got(queue).is_empty(), "queues has no word for it");
    let groups = lab.exchange.limits().lanes.groups;
    for order in [lanes::Order::ToUser(2), lanes::Order::ToGroup(1)] {
        lab.send(*lanes, &lane_request(4, order.second(groups), "x"));
        answers.push(text(lanes::Element::new_checked(&lab.got(lane)[0]).unwrap().text));
    }
    for to in [To::User(Who::Number(2)), To::Group(Who::Number(1))] {
        let send = Request::Send { to, priority: 3, receipt: true, text: b"x" };
        answers.push(answer(&lab.ask(native, &send)));
    }
    answers
}

/// How many messages of `send_all` bartek gets.
const ALL: usize = 9;
const KEPT: [&str; 7] =
    ["300", "200", "0", "Wiadomosc wyslana", "Wiadomosc wyslana", "Stored", "Done"];

/// What is answered when nothing more is kept. `topics` has no word for it.
fn not_kept(limit: &str) -> [&str; 7] {
    ["507", "507", "0", "Blad\n", "Blad\n", limit, limit]
}

fn mail_table(sizes: Sizes, limits: Limits, limit: Limit) {
    let (mut office, direct, queues) = correspondents(sizes, limits);
    for user in [1, 2] {
        office.lab.exchange.join(user, 1, -1, &mut office.lab.shelf).unwrap();
    }
    // bartek's messages fill it.
    assert_eq!(send_all(&mut office, direct, queues), KEPT);
    assert_eq!(office.lab.exchange.counters().not_kept, 0);
    let copies = if limit == Limit::Entries { "Copies".into() } else { format!("{limit:?}") };
    let full = format!("{copies} {ALL}");
    assert_eq!(send_all(&mut office, direct, queues), not_kept(&full));
    assert_eq!(office.lab.exchange.counters().not_kept, ALL as u64);
    assert!(office.full(limit), "{:?}", office.lab.desk.notes);
    // One place is free again, and one message is kept in it.
    let bartek = office.lab.direct("bartek");
    assert_eq!(office.lab.got(bartek).len(), ALL);
    with_io!(office.lab, taken(bartek, 1));
    office.lab.disconnect(bartek);
    assert_eq!(send_all(&mut office, direct, queues)[..2], ["300", "507"]);
}

#[test]
fn messages() {
    mail_table(Sizes { messages: ALL, ..ROOMY }, LIMITS, Limit::Messages);
}

#[test]
fn entries() {
    mail_table(Sizes { entries: ALL, ..ROOMY }, LIMITS, Limit::Entries);
}

#[test]
fn mailbox() {
    mail_table(ROOMY, Limits { mailbox: ALL as u32, ..LIMITS }, Limit::Mailbox);
}

#[test]
fn the_full_mailbox_of_one_member_stops_nobody_else() {
    let mut lab = Lab::new(&ROOMY, Limits { mailbox: 1, ..LIMITS });
    let group = lab.exchange.create_group(b"news", 0, &mut lab.shelf).unwrap();
    let links = ["anna", "full", "off", "live"].map(|name| lab.direct(name));
    for user in 1..=4 {
        lab.exchange.join(user, group, -1, &mut lab.shelf).unwrap();
    }
    lab.disconnect(links[1]);
    lab.disconnect(links[2]);
    lab.send(links[0], &frame(0, 0, "anna", "full", b"x"));
    lab.got(links[0]);
    lab.send(links[0], &frame(0, 1, "anna", "#news", b"hello"));
    assert_eq!(lab.got(links[0]), [frame(1, 1, "", "anna", b"507")], "not every copy was kept");
    assert_eq!(lab.got(links[3]).len(), 1);
    let off = lab.direct("off");
    assert_eq!(lab.got(off).len(), 1);
}

#[test]
fn memberships() {
    let (mut office, _, [topic, queue, lane, native]) =
        correspondents(Sizes { memberships: 1, ..ROOMY }, LIMITS);
    let Office { lab, topics, queues, lanes, .. } = &mut office;
    let groups = lab.exchange.limits().lanes.groups;
    let join = |lab: &mut Lab| {
        lab.send(*topics, &topic_request(3, 0, 0, -1, ""));
        lab.send(*queues, &queue_request(14, "1/1", 1001));
        lab.send(*lanes, &lane_request(4, lanes::Order::Join(1).second(groups), ""));
        let answer = topic_message(&lab.got(topic)[0]).1.to_string();
        let state = text(queues::Message::new_checked(&lab.got(queue)[0]).unwrap().text);
        let lane = lab.got(lane);
        let element = lanes::Element::new_checked(&lane[0]).unwrap();
        let join = Request::Join { group: Who::Number(1), count: None };
        let native = self::answer(&lab.ask(native, &join));
        [answer, state, format!("{} {}", element.second, text(element.text)), native]
    };
    lab.exchange.join(2, 1, -1, &mut lab.shelf).unwrap();
    assert_eq!(join(lab), ["1", "0", "0 Blad\n", "Memberships 1"]);
    lab.exchange.leave(2, 1, &mut lab.shelf).unwrap();
    assert_eq!(join(lab), ["0", "1", "1 ", "Done"], "the first joins, the others renew");
}

#[test]
fn groups() {
    let (mut office, _, [topic, _, _, native]) =
        correspondents(Sizes { groups: 2, ..ROOMY }, LIMITS);
    let Office { lab, topics, .. } = &mut office;
    let create = |lab: &mut Lab, name: &str| {
        lab.send(*topics, &topic_request(2, 0, 0, 0, name));
        topic_message(&lab.got(topic)[0]).1
    };
    assert_eq!([create(lab, "b"), create(lab, "b"), create(lab, "c")], [0, 1, 2]);
    assert_eq!(answer(&lab.ask(native, &Request::CreateGroup { name: b"c" })), "Groups 2");
    lab.exchange.remove_group(1, &mut lab.shelf).unwrap();
    assert_eq!([create(lab, "c"), create(lab, "d")], [0, 2]);
    assert_eq!(lab.exchange.groups().map(|group| group.number).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn one_client_and_one_topic() {
    let one = Sizes {
        chats: 1,
        users: 1,
        groups: 1,
        memberships: 1,
        sessions: 1,
        messages: 1,
        message_length: 16,
        entries: 1,
        questions: 1,
    };
    let limits = Limits {
        topics: Topics { clients: 1, topics: 1 },
        lanes: Lanes { users: 1, groups: 1 },
        ..LIMITS
    };
    let mut office = Office::new(one, limits);
    assert_eq!(office.log_in("anna"), IN);
    assert_eq!(office.log_in("bartek"), refused("Users 1"));
    let lab = &mut office.lab;
    let anna = lab.direct("anna");
    lab.send(anna, &frame(0, 0, "anna", "anna", &[b'x'; 16]));
    assert_eq!(lab.got(anna), [frame(0, 0, "anna", "anna", &[b'x'; 16])]);
    lab.send(anna, &frame(0, 1, "anna", "anna", b"y"));
    assert_eq!(lab.got(anna), [frame(1, 1, "", "anna", b"507")], "the first is not answered yet");
    lab.send(anna, &frame(1, 0, "anna", "anna", b"200"));
    lab.send(anna, &frame(0, 2, "anna", "anna", &[0; 17]));
    let told = [frame(1, 0, "anna", "anna", b"200"), frame(1, 2, "", "anna", b"507")];
    assert_eq!(lab.got(anna), told);
    lab.disconnect(anna);
    let native = lab.native("anna");
    let to = To::User(Who::Number(1));
    let send = |text| Request::Send { to, priority: 3, receipt: false, text };
    assert_eq!(answer(&lab.ask(native, &send(&[b'x'; 17]))), "MessageLength 16");
    lab.send(native, &asked(1, &send(&[b'x'; 16])));
    assert_eq!(lab.got(native).len(), 2, "the message and its answer");
    lab.disconnect(native);
    let (topic, _) = lab.subscriber(office.topics, 1000, "anna").unwrap();
    for (kind, number, answer) in [(2, 0, 0), (2, 0, 1), (3, 1, 0), (3, 1, 0), (4, 1, 0)] {
        lab.send(office.topics, &topic_request(kind, 0, 0, number, "t"));
        assert_eq!(topic_message(&lab.got(topic)[0]).1, answer);
    }
    assert_eq!(lab.exchange.usage().memberships, 1);
}

#[test]
fn the_tables_of_a_small_machine_fit_it() {
    centrala_core::storage! {
        struct Small {
            users: 8, groups: 8, memberships: 64, sessions: 10, messages: 32,
            message_length: 128, entries: 48, questions: 2,
        }
    }
    use centrala_core::exchange::{Entry, Group, Membership, Message, Session, Timer, User};
    use centrala_core::table::Slot;
    println!(
        "user {}, group {}, membership {}, session {}, message {}, entry {}, timer {}: {}",
        size_of::<User>(),
        size_of::<Group>(),
        size_of::<Slot<Membership>>(),
        size_of::<Slot<Session>>(),
        size_of::<Slot<Message>>(),
        size_of::<Slot<Entry>>(),
        size_of::<Slot<Timer>>(),
        Small::BYTES
    );
    const { assert!(Small::BYTES <= 18 * 1024) };
}

#[test]
fn a_reply_to_another_question_than_was_asked_lets_nobody_in() {
    use centrala_core::host::Reply;
    let mut lab = Lab::default();
    lab.exchange.create_user(b"ola", &mut lab.shelf).unwrap();
    lab.exchange.set_password(1, true).unwrap();
    for reply in [Reply::Prepared(true), Reply::Prepared(false)] {
        let link = lab.connect();
        lab.send(link, &frame(1, 0, "ola", "", b"secret"));
        assert_eq!(lab.reply(reply).map(|_| ()), Err(centrala_core::exchange::Gone));
        assert_eq!(lab.got(link), [frame(1, 0, "", "", b"401")]);
    }
    let usage = lab.exchange.usage();
    assert_eq!((usage.users, usage.sessions, usage.questions), (1, 0, 0));
    assert!(lab.exchange.find_user(centrala_core::request::Target::UserName(b"")).is_none());
}
