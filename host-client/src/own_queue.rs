//! The queue that a client of a SysV dialect has for itself: made before the log-in, emptied and
//! removed on every way out.

use crate::failure::Failure;
use centrala_sysv::{Errno, Queue, Receive};
use std::sync::Mutex;

/// Keys below are requests in an exchange's queue (`topics`), and 0 is private.
const KEY_MIN: i32 = 8;
/// Keys from here on belong to no process: PIDs end below 2^22.
const BEYOND_PIDS: i32 = 1 << 28;
/// How many keys are tried.
const TRIES: i32 = 10_000;

/// The queues that this process has to remove.
static OURS: Mutex<Vec<Queue>> = Mutex::new(Vec::new());

/// Removes what is left of our queues when the process panics: a release build does not unwind.
pub fn remove_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if let Ok(ours) = OURS.try_lock() {
            for queue in ours.iter() {
                let _ = queue.remove();
            }
        }
        report(info);
    }));
}

/// The client's own queue.
#[derive(Debug)]
pub struct OwnQueue {
    queue: Queue,
    key: i32,
}

impl OwnQueue {
    /// A new queue. Its key is the process's PID, as in the original clients and as an exchange
    /// knows a dead client by, unless that key is taken or too low. Nobody but this process's user
    /// and `exchange`, the user that the exchange runs as, may use it.
    ///
    /// # Errors
    /// [`Failure::Unreachable`]: the system has no more queues, or every key is taken.
    pub fn create(exchange: u32) -> Result<OwnQueue, Failure> {
        let pid = std::process::id() as i32;
        OwnQueue::with_key(Some(pid), pid, exchange)
    }

    /// The same, with a key so high that it is no user's index (`queues` tells them apart by that).
    ///
    /// # Errors
    /// As [`OwnQueue::create`].
    pub fn create_beyond_indices(exchange: u32) -> Result<OwnQueue, Failure> {
        OwnQueue::with_key(None, std::process::id() as i32, exchange)
    }

    /// With this key if it is free and no request, or else with one that belongs to no process.
    fn with_key(key: Option<i32>, pid: i32, exchange: u32) -> Result<OwnQueue, Failure> {
        let beyond = BEYOND_PIDS + (pid & 0xffff) * TRIES;
        let key = key.filter(|key| *key >= KEY_MIN);
        for key in key.into_iter().chain(beyond..beyond + TRIES) {
            match Queue::create_new(key, 0o600) {
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(Failure::queue("make a queue of our own", errno)),
                Ok(queue) => {
                    let own = OwnQueue { queue, key };
                    OURS.lock().unwrap_or_else(|held| held.into_inner()).push(queue);
                    // The creator keeps its rights.
                    queue.set_owner(exchange).map_err(|e| Failure::queue("share our queue", e))?;
                    return Ok(own);
                }
            }
        }
        Err(Failure::Unreachable("no key is free for a queue of our own (see ipcs -q)".into()))
    }

    /// The queue.
    pub fn queue(&self) -> Queue {
        self.queue
    }

    /// Its key.
    pub fn key(&self) -> i32 {
        self.key
    }

    /// Lets nobody write to the queue any more, so that what the exchange has for us stays with it,
    /// hands over what is in it, and removes it.
    pub fn close(self, buf: &mut [u8], mut left: impl FnMut(&[u8])) {
        if self.queue.set_max_bytes(0).is_err() {
            return;
        }
        while let Ok(len) = self.queue.receive(buf, 0, Receive::CUT) {
            left(&buf[..len]);
        }
    }
}

impl Drop for OwnQueue {
    fn drop(&mut self) {
        let _ = self.queue.remove();
        OURS.lock().unwrap_or_else(|held| held.into_inner()).retain(|queue| *queue != self.queue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use centrala_sysv::Buffer;

    fn me() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    #[test]
    fn a_key_that_is_taken_or_too_low_gives_way_to_one_of_no_process() {
        // A key of this test's own, so that it is free.
        let pid = 0x4400_0000 + std::process::id() as i32;
        let first = OwnQueue::with_key(Some(pid), pid, me()).unwrap();
        assert_eq!((first.key(), first.queue().stat().unwrap().mode), (pid, 0o600));
        let second = OwnQueue::with_key(Some(pid), pid, me()).unwrap();
        assert!(second.key() >= BEYOND_PIDS && second.key() != pid);
        let third = OwnQueue::create_beyond_indices(me()).unwrap();
        assert!(third.key() >= BEYOND_PIDS && third.key() != second.key());
        let low = OwnQueue::with_key(Some(7), 7, me()).unwrap();
        assert!(low.key() >= BEYOND_PIDS);

        drop(first);
        assert_eq!(Queue::open(pid), Err(Errno::ENOENT));
        assert!(Queue::open(second.key()).is_ok());
    }

    #[test]
    fn closing_hands_over_what_is_left_and_lets_nothing_more_in() {
        let own = OwnQueue::create_beyond_indices(me()).unwrap();
        let queue = own.queue();
        for kind in [5, 4] {
            queue.send(&[kind, 0, 0, 0, 0, 0, 0, 0, kind], false).unwrap();
        }
        let mut left = Vec::new();
        own.close(&mut Buffer::<16>::new(), |message| {
            assert_eq!(queue.send(&[1, 0, 0, 0, 0, 0, 0, 0], false), Err(Errno::EAGAIN));
            left.push(message[8]);
        });
        assert_eq!(left, [5, 4]);
        assert!(queue.stat().is_err(), "removed");
    }
}
