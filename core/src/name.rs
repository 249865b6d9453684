//! Names of users and groups, and the one rule for what is a name.

use core::fmt;

/// Bytes that a name may have, with the NUL that ends it in C (`topics`, constant `NAME_LENGTH`).
pub const NAME_LENGTH: usize = 30;

/// A user's or group's name: 1 to [`NAME_LENGTH`]` - 1` bytes of UTF-8 without control characters
/// or `/`, without a leading space or two spaces in a row, and not beginning with `~` or `#` (which
/// mark numbers and groups in `direct`).
///
/// Two names that differ only in space and `_` are the same name, because `lanes` writes one as
/// the other. The empty name stands for a free place.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    bytes: [u8; NAME_LENGTH - 1],
}

/// Why bytes are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NameError {
    /// No byte at all.
    Empty,
    /// More than `NAME_LENGTH - 1` bytes.
    TooLong,
    /// Not UTF-8.
    NotUtf8,
    /// A control character or `/`.
    Forbidden,
    /// A leading space, or two in a row.
    Spaces,
    /// Begins with `~` or `#`.
    Mark,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Empty => "a name has at least one byte",
            NameError::TooLong => "a name has at most 29 bytes",
            NameError::NotUtf8 => "a name is UTF-8",
            NameError::Forbidden => "a name has no control characters and no '/'",
            NameError::Spaces => "a name has no leading space and no two spaces in a row",
            NameError::Mark => "a name does not begin with '~' or '#'",
        })
    }
}
impl core::error::Error for NameError {}

impl Name {
    /// No name: a free place.
    pub const EMPTY: Name = Name { len: 0, bytes: [0; NAME_LENGTH - 1] };

    /// Checks the rule and copies the name.
    ///
    /// # Errors
    /// Which part of the rule was broken.
    pub fn new(bytes: &[u8]) -> Result<Name, NameError> {
        core::str::from_utf8(bytes).map_err(|_| NameError::NotUtf8)?;
        match bytes.first() {
            None => return Err(NameError::Empty),
            Some(b'~' | b'#') => return Err(NameError::Mark),
            Some(_) => {}
        }
        // By bytes, which is less code than by characters: U+0080 to U+009F are two, c2 and theirs. A
        // space at the beginning is as one behind another.
        let (mut before, mut spaces, mut forbidden) = (b' ', false, false);
        for byte in bytes {
            spaces |= before == b' ' && *byte == b' ';
            forbidden |= *byte < b' ' || matches!(*byte, b'/' | 0x7f);
            forbidden |= before == 0xc2 && *byte < 0xa0;
            before = *byte;
        }
        if spaces {
            return Err(NameError::Spaces);
        }
        if forbidden {
            return Err(NameError::Forbidden);
        }
        let mut name = Name { len: bytes.len() as u8, ..Name::EMPTY };
        let place = name.bytes.get_mut(..bytes.len()).ok_or(NameError::TooLong)?;
        crate::copy(place, bytes);
        Ok(name)
    }

    /// The name's bytes; empty for a free place.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len as usize).unwrap_or(&[])
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// Whether this is [`Name::EMPTY`].
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `other` is the same name: equal but for space and `_`.
    #[inline]
    pub fn is(&self, other: &[u8]) -> bool {
        self.len as usize == other.len()
            && self.as_bytes().iter().zip(other).all(|(a, b)| fold(*a) == fold(*b))
    }
}

#[inline]
const fn fold(byte: u8) -> u8 {
    if byte == b' ' { b'_' } else { byte }
}

/// FNV-1a over the folded bytes: equal for names that [`Name::is`] calls the same.
#[inline]
pub(crate) fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |h, b| (h ^ fold(*b) as u32).wrapping_mul(0x0100_0193))
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.as_bytes())
    }
}
impl Eq for Name {}
#[cfg(feature = "defmt")]
impl defmt::Format for Name {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=str}", self.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_for_names() {
        for good in [
            "a",
            "\u{a0}",
            "Zażółć gęślą jaźń",
            "x~",
            "x#",
            "two words",
            "12345678901234567890123456789",
        ] {
            assert_eq!(Name::new(good.as_bytes()).unwrap().as_str(), good);
        }
        for (bad, why) in [
            (&b""[..], NameError::Empty),
            (b"123456789012345678901234567890", NameError::TooLong),
            (b"\xff", NameError::NotUtf8),
            (b"a\nb", NameError::Forbidden),
            (b"a/b", NameError::Forbidden),
            (b"a\xc2\x85", NameError::Forbidden),
            (b"\xc2\x80", NameError::Forbidden),
            (b"a\x7f", NameError::Forbidden),
            (b" ", NameError::Spaces),
            (b" a", NameError::Spaces),
            (b"a  b", NameError::Spaces),
            (b"~1", NameError::Mark),
            (b"#1", NameError::Mark),
        ] {
            assert_eq!(Name::new(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn space_and_underscore_are_one_name() {
        let name = Name::new(b"jan kowal").unwrap();
        assert!(name.is(b"jan_kowal") && name.is(b"jan kowal") && !name.is(b"jan-kowal"));
        assert_eq!(hash(b"jan_kowal"), hash(b"jan kowal"));
    }
}
