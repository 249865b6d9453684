//! The loop around the exchange, for lines that have no connections.
//!
//! 1. [`Lines::receive`] bytes of a line, as many as [`Lines::space`] says.
//! 2. [`Lines::turn`] when anything was received or sent, and when [`Lines::poll_timeout`] is due.
//! 3. Sleep until the next interrupt.
//!
//! **A session** of a line begins with the first frame that binds it and ends where
//! [`framing`](crate::framing) says so; nothing else tells that a client has left. So a user whose
//! session is on another line that said nothing for [`TAKE_OVER`] is logged out there when it
//! logs in here; before that it is in use (`409`).
//!
//! **Room.** A line takes what its [`Wires`] have room for, but for a reserve for answers
//! ([`RESERVE`]); what does not fit waits in the exchange. A line whose answers leave no more than
//! half of that is not read. One for which an answer does not fit at all is given up: its session
//! ends, and what it had not confirmed is offline mail.
//!
//! **Mail** counts as taken when its last byte has left.
//!
//! **The common group** is number 1, made at the start; whoever is new becomes a member of it:
//! `direct` has no word for joining.

use centrala_core::dialect::Dialect;
use centrala_core::dialect::direct::{self, Frame, Look};
use centrala_core::exchange::{Exchange, Link, Token};
use centrala_core::host::{Ask, Io, Outbox, Reply, Room, Store};

use crate::framing::{Framing, Next};

/// Milliseconds of silence after which a line's user may log in on another line.
pub const TAKE_OVER: u64 = 60_000;
/// Bytes of each line's room that are kept for answers: four of them. A line must have room for
/// the longest frame beside that.
pub const RESERVE: usize = 4 * ANSWER;
/// Bytes of an answer in `direct`.
const ANSWER: usize = direct::HEADER + direct::code::TAKEN.len();

/// Where the lines' bytes go.
pub trait Wires {
    /// Bytes that a line can take now.
    fn free(&self, line: usize) -> usize;
    /// Whether all that a line was given has left.
    fn is_empty(&self, line: usize) -> bool;
    /// Sends bytes, for which there is room.
    fn send(&mut self, line: usize, bytes: &[u8]);
}

/// One line.
#[derive(Clone, Copy, Debug)]
struct Line {
    framing: Framing,
    /// Bytes in its buffer that were not used yet.
    len: usize,
    port: Port,
}

/// What the outbox knows of a line.
#[derive(Clone, Copy, Debug)]
struct Port {
    link: Link,
    /// Of the last mail that was sent and has not left.
    mark: Option<u32>,
    /// The room that was told last, if nothing was sent since.
    told: Option<usize>,
    /// The exchange closed the link.
    closed: bool,
    /// An answer did not fit.
    overrun: bool,
}

impl Port {
    const NEW: Port =
        Port { link: Link::NONE, mark: None, told: None, closed: false, overrun: false };
}

/// An exchange and its lines: `LINES` of them, with frames of up to `INPUT` bytes
/// ([`Framing::buffer`]).
#[derive(Debug)]
pub struct Lines<'l, 'a, const LINES: usize, const INPUT: usize> {
    exchange: &'l mut Exchange<'a>,
    lines: [Line; LINES],
    inputs: &'l mut [[u8; INPUT]; LINES],
    /// Users up to this number have been put into the common group.
    members: u32,
    /// Bytes that were dropped as noise.
    noise: u32,
}

/// The outbox of one call.
struct Desk<'d> {
    lines: &'d mut [Line],
    wires: &'d mut dyn Wires,
    asked: Option<Token>,
}

impl Desk<'_> {
    fn give(&mut self, to: Link, frame: &[u8], mark: Option<u32>) {
        let found = self.lines.iter_mut().enumerate().find(|(_, line)| line.port.link == to);
        let Some((number, line)) = found else { return };
        if self.wires.free(number) < frame.len() {
            line.port.overrun = true;
        }
        if line.port.overrun {
            return;
        }
        self.wires.send(number, frame);
        line.port.told = None;
        line.port.mark = mark.or(line.port.mark);
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
    fn ask(&mut self, token: Token, _ask: Ask<'_>) {
        // At most one is open for each link, and one call is about one line.
        self.asked = Some(token);
    }
    fn turn_away(&mut self, _endpoint: Link, _address: i64, _frame: &[u8]) {}
    fn take_back(&mut self, _: Link, _: i64, _: &mut dyn FnMut(&[u8]) -> bool) {}
    fn unread(&mut self, _link: Link, _each: &mut dyn FnMut(&[u8])) {}
    fn gone(&mut self, _link: Link) -> bool {
        false
    }
    fn close(&mut self, link: Link) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.port.link == link) {
            line.port.closed = true;
        }
    }
    fn shut_down(&mut self) {}
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

impl<'l, 'a, const LINES: usize, const INPUT: usize> Lines<'l, 'a, LINES, INPUT> {
    /// Lines around an exchange, whose texts are no longer than `INPUT` allows, with a common
    /// group of this name. The buffers are lent, as the tables are.
    pub fn new(
        exchange: &'l mut Exchange<'a>,
        inputs: &'l mut [[u8; INPUT]; LINES],
        common: &[u8],
        store: &mut dyn Store,
    ) -> Self {
        const { assert!(INPUT >= direct::HEADER) };
        // A store may have brought it back already.
        let _ = exchange.create_group(common, 0, store);
        let text = exchange.limits().message_length.min(INPUT.saturating_sub(direct::HEADER));
        let line = Line { framing: Framing::new(text), len: 0, port: Port::NEW };
        Lines { exchange, lines: [line; LINES], inputs, members: 0, noise: 0 }
    }

    /// The exchange.
    pub fn exchange(&self) -> &Exchange<'a> {
        self.exchange
    }

    /// The number of the user that is bound on a line; 0 for nobody.
    pub fn user(&self, line: usize) -> u32 {
        let link = self.lines.get(line).map_or(Link::NONE, |line| line.port.link);
        self.exchange.user_of(link).map_or(0, |user| user.number)
    }

    /// Bytes that were dropped as noise.
    pub fn noise(&self) -> u32 {
        self.noise
    }

    /// How many bytes of a line can be received now.
    pub fn space(&self, line: usize, wires: &dyn Wires) -> usize {
        let Some(of) = self.lines.get(line) else { return 0 };
        match wires.free(line) < RESERVE / 2 {
            true => 0,
            false => INPUT.saturating_sub(of.len),
        }
    }

    /// Takes bytes that arrived on a line; those beyond [`Lines::space`] are lost.
    pub fn receive(&mut self, line: usize, bytes: &[u8], lent: &mut Lent<'_>) {
        let Some(of) = self.lines.get_mut(line).filter(|_| !bytes.is_empty()) else { return };
        of.framing.heard(lent.now);
        let input = self.inputs.get_mut(line);
        if let Some(place) = input.and_then(|input| input.get_mut(of.len..)) {
            for (place, byte) in place.iter_mut().zip(bytes) {
                *place = *byte;
                of.len = of.len.wrapping_add(1);
            }
        }
        self.work(line, lent);
    }

    /// Does what is due: frames that are whole, timers, and what has room again.
    pub fn turn(&mut self, lent: &mut Lent<'_>) {
        for number in 0..LINES {
            self.line_timeout(number, lent);
            self.work(number, lent);
            self.refill(number, lent);
        }
        if self.exchange.poll_timeout().is_some_and(|due| due <= lent.now) {
            self.with(lent, |exchange, io| exchange.handle_timeout(io));
            self.settle(lent);
        }
    }

    /// When [`Lines::turn`] has something to do, if nothing is received or sent before that.
    pub fn poll_timeout(&self) -> Option<u64> {
        let lines = self.lines.iter().filter_map(|line| line.framing.poll_timeout(line.len));
        lines.chain(self.exchange.poll_timeout()).min()
    }

    /// Lends the exchange what it needs for one call.
    fn with<T>(
        &mut self,
        lent: &mut Lent<'_>,
        call: impl FnOnce(&mut Exchange<'a>, &mut Io<'_>) -> T,
    ) -> T {
        let mut desk = Desk { lines: &mut self.lines, wires: &mut *lent.wires, asked: None };
        let (now, store) = (lent.now, &mut *lent.store);
        call(self.exchange, &mut Io { now, time: now, store, out: &mut desk })
    }

    /// Ends the sessions that the exchange closed, or whose line was given up.
    fn settle(&mut self, lent: &mut Lent<'_>) {
        for number in 0..LINES {
            let Some(line) = self.lines.get_mut(number) else { return };
            let Port { link, closed, overrun, .. } = line.port;
            if !closed && !overrun {
                continue;
            }
            line.framing.closed();
            line.port = Port::NEW;
            if !closed {
                self.with(lent, |exchange, io| exchange.disconnect(link, io));
            }
        }
    }

    /// Uses the frames that are whole.
    fn work(&mut self, number: usize, lent: &mut Lent<'_>) {
        loop {
            // An answer to it must have room.
            let answerable = lent.wires.free(number) >= RESERVE / 2;
            let Some(line) = self.lines.get_mut(number).filter(|_| answerable) else { return };
            let Some(input) = self.inputs.get(number) else { return };
            let next = line.framing.next(input.get(..line.len).unwrap_or(&[]));
            let used = match next {
                Next::Wait => return,
                Next::Drop(some) => {
                    self.noise = self.noise.wrapping_add(some as u32);
                    some
                }
                Next::Give(some) => {
                    self.give(number, some, lent);
                    some
                }
                Next::Renew(some) => {
                    self.leave(number, lent);
                    self.give(number, some, lent);
                    some
                }
            };
            let (Some(line), Some(input)) =
                (self.lines.get_mut(number), self.inputs.get_mut(number))
            else {
                return;
            };
            let rest = used.min(line.len)..line.len;
            line.len = rest.len();
            for (to, from) in rest.enumerate() {
                if let Some(byte) = input.get(from).copied()
                    && let Some(place) = input.get_mut(to)
                {
                    *place = byte;
                }
            }
        }
    }

    /// Gives the exchange the first bytes of a line.
    fn give(&mut self, number: usize, some: usize, lent: &mut Lent<'_>) {
        let Some(link) = self.link(number, some, lent) else { return };
        let mut desk = Desk { lines: &mut self.lines, wires: &mut *lent.wires, asked: None };
        let frame = self.inputs.get(number).and_then(|input| input.get(..some)).unwrap_or(&[]);
        let (now, store) = (lent.now, &mut *lent.store);
        // A frame is used whole: no question stays open.
        let mut io = Io { now, time: now, store, out: &mut desk };
        let _ = self.exchange.receive(link, frame, &mut io);
        if let Some(token) = desk.asked {
            // No passwords are kept here: nobody's is right.
            self.with(lent, |exchange, io| {
                let _ = exchange.answer_question(token, Reply::Verified(false), io);
            });
        }
        self.settle(lent);
        let bound = self.exchange.user_of(link).is_some();
        if let Some(line) = self.lines.get_mut(number).filter(|line| line.port.link == link) {
            line.framing.bind(bound);
        }
        self.admit(lent);
    }

    /// The link of a line, opened if there is none. A frame that is going to bind it ends the
    /// session that its sender left behind on another line.
    fn link(&mut self, number: usize, some: usize, lent: &mut Lent<'_>) -> Option<Link> {
        let line = self.lines.get(number)?;
        let link = line.port.link;
        if !link.is_none() && self.exchange.user_of(link).is_some() {
            return Some(link);
        }
        if let Look::Frame(frame, _) = Frame::look(self.inputs.get(number)?.get(..some)?)
            && let Some(user) = self.exchange.find_user(direct::user(frame.source()))
        {
            let user = user.number;
            let left = |line: &Line| {
                let there = self.exchange.user_of(line.port.link);
                there.is_some_and(|there| there.number == user)
                    && line.framing.silent(lent.now, TAKE_OVER)
            };
            if let Some(other) = self.lines.iter().position(left) {
                self.leave(other, lent);
            }
        }
        if !link.is_none() {
            return Some(link);
        }
        let room = Room::of(lent.wires.free(number).saturating_sub(RESERVE) as u32);
        // There is a session for each line.
        let link = self.exchange.connect(Dialect::Direct, room, lent.now).ok()?;
        let line = self.lines.get_mut(number)?;
        line.port = Port { link, ..Port::NEW };
        Some(link)
    }

    /// Ends the session of a line.
    fn leave(&mut self, number: usize, lent: &mut Lent<'_>) {
        let Some(line) = self.lines.get_mut(number) else { return };
        let link = line.port.link;
        line.port = Port::NEW;
        line.framing.bind(false);
        if !link.is_none() {
            self.with(lent, |exchange, io| exchange.disconnect(link, io));
            self.settle(lent);
        }
    }

    /// Ends the wait for the rest of a frame, or a hunt.
    fn line_timeout(&mut self, number: usize, lent: &mut Lent<'_>) {
        let Some(line) = self.lines.get_mut(number) else { return };
        let Some(mut rest) = line.framing.handle_timeout(lent.now, line.len) else { return };
        self.noise = self.noise.wrapping_add(line.len as u32);
        line.len = 0;
        let link = line.port.link;
        while rest != 0 {
            // The exchange skips so much of a frame that it refused.
            let zeros = [0; direct::HEADER];
            let some = rest.min(zeros.len());
            let zeros = zeros.get(..some).unwrap_or(&[]);
            let _ = self.with(lent, |exchange, io| exchange.receive(link, zeros, io));
            rest = rest.saturating_sub(some);
        }
    }

    /// Tells the exchange what a line has taken, and what it can take.
    fn refill(&mut self, number: usize, lent: &mut Lent<'_>) {
        let (free, empty) = (lent.wires.free(number), lent.wires.is_empty(number));
        let Some(line) = self.lines.get_mut(number) else { return };
        let link = line.port.link;
        if link.is_none() {
            return;
        }
        if let Some(mark) = line.port.mark.take_if(|_| empty) {
            self.with(lent, |exchange, io| exchange.taken(link, mark, io));
        }
        let room = free.saturating_sub(RESERVE);
        let Some(line) = self.lines.get_mut(number) else { return };
        if line.port.told != Some(room) {
            line.port.told = Some(room);
            self.with(lent, |exchange, io| exchange.room(link, Room::of(room as u32), io));
        }
        self.settle(lent);
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
