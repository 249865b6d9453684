//! Log-ins that are answered in batches, because any client may read any answer (`lanes`): all that
//! wait get their first messages, in the order of their requests, and only then the second ones,
//! which are identical. What nobody reads is taken back.

use super::log_in::Stage;
use super::sessions::{About, Session};
use super::{Exchange, Link};
use crate::dialect::{LogInAnswer, SHARED};
use crate::event::{Kind, Outcome};
use crate::host::{Io, Note};
use crate::table::Handle;
use crate::timers::Class;

impl Exchange<'_> {
    /// It is known how a log-in went that is answered with others.
    pub(super) fn decide(&mut self, link: Link, outcome: Outcome, io: &mut Io<'_>) {
        let Some(session) = self.sessions.get_mut(link) else { return };
        session.stage = Stage::Decided(outcome);
        let endpoint = session.endpoint;
        self.answer_batch(endpoint, io);
    }

    /// Counts as if something waited for a session, so that nothing is given to it before the answer
    /// to its log-in.
    pub(super) fn hold(&mut self, link: Link, held: bool) {
        let Some(session) = self.sessions.get_mut(link) else { return };
        let [groups, _] = &mut session.waiting;
        *groups = if held { groups.saturating_add(1) } else { groups.saturating_sub(1) };
    }

    /// A log-in came in that is answered with others: these may still be on their way.
    pub(super) fn gather(&mut self, link: Link) {
        self.arrivals = self.arrivals.wrapping_add(1);
        let Some(session) = self.sessions.get_mut(link) else { return };
        session.order = self.arrivals;
        let endpoint = session.endpoint;
        if self.sessions.get(endpoint).is_some_and(|endpoint| endpoint.timer.is_none()) {
            self.wait_for(endpoint, Class::Gather);
        }
    }

    /// The log-in whose password has been awaited longest.
    pub(super) fn awaiting_password(&self, endpoint: Link) -> Option<Link> {
        self.earliest(endpoint, 0, |session| session.stage == Stage::AwaitsPassword)
    }

    /// The first session of an endpoint, after an order, that is so.
    fn earliest(&self, endpoint: Link, after: u32, is: impl Fn(&Session) -> bool) -> Option<Link> {
        let of_endpoint = |session: &Session| session.endpoint == endpoint && is(session);
        self.sessions
            .iter()
            .filter(|(_, session)| of_endpoint(session) && session.order > after)
            .min_by_key(|(_, session)| session.order)
            .map(|(link, _)| link)
    }

    /// Answers the log-ins that are decided, unless one that came with them is not.
    pub(super) fn answer_batch(&mut self, endpoint: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let gathering =
            self.sessions.get(endpoint).is_none_or(|endpoint| !endpoint.timer.is_none());
        if gathering
            || self.earliest(endpoint, 0, |session| session.stage == Stage::Asked).is_some()
        {
            return;
        }
        let decided = |session: &Session| matches!(session.stage, Stage::Decided(_));
        for part in 0..2 {
            let mut after = 0;
            while let Some(link) = self.earliest(endpoint, after, decided) {
                let Some(session) = self.sessions.get(link) else { break };
                let (order, tag) = (session.order, session.tag);
                if let Stage::Decided(outcome) = session.stage
                    && (part == 0 || outcome == Outcome::Done)
                {
                    self.answer_part(link, tag, Kind::LogIn, outcome, About::NOTHING, part, io);
                }
                after = order;
            }
        }
        while let Some(link) = self.earliest(endpoint, 0, decided) {
            let Some(session) = self.sessions.get_mut(link) else { return };
            if session.stage == Stage::Decided(Outcome::Done) {
                session.stage = Stage::Answered;
                self.wait_for(link, Class::Unread);
                self.hold(link, false);
                self.pump(link, io);
            } else {
                self.refusal_lies(endpoint);
                io.out.close(link);
                self.end(link, io);
            }
        }
    }

    /// A refusal lies where any client may read any answer.
    pub(super) fn refusal_lies(&mut self, endpoint: Link) {
        // Nobody to remember it; when it is over, what is left of so many is too old.
        let some_left = (self.refusals as usize) < self.sessions.capacity();
        if some_left && self.timers.arm(Class::Refused, endpoint.place()).is_ok() {
            self.refusals = self.refusals.saturating_add(1);
            self.refused = self.refused.saturating_add(1);
        }
    }

    /// 5 s after a refusal where any client may read any answer: of those that lie there, only as
    /// many are left as are younger.
    pub(super) fn unread_refusal(&mut self, endpoint: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        self.refusals = self.refusals.saturating_sub(1);
        self.refused = self.refused.saturating_sub(1);
        let Some(dialect) = self.dialect_of(endpoint) else { return };
        let (lane, younger, mut lying) = (dialect.log_in_lane(), self.refused, 0u32);
        let refusal = |frame: &[u8]| dialect.log_in_answer(frame) == LogInAnswer::First(0);
        io.out.take_back(endpoint, lane, &mut |frame| {
            lying = lying.saturating_add(u32::from(refusal(frame)));
            true
        });
        let mut old = lying.saturating_sub(younger);
        if old != 0 {
            io.out.take_back(endpoint, lane, &mut |frame| {
                let take = old != 0 && refusal(frame);
                old = old.saturating_sub(u32::from(take));
                !take
            });
        }
    }

    /// 5 s after its answer: a log-in whose answer nobody has read is undone.
    pub(super) fn unread_answer(&mut self, link: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(session) = self.sessions.get_mut(link) else { return };
        session.timer = Handle::NONE;
        if self.take_back_answer(link, io) {
            io.out.close(link);
            self.end(link, io);
        }
    }

    /// Takes back what is unread of the answer to a session's log-in; whether there was anything.
    /// Another client would take it for its own.
    pub(super) fn take_back_answer(&mut self, link: Link, io: &mut Io<'_>) -> bool {
        if !SHARED {
            return false;
        }
        let Some(session) = self.sessions.get_mut(link) else { return false };
        if session.stage != Stage::Answered {
            return false;
        }
        session.stage = Stage::None;
        let (dialect, endpoint, user) = (session.dialect, session.endpoint, session.user);
        let answered = |session: &Session| session.stage == Stage::Answered;
        let others = self.sessions.iter().filter(|(_, session)| answered(session)).count();
        let (mut seconds, mut unread) = (0, false);
        io.out.take_back(endpoint, dialect.log_in_lane(), &mut |frame| {
            let keep = match dialect.log_in_answer(frame) {
                LogInAnswer::First(of) => of != user,
                // Those of the others are the same to the letter.
                LogInAnswer::Second => {
                    seconds += 1;
                    seconds <= others
                }
                LogInAnswer::Other => false,
            };
            unread |= !keep;
            keep
        });
        if unread {
            io.out.note(Note::Recalled { address: dialect.lane(user) });
        }
        unread
    }
}
