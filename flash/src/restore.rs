//! Giving back what is kept, in the order that the exchange asks for.

use crate::index::Place;
use crate::medium::Begins;
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
        let medium = &mut self.medium;
        self.index.sort(|place| {
            medium.known(place).and_then(|(_, record)| Key::of(&record)).unwrap_or(Key::User(0))
        });
        let mut i = 0;
        while let Some(place) = self.index.get(i) {
            if let Some(record) = self.read(place, text) {
                each(record);
            }
            i = i.wrapping_add(1);
        }
        if self.newest != 0 {
            each(Record::Posted(Posted { sequence: self.newest, ..Posted::NONE }));
        }
    }

    /// A record with its text; `None` if it is damaged or the text has no room.
    fn read<'t>(&mut self, place: Place, text: &'t mut [u8]) -> Option<Record<'t>> {
        let sector = self.medium.sector_at(place);
        let ahead = self.medium.sector_of(self.head).checked_add(self.medium.sectors)?;
        let back = ahead.checked_sub(sector)?.checked_rem(self.medium.sectors)?;
        let epoch = self.head.checked_sub(back)?;
        let at = self.medium.address(place).wrapping_sub(self.medium.begin(epoch));
        let Begins::Record(found) = self.medium.look(epoch, at) else {
            self.damaged = self.damaged.saturating_add(1);
            return None;
        };
        let text = self.medium.text(place, &found.head, text)?;
        found.head.to_copy(place).record(text)
    }
}
