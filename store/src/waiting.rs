//! How many messages wait for each user: kept beside the mailboxes, in the same commits.

use crate::sum::{self, Table};
use rusqlite::{Connection, OptionalExtension, Result, Row, Statement};
use std::collections::HashMap;

/// What waits for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) messages: i64,
    /// No message has a lower sequence.
    pub(crate) lowest: i64,
    /// No message has a higher one.
    pub(crate) highest: i64,
}

const ROW: &str = "SELECT user, messages, lowest, highest, sum FROM waiting";

impl Waiting {
    const NONE: Waiting = Waiting { messages: 0, lowest: i64::MAX, highest: i64::MIN };

    fn sum(self, user: u32) -> i64 {
        let Waiting { messages, lowest, highest } = self;
        sum::of(Table::Waiting, [user.into(), messages, lowest, highest], None)
    }

    /// Reads a row of [`ROW`]; `None` if it is damaged.
    fn read(row: &Row<'_>) -> Result<(u32, Option<Waiting>)> {
        let user = row.get(0)?;
        let read = || -> Result<Option<Waiting>> {
            let (messages, lowest, highest) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let waiting = Waiting { messages, lowest, highest };
            Ok((row.get::<_, i64>(4)? == waiting.sum(user)).then_some(waiting))
        };
        Ok((user, read().unwrap_or(None)))
    }
}

/// Counts what a mailbox holds: the truth that a damaged row is made good from.
fn count(connection: &Connection, user: u32) -> Result<Waiting> {
    let sql = "SELECT count(*), min(sequence), max(sequence) FROM mailbox WHERE user = ?1";
    connection.query_row(sql, [user], |row| {
        let (lowest, highest) = (row.get::<_, Option<i64>>(1)?, row.get::<_, Option<i64>>(2)?);
        Ok(Waiting {
            messages: row.get(0)?,
            lowest: lowest.unwrap_or(i64::MAX),
            highest: highest.unwrap_or(i64::MIN),
        })
    })
}

/// What waits for each user for whom anything does, and how many rows were damaged.
pub(crate) fn all(connection: &Connection) -> Result<(HashMap<u32, Waiting>, u64)> {
    let (mut all, mut damaged) = (HashMap::new(), 0);
    let mut statement = connection.prepare(ROW)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let Ok((user, waiting)) = Waiting::read(row) else {
            damaged += 1;
            continue;
        };
        let waiting = match waiting {
            Some(waiting) => waiting,
            None => {
                damaged += 1;
                count(connection, user)?
            }
        };
        if waiting.messages != 0 {
            all.insert(user, waiting);
        }
    }
    Ok((all, damaged))
}

/// How a batch changes what waits for one user.
#[derive(Clone, Copy, Debug)]
struct Change {
    messages: i64,
    lowest: i64,
    highest: i64,
}

/// Gathers how a batch changes what waits, and writes one row for each user at its end.
pub(crate) struct Keep<'c> {
    connection: &'c Connection,
    changes: HashMap<u32, Change>,
    row: Statement<'c>,
    put: Statement<'c>,
    drop: Statement<'c>,
}

impl<'c> Keep<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Result<Self> {
        Ok(Keep {
            connection,
            changes: HashMap::new(),
            row: connection.prepare(&format!("{ROW} WHERE user = ?1"))?,
            put: connection
                .prepare("INSERT OR REPLACE INTO waiting VALUES (?1, ?2, ?3, ?4, ?5)")?,
            drop: connection.prepare("DELETE FROM waiting WHERE user = ?1")?,
        })
    }

    pub(crate) fn begin(&mut self) {
        self.changes.clear();
    }

    /// A message came to wait.
    pub(crate) fn more(&mut self, user: u32, sequence: i64) {
        let none = Change { messages: 0, lowest: sequence, highest: sequence };
        let change = self.changes.entry(user).or_insert(none);
        change.messages += 1;
        change.lowest = change.lowest.min(sequence);
        change.highest = change.highest.max(sequence);
    }

    /// A message waits no more.
    pub(crate) fn less(&mut self, user: u32) {
        let none = Change { messages: 0, lowest: i64::MAX, highest: i64::MIN };
        self.changes.entry(user).or_insert(none).messages -= 1;
    }

    /// Nothing waits any more.
    pub(crate) fn none(&mut self, user: u32) -> Result<()> {
        self.changes.remove(&user);
        self.drop.execute([user]).map(|_| ())
    }

    /// Writes the rows, after the mailboxes.
    pub(crate) fn end(&mut self) -> Result<()> {
        for (user, change) in self.changes.drain() {
            let row = self.row.query_row([user], Waiting::read).optional()?;
            let waiting = match row {
                None => Some(Waiting::NONE),
                Some((_, waiting)) => waiting,
            };
            let waiting = match waiting {
                Some(waiting) => Waiting {
                    messages: waiting.messages + change.messages,
                    lowest: waiting.lowest.min(change.lowest),
                    highest: waiting.highest.max(change.highest),
                },
                None => count(self.connection, user)?,
            };
            if waiting.messages > 0 {
                let Waiting { messages, lowest, highest } = waiting;
                self.put.execute((user, messages, lowest, highest, waiting.sum(user)))?;
            } else {
                self.drop.execute([user])?;
            }
        }
        Ok(())
    }
}
