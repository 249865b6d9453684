//! What a store must hold: plain maps, and the records that change them.

use crate::nor::Dice;
use centrala_core::host::{FORMER_GROUP, Mail, Record};
use std::collections::{BTreeMap, BTreeSet};

pub const LONGEST: usize = 60;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: u32,
    pub from: u32,
    pub group: u32,
    pub priority: u8,
    pub last: bool,
    pub about: u32,
    pub image: bool,
    pub time: u64,
    pub text: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub users: BTreeMap<u32, Vec<u8>>,
    pub groups: BTreeMap<u32, (Vec<u8>, u32)>,
    pub members: BTreeMap<(u32, u32), i32>,
    /// Private chats, by user and group.
    pub chats: BTreeSet<(u32, u32)>,
    /// By sequence and user.
    pub mail: BTreeMap<(u64, u32), Kept>,
}

impl Model {
    pub fn apply(&mut self, record: &Record<'_>) {
        match *record {
            Record::User { number, name, .. } => {
                self.users.insert(number, name.to_vec());
            }
            Record::NoUser { number } => {
                self.users.remove(&number);
                self.members.retain(|(user, _), _| *user != number);
                self.chats.retain(|(user, group)| {
                    *user != number && self.groups.get(group).is_none_or(|group| group.1 != number)
                });
                self.mail.retain(|(_, user), _| *user != number);
                for kept in self.mail.values_mut().filter(|kept| kept.from == number) {
                    kept.from = 0;
                }
                for (_, owner) in self.groups.values_mut().filter(|group| group.1 == number) {
                    *owner = 0;
                }
            }
            Record::Group { number, name, owner } => {
                self.groups.insert(number, (name.to_vec(), owner));
            }
            Record::NoGroup { number } => {
                self.groups.remove(&number);
                self.members.retain(|(_, group), _| *group != number);
                self.chats.retain(|(_, group)| *group != number);
                for kept in self.mail.values_mut() {
                    if kept.group == number {
                        kept.group = FORMER_GROUP;
                    }
                    if kept.about == number {
                        kept.about = 0;
                    }
                }
            }
            Record::Member { user, group, left } => {
                self.members.insert((user, group), left);
            }
            Record::NoMember { user, group } => {
                self.members.remove(&(user, group));
            }
            Record::Chat { group, user } => {
                self.chats.insert((user, group));
            }
            Record::Mail(mail) => {
                let Mail { id, from, group, priority, last, about, image, time, .. } = mail;
                let text = mail.text.to_vec();
                let kept = Kept { id, from, group, priority, last, about, image, time, text };
                self.mail.insert((mail.sequence, mail.user), kept);
            }
            Record::Settled { user, sequence } => {
                self.mail.remove(&(sequence, user));
            }
            Record::Session { .. } | Record::Posted(_) | Record::Seen { .. } => {}
        }
    }

    pub fn records(&self) -> usize {
        self.users.len()
            + self.groups.len()
            + self.members.len()
            + self.chats.len()
            + self.mail.len()
    }

    /// Something that an exchange would write now. `text` is for what is in it.
    pub fn next<'t>(
        &self,
        dice: &mut Dice,
        sequence: &mut u64,
        text: &'t mut Vec<u8>,
    ) -> Record<'t> {
        text.clear();
        let user = any(dice, self.users.keys().copied());
        let group = any(dice, self.groups.keys().copied());
        let settle = self.mail.keys().nth(dice.below(self.mail.len().max(1) as u64 * 2) as usize);
        match (dice.below(32), user, group) {
            (0..3, ..) | (_, None, _) => {
                text.extend(format!("user {}", dice.roll()).bytes().take(29));
                let number = (1..).find(|number| !self.users.contains_key(number)).unwrap_or(1);
                Record::User { number, name: text, secret: None }
            }
            (3, Some(number), _) => Record::NoUser { number },
            (4..6, Some(owner), _) | (_, Some(owner), None) => {
                text.extend(format!("group {}", dice.roll()).bytes().take(29));
                let number = (1..).find(|number| !self.groups.contains_key(number)).unwrap_or(1);
                Record::Group { number, name: text, owner }
            }
            (6, _, Some(number)) => Record::NoGroup { number },
            (7, Some(user), Some(group)) => Record::Chat { group, user },
            (8..14, Some(user), Some(group)) => {
                Record::Member { user, group, left: dice.below(50) as i32 - 1 }
            }
            (14, Some(user), Some(group)) => Record::NoMember { user, group },
            (15..24, ..) if settle.is_some() => {
                let (sequence, user) = settle.copied().unwrap_or_default();
                Record::Settled { user, sequence }
            }
            (_, Some(user), Some(group)) => {
                // Bytes that look like records, erased flash and commit words, too.
                let len = dice.below(LONGEST as u64 + 1) as usize;
                let fill = [0xff, 0, 1, 7, dice.roll() as u8][dice.below(5) as usize];
                text.extend(
                    (0..len).map(|_| if dice.below(4) == 0 { dice.roll() as u8 } else { fill }),
                );
                // Most of them in order, some as copies of one message, some handed back.
                *sequence += dice.below(3);
                let from = any(dice, self.users.keys().copied()).unwrap_or(0);
                let (to, about) = match dice.below(4) {
                    0 | 1 => (group, 0),
                    2 => (0, group),
                    _ => (0, 0),
                };
                Record::Mail(Mail {
                    user,
                    sequence: if dice.below(9) == 0 { *sequence / 2 } else { *sequence },
                    id: dice.roll() as u32,
                    from,
                    group: to,
                    priority: 1 + dice.below(5) as u8,
                    last: dice.below(8) == 0,
                    about,
                    image: dice.below(8) == 0,
                    time: dice.roll(),
                    text,
                })
            }
        }
    }
}

fn any<T>(dice: &mut Dice, of: impl ExactSizeIterator<Item = T>) -> Option<T> {
    let len = of.len() as u64;
    if len == 0 { None } else { of.into_iter().nth(dice.below(len) as usize) }
}
