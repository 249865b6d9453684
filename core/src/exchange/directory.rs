//! Users, groups and memberships: one directory for all dialects.
//!
//! Users and groups are places of a table, numbered from 1 and never renumbered. Memberships are a
//! pool with two linked lists through it: the members of a group and the groups of a user, both in
//! order of number, so that a list can be sent in parts.

use super::places::{Named, Places};
use super::tail::Tail;
use crate::dialect::Dialect;
use crate::event::{Limit, Party};
use crate::name::Name;
use crate::request::Target;
use crate::table::{Empty, Slot, Table};

/// User numbers that are given to nobody: `queues` uses them as operations.
pub const RESERVED_NUMBERS: [u32; 7] = [12, 13, 14, 15, 16, 19, 100];

/// Places that a table needs for so many users: the reserved numbers among them stay empty.
#[allow(clippy::indexing_slicing)] // The loop ends at the array's length.
pub const fn places_for_users(users: usize) -> usize {
    let (mut places, mut i) = (users, 0);
    while i < RESERVED_NUMBERS.len() {
        if places >= RESERVED_NUMBERS[i] as usize {
            places += 1;
        }
        i += 1;
    }
    places
}

/// Both ends of a list that runs through a table, by place.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) first: u32,
    pub(crate) last: u32,
}

impl Ends {
    const EMPTY: Ends = Ends { first: 0, last: 0 };
}

/// A place for a user.
#[derive(Clone, Copy, Debug)]
pub struct User {
    pub(super) name: Name,
    /// Whether the host knows a password of the user.
    pub(super) password: bool,
    /// The dialects it has a session in.
    pub(super) live: u8,
    /// Its sessions by dialect, by place.
    pub(super) sessions: [u32; Dialect::COUNT],
    chain: u32,
    memberships: Ends,
    /// Mailbox entries that wait, by priority, then in order.
    pub(super) waiting: Ends,
    /// Mailbox entries that were sent and are not settled.
    pub(super) flight: Ends,
    /// What waits and is not in memory.
    pub(super) tail: Tail,
    /// How many entries both have.
    pub(super) entries: u32,
    /// Ids for messages that bring none of their own.
    pub(super) next_id: u32,
}

impl Empty for User {
    const EMPTY: Self = User {
        name: Name::EMPTY,
        password: false,
        live: 0,
        sessions: [0; Dialect::COUNT],
        chain: 0,
        memberships: Ends::EMPTY,
        waiting: Ends::EMPTY,
        flight: Ends::EMPTY,
        tail: Tail::NONE,
        entries: 0,
        next_id: 0,
    };
}

/// A place for a group.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    pub(super) name: Name,
    pub(super) owner: u32,
    chain: u32,
    members: Ends,
}

impl Empty for Group {
    const EMPTY: Self = Group { name: Name::EMPTY, owner: 0, chain: 0, members: Ends::EMPTY };
}

/// One user's membership of one group.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    pub(super) user: u32,
    pub(super) group: u32,
    /// Messages still to come; -1 for ever; 0, or less than -1, while the last one is being delivered.
    pub(super) left: i32,
    /// Whether the user has entered the group's conversation.
    pub(super) entered: bool,
    user_prev: u32,
    pub(super) user_next: u32,
    group_prev: u32,
    pub(super) group_next: u32,
}

impl Empty for Membership {
    const EMPTY: Self = Membership {
        user: 0,
        group: 0,
        left: 0,
        entered: false,
        user_prev: 0,
        user_next: 0,
        group_prev: 0,
        group_next: 0,
    };
}

impl Named for User {
    fn name(&self) -> &Name {
        &self.name
    }
    fn chain(&mut self) -> &mut u32 {
        &mut self.chain
    }
    fn next(&self) -> u32 {
        self.chain
    }
    fn free_number(number: u32) -> bool {
        !RESERVED_NUMBERS.contains(&number)
    }
}

impl Named for Group {
    fn name(&self) -> &Name {
        &self.name
    }
    fn chain(&mut self) -> &mut u32 {
        &mut self.chain
    }
    fn next(&self) -> u32 {
        self.chain
    }
    fn free_number(_number: u32) -> bool {
        true
    }
}

/// Users, groups and memberships.
#[derive(Debug)]
pub(crate) struct Directory<'a> {
    users: Places<'a, User>,
    groups: Places<'a, Group>,
    memberships: Table<'a, Membership>,
    /// Grows with every change of users, groups or memberships.
    pub(crate) version: u64,
}

impl<'a> Directory<'a> {
    pub(crate) fn new(
        users: &'a mut [User],
        user_index: &'a mut [u32],
        groups: &'a mut [Group],
        group_index: &'a mut [u32],
        memberships: &'a mut [Slot<Membership>],
    ) -> Self {
        Directory {
            users: Places::new(users, user_index),
            groups: Places::new(groups, group_index),
            memberships: Table::new(memberships),
            version: 0,
        }
    }

    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn user(&self, number: u32) -> Option<&User> {
        self.users.get(number)
    }

    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn user_mut(&mut self, number: u32) -> Option<&mut User> {
        self.users.get_mut(number)
    }

    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn group(&self, number: u32) -> Option<&Group> {
        self.groups.get(number)
    }

    #[inline]
    pub(crate) fn user_party(&self, number: u32) -> Party<'_> {
        self.users.party(number)
    }

    #[inline]
    pub(crate) fn group_party(&self, number: u32) -> Party<'_> {
        self.groups.party(number)
    }

    /// Highest numbers ever given, of users and of groups.
    pub(crate) fn high(&self) -> (u32, u32) {
        (self.users.high(), self.groups.high())
    }

    /// Users, groups and memberships there are.
    pub(crate) fn counts(&self) -> (u32, u32, u32) {
        (self.users.taken(), self.groups.taken(), self.memberships.len() as u32)
    }

    #[inline]
    pub(crate) fn find_user(&self, target: &Target<'_>) -> Option<u32> {
        match *target {
            Target::UserName(name) => self.users.find(name),
            Target::User(number) => self.users.get(number).map(|_| number),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn find_group(&self, target: &Target<'_>) -> Option<u32> {
        match *target {
            Target::GroupName(name) => self.groups.find(name),
            Target::Group(number) => self.groups.get(number).map(|_| number),
            _ => None,
        }
    }

    /// The number that the next new user gets.
    pub(crate) fn next_user(&self) -> Result<u32, Limit> {
        self.users.next_free().ok_or(Limit::Users)
    }

    /// The number that the next new group gets, if it is at most `max`.
    pub(crate) fn next_group(&self, max: u32) -> Result<u32, Limit> {
        self.groups.next_free().filter(|number| *number <= max).ok_or(Limit::Groups)
    }

    /// Puts a user at a number. `false` if there is no such place or it or the name is taken.
    pub(crate) fn put_user(&mut self, number: u32, name: Name, password: bool) -> bool {
        self.version = self.version.wrapping_add(1);
        self.users.get(number).is_none()
            && User::free_number(number)
            && self.users.find(name.as_bytes()).is_none()
            && self.users.take(number, User { name, password, ..User::EMPTY })
    }

    /// No user gives an id below this, for messages that bring none of their own.
    pub(crate) fn begin_ids(&mut self, from: u32) {
        for number in 1..=self.high().0 {
            if let Some(user) = self.users.get_mut(number) {
                user.next_id = user.next_id.max(from);
            }
        }
    }

    /// Puts a group at a number. `false` if there is no such place or it or the name is taken.
    pub(crate) fn put_group(&mut self, number: u32, name: Name, owner: u32) -> bool {
        self.version = self.version.wrapping_add(1);
        self.groups.get(number).is_none()
            && self.groups.find(name.as_bytes()).is_none()
            && self.groups.take(number, Group { name, owner, ..Group::EMPTY })
    }

    /// Removes a user whose sessions and mail are gone, with its memberships.
    pub(crate) fn remove_user(&mut self, number: u32) {
        while let Some(first) = self.user(number).map(|user| user.memberships.first)
            && first != 0
        {
            self.unlink(first);
        }
        self.users.remove(number);
        // Its number may be somebody else's later: what it made is the host's.
        for group in self.groups.iter_mut().filter(|group| group.owner == number) {
            group.owner = 0;
        }
        self.version = self.version.wrapping_add(1);
    }

    /// Removes a group with its memberships.
    pub(crate) fn remove_group(&mut self, number: u32) {
        while let Some(first) = self.group(number).map(|group| group.members.first)
            && first != 0
        {
            self.unlink(first);
        }
        self.groups.remove(number);
        self.version = self.version.wrapping_add(1);
    }

    /// The place of a membership.
    pub(crate) fn membership(&self, user: u32, group: u32) -> Option<u32> {
        let mut place = self.user(user)?.memberships.first;
        while let Some(membership) = self.memberships.at(place) {
            if membership.group == group {
                return Some(place);
            }
            place = membership.user_next;
        }
        None
    }

    #[inline]
    pub(crate) fn membership_at(&self, place: u32) -> Option<&Membership> {
        self.memberships.at(place)
    }

    #[inline]
    pub(crate) fn membership_mut(&mut self, place: u32) -> Option<&mut Membership> {
        self.memberships.at_mut(place)
    }

    /// The first membership in a group's list, by place.
    #[inline]
    pub(crate) fn first_member(&self, group: u32) -> u32 {
        self.group(group).map_or(0, |group| group.members.first)
    }

    /// The first membership in a user's list, by place.
    pub(crate) fn first_group(&self, user: u32) -> u32 {
        self.user(user).map_or(0, |user| user.memberships.first)
    }

    /// Whether one more membership fits.
    pub(crate) fn membership_fits(&self) -> Result<(), Limit> {
        if self.memberships.vacant() == 0 { Err(Limit::Memberships) } else { Ok(()) }
    }

    /// Adds a membership, or sets what is left of one.
    pub(crate) fn join(&mut self, user: u32, group: u32, left: i32) -> Result<(), Limit> {
        if let Some(place) = self.membership(user, group) {
            if let Some(membership) = self.memberships.at_mut(place) {
                membership.left = left;
            }
            return Ok(());
        }
        // Both lists are in order of number; who comes last is found first.
        let mut user_prev = self.user(user).map_or(0, |user| user.memberships.last);
        while let Some(before) = self.memberships.at(user_prev)
            && before.group > group
        {
            user_prev = before.user_prev;
        }
        let mut group_prev = self.group(group).map_or(0, |group| group.members.last);
        while let Some(before) = self.memberships.at(group_prev)
            && before.user > user
        {
            group_prev = before.group_prev;
        }
        let user_next = match self.memberships.at(user_prev) {
            Some(before) => before.user_next,
            None => self.user(user).map_or(0, |user| user.memberships.first),
        };
        let group_next = match self.memberships.at(group_prev) {
            Some(before) => before.group_next,
            None => self.group(group).map_or(0, |group| group.members.first),
        };
        let entered = false;
        let membership =
            Membership { user, group, left, entered, user_prev, user_next, group_prev, group_next };
        let handle = self.memberships.insert(membership).map_err(|_| Limit::Memberships)?;
        self.relink(&membership, handle.place(), handle.place());
        self.version = self.version.wrapping_add(1);
        Ok(())
    }

    /// Ends a membership; `false` if there was none.
    pub(crate) fn leave(&mut self, user: u32, group: u32) -> bool {
        let Some(place) = self.membership(user, group) else { return false };
        self.unlink(place);
        true
    }

    fn unlink(&mut self, place: u32) {
        let Some(handle) = self.memberships.handle(place) else { return };
        let Some(membership) = self.memberships.remove(handle) else { return };
        // The neighbours meet: what pointed at this one points past it.
        self.relink(&membership, 0, 0);
        self.version = self.version.wrapping_add(1);
    }

    /// Lets the neighbours of a membership point at `here`, or past it where that is 0.
    fn relink(&mut self, m: &Membership, next: u32, prev: u32) {
        let or = |here: u32, past: u32| if here == 0 { past } else { here };
        match self.memberships.at_mut(m.user_prev) {
            Some(before) => before.user_next = or(next, m.user_next),
            None => {
                if let Some(user) = self.users.get_mut(m.user) {
                    user.memberships.first = or(next, m.user_next);
                }
            }
        }
        match self.memberships.at_mut(m.user_next) {
            Some(after) => after.user_prev = or(prev, m.user_prev),
            None => {
                if let Some(user) = self.users.get_mut(m.user) {
                    user.memberships.last = or(prev, m.user_prev);
                }
            }
        }
        match self.memberships.at_mut(m.group_prev) {
            Some(before) => before.group_next = or(next, m.group_next),
            None => {
                if let Some(group) = self.groups.get_mut(m.group) {
                    group.members.first = or(next, m.group_next);
                }
            }
        }
        match self.memberships.at_mut(m.group_next) {
            Some(after) => after.group_prev = or(prev, m.group_prev),
            None => {
                if let Some(group) = self.groups.get_mut(m.group) {
                    group.members.last = or(prev, m.group_prev);
                }
            }
        }
    }

    /// The groups of a user with what is left of each, in order.
    pub(crate) fn groups_of(&self, user: u32) -> impl Iterator<Item = (u32, i32)> {
        let mut place = self.user(user).map_or(0, |user| user.memberships.first);
        core::iter::from_fn(move || {
            let membership = self.memberships.at(place)?;
            place = membership.user_next;
            Some((membership.group, membership.left))
        })
    }

    /// The members of a group, in order.
    pub(crate) fn members_of(&self, group: u32) -> impl Iterator<Item = u32> {
        let mut place = self.first_member(group);
        core::iter::from_fn(move || {
            let membership = self.memberships.at(place)?;
            place = membership.group_next;
            Some(membership.user)
        })
    }

    pub(crate) fn capacities(&self) -> (usize, usize, usize) {
        (self.users.capacity(), self.groups.capacity(), self.memberships.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn reserved_numbers_are_given_to_nobody() {
        assert_eq!([1, 11, 12, 20, 93, 94].map(places_for_users), [1, 11, 17, 26, 99, 101]);
        let (mut users, mut index) = ([User::EMPTY; 107], [0; 128]);
        let mut directory = Directory::new(&mut users, &mut index, &mut [], &mut [], &mut []);
        let mut given = Vec::new();
        while let Ok(number) = directory.next_user() {
            assert!(directory.put_user(number, name(&std::format!("u{number}")), false));
            given.push(number);
        }
        assert_eq!(given.len(), 100);
        assert!(RESERVED_NUMBERS.iter().all(|number| !given.contains(number)));
        directory.remove_user(50);
        directory.remove_user(17);
        assert_eq!(directory.next_user(), Ok(17), "the lowest that was given back");
        assert_eq!(directory.find_user(&Target::UserName(b"u50")), None);
        assert_eq!(directory.find_user(&Target::UserName(b"u51")), Some(51));
    }

    #[test]
    fn memberships_are_in_order_on_both_sides_whatever_the_order_of_joining() {
        let (mut users, mut user_index) = ([User::EMPTY; 11], [0; 1]);
        let (mut groups, mut group_index) = ([Group::EMPTY; 4], [0; 4]);
        let mut slots = [Slot::EMPTY; 20];
        let mut d =
            Directory::new(&mut users, &mut user_index, &mut groups, &mut group_index, &mut slots);
        for k in 1..=5 {
            assert!(d.put_user(k, name(&std::format!("u{k}")), false));
        }
        for j in 1..=4 {
            assert!(d.put_group(j, name(&std::format!("g{j}")), 1));
        }
        let mut joined = Vec::new();
        for n in [7, 0, 13, 4, 19, 2, 11, 16, 1, 9, 18, 5, 3, 14, 6, 10, 8, 12, 17, 15] {
            d.join(n / 4 + 1, n % 4 + 1, -1).unwrap();
            joined.push(n);
            for j in 1..=4 {
                let mut want: Vec<u32> =
                    joined.iter().filter(|n| *n % 4 + 1 == j).map(|n| n / 4 + 1).collect();
                want.sort_unstable();
                assert_eq!(d.members_of(j).collect::<Vec<_>>(), want);
            }
        }
        assert_eq!(d.membership_fits(), Err(Limit::Memberships));
        d.join(1, 1, 5).unwrap();
        assert!(d.leave(3, 2) && !d.leave(3, 2));
        assert_eq!(d.members_of(2).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert_eq!(d.groups_of(3).collect::<Vec<_>>(), [(1, -1), (3, -1), (4, -1)]);
        assert_eq!(d.groups_of(1).next(), Some((1, 5)));
        d.remove_user(4);
        d.remove_group(1);
        assert_eq!(d.members_of(2).collect::<Vec<_>>(), [1, 2, 5]);
        assert_eq!(d.groups_of(5).collect::<Vec<_>>(), [(2, -1), (3, -1), (4, -1)]);
        assert_eq!(d.counts(), (4, 3, 20 - 1 - 4 - 4));
    }
}
