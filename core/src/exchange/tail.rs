//! The tail of a mailbox: what only the store holds.
//!
//! Memory holds the first of what waits for a user, by priority, then in order; the store, if it
//! can be read back page by page ([`Store::pages`]), has all of it, and alone what comes after. What
//! is not in memory comes behind `tail`, and a message that comes behind it goes to the store alone.
//! What waits in memory comes before it, but for what was on its way to a session as something more
//! urgent went to the store: that is passed over in the page that has it.
//!
//! [`Store::pages`]: crate::host::Store::pages

use super::mailbox::{Kept, Stand};
use super::send::{Post, places};
use super::sessions::Question;
use super::{Exchange, Token};
use crate::event::Limit;
use crate::host::{Ask, Io, Mail, Record};
use crate::table::Empty;
use crate::timers::Class;

/// Mail asked for at once.
const PAGE: u32 = 32;

/// Priority and sequence: the order of mail.
pub(super) type Key = (u8, u64);

/// The part of a mailbox that only the store holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    /// What is not in memory comes behind this; a priority of 0 says that there is nothing.
    after: Key,
    /// A page is being read.
    reading: bool,
    /// More has come since it was asked for.
    grown: bool,
    /// What it was asked for comes behind something that has left memory since, or may have something
    /// that is settled by now.
    stale: bool,
}

impl Tail {
    pub(super) const NONE: Tail =
        Tail { after: (0, 0), reading: false, grown: false, stale: false };

    /// Whether there is anything.
    #[inline]
    pub(super) const fn waits(&self) -> bool {
        self.after.0 != 0
    }
}

impl Exchange<'_> {
    /// What a user's mail behind memory comes after, if there is any.
    #[inline]
    pub(super) fn tail_of(&self, user: u32) -> Option<Key> {
        let tail = self.directory.user(user)?.tail.after;
        (tail.0 != 0).then_some(tail)
    }

    /// Says that there is mail behind this, which is not in memory.
    pub(super) fn set_tail(&mut self, user: u32, (priority, sequence): Key) {
        let Some(user) = self.directory.user_mut(user) else { return };
        let after = (priority, sequence.saturating_sub(1));
        if user.tail.after.0 == 0 || after < user.tail.after {
            user.tail.after = after;
            user.tail.stale = true;
        }
        user.tail.grown = true;
        // Nothing else may tell of room for it.
        if user.live != 0 {
            self.starve();
        }
    }

    /// Looks for room in memory again, a moment later.
    fn starve(&mut self) {
        if !self.starved {
            self.starved = self.timers.arm(Class::Starved, 0).is_ok();
        }
    }

    /// Keeps a message in the store alone.
    pub(super) fn spill(
        &mut self,
        post: &Post<'_>,
        user: u32,
        stand: Stand,
        limit: Limit,
        io: &mut Io<'_>,
    ) -> Result<Kept, Limit> {
        // Some session has it: it is not mail, and the one that was slow goes without.
        if stand.taken || !io.store.pages() {
            return Err(limit);
        }
        let draft = post.draft;
        io.store.write(Record::Mail(Mail {
            user,
            sequence: post.sequence,
            id: post.id,
            from: draft.from,
            group: post.group,
            about: draft.about,
            image: draft.image,
            priority: draft.priority,
            last: stand.last,
            time: post.time,
            text: draft.text,
        }))?;
        self.set_tail(user, (draft.priority, post.sequence));
        self.counters.stored = self.counters.stored.wrapping_add(1);
        Ok(Kept::InStore)
    }

    /// Makes room in memory for mail that comes before the last that waits there, by leaving that
    /// to the store. `None`: nothing that waits comes after it; `Some(false)`: what does is not in
    /// the store.
    pub(super) fn evict_after(&mut self, user: u32, key: Key) -> Option<bool> {
        let last = self.directory.user(user)?.waiting.last;
        let entry = *self.entries.at(last)?;
        let order = self.order(entry.message);
        if order < key {
            return None;
        }
        if !entry.kept || entry.flight != 0 {
            return Some(false);
        }
        let direct = self.messages.at(entry.message).is_some_and(|message| message.is_direct());
        self.count_owed(user, entry.owed, direct, false);
        self.drop_entry(last);
        self.set_tail(user, order);
        Some(true)
    }

    /// Asks for the next page of a user's mail, if there is any and room for it.
    pub(super) fn read_on(&mut self, user: u32, io: &mut Io<'_>) {
        let Some(found) = self.directory.user(user) else { return };
        let (tail, live) = (found.tail, found.live);
        let room = self.limits.mailbox.saturating_sub(found.entries).min(PAGE);
        if tail.after.0 == 0 || tail.reading || live == 0 {
            return;
        }
        if room != 0 {
            self.make_room(room);
        }
        let room = room.min(self.entries.vacant() as u32).min(self.messages.vacant() as u32);
        let question = Question { user, ..Question::EMPTY };
        let token = match room {
            0 => None,
            _ => self.questions.insert(question).ok(),
        };
        let Some(token) = token else {
            // Others have all the places: nobody tells when one is free.
            return self.starve();
        };
        if let Some(user) = self.directory.user_mut(user) {
            user.tail = Tail { after: tail.after, reading: true, ..Tail::NONE };
        }
        io.out.ask(token, Ask::Mail { user, after: tail.after, limit: room });
    }

    /// Where memory is full: leaves mail of users who are not there to the store, as much as makes
    /// room for so many.
    fn make_room(&mut self, wanted: u32) {
        let full =
            |exchange: &Self| exchange.entries.vacant() == 0 || exchange.messages.vacant() == 0;
        if !full(self) {
            return;
        }
        let mut left = wanted;
        for user in 1..=self.directory.high().0 {
            let away = |user: &super::User| user.live == 0 && user.waiting.last != 0;
            if !self.directory.user(user).is_some_and(away) {
                continue;
            }
            while self.evict_after(user, (0, 0)) == Some(true) {
                left = left.saturating_sub(1);
                if left == 0 && !full(self) {
                    return;
                }
            }
        }
    }

    /// There may be room again for mail that is still in the store.
    pub(super) fn read_on_all(&mut self, io: &mut Io<'_>) {
        self.starved = false;
        for user in 1..=self.directory.high().0 {
            let waits = |user: &super::User| user.tail.waits() && user.live != 0;
            if self.directory.user(user).is_some_and(waits) {
                self.read_on(user, io);
            }
        }
    }

    /// The host's answer to [`Ask::Mail`]: the first of a user's mail behind what was asked for, in
    /// order, and whether there is more. An empty page that has more is asked for again later.
    pub fn mail_page<'p>(
        &mut self,
        token: Token,
        page: impl IntoIterator<Item = Mail<'p>>,
        more: bool,
        io: &mut Io<'_>,
    ) {
        self.timers.advance(io.now);
        let Some(Question { user, .. }) = self.questions.remove(token) else { return };
        let Some(found) = self.directory.user_mut(user) else { return };
        found.tail.reading = false;
        let (live, sessions, stale) = (found.live, found.sessions, found.tail.stale);
        let to = live & live.wrapping_neg();
        let mut complete = !stale;
        for mail in page {
            let key = (mail.priority, mail.sequence);
            // What comes before it has left memory since: it is asked for again.
            if stale || self.tail_of(user).is_none_or(|tail| key <= tail) {
                continue;
            }
            if !self.holds(user, key) {
                let Ok(place) = self.put_mail(&mail) else {
                    complete = false;
                    break;
                };
                self.owe(place, to);
            }
            if let Some(user) = self.directory.user_mut(user) {
                user.tail.after = key;
            }
        }
        if let Some(user) = self.directory.user_mut(user)
            && complete
            && !more
            && !user.tail.grown
        {
            user.tail = Tail::NONE;
        }
        for (place, _) in places(&sessions, live) {
            if let Some(link) = self.sessions.handle(place) {
                self.pump(link, io);
            }
        }
    }

    /// Whether memory has a message for a user that comes behind the tail: what was sent already
    /// stays, whatever comes before it later.
    fn holds(&self, user: u32, key: Key) -> bool {
        let Some(user) = self.directory.user(user) else { return false };
        let mut place = user.waiting.last;
        while let Some(entry) = self.entries.at(place)
            && let order = self.order(entry.message)
            && order >= key
        {
            if order == key {
                return true;
            }
            place = entry.prev;
        }
        let mut place = user.flight.first;
        while let Some(entry) = self.entries.at(place) {
            if self.order(entry.message) == key {
                return true;
            }
            place = entry.next;
        }
        false
    }

    /// A user or a group is removed: what pages that are being read say of it holds no more.
    pub(super) fn pages_are_stale(&mut self) {
        for number in 1..=self.directory.high().0 {
            if let Some(user) = self.directory.user_mut(number) {
                user.tail.stale |= user.tail.reading;
            }
        }
    }

    /// A message is settled: if it comes behind the tail, a page that is being read may have it.
    pub(super) fn settled_behind(&mut self, user: u32, key: Key) {
        if let Some(user) = self.directory.user_mut(user)
            && user.tail.reading
            && key > user.tail.after
        {
            user.tail.stale = true;
        }
    }

    /// Says which is the lowest sequence among all mail that the store has: what is handed back is
    /// numbered downwards from there.
    pub fn restore_oldest(&mut self, sequence: u64) {
        self.returned = self.returned.min(sequence);
    }

    /// Says that the store has mail for a user that was not restored: it is read when the user logs
    /// in.
    pub fn restore_tail(&mut self, user: u32) {
        self.set_tail(user, (1, 0));
    }

    pub(super) fn page_failed(&mut self, user: u32) {
        if let Some(user) = self.directory.user_mut(user) {
            user.tail.reading = false;
        }
    }
}
