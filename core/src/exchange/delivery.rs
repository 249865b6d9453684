//! Out of the mailbox: what waits goes to a session that has room, until somebody has it.

use super::log_in::Stage;
use super::mailbox::{Message, text_at};
use super::send::RECEIPTS;
use super::sessions::About;
use super::{Exchange, Link};
use crate::dialect::Dialect;
use crate::event::{Event, Kind, Outcome, Party};
use crate::host::{FORMER_GROUP, Io, Record};
use crate::request::Target;
use crate::table::Handle;

impl Exchange<'_> {
    /// Sends what waits for a session, as far as it has room.
    pub(super) fn pump(&mut self, link: Link, io: &mut Io<'_>) {
        let Some(session) = self.sessions.get(link) else { return };
        let (dialect, owner) = (session.dialect, session.user);
        if matches!(session.stage, Stage::Decided(_)) {
            return;
        }
        self.pump_entries(link, dialect, owner, io);
        if self.sessions.get(link).is_some_and(|session| session.waiting == [0, 0]) {
            self.read_on(owner, io);
        }
    }

    fn pump_entries(&mut self, link: Link, dialect: Dialect, owner: u32, io: &mut Io<'_>) {
        let shares = dialect.traits().direct_share;
        let mut place = self.directory.user(owner).map_or(0, |user| user.waiting.first);
        // One direct message has no room in their share: the next ones stay behind it.
        let mut held = false;
        while let Some(entry) = self.entries.at(place).copied() {
            let this = place;
            place = entry.next;
            let Some(session) = self.sessions.get_mut(link) else { return };
            if session.waiting == [0, 0] {
                return;
            }
            if entry.owed & dialect.bit() == 0 {
                continue;
            }
            let Some(message) = self.messages.at(entry.message) else { continue };
            let (length, direct) = (u32::from(message.length), message.is_direct());
            if direct && held {
                continue;
            }
            if !session.has_room(length, direct) {
                // Where direct messages have a share of their own they do not hold up the others.
                if shares && direct && session.has_room(length, false) {
                    held = true;
                    continue;
                }
                return;
            }
            session.charge(length, direct);
            if let Some(count) = session.waiting.get_mut(usize::from(direct)) {
                *count = count.saturating_sub(1);
            }
            self.send_entry(link, dialect, this, io);
        }
    }

    /// Sends one entry to one session that has room for it.
    fn send_entry(&mut self, link: Link, dialect: Dialect, place: u32, io: &mut Io<'_>) {
        let Some(entry) = self.entries.at(place) else { return };
        let Some(message) = self.messages.at(entry.message) else { return };
        let entered = match message.group {
            0 => {
                let private = self.private(message.about, message.from, entry.user);
                (private, self.entered_direct(private, entry.user))
            }
            group => (None, self.entered_group(entry.user, group, dialect.bit())),
        };
        let Some(entry) = self.entries.at_mut(place) else { return };
        let Some(session) = self.sessions.get_mut(link) else { return };
        let group = message.group;
        let (private, entered) = entered;
        let answers = dialect.traits().receipts && !entry.mail;
        // One mark tells of one session: where another has it and is to answer, it is a message as any.
        let acknowledged = entry.kept && !answers && entry.flight == 0;
        if acknowledged {
            session.mark = session.mark.wrapping_add(1).max(1);
            entry.mark = session.mark;
        }
        let event = Event::Message(crate::event::Message {
            id: message.id,
            mark: if acknowledged { session.mark } else { 0 },
            sequence: message.sequence,
            from: self.directory.user_party(message.from),
            to: self.directory.user_party(entry.user),
            group: match group {
                0 => None,
                FORMER_GROUP => Some(Party::NONE),
                group => Some(self.directory.group_party(group)),
            },
            private,
            image: message.image,
            entered,
            text: text_at(self.bodies, self.stride, entry.message, message.length),
            priority: message.priority,
            offline: entry.mail,
            time: message.time,
        });
        let len = dialect.encode(&event, session.recipient(), &self.limits, self.scratch);
        let frame = self.scratch.get(..len).unwrap_or(&[]);
        self.counters.deliveries = self.counters.deliveries.wrapping_add(1);
        entry.owed &= !dialect.bit();
        if acknowledged {
            io.out.mail(link, frame, session.mark);
        } else {
            io.out.deliver(&[link], frame);
        }
        let last = entry.last;
        if answers || acknowledged {
            entry.flight |= dialect.bit();
            self.relist(place);
        } else {
            self.settle(place, io);
        }
        if last && group != FORMER_GROUP {
            self.say_ended(link, group, io);
        }
    }

    /// Some session has the message: nobody need keep it for the user any more.
    fn settle(&mut self, place: u32, io: &mut Io<'_>) {
        self.settle_as(place, Outcome::Done, io);
    }

    fn settle_as(&mut self, place: u32, outcome: Outcome, io: &mut Io<'_>) {
        let Some(entry) = self.entries.at_mut(place) else { return };
        let user = entry.user;
        if !entry.taken {
            entry.taken = true;
            let mail = entry.mail;
            let Some(message) = self.messages.at(entry.message).copied() else { return };
            if core::mem::take(&mut entry.kept) {
                // Not written: it comes a second time after a crash, which is allowed.
                let _ = io.store.write(Record::Settled { user, sequence: message.sequence });
                self.settled_behind(user, (message.priority, message.sequence));
            }
            if !mail && !message.sender.is_none() {
                self.tell_sender(&message, user, outcome, io);
            }
        }
        let Some(entry) = self.entries.at(place) else { return };
        if entry.owed | entry.flight == 0 {
            self.drop_entry(place);
        } else {
            self.relist(place);
        }
    }

    pub(super) fn tell_sender(
        &mut self,
        message: &Message,
        user: u32,
        outcome: Outcome,
        io: &mut Io<'_>,
    ) {
        let Message { sender, tag, .. } = *message;
        self.answer_about(sender, tag, Kind::Send, outcome, About::user(user), io);
    }

    /// A recipient says that it has a message.
    pub(super) fn receipt(&mut self, user: u32, from: &Target<'_>, id: u32, io: &mut Io<'_>) {
        let Some(from) = self.directory.find_user(from) else { return };
        let Some(ends) = self.directory.user(user).map(|user| (user.flight, user.waiting)) else {
            return;
        };
        for mut place in [ends.0.first, ends.1.first] {
            while let Some(entry) = self.entries.at(place) {
                let answers = entry.flight & RECEIPTS != 0 && entry.mark == 0;
                if answers
                    && let Some(message) = self.messages.at(entry.message)
                    && message.id == id
                    && message.from == from
                {
                    if let Some(entry) = self.entries.at_mut(place) {
                        entry.flight &= !RECEIPTS;
                        self.timers.cancel(entry.timer);
                        entry.timer = Handle::NONE;
                    }
                    return self.settle_as(place, Outcome::Received, io);
                }
                place = entry.next;
            }
        }
        self.counters.dropped = self.counters.dropped.wrapping_add(1);
    }

    /// The transport of a link has taken its mail, up to this mark.
    pub fn taken(&mut self, link: Link, mark: u32, io: &mut Io<'_>) {
        self.timers.advance(io.now);
        self.marked(link, io, |of| mark.wrapping_sub(of) < u32::MAX / 2, Exchange::settle);
        let user = self.sessions.get(link).map_or(0, |session| session.user);
        self.read_on(user, io);
    }

    /// The transport of a link will not take its mail, from this mark on: it waits again.
    pub fn not_taken(&mut self, link: Link, mark: u32, io: &mut Io<'_>) {
        self.timers.advance(io.now);
        let Some(bit) = self.sessions.get(link).map(|session| session.dialect.bit()) else {
            return;
        };
        self.marked(
            link,
            io,
            |of| of.wrapping_sub(mark) < u32::MAX / 2,
            |exchange, place, _| {
                let Some(entry) = exchange.entries.at_mut(place) else { return };
                entry.owed |= bit;
                let (user, message) = (entry.user, entry.message);
                let direct = exchange.messages.at(message).is_some_and(|m| m.is_direct());
                exchange.count_owed(user, bit, direct, true);
                exchange.relist(place);
            },
        );
    }

    /// Does `then` with each entry in flight as mail to a session, if its mark is one of those.
    fn marked(
        &mut self,
        link: Link,
        io: &mut Io<'_>,
        wanted: impl Fn(u32) -> bool,
        then: impl Fn(&mut Self, u32, &mut Io<'_>),
    ) {
        let Some(session) = self.sessions.get(link) else { return };
        let (bit, owner) = (session.dialect.bit(), session.user);
        let Some(ends) = self.directory.user(owner).map(|user| (user.flight, user.waiting)) else {
            return;
        };
        for mut place in [ends.0.first, ends.1.first] {
            while let Some(entry) = self.entries.at_mut(place) {
                let this = place;
                place = entry.next;
                if entry.flight & bit != 0 && entry.mark != 0 && wanted(entry.mark) {
                    entry.flight &= !bit;
                    entry.mark = 0;
                    then(self, this, io);
                }
            }
        }
    }
}
