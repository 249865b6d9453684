//! Lines whose bytes get lost, doubled and flipped; and when a session begins and ends on a line.

use centrala_core::dialect::direct::{
    FRAME_MAX, Frame, HEADER, Look, MESSAGE, NAME_FIELD, OFFLINE, RESPONSE,
};
use centrala_core::exchange::Exchange;
use centrala_core::host::Volatile;
use centrala_core::limits::Limits;
use centrala_lines::framing::{Framing, HALF, QUIET};
use centrala_lines::lines::{Lent, Lines, RESERVE, TAKE_OVER, Wires};

const LINES: usize = 3;
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

type Memory = (Tables, [[u8; INPUT]; LINES]);
const MEMORY: Memory = (Tables::EMPTY, [[0; INPUT]; LINES]);

/// What each line was sent and has not been looked at.
struct Outputs {
    sent: [Vec<u8>; LINES],
    free: usize,
}

impl Wires for Outputs {
    fn free(&self, line: usize) -> usize {
        self.free.saturating_sub(self.sent[line].len())
    }
    fn is_empty(&self, line: usize) -> bool {
        self.sent[line].is_empty()
    }
    fn send(&mut self, line: usize, bytes: &[u8]) {
        assert!(bytes.len() <= self.free(line), "more than there is room for");
        self.sent[line].extend_from_slice(bytes);
    }
}

/// An exchange on three lines, and its time.
struct Rig<'a> {
    lines: Lines<'a, LINES, INPUT>,
    out: Outputs,
    now: u64,
}

impl<'a> Rig<'a> {
    fn new((tables, inputs): &'a mut Memory) -> Rig<'a> {
        let limits = Limits::new(Tables::MESSAGE_LENGTH);
        let exchange = Exchange::new(tables.lend(), limits);
        let lines = Lines::new(exchange, inputs, b"all", &mut Volatile);
        Rig { lines, out: Outputs { sent: Default::default(), free: 4_096 }, now: 1_000 }
    }

    /// Bytes come in on a line, in the pieces in which there is room for them.
    fn receive(&mut self, line: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.lines.space(line, &self.out).min(bytes.len());
            assert_ne!(space, 0, "a line that takes nothing");
            let mut lent = Lent { now: self.now, store: &mut Volatile, wires: &mut self.out };
            self.lines.receive(line, &bytes[..space], &mut lent);
            bytes = &bytes[space..];
        }
        self.turn();
    }

    fn turn(&mut self) {
        self.lines.turn(&mut Lent { now: self.now, store: &mut Volatile, wires: &mut self.out });
    }

    /// So much time passes.
    fn wait(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        while let Some(due) = self.lines.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.turn();
        }
        self.now = until;
        self.turn();
    }

    /// The frames that a line was sent: type, id, from, to, text.
    fn sent(&mut self, line: usize) -> Vec<(u16, u32, String, String, Vec<u8>)> {
        let bytes = std::mem::take(&mut self.out.sent[line]);
        self.turn();
        frames(&bytes)
    }

    /// The texts that a line was sent.
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
fn both(rig: &mut Rig<'_>) {
    rig.receive(0, &hello("anna"));
    rig.receive(1, &hello("bartek"));
    assert_eq!((rig.sent(0).len(), rig.sent(1).len()), (0, 0));
}

#[test]
fn a_message_goes_from_line_to_line_and_its_answer_back() {
    let mut memory = MEMORY;
    let mut rig = Rig::new(&mut memory);
    both(&mut rig);
    rig.receive(0, &frame(MESSAGE, 7, "anna", "bartek", "cześć"));
    let (from, to, text) = ("anna".to_owned(), "bartek".to_owned(), "cześć".as_bytes().to_vec());
    assert_eq!(rig.sent(1), [(MESSAGE, 7, from, to, text)]);
    rig.receive(1, &frame(RESPONSE, 7, "bartek", "anna", "200"));
    assert_eq!(rig.texts(0), ["200"]);
}
