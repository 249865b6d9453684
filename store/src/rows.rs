//! How rows are read, and what their checksums are over. A value that rows of an older version have
//! not got is 0, and such a row has the checksum that it was written with.

use crate::sum::{self, Table};
use rusqlite::{Result, Row};

/// What a row of `mailbox` has where it does not share the text of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<'a> {
    pub(crate) from: u32,
    pub(crate) group: u32,
    pub(crate) about: u32,
    pub(crate) image: bool,
    pub(crate) time: u64,
    pub(crate) text: &'a [u8],
}

/// The checksum of a row of `mailbox`.
pub(crate) fn mail_sum(
    user: u32,
    priority: u8,
    sequence: i64,
    id: u32,
    last: bool,
    own: Option<Own<'_>>,
) -> i64 {
    let Own { from, group, about, image, time, .. } =
        own.unwrap_or(Own { from: 0, group: 0, about: 0, image: false, time: 0, text: &[] });
    let text = own.map(|own| own.text);
    let [a, b, c, d, e] = [user.into(), priority.into(), sequence, id.into(), last.into()];
    let (f, g, h) = (from.into(), group.into(), time as i64);
    match (about, image) {
        (0, false) => sum::of(Table::Mail, [a, b, c, d, e, f, g, h], text),
        _ => sum::of(Table::Mail, [a, b, c, d, e, f, g, h, about.into(), i64::from(image)], text),
    }
}

/// What is read of the log; the sequence is in the condition.
pub(crate) const LOG: &str =
    "SELECT sender, recipient, grp, priority, time, text, sum, about, image FROM log";

/// A row of the log, but its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogSum {
    pub(crate) sequence: i64,
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) group: u32,
    pub(crate) about: u32,
    pub(crate) image: bool,
    pub(crate) priority: u8,
    pub(crate) time: u64,
}

impl LogSum {
    /// Reads a row of [`LOG`]: with its text, and its checksum as it is stored.
    pub(crate) fn read<'r>(sequence: i64, row: &'r Row<'_>) -> Result<(LogSum, &'r [u8], i64)> {
        let (from, to, group, priority) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let (time, text) = (row.get::<_, i64>(4)? as u64, row.get_ref(5)?.as_blob()?);
        let (about, image) = (row.get(7)?, row.get(8)?);
        let log = LogSum { sequence, from, to, group, about, image, priority, time };
        Ok((log, text, row.get(6)?))
    }

    /// Its checksum.
    pub(crate) fn of(self, text: &[u8]) -> i64 {
        let LogSum { sequence, from, to, group, about, image, priority, time } = self;
        let [a, b, c, d] = [sequence, from.into(), to.into(), group.into()];
        let (e, f) = (priority.into(), time as i64);
        match (about, image) {
            (0, false) => sum::of(Table::Log, [a, b, c, d, e, f], Some(text)),
            _ => {
                let numbers = [a, b, c, d, e, f, about.into(), i64::from(image)];
                sum::of(Table::Log, numbers, Some(text))
            }
        }
    }
}

/// A row of `users`.
#[derive(Debug)]
pub(crate) struct UserRow {
    pub(crate) name: Vec<u8>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) since: i64,
}

/// What [`user_row`] reads; the number comes after it.
pub(crate) const USER: &str = "SELECT name, password, since, sum, number FROM users";

/// Reads a row of [`USER`]; `None` if its checksum is wrong.
pub(crate) fn user_row(number: u32, row: &Row<'_>) -> Result<Option<UserRow>> {
    let user = UserRow { name: row.get(0)?, password: row.get(1)?, since: row.get(2)? };
    let sum = user_sum(number, &user);
    Ok(sum::good(row.get(3)?, sum).then_some(user))
}

pub(crate) fn user_sum(number: u32, user: &UserRow) -> i64 {
    let UserRow { name, password, since } = user;
    // A user must not come to be one without a password, so both are under one checksum.
    let secret = password.as_deref().unwrap_or_default();
    let ends = [name.len() as i64, password.as_ref().map_or(-1, |secret| secret.len() as i64)];
    let [name_len, secret_len] = ends;
    let text = [name.as_slice(), secret].concat();
    sum::of(Table::User, [number.into(), *since, name_len, secret_len], Some(&text))
}

pub(crate) fn group_sum(number: u32, owner: u32, since: i64, name: &[u8]) -> i64 {
    sum::of(Table::Group, [number.into(), owner.into(), since], Some(name))
}

/// In `newest`: the newest sequence that was given, where the log has an older one only.
pub(crate) const GIVEN: i64 = 1;
/// In `newest`: up to which sequence they may have been given, while a server has the store.
pub(crate) const RESERVED: i64 = 2;

pub(crate) fn newest_sum(id: i64, sequence: i64) -> i64 {
    match id {
        GIVEN => sum::of(Table::Newest, [sequence], None),
        _ => sum::of(Table::Newest, [sequence, id], None),
    }
}

pub(crate) fn chat_sum(group: u32, user: u32) -> i64 {
    sum::of(Table::Chat, [group.into(), user.into()], None)
}

pub(crate) fn image_sum(sequence: i64, hash: &[u8], name: &[u8], kind: &[u8], size: u32) -> i64 {
    let ends = [name.len() as i64, kind.len() as i64];
    let [name_len, kind_len] = ends;
    let text = [hash, name, kind].concat();
    sum::of(Table::Image, [sequence, name_len, kind_len, size.into()], Some(&text))
}
