//! `direct`, against a real server.

mod common;

use std::io::Write;
use std::net::Shutdown;

use centrala_core::dialect::direct::{MESSAGE, RESPONSE};
use common::{Direct, Server, until};

/// Both are logged in when this returns.
fn pair(server: &Server) -> (Direct, Direct) {
    let (mut anna, mut bartek) = (server.connect("anna"), server.connect("bartek"));
    for client in [&mut anna, &mut bartek] {
        client.send(MESSAGE, 0, "nobody", "");
        assert_eq!(client.next().3, "404");
    }
    (anna, bartek)
}

#[test]
fn two_clients_talk_and_the_sender_gets_the_recipients_200() {
    let server = Server::start("", "");
    let (mut anna, mut bartek) = pair(&server);
    anna.send(MESSAGE, 7, "bartek", "cześć");
    assert_eq!(bartek.next(), (MESSAGE, 7, "anna".into(), "cześć".into()));
    bartek.send(RESPONSE, 7, "anna", "200");
    assert_eq!(anna.next(), (RESPONSE, 7, "bartek".into(), "200".into()));
}

#[test]
fn frames_split_anywhere_and_many_in_one_write_are_read_alike() {
    let server = Server::start("", "");
    let (mut anna, mut bartek) = pair(&server);
    let mut bytes = Vec::new();
    for id in 0..100 {
        bytes.extend(anna.frame(MESSAGE, id, "bartek", &"x".repeat(id as usize * 9)));
    }
    let (first, rest) = bytes.split_at(1000);
    for byte in first {
        anna.stream.write_all(&[*byte]).unwrap();
    }
    anna.stream.write_all(rest).unwrap();
    for id in 0..100 {
        assert_eq!(bartek.next().1, id);
        bartek.send(RESPONSE, id, "anna", "200");
    }
    for id in 0..100 {
        assert_eq!((anna.next().1, id), (id, id));
    }
}

#[test]
fn a_recipient_that_does_not_read_is_disconnected_and_nobody_else_waits() {
    let server = Server::start("", "");
    let (mut anna, bartek) = pair(&server);
    let mut celina = server.connect("celina");
    celina.send(MESSAGE, 0, "nobody", "");
    celina.next();
    // Far more than its connection takes, and a message for somebody else behind it.
    let text = "x".repeat(1000);
    for id in 0..300 {
        anna.send(MESSAGE, id, "bartek", &text);
    }
    anna.send(MESSAGE, 300, "celina", "and you?");
    assert_eq!(celina.next().3, "and you?");
    celina.send(RESPONSE, 300, "anna", "200");
    assert_eq!(anna.next(), (RESPONSE, 300, "celina".into(), "200".into()));
    // Bartek answered nothing within 3 s: it is closed, and all of it is mail.
    for id in 0..300 {
        assert_eq!(anna.next(), (RESPONSE, id, "bartek".into(), "300".into()));
    }
    drop(bartek);
    let mut bartek = server.connect("bartek");
    for id in 0..300 {
        assert_eq!(bartek.next(), (2, id, "anna".into(), text.clone()));
    }
}

#[test]
fn a_sender_that_does_not_read_its_answers_is_not_read_either_and_then_goes_on() {
    let server = Server::start("", "");
    let (mut anna, _bartek) = pair(&server);
    // An answer for each: more than all buffers on the way hold.
    let frame = anna.frame(MESSAGE, 1, "nobody", "");
    let mut writer = anna.stream.try_clone().unwrap();
    let count = 400_000;
    let sender = std::thread::spawn(move || {
        let many = frame.repeat(1000);
        for _ in 0..count / 1000 {
            writer.write_all(&many).unwrap();
        }
    });
    for _ in 0..count {
        assert_eq!(anna.next().3, "404");
    }
    sender.join().unwrap();
}

#[test]
fn what_was_asked_before_the_end_is_answered() {
    let server = Server::start("", "");
    let mut anna = server.connect("anna");
    let count = 5_000;
    for id in 0..count {
        anna.send(MESSAGE, id, "nobody", "");
    }
    anna.stream.shutdown(Shutdown::Write).unwrap();
    for id in 0..count {
        let answer = anna.next();
        assert_eq!((answer.1, answer.3.as_str()), (id, "404"));
    }
    assert_eq!(anna.maybe_next(), None);
}

#[test]
fn a_frame_with_another_name_is_refused_with_401_and_the_end() {
    let server = Server::start("", "");
    let (mut anna, bartek) = pair(&server);
    let frame = bartek.frame(MESSAGE, 3, "anna", "I am bartek");
    anna.stream.write_all(&frame).unwrap();
    assert_eq!(anna.next().3, "401");
    assert_eq!(anna.maybe_next(), None);
}

#[test]
fn a_connection_beyond_the_limit_is_closed_and_one_that_leaves_makes_room() {
    let server = Server::start("", "[limits]\nclients = 2\n");
    let (anna, mut bartek) = pair(&server);
    let mut celina = server.connect("celina");
    assert_eq!(celina.maybe_next(), None);
    drop(anna);
    until("celina is let in", || {
        let mut celina = server.connect("celina");
        // It may be closed before this is written.
        let frame = celina.frame(MESSAGE, 1, "bartek", "at last");
        celina.stream.write_all(&frame).ok()?;
        let (_, _, from, text) = bartek_next(&mut bartek)?;
        assert_eq!((from.as_str(), text.as_str()), ("celina", "at last"));
        Some(())
    });
}

/// What comes within a short while.
fn bartek_next(bartek: &mut Direct) -> Option<common::Got> {
    let short = std::time::Duration::from_millis(50);
    bartek.stream.set_read_timeout(Some(short)).unwrap();
    let mut byte = [0];
    let there = bartek.stream.peek(&mut byte).is_ok();
    bartek.stream.set_read_timeout(Some(common::LONG)).unwrap();
    there.then(|| bartek.next())
}
