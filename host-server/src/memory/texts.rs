//! The texts of a history, one behind the other: they are written in the order of memory, as
//! processors are fast at, and their memory is that of the oldest ones.

use std::collections::VecDeque;

/// Bytes of a piece of memory. No text is longer.
const PIECE: usize = 64 * 1024;

/// Where a text lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    piece: u64,
    at: u32,
    len: u32,
}

/// Texts, the oldest of which are forgotten first.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    pieces: VecDeque<Vec<u8>>,
    /// The number of the first of them.
    first: u64,
    /// A piece that is not used any more.
    spare: Option<Vec<u8>>,
}

impl Texts {
    /// Keeps a text behind all others.
    pub(super) fn put(&mut self, text: &[u8]) -> Place {
        let fits = |piece: &Vec<u8>| piece.capacity() - piece.len() >= text.len();
        if !self.pieces.back().is_some_and(fits) {
            let room = PIECE.max(text.len());
            let spare = self.spare.take().filter(|spare| spare.capacity() >= room);
            self.pieces.push_back(spare.unwrap_or_else(|| Vec::with_capacity(room)));
        }
        let piece = self.first + self.pieces.len() as u64 - 1;
        let Some(last) = self.pieces.back_mut() else { return Place { piece, at: 0, len: 0 } };
        let at = last.len() as u32;
        last.extend_from_slice(text);
        Place { piece, at, len: text.len() as u32 }
    }

    /// A text that was not forgotten.
    pub(super) fn get(&self, place: Place) -> &[u8] {
        let piece = place.piece.checked_sub(self.first).and_then(|n| self.pieces.get(n as usize));
        let begin = place.at as usize;
        piece.and_then(|piece| piece.get(begin..begin + place.len as usize)).unwrap_or(&[])
    }

    /// Forgets what is older than this text, as far as it shares no piece with it.
    pub(super) fn forget_before(&mut self, oldest: Place) {
        while self.first < oldest.piece
            && let Some(mut piece) = self.pieces.pop_front()
        {
            self.first += 1;
            piece.clear();
            self.spare = Some(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_until_all_older_ones_are_forgotten_and_so_does_their_memory() {
        let mut texts = Texts::default();
        let mut kept = VecDeque::new();
        for n in 0..10_000usize {
            let text = vec![n as u8; n % 1025];
            kept.push_back((n, texts.put(&text)));
            if kept.len() > 300 {
                kept.pop_front();
                texts.forget_before(kept[0].1);
            }
            // 300 texts of 512 bytes each, and what is left of pieces.
            assert!(texts.pieces.len() <= 6, "{}", texts.pieces.len());
        }
        for (n, place) in kept {
            assert_eq!(texts.get(place), vec![n as u8; n % 1025]);
        }
        let long = vec![1; PIECE + 1];
        let place = texts.put(&long);
        assert_eq!(texts.get(place), long);
    }
}
