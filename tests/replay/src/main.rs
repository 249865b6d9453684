//! Prints the hashes of the run here, as the image in `firmware/replay` does there.

use centrala_replay::{Memory, OPERATIONS, run};

fn main() {
    let mut memory = Box::new(Memory::EMPTY);
    run(OPERATIONS, &mut memory, |done, hash| println!("{done} {hash:016x}"));
}
