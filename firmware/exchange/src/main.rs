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
use centrala_core::host::Store;
#[cfg(not(feature = "flash"))]
use centrala_core::host::Volatile;
use centrala_core::limits::Limits;
use centrala_lines::framing::Framing;
use centrala_lines::lines::Lines;
use centrala_lines::{Lent, Wires};
use cortex_m_rt::entry;
use static_cell::{ConstStaticCell, StaticCell};

#[cfg(feature = "flash")]
mod kept;

const USERS: usize = 8;
const GROUPS: usize = 8;
const MEMBERSHIPS: usize = USERS * GROUPS;
const MESSAGES: usize = 32;
const ENTRIES: usize = 48;

centrala_core::storage! {
    struct Tables {
        users: USERS,
        groups: GROUPS,
        memberships: MEMBERSHIPS,
        sessions: UARTS,
        messages: MESSAGES,
        message_length: 128,
        entries: ENTRIES,
        questions: 1,
    }
}

centrala_lines::note_sizes!(Tables {
    USERS as u32,
    GROUPS as u32,
    MEMBERSHIPS as u32,
    UARTS as u32,
    MESSAGES as u32,
    ENTRIES as u32,
    1
});

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

static EXCHANGE: StaticCell<Exchange<'static>> = StaticCell::new();
static INPUTS: ConstStaticCell<[[u8; INPUT]; UARTS]> = ConstStaticCell::new([[0; INPUT]; UARTS]);
static LINES: StaticCell<Switchboard> = StaticCell::new();

type Switchboard = Lines<'static, 'static, UARTS, INPUT>;

/// In functions of their own, here and below: what is moved around is off the stack when the loop
/// begins.
#[inline(never)]
fn exchange() -> &'static mut Exchange<'static> {
    let limits = Limits { mailbox: 32, ..Limits::new(Tables::MESSAGE_LENGTH) };
    EXCHANGE.init_with(|| Exchange::new(TABLES.take().lend(), limits))
}

#[inline(never)]
fn switchboard(
    exchange: &'static mut Exchange<'static>,
    store: &mut dyn Store,
) -> &'static mut Switchboard {
    LINES.init_with(|| Lines::new(exchange, INPUTS.take(), b"all", store))
}

#[entry]
fn main() -> ! {
    let peripherals = cortex_m::Peripherals::take().expect("taken once");
    let mut clock = Clock::start(peripherals.SYST);
    let mut uarts = uart::start(RINGS.take());
    let exchange = exchange();
    #[cfg(feature = "flash")]
    let store = kept::open(exchange);
    #[cfg(not(feature = "flash"))]
    let store = &mut Volatile;
    let lines = switchboard(exchange, store);
    let mut watermark = Watermark::new();
    let mut users = [0; UARTS];
    let (tables, stack) = (Tables::BYTES, stack::size());
    defmt::info!("exchange: {=usize} bytes of tables, {=usize} of stack", tables, stack);
    loop {
        for line in 0..UARTS {
            receive(line, lines, &mut uarts, clock.now(), store);
        }
        let mut wires = Outputs(&mut uarts);
        lines.turn(&mut Lent { now: clock.now(), store, wires: &mut wires });
        for (line, user) in users.iter_mut().enumerate() {
            let before = core::mem::replace(user, lines.user(line));
            if before != *user {
                defmt::info!("line {=usize}: user {=u32}", line, *user);
            }
        }
        if let Some(bytes) = watermark.grown() {
            defmt::info!("stack: {=usize} bytes", bytes);
        }
        centrala_board::sleep_unless(|| uarts.iter().any(Uart::has_received));
    }
}

/// Takes what a UART has received, as far as its line has room.
fn receive(
    line: usize,
    lines: &mut Switchboard,
    uarts: &mut [Uart; UARTS],
    now: u64,
    store: &mut dyn Store,
) {
    let mut bytes = [0; 64];
    let space = lines.space(line, &Outputs(uarts)).min(bytes.len());
    let Some(uart) = uarts.get_mut(line) else { return };
    let got = uart.receive(bytes.get_mut(..space).unwrap_or(&mut []));
    let mut lent = Lent { now, store, wires: &mut Outputs(uarts) };
    lines.receive(line, bytes.get(..got).unwrap_or(&[]), &mut lent);
}
