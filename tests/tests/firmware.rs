//! The images for microcontrollers, run by QEMU:
//! `cargo test -p centrala-tests --features firmware --test firmware`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use centrala_core::dialect::direct;
use centrala_tests::direct_table;
use centrala_tests::image::{Image, LONG, program};

/// The exchange on its four UARTs.
fn exchange() -> Image {
    Image::with_uarts("exchange", 4)
}

/// The exchange over Ethernet: `direct`, then `native`.
fn exchange_net() -> Image {
    Image::with_ports("exchange-net", &[4810, 4811])
}

#[test]
fn a_message_is_forwarded_as_it_is_and_so_is_its_answer() {
    direct_table::forwarded_as_it_is(&mut exchange());
    direct_table::forwarded_as_it_is(&mut exchange_net());
}

#[test]
fn without_an_answer_it_is_offline_mail_after_3_s() {
    direct_table::not_answered(&mut exchange());
    direct_table::not_answered(&mut exchange_net());
}

#[test]
fn what_cannot_be_done_has_its_code() {
    direct_table::refused(&mut exchange());
    direct_table::refused(&mut exchange_net());
}

#[test]
fn a_name_in_use_is_409() {
    direct_table::in_use(&mut exchange());
    direct_table::in_use(&mut exchange_net());
}

#[test]
fn what_is_no_frame_is_400() {
    direct_table::malformed(&mut exchange());
    direct_table::malformed(&mut exchange_net());
}

#[test]
fn another_name_than_the_bound_one_is_401() {
    direct_table::another_name(&mut exchange());
    direct_table::another_name(&mut exchange_net());
}

/// `centrala` as this user, at this place.
fn centrala(user: &str, place: SocketAddr, command: &[&str]) -> Command {
    client(&format!("direct://{user}@{place}"), command)
}

fn client(url: &str, command: &[&str]) -> Command {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    let mut client = Command::new(BINARY.get_or_init(|| program("centrala")));
    client.arg("--url").arg(url).args(command);
    client.env_remove("CENTRALA_URL").env_remove("CENTRALA_PASSWORD").stdin(Stdio::null());
    client
}

/// What `centrala send` says, and whether it went well.
fn send(user: &str, place: SocketAddr, to: &str, text: &str) -> (String, bool) {
    let output = centrala(user, place, &["send", to, text]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

/// `centrala listen`, ended when this is dropped.
struct Listener(Child, Receiver<String>);

impl Listener {
    fn start(user: &str, place: SocketAddr) -> Listener {
        Listener::of(centrala(user, place, &["listen"]))
    }

    fn of(mut client: Command) -> Listener {
        let mut child = client.stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = channel();
        std::thread::spawn(move || {
            out.lines().map_while(Result::ok).try_for_each(|line| to.send(line))
        });
        Listener(child, lines)
    }

    fn line(&self) -> String {
        self.1.recv_timeout(LONG).expect("a line")
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a line of the image is a user's.
fn bound(image: &Image, line: usize, user: u32) {
    let wanted = format!("line {line}: user {user}");
    image.logged(&wanted, |said| (said == wanted).then_some(()));
}

#[test]
fn clients_chat_through_the_microcontroller_with_receipts_offline_mail_and_a_group() {
    let image = exchange();
    let [first, second, third, _] = image.places[..] else { panic!("four lines") };
    let bartek = Listener::start("bartek", second);
    bound(&image, 1, 1);
    let said = |text: &str| (format!("{text}\n"), true);
    assert_eq!(send("anna", first, "@bartek", "hej"), said("@bartek: delivered"));
    assert_eq!(bartek.line(), "anna: hej");
    // Another on the same line, without a word of who left it.
    assert_eq!(send("celina", first, "@bartek", "cześć"), said("@bartek: delivered"));
    assert_eq!(bartek.line(), "celina: cześć");
    drop(bartek);
    let stored = said("@bartek: not answering, stored for later");
    assert_eq!(send("anna", third, "@bartek", "read it later"), stored);
    let bartek = Listener::start("bartek", second);
    assert_eq!(bartek.line(), "(stored) anna: read it later");
    let celina = Listener::start("celina", first);
    image.logged("celina", |said| (said == "line 0: user 3").then_some(()));
    assert_eq!(send("anna", third, "#all", "to all of you"), said("#all: accepted"));
    assert_eq!(bartek.line(), "#all anna: to all of you");
    assert_eq!(celina.line(), "#all anna: to all of you");
}

#[test]
fn limits_have_their_answers() {
    let image = exchange();
    let [first, second, ..] = image.places[..] else { panic!("four lines") };
    let _listener = Listener::start("u1", second);
    bound(&image, 1, 1);
    for user in 2..=8 {
        let (said, _) = send(&format!("u{user}"), first, "@nobody", "hej");
        assert!(said.contains("404"), "user {user}: {said}");
    }
    let (said, good) = send("u9", first, "@u1", "hej");
    assert!(!good && said.contains("507"), "the ninth user: {said}");
    let (said, good) = send("u2", first, "@u1", &"x".repeat(129));
    assert!(!good && said.contains("507"), "a text that is too long: {said}");
    let (said, good) = send("u2", first, "@u1", &"x".repeat(128));
    assert!(good, "the longest text: {said}");
}

#[test]
fn the_image_sleeps_when_there_is_nothing_to_do() {
    let image = exchange();
    image.stack();
    let before = image.cpu();
    // A time to measure over, and not one to wait for something.
    std::thread::sleep(Duration::from_secs(2));
    let taken = image.cpu() - before;
    assert!(taken < Duration::from_millis(1_000), "{taken:?} of 2 s");
}

/// What a client says in the end, and whether it went well.
fn says(url: &str, command: &[&str]) -> (String, bool) {
    let output = client(url, command).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.success())
}

#[test]
fn clients_chat_over_tcp_through_the_microcontroller_in_both_dialects() {
    let image = exchange_net();
    let [direct, native] = image.places[..] else { panic!("two ports") };
    let (anna, bartek) = (format!("direct://anna@{direct}"), format!("native://bartek@{native}"));
    assert_eq!(says(&bartek, &["create", "news"]), ("#news: created\n".to_owned(), true));
    assert_eq!(says(&bartek, &["join", "news"]), ("#news: joined\n".to_owned(), true));
    let (said, good) = says(&anna, &["send", "@bartek", "read it later"]);
    assert!(good && said.contains("stored for later"), "{said}");
    let listener = Listener::of(client(&bartek, &["listen"]));
    // The time is that since the image began: it knows no other.
    let next = |from: &str, text: &str| {
        let line = listener.line();
        assert!(line.starts_with(from) && line.ends_with(text), "{line}");
    };
    next("(stored) anna", ": read it later");
    assert_eq!(says(&anna, &["send", "@bartek", "hej"]), ("@bartek: delivered\n".to_owned(), true));
    next("anna", ": hej");
    let accepted = ("#news: accepted\n".to_owned(), true);
    assert_eq!(says(&anna, &["send", "#news", "to whoever reads"]), accepted);
    next("#news anna", ": to whoever reads");
}

/// A connection that speaks `direct`.
struct Raw(TcpStream, [u8; direct::NAME_FIELD]);

impl Raw {
    fn hello(place: SocketAddr, name: &str) -> Raw {
        let stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut raw = Raw(stream, direct::name_field(name.as_bytes(), 0, false));
        raw.send(direct::RESPONSE, 0, "", b"");
        raw
    }

    fn send(&mut self, kind: u16, id: u32, to: &str, text: &[u8]) {
        let dst = direct::name_field(to.as_bytes(), 0, false);
        let mut bytes = [0; direct::FRAME_MAX];
        let frame = direct::Frame { kind, id, src: &self.1, dst: &dst, text };
        let len = frame.emit(&mut bytes).unwrap();
        self.0.write_all(&bytes[..len]).unwrap();
    }

    /// Type, id and text of the next frame.
    fn next(&mut self) -> (u16, u32, String) {
        let mut bytes = [0; direct::FRAME_MAX];
        self.0.read_exact(&mut bytes[..2]).unwrap();
        let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        self.0.read_exact(&mut bytes[2..len]).unwrap();
        let direct::Look::Frame(frame, _) = direct::Frame::look(&bytes[..len]) else {
            panic!("no frame: {bytes:?}")
        };
        (frame.kind, frame.id, String::from_utf8_lossy(frame.text).into_owned())
    }

    /// By the answer to this its log-in is done.
    fn settle(&mut self) {
        self.send(direct::MESSAGE, 9_999, "nobody", b"");
        assert_eq!(self.next(), (direct::RESPONSE, 9_999, "404".to_owned()));
    }
}

#[test]
fn ten_connections_at_once_and_each_that_leaves_makes_room() {
    let image = exchange_net();
    let [place, native] = image.places[..] else { panic!("two ports") };
    let users = ["a", "b", "c", "d", "e"];
    let mut five: Vec<Raw> = users.iter().map(|name| Raw::hello(place, name)).collect();
    five.iter_mut().for_each(Raw::settle);
    let others = ["f", "g", "h", "i", "j"];
    let listen =
        |name: &&str| Listener::of(client(&format!("native://{name}@{native}"), &["listen"]));
    let listeners: Vec<Listener> = others.iter().map(listen).collect();
    // Everybody has everybody's messages.
    for (number, other) in others.iter().enumerate() {
        five[0].send(direct::MESSAGE, number as u32, other, b"hej");
        // It may not have logged in yet.
        while five[0].next().2 == "404" {
            five[0].send(direct::MESSAGE, number as u32, other, b"hej");
        }
    }
    for listener in &listeners {
        assert!(listener.line().ends_with(": hej"));
    }
    for from in 0..5 {
        let to = (from + 1) % 5;
        five[from].send(direct::MESSAGE, 7, users[to], b"and you");
        assert_eq!(five[to].next(), (direct::MESSAGE, 7, "and you".to_owned()));
        five[to].send(direct::RESPONSE, 7, users[from], b"200");
        assert_eq!(five[from].next(), (direct::RESPONSE, 7, "200".to_owned()));
    }
    drop(five.pop());
    // Until its socket listens again whoever comes is refused, and may hear so while it writes.
    let code = loop {
        let mut again = TcpStream::connect(place).unwrap();
        again.set_read_timeout(Some(LONG)).unwrap();
        let (src, dst) = (direct::name_field(b"e", 0, false), [0; direct::NAME_FIELD]);
        let mut bytes = [0; direct::HEADER];
        // To nobody at all.
        let frame = direct::Frame { kind: direct::MESSAGE, id: 1, src: &src, dst: &dst, text: b"" };
        frame.emit(&mut bytes).unwrap();
        let mut answer = [0; direct::HEADER + 3];
        if again.write_all(&bytes).and_then(|()| again.read_exact(&mut answer)).is_ok() {
            break answer[direct::HEADER..].to_vec();
        }
    };
    assert!(code == b"404" || code == b"409", "{code:?}");
}

#[test]
fn a_slow_peer_and_one_that_vanishes_hold_up_nobody() {
    let image = exchange_net();
    let place = image.places[0];
    let [mut anna, mut slow, mut celina] =
        ["anna", "slow", "celina"].map(|name| Raw::hello(place, name));
    for raw in [&mut anna, &mut slow, &mut celina] {
        raw.settle();
    }
    // More than its socket takes; nobody reads it, and nobody answers.
    let text = [b'x'; 100];
    for id in 0..20 {
        anna.send(direct::MESSAGE, id, "slow", &text);
    }
    anna.send(direct::MESSAGE, 20, "celina", b"and you?");
    assert_eq!(celina.next().2, "and you?");
    celina.send(direct::RESPONSE, 20, "anna", b"200");
    assert_eq!(anna.next(), (direct::RESPONSE, 20, "200".to_owned()));
    for id in 0..20 {
        assert_eq!(anna.next(), (direct::RESPONSE, id, "300".to_owned()));
    }
    let mut slow = Raw::hello(place, "slow");
    for id in 0..20 {
        assert_eq!(slow.next(), (direct::OFFLINE, id, "x".repeat(100)));
    }
    // What a peer that is gone had not answered is mail at once.
    anna.send(direct::MESSAGE, 30, "celina", b"still there?");
    assert_eq!(celina.next().1, 30);
    drop(celina);
    assert_eq!(anna.next(), (direct::RESPONSE, 30, "300".to_owned()));
}

/// `centralad`, killed when this is dropped.
struct Server(Child);

impl Server {
    /// With its data in a directory, and `native` and `direct` at these places; says where they are.
    fn start(data: &Path, places: [SocketAddr; 2]) -> (Server, [SocketAddr; 2]) {
        let (config, store) = (data.join("centrala.toml"), data.join("store"));
        let [native, direct] = places;
        let text = format!(
            "data = {store:?}\n[native]\nlisten = \"{native}\"\n[direct]\nlisten = \"{direct}\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let binary = program("centralad");
        let deadline = Instant::now() + LONG;
        loop {
            let mut server = Command::new(&binary);
            server.arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::piped());
            let mut server = Server(server.spawn().unwrap());
            let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
            let mut ready = || lines.next()?.ok();
            if let (Some(first), Some(second)) = (ready(), ready()) {
                let at = |name: &str| {
                    let of = [&first, &second].into_iter().find_map(|line| line.strip_prefix(name));
                    of.expect("a line for each dialect").parse().unwrap()
                };
                return (server, [at("native: "), at("direct: ")]);
            }
            // A port that was left may be another process's for a while.
            assert_eq!(server.0.wait().unwrap().code(), Some(2), "not started");
            assert!(Instant::now() < deadline, "{places:?} are in use");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Stops it, or lets it go on.
    fn signal(&self, signal: &str) {
        let mut kill = Command::new("kill");
        assert!(kill.arg(signal).arg(self.0.id().to_string()).status().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The number that the node has published, in a line of somebody who listens: `#counter node: 7`,
/// of mail `(stored) #counter node (2026-11-21 11:25:12 UTC): 7`.
fn number(listener: &Listener) -> u32 {
    let line = listener.line();
    let number = line.rsplit_once(": ").filter(|(from, _)| from.contains("#counter node"));
    number.and_then(|(_, text)| text.parse().ok()).unwrap_or_else(|| panic!("a number: {line}"))
}

/// `bartek`, who is there when this returns: what comes for him is printed.
fn bartek(native: SocketAddr) -> Listener {
    let listener = Listener::of(client(&format!("native://bartek@{native}"), &["listen"]));
    let deadline = Instant::now() + LONG;
    loop {
        let output = client(&format!("native://celina@{native}"), &["users"]).output().unwrap();
        if String::from_utf8_lossy(&output.stdout).contains("bartek") {
            return listener;
        }
        assert!(Instant::now() < deadline, "bartek is not there: {output:?}");
    }
}

/// What the node answers to `bartek`, from where it begins so. What is told just when a stalled
/// machine has cost the node its session may be lost on the line: then it is told again.
fn told(bartek: &Listener, direct: SocketAddr, text: &str, answer: &str) -> String {
    let deadline = Instant::now() + 2 * LONG;
    while Instant::now() < deadline {
        let (said, good) = send("bartek", direct, "@node", text);
        assert!(good, "{said}");
        while let Ok(line) = bartek.1.recv_timeout(LONG / 4) {
            if line.starts_with(answer) {
                return line;
            }
        }
    }
    panic!("no answer to {text}");
}

#[test]
fn the_node_counts_obeys_and_comes_back_to_a_server_that_was_killed_or_silent() {
    const LEDS: u32 = 0x4002_8000;
    const LOST: &str = "Lost(NoAnswer)";
    let data = tempfile::tempdir().unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (server, places) = Server::start(data.path(), [any; 2]);
    let [native, direct] = places;
    let mut node = Image::connected("node", native);
    node.logged("Joined", |line| line.starts_with("Joined").then_some(()));

    let anna = format!("native://anna@{native}");
    let joined = client(&anna, &["join", "counter"]).output().unwrap();
    assert!(joined.status.success(), "{joined:?}");
    let listener = Listener::of(client(&anna, &["listen"]));
    let mut last = number(&listener);
    for _ in 0..3 {
        let next = number(&listener);
        // One whose answer was late comes twice.
        assert!(next == last || next == last + 1, "{next} behind {last}");
        last = next;
    }

    let bartek_listens = bartek(native);
    assert_eq!(node.word(LEDS) & 1, 0);
    for (text, answer) in [
        ("led on", "node: ok: led on"),
        ("rate 200", "node: ok: rate 200"),
        ("rate 1", "node: error: a rate is 100 to 3600000 milliseconds"),
        ("dance", "node: error: allowed are led on, led off, rate 100 to 3600000, count?"),
    ] {
        assert_eq!(told(&bartek_listens, direct, text, answer), answer);
    }
    assert_eq!(node.word(LEDS) & 1, 1);
    let counted = told(&bartek_listens, direct, "count?", "node: ok: count ");
    let count: u32 = counted.strip_prefix("node: ok: count ").expect("a count").parse().unwrap();
    while last < count {
        last = number(&listener);
    }

    drop((server, listener, bartek_listens));
    let (server, [native, direct]) = Server::start(data.path(), places);
    // The node may not be there yet: then it is mail.
    let (said, good) = send("bartek", direct, "@node", "led off");
    assert!(good, "{said}");
    let listener = Listener::of(client(&format!("native://anna@{native}"), &["listen"]));
    while number(&listener) <= last + 2 {}
    let answered = Listener::of(client(&format!("native://bartek@{native}"), &["listen"]));
    let line = answered.line();
    assert!(line.contains("node") && line.ends_with(": ok: led off"), "{line}");
    assert_eq!(node.word(LEDS) & 1, 0);

    let before = node.times(LOST);
    server.signal("-STOP");
    node.logged_again(LOST, before);
    server.signal("-CONT");
    last = number(&listener);
    while number(&listener) <= last + 10 {}
}
