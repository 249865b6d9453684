//! The store of a server that keeps nothing: what it knows is gone when it ends.
//!
//! Users, groups, private chats and waiting messages are in the exchange's own tables. This has what
//! is asked for while the server runs: passwords, and the newest [`MOST`] messages of all histories
//! together, with what users have seen of them.

mod texts;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use centrala_core::exchange::Token;
use centrala_core::host::{Count, NoRoom, Posted, Record, Store};
use centrala_core::request::Chat;
use centrala_store::{Conversation, Image, KeptMessage, PLACES};

use crate::rooms::Index;
use crate::rooms::index::InMemory;
use crate::store::{Committed, Keep, Read};
use texts::{Place, Texts};

/// Messages of all histories together, the newest.
pub const MOST: usize = 16_384;

/// Two users, the lower one first, and the group that they talk about; or a group.
type Key = (u32, u32, u32);

fn key(from: u32, to: u32, group: u32, about: u32) -> Key {
    match group {
        0 => (from.min(to), from.max(to), about),
        group => (0, 0, group),
    }
}

/// A message of a history.
#[derive(Clone, Debug)]
struct Kept {
    /// All of it but its text.
    posted: Posted<'static>,
    text: Place,
    image: bool,
}

impl Kept {
    fn key(&self) -> Key {
        let Posted { from, to, group, about, .. } = self.posted;
        key(from, to, group, about)
    }

    fn sequence(&self) -> u64 {
        self.posted.sequence
    }
}

/// Keeps nothing that outlasts the server.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    passwords: HashMap<u32, String>,
    secrets: HashMap<Token, String>,
    owners: HashMap<u32, u32>,
    image: Option<Image>,
    /// The message that took it.
    taken: Option<u64>,
    images: InMemory,
    /// By rising sequence.
    history: VecDeque<Kept>,
    texts: Texts,
    /// By user and conversation; of all direct messages it is `None`.
    seen: HashMap<(u32, Option<Key>), u64>,
}

impl Memory {
    fn key(&self, of: Conversation) -> Key {
        match of {
            Conversation::Group(group) => (0, 0, group),
            Conversation::Pair(a, b) => key(a, b, 0, 0),
            Conversation::Private { group, user } => {
                key(self.owners.get(&group).copied().unwrap_or(0), user, 0, group)
            }
        }
    }

    fn post(&mut self, posted: &Posted<'_>) {
        let image = if posted.image { self.image.take() } else { None };
        if let Some(image) = &image {
            self.taken = Some(posted.sequence);
            self.images.add(posted.sequence, image.hash);
        }
        // From nobody, or to nobody, it is in no history.
        if posted.group == 0 && (posted.from == 0 || posted.to == 0) {
            return;
        }
        if self.history.len() >= MOST
            && let Some(oldest) = self.history.pop_front()
        {
            if oldest.image {
                self.forget_images();
            }
            if let Some(oldest) = self.history.front() {
                self.texts.forget_before(oldest.text);
            }
        }
        let text = self.texts.put(posted.text);
        let (posted, image) = (Posted { text: &[], ..*posted }, image.is_some());
        self.history.push_back(Kept { posted, text, image });
    }

    /// Its number may be somebody else's later.
    fn forget_user(&mut self, user: u32) {
        self.passwords.remove(&user);
        self.seen.retain(|(of, key), _| {
            *of != user && key.is_none_or(|(a, b, _)| a != user && b != user)
        });
        self.history.retain(|kept| {
            let Posted { from, to, group, .. } = kept.posted;
            group != 0 || (from != user && to != user)
        });
        self.forget_images();
        self.close_gaps();
        for kept in self.history.iter_mut().filter(|kept| kept.posted.from == user) {
            kept.posted.from = 0;
        }
        for owner in self.owners.values_mut().filter(|owner| **owner == user) {
            *owner = 0;
        }
    }

    fn forget_group(&mut self, number: u32) {
        self.owners.remove(&number);
        self.seen.retain(|(_, key), _| key.is_none_or(|(_, _, group)| group != number));
        self.history.retain(|kept| {
            let Posted { group, about, .. } = kept.posted;
            group != number && about != number
        });
        self.forget_images();
        self.close_gaps();
    }

    fn message_of(&self, kept: &Kept) -> KeptMessage {
        KeptMessage::from(&Posted { text: self.texts.get(kept.text), ..kept.posted })
    }

    /// Texts between others are gone: their memory would stay as long as what is older.
    fn close_gaps(&mut self) {
        let texts = std::mem::take(&mut self.texts);
        for kept in &mut self.history {
            kept.text = self.texts.put(texts.get(kept.text));
        }
    }

    /// Of messages that are gone.
    fn forget_images(&mut self) {
        self.images.retain(|sequence| self.find(sequence).is_some());
    }

    fn find(&self, sequence: u64) -> Option<&Kept> {
        let place = self.history.binary_search_by_key(&sequence, Kept::sequence).ok()?;
        self.history.get(place)
    }
}

impl Store for Memory {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        match record {
            Record::User { number, secret: Some(token), .. } => {
                // A user that has a password is never made without it.
                self.passwords.insert(number, self.secrets.remove(&token).ok_or(NoRoom)?);
            }
            Record::NoUser { number } => self.forget_user(number),
            Record::Group { number, owner, .. } => drop(self.owners.insert(number, owner)),
            Record::NoGroup { number } => self.forget_group(number),
            // Where it lies: half of what it costs would be to copy it.
            Record::Posted(ref posted) => self.post(posted),
            Record::Seen { user, chat, sequence } => {
                let key = chat.map(|chat| self.key(Conversation::of(user, chat)));
                self.seen.insert((user, key), sequence);
            }
            _ => {}
        }
        Ok(())
    }

    fn history(&self) -> bool {
        true
    }
}

impl Keep for Memory {
    fn dirty(&self) -> bool {
        false
    }

    fn begin_commit(&mut self, done: Committed) {
        done(Ok(()));
    }

    fn describe(&self) -> String {
        format!(
            "nothing is kept: users, groups, mail and the newest {MOST} messages of histories are \
             gone when the server ends"
        )
    }

    fn hold_secret(&mut self, token: Token, hash: String) {
        self.secrets.insert(token, hash);
    }

    fn drop_secret(&mut self, token: Token) {
        self.secrets.remove(&token);
    }

    fn password(&self, user: u32, answer: Read<Option<String>>) {
        answer(Ok(self.passwords.get(&user).cloned()));
    }

    fn hold_image(&mut self, image: Image) {
        (self.image, self.taken) = (Some(image), None);
    }

    fn drop_image(&mut self) -> Option<u64> {
        self.image = None;
        self.taken.take()
    }

    fn image_index(&self) -> Arc<dyn Index> {
        Arc::new(self.images.clone())
    }

    fn places(&self, of: Conversation, before: Option<u64>, limit: u32, answer: Read<Vec<u64>>) {
        let (key, before) = (self.key(of), before.unwrap_or(u64::MAX));
        let older = self.history.iter().rev().filter(|kept| kept.sequence() < before);
        let places = older.filter(|kept| kept.key() == key).map(Kept::sequence);
        let mut places: Vec<u64> = places.take(limit.min(PLACES) as usize).collect();
        places.reverse();
        answer(Ok(places));
    }

    fn messages(&self, of: Conversation, at: Vec<u64>, answer: Read<Vec<KeptMessage>>) {
        let key = self.key(of);
        let kept = at.into_iter().filter_map(|sequence| self.find(sequence));
        let kept = kept.filter(|kept| kept.key() == key).map(|kept| self.message_of(kept));
        answer(Ok(kept.collect()));
    }

    fn message(&self, sequence: u64, answer: Read<Option<KeptMessage>>) {
        answer(Ok(self.find(sequence).map(|kept| self.message_of(kept))));
    }

    fn counts(&self, user: u32, chats: Vec<Chat>, answer: Read<Vec<Count>>) {
        let seen = |key| self.seen.get(&(user, key)).copied().unwrap_or(0);
        let all_direct = seen(None);
        let mut marks: HashMap<Key, u64> = HashMap::new();
        let mut counts: HashMap<Key, (u64, u64)> = HashMap::new();
        for kept in &self.history {
            let key = kept.key();
            let mark = *marks.entry(key).or_insert_with(|| match key {
                (1.., _, 0) => seen(Some(key)).max(all_direct),
                _ => seen(Some(key)),
            });
            let (all, new) = counts.entry(key).or_default();
            *all += 1;
            let Posted { sequence, from, .. } = kept.posted;
            *new += u64::from(sequence > mark && from != user);
        }
        let mut rows: Vec<Count> = chats
            .into_iter()
            .map(|chat| {
                let key = self.key(Conversation::of(user, chat));
                let (all, new) = counts.get(&key).copied().unwrap_or_default();
                Count { chat, all, new }
            })
            .collect();
        let direct = counts.into_iter().filter_map(|((a, b, about), (all, new))| {
            let other = if a == user { b } else { a };
            let own = a != 0 && about == 0 && (a == user || b == user);
            own.then_some(Count { chat: Chat::Direct(other), all, new })
        });
        let given = rows.len();
        rows.extend(direct);
        rows[given..].sort_unstable_by_key(|count| match count.chat {
            Chat::Direct(other) => other,
            _ => 0,
        });
        answer(Ok(rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(memory: &mut Memory, sequence: u64, from: u32, to: u32, group: u32, about: u32) {
        let text = b"x";
        let posted = Posted { sequence, from, to, group, about, text, ..Posted::NONE };
        memory.write(Record::Posted(posted)).unwrap();
    }

    fn places(memory: &Memory, of: Conversation, before: Option<u64>, limit: u32) -> Vec<u64> {
        centrala_store::wait(|answer| memory.places(of, before, limit, answer)).unwrap()
    }

    #[test]
    fn a_private_chat_is_no_part_of_the_direct_messages() {
        let mut memory = Memory::default();
        memory.write(Record::Group { number: 4, name: b"bike", owner: 1 }).unwrap();
        post(&mut memory, 1, 1, 2, 0, 0);
        post(&mut memory, 2, 2, 1, 0, 4);
        post(&mut memory, 3, 2, 0, 4, 0);
        post(&mut memory, 4, 2, 1, 0, 0);
        let private = Conversation::Private { group: 4, user: 2 };
        assert_eq!(places(&memory, Conversation::Pair(2, 1), None, 9), [1, 4]);
        assert_eq!(places(&memory, private, None, 9), [2]);
        assert_eq!(places(&memory, Conversation::Group(4), None, 9), [3]);
        assert_eq!(places(&memory, Conversation::Pair(1, 2), Some(4), 9), [1]);
        let chats = vec![Chat::Group(4), Chat::Private { group: 4, user: 2 }];
        let counts = |memory: &Memory| -> Vec<(u64, u64)> {
            let counts = centrala_store::wait(|answer| memory.counts(1, chats.clone(), answer));
            counts.unwrap().into_iter().map(|count| (count.all, count.new)).collect()
        };
        assert_eq!(counts(&memory), [(1, 1), (1, 1), (2, 1)]);
        memory.write(Record::Seen { user: 1, chat: None, sequence: 4 }).unwrap();
        assert_eq!(counts(&memory), [(1, 1), (1, 1), (2, 0)]);
        memory.write(Record::Seen { user: 1, chat: Some(chats[1]), sequence: 4 }).unwrap();
        assert_eq!(counts(&memory), [(1, 1), (1, 0), (2, 0)]);
        memory.write(Record::NoUser { number: 2 }).unwrap();
        assert_eq!(counts(&memory), [(1, 1), (0, 0)]);
    }

    #[test]
    fn only_so_many_messages_are_held() {
        let mut memory = Memory::default();
        for n in 1..=MOST as u64 + 10 {
            post(&mut memory, n, 1, 2, 0, 0);
        }
        let pair = Conversation::Pair(1, 2);
        assert_eq!(places(&memory, pair, Some(20), 1000), (11..20).collect::<Vec<_>>());
        assert_eq!(places(&memory, pair, None, 5000).len(), 1000);
    }
}
