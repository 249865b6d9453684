//! What the line has brought, and the frames in it.

use centrala_core::dialect::native::{Event, HEADER, Message, Party, frame_max};

use crate::drop_first;

/// Bytes that are kept. A longer frame is shown without its end.
const LEN: usize = 256;
/// A mail's mark and its sender are within that, with names of any length there is.
const _: () = assert!(LEN >= HEADER + 1 + 10 + 5 + 5 + 10 + 2 + 2 * (1 + 5 + 1 + 64));
/// Bytes of the longest answer to a hello, behind its length.
const GREETING: usize = 96;
/// The variants that answer a hello.
const WELCOME: u8 = 0;
const REFUSED: u8 = 2;

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next<'b> {
    /// Nothing, until there are more bytes.
    Wait,
    /// What a frame holds.
    Frame(&'b [u8]),
    /// The beginning of what a frame holds that does not fit here.
    Begun(&'b [u8]),
    /// A frame that is longer than any of this exchange.
    TooLong,
}

/// How the bytes are read.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// Nobody waits for anything: all is dropped.
    Deaf,
    /// Everything is dropped up to the answer to the hello of this id.
    Hunt(u32),
    /// Frame by frame, of so many bytes at most.
    Follow(usize),
}

/// The bytes.
#[derive(Debug)]
pub(crate) struct Input {
    buffer: [u8; LEN],
    len: usize,
    /// Bytes of the frame that was shown last.
    frame: usize,
    reading: Reading,
}

impl Input {
    pub(crate) const NEW: Input =
        Input { buffer: [0; LEN], len: 0, frame: 0, reading: Reading::Deaf };

    pub(crate) fn space(&self) -> usize {
        LEN.saturating_sub(self.len)
    }

    /// Keeps as many bytes as fit, and returns how many.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> usize {
        let room = self.buffer.get_mut(self.len..).unwrap_or(&mut []);
        let some = room.len().min(bytes.len());
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.len = self.len.saturating_add(some);
        some
    }

    /// From now on nothing counts.
    pub(crate) fn close(&mut self) {
        (self.reading, self.len, self.frame) = (Reading::Deaf, 0, 0);
    }

    /// From now on only the answer to this hello counts.
    pub(crate) fn hunt(&mut self, id: u32) {
        self.reading = Reading::Hunt(id);
    }

    /// From now on frame by frame, of an exchange that takes texts of so many bytes.
    pub(crate) fn follow(&mut self, message_length: u32) {
        let longest = frame_max(usize::try_from(message_length).unwrap_or(usize::MAX));
        self.reading = Reading::Follow(longest);
    }

    /// What comes next. It stays until [`Input::consume`].
    pub(crate) fn next(&mut self) -> Next<'_> {
        match self.reading {
            Reading::Deaf => {
                self.len = 0;
                Next::Wait
            }
            Reading::Hunt(id) => self.hunted(id),
            Reading::Follow(longest) => self.followed(longest),
        }
    }

    fn followed(&mut self, longest: usize) -> Next<'_> {
        // What is left of a frame that did not fit, and frames that mean nothing.
        self.consume();
        while self.frame == 0 && self.len >= HEADER && self.buffer.first_chunk() == Some(&[0, 0]) {
            self.frame = HEADER;
            self.consume();
        }
        let held = self.buffer.get(..self.len).unwrap_or(&[]);
        let Some((len, rest)) = held.split_first_chunk::<HEADER>().filter(|_| self.frame == 0)
        else {
            return Next::Wait;
        };
        let len = usize::from(u16::from_le_bytes(*len));
        let frame = HEADER.saturating_add(len);
        if frame > longest {
            return Next::TooLong;
        }
        match rest.get(..len) {
            Some(payload) => {
                self.frame = frame;
                Next::Frame(payload)
            }
            None if frame > LEN && held.len() == LEN => {
                self.frame = frame;
                Next::Begun(rest)
            }
            None => Next::Wait,
        }
    }

    fn hunted(&mut self, id: u32) -> Next<'_> {
        self.frame = 0;
        let mut from: usize = 0;
        let found = loop {
            let held = self.buffer.get(from..self.len).unwrap_or(&[]);
            match greeting(held, id) {
                Greeting::None => from = from.saturating_add(1),
                Greeting::Partial => break 0,
                Greeting::Whole(frame) => break frame,
            }
        };
        self.frame = from;
        self.consume();
        self.frame = found;
        match self.buffer.get(HEADER..found) {
            Some(payload) => Next::Frame(payload),
            None => Next::Wait,
        }
    }

    /// Drops the frame that was shown, as far as it is here.
    pub(crate) fn consume(&mut self) {
        let some = self.frame.min(self.len);
        if some != 0 {
            self.len = drop_first(&mut self.buffer, self.len, some);
            self.frame = self.frame.saturating_sub(some);
        }
    }
}

/// Whether bytes begin with the answer to a hello.
enum Greeting {
    None,
    /// They may, as far as they go.
    Partial,
    /// They do, and it has so many.
    Whole(usize),
}

fn greeting(bytes: &[u8], id: u32) -> Greeting {
    let Some((len, payload)) = bytes.split_first_chunk::<HEADER>() else {
        return Greeting::Partial;
    };
    let len = usize::from(u16::from_le_bytes(*len));
    let mut varint = [0; 5];
    let Ok(varint) = postcard::to_slice(&id, &mut varint) else { return Greeting::None };
    if !(varint.len()..=GREETING).contains(&len) {
        return Greeting::None;
    }
    if payload.first().is_some_and(|variant| !matches!(*variant, WELCOME | REFUSED)) {
        return Greeting::None;
    }
    if payload.iter().skip(1).zip(varint.iter()).any(|(byte, wanted)| byte != wanted) {
        return Greeting::None;
    }
    match payload.get(..len).map(Event::decode) {
        None => Greeting::Partial,
        Some(Ok(Event::Welcome { .. } | Event::Refused { .. })) => {
            Greeting::Whole(HEADER.saturating_add(len))
        }
        Some(_) => Greeting::None,
    }
}

/// A message of which only the beginning is there: all but its text.
pub(crate) fn message_head(payload: &[u8]) -> Option<Message<'_>> {
    type Head<'a> = (u32, u64, u32, u32, u64, u8, bool, (u32, &'a [u8]), Option<(u32, &'a [u8])>);
    const MESSAGE: u32 = 3;
    let (head, _) = postcard::take_from_bytes::<Head<'_>>(payload).ok()?;
    let (MESSAGE, number, id, mark, time, priority, offline, from, group) = head else {
        return None;
    };
    let party = |(number, name)| Party { number, name };
    let (from, group) = (party(from), group.map(party));
    let (private, image, text) = (None, false, &[][..]);
    Some(Message { number, id, mark, time, priority, offline, from, group, private, image, text })
}
