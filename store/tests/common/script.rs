//! A course of changes from a seed.

use super::model::Model;
use super::state::State;
use super::{Act, FIRST, Message};
use centrala_core::request::Chat;

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
                    message.group = if length.is_multiple_of(2) { group } else { 0 };
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
