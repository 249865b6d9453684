//! What is read of a store, as it is given out.

use crate::key::Key;
use centrala_core::host::{Mail, Posted};
use centrala_core::request::Chat;

/// Whose messages a history is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// A group, by number.
    Group(u32),
    /// The direct messages of two users, by number, in either order; twice the same for what one
    /// wrote to itself. What they say in a private chat about a group is not among them.
    Pair(u32, u32),
    /// The private chat about a group between its owner and a user.
    Private {
        /// Group number.
        group: u32,
        /// User number.
        user: u32,
    },
}

impl Conversation {
    /// A conversation as one of its users names it.
    pub fn of(user: u32, chat: Chat) -> Conversation {
        match chat {
            Chat::Group(group) => Conversation::Group(group),
            Chat::Private { group, user } => Conversation::Private { group, user },
            Chat::Direct(other) => Conversation::Pair(user, other),
        }
    }
}

/// A message that is kept for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMail {
    pub(crate) user: u32,
    pub(crate) sequence: u64,
    pub(crate) id: u32,
    pub(crate) from: u32,
    pub(crate) group: u32,
    pub(crate) about: u32,
    pub(crate) image: bool,
    pub(crate) priority: u8,
    pub(crate) last: bool,
    pub(crate) time: u64,
    pub(crate) text: Box<[u8]>,
}

impl KeptMail {
    /// As core's record of it.
    pub fn record(&self) -> Mail<'_> {
        let KeptMail { user, sequence, id, from, group, about, image, .. } = *self;
        let KeptMail { priority, last, time, ref text, .. } = *self;
        Mail { user, sequence, id, from, group, about, image, priority, last, time, text }
    }
}

/// Some of what is kept for a user, in the order in which it is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailPage {
    /// By priority, then by sequence.
    pub mail: Vec<KeptMail>,
    /// Where the next page begins; `None` if this is the last.
    pub next: Option<(u8, u64)>,
    /// Messages left out of this page because they are damaged.
    pub damaged: u32,
}

/// A message of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMessage {
    pub(crate) sequence: u64,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) group: u32,
    pub(crate) about: u32,
    pub(crate) image: bool,
    pub(crate) priority: u8,
    pub(crate) time: u64,
    pub(crate) text: Box<[u8]>,
}

impl KeptMessage {
    /// As core's record of it. The sender is 0 if it is gone.
    pub fn record(&self) -> Posted<'_> {
        let KeptMessage { sequence, from, to, group, about, image, priority, time, ref text } =
            *self;
        Posted { sequence, from, to, group, about, image, priority, time, text }
    }

    pub(crate) fn key(&self) -> Option<Key> {
        Key::of(self.from, self.to, self.group, self.about)
    }
}

impl From<&Posted<'_>> for KeptMessage {
    fn from(posted: &Posted<'_>) -> KeptMessage {
        let Posted { sequence, from, to, group, about, image, priority, time, text } = *posted;
        let text = text.into();
        KeptMessage { sequence, from, to, group, about, image, priority, time, text }
    }
}

/// Some of a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryPage {
    /// The newest of those asked for, oldest first.
    pub messages: Vec<KeptMessage>,
    /// Where the page of older ones ends (its `before`); `None` if there are none.
    pub before: Option<u64>,
    /// Messages left out of this page because they are damaged.
    pub damaged: u32,
}
