//! The wire format, against the examples of its description and byte by byte.

use super::*;
use crate::request::Request as Asked;
use std::string::String;
use std::vec::Vec;

const LIMITS: Limits = Limits::new(1024);
const TIME: u64 = 1_763_696_285_000;

fn sent(id: u32, request: Request<'_>) -> Vec<u8> {
    let mut out = [0; 2048];
    let len = request.encode(id, &mut out).unwrap();
    assert_eq!(request.encode(id, &mut [0; 2048][..len - 1]), None, "a byte too small");
    let (payload, used) = look(&out[..len]).unwrap();
    assert_eq!((used, Request::decode(payload)), (len, Ok((id, request))));
    out[..len].to_vec()
}

fn told(event: Event<'_>) -> Vec<u8> {
    let mut out = [0; 2048];
    let len = event.encode(&mut out).unwrap();
    assert_eq!(event.encode(&mut [0; 2048][..len - 1]), None, "a byte too small");
    let (payload, used) = look(&out[..len]).unwrap();
    assert_eq!((used, Event::decode(payload)), (len, Ok(event)));
    out[..len].to_vec()
}

const ANNA: Party<'static> = Party { number: 3, name: b"anna" };

fn hej() -> Message<'static> {
    Message {
        number: 9,
        id: 0,
        mark: 0,
        time: TIME,
        priority: 3,
        offline: false,
        from: ANNA,
        group: None,
        private: None,
        image: false,
        text: b"hej",
    }
}

#[test]
fn the_examples_of_the_description_hold() {
    let frames = [
        ("hello of anna, id 1", {
            let user = Who::Name(b"anna");
            sent(1, Request::Hello { version: 1, user, password: b"" })
        }),
        (
            "welcome, user 3, 1,024",
            told(Event::Welcome { id: 1, version: 1, user: ANNA, message_length: 1024 }),
        ),
        ("\"hej\" to user 5, id 7", {
            let to = To::User(Who::Number(5));
            sent(7, Request::Send { to, priority: 3, receipt: false, text: b"hej" })
        }),
        ("user 5 has it", told(Event::Done { id: 7, how: How::Done, number: 5 })),
        ("no such user", told(Event::Refused { id: 7, why: Refusal::NoSuchUser })),
        ("join #news for 10, id 8", {
            sent(8, Request::Join { group: Who::Name(b"news"), count: Some(10) })
        }),
        ("full: 16 memberships", {
            let why = Refusal::Full { limit: Limit::Memberships, size: 16 };
            told(Event::Refused { id: 8, why })
        }),
        ("what user 5 gets", told(Event::Message(hej()))),
    ];
    let documented: Vec<&str> = include_str!("mod.rs")
        .lines()
        .skip_while(|line| *line != "//! # Examples")
        .skip(3)
        .map_while(|line| line.strip_prefix("//! ").filter(|line| *line != "```"))
        .collect();
    assert_eq!(documented.len(), frames.len());
    for ((name, bytes), line) in frames.iter().zip(documented) {
        let hex: String = bytes.iter().map(|byte| std::format!("{byte:02x}")).collect();
        let words = line.strip_prefix(name).unwrap_or("another example");
        let digits: String = words.split_whitespace().collect();
        assert_eq!(digits, hex, "{name}");
    }
}

/// Every variant's number and fields: what a client written today relies on.
#[test]
fn the_wire_format_is_what_version_1_is() {
    assert_eq!(VERSION, 1);
    let (name, number) = (Who::Name(b"g"), Who::Number(300));
    let (chat, private) = (Chat::Group(5), Private { group: 5, user: 6 });
    let requests: [(Request<'_>, &[u8]); 19] = [
        (Request::Hello { version: 1, user: number, password: b"pw" }, b"\0\x01\0\xac\x02\x02pw"),
        (Request::LogOut, b"\x01"),
        (
            Request::Send { to: To::Group(name), priority: 1, receipt: true, text: b"\xff" },
            b"\x02\x01\x01\x01g\x01\x01\x01\xff",
        ),
        (Request::Ack { mark: 128 }, b"\x03\x80\x01"),
        (Request::CreateGroup { name: b"g" }, b"\x04\x01g"),
        (Request::Join { group: name, count: None }, b"\x05\x01\x01g\0"),
        (Request::Leave { group: number }, b"\x06\0\xac\x02"),
        (Request::List(List::Online), b"\x07\0"),
        (Request::List(List::MyGroups), b"\x07\x02"),
        (Request::List(List::Members(name)), b"\x07\x03\x01\x01g"),
        (Request::List(List::Users), b"\x07\x04"),
        (Request::ShutDown, b"\x08"),
        (Request::Ping, b"\x09"),
        (Request::NewChat { group: 5 }, b"\x0a\x05"),
        (Request::Say { chat: Chat::Private(private), text: b"x" }, b"\x0b\x02\x05\x06\x01x"),
        (Request::Seen { chat: Chat::User(6) }, b"\x0c\x01\x06"),
        (Request::History { chat, before: None, limit: 9 }, b"\x0d\0\x05\0\x09"),
        (Request::History { chat, before: Some(7), limit: 9 }, b"\x0d\0\x05\x01\x07\x09"),
        (Request::Chats, b"\x0e"),
    ];
    for (request, bytes) in requests {
        assert_eq!(sent(200, request)[2..], [b"\xc8\x01", bytes].concat(), "{request:?}");
    }
    let mail = Message { mark: 8, offline: true, group: Some(Party::default()), ..hej() };
    let mail = Message { private: Some(private), image: true, time: 1, text: b"", ..mail };
    let (number, time, text) = (9, 1, &b"x"[..]);
    let said = Event::Said { id: 1, number, time, priority: 3, from: ANNA, image: true, text };
    let events: [(Event<'_>, &[u8]); 6] = [
        (Event::Done { id: 1, how: How::Stored, number: 2 }, b"\x01\x01\x02\x02"),
        (
            Event::Message(mail),
            b"\x03\x09\0\x08\x01\x03\x01\x03\x04anna\x01\0\0\x01\x05\x06\x01\0",
        ),
        (said, b"\x06\x01\x09\x01\x03\x03\x04anna\x01\x01x"),
        (Event::Count { id: 1, chat, all: 4, new: 3 }, b"\x07\x01\0\x05\x04\x03"),
        (Event::Ended { group: ANNA }, b"\x04\x03\x04anna"),
        (
            Event::Row { id: 1, party: ANNA, active: true, left: Some(5) },
            b"\x05\x01\x03\x04anna\x01\x01\x05",
        ),
    ];
    for (event, bytes) in events {
        assert_eq!(&told(event)[2..], bytes, "{event:?}");
    }
    for (number, limit) in Limit::ALL.into_iter().enumerate() {
        let why = Refusal::Full { limit, size: 0 };
        assert_eq!(told(Event::Refused { id: 0, why })[2..], [2, 0, 12, number as u8, 0]);
    }
    // All there are.
    assert!(postcard::from_bytes::<Limit>(&[Limit::ALL.len() as u8]).is_err());
    let limit = Limit::Sessions;
    for (number, why) in PLAIN.into_iter().chain([Refusal::Full { limit, size: 0 }]).enumerate() {
        let frame = told(Event::Refused { id: 0, why });
        assert_eq!(frame[2..5], [2, 0, number as u8], "{why:?}");
    }
    assert_eq!(told(Event::Refused { id: 0, why: Refusal::NotKept })[2..], [2, 0, 13]);
}

/// What a codec makes of bytes, and how many are to be skipped behind them.
fn decoded(bytes: &[u8]) -> (Decoded<'_>, u32) {
    let mut progress = Progress::default();
    (Wire::decode(bytes, &mut progress, &LIMITS), progress.skip)
}

#[test]
fn half_a_frame_waits_for_its_rest_and_two_are_two() {
    let frame = sent(7, Request::CreateGroup { name: b"news" });
    for len in 0..frame.len() {
        assert_eq!(decoded(&frame[..len]), (Decoded::Partial, 0), "{len}");
    }
    let (used, tag) = (frame.len(), Tag(7));
    let request = Asked::CreateGroup { name: b"news", max: u32::MAX };
    let want = Decoded::Request { used, sender: Sender::Own, tag, request };
    assert_eq!(decoded(&[frame.clone(), frame].concat()), (want, 0));
}

#[test]
fn what_is_no_request_is_refused_with_its_id_and_no_more_than_its_frame() {
    for (frame, id, outcome) in [
        // No such request; one that ends early; one with something behind it; no id.
        (&b"\x02\0\x07\x63"[..], 7, Outcome::Malformed),
        (b"\x03\0\x07\x04\x05", 7, Outcome::Malformed),
        (b"\x03\0\x07\x01\0", 7, Outcome::Malformed),
        (b"\x05\0\xff\xff\xff\xff\xff", 0, Outcome::Malformed),
        (b"\x01\0\x80", 0, Outcome::Malformed),
        // For more messages than can be counted.
        (b"\x0a\0\x07\x05\0\x01\x01\x80\x80\x80\x80\x08", 7, Outcome::Malformed),
        // Another version, whatever else it has in its hello.
        (b"\x05\0\x07\0\x02\0\x01", 7, Outcome::Version),
        (b"\x06\0\x07\0\x02\0\x01\0", 7, Outcome::Version),
        (b"\x03\0\x07\0\x02", 7, Outcome::Version),
        (b"\x02\0\x07\0", 7, Outcome::Malformed),
        (b"\x03\0\x07\0\x01", 7, Outcome::Malformed),
    ] {
        let used = frame.len();
        let want = Decoded::Refused { used, tag: Tag(id), outcome };
        assert_eq!(decoded(&[frame, b"next"].concat()), (want, 0), "{frame:x?}");
    }
    assert_eq!(decoded(b"\0\0next"), (Decoded::Skipped { used: 2 }, 0), "an empty one is none");
}

#[test]
fn a_frame_that_is_too_long_is_refused_at_once_and_skipped_as_it_comes() {
    let whole = frame_max(1024) - HEADER;
    let header = |len: usize| (len as u16).to_le_bytes().to_vec();
    assert_eq!(decoded(&header(whole)), (Decoded::Partial, 0));
    let (outcome, used) = (Outcome::Full(event::Limit::MessageLength), HEADER);
    let long = header(whole + 1);
    // Its id has come, or is none.
    for (id, bytes) in [(7, &b"\x07"[..]), (200, b"\xc8\x01"), (0, b"\xff\xff\xff\xff\xff")] {
        for end in 1..bytes.len() {
            assert_eq!(decoded(&[&long, &bytes[..end]].concat()), (Decoded::Partial, 0));
        }
        let want = Decoded::Refused { used, tag: Tag(id), outcome };
        assert_eq!(decoded(&[&long, bytes].concat()), (want, whole as u32 + 1));
        let all = [&long[..], bytes, &std::vec![0; whole]].concat();
        assert_eq!(decoded(&all), (want, whole as u32 + 1), "whole, it is too long all the same");
    }
    let mut progress = Progress { skip: 10, ..Progress::default() };
    for (bytes, used, left) in [(4, 4, 6), (20, 6, 0)] {
        let skipped = Wire::decode(&[1; 20][..bytes], &mut progress, &LIMITS);
        assert_eq!((skipped, progress.skip), (Decoded::Skipped { used }, left));
    }
}

#[test]
fn the_longest_of_everything_fits_its_bounds() {
    let name = &[b'n'; crate::name::NAME_LENGTH - 1][..];
    let party = Party { number: u32::MAX, name };
    let text = &[b'x'; 1024][..];
    let (id, left) = (u32::MAX, Some(u32::MAX));
    let private = Some(Private { group: u32::MAX, user: u32::MAX });
    let message = Message {
        number: u64::MAX,
        id,
        mark: id,
        time: u64::MAX,
        priority: 5,
        offline: true,
        from: party,
        group: Some(party),
        private,
        image: true,
        text,
    };
    assert!(told(Event::Message(message)).len() <= Wire::TRAITS.delivery(1024) as usize);
    let row = told(Event::Row { id, party, active: true, left });
    assert!(row.len() <= Wire::TRAITS.row as usize);
    let user = party;
    let welcome = Event::Welcome { id, version: u16::MAX, user, message_length: u32::MAX };
    assert!(told(welcome).len() <= Wire::ANSWER_LEN.0);
    let why = Refusal::Full { limit: Limit::Chats, size: u32::MAX };
    assert!(told(Event::Refused { id, why }).len() <= Wire::ANSWER_LEN.1);
    let to = To::Group(Who::Name(name));
    let send = sent(id, Request::Send { to, priority: 5, receipt: true, text });
    assert!(send.len() <= frame_max(1024));
    let event = event::Event::Ended { group: event::Party { number: 1, name } };
    let to = Recipient { address: 0, user: 0, part: 0 };
    assert_eq!(Wire::encode(&event, to, &LIMITS, &mut [0; 8]), 0, "no room");
}

#[test]
fn an_answer_to_id_0_is_a_refusal_or_none() {
    let answer = |outcome, kind| {
        let (tag, size, group) = (Tag(0), 40, false);
        let (about, to) = (event::Party::NONE, event::Party { number: 3, name: b"anna" });
        let answer = event::Answer { tag, kind, outcome, size, about, group, to };
        let mut out = [0; 100];
        let to = Recipient { address: 0, user: 3, part: 0 };
        let len = Wire::encode(&event::Event::Answer(answer), to, &LIMITS, &mut out);
        out[..len].to_vec()
    };
    for outcome in [Outcome::Done, Outcome::Stored, Outcome::Received] {
        assert_eq!(answer(outcome, Kind::Send), []);
    }
    let welcome = Event::Welcome { id: 0, version: 1, user: ANNA, message_length: 1024 };
    assert_eq!(answer(Outcome::Done, Kind::LogIn), told(welcome));
    let why = Refusal::Full { limit: Limit::Mailbox, size: 40 };
    let refused = told(Event::Refused { id: 0, why });
    assert_eq!(answer(Outcome::Full(event::Limit::Mailbox), Kind::Send), refused);
}

/// What every request and event is built of, one with each variant, each option and each length of an
/// integer.
fn samples() -> (Vec<(u32, Request<'static>)>, Vec<Event<'static>>) {
    const NUMBERS: [u32; 6] = [0, 1, 127, 128, 40_000, u32::MAX];
    let (mut requests, mut events) = (Vec::new(), Vec::new());
    for number in NUMBERS {
        let (long, version) = (u64::from(number) << 31 | 5, number as u16);
        let text = &[0xc5; 200][..number as usize % 201];
        let (flag, priority) = (number % 2 == 0, number as u8);
        let count = flag.then_some(number);
        let private = Private { group: number, user: 7 };
        let party = Party { number, name: text };
        for who in [Who::Number(number), Who::Name(text)] {
            requests.extend([
                Request::Hello { version, user: who, password: text },
                Request::Send { to: To::User(who), priority, receipt: flag, text },
                Request::Send { to: To::Group(who), priority, receipt: !flag, text },
                Request::Join { group: who, count },
                Request::Leave { group: who },
                Request::List(List::Members(who)),
            ]);
        }
        for chat in [Chat::Group(number), Chat::User(number), Chat::Private(private)] {
            let before = flag.then_some(long);
            requests.extend([
                Request::Say { chat, text },
                Request::Seen { chat },
                Request::History { chat, before, limit: number },
            ]);
            events.push(Event::Count { id: number, chat, all: long, new: u64::MAX });
        }
        requests.extend([
            Request::LogOut,
            Request::Ack { mark: number },
            Request::CreateGroup { name: text },
            Request::List(List::Online),
            Request::List(List::Groups),
            Request::List(List::MyGroups),
            Request::List(List::Users),
            Request::ShutDown,
            Request::Ping,
            Request::NewChat { group: number },
            Request::Chats,
        ]);
        events.extend([
            Event::Welcome { id: number, version, user: party, message_length: number },
            Event::Ended { group: party },
            Event::Row { id: number, party, active: flag, left: count },
        ]);
        events.extend([How::Done, How::Received, How::Stored].map(|how| {
            Event::Done { id: number, how, number }
        }));
        events.extend(all_refusals(number).map(|why| Event::Refused { id: number, why }));
        for (group, private) in [(None, None), (Some(party), None), (None, Some(private))] {
            events.push(Event::Message(Message {
                number: long,
                id: number,
                mark: number,
                time: u64::MAX,
                priority,
                offline: flag,
                from: party,
                group,
                private,
                image: !flag,
                text,
            }));
        }
        let (id, number, time, from) = (number, long, long, party);
        events.push(Event::Said { id, number, time, priority, from, image: flag, text });
    }
    (requests.into_iter().map(|request| (7, request)).collect(), events)
}

/// The refusals before the one of a limit, in their order.
const PLAIN: [Refusal; 12] = [
    Refusal::Malformed,
    Refusal::Version { speaks: 1 },
    Refusal::NotLoggedIn,
    Refusal::BadName,
    Refusal::NotAllowed,
    Refusal::NotMember,
    Refusal::NoSuchUser,
    Refusal::NoSuchGroup,
    Refusal::NoSuchChat,
    Refusal::InUse,
    Refusal::Exists,
    Refusal::Own,
];

fn all_refusals(size: u32) -> impl Iterator<Item = Refusal> {
    let speaks = size as u16;
    let plain = PLAIN.into_iter().chain([Refusal::Version { speaks }, Refusal::NotKept]);
    plain.chain(Limit::ALL.into_iter().map(move |limit| Refusal::Full { limit, size }))
}

#[test]
fn every_request_and_event_is_what_postcard_makes_of_it() {
    let (requests, events) = samples();
    let (mut ours, mut theirs) = ([0; 1024], [0; 1024]);
    let mut payloads = Vec::new();
    for (id, request) in requests {
        let len = request.encode(id, &mut ours).unwrap();
        let want = postcard::to_slice(&(id, request), &mut theirs).unwrap();
        assert_eq!(&ours[HEADER..len], &want[..], "{request:?}");
        assert_eq!(request.encode(id, &mut ours[..len - 1]), None);
        payloads.push(want.to_vec());
    }
    for event in events {
        let len = event.encode(&mut ours).unwrap();
        let want = postcard::to_slice(&event, &mut theirs).unwrap();
        assert_eq!(&ours[HEADER..len], &want[..], "{event:?}");
        assert_eq!(event.encode(&mut ours[..len - 1]), None);
        payloads.push(want.to_vec());
    }
    // And what anything else means, near to those.
    let mut dice = 1u64;
    let mut below = |limit: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % limit
    };
    let mut good = 0;
    for payload in &payloads {
        for _ in 0..300 {
            let mut bytes = payload.clone();
            bytes.truncate(bytes.len() - below(2) * below(bytes.len()));
            for _ in 0..below(4) {
                let at = below(bytes.len().min(24));
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, below(256) as u8, below(16) as u8][below(7)];
            }
            bytes.extend(&[0x80, 0][..below(3)]);
            let want = match postcard::take_from_bytes::<(u32, Request<'_>)>(&bytes) {
                Ok(((_, Request::Hello { version, .. }), _)) if version != VERSION => None,
                Ok((request, [])) => Some(request),
                _ => None,
            };
            assert_eq!(Request::decode(&bytes).ok(), want, "{bytes:x?}");
            let event = postcard::take_from_bytes::<Event<'_>>(&bytes).ok();
            let event = event.filter(|(_, rest)| rest.is_empty()).map(|(event, _)| event);
            assert_eq!(Event::decode(&bytes).ok(), event, "{bytes:x?}");
            good += usize::from(want.is_some() || event.is_some());
        }
    }
    assert!(good > 10_000, "{good}");
}
