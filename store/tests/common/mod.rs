//! What the tests of the store share: a script of changes from a seed, a model of what a store
//! should then hold, and a reading of what one does hold.

#![allow(dead_code)] // Each test file uses a part of it.

use centrala_core::host::{Count, Mail, Posted, Record, Store as _};
use centrala_core::request::Chat;
use centrala_store::{
    Conversation, Error, Image, KeptMail, Options, Reader, Restored, Store, wait,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Where core begins to count messages; what was handed back is below it.
pub const FIRST: u64 = 1 << 62;

/// xorshift64*: the same numbers everywhere, for ever.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

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

type Named = (Vec<u8>, u64);

/// What a store should hold.
#[derive(Clone, Debug, Default)]
pub struct Model {
    users: BTreeMap<u32, Named>,
    groups: BTreeMap<u32, (Named, u32)>,
    members: BTreeMap<(u32, u32), i32>,
    passwords: BTreeMap<u32, String>,
    sessions: BTreeMap<(u8, i64), u32>,
    counters: BTreeMap<(u8, u32), u64>,
    log: BTreeMap<u64, Message>,
    mail: BTreeMap<(u32, u8, u64), Message>,
    chats: BTreeSet<(u32, u32)>,
    seen: BTreeMap<(u32, String), u64>,
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
fn chats_of(user: u32, groups: &[(u32, u32)], chats: &[(u32, u32)]) -> Vec<Chat> {
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

/// Both are the same.
#[track_caller]
pub fn same(left: &State, right: &State) {
    assert!(left == right, "{}", left.difference(right));
}

fn conversations(users: &[u32], groups: &[u32], chats: &[(u32, u32)]) -> Vec<Conversation> {
    let private =
        chats.iter().map(|(group, user)| Conversation::Private { group: *group, user: *user });
    let pairs = users
        .iter()
        .flat_map(|a| users.iter().filter(move |b| a <= b).map(|b| Conversation::Pair(*a, *b)));
    groups.iter().map(|group| Conversation::Group(*group)).chain(pairs).chain(private).collect()
}

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

/// A script of so many acts, as an exchange might write them: the last one is a commit.
pub fn script(seed: u64, acts: usize) -> Vec<Act> {
    let (mut random, mut model, mut script) = (Random::new(seed), Model::default(), Vec::new());
    let (mut sequence, mut returned, mut time) = (FIRST, FIRST, 1_700_000_000_000);
    while script.len() < acts {
        let (users, groups) = model.numbers();
        let mut pick = |of: &[u32]| of[random.below(of.len() as u64) as usize];
        let mut next = Vec::new();
        if users.len() < 3 || groups.len() < 2 {
            let number = (1..).find(|n| !users.contains(n)).unwrap();
            next.push(Act::User(number, format!("user {number} {}", script.len()).into_bytes()));
            let number = (1..).find(|n| !groups.contains(n)).unwrap();
            let name = format!("group {number} {}", script.len()).into_bytes();
            next.push(Act::Group(number, name, users.first().copied().unwrap_or(0)));
        } else {
            let (user, other, group) = (pick(&users), pick(&users), pick(&groups));
            let chats: Vec<_> = model.chats.iter().copied().collect();
            let chat = match chats.len() as u64 {
                0 => None,
                len => Some(chats[random.below(len) as usize]),
            };
            let long = random.one_in(6);
            let length = random.below(if long { 6000 } else { 200 }) as usize;
            let text: Vec<u8> =
                (0..length).map(|i| b'a' + ((i * 7 + script.len()) % 26) as u8).collect();
            time += random.below(1000);
            let mut message = Message {
                user,
                sequence,
                id: random.below(1000) as u32,
                from: other,
                group: 0,
                about: 0,
                image: random.one_in(5),
                priority: 1 + random.below(5) as u8,
                last: random.one_in(9),
                time,
                text,
            };
            let mut user_seen = user;
            match random.below(100) {
                0..30 => {
                    sequence += 1;
                    message.sequence = sequence;
                    if let Some((group, with)) = chat.filter(|_| length.is_multiple_of(3)) {
                        let owner = model.groups[&group].1;
                        (message.user, message.from) =
                            if length.is_multiple_of(2) { (owner, with) } else { (with, owner) };
                        message.about = group;
                    }
                    next.push(Act::Posted(message.clone()));
                    if !random.one_in(3) {
                        next.push(Act::Mail(message));
                    }
                }
                30..50 => {
                    sequence += 1;
                    (message.sequence, message.group) = (sequence, group);
                    next.push(Act::Posted(Message { user: 0, ..message.clone() }));
                    for user in users {
                        if !random.one_in(4) {
                            next.push(Act::Mail(Message { user, ..message.clone() }));
                        }
                    }
                }
                50..53 => {
                    returned -= 1;
                    (message.sequence, message.image) = (returned, false);
                    next.push(Act::Mail(message));
                }
                53..73 => {
                    let waiting: Vec<_> =
                        model.mail.keys().filter(|(of, ..)| *of == user).copied().collect();
                    for (_, _, sequence) in waiting.into_iter().take(1 + length % 4) {
                        next.push(Act::Settled(user, sequence));
                    }
                }
                73..75 => next.push(Act::Counter(1, user, time)),
                75..78 => next.push(Act::Session(2, i64::from(user) + 1000, user)),
                78 => next.push(Act::Session(2, i64::from(user) + 1000, 0)),
                79 => next.push(Act::Password(user, Some(format!("$argon2id${time}")))),
                80 => next.push(Act::Password(user, None)),
                81..83 => next.push(Act::Member(user, group, 2)),
                83..85 => {
                    if let Some(left) = model.members.get(&(user, group)) {
                        next.push(match *left {
                            1 => Act::NoMember(user, group),
                            left if left > 0 => Act::Member(user, group, left - 1),
                            _ => Act::NoMember(user, group),
                        });
                    }
                }
                85 => next.push(Act::Member(user, group, -1)),
                86 if users.len() > 4 => next.push(Act::NoUser(user)),
                87 if groups.len() > 2 => next.push(Act::NoGroup(group)),
                88 if users.len() < 9 => {
                    let number = (1..).find(|n| !users.contains(n)).unwrap();
                    next.push(Act::User(number, format!("late {time}").into_bytes()));
                }
                89..91 => {
                    let owner = model.groups[&group].1;
                    if owner != 0 && owner != user && !model.chats.contains(&(group, user)) {
                        next.push(Act::Chat(group, user));
                    }
                }
                91..94 => {
                    let chat = match (length % 4, chat) {
                        (0, _) => None,
                        (1, _) => Some(Chat::Group(group)),
                        (2, Some((group, with))) => {
                            user_seen = if length % 8 == 2 { with } else { model.groups[&group].1 };
                            Some(Chat::Private { group, user: with })
                        }
                        _ => Some(Chat::Direct(other)),
                    };
                    next.push(Act::Seen(user_seen, chat, sequence));
                }
                _ => next.push(Act::Commit),
            }
        }
        for act in next {
            model.apply(&act);
            script.push(act);
        }
    }
    script.push(Act::Commit);
    script
}

/// What is durable at each point of a script, from before it began.
pub fn states(script: &[Act]) -> Vec<State> {
    let mut model = Model::default();
    let mut states = vec![model.state()];
    for act in script {
        if model.apply(act) {
            states.push(model.state());
        }
    }
    states
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
