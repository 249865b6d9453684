//! The driver's store.

use std::collections::{BTreeMap, BTreeSet};

use centrala_core::dialect::Dialect;
use centrala_core::exchange::message_id;
use centrala_core::host::{FORMER_GROUP, Mail, NoRoom, Posted, Record, Store};

/// A message kept for a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) id: u32,
    pub(super) from: u32,
    pub(super) group: u32,
    pub(super) about: u32,
    pub(super) priority: u8,
    pub(super) last: bool,
    pub(super) time: u64,
    pub(super) text: Vec<u8>,
}

/// A store in memory: what is in it outlasts an exchange.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) users: BTreeMap<u32, Vec<u8>>,
    pub(super) groups: BTreeMap<u32, (Vec<u8>, u32)>,
    pub(super) members: BTreeMap<(u32, u32), i32>,
    /// By group and user.
    pub(super) chats: BTreeSet<(u32, u32)>,
    /// By sequence and user: the copies of a group message one after another.
    pub(super) mail: BTreeMap<(u64, u32), Kept>,
    pub(super) full: bool,
    pub(super) history: bool,
    /// Whether mail is read back page by page.
    pub(super) pages: bool,
    /// Users whose password has a secret here.
    pub(super) secrets: BTreeSet<u32>,
    /// Who is logged in at which address, by dialect.
    pub(super) sessions: BTreeMap<(u8, i64), (Dialect, u32)>,
    posted: u64,
    /// What could not be settled because the store failed: it comes again after a restart.
    pub(super) unsettled: BTreeSet<(u64, u32)>,
}

impl Kept {
    pub(super) fn record(&self, user: u32, sequence: u64) -> Mail<'_> {
        Mail {
            user,
            sequence,
            id: self.id,
            from: self.from,
            group: self.group,
            about: self.about,
            priority: self.priority,
            last: self.last,
            time: self.time,
            text: &self.text,
            ..Mail::NONE
        }
    }
}

impl Shelf {
    /// What is kept for a user, by sequence.
    pub(super) fn mail_of(&self, user: u32) -> Vec<(u64, Kept)> {
        let of = self.mail.iter().filter(|((_, of), _)| *of == user);
        of.map(|((sequence, _), kept)| (*sequence, kept.clone())).collect()
    }

    /// All records, in the order in which they are restored.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let users = self.users.iter().map(|(number, name)| Record::User {
            number: *number,
            name,
            secret: None,
        });
        let groups = self.groups.iter().map(|(number, (name, owner))| Record::Group {
            number: *number,
            name,
            owner: *owner,
        });
        let members = self.members.iter().map(|((user, group), left)| Record::Member {
            user: *user,
            group: *group,
            left: *left,
        });
        let mail = self.mail.iter().filter(|_| !self.pages);
        let mail = mail.map(|((sequence, user), kept)| Record::Mail(kept.record(*user, *sequence)));
        let newest = self.mail.keys().next_back().map_or(0, |(sequence, _)| *sequence);
        // What came back from a queue is numbered downwards from the first message.
        let newest = if message_id(newest) == 0 { 0 } else { newest };
        let sequence = self.posted.max(if self.pages { newest } else { 0 });
        let posted = (sequence != 0).then_some(Record::Posted(Posted { sequence, ..Posted::NONE }));
        let chats =
            self.chats.iter().map(|(group, user)| Record::Chat { group: *group, user: *user });
        users.chain(groups).chain(members).chain(chats).chain(mail).chain(posted)
    }
}

impl Store for Shelf {
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        if self.full {
            if let Record::Settled { user, sequence } = record {
                self.unsettled.insert((sequence, user));
            }
            return Err(NoRoom);
        }
        match record {
            Record::User { number, name, secret } => {
                if secret.is_some() {
                    self.secrets.insert(number);
                }
                assert!(self.users.insert(number, name.to_vec()).is_none());
            }
            Record::NoUser { number } => {
                assert!(self.users.remove(&number).is_some());
                self.secrets.remove(&number);
                let owner = |group: &u32| self.groups.get(group).map(|group| group.1);
                self.chats.retain(|(group, user)| *user != number && owner(group) != Some(number));
                self.members.retain(|(user, _), _| *user != number);
                self.mail.retain(|(_, user), _| *user != number);
                for kept in self.mail.values_mut().filter(|kept| kept.from == number) {
                    kept.from = 0;
                }
                for (_, owner) in self.groups.values_mut().filter(|group| group.1 == number) {
                    *owner = 0;
                }
            }
            Record::Group { number, name, owner } => {
                assert!(self.groups.insert(number, (name.to_vec(), owner)).is_none());
            }
            Record::NoGroup { number } => {
                assert!(self.groups.remove(&number).is_some());
                self.members.retain(|(_, group), _| *group != number);
                self.chats.retain(|(group, _)| *group != number);
                for kept in self.mail.values_mut().filter(|kept| kept.group == number) {
                    kept.group = FORMER_GROUP;
                }
            }
            Record::Member { user, group, left } => {
                assert!(self.users.contains_key(&user) && self.groups.contains_key(&group));
                self.members.insert((user, group), left);
            }
            Record::NoMember { user, group } => {
                self.members.remove(&(user, group));
            }
            Record::Chat { group, user } => {
                assert!(self.users.contains_key(&user) && self.groups.contains_key(&group));
                assert!(self.chats.insert((group, user)), "a chat that is there");
            }
            Record::Seen { user, .. } => assert!(self.users.contains_key(&user)),
            Record::Session { dialect, address, user } => {
                assert!(user == 0 || self.users.contains_key(&user), "a session of nobody");
                match user {
                    0 => self.sessions.remove(&(dialect as u8, address)),
                    _ => self.sessions.insert((dialect as u8, address), (dialect, user)),
                };
            }
            Record::Posted(posted) => {
                assert!(posted.sequence > self.posted, "a sequence that does not rise");
                self.posted = posted.sequence;
            }
            Record::Mail(mail) => {
                assert!(self.users.contains_key(&mail.user), "mail of nobody");
                let kept = Kept {
                    id: mail.id,
                    from: mail.from,
                    group: mail.group,
                    about: mail.about,
                    priority: mail.priority,
                    last: mail.last,
                    time: mail.time,
                    text: mail.text.to_vec(),
                };
                let before = self.mail.insert((mail.sequence, mail.user), kept);
                assert!(before.is_none(), "a message written twice");
            }
            Record::Settled { user, sequence } => {
                let known = self.mail.remove(&(sequence, user)).is_some();
                assert!(known, "settled, though the store never had it");
            }
        }
        Ok(())
    }
    fn pages(&self) -> bool {
        self.pages
    }
    fn history(&self) -> bool {
        self.history
    }
}
