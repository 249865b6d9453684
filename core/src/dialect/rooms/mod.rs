//! `rooms`: conversations about adverts, with history and images, as events of Socket.IO.
//!
//! The host speaks Socket.IO; an event is here its name and its arguments, in the order of the
//! protocol.
//!
//! - From a client an event is one MessagePack array: name, argument, … Texts are borrowed from it.
//! - To a client an event is one JSON array in a line of its own: `["name",argument,…]` and `\n`.
//!   Long lists come in parts ([`crate::host::Outbox::part`]) that together are such a line.
//!
//! An advert (`anons_id`) is a group. A chat is a pair (`anons_id`, `chat_id`): (g, 0) is what is
//! said in group g, (g, k) the private chat about it between its owner and user k, (0, k) the direct
//! messages with user k ([`Chat`]). What waited from a group that is no more is of (0, 0).
//!
//! | from a client                                              | answer                          |
//! |------------------------------------------------------------|---------------------------------|
//! | `auth-request`(username\[, password\])                     | `auth-response`                 |
//! | `get-user-chats`()                                         | `user-chats`                    |
//! | `get-chat-messages`(anons_id, chat_id\[, before\])         | `chat-messages`                 |
//! | `new-chat`(anons_id)                                       | `new-chat-response`             |
//! | `join-chat`(anons_id, chat_id)                             | `join-chat-response`            |
//! | `leave-chat`(anons_id, chat_id)                            | `leave-chat-response`           |
//! | `chat-msg`(anons_id, chat_id, message\[, tag\])            | `chat-msg`, `chat-response`     |
//! | `chat-img`(anons_id, chat_id, name, type, size\[, tag\])   | `chat-img`, `chat-response`     |
//! | `create-anons`(name)                                       | `create-anons-response`         |
//! | `get-anons`()                                              | `anons`                         |
//! | `get-users`()                                              | `users`                         |
//! | `get-image`(image_id)                                      | `image`                         |
//!
//! Whoever is not logged in gets `auth-response`(-1, `"Unauthorized"`) to anything but
//! `auth-request`. Wrong arguments are answered by the event's own answer. `tag`, a number from 1, is
//! repeated by `chat-response` where it was given.
//!
//! The bytes of an image never come here. The host gives their number in place of them (below 0:
//! [`WRONG_IMAGE`], [`LONG_IMAGE`], [`LOST_IMAGE`]), and puts them where an argument is
//! `{"image":id}`.

mod line;
mod pack;

use super::{Codec, Decoded, ListFrame, Progress, Recipient, Traits};
use crate::event::{Answer, Event, Kind, Limit, Message, Outcome, Page, Party};
use crate::exchange::{Rows, message_id};
use crate::limits::Limits;
use crate::request::{Chat, List, Request, Sender, Tag, Target};

use line::Line;
use pack::{ARGUMENTS, Argument, Called, event};

/// In place of the size of an image: its content is not of a known type, or not of the one it names.
pub const WRONG_IMAGE: i64 = -1;
/// In place of the size of an image: it has more bytes than an image may have.
pub const LONG_IMAGE: i64 = -2;
/// In place of the size of an image: the host could not keep it.
pub const LOST_IMAGE: i64 = -3;
/// Messages that one answer to `get-chat-messages` has, at most.
pub const HISTORY: u32 = 1_000;

/// Bytes of JSON for a byte of text: `\u0000`.
const ESCAPED: usize = 6;
/// Around a text: the event's name, two names of up to 29 bytes, which may be escaped by a backslash,
/// and up to five numbers of up to 20 digits.
const AROUND: usize = 384;

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Call {
    Auth = 1,
    UserChats,
    ChatMessages,
    NewChat,
    Join,
    Leave,
    Message,
    Image,
    Create,
    Adverts,
    Users,
    GetImage,
}

/// The names of the calls, and how many arguments each has at least.
const CALLS: [(&[u8], Call, usize); 12] = [
    (b"auth-request", Call::Auth, 1),
    (b"get-user-chats", Call::UserChats, 0),
    (b"get-chat-messages", Call::ChatMessages, 2),
    (b"new-chat", Call::NewChat, 1),
    (b"join-chat", Call::Join, 2),
    (b"leave-chat", Call::Leave, 2),
    (b"chat-msg", Call::Message, 3),
    (b"chat-img", Call::Image, 5),
    (b"create-anons", Call::Create, 1),
    (b"get-anons", Call::Adverts, 0),
    (b"get-users", Call::Users, 0),
    (b"get-image", Call::GetImage, 1),
];

/// A number of a user, group or chat; 0 is none.
fn id(argument: Argument<'_>) -> Option<u32> {
    match argument {
        Argument::Number(number) => u32::try_from(number).ok(),
        _ => None,
    }
}

fn text(argument: Argument<'_>) -> Option<&[u8]> {
    match argument {
        Argument::Text(text) => Some(text),
        _ => None,
    }
}

/// Which chat a pair of numbers is.
fn chat(anons: Argument<'_>, with: Argument<'_>) -> Option<Chat> {
    Some(match (id(anons)?, id(with)?) {
        (0, user) => Chat::Direct(user),
        (group, 0) => Chat::Group(group),
        (group, user) => Chat::Private { group, user },
    })
}

/// The pair of numbers that names a chat.
const fn pair(chat: Chat) -> (u32, u32) {
    match chat {
        Chat::Group(group) => (group, 0),
        Chat::Private { group, user } => (group, user),
        Chat::Direct(user) => (0, user),
    }
}

/// What an event asks for, or why it cannot be; `None` where an argument is wrong.
fn request<'a>(
    call: Call,
    [a, b, c, d, e, f]: [Argument<'a>; ARGUMENTS],
    count: usize,
) -> Option<(Tag, Result<Request<'a>, Outcome>)> {
    let mut tag = Tag(0);
    // A number that names the answer, where there is one.
    let optional = |argument| id(argument).filter(|tag| *tag != 0);
    let request = match call {
        Call::Auth => {
            let password = if count > 1 { text(b)? } else { &[] };
            Request::LogIn { user: Target::UserName(text(a)?), password }
        }
        Call::UserChats => Request::Chats,
        Call::ChatMessages => {
            let before = match c {
                Argument::Number(before) => Some(u64::try_from(before).ok()?),
                _ if count > 2 => return None,
                _ => None,
            };
            Request::History { chat: chat(a, b)?, before, limit: HISTORY }
        }
        Call::NewChat => Request::NewChat { group: id(a)? },
        Call::Join => {
            tag = Tag(id(b)?);
            Request::Enter(chat(a, b)?)
        }
        Call::Leave => {
            tag = Tag(id(b)?);
            Request::Exit(chat(a, b)?)
        }
        Call::Message => {
            tag = Tag(if count > 3 { optional(d)? } else { 0 });
            Request::Say { chat: chat(a, b)?, text: text(c)? }
        }
        Call::Image => {
            tag = Tag(if count > 5 { optional(f)? } else { 0 });
            let (chat, name, kind) = (chat(a, b)?, text(c)?, text(d)?);
            let Argument::Number(size) = e else { return None };
            let size = match size {
                LONG_IMAGE => return Some((tag, Err(Outcome::Full(Limit::MessageLength)))),
                LOST_IMAGE => return Some((tag, Err(Outcome::Full(Limit::Store)))),
                size => match u32::try_from(size) {
                    Ok(size) => size,
                    Err(_) => return Some((tag, Err(Outcome::BadName))),
                },
            };
            Request::SayImage { chat, name, kind, size }
        }
        Call::Create => Request::CreateGroup { name: text(a)?, max: u32::MAX },
        Call::Adverts => Request::List(List::Groups),
        Call::Users => Request::List(List::Users),
        Call::GetImage => {
            tag = Tag(id(a)?);
            Request::Image { id: u64::from(tag.0) }
        }
    };
    Some((tag, Ok(request)))
}

/// A message's id as the protocol has it.
fn number_of(sequence: u64) -> i64 {
    i64::try_from(message_id(sequence)).unwrap_or(i64::MAX)
}

fn date(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// The name and type of an image, from the text that stands for it.
fn image_of(text: &[u8]) -> (&[u8], &[u8]) {
    let inner = text.strip_prefix(b"[image: ").unwrap_or(text);
    // Neither a type nor a size has a comma; a name may.
    let mut parts = inner.rsplitn(3, |byte| *byte == b',');
    let (_size, kind, name) = (parts.next(), parts.next(), parts.next());
    let kind = kind.unwrap_or(&[]);
    (name.unwrap_or(&[]), kind.strip_prefix(b" ").unwrap_or(kind))
}

fn message(message: &Message<'_>, to: Recipient, out: &mut [u8]) -> usize {
    let chat = match (message.group, message.private) {
        (Some(group), _) => Chat::Group(group.number),
        (None, Some(private)) => private,
        // Who sent it sees it under the name of the recipient.
        (None, None) if to.user == message.from.number => Chat::Direct(message.to.number),
        (None, None) => Chat::Direct(message.from.number),
    };
    let here = message.entered && !message.offline;
    let name = match (message.image, here) {
        (false, true) => "chat-msg",
        (false, false) => "new-msg-notification",
        (true, true) => "chat-img",
        (true, false) => "new-img-notification",
    };
    let id = number_of(message.sequence);
    let mut line = Line::event(out, name);
    line.and_number(id);
    line.and_chat(chat);
    line.and_string(message.from.name);
    line.and_number(date(message.time));
    if message.image {
        let (name, kind) = image_of(message.text);
        line.and_string(name);
        line.and_string(kind);
        if here {
            line.and_image(id);
        }
    } else {
        line.and_string(message.text);
    }
    line.end()
}

/// What a client reads about how its request went.
fn reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done | Outcome::Received | Outcome::Stored => "OK",
        Outcome::Malformed | Outcome::Version => "Wrong arguments",
        Outcome::BadName => "Not a name, or not an image",
        Outcome::NotAllowed => "Wrong password",
        Outcome::NotLoggedIn => "Unauthorized",
        Outcome::NotMember | Outcome::NotEntered => "You are not in this chat",
        Outcome::NoSuchChat => "No such chat",
        Outcome::NoSuchUser => "No such user",
        Outcome::NoSuchGroup => "No such advert",
        Outcome::InUse => "Already logged in as another user",
        Outcome::Exists => "It exists already",
        Outcome::Own => "It is your own advert",
        Outcome::NotKept => "Nobody keeps it",
        Outcome::Full(Limit::MessageLength) => "Too long",
        Outcome::Full(Limit::Store) => "It could not be kept",
        Outcome::Full(Limit::Registrations) => "Too many new users: try again in a minute",
        Outcome::Full(Limit::Mailbox) => "Not everybody has room for it",
        Outcome::Full(_) => "No room",
    }
}

fn answer(answer: &Answer<'_>, out: &mut [u8]) -> usize {
    let done = matches!(answer.outcome, Outcome::Done | Outcome::Received | Outcome::Stored);
    let why = reason(answer.outcome).as_bytes();
    let about = i64::from(answer.about.number);
    let or_refused = |number: i64| if done { number } else { -1 };
    let kind = match answer.kind {
        // Wrong arguments: the tag says of what.
        Kind::Frame if answer.to.number == 0 => return auth(Outcome::NotLoggedIn, 0, out),
        Kind::Frame => match CALLS.iter().find(|(_, call, _)| *call as u32 == answer.tag.0) {
            Some((_, call, _)) => kind_of(*call),
            None => return 0,
        },
        kind => kind,
    };
    let tag = if answer.kind == Kind::Frame { Tag(0) } else { answer.tag };
    let mut line = match kind {
        Kind::Name | Kind::LogIn => return auth(answer.outcome, answer.to.number, out),
        Kind::Send => {
            let mut line = Line::event(out, "chat-response");
            line.and_number(or_refused(1));
            line.and_string(why);
            if tag.0 != 0 {
                line.and_number(tag.0);
            }
            return line.end();
        }
        Kind::CreateGroup => {
            let mut line = Line::event(out, "create-anons-response");
            line.and_number(or_refused(about));
            line
        }
        Kind::NewChat => {
            let mut line = Line::event(out, "new-chat-response");
            line.and_number(about);
            line.and_number(or_refused(i64::from(answer.to.number)));
            line
        }
        Kind::Enter | Kind::Exit => {
            let name =
                if kind == Kind::Enter { "join-chat-response" } else { "leave-chat-response" };
            let mut line = Line::event(out, name);
            line.and_number(about);
            line.and_number(or_refused(i64::from(tag.0)));
            line
        }
        // Lists that there are not are empty.
        Kind::History => return empty(out, "chat-messages"),
        Kind::Chats => return empty(out, "user-chats"),
        Kind::Image => {
            let mut line = Line::event(out, "image");
            line.and_number(tag.0);
            line.and_string(b"");
            line.raw(",null");
            return line.end();
        }
        Kind::Frame
        | Kind::LogOut
        | Kind::Join
        | Kind::Leave
        | Kind::List
        | Kind::ShutDown
        | Kind::Ping => return 0,
    };
    line.and_string(why);
    line.end()
}

/// How the request is called that an event makes.
fn kind_of(call: Call) -> Kind {
    match call {
        Call::Auth => Kind::LogIn,
        Call::UserChats => Kind::Chats,
        Call::ChatMessages => Kind::History,
        Call::NewChat => Kind::NewChat,
        Call::Join => Kind::Enter,
        Call::Leave => Kind::Exit,
        Call::Message | Call::Image => Kind::Send,
        Call::Create => Kind::CreateGroup,
        Call::Adverts | Call::Users => Kind::List,
        Call::GetImage => Kind::Image,
    }
}

fn auth(outcome: Outcome, user: u32, out: &mut [u8]) -> usize {
    let mut line = Line::event(out, "auth-response");
    if outcome == Outcome::Done {
        let mut digits = [0; 10];
        line.and_number(1);
        line.and_string(super::put::decimal(user, &mut digits));
    } else {
        line.and_number(-1);
        line.and_string(match outcome {
            Outcome::BadName => b"Not a name",
            outcome => reason(outcome).as_bytes(),
        });
    }
    line.end()
}

fn empty(out: &mut [u8], name: &str) -> usize {
    let mut line = Line::event(out, name);
    line.raw(",0,[]");
    line.end()
}

/// A part of a list: `["name",total,[`, then rows with commas between, then `]]`.
fn page<T>(
    page: &Page<'_, T>,
    name: &str,
    out: &mut [u8],
    row: impl FnOnce(&T, &mut Line<'_>),
) -> usize {
    match page {
        Page::Begin { total, .. } => {
            let mut line = Line::event(out, name);
            line.and_number(*total);
            line.raw(",[");
            line.part()
        }
        Page::Row { index, row: values, .. } => {
            let mut line = Line::new(out);
            line.raw(if *index == 0 { "{" } else { ",{" });
            row(values, &mut line);
            line.raw("}");
            line.part()
        }
        Page::End { .. } => {
            let mut line = Line::new(out);
            line.raw("]");
            line.end()
        }
    }
}

fn chat_keys(chat: Chat, line: &mut Line<'_>) {
    let (anons, with) = pair(chat);
    line.raw("\"anons_id\":");
    line.number(anons.into());
    line.raw(",\"chat_id\":");
    line.number(with.into());
}

/// The codec of the exchange.
pub(crate) struct Wire;

impl Codec for Wire {
    const TRAITS: Traits = Traits {
        name: "rooms",
        stream: true,
        log_in_at_endpoint: false,
        log_in_batched: false,
        log_in_renews: false,
        asks_password: false,
        receipts: false,
        direct_share: false,
        conversations: true,
        same_for_all: true,
        quiet: false,
        overhead: AROUND as u32,
        text_max: u32::MAX,
        row: ROW as u32,
    };

    // A frame of a list has several rows, so that it need not be written so often.
    const ANSWER_LEN: (usize, usize) = (8 * ROW, 128);
    const DELIVERY_LEN: (usize, usize) = (AROUND, ESCAPED);

    fn decode<'b>(bytes: &'b [u8], _progress: &mut Progress, _limits: &Limits) -> Decoded<'b> {
        let Some(Called { name, arguments, count, used }) = event(bytes) else {
            return Decoded::Partial;
        };
        let call = text(name).and_then(|name| CALLS.iter().find(|(known, ..)| *known == name));
        let Some((_, call, least)) = call else { return Decoded::Dropped { used } };
        let request = if count < *least { None } else { request(*call, arguments, count) };
        match request {
            Some((tag, Ok(request))) => {
                Decoded::Request { used, sender: Sender::Own, tag, request }
            }
            Some((_, Err(outcome))) => Decoded::Refused { used, tag: Tag(*call as u32), outcome },
            None => {
                let tag = Tag(*call as u32);
                Decoded::Refused { used, tag, outcome: Outcome::Malformed }
            }
        }
    }

    fn encode(event: &Event<'_>, to: Recipient, _limits: &Limits, out: &mut [u8]) -> usize {
        match event {
            Event::Message(it) => message(it, to, out),
            Event::Answer(it) => answer(it, out),
            Event::Presence { chat, user, entered } => {
                let mut line = Line::event(out, if *entered { "user-join" } else { "user-leave" });
                line.and_chat(*chat);
                line.and_string(user.name);
                line.end()
            }
            Event::History(part) => page(part, "chat-messages", out, |said, line| {
                line.raw("\"message_id\":");
                line.number(number_of(said.message.sequence));
                line.raw(",");
                chat_keys(said.chat, line);
                line.raw(",\"username\":");
                line.string(said.from.name);
                line.raw(",\"message_date\":");
                line.number(date(said.message.time));
                line.raw(",\"message_text\":");
                line.string(said.message.text);
                if said.message.image {
                    line.raw(",\"image\":true");
                }
            }),
            Event::Chats(part) => page(part, "user-chats", out, |count, line| {
                chat_keys(count.chat, line);
                line.raw(",\"AllMsgs\":");
                line.number(date(count.all));
                line.raw(",\"NewMsgs\":");
                line.number(date(count.new));
            }),
            Event::Image { message, .. } => {
                let id = number_of(message.sequence);
                let mut line = Line::event(out, "image");
                line.and_number(id);
                line.and_string(image_of(message.text).1);
                line.and_image(id);
                line.end()
            }
            // The protocol has no word for it.
            Event::Ended { .. } => 0,
        }
    }

    fn encode_list(
        list: List,
        _tag: Tag,
        rows: &mut Rows<'_>,
        _to: Recipient,
        _limits: &Limits,
        out: &mut [u8],
    ) -> ListFrame {
        let room = out.len();
        let users = list == List::Users;
        let mut first = rows.fresh();
        let mut line = if first {
            let mut line = Line::event(out, if users { "users" } else { "anons" });
            line.and_number(rows.total());
            line.raw(",[");
            line
        } else {
            Line::new(out)
        };
        while room.saturating_sub(line.len()) >= ROW {
            let Some(Party { number, name }) = rows.next() else {
                line.raw("]");
                return ListFrame { len: line.end(), last: true };
            };
            line.raw(if first { "{" } else { ",{" });
            first = false;
            line.raw(if users { "\"user_id\":" } else { "\"anons_id\":" });
            line.number(number.into());
            line.raw(if users { ",\"username\":" } else { ",\"name\":" });
            line.string(name);
            if users {
                line.raw(if rows.state().0 {
                    ",\"online\":true}"
                } else {
                    ",\"online\":false}"
                });
            } else {
                line.raw(",\"owner\":");
                line.string(rows.owner(number).name);
                line.raw("}");
            }
        }
        ListFrame { len: line.part(), last: false }
    }
}

/// Bytes of a row of a list of adverts or users, at most, with the end of the list.
const ROW: usize = 200;

#[cfg(test)]
mod tests;
