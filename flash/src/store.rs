//! Writing: appending a record, and opening the next sector.

use crate::defect::Defect;
use crate::index::Index;
use crate::medium::{Begins, Failed, Header, Medium};
use crate::record::{Key, encode, mark};
use centrala_core::host::{NoRoom, Record, Store};
use embedded_storage::nor_flash::NorFlash;

/// What a store holds, and what it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Usage {
    /// Users, groups, memberships, private chats and messages that are kept.
    pub records: usize,
    /// How many there are places for.
    pub places: usize,
    /// Bytes of flash that they take.
    pub bytes: u32,
    /// How many they may take: beyond it a record is refused.
    pub capacity: u32,
    /// Sectors opened since the flash was empty: each has been erased this often, divided by the
    /// number of sectors.
    pub opened: u32,
    /// Sectors and records that were found damaged and left out.
    pub damaged: u32,
}

/// Records of an exchange in NOR flash. Durable when [`write`](Store::write) returns.
pub struct FlashStore<'a, F> {
    pub(crate) medium: Medium<F>,
    pub(crate) index: Index<'a>,
    /// Epoch of the last sector; 0 if there is none.
    pub(crate) head: u32,
    /// Where the last record ends, from the begin of the last sector.
    pub(crate) end: u32,
    /// Whether the last sector was opened since the start, and is whole: more may be appended.
    pub(crate) open: bool,
    /// Whether the last sector was opened since the start and holds nothing but copies.
    pub(crate) bare: bool,
    /// Bytes of the records that hold.
    pub(crate) live: u32,
    /// The highest sequence so far.
    pub(crate) newest: u64,
    pub(crate) damaged: u32,
}

impl<F> core::fmt::Debug for FlashStore<'_, F> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FlashStore")
            .field("records", &self.index.len())
            .field("bytes", &self.live)
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl<'a, F: NorFlash> FlashStore<'a, F> {
    pub(crate) fn new(medium: Medium<F>, index: Index<'a>) -> Self {
        FlashStore {
            medium,
            index,
            head: 0,
            end: 0,
            open: false,
            bare: false,
            live: 0,
            newest: 0,
            damaged: 0,
        }
    }

    /// What it holds.
    pub fn usage(&self) -> Usage {
        Usage {
            records: self.index.len(),
            places: self.index.capacity(),
            bytes: self.live,
            capacity: self.medium.capacity(),
            opened: self.head,
            damaged: self.damaged,
        }
    }

    /// Whether a record may be added: it never takes the room that removing needs.
    fn fits(&mut self, key: Key, size: u32) -> bool {
        let old = self.find(key);
        let live = self.live.saturating_sub(old.map_or(0, |(_, size)| size)).saturating_add(size);
        let placed = old.is_some() || self.index.len() < self.index.capacity();
        placed && live <= self.medium.capacity()
    }

    /// Opens the next sector, with all that still holds of the one to be erased after the next.
    fn open_next(&mut self) -> Result<(), Failed> {
        let epoch = self.head.checked_add(1).ok_or(Failed)?;
        let open = core::mem::take(&mut self.open);
        if self.bare {
            // Its copies must be known to be whole before the next but one loses what they are of.
            // Where the flash failed to say so, the next start begins that sector anew.
            if !open {
                return Err(Failed);
            }
            self.medium.write((self.head, self.end), mark(), &[])?;
            self.end = self.end.saturating_add(self.medium.size(&mark()));
            self.bare = false;
        }
        let header = Header { epoch, end_before: self.end, newest: self.newest };
        self.medium.begin_sector(&header)?;
        let mut end = self.medium.start();
        let oldest = epoch.checked_sub(self.medium.sectors.saturating_sub(2));
        if let Some(oldest) = oldest.filter(|epoch| *epoch != 0)
            && !self.medium.defects.has(Defect::SkipCopies)
        {
            // All are copied before the index says so of any: this may fail in between.
            end = self.copy_all(oldest, epoch)?;
            self.move_all(oldest, epoch);
        }
        (self.head, self.end, self.open, self.bare) = (epoch, end, true, true);
        Ok(())
    }

    fn copy_all(&mut self, from: u32, to: u32) -> Result<u32, Failed> {
        let mut end = self.medium.start();
        let (sector, begin) = (self.medium.sector_of(from), self.medium.begin(from));
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            if self.medium.sector_at(place) == sector {
                let at = self.medium.address(place).wrapping_sub(begin);
                let Begins::Record(found) = self.medium.look(from, at) else {
                    self.damaged = self.damaged.saturating_add(1);
                    self.forget(i);
                    continue;
                };
                self.medium.copy(place, &found.head, (to, end))?;
                end = end.saturating_add(found.size);
            }
            i = i.wrapping_add(1);
        }
        Ok(end)
    }

    /// As [`FlashStore::copy_all`] has copied them.
    fn move_all(&mut self, from: u32, to: u32) {
        let sector = self.medium.sector_of(from);
        let mut address = self.medium.begin(to).wrapping_add(self.medium.start());
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            if self.medium.sector_at(place) == sector {
                let place = self.medium.moved(place, address);
                let Some(head) = self.medium.head(place) else { return };
                self.index.set(i, place);
                address = address.wrapping_add(self.medium.size(&head));
            }
            i = i.wrapping_add(1);
        }
    }
}

impl<F: NorFlash> Store for FlashStore<'_, F> {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        if matches!(record, Record::Session { .. } | Record::Posted(_) | Record::Seen { .. }) {
            // Histories, and sessions that outlast the exchange, are not for flash.
            return Ok(());
        }
        let owner = match record {
            Record::Chat { group, .. } => self.owner(group),
            _ => 0,
        };
        let Some((head, text)) = encode(&record, owner) else { return Err(NoRoom) };
        let size = self.medium.size(&head);
        if size > self.medium.longest {
            return Err(NoRoom);
        }
        if let Some(key) = Key::of(&record)
            && !self.fits(key, size)
        {
            return Err(NoRoom);
        }
        if let Some(key) = Key::ended_by(&record)
            && self.find(key).is_none()
        {
            return Ok(());
        }
        // One round finds room, as not all sectors are full.
        for _ in 0..=self.medium.sectors {
            if self.open && self.end.saturating_add(size) <= self.medium.limit() {
                // Until it is whole nothing may be appended behind it.
                self.open = false;
                self.medium.write((self.head, self.end), head, text).map_err(|_| NoRoom)?;
                let address = self.medium.begin(self.head).wrapping_add(self.end);
                (self.open, self.bare) = (true, false);
                self.end = self.end.saturating_add(size);
                return self.take(&record, address, size).map_err(|_| NoRoom);
            }
            self.open_next().map_err(|_| NoRoom)?;
        }
        Err(NoRoom)
    }
}
