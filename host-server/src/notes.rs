//! Log lines that a client can cause: at most a few a second of each kind, so that nobody fills a
//! disk with them. What was left out is counted and said with the next one.

/// Lines of one kind a second.
const PER_SECOND: u32 = 5;

/// One kind of line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttle {
    second: u64,
    said: u32,
    left_out: u64,
}

impl Throttle {
    /// Whether a line may be logged at `now` (milliseconds); if so, how many were left out since
    /// the last one.
    pub fn say(&mut self, now: u64) -> Option<u64> {
        let second = now / 1000;
        if self.second != second {
            (self.second, self.said) = (second, 0);
        }
        if self.said >= PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// `tracing::warn!`, throttled; says how many lines like it were left out.
#[macro_export]
macro_rules! warn_some {
    ($throttle:expr, $now:expr, $($line:tt)+) => {
        match $throttle.say($now) {
            Some(0) => tracing::warn!($($line)+),
            Some(left_out) => tracing::warn!(left_out, $($line)+),
            None => {}
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_said_in_the_next_second() {
        let mut throttle = Throttle::default();
        let said = (0..20).filter(|_| throttle.say(0).is_some()).count();
        assert_eq!(said, PER_SECOND as usize);
        assert_eq!(throttle.say(1000), Some(15));
        assert_eq!(throttle.say(1000), Some(0));
    }
}
