//! A server of every dialect, and clients of `queues` and `lanes`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use centrala_core::dialect::lanes::{self, Element, Order};
use centrala_core::dialect::queues::{self, Message as Struct};
use centrala_sysv::{Queue, Receive, Removed};

use super::{Server, command, key, until};

/// Users that have a lane, and groups that `lanes` addresses, unless a test says otherwise.
pub const USERS: u32 = 32;
pub const GROUPS: u32 = 16;

/// A server of all dialects, on addresses of its own.
pub struct Office {
    pub server: Server,
    /// Where it speaks `native`.
    pub native: SocketAddr,
    pub queues: i32,
    pub lanes: i32,
    pub names: PathBuf,
    /// Where the command is that started it, and what it needs.
    pub config: String,
}

impl Deref for Office {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Office {
    pub fn start() -> Office {
        Office::with("", "")
    }

    /// With more lines in the section of `lanes`, and further sections.
    pub fn with(lanes: &str, more: &str) -> Office {
        Office::at([key(), key(), key()], lanes, more)
    }

    /// With these keys for `topics`, `queues` and `lanes`.
    pub fn at(keys: [i32; 3], in_lanes: &str, more: &str) -> Office {
        let [topics, queues, lanes] = keys;
        let names = std::env::temp_dir().join(format!("centrala-{lanes:x}.txt"));
        let config = format!(
            "[direct]\nlisten = \"127.0.0.1:0\"\n[native]\nlisten = \"127.0.0.1:0\"\n[topics]\nkey = {topics}\nclients = 1000\n\
             [queues]\nkey = {queues}\n[lanes]\nkey = {lanes}\ndirectory = {names:?}\n{in_lanes}\n\
             [accounts]\nregistrations_per_minute = 60000\n{more}"
        );
        Office::of(config, topics, queues, lanes, names)
    }

    fn of(config: String, topics: i32, queues: i32, lanes: i32, names: PathBuf) -> Office {
        let (mut command, directory) = command(&config);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (errors, copy) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                copy.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready: Vec<String> = lines.take(5).map_while(Result::ok).collect();
        let listens = |line: &str, at: usize| ready.get(at)?.strip_prefix(line)?.parse().ok();
        let (address, native) = (listens("direct: ", 0), listens("native: ", 1));
        let rooms = String::new();
        let server =
            Server { child, key: topics, address, native, rooms, log, _directory: directory };
        let native = native.expect("an address");
        let office = Office { server, native, queues, lanes, names, config };
        let expected = [
            format!("topics: key {topics}"),
            format!("queues: key {queues}"),
            format!("lanes: key {lanes}"),
        ];
        assert_eq!(ready[2..], expected);
        office
    }

    /// Kills the server, as a crash would, and starts another one on the same addresses.
    pub fn restart(mut self) -> Office {
        self.server.child.kill().unwrap();
        self.server.child.wait().unwrap();
        let (config, names) = (self.config.clone(), self.names.clone());
        let [topics, queues, lanes] = [self.server.key, self.queues, self.lanes];
        // Its queues stay for the next.
        (self.server.key, self.queues, self.lanes) = (0, 0, 0);
        drop(self);
        Office::of(config, topics, queues, lanes, names)
    }

    pub fn queues_server(&self) -> Queue {
        Queue::open(self.queues).expect("the queue of `queues`")
    }

    pub fn lanes_queue(&self) -> Queue {
        Queue::open(self.lanes).expect("the queue of `lanes`")
    }

    /// Makes a user that is not logged in.
    pub fn make(&self, name: &str) -> u32 {
        let client = self.log_in_lanes(name);
        client.ask(Order::LogOut, "");
        client.user
    }

    pub fn log_in_queues(&self, name: &str) -> Queues {
        self.log_in_queues_at(key(), name)
    }

    /// Logs in with a queue of this key.
    pub fn log_in_queues_at(&self, key: i32, name: &str) -> Queues {
        let (queue, _) = Queue::create(key, 0o600).unwrap();
        let server = self.queues_server();
        let mut client = Queues { queue: Removed(queue), server, key, index: 0 };
        client.send(queues::kind::LOG_IN, key, &format!("{name}/"));
        assert_eq!(client.next(queues::kind::LOG_IN).text, "poprawne");
        assert_eq!(client.next(queues::kind::LOG_IN).text, "poprawne");
        client.index = client.next(queues::kind::LOG_IN).text.parse().unwrap();
        client
    }

    pub fn log_in_lanes(&self, name: &str) -> Lanes {
        let mut client = Lanes { queue: self.lanes_queue(), user: 0, users: 0, groups: 0 };
        assert_eq!(client.try_log_in(name), "Zalogowano\n");
        client
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        let _ = self.server.child.kill();
        let _ = self.server.child.wait();
        for key in [self.queues, self.lanes] {
            if let Ok(queue) = Queue::open(key) {
                let _ = queue.remove();
            }
        }
        if self.lanes != 0 {
            let _ = std::fs::remove_file(&self.names);
        }
    }
}

/// A message that arrived in `queues`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub kind: i64,
    pub address: i32,
    pub text: String,
}

/// A client of `queues`.
pub struct Queues {
    pub queue: Removed,
    pub server: Queue,
    pub key: i32,
    pub index: i64,
}

impl Queues {
    pub fn send(&self, kind: i64, address: i32, text: &str) {
        let message = Struct { kind, text: text.as_bytes(), address, time: 0 };
        let mut out = [0; queues::SIZE];
        let len = message.emit(&mut out).unwrap();
        self.server.send(&out[..len], true).unwrap();
    }

    /// A direct message.
    pub fn write(&self, to: u32, text: &str) {
        self.send(self.index, to as i32, text);
    }

    /// A group message.
    pub fn publish(&self, group: u32, text: &str) {
        self.send(queues::kind::GROUP, self.key, &format!("{group}/{text}"));
    }

    /// Asks with a text, and gives the text of the answer.
    pub fn ask(&self, kind: i64, text: &str) -> String {
        self.send(kind, self.key, text);
        self.next(kind).text
    }

    pub fn join(&self, group: u32) -> String {
        self.ask(queues::kind::JOIN, &format!("{}/{group}", self.index))
    }

    /// The next message of a type (0: of any).
    pub fn next(&self, kind: i64) -> Got {
        until("a message in a queue of `queues`", || self.maybe_next(kind))
    }

    pub fn maybe_next(&self, kind: i64) -> Option<Got> {
        let mut buffer = [0; queues::SIZE];
        let len = self.queue.receive(&mut buffer, kind, Receive::NOW).ok()?;
        let message = Struct::new_checked(&buffer[..len]).unwrap();
        let text = String::from_utf8(message.text.to_vec()).unwrap();
        Some(Got { kind: message.kind, address: message.address, text })
    }

    /// Leaves the queue behind when dropped.
    pub fn abandon(self) {
        std::mem::forget(self.queue);
    }
}

/// A client of `lanes`.
#[derive(Clone, Copy)]
pub struct Lanes {
    pub queue: Queue,
    pub user: u32,
    pub users: u32,
    pub groups: u32,
}

/// An element that arrived: `first`, `second`, text.
pub type Arrived = (i32, i32, String);

pub fn element(lane: i64, first: i32, second: i32, text: &str) -> Vec<u8> {
    let mut out = [0; lanes::SIZE];
    let len = Element { lane, first, second, text: text.as_bytes() }.emit(&mut out).unwrap();
    out[..len].to_vec()
}

pub fn take(queue: Queue, lane: i64) -> Option<Arrived> {
    let mut buffer = [0; lanes::SIZE];
    let len = queue.receive(&mut buffer, lane, Receive::NOW).ok()?;
    let element = Element::new_checked(&buffer[..len]).unwrap();
    Some((element.first, element.second, String::from_utf8(element.text.to_vec()).unwrap()))
}

impl Lanes {
    /// The text of the first answer.
    pub fn try_log_in(&mut self, name: &str) -> String {
        self.queue.send(&element(1, 0, 1, &format!("{name} ")), true).unwrap();
        let queue = self.queue;
        let next = || until("an answer to a log-in", || take(queue, 2));
        let (first, second, text) = next();
        if second == 0 {
            self.user = first as u32 - lanes::NUMBER;
            let (users, groups, _) = next();
            (self.users, self.groups) = (users as u32, groups as u32);
        }
        text
    }

    /// Asks, without waiting.
    pub fn send(&self, order: Order, text: &str) {
        let first = lanes::lane(self.user) as i32;
        let frame = element(1, first, order.second(self.groups), text);
        self.queue.send(&frame, true).unwrap();
    }

    pub fn answer(&self) -> Arrived {
        let lane = lanes::answer_lane(self.user, self.users);
        until("an answer on a lane", || take(self.queue, lane))
    }

    /// Asks, and gives the text of the answer.
    pub fn ask(&self, order: Order, text: &str) -> String {
        self.send(order, text);
        self.answer().2
    }

    pub fn next(&self) -> Arrived {
        until("a message on a lane", || self.maybe_next())
    }

    pub fn maybe_next(&self) -> Option<Arrived> {
        take(self.queue, lanes::lane(self.user))
    }
}

/// A client in C that has logged in and stays. It is killed when this is dropped.
pub struct Held {
    pub child: std::process::Child,
    /// Its number, as it was told.
    pub number: u32,
}

impl Held {
    pub fn start(source: &str, key: i32, login: &str) -> Held {
        let directory = tempfile::tempdir().unwrap();
        let program = compile(source, directory.path());
        let mut command = Command::new(program);
        command.args(["hold", &key.to_string(), login]).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Held { child, number: line.trim().parse().unwrap() }
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compiles a client in C into a directory.
pub fn compile(source: &str, directory: &std::path::Path) -> PathBuf {
    let program = directory.join("client");
    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .arg(&program)
        .arg(format!("{}/tests/c/{source}", env!("CARGO_MANIFEST_DIR")))
        .status();
    assert!(compiled.expect("cc is installed").success());
    program
}

/// Runs the client of `lanes` in C, and gives what it says.
pub fn run_lanes(office: &Office, what: &str, last: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let program = compile("lanes_client.c", directory.path());
    let mut command = Command::new(program);
    let output = command.args([what, &office.lanes.to_string()]).args(last).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{wrong}");
    said
}
