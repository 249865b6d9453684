//! A disk as a crash may leave it: what was synced is there, and of the rest anything may be.

use crate::common::Random;
use crate::trace::Event;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Truncate { len: usize },
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { offset, data } => {
                let end = offset + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(data);
            }
            Change::Truncate { len } => content.resize(*len, 0),
        }
    }

    /// Some of it, by sectors of the file.
    fn apply_torn(&self, content: &mut Vec<u8>, random: &mut Random) {
        let Change::Write { offset, data } = self else {
            return self.apply(content);
        };
        let mut begin = 0;
        while begin < data.len() {
            let end = (SECTOR - (offset + begin) % SECTOR + begin).min(data.len());
            if random.one_in(2) {
                let data = data[begin..end].to_vec();
                Change::Write { offset: offset + begin, data }.apply(content);
            }
            begin = end;
        }
    }
}

/// A file, whatever its names are.
#[derive(Clone, Debug, Default)]
struct File {
    synced: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Change>,
}

/// A change of what a name leads to.
#[derive(Clone, Debug)]
enum Naming {
    Dir(String),
    File(String, usize),
    Gone(String),
    Renamed(String, String),
}

impl Naming {
    fn parent(&self) -> &str {
        let (Naming::Dir(name)
        | Naming::File(name, _)
        | Naming::Gone(name)
        | Naming::Renamed(_, name)) = self;
        parent(name)
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Naming::Dir(name) => drop(names.dirs.insert(name.clone())),
            Naming::File(name, file) => drop(names.files.insert(name.clone(), *file)),
            Naming::Gone(name) => drop(names.files.remove(name)),
            Naming::Renamed(from, to) => {
                if let Some(file) = names.files.remove(from) {
                    names.files.insert(to.clone(), file);
                }
            }
        }
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[derive(Clone, Debug, Default)]
struct Names {
    dirs: BTreeSet<String>,
    files: BTreeMap<String, usize>,
}

/// How much of what was not synced a crash leaves.
#[derive(Clone, Debug)]
pub enum Left {
    /// All: the process was killed, the machine goes on.
    All,
    /// Nothing.
    Synced,
    /// Some of it: of the names the first few, of the files any part, torn.
    Some(Random),
}

/// The files that are there after a crash.
pub type Image = BTreeMap<String, Vec<u8>>;

/// What is on the disk, and what is only on its way to it.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: Vec<File>,
    durable: Names,
    now: Names,
    pending: Vec<Naming>,
}

impl Disk {
    /// A disk that has these files.
    pub fn of(image: &Image) -> Disk {
        let mut disk = Disk::default();
        for (name, content) in image {
            let (synced, now) = (content.clone(), content.clone());
            disk.durable.files.insert(name.clone(), disk.files.len());
            disk.files.push(File { synced, now, pending: Vec::new() });
            if !parent(name).is_empty() {
                disk.durable.dirs.insert(parent(name).to_owned());
            }
        }
        disk.now = disk.durable.clone();
        disk
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Open(name) => {
                if !self.now.files.contains_key(name) {
                    self.name(Naming::File(name.clone(), self.files.len()));
                    self.files.push(File::default());
                }
            }
            Event::Mkdir(name) => self.name(Naming::Dir(name.clone())),
            Event::Unlink(name) => self.name(Naming::Gone(name.clone())),
            Event::Rename(from, to) => self.name(Naming::Renamed(from.clone(), to.clone())),
            Event::Write { name, offset, data } => {
                self.change(name, Change::Write { offset: *offset, data: data.clone() });
            }
            Event::Truncate { name, len } => self.change(name, Change::Truncate { len: *len }),
            Event::Sync(name) => match self.now.files.get(name) {
                Some(file) => {
                    let File { synced, pending, .. } = &mut self.files[*file];
                    pending.drain(..).for_each(|change| change.apply(synced));
                }
                // Names are the directory's to sync: a file's own sync does not bring its name.
                None => {
                    let durable = &mut self.durable;
                    self.pending.retain(|naming| {
                        let here = naming.parent() == name;
                        if here {
                            naming.apply(durable);
                        }
                        !here
                    });
                }
            },
            // It is only in memory from now on, and counts as written.
            Event::SyncFailed(name) => {
                if let Some(file) = self.now.files.get(name) {
                    self.files[*file].pending.clear();
                }
            }
            Event::Said(_) => {}
        }
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.now);
        self.pending.push(naming);
    }

    fn change(&mut self, name: &str, change: Change) {
        // The shared memory beside a database is no part of what is on the disk.
        if let Some(file) = self.now.files.get(name) {
            let file = &mut self.files[*file];
            change.apply(&mut file.now);
            file.pending.push(change);
        }
    }

    /// What a crash leaves now.
    pub fn crash(&self, left: Left) -> Image {
        let all = matches!(left, Left::All);
        let (names, mut random) = match left {
            Left::All => (self.now.clone(), None),
            Left::Synced => (self.durable.clone(), None),
            Left::Some(mut random) => {
                let mut names = self.durable.clone();
                let some = random.below(self.pending.len() as u64 + 1) as usize;
                self.pending[..some].iter().for_each(|naming| naming.apply(&mut names));
                (names, Some(random))
            }
        };
        let Names { dirs, files } = names;
        let there = |name: &str| parent(name).is_empty() || dirs.contains(parent(name));
        files
            .iter()
            .filter(|(name, _)| there(name))
            .map(|(name, file)| {
                let file = &self.files[*file];
                let content = match &mut random {
                    None if all => file.now.clone(),
                    None => file.synced.clone(),
                    Some(random) => {
                        let mut content = file.synced.clone();
                        for change in &file.pending {
                            match random.below(3) {
                                0 => change.apply(&mut content),
                                1 => change.apply_torn(&mut content, random),
                                _ => {}
                            }
                        }
                        content
                    }
                };
                (name.clone(), content)
            })
            .collect()
    }
}

/// Makes a directory of an image.
pub fn write(image: &Image, dir: &Path) {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).unwrap();
    for (name, content) in image {
        let file = dir.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }
}

/// The same for images that are the same.
pub fn digest(image: &Image) -> u64 {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    hasher.finish()
}
