//! The store as the loop sees it: the exchange's [`Store`], and commits that run beside the loop.
//!
//! The exchange writes records while a batch is applied. If that left anything to commit
//! ([`Keep::dirty`]), the loop begins a commit ([`Keep::begin_commit`]) and goes on; an answer that
//! promises anything leaves when it is told that the commit is over. A store on disk gathers records
//! in `write`, and its own thread makes them durable.
//!
//! [`Durable`] is on disk, [`Memory`] keeps nothing that outlasts the server.

use std::path::Path;
use std::sync::Arc;

use centrala_core::exchange::Token;
use centrala_core::host::{Count, NoRoom, Record, Store};
use centrala_core::request::Chat;
use centrala_store::{
    Conversation, Error, Image, KeptMessage, MailPage, Options, Reader, Restored,
};

pub use crate::memory::Memory;

use crate::rooms::Index;
use crate::rooms::index::{InMemory, Stored};

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

    /// What is kept as a user's password.
    fn password(&self, _user: u32, answer: Read<Option<String>>) {
        answer(Ok(None));
    }

    /// The first of what is kept for a user, behind a priority and sequence, as far as it was
    /// committed before this.
    fn mail_page(&self, _user: u32, _after: (u8, u64), _limit: u32, answer: Read<MailPage>) {
        answer(Ok(MailPage::default()));
    }

    /// Holds the image that the next message is which the exchange says is one.
    fn hold_image(&mut self, _image: Image) {}

    /// No message comes that is the image held last. The sequence of the one that took it.
    fn drop_image(&mut self) -> Option<u64> {
        None
    }

    /// Which images messages are. This and what follows is of what was committed before.
    fn image_index(&self) -> Arc<dyn Index> {
        Arc::new(InMemory::default())
    }

    /// Where the newest messages of a history are that are older than `before`: their sequences,
    /// oldest first, at most [`centrala_store::PLACES`].
    fn places(&self, _of: Conversation, _before: Option<u64>, _limit: u32, answer: Read<Vec<u64>>) {
        answer(Ok(Vec::new()));
    }

    /// The messages at some of these places, in that order, without those that are gone since.
    fn messages(&self, _of: Conversation, _at: Vec<u64>, answer: Read<Vec<KeptMessage>>) {
        answer(Ok(Vec::new()));
    }

    /// The message of a sequence.
    fn message(&self, _sequence: u64, answer: Read<Option<KeptMessage>>) {
        answer(Ok(None));
    }

    /// How many messages these conversations of a user have, and its direct ones.
    fn counts(&self, _user: u32, _chats: Vec<Chat>, answer: Read<Vec<Count>>) {
        answer(Ok(Vec::new()));
    }

    /// Tells the operator what has changed: that it cannot write, that it can again, what is
    /// damaged.
    fn report(&mut self) {}
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
        Ok((Durable { store, reader, describe, in_trouble: false, damaged }, restored))
    }

    /// The store itself.
    pub fn store(&mut self) -> &mut centrala_store::Store {
        &mut self.store
    }
}

impl Store for Durable {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
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

    fn password(&self, user: u32, answer: Read<Option<String>>) {
        self.reader.password(user, answer);
    }

    fn mail_page(&self, user: u32, after: (u8, u64), limit: u32, answer: Read<MailPage>) {
        self.reader.mail_page(user, Some(after), limit, answer);
    }

    fn hold_image(&mut self, image: Image) {
        self.store.hold_image(image);
    }

    fn drop_image(&mut self) -> Option<u64> {
        self.store.drop_image()
    }

    fn image_index(&self) -> Arc<dyn Index> {
        Arc::new(Stored(self.reader.clone()))
    }

    fn places(&self, of: Conversation, before: Option<u64>, limit: u32, answer: Read<Vec<u64>>) {
        self.reader.places(of, before, limit, answer);
    }

    fn messages(&self, of: Conversation, at: Vec<u64>, answer: Read<Vec<KeptMessage>>) {
        self.reader.messages(of, at, answer);
    }

    fn message(&self, sequence: u64, answer: Read<Option<KeptMessage>>) {
        self.reader.message(sequence, answer);
    }

    fn counts(&self, user: u32, chats: Vec<Chat>, answer: Read<Vec<Count>>) {
        self.reader.counts(user, chats, answer);
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
