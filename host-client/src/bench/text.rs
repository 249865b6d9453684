//! The texts that are sent: each tells its run, its sender and its number, and the rest of it
//! follows from these.
//!
//! | offset | size | field                                |
//! |--------|------|--------------------------------------|
//! | 0      | 4    | the run, little-endian as all of it  |
//! | 4      | 4    | the sender, from 0                   |
//! | 8      | 8    | its number among the sender's, from 0 |
//! | 16     | rest | a piece of the run's noise           |

use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of the shortest text.
pub const HEADER: usize = 16;
/// Places at which a text's noise may begin.
const SHIFTS: u64 = 61;

/// What all texts of a run are made from.
#[derive(Debug)]
pub struct Texts {
    run: u32,
    noise: Vec<u8>,
    size: usize,
}

impl Texts {
    /// Of a run that is like no other of late. `size` is [`HEADER`] at least.
    pub fn new(size: usize) -> Texts {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = time.as_nanos() as u32 ^ std::process::id().rotate_left(16);
        let mut state = u64::from(run) | 1 << 40;
        let noise = (0..size + SHIFTS as usize).map(|_| {
            // xorshift: any noise does.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        });
        Texts { run, noise: noise.collect(), size }
    }

    fn rest(&self, sender: u32, number: u64) -> &[u8] {
        let shift = (number.wrapping_mul(7).wrapping_add(sender.into()) % SHIFTS) as usize;
        &self.noise[shift..shift + self.size.saturating_sub(HEADER)]
    }

    /// Writes a text over `out`.
    pub fn write(&self, sender: u32, number: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&sender.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(self.rest(sender, number));
    }

    /// Who sent a text, and its number; `None` if it is not whole, or not of this run.
    pub fn read(&self, text: &[u8]) -> Option<(u32, u64)> {
        let (run, rest) = text.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (sender, number) = (u32::from_le_bytes(*sender), u64::from_le_bytes(*number));
        (u32::from_le_bytes(*run) == self.run && rest == self.rest(sender, number))
            .then_some((sender, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_by_every_byte_of_it() {
        for size in [HEADER, 17, 128, 1024] {
            let texts = Texts::new(size);
            let mut text = Vec::new();
            for (sender, number) in [(0, 0), (3, 1), (999, u64::MAX)] {
                texts.write(sender, number, &mut text);
                assert_eq!(text.len(), size);
                assert_eq!(texts.read(&text), Some((sender, number)));
                for i in 0..size {
                    text[i] ^= 1;
                    assert_ne!(texts.read(&text), Some((sender, number)), "byte {i} of {size}");
                    text[i] ^= 1;
                }
                assert_eq!(texts.read(&text[..size - 1]), None);
                text.push(0);
                assert_eq!(texts.read(&text), None);
            }
        }
    }
}
