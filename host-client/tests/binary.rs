//! The program itself: exit codes, signals, environment and what it leaves behind. The exchange
//! is a few lines here.

use centrala_core::dialect::direct::{Frame, MESSAGE, RESPONSE, name_field};
use centrala_core::dialect::topics::{ClientMessage, REQUEST_SIZE, SIZE, ServerMessage, kind};
use centrala_sysv::{Buffer, Errno, Queue, Receive, Removed};
use centrala_tests::read_some;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

fn centrala(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centrala"));
    command.args(args);
    for name in ["CENTRALA_URL", "CENTRALA_PASSWORD", "USER"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running client, killed if the test panics.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        // What a killed client cannot remove itself.
        let _ = Queue::open(self.0.id() as i32).map(Queue::remove);
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    }

    fn end(&mut self) -> (ExitStatus, String) {
        let status = until("the client ends", || self.0.try_wait().unwrap());
        let mut said = String::new();
        self.0.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }
}

/// Nothing takes longer, on a machine that does other things beside.
const LONG: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(got) = get() {
            return got;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn exchange_queue(test: i32) -> (i32, Removed) {
    let base = 0x4600_0000 + ((std::process::id() as i32 & 0xffff) << 8) + 16 * test;
    let made = (base..base + 16).find_map(|key| Some((key, Queue::create_new(key, 0o600).ok()?)));
    let (key, queue) = made.unwrap();
    (key, Removed(queue))
}

/// The next request in the exchange's queue: its type and id.
fn request(queue: Queue) -> (i64, i32) {
    let mut buf = Buffer::<REQUEST_SIZE>::new();
    let len = until("a request", || queue.receive(&mut buf, -7, Receive::NOW).ok());
    let request = ClientMessage::new_checked(&buf[..len]).unwrap();
    (request.kind, request.id)
}

fn send(queue: Queue, kind: i64, info: i32, text: &str) {
    let mut out = Buffer::<SIZE>::new();
    let len = ServerMessage { kind, info, text: text.as_bytes() }.emit(&mut out).unwrap();
    queue.send(&out[..len], false).unwrap();
}

#[test]
fn listen_on_topics_ends_cleanly_by_a_signal() {
    let (key, queue) = exchange_queue(1);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let url = format!("topics://anna@{key}");
        let mut client = Running(centrala(&["--url", &url, "listen"]).spawn().unwrap());
        let (kind, id) = request(*queue);
        assert_eq!((kind, id), (1, client.0.id() as i32), "its queue's key is its PID");
        send(*queue, id.into(), 0, "");
        assert_eq!(request(*queue), (5, 0));
        let own = Queue::open(id).unwrap();
        send(own, kind::LIST, 0, "0. news");
        send(own, kind::LIST, 0, "");
        send(own, kind::TOPIC, 3, "news: cześć");
        assert_eq!(client.line(), "#news: cześć\n");
        client.signal(signal);
        let (status, said) = client.end();
        assert_eq!((status.code(), said.as_str()), (Some(0), ""), "{signal}");
        assert_eq!(Queue::open(id), Err(Errno::ENOENT), "{signal}: its queue is removed");
    }
}

#[test]
fn a_signal_before_the_log_in_is_answered_ends_with_1_and_leaves_no_queue() {
    let (key, queue) = exchange_queue(2);
    let url = format!("topics://anna@{key}");
    let mut client = Running(centrala(&["groups"]).env("CENTRALA_URL", &url).spawn().unwrap());
    let (_, id) = request(*queue);
    client.signal(Signal::SIGTERM);
    let (status, said) = client.end();
    assert_eq!((status.code(), said.as_str()), (Some(1), "centrala: interrupted\n"));
    assert_eq!(Queue::open(id), Err(Errno::ENOENT));
}

#[test]
fn listen_on_direct_prints_json_takes_its_password_from_the_environment_and_ends_cleanly() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("direct://anna@{}", listener.local_addr().unwrap());
    let mut command = centrala(&["--json", "--url", &url, "listen"]);
    let mut client = Running(command.env("CENTRALA_PASSWORD", "secret").spawn().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    let (anna, bartek) = (name_field(b"anna", 1, false), name_field(b"bartek", 2, false));
    let hello = Frame { kind: RESPONSE, id: 0, src: &anna, dst: &[0; 8], text: b"secret" };
    expect(&mut stream, &hello);
    let message =
        Frame { kind: MESSAGE, id: 7, src: &bartek, dst: &anna, text: "cześć".as_bytes() };
    stream.write_all(&bytes(&message)).unwrap();
    assert_eq!(
        client.line(),
        "{\"event\":\"message\",\"from\":\"bartek\",\"text\":\"cześć\",\"id\":7}\n"
    );
    let taken = Frame { kind: RESPONSE, id: 7, src: &anna, dst: &bartek, text: b"200" };
    expect(&mut stream, &taken);
    client.signal(Signal::SIGINT);
    assert_eq!(read_some(&mut stream, &mut [0]).unwrap(), 0, "it closes");
    drop(stream);
    let (status, said) = client.end();
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

fn bytes(frame: &Frame<'_>) -> Vec<u8> {
    let mut out = vec![0; frame.emitted_len()];
    frame.emit(&mut out).unwrap();
    out
}

fn expect(stream: &mut TcpStream, frame: &Frame<'_>) {
    let mut got = vec![0; frame.emitted_len()];
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes(frame));
}

#[test]
fn send_reads_standard_input_and_says_what_became_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("direct://anna@{}", listener.local_addr().unwrap());
    let mut command = centrala(&["--url", &url, "send", "@bartek", "-"]);
    let mut client = Running(command.stdin(Stdio::piped()).spawn().unwrap());
    client.0.stdin.take().unwrap().write_all(b"two\nlines\n").unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let (anna, bartek) = (name_field(b"anna", 1, false), name_field(b"bartek", 2, false));
    let message = Frame { kind: MESSAGE, id: 0, src: &anna, dst: &bartek, text: b"two\nlines" };
    expect(&mut stream, &message);
    let stored = Frame { kind: RESPONSE, id: 0, src: &bartek, dst: &anna, text: b"300" };
    stream.write_all(&bytes(&stored)).unwrap();
    drop(stream);
    assert_eq!(client.line(), "@bartek: not answering, stored for later\n");
    assert_eq!(client.end().0.code(), Some(0));
}

#[test]
fn exit_codes_and_messages() {
    let nowhere = "topics://anna@2147483646";
    for (args, code, says) in [
        (&["users"][..], 2, "centrala: no URL, and no USER to make one of: give --url or set"),
        (&["--url", "anna", "users"], 2, "centrala: no '://'"),
        (
            &["--url", nowhere, "users"],
            2,
            "centrala: topics has no 'users'; its commands are send,",
        ),
        (&["--url", nowhere, "groups", "--directory", "x"], 2, "--directory is for lanes, not top"),
        (&["--url", "lanes://anna@1", "users"], 2, "centrala: lanes asks for a password"),
        (&["--url", "queues://anna@1", "groups"], 2, "queues has no 'groups'; its commands are"),
        (&["--url", nowhere, "history", "#news"], 2, "centrala: topics has no 'history'"),
        (&["--url", nowhere, "groups"], 1, "centrala: no exchange here: no queue has key 2147"),
        (&["--url", "direct://anna@127.0.0.1:1", "listen"], 1, "centrala: no exchange at 127.0.0"),
        (&["--url", nowhere, "send", "anna", "hi"], 2, "error: invalid value 'anna' for '<TO>'"),
        (&["--url", nowhere, "send", "@an\x1bna", "hi"], 2, "no control characters"),
        (&[], 2, "Usage: centrala"),
    ] {
        let output = centrala(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    let help = centrala(&["--help"]).output().unwrap();
    assert!(help.status.success());
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes:"));
}
