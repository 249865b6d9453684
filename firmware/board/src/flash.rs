//! NOR flash, as far as the board has none of its own: a part of its 16 MiB of PSRAM that is treated
//! as a chip would have it, and keeps what it holds over a reset of the processor. QEMU keeps it over
//! its own end, too, where that RAM is a file (`tools/run`).
//!
//! A driver of a real chip takes its place by implementing [`NorFlash`].

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

/// Where the PSRAM begins (AN385, section 3.2).
const PSRAM: usize = 0x2100_0000;
/// Bytes of the chip.
pub const BYTES: usize = 64 * 1024;
/// Bytes that are erased at once.
pub const SECTOR: usize = 4096;
const WORD: usize = 4;

/// The chip. Its words hold the complement of what they say, so that RAM that nobody has written
/// yet, which is all zeros, is an erased chip.
#[derive(Debug)]
pub struct Flash(());

impl Flash {
    /// The one chip there is.
    ///
    /// # Safety
    /// There is no other one, and nothing else uses that RAM.
    pub const unsafe fn new() -> Flash {
        Flash(())
    }

    fn word(&self, offset: usize) -> *mut u32 {
        (PSRAM + offset) as *mut u32
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = WORD;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len())?;
        for (at, to) in (offset as usize..).step_by(WORD).zip(bytes.chunks_exact_mut(WORD)) {
            // SAFETY: a word of the PSRAM, by the check above.
            let word = !unsafe { self.word(at).read_volatile() };
            to.copy_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to)?;
        for at in (from as usize..to as usize).step_by(WORD) {
            // SAFETY: a word of the PSRAM, by the check above, that nothing else uses.
            unsafe { self.word(at).write_volatile(0) };
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len())?;
        for (at, from) in (offset as usize..).step_by(WORD).zip(bytes.chunks_exact(WORD)) {
            let Some(bytes) = from.first_chunk() else { break };
            // SAFETY: as in `erase`.
            unsafe {
                // A chip with an error-correcting code takes a word once.
                if self.word(at).read_volatile() != 0 {
                    return Err(NorFlashErrorKind::Other);
                }
                self.word(at).write_volatile(!u32::from_le_bytes(*bytes));
            }
        }
        Ok(())
    }
}
