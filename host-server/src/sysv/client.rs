//! A client's own queue, as the server sends to it.
//!
//! **Room.** Deliveries fill at most half of the queue, and of that direct messages at most the
//! share that their dialect gives them; the other half is for answers, so that a client that waits
//! for its answer and does not read its deliveries gets it. The kernel tells how many bytes lie in
//! a queue and not which: what was delivered counts as unread until fewer bytes lie there than
//! that. So the estimate is never below the truth.
//!
//! **Answers** that do not fit wait in a short line of their own ([`ANSWERS`]); beyond it they are
//! dropped.

use std::collections::VecDeque;

use centrala_core::exchange::Link;
use centrala_core::host::Room;
use centrala_sysv::{Errno, LONG, Queue, Receive, Stat};

use super::Spec;
use super::process::{Life, Process};

/// Answers that wait for room in a client's queue, at most.
pub const ANSWERS: usize = 64;
/// Clients' queues are made so large where the process may.
const QUEUE_BYTES: u64 = 64 * 1024;

/// One logged-in (or just logging in) client.
#[derive(Debug)]
pub struct Client {
    /// Its session.
    pub link: Link,
    /// Its queue's key.
    pub key: i32,
    /// Its queue.
    pub queue: Queue,
    /// Its process.
    pub process: Process,
    /// Tells it from others that had its place.
    pub serial: u32,
    /// Its session is over, and what it was given still leaves: the queue may log in again.
    pub leaving: bool,
    spec: &'static Spec,
    /// It was tried to make the queue larger.
    raised: bool,
    /// Bytes that the queue may hold.
    capacity: u32,
    /// Bytes of deliveries that may lie unread, and of direct messages among them.
    unread: u32,
    unread_direct: u32,
    /// Bytes of whatever kind that may lie in the queue.
    filled: u32,
    answers: VecDeque<Box<[u8]>>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The queue has it.
    Taken,
    /// The queue has no room.
    Full,
    /// The queue is gone, or the server may not write to it any more.
    Gone,
    /// The queue is there, and the kernel takes no message of this size.
    Unsendable,
}

/// Sends without waiting.
pub(super) fn send(queue: Queue, message: &[u8]) -> Sent {
    match queue.send(message, false) {
        Ok(()) => Sent::Taken,
        Err(Errno::EAGAIN | Errno::ENOMEM) => Sent::Full,
        // The kernel has one word for no queue and for a message over `msgmax`.
        Err(Errno::EINVAL) if queue.stat().is_ok() => Sent::Unsendable,
        Err(_) => Sent::Gone,
    }
}

/// Raises what a queue may hold, where the process may.
pub(super) fn raise(queue: Queue, stat: &mut Stat, bytes: u64) {
    if stat.max_bytes < bytes && queue.set_max_bytes(bytes).is_ok() {
        stat.max_bytes = bytes;
    }
}

impl Client {
    /// Finds the queue of a client that logs in. `None`: there is none, or not for this server.
    pub fn open(link: Link, key: i32, spec: &'static Spec, serial: u32) -> Option<Client> {
        let queue = Queue::open(key).ok()?;
        let stat = queue.stat().ok()?;
        let mut client = Client {
            link,
            key,
            queue,
            process: Process::new(key, &stat),
            serial,
            leaving: false,
            spec,
            raised: false,
            capacity: 0,
            // What lies there from before counts as unread, as nobody knows what it is.
            unread: u32::MAX,
            unread_direct: u32::MAX,
            filled: 0,
            answers: VecDeque::new(),
        };
        client.learn(&stat);
        Some(client)
    }

    /// Takes in what the kernel says of the queue.
    pub fn learn(&mut self, stat: &Stat) {
        let clamp = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        self.capacity = clamp(stat.max_bytes);
        self.filled = clamp(stat.bytes);
        self.unread = self.unread.min(clamp(stat.bytes));
        self.unread_direct = self.unread_direct.min(clamp(stat.bytes));
    }

    /// How much it can take now.
    pub fn room(&self) -> Room {
        let left = |share: u32, unread: u32| match unread {
            // However small the share, one message of any size goes into an empty queue.
            0 => share.max(self.spec.largest_delivery).min(self.capacity),
            unread => share.saturating_sub(unread),
        };
        // Others may write to the queue too.
        let free = self.capacity.saturating_sub(self.filled);
        let messages = left(self.capacity / 2, self.unread).min(free);
        let direct = match self.spec.direct_share {
            0 => messages,
            share => left(self.capacity / share, self.unread_direct).min(messages),
        };
        // Lists leave an eighth of the queue to the answers that have no room of their own.
        let replies = match self.answers.is_empty() {
            true => (self.capacity / 8 * 7).saturating_sub(self.filled),
            false => 0,
        };
        Room { messages, direct, replies }
    }

    /// Whether a message might not fit in the room that there is.
    pub fn is_tight(&self) -> bool {
        let room = self.room();
        room.messages.min(room.direct).min(room.replies) < self.spec.largest_delivery
    }

    /// Whether a link of which the exchange knows so much room may have been sent less than there
    /// was for it, or soon will.
    pub fn might_be_tight(&self, room: Room) -> bool {
        let largest = self.spec.largest_delivery;
        room.messages.min(room.replies) < 2 * largest || room.direct < largest
    }

    /// Sends a delivery.
    pub fn deliver(&mut self, frame: &[u8]) -> Sent {
        if !self.raised {
            // Not before: a key in a log-in that is refused may be of anybody's queue.
            self.raised = true;
            if let Ok(mut stat) = self.queue.stat() {
                raise(self.queue, &mut stat, QUEUE_BYTES);
                self.learn(&stat);
            }
        }
        let sent = send(self.queue, frame);
        if sent == Sent::Taken {
            let bytes = frame.len().saturating_sub(LONG) as u32;
            self.filled = self.filled.saturating_add(bytes);
            self.unread = self.unread.saturating_add(bytes);
            if self.spec.is_direct(frame) {
                self.unread_direct = self.unread_direct.saturating_add(bytes);
            }
        }
        sent
    }

    /// Sends an answer, or lets it wait: never behind a delivery. `false`: it was dropped.
    pub fn answer(&mut self, frame: &[u8]) -> bool {
        if self.answers.is_empty() && send(self.queue, frame) != Sent::Full {
            self.filled = self.filled.saturating_add(frame.len().saturating_sub(LONG) as u32);
            // Where the queue is gone, the next look at it finds that out.
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
        !self.answers.is_empty()
    }

    /// Sends what answers there is room for now; how many.
    pub fn flush_answers(&mut self) -> usize {
        let mut sent = 0;
        while let Some(frame) = self.answers.front()
            && send(self.queue, frame) != Sent::Full
        {
            self.answers.pop_front();
            sent += 1;
        }
        sent
    }

    /// Whether a delivery counts against the share of direct messages.
    pub fn is_direct(&self, frame: &[u8]) -> bool {
        self.spec.direct_share == 0 || self.spec.is_direct(frame)
    }

    /// Whether it can be seen now that the client is gone.
    pub fn is_gone(&mut self) -> bool {
        match self.queue.stat() {
            Ok(stat) => self.process.look(&stat) == Life::Dead,
            Err(_) => true,
        }
    }

    /// Takes all that lies unread in the queue, oldest first, at most as many messages as lie there
    /// now.
    pub fn drain(&self) -> Vec<Vec<u8>> {
        let mut unread = Vec::new();
        let there = self.queue.stat().map_or(0, |stat| stat.messages);
        let mut buffer = vec![0u8; self.spec.largest_delivery as usize + LONG];
        for _ in 0..there {
            match self.queue.receive(&mut buffer, 0, Receive::CUT) {
                Ok(len) => unread.push(buffer[..len].to_vec()),
                Err(_) => break,
            }
        }
        unread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::{TOPICS, own_key};
    use centrala_core::dialect::topics::{ServerMessage, kind};
    use centrala_sysv::Removed;

    /// A client whose queue keeps the system's ordinary size.
    fn client(key: i32) -> (Removed, Client) {
        let queue = Removed(Queue::create_new(key, 0o600).unwrap());
        queue.set_max_bytes(16_384).unwrap();
        let mut client = Client::open(Link::NONE, key, &TOPICS, 1).unwrap();
        client.raised = true;
        client.learn(&queue.stat().unwrap());
        (queue, client)
    }

    fn frame(kind: i64, text: usize) -> Vec<u8> {
        let mut out = [0; 1100];
        let message = ServerMessage { kind, info: 3, text: &vec![b'x'; text] };
        let len = message.emit(&mut out).unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn deliveries_fill_half_of_the_queue_and_direct_messages_an_eighth() {
        let (queue, mut client) = client(own_key(0x11));
        assert_eq!(client.room(), Room { messages: 8192, direct: 2048, replies: 14336 });
        let direct = frame(kind::DIRECT + 4, 100);
        let bytes = direct.len() as u32 - 8;
        assert_eq!(client.deliver(&direct), Sent::Taken);
        let room = Room { messages: 8192 - bytes, direct: 2048 - bytes, replies: 14336 - bytes };
        assert_eq!(client.room(), room);
        let topic = frame(kind::TOPIC, 1000);
        while client.room().messages >= topic.len() as u32 {
            assert_eq!(client.deliver(&topic), Sent::Taken);
        }
        assert!(client.is_tight());
        assert!(queue.stat().unwrap().bytes <= 8192);
        // Answers still go, and when they fill the rest they wait in their line.
        let answer = frame(kind::RESULT, 0);
        let mut sent = 0;
        while !client.owes_answers() {
            assert!(client.answer(&answer));
            sent += 1;
        }
        assert!(sent > 1000);
        assert_eq!((1..ANSWERS).filter(|_| client.answer(&answer)).count(), ANSWERS - 1);
        assert!(!client.answer(&answer), "the line is full");
        // What the client reads makes room, the direct message last.
        let unread = client.drain();
        assert_eq!(unread[0], direct);
        client.learn(&queue.stat().unwrap());
        assert_eq!(client.room(), Room { messages: 8192, direct: 2048, replies: 0 });
        assert_eq!(client.flush_answers(), ANSWERS);
        assert!(client.room().replies > 8192);
    }

    #[test]
    fn a_small_queue_takes_one_large_message_when_it_is_empty() {
        let (queue, mut client) = client(own_key(0x12));
        queue.set_max_bytes(1200).unwrap();
        client.learn(&queue.stat().unwrap());
        assert!(client.room().messages >= 1068 && client.room().direct >= 1068);
        assert_eq!(client.deliver(&frame(kind::TOPIC, 1000)), Sent::Taken);
        assert_eq!((client.room().messages, client.room().direct), (0, 0));
    }

    #[test]
    fn a_queue_that_is_gone_is_told_from_a_message_that_is_too_large() {
        let (queue, mut client) = client(own_key(0x13));
        assert_eq!(client.deliver(&[1; 100_000]), Sent::Unsendable);
        drop(queue);
        assert_eq!(client.deliver(&frame(kind::TOPIC, 1)), Sent::Gone);
        assert!(Client::open(Link::NONE, own_key(0x13), &TOPICS, 2).is_none());
    }
}
