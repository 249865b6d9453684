//! The records that the exchange writes, into the batch.

use super::Store;
use crate::batch::Op;
use crate::key::Key;
use centrala_core::host::{self, NoRoom, Record};
use centrala_core::request::Chat;

impl host::Store for Store {
    /// A user, a group, a new membership or the end of one is durable when this returns, unless
    /// they are gathered ([`Store::gather_directory`]): all that was written before it is committed
    /// with it. All else is at the next commit.
    ///
    /// Mail beyond a limit is refused, and so is everything that needs room while the disk is full
    /// or fails; what was delivered may be settled all the same.
    fn write(&mut self, record: Record<'_>) -> Result<(), NoRoom> {
        match record {
            Record::Posted(posted) => {
                self.newest = self.newest.max(posted.sequence);
                if self.newest > self.reserved {
                    self.await_reserved();
                }
                if self.shared.failed() || !self.batch.fits(posted.text.len()) {
                    return Err(NoRoom);
                }
                self.batch.log(&posted);
                self.written = self.written.max(posted.sequence);
                if posted.image
                    && let Some(image) = self.image.take()
                {
                    self.batch.image(posted.sequence, &image);
                    self.imaged = Some(posted.sequence);
                }
                Ok(())
            }
            Record::Mail(mail) => {
                let limits = self.shared.options.limits;
                if self.waiting(mail.user) >= limits.mailbox || self.total >= limits.mail {
                    self.keep_count();
                }
                if self.shared.failed()
                    || self.waiting(mail.user) >= limits.mailbox
                    || self.total >= limits.mail
                    || !self.batch.fits(mail.text.len())
                {
                    return Err(NoRoom);
                }
                self.batch.mail(&mail);
                self.count(mail.user, 1);
                Ok(())
            }
            Record::Chat { group, user } => self.take_now(Op::Chat { group, user }),
            Record::Seen { user, chat, sequence } => {
                let conversation = match chat {
                    None => Some(Key::DIRECT),
                    Some(Chat::Group(group)) => Key::of(0, 0, group, 0),
                    Some(Chat::Direct(other)) => Key::of(user, other, 0, 0),
                    Some(Chat::Private { group, user: with }) => {
                        // The other one is its owner.
                        let owner = self.owners.get(&group).copied().unwrap_or(0);
                        Key::of(owner, with, 0, group)
                    }
                };
                // Nobody is in one that is over.
                let Some(conversation) = conversation else { return Ok(()) };
                self.take(Op::Seen { user, conversation, sequence })
            }
            Record::Session { dialect, address, user } => {
                self.note_session(dialect as u8, address, user)
            }
            Record::Settled { user, sequence } => {
                self.batch.settle(user, sequence);
                self.count(user, -1);
                Ok(())
            }
            Record::User { number, name, secret } => {
                // A user that has a password is never made without it.
                let password = match secret {
                    Some(token) => Some(self.secrets.remove(&token).ok_or(NoRoom)?),
                    None => None,
                };
                let name = self.name(name)?;
                let password = password.map(|password| self.batch.copy(password.as_bytes()));
                let new = self.users.insert(number);
                if new {
                    self.forget(number);
                }
                self.take_now(Op::User { number, name, password }).inspect_err(|_| {
                    if new {
                        self.users.remove(&number);
                    }
                })
            }
            Record::NoUser { number } => {
                self.users.remove(&number);
                self.forget(number);
                self.take_now(Op::NoUser { number })
            }
            Record::Group { number, name, owner } => {
                let name = self.name(name)?;
                self.take_now(Op::Group { number, name, owner })?;
                self.owners.insert(number, owner);
                Ok(())
            }
            Record::NoGroup { number } => {
                self.take_now(Op::NoGroup { number })?;
                self.members.retain(|(_, group), _| *group != number);
                self.owners.remove(&number);
                Ok(())
            }
            Record::Member { user, group, left } => {
                // A countdown, or a renewal: at the next commit.
                let known = self.members.contains_key(&(user, group));
                let op = Op::Member { user, group, left };
                if known {
                    self.take(op)?
                } else {
                    self.take_now(op)?
                }
                self.members.insert((user, group), left);
                Ok(())
            }
            Record::NoMember { user, group } => {
                // The last of a countdown: at the next commit.
                let last = self.members.get(&(user, group)) == Some(&1);
                let op = Op::NoMember { user, group };
                if last {
                    self.take(op)?
                } else {
                    self.take_now(op)?
                }
                self.members.remove(&(user, group));
                Ok(())
            }
        }
    }

    fn history(&self) -> bool {
        true
    }
}

impl Store {
    /// Nothing waits for a user that is gone, or has just come.
    fn forget(&mut self, user: u32) {
        self.batch.forget_mail_of(user);
        let waiting = i64::from(self.waiting(user));
        if waiting != 0 {
            self.batch.waiting.push((user, -waiting));
            self.count(user, -waiting);
        }
        self.members.retain(|(of, _), _| *of != user);
        for owner in self.owners.values_mut().filter(|owner| **owner == user) {
            *owner = 0;
        }
    }
}
