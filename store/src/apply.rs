//! A batch into the tables: the one place where rows are written.

use crate::batch::{Batch, LogRow, MailRow, Op};
use crate::schema::conversation;
use crate::sum::{self, Table};
use crate::waiting;
use rusqlite::{Connection, OptionalExtension, Result, Row, Statement, params};

/// What a batch did beyond what was expected of it.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// What the number of messages that a user has waiting differs by: a mail that was there
    /// already, or one settled that was not.
    pub(crate) waiting: Vec<(u32, i64)>,
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
    sent: Statement<'c>,
    drop_sender: Statement<'c>,
    settle: Statement<'c>,
    settle_any: Statement<'c>,
    waiting: waiting::Keep<'c>,
    /// Messages that the log had another of already: their mail has its own text.
    refused: Vec<u64>,
}

/// The numbers of a mail's row that its checksum is over, in their order.
pub(crate) fn mail_sum(
    user: u32,
    priority: u8,
    sequence: i64,
    id: u32,
    last: bool,
    own: Option<(u32, u32, u64, &[u8])>,
) -> i64 {
    let (from, group, time, text) = match own {
        Some((from, group, time, text)) => (from, group, time, Some(text)),
        None => (0, 0, 0, None),
    };
    let head = [user.into(), priority.into(), sequence, id.into(), last.into()];
    let [a, b, c, d, e] = head;
    sum::of(Table::Mail, [a, b, c, d, e, from.into(), group.into(), time as i64], text)
}

/// The checksum of a row of the log.
pub(crate) fn log_sum(
    sequence: i64,
    from: u32,
    to: u32,
    group: u32,
    priority: u8,
    time: u64,
    text: &[u8],
) -> i64 {
    let numbers = [sequence, from.into(), to.into(), group.into(), priority.into(), time as i64];
    sum::of(Table::Log, numbers, Some(text))
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

fn user_sum(number: u32, user: &UserRow) -> i64 {
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
            logged: sql("SELECT sender, recipient, grp, priority, time, text, sum FROM log
                 WHERE sequence = ?1")?,
            put_log: sql(
                "INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
            )?,
            put_history: sql("INSERT OR IGNORE INTO history VALUES (?1, ?2)")?,
            put_mail: sql("INSERT INTO mailbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT DO NOTHING")?,
            sent: sql(
                "SELECT user, priority, sequence, id, last, grp, time, text, sum FROM mailbox
                 WHERE sender = ?1 AND text IS NOT NULL",
            )?,
            drop_sender: sql("UPDATE mailbox SET sender = 0, sum = ?4
                 WHERE user = ?1 AND priority = ?2 AND sequence = ?3")?,
            settle: sql("DELETE FROM mailbox WHERE user = ?1 AND priority = 3 AND sequence = ?2")?,
            settle_any: sql("DELETE FROM mailbox
                 WHERE user = ?1 AND priority IN (1, 2, 4, 5) AND sequence = ?2")?,
            waiting: waiting::Keep::new(connection)?,
            refused: Vec::new(),
        })
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
                    self.drop_members.execute([number])?;
                }
                let since = known.unwrap_or(since);
                let sum = group_sum(number, owner, since, name);
                self.put_group.execute((number, name, owner, since, sum))?;
            }
            Op::NoGroup { number } => {
                self.drop_members.execute([number])?;
                self.drop_group.execute([number])?;
            }
            Op::Member { user, group, left } => {
                let sum = sum::of(Table::Member, [user.into(), group.into(), left.into()], None);
                self.put_member.execute((user, group, left, sum))?;
            }
            Op::NoMember { user, group } => {
                self.drop_member.execute((user, group))?;
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

    /// The newest message of the log; 0 if there is none.
    fn newest(&mut self) -> Result<i64> {
        self.newest.query_row([], |row| Ok(row.get::<_, Option<i64>>(0)?.unwrap_or(0)))
    }

    fn log(&mut self, batch: &Batch, row: &LogRow) -> Result<()> {
        let LogRow { sequence, from, to, group, priority, time, text } = *row;
        let (key, text) = (sequence as i64, batch.text(text));
        let sum = log_sum(key, from, to, group, priority, time, text);
        let put = (key, from, to, group, priority, time as i64, text, sum);
        if self.put_log.execute(put)? == 0 {
            self.refused.push(sequence);
        } else if let Some(conversation) = conversation(from, to, group) {
            self.put_history.execute((conversation, key))?;
        }
        Ok(())
    }

    /// False if it was there already.
    fn mail(&mut self, batch: &Batch, row: &MailRow) -> Result<bool> {
        let MailRow { user, sequence, id, from, group, priority, last, time, text, shared } = *row;
        let (key, text) = (sequence as i64, batch.text(text));
        let shared = match shared {
            true => !self.refused.contains(&sequence),
            false => self.is_logged(row, text)?,
        };
        let own = (!shared).then_some((from, group, time, text));
        let sum = mail_sum(user, priority, key, id, last, own);
        let put = match own {
            None => self.put_mail.execute(params![
                user,
                priority,
                key,
                id,
                last,
                sum,
                None::<u32>,
                None::<u32>,
                None::<i64>,
                None::<&[u8]>
            ])?,
            Some((from, group, time, text)) => self.put_mail.execute(params![
                user,
                priority,
                key,
                id,
                last,
                sum,
                from,
                group,
                time as i64,
                text
            ])?,
        };
        Ok(put != 0)
    }

    /// Whether the log has the message of a mail, the same in everything.
    fn is_logged(&mut self, mail: &MailRow, text: &[u8]) -> Result<bool> {
        let key = mail.sequence as i64;
        let same = self.logged.query_row([key], |row| {
            let (from, to, group, priority) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            let (time, logged) = (row.get::<_, i64>(4)? as u64, row.get_ref(5)?.as_blob()?);
            Ok((from, group, priority, time) == (mail.from, mail.group, mail.priority, mail.time)
                && logged == text
                && log_sum(key, from, to, group, priority, time, logged) == row.get(6)?)
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
        // A damaged row stays as it is: it must not come by a good checksum.
        let owned: Vec<(u32, Vec<u8>, i64, i64)> = self
            .owned
            .query_map([number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
            .collect::<Result<_>>()?;
        for (group, name, since, sum) in owned {
            if group_sum(group, number, since, &name) == sum {
                let sum = group_sum(group, 0, since, &name);
                self.put_group.execute((group, name, 0, since, sum))?;
            }
        }
        type Sent = (u32, u8, i64, u32, bool, u32, i64, Vec<u8>, i64);
        let sent: Vec<Sent> =
            self.sent.query_map([number], |row| row.try_into())?.collect::<Result<_>>()?;
        for (user, priority, sequence, id, last, group, time, text, sum) in sent {
            let of = |from| {
                let own = Some((from, group, time as u64, text.as_slice()));
                mail_sum(user, priority, sequence, id, last, own)
            };
            if of(number) == sum {
                self.drop_sender.execute((user, priority, sequence, of(0)))?;
            }
        }
        Ok(())
    }
}
