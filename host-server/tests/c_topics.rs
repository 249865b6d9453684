//! `topics`, spoken by a client in C that was written from its document.

mod common;

use std::process::Command;

use centrala_sysv::Queue;
use common::sysv::compile;
use common::{Server, key};

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
    let program = compile("topics_client.c", directory.path());
    let mut server = Server::start("clients = 2\ntopics = 2", "");
    let keys = Keys([key(), key()]);
    let [writer, stranger] = keys.0.map(|key| key.to_string());
    let output = Command::new(&program)
        .args([&server.key.to_string(), &writer, &stranger])
        .output()
        .expect("the client runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.wait().code(), Some(0), "it was asked to shut down");
    assert!(Queue::open(server.key).is_err(), "and removed its queue");
}
