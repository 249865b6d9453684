//! The loop around the exchange.
//!
//! 1. Wait until anything is ready or due ([`crate::poll`]).
//! 2. Give the exchange what has arrived: of each connection what one read brings, of each queue's
//!    threads what they handed over. Then what is due: its timers, links that may take more
//!    (`links.rs`), clients that may be gone.
//! 3. Begin a commit of what it wrote, and let out what it wants sent: promises when the commit is
//!    over that they wait for (`commits.rs`, `let_out.rs`).
//!
//! No step waits for anything, as long as the disk does not fall far behind.

mod commits;
mod lanes;
mod let_out;
mod links;
mod pages;
mod questions;
mod rooms;
mod start;

use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use centrala_core::dialect::Dialect;
use centrala_core::exchange::{Exchange, Link};
use centrala_core::host::{Outbox, Record, Room};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;

use crate::outbox::{Batch, Out, Port};
use crate::poll::{Event, Interest, Poll, Source, Waker};
use crate::store::Keep;
use crate::sysv::receiver::{self, Taken};
use crate::tcp::Tcp;
use crate::tcp::connection::{Got, LINGER, room_of};
use commits::Commits;
use links::Due;
use questions::Questions;
pub use start::{StartError, raise_descriptor_limit};

/// What the exchange is lent for a call.
macro_rules! lend {
    ($server:expr) => {
        &mut centrala_core::host::Io {
            now: $server.out.now,
            time: $server.time,
            store: &mut *$server.store,
            out: &mut $server.out,
        }
    };
}
use lend;

/// Batches taken from one thread of a queue before others have their turn.
const TURN: usize = 4;
/// Bytes noted down, after which they are let out before more is read: they are still in the
/// processor's cache then.
const ENOUGH: usize = 128 * 1024;
/// Milliseconds between two looks at every queue client. The end of a process is told at once; this
/// is how a queue is found that was removed, or another process that reads from it.
const LOOK: u64 = 3_000;
/// Milliseconds that output may take to leave when the server ends.
const FAREWELL: u64 = 1_000;

/// The server, when it has everything that it needs and has not begun yet.
#[derive(Debug)]
pub struct Server<'m> {
    exchange: Exchange<'m>,
    store: Box<dyn Keep>,
    out: Out,
    questions: Questions,
    tcp: Tcp,
    poll: Rc<Poll>,
    started: Instant,
    /// Unix milliseconds.
    time: u64,
    commits: Commits,
    /// Counts how often all that is held was gone through.
    round: u64,
    /// The commit that was over when it was last.
    gone_through: u64,
    /// Batches held since, which were not gone through at all.
    fresh: usize,
    /// The memory of batches that are let out.
    spares: Vec<Batch>,
    /// Connections to be written, by place.
    wet: Vec<u32>,
    /// When links are looked at.
    due: BinaryHeap<Due>,
    /// Connections that leave: until when, place, serial.
    leaving: VecDeque<(u64, u32, u32)>,
    next_look: u64,
    stop: Arc<AtomicBool>,
    ready: Vec<String>,
    /// The file that clients of `lanes` read.
    names: Option<lanes::NamesFile>,
    /// Something that the server cannot go on after.
    broken: Option<io::Error>,
}

/// Ends a server from another thread.
#[derive(Clone, Debug)]
pub struct Stop {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Stop {
    /// Has the server end as on SIGTERM.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Server<'_> {
    /// One line for each dialect, with its address.
    pub fn ready(&self) -> &[String] {
        &self.ready
    }

    /// A handle that ends it.
    pub fn stopper(&self) -> Stop {
        Stop { stop: Arc::clone(&self.stop), waker: self.poll.waker() }
    }

    /// Runs until it is stopped, and ends in order. `signals`, if given, has those that end it
    /// (SIGTERM, SIGINT, SIGHUP) and the one that logs its counters (SIGUSR1).
    ///
    /// # Errors
    /// The system refused what the server cannot do without; what it had is given up in order.
    pub fn run(mut self, signals: Option<&SignalFd>) -> io::Result<()> {
        if let Some(signals) = signals {
            self.poll.add(signals, Source::Signal, Interest::READ)?;
        }
        let mut events = Vec::new();
        // Sessions that were restored may have left something to do.
        let mut more = true;
        while !self.out.shut_down && !self.stop.load(Ordering::Acquire) && self.broken.is_none() {
            let wait = if more { Some(0) } else { self.wait() };
            self.poll.wait(&mut events, wait)?;
            self.tick();
            for event in &events {
                self.event(event, signals);
                self.follow_commit();
                if self.out.batch.size() >= ENOUGH {
                    self.keep_names();
                    // Whatever is left is seen below.
                    let _ = self.let_out();
                }
            }
            more = self.receive_from_queues();
            more |= self.receive_from_rooms();
            if self.exchange.poll_timeout().is_some_and(|due| due <= self.out.now) {
                self.exchange.handle_timeout(lend!(self));
            }
            self.look_at_due();
            self.settle_rooms_mail();
            self.housekeeping();
            self.answer_questions();
            self.keep_names();
            more |= !self.let_out();
            self.ask_questions();
            more |= !self.out.is_empty();
        }
        self.end();
        self.broken.take().map_or(Ok(()), Err)
    }

    /// How long nothing is due, in milliseconds.
    fn wait(&self) -> Option<u64> {
        let due = [
            self.exchange.poll_timeout(),
            self.due.peek().map(|due| due.at),
            self.leaving.front().map(|leaving| leaving.0),
            self.questions.due(),
            self.out.rooms.due(),
            (!self.out.queues.endpoints.is_empty()).then_some(self.next_look),
        ];
        due.into_iter().flatten().min().map(|due| due.saturating_sub(self.out.now))
    }

    fn tick(&mut self) {
        self.out.now = self.started.elapsed().as_millis() as u64;
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        self.time = time.map_or(0, |time| time.as_millis() as u64);
    }

    fn event(&mut self, event: &Event, signals: Option<&SignalFd>) {
        match event.source {
            Source::Wake => {}
            Source::Signal => self.signal(signals),
            Source::Listener(at) => self.accept(at),
            Source::Connection(place, serial) => {
                if self.tcp.find(place, serial).is_some() {
                    if event.readable {
                        self.read(place);
                    }
                    if event.writable {
                        self.wet.push(place);
                    }
                }
            }
            Source::Process(place, serial) => {
                let client = self.out.queues.clients.get(place as usize);
                if client.is_some_and(|client| client.serial == serial) {
                    self.look_at_client(place, true);
                }
            }
        }
    }

    fn signal(&mut self, signals: Option<&SignalFd>) {
        while let Some(Ok(Some(info))) = signals.map(SignalFd::read_signal) {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGUSR1) => self.log_counters(),
                signal => {
                    tracing::info!(?signal, "ending");
                    self.stop.store(true, Ordering::Release);
                }
            }
        }
    }

    fn accept(&mut self, at: u32) {
        let accepted = self.tcp.accept(at);
        self.out.counters.refused += std::mem::take(&mut self.tcp.refused);
        for place in accepted {
            let Some(connection) = self.tcp.connections.get_mut(place as usize) else { continue };
            let room = Room::of(room_of(connection.dialect));
            match self.exchange.connect(connection.dialect, room, self.out.now) {
                Ok(link) => {
                    self.out.counters.accepted += 1;
                    connection.link = Some(link);
                    self.out.seats.put(link, Port::Tcp(place), room);
                    self.wet.push(place);
                }
                Err(limit) => {
                    self.out.counters.refused += 1;
                    tracing::debug!(?limit, peer = %connection.peer, "refused a connection");
                    self.tcp.connections.remove(place as usize);
                }
            }
        }
    }

    /// Reads a connection once, and gives the exchange what it has of it.
    fn read(&mut self, place: u32) {
        let Tcp { connections, buffer, .. } = &mut self.tcp;
        let Some(connection) = connections.get_mut(place as usize) else { return };
        let arrived = match connection.read(buffer) {
            Got::Bytes(n) => &buffer[..n],
            Got::More => return self.feed(place),
            Got::Nothing => return,
            Got::End(error) => {
                let peaceful = error.is_none();
                if let Some(error) = error {
                    tracing::debug!(%error, peer = %connection.peer, "a connection broke");
                }
                return self.connection_over(place, peaceful);
            }
        };
        let (Some(link), false) = (connection.link, connection.leaving) else { return };
        match self.exchange.receive(link, arrived, lend!(self)) {
            Ok(used) => connection.keep(&arrived[used..]),
            // It is closed: what was given for it leaves with the batch.
            Err(_) => connection.keep(&[]),
        }
        self.wet.push(place);
    }

    /// Gives the exchange what it did not use before.
    fn feed(&mut self, place: u32) {
        let Some(connection) = self.tcp.connections.get_mut(place as usize) else { return };
        let (Some(link), false) = (connection.link, connection.input.is_empty()) else { return };
        match self.exchange.receive(link, &connection.input, lend!(self)) {
            Ok(used) => drop(connection.input.drain(..used)),
            Err(_) => connection.input.clear(),
        }
        if connection.input.is_empty() {
            connection.input = Vec::new();
        }
        self.wet.push(place);
    }

    /// Gives the exchange what the queues' threads handed over. Returns whether there may be more.
    fn receive_from_queues(&mut self) -> bool {
        let mut more = false;
        for at in 0..self.out.queues.endpoints.len() {
            for thread in 0..self.out.queues.endpoints[at].receivers.len() {
                for turn in 0..=TURN {
                    if turn == TURN {
                        more = true;
                        break;
                    }
                    match self.out.queues.endpoints[at].receivers[thread].take() {
                        Taken::Nothing => break,
                        Taken::Batch(batch) => {
                            self.receive_batch(at, &batch);
                            self.follow_commit();
                            self.out.queues.endpoints[at].receivers[thread].recycle(batch);
                        }
                        Taken::Over => {
                            self.reopen(at);
                            more = true;
                            break;
                        }
                    }
                }
                if self.out.queues.endpoints[at].receivers.len() <= thread {
                    break;
                }
            }
        }
        more
    }

    /// Gives the exchange what arrived together at an endpoint.
    fn receive_batch(&mut self, at: usize, batch: &receiver::Batch) {
        let link = self.out.queues.endpoints[at].link;
        self.out.counters.oversize += u64::from(batch.oversize);
        let mut messages = batch.messages().peekable();
        while let Some(message) = messages.next() {
            let last = messages.peek().is_none();
            self.out.queues.sender = if last { batch.sender } else { 0 };
            self.out.counters.received += 1;
            // The endpoint's link ends with the server.
            let _ = self.exchange.receive(link, message, lend!(self));
        }
        self.out.queues.sender = 0;
    }

    /// Somebody removed a queue of the server's.
    fn reopen(&mut self, at: usize) {
        let waker = self.poll.waker();
        let Some(endpoint) = self.out.queues.endpoints.get_mut(at) else { return };
        match endpoint.reopen(&waker) {
            Ok(()) => tracing::warn!(
                key = endpoint.key,
                "somebody removed the server's queue: made a new one"
            ),
            Err(error) => {
                let key = endpoint.key;
                tracing::error!(key, %error, "the server's queue is gone and cannot be made anew");
                self.broken = Some(io::Error::other(format!("queue of key {key}: {error}")));
            }
        }
    }

    /// What is done every now and then.
    fn housekeeping(&mut self) {
        let now = self.out.now;
        while let Some((until, place, serial)) = self.leaving.front().copied()
            && until <= now
        {
            self.leaving.pop_front();
            if self.tcp.find(place, serial).is_some() {
                self.tcp.connections.remove(place as usize);
            }
        }
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK;
        self.store.report();
        for place in self.clients() {
            self.look_at_client(place, false);
        }
        for endpoint in &mut self.out.queues.endpoints {
            let junk = endpoint.remove_junk(now);
            if junk != 0 {
                self.out.counters.junk += junk as u64;
                tracing::warn!(key = endpoint.key, junk, "removed messages that nobody would read");
            }
        }
    }

    /// The places of all queue clients.
    fn clients(&self) -> Vec<u32> {
        self.out.queues.clients.iter().map(|(place, _)| place as u32).collect()
    }

    /// A connection is over at its peer's end. In peace, what was given for it still leaves, and
    /// answers that wait for a commit.
    fn connection_over(&mut self, place: u32, peaceful: bool) {
        let Some(connection) = self.tcp.connections.get_mut(place as usize) else { return };
        if let Some(link) = connection.link {
            if !connection.ended {
                self.out.counters.disconnected += 1;
                if let Some(mark) = connection.acknowledged() {
                    self.exchange.taken(link, mark, lend!(self));
                }
                connection.ended = true;
                connection.input = Vec::new();
                self.give_back_held(link);
                self.exchange.disconnect(link, lend!(self));
                let answers = self.out.seats.get(link).is_some_and(|seat| seat.queued_replies != 0);
                if peaceful && answers {
                    // It leaves behind them.
                    self.out.close(link);
                    return self.wet.push(place);
                }
            } else if peaceful {
                return;
            }
            self.out.seats.remove(link);
        }
        let Some(connection) = self.tcp.connections.get_mut(place as usize) else { return };
        connection.link = None;
        if !peaceful || connection.waiting() == 0 {
            self.tcp.connections.remove(place as usize);
            return;
        }
        connection.ended = true;
        if connection.leaving {
            self.wet.push(place);
        } else {
            self.leave(place);
        }
    }

    /// The exchange has back what a link was not given yet. What `direct` clients were sent is in
    /// their mailboxes until they confirm it.
    fn give_back_held(&mut self, link: Link) {
        let mut held: Vec<Box<[u8]>> = Vec::new();
        self.out.withdraw(link, &mut |frame| held.push(frame.into()));
        if self.exchange.dialect_of(link) != Some(Dialect::Direct) {
            for frame in held.iter().rev() {
                self.exchange.give_back(link, frame, lend!(self));
            }
        }
    }

    /// A connection leaves when its output has.
    fn leave(&mut self, place: u32) {
        let Some(connection) = self.tcp.connections.get_mut(place as usize) else { return };
        connection.leaving = true;
        connection.input = Vec::new();
        self.leaving.push_back((self.out.now + LINGER, place, connection.serial));
        self.wet.push(place);
    }

    /// Stops accepting, lets out and commits what there is, and gives up the queues.
    fn end(&mut self) {
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Stopping]) {
            tracing::debug!(%error, "the service manager was not told");
        }
        self.tcp.stop_listening();
        let _ = self.receive_from_queues();
        while self.receive_from_rooms() {}
        self.let_all_out();
        if self.out.shut_down {
            tracing::info!("a client ended the server: removing its clients' queues");
            for place in self.clients() {
                let queue = self.out.queues.clients[place as usize].queue;
                self.client_over(place);
                let _ = queue.remove();
            }
        }
        // They find the server's queue gone, and log in anew.
        for (_, client) in &self.out.queues.clients {
            let Some(dialect) = self.exchange.dialect_of(client.link) else { continue };
            let address = client.key.into();
            // Of one that cannot be written, the next server finds out by itself.
            let _ = self.store.write(Record::Session { dialect, address, user: 0 });
        }
        // What recipients did not answer for is kept for them, and what lies in lanes.
        let connections = self.tcp.connections.iter();
        let lanes = self.out.queues.endpoints.iter().filter_map(|at| at.lanes.as_ref());
        let links: Vec<Link> = connections
            .filter_map(|(_, connection)| connection.link)
            .chain(lanes.flat_map(|lanes| lanes.links()))
            .chain(self.out.rooms.all())
            .collect();
        for link in links {
            self.exchange.disconnect(link, lend!(self));
        }
        self.let_all_out();
        let rooms = self.out.rooms.end();
        if let Some(rooms) = &rooms {
            rooms.hang_up();
        }
        let until = Instant::now() + std::time::Duration::from_millis(FAREWELL);
        let mut events = Vec::new();
        let places: Vec<u32> = self.tcp.connections.iter().map(|(p, _)| p as u32).collect();
        for place in places {
            self.leave(place);
        }
        self.write_connections();
        while Instant::now() < until
            && self.tcp.connections.iter().any(|(_, connection)| connection.waiting() != 0)
            && self.poll.wait(&mut events, Some(50)).is_ok()
        {
            self.tick();
            for event in events.iter().filter(|event| event.source != Source::Signal) {
                self.event(event, None);
            }
            self.write_connections();
        }
        if let Some(rooms) = rooms {
            rooms.join();
        }
        // Dropping an endpoint removes its queue.
        self.out.queues.endpoints.clear();
        self.log_counters();
    }

    fn log_counters(&self) {
        let exchange = self.exchange.counters();
        tracing::info!("counters:{}", self.out.counters);
        tracing::info!(
            requests = exchange.requests,
            messages = exchange.messages,
            deliveries = exchange.deliveries,
            stored = exchange.stored,
            given_back = exchange.given_back,
            not_kept = exchange.not_kept,
            dropped = exchange.dropped,
            "exchange"
        );
        tracing::info!(usage = ?self.exchange.usage(), capacity = ?self.exchange.capacity(), "tables");
    }
}
