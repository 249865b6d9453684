//! The program against servers in C, `c/*.c`, that were written from the documents of `queues` and
//! `lanes` alone.

use centrala_sysv::{Queue, Removed};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Nothing takes longer, on a machine that does other things beside.
const LONG: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(got) = get() {
            return got;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process, ended if the test panics: a client removes its queue then.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let deadline = Instant::now() + LONG;
        if let Ok(None) = self.0.try_wait() {
            let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
            while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        // Byte by byte: what a reader took ahead would be lost with it.
        let stdout = self.0.stdout.as_mut().unwrap();
        let mut reader = BufReader::with_capacity(1, stdout);
        reader.read_until(b'\n', &mut line).unwrap();
        String::from_utf8(line).unwrap()
    }

    fn end_by(&mut self, signal: Signal) -> (Option<i32>, String) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
        let status = until("the client ends", || self.0.try_wait().unwrap());
        let mut said = String::new();
        self.0.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
        (status.code(), said)
    }
}

/// A server, ended by the removal of its queue.
struct Server {
    dialect: &'static str,
    key: i32,
    files: Vec<PathBuf>,
    // Dropped in this order: the queue first.
    _queue: Removed,
    process: Running,
}

impl Server {
    /// Compiles and starts `c/{dialect}_server.c` with this configuration.
    fn start(dialect: &'static str, test: i32, config: &str) -> Server {
        let built = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let own =
            |suffix: &str| built.join(format!("{dialect}-{}-{test}{suffix}", std::process::id()));
        let source = format!("{}/tests/c/{dialect}_server.c", env!("CARGO_MANIFEST_DIR"));
        let files = vec![own(".server"), own(".config"), own(".basic.txt")];
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-o"]);
        let compiled = compiler.arg(&files[0]).arg(source).status().expect("a C compiler, cc");
        assert!(compiled.success());
        std::fs::write(&files[1], config).unwrap();

        let base = 0x4800_0000 + ((std::process::id() as i32 & 0xffff) << 8) + 16 * test;
        let made =
            (base..base + 16).find_map(|key| Some((key, Queue::create_new(key, 0o600).ok()?)));
        let (key, queue) = made.unwrap();
        let queue = Removed(queue);
        let mut command = Command::new(&files[0]);
        command.arg(key.to_string()).arg(&files[1]);
        if dialect == "lanes" {
            command.arg(&files[2]);
        }
        let process = Running(command.spawn().unwrap());
        if dialect == "lanes" {
            until("the directory is written", || files[2].exists().then_some(()));
        }
        Server { dialect, key, files, _queue: queue, process }
    }

    fn client(&self, user: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_centrala"));
        command.env_remove("CENTRALA_URL").env_remove("CENTRALA_PASSWORD");
        let url = format!("{}://{user}@{}", self.dialect, self.key);
        command.args(["--url", &url]).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command: its exit code, what it printed, and what it said aside.
    fn run(&self, user: &str, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.client(user, args).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn does(&self, user: &str, args: &[&str], prints: &str) {
        assert_eq!(self.run(user, args), (Some(0), prints.to_owned(), String::new()), "{args:?}");
    }

    #[track_caller]
    fn fails(&self, user: &str, args: &[&str], says: &str) {
        let (code, printed, said) = self.run(user, args);
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{args:?}: {said}");
        assert!(said.starts_with(&format!("centrala: {says}")), "{args:?}: {said}");
    }

    fn listen(&self, user: &str, args: &[&str]) -> Running {
        Running(self.client(user, &[&["listen"], args].concat()).spawn().unwrap())
    }

    /// Waits until somebody is logged in.
    fn until_listed(&self, who: &str, name: &str) {
        until("a log-in", || self.run(who, &["users"]).1.contains(name).then_some(()));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Queue::open(self.key).map(Queue::remove);
        if !std::thread::panicking() {
            let ended = until("the server ends", || self.process.0.try_wait().unwrap());
            assert!(ended.success(), "{ended}");
        }
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
    }
}

#[test]
fn every_command_of_queues() {
    let server = Server::start("queues", 1, "anna secret\nbartek tajne\njan_kowal x\n");
    let (anna, bartek) = ("anna:secret", "bartek:tajne");
    server.does(anna, &["users"], "1 anna\n");
    server.does(
        anna,
        &["--json", "users"],
        "{\"event\":\"user\",\"number\":1,\"name\":\"anna\"}\n",
    );
    server.fails("anna:wrong", &["users"], "anna: a wrong password");
    server.fails("eve:x", &["users"], "eve: the exchange does not know");

    server.does(anna, &["join", "#2"], "#2: joined\n");
    server.does(anna, &["join", "3"], "#3: joined\n");
    server.does(bartek, &["join", "2"], "#2: joined\n");
    server.does("jan_kowal:x", &["users"], "3 jan_kowal\n");
    server.fails(bartek, &["join", "9"], "#9: the exchange does not count us");
    server.does(bartek, &["members", "2"], "1 anna\n2 bartek\n");
    server.does(bartek, &["members", "9"], "");
    server.does(anna, &["leave", "3"], "#3: left\n");
    server.does(anna, &["members", "3"], "");
    server.fails(anna, &["groups", "--mine"], "this exchange shows what is joined only");

    let mut listener = server.listen(anna, &[]);
    server.until_listed(bartek, "1 anna");
    server.fails(anna, &["users"], "anna: the exchange does not know or allow this name, or it is");
    let sent = ": sent (this dialect has no answer)\n";
    server.does(bartek, &["send", "@anna", "cześć"], &format!("@anna{sent}"));
    server.does(bartek, &["send", "@~1", "two\nlines"], &format!("@~1{sent}"));
    server.does("jan_kowal:x", &["send", "#2", "to: all"], &format!("#2{sent}"));
    let (first, second) = (listener.line(), listener.line());
    let time = first.strip_prefix("bartek (20").or(first.strip_prefix("~2 (20"));
    assert!(time.is_some_and(|rest| rest.ends_with(" UTC): cześć\n")), "{first}");
    assert!(second.ends_with(" UTC): two\n"), "{second}");
    assert_eq!(listener.line(), "    lines\n");
    let third = listener.line();
    assert!(third.starts_with("#2 (20") && third.ends_with(" UTC): to: all\n"), "{third}");
    server.fails(bartek, &["send", "@jan kowal", "hi"], "@jan kowal: nobody of this name");
    assert_eq!(listener.end_by(Signal::SIGINT), (Some(0), String::new()));
    server.does(anna, &["users"], "1 anna\n");

    // A message to oneself comes while the command runs.
    let (code, printed, aside) = server.run(bartek, &["send", "@bartek", "me"]);
    assert_eq!((code, printed), (Some(0), format!("@bartek{sent}")));
    assert!(aside.starts_with("bartek (20") && aside.ends_with(": me\n"), "{aside}");
}

const LANES: &str = "o anna secret\no bartek tajne\no jan_kowal x\ng news\ng kino\n";

#[test]
fn every_command_of_lanes() {
    let server = Server::start("lanes", 2, LANES);
    let (anna, bartek) = ("anna:secret", "bartek:tajne");
    let directory = server.files[2].to_str().unwrap();
    let named = |args: &[&'static str]| [&["--directory", directory][..], args].concat();
    server.does(anna, &["users"], "anna\n");
    server.does(anna, &named(&["users"]), "1 anna\n");
    server.does("jan%20kowal:x", &named(&["users"]), "3 jan_kowal\n");
    server.fails("anna:wrong", &["users"], "anna: a wrong password");
    server.fails("eve:x", &["users"], "eve: the exchange does not know");

    server.does(anna, &["groups"], "1\n2\n");
    server.does(anna, &named(&["groups"]), "1 news\n2 kino\n");
    server.does(anna, &named(&["join", "#kino"]), "#kino: joined\n");
    server.does(anna, &["join", "1"], "#1: joined\n");
    server.does(bartek, &["join", "2"], "#2: joined\n");
    server.fails(bartek, &["join", "3"], "no group 3: lanes reaches groups 1 to 2 here");
    server.does(anna, &["groups", "--mine"], "1\n2\n");
    server.does(bartek, &named(&["groups", "--mine"]), "2 kino\n");
    server.does(bartek, &named(&["members", "kino"]), "1 anna\n2 bartek\n");
    server.does(anna, &["leave", "1"], "#1: left\n");
    server.does(anna, &["members", "1"], "");

    let mut listener = server.listen(anna, &named(&[])[..]);
    server.until_listed(bartek, "anna");
    server.fails(anna, &["users"], "anna: logged in to lanes already");
    server.does(bartek, &named(&["send", "@anna", "cześć"]), "@anna: accepted\n");
    server.does(bartek, &["send", "@~1", "two\nlines"], "@~1: accepted\n");
    server.does(bartek, &named(&["send", "#kino", "to: all"]), "#kino: accepted\n");
    server.fails("jan_kowal:x", &["send", "#2", "hi"], "#2: only members may write to it");
    server.fails(bartek, &["send", "@~4", "hi"], "no user 4: lanes reaches users 1 to 3 here");
    assert_eq!(listener.line(), "bartek: cześć\n");
    assert_eq!(listener.line(), "bartek: two\n");
    assert_eq!(listener.line(), "    lines\n");
    assert_eq!(listener.line(), "#kino bartek: to: all\n");
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        assert_eq!(listener.end_by(signal), (Some(0), String::new()), "{signal}");
        server.does(anna, &["users"], "anna\n");
        listener = server.listen(anna, &[]);
        server.until_listed(bartek, "anna");
    }
    assert_eq!(listener.end_by(Signal::SIGHUP), (Some(0), String::new()));

    // What waits in the lane of somebody absent.
    for text in ["one", "two"] {
        server.does(bartek, &["send", "@~1", text], "@~1: accepted\n");
    }
    server.does(anna, &["listen", "--sync"], "~2: one\n~2: two\n");
    server.does(bartek, &["send", "@~1", "three"], "@~1: accepted\n");
    let aside = (Some(0), "anna\n".to_owned(), "~2: three\n".to_owned());
    assert_eq!(server.run(anna, &["users"]), aside);
}

#[test]
fn clients_of_lanes_that_log_in_at_once_are_not_mistaken_for_one_another() {
    let server = Server::start("lanes", 3, LANES);
    std::thread::scope(|scope| {
        for user in ["anna:secret", "bartek:tajne", "jan_kowal:x"] {
            let server = &server;
            scope.spawn(move || {
                let name = user.split(':').next().unwrap();
                for _ in 0..20 {
                    // A number taken for another's is not logged out, and the next log-in fails.
                    let (code, printed, said) = server.run(user, &["users"]);
                    assert_eq!(code, Some(0), "{name}: {said}");
                    assert!(printed.lines().any(|line| line == name), "{name}: {printed}");
                }
            });
        }
    });
}
