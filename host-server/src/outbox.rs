//! Where the exchange puts what it wants sent, until the batch is applied.
//!
//! The exchange's calls only note down what is to go where ([`Op`]), in the order they come; the
//! loop lets it out afterwards ([`crate::server`]), some of it only when a commit is over. Two calls must act at once, as they are answered:
//! [`open`](centrala_core::host::Outbox::open) looks for a client's queue, and `take_back` takes
//! messages out of the server's.

use std::collections::VecDeque;
use std::ops::Range;

use centrala_core::exchange::{Link, Token};
use centrala_core::host::{Ask, Note, Outbox, Room};
use centrala_core::name::NAME_LENGTH;
use centrala_core::request::Chat;

use crate::counters::Counters;
use crate::notes::Throttle;
use crate::rooms::links::Links;
use crate::sysv::Queues;
use crate::warn_some;

/// What a link is, for the host. The numbers are places in tables of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// A TCP connection.
    Tcp(u32),
    /// A client's queue.
    Client(u32),
    /// A queue of the server's own.
    Endpoint(u32),
    /// A user's lane in such a queue: the endpoint, and the user.
    Lane(u32, u32),
    /// Sockets of `rooms`.
    Rooms,
}

/// What the host knows of a link.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The link.
    pub link: Link,
    /// What it is.
    pub port: Port,
    /// Bytes of messages noted down and not let out yet.
    pub queued: u32,
    /// Bytes of answers likewise.
    pub queued_replies: u32,
    /// What of the room that the exchange was told of is left at least.
    pub left: Room,
    /// The time the batches were gone through in which a promise on this link was held back.
    pub held: u64,
    /// Noted down as having been given messages.
    pub touched: bool,
    /// The run that was begun last with this link in it.
    run: u64,
    /// When it is looked at next, if it has to be.
    pub due: Option<u64>,
    /// Milliseconds from one such look to the next.
    pub backoff: u64,
}

/// The seats, by the place of the link in the exchange's table.
#[derive(Debug, Default)]
pub struct Seats {
    by_place: Vec<Option<Seat>>,
    /// Links that are over, and have something to be let out, while their place is taken again.
    former: Vec<Seat>,
}

impl Seats {
    /// The seat of a link.
    pub fn get(&mut self, link: Link) -> Option<&mut Seat> {
        match self.by_place.get_mut(link.index()) {
            Some(Some(seat)) if seat.link == link => Some(seat),
            _ => self.former.iter_mut().find(|seat| seat.link == link),
        }
    }

    /// A seat for a new link.
    pub fn put(&mut self, link: Link, port: Port, room: Room) {
        let place = link.index();
        if self.by_place.len() <= place {
            self.by_place.resize_with(place + 1, || None);
        }
        let seat = Seat {
            link,
            port,
            queued: 0,
            queued_replies: 0,
            left: room,
            held: 0,
            touched: false,
            run: 0,
            due: None,
            backoff: 0,
        };
        if let Some(former) = self.by_place[place].replace(seat) {
            self.former.push(former);
        }
    }

    /// The link is over, and all it had is let out.
    pub fn remove(&mut self, link: Link) {
        match self.by_place.get_mut(link.index()) {
            Some(place) if place.as_ref().is_some_and(|seat| seat.link == link) => *place = None,
            _ => self.former.retain(|seat| seat.link != link),
        }
    }
}

/// Bytes in the batch's arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    at: u32,
    len: u32,
}

/// One thing to let out.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// Where.
    pub link: Link,
    /// What.
    pub what: What,
}

/// What to let out. The words are the outbox's.
#[derive(Clone, Copy, Debug)]
pub enum What {
    /// A message.
    Deliver(Frame),
    /// Messages for several connections.
    Run(Run),
    /// A message that the store has, and its mark.
    Mail(Frame, u32),
    /// An answer.
    Reply(Frame),
    /// A part of an answer, and whether it is the last one.
    Part(Frame, bool),
    /// An answer that waits for the commit, and what leaves if that fails.
    Promise(Frame, Frame),
    /// The promise before it says that this link is logged in, by the log-in of this number.
    LoggedIn(Link, u32),
    /// The link's clients are those of this other link.
    Merge(Link),
    /// The end of the link.
    Close,
    /// It went before the others.
    Done,
}

/// Messages one after another, for the same connections: as one publisher sends many to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    frames: Frame,
    links: Frame,
    lengths: Frame,
}

impl Run {
    /// Bytes for each connection.
    pub fn bytes(self) -> u32 {
        self.frames.len
    }
}

/// What one batch wants sent, in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order they came.
    pub ops: Vec<Op>,
    bytes: Vec<u8>,
    /// Of all runs, without gaps.
    run_bytes: Vec<u8>,
    run_links: Vec<Link>,
    /// Of each message of a run.
    run_lengths: Vec<u32>,
    /// The commits, by number, that its promises wait for: the first one to be over when it was
    /// made, and the last.
    pub commits: (u64, u64),
    /// The commit that all of it waits for, as it could tell of a change of the directory.
    pub hidden: u64,
    /// One of its commits failed: its promises leave as they were refused.
    pub refused: bool,
}

impl Batch {
    /// The bytes of a frame.
    pub fn frame(&self, frame: Frame) -> &[u8] {
        &self.bytes[Range::from(frame)]
    }

    /// Puts bytes into the arena. They begin on 8 bytes, as the kernel likes a queue's messages.
    fn put(&mut self, bytes: &[u8]) -> Frame {
        let at = self.bytes.len().next_multiple_of(8);
        self.bytes.resize(at, 0);
        self.bytes.extend_from_slice(bytes);
        Frame { at: at as u32, len: bytes.len() as u32 }
    }

    /// The messages of a run.
    pub fn run(&self, run: Run) -> &[u8] {
        &self.run_bytes[Range::from(run.frames)]
    }

    /// The connections of a run.
    pub fn links(&self, run: Run) -> &[Link] {
        &self.run_links[Range::from(run.links)]
    }

    /// A link of a run, by its place, and the run's messages.
    pub fn of_run(&self, run: Run, n: usize) -> Option<(Link, &[u8])> {
        Some((*self.links(run).get(n)?, self.run(run)))
    }

    /// Leaves a run, at its place, for these of its links: the first `kept`, put there with
    /// [`Batch::keep_in_run`]. Without any it is done.
    pub fn leave_run(&mut self, i: usize, run: Run, kept: usize) {
        let links = Frame { len: kept as u32, ..run.links };
        self.ops[i].what = match kept {
            0 => What::Done,
            _ => What::Run(Run { links, ..run }),
        };
    }

    /// Puts a link of a run to one of the places before its own.
    pub fn keep_in_run(&mut self, run: Run, at: usize, link: Link) {
        self.run_links[run.links.at as usize + at] = link;
    }

    /// Bytes that it holds.
    pub fn size(&self) -> usize {
        let (links, ops) = (size_of::<Link>(), size_of::<Op>());
        let runs = self.run_bytes.len() + self.run_links.len() * links;
        self.bytes.len() + runs + self.ops.len() * ops
    }

    /// Forgets all, and most of the memory if it was much.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.ops.shrink_to(16 * 1024);
        self.bytes.clear();
        self.bytes.shrink_to(256 * 1024);
        self.run_bytes.clear();
        self.run_bytes.shrink_to(256 * 1024);
        self.run_links.clear();
        self.run_links.shrink_to(16 * 1024);
        self.run_lengths.clear();
        self.run_lengths.shrink_to(16 * 1024);
        (self.commits, self.hidden, self.refused) = ((0, 0), 0, false);
    }

    /// Takes out the messages for a link from a place on, oldest first, and what is behind them for
    /// it that the store has. Returns the first mark among the latter.
    pub fn withdraw(
        &mut self,
        link: Link,
        from: usize,
        each: &mut dyn FnMut(&[u8]),
    ) -> Option<u32> {
        let (mut mail, bytes) = (None, &self.bytes);
        for op in self.ops.iter_mut().skip(from) {
            if let What::Run(run) = op.what {
                let links = &mut self.run_links[Range::from(run.links)];
                if let Some(own) = links.iter_mut().find(|own| **own == link) {
                    // It is left out from now on; the others keep theirs.
                    *own = Link::NONE;
                    let mut rest = &self.run_bytes[Range::from(run.frames)];
                    for len in &self.run_lengths[Range::from(run.lengths)] {
                        let (frame, behind) = rest.split_at(*len as usize);
                        each(frame);
                        rest = behind;
                    }
                }
                continue;
            }
            if op.link != link {
                continue;
            }
            match op.what {
                What::Deliver(frame) => each(&bytes[Range::from(frame)]),
                What::Mail(_, mark) => mail = mail.or(Some(mark)),
                _ => continue,
            }
            op.what = What::Done;
        }
        mail
    }
}

impl From<Frame> for Range<usize> {
    fn from(frame: Frame) -> Range<usize> {
        frame.at as usize..frame.at as usize + frame.len as usize
    }
}

/// A question of the exchange.
#[derive(Clone, Debug)]
pub enum Question {
    /// Is this the user's password?
    Verify {
        /// Names the question.
        token: Token,
        /// User number; `None` if there is no such user.
        user: Option<u32>,
        /// As it came.
        password: Box<[u8]>,
    },
    /// What is to be kept of this password?
    Prepare {
        /// Names the question.
        token: Token,
        /// As it came.
        password: Box<[u8]>,
    },
    /// What comes next of a user's mail?
    Mail(MailAsked),
    /// [`Ask::History`].
    History { token: Token, user: u32, chat: Chat, before: Option<u64>, limit: u32 },
    /// [`Ask::Chats`].
    Chats { token: Token, user: u32 },
    /// [`Ask::Message`].
    Message { token: Token, sequence: u64 },
}

/// A question for a page of mail.
#[derive(Clone, Copy, Debug)]
pub struct MailAsked {
    /// Names the question.
    pub token: Token,
    /// User number.
    pub user: u32,
    /// Priority and sequence: mail behind this.
    pub after: (u8, u64),
    /// At most so many.
    pub limit: u32,
}

/// By how much the exchange may count a message larger than its frame is: a dialect's room for the
/// longest names, of which `lanes` may write two, and `native`'s for the largest numbers too.
const COUNTED_LARGER: u32 = {
    let lanes = 2 * (NAME_LENGTH as u32 + 2);
    let native = centrala_core::dialect::native::OVERHEAD as u32;
    if lanes > native { lanes } else { native }
};

/// The exchange counts a row of a list as so much at least.
const ROW: u32 = 64;

/// A run that may get longer: its place among the operations, and how many messages it has.
#[derive(Clone, Copy, Debug)]
struct OpenRun {
    op: usize,
    messages: u32,
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

    /// Puts a message into a run. `false`: it is for one link, or not for connections.
    fn put_in_run(&mut self, to: &[Link], frame: &[u8]) -> bool {
        let (Some(first), true) = (to.first(), to.len() > 1) else { return false };
        let bytes = frame.len() as u32;
        if let Some(open) = &mut self.open
            && let Some(Op { what: What::Run(run), .. }) = self.batch.ops.get_mut(open.op)
            && self.batch.run_links[Range::from(run.links)] == *to
        {
            self.batch.run_bytes.extend_from_slice(frame);
            run.frames.len += bytes;
            self.batch.run_lengths.push(bytes);
            run.lengths.len += 1;
            open.messages += 1;
            return true;
        }
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
        let Batch { ops, run_bytes, run_links, run_lengths, .. } = &mut self.batch;
        let run = Run {
            frames: Frame { at: run_bytes.len() as u32, len: bytes },
            links: Frame { at: run_links.len() as u32, len: to.len() as u32 },
            lengths: Frame { at: run_lengths.len() as u32, len: 1 },
        };
        run_lengths.push(bytes);
        run_bytes.extend_from_slice(frame);
        run_links.extend_from_slice(to);
        self.open = Some(OpenRun { op: ops.len(), messages: 1 });
        ops.push(Op { link: Link::NONE, what: What::Run(run) });
        true
    }

    /// Ends the run that is open, and counts it against the room of its links: to be called before
    /// anybody looks at that, or takes the batch.
    pub fn settle(&mut self) {
        let Some(OpenRun { op, messages }) = self.open.take() else { return };
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
        self.asks.push(match ask {
            Ask::Verify { user, password } => {
                Question::Verify { token, user, password: password.into() }
            }
            Ask::Prepare { password } => Question::Prepare { token, password: password.into() },
            Ask::Mail { user, after, limit } => {
                Question::Mail(MailAsked { token, user, after, limit })
            }
            Ask::History { user, chat, before, limit } => {
                Question::History { token, user, chat, before, limit }
            }
            Ask::Chats { user } => Question::Chats { token, user },
            Ask::Message { sequence } => Question::Message { token, sequence },
        });
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
