//! A real server, killed at random moments while its clients send: two of `topics`, three of
//! `direct`, one of `queues` and one of `lanes`.
//!
//! Whatever was acknowledged is delivered in the end, in order for each sender, and nothing else.
//! (`queues` has no acknowledgement: what is sent there may be lost with the server, and keeps its
//! order.)
//! What a server had given out and not yet noted as given when it was killed is given once more by
//! the next one. So a message comes twice to a client of a queue only if a server was killed since
//! it was sent, and to a client of `direct` only on another connection, if it left the first one
//! before the server knew that it had the message.
//!
//! `CENTRALA_KILL_ROUNDS=1000 cargo test -p centralad --test kill -- --nocapture` kills a thousand
//! times; `CENTRALA_KILL_SEED` gives another course of events, and with `CENTRALA_KILL_ENDS=1` one
//! server of ten is ended in order instead.

mod common;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use centrala_core::dialect::direct::{Frame, Look, MESSAGE, OFFLINE, RESPONSE};
use centrala_core::dialect::lanes::{self, Order};
use centrala_core::dialect::queues;
use centrala_core::dialect::topics::{ClientMessage, ServerMessage, kind, request};
use centrala_sysv::{Queue, Receive, Removed};
use common::sysv::{Lanes, element, take};
use common::{LONG, Server, key};
use nix::sys::signal::Signal;

/// What the server is told: little memory, so that most mail is in the store alone.
const TOPICS: &str = "";
const MORE: &str = "[limits]\nmailbox = 6\nmessages = 64\ncopies = 64\n\
                    [accounts]\nregistrations_per_minute = 60000\n";

const SENDERS: [&str; 3] = ["d0", "d1", "d2"];
const RECIPIENTS: [&str; 3] = ["r0", "r1", "r2"];
const SUBSCRIBERS: [&str; 2] = ["t0", "t1"];
/// Of `queues` and `lanes`.
const OTHERS: [&str; 2] = ["q0", "l0"];
/// Members of the group, which is the first one.
const MEMBERS: [&str; 4] = ["t0", "t1", "q0", "l0"];
const GROUP: u32 = 1;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A message: who sent it, and its number among those of that sender.
type Id = (&'static str, u32);

/// One copy that came.
#[derive(Clone, Copy, Debug)]
struct Came {
    id: Id,
    /// Which life of the server.
    life: u32,
    /// Which connection of the recipient's.
    connection: u32,
}

/// What was sent, promised and received.
#[derive(Default)]
struct Ledger {
    /// To whom, in which life of the server, and whether to a group.
    sent: BTreeMap<Id, (Vec<&'static str>, u32, bool)>,
    acknowledged: HashSet<Id>,
    /// How many were, with those that have come.
    promised: usize,
    got: HashSet<(Id, &'static str)>,
    /// By recipient, in order.
    came: BTreeMap<&'static str, Vec<Came>>,
    refused: u32,
    life: u32,
}

impl Ledger {
    fn text((sender, number): Id) -> String {
        format!("{sender}-{number}")
    }

    fn id(text: &str) -> Option<Id> {
        let (sender, number) = text.split_once('-')?;
        let sender = SENDERS.iter().chain(&MEMBERS).find(|name| **name == sender)?;
        Some((*sender, number.parse().ok()?))
    }

    fn came(&mut self, to: &'static str, connection: u32, text: &str) {
        let id = Ledger::id(text).filter(|id| self.sent.contains_key(id));
        let id = id.unwrap_or_else(|| panic!("{to} got {text:?}, which nobody sent"));
        assert!(self.sent[&id].0.contains(&to), "{to} got {text}, which was for others");
        self.got.insert((id, to));
        self.came.entry(to).or_default().push(Came { id, life: self.life, connection });
    }

    fn missing(&self) -> Vec<(Id, &'static str)> {
        let mut missing = Vec::new();
        for id in &self.acknowledged {
            let to = self.sent[id].0.iter().filter(|to| !self.got.contains(&(*id, *to)));
            missing.extend(to.map(|to| (*id, *to)));
        }
        missing.sort_unstable();
        missing
    }

    /// All that was acknowledged has come.
    fn settled(&mut self) {
        self.promised += self.acknowledged.len();
        self.acknowledged.clear();
    }

    /// Order and doubles. Returns how many came twice.
    fn check(&self) -> usize {
        let mut doubled = 0;
        for (to, came) in &self.came {
            let mut first: HashMap<Id, Came> = HashMap::new();
            let mut newest: HashMap<(&str, bool), u32> = HashMap::new();
            for copy in came {
                let (sender, number) = copy.id;
                // `topics` gives direct messages a share of the queue that is their own.
                let group = self.sent[&copy.id].2 && to.starts_with('t');
                if let Some(before) = first.get(&copy.id) {
                    doubled += 1;
                    let sent = self.sent[&copy.id].1;
                    let may = match to.starts_with('r') {
                        true => before.connection < copy.connection,
                        false => sent < copy.life,
                    };
                    assert!(may, "{to} got one twice: {before:?}, {copy:?}");
                    continue;
                }
                first.insert(copy.id, *copy);
                let newest = newest.entry((sender, group)).or_default();
                assert!(*newest < number, "{to} got {copy:?} after {newest}");
                *newest = number;
            }
        }
        doubled
    }
}

/// A client of `direct`: a sender, or a recipient.
struct Direct {
    name: &'static str,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    connections: u32,
}

impl Direct {
    fn new(name: &'static str) -> Direct {
        Direct { name, stream: None, input: Vec::new(), connections: 0 }
    }

    fn connect(&mut self, address: SocketAddr) {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.stream = Some(stream);
        self.connections += 1;
        self.send(RESPONSE, 0, "", "");
    }

    /// Whether all of it went out: what did not is as good as not sent.
    fn send(&mut self, kind: u16, id: u32, to: &str, text: &str) -> bool {
        let field = |name: &str| {
            let mut field = [0; 8];
            field[..name.len()].copy_from_slice(name.as_bytes());
            field
        };
        let mut out = [0; 256];
        let (src, dst) = (&field(self.name), &field(to));
        let len = Frame { kind, id, src, dst, text: text.as_bytes() }.emit(&mut out).unwrap();
        let sent = self.stream.as_mut().is_some_and(|stream| stream.write_all(&out[..len]).is_ok());
        if !sent {
            self.end();
        }
        sent
    }

    fn end(&mut self) {
        self.stream = None;
        self.input.clear();
    }

    /// Takes in what there is. `last`: what came before the end.
    fn take(&mut self, ledger: &mut Ledger, last: bool) {
        let mut buffer = [0; 4096];
        let over = loop {
            let Some(stream) = &mut self.stream else { return };
            match centrala_tests::read_some(stream, &mut buffer) {
                Ok(0) => break true,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !last => {
                    break false;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                Err(_) => break true,
            }
        };
        let mut used = 0;
        let mut answers = Vec::new();
        while let Look::Frame(frame, len) = Frame::look(&self.input[used..]) {
            used += len;
            let text = std::str::from_utf8(frame.text).unwrap();
            match frame.kind {
                RESPONSE => match text {
                    "200" | "300" => drop(ledger.acknowledged.insert((self.name, frame.id))),
                    // Nobody has that name yet, or there was no room.
                    "404" | "507" => ledger.refused += 1,
                    // Logged in already, as far as the server knows.
                    "409" | "401" => {}
                    text => panic!("{} got {text}", self.name),
                },
                MESSAGE => {
                    ledger.came(self.name, self.connections, text);
                    let from = String::from_utf8_lossy(frame.source()).into_owned();
                    answers.push((frame.id, from));
                }
                OFFLINE => ledger.came(self.name, self.connections, text),
                kind => panic!("a frame of kind {kind}"),
            }
        }
        self.input.drain(..used);
        for (id, from) in answers {
            self.send(RESPONSE, id, &from, "200");
        }
        if over {
            self.end();
        }
    }
}

/// A client of `topics`: it publishes and subscribes. Its queue outlasts the server.
struct Topics {
    name: &'static str,
    queue: Removed,
    key: i32,
    state: State,
    /// What its next answers are to, in order.
    asked: VecDeque<Option<Id>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Out,
    LoggingIn,
    In(i32),
}

impl Topics {
    fn new(name: &'static str) -> Topics {
        let key = key();
        let (queue, _) = Queue::create(key, 0o600).unwrap();
        let queue = Removed(queue);
        Topics { name, queue, key, state: State::Out, asked: VecDeque::new() }
    }

    /// Whether the server's queue took it.
    fn ask(&mut self, server: Queue, id: i32, kind: i64, number: i32, text: &str) -> bool {
        let message = ClientMessage { kind, id, topic: 0, number, field: text.as_bytes() };
        let mut out = [0; 1100];
        let len = message.emit(&mut out).unwrap();
        server.send(&out[..len], false).is_ok()
    }

    fn log_in(&mut self, server: Queue) {
        if self.ask(server, self.key, request::LOG_IN, 0, self.name) {
            self.state = State::LoggingIn;
        }
    }

    /// Takes in what there is.
    fn take(&mut self, server: Queue, ledger: &mut Ledger) {
        let mut buffer = [0; 1100];
        if self.state == State::LoggingIn
            && let Ok(len) = server.receive(&mut buffer, self.key.into(), Receive::NOW)
        {
            let info = ServerMessage::new_checked(&buffer[..len]).unwrap().info;
            assert!(info >= 0, "{} was refused: {info}", self.name);
            self.state = State::In(info);
            for (kind, number, text) in
                [(request::NEW_TOPIC, 0, "news"), (request::SUBSCRIBE, -1, "")]
            {
                if self.ask(server, info, kind, number, text) {
                    self.asked.push_back(None);
                }
            }
        }
        while let Ok(len) = self.queue.receive(&mut buffer, 0, Receive::NOW) {
            let message = ServerMessage::new_checked(&buffer[..len]).unwrap();
            let text = std::str::from_utf8(message.text).unwrap();
            if message.kind == kind::RESULT {
                match (self.asked.pop_front().expect("nothing was asked"), message.info) {
                    (Some(id), 0) => drop(ledger.acknowledged.insert(id)),
                    (Some(_), _) => ledger.refused += 1,
                    (None, _) => {}
                }
            } else {
                let (_, text) = text.split_once(": ").unwrap();
                ledger.came(self.name, 0, text);
            }
        }
    }
}

/// A client of `queues` and one of `lanes`. The server is there while they log in.
struct Others {
    /// Keys of the server's queues.
    keys: [i32; 2],
    names_file: std::path::PathBuf,
    queue: Removed,
    key: i32,
    /// The index of the client of `queues`.
    index: i64,
    /// Whether they are logged in.
    within: [bool; 2],
    lanes: Lanes,
    /// What the next answers to the client of `lanes` are to, in order.
    asked: VecDeque<Id>,
}

impl Others {
    fn new(directory: &Path) -> Others {
        let (keys, own) = ([key(), key()], key());
        let queue = Removed(Queue::create(own, 0o600).unwrap().0);
        // Not its queue before it is logged in.
        let lanes = Lanes { queue: *queue, user: 0, users: 0, groups: 0 };
        let names_file = directory.join("names.txt");
        let (within, asked) = ([false; 2], VecDeque::new());
        Others { keys, names_file, queue, key: own, index: 0, within, lanes, asked }
    }

    /// Whether the server's queue of `queues` took it.
    fn send(&self, kind: i64, address: i32, text: &str) -> bool {
        let Ok(server) = Queue::open(self.keys[0]) else { return false };
        let mut out = [0; queues::SIZE];
        let message = queues::Message { kind, text: text.as_bytes(), address, time: 0 };
        let len = message.emit(&mut out).unwrap();
        server.send(&out[..len], false).is_ok()
    }

    /// An answer of a type that nothing else has.
    fn answer(&self, kind: i64) -> String {
        let mut buffer = [0; queues::SIZE];
        let answer = || self.queue.receive(&mut buffer, kind, Receive::NOW).ok();
        let len = common::until("an answer of queues", answer);
        let text = queues::Message::new_checked(&buffer[..len]).unwrap().text;
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn log_in(&mut self, random: &mut Random) {
        if !self.within[0] && random.below(2) == 0 {
            let text = format!("{}/", OTHERS[0]);
            common::until("room for a log-in", || {
                self.send(queues::kind::LOG_IN, self.key, &text).then_some(())
            });
            for right in [true, true, false] {
                let answer = self.answer(queues::kind::LOG_IN);
                match right {
                    true => assert_eq!(answer, "poprawne"),
                    false => self.index = answer.parse().unwrap(),
                }
            }
            self.within[0] = true;
        }
        if !self.within[1] && random.below(2) == 0 {
            self.lanes.queue = Queue::open(self.keys[1]).unwrap();
            assert_eq!(self.lanes.try_log_in(OTHERS[1]), "Zalogowano\n");
            self.within[1] = true;
        }
    }

    /// Both become members of the group, which is there.
    fn join(&mut self) {
        let text = format!("{}/{GROUP}", self.index);
        assert!(self.send(queues::kind::JOIN, self.key, &text));
        assert_eq!(self.answer(queues::kind::JOIN), "1");
        self.lanes.send(Order::Join(GROUP), "");
        assert_eq!(self.lanes.answer().1, GROUP as i32);
    }

    /// The number of a user, as clients of `lanes` find it out.
    fn number(&self, name: &str) -> Option<u32> {
        let file = std::fs::read_to_string(&self.names_file).ok()?;
        file.lines().find_map(|line| {
            let mut words = line.split(' ');
            let number = (words.next()? == "o").then(|| words.next())??;
            (words.next()? == name).then(|| number.parse().ok())?
        })
    }

    /// Sends a message to a user, or to the group, as one of the two. Returns whether it went out.
    fn write(&mut self, which: usize, id: Id, to: Option<&str>) -> bool {
        let text = Ledger::text(id);
        let Some(number) = to.map_or(Some(GROUP), |name| self.number(name)) else { return false };
        match (which, to) {
            (0, Some(_)) => self.send(self.index, number as i32, &text),
            (0, None) => self.send(queues::kind::GROUP, self.key, &format!("{GROUP}/{text}")),
            (_, to) => {
                let order = to.map_or(Order::ToGroup(number), |_| Order::ToUser(number));
                let first = lanes::lane(self.lanes.user) as i32;
                let frame = element(1, first, order.second(self.lanes.groups), &text);
                let sent = self.lanes.queue.send(&frame, false).is_ok();
                if sent {
                    self.asked.push_back(id);
                }
                sent
            }
        }
    }

    fn take(&mut self, ledger: &mut Ledger) {
        let mut buffer = [0; queues::SIZE];
        let last = |text: &str| text.trim_end().rsplit(' ').next().unwrap().to_owned();
        while let Ok(len) = self.queue.receive(&mut buffer, 0, Receive::NOW) {
            let message = queues::Message::new_checked(&buffer[..len]).unwrap();
            ledger.came(OTHERS[0], 0, &last(std::str::from_utf8(message.text).unwrap()));
        }
        if !self.within[1] {
            return;
        }
        while let Some((_, _, text)) = self.lanes.maybe_next() {
            ledger.came(OTHERS[1], 0, &last(&text));
        }
        let lane = lanes::answer_lane(self.lanes.user, self.lanes.users);
        while let Some((_, _, text)) = take(self.lanes.queue, lane) {
            let id = self.asked.pop_front().expect("nothing was asked");
            match text.as_str() {
                "Wiadomosc wyslana" => drop(ledger.acknowledged.insert(id)),
                "Blad\n" => ledger.refused += 1,
                text => panic!("{id:?} was answered {text:?}"),
            }
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for key in self.keys {
            if let Ok(queue) = Queue::open(key) {
                let _ = queue.remove();
            }
        }
    }
}

struct World {
    others: Others,
    random: Random,
    ledger: Ledger,
    senders: Vec<Direct>,
    recipients: Vec<Direct>,
    subscribers: Vec<Topics>,
    numbers: HashMap<&'static str, u32>,
}

impl World {
    fn next(&mut self, sender: &'static str) -> Id {
        let number = self.numbers.entry(sender).or_default();
        *number += 1;
        (sender, *number)
    }

    fn note(&mut self, id: Id, to: Vec<&'static str>, group: bool) {
        self.ledger.sent.insert(id, (to, self.ledger.life, group));
    }

    /// Somebody does something.
    fn step(&mut self, server: &Server, queue: Queue) {
        let address = server.address.unwrap();
        match self.random.below(20) {
            0 => {
                let n = self.random.below(3) as usize;
                match self.recipients[n].stream {
                    None => self.recipients[n].connect(address),
                    Some(_) if self.random.below(3) == 0 => {
                        // What it has been given by then it has.
                        let recipient = &mut self.recipients[n];
                        let stream = recipient.stream.as_ref().unwrap();
                        let _ = stream.shutdown(std::net::Shutdown::Write);
                        recipient.take(&mut self.ledger, true);
                    }
                    Some(_) => {}
                }
            }
            1..=8 => {
                let n = self.random.below(3) as usize;
                if self.senders[n].stream.is_none() {
                    return self.senders[n].connect(address);
                }
                for _ in 0..=self.random.below(4) {
                    let id = self.next(SENDERS[n]);
                    let (to, who) = match self.random.below(8) {
                        0 => ("#news", MEMBERS.to_vec()),
                        1 => (SUBSCRIBERS[0], vec![SUBSCRIBERS[0]]),
                        2 | 3 => {
                            let to = self.random.of(&OTHERS);
                            (to, vec![to])
                        }
                        _ => {
                            let to = self.random.of(&RECIPIENTS);
                            (to, vec![to])
                        }
                    };
                    self.note(id, who, to.starts_with('#'));
                    if !self.senders[n].send(MESSAGE, id.1, to, &Ledger::text(id)) {
                        return;
                    }
                }
            }
            9..=11 => {
                let n = self.random.below(2) as usize;
                match self.subscribers[n].state {
                    State::Out if self.random.below(2) == 0 => self.subscribers[n].log_in(queue),
                    State::In(number) if self.subscribers[n].asked.len() < 4 => {
                        let id = self.next(SUBSCRIBERS[n]);
                        self.note(id, members_but(SUBSCRIBERS[n]), true);
                        let (text, client) = (Ledger::text(id), &mut self.subscribers[n]);
                        if client.ask(queue, number, request::PUBLISH, 3, &text) {
                            client.asked.push_back(Some(id));
                        }
                    }
                    _ => {}
                }
            }
            12..=14 => {
                let n = self.random.below(2) as usize;
                if !self.others.within[n] || self.others.asked.len() >= 4 {
                    return;
                }
                let id = self.next(OTHERS[n]);
                let (to, who) = match self.random.below(4) {
                    0 => (None, members_but(OTHERS[n])),
                    1 => (Some(OTHERS[1 - n]), vec![OTHERS[1 - n]]),
                    2 => (Some(SUBSCRIBERS[0]), vec![SUBSCRIBERS[0]]),
                    _ => {
                        let to = self.random.of(&RECIPIENTS);
                        (Some(to), vec![to])
                    }
                };
                self.note(id, who, to.is_none());
                self.others.write(n, id, to);
            }
            15 if self.random.below(3) != 0 => {}
            _ => self.take(queue),
        }
    }

    fn take(&mut self, queue: Queue) {
        for client in self.senders.iter_mut().chain(&mut self.recipients) {
            client.take(&mut self.ledger, false);
        }
        for client in &mut self.subscribers {
            client.take(queue, &mut self.ledger);
        }
        self.others.take(&mut self.ledger);
    }

    /// The server is gone: what it sent before counts. Clients of one that was killed do not see
    /// it: their sessions go on.
    fn over(&mut self, queue: Queue, killed: bool) {
        for client in self.senders.iter_mut().chain(&mut self.recipients) {
            client.take(&mut self.ledger, true);
            client.end();
        }
        for client in &mut self.subscribers {
            if client.state != State::LoggingIn {
                client.take(queue, &mut self.ledger);
            }
            if client.state == State::LoggingIn {
                // Its answer is lost. It ends, and comes back as another process.
                client.state = State::Out;
                client.take(queue, &mut self.ledger);
                *client = Topics::new(client.name);
            }
            if !killed {
                client.state = State::Out;
            }
            client.asked.clear();
        }
        if !killed {
            // What lay in the lanes of a server that ended in order is mail again.
            self.others.within[1] = false;
        }
        self.others.take(&mut self.ledger);
        self.others.within[0] &= killed;
        self.others.asked.clear();
    }

    /// Everybody subscribes: what a group is sent before is not for them.
    fn begin(&mut self, server: &Server) {
        let queue = server.queue();
        for client in &mut self.subscribers {
            client.log_in(queue);
            common::until("a subscription", || {
                client.take(queue, &mut self.ledger);
                (client.state != State::LoggingIn && client.asked.is_empty()).then_some(())
            });
        }
        while self.others.within != [true; 2] {
            self.others.log_in(&mut self.random);
        }
        self.others.join();
    }

    /// Everybody comes, and takes all that is there.
    fn settle(&mut self, server: &Server) {
        let (address, queue) = (server.address.unwrap(), server.queue());
        let patience = Duration::from_secs(number("CENTRALA_KILL_PATIENCE", LONG.as_secs()));
        let deadline = Instant::now() + patience;
        while self.others.within != [true; 2] {
            self.others.log_in(&mut self.random);
        }
        while !self.ledger.missing().is_empty() {
            assert!(Instant::now() < deadline, "lost: {:?}", self.ledger.missing());
            for client in self.recipients.iter_mut().filter(|client| client.stream.is_none()) {
                client.connect(address);
            }
            for client in self.subscribers.iter_mut().filter(|client| client.state == State::Out) {
                client.log_in(queue);
            }
            for _ in 0..10 {
                self.take(queue);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.ledger.settled();
    }
}

fn members_but(sender: &str) -> Vec<&'static str> {
    MEMBERS.into_iter().filter(|name| *name != sender).collect()
}

/// Kills a server that is not ready yet.
fn kill_while_it_starts(key: i32, data: &Path, more: &str, after: Duration) {
    let config =
        format!("[direct]\nlisten = \"127.0.0.1:0\"\n[topics]\nkey = {key}\n{TOPICS}\n{more}");
    let (mut command, _directory) = common::command(&config);
    let mut child = command.arg("--data").arg(data).spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn what_was_acknowledged_outlives_a_server_that_is_killed() {
    let rounds = number("CENTRALA_KILL_ROUNDS", 100);
    let seed = number("CENTRALA_KILL_SEED", 1);
    let ends = number("CENTRALA_KILL_ENDS", 0) != 0;
    println!("{rounds} rounds, seed {seed}");
    let data = tempfile::tempdir().unwrap();
    let key = key();
    let others = Others::new(data.path());
    let ([queues, lanes], file) = (others.keys, &others.names_file);
    let more =
        format!("{MORE}[queues]\nkey = {queues}\n[lanes]\nkey = {lanes}\ndirectory = {file:?}\n");
    let mut world = World {
        others,
        random: Random(seed),
        ledger: Ledger::default(),
        senders: SENDERS.map(Direct::new).into(),
        recipients: RECIPIENTS.map(Direct::new).into(),
        subscribers: SUBSCRIBERS.map(Topics::new).into(),
        numbers: HashMap::new(),
    };
    let mut server = Server::with_data(key, Some(data.path()), TOPICS, &more);
    world.begin(&server);
    let queue = server.queue();
    // In order: whoever is a member and whoever is not is no matter of chance.
    server.signal(Signal::SIGTERM);
    server.wait();
    world.over(queue, false);
    for round in 0..rounds {
        world.ledger.life += 1;
        if world.random.below(20) == 0 {
            let after = Duration::from_micros(world.random.below(30_000));
            kill_while_it_starts(key, data.path(), &more, after);
        }
        let mut server = Server::with_data(key, Some(data.path()), TOPICS, &more);
        let queue = server.queue();
        world.others.log_in(&mut world.random);
        let promised = world.ledger.acknowledged.len();
        for _ in 0..world.random.below(400) {
            world.step(&server, queue);
        }
        // However slow the machine is, some of it was acknowledged.
        let enough = promised + world.random.below(13) as usize;
        common::until("acknowledgements", || {
            world.step(&server, queue);
            (world.ledger.acknowledged.len() >= enough).then_some(())
        });
        let killed = !ends || world.random.below(10) != 0;
        server.signal(if killed { Signal::SIGKILL } else { Signal::SIGTERM });
        server.wait();
        world.over(queue, killed);
        if round % 10 == 9 {
            // What is missing is noticed before it is long ago.
            world.ledger.life += 1;
            let server = Server::with_data(key, Some(data.path()), TOPICS, &more);
            world.settle(&server);
            let queue = server.queue();
            drop(server);
            world.over(queue, true);
            if round % 100 == 99 {
                world.ledger.check();
            }
        }
    }
    world.ledger.life += 1;
    let server = Server::with_data(key, Some(data.path()), TOPICS, &more);
    world.settle(&server);
    let doubled = world.ledger.check();
    let ledger = &world.ledger;
    println!(
        "{} sent, {} acknowledged, {} refused, {} came, {doubled} of them twice",
        ledger.sent.len(),
        ledger.promised,
        ledger.refused,
        ledger.came.values().map(Vec::len).sum::<usize>(),
    );
    assert!(ledger.promised as u64 >= rounds * 3, "too little happened to prove anything");
}

/// This very test, with a store that says what is not true yet.
#[test]
#[cfg(debug_assertions)]
fn a_store_that_acknowledges_early_is_found_out() {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "what_was_acknowledged_outlives_a_server_that_is_killed"]);
    command.args(["--nocapture"]).env("CENTRALA_STORE_CANARY", "acknowledge-early");
    command.env("CENTRALA_KILL_ROUNDS", "200").env("CENTRALA_KILL_PATIENCE", "4");
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("lost: "), "{error}");
}
