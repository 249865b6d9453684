//! The real server, built from this workspace, for clients that know nothing of its code.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use centrala_sysv::Queue;

/// Nothing takes longer, on a machine that does other things beside.
pub const LONG: Duration = Duration::from_secs(20);

/// The directory that cargo builds into, with the profile of this very test.
fn directory() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    let deps = this.parent().expect("a directory");
    deps.parent().expect("deps lies in a directory").to_path_buf()
}

/// Builds a package of this workspace, which has one program of the same name, and says where that
/// lies.
pub fn program(package: &str) -> PathBuf {
    let directory = directory();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["build", "--quiet", "--package", package, "--target-dir"]);
    cargo.arg(directory.parent().expect("the target directory"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo runs").success(), "{package} does not build");
    directory.join(package)
}

/// The server, built once for each test program.
fn binary() -> &'static PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program("centralad"))
}

/// A server that is killed, and its queue removed, when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Key of its `topics` queue.
    pub key: i32,
    /// Where it speaks `direct`.
    pub address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Server {
    /// With `direct` on a free port and `topics` on this key. `topics` is more of that section of
    /// the configuration, with further sections behind it.
    pub fn start(key: i32, topics: &str) -> Server {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("centrala.toml");
        let data = directory.path().join("data");
        let config = format!(
            "data = {data:?}\n[direct]\nlisten = \"127.0.0.1:0\"\n[topics]\nkey = {key}\n{topics}\n"
        );
        std::fs::write(&path, config).expect("a configuration");
        let mut command = Command::new(binary());
        command.arg("--config").arg(&path).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let address = out
            .lines()
            .take(2)
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("direct: ")?.parse().ok())
            .last();
        let server = Server {
            child,
            key,
            address: address.unwrap_or(SocketAddr::from(([0; 4], 0))),
            _directory: directory,
        };
        assert!(address.is_some(), "the server is not ready");
        server
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Ok(queue) = Queue::open(self.key) {
            let _ = queue.remove();
        }
    }
}

/// A key of a queue that no other test uses, and that is no PID: `of` sets those of one program
/// apart.
pub fn key(of: u8) -> i32 {
    0x6000_0000 + (std::process::id() as i32 % 0x10_0000) * 256 + i32::from(of)
}
