//! One log-in at a time.
//!
//! The answers to log-ins are for whoever asks for them first: the document has its server log in
//! one client at a time, and says nothing to the clients. Those of this program wait for each
//! other, with a socket's name that only one of them can have and that the kernel frees when its
//! process is gone. It is a courtesy: where the name cannot be had in time, a log-in goes on
//! without it.

use super::super::sysv::failure;
use crate::failure::Failure;
use crate::wait::{Ended, Waiter};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

/// How long a turn is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(5);

/// The turn to log in, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    _held: Option<UnixListener>,
}

impl Turn {
    /// Waits for the turn at the queue with this key.
    ///
    /// # Errors
    /// The command was ended, or the queue is gone.
    pub fn wait(key: i32, waiter: &Waiter) -> Result<Turn, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(turn) = Turn::take(key) else {
                match waiter.look_around(Some(deadline)) {
                    Ok(()) => std::thread::sleep(PAUSE),
                    Err(Ended::Late) => return Ok(Turn { _held: None }),
                    Err(ended) => return Err(failure(ended)),
                }
                continue;
            };
            return Ok(turn);
        }
    }

    /// The turn, if nobody else has it.
    fn take(key: i32) -> Option<Turn> {
        let name = format!("centrala-lanes-{key}-log-in");
        let bound = SocketAddr::from_abstract_name(name).and_then(|a| UnixListener::bind_addr(&a));
        match bound {
            Err(error) if error.kind() == ErrorKind::AddrInUse => None,
            bound => Some(Turn { _held: bound.ok() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_one_clients_until_it_drops_it() {
        // A key of this test's own.
        let key = 0x4700_0000 + std::process::id() as i32;
        let turn = Turn::take(key).unwrap();
        assert!(Turn::take(key).is_none());
        assert!(Turn::take(key + 1).is_some(), "another queue's");
        drop(turn);
        let _again = Turn::take(key).unwrap();
        assert!(Turn::take(key).is_none());
    }
}
