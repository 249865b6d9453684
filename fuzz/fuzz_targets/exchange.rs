//! A whole exchange with operations, bytes and time.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| centrala_tests::drive::run(bytes));
