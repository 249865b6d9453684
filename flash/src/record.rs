//! Records, byte by byte. All integers are little-endian.
//!
//! ```text
//! 0     1  kind; bit 7: a copy of an older record
//! 1     1  detail: of mail, the priority, 8 if a counted membership ends with it, 16 for an image;
//!          of a header, the bytes of a word
//! 2     2  length of the text
//! 4     n  fields of 4 bytes; of a number of 8 bytes the upper half comes first
//!          user, no user, no group: number      group: number, owner
//!          member: user, group, left            no member: user, group
//!          private chat: user, group, the group's owner
//!          mail: sequence 8, user, from, group, id, about, time 8
//!          settled: sequence 8, user
//!          mark: nothing; it says that all copies before it are whole
//!          header: magic, sectors, sector's length, epoch, end of the sector before, newest message 8
//! 4+n   t  text: a name, or a message
//! 4+n+t 4  CRC-32 of the sector's epoch, the record's place in it (both 0 for a header), and all this;
//!          then bits that stay 1 up to a whole word
//!          commit word: 0
//! ```

use crate::index::{Gone, Place};
use centrala_core::host::{FORMER_GROUP, Mail, Record};

/// The most fields that a kind has.
const FIELDS: usize = 9;
/// What stands before a text at most.
pub(crate) const HEAD: usize = 4 + 4 * FIELDS;
/// What a record takes beside its text and its commit word, at most.
pub(crate) const AROUND: u32 = HEAD as u32 + CHECKSUM;
/// Bytes of the checksum.
pub(crate) const CHECKSUM: u32 = 4;
/// Marks a copy, in the kind.
const COPY: u8 = 0x80;
/// Marks what ends something, in the kind.
const END: u8 = 8;
/// Marks the last message of a counted membership, in the detail.
const LAST: u8 = 8;
/// Marks an image, in the detail.
const IMAGE: u8 = 16;

const NOTHING: u8 = 0;
/// In the order of restoring.
const USER: u8 = 1;
const GROUP: u8 = 2;
const MEMBER: u8 = 3;
const CHAT: u8 = 4;
const MAIL: u8 = 5;
const MARK: u8 = 6;
pub(crate) const HEADER: u8 = 7;
const NO_USER: u8 = END | USER;
const NO_GROUP: u8 = END | GROUP;
const NO_MEMBER: u8 = END | MEMBER;
const SETTLED: u8 = END | MAIL;

/// Fields of each kind; more than there are if there is no such kind.
const fn fields(kind: u8) -> usize {
    match kind {
        NOTHING | MARK => 0,
        USER | NO_USER | NO_GROUP => 1,
        GROUP | NO_MEMBER => 2,
        MEMBER | CHAT | SETTLED => 3,
        HEADER => 7,
        MAIL => FIELDS,
        _ => 15,
    }
}

/// What stands before the text: its first four bytes, and the fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head(pub(crate) [u32; HEAD / 4]);

/// What a record is about: of two with the same key the later one holds. In the order of restoring.
/// Copies of one message come one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u128);

impl Key {
    /// A few bits that tell most keys apart.
    pub(crate) fn tag(self) -> u32 {
        let folded = self.0 as u64 ^ (self.0 >> 61) as u64;
        (folded as u32 ^ (folded >> 32) as u32).wrapping_mul(0x9e37_79b1) >> 26
    }
}

/// What becomes of an older record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Holds,
    /// It holds, but for something that it names.
    Lacks(Gone),
    Ended,
}

impl Head {
    /// Before anything was read: with no fields.
    pub(crate) const EMPTY: Head = Head([0; HEAD / 4]);

    /// `None` if there is no such kind.
    pub(crate) fn read(bytes: &[u8; HEAD]) -> Option<Head> {
        let mut head = Head::EMPTY;
        let (words, _) = bytes.as_chunks();
        for (to, from) in head.0.iter_mut().zip(words) {
            *to = u32::from_le_bytes(*from);
        }
        (head.kind() != NOTHING && fields(head.kind()) <= FIELDS).then_some(head)
    }

    /// Stands behind the copies of a sector that has room for nothing else.
    pub(crate) fn mark() -> Head {
        Head::new(MARK, 0, 0, &[])
    }

    pub(crate) fn new(kind: u8, detail: u8, text: u16, fields: &[u32]) -> Head {
        let [low, high] = text.to_le_bytes();
        let mut head = Head::EMPTY;
        for (to, from) in head.0.iter_mut().skip(1).zip(fields) {
            *to = *from;
        }
        head.0[0] = u32::from_le_bytes([kind, detail, low, high]);
        head
    }

    /// What is kept of a record, without its text; `None` if it is not for flash. `owner` is of a
    /// private chat's group: who reads the record later need not know the group, which may have been
    /// copied behind the record of what became of its owner.
    pub(crate) fn of<'a>(record: &Record<'a>, owner: u32) -> Option<(Head, &'a [u8])> {
        let mut text: &[u8] = &[];
        let mut detail = 0;
        let mut f = [0; FIELDS];
        let kind = match *record {
            Record::User { number, name, .. } => {
                (f[0], text) = (number, name);
                USER
            }
            Record::NoUser { number } => {
                f[0] = number;
                NO_USER
            }
            Record::Group { number, name, owner } => {
                (f[0], f[1], text) = (number, owner, name);
                GROUP
            }
            Record::NoGroup { number } => {
                f[0] = number;
                NO_GROUP
            }
            Record::Member { user, group, left } => {
                (f[0], f[1], f[2]) = (user, group, left.cast_unsigned());
                MEMBER
            }
            Record::NoMember { user, group } => {
                (f[0], f[1]) = (user, group);
                NO_MEMBER
            }
            Record::Chat { group, user } => {
                (f[0], f[1], f[2]) = (user, group, owner);
                CHAT
            }
            Record::Mail(mail) => {
                detail = mail.priority & 7
                    | if mail.last { LAST } else { 0 }
                    | if mail.image { IMAGE } else { 0 };
                [f[0], f[1]] = halves(mail.sequence);
                (f[2], f[3], f[4]) = (mail.user, mail.from, mail.group);
                (f[5], f[6]) = (mail.id, mail.about);
                [f[7], f[8]] = halves(mail.time);
                text = mail.text;
                MAIL
            }
            Record::Settled { user, sequence } => {
                [f[0], f[1]] = halves(sequence);
                f[2] = user;
                SETTLED
            }
            _ => return None,
        };
        Some((Head::new(kind, detail, u16::try_from(text.len()).ok()?, &f), text))
    }

    /// The record, with its text; `None` for what ends something.
    pub(crate) fn record<'a>(&self, text: &'a [u8]) -> Option<Record<'a>> {
        let [_, detail, ..] = self.0[0].to_le_bytes();
        let [_, first, second, third, ..] = self.0;
        Some(match self.kind() {
            USER => Record::User { number: first, name: text, secret: None },
            GROUP => Record::Group { number: first, name: text, owner: second },
            MEMBER => Record::Member { user: first, group: second, left: third.cast_signed() },
            CHAT => Record::Chat { user: first, group: second },
            MAIL => Record::Mail(Mail {
                sequence: self.sequence(),
                user: third,
                from: self.0[4],
                group: self.0[5],
                id: self.0[6],
                about: self.0[7],
                time: whole(self.0[8], self.0[9]),
                image: detail & IMAGE != 0,
                priority: detail & 7,
                last: detail & LAST != 0,
                text,
            }),
            _ => return None,
        })
    }

    /// Without the mark of a copy.
    pub(crate) fn kind(&self) -> u8 {
        self.0[0] as u8 & !COPY
    }

    pub(crate) fn is_copy(&self) -> bool {
        self.0[0] as u8 & COPY != 0
    }

    /// Where the text begins, if the kind is known.
    pub(crate) fn text_at(&self) -> u32 {
        4 + 4 * fields(self.kind()) as u32
    }

    /// Bytes of the text.
    pub(crate) fn text_len(&self) -> u32 {
        self.0[0] >> 16
    }

    /// The words before the text.
    pub(crate) fn words(&self) -> impl Iterator<Item = &u32> {
        self.0.iter().take(1 + fields(self.kind()))
    }

    /// Whether it adds something, and does not end it.
    pub(crate) fn adds(&self) -> bool {
        self.kind() <= MAIL
    }

    /// Whether it ends more than the one thing of its key.
    pub(crate) fn ends_many(&self) -> bool {
        matches!(self.kind(), NO_USER | NO_GROUP)
    }

    pub(crate) fn key(&self) -> Key {
        let [_, first, second, third, ..] = self.0;
        let class = self.kind() & !END;
        let second = if class >= MEMBER { second } else { 0 };
        let third = if class == MAIL { third } else { 0 };
        let words = [u32::from(class), first, second, third];
        Key(words.into_iter().fold(0, |key, word| key << 32 | u128::from(word)))
    }

    /// The sequence of mail, or of what settles it; 0 of others.
    pub(crate) fn sequence(&self) -> u64 {
        if self.kind() & !END == MAIL { whole(self.0[1], self.0[2]) } else { 0 }
    }

    /// Whether it is the group of this number.
    pub(crate) fn is_group(&self, number: u32) -> bool {
        self.kind() == GROUP && self.0[1] == number
    }

    /// Who owns a group.
    pub(crate) fn owner(&self) -> u32 {
        self.0[2]
    }

    /// What becomes of an older record when this one is written.
    pub(crate) fn ends(&self, old: &Head) -> Fate {
        let [_, number, ..] = self.0;
        let [_, first, second, third, fourth, fifth, _, seventh, ..] = old.0;
        let (ended, gone) = match (self.kind(), old.kind()) {
            (NO_USER, MEMBER) => (first == number, None),
            (NO_USER, CHAT) => (first == number || third == number, None),
            (NO_USER, MAIL) => (third == number, (fourth == number).then_some(Gone::User)),
            (NO_USER, GROUP) => (false, (second == number).then_some(Gone::User)),
            (NO_GROUP, MEMBER | CHAT) => (second == number, None),
            (NO_GROUP, MAIL) => {
                (false, (fifth == number || seventh == number).then_some(Gone::Group))
            }
            _ => (self.key() == old.key(), None),
        };
        match gone {
            _ if ended => Fate::Ended,
            Some(gone) => Fate::Lacks(gone),
            None => Fate::Holds,
        }
    }

    /// Takes from it what is gone of it.
    pub(crate) fn lose(&mut self, place: Place) {
        let (user, group) = (place.lacks(Gone::User), place.lacks(Gone::Group));
        match self.kind() {
            GROUP if user => self.0[2] = 0,
            MAIL => {
                if user {
                    self.0[4] = 0;
                }
                // Only a direct message is about a group.
                match self.0[5] {
                    0 if group => self.0[7] = 0,
                    _ if group => self.0[5] = FORMER_GROUP,
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Marks it as a copy.
    pub(crate) fn copy(&mut self) {
        self.0[0] |= u32::from(COPY);
    }
}

/// The upper one, and the lower one.
pub(crate) const fn halves(number: u64) -> [u32; 2] {
    [(number >> 32) as u32, number as u32]
}

pub(crate) fn whole(upper: u32, lower: u32) -> u64 {
    u64::from(upper) << 32 | u64::from(lower)
}
