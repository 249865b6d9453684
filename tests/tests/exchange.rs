//! The exchange under arbitrary operations, of which the fuzz target of the same name makes more.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use centrala_tests::{bytes, drive};

#[test]
fn an_exchange_keeps_its_word_whatever_happens() {
    for seed in 0..2_000 {
        let bytes = bytes(seed, 200 + seed as usize % 3_000);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drive::run(&bytes))) {
            eprintln!("with seed {seed}");
            resume_unwind(panic);
        }
    }
}
