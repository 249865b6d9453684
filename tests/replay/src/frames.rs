//! Requests of each dialect, valid for the most part.

use crate::hash::Dice;
use crate::host::Sent;
use centrala_core::dialect::native::{Chat, List, Private, Request, To, VERSION, Who};
use centrala_core::dialect::{Dialect, direct, lanes, native, queues, topics};

const NAMES: [&[u8]; 9] = [
    b"anna",
    b"bob",
    b"cy",
    b"dee",
    b"a longer name",
    b"eve_x",
    "Ż".as_bytes(),
    b"8 bytes.",
    b"~3",
];
const GROUPS: [&[u8]; 5] = [b"all", b"news", b"a group by the way", b"x", b"#2"];
const TEXT: [u8; 140] = [b'z'; 140];

/// A name of a user.
pub fn name(dice: &mut Dice) -> &'static [u8] {
    dice.pick(&NAMES).unwrap_or(b"")
}

/// A name of a group.
pub fn group(dice: &mut Dice) -> &'static [u8] {
    dice.pick(&GROUPS).unwrap_or(b"")
}

fn text(dice: &mut Dice) -> &'static [u8] {
    TEXT.get(dice.below(20) as usize * dice.below(8) as usize..).unwrap_or(&[])
}

fn password(dice: &mut Dice) -> &'static [u8] {
    dice.pick(&[&b""[..], b"", b"secret"]).unwrap_or(b"")
}

/// Puts one request into `out`; how long it is.
pub fn request(dialect: Dialect, dice: &mut Dice, sent: &Sent, out: &mut [u8]) -> usize {
    let len = match dialect {
        Dialect::Direct => self::direct(dice, sent, out),
        Dialect::Native => self::native(dice, sent, out),
        Dialect::Topics => self::topics(dice, out),
        Dialect::Queues => self::queues(dice, out),
        Dialect::Lanes => self::lanes(dice, out),
        _ => rooms(dice, out),
    };
    let len = len.unwrap_or(0);
    match dice.below(40) {
        // A byte that is another, or too few of them.
        0 | 1 => {
            let at = dice.below(len as u32) as usize;
            if let Some(byte) = out.get_mut(at) {
                *byte = dice.roll() as u8;
            }
            len
        }
        2 => dice.below(len as u32 + 1) as usize,
        _ => len,
    }
}

fn direct(dice: &mut Dice, sent: &Sent, out: &mut [u8]) -> Option<usize> {
    let src = direct::name_field(name(dice), 1 + dice.below(4), false);
    let dst = match dice.below(4) {
        0 => direct::name_field(group(dice), 1 + dice.below(4), true),
        _ => direct::name_field(name(dice), 1 + dice.below(4), false),
    };
    let (kind, id, dst, text) = match (dice.below(8), sent.owed) {
        (0, _) => (direct::RESPONSE, 0, [0; 8], password(dice)),
        (1..=4, Some((id, from))) => (direct::RESPONSE, id, from, &b"200"[..]),
        _ => (dice.below(3) as u16, dice.below(50), dst, text(dice)),
    };
    direct::Frame { kind, id, src: &src, dst: &dst, text }.emit(out)
}

fn native(dice: &mut Dice, sent: &Sent, out: &mut [u8]) -> Option<usize> {
    let user = match dice.below(2) {
        0 => Who::Number(dice.below(9)),
        _ => Who::Name(name(dice)),
    };
    let of = match dice.below(2) {
        0 => Who::Number(dice.below(5)),
        _ => Who::Name(group(dice)),
    };
    let number = 1 + dice.below(4);
    let chat = match dice.below(3) {
        0 => Chat::Group(number),
        1 => Chat::User(number),
        _ => Chat::Private(Private { group: number, user: 1 + dice.below(6) }),
    };
    let to = if dice.once_in(3) { To::Group(of) } else { To::User(user) };
    let request = match dice.below(20) {
        0..4 => Request::Hello { version: VERSION, user, password: password(dice) },
        4 => Request::LogOut,
        5..9 => {
            let (priority, receipt) = (dice.below(7) as u8, dice.once_in(2));
            Request::Send { to, priority, receipt, text: text(dice) }
        }
        9..11 => Request::Ack { mark: sent.mark },
        11 => Request::CreateGroup { name: group(dice) },
        12 => Request::Join { group: of, count: dice.once_in(2).then(|| dice.below(5)) },
        13 => Request::Leave { group: of },
        14 => {
            let lists = [List::Online, List::Groups, List::MyGroups, List::Members(of)];
            Request::List(dice.pick(&lists).unwrap_or(List::Online))
        }
        15 => Request::NewChat { group: number },
        16 => Request::Say { chat, text: text(dice) },
        17 => Request::Seen { chat },
        18 => Request::History { chat, before: None, limit: dice.below(200) },
        _ => {
            dice.pick(&[Request::Chats, Request::Ping, Request::ShutDown]).unwrap_or(Request::Ping)
        }
    };
    request.encode(dice.below(1000), out)
}

fn topics(dice: &mut Dice, out: &mut [u8]) -> Option<usize> {
    let kind = 1 + i64::from(dice.below(6));
    let (id, field) = match kind {
        topics::request::LOG_IN => (100 + dice.below(6), name(dice)),
        topics::request::NEW_TOPIC => (dice.below(8), group(dice)),
        _ => (dice.below(8), text(dice)),
    };
    let (topic, number) = (dice.below(5) as i32, dice.below(7) as i32 - 1);
    topics::ClientMessage { kind, id: id as i32, topic, number, field }.emit(out)
}

fn queues(dice: &mut Dice, out: &mut [u8]) -> Option<usize> {
    let key = 200 + dice.below(6) as i32;
    let numbers: [&[u8]; 6] = [b"1", b"2", b"3", b"4", b"5/2", b"1/text"];
    let number = dice.pick(&numbers).unwrap_or(b"1");
    let (kind, text, address) = match dice.below(9) {
        0..3 => {
            (queues::kind::LOG_IN, if dice.once_in(2) { name(dice) } else { password(dice) }, key)
        }
        3 => (i64::from(12 + dice.below(5)), number, key),
        4 => (19, text(dice), 1 + dice.below(4) as i32),
        5 => (19, number, key),
        6 => (1 + i64::from(dice.below(8)), text(dice), key),
        _ => (1 + i64::from(dice.below(8)), text(dice), 1 + dice.below(8) as i32),
    };
    queues::Message { kind, text, address, time: 0 }.emit(out)
}

fn lanes(dice: &mut Dice, out: &mut [u8]) -> Option<usize> {
    let passwords: [&[u8]; 5] = [b"anna", b"bob secret", b"cy", b"dee x", b"eve_x"];
    let lane = if dice.once_in(6) { 3 } else { 1 };
    let (second, text) = match dice.below(3) {
        0 => (1, dice.pick(&passwords).unwrap_or(b"anna")),
        1 => (dice.below(4) as i32, &b""[..]),
        _ => (dice.below(100) as i32, text(dice)),
    };
    lanes::Element { lane, first: 4 + dice.below(8) as i32, second, text }.emit(out)
}

/// One event: a MessagePack array of a name and small arguments.
fn rooms(dice: &mut Dice, out: &mut [u8]) -> Option<usize> {
    let events: [(&[u8], u8); 8] = [
        (b"auth-request", 1),
        (b"create-anons", 1),
        (b"get-user-chats", 0),
        (b"get-chat-messages", 2),
        (b"new-chat", 3),
        (b"join-chat", 2),
        (b"leave-chat", 2),
        (b"chat-msg", 4),
    ];
    let (event, arguments) = dice.pick(&events)?;
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = out.get_mut(len..).and_then(|rest| rest.get_mut(..bytes.len())) {
            place.copy_from_slice(bytes);
            len += bytes.len();
        }
    };
    let numbers = [dice.below(5) as u8, dice.below(7) as u8];
    let of = if arguments == 1 { name(dice) } else { text(dice) };
    let of = of.get(..of.len().min(31)).unwrap_or(of);
    let count = match arguments {
        0 => 1,
        1 | 3 => 2,
        2 => 3,
        _ => 4,
    };
    put(&[0x90 | count, 0xa0 | event.len() as u8]);
    put(event);
    if arguments >= 2 {
        put(numbers.get(..if arguments == 3 { 1 } else { 2 }).unwrap_or(&[]));
    }
    if arguments == 1 || arguments == 4 {
        put(&[0xa0 | of.len() as u8]);
        put(of);
    }
    Some(len)
}

/// Longer than any request.
pub const LONGEST: usize = topics::REQUEST_SIZE;
const _: () = assert!(native::HEADER + 300 < LONGEST);
