//! Centrala's exchange: every protocol and messaging decision, without heap, clock or I/O.
//!
//! ```text
//! bytes of link L ──► dialect::X ──► Request ──► Exchange ──► Event ──► dialect::Y ──► Outbox(link, bytes)
//!                                                   │
//!                                                   └──► Store (users, groups, offline mail)
//! ```
//!
//! - [`exchange::Exchange`] is the front door; its module says in which order it is called.
//! - [`storage!`] declares the tables it works in, or a host allocates [`exchange::Tables`].
//! - [`dialect`] has a module for each protocol, with its bytes.
//! - [`host`] is what a host lends: an outbox, a store, and the time.
//!
//! Any bytes give a value or an error; nothing here panics, and nothing grows.
// Without a dialect that has conversations their mask is empty.
#![cfg_attr(not(feature = "rooms"), allow(clippy::bad_bit_mask))]
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo
    )
)]

#[cfg(test)]
extern crate std;

pub mod dialect;
pub mod event;
pub mod exchange;
pub mod host;
pub mod limits;
pub mod name;
pub mod request;
mod storage;
pub mod table;
mod timers;

/// Copies as much as there is room for. `copy_from_slice` panics where the lengths differ, and an
/// image that is built to be small keeps that branch even where they cannot.
#[inline]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}
