//! The whole exchange in a Cortex-M3, on four UARTs: `direct` on the first two, `native` on the
//! others. Without the feature `native` it is `direct` on all four.
//!
//! Interrupts move bytes between the UARTs and their rings; everything else happens here, in one
//! loop that sleeps when there is nothing to do. What a line's noise may do, and when a session
//! begins and ends where nobody connects, is in `centrala-lines`.
#![no_std]
#![no_main]

use centrala_board::clock::Clock;
use centrala_board::first;
use centrala_board::stack::{self, Watermark};
use centrala_board::uart::{self, Rings, UARTS, Uart};
#[cfg(feature = "native")]
use centrala_core::dialect::native;
use centrala_core::exchange::Exchange;
use centrala_core::host::Store;
#[cfg(not(feature = "flash"))]
use centrala_core::host::Volatile;
use centrala_core::limits::Limits;
use centrala_lines::framing::Framing;
use centrala_lines::lines::{Line, Lines, RESERVE};
#[cfg(feature = "native")]
use centrala_lines::serial;
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

/// UARTs that speak `native`, behind those that speak `direct`.
const NATIVE: usize = if cfg!(feature = "native") { 2 } else { 0 };
const DIRECT: usize = UARTS - NATIVE;

/// What a UART has: the longest frame that comes in, and what goes out.
struct Memory<const INPUT: usize, const SEND: usize> {
    input: [u8; INPUT],
    rings: Rings<SEND>,
}

impl<const INPUT: usize, const SEND: usize> Memory<INPUT, SEND> {
    const EMPTY: Self = Memory { input: [0; INPUT], rings: Rings::EMPTY };
}

const DIRECT_INPUT: usize = Framing::buffer(Tables::MESSAGE_LENGTH);
type Direct = Memory<DIRECT_INPUT, { RESERVE + DIRECT_INPUT + 1 }>;
#[cfg(feature = "native")]
type Native = Memory<
    { native::frame_max(Tables::MESSAGE_LENGTH) },
    { serial::room_for(Tables::MESSAGE_LENGTH) + 1 },
>;

/// The UARTs, as the lines see them.
struct Outputs<'u>(&'u mut [Uart; UARTS]);

impl Wires for Outputs<'_> {
    fn receive(&mut self, line: usize) -> Option<u8> {
        self.0.get_mut(line)?.next()
    }
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
static DIRECTS: ConstStaticCell<[Direct; DIRECT]> =
    ConstStaticCell::new([const { Direct::EMPTY }; DIRECT]);
#[cfg(feature = "native")]
static NATIVES: ConstStaticCell<[Native; NATIVE]> =
    ConstStaticCell::new([const { Native::EMPTY }; NATIVE]);

static EXCHANGE: StaticCell<Exchange<'static>> = StaticCell::new();
static LINES: StaticCell<Switchboard> = StaticCell::new();

type Switchboard = Lines<'static, 'static, UARTS>;

/// In functions of their own, here and below: what is moved around is off the stack when the loop
/// begins.
#[inline(never)]
fn exchange() -> &'static mut Exchange<'static> {
    let limits = Limits { mailbox: 32, ..Limits::new(Tables::MESSAGE_LENGTH) };
    let tables = first(TABLES.try_take()).lend();
    first(EXCHANGE.try_init_with(|| Exchange::new(tables, limits)))
}

#[inline(never)]
fn lines() -> ([Line<'static>; UARTS], [Uart; UARTS]) {
    let direct = first(DIRECTS.try_take()).each_mut();
    let direct = direct.map(|memory| (Line::direct(&mut memory.input), memory.rings.split()));
    #[cfg(feature = "native")]
    let all = {
        let native = first(NATIVES.try_take()).each_mut();
        let native = native.map(|memory| (Line::native(&mut memory.input), memory.rings.split()));
        let ([a, b], [c, d]) = (direct, native);
        [a, b, c, d]
    };
    #[cfg(not(feature = "native"))]
    let all = direct;
    let [(a, ra), (b, rb), (c, rc), (d, rd)] = all;
    ([a, b, c, d], uart::start([ra, rb, rc, rd]))
}

#[inline(never)]
fn switchboard(
    exchange: &'static mut Exchange<'static>,
    store: &mut dyn Store,
) -> (&'static mut Switchboard, [Uart; UARTS]) {
    let (lines, uarts) = lines();
    (first(LINES.try_init_with(|| Lines::new(exchange, lines, b"all", store))), uarts)
}

#[entry]
fn main() -> ! {
    let peripherals = first(cortex_m::Peripherals::take());
    let mut clock = Clock::start(peripherals.SYST);
    let exchange = exchange();
    #[cfg(feature = "flash")]
    let store = kept::open(exchange);
    #[cfg(not(feature = "flash"))]
    let store = &mut Volatile;
    let (lines, mut uarts) = switchboard(exchange, store);
    let mut watermark = Watermark::new();
    let mut users = [0; UARTS];
    let (tables, stack) = (Tables::BYTES, stack::size());
    defmt::info!("exchange: {=usize} bytes of tables, {=usize} of stack", tables, stack);
    loop {
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
