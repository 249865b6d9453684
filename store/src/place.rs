//! The store's directory: its files, its lock, and the room that is kept in reserve.

use crate::error::Error;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file that everything is in.
pub const FILE: &str = "store.db";
const LOCK: &str = "lock";
const RESERVE: &str = "reserve";
/// Room that there must be beside the reserve before a disk that was full counts as having room.
const MORE: u64 = 256 << 10;
/// How long a directory that somebody has is tried.
const PATIENCE: Duration = Duration::from_secs(1);

/// What SQLite calls the write-ahead log of a file.
pub(crate) fn wal_of(file: &Path) -> PathBuf {
    beside(file, "-wal")
}

/// What SQLite calls the journal of a file that has no write-ahead log yet.
pub(crate) fn journal_of(file: &Path) -> PathBuf {
    beside(file, "-journal")
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    let sync = || File::open(dir)?.sync_all();
    sync().map_err(|error| Error::io("syncing the directory", dir, error))
}

/// Makes a directory that outlasts a power cut, with those above it, if they are missing.
fn make_dir(dir: &Path) -> Result<(), Error> {
    let missing: Vec<_> = dir
        .ancestors()
        .filter(|dir| !dir.as_os_str().is_empty())
        .take_while(|dir| !dir.exists())
        .collect();
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Error::io("making the directory", dir, error))?;
    for made in missing.iter().rev() {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        sync_dir(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Tries for a while: a `check`, or a child between fork and exec, has the lock for a moment only.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// A directory that nobody else has while this lives.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the directory; it is made if it is missing.
    pub(crate) fn take(dir: &Path) -> Result<Place, Error> {
        make_dir(dir)?;
        let file = dir.join(LOCK);
        let mut options = OpenOptions::new();
        // Whose it is stays readable until it is ours.
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock =
            options.open(&file).map_err(|error| Error::io("opening the lock", &file, error))?;
        match patiently(|| lock.try_lock()) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                // Who it is helps, but is not needed.
                let _ = lock.read_to_string(&mut by);
                return Err(Error::InUse { dir: dir.to_owned(), by: by.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => {
                return Err(Error::io("locking", &file, error));
            }
        }
        // A full disk may refuse this: the lock holds without it.
        let _ = lock.set_len(0);
        let _ = lock.write_all(format!("process {}\n", std::process::id()).as_bytes());
        Ok(Place { dir: dir.to_owned(), _lock: lock })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    pub(crate) fn reserve(&self, bytes: u64) -> Reserve {
        Reserve { file: self.dir.join(RESERVE), bytes }
    }

    /// Moves the store's files aside, to a name that nothing has, and returns it.
    pub(crate) fn move_aside(&self) -> Result<PathBuf, Error> {
        let file = self.file();
        let aside = (1..)
            .map(|n| beside(&file, &format!(".damaged-{n}")))
            .find(|aside| !aside.exists() && !wal_of(aside).exists())
            .ok_or(Error::Closed)?;
        let others = [wal_of, journal_of].map(|of: fn(&Path) -> PathBuf| (of(&file), of(&aside)));
        for (from, to) in [(file.clone(), aside.clone())].into_iter().chain(others) {
            match fs::rename(&from, &to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("moving it aside", &from, error));
                }
                _ => {}
            }
        }
        // It belongs to no file any more.
        let _ = fs::remove_file(beside(&file, "-shm"));
        sync_dir(&self.dir)?;
        Ok(aside)
    }
}

/// Whether the lock says that another process has it, which lives. Where it does not, but is held, a
/// child of the one that had it may be between fork and exec.
fn is_anothers(lock: &File) -> bool {
    let (mut lock, mut by) = (lock, String::new());
    let _ = lock.read_to_string(&mut by);
    let pid = by.trim().strip_prefix("process ").and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| {
        pid != std::process::id() && Path::new("/proc").join(pid.to_string()).exists()
    })
}

/// Whether a server has the directory, found out without leaving a trace. While the guard lives, no
/// server can take it.
pub(crate) fn look(dir: &Path) -> Result<Look, Error> {
    let file = dir.join(LOCK);
    let lock = match File::open(&file) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Still(None)),
        Err(error) => return Err(Error::io("opening the lock", &file, error)),
    };
    let locked = match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) if !is_anothers(&lock) => {
            patiently(|| lock.try_lock_shared())
        }
        locked => locked,
    };
    match locked {
        Ok(()) => Ok(Look::Still(Some(lock))),
        Err(TryLockError::WouldBlock) => Ok(Look::Served),
        Err(TryLockError::Error(error)) => Err(Error::io("locking", &file, error)),
    }
}

/// What [`look`] found.
#[derive(Debug)]
pub(crate) enum Look {
    /// A server has it.
    Served,
    /// Nobody has it; the lock, where there is one.
    Still(#[allow(dead_code)] Option<File>),
}

/// Room on the disk that is kept so that a full one can be tidied up.
#[derive(Debug)]
pub(crate) struct Reserve {
    file: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// Takes the room, or leaves nothing behind.
    pub(crate) fn take(&self) -> Result<(), Error> {
        if self.bytes == 0 || fs::metadata(&self.file).is_ok_and(|file| file.len() == self.bytes) {
            return Ok(());
        }
        self.write(self.bytes).and_then(|part| {
            let named = fs::rename(&part, &self.file);
            named.map_err(|error| Error::io("reserving room", &self.file, error))
        })
    }

    /// Whether there is room beside it.
    pub(crate) fn try_more(&self) -> Result<(), Error> {
        let part = self.write(self.bytes.min(MORE))?;
        fs::remove_file(&part).map_err(|error| Error::io("removing", &part, error))
    }

    /// Takes so much, under a name that is nobody's reserve, or leaves nothing behind.
    fn write(&self, bytes: u64) -> Result<PathBuf, Error> {
        let part = beside(&self.file, ".part");
        let write = || {
            let mut file = File::create(&part)?;
            let zeros = [0; 64 * 1024];
            let mut left = bytes;
            while left > 0 {
                let now = left.min(zeros.len() as u64);
                file.write_all(&zeros[..now as usize])?;
                left -= now;
            }
            file.sync_all()
        };
        write().map(|()| part.clone()).map_err(|error| {
            let _ = fs::remove_file(&part);
            Error::io("reserving room", &self.file, error)
        })
    }

    /// Gives the room back.
    pub(crate) fn free(&self) {
        let _ = fs::remove_file(&self.file);
    }
}
