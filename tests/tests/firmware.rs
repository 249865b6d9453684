//! The images for microcontrollers, run by QEMU:
//! `cargo test -p centrala-tests --features firmware --test firmware`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use centrala_core::dialect::native::{How, Request};
use centrala_core::dialect::{direct, native};
use centrala_tests::direct_table;
use centrala_tests::image::{Image, LONG, program};
use centrala_tests::native_table::{self, Client, Got, to_user};

/// The exchange on its four UARTs: two of `direct`, two of `native`.
fn exchange() -> Image {
    Image::with_uarts("exchange", 4)
}

/// The same with `direct` on all four.
fn exchange_direct() -> Image {
    Image::with_uarts("exchange-direct", 4)
}

/// The exchange over Ethernet: `direct`, then `native`.
fn exchange_net() -> Image {
    Image::with_ports("exchange-net", &[4810, 4811])
}

#[test]
fn a_message_is_forwarded_as_it_is_and_so_is_its_answer() {
    direct_table::forwarded_as_it_is(&mut exchange());
    direct_table::forwarded_as_it_is(&mut exchange_direct());
    direct_table::forwarded_as_it_is(&mut exchange_net());
}

#[test]
fn without_an_answer_it_is_offline_mail_after_3_s() {
    direct_table::not_answered(&mut exchange_direct());
    direct_table::not_answered(&mut exchange_net());
}

#[test]
fn what_cannot_be_done_has_its_code() {
    direct_table::refused(&mut exchange());
    direct_table::refused(&mut exchange_direct());
    direct_table::refused(&mut exchange_net());
}

#[test]
fn a_name_in_use_is_409() {
    direct_table::in_use(&mut exchange_direct());
    direct_table::in_use(&mut exchange_net());
}

#[test]
fn what_is_no_frame_is_400() {
    direct_table::malformed(&mut exchange_direct());
    direct_table::malformed(&mut exchange_net());
}

#[test]
fn another_name_than_the_bound_one_is_401() {
    direct_table::another_name(&mut exchange_direct());
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
    let image = exchange_direct();
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
    let image = exchange_direct();
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

/// The lines of `native`.
fn native_lines(image: &Image) -> [Client; 2] {
    let [.., third, fourth] = image.places[..] else { panic!("four lines") };
    [third, fourth].map(|place| Client::new(TcpStream::connect(place).unwrap(), true))
}

/// Two connections of `native` of the image with Ethernet.
fn native_connections(image: &Image) -> [Client; 2] {
    [(); 2].map(|()| Client::new(TcpStream::connect(image.places[1]).unwrap(), false))
}

#[test]
fn native_talks_keeps_mail_and_has_groups_on_lines_and_over_tcp() {
    let image = exchange();
    let [mut anna, mut bartek] = native_lines(&image);
    native_table::conversation(&mut anna, &mut bartek);
    let image = exchange_net();
    let [mut anna, mut bartek] = native_connections(&image);
    native_table::conversation(&mut anna, &mut bartek);
}

#[test]
fn native_says_why_on_lines_and_over_tcp() {
    let image = exchange();
    let [mut anna, mut bartek] = native_lines(&image);
    native_table::refusals(&mut anna, &mut bartek, 128);
    let image = exchange_net();
    let [mut anna, mut bartek] = native_connections(&image);
    native_table::refusals(&mut anna, &mut bartek, 128);
}

#[test]
fn full_tables_are_refused_by_their_limits_on_lines_of_native() {
    let image = exchange();
    let [mut anna, mut other] = native_lines(&image);
    native_table::limits(&mut anna, &mut other, (8, 8, 32));
}

/// A sequence of numbers below a limit, always the same.
fn dice() -> impl FnMut(u64) -> u64 {
    let mut state = 7u64;
    move |limit| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    }
}

#[test]
fn noise_costs_the_frame_it_hits_and_nobody_gets_what_is_not_for_them() {
    let image = exchange();
    let [mut anna, mut bartek] = native_lines(&image);
    let mut celina = Raw::hello(image.places[0], "celina");
    celina.settle();
    anna.hello("anna");
    bartek.hello("bartek");
    let mut dice = dice();
    for round in 0..60 {
        let text = format!("round {round}");
        // Half a frame, a burst of anything, or a frame with a bit that flipped: no message.
        match round % 3 {
            0 => anna.raw(b"\0\x09\x02\x01half"),
            1 => {
                let burst: Vec<u8> = (0..dice(300)).map(|_| dice(256) as u8).collect();
                anna.raw(&burst);
            }
            _ => {
                let (mut frame, mut line) = ([0; 256], [0; 256]);
                let len = to_user("bartek", "hit").encode(9_000, &mut frame).unwrap();
                let len = native::serial::encode(&frame[..len], &mut line).unwrap();
                line[1 + dice(len as u64 - 2) as usize] ^= 1 << dice(8);
                anna.raw(&line[..len]);
            }
        }
        // It ends what was before it, and is whole.
        anna.raw(&[0]);
        anna.done(&to_user("bartek", &text), How::Done);
        assert_eq!(bartek.event(), native_table::message("anna", "", 0, &text));
        if round % 10 == 0 {
            let id = anna.ask(&to_user("celina", &text));
            let (kind, number, got) = celina.next();
            assert_eq!((kind, got), (direct::MESSAGE, text));
            celina.send(direct::RESPONSE, number, "anna", b"200");
            assert_eq!(anna.event(), Got::Done(id, How::Received));
        }
        bartek.done(&Request::Ping, How::Done);
    }
}

/// `native` on a serial line, as the client speaks it.
fn on_line(user: &str, place: SocketAddr) -> String {
    format!("native+serial://{user}@{place}")
}

#[test]
fn the_client_does_everything_on_a_line_of_native_and_talks_to_one_of_direct() {
    let image = exchange();
    let [first, _, third, fourth] = image.places[..] else { panic!("four lines") };
    let (bartek, celina) = (on_line("bartek", third), on_line("celina", fourth));
    let (anna, dorota) = (format!("direct://anna@{first}"), on_line("dorota", fourth));
    let good = |url: &str, command: &[&str], said: &str| {
        assert_eq!(says(url, command), (format!("{said}\n"), true), "{command:?}");
    };
    // Over a line nobody is there before a frame has come: the listener is, when it is known.
    let listener = Listener::of(client(&bartek, &["listen"]));
    bound(&image, 2, 1);
    let next = |from: &str, text: &str| {
        let line = listener.line();
        assert!(line.starts_with(from) && line.ends_with(text), "{line}");
    };
    good(&anna, &["send", "@bartek", "hej"], "@bartek: delivered");
    next("anna", ": hej");
    good(&celina, &["send", "@bartek", "cześć"], "@bartek: delivered");
    next("celina", ": cześć");
    good(&celina, &["create", "news"], "#news: created");
    good(&celina, &["join", "news", "--count", "1"], "#news: joined for 1 message");
    drop(listener);
    let stored = "@anna: not answering, stored for later";
    good(&celina, &["send", "@anna", "read it later"], stored);
    let listener = Listener::start("anna", first);
    assert_eq!(listener.line(), "(stored) celina: read it later");
    good(&dorota, &["send", "@anna", "and now?"], "@anna: delivered");
    assert_eq!(listener.line(), "dorota: and now?");
    good(&dorota, &["send", "#all", "to all of you"], "#all: accepted");
    assert_eq!(listener.line(), "#all dorota: to all of you");
    good(&dorota, &["send", "#news", "to whoever reads"], "#news: accepted");
    let (said, ok) = says(&celina, &["listen", "--sync"]);
    let whole = said.contains("to all of you")
        && said.contains("#news")
        && said.contains("to whoever reads");
    assert!(ok && whole, "{said}");
    for (command, what) in [
        (&["users"][..], "dorota"),
        (&["groups"], "news"),
        (&["groups", "--mine"], "all"),
        (&["members", "all"], "bartek"),
    ] {
        let (said, ok) = says(&dorota, command);
        assert!(ok && said.contains(what), "{command:?}: {said}");
    }
    for (command, why) in [
        (&["history", "#all"][..], "keeps no history"),
        (&["shutdown"], "not allowed"),
        (&["leave", "gone"], "no such group"),
        (&["create", "news"], "already"),
        (&["send", "@bartek", &"x".repeat(129)], "at most 128 bytes a message"),
        (&["send", "@bartek", &"x".repeat(3_000)], "at most 128 bytes a message"),
    ] {
        let (said, ok) = says(&dorota, command);
        assert!(!ok && said.contains(why), "{command:?}: {said}");
    }
    good(&dorota, &["leave", "all"], "#all: left");
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
