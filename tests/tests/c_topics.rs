//! `topics`, spoken by a client in C that was written from its document.

use std::process::Command;

use centrala_sysv::Queue;
use centrala_tests::server::{Server, key};

/// Removes the queues of a client that could not do so itself.
struct Keys([i32; 2]);

impl Drop for Keys {
    fn drop(&mut self) {
        for queue in self.0.into_iter().filter_map(|key| Queue::open(key).ok()) {
            let _ = queue.remove();
        }
    }
}

#[test]
fn a_client_in_c_gets_what_its_document_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("topics_client");
    let compiled = Command::new("cc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c/topics_client.c"))
        .status();
    assert!(compiled.expect("cc is installed").success());

    let mut server = Server::start(key(0), "clients = 2\ntopics = 2");
    let keys = Keys([key(1), key(2)]);
    let [writer, stranger] = keys.0.map(|key| key.to_string());
    let output = Command::new(&program)
        .args([&server.key.to_string(), &writer, &stranger])
        .output()
        .expect("the client runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.wait().code(), Some(0), "it was asked to shut down");
    assert!(Queue::open(server.key).is_err(), "and removed its queue");
}
