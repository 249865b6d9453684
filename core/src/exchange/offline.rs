//! Offline mail: what nobody took in time, what a session leaves behind, and what comes back.

use super::log_in::Stage;
use super::mailbox::{Entry, Message};
use super::send::{RECEIPTS, places};
use super::{Exchange, FIRST_SEQUENCE, Link, Refused};
use crate::dialect::{Dialect, SHARED};
use crate::event::{Limit, Outcome};
use crate::host::{FORMER_GROUP, Io, Mail, Record, Store};
use crate::table::{Empty, Handle};

impl Exchange<'_> {
    /// 3 s have passed: a recipient that owes a receipt counts as disconnected, and a sender that
    /// waits for one is told that the message is kept.
    pub(super) fn receipt_overdue(&mut self, place: u32, io: &mut Io<'_>) {
        let Some(entry) = self.entries.at_mut(place) else { return };
        entry.timer = Handle::NONE;
        let (owner, silent) = (entry.user, (entry.flight | entry.owed) & RECEIPTS);
        let handle = self.entries.handle(place);
        if let Some(user) = self.directory.user(owner) {
            let sessions = user.sessions;
            for (place, _) in places(&sessions, silent) {
                if let Some(link) = self.sessions.handle(place) {
                    io.out.close(link);
                    self.end(link, io);
                }
            }
        }
        if let Some(entry) = handle.and_then(|handle| self.entries.get(handle))
            && !entry.taken
            && !entry.mail
        {
            self.make_mail(place, io);
        }
    }

    /// A session of a user is over: what it was owed or had not confirmed is looked at anew.
    pub(super) fn release(&mut self, user: u32, dialect: Dialect, io: &mut Io<'_>) {
        let bit = dialect.bit();
        let Some(ends) = self.directory.user(user).map(|user| (user.flight, user.waiting)) else {
            return;
        };
        for mut place in [ends.0.first, ends.1.first] {
            while let Some(entry) = self.entries.at_mut(place) {
                let this = place;
                place = entry.next;
                if (entry.owed | entry.flight) & bit == 0 {
                    continue;
                }
                let unanswered = entry.flight & bit != 0 && entry.mark == 0;
                entry.owed &= !bit;
                if entry.flight & bit != 0 {
                    entry.flight &= !bit;
                    entry.mark = 0;
                }
                let nobody = entry.owed | entry.flight == 0;
                if entry.taken && nobody {
                    self.drop_entry(this);
                } else if !entry.taken && (nobody || unanswered) {
                    self.make_mail(this, io);
                } else {
                    self.relist(this);
                }
            }
        }
        let Some(user) = self.directory.user(user) else { return };
        let (sessions, live) = (user.sessions, user.live);
        for (place, _) in places(&sessions, live) {
            if let Some(link) = self.sessions.handle(place) {
                self.pump(link, io);
            }
        }
    }

    /// Nobody took a message in time: it is offline mail from now on, and owed to at most one
    /// session, so that it need not be confirmed twice.
    fn make_mail(&mut self, place: u32, io: &mut Io<'_>) {
        let Some(entry) = self.entries.at(place).copied() else { return };
        let Some(message) = self.messages.at(entry.message).copied() else { return };
        let direct = message.is_direct();
        let waits = !entry.mail && !message.sender.is_none();
        if !self.write_mail(place, io) {
            self.count_owed(entry.user, entry.owed, direct, false);
            self.drop_entry(place);
            self.not_kept(entry.user, Limit::Store, io);
            if waits {
                self.tell_sender(&message, entry.user, Outcome::Full(Limit::Store), io);
            }
            return;
        }
        if !entry.mail {
            self.counters.stored = self.counters.stored.wrapping_add(1);
        }
        let live = self.directory.user(entry.user).map_or(0, |user| user.live);
        let to = match (entry.owed, entry.flight) {
            (0, 0) => live & live.wrapping_neg(),
            (0, _) => 0,
            (owed, 0) => owed & owed.wrapping_neg(),
            (_, _) => 0,
        };
        self.count_owed(entry.user, entry.owed & !to, direct, false);
        self.count_owed(entry.user, to & !entry.owed, direct, true);
        if let Some(entry) = self.entries.at_mut(place) {
            entry.mail = true;
            entry.owed = to;
            self.timers.cancel(entry.timer);
            entry.timer = Handle::NONE;
        }
        self.relist(place);
        if waits {
            self.tell_sender(&message, entry.user, Outcome::Stored, io);
        }
    }

    /// A new session is owed what its user has not got yet.
    pub(super) fn owe_mail(&mut self, link: Link) {
        let Some(session) = self.sessions.get(link) else { return };
        let (bit, owner) = (session.dialect.bit(), session.user);
        let mut place = self.directory.user(owner).map_or(0, |user| user.waiting.first);
        while let Some(entry) = self.entries.at_mut(place) {
            place = entry.next;
            if entry.taken || (entry.mail && entry.owed | entry.flight != 0) {
                continue;
            }
            entry.owed |= bit;
            let message = entry.message;
            let direct = self.messages.at(message).is_some_and(|message| message.is_direct());
            self.count_owed(owner, bit, direct, true);
        }
    }

    /// A delivery that the transport would not take after all comes back: it is kept for the link's
    /// user, before all that waits. Of several the newest is handed back first. What is no delivery
    /// is dropped.
    pub fn give_back(&mut self, link: Link, frame: &[u8], io: &mut Io<'_>) {
        self.timers.advance(io.now);
        let sequence = self.returned.saturating_sub(1);
        if let Err(limit) = self.keep_returned(link, frame, sequence, io.time, io.store) {
            let user = self.sessions.get(link).map_or(0, |session| session.user);
            self.not_kept(user, limit, io);
        }
    }

    /// What lies unread for a session that ends comes back, and is kept for its user.
    pub(super) fn take_unread(&mut self, link: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(session) = self.sessions.get(link) else { return };
        let (user, removed) = (session.user, session.stage == Stage::Removed);
        let Io { time, store, out, .. } = io;
        // They come oldest first, and before all that was returned earlier: a block of numbers.
        let mut sequence = self.returned.saturating_sub(1 << 20);
        let mut refused = None;
        let mut left_out = 0u32;
        out.unread(link, &mut |frame| {
            if removed {
                return;
            }
            sequence = sequence.saturating_add(1);
            if let Err(limit) = self.keep_returned(link, frame, sequence, *time, &mut **store) {
                refused = Some(limit);
                left_out = left_out.saturating_add(1);
            }
        });
        for _ in 0..left_out {
            self.not_kept(user, refused.unwrap_or(Limit::Store), io);
        }
    }

    fn keep_returned(
        &mut self,
        link: Link,
        frame: &[u8],
        sequence: u64,
        time: u64,
        store: &mut dyn Store,
    ) -> Result<(), Limit> {
        let Some(session) = self.sessions.get(link).copied() else { return Ok(()) };
        let Some(found) = session.dialect.recover(frame, &self.limits) else { return Ok(()) };
        let (mut text, mut from, mut group) = (found.text, found.from, found.group);
        if found.named {
            // "name: text", as the dialect writes it.
            let party = match group {
                0 => self.directory.user_party(found.from),
                group => self.directory.group_party(group),
            };
            let rest = text.strip_prefix(party.name).and_then(|rest| rest.strip_prefix(b": "));
            text = rest.unwrap_or(text);
            if rest.is_none() {
                // Its number is somebody else's by now.
                from = 0;
                group = if group == 0 { 0 } else { FORMER_GROUP };
            }
        }
        let mail = Mail {
            user: session.user,
            sequence,
            id: 0,
            from,
            group,
            about: 0,
            image: false,
            priority: if (1..=5).contains(&found.priority) { found.priority } else { 3 },
            last: false,
            time,
            text: text.get(..text.len().min(self.limits.message_length)).unwrap_or(text),
        };
        self.counters.given_back = self.counters.given_back.wrapping_add(1);
        store.write(Record::Mail(mail))?;
        // Wherever it goes from here: its number is taken.
        self.returned = self.returned.min(sequence);
        self.counters.stored = self.counters.stored.wrapping_add(1);
        let key = (mail.priority, sequence);
        if self.tail_of(mail.user).is_some_and(|tail| key > tail) {
            return Ok(());
        }
        let place = match self.put_mail(&mail) {
            Err(_) if store.pages() && self.evict_after(mail.user, key) == Some(true) => {
                self.put_mail(&mail)
            }
            Err(_) if store.pages() => {
                self.set_tail(mail.user, key);
                return Ok(());
            }
            put => put,
        };
        let place = place.map_err(|refused| match refused {
            Refused::Full(limit) => limit,
            _ => Limit::Mailbox,
        });
        let place = place.inspect_err(|_| {
            // Not written: it comes all the same after a restart, which is no harm.
            let _ = store.write(Record::Settled { user: mail.user, sequence });
        })?;
        let bit = session.dialect.bit();
        self.owe(place, bit);
        Ok(())
    }

    /// What was put into a mailbox is owed to these sessions.
    pub(super) fn owe(&mut self, place: u32, bits: u8) {
        let Some(entry) = self.entries.at_mut(place) else { return };
        entry.owed = bits;
        let (user, message) = (entry.user, entry.message);
        let direct = self.messages.at(message).is_some_and(|message| message.is_direct());
        self.count_owed(user, bits, direct, true);
    }

    /// Mail that is in the store, into its mailbox.
    pub(super) fn put_mail(&mut self, mail: &Mail<'_>) -> Result<u32, Refused> {
        let user = self.directory.user(mail.user).ok_or(Refused::NoSuch)?;
        if user.entries >= self.limits.mailbox {
            return Err(Refused::Full(Limit::Mailbox));
        }
        let length = u16::try_from(mail.text.len());
        let length = length.map_err(|_| Refused::Full(Limit::MessageLength))?;
        // The copies of a group message come one after another.
        let newest = self.newest;
        let message = match self.messages.get(newest) {
            Some(message) if message.sequence == mail.sequence => newest,
            _ => {
                let is_there = mail.group == 0 || self.directory.group(mail.group).is_some();
                let message = Message {
                    sequence: mail.sequence,
                    time: mail.time,
                    id: mail.id,
                    from: mail.from,
                    group: if is_there { mail.group } else { FORMER_GROUP },
                    about: mail.about,
                    image: mail.image,
                    length,
                    priority: mail.priority,
                    ..Message::EMPTY
                };
                self.put_message(message, mail.text).map_err(Refused::Full)?
            }
        };
        self.newest = message;
        let entry = Entry {
            user: mail.user,
            message: message.place(),
            kept: true,
            mail: true,
            last: mail.last,
            ..Entry::EMPTY
        };
        let Ok(handle) = self.entries.insert(entry) else {
            self.drop_message_if_unused(message);
            return Err(Refused::Full(Limit::Entries));
        };
        if let Some(message) = self.messages.get_mut(message) {
            message.entries = message.entries.wrapping_add(1);
        }
        if let Some(user) = self.directory.user_mut(mail.user) {
            user.entries = user.entries.wrapping_add(1);
        }
        self.link(handle.place());
        if mail.sequence >= FIRST_SEQUENCE {
            self.sequence = self.sequence.max(mail.sequence);
        } else {
            self.returned = self.returned.min(mail.sequence);
        }
        Ok(handle.place())
    }
}
