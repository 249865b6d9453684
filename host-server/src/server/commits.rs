//! Commits that run beside the loop.
//!
//! One commit is under way at a time. What the exchange writes meanwhile is gathered and makes the
//! next one, which begins as soon as that is over: also between two events of a turn, so that the
//! disk does not wait for the loop, nor the loop for the disk.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::Server;
use crate::poll::Waker;

/// Bytes gathered while a commit is under way, after which the loop waits for it: a disk that hangs
/// must not cost memory without end.
const MOST: usize = 4 << 20;

/// Which commits have begun, and which are over.
#[derive(Debug)]
pub(super) struct Commits {
    /// The number of the commit that began last.
    pub(super) begun: u64,
    /// The number of the one that was over last: this one, or the one before it.
    pub(super) over: u64,
    /// The number of the last one that changes the directory.
    pub(super) directory: u64,
    ended: Sender<(u64, bool)>,
    endings: Receiver<(u64, bool)>,
    waker: Waker,
}

/// Says how a commit went, also if whoever was to make it is gone.
struct Ending {
    number: u64,
    went: bool,
    ended: Sender<(u64, bool)>,
    waker: Waker,
}

impl Ending {
    fn went(mut self, went: bool) {
        self.went = went;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Once the loop has ended nobody waits for it.
        let _ = self.ended.send((self.number, self.went));
        self.waker.wake();
    }
}

impl Commits {
    pub(super) fn new(waker: Waker) -> Commits {
        let (ended, endings) = channel();
        Commits { begun: 0, over: 0, directory: 0, ended, endings, waker }
    }

    /// Whether one is under way.
    pub(super) fn underway(&self) -> bool {
        self.begun != self.over
    }
}

impl Server<'_> {
    /// Begins a commit, if there is anything to commit and none is under way.
    pub(super) fn begin_commit(&mut self) {
        if self.commits.underway() || !self.store.dirty() {
            return;
        }
        self.commits.begun += 1;
        self.out.counters.commits += 1;
        let number = self.commits.begun;
        if self.store.changes_directory() {
            self.commits.directory = number;
        }
        let (ended, waker) = (self.commits.ended.clone(), self.commits.waker.clone());
        let ending = Ending { number, went: false, ended, waker };
        self.store.begin_commit(Box::new(move |result| ending.went(result.is_ok())));
    }

    /// Takes in that a commit is over, if it is, and begins the next one.
    pub(super) fn follow_commit(&mut self) {
        if self.commits.underway()
            && let Ok((number, went)) = self.commits.endings.try_recv()
        {
            self.commit_over(number, went);
            self.begin_commit();
        }
    }

    /// Waits until the commit that is under way is over, and begins the next one.
    pub(super) fn await_commit(&mut self) {
        if self.commits.underway()
            && let Ok((number, went)) = self.commits.endings.recv()
        {
            self.commit_over(number, went);
            self.begin_commit();
        }
    }

    fn commit_over(&mut self, number: u64, went: bool) {
        self.commits.over = number;
        if went {
            return;
        }
        self.out.counters.commits_failed += 1;
        for batch in self.out.held.iter_mut().filter(|batch| batch.commits.0 <= number) {
            batch.refused = true;
        }
        // What was noted down while it was under way may rest on it.
        self.out.batch.refused = !self.out.batch.ops.is_empty();
        self.store.report();
    }

    /// The commit that has, or will have, all that was written so far.
    pub(super) fn commit_so_far(&self) -> u64 {
        self.commits.begun + u64::from(self.store.dirty())
    }

    /// The commit after which it is safe to tell of the directory as it is.
    pub(super) fn commit_of_directory(&self) -> u64 {
        match self.store.changes_directory() {
            true => self.commits.begun + 1,
            false => self.commits.directory,
        }
    }

    /// Whether more is gathered than should be while a commit is under way.
    pub(super) fn has_gathered_enough(&self) -> bool {
        let held = || self.out.held.iter().map(|batch| batch.size()).sum::<usize>();
        self.commits.underway() && self.store.gathered() + held() > MOST
    }
}
