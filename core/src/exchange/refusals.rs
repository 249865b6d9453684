//! Log-ins that are refused, and answers to log-ins that nobody fetches.

use super::log_in::Stage;
use super::sessions::Session;
use super::{Exchange, Link};
use crate::dialect::{Dialect, Recipient, SHARED};
use crate::event::{Answer, Event, Kind, Outcome, Party};
use crate::host::{Io, Note, Record};
use crate::name::Name;
use crate::request::Tag;
use crate::table::Handle;
use crate::timers::Class;

impl Exchange<'_> {
    /// The answer to a log-in has left as it was refused
    /// ([`logged_in`](crate::host::Outbox::logged_in)), because the store could not keep what it rests
    /// on: the log-in is undone, unless another one has come on its link since. A connection stays,
    /// and so does a queue client that may try the same step again; others log in anew.
    pub fn log_in_refused(&mut self, link: Link, log_in: u32, io: &mut Io<'_>) {
        self.timers.advance(io.now);
        let Some(session) = self.sessions.get(link).copied() else { return };
        let Session { dialect, endpoint, address, user, order, .. } = session;
        if user == 0 || order != log_in {
            return;
        }
        let traits = dialect.traits();
        if traits.log_in_batched || traits.log_in_at_endpoint {
            match traits.log_in_batched {
                true => self.refusal_lies(endpoint),
                false => self.refusal_lies_at(address),
            }
            io.out.close(link);
            return self.end(link, io);
        }
        let name = self.directory.user(user).map_or(Name::EMPTY, |user| user.name);
        self.log_out(link, &session, io);
        if !endpoint.is_none() {
            let _ = io.store.write(Record::Session { dialect, address, user: 0 });
            // The same step is tried again.
            if let Some(session) = self.sessions.get_mut(link) {
                session.claimed = name;
            }
        }
    }

    /// Refuses a log-in. A connection stays, unless its dialect says that it closes; a queue client
    /// may try again, or its session is forgotten, as its dialect has it.
    pub(super) fn refuse_log_in(
        &mut self,
        link: Link,
        tag: Tag,
        outcome: Outcome,
        io: &mut Io<'_>,
    ) {
        let Some(session) = self.sessions.get_mut(link) else { return };
        let (dialect, endpoint, address) = (session.dialect, session.endpoint, session.address);
        let traits = dialect.traits();
        if traits.log_in_batched {
            return self.decide(link, outcome, io);
        }
        if traits.log_in_at_endpoint {
            self.turn_away(endpoint, address, tag, outcome, io);
            io.out.close(link);
            return self.end(link, io);
        }
        if outcome != Outcome::NotAllowed && dialect.brings_name(tag) {
            // A name that was right, and came alone, still is: the same step is tried again.
            session.claimed = Name::EMPTY;
        }
        self.answer(link, tag, Kind::LogIn, outcome, io);
        if dialect.closes(outcome) {
            io.out.close(link);
            self.end(link, io);
        } else if !endpoint.is_none() {
            self.wait_for(link, Class::Lapse);
        }
    }

    /// Refuses a log-in that gets no session: where all clients look, or at the client's address.
    pub(super) fn turn_away(
        &mut self,
        endpoint: Link,
        address: i64,
        tag: Tag,
        outcome: Outcome,
        io: &mut Io<'_>,
    ) {
        if !SHARED {
            return;
        }
        let Some(dialect) = self.dialect_of(endpoint) else { return };
        // An address that is somebody else's, or nobody's, is not written to.
        let foreign = matches!(outcome, Outcome::InUse | Outcome::NotAllowed);
        let traits = dialect.traits();
        if foreign && !traits.log_in_at_endpoint {
            return self.drop_bytes(endpoint, io);
        }
        let event = Event::Answer(Answer {
            tag,
            kind: Kind::LogIn,
            outcome,
            size: self.size_of(outcome),
            about: Party::NONE,
            group: false,
            to: Party::NONE,
        });
        let to = Recipient { address, user: 0, part: 0 };
        let len = dialect.encode(&event, to, &self.limits, self.scratch);
        let frame = self.scratch.get(..len).unwrap_or(&[]);
        if !traits.log_in_at_endpoint {
            return io.out.turn_away(endpoint, address, frame);
        }
        io.out.reply(endpoint, frame);
        self.refusal_lies_at(address);
    }

    /// A refusal lies for the client of an address, who may not fetch it.
    fn refusal_lies_at(&mut self, address: i64) {
        // Nobody to remember it: the address is all that the timer needs. Of more refusals than
        // there are timers the host finds the answers, as it finds whatever nobody reads.
        let some_left = (self.refusals as usize) < self.sessions.capacity();
        if address != 0 && some_left && self.timers.arm(Class::Refusal, address as u32).is_ok() {
            self.refusals = self.refusals.saturating_add(1);
        }
    }

    /// The answer to a log-in has lain for 10 s: if it still does, it is taken back, and the
    /// session, whose client cannot know its id, ends.
    pub(super) fn recall(&mut self, link: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(session) = self.sessions.get_mut(link) else { return };
        session.timer = Handle::NONE;
        let (endpoint, address) = (session.endpoint, session.address);
        if self.recall_from(endpoint, address, io) {
            io.out.close(link);
            self.end(link, io);
        }
    }

    /// The same of a refusal, if nobody has logged in at the address since.
    pub(super) fn recall_refusal(&mut self, address: u32, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        self.refusals = self.refusals.saturating_sub(1);
        let address = i64::from(address);
        if self.session_at(address).is_none() {
            for dialect in Dialect::ALL.iter().filter(|dialect| dialect.recalls()) {
                let endpoint = self.endpoints.get(*dialect as usize).copied();
                self.recall_from(endpoint.unwrap_or(Link::NONE), address, io);
            }
        }
    }

    fn recall_from(&mut self, endpoint: Link, address: i64, io: &mut Io<'_>) -> bool {
        if endpoint.is_none() {
            return false;
        }
        let mut unread = false;
        io.out.take_back(endpoint, address, &mut |_| {
            unread = true;
            false
        });
        if unread {
            io.out.note(Note::Recalled { address });
        }
        unread
    }

    /// The password that was to follow a name has not come.
    pub(super) fn password_overdue(&mut self, link: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(session) = self.sessions.get_mut(link) else { return };
        session.timer = Handle::NONE;
        let (tag, came) = (session.tag, session.stage != Stage::AwaitsPassword);
        if !came {
            self.refuse_log_in(link, tag, Outcome::NotAllowed, io);
        }
    }
}
