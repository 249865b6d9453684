//! The driver's outbox, which checks what it is given.

use std::collections::{BTreeMap, HashMap, HashSet};

use centrala_core::dialect::{Dialect, lanes, topics};
use centrala_core::event::Limit;
use centrala_core::exchange::{Link, Token};
use centrala_core::host::{Ask, Note, Outbox, Room};

use super::shelf::Kept;

/// What the outbox was given.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Event {
    Open(Link, i64),
    Deliver(Link, Vec<u8>),
    Mail(Link, Vec<u8>, u32),
    /// An answer, or a line of a list.
    Answer(Link, Vec<u8>),
    /// An answer at an address that has no link.
    TurnedAway(i64, Vec<u8>),
    /// A question about a password.
    Ask(Token),
    Close(Link),
    /// One more socket of the session of another link.
    Merge(Link, Link),
    /// What lay unread for a link goes back.
    Unread(Link, Vec<u8>),
    NotKept(u32, Limit),
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Long fields are mostly empty.
        let text = |frame: &[u8]| {
            let text = frame.escape_ascii().to_string();
            text.split("\\x00").filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
        };
        match self {
            Event::Open(link, address) => write!(f, "open {link:?} at {address}"),
            Event::Deliver(link, frame) => write!(f, "deliver {link:?} {}", text(frame)),
            Event::Mail(link, frame, mark) => write!(f, "mail {mark} {link:?} {}", text(frame)),
            Event::Answer(link, frame) => write!(f, "answer {link:?} {}", text(frame)),
            Event::TurnedAway(address, frame) => write!(f, "turn away {address} {}", text(frame)),
            Event::Ask(token) => write!(f, "ask {token:?}"),
            Event::Merge(link, into) => write!(f, "merge {link:?} into {into:?}"),
            Event::Close(link) => write!(f, "close {link:?}"),
            Event::Unread(link, frame) => write!(f, "unread {link:?} {}", text(frame)),
            Event::NotKept(user, limit) => write!(f, "not kept for {user}: {limit:?}"),
        }
    }
}

/// Where messages lie until a client reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// At a dialect's endpoint, under a type.
    Endpoint(u8, i64),
    /// In the queue of a client, by its key.
    Queue(i64),
}

impl Place {
    pub(super) fn lane(kind: i64) -> Place {
        Place::Endpoint(Dialect::Lanes as u8, kind)
    }
}

/// A message that lies somewhere.
#[derive(Clone, Debug)]
pub(super) struct Lying {
    pub(super) frame: Vec<u8>,
    /// Of mail that has not got there yet; else 0.
    pub(super) mark: u32,
    pub(super) since: u64,
}

/// A page of a user's mail that was asked for.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) token: Token,
    pub(super) user: u32,
    pub(super) after: (u8, u64),
    pub(super) limit: u32,
    /// As the store was when it was asked for.
    pub(super) then: Option<Vec<(u64, Kept)>>,
}

#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) now: u64,
    pub(super) events: Vec<Event>,
    /// Links that are there, with what each still takes.
    pub(super) links: HashMap<Link, (Dialect, Room)>,
    /// The last mark of each.
    pub(super) marks: HashMap<Link, u32>,
    /// What a client's queue takes; `None`: there is no queue at its address.
    pub(super) queue: Option<Room>,
    pub(super) endpoints: Vec<(Link, Dialect)>,
    pub(super) lying: BTreeMap<Place, Vec<Lying>>,
    /// Where the client of a link reads.
    pub(super) places: HashMap<Link, Place>,
    /// Links whose client is known to be gone.
    pub(super) gone: HashSet<Link>,
    /// Links whose queue is no more.
    pub(super) removed: HashSet<Link>,
    pub(super) pages: Vec<Page>,
    /// The parts of an event that has not ended.
    pub(super) parts: HashMap<Link, Vec<u8>>,
    /// Questions to make a secret of a password.
    pub(super) prepares: HashSet<Token>,
}

impl Desk {
    pub(super) fn endpoint(&self, dialect: Dialect) -> Option<Link> {
        self.endpoints.iter().find(|(_, of)| *of == dialect).map(|(link, _)| *link)
    }

    /// How much lies at a place.
    pub(super) fn count(&self, place: Place) -> usize {
        self.lying.get(&place).map_or(0, Vec::len)
    }

    /// Takes the first message of a place out, if any has got there.
    pub(super) fn read(&mut self, place: Place) -> Option<Vec<u8>> {
        let lying = self.lying.get_mut(&place)?;
        let first = lying.iter().position(|lying| lying.mark == 0)?;
        Some(lying.remove(first).frame)
    }

    /// A link's mail has got to where it is read, up to a mark.
    pub(super) fn arrived(&mut self, link: Link, mark: u32) {
        let lying = self.places.get(&link).and_then(|place| self.lying.get_mut(place));
        for lying in lying.into_iter().flatten().filter(|lying| lying.mark <= mark) {
            lying.mark = 0;
        }
    }

    /// A link's mail does not get to where it would be read, from a mark on.
    pub(super) fn not_arrived(&mut self, link: Link, mark: u32) {
        if let Some(lying) = self.places.get(&link).and_then(|place| self.lying.get_mut(place)) {
            lying.retain(|lying| lying.mark < mark);
        }
    }

    fn lay(&mut self, place: Place, frame: &[u8], mark: u32) {
        let lying = Lying { frame: frame.to_vec(), mark, since: self.now };
        self.lying.entry(place).or_default().push(lying);
    }

    fn charge(&mut self, link: Link, frame: &[u8], mark: u32) {
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
        if let Some(place) = self.places.get(&link) {
            self.lay(*place, frame, mark);
        }
    }

    fn answer(&mut self, to: Link, frame: &[u8]) {
        assert!(!frame.is_empty(), "an empty answer");
        let endpoint = self.endpoints.iter().find(|(link, _)| *link == to).map(|(_, of)| *of);
        let known = self.links.get(&to).map(|(dialect, _)| *dialect);
        match endpoint.or(known) {
            Some(Dialect::Lanes) => {
                let element = lanes::Element::new_checked(frame).expect("an answer");
                self.lay(Place::lane(element.lane), frame, 0);
            }
            Some(Dialect::Topics) if endpoint.is_some() => {
                let message = topics::ServerMessage::new_checked(frame).expect("an answer");
                self.lay(Place::Endpoint(Dialect::Topics as u8, message.kind), frame, 0);
            }
            Some(_) => assert!(endpoint.is_none(), "an answer at an endpoint"),
            None => panic!("an answer to {to:?}, which is over"),
        }
        self.events.push(Event::Answer(to, frame.to_vec()));
    }
}

impl Outbox for Desk {
    fn open(&mut self, link: Link, endpoint: Link, address: i64) -> Option<Room> {
        let (_, dialect) = *self.endpoints.iter().find(|(of, _)| *of == endpoint)?;
        let room = self.queue?;
        assert!(self.links.insert(link, (dialect, room)).is_none(), "opened twice");
        let place = match dialect {
            Dialect::Lanes => Place::lane(address),
            _ => Place::Queue(address),
        };
        self.places.insert(link, place);
        self.events.push(Event::Open(link, address));
        Some(room)
    }
    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        for (i, link) in to.iter().enumerate() {
            assert!(!to[..i].contains(link), "the same link twice");
            self.charge(*link, frame, 0);
            self.events.push(Event::Deliver(*link, frame.to_vec()));
        }
    }
    fn mail(&mut self, to: Link, frame: &[u8], mark: u32) {
        self.charge(to, frame, mark);
        let last = self.marks.insert(to, mark).unwrap_or(0);
        assert_eq!(mark, last + 1, "marks of a link rise by 1");
        self.events.push(Event::Mail(to, frame.to_vec(), mark));
    }
    fn reply(&mut self, to: Link, frame: &[u8]) {
        self.answer(to, frame);
    }
    fn part(&mut self, to: Link, frame: &[u8], last: bool) {
        if self.links.get(&to).is_none_or(|(dialect, _)| *dialect != Dialect::Rooms) {
            return self.answer(to, frame);
        }
        // The parts are one event together.
        let parts = self.parts.entry(to).or_default();
        parts.extend_from_slice(frame);
        if last && let Some(whole) = self.parts.remove(&to) {
            self.answer(to, &whole);
        }
    }
    fn merge(&mut self, link: Link, into: Link) {
        assert!(self.links.remove(&link).is_some() && self.links.contains_key(&into));
        self.events.push(Event::Merge(link, into));
    }
    fn promise(&mut self, to: Link, granted: &[u8], refused: &[u8]) {
        let second = granted.starts_with(&lanes::LOG_IN_ANSWER.to_le_bytes())
            && lanes::Element::new_checked(granted).is_some_and(|element| element.text.is_empty());
        let index = self.links.get(&to).is_some_and(|(dialect, _)| *dialect == Dialect::Queues);
        assert!(!refused.is_empty() || second || index, "a promise without its refusal");
        self.answer(to, granted);
    }
    fn ask(&mut self, token: Token, ask: Ask<'_>) {
        match ask {
            Ask::Mail { user, after, limit } => {
                assert!(limit != 0, "a page of nothing");
                let twice = self.pages.iter().any(|page| page.user == user);
                assert!(!twice, "two pages of user {user} at once");
                self.pages.push(Page { token, user, after, limit, then: None });
            }
            _ => {
                if let Ask::Prepare { .. } = ask {
                    self.prepares.insert(token);
                }
                self.events.push(Event::Ask(token));
            }
        }
    }
    fn turn_away(&mut self, endpoint: Link, address: i64, frame: &[u8]) {
        assert_eq!(self.endpoint(Dialect::Queues), Some(endpoint), "{address} is answered there");
        self.events.push(Event::TurnedAway(address, frame.to_vec()));
    }
    fn take_back(&mut self, endpoint: Link, lane: i64, each: &mut dyn FnMut(&[u8]) -> bool) {
        let dialect = self.endpoints.iter().find(|(link, _)| *link == endpoint);
        let place = Place::Endpoint(dialect.expect("an endpoint").1 as u8, lane);
        if let Some(lying) = self.lying.get_mut(&place) {
            lying.retain(|lying| each(&lying.frame));
        }
    }
    fn unread(&mut self, link: Link, each: &mut dyn FnMut(&[u8])) {
        let place = self.places.get(&link).expect("a link of an endpoint");
        let lying = self.lying.remove(place).unwrap_or_default();
        if self.removed.contains(&link) {
            return;
        }
        // Mail that has not got there is still the exchange's.
        for lying in lying.into_iter().filter(|lying| lying.mark == 0) {
            each(&lying.frame);
            self.events.push(Event::Unread(link, lying.frame));
        }
    }
    fn gone(&mut self, link: Link) -> bool {
        self.gone.contains(&link)
    }
    fn close(&mut self, link: Link) {
        // A log-in of `lanes` that is refused was never opened.
        let unseen = self.endpoint(Dialect::Lanes).is_some();
        let known = self.links.remove(&link).is_some();
        assert!(known || unseen, "{link:?} closed, which is over");
        self.events.push(Event::Close(link));
    }
    fn shut_down(&mut self) {}
    fn note(&mut self, note: Note) {
        if let Note::NotKept { user, limit } = note {
            self.events.push(Event::NotKept(user, limit));
        }
    }
}
