//! What a server reads at its start.

use crate::error::Error;
use crate::rows::{USER, UserRow, chat_sum, group_sum, newest_sum, user_row};
use crate::sum::{self, Table};
use crate::waiting;
use centrala_core::host::{Posted, Record};
use rusqlite::{Connection, Result as Sql, Row};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// A user as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// From 1.
    pub number: u32,
    /// Its name.
    pub name: Vec<u8>,
    /// What was set as its password ([`crate::Store::set_password`]).
    pub password: Option<String>,
}

/// A group as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// From 1.
    pub number: u32,
    /// Its name.
    pub name: Vec<u8>,
    /// User number of who created it; 0 is the host.
    pub owner: u32,
}

/// A membership as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// User number.
    pub user: u32,
    /// Group number.
    pub group: u32,
    /// Messages still to come; -1 for ever.
    pub left: i32,
}

/// A private chat as it is stored: between the owner of a group and a user, about the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrivateChat {
    /// Group number.
    pub group: u32,
    /// User number.
    pub user: u32,
}

/// A session that outlasts its server, as its queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The host's number for the dialect.
    pub dialect: u8,
    /// The key of its queue, or its number in a shared one.
    pub address: i64,
    /// User number.
    pub user: u32,
}

/// A number that the host keeps under a name of its own choosing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// What it counts.
    pub kind: u8,
    /// Of which user, group, or else.
    pub key: u32,
    /// How many.
    pub value: u64,
}

/// How many messages wait for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// User number.
    pub user: u32,
    /// Messages.
    pub messages: u32,
}

/// All that a server has to know before it begins. Mail itself is not in it: it is read for one
/// user at a time ([`crate::Reader::mail_page`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// By number.
    pub users: Vec<User>,
    /// By number.
    pub groups: Vec<Group>,
    /// By user, then group.
    pub memberships: Vec<Membership>,
    /// By group, then user.
    pub chats: Vec<PrivateChat>,
    /// By dialect, then address.
    pub sessions: Vec<Session>,
    /// By kind, then key.
    pub counters: Vec<Counter>,
    /// Users for whom mail waits, by number.
    pub mail: Vec<Waiting>,
    /// The newest sequence that may have been given, whether or not its message was kept; 0 if none
    /// was.
    pub newest: u64,
    /// No mail that waits has a lower sequence; `None` if none waits.
    pub lowest_mail: Option<u64>,
    /// Rows left out because they are damaged.
    pub damaged: u64,
    /// Where a damaged file was moved to, if there was one and that was allowed: the store begins
    /// anew.
    pub quarantined: Option<PathBuf>,
}

impl Restored {
    /// As records for [`restore`](centrala_core::exchange::Exchange::restore), in the order that
    /// it asks for; the last one tells the newest sequence. Which users have a password is for the
    /// host to say ([`set_password`](centrala_core::exchange::Exchange::set_password)).
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let users = self.users.iter();
        let users =
            users.map(|user| Record::User { number: user.number, name: &user.name, secret: None });
        let groups = self.groups.iter();
        let groups = groups.map(|group| Record::Group {
            number: group.number,
            name: &group.name,
            owner: group.owner,
        });
        let members = self.memberships.iter();
        let members =
            members.map(|&Membership { user, group, left }| Record::Member { user, group, left });
        let chats = self.chats.iter();
        let chats = chats.map(|&PrivateChat { group, user }| Record::Chat { group, user });
        let newest = (self.newest != 0)
            .then_some(Record::Posted(Posted { sequence: self.newest, ..Posted::NONE }));
        users.chain(groups).chain(members).chain(chats).chain(newest)
    }
}

/// Reads it. Costs nothing for a message that is stored.
pub(crate) fn load(
    connection: &Connection,
    file: &Path,
) -> Result<(Restored, HashMap<u32, u32>), Error> {
    let load = || {
        let mut restored = Restored::default();
        let mut damaged = 0;
        let users = format!("{USER} ORDER BY number");
        restored.users = rows(connection, &users, &mut damaged, |row| {
            let number = row.get(4)?;
            let Some(UserRow { name, password, .. }) = user_row(number, row)? else {
                return Ok(None);
            };
            let password = password.map(String::from_utf8).transpose();
            Ok(password.ok().map(|password| User { number, name, password }))
        })?;
        restored.groups = rows(
            connection,
            "SELECT number, name, owner, since, sum FROM groups ORDER BY number",
            &mut damaged,
            |row| {
                let (number, name, owner): (u32, Vec<u8>, u32) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let good = sum::good(row.get(4)?, group_sum(number, owner, row.get(3)?, &name));
                Ok(good.then_some(Group { number, name, owner }))
            },
        )?;
        restored.memberships = rows(
            connection,
            "SELECT user, grp, remaining, sum FROM members ORDER BY user, grp",
            &mut damaged,
            |row| {
                let (user, group, left): (u32, u32, i32) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let sum = sum::of(Table::Member, [user.into(), group.into(), left.into()], None);
                Ok(sum::good(row.get(3)?, sum).then_some(Membership { user, group, left }))
            },
        )?;
        restored.chats = rows(
            connection,
            "SELECT grp, user, sum FROM chats ORDER BY grp, user",
            &mut damaged,
            |row| {
                let (group, user) = (row.get(0)?, row.get(1)?);
                let good = sum::good(row.get(2)?, chat_sum(group, user));
                Ok(good.then_some(PrivateChat { group, user }))
            },
        )?;
        restored.sessions = rows(
            connection,
            "SELECT dialect, address, user, sum FROM sessions ORDER BY dialect, address",
            &mut damaged,
            |row| {
                let (dialect, address, user): (u8, i64, u32) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let sum = sum::of(Table::Session, [dialect.into(), address, user.into()], None);
                Ok(sum::good(row.get(3)?, sum).then_some(Session { dialect, address, user }))
            },
        )?;
        restored.counters = rows(
            connection,
            "SELECT kind, key, value, sum FROM counters ORDER BY kind, key",
            &mut damaged,
            |row| {
                let (kind, key, value): (u8, u32, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let sum = sum::of(Table::Counter, [kind.into(), key.into(), value], None);
                let value = value as u64;
                Ok(sum::good(row.get(3)?, sum).then_some(Counter { kind, key, value }))
            },
        )?;
        let given = "SELECT id, sequence, sum FROM newest";
        let given = rows(connection, given, &mut damaged, |row| {
            let (id, sequence): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(sum::good(row.get(2)?, newest_sum(id, sequence)).then_some(sequence))
        })?;
        restored.damaged = damaged;
        let newest = "SELECT max(sequence) FROM log";
        let newest: Option<i64> = connection.query_row(newest, [], |row| row.get(0))?;
        let (waiting, damaged) = waiting::all(connection)?;
        restored.damaged += damaged;
        let lowest = waiting.values().map(|waiting| waiting.lowest).min();
        let highest = waiting.values().map(|waiting| waiting.highest).max();
        restored.lowest_mail = lowest.map(|lowest| lowest as u64);
        restored.newest =
            newest.max(highest).max(given.into_iter().max()).map_or(0, |newest| newest as u64);
        let counts: HashMap<u32, u32> = waiting
            .iter()
            .map(|(&user, waiting)| (user, u32::try_from(waiting.messages).unwrap_or(u32::MAX)))
            .collect();
        let mail = counts.iter().map(|(&user, &messages)| Waiting { user, messages });
        restored.mail = mail.collect();
        restored.mail.sort_unstable_by_key(|waiting| waiting.user);
        Ok((restored, counts))
    };
    load().map_err(|error: rusqlite::Error| Error::engine(file, &error))
}

/// The good rows of a table. One that is damaged costs that row.
fn rows<T>(
    connection: &Connection,
    sql: &str,
    damaged: &mut u64,
    mut read: impl FnMut(&Row<'_>) -> Sql<Option<T>>,
) -> Sql<Vec<T>> {
    let mut statement = connection.prepare(sql)?;
    let (mut rows, mut good) = (statement.query([])?, Vec::new());
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(Some(row)) => good.push(row),
            // A number out of its range, or a value of another type.
            Ok(None) | Err(_) => *damaged += 1,
        }
    }
    Ok(good)
}
