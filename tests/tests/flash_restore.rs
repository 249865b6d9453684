//! A store in flash of arbitrary content, of which the fuzz target of the same name makes more.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use centrala_tests::{bytes, flash_restore};

#[test]
fn a_store_keeps_its_word_whatever_the_flash_holds() {
    for seed in 0..400 {
        let bytes = bytes(seed, 100 + seed as usize % 1_000);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| flash_restore::run(&bytes))) {
            eprintln!("with seed {seed}");
            resume_unwind(panic);
        }
    }
}

#[test]
fn nothing_is_lost_as_epochs_come_to_their_end() {
    // A header of an epoch shortly before the last one, then a record at each of two starts.
    let mut bytes = vec![0, 1, 0, 0, 0x34, 0x11, 0x72, 0x3f, 0, 0, 0x2b];
    bytes.extend([0xff, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 1]);
    bytes.extend([0, 0, 0, 0xff, 0xff, 0xff, 1, 0xff, 0xff, 0xff, 0xff]);
    flash_restore::run(&bytes);
}
