//! Damage: flipped bits, files cut short, files of somebody else. What is damaged is never given
//! back as good, and never overwritten.

mod common;

use centrala_store::{Error, Options, Store, check, wait};
use common::{Act, FIRST, Message, Random, State, message, open, options, script, states, users};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use tempfile::TempDir;

/// Names, contents and times of all files of a directory.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime, u64)> {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files
        .map(|path| {
            let meta = fs::metadata(&path).unwrap();
            let changed = meta.ctime() as u64 * 1_000_000_000 + meta.ctime_nsec() as u64;
            (path.clone(), (fs::read(&path).unwrap(), meta.modified().unwrap(), changed))
        })
        .collect()
}

#[test]
fn check_has_no_side_effect() {
    let (dir, killed) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut store = open(&dir);
    for act in &script(5, 300) {
        act.play(&mut store).unwrap();
    }
    common::copy(dir.path(), killed.path());
    // While a server has it, nothing but what the server itself does to its files.
    let before = snapshot(dir.path());
    let served = check(dir.path()).unwrap();
    assert!(served.served && served.is_good(), "{served:?}");
    let contents = |files: BTreeMap<PathBuf, (Vec<u8>, SystemTime, u64)>| -> Vec<_> {
        let data = files.into_iter().filter(|(path, _)| !path.to_string_lossy().ends_with("-shm"));
        data.map(|(path, (bytes, ..))| (path, bytes)).collect()
    };
    assert!(contents(snapshot(dir.path())) == contents(before));
    // What a killed server left.
    assert!(killed.path().join("store.db-wal").metadata().unwrap().len() > 0);
    let before = snapshot(killed.path());
    let report = check(killed.path()).unwrap();
    assert!(snapshot(killed.path()) == before);
    assert_eq!(
        (report.messages, report.mail, report.users, report.damaged),
        (served.messages, served.mail, served.users, 0)
    );
    // What a server that ended left.
    drop(store);
    let before = snapshot(dir.path());
    let report = check(dir.path()).unwrap();
    assert!(snapshot(dir.path()) == before);
    assert_eq!((report.messages, report.damaged, report.served), (served.messages, 0, false));
}

#[test]
fn check_finds_what_does_not_agree() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek"]);
    for i in 0..5 {
        Act::Posted(message(i, 1, 2, "x")).play(&mut store).unwrap();
        Act::Mail(message(i, 1, 2, "x")).play(&mut store).unwrap();
    }
    store.close().unwrap();
    let file = dir.path().join("store.db");
    for (sql, table) in [
        (format!("DELETE FROM history WHERE sequence = {}", FIRST + 1), "log"),
        (format!("DELETE FROM log WHERE sequence = {}", FIRST + 1), "mailbox"),
        (format!("UPDATE mailbox SET id = 77 WHERE sequence = {}", FIRST + 1), "mailbox"),
        (format!("UPDATE log SET time = 1 WHERE sequence = {}", FIRST + 1), "log"),
        ("UPDATE users SET name = 'x' WHERE number = 1".to_owned(), "users"),
        ("DELETE FROM users WHERE number = 2".to_owned(), "mailbox"),
        ("UPDATE waiting SET messages = 4 WHERE user = 2".to_owned(), "waiting"),
        ("UPDATE waiting SET lowest = highest WHERE user = 2".to_owned(), "waiting"),
        ("DELETE FROM waiting WHERE user = 2".to_owned(), "waiting"),
        ("INSERT INTO members VALUES (1, 9, -1, 0)".to_owned(), "members"),
    ] {
        let copy = dir.path().join("copy.db");
        fs::copy(&file, &copy).unwrap();
        let connection = rusqlite::Connection::open(&copy).unwrap();
        assert_eq!(connection.execute(&sql, []).unwrap(), 1);
        connection.close().unwrap();
        let report = check(&copy).unwrap();
        assert!(report.damage.iter().any(|damage| damage.table == table), "{sql}: {report:?}");
        assert_eq!(report.version, 3);
    }
    assert!(check(dir.path()).unwrap().is_good());
}

#[test]
fn a_damaged_row_costs_that_row() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna", "bartek", "celina"]);
    store.set_password(3, Some("$argon2id$")).unwrap();
    for i in 0..5 {
        Act::Posted(message(i, 1, 2, &i.to_string())).play(&mut store).unwrap();
        Act::Mail(message(i, 1, 2, &i.to_string())).play(&mut store).unwrap();
    }
    store.close().unwrap();
    let connection = rusqlite::Connection::open(dir.path().join("store.db")).unwrap();
    for sql in [
        format!("UPDATE log SET text = x'39' WHERE sequence = {}", FIRST + 1),
        format!("UPDATE mailbox SET last = 1 WHERE sequence = {}", FIRST + 3),
        "UPDATE users SET name = 'ania' WHERE number = 1".to_owned(),
        "UPDATE users SET password = NULL WHERE number = 3".to_owned(),
    ] {
        assert_eq!(connection.execute(&sql, []).unwrap(), 1);
    }
    connection.close().unwrap();
    let (store, restored) = Store::open(dir.path(), &options()).unwrap();
    assert_eq!(restored.users.iter().map(|u| u.number).collect::<Vec<_>>(), [2]);
    assert_eq!((restored.damaged, store.damaged()), (2, 2));
    let page = wait(|answer| store.reader().mail_page(2, None, 9, answer)).unwrap();
    let good: Vec<_> = page.mail.iter().map(|mail| mail.record().text).collect();
    assert_eq!((good, page.damaged), (vec![&b"0"[..], b"2", b"4"], 2));
    wait(|answer| store.reader().password(3, answer)).unwrap_err();
    assert_eq!(store.damaged(), 5);
}

#[test]
fn a_damaged_file_is_moved_aside_only_if_that_is_allowed() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    users(&mut store, &["anna"]);
    store.close().unwrap();
    let file = dir.path().join("store.db");
    let mut bytes = fs::read(&file).unwrap();
    bytes[..16].copy_from_slice(b"Not a database\0\0");
    fs::write(&file, &bytes).unwrap();
    let error = Store::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(&error, Error::Damaged { file: named, .. } if *named == file), "{error}");
    assert!(fs::read(&file).unwrap() == bytes, "it is as it was");
    let quarantine = Options { quarantine: true, ..options() };
    for n in 1..=2 {
        let (store, restored) = Store::open(dir.path(), &quarantine).unwrap();
        let aside = dir.path().join(format!("store.db.damaged-{n}"));
        assert_eq!(restored.quarantined.as_ref(), Some(&aside));
        assert!(restored.users.is_empty() && fs::read(&aside).unwrap() == bytes);
        drop(store);
        fs::write(&file, &bytes).unwrap();
    }
}

#[test]
fn a_file_that_is_cut_short_is_damaged() {
    let dir = TempDir::new().unwrap();
    let mut store = open(&dir);
    for act in &script(3, 200) {
        act.play(&mut store).unwrap();
    }
    store.close().unwrap();
    let file = dir.path().join("store.db");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 4096]).unwrap();
    let error = Store::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn a_newer_store_and_a_foreign_file_are_refused_and_left_alone() {
    for (sql, newer) in [("PRAGMA user_version = 4", true), ("PRAGMA application_id = 7", false)] {
        let dir = TempDir::new().unwrap();
        open(&dir).close().unwrap();
        let file = dir.path().join("store.db");
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.execute_batch(sql).unwrap();
        connection.close().unwrap();
        let bytes = fs::read(&file).unwrap();
        let quarantine = Options { quarantine: true, ..options() };
        let error = Store::open(dir.path(), &quarantine).unwrap_err();
        match newer {
            true => assert!(matches!(error, Error::Newer { found: 4, known: 3, .. }), "{error}"),
            false => assert!(matches!(error, Error::Foreign { .. }), "{error}"),
        }
        assert!(fs::read(&file).unwrap() == bytes);
        assert!(!dir.path().join("store.db.damaged-1").exists());
        check(dir.path()).unwrap_err();
    }
}

/// Whether the one is the other with some left out.
fn is_part<T: PartialEq>(part: &[T], whole: &[T]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|item| whole.any(|other| other == item))
}

/// Messages that are not as they were written. Where the sender's own row is damaged it counts as
/// gone.
fn invented(read: &[Message], written: &[Message]) -> bool {
    let mut written = written.iter();
    let same = |a: &Message, b: &Message| {
        a == b || (a.from == 0 && *a == Message { from: 0, ..b.clone() })
    };
    !read.iter().all(|message| written.any(|other| same(message, other)))
}

/// Whether everything that was read was written, and in that order.
fn is_genuine(read: &State, written: &State) -> bool {
    is_part(&read.users, &written.users)
        && is_part(&read.groups, &written.groups)
        && is_part(&read.members, &written.members)
        && is_part(&read.sessions, &written.sessions)
        && is_part(&read.counters, &written.counters)
        && !invented(&read.mail, &written.mail)
        && read.history.iter().all(|(of, messages)| {
            written.history.get(of).is_some_and(|written| !invented(messages, written))
        })
}

/// What became of flipped bits.
#[derive(Debug, Default)]
struct Flips {
    /// All was read as it was written.
    without_effect: u32,
    /// The store was not opened, or what was asked of it was refused.
    refused: u32,
    /// Rows were left out, and counted.
    counted: u32,
    /// Something was left out, and not counted.
    missed: u32,
    /// Something was read that was never written.
    returned_as_good: u32,
    /// `check` saw nothing, though something was left out or refused.
    unseen: u32,
}

fn flip(
    dir: &Path,
    name: &str,
    flips: usize,
    random: &mut Random,
    genuine: impl Fn(&State) -> bool,
    written: &State,
) -> Flips {
    let (scratch, mut outcome) = (common::scratch(), Flips::default());
    let bits = fs::metadata(dir.join(name)).unwrap().len() as usize * 8;
    for i in 0..flips {
        let bit = bits * i / flips + random.below((bits / flips) as u64) as usize;
        let copy = scratch.path().join("copy");
        let _ = fs::remove_dir_all(&copy);
        common::copy(dir, &copy);
        let mut bytes = fs::read(copy.join(name)).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(copy.join(name), &bytes).unwrap();
        let seen = !check(&copy).is_ok_and(|report| report.is_good());
        let read = Store::open(&copy, &options()).and_then(|(store, restored)| {
            let state = State::of(&restored, &store.reader())?;
            Ok((state, store.damaged()))
        });
        let harmless = match read {
            Err(_) => {
                outcome.refused += 1;
                false
            }
            Ok((state, _)) if !genuine(&state) => {
                outcome.returned_as_good += 1;
                false
            }
            Ok((state, _)) if state == *written => {
                outcome.without_effect += 1;
                true
            }
            Ok((_, damaged)) if damaged > 0 => {
                outcome.counted += 1;
                false
            }
            Ok(_) => {
                outcome.missed += 1;
                false
            }
        };
        if !harmless && !seen {
            outcome.unseen += 1;
        }
    }
    outcome
}

fn flips() -> usize {
    std::env::var("FLIPS").map_or(1500, |flips| flips.parse().unwrap())
}

/// `FLIPS=20000 cargo test -p centrala-store --test damage` for more of them.
#[test]
fn flipped_bits_are_never_returned_as_good() {
    let (dir, killed) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut store = Store::open(dir.path(), &Options { checkpoint: 64, ..options() }).unwrap().0;
    let script = script(11, 500);
    for act in &script {
        act.play(&mut store).unwrap();
    }
    common::copy(dir.path(), killed.path());
    drop(store);
    let written = State::read(dir.path(), &options()).unwrap();
    let mut random = Random::new(4);
    let flips = flips();
    let genuine = |state: &State| is_genuine(state, &written);
    let file = flip(dir.path(), "store.db", flips, &mut random, genuine, &written);
    println!("{flips} bits of the file: {file:?}");
    assert_eq!(file.returned_as_good, 0);
    assert!(file.counted > 0 && file.refused > 0 && file.without_effect > 0);
    assert_eq!(file.unseen, 0, "check saw nothing");
    // In the write-ahead log of a server that was killed, a flipped bit costs what was committed
    // after it: the store is as it was at a commit before.
    let states = states(&script);
    let genuine = |state: &State| states.iter().any(|written| is_genuine(state, written));
    let log = flip(killed.path(), "store.db-wal", flips / 5, &mut random, genuine, &written);
    println!("{} bits of the write-ahead log: {log:?}", flips / 5);
    assert_eq!(log.returned_as_good, 0);
    assert!(log.missed + log.counted > 0);
}

/// The same test, of a store that does not look at its checksums.
#[test]
#[cfg(debug_assertions)]
fn a_store_that_skips_its_checksums_is_found_out() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "flipped_bits_are_never_returned_as_good", "--nocapture"])
        .env("CENTRALA_STORE_CANARY", "skip-checksum")
        .env("FLIPS", "400")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert!(!child.status.success(), "it was not noticed");
    assert!(said.contains("returned_as_good") || said.contains("right: 0"), "{said}");
}
