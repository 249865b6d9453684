//! What can go wrong with a store, and whose it is to mend.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a store cannot be opened, or could not do what it was asked.
#[derive(Clone, Debug)]
pub enum Error {
    /// Another server has the directory.
    InUse {
        /// The directory.
        dir: PathBuf,
        /// Who has it, as far as it is known.
        by: String,
    },
    /// The file was written by a newer version, which this one does not understand.
    Newer {
        /// The file.
        file: PathBuf,
        /// Its schema version.
        found: u32,
        /// The newest that this version knows.
        known: u32,
    },
    /// The file is a database of something else.
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// The file is damaged.
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// There is no room for it on the disk.
    Full {
        /// The file that could not grow.
        file: PathBuf,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        file: PathBuf,
        /// Its answer.
        error: Arc<io::Error>,
    },
    /// The engine refused, for a reason that is none of the others.
    Engine {
        /// The file.
        file: PathBuf,
        /// Its answer.
        what: String,
    },
    /// There is no such user.
    NoUser {
        /// The number that was given.
        user: u32,
    },
    /// The store is closed: its threads have ended.
    Closed,
}

impl Error {
    pub(crate) fn io(doing: &'static str, file: &Path, error: io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::Full { file: file.to_owned() }
            }
            _ => Error::Io { doing, file: file.to_owned(), error: Arc::new(error) },
        }
    }

    /// What the engine said, sorted by who can do something about it.
    pub(crate) fn engine(file: &Path, error: &rusqlite::Error) -> Error {
        use rusqlite::ErrorCode as Code;
        let file = file.to_owned();
        let damaged = |what: String| Error::Damaged { file: file.clone(), what };
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                let what = message.clone().unwrap_or_else(|| failure.to_string());
                match failure.code {
                    Code::DiskFull => Error::Full { file },
                    Code::DatabaseCorrupt | Code::NotADatabase => damaged(what),
                    // The shared memory file is the one that is made larger before it is used.
                    _ if failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
                        Error::Full { file }
                    }
                    _ => Error::Engine { file, what },
                }
            }
            rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::Utf8Error(..) => damaged(error.to_string()),
            _ => Error::Engine { file, what: error.to_string() },
        }
    }

    /// Whether room on the disk would mend it.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Full { .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::InUse { dir, by } => {
                write!(f, "{}: in use by another server ({by}); end it first", dir.display())
            }
            Error::Newer { file, found, known } => write!(
                f,
                "{}: written by a newer version (schema {found}, this one knows up to {known})",
                file.display()
            ),
            Error::Foreign { file } => {
                write!(f, "{}: a database, but not a Centrala store", file.display())
            }
            Error::Damaged { file, what } => write!(f, "{}: damaged: {what}", file.display()),
            Error::Full { file } => write!(f, "{}: no room on the disk", file.display()),
            Error::Io { doing, file, error } => write!(f, "{}: {doing}: {error}", file.display()),
            Error::Engine { file, what } => write!(f, "{}: {what}", file.display()),
            Error::NoUser { user } => write!(f, "there is no user {user}"),
            Error::Closed => f.write_str("the store is closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { error, .. } => Some(error.as_ref()),
            _ => None,
        }
    }
}
