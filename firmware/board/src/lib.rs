//! Arm's MPS2 board with a Cortex-M3 (application note AN385), as QEMU's `mps2-an385` has it.
//!
//! Logs go out by defmt over semihosting, which needs a debugger or an emulator: on a board alone
//! another `defmt::global_logger` takes its place.
#![no_std]

pub mod clock;
#[cfg(feature = "ethernet")]
pub mod ethernet;
#[cfg(feature = "flash")]
pub mod flash;
pub mod stack;
pub mod uart;
mod vectors;

use defmt_semihosting as _;

/// The core's clock, in hertz.
pub const CLOCK: u32 = 25_000_000;

/// Logs where it went wrong, and ends the emulator with a failure.
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    // Where it was is enough to find it; the message would bring the formatting code along.
    match info.location() {
        Some(place) => defmt::error!("panic at {=str}:{=u32}", place.file(), place.line()),
        None => defmt::error!("panic"),
    }
    semihosting::process::exit(101)
}

/// A fault of the processor ends it too.
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    defmt::error!("hard fault at {=u32:#x}", frame.pc());
    semihosting::process::exit(102)
}

/// Hands an interrupt to its driver.
#[cortex_m_rt::exception]
unsafe fn DefaultHandler(number: i16) {
    #[cfg(feature = "ethernet")]
    if ethernet::interrupt(number) {
        return;
    }
    uart::interrupt(number);
}

/// An interrupt by its number.
#[derive(Clone, Copy)]
struct Interrupt(u16);

// SAFETY: the number of an interrupt of this board (0..=31), which does not change.
unsafe impl cortex_m::interrupt::InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self.0
    }
}

/// What is there the first time that it is taken.
///
/// # Panics
/// It was taken before. Without a word, which would bring the formatting code along.
#[inline]
pub fn first<T>(taken: Option<T>) -> T {
    match taken {
        Some(taken) => taken,
        None => panic!(),
    }
}

/// Sleeps until the next interrupt, unless `busy` says that there is something to do already: an
/// interrupt that comes in between ends the sleep at once.
pub fn sleep_unless(busy: impl FnOnce() -> bool) {
    cortex_m::interrupt::free(|_| {
        if !busy() {
            cortex_m::asm::dsb();
            cortex_m::asm::wfi();
        }
    });
}
