//! A host that hashes all it is given, and knows just enough of it to answer.

use crate::hash::{Dice, Hash};
use crate::{FRAME, SESSIONS};
use centrala_core::dialect::{Dialect, direct};
use centrala_core::exchange::{Link, Token};
use centrala_core::host::{Ask, NoRoom, Note, Outbox, Record, Room, Store};

/// What a link was sent last.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub link: Link,
    pub mark: u32,
    /// Who is to get the answer, and the id it repeats (`direct`).
    pub owed: Option<(u32, [u8; 8])>,
}

/// A question that is open.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    Password,
    Secret,
    Mail((u8, u64), u32),
    History(u64),
    Chats,
}

#[derive(Debug)]
pub struct Desk {
    pub hash: Hash,
    pub dice: Dice,
    pub sent: [Sent; SESSIONS],
    pub asked: [Option<(Token, Question)>; 4],
    /// The last message delivered, for whoever hands it back.
    pub frame: [u8; FRAME],
    pub len: usize,
    /// What was given of each kind, to see that the run is worth its while.
    pub delivered: u32,
    pub answered: u32,
    pub mailed: u32,
}

impl Desk {
    pub const fn new(seed: u64) -> Desk {
        Desk {
            hash: Hash::NEW,
            dice: Dice(seed),
            sent: [Sent { link: Link::NONE, mark: 0, owed: None }; SESSIONS],
            asked: [None; 4],
            frame: [0; FRAME],
            len: 0,
            delivered: 0,
            answered: 0,
            mailed: 0,
        }
    }

    fn given(&mut self, what: &str, to: Link, frame: &[u8]) {
        self.hash.bytes(what.as_bytes());
        self.hash.value(&to);
        self.hash.value(&frame.len());
        self.hash.bytes(frame);
    }

    fn keep(&mut self, frame: &[u8]) {
        if let Some(place) = self.frame.get_mut(..frame.len()) {
            place.copy_from_slice(frame);
            self.len = frame.len();
        }
    }

    fn sent(&mut self, link: Link) -> Option<&mut Sent> {
        let sent = self.sent.get_mut(link.index())?;
        if sent.link != link {
            *sent = Sent { link, mark: 0, owed: None };
        }
        Some(sent)
    }
}

impl Outbox for Desk {
    fn open(&mut self, link: Link, endpoint: Link, address: i64) -> Option<Room> {
        self.hash.value(&("open", link, endpoint, address));
        (!self.dice.once_in(8)).then(|| Room::of(self.dice.below(16_384)))
    }
    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        self.delivered = self.delivered.wrapping_add(1);
        for link in to {
            self.given("deliver", *link, frame);
            if let direct::Look::Frame(frame, _) = direct::Frame::look(frame)
                && let Some(sent) = self.sent(*link)
            {
                sent.owed = Some((frame.id, *frame.src));
            }
        }
        self.keep(frame);
    }
    fn mail(&mut self, to: Link, frame: &[u8], mark: u32) {
        self.mailed = self.mailed.wrapping_add(1);
        self.given("mail", to, frame);
        self.hash.value(&mark);
        if let Some(sent) = self.sent(to) {
            sent.mark = mark;
        }
    }
    fn reply(&mut self, to: Link, frame: &[u8]) {
        self.answered = self.answered.wrapping_add(1);
        self.given("reply", to, frame);
    }
    fn part(&mut self, to: Link, frame: &[u8], last: bool) {
        self.given("part", to, frame);
        self.hash.value(&last);
    }
    fn promise(&mut self, to: Link, granted: &[u8], refused: &[u8]) {
        self.answered = self.answered.wrapping_add(1);
        self.given("granted", to, granted);
        self.given("refused", to, refused);
    }
    fn ask(&mut self, token: Token, ask: Ask<'_>) {
        self.hash.value(&("ask", token, ask));
        let question = match ask {
            Ask::Verify { .. } => Question::Password,
            Ask::Prepare { .. } => Question::Secret,
            Ask::Mail { user, after, .. } => Question::Mail(after, user),
            Ask::Chats { .. } => Question::Chats,
            Ask::History { before, .. } => Question::History(before.unwrap_or(u64::MAX)),
            Ask::Message { sequence } => Question::History(sequence),
        };
        if let Some(free) = self.asked.iter_mut().find(|asked| asked.is_none()) {
            *free = Some((token, question));
        }
    }
    fn turn_away(&mut self, endpoint: Link, address: i64, frame: &[u8]) {
        self.given("turned away", endpoint, frame);
        self.hash.value(&address);
    }
    fn take_back(&mut self, endpoint: Link, lane: i64, each: &mut dyn FnMut(&[u8]) -> bool) {
        self.hash.value(&("take back", endpoint, lane));
        if self.dice.once_in(2) {
            let stays = each(self.frame.get(..self.len).unwrap_or(&[]));
            self.hash.value(&stays);
        }
    }
    fn unread(&mut self, link: Link, each: &mut dyn FnMut(&[u8])) {
        self.hash.value(&("unread", link));
        if self.dice.once_in(2) {
            each(self.frame.get(..self.len).unwrap_or(&[]));
        }
    }
    fn gone(&mut self, link: Link) -> bool {
        self.hash.value(&("gone", link));
        self.dice.once_in(4)
    }
    fn merge(&mut self, link: Link, into: Link) {
        self.hash.value(&("merge", link, into));
    }
    fn close(&mut self, link: Link) {
        self.hash.value(&("close", link));
    }
    fn may_shut_down(&mut self, link: Link) -> bool {
        self.hash.value(&("may shut down", link));
        self.dice.once_in(2)
    }
    fn shut_down(&mut self) {
        self.hash.value(&"shut down");
    }
    fn note(&mut self, note: Note) {
        self.hash.value(&note);
    }
}

/// A store that hashes what it is given, and refuses some of it.
#[derive(Debug)]
pub struct Shelf {
    pub hash: Hash,
    pub dice: Dice,
}

impl Store for Shelf {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        self.hash.value(&record);
        if self.dice.once_in(50) { Err(NoRoom) } else { Ok(()) }
    }
    fn history(&self) -> bool {
        true
    }
    fn pages(&self) -> bool {
        true
    }
}

/// Dialects whose clients share one queue.
pub const QUEUES: [Dialect; 3] = [Dialect::Topics, Dialect::Queues, Dialect::Lanes];
/// Dialects whose clients have a connection each.
pub const STREAMS: [Dialect; 3] = [Dialect::Direct, Dialect::Native, Dialect::Rooms];
