//! `native` on a serial line, where bytes get lost, doubled and flipped.
//!
//! ```text
//! 00  COBS of: what a frame holds behind its length, then its checksum  00
//! ```
//!
//! The checksum is CRC-32 (as in Ethernet and zip: "123456789" has cbf43926), little-endian. A zero
//! stands before a frame and behind it, and nowhere in it: whatever happens to a frame, the next
//! one is found. What does not fit its checksum is dropped, not answered: whoever waits for an
//! answer asks again.
//!
//! [`encode`] takes a frame as the exchange gives it, [`Receiver`] gives one as the exchange takes
//! it: both with their length.

use super::HEADER;
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// Without a table: a line is slower than the eight steps a byte.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
/// Bytes of a checksum.
const CHECKSUM: usize = 4;

/// Bytes on the line of a frame of so many bytes, at most.
pub const fn encoded_max(frame: usize) -> usize {
    // A code for each 254 bytes and one more, the checksum, two zeros.
    frame.saturating_add(frame / 254 + 1 + CHECKSUM + 2)
}

/// Writes a frame for the line and returns the length; `None` if `out` is too small
/// ([`encoded_max`]), or if it is no frame.
pub fn encode(frame: &[u8], out: &mut [u8]) -> Option<usize> {
    let (payload, used) = super::look(frame)?;
    if used != frame.len() {
        return None;
    }
    let checksum = CRC.checksum(payload).to_le_bytes();
    *out.first_mut()? = 0;
    // Where the code of the run stands that is being written, and where the next byte goes.
    let (mut code, mut at) = (1usize, 2usize);
    let mut run = 1u8;
    for byte in payload.iter().chain(&checksum) {
        if *byte != 0 {
            *out.get_mut(at)? = *byte;
            at = at.wrapping_add(1);
            run = run.wrapping_add(1);
        }
        if *byte == 0 || run == u8::MAX {
            *out.get_mut(code)? = run;
            (code, at, run) = (at, at.wrapping_add(1), 1);
        }
    }
    *out.get_mut(code)? = run;
    *out.get_mut(at)? = 0;
    Some(at.wrapping_add(1))
}

/// Puts frames together from the bytes of a line, in a buffer of the caller's: as long as the
/// longest frame ([`frame_max`](super::frame_max)) and 4 bytes for its checksum.
#[derive(Debug)]
pub struct Receiver<'b> {
    buffer: &'b mut [u8],
    /// Bytes there are, with the room for the length.
    len: usize,
    /// Bytes still to come of the run.
    run: u8,
    /// Whether a zero stands behind the run.
    zero: bool,
    /// It is longer than the buffer.
    overrun: bool,
}

/// What a byte brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Arrived {
    /// Nothing yet.
    Nothing,
    /// A frame: [`Receiver::frame`].
    Frame,
    /// The end of what is no frame: dropped.
    Noise,
}

impl<'b> Receiver<'b> {
    /// Nothing has arrived.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Receiver { buffer, len: HEADER, run: 0, zero: false, overrun: false }
    }

    /// Takes the next byte of the line.
    pub fn push(&mut self, byte: u8) -> Arrived {
        if byte == 0 {
            let empty = self.len == HEADER && self.run == 0 && !self.zero && !self.overrun;
            let whole = self.run == 0 && !self.overrun && self.complete().is_some();
            let arrived = match (empty, whole) {
                (true, _) => Arrived::Nothing,
                (_, true) => Arrived::Frame,
                _ => Arrived::Noise,
            };
            (self.len, self.run, self.zero, self.overrun) = (HEADER, 0, false, false);
            return arrived;
        }
        if self.run == 0 {
            if self.zero {
                self.put(0);
            }
            (self.run, self.zero) = (byte.wrapping_sub(1), byte != u8::MAX);
        } else {
            self.put(byte);
            self.run = self.run.wrapping_sub(1);
        }
        Arrived::Nothing
    }

    /// The frame that the last byte completed, with its length. It stays until the next byte.
    pub fn frame(&self) -> &[u8] {
        super::look(self.buffer).map_or(&[], |(_, used)| self.buffer.get(..used).unwrap_or(&[]))
    }

    fn put(&mut self, byte: u8) {
        match self.buffer.get_mut(self.len) {
            Some(place) => *place = byte,
            None => self.overrun = true,
        }
        self.len = self.len.saturating_add(1);
    }

    /// Checks what there is, and puts its length before it.
    fn complete(&mut self) -> Option<()> {
        let (header, rest) = self.buffer.split_first_chunk_mut::<HEADER>()?;
        let whole = rest.get(..self.len.checked_sub(HEADER)?)?;
        let (payload, checksum) = whole.split_last_chunk::<CHECKSUM>()?;
        if payload.is_empty() || CRC.checksum(payload) != u32::from_le_bytes(*checksum) {
            return None;
        }
        *header = u16::try_from(payload.len()).ok()?.to_le_bytes();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::native::{Request, To, Who};
    use std::vec::Vec;

    fn line(frame: &[u8]) -> Vec<u8> {
        let mut out = std::vec![0xee; encoded_max(frame.len())];
        let len = encode(frame, &mut out).unwrap();
        assert_eq!(encode(frame, &mut out[..len - 1]), None);
        assert!(out[1..len - 1].iter().all(|byte| *byte != 0));
        out.truncate(len);
        out
    }

    fn framed(payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u16).to_le_bytes(), payload].concat()
    }

    /// The frames that a receiver finds in these bytes, and how often it finds noise.
    fn received(bytes: &[u8], room: usize) -> (Vec<Vec<u8>>, usize) {
        let mut buffer = std::vec![0; room];
        let mut receiver = Receiver::new(&mut buffer);
        let (mut frames, mut noise) = (Vec::new(), 0);
        for byte in bytes {
            match receiver.push(*byte) {
                Arrived::Nothing => {}
                Arrived::Frame => frames.push(receiver.frame().to_vec()),
                Arrived::Noise => noise += 1,
            }
        }
        (frames, noise)
    }

    /// The example of the module's description, with a zero in it.
    fn hej() -> Vec<u8> {
        let mut out = [0; 64];
        let to = To::User(Who::Number(5));
        let request = Request::Send { to, priority: 3, receipt: false, text: b"hej" };
        let len = request.encode(7, &mut out).unwrap();
        out[..len].to_vec()
    }

    #[test]
    fn a_frame_on_the_line_byte_by_byte() {
        assert_eq!(CRC.checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(line(&hej())[..13], [0, 3, 7, 2, 1, 3, 5, 3, 9, 3, b'h', b'e', b'j']);
        let checksum = CRC.checksum(&hej()[2..]).to_le_bytes();
        assert_eq!(line(&hej())[13..], [&checksum[..], &[0]].concat());
    }

    #[test]
    fn what_is_sent_is_received_whatever_its_bytes_and_length() {
        for len in [1, 2, 100, 249, 250, 251, 252, 253, 254, 255, 256, 504, 508, 509, 1000] {
            for byte in [0, 1, 0xff] {
                let frame = framed(&std::vec![byte; len]);
                assert_eq!(received(&line(&frame), 1100), (std::vec![frame], 0), "{len} of {byte}");
            }
        }
    }

    #[test]
    fn a_frame_that_does_not_fit_is_dropped_and_the_next_is_found() {
        let long = framed(&[7; 40]);
        let bytes = [line(&long), line(&hej())].concat();
        assert_eq!(received(&bytes, 46), (std::vec![long, hej()], 0));
        for room in 17..46 {
            assert_eq!(received(&bytes, room), (std::vec![hej()], 1), "{room}");
        }
        assert_eq!(received(&bytes, 16), (std::vec![], 2));
    }

    #[test]
    fn a_byte_lost_doubled_or_flipped_costs_its_own_frame_and_no_other() {
        let (frame, next) = (line(&hej()), line(&framed(b"next")));
        for at in 1..frame.len() - 1 {
            let mut all = Vec::new();
            for bit in 0..8 {
                let mut flipped = frame.clone();
                flipped[at] ^= 1 << bit;
                all.push(flipped);
            }
            let mut lost = frame.clone();
            lost.remove(at);
            let mut doubled = frame.clone();
            doubled.insert(at, frame[at]);
            all.extend([lost, doubled]);
            for bytes in all {
                let (frames, noise) = received(&[&bytes[..], &next].concat(), 64);
                assert_eq!(frames.last(), Some(&framed(b"next")), "{bytes:x?}");
                // Doubling one of two equal bytes, or losing it, is the same at either place.
                assert!(frames.len() == 1 && noise >= 1, "{bytes:x?}");
            }
        }
        // What is between frames costs none.
        let bytes = [&[1, 2, 3][..], &frame, &[0xff], &next, &[9]].concat();
        assert_eq!(received(&bytes, 64), (std::vec![hej(), framed(b"next")], 2));
    }
}
