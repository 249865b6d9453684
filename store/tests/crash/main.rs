//! A crash at every write. A scripted run of the store is traced, call by call; for each point of
//! it the files are rebuilt as a crash at that point could leave them, and opened again. What was
//! acknowledged is there, in its order, and nothing else is: the store holds exactly what it held
//! at the last commit that was acknowledged, or at the one that was under way.
//!
//! `CRASH_ACTS=3000 cargo test -p centrala-store --test crash` for a longer run.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod trace;

use centrala_store::{Durability, Options, Retention, Store, check};
use common::{Act, Random, State, message, scratch, script, states, users};
use disk::{Disk, Image, Left};
use std::collections::{BTreeMap, HashSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use trace::{Event, SAY};

/// Whether to go on. Without strace there is nothing to see.
fn traced() -> bool {
    match trace::possible() {
        Ok(()) => true,
        Err(why) => {
            println!("skipped: no system calls can be traced: {why}");
            false
        }
    }
}

/// A run: which script, and how the store is opened.
#[derive(Clone, Copy, Debug)]
struct Run {
    seed: u64,
    acts: usize,
    /// Messages of histories that are kept.
    keep: Option<u64>,
    /// Milliseconds after which commits are synced; at once if none.
    interval: Option<u64>,
}

impl Run {
    fn options(self) -> Options {
        let durability = match self.interval {
            Some(interval) => Durability::Interval(Duration::from_millis(interval)),
            None => Durability::Commit,
        };
        Options {
            durability,
            reserve: 8 << 10,
            checkpoint: 24,
            retention: Retention { messages: self.keep, age: None },
            ..Options::default()
        }
    }

    fn of_environment() -> Run {
        let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
        let some = |name| Some(number(name)).filter(|number| *number != 0);
        let (keep, interval) = (some("KEEP"), some("INTERVAL"));
        Run { seed: number("SEED"), acts: number("ACTS") as usize, keep, interval }
    }

    fn environment(self) -> Vec<(&'static str, String)> {
        let (keep, interval) = (self.keep.unwrap_or(0), self.interval.unwrap_or(0));
        let acts = self.acts as u64;
        let pairs = [("SEED", self.seed), ("ACTS", acts), ("KEEP", keep), ("INTERVAL", interval)];
        pairs.map(|(name, value)| (name, value.to_string())).to_vec()
    }

    /// What is durable at each point of it. Histories, and what follows from them, are left out where
    /// they are pruned.
    fn states(self) -> Vec<State> {
        let mut states = states(&script(self.seed, self.acts));
        states.iter_mut().for_each(|state| self.trim(state));
        states
    }

    fn trim(self, state: &mut State) {
        if self.keep.is_some() {
            state.history.clear();
            state.counts.clear();
            state.images.clear();
        }
    }

    /// Reads a store after a crash. What is there of its mail and histories is all of it.
    fn read(self, dir: &Path) -> Result<State, String> {
        let mut state = State::read(dir, &self.options()).map_err(|error| error.to_string())?;
        self.trim(&mut state);
        Ok(state)
    }
}

/// Says a line to who traces us: an acknowledgement.
fn say(line: &str) {
    static FILE: OnceLock<Mutex<std::fs::File>> = OnceLock::new();
    let file = FILE.get_or_init(|| {
        let file = PathBuf::from(std::env::var_os("ROOT").unwrap()).join(SAY);
        Mutex::new(OpenOptions::new().append(true).create(true).open(file).unwrap())
    });
    file.lock().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Plays a script, in three sittings, and says the number of each commit when it is acknowledged.
#[test]
#[ignore = "run by the tests below, traced"]
fn child_plays() {
    let dir = PathBuf::from(std::env::var_os("ROOT").unwrap()).join("store");
    let run = Run::of_environment();
    let script = script(run.seed, run.acts);
    let (mut model, mut commits, mut played) = (common::Model::default(), 0, 0);
    let (mut store, _) = Store::open(&dir, &run.options()).unwrap();
    // As a server does: else the first message is a commit.
    store.reserve().unwrap();
    for act in script {
        act.play(&mut store).unwrap();
        if model.apply(&act) {
            commits += 1;
            say(&commits.to_string());
        }
        played += 1;
        if matches!(act, Act::Commit) && played > run.acts / 3 {
            played = 0;
            drop(store);
            (store, _) = Store::open(&dir, &run.options()).unwrap();
            store.reserve().unwrap();
        }
    }
}

/// Opens each store that it is given, reads it, says what it saw, and closes it.
#[test]
#[ignore = "run by the tests below, traced"]
fn child_reopens() {
    let root = PathBuf::from(std::env::var_os("ROOT").unwrap());
    let run = Run::of_environment();
    let states = run.states();
    say("ready");
    for n in 0.. {
        let dir = root.join(n.to_string()).join("store");
        if !dir.parent().unwrap().exists() {
            break;
        }
        let (store, restored) = Store::open(&dir, &run.options()).unwrap();
        let mut state = State::of(&restored, &store.reader()).unwrap();
        run.trim(&mut state);
        let seen = states.iter().position(|other| *other == state).unwrap();
        say(&format!("{n} {seen}"));
        drop(store);
    }
}

/// A crash: what is left, and the first and the last commit that it may show.
#[derive(Clone, Debug)]
struct Crash {
    image: Image,
    first: usize,
    last: usize,
    at: String,
    /// The machine went on: only the process was killed.
    killed: bool,
}

/// The crashes at each point of what happened, each only once: all written, only what was synced,
/// and some of the rest.
fn crashes(
    mut disk: Disk,
    events: &[Event],
    seed: u64,
    mut window: impl FnMut(&Event) -> Option<(usize, usize)>,
) -> Vec<Crash> {
    let (mut crashes, mut seen) = (Vec::new(), HashSet::new());
    let (mut first, mut last) = (0, 1);
    for (i, event) in events.iter().enumerate() {
        disk.apply(event);
        if let Some(moved) = window(event) {
            (first, last) = moved;
        }
        let random = Random::new(seed << 32 | i as u64);
        for left in [Left::All, Left::Synced, Left::Some(random)] {
            let at = format!("after event {i} ({}), {left:?}", short(event));
            let killed = matches!(left, Left::All);
            let image = disk.crash(left);
            if seen.insert((disk::digest(&image), first, last)) {
                crashes.push(Crash { image, first, last, at, killed });
            }
        }
    }
    crashes
}

fn short(event: &Event) -> String {
    match event {
        Event::Write { name, offset, data } => {
            format!("{} bytes at {offset} of {name}", data.len())
        }
        other => format!("{other:?}"),
    }
}

/// Opens what each crash left. Returns what is wrong.
fn open_all(run: Run, states: &[State], crashes: &[Crash], below: &str) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let dir = scratch();
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(crash) = crashes.get(i) else { break };
                    disk::write(&crash.image, dir.path());
                    let dir = dir.path().join(below);
                    // Checking takes longer than opening: some are enough.
                    let sound = || if i % 5 == 0 { is_sound(&dir) } else { Ok(()) };
                    let right = sound()
                        .and_then(|()| is_right(run, states, crash, &dir))
                        .and_then(|()| sound());
                    if let Err(error) = right {
                        wrong.lock().unwrap().push(format!("{}: {error}", crash.at));
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

/// What a crash leaves is no damage, neither before it is opened nor after.
fn is_sound(dir: &Path) -> Result<(), String> {
    if !dir.join(centrala_store::FILE).exists() {
        return Ok(());
    }
    match check(dir) {
        Ok(report) if report.is_good() => Ok(()),
        Ok(report) => Err(format!("damaged: {report:?}")),
        Err(error) => Err(error.to_string()),
    }
}

fn is_right(run: Run, states: &[State], crash: &Crash, dir: &Path) -> Result<(), String> {
    let state = run.read(dir)?;
    let last = crash.last.min(states.len() - 1);
    let allowed = &states[crash.first..=last];
    match allowed.contains(&state) {
        true => Ok(()),
        false => Err(format!(
            "neither commit {} nor {last}; from the former:\n{}",
            crash.first,
            allowed[0].difference(&state)
        )),
    }
}

/// The traced run of a script, and its crashes.
fn play(run: Run, variables: &[(&'static str, String)]) -> Vec<Crash> {
    let root = scratch();
    let variables = [&run.environment(), variables].concat();
    let events = trace::run("child_plays", root.path(), &variables);
    let said = events.iter().filter(|event| matches!(event, Event::Said(_))).count();
    assert_eq!(said, run.states().len() - 1, "every commit was acknowledged");
    crashes(Disk::default(), &events, run.seed, |event| match event {
        Event::Said(commit) => {
            let commit = commit.parse().unwrap();
            Some((commit, commit + 1))
        }
        _ => None,
    })
}

fn acts(default: usize) -> usize {
    std::env::var("CRASH_ACTS").map_or(default, |acts| acts.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_write() {
    if !traced() {
        return;
    }
    let run = Run { seed: 1, acts: acts(1000), keep: None, interval: None };
    let crashes = play(run, &[]);
    let states = run.states();
    println!("{} different crashes at {} commits", crashes.len(), states.len() - 1);
    assert!(crashes.len() >= 2000, "only {} crashes", crashes.len());
    let wrong = open_all(run, &states, &crashes, "store");
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        crashes.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    reopenings(run, &states, &crashes);
}

/// A crash while the store is opened after a crash.
fn reopenings(run: Run, states: &[State], crashes: &[Crash]) {
    const REOPENED: usize = 48;
    let root = scratch();
    let chosen: Vec<_> = crashes.iter().step_by(crashes.len() / REOPENED).collect();
    for (n, crash) in chosen.iter().enumerate() {
        disk::write(&crash.image, &root.path().join(n.to_string()));
    }
    let events = trace::run("child_reopens", root.path(), &run.environment());
    let mut of: BTreeMap<usize, Vec<Event>> = BTreeMap::new();
    for event in events {
        let (n, event) = belongs(&event);
        if let Some(n) = n {
            of.entry(n).or_default().push(event);
        }
    }
    let mut again = Vec::new();
    for (n, crash) in chosen.iter().enumerate() {
        let mut all = crashes_of_reopening(crash, &of[&n], n as u64);
        again.append(&mut all);
    }
    println!("{} different crashes while {} of them were opened", again.len(), chosen.len());
    assert!(again.len() >= 10 * chosen.len(), "only {} crashes", again.len());
    let wrong = open_all(run, states, &again, "store");
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        again.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}

/// Until it was read, it may show either commit that the first crash may; then only what was seen.
fn crashes_of_reopening(crash: &Crash, events: &[Event], seed: u64) -> Vec<Crash> {
    let begin = [Event::Said("begin".into())];
    let events = [&begin, events].concat();
    crashes(Disk::of(&crash.image), &events, seed, |event| match event {
        Event::Said(line) if line == "begin" => Some((crash.first, crash.last)),
        Event::Said(seen) => seen.parse().ok().map(|seen| (seen, seen)),
        _ => None,
    })
}

/// To which of the stores that are reopened an event belongs, and as that one sees it.
fn belongs(event: &Event) -> (Option<usize>, Event) {
    let split = |name: &String| {
        let (n, name) = name.split_once('/').unwrap_or((name, ""));
        (n.parse().ok(), name.to_owned())
    };
    let mut event = event.clone();
    let n = match &mut event {
        Event::Open(name)
        | Event::Mkdir(name)
        | Event::Sync(name)
        | Event::SyncFailed(name)
        | Event::Unlink(name)
        | Event::Write { name, .. }
        | Event::Truncate { name, .. } => {
            let n;
            (n, *name) = split(name);
            n
        }
        Event::Rename(from, to) => {
            let n;
            (_, *from) = split(from);
            (n, *to) = split(to);
            n
        }
        Event::Said(line) => {
            let (n, seen) = line.split_once(' ').unwrap_or(("", ""));
            let n = n.parse().ok();
            *line = seen.to_owned();
            n
        }
    };
    (n, event)
}

#[test]
fn mail_that_is_owed_is_not_lost_while_histories_are_pruned() {
    if !traced() {
        return;
    }
    let run = Run { seed: 2, acts: acts(300), keep: Some(5), interval: None };
    let crashes = play(run, &[]);
    let wrong = open_all(run, &run.states(), &crashes, "store");
    println!("{} different crashes", crashes.len());
    assert!(crashes.len() >= 500, "only {} crashes", crashes.len());
    // It was pruned: of the last crash less is left than was ever written.
    let dir = scratch();
    disk::write(&crashes.last().unwrap().image, dir.path());
    let messages = check(&dir.path().join("store")).unwrap().messages;
    let posted = script(run.seed, run.acts);
    let posted = posted.iter().filter(|act| matches!(act, Act::Posted(_))).count() as u64;
    assert!(messages < posted * 2 / 3, "{messages} of {posted} messages are left");
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        crashes.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
}

/// A server that is killed loses nothing at intervals either. A power cut loses the newest commits,
/// and never one from the middle.
#[test]
fn commits_at_intervals_are_lost_from_the_newest_on() {
    if !traced() {
        return;
    }
    let run = Run { seed: 5, acts: 300, keep: None, interval: Some(4) };
    let (states, mut crashes) = (run.states(), play(run, &[]));
    for crash in crashes.iter_mut().filter(|crash| !crash.killed) {
        crash.first = 0;
    }
    let wrong = open_all(run, &states, &crashes, "store");
    println!("{} different crashes", crashes.len());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        crashes.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    // Where the interval is long, each sitting synced its log, and did so less often than it
    // committed.
    let (run, root) = (Run { interval: Some(600_000), ..run }, scratch());
    let events = trace::run("child_plays", root.path(), &run.environment());
    let synced = |event: &&Event| matches!(event, Event::Sync(name) if name.ends_with("-wal"));
    let syncs = events.iter().filter(synced).count();
    assert!((1..states.len()).contains(&syncs), "{syncs} syncs of {} commits", states.len() - 1);
}

/// Commits one message after another, and says how each commit went.
#[test]
#[ignore = "run by the test below, traced"]
fn child_commits() {
    let dir = PathBuf::from(std::env::var_os("ROOT").unwrap()).join("store");
    let options = Options { reserve: 0, checkpoint: 24, ..Options::default() };
    let (mut store, _) = Store::open(&dir, &options).unwrap();
    users(&mut store, &["anna", "bartek"]);
    for n in 0..200 {
        let text = "x".repeat(n as usize * 40);
        let kept = Act::Mail(message(n, 1, 2, &text)).play(&mut store).is_ok();
        match kept && store.commit().is_ok() {
            true => say(&format!("kept {n}")),
            false => {
                say(&format!("refused {n}"));
                common::until("it recovers", || store.trouble().is_none());
            }
        }
    }
}

/// After a sync that failed, the system may have forgotten what it should have written, although
/// the next sync succeeds.
#[test]
fn what_a_failed_sync_forgot_was_not_acknowledged_and_does_not_cost_what_was() {
    if !traced() {
        return;
    }
    for when in ["20+31", "27..30", "40+7"] {
        let root = scratch();
        let fault = format!("inject=fdatasync,fsync:error=EIO:when={when}");
        let events = trace::run_with("child_commits", root.path(), &[], &["-e", &fault]);
        let (mut disk, mut kept, mut refused, mut failed) = (Disk::default(), vec![], 0, 0);
        let (dir, mut opened) = (scratch(), 0);
        for (i, event) in events.iter().enumerate() {
            disk.apply(event);
            failed += usize::from(matches!(event, Event::SyncFailed(_)));
            let Event::Said(line) = event else { continue };
            match line.split_once(' ').unwrap() {
                ("kept", n) => kept.push(n.parse::<u64>().unwrap()),
                _ => refused += 1,
            }
            if failed == 0 || i % 3 != 0 {
                continue;
            }
            for left in [Left::All, Left::Synced, Left::Some(Random::new(i as u64))] {
                let at = format!("{when}, event {i}, {left:?}");
                disk::write(&disk.crash(left), dir.path());
                let (store, _) =
                    Store::open(&dir.path().join("store"), &Options::default()).unwrap();
                let mail = common::mail(&store.reader(), 2, 256).unwrap();
                let there: Vec<_> = mail.iter().map(|m| m.sequence - common::FIRST).collect();
                assert!(
                    there.is_sorted() && kept.iter().all(|n| there.contains(n)),
                    "{at}: {there:?}"
                );
                opened += 1;
            }
        }
        println!(
            "{when}: {failed} syncs failed, {refused} commits refused, {opened} crashes opened"
        );
        let went_on = kept.last().is_some_and(|last| *last > 150);
        assert!(failed > 0 && refused > 0 && opened > 30 && went_on);
    }
}

/// A store with a defect is found out by the same test.
#[cfg(debug_assertions)]
fn is_found_out(canary: &str) {
    if !traced() {
        return;
    }
    let run = Run { seed: 3, acts: 150, keep: None, interval: None };
    let crashes = play(run, &[("CENTRALA_STORE_CANARY", canary.to_owned())]);
    let wrong = open_all(run, &run.states(), &crashes, "store");
    println!("{canary}: {} of {} crashes lose something", wrong.len(), crashes.len());
    assert!(!wrong.is_empty(), "{canary} was not noticed in {} crashes", crashes.len());
}

#[test]
#[cfg(debug_assertions)]
fn a_store_that_acknowledges_early_is_found_out() {
    is_found_out("acknowledge-early");
}

#[test]
#[cfg(debug_assertions)]
fn a_store_that_does_not_sync_is_found_out() {
    is_found_out("skip-sync");
}
