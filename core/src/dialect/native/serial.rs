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
//! [`encode`] and [`send`] take a frame as the exchange gives it, [`Receiver`] gives one as the
//! exchange takes it: both with their length. A frame that arrived whole and is longer than its
//! buffer is no noise: it is given as far as there is room, so that it can be refused.

use super::HEADER;
use core::borrow::BorrowMut;
use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// Without a table: a line is slower than the eight steps a byte.
static CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
/// Bytes of a checksum.
const CHECKSUM: usize = 4;
/// The checksum of anything with its checksum behind it.
const WHOLE: u32 = CRC_32_ISO_HDLC.residue ^ CRC_32_ISO_HDLC.xorout;
/// Bytes of a run, at most.
const RUN: usize = 254;

/// The checksum of what has this one, and one byte more.
fn and(checksum: u32, byte: u8) -> u32 {
    let mut digest = CRC.digest_with_initial((checksum ^ CRC_32_ISO_HDLC.xorout).reverse_bits());
    digest.update(&[byte]);
    digest.finalize()
}

/// Bytes on the line of a frame of so many bytes, at most.
pub const fn encoded_max(frame: usize) -> usize {
    // The checksum is longer than the length, which is left out.
    let bytes = frame.saturating_add(CHECKSUM - HEADER);
    // A code for each run and one more, two zeros.
    bytes.saturating_add(bytes / RUN + 1 + 2)
}

/// Sends a frame on the line, in as many pieces as it takes ([`encoded_max`] bytes in all). Nothing
/// is sent of what is no frame.
pub fn send(frame: &[u8], out: &mut dyn FnMut(&[u8])) {
    let Some((mut payload, _)) = super::look(frame).filter(|(_, used)| *used == frame.len()) else {
        return;
    };
    let checksum = payload.iter().fold(0, |checksum, byte| and(checksum, *byte)).to_le_bytes();
    let mut checksum = &checksum[..];
    out(&[0]);
    loop {
        let (first, rest) = run(payload, RUN);
        // A run goes on in the checksum.
        let room = RUN.saturating_sub(first.len());
        let (second, behind) = if rest.is_empty() { run(checksum, room) } else { (&[][..], checksum) };
        let len = first.len().wrapping_add(second.len());
        out(&[(len as u8).wrapping_add(1)]);
        out(first);
        out(second);
        (payload, checksum) = (rest, behind);
        if len == RUN {
            continue;
        }
        // What ended it was a zero, which its code stands for, or the end.
        let of = if payload.is_empty() { &mut checksum } else { &mut payload };
        match of.split_first() {
            Some((_, rest)) => *of = rest,
            None => break,
        }
    }
    out(&[0]);
}

/// As many bytes as come before a zero, at most so many, and the rest.
fn run(bytes: &[u8], most: usize) -> (&[u8], &[u8]) {
    let len = bytes.iter().take(most).take_while(|byte| **byte != 0).count();
    bytes.split_at_checked(len).unwrap_or((bytes, &[]))
}

/// Writes a frame for the line and returns the length; `None` if `out` is too small
/// ([`encoded_max`]), or if it is no frame.
pub fn encode(frame: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut at = 0usize;
    send(frame, &mut |bytes| {
        let end = at.saturating_add(bytes.len());
        if let Some(place) = out.get_mut(at..end) {
            crate::copy(place, bytes);
        }
        at = end;
    });
    (1..=out.len()).contains(&at).then_some(at)
}

/// Puts frames together from the bytes of a line, in a buffer of the caller's: as long as the
/// longest frame ([`frame_max`](super::frame_max)). It is lent, or owned.
#[derive(Debug)]
pub struct Receiver<B> {
    buffer: B,
    /// Bytes there are, with the room for the length; more than the buffer has, if it is too long.
    len: usize,
    /// Bytes still to come of the run.
    run: u8,
    /// Whether a zero stands behind the run.
    zero: bool,
    /// Of all that has come.
    checksum: u32,
}

/// What a byte brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Arrived {
    /// Nothing yet.
    Nothing,
    /// A frame: [`Receiver::frame`].
    Frame,
    /// A frame that is longer than the buffer, of which [`Receiver::frame`] is the beginning, by so
    /// many bytes.
    TooLong(usize),
    /// The end of what is no frame: dropped.
    Noise,
}

impl<B: BorrowMut<[u8]>> Receiver<B> {
    /// Nothing has arrived.
    pub fn new(buffer: B) -> Self {
        Receiver { buffer, len: HEADER, run: 0, zero: false, checksum: 0 }
    }

    /// Takes the next byte of the line.
    pub fn push(&mut self, byte: u8) -> Arrived {
        if byte == 0 {
            let arrived = self.end();
            (self.len, self.run, self.zero, self.checksum) = (HEADER, 0, false, 0);
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

    /// The frame that the last byte completed, with its length, as far as there is room for it. It
    /// stays until the next byte.
    pub fn frame(&self) -> &[u8] {
        let buffer = self.buffer.borrow();
        let whole = super::look(buffer).and_then(|(_, used)| buffer.get(..used));
        whole.unwrap_or(buffer)
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.buffer.borrow_mut().get_mut(self.len) {
            *place = byte;
        }
        self.len = self.len.saturating_add(1);
        self.checksum = and(self.checksum, byte);
    }

    /// Checks what there is, and puts its length before it.
    fn end(&mut self) -> Arrived {
        if self.len == HEADER && self.run == 0 && !self.zero {
            return Arrived::Nothing;
        }
        let len = self.len.saturating_sub(CHECKSUM);
        let payload = len.saturating_sub(HEADER);
        let whole = payload != 0 && self.run == 0 && self.checksum == WHOLE;
        match (u16::try_from(payload), self.buffer.borrow_mut().first_chunk_mut::<HEADER>()) {
            (Ok(payload), Some(header)) if whole => *header = payload.to_le_bytes(),
            _ => return Arrived::Noise,
        }
        match len.saturating_sub(self.buffer.borrow().len()) {
            0 => Arrived::Frame,
            more => Arrived::TooLong(more),
        }
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

    /// The frames that a receiver finds in these bytes, those that are too long as far as there is
    /// room, and how often it finds noise.
    fn received(bytes: &[u8], room: usize) -> (Vec<Vec<u8>>, usize) {
        let mut buffer = std::vec![0; room];
        let mut receiver = Receiver::new(&mut buffer[..]);
        let (mut frames, mut noise) = (Vec::new(), 0);
        for byte in bytes {
            match receiver.push(*byte) {
                Arrived::Nothing => {}
                Arrived::Frame => frames.push(receiver.frame().to_vec()),
                Arrived::TooLong(more) => {
                    let len = receiver.frame().first_chunk().map_or(0, |len| u16::from_le_bytes(*len));
                    assert_eq!(receiver.frame().len(), room);
                    assert_eq!(HEADER + usize::from(len), room + more);
                    frames.push(receiver.frame().to_vec());
                }
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
        assert_eq!(b"123456789".iter().fold(0, |checksum, byte| and(checksum, *byte)), 0xcbf4_3926);
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
    fn of_a_frame_that_does_not_fit_the_beginning_is_told_and_the_next_is_found() {
        let long = framed(&[7; 40]);
        let bytes = [line(&long), line(&hej())].concat();
        for room in 13..=42 {
            let want = std::vec![long[..room].to_vec(), hej()];
            assert_eq!(received(&bytes, room), (want, 0), "{room}");
        }
        let neither = std::vec![long[..2].to_vec(), hej()[..2].to_vec()];
        assert_eq!(received(&bytes, 2), (neither, 0));
        assert_eq!(received(&bytes, 1), (std::vec![], 2), "no room for a length");
        // Longer than a length can say.
        let mut endless = std::vec![0u8];
        (0..300).for_each(|_| endless.extend([0xff; 255]));
        endless.push(0);
        assert_eq!(received(&[&endless[..], &line(&hej())].concat(), 42), (std::vec![hej()], 1));
    }

    #[test]
    fn what_is_sent_in_pieces_is_no_longer_than_was_said() {
        for len in 1..1_100 {
            for byte in [0, 1] {
                let frame = framed(&std::vec![byte; len]);
                let (mut sent, mut pieces) = (0, 0);
                send(&frame, &mut |bytes| (sent, pieces) = (sent + bytes.len(), pieces + 1));
                assert!(sent <= encoded_max(frame.len()) && pieces > 2, "{len}: {sent}");
            }
        }
        send(&framed(&[1, 2, 3])[..4], &mut |bytes| panic!("half a frame: {bytes:?}"));
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
