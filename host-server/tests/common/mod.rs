//! A real server, and clients that are no more than the bytes of their dialects.
#![allow(dead_code)] // Each test crate uses its part.

pub mod native;
pub mod socket_io;
pub mod sysv;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use centrala_core::dialect::direct::{self, Frame, Look};
use centrala_core::dialect::topics::{ClientMessage, ServerMessage, request};
use centrala_sysv::{Queue, Receive, Removed};

/// Nothing takes longer, on a machine that does other things beside.
pub const LONG: Duration = Duration::from_secs(60);

/// Waits until `done` has something; `what` is said when it never has.
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A key that no other test uses, and that is no PID.
pub fn key() -> i32 {
    static NEXT: AtomicI32 = AtomicI32::new(0);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let key = 0x5000_0000 + (std::process::id() as i32 % 0x10_0000) * 256 + n;
        // One that takes more than 256 comes to those of the next process.
        if Queue::open(key).is_err() {
            return key;
        }
    }
}

/// Sections that make a readiness line.
const READY: [&str; 4] = ["[queues]", "[lanes]", "[rooms]", "[native]"];

/// A server that is killed with its queue when this is dropped.
pub struct Server {
    pub child: Child,
    pub key: i32,
    pub address: Option<SocketAddr>,
    pub native: Option<SocketAddr>,
    /// Where `rooms` is, if it was asked for.
    pub rooms: String,
    pub log: Arc<Mutex<String>>,
    _directory: tempfile::TempDir,
}

/// Writes a configuration and gives the command that starts a server with it.
pub fn command(config: &str) -> (Command, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("centrala.toml");
    std::fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_centralad"));
    command.arg("--config").arg(path).args(["--log", "debug"]);
    command.env("XDG_STATE_HOME", directory.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    (command, directory)
}

impl Server {
    /// Both dialects, on addresses of their own, and what else the configuration shall say: first
    /// of its `topics` section, then further sections.
    pub fn start(topics: &str, more: &str) -> Server {
        Server::with_key(key(), topics, more)
    }

    pub fn with_key(key: i32, topics: &str, more: &str) -> Server {
        Server::with_data(key, None, topics, more)
    }

    /// With its store in a directory that outlasts it.
    pub fn with_data(key: i32, data: Option<&Path>, topics: &str, more: &str) -> Server {
        let config =
            format!("[direct]\nlisten = \"127.0.0.1:0\"\n[topics]\nkey = {key}\n{topics}\n{more}");
        let (mut command, directory) = command(&config);
        if let Some(data) = data {
            command.arg("--data").arg(data);
        }
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (errors, copy) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                copy.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (mut address, mut native, mut rooms) = (None, None, String::new());
        let sections = 2 + more.lines().filter(|line| READY.contains(line)).count();
        for _ in 0..sections {
            let line = lines.next().expect("a readiness line").unwrap();
            match line.split_once(": ") {
                Some(("direct", at)) => address = Some(at.parse().unwrap()),
                Some(("native", at)) => native = Some(at.parse().unwrap()),
                Some(("rooms", at)) => rooms = at.into(),
                Some(("topics", at)) => assert_eq!(at, format!("key {key}")),
                other => assert!(other.is_some(), "{line}"),
            }
        }
        Server { child, key, address, native, rooms, log, _directory: directory }
    }

    pub fn queue(&self) -> Queue {
        Queue::open(self.key).expect("the server's queue")
    }

    pub fn connect(&self, name: &str) -> Direct {
        Direct::connect(self.address.unwrap(), name)
    }

    pub fn log_in(&self, name: &str) -> Topics {
        Topics::log_in(self, key(), name)
    }

    /// Whether the log has it. What was logged before an answer may come after it.
    pub fn logged(&self, what: &str) -> bool {
        self.log.lock().unwrap().contains(what)
    }

    /// Waits until the log has it.
    pub fn until_logged(&self, what: &str) {
        until(what, || self.logged(what).then_some(()));
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        until("the server ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Ok(queue) = Queue::open(self.key) {
            let _ = queue.remove();
        }
        if std::thread::panicking() {
            eprintln!("the server's log:\n{}", self.log.lock().unwrap());
        }
    }
}

/// A client of `direct`.
pub struct Direct {
    pub stream: TcpStream,
    name: [u8; 8],
    input: Vec<u8>,
}

/// A frame that arrived: type, id, SRC, text.
pub type Got = (u16, u32, String, String);

impl Direct {
    pub fn connect(address: SocketAddr, name: &str) -> Direct {
        let mut client = Direct::start(address, name);
        client.send(direct::RESPONSE, 0, "", "");
        client
    }

    /// A connection on which nothing has been said yet.
    pub fn start(address: SocketAddr, name: &str) -> Direct {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Direct { stream, name: field(name), input: Vec::new() }
    }

    pub fn send(&mut self, kind: u16, id: u32, to: &str, text: &str) {
        let bytes = self.frame(kind, id, to, text);
        self.stream.write_all(&bytes).unwrap();
    }

    pub fn frame(&self, kind: u16, id: u32, to: &str, text: &str) -> Vec<u8> {
        let (src, dst, text) = (&self.name, &field(to), text.as_bytes());
        let mut out = [0; 1024];
        let len = Frame { kind, id, src, dst, text }.emit(&mut out).unwrap();
        out[..len].to_vec()
    }

    /// The next frame.
    pub fn next(&mut self) -> Got {
        self.maybe_next().expect("a frame, and not the end")
    }

    /// Nothing has come that was not looked at. What is sent wrongly mostly comes at once; how long
    /// this looks decides nothing else.
    pub fn got_nothing(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let nothing = self.input.is_empty() && self.stream.peek(&mut [0]).is_err();
        self.stream.set_read_timeout(Some(LONG)).unwrap();
        nothing
    }

    /// The next frame, or `None` at the end.
    pub fn maybe_next(&mut self) -> Option<Got> {
        loop {
            if let Look::Frame(frame, len) = Frame::look(&self.input) {
                let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let got = (frame.kind, frame.id, string(frame.source()), string(frame.text));
                self.input.drain(..len);
                return Some(got);
            }
            let mut buffer = [0; 4096];
            match centrala_tests::read_some(&mut self.stream, &mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn field(name: &str) -> [u8; 8] {
    let mut field = [0; 8];
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
}

/// A client of `topics`.
pub struct Topics {
    pub queue: Removed,
    pub server: Queue,
    pub key: i32,
    pub id: i32,
}

/// A message that arrived: type, info, text.
pub type Message = (i64, i32, String);

impl Topics {
    /// Logs in, with a queue of its own.
    pub fn log_in(server: &Server, key: i32, name: &str) -> Topics {
        Topics::log_in_at(server.queue(), key, name)
    }

    /// The same, where there is no more than the server's queue.
    pub fn log_in_at(server: Queue, key: i32, name: &str) -> Topics {
        let (queue, _) = Queue::create(key, 0o600).unwrap();
        let mut client = Topics { queue: Removed(queue), server, key, id: -1 };
        client.id = client.try_log_in(name);
        assert!(client.id >= 0, "the server refused: {}", client.id);
        client
    }

    /// The id, or why not.
    pub fn try_log_in(&self, name: &str) -> i32 {
        self.ask_as(self.key, request::LOG_IN, 0, 0, name);
        self.log_in_answer()
    }

    /// What is answered to a log-in.
    pub fn log_in_answer(&self) -> i32 {
        let key = self.key.into();
        until("the answer to a log-in", || receive(self.server, key)).1
    }

    pub fn ask(&self, kind: i64, topic: i32, number: i32, text: &str) {
        self.ask_as(self.id, kind, topic, number, text);
    }

    fn ask_as(&self, id: i32, kind: i64, topic: i32, number: i32, text: &str) {
        let message = ClientMessage { kind, id, topic, number, field: text.as_bytes() };
        let mut out = [0; 1100];
        let len = message.emit(&mut out).unwrap();
        self.server.send(&out[..len], true).unwrap();
    }

    /// Asks, and waits for the answer.
    pub fn request(&self, kind: i64, topic: i32, number: i32, text: &str) -> i32 {
        self.ask(kind, topic, number, text);
        self.next(2).1
    }

    /// The next message of a type (0: of any).
    pub fn next(&self, kind: i64) -> Message {
        until("a message in a client's queue", || self.maybe_next(kind))
    }

    pub fn maybe_next(&self, kind: i64) -> Option<Message> {
        receive(*self.queue, kind)
    }

    /// Leaves the queue behind when dropped.
    pub fn abandon(self) {
        std::mem::forget(self.queue);
    }
}

fn receive(queue: Queue, kind: i64) -> Option<Message> {
    let mut buffer = [0; 1100];
    let len = queue.receive(&mut buffer, kind, Receive::NOW).ok()?;
    let message = ServerMessage::new_checked(&buffer[..len]).unwrap();
    let text = String::from_utf8(message.text.to_vec()).unwrap();
    Some((message.kind, message.info, text))
}
