//! The mailbox: what a user has not got yet. Backlog of a slow session, a message whose receipt is
//! awaited, and offline mail are states of one entry, not three mechanisms.
//!
//! Putting in is here; the way out is in `delivery`, what becomes of what is not taken in `offline`,
//! and the part of a mailbox that only the store holds in `tail`.
//!
//! An entry is *owed* to the sessions that had no room for it, *in flight* to those that were sent
//! it and have not confirmed it, *taken* once any session has it, and *mail* once its sender was
//! told that it is kept. It is gone when it is taken and nothing of it is owed or in flight. Entries
//! that wait are in order of priority, then of arrival; those that are only in flight are in the
//! order they went out.

use super::send::{Post, RECEIPTS, places};
use super::{Exchange, Link};
use crate::dialect::Dialect;
use crate::event::{Limit, Outcome};
use crate::host::{FORMER_GROUP, Io, Mail, Record};
use crate::request::Tag;
use crate::table::{Empty, Handle};
use crate::timers::{Class, Timer};

/// A message that somebody waits for. Its text lies in the arena, at its own place.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Orders messages, and names this one in the store.
    pub(super) sequence: u64,
    /// Unix milliseconds.
    pub(super) time: u64,
    /// What receipts repeat.
    pub(super) id: u32,
    pub(super) tag: Tag,
    pub(super) from: u32,
    pub(super) group: u32,
    /// The group whose private chat a direct message belongs to; 0 for none.
    pub(super) about: u32,
    /// The sender's session, if it waits for a receipt.
    pub(super) sender: Link,
    /// Entries that point here.
    pub(super) entries: u32,
    pub(super) length: u16,
    pub(super) priority: u8,
    pub(super) image: bool,
}

impl Empty for Message {
    const EMPTY: Self = Message {
        sequence: 0,
        time: 0,
        id: 0,
        tag: Tag(0),
        from: 0,
        group: 0,
        about: 0,
        sender: Link::NONE,
        entries: 0,
        length: 0,
        priority: 0,
        image: false,
    };
}

impl Message {
    /// Whether it is for one user alone. One of a group that is no more counts as such: there is no
    /// conversation that it would be in its turn in.
    #[inline]
    pub(super) fn is_direct(&self) -> bool {
        // 0, or FORMER_GROUP.
        self.group.wrapping_add(1) <= 1
    }
}

/// One message that waits for one user.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub(super) user: u32,
    pub(super) message: u32,
    pub(super) prev: u32,
    pub(super) next: u32,
    /// Which mail of its session this is, while it is in flight as such; else 0.
    pub(super) mark: u32,
    pub(super) timer: Handle<Timer>,
    /// Dialects whose session had no room for it.
    pub(super) owed: u8,
    /// Dialects whose session was sent it and has not confirmed it.
    pub(super) flight: u8,
    /// Which list it is in: in flight, or waiting.
    pub(super) flying: bool,
    /// Some session has it.
    pub(super) taken: bool,
    /// The store has it.
    pub(super) kept: bool,
    /// Its sender was told that it is kept for later.
    pub(super) mail: bool,
    /// A counted membership ends with it.
    pub(super) last: bool,
}

impl Empty for Entry {
    const EMPTY: Self = Entry {
        user: 0,
        message: 0,
        prev: 0,
        next: 0,
        mark: 0,
        timer: Handle::NONE,
        owed: 0,
        flight: 0,
        flying: false,
        taken: false,
        kept: false,
        mail: false,
        last: false,
    };
}

/// Where a message is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// In the tables.
    Here,
    /// In the store alone, until it is read back.
    InStore,
}

/// How things stand with a message when it is put into a mailbox.
#[derive(Clone, Copy)]
pub(super) struct Stand {
    pub(super) owed: u8,
    pub(super) flight: u8,
    pub(super) taken: bool,
    /// It goes into the store at once.
    pub(super) durable: bool,
    /// More waits for the user in the store, and comes first.
    pub(super) behind: bool,
    pub(super) last: bool,
}

impl Exchange<'_> {
    /// Puts a message into a user's mailbox, in memory or, where that has no room or there is more
    /// behind it already, in the store alone. Nothing is left of it if that fails.
    // Where code must be small, it is there once.
    #[cfg_attr(not(target_os = "none"), inline(always))]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn keep(
        &mut self,
        post: &mut Post<'_>,
        user: u32,
        stand: Stand,
        io: &mut Io<'_>,
    ) -> Result<Kept, Limit> {
        let behind = stand.behind
            && self.tail_of(user).is_some_and(|tail| (post.draft.priority, post.sequence) > tail);
        if behind {
            return self.spill(post, user, stand, Limit::Mailbox, io);
        }
        match self.keep_here(post, user, stand, io) {
            Ok(()) => Ok(Kept::Here),
            Err(limit) => self.keep_elsewhere(post, user, stand, limit, io),
        }
    }

    /// Keeps a message for which memory has no room, if the store can do without it.
    #[cold]
    fn keep_elsewhere(
        &mut self,
        post: &mut Post<'_>,
        user: u32,
        stand: Stand,
        limit: Limit,
        io: &mut Io<'_>,
    ) -> Result<Kept, Limit> {
        let key = (post.draft.priority, post.sequence);
        if limit == Limit::Store || !io.store.pages() {
            return Err(limit);
        }
        match self.evict_after(user, key) {
            Some(true) => self.keep_here(post, user, stand, io).map(|()| Kept::Here),
            Some(false) => Err(limit),
            None => self.spill(post, user, stand, limit, io),
        }
    }

    #[cfg_attr(not(target_os = "none"), inline(always))]
    #[cfg_attr(target_os = "none", inline(never))]
    fn keep_here(
        &mut self,
        post: &mut Post<'_>,
        user: u32,
        stand: Stand,
        io: &mut Io<'_>,
    ) -> Result<(), Limit> {
        let box_full = self.directory.user(user).is_none_or(|u| u.entries >= self.limits.mailbox);
        if box_full {
            return Err(Limit::Mailbox);
        }
        let draft = post.draft;
        if post.message.is_none() {
            let message = Message {
                sequence: post.sequence,
                time: post.time,
                id: post.id,
                tag: draft.tag,
                from: draft.from,
                group: post.group,
                about: draft.about,
                sender: if draft.receipt && post.group == 0 { draft.link } else { Link::NONE },
                entries: 0,
                length: draft.text.len() as u16,
                priority: draft.priority,
                image: draft.image,
            };
            post.message = self.put_message(message, draft.text)?;
        }
        let mail = stand.owed | stand.flight == 0;
        let entry = Entry {
            user,
            message: post.message.place(),
            owed: stand.owed,
            flight: stand.flight,
            flying: stand.owed == 0 && stand.flight != 0,
            taken: stand.taken,
            kept: false,
            mail,
            last: stand.last,
            ..Entry::EMPTY
        };
        let Ok(handle) = self.entries.insert(entry) else {
            self.drop_message_if_unused(post.message);
            post.message = self.messages.get(post.message).map_or(Handle::NONE, |_| post.message);
            return Err(Limit::Entries);
        };
        let place = handle.place();
        if let Some(message) = self.messages.get_mut(post.message) {
            message.entries = message.entries.wrapping_add(1);
        }
        if let Some(user) = self.directory.user_mut(user) {
            user.entries = user.entries.wrapping_add(1);
        }
        self.link(place);
        let awaited = (stand.owed | stand.flight) & RECEIPTS != 0;
        let promised = draft.receipt && post.group == 0 && !stand.taken && !mail;
        if awaited || promised {
            // There is a timer for each entry: the pool is full only if the host lent too few.
            let timer = self.timers.arm(Class::Receipt, place).unwrap_or(Handle::NONE);
            if let Some(entry) = self.entries.get_mut(handle) {
                entry.timer = timer;
            }
        }
        if stand.durable && !self.write_mail(place, io) {
            self.drop_entry(place);
            post.message = self.messages.get(post.message).map_or(Handle::NONE, |_| post.message);
            return Err(Limit::Store);
        }
        self.count_owed(user, stand.owed, post.group == 0, true);
        if mail {
            self.counters.stored = self.counters.stored.wrapping_add(1);
        }
        Ok(())
    }

    pub(super) fn put_message(
        &mut self,
        message: Message,
        text: &[u8],
    ) -> Result<Handle<Message>, Limit> {
        let handle = self.messages.insert(message).map_err(|_| Limit::Messages)?;
        let begin = handle.index().wrapping_mul(self.stride);
        let place = self.bodies.get_mut(begin..).and_then(|arena| arena.get_mut(..text.len()));
        match place {
            Some(place) => {
                crate::copy(place, text);
                Ok(handle)
            }
            None => {
                self.messages.remove(handle);
                Err(Limit::MessageLength)
            }
        }
    }

    pub(super) fn drop_message_if_unused(&mut self, handle: Handle<Message>) {
        if self.messages.get(handle).is_some_and(|message| message.entries == 0) {
            self.messages.remove(handle);
        }
    }

    /// Changes how many entries wait for each session of a mask.
    pub(super) fn count_owed(&mut self, user: u32, mask: u8, direct: bool, more: bool) {
        if mask == 0 {
            return;
        }
        let Some(user) = self.directory.user(user) else { return };
        for (place, _) in places(&user.sessions, mask) {
            if let Some(session) = self.sessions.at_mut(place)
                && let Some(count) = session.waiting.get_mut(usize::from(direct))
            {
                *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
            }
        }
    }

    /// Writes an entry to the store, if it is not there.
    pub(super) fn write_mail(&mut self, place: u32, io: &mut Io<'_>) -> bool {
        let Some(entry) = self.entries.at_mut(place) else { return false };
        if entry.kept {
            return true;
        }
        let Some(message) = self.messages.at(entry.message) else { return false };
        let mail = Mail {
            user: entry.user,
            sequence: message.sequence,
            id: message.id,
            from: message.from,
            group: message.group,
            about: message.about,
            image: message.image,
            priority: message.priority,
            last: entry.last,
            time: message.time,
            text: text_at(self.bodies, self.stride, entry.message, message.length),
        };
        entry.kept = io.store.write(Record::Mail(mail)).is_ok();
        entry.kept
    }

    /// Puts an entry into the list it belongs to.
    pub(super) fn link(&mut self, place: u32) {
        let Some(entry) = self.entries.at(place) else { return };
        let (owner, flying, message) = (entry.user, entry.flying, entry.message);
        let Some(user) = self.directory.user(owner) else { return };
        let mut prev = if flying { user.flight.last } else { user.waiting.last };
        if !flying {
            let key = self.order(message);
            while let Some(before) = self.entries.at(prev)
                && self.order(before.message) > key
            {
                prev = before.prev;
            }
        }
        let next = match self.entries.at_mut(prev) {
            Some(before) => core::mem::replace(&mut before.next, place),
            None => match self.directory.user_mut(owner) {
                Some(user) => {
                    let ends = if flying { &mut user.flight } else { &mut user.waiting };
                    core::mem::replace(&mut ends.first, place)
                }
                None => 0,
            },
        };
        match self.entries.at_mut(next) {
            Some(after) => after.prev = place,
            None => {
                if let Some(user) = self.directory.user_mut(owner) {
                    let ends = if flying { &mut user.flight } else { &mut user.waiting };
                    ends.last = place;
                }
            }
        }
        if let Some(entry) = self.entries.at_mut(place) {
            (entry.prev, entry.next) = (prev, next);
        }
    }

    pub(super) fn order(&self, message: u32) -> (u8, u64) {
        self.messages.at(message).map_or((0, 0), |message| (message.priority, message.sequence))
    }

    /// Takes an entry out of the list it is in.
    fn unlink(&mut self, place: u32) {
        let Some(Entry { user: owner, prev, next, flying, .. }) = self.entries.at(place).copied()
        else {
            return;
        };
        let Some(user) = self.directory.user_mut(owner) else { return };
        let ends = if flying { &mut user.flight } else { &mut user.waiting };
        match self.entries.at_mut(prev) {
            Some(before) => before.next = next,
            None => ends.first = next,
        }
        match self.entries.at_mut(next) {
            Some(after) => after.prev = prev,
            None => ends.last = prev,
        }
    }

    /// Moves an entry to the list that its state asks for.
    pub(super) fn relist(&mut self, place: u32) {
        let Some(entry) = self.entries.at(place) else { return };
        let flying = entry.owed == 0 && entry.flight != 0;
        if flying != entry.flying {
            self.unlink(place);
            if let Some(entry) = self.entries.at_mut(place) {
                entry.flying = flying;
            }
            self.link(place);
        }
    }

    /// Forgets an entry. What it is owed to must have been counted down before.
    pub(super) fn drop_entry(&mut self, place: u32) {
        self.unlink(place);
        let Some(handle) = self.entries.handle(place) else { return };
        let Some(entry) = self.entries.remove(handle) else { return };
        self.timers.cancel(entry.timer);
        if let Some(user) = self.directory.user_mut(entry.user) {
            user.entries = user.entries.wrapping_sub(1);
        }
        if let Some(message) = self.messages.at_mut(entry.message) {
            message.entries = message.entries.wrapping_sub(1);
            if message.entries == 0
                && let Some(handle) = self.messages.handle(entry.message)
            {
                self.messages.remove(handle);
            }
        }
    }

    /// The dialects to whose sessions the last message of a membership is still owed.
    pub(super) fn owed_last(&self, user: u32, group: u32) -> u8 {
        let mut place = self.directory.user(user).map_or(0, |user| user.waiting.first);
        let mut owed = 0;
        while let Some(entry) = self.entries.at(place) {
            let of_group = self.messages.at(entry.message).is_some_and(|m| m.group == group);
            if entry.last && of_group {
                owed |= entry.owed;
            }
            place = entry.next;
        }
        owed
    }

    /// Drops all that a user's mailbox holds. A sender who waits to hear of it hears that there is
    /// no such user.
    pub(super) fn forget_mail(&mut self, user: u32, io: &mut Io<'_>) {
        while let Some(ends) = self.directory.user(user).map(|user| (user.waiting, user.flight)) {
            let place = if ends.0.first != 0 { ends.0.first } else { ends.1.first };
            let Some(entry) = self.entries.at(place).copied() else { return };
            let message = self.messages.at(entry.message).copied();
            let direct = message.is_some_and(|message| message.is_direct());
            self.count_owed(user, entry.owed, direct, false);
            self.drop_entry(place);
            if let Some(message) = message
                && !message.sender.is_none()
                && !entry.taken
                && !entry.mail
            {
                self.tell_sender(&message, user, Outcome::NoSuchUser, io);
            }
        }
    }

    /// What was sent to a group is of none any more, and what was said about it is no more than
    /// any direct message.
    pub(super) fn forget_group(&mut self, group: u32) {
        for place in 1..=self.entries.capacity() as u32 {
            let Some(Entry { user, message, owed, .. }) = self.entries.at(place).copied() else {
                continue;
            };
            if self.messages.at(message).is_some_and(|message| message.group == group) {
                self.count_owed(user, owed, false, false);
                self.count_owed(user, owed, true, true);
            }
        }
        for message in self.messages.iter_mut() {
            if message.group == group {
                message.group = FORMER_GROUP;
            }
            if message.about == group {
                message.about = 0;
            }
        }
    }

    /// What a user sent has no sender any more.
    pub(super) fn forget_sender(&mut self, user: u32) {
        for message in self.messages.iter_mut().filter(|message| message.from == user) {
            message.from = 0;
            message.sender = Link::NONE;
        }
    }
}

/// The text of the message at a place.
#[inline]
pub(super) fn text_at(bodies: &[u8], stride: usize, place: u32, length: u16) -> &[u8] {
    let begin = (place as usize).wrapping_sub(1).wrapping_mul(stride);
    bodies.get(begin..).and_then(|arena| arena.get(..usize::from(length))).unwrap_or(&[])
}

/// A mask has a bit for each dialect.
const _: () = assert!(Dialect::COUNT <= 8);
