//! Accounts with passwords: made from the command line, asked for by the server.

mod common;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use centrala_core::dialect::direct::{MESSAGE, RESPONSE};
use common::{Direct, Server, key};
use nix::sys::signal::Signal;

fn centralad(data: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_centralad"));
    command.arg("--data").arg(data).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that is refused does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn done(data: &Path, arguments: &[&str], input: &str) -> String {
    let output = centralad(data, arguments, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Exit status 1, and a line that says all of this.
fn refused(data: &Path, arguments: &[&str], input: &str, says: &[&str]) {
    let output = centralad(data, arguments, input);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for word in says {
        assert!(error.contains(word), "{word} in {error}");
    }
}

/// What a log-in with a password is answered: a request behind it is, or the end comes.
fn log_in(server: &Server, name: &str, password: &str) -> Option<Direct> {
    let mut client = Direct::start(server.address.unwrap(), name);
    // At once: after the first the end may come.
    let both = [client.frame(RESPONSE, 0, "", password), client.frame(MESSAGE, 1, "nobody", "")];
    client.stream.write_all(&both.concat()).unwrap();
    match client.maybe_next().expect("an answer") {
        (_, 1, _, code) if code == "404" => Some(client),
        // A wrong password, and an unknown name.
        (_, 0, _, code) if code == "401" || code == "404" => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn users_are_added_changed_listed_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    assert_eq!(done(data, &["user", "list"], ""), "", "nothing is made by looking");
    assert!(!data.join("store.db").exists());
    assert_eq!(
        done(data, &["user", "add", "anna", "--password-stdin"], "tajne\n"),
        "user 1: anna\n"
    );
    assert_eq!(done(data, &["user", "add", "Jan K", "--no-password"], ""), "user 2: Jan K\n");
    assert_eq!(done(data, &["user", "list"], ""), "1\tanna\tpassword\t0\n2\tJan K\t-\t0\n");
    refused(data, &["user", "add", "anna", "--no-password"], "", &["\"anna\"", "taken"]);
    refused(data, &["user", "add", "#anna", "--no-password"], "", &["\"#anna\""]);
    refused(data, &["user", "add", "ola"], "", &["--password-stdin"]);
    refused(data, &["user", "add", "ola", "--password-stdin"], "\n", &["empty"]);
    refused(data, &["user", "passwd", "ola", "--password-stdin"], "x", &["no user \"ola\""]);
    done(data, &["user", "passwd", "Jan K", "--password-stdin"], "haslo");
    done(data, &["user", "passwd", "anna", "--no-password"], "");
    assert_eq!(done(data, &["user", "list"], ""), "1\tanna\t-\t0\n2\tJan K\tpassword\t0\n");
    done(data, &["user", "remove", "anna"], "");
    refused(data, &["user", "remove", "anna"], "", &["no user \"anna\""]);
    assert_eq!(done(data, &["user", "list"], ""), "2\tJan K\tpassword\t0\n");
    assert_eq!(done(data, &["user", "add", "ola", "--no-password"], ""), "user 3: ola\n");
    // The texts that are kept say nothing.
    let file = std::fs::read(data.join("store.db")).unwrap();
    let finds = |what: &[u8]| file.windows(what.len()).any(|bytes| bytes == what);
    assert!(finds(b"$argon2id$") && !finds(b"haslo") && !finds(b"tajne"));
}

#[test]
fn groups_are_added_listed_and_removed() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    assert_eq!(done(data, &["group", "add", "news"], ""), "group 1: news\n");
    assert_eq!(done(data, &["group", "add", "sport"], ""), "group 2: sport\n");
    refused(data, &["group", "add", "news"], "", &["\"news\"", "taken"]);
    done(data, &["group", "remove", "news"], "");
    refused(data, &["group", "remove", "news"], "", &["no group \"news\""]);
    assert_eq!(done(data, &["group", "list"], ""), "2\tsport\t-\t0\n");
}

#[test]
fn a_password_is_asked_for_and_nobody_else_waits_meanwhile() {
    let data = tempfile::tempdir().unwrap();
    done(data.path(), &["user", "add", "anna", "--password-stdin"], "tajne\n");
    let more = "[accounts]\nregistrations_per_minute = 60000\n";
    let mut server = Server::with_data(key(), Some(data.path()), "", more);
    // Twenty guesses are being looked at while others talk.
    let mut guesses: Vec<Direct> = (0..20)
        .map(|guess| {
            let mut client = Direct::start(server.address.unwrap(), "anna");
            client.send(RESPONSE, 0, "", &format!("guess {guess}"));
            client
        })
        .collect();
    let mut jan = log_in(&server, "jan", "").expect("jan has no password");
    for id in 0..100 {
        jan.send(MESSAGE, id, "anna", "hello");
        assert_eq!(jan.next().3, "300");
    }
    for guess in &mut guesses {
        assert_eq!(guess.next().3, "401");
        assert!(guess.maybe_next().is_none(), "it is closed");
    }
    assert!(log_in(&server, "anna", "").is_none());
    let mut anna = Direct::start(server.address.unwrap(), "anna");
    anna.send(RESPONSE, 0, "", "tajne");
    for id in 0..100 {
        assert_eq!((anna.next().1, id), (id, id));
    }
    server.signal(Signal::SIGTERM);
    assert!(server.wait().success());
    done(data.path(), &["user", "passwd", "anna", "--password-stdin"], "nowe\n");
    let server = Server::with_data(key(), Some(data.path()), "", more);
    assert!(log_in(&server, "anna", "tajne").is_none());
    assert!(log_in(&server, "anna", "nowe").is_some());
}

#[test]
fn a_closed_server_lets_in_those_who_were_added() {
    let data = tempfile::tempdir().unwrap();
    done(data.path(), &["user", "add", "anna", "--password-stdin"], "tajne\n");
    let more = "[accounts]\nregistration = \"closed\"\n";
    let server = Server::with_data(key(), Some(data.path()), "", more);
    assert!(log_in(&server, "anna", "tajne").is_some());
    assert!(log_in(&server, "jan", "tajne").is_none());
}
