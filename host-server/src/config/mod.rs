//! The configuration: what the file may say, which values it may have, and what holds without one.
//!
//! Without a file every dialect runs on its default address. With one, only those run that have a
//! section in it; everything else is optional. What is wrong is one line that names the file, the
//! line, the key and what is allowed ([`Error`]).
//!
//! | key                               | allowed                                    | default          |
//! |-----------------------------------|--------------------------------------------|------------------|
//! | `data`                            | a directory, `":memory:"`                  | see [`Data`]     |
//! | `durability`                      | `"commit"`, `"interval"`                   | `"commit"`       |
//! | `interval`                        | 1 to 60,000 (milliseconds)                 | 100              |
//! | `limits.users`                    | 1 to 1,000,000                             | 4096             |
//! | `limits.clients`                  | 1 to 100,000                               | 1024             |
//! | `limits.topics`                   | 1 to 1,000,000                             | 256              |
//! | `limits.memberships`              | 1 to 10,000,000                            | 16384            |
//! | `limits.chats`                    | 1 to 10,000,000                            | 4096             |
//! | `limits.messages`                 | 1 to 1,000,000                             | 16384            |
//! | `limits.copies`                   | 1 to 10,000,000                            | 2 * `messages`   |
//! | `limits.mailbox`                  | 1 to 1,000,000                             | 1024             |
//! | `limits.mail`                     | 1 to 1,000,000,000                         | 1,000,000        |
//! | `limits.mail_per_user`            | 1 to 1,000,000,000                         | 100,000          |
//! | `limits.history`                  | 1 to 1,000,000,000                         | 1,000,000        |
//! | `limits.message_length`           | 1 to 1024                                  | 1024             |
//! | `limits.questions`                | 1 to 1024                                  | 64               |
//! | `accounts.registration`           | `"open"`, `"closed"`                       | `"open"`         |
//! | `accounts.registrations_per_minute` | 1 to 60,000                              | 10               |
//! | `direct.listen`                   | address and port                           | `127.0.0.1:4810` |
//! | `native.listen`                   | address and port                           | `127.0.0.1:4811` |
//! | `native.shutdown`                 | `"allow"`, `"deny"`                        | `"deny"`         |
//! | `rooms.listen`                    | address and port                           | `127.0.0.1:4880` |
//! | `rooms.public`                    | `true` where other machines reach `listen` | `false`          |
//! | `rooms.origins`                   | list of origins, `"https://example.org"`   | none             |
//! | `rooms.events_per_second`         | 1 to 100,000, for each session; what comes faster waits, and a flood ends the socket | 50 |
//! | `rooms.burst`                     | 1 to 100,000 (events)                      | 200              |
//! | `rooms.buffer`                    | 65,536 to 1,073,741,824 (bytes)            | 4,194,304        |
//! | `rooms.images`                    | 1 to 1,048,576 (MiB)                       | 1024             |
//! | `topics.key`                      | 1 to 2,147,483,647                         | 12345            |
//! | `topics.mode`                     | octal, in quotes, without execution        | `"0600"`         |
//! | `topics.clients`                  | 1 to `limits.clients`                      | 20               |
//! | `topics.topics`                   | 1 to `limits.topics`                       | 20               |
//! | `topics.shutdown`                 | `"allow"`, `"deny"`                        | `"allow"`        |
//! | `queues.key`                      | 1 to 2,147,483,647                         | 99999            |
//! | `queues.mode`                     | octal, in quotes, without execution        | `"0600"`         |
//! | `lanes.key`                       | 1 to 2,147,483,647                         | 6661             |
//! | `lanes.mode`                      | octal, in quotes, without execution        | `"0600"`         |
//! | `lanes.users`                     | 1 to 99                                    | 32               |
//! | `lanes.groups`                    | 1 to 49                                    | 16               |
//! | `lanes.directory`                 | path of a file                             | `basic.txt` in `$XDG_STATE_HOME/centrala` |

mod rooms;
mod value;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

pub use rooms::Rooms;

/// What `limits.message_length` may be at most.
pub const LONGEST_TEXT: i64 = 1024;

/// All that the server is told.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the server keeps its files.
    pub data: Data,
    /// When what was acknowledged is on the disk.
    pub durability: Durability,
    /// Milliseconds after which it is, at the latest, with [`Durability::Interval`].
    #[serde(deserialize_with = "value::whole::<1, 60_000, _, _>")]
    pub interval: u16,
    /// How much it has room for.
    pub limits: Limits,
    /// Who may log in.
    pub accounts: Accounts,
    /// The dialect `direct`, if it runs.
    pub direct: Option<Direct>,
    /// The dialect `native`, if it runs.
    pub native: Option<Native>,
    /// The dialect `rooms`, if it runs.
    pub rooms: Option<Rooms>,
    /// The dialect `topics`, if it runs.
    pub topics: Option<Topics>,
    /// The dialect `queues`, if it runs.
    pub queues: Option<Queues>,
    /// The dialect `lanes`, if it runs.
    pub lanes: Option<Lanes>,
}

/// Where the server keeps what outlasts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Data {
    /// In `centrala` under `$XDG_STATE_HOME`, or under `~/.local/state` where that is not set.
    #[default]
    State,
    /// In this directory.
    Directory(PathBuf),
    /// Nowhere: all is gone when it ends.
    Memory,
}

impl Data {
    /// The directory, unless nothing is kept.
    ///
    /// # Errors
    /// The environment names no place for it.
    pub fn directory(&self) -> Result<Option<PathBuf>, Error> {
        // A relative path there is to be ignored, says the specification of these variables.
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        match self {
            Data::Memory => Ok(None),
            Data::Directory(directory) => Ok(Some(directory.clone())),
            Data::State => absolute("XDG_STATE_HOME")
                .or_else(|| Some(absolute("HOME")?.join(".local/state")))
                .map(|state| Some(state.join("centrala")))
                .ok_or_else(|| {
                    Error(
                        "data: neither XDG_STATE_HOME nor HOME is set: name a directory, or \
                         \":memory:\""
                            .into(),
                    )
                }),
        }
    }
}

/// When what was acknowledged is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Before the acknowledgement leaves.
    Commit,
    /// A while later ([`Config::interval`]): a power cut loses what was acknowledged within it.
    Interval,
}

/// How much the server has room for. It allocates all of it when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Users that there may be, whether they are logged in or not.
    #[serde(deserialize_with = "value::whole::<1, 1_000_000, _, _>")]
    pub users: u32,
    /// Sessions at once, of all dialects together.
    #[serde(deserialize_with = "value::whole::<1, 100_000, _, _>")]
    pub clients: u32,
    /// Groups that there may be.
    #[serde(deserialize_with = "value::whole::<1, 1_000_000, _, _>")]
    pub topics: u32,
    /// Memberships of all users in all groups.
    #[serde(deserialize_with = "value::whole::<1, 10_000_000, _, _>")]
    pub memberships: u32,
    /// Private chats about groups.
    #[serde(deserialize_with = "value::whole::<1, 10_000_000, _, _>")]
    pub chats: u32,
    /// Messages in memory that wait for somebody.
    #[serde(deserialize_with = "value::whole::<1, 1_000_000, _, _>")]
    pub messages: u32,
    /// Copies of waiting messages, one for each user that one waits for. 0, the default, is twice
    /// `messages`.
    #[serde(deserialize_with = "value::whole::<1, 10_000_000, _, _>")]
    pub copies: u32,
    /// Messages that may wait for one user in memory: beyond it only the store has them.
    #[serde(deserialize_with = "value::whole::<1, 1_000_000, _, _>")]
    pub mailbox: u32,
    /// Messages that may wait for all users together, in the store.
    #[serde(deserialize_with = "value::whole::<1, 1_000_000_000, _, _>")]
    pub mail: u32,
    /// Messages that may wait for one user, in the store.
    #[serde(deserialize_with = "value::whole::<1, 1_000_000_000, _, _>")]
    pub mail_per_user: u32,
    /// Messages of all histories that the store keeps: the newest.
    #[serde(deserialize_with = "value::whole::<1, 1_000_000_000, _, _>")]
    pub history: u32,
    /// Bytes of the longest text.
    #[serde(deserialize_with = "value::whole::<1, LONGEST_TEXT, _, _>")]
    pub message_length: u32,
    /// Passwords being checked at once.
    #[serde(deserialize_with = "value::whole::<1, 1024, _, _>")]
    pub questions: u32,
}

impl Limits {
    /// [`Limits::copies`], its default put in.
    pub fn copies(&self) -> u32 {
        match self.copies {
            0 => self.messages.saturating_mul(2),
            copies => copies,
        }
    }
}

/// Who may log in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Accounts {
    /// Whether the first log-in under an unknown name makes a user of that name.
    pub registration: Registration,
    /// How many a minute, in each dialect.
    #[serde(deserialize_with = "value::whole::<1, 60_000, _, _>")]
    pub registrations_per_minute: u16,
}

/// Whether the first log-in under an unknown name makes a user of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// It does.
    Open,
    /// It is refused.
    Closed,
}

/// The dialect `direct`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Direct {
    /// Where it listens. Port 0 takes one that is free.
    #[serde(deserialize_with = "value::address")]
    pub listen: SocketAddr,
}

/// The dialect `native`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Native {
    /// Where it listens. Port 0 takes one that is free.
    #[serde(deserialize_with = "value::address")]
    pub listen: SocketAddr,
    /// Whether its clients may end the server.
    pub shutdown: Shutdown,
}

/// The dialect `topics`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topics {
    /// Key of the server's queue.
    #[serde(deserialize_with = "value::whole::<1, 2_147_483_647, _, _>")]
    pub key: i32,
    /// Permission bits of the server's queue.
    #[serde(deserialize_with = "value::mode")]
    pub mode: u16,
    /// Sessions at once (`CLIENTS_NR`).
    #[serde(deserialize_with = "value::whole::<1, 100_000, _, _>")]
    pub clients: u32,
    /// Groups that its clients can see (`TOPICS_NR`).
    #[serde(deserialize_with = "value::whole::<1, 1_000_000, _, _>")]
    pub topics: u32,
    /// Whether its clients may end the server.
    pub shutdown: Shutdown,
}

/// The dialect `queues`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queues {
    /// Key of the server's queue.
    #[serde(deserialize_with = "value::whole::<1, 2_147_483_647, _, _>")]
    pub key: i32,
    /// Permission bits of the server's queue.
    #[serde(deserialize_with = "value::mode")]
    pub mode: u16,
}

/// The dialect `lanes`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Key of the queue that all share.
    #[serde(deserialize_with = "value::whole::<1, 2_147_483_647, _, _>")]
    pub key: i32,
    /// Permission bits of that queue.
    #[serde(deserialize_with = "value::mode")]
    pub mode: u16,
    /// Users that have a lane: numbers 1 to this.
    #[serde(deserialize_with = "value::whole::<1, 99, _, _>")]
    pub users: u32,
    /// Groups that its clients can address: numbers 1 to this.
    #[serde(deserialize_with = "value::whole::<1, 49, _, _>")]
    pub groups: u32,
    /// The file of names that its clients read (`basic.txt`).
    pub directory: Option<PathBuf>,
}

impl Lanes {
    /// [`Lanes::directory`], its default put in: where the user's programs keep their state, or
    /// else where the server was started.
    pub fn names_file(&self) -> PathBuf {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let state = || absolute("XDG_STATE_HOME").or(Some(absolute("HOME")?.join(".local/state")));
        let default = || state().map(|state| state.join("centrala")).unwrap_or_default();
        self.directory.clone().unwrap_or_else(|| default().join("basic.txt"))
    }
}

/// Whether clients may end the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shutdown {
    /// They may.
    Allow,
    /// Their requests to do so are dropped and counted.
    Deny,
}

impl Default for Config {
    /// No dialect: what a file without sections says.
    fn default() -> Config {
        Config {
            data: Data::default(),
            durability: Durability::Commit,
            interval: 100,
            limits: Limits::default(),
            accounts: Accounts::default(),
            direct: None,
            native: None,
            rooms: None,
            topics: None,
            queues: None,
            lanes: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            users: 4096,
            clients: 1024,
            topics: 256,
            memberships: 16384,
            chats: 4096,
            messages: 16384,
            copies: 0,
            mailbox: 1024,
            mail: 1_000_000,
            mail_per_user: 100_000,
            history: 1_000_000,
            message_length: 1024,
            questions: 64,
        }
    }
}

impl Default for Accounts {
    fn default() -> Accounts {
        Accounts { registration: Registration::Open, registrations_per_minute: 10 }
    }
}

impl Default for Direct {
    fn default() -> Direct {
        Direct { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4810)) }
    }
}

impl Default for Native {
    /// Whoever is on the machine can connect: they may not end the server.
    fn default() -> Native {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 4811));
        Native { listen, shutdown: Shutdown::Deny }
    }
}

impl Default for Topics {
    fn default() -> Topics {
        Topics { key: 12345, mode: 0o600, clients: 20, topics: 20, shutdown: Shutdown::Allow }
    }
}

impl Default for Queues {
    fn default() -> Queues {
        Queues { key: 99999, mode: 0o600 }
    }
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes { key: 6661, mode: 0o600, users: 32, groups: 16, directory: None }
    }
}

/// What is wrong with a configuration: one line for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Error {}

impl Config {
    /// Every dialect on its default address.
    pub fn every_dialect() -> Config {
        Config {
            direct: Some(Direct::default()),
            native: Some(Native::default()),
            rooms: Some(Rooms::default()),
            topics: Some(Topics::default()),
            queues: Some(Queues::default()),
            lanes: Some(Lanes::default()),
            ..Config::default()
        }
    }

    /// Reads a file and checks it.
    ///
    /// # Errors
    /// The file cannot be read, or something in it is wrong.
    pub fn load(path: &Path) -> Result<Config, Error> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| Error(format!("{name}: {e}")))?;
        Config::parse(&text, &name)
    }

    /// Takes the text of a file, whose name is for errors.
    ///
    /// # Errors
    /// Something in it is wrong.
    pub fn parse(text: &str, name: &str) -> Result<Config, Error> {
        let mut config: Config =
            toml::from_str(text).map_err(|e| Error(value::one_line(&e, text, name)))?;
        let wrong = |what: String| Err(Error(format!("{name}: {what}")));
        let sockets = config.direct.is_some() || config.native.is_some() || config.rooms.is_some();
        if !sockets && config.keys().next().is_none() {
            return wrong(
                "no dialect has a section: [direct], [native], [rooms], [topics], [queues] or \
                 [lanes] is \
                 needed"
                    .into(),
            );
        }
        if let Some(what) = config.rooms.as_ref().and_then(Rooms::wrong) {
            return wrong(what);
        }
        for (name, key) in config.keys() {
            if let Some((other, _)) = config.keys().find(|(n, k)| *n < name && *k == key) {
                return wrong(format!(
                    "{name}.key: {key} is {other}.key too: each needs a key of its own"
                ));
            }
        }
        let limits = &config.limits;
        if let Some(topics) = &mut config.topics {
            // A default gives way to a limit that was set below it; what was written does not.
            let default = Topics::default();
            for (key, value, default, limit, most) in [
                ("clients", &mut topics.clients, default.clients, "clients", limits.clients),
                ("topics", &mut topics.topics, default.topics, "topics", limits.topics),
            ] {
                if *value == default {
                    *value = default.min(most);
                } else if *value > most {
                    return wrong(format!(
                        "topics.{key}: {value} is more than limits.{limit}: 1 to {most} is allowed"
                    ));
                }
            }
        }
        Ok(config)
    }

    /// How the store is opened. `quarantine`: a damaged file may be moved aside.
    pub fn store_options(&self, quarantine: bool) -> centrala_store::Options {
        let interval = Duration::from_millis(self.interval.into());
        centrala_store::Options {
            durability: match self.durability {
                Durability::Commit => centrala_store::Durability::Commit,
                Durability::Interval => centrala_store::Durability::Interval(interval),
            },
            limits: centrala_store::Limits {
                mailbox: self.limits.mail_per_user,
                mail: self.limits.mail.into(),
            },
            retention: centrala_store::Retention {
                messages: Some(self.limits.history.into()),
                age: None,
            },
            quarantine,
            ..centrala_store::Options::default()
        }
    }

    /// The dialects that run with a queue of the server's, and its key.
    pub fn keys(&self) -> impl Iterator<Item = (&'static str, i32)> {
        let keys = [
            ("topics", self.topics.as_ref().map(|topics| topics.key)),
            ("queues", self.queues.as_ref().map(|queues| queues.key)),
            ("lanes", self.lanes.as_ref().map(|lanes| lanes.key)),
        ];
        keys.into_iter().filter_map(|(name, key)| Some((name, key?)))
    }

    /// The limits of the exchange.
    pub fn exchange_limits(&self) -> centrala_core::limits::Limits {
        use centrala_core::limits;
        let mut limits = limits::Limits::new(self.limits.message_length as usize);
        limits.mailbox = self.limits.mailbox;
        limits.registration = match self.accounts.registration {
            Registration::Closed => limits::Registration::Closed,
            Registration::Open => {
                let per_minute = self.accounts.registrations_per_minute;
                limits::Registration::Open { per_minute }
            }
        };
        if let Some(topics) = &self.topics {
            limits.topics = limits::Topics { clients: topics.clients, topics: topics.topics };
        }
        if let Some(lanes) = &self.lanes {
            limits.lanes = limits::Lanes { users: lanes.users, groups: lanes.groups };
        }
        limits
    }
}

#[cfg(test)]
mod tests;
