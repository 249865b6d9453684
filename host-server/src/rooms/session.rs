//! How fast a session may send: a token bucket.
//!
//! It is kept as the time at which the next event would be due if events came evenly (the generic
//! cell rate algorithm): one number, and no timer that fills a bucket.

use std::time::{Duration, Instant};

/// How much a session may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Between two events, over time.
    period: Duration,
    /// How far ahead of that it may be.
    ahead: Duration,
}

impl Rate {
    /// So many events a second, and so many at once.
    pub fn new(per_second: u32, burst: u32) -> Rate {
        let period = Duration::from_secs(1) / per_second.max(1);
        Rate { period, ahead: period * burst.max(1).saturating_sub(1) }
    }
}

/// What a session has sent.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    due: Instant,
}

impl Bucket {
    /// Nothing yet.
    pub fn new(now: Instant) -> Bucket {
        Bucket { due: now }
    }

    /// Takes a token for one event.
    ///
    /// # Errors
    /// There is none before so much time has passed.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let due = self.due.max(now);
        let early = due.duration_since(now);
        if early > rate.ahead {
            return Err(early - rate.ahead);
        }
        self.due = due + rate.period;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_let_through_and_then_so_many_a_second() {
        let (rate, begin) = (Rate::new(50, 200), Instant::now());
        let mut bucket = Bucket::new(begin);
        for _ in 0..200 {
            assert_eq!(bucket.take(rate, begin), Ok(()));
        }
        assert_eq!(bucket.take(rate, begin), Err(Duration::from_millis(20)));
        let mut now = begin;
        for _ in 0..100 {
            now += Duration::from_millis(20);
            assert_eq!(bucket.take(rate, now), Ok(()));
            assert_eq!(bucket.take(rate, now), Err(Duration::from_millis(20)));
        }
        // After silence the burst is there again, and no more.
        now += Duration::from_secs(3600);
        assert_eq!((0..).take_while(|_| bucket.take(rate, now).is_ok()).count(), 200);
    }
}
