//! `native` through a real server.

mod common;

use std::io::Write;

use centrala_core::dialect::native::{HEADER, How, Request, To, VERSION, Who};
use common::native::Native;
use common::sysv::Office;
use common::until;

fn publish(group: u32, text: &str) -> Vec<u8> {
    send(To::Group(Who::Number(group)), text)
}

/// A request to send that is not answered.
fn send(to: To<'_>, text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    encoded(0, &Request::Send { to, priority: 3, receipt: false, text })
}

fn encoded(id: u32, request: &Request<'_>) -> Vec<u8> {
    let mut out = vec![0; HEADER + 128 + 1024];
    let len = request.encode(id, &mut out).unwrap();
    out.truncate(len);
    out
}

/// Clients that are all members of group 1.
fn members(office: &Office, count: usize) -> Vec<Native> {
    let mut clients: Vec<Native> =
        (0..count).map(|n| Native::log_in(office.native, &format!("member {n}"))).collect();
    clients[0].ask(&Request::CreateGroup { name: b"news" });
    clients[0].done();
    for client in &mut clients {
        client.ask(&Request::Join { group: Who::Number(1), count: None });
        client.done();
    }
    clients
}

#[test]
fn what_is_published_in_bursts_comes_once_and_in_order_to_everybody() {
    let office = Office::start();
    let mut clients = members(&office, 6);
    for burst in 0..20 {
        let texts: Vec<String> = (0..150).map(|n| format!("{burst} {n}")).collect();
        let frames: Vec<u8> = texts.iter().flat_map(|text| publish(1, text)).collect();
        clients[0].stream.write_all(&frames).unwrap();
        for client in &mut clients[1..] {
            for text in &texts {
                assert_eq!(client.take(), *text);
            }
        }
    }
}

/// A promise holds back what is behind it on its link, and on no other, until the commit is over.
#[test]
fn bursts_between_promises_come_in_order_too() {
    let office = Office::start();
    office.make("away");
    let mut clients = members(&office, 4);
    let away = To::User(Who::Name(b"away"));
    for round in 0..30 {
        for (n, client) in clients.iter_mut().enumerate() {
            client.send(away, "kept");
            let burst: Vec<u8> =
                (0..10).flat_map(|m| publish(1, &format!("{n} {round} {m}"))).collect();
            client.stream.write_all(&burst).unwrap();
        }
        for client in &mut clients {
            assert_eq!(client.answer(), Ok(How::Stored));
        }
        for (n, client) in clients.iter_mut().enumerate() {
            let mut next = [0; 4];
            for _ in 0..30 {
                let text = client.take();
                let numbers: Vec<usize> = text.split(' ').map(|n| n.parse().unwrap()).collect();
                let [from, of, at] = numbers[..] else { panic!("{text}") };
                assert_eq!((of, at), (round, next[from]), "from {from} to {n}");
                next[from] += 1;
            }
            next[n] = 10;
            assert_eq!(next, [10; 4]);
        }
    }
}

#[test]
fn mail_comes_again_until_it_is_acknowledged() {
    let office = Office::start();
    let mut anna = Native::log_in(office.native, "anna");
    office.make("bartek");
    for n in 0..3 {
        anna.send(To::User(Who::Name(b"bartek")), &format!("nr {n}"));
        assert_eq!(anna.answer(), Ok(How::Stored));
    }
    let mut bartek = Native::log_in(office.native, "bartek");
    assert_eq!([bartek.next(), bartek.next(), bartek.next()].map(|(mark, _)| mark), [1, 2, 3]);
    bartek.ask(&Request::Ack { mark: 2 });
    bartek.ask(&Request::Ping);
    bartek.done();
    drop(bartek);
    let mut bartek = log_in_again(&office, "bartek");
    assert_eq!(bartek.next(), (1, "nr 2".into()));
    bartek.ask(&Request::Ack { mark: 1 });
    bartek.ask(&Request::Ping);
    bartek.done();
    drop(bartek);
    let mut bartek = log_in_again(&office, "bartek");
    bartek.send(To::User(Who::Name(b"bartek")), "to myself");
    assert_eq!(bartek.next(), (0, "to myself".into()), "nothing waited");
}

/// As soon as the server has seen that the connection before is over.
fn log_in_again(office: &Office, name: &str) -> Native {
    until("the end of a session", || Native::try_log_in(office.native, name).ok())
}

#[test]
fn a_client_that_reads_late_gets_everything() {
    let office = Office::start();
    let mut clients = members(&office, 2);
    let text = "x".repeat(900);
    // More than its connection takes, and less than a mailbox holds.
    for n in 0..900 {
        let frame = publish(1, &format!("{n} {text}"));
        clients[0].stream.write_all(&frame).unwrap();
    }
    for n in 0..900 {
        let got = clients[1].take();
        assert_eq!(got.split(' ').next(), Some(n.to_string().as_str()));
    }
}

#[test]
fn the_longest_texts_reach_one_that_reads_late_and_frames_are_cut_anywhere() {
    let office = Office::start();
    let mut anna = Native::log_in(office.native, "anna");
    let mut bartek = Native::log_in(office.native, "bartek");
    let texts: Vec<String> = (0..900).map(|n| format!("{n:>1024}")).collect();
    let to = To::User(Who::Number(bartek.user));
    // More than its connection takes, and less than a mailbox holds.
    let frames: Vec<u8> = texts.iter().flat_map(|text| send(to, text)).collect();
    for piece in frames.chunks(10_007) {
        anna.stream.write_all(piece).unwrap();
    }
    for text in &texts {
        assert_eq!(bartek.take(), *text);
    }
}

#[test]
fn one_to_several_in_turn_comes_in_order_to_each_behind_its_own_promises() {
    let office = Office::start();
    office.make("away");
    let away = To::User(Who::Name(b"away"));
    let mut anna = Native::log_in(office.native, "anna");
    let mut others: Vec<Native> =
        (0..3).map(|n| Native::log_in(office.native, &format!("other {n}"))).collect();
    let numbers: Vec<u32> = others.iter().map(|other| other.user).collect();
    for round in 0..30 {
        // What comes behind a promise of its link waits for that.
        for other in &mut others {
            other.send(away, "kept");
        }
        let mut burst = Vec::new();
        for n in 0..60 {
            for (at, number) in numbers.iter().enumerate() {
                // Now one by one, now several for the same in a row.
                for m in 0..=n % (at + 1) {
                    burst.extend(send(To::User(Who::Number(*number)), &format!("{round} {n} {m}")));
                }
            }
        }
        anna.stream.write_all(&burst).unwrap();
        for (at, other) in others.iter_mut().enumerate() {
            assert_eq!(other.answer(), Ok(How::Stored));
            for n in 0..60 {
                for m in 0..=n % (at + 1) {
                    assert_eq!(other.take(), format!("{round} {n} {m}"));
                }
            }
        }
    }
}

#[test]
fn what_is_said_behind_a_log_in_with_a_password_waits_for_it_and_is_obeyed() {
    let office = Office::start();
    let mut bartek = Native::log_in(office.native, "bartek");
    let mut anna = Native::connect(office.native);
    let user = Who::Name(b"anna");
    let mut said = encoded(1, &Request::Hello { version: VERSION, user, password: b"tajne" });
    let texts: Vec<String> = (0..500).map(|n| format!("{n:>200}")).collect();
    let to = To::User(Who::Number(bartek.user));
    said.extend(texts.iter().flat_map(|text| send(to, text)));
    for piece in said.chunks(5_003) {
        anna.stream.write_all(piece).unwrap();
    }
    for text in &texts {
        assert_eq!(bartek.take(), *text);
    }
}
