//! Starting, and not starting.

mod common;

use std::net::TcpListener;
use std::process::{Command, Output};

use centrala_sysv::Queue;
use common::key;

fn run(config: &str, more: &[&str]) -> Output {
    let (mut command, _directory) = common::command(config);
    command.args(more).output().unwrap()
}

/// Exit status 2, nothing printed, and one line that says all of this.
fn refused(output: &Output, says: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty());
    let line = error.lines().last().unwrap();
    for word in says {
        assert!(line.contains(word), "{word} in {error}");
    }
}

#[test]
fn what_is_wrong_in_the_file_is_one_line_and_nothing_starts() {
    let output = run("[topics]\nclients = 0\n", &[]);
    refused(&output, &["centrala.toml:2: topics.clients: ", "`0`", "from 1 to 100000"]);
    assert_eq!(output.stderr.iter().filter(|b| **b == b'\n').count(), 1);
    refused(&run("[post]\n", &[]), &["unknown field `post`", "`direct`"]);
}

#[test]
fn an_address_in_use_is_named_and_no_queue_is_left() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, key) = (taken.local_addr().unwrap(), key());
    let output = run(&format!("[topics]\nkey = {key}\n[direct]\nlisten = \"{address}\"\n"), &[]);
    refused(&output, &["centrala.toml: direct.listen: ", &address.to_string(), "is in use"]);
    assert!(Queue::open(key).is_err());
}

#[test]
fn rooms_says_in_one_line_that_its_address_is_in_use_or_needs_to_be_public() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, key) = (taken.local_addr().unwrap(), key());
    let output = run(&format!("[topics]\nkey = {key}\n[rooms]\nlisten = \"{address}\"\n"), &[]);
    refused(&output, &["centrala.toml: rooms.listen: ", &address.to_string(), "is in use"]);
    assert!(Queue::open(key).is_err());
    let output = run("[rooms]\nlisten = \"0.0.0.0:0\"\n", &[]);
    refused(&output, &["centrala.toml: rooms.listen: 0.0.0.0:0", "rooms.public = true"]);
    assert_eq!(output.stderr.iter().filter(|b| **b == b'\n').count(), 1);
}

#[test]
fn check_prints_addresses_and_the_size_of_every_table_and_starts_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, key) = (taken.local_addr().unwrap(), key());
    let config = format!("[topics]\nkey = {key}\n[direct]\nlisten = \"{address}\"\n");
    let output = run(&config, &["check"]);
    assert_eq!(output.status.code(), Some(0));
    let page = String::from_utf8(output.stdout).unwrap();
    for line in [
        format!("direct: {address}"),
        format!("topics: key {key}, mode 0600, 20 clients, 20 topics"),
        "message texts      16384   1024     16777216".into(),
    ] {
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }
    assert!(Queue::open(key).is_err());
}

#[test]
fn the_defaults_are_what_the_built_in_configuration_says() {
    let state = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_centralad"));
    // Nothing of whoever runs this.
    let output = command.arg("check").env("XDG_STATE_HOME", state.path()).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(
        page.contains(
            "direct: 127.0.0.1:4810\nnative: 127.0.0.1:4811\ntopics: key 12345, mode 0600"
        ),
        "{page}"
    );
    let lanes = "lanes: key 6661, mode 0600, 32 users, 16 groups, names in ";
    assert!(page.contains(&format!("\nqueues: key 99999, mode 0600\n{lanes}")), "{page}");
    assert!(page.contains("\nrooms: http://127.0.0.1:4880/\n"), "{page}");
}

/// In a namespace of SysV queues of its own, which may hold one.
#[test]
fn no_room_for_a_queue_is_named_and_nothing_is_left() {
    let (command, _directory) = common::command("[topics]\nkey = 20\n[queues]\nkey = 21\n");
    let script = "echo 1 > /proc/sys/kernel/msgmni || exit 77; \"$@\"; status=$?; \
                  test $(wc -l < /proc/sysvipc/msg) = 1 || exit 78; exit $status";
    let mut limited = Command::new("unshare");
    limited.args(["--ipc", "sh", "-c", script, "sh"]).arg(command.get_program());
    // With its store where nobody else's is.
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = limited.args(command.get_args()).output();
    let allowed = output.as_ref().is_ok_and(|output| !matches!(output.status.code(), Some(1 | 77)));
    if !allowed {
        return println!("skipped: this process may not have queues of its own: {output:?}");
    }
    refused(&output.unwrap(), &["queues.key: key 21", "no queue can be made", "ENOSPC"]);
}
