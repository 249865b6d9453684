//! The tables, how a file comes to have them, and how a connection is set up.
//!
//! `log` is the one table that grows with every message: it is only appended to, in the order of
//! the exchange's own sequence, and pruned from its old end. `history` and `mailbox` are thin: they
//! say who has what in the log. A message that the log does not have (one that was handed back, or
//! that it had no room for) has its text in `mailbox` itself.
//!
//! `waiting` says how many messages a mailbox holds, so that a start need not count them, and
//! between which sequences they lie at most.
//!
//! `history` also names the sender of each message, so that those of others are counted without the
//! log, and `pairs` names, for each user, those with whom it has direct messages: both are thin, and
//! follow from the log. `seen` says how far a user has seen a conversation; conversation 0 is all its
//! direct messages. `images` says which image a message of the log is. `newest` has two rows
//! at most: the newest sequence ever given, where the log has an older one only, and, while a server
//! has the store or if one was killed, up to which it may have given them.
//!
//! Numbers of users and groups are used again after a removal. `since` is the newest message when
//! the user or group was made: what is older belongs to a former one of that number. No history
//! shows it, and mail of it is of no group any more. Mail with a text of its own may be numbered
//! otherwise: its group is taken away with the group itself.

use crate::canary::{self, Canary};
use crate::error::Error;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// In the header of the file, for `file(1)` and for [`Error::Foreign`]: "CNTR".
const APPLICATION: i32 = i32::from_be_bytes(*b"CNTR");

/// How a file comes from one schema version to the next. An empty file is version 0.
const STEPS: [&str; 3] = [
    "
    CREATE TABLE users (
        number INTEGER PRIMARY KEY, name BLOB NOT NULL, password BLOB, since INTEGER NOT NULL,
        sum INTEGER NOT NULL
    );
    CREATE TABLE groups (
        number INTEGER PRIMARY KEY, name BLOB NOT NULL, owner INTEGER NOT NULL,
        since INTEGER NOT NULL, sum INTEGER NOT NULL
    );
    CREATE TABLE members (
        user INTEGER NOT NULL, grp INTEGER NOT NULL, remaining INTEGER NOT NULL,
        sum INTEGER NOT NULL, PRIMARY KEY (user, grp)
    ) WITHOUT ROWID;
    CREATE TABLE sessions (
        dialect INTEGER NOT NULL, address INTEGER NOT NULL, user INTEGER NOT NULL,
        sum INTEGER NOT NULL, PRIMARY KEY (dialect, address)
    ) WITHOUT ROWID;
    CREATE TABLE counters (
        kind INTEGER NOT NULL, key INTEGER NOT NULL, value INTEGER NOT NULL, sum INTEGER NOT NULL,
        PRIMARY KEY (kind, key)
    ) WITHOUT ROWID;
    CREATE TABLE log (
        sequence INTEGER PRIMARY KEY, sender INTEGER NOT NULL, recipient INTEGER NOT NULL,
        grp INTEGER NOT NULL, priority INTEGER NOT NULL, time INTEGER NOT NULL,
        text BLOB NOT NULL, sum INTEGER NOT NULL
    );
    CREATE TABLE history (
        conversation INTEGER NOT NULL, sequence INTEGER NOT NULL,
        PRIMARY KEY (conversation, sequence)
    ) WITHOUT ROWID;
    CREATE TABLE mailbox (
        user INTEGER NOT NULL, priority INTEGER NOT NULL, sequence INTEGER NOT NULL,
        id INTEGER NOT NULL, last INTEGER NOT NULL, sum INTEGER NOT NULL,
        sender INTEGER, grp INTEGER, time INTEGER, text BLOB,
        PRIMARY KEY (user, priority, sequence)
    ) WITHOUT ROWID;
    CREATE TABLE waiting (
        user INTEGER PRIMARY KEY, messages INTEGER NOT NULL, lowest INTEGER NOT NULL,
        highest INTEGER NOT NULL, sum INTEGER NOT NULL
    );
    CREATE INDEX mailbox_own ON mailbox (sender) WHERE text IS NOT NULL;
",
    "
    ALTER TABLE log ADD COLUMN about INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE log ADD COLUMN image INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE mailbox ADD COLUMN about INTEGER;
    ALTER TABLE mailbox ADD COLUMN image INTEGER;
    ALTER TABLE history ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
    UPDATE history SET sender =
        coalesce((SELECT l.sender FROM log l WHERE l.sequence = history.sequence), 0);
    CREATE TABLE pairs (
        user INTEGER NOT NULL, other INTEGER NOT NULL, PRIMARY KEY (user, other)
    ) WITHOUT ROWID;
    INSERT INTO pairs SELECT DISTINCT conversation >> 32, conversation & 4294967295
        FROM history WHERE conversation >= 4294967296;
    INSERT OR IGNORE INTO pairs SELECT other, user FROM pairs;
    CREATE TABLE chats (
        grp INTEGER NOT NULL, user INTEGER NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY (grp, user)
    ) WITHOUT ROWID;
    CREATE INDEX chats_user ON chats (user);
    CREATE TABLE seen (
        user INTEGER NOT NULL, conversation NOT NULL, sequence INTEGER NOT NULL,
        sum INTEGER NOT NULL, PRIMARY KEY (user, conversation)
    ) WITHOUT ROWID;
    CREATE INDEX seen_conversation ON seen (conversation);
    CREATE TABLE images (
        sequence INTEGER PRIMARY KEY, hash BLOB NOT NULL, name BLOB NOT NULL, kind BLOB NOT NULL,
        size INTEGER NOT NULL, sum INTEGER NOT NULL
    );
    CREATE INDEX images_hash ON images (hash);
    CREATE TABLE newest (
        id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, sum INTEGER NOT NULL
    );
",
    "
    CREATE INDEX mailbox_own_group ON mailbox (grp) WHERE text IS NOT NULL;
",
];

/// The newest schema version that this code knows.
pub(crate) const VERSION: u32 = STEPS.len() as u32;

/// How much is synced at each commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Synced {
    /// All of it.
    Commit,
    /// Nothing, until somebody syncs the write-ahead log or it is checkpointed.
    Later,
}

impl Synced {
    pub(crate) fn pragma(self) -> &'static str {
        let lazy = canary::asked() == Some(Canary::SkipSync);
        match self {
            Synced::Commit if !lazy => "PRAGMA synchronous = FULL",
            _ => "PRAGMA synchronous = NORMAL",
        }
    }
}

/// A connection that writes. The file is made if it is missing.
pub(crate) fn open_writer(file: &Path, synced: Synced) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(file, flags)?;
        common(&connection)?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        connection.execute_batch("PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = 0;")?;
        connection.execute_batch(synced.pragma())?;
        Ok((connection, mode))
    };
    let opened = open().map_err(|error: rusqlite::Error| Error::engine(file, &error));
    opened.and_then(|(connection, mode)| match mode.as_str() {
        "wal" => Ok(connection),
        _ => Err(Error::Engine {
            file: file.to_owned(),
            what: format!("this file system has no write-ahead log for SQLite (mode {mode})"),
        }),
    })
}

/// A connection that only reads, beside one that writes.
pub(crate) fn open_reader(file: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(file, flags)?;
        common(&connection)?;
        connection.execute_batch("PRAGMA cache_size = -4096;")?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| Error::engine(file, &error))
}

/// A copy that nobody else knows of, with its write-ahead log.
pub(crate) fn open_private(file: &Path) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(file, flags)?;
        common(&connection)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| Error::engine(file, &error))
}

/// A file that nobody writes, and that has no write-ahead log: nothing beside it is looked at, made
/// or locked.
pub(crate) fn open_still(file: &Path) -> Result<Connection, Error> {
    let mut uri = String::from("file:");
    for byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let open = || {
        let connection = Connection::open_with_flags(&uri, flags)?;
        common(&connection)?;
        Ok(connection)
    };
    open().map_err(|error: rusqlite::Error| Error::engine(file, &error))
}

fn common(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "PRAGMA busy_timeout = 5000; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;
         PRAGMA trusted_schema = OFF; PRAGMA temp_store = MEMORY;",
    )
}

/// The schema version of a file that this code may read.
pub(crate) fn version(connection: &Connection, file: &Path) -> Result<u32, Error> {
    known_version(connection, file, VERSION)
}

fn known_version(connection: &Connection, file: &Path, known: u32) -> Result<u32, Error> {
    let number = |pragma: &str| -> Result<i32, Error> {
        connection
            .query_row(pragma, [], |row| row.get(0))
            .map_err(|error| Error::engine(file, &error))
    };
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    let tables = number("SELECT count(*) FROM sqlite_master")?;
    match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION, 0, _) => {
            let what = "it has no schema version".to_owned();
            Err(Error::Damaged { file: file.to_owned(), what })
        }
        (APPLICATION, found, _) if u32::try_from(found).is_ok_and(|found| found <= known) => {
            Ok(found as u32)
        }
        (APPLICATION, found, _) => {
            Err(Error::Newer { file: file.to_owned(), found: found as u32, known })
        }
        _ => Err(Error::Foreign { file: file.to_owned() }),
    }
}

/// Brings a file to the newest version: all of it, or nothing.
pub(crate) fn migrate(connection: &Connection, file: &Path) -> Result<(), Error> {
    migrate_by(connection, file, &STEPS)
}

fn migrate_by(connection: &Connection, file: &Path, steps: &[&str]) -> Result<(), Error> {
    let from = known_version(connection, file, steps.len() as u32)?;
    let steps = steps.get(from as usize..).unwrap_or(&[]);
    if steps.is_empty() {
        return Ok(());
    }
    let to = from + steps.len() as u32;
    let all = || {
        let transaction = rusqlite::Transaction::new_unchecked(
            connection,
            rusqlite::TransactionBehavior::Immediate,
        )?;
        for step in steps {
            transaction.execute_batch(step)?;
        }
        transaction.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {to};"
        ))?;
        transaction.commit()
    };
    all().map_err(|error: rusqlite::Error| Error::engine(file, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(connection: &Connection) -> i32 {
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn an_older_file_is_migrated_and_a_newer_one_refused() {
        let file = Path::new("memory");
        let connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x); INSERT INTO b SELECT x + 1 FROM a"];
        migrate_by(&connection, file, &steps[..1]).unwrap();
        assert_eq!(known_version(&connection, file, 1).unwrap(), 1);
        connection.execute_batch("INSERT INTO a VALUES (41)").unwrap();
        migrate_by(&connection, file, &steps).unwrap();
        let x: i32 = connection.query_row("SELECT x FROM b", [], |row| row.get(0)).unwrap();
        assert_eq!((x, tables(&connection)), (42, 2));
        migrate_by(&connection, file, &steps).unwrap();
        assert_eq!(tables(&connection), 2, "a second time it changes nothing");
        let error = migrate_by(&connection, file, &steps[..1]).unwrap_err();
        assert!(matches!(error, Error::Newer { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn a_migration_that_fails_leaves_the_older_file() {
        let file = Path::new("memory");
        let connection = Connection::open_in_memory().unwrap();
        migrate_by(&connection, file, &["CREATE TABLE a (x)"]).unwrap();
        let steps = ["", "CREATE TABLE b (x)", "CREATE TABLE a (x)"];
        migrate_by(&connection, file, &steps).unwrap_err();
        assert_eq!((known_version(&connection, file, 3).unwrap(), tables(&connection)), (1, 1));
    }

    #[test]
    fn a_database_of_something_else_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE theirs (x)").unwrap();
        let error = migrate(&connection, Path::new("memory")).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(tables(&connection), 1);
    }
}
