//! The store as the exchange's thread has it: it takes records, keeps count, and hands batches to
//! the writer.

use crate::batch::{Batch, Op};
use crate::error::Error;
use crate::images::Image;
use crate::place::{Place, Reserve, wal_of};
use crate::reader::{self, Question, Reader};
use crate::restore::{self, Restored};
use crate::schema::{self, Synced};
use crate::writer::{self, Completion, Outcome, Request};
use crate::{Durability, Options, Shared, backup};
use centrala_core::exchange::{Token, message_id};
use centrala_core::host::NoRoom;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

mod records;

/// Sequences that are reserved at once, at least. A server that is killed skips at most so many, or
/// four times as many as came during one commit.
const AHEAD: u64 = 4096;
/// No message has one that is lower, but for those that were handed back.
const FIRST: u64 = u64::MAX - message_id(u64::MAX);

/// A store that is open. It belongs to the one thread that has the exchange; whoever reads has a
/// [`Reader`].
///
/// Dropping it ends its threads in order, without what was not committed.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    /// What was written since the last commit began.
    batch: Batch,
    /// Batches whose memory is free again.
    spare: Vec<Batch>,
    /// How each batch on its way changes the number of messages that wait.
    underway: VecDeque<Vec<(u32, i64)>>,
    requests: Sender<Request>,
    completions: Receiver<Completion>,
    questions: Sender<Question>,
    threads: Vec<JoinHandle<()>>,
    /// How many messages wait for each user, and for all, with what is not committed yet.
    waiting: HashMap<u32, u32>,
    total: u64,
    users: HashSet<u32>,
    /// Passwords of users that are about to be made.
    secrets: HashMap<Token, String>,
    /// The image that the next message is.
    image: Option<Image>,
    /// The message that took it.
    imaged: Option<u64>,
    /// The newest sequence that the exchange has given.
    newest: u64,
    /// What the log, or else `newest` in the file, has of it, with what is in the batch.
    written: u64,
    /// Up to here sequences may be given: those of a server that is killed are not given again.
    reserved: u64,
    /// What that will be when all that was written is committed.
    reserving: u64,
    /// `newest` when the last commit began.
    committing: u64,
    /// Memberships, with what is left of each.
    members: HashMap<(u32, u32), i32>,
    /// The owners of groups.
    owners: HashMap<u32, u32>,
    /// A commit within [`write`](centrala_core::host::Store::write) failed: what was written before it is gone too.
    lost: Option<Error>,
    /// Changes of the directory wait for the next commit too.
    gathers: bool,
    /// The directory stays locked as long as anything is open.
    _place: Place,
}

impl Store {
    /// Opens the store in a directory, which is made if it is missing, and reads what a server has
    /// to know. An older store is brought to this version.
    ///
    /// # Errors
    /// [`Error::InUse`] if another server has it, [`Error::Newer`], [`Error::Foreign`],
    /// [`Error::Damaged`] unless it may be moved aside, and what the disk refuses.
    pub fn open(dir: &Path, options: &Options) -> Result<(Store, Restored), Error> {
        let place = Place::take(dir)?;
        let reserve = place.reserve(options.reserve);
        let opened = match open_file(&place, options) {
            Err(Error::Full { .. }) => {
                reserve.free();
                open_file(&place, options)
            }
            opened => opened,
        };
        let (connection, restored, counts) = match opened {
            Err(Error::Damaged { .. }) if options.quarantine => {
                let aside = place.move_aside()?;
                let (connection, mut restored, counts) = open_file(&place, options)?;
                restored.quarantined = Some(aside);
                (connection, restored, counts)
            }
            opened => opened?,
        };
        let shared = Arc::new(Shared::new(place.file(), options.clone()));
        shared.count_damaged(u32::try_from(restored.damaged).unwrap_or(u32::MAX));
        if let Err(error) = reserve.take() {
            // The writer tries again, and writes are refused until it succeeds.
            shared.fail(&error);
        }
        let store = Store::start(place, shared, connection, reserve, &restored, counts)?;
        Ok((store, restored))
    }

    fn start(
        place: Place,
        shared: Arc<Shared>,
        connection: Connection,
        reserve: Reserve,
        restored: &Restored,
        waiting: HashMap<u32, u32>,
    ) -> Result<Store, Error> {
        let read = schema::open_reader(&place.file())?;
        let (requests, asked) = mpsc::channel();
        let (completed, completions) = mpsc::channel();
        let (questions, questioned) = mpsc::channel();
        let thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(|error| Error::io("starting a thread", &shared.file, error))
        };
        let for_writer = Arc::clone(&shared);
        let writer = move || writer::run(connection, for_writer, reserve, asked, completed);
        let for_reader = Arc::clone(&shared);
        let reader = move || reader::run(&read, &for_reader, &questioned);
        // In the order in which they are ended: the last connection to close tidies up.
        let threads = vec![
            thread("store-reader", Box::new(reader))?,
            thread("store-writer", Box::new(writer))?,
        ];
        let members =
            restored.memberships.iter().map(|member| ((member.user, member.group), member.left));
        Ok(Store {
            batch: Batch::default(),
            spare: Vec::new(),
            underway: VecDeque::new(),
            requests,
            completions,
            questions,
            threads,
            total: waiting.values().copied().map(u64::from).sum(),
            waiting,
            users: restored.users.iter().map(|user| user.number).collect(),
            secrets: HashMap::new(),
            image: None,
            imaged: None,
            newest: restored.newest,
            written: restored.newest,
            reserved: 0,
            reserving: 0,
            committing: restored.newest.max(FIRST),
            members: members.collect(),
            owners: restored.groups.iter().map(|group| (group.number, group.owner)).collect(),
            lost: None,
            gathers: false,
            shared,
            _place: place,
        })
    }

    /// Asks this store; for any thread.
    pub fn reader(&self) -> Reader {
        Reader { questions: self.questions.clone(), shared: Arc::clone(&self.shared) }
    }

    /// Whether there is anything to commit.
    pub fn is_dirty(&self) -> bool {
        !self.batch.is_empty() || self.lost.is_some()
    }

    /// From now on changes of the directory are durable at the next commit, like all else: for a
    /// host that lets nothing out that was made after such a change
    /// ([`Store::changes_directory`]) before that is durable. If that commit fails they are not
    /// forgotten, as the exchange goes on with them: they are written before anything that comes
    /// later, and before the store says that it has recovered.
    pub fn gather_directory(&mut self) {
        self.gathers = true;
    }

    /// Whether the directory was changed since the last commit began.
    pub fn changes_directory(&self) -> bool {
        self.batch.directory
    }

    /// Bytes of what was written since the last commit began.
    pub fn gathered(&self) -> usize {
        self.batch.size()
    }

    /// Messages that wait for a user, with those not committed yet.
    pub fn waiting(&self, user: u32) -> u32 {
        self.waiting.get(&user).copied().unwrap_or(0)
    }

    /// Messages that wait for all users together, with those not committed yet.
    pub fn total_waiting(&self) -> u64 {
        self.total
    }

    /// Damaged rows met since it was opened.
    pub fn damaged(&self) -> u64 {
        self.shared.damaged()
    }

    /// Why nothing is written at the moment; `None` if all is well. It recovers by itself.
    pub fn trouble(&self) -> Option<Error> {
        self.shared.trouble()
    }

    /// Commits what was written since the last commit, and waits for it.
    ///
    /// # Errors
    /// Why nothing of it was: no promise that rests on it may leave.
    pub fn commit(&mut self) -> Result<(), Error> {
        let result = reader::wait(|done| self.begin_commit(done));
        self.keep_count();
        result
    }

    /// Hands what was written since the last commit to the writer, and does not wait for it. `done`
    /// is called when it is durable, or has failed, on the writer's thread; or at once if there is
    /// nothing to commit. Commits are made in the order in which they were begun.
    pub fn begin_commit(&mut self, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        self.keep_count();
        if self.written < self.newest && !self.shared.failed() {
            self.written = self.newest;
            self.batch.push(Op::Newest { sequence: self.newest });
        }
        if !self.batch.is_empty() && self.reserved != 0 {
            self.reserve_ahead();
        }
        self.committing = self.newest.max(FIRST);
        let lost = self.lost.take();
        if self.batch.is_empty() && self.underway.is_empty() {
            return done(lost.map_or(Ok(()), Err));
        }
        let mut batch = std::mem::replace(&mut self.batch, self.spare.pop().unwrap_or_default());
        self.underway.push_back(std::mem::take(&mut batch.waiting));
        let done = move |result: Result<(), Error>| done(lost.map_or(result, Err));
        if let Err(refused) = self.requests.send(Request::Commit(batch, Box::new(done)))
            && let Request::Commit(_, done) = refused.0
        {
            self.underway.pop_back();
            done(Err(Error::Closed));
        }
    }

    /// Reserves the first sequences: messages may be given them as soon as they come. Without this
    /// the first message waits for it.
    ///
    /// # Errors
    /// It could not be written. The first message tries again.
    pub fn reserve(&mut self) -> Result<(), Error> {
        self.reserve_ahead();
        self.commit_within()
    }

    /// Reserves more sequences if half of those that were have been given: enough for as many
    /// messages as come during several commits.
    fn reserve_ahead(&mut self) {
        let newest = self.newest.max(FIRST);
        let ahead = newest.saturating_sub(self.committing).saturating_mul(4).max(AHEAD);
        if self.reserving < newest.saturating_add(ahead / 2) {
            self.reserving = newest.saturating_add(ahead);
            self.batch.push(Op::Reserve { sequence: self.reserving });
        }
    }

    /// A message has a sequence that is not known to be reserved.
    #[cold]
    fn await_reserved(&mut self) {
        self.keep_count();
        if self.reserved >= self.newest {
            return;
        }
        self.reserve_ahead();
        // Where nothing can be written, live messages do not wait: the next commit tries it in the
        // room of the reserve.
        if !self.shared.failed() {
            let _ = self.commit_within();
        }
    }

    /// Sets, or removes, what is kept as a user's password: a text that only the host understands,
    /// such as a hash in PHC form. Durable when it returns.
    ///
    /// # Errors
    /// There is no such user, or it could not be written: it is as it was.
    pub fn set_password(&mut self, user: u32, hash: Option<&str>) -> Result<(), Error> {
        if !self.users.contains(&user) {
            return Err(Error::NoUser { user });
        }
        let hash = hash.map(|hash| self.batch.copy(hash.as_bytes()));
        self.batch.push(Op::Password { user, hash });
        self.commit_within()
    }

    /// Holds what is to be kept as the password of a user that is about to be made: the record of
    /// it brings this token ([`Ask::Prepare`](centrala_core::host::Ask::Prepare)). Nothing of it is on the disk
    /// before that.
    pub fn hold_secret(&mut self, token: Token, hash: String) {
        self.secrets.insert(token, hash);
    }

    /// No user will be made with it.
    pub fn drop_secret(&mut self, token: Token) {
        self.secrets.remove(&token);
    }

    /// Holds the image that the next message is which the exchange says is one
    /// ([`Posted::image`](centrala_core::host::Posted::image)): what is noted of it is durable with the message.
    pub fn hold_image(&mut self, image: Image) {
        (self.image, self.imaged) = (Some(image), None);
    }

    /// No message comes that is the image held last. The sequence of the one that took it.
    pub fn drop_image(&mut self) -> Option<u64> {
        self.image = None;
        self.imaged.take()
    }

    /// Notes, for the next commit, that a session outlasts its server; `user` 0 that there is none
    /// at that address any more.
    ///
    /// # Errors
    /// Nothing is written at the moment.
    pub fn note_session(&mut self, dialect: u8, address: i64, user: u32) -> Result<(), NoRoom> {
        self.take(Op::Session { dialect, address, user })
    }

    /// Notes, for the next commit, the value of one of the host's own counters.
    ///
    /// # Errors
    /// Nothing is written at the moment.
    pub fn note_counter(&mut self, kind: u8, key: u32, value: u64) -> Result<(), NoRoom> {
        self.take(Op::Counter { kind, key, value })
    }

    /// Commits what was written, and ends the store's threads.
    ///
    /// # Errors
    /// What was written since the last commit is lost.
    pub fn close(mut self) -> Result<(), Error> {
        self.commit()
    }

    /// Takes an operation, unless nothing is written at the moment.
    fn take(&mut self, op: Op) -> Result<(), NoRoom> {
        if (self.shared.failed() && !op.shrinks()) || !self.batch.fits(0) {
            return Err(NoRoom);
        }
        self.batch.push(op);
        Ok(())
    }

    /// A commit of the batch so far, because what was just put into it must be durable now. If it
    /// fails, so has all that was written before it, and the next commit says so.
    fn commit_within(&mut self) -> Result<(), Error> {
        let lost = self.lost.take();
        let result = self.commit();
        self.lost = lost.or_else(|| result.clone().err());
        result
    }

    /// Takes a change of the directory, and makes it durable, unless such changes are gathered.
    fn take_now(&mut self, op: Op) -> Result<(), NoRoom> {
        self.take(op)?;
        if self.gathers {
            self.batch.directory = true;
            return Ok(());
        }
        self.commit_within().map_err(|_| NoRoom)
    }

    /// Copies a name for an operation.
    fn name(&mut self, name: &[u8]) -> Result<crate::batch::Text, NoRoom> {
        if self.shared.failed() || !self.batch.fits(name.len()) {
            return Err(NoRoom);
        }
        Ok(self.batch.copy(name))
    }

    fn count(&mut self, user: u32, change: i64) {
        let waiting = self.waiting.entry(user).or_default();
        let before = *waiting;
        let after = i64::from(before).saturating_add(change).max(0);
        *waiting = u32::try_from(after).unwrap_or(u32::MAX);
        self.total = self.total.saturating_sub(before.into()).saturating_add((*waiting).into());
        if *waiting == 0 {
            self.waiting.remove(&user);
        }
    }

    /// Learns what became of the batches that were handed to the writer.
    fn keep_count(&mut self) {
        while let Ok(Completion { mut batch, outcome }) = self.completions.try_recv() {
            self.underway.pop_front();
            match outcome {
                Outcome::Committed(applied) => {
                    self.reserved = self.reserved.max(applied.reserved);
                    for (user, change) in applied.waiting {
                        self.count(user, change);
                    }
                }
                Outcome::Failed(waiting) => {
                    // The log lacks what the batch had.
                    self.written = 0;
                    self.reserving = self.reserved;
                    if let Some(waiting) = waiting {
                        (self.waiting, self.total) = (HashMap::new(), 0);
                        for (user, waiting) in waiting {
                            self.count(user, waiting.messages);
                        }
                        let later = self.underway.iter().flatten().chain(&self.batch.waiting);
                        for (user, change) in later.copied().collect::<Vec<_>>() {
                            self.count(user, change);
                        }
                    }
                }
            }
            batch.clear();
            if self.spare.len() < 2 {
                self.spare.push(batch);
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        backup::close(&self.shared);
        let _ = self.questions.send(Question::Close);
        // What was not committed may have been delivered: its numbers are not given again.
        let unwritten = self.written < self.newest || !self.batch.is_empty();
        if (unwritten || self.reserving != 0) && !self.shared.failed() {
            let mut batch = Batch::default();
            batch.push(Op::Newest { sequence: self.newest });
            batch.push(Op::Reserve { sequence: 0 });
            let _ = self.requests.send(Request::Commit(batch, Box::new(|_| {})));
        }
        for (i, thread) in self.threads.drain(..).enumerate() {
            if i == 1 {
                let _ = self.requests.send(Request::Close);
            }
            let _ = thread.join();
        }
    }
}

/// Opens, or makes, the file, brings it to this version, moves the write-ahead log into it, and
/// reads what a server has to know. A file that is refused is left as it was.
fn open_file(
    place: &Place,
    options: &Options,
) -> Result<(Connection, Restored, HashMap<u32, u32>), Error> {
    let file = place.file();
    let synced = match options.durability {
        Durability::Commit => Synced::Commit,
        Durability::Interval(_) => Synced::Later,
    };
    let connection = schema::open_writer(&file, synced)?;
    let engine = |error: rusqlite::Error| Error::engine(&file, &error);
    let keep_wal = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(keep_wal, true).map_err(engine)?;
    schema::version(&connection, &file)?;
    is_whole(&connection, &file)?;
    schema::migrate(&connection, &file)?;
    // What a server that was killed left there is synced with this, also where its own sync failed.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(engine)?;
    crate::place::sync_dir(place.dir())?;
    let (restored, counts) = restore::load(&connection, &file)?;
    connection.set_db_config(keep_wal, false).map_err(engine)?;
    Ok((connection, restored, counts))
}

/// A file that ends before it should is found out here, and not when the first row is missing.
fn is_whole(connection: &Connection, file: &Path) -> Result<(), Error> {
    let engine = |error: rusqlite::Error| Error::engine(file, &error);
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(engine);
    let (pages, size) = (number("PRAGMA page_count")?, number("PRAGMA page_size")?);
    let expected = pages.saturating_mul(size).unsigned_abs();
    let length = std::fs::metadata(file).map_err(|error| Error::io("reading", file, error))?.len();
    let wal = std::fs::metadata(wal_of(file)).map_or(0, |wal| wal.len());
    if wal == 0 && length < expected {
        let what = format!("it ends after {length} of {expected} bytes");
        return Err(Error::Damaged { file: file.to_owned(), what });
    }
    Ok(())
}
