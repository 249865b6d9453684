//! The board's first LED.

/// The LEDs, a bit each (AN385, section 3.7: FPGA system control and I/O).
const LEDS: usize = 0x4002_8000;

/// Switches it, and the others off.
pub fn switch(on: bool) {
    // SAFETY: the address of a register of this board, which changes nothing but its LEDs.
    unsafe { (LEDS as *mut u32).write_volatile(on.into()) }
}
