//! `queues` against the real server, over real queues.

mod common;

use std::process::Command;

use centrala_core::dialect::queues::kind;
use centrala_sysv::{Queue, Receive};
use common::sysv::{Held, Office, compile};
use common::{key, until};

/// Removes queues at the end that a client in C could not remove.
struct Keys(Vec<i32>);

impl Drop for Keys {
    fn drop(&mut self) {
        for queue in self.0.iter().filter_map(|key| Queue::open(*key).ok()) {
            let _ = queue.remove();
        }
    }
}

/// Runs the client in C, with two queues of its own.
fn run(office: &Office, what: &str) {
    let directory = tempfile::tempdir().unwrap();
    let program = compile("queues_client.c", directory.path());
    let keys = Keys(vec![key(), key()]);
    let output = Command::new(program)
        .args([what, &office.queues.to_string(), &keys.0[0].to_string(), &keys.0[1].to_string()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server with two users who are away, ola and jan, and the group news.
fn office() -> Office {
    let office = Office::with("", "[limits]\nusers = 200\n");
    office.make("ola");
    office.make("jan");
    let maker = office.log_in("maker");
    assert_eq!(maker.request(2, 0, 0, "news"), 0);
    office
}

#[test]
fn a_client_in_c_gets_what_its_document_says() {
    run(&office(), "talk");
}

#[test]
fn a_client_that_waits_behind_39_unread_messages_gets_its_answers() {
    run(&office(), "blocked");
}

#[test]
fn a_client_whose_process_is_killed_is_logged_out_and_loses_nothing() {
    let office = office();
    let ola = office.log_in_queues("ola");
    let mut held = Held::start("queues_client.c", office.queues, "jan");
    let keys = Keys(vec![held.child.id() as i32]);
    for n in 0..50 {
        ola.write(held.number, &format!("nr {n}"));
    }
    // It is there until it is killed, and its queue stays.
    assert!(ola.ask(kind::ONLINE, &ola.index.to_string()).contains("jan"));
    held.kill();
    until("the log-out", || {
        (!ola.ask(kind::ONLINE, &ola.index.to_string()).contains("jan")).then_some(())
    });
    assert!(Queue::open(keys.0[0]).is_ok());
    // Another process with the same queue.
    let jan = office.log_in_queues_at(keys.0[0], "jan");
    for n in 0..50 {
        assert_eq!(jan.next(0).text, format!("nr {n}"));
    }
    assert_eq!(jan.maybe_next(0), None);
}

#[test]
fn a_client_whose_queue_is_removed_is_logged_out() {
    let office = office();
    let ola = office.log_in_queues("ola");
    let jan = office.log_in_queues("jan");
    ola.write(jan.index as u32, "read");
    assert_eq!(jan.next(0).text, "read");
    let number = jan.index as u32;
    drop(jan);
    // This finds it out at once, and is kept.
    ola.write(number, "kept");
    until("the log-out", || {
        (!ola.ask(kind::ONLINE, &ola.index.to_string()).contains("jan")).then_some(())
    });
    assert_eq!(office.log_in_queues("jan").next(0).text, "kept");
}

#[test]
fn keys_of_the_servers_own_and_of_others_are_not_written_to() {
    let office = office();
    let ola = office.log_in_queues("ola");
    let server = office.queues_server();
    let before: Vec<_> = [office.queues_server(), office.lanes_queue(), office.queue()]
        .map(|queue| queue.stat().unwrap().max_bytes)
        .into();
    for key in [0, -1, office.queues, office.lanes, office.key, ola.key] {
        ola.send(kind::LOG_IN, key, "jan");
        ola.send(kind::LOG_IN, key, "x");
    }
    ola.ask(kind::ONLINE, &ola.index.to_string());
    assert_eq!(ola.maybe_next(0), None);
    for (queue, bytes) in [server, office.lanes_queue(), office.queue()].into_iter().zip(before) {
        assert_eq!(
            queue.receive(&mut [0; 512], 0, Receive::CUT),
            Err(centrala_sysv::Errno::ENOMSG)
        );
        assert_eq!(queue.stat().unwrap().max_bytes, bytes);
    }
}

#[test]
fn junk_of_any_type_and_size_does_not_stop_the_server() {
    let office = office();
    let ola = office.log_in_queues("ola");
    for kind in 1..200i64 {
        let mut junk = kind.to_ne_bytes().to_vec();
        junk.resize(8 + (kind as usize * 41) % 8000, 7);
        office.queues_server().send(&junk, true).unwrap();
    }
    assert!(ola.ask(kind::ONLINE, &ola.index.to_string()).contains("ola"));
    assert_eq!(office.queues_server().stat().unwrap().messages, 0);
}
