//! The page: its modules in node, and all of it in Chromium against the real server.
//!
//! Screenshots are in `target/tmp/page/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use centrala_sysv::Queue;

mod common;

/// Servers that a run may start, each with a key of its own.
const SERVERS: i32 = 64;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Whether what a test needs is there. Otherwise it is skipped, and says why; never where CI is set.
fn is_there(what: &str, there: bool) -> bool {
    let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    assert!(there || !ci, "{what} is needed");
    if !there {
        println!("skipped: there is no {what}");
    }
    there
}

fn node_is_there() -> bool {
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    is_there("node", node.is_ok_and(|status| status.success()))
}

/// Debian's, or another that is named so.
fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    named.or_else(|| usual.iter().map(PathBuf::from).find(|path| path.exists()))
}

fn install() {
    if directory().join("node_modules/playwright-core").exists() {
        return;
    }
    let arguments = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
    let output = Command::new("npm").args(arguments).current_dir(directory()).output();
    let output = output.expect("npm");
    assert!(output.status.success(), "npm ci: {}", String::from_utf8_lossy(&output.stderr));
}

/// Builds the client of the command line, of the same profile as the server: as `cargo test
/// --workspace` has built it for its own tests, so that there is nothing to do then.
fn client(server: &Path) -> PathBuf {
    let directory = server.parent().expect("the server lies in a directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["test", "--quiet", "--no-run", "--workspace", "--test", "binary", "--target-dir"]);
    cargo.arg(directory.parent().expect("the target directory"));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo").success(), "the client does not build");
    directory.join("centrala")
}

/// Removes what servers that were killed left behind.
struct Keys(i32);

impl Drop for Keys {
    fn drop(&mut self) {
        for key in self.0..self.0 + SERVERS {
            if let Ok(queue) = Queue::open(key) {
                let _ = queue.remove();
            }
        }
    }
}

#[test]
fn the_modules_keep_their_rules() {
    if !node_is_there() {
        return;
    }
    let status = Command::new("node").args(["--test", "unit/"]).current_dir(directory()).status();
    assert!(status.expect("node").success(), "see above");
}

#[test]
fn people_with_browsers_find_talk_and_miss_nothing() {
    let chromium = chromium();
    if !node_is_there() || !is_there("chromium", chromium.is_some()) {
        return;
    }
    install();
    let server = Path::new(env!("CARGO_BIN_EXE_centralad"));
    let folder = tempfile::tempdir().unwrap();
    let screenshots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    // What is there afterwards is of this run.
    let _ = std::fs::remove_dir_all(&screenshots);
    // Not among those of the other tests of this process, which there are none of.
    let keys = Keys(common::key());
    let mut node = Command::new("node");
    node.args(["--test-reporter=spec", "page.test.mjs"]).current_dir(directory());
    node.env("CENTRALAD", server).env("CENTRALA", client(server));
    node.env("CENTRALA_DIRECTORY", folder.path()).env("CENTRALA_KEY", keys.0.to_string());
    node.env("CENTRALA_CHROMIUM", chromium.unwrap()).env("CENTRALA_SCREENSHOTS", &screenshots);
    let status = node.status().expect("node");
    assert!(status.success(), "{status}: see above, and {}", screenshots.display());
}
