//! Builds and opens a flash as a file of the fuzz target of the same name says:
//! `cargo run -p centrala-tests --example flash_restore fuzz/artifacts/flash_restore/crash-…`

fn main() {
    let path = std::env::args_os().nth(1).expect("the path of a file");
    centrala_tests::flash_restore::run(&std::fs::read(path).expect("a file"));
}
