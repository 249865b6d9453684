//! Time since the start: SysTick counts whole ticks, and its counter what has passed of one.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;

use crate::CLOCK;

/// Milliseconds of a tick: a sleeping processor wakes up as often.
pub const TICK: u32 = 10;
const MILLISECOND: u32 = CLOCK / 1_000;
const RELOAD: u32 = TICK * MILLISECOND - 1;
const _: () = assert!(RELOAD < 1 << 24);

static TICKS: AtomicU32 = AtomicU32::new(0);

#[cortex_m_rt::exception]
fn SysTick() {
    // Nothing else writes it: a load and a store are enough.
    TICKS.store(TICKS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// The clock, which runs from now on.
#[derive(Debug)]
pub struct Clock {
    /// Ticks seen last, and how often their count has wrapped.
    seen: u32,
    wraps: u32,
}

impl Clock {
    /// Starts it.
    pub fn start(mut timer: SYST) -> Clock {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(RELOAD);
        timer.clear_current();
        timer.enable_interrupt();
        timer.enable_counter();
        Clock { seen: 0, wraps: 0 }
    }

    /// Milliseconds since the start.
    pub fn now(&mut self) -> u64 {
        // The counter may begin anew between both looks at it.
        let (ticks, part) = loop {
            let ticks = TICKS.load(Ordering::Relaxed);
            let part = RELOAD.wrapping_sub(SYST::get_current());
            if ticks == TICKS.load(Ordering::Relaxed) {
                break (ticks, part);
            }
        };
        if ticks < self.seen {
            self.wraps = self.wraps.wrapping_add(1);
        }
        self.seen = ticks;
        let ticks = (u64::from(self.wraps) << 32) | u64::from(ticks);
        ticks * u64::from(TICK) + u64::from(part / MILLISECOND)
    }
}
