//! Runs an exchange with the operations of a file, and tells all that happened when it goes wrong:
//! `cargo run -p centrala-tests --example drive fuzz/artifacts/exchange/crash-…`

fn main() {
    let path = std::env::args_os().nth(1).expect("the path of a file");
    centrala_tests::drive::run(&std::fs::read(path).expect("a file"));
}
