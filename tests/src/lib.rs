//! What the tests across the crates share.

pub mod drive;
pub mod frames;
pub mod lab;
