//! The store as the loop sees it: the exchange's [`Store`], and commits that run beside the loop.
//!
//! The exchange writes records while a batch is applied. If that left anything to commit
//! ([`Keep::dirty`]), the loop begins a commit ([`Keep::begin_commit`]) and goes on; an answer that
//! promises anything leaves when it is told that the commit is over. A store on disk gathers records
//! in `write`, and its own thread makes them durable.
//!
//! [`Durable`] is on disk, [`Memory`] keeps nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use centrala_core::exchange::{Token, message_id};
use centrala_core::host::{NoRoom, Posted, Record, Store};
use centrala_store::{Error, MailPage, Options, Reader, Restored};

use crate::rooms::FindImage;
use crate::rooms::images::Hash;

/// Called with what was read, on a thread of the store's.
pub type Read<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// Called when a commit is over, on whatever thread; with an error nothing of it is durable, and no
/// promise that rests on it may leave.
pub type Committed = Box<dyn FnOnce(Result<(), NoRoom>) + Send>;

/// A store that commits in batches.
pub trait Keep: Store + std::fmt::Debug {
    /// Whether anything was written since the last commit began.
    fn dirty(&self) -> bool;

    /// Whether users, groups or memberships were changed since the last commit began: nothing leaves
    /// that could tell of such a change before it is durable.
    fn changes_directory(&self) -> bool {
        false
    }

    /// Bytes of what was written since the last commit began.
    fn gathered(&self) -> usize {
        0
    }

    /// Begins to make durable what was written, and does not wait for it. Commits are made in the
    /// order in which they were begun.
    fn begin_commit(&mut self, done: Committed);

    /// What it promises, for the log: where things are kept, if they are.
    fn describe(&self) -> String;

    /// Holds what is to be kept as the password of the user that a record with this token makes.
    fn hold_secret(&mut self, _token: Token, _hash: String) {}

    /// No record brings this token any more.
    fn drop_secret(&mut self, _token: Token) {}

    /// The next message that is an image has this one.
    fn hold_image(&mut self, _hash: Hash) {}

    /// No message has it, or one does: its id.
    fn drop_image(&mut self) -> Option<u64> {
        None
    }

    /// Finds the image of a message.
    fn image_finder(&self) -> FindImage {
        Arc::new(|_, answer| answer(None))
    }

    /// What is kept as a user's password.
    fn password(&self, _user: u32, answer: Read<Option<String>>) {
        answer(Ok(None));
    }

    /// The first of what is kept for a user, behind a priority and sequence, as far as it was
    /// committed before this.
    fn mail_page(&self, _user: u32, _after: (u8, u64), _limit: u32, answer: Read<MailPage>) {
        answer(Ok(MailPage::default()));
    }

    /// Tells the operator what has changed: that it cannot write, that it can again, what is
    /// damaged.
    fn report(&mut self) {}
}

/// Keeps nothing beyond the exchange's own tables: when the server ends, all is gone.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    passwords: HashMap<u32, String>,
    secrets: HashMap<Token, String>,
    images: ImageIndex,
}

#[derive(Clone, Debug, Default)]
struct ImageIndex {
    held: Option<Hash>,
    posted: Option<u64>,
    all: Arc<Mutex<HashMap<u64, Hash>>>,
}

impl ImageIndex {
    fn hold(&mut self, hash: Hash) {
        (self.held, self.posted) = (Some(hash), None);
    }

    fn posted(&mut self, posted: &Posted<'_>) {
        if let Some(hash) = self.held.take_if(|_| posted.image) {
            let id = message_id(posted.sequence);
            self.all.lock().unwrap_or_else(PoisonError::into_inner).insert(id, hash);
            self.posted = Some(id);
        }
    }

    fn drop_held(&mut self) -> Option<u64> {
        self.held = None;
        self.posted.take()
    }

    fn finder(&self) -> FindImage {
        let all = Arc::clone(&self.all);
        Arc::new(move |id, answer| {
            let found = all.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied();
            answer(found);
        })
    }
}

impl Store for Memory {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        match record {
            Record::User { number, secret: Some(token), .. } => {
                // A user that has a password is never made without it.
                self.passwords.insert(number, self.secrets.remove(&token).ok_or(NoRoom)?);
            }
            Record::NoUser { number } => drop(self.passwords.remove(&number)),
            Record::Posted(posted) => self.images.posted(&posted),
            _ => {}
        }
        Ok(())
    }

    fn history(&self) -> bool {
        // Of the messages it remembers which image each has.
        true
    }
}

impl Keep for Memory {
    fn dirty(&self) -> bool {
        false
    }

    fn begin_commit(&mut self, done: Committed) {
        done(Ok(()));
    }

    fn describe(&self) -> String {
        "nothing is kept: users, groups and mail are gone when the server ends".into()
    }

    fn hold_secret(&mut self, token: Token, hash: String) {
        self.secrets.insert(token, hash);
    }

    fn drop_secret(&mut self, token: Token) {
        self.secrets.remove(&token);
    }

    fn hold_image(&mut self, hash: Hash) {
        self.images.hold(hash);
    }

    fn drop_image(&mut self) -> Option<u64> {
        self.images.drop_held()
    }

    fn image_finder(&self) -> FindImage {
        self.images.finder()
    }

    fn password(&self, user: u32, answer: Read<Option<String>>) {
        answer(Ok(self.passwords.get(&user).cloned()));
    }
}

/// Keeps everything in a directory.
#[derive(Debug)]
pub struct Durable {
    store: centrala_store::Store,
    reader: Reader,
    describe: String,
    /// What the operator was told last.
    in_trouble: bool,
    damaged: u64,
    images: ImageIndex,
}

impl Durable {
    /// Opens the store in a directory, and reads what a server has to know.
    ///
    /// # Errors
    /// [`centrala_store::Store::open`]'s.
    pub fn open(directory: &Path, options: &Options) -> Result<(Durable, Restored), Error> {
        let (store, restored) = centrala_store::Store::open(directory, options)?;
        let describe = match options.durability {
            centrala_store::Durability::Commit => {
                format!("{}: on the disk before it is acknowledged", directory.display())
            }
            centrala_store::Durability::Interval(interval) => format!(
                "{}: on the disk within {} ms; a power cut loses what was acknowledged within them",
                directory.display(),
                interval.as_millis()
            ),
        };
        let (reader, damaged) = (store.reader(), store.damaged());
        Ok((
            Durable {
                store,
                reader,
                describe,
                in_trouble: false,
                damaged,
                images: ImageIndex::default(),
            },
            restored,
        ))
    }

    /// The store itself.
    pub fn store(&mut self) -> &mut centrala_store::Store {
        &mut self.store
    }
}

impl Store for Durable {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        if let Record::Posted(posted) = &record {
            self.images.posted(posted);
        }
        self.store.write(record)
    }

    fn history(&self) -> bool {
        true
    }

    fn pages(&self) -> bool {
        true
    }
}

impl Keep for Durable {
    fn dirty(&self) -> bool {
        self.store.is_dirty()
    }

    fn changes_directory(&self) -> bool {
        self.store.changes_directory()
    }

    fn gathered(&self) -> usize {
        self.store.gathered()
    }

    fn begin_commit(&mut self, done: Committed) {
        self.store.begin_commit(|result| done(result.map_err(|_| NoRoom)));
    }

    fn describe(&self) -> String {
        self.describe.clone()
    }

    fn hold_secret(&mut self, token: Token, hash: String) {
        self.store.hold_secret(token, hash);
    }

    fn drop_secret(&mut self, token: Token) {
        self.store.drop_secret(token);
    }

    fn hold_image(&mut self, hash: Hash) {
        self.images.hold(hash);
    }

    fn drop_image(&mut self) -> Option<u64> {
        self.images.drop_held()
    }

    fn image_finder(&self) -> FindImage {
        self.images.finder()
    }

    fn password(&self, user: u32, answer: Read<Option<String>>) {
        self.reader.password(user, answer);
    }

    fn mail_page(&self, user: u32, after: (u8, u64), limit: u32, answer: Read<MailPage>) {
        self.reader.mail_page(user, Some(after), limit, answer);
    }

    fn report(&mut self) {
        match self.store.trouble() {
            Some(error) if !self.in_trouble => {
                tracing::error!(%error, "nothing can be stored: what would have to be is refused");
                self.in_trouble = true;
            }
            None if self.in_trouble => {
                tracing::warn!("the store can write again");
                self.in_trouble = false;
            }
            _ => {}
        }
        let damaged = self.store.damaged();
        if damaged != self.damaged {
            let rows = damaged - self.damaged;
            tracing::error!(rows, damaged, "damaged rows of the store were left out");
            self.damaged = damaged;
        }
    }
}
