//! The interrupts' part of the vector table: as long as what is used of it.

unsafe extern "C" {
    fn DefaultHandler();
}

/// Interrupts from 0 on: that of the fourth UART's sending is the last that is used.
const USED: usize = 20;

#[used]
// SAFETY: where cortex-m-rt's link.x looks for it; each entry is a handler of an interrupt, which
// asks for its number.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
static __INTERRUPTS: [unsafe extern "C" fn(); USED] = [DefaultHandler; USED];
