//! The exchange under arbitrary operations, of which the fuzz target of the same name makes more.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use centrala_tests::drive;

/// Xorshift: the same bytes every time.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

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
