//! Lines of `direct` whose bytes get lost, doubled and flipped; and when a session begins and ends on a line.

use centrala_core::dialect::direct::{
    FRAME_MAX, Frame, HEADER, Look, MESSAGE, NAME_FIELD, OFFLINE, RESPONSE,
};
use centrala_core::exchange::Exchange;
use centrala_core::limits::Limits;
use centrala_lines::framing::{Framing, HALF, QUIET};
use centrala_lines::lines::{Line, RESERVE, TAKE_OVER};
use rig::{Random, noisy};

mod rig;

const LINES: usize = 3;
type Rig<'l, 'a> = rig::Rig<'l, 'a, LINES>;
const INPUT: usize = Framing::buffer(Tables::MESSAGE_LENGTH);

centrala_core::storage! {
    struct Tables {
        users: 8,
        groups: 2,
        memberships: 8,
        sessions: LINES,
        messages: 16,
        message_length: 128,
        entries: 24,
        questions: 1,
    }
}

/// A rig whose memory is here.
macro_rules! rig {
    ($rig:ident) => {
        let (mut tables, mut inputs) = (Tables::EMPTY, [[0; INPUT]; LINES]);
        let mut exchange = Exchange::new(tables.lend(), Limits::new(Tables::MESSAGE_LENGTH));
        let lines = inputs.each_mut().map(|input| Line::direct(input));
        let mut $rig = Rig::new(&mut exchange, lines);
    };
}

/// What `direct` was sent.
trait Sent {
    /// The frames that a line was sent: type, id, from, to, text.
    fn sent(&mut self, line: usize) -> Vec<(u16, u32, String, String, Vec<u8>)>;
    /// The texts that a line was sent.
    fn texts(&mut self, line: usize) -> Vec<String>;
}

impl Sent for Rig<'_, '_> {
    fn sent(&mut self, line: usize) -> Vec<(u16, u32, String, String, Vec<u8>)> {
        frames(&self.bytes(line))
    }
    fn texts(&mut self, line: usize) -> Vec<String> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        self.sent(line).into_iter().map(|frame| text(frame.4)).collect()
    }
}

fn frames(mut bytes: &[u8]) -> Vec<(u16, u32, String, String, Vec<u8>)> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let Look::Frame(frame, len) = Frame::look(bytes) else { panic!("no frame: {bytes:?}") };
        let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let (from, to) = (name(frame.source()), name(frame.destination()));
        frames.push((frame.kind, frame.id, from, to, frame.text.to_vec()));
        bytes = &bytes[len..];
    }
    frames
}

fn field(name: &str) -> [u8; NAME_FIELD] {
    let mut field = [0; NAME_FIELD];
    field[..name.len()].copy_from_slice(name.as_bytes());
    field
}

fn frame(kind: u16, id: u32, from: &str, to: &str, text: &str) -> Vec<u8> {
    let (src, dst) = (field(from), field(to));
    let mut bytes = vec![0; FRAME_MAX];
    let frame = Frame { kind, id, src: &src, dst: &dst, text: text.as_bytes() };
    let len = frame.emit(&mut bytes).expect("a frame");
    bytes.truncate(len);
    bytes
}

fn hello(name: &str) -> Vec<u8> {
    frame(RESPONSE, 0, name, "", "")
}

/// Anna on line 0, bartek on line 1.
fn both(rig: &mut Rig<'_, '_>) {
    rig.receive(0, &hello("anna"));
    rig.receive(1, &hello("bartek"));
    assert_eq!((rig.sent(0).len(), rig.sent(1).len()), (0, 0));
}

#[test]
fn a_message_goes_from_line_to_line_and_its_answer_back() {
    rig!(rig);
    both(&mut rig);
    rig.receive(0, &frame(MESSAGE, 7, "anna", "bartek", "cześć"));
    let (from, to, text) = ("anna".to_owned(), "bartek".to_owned(), "cześć".as_bytes().to_vec());
    assert_eq!(rig.sent(1), [(MESSAGE, 7, from, to, text)]);
    rig.receive(1, &frame(RESPONSE, 7, "bartek", "anna", "200"));
    assert_eq!(rig.texts(0), ["200"]);
}

#[test]
fn half_a_frame_is_dropped_after_its_time_and_the_session_goes_on() {
    rig!(rig);
    both(&mut rig);
    let message = frame(MESSAGE, 1, "anna", "bartek", "half of this");
    rig.receive(0, &message[..30]);
    rig.wait(HALF - 1);
    rig.receive(0, &message[30..]);
    assert_eq!(rig.texts(1), ["half of this"], "in time");
    rig.receive(1, &frame(RESPONSE, 1, "bartek", "anna", "200"));
    rig.receive(0, &message[..30]);
    rig.wait(HALF);
    rig.receive(0, &frame(MESSAGE, 2, "anna", "bartek", "another"));
    assert_eq!(rig.texts(1), ["another"]);
    assert_eq!(rig.texts(0), ["200"]);
    assert_eq!(rig.lines.noise(), 30);
}

#[test]
fn what_is_no_frame_is_answered_400_once_and_dropped_up_to_the_next_frame_under_the_same_name() {
    rig!(rig);
    both(&mut rig);
    for lost in [0, 1, 2, 3, 9] {
        // What is left of a frame whose first bytes were lost, and the next two right behind it.
        let mut bytes = frame(MESSAGE, 5, "anna", "bartek", "cut off");
        bytes.drain(..=lost);
        bytes.extend(frame(MESSAGE, 6, "anna", "bartek", "whole"));
        bytes.extend(frame(MESSAGE, 7, "anna", "bartek", "and another"));
        rig.receive(0, &bytes);
        let got = rig.texts(1);
        assert!(got.ends_with(&["and another".to_owned()]), "{lost} lost: {got:?}");
        let codes = rig.texts(0);
        assert!(codes.iter().filter(|code| *code == "400").count() <= 1, "{lost}: {codes:?}");
        rig.receive(1, &frame(RESPONSE, 6, "bartek", "anna", "200"));
        rig.receive(1, &frame(RESPONSE, 7, "bartek", "anna", "200"));
        rig.wait(HALF);
        rig.sent(0);
    }
}

#[test]
fn after_silence_any_frame_ends_a_hunt() {
    rig!(rig);
    both(&mut rig);
    rig.receive(0, &[0xff; 100]);
    assert_eq!(rig.texts(0), ["400"]);
    rig.receive(0, &frame(MESSAGE, 3, "celina", "bartek", "lost among the noise"));
    assert_eq!(rig.texts(1), [""; 0]);
    rig.wait(QUIET);
    rig.receive(0, &frame(MESSAGE, 4, "celina", "bartek", "after it"));
    assert_eq!(rig.texts(1), ["after it"]);
}

#[test]
fn a_line_changes_hands_by_a_hello_or_by_the_first_message_of_a_client() {
    rig!(rig);
    both(&mut rig);
    let user = |rig: &Rig<'_, '_>| rig.lines.user(0);
    rig.receive(0, &hello("celina"));
    assert_eq!(user(&rig), 3);
    // Not a client's first: a name that noise made up looks the same.
    rig.receive(0, &frame(MESSAGE, 1, "dorota", "bartek", "?"));
    assert_eq!((rig.texts(0), rig.texts(1), user(&rig)), (vec!["401".into()], vec![], 0));
    rig.receive(0, &hello("celina"));
    rig.receive(0, &frame(MESSAGE, 0, "dorota", "bartek", "it is me"));
    assert_eq!((rig.texts(1), user(&rig)), (vec!["it is me".into()], 4));
    // Celina is not here any more, and neither is what she had not confirmed.
    rig.receive(1, &frame(MESSAGE, 9, "bartek", "celina", "later"));
    assert_eq!(rig.texts(1), ["300"]);
}

#[test]
fn a_name_left_behind_on_a_silent_line_is_free_after_a_minute_and_in_use_before() {
    rig!(rig);
    both(&mut rig);
    rig.wait(TAKE_OVER - 1);
    rig.receive(2, &hello("anna"));
    assert_eq!((rig.texts(2), rig.lines.user(0), rig.lines.user(2)), (vec!["409".into()], 1, 0));
    rig.wait(1);
    rig.receive(2, &hello("anna"));
    assert_eq!((rig.texts(2), rig.lines.user(0), rig.lines.user(2)), (vec![], 0, 1));
}

#[test]
fn a_frame_that_is_too_long_and_breaks_off_is_over_after_its_time() {
    rig!(rig);
    both(&mut rig);
    let long = frame(MESSAGE, 1, "anna", "bartek", &"x".repeat(900));
    rig.receive(0, &long[..500]);
    assert_eq!(rig.texts(0), ["507"]);
    rig.wait(HALF);
    rig.receive(0, &frame(MESSAGE, 2, "anna", "bartek", "short"));
    assert_eq!(rig.texts(1), ["short"]);
    rig.receive(0, &long);
    rig.receive(0, &frame(MESSAGE, 3, "anna", "bartek", "behind it"));
    assert_eq!((rig.texts(0), rig.texts(1)), (vec!["507".into()], vec!["behind it".into()]));
}

#[test]
fn a_line_that_takes_nothing_is_not_read_and_what_it_did_not_confirm_comes_again() {
    rig!(rig);
    both(&mut rig);
    rig.out.free = RESERVE + INPUT;
    let text = "y".repeat(100);
    for id in 0..6 {
        rig.receive(0, &frame(MESSAGE, id, "anna", "bartek", &text));
    }
    // Nothing leaves on line 1: one fits, the others wait.
    assert_eq!(rig.out.sent[1].len(), HEADER + text.len());
    rig.wait(4_000);
    assert_eq!(rig.lines.user(1), 0, "no answer within 3 s");
    assert_eq!(rig.texts(0).iter().filter(|code| *code == "300").count(), 6);
    rig.out.sent[1].clear();
    rig.receive(1, &hello("bartek"));
    let mut got = Vec::new();
    while let Some(some) = Some(rig.sent(1)).filter(|some| !some.is_empty()) {
        got.extend(some.into_iter().map(|frame| (frame.0, frame.1)));
    }
    assert_eq!(got, (0..6).map(|id| (OFFLINE, id)).collect::<Vec<_>>());
    assert_eq!(rig.lines.exchange().usage().entries, 0, "taken when it had left");
}

#[test]
fn flipped_bits_of_texts_reach_the_same_recipient_under_the_same_name() {
    rig!(rig);
    both(&mut rig);
    let mut random = Random(1);
    for id in 0..2_000 {
        let bytes = frame(MESSAGE, id, "anna", "bartek", "a text of some length");
        rig.receive(0, &noisy(&bytes, &mut random, 8, HEADER));
        let got = rig.sent(1);
        let [(MESSAGE, got, from, to, text)] = &got[..] else { panic!("{got:?}") };
        assert_eq!((*got, &from[..], &to[..], text.len()), (id, "anna", "bartek", 21));
        rig.receive(1, &frame(RESPONSE, id, "bartek", "anna", "200"));
        assert_eq!(rig.texts(0), ["200"]);
    }
}

#[test]
fn noise_never_sends_under_a_name_that_no_header_carried_and_is_over_with_the_next_clean_frame() {
    for seed in 0..60 {
        rig!(rig);
        both(&mut rig);
        rig.receive(2, &hello("celina"));
        let mut random = Random(seed);
        let mut arrived = Vec::new();
        for id in 0..100 {
            let to = ["bartek", "celina", "#all", "nobody"][random.below(4) as usize];
            let text = "z".repeat(random.below(140) as usize);
            let noise = noisy(&frame(MESSAGE, id, "anna", to, &text), &mut random, 60, 0);
            arrived.extend_from_slice(&noise);
            rig.receive(0, &noise);
            rig.wait([0, 1, QUIET, HALF][random.below(4) as usize]);
            for (line, name) in [(1, "bartek"), (2, "celina")] {
                for (kind, id, from, to, _) in rig.sent(line) {
                    assert!(to == name || to == "#all", "{name} got what is for {to}");
                    let said = field(&from);
                    let said = arrived.windows(NAME_FIELD).any(|some| some == said);
                    assert!(from.starts_with('~') || said, "seed {seed}: from {from}");
                    if kind == MESSAGE {
                        rig.receive(line, &frame(RESPONSE, id, name, &from, "200"));
                    }
                }
            }
            rig.sent(0);
        }
        rig.wait(HALF);
        rig.receive(0, &hello("anna"));
        rig.receive(0, &frame(MESSAGE, 1_000, "anna", "bartek", "clean"));
        let got = rig.sent(1);
        assert_eq!(
            got.last().map(|got| (got.1, &got.2[..], &got.4[..])),
            Some((1_000, "anna", &b"clean"[..])),
            "seed {seed}"
        );
    }
}
