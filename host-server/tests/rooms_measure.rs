//! What `rooms` costs. Run, in a release build, by
//! `cargo test --release -p centralad --test rooms_measure -- --ignored --nocapture --test-threads 1`.

mod common;

use std::io::Read;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use centralad::poll::{Event, Interest, Poll, Source};
use common::socket_io::SocketIo;
use common::{Server, until};
use serde_json::json;

const ROOMS: &str = "[rooms]\nlisten = \"127.0.0.1:0\"\nevents_per_second = 100000\n";
const MORE: &str = "[limits]\nclients = 4096\n[accounts]\nregistrations_per_minute = 60000\n";

/// Processor time of a process, of all its threads.
fn processor(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn memory(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

#[test]
#[ignore = "a measurement"]
fn one_message_to_500_sockets() {
    const SOCKETS: usize = 500;
    const MESSAGES: usize = 100;
    let server = Server::start("", &format!("{ROOMS}{MORE}"));
    let url = &server.rooms;
    let mut sender = SocketIo::log_in(url, "sender");
    sender.emit(&json!(["create-anons", "rower"]));
    assert_eq!(sender.event(), json!(["create-anons-response", 1, "OK"]));
    let poll = Poll::new().unwrap();
    let mut sockets: Vec<SocketIo> = (0..SOCKETS)
        .map(|n| {
            let mut socket = SocketIo::log_in(url, &format!("u{n}"));
            socket.emit(&json!(["join-chat", 1, 0]));
            loop {
                let event = socket.event();
                if event[0] == "join-chat-response" {
                    break socket;
                }
            }
        })
        .collect();
    sender.emit(&json!(["join-chat", 1, 0]));
    while sender.event()[0] != "join-chat-response" {}
    // All who came before have been told of all who came after.
    for (n, socket) in sockets.iter_mut().enumerate() {
        for _ in n + 1..SOCKETS + 1 {
            assert_eq!(socket.event()[0], "user-join");
        }
    }
    for (n, socket) in sockets.iter_mut().enumerate() {
        let stream = socket.web_socket.get_mut();
        stream.set_nonblocking(true).unwrap();
        poll.add(stream.as_fd(), Source::Connection(n as u32, 0), Interest::READ).unwrap();
    }
    let text = "x".repeat(100);
    let (mut times, mut spent) = (Vec::new(), Duration::ZERO);
    let (mut events, mut buffer): (Vec<Event>, _) = (Vec::new(), [0; 4096]);
    for _ in 0..MESSAGES {
        let before = processor(server.child.id());
        let begun = Instant::now();
        sender.emit(&json!(["chat-msg", 1, 0, text]));
        let mut got = 0;
        while got < SOCKETS {
            poll.wait(&mut events, Some(1000)).unwrap();
            let now = begun.elapsed();
            for event in &events {
                let Source::Connection(n, _) = event.source else { continue };
                let stream = sockets[n as usize].web_socket.get_mut();
                let Ok(len) = stream.read(&mut buffer) else { continue };
                assert_ne!(len, 0, "the server closed a socket");
                // Not a ping, which is as short as a frame can be; it is answered below.
                if len > 100 {
                    got += 1;
                    times.push(now);
                }
            }
        }
        while sender.event()[0] != "chat-response" {}
        spent += processor(server.child.id()) - before;
        // Of a heartbeat, whether one is due or not.
        for socket in &mut sockets {
            let _ = socket.web_socket.send(tungstenite::Message::text("3"));
        }
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "one chat-msg to {SOCKETS} sockets, {MESSAGES} times: p50 {:.2} ms, p99 {:.2} ms, {:.1} µs \
         of the server's processor time for each delivery, {:.1} MiB",
        at(0.5),
        at(0.99),
        spent.as_secs_f64() * 1e6 / (SOCKETS * MESSAGES) as f64,
        memory(server.child.id()),
    );
}

#[test]
#[ignore = "a measurement of half a minute"]
fn a_thousand_sockets_that_say_nothing() {
    const SOCKETS: usize = 1000;
    let server = Server::start("", &format!("{ROOMS}{MORE}"));
    let before = memory(server.child.id());
    let mut sockets: Vec<SocketIo> =
        (0..SOCKETS).map(|_| SocketIo::connect(&server.rooms)).collect();
    let after = memory(server.child.id());
    for socket in &sockets {
        socket.web_socket.get_ref().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    }
    let (spent, begun) = (processor(server.child.id()), Instant::now());
    while begun.elapsed() < Duration::from_secs(30) {
        for socket in &mut sockets {
            if socket.web_socket.read().is_ok() {
                socket.send("3");
            }
        }
    }
    until("nobody was closed", || (!server.logged("a socket is gone")).then_some(()));
    let spent =
        (processor(server.child.id()) - spent).as_secs_f64() / begun.elapsed().as_secs_f64();
    println!(
        "{SOCKETS} sockets that answer pings: {:.1} KiB each, {:.2} % of a processor",
        (after - before) * 1024.0 / SOCKETS as f64,
        spent * 100.0
    );
}
