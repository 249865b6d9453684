//! Records, byte by byte. All integers are little-endian.
//!
//! ```text
//! 0   1  kind; bit 7: a copy of an older record
//! 1   1  detail: of mail, the priority, 8 if a counted membership ends with it, 16 for an image
//! 2   2  length of the text
//! 4   4  CRC-32 of the sector's epoch, the record's place in it, and all of the record but this
//! 8   n  fields
//!        user, no group: number 4           no user: number 4
//!        group: number 4, owner 4           settled: user 4, sequence 8
//!        member: user 4, group 4, left 4    no member: user 4, group 4
//!        private chat: user 4, group 4, the group's owner 4
//!        mail: user 4, sequence 8, id 4, from 4, group 4, time 8, about 4
//!        mark: nothing; it says that all copies before it are whole
//! 8+n    text: a name, or a message; then bits that stay 1 up to a whole word
//!        commit word: 0
//! ```

use crate::index::{Gone, Place};
use crate::medium::CHUNK;
use centrala_core::host::{FORMER_GROUP, Mail, Record};

/// Kind, detail, length, checksum.
pub(crate) const PREFIX: usize = 8;
/// The most fields that a kind has.
const FIELDS: usize = 36;
/// What stands before a text at most.
pub(crate) const HEAD: usize = PREFIX + FIELDS;
/// Marks a copy, in the kind.
pub(crate) const COPY: u8 = 0x80;
/// Marks the last message of a counted membership, in the detail.
const LAST: u8 = 8;
/// Marks an image, in the detail.
const IMAGE: u8 = 16;

const USER: u8 = 1;
const NO_USER: u8 = 2;
const GROUP: u8 = 3;
const NO_GROUP: u8 = 4;
const MEMBER: u8 = 5;
const NO_MEMBER: u8 = 6;
const MAIL: u8 = 7;
const SETTLED: u8 = 8;
const MARK: u8 = 9;
const CHAT: u8 = 10;

const _: () = assert!(HEAD <= CHUNK);

/// What stands before the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head(pub(crate) [u8; HEAD]);

/// What a record is about: of two with the same key the later one holds. In the order of restoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    User(u32),
    Group(u32),
    Member(u32, u32),
    /// User, group.
    Chat(u32, u32),
    /// Copies of one message one after another.
    Mail {
        sequence: u64,
        user: u32,
    },
}

impl Key {
    /// A few bits that tell most keys apart.
    pub(crate) fn tag(self) -> u32 {
        let (class, a, b) = match self {
            Key::User(number) => (1, number, 0),
            Key::Group(number) => (2, number, 0),
            Key::Member(user, group) => (3, user, group),
            Key::Chat(user, group) => (4, user, group),
            Key::Mail { sequence, user } => (5, sequence as u32, user),
        };
        let mixed = [class, a, b].into_iter().fold(0x811c_9dc5_u32, |hash, part| {
            (hash ^ part).wrapping_mul(0x0100_0193).rotate_left(11)
        });
        mixed >> 26
    }

    /// Of a record that adds something.
    pub(crate) fn of(record: &Record<'_>) -> Option<Key> {
        match *record {
            Record::User { number, .. } => Some(Key::User(number)),
            Record::Group { number, .. } => Some(Key::Group(number)),
            Record::Member { user, group, .. } => Some(Key::Member(user, group)),
            Record::Chat { group, user } => Some(Key::Chat(user, group)),
            Record::Mail(Mail { sequence, user, .. }) => Some(Key::Mail { sequence, user }),
            _ => None,
        }
    }

    /// Of what a record takes away, where that is one thing.
    pub(crate) fn ended_by(record: &Record<'_>) -> Option<Key> {
        match *record {
            Record::NoMember { user, group } => Some(Key::Member(user, group)),
            Record::Settled { user, sequence } => Some(Key::Mail { sequence, user }),
            _ => None,
        }
    }
}

/// Bytes of the fields of a kind; `None` if there is no such kind.
const fn fields(kind: u8) -> Option<usize> {
    Some(match kind & !COPY {
        MARK => 0,
        USER | NO_USER | NO_GROUP => 4,
        GROUP | NO_MEMBER => 8,
        MEMBER | CHAT | SETTLED => 12,
        MAIL => 36,
        _ => return None,
    })
}

struct Fields {
    head: Head,
    at: usize,
}

impl Fields {
    fn new(kind: u8, detail: u8, text: &[u8]) -> Option<Fields> {
        let length = u16::try_from(text.len()).ok()?.to_le_bytes();
        let mut fields = Fields { head: Head([0; HEAD]), at: 0 };
        for byte in [kind, detail, length[0], length[1], 0, 0, 0, 0] {
            fields = fields.put([byte]);
        }
        Some(fields)
    }

    fn put<const N: usize>(mut self, bytes: [u8; N]) -> Fields {
        for byte in bytes {
            if let Some(place) = self.head.0.get_mut(self.at) {
                *place = byte;
            }
            self.at = self.at.wrapping_add(1);
        }
        self
    }

    fn u32(self, value: u32) -> Fields {
        self.put(value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Fields {
        self.put(value.to_le_bytes())
    }
}

/// Puts a record into bytes: its head, without a checksum, and its text. `None` for what is not
/// kept. `owner` is of a private chat's group: who reads the record later need not know the group,
/// which may have been copied behind the record of what became of its owner.
pub(crate) fn encode<'a>(record: &Record<'a>, owner: u32) -> Option<(Head, &'a [u8])> {
    let (fields, text): (Fields, &[u8]) = match *record {
        Record::User { number, name, .. } => (Fields::new(USER, 0, name)?.u32(number), name),
        Record::NoUser { number } => (Fields::new(NO_USER, 0, &[])?.u32(number), &[]),
        Record::Group { number, name, owner } => {
            (Fields::new(GROUP, 0, name)?.u32(number).u32(owner), name)
        }
        Record::NoGroup { number } => (Fields::new(NO_GROUP, 0, &[])?.u32(number), &[]),
        Record::Member { user, group, left } => {
            (Fields::new(MEMBER, 0, &[])?.u32(user).u32(group).put(left.to_le_bytes()), &[])
        }
        Record::NoMember { user, group } => {
            (Fields::new(NO_MEMBER, 0, &[])?.u32(user).u32(group), &[])
        }
        Record::Chat { group, user } => {
            (Fields::new(CHAT, 0, &[])?.u32(user).u32(group).u32(owner), &[])
        }
        Record::Mail(mail) => {
            let last = if mail.last { LAST } else { 0 };
            let image = if mail.image { IMAGE } else { 0 };
            let fields = Fields::new(MAIL, (mail.priority & 7) | last | image, mail.text)?;
            let fields = fields.u32(mail.user).u64(mail.sequence).u32(mail.id);
            let fields = fields.u32(mail.from).u32(mail.group).u64(mail.time).u32(mail.about);
            (fields, mail.text)
        }
        Record::Settled { user, sequence } => {
            (Fields::new(SETTLED, 0, &[])?.u32(user).u64(sequence), &[])
        }
        _ => return None,
    };
    Some((fields.head, text))
}

/// Stands behind the copies of a sector that has room for nothing else.
pub(crate) const fn mark() -> Head {
    let mut head = Head([0; HEAD]);
    head.0[0] = MARK;
    head
}

impl Head {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    fn kind(&self) -> u8 {
        let [kind] = self.array(0);
        kind
    }

    /// Who owns the group that a private chat is about.
    pub(crate) fn chat_owner(&self) -> Option<u32> {
        (self.kind() & !COPY == CHAT).then(|| self.u32(16))
    }

    pub(crate) fn is_copy(&self) -> bool {
        self.kind() & COPY != 0
    }

    pub(crate) fn checksum(&self) -> u32 {
        self.u32(4)
    }

    pub(crate) fn set_checksum(&mut self, checksum: u32) {
        if let Some(place) = self.0.get_mut(4..).and_then(|rest| rest.first_chunk_mut()) {
            *place = checksum.to_le_bytes();
        }
    }

    /// Bytes of the text.
    pub(crate) fn text_len(&self) -> usize {
        usize::from(u16::from_le_bytes(self.array(2)))
    }

    /// Where the text begins; `None` if there is no such kind.
    pub(crate) fn text_at(&self) -> Option<usize> {
        fields(self.kind()).map(|fields| PREFIX.wrapping_add(fields))
    }

    /// The bytes of the head that count, but for the checksum.
    pub(crate) fn covered(&self) -> (&[u8], &[u8]) {
        let end = self.text_at().unwrap_or(PREFIX);
        (self.0.get(..4).unwrap_or(&[]), self.0.get(PREFIX..end).unwrap_or(&[]))
    }

    /// The same as a copy, without what is gone of it.
    pub(crate) fn to_copy(self, of: Place) -> Head {
        let mut head = self;
        if let Some(kind) = head.0.first_mut() {
            *kind |= COPY;
        }
        let mut put = |at: usize, number: u32| {
            if let Some(place) = head.0.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                *place = number.to_le_bytes();
            }
        };
        let (user, group) = (of.lacks(Gone::User), of.lacks(Gone::Group));
        match self.kind() & !COPY {
            GROUP if user => put(12, 0),
            MAIL => {
                if user {
                    put(24, 0);
                }
                // Only a direct message is about a group.
                match self.u32(28) {
                    0 if group => put(40, 0),
                    _ if group => put(28, FORMER_GROUP),
                    _ => {}
                }
            }
            _ => {}
        }
        head
    }

    /// The record, with its text.
    pub(crate) fn record<'a>(&self, text: &'a [u8]) -> Option<Record<'a>> {
        let number = self.u32(8);
        Some(match self.kind() & !COPY {
            USER => Record::User { number, name: text, secret: None },
            NO_USER => Record::NoUser { number },
            GROUP => Record::Group { number, name: text, owner: self.u32(12) },
            NO_GROUP => Record::NoGroup { number },
            MEMBER => {
                let left = i32::from_le_bytes(self.array(16));
                Record::Member { user: number, group: self.u32(12), left }
            }
            CHAT => Record::Chat { user: number, group: self.u32(12) },
            NO_MEMBER => Record::NoMember { user: number, group: self.u32(12) },
            MAIL => {
                let [detail] = self.array(1);
                Record::Mail(Mail {
                    user: number,
                    sequence: self.u64(12),
                    id: self.u32(20),
                    from: self.u32(24),
                    group: self.u32(28),
                    about: self.u32(40),
                    image: detail & IMAGE != 0,
                    priority: detail & 7,
                    last: detail & LAST != 0,
                    time: self.u64(32),
                    text,
                })
            }
            SETTLED => Record::Settled { user: number, sequence: self.u64(12) },
            _ => return None,
        })
    }
}
