//! What a client can do, and one module per dialect that does it.

mod direct;
mod lanes;
pub mod native;
mod queues;
mod sysv;
mod topics;

use crate::failure::Failure;
use crate::output::{Fate, Output};
use crate::signals::Stop;
use crate::url::{Dialect, Url, checked_name};
use std::fmt;
use std::str::FromStr;

/// Whom a message is for: `@user` or `#group`, without the mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A user, by name or as `~number`.
    User(String),
    /// A group, by name or number.
    Group(String),
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::User(name) => write!(f, "@{name}"),
            To::Group(name) => write!(f, "#{name}"),
        }
    }
}

impl FromStr for To {
    type Err = Failure;

    fn from_str(text: &str) -> Result<To, Failure> {
        match (text.strip_prefix('@'), text.strip_prefix('#')) {
            (Some(user), _) => checked_name(user, "user").map(|()| To::User(user.into())),
            (_, Some(group)) => checked_name(group, "group").map(|()| To::Group(group.into())),
            _ => Err(Failure::Usage(format!(
                "'{text}' is neither @user nor #group (a shell wants '#group' in quotes)"
            ))),
        }
    }
}

/// A group's name or number, typed with or without its `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group(pub String);

impl FromStr for Group {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Group, Failure> {
        let name = text.strip_prefix('#').unwrap_or(text);
        checked_name(name, "group").map(|()| Group(name.into()))
    }
}

/// A user or group of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the exchange's directory, from 1: the same in every dialect. None where the
    /// dialect does not tell it.
    pub number: Option<u32>,
    /// Its name; empty where the dialect does not tell it.
    pub name: String,
}

impl Entry {
    /// An entry of which both is known.
    pub fn new(number: u32, name: String) -> Entry {
        Entry { number: Some(number), name }
    }
}

/// A client of one dialect, not connected yet: each command connects, and logs out.
///
/// A command that a dialect does not have is one that its client does not override. It fails before
/// anything is sent.
pub trait Client {
    /// Which dialect.
    fn dialect(&self) -> Dialect;

    /// The commands that it has, as they are typed.
    fn has(&self) -> &'static [&'static str];

    /// The failure of a command, or a part of one, that the dialect does not have.
    fn lacks(&self, what: &'static str) -> Failure {
        Failure::Lacks { dialect: self.dialect(), what, has: self.has() }
    }

    /// Sends a message; `priority` is 1 (highest) to 5.
    ///
    /// # Errors
    /// Of every method: [`Failure`] says which.
    fn send(&mut self, _to: &To, _text: &[u8], _priority: Option<u8>) -> Result<Fate, Failure> {
        Err(self.lacks("send"))
    }

    /// Prints messages as they come, until it is told to stop. With `groups` only theirs; with
    /// `sync` those that are there already, and ends.
    fn listen(&mut self, _groups: &[Group], _sync: bool) -> Result<(), Failure> {
        Err(self.lacks("listen"))
    }

    /// Who is there.
    fn users(&mut self) -> Result<Vec<Entry>, Failure> {
        Err(self.lacks("users"))
    }

    /// The groups; `mine`: those joined.
    fn groups(&mut self, _mine: bool) -> Result<Vec<Entry>, Failure> {
        Err(self.lacks("groups"))
    }

    /// Who has joined a group.
    fn members(&mut self, _group: &Group) -> Result<Vec<Entry>, Failure> {
        Err(self.lacks("members"))
    }

    /// Makes a group.
    fn create(&mut self, _group: &Group) -> Result<(), Failure> {
        Err(self.lacks("create"))
    }

    /// Joins a group; `count`: for so many messages.
    fn join(&mut self, _group: &Group, _count: Option<u32>) -> Result<(), Failure> {
        Err(self.lacks("join"))
    }

    /// Leaves a group.
    fn leave(&mut self, _group: &Group) -> Result<(), Failure> {
        Err(self.lacks("leave"))
    }

    /// Prints what was said before.
    fn history(&mut self, _of: &To) -> Result<(), Failure> {
        Err(self.lacks("history"))
    }

    /// Shuts the exchange down.
    fn shutdown(&mut self) -> Result<(), Failure> {
        Err(self.lacks("shutdown"))
    }
}

/// The client for a URL. It prints messages to `output`, and ends when `stop` is asked for.
pub fn client<'a>(url: &'a Url, stop: &'a Stop, output: &'a mut Output) -> Box<dyn Client + 'a> {
    match url.dialect {
        Dialect::Direct => Box::new(direct::Direct::new(url, stop, output)),
        Dialect::Native => Box::new(native::Native::new(url, stop, output)),
        Dialect::Queues => Box::new(queues::Queues::new(url, stop, output)),
        Dialect::Lanes => Box::new(lanes::Lanes::new(url, stop, output)),
        Dialect::Topics => Box::new(topics::Topics::new(url, stop, output)),
    }
}

#[cfg(test)]
mod tests;
