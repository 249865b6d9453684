//! The durable store of a Centrala server: core's [`Store`](centrala_core::host::Store) on SQLite.
//!
//! # What is durable when
//!
//! The exchange writes records as it goes; they are copied into a batch, and nothing waits. The
//! host then commits the batch, once, and lets out the answers that promise something when it is
//! told that the batch is on the disk:
//!
//! 1. Apply what has arrived; let out each link's frames up to its first promise.
//! 2. [`Store::begin_commit`] (or [`Store::commit`], which waits).
//! 3. When it is done: let out the promises, granted or refused.
//!
//! Users, groups, new memberships and their end are durable when they have been written: the batch
//! so far is committed with them. A host that lets out nothing that could tell of them before their
//! commit has them wait for it like the rest ([`Store::gather_directory`]). With [`Durability::Interval`] a commit is done when the operating
//! system has it; a power cut then costs what was acknowledged within that interval.
//!
//! A commit is all there or not at all. Mail that is settled before its commit never touches the
//! disk. Settling is written like everything else; if that fails, or the power goes before it, the
//! message is delivered a second time. None is lost.
//!
//! # Threads
//!
//! [`Store`] stays with the exchange. One thread writes, checkpoints and prunes; one reads. They
//! answer by calling back, on their own threads: a callback hands the result over and returns.
//!
//! # When something is wrong
//!
//! - The disk is full, or fails: the commit fails, and all that needs room is refused from then on
//!   ([`Store::trouble`]). Reading goes on, and so does settling, in the room of a reserve file.
//!   Several times a second the store tries whether it can write again.
//! - A row is damaged: it is left out, and counted ([`Store::damaged`]). Each row has a checksum over
//!   its key and all its values; it is looked at whenever a row is read.
//! - The file is damaged: [`Error::Damaged`] says which, and what is wrong. With
//!   [`Options::quarantine`] it is moved aside and the store begins anew; it is never overwritten.
//!
//! [`check`] looks through a store and changes nothing, not even the time of a file.

mod apply;
mod backup;
mod batch;
mod canary;
mod chats;
mod check;
mod counts;
mod error;
mod images;
mod kept;
mod key;
mod pages;
mod place;
mod prune;
mod reader;
mod restore;
mod rows;
mod schema;
mod store;
mod sum;
mod view;
mod waiting;
mod writer;

pub use backup::back_up;
pub use check::{Damage, Report, check};
pub use error::Error;
pub use images::Image;
pub use kept::{Conversation, HistoryPage, KeptMail, KeptMessage, MailPage};
pub use pages::{PAGE, PAGE_BYTES, PLACES};
pub use place::FILE;
pub use reader::{Reader, wait};
pub use restore::{Counter, Group, Membership, PrivateChat, Restored, Session, User, Waiting};
pub use store::Store;
pub use view::View;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk: nothing that was acknowledged is lost, whatever happens.
    #[default]
    Commit,
    /// When the operating system has it; it is on the disk so much later. A server that is killed
    /// loses nothing. A power cut loses what was acknowledged within that time.
    Interval(Duration),
}

/// How much may wait for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages for one user.
    pub mailbox: u32,
    /// Messages for all users together.
    pub mail: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { mailbox: 100_000, mail: 1_000_000 }
    }
}

/// How much of histories is kept. A message that somebody is owed is kept beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest messages of all conversations together; at least 1. `None`: all.
    pub messages: Option<u64>,
    /// Messages younger than this. `None`: all.
    pub age: Option<Duration>,
}

impl Retention {
    /// Everything.
    pub const FOREVER: Retention = Retention { messages: None, age: None };
}

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// When a commit is acknowledged.
    pub durability: Durability,
    /// How much may wait for users.
    pub limits: Limits,
    /// How much of histories is kept.
    pub retention: Retention,
    /// Whether a damaged file is moved aside, and the store begins anew.
    pub quarantine: bool,
    /// Bytes of the reserve file, whose room serves to tidy up on a full disk.
    pub reserve: u64,
    /// Pages (of 4096 bytes) of the write-ahead log after which it is moved into the file.
    pub checkpoint: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            durability: Durability::Commit,
            limits: Limits::default(),
            retention: Retention::FOREVER,
            quarantine: false,
            reserve: 8 << 20,
            checkpoint: 2048,
        }
    }
}

/// What the store's threads have in common.
#[derive(Debug)]
struct Shared {
    file: PathBuf,
    options: Options,
    failed: AtomicBool,
    trouble: Mutex<Option<Error>>,
    damaged: AtomicU64,
    backup: Mutex<backup::Backup>,
}

impl Shared {
    fn new(file: PathBuf, options: Options) -> Shared {
        Shared {
            file,
            options,
            failed: AtomicBool::new(false),
            trouble: Mutex::new(None),
            damaged: AtomicU64::new(0),
            backup: Mutex::default(),
        }
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    fn fail(&self, error: &Error) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        self.failed.store(true, Ordering::Release);
    }

    fn recovered(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.failed.store(false, Ordering::Release);
    }

    fn trouble(&self) -> Option<Error> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    fn count_damaged(&self, rows: u32) {
        self.damaged.fetch_add(rows.into(), Ordering::Relaxed);
    }
}

/// Unix time in milliseconds.
fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
