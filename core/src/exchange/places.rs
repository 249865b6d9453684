//! A table of numbered places with an index by name: what users and groups have in common.

use crate::event::Party;
use crate::name::{Name, hash};
use crate::table::{Buckets, Empty};

/// A table of numbered places with an index by name.
#[derive(Debug)]
pub(super) struct Places<'a, T> {
    places: &'a mut [T],
    index: Buckets<'a>,
    high: u32,
    taken: u32,
}

/// What a numbered place has.
pub(super) trait Named: Empty {
    fn name(&self) -> &Name;
    fn chain(&mut self) -> &mut u32;
    fn next(&self) -> u32;
    fn free_number(number: u32) -> bool;
}

impl<'a, T: Named> Places<'a, T> {
    /// An empty one over what is lent.
    pub(super) fn new(places: &'a mut [T], index: &'a mut [u32]) -> Self {
        Places { places, index: Buckets::new(index), high: 0, taken: 0 }
    }

    pub(super) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// Highest number ever given.
    pub(super) fn high(&self) -> u32 {
        self.high
    }

    /// How many places are taken.
    pub(super) fn taken(&self) -> u32 {
        self.taken
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut()
    }

    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.places.get((number as usize).wrapping_sub(1)).filter(|place| !place.name().is_empty())
    }

    #[inline]
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let place = self.places.get_mut((number as usize).wrapping_sub(1))?;
        if place.name().is_empty() { None } else { Some(place) }
    }

    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        let mut number = self.index.head(hash(name));
        while let Some(place) = self.get(number) {
            if place.name().is(name) {
                return Some(number);
            }
            number = place.next();
        }
        None
    }

    /// The number that the next one gets: a fresh one while there is one, then the lowest that was
    /// given back.
    pub(super) fn next_free(&self) -> Option<u32> {
        let capacity = self.places.len() as u32;
        let mut fresh = self.high.saturating_add(1);
        while fresh <= capacity && !T::free_number(fresh) {
            fresh = fresh.saturating_add(1);
        }
        if fresh <= capacity {
            return Some(fresh);
        }
        (1..=capacity).find(|number| self.get(*number).is_none() && T::free_number(*number))
    }

    /// Takes a place whose number is free and whose name nobody has.
    pub(super) fn take(&mut self, number: u32, value: T) -> bool {
        let at = hash(value.name().as_bytes());
        let chain = self.index.head(at);
        let Some(place) = self.places.get_mut((number as usize).wrapping_sub(1)) else {
            return false;
        };
        *place = value;
        *place.chain() = chain;
        self.index.set_head(at, number);
        self.high = self.high.max(number);
        self.taken = self.taken.saturating_add(1);
        true
    }

    pub(super) fn remove(&mut self, number: u32) {
        let Some(place) = self.get(number) else { return };
        let (at, next) = (hash(place.name().as_bytes()), place.next());
        let mut before = self.index.head(at);
        if before == number {
            self.index.set_head(at, next);
        }
        while let Some(place) = self.get_mut(before) {
            if *place.chain() == number {
                *place.chain() = next;
                break;
            }
            before = place.next();
        }
        if let Some(place) = self.get_mut(number) {
            *place = T::EMPTY;
            self.taken = self.taken.saturating_sub(1);
        }
    }

    pub(super) fn party(&self, number: u32) -> Party<'_> {
        Party { number, name: self.get(number).map_or(&[], |place| place.name().as_bytes()) }
    }
}
