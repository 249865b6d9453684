//! Neither has the loop of the firmware around the exchange a panicking branch, whatever its lines
//! bring.
#![no_std]
#![no_main]

use centrala_core::dialect::{Dialect, native};
use centrala_core::exchange::Exchange;
use centrala_core::host::Volatile;
use centrala_core::limits::Limits;
use centrala_lines::connections::Connections;
use centrala_lines::framing::Framing;
use centrala_lines::lines::{Line, Lines};
use centrala_lines::{Lent, Wires};
use core::hint::black_box;
use panic_never as _;

centrala_core::storage! {
    struct Memory {
        users: 8,
        groups: 8,
        memberships: 16,
        sessions: 4,
        messages: 16,
        message_length: 128,
        entries: 16,
        questions: 2,
    }
}

const INPUT: usize = native::frame_max(Memory::MESSAGE_LENGTH);
const DIRECT: usize = Framing::buffer(Memory::MESSAGE_LENGTH);

/// Of which the linker knows nothing.
struct Wire;

impl Wires for Wire {
    fn receive(&mut self, line: usize) -> Option<u8> {
        black_box((line != 0).then_some(line as u8))
    }
    fn free(&self, line: usize) -> usize {
        black_box(line)
    }
    fn is_empty(&self, line: usize) -> bool {
        black_box(line == 0)
    }
    fn send(&mut self, line: usize, bytes: &[u8]) {
        black_box((line, bytes));
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let (mut memory, mut inputs) = (Memory::EMPTY, [[0; INPUT]; 4]);
    let mut directs = [[0; DIRECT]; 2];
    let mut exchange =
        Exchange::new(black_box(&mut memory).lend(), black_box(Limits::new(black_box(128))));
    let buffer = [0u8; 1100];
    let bytes = black_box(&buffer[..]).get(..black_box(0)).unwrap_or(&[]);
    let number = black_box(0);
    let (mut store, mut wires) = (Volatile, Wire);
    let mut lent = Lent { now: black_box(0), store: &mut store, wires: &mut wires };
    if black_box(true) {
        let ([a, b, c, d], [e, f]) = (&mut inputs, &mut directs);
        let all = [Line::native(a), Line::native(b), Line::direct(e), Line::direct(f)];
        black_box((c, d));
        let mut lines: Lines<'_, '_, 4> = Lines::new(&mut exchange, all, bytes, &mut Volatile);
        loop {
            lines.turn(&mut lent);
            black_box((lines.poll_timeout(), lines.user(number), lines.noise()));
        }
    }
    let mut connections: Connections<'_, '_, 4, INPUT> =
        Connections::new(&mut exchange, &mut inputs, bytes, &mut Volatile);
    loop {
        black_box(connections.open(number, black_box(Dialect::Direct), &lent));
        black_box(connections.space(number, &Wire));
        connections.receive(number, bytes, &mut lent);
        connections.turn(&mut lent);
        connections.close(number, &mut lent);
        black_box((connections.poll_timeout(), connections.take_ended(number)));
    }
}
