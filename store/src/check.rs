//! Looks through a whole store and changes nothing: every checksum, and everything that has to
//! agree with something else.

use crate::chats::seen_sum;
use crate::error::Error;
use crate::images::{IMAGE, image_row};
use crate::key::Key;
use crate::pages::{Log, MAIL, mail_of};
use crate::rows::{LogSum, USER, chat_sum, group_sum, newest_sum, user_row};
use crate::sum::{self, Table};
use crate::view::View;
use rusqlite::{Connection, Result as Sql, Row};
use std::path::{Path, PathBuf};

/// Damage described in a report; what is beyond that is only counted.
const DESCRIBED: usize = 100;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In which table; `file` if it is the file's own structure.
    pub table: &'static str,
    /// Which row, and what is wrong with it.
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.table, self.what)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The file looked at.
    pub file: PathBuf,
    /// Whether a server had it at that time.
    pub served: bool,
    /// Its schema version; 0 if nothing was ever written.
    pub version: u32,
    /// Rows that are good.
    pub users: u64,
    /// Rows that are good.
    pub groups: u64,
    /// Rows that are good.
    pub memberships: u64,
    /// Private chats that are good.
    pub chats: u64,
    /// Rows that are good, of what users have seen.
    pub seen: u64,
    /// Rows that are good.
    pub sessions: u64,
    /// Rows that are good.
    pub counters: u64,
    /// Messages of all histories that are good.
    pub messages: u64,
    /// Messages that wait for users and are good.
    pub mail: u64,
    /// Messages of histories that are images, as far as it is known which, and are good.
    pub images: u64,
    /// The first of what is damaged.
    pub damage: Vec<Damage>,
    /// How much is damaged.
    pub damaged: u64,
}

impl Report {
    /// Whether all is as it was written.
    pub fn is_good(&self) -> bool {
        self.damaged == 0
    }

    fn damage(&mut self, table: &'static str, what: impl FnOnce() -> String) {
        self.damaged += 1;
        if self.damage.len() < DESCRIBED {
            self.damage.push(Damage { table, what: what() });
        }
    }
}

/// Looks through a store: a directory, or a backup's file, as [`View::open`] opens it.
///
/// # Errors
/// Those of [`View::open`]. Damage that leaves it readable is in the report.
pub fn check(store: &Path) -> Result<Report, Error> {
    let view = View::open(store)?;
    let (file, served, version) = (view.file().to_owned(), view.is_served(), view.version());
    let mut report = Report { file: file.clone(), served, version, ..Report::default() };
    if let Some(connection) = view.connection() {
        let engine = |error: rusqlite::Error| Error::engine(&file, &error);
        connection.execute_batch("BEGIN").map_err(engine)?;
        structure(connection, &mut report);
        tables(connection, &mut report);
    }
    Ok(report)
}

/// What the engine knows of the file.
fn structure(connection: &Connection, report: &mut Report) {
    let found = || -> Sql<Vec<String>> {
        let mut check = connection.prepare("PRAGMA integrity_check(100)")?;
        let rows = check.query_map([], |row| row.get(0))?;
        rows.collect()
    };
    match found() {
        Ok(lines) => {
            for line in lines.into_iter().filter(|line| line != "ok") {
                report.damage("file", || line);
            }
        }
        Err(error) => report.damage("file", || error.to_string()),
    }
}

fn tables(connection: &Connection, report: &mut Report) {
    report.users =
        each(connection, report, "users", USER, |row| Ok(user_row(row.get(4)?, row)?.is_some()));
    report.groups = each(
        connection,
        report,
        "groups",
        "SELECT number, name, owner, since, sum FROM groups",
        |row| {
            let (number, name, owner): (u32, Vec<u8>, u32) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok(row.get::<_, i64>(4)? == group_sum(number, owner, row.get(3)?, &name))
        },
    );
    report.memberships = each(
        connection,
        report,
        "members",
        "SELECT user, grp, remaining, sum FROM members",
        |row| {
            let (user, group, left): (u32, u32, i32) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let numbers = [user.into(), group.into(), left.into()];
            Ok(row.get::<_, i64>(3)? == sum::of(Table::Member, numbers, None))
        },
    );
    report.sessions = each(
        connection,
        report,
        "sessions",
        "SELECT dialect, address, user, sum FROM sessions",
        |row| {
            let (dialect, address, user): (u8, i64, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let numbers = [dialect.into(), address, user.into()];
            Ok(row.get::<_, i64>(3)? == sum::of(Table::Session, numbers, None))
        },
    );
    report.counters =
        each(connection, report, "counters", "SELECT kind, key, value, sum FROM counters", |row| {
            let (kind, key, value): (u8, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let numbers = [kind.into(), key.into(), value];
            Ok(row.get::<_, i64>(3)? == sum::of(Table::Counter, numbers, None))
        });
    report.chats = each(connection, report, "chats", "SELECT grp, user, sum FROM chats", |row| {
        Ok(row.get::<_, i64>(2)? == chat_sum(row.get(0)?, row.get(1)?))
    });
    let seen = "SELECT user, conversation, sequence, sum FROM seen";
    report.seen = each(connection, report, "seen", seen, |row| {
        let (user, conversation): (u32, Key) = (row.get(0)?, row.get(1)?);
        Ok(row.get::<_, i64>(3)? == seen_sum(user, conversation, row.get(2)?))
    });
    each(connection, report, "newest", "SELECT id, sequence, sum FROM newest", |row| {
        Ok(row.get::<_, i64>(2)? == newest_sum(row.get(0)?, row.get(1)?))
    });
    // A message, and its place in a history.
    report.messages = each(
        connection,
        report,
        "log",
        "SELECT l.sender, recipient, grp, priority, time, text, sum, about, image, l.sequence,
                h.conversation, h.sender
         FROM log l LEFT JOIN history h ON h.sequence = l.sequence AND h.conversation =
             CASE WHEN grp != 0 THEN grp
                  WHEN about != 0 THEN unhex(printf('%08X%08X%08X', about,
                      min(l.sender, recipient), max(l.sender, recipient)))
                  ELSE (min(l.sender, recipient) << 32) | max(l.sender, recipient) END",
        |row| {
            let (log, text, sum) = LogSum::read(row.get(9)?, row)?;
            let LogSum { from, to, group, about, .. } = log;
            let key = Key::of(from, to, group, about);
            let indexed = (row.get::<_, Option<Key>>(10)?, row.get::<_, Option<u32>>(11)?);
            Ok(log.of(text) == sum && indexed == (key, key.map(|_| from)))
        },
    );
    each(
        connection,
        report,
        "history",
        "SELECT h.conversation, h.sequence, l.sequence
         FROM history h LEFT JOIN log l ON l.sequence = h.sequence",
        |row| Ok(row.get::<_, Option<i64>>(2)?.is_some()),
    );
    // A pair has two rows and messages; who has messages has them, unless one was another user then.
    for sql in [
        "SELECT p.user, p.other FROM pairs p
         LEFT JOIN pairs q ON q.user = p.other AND q.other = p.user
         WHERE q.user IS NULL OR NOT EXISTS (SELECT 1 FROM history h WHERE h.conversation =
             (min(p.user, p.other) << 32) | max(p.user, p.other))",
        "SELECT h.conversation, max(h.sequence) FROM history h
         JOIN users a ON a.number = h.conversation >> 32
         JOIN users b ON b.number = h.conversation & 4294967295
         LEFT JOIN pairs p ON p.user = a.number AND p.other = b.number
         WHERE typeof(h.conversation) = 'integer' AND p.user IS NULL
         AND h.sequence > max(a.since, b.since) GROUP BY h.conversation",
    ] {
        each(connection, report, "pairs", sql, |_| Ok(false));
    }
    let images =
        format!("SELECT i.*, l.image FROM ({IMAGE}) i LEFT JOIN log l ON l.sequence = i.sequence");
    report.images = each(connection, report, "images", &images, |row| {
        Ok(image_row(row)?.is_some() && row.get::<_, Option<bool>>(6)? == Some(true))
    });
    // A message that waits, with the one of the log whose text it shares.
    match Log::new(connection) {
        Ok(mut log) => {
            report.mail = each(connection, report, "mailbox", MAIL, |row| {
                Ok(mail_of(row.get(9)?, row, &mut log)?.is_some())
            });
        }
        Err(error) => report.damage("log", || error.to_string()),
    }
    each(
        connection,
        report,
        "waiting",
        "SELECT w.user, w.messages, m.messages, w.lowest <= m.lowest, w.highest >= m.highest
         FROM waiting w FULL JOIN (
             SELECT user, count(*) AS messages, min(sequence) AS lowest, max(sequence) AS highest
             FROM mailbox GROUP BY user
         ) m ON m.user = w.user",
        |row| {
            let (kept, counted): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok(kept == counted && row.get(3)? && row.get(4)?)
        },
    );
    // What belongs to a user or a group that is not there.
    for (table, sql) in [
        (
            "members",
            "SELECT m.user, m.grp FROM members m LEFT JOIN users u ON u.number = m.user
             LEFT JOIN groups g ON g.number = m.grp WHERE u.number IS NULL OR g.number IS NULL",
        ),
        (
            "chats",
            "SELECT c.grp, c.user FROM chats c LEFT JOIN users u ON u.number = c.user
             LEFT JOIN groups g ON g.number = c.grp
             WHERE u.number IS NULL OR g.number IS NULL OR g.owner IN (0, c.user)",
        ),
        (
            "seen",
            "SELECT s.user, s.conversation FROM seen s LEFT JOIN users u ON u.number = s.user
             WHERE u.number IS NULL",
        ),
        (
            "mailbox",
            "SELECT DISTINCT m.user, 0 FROM mailbox m LEFT JOIN users u
             ON u.number = m.user WHERE u.number IS NULL",
        ),
    ] {
        each(connection, report, table, sql, |_| Ok(false));
    }
}

/// Counts the rows that are good.
fn each(
    connection: &Connection,
    report: &mut Report,
    table: &'static str,
    sql: &str,
    mut is_good: impl FnMut(&Row<'_>) -> Sql<bool>,
) -> u64 {
    let mut good = 0;
    let mut all = || -> Sql<()> {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            match is_good(row) {
                Ok(true) => good += 1,
                // A number out of its range, or a value of another type.
                Ok(false) | Err(_) => {
                    let (a, b) = (row.get_ref(0)?, row.get_ref(1)?);
                    report.damage(table, || format!("row {a:?}, {b:?}"));
                }
            }
        }
        Ok(())
    };
    if let Err(error) = all() {
        report.damage(table, || error.to_string());
    }
    good
}
