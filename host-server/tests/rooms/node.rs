//! The official client of Socket.IO, in a process of node.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Nothing takes longer, on a machine that does other things beside.
pub const LONG: Duration = Duration::from_secs(60);

/// In the place of a time in an expected event: any within the test.
pub const TIME: &str = "<time>";

/// Where the client's package is.
fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rooms")
}

/// Whether there is a node with the client. Without one the test is skipped, and says so; never
/// where CI is set.
pub fn is_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| {
        if let Err(error) = Command::new("node").arg("--version").output() {
            let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(!ci, "node is needed: {error}");
            println!("skipped: there is no node: {error}");
            return false;
        }
        if !directory().join("node_modules/socket.io-client").exists() {
            let install = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
            let installed = Command::new("npm").args(install).current_dir(directory()).output();
            let installed = installed.expect("npm");
            let error = String::from_utf8_lossy(&installed.stderr);
            assert!(installed.status.success(), "npm ci: {error}");
        }
        true
    })
}

/// The process.
pub struct Node {
    child: Child,
    input: Mutex<ChildStdin>,
    said: Mutex<Said>,
}

/// What the process says, and what of it nobody has asked for yet, by client.
type Said = (Receiver<Value>, HashMap<String, VecDeque<Value>>);

impl Node {
    pub fn start() -> Node {
        let mut command = Command::new("node");
        command.arg("client.mjs").current_dir(directory());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (say, said) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = say.send(serde_json::from_str(&line).expect(&line));
            }
        });
        Node { child, input: Mutex::new(input), said: Mutex::new((said, HashMap::new())) }
    }

    fn tell(&self, what: &Value) {
        writeln!(self.input.lock().unwrap(), "{what}").unwrap();
    }

    /// The next thing that happened to a client.
    fn next(&self, id: &str) -> Value {
        let (said, kept) = &mut *self.said.lock().unwrap();
        loop {
            if let Some(value) = kept.get_mut(id).and_then(VecDeque::pop_front) {
                return value;
            }
            let value = said.recv_timeout(LONG).unwrap_or_else(|_| panic!("nothing for {id}"));
            let of = value["id"].as_str().unwrap().to_string();
            kept.entry(of).or_default().push_back(value);
        }
    }

    /// A client that has connected.
    pub fn client<'n>(&'n self, id: &str, url: &str, transport: &str) -> Client<'n> {
        let client = self.client_that_may_fail(id, url, transport);
        assert_eq!(client.happens("connect")["transport"], transport);
        client
    }

    /// A client that begins to connect.
    pub fn client_that_may_fail<'n>(&'n self, id: &str, url: &str, transport: &str) -> Client<'n> {
        self.open(id, url, &[transport], false)
    }

    /// A client with options of its own.
    pub fn open<'n>(
        &'n self,
        id: &str,
        url: &str,
        transports: &[&str],
        reconnection: bool,
    ) -> Client<'n> {
        self.tell(&json!({
            "todo": "open", "id": id, "url": url, "transports": transports,
            "reconnection": reconnection
        }));
        Client { node: self, id: id.into() }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the process.
pub struct Client<'n> {
    node: &'n Node,
    pub id: String,
}

impl Client<'_> {
    /// Sends an event.
    pub fn emit(&self, event: Value) {
        self.node.tell(&json!({ "todo": "emit", "id": self.id, "event": event }));
    }

    /// Ends the connection.
    pub fn close(&self) {
        self.node.tell(&json!({ "todo": "close", "id": self.id }));
        assert_eq!(self.happens("disconnect")["reason"], "io client disconnect");
    }

    /// The next thing that happens is this; events too.
    pub fn happens(&self, on: &str) -> Value {
        let what = self.node.next(&self.id);
        assert_eq!(what["on"], on, "{what}");
        what
    }

    /// What happens next, of this kind: what comes before is left out.
    pub fn comes_to(&self, on: &str) -> Value {
        loop {
            let what = self.node.next(&self.id);
            if what["on"] == on {
                return what;
            }
        }
    }

    /// The next thing that happens.
    pub fn next(&self) -> Value {
        self.node.next(&self.id)
    }

    /// The next event.
    pub fn event(&self) -> Value {
        self.happens("event")["event"].take()
    }

    /// The next event is this.
    pub fn gets(&self, expected: Value) {
        let event = self.event();
        assert!(is_alike(&event, &expected), "{}: {event}\nexpected: {expected}", self.id);
    }

    /// Sends an event, and the next one that comes is this.
    pub fn asks(&self, event: Value, expected: Value) {
        self.emit(event);
        self.gets(expected);
    }

    /// Logs in a user of this number.
    pub fn log_in(&self, name: &str, number: u32) {
        self.asks(json!(["auth-request", name]), json!(["auth-response", 1, number.to_string()]));
    }
}

fn is_alike(value: &Value, expected: &Value) -> bool {
    match (value, expected) {
        (Value::Array(values), Value::Array(expected)) => {
            values.len() == expected.len()
                && values.iter().zip(expected).all(|(value, expected)| is_alike(value, expected))
        }
        (Value::Object(values), Value::Object(expected)) => {
            values.len() == expected.len()
                && expected.iter().all(|(key, of)| values.get(key).is_some_and(|v| is_alike(v, of)))
        }
        (Value::Number(time), Value::String(any)) if any == TIME => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
            time.as_u64().is_some_and(|time| time <= now && now - time < 600_000)
        }
        (value, expected) => value == expected,
    }
}

/// Bytes in an event.
pub fn bytes(bytes: &[u8]) -> Value {
    json!({ "$bytes": base64(bytes) })
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |n: u32| char::from(DIGITS[n as usize & 63]);
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let n = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.extend([digit(n >> 18), digit(n >> 12)]);
        text.push(if chunk.len() > 1 { digit(n >> 6) } else { '=' });
        text.push(if chunk.len() > 2 { digit(n) } else { '=' });
    }
    text
}
