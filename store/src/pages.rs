//! Pages of what is stored, read on one connection.

use crate::counts::Counts;
use crate::images::Images;
use crate::kept::{Conversation, HistoryPage, KeptMail, KeptMessage, MailPage};
use crate::key::Key;
use crate::rows::{LOG, LogSum, Own, USER, group_sum, mail_sum, user_row};
use crate::sum;
use centrala_core::exchange::message_id;
use centrala_core::host::{FORMER_GROUP, Posted};
use rusqlite::{Connection, OptionalExtension, Result as Sql, Statement};
use std::collections::HashMap;

/// Messages of one page, at most.
pub const PAGE: u32 = 256;
/// Bytes of text after which a page ends, however many messages were asked for.
pub const PAGE_BYTES: usize = 256 * 1024;
/// Messages of a history whose places are given at once, at most ([`Reader::places`](crate::Reader::places)).
pub const PLACES: u32 = 1000;

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

    pub(crate) fn mail(
        &mut self,
        user: u32,
        after: Option<(u8, u64)>,
        limit: u32,
    ) -> Sql<MailPage> {
        let limit = limit.clamp(1, PAGE) as usize;
        self.at_once(|pages| {
            let mut page = MailPage::default();
            let mut last = after.unwrap_or((0, 0));
            let mut bytes = 0;
            let (mut sinces, mut groups) = (Sinces::default(), Sinces::default());
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
                let mut since = |group| group_since(&mut pages.group, &mut groups, group);
                if mail.about != 0 {
                    // Of a group that is gone it is a direct message like any other.
                    mail.about = since(mail.about)?
                        .filter(|since| last.1 as i64 > *since)
                        .map_or(0, |_| mail.about);
                }
                if mail.group != 0 {
                    // What was handed back is numbered before all groups: it lost its group with it.
                    let back = message_id(last.1) == 0;
                    let is = |since: i64| back || last.1 as i64 > since;
                    mail.group = since(mail.group)?
                        .filter(|since| is(*since))
                        .map_or(FORMER_GROUP, |_| mail.group);
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
    pub(crate) fn places(
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

    pub(crate) fn messages(&mut self, of: Conversation, at: &[u64]) -> Sql<Vec<KeptMessage>> {
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

    pub(crate) fn message(&mut self, sequence: u64) -> Sql<Option<KeptMessage>> {
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
    pub(crate) fn password(&mut self, user: u32) -> Sql<Option<Result<String, ()>>> {
        let row = self.user.query_row([user], |row| Ok(user_row(user, row)));
        let Some(row) = row.optional()? else { return Ok(None) };
        let Ok(Some(row)) = row else { return Ok(Some(Err(()))) };
        Ok(row.password.map(|hash| String::from_utf8(hash).map_err(|_| ())))
    }
}

/// Since which message there are the users, or groups, that were asked for.
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

/// Since which message there is a group of that number; `None` if there is none.
fn group_since(group: &mut Statement<'_>, known: &mut Sinces, number: u32) -> Sql<Option<i64>> {
    if let Some(since) = known.get(&number) {
        return Ok(*since);
    }
    let since = group_of(group, number)?.map(|(_, since)| since);
    known.insert(number, since);
    Ok(since)
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
