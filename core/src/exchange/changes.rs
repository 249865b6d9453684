//! Changes of the directory: by the host, by a client's request, and by what a store brings back.

use super::log_in::Stage;
use super::send::{CONVERSATIONS, places};
use super::{Exchange, FIRST_SEQUENCE, Refused, Token};
use crate::event::Limit;
use crate::host::{Io, Record, Store};
use crate::name::Name;
use crate::request::Target;

impl Exchange<'_> {
    /// Makes a user. A number is given back only when it is removed, and used again only when all
    /// have been given.
    ///
    /// # Errors
    /// The name is none or taken, the table is full, or the store refused.
    pub fn create_user(&mut self, name: &[u8], store: &mut dyn Store) -> Result<u32, Refused> {
        let name = Name::new(name)?;
        if self.directory.find_user(&Target::UserName(name.as_bytes())).is_some() {
            return Err(Refused::Exists);
        }
        self.new_user(name, None, store)
    }

    pub(super) fn new_user(
        &mut self,
        name: Name,
        secret: Option<Token>,
        store: &mut dyn Store,
    ) -> Result<u32, Refused> {
        let number = self.directory.next_user().map_err(Refused::Full)?;
        let record = Record::User { number, name: name.as_bytes(), secret };
        store.write(record).map_err(|error| Refused::Full(error.into()))?;
        self.directory.put_user(number, name, secret.is_some());
        Ok(number)
    }

    /// Says whether the host knows a password of the user: from now on it is asked for one.
    ///
    /// # Errors
    /// No such user.
    pub fn set_password(&mut self, user: u32, known: bool) -> Result<(), Refused> {
        self.directory.user_mut(user).ok_or(Refused::NoSuch)?.password = known;
        Ok(())
    }

    /// Removes a user: its sessions are closed, its memberships and mail are gone, and what it sent
    /// to others has no sender any more.
    ///
    /// # Errors
    /// No such user, or the store refused; then its session in a dialect with conversations is over
    /// all the same.
    pub fn remove_user(&mut self, user: u32, io: &mut Io<'_>) -> Result<(), Refused> {
        self.timers.advance(io.now);
        let sessions = self.directory.user(user).ok_or(Refused::NoSuch)?.sessions;
        // What a session has seen is written when it ends: before the user is gone.
        for (place, _) in places(&sessions, CONVERSATIONS) {
            if let Some(link) = self.sessions.handle(place) {
                io.out.close(link);
                self.end(link, io);
            }
        }
        io.store.write(Record::NoUser { number: user }).map_err(|e| Refused::Full(e.into()))?;
        // First, so that no session's end makes mail of what waits for it.
        self.forget_mail(user, io);
        for place in sessions {
            if let Some(link) = self.sessions.handle(place) {
                self.take_back_answer(link, io);
                if let Some(session) = self.sessions.get_mut(link) {
                    session.stage = Stage::Removed;
                }
                io.out.close(link);
                self.end(link, io);
            }
        }
        self.forget_mail(user, io);
        // Its number may be another user's before their answers come.
        for question in self.questions.iter_mut().filter(|question| question.user == user) {
            question.user = 0;
        }
        self.forget_sender(user);
        self.pages_are_stale();
        self.forget_chats_of(user);
        self.directory.remove_user(user);
        Ok(())
    }

    /// Makes a group of which nobody is a member yet. `owner` is a user number, or 0.
    ///
    /// # Errors
    /// The name is none or taken, the table is full, or the store refused.
    pub fn create_group(
        &mut self,
        name: &[u8],
        owner: u32,
        store: &mut dyn Store,
    ) -> Result<u32, Refused> {
        self.new_group(name, owner, u32::MAX, store)
    }

    pub(super) fn new_group(
        &mut self,
        name: &[u8],
        owner: u32,
        max: u32,
        store: &mut dyn Store,
    ) -> Result<u32, Refused> {
        let name = Name::new(name)?;
        if self.directory.find_group(&Target::GroupName(name.as_bytes())).is_some() {
            return Err(Refused::Exists);
        }
        let number = self.directory.next_group(max).map_err(Refused::Full)?;
        let record = Record::Group { number, name: name.as_bytes(), owner };
        store.write(record).map_err(|error| Refused::Full(error.into()))?;
        self.directory.put_group(number, name, owner);
        Ok(number)
    }

    /// Removes a group and its memberships. Messages that already wait stay, and are of
    /// [`FORMER_GROUP`](crate::host::FORMER_GROUP).
    ///
    /// # Errors
    /// No such group, or the store refused.
    pub fn remove_group(&mut self, group: u32, store: &mut dyn Store) -> Result<(), Refused> {
        self.directory.group(group).ok_or(Refused::NoSuch)?;
        store.write(Record::NoGroup { number: group }).map_err(|e| Refused::Full(e.into()))?;
        self.forget_group(group);
        self.pages_are_stale();
        self.forget_chats_about(group);
        self.directory.remove_group(group);
        Ok(())
    }

    /// Makes a user a member of a group for `left` messages (-1: for ever), or changes how many.
    ///
    /// # Errors
    /// No such user or group, the table is full, or the store refused.
    pub fn join(
        &mut self,
        user: u32,
        group: u32,
        left: i32,
        store: &mut dyn Store,
    ) -> Result<(), Refused> {
        if self.directory.user(user).is_none() || self.directory.group(group).is_none() {
            return Err(Refused::NoSuch);
        }
        if self.directory.membership(user, group).is_none() {
            self.directory.membership_fits().map_err(Refused::Full)?;
        }
        let record = Record::Member { user, group, left };
        store.write(record).map_err(|error| Refused::Full(error.into()))?;
        self.directory.join(user, group, left).map_err(Refused::Full)
    }

    /// Ends a membership. Ending one that is none is done already.
    ///
    /// # Errors
    /// The store refused.
    pub fn leave(&mut self, user: u32, group: u32, store: &mut dyn Store) -> Result<(), Refused> {
        if self.directory.membership(user, group).is_some() {
            let record = Record::NoMember { user, group };
            store.write(record).map_err(|error| Refused::Full(error.into()))?;
            self.directory.leave(user, group);
        }
        Ok(())
    }

    /// Takes back a record that the store kept, before any link is opened: users and groups first,
    /// then memberships and private chats, then mail in its order. Sessions come last, when their endpoints are open
    /// ([`Exchange::restore_session`]).
    ///
    /// # Errors
    /// The record does not fit what was restored before it, or a table is too small for it now.
    pub fn restore(&mut self, record: Record<'_>) -> Result<(), Refused> {
        match record {
            Record::User { number, name, .. } => {
                let put = self.directory.put_user(number, Name::new(name)?, false);
                put.then_some(()).ok_or(Refused::Full(Limit::Users))
            }
            Record::Group { number, name, owner } => {
                let put = self.directory.put_group(number, Name::new(name)?, owner);
                put.then_some(()).ok_or(Refused::Full(Limit::Groups))
            }
            Record::Member { user, group, left } => {
                if self.directory.user(user).is_none() || self.directory.group(group).is_none() {
                    return Err(Refused::NoSuch);
                }
                self.directory.join(user, group, left).map_err(Refused::Full)
            }
            Record::Chat { group, user } => {
                if self.directory.user(user).is_none() || self.directory.group(group).is_none() {
                    return Err(Refused::NoSuch);
                }
                self.restore_chat(group, user).map_err(Refused::Full)
            }
            Record::Mail(mail) => self.put_mail(&mail).map(|_| ()),
            Record::Posted(posted) => {
                self.sequence = self.sequence.max(posted.sequence);
                // Each message took at most one id of its sender's: none is given a second time.
                self.directory.begin_ids(posted.sequence.saturating_sub(FIRST_SEQUENCE) as u32);
                Ok(())
            }
            Record::NoUser { .. }
            | Record::NoGroup { .. }
            | Record::NoMember { .. }
            | Record::Session { .. }
            | Record::Seen { .. }
            | Record::Settled { .. } => Err(Refused::NoSuch),
        }
    }
}
