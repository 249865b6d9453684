//! What waits for the store's commit, and what does not: a server in this process, over a store
//! that the test holds.

mod common;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use centrala_core::dialect::direct::{MESSAGE, OFFLINE, RESPONSE};
use centrala_core::host::{NoRoom, Record, Store};
use centrala_store::Restored;
use centralad::config::Config;
use centralad::server::{Server, Stop};
use centralad::store::Keep;
use centralad::tables::Memory;
use common::{Direct, LONG};

/// A store that says when it is to commit, and waits to be told whether it could.
#[derive(Debug)]
struct Held {
    dirty: bool,
    began: Sender<()>,
    may: Receiver<bool>,
}

impl Store for Held {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        // The directory is durable at once.
        self.dirty |= matches!(record, Record::Mail(_) | Record::Settled { .. });
        Ok(())
    }
}

impl Keep for Held {
    fn dirty(&self) -> bool {
        self.dirty
    }
    fn commit(&mut self) -> Result<(), NoRoom> {
        self.dirty = false;
        let _ = self.began.send(());
        // Once the test is over, nobody minds.
        if self.may.recv_timeout(LONG).unwrap_or(true) { Ok(()) } else { Err(NoRoom) }
    }
    fn describe(&self) -> String {
        "held by a test".into()
    }
}

struct Running {
    address: SocketAddr,
    began: Receiver<()>,
    may: Option<Sender<bool>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Running {
        let (began, begun) = channel();
        let (may, allowed) = channel();
        let (started, start) = channel();
        let thread = std::thread::spawn(move || {
            let config = "[direct]\nlisten = \"127.0.0.1:0\"\n";
            let config = Config::parse(config, "test").unwrap();
            let mut memory = Memory::new(&config);
            let store = Held { dirty: false, began, may: allowed };
            let server =
                Server::start(&config, memory.lend(), Box::new(store), &Restored::default());
            let server = server.unwrap();
            let address = server.ready()[0].strip_prefix("direct: ").unwrap().parse().unwrap();
            started.send((address, server.stopper())).unwrap();
            server.run(None).unwrap();
        });
        let (address, stop) = start.recv().unwrap();
        Running { address, began: begun, may: Some(may), stop, thread: Some(thread) }
    }

    /// Waits until the store is to commit.
    fn committing(&self) {
        self.began.recv_timeout(LONG).expect("a commit");
    }

    fn let_commit(&self, could: bool) {
        self.may.as_ref().unwrap().send(could).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.may.take());
        self.stop.stop();
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

/// Logged in when this returns.
fn connect(server: &Running, name: &str) -> Direct {
    let mut client = Direct::connect(server.address, name);
    client.send(MESSAGE, 0, "nobody", "");
    assert_eq!(client.next().3, "404");
    client
}

/// There is a user of this name, who is not there.
fn absent(server: &Running, name: &str) {
    drop(connect(server, name));
}

#[test]
fn a_promise_waits_for_the_commit_and_a_live_message_does_not() {
    let server = Running::start();
    let (mut anna, mut bartek) = (connect(&server, "anna"), connect(&server, "bartek"));
    absent(&server, "celina");
    // One write, so one batch: mail, and a message for somebody who is there.
    let mut bytes = anna.frame(MESSAGE, 1, "celina", "for later");
    bytes.extend(anna.frame(MESSAGE, 2, "bartek", "now"));
    std::io::Write::write_all(&mut anna.stream, &bytes).unwrap();
    server.committing();
    assert_eq!(bartek.next().3, "now");
    let short = std::time::Duration::from_millis(50);
    anna.stream.set_read_timeout(Some(short)).unwrap();
    assert!(anna.stream.peek(&mut [0]).is_err(), "nothing is promised yet");
    anna.stream.set_read_timeout(Some(LONG)).unwrap();
    server.let_commit(true);
    let (kind, id, from, code) = anna.next();
    assert_eq!((kind, id, from.as_str(), code.as_str()), (RESPONSE, 1, "celina", "300"));
}

#[test]
fn a_commit_that_fails_refuses_what_rests_on_it_and_the_next_one_counts_again() {
    let server = Running::start();
    let mut anna = connect(&server, "anna");
    absent(&server, "celina");
    anna.send(MESSAGE, 1, "celina", "lost");
    server.committing();
    server.let_commit(false);
    assert_eq!((anna.next().3, 1), ("507".into(), 1));
    anna.send(MESSAGE, 2, "celina", "kept");
    server.committing();
    server.let_commit(true);
    assert_eq!(anna.next().3, "300");
    // What was refused may come all the same; what was promised must.
    let mut celina = Direct::connect(server.address, "celina");
    let mut texts = Vec::new();
    while texts.last().is_none_or(|text| text != "kept") {
        let (kind, _, _, text) = celina.next();
        assert_eq!(kind, OFFLINE);
        texts.push(text);
    }
    // It leaves the store when its peer has acknowledged it.
    server.committing();
    server.let_commit(true);
}
