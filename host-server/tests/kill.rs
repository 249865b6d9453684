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

#[path = "kill/clients.rs"]
mod clients;
mod common;
#[path = "kill/ledger.rs"]
mod ledger;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use centrala_core::dialect::direct::MESSAGE;
use centrala_core::dialect::topics::request;
use centrala_sysv::Queue;
use clients::{Direct, Others, State, Topics};
use common::{LONG, Server, key};
use ledger::{Id, Ledger, MEMBERS, OTHERS, RECIPIENTS, SENDERS, SUBSCRIBERS};
use nix::sys::signal::Signal;

/// What the server is told: little memory, so that most mail is in the store alone.
const TOPICS: &str = "";
const MORE: &str = "[limits]\nmailbox = 6\nmessages = 64\ncopies = 64\n\
                    [accounts]\nregistrations_per_minute = 60000\n";

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
            self.others.log_in(|| self.random.below(2) == 0);
        }
        self.others.join();
    }

    /// Everybody comes, and takes all that is there.
    fn settle(&mut self, server: &Server) {
        let (address, queue) = (server.address.unwrap(), server.queue());
        let patience = Duration::from_secs(number("CENTRALA_KILL_PATIENCE", LONG.as_secs()));
        let deadline = Instant::now() + patience;
        while self.others.within != [true; 2] {
            self.others.log_in(|| self.random.below(2) == 0);
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
        world.others.log_in(|| world.random.below(2) == 0);
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
