//! What a start finds: the last sector, and what still holds of all records. Nothing is written.

use crate::defect::Defect;
use crate::index::{Gone, Index, Place};
use crate::medium::{Begins, Header, Layout, Medium};
use crate::record::Key;
use crate::store::FlashStore;
use centrala_core::host::{Mail, Record};
use embedded_storage::nor_flash::NorFlash;

/// Why a store could not be opened. The flash is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OpenError {
    /// A sector is not a multiple of what the flash erases at once or too short for the longest
    /// text, there are not 3 to 65,535 of them, a word has more than 64 bytes, or the flash has
    /// more than 2^24 words.
    Layout,
    /// The flash was written with sectors or words of another size.
    OtherLayout,
    /// More is kept than there are places for: lend more.
    Places,
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            OpenError::Layout => "the layout does not fit the flash",
            OpenError::OtherLayout => "the flash was written with another layout",
            OpenError::Places => "more is kept than there are places for",
        })
    }
}
impl core::error::Error for OpenError {}

impl<'a, F: NorFlash> FlashStore<'a, F> {
    /// Opens what the flash holds. Flash without a store in it is an empty one. `places` are for
    /// each user, group, membership, private chat and message that can be kept at once; what they hold does not
    /// matter.
    ///
    /// # Errors
    /// The layout or the places do not do.
    pub fn open(flash: F, layout: Layout, places: &'a mut [Place]) -> Result<Self, OpenError> {
        let medium = Medium::new(flash, layout).ok_or(OpenError::Layout)?;
        Self::scan(medium, Index::new(places))
    }

    /// As [`FlashStore::open`], with a defect.
    ///
    /// # Errors
    /// The layout or the places do not do.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub fn open_with_defect(
        flash: F,
        layout: Layout,
        places: &'a mut [Place],
        defect: Defect,
    ) -> Result<Self, OpenError> {
        let mut medium = Medium::new(flash, layout).ok_or(OpenError::Layout)?;
        medium.defects = crate::defect::Defects::of(defect);
        Self::scan(medium, Index::new(places))
    }

    fn scan(medium: Medium<F>, index: Index<'a>) -> Result<Self, OpenError> {
        let mut store = FlashStore::new(medium, index);
        let mut newest: Option<Header> = None;
        for sector in 0..store.medium.sectors {
            let header = store.medium.header(sector).map_err(|_| OpenError::OtherLayout)?;
            if let Some(header) = header
                && newest.is_none_or(|newest| header.epoch > newest.epoch)
            {
                newest = Some(header);
            }
        }
        let Some(last) = newest else { return Ok(store) };
        // A sector with nothing but copies was being opened: that is begun anew.
        store.head = match store.is_opened(last.epoch) {
            true => last.epoch,
            false => last.epoch.wrapping_sub(1),
        };
        let data = store.medium.sectors.saturating_sub(3);
        for epoch in store.head.saturating_sub(data).max(1)..=store.head {
            store.replay(epoch)?;
        }
        Ok(store)
    }

    /// Whether anything but copies was appended to a sector, committed or not: then they are whole.
    fn is_opened(&mut self, epoch: u32) -> bool {
        let mut at = self.medium.start();
        while let Begins::Record(found) = self.medium.look(epoch, at) {
            if !found.head.is_copy() {
                return true;
            }
            at = at.saturating_add(found.size);
        }
        false
    }

    /// Takes in what a sector holds.
    fn replay(&mut self, epoch: u32) -> Result<(), OpenError> {
        let header = self.header_of(epoch)?;
        let Some(header) = header else {
            self.damaged = self.damaged.saturating_add(1);
            return Ok(());
        };
        self.newest = self.newest.max(header.newest);
        // The last sector ends where its commits end; the others where their successor says.
        let successor =
            if epoch < self.head { self.header_of(epoch.wrapping_add(1))? } else { None };
        let mut at = self.medium.start();
        while successor.is_none_or(|successor| at < successor.end_before) {
            let Begins::Record(found) = self.medium.look(epoch, at) else {
                if successor.is_some() {
                    self.damaged = self.damaged.saturating_add(1);
                }
                break;
            };
            if successor.is_none() && !found.committed {
                break;
            }
            let address = self.medium.begin(epoch).wrapping_add(at);
            if let Some(record) = found.head.record(&[]) {
                self.take(&record, address, found.size).map_err(|_| OpenError::Places)?;
            }
            at = at.saturating_add(found.size);
        }
        if epoch == self.head {
            self.end = at;
            self.open = self.medium.defects.has(Defect::AppendAfterStart);
        }
        Ok(())
    }

    fn header_of(&mut self, epoch: u32) -> Result<Option<Header>, OpenError> {
        let sector = self.medium.sector_of(epoch);
        let header = self.medium.header(sector).map_err(|_| OpenError::OtherLayout)?;
        Ok(header.filter(|header| header.epoch == epoch))
    }

    /// Takes in a record that has been written at an address: what holds now, and how much it is.
    pub(crate) fn take(&mut self, record: &Record<'_>, at: u32, size: u32) -> Result<(), NoPlace> {
        if let Record::Mail(Mail { sequence, .. }) | Record::Settled { sequence, .. } = *record {
            self.newest = self.newest.max(sequence);
        }
        if let Some(key) = Key::of(record) {
            let place = self.medium.place(at, key);
            match self.find(key) {
                Some((i, old)) => {
                    self.live = self.live.saturating_sub(old);
                    self.index.set(i, place);
                }
                None if self.index.push(place) => {}
                None => return Err(NoPlace),
            }
            self.live = self.live.saturating_add(size);
        } else if let Some(key) = Key::ended_by(record) {
            if let Some((i, _)) = self.find(key) {
                self.forget(i);
            }
        } else {
            match *record {
                Record::NoUser { number } => self.forget_user(number),
                Record::NoGroup { number } => self.forget_group(number),
                _ => {}
            }
        }
        Ok(())
    }

    fn forget_user(&mut self, number: u32) {
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            let (mut gone, mut orphan) = (false, false);
            let known = self.medium.known(place);
            let owned = known.and_then(|(head, _)| head.chat_owner()) == Some(number);
            match known.map(|(_, record)| record) {
                Some(Record::Chat { .. }) if owned => gone = true,
                Some(
                    Record::User { number: user, .. }
                    | Record::Member { user, .. }
                    | Record::Chat { user, .. },
                ) => gone = user == number,
                Some(Record::Mail(mail)) => {
                    gone = mail.user == number;
                    orphan = mail.from == number;
                }
                Some(Record::Group { owner, .. }) => orphan = owner == number,
                _ => {}
            }
            if gone {
                self.forget(i);
                continue;
            }
            if orphan {
                self.index.set(i, place.without(Gone::User));
            }
            i = i.wrapping_add(1);
        }
    }

    /// Who owns a group; 0: nobody, or there is none.
    pub(crate) fn owner(&mut self, group: u32) -> u32 {
        let Some((i, _)) = self.find(Key::Group(group)) else { return 0 };
        match self.index.get(i).filter(|place| !place.lacks(Gone::User)) {
            Some(place) => match self.medium.known(place) {
                Some((_, Record::Group { owner, .. })) => owner,
                _ => 0,
            },
            None => 0,
        }
    }

    fn forget_group(&mut self, number: u32) {
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            match self.medium.known(place).map(|(_, record)| record) {
                Some(
                    Record::Group { number: group, .. }
                    | Record::Member { group, .. }
                    | Record::Chat { group, .. },
                ) if group == number => {
                    self.forget(i);
                    continue;
                }
                Some(Record::Mail(mail)) if mail.group == number || mail.about == number => {
                    self.index.set(i, place.without(Gone::Group));
                }
                _ => {}
            }
            i = i.wrapping_add(1);
        }
    }

    /// Forgets the record in a place of the index; the last takes its place there.
    pub(crate) fn forget(&mut self, i: usize) {
        let Some(place) = self.index.get(i) else { return };
        let size = self.medium.head(place).map_or(0, |head| self.medium.size(&head));
        self.live = self.live.saturating_sub(size);
        self.index.swap_remove(i);
    }

    /// The place of a key in the index, and the bytes of its record.
    pub(crate) fn find(&mut self, key: Key) -> Option<(usize, u32)> {
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            if place.tag() == key.tag()
                && let Some((head, record)) = self.medium.known(place)
                && Key::of(&record) == Some(key)
            {
                return Some((i, self.medium.size(&head)));
            }
            i = i.wrapping_add(1);
        }
        None
    }
}

/// The index is full.
pub(crate) struct NoPlace;
