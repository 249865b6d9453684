//! What the store costs beside the bare engine, and how it starts with a million messages.
//!
//! `cargo bench -p centrala-store`; `BENCH_DIR=/some/disk` for another disk than that of the
//! target directory, `BENCH_MESSAGES=100000` for another store to start with.
//!
//! A message is a row of the log, of the history's index and of a mailbox, with a text of 256
//! bytes. Each commit is waited for. The bare engine is SQLite with the same settings, tables and
//! rows, without the store's copies, checks, counts, checksums and threads.

use centrala_core::host::{Mail, Posted, Record, Store as _};
use centrala_store::{Options, Store, wait};
use rusqlite::{Connection, params};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const FIRST: u64 = 1 << 62;
const USERS: u64 = 1000;
const TEXT: [u8; 256] = [b'x'; 256];
const ROUND: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, dir] = arguments.as_slice()
        && flag == "--open"
    {
        return open(Path::new(dir));
    }
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let dir = std::env::var_os("BENCH_DIR").map_or(target, PathBuf::from).join("store-bench");
    let _ = fs::remove_dir_all(&dir);
    println!("acknowledged durable messages per second, in {}", dir.display());
    println!("{:>9} {:>10} {:>12} {:>6}", "a commit", "store", "bare engine", "ratio");
    for group in [1, 16, 256] {
        let mut rates: Vec<(f64, f64)> = (0..ROUNDS)
            .map(|round| {
                let at = |what: &str| dir.join(format!("{what}-{group}-{round}"));
                (store(&at("store"), group), bare(&at("bare"), group))
            })
            .collect();
        rates.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let (store, bare) = rates[ROUNDS / 2];
        println!("{group:>9} {store:>10.0} {bare:>12.0} {:>6.2}", store / bare);
    }
    let messages = std::env::var("BENCH_MESSAGES").map_or(1_000_000, |n| n.parse().unwrap());
    start(&dir.join("start"), messages);
    let _ = fs::remove_dir_all(&dir);
}

/// A message from one user to another, kept for it.
fn write(store: &mut Store, n: u64) {
    let (sequence, from, to) = (FIRST + n, (1 + n % 7) as u32, (1 + n * 31 % USERS) as u32);
    let (group, priority, time, text) = (0, 3, 1_700_000_000_000 + n, &TEXT);
    let posted = Posted { sequence, from, to, group, priority, time, text, ..Posted::NONE };
    store.write(Record::Posted(posted)).unwrap();
    let (user, id, last) = (to, n as u32, false);
    let mail = Mail { user, sequence, id, from, group, priority, last, time, text, ..Mail::NONE };
    store.write(Record::Mail(mail)).unwrap();
}

fn store(dir: &Path, group: u64) -> f64 {
    let (mut store, _) = Store::open(dir, &Options::default()).unwrap();
    let (begin, mut n) = (Instant::now(), 0);
    while begin.elapsed() < ROUND {
        for _ in 0..group {
            n += 1;
            write(&mut store, n);
        }
        store.commit().unwrap();
    }
    n as f64 / begin.elapsed().as_secs_f64()
}

fn bare(dir: &Path, group: u64) -> f64 {
    // The store's own file, so that its tables and indexes are the same.
    drop(Store::open(dir, &Options::default()).unwrap());
    let connection = Connection::open(dir.join(centrala_store::FILE)).unwrap();
    let checkpoint = Options::default().checkpoint;
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA mmap_size = 0;
             PRAGMA cache_size = -8192; PRAGMA wal_autocheckpoint = {checkpoint};"
        ))
        .unwrap();
    let sql = |sql: &str| connection.prepare(sql).unwrap();
    let (mut begin_it, mut commit) = (sql("BEGIN IMMEDIATE"), sql("COMMIT"));
    let mut log = sql("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 0, 0)");
    let mut history = sql("INSERT INTO history VALUES (?1, ?2, ?3)");
    let mut mailbox = sql(
        "INSERT INTO mailbox (user, priority, sequence, id, last, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    );
    let (begin, mut n) = (Instant::now(), 0u64);
    while begin.elapsed() < ROUND {
        begin_it.execute([]).unwrap();
        for _ in 0..group {
            n += 1;
            let (sequence, from, to) = ((FIRST + n) as i64, 1 + n % 7, 1 + n * 31 % USERS);
            let (from, to, time) = (from as i64, to as i64, 1_700_000_000_000 + n as i64);
            let sum = i64::MAX - n as i64;
            log.execute(params![sequence, from, to, 0, 3, time, TEXT, sum]).unwrap();
            history.execute((from.min(to) << 32 | from.max(to), sequence, from)).unwrap();
            mailbox.execute((to, 3, sequence, n as i64, 0, sum)).unwrap();
        }
        commit.execute([]).unwrap();
    }
    n as f64 / begin.elapsed().as_secs_f64()
}

/// A store with so many messages that wait, opened by a process of its own.
fn start(dir: &Path, messages: u64) {
    let (mut store, _) = Store::open(dir, &Options::default()).unwrap();
    for number in 1..=USERS as u32 {
        let name = format!("user {number}");
        let user = Record::User { number, name: name.as_bytes(), secret: None };
        store.write(user).unwrap();
    }
    for n in 1..=messages {
        write(&mut store, n);
        if n % 4096 == 0 {
            store.commit().unwrap();
        }
    }
    store.close().unwrap();
    let bytes = fs::metadata(dir.join(centrala_store::FILE)).unwrap().len();
    println!("{messages} stored messages, {} MB:", bytes >> 20);
    let drop_caches = fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
    for cold in [true, false] {
        if cold && !drop_caches {
            continue;
        }
        print!("  {} ", if cold { "cold:" } else { "warm:" });
        let run = Command::new(std::env::current_exe().unwrap()).arg("--open").arg(dir).output();
        print!("{}", String::from_utf8_lossy(&run.unwrap().stdout));
    }
}

fn open(dir: &Path) {
    let begin = Instant::now();
    let (store, restored) = Store::open(dir, &Options::default()).unwrap();
    let opened = begin.elapsed();
    let reader = store.reader();
    let begin = Instant::now();
    let page = wait(|answer| reader.mail_page(500, None, 64, answer)).unwrap();
    let read = begin.elapsed();
    assert_eq!((restored.users.len() as u64, page.mail.len()), (USERS, 64));
    // Every user's first mail, as if all logged in.
    for user in 1..=USERS as u32 {
        wait(|answer| reader.mail_page(user, None, 64, answer)).unwrap();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("?");
    println!(
        "opened in {:.0} ms, one user's first 64 read in {:.2} ms, peak memory {} (all users' first read)",
        opened.as_secs_f64() * 1e3,
        read.as_secs_f64() * 1e3,
        peak.trim()
    );
}
