//! What a start finds: the last sector, and what still holds of all records. Nothing is written.

use crate::defect::Defect;
use crate::index::{Gone, Index, Place};
use crate::medium::{Begins, Header, Layout, Medium};
use crate::record::{Fate, Head};
use crate::store::FlashStore;
use embedded_storage::nor_flash::NorFlash;

/// Why a store could not be opened. The flash is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OpenError {
    /// A sector is not a multiple of what the flash erases at once or too short for the longest
    /// text, there are not 3 to 65,535 of them, a word has more than 32 bytes, or the flash has
    /// more than 2^24 words.
    Layout,
    /// The flash was written with sectors or words of another size.
    OtherLayout,
    /// The flash holds something that no store has written. It is not touched: whoever has no need of
    /// it erases it.
    Foreign,
    /// More is kept than there are places for: lend more.
    Places,
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            OpenError::Layout => "the layout does not fit the flash",
            OpenError::OtherLayout => "the flash was written with another layout",
            OpenError::Foreign => {
                "the flash holds something that is no store: erase it to begin one"
            }
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
        let (mut last, mut foreign) = (0, false);
        for sector in 0..store.medium.sectors {
            match store.medium.header(sector) {
                Begins::Header(header) => last = header.epoch.max(last),
                Begins::OtherLayout => return Err(OpenError::OtherLayout),
                Begins::Erased => {}
                // The first of all sectors may have been cut short.
                Begins::Something => foreign |= sector != store.medium.sector_of(1),
            }
        }
        if last == 0 {
            return if foreign { Err(OpenError::Foreign) } else { Ok(store) };
        }
        // A sector with nothing but copies was being opened: that is begun anew.
        let opened = store.replay(last, None, false)?;
        store.head = last.wrapping_sub(u32::from(!opened));
        let data = store.medium.sectors.saturating_sub(3);
        for epoch in store.head.saturating_sub(data).max(1)..=store.head {
            let Some(header) = store.header_of(epoch) else {
                store.damaged = store.damaged.saturating_add(1);
                continue;
            };
            store.newest = store.newest.max(header.newest);
            // The last sector ends where its commits end; the others where their successor says.
            let next = store.header_of(epoch.wrapping_add(1)).filter(|_| epoch < store.head);
            store.replay(epoch, next.map(|next| next.end_before), true)?;
        }
        store.open = store.medium.defects.has(Defect::AppendAfterStart);
        Ok(store)
    }

    fn header_of(&mut self, epoch: u32) -> Option<Header> {
        match self.medium.header(self.medium.sector_of(epoch)) {
            Begins::Header(header) if header.epoch == epoch => Some(header),
            _ => None,
        }
    }

    /// Looks at what a sector holds up to its end, and takes it in or not. Says whether anything but
    /// copies was appended to it, committed or not: then they are whole.
    fn replay(&mut self, epoch: u32, end: Option<u32>, take: bool) -> Result<bool, OpenError> {
        let begin = self.medium.begin(epoch);
        let mut at = self.medium.start();
        let mut opened = false;
        while at < end.unwrap_or(u32::MAX).min(self.medium.sector) {
            let address = begin.wrapping_add(at);
            let Some(found) = self.medium.look(epoch, address, &mut []) else {
                self.damaged = self.damaged.saturating_add(u32::from(end.is_some()));
                break;
            };
            if take {
                if end.is_none() && !found.committed {
                    break;
                }
                self.take(&found.head, address).map_err(|_| OpenError::Places)?;
            }
            opened |= !found.head.is_copy();
            at = at.saturating_add(found.size);
        }
        self.end = at;
        Ok(opened)
    }

    /// Takes in a record that has been written at an address: what holds now, and how much it is.
    pub(crate) fn take(&mut self, head: &Head, at: u32) -> Result<(), NoPlace> {
        self.newest = self.newest.max(head.sequence());
        self.sweep(head, true);
        if head.adds() {
            let place = self.medium.place(at, head.key().tag());
            if !self.index.push(place) {
                return Err(NoPlace);
            }
            self.live = self.live.saturating_add(self.medium.size(head));
        }
        Ok(())
    }

    /// What a record puts an end to, or takes something from: how many they are, and the bytes of
    /// those that it ends. If asked to, does so.
    pub(crate) fn sweep(&mut self, head: &Head, forget: bool) -> (usize, u32) {
        let (mut count, mut bytes) = (0usize, 0u32);
        let mut i = 0;
        let tag = head.key().tag();
        while let Some(place) = self.index.get(i) {
            i = i.wrapping_add(1);
            if !head.ends_many() && place.tag() != tag {
                continue;
            }
            let Some(old) = self.medium.head(self.medium.address(place)) else { continue };
            match head.ends(&old) {
                Fate::Holds => continue,
                Fate::Lacks(gone) if forget => {
                    self.index.set(i.wrapping_sub(1), place.without(gone));
                }
                Fate::Lacks(_) => {}
                Fate::Ended => {
                    bytes = bytes.saturating_add(self.medium.size(&old));
                    if forget {
                        i = i.wrapping_sub(1);
                        self.index.swap_remove(i);
                    }
                }
            }
            count = count.wrapping_add(1);
        }
        if forget {
            self.live = self.live.saturating_sub(bytes);
        }
        (count, bytes)
    }

    /// Who owns a group; 0: nobody, or there is none.
    pub(crate) fn owner(&mut self, group: u32) -> u32 {
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            if !place.lacks(Gone::User)
                && let Some(head) = self.medium.head(self.medium.address(place))
                && head.is_group(group)
            {
                return head.owner();
            }
            i = i.wrapping_add(1);
        }
        0
    }
}

/// The index is full.
pub(crate) struct NoPlace;
