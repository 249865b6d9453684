//! A copy of all that a server keeps: `centralad backup`, beside a running server or without one.
//!
//! The copy is a data directory like any other: a server runs on it with `--data`. It is made under
//! another name beside its own, and gets that when all of it is on the disk. Images are files that
//! never change, so the copy has links to them where it can, which take no room:
//!
//! 1. a link to each image that there is, so that none is missed which is removed meanwhile;
//! 2. the store, as it is at one moment;
//! 3. a link to each image that came in between, and none any more to those that the store does not
//!    name.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use centrala_store::{FILE, View};

use crate::config::Config;
use crate::rooms::images::{DIRECTORY, Hash, named};

/// Makes the copy, in a directory that there is not yet.
///
/// # Errors
/// One line: what is there already, or cannot be read or written. Nothing is left then.
pub fn back_up(config: &Config, copy: &Path) -> Result<String, String> {
    let kept = config.data.directory().map_err(|error| error.to_string())?;
    let kept = kept.ok_or("data: \":memory:\" keeps nothing to copy")?;
    let name = copy.file_name().ok_or_else(|| format!("{}: no name", copy.display()))?;
    if fs::symlink_metadata(copy).is_ok() {
        return Err(format!("{}: it exists: a backup needs a new directory", copy.display()));
    }
    let mut part = name.to_owned();
    part.push(".part");
    let part = copy.with_file_name(part);
    DirBuilder::new().mode(0o700).create(&part).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            format!("{}: of a backup that is under way, or was killed: remove it", part.display())
        }
        _ => failed("making", &part)(error),
    })?;
    let made = fill(&kept, &part).and_then(|()| {
        fs::rename(&part, copy).map_err(failed("naming", copy))?;
        let above = copy.parent().filter(|above| !above.as_os_str().is_empty());
        sync(above.unwrap_or(Path::new(".")))
    });
    if made.is_err() {
        // It is this backup's own.
        let _ = fs::remove_dir_all(&part);
    }
    made.map(|()| String::new())
}

fn failed<'p>(doing: &'p str, path: &'p Path) -> impl Fn(io::Error) -> String + 'p {
    move |error| format!("{doing} {}: {error}", path.display())
}

fn sync(directory: &Path) -> Result<(), String> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("syncing", directory))
}

fn fill(kept: &Path, copy: &Path) -> Result<(), String> {
    let (from, to) = (kept.join(DIRECTORY), copy.join(DIRECTORY));
    let mut copied = HashSet::new();
    for image in images(&from)? {
        if link(&from, &to, image)? {
            copied.insert(image);
        }
    }
    let store = copy.join(FILE);
    centrala_store::back_up(kept, &store).map_err(|error| error.to_string())?;
    for image in used(&store)? {
        if !copied.remove(&image) && !link(&from, &to, image)? {
            tracing::warn!(%image, "an image of a message is not there, nor is it in the copy");
        }
    }
    for unused in copied {
        let unused = to.join(unused.to_string());
        fs::remove_file(&unused).map_err(failed("removing", &unused))?;
    }
    if to.exists() {
        sync(&to)?;
    }
    sync(copy)
}

/// The images in a directory, if there is one.
fn images(directory: &Path) -> Result<Vec<Hash>, String> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed("reading", directory))?,
    };
    let hash = |entry: io::Result<fs::DirEntry>| entry.map(|entry| named(&entry)).transpose();
    entries.filter_map(hash).collect::<io::Result<_>>().map_err(failed("reading", directory))
}

/// The images that a store's messages are.
fn used(store: &Path) -> Result<Vec<Hash>, String> {
    let view = View::open(store).map_err(|error| error.to_string())?;
    let mut used: Vec<Hash> = Vec::new();
    loop {
        let after = used.last().map(|last| last.0);
        let page = view.image_hashes(after).map_err(|error| error.to_string())?;
        if page.is_empty() {
            return Ok(used);
        }
        used.extend(page.into_iter().map(Hash));
    }
}

/// Has the copy have an image too. `false`: it is not there.
fn link(from: &Path, to: &Path, image: Hash) -> Result<bool, String> {
    let [from, image]: [PathBuf; 2] = [from, to].map(|directory| directory.join(image.to_string()));
    DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(failed("making", to))?;
    let linked = match fs::hard_link(&from, &image) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        // On another file system, or where such links are not allowed.
        Err(_) => fs::copy(&from, &image).and_then(|_| File::open(&image)?.sync_all()),
    };
    match linked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        linked => linked.map(|()| true).map_err(failed("copying", &from)),
    }
}
