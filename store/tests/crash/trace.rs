//! Runs this test's own binary under strace, and reads what it did to files.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Something that happened to a file below the directory that is watched. Names are relative to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The name leads to a file from now on; it is made if there was none.
    Open(String),
    Mkdir(String),
    Write {
        name: String,
        offset: usize,
        data: Vec<u8>,
    },
    Truncate {
        name: String,
        len: usize,
    },
    /// Of a file or a directory.
    Sync(String),
    SyncFailed(String),
    Unlink(String),
    Rename(String, String),
    /// A line that the process wrote for us: it has acknowledged something.
    Said(String),
}

/// The name of the file that lines to us are written to.
pub const SAY: &str = "said";

const CALLS: &str = "openat,open,creat,close,lseek,write,pwrite64,writev,pwritev,ftruncate,\
    truncate,fallocate,fsync,fdatasync,sync_file_range,unlink,unlinkat,rename,renameat,renameat2,\
    mkdir,mkdirat,link,linkat,copy_file_range,sendfile,dup,dup2,dup3,msync";

/// Whether it can be done here; if not, why.
pub fn possible() -> Result<(), String> {
    let run = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    match run {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(format!("strace: {error} (apt-get install strace)")),
    }
}

/// Runs the test named `child` of this binary, with `root` and the other variables in its
/// environment, and returns what it did below `root`.
pub fn run(child: &str, root: &Path, variables: &[(&str, String)]) -> Vec<Event> {
    run_with(child, root, variables, &[])
}

/// The same, with arguments for strace.
pub fn run_with(
    child: &str,
    root: &Path,
    variables: &[(&str, String)],
    arguments: &[&str],
) -> Vec<Event> {
    let log = root.with_extension("strace");
    let status = Command::new("strace")
        .args(["-f", "-xx", "-s", "1000000", "-e", &format!("trace={CALLS}")])
        .args(arguments)
        .arg("-o")
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", child, "--ignored", "--nocapture", "--test-threads=1"])
        .env("ROOT", root)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    assert!(status.success(), "{child}: {status}");
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    read(&text, root.to_str().unwrap())
}

/// One call, whole: what strace broke in two because another thread came between is put together.
struct Call<'t> {
    name: &'t str,
    arguments: String,
    result: i64,
}

fn read(text: &str, root: &str) -> Vec<Event> {
    let mut reader = Reader { root, fds: HashMap::new(), events: Vec::new() };
    let mut begun: HashMap<&str, (&str, String)> = HashMap::new();
    for line in text.lines() {
        let (thread, line) = line.split_once(' ').unwrap();
        let line = line.trim_start();
        if line.starts_with("+++") || line.starts_with("---") {
            continue;
        }
        if let Some(rest) = line.strip_prefix("<... ") {
            let (name, arguments) = begun.remove(thread).unwrap();
            let end = rest.split_once(" resumed>").unwrap().1;
            reader.whole(name, format!("{arguments}{end}"));
            continue;
        }
        let Some((name, rest)) = line.split_once('(') else { panic!("not a call: {line}") };
        match rest.strip_suffix(" <unfinished ...>") {
            Some(arguments) => {
                // It counts as said from the moment it began to be.
                if name == "write" {
                    reader.said(arguments);
                }
                begun.insert(thread, (name, arguments.to_owned()));
            }
            None => {
                if name == "write" {
                    reader.said(rest);
                }
                reader.whole(name, rest.to_owned());
            }
        }
    }
    reader.events
}

struct Reader<'t> {
    root: &'t str,
    /// The name of each open file, if it is below the root, and the position in it.
    fds: HashMap<i64, (String, usize)>,
    events: Vec<Event>,
}

impl Reader<'_> {
    fn whole(&mut self, name: &str, rest: String) {
        let (arguments, result) =
            rest.rsplit_once(" = ").unwrap_or_else(|| panic!("{name}: {rest}"));
        let arguments = arguments.trim_end().strip_suffix(')').unwrap().to_owned();
        if result.starts_with('?') {
            return;
        }
        let result: i64 = result.split(' ').next().unwrap().parse().unwrap();
        if result >= 0 {
            self.call(&Call { name, arguments, result });
        } else if matches!(name, "fsync" | "fdatasync")
            && let Some((name, _)) = self.fds.get(&Self::fd(&arguments))
        {
            self.events.push(Event::SyncFailed(name.clone()));
        }
    }

    /// A path of the arguments, relative to the root.
    fn path(&self, argument: &str) -> Option<String> {
        let path = String::from_utf8(bytes(argument)).unwrap();
        let below = path.strip_prefix(self.root)?.trim_start_matches('/');
        Some(below.to_owned())
    }

    fn fd(argument: &str) -> i64 {
        argument.trim().parse().unwrap()
    }

    fn said(&mut self, arguments: &str) {
        let mut arguments = arguments.split(", ");
        let fd = Self::fd(arguments.next().unwrap());
        if self.fds.get(&fd).is_some_and(|(name, _)| name == SAY) {
            let line = String::from_utf8(bytes(arguments.next().unwrap())).unwrap();
            self.events.push(Event::Said(line.trim_end().to_owned()));
        }
    }

    fn call(&mut self, call: &Call<'_>) {
        let arguments: Vec<&str> = call.arguments.split(", ").collect();
        match call.name {
            "openat" => {
                let Some(name) = self.path(arguments[1]) else {
                    self.fds.remove(&call.result);
                    return;
                };
                let flags = arguments[2];
                if name != SAY && !flags.contains("O_DIRECTORY") {
                    if flags.contains("O_CREAT") {
                        self.events.push(Event::Open(name.clone()));
                    }
                    if flags.contains("O_TRUNC") {
                        self.events.push(Event::Truncate { name: name.clone(), len: 0 });
                    }
                }
                self.fds.insert(call.result, (name, 0));
            }
            "close" => {
                self.fds.remove(&Self::fd(arguments[0]));
            }
            "lseek" => {
                assert_eq!(arguments[2], "SEEK_SET", "another way to seek");
                if let Some((_, position)) = self.fds.get_mut(&Self::fd(arguments[0])) {
                    *position = call.result as usize;
                }
            }
            "write" | "pwrite64" => {
                let Some((name, position)) = self.fds.get_mut(&Self::fd(arguments[0])) else {
                    return;
                };
                if name == SAY {
                    return;
                }
                let mut data = bytes(arguments[1]);
                data.truncate(call.result as usize);
                let offset = match call.name {
                    "write" => *position,
                    _ => arguments[3].parse().unwrap(),
                };
                if call.name == "write" {
                    *position += data.len();
                }
                self.events.push(Event::Write { name: name.clone(), offset, data });
            }
            "ftruncate" => {
                if let Some((name, _)) = self.fds.get(&Self::fd(arguments[0])) {
                    let len = arguments[1].parse().unwrap();
                    self.events.push(Event::Truncate { name: name.clone(), len });
                }
            }
            "fsync" | "fdatasync" => {
                if let Some((name, _)) = self.fds.get(&Self::fd(arguments[0])) {
                    self.events.push(Event::Sync(name.clone()));
                }
            }
            "unlink" => {
                if let Some(name) = self.path(arguments[0]) {
                    self.events.push(Event::Unlink(name));
                }
            }
            "rename" => {
                if let (Some(from), Some(to)) = (self.path(arguments[0]), self.path(arguments[1])) {
                    self.events.push(Event::Rename(from, to));
                }
            }
            "mkdir" => {
                if let Some(name) = self.path(arguments[0]) {
                    self.events.push(Event::Mkdir(name));
                }
            }
            // Duplicates of descriptors that are none of ours, such as standard output.
            "dup" | "dup2" | "dup3" => {
                assert!(!self.fds.contains_key(&Self::fd(arguments[0])));
            }
            other => panic!("a call that changes files, and is not understood: {other}"),
        }
    }
}

/// What a quoted argument of hexadecimal escapes stands for.
fn bytes(argument: &str) -> Vec<u8> {
    let quoted = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let quoted = quoted.unwrap_or_else(|| panic!("not whole: {argument:.60}"));
    let hex = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    let escapes = quoted.as_bytes().chunks_exact(4);
    escapes.map(|escape| hex(escape[2]) << 4 | hex(escape[3])).collect()
}

#[test]
fn calls_that_were_broken_in_two_are_put_together() {
    let text = "\
7 openat(AT_FDCWD, \"\\x2f\\x72\\x2f\\x61\", O_RDWR|O_CREAT, 0600) = 3
7 openat(AT_FDCWD, \"\\x2f\\x72\\x2f\\x73\\x61\\x69\\x64\", O_WRONLY) = 4
7 openat(AT_FDCWD, \"\\x2f\\x65\", O_RDWR|O_CREAT, 0600) = 5
8 lseek(3, 24, SEEK_SET)                = 24
8 write(3, \"\\x61\\x62\", 2 <unfinished ...>
7 write(4, \"\\x31\\x0a\", 2)          = 2
8 <... write resumed>)                  = 2
8 fdatasync(3 <unfinished ...>
7 write(4, \"\\x32\\x0a\", 2 <unfinished ...>
8 <... fdatasync resumed>)              = 0
7 <... write resumed>)                  = 2
8 write(5, \"\\x61\", 1)               = 1
8 unlink(\"\\x2f\\x72\\x2f\\x61\")    = -1 ENOENT (No such file or directory)
8 --- SIGCHLD {si_signo=SIGCHLD} ---
8 +++ exited with 0 +++
";
    let (name, said) = ("a".to_owned(), |line: &str| Event::Said(line.to_owned()));
    let expected = [
        Event::Open(name.clone()),
        said("1"),
        Event::Write { name: name.clone(), offset: 24, data: b"ab".to_vec() },
        said("2"),
        Event::Sync(name),
    ];
    assert_eq!(read(text, "/r"), expected);
}
