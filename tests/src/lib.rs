//! What the tests across the crates share.

pub mod direct_table;
pub mod drive;
pub mod flash_restore;
pub mod frames;
#[cfg(feature = "firmware")]
pub mod image;
pub mod lab;
pub mod native_table;

/// Reads what there is, as [`std::io::Read::read`], but goes on where a signal interrupted it: a
/// socket with a time limit is not waited for again by itself when its process was stopped.
///
/// # Errors
/// As [`std::io::Read::read`].
pub fn read_some(from: &mut impl std::io::Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Bytes that are the same every time for a seed (xorshift).
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
