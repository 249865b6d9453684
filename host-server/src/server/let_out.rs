//! Letting out what the exchange wants sent, and when.
//!
//! What one turn of the loop notes down is a batch. All of it that promises nothing goes at once,
//! each link's up to its first promise: live delivery does not wait for the disk. A promise, and
//! what is behind it on its link, is held until the commit is over that has all that was written
//! before ([`super::commits`]): then it goes as it was granted, or, if the commit failed, as it was
//! refused. Meanwhile the loop goes on; what later batches have for such a link waits behind it.
//!
//! - A message that a queue would not take is handed back to the exchange at once, which writes it
//!   to the store: so every promise behind it, on whatever link, waits for the next commit too. A
//!   promise that leaves never rests on something that is not durable, or not delivered.
//! - A batch that was made after a change of the directory is held whole until that is durable:
//!   else a number could be seen that is somebody else's after a crash.
//!
//! Each TCP connection is written once for each time the batches are gone through, and a run of
//! messages ([`Run`]) to each of its connections straight from where it lies: what many subscribers
//! get is copied by the kernel alone.

use centrala_core::exchange::Link;
use centrala_core::host::Room;

use super::{Server, lend};
use crate::outbox::{Batch, Frame, Op, Port, Run, What};
use crate::sysv::client::Sent;

/// What was let out makes room, which lets more out: so often at once. The rest waits for the next
/// turn of the loop.
const ROUNDS: usize = 8;
/// Batches whose memory is kept.
const SPARES: usize = 16;

impl Server<'_> {
    /// Lets out all that may leave now. Returns whether nothing that was noted down is still to be
    /// looked at.
    pub(super) fn let_out(&mut self) -> bool {
        self.follow_commit();
        for _ in 0..ROUNDS {
            self.hold_batch();
            // Before anything is let out: the disk has something to do meanwhile.
            self.begin_commit();
            if !self.go_through() {
                break;
            }
            self.tell_rooms();
        }
        self.write_connections();
        self.out.rooms.flush();
        self.begin_commit();
        if self.has_gathered_enough() {
            self.await_commit();
        }
        self.out.batch.ops.is_empty()
            && self.wet.is_empty()
            && self.commits.over == self.gone_through
    }

    /// The same, and all that waits for a commit, as the server ends.
    pub(super) fn let_all_out(&mut self) {
        while !self.let_out() || self.commits.underway() {
            self.await_commit();
        }
    }

    /// Puts what was noted down behind what is held.
    fn hold_batch(&mut self) {
        self.out.settle();
        if self.out.batch.ops.is_empty() {
            return;
        }
        let spare = self.spares.pop().unwrap_or_default();
        let mut batch = std::mem::replace(&mut self.out.batch, spare);
        self.out.counters.batches += 1;
        let commit = self.commit_so_far();
        (batch.commits, batch.hidden) = ((commit, commit), self.commit_of_directory());
        self.out.held.push_back(batch);
        self.fresh += 1;
    }

    /// Goes through what is held: all of it if a commit is over since the last time, else what is
    /// new. Returns whether there was anything.
    fn go_through(&mut self) -> bool {
        let mut at = self.out.held.len() - self.fresh;
        if self.gone_through != self.commits.over {
            self.gone_through = self.commits.over;
            self.round += 1;
            at = 0;
        }
        self.fresh = 0;
        let any = at != self.out.held.len();
        let mut taken: Vec<(Link, u32)> = Vec::new();
        while let Some(held) = self.out.held.get_mut(at)
            // What is behind it was made later, and waits as long at least.
            && held.hidden <= self.commits.over
        {
            let mut batch = std::mem::take(held);
            self.out.rooms.next_batch();
            let mut left = false;
            for i in 0..batch.ops.len() {
                left |= !self.one_through(&mut batch, at, i, &mut taken);
            }
            if left {
                self.out.held[at] = batch;
                at += 1;
            } else {
                self.out.held.remove(at);
                batch.clear();
                if self.spares.len() < SPARES {
                    self.spares.push(batch);
                }
            }
        }
        self.write_connections();
        self.out.rooms.flush();
        for (link, mark) in taken {
            self.exchange.taken(link, mark, lend!(self));
        }
        any
    }

    /// Lets one thing out, if it may leave. Returns whether nothing is left of it.
    fn one_through(
        &mut self,
        batch: &mut Batch,
        at: usize,
        i: usize,
        taken: &mut Vec<(Link, u32)>,
    ) -> bool {
        let Op { link, what } = batch.ops[i];
        match what {
            What::Done => return true,
            What::Run(run) => return self.run_through(batch, i, run),
            _ => {}
        }
        if let Some(seat) = self.out.seats.get(link) {
            let waits = matches!(what, What::Promise(..)) && batch.commits.1 > self.commits.over;
            if waits || seat.held == self.round {
                seat.held = self.round;
                return false;
            }
            self.one_out(batch, at, i, taken);
        }
        batch.ops[i].what = What::Done;
        true
    }

    /// Lets a run out, to those of its links that no promise holds. Returns whether nothing is left
    /// of it.
    fn run_through(&mut self, batch: &mut Batch, i: usize, run: Run) -> bool {
        let (mut n, mut kept) = (0, 0);
        while let Some((link, bytes)) = batch.of_run(run, n) {
            n += 1;
            let Some(seat) = self.out.seats.get(link) else { continue };
            if seat.held == self.round {
                batch.keep_in_run(run, kept, link);
                kept += 1;
                continue;
            }
            seat.queued = seat.queued.saturating_sub(run.bytes());
            let Port::Tcp(place) = seat.port else { continue };
            if !seat.touched {
                // It was held: how much the link takes is seen only now.
                seat.touched = true;
                self.out.touched.push(link);
            }
            let Some(connection) = self.tcp.connections.get_mut(place as usize) else { continue };
            if !connection.touched {
                connection.touched = true;
                self.wet.push(place);
            }
            connection.give_many(bytes);
        }
        batch.leave_run(i, run, kept);
        kept == 0
    }

    /// Lets one thing out; of a promise what was refused, if its commit failed.
    fn one_out(&mut self, batch: &mut Batch, at: usize, i: usize, taken: &mut Vec<(Link, u32)>) {
        let (Op { link, what }, refused) = (batch.ops[i], batch.refused);
        let Some(seat) = self.out.seats.get(link) else { return };
        let (port, all) = (seat.port, seat.queued.saturating_add(seat.queued_replies));
        match what {
            What::Deliver(frame) | What::Mail(frame, _) => {
                seat.queued = seat.queued.saturating_sub(batch.frame(frame).len() as u32);
            }
            What::Reply(frame) | What::Part(frame, _) | What::Promise(frame, _) => {
                let len = batch.frame(frame).len() as u32;
                seat.queued_replies = seat.queued_replies.saturating_sub(len);
            }
            What::LoggedIn(of, log_in) => {
                if refused {
                    self.undo_log_in(batch, i, of, log_in);
                }
                return;
            }
            What::Run(_) | What::Merge(_) | What::Close | What::Done => {}
        }
        if !seat.touched {
            // It was held: how much the link takes is seen only now.
            seat.touched = true;
            self.out.touched.push(link);
        }
        match (port, what) {
            // A run is of connections alone, and let out by itself.
            (_, What::Done | What::Run(_) | What::LoggedIn(..)) => {}
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
                if !connection.touched {
                    connection.touched = true;
                    connection.expect(all);
                    self.wet.push(place);
                }
                match what {
                    What::Mail(frame, mark) => connection.give_mail(batch.frame(frame), mark),
                    What::Promise(_, frame) if refused => connection.give(batch.frame(frame)),
                    What::Deliver(frame)
                    | What::Reply(frame)
                    | What::Part(frame, _)
                    | What::Promise(frame, _) => connection.give(batch.frame(frame)),
                    What::Run(_)
                    | What::Merge(_)
                    | What::LoggedIn(..)
                    | What::Close
                    | What::Done => {}
                }
            }
            (Port::Client(place), What::Close) => {
                self.out.queues.clients.try_remove(place as usize);
                self.out.seats.remove(link);
            }
            (Port::Lane(at, user), What::Close) => {
                self.out.seats.remove(link);
                let endpoint = self.out.queues.endpoints.get_mut(at as usize);
                if let Some((endpoint, lanes)) =
                    endpoint.and_then(|endpoint| Some((endpoint.link, endpoint.lanes.as_mut()?)))
                {
                    lanes.close(link, user);
                    if lanes.owes_answers() {
                        // Nobody looks at its lane for them any more.
                        self.look_later(endpoint, true);
                    }
                }
            }
            (Port::Client(_) | Port::Lane(..), What::Deliver(frame)) => {
                self.send(batch, at, i, port, frame);
            }
            (Port::Client(_) | Port::Lane(..), What::Mail(frame, mark)) => {
                if self.send(batch, at, i, port, frame) {
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

    /// A log-in was refused after all, as its commit failed. What its client was not given comes back
    /// where that can be; a connection, which stays, is given it.
    fn undo_log_in(&mut self, batch: &mut Batch, i: usize, link: Link, log_in: u32) {
        let port = self.out.seats.get(link).map(|seat| seat.port);
        if let Some(Port::Client(_) | Port::Lane(..)) = port {
            let mut held: Vec<Box<[u8]>> = Vec::new();
            let mut each = |frame: &[u8]| held.push(frame.into());
            batch.withdraw(link, i, &mut each);
            self.out.withdraw(link, &mut each);
            if let Some(seat) = self.out.seats.get(link) {
                seat.queued = 0;
            }
            for frame in held.iter().rev() {
                self.exchange.give_back(link, frame, lend!(self));
            }
        }
        self.exchange.log_in_refused(link, log_in, lend!(self));
    }

    /// Sends a message to a client's queue or lane. Returns whether that took it; if not, it and all
    /// that is behind it for this client goes back to the exchange, and no promise behind it leaves
    /// before that is durable.
    fn send(&mut self, batch: &mut Batch, at: usize, i: usize, port: Port, frame: Frame) -> bool {
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
        let mut messages: Vec<Box<[u8]>> = Vec::new();
        let mut each = |frame: &[u8]| messages.push(frame.into());
        let mail = batch.withdraw(link, i, &mut each);
        let mail = mail.or(self.out.withdraw(link, &mut each));
        if let Some(seat) = self.out.seats.get(link) {
            seat.left = Room::default();
            // What has been noted down since is handed back below, or was not charged yet.
            seat.queued = 0;
        }
        // No room first: what comes back must not go out again at once.
        self.exchange.room(link, Room::default(), lend!(self));
        self.out.counters.returned += messages.len() as u64;
        let not_kept = self.exchange.counters().not_kept;
        for frame in messages.iter().rev() {
            self.exchange.give_back(link, frame, lend!(self));
        }
        if let Some(mark) = mail {
            self.exchange.not_taken(link, mark, lend!(self));
        }
        // Which promises rest on it is not known: those behind it may.
        batch.refused |= self.exchange.counters().not_kept != not_kept;
        let commit = self.commit_so_far();
        let later = self.out.held.iter_mut().skip(at + 1);
        for batch in [batch].into_iter().chain(later) {
            batch.commits.1 = batch.commits.1.max(commit);
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
