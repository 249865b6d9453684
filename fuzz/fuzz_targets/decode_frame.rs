//! Bytes into each dialect; the first one picks it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| centrala_tests::frames::decode(bytes));
