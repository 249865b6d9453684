//! The thread that writes: it commits batches in their order, checkpoints, prunes, and finds out
//! when a disk that was full has room again.

use crate::apply::{Applied, Apply};
use crate::batch::{Batch, Op};
use crate::canary::{self, Canary};
use crate::error::Error;
use crate::place::{Reserve, wal_of};
use crate::prune::Prune;
use crate::schema::{Synced, VERSION};
use crate::waiting::{self, Waiting};
use crate::{Durability, Shared};
use rusqlite::Connection;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// Called when a commit is over, on the writer's thread.
pub(crate) type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// How long a store that could not write waits before it tries again.
const PROBE: Duration = Duration::from_millis(200);
/// How long it must have been idle before it prunes on.
const IDLE: Duration = Duration::from_millis(20);
/// How often it looks whether messages have become old.
const AGE: Duration = Duration::from_secs(1);
/// Messages written after which it prunes even while it is busy, at most.
const DEBT: usize = 256;

/// What the writer is asked.
pub(crate) enum Request {
    Commit(Batch, Done),
    Close,
}

/// What became of a batch, for who keeps count.
#[derive(Debug)]
pub(crate) struct Completion {
    /// To be used again.
    pub(crate) batch: Batch,
    pub(crate) outcome: Outcome,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Committed(Applied),
    /// Nothing of it is there, or only what made the store smaller: how many messages each user
    /// has waiting now, if that could be found out.
    Failed(Option<HashMap<u32, Waiting>>),
}

/// Runs until it is asked to close, or nobody can ask any more.
pub(crate) fn run(
    mut connection: Connection,
    shared: Arc<Shared>,
    reserve: Reserve,
    requests: Receiver<Request>,
    completions: Sender<Completion>,
) {
    let pages = Arc::new(AtomicU32::new(0));
    let hook = Arc::clone(&pages);
    let hooked = connection.wal_hook(Some(move |_: &mut _, pages| {
        hook.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
        Ok(())
    }));
    let statements = hooked.and_then(|()| {
        Ok((Apply::new(&connection)?, Prune::new(&connection, shared.options.retention)?))
    });
    match statements {
        Ok((apply, prune)) => {
            let checkpoint_at = shared.options.checkpoint;
            let keep = shared.options.retention.messages.unwrap_or(u64::MAX);
            let most_debt = usize::try_from(keep / 8).unwrap_or(DEBT).clamp(1, DEBT);
            let now = Instant::now();
            let mut writer = Writer {
                connection: &connection,
                apply,
                prune,
                shared,
                reserve,
                completions,
                pages,
                checkpoint_at,
                unsynced: None,
                probe_at: now,
                prune_at: Some(now),
                debt: 0,
                most_debt,
                owed: VecDeque::new(),
            };
            writer.serve(&requests);
        }
        Err(error) => {
            let error = Error::engine(&shared.file, &error);
            shared.fail(&error);
            while let Ok(Request::Commit(_, done)) = requests.recv() {
                done(Err(error.clone()));
            }
        }
    }
    // The last to close removes the write-ahead log.
    let _ = connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
}

struct Writer<'c> {
    connection: &'c Connection,
    apply: Apply<'c>,
    prune: Prune<'c>,
    shared: Arc<Shared>,
    reserve: Reserve,
    completions: Sender<Completion>,
    /// Pages in the write-ahead log.
    pages: Arc<AtomicU32>,
    /// How many of them there must be for the next checkpoint.
    checkpoint_at: u32,
    /// When the oldest commit that is not on the disk must be.
    unsynced: Option<Instant>,
    probe_at: Instant,
    prune_at: Option<Instant>,
    /// Messages written since it pruned last.
    debt: usize,
    /// How many of them it lets go by: few where few messages are kept.
    most_debt: usize,
    /// Changes of the directory whose commit failed, in their order: the exchange has gone on with
    /// them, so they are made before anything else is.
    owed: VecDeque<Batch>,
}

impl Writer<'_> {
    fn serve(&mut self, requests: &Receiver<Request>) {
        loop {
            let now = Instant::now();
            let probe = self.shared.failed().then_some(self.probe_at);
            let prune = self.prune_at.filter(|_| self.prune.wanted() && probe.is_none());
            let due = [probe, self.unsynced, prune].into_iter().flatten().min();
            let request = match due {
                Some(due) => requests.recv_timeout(due.saturating_duration_since(now)),
                None => requests.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match request {
                Ok(Request::Commit(batch, done)) => {
                    self.commit(batch, done);
                    if self.debt >= self.most_debt && self.prune.wanted() {
                        self.prune();
                    } else if self.debt > 0 {
                        self.prune_at = Some(Instant::now() + IDLE);
                    }
                }
                Ok(Request::Close) | Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.pay();
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    if self.unsynced.is_some_and(|at| at <= now) {
                        self.sync();
                    }
                    if probe.is_some_and(|at| at <= now) {
                        self.probe();
                    }
                    if prune.is_some_and(|at| at <= now) {
                        self.prune();
                    }
                }
            }
            // Also while requests come without a pause.
            if self.unsynced.is_some_and(|at| at <= Instant::now()) {
                self.sync();
            }
            if self.pages.load(Ordering::Relaxed) >= self.checkpoint_at {
                self.checkpoint();
            }
        }
    }

    fn commit(&mut self, batch: Batch, done: Done) {
        let mut done = Some(done);
        if canary::asked() == Some(Canary::AcknowledgeEarly)
            && let Some(done) = done.take()
        {
            done(Ok(()));
            std::thread::sleep(Duration::from_millis(5));
        }
        let result = self.pay().and_then(|()| self.apply.batch(&batch, |_| true));
        let result = match result.map_err(|error| Error::engine(&self.shared.file, &error)) {
            Err(error) => self.commit_failed(&batch, error),
            committed => committed,
        };
        match result {
            Ok(applied) => {
                for op in batch.ops() {
                    match op {
                        Op::Log(_) => self.debt += 1,
                        Op::Settled { sequence, .. } => self.prune.given(*sequence),
                        _ => {}
                    }
                }
                if let Durability::Interval(interval) = self.shared.options.durability
                    && self.unsynced.is_none()
                {
                    self.unsynced = Some(Instant::now() + interval);
                }
                // Who hears of it next finds the count right.
                let outcome = Outcome::Committed(applied);
                let _ = self.completions.send(Completion { batch, outcome });
                if let Some(done) = done.take() {
                    done(Ok(()));
                }
            }
            Err(error) => {
                let outcome =
                    Outcome::Failed(waiting::all(self.connection).ok().map(|(waiting, _)| waiting));
                let _ = self.completions.send(Completion { batch, outcome });
                if let Some(done) = done.take() {
                    done(Err(error));
                }
            }
        }
    }

    /// Nothing is written any more until a probe succeeds. Of the batch that failed, what makes the
    /// store smaller is tried again with the room in reserve, so that what was delivered is not
    /// delivered a second time; and so is what the exchange goes on with all the same.
    fn commit_failed(&mut self, batch: &Batch, error: Error) -> Result<Applied, Error> {
        self.shared.fail(&error);
        self.probe_at = Instant::now() + PROBE;
        let in_order = self.owed.is_empty();
        let again = |op: &Op| {
            matches!(op, Op::Settled { .. } | Op::Reserve { .. })
                || (in_order && batch.directory && op.is_of_directory())
        };
        let (mut result, mut directory_made) = (Err(error.clone()), false);
        if error.is_full() && batch.ops().iter().all(Op::shrinks) {
            result = self.commit_in_reserve(batch, |_| true);
            directory_made = in_order && result.is_ok();
        } else if error.is_full() && batch.ops().iter().any(again) {
            directory_made = self.commit_in_reserve(batch, again).is_ok() && in_order;
        }
        if batch.directory && !directory_made {
            // What is owed already comes before it, also where it is made.
            self.owed.push_back(batch.directory());
        }
        result
    }

    /// Makes the changes of the directory that are owed.
    fn pay(&mut self) -> rusqlite::Result<()> {
        while let Some(owed) = self.owed.front() {
            self.apply.batch(owed, |_| true)?;
            self.owed.pop_front();
        }
        Ok(())
    }

    /// In the room that tidying up makes, or in the reserve's.
    fn commit_in_reserve(
        &mut self,
        batch: &Batch,
        which: impl Fn(&Op) -> bool + Copy,
    ) -> Result<Applied, Error> {
        self.checkpoint();
        let tidied = self.apply.batch(batch, which);
        let result = tidied.or_else(|_| {
            self.reserve.free();
            self.apply.batch(batch, which)
        });
        result.map_err(|error| Error::engine(&self.shared.file, &error))
    }

    /// Whether there is room again: beyond the reserve, which must be whole, and for a commit.
    fn probe(&mut self) {
        self.checkpoint();
        let commit = format!("BEGIN IMMEDIATE; PRAGMA user_version = {VERSION}; COMMIT");
        let room = self.reserve.take().and_then(|()| self.reserve.try_more());
        let probed = room.and_then(|()| {
            self.connection.execute_batch(&commit).map_err(|error| {
                let _ = self.connection.execute_batch("ROLLBACK");
                Error::engine(&self.shared.file, &error)
            })
        });
        let probed = probed
            .and_then(|()| self.pay().map_err(|error| Error::engine(&self.shared.file, &error)));
        match probed {
            Ok(()) => self.shared.recovered(),
            Err(error) => {
                self.shared.fail(&error);
                self.probe_at = Instant::now() + PROBE;
            }
        }
    }

    /// Syncs commits that were acknowledged before they were on the disk.
    fn sync(&mut self) {
        self.unsynced = None;
        let file = wal_of(&self.shared.file);
        let synced = File::open(&file).and_then(|file| file.sync_data());
        if let Err(error) = synced {
            self.shared.fail(&Error::io("syncing", &file, error));
            self.probe_at = Instant::now() + PROBE;
        }
    }

    /// Moves the write-ahead log into the file, as far as no reader is in the way.
    fn checkpoint(&mut self) {
        let threshold = self.shared.options.checkpoint;
        let moved = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        match moved {
            Ok((all, moved)) if all == moved => {
                // The next commit begins it anew.
                self.pages.store(0, Ordering::Relaxed);
                self.checkpoint_at = threshold;
            }
            _ => {
                // A reader was in the way, or the disk is full: nothing is lost, the log grows.
                let pages = self.pages.load(Ordering::Relaxed);
                self.checkpoint_at = pages.saturating_add(threshold / 4).max(threshold);
            }
        }
    }

    /// One step. What it removes need not be durable by itself: the next commit syncs it too.
    fn prune(&mut self) {
        let now = Instant::now();
        self.debt = self.debt.saturating_sub(DEBT);
        let connection = self.connection;
        let durable = match self.shared.options.durability {
            Durability::Commit => Synced::Commit,
            Durability::Interval(_) => Synced::Later,
        };
        let mut step = || {
            connection.execute_batch(Synced::Later.pragma())?;
            connection.execute_batch("BEGIN IMMEDIATE")?;
            let more = self.prune.step(now)?;
            connection.execute_batch("COMMIT")?;
            Ok(more)
        };
        let pruned: rusqlite::Result<bool> = step();
        if pruned.is_err() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        if let Err(error) = connection.execute_batch(durable.pragma()) {
            // Nothing may be acknowledged without its sync.
            self.shared.fail(&Error::engine(&self.shared.file, &error));
            self.probe_at = now + PROBE;
        }
        self.apply.forget_pairs(self.prune.emptied.drain(..));
        self.prune_at = Some(match pruned {
            Ok(true) => now + IDLE,
            _ => now + AGE,
        });
    }
}
