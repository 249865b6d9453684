//! Where each record that holds lies. One word of RAM each.

/// Where a record lies; 4 bytes.
///
/// 24 bits of its place in words, 6 bits that tell most keys apart, so that a key is looked for
/// without reading every record, and what of it is gone (`Gone`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Place(u32);

/// Words that a [`Place`] can tell apart.
pub(crate) const WORDS: u32 = 1 << 24;
const TAG: u32 = 0x3f;

/// What a record names and is there no more. Its number may be another's by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Gone {
    /// Who sent it, or owns it.
    User = 1 << 31,
    /// The group that it was sent to, or is about.
    Group = 1 << 30,
}

impl Place {
    /// No place.
    pub const EMPTY: Place = Place(0);

    pub(crate) const fn new(word: u32, tag: u32) -> Place {
        Place((word & (WORDS - 1)) | (tag & TAG) << 24)
    }

    pub(crate) const fn word(self) -> u32 {
        self.0 & (WORDS - 1)
    }

    pub(crate) const fn tag(self) -> u32 {
        (self.0 >> 24) & TAG
    }

    pub(crate) const fn lacks(self, gone: Gone) -> bool {
        self.0 & gone as u32 != 0
    }

    pub(crate) const fn without(self, gone: Gone) -> Place {
        Place(self.0 | gone as u32)
    }
}

/// A bag of places over the slice that was lent.
#[derive(Debug)]
pub(crate) struct Index<'a> {
    places: &'a mut [Place],
    len: usize,
}

impl<'a> Index<'a> {
    pub(crate) fn new(places: &'a mut [Place]) -> Index<'a> {
        Index { places, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn get(&self, i: usize) -> Option<Place> {
        if i < self.len { self.places.get(i).copied() } else { None }
    }

    pub(crate) fn set(&mut self, i: usize, place: Place) {
        if i < self.len
            && let Some(at) = self.places.get_mut(i)
        {
            *at = place;
        }
    }

    /// `false` if there is no room.
    pub(crate) fn push(&mut self, place: Place) -> bool {
        let Some(at) = self.places.get_mut(self.len) else { return false };
        *at = place;
        self.len = self.len.wrapping_add(1);
        true
    }

    /// The last one takes its place.
    pub(crate) fn swap_remove(&mut self, i: usize) {
        let Some(last) = self.len.checked_sub(1).and_then(|last| self.get(last)) else { return };
        self.set(i, last);
        self.len = self.len.saturating_sub(1);
    }

    pub(crate) fn swap(&mut self, i: usize, j: usize) {
        if let (Some(a), Some(b)) = (self.get(i), self.get(j)) {
            self.set(i, b);
            self.set(j, a);
        }
    }
}
