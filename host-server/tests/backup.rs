//! A copy of all that a server keeps is what another server runs on.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::socket_io::SocketIo;
use common::{Server, key};
use serde_json::{Value, json};
use tungstenite::Message;

const ROOMS: &str = "[rooms]\nlisten = \"127.0.0.1:0\"\n";
const PNG: &[u8] =
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\0\0\0;";

fn back_up(data: &Path, copy: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centralad"));
    command.arg("--data").arg(data).arg("backup").arg(copy).stdin(Stdio::null());
    command.output().unwrap()
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Sends an image into the room of advert 1; its id.
fn send_image(client: &mut SocketIo, kind: &str, bytes: &[u8]) -> u64 {
    let place = json!({ "_placeholder": true, "num": 0 });
    client.send(&format!("451-{}", json!(["chat-img", 1, 0, "a", kind, place])));
    client.web_socket.send(Message::binary(bytes.to_vec())).unwrap();
    let (event, _) = with_image(client);
    assert_eq!(event[0], "chat-img");
    assert_eq!(client.event(), json!(["chat-response", 1, "OK"]));
    event[1].as_u64().unwrap()
}

/// The next event, which has an image, and that.
fn with_image(client: &mut SocketIo) -> (Value, Vec<u8>) {
    let text = client.text().unwrap();
    let event = text.strip_prefix("451-").unwrap_or_else(|| panic!("no image: {text}"));
    let event = serde_json::from_str(event).unwrap();
    loop {
        match client.web_socket.read().unwrap() {
            Message::Binary(bytes) => return (event, bytes.to_vec()),
            Message::Text(ping) if ping.as_str() == "2" => client.send("3"),
            other => panic!("{other:?}"),
        }
    }
}

/// Whether the image of that id is these bytes.
fn assert_image(client: &mut SocketIo, id: u64, bytes: &[u8]) {
    client.emit(&json!(["get-image", id]));
    let (event, image) = with_image(client);
    assert_eq!((&event[0], &event[1]), (&json!("image"), &json!(id)));
    assert_eq!(image, bytes);
}

#[test]
fn a_server_runs_on_a_backup_with_its_images() {
    let (data, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Server::with_data(key(), Some(data.path()), "", ROOMS);
    let mut anna = SocketIo::log_in(&server.rooms, "anna");
    for event in [json!(["create-anons", "flat"]), json!(["join-chat", 1, 0])] {
        anna.emit(&event);
        anna.event();
    }
    let first = send_image(&mut anna, "image/png", PNG);
    // An image that no message has, and something else.
    let images = data.path().join("images");
    std::fs::write(images.join("0".repeat(64)), GIF).unwrap();
    std::fs::write(images.join("else"), b"").unwrap();

    let copies = ["while it runs", "killed"].map(|copy| beside.path().join(copy));
    done(&back_up(data.path(), &copies[0]));
    let refused = error(&back_up(data.path(), &copies[0]));
    assert!(refused.contains("while it runs: it exists"), "{refused}");
    // The server goes on.
    let second = send_image(&mut anna, "image/gif", GIF);
    drop((anna, server));
    done(&back_up(data.path(), &copies[1]));
    assert_eq!(names(beside.path()), ["killed", "while it runs"], "and nothing else");

    for (copy, sent) in copies.iter().zip([&[(first, PNG)][..], &[(first, PNG), (second, GIF)]]) {
        assert_eq!(names(copy), ["images", "store.db"]);
        assert_eq!(names(&copy.join("images")).len(), sent.len(), "those that messages have");
        let server = Server::with_data(key(), Some(copy), "", ROOMS);
        let mut anna = SocketIo::log_in(&server.rooms, "anna");
        anna.emit(&json!(["get-chat-messages", 1, 0]));
        let history = anna.event();
        assert_eq!(history[1], sent.len(), "{history}");
        for (id, bytes) in sent {
            assert_image(&mut anna, *id, bytes);
        }
        // What is sent there is not sent here.
        anna.emit(&json!(["join-chat", 1, 0]));
        anna.event();
        assert!(send_image(&mut anna, "image/gif", GIF) > first);
    }
    let server = Server::with_data(key(), Some(data.path()), "", ROOMS);
    let mut anna = SocketIo::log_in(&server.rooms, "anna");
    for (id, bytes) in [(first, PNG), (second, GIF)] {
        assert_image(&mut anna, id, bytes);
    }
}

#[test]
fn nothing_is_left_of_a_backup_that_failed_and_nothing_is_touched_that_is_not_its_own() {
    let (data, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let copy = beside.path().join("copy");
    // There is no store yet.
    let refused = error(&back_up(data.path(), &copy));
    assert!(refused.contains("store.db"), "{refused}");
    assert!(names(beside.path()).is_empty());
    let part = beside.path().join("copy.part");
    std::fs::create_dir(&part).unwrap();
    std::fs::write(part.join("somebody's"), b"").unwrap();
    let refused = error(&back_up(data.path(), &copy));
    assert!(refused.contains("copy.part: of a backup that is under way"), "{refused}");
    assert_eq!(names(&part), ["somebody's"]);
    let refused = error(&back_up(Path::new(":memory:"), &copy));
    assert!(refused.contains("\":memory:\" keeps nothing to copy"), "{refused}");
}
