//! What a store should hold, act by act.

use super::state::State;
use super::{Act, Message, image};
use centrala_core::host::FORMER_GROUP;
use centrala_core::request::Chat;
use centrala_store::Conversation;
use std::collections::{BTreeMap, BTreeSet};

type Named = (Vec<u8>, u64);

/// What a store should hold.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub users: BTreeMap<u32, Named>,
    pub groups: BTreeMap<u32, (Named, u32)>,
    pub members: BTreeMap<(u32, u32), i32>,
    pub passwords: BTreeMap<u32, String>,
    pub sessions: BTreeMap<(u8, i64), u32>,
    pub counters: BTreeMap<(u8, u32), u64>,
    pub log: BTreeMap<u64, Message>,
    pub mail: BTreeMap<(u32, u8, u64), Message>,
    pub chats: BTreeSet<(u32, u32)>,
    pub seen: BTreeMap<(u32, String), u64>,
}

impl Model {
    /// Applies it; whether all so far is durable when it is done.
    pub fn apply(&mut self, act: &Act) -> bool {
        let newest = self.log.keys().next_back().copied().unwrap_or(0);
        match act.clone() {
            Act::User(number, name) => {
                self.users.insert(number, (name, newest));
                true
            }
            Act::NoUser(number) => {
                self.users.remove(&number);
                self.passwords.remove(&number);
                self.members.retain(|(user, _), _| *user != number);
                self.mail.retain(|(user, ..), _| *user != number);
                self.sessions.retain(|_, user| *user != number);
                self.seen.retain(|(user, _), _| *user != number);
                let owner = |group: &u32| self.groups.get(group).map_or(0, |group| group.1);
                self.chats.retain(|(group, user)| *user != number && owner(group) != number);
                for (_, owner) in self.groups.values_mut().filter(|(_, owner)| *owner == number) {
                    *owner = 0;
                }
                for mail in self.mail.values_mut().filter(|mail| mail.from == number) {
                    mail.from = 0;
                }
                true
            }
            Act::Group(number, name, owner) => {
                self.groups.insert(number, ((name, newest), owner));
                true
            }
            Act::NoGroup(number) => {
                self.groups.remove(&number);
                self.members.retain(|(_, group), _| *group != number);
                self.chats.retain(|(group, _)| *group != number);
                for mail in self.mail.values_mut().filter(|mail| mail.group == number) {
                    mail.group = FORMER_GROUP;
                }
                true
            }
            Act::Chat(group, user) => {
                self.chats.insert((group, user));
                true
            }
            Act::Seen(user, chat, sequence) => {
                let seen = self.seen.entry((user, format!("{chat:?}"))).or_default();
                *seen = (*seen).max(sequence);
                false
            }
            Act::Member(user, group, left) => self.members.insert((user, group), left).is_none(),
            Act::NoMember(user, group) => self.members.remove(&(user, group)) != Some(1),
            Act::Posted(message) => {
                let message = Message { id: 0, last: false, ..message };
                self.log.insert(message.sequence, message);
                false
            }
            Act::Mail(mail) => {
                self.mail.insert((mail.user, mail.priority, mail.sequence), mail);
                false
            }
            Act::Settled(user, sequence) => {
                self.mail.retain(|(of, _, s), _| (*of, *s) != (user, sequence));
                false
            }
            Act::Password(user, hash) => {
                match hash {
                    Some(hash) => self.passwords.insert(user, hash),
                    None => self.passwords.remove(&user),
                };
                true
            }
            Act::Session(dialect, address, 0) => {
                self.sessions.remove(&(dialect, address));
                false
            }
            Act::Session(dialect, address, user) => {
                self.sessions.insert((dialect, address), user);
                false
            }
            Act::Counter(kind, key, value) => {
                self.counters.insert((kind, key), value);
                false
            }
            Act::Commit => true,
        }
    }

    /// The users and groups that there are.
    pub fn numbers(&self) -> (Vec<u32>, Vec<u32>) {
        (self.users.keys().copied().collect(), self.groups.keys().copied().collect())
    }

    /// What a reading of a store that holds it is.
    pub fn state(&self) -> State {
        let (users, groups) = self.numbers();
        let mut state = State {
            users: self
                .users
                .iter()
                .map(|(n, (name, _))| (*n, name.clone(), self.passwords.get(n).cloned()))
                .collect(),
            groups: self
                .groups
                .iter()
                .map(|(n, ((name, _), owner))| (*n, name.clone(), *owner))
                .collect(),
            members: self.members.iter().map(|((u, g), left)| (*u, *g, *left)).collect(),
            sessions: self.sessions.iter().map(|((d, a), user)| (*d, *a, *user)).collect(),
            counters: self.counters.iter().map(|((k, n), value)| (*k, *n, *value)).collect(),
            mail: self.mail.values().cloned().collect(),
            history: BTreeMap::new(),
            chats: self.chats.iter().copied().collect(),
            images: self.log.values().filter_map(image).map(|image| image.hash).collect(),
            counts: BTreeMap::new(),
        };
        state.images.sort_unstable();
        for mail in state.mail.iter_mut().filter(|mail| mail.about != 0) {
            let since = self.groups.get(&mail.about).map_or(u64::MAX, |group| group.0.1);
            mail.about = if mail.sequence > since { mail.about } else { 0 };
        }
        for user in &users {
            state.counts.insert(*user, self.counts(*user));
        }
        for of in conversations(&users, &groups, &state.chats) {
            let lines = self.log.values().filter(|m| self.is_in(of, m)).map(|message| {
                let gone = self.users.get(&message.from).is_none_or(|u| u.1 >= message.sequence);
                Message { from: if gone { 0 } else { message.from }, ..message.clone() }
            });
            let lines: Vec<_> = lines.collect();
            if !lines.is_empty() {
                state.history.insert(format!("{of:?}"), lines);
            }
        }
        state
    }

    fn is_in(&self, of: Conversation, message: &Message) -> bool {
        let younger = |since: Option<u64>| since.is_some_and(|since| message.sequence > since);
        match of {
            Conversation::Group(group) => {
                message.group == group && younger(self.groups.get(&group).map(|g| g.0.1))
            }
            Conversation::Private { group, user } => {
                let owner = self.groups.get(&group).map_or(0, |group| group.1);
                owner != 0
                    && message.about == group
                    && younger(self.groups.get(&group).map(|g| g.0.1))
                    && self.is_in(
                        Conversation::Pair(owner, user),
                        &Message { about: 0, ..message.clone() },
                    )
            }
            Conversation::Pair(a, b) => {
                (message.group, message.about) == (0, 0)
                    && [(a, b), (b, a)].contains(&(message.from, message.user))
                    && younger(self.users.get(&a).map(|user| user.1))
                    && younger(self.users.get(&b).map(|user| user.1))
            }
        }
    }
}

/// The conversations that the counts of a user are asked for.
pub fn chats_of(user: u32, groups: &[(u32, u32)], chats: &[(u32, u32)]) -> Vec<Chat> {
    let owner = |of| groups.iter().find(|(group, _)| *group == of).map_or(0, |group| group.1);
    let private = chats.iter().filter(|(group, with)| *with == user || owner(*group) == user);
    let private = private.map(|(group, user)| Chat::Private { group: *group, user: *user });
    groups.iter().map(|(group, _)| Chat::Group(*group)).chain(private).collect()
}

impl Model {
    fn counts(&self, user: u32) -> Vec<(String, u64, u64)> {
        let groups: Vec<_> =
            self.groups.iter().map(|(group, (_, owner))| (*group, *owner)).collect();
        let chats: Vec<_> = self.chats.iter().copied().collect();
        let mut counts = Vec::new();
        let since = self.users.get(&user).map_or(u64::MAX, |user| user.1);
        let given = chats_of(user, &groups, &chats);
        let direct: Vec<_> = self.users.keys().map(|other| Chat::Direct(*other)).collect();
        for chat in given.iter().chain(&direct) {
            let of = Conversation::of(user, *chat);
            let seen = |chat: Option<Chat>| self.seen.get(&(user, format!("{chat:?}"))).copied();
            let mut mark = seen(Some(*chat)).unwrap_or(0);
            if matches!(chat, Chat::Direct(_)) {
                mark = mark.max(seen(None).unwrap_or(0));
            }
            let all: Vec<_> = self.log.values().filter(|message| self.is_in(of, message)).collect();
            let own = |m: &&&Message| m.from == user && m.sequence > since;
            let new = all.iter().filter(|m| m.sequence > mark && !own(m)).count();
            if !all.is_empty() || !matches!(chat, Chat::Direct(_)) {
                counts.push((format!("{chat:?}"), all.len() as u64, new as u64));
            }
        }
        counts
    }
}

pub fn conversations(users: &[u32], groups: &[u32], chats: &[(u32, u32)]) -> Vec<Conversation> {
    let private =
        chats.iter().map(|(group, user)| Conversation::Private { group: *group, user: *user });
    let pairs = users
        .iter()
        .flat_map(|a| users.iter().filter(move |b| a <= b).map(|b| Conversation::Pair(*a, *b)));
    groups.iter().map(|group| Conversation::Group(*group)).chain(pairs).chain(private).collect()
}
