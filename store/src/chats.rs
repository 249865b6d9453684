//! What the writer keeps of conversations beside their messages: private chats, what users have
//! seen, and who has direct messages with whom.

use crate::key::Key;
use crate::rows::chat_sum;
use crate::sum::{self, Table};
use rusqlite::{Connection, OptionalExtension, Result, Statement};

/// The checksum of a row of `seen`.
pub(crate) fn seen_sum(user: u32, conversation: Key, sequence: i64) -> i64 {
    let [a, b] = conversation.numbers();
    sum::of(Table::Seen, [user.into(), a, b, sequence], None)
}

/// The statements for it, compiled once.
pub(crate) struct Chats<'c> {
    put: Statement<'c>,
    put_seen: Statement<'c>,
    seen: Statement<'c>,
    drop_about: Statement<'c>,
    drop_seen_about: Statement<'c>,
    drop_seen_in: Statement<'c>,
    drop_seen_of: Statement<'c>,
    groups: Statement<'c>,
    drop_chats_of: Statement<'c>,
    others: Statement<'c>,
    drop_pair: Statement<'c>,
    owner: Statement<'c>,
}

impl<'c> Chats<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Result<Self> {
        let sql = |sql: &str| connection.prepare(sql);
        Ok(Chats {
            put: sql("INSERT OR REPLACE INTO chats VALUES (?1, ?2, ?3)")?,
            put_seen: sql("INSERT INTO seen VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET sequence = ?3, sum = ?4")?,
            seen: sql("SELECT sequence, sum FROM seen WHERE user = ?1 AND conversation = ?2")?,
            drop_about: sql("DELETE FROM chats WHERE grp = ?1")?,
            drop_seen_about: sql("DELETE FROM seen WHERE conversation BETWEEN ?1 AND ?2")?,
            drop_seen_in: sql("DELETE FROM seen WHERE conversation = ?1")?,
            drop_seen_of: sql("DELETE FROM seen WHERE user = ?1")?,
            groups: sql("SELECT grp FROM chats WHERE user = ?1")?,
            drop_chats_of: sql("DELETE FROM chats WHERE user = ?1")?,
            others: sql("SELECT other FROM pairs WHERE user = ?1")?,
            drop_pair: sql("DELETE FROM pairs WHERE (user, other) IN ((?1, ?2), (?2, ?1))")?,
            owner: sql("SELECT owner FROM groups WHERE number = ?1")?,
        })
    }

    /// There is a private chat.
    pub(crate) fn put(&mut self, group: u32, user: u32) -> Result<()> {
        self.put.execute((group, user, chat_sum(group, user))).map(drop)
    }

    /// A user has seen a conversation up to a message, or farther before.
    pub(crate) fn saw(&mut self, user: u32, conversation: Key, sequence: i64) -> Result<()> {
        let row = self.seen.query_row((user, conversation), |row| {
            let (before, sum) = (row.get(0)?, row.get(1)?);
            Ok((seen_sum(user, conversation, before) == sum).then_some(before))
        });
        // One that is damaged is made good.
        if row.optional().unwrap_or(None).flatten().is_none_or(|before| before < sequence) {
            let sum = seen_sum(user, conversation, sequence);
            self.put_seen.execute((user, conversation, sequence, sum))?;
        }
        Ok(())
    }

    /// The private chats about a group are over.
    pub(crate) fn forget_about(&mut self, group: u32) -> Result<()> {
        self.drop_about.execute([group])?;
        let end = |users: u8| {
            let mut key = [users; 12];
            key[..4].copy_from_slice(&group.to_be_bytes());
            Key::About(key)
        };
        self.drop_seen_about.execute((end(0), end(u8::MAX)))?;
        Ok(())
    }

    /// A group is gone, or just come.
    pub(crate) fn forget_group(&mut self, group: u32) -> Result<()> {
        self.forget_about(group)?;
        self.drop_seen_in.execute([Key::Plain(group.into())])?;
        Ok(())
    }

    /// A user is gone, or just come. Its groups are told of one by one.
    pub(crate) fn forget_user(&mut self, user: u32) -> Result<()> {
        let groups: Vec<u32> =
            self.groups.query_map([user], |row| row.get(0))?.collect::<Result<_>>()?;
        for group in groups {
            let owner = self.owner.query_row([group], |row| row.get(0)).optional()?;
            if let Some(key) = Key::of(user, owner.unwrap_or(0), 0, group) {
                self.drop_seen_in.execute([key])?;
            }
        }
        self.drop_chats_of.execute([user])?;
        let others: Vec<u32> =
            self.others.query_map([user], |row| row.get(0))?.collect::<Result<_>>()?;
        for other in others {
            if let Some(key) = Key::of(user, other, 0, 0) {
                self.drop_seen_in.execute([key])?;
            }
            self.drop_pair.execute((user, other))?;
        }
        self.drop_seen_of.execute([user])?;
        Ok(())
    }
}
