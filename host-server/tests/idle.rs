//! What a thousand clients cost that say nothing. A measurement: run it with
//! `cargo test -p centralad --test idle -- --ignored --nocapture`.

mod common;

use std::time::{Duration, Instant};

use centrala_core::dialect::topics::request;
use common::{Server, Topics};

/// Processor time of a process so far, in seconds.
fn used(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |field: &str| field.parse::<f64>().unwrap();
    (ticks(fields[11]) + ticks(fields[12])) / 100.0
}

fn measure(server: &Server, what: &str) {
    let (before, begun) = (used(server.child.id()), Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let share = (used(server.child.id()) - before) / begun.elapsed().as_secs_f64();
    println!("{what}: {:.2} % of a core", share * 100.0);
    assert!(share < 0.02, "{share}");
}

#[test]
#[ignore = "a measurement of half a minute"]
fn a_thousand_clients_that_say_nothing_cost_next_to_nothing() {
    let server = Server::start(
        "clients = 1000",
        "[limits]\nclients = 3000\n[accounts]\nregistrations_per_minute = 60000\n",
    );
    measure(&server, "nobody");
    let clients: Vec<Topics> = (0..1000).map(|n| server.log_in(&format!("c{n}"))).collect();
    let connections: Vec<_> = (0..1000).map(|n| server.connect(&format!("d{n}"))).collect();
    measure(&server, "1,000 queues and 1,000 connections");
    // Each with a backlog, as none reads.
    assert_eq!(clients[0].request(request::NEW_TOPIC, 0, 0, "news"), 0);
    for client in &clients[1..] {
        assert_eq!(client.request(request::SUBSCRIBE, 0, -1, ""), 0);
    }
    for _ in 0..20 {
        clients[0].request(request::PUBLISH, 0, 3, &"x".repeat(1000));
    }
    measure(&server, "the same, each with a backlog and a full queue");
    drop(connections);
}
