//! Instructions that the exchange takes, counted by valgrind's callgrind and so the same every time.
//!
//! ```text
//! cargo bench -p centrala-core                 # every case
//! cargo bench -p centrala-core -- --check      # exit status 1 if one is over its budget
//! cargo bench -p centrala-core -- route 1000   # one case so many times, without valgrind
//! ```
//!
//! Each case runs twice, N and 2N times. The difference divided by N is what one time costs: what
//! the setup costs cancels out. A directory of 9,000 users, and an outbox that only counts.

use centrala_core::dialect::{Dialect, direct, topics};
use centrala_core::exchange::{Exchange, Link, Tables, Token, places_for_users, scratch_len};
use centrala_core::host::{Ask, Io, Outbox, Room, Store, Volatile};
use centrala_core::limits::Limits;
use centrala_core::table::{Empty, Slot};
use std::hint::black_box;
use std::process::{Command, ExitCode};

const TEXT: [u8; 128] = [b'x'; 128];
const USERS: usize = 9_000;
const SESSIONS: usize = 1_100;
const MEMBERS: usize = 1_000;

/// What is measured, and what it may cost.
struct Case {
    name: &'static str,
    what: &'static str,
    run: fn(u32),
    /// N, and how many deliveries or frames the cost of one time is divided by.
    times: u32,
    parts: u32,
    /// What it should cost at most.
    aim: Option<u64>,
}

const CASES: [Case; 7] = [
    Case {
        name: "decode",
        what: "decode a `direct` frame of 24 bytes",
        run: decode,
        times: 10_000,
        parts: 1,
        aim: Some(60),
    },
    Case {
        name: "route",
        what: "route 128 bytes between two `direct` links",
        run: route,
        times: 1_000,
        parts: 1,
        aim: Some(1_300),
    },
    Case {
        name: "receipt",
        what: "the same with its `200` back",
        run: receipt,
        times: 1_024,
        parts: 1,
        aim: Some(2_500),
    },
    Case {
        name: "group-direct",
        what: "128 bytes to a group, each of 1,000 `direct` members",
        run: group_direct,
        times: 8,
        parts: MEMBERS as u32,
        aim: None,
    },
    Case {
        name: "group-receipts",
        what: "the same with the member's `200` back",
        run: group_receipts,
        times: 8,
        parts: MEMBERS as u32,
        aim: None,
    },
    Case {
        name: "group-topics",
        what: "128 bytes to a group, each of 1,000 `topics` members",
        run: group_topics,
        times: 64,
        parts: MEMBERS as u32,
        aim: None,
    },
    Case {
        name: "publish",
        what: "publish 128 bytes in `topics` to one member, with the answer",
        run: publish,
        times: 1_000,
        parts: 1,
        aim: None,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    match arguments.next() {
        Some(name) if name != "--check" => {
            let case = CASES.iter().find(|case| case.name == name);
            let times = arguments.next().and_then(|times| times.parse().ok());
            let (Some(case), Some(times)) = (case, times) else {
                eprintln!("instructions: [--check | CASE TIMES]");
                return ExitCode::from(2);
            };
            (case.run)(times);
            ExitCode::SUCCESS
        }
        check => {
            let mut good = true;
            for case in &CASES {
                let used = case.count();
                let aim = case.aim.map_or(String::new(), |aim| format!("aim: under {aim}"));
                println!("{used:>6}  {:<62}{aim}", case.what);
                // Another compiler counts a little differently: a tenth is not a step back.
                good &= case.aim.is_none_or(|aim| used < aim + aim / 10);
            }
            if check.is_some() && !good {
                eprintln!("instructions: over an aim by more than a tenth");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
    }
}

impl Case {
    /// Instructions for each part of one time.
    fn count(&self) -> u64 {
        let (once, twice) = (self.total(self.times), self.total(2 * self.times));
        (twice - once) / u64::from(self.times) / u64::from(self.parts)
    }

    /// Instructions of a whole process that runs the case so often.
    fn total(&self, times: u32) -> u64 {
        let file = format!("{}/callgrind.out.{}.{times}", env!("CARGO_TARGET_TMPDIR"), self.name);
        let this = std::env::current_exe().expect("the path of this program");
        let run = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={file}")])
            .arg(this)
            .args([self.name, &times.to_string()])
            .status();
        assert!(run.expect("valgrind is installed").success(), "{} failed", self.name);
        let profile = std::fs::read_to_string(&file).expect("the profile");
        let total = profile.lines().find_map(|line| line.strip_prefix("totals: "));
        total.and_then(|total| total.trim().parse().ok()).expect("a profile has its totals")
    }
}

/// Counts deliveries and answers.
#[derive(Default)]
struct Count {
    delivered: u64,
    answered: u64,
}

impl Outbox for Count {
    fn open(&mut self, _: Link, _: Link, _: i64) -> Option<Room> {
        Some(Room::of(u32::MAX))
    }
    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        self.delivered += to.len() as u64;
        black_box(frame);
    }
    fn mail(&mut self, _: Link, _: &[u8], _: u32) {
        panic!("nobody is offline");
    }
    fn reply(&mut self, _: Link, _: &[u8]) {
        self.answered += 1;
    }
    fn promise(&mut self, _: Link, granted: &[u8], refused: &[u8]) {
        self.answered += 1;
        black_box((granted, refused));
    }
    fn ask(&mut self, _: Token, _: Ask<'_>) {
        panic!("nobody has a password");
    }
    fn turn_away(&mut self, _: Link, _: i64, _: &[u8]) {
        panic!("nobody is turned away");
    }
    fn take_back(&mut self, _: Link, _: i64, _: &mut dyn FnMut(&[u8]) -> bool) {}
    fn unread(&mut self, _: Link, _: &mut dyn FnMut(&[u8])) {}
    fn gone(&mut self, _: Link) -> bool {
        false
    }
    fn close(&mut self, _: Link) {
        panic!("no link is closed");
    }
    fn shut_down(&mut self) {}
}

/// An exchange with its users, and what a host lends it.
struct Bench {
    exchange: Exchange<'static>,
    store: Volatile,
    out: Count,
}

fn places<T: Empty>(number: usize) -> &'static mut [T] {
    vec![T::EMPTY; number].leak()
}

fn slots<T: Empty>(number: usize) -> &'static mut [Slot<T>] {
    vec![Slot::EMPTY; number].leak()
}

fn zeroes<T: Clone + Default>(number: usize) -> &'static mut [T] {
    vec![T::default(); number].leak()
}

impl Bench {
    fn new() -> Bench {
        let (users, groups, messages, entries) = (places_for_users(USERS), 16, 4_096, 32_768);
        let message_length = 1_000;
        let tables = Tables {
            users: places(users),
            user_index: zeroes(users.next_power_of_two()),
            groups: places(groups),
            group_index: zeroes(groups),
            memberships: slots(2 * MEMBERS),
            chats: &mut [],
            chat_index: zeroes(1),
            sessions: slots(SESSIONS),
            session_index: zeroes(SESSIONS.next_power_of_two()),
            messages: slots(messages),
            bodies: zeroes(messages * message_length),
            entries: slots(entries),
            timers: slots(entries + 2 * SESSIONS + 1),
            questions: slots(1),
            fan: vec![Link::NONE; SESSIONS].leak(),
            fan_dialects: zeroes(SESSIONS),
            scratch: zeroes(scratch_len(message_length)),
        };
        let mut limits = Limits::new(message_length);
        limits.mailbox = entries as u32;
        limits.topics.clients = SESSIONS as u32;
        let (mut exchange, mut store) = (Exchange::new(tables, limits), Volatile);
        for number in 0..USERS {
            exchange.create_user(format!("u{number}").as_bytes(), &mut store).expect("room");
        }
        Bench { exchange, store, out: Count::default() }
    }

    fn receive(&mut self, link: Link, bytes: &[u8]) {
        let mut io = Io { now: 0, time: 0, store: &mut self.store, out: &mut self.out };
        let used = self.exchange.receive(link, bytes, &mut io);
        assert_eq!(used, Ok(bytes.len()));
    }

    /// A `direct` link of a user.
    fn direct(&mut self, user: usize) -> Link {
        let room = Room::of(u32::MAX);
        let link = self.exchange.connect(Dialect::Direct, room, 0).expect("room");
        let hello = frame(direct::RESPONSE, 0, user, "", b"");
        self.receive(link, &hello);
        link
    }

    /// Sessions of users in `topics`; returns the endpoint that they share.
    fn topics(&mut self, users: std::ops::Range<usize>) -> Link {
        let endpoint = self.exchange.endpoint(Dialect::Topics, 12_345).expect("room");
        for user in users {
            let name = format!("u{user}");
            let log_in = request(topics::request::LOG_IN, 100_000 + user, name.as_bytes());
            self.receive(endpoint, &log_in);
        }
        endpoint
    }

    fn group(&mut self, members: std::ops::RangeInclusive<usize>) {
        let group = self.exchange.create_group(b"all", 0, &mut self.store).expect("room");
        for member in members {
            let number = self.number(member);
            self.exchange.join(number, group, -1, &mut self.store as &mut dyn Store).expect("room");
        }
    }

    fn number(&self, user: usize) -> u32 {
        let name = format!("u{user}");
        let target = centrala_core::request::Target::UserName(name.as_bytes());
        self.exchange.find_user(target).expect("a user").number
    }

    /// Nothing was measured that did not happen.
    fn check(&self, delivered: u64, answered: u64) {
        assert_eq!((self.out.delivered, self.out.answered), (delivered, answered));
    }
}

/// A `direct` frame from a user.
fn frame(kind: u16, id: u32, from: usize, to: &str, text: &[u8]) -> Vec<u8> {
    let src = direct::name_field(format!("u{from}").as_bytes(), 0, false);
    let mut dst = [0; direct::NAME_FIELD];
    dst[..to.len()].copy_from_slice(to.as_bytes());
    let mut out = vec![0; direct::HEADER + text.len()];
    direct::Frame { kind, id, src: &src, dst: &dst, text }.emit(&mut out).expect("it fits");
    out
}

/// A `topics` request about topic 0, with priority 3.
fn request(kind: i64, id: usize, field: &[u8]) -> Vec<u8> {
    let mut out = vec![0; topics::REQUEST_FIXED + field.len() + 1];
    topics::ClientMessage { kind, id: id as i32, topic: 0, number: 3, field }
        .emit(&mut out)
        .expect("it fits");
    out
}

fn set_id(frame: &mut [u8], id: u32) {
    frame[4..8].copy_from_slice(&id.to_be_bytes());
}

fn decode(times: u32) {
    let bytes = frame(direct::MESSAGE, 7, 1, "u2", b"");
    for _ in 0..times {
        black_box(direct::Frame::look(black_box(&bytes)));
    }
}

fn route(times: u32) {
    let mut bench = Bench::new();
    let (from, _to) = (bench.direct(1), bench.direct(2));
    let mut message = frame(direct::MESSAGE, 0, 1, "u2", &TEXT);
    for id in 0..times {
        set_id(&mut message, id);
        bench.receive(from, &message);
    }
    bench.check(times.into(), 0);
}

fn receipt(times: u32) {
    /// Answers come a few at a time.
    const BATCH: u32 = 32;
    let mut bench = Bench::new();
    let (from, to) = (bench.direct(1), bench.direct(2));
    let mut message = frame(direct::MESSAGE, 0, 1, "u2", &TEXT);
    let mut taken = frame(direct::RESPONSE, 0, 2, "u1", direct::code::TAKEN);
    for batch in 0..times / BATCH {
        for id in batch * BATCH..(batch + 1) * BATCH {
            set_id(&mut message, id);
            bench.receive(from, &message);
        }
        for id in batch * BATCH..(batch + 1) * BATCH {
            set_id(&mut taken, id);
            bench.receive(to, &taken);
        }
    }
    bench.check(times.into(), times.into());
    assert_eq!(bench.exchange.usage().entries, 0);
}

fn group_direct(times: u32) {
    to_group(times, false);
}

fn group_receipts(times: u32) {
    to_group(times, true);
}

fn to_group(times: u32, receipts: bool) {
    let mut bench = Bench::new();
    let from = bench.direct(0);
    let members: Vec<Link> = (1..=MEMBERS).map(|user| bench.direct(user)).collect();
    bench.group(1..=MEMBERS);
    let message = frame(direct::MESSAGE, 0, 0, "#all", &TEXT);
    // Encoded before it is counted. The server numbers what goes to a group.
    let mut taken: Vec<Vec<u8>> = (1..=MEMBERS)
        .map(|user| frame(direct::RESPONSE, 0, user, "u0", direct::code::TAKEN))
        .collect();
    for id in 0..times {
        bench.receive(from, &message);
        for (link, taken) in members.iter().zip(&mut taken).filter(|_| receipts) {
            set_id(taken, id);
            bench.receive(*link, taken);
        }
    }
    bench.check(u64::from(times) * MEMBERS as u64, times.into());
    let waiting = if receipts { 0 } else { times * MEMBERS as u32 };
    assert_eq!(bench.exchange.usage().entries, waiting);
}

fn group_topics(times: u32) {
    publish_to(times, MEMBERS);
}

fn publish(times: u32) {
    publish_to(times, 1);
}

fn publish_to(times: u32, members: usize) {
    let mut bench = Bench::new();
    let endpoint = bench.topics(0..members + 1);
    bench.group(1..=members);
    let id = bench.number(0) as usize - 1;
    let message = request(topics::request::PUBLISH, id, &TEXT);
    for _ in 0..times {
        bench.receive(endpoint, &message);
    }
    let log_ins = members as u64 + 1;
    bench.check(u64::from(times) * members as u64, u64::from(times) + log_ins);
}
