//! Lists: sent frame by frame as there is room, from a cursor that stands on a number.

use super::directory::Directory;
use super::{Exchange, Link};
use crate::event::{Kind, Outcome, Party};
use crate::host::Io;
use crate::request::{List, Tag};

/// How far a list has been sent on a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) open: bool,
    list: List,
    tag: Tag,
    /// The number of the last row sent.
    at: u32,
}

impl Cursor {
    pub(super) const NONE: Cursor = Cursor { open: false, list: List::Online, tag: Tag(0), at: 0 };
}

/// The rows of a list that are still to be sent, by number.
#[derive(Clone, Debug)]
pub struct Rows<'d> {
    directory: &'d Directory<'d>,
    list: List,
    /// Who asks.
    user: u32,
    at: u32,
    /// The membership that comes next, once it has been looked for.
    next: Option<u32>,
}

#[cfg_attr(not(all(feature = "native", feature = "rooms")), allow(dead_code))]
impl<'d> Rows<'d> {
    /// The highest group number there has been.
    pub fn groups(&self) -> u32 {
        self.directory.high().1
    }

    /// Of a user: whether it has a session; of a group: whether the one who asks is a member; and of
    /// a counted membership, what is left of it. Of the last row.
    pub(crate) fn state(&self) -> (bool, Option<u32>) {
        let directory = self.directory;
        let (active, of) = match self.list {
            List::Online | List::Users => (self.online(self.at), None),
            List::Members(group) => (self.online(self.at), Some((self.at, group))),
            List::Groups | List::MyGroups => {
                let of = (self.user, self.at);
                (directory.membership(of.0, of.1).is_some(), Some(of))
            }
        };
        let place = of.and_then(|(user, group)| directory.membership(user, group));
        let left = place.and_then(|place| directory.membership_at(place)).map(|of| of.left);
        (active, left.and_then(|left| u32::try_from(left).ok()))
    }

    /// Whether no row has been taken yet.
    pub(crate) fn fresh(&self) -> bool {
        self.at == 0
    }

    /// How many rows a list of all users or of all groups has.
    pub(crate) fn total(&self) -> u32 {
        let (users, groups, _) = self.directory.counts();
        if self.list == List::Groups { groups } else { users }
    }

    /// Whether a user has a session in any dialect.
    pub(crate) fn online(&self, user: u32) -> bool {
        self.directory.user(user).is_some_and(|user| user.live != 0)
    }

    /// Who made a group.
    pub(crate) fn owner(&self, group: u32) -> Party<'d> {
        let owner = self.directory.group(group).map_or(0, |group| group.owner);
        self.directory.user_party(owner)
    }

    /// The number after this one in the list of a user's groups, or of a group's members.
    fn membership(&mut self) -> Option<u32> {
        let (directory, mine) = (self.directory, self.list == List::MyGroups);
        let mut place = self.next.unwrap_or(match self.list {
            List::Members(group) => directory.first_member(group),
            _ => directory.first_group(self.user),
        });
        while let Some(membership) = directory.membership_at(place) {
            let number = if mine { membership.group } else { membership.user };
            place = if mine { membership.user_next } else { membership.group_next };
            self.next = Some(place);
            if number > self.at {
                return Some(number);
            }
        }
        None
    }
}

impl<'d> Iterator for Rows<'d> {
    type Item = Party<'d>;

    fn next(&mut self) -> Option<Party<'d>> {
        let directory = self.directory;
        let (users, groups) = directory.high();
        let from = self.at.saturating_add(1);
        let (number, group) = match self.list {
            List::Online => {
                let online = |number: &u32| directory.user(*number).is_some_and(|u| u.live != 0);
                ((from..=users).find(online)?, false)
            }
            List::Groups => {
                ((from..=groups).find(|number| directory.group(*number).is_some())?, true)
            }
            List::Users => {
                ((from..=users).find(|number| directory.user(*number).is_some())?, false)
            }
            List::MyGroups => (self.membership()?, true),
            List::Members(_) => (self.membership()?, false),
        };
        self.at = number;
        Some(if group { directory.group_party(number) } else { directory.user_party(number) })
    }
}

impl Exchange<'_> {
    /// Begins a list on a session.
    pub(super) fn open_list(&mut self, link: Link, tag: Tag, list: List, io: &mut Io<'_>) {
        if let List::Members(group) = list
            && self.directory.group(group).is_none()
        {
            return self.answer(link, tag, Kind::List, Outcome::NoSuchGroup, io);
        }
        self.finish_list(link, io);
        if let Some(session) = self.sessions.get_mut(link) {
            session.cursor = Cursor { open: true, list, tag, at: 0 };
            // It says first how many rows it has: no row may come or go in between.
            if session.dialect.traits().conversations {
                return self.finish_list(link, io);
            }
        }
        self.pump_list(link, io);
    }

    /// Sends as much of a list as there is room for.
    pub(super) fn pump_list(&mut self, link: Link, io: &mut Io<'_>) {
        while let Some(session) = self.sessions.get_mut(link)
            && session.cursor.open
            && session.room.replies >= session.dialect.traits().row
        {
            let row = session.dialect.traits().row;
            session.room.replies = session.room.replies.saturating_sub(row);
            self.send_rows(link, io);
        }
    }

    /// Sends the rest of a list at once, because another answer is to come behind it.
    pub(super) fn finish_list(&mut self, link: Link, io: &mut Io<'_>) {
        while self.sessions.get(link).is_some_and(|session| session.cursor.open) {
            self.send_rows(link, io);
        }
    }

    /// Sends one frame of a list.
    fn send_rows(&mut self, link: Link, io: &mut Io<'_>) {
        let Some(session) = self.sessions.get_mut(link) else { return };
        let Cursor { list, tag, at, .. } = session.cursor;
        let (directory, user) = (&self.directory, session.user);
        let mut rows = Rows { directory, list, user, at, next: None };
        let frame = session.dialect.encode_list(
            list,
            tag,
            &mut rows,
            session.recipient(),
            &self.limits,
            self.scratch,
        );
        session.cursor.at = rows.at;
        session.cursor.open = !frame.last && frame.len != 0;
        if frame.len != 0 {
            io.out.part(link, self.scratch.get(..frame.len).unwrap_or(&[]), frame.last);
        }
    }
}
