//! What the tests across the crates share.

pub mod direct_table;
pub mod drive;
pub mod frames;
#[cfg(feature = "firmware")]
pub mod image;
pub mod lab;
