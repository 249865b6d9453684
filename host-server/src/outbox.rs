//! Where the exchange puts what it wants sent, until the batch is applied.
//!
//! The exchange's calls only note down what is to go where ([`Op`]), in the order they come; the
//! loop lets it out afterwards ([`crate::server`]), some of it only when a commit is over. Two calls
//! must act at once, as they are answered: [`open`](centrala_core::host::Outbox::open) looks for a
//! client's queue, and `take_back` takes messages out of the server's.
//!
//! - `seats`: what is known of each link. `batch`: what is to go where. `question`: what the
//!   exchange asks.

mod batch;
mod question;
mod seats;

use std::collections::VecDeque;

use centrala_core::exchange::{Link, Token};
use centrala_core::host::{Ask, Note, Outbox, Room};
use centrala_core::name::NAME_LENGTH;

use crate::counters::Counters;
use crate::notes::Throttle;
use crate::rooms::links::Links;
use crate::sysv::Queues;
use crate::warn_some;
pub use batch::{Batch, Frame, Op, Run, What};
pub use question::{MailAsked, Question};
pub use seats::{Port, Seat, Seats};

/// By how much the exchange may count a message larger than its frame is: a dialect's room for the
/// longest names, of which `lanes` may write two, and `native`'s for the largest numbers too.
const COUNTED_LARGER: u32 = {
    let lanes = 2 * (NAME_LENGTH as u32 + 2);
    let native = centrala_core::dialect::native::OVERHEAD as u32;
    if lanes > native { lanes } else { native }
};

/// The exchange counts a row of a list as so much at least.
const ROW: u32 = 64;

/// A run that may get longer.
#[derive(Clone, Copy, Debug)]
struct OpenRun {
    /// Its place among the operations.
    op: usize,
    /// How many messages it has.
    messages: u32,
    /// Its one link, by place and generation, if it has one. Apart, as the exchange has just written
    /// the link that this is compared with in two halves: to load both at once takes far longer.
    one: Option<(usize, u32)>,
}

/// A link in the two halves of [`OpenRun::one`].
fn halves(link: Link) -> (usize, u32) {
    (link.index(), link.generation())
}

/// The outbox of the exchange.
#[derive(Debug)]
pub struct Out {
    /// What is to be sent, since the loop looked last.
    pub batch: Batch,
    /// What was to be sent before and waits, oldest first.
    pub held: VecDeque<Batch>,
    /// Links.
    pub seats: Seats,
    /// Links that were given messages.
    pub touched: Vec<Link>,
    /// The run of the batch that may still get longer.
    open: Option<OpenRun>,
    /// Runs begun.
    runs: u64,
    /// SysV queues.
    pub queues: Queues,
    /// Sockets of `rooms`.
    pub rooms: Links,
    /// Questions of the exchange.
    pub asks: Vec<Question>,
    /// Milliseconds since the server started.
    pub now: u64,
    /// Whether clients of `native` may end the server.
    pub shutdown: bool,
    /// A client asked to end the server, and it may.
    pub shut_down: bool,
    /// What happened.
    pub counters: Counters,
    not_kept: Throttle,
}

impl Out {
    /// With nothing in it.
    pub fn new(queues: Queues) -> Out {
        Out {
            batch: Batch::default(),
            held: VecDeque::new(),
            seats: Seats::default(),
            touched: Vec::new(),
            open: None,
            runs: 0,
            queues,
            rooms: Links::default(),
            asks: Vec::new(),
            now: 0,
            shutdown: false,
            shut_down: false,
            counters: Counters::default(),
            not_kept: Throttle::default(),
        }
    }

    /// Whether nothing is noted down.
    pub fn is_empty(&self) -> bool {
        self.batch.ops.is_empty() && self.asks.is_empty()
    }

    /// Takes back the messages that a link has not been given yet, oldest first, and what the store
    /// has of it. Returns the first mark among the latter.
    pub fn withdraw(&mut self, link: Link, each: &mut dyn FnMut(&[u8])) -> Option<u32> {
        if self.open.is_some_and(|open| open.one == Some(halves(link))) {
            // Nothing is left of it to be counted.
            self.open = None;
        }
        let batches = self.held.iter_mut().chain([&mut self.batch]);
        batches.fold(None, |mail, batch| mail.or(batch.withdraw(link, 0, each)))
    }

    fn push(&mut self, link: Link, what: What) {
        // What comes behind it for one of its links ends a run.
        if self.open.is_some() && self.seats.get(link).is_some_and(|seat| seat.run == self.runs) {
            self.settle();
        }
        self.batch.ops.push(Op { link, what });
    }

    /// Puts a message into a run. `false`: it is not for connections.
    fn put_in_run(&mut self, to: &[Link], frame: &[u8]) -> bool {
        if let Some(open) = &mut self.open {
            let same = match (open.one, to) {
                (Some(one), [link]) => one == halves(*link),
                (Some(_), _) => false,
                (None, _) => self.batch.is_run_for(open.op, to),
            };
            if same {
                self.batch.extend_run(open.op, frame);
                open.messages += 1;
                return true;
            }
        }
        let Some(first) = to.first() else { return false };
        if !self.seats.get(*first).is_some_and(|seat| matches!(seat.port, Port::Tcp(_))) {
            return false;
        }
        self.settle();
        self.runs += 1;
        for link in to {
            if let Some(seat) = self.seats.get(*link) {
                seat.run = self.runs;
            }
        }
        let one = (to.len() == 1).then_some(halves(*first));
        self.open = Some(OpenRun { op: self.batch.begin_run(to, frame), messages: 1, one });
        true
    }

    /// Ends the run that is open, and counts it against the room of its links: to be called before
    /// anybody looks at that, or takes the batch.
    pub fn settle(&mut self) {
        let Some(OpenRun { op, messages, .. }) = self.open.take() else { return };
        let Some(Op { what: What::Run(run), .. }) = self.batch.ops.get(op) else { return };
        let bytes = run.bytes();
        let counted = bytes.saturating_add(messages.saturating_mul(COUNTED_LARGER));
        for link in self.batch.links(*run) {
            let Some(seat) = self.seats.get(*link) else { continue };
            seat.queued = seat.queued.saturating_add(bytes);
            seat.left.messages = seat.left.messages.saturating_sub(counted);
            seat.left.direct = seat.left.direct.saturating_sub(counted);
            if !seat.touched {
                seat.touched = true;
                self.touched.push(*link);
            }
        }
    }

    /// A message for a link: counts it against its room.
    fn charge(&mut self, link: Link, frame: &[u8]) {
        let Some(seat) = self.seats.get(link) else { return };
        let bytes = frame.len() as u32;
        seat.queued = seat.queued.saturating_add(bytes);
        let counted = bytes.saturating_add(COUNTED_LARGER);
        seat.left.messages = seat.left.messages.saturating_sub(counted);
        let direct = match seat.port {
            Port::Client(place) => {
                self.queues.clients.get(place as usize).is_none_or(|c| c.is_direct(frame))
            }
            _ => true,
        };
        if direct {
            seat.left.direct = seat.left.direct.saturating_sub(counted);
        }
        if !seat.touched {
            seat.touched = true;
            self.touched.push(link);
        }
    }

    /// An answer for a link. It may be of a list, which has room of its own.
    fn charge_reply(&mut self, link: Link, bytes: usize) {
        let Some(seat) = self.seats.get(link) else { return };
        let counted = (bytes as u32).max(ROW);
        seat.queued_replies = seat.queued_replies.saturating_add(bytes as u32);
        seat.left.replies = seat.left.replies.saturating_sub(counted);
        if !seat.touched && !matches!(seat.port, Port::Tcp(_) | Port::Endpoint(_)) {
            seat.touched = true;
            self.touched.push(link);
        }
    }
}

impl Outbox for Out {
    fn open(&mut self, link: Link, endpoint: Link, address: i64) -> Option<Room> {
        let Port::Endpoint(at) = self.seats.get(endpoint)?.port else { return None };
        let (port, room) = self.queues.open(link, at, address)?;
        self.seats.put(link, port, room);
        Some(room)
    }

    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        if self.put_in_run(to, frame) {
            return;
        }
        let put = self.batch.put(frame);
        for link in to {
            self.push(*link, What::Deliver(put));
            self.charge(*link, frame);
        }
    }

    fn mail(&mut self, to: Link, frame: &[u8], mark: u32) {
        let put = self.batch.put(frame);
        self.push(to, What::Mail(put, mark));
        self.charge(to, frame);
    }

    fn reply(&mut self, to: Link, frame: &[u8]) {
        let put = self.batch.put(frame);
        self.push(to, What::Reply(put));
        self.charge_reply(to, frame.len());
    }

    fn part(&mut self, to: Link, frame: &[u8], last: bool) {
        let put = self.batch.put(frame);
        self.push(to, What::Part(put, last));
        self.charge_reply(to, frame.len());
    }

    fn promise(&mut self, to: Link, granted: &[u8], refused: &[u8]) {
        let bytes = granted.len();
        let (granted, refused) = (self.batch.put(granted), self.batch.put(refused));
        self.push(to, What::Promise(granted, refused));
        self.charge_reply(to, bytes);
    }

    fn logged_in(&mut self, to: Link, link: Link, log_in: u32) {
        self.push(to, What::LoggedIn(link, log_in));
    }

    fn ask(&mut self, token: Token, ask: Ask<'_>) {
        self.queues.asked(token);
        self.rooms.asks(token);
        self.asks.push(Question::new(token, ask));
    }

    fn turn_away(&mut self, _endpoint: Link, address: i64, frame: &[u8]) {
        self.queues.turn_away(address, frame);
    }

    fn take_back(&mut self, endpoint: Link, lane: i64, each: &mut dyn FnMut(&[u8]) -> bool) {
        let Some(Port::Endpoint(at)) = self.seats.get(endpoint).map(|seat| seat.port) else {
            return;
        };
        if let Some(endpoint) = self.queues.endpoints.get_mut(at as usize) {
            endpoint.take_back(lane, self.now, each);
        }
    }

    fn unread(&mut self, link: Link, each: &mut dyn FnMut(&[u8])) {
        let unread = match self.seats.get(link).map(|seat| seat.port) {
            Some(Port::Client(place)) => {
                self.queues.clients.get(place as usize).map(|client| client.drain())
            }
            Some(Port::Lane(at, user)) => self.queues.lanes(at).map(|lanes| lanes.drain(user)),
            _ => None,
        };
        for frame in unread.into_iter().flatten() {
            each(&frame);
        }
        // Then what was to follow. Mail is with the exchange all the same.
        self.withdraw(link, each);
    }

    fn gone(&mut self, link: Link) -> bool {
        match self.seats.get(link).map(|seat| seat.port) {
            Some(Port::Client(place)) => {
                self.queues.clients.get_mut(place as usize).is_none_or(|client| client.is_gone())
            }
            Some(Port::Lane(at, user)) => {
                self.queues.lanes(at).is_none_or(|lanes| lanes.is_gone(link, user))
            }
            _ => false,
        }
    }

    fn merge(&mut self, link: Link, into: Link) {
        self.rooms.merge(link, into);
        self.push(link, What::Merge(into));
    }

    fn close(&mut self, link: Link) {
        if let Some(Port::Client(place)) = self.seats.get(link).map(|seat| seat.port)
            && let Some(client) = self.queues.clients.get_mut(place as usize)
        {
            client.leaving = true;
        }
        self.push(link, What::Close);
    }

    fn may_shut_down(&mut self, link: Link) -> bool {
        let may = match self.seats.get(link).map(|seat| seat.port) {
            Some(Port::Endpoint(at)) => {
                self.queues.endpoints.get(at as usize).is_some_and(|endpoint| endpoint.shutdown)
            }
            Some(Port::Tcp(_)) => self.shutdown,
            _ => false,
        };
        if !may {
            self.counters.shutdowns_denied += 1;
            tracing::warn!("a client asked to end the server, which the configuration refuses");
        }
        may
    }

    fn shut_down(&mut self) {
        self.shut_down = true;
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Dropped(link) => tracing::debug!(?link, "dropped what is no request"),
            Note::NotKept { user, limit } => {
                warn_some!(self.not_kept, self.now, user, ?limit, "a message was not kept");
            }
            Note::Recalled { address } => {
                tracing::info!(address, "nobody fetched the answer to a log-in: taken back");
            }
        }
    }
}

#[cfg(test)]
mod tests;
