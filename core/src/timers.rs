//! Timers: every duration is a constant, so each has a queue of its own that is sorted by itself.
//!
//! Arming, cancelling and firing take constant time. Time is what the host says it is, in
//! milliseconds, and never goes back.

use crate::table::{Empty, Full, Handle, Slot, Table};

/// What a timer is for. Each has one duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub(crate) enum Class {
    /// A recipient owes a receipt (`direct`: 3 s).
    Receipt = 0,
    /// A link says nothing, or half a frame (`direct`: 10 s).
    Idle = 1,
    /// The answer to a log-in lies where all clients look, and nobody takes it (`topics`: 10 s).
    Recall = 2,
    /// The second half of a request may follow at once (`queues`: 100 ms).
    Half = 3,
    /// The second half of a request, or of a log-in, may follow (`queues`: 60 s).
    Lapse = 4,
    /// Log-ins that came together (`lanes`: 5 ms).
    Gather = 5,
    /// A password may follow its name (`lanes`: 1 s).
    Password = 6,
    /// The answer to a log-in lies where all clients look (`lanes`: 5 s).
    Unread = 7,
    /// As [`Class::Recall`], for a log-in that was refused and has no session.
    Refusal = 8,
    /// Mail in the store waits for room in memory.
    Starved = 9,
    /// As [`Class::Unread`], for a log-in that was refused and has no session.
    Refused = 10,
}

const CLASSES: [Class; 11] = [
    Class::Receipt,
    Class::Idle,
    Class::Recall,
    Class::Half,
    Class::Lapse,
    Class::Gather,
    Class::Password,
    Class::Unread,
    Class::Refusal,
    Class::Starved,
    Class::Refused,
];

impl Class {
    const fn milliseconds(self) -> u64 {
        match self {
            Class::Receipt => 3_000,
            Class::Idle => 10_000,
            Class::Recall | Class::Refusal => 10_000,
            Class::Half | Class::Starved => 100,
            Class::Lapse => 60_000,
            Class::Gather => 5,
            Class::Password => 1_000,
            Class::Unread | Class::Refused => 5_000,
        }
    }
}

/// One armed timer.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    deadline: u64,
    prev: u32,
    next: u32,
    class: Class,
    what: u32,
}

impl Empty for Timer {
    const EMPTY: Self = Timer { deadline: 0, prev: 0, next: 0, class: Class::Receipt, what: 0 };
}

#[derive(Debug)]
pub(crate) struct Timers<'a> {
    pool: Table<'a, Timer>,
    head: [u32; CLASSES.len()],
    tail: [u32; CLASSES.len()],
    now: u64,
}

impl<'a> Timers<'a> {
    pub(crate) fn new(slots: &'a mut [Slot<Timer>]) -> Self {
        Timers {
            pool: Table::new(slots),
            head: [0; CLASSES.len()],
            tail: [0; CLASSES.len()],
            now: 0,
        }
    }

    /// Sets the time; an earlier one than before counts as the same.
    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn advance(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// Starts a timer; `what` comes back when it fires.
    #[inline]
    pub(crate) fn arm(&mut self, class: Class, what: u32) -> Result<Handle<Timer>, Full<()>> {
        let prev = self.tail.get(class as usize).copied().unwrap_or(0);
        let deadline = self.now.saturating_add(class.milliseconds());
        let timer = Timer { deadline, prev, next: 0, class, what };
        let handle = self.pool.insert(timer).map_err(|_| Full(()))?;
        self.link(class, prev, handle.place());
        self.set_tail(class, handle.place());
        Ok(handle)
    }

    /// Stops a timer; `false` if it has fired or was stopped before.
    #[inline]
    pub(crate) fn cancel(&mut self, handle: Handle<Timer>) -> bool {
        let Some(timer) = self.pool.remove(handle) else { return false };
        self.link(timer.class, timer.prev, timer.next);
        match self.pool.at_mut(timer.next) {
            Some(next) => next.prev = timer.prev,
            None => self.set_tail(timer.class, timer.prev),
        }
        true
    }

    /// When the next timer fires.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.head.iter().filter_map(|place| self.pool.at(*place)).map(|timer| timer.deadline).min()
    }

    /// Takes a timer that is due. Its handle is stale by then.
    pub(crate) fn pop(&mut self) -> Option<(Class, u32)> {
        for (class, place) in CLASSES.into_iter().zip(self.head) {
            if let Some(timer) = self.pool.at(place).copied()
                && timer.deadline <= self.now
                && let Some(handle) = self.pool.handle(place)
            {
                self.cancel(handle);
                return Some((class, timer.what));
            }
        }
        None
    }

    #[inline]
    fn link(&mut self, class: Class, prev: u32, place: u32) {
        match self.pool.at_mut(prev) {
            Some(prev) => prev.next = place,
            None => {
                if let Some(head) = self.head.get_mut(class as usize) {
                    *head = place;
                }
            }
        }
    }

    #[inline]
    fn set_tail(&mut self, class: Class, place: u32) {
        if let Some(tail) = self.tail.get_mut(class as usize) {
            *tail = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn timers_fire_in_order_of_their_deadlines_and_not_once_cancelled() {
        let mut slots = [Slot::EMPTY; 100];
        let mut timers = Timers::new(&mut slots);
        let mut handles = Vec::new();
        for i in 0..100 {
            timers.advance(i);
            let class = if i % 2 == 0 { Class::Receipt } else { Class::Idle };
            handles.push(timers.arm(class, i as u32).unwrap());
        }
        assert_eq!(timers.arm(Class::Recall, 0), Err(Full(())));
        for handle in handles.iter().step_by(4) {
            assert!(timers.cancel(*handle) && !timers.cancel(*handle));
        }
        assert_eq!(timers.poll_timeout(), Some(3_002));
        timers.advance(3_050);
        timers.advance(7);
        assert_eq!(timers.now(), 3_050);
        let fired: Vec<u32> = core::iter::from_fn(|| timers.pop()).map(|(_, what)| what).collect();
        assert_eq!(fired, (2..=50).step_by(4).collect::<Vec<u32>>());
        timers.advance(20_000);
        assert_eq!(core::iter::from_fn(|| timers.pop()).count(), 62);
        assert_eq!(timers.poll_timeout(), None);
    }
}
