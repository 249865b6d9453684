//! `rooms`, with pages and clients that mean no good.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use centrala_core::dialect::direct::MESSAGE;
use common::socket_io::{SocketIo, authority, http};
use common::{Server, until};
use nix::sys::signal::Signal;
use serde_json::json;
use tungstenite::Message;

fn start(rooms: &str, more: &str) -> Server {
    Server::start("", &format!("[rooms]\nlisten = \"127.0.0.1:0\"\n{rooms}\n{more}"))
}

const POLL: &str = "/socket.io/?EIO=4&transport=polling";
const WEB_SOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const UPGRADE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="),
];

#[test]
fn pages_of_other_origins_get_403_whatever_they_ask_for() {
    let server = start("origins = [\"https://chat.example.org\"]", "");
    let url = &server.rooms;
    let own = format!("http://{}", authority(url));
    for (origin, foreign, allowed) in [
        (own.as_str(), false, true),
        ("https://chat.example.org", true, true),
        ("http://chat.example.org", true, false),
        ("http://evil.example", true, false),
        ("null", true, false),
    ] {
        for (method, path, upgrade) in [
            ("GET", "/", false),
            ("GET", "/nothing", false),
            ("GET", POLL, false),
            ("POST", "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", false),
            ("OPTIONS", POLL, false),
            ("GET", WEB_SOCKET, true),
        ] {
            let mut headers = vec![("Origin", origin)];
            if upgrade {
                headers.extend(UPGRADE);
            }
            if upgrade && allowed {
                assert_eq!(upgraded(url, &headers), "HTTP/1.1 101 Switching Protocols");
                continue;
            }
            let answer = http(url, method, path, &headers, "");
            assert_eq!(answer.status == 403, !allowed, "{origin} {method} {path}: {}", answer.head);
            let cors = format!("access-control-allow-origin: {origin}");
            assert_eq!(answer.head.contains(&cors), allowed && foreign, "{}", answer.head);
        }
    }
    // A name that leads to this machine is not the server's for that.
    assert_eq!(http(url, "GET", "/", &[("Host", "evil.example")], "").status, 403);
    assert_eq!(http(url, "GET", POLL, &[("Host", "evil.example:4880")], "").status, 403);
    let preflight = http(url, "OPTIONS", POLL, &[("Origin", "https://chat.example.org")], "");
    assert_eq!(preflight.status, 204);
    assert!(preflight.head.contains("access-control-allow-methods: get, post"));
}

/// The first line of the answer to an upgrade.
fn upgraded(url: &str, headers: &[(&str, &str)]) -> String {
    let mut stream = TcpStream::connect(authority(url)).unwrap();
    stream.set_read_timeout(Some(common::LONG)).unwrap();
    let mut request = format!("GET {WEB_SOCKET} HTTP/1.1\r\nHost: {}\r\n", authority(url));
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    stream.write_all((request + "\r\n").as_bytes()).unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

#[test]
fn the_page_is_served_with_what_keeps_it_to_itself() {
    let server = start("", "");
    let page = http(&server.rooms, "GET", "/", &[], "");
    assert_eq!(page.status, 200);
    for header in [
        "content-type: text/html",
        "content-security-policy: default-src 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-cache",
    ] {
        assert!(page.head.contains(header), "{header} in {}", page.head);
    }
    let tag = page.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = http(&server.rooms, "GET", "/", &[("If-None-Match", tag)], "");
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let head = http(&server.rooms, "HEAD", "/", &[], "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(http(&server.rooms, "GET", "/../Cargo.toml", &[], "").status, 404);
    assert_eq!(http(&server.rooms, "POST", "/", &[], "x").status, 405);
    assert_eq!(http(&server.rooms, "GET", "/socket.io-more", &[], "").status, 404);
    assert_eq!(http(&server.rooms, "GET", "/socket.io/", &[], "").status, 400);
}

#[test]
fn what_is_no_socket_io_ends_that_connection_and_no_other() {
    let server = start("", "");
    let mut anna = SocketIo::log_in(&server.rooms, "anna");
    let nested = format!("42[\"a\",{}{}]", "[".repeat(300_000), "]".repeat(300_000));
    for packets in [
        &["42[\"get-anons\"]"][..],
        &["40", "42[]"],
        &["40", "42{}"],
        &["40", "42[1]"],
        &["40", "42[\"get-anons\""],
        &["40", "49"],
        &["40", "452-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]"],
        &["40", "451-[\"a\",{\"_placeholder\":true,\"num\":0}]", "42[\"get-anons\"]"],
        &["40", "4€"],
        &["40", "9"],
        &["40", ""],
        &["€€"],
    ] {
        println!("{packets:?}");
        let mut client = SocketIo::open(&server.rooms);
        for packet in packets {
            // It may be closed already.
            let _ = client.web_socket.send(Message::text(*packet));
        }
        while let Some(text) = client.text() {
            assert!(text.starts_with("40{") || text == "1", "{packets:?}: {text}");
        }
    }
    for (kind, len) in [("text", 1_600_000), ("binary", 1_600_000), ("binary", 10)] {
        let mut client = SocketIo::connect(&server.rooms);
        let message = match kind {
            "text" => Message::text("4".repeat(len)),
            _ => Message::binary(vec![4; len]),
        };
        let _ = client.web_socket.send(message);
        assert!(client.text().is_none_or(|text| text == "1"), "{kind} {len}");
    }
    let mut client = SocketIo::open(&server.rooms);
    client.send("40/admin,");
    assert_eq!(client.text().unwrap(), "44/admin,{\"message\":\"Invalid namespace\"}");
    // Odd, but to be understood: answered, or left out.
    let mut client = SocketIo::connect(&server.rooms);
    client.send("40");
    client.send(&nested);
    client.send("431[]");
    client.emit(&json!(["nothing", {}, [], null, 1e300]));
    client.emit(&json!(["get-anons"]));
    assert_eq!(client.event(), json!(["auth-response", -1, "Unauthorized"]));
    anna.emit(&json!(["get-anons"]));
    assert_eq!(anna.event(), json!(["anons", 0, []]));
}

#[test]
fn who_sends_a_burst_is_answered_slower_and_who_sends_a_flood_is_closed() {
    let server = start("events_per_second = 200\nburst = 5", "");
    let mut anna = SocketIo::log_in(&server.rooms, "anna");
    let mut bartek = SocketIo::log_in(&server.rooms, "bartek");
    for n in 0..200 {
        bartek.emit(&json!(["join-chat", n + 1, 0]));
    }
    for n in 0..200 {
        let refused = json!(["join-chat-response", n + 1, -1, "No such advert"]);
        assert_eq!(bartek.event(), refused);
    }
    // A thousand more than may wait; some have no time to leave before it is closed.
    for _ in 0..2000 {
        if anna.web_socket.send(Message::text("42[\"get-anons\"]")).is_err() {
            break;
        }
    }
    let mut answers = 0;
    let told = loop {
        match anna.text() {
            Some(text) if text == "41" => break true,
            Some(text) if text.starts_with("42[\"anons\"") => answers += 1,
            Some(text) => panic!("{text}"),
            None => break false,
        }
    };
    assert!(told, "its client knows that it was the server");
    assert!(answers < 2000);
    until("it is logged", || server.logged("sent more than it may").then_some(()));
    bartek.emit(&json!(["get-anons"]));
    assert_eq!(bartek.event(), json!(["anons", 0, []]));
    drop(SocketIo::log_in(&server.rooms, "anna"));
}

#[test]
fn a_client_that_does_not_read_is_closed_and_nobody_else_waits() {
    let server = start("buffer = 65536", "[limits]\nclients = 5\n");
    let anna = SocketIo::log_in(&server.rooms, "anna");
    let mut celina = SocketIo::log_in(&server.rooms, "celina");
    let mut bartek = server.connect("bartek");
    let text = "x".repeat(1000);
    let mut id = 0;
    until("anna is closed", || {
        for _ in 0..100 {
            bartek.send(MESSAGE, id, "anna", &text);
            id += 1;
        }
        for _ in 0..100 {
            bartek.next();
        }
        server.logged("its client does not read").then_some(())
    });
    bartek.send(MESSAGE, id, "celina", "and you?");
    assert_eq!(celina.event()[6], "and you?");
    // Its transport ends too, though its client still does not read: there is room for others.
    let _idle: Vec<SocketIo> = (0..3).map(|_| SocketIo::open(&server.rooms)).collect();
    let deadline = Instant::now() + Duration::from_secs(120);
    while http(&server.rooms, "GET", POLL, &[], "").status != 200 {
        assert!(Instant::now() < deadline, "its transport stays");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(anna);
}

#[test]
fn sessions_that_never_go_on_are_bounded_and_make_room_again() {
    let server = start("", "[limits]\nclients = 8\n");
    let url = &server.rooms;
    let open = || http(url, "GET", POLL, &[], "").status;
    let opened: Vec<u16> = (0..8).map(|_| open()).collect();
    assert_eq!(opened, [200; 8]);
    assert_eq!(open(), 503);
    assert_eq!(http(url, "GET", WEB_SOCKET, &UPGRADE, "").status, 503);
    assert_eq!(http(url, "GET", "/", &[], "").status, 200);
    // None of them answers a ping.
    let deadline = Instant::now() + Duration::from_secs(120);
    while open() != 200 {
        assert!(Instant::now() < deadline, "no room again");
        std::thread::sleep(Duration::from_millis(100));
    }
    // A polling session twice at once, one that is made up, and half a request.
    assert_eq!(http(url, "GET", &format!("{POLL}&sid=AAAAAAAAAAAAAAAA"), &[], "").status, 400);
    let mut half = TcpStream::connect(authority(url)).unwrap();
    half.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
    half.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let mut rest = Vec::new();
    // An answer or not, it ends.
    let _ = half.read_to_end(&mut rest);
}

#[test]
fn the_server_ends_with_sockets_that_read_and_with_some_that_do_not() {
    let mut server = start("", "");
    let mut reading = SocketIo::log_in(&server.rooms, "anna");
    let idle: Vec<SocketIo> = (0..20).map(|_| SocketIo::connect(&server.rooms)).collect();
    let stuck = SocketIo::log_in(&server.rooms, "celina");
    let half_open = http(&server.rooms, "GET", POLL, &[], "");
    assert_eq!(half_open.status, 200);
    let mut bartek = server.connect("bartek");
    let text = "x".repeat(1000);
    for id in 0..2000 {
        bartek.send(MESSAGE, id, "celina", &text);
        bartek.next();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // To its end, in order.
            while reading.text().is_some() {}
            over.store(true, Ordering::Release);
        });
        server.signal(Signal::SIGTERM);
        assert!(server.wait().success());
    });
    assert!(over.load(Ordering::Acquire));
    drop((idle, stuck));
}
