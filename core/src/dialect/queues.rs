//! `queues`: accounts, numbered groups and direct messages, over SysV message queues.
//!
//! One C struct for both directions, on x86-64 Linux, little-endian; `msgsz` does not count the
//! leading `long type`.
//!
//! ```c
//! struct message { long type; char text[400]; int address; time_t message_time; };  /* 424 */
//! ```
//!
//! | `type`    | request (`address` = the client's queue key, unless said)   | answer, of the same `type`             |
//! |-----------|-------------------------------------------------------------|----------------------------------------|
//! | 100       | log in: `text` = login, then another: `text` = password     | `"poprawne"` or `"error"` to each, then the user's index |
//! | 12        | log out: `text` = own index                                 |                                        |
//! | 13        | who is logged in: `text` = own index                        | a line `"k name\n"` per user           |
//! | 14, 15    | join, leave a group: `text` = own index, then another: group | own memberships as `"1 0 1"`          |
//! | 16        | who is in a group: `text` = group                           | a line `"k name\n"` per member         |
//! | own index | direct message: `address` = recipient                       |                                        |
//! | 19        | group message: `address` = group                            |                                        |
//!
//! One text may carry both halves with a `/` between them. A direct message may also have the
//! recipient as its `type` and the sender's queue key as its `address`, and a group message the
//! sender's queue key and `"group/content"`. What waited from a group that is no more has `address` 0.
//!
//! The two halves of 14 and 15 get exactly one answer: behind the second half if it comes within
//! 100 ms of the first, and otherwise then, with the second half obeyed silently.

use super::put::{Put, number, until_nul};
use super::{
    By, Codec, Decoded, ListFrame, Progress, Recipient, Recovered, Rows, Standing, Step, Todo,
    Traits, Wait,
};
use crate::event::{Answer, Event, Kind, Outcome, Party};
use crate::limits::Limits;
use crate::request::{List, Request, Tag, Target};

/// Bytes of `text`.
pub const TEXT: usize = 400;
/// Where `address` stands.
pub const ADDRESS: usize = 408;
/// The shortest message: up to `address`.
pub const SIZE_MIN: usize = 412;
/// The whole struct.
pub const SIZE: usize = 424;

/// `type` of a request and of its answer.
#[allow(missing_docs)]
pub mod kind {
    pub const LOG_IN: i64 = 100;
    pub const LOG_OUT: i64 = 12;
    pub const ONLINE: i64 = 13;
    pub const JOIN: i64 = 14;
    pub const LEAVE: i64 = 15;
    pub const MEMBERS: i64 = 16;
    pub const GROUP: i64 = 19;
}

/// The answer to a step of a log-in that went well.
pub const RIGHT: &[u8] = b"poprawne";
/// The answer to a step of a log-in that is to be tried again.
pub const WRONG: &[u8] = b"error";

/// `struct message`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Message<'a> {
    /// `type`.
    pub kind: i64,
    /// The text up to its NUL.
    pub text: &'a [u8],
    /// `address`.
    pub address: i32,
    /// `message_time` in Unix seconds; 0 where none was sent.
    pub time: i64,
}

impl<'a> Message<'a> {
    /// Reads a message with its leading `long`; `None` if it has no whole `address`, or is larger
    /// than the struct.
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > SIZE {
            return None;
        }
        let (kind, rest) = bytes.split_first_chunk::<8>()?;
        let (text, rest) = rest.split_first_chunk::<TEXT>()?;
        let (address, rest) = rest.split_first_chunk::<4>()?;
        let time = rest.get(4..).and_then(|rest| rest.first_chunk::<8>());
        Some(Message {
            kind: i64::from_le_bytes(*kind),
            text: until_nul(text),
            address: i32::from_le_bytes(*address),
            time: time.map_or(0, |time| i64::from_le_bytes(*time)),
        })
    }

    /// Writes the whole struct, unused bytes zero, and returns [`SIZE`]. A text over 399 bytes is
    /// cut and ends with `…`. `None` if `out` is too small.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let (head, rest) = out.get_mut(..SIZE)?.split_first_chunk_mut::<8>()?;
        let (text, rest) = rest.split_first_chunk_mut::<TEXT>()?;
        let (address, rest) = rest.split_first_chunk_mut::<4>()?;
        let (padding, time) = rest.split_first_chunk_mut::<4>()?;
        *head = self.kind.to_le_bytes();
        let mut put = Put::new(text);
        put.text(self.text, TEXT - 1);
        let used = put.finish();
        text.get_mut(used..)?.fill(0);
        *address = self.address.to_le_bytes();
        *padding = [0; 4];
        *time.first_chunk_mut()? = self.time.to_le_bytes();
        Some(SIZE)
    }
}

/// In a tag: one text brought both halves of a log-in, and both are answered.
const BOTH: u32 = 1 << 16;
/// How many groups the answer to 14 and 15 shows: what fits its text.
const SHOWN: u32 = 200;

/// The codec of the exchange.
pub(crate) struct Wire;

impl Codec for Wire {
    const TRAITS: Traits = Traits {
        name: "queues",
        stream: false,
        log_in_at_endpoint: false,
        log_in_batched: false,
        log_in_renews: false,
        asks_password: true,
        receipts: false,
        direct_share: false,
        conversations: false,
        same_for_all: true,
        quiet: false,
        overhead: SIZE as u32,
        text_max: 0,
        row: SIZE as u32,
    };

    const ANSWER_LEN: (usize, usize) = (SIZE, SIZE);

    fn decode<'b>(bytes: &'b [u8], _progress: &mut Progress, limits: &Limits) -> Decoded<'b> {
        let used = bytes.len();
        let Some(m) = Message::new_checked(bytes) else { return Decoded::Dropped { used } };
        // A number of a user is the recipient of a direct message, whose type is its sender.
        // Anything else is the key of the sender's queue.
        let by = match u32::try_from(m.kind) {
            Ok(sender) if !operation(m.kind) && user(m.address, limits).is_some() => {
                By::User(sender)
            }
            _ => By::Address(m.address.into()),
        };
        Decoded::Step { used, by }
    }

    fn step<'b>(
        bytes: &'b [u8],
        standing: Standing,
        progress: &mut Progress,
        limits: &Limits,
    ) -> Step<'b> {
        let Some(m) = Message::new_checked(bytes) else { return Step::Dropped };
        let tag = Tag(m.kind as u32);
        if m.kind == kind::LOG_IN {
            return log_in(&m, standing, limits);
        }
        let Standing::User(own) = standing else {
            // A group message in the form that names its group and not its sender.
            let to = u32::try_from(m.address).map(Target::Group);
            return match (m.kind, to) {
                (kind::GROUP, Ok(to)) => Step::Do(Todo::request(tag, message(to, m.text))),
                _ => Step::Dropped,
            };
        };
        let mut todo = interrupted(progress, m.kind, tag);
        let is_own = |text: &[u8]| number(text.trim_ascii()) == Some(own);
        match m.kind {
            kind::LOG_OUT if is_own(m.text) => todo.request = Some(Request::LogOut),
            kind::LOG_OUT => return Step::Dropped,
            kind::ONLINE => todo.list = Some(List::Online),
            kind::MEMBERS => {
                todo.list = Some(List::Members(number(m.text.trim_ascii()).unwrap_or(0)));
            }
            kind::JOIN | kind::LEAVE => return halves(&m, todo, progress, is_own),
            kind::GROUP => {
                let (head, content) = split(m.text);
                todo.request = Some(match (number(head.trim_ascii()), content) {
                    (Some(group), Some(content)) => message(Target::Group(group), content),
                    _ => Request::SendToMyGroups { text: m.text },
                });
            }
            // The recipient by its address, or, where that is the sender's key, by the type.
            to => {
                let Some(to) = user(m.address, limits).or(u32::try_from(to).ok()) else {
                    return Step::Dropped;
                };
                todo.request = Some(message(Target::User(to), m.text));
            }
        }
        Step::Do(todo)
    }

    fn elapsed(progress: &mut Progress) -> Step<'static> {
        progress.answered = true;
        let (tag, list) = (Tag(progress.half.into()), Some(List::MyGroups));
        Step::Do(Todo { tag, wait: Wait::Lapse, before: None, request: None, list })
    }

    fn parts(answer: &Answer<'_>) -> u8 {
        let both = u8::from(answer.tag.0 & BOTH != 0);
        match (answer.kind, answer.outcome) {
            // "poprawne" to the password, perhaps to the login before it, then the index.
            (Kind::LogIn, Outcome::Done) => 2 + both,
            (Kind::LogIn, Outcome::NotAllowed) => 1 + both,
            _ => 1,
        }
    }

    fn brings_name(tag: Tag) -> bool {
        tag.0 & BOTH != 0
    }

    fn encode(event: &Event<'_>, to: Recipient, _limits: &Limits, out: &mut [u8]) -> usize {
        let mut text = [0; TEXT];
        let mut put = Put::new(&mut text);
        let (kind, address, time) = match event {
            Event::Message(m) => {
                let time = i64::try_from(m.time / 1000).unwrap_or(0);
                let (kind, address) = match &m.group {
                    Some(group) => {
                        if !m.from.name.is_empty() {
                            put.bytes(m.from.name);
                            put.bytes(b": ");
                        }
                        (kind::GROUP, group.number.into())
                    }
                    // From nobody: a type must be above 0, and no user has this one.
                    None if m.from.name.is_empty() => (kind::GROUP, 0),
                    None => (m.from.number.into(), to.address),
                };
                put.rest(m.text);
                (kind, address, time)
            }
            Event::Answer(answer) => {
                let last = Wire::parts(answer).saturating_sub(1);
                match (answer.kind, answer.outcome) {
                    (Kind::Name, Outcome::Done) => put.bytes(RIGHT),
                    (Kind::LogIn, Outcome::Done) if to.part == last => {
                        put.decimal(answer.to.number);
                    }
                    (Kind::LogIn, _) if to.part < last => put.bytes(RIGHT),
                    (Kind::Name | Kind::LogIn, _) => put.bytes(WRONG),
                    // Who is in a group that does not exist: nobody.
                    (Kind::List, _) => {}
                    _ => return 0,
                }
                (i64::from(answer.tag.0 & !BOTH), to.address, 0)
            }
            _ => return 0,
        };
        let used = put.finish();
        let text = text.get(..used).unwrap_or(&[]);
        let address = i32::try_from(address).unwrap_or(0);
        Message { kind, text, address, time }.emit(out).unwrap_or(0)
    }

    fn encode_list(
        list: List,
        tag: Tag,
        rows: &mut Rows<'_>,
        to: Recipient,
        _limits: &Limits,
        out: &mut [u8],
    ) -> ListFrame {
        let mut text = [0; TEXT - 1];
        let used = match list {
            List::MyGroups => flags(rows, &mut text),
            _ => lines(rows, &mut text),
        };
        let text = text.get(..used).unwrap_or(&[]);
        let address = i32::try_from(to.address).unwrap_or(0);
        let message = Message { kind: tag.0.into(), text, address, time: 0 };
        ListFrame { len: message.emit(out).unwrap_or(0), last: true }
    }

    fn recover<'b>(frame: &'b [u8], _limits: &Limits) -> Option<Recovered<'b>> {
        let m = Message::new_checked(frame)?;
        let (from, group) = match m.kind {
            kind::GROUP => (0, u32::try_from(m.address).ok()?),
            answer if operation(answer) => return None,
            from => (u32::try_from(from).ok()?, 0),
        };
        Some(Recovered { from, group, priority: 3, text: m.text, named: false })
    }
}

/// Whether a type is an operation rather than a user's index.
fn operation(kind: i64) -> bool {
    matches!(kind, kind::LOG_OUT..=kind::MEMBERS | kind::GROUP | kind::LOG_IN)
}

/// The user that an address means, if it is one's number.
fn user(address: i32, limits: &Limits) -> Option<u32> {
    u32::try_from(address).ok().filter(|number| (1..=limits.users).contains(number))
}

fn message<'a>(to: Target<'a>, text: &'a [u8]) -> Request<'a> {
    Request::Send { to, text, priority: 3, receipt: false, id: None, member: false }
}

/// A text before its first `/`, and what stands behind it.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'/') {
        Some(at) => (text.get(..at).unwrap_or(text), text.get(at.saturating_add(1)..)),
        None => (text, None),
    }
}

/// One message of a log-in: a login, a password, or both with a `/` between them.
fn log_in<'b>(m: &Message<'b>, standing: Standing, limits: &Limits) -> Step<'b> {
    let tag = Tag(kind::LOG_IN as u32);
    let todo = match standing {
        Standing::User(_) => return Step::Dropped,
        // Such a key would be taken for a user's number: no name is right there.
        _ if user(m.address, limits).is_some() => Todo::request(tag, Request::Name { user: b"" }),
        Standing::Named(true) => Todo::request(tag, Request::Password { password: m.text }),
        Standing::Named(false) | Standing::Unknown => match split(m.text) {
            (login, Some(password)) => {
                let user = Target::UserName(login);
                Todo::request(Tag(tag.0 | BOTH), Request::LogIn { user, password })
            }
            (login, None) => Todo::request(tag, Request::Name { user: login }),
        },
    };
    Step::Do(todo)
}

/// What any request of a client does to the one it left half done: that lapses, and is answered if
/// it has not been.
fn interrupted<'a>(progress: &mut Progress, kind: i64, tag: Tag) -> Todo<'a> {
    let mut todo = Todo { tag, wait: Wait::Unchanged, before: None, request: None, list: None };
    if progress.half != 0 && i64::from(progress.half) != kind {
        if !progress.answered {
            todo.before = Some((Tag(progress.half.into()), List::MyGroups));
        }
        *progress = Progress::default();
        todo.wait = Wait::Nothing;
    }
    todo
}

/// One of the two messages of 14 and 15, or both in one text.
fn halves<'b>(
    m: &Message<'b>,
    mut todo: Todo<'b>,
    progress: &mut Progress,
    is_own: impl Fn(&[u8]) -> bool,
) -> Step<'b> {
    let (own, group) = if progress.half == 0 {
        let (index, group) = split(m.text);
        if group.is_none() {
            // Somebody else's index is answered as the state it asks for, and has no second half.
            if !is_own(index) {
                todo.list = Some(List::MyGroups);
                return Step::Do(todo);
            }
            *progress = Progress { half: m.kind as u8, answered: false, ..*progress };
            todo.wait = Wait::Half;
            return Step::Do(todo);
        }
        (is_own(index), group)
    } else {
        todo.wait = Wait::Nothing;
        (true, Some(m.text))
    };
    let group = group.and_then(|text| number(text.trim_ascii())).map(Target::Group);
    if let Some(group) = group.filter(|_| own) {
        todo.request = Some(match m.kind {
            kind::JOIN => Request::Join { group, count: -1 },
            _ => Request::Leave { group },
        });
    }
    if !progress.answered {
        todo.list = Some(List::MyGroups);
    }
    *progress = Progress::default();
    Step::Do(todo)
}

/// Own membership of group 1, 2, … as `"1 0 1"`.
fn flags(rows: &mut Rows<'_>, text: &mut [u8]) -> usize {
    let mut put = Put::new(text);
    let mut member = rows.next();
    for group in 1..=rows.groups().min(SHOWN) {
        if group != 1 {
            put.bytes(b" ");
        }
        let is = member.is_some_and(|member| member.number == group);
        put.bytes(if is { b"1" } else { b"0" });
        if is {
            member = rows.next();
        }
    }
    put.finish()
}

/// A line `"k name\n"` for each row; where they do not all fit, the last line says how many more
/// there are.
fn lines(rows: &mut Rows<'_>, text: &mut [u8]) -> usize {
    let line = |row: &Party<'_>, put: &mut Put<'_>| {
        put.decimal(row.number);
        put.bytes(b" ");
        put.bytes(row.name);
        put.bytes(b"\n");
    };
    let (mut used, mut left) = (0usize, rows.clone().count());
    loop {
        let mut put = Put::new(text.get_mut(used..).unwrap_or(&mut []));
        // Whether all that is left fits tells whether this line does.
        for row in rows.clone() {
            line(&row, &mut put);
            if put.overflowed() {
                break;
            }
        }
        if !put.overflowed() {
            return used.saturating_add(put.finish());
        }
        let Some(row) = rows.next() else { return used };
        let mut put = Put::new(text.get_mut(used..).unwrap_or(&mut []));
        line(&row, &mut put);
        let after = put.len();
        more(left.saturating_sub(1), &mut put);
        if put.overflowed() {
            let mut put = Put::new(text.get_mut(used..).unwrap_or(&mut []));
            more(left, &mut put);
            return used.saturating_add(put.finish());
        }
        used = used.saturating_add(after);
        left = left.saturating_sub(1);
    }
}

fn more(count: usize, put: &mut Put<'_>) {
    put.bytes(b"+");
    put.decimal(count as u32);
    put.bytes(b"\n");
}
