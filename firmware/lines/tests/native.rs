//! Lines of `native` whose bytes get lost, doubled and flipped, beside lines of `direct`; and when a
//! session begins and ends on a line.

use centrala_core::dialect::direct::{FRAME_MAX, Frame, Look, MESSAGE, NAME_FIELD, RESPONSE};
use centrala_core::dialect::native::serial::{Arrived, Receiver, encode};
use centrala_core::dialect::native::{
    self, Chat, Event, How, Limit, List, Refusal, Request, To, VERSION, Who,
};
use centrala_core::exchange::Exchange;
use centrala_core::limits::Limits;
use centrala_lines::framing::Framing;
use centrala_lines::lines::{Line, TAKE_OVER};
use centrala_lines::serial;
use rig::{Random, noisy};
use std::collections::HashMap;

mod rig;

const LINES: usize = 4;
type Rig<'l, 'a> = rig::Rig<'l, 'a, LINES>;
const INPUT: usize = native::frame_max(Tables::MESSAGE_LENGTH);

centrala_core::storage! {
    struct Tables {
        users: 8,
        groups: 8,
        memberships: 24,
        sessions: LINES,
        messages: 16,
        message_length: 128,
        entries: 24,
        questions: 1,
    }
}

/// A rig whose memory is here: lines 0 and 1 speak `direct`, 2 and 3 `native`.
macro_rules! rig {
    ($rig:ident) => {
        let (mut tables, mut direct) =
            (Tables::EMPTY, [[0; Framing::buffer(Tables::MESSAGE_LENGTH)]; 2]);
        let mut native = [[0; INPUT]; 2];
        let mut exchange = Exchange::new(tables.lend(), Limits::new(Tables::MESSAGE_LENGTH));
        let ([a, b], [c, d]) = (&mut direct, &mut native);
        let lines = [Line::direct(a), Line::direct(b), Line::native(c), Line::native(d)];
        let mut $rig = Rig::new(&mut exchange, lines);
    };
}

/// A request as it goes over a line.
fn asked(id: u32, request: Request<'_>) -> Vec<u8> {
    let (mut frame, mut line) = (vec![0; 70_000], vec![0; 71_000]);
    let len = request.encode(id, &mut frame).expect("a frame");
    let len = encode(&frame[..len], &mut line).expect("a line");
    line.truncate(len);
    line
}

fn hello(id: u32, name: &str) -> Vec<u8> {
    let user = Who::Name(name.as_bytes());
    asked(id, Request::Hello { version: VERSION, user, password: b"" })
}

fn to_user<'a>(name: &'a str, text: &'a str) -> Request<'a> {
    let to = To::User(Who::Name(name.as_bytes()));
    Request::Send { to, priority: 3, receipt: false, text: text.as_bytes() }
}

/// What a client makes of what comes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Welcome(u32, String),
    Done(u32, How),
    Refused(u32, Refusal),
    /// From whom, the mark, the text.
    Message(String, u32, String),
    Row(String),
    Other,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("a text that nothing has hit")
}

/// The events in the bytes of a line, and how much of it was noise.
fn told(bytes: &[u8]) -> (Vec<Got>, usize) {
    let (mut got, mut noise) = (Vec::new(), 0);
    let mut buffer = [0; 1024];
    let mut receiver = Receiver::new(&mut buffer[..]);
    for byte in bytes {
        match receiver.push(*byte) {
            Arrived::Nothing => continue,
            Arrived::Noise | Arrived::TooLong(_) => {
                noise += 1;
                continue;
            }
            Arrived::Frame => {}
        }
        let (payload, _) = native::look(receiver.frame()).expect("a frame");
        got.push(match Event::decode(payload).expect("an event") {
            Event::Welcome { id, user, .. } => Got::Welcome(id, text(user.name)),
            Event::Done { id, how, .. } => Got::Done(id, how),
            Event::Refused { id, why } => Got::Refused(id, why),
            Event::Message(message) => {
                Got::Message(text(message.from.name), message.mark, text(message.text))
            }
            Event::Row { party, .. } => Got::Row(text(party.name)),
            _ => Got::Other,
        });
    }
    (got, noise)
}

/// What `native` was told.
trait Told {
    fn told(&mut self, line: usize) -> Vec<Got>;
}

impl Told for Rig<'_, '_> {
    fn told(&mut self, line: usize) -> Vec<Got> {
        let mut all = Vec::new();
        while let Some(bytes) = Some(self.bytes(line)).filter(|bytes| !bytes.is_empty()) {
            let (got, noise) = told(&bytes);
            assert_eq!(noise, 0, "the exchange sends no noise");
            all.extend(got);
        }
        all
    }
}

fn message(from: &str, mark: u32, text: &str) -> Got {
    Got::Message(from.to_owned(), mark, text.to_owned())
}

/// Logs a user in on a line of `native`.
fn log_in(rig: &mut Rig<'_, '_>, line: usize, name: &str) {
    rig.receive(line, &hello(1, name));
    assert_eq!(rig.told(line).first(), Some(&Got::Welcome(1, name.to_owned())));
}

fn field(name: &str) -> [u8; NAME_FIELD] {
    let mut field = [0; NAME_FIELD];
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
}

fn direct(kind: u16, id: u32, from: &str, to: &str, text: &str) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_MAX];
    let (src, dst) = (field(from), field(to));
    let frame = Frame { kind, id, src: &src, dst: &dst, text: text.as_bytes() };
    let len = frame.emit(&mut bytes).expect("a frame");
    bytes.truncate(len);
    bytes
}

/// Type, id, sender and text of each frame of `direct`.
fn frames(mut bytes: &[u8]) -> Vec<(u16, u32, String, String)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let Look::Frame(frame, len) = Frame::look(bytes) else { panic!("no frame: {bytes:?}") };
        frames.push((frame.kind, frame.id, text(frame.source()), text(frame.text)));
        bytes = &bytes[len..];
    }
    frames
}

#[test]
fn messages_cross_between_two_lines_of_direct_and_two_of_native() {
    rig!(rig);
    for (line, name) in [(0, "anna"), (1, "bartek")] {
        rig.receive(line, &direct(RESPONSE, 0, name, "", ""));
    }
    log_in(&mut rig, 2, "celina");
    log_in(&mut rig, 3, "dorota");
    let users = ["anna", "bartek", "celina", "dorota"];
    for round in 0..20 {
        for from in 0..4 {
            for to in (0..4).filter(|to| *to != from) {
                let (said, mut id) =
                    (format!("{round}: {from} to {to}"), round * 4 + to as u32 + 1);
                let asked_as = id;
                match from < 2 {
                    true => {
                        rig.receive(from, &direct(MESSAGE, id, users[from], users[to], &said));
                    }
                    false => rig.receive(from, &asked(id, to_user(users[to], &said))),
                }
                match to < 2 {
                    true => {
                        let got = frames(&rig.bytes(to));
                        // What comes from `native` has no number of `direct`.
                        id = got[0].1;
                        assert_eq!(got, [(MESSAGE, id, users[from].to_owned(), said)]);
                        rig.receive(to, &direct(RESPONSE, id, users[to], users[from], "200"));
                    }
                    false => assert_eq!(rig.told(to), [message(users[from], 0, &said)]),
                }
                match from < 2 {
                    true => assert_eq!(frames(&rig.bytes(from))[0].3, "200"),
                    false => assert_eq!(rig.told(from), [Got::Done(asked_as, How::Done)]),
                }
            }
        }
    }
    assert_eq!((rig.lines.noise(), rig.lines.exchange().usage().entries), (0, 0));
}

#[test]
fn a_hello_renews_the_session_and_mail_that_was_not_acknowledged_comes_again() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    log_in(&mut rig, 3, "bartek");
    rig.receive(3, &asked(2, Request::LogOut));
    assert_eq!(rig.told(3), [Got::Done(2, How::Done)]);
    for id in 3..6 {
        rig.receive(2, &asked(id, to_user("bartek", &format!("mail {id}"))));
        assert_eq!(rig.told(2), [Got::Done(id, How::Stored)]);
    }
    let welcome = Got::Welcome(1, "bartek".to_owned());
    let mail = |mark: u32| message("anna", mark, &format!("mail {}", mark + 2));
    rig.receive(3, &hello(1, "bartek"));
    assert_eq!(rig.told(3), [welcome.clone(), mail(1), mail(2), mail(3)]);
    // It left the line, and nobody says that it is there: it is reset.
    rig.wait(TAKE_OVER);
    rig.receive(3, &hello(1, "bartek"));
    assert_eq!(rig.told(3), [welcome.clone(), mail(1), mail(2), mail(3)]);
    rig.receive(3, &asked(0, Request::Ack { mark: 2 }));
    rig.receive(3, &hello(1, "bartek"));
    assert_eq!(rig.told(3), [welcome, message("anna", 1, "mail 5")]);
    rig.receive(3, &asked(0, Request::Ack { mark: 1 }));
    assert_eq!(rig.lines.exchange().usage().entries, 0);
}

#[test]
fn a_line_changes_hands_with_a_hello_and_what_is_for_the_one_before_stays() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    log_in(&mut rig, 3, "bartek");
    rig.receive(3, &hello(1, "celina"));
    assert_eq!(rig.told(3), [Got::Welcome(1, "celina".to_owned())]);
    rig.receive(2, &asked(2, to_user("bartek", "for you alone")));
    assert_eq!((rig.told(2), rig.told(3)), (vec![Got::Done(2, How::Stored)], vec![]));
    rig.receive(3, &hello(9, "bartek"));
    let welcome = Got::Welcome(9, "bartek".to_owned());
    assert_eq!(rig.told(3), [welcome, message("anna", 1, "for you alone")]);
}

#[test]
fn behind_a_log_out_everything_but_a_hello_is_refused() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    rig.receive(2, &asked(5, Request::LogOut));
    rig.receive(2, &asked(6, Request::Ping));
    assert_eq!(rig.told(2), [Got::Done(5, How::Done), Got::Refused(6, Refusal::NotLoggedIn)]);
    // Whoever asks and does not log in within 10 s begins anew without a word.
    rig.wait(20_000);
    rig.receive(2, &asked(7, Request::Ping));
    assert_eq!(rig.told(2), [Got::Refused(7, Refusal::NotLoggedIn)]);
    log_in(&mut rig, 2, "anna");
}

#[test]
fn a_peer_that_vanishes_in_the_middle_of_a_frame_costs_that_frame() {
    rig!(rig);
    log_in(&mut rig, 3, "bartek");
    let half = asked(2, to_user("bartek", "half of this"));
    // Where its last zero alone is missing, the next one ends it.
    for len in 1..half.len() - 1 {
        log_in(&mut rig, 2, "anna");
        let before = rig.lines.noise();
        rig.receive(2, &half[..len]);
        rig.wait(3_000);
        // Reset; the zero before its first frame ends the half.
        log_in(&mut rig, 2, "anna");
        rig.receive(2, &asked(3, to_user("bartek", "whole")));
        assert_eq!(rig.told(2), [Got::Done(3, How::Done)], "{len}");
        assert_eq!(rig.told(3), [message("anna", 0, "whole")], "{len}");
        assert_eq!(rig.lines.noise() - before, u32::from(len > 1), "{len}");
    }
}

#[test]
fn a_byte_lost_doubled_or_flipped_costs_its_frame_alone() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    log_in(&mut rig, 3, "bartek");
    let frame = asked(2, to_user("bartek", "a text with \0 in it"));
    for at in 1..frame.len() - 1 {
        let mut lost = frame.clone();
        lost.remove(at);
        let mut doubled = frame.clone();
        doubled.insert(at, frame[at]);
        let flipped = (0..8).map(|bit| {
            let mut flipped = frame.clone();
            flipped[at] ^= 1 << bit;
            flipped
        });
        for hit in [lost, doubled].into_iter().chain(flipped) {
            rig.receive(2, &hit);
            rig.receive(2, &asked(3, Request::Ping));
            assert_eq!(rig.told(2), [Got::Done(3, How::Done)], "{hit:x?}");
            assert_eq!(rig.told(3), [], "{hit:x?}");
        }
    }
    rig.receive(2, &frame);
    assert_eq!(rig.told(3), [message("anna", 0, "a text with \0 in it")]);
}

#[test]
fn a_frame_that_is_too_long_is_refused_with_its_limit_and_the_line_goes_on() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    log_in(&mut rig, 3, "bartek");
    for len in [129, 150, 229, 230, 231, 232, 250, 260, 300, 5_000, 60_000] {
        let long = "x".repeat(len);
        rig.receive(2, &asked(7, to_user("bartek", &long)));
        rig.receive(2, &asked(8, to_user("bartek", &"y".repeat(128))));
        let full = Refusal::Full { limit: Limit::MessageLength, size: 128 };
        assert_eq!(rig.told(2), [Got::Refused(7, full), Got::Done(8, How::Done)], "{len}");
        assert_eq!(rig.told(3), [message("anna", 0, &"y".repeat(128))], "{len}");
    }
    assert_eq!(rig.lines.noise(), 0);
}

#[test]
fn a_user_left_behind_on_a_silent_line_may_log_in_on_another_after_a_minute() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    rig.wait(TAKE_OVER - 1);
    rig.receive(3, &hello(4, "anna"));
    assert_eq!(rig.told(3), [Got::Refused(4, Refusal::InUse)]);
    // A client that keeps its line.
    rig.receive(2, &asked(5, Request::Ping));
    rig.wait(TAKE_OVER - 1);
    rig.receive(3, &hello(4, "anna"));
    assert_eq!(rig.told(3), [Got::Refused(4, Refusal::InUse)]);
    rig.wait(1);
    rig.told(2);
    rig.receive(3, &hello(5, "anna"));
    assert_eq!(rig.told(3), [Got::Welcome(5, "anna".to_owned())]);
    assert_eq!((rig.lines.user(2), rig.lines.user(3)), (0, 1));
    rig.receive(2, &asked(6, Request::Ping));
    assert_eq!(rig.told(2), [Got::Refused(6, Refusal::NotLoggedIn)]);
}

#[test]
fn a_history_is_refused_as_what_is_not_kept() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    rig.receive(2, &asked(2, Request::History { chat: Chat::Group(1), before: None, limit: 5 }));
    rig.receive(2, &asked(3, Request::Chats));
    let not_kept = |id| Got::Refused(id, Refusal::NotKept);
    assert_eq!(rig.told(2), [not_kept(2), not_kept(3)]);
    rig.receive(2, &asked(4, Request::ShutDown));
    assert_eq!(rig.told(2), [Got::Refused(4, Refusal::NotAllowed)]);
}

#[test]
fn a_line_with_room_for_one_frame_gets_everything_whatever_its_bytes() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    log_in(&mut rig, 3, "bartek");
    rig.out.free = serial::room_for(Tables::MESSAGE_LENGTH);
    for byte in ["\0", "\u{1}", "z"] {
        for len in [0, 1, 100, 127, 128] {
            let said = byte.repeat(len);
            for id in 1..4 {
                rig.receive(2, &asked(id, to_user("bartek", &said)));
                rig.told(2);
            }
            let got = rig.told(3);
            assert_eq!(got.len(), 3, "{got:?}");
            let whole = |got: &Got| matches!(got, Got::Message(_, _, text) if *text == said);
            assert!(got.iter().all(whole), "{got:?}");
            let marks = got.iter().filter_map(|got| match got {
                Got::Message(_, mark, _) => Some(*mark),
                _ => None,
            });
            if let Some(mark) = marks.max().filter(|mark| *mark != 0) {
                rig.receive(3, &asked(0, Request::Ack { mark }));
            }
        }
    }
    assert_eq!(rig.lines.exchange().usage().entries, 0);
}

#[test]
fn a_request_behind_a_list_that_has_no_room_waits_and_is_obeyed() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    let names: Vec<String> = (0..7).map(|number| format!("{number:029}")).collect();
    for name in &names {
        rig.receive(2, &asked(2, Request::CreateGroup { name: name.as_bytes() }));
        assert!(matches!(rig.told(2)[..], [Got::Done(2, How::Done)]));
    }
    rig.out.free = serial::room_for(Tables::MESSAGE_LENGTH);
    let both = [asked(5, Request::List(List::Groups)), asked(6, Request::Ping), hello(7, "celina")];
    rig.out.arriving[2].extend(both.concat());
    rig.turn();
    assert!(!rig.out.arriving[2].is_empty(), "the list goes on");
    let got = rig.told(2);
    let rows = [Got::Row("all".to_owned())].into_iter().chain(names.into_iter().map(Got::Row));
    let done = [Got::Done(5, How::Done), Got::Done(6, How::Done)];
    let welcome = Got::Welcome(7, "celina".to_owned());
    assert_eq!(got, rows.chain(done).chain([welcome]).collect::<Vec<_>>());
}

/// Sends under noise on every line of `native`, in both directions, and says how much arrived.
fn under_noise(seed: u64) -> usize {
    rig!(rig);
    let mut random = Random(seed);
    for (line, name) in [(0, "anna"), (1, "bartek")] {
        rig.receive(line, &direct(RESPONSE, 0, name, "", ""));
    }
    let users = ["anna", "bartek", "celina", "dorota"];
    let mut sent: HashMap<String, (usize, usize)> = HashMap::new();
    let mut arrived = 0;
    for number in 0..200 {
        let (from, to) = (random.below(4) as usize, random.below(4) as usize);
        let pad = "#".repeat(random.below(100) as usize);
        let said = format!("{number} of {seed} from {from} to {to} {pad}");
        sent.insert(said.clone(), (from, to));
        match from < 2 {
            // Their lines are clean here.
            true => rig.receive(from, &direct(MESSAGE, number, users[from], users[to], &said)),
            false => {
                let mut bytes = hello(1, users[from]);
                bytes.extend(asked(number, to_user(users[to], &said)));
                if random.below(3) == 0 {
                    // A burst, zeros among it.
                    bytes.extend((0..random.below(400)).map(|_| random.below(64) as u8 * 4));
                }
                if random.below(8) == 0 {
                    bytes.truncate(bytes.len() / 2);
                }
                rig.receive(from, &noisy(&bytes, &mut random, 150, 0));
            }
        }
        rig.wait([0, 1, 500, 4_000][random.below(4) as usize]);
        for line in 0..4 {
            let bytes = rig.bytes(line);
            if line < 2 {
                for (kind, id, from, said) in frames(&bytes) {
                    if kind == RESPONSE {
                        continue;
                    }
                    let (sender, to) = sent[&said];
                    assert_eq!((&from[..], line), (users[sender], to), "seed {seed}: {said}");
                    arrived += 1;
                    if kind == MESSAGE && sender != to {
                        rig.receive(line, &direct(RESPONSE, id, users[line], &from, "200"));
                    }
                }
                continue;
            }
            let bytes = noisy(&bytes, &mut random, 150, 0);
            for got in told(&bytes).0 {
                if let Got::Message(from, mark, said) = got {
                    let (sender, to) = sent[&said];
                    assert_eq!((&from[..], line), (users[sender], to), "seed {seed}: {said}");
                    arrived += 1;
                    rig.receive(line, &asked(0, Request::Ack { mark }));
                }
            }
        }
    }
    // With the noise it is over.
    rig.wait(4_000);
    (0..4).for_each(|line| drop(rig.bytes(line)));
    for line in [2, 3] {
        rig.receive(line, &hello(1_000, users[line]));
        let got = rig.told(line);
        let welcome = Got::Welcome(1_000, users[line].to_owned());
        assert!(got.contains(&welcome), "seed {seed}: {got:?}");
    }
    rig.receive(2, &asked(1_001, to_user("dorota", "clean")));
    assert!(rig.told(2).contains(&Got::Done(1_001, How::Done)), "seed {seed}");
    assert!(rig.told(3).contains(&message("celina", 0, "clean")), "seed {seed}");
    arrived
}

#[test]
fn under_noise_everybody_gets_what_was_sent_to_them_as_it_was_sent_and_nothing_else() {
    let arrived: usize = (0..60).map(under_noise).sum();
    assert!(arrived > 60 * 40, "no more than {arrived} arrived");
}

#[test]
fn noise_alone_changes_nothing() {
    rig!(rig);
    log_in(&mut rig, 2, "anna");
    log_in(&mut rig, 3, "bartek");
    let mut random = Random(7);
    for _ in 0..400 {
        let bytes: Vec<u8> = (0..random.below(500)).map(|_| random.below(256) as u8).collect();
        rig.receive(2, &bytes);
    }
    assert_eq!((rig.told(2), rig.told(3)), (vec![], vec![]));
    assert!(rig.lines.noise() > 100);
    assert_eq!((rig.lines.user(2), rig.lines.user(3)), (1, 2));
    rig.receive(2, &asked(2, to_user("bartek", "hej")));
    assert_eq!(rig.told(3), [message("anna", 0, "hej")]);
}
