//! Waiting for a queue without being deaf to signals, deadlines and a vanished exchange.
//!
//! `msgrcv` has no timeout. So a timer of the waiting thread's own makes it return `EINTR` every
//! [`TICK`], and between two waits everything else is looked at. A message still wakes it at once.

use crate::signals::Stop;
use centrala_sysv::{Errno, Queue, Receive};
use nix::sys::signal::{SigEvent, SigevNotify, Signal};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The longest time for which a wait does not look around.
pub const TICK: Duration = Duration::from_millis(100);

/// How long an exchange may take over an answer. (It takes back log-in answers that nobody has
/// fetched after as long.)
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why a wait ended without what it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// [`Stop`] was asked for.
    Stopped,
    /// The deadline has passed.
    Late,
    /// The queue that was waited at, or the exchange's own, is gone.
    Gone,
    /// Anything else of the kernel's.
    Failed(Errno),
}

/// Waits at queues on behalf of one thread, the one that made it.
pub struct Waiter {
    stop: Stop,
    /// The exchange's queue: a wait ends when it is gone.
    exchange: Queue,
    _ticker: Timer,
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("exchange", &self.exchange).finish_non_exhaustive()
    }
}

impl Waiter {
    /// A waiter of the calling thread.
    ///
    /// # Errors
    /// The system's: no more timers, or no handler for SIGALRM.
    pub fn new(stop: &Stop, exchange: Queue) -> Result<Waiter, Errno> {
        // Without a handler SIGALRM would end the process. What it notes is of no interest.
        static HANDLED: OnceLock<Result<(), i32>> = OnceLock::new();
        HANDLED
            .get_or_init(|| {
                let noted = Arc::new(AtomicBool::new(false));
                signal_hook::flag::register(Signal::SIGALRM as i32, noted)
                    .map(drop)
                    .map_err(|error| error.raw_os_error().unwrap_or(0))
            })
            .map_err(Errno::from_raw)?;
        let event = SigEvent::new(SigevNotify::SigevThreadId {
            signal: Signal::SIGALRM,
            thread_id: nix::unistd::gettid().as_raw(),
            si_value: 0,
        });
        let mut ticker = Timer::new(ClockId::CLOCK_MONOTONIC, event)?;
        ticker.set(Expiration::Interval(TICK.into()), TimerSetTimeFlags::empty())?;
        Ok(Waiter { stop: stop.clone(), exchange, _ticker: ticker })
    }

    /// Receives from `queue` as [`Queue::receive`] does, a message that is too large cut, until the
    /// deadline if there is one.
    ///
    /// # Errors
    /// Why it ended without a message.
    pub fn receive(
        &self,
        queue: Queue,
        buf: &mut [u8],
        kind: i64,
        deadline: Option<Instant>,
    ) -> Result<usize, Ended> {
        let how = Receive { cut: true, ..Receive::WAIT };
        self.repeat(deadline, || queue.receive(buf, kind, how))
    }

    /// Sends to `queue`, waiting for room until the deadline.
    ///
    /// # Errors
    /// Why it ended before there was room.
    pub fn send(&self, queue: Queue, message: &[u8], deadline: Instant) -> Result<(), Ended> {
        self.repeat(Some(deadline), || queue.send(message, true))
    }

    /// Waits until the exchange's queue is gone.
    ///
    /// # Errors
    /// [`Ended::Gone`] never; else why it ended.
    pub fn until_gone(&self, deadline: Instant) -> Result<(), Ended> {
        let pause = || {
            std::thread::sleep(Duration::from_millis(5));
            Err(Errno::EINTR)
        };
        match self.repeat::<()>(Some(deadline), pause) {
            Err(Ended::Gone) => Ok(()),
            ended => ended,
        }
    }

    /// Looks around as between two waits.
    ///
    /// # Errors
    /// Why waiting on makes no sense.
    pub fn look_around(&self, deadline: Option<Instant>) -> Result<(), Ended> {
        if self.stop.asked() {
            return Err(Ended::Stopped);
        }
        if matches!(self.exchange.stat(), Err(Errno::EINVAL | Errno::EIDRM)) {
            return Err(Ended::Gone);
        }
        match deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Ended::Late),
            _ => Ok(()),
        }
    }

    fn repeat<T>(
        &self,
        deadline: Option<Instant>,
        mut call: impl FnMut() -> Result<T, Errno>,
    ) -> Result<T, Ended> {
        loop {
            match call() {
                Ok(done) => return Ok(done),
                Err(Errno::EINTR) => self.look_around(deadline)?,
                Err(Errno::EIDRM | Errno::EINVAL) => return Err(Ended::Gone),
                Err(errno) => return Err(Ended::Failed(errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centrala_sysv::{Buffer, Removed};

    fn queue() -> Removed {
        Removed(Queue::private(0o600).unwrap())
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(1))
    }

    #[test]
    fn a_wait_ends_for_every_reason() {
        let (own, exchange, stop) = (queue(), queue(), Stop::new());
        let waiter = Waiter::new(&stop, *exchange).unwrap();
        let mut buf = Buffer::<16>::new();
        assert_eq!(waiter.receive(*own, &mut buf, 0, soon()), Err(Ended::Late));
        assert_eq!(waiter.send(*own, &[0; 9], Instant::now()), Err(Ended::Gone), "EINVAL: type 0");

        exchange.remove().unwrap();
        assert_eq!(waiter.receive(*own, &mut buf, 0, None), Err(Ended::Gone));
        assert_eq!(waiter.until_gone(Instant::now()), Ok(()));

        own.send(&[1, 0, 0, 0, 0, 0, 0, 0, 5], false).unwrap();
        assert_eq!(waiter.receive(*own, &mut buf, 0, None), Ok(9), "what is there is still read");
        stop.ask();
        assert_eq!(waiter.receive(*own, &mut buf, 0, None), Err(Ended::Stopped));
    }

    #[test]
    fn a_full_queue_is_waited_for_until_the_deadline() {
        let (own, exchange) = (queue(), queue());
        let waiter = Waiter::new(&Stop::new(), *exchange).unwrap();
        own.set_max_bytes(0).unwrap();
        let message = [1, 0, 0, 0, 0, 0, 0, 0, 5];
        assert_eq!(waiter.send(*own, &message, Instant::now()), Err(Ended::Late));
        assert_eq!(waiter.until_gone(Instant::now()), Err(Ended::Late));
    }

    #[test]
    fn removal_ends_a_wait_at_once() {
        let (own, exchange) = (queue(), queue());
        let waiter = Waiter::new(&Stop::new(), *exchange).unwrap();
        let id = *own;
        let remover = std::thread::spawn(move || id.remove());
        assert_eq!(waiter.receive(id, &mut Buffer::<16>::new(), 0, None), Err(Ended::Gone));
        remover.join().unwrap().unwrap();
    }
}
