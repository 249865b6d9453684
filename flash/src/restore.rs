//! Giving back what is kept, in the order that the exchange asks for.

use crate::index::Place;
use crate::medium::Found;
use crate::record::Key;
use crate::store::FlashStore;
use centrala_core::host::{Posted, Record};
use embedded_storage::nor_flash::NorFlash;

impl<F: NorFlash> FlashStore<'_, F> {
    /// Gives each record that is kept to `each`, in the order that
    /// [`Exchange::restore`](centrala_core::exchange::Exchange::restore) asks for: users, groups,
    /// memberships, private chats, mail by sequence, and last which was the newest message. `text` is lent for
    /// texts; a record whose text is longer is left out, and stays kept.
    pub fn restore(&mut self, text: &mut [u8], mut each: impl FnMut(Record<'_>)) {
        self.sort();
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            if let Some(found) = self.look(place, text) {
                let mut head = found.head;
                head.lose(place);
                if let Some(text) = text.get(..head.text_len() as usize)
                    && let Some(record) = head.record(text)
                {
                    each(record);
                }
            }
            i = i.wrapping_add(1);
        }
        if self.newest != 0 {
            each(Record::Posted(Posted { sequence: self.newest, ..Posted::NONE }));
        }
    }

    /// Puts the places in the order of their keys, which are read anew for each comparison (comb
    /// sort: it is small).
    fn sort(&mut self) {
        let mut gap = self.index.len();
        let mut swapped = true;
        while swapped || gap > 1 {
            gap = (gap.saturating_mul(3) / 4).max(1);
            swapped = false;
            let mut i = 0usize;
            while let (Some(a), Some(b)) = (self.index.get(i), self.index.get(i.wrapping_add(gap)))
            {
                if self.key(a) > self.key(b) {
                    self.index.swap(i, i.wrapping_add(gap));
                    swapped = true;
                }
                i = i.wrapping_add(1);
            }
        }
    }

    fn key(&mut self, place: Place) -> Option<Key> {
        self.medium.head(self.medium.address(place)).map(|head| head.key())
    }

    /// A record that was taken in, with its text; `None` if it is damaged by now.
    pub(crate) fn look(&mut self, place: Place, text: &mut [u8]) -> Option<Found> {
        let n = self.medium.sectors;
        let ahead = self.medium.sector_of(self.head).wrapping_add(n);
        let back = ahead.wrapping_sub(self.medium.sector_at(place)).checked_rem(n)?;
        let epoch = self.head.wrapping_sub(back);
        let found = self.medium.look(epoch, self.medium.address(place), text);
        if found.is_none() {
            self.damaged = self.damaged.saturating_add(1);
        }
        found
    }
}
