//! A batch into the tables: the one place where rows are written.

use crate::batch::{Batch, LogRow, MailRow, Op};
use crate::chats::Chats;
use crate::key::Key;
use crate::rows::{
    GIVEN, LOG, LogSum, Own, RESERVED, USER, UserRow, group_sum, image_sum, mail_sum, newest_sum,
    user_row, user_sum,
};
use crate::sum::{self, Table};
use crate::waiting;
use centrala_core::host::FORMER_GROUP;
use rusqlite::{Connection, OptionalExtension, Result, Statement, params};
use std::collections::HashSet;

/// What a batch did beyond what was expected of it.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// What the number of messages that a user has waiting differs by: a mail that was there
    /// already, or one settled that was not.
    pub(crate) waiting: Vec<(u32, i64)>,
    /// Up to which sequences are reserved now, if it said so.
    pub(crate) reserved: u64,
}

/// The statements of the writer, compiled once.
pub(crate) struct Apply<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    newest: Statement<'c>,
    user: Statement<'c>,
    put_user: Statement<'c>,
    drop_user: Statement<'c>,
    drop_of_user: [Statement<'c>; 3],
    owned: Statement<'c>,
    group: Statement<'c>,
    put_group: Statement<'c>,
    drop_group: Statement<'c>,
    drop_members: Statement<'c>,
    put_member: Statement<'c>,
    drop_member: Statement<'c>,
    put_session: Statement<'c>,
    drop_session: Statement<'c>,
    put_counter: Statement<'c>,
    logged: Statement<'c>,
    put_log: Statement<'c>,
    put_history: Statement<'c>,
    put_mail: Statement<'c>,
    own_from: Statement<'c>,
    own_of: Statement<'c>,
    put_own: Statement<'c>,
    settle: Statement<'c>,
    settle_any: Statement<'c>,
    put_image: Statement<'c>,
    put_newest: Statement<'c>,
    drop_newest: Statement<'c>,
    put_pair: Statement<'c>,
    chats: Chats<'c>,
    waiting: waiting::Keep<'c>,
    /// Messages that the log had another of already: their mail has its own text.
    refused: Vec<u64>,
    /// Pairs that are known to be in the table of pairs: not all of them.
    pairs: HashSet<Key>,
}

/// Pairs that are remembered at most, so that most messages need not look for theirs.
const PAIRS: usize = 1 << 16;

impl<'c> Apply<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Result<Self> {
        let sql = |sql: &str| connection.prepare(sql);
        Ok(Apply {
            begin: sql("BEGIN IMMEDIATE")?,
            commit: sql("COMMIT")?,
            rollback: sql("ROLLBACK")?,
            newest: sql("SELECT max(sequence) FROM log")?,
            user: sql(&format!("{USER} WHERE number = ?1"))?,
            put_user: sql("INSERT OR REPLACE INTO users VALUES (?1, ?2, ?3, ?4, ?5)")?,
            drop_user: sql("DELETE FROM users WHERE number = ?1")?,
            drop_of_user: [
                sql("DELETE FROM members WHERE user = ?1")?,
                sql("DELETE FROM mailbox WHERE user = ?1")?,
                sql("DELETE FROM sessions WHERE user = ?1")?,
            ],
            owned: sql("SELECT number, name, since, sum FROM groups WHERE owner = ?1")?,
            group: sql("SELECT name, owner, since, sum FROM groups WHERE number = ?1")?,
            put_group: sql("INSERT OR REPLACE INTO groups VALUES (?1, ?2, ?3, ?4, ?5)")?,
            drop_group: sql("DELETE FROM groups WHERE number = ?1")?,
            drop_members: sql("DELETE FROM members WHERE grp = ?1")?,
            put_member: sql("INSERT OR REPLACE INTO members VALUES (?1, ?2, ?3, ?4)")?,
            drop_member: sql("DELETE FROM members WHERE user = ?1 AND grp = ?2")?,
            put_session: sql("INSERT OR REPLACE INTO sessions VALUES (?1, ?2, ?3, ?4)")?,
            drop_session: sql("DELETE FROM sessions WHERE dialect = ?1 AND address = ?2")?,
            put_counter: sql("INSERT OR REPLACE INTO counters VALUES (?1, ?2, ?3, ?4)")?,
            logged: sql(&format!("{LOG} WHERE sequence = ?1"))?,
            put_log: sql("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT DO NOTHING")?,
            put_history: sql("INSERT OR IGNORE INTO history VALUES (?1, ?2, ?3)")?,
            put_mail: sql("INSERT INTO mailbox
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
                 ON CONFLICT DO NOTHING")?,
            own_from: sql(&format!("{OWN} WHERE sender = ?1 AND text IS NOT NULL"))?,
            own_of: sql(&format!("{OWN} WHERE grp = ?1 AND text IS NOT NULL"))?,
            put_own: sql("UPDATE mailbox SET sender = ?4, grp = ?5, sum = ?6
                 WHERE user = ?1 AND priority = ?2 AND sequence = ?3")?,
            settle: sql("DELETE FROM mailbox WHERE user = ?1 AND priority = 3 AND sequence = ?2")?,
            settle_any: sql("DELETE FROM mailbox
                 WHERE user = ?1 AND priority IN (1, 2, 4, 5) AND sequence = ?2")?,
            put_image: sql("INSERT INTO images VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO NOTHING")?,
            put_newest: sql("INSERT OR REPLACE INTO newest VALUES (?1, ?2, ?3)")?,
            drop_newest: sql("DELETE FROM newest WHERE id = ?1")?,
            put_pair: sql("INSERT OR IGNORE INTO pairs VALUES (?1, ?2), (?2, ?1)")?,
            chats: Chats::new(connection)?,
            waiting: waiting::Keep::new(connection)?,
            refused: Vec::new(),
            pairs: HashSet::new(),
        })
    }

    /// These pairs have no messages left, nor a row.
    pub(crate) fn forget_pairs(&mut self, emptied: impl Iterator<Item = Key>) {
        for pair in emptied {
            self.pairs.remove(&pair);
        }
    }

    /// Makes the changes that `which` says, all of them or none.
    pub(crate) fn batch(&mut self, batch: &Batch, which: impl Fn(&Op) -> bool) -> Result<Applied> {
        self.begin.execute([])?;
        self.refused.clear();
        self.waiting.begin();
        let mut applied = Applied::default();
        let mut done = Ok(());
        for op in batch.ops().iter().filter(|op| which(op)) {
            done = self.op(batch, op, &mut applied);
            if done.is_err() {
                break;
            }
        }
        let done = done.and_then(|()| self.waiting.end());
        if let Err(error) = done.and_then(|()| self.commit.execute([]).map(drop)) {
            // The engine has rolled back by itself after some errors: then there is nothing to.
            let _ = self.rollback.execute([]);
            self.pairs.clear();
            return Err(error);
        }
        Ok(applied)
    }

    fn op(&mut self, batch: &Batch, op: &Op, applied: &mut Applied) -> Result<()> {
        match *op {
            Op::Log(row) => self.log(batch, &row)?,
            Op::Mail(row) => {
                if self.mail(batch, &row)? {
                    self.waiting.more(row.user, row.sequence as i64);
                } else {
                    applied.waiting.push((row.user, -1));
                }
            }
            Op::Settled { user, sequence } => {
                let key = (user, sequence as i64);
                if self.settle.execute(key)? != 0 || self.settle_any.execute(key)? != 0 {
                    self.waiting.less(user);
                } else {
                    applied.waiting.push((user, 1));
                }
            }
            Op::User { number, name, password } => {
                let since = self.newest()?;
                let mut user = match self.user(number)? {
                    // Under a new name the user is the same one.
                    Some(user) => user,
                    // Nothing of a former one is left.
                    None => {
                        self.forget_user(number)?;
                        UserRow { name: Vec::new(), password: None, since }
                    }
                };
                user.name = batch.text(name).to_vec();
                if let Some(password) = password {
                    user.password = Some(batch.text(password).to_vec());
                }
                self.put_user(number, &user)?;
            }
            Op::NoUser { number } => {
                self.forget_user(number)?;
                self.drop_user.execute([number])?;
            }
            Op::Group { number, name, owner } => {
                let name = batch.text(name);
                let since = self.newest()?;
                let row = self.group.query_row([number], |row| {
                    let (name, owner, since): (Vec<u8>, u32, i64) =
                        (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok((group_sum(number, owner, since, &name) == row.get(3)?).then_some(since))
                });
                let known = row.optional().unwrap_or(None).flatten();
                if known.is_none() {
                    // Nothing of a former one is left.
                    self.forget_group(number)?;
                }
                let since = known.unwrap_or(since);
                let sum = group_sum(number, owner, since, name);
                self.put_group.execute((number, name, owner, since, sum))?;
            }
            Op::NoGroup { number } => {
                self.forget_group(number)?;
                self.drop_group.execute([number])?;
            }
            Op::Member { user, group, left } => {
                let sum = sum::of(Table::Member, [user.into(), group.into(), left.into()], None);
                self.put_member.execute((user, group, left, sum))?;
            }
            Op::NoMember { user, group } => {
                self.drop_member.execute((user, group))?;
            }
            Op::Chat { group, user } => self.chats.put(group, user)?,
            Op::Seen { user, conversation, sequence } => {
                self.chats.saw(user, conversation, sequence as i64)?;
            }
            Op::Image { sequence, hash, name, kind, size } => {
                let (key, name, kind) = (sequence as i64, batch.text(name), batch.text(kind));
                if !self.refused.contains(&sequence) {
                    let sum = image_sum(key, &hash, name, kind, size);
                    self.put_image.execute((key, hash, name, kind, size, sum))?;
                }
            }
            Op::Newest { sequence } => self.put_newest(GIVEN, sequence)?,
            Op::Reserve { sequence: 0 } => drop(self.drop_newest.execute([RESERVED])?),
            Op::Reserve { sequence } => {
                self.put_newest(RESERVED, sequence)?;
                applied.reserved = sequence;
            }
            Op::Password { user, hash } => {
                if let Some(row) = self.user(user)? {
                    let password = hash.map(|hash| batch.text(hash).to_vec());
                    self.put_user(user, &UserRow { password, ..row })?;
                }
            }
            Op::Session { dialect, address, user: 0 } => {
                self.drop_session.execute((dialect, address))?;
            }
            Op::Session { dialect, address, user } => {
                let sum = sum::of(Table::Session, [dialect.into(), address, user.into()], None);
                self.put_session.execute((dialect, address, user, sum))?;
            }
            Op::Counter { kind, key, value } => {
                let value = value as i64;
                let sum = sum::of(Table::Counter, [kind.into(), key.into(), value], None);
                self.put_counter.execute((kind, key, value, sum))?;
            }
            Op::Nothing => {}
        }
        Ok(())
    }

    /// A user, unless it is damaged.
    fn user(&mut self, number: u32) -> Result<Option<UserRow>> {
        let row = self.user.query_row([number], |row| Ok(user_row(number, row)));
        // A value of another type than it was written with is damage too.
        Ok(row.optional()?.and_then(|user| user.unwrap_or(None)))
    }

    fn put_user(&mut self, number: u32, user: &UserRow) -> Result<()> {
        let UserRow { name, password, since } = user;
        self.put_user.execute((number, name, password, since, user_sum(number, user)))?;
        Ok(())
    }

    fn put_newest(&mut self, id: i64, sequence: u64) -> Result<()> {
        let sequence = sequence as i64;
        self.put_newest.execute((id, sequence, newest_sum(id, sequence))).map(drop)
    }

    /// The newest message of the log; 0 if there is none.
    fn newest(&mut self) -> Result<i64> {
        self.newest.query_row([], |row| Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0)))
    }

    fn log(&mut self, batch: &Batch, row: &LogRow) -> Result<()> {
        let LogRow { sequence, from, to, group, about, image, priority, time, text } = *row;
        let (key, text) = (sequence as i64, batch.text(text));
        let sum = LogSum { sequence: key, from, to, group, about, image, priority, time }.of(text);
        let time = time as i64;
        let put = (key, from, to, group, priority, time, text, sum, about, image);
        if self.put_log.execute(put)? == 0 {
            self.refused.push(sequence);
        } else if let Some(conversation) = Key::of(from, to, group, about) {
            self.put_history.execute((conversation, key, from))?;
            if let Some(pair) = conversation.pair()
                && !self.pairs.contains(&conversation)
            {
                self.put_pair.execute(pair)?;
                if self.pairs.len() >= PAIRS {
                    self.pairs.clear();
                }
                self.pairs.insert(conversation);
            }
        }
        Ok(())
    }

    /// False if it was there already.
    fn mail(&mut self, batch: &Batch, row: &MailRow) -> Result<bool> {
        let MailRow { user, sequence, id, from, group, about, image, priority, last, .. } = *row;
        let (key, text) = (sequence as i64, batch.text(row.text));
        let shared = match row.shared {
            true => !self.refused.contains(&sequence),
            false => self.is_logged(row, text)?,
        };
        let time = row.time;
        let own = (!shared).then_some(Own { from, group, about, image, time, text });
        let sum = mail_sum(user, priority, key, id, last, own);
        let (from, group) = (own.map(|own| own.from), own.map(|own| own.group));
        let (about, image) = (own.map(|own| own.about), own.map(|own| own.image));
        let (time, text) = (own.map(|own| own.time as i64), own.map(|own| own.text));
        let put = self.put_mail.execute(params![
            user, priority, key, id, last, sum, from, group, time, text, about, image
        ])?;
        Ok(put != 0)
    }

    /// Whether the log has the message of a mail, the same in everything.
    fn is_logged(&mut self, mail: &MailRow, text: &[u8]) -> Result<bool> {
        let key = mail.sequence as i64;
        let MailRow { from, group, about, image, priority, time, .. } = *mail;
        let same = self.logged.query_row([key], |row| {
            let (found, logged, sum) = LogSum::read(key, row)?;
            let is =
                LogSum { sequence: key, to: found.to, from, group, about, image, priority, time };
            Ok(found == is && logged == text && found.of(logged) == sum)
        });
        // A row that cannot be read is none that a mail may rely on.
        Ok(same.optional().unwrap_or(None).unwrap_or(false))
    }

    /// Nothing is left of what a user has, and what it made has no maker. Messages in the log are
    /// told from those of a later user of that number by their age.
    fn forget_user(&mut self, number: u32) -> Result<()> {
        for statement in &mut self.drop_of_user {
            statement.execute([number])?;
        }
        self.waiting.none(number)?;
        self.chats.forget_user(number)?;
        self.pairs.clear();
        // A damaged row stays as it is: it must not come by a good checksum.
        let owned: Vec<(u32, Vec<u8>, i64, i64)> = self
            .owned
            .query_map([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .collect::<Result<_>>()?;
        for (group, name, since, sum) in owned {
            self.chats.forget_about(group)?;
            if group_sum(group, number, since, &name) == sum {
                let sum = group_sum(group, 0, since, &name);
                self.put_group.execute((group, name, 0, since, sum))?;
            }
        }
        change_own(&mut self.own_from, &mut self.put_own, number, |own| own.from = 0)
    }

    /// Nobody is a member of it, nothing is said about it, and what waits is not of it. What shares
    /// the text of the log is told from mail of a later group of that number by its age.
    fn forget_group(&mut self, number: u32) -> Result<()> {
        self.drop_members.execute([number])?;
        self.chats.forget_group(number)?;
        change_own(&mut self.own_of, &mut self.put_own, number, |own| own.group = FORMER_GROUP)
    }
}

/// What [`change_own`] reads of mail that has its own text.
const OWN: &str =
    "SELECT user, priority, sequence, id, last, sender, grp, about, image, time, text,
    sum FROM mailbox";

/// Changes the mail that `find` finds.
fn change_own(
    find: &mut Statement<'_>,
    put: &mut Statement<'_>,
    number: u32,
    change: impl Fn(&mut Own<'_>),
) -> Result<()> {
    type Row = (u32, u8, i64, u32, bool, u32, u32, Option<u32>, Option<bool>, i64, Vec<u8>, i64);
    let found: Vec<Row> = find.query_map([number], |row| row.try_into())?.collect::<Result<_>>()?;
    for (user, priority, sequence, id, last, from, group, about, image, time, text, sum) in found {
        // Of an older version they are missing.
        let (about, image) = (about.unwrap_or(0), image.unwrap_or(false));
        let mut own = Own { from, group, about, image, time: time as u64, text: &text };
        let sum_of = |own: Own<'_>| mail_sum(user, priority, sequence, id, last, Some(own));
        // A damaged row stays as it is: it must not come by a good checksum.
        if sum_of(own) == sum {
            change(&mut own);
            put.execute((user, priority, sequence, own.from, own.group, sum_of(own)))?;
        }
    }
    Ok(())
}
