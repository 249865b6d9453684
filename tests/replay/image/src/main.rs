//! The run in a Cortex-M3. What it prints must be what `cargo run -p
//! centrala-replay` prints on a computer.
#![no_std]
#![no_main]

use centrala_replay::{Memory, OPERATIONS, run};
use cortex_m as _;
use cortex_m_rt::entry;
use semihosting::{eprintln, println, process::exit};
use static_cell::ConstStaticCell;

static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::EMPTY);

#[entry]
fn main() -> ! {
    run(OPERATIONS, MEMORY.take(), |done, hash| println!("{done} {hash:016x}"));
    exit(0)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    eprintln!("{info}");
    exit(101)
}
