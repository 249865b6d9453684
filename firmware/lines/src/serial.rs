//! Frames of `native` on a serial line: COBS and a CRC-32, by
//! [`centrala_core::dialect::native::serial`].
//!
//! A line has neither beginning nor end of a connection, and loses, doubles and flips bytes. So:
//!
//! 1. **Noise costs the frame that it hits**, in either direction, and no other. What does not fit
//!    its checksum is dropped and counted, not answered: whoever waits for an answer asks again.
//! 2. **A frame that is too long** is refused with its id and its limit, and the line goes on behind
//!    it.
//! 3. **A session begins with a hello**, whoever was logged in on the line before, and however its
//!    client left: in the middle of a frame, by a reset, by a cable. A hello on a line in use begins
//!    it anew: mail that was not acknowledged comes again, and nothing more is sent for the one
//!    before. What had been sent for that one comes before the welcome, by which the client knows.
//! 4. **A session ends** with a log-out, with another hello, and when its user logs in on another
//!    line of `native` while this one has been silent for
//!    [`TAKE_OVER`](crate::lines::TAKE_OVER). A client that only listens keeps its line by a ping.
//! 5. **Mail** is acknowledged by its marks, which have no gaps, and none of it is lost to noise. A
//!    live message counts as delivered when it was given to the line: one that noise hits, or that
//!    is for a client that has left without a word, is lost.

pub use centrala_core::dialect::native::serial::send;
use centrala_core::dialect::native::serial::{Arrived, Receiver, encoded_max};
use centrala_core::dialect::native::{HEADER, frame_max};
use centrala_core::name::NAME_LENGTH;

use crate::lines::RESERVE;

/// Bytes of the longest answer on the line, the one to a hello: with an id, a version, a number, a
/// name and a length.
pub(crate) const WELCOME: usize = encoded_max(HEADER + 1 + 5 + 3 + (5 + NAME_LENGTH) + 3);

/// Bytes that a line must be able to take at once for texts of up to `message_length` bytes.
pub const fn room_for(message_length: usize) -> usize {
    encoded_max(RESERVE + frame_max(message_length))
}

/// Bytes of the longest frame for which a line that can take so many bytes has room.
pub(crate) fn room(free: usize) -> usize {
    // What is around a frame is no more around a shorter one.
    free.saturating_sub(encoded_max(free).saturating_sub(free))
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Take another byte.
    Byte,
    /// Give the exchange the frame.
    Frame,
    /// Give it so many bytes that it skips.
    Rest(usize),
}

/// What has arrived on one line.
#[derive(Debug)]
pub(crate) struct Serial<'l> {
    receiver: Receiver<&'l mut [u8]>,
    /// The frame was not used yet.
    waits: bool,
    /// Bytes of a frame that was too long, which the exchange is to skip.
    rest: usize,
}

impl<'l> Serial<'l> {
    pub(crate) fn new(buffer: &'l mut [u8]) -> Serial<'l> {
        Serial { receiver: Receiver::new(buffer), waits: false, rest: 0 }
    }

    pub(crate) fn next(&self) -> Next {
        match (self.waits, self.rest) {
            (true, _) => Next::Frame,
            (false, 0) => Next::Byte,
            (false, rest) => Next::Rest(rest),
        }
    }

    /// Takes a byte; whether it ended what was noise.
    pub(crate) fn push(&mut self, byte: u8) -> bool {
        match self.receiver.push(byte) {
            Arrived::Nothing => {}
            Arrived::Noise => return true,
            Arrived::Frame => self.waits = true,
            Arrived::TooLong(more) => (self.waits, self.rest) = (true, more),
        }
        false
    }

    /// The frame, as far as there is room for it.
    pub(crate) fn frame(&self) -> &[u8] {
        self.receiver.frame()
    }

    /// The exchange has used so many bytes: of a frame all or none.
    pub(crate) fn used(&mut self, bytes: usize) {
        match self.waits {
            true => self.waits = bytes == 0,
            false => self.rest = self.rest.saturating_sub(bytes),
        }
    }
}
