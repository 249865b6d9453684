//! `native`: Centrala's own dialect, which expresses all that the exchange can do.
//!
//! A client sends [`Request`]s and is sent [`Event`]s, both encoded as postcard does: the variant's
//! number, then its fields in order; integers as varints of 7 bits a byte, the lowest first (signed
//! ones zigzag), a `u8` and a `bool` as a byte, bytes and names behind their length, an `Option` as
//! 0, or 1 and its value.
//!
//! # Frames
//!
//! Over TCP:
//!
//! | offset | size | field                                                             |
//! |--------|------|-------------------------------------------------------------------|
//! | 0      | 2    | length of what follows, little-endian; 0 is a frame of no meaning |
//! | 2      | len  | of a client: the request's id as a varint, then the request       |
//! |        |      | of the exchange: an event                                         |
//!
//! Over a serial line the same without its length, with a checksum, between zeros: [`serial`].
//!
//! # Rules
//!
//! - The first request is [`Request::Hello`]. Until it was answered with [`Event::Welcome`]
//!   everything else is refused, and without it the link is closed after 10 s. A user has one
//!   session in this dialect.
//! - Every answer repeats the id of its request. A request of id 0 is answered only if it is refused.
//!   What promises that something is kept leaves when it is.
//! - A frame that is no request is refused, one that is longer than [`frame_max`] is skipped; the
//!   link goes on behind it.
//! - A live message counts as delivered when it was given to the link. Mail has a mark, and is kept
//!   until the client acknowledges it. Marks come without gaps: a client that finds one (on a noisy
//!   line) does not acknowledge beyond it, and begins its session anew with another hello.
//!
//! # Versions
//!
//! Variants and fields are only ever added, behind the last: a variant within a version, as
//! whoever does not know it can tell by its number and skip its frame; a field with a step of
//! [`VERSION`]. The version is the first field of the first request, and of its answer, for ever.
//!
//! # Examples
//!
//! ```text
//! hello of anna, id 1       0a 00  01 00 01  01 04 61 6e 6e 61  00
//! welcome, user 3, 1,024    0b 00  00 01 01  03 04 61 6e 6e 61  80 08
//! "hej" to user 5, id 7     0b 00  07 02 00 00 05  03 00  03 68 65 6a
//! user 5 has it             04 00  01 07 00 05
//! no such user              03 00  02 07 06
//! join #news for 10, id 8   0a 00  08 05 01 04 6e 65 77 73  01 0a
//! full: 16 memberships      05 00  02 08 0c 03 10
//! what user 5 gets          19 00  03 09 00 00 c8 aa f6 a3 aa 33 03 00  03 04 61 6e 6e 61  00 00 00  03 68 65 6a
//! ```

mod codec;
pub mod serial;
mod wire;

use super::{Codec, Decoded, ListFrame, Progress, Recipient, Traits};
use crate::event::{self, Kind, Outcome, Page};
use crate::exchange::{Rows, message_id};
use crate::limits::Limits;
use crate::request::{self, Sender, Tag, Target};

use codec::{Reader, Writer};
pub use wire::{
    Chat, Event, How, Limit, List, Message, Party, Private, Refusal, Request, To, Who,
};

/// The version of the wire format that this is.
pub const VERSION: u16 = 1;
/// Bytes before the request or event.
pub const HEADER: usize = 2;
/// By how many bytes a frame may be longer than the longest text that the exchange takes.
pub const OVERHEAD: usize = 128;

/// Bytes of the longest frame between a client and an exchange that takes texts of up to
/// `message_length` bytes.
pub const fn frame_max(message_length: usize) -> usize {
    message_length.saturating_add(OVERHEAD)
}

/// A frame's header has room for the longest text.
const _: () = assert!(frame_max(crate::limits::MESSAGE_LENGTH_MAX) <= HEADER + u16::MAX as usize);

/// Bytes that are no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NoRequest {
    /// Not of this version's, or not of any.
    Malformed {
        /// The request's id; 0 if not even that is there.
        id: u32,
    },
    /// A hello of another version.
    Version {
        /// The request's id.
        id: u32,
    },
}

/// Bytes that are no event that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoEvent;

impl core::fmt::Display for NoEvent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "an event that version {VERSION} of native does not have")
    }
}
impl core::error::Error for NoEvent {}

/// What the first frame holds, and how long it is with its header; `None`: it is not whole.
#[inline]
pub fn look(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (len, rest) = bytes.split_first_chunk::<HEADER>()?;
    let len = usize::from(u16::from_le_bytes(*len));
    Some((rest.get(..len)?, HEADER.saturating_add(len)))
}

impl<'a> Request<'a> {
    /// Takes apart what a client's frame holds: the request's id, and the request.
    ///
    /// # Errors
    /// [`NoRequest`], with the id as far as it can be told.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<(u32, Request<'a>), NoRequest> {
        let mut reader = Reader(payload);
        let id = reader.u32().ok_or(NoRequest::Malformed { id: 0 })?;
        let rest = reader.0;
        match (reader.request(), reader.0) {
            (Some(Request::Hello { version, .. }), _) if version != VERSION => {
                Err(NoRequest::Version { id })
            }
            (Some(request), []) => Ok((id, request)),
            _ => Err(Self::undecodable(id, rest)),
        }
    }

    /// A hello is one in every version, as far as its first field.
    #[cold]
    fn undecodable(id: u32, rest: &[u8]) -> NoRequest {
        let mut reader = Reader(rest);
        match (reader.u32(), reader.u16()) {
            (Some(0), Some(version)) if version != VERSION => NoRequest::Version { id },
            _ => NoRequest::Malformed { id },
        }
    }

    /// Writes the frame of this request and returns its length; `None` if `out` is too small.
    #[inline]
    pub fn encode(&self, id: u32, out: &mut [u8]) -> Option<usize> {
        frame(out, |writer| {
            writer.u32(id);
            writer.request(self);
        })
    }
}

impl<'a> Event<'a> {
    /// Takes apart what a frame of the exchange holds.
    ///
    /// # Errors
    /// [`NoEvent`]: to be skipped.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<Event<'a>, NoEvent> {
        let mut reader = Reader(payload);
        reader.event().filter(|_| reader.0.is_empty()).ok_or(NoEvent)
    }

    /// Writes the frame of this event and returns its length; `None` if `out` is too small.
    #[inline]
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        frame(out, |writer| writer.event(self))
    }
}

/// Puts the header before what is written.
#[inline]
fn frame(out: &mut [u8], write: impl FnOnce(&mut Writer<'_>)) -> Option<usize> {
    let (header, rest) = out.split_first_chunk_mut::<HEADER>()?;
    let mut writer = Writer::new(rest);
    write(&mut writer);
    let len = writer.len()?;
    *header = u16::try_from(len).ok()?.to_le_bytes();
    Some(HEADER.saturating_add(len))
}

/// Bytes of the longest row of a list.
const ROW: usize = 64;

/// The codec of the exchange.
pub(crate) struct Wire;

impl Codec for Wire {
    /// A row of a list; the refusal that names a limit.
    const ANSWER_LEN: (usize, usize) = (ROW, HEADER + 1 + 5 + 1 + 1 + 5);
    const DELIVERY_LEN: (usize, usize) = (OVERHEAD, 1);

    const TRAITS: Traits = Traits {
        name: "native",
        stream: true,
        log_in_at_endpoint: false,
        log_in_batched: false,
        log_in_renews: true,
        asks_password: true,
        receipts: false,
        direct_share: false,
        conversations: false,
        same_for_all: true,
        quiet: true,
        overhead: OVERHEAD as u32,
        text_max: u32::MAX,
        row: ROW as u32,
    };

    #[inline]
    fn decode<'b>(bytes: &'b [u8], progress: &mut Progress, limits: &Limits) -> Decoded<'b> {
        if progress.skip != 0 {
            let used = bytes.len().min(progress.skip as usize);
            progress.skip = progress.skip.wrapping_sub(used as u32);
            return Decoded::Skipped { used };
        }
        let Some((payload, used)) = look(bytes) else {
            return too_long(bytes, progress, limits).unwrap_or(Decoded::Partial);
        };
        if payload.is_empty() {
            return Decoded::Skipped { used };
        }
        if used > frame_max(limits.message_length) {
            return too_long(bytes, progress, limits).unwrap_or(Decoded::Dropped { used });
        }
        let (id, request) = match Request::decode(payload) {
            Ok((id, request)) => (id, translate(request)),
            Err(NoRequest::Malformed { id }) => (id, Err(Outcome::Malformed)),
            Err(NoRequest::Version { id }) => (id, Err(Outcome::Version)),
        };
        let tag = Tag(id);
        match request {
            Ok(request) => Decoded::Request { used, sender: Sender::Own, tag, request },
            Err(outcome) => Decoded::Refused { used, tag, outcome },
        }
    }

    #[inline]
    fn encode(event: &event::Event<'_>, _to: Recipient, limits: &Limits, out: &mut [u8]) -> usize {
        let event = match *event {
            event::Event::Message(ref message) => {
                let number = message_id(message.sequence);
                return frame(out, |writer| writer.message(number, message)).unwrap_or(0);
            }
            event::Event::Answer(ref answer) => match answer_event(answer, limits) {
                Some(event) => event,
                None => return 0,
            },
            event::Event::Ended { group } => Event::Ended { group: group.into() },
            event::Event::History(Page::Row { tag, row, .. }) => Event::Said {
                id: tag.0,
                number: message_id(row.message.sequence),
                time: row.message.time,
                priority: row.message.priority,
                from: row.from.into(),
                image: row.message.image,
                text: row.message.text,
            },
            event::Event::Chats(Page::Row { tag, row, .. }) => {
                let chat = match row.chat {
                    request::Chat::Group(group) => Chat::Group(group),
                    request::Chat::Direct(user) => Chat::User(user),
                    request::Chat::Private { group, user } => {
                        Chat::Private(Private { group, user })
                    }
                };
                Event::Count { id: tag.0, chat, all: row.all, new: row.new }
            }
            event::Event::History(Page::End { tag, total })
            | event::Event::Chats(Page::End { tag, total }) => {
                Event::Done { id: tag.0, how: How::Done, number: total }
            }
            // Presence is for those who enter conversations, and an image's bytes are the host's.
            event::Event::History(Page::Begin { .. })
            | event::Event::Chats(Page::Begin { .. })
            | event::Event::Presence { .. }
            | event::Event::Image { .. } => return 0,
        };
        event.encode(out).unwrap_or(0)
    }

    fn encode_list(
        _list: request::List,
        tag: Tag,
        rows: &mut Rows<'_>,
        _to: Recipient,
        _limits: &Limits,
        out: &mut [u8],
    ) -> ListFrame {
        let id = tag.0;
        let Some(party) = rows.next() else {
            let len = Event::Done { id, how: How::Done, number: 0 }.encode(out).unwrap_or(0);
            return ListFrame { len, last: true };
        };
        let (active, left) = rows.state();
        let row = Event::Row { id, party: party.into(), active, left };
        ListFrame { len: row.encode(out).unwrap_or(0), last: false }
    }
}

/// A request in the exchange's words.
#[inline]
fn translate(request: Request<'_>) -> Result<request::Request<'_>, Outcome> {
    Ok(match request {
        Request::Hello { user, password, .. } => {
            request::Request::LogIn { user: user_target(user), password }
        }
        Request::LogOut => request::Request::LogOut,
        Request::Send { to, priority, receipt, text } => request::Request::Send {
            to: match to {
                To::User(user) => user_target(user),
                To::Group(group) => group_target(group),
            },
            text,
            priority: priority.into(),
            receipt,
            id: None,
            member: false,
        },
        Request::Ack { mark } => request::Request::Taken { mark },
        Request::CreateGroup { name } => request::Request::CreateGroup { name, max: u32::MAX },
        Request::Join { group, count } => {
            let count = match count {
                Some(count) => i32::try_from(count).map_err(|_| Outcome::Malformed)?,
                None => -1,
            };
            request::Request::Join { group: group_target(group), count }
        }
        Request::Leave { group } => request::Request::Leave { group: group_target(group) },
        Request::List(list) => match list {
            List::Online => request::Request::List(request::List::Online),
            List::Groups => request::Request::List(request::List::Groups),
            List::MyGroups => request::Request::List(request::List::MyGroups),
            List::Members(group) => request::Request::Members { group: group_target(group) },
            List::Users => request::Request::List(request::List::Users),
        },
        Request::ShutDown => request::Request::ShutDown,
        Request::Ping => request::Request::Ping,
        Request::NewChat { group } => request::Request::NewChat { group },
        Request::Say { chat, text } => request::Request::Say { chat: conversation(chat), text },
        Request::Seen { chat } => request::Request::Exit(conversation(chat)),
        Request::History { chat, before, limit } => {
            request::Request::History { chat: conversation(chat), before, limit }
        }
        Request::Chats => request::Request::Chats,
    })
}

#[cfg_attr(not(target_os = "none"), inline)]
#[cfg_attr(target_os = "none", inline(never))]
fn conversation(chat: Chat) -> request::Chat {
    match chat {
        Chat::Group(group) => request::Chat::Group(group),
        Chat::User(user) => request::Chat::Direct(user),
        Chat::Private(Private { group, user }) => request::Chat::Private { group, user },
    }
}

#[inline]
fn user_target(user: Who<'_>) -> Target<'_> {
    match user {
        Who::Number(number) => Target::User(number),
        Who::Name(name) => Target::UserName(name),
    }
}

#[inline]
fn group_target(group: Who<'_>) -> Target<'_> {
    match group {
        Who::Number(number) => Target::Group(number),
        Who::Name(name) => Target::GroupName(name),
    }
}

/// The event for an answer, if there is one.
fn answer_event<'a>(answer: &event::Answer<'a>, limits: &Limits) -> Option<Event<'a>> {
    let id = answer.tag.0;
    let how = match answer.outcome {
        Outcome::Done if answer.kind == Kind::LogIn => {
            let message_length = limits.message_length as u32;
            return Some(Event::Welcome {
                id,
                version: VERSION,
                user: answer.to.into(),
                message_length,
            });
        }
        Outcome::Done => How::Done,
        Outcome::Received => How::Received,
        Outcome::Stored => How::Stored,
        refused => return Some(Event::Refused { id, why: refusal(refused, answer.size) }),
    };
    (id != 0).then_some(Event::Done { id, how, number: answer.about.number })
}

fn refusal(outcome: Outcome, size: u32) -> Refusal {
    match outcome {
        Outcome::Malformed | Outcome::Done | Outcome::Received | Outcome::Stored => {
            Refusal::Malformed
        }
        Outcome::Version => Refusal::Version { speaks: VERSION },
        Outcome::NotLoggedIn => Refusal::NotLoggedIn,
        Outcome::BadName => Refusal::BadName,
        Outcome::NotAllowed => Refusal::NotAllowed,
        Outcome::NotMember | Outcome::NotEntered => Refusal::NotMember,
        Outcome::NoSuchUser => Refusal::NoSuchUser,
        Outcome::NoSuchGroup => Refusal::NoSuchGroup,
        Outcome::NoSuchChat => Refusal::NoSuchChat,
        Outcome::InUse => Refusal::InUse,
        Outcome::Exists => Refusal::Exists,
        Outcome::Own => Refusal::Own,
        Outcome::NotKept => Refusal::NotKept,
        Outcome::Full(limit) => Refusal::Full { limit: limit.into(), size },
    }
}

/// A frame longer than this exchange takes is refused as soon as its request's id is there, and
/// skipped as it comes, so that it needs no buffer.
#[cold]
fn too_long(bytes: &[u8], progress: &mut Progress, limits: &Limits) -> Option<Decoded<'static>> {
    let (len, rest) = bytes.split_first_chunk::<HEADER>()?;
    let len = u16::from_le_bytes(*len);
    if HEADER.saturating_add(len.into()) <= frame_max(limits.message_length) {
        return None;
    }
    // The longest varint of 32 bits; the frame is longer.
    let id = match Reader(rest).u32() {
        Some(id) => id,
        None if rest.len() < 5 => return None,
        None => 0,
    };
    progress.skip = len.into();
    let outcome = Outcome::Full(event::Limit::MessageLength);
    Some(Decoded::Refused { used: HEADER, tag: Tag(id), outcome })
}

#[cfg(test)]
mod tests;
