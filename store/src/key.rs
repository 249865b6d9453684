//! What a conversation is called in the tables.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// The key of a conversation in `history` and `seen`. One for both sides of a pair.
///
/// Of a group and of a pair it is a number: the group's, or the lower user shifted by 32 bits and
/// the higher one. What a pair says about a group is a conversation of its own; its key is a blob,
/// which no number is equal to: the group, the lower user and the higher one, 4 bytes each, big end
/// first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Plain(i64),
    About([u8; 12]),
}

impl Key {
    /// All direct messages of a user, in `seen`.
    pub(crate) const DIRECT: Key = Key::Plain(0);

    /// Of a message. One from nobody, or to nobody, is in no conversation.
    pub(crate) fn of(from: u32, to: u32, group: u32, about: u32) -> Option<Key> {
        let (low, high) = (from.min(to), from.max(to));
        match (group, low) {
            (0, 0) => None,
            (0, _) if about != 0 => {
                let mut key = [0; 12];
                for (at, number) in key.chunks_exact_mut(4).zip([about, low, high]) {
                    at.copy_from_slice(&number.to_be_bytes());
                }
                Some(Key::About(key))
            }
            (0, _) => Some(Key::Plain((u64::from(low) << 32 | u64::from(high)) as i64)),
            _ => Some(Key::Plain(group.into())),
        }
    }

    /// The two users, if it is that of their direct messages.
    pub(crate) fn pair(self) -> Option<(u32, u32)> {
        match self {
            Key::Plain(key) if key >> 32 != 0 => Some(((key >> 32) as u32, key as u32)),
            _ => None,
        }
    }

    /// As two numbers, for checksums.
    pub(crate) fn numbers(self) -> [i64; 2] {
        match self {
            Key::Plain(key) => [key, -1],
            Key::About(key) => {
                let number =
                    |at: usize| key[at..at + 4].iter().fold(0, |n, byte| n << 8 | i64::from(*byte));
                [number(4) << 32 | number(8), number(0)]
            }
        }
    }
}

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Key::Plain(key) => key.to_sql(),
            Key::About(key) => Ok(ToSqlOutput::Borrowed(ValueRef::Blob(key))),
        }
    }
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value {
            ValueRef::Integer(key) => Ok(Key::Plain(key)),
            ValueRef::Blob(key) => {
                key.try_into().map(Key::About).map_err(|_| FromSqlError::InvalidType)
            }
            _ => Err(FromSqlError::InvalidType),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_has_one_key_for_both_of_its_sides() {
        assert_eq!(Key::of(7, 9, 0, 0), Key::of(9, 7, 0, 0));
        assert_ne!(Key::of(7, 9, 0, 0), Key::of(7, 8, 0, 0));
        assert_ne!(Key::of(7, 9, 9, 0), Key::of(7, 9, 0, 0));
        assert_eq!(Key::of(7, 0, 9, 0), Key::of(8, 0, 9, 0));
        assert_eq!(Key::of(7, 9, 0, 3), Key::of(9, 7, 0, 3));
        assert_ne!(Key::of(7, 9, 0, 3), Key::of(9, 7, 0, 4));
        assert_ne!(Key::of(7, 9, 0, 3), Key::of(9, 7, 0, 0));
        assert_eq!(Key::of(0, 9, 0, 0), None);
        assert_eq!(Key::of(9, 0, 0, 5), None);
    }

    #[test]
    fn only_direct_messages_are_of_a_pair() {
        assert_eq!(Key::of(9, 7, 0, 0).unwrap().pair(), Some((7, 9)));
        assert_eq!(Key::of(u32::MAX, 7, 0, 0).unwrap().pair(), Some((7, u32::MAX)));
        assert_eq!(Key::of(9, 7, 4, 0).unwrap().pair(), None);
        assert_eq!(Key::of(9, 7, 0, 4).unwrap().pair(), None);
        assert_eq!(Key::of(9, 7, 0, 4).unwrap().numbers(), [7 << 32 | 9, 4]);
    }
}
