//! Opens a flash of arbitrary content, and writes to it: the fuzz target `flash_restore`.
//!
//! Most content is forged: headers and records whose checksums agree, by the format that the crate
//! documents, in an order that no store would leave. Whatever is there, nothing panics, nothing is
//! written but to words that were erased since, a second start finds what the first one did, and
//! what was written after it is there at the next.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Unstructured};
use centrala_core::host::{Mail, Record, Store};
use centrala_flash::{FlashStore, Layout, Place};
use crc::{CRC_32_ISO_HDLC, Crc};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
const WORD: usize = 4;
const SECTOR: usize = 512;
/// Bytes of the longest text that is written.
const LONGEST: usize = 60;
const PLACES: usize = 24;

/// Something put into the flash before it is opened.
#[derive(Arbitrary, Debug)]
enum Forge {
    /// A header, in the sector of its epoch or in any other; what follows is put behind it.
    Header { epoch: u8, high: bool, elsewhere: bool, end: Option<u16>, newest: u8 },
    /// A record behind the last one.
    Record { kind: u8, copy: bool, fields: [u8; 5], detail: u8, text: u16, committed: bool },
    /// Whatever bytes.
    Raw { at: u16, bytes: [u8; 6] },
}

/// What is done once it is open.
#[derive(Arbitrary, Debug)]
enum Op {
    Write { kind: u8, a: u8, b: u8, text: u8 },
    Reopen,
}

/// NOR flash that fails when it is not used as such.
struct Nor {
    bytes: Vec<u8>,
    /// Words that may not be written before they are erased.
    written: Vec<bool>,
}

impl ErrorType for Nor {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = WORD;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len()).expect("a read within the flash");
        let at = offset as usize;
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to).expect("whole sectors");
        self.bytes[from as usize..to as usize].fill(0xff);
        self.written[from as usize / WORD..to as usize / WORD].fill(false);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len()).expect("whole words within the flash");
        let at = offset as usize;
        for word in &mut self.written[at / WORD..(at + bytes.len()) / WORD] {
            assert!(!*word, "a word at {at} is written that was not erased");
            *word = true;
        }
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// Bytes being forged.
struct Forger {
    bytes: Vec<u8>,
    epoch: u32,
    /// Where the current sector begins, and where the next record of it does.
    begin: usize,
    at: usize,
}

impl Forger {
    fn new(sectors: usize) -> Forger {
        Forger { bytes: vec![0xff; sectors * SECTOR], epoch: 0, begin: 0, at: 0 }
    }

    fn forge(&mut self, forge: &Forge) {
        match *forge {
            Forge::Header { epoch, high, elsewhere, end, newest } => {
                let sectors = (self.bytes.len() / SECTOR) as u32;
                let end = end.map_or(self.at as u32, u32::from);
                self.epoch = if high { u32::MAX - u32::from(epoch % 8) } else { epoch.into() };
                let sector = self.epoch.wrapping_add(elsewhere.into()) % sectors;
                self.begin = sector as usize * SECTOR;
                let mut header = b"CFL1".to_vec();
                header.extend([WORD as u8, 0]);
                header.extend((sectors as u16).to_le_bytes());
                header.extend((SECTOR as u32).to_le_bytes());
                header.extend(self.epoch.to_le_bytes());
                header.extend(end.to_le_bytes());
                header.extend(u64::from(newest).to_le_bytes());
                let checksum = CRC.checksum(&header);
                header.extend(checksum.to_le_bytes());
                self.bytes[self.begin..self.begin + header.len()].copy_from_slice(&header);
                self.at = header.len();
            }
            Forge::Record { kind, copy, fields, detail, text, committed } => {
                let kind = kind % 12;
                let [a, b, c, d, e] = fields;
                // Users and groups of small numbers, so that they have to do with each other.
                let lengths: &[usize] = match kind {
                    1 | 2 | 4 => &[4],
                    3 | 6 => &[4, 4],
                    5 | 10 => &[4, 4, 4],
                    7 => &[4, 8, 4, 4, 4, 8, 4],
                    8 => &[4, 8],
                    _ => &[],
                };
                let len = usize::from(text) % if text & 0x8000 == 0 { LONGEST + 1 } else { SECTOR };
                let mut head = vec![kind | if copy { 0x80 } else { 0 }, detail];
                head.extend((len as u16).to_le_bytes());
                let mut rest = Vec::new();
                for (i, len) in lengths.iter().enumerate() {
                    let value = u64::from([a, b, c, d, e, 0, 0][i] % 6);
                    rest.extend(&value.to_le_bytes()[..*len]);
                }
                rest.extend((0..len).map(|i| b'a' + (i % 26) as u8));
                let mut digest = CRC.digest();
                digest.update(&self.epoch.to_le_bytes());
                digest.update(&(self.at as u32).to_le_bytes());
                digest.update(&head);
                digest.update(&rest);
                head.extend(digest.finalize().to_le_bytes());
                head.extend(rest);
                head.resize(head.len().next_multiple_of(WORD), 0xff);
                head.extend([if committed { 0 } else { 0xff }; WORD]);
                let from = self.begin + self.at;
                if let Some(place) = self.bytes.get_mut(from..from + head.len()) {
                    place.copy_from_slice(&head);
                    self.at += head.len();
                }
            }
            Forge::Raw { at, bytes } => {
                let at = usize::from(at) % (self.bytes.len() - bytes.len());
                self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }
}

/// What a record is about, in the order of restoring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    User(u32),
    Group(u32),
    Member(u32, u32),
    Chat(u32, u32),
    Mail(u64, u32),
    Newest,
}

/// What is kept of it: numbers (of a group its owner, of mail its sender first), and a text.
type Kept = (Vec<u64>, Vec<u8>);

type Records = BTreeMap<Key, Kept>;

fn kept(record: &Record<'_>) -> Option<(Key, Kept)> {
    Some(match *record {
        Record::User { number, name, .. } => (Key::User(number), (vec![], name.to_vec())),
        Record::Group { number, name, owner } => {
            (Key::Group(number), (vec![owner.into()], name.to_vec()))
        }
        Record::Member { user, group, left } => {
            (Key::Member(user, group), (vec![left as u64], vec![]))
        }
        Record::Chat { group, user } => (Key::Chat(user, group), (vec![], vec![])),
        Record::Mail(m) => {
            let flags = [m.priority.into(), u64::from(m.last), u64::from(m.image)];
            let mut numbers = vec![m.from.into(), m.id.into(), m.group.into(), m.about.into()];
            numbers.push(m.time);
            numbers.extend(flags);
            (Key::Mail(m.sequence, m.user), (numbers, m.text.to_vec()))
        }
        Record::Posted(posted) => (Key::Newest, (vec![posted.sequence], vec![])),
        _ => return None,
    })
}

/// What a record that was written changes. Chats about the groups of a user who is gone are left out:
/// what is restored does not say whose these were.
fn apply(records: &mut Records, record: &Record<'_>) {
    match *record {
        Record::NoUser { number } => {
            records.retain(|key, _| match key {
                Key::User(user) | Key::Member(user, _) | Key::Mail(_, user) => *user != number,
                Key::Chat(..) => false,
                Key::Group(_) | Key::Newest => true,
            });
            for (key, (numbers, _)) in records.iter_mut() {
                if matches!(key, Key::Group(_) | Key::Mail(..)) && numbers[0] == u64::from(number) {
                    numbers[0] = 0;
                }
            }
        }
        Record::NoGroup { number } => records.retain(|key, _| match key {
            Key::Group(group) | Key::Member(_, group) | Key::Chat(_, group) => *group != number,
            _ => true,
        }),
        Record::NoMember { user, group } => drop(records.remove(&Key::Member(user, group))),
        Record::Settled { user, sequence } => drop(records.remove(&Key::Mail(sequence, user))),
        _ => {
            if let Some((key, kept)) = kept(record) {
                records.insert(key, kept);
            }
        }
    }
    if let Record::Mail(Mail { sequence, .. }) = *record
        && sequence != 0
    {
        let newest = records.entry(Key::Newest).or_insert((vec![0], vec![]));
        newest.0[0] = newest.0[0].max(sequence);
    }
}

fn restored(store: &mut FlashStore<'_, &mut Nor>) -> Records {
    let mut records = Records::new();
    store.restore(&mut [0; SECTOR], |record| {
        let (key, kept) = kept(&record).expect("a record that is kept");
        let last = records.last_key_value().map(|(last, _)| *last);
        assert!(last.is_none_or(|last| last < key), "{key:?} behind {last:?}");
        records.insert(key, kept);
    });
    records
}

/// Builds the flash that `bytes` say, opens it, and does what they say further on.
///
/// # Panics
/// When the store does not keep its word.
pub fn run(bytes: &[u8]) {
    let mut bytes = Unstructured::new(bytes);
    let Ok(setup) = bytes.arbitrary::<[u8; 2]>() else { return };
    let mut forger = Forger::new(3 + usize::from(setup[0] % 4));
    for _ in 0..setup[1] % 64 {
        let Ok(forge) = bytes.arbitrary::<Forge>() else { break };
        forger.forge(&forge);
    }
    let written = vec![true; forger.bytes.len() / WORD];
    let mut flash = Nor { bytes: forger.bytes, written };
    let layout = Layout::new(SECTOR as u32, LONGEST);
    let mut known = None::<Records>;
    let mut chats = true;
    let mut more = true;
    while more {
        let before = flash.bytes.clone();
        let mut places = [Place::EMPTY; PLACES];
        let first = match FlashStore::open(&mut flash, layout, &mut places) {
            Ok(mut store) => restored(&mut store),
            // More than there are places for, or of another layout.
            Err(error) => {
                assert!(known.is_none(), "{error} after a start that was good");
                return assert!(flash.bytes == before, "written to, and not opened");
            }
        };
        let mut places = [Place::EMPTY; PLACES];
        let mut store = FlashStore::open(&mut flash, layout, &mut places).expect("as before");
        let mut now = restored(&mut store);
        assert_eq!(now, first, "a second start");
        if let Some(mut known) = known {
            if !chats {
                now.retain(|key, _| !matches!(key, Key::Chat(..)));
                known.retain(|key, _| !matches!(key, Key::Chat(..)));
            }
            // The newest may be of what was settled, or refused.
            let newest = |records: &mut Records| {
                records.remove(&Key::Newest).map_or(0, |(numbers, _)| numbers[0])
            };
            assert!(newest(&mut now.clone()) >= newest(&mut known.clone()), "the newest");
            let (mut now, mut known) = (now.clone(), known);
            newest(&mut now);
            newest(&mut known);
            assert_eq!(now, known, "what was written");
        }
        more = false;
        while let (false, Ok(op)) = (bytes.is_empty(), bytes.arbitrary::<Op>()) {
            let Op::Write { kind, a, b, text } = op else {
                more = true;
                break;
            };
            let body = [b'x'; LONGEST + 1];
            let body = &body[..usize::from(text) % (LONGEST + 2)];
            let (user, group) = (u32::from(a % 6), u32::from(b % 6));
            let record = match kind % 10 {
                0 => Record::User { number: user, name: &body[..body.len().min(29)], secret: None },
                1 => Record::NoUser { number: user },
                2 => Record::Group { number: group, name: b"group", owner: user },
                3 => Record::NoGroup { number: group },
                4 => Record::Member { user, group, left: i32::from(text) - 1 },
                5 => Record::NoMember { user, group },
                6 => Record::Chat { group, user },
                7 => Record::Settled { user, sequence: group.into() },
                _ => Record::Mail(Mail {
                    user,
                    sequence: group.into(),
                    from: u32::from(text % 6),
                    text: body,
                    ..Mail::NONE
                }),
            };
            if store.write(record).is_ok() {
                apply(&mut now, &record);
                chats &= !matches!(record, Record::NoUser { .. });
            }
        }
        let mut found = restored(&mut store);
        if !chats {
            found.retain(|key, _| !matches!(key, Key::Chat(..)));
            now.retain(|key, _| !matches!(key, Key::Chat(..)));
        }
        found.remove(&Key::Newest);
        let newest = now.remove(&Key::Newest);
        assert_eq!(found, now, "what was written, before the next start");
        now.extend(newest.map(|newest| (Key::Newest, newest)));
        known = Some(now);
    }
}
