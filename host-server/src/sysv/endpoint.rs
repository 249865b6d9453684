//! A queue of the server's own.
//!
//! **Taking over.** A queue that is there while nobody holds its lock ([`super::lock`]) is the
//! leftover of a server that was killed. It is kept, as clients may wait at it, and what lies in it
//! is dropped: requests that nobody vouched for, and answers that this server did not give. What
//! lies in the lanes of users stays there for them.
//!
//! **Answers to log-ins** go into this queue, under the client's key as their type. They are kept in
//! a bounded line while the queue is full of requests. One that is not fetched is taken back.
//!
//! **Junk.** Anyone who may write here may write types that nobody reads, and so fill the queue for
//! good. It is looked through now and then (`MSG_COPY`), and what is neither a request nor anything
//! that lies there for a client is removed.

use std::collections::{HashMap, VecDeque};
use std::io;

use centrala_core::dialect::lanes::{answer_lane, lane};
use centrala_core::exchange::Link;
use centrala_sysv::{Errno, LONG, Made, Queue, Receive};

use super::client::{Sent, raise, send};
use super::lanes::{Lanes, is_empty};
use super::lock::Lock;
use super::receiver::Receiver;
use super::{Spec, kind_of};
use crate::poll::Waker;

/// The server's queue is made so large where the process may.
const QUEUE_BYTES: u64 = 256 * 1024;
/// Answers to log-ins that wait for room, at most.
const ANSWERS: usize = 256;
/// An answer to a log-in is taken back after 10 s; what lies longer is junk.
const LIES: u64 = 15_000;
/// Messages looked at in one search for junk, at most.
const LOOK: usize = 1024;
/// Messages of one type removed at once, at most.
const REMOVE: usize = 4096;
/// Bytes of an answer, at most, with its `long`.
const LARGEST: usize = 1080;
/// Bytes of a message looked at, at most (`msgmax` is 8192 unless the system was told otherwise).
const PEEK: usize = 64 * 1024;

/// A queue of the server's own, with its lock and its threads. Dropping it removes the queue.
#[derive(Debug)]
pub struct Endpoint {
    /// What its dialect is like.
    pub spec: &'static Spec,
    /// Its key.
    pub key: i32,
    /// Its link in the exchange.
    pub link: Link,
    /// Whether its clients may end the server.
    pub shutdown: bool,
    /// Its threads.
    pub receivers: Vec<Receiver>,
    /// Its clients' lanes, in a dialect that has them.
    pub lanes: Option<Lanes>,
    mode: u16,
    queue: Queue,
    answers: VecDeque<Box<[u8]>>,
    /// Types of the answers that may lie in the queue, and when they were put there.
    lying: HashMap<i64, u64>,
    /// This kernel cannot look into a queue.
    blind: bool,
    _lock: Lock,
}

/// Why a queue cannot be had.
#[derive(Debug)]
pub enum Unavailable {
    /// Another server has the key.
    InUse,
    /// A queue with the key is there and belongs to somebody else.
    NotOurs(Errno),
    /// The kernel makes no queue.
    Refused(Errno),
    /// The lock or a thread cannot be had.
    System(io::Error),
}

impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unavailable::InUse => f.write_str("is in use by another server"),
            Unavailable::NotOurs(error) => {
                write!(f, "there is a queue that the server may not take over: {error}")
            }
            Unavailable::Refused(error) => write!(f, "no queue can be made: {error}"),
            Unavailable::System(error) => error.fmt(f),
        }
    }
}

impl Endpoint {
    /// Makes the queue, or takes over a leftover one. So many users have lanes in it; 0: there are
    /// none.
    ///
    /// # Errors
    /// Why it cannot be had; nothing is left of it then.
    pub fn open(
        spec: &'static Spec,
        key: i32,
        mode: u16,
        users: u32,
        waker: &Waker,
    ) -> Result<Endpoint, Unavailable> {
        let lock = Lock::take(key).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => Unavailable::InUse,
            _ => Unavailable::System(error),
        })?;
        let (queue, kept) = obtain(spec, key, mode, users)?;
        let lanes = (users != 0).then(|| {
            let mut lanes = Lanes::new(queue, users);
            kept.iter().for_each(|(kind, bytes)| lanes.found(*kind, *bytes));
            lanes
        });
        let mut endpoint = Endpoint {
            spec,
            key,
            link: Link::NONE,
            shutdown: true,
            receivers: Vec::new(),
            lanes,
            mode,
            queue,
            answers: VecDeque::new(),
            lying: HashMap::new(),
            blind: false,
            _lock: lock,
        };
        endpoint.spawn(waker).map_err(Unavailable::System)?;
        Ok(endpoint)
    }

    /// Makes the queue anew, after somebody removed it.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn reopen(&mut self, waker: &Waker) -> Result<(), Unavailable> {
        for receiver in self.receivers.drain(..) {
            receiver.join();
        }
        self.lying.clear();
        self.queue = obtain(self.spec, self.key, self.mode, 0)?.0;
        if let Some(lanes) = &mut self.lanes {
            lanes.reset(self.queue);
        }
        self.spawn(waker).map_err(Unavailable::System)
    }

    fn spawn(&mut self, waker: &Waker) -> io::Result<()> {
        for kind in self.spec.receives {
            let receiver = Receiver::spawn(self.queue, *kind, self.spec, waker.clone())?;
            self.receivers.push(receiver);
        }
        Ok(())
    }

    /// Its queue.
    pub fn queue(&self) -> Queue {
        self.queue
    }

    /// Sends an answer, or lets it wait. `false`: it was dropped.
    pub fn answer(&mut self, frame: &[u8], now: u64) -> bool {
        if let Some(lanes) = &mut self.lanes {
            return lanes.answer(frame, now);
        }
        self.lying.insert(kind_of(frame), now);
        if self.answers.is_empty() && send(self.queue, frame) != Sent::Full {
            return true;
        }
        let fits = self.answers.len() < ANSWERS;
        if fits {
            self.answers.push_back(frame.into());
        }
        fits
    }

    /// Whether answers wait.
    pub fn owes_answers(&self) -> bool {
        !self.answers.is_empty() || self.lanes.as_ref().is_some_and(Lanes::owes_answers)
    }

    /// Sends what answers there is room for now; how many.
    pub fn flush_answers(&mut self, now: u64) -> usize {
        if let Some(lanes) = &mut self.lanes {
            return lanes.flush_answers(now);
        }
        let mut sent = 0;
        while let Some(frame) = self.answers.front()
            && send(self.queue, frame) != Sent::Full
        {
            self.answers.pop_front();
            sent += 1;
        }
        sent
    }

    /// Takes back what lies under a type, oldest first, and what waits to. What `each` says `true`
    /// to stays.
    pub fn take_back(&mut self, kind: i64, now: u64, each: &mut dyn FnMut(&[u8]) -> bool) {
        if (self.spec.is_request)(kind) {
            return;
        }
        if let Some(lanes) = &mut self.lanes {
            return lanes.take_back(kind, now, each);
        }
        let mut kept: VecDeque<Box<[u8]>> = VecDeque::new();
        let mut buffer = [0; LARGEST];
        for _ in 0..REMOVE {
            let Ok(len) = self.queue.receive(&mut buffer, kind, Receive::CUT) else { break };
            if each(&buffer[..len]) {
                kept.push_back(buffer[..len].into());
            }
        }
        self.answers.retain(|frame| kind_of(frame) != kind || each(frame));
        self.lying.remove(&kind);
        if !kept.is_empty() {
            self.lying.insert(kind, now);
        }
        // Behind those of other types, before those of its own that wait.
        while let Some(frame) = kept.front()
            && send(self.queue, frame) != Sent::Full
        {
            kept.pop_front();
        }
        for frame in kept.into_iter().rev() {
            self.answers.push_front(frame);
        }
    }

    /// Whether a message of a type may lie in the queue.
    fn is_read(&self, kind: i64, now: u64) -> bool {
        (self.spec.is_request)(kind)
            || match &self.lanes {
                Some(lanes) => lanes.is_read(kind, now),
                None => self.lying.contains_key(&kind),
            }
    }

    /// Looks for what nobody will read, and removes it; how many messages.
    pub fn remove_junk(&mut self, now: u64) -> usize {
        self.lying.retain(|_, since| now.saturating_sub(*since) < LIES);
        // Where all that comes is for the server, nothing stays.
        let takes_all = self.spec.receives == [0];
        if self.blind || takes_all || self.queue.stat().is_ok_and(|stat| stat.messages == 0) {
            return 0;
        }
        let mut found = Kept::new();
        let mut note = |kind, bytes| *found.entry(kind).or_insert(0) += bytes;
        if let Err(Errno::ENOSYS) = look_through(self.queue, LOOK, &mut note) {
            tracing::info!(
                key = self.key,
                "this kernel has no MSG_COPY: messages that nobody reads stay in the queue"
            );
            self.blind = true;
            return 0;
        }
        let mut removed = 0;
        for (kind, bytes) in found {
            if !self.is_read(kind, now) {
                removed += remove_kind(self.queue, kind);
            } else if let Some(allowed) = self.lanes.as_ref().and_then(|l| l.allowed(kind))
                && bytes > allowed
            {
                // Nothing is delivered to whoever is not logged in: somebody else put it there.
                removed += self.cut_kind(kind, allowed);
            }
        }
        removed
    }

    /// Removes what lies under a type behind its first so many bytes; how many messages.
    fn cut_kind(&self, kind: i64, mut allowed: u32) -> usize {
        let mut buffer = [0; LARGEST];
        let (mut kept, mut removed) = (Vec::new(), 0);
        for _ in 0..REMOVE {
            let Ok(len) = self.queue.receive(&mut buffer, kind, Receive::CUT) else { break };
            let bytes = (len - LONG) as u32;
            if removed == 0 && bytes <= allowed {
                allowed -= bytes;
                kept.push(buffer[..len].to_vec());
            } else {
                removed += 1;
            }
        }
        for frame in kept {
            if send(self.queue, &frame) != Sent::Taken {
                tracing::error!(key = self.key, kind, "lost a message: its queue was filled");
            }
        }
        removed
    }

    /// Removes the queue and ends its threads. What they had received is lost: take it before. A
    /// queue with deliveries of a former server that nobody has logged in for stays, for the next.
    pub fn close(&mut self) {
        if let Some(bytes) = self.lanes.as_ref().map(Lanes::unclaimed).filter(|bytes| *bytes != 0) {
            let key = self.key;
            tracing::warn!(key, bytes, "left the queue: messages lie there for users who are away");
            return self.receivers.clear();
        }
        let removed = self.queue.remove();
        for receiver in self.receivers.drain(..) {
            // A thread ends with the queue; if that could not be removed, with the process.
            if removed.is_ok() {
                receiver.join();
            }
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.close();
    }
}

/// Removes what lies under a type; how many messages.
fn remove_kind(queue: Queue, kind: i64) -> usize {
    let mut buffer = [0; 64];
    (0..REMOVE).take_while(|_| queue.receive(&mut buffer, kind, Receive::CUT).is_ok()).count()
}

/// Goes through the first messages of a queue and leaves them there: the type and bytes of each.
fn look_through(
    queue: Queue,
    messages: usize,
    each: &mut dyn FnMut(i64, u32),
) -> Result<(), Errno> {
    let mut buffer = vec![0u8; PEEK];
    for index in 0..messages {
        match queue.peek(&mut buffer, index) {
            Ok(len) => each(kind_of(&buffer), (len - LONG) as u32),
            Err(Errno::E2BIG) => {}
            Err(Errno::ENOMSG) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Types, and bytes that lie under each.
type Kept = HashMap<i64, u32>;

/// Makes a queue, or finds the leftover one and empties it but for what lies in so many users'
/// lanes.
fn obtain(spec: &Spec, key: i32, mode: u16, users: u32) -> Result<(Queue, Kept), Unavailable> {
    let (queue, made) = Queue::create(key, mode).map_err(|error| match error {
        Errno::EACCES | Errno::EPERM => Unavailable::NotOurs(error),
        _ => Unavailable::Refused(error),
    })?;
    let mut stat = queue.stat().map_err(Unavailable::NotOurs)?;
    let mut kept = Kept::new();
    if made == Made::Found {
        // Whoever is not its owner cannot remove it when it ends.
        let user = nix::unistd::geteuid();
        if !user.is_root() && ![stat.uid, stat.creator].contains(&user.as_raw()) {
            return Err(Unavailable::NotOurs(Errno::EPERM));
        }
        if stat.mode != mode {
            queue.set_mode(mode).map_err(Unavailable::NotOurs)?;
        }
        let (requests, answers);
        (requests, answers, kept) = empty(spec, queue, stat.messages, users);
        tracing::warn!(
            key,
            requests,
            answers,
            lanes = kept.len(),
            "took over the queue of a server that is gone; dropped requests and answers"
        );
    }
    raise(queue, &mut stat, QUEUE_BYTES);
    Ok((queue, kept))
}

/// Empties a leftover queue but for its users' lanes. Returns how many requests and answers were
/// dropped, and what lies in the lanes.
fn empty(spec: &Spec, queue: Queue, messages: u64, users: u32) -> (usize, usize, Kept) {
    let (mut requests, mut answers) = (0, 0);
    let mut count = |kind: i64, messages: usize| match (spec.is_request)(kind) {
        true => requests += messages,
        false => answers += messages,
    };
    if users == 0 {
        let mut buffer = [0; LONG];
        for _ in 0..messages {
            if queue.receive(&mut buffer, 0, Receive::CUT).is_ok() {
                count(kind_of(&buffer), 1);
            }
        }
        return (requests, answers, Kept::new());
    }
    let lanes = lane(1)..=lane(users);
    let mut found = Kept::new();
    let mut note = |kind, bytes| *found.entry(kind).or_insert(0) += bytes;
    if look_through(queue, messages as usize, &mut note).is_err() {
        // Without MSG_COPY: what may be there, each of it as much as the whole.
        let all = queue.stat().map_or(0, |stat| stat.bytes as u32);
        found = (1..=answer_lane(users, users)).map(|kind| (kind, all)).collect();
        found.retain(|kind, _| !lanes.contains(kind) || !is_empty(queue, *kind));
    }
    for kind in found.keys().filter(|kind| !lanes.contains(kind)) {
        count(*kind, remove_kind(queue, *kind));
    }
    found.retain(|kind, _| lanes.contains(kind));
    (requests, answers, found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poll::Poll;
    use crate::sysv::{TOPICS, own_key};

    fn message(kind: i64, len: usize) -> Vec<u8> {
        let mut bytes = kind.to_ne_bytes().to_vec();
        bytes.resize(8 + len, 7);
        bytes
    }

    #[test]
    fn a_leftover_queue_is_taken_over_and_emptied_and_a_live_one_is_not() {
        let key = own_key(0x21);
        let left = Queue::create_new(key, 0o644).unwrap();
        for (kind, len) in [(1, 10), (4, 5000), (777, 3)] {
            left.send(&message(kind, len), false).unwrap();
        }
        let waker = Poll::new().unwrap().waker();
        let endpoint = Endpoint::open(&TOPICS, key, 0o600, 0, &waker).unwrap();
        assert_eq!(endpoint.queue(), left);
        let stat = left.stat().unwrap();
        assert_eq!((stat.messages, stat.mode), (0, 0o600));
        assert!(matches!(Endpoint::open(&TOPICS, key, 0o600, 0, &waker), Err(Unavailable::InUse)));
        drop(endpoint);
        assert_eq!(Queue::open(key), Err(Errno::ENOENT));
    }

    #[test]
    fn junk_is_removed_and_answers_stay_until_they_are_taken_back() {
        let key = own_key(0x22);
        let waker = Poll::new().unwrap().waker();
        let mut endpoint = Endpoint::open(&TOPICS, key, 0o600, 0, &waker).unwrap();
        assert!(endpoint.answer(&message(900, 4), 0));
        for (kind, len) in [(8, 100), (9, 7000), (8, 0)] {
            endpoint.queue().send(&message(kind, len), false).unwrap();
        }
        assert_eq!(endpoint.remove_junk(1), 3);
        assert_eq!(endpoint.queue().stat().unwrap().messages, 1);
        let mut taken = Vec::new();
        endpoint.take_back(900, 2, &mut |frame| {
            taken.push(frame.to_vec());
            true
        });
        assert_eq!(taken, [message(900, 4)]);
        assert_eq!(endpoint.queue().stat().unwrap().messages, 1, "it was to stay");
        endpoint.take_back(900, 2, &mut |_| false);
        assert_eq!(endpoint.queue().stat().unwrap().messages, 0);
        assert!(endpoint.answer(&message(901, 4), 100));
        assert_eq!(endpoint.remove_junk(100 + LIES), 1, "nobody takes that back any more");
    }

    #[test]
    fn a_queue_that_somebody_removed_is_made_anew() {
        let waker = Poll::new().unwrap().waker();
        let mut endpoint = Endpoint::open(&TOPICS, own_key(0x23), 0o600, 0, &waker).unwrap();
        let before = endpoint.queue();
        before.remove().unwrap();
        endpoint.reopen(&waker).unwrap();
        assert_ne!(endpoint.queue(), before);
        assert_eq!(Queue::open(own_key(0x23)), Ok(endpoint.queue()));
    }
}
