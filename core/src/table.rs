//! Slots lent by the caller, and the tables over them.
//!
//! A table never grows: its capacity is the length of the slice it was given. An empty slot is all
//! zero bits, so a static array of them lies in `.bss` and costs no flash. A [`Handle`] carries the
//! generation of its slot: one that is kept too long is answered `None`, and never names what took
//! the place later.

use core::fmt;
use core::marker::PhantomData;

/// A value that stands for "nothing here", all zero bits.
pub trait Empty: Copy {
    /// The empty value.
    const EMPTY: Self;
}

/// One place of a table.
#[derive(Clone, Copy, Debug)]
pub struct Slot<T> {
    /// Odd while the slot is taken.
    generation: u32,
    /// The next free slot, counted from 1; 0 for none.
    next_free: u32,
    value: T,
}

impl<T: Empty> Slot<T> {
    /// A free slot.
    pub const EMPTY: Self = Slot { generation: 0, next_free: 0, value: T::EMPTY };
}

/// Names one occupant of one table, and nobody who comes after it.
pub struct Handle<T> {
    index: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    /// A handle that no table answers to.
    pub const NONE: Self = Handle { index: 0, generation: 0, of: PhantomData };

    /// The place in its table, from 0. A host may use it to index tables of its own.
    #[inline]
    pub const fn index(self) -> usize {
        self.index as usize
    }

    /// How often the place has changed hands.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The place counted from 1, as tables keep it among themselves; 0 is none.
    #[inline]
    pub(crate) const fn place(self) -> u32 {
        self.index.wrapping_add(1)
    }

    /// Whether this is [`Handle::NONE`].
    #[inline]
    pub const fn is_none(self) -> bool {
        self.generation == 0
    }
}

impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Handle<T> {}
impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}
impl<T> Eq for Handle<T> {}
impl<T> core::hash::Hash for Handle<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (self.index, self.generation).hash(state);
    }
}
impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}
#[cfg(feature = "defmt")]
impl<T> defmt::Format for Handle<T> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}.{}", self.index, self.generation);
    }
}

/// A table had no free slot: here is what could not be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Full<T>(pub T);

/// A fixed-capacity table over slots that the caller lends.
///
/// ```
/// use centrala_core::table::{Empty, Full, Slot, Table};
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// struct Lamp(u8);
/// impl Empty for Lamp {
///     const EMPTY: Self = Lamp(0);
/// }
/// let mut slots = [Slot::EMPTY; 1];
/// let mut lamps = Table::new(&mut slots);
/// let first = lamps.insert(Lamp(7)).unwrap();
/// assert_eq!(lamps.insert(Lamp(8)), Err(Full(Lamp(8))), "handed back");
/// lamps.remove(first);
/// let second = lamps.insert(Lamp(9)).unwrap();
/// assert_eq!(lamps.get(first), None, "stale, though the place is taken again");
/// assert_eq!(lamps.get(second), Some(&Lamp(9)));
/// ```
#[derive(Debug)]
pub struct Table<'a, T> {
    slots: &'a mut [Slot<T>],
    /// First slot of the free list, counted from 1.
    free: u32,
    /// Slots below this have been used at least once.
    high: u32,
    len: u32,
}

impl<'a, T: Copy> Table<'a, T> {
    /// An empty table over `slots`, which must be [`Slot::EMPTY`].
    pub fn new(slots: &'a mut [Slot<T>]) -> Self {
        Table { slots, free: 0, high: 0, len: 0 }
    }

    /// How many slots are taken.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether no slot is taken.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many slots there are.
    pub fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many slots are free.
    pub fn vacant(&self) -> usize {
        self.slots.len().saturating_sub(self.len as usize)
    }

    /// Puts a value into a free slot.
    ///
    /// # Errors
    /// [`Full`] hands the value back when every slot is taken.
    #[inline]
    pub fn insert(&mut self, value: T) -> Result<Handle<T>, Full<T>> {
        let recycled = self.free != 0;
        let index = if recycled { self.free.wrapping_sub(1) } else { self.high };
        let Some(slot) = self.slots.get_mut(index as usize) else { return Err(Full(value)) };
        if recycled {
            self.free = slot.next_free;
        } else {
            self.high = self.high.wrapping_add(1);
        }
        slot.generation = slot.generation.wrapping_add(1);
        slot.value = value;
        self.len = self.len.wrapping_add(1);
        Ok(Handle { index, generation: slot.generation, of: PhantomData })
    }

    /// Takes a value out; `None` if the handle is stale.
    #[inline]
    pub fn remove(&mut self, handle: Handle<T>) -> Option<T> {
        let slot = self.slots.get_mut(handle.index())?;
        if slot.generation != handle.generation || handle.generation & 1 == 0 {
            return None;
        }
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.free;
        self.free = handle.place();
        self.len = self.len.wrapping_sub(1);
        Some(slot.value)
    }

    /// Looks a handle up; `None` if it is stale.
    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn get(&self, handle: Handle<T>) -> Option<&T> {
        let slot = self.slots.get(handle.index())?;
        (slot.generation == handle.generation && handle.generation & 1 == 1).then_some(&slot.value)
    }

    /// As [`Table::get`], to change it.
    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn get_mut(&mut self, handle: Handle<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(handle.index())?;
        (slot.generation == handle.generation && handle.generation & 1 == 1)
            .then_some(&mut slot.value)
    }

    /// By place (counted from 1), for links that the tables keep consistent among themselves.
    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn at(&self, place: u32) -> Option<&T> {
        let slot = self.slots.get((place as usize).wrapping_sub(1))?;
        (slot.generation & 1 == 1).then_some(&slot.value)
    }

    /// As [`Table::at`], to change it.
    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn at_mut(&mut self, place: u32) -> Option<&mut T> {
        let slot = self.slots.get_mut((place as usize).wrapping_sub(1))?;
        (slot.generation & 1 == 1).then_some(&mut slot.value)
    }

    /// As [`Table::at_mut`], with its handle.
    #[inline]
    pub(crate) fn occupant(&mut self, place: u32) -> Option<(Handle<T>, &mut T)> {
        let index = place.wrapping_sub(1);
        let slot = self.slots.get_mut(index as usize)?;
        let handle = Handle { index, generation: slot.generation, of: PhantomData };
        (slot.generation & 1 == 1).then_some((handle, &mut slot.value))
    }

    /// The handle of whoever has the place (counted from 1) now.
    #[inline]
    pub(crate) fn handle(&self, place: u32) -> Option<Handle<T>> {
        let index = place.wrapping_sub(1);
        let slot = self.slots.get(index as usize)?;
        (slot.generation & 1 == 1).then_some(Handle {
            index,
            generation: slot.generation,
            of: PhantomData,
        })
    }

    /// Every occupant, in order of place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle<T>, &T)> {
        self.slots.iter().zip(0u32..).filter(|(slot, _)| slot.generation & 1 == 1).map(
            |(slot, index)| {
                (Handle { index, generation: slot.generation, of: PhantomData }, &slot.value)
            },
        )
    }
}

impl<T> Table<'_, T> {
    /// Every occupant, to change it.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter(|slot| slot.generation & 1 == 1).map(|slot| &mut slot.value)
    }
}

/// Heads of hash chains; the chains themselves run through the items (a field `chain`, counted
/// from 1). The caller lends `len.next_power_of_two()` zeroes.
#[derive(Debug)]
pub(crate) struct Buckets<'a>(&'a mut [u32]);

impl<'a> Buckets<'a> {
    pub(crate) fn new(heads: &'a mut [u32]) -> Self {
        Buckets(heads)
    }

    #[inline]
    pub(crate) fn head(&self, hash: u32) -> u32 {
        self.0.get(hash as usize & self.0.len().wrapping_sub(1)).copied().unwrap_or(0)
    }

    #[inline]
    pub(crate) fn set_head(&mut self, hash: u32, place: u32) {
        let at = hash as usize & self.0.len().wrapping_sub(1);
        if let Some(head) = self.0.get_mut(at) {
            *head = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Empty for u16 {
        const EMPTY: Self = 0;
    }

    #[test]
    fn a_full_table_hands_back_and_a_freed_place_is_used_again() {
        let mut slots = [Slot::EMPTY; 3];
        let mut table = Table::new(&mut slots);
        let handles: [Handle<u16>; 3] = core::array::from_fn(|i| table.insert(i as u16).unwrap());
        assert_eq!(table.insert(9), Err(Full(9)));
        assert_eq!(table.vacant(), 0);
        assert_eq!(table.remove(handles[1]), Some(1));
        assert_eq!(table.remove(handles[1]), None);
        let again = table.insert(9).unwrap();
        assert_eq!(again.index(), 1);
        assert_eq!(table.get(handles[1]), None);
        assert_eq!(table.get(again), Some(&9));
        assert_eq!(table.iter().map(|(_, v)| *v).sum::<u16>(), 11);
    }

    #[test]
    fn an_empty_slot_is_all_zero_bits() {
        let slot = Slot::<u16>::EMPTY;
        assert_eq!((slot.generation, slot.next_free, slot.value), (0, 0, 0));
    }
}
