//! What outlasts the server, and what stops it from starting.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use centrala_core::dialect::direct::{MESSAGE, OFFLINE, RESPONSE};
use centrala_core::dialect::topics::{kind, request};
use common::{Direct, Server, Topics, key};
use nix::sys::signal::Signal;

const OPEN: &str = "[accounts]\nregistrations_per_minute = 60000\n";

/// Ends a server in order.
fn end(mut server: Server) {
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
}

fn centralad(data: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centralad"));
    command.arg("--data").arg(data).args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

fn printed(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Everything in a directory, byte by byte, with its times.
fn everything(directory: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let entry = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let modified = entry.metadata().unwrap().modified().unwrap();
        (name, (std::fs::read(entry.path()).unwrap(), modified))
    };
    entries.map(entry).collect()
}

#[test]
fn users_groups_and_counted_subscriptions_come_back_as_they_were() {
    let data = tempfile::tempdir().unwrap();
    let key = key();
    let server = Server::with_data(key, Some(data.path()), "", OPEN);
    let owner = server.log_in("owner");
    for topic in ["news", "sport"] {
        assert_eq!(owner.request(request::NEW_TOPIC, 0, 0, topic), 0);
    }
    let reader = server.log_in("reader");
    assert_eq!(reader.request(request::SUBSCRIBE, 1, 3, ""), 0);
    assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    assert_eq!(owner.request(request::PUBLISH, 1, 3, "one"), 0);
    assert_eq!(reader.next(kind::TOPIC + 1).2, "sport: one");
    let numbers = (owner.id, reader.id);
    end(server);
    for round in 0..3 {
        let server = Server::with_data(key, Some(data.path()), "", OPEN);
        // In another order than before.
        let (reader, owner) = (server.log_in("reader"), server.log_in("owner"));
        assert_eq!((owner.id, reader.id), numbers);
        let publish = |topic, text| assert_eq!(owner.request(request::PUBLISH, topic, 3, text), 0);
        publish(1, "again");
        publish(0, "last");
        // Three messages of it, of which two were left.
        if round < 2 {
            assert_eq!(reader.next(kind::TOPIC + 1).2, "sport: again");
        }
        assert_eq!(reader.next(kind::TOPIC).2, "news: last");
        owner.ask(request::ALL_TOPICS, 0, 0, "");
        let list: Vec<_> = (0..3).map(|_| owner.next(kind::LIST).2).collect();
        assert_eq!(list, ["0. news", "1. sport", ""]);
        match round % 2 {
            0 => end(server),
            _ => drop(server),
        }
    }
    let users = printed(&centralad(data.path(), &["user", "list"]));
    assert_eq!(users, "1\towner\t-\t0\n2\treader\t-\t0\n");
    let groups = printed(&centralad(data.path(), &["group", "list"]));
    assert_eq!(groups, "1\tnews\towner\t1\n2\tsport\towner\t0\n");
}

#[test]
fn mail_comes_after_a_restart_by_priority_then_in_order() {
    let data = tempfile::tempdir().unwrap();
    let key = key();
    // Most of it fits in the store alone.
    let small =
        "[limits]\nmailbox = 4\nmessages = 8\n[accounts]\nregistrations_per_minute = 60000\n";
    let mut want = Vec::new();
    {
        let server = Server::with_data(key, Some(data.path()), "", small);
        let owner = server.log_in("owner");
        assert_eq!(owner.request(request::NEW_TOPIC, 0, 0, "news"), 0);
        let reader = server.log_in("reader");
        assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
        // Its queue is gone, and with it its session.
        drop(reader);
        for n in 0..100 {
            let (priority, text) = (1 + n * 7 % 5, format!("{n}"));
            assert_eq!(owner.request(request::PUBLISH, 0, priority, &text), 0);
            want.push((priority, n));
        }
        drop(logged_in(&server, "bartek"));
        let mut anna = server.connect("anna");
        for n in 100..200 {
            anna.send(MESSAGE, n, "bartek", &n.to_string());
            assert_eq!(anna.next(), (RESPONSE, n, "bartek".into(), "300".into()));
        }
        // Killed when it is dropped.
    }
    want.sort_unstable();
    let server = Server::with_data(key, Some(data.path()), "", small);
    let reader = server.log_in("reader");
    let got: Vec<_> = (0..100)
        .map(|_| {
            let (_, priority, text) = reader.next(kind::TOPIC);
            (priority, text.strip_prefix("news: ").unwrap().parse::<i32>().unwrap())
        })
        .collect();
    assert_eq!(got, want);
    let mut bartek = server.connect("bartek");
    for n in 100..200 {
        let (kind, id, from, text) = bartek.next();
        assert_eq!((kind, id, from.as_str(), text), (OFFLINE, n, "anna", n.to_string()));
    }
}

#[test]
fn mail_of_a_group_that_was_removed_is_not_of_the_next_one_of_its_number() {
    let (data, key) = (tempfile::tempdir().unwrap(), key());
    let one = "[limits]\ntopics = 1\n[accounts]\nregistrations_per_minute = 60000\n";
    let server = Server::with_data(key, Some(data.path()), "topics = 1\n", one);
    let owner = server.log_in("owner");
    assert_eq!(owner.request(request::NEW_TOPIC, 0, 0, "news"), 0);
    let reader = server.log_in("reader");
    assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    // Its queue is gone, and with it its session.
    drop(reader);
    let publish = |owner: &Topics, text| assert_eq!(owner.request(request::PUBLISH, 0, 3, text), 0);
    publish(&owner, "of news");
    end(server);
    let config = data.path().join("one.toml");
    std::fs::write(&config, format!("{one}[direct]\n")).unwrap();
    let group = |arguments: [&str; 2]| {
        let config = ["--config", config.to_str().unwrap(), "group"];
        printed(&centralad(data.path(), &[&config[..], &arguments].concat()))
    };
    assert_eq!(
        (group(["remove", "news"]), group(["add", "sport"])),
        ("".into(), "group 1: sport\n".into())
    );
    let server = Server::with_data(key, Some(data.path()), "topics = 1\n", one);
    let owner = server.log_in("owner");
    let reader = server.log_in("reader");
    assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    publish(&owner, "of sport");
    assert_eq!(reader.next(kind::TOPIC).2, "sport: of sport");
    // From nobody, if it was given to the queue that was gone by then: no sender is in it.
    let (of, _, text) = reader.next(0);
    assert!(of >= kind::DIRECT && text == "#0: of news", "{of} {text}");
}

#[test]
fn a_queue_client_goes_on_after_its_server_was_killed() {
    let data = tempfile::tempdir().unwrap();
    let key = key();
    let mut server = Server::with_data(key, Some(data.path()), "", OPEN);
    let (mut owner, mut reader) = (server.log_in("owner"), server.log_in("reader"));
    assert_eq!(owner.request(request::NEW_TOPIC, 0, 0, "news"), 0);
    assert_eq!(reader.request(request::SUBSCRIBE, 0, -1, ""), 0);
    for round in 0..3 {
        // What lies in its queue by then stays there.
        assert_eq!(owner.request(request::PUBLISH, 0, 3, &format!("before {round}")), 0);
        drop(server);
        server = Server::with_data(key, Some(data.path()), "", OPEN);
        (owner.server, reader.server) = (server.queue(), server.queue());
        assert_eq!(owner.request(request::PUBLISH, 0, 3, &format!("after {round}")), 0);
        // A message that was given out and not noted as such comes twice.
        let mut texts = vec![reader.next(kind::TOPIC).2];
        while !texts.contains(&format!("news: after {round}")) {
            texts.push(reader.next(kind::TOPIC).2);
        }
        texts.dedup();
        assert_eq!(texts, [format!("news: before {round}"), format!("news: after {round}")]);
    }
    // A server that ends in order takes its queue with it: they log in anew.
    end(server);
    let server = Server::with_data(key, Some(data.path()), "", OPEN);
    reader.server = server.queue();
    assert_eq!(reader.try_log_in("reader"), reader.id);
}

#[test]
fn what_a_client_that_ended_meanwhile_left_unread_is_mail_again() {
    let data = tempfile::tempdir().unwrap();
    let (key, dead) = (key(), dead_process());
    let server = Server::with_data(key, Some(data.path()), "", OPEN);
    let owner = server.log_in("owner");
    assert_eq!(owner.request(request::NEW_TOPIC, 0, 0, "news"), 0);
    // Its key is the PID of nobody, and nobody has read from its queue.
    let reader = Topics::log_in(&server, dead, "reader");
    reader.ask(request::SUBSCRIBE, 0, -1, "");
    for n in 0..3 {
        assert_eq!(owner.request(request::PUBLISH, 0, 3, &n.to_string()), 0);
    }
    drop(server);
    let server = Server::with_data(key, Some(data.path()), "", OPEN);
    let reader = (Topics::log_in(&server, common::key(), "reader"), reader);
    for n in 0..3 {
        assert_eq!(reader.0.next(kind::TOPIC).2, format!("news: {n}"));
    }
}

/// A PID that was somebody's.
fn dead_process() -> i32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id() as i32
}

/// Known to the server when this returns.
fn logged_in(server: &Server, name: &str) -> Direct {
    let mut client = server.connect(name);
    client.send(MESSAGE, 0, "nobody", "");
    assert_eq!(client.next().3, "404");
    client
}

#[test]
fn a_second_server_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::with_data(key(), Some(data.path()), "", OPEN);
    let pid = server.child.id().to_string();
    let config = "[direct]\nlisten = \"127.0.0.1:0\"\n";
    let (mut command, _directory) = common::command(config);
    let output = command.arg("--data").arg(data.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("in use by another server") && error.contains(&pid), "{error}");
    // Nor do the commands that change it.
    for command in [&["user", "add", "ola", "--no-password"][..], &["group", "list"]] {
        let output = centralad(data.path(), command);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(&pid));
    }
    drop(logged_in(&server, "anna"));
    end(server);
    assert_eq!(printed(&centralad(data.path(), &["user", "list"])), "1\tanna\t-\t0\n");
}

#[test]
fn check_changes_nothing_and_a_backup_is_a_store() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::with_data(key(), Some(data.path()), "", OPEN);
    let mut anna = logged_in(&server, "anna");
    drop(logged_in(&server, "bartek"));
    for n in 0..10 {
        anna.send(MESSAGE, n, "bartek", "kept");
        assert_eq!(anna.next().3, "300");
    }
    let says = "2 users, 0 groups, 0 memberships, 10 messages, 10 waiting";
    let page = printed(&centralad(data.path(), &["check"]));
    assert!(page.contains("a server has it") && page.contains(says), "{page}");
    // While it runs.
    let beside = tempfile::tempdir().unwrap();
    let copy = beside.path().join("copy");
    let name = copy.to_str().unwrap();
    printed(&centralad(data.path(), &["backup", name]));
    let again = centralad(data.path(), &["backup", name]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains(name), "it is not overwritten");
    // Killed: part of it is in the write-ahead log alone.
    drop(server);
    let before = everything(data.path());
    let page = printed(&centralad(data.path(), &["check"]));
    assert!(!page.contains("a server has it") && page.contains(says), "{page}");
    assert_eq!(everything(data.path()), before);
    let backed_up = printed(&centralad(&copy, &["user", "list"]));
    assert_eq!(backed_up, "1\tanna\t-\t0\n2\tbartek\t-\t10\n");
    assert_eq!(printed(&centralad(data.path(), &["user", "list"])), backed_up);
}

#[test]
fn a_damaged_file_is_named_and_moved_aside_only_if_that_is_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let key = key();
    drop(Server::with_data(key, Some(data.path()), "", OPEN));
    let file = data.path().join("store.db");
    let _ = std::fs::remove_file(data.path().join("store.db-wal"));
    std::fs::write(&file, b"this is no store".repeat(1000)).unwrap();
    let config = format!("[direct]\nlisten = \"127.0.0.1:0\"\n[topics]\nkey = {key}\n");
    let (mut command, _directory) = common::command(&config);
    let output = command.arg("--data").arg(data.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(file.to_str().unwrap()) && error.contains("--quarantine"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"this is no store".repeat(1000));
    let (mut command, _directory) = common::command(&config);
    let mut child = command.arg("--data").arg(data.path()).arg("--quarantine").spawn().unwrap();
    let mut line = String::new();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    if let Ok(queue) = centrala_sysv::Queue::open(key) {
        queue.remove().unwrap();
    }
    assert!(line.starts_with("direct: "), "{line}");
    let aside = std::fs::read(data.path().join("store.db.damaged-1")).unwrap();
    assert_eq!(aside, b"this is no store".repeat(1000));
}

#[test]
fn a_history_is_of_a_group_or_of_two_users_and_comes_page_by_page() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::with_data(key(), Some(data.path()), "", OPEN);
    let ola = server.log_in("ola");
    assert_eq!(ola.request(request::NEW_TOPIC, 0, 0, "news"), 0);
    for i in 0..30 {
        assert_eq!(ola.request(request::PUBLISH, 0, 3, &format!("news {i}")), 0);
    }
    let asked = |arguments: &[&str]| {
        let output = centralad(data.path(), &[&["history"], arguments].concat());
        let page = printed(&output);
        let lines = page.lines().map(|line| {
            let fields: Vec<_> = line.split('\t').map(str::to_owned).collect();
            assert_eq!((fields.len(), &fields[2][..]), (4, "ola"));
            (fields[0].clone(), fields[3].clone())
        });
        lines.collect::<Vec<_>>()
    };
    let texts = |page: &[(String, String)]| -> Vec<String> {
        page.iter().map(|(_, text)| text.clone()).collect()
    };
    // Beside the running server, and with its directory as it was when it has ended.
    let want: Vec<_> = (10..30).map(|i| format!("news {i}")).collect();
    let page = asked(&["#news"]);
    assert_eq!(texts(&page), want);
    end(server);
    let before = everything(data.path());
    let older = asked(&["#1", "--before", &page[0].0, "--limit", "4"]);
    assert_eq!(texts(&older), ["news 6", "news 7", "news 8", "news 9"]);
    assert_eq!(asked(&["@ola", "@ola"]), [], "nothing was said there");
    assert_eq!(everything(data.path()), before);
    for (arguments, why) in [
        (&["#none"][..], "there is no group \"none\""),
        (&["@ola", "@none"], "there is no user \"none\""),
        (&["ola"], "\"@NAME @NAME\""),
    ] {
        let output = centralad(data.path(), &[&["history"], arguments].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains(why));
    }
}
