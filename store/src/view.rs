//! A store as somebody else sees it: read beside its server or without one, and left without a trace.

use crate::error::Error;
use crate::images::Images;
use crate::kept::{Conversation, HistoryPage};
use crate::pages::Pages;
use crate::place::{FILE, Look, journal_of, look, wal_of};
use crate::restore::{self, Restored};
use crate::schema;
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};

/// A store, or a backup's file, that is only read. A server may have it at the same time.
///
/// Nothing in the directory is made, changed or removed. A store whose server was killed has part
/// of it in its write-ahead log, and one of an older version lacks tables: it is then looked at in
/// a private copy, which needs as much room in the directory for temporary files.
#[derive(Debug)]
pub struct View {
    // In this order: the connection goes before what it reads.
    connection: Option<Connection>,
    file: PathBuf,
    version: u32,
    held: Look,
    _copy: Option<tempfile::TempDir>,
}

impl View {
    /// Opens a store: its directory, or a backup's file.
    ///
    /// # Errors
    /// [`Error::Newer`], [`Error::Foreign`], [`Error::Damaged`] if nothing of it can be read, and
    /// what the operating system refuses.
    pub fn open(store: &Path) -> Result<View, Error> {
        let dir = store.is_dir();
        let file = if dir { store.join(FILE) } else { store.to_owned() };
        let found = fs::metadata(&file).map_err(|error| Error::io("reading", &file, error))?;
        let held = if dir { look(store)? } else { Look::Still(None) };
        let served = matches!(held, Look::Served);
        let mut view = View { connection: None, file, version: 0, held, _copy: None };
        if found.len() == 0 && !served {
            return Ok(view);
        }
        let file = &view.file;
        // What a server that was killed left beside its file. A journal is there only if that was
        // at its first start.
        let beside = [wal_of, journal_of].map(|of| (of as fn(&Path) -> PathBuf, of(file)));
        let left = |(_, file): &&(_, PathBuf)| fs::metadata(file).is_ok_and(|file| file.len() != 0);
        let making = |error| Error::io("making a private copy", file, error);
        let connection = if served {
            schema::open_reader(file)?
        } else if beside.iter().any(|beside| left(&beside)) {
            let copy = tempfile::TempDir::new().map_err(making)?;
            let private = copy.path().join(FILE);
            fs::copy(file, &private).map_err(making)?;
            for (of, left) in beside.iter().filter(left) {
                fs::copy(left, of(&private)).map_err(making)?;
            }
            let connection = schema::open_private(&private)?;
            view._copy = Some(copy);
            connection
        } else {
            schema::open_still(file)?
        };
        view.version = schema::version(&connection, file)?;
        let connection = match view.version {
            0 => return Ok(view),
            schema::VERSION => connection,
            _ => {
                let copy = tempfile::TempDir::new().map_err(making)?;
                let private = copy.path().join(FILE);
                let name = private.to_str().ok_or(Error::Closed)?;
                let copied = connection.execute("VACUUM INTO ?1", [name]);
                copied.map_err(|error| Error::engine(file, &error))?;
                drop(connection);
                let connection = schema::open_private(&private)?;
                schema::migrate(&connection, file)?;
                view._copy = Some(copy);
                connection
            }
        };
        view.connection = Some(connection);
        Ok(view)
    }

    /// The store's file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether a server has it.
    pub fn is_served(&self) -> bool {
        matches!(self.held, Look::Served)
    }

    /// The version of its tables; 0 if there are none yet.
    pub fn version(&self) -> u32 {
        self.version
    }

    pub(crate) fn connection(&self) -> Option<&Connection> {
        self.connection.as_ref()
    }

    /// Users, groups and memberships, as a server finds them when it starts.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn restored(&self) -> Result<Restored, Error> {
        match &self.connection {
            Some(connection) => Ok(restore::load(connection, &self.file)?.0),
            None => Ok(Restored::default()),
        }
    }

    /// As [`Reader::image_hashes`](crate::Reader::image_hashes).
    ///
    /// # Errors
    /// It cannot be read.
    pub fn image_hashes(&self, after: Option<[u8; 32]>) -> Result<Vec<[u8; 32]>, Error> {
        let Some(connection) = &self.connection else { return Ok(Vec::new()) };
        let hashes = Images::new(connection).and_then(|mut images| images.hashes(after));
        hashes.map_err(|error| Error::engine(&self.file, &error))
    }

    /// As [`Reader::history`](crate::Reader::history).
    ///
    /// # Errors
    /// It cannot be read.
    pub fn history(
        &self,
        of: Conversation,
        before: Option<u64>,
        limit: u32,
    ) -> Result<HistoryPage, Error> {
        let Some(connection) = &self.connection else { return Ok(HistoryPage::default()) };
        let page = Pages::new(connection).and_then(|mut pages| pages.history(of, before, limit));
        page.map_err(|error| Error::engine(&self.file, &error))
    }
}
