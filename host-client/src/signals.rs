//! How a person or a service manager ends a command: SIGINT, SIGTERM or SIGHUP.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the command was asked to end. Everything that waits looks at it at least every
/// [`crate::wait::TICK`].
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Never asked for, but by `ask`.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Asked for by the signals. The second one ends the process at once, in case the first is
    /// not looked at because nobody reads our output.
    ///
    /// # Errors
    /// The system's.
    pub fn by_signal() -> io::Result<Stop> {
        let stop = Stop::new();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            flag::register_conditional_default(signal, stop.0.clone())?;
            flag::register(signal, stop.0.clone())?;
        }
        Ok(stop)
    }

    /// Asks for the end.
    #[cfg(test)]
    pub fn ask(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether the end was asked for.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
