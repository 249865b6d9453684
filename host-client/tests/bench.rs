//! `centrala bench` against the server, and against exchanges that lose, double and mix up what
//! they are given.

use centrala_core::dialect::native::{Event, How, Message, Party, Request, To, VERSION, Who, look};
use centralad::config::Config;
use centralad::server::{Server, Stop};
use centralad::store::Memory as MemoryStore;
use centralad::tables::Memory;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;

/// The server, in a thread of its own, ended when this is dropped.
struct Running {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    url: String,
}

impl Running {
    fn start(more: &str) -> Running {
        let text = format!(
            "data = \":memory:\"\n{more}\n[native]\nlisten = \"127.0.0.1:0\"\n[direct]\nlisten = \"127.0.0.1:0\"\n"
        );
        let (ready, started) = channel();
        let thread = std::thread::spawn(move || {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("centrala.toml");
            std::fs::write(&file, text).unwrap();
            let config = Config::load(&file).unwrap();
            let mut memory = Memory::new(&config);
            let store = Box::new(MemoryStore::default());
            let server = Server::start(&config, memory.lend(), store, &Default::default()).unwrap();
            ready.send((server.stopper(), server.ready().to_vec())).unwrap();
            server.run(None).unwrap();
        });
        let (stop, lines) = started.recv().unwrap();
        let address = lines.iter().find_map(|line| line.strip_prefix("native: ")).unwrap();
        Running { stop, thread: Some(thread), url: format!("native://load@{address}") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn bench(url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centrala"));
    command.args(["--url", url, "bench"]).args(arguments).stdin(Stdio::null());
    command.env_remove("CENTRALA_PASSWORD").output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a benchmark says that went well.
fn measured(url: &str, arguments: &[&str]) -> Value {
    let output = bench(url, &[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    assert_eq!(said(&output), "", "nothing is shown but on a terminal");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A process to ask about: the server is in this one.
fn pid() -> String {
    std::process::id().to_string()
}

#[test]
fn fanout_verifies_what_each_subscriber_gets_of_each_publisher() {
    let server = Running::start("[accounts]\nregistrations_per_minute = 60000");
    let pid = pid();
    let arguments =
        ["fanout", "--publishers", "2", "--subscribers", "5", "--messages", "300", "--pid", &pid];
    let found = measured(&server.url, &arguments);
    assert_eq!(found["bench"], "fanout");
    assert_eq!((&found["messages"], &found["deliveries"]), (&600.into(), &3000.into()));
    assert!(found["server_cpu_seconds_per_million"].as_f64().is_some(), "{found}");
    // The same users again, in other parts, and texts of other sizes.
    for (publishers, subscribers, size) in [("1", "3", "16"), ("3", "4", "1024")] {
        let arguments = ["fanout", "--publishers", publishers, "--subscribers", subscribers];
        let more = ["--size", size, "--messages", "40", "--window", "3"];
        let found = measured(&server.url, &[&arguments[..], &more].concat());
        let (p, s) = (publishers.parse::<u64>().unwrap(), subscribers.parse::<u64>().unwrap());
        assert_eq!(found["deliveries"], p * s * 40, "{found}");
    }
}

#[test]
fn pairs_verify_what_each_recipient_gets() {
    let server = Running::start("");
    let found = measured(&server.url, &["pairs", "--pairs", "3", "--messages", "200"]);
    assert_eq!((&found["pairs"], &found["deliveries"]), (&3.into(), &600.into()));
    assert_eq!(found["window"], 512);
}

#[test]
fn a_rate_and_a_time_bound_what_is_sent() {
    let server = Running::start("");
    let arguments = ["fanout", "--subscribers", "2", "--rate", "50", "--seconds", "1"];
    let found = measured(&server.url, &arguments);
    let messages = found["messages"].as_u64().unwrap();
    assert!((1..=51).contains(&messages), "{found}");
    assert_eq!(found["deliveries"], 2 * messages);
}

#[test]
fn latency_is_told_beside_a_relays() {
    let server = Running::start("");
    let found = measured(&server.url, &["latency", "--relay", "--messages", "50"]);
    assert_eq!(found["messages"], 50);
    for of in ["p50_us", "p99_us", "p99_9_us", "max_us"] {
        assert!(found[of].as_f64().unwrap() > 0.0, "{of}: {found}");
        assert!(found[format!("relay_{of}")].as_f64().unwrap() > 0.0, "{of}: {found}");
    }
    assert!(found["p50_us"].as_f64() <= found["max_us"].as_f64());
}

#[test]
fn idle_connections_are_held_and_answer() {
    let server = Running::start("");
    let pid = pid();
    let arguments = ["idle", "--connections", "5", "--seconds", "1", "--pid", &pid];
    let found = measured(&server.url, &arguments);
    assert_eq!(found["connections"], 5);
    assert!(found["kib_per_connection"].as_f64().is_some(), "{found}");
}

#[test]
fn people_get_a_table() {
    let server = Running::start("");
    let output = bench(&server.url, &["pairs", "--pairs", "1", "--messages", "10"]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(table.starts_with("pairs over native\n"), "{table}");
    assert!(table.lines().any(|line| line.contains("deliveries") && line.ends_with(" 10")));
}

#[test]
fn members_left_by_a_run_that_was_killed_leave() {
    let server = Running::start("");
    for user in ["load-0", "load-4"] {
        let url = server.url.replace("load@", &format!("{user}@"));
        let join: &[&str] =
            if user == "load-0" { &["create", "load-fanout"] } else { &["join", "load-fanout"] };
        let mut command = Command::new(env!("CARGO_BIN_EXE_centrala"));
        assert!(command.args(["--url", &url]).args(join).output().unwrap().status.success());
    }
    let arguments = ["fanout", "--subscribers", "2", "--messages", "5"];
    assert_eq!(measured(&server.url, &arguments)["deliveries"], 10);
    // The same users as recipients of direct messages: no mail of the group is with them.
    assert_eq!(measured(&server.url, &["pairs", "--messages", "5"])["deliveries"], 20);
}

#[test]
fn too_few_registrations_say_what_to_configure() {
    let server = Running::start("[accounts]\nregistrations_per_minute = 3");
    let output = bench(&server.url, &["fanout", "--subscribers", "8", "--messages", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("at most 3 new users a minute"), "{said}");
    assert!(said.contains("[accounts]") && said.contains("registrations_per_minute = 60000"));
}

#[test]
fn what_cannot_be_measured_is_said_with_status_2() {
    for (url, arguments, says) in [
        ("topics://load@12345", &["fanout"][..], "topics has no 'bench'"),
        ("direct://load@127.0.0.1:1", &["latency"], "direct has no 'bench'"),
        ("native://load@127.0.0.1:1", &["pairs", "--pairs", "0"], "1..=50000"),
        ("native://load@127.0.0.1:1", &["fanout", "--size", "3"], "16..="),
        ("native://127.0.0.1:1", &["fanout"], "names no user"),
        ("native://a-name-that-is-too-long-for-it@127.0.0.1:1", &["idle"], "no name of a user"),
    ] {
        let output = bench(url, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(says), "{arguments:?}: {}", said(&output));
    }
    let server = Running::start("");
    let output = bench(&server.url, &["pairs", "--pid", "4194305"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("--pid 4194305"), "{}", said(&output));
}

/// What an exchange makes of the nth message that it is given: the texts for its recipient, of which
/// an empty one is its own end.
type Fault = fn(u64, Vec<u8>, &mut Vec<Vec<u8>>);

/// An exchange for one pair: the first connection's messages go to the second.
fn faulty(fault: Fault) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("native://load@{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut sender, _) = listener.accept().unwrap();
        let (mut recipient, _) = listener.accept().unwrap();
        for (stream, number) in [(&mut sender, 1), (&mut recipient, 2)] {
            let frame = read(stream).unwrap();
            let (id, request) = Request::decode(&frame).unwrap();
            assert!(matches!(request, Request::Hello { .. }));
            let user = Party { number, name: b"load" };
            write(stream, &Event::Welcome { id, version: VERSION, user, message_length: 1024 });
        }
        let (mut count, mut events) = (0, Vec::new());
        while let Some(frame) = read(&mut sender) {
            let Ok((_, Request::Send { to: To::User(Who::Number(2)), text, .. })) =
                Request::decode(&frame)
            else {
                break;
            };
            fault(count, text.to_vec(), &mut events);
            count += 1;
            for text in events.drain(..) {
                if text.is_empty() {
                    return;
                }
                write(&mut recipient, &message(&text));
            }
        }
        // Pings: what lies behind is looked for.
        write(&mut sender, &Event::Done { id: 2, how: How::Done, number: 0 });
        write(&mut recipient, &Event::Done { id: 2, how: How::Done, number: 0 });
        while read(&mut recipient).is_some() {}
    });
    (url, thread)
}

fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut frame = vec![0; u16::from_le_bytes(len).into()];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}

/// A client that has found a fault is gone before it is told more.
fn write(stream: &mut TcpStream, event: &Event<'_>) {
    let mut frame = [0; 4096];
    let len = event.encode(&mut frame).unwrap();
    assert!(look(&frame[..len]).is_some());
    let _ = stream.write_all(&frame[..len]);
}

fn message(text: &[u8]) -> Event<'_> {
    Event::Message(Message {
        number: 1,
        id: 1,
        mark: 0,
        time: 0,
        priority: 3,
        offline: false,
        from: Party { number: 1, name: b"load" },
        group: None,
        private: None,
        image: false,
        text,
    })
}

#[test]
fn a_message_that_is_lost_doubled_or_changed_is_found_out() {
    let faults: [(Fault, &str); 5] = [
        (|_, text, out| out.push(text), ""),
        (
            |n, text, out| {
                if n != 3 {
                    out.push(text);
                }
            },
            "message 4 of sender 0 came too early: the next one is 3",
        ),
        (
            |n, text, out| {
                if n == 3 {
                    out.push(text.clone());
                }
                out.push(text);
            },
            "message 3 of sender 0 came a second time: the next one is 4",
        ),
        (
            |n, mut text, out| {
                if n == 3 {
                    text[100] ^= 1;
                }
                out.push(text);
            },
            "a message that nobody sent",
        ),
        // Behind the last one, where only a look behind it finds it.
        (
            |n, text, out| {
                if n == 19 {
                    out.push(text.clone());
                }
                out.push(text);
            },
            "message 19 of sender 0 came a second time: the next one is 20",
        ),
    ];
    for (fault, says) in faults {
        let (url, exchange) = faulty(fault);
        let output = bench(&url, &["pairs", "--pairs", "1", "--messages", "20"]);
        exchange.join().unwrap();
        let (code, said) = (output.status.code(), said(&output));
        match says {
            "" => assert_eq!((code, said.as_str()), (Some(0), "")),
            says => {
                assert_eq!(code, Some(1), "{says}: {said}");
                assert!(said.contains(says), "{says}: {said}");
            }
        }
    }
}

#[test]
fn an_exchange_that_goes_away_is_an_error_with_status_1() {
    let (url, exchange) = faulty(|n, text, out| {
        out.push(if n == 5 { Vec::new() } else { text });
    });
    let output = bench(&url, &["pairs", "--pairs", "1", "--messages", "20"]);
    exchange.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("the exchange at 127.0.0.1:"), "{}", said(&output));
    let output = bench(&url, &["idle"]);
    assert_eq!(output.status.code(), Some(1), "nobody listens: {}", said(&output));
}
