//! `native` through a real server.

mod common;

use std::io::Write;

use centrala_core::dialect::native::{HEADER, How, Request, To, Who};
use common::native::Native;
use common::sysv::Office;
use common::until;

fn publish(group: u32, text: &str) -> Vec<u8> {
    let to = To::Group(Who::Number(group));
    let request = Request::Send { to, priority: 3, receipt: false, text: text.as_bytes() };
    let mut out = vec![0; HEADER + 128 + text.len()];
    let len = request.encode(0, &mut out).unwrap();
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
