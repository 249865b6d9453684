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
//! ([`RESERVE`]); what does not fit waits in the exchange. A line whose answers
//! leave no more than half of that is not read. One for which an answer does not fit at all is given
//! up: its session ends, and what it had not confirmed is offline mail.
//!
//! **Mail** counts as taken when its last byte has left.
//!
//! **The common group** is number 1, made at the start; whoever is new becomes a member of it:
//! `direct` has no word for joining.

use centrala_core::dialect::Dialect;
use centrala_core::dialect::direct::{self, Frame, Look};
use centrala_core::exchange::Exchange;
use centrala_core::host::Store;

use crate::framing::{Framing, Next};
use crate::office::{ANSWER, Lent, Office, Wires};

/// Milliseconds of silence after which a line's user may log in on another line.
pub const TAKE_OVER: u64 = 60_000;

/// Bytes of each line's room that are kept for answers: four of them. A line must have room for
/// the longest frame beside that.
pub const RESERVE: usize = 4 * ANSWER;

/// One line.
#[derive(Clone, Copy, Debug)]
struct Line {
    framing: Framing,
    /// Bytes in its buffer that were not used yet.
    len: usize,
}

/// An exchange and its lines: `LINES` of them, with frames of up to `INPUT` bytes
/// ([`Framing::buffer`]).
#[derive(Debug)]
pub struct Lines<'l, 'a, const LINES: usize, const INPUT: usize> {
    office: Office<'l, 'a, LINES, RESERVE>,
    lines: [Line; LINES],
    inputs: &'l mut [[u8; INPUT]; LINES],
    /// Bytes that were dropped as noise.
    noise: u32,
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
        let text = exchange.limits().message_length.min(INPUT.saturating_sub(direct::HEADER));
        let line = Line { framing: Framing::new(text), len: 0 };
        let office = Office::new(exchange, common, store);
        Lines { office, lines: [line; LINES], inputs, noise: 0 }
    }

    /// The exchange.
    pub fn exchange(&self) -> &Exchange<'a> {
        self.office.exchange
    }

    /// The number of the user that is bound on a line; 0 for nobody.
    pub fn user(&self, line: usize) -> u32 {
        self.office.user(line)
    }

    /// Bytes that were dropped as noise.
    pub fn noise(&self) -> u32 {
        self.noise
    }

    /// How many bytes of a line can be received now.
    pub fn space(&self, line: usize, wires: &dyn Wires) -> usize {
        let Some(of) = self.lines.get(line) else { return 0 };
        match Office::<LINES, RESERVE>::answerable(line, wires) {
            true => INPUT.saturating_sub(of.len),
            false => 0,
        }
    }

    /// Takes bytes that arrived on a line; those beyond [`Lines::space`] are lost.
    pub fn receive(&mut self, line: usize, bytes: &[u8], lent: &mut Lent<'_>) {
        let Some(of) = self.lines.get_mut(line).filter(|_| !bytes.is_empty()) else { return };
        of.framing.heard(lent.now);
        if let Some(input) = self.inputs.get_mut(line) {
            put(input, &mut of.len, bytes);
        }
        self.work(line, lent);
    }

    /// Does what is due: frames that are whole, timers, and what has room again.
    pub fn turn(&mut self, lent: &mut Lent<'_>) {
        for number in 0..LINES {
            self.line_timeout(number, lent);
            self.work(number, lent);
            self.office.refill(number, lent);
        }
        self.office.handle_timeout(lent);
        self.settle();
    }

    /// When [`Lines::turn`] has something to do, if nothing is received or sent before that.
    pub fn poll_timeout(&self) -> Option<u64> {
        let lines = self.lines.iter().filter_map(|line| line.framing.poll_timeout(line.len));
        lines.chain(self.office.exchange.poll_timeout()).min()
    }

    /// The lines whose sessions have ended hunt.
    fn settle(&mut self) {
        for (number, line) in self.lines.iter_mut().enumerate() {
            if self.office.take_ended(number) {
                line.framing.closed();
            }
        }
    }

    /// Uses the frames that are whole.
    fn work(&mut self, number: usize, lent: &mut Lent<'_>) {
        // The answers to each must have room.
        while Office::<LINES, RESERVE>::answerable(number, lent.wires) {
            let Some(line) = self.lines.get_mut(number) else { return };
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
            let (line, input) = (self.lines.get_mut(number), self.inputs.get_mut(number));
            if let (Some(line), Some(input)) = (line, input) {
                take(input, &mut line.len, used);
            }
        }
    }

    /// Gives the exchange the first bytes of a line.
    fn give(&mut self, number: usize, some: usize, lent: &mut Lent<'_>) {
        self.make_way(number, some, lent);
        if self.office.link(number).is_none() && !self.office.connect(number, Dialect::Direct, lent)
        {
            // There is a session for each line.
            return;
        }
        let frame = self.inputs.get(number).and_then(|input| input.get(..some)).unwrap_or(&[]);
        // A frame is used whole: no question stays open.
        let _ = self.office.receive(number, frame, lent);
        self.settle();
        let bound = self.office.user(number) != 0;
        if let Some(line) = self.lines.get_mut(number) {
            line.framing.bind(bound);
        }
    }

    /// A frame that is going to bind a line ends the session that its sender left behind on another
    /// line.
    fn make_way(&mut self, number: usize, some: usize, lent: &mut Lent<'_>) {
        if self.office.user(number) != 0 {
            return;
        }
        let frame = self.inputs.get(number).and_then(|input| input.get(..some)).unwrap_or(&[]);
        let Look::Frame(frame, _) = Frame::look(frame) else { return };
        let user = self.office.exchange.find_user(direct::user(frame.source()));
        let Some(user) = user.map(|user| user.number) else { return };
        let mut lines = self.lines.iter().enumerate();
        let left = lines.find(|(other, line)| {
            self.office.user(*other) == user && line.framing.silent(lent.now, TAKE_OVER)
        });
        if let Some((other, _)) = left {
            self.leave(other, lent);
        }
    }

    /// Ends the session of a line.
    fn leave(&mut self, number: usize, lent: &mut Lent<'_>) {
        self.office.disconnect(number, lent);
        self.settle();
        if let Some(line) = self.lines.get_mut(number) {
            line.framing.bind(false);
        }
    }

    /// Ends the wait for the rest of a frame, or a hunt.
    fn line_timeout(&mut self, number: usize, lent: &mut Lent<'_>) {
        let Some(line) = self.lines.get_mut(number) else { return };
        let Some(mut rest) = line.framing.handle_timeout(lent.now, line.len) else { return };
        self.noise = self.noise.wrapping_add(line.len as u32);
        line.len = 0;
        while rest != 0 {
            // The exchange skips so much of a frame that it refused.
            let zeros = [0; direct::HEADER];
            let some = rest.min(zeros.len());
            let _ = self.office.receive(number, zeros.get(..some).unwrap_or(&[]), lent);
            rest = rest.saturating_sub(some);
        }
    }
}

/// Puts bytes behind the `len` that there are, as far as there is room.
pub(crate) fn put(buffer: &mut [u8], len: &mut usize, bytes: &[u8]) {
    for (place, byte) in buffer.iter_mut().skip(*len).zip(bytes) {
        *place = *byte;
        *len = len.wrapping_add(1);
    }
}

/// Takes the first `used` of `len` bytes away.
pub(crate) fn take(buffer: &mut [u8], len: &mut usize, used: usize) {
    let rest = used.min(*len)..*len;
    *len = rest.len();
    for (to, from) in rest.enumerate() {
        if let Some(byte) = buffer.get(from).copied()
            && let Some(place) = buffer.get_mut(to)
        {
            *place = byte;
        }
    }
}
