//! A copy of the whole store in one file, made while the server goes on.

use crate::error::Error;
use crate::place::{FILE, look, sync_dir};
use crate::{Shared, schema};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

type Answer = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// The backup that is under way, if one is.
#[derive(Default)]
pub(crate) struct Backup {
    thread: Option<JoinHandle<()>>,
    stop: Option<rusqlite::InterruptHandle>,
    closed: bool,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backup").field("thread", &self.thread).finish_non_exhaustive()
    }
}

/// Begins one on a thread of its own.
pub(crate) fn start(shared: &Arc<Shared>, file: &Path, answer: Answer) {
    let mut backup = shared.backup.lock().unwrap_or_else(PoisonError::into_inner);
    if backup.closed {
        return answer(Err(Error::Closed));
    }
    if backup.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
        let what = "another backup is under way".to_owned();
        return answer(Err(Error::Engine { file: file.to_owned(), what }));
    }
    let (store, file) = (shared.file.clone(), file.to_owned());
    let connection = match schema::open_reader(&store) {
        Ok(connection) => connection,
        Err(error) => return answer(Err(error)),
    };
    backup.stop = Some(connection.get_interrupt_handle());
    backup.thread = Some(thread::spawn(move || {
        let result = write(&connection, &file);
        drop(connection);
        answer(result);
    }));
}

/// Ends one that is under way, and lets none begin.
pub(crate) fn close(shared: &Shared) {
    let (thread, stop) = {
        let mut backup = shared.backup.lock().unwrap_or_else(PoisonError::into_inner);
        backup.closed = true;
        (backup.thread.take(), backup.stop.take())
    };
    if let Some(thread) = thread {
        // An interrupt that comes before the statement has begun is not heard.
        while !thread.is_finished() {
            if let Some(stop) = &stop {
                stop.interrupt();
            }
            thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = thread.join();
    }
}

/// Under another name until it is whole and on the disk.
fn write(connection: &rusqlite::Connection, file: &Path) -> Result<(), Error> {
    if file.exists() {
        let error = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(Error::io("writing a backup", file, error));
    }
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let name = part.to_str().ok_or_else(|| {
        let error = io::Error::from(io::ErrorKind::InvalidFilename);
        Error::io("writing a backup", file, error)
    })?;
    // Left by one that was killed.
    let _ = fs::remove_file(&part);
    let all = || {
        connection
            .execute("VACUUM INTO ?1", [name])
            .map_err(|error| Error::engine(&part, &error))?;
        let synced = File::open(&part).and_then(|part| part.sync_all());
        synced.map_err(|error| Error::io("syncing a backup", &part, error))?;
        fs::rename(&part, file).map_err(|error| Error::io("naming a backup", file, error))?;
        let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty());
        sync_dir(dir.unwrap_or(Path::new(".")))
    };
    all().inspect_err(|_| drop(fs::remove_file(&part)))
}

/// Writes all that is committed in a store's directory into a new file, which is a whole store of
/// its own. A server may have the directory, and goes on.
///
/// # Errors
/// The file exists or cannot be written, or the store cannot be read.
pub fn back_up(dir: &Path, file: &Path) -> Result<(), Error> {
    // No server takes the directory while it is read without one.
    let _held = look(dir)?;
    let store = dir.join(FILE);
    // Asked first: the engine has no word for it.
    fs::metadata(&store).map_err(|error| Error::io("reading", &store, error))?;
    let connection = schema::open_reader(&store)?;
    schema::version(&connection, &store)?;
    write(&connection, file)
}
