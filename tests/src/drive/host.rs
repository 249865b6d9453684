//! The driver's outbox, which checks what it is given.

use std::collections::{BTreeMap, HashMap};

use centrala_core::dialect::{Dialect, topics};
use centrala_core::event::Limit;
use centrala_core::exchange::{Link, Token};
use centrala_core::host::{Ask, Note, Outbox, Room};

/// What the outbox was given.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Event {
    Open(Link, i64),
    Deliver(Link, Vec<u8>),
    Mail(Link, Vec<u8>, u32),
    /// An answer, or a line of a list.
    Answer(Link, Vec<u8>),
    Ask(Token),
    Close(Link),
    NotKept(u32, Limit),
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |frame: &[u8]| frame.escape_ascii().to_string();
        match self {
            Event::Open(link, address) => write!(f, "open {link:?} at {address}"),
            Event::Deliver(link, frame) => write!(f, "deliver {link:?} {}", text(frame)),
            Event::Mail(link, frame, mark) => write!(f, "mail {mark} {link:?} {}", text(frame)),
            Event::Answer(link, frame) => write!(f, "answer {link:?} {}", text(frame)),
            Event::Ask(token) => write!(f, "ask {token:?}"),
            Event::Close(link) => write!(f, "close {link:?}"),
            Event::NotKept(user, limit) => write!(f, "not kept for {user}: {limit:?}"),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) events: Vec<Event>,
    /// Links that are there, with what each still takes.
    pub(super) links: HashMap<Link, (Dialect, Room)>,
    /// The last mark of each.
    pub(super) marks: HashMap<Link, u32>,
    /// What a client's queue takes; `None`: there is no queue at its address.
    pub(super) queue: Option<Room>,
    /// Answers that lie at the endpoint, by address.
    pub(super) unfetched: BTreeMap<i64, Vec<Vec<u8>>>,
    pub(super) endpoint: Option<Link>,
}

impl Desk {
    fn charge(&mut self, link: Link, frame: &[u8]) {
        let Some((dialect, room)) = self.links.get_mut(&link) else {
            panic!("a delivery to {link:?}, which is over");
        };
        let len = frame.len() as u32;
        assert!(len != 0, "an empty delivery");
        assert!(len <= room.messages, "{len} bytes for {link:?}, which takes {room:?}");
        room.messages -= len;
        let direct = *dialect == Dialect::Topics
            && topics::ServerMessage::new_checked(frame)
                .is_some_and(|message| message.kind >= topics::kind::DIRECT);
        if direct {
            assert!(len <= room.direct, "{len} direct bytes for {link:?}, which takes {room:?}");
            room.direct -= len;
        }
    }

    fn answer(&mut self, to: Link, frame: &[u8]) {
        assert!(!frame.is_empty(), "an empty answer");
        if Some(to) == self.endpoint {
            let message = topics::ServerMessage::new_checked(frame).expect("an answer");
            self.unfetched.entry(message.kind).or_default().push(frame.to_vec());
        } else {
            assert!(self.links.contains_key(&to), "an answer to {to:?}, which is over");
        }
        self.events.push(Event::Answer(to, frame.to_vec()));
    }
}

impl Outbox for Desk {
    fn open(&mut self, link: Link, endpoint: Link, address: i64) -> Option<Room> {
        assert_eq!(Some(endpoint), self.endpoint);
        let room = self.queue?;
        assert!(self.links.insert(link, (Dialect::Topics, room)).is_none(), "opened twice");
        self.events.push(Event::Open(link, address));
        Some(room)
    }
    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        for (i, link) in to.iter().enumerate() {
            assert!(!to[..i].contains(link), "the same link twice");
            self.charge(*link, frame);
            self.events.push(Event::Deliver(*link, frame.to_vec()));
        }
    }
    fn mail(&mut self, to: Link, frame: &[u8], mark: u32) {
        self.charge(to, frame);
        let last = self.marks.insert(to, mark).unwrap_or(0);
        assert_eq!(mark, last + 1, "marks of a link rise by 1");
        self.events.push(Event::Mail(to, frame.to_vec(), mark));
    }
    fn reply(&mut self, to: Link, frame: &[u8]) {
        self.answer(to, frame);
    }
    fn promise(&mut self, to: Link, granted: &[u8], refused: &[u8]) {
        assert!(!refused.is_empty(), "a promise without its refusal");
        self.answer(to, granted);
    }
    fn ask(&mut self, token: Token, _: Ask<'_>) {
        self.events.push(Event::Ask(token));
    }
    fn turn_away(&mut self, endpoint: Link, address: i64, _: &[u8]) {
        panic!("{endpoint:?} is of `topics`: {address} is answered there");
    }
    fn take_back(&mut self, endpoint: Link, lane: i64, each: &mut dyn FnMut(&[u8]) -> bool) {
        assert_eq!(Some(endpoint), self.endpoint);
        let answers = self.unfetched.remove(&lane).unwrap_or_default();
        let kept: Vec<Vec<u8>> = answers.into_iter().filter(|frame| each(frame)).collect();
        if !kept.is_empty() {
            self.unfetched.insert(lane, kept);
        }
    }
    fn unread(&mut self, _: Link, _: &mut dyn FnMut(&[u8])) {}
    fn gone(&mut self, _: Link) -> bool {
        false
    }
    fn close(&mut self, link: Link) {
        assert!(self.links.remove(&link).is_some(), "{link:?} closed, which is over");
        self.events.push(Event::Close(link));
    }
    fn shut_down(&mut self) {}
    fn note(&mut self, note: Note) {
        if let Note::NotKept { user, limit } = note {
            self.events.push(Event::NotKept(user, limit));
        }
    }
}
