//! What durability costs. Measurements: run them with
//! `cargo test --release -p centralad --test measure -- --ignored --nocapture --test-threads 1`.
//! They write where `TMPDIR` says, which should be a disk.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use centrala_core::dialect::direct::{Frame, Look, MESSAGE, RESPONSE};
use centrala_core::dialect::native::{Chat, Request};
use centrala_core::host::{Mail, Posted, Record, Store as _};
use centrala_store::Options;
use centralad::poll::{Event, Interest, Poll, Source};
use common::native::Native;
use common::{Server, key};

const MORE: &str = "[limits]\nmail = 1000000000\nmail_per_user = 1000000000\nhistory = 1000000000\n\
                    [accounts]\nregistrations_per_minute = 60000\n";
const SECONDS: u64 = 2;
/// So often the server and the store alone are measured in turns: other things run on the machine.
const TURNS: usize = 5;
/// Bytes of a text.
const TEXT: usize = 256;
const FIRST: u64 = 1 << 62;

fn options() -> Options {
    let limits = centrala_store::Limits { mailbox: u32::MAX, mail: u64::MAX };
    Options { limits, ..Options::default() }
}

/// Sends to somebody who is not there, and waits for each answer.
struct Sender {
    stream: TcpStream,
    frame: Vec<u8>,
    input: Vec<u8>,
}

fn field(name: &str) -> [u8; 8] {
    let mut field = [0; 8];
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
}

fn frame(kind: u16, from: &str, to: &str, text: &[u8]) -> Vec<u8> {
    let mut out = [0; 1100];
    let (src, dst) = (&field(from), &field(to));
    let len = Frame { kind, id: 1, src, dst, text }.emit(&mut out).unwrap();
    out[..len].to_vec()
}

impl Sender {
    fn new(server: &Server, n: usize) -> Sender {
        let (name, to) = (format!("s{n}"), format!("m{n}"));
        drop(server.connect(&to));
        let mut stream = TcpStream::connect(server.address.unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(&frame(RESPONSE, &name, "", b"")).unwrap();
        let frame = frame(MESSAGE, &name, &to, &[b'x'; TEXT]);
        let mut sender = Sender { stream, frame, input: Vec::new() };
        // Until both are known.
        loop {
            sender.send();
            if sender.answer() == "300" {
                break;
            }
        }
        sender
    }

    fn send(&mut self) {
        self.stream.write_all(&self.frame).unwrap();
    }

    fn answer(&mut self) -> String {
        let mut buffer = [0; 256];
        loop {
            if let Look::Frame(frame, len) = Frame::look(&self.input) {
                let code = String::from_utf8(frame.text.to_vec()).unwrap();
                self.input.drain(..len);
                return code;
            }
            let n = centrala_tests::read_some(&mut self.stream, &mut buffer).unwrap();
            assert_ne!(n, 0, "the server is gone");
            self.input.extend_from_slice(&buffer[..n]);
        }
    }
}

/// Acknowledged messages a second of so many senders, and how many shared a commit.
fn through_the_server(senders: usize) -> (f64, f64) {
    let data = tempfile::tempdir().unwrap();
    let mut server = Server::with_data(key(), Some(data.path()), "", MORE);
    let mut senders: Vec<Sender> = (0..senders).map(|n| Sender::new(&server, n)).collect();
    let poll = Poll::new().unwrap();
    for (n, sender) in senders.iter().enumerate() {
        let source = Source::Connection(n as u32, 0);
        poll.add(&sender.stream, source, Interest::READ).unwrap();
    }
    let before = commits(&server, 1);
    let begun = Instant::now();
    senders.iter_mut().for_each(Sender::send);
    let (mut acknowledged, mut events): (u64, Vec<Event>) = (0, Vec::new());
    while begun.elapsed() < Duration::from_secs(SECONDS) {
        poll.wait(&mut events, Some(100)).unwrap();
        for event in &events {
            let Source::Connection(n, _) = event.source else { continue };
            let sender = &mut senders[n as usize];
            assert_eq!(sender.answer(), "300");
            acknowledged += 1;
            sender.send();
        }
    }
    let elapsed = begun.elapsed().as_secs_f64();
    let group = acknowledged as f64 / (commits(&server, 2) - before) as f64;
    server.signal(nix::sys::signal::Signal::SIGKILL);
    server.wait();
    (acknowledged as f64 / elapsed, group)
}

/// How often the server has committed: it says so when it is asked, for the `nth` time.
fn commits(server: &Server, nth: usize) -> u64 {
    server.signal(nix::sys::signal::Signal::SIGUSR1);
    common::until("its counters", || {
        let log = server.log.lock().unwrap();
        let line = log.lines().filter(|line| line.contains("counters:")).nth(nth - 1)?;
        let count = line.split_whitespace().find_map(|word| word.strip_prefix("commits="))?;
        Some(count.parse().unwrap())
    })
}

fn write_message(store: &mut centrala_store::Store, sequence: u64, from: u32, to: u32) {
    let (group, priority, time, last) = (0, 3, 1_700_000_000_000, false);
    let text = &[b'x'; TEXT];
    let posted = Posted { sequence, from, to, group, priority, time, text, ..Posted::NONE };
    store.write(Record::Posted(posted)).unwrap();
    let mail =
        Mail { user: to, sequence, id: 1, from, group, priority, last, time, text, ..Mail::NONE };
    store.write(Record::Mail(mail)).unwrap();
}

/// Some numbers below are given to nobody.
const USER: u32 = 101;

/// A store with so many users.
fn store(dir: &Path, users: u32) -> centrala_store::Store {
    let (mut store, _) = centrala_store::Store::open(dir, &options()).unwrap();
    for number in USER..USER + users {
        let name = format!("u{number}");
        store.write(Record::User { number, name: name.as_bytes(), secret: None }).unwrap();
    }
    store
}

/// The same rows in groups of the same size, without a server.
fn by_the_store(group: u64, users: u32) -> f64 {
    let data = tempfile::tempdir().unwrap();
    let mut store = store(data.path(), users);
    let (begun, mut written) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(SECONDS) {
        for _ in 0..group {
            written += 1;
            write_message(
                &mut store,
                FIRST + written,
                USER,
                USER + (written % u64::from(users)) as u32,
            );
        }
        store.commit().unwrap();
    }
    written as f64 / begun.elapsed().as_secs_f64()
}

#[test]
#[ignore = "a measurement of a minute"]
fn acknowledged_messages_a_second_beside_the_stores_own_rate() {
    println!("senders | server, messages/s | to a commit | store alone, messages/s | share");
    for senders in [1, 16, 256] {
        let turns: Vec<[f64; 4]> = (0..TURNS)
            .map(|_| {
                let (server, group) = through_the_server(senders);
                let store = by_the_store(group.round().max(1.0) as u64, senders as u32);
                [server, group, store, server / store * 100.0]
            })
            .collect();
        let median = |of: usize| {
            let mut all: Vec<f64> = turns.iter().map(|turn| turn[of]).collect();
            all.sort_by(f64::total_cmp);
            all[TURNS / 2]
        };
        let [server, group, store, share] = [0, 1, 2, 3].map(median);
        println!("{senders:>7} | {server:>18.0} | {group:>11.1} | {store:>23.0} | {share:>4.0} %");
    }
}

/// A line of `/proc/PID/status`, in MiB.
fn memory(pid: u32, what: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
#[ignore = "a measurement of a minute"]
fn a_start_with_a_million_messages_that_wait() {
    const USERS: u32 = 1000;
    let data = tempfile::tempdir().unwrap();
    let mut store = store(data.path(), USERS);
    for sequence in 0..1_000_000 {
        write_message(
            &mut store,
            FIRST + sequence,
            USER,
            USER + (sequence % u64::from(USERS)) as u32,
        );
        if sequence % 10_000 == 9_999 {
            store.commit().unwrap();
        }
    }
    store.close().unwrap();
    let bytes = std::fs::metadata(data.path().join("store.db")).unwrap().len();
    println!("1,000,000 messages of {TEXT} bytes for {USERS} users: {} MiB", bytes >> 20);
    for cache in ["cold or not", "read before"] {
        let config = "[direct]\nlisten = \"127.0.0.1:0\"\n";
        let (mut command, _directory) = common::command(config);
        command.arg("--data").arg(data.path()).stderr(Stdio::null());
        let begun = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let took = begun.elapsed();
        assert!(line.starts_with("direct: "), "{line}");
        println!(
            "{cache}: ready after {} ms, {:.1} MiB of memory, {:.1} at most",
            took.as_millis(),
            memory(child.id(), "VmRSS:"),
            memory(child.id(), "VmHWM:")
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// What reading a conversation costs, wherever in it the page lies, of a server that does nothing
/// else: from the request of a client of `native` to the last line of the answer.
#[test]
#[ignore = "a measurement"]
fn reading_a_page_of_a_conversation_of_100_000_messages() {
    const MESSAGES: u64 = 100_000;
    const PAGES: usize = 201;
    let data = tempfile::tempdir().unwrap();
    let (mut store, _) = centrala_store::Store::open(data.path(), &options()).unwrap();
    for (number, name) in [(1, &b"anna"[..]), (2, b"bartek")] {
        store.write(Record::User { number, name, secret: None }).unwrap();
    }
    let text = [b'x'; TEXT];
    for n in 1..=MESSAGES {
        let posted = Posted { sequence: FIRST + n, from: 2, to: 1, text: &text, ..Posted::NONE };
        store.write(Record::Posted(posted)).unwrap();
        if n % 1000 == 0 {
            store.commit().unwrap();
        }
    }
    store.close().unwrap();
    let more = format!("{MORE}[native]\nlisten = \"127.0.0.1:0\"\n");
    let server = Server::with_data(key(), Some(data.path()), "", &more);
    let mut anna = Native::log_in(server.native.unwrap(), "anna");
    for (place, before) in
        [("newest", None), ("middle", Some(MESSAGES / 2)), ("oldest", Some(1001))]
    {
        for limit in [20, 100, 1000] {
            let mut times: Vec<Duration> = (0..PAGES)
                .map(|_| {
                    let begin = Instant::now();
                    anna.ask(&Request::History { chat: Chat::User(2), before, limit });
                    anna.done();
                    let time = begin.elapsed();
                    assert_eq!(anna.said.drain(..).count(), limit as usize);
                    time
                })
                .collect();
            times.sort();
            let (median, most) = (times[PAGES / 2], times[PAGES * 99 / 100]);
            println!("{limit} messages of the {place}: p50 {median:?}, p99 {most:?}");
        }
    }
}
