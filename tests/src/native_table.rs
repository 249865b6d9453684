//! `native`, request by request, for any exchange that speaks it over TCP or on serial lines.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use centrala_core::dialect::native::serial::{self, Arrived, Receiver};
use centrala_core::dialect::native::{
    self, Chat, Event, How, Limit, List, Refusal, Request, To, VERSION, Who,
};

/// Nothing takes longer, on a machine that does other things beside.
const LONG: Duration = Duration::from_secs(60);

/// An event, without the names of who got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Got {
    /// A hello was answered.
    Welcome(u32),
    /// A request was obeyed.
    Done(u32, How),
    /// A request was refused.
    Refused(u32, Refusal),
    /// From whom, in which group, its mark, its text.
    Message(String, String, u32, Vec<u8>),
    /// A name of a list.
    Row(String),
    /// The end of a counted membership.
    Ended(String),
}

/// A message as a user gets it, live or as mail.
pub fn message(from: &str, group: &str, mark: u32, text: &str) -> Got {
    Got::Message(from.to_owned(), group.to_owned(), mark, text.as_bytes().to_vec())
}

/// A message to a user, answered when the recipient has it.
pub fn to_user<'a>(name: &'a str, text: &'a str) -> Request<'a> {
    let to = To::User(Who::Name(name.as_bytes()));
    Request::Send { to, priority: 3, receipt: true, text: text.as_bytes() }
}

fn to_group<'a>(name: &'a str, text: &'a str) -> Request<'a> {
    let to = To::Group(Who::Name(name.as_bytes()));
    Request::Send { to, priority: 3, receipt: false, text: text.as_bytes() }
}

/// A connection, or a line.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// Of a serial line.
    receiver: Option<Receiver<Vec<u8>>>,
    id: u32,
}

impl Client {
    /// Over TCP, or by what leads to a serial line.
    pub fn new(stream: TcpStream, line: bool) -> Client {
        stream.set_read_timeout(Some(LONG)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let receiver = line.then(|| Receiver::new(vec![0; 4096]));
        Client { stream, receiver, id: 0 }
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it is read");
    }

    /// Sends what a frame holds.
    pub fn payload(&mut self, payload: &[u8]) {
        let len = u16::try_from(payload.len()).expect("no more than a frame has");
        let frame = [&len.to_le_bytes(), payload].concat();
        if self.receiver.is_none() {
            return self.raw(&frame);
        }
        let mut line = vec![0; serial::encoded_max(frame.len())];
        let len = serial::encode(&frame, &mut line).expect("a frame");
        self.raw(&line[..len]);
    }

    /// Sends a request with this id.
    pub fn tell(&mut self, id: u32, request: &Request<'_>) {
        let mut frame = vec![0; 70_000];
        let len = request.encode(id, &mut frame).expect("a frame");
        self.payload(&frame[native::HEADER..len]);
    }

    /// Sends a request and returns its id.
    pub fn ask(&mut self, request: &Request<'_>) -> u32 {
        self.id += 1;
        self.tell(self.id, request);
        self.id
    }

    fn frame(&mut self) -> Vec<u8> {
        match &mut self.receiver {
            None => {
                let mut len = [0; native::HEADER];
                self.stream.read_exact(&mut len).expect("an event");
                let mut payload = vec![0; u16::from_le_bytes(len).into()];
                self.stream.read_exact(&mut payload).expect("an event");
                payload
            }
            Some(receiver) => loop {
                let mut byte = [0];
                self.stream.read_exact(&mut byte).expect("an event");
                match receiver.push(byte[0]) {
                    Arrived::Nothing => {}
                    Arrived::Frame => return receiver.frame()[native::HEADER..].to_vec(),
                    other => panic!("from an exchange: {other:?}"),
                }
            },
        }
    }

    /// The next event.
    pub fn event(&mut self) -> Got {
        let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        match Event::decode(&self.frame()).expect("an event") {
            Event::Welcome { id, .. } => Got::Welcome(id),
            Event::Done { id, how, .. } => Got::Done(id, how),
            Event::Refused { id, why } => Got::Refused(id, why),
            Event::Message(message) => {
                let group = message.group.map_or(String::new(), |group| name(group.name));
                Got::Message(name(message.from.name), group, message.mark, message.text.to_vec())
            }
            Event::Row { party, .. } => Got::Row(name(party.name)),
            Event::Ended { group } => Got::Ended(name(group.name)),
            other => panic!("not asked for: {other:?}"),
        }
    }

    /// Asks, and expects that it is done as the next thing.
    pub fn done(&mut self, request: &Request<'_>, how: How) {
        let id = self.ask(request);
        assert_eq!(self.event(), Got::Done(id, how), "{request:?}");
    }

    /// Asks, and expects to be refused.
    pub fn refused(&mut self, request: &Request<'_>, why: Refusal) {
        let id = self.ask(request);
        assert_eq!(self.event(), Got::Refused(id, why), "{request:?}");
    }

    /// Logs in. What comes for whoever was here before is passed over.
    pub fn hello(&mut self, name: &str) {
        let user = Who::Name(name.as_bytes());
        let id = self.ask(&Request::Hello { version: VERSION, user, password: b"" });
        while self.event() != Got::Welcome(id) {}
    }

    fn list(&mut self, list: List<'_>) -> Vec<String> {
        let id = self.ask(&Request::List(list));
        let mut names = Vec::new();
        loop {
            match self.event() {
                Got::Row(name) => names.push(name),
                got => {
                    assert_eq!(got, Got::Done(id, How::Done));
                    return names;
                }
            }
        }
    }
}

/// Two users talk, one leaves and comes back, and both share groups.
pub fn conversation(anna: &mut Client, bartek: &mut Client) {
    anna.refused(&Request::Ping, Refusal::NotLoggedIn);
    anna.hello("anna");
    bartek.hello("bartek");
    anna.done(&to_user("bartek", "cześć"), How::Done);
    assert_eq!(bartek.event(), message("anna", "", 0, "cześć"));
    bartek.done(&to_user("anna", "\0\u{1}\0"), How::Done);
    assert_eq!(anna.event(), message("bartek", "", 0, "\0\u{1}\0"));

    // Mail is kept until it is acknowledged.
    bartek.hello("jan");
    anna.done(&to_user("bartek", "read it later"), How::Stored);
    bartek.hello("bartek");
    assert_eq!(bartek.event(), message("anna", "", 1, "read it later"));
    bartek.hello("bartek");
    assert_eq!(bartek.event(), message("anna", "", 1, "read it later"));
    bartek.tell(0, &Request::Ack { mark: 1 });
    bartek.hello("bartek");
    bartek.done(&Request::Ping, How::Done);

    let news = Who::Name(b"news");
    bartek.done(&Request::CreateGroup { name: b"news" }, How::Done);
    bartek.refused(&Request::CreateGroup { name: b"news" }, Refusal::Exists);
    bartek.done(&Request::Join { group: news, count: Some(2) }, How::Done);
    anna.done(&to_group("news", "one"), How::Done);
    anna.done(&to_group("news", "two"), How::Done);
    anna.done(&to_group("news", "three"), How::Done);
    // What had to wait for room on a line has a mark.
    let mut last = 0;
    for text in ["one", "two"] {
        let got = bartek.event();
        let Got::Message(_, _, mark, _) = got else { panic!("{got:?}") };
        assert_eq!(got, message("anna", "news", mark, text));
        last = last.max(mark);
    }
    assert_eq!(bartek.event(), Got::Ended("news".to_owned()));
    bartek.tell(0, &Request::Ack { mark: last });
    bartek.done(&Request::Join { group: news, count: None }, How::Done);
    assert_eq!(bartek.list(List::Members(news)), ["bartek"]);
    bartek.done(&Request::Leave { group: news }, How::Done);
    assert_eq!(bartek.list(List::Members(news)), [""; 0]);
    assert_eq!(bartek.list(List::MyGroups), ["all"]);
    assert_eq!(anna.list(List::Groups), ["all", "news"]);
    assert_eq!(anna.list(List::Online), ["anna", "bartek"]);
    assert_eq!(anna.list(List::Users), ["anna", "bartek", "jan"]);
    anna.done(&to_group("all", "to all of you"), How::Done);
    assert_eq!(bartek.event(), message("anna", "all", 0, "to all of you"));
}

/// What cannot be done, with the reason: of an exchange that keeps no history, with texts of up to so
/// many bytes.
pub fn refusals(anna: &mut Client, bartek: &mut Client, message_length: usize) {
    anna.hello("anna");
    let group = Who::Name(b"gone");
    for (request, why) in [
        (to_user("nobody", "hej"), Refusal::NoSuchUser),
        (to_group("gone", "hej"), Refusal::NoSuchGroup),
        (Request::Join { group, count: None }, Refusal::NoSuchGroup),
        (Request::Leave { group }, Refusal::NoSuchGroup),
        (Request::CreateGroup { name: b"a/b" }, Refusal::BadName),
        (Request::History { chat: Chat::Group(1), before: None, limit: 9 }, Refusal::NotKept),
        (Request::Chats, Refusal::NotKept),
        (Request::ShutDown, Refusal::NotAllowed),
    ] {
        anna.refused(&request, why);
    }
    // To oneself, as long as it may be, and longer.
    let longest = "x".repeat(message_length);
    anna.tell(100, &to_user("anna", &longest));
    let got = [anna.event(), anna.event()];
    assert!(
        got.contains(&message("anna", "", 0, &longest)) && got.contains(&Got::Done(100, How::Done))
    );
    let full = Refusal::Full { limit: Limit::MessageLength, size: message_length as u32 };
    for more in [1, 60, 130, 2_000, 40_000] {
        anna.refused(&to_user("anna", &"x".repeat(message_length + more)), full);
    }
    // Of this version there is no request 99, and there is no version 0.
    anna.payload(&[7, 99, 1, 2, 3]);
    assert_eq!(anna.event(), Got::Refused(7, Refusal::Malformed));
    let user = Who::Name(b"anna");
    let hello = |version| Request::Hello { version, user, password: b"" };
    bartek.refused(&hello(0), Refusal::Version { speaks: VERSION });
    bartek.refused(&hello(VERSION), Refusal::InUse);
    anna.done(&Request::Ping, How::Done);
}

/// The tables of an exchange are full: of one with so many users and groups, and so many messages for
/// one of them.
pub fn limits(anna: &mut Client, other: &mut Client, (users, groups, mailbox): (u32, u32, u32)) {
    let full = |limit, size| Refusal::Full { limit, size };
    anna.hello("anna");
    // One is there from the start.
    for number in 1..groups {
        anna.done(&Request::CreateGroup { name: format!("g{number}").as_bytes() }, How::Done);
    }
    anna.refused(&Request::CreateGroup { name: b"more" }, full(Limit::Groups, groups));
    for number in 1..users {
        other.hello(&format!("u{number}"));
    }
    let user = Who::Name(b"more");
    let hello = Request::Hello { version: VERSION, user, password: b"" };
    other.refused(&hello, full(Limit::Users, users));
    let mail = |number: u32| format!("mail {number} {}", "z".repeat(100));
    for number in 0..mailbox {
        anna.done(&to_user("u1", &mail(number)), How::Stored);
    }
    let id = anna.ask(&to_user("u1", "more"));
    let refused = anna.event();
    let of = [Limit::Mailbox, Limit::Messages].map(|limit| Got::Refused(id, full(limit, mailbox)));
    assert!(of.contains(&refused), "{refused:?}");
    other.hello("u1");
    for number in 0..mailbox {
        assert_eq!(other.event(), message("anna", "", number + 1, &mail(number)));
        other.tell(0, &Request::Ack { mark: number + 1 });
    }
    anna.done(&to_user("u1", "and one more"), How::Done);
    let Got::Message(_, _, _, text) = other.event() else { panic!("a message") };
    assert_eq!(text, b"and one more");
}
