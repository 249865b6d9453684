//! `topics`, against a real server and real queues.

mod common;

use std::process::{Child, Command};
use std::time::Duration;

use centrala_core::dialect::direct::{MESSAGE, RESPONSE};
use centrala_core::dialect::topics::{kind, request};
use centrala_sysv::{Queue, Receive, Removed};
use common::{Server, Topics, key, until};
use nix::sys::signal::Signal;

/// A group that exists, number 0.
fn with_group(more: &str) -> (Server, Topics) {
    let server = Server::start("", more);
    let owner = server.log_in("owner");
    assert_eq!(owner.request(request::NEW_TOPIC, 0, 0, "news"), 0);
    (server, owner)
}

#[test]
fn what_is_published_reaches_subscribers_in_both_dialects() {
    let (server, owner) = with_group("");
    let reader = server.log_in("reader");
    assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    assert_eq!(owner.request(request::PUBLISH, 0, 2, "first"), 0);
    assert_eq!(reader.next(0), (kind::TOPIC, 2, "news: first".into()));
    // From direct: to the group, and to one user.
    let mut anna = server.connect("anna");
    anna.send(MESSAGE, 1, "#news", "from afar");
    assert_eq!(anna.next().3, "200");
    assert_eq!(reader.next(kind::TOPIC).2, "news: from afar");
    anna.send(MESSAGE, 2, "reader", "and to you");
    assert_eq!(anna.next(), (RESPONSE, 2, "reader".into(), "200".into()));
    assert_eq!(reader.next(0).2, "anna: and to you");
    // And the lists.
    owner.ask(request::ALL_TOPICS, 0, 0, "");
    assert_eq!(owner.next(0), (kind::LIST, 0, "0. news".into()));
    assert_eq!(owner.next(0), (kind::LIST, 0, String::new()));
}

#[test]
fn a_log_in_with_a_key_that_has_no_queue_is_refused() {
    let server = Server::start("", "");
    let client = server.log_in("anna");
    let stranger = Topics { queue: Removed(Queue::private(0o600).unwrap()), key: key(), ..client };
    assert_eq!(stranger.try_log_in("bartek"), -1);
    // Nor with the server's own key: the answer goes where that key is waited for.
    let mut bold = stranger;
    bold.key = server.key;
    assert_eq!(bold.try_log_in("bartek"), -1);
}

#[test]
fn a_leftover_queue_is_taken_over_and_what_lay_in_it_is_dropped() {
    let key = key();
    let queue = Removed(Queue::create_new(key, 0o644).unwrap());
    for kind in [1i64, 7, 4711] {
        let mut message = kind.to_ne_bytes().to_vec();
        message.resize(40, 0);
        queue.send(&message, false).unwrap();
    }
    let server = Server::with_key(key, "", "");
    assert_eq!(server.queue(), *queue, "clients may wait at it");
    server.until_logged("took over the queue");
    let stat = queue.stat().unwrap();
    assert_eq!((stat.messages, stat.mode), (0, 0o600));
    server.log_in("anna");
}

#[test]
fn a_second_server_on_the_same_key_is_refused_and_the_first_one_goes_on() {
    let server = Server::start("", "");
    let config = format!("[topics]\nkey = {}\n", server.key);
    let (mut second, _directory) = common::command(&config);
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let error = String::from_utf8(output.stderr).unwrap();
    let last = error.lines().last().unwrap();
    assert!(last.contains(&format!("topics.key: key {} is in use", server.key)), "{error}");
    server.log_in("anna");
}

#[test]
fn sigterm_removes_the_queue_and_leaves_those_of_clients() {
    let mut server = Server::start("", "");
    let client = server.log_in("anna");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(Queue::open(server.key).is_err());
    assert!(client.queue.stat().is_ok());
}

#[test]
fn a_shutdown_request_removes_the_queues_that_a_log_in_bound_and_no_other() {
    let mut server = Server::start("", "");
    let client = server.log_in("anna");
    let other = Removed(Queue::create_new(key(), 0o600).unwrap());
    client.ask(request::SHUT_DOWN, 0, 0, "");
    assert_eq!(server.wait().code(), Some(0));
    assert!(Queue::open(server.key).is_err());
    assert!(client.queue.stat().is_err());
    assert!(other.stat().is_ok());
}

#[test]
fn a_shutdown_request_is_dropped_where_the_configuration_says_so() {
    let server = Server::start("shutdown = \"deny\"", "");
    let client = server.log_in("anna");
    client.ask(request::SHUT_DOWN, 0, 0, "");
    assert_eq!(client.request(request::NEW_TOPIC, 0, 0, "news"), 0);
    server.until_logged("the configuration refuses");
}

#[test]
fn many_at_once_in_both_dialects_lose_nothing_double_nothing_and_keep_the_order() {
    let (server, owner) = with_group("[accounts]\nregistrations_per_minute = 60000\n");
    let count = 300;
    let readers: Vec<Topics> = (0..4).map(|n| server.log_in(&format!("reader{n}"))).collect();
    let writers: Vec<Topics> = (0..4).map(|n| server.log_in(&format!("writer{n}"))).collect();
    for reader in &readers {
        assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    }
    let text = |who: usize, n: usize| format!("{who} {n} {}", "x".repeat(n % 300));
    std::thread::scope(|scope| {
        for (who, writer) in writers.iter().enumerate() {
            scope.spawn(move || {
                for n in 0..count {
                    assert_eq!(writer.request(request::PUBLISH, 0, 3, &text(who, n)), 0);
                }
            });
        }
        for who in 0..4 {
            let mut sender = server.connect(&format!("sender{who}"));
            scope.spawn(move || {
                for n in 0..count {
                    sender.send(MESSAGE, n as u32, &format!("reader{who}"), &text(who, n));
                }
                for n in 0..count {
                    let (_, id, _, code) = sender.next();
                    assert_eq!(id, n as u32);
                    // Its share of the queue may be full for 3 s: then it is kept.
                    assert!(code == "200" || code == "300", "{code}");
                }
            });
        }
        for (who, reader) in readers.iter().enumerate() {
            scope.spawn(move || {
                let mut next = [0; 5];
                while next != [count; 5] {
                    let (_, _, message) = reader.next(0);
                    let (name, message) = message.split_once(": ").unwrap();
                    let from: usize = message.split(' ').next().unwrap().parse().unwrap();
                    let place = if name == "news" { from } else { 4 };
                    let expected = text(if place == 4 { who } else { from }, next[place]);
                    assert_eq!(message, expected, "{name}");
                    next[place] += 1;
                }
            });
        }
    });
    for reader in &readers {
        assert_eq!(reader.maybe_next(0), None);
    }
    drop(owner);
}

/// A process for a client to be.
struct Process(Child);

impl Process {
    fn start() -> Process {
        Process(Command::new("sleep").arg("600").spawn().unwrap())
    }
    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_killed_client_is_logged_out_and_gets_what_it_had_not_read_at_its_next_log_in() {
    let (server, owner) = with_group("");
    let mut process = Process::start();
    let client = Topics::log_in(&server, process.pid(), "reader");
    assert_eq!(client.request(request::SUBSCRIBE, 0, -1, ""), 0);
    let mut anna = server.connect("anna");
    for n in 0..5 {
        assert_eq!(owner.request(request::PUBLISH, 0, 1 + n % 2, &format!("{n}")), 0);
        anna.send(MESSAGE, n as u32, "reader", &format!("to you {n}"));
        assert_eq!(anna.next().3, "200");
    }
    assert_eq!(client.next(kind::TOPIC).2, "news: 0", "this one it has read");
    let queue = *client.queue;
    client.abandon();
    let left = Removed(queue);
    process.kill();
    until("it is logged out", || (left.stat().unwrap().messages == 0).then_some(()));
    // The same name, from another process with another queue.
    let again = server.log_in("reader");
    let of_topic: Vec<String> = (0..4).map(|_| again.next(kind::TOPIC).2).collect();
    // By priority, and each in its order.
    assert_eq!(of_topic, ["news: 2", "news: 4", "news: 1", "news: 3"]);
    let from_anna: Vec<String> =
        (0..5).map(|_| until("from anna", || again.maybe_next(-2_000_000)).2).collect();
    assert_eq!(from_anna, (0..5).map(|n| format!("anna: to you {n}")).collect::<Vec<_>>());
}

/// Not a test: a client's process, that reads one message from the queue it is told of and stays.
#[test]
#[ignore = "a process for the test below"]
fn reads_from_a_queue_and_stays() {
    let Ok(key) = std::env::var("READ_FROM") else { return };
    let queue = Queue::open(key.parse().unwrap()).unwrap();
    queue.receive(&mut [0; 1100], 0, Receive { cut: true, ..Receive::WAIT }).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[test]
fn a_client_whose_key_is_no_pid_is_known_by_who_reads_from_its_queue() {
    let (server, owner) = with_group("");
    // Subscribed with another queue: this very process is not to read from the one that matters.
    let before = server.log_in("reader");
    assert_eq!(before.request(request::SUBSCRIBE, 0, -1, ""), 0);
    drop(before);
    let client = server.log_in("reader");
    let mut process = Process(
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "reads_from_a_queue_and_stays", "--ignored", "--nocapture"])
            .env("READ_FROM", client.key.to_string())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap(),
    );
    owner.request(request::PUBLISH, 0, 3, "read");
    until("the process has read it", || {
        let stat = client.queue.stat().unwrap();
        (stat.messages == 0 && stat.last_receive_pid != 0).then_some(())
    });
    owner.request(request::PUBLISH, 0, 3, "unread");
    process.kill();
    server.until_logged("process is gone");
    let again = server.log_in("reader");
    assert_eq!(again.next(0).2, "news: unread");
}

#[test]
fn an_answer_to_a_log_in_that_nobody_fetches_is_taken_back_with_what_was_delivered() {
    let server = Server::start("", "");
    let mut anna = server.connect("anna");
    let first = server.log_in("reader");
    drop(first);
    server.until_logged("queue is gone");
    anna.send(MESSAGE, 1, "reader", "for later");
    assert_eq!(anna.next().3, "300");
    // It logs in and dies before it looks.
    let silent = Topics {
        queue: Removed(Queue::create_new(key(), 0o600).unwrap()),
        server: server.queue(),
        key: 0,
        id: 0,
    };
    let its_key = silent.queue.stat().unwrap().key;
    Topics { id: its_key, ..silent }.log_in_and_forget("reader");
    server.until_logged("taken back");
    let again = server.log_in("reader");
    assert_eq!(again.next(0).2, "anna: for later");
}

trait Forget {
    fn log_in_and_forget(self, name: &str);
}

impl Forget for Topics {
    /// The queue stays for as long as the mail lies in it.
    fn log_in_and_forget(self, name: &str) {
        self.ask(request::LOG_IN, 0, 0, name);
        until("its mail is there", || (self.queue.stat().unwrap().messages == 1).then_some(()));
        until("its mail is gone", || (self.queue.stat().unwrap().messages == 0).then_some(()));
    }
}

#[test]
fn a_message_larger_than_any_request_does_not_stop_the_others() {
    let (server, owner) = with_group("");
    for (kind, len) in [(1i64, 1049), (4, 8000), (7, 4000)] {
        let mut message = kind.to_ne_bytes().to_vec();
        message.resize(len, b'x');
        server.queue().send(&message, true).unwrap();
    }
    assert_eq!(owner.request(request::NEW_TOPIC, 0, 0, "more"), 0);
    until("all are off", || (server.queue().stat().unwrap().messages == 0).then_some(()));
    server.signal(Signal::SIGUSR1);
    server.until_logged("oversize=3");
}

#[test]
fn types_that_nobody_reads_do_not_fill_the_queue_for_good() {
    let server = Server::start("", "");
    let queue = server.queue();
    let mut message = 424_242i64.to_ne_bytes().to_vec();
    message.resize(1000, b'x');
    let mut sent = 0;
    while queue.send(&message, false).is_ok() {
        sent += 1;
    }
    assert!(sent > 10);
    // Blocks in msgsnd until there is room.
    let client = server.log_in("anna");
    assert_eq!(client.request(request::NEW_TOPIC, 0, 0, "news"), 0);
}

#[test]
fn a_client_that_never_reads_does_not_stop_the_others_and_gets_all_in_order_later() {
    let (server, owner) = with_group("");
    let (lazy, reader) = (server.log_in("lazy"), server.log_in("reader"));
    for client in [&lazy, &reader] {
        assert_eq!(client.request(request::SUBSCRIBE, 0, -1, ""), 0);
    }
    let text = "x".repeat(1000);
    for n in 0..200 {
        assert_eq!(owner.request(request::PUBLISH, 0, 3, &format!("{n} {text}")), 0);
        assert!(reader.next(kind::TOPIC).2.starts_with(&format!("news: {n} ")));
    }
    let stat = lazy.queue.stat().unwrap();
    assert!(stat.bytes <= stat.max_bytes / 2, "deliveries fill half of it: {stat:?}");
    // It still gets its answers and its lists, which do not wait behind what it does not read.
    assert_eq!(lazy.request(request::NEW_TOPIC, 0, 0, "other"), 0);
    lazy.ask(request::ALL_TOPICS, 0, 0, "");
    assert_eq!(lazy.next(kind::LIST).2, "0. news");
    for n in 0..200 {
        assert!(lazy.next(kind::TOPIC).2.starts_with(&format!("news: {n} ")), "{n}");
    }
}

#[test]
fn a_queue_filled_by_somebody_else_costs_no_message() {
    let (server, owner) = with_group("");
    let reader = server.log_in("reader");
    assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    // The server cannot know of these until the queue is full.
    let mut message = 99i64.to_ne_bytes().to_vec();
    message.resize(4096, 0);
    while reader.queue.send(&message, false).is_ok() {}
    for n in 0..50 {
        owner.ask(request::PUBLISH, 0, 3, &format!("{n} {}", "y".repeat(1000)));
        assert_eq!(owner.next(kind::RESULT).1, 0);
    }
    let returned = || server.logged("returned=");
    until("the queue would not take one, and it came back", || {
        server.signal(Signal::SIGUSR1);
        returned().then_some(())
    });
    while reader.queue.receive(&mut [0; 8], 99, Receive::CUT).is_ok() {}
    for n in 0..50 {
        assert!(reader.next(kind::TOPIC).2.starts_with(&format!("news: {n} ")), "{n}");
    }
}

#[test]
fn a_client_whose_queue_is_removed_is_logged_out_and_its_mail_kept() {
    let (server, owner) = with_group("");
    let reader = server.log_in("reader");
    assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    drop(reader);
    assert_eq!(owner.request(request::PUBLISH, 0, 3, "where are you?"), 0);
    server.until_logged("queue is gone");
    let again = server.log_in("reader");
    assert_eq!(again.next(0).2, "news: where are you?");
}

#[test]
fn the_servers_queue_is_made_anew_when_somebody_removes_it() {
    let server = Server::start("", "");
    server.queue().remove().unwrap();
    until("there is a new one", || Queue::open(server.key).ok());
    server.log_in("anna");
}

#[test]
fn a_client_that_waits_behind_1024_unread_messages_gets_its_answers() {
    let (server, owner) = with_group("");
    let lazy = server.log_in("lazy");
    assert_eq!(lazy.request(request::SUBSCRIBE, 0, -1, ""), 0);
    for n in 0..1024 {
        assert_eq!(owner.request(request::PUBLISH, 0, 3, &format!("{n:016}")), 0);
    }
    assert_eq!(lazy.request(request::NEW_TOPIC, 0, 0, "other"), 0);
    lazy.ask(request::MY_TOPICS, 0, 0, "");
    assert_eq!(lazy.next(kind::LIST).2, "0. news");
    assert_eq!(lazy.next(kind::LIST).2, "");
    for n in 0..1024 {
        assert_eq!(lazy.next(kind::TOPIC).2, format!("news: {n:016}"));
    }
}
