//! `lanes` against the real server, over a real queue.

mod common;

use std::time::Instant;

use centrala_core::dialect::lanes::{Order, answer_lane, lane};
use centrala_sysv::Queue;
use common::sysv::{GROUPS, Held, Lanes, Office, USERS, element, run_lanes, take};
use common::until;

/// A server with users who are away, and the group news.
fn office() -> Office {
    office_with("")
}

fn office_with(lanes: &str) -> Office {
    let office = Office::with(lanes, "");
    for name in ["ola", "jan", "ewa"] {
        office.make(name);
    }
    assert_eq!(office.log_in("maker").request(2, 0, 0, "news"), 0);
    office
}

#[test]
fn a_client_in_c_gets_what_its_document_says() {
    let office = office();
    run_lanes(&office, "talk", &[office.names.to_str().unwrap()]);
}

#[test]
fn one_that_never_reads_stops_nobody_and_gets_its_messages_in_order_later() {
    let office = office();
    let idle = office.log_in_lanes("ola");
    // The queue has its ordinary size, as for a server that may not raise it.
    office.lanes_queue().set_max_bytes(16_384).unwrap();
    let twenty: Vec<Lanes> = (0..20).map(|n| office.log_in_lanes(&format!("u{n}"))).collect();
    let mut sent = 0;
    for n in 0..300 {
        let text = format!("unread {n} {}", "x".repeat(100));
        assert_eq!(twenty[n % 20].ask(Order::ToUser(idle.user), &text), "Wiadomosc wyslana");
        sent += 1;
    }
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (n, client) in twenty.iter().enumerate() {
            let to = twenty[(n + 1) % 20].user;
            scope.spawn(move || {
                // Each waits for its answer before it sends the next, and reads what comes.
                let mut read = 0;
                for i in 0..1000 {
                    client.send(Order::ToUser(to), &format!("nr {i}"));
                    let mut answered = false;
                    until("an answer and a message", || {
                        let answer = answer_lane(client.user, client.users);
                        if let (false, Some(got)) = (answered, take(client.queue, answer)) {
                            assert_eq!(got.2, "Wiadomosc wyslana");
                            answered = true;
                        }
                        while let Some(got) = client.maybe_next() {
                            assert_eq!(got.2, format!("nr {read}"));
                            read += 1;
                        }
                        answered.then_some(())
                    });
                }
                while read < 1000 {
                    assert_eq!(client.next().2, format!("nr {read}"));
                    read += 1;
                }
            });
        }
    });
    println!("20,000 messages beside one who never reads: {:?}", begun.elapsed());
    for n in 0..sent {
        assert!(idle.next().2.starts_with(&format!("unread {n} ")));
    }
    assert_eq!(idle.maybe_next(), None);
}

#[test]
fn many_that_never_read_make_room_for_one_that_does() {
    let office = office_with("users = 99");
    office.lanes_queue().set_max_bytes(16_384).unwrap();
    let idle: Vec<Lanes> = (0..20).map(|n| office.log_in_lanes(&format!("idle{n}"))).collect();
    let (ola, jan) = (office.log_in_lanes("ola"), office.log_in_lanes("jan"));
    for n in 0..3 {
        for client in &idle {
            let text = format!("nr {n} {}", "x".repeat(480));
            assert_eq!(ola.ask(Order::ToUser(client.user), &text), "Wiadomosc wyslana");
        }
    }
    let begun = Instant::now();
    for n in 0..50 {
        let text = format!("nr {n} {}", "x".repeat(480));
        assert_eq!(ola.ask(Order::ToUser(jan.user), &text), "Wiadomosc wyslana");
        assert_eq!(jan.next().2, text);
    }
    println!("50 messages beside 20 who never read: {:?}", begun.elapsed());
    for client in &idle {
        for n in 0..3 {
            assert!(client.next().2.starts_with(&format!("nr {n} ")));
        }
        assert_eq!(client.maybe_next(), None);
    }
}

#[test]
fn answers_that_nobody_reads_do_not_fill_the_queue() {
    let office = office();
    office.lanes_queue().set_max_bytes(16_384).unwrap();
    let (ola, jan) = (office.log_in_lanes("ola"), office.log_in_lanes("jan"));
    for _ in 0..2000 {
        ola.send(Order::Online, "");
    }
    assert_eq!(jan.ask(Order::ToUser(jan.user), "sobie"), "Wiadomosc wyslana");
    assert_eq!(jan.next().2, "sobie");
    assert!(office.lanes_queue().stat().unwrap().bytes < 16_384 / 2);
    assert!(ola.answer().2.contains("ola,"));
}

#[test]
fn answers_that_wait_for_room_when_their_client_logs_out_still_come() {
    let office = office();
    office.lanes_queue().set_max_bytes(16_384).unwrap();
    let (ola, jan) = (office.log_in_lanes("ola"), office.log_in_lanes("jan"));
    // An eighth of the queue is 2048 bytes, and each answer has 9.
    let count = 2048 / 9 + 40;
    for _ in 0..count {
        ola.send(Order::Join(1), "");
    }
    ola.send(Order::LogOut, "");
    assert!(!jan.ask(Order::Online, "").contains("ola,"), "all is done");
    for _ in 0..count {
        assert_eq!(ola.answer(), (lane(ola.user) as i32, 1, String::new()));
    }
    ola.answer();
}

#[test]
fn junk_that_would_fill_the_queue_is_removed() {
    let office = office();
    let (ola, queue) = (office.log_in_lanes("ola"), office.lanes_queue());
    let above = answer_lane(USERS, USERS) + 1;
    // Types above all, and the lane of a user who is not there.
    for lane in [above, 1_000_000, lane(USERS)] {
        for _ in 0..8 {
            queue.send(&element(lane, 0, 0, &"x".repeat(300)), false).unwrap();
        }
    }
    queue.send(&[&above.to_ne_bytes()[..], &[7; 7000]].concat(), false).unwrap();
    until("an empty queue", || (queue.stat().unwrap().messages == 0).then_some(()));
    assert_eq!(ola.ask(Order::ToUser(ola.user), "sobie"), "Wiadomosc wyslana");
    office.until_logged("removed messages that nobody would read");
}

#[test]
fn a_client_that_is_killed_can_log_in_again_at_once_and_loses_nothing() {
    let office = office();
    let ola = office.log_in_lanes("ola");
    let mut held = Held::start("lanes_client.c", office.lanes, "jan x");
    let user = held.number - 3;
    for n in 0..50 {
        let said = ola.ask(Order::ToUser(user), &format!("nr {n}"));
        assert_eq!(said, "Wiadomosc wyslana");
    }
    let mut jan = Lanes { user: 0, ..ola };
    assert_eq!(jan.try_log_in("jan"), "Taka osoba juz jest zalogowana\n");
    held.kill();
    assert_eq!(jan.try_log_in("jan"), "Zalogowano\n");
    assert_eq!(jan.user, user);
    for n in 0..50 {
        assert_eq!(jan.next(), (lane(ola.user) as i32, 0, format!("nr {n}")));
    }
    assert_eq!(jan.maybe_next(), None);
}

#[test]
fn a_queue_that_is_removed_is_made_anew_and_its_clients_go_on() {
    let office = office();
    let ola = office.log_in_lanes("ola");
    let before = office.lanes_queue();
    before.remove().unwrap();
    let queue = until("a new queue", || Queue::open(office.lanes).ok().filter(|q| *q != before));
    let ola = Lanes { queue, ..ola };
    assert_eq!(ola.ask(Order::ToUser(ola.user), "sobie"), "Wiadomosc wyslana");
    assert_eq!(ola.next().2, "sobie");
}

#[test]
fn a_leftover_queue_keeps_its_deliveries_and_nothing_else() {
    let office = office();
    let (ola, jan) = (office.log_in_lanes("ola"), office.log_in_lanes("jan"));
    for n in 0..10 {
        ola.ask(Order::ToUser(jan.user), &format!("nr {n}"));
    }
    ola.send(Order::Online, "");
    until("an answer that is not read", || {
        (office.lanes_queue().stat().unwrap().messages == 11).then_some(())
    });
    let office = office.restart();
    assert_eq!(office.lanes_queue().stat().unwrap().messages, 10);
    office.until_logged("took over the queue of a server that is gone");
    // Users are made anew, as this server keeps nothing.
    for name in ["ola", "jan"] {
        let client = office.log_in_lanes(name);
        if name == "jan" {
            for n in 0..10 {
                assert_eq!(client.next().2, format!("nr {n}"));
            }
        }
    }
}

#[test]
fn the_file_of_names_follows_users_and_groups() {
    let office = office();
    let names = || std::fs::read_to_string(&office.names).unwrap();
    let text = names();
    assert_eq!(text.lines().count(), (USERS + GROUPS) as usize);
    assert!(text.starts_with("o 1 ola \no 2 jan \no 3 ewa \no 4 maker \no 5 - \n"));
    assert!(text.contains("\ng 1 news \ng 2 - \n"));
    let ewa = office.log_in_lanes("ewa");
    assert_eq!(ewa.ask(Order::Join(1), ""), "");
    assert!(names().contains("\ng 1 news 3 \n"), "as soon as it is answered");
    let new = office
        .names
        .with_file_name(format!("{}.new", office.names.file_name().unwrap().to_str().unwrap()));
    assert!(!new.exists());
}
