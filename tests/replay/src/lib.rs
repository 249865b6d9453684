//! One long run of an exchange, the same on every machine: a seed makes the operations, and all that
//! the exchange gives, writes, answers and is goes into one hash. Where two machines come to the
//! same hash, they did the same. It runs on a microcontroller too: no heap, and its own time.
#![no_std]
#![forbid(unsafe_code)]

mod frames;
mod hash;
mod host;

use centrala_core::dialect::Dialect;
use centrala_core::exchange::{Exchange, Link};
use centrala_core::host::{Io, Mail, Posted, Reply, Room};
use centrala_core::limits::Limits;
use frames::LONGEST;
use hash::{Dice, Hash};
use host::{Desk, QUEUES, Question, STREAMS, Sent, Shelf};

/// Operations of the whole run.
pub const OPERATIONS: u32 = 100_000;
/// The hash is told so often.
pub const EVERY: u32 = 10_000;
/// Connections and clients of queues at once.
const SESSIONS: usize = 16;
/// Connections at once.
const LINES: usize = 8;
/// A frame that is delivered is no longer.
const FRAME: usize = 1100;

centrala_core::storage! {
    /// Tables that are often full.
    pub struct Memory {
        users: 8,
        groups: 4,
        memberships: 20,
        sessions: SESSIONS,
        messages: 16,
        message_length: 128,
        entries: 24,
        questions: 4,
        chats: 4,
    }
}

/// A connection, and what it has not read yet.
#[derive(Clone, Copy, Debug)]
struct Line {
    link: Link,
    dialect: Dialect,
    bytes: [u8; LONGEST],
    len: usize,
}

struct Run<'m> {
    exchange: Exchange<'m>,
    dice: Dice,
    desk: Desk,
    shelf: Shelf,
    lines: [Line; LINES],
    endpoints: [Link; QUEUES.len()],
    now: u64,
}

/// Runs so many operations in tables that are empty, and tells the hash so far after every
/// [`EVERY`] of them. Returns how many messages were delivered, answers given and mails sent.
pub fn run(operations: u32, memory: &mut Memory, mut tell: impl FnMut(u32, u64)) -> [u32; 3] {
    let limits = Limits { mailbox: 12, ..Limits::new(Memory::MESSAGE_LENGTH) };
    let line = Line { link: Link::NONE, dialect: Dialect::Direct, bytes: [0; LONGEST], len: 0 };
    let mut run = Run {
        exchange: Exchange::new(memory.lend(), limits),
        dice: Dice(1),
        desk: Desk::new(2),
        shelf: Shelf { hash: Hash::NEW, dice: Dice(3) },
        lines: [line; LINES],
        endpoints: [Link::NONE; QUEUES.len()],
        now: 0,
    };
    for (i, dialect) in QUEUES.into_iter().enumerate() {
        let link = run.exchange.endpoint(dialect, 10_000 + i as i64).unwrap_or(Link::NONE);
        if let Some(endpoint) = run.endpoints.get_mut(i) {
            *endpoint = link;
        }
    }
    for done in 1..=operations {
        run.operation();
        if done % EVERY == 0 || done == operations {
            tell(done, run.hash());
        }
    }
    [run.desk.delivered, run.desk.answered, run.desk.mailed]
}

impl<'m> Run<'m> {
    /// All that happened and all there is: the exchange with each of its tables.
    fn hash(&self) -> u64 {
        let mut hash = self.desk.hash;
        hash.value(&self.shelf.hash);
        hash.value(&self.exchange);
        hash.0
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Exchange<'m>, &mut Io<'_>) -> T) -> T {
        let (now, time) = (self.now, 1_700_000_000_000 + self.now);
        let mut io = Io { now, time, store: &mut self.shelf, out: &mut self.desk };
        call(&mut self.exchange, &mut io)
    }

    fn operation(&mut self) {
        let which = self.dice.below(LINES as u32) as usize;
        match self.dice.below(64) {
            0..4 => self.connect(which),
            4..28 => self.speak(which),
            28..44 => self.queue(),
            44..48 => self.wait(),
            48..54 => self.answer(),
            54 => self.room(which),
            55..58 => self.taken(which),
            58 => self.hand_back(which),
            59 => self.disconnect(which),
            _ => self.directory(),
        }
        if self.exchange.poll_timeout().is_some_and(|due| due <= self.now) {
            self.call(|exchange, io| exchange.handle_timeout(io));
        }
        let (usage, due) = (self.exchange.usage(), self.exchange.poll_timeout());
        let counters = *self.exchange.counters();
        self.desk.hash.value(&(usage, counters.messages, counters.deliveries, due));
    }

    fn line(&self, which: usize) -> Option<&Line> {
        self.lines.get(which).filter(|line| self.exchange.dialect_of(line.link).is_some())
    }

    fn connect(&mut self, which: usize) {
        if self.line(which).is_some() {
            return;
        }
        let dialect = self.dice.pick(&STREAMS).unwrap_or(Dialect::Direct);
        let room = Room::of(if self.dice.once_in(3) { self.dice.below(600) } else { 100_000 });
        let link = self.exchange.connect(dialect, room, self.now);
        self.desk.hash.value(&link);
        if let (Ok(link), Some(line)) = (link, self.lines.get_mut(which)) {
            (line.link, line.dialect, line.len) = (link, dialect, 0);
        }
    }

    /// A client writes, and what it wrote before and could not be read is read first.
    fn speak(&mut self, which: usize) {
        let Some(mut line) = self.line(which).copied() else { return self.connect(which) };
        let mut frame = [0; LONGEST];
        let nothing = Sent { link: Link::NONE, mark: 0, owed: None };
        let sent = self.desk.sent.get(line.link.index()).filter(|sent| sent.link == line.link);
        let sent = sent.copied().unwrap_or(nothing);
        let len = frames::request(line.dialect, &mut self.dice, &sent, &mut frame);
        let frame = frame.get(..len).unwrap_or(&[]);
        if let Some(place) = line.bytes.get_mut(line.len..).and_then(|rest| rest.get_mut(..len)) {
            place.copy_from_slice(frame);
            line.len += len;
        }
        let bytes = line.bytes.get(..line.len).unwrap_or(&[]);
        let used = self.call(|exchange, io| exchange.receive(line.link, bytes, io));
        self.desk.hash.value(&used);
        let used = used.unwrap_or(line.len).min(line.len);
        line.bytes.copy_within(used..line.len, 0);
        line.len -= used;
        if let Some(place) = self.lines.get_mut(which) {
            *place = line;
        }
    }

    fn queue(&mut self) {
        let which = self.dice.below(QUEUES.len() as u32) as usize;
        let (Some(dialect), Some(link)) =
            (QUEUES.get(which).copied(), self.endpoints.get(which).copied())
        else {
            return;
        };
        let mut frame = [0; LONGEST];
        let nothing = Sent { link, mark: 0, owed: None };
        let len = frames::request(dialect, &mut self.dice, &nothing, &mut frame);
        let frame = frame.get(..len).unwrap_or(&[]);
        let used = self.call(|exchange, io| exchange.receive(link, frame, io));
        self.desk.hash.value(&used);
    }

    fn wait(&mut self) {
        let times = [0u32, 1, 5, 99, 100, 1_000, 3_000, 10_001, 61_000];
        self.now += u64::from(self.dice.pick(&times).unwrap_or(0));
    }

    /// Answers the question that is open longest.
    fn answer(&mut self) {
        let Some(asked) = self.desk.asked.iter_mut().find(|asked| asked.is_some()) else { return };
        let Some((token, question)) = asked.take() else { return };
        let yes = !self.dice.once_in(4);
        match question {
            Question::Password | Question::Secret => {
                let reply = match question {
                    Question::Password => Reply::Verified(yes),
                    _ => Reply::Prepared(yes),
                };
                let link = self.call(|exchange, io| exchange.answer_question(token, reply, io));
                self.desk.hash.value(&link);
            }
            Question::Mail((priority, sequence), user) => {
                let (priority, sequence) = (priority.clamp(1, 5), sequence.saturating_add(1));
                let mail = Mail { user, sequence, priority, text: b"from the store", ..Mail::NONE };
                self.call(|exchange, io| exchange.mail_page(token, yes.then_some(mail), false, io));
            }
            Question::History(sequence) => {
                let posted =
                    Posted { sequence, from: 1, to: 2, text: b"once said", ..Posted::NONE };
                let total = u32::from(yes);
                self.call(|exchange, io| {
                    exchange.history_page(token, total, yes.then_some(posted), true, io)
                });
            }
            Question::Chats => {
                self.call(|exchange, io| exchange.chats_page(token, 0, [], true, io));
            }
        }
    }

    fn room(&mut self, which: usize) {
        let Some(link) = self.line(which).map(|line| line.link) else { return };
        let room = Room::of(self.dice.below(3) * self.dice.below(2_000));
        self.call(|exchange, io| exchange.room(link, room, io));
    }

    fn taken(&mut self, which: usize) {
        let Some(link) = self.line(which).map(|line| line.link) else { return };
        let sent = self.desk.sent.get(link.index()).filter(|sent| sent.link == link);
        let Some(mark) = sent.map(|sent| sent.mark) else { return };
        let not = self.dice.once_in(4);
        self.call(|exchange, io| match not {
            true => exchange.not_taken(link, mark, io),
            false => exchange.taken(link, mark, io),
        });
    }

    fn hand_back(&mut self, which: usize) {
        let Some(link) = self.line(which).map(|line| line.link) else { return };
        let (frame, len) = (self.desk.frame, self.desk.len);
        let frame = frame.get(..len).unwrap_or(&[]);
        self.call(|exchange, io| exchange.give_back(link, frame, io));
    }

    fn disconnect(&mut self, which: usize) {
        let Some(link) = self.line(which).map(|line| line.link) else { return };
        self.call(|exchange, io| exchange.disconnect(link, io));
    }

    /// What the host does to the directory.
    fn directory(&mut self) {
        let (user, group) = (1 + self.dice.below(8), 1 + self.dice.below(4));
        let (name, of) = (frames::name(&mut self.dice), frames::group(&mut self.dice));
        let left = self.dice.below(6) as i32 - 1;
        let what = self.dice.below(24);
        let known = self.dice.once_in(3);
        let outcome = self.call(|exchange, io| match what {
            0..8 => exchange.create_user(name, io.store).map(|_| ()),
            8..14 => exchange.create_group(of, user, io.store).map(|_| ()),
            14..20 => exchange.join(user, group, left, io.store),
            20 => exchange.leave(user, group, io.store),
            21 => exchange.remove_user(user, io),
            22 => exchange.remove_group(group, io.store),
            _ => exchange.set_password(user, known),
        });
        self.desk.hash.value(&outcome);
        let next = self.exchange.users().count() + self.exchange.members(group).count();
        self.desk.hash.value(&next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::boxed::Box;

    #[test]
    fn a_run_is_the_same_each_time_and_every_operation_counts() {
        let hash = |operations| {
            let mut last = 0;
            let done = run(operations, &mut Box::new(Memory::EMPTY), |_, hash| last = hash);
            (last, done)
        };
        let (first, done) = hash(1_500);
        assert_eq!(hash(1_500), (first, done));
        assert_ne!(hash(1_499).0, first);
        assert!(done.into_iter().all(|count| count > 5), "{done:?}");
    }
}
