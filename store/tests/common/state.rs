//! What a store does hold, as it is read.

use super::Message;
use super::model::{chats_of, conversations};
use centrala_core::host::Count;
use centrala_store::{Conversation, Error, Options, Reader, Restored, Store, wait};
use std::collections::BTreeMap;
use std::path::Path;

/// All that can be read of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub users: Vec<(u32, Vec<u8>, Option<String>)>,
    pub groups: Vec<(u32, Vec<u8>, u32)>,
    pub members: Vec<(u32, u32, i32)>,
    pub sessions: Vec<(u8, i64, u32)>,
    pub counters: Vec<(u8, u32, u64)>,
    /// By user, then in the order in which it is due.
    pub mail: Vec<Message>,
    pub history: BTreeMap<String, Vec<Message>>,
    pub chats: Vec<(u32, u32)>,
    /// The hashes of images.
    pub images: Vec<[u8; 32]>,
    /// For each user: its conversations, all messages, and new ones.
    pub counts: BTreeMap<u32, Vec<(String, u64, u64)>>,
}

impl State {
    /// Reads it, in pages of a few messages.
    pub fn of(restored: &Restored, reader: &Reader) -> Result<State, Error> {
        let mut state = State {
            users: restored
                .users
                .iter()
                .map(|user| (user.number, user.name.clone(), user.password.clone()))
                .collect(),
            groups: restored
                .groups
                .iter()
                .map(|group| (group.number, group.name.clone(), group.owner))
                .collect(),
            members: restored.memberships.iter().map(|m| (m.user, m.group, m.left)).collect(),
            sessions: restored.sessions.iter().map(|s| (s.dialect, s.address, s.user)).collect(),
            counters: restored.counters.iter().map(|c| (c.kind, c.key, c.value)).collect(),
            mail: Vec::new(),
            history: BTreeMap::new(),
            chats: restored.chats.iter().map(|chat| (chat.group, chat.user)).collect(),
            images: hashes(reader)?,
            counts: BTreeMap::new(),
        };
        for waiting in &restored.mail {
            state.mail.extend(mail(reader, waiting.user, 7)?);
        }
        let users: Vec<u32> = restored.users.iter().map(|user| user.number).collect();
        let groups: Vec<u32> = restored.groups.iter().map(|group| group.number).collect();
        let owners: Vec<_> = restored.groups.iter().map(|g| (g.number, g.owner)).collect();
        for user in &users {
            let chats = chats_of(*user, &owners, &state.chats);
            let counts = wait(|answer| reader.counts(*user, chats, answer))?;
            let counts = counts.into_iter();
            let counts = counts.map(|Count { chat, all, new }| (format!("{chat:?}"), all, new));
            state.counts.insert(*user, counts.collect());
        }
        for of in conversations(&users, &groups, &state.chats) {
            let lines = history(reader, of, 5)?;
            if !lines.is_empty() {
                state.history.insert(format!("{of:?}"), lines);
            }
        }
        Ok(state)
    }

    /// What only one of them has, in a few lines.
    pub fn difference(&self, other: &State) -> String {
        fn lines<T: std::fmt::Debug + PartialEq>(what: &str, a: &[T], b: &[T]) -> String {
            let only = |a: &[T], b: &[T]| -> Vec<String> {
                let only = a.iter().filter(|item| !b.contains(item));
                only.take(5).map(|item| format!("{item:?}")).collect()
            };
            if a == b {
                return String::new();
            }
            let (a, b) = (only(a, b).join(" "), only(b, a).join(" "));
            format!("{what}: only left: {a}; only right: {b} (or another order)\n")
        }
        let history = |state: &State| -> Vec<String> {
            state.history.iter().map(|(of, messages)| format!("{of} {messages:?}")).collect()
        };
        let counts = |state: &State| -> Vec<String> {
            state.counts.iter().map(|(user, counts)| format!("{user} {counts:?}")).collect()
        };
        [
            lines("users", &self.users, &other.users),
            lines("groups", &self.groups, &other.groups),
            lines("members", &self.members, &other.members),
            lines("sessions", &self.sessions, &other.sessions),
            lines("counters", &self.counters, &other.counters),
            lines("mail", &self.mail, &other.mail),
            lines("history", &history(self), &history(other)),
            lines("chats", &self.chats, &other.chats),
            lines("images", &self.images, &other.images),
            lines("counts", &counts(self), &counts(other)),
        ]
        .concat()
    }

    /// Opens a store, reads all of it, and closes it.
    pub fn read(dir: &Path, options: &Options) -> Result<State, Error> {
        let (store, restored) = Store::open(dir, options)?;
        State::of(&restored, &store.reader())
    }
}

/// All mail of a user, by pages.
pub fn mail(reader: &Reader, user: u32, limit: u32) -> Result<Vec<Message>, Error> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = wait(|answer| reader.mail_page(user, after, limit, answer))?;
        all.extend(page.mail.iter().map(Message::of_mail));
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// All hashes of images, by pages.
pub fn hashes(reader: &Reader) -> Result<Vec<[u8; 32]>, Error> {
    let mut all: Vec<[u8; 32]> = Vec::new();
    loop {
        let page = wait(|answer| reader.image_hashes(all.last().copied(), answer))?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// All of a history, oldest first, by pages.
pub fn history(reader: &Reader, of: Conversation, limit: u32) -> Result<Vec<Message>, Error> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = wait(|answer| reader.history(of, before, limit, answer))?;
        let lines = page.messages.iter().map(|line| Message::of_posted(line.record()));
        all.splice(0..0, lines);
        before = page.before;
        if before.is_none() {
            return Ok(all);
        }
    }
}

/// Both are the same.
#[track_caller]
pub fn same(left: &State, right: &State) {
    assert!(left == right, "{}", left.difference(right));
}
