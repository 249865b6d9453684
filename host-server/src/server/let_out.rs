//! Letting out what the exchange wants sent.
//!
//! The batch is gone through in its order, and at most twice. If the store has something to commit,
//! all that promises nothing goes first, each link's up to its first promise: live delivery does not
//! wait for the disk. Then the store commits, and the rest goes: the promises as they were granted,
//! or, if the commit failed, as they were refused. A message that a queue would not take is handed
//! back to the exchange at once, which writes it to the store: so a promise behind it, on whatever
//! link, commits once more before it leaves. A promise that leaves never rests on something that is
//! not durable, or not delivered.
//!
//! Each TCP connection is written once for each time the batch is gone through.

use centrala_core::exchange::Link;
use centrala_core::host::Room;

use super::{Server, lend};
use crate::outbox::{Batch, Frame, Op, Port, What};
use crate::sysv::client::Sent;

/// What was let out makes room, which lets more out: so often at once. The rest waits for the next
/// turn of the loop.
const ROUNDS: usize = 8;

impl Server<'_> {
    /// Lets out all that is noted down. Returns whether nothing is left.
    pub(super) fn let_out(&mut self) -> bool {
        for _ in 0..ROUNDS {
            if self.out.batch.ops.is_empty() {
                break;
            }
            let mut batch = std::mem::replace(&mut self.out.batch, std::mem::take(&mut self.spare));
            self.let_batch_out(&mut batch);
            batch.clear();
            self.spare = batch;
            self.tell_rooms();
        }
        self.write_connections();
        self.out.rooms.flush();
        if self.store.dirty() {
            self.commit();
        }
        self.out.batch.ops.is_empty() && self.wet.is_empty()
    }

    fn let_batch_out(&mut self, batch: &mut Batch) {
        self.round += 1;
        self.out.counters.batches += 1;
        let mut taken: Vec<(Link, u32)> = Vec::new();
        if self.store.dirty() {
            for i in 0..batch.ops.len() {
                let Op { link, what } = batch.ops[i];
                let Some(seat) = self.out.seats.get(link) else { continue };
                if seat.held == self.round {
                    continue;
                }
                if matches!(what, What::Promise(..)) {
                    seat.held = self.round;
                    continue;
                }
                self.one_out(batch, i, false, &mut taken);
                batch.ops[i].what = What::Done;
            }
            self.write_connections();
            self.out.rooms.flush();
        }
        let mut failed = false;
        for i in 0..batch.ops.len() {
            if matches!(batch.ops[i].what, What::Promise(..)) && self.store.dirty() && !failed {
                failed = !self.commit();
            }
            self.one_out(batch, i, failed, &mut taken);
        }
        self.write_connections();
        self.out.rooms.flush();
        for (link, mark) in taken {
            self.exchange.taken(link, mark, lend!(self));
        }
    }

    fn commit(&mut self) -> bool {
        self.out.counters.commits += 1;
        let committed = self.store.commit().is_ok();
        if !committed {
            self.out.counters.commits_failed += 1;
        }
        committed
    }

    /// Lets one thing out; of a promise what was `refused`, if the commit before it failed.
    fn one_out(
        &mut self,
        batch: &mut Batch,
        i: usize,
        refused: bool,
        taken: &mut Vec<(Link, u32)>,
    ) {
        let Op { link, what } = batch.ops[i];
        let Some(seat) = self.out.seats.get(link) else { return };
        let port = seat.port;
        match what {
            What::Deliver(frame) | What::Mail(frame, _) => {
                seat.queued = seat.queued.saturating_sub(batch.frame(frame).len() as u32);
            }
            What::Reply(frame) | What::Part(frame, _) | What::Promise(frame, _) => {
                let len = batch.frame(frame).len() as u32;
                seat.queued_replies = seat.queued_replies.saturating_sub(len);
            }
            What::Merge(_) | What::Close | What::Done => {}
        }
        match (port, what) {
            (_, What::Done) => {}
            (Port::Rooms, _) => self.out_to_rooms(batch, link, what, refused),
            (Port::Tcp(place), What::Close) => {
                self.out.seats.remove(link);
                if let Some(connection) = self.tcp.connections.get_mut(place as usize) {
                    connection.link = None;
                    self.leave(place);
                }
            }
            (Port::Tcp(place), _) => {
                let Some(connection) = self.tcp.connections.get_mut(place as usize) else { return };
                match what {
                    What::Mail(frame, mark) => connection.give_mail(batch.frame(frame), mark),
                    What::Promise(_, frame) if refused => connection.give(batch.frame(frame)),
                    What::Deliver(frame)
                    | What::Reply(frame)
                    | What::Part(frame, _)
                    | What::Promise(frame, _) => connection.give(batch.frame(frame)),
                    What::Merge(_) | What::Close | What::Done => {}
                }
                if !connection.touched {
                    connection.touched = true;
                    self.wet.push(place);
                }
            }
            (Port::Client(place), What::Close) => {
                self.out.queues.clients.try_remove(place as usize);
                self.out.seats.remove(link);
            }
            (Port::Lane(at, user), What::Close) => {
                if let Some(lanes) = self.out.queues.lanes(at) {
                    lanes.close(link, user);
                }
                self.out.seats.remove(link);
            }
            (Port::Client(_) | Port::Lane(..), What::Deliver(frame)) => {
                self.send(batch, i, port, frame);
            }
            (Port::Client(_) | Port::Lane(..), What::Mail(frame, mark)) => {
                if self.send(batch, i, port, frame) {
                    match taken.iter_mut().rev().find(|(to, _)| *to == link) {
                        Some((_, last)) => *last = mark,
                        None => taken.push((link, mark)),
                    }
                }
            }
            (_, What::Reply(frame) | What::Part(frame, _)) => {
                self.answer(link, port, batch.frame(frame));
            }
            (_, What::Promise(_, frame)) if refused => {
                self.answer(link, port, batch.frame(frame));
            }
            (_, What::Promise(frame, _)) => self.answer(link, port, batch.frame(frame)),
            // An endpoint is given answers alone, and stays open.
            (Port::Endpoint(_), What::Deliver(_) | What::Mail(..) | What::Close) => {}
            // Only links of `rooms` are merged.
            (_, What::Merge(_)) => {}
        }
    }

    /// Sends a message to a client's queue or lane. Returns whether that took it; if not, it and all
    /// that is behind it for this client goes back to the exchange.
    fn send(&mut self, batch: &mut Batch, i: usize, port: Port, frame: Frame) -> bool {
        let (link, now) = (batch.ops[i].link, self.out.now);
        let frame = batch.frame(frame);
        let sent = match port {
            Port::Client(place) => {
                let Some(client) = self.out.queues.clients.get_mut(place as usize) else {
                    return false;
                };
                client.deliver(frame)
            }
            Port::Lane(at, user) => {
                let Some(lanes) = self.out.queues.lanes(at) else { return false };
                lanes.deliver(link, user, frame, now)
            }
            Port::Tcp(_) | Port::Endpoint(_) | Port::Rooms => return false,
        };
        match sent {
            Sent::Taken => return true,
            Sent::Unsendable => {
                self.out.counters.unsendable += 1;
                tracing::warn!(?port, "a message is larger than the kernel's msgmax");
                return true;
            }
            Sent::Full | Sent::Gone => {}
        }
        let (mut messages, mut mail) = (Vec::new(), None);
        for op in batch.ops[i..].iter_mut().filter(|op| op.link == link) {
            match op.what {
                What::Deliver(frame) => messages.push(frame),
                What::Mail(_, mark) => mail = mail.or(Some(mark)),
                _ => continue,
            }
            op.what = What::Done;
        }
        if let Some(seat) = self.out.seats.get(link) {
            seat.left = Room::default();
            // What has been noted down since is handed back below, or was not charged yet.
            seat.queued = 0;
        }
        // No room first: what comes back must not go out again at once.
        self.exchange.room(link, Room::default(), lend!(self));
        self.out.counters.returned += messages.len() as u64;
        for frame in messages.iter().rev() {
            self.exchange.give_back(link, batch.frame(*frame), lend!(self));
        }
        if let Some(mark) = mail {
            self.exchange.not_taken(link, mark, lend!(self));
        }
        match (sent, port) {
            (Sent::Gone, Port::Client(place)) => self.queue_gone(place),
            _ => self.look_later(link, false),
        }
        false
    }

    /// Sends an answer to a queue.
    fn answer(&mut self, link: Link, port: Port, frame: &[u8]) {
        let now = self.out.now;
        let (answered, waits) = match port {
            Port::Client(place) => {
                let Some(client) = self.out.queues.clients.get_mut(place as usize) else { return };
                (client.answer(frame), client.owes_answers())
            }
            Port::Endpoint(at) => {
                let endpoints = &mut self.out.queues.endpoints;
                let Some(endpoint) = endpoints.get_mut(at as usize) else { return };
                (endpoint.answer(frame, now), endpoint.owes_answers())
            }
            Port::Lane(at, _) => {
                let Some(lanes) = self.out.queues.lanes(at) else { return };
                (lanes.answer(frame, now), lanes.owes_answers())
            }
            Port::Tcp(_) | Port::Rooms => return,
        };
        if !answered {
            self.out.counters.answers_dropped += 1;
            tracing::debug!(?link, "a client does not read its answers: dropped one");
        }
        if waits && self.out.seats.get(link).is_some_and(|seat| seat.due.is_none()) {
            self.look_later(link, true);
        }
    }

    /// Writes the connections that have something to be written, and watches each for what
    /// matters next.
    pub(super) fn write_connections(&mut self) {
        for place in std::mem::take(&mut self.wet) {
            let Some(connection) = self.tcp.connections.get_mut(place as usize) else { continue };
            connection.touched = false;
            if let Err(error) = connection.flush() {
                tracing::debug!(%error, peer = %connection.peer, "a connection broke");
                self.connection_over(place, false);
            } else if connection.is_overrun() {
                self.out.counters.overrun += 1;
                tracing::info!(peer = %connection.peer, "closed: its peer does not read its answers");
                self.connection_over(place, false);
            } else if let Err(error) = connection.watch(&self.poll, place) {
                tracing::warn!(%error, peer = %connection.peer, "cannot watch a connection: closed");
                self.connection_over(place, false);
            }
        }
    }
}
