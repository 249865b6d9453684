//! Writing: appending a record, and opening the next sector.

use crate::defect::Defect;
use crate::index::Index;
use crate::medium::{Failed, Header, Medium};
use crate::record::Head;
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
            let at = self.medium.begin(self.head).wrapping_add(self.end);
            self.medium.write(self.head, at, &Head::mark(), &[], 0)?;
            self.end = self.end.saturating_add(self.medium.size(&Head::mark()));
            self.bare = false;
        }
        self.medium.begin_sector(&Header { epoch, end_before: self.end, newest: self.newest })?;
        let start = self.medium.start();
        let mut end = start;
        let oldest = epoch.checked_sub(self.medium.sectors.saturating_sub(2));
        if let Some(oldest) = oldest.filter(|epoch| *epoch != 0)
            && !self.medium.defects.has(Defect::SkipCopies)
        {
            // All are copied before the index says so of any: this may fail in between.
            for copying in [true, false] {
                end = self.copy_all(oldest, epoch, copying)?;
            }
        }
        (self.head, self.end, self.open, self.bare) = (epoch, end, true, true);
        Ok(())
    }

    /// Copies what still holds of one epoch's sector into another's; or says in the index that it was
    /// copied. Returns where the copies end.
    fn copy_all(&mut self, from: u32, to: u32, copying: bool) -> Result<u32, Failed> {
        let (sector, begin) = (self.medium.sector_of(from), self.medium.begin(to));
        let mut end = self.medium.start();
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            i = i.wrapping_add(1);
            if self.medium.sector_at(place) != sector {
                continue;
            }
            let (old, new) = (self.medium.address(place), begin.wrapping_add(end));
            let head = if copying {
                let Some(found) = self.look(place, &mut []) else {
                    let size = self.medium.head(old).map_or(0, |head| self.medium.size(&head));
                    self.live = self.live.saturating_sub(size);
                    i = i.wrapping_sub(1);
                    self.index.swap_remove(i);
                    continue;
                };
                let mut head = found.head;
                head.copy();
                head.lose(place);
                let text = old.wrapping_add(head.text_at());
                self.medium.write(to, new, &head, &[], text)?;
                head
            } else {
                self.index.set(i.wrapping_sub(1), self.medium.place(new, place.tag()));
                self.medium.head(new).ok_or(Failed)?
            };
            end = end.saturating_add(self.medium.size(&head));
        }
        Ok(end)
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
        let (head, text) = Head::of(&record, owner).ok_or(NoRoom)?;
        let size = self.medium.size(&head);
        let (count, bytes) = self.sweep(&head, false);
        if head.adds() {
            // It never takes the room that removing needs.
            let live = self.live.saturating_sub(bytes).saturating_add(size);
            let placed = count != 0 || self.index.len() < self.index.capacity();
            if size > self.medium.longest || live > self.medium.capacity() || !placed {
                return Err(NoRoom);
            }
        } else if count == 0 {
            // There is nothing that it could end.
            return Ok(());
        }
        // One round finds room, as not all sectors are full.
        for _ in 0..=self.medium.sectors {
            if self.open && self.end.saturating_add(size) <= self.medium.limit() {
                // Until it is whole nothing may be appended behind it.
                self.open = false;
                let at = self.medium.begin(self.head).wrapping_add(self.end);
                self.medium.write(self.head, at, &head, text, 0).map_err(|_| NoRoom)?;
                (self.open, self.bare) = (true, false);
                self.end = self.end.saturating_add(size);
                return self.take(&head, at).map_err(|_| NoRoom);
            }
            self.open_next().map_err(|_| NoRoom)?;
        }
        Err(NoRoom)
    }
}
