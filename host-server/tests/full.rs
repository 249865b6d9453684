//! A disk that is full, and one that may not be written. It is a small one in memory; where that
//! may not be mounted, the reason is printed.

mod common;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use centrala_core::dialect::direct::{MESSAGE, OFFLINE, RESPONSE};
use common::{Direct, Server, key, until};

const OPEN: &str = "[accounts]\nregistrations_per_minute = 60000\n";

/// A file system of its own, unmounted when dropped.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// `None` where none may be mounted.
    fn new(megabytes: u32) -> Option<Disk> {
        let disk = Disk { dir: tempfile::tempdir().unwrap() };
        match disk.mount(&["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]) {
            Ok(()) => Some(disk),
            Err(why) => {
                println!("skipped: no file system may be mounted: {why}");
                None
            }
        }
    }

    fn mount(&self, arguments: &[&str]) -> Result<(), String> {
        let run = Command::new("mount").args(arguments).arg(self.dir.path()).output();
        let run = run.map_err(|error| error.to_string())?;
        match run.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&run.stderr).trim().to_owned()),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Leaves no room. Returns the file that has it.
    fn fill(&self) -> PathBuf {
        let path = self.dir.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.dir.path()).status();
    }
}

/// Known to the server when this returns.
fn logged_in(server: &Server, name: &str) -> Direct {
    let mut client = server.connect(name);
    client.send(MESSAGE, 0, "nobody", "");
    assert_eq!(client.next().3, "404");
    client
}

#[test]
fn on_a_full_disk_mail_is_refused_live_delivery_goes_on_and_it_recovers_by_itself() {
    let Some(disk) = Disk::new(24) else { return };
    let server = Server::with_data(key(), Some(&disk.data()), "", OPEN);
    let (mut anna, mut celina) = (logged_in(&server, "anna"), logged_in(&server, "celina"));
    drop(logged_in(&server, "bartek"));
    let filler = disk.fill();
    let (mut id, mut promised) = (0, HashSet::new());
    let mut store_one = |anna: &mut Direct, promised: &mut HashSet<String>| {
        id += 1;
        let text = format!("{id} {}", "x".repeat(900));
        anna.send(MESSAGE, id, "bartek", &text);
        let (kind, of, _, code) = anna.next();
        assert_eq!((kind, of), (RESPONSE, id));
        if code == "300" {
            promised.insert(text);
        } else {
            assert_eq!(code, "507");
        }
        code == "300"
    };
    until("the disk is full", || (!store_one(&mut anna, &mut promised)).then_some(()));
    for n in 0..20 {
        assert!(!store_one(&mut anna, &mut promised), "nor is the next");
        anna.send(MESSAGE, 1_000_000 + n, "celina", "live");
        assert_eq!(celina.next().3, "live");
        celina.send(RESPONSE, 1_000_000 + n, "anna", "200");
        assert_eq!(anna.next().3, "200");
    }
    // What was promised can be read meanwhile.
    let mut bartek = server.connect("bartek");
    let mut got = HashSet::new();
    while got.len() < promised.len() {
        let (kind, _, _, text) = bartek.next();
        assert_eq!(kind, OFFLINE);
        assert!(promised.contains(&text) && got.insert(text));
    }
    drop(bartek);
    fs::remove_file(filler).unwrap();
    until("there is room again", || keeps_for_one_more(&mut anna, "dawid", &server).then_some(()));
    until("it is noted", || server.logged("can write again").then_some(()));
}

/// Whether mail for somebody new can be kept, and who that is.
fn keeps_for_one_more(anna: &mut Direct, name: &str, server: &Server) -> bool {
    let mut other = server.connect(name);
    other.send(MESSAGE, 0, "nobody", "");
    // Refused with the end while nothing can be stored.
    let known = other.maybe_next().is_some_and(|(_, _, _, code)| code == "404");
    drop(other);
    if !known {
        return false;
    }
    anna.send(MESSAGE, 2_000_000, name, "kept");
    matches!(anna.next().3.as_str(), "300")
}

fn refused(data: &Path, says: &str) {
    let config = "[direct]\nlisten = \"127.0.0.1:0\"\n";
    let (mut command, _directory) = common::command(config);
    let output = command.arg("--data").arg(data).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(data.to_str().unwrap()) && error.contains(says), "{error}");
}

#[test]
fn a_directory_that_may_not_be_written_is_named_and_nothing_starts() {
    let Some(disk) = Disk::new(24) else { return };
    let server = Server::with_data(key(), Some(&disk.data()), "", OPEN);
    drop(logged_in(&server, "anna"));
    drop(server);
    disk.mount(&["-o", "remount,ro"]).unwrap();
    refused(&disk.data(), "Read-only file system");
    refused(&disk.dir.path().join("other"), "Read-only file system");
    // Looking at it needs no more.
    let mut check = Command::new(env!("CARGO_BIN_EXE_centralad"));
    let output = check.arg("--data").arg(disk.data()).arg("check").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 users"));
}
