//! A disk that is full, and one that may not be written. Both are made for the test, small and in
//! memory; where that may not be mounted, the reason is printed.

mod common;

use centrala_core::host::{Record, Store as _};
use centrala_store::{Error, Options, Store, check};
use common::{Act, FIRST, Random, mail, message, until, users};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A file system of its own.
struct Disk {
    dir: TempDir,
}

impl Disk {
    /// `None` where none may be mounted.
    fn of(kilobytes: u32) -> Option<Disk> {
        let disk = Disk { dir: TempDir::new().unwrap() };
        match disk.mount(&["-t", "tmpfs", "-o", &format!("size={kilobytes}k"), "tmpfs"]) {
            Ok(()) => Some(disk),
            Err(why) => {
                println!("skipped: no file system may be mounted: {why}");
                std::mem::forget(disk);
                None
            }
        }
    }

    fn mount(&self, arguments: &[&str]) -> Result<(), String> {
        let run = Command::new("mount").args(arguments).arg(self.dir.path()).output();
        let output = run.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn ballast(&self) -> PathBuf {
        self.dir.path().join("ballast")
    }

    /// Takes all the room that is left, or so much.
    fn fill(&self, most: usize) {
        use std::io::Write;
        let mut file =
            fs::OpenOptions::new().append(true).create(true).open(self.ballast()).unwrap();
        let mut taken = 0;
        while taken < most && file.write_all(&[0; 4096]).is_ok() {
            taken += 4096;
        }
    }

    fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.dir.path()).status();
    }
}

fn options() -> Options {
    Options { reserve: 256 << 10, checkpoint: 32, ..Options::default() }
}

fn numbers(store: &Store, user: u32) -> Vec<u64> {
    let mail = mail(&store.reader(), user, 256).unwrap();
    mail.iter().map(|message| message.sequence - FIRST).collect()
}

/// Commits messages to user 2 until one is refused; which ones were kept.
fn write_until_full(store: &mut Store, next: &mut u64, random: &mut Random) -> Vec<u64> {
    let mut kept = Vec::new();
    loop {
        let n = *next;
        *next += 1;
        let text = "x".repeat(random.below(4000) as usize);
        let post = message(n, 1, 2, &text);
        let written =
            Act::Posted(post.clone()).play(store).is_ok() && Act::Mail(post).play(store).is_ok();
        // Also what was refused may have left something to commit.
        let committed = store.commit();
        if !written || committed.is_err() {
            if let Err(error) = committed {
                assert!(error.is_full(), "{error}");
            }
            return kept;
        }
        kept.push(n);
    }
}

#[test]
fn a_full_disk_refuses_what_needs_room_and_recovers_by_itself() {
    let Some(disk) = Disk::of(6000) else { return };
    disk.fill(4_000_000);
    let (mut store, _) = Store::open(&disk.store(), &options()).unwrap();
    users(&mut store, &["anna", "bartek"]);
    let (mut random, mut next, mut kept) = (Random::new(5), 1, Vec::new());
    for round in 0..4 {
        let more = write_until_full(&mut store, &mut next, &mut random);
        assert!(!more.is_empty() || round > 0);
        kept.extend(more);
        // Nothing can be given back to it now.
        disk.fill(usize::MAX);
        assert_eq!(numbers(&store, 2), kept, "reading goes on");
        assert_eq!(store.waiting(2) as usize, kept.len());
        // What was delivered is settled all the same.
        let settled: Vec<_> = kept.drain(..5).collect();
        for n in &settled {
            store.write(Record::Settled { user: 2, sequence: FIRST + n }).unwrap();
        }
        store.commit().unwrap();
        assert_eq!(numbers(&store, 2), kept);
        until("it is refused again", || {
            let refused =
                store.write(Record::Group { number: 1, name: b"news", owner: 0 }).is_err();
            if !refused {
                store.write(Record::NoGroup { number: 1 }).unwrap();
                kept.extend(write_until_full(&mut store, &mut next, &mut random));
                disk.fill(usize::MAX);
            }
            refused
        });
        disk.empty();
        until("there is room again", || store.trouble().is_none());
        let n = next;
        next += 1;
        Act::Mail(message(n, 1, 2, "after")).play(&mut store).unwrap();
        store.commit().unwrap();
        kept.push(n);
        disk.fill(3_400_000 - 600_000 * round);
    }
    drop(store);
    let report = check(&disk.store()).unwrap();
    assert!(report.is_good(), "{report:?}");
    disk.empty();
    let (store, _) = Store::open(&disk.store(), &options()).unwrap();
    assert_eq!(numbers(&store, 2), kept);
}

#[test]
fn a_store_opens_on_a_full_disk() {
    let Some(disk) = Disk::of(3000) else { return };
    let killed = TempDir::new().unwrap();
    let (mut store, _) = Store::open(&disk.store(), &options()).unwrap();
    users(&mut store, &["anna", "bartek"]);
    let (kept, next): (Vec<_>, u64) = ((1..=100).collect(), 101);
    for n in &kept {
        Act::Mail(message(*n, 1, 2, &"x".repeat(2000))).play(&mut store).unwrap();
        store.commit().unwrap();
    }
    // As a server that was killed leaves it: with its write-ahead log, and no room at all.
    common::copy(&disk.store(), killed.path());
    drop(store);
    for file in fs::read_dir(killed.path()).unwrap().map(|file| file.unwrap()) {
        if !file.file_name().to_str().unwrap().ends_with("-shm") {
            fs::copy(file.path(), disk.store().join(file.file_name())).unwrap();
        }
    }
    disk.fill(usize::MAX);
    let (mut store, _) = Store::open(&disk.store(), &options()).unwrap();
    assert_eq!(numbers(&store, 2), kept);
    store.write(Record::Settled { user: 2, sequence: FIRST + kept[0] }).unwrap();
    store.commit().unwrap();
    assert_eq!(numbers(&store, 2), kept[1..]);
    disk.empty();
    until("there is room again", || store.trouble().is_none());
    Act::Mail(message(next, 1, 2, "after")).play(&mut store).unwrap();
    store.commit().unwrap();
    assert_eq!(numbers(&store, 2).last(), Some(&next));
}

#[test]
fn a_disk_that_may_not_be_written_is_named() {
    let Some(disk) = Disk::of(2000) else { return };
    let (mut store, _) = Store::open(&disk.store(), &options()).unwrap();
    users(&mut store, &["anna"]);
    drop(store);
    // A child of another test may have its files open for a moment, between fork and exec.
    until("it is mounted anew", || disk.mount(&["-o", "remount,ro"]).is_ok());
    let error = Store::open(&disk.store(), &options()).unwrap_err();
    let Error::Io { file, error, .. } = &error else { panic!("{error}") };
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert!(file.starts_with(disk.store()));
    let report = check(&disk.store()).unwrap();
    assert!(report.is_good() && report.users == 1);
    let error = Store::open(&Path::new(disk.dir.path()).join("new"), &options()).unwrap_err();
    assert!(error.to_string().contains("new: making the directory"), "{error}");
}

#[test]
fn a_file_where_the_directory_should_be_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file, &options()).unwrap_err();
    assert!(error.to_string().starts_with(&file.display().to_string()), "{error}");
}

/// The exchange goes on with what it changed, so that is not lost with the commit that failed:
/// neither where the reserve has room for it, nor where it has to wait.
#[test]
fn changes_of_the_directory_outlive_the_failure_of_their_commit() {
    for reserve in [256 << 10, 0] {
        let Some(disk) = Disk::of(6000) else { return };
        let options = Options { reserve, ..options() };
        let (mut store, _) = Store::open(&disk.store(), &options).unwrap();
        store.gather_directory();
        users(&mut store, &["anna", "bartek"]);
        assert!(store.changes_directory() && store.is_dirty());
        store.commit().unwrap();
        assert!(!store.changes_directory());
        disk.fill(usize::MAX);
        let user = Record::User { number: 3, name: b"celina", secret: None };
        let group = Record::Group { number: 1, name: b"news", owner: 3 };
        let member = |user| Record::Member { user, group: 1, left: -1 };
        for record in [user, group, member(2), member(3)] {
            store.write(record).unwrap();
        }
        for n in 1..200 {
            Act::Mail(message(n, 1, 2, &"x".repeat(4000))).play(&mut store).unwrap();
        }
        assert!(store.commit().is_err_and(|error| error.is_full()));
        assert!(store.write(member(1)).is_err(), "all that needs room is refused");
        store.write(Record::NoMember { user: 2, group: 1 }).unwrap();
        let _ = store.commit();
        disk.empty();
        until("it recovers", || store.trouble().is_none());
        Act::Mail(message(200, 1, 3, "after it")).play(&mut store).unwrap();
        store.commit().unwrap();
        store.close().unwrap();
        let (store, restored) = Store::open(&disk.store(), &options).unwrap();
        let names: Vec<_> = restored.users.iter().map(|user| user.name.as_slice()).collect();
        assert_eq!(names, [b"anna" as &[u8], b"bartek", b"celina"], "reserve {reserve}");
        assert_eq!(restored.groups.len(), 1);
        let members: Vec<_> = restored.memberships.iter().map(|m| (m.user, m.left)).collect();
        assert_eq!(members, [(3, -1)], "reserve {reserve}");
        assert_eq!((numbers(&store, 2), numbers(&store, 3)), (vec![], vec![200]));
    }
}
