//! The checksum in every row: over the table that it is in, its key and its body, so that a row
//! whose bytes have changed on the disk, or that has come to stand under another key, is told from
//! a good one. SQLite itself gives flipped bits back without a word.

use crate::canary::{self, Canary};
use xxhash_rust::xxh3::xxh3_64;

/// Which table a row is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Table {
    User = 1,
    Group = 2,
    Member = 3,
    Session = 4,
    Counter = 5,
    Log = 6,
    Mail = 7,
    Waiting = 8,
    Chat = 9,
    Seen = 10,
    Image = 11,
    Newest = 12,
}

/// The checksum of a row: its numbers in the order of its columns, and its text if it has one.
pub(crate) fn of<const N: usize>(table: Table, numbers: [i64; N], text: Option<&[u8]>) -> i64 {
    // The longest row has 10 numbers; the text is hashed on its own, so that it need not be copied.
    const { assert!(N <= 10) };
    let mut row = [0u8; 1 + 10 * 8 + 8];
    row[0] = table as u8 | if text.is_some() { 0x80 } else { 0 };
    let mut at = 1;
    for number in numbers {
        row[at..at + 8].copy_from_slice(&number.to_le_bytes());
        at += 8;
    }
    row[at..at + 8].copy_from_slice(&xxh3_64(text.unwrap_or(&[])).to_le_bytes());
    xxh3_64(&row[..at + 8]) as i64
}

/// Whether a row's checksum is the one it was written with.
pub(crate) fn good(stored: i64, computed: i64) -> bool {
    stored == computed || canary::asked() == Some(Canary::SkipChecksum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_a_row_is_in_its_checksum() {
        let (numbers, text) = ([1i64, -7, 1 << 62], *b"tresc");
        let sum = of(Table::Mail, numbers, Some(&text));
        assert_ne!(sum, of(Table::Log, numbers, Some(&text)));
        assert_ne!(sum, of(Table::Mail, numbers, None));
        assert_ne!(of(Table::Mail, numbers, Some(b"")), of(Table::Mail, numbers, None));
        for bit in 0..64 * numbers.len() {
            let mut other = numbers;
            other[bit / 64] ^= 1 << (bit % 64);
            assert_ne!(sum, of(Table::Mail, other, Some(&text)), "bit {bit} of the numbers");
        }
        for bit in 0..8 * text.len() {
            let mut other = text;
            other[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(sum, of(Table::Mail, numbers, Some(&other)), "bit {bit} of the text");
        }
    }

    /// Written down so that a store of today can be read tomorrow.
    #[test]
    fn the_checksum_is_part_of_the_file_format() {
        let sum = of(Table::Log, [1 << 62, 1, 2, 0, 3, 1_700_000_000_000], Some(b"czesc"));
        assert_eq!(sum as u64, 3_214_194_472_379_674_994);
    }
}
