//! Lanes: how much each can take, which has to make room for others, and the file of names.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use centrala_core::dialect::lanes::BasicTxt;
use centrala_core::exchange::Link;
use centrala_core::host::Room;

use super::{Server, lend};

/// The file of names that clients of `lanes` read.
#[derive(Debug)]
pub(super) struct NamesFile {
    path: PathBuf,
    /// Of the directory, as it was written last.
    version: Option<u64>,
}

impl NamesFile {
    /// Not written yet.
    pub(super) fn new(path: PathBuf) -> NamesFile {
        NamesFile { path, version: None }
    }

    /// Replaces the file in one step: whoever reads it finds the old one or the new one.
    fn write(&self, text: &str) -> io::Result<()> {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = self.path.with_file_name(name);
        if let Some(directory) = self.path.parent().filter(|d| !d.as_os_str().is_empty()) {
            fs::create_dir_all(directory)?;
        }
        let mut file = File::create(&new)?;
        // Not synced: each server writes it anew when it starts.
        file.write_all(text.as_bytes())?;
        fs::rename(&new, &self.path)
    }
}

impl Server<'_> {
    /// Writes the file of names, if users or groups have changed since it was.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write_names(&mut self) -> io::Result<()> {
        let version = self.exchange.directory_version();
        match &mut self.names {
            Some(names) if names.version != Some(version) => {
                names.version = Some(version);
                names.write(&BasicTxt(&self.exchange).to_string())
            }
            _ => Ok(()),
        }
    }

    /// The same in the loop, which goes on without it.
    pub(super) fn keep_names(&mut self) {
        if let Err(error) = self.write_names() {
            let path = self.names.as_ref().map(|names| names.path.display().to_string());
            tracing::error!(?path, %error, "cannot write the file of names");
        }
    }

    /// Looks at a lane whose time has come.
    pub(super) fn look_at_lane(&mut self, link: Link, at: u32, user: u32) {
        let now = self.out.now;
        let Some(lanes) = self.out.queues.lanes(at) else { return };
        let mut refused = lanes.refresh(user, now);
        let answered = lanes.flush_answers_of(user, now) != 0;
        let mut others = Vec::new();
        while refused
            && let Some(lanes) = self.out.queues.lanes(at)
            && let Some((link, other)) = lanes.longest(user, now)
            // What is noted down for it would come before what is taken back.
            && self.out.seats.get(link).is_some_and(|seat| seat.queued == 0)
        {
            self.make_room(link, at, other);
            others.push((link, other));
            refused = self.out.queues.lanes(at).is_some_and(|lanes| lanes.refresh(user, now));
        }
        let Some(lanes) = self.out.queues.lanes(at) else { return };
        let (room, again) = (lanes.room(user), lanes.is_tight(user));
        let more = self.tell(link, room, false);
        if again {
            self.look_later(link, more || answered);
        }
        for (link, other) in others {
            self.tell_lane(link, at, other);
        }
    }

    /// Tells the exchange how much a lane takes.
    pub(super) fn tell_lane(&mut self, link: Link, at: u32, user: u32) {
        let now = self.out.now;
        let Some(lanes) = self.out.queues.lanes(at) else { return };
        lanes.refresh(user, now);
        let (room, tight) = (lanes.room(user), lanes.is_tight(user));
        self.tell(link, room, true);
        if tight {
            self.look_later(link, true);
        }
    }

    /// Takes back what lies in a lane, for others that need the room.
    fn make_room(&mut self, link: Link, at: u32, user: u32) {
        let Some(lanes) = self.out.queues.lanes(at) else { return };
        lanes.slow_down(user);
        let unread = lanes.drain(user);
        tracing::debug!(user, messages = unread.len(), "took back what lay longest in a lane");
        self.out.counters.returned += unread.len() as u64;
        if let Some(seat) = self.out.seats.get(link) {
            seat.left = Room::default();
        }
        self.exchange.room(link, Room::default(), lend!(self));
        for frame in unread.iter().rev() {
            self.exchange.give_back(link, frame, lend!(self));
        }
    }
}
