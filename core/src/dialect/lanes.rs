//! `lanes`: accounts, numbered groups and direct messages, over one SysV message queue in which
//! every user has a lane (`mtype`) of its own.
//!
//! One C struct for both directions, on x86-64 Linux, little-endian; `msgsz` does not count the
//! leading `long mtype`.
//!
//! ```c
//! struct buf_elem { long mtype; int first; int second; char mess[512]; };  /* 528 */
//! ```
//!
//! p is the number of users and g the number of groups; user k has the number k + 3.
//!
//! | `mtype`      | use                                           |
//! |--------------|-----------------------------------------------|
//! | 1            | to the server                                 |
//! | 2, 3         | logging in: 2 to the client, 3 to the server  |
//! | 4 ..= 3+p    | messages to user k (k+3) from others          |
//! | 4+p ..= 3+2p | the server's answers to user k (k+3+p)        |
//!
//! A request comes as `mtype` 1 with the sender's number in `first` and what to do in `second`
//! ([`Order`]).

use core::fmt::{self, Write as _};

use super::put::{Put, until_nul};
use super::{
    By, Codec, Decoded, ListFrame, LogInAnswer, Progress, Recipient, Recovered, Rows, Standing,
    Step, Todo, Traits,
};
use crate::event::{Answer, Event, Kind, Outcome, Party};
use crate::exchange::Exchange;
use crate::limits::{Lanes, Limits};
use crate::name::NAME_LENGTH;
use crate::request::{List, Request, Tag, Target};

/// Bytes of `mess`.
pub const TEXT: usize = 512;
/// Bytes before `mess`, with the `long`.
pub const FIXED: usize = 16;
/// The whole struct.
pub const SIZE: usize = 528;
/// A user's number is its place and this.
pub const NUMBER: u32 = 3;

/// `mtype` of a request.
pub const TO_SERVER: i64 = 1;
/// `mtype` of an answer to a log-in.
pub const LOG_IN_ANSWER: i64 = 2;
/// `mtype` of a password that follows a log-in.
pub const PASSWORD: i64 = 3;

/// The texts of answers.
#[allow(missing_docs)]
pub mod text {
    pub const LOGGED_IN: &[u8] = b"Zalogowano\n";
    pub const WRONG_PASSWORD: &[u8] = b"Zle haslo\n";
    pub const WRONG_LOGIN: &[u8] = b"Zly login\n";
    pub const IN_USE: &[u8] = b"Taka osoba juz jest zalogowana\n";
    pub const SENT: &[u8] = b"Wiadomosc wyslana";
    pub const NOT_A_MEMBER: &[u8] = b"Nie nalezysz do tej grupy\n";
    pub const ERROR: &[u8] = b"Blad\n";
}

/// `struct buf_elem`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Element<'a> {
    /// `mtype`.
    pub lane: i64,
    /// `first`.
    pub first: i32,
    /// `second`.
    pub second: i32,
    /// `mess` up to its NUL.
    pub text: &'a [u8],
}

impl<'a> Element<'a> {
    /// Reads an element with its leading `long`; `None` if its fixed fields are not whole, or it
    /// is larger than the struct.
    pub fn new_checked(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() > SIZE {
            return None;
        }
        let (lane, rest) = bytes.split_first_chunk::<8>()?;
        let (first, rest) = rest.split_first_chunk::<4>()?;
        let (second, text) = rest.split_first_chunk::<4>()?;
        Some(Element {
            lane: i64::from_le_bytes(*lane),
            first: i32::from_le_bytes(*first),
            second: i32::from_le_bytes(*second),
            text: until_nul(text),
        })
    }

    /// Writes the element, as long as its text with a NUL behind it, and returns its length. A text
    /// over 511 bytes is cut and ends with `…`. `None` if `out` is too small.
    pub fn emit(&self, out: &mut [u8]) -> Option<usize> {
        let mut put = Element::begin(self.lane, self.first, self.second, out);
        put.text(self.text, TEXT - 1);
        put.bytes(&[0]);
        Some(put.finish()).filter(|len| *len != 0)
    }

    fn begin(lane: i64, first: i32, second: i32, out: &mut [u8]) -> Put<'_> {
        let mut put = Put::new(out);
        put.bytes(&lane.to_le_bytes());
        put.bytes(&first.to_le_bytes());
        put.bytes(&second.to_le_bytes());
        put
    }
}

/// What a request asks for: the meaning of `second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Order {
    /// 1: `mess` = `"login password"`.
    LogIn,
    /// 2.
    LogOut,
    /// 3: who is logged in.
    Online,
    /// 3 + j: join group j.
    Join(u32),
    /// 3 + g + j: leave group j.
    Leave(u32),
    /// 3 + 2g + j: who is in group j.
    Members(u32),
    /// 3 + 3g + j: message to group j.
    ToGroup(u32),
    /// 3 + 4g + k: message to user k.
    ToUser(u32),
}

impl Order {
    /// Reads `second`, with p users and g groups; `None` if it is out of range.
    pub fn from_second(second: i32, users: u32, groups: u32) -> Option<Order> {
        let orders = [Order::Join, Order::Leave, Order::Members, Order::ToGroup];
        match second {
            1 => return Some(Order::LogIn),
            2 => return Some(Order::LogOut),
            3 => return Some(Order::Online),
            _ => {}
        }
        let mut left = u32::try_from(second).ok()?.checked_sub(3).filter(|left| *left != 0)?;
        for order in orders {
            if left <= groups {
                return Some(order(left));
            }
            left = left.saturating_sub(groups);
        }
        (left <= users).then_some(Order::ToUser(left))
    }

    /// The `second` that asks for this, with g groups.
    pub fn second(&self, groups: u32) -> i32 {
        let after = |times: u32, number: u32| {
            let second = groups.saturating_mul(times).saturating_add(number).saturating_add(3);
            i32::try_from(second).unwrap_or(i32::MAX)
        };
        match *self {
            Order::LogIn => 1,
            Order::LogOut => 2,
            Order::Online => 3,
            Order::Join(group) => after(0, group),
            Order::Leave(group) => after(1, group),
            Order::Members(group) => after(2, group),
            Order::ToGroup(group) => after(3, group),
            Order::ToUser(user) => after(4, user),
        }
    }
}

/// The lane on which user k gets messages.
pub fn lane(user: u32) -> i64 {
    i64::from(user).saturating_add(i64::from(NUMBER))
}

/// The lane on which user k gets answers, with p users.
pub fn answer_lane(user: u32, users: u32) -> i64 {
    lane(user).saturating_add(i64::from(users))
}

/// The codec of the exchange.
pub(crate) struct Wire;

impl Codec for Wire {
    const TRAITS: Traits = Traits {
        name: "lanes",
        stream: false,
        log_in_at_endpoint: true,
        log_in_batched: true,
        log_in_renews: false,
        asks_password: true,
        receipts: false,
        direct_share: false,
        conversations: false,
        same_for_all: false,
        quiet: false,
        // "#group " and "name: " may stand before the text.
        overhead: (FIXED + 1 + 2 * (NAME_LENGTH + 2)) as u32,
        text_max: (TEXT - 1) as u32,
        row: SIZE as u32,
    };

    const ANSWER_LEN: (usize, usize) = (SIZE, 96);

    fn decode<'b>(bytes: &'b [u8], _progress: &mut Progress, limits: &Limits) -> Decoded<'b> {
        let used = bytes.len();
        let Some(e) = Element::new_checked(bytes) else { return Decoded::Dropped { used } };
        let by =
            match (e.lane, Order::from_second(e.second, limits.lanes.users, limits.lanes.groups)) {
                (PASSWORD, _) => By::Awaited,
                (TO_SERVER, Some(Order::LogIn)) => By::New,
                (TO_SERVER, _) => match sender(e.first, limits) {
                    Some(user) => By::User(user),
                    // It names no lane to be answered on.
                    None => return Decoded::Dropped { used },
                },
                _ => return Decoded::Dropped { used },
            };
        Decoded::Step { used, by }
    }

    fn step<'b>(
        bytes: &'b [u8],
        standing: Standing,
        _progress: &mut Progress,
        limits: &Limits,
    ) -> Step<'b> {
        let Some(e) = Element::new_checked(bytes) else { return Step::Dropped };
        let (users, groups) = (limits.lanes.users, limits.lanes.groups);
        let tag = Tag(e.second as u32);
        if e.lane == PASSWORD {
            return Step::Do(Todo::request(tag, Request::Password { password: e.text }));
        }
        let order = Order::from_second(e.second, users, groups);
        let message = |to, member| Request::Send {
            to,
            text: e.text,
            priority: 3,
            receipt: false,
            id: None,
            member,
        };
        let mut todo = Todo::request(tag, Request::LogOut);
        match order {
            Some(Order::LogIn) => {
                let space = e.text.iter().position(|byte| *byte == b' ');
                todo.request = Some(match space.and_then(|at| e.text.split_at_checked(at)) {
                    Some((login, password)) => Request::LogIn {
                        user: Target::UserName(login),
                        password: password.get(1..).unwrap_or(&[]),
                    },
                    None => Request::Name { user: e.text },
                });
                return Step::Do(todo);
            }
            Some(_) if matches!(standing, Standing::User(_)) => {}
            _ => {
                let user = sender(e.first, limits).unwrap_or(0);
                return Step::Refused { user, tag, outcome: Outcome::Malformed };
            }
        }
        match order {
            Some(Order::Join(group)) => {
                todo.request = Some(Request::Join { group: Target::Group(group), count: -1 });
            }
            Some(Order::Leave(group)) => {
                todo.request = Some(Request::Leave { group: Target::Group(group) });
            }
            Some(Order::ToGroup(group)) => todo.request = Some(message(Target::Group(group), true)),
            Some(Order::ToUser(user)) => todo.request = Some(message(Target::User(user), false)),
            Some(Order::Online) => (todo.request, todo.list) = (None, Some(List::Online)),
            Some(Order::Members(group)) => {
                (todo.request, todo.list) = (None, Some(List::Members(group)));
            }
            Some(Order::LogOut | Order::LogIn) | None => {}
        }
        Step::Do(todo)
    }

    fn parts(answer: &Answer<'_>) -> u8 {
        match (answer.kind, answer.outcome) {
            (Kind::LogIn, Outcome::Done) => 2,
            _ => 1,
        }
    }

    fn encode(event: &Event<'_>, to: Recipient, limits: &Limits, out: &mut [u8]) -> usize {
        let (users, groups) = (limits.lanes.users, limits.lanes.groups);
        match event {
            Event::Message(m) => {
                let known = (1..=users).contains(&m.from.number) && !m.from.name.is_empty();
                let first = if known { m.from.number } else { 0 };
                let group = m.group.filter(|group| (1..=groups).contains(&group.number));
                let second = group.map_or(0, |group| group.number);
                let mut put = Element::begin(lane(to.user), lane(first) as i32, second as i32, out);
                if let (Some(other), None) = (&m.group, group) {
                    put.bytes(b"#");
                    // One that is no more has neither.
                    put.bytes(if other.number == 0 { b"0" } else { other.name });
                    put.bytes(b" ");
                }
                if !known && !m.from.name.is_empty() {
                    put.bytes(m.from.name);
                    put.bytes(b": ");
                }
                let room = (FIXED + TEXT - 1).saturating_sub(put.len());
                put.text(m.text, room);
                put.bytes(&[0]);
                put.finish()
            }
            Event::Answer(answer) => encode_answer(answer, to, limits, out),
            _ => 0,
        }
    }

    fn encode_list(
        list: List,
        _tag: Tag,
        rows: &mut Rows<'_>,
        to: Recipient,
        limits: &Limits,
        out: &mut [u8],
    ) -> ListFrame {
        let end: &[u8] = if list == List::Online { b"," } else { b" " };
        let answer = answer_lane(to.user, limits.lanes.users);
        let mut put = Element::begin(answer, lane(to.user) as i32, 0, out);
        for row in rows {
            // A list that is too long ends behind a whole name.
            let room = (FIXED + TEXT - 1 - "…".len()).saturating_sub(put.len());
            if row.name.len().saturating_add(1) > room {
                put.bytes("…".as_bytes());
                break;
            }
            written(row.name, &mut put);
            put.bytes(end);
        }
        put.bytes(&[0]);
        ListFrame { len: put.finish(), last: true }
    }

    fn recover<'b>(frame: &'b [u8], limits: &Limits) -> Option<Recovered<'b>> {
        let e = Element::new_checked(frame)?;
        let own = lane(1)..=lane(limits.lanes.users);
        if !own.contains(&e.lane) {
            return None;
        }
        let from = u32::try_from(e.first).ok()?.saturating_sub(NUMBER);
        let group = u32::try_from(e.second).ok()?;
        Some(Recovered { from, group, priority: 3, text: e.text, named: false })
    }

    fn max_user(limits: &Limits) -> u32 {
        limits.lanes.users
    }

    fn lane(user: u32) -> i64 {
        lane(user)
    }

    fn answer_lane(user: u32, limits: &Limits) -> i64 {
        answer_lane(user, limits.lanes.users)
    }

    fn log_in_lane() -> i64 {
        LOG_IN_ANSWER
    }

    fn log_in_answer(frame: &[u8]) -> LogInAnswer {
        let Some(e) = Element::new_checked(frame) else { return LogInAnswer::Other };
        match (e.text, e.second) {
            (text::LOGGED_IN, 0) => {
                let user = u32::try_from(e.first).unwrap_or(0).saturating_sub(NUMBER);
                LogInAnswer::First(user)
            }
            (b"", _) => LogInAnswer::Second,
            (_, 1) => LogInAnswer::First(0),
            _ => LogInAnswer::Other,
        }
    }
}

/// The user that `first` names, if there is such a lane.
fn sender(first: i32, limits: &Limits) -> Option<u32> {
    let user = u32::try_from(first).ok()?.checked_sub(NUMBER)?;
    (1..=limits.lanes.users).contains(&user).then_some(user)
}

fn encode_answer(answer: &Answer<'_>, to: Recipient, limits: &Limits, out: &mut [u8]) -> usize {
    let (users, groups) = (limits.lanes.users, limits.lanes.groups);
    if answer.kind == Kind::LogIn {
        let element = match (answer.outcome, to.part) {
            (Outcome::Done, 0) => (lane(answer.to.number) as i32, 0, text::LOGGED_IN),
            (Outcome::Done, _) => (users as i32, groups as i32, &b""[..]),
            (Outcome::NotAllowed, _) => (0, 1, text::WRONG_PASSWORD),
            (Outcome::InUse, _) => (0, 1, text::IN_USE),
            _ => (0, 1, text::WRONG_LOGIN),
        };
        let (first, second, text) = element;
        return Element { lane: LOG_IN_ANSWER, first, second, text }.emit(out).unwrap_or(0);
    }
    let number = match Order::from_second(answer.tag.0 as i32, users, groups) {
        Some(Order::Join(group) | Order::Leave(group)) => group as i32,
        _ => 0,
    };
    let (second, text) = match (answer.kind, answer.outcome) {
        (Kind::Send, Outcome::Done | Outcome::Stored) => (0, text::SENT),
        (Kind::Send, Outcome::NotMember) => (0, text::NOT_A_MEMBER),
        (Kind::Join | Kind::Leave, Outcome::Done) => (number, &b""[..]),
        (Kind::LogOut, Outcome::Done) => (2, &b""[..]),
        _ => (0, text::ERROR),
    };
    let own = answer.to.number;
    let element = Element { lane: answer_lane(own, users), first: lane(own) as i32, second, text };
    element.emit(out).unwrap_or(0)
}

/// A name as this dialect writes it: names are told apart by spaces, so one inside is `_`.
fn written(name: &[u8], put: &mut Put<'_>) {
    for byte in name {
        put.bytes(&[if *byte == b' ' { b'_' } else { *byte }]);
    }
}

/// The file of names that clients read (`basic.txt`): a line `"o k name \n"` for each user 1 to p,
/// and a line `"g j name k1 k2 … \n"` with its members for each group 1 to g. A free place has
/// the name `-`.
#[derive(Debug)]
pub struct BasicTxt<'x, 'a>(pub &'x Exchange<'a>);

impl fmt::Display for BasicTxt<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |f: &mut fmt::Formatter<'_>, party: Option<Party<'_>>| {
            let name = party.map_or(&b"-"[..], |party| party.name);
            let text = core::str::from_utf8(name).unwrap_or("-");
            text.chars().try_for_each(|c| f.write_char(if c == ' ' { '_' } else { c }))
        };
        let Lanes { users, groups } = self.0.limits().lanes;
        for k in 1..=users {
            write!(f, "o {k} ")?;
            name(f, self.0.find_user(Target::User(k)))?;
            f.write_str(" \n")?;
        }
        for j in 1..=groups {
            write!(f, "g {j} ")?;
            name(f, self.0.find_group(Target::Group(j)))?;
            f.write_str(" ")?;
            for member in self.0.members(j) {
                write!(f, "{} ", member.number)?;
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arithmetic_of_second_at_its_edges() {
        for (users, groups) in [(1, 1), (3, 2), (99, 49), (5, 0), (0, 4)] {
            let mut second = 1;
            let mut want = std::vec![Order::LogIn, Order::LogOut, Order::Online];
            for order in [Order::Join, Order::Leave, Order::Members, Order::ToGroup] {
                want.extend((1..=groups).map(order));
            }
            want.extend((1..=users).map(Order::ToUser));
            for order in want {
                assert_eq!(Order::from_second(second, users, groups), Some(order));
                assert_eq!(order.second(groups), second);
                second += 1;
            }
            for out in [0, -1, i32::MIN, second, i32::MAX] {
                assert_eq!(Order::from_second(out, users, groups), None, "{out}");
            }
        }
    }

    #[test]
    fn an_element_byte_by_byte() {
        let element = Element { lane: 5, first: 4, second: 0, text: b"hej" };
        let mut out = [0xff; SIZE];
        let bytes = b"\x05\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0hej\0";
        assert_eq!(element.emit(&mut out), Some(20));
        assert_eq!(&out[..20], bytes);
        assert_eq!(Element::new_checked(bytes), Some(element));
        assert_eq!(Element::new_checked(&bytes[..16]).unwrap().text, b"");
        assert_eq!(Element::new_checked(&bytes[..15]), None);
        assert_eq!(Element::new_checked(&[0; 529]), None);
        let long = Element { text: &[b'x'; 512], ..element };
        assert_eq!(long.emit(&mut out), Some(SIZE));
        assert_eq!(&out[SIZE - 4..], "…\0".as_bytes());
    }
}
