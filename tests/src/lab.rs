//! An exchange on a bench: a host that remembers all it was given, a store that can be told to
//! fail, and a clock that stands still until it is moved.

use std::collections::{BTreeMap, HashMap, HashSet};

use centrala_core::dialect::native::{self, Event, Request as Asked, VERSION, Who};
use centrala_core::dialect::{Dialect, direct, topics};
use centrala_core::event::Limit;
use centrala_core::exchange::{Exchange, Gone, Link, Tables, Token, places_for_users, scratch_len};
use centrala_core::host::{Ask, Mail, NoRoom, Note, Outbox, Record, Reply, Room, Store};
use centrala_core::limits::Limits;
use centrala_core::table::{Empty, Slot};

/// How long each table is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub users: usize,
    pub groups: usize,
    pub memberships: usize,
    pub chats: usize,
    pub sessions: usize,
    pub messages: usize,
    pub message_length: usize,
    pub entries: usize,
    pub questions: usize,
}

/// Enough for most tests.
pub const ROOMY: Sizes = Sizes {
    users: 40,
    groups: 40,
    memberships: 100,
    chats: 20,
    sessions: 60,
    messages: 100,
    message_length: 1024,
    entries: 200,
    questions: 8,
};

/// Tables of these sizes. They are never freed: a test's memory is its process's.
pub fn tables(sizes: &Sizes) -> Tables<'static> {
    fn many<T: Clone>(value: T, count: usize) -> &'static mut [T] {
        vec![value; count].leak()
    }
    let places = places_for_users(sizes.users);
    Tables {
        users: many(Empty::EMPTY, places),
        user_index: many(0, places.next_power_of_two()),
        groups: many(Empty::EMPTY, sizes.groups),
        group_index: many(0, sizes.groups.next_power_of_two()),
        memberships: many(Slot::EMPTY, sizes.memberships),
        chats: many(Slot::EMPTY, sizes.chats),
        chat_index: many(0, sizes.chats.next_power_of_two()),
        sessions: many(Slot::EMPTY, sizes.sessions),
        session_index: many(0, sizes.sessions.next_power_of_two()),
        messages: many(Slot::EMPTY, sizes.messages),
        bodies: many(0, sizes.messages * sizes.message_length),
        entries: many(Slot::EMPTY, sizes.entries),
        timers: many(Slot::EMPTY, sizes.entries + 2 * sizes.sessions + 1),
        questions: many(Slot::EMPTY, sizes.questions),
        fan: many(Link::NONE, sizes.sessions),
        fan_dialects: many(0, sizes.sessions),
        scratch: many(0, scratch_len(sizes.message_length)),
    }
}

/// One thing that the outbox was given for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    Deliver(Vec<u8>),
    Mail(Vec<u8>, u32),
    Reply(Vec<u8>),
    Part(Vec<u8>, bool),
    Promise { granted: Vec<u8>, refused: Vec<u8> },
}

impl Given {
    /// The bytes that leave if the commit succeeds.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Given::Deliver(bytes)
            | Given::Mail(bytes, _)
            | Given::Reply(bytes)
            | Given::Part(bytes, _) => bytes,
            Given::Promise { granted, .. } => granted,
        }
    }
}

/// The outbox.
#[derive(Debug, Default)]
pub struct Desk {
    pub given: HashMap<usize, Vec<(Link, Given)>>,
    pub opened: Vec<(Link, i64)>,
    /// Addresses at which there is no queue.
    pub missing: HashSet<i64>,
    /// What a link takes when it is opened.
    pub room: Room,
    pub closed: Vec<Link>,
    /// Pages of mail asked for: the question, the user, behind what, and how many.
    pub pages: Vec<(Token, u32, (u8, u64), u32)>,
    /// Histories, counts and messages asked for.
    pub reads: Vec<(Token, String)>,
    /// Links that are one more client of another's session.
    pub merged: Vec<(Link, Link)>,
    /// Open questions, with the user and the password.
    pub asked: Vec<(Token, Option<u32>, Vec<u8>)>,
    /// Frames lying under an address at an endpoint.
    pub unfetched: HashMap<i64, Vec<Vec<u8>>>,
    /// Deliveries lying unread for a link.
    pub lying: HashMap<usize, Vec<Vec<u8>>>,
    /// Links whose client is known to be gone.
    pub dead: Vec<Link>,
    /// What was answered to clients without a link, with their addresses.
    pub turned_away: Vec<(i64, Vec<u8>)>,
    pub shut_down: bool,
    /// No client may end the host.
    pub keeps_running: bool,
    pub notes: Vec<Note>,
    /// How often `deliver` was called.
    pub calls: usize,
    /// Log-ins that were promised: the link and the number of each.
    pub log_ins: Vec<(Link, u32)>,
}

impl Desk {
    fn give(&mut self, to: Link, given: Given) {
        self.given.entry(to.index()).or_default().push((to, given));
    }
}

impl Outbox for Desk {
    fn open(&mut self, link: Link, _endpoint: Link, address: i64) -> Option<Room> {
        if self.missing.contains(&address) {
            return None;
        }
        self.opened.push((link, address));
        Some(self.room)
    }
    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        self.calls += 1;
        for link in to {
            self.give(*link, Given::Deliver(frame.to_vec()));
        }
    }
    fn mail(&mut self, to: Link, frame: &[u8], mark: u32) {
        self.give(to, Given::Mail(frame.to_vec(), mark));
    }
    fn reply(&mut self, to: Link, frame: &[u8]) {
        self.give(to, Given::Reply(frame.to_vec()));
    }
    fn part(&mut self, to: Link, frame: &[u8], last: bool) {
        self.give(to, Given::Part(frame.to_vec(), last));
    }
    fn merge(&mut self, link: Link, into: Link) {
        self.merged.push((link, into));
    }
    fn promise(&mut self, to: Link, granted: &[u8], refused: &[u8]) {
        self.give(to, Given::Promise { granted: granted.to_vec(), refused: refused.to_vec() });
    }
    fn logged_in(&mut self, to: Link, link: Link, log_in: u32) {
        let promise = self.given.get(&to.index()).and_then(|given| given.last());
        assert!(matches!(promise, Some((_, Given::Promise { .. }))), "behind its promise");
        self.log_ins.push((link, log_in));
    }
    fn ask(&mut self, token: Token, ask: Ask<'_>) {
        let (user, password) = match ask {
            Ask::Verify { user, password } => (user, password),
            Ask::Prepare { password } => (None, password),
            Ask::Mail { user, after, limit } => {
                return self.pages.push((token, user, after, limit));
            }
            Ask::History { .. } | Ask::Chats { .. } | Ask::Message { .. } => {
                return self.reads.push((token, format!("{ask:?}")));
            }
        };
        self.asked.push((token, user, password.to_vec()));
    }
    fn turn_away(&mut self, _endpoint: Link, address: i64, frame: &[u8]) {
        self.turned_away.push((address, frame.to_vec()));
    }
    fn take_back(&mut self, _endpoint: Link, lane: i64, each: &mut dyn FnMut(&[u8]) -> bool) {
        let mut lying = self.unfetched.remove(&lane).unwrap_or_default();
        lying.retain(|frame| each(frame));
        if !lying.is_empty() {
            self.unfetched.insert(lane, lying);
        }
    }
    fn unread(&mut self, link: Link, each: &mut dyn FnMut(&[u8])) {
        for frame in self.lying.remove(&link.index()).unwrap_or_default() {
            each(&frame);
        }
    }
    fn gone(&mut self, link: Link) -> bool {
        self.dead.contains(&link)
    }
    fn close(&mut self, link: Link) {
        self.closed.push(link);
    }
    fn may_shut_down(&mut self, _link: Link) -> bool {
        !self.keeps_running
    }
    fn shut_down(&mut self) {
        self.shut_down = true;
    }
    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
}

/// The store: remembers its records as text.
#[derive(Debug, Default)]
pub struct Shelf {
    pub records: Vec<String>,
    pub full: bool,
    pub history: bool,
    /// Who is logged in at which address.
    pub sessions: Vec<(Dialect, i64, u32)>,
    /// Mail can be read back from `mail`.
    pub pages: bool,
    /// By user, priority and sequence.
    pub mail: BTreeMap<(u32, u8, u64), KeptMail>,
}

/// Mail in the store.
#[derive(Clone, Debug)]
pub struct KeptMail {
    pub id: u32,
    pub from: u32,
    pub group: u32,
    pub last: bool,
    pub time: u64,
    pub text: Vec<u8>,
}

impl Store for Shelf {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        if self.full {
            return Err(NoRoom);
        }
        self.records.push(match record {
            Record::Mail(mail) => {
                let Mail { id, from, group, last, time, .. } = mail;
                let kept = KeptMail { id, from, group, last, time, text: mail.text.to_vec() };
                self.mail.insert((mail.user, mail.priority, mail.sequence), kept);
                let text = String::from_utf8_lossy(mail.text).into_owned();
                format!("mail user {} from {} group {}: {text}", mail.user, mail.from, mail.group)
            }
            Record::Session { dialect, address, user } => {
                self.sessions.retain(|at| (at.0, at.1) != (dialect, address));
                if user != 0 {
                    self.sessions.push((dialect, address, user));
                }
                return Ok(());
            }
            Record::Settled { user, sequence } => {
                self.mail.retain(|key, _| (key.0, key.2) != (user, sequence));
                format!("settled user {user}")
            }
            Record::Posted(posted) => {
                format!("posted from {} to {} group {}", posted.from, posted.to, posted.group)
            }
            Record::User { number, name, secret } => {
                let secret = if secret.is_some() { " with a password" } else { "" };
                format!("user {number} {}{secret}", String::from_utf8_lossy(name))
            }
            Record::NoUser { number } => format!("no user {number}"),
            Record::Group { number, name, owner } => {
                format!("group {number} {} of {owner}", String::from_utf8_lossy(name))
            }
            Record::NoGroup { number } => format!("no group {number}"),
            Record::Member { user, group, left } => format!("member {user} of {group}, {left}"),
            Record::Chat { group, user } => format!("chat about {group} with {user}"),
            Record::Seen { user, chat, sequence } => {
                let seen = sequence.saturating_sub(1 << 62);
                format!("user {user} has seen {chat:?} up to {seen}")
            }
            Record::NoMember { user, group } => format!("no member {user} of {group}"),
        });
        Ok(())
    }
    fn history(&self) -> bool {
        self.history
    }
    fn pages(&self) -> bool {
        self.pages
    }
}

/// The exchange with its host.
#[derive(Debug)]
pub struct Lab {
    pub exchange: Exchange<'static>,
    pub desk: Desk,
    pub shelf: Shelf,
    pub now: u64,
}

impl Default for Lab {
    fn default() -> Self {
        Lab::new(&ROOMY, Limits::new(ROOMY.message_length))
    }
}

/// Runs an exchange's method with the lab's `Io`.
#[macro_export]
macro_rules! with_io {
    ($lab:expr, $call:ident($($arg:expr),*)) => {{
        let lab: &mut $crate::lab::Lab = &mut $lab;
        let mut io = centrala_core::host::Io {
            now: lab.now,
            time: 1_700_000_000_000 + lab.now,
            store: &mut lab.shelf,
            out: &mut lab.desk,
        };
        lab.exchange.$call($($arg,)* &mut io)
    }};
}

impl Lab {
    pub fn new(sizes: &Sizes, limits: Limits) -> Lab {
        let desk = Desk { room: Room::of(1 << 20), ..Desk::default() };
        let exchange = Exchange::new(tables(sizes), limits);
        Lab { exchange, desk, shelf: Shelf::default(), now: 0 }
    }

    /// Gives bytes to a link.
    pub fn receive(&mut self, link: Link, bytes: &[u8]) -> Result<usize, Gone> {
        with_io!(*self, receive(link, bytes))
    }

    /// Gives bytes that must all be used.
    pub fn send(&mut self, link: Link, bytes: &[u8]) {
        assert_eq!(self.receive(link, bytes), Ok(bytes.len()));
    }

    /// Moves the clock and does what is due.
    pub fn wait(&mut self, milliseconds: u64) {
        let end = self.now + milliseconds;
        while let Some(due) = self.exchange.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            with_io!(*self, handle_timeout());
        }
        self.now = end;
        with_io!(*self, handle_timeout());
    }

    /// What a link was given since it was last asked.
    pub fn given(&mut self, link: Link) -> Vec<Given> {
        let all = self.desk.given.remove(&link.index()).unwrap_or_default();
        all.into_iter().filter(|(to, _)| *to == link).map(|(_, given)| given).collect()
    }

    /// The frames a link was given since it was last asked.
    pub fn got(&mut self, link: Link) -> Vec<Vec<u8>> {
        self.given(link).iter().map(|given| given.bytes().to_vec()).collect()
    }

    pub fn room(&mut self, link: Link, bytes: u32) {
        with_io!(*self, room(link, Room::of(bytes)));
    }

    pub fn disconnect(&mut self, link: Link) {
        with_io!(*self, disconnect(link));
    }

    /// A `direct` connection with so much room.
    pub fn connect(&mut self) -> Link {
        self.try_connect().expect("a free session")
    }

    pub fn try_connect(&mut self) -> Result<Link, Limit> {
        self.exchange.connect(Dialect::Direct, Room::of(1 << 20), self.now)
    }

    /// A `direct` connection of a user.
    pub fn direct(&mut self, name: &str) -> Link {
        let link = self.connect();
        self.send(link, &frame(1, 0, name, "", b""));
        link
    }

    /// Answers the oldest question for a page of mail; whether there was one.
    pub fn page(&mut self) -> bool {
        if self.desk.pages.is_empty() {
            return false;
        }
        let (token, user, after, limit) = self.desk.pages.remove(0);
        let mail = self.shelf.mail.clone();
        let behind = mail.range((user, after.0, after.1 + 1)..=(user, u8::MAX, u64::MAX));
        let page = behind.clone().take(limit as usize).map(|(key, kept)| Mail {
            user,
            sequence: key.2,
            id: kept.id,
            from: kept.from,
            group: kept.group,
            priority: key.1,
            last: kept.last,
            time: kept.time,
            text: &kept.text,
            ..Mail::NONE
        });
        let more = behind.count() > limit as usize;
        with_io!(*self, mail_page(token, page, more));
        true
    }

    /// A `native` connection on which nothing has been said yet.
    pub fn line(&mut self) -> Link {
        self.try_line().expect("a free session")
    }

    pub fn try_line(&mut self) -> Result<Link, Limit> {
        self.exchange.connect(Dialect::Native, Room::of(1 << 20), self.now)
    }

    /// A `native` connection of a user, which has been welcomed.
    pub fn native(&mut self, name: &str) -> Link {
        let link = self.line();
        self.send(link, &hello(1, name, ""));
        let got = self.got(link);
        let (payload, _) = native::look(got.first().expect("an answer")).expect("a frame");
        let answer = Event::decode(payload);
        assert!(matches!(answer, Ok(Event::Welcome { id: 1, .. })), "{answer:?}");
        // What waited for it comes behind.
        for frame in got.into_iter().skip(1) {
            self.desk.give(link, Given::Reply(frame));
        }
        link
    }

    /// What a request was answered, if it is the only thing that its link was given.
    pub fn ask(&mut self, link: Link, request: &Asked<'_>) -> Vec<u8> {
        self.send(link, &asked(9, request));
        let mut got = self.got(link);
        assert_eq!(got.len(), 1, "one answer");
        got.remove(0)
    }

    /// The endpoint of `queues`.
    pub fn queues(&mut self) -> Link {
        self.exchange.endpoint(Dialect::Queues, 99999).expect("a free session")
    }

    /// The endpoint of `lanes`.
    pub fn lanes(&mut self) -> Link {
        self.exchange.endpoint(Dialect::Lanes, 6661).expect("a free session")
    }

    /// Answers the question asked last.
    pub fn reply(&mut self, reply: Reply) -> Result<Link, Gone> {
        let (token, ..) = self.desk.asked.pop().expect("a question");
        with_io!(*self, answer_question(token, reply))
    }

    /// The endpoint of `topics`.
    pub fn topics(&mut self) -> Link {
        self.exchange.endpoint(Dialect::Topics, 12345).expect("a free session")
    }

    /// Logs a client in to `topics`; its link and its id, or what it was told instead.
    pub fn subscriber(&mut self, endpoint: Link, key: i32, name: &str) -> Result<(Link, i32), i32> {
        let opened = self.desk.opened.len();
        self.send(endpoint, &topic_request(1, key, 0, 0, name));
        let answers = self.got(endpoint);
        let answer = topics::ServerMessage::new_checked(&answers[0]).expect("an answer");
        assert_eq!((answers.len(), answer.kind), (1, key.into()));
        if answer.info < 0 {
            return Err(answer.info);
        }
        Ok((self.desk.opened[opened].0, answer.info))
    }

    /// What a `topics` client's queue holds now: type, info and text of each message.
    pub fn queue(&mut self, link: Link) -> Vec<(i64, i32, String)> {
        self.got(link).iter().map(|bytes| topic_message(bytes)).collect()
    }
}

/// A frame of `direct`.
pub fn frame(kind: u16, id: u32, src: &str, dst: &str, text: &[u8]) -> Vec<u8> {
    let field = |name: &str| {
        let mut field = [0; direct::NAME_FIELD];
        field[..name.len()].copy_from_slice(name.as_bytes());
        field
    };
    let (src, dst) = (field(src), field(dst));
    let frame = direct::Frame { kind, id, src: &src, dst: &dst, text };
    let mut bytes = vec![0; frame.emitted_len()];
    frame.emit(&mut bytes).expect("fits");
    bytes
}

/// A request of `native`.
pub fn asked(id: u32, request: &Asked<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    let len = request.encode(id, &mut bytes).expect("fits");
    bytes.truncate(len);
    bytes
}

/// A hello of `native`.
pub fn hello(id: u32, name: &str, password: &str) -> Vec<u8> {
    let (user, password) = (Who::Name(name.as_bytes()), password.as_bytes());
    asked(id, &Asked::Hello { version: VERSION, user, password })
}

/// What `native` tells.
pub fn told(event: &Event<'_>) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 16];
    let len = event.encode(&mut bytes).expect("fits");
    bytes.truncate(len);
    bytes
}

/// A request of `topics`.
pub fn topic_request(kind: i64, id: i32, topic: i32, number: i32, text: &str) -> Vec<u8> {
    let request = topics::ClientMessage { kind, id, topic, number, field: text.as_bytes() };
    let mut bytes = vec![0; topics::REQUEST_SIZE];
    let len = request.emit(&mut bytes).expect("fits");
    bytes.truncate(len);
    bytes
}

/// What `topics` sends: type, info and text.
pub fn topic_message(bytes: &[u8]) -> (i64, i32, String) {
    let message = topics::ServerMessage::new_checked(bytes).expect("whole");
    assert_eq!(bytes.last(), Some(&0), "text goes with its NUL");
    (message.kind, message.info, String::from_utf8(message.text.to_vec()).expect("UTF-8"))
}
