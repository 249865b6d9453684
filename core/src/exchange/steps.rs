//! Requests whose meaning depends on what their session said before: the two halves of a request,
//! and who is meant by a number.

use super::log_in::Stage;
use super::send::Draft;
use super::{Exchange, Link};
use crate::dialect::{By, Recipient, SHARED, Standing, Step, Wait};
use crate::event::{Answer, Event, Kind, Party};
use crate::host::Io;
use crate::request::Request;
use crate::table::Handle;
use crate::timers::Class;

impl Exchange<'_> {
    /// Obeys one message of an endpoint whose dialect looks at its session.
    pub(super) fn step(&mut self, via: Link, by: By, bytes: &[u8], io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(dialect) = self.dialect_of(via) else { return };
        let session = match by {
            By::New => None,
            By::Address(address) => self.session_at(address),
            By::User(user) => self.session_of(user, via),
            By::Awaited => match self.awaiting_password(via) {
                Some(link) => Some(link),
                None => return self.drop_bytes(via, io),
            },
        };
        let found = session.and_then(|link| self.sessions.get(link)).copied();
        let standing = match found {
            None => Standing::Unknown,
            // An address of the exchange's own, or bound in another dialect.
            Some(session) if session.endpoint != via => return self.drop_bytes(via, io),
            Some(session) if session.user != 0 => Standing::User(session.user),
            Some(session) if session.stage == Stage::Asked => return self.drop_bytes(via, io),
            Some(session) => Standing::Named(!session.claimed.is_empty()),
        };
        let mut progress = found.map(|session| session.progress).unwrap_or_default();
        let step = dialect.step(bytes, standing, &mut progress, &self.limits);
        let todo = match step {
            Step::Dropped => return self.drop_bytes(via, io),
            Step::Refused { tag, outcome, .. } if let Some(link) = session => {
                self.heard(link);
                return self.answer(link, tag, Kind::Frame, outcome, io);
            }
            Step::Refused { user, tag, outcome } => {
                let to = Party { number: user, name: &[] };
                let (kind, about) = (Kind::Frame, Party::NONE);
                let (size, group) = (0, false);
                let answer = Answer { tag, kind, outcome, size, about, group, to };
                let recipient = Recipient { address: 0, user, part: 0 };
                let event = Event::Answer(answer);
                let len = dialect.encode(&event, recipient, &self.limits, self.scratch);
                io.out.reply(via, self.scratch.get(..len).unwrap_or(&[]));
                return;
            }
            Step::Do(todo) => todo,
        };
        self.counters.requests = self.counters.requests.wrapping_add(1);
        let Some(link) = session else {
            return self.stranger(via, by, todo.tag, todo.request, io);
        };
        self.heard(link);
        if let Some(session) = self.sessions.get_mut(link) {
            session.progress = progress;
        }
        self.set_wait(link, todo.wait);
        if let Some((tag, list)) = todo.before {
            self.open_list(link, tag, list, io);
        }
        if let Some(request) = todo.request {
            let user = found.map_or(0, |session| session.user);
            // The link that ended is never the endpoint's.
            let _ = self.obey(via, link, user, todo.tag, &request, io);
        }
        if let Some(list) = todo.list {
            self.open_list(link, todo.tag, list, io);
        }
    }

    /// A session has made a request.
    fn heard(&mut self, link: Link) {
        let Some(session) = self.sessions.get_mut(link) else { return };
        session.seen = self.timers.now();
        if session.stage == Stage::Answered {
            // Whoever uses its number has read it.
            session.stage = Stage::None;
            self.timers.cancel(session.timer);
            session.timer = Handle::NONE;
        }
    }

    /// A request from nobody who has a session: a log-in, or a message without a sender.
    fn stranger(
        &mut self,
        via: Link,
        by: By,
        tag: crate::request::Tag,
        request: Option<Request<'_>>,
        io: &mut Io<'_>,
    ) {
        let address = if let By::Address(address) = by { address } else { 0 };
        match request {
            Some(Request::Name { .. } | Request::LogIn { .. }) => {}
            Some(Request::Send { to, text, .. }) => {
                let draft = Draft { tag, text, ..Draft::NONE };
                return self.send(&draft, &to, io);
            }
            _ => return self.drop_bytes(via, io),
        }
        let link = match self.open_at(via, address, io) {
            Ok(link) => link,
            Err(outcome) => return self.turn_away(via, address, tag, outcome, io),
        };
        if self.dialect_of(via).is_some_and(|dialect| dialect.traits().log_in_batched) {
            self.gather(link);
        }
        self.wait_for(link, Class::Lapse);
        if let Some(request) = request {
            let _ = self.obey(via, link, 0, tag, &request, io);
        }
    }

    /// The time that a dialect asked for is over: it says what follows.
    pub(super) fn step_elapsed(&mut self, link: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(session) = self.sessions.get_mut(link) else { return };
        session.timer = Handle::NONE;
        let Step::Do(todo) = session.dialect.elapsed(&mut session.progress) else { return };
        self.set_wait(link, todo.wait);
        if let Some(list) = todo.list {
            self.open_list(link, todo.tag, list, io);
        }
    }

    fn set_wait(&mut self, link: Link, wait: Wait) {
        match wait {
            Wait::Unchanged => {}
            Wait::Nothing => {
                if let Some(session) = self.sessions.get_mut(link) {
                    self.timers.cancel(session.timer);
                    session.timer = Handle::NONE;
                }
            }
            Wait::Half => self.wait_for(link, Class::Half),
            Wait::Lapse => self.wait_for(link, Class::Lapse),
        }
    }

    /// A request left half done has lapsed. A session that is not logged in ends with it.
    pub(super) fn lapsed(&mut self, link: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(session) = self.sessions.get_mut(link) else { return };
        session.timer = Handle::NONE;
        session.progress = Default::default();
        if session.user == 0 {
            io.out.close(link);
            self.end(link, io);
        }
    }
}
