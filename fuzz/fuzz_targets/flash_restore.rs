//! A flash of arbitrary content: opened, written to, opened again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| centrala_tests::flash_restore::run(bytes));
