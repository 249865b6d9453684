//! Keeps the exchange's records in NOR flash: users, groups, memberships and offline mail, behind
//! core's [`Store`](centrala_core::host::Store). A power cut at any byte of any write or erase loses
//! nothing for which [`write`](centrala_core::host::Store::write) has returned.
//!
//! ```text
//! sector:   header                      record  record  record …  (nothing yet)
//! header:   a record with: magic, geometry, epoch, where the sector before ends, newest message
//! record:   kind, detail, length of the text, fields, text, CRC-32 | commit word
//! ```
//!
//! # The rules, and why a cut loses nothing
//!
//! 1. **A log.** Records are appended; the later one of a key holds. No word is written twice, so
//!    that flash with an error-correcting code will do.
//! 2. **The commit word is written last, by itself.** It is there as soon as it does not read as
//!    erased; by then what stands before it is whole, and its checksum, which covers its epoch and
//!    its place, must agree.
//! 3. **A sector's successor says where it ends.** A commit word that was cut short may read
//!    differently from one start to the next. So nothing is appended to a sector of an earlier start:
//!    the first write opens the next sector, whose header fixes which record was the last.
//! 4. **Epochs follow each other around the flash**, epoch e in sector e modulo the number of
//!    sectors: wear is even. To open epoch e is to erase its sector and write its header, then to
//!    copy what still holds of epoch e + 2 - sectors, and only then to append.
//! 5. **What is erased was copied two epochs ago**: no copy is ever the only one while its sector is
//!    the last. A last sector with nothing but copies is opened anew; all they hold is still where
//!    it was. One that is filled by them gets a mark behind them before the next is opened, so that
//!    it is not taken for one that was being opened.
//!
//! 6. **What no store has written is not touched.** Flash that is erased, but for the sector that the
//!    first write may have begun, is an empty store; with anything else in it
//!    ([`OpenError::Foreign`], [`OpenError::OtherLayout`]) none is opened. Damage within a store is
//!    counted ([`Usage::damaged`]), and the rest of it is given back.
//!
//! Opening reads every record once and, for each that ends an older one, the heads of those whose
//! keys look alike. The code is small rather than fast: 6 KB on a Cortex-M3.
//!
//! `tests/power_cut` cuts the power at every byte of every write and erase of a story that goes
//! around the flash twice, in each of seven ways of leaving a word torn, and at random in thousands
//! of others.
//!
//! So of n sectors n - 2 hold data. Where everything fits is known beforehand: [`Usage::capacity`].
//!
//! ```
//! use centrala_core::{exchange::Exchange, host::Store, limits::Limits};
//! use centrala_flash::{FlashStore, Layout, Place};
//! # use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
//! # struct Ram([u8; 16384]);
//! # impl ErrorType for Ram { type Error = core::convert::Infallible; }
//! # impl ReadNorFlash for Ram {
//! #     const READ_SIZE: usize = 1;
//! #     fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
//! #         let at = at as usize;
//! #         bytes.copy_from_slice(&self.0[at..at + bytes.len()]);
//! #         Ok(())
//! #     }
//! #     fn capacity(&self) -> usize { self.0.len() }
//! # }
//! # impl NorFlash for Ram {
//! #     const WRITE_SIZE: usize = 4;
//! #     const ERASE_SIZE: usize = 2048;
//! #     fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
//! #         self.0[from as usize..to as usize].fill(0xff);
//! #         Ok(())
//! #     }
//! #     fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Self::Error> {
//! #         let at = at as usize;
//! #         self.0[at..at + bytes.len()].copy_from_slice(bytes);
//! #         Ok(())
//! #     }
//! # }
//! # let flash = Ram([0xff; 16384]);
//! centrala_core::storage! {
//!     struct Small {
//!         users: 8,
//!         groups: 8,
//!         memberships: 64,
//!         sessions: 10,
//!         messages: 32,
//!         message_length: 128,
//!         entries: 48,
//!         questions: 2,
//!     }
//! }
//! // A place for each user, group, membership and message kept.
//! let mut places = [Place::EMPTY; 8 + 8 + 64 + 48];
//! let mut store = FlashStore::open(flash, Layout::new(2048, 128), &mut places)?;
//!
//! let mut memory = Small::EMPTY;
//! let mut exchange = Exchange::new(memory.lend(), Limits::new(Small::MESSAGE_LENGTH));
//! let mut text = [0; Small::MESSAGE_LENGTH];
//! store.restore(&mut text, |record| {
//!     // What is refused does not fit the tables: it stays in flash.
//!     let _ = exchange.restore(record);
//! });
//! assert_eq!(exchange.create_user(b"anna", &mut store), Ok(1));
//! assert_eq!(store.usage().records, 1);
//! # Ok::<(), centrala_flash::OpenError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable,
    clippy::todo
)]

mod defect;
mod index;
mod medium;
mod open;
mod record;
mod restore;
mod store;

#[doc(hidden)]
pub use defect::Defect;
pub use index::Place;
pub use medium::Layout;
pub use open::OpenError;
pub use store::{FlashStore, Usage};
