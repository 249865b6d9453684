//! A hash that is the same everywhere, and random numbers that are.

use core::fmt;

/// FNV-1a, 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Hash(pub u64);

impl Hash {
    pub const NEW: Hash = Hash(0xcbf2_9ce4_8422_2325);

    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// As it is written for debugging: each field with its name and value.
    pub fn value(&mut self, value: &dyn fmt::Debug) {
        // Nothing here fails.
        let _ = fmt::write(self, format_args!("{value:?};"));
    }
}

impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes());
        Ok(())
    }
}

/// Random numbers (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to one less than this, which is not 0.
    pub fn below(&mut self, n: u32) -> u32 {
        (self.roll() % u64::from(n.max(1))) as u32
    }

    /// Once in so many.
    pub fn once_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        of.get(self.below(of.len() as u32) as usize).copied()
    }
}
