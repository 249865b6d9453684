//! The whole exchange in a Cortex-M3: `direct` on four UARTs.
//!
//! Interrupts move bytes between the UARTs and their rings; everything else happens here, in one
//! loop that sleeps when there is nothing to do. What a line's noise may do, and when a session
//! begins and ends where nobody connects, is in `centrala-lines`.
#![no_std]
#![no_main]

use centrala_board::clock::Clock;
use centrala_board::stack::{self, Watermark};
use centrala_board::uart::{self, Rings, UARTS, Uart};
use centrala_core::exchange::Exchange;
use centrala_core::host::Volatile;
use centrala_core::limits::Limits;
use centrala_lines::framing::Framing;
use centrala_lines::lines::{Lent, Lines, Wires};
use cortex_m_rt::entry;
use static_cell::{ConstStaticCell, StaticCell};

centrala_core::storage! {
    struct Tables {
        users: 8,
        groups: 8,
        memberships: 64,
        sessions: UARTS,
        messages: 32,
        message_length: 128,
        entries: 48,
        questions: 1,
    }
}

/// Bytes of the longest frame.
const INPUT: usize = Framing::buffer(Tables::MESSAGE_LENGTH);

/// The UARTs, as the lines see them.
struct Outputs<'u>(&'u mut [Uart; UARTS]);

impl Wires for Outputs<'_> {
    fn free(&self, line: usize) -> usize {
        self.0.get(line).map_or(0, Uart::free)
    }
    fn is_empty(&self, line: usize) -> bool {
        self.0.get(line).is_none_or(Uart::is_empty)
    }
    fn send(&mut self, line: usize, bytes: &[u8]) {
        if let Some(uart) = self.0.get_mut(line) {
            uart.send(bytes);
        }
    }
}

// All zero: they lie in .bss and take no flash.
static TABLES: ConstStaticCell<Tables> = ConstStaticCell::new(Tables::EMPTY);
static RINGS: ConstStaticCell<[Rings; UARTS]> = ConstStaticCell::new([Rings::EMPTY; UARTS]);

static INPUTS: ConstStaticCell<[[u8; INPUT]; UARTS]> = ConstStaticCell::new([[0; INPUT]; UARTS]);
static LINES: StaticCell<Switchboard> = StaticCell::new();

type Switchboard = Lines<'static, UARTS, INPUT>;

/// In a function of its own: what it moves around is off the stack when the loop begins.
#[inline(never)]
fn switchboard() -> &'static mut Switchboard {
    let limits = Limits { mailbox: 32, ..Limits::new(Tables::MESSAGE_LENGTH) };
    let exchange = Exchange::new(TABLES.take().lend(), limits);
    LINES.init(Lines::new(exchange, INPUTS.take(), b"all", &mut Volatile))
}

#[entry]
fn main() -> ! {
    let peripherals = cortex_m::Peripherals::take().expect("taken once");
    let mut clock = Clock::start(peripherals.SYST);
    let mut uarts = uart::start(RINGS.take());
    let mut store = Volatile;
    let lines = switchboard();
    let mut watermark = Watermark::new();
    let (tables, stack) = (Tables::BYTES, stack::size());
    defmt::info!("exchange: {=usize} bytes of tables, {=usize} of stack", tables, stack);
    loop {
        for line in 0..UARTS {
            receive(line, lines, &mut uarts, clock.now());
        }
        let mut wires = Outputs(&mut uarts);
        lines.turn(&mut Lent { now: clock.now(), store: &mut store, wires: &mut wires });
        if let Some(bytes) = watermark.grown() {
            defmt::info!("stack: {=usize} bytes", bytes);
        }
        centrala_board::sleep_unless(|| uarts.iter().any(Uart::has_received));
    }
}

/// Takes what a UART has received, as far as its line has room.
fn receive(line: usize, lines: &mut Switchboard, uarts: &mut [Uart; UARTS], now: u64) {
    let mut bytes = [0; 64];
    let space = lines.space(line, &Outputs(uarts)).min(bytes.len());
    let Some(uart) = uarts.get_mut(line) else { return };
    let got = uart.receive(bytes.get_mut(..space).unwrap_or(&mut []));
    let (mut store, mut wires) = (Volatile, Outputs(uarts));
    let mut lent = Lent { now, store: &mut store, wires: &mut wires };
    lines.receive(line, bytes.get(..got).unwrap_or(&[]), &mut lent);
}
