//! What lines and connections have in common: the exchange, its outbox, and how much each link can
//! take.

use centrala_core::dialect::Dialect;
use centrala_core::dialect::direct;
use centrala_core::exchange::{Exchange, Gone, Link, Token};
use centrala_core::host::{Ask, Io, Outbox, Reply, Room, Store};

/// Bytes of an answer in `direct`; those of `native` are shorter, but for its welcome.
pub(crate) const ANSWER: usize = direct::HEADER + direct::code::TAKEN.len();

/// Milliseconds of silence after which a line's user may log in on another line.
pub const TAKE_OVER: u64 = 60_000;

/// Where bytes go and come from, by the number of the line or the connection.
pub trait Wires {
    /// The next byte that a line has brought. What connections bring is given to them.
    fn receive(&mut self, _line: usize) -> Option<u8> {
        None
    }
    /// Bytes that a line can take now.
    fn free(&self, line: usize) -> usize;
    /// Whether all that a line was given has left, and its peer has it, as far as that is known.
    fn is_empty(&self, line: usize) -> bool;
    /// Sends bytes, for which there is room.
    fn send(&mut self, line: usize, bytes: &[u8]);
}

/// What a call is lent.
pub struct Lent<'h> {
    /// Milliseconds since the start.
    pub now: u64,
    /// Where records go: durable when a write returns.
    pub store: &'h mut dyn Store,
    /// Where bytes go.
    pub wires: &'h mut dyn Wires,
}

impl core::fmt::Debug for Lent<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lent").field("now", &self.now).finish_non_exhaustive()
    }
}

/// What is known of a link.
#[derive(Clone, Copy, Debug)]
struct Port {
    link: Link,
    /// Its client says itself that it has its mail.
    acknowledges: bool,
    /// Of the last mail that was sent and has not left.
    mark: Option<u32>,
    /// The room that was told last, if nothing was sent since.
    told: Option<usize>,
    /// The exchange closed the link.
    closed: bool,
    /// An answer did not fit.
    overrun: bool,
    /// The link has ended, and its owner does not know yet.
    ended: bool,
}

impl Port {
    const NEW: Port = Port {
        link: Link::NONE,
        acknowledges: false,
        mark: None,
        told: None,
        closed: false,
        overrun: false,
        ended: false,
    };
}

/// The outbox of one call.
struct Desk<'d> {
    ports: &'d mut [Port],
    wires: &'d mut dyn Wires,
    heard: &'d [u64],
    now: u64,
    /// The answer to a question: at most one is open for each link, and one call is about one link.
    asked: Option<(Token, Reply)>,
}

impl Desk<'_> {
    fn give(&mut self, to: Link, frame: &[u8], mark: Option<u32>) {
        let found = self.ports.iter_mut().enumerate().find(|(_, port)| port.link == to);
        let Some((number, port)) = found else { return };
        if self.wires.free(number) < frame.len() {
            port.overrun = true;
        }
        if port.overrun {
            return;
        }
        self.wires.send(number, frame);
        port.told = None;
        if !port.acknowledges {
            port.mark = mark.or(port.mark);
        }
    }
}

impl Outbox for Desk<'_> {
    fn open(&mut self, _link: Link, _endpoint: Link, _address: i64) -> Option<Room> {
        None
    }
    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        for link in to {
            self.give(*link, frame, None);
        }
    }
    fn mail(&mut self, to: Link, frame: &[u8], mark: u32) {
        self.give(to, frame, Some(mark));
    }
    fn reply(&mut self, to: Link, frame: &[u8]) {
        self.give(to, frame, None);
    }
    fn promise(&mut self, to: Link, granted: &[u8], _refused: &[u8]) {
        // What is written to the store is durable by now.
        self.give(to, granted, None);
    }
    fn ask(&mut self, token: Token, ask: Ask<'_>) {
        let reply = match ask {
            // No passwords are kept here: nobody's is right, and there is no room for one.
            Ask::Prepare { .. } => Reply::Prepared(false),
            // Mail is asked for only of a store that has pages.
            Ask::Verify { .. } | Ask::Mail { .. } => Reply::Verified(false),
            Ask::History { .. } | Ask::Chats { .. } | Ask::Message { .. } => Reply::NotKept,
        };
        self.asked = Some((token, reply));
    }
    fn turn_away(&mut self, _endpoint: Link, _address: i64, _frame: &[u8]) {}
    fn take_back(&mut self, _: Link, _: i64, _: &mut dyn FnMut(&[u8]) -> bool) {}
    fn unread(&mut self, _link: Link, _each: &mut dyn FnMut(&[u8])) {}
    fn gone(&mut self, link: Link) -> bool {
        let mut ports = self.ports.iter().zip(self.heard);
        let heard = ports.find(|(port, _)| port.link == link).map(|(_, heard)| *heard);
        heard.is_some_and(|heard| self.now.saturating_sub(heard) >= TAKE_OVER)
    }
    fn close(&mut self, link: Link) {
        if let Some(port) = self.ports.iter_mut().find(|port| port.link == link) {
            port.closed = true;
        }
    }
    fn may_shut_down(&mut self, _link: Link) -> bool {
        false
    }
    fn shut_down(&mut self) {}
}

/// An exchange with `LINKS` places for links, each of which keeps `RESERVE` bytes of its room for
/// answers. A link must have room for the longest frame beside that.
#[derive(Debug)]
pub(crate) struct Office<'l, 'a, const LINKS: usize, const RESERVE: usize> {
    pub(crate) exchange: &'l mut Exchange<'a>,
    ports: [Port; LINKS],
    /// When each line was heard last; of a line that was not, and of a connection, never.
    pub(crate) heard: [u64; LINKS],
    /// Users up to this number have been put into the common group.
    members: u32,
}

impl<'l, 'a, const LINKS: usize, const RESERVE: usize> Office<'l, 'a, LINKS, RESERVE> {
    /// Makes the common group, number 1; a store may have brought it back already, and users. The
    /// newest of them may not have become a member before the power was cut; of the others those
    /// who are none have left.
    pub(crate) fn new(
        exchange: &'l mut Exchange<'a>,
        common: &[u8],
        store: &mut dyn Store,
    ) -> Self {
        let _ = exchange.create_group(common, 0, store);
        let newest = exchange.users().map(|user| user.number).max().unwrap_or(0);
        let whole = exchange.members(1).any(|user| user.number == newest);
        let members = if whole { newest } else { newest.saturating_sub(1) };
        Office { exchange, ports: [Port::NEW; LINKS], heard: [u64::MAX; LINKS], members }
    }

    pub(crate) fn link(&self, number: usize) -> Link {
        self.ports.get(number).map_or(Link::NONE, |port| port.link)
    }

    /// The number of the user that is bound; 0 for nobody.
    pub(crate) fn user(&self, number: usize) -> u32 {
        self.exchange.user_of(self.link(number)).map_or(0, |user| user.number)
    }

    /// Whether a link's room is large enough for the answers to what is received next.
    pub(crate) fn answerable(number: usize, wires: &dyn Wires) -> bool {
        wires.free(number) >= RESERVE / 2
    }

    /// Whether the link has ended since this was asked last.
    pub(crate) fn take_ended(&mut self, number: usize) -> bool {
        self.ports.get_mut(number).is_some_and(|port| core::mem::take(&mut port.ended))
    }

    /// Opens a link. `false`: there is no session for it.
    pub(crate) fn connect(&mut self, number: usize, dialect: Dialect, lent: &Lent<'_>) -> bool {
        let room = Room::of(lent.wires.free(number).saturating_sub(RESERVE) as u32);
        let link = self.exchange.connect(dialect, room, lent.now);
        if let (Ok(link), Some(port)) = (link, self.ports.get_mut(number)) {
            let acknowledges = dialect != Dialect::Direct;
            *port = Port { link, acknowledges, ..Port::NEW };
        }
        link.is_ok()
    }

    /// Ends a link, whose owner knows.
    pub(crate) fn disconnect(&mut self, number: usize, lent: &mut Lent<'_>) {
        let link = self.link(number);
        if let Some(port) = self.ports.get_mut(number) {
            *port = Port::NEW;
        }
        if !link.is_none() {
            self.call(lent, |exchange, io| exchange.disconnect(link, io));
        }
    }

    /// Gives the exchange bytes of a link. Returns how many it used.
    pub(crate) fn receive(
        &mut self,
        number: usize,
        bytes: &[u8],
        lent: &mut Lent<'_>,
    ) -> Result<usize, Gone> {
        let link = self.link(number);
        let used = self.call(lent, |exchange, io| exchange.receive(link, bytes, io));
        self.admit(lent);
        used
    }

    /// Does what the exchange's timers ask for.
    pub(crate) fn handle_timeout(&mut self, lent: &mut Lent<'_>) {
        if self.exchange.poll_timeout().is_some_and(|due| due <= lent.now) {
            self.call(lent, |exchange, io| exchange.handle_timeout(io));
        }
    }

    /// Tells the exchange what a link has taken, and what it can take.
    pub(crate) fn refill(&mut self, number: usize, lent: &mut Lent<'_>) {
        let (free, empty) = (lent.wires.free(number), lent.wires.is_empty(number));
        let Some(port) = self.ports.get_mut(number) else { return };
        let link = port.link;
        if link.is_none() {
            return;
        }
        if let Some(mark) = port.mark.take_if(|_| empty) {
            self.call(lent, |exchange, io| exchange.taken(link, mark, io));
        }
        let room = free.saturating_sub(RESERVE);
        let Some(port) = self.ports.get_mut(number).filter(|port| port.link == link) else {
            return;
        };
        if port.told != Some(room) {
            port.told = Some(room);
            self.call(lent, |exchange, io| exchange.room(link, Room::of(room as u32), io));
        }
    }

    /// One call of the exchange, and what follows from it.
    fn call<T>(
        &mut self,
        lent: &mut Lent<'_>,
        call: impl FnOnce(&mut Exchange<'a>, &mut Io<'_>) -> T,
    ) -> T {
        let (called, asked) = self.with(lent, call);
        self.follow(asked, lent);
        called
    }

    /// Answers a question, and ends what the exchange has closed and what an answer did not fit.
    #[inline(never)]
    fn follow(&mut self, asked: Option<(Token, Reply)>, lent: &mut Lent<'_>) {
        if let Some((token, reply)) = asked {
            let _ = self.with(lent, |exchange, io| exchange.answer_question(token, reply, io));
        }
        for number in 0..LINKS {
            let Some(port) = self.ports.get_mut(number) else { break };
            let Port { link, closed, overrun, .. } = *port;
            if !closed && !overrun {
                continue;
            }
            *port = Port { ended: true, ..Port::NEW };
            if !closed {
                self.with(lent, |exchange, io| exchange.disconnect(link, io));
            }
        }
    }

    fn with<T>(
        &mut self,
        lent: &mut Lent<'_>,
        call: impl FnOnce(&mut Exchange<'a>, &mut Io<'_>) -> T,
    ) -> (T, Option<(Token, Reply)>) {
        let (now, store) = (lent.now, &mut *lent.store);
        let (ports, heard) = (&mut self.ports, &self.heard);
        let mut desk = Desk { ports, heard, wires: &mut *lent.wires, now, asked: None };
        let called = call(self.exchange, &mut Io { now, time: now, store, out: &mut desk });
        (called, desk.asked)
    }

    /// Puts new users into the common group.
    fn admit(&mut self, lent: &mut Lent<'_>) {
        loop {
            let next = self.exchange.users().map(|user| user.number).find(|n| *n > self.members);
            let Some(next) = next else { return };
            self.members = next;
            // Without room for a membership it is a user without one.
            let _ = self.exchange.join(next, 1, -1, lent.store);
        }
    }
}
