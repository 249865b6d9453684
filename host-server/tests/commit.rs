//! What waits for the store's commit, and what does not: a server in this process, over a store
//! that the test holds.

mod common;

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use centrala_core::dialect::direct::{MESSAGE, OFFLINE, RESPONSE};
use centrala_core::dialect::topics::request;
use centrala_core::host::{NoRoom, Record, Store};
use centrala_store::Restored;
use centrala_sysv::{Queue, Removed};
use centralad::config::Config;
use centralad::server::{Server, Stop};
use centralad::store::{Committed, Keep};
use centralad::tables::Memory;
use common::{Direct, LONG, Topics, key};

/// A store whose commits are over when the test says so.
#[derive(Debug)]
struct Held {
    dirty: bool,
    directory: bool,
    /// Whether new users wait for a commit.
    gathers: bool,
    began: Sender<Commit>,
}

/// A commit that has begun.
struct Commit(Committed);

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a commit")
    }
}

impl Commit {
    fn succeeds(self) {
        (self.0)(Ok(()));
    }

    fn fails(self) {
        (self.0)(Err(NoRoom));
    }
}

impl Store for Held {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        self.dirty |= matches!(record, Record::Mail(_) | Record::Settled { .. });
        if let (Record::User { .. }, true) = (record, self.gathers) {
            (self.dirty, self.directory) = (true, true);
        }
        Ok(())
    }
}

impl Keep for Held {
    fn dirty(&self) -> bool {
        self.dirty
    }
    fn changes_directory(&self) -> bool {
        self.directory
    }
    fn begin_commit(&mut self, done: Committed) {
        (self.dirty, self.directory) = (false, false);
        // Once the test is over, it fails.
        let _ = self.began.send(Commit(done));
    }
    fn describe(&self) -> String {
        "held by a test".into()
    }
}

struct Running {
    address: SocketAddr,
    queue: i32,
    began: Option<Receiver<Commit>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start() -> Running {
        Running::gathering(false)
    }

    fn gathering(gathers: bool) -> Running {
        let (began, begun) = channel();
        let (started, start) = channel();
        let queue = key();
        let thread = std::thread::spawn(move || {
            let config = format!("[direct]\nlisten = \"127.0.0.1:0\"\n[topics]\nkey = {queue}\n");
            let config = Config::parse(&config, "test").unwrap();
            let mut memory = Memory::new(&config);
            let store = Held { dirty: false, directory: false, gathers, began };
            let server =
                Server::start(&config, memory.lend(), Box::new(store), &Restored::default());
            let server = server.unwrap();
            let address = server.ready()[0].strip_prefix("direct: ").unwrap().parse().unwrap();
            started.send((address, server.stopper())).unwrap();
            server.run(None).unwrap();
        });
        let (address, stop) = start.recv().unwrap();
        Running { address, queue, began: Some(begun), stop, thread: Some(thread) }
    }

    /// Waits until the store is to commit.
    fn committing(&self) -> Commit {
        self.began.as_ref().unwrap().recv_timeout(LONG).expect("a commit")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.began.take());
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
    let commit = server.committing();
    assert_eq!(bartek.next().3, "now");
    assert!(anna.got_nothing(), "nothing is promised yet");
    commit.succeeds();
    let (kind, id, from, code) = anna.next();
    assert_eq!((kind, id, from.as_str(), code.as_str()), (RESPONSE, 1, "celina", "300"));
}

#[test]
fn a_commit_that_fails_refuses_what_rests_on_it_and_the_next_one_counts_again() {
    let server = Running::start();
    let mut anna = connect(&server, "anna");
    absent(&server, "celina");
    anna.send(MESSAGE, 1, "celina", "lost");
    server.committing().fails();
    assert_eq!((anna.next().3, 1), ("507".into(), 1));
    anna.send(MESSAGE, 2, "celina", "kept");
    server.committing().succeeds();
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
    server.committing().succeeds();
}

#[test]
fn the_loop_goes_on_while_a_commit_runs_and_each_promise_waits_for_its_own() {
    let server = Running::start();
    let (mut anna, mut bartek) = (connect(&server, "anna"), connect(&server, "bartek"));
    let mut dorota = connect(&server, "dorota");
    absent(&server, "celina");
    anna.send(MESSAGE, 1, "celina", "in the first commit");
    let first = server.committing();
    // Applied while the first commit runs: the second has it.
    bartek.send(MESSAGE, 2, "celina", "in the second commit");
    bartek.send(MESSAGE, 3, "dorota", "live");
    assert_eq!(dorota.next().3, "live");
    dorota.send(RESPONSE, 3, "bartek", "200");
    anna.send(MESSAGE, 4, "celina", "behind the first, in the second commit");
    // Both are applied when what comes behind them has passed on.
    anna.send(MESSAGE, 5, "dorota", "last");
    assert_eq!(dorota.next().3, "last");
    assert!(anna.got_nothing(), "nothing is promised yet");
    assert!(bartek.got_nothing(), "nothing is promised yet");
    first.fails();
    let second = server.committing();
    let answer = |client: &mut Direct| {
        let (_, id, _, code) = client.next();
        (id, code)
    };
    assert_eq!(answer(&mut anna), (1, "507".into()), "the first commit's alone");
    assert!(anna.got_nothing(), "nothing is promised yet");
    assert!(bartek.got_nothing(), "nothing is promised yet");
    second.succeeds();
    assert_eq!(answer(&mut anna), (4, "300".into()));
    assert_eq!(answer(&mut bartek), (2, "300".into()));
    assert_eq!(answer(&mut bartek), (3, "200".into()), "in its order");
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_promise() {
    let server = Running::start();
    let mut anna = connect(&server, "anna");
    absent(&server, "celina");
    anna.send(MESSAGE, 1, "celina", "and that is all");
    let commit = server.committing();
    anna.stream.shutdown(std::net::Shutdown::Write).unwrap();
    // The server has seen the end when the name is free again.
    common::until("anna to be logged out", || {
        let mut again = Direct::connect(server.address, "anna");
        again.send(MESSAGE, 0, "nobody", "");
        (again.next().3 == "404").then_some(())
    });
    commit.succeeds();
    assert_eq!(anna.next().3, "300");
    assert_eq!(anna.stream.peek(&mut [0]).unwrap(), 0, "and then the end");
}

#[test]
fn nothing_tells_of_a_new_user_before_it_is_durable() {
    let server = Running::gathering(true);
    let mut anna = Direct::connect(server.address, "anna");
    let commit = server.committing();
    // Not even an answer that promises nothing.
    anna.send(MESSAGE, 0, "nobody", "");
    assert!(anna.got_nothing(), "nothing is promised yet");
    commit.succeeds();
    assert_eq!(anna.next().3, "404");
}

#[test]
fn a_log_in_that_was_refused_as_its_commit_failed_is_none() {
    let server = Running::start();
    let mut anna = connect(&server, "anna");
    absent(&server, "celina");
    let queue = Queue::open(server.queue).unwrap();
    let kim = Topics::log_in_at(queue, key(), "kim");
    anna.send(MESSAGE, 1, "celina", "in the first commit");
    let first = server.committing();
    let mut bartek = connect(&server, "bartek");
    bartek.send(MESSAGE, 2, "celina", "in the second commit");
    // Applied by when what is behind it is.
    bartek.send(MESSAGE, 3, "kim", "behind it");
    assert!(kim.next(0).2.ends_with("behind it"));
    let own = key();
    let (jan, _) = Queue::create(own, 0o600).unwrap();
    let jan = Topics { queue: Removed(jan), server: queue, key: own, id: own };
    jan.ask(request::LOG_IN, 0, 0, "jan");
    // What comes into the queue behind it is answered behind it.
    kim.ask(request::ALL_TOPICS, 0, 0, "");
    assert_eq!(kim.next(1).2, "");
    first.succeeds();
    server.committing().fails();
    assert_eq!(jan.log_in_answer(), -2);
    // Neither the name nor the key is taken.
    assert_eq!(jan.try_log_in("jan"), kim.id + 2);
}

/// A client of `topics` who has been sent something, and whose queue is full of what is not the
/// server's, which does not know it yet.
fn with_a_full_queue(server: &Running, sender: &mut Direct, name: &str) -> Topics {
    let client = Topics::log_in_at(Queue::open(server.queue).unwrap(), key(), name);
    sender.send(MESSAGE, 1, name, "the first");
    assert_eq!(sender.next().3, "200");
    assert_eq!(client.next(0).2.rsplit(' ').next(), Some("first"));
    let mut junk = [0; 1032];
    junk[..8].copy_from_slice(&JUNK.to_ne_bytes());
    while client.queue.send(&junk, false).is_ok() {}
    while client.queue.send(&junk[..9], false).is_ok() {}
    client
}

/// A type that the server does not send.
const JUNK: i64 = 1_000_000_000;

#[test]
fn a_promise_waits_for_what_a_queue_would_not_take_and_not_for_the_commit_under_way_alone() {
    let server = Running::start();
    let (mut anna, mut bartek) = (connect(&server, "anna"), connect(&server, "bartek"));
    let mut ewa = connect(&server, "ewa");
    absent(&server, "dorota");
    let celina = with_a_full_queue(&server, &mut bartek, "celina");
    anna.send(MESSAGE, 1, "dorota", "for later");
    let first = server.committing();
    bartek.send(MESSAGE, 2, "celina", "not taken");
    // It has been seen that it is not: the loop has gone on since.
    bartek.send(MESSAGE, 3, "ewa", "behind it");
    assert_eq!(ewa.next().3, "behind it");
    first.succeeds();
    assert_eq!(anna.next().3, "300");
    let second = server.committing();
    assert!(bartek.got_nothing(), "its message is not durable yet");
    second.succeeds();
    assert_eq!((bartek.next().3, 2), ("200".into(), 2));
    while celina.maybe_next(JUNK).is_some() {}
    assert!(celina.next(0).2.ends_with("not taken"));
}

/// Somebody who reads the group news.
fn reader_of_news(server: &Running) -> Topics {
    let reader = Topics::log_in_at(Queue::open(server.queue).unwrap(), key(), "reader");
    assert_eq!(reader.request(request::NEW_TOPIC, 0, 0, "news"), 0);
    assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    reader
}

/// While a commit is under way: a client is owed an answer that waits for it, and what comes next
/// for it waits behind.
fn owe_an_answer(client: &Topics, reader: &Topics) {
    client.ask(request::PUBLISH, 0, 3, "and waits for its answer");
    assert_eq!(reader.next(0).2, "news: and waits for its answer");
}

#[test]
fn what_was_held_for_a_queue_that_does_not_take_it_is_durable_before_its_promise() {
    let server = Running::start();
    let (mut anna, mut bartek) = (connect(&server, "anna"), connect(&server, "bartek"));
    let mut ewa = connect(&server, "ewa");
    absent(&server, "dorota");
    let celina = with_a_full_queue(&server, &mut bartek, "celina");
    let reader = reader_of_news(&server);
    anna.send(MESSAGE, 1, "dorota", "for later");
    let first = server.committing();
    owe_an_answer(&celina, &reader);
    bartek.send(MESSAGE, 2, "celina", "held, and then not taken");
    bartek.send(MESSAGE, 3, "ewa", "behind it");
    assert_eq!(ewa.next().3, "behind it");
    first.succeeds();
    assert_eq!(anna.next().3, "300");
    let second = server.committing();
    assert!(bartek.got_nothing(), "its message is not durable yet");
    second.succeeds();
    assert_eq!(bartek.next().3, "200");
    while celina.maybe_next(JUNK).is_some() {}
    assert_eq!(celina.next(2).1, 0);
    assert!(celina.next(0).2.ends_with("not taken"));
}

#[test]
fn a_client_that_reads_what_was_held_for_it_gets_what_waits_behind() {
    const MESSAGES: u32 = 120;
    let server = Running::start();
    let (mut anna, mut bartek) = (connect(&server, "anna"), connect(&server, "bartek"));
    absent(&server, "dorota");
    let celina = Topics::log_in_at(Queue::open(server.queue).unwrap(), key(), "celina");
    let reader = reader_of_news(&server);
    anna.send(MESSAGE, 1, "dorota", "for later");
    let first = server.committing();
    owe_an_answer(&celina, &reader);
    // More than there is room for in its queue.
    for n in 1..=MESSAGES {
        bartek.send(MESSAGE, n, "celina", &format!("{n:0990}"));
    }
    let mut ewa = connect(&server, "ewa");
    bartek.send(MESSAGE, 0, "ewa", "behind them");
    assert_eq!(ewa.next().3, "behind them");
    first.succeeds();
    let mut next = 1;
    common::until("all messages", || {
        while let Ok(commit) = server.began.as_ref().unwrap().try_recv() {
            commit.succeeds();
        }
        while let Some((kind, _, text)) = celina.maybe_next(0) {
            if kind != 2 {
                assert!(text.ends_with(&format!("{next:0990}")), "{text} instead of {next}");
                next += 1;
            }
        }
        (next > MESSAGES).then_some(())
    });
}
