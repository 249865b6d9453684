//! The lanes of a queue that all clients share (`lanes`): what may lie there for whom.
//!
//! **Deliveries** of all lanes together fill at most half of the queue. A lane may hold as much as
//! is still free of that half, and its even share of it in any case: so one that is not read keeps
//! a part, and leaves the others room. The kernel does not tell how much lies in a lane, but it
//! tells for nothing whether any does (a `msgrcv` with no room is `E2BIG`, and takes nothing): what
//! was sent counts as unread until its lane was seen empty. So the estimate is never below the
//! truth. When the half is used up all the same, what has lain longest unread goes back to the
//! exchange ([`Lanes::longest`]), and its lane is given less from then on, until it is read.
//!
//! **Answers** have three eighths of the queue, each lane at most an eighth; what is left belongs
//! to requests. More answers wait in a short line for each lane ([`ANSWERS`]), and beyond it they
//! are dropped; where the three eighths are full of answers that nobody has read for
//! [`STALE`], those are dropped.
//!
//! **A log-in** is from the process that sent last to the queue (`msg_lspid`), if the thread that
//! received it could tell ([`super::receiver`]). Once that is dead, the lane's session is.

use std::collections::VecDeque;

use centrala_core::dialect::lanes;
use centrala_core::exchange::Link;
use centrala_core::host::Room;
use centrala_sysv::{Errno, LONG, Queue, Receive, process_alive};

use super::client::{Sent, send};
use super::kind_of;
use super::process::{Life, Process};

/// Answers that wait for room under one type, at most.
pub const ANSWERS: usize = 64;
/// Bytes of the largest delivery, as the exchange counts them.
const LARGEST: u32 = lanes::SIZE as u32 + 64;
/// Bytes of lists that are taken at a time: they find room in the line of answers.
const LISTS: u32 = 8 * lanes::SIZE as u32;
/// Milliseconds that a message lies in a lane before it may have to make room for others.
const PATIENCE: u64 = 250;
/// Milliseconds after which answers that nobody read make room for others.
pub const STALE: u64 = 5_000;

/// What may lie unread under one type.
#[derive(Debug)]
struct Shelf {
    kind: i64,
    /// Bytes, at most.
    bytes: u32,
    /// Since when anything may lie there, or when something was sent there last.
    since: u64,
}

impl Shelf {
    fn new(kind: i64) -> Shelf {
        Shelf { kind, bytes: 0, since: 0 }
    }

    /// Looks whether it is empty. Returns whether it was not known to be.
    fn look(&mut self, queue: Queue) -> bool {
        let seen = self.bytes != 0 && is_empty(queue, self.kind);
        if seen {
            self.bytes = 0;
        }
        seen
    }
}

/// Answers of one type: those that lie in the queue, and those that wait for room.
#[derive(Debug)]
struct Answers {
    lying: Shelf,
    waiting: VecDeque<Box<[u8]>>,
}

impl Answers {
    fn new(kind: i64) -> Answers {
        Answers { lying: Shelf::new(kind), waiting: VecDeque::new() }
    }
}

/// A user's two lanes.
#[derive(Debug)]
struct Lane {
    /// The session; [`Link::NONE`] while the user is not logged in.
    link: Link,
    deliveries: Shelf,
    answers: Answers,
    /// It let others wait: it gets less than they.
    slow: bool,
    /// There is something for it that found no room.
    refused: bool,
    /// Who logged in: its PID, and its process if it lived when it was looked for.
    process: Option<(i32, Process)>,
}

/// All lanes of a queue.
#[derive(Debug)]
pub struct Lanes {
    queue: Queue,
    /// Of users 1, 2, …
    lanes: Vec<Lane>,
    /// Answers to log-ins.
    log_ins: Answers,
    /// Bytes that the queue may hold.
    capacity: u32,
    /// Bytes that lie there, of whatever kind.
    filled: u32,
    /// When every lane was looked at last.
    looked: u64,
}

/// Whether nothing of a type lies in a queue.
pub(super) fn is_empty(queue: Queue, kind: i64) -> bool {
    let mut buffer = [0; LONG];
    queue.receive(&mut buffer, kind, Receive::NOW) == Err(Errno::ENOMSG)
}

fn size_of(frame: &[u8]) -> u32 {
    frame.len().saturating_sub(LONG) as u32
}

impl Lanes {
    /// For so many users.
    pub fn new(queue: Queue, users: u32) -> Lanes {
        let lane = |user| Lane {
            link: Link::NONE,
            deliveries: Shelf::new(lanes::lane(user)),
            answers: Answers::new(lanes::answer_lane(user, users)),
            slow: false,
            refused: false,
            process: None,
        };
        let mut all = Lanes {
            queue,
            lanes: (1..=users).map(lane).collect(),
            log_ins: Answers::new(lanes::LOG_IN_ANSWER),
            capacity: 0,
            filled: 0,
            looked: 0,
        };
        all.learn();
        all
    }

    /// The queue is another one, and empty.
    pub fn reset(&mut self, queue: Queue) {
        self.queue = queue;
        self.log_ins.lying.bytes = 0;
        for lane in &mut self.lanes {
            (lane.deliveries.bytes, lane.answers.lying.bytes) = (0, 0);
        }
        self.learn();
    }

    /// Takes in what the kernel says of the queue.
    pub fn learn(&mut self) {
        // Where it is gone, its threads tell.
        let Ok(stat) = self.queue.stat() else { return };
        let clamp = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        (self.capacity, self.filled) = (clamp(stat.max_bytes), clamp(stat.bytes));
        if stat.bytes == 0 {
            self.log_ins.lying.bytes = 0;
            for lane in &mut self.lanes {
                (lane.deliveries.bytes, lane.answers.lying.bytes) = (0, 0);
            }
        }
    }

    fn lane(&mut self, user: u32) -> Option<&mut Lane> {
        self.lanes.get_mut((user as usize).checked_sub(1)?)
    }

    /// So many bytes lie in the lanes of a server that is gone.
    pub(super) fn found(&mut self, kind: i64, bytes: u32) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.deliveries.kind == kind) {
            lane.deliveries.bytes = bytes;
        }
    }

    /// Gives a user's lane to a session, whose log-in was sent by this process (0: unknown).
    /// Returns the user and what the lane can take; `None` if it is no user's lane.
    pub fn open(&mut self, link: Link, address: i64, sender: i32) -> Option<(u32, Room)> {
        let user = u32::try_from(address).ok()?.checked_sub(lanes::NUMBER)?;
        let stat = self.queue.stat().ok()?;
        let lane = self.lane(user)?;
        lane.link = link;
        (lane.slow, lane.refused) = (false, false);
        lane.process = (sender > 0).then(|| (sender, Process::new(sender, &stat)));
        lane.answers.waiting.clear();
        self.learn();
        Some((user, self.room(user)))
    }

    /// The session at a lane is over, unless the lane is another's by now.
    pub fn close(&mut self, link: Link, user: u32) {
        if let Some(lane) = self.lane(user).filter(|lane| lane.link == link) {
            (lane.link, lane.process) = (Link::NONE, None);
        }
    }

    /// Whether it can be seen now that the client of a lane is gone.
    pub fn is_gone(&mut self, link: Link, user: u32) -> bool {
        let Ok(stat) = self.queue.stat() else { return false };
        match self.lane(user) {
            Some(lane) if lane.link == link => match &mut lane.process {
                Some((pid, process)) => !process_alive(*pid) || process.look(&stat) == Life::Dead,
                None => false,
            },
            _ => true,
        }
    }

    /// The sessions at the lanes.
    pub fn links(&self) -> impl Iterator<Item = Link> {
        self.lanes.iter().map(|lane| lane.link).filter(|link| *link != Link::NONE)
    }

    /// Bytes of deliveries that more may lie in the lanes.
    fn left(&self) -> u32 {
        let lying = self.lanes.iter().map(|lane| lane.deliveries.bytes).sum();
        (self.capacity / 2).saturating_sub(lying).min(self.capacity.saturating_sub(self.filled))
    }

    /// The same for one lane.
    fn left_for(&self, lane: &Lane) -> u32 {
        match lane.slow {
            true => self.left().saturating_sub(self.capacity / 8),
            false => self.left(),
        }
    }

    /// How much a lane can take now. An empty one that has not been refused anything may always
    /// try one message: so it is known which lanes need room.
    pub fn room(&self, user: u32) -> Room {
        let Some(lane) = self.lanes.get((user as usize).wrapping_sub(1)) else {
            return Room::default();
        };
        let left = self.left_for(lane);
        let logged_in = self.links().count().max(1) as u32;
        let share = left.max(self.capacity / 2 / logged_in);
        let messages = match lane.deliveries.bytes {
            0 if !lane.refused => share.min(left).max(LARGEST),
            0 => share.max(LARGEST).min(left),
            unread => share.saturating_sub(unread).min(left),
        };
        let replies = match lane.answers.waiting.is_empty() {
            true => LISTS,
            false => 0,
        };
        Room { messages, direct: messages, replies }
    }

    /// Whether a message might not fit in the room that a lane has.
    pub fn is_tight(&self, user: u32) -> bool {
        let room = self.room(user);
        room.messages < LARGEST || room.replies == 0
    }

    /// Whether a link of which the exchange knows so much room may have been sent less than there
    /// was for it, or soon will.
    pub fn might_be_tight(room: Room) -> bool {
        room.messages < 2 * LARGEST || room.replies < LISTS / 2
    }

    /// Looks what was read of a lane, and of all lanes if these are short of room. Returns whether
    /// there is something for it that finds no room.
    pub fn refresh(&mut self, user: u32, now: u64) -> bool {
        self.learn();
        let queue = self.queue;
        if let Some(lane) = self.lane(user)
            && lane.deliveries.look(queue)
        {
            lane.slow = false;
        }
        if self.left() < 2 * LARGEST && self.looked != now {
            self.looked = now;
            for lane in &mut self.lanes {
                if lane.deliveries.look(queue) {
                    lane.slow = false;
                }
            }
        }
        let lane = &self.lanes[(user as usize).saturating_sub(1).min(self.lanes.len() - 1)];
        let refused = lane.refused && self.left_for(lane) < LARGEST;
        if let Some(lane) = self.lane(user) {
            lane.refused = refused;
        }
        refused
    }

    /// Sends a delivery to a session's lane.
    pub fn deliver(&mut self, link: Link, user: u32, frame: &[u8], now: u64) -> Sent {
        let (queue, bytes) = (self.queue, size_of(frame));
        let left = |all: &Lanes| all.lanes.get(user as usize - 1).map_or(0, |l| all.left_for(l));
        if left(self) < bytes {
            self.refresh(user, now);
        }
        let left = left(self);
        let Some(lane) = self.lane(user).filter(|lane| lane.link == link) else {
            return Sent::Full;
        };
        let sent = if left < bytes { Sent::Full } else { send(queue, frame) };
        lane.refused = sent == Sent::Full;
        if sent == Sent::Taken {
            if lane.deliveries.bytes == 0 {
                lane.deliveries.since = now;
            }
            lane.deliveries.bytes += bytes;
            self.filled = self.filled.saturating_add(bytes);
        }
        match sent {
            // Its threads find that out, and a new one is made.
            Sent::Gone => Sent::Full,
            sent => sent,
        }
    }

    /// The session whose lane has held something unread the longest, if that has had its time and
    /// another needs the room.
    pub fn longest(&self, but: u32, now: u64) -> Option<(Link, u32)> {
        let held = self.lanes.iter().zip(1..).filter(|(lane, user)| {
            let patient = lane.deliveries.since + PATIENCE <= now;
            lane.deliveries.bytes != 0 && patient && lane.link != Link::NONE && *user != but
        });
        let (lane, user) = held.min_by_key(|(lane, _)| lane.deliveries.since)?;
        Some((lane.link, user))
    }

    /// What is taken from a lane makes room for others: it gets less than they from now on.
    pub fn slow_down(&mut self, user: u32) {
        if let Some(lane) = self.lane(user) {
            (lane.slow, lane.refused) = (true, true);
        }
    }

    /// Takes all deliveries that lie unread in a lane, oldest first.
    pub fn drain(&mut self, user: u32) -> Vec<Vec<u8>> {
        let queue = self.queue;
        let Some(lane) = self.lane(user) else { return Vec::new() };
        lane.deliveries.bytes = 0;
        let unread = take(queue, lane.deliveries.kind);
        self.learn();
        unread
    }

    fn answers(&mut self, kind: i64) -> Option<&mut Answers> {
        if kind == lanes::LOG_IN_ANSWER {
            return Some(&mut self.log_ins);
        }
        let first = self.lanes.first()?.answers.lying.kind;
        let place = usize::try_from(kind.checked_sub(first)?).ok()?;
        self.lanes.get_mut(place).map(|lane| &mut lane.answers)
    }

    /// Sends an answer, or lets it wait: never behind a delivery. `false`: it was dropped.
    pub fn answer(&mut self, frame: &[u8], now: u64) -> bool {
        let kind = kind_of(frame);
        let waiting = self.answers(kind).is_some_and(|answers| !answers.waiting.is_empty());
        if !waiting && self.send_answer(kind, frame, now) {
            return true;
        }
        let Some(answers) = self.answers(kind) else { return false };
        let fits = answers.waiting.len() < ANSWERS;
        if fits {
            answers.waiting.push_back(frame.into());
        }
        fits
    }

    /// Sends an answer if it may lie in the queue.
    fn send_answer(&mut self, kind: i64, frame: &[u8], now: u64) -> bool {
        let bytes = size_of(frame);
        if !self.may_lie(kind, bytes, now) {
            return false;
        }
        let sent = send(self.queue, frame);
        if let (Sent::Taken, Some(answers)) = (sent, self.answers(kind)) {
            answers.lying.bytes += bytes;
            answers.lying.since = now;
        }
        // Where the queue is gone, so is the use of the answer.
        sent != Sent::Full
    }

    fn may_lie(&mut self, kind: i64, bytes: u32, now: u64) -> bool {
        let (queue, capacity) = (self.queue, self.capacity);
        let own = capacity / 8;
        let Some(answers) = self.answers(kind) else { return false };
        if answers.lying.bytes != 0
            && answers.lying.bytes + bytes > own
            && !answers.lying.look(queue)
        {
            return false;
        }
        let all = capacity / 8 * 3;
        if self.lying_answers() + bytes <= all {
            return true;
        }
        for answers in self.all_answers() {
            let old = answers.lying.since + STALE <= now;
            if !answers.lying.look(queue) && answers.lying.bytes != 0 && old {
                let dropped = take(queue, answers.lying.kind).len();
                answers.lying.bytes = 0;
                tracing::info!(kind = answers.lying.kind, dropped, "nobody reads these answers");
            }
        }
        self.lying_answers() + bytes <= all
    }

    fn all_answers(&mut self) -> impl Iterator<Item = &mut Answers> {
        let lanes = self.lanes.iter_mut().map(|lane| &mut lane.answers);
        std::iter::once(&mut self.log_ins).chain(lanes)
    }

    fn lying_answers(&self) -> u32 {
        let lanes = self.lanes.iter().map(|lane| lane.answers.lying.bytes);
        lanes.sum::<u32>() + self.log_ins.lying.bytes
    }

    /// Whether answers wait.
    pub fn owes_answers(&self) -> bool {
        let mut lanes = self.lanes.iter();
        !self.log_ins.waiting.is_empty() || lanes.any(|lane| !lane.answers.waiting.is_empty())
    }

    /// Sends what answers there is room for now; how many.
    pub fn flush_answers(&mut self, now: u64) -> usize {
        let kinds: Vec<i64> = self
            .all_answers()
            .filter(|answers| !answers.waiting.is_empty())
            .map(|answers| answers.lying.kind)
            .collect();
        kinds.into_iter().map(|kind| self.flush_kind(kind, now)).sum()
    }

    /// The same for one user.
    pub fn flush_answers_of(&mut self, user: u32, now: u64) -> usize {
        let kind = self.lane(user).map(|lane| lane.answers.lying.kind);
        kind.map_or(0, |kind| self.flush_kind(kind, now))
    }

    fn flush_kind(&mut self, kind: i64, now: u64) -> usize {
        let mut sent = 0;
        while let Some(frame) = self.answers(kind).and_then(|answers| answers.waiting.pop_front()) {
            if !self.send_answer(kind, &frame, now) {
                if let Some(answers) = self.answers(kind) {
                    answers.waiting.push_front(frame);
                }
                break;
            }
            sent += 1;
        }
        sent
    }

    /// Takes back the answers under a type, oldest first, those that wait too. What `each` says
    /// `true` to stays.
    pub fn take_back(&mut self, kind: i64, now: u64, each: &mut dyn FnMut(&[u8]) -> bool) {
        let queue = self.queue;
        let Some(answers) = self.answers(kind) else { return };
        let mut kept: VecDeque<Box<[u8]>> = take(queue, kind).into_iter().map(Into::into).collect();
        kept.append(&mut answers.waiting);
        kept.retain(|frame| each(frame));
        answers.waiting = kept;
        answers.lying.bytes = 0;
        self.flush_kind(kind, now);
    }

    /// Whether somebody may still read what lies under a type.
    pub(super) fn is_read(&self, kind: i64, now: u64) -> bool {
        let stale = |answers: &Answers| answers.lying.since + 3 * STALE <= now;
        let own = |lane: &&Lane| [lane.deliveries.kind, lane.answers.lying.kind].contains(&kind);
        match self.lanes.iter().find(own) {
            Some(lane) if lane.answers.lying.kind == kind => {
                lane.link != Link::NONE || !stale(&lane.answers)
            }
            Some(_) => true,
            None => kind == lanes::LOG_IN_ANSWER && !stale(&self.log_ins),
        }
    }

    /// How much may lie in the lane of a user who is not logged in: what was found there. `None`
    /// for other types.
    pub(super) fn allowed(&self, kind: i64) -> Option<u32> {
        let lane = self.lanes.iter().find(|lane| lane.deliveries.kind == kind)?;
        (lane.link == Link::NONE).then_some(lane.deliveries.bytes)
    }

    /// Bytes of deliveries that wait for users who have not logged in.
    pub(super) fn unclaimed(&self) -> u32 {
        let nobodys = self.lanes.iter().filter(|lane| lane.link == Link::NONE);
        nobodys.map(|lane| lane.deliveries.bytes).sum()
    }
}

/// Takes what lies under a type now, oldest first.
fn take(queue: Queue, kind: i64) -> Vec<Vec<u8>> {
    let there = queue.stat().map_or(0, |stat| stat.messages);
    let mut buffer = [0; lanes::SIZE];
    let mut taken = Vec::new();
    for _ in 0..there {
        match queue.receive(&mut buffer, kind, Receive::CUT) {
            Ok(len) => taken.push(buffer[..len].to_vec()),
            Err(_) => break,
        }
    }
    taken
}
