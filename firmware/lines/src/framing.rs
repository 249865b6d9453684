//! Frames of `direct` on a serial line.
//!
//! `direct` has neither delimiter nor checksum, and a serial line has neither beginning nor end of a
//! connection, but loses, doubles and flips bytes. So:
//!
//! 1. **Half a frame** that nothing follows for [`HALF`] is dropped, and the line goes on.
//! 2. **What is no frame** (a length outside 24..=1024, an unknown type, no sender) is answered
//!    `400`, once. Then the line *hunts*: everything is dropped up to the header of a frame under
//!    the name that was bound here last, or of a hello, or until nothing came for [`QUIET`].
//! 3. **Another name** than the one that is bound is answered `401`, and the line hunts, unless a
//!    new client begins: by a hello, or by a message of number 0, from which each client of `direct`
//!    counts. Then the old session ends and this frame binds anew.
//! 4. Wherever `direct` closes a connection the session ends and the line hunts; the next frame
//!    binds it.
//!
//! What flips within a text stays flipped, and a name that turns into another is that other's:
//! `direct` cannot tell. But no message goes out under a name that its own header did not carry, as
//! it arrived, and rules 2 and 3 keep a name that noise made up from speaking on a line in use.

use centrala_core::dialect::direct::{FRAME_MAX, HEADER, MESSAGE, NAME_FIELD, OFFLINE, RESPONSE};

/// Milliseconds of silence after which half a frame is dropped.
pub const HALF: u64 = 2_000;
/// Milliseconds of silence that end a hunt.
pub const QUIET: u64 = 250;

/// What is to be done with the bytes that a line has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, until there are more.
    Wait,
    /// The first so many are dropped.
    Drop(usize),
    /// The first so many are for the exchange.
    Give(usize),
    /// The session ends, and the first so many begin another one.
    Renew(usize),
}

/// The rules above for one line. It keeps no bytes: whoever does shows them from the first that
/// was not used yet.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// The longest frame that is shown whole.
    longest: usize,
    /// The name field that is bound, or was last.
    source: [u8; NAME_FIELD],
    bound: bool,
    hunting: bool,
    /// Bytes still to come of a frame that is too long to be shown whole.
    rest: usize,
}

/// What a header says.
struct Header {
    len: usize,
    kind: u16,
    id: u32,
    source: [u8; NAME_FIELD],
    to: [u8; NAME_FIELD],
}

impl Header {
    fn of(bytes: &[u8]) -> Option<Header> {
        let (header, _) = bytes.split_first_chunk::<HEADER>()?;
        let &[l0, l1, t0, t1, i0, i1, i2, i3, s0, s1, s2, s3, s4, s5, s6, s7, ref to @ ..] = header;
        Some(Header {
            len: usize::from(u16::from_be_bytes([l0, l1])),
            kind: u16::from_be_bytes([t0, t1]),
            id: u32::from_be_bytes([i0, i1, i2, i3]),
            source: [s0, s1, s2, s3, s4, s5, s6, s7],
            to: *to,
        })
    }

    fn possible(&self) -> bool {
        (HEADER..=FRAME_MAX).contains(&self.len)
    }

    /// A name with nothing but NUL behind it.
    fn named(&self) -> bool {
        let name = self.source.iter().take_while(|byte| **byte != 0).count();
        name != 0 && self.source.iter().skip(name).all(|byte| *byte == 0)
    }

    fn hello(&self) -> bool {
        self.kind == RESPONSE && self.to == [0; NAME_FIELD] && self.named()
    }
}

impl Framing {
    /// A line that was never heard, for frames of texts of up to `message_length` bytes.
    pub const fn new(message_length: usize) -> Framing {
        Framing {
            longest: Framing::buffer(message_length),
            source: [0; NAME_FIELD],
            bound: false,
            hunting: false,
            rest: 0,
        }
    }

    /// Bytes that must be shown at once for texts of up to `message_length` bytes.
    pub const fn buffer(message_length: usize) -> usize {
        let longest = HEADER + message_length;
        if longest < FRAME_MAX { longest } else { FRAME_MAX }
    }

    /// What is to be done with `bytes`, from the first that was not used yet. What it says is taken
    /// for done.
    pub fn next(&mut self, bytes: &[u8]) -> Next {
        if self.rest != 0 && !bytes.is_empty() {
            let some = bytes.len().min(self.rest);
            self.rest = self.rest.saturating_sub(some);
            return Next::Give(some);
        }
        let Some(header) = Header::of(bytes) else {
            // An impossible length is told from the first two bytes.
            let impossible = bytes.first_chunk::<2>().is_some_and(|len| {
                !(HEADER..=FRAME_MAX).contains(&usize::from(u16::from_be_bytes(*len)))
            });
            if !impossible {
                return Next::Wait;
            }
            return self.no_frame();
        };
        if self.hunting {
            let known = self.source != [0; NAME_FIELD] && header.source == self.source;
            let meant = header.kind <= OFFLINE && (known || header.hello());
            if !header.possible() || !meant {
                return Next::Drop(1);
            }
            self.hunting = false;
        }
        if !header.possible() {
            return self.no_frame();
        }
        let some = if header.len > self.longest {
            self.rest = header.len.saturating_sub(HEADER);
            HEADER
        } else if bytes.len() < header.len {
            return Next::Wait;
        } else {
            header.len
        };
        let first = header.id == 0 && matches!(header.kind, MESSAGE | OFFLINE);
        let other = self.bound && header.source != self.source;
        let next = match other && header.named() && (first || header.hello()) {
            true => Next::Renew(some),
            false => Next::Give(some),
        };
        if !self.bound {
            self.source = header.source;
        }
        if let Next::Renew(_) = next {
            (self.bound, self.source) = (false, header.source);
        }
        next
    }

    /// An impossible length. The exchange says so, and closes; a frame may begin behind it.
    fn no_frame(&self) -> Next {
        if self.hunting { Next::Drop(1) } else { Next::Give(2) }
    }

    /// Whether a user is bound now.
    pub fn bind(&mut self, bound: bool) {
        self.bound = bound;
    }

    /// The exchange closed the session.
    pub fn closed(&mut self) {
        (self.bound, self.hunting, self.rest) = (false, true, 0);
    }

    /// When [`Framing::handle_timeout`] is due on a line that was heard last at `heard`, with
    /// `waiting` bytes that were not used yet.
    pub fn poll_timeout(&self, heard: u64, waiting: usize) -> Option<u64> {
        match (self.hunting, waiting != 0 || self.rest != 0) {
            (true, _) => Some(heard.saturating_add(QUIET)),
            (false, true) => Some(heard.saturating_add(HALF)),
            (false, false) => None,
        }
    }

    /// Ends a hunt, or the wait for the rest of a frame. Then what waits is to be dropped, and so
    /// many bytes that the exchange still expects are to be made up.
    pub fn handle_timeout(&mut self) -> usize {
        self.hunting = false;
        core::mem::take(&mut self.rest)
    }
}
