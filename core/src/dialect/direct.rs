//! `direct`: direct messages with receipts and an offline store, over TCP.
//!
//! All integers are in network order (big-endian).
//!
//! | offset | size   | field                                                       |
//! |--------|--------|-------------------------------------------------------------|
//! | 0      | 2      | `len`: the whole frame, 24..=1024                           |
//! | 2      | 2      | `type`: 0 message, 1 response, 2 offline message            |
//! | 4      | 4      | `messageID`; a response repeats the one it answers          |
//! | 8      | 8      | `SRC_username`, NUL-padded                                  |
//! | 16     | 8      | `DST_username`, NUL-padded                                  |
//! | 24     | len-24 | message, 0..=1000 bytes                                     |
//!
//! A name that does not fit 8 bytes is written `~k` (user number k); a group is `#name`, or `#k`,
//! and `#0` if it is no more.
//! A frame of type 1 with an empty `DST` is a hello: it binds the connection to `SRC`, and its text
//! is the password where the user has one.

use super::put::{cut, decimal, field_until_nul, number, until_nul};
use super::{Codec, Decoded, Progress, Recipient, Traits};
use crate::event::{Event, Kind, Limit, Outcome};
use crate::limits::Limits;
use crate::request::{Request, Sender, Tag, Target};

/// Bytes before the text.
pub const HEADER: usize = 24;
/// The longest frame.
pub const FRAME_MAX: usize = 1024;
/// The longest text.
pub const TEXT_MAX: usize = FRAME_MAX - HEADER;
/// Bytes of a name field.
pub const NAME_FIELD: usize = 8;

/// `type` of a message.
pub const MESSAGE: u16 = 0;
/// `type` of a response, and of a hello.
pub const RESPONSE: u16 = 1;
/// `type` of an offline message.
pub const OFFLINE: u16 = 2;

/// The response codes: the text of a frame of type 1.
pub mod code {
    /// The recipient, or its transport, took the message; the server took a group message.
    pub const TAKEN: &[u8; 3] = b"200";
    /// Nobody took it within 3 s: kept as offline mail.
    pub const STORED: &[u8; 3] = b"300";
    /// Malformed frame, unknown type, or no name; the connection closes.
    pub const MALFORMED: &[u8; 3] = b"400";
    /// Not allowed, or a wrong password; the connection closes.
    pub const NOT_ALLOWED: &[u8; 3] = b"401";
    /// No such user or group.
    pub const NO_SUCH: &[u8; 3] = b"404";
    /// The name is in use in this dialect; the connection closes.
    pub const IN_USE: &[u8; 3] = b"409";
    /// No room: the message, or a copy of it, was not kept.
    pub const FULL: &[u8; 3] = b"507";
}

/// A frame as it stands in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Frame<'a> {
    /// `type`.
    pub kind: u16,
    /// `messageID`.
    pub id: u32,
    /// `SRC_username`, whole with its padding.
    pub src: &'a [u8; NAME_FIELD],
    /// `DST_username`, whole with its padding.
    pub dst: &'a [u8; NAME_FIELD],
    /// The message.
    pub text: &'a [u8],
}

/// What a first look at a stream shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Look<'a> {
    /// A whole frame, and how long it is.
    Frame(Frame<'a>, usize),
    /// The beginning of a frame.
    Partial,
    /// `len` is not 24..=1024: nothing behind it can be made out.
    Malformed,
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with.
    #[inline(never)]
    pub fn look(bytes: &'a [u8]) -> Look<'a> {
        let Some((&[l0, l1], _)) = bytes.split_first_chunk::<2>() else { return Look::Partial };
        let len = u16::from_be_bytes([l0, l1]) as usize;
        if !(HEADER..=FRAME_MAX).contains(&len) {
            return Look::Malformed;
        }
        let Some(frame) = bytes.get(..len) else { return Look::Partial };
        match Frame::whole(frame) {
            Some(frame) => Look::Frame(frame, len),
            None => Look::Malformed,
        }
    }

    /// Header and text, whatever `len` says.
    #[inline]
    fn whole(bytes: &'a [u8]) -> Option<Self> {
        let (&[_, _, t0, t1, i0, i1, i2, i3], rest) = bytes.split_first_chunk::<8>()?;
        let (src, rest) = rest.split_first_chunk::<NAME_FIELD>()?;
        let (dst, text) = rest.split_first_chunk::<NAME_FIELD>()?;
        let (kind, id) = (u16::from_be_bytes([t0, t1]), u32::from_be_bytes([i0, i1, i2, i3]));
        Some(Frame { kind, id, src, dst, text })
    }

    /// `SRC_username` without its padding.
    #[inline]
    pub fn source(&self) -> &'a [u8] {
        field_until_nul(self.src)
    }

    /// `DST_username` without its padding.
    #[inline]
    pub fn destination(&self) -> &'a [u8] {
        field_until_nul(self.dst)
    }

    /// Bytes that [`Frame::emit`] needs.
    pub fn emitted_len(&self) -> usize {
        HEADER.saturating_add(self.text.len())
    }

    /// Writes the frame and returns its length; `None` if the text is over [`TEXT_MAX`] or `out`
    /// is too small.
    #[inline]
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        if self.text.len() > TEXT_MAX {
            return None;
        }
        let len = self.emitted_len();
        let (header, text) = out.get_mut(..len)?.split_first_chunk_mut::<HEADER>()?;
        let ([l0, l1], [t0, t1]) = ((len as u16).to_be_bytes(), self.kind.to_be_bytes());
        let ([i0, i1, i2, i3], s, d) = (self.id.to_be_bytes(), self.src, self.dst);
        *header = [
            l0, l1, t0, t1, i0, i1, i2, i3, s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], d[0],
            d[1], d[2], d[3], d[4], d[5], d[6], d[7],
        ];
        crate::copy(text, self.text);
        Some(len)
    }
}

/// A name field: the name if it fits, else the mark and the number. `mark` is `#` for a group and
/// nothing for a user, whose number is marked `~`. Of no user it is empty; of no group it is `#0`.
#[inline]
pub fn name_field(name: &[u8], number: u32, group: bool) -> [u8; NAME_FIELD] {
    let mut field = [0; NAME_FIELD];
    let mut digits = [0; 10];
    let mark = if group { b'#' } else { b'~' };
    let marks = usize::from(group);
    let (marks, rest) = if !name.is_empty() && name.len() <= NAME_FIELD - marks {
        (marks, name)
    } else if number != 0 || group {
        (1, decimal(number, &mut digits))
    } else {
        return field;
    };
    if marks != 0
        && let Some(first) = field.first_mut()
    {
        *first = mark;
    }
    for (place, byte) in field.iter_mut().skip(marks).zip(rest) {
        *place = *byte;
    }
    field
}

/// Whom a name field without its padding means: a user or a group.
#[inline]
pub fn target(field: &[u8]) -> Target<'_> {
    match field {
        [b'#', name @ ..] => number(name).map_or(Target::GroupName(name), Target::Group),
        field => user(field),
    }
}

/// Which user a name field without its padding means.
#[inline]
pub fn user(field: &[u8]) -> Target<'_> {
    match field {
        [b'~', digits @ ..] => number(digits).map_or(Target::UserName(field), Target::User),
        name => Target::UserName(name),
    }
}

/// The codec of the exchange.
pub(crate) struct Wire;

impl Codec for Wire {
    const TRAITS: Traits = Traits {
        name: "direct",
        stream: true,
        log_in_at_endpoint: false,
        log_in_batched: false,
        log_in_renews: false,
        asks_password: false,
        receipts: true,
        direct_share: false,
        conversations: false,
        same_for_all: true,
        quiet: false,
        overhead: HEADER as u32,
        text_max: TEXT_MAX as u32,
        row: 0,
    };

    const ANSWER_LEN: (usize, usize) = (HEADER + code::FULL.len(), HEADER + code::FULL.len());

    #[inline]
    fn decode<'b>(bytes: &'b [u8], progress: &mut Progress, limits: &Limits) -> Decoded<'b> {
        if progress.skip != 0 {
            let used = bytes.len().min(progress.skip as usize);
            progress.skip = progress.skip.wrapping_sub(used as u32);
            return Decoded::Skipped { used };
        }
        let (frame, used) = match Frame::look(bytes) {
            Look::Frame(frame, used) => (frame, used),
            Look::Partial => return too_long(bytes, progress, limits).unwrap_or(Decoded::Partial),
            Look::Malformed => {
                // As far as it has come: the rest of what is no frame is not waited for.
                let id = bytes.get(4..).and_then(|rest| rest.first_chunk::<4>());
                let tag = Tag(id.map_or(0, |id| u32::from_be_bytes(*id)));
                return Decoded::Refused { used: 0, tag, outcome: Outcome::Malformed };
            }
        };
        if frame.text.len() > limits.message_length {
            return too_long(bytes, progress, limits).unwrap_or(Decoded::Dropped { used });
        }
        let (src, dst, tag) = (frame.source(), frame.destination(), Tag(frame.id));
        let request = match (frame.kind, dst) {
            _ if src.is_empty() => None,
            (RESPONSE, []) => {
                Some(Request::LogIn { user: user(src), password: until_nul(frame.text) })
            }
            (RESPONSE, _) if until_nul(frame.text) != code::TAKEN => {
                return Decoded::Dropped { used };
            }
            (RESPONSE, _) => Some(Request::Receipt { from: user(dst), id: frame.id }),
            (MESSAGE | OFFLINE, _) => {
                let (to, id) = (target(dst), Some(frame.id));
                Some(Request::Send {
                    to,
                    text: frame.text,
                    priority: 3,
                    receipt: true,
                    id,
                    member: false,
                })
            }
            _ => None,
        };
        match request {
            Some(request) => {
                let same = progress.source == *frame.src;
                progress.source = *frame.src;
                let sender = if same { Sender::Same(user(src)) } else { Sender::Link(user(src)) };
                Decoded::Request { used, sender, tag, request }
            }
            None => Decoded::Refused { used, tag, outcome: Outcome::Malformed },
        }
    }

    #[inline]
    fn encode(event: &Event<'_>, _to: Recipient, _limits: &Limits, out: &mut [u8]) -> usize {
        match event {
            Event::Message(message) => {
                let dst = match &message.group {
                    Some(group) => name_field(group.name, group.number, true),
                    None => name_field(message.to.name, message.to.number, false),
                };
                let src = name_field(message.from.name, message.from.number, false);
                let kind = if message.offline { OFFLINE } else { MESSAGE };
                let (text, ellipsis) = cut(message.text, TEXT_MAX);
                let frame = Frame { kind, id: message.id, src: &src, dst: &dst, text };
                if ellipsis.is_empty() {
                    return frame.emit(out).unwrap_or(0);
                }
                // The text is longer than a frame: an ellipsis takes the place of its end.
                let Some(len) = frame.emit(out) else { return 0 };
                let Some(place) = out.get_mut(len..len.saturating_add(ellipsis.len())) else {
                    return 0;
                };
                crate::copy(place, ellipsis);
                let len = len.saturating_add(ellipsis.len());
                if let Some(field) = out.first_chunk_mut::<2>() {
                    *field = (len as u16).to_be_bytes();
                }
                len
            }
            Event::Answer(answer) => {
                let text = match answer.outcome {
                    // A hello and whatever else succeeds has no answer here.
                    Outcome::Done if answer.kind != Kind::Send => return 0,
                    Outcome::Done | Outcome::Received => code::TAKEN,
                    Outcome::Stored => code::STORED,
                    Outcome::Malformed | Outcome::Version | Outcome::BadName => code::MALFORMED,
                    Outcome::NoSuchUser | Outcome::NoSuchGroup => code::NO_SUCH,
                    Outcome::InUse | Outcome::Exists => code::IN_USE,
                    Outcome::Full(_) => code::FULL,
                    _ => code::NOT_ALLOWED,
                };
                let src = match answer.outcome {
                    Outcome::Done | Outcome::Received | Outcome::Stored => {
                        name_field(answer.about.name, answer.about.number, answer.group)
                    }
                    _ => [0; NAME_FIELD],
                };
                let dst = name_field(answer.to.name, answer.to.number, false);
                let frame = Frame {
                    kind: RESPONSE,
                    id: answer.tag.0,
                    src: &src,
                    dst: &dst,
                    text: &text[..],
                };
                frame.emit(out).unwrap_or(0)
            }
            _ => 0,
        }
    }

    fn closes(outcome: Outcome) -> bool {
        matches!(
            outcome,
            Outcome::Malformed | Outcome::BadName | Outcome::NotAllowed | Outcome::InUse
        )
    }
}

/// A frame longer than this exchange keeps is refused as soon as its header is there; its text is
/// skipped as it comes, so that it needs no buffer.
#[cold]
fn too_long(bytes: &[u8], progress: &mut Progress, limits: &Limits) -> Option<Decoded<'static>> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let &[l0, l1, _, _, i0, i1, i2, i3, ..] = header;
    let text = (u16::from_be_bytes([l0, l1]) as usize).saturating_sub(HEADER);
    if text <= limits.message_length {
        return None;
    }
    progress.skip = text as u32;
    let tag = Tag(u32::from_be_bytes([i0, i1, i2, i3]));
    Some(Decoded::Refused { used: HEADER, tag, outcome: Outcome::Full(Limit::MessageLength) })
}
