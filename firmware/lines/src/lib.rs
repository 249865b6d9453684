//! An exchange on serial lines and connections, without an operating system.
//!
//! - [`framing`]: what `direct` makes of a line that loses, doubles and flips bytes.
//! - [`serial`]: the same of `native`.
//! - [`lines`]: the loop around [`Exchange`](centrala_core::exchange::Exchange): one link for each
//!   line, with nobody to say when a client comes or goes.
//! - [`connections`]: the same loop where clients connect and leave.
//! - [`sizes`]: what a row of each table takes.
//!
//! All of it is without hardware, and runs on any machine: [`Wires`] is all they need.
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

pub mod connections;
pub mod framing;
pub mod lines;
mod office;
#[cfg(feature = "native")]
pub mod serial;
pub mod sizes;

pub use office::{Lent, Wires};
