//! What the tests of the store share: a script of changes from a seed, a model of what a store
//! should then hold, and a reading of what one does hold.

#![allow(dead_code, unused_imports)] // Each test file uses a part of it.

mod model;
mod script;
mod state;

use centrala_core::host::{Mail, Posted, Record, Store as _};
use centrala_core::request::Chat;
use centrala_store::{Image, KeptMail, Options, Store};
use std::path::Path;

pub use model::Model;
pub use script::{Random, script, states};
pub use state::{State, hashes, history, mail, same};

/// Where core begins to count messages; what was handed back is below it.
pub const FIRST: u64 = 1 << 62;

/// A message, owned. `id` and `last` are 0 and false in a history.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Message {
    pub user: u32,
    pub sequence: u64,
    pub id: u32,
    pub from: u32,
    pub group: u32,
    pub about: u32,
    pub image: bool,
    pub priority: u8,
    pub last: bool,
    pub time: u64,
    pub text: Vec<u8>,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Message { user, sequence, id, from, group, about, image, priority, last, time, text } =
            self;
        let (sequence, text) = (sequence.wrapping_sub(FIRST) as i64, String::from_utf8_lossy(text));
        let text: String = text.chars().take(12).collect();
        write!(f, "[{sequence} id {id} {from}->{user} #{group} about {about} {image} ")?;
        write!(f, "p{priority} {last} {time} {text:?}]")
    }
}

impl Message {
    pub fn mail(&self) -> Mail<'_> {
        let Message { user, sequence, id, from, group, about, image, .. } = *self;
        let Message { priority, last, time, ref text, .. } = *self;
        Mail { user, sequence, id, from, group, about, image, priority, last, time, text }
    }

    pub fn posted(&self) -> Posted<'_> {
        let Message { user: to, sequence, from, group, about, image, .. } = *self;
        let Message { priority, time, ref text, .. } = *self;
        Posted { sequence, from, to, group, about, image, priority, time, text }
    }

    pub fn of_mail(mail: &KeptMail) -> Message {
        let Mail { user, sequence, id, from, group, about, image, priority, last, time, text } =
            mail.record();
        let text = text.to_vec();
        Message { user, sequence, id, from, group, about, image, priority, last, time, text }
    }

    pub fn of_posted(posted: Posted<'_>) -> Message {
        let Posted { sequence, from, to: user, group, about, image, priority, time, text } = posted;
        let (id, last, text) = (0, false, text.to_vec());
        Message { user, sequence, id, from, group, about, image, priority, last, time, text }
    }
}

/// The image of a message, if it is one: no two are the same.
pub fn image(message: &Message) -> Option<Image> {
    let hash = std::array::from_fn(|i| (message.sequence >> (i % 8 * 8)) as u8 ^ i as u8);
    let name = format!("{}.png", message.sequence).into_bytes();
    let (kind, size) = (b"image/png".to_vec(), message.time as u32);
    message.image.then_some(Image { hash, name, kind, size })
}

/// One thing that is done to a store.
#[derive(Clone, Debug)]
pub enum Act {
    User(u32, Vec<u8>),
    NoUser(u32),
    Group(u32, Vec<u8>, u32),
    NoGroup(u32),
    Member(u32, u32, i32),
    NoMember(u32, u32),
    /// Group and user.
    Chat(u32, u32),
    Seen(u32, Option<Chat>, u64),
    Posted(Message),
    Mail(Message),
    Settled(u32, u64),
    Password(u32, Option<String>),
    Session(u8, i64, u32),
    Counter(u8, u32, u64),
    Commit,
}

impl Act {
    /// Does it. An error is one of the store.
    pub fn play(&self, store: &mut Store) -> Result<(), String> {
        let mut write = |record: Record<'_>| store.write(record).map_err(|error| error.to_string());
        match self {
            Act::User(number, name) => write(Record::User { number: *number, name, secret: None }),
            Act::NoUser(number) => write(Record::NoUser { number: *number }),
            Act::Group(number, name, owner) => {
                write(Record::Group { number: *number, name, owner: *owner })
            }
            Act::NoGroup(number) => write(Record::NoGroup { number: *number }),
            Act::Member(user, group, left) => {
                write(Record::Member { user: *user, group: *group, left: *left })
            }
            Act::NoMember(user, group) => write(Record::NoMember { user: *user, group: *group }),
            Act::Chat(group, user) => write(Record::Chat { group: *group, user: *user }),
            Act::Seen(user, chat, sequence) => {
                write(Record::Seen { user: *user, chat: *chat, sequence: *sequence })
            }
            Act::Posted(message) => {
                let image = image(message);
                if let Some(image) = &image {
                    store.hold_image(image.clone());
                }
                let posted = store.write(Record::Posted(message.posted()));
                let taken = store.drop_image().is_some();
                assert!(taken == posted.is_ok() || image.is_none());
                posted.map_err(|error| error.to_string())
            }
            Act::Mail(message) => write(Record::Mail(message.mail())),
            Act::Settled(user, sequence) => {
                write(Record::Settled { user: *user, sequence: *sequence })
            }
            Act::Password(user, hash) => {
                store.set_password(*user, hash.as_deref()).map_err(|error| error.to_string())
            }
            Act::Session(dialect, address, user) => {
                store.note_session(*dialect, *address, *user).map_err(|error| error.to_string())
            }
            Act::Counter(kind, key, value) => {
                store.note_counter(*kind, *key, *value).map_err(|error| error.to_string())
            }
            Act::Commit => store.commit().map_err(|error| error.to_string()),
        }
    }
}

/// A message to a user.
pub fn message(sequence: u64, from: u32, user: u32, text: &str) -> Message {
    Message {
        user,
        sequence: FIRST + sequence,
        id: sequence as u32,
        from,
        group: 0,
        about: 0,
        image: false,
        priority: 3,
        last: false,
        time: 1_700_000_000_000 + sequence,
        text: text.as_bytes().to_vec(),
    }
}

/// Users of these names, from number 1.
pub fn users(store: &mut Store, names: &[&str]) {
    for (number, name) in (1..).zip(names) {
        store.write(Record::User { number, name: name.as_bytes(), secret: None }).unwrap();
    }
}

/// Waits until it is so, for as long as a slow machine may need.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !so() {
        assert!(std::time::Instant::now() < end, "not within a minute: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Copies a store's files as they are at this moment, as a server that is killed leaves them.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The defaults, with a small reserve.
pub fn options() -> Options {
    Options { reserve: 64 << 10, ..Options::default() }
}

/// Opens a store.
pub fn open(dir: &tempfile::TempDir) -> Store {
    Store::open(dir.path(), &options()).unwrap().0
}

/// The texts of messages.
pub fn texts(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| std::str::from_utf8(&message.text).unwrap()).collect()
}

/// A directory in memory, if there is a place for such with room (a container may have 64 MB): for
/// what is about files, and not about disks.
pub fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    let free = |of: nix::sys::statvfs::Statvfs| of.blocks_available() * of.fragment_size();
    if nix::sys::statvfs::statvfs(shm).is_ok_and(|of| free(of) >= 256 << 20) {
        tempfile::TempDir::new_in(shm).unwrap()
    } else {
        tempfile::TempDir::new().unwrap()
    }
}
