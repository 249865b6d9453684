//! A Cortex-M3 as a client of an exchange: `native` on its first UART, which a bridge connects to the
//! exchange's TCP port. What it does, and what noise may do, is in `centrala-counter`; here bytes,
//! time and the LED are.
//!
//! `CENTRALA_NODE`, `CENTRALA_NODE_PASSWORD` and `CENTRALA_NODE_TOPIC` in the environment of the build
//! say who it is.
#![no_std]
#![no_main]

mod led;

use centrala_board::clock::Clock;
use centrala_board::stack::{self, Watermark};
use centrala_board::uart::{self, Rings, Uart};
use centrala_counter::{Client, Note, Settings};
use cortex_m_rt::entry;
use static_cell::ConstStaticCell;

/// What the environment of the build says, or this.
const fn or(set: Option<&'static str>, default: &'static str) -> &'static str {
    match set {
        Some(set) => set,
        None => default,
    }
}

const SETTINGS: Settings<'static> = Settings {
    name: or(option_env!("CENTRALA_NODE"), "node"),
    password: or(option_env!("CENTRALA_NODE_PASSWORD"), ""),
    topic: or(option_env!("CENTRALA_NODE_TOPIC"), "counter"),
};
const _: () = assert!(SETTINGS.fit(), "a name, a password or a topic is too long");

/// Bytes that the UART takes at once, and one.
const SEND: usize = 264;
static RINGS: ConstStaticCell<Rings<SEND>> = ConstStaticCell::new(Rings::EMPTY);
static CLIENT: ConstStaticCell<Client<'static>> = ConstStaticCell::new(Client::new(SETTINGS));

fn log(note: Note) {
    match note {
        Note::Lost(_) | Note::Refused(_) | Note::Unknown => defmt::warn!("{}", note),
        _ => defmt::info!("{}", note),
    }
}

#[entry]
fn main() -> ! {
    let peripherals = centrala_board::first(cortex_m::Peripherals::take());
    let mut clock = Clock::start(peripherals.SYST);
    let [mut uart] = uart::start([RINGS.take().split()]);
    let client = CLIENT.take();
    let mut watermark = Watermark::new();
    defmt::info!("node: {=str}, {=usize} bytes of stack", SETTINGS.name, stack::size());
    loop {
        receive(client, &mut uart, clock.now());
        client.handle_timeout(clock.now(), &mut log);
        // Before it is said to be.
        led::switch(client.led());
        transmit(client, &mut uart, clock.now());
        if let Some(bytes) = watermark.grown() {
            defmt::info!("stack: {=usize} bytes", bytes);
        }
        // What has no room in the UART goes on as soon as a byte has left; time, with the next tick.
        centrala_board::sleep_unless(|| {
            uart.has_received() && client.space() != 0 || client.has_output() && uart.is_empty()
        });
    }
}

/// Takes what the UART has received, as far as the client has room.
#[inline(never)]
fn receive(client: &mut Client<'_>, uart: &mut Uart, now: u64) {
    let mut bytes = [0; 64];
    let space = client.space().min(bytes.len());
    let got = uart.receive(bytes.get_mut(..space).unwrap_or(&mut []));
    client.receive(bytes.get(..got).unwrap_or(&[]), now, &mut log);
}

/// Gives the UART what the client has to send, as far as it has room.
#[inline(never)]
fn transmit(client: &mut Client<'_>, uart: &mut Uart, now: u64) {
    let mut bytes = [0; 64];
    let space = uart.free().min(bytes.len());
    let len = client.transmit(bytes.get_mut(..space).unwrap_or(&mut []), now);
    uart.send(bytes.get(..len).unwrap_or(&[]));
}
