//! What the tests across the crates share.

pub mod direct_table;
pub mod drive;
pub mod flash_restore;
pub mod frames;
#[cfg(feature = "firmware")]
pub mod image;
pub mod lab;

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
