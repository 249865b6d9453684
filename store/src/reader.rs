//! What is read while the server runs: on a connection and a thread of its own, so that nobody who
//! writes waits for it.

use crate::counts::{Counting, Counts};
use crate::error::Error;
use crate::images::{Image, Images};
use crate::key::Key;
use crate::rows::{LOG, LogSum, Own, USER, group_sum, mail_sum, user_row};
use crate::sum;
use crate::{Shared, backup};
use centrala_core::host::{Count, Mail, Posted};
use centrala_core::request::Chat;
use rusqlite::{Connection, OptionalExtension, Result as Sql, Statement};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

/// Messages of one page, at most.
pub const PAGE: u32 = 256;
/// Bytes of text after which a page ends, however many messages were asked for.
pub const PAGE_BYTES: usize = 256 * 1024;

/// Messages of a history whose places are given at once, at most ([`Reader::places`]).
pub const PLACES: u32 = 1000;

/// Whose messages a history is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// A group, by number.
    Group(u32),
    /// The direct messages of two users, by number, in either order; twice the same for what one
    /// wrote to itself. What they say in a private chat about a group is not among them.
    Pair(u32, u32),
    /// The private chat about a group between its owner and a user.
    Private {
        /// Group number.
        group: u32,
        /// User number.
        user: u32,
    },
}

impl Conversation {
    /// A conversation as one of its users names it.
    pub fn of(user: u32, chat: Chat) -> Conversation {
        match chat {
            Chat::Group(group) => Conversation::Group(group),
            Chat::Private { group, user } => Conversation::Private { group, user },
            Chat::Direct(other) => Conversation::Pair(user, other),
        }
    }
}

/// A message that is kept for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMail {
    user: u32,
    sequence: u64,
    id: u32,
    from: u32,
    group: u32,
    about: u32,
    image: bool,
    priority: u8,
    last: bool,
    time: u64,
    text: Box<[u8]>,
}

impl KeptMail {
    /// As core's record of it.
    pub fn record(&self) -> Mail<'_> {
        let KeptMail { user, sequence, id, from, group, about, image, .. } = *self;
        let KeptMail { priority, last, time, ref text, .. } = *self;
        Mail { user, sequence, id, from, group, about, image, priority, last, time, text }
    }
}

/// Some of what is kept for a user, in the order in which it is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailPage {
    /// By priority, then by sequence.
    pub mail: Vec<KeptMail>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<(u8, u64)>,
    /// Messages left out of this page because they are damaged.
    pub damaged: u32,
}

/// A message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMessage {
    sequence: u64,
    from: u32,
    to: u32,
    group: u32,
    about: u32,
    image: bool,
    priority: u8,
    time: u64,
    text: Box<[u8]>,
}

impl KeptMessage {
    /// As core's record of it. The sender is 0 if it is gone.
    pub fn record(&self) -> Posted<'_> {
        let KeptMessage { sequence, from, to, group, about, image, priority, time, ref text } =
            *self;
        Posted { sequence, from, to, group, about, image, priority, time, text }
    }

    fn key(&self) -> Option<Key> {
        Key::of(self.from, self.to, self.group, self.about)
    }
}

impl From<&Posted<'_>> for KeptMessage {
    fn from(posted: &Posted<'_>) -> KeptMessage {
        let Posted { sequence, from, to, group, about, image, priority, time, text } = *posted;
        let text = text.into();
        KeptMessage { sequence, from, to, group, about, image, priority, time, text }
    }
}

/// Some of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// The newest of those asked for, oldest first.
    pub messages: Vec<KeptMessage>,
    /// Where the page of older ones ends (its `before`); `None` if there are none.
    pub before: Option<u64>,
    /// Messages left out of this page because they are damaged.
    pub damaged: u32,
}

type Answer<T> = Box<dyn FnOnce(Result<T, Error>) + Send>;

/// A question for the reader's thread.
pub(crate) enum Question {
    Mail { user: u32, after: Option<(u8, u64)>, limit: u32, answer: Answer<MailPage> },
    History { of: Conversation, before: Option<u64>, limit: u32, answer: Answer<HistoryPage> },
    Places { of: Conversation, before: Option<u64>, limit: u32, answer: Answer<Vec<u64>> },
    Messages { of: Conversation, at: Vec<u64>, answer: Answer<Vec<KeptMessage>> },
    Message { sequence: u64, answer: Answer<Option<KeptMessage>> },
    Counts { user: u32, chats: Vec<Chat>, answer: Answer<Vec<Count>> },
    Image { sequence: u64, answer: Answer<Option<Image>> },
    Hashes { after: Option<[u8; 32]>, answer: Answer<Vec<[u8; 32]>> },
    Password { user: u32, answer: Answer<Option<String>> },
    Close,
}

/// Asks the store. Clones ask the same thread; each answer comes on that thread, in the order of
/// the questions. What is not committed yet is not in an answer.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(crate) questions: Sender<Question>,
    pub(crate) shared: Arc<Shared>,
}

impl Reader {
    /// What is kept for a user, in the order in which it is due, behind `after` (priority and
    /// sequence of a message). At most [`PAGE`] messages, and no more once there are
    /// [`PAGE_BYTES`].
    pub fn mail_page(
        &self,
        user: u32,
        after: Option<(u8, u64)>,
        limit: u32,
        answer: impl FnOnce(Result<MailPage, Error>) + Send + 'static,
    ) {
        self.ask(Question::Mail { user, after, limit, answer: Box::new(answer) });
    }

    /// The newest messages of a history, or the newest that are older than `before` (a sequence).
    /// At most [`PAGE`] messages, and no more once there are [`PAGE_BYTES`].
    pub fn history(
        &self,
        of: Conversation,
        before: Option<u64>,
        limit: u32,
        answer: impl FnOnce(Result<HistoryPage, Error>) + Send + 'static,
    ) {
        self.ask(Question::History { of, before, limit, answer: Box::new(answer) });
    }

    /// Where the newest messages of a history are, or the newest that are older than `before` (a
    /// sequence): their sequences, oldest first. At most [`PLACES`]. Those that cannot be read are
    /// left out, and counted.
    pub fn places(
        &self,
        of: Conversation,
        before: Option<u64>,
        limit: u32,
        answer: impl FnOnce(Result<Vec<u64>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Places { of, before, limit, answer: Box::new(answer) });
    }

    /// The messages of a history at some of its places, in that order; without those that have been
    /// pruned since.
    pub fn messages(
        &self,
        of: Conversation,
        at: Vec<u64>,
        answer: impl FnOnce(Result<Vec<KeptMessage>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Messages { of, at, answer: Box::new(answer) });
    }

    /// The message of a sequence. None of a group that is gone; a user that is gone is 0.
    pub fn message(
        &self,
        sequence: u64,
        answer: impl FnOnce(Result<Option<KeptMessage>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Message { sequence, answer: Box::new(answer) });
    }

    /// How many messages there are in each of these conversations, and behind them in the direct
    /// messages with each user with whom there are any; and how many of them are new to this user:
    /// those of others behind what it has seen ([`Record::Seen`](centrala_core::host::Record::Seen)).
    /// Others' questions are answered in between if there is much to count.
    pub fn counts(
        &self,
        user: u32,
        chats: Vec<Chat>,
        answer: impl FnOnce(Result<Vec<Count>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Counts { user, chats, answer: Box::new(answer) });
    }

    /// Which image the message of a sequence is ([`crate::Store::hold_image`]).
    pub fn image(
        &self,
        sequence: u64,
        answer: impl FnOnce(Result<Option<Image>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Image { sequence, answer: Box::new(answer) });
    }

    /// The hashes of all images that messages are, in order and each once: at most [`PAGE`] behind
    /// `after`. What has none of them is nobody's any more, unless its message is not committed yet.
    pub fn image_hashes(
        &self,
        after: Option<[u8; 32]>,
        answer: impl FnOnce(Result<Vec<[u8; 32]>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Hashes { after, answer: Box::new(answer) });
    }

    /// The text that was set as a user's password ([`crate::Store::set_password`]).
    pub fn password(
        &self,
        user: u32,
        answer: impl FnOnce(Result<Option<String>, Error>) + Send + 'static,
    ) {
        self.ask(Question::Password { user, answer: Box::new(answer) });
    }

    /// Writes all that is committed into a new file, which is a whole store of its own, while the
    /// server goes on. One at a time; the file must not exist.
    pub fn backup(&self, file: &Path, answer: impl FnOnce(Result<(), Error>) + Send + 'static) {
        backup::start(&self.shared, file, Box::new(answer));
    }

    fn ask(&self, question: Question) {
        if let Err(refused) = self.questions.send(question) {
            match refused.0 {
                Question::Mail { answer, .. } => answer(Err(Error::Closed)),
                Question::History { answer, .. } => answer(Err(Error::Closed)),
                Question::Places { answer, .. } => answer(Err(Error::Closed)),
                Question::Messages { answer, .. } => answer(Err(Error::Closed)),
                Question::Message { answer, .. } => answer(Err(Error::Closed)),
                Question::Counts { answer, .. } => answer(Err(Error::Closed)),
                Question::Image { answer, .. } => answer(Err(Error::Closed)),
                Question::Hashes { answer, .. } => answer(Err(Error::Closed)),
                Question::Password { answer, .. } => answer(Err(Error::Closed)),
                Question::Close => {}
            }
        }
    }
}

/// Waits for the answer to one question: `wait(|answer| reader.history(of, None, 20, answer))`.
///
/// # Errors
/// The answer's own, or [`Error::Closed`].
pub fn wait<T: Send + 'static>(
    ask: impl FnOnce(Box<dyn FnOnce(Result<T, Error>) + Send>),
) -> Result<T, Error> {
    let (sender, answer) = std::sync::mpsc::sync_channel(1);
    ask(Box::new(move |result| drop(sender.send(result))));
    answer.recv().unwrap_or(Err(Error::Closed))
}

/// Runs until it is asked to close, or nobody can ask any more.
pub(crate) fn run(connection: &Connection, shared: &Shared, questions: &Receiver<Question>) {
    let mut pages = Pages::new(connection).map_err(|error| Error::engine(&shared.file, &error));
    let count = |damaged: u32| shared.count_damaged(damaged);
    // What takes longer goes on a little whenever nobody else has been waiting as long.
    let mut counting: VecDeque<(Counting, Answer<Vec<Count>>)> = VecDeque::new();
    loop {
        if let Some((mut counts, answer)) = counting.pop_front() {
            let engine = |error: rusqlite::Error| Error::engine(&shared.file, &error);
            let ready = pages.as_mut().map_err(|error| error.clone());
            match ready.and_then(|pages| counts.step(pages).map_err(engine)) {
                Ok(None) => counting.push_back((counts, answer)),
                Ok(Some(counted)) => answer(Ok(counted)),
                Err(error) => answer(Err(error)),
            }
        }
        let question = match counting.is_empty() {
            true => questions.recv().map_err(|_| TryRecvError::Disconnected),
            false => questions.try_recv(),
        };
        let question = match question {
            Ok(question) => question,
            Err(TryRecvError::Empty) => continue,
            Err(TryRecvError::Disconnected) => return,
        };
        let ready = pages.as_mut().map_err(|error| error.clone());
        let engine = |error: rusqlite::Error| Error::engine(&shared.file, &error);
        match question {
            Question::Mail { user, after, limit, answer } => {
                let page = ready.and_then(|p| p.mail(user, after, limit).map_err(engine));
                count(page.as_ref().map_or(0, |page| page.damaged));
                answer(page);
            }
            Question::History { of, before, limit, answer } => {
                let page = ready.and_then(|p| p.history(of, before, limit).map_err(engine));
                count(page.as_ref().map_or(0, |page| page.damaged));
                answer(page);
            }
            Question::Places { of, before, limit, answer } => {
                let places = ready.and_then(|p| p.places(of, before, limit).map_err(engine));
                answer(places.map(|(places, damaged)| {
                    count(damaged);
                    places
                }));
            }
            Question::Messages { of, at, answer } => {
                answer(ready.and_then(|p| p.messages(of, &at).map_err(engine)));
            }
            Question::Message { sequence, answer } => {
                answer(ready.and_then(|p| p.message(sequence).map_err(engine)));
            }
            Question::Counts { user, chats, answer } => {
                counting.push_back((Counting::new(user, chats), answer));
            }
            Question::Image { sequence, answer } => {
                let image = ready.and_then(|p| p.images.image(sequence).map_err(engine));
                answer(image.map(|image| {
                    count(u32::from(image.is_err()));
                    image.unwrap_or(None)
                }));
            }
            Question::Hashes { after, answer } => {
                answer(ready.and_then(|p| p.images.hashes(after).map_err(engine)));
            }
            Question::Password { user, answer } => {
                let found = ready.and_then(|p| p.password(user).map_err(engine));
                let found = match found {
                    Ok(Some(Err(()))) => {
                        count(1);
                        let what = format!("the password of user {user}");
                        Err(Error::Damaged { file: shared.file.clone(), what })
                    }
                    Ok(Some(Ok(hash))) => Ok(Some(hash)),
                    Ok(None) => Ok(None),
                    Err(error) => Err(error),
                };
                answer(found);
            }
            Question::Close => return,
        }
    }
}

pub(crate) struct Pages<'c> {
    mail: Statement<'c>,
    history: Statement<'c>,
    log: Log<'c>,
    user: Statement<'c>,
    group: Statement<'c>,
    pub(crate) images: Images<'c>,
    pub(crate) counts: Counts<'c>,
    begin: Statement<'c>,
    end: Statement<'c>,
}

impl<'c> Pages<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Sql<Self> {
        let sql = |sql: &str| connection.prepare(sql);
        Ok(Pages {
            mail: sql(&format!(
                "{MAIL} WHERE user = ?1 AND (priority, sequence) > (?2, ?3)
                 ORDER BY priority, sequence"
            ))?,
            history: sql("SELECT sequence FROM history
                 WHERE conversation = ?1 AND sequence < ?2 AND sequence > ?3
                 ORDER BY sequence DESC")?,
            log: Log::new(connection)?,
            user: sql(&format!("{USER} WHERE number = ?1"))?,
            group: sql("SELECT name, owner, since, sum FROM groups WHERE number = ?1")?,
            images: Images::new(connection)?,
            counts: Counts::new(connection)?,
            begin: sql("BEGIN")?,
            end: sql("COMMIT")?,
        })
    }

    /// One page is of one moment.
    pub(crate) fn at_once<T>(&mut self, read: impl FnOnce(&mut Self) -> Sql<T>) -> Sql<T> {
        self.begin.execute([])?;
        let page = read(self);
        let ended = self.end.execute([]);
        let page = page?;
        ended.map(|_| page)
    }

    fn mail(&mut self, user: u32, after: Option<(u8, u64)>, limit: u32) -> Sql<MailPage> {
        let limit = limit.clamp(1, PAGE) as usize;
        self.at_once(|pages| {
            let mut page = MailPage::default();
            let mut last = after.unwrap_or((0, 0));
            let (mut bytes, mut sinces) = (0, Sinces::default());
            let mut rows = pages.mail.query((user, last.0, last.1 as i64))?;
            while let Some(row) = rows.next()? {
                if page.mail.len() == limit || bytes >= PAGE_BYTES {
                    page.next = Some(last);
                    break;
                }
                let mail = mail_of(user, row, &mut pages.log)?;
                // In a damaged index the order may be lost: a page must not lead back.
                let ahead = |(mail, _): &(KeptMail, bool)| (mail.priority, mail.sequence) > last;
                let Some((mut mail, logged)) = mail.filter(ahead) else {
                    page.damaged += 1;
                    continue;
                };
                last = (mail.priority, mail.sequence);
                if logged {
                    mail.from = unless_gone(&mut pages.user, &mut sinces, mail.from, last.1)?;
                }
                if mail.about != 0 {
                    // Of a group that is gone it is a direct message like any other.
                    let since = group_of(&mut pages.group, mail.about)?.map(|(_, since)| since);
                    mail.about =
                        since.filter(|since| last.1 as i64 > *since).map_or(0, |_| mail.about);
                }
                bytes += mail.text.len();
                page.mail.push(mail);
            }
            Ok(page)
        })
    }

    pub(crate) fn history(
        &mut self,
        of: Conversation,
        before: Option<u64>,
        limit: u32,
    ) -> Sql<HistoryPage> {
        let limit = limit.clamp(1, PAGE) as usize;
        self.at_once(|pages| {
            let mut page = HistoryPage::default();
            let mut sinces = Sinces::default();
            // Nobody has a history with a user who is gone.
            let Some((key, since)) = pages.find(of, &mut sinces)? else { return Ok(page) };
            let mut last = before.map_or(i64::MAX, |before| before as i64);
            let mut bytes = 0;
            let mut rows = pages.history.query((key, last, since))?;
            while let Some(row) = rows.next()? {
                if page.messages.len() == limit || bytes >= PAGE_BYTES {
                    page.before = Some(last as u64);
                    break;
                }
                let sequence = row.get(0)?;
                let message = pages.log.message(sequence)?;
                // The index may be what is damaged.
                let message = message.filter(|message| {
                    message.key() == Some(key) && (since + 1..last).contains(&sequence)
                });
                let Some(mut message) = message else {
                    page.damaged += 1;
                    continue;
                };
                last = sequence;
                let sequence = message.sequence;
                message.from = unless_gone(&mut pages.user, &mut sinces, message.from, sequence)?;
                bytes += message.text.len();
                page.messages.push(message);
            }
            page.messages.reverse();
            Ok(page)
        })
    }

    /// And how many were left out.
    fn places(
        &mut self,
        of: Conversation,
        before: Option<u64>,
        limit: u32,
    ) -> Sql<(Vec<u64>, u32)> {
        let limit = limit.clamp(1, PLACES) as usize;
        self.at_once(|pages| {
            let (mut places, mut damaged) = (Vec::new(), 0);
            let Some((key, since)) = pages.find(of, &mut Sinces::default())? else {
                return Ok((places, 0));
            };
            let mut last = before.map_or(i64::MAX, |before| before as i64);
            let mut rows = pages.history.query((key, last, since))?;
            while let Some(row) = rows.next()? {
                if places.len() == limit {
                    break;
                }
                let sequence = row.get(0)?;
                let message = pages.log.message(sequence)?;
                let good = message.is_some_and(|message| message.key() == Some(key));
                if good && (since + 1..last).contains(&sequence) {
                    last = sequence;
                    places.push(sequence as u64);
                } else {
                    damaged += 1;
                }
            }
            places.reverse();
            Ok((places, damaged))
        })
    }

    fn messages(&mut self, of: Conversation, at: &[u64]) -> Sql<Vec<KeptMessage>> {
        self.at_once(|pages| {
            let (mut sinces, mut messages) = (Sinces::default(), Vec::new());
            let Some((key, since)) = pages.find(of, &mut sinces)? else { return Ok(messages) };
            for &sequence in at {
                let message = pages.log.message(sequence as i64)?;
                let message = message.filter(|message| message.key() == Some(key));
                let Some(mut message) = message.filter(|_| sequence as i64 > since) else {
                    continue;
                };
                message.from = unless_gone(&mut pages.user, &mut sinces, message.from, sequence)?;
                messages.push(message);
            }
            Ok(messages)
        })
    }

    fn message(&mut self, sequence: u64) -> Sql<Option<KeptMessage>> {
        self.at_once(|pages| {
            let Some(mut message) = pages.log.message(sequence as i64)? else { return Ok(None) };
            for group in [message.group, message.about].into_iter().filter(|group| *group != 0) {
                let since = group_of(&mut pages.group, group)?.map(|(_, since)| since);
                if since.is_none_or(|since| sequence as i64 <= since) {
                    return Ok(None);
                }
            }
            let mut sinces = Sinces::default();
            for user in [&mut message.from, &mut message.to] {
                *user = unless_gone(&mut pages.user, &mut sinces, *user, sequence)?;
            }
            Ok(Some(message))
        })
    }

    /// The key of a conversation, and the message behind which it begins; `None` if there is none.
    pub(crate) fn find(
        &mut self,
        of: Conversation,
        sinces: &mut Sinces,
    ) -> Sql<Option<(Key, i64)>> {
        let (a, b, about, since) = match of {
            Conversation::Group(group) => {
                let since = group_of(&mut self.group, group)?.map(|(_, since)| since);
                return Ok(Key::of(0, 0, group, 0).zip(since));
            }
            Conversation::Pair(a, b) => (a, b, 0, i64::MIN),
            Conversation::Private { group, user } => match group_of(&mut self.group, group)? {
                Some((owner, since)) => (owner, user, group, since),
                None => return Ok(None),
            },
        };
        let since_a = since_of(&mut self.user, sinces, a)?;
        let since_b = since_of(&mut self.user, sinces, b)?;
        let since = since_a.zip(since_b).map(|(a, b)| since.max(a).max(b));
        Ok(Key::of(a, b, 0, about).zip(since))
    }

    /// Since which message there is a user of that number.
    pub(crate) fn user_since(&mut self, user: u32, sinces: &mut Sinces) -> Sql<Option<i64>> {
        since_of(&mut self.user, sinces, user)
    }

    /// `Err` if it is damaged.
    fn password(&mut self, user: u32) -> Sql<Option<Result<String, ()>>> {
        let row = self.user.query_row([user], |row| Ok(user_row(user, row)));
        let Some(row) = row.optional()? else { return Ok(None) };
        let Ok(Some(row)) = row else { return Ok(Some(Err(()))) };
        Ok(row.password.map(|hash| String::from_utf8(hash).map_err(|_| ())))
    }
}

/// Since which message there are the users that were asked for.
pub(crate) type Sinces = HashMap<u32, Option<i64>>;

/// The owner of a group, and since which message there is one of that number; `None` if there is
/// none.
fn group_of(statement: &mut Statement<'_>, group: u32) -> Sql<Option<(u32, i64)>> {
    unless_damaged(statement.query_row([group], |row| {
        let (name, owner, since): (Vec<u8>, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let sum = group_sum(group, owner, since, &name);
        Ok(sum::good(row.get(3)?, sum).then_some((owner, since)))
    }))
}

/// Since which message there is a user of that number; `None` if there is none.
fn since_of(user: &mut Statement<'_>, known: &mut Sinces, number: u32) -> Sql<Option<i64>> {
    if let Some(since) = known.get(&number) {
        return Ok(*since);
    }
    let row = user.query_row([number], |row| user_row(number, row));
    let since = unless_damaged(row)?.map(|user| user.since);
    known.insert(number, since);
    Ok(since)
}

/// The sender of a message, or 0 if it is gone: who has that number now, but is younger than the
/// message, is another one.
fn unless_gone(user: &mut Statement<'_>, known: &mut Sinces, from: u32, sequence: u64) -> Sql<u32> {
    let since = since_of(user, known, from)?;
    Ok(since.filter(|since| sequence as i64 > *since).map_or(0, |_| from))
}

/// The log, by sequence.
pub(crate) struct Log<'c>(Statement<'c>);

impl<'c> Log<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Sql<Self> {
        connection.prepare(&format!("{LOG} WHERE sequence = ?1")).map(Log)
    }

    /// A message; `None` if it is damaged, or not there.
    pub(crate) fn message(&mut self, key: i64) -> Sql<Option<KeptMessage>> {
        let message = self.0.query_row([key], |row| {
            let (log, text, sum) = LogSum::read(key, row)?;
            let LogSum { from, to, group, about, image, priority, time, .. } = log;
            let posted = Posted {
                sequence: key as u64,
                from,
                to,
                group,
                about,
                image,
                priority,
                time,
                text,
            };
            Ok(sum::good(sum, log.of(text)).then(|| KeptMessage::from(&posted)))
        });
        unless_damaged(message)
    }
}

/// What damage leaves of a row: nothing. It costs no more than that.
pub(crate) fn unless_damaged<T>(row: Sql<Option<T>>) -> Sql<Option<T>> {
    use rusqlite::Error as E;
    match row {
        Err(E::SqliteFailure(failure, _))
            if failure.code == rusqlite::ErrorCode::DatabaseCorrupt =>
        {
            Ok(None)
        }
        // A number out of its range, or a value of another type than was written.
        Err(
            E::QueryReturnedNoRows
            | E::InvalidColumnType(..)
            | E::IntegralValueOutOfRange(..)
            | E::FromSqlConversionFailure(..),
        ) => Ok(None),
        row => row,
    }
}

pub(crate) const MAIL: &str =
    "SELECT priority, sequence, id, last, sum, sender, grp, time, text, user, about, image
     FROM mailbox";

/// A row of [`MAIL`], and whether its text is the log's; `None` if it is damaged.
pub(crate) fn mail_of(
    user: u32,
    row: &rusqlite::Row<'_>,
    log: &mut Log<'_>,
) -> Sql<Option<(KeptMail, bool)>> {
    unless_damaged(read_mail(user, row, log))
}

fn read_mail(
    user: u32,
    row: &rusqlite::Row<'_>,
    log: &mut Log<'_>,
) -> Sql<Option<(KeptMail, bool)>> {
    let (priority, key): (u8, i64) = (row.get(0)?, row.get(1)?);
    let (id, last, stored): (u32, bool, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
    let sequence = key as u64;
    let Some(text) = row.get::<_, Option<Vec<u8>>>(8)? else {
        if !sum::good(stored, mail_sum(user, priority, key, id, last, None)) {
            return Ok(None);
        }
        let Some(message) = log.message(key)? else { return Ok(None) };
        let KeptMessage { from, group, about, image, time, text, .. } = message;
        let mail =
            KeptMail { user, sequence, id, from, group, about, image, priority, last, time, text };
        return Ok(Some((mail, true)));
    };
    let (from, group, time) = (row.get(5)?, row.get(6)?, row.get::<_, i64>(7)? as u64);
    // Of an older version they are missing.
    let about = row.get::<_, Option<u32>>(10)?.unwrap_or(0);
    let image = row.get::<_, Option<bool>>(11)?.unwrap_or(false);
    let own = Own { from, group, about, image, time, text: &text };
    let sum = mail_sum(user, priority, key, id, last, Some(own));
    let text = text.into_boxed_slice();
    let mail =
        KeptMail { user, sequence, id, from, group, about, image, priority, last, time, text };
    Ok(sum::good(stored, sum).then_some((mail, false)))
}
