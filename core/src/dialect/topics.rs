//! `topics`: named topics with counted subscriptions and priorities, over SysV message queues.
//!
//! C structs on x86-64 Linux, little-endian; `msgsz` does not count the leading `long type`.
//!
//! ```c
//! struct client_msgf { long type; int id; int topic; int number; char text[1024]; };  /* 1048 */
//! struct text_msg    { long type; int info; char text[1056]; };                       /* 1072 */
//! ```
//!
//! | `type` | request                 | fields                                  | answer                                  |
//! |--------|-------------------------|-----------------------------------------|-----------------------------------------|
//! | 1      | log in                  | `id` = the client's queue key, `text`   | in the server's queue, `type` = the key |
//! | 2      | new topic               | `id`, `text` = name                     | `type` 2: 0, 1 exists, 2 no room        |
//! | 3      | subscribe               | `id`, `topic`, `number` = count or -1   | `type` 2: 0, 1 no such topic            |
//! | 4      | publish                 | `id`, `topic`, `number` = priority      | `type` 2: 0, 1 no such topic            |
//! | 5, 6   | all topics, my topics   | `id`                                    | `type` 1 each `"N. name"`, then `""`    |
//! | 7      | shut down               |                                         |                                         |
//!
//! Ids and topics count from 0: user and group number less one. A message from topic N comes as
//! `type` N + 4, a direct message as 1,000,000 + the sender's id, the end of a subscription as 3.
//! What waited from a topic that is no more comes as a direct message, `"#0: content"`.

use super::put::{Put, until_nul};
use super::{Codec, Decoded, ListFrame, Progress, Recipient, Recovered, Rows, Traits};
use crate::event::{Event, Kind, Limit, Outcome};
use crate::limits::Limits;
use crate::name::NAME_LENGTH;
use crate::request::{List, Request, Sender, Tag, Target};

/// Bytes of `text` in a request (`MESSAGE_LENGTH`).
pub const REQUEST_TEXT: usize = 1024;
/// Bytes of `text` in what the server sends (`MESSAGE_LENGTH + NAME_LENGTH + 2`).
pub const TEXT: usize = 1056;
/// Bytes before `text` in a request, with the `long`.
pub const REQUEST_FIXED: usize = 20;
/// Bytes before `text` in what the server sends, with the `long`.
pub const FIXED: usize = 12;
/// The largest request with its padding (`sizeof`), with the `long`.
pub const REQUEST_SIZE: usize = 1048;
/// The largest message to a client with its padding (`sizeof`), with the `long`.
pub const SIZE: usize = 1072;

/// `type` of a request.
#[allow(missing_docs)]
pub mod request {
    pub const LOG_IN: i64 = 1;
    pub const NEW_TOPIC: i64 = 2;
    pub const SUBSCRIBE: i64 = 3;
    pub const PUBLISH: i64 = 4;
    pub const ALL_TOPICS: i64 = 5;
    pub const MY_TOPICS: i64 = 6;
    pub const SHUT_DOWN: i64 = 7;
}

/// `type` of what the server sends to a client's queue.
pub mod kind {
    /// One topic of a list; an empty text ends the list.
    pub const LIST: i64 = 1;
    /// How a request went, in `info`.
    pub const RESULT: i64 = 2;
    /// A counted subscription has ended.
    pub const ENDED: i64 = 3;
    /// A message from topic N is of type N + 4.
    pub const TOPIC: i64 = 4;
    /// A direct message is of this type + the sender's id.
    pub const DIRECT: i64 = 1_000_000;
    /// A direct message whose sender is gone: as from the user of number 100, which is given to
    /// nobody.
    pub const FROM_NOBODY: i64 = DIRECT + 99;
}

/// Keys from 1 to 7 would be taken for requests in the server's queue, and 0 is private.
pub const KEY_MIN: i32 = 8;

/// `struct client_msgf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ClientMessage<'a> {
    /// `type`: which request.
    pub kind: i64,
    /// The client's id; its queue key when it logs in.
    pub id: i32,
    /// Topic number, from 0.
    pub topic: i32,
    /// A count or a priority.
    pub number: i32,
    /// `text`: up to the end of what was sent; a NUL ends the text proper ([`ClientMessage::text`]).
    pub field: &'a [u8],
}

impl<'a> ClientMessage<'a> {
    /// Reads a message with its leading `long`; `None` if the fixed fields are not whole, or it is
    /// larger than the struct.
    #[inline]
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > REQUEST_SIZE {
            return None;
        }
        let (kind, rest) = bytes.split_first_chunk::<8>()?;
        let (id, rest) = rest.split_first_chunk::<4>()?;
        let (topic, rest) = rest.split_first_chunk::<4>()?;
        let (number, field) = rest.split_first_chunk::<4>()?;
        Some(ClientMessage {
            kind: i64::from_le_bytes(*kind),
            id: i32::from_le_bytes(*id),
            topic: i32::from_le_bytes(*topic),
            number: i32::from_le_bytes(*number),
            field: field.get(..field.len().min(REQUEST_TEXT)).unwrap_or(field),
        })
    }

    /// The text up to its NUL.
    #[inline]
    pub fn text(&self) -> &'a [u8] {
        until_nul(self.field)
    }

    /// What stands between the NUL behind the text and the next one: the password of a log-in.
    pub fn second_text(&self) -> &'a [u8] {
        let after = self.text().len().saturating_add(1);
        self.field.get(after..).map_or(&[], until_nul)
    }

    /// Writes the message with its `long` and returns its length: as long as its text, with a NUL
    /// behind it. `None` if the text is longer than [`REQUEST_TEXT`]` - 1` or `out` too small.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        if self.field.len() >= REQUEST_TEXT {
            return None;
        }
        let mut put = Put::new(out);
        put.bytes(&self.kind.to_le_bytes());
        for field in [self.id, self.topic, self.number] {
            put.bytes(&field.to_le_bytes());
        }
        put.bytes(self.field);
        put.bytes(&[0]);
        Some(put.finish()).filter(|len| *len != 0)
    }
}

/// `struct text_msg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ServerMessage<'a> {
    /// `type`: see [`kind`]; in the server's queue the key of the client that logged in.
    pub kind: i64,
    /// A result, an id, or a priority.
    pub info: i32,
    /// The text up to its NUL.
    pub text: &'a [u8],
}

impl<'a> ServerMessage<'a> {
    /// Reads a message with its leading `long`; `None` if its fixed fields are not whole.
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first_chunk::<8>()?;
        let (info, text) = rest.split_first_chunk::<4>()?;
        let (kind, info) = (i64::from_le_bytes(*kind), i32::from_le_bytes(*info));
        Some(ServerMessage { kind, info, text: until_nul(text) })
    }

    /// Writes the message with its `long` and returns its length, the NUL behind the text included;
    /// `None` if `out` is too small.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let mut put = ServerMessage::begin(self.kind, self.info, out);
        put.text(self.text, TEXT - 1);
        put.bytes(&[0]);
        Some(put.finish()).filter(|len| *len != 0)
    }

    fn begin(kind: i64, info: i32, out: &mut [u8]) -> Put<'_> {
        let mut put = Put::new(out);
        put.bytes(&kind.to_le_bytes());
        put.bytes(&info.to_le_bytes());
        put
    }
}

/// The codec of the exchange.
pub(crate) struct Wire;

impl Codec for Wire {
    const TRAITS: Traits = Traits {
        name: "topics",
        stream: false,
        log_in_at_endpoint: true,
        log_in_batched: false,
        log_in_renews: false,
        asks_password: false,
        receipts: false,
        direct_share: true,
        conversations: false,
        same_for_all: true,
        quiet: false,
        overhead: (FIXED + NAME_LENGTH + 2) as u32,
        text_max: REQUEST_TEXT as u32,
        row: (FIXED + 12 + NAME_LENGTH) as u32,
    };

    const ANSWER_LEN: (usize, usize) = (FIXED + 12 + NAME_LENGTH, FIXED + 1);

    fn decode<'b>(bytes: &'b [u8], _progress: &mut Progress, limits: &Limits) -> Decoded<'b> {
        let used = bytes.len();
        let dropped = Decoded::Dropped { used };
        let Some(m) = ClientMessage::new_checked(bytes) else { return dropped };
        let tag = Tag(m.kind as u32);
        // Numbers here count from 0, and those of the exchange from 1: nothing becomes 0.
        let group = Target::Group(u32::try_from(m.topic).map_or(0, |n| n.saturating_add(1)));
        let request = match m.kind {
            request::LOG_IN if m.id < KEY_MIN => return dropped,
            request::LOG_IN => {
                Request::LogIn { user: Target::UserName(m.text()), password: m.second_text() }
            }
            request::NEW_TOPIC => {
                Request::CreateGroup { name: m.text(), max: limits.topics.topics }
            }
            request::SUBSCRIBE => Request::Join { group: listed(group, limits), count: m.number },
            request::PUBLISH => Request::Send {
                to: listed(group, limits),
                text: m.text(),
                priority: m.number,
                receipt: false,
                id: None,
                member: false,
            },
            request::ALL_TOPICS => Request::List(List::Groups),
            request::MY_TOPICS => Request::List(List::MyGroups),
            request::SHUT_DOWN => Request::ShutDown,
            _ => return dropped,
        };
        let sender = match (m.kind, u32::try_from(m.id)) {
            (request::LOG_IN, _) => Sender::New(m.id.into()),
            (_, Ok(id)) => Sender::User(id.saturating_add(1)),
            // Anyone who may write here may end the server: the request names nobody.
            (request::SHUT_DOWN, Err(_)) => Sender::User(0),
            (_, Err(_)) => return dropped,
        };
        Decoded::Request { used, sender, tag, request }
    }

    fn encode(event: &Event<'_>, to: Recipient, _limits: &Limits, out: &mut [u8]) -> usize {
        match event {
            Event::Message(message) => {
                let direct = match message.from.number {
                    0 => kind::FROM_NOBODY,
                    from => topic(from) + kind::DIRECT,
                };
                let (kind, info, name) = match &message.group {
                    None => (direct, 3, message.from.name),
                    // It is of no topic that there is.
                    Some(group) if group.number == 0 => (direct, 3, &b"#0"[..]),
                    Some(group) => {
                        (topic(group.number) + kind::TOPIC, message.priority.into(), group.name)
                    }
                };
                let mut put = ServerMessage::begin(kind, info, out);
                put.bytes(name);
                put.bytes(b": ");
                put.text(message.text, (TEXT - 3).saturating_sub(name.len()));
                put.bytes(&[0]);
                put.finish()
            }
            Event::Answer(answer) => {
                let info = match (answer.kind, answer.outcome) {
                    (Kind::LogIn, Outcome::Done) => topic(answer.to.number) as i32,
                    (Kind::LogIn, Outcome::Full(_)) => -2,
                    (Kind::LogIn, _) => -1,
                    (_, Outcome::Done | Outcome::Stored) => 0,
                    (Kind::CreateGroup, Outcome::Full(_)) => 2,
                    // The document has no word for a copy that was not kept.
                    (Kind::Send, Outcome::Full(limit)) if limit != Limit::Store => 0,
                    _ => 1,
                };
                let kind = if answer.kind == Kind::LogIn { to.address } else { kind::RESULT };
                ServerMessage { kind, info, text: &[] }.emit(out).unwrap_or(0)
            }
            Event::Ended { group } => numbered(kind::ENDED, group.number, group.name, out),
            _ => 0,
        }
    }

    fn encode_list(
        _list: List,
        _tag: Tag,
        rows: &mut Rows<'_>,
        _to: Recipient,
        limits: &Limits,
        out: &mut [u8],
    ) -> ListFrame {
        match rows.next().filter(|group| group.number <= limits.topics.topics) {
            Some(group) => {
                ListFrame { len: numbered(kind::LIST, group.number, group.name, out), last: false }
            }
            None => {
                let end = ServerMessage { kind: kind::LIST, info: 0, text: &[] };
                ListFrame { len: end.emit(out).unwrap_or(0), last: true }
            }
        }
    }

    fn clients(limits: &Limits) -> u32 {
        limits.topics.clients
    }

    fn recover<'b>(frame: &'b [u8], _limits: &Limits) -> Option<Recovered<'b>> {
        let message = ServerMessage::new_checked(frame)?;
        let (from, group) = match message.kind {
            kind::FROM_NOBODY => (0, 0),
            n if n >= kind::DIRECT => (u32::try_from(n - kind::DIRECT).ok()?.checked_add(1)?, 0),
            n if n >= kind::TOPIC => (0, u32::try_from(n - kind::TOPIC).ok()?.checked_add(1)?),
            _ => return None,
        };
        let priority = u8::try_from(message.info).unwrap_or(3);
        Some(Recovered { from, group, priority, text: message.text, named: true })
    }
}

/// The dialect's number, from 0, of what the exchange counts from 1.
fn topic(number: u32) -> i64 {
    i64::from(number).saturating_sub(1)
}

/// Groups above `TOPICS_NR` do not exist here.
fn listed(group: Target<'static>, limits: &Limits) -> Target<'static> {
    match group {
        Target::Group(number) if number > limits.topics.topics => Target::Group(0),
        group => group,
    }
}

/// `"N. name"`.
fn numbered(kind: i64, number: u32, name: &[u8], out: &mut [u8]) -> usize {
    let mut put = ServerMessage::begin(kind, 0, out);
    put.decimal(number.saturating_sub(1));
    put.bytes(b". ");
    put.bytes(name);
    put.bytes(&[0]);
    put.finish()
}
