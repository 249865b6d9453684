//! Which message has which image: as the store knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use centrala_core::exchange::message_id;
use centrala_store::Reader;

use super::images::Hash;
use super::{Answer, Index};

/// The message of id 0 would have this sequence.
const FIRST: u64 = u64::MAX - message_id(u64::MAX);

/// In a store on disk.
#[derive(Debug)]
pub struct Stored(pub Reader);

impl Index for Stored {
    fn find(&self, id: u64, answer: Answer<Option<Hash>>) {
        self.0.image(FIRST.saturating_add(id), move |image| {
            let image = image.unwrap_or_else(|error| {
                tracing::error!(%error, id, "what is kept of an image cannot be read");
                None
            });
            answer(image.map(|image| Hash(image.hash)));
        });
    }

    fn used(&self, after: Option<Hash>, answer: Answer<Option<Vec<Hash>>>) {
        self.0.image_hashes(after.map(|hash| hash.0), move |hashes| {
            let hashes = hashes.inspect_err(|error| tracing::error!(%error, "images in use"));
            answer(hashes.ok().map(|hashes| hashes.into_iter().map(Hash).collect()));
        });
    }
}

/// Where nothing outlasts the server. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct InMemory(Arc<Mutex<BTreeMap<u64, Hash>>>);

impl InMemory {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Hash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The message of a sequence has this image.
    pub fn add(&self, sequence: u64, hash: [u8; 32]) {
        self.all().insert(message_id(sequence), Hash(hash));
    }

    /// Only messages that this says `true` to, by their ids, are still there.
    pub fn retain(&self, is_there: impl Fn(u64) -> bool) {
        self.all().retain(|id, _| is_there(FIRST.saturating_add(*id)));
    }
}

impl Index for InMemory {
    fn find(&self, id: u64, answer: Answer<Option<Hash>>) {
        let found = self.all().get(&id).copied();
        answer(found);
    }

    fn used(&self, after: Option<Hash>, answer: Answer<Option<Vec<Hash>>>) {
        let used: BTreeSet<Hash> = self.all().values().copied().collect();
        answer(Some(used.into_iter().filter(|hash| Some(*hash) > after).collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_sequences_are_each_others_inverse() {
        assert_eq!(message_id(FIRST), 0);
        assert_eq!(message_id(FIRST + 7), 7);
    }

    #[test]
    fn in_memory_an_image_is_found_until_its_last_message_is_gone() {
        let index = InMemory::default();
        let used = |after| {
            let (told, answer) = std::sync::mpsc::channel();
            index.used(after, Box::new(move |used| told.send(used).unwrap()));
            answer.recv().unwrap().unwrap()
        };
        let (a, b) = (Hash([1; 32]), Hash([2; 32]));
        for (sequence, hash) in [(FIRST + 1, b), (FIRST + 2, a), (FIRST + 3, b)] {
            index.add(sequence, hash.0);
        }
        let (told, answer) = std::sync::mpsc::channel();
        index.find(2, Box::new(move |found| told.send(found).unwrap()));
        assert_eq!(answer.recv().unwrap(), Some(a));
        assert_eq!((used(None), used(Some(a)), used(Some(b))), (vec![a, b], vec![b], vec![]));
        index.retain(|sequence| sequence > FIRST + 2);
        assert_eq!(used(None), [b]);
    }
}
