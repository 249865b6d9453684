//! What is read while the server runs: on a connection and a thread of its own, so that nobody who
//! writes waits for it.

use crate::apply::{USER, group_sum, log_sum, mail_sum, user_row};
use crate::error::Error;
use crate::schema::conversation;
use crate::sum;
use crate::{Shared, backup};
use centrala_core::host::{Mail, Posted};
use rusqlite::{Connection, OptionalExtension, Result as Sql, Statement};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

/// Messages of one page, at most.
pub const PAGE: u32 = 256;
/// Bytes of text after which a page ends, however many messages were asked for.
pub const PAGE_BYTES: usize = 256 * 1024;

/// Whose messages a history is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// A group, by number.
    Group(u32),
    /// Two users, by number, in either order; twice the same for what one wrote to itself.
    Pair(u32, u32),
}

/// A message that is kept for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMail {
    user: u32,
    sequence: u64,
    id: u32,
    from: u32,
    group: u32,
    priority: u8,
    last: bool,
    time: u64,
    text: Box<[u8]>,
}

impl KeptMail {
    /// As core's record of it.
    pub fn record(&self) -> Mail<'_> {
        let KeptMail { user, sequence, id, from, group, priority, last, time, ref text } = *self;
        Mail { user, sequence, id, from, group, about: 0, image: false, priority, last, time, text }
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
    priority: u8,
    time: u64,
    text: Box<[u8]>,
}

impl KeptMessage {
    /// As core's record of it. The sender is 0 if it is gone.
    pub fn record(&self) -> Posted<'_> {
        let KeptMessage { sequence, from, to, group, priority, time, ref text } = *self;
        Posted { sequence, from, to, group, about: 0, image: false, priority, time, text }
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
    while let Ok(question) = questions.recv() {
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
            begin: sql("BEGIN")?,
            end: sql("COMMIT")?,
        })
    }

    /// One page is of one moment.
    fn at_once<T>(&mut self, read: impl FnOnce(&mut Self) -> Sql<T>) -> Sql<T> {
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
            let (mut bytes, mut sinces) = (0, HashMap::new());
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
            let mut sinces = HashMap::new();
            let (key, since) = match of {
                Conversation::Group(group) => {
                    (conversation(0, 0, group), pages.group_since(group)?)
                }
                Conversation::Pair(a, b) => {
                    let a_since = since_of(&mut pages.user, &mut sinces, a)?;
                    let b_since = since_of(&mut pages.user, &mut sinces, b)?;
                    (conversation(a, b, 0), a_since.zip(b_since).map(|(a, b)| a.max(b)))
                }
            };
            // Nobody has a history with a user who is gone.
            let (Some(key), Some(since)) = (key, since) else { return Ok(page) };
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
                    conversation(message.from, message.to, message.group) == Some(key)
                        && (since + 1..last).contains(&sequence)
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

    fn group_since(&mut self, group: u32) -> Sql<Option<i64>> {
        unless_damaged(self.group.query_row([group], |row| {
            let (name, owner, since): (Vec<u8>, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let sum = group_sum(group, owner, since, &name);
            Ok(sum::good(row.get(3)?, sum).then_some(since))
        }))
    }

    /// `Err` if it is damaged.
    fn password(&mut self, user: u32) -> Sql<Option<Result<String, ()>>> {
        let row = self.user.query_row([user], |row| Ok(user_row(user, row)));
        let Some(row) = row.optional()? else { return Ok(None) };
        let Ok(Some(row)) = row else { return Ok(Some(Err(()))) };
        Ok(row.password.map(|hash| String::from_utf8(hash).map_err(|_| ())))
    }
}

/// Since which message there is a user of that number; `None` if there is none.
fn since_of(
    user: &mut Statement<'_>,
    known: &mut HashMap<u32, Option<i64>>,
    number: u32,
) -> Sql<Option<i64>> {
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
fn unless_gone(
    user: &mut Statement<'_>,
    known: &mut HashMap<u32, Option<i64>>,
    from: u32,
    sequence: u64,
) -> Sql<u32> {
    let since = since_of(user, known, from)?;
    Ok(since.filter(|since| sequence as i64 > *since).map_or(0, |_| from))
}

/// The log, by sequence.
pub(crate) struct Log<'c>(Statement<'c>);

impl<'c> Log<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Sql<Self> {
        let sql = "SELECT sender, recipient, grp, priority, time, text, sum FROM log
             WHERE sequence = ?1";
        connection.prepare(sql).map(Log)
    }

    /// A message; `None` if it is damaged, or not there.
    pub(crate) fn message(&mut self, key: i64) -> Sql<Option<KeptMessage>> {
        let message = self.0.query_row([key], |row| {
            let (from, to, group, priority) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let (time, text) = (row.get::<_, i64>(4)? as u64, row.get::<_, Vec<u8>>(5)?);
            let sum = log_sum(key, from, to, group, priority, time, &text);
            let (sequence, text) = (key as u64, text.into_boxed_slice());
            let message = KeptMessage { sequence, from, to, group, priority, time, text };
            Ok(sum::good(row.get(6)?, sum).then_some(message))
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
    "SELECT priority, sequence, id, last, sum, sender, grp, time, text, user FROM mailbox";

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
        let KeptMessage { from, group, time, text, .. } = message;
        let mail = KeptMail { user, sequence, id, from, group, priority, last, time, text };
        return Ok(Some((mail, true)));
    };
    let (from, group, time) = (row.get(5)?, row.get(6)?, row.get::<_, i64>(7)? as u64);
    let sum = mail_sum(user, priority, key, id, last, Some((from, group, time, &text)));
    let text = text.into_boxed_slice();
    let mail = KeptMail { user, sequence, id, from, group, priority, last, time, text };
    Ok(sum::good(stored, sum).then_some((mail, false)))
}
