//! Events from a client: as much of MessagePack as they need.

/// One argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    Number(i64),
    Text(&'a [u8]),
    /// Something else, or nothing.
    Other,
}

/// Arguments that are looked at; more are skipped.
pub(super) const ARGUMENTS: usize = 6;

/// What is left of the bytes of an event, in MessagePack. `None` anywhere: it ends too early.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// One value, or how many values follow it that belong to it.
pub(super) enum Value<'a> {
    One(Argument<'a>),
    Many(u64),
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, len: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(len).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    /// A big-endian number of so many bytes.
    pub(super) fn number(&mut self, bytes: u64) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    pub(super) fn value(&mut self) -> Option<Value<'a>> {
        let [mark] = *self.take(1)?.first_chunk::<1>()?;
        let low = u64::from(mark);
        let text = |bytes: &'a [u8]| Value::One(Argument::Text(bytes));
        let number = |n: Option<i64>| Value::One(n.map_or(Argument::Other, Argument::Number));
        Some(match mark {
            0x00..=0x7f => number(Some(i64::from(mark))),
            0xe0..=0xff => number(Some(i64::from(mark as i8))),
            0xcc..=0xcf => number(i64::try_from(self.number(1 << (low & 3))?).ok()),
            0xd0 => number(Some(i64::from(self.number(1)? as i8))),
            0xd1 => number(Some(i64::from(self.number(2)? as i16))),
            0xd2 => number(Some(i64::from(self.number(4)? as i32))),
            0xd3 => number(Some(self.number(8)? as i64)),
            0xa0..=0xbf => text(self.take(low & 31)?),
            0xd9..=0xdb => {
                let len = self.number(1 << (low - 0xd9))?;
                text(self.take(len)?)
            }
            0x90..=0x9f => Value::Many(low & 15),
            0xdc | 0xdd => Value::Many(self.number(2 << (low & 1))?),
            0x80..=0x8f => Value::Many((low & 15) << 1),
            0xde | 0xdf => Value::Many(self.number(2 << (low & 1))? << 1),
            // Binary, extensions, floating point; then nothing, true and false.
            0xc4..=0xc6 => {
                let len = self.number(1 << (low - 0xc4))?;
                self.other(len)?
            }
            0xc7..=0xc9 => {
                let len = self.number(1 << (low - 0xc7))?.saturating_add(1);
                self.other(len)?
            }
            0xd4..=0xd8 => self.other((1 << (low - 0xd4)) + 1)?,
            0xca => self.other(4)?,
            0xcb => self.other(8)?,
            0xc0..=0xc3 => Value::One(Argument::Other),
        })
    }

    pub(super) fn other(&mut self, len: u64) -> Option<Value<'a>> {
        self.take(len)?;
        Some(Value::One(Argument::Other))
    }

    /// A value with all that belongs to it.
    pub(super) fn argument(&mut self) -> Option<Argument<'a>> {
        let mut left = match self.value()? {
            Value::One(argument) => return Some(argument),
            Value::Many(left) => left,
        };
        while left != 0 {
            left = left.wrapping_sub(1);
            if let Value::Many(more) = self.value()? {
                left = left.saturating_add(more);
            }
        }
        Some(Argument::Other)
    }
}

/// An event of a client: its name and arguments, how many there are and how many bytes they have.
pub(super) struct Called<'a> {
    pub(super) name: Argument<'a>,
    pub(super) arguments: [Argument<'a>; ARGUMENTS],
    pub(super) count: usize,
    pub(super) used: usize,
}

/// The event that `bytes` begin with; `None` if it is not whole.
pub(super) fn event(bytes: &[u8]) -> Option<Called<'_>> {
    let mut reader = Reader { rest: bytes };
    let mut called = Called {
        name: Argument::Other,
        arguments: [Argument::Other; ARGUMENTS],
        count: 0,
        used: 0,
    };
    if let Value::Many(values) = reader.value()? {
        for n in 0..values {
            let argument = reader.argument()?;
            if n == 0 {
                called.name = argument;
            } else if let Some(place) = called.arguments.get_mut(called.count) {
                *place = argument;
                called.count = called.count.wrapping_add(1);
            }
        }
    }
    called.used = bytes.len().wrapping_sub(reader.rest.len());
    Some(called)
}
