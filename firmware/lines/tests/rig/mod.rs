//! An exchange on lines, for the tests of each dialect.

use centrala_core::exchange::Exchange;
use centrala_core::host::Volatile;
use centrala_lines::lines::{Line, Lines};
use centrala_lines::{Lent, Wires};
use std::collections::VecDeque;

/// What each line was sent and has not been looked at, and what it brings.
pub struct Outputs<const LINES: usize> {
    pub sent: [Vec<u8>; LINES],
    pub arriving: [VecDeque<u8>; LINES],
    /// Bytes that each line takes before somebody looks at them.
    pub free: usize,
}

impl<const LINES: usize> Wires for Outputs<LINES> {
    fn receive(&mut self, line: usize) -> Option<u8> {
        self.arriving[line].pop_front()
    }
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

/// An exchange on lines, and its time.
pub struct Rig<'l, 'a, const LINES: usize> {
    pub lines: Lines<'l, 'a, LINES>,
    pub out: Outputs<LINES>,
    pub now: u64,
}

impl<'l, 'a, const LINES: usize> Rig<'l, 'a, LINES> {
    pub fn new(exchange: &'l mut Exchange<'a>, lines: [Line<'l>; LINES]) -> Self {
        let lines = Lines::new(exchange, lines, b"all", &mut Volatile);
        let (sent, arriving) = ([const { Vec::new() }; LINES], [const { VecDeque::new() }; LINES]);
        Rig { lines, out: Outputs { sent, arriving, free: 4_096 }, now: 1_000 }
    }

    /// Bytes come in on a line, and are all taken.
    pub fn receive(&mut self, line: usize, bytes: &[u8]) {
        self.out.arriving[line].extend(bytes);
        self.turn();
        assert!(self.out.arriving[line].is_empty(), "a line that takes nothing");
    }

    pub fn turn(&mut self) {
        self.lines.turn(&mut Lent { now: self.now, store: &mut Volatile, wires: &mut self.out });
    }

    /// So much time passes.
    pub fn wait(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        while let Some(due) = self.lines.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.turn();
        }
        self.now = until;
        self.turn();
    }

    /// What a line was sent since it was looked at last.
    pub fn bytes(&mut self, line: usize) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.out.sent[line]);
        self.turn();
        bytes
    }
}

/// A sequence of numbers that is the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Bytes as they come out of a line on which one of `each` bytes goes wrong.
pub fn noisy(bytes: &[u8], random: &mut Random, each: u64, spared: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (place, byte) in bytes.iter().enumerate() {
        if place < spared || random.below(each) != 0 {
            out.push(*byte);
            continue;
        }
        match if spared == 0 { random.below(3) } else { 2 } {
            0 => {}
            1 => out.extend([*byte, *byte]),
            _ => out.push(byte ^ (1 << random.below(8))),
        }
    }
    out
}
