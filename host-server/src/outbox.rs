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
    /// The batch's [`Run`] of this place. Its links are its own.
    Run(u32),
    /// A message that the store has, and its mark.
    Mail(Frame, u32),
    /// An answer.
    Reply(Frame),
    /// A part of an answer, and whether it is the last one.
    Part(Frame, bool),
    /// An answer that waits for the commit, and what leaves if that fails.
    Promise(Frame, Frame),
    /// The link's clients are those of this other link.
    Merge(Link),
    /// The end of the link.
    Close,
    /// It went before the others.
    Done,
}

/// Messages that go to the same TCP connections, one behind the other: noted down once for all of
/// them, and written to each at once.
#[derive(Clone, Debug)]
pub struct Run {
    /// All their bytes.
    pub frame: Frame,
    /// Places among the batch's links. One that has had its messages is [`Link::NONE`].
    pub links: Range<u32>,
    /// Places among the batch's lengths.
    lengths: Range<u32>,
}

/// What one batch wants sent, in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order they came.
    pub ops: Vec<Op>,
    bytes: Vec<u8>,
    runs: Vec<Run>,
    /// Of all runs.
    links: Vec<Link>,
    /// Of each message of a run.
    lengths: Vec<u32>,
    /// Runs whose messages are counted against the room of their links. Those are not added to.
    charged: usize,
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

    /// The run of a place.
    pub fn run(&self, at: u32) -> Option<Run> {
        self.runs.get(at as usize).cloned()
    }

    /// A link of a run.
    pub fn link(&mut self, at: u32) -> Option<&mut Link> {
        self.links.get_mut(at as usize)
    }

    /// Adds a message to the last run, if that goes to the same links and nothing else came since.
    fn extend_run(&mut self, to: &[Link], frame: &[u8]) -> bool {
        if !matches!(self.ops.last(), Some(Op { what: What::Run(_), .. }))
            || self.charged == self.runs.len()
        {
            return false;
        }
        let Some(run) = self.runs.last_mut() else { return false };
        if self.links.get(run.links.start as usize..) != Some(to) {
            return false;
        }
        self.bytes.extend_from_slice(frame);
        self.lengths.push(frame.len() as u32);
        run.frame.len += frame.len() as u32;
        run.lengths.end += 1;
        true
    }

    /// Begins a run.
    fn begin_run(&mut self, to: &[Link], frame: &[u8]) {
        let (link, length) = (self.links.len() as u32, self.lengths.len() as u32);
        self.links.extend_from_slice(to);
        self.lengths.push(frame.len() as u32);
        let run = Run {
            frame: self.put(frame),
            links: link..self.links.len() as u32,
            lengths: length..length + 1,
        };
        self.ops.push(Op { link: Link::NONE, what: What::Run(self.runs.len() as u32) });
        self.runs.push(run);
    }

    /// Bytes that it holds.
    pub fn size(&self) -> usize {
        let noted = size_of_val(&self.ops[..]) + size_of_val(&self.runs[..]);
        self.bytes.len() + noted + size_of_val(&self.links[..]) + size_of_val(&self.lengths[..])
    }

    /// Forgets all, and most of the memory if it was much.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.ops.shrink_to(16 * 1024);
        self.bytes.clear();
        self.bytes.shrink_to(1024 * 1024);
        self.runs.clear();
        self.runs.shrink_to(4 * 1024);
        self.links.clear();
        self.links.shrink_to(16 * 1024);
        self.lengths.clear();
        self.lengths.shrink_to(16 * 1024);
        self.charged = 0;
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
            if let What::Run(at) = op.what
                && let Some(run) = self.runs.get(at as usize)
            {
                let links = self.links.get_mut(run.links.start as usize..run.links.end as usize);
                let own = links.and_then(|links| links.iter_mut().find(|own| **own == link));
                if let Some(own) = own {
                    *own = Link::NONE;
                    let lengths = run.lengths.start as usize..run.lengths.end as usize;
                    let mut at = run.frame.at as usize;
                    for len in self.lengths.get(lengths).unwrap_or(&[]) {
                        each(&bytes[at..at + *len as usize]);
                        at += *len as usize;
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
        self.batch.ops.push(Op { link, what });
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

    /// Counts the messages of runs against their links' rooms: once for all messages of a run.
    pub fn charge_runs(&mut self) {
        let Batch { runs, links, charged, .. } = &mut self.batch;
        for run in runs.get(*charged..).unwrap_or(&[]) {
            let bytes = run.frame.len;
            let counted = bytes.saturating_add(run.lengths.len() as u32 * COUNTED_LARGER);
            let links = links.get(run.links.start as usize..run.links.end as usize);
            for link in links.unwrap_or(&[]) {
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
        *charged = runs.len();
    }

    /// Whether links are TCP connections, all of them.
    fn are_connections(&mut self, links: &[Link]) -> bool {
        links
            .iter()
            .all(|link| self.seats.get(*link).is_some_and(|seat| matches!(seat.port, Port::Tcp(_))))
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
        if self.batch.extend_run(to, frame) {
            return;
        }
        if self.are_connections(to) {
            return self.batch.begin_run(to, frame);
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
mod tests {
    use super::*;
    use std::rc::Rc;

    use centrala_core::dialect::Dialect;
    use centrala_core::exchange::Exchange;

    use crate::config::Config;
    use crate::poll::Poll;
    use crate::tables::Memory;

    /// An outbox with the seats of so many connections.
    fn out(count: u32) -> (Out, Vec<Link>) {
        let config = Config::parse("[native]\n", "test").unwrap();
        let mut memory = Memory::new(&config);
        let mut exchange = Exchange::new(memory.lend(), config.exchange_limits());
        let mut out = Out::new(Queues::new(Rc::new(Poll::new().unwrap())));
        let mut link = |place| {
            let room = Room::of(10_000);
            let link = exchange.connect(Dialect::Native, room, 0).unwrap();
            out.seats.put(link, Port::Tcp(place), room);
            link
        };
        let links = (0..count).map(&mut link).collect();
        (out, links)
    }

    fn withdrawn(out: &mut Out, link: Link) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        assert_eq!(out.withdraw(link, &mut |frame| frames.push(frame.to_vec())), None);
        frames
    }

    #[test]
    fn messages_to_the_same_connections_are_one_run_until_something_else_comes() {
        let (mut out, links) = out(3);
        out.deliver(&links, b"one");
        out.deliver(&links, b"three");
        assert_eq!(out.batch.ops.len(), 1);
        let run = out.batch.run(0).unwrap();
        assert_eq!(out.batch.frame(run.frame), b"onethree");
        out.deliver(&links[..2], b"two");
        out.deliver(&links, b"all");
        out.reply(links[0], b"answer");
        out.deliver(&links, b"all");
        assert_eq!(out.batch.ops.len(), 5);
        // What is counted already is not added to.
        out.charge_runs();
        out.deliver(&links, b"more");
        assert_eq!(out.batch.ops.len(), 6);
    }

    #[test]
    fn each_message_of_a_run_is_counted_against_each_links_room_once() {
        let (mut out, links) = out(2);
        for _ in 0..3 {
            out.deliver(&links, b"12345");
        }
        out.charge_runs();
        out.charge_runs();
        for link in &links {
            let seat = out.seats.get(*link).unwrap();
            assert_eq!(seat.queued, 15);
            assert_eq!(seat.left.messages, 10_000 - 3 * (5 + COUNTED_LARGER));
        }
        assert_eq!(out.touched, links);
    }

    #[test]
    fn a_link_takes_its_messages_of_a_run_back_one_by_one_and_the_others_keep_theirs() {
        let (mut out, links) = out(3);
        out.deliver(&links, b"one");
        out.deliver(&links, b"");
        out.deliver(&links, b"three");
        assert_eq!(withdrawn(&mut out, links[1]), [&b"one"[..], b"", b"three"]);
        assert_eq!(withdrawn(&mut out, links[1]), Vec::<Vec<u8>>::new());
        // Not to be added to: one of its links has had it.
        out.deliver(&links, b"four");
        assert_eq!(out.batch.ops.len(), 2);
        assert_eq!(withdrawn(&mut out, links[2]), [&b"one"[..], b"", b"three", b"four"]);
    }
}
