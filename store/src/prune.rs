//! Histories are bounded: the oldest messages of the log go, a few at a time, unless somebody is
//! still owed them.

use crate::key::Key;
use crate::{Retention, unix_millis};
use rusqlite::{Connection, OptionalExtension, Result, Statement};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Messages looked at in one step.
const STEP: u32 = 256;
/// What was held back is looked at again, once somebody has been given it, but not all the time.
const AGAIN: Duration = Duration::from_secs(1);

/// Where the pruning stands.
pub(crate) struct Prune<'c> {
    retention: Retention,
    /// Up to here nothing is left but what is owed.
    done: i64,
    /// The oldest message up to there that was given to somebody since.
    given: Option<i64>,
    /// When to look at those.
    again: Instant,
    range: Statement<'c>,
    newest: Statement<'c>,
    next_user: Statement<'c>,
    owed: Statement<'c>,
    owed_to: Statement<'c>,
    drop_log: Statement<'c>,
    drop_history: Statement<'c>,
    drop_image: Statement<'c>,
    any: Statement<'c>,
    drop_pair: Statement<'c>,
    /// Pairs that the last step left without a message.
    pub(crate) emptied: Vec<Key>,
}

/// A message that is old enough to go.
struct Old {
    sequence: i64,
    from: u32,
    to: u32,
    group: u32,
    about: u32,
    image: bool,
    priority: u8,
}

impl<'c> Prune<'c> {
    pub(crate) fn new(connection: &'c Connection, retention: Retention) -> Result<Self> {
        let sql = |sql: &str| connection.prepare(sql);
        Ok(Prune {
            retention,
            done: i64::MIN,
            given: None,
            again: Instant::now(),
            // Never the newest: the next sequence is known by it.
            range: sql(
                "SELECT sequence, sender, recipient, grp, priority, time, about, image FROM log
                 WHERE sequence > ?1 AND sequence < ?2 ORDER BY sequence LIMIT ?3",
            )?,
            newest: sql("SELECT max(sequence) FROM log")?,
            next_user: sql("SELECT min(user) FROM mailbox WHERE user > ?1")?,
            owed: sql("SELECT sequence FROM mailbox
                 WHERE user = ?1 AND priority = ?2 AND sequence BETWEEN ?3 AND ?4")?,
            owed_to: sql("SELECT 1 FROM mailbox
                 WHERE user = ?1 AND priority = ?2 AND sequence = ?3")?,
            drop_log: sql("DELETE FROM log WHERE sequence = ?1")?,
            drop_history: sql("DELETE FROM history WHERE conversation = ?1 AND sequence = ?2")?,
            drop_image: sql("DELETE FROM images WHERE sequence = ?1")?,
            any: sql("SELECT 1 FROM history WHERE conversation = ?1 LIMIT 1")?,
            drop_pair: sql("DELETE FROM pairs WHERE (user, other) IN ((?1, ?2), (?2, ?1))")?,
            emptied: Vec::new(),
        })
    }

    /// Whether histories are bounded at all.
    pub(crate) fn wanted(&self) -> bool {
        self.retention != Retention::FOREVER
    }

    /// A user was given a message.
    pub(crate) fn given(&mut self, sequence: u64) {
        let sequence = sequence as i64;
        if sequence <= self.done {
            self.given = Some(self.given.map_or(sequence, |given| given.min(sequence)));
        }
    }

    /// One step; whether there is more to do at once. To be called within a transaction.
    pub(crate) fn step(&mut self, now: Instant) -> Result<bool> {
        let newest: Option<i64> = self.newest.query_row([], |row| row.get(0))?;
        let Some(newest) = newest else { return Ok(false) };
        let keep = self.retention.messages.map(|keep| i64::try_from(keep).unwrap_or(i64::MAX));
        let last = keep.map_or(i64::MIN, |keep| newest.saturating_sub(keep.max(1)));
        let age = self.retention.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        let before = age.map_or(0, |age| unix_millis().saturating_sub(age));
        let (mut old, mut end) = (Vec::new(), true);
        let mut rows = self.range.query((self.done, newest, STEP))?;
        while let Some(row) = rows.next()? {
            let sequence = row.get(0)?;
            if sequence > last && row.get::<_, i64>(5)? as u64 >= before {
                end = true;
                break;
            }
            end = old.len() + 1 < STEP as usize;
            let (from, to, group) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let (about, image) = (row.get(6)?, row.get(7)?);
            old.push(Old { sequence, from, to, group, about, image, priority: row.get(4)? });
        }
        drop(rows);
        let owed = self.owed_in_groups(&old)?;
        self.emptied.clear();
        let mut pairs = HashSet::new();
        for message in &old {
            let Old { sequence, from, to, group, about, image, priority } = *message;
            let owed = match group {
                0 => {
                    let key = (to, priority, sequence);
                    self.owed_to.query_row(key, |_| Ok(())).optional()?.is_some()
                }
                _ => owed.contains(&sequence),
            };
            if owed {
                continue;
            }
            self.drop_log.execute([sequence])?;
            if image {
                self.drop_image.execute([sequence])?;
            }
            if let Some(conversation) = Key::of(from, to, group, about) {
                self.drop_history.execute((conversation, sequence))?;
                if conversation.pair().is_some() {
                    pairs.insert(conversation);
                }
            }
        }
        for pair in pairs {
            if self.any.query_row([pair], |_| Ok(())).optional()?.is_none() {
                self.drop_pair.execute(pair.pair().unwrap_or_default())?;
                self.emptied.push(pair);
            }
        }
        // In a damaged log the order may be lost: it must not lead back.
        match old.iter().map(|message| message.sequence).max() {
            Some(last) if last > self.done => self.done = last,
            _ => end = true,
        }
        if end
            && now >= self.again
            && let Some(given) = self.given.take()
        {
            self.done = given - 1;
            self.again = now + AGAIN;
            return Ok(true);
        }
        Ok(!end)
    }

    /// Which of these messages to groups somebody is owed. Nothing leads from a message to those
    /// who wait for it, so each of those who wait is asked once for all of them.
    fn owed_in_groups(&mut self, old: &[Old]) -> Result<HashSet<i64>> {
        let mut owed = HashSet::new();
        let mut groups = old.iter().filter(|message| message.group != 0);
        let Some(first) = groups.next() else { return Ok(owed) };
        let last = groups.next_back().unwrap_or(first);
        let mut user = 0u32;
        while let Some(next) =
            self.next_user.query_row([user], |row| row.get::<_, Option<u32>>(0))?
        {
            if next <= user {
                break;
            }
            user = next;
            for priority in 1..=5u8 {
                let key = (user, priority, first.sequence, last.sequence);
                for sequence in self.owed.query_map(key, |row| row.get(0))? {
                    owed.insert(sequence?);
                }
            }
        }
        Ok(owed)
    }
}
