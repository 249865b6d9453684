//! The loop around the exchange, for lines that have no connections.
//!
//! 1. [`Lines::turn`] when anything was received or sent, and when [`Lines::poll_timeout`] is due. It
//!    takes what the lines have brought from [`Wires`].
//! 2. Sleep until the next interrupt, unless anything has been received.
//!
//! **Each line speaks one dialect**, and keeps to it: [`Line`].
//!
//! **A session** of a line begins with the first frame that binds it and ends where
//! [`framing`](crate::framing) (`direct`) or [`serial`] (`native`) says so; nothing
//! else tells that a client has left. So a user whose session of the same dialect is on another line
//! that said nothing for [`TAKE_OVER`] is logged out there when it logs in here; before that it is
//! in use.
//!
//! **Room.** A line takes what its [`Wires`] have room for, but for a reserve for answers
//! ([`RESERVE`]); what does not fit waits in the exchange. A line whose answers
//! leave no more than half of that is not read. One for which an answer does not fit at all is given
//! up: its session ends, and what it had not confirmed is offline mail.
//!
//! **Mail** counts as taken when its last byte has left; in `native` when the client says so.
//!
//! **The common group** is number 1, made at the start; whoever is new becomes a member of it:
//! `direct` has no word for joining.

use centrala_core::dialect::Dialect;
use centrala_core::dialect::direct;
use centrala_core::exchange::Exchange;
use centrala_core::host::Store;

use crate::framing::{Framing, Next};
pub use crate::office::TAKE_OVER;
#[cfg(feature = "native")]
use crate::office::Wires;
use crate::office::{ANSWER, Lent, Office};
#[cfg(feature = "native")]
use crate::serial::{self, Serial};

/// Bytes of each line's room that are kept for answers: four of them. A line must have room for
/// the longest frame beside that.
pub const RESERVE: usize = 4 * ANSWER;
/// What is asked for before a line is read has room for the longest answer there is: a welcome.
#[cfg(feature = "native")]
const _: () = assert!(RESERVE / 2 >= serial::WELCOME);

/// One line.
#[derive(Debug)]
pub struct Line<'l>(Reading<'l>);

#[derive(Debug)]
enum Reading<'l> {
    Direct {
        framing: Framing,
        input: &'l mut [u8],
        /// Bytes in its buffer that were not used yet.
        len: usize,
    },
    #[cfg(feature = "native")]
    Native(Serial<'l>),
}

impl<'l> Line<'l> {
    /// A line that speaks `direct`, with a buffer of [`Framing::buffer`].
    pub fn direct(input: &'l mut [u8]) -> Line<'l> {
        let text = input.len().saturating_sub(direct::HEADER);
        Line(Reading::Direct { framing: Framing::new(text), input, len: 0 })
    }

    /// A line that speaks `native`, with a buffer of
    /// [`frame_max`](centrala_core::dialect::native::frame_max), and no less: of a frame that is
    /// longer than its buffer the exchange has to know that it is too long.
    #[cfg(feature = "native")]
    pub fn native(input: &'l mut [u8]) -> Line<'l> {
        Line(Reading::Native(Serial::new(input)))
    }

    fn dialect(&self) -> Dialect {
        match self.0 {
            Reading::Direct { .. } => Dialect::Direct,
            #[cfg(feature = "native")]
            Reading::Native(_) => Dialect::Native,
        }
    }
}

/// An exchange and its lines: `LINES` of them.
#[derive(Debug)]
pub struct Lines<'l, 'a, const LINES: usize> {
    office: Office<'l, 'a, LINES, RESERVE>,
    lines: [Line<'l>; LINES],
    /// Bytes of `direct` that were dropped as noise, and frames of `native`.
    noise: u32,
}

impl<'l, 'a, const LINES: usize> Lines<'l, 'a, LINES> {
    /// Lines around an exchange, whose texts are no longer than their buffers allow, with a common
    /// group of this name.
    pub fn new(
        exchange: &'l mut Exchange<'a>,
        lines: [Line<'l>; LINES],
        common: &[u8],
        store: &mut dyn Store,
    ) -> Self {
        Lines { office: Office::new(exchange, common, store), lines, noise: 0 }
    }

    /// The exchange.
    pub fn exchange(&self) -> &Exchange<'a> {
        self.office.exchange
    }

    /// The number of the user that is bound on a line; 0 for nobody.
    pub fn user(&self, line: usize) -> u32 {
        self.office.user(line)
    }

    /// How often something was dropped as noise: a byte of `direct`, a frame of `native`.
    pub fn noise(&self) -> u32 {
        self.noise
    }

    /// Does what is due: frames that are whole, timers, and what has room again.
    pub fn turn(&mut self, lent: &mut Lent<'_>) {
        #[cfg(feature = "native")]
        let encoded = self.lines.each_ref().map(|line| line.dialect() != Dialect::Direct);
        #[cfg(feature = "native")]
        let mut wires = Encoding { wires: &mut *lent.wires, encoded: &encoded };
        #[cfg(feature = "native")]
        let lent = &mut Lent { now: lent.now, store: &mut *lent.store, wires: &mut wires };
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
        let lines = self.lines.iter().zip(&self.office.heard);
        let lines = lines.filter_map(|(line, heard)| match &line.0 {
            Reading::Direct { framing, len, .. } => framing.poll_timeout(*heard, *len),
            #[cfg(feature = "native")]
            Reading::Native(_) => None,
        });
        lines.chain(self.office.exchange.poll_timeout()).min()
    }

    /// The lines of `direct` whose sessions have ended hunt.
    fn settle(&mut self) {
        for (number, line) in self.lines.iter_mut().enumerate() {
            if self.office.take_ended(number)
                && let Reading::Direct { framing, .. } = &mut line.0
            {
                framing.closed();
            }
        }
    }

    /// Uses what a line has brought.
    fn work(&mut self, number: usize, lent: &mut Lent<'_>) {
        // The answers to each frame must have room.
        while Office::<LINES, RESERVE>::answerable(number, lent.wires) {
            let Some(line) = self.lines.get_mut(number) else { return };
            let went_on = match &mut line.0 {
                Reading::Direct { .. } => self.direct(number, lent),
                #[cfg(feature = "native")]
                Reading::Native(_) => self.native(number, lent),
            };
            if !went_on {
                return;
            }
        }
    }

    /// The next byte of a line.
    fn byte(&mut self, number: usize, lent: &mut Lent<'_>) -> Option<u8> {
        let byte = lent.wires.receive(number)?;
        if let Some(heard) = self.office.heard.get_mut(number) {
            *heard = lent.now;
        }
        Some(byte)
    }

    /// Opens the link of a line that has none.
    fn open(&mut self, number: usize, lent: &Lent<'_>) {
        let dialect = self.lines.get(number).map_or(Dialect::Direct, Line::dialect);
        if self.office.link(number).is_none() {
            // There is a session for each line.
            let _ = self.office.connect(number, dialect, lent);
        }
    }

    /// Takes what `direct` has brought, as far as there is room for it, and uses a frame of that.
    fn direct(&mut self, number: usize, lent: &mut Lent<'_>) -> bool {
        while let Some(Line(Reading::Direct { input, len, .. })) = self.lines.get(number) {
            let at = *len;
            if at >= input.len() {
                break;
            }
            let Some(byte) = self.byte(number, lent) else { break };
            if let Some(Line(Reading::Direct { input, len, .. })) = self.lines.get_mut(number)
                && let Some(place) = input.get_mut(at)
            {
                *place = byte;
                *len = at.wrapping_add(1);
            }
        }
        let Some(Line(Reading::Direct { framing, input, len })) = self.lines.get_mut(number) else {
            return false;
        };
        let used = match framing.next(input.get(..*len).unwrap_or(&[])) {
            Next::Wait => return false,
            Next::Drop(some) => {
                self.noise = self.noise.wrapping_add(some as u32);
                some
            }
            Next::Give(some) => {
                self.give(number, some, lent);
                some
            }
            Next::Renew(some) => {
                self.office.disconnect(number, lent);
                self.give(number, some, lent);
                some
            }
        };
        if let Some(Line(Reading::Direct { input, len, .. })) = self.lines.get_mut(number) {
            take(input, len, used);
        }
        true
    }

    /// Gives the exchange the first bytes of a line of `direct`.
    fn give(&mut self, number: usize, some: usize, lent: &mut Lent<'_>) {
        self.open(number, lent);
        let Some(Line(Reading::Direct { input, .. })) = self.lines.get(number) else { return };
        // A frame is used whole: no question stays open.
        let _ = self.office.receive(number, input.get(..some).unwrap_or(&[]), lent);
        self.settle();
        let bound = self.office.user(number) != 0;
        if let Some(Line(Reading::Direct { framing, .. })) = self.lines.get_mut(number) {
            framing.bind(bound);
        }
    }

    /// Ends the wait for the rest of a frame of `direct`, or a hunt.
    fn line_timeout(&mut self, number: usize, lent: &mut Lent<'_>) {
        let Some(heard) = self.office.heard.get(number) else { return };
        let Some(Line(Reading::Direct { framing, len, .. })) = self.lines.get_mut(number) else {
            return;
        };
        if framing.poll_timeout(*heard, *len).is_none_or(|due| due > lent.now) {
            return;
        }
        let mut rest = framing.handle_timeout();
        self.noise = self.noise.wrapping_add(*len as u32);
        *len = 0;
        while rest != 0 {
            match self.make_up(number, rest, lent) {
                0 => return,
                some => rest = rest.saturating_sub(some),
            }
        }
    }

    /// Gives the exchange zeros in the place of bytes that it skips, and returns how many; 0 if it
    /// takes none now.
    fn make_up(&mut self, number: usize, rest: usize, lent: &mut Lent<'_>) -> usize {
        let zeros = [0; direct::HEADER];
        let some = zeros.get(..rest).unwrap_or(&zeros);
        // To a link that is gone they make no difference.
        self.office.receive(number, some, lent).unwrap_or(some.len())
    }

    /// Takes what `native` has brought, up to the end of a frame, and uses that.
    #[cfg(feature = "native")]
    fn native(&mut self, number: usize, lent: &mut Lent<'_>) -> bool {
        let Some(Line(Reading::Native(serial))) = self.lines.get(number) else { return false };
        match serial.next() {
            serial::Next::Byte => {
                let Some(byte) = self.byte(number, lent) else { return false };
                if let Some(Line(Reading::Native(serial))) = self.lines.get_mut(number) {
                    self.noise = self.noise.wrapping_add(serial.push(byte).into());
                }
                true
            }
            serial::Next::Frame => {
                self.open(number, lent);
                let Some(Line(Reading::Native(serial))) = self.lines.get(number) else {
                    return false;
                };
                // All of it, or nothing while a list is being sent.
                let used = self.office.receive(number, serial.frame(), lent);
                self.used(number, used.unwrap_or(usize::MAX))
            }
            serial::Next::Rest(rest) => {
                let used = self.make_up(number, rest, lent);
                self.used(number, used)
            }
        }
    }

    #[cfg(feature = "native")]
    fn used(&mut self, number: usize, bytes: usize) -> bool {
        if let Some(Line(Reading::Native(serial))) = self.lines.get_mut(number) {
            serial.used(bytes);
        }
        bytes != 0
    }
}

/// Lines, some of which take frames only as they are encoded for a line.
#[cfg(feature = "native")]
struct Encoding<'w> {
    wires: &'w mut dyn Wires,
    encoded: &'w [bool],
}

#[cfg(feature = "native")]
impl Encoding<'_> {
    fn encodes(&self, line: usize) -> bool {
        self.encoded.get(line).copied().unwrap_or(false)
    }
}

#[cfg(feature = "native")]
impl Wires for Encoding<'_> {
    fn receive(&mut self, line: usize) -> Option<u8> {
        self.wires.receive(line)
    }
    fn free(&self, line: usize) -> usize {
        let free = self.wires.free(line);
        if self.encodes(line) { serial::room(free) } else { free }
    }
    fn is_empty(&self, line: usize) -> bool {
        self.wires.is_empty(line)
    }
    fn send(&mut self, line: usize, bytes: &[u8]) {
        match self.encodes(line) {
            true => serial::send(bytes, &mut |bytes| self.wires.send(line, bytes)),
            false => self.wires.send(line, bytes),
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
