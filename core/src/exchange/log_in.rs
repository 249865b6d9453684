//! Log-in: from a name to a bound session, by way of a password where there is one.
//!
//! - A user without a password is bound at once. The password of another is a question for the
//!   host, and so is that of a new user, of which the host makes a secret first.
//! - A name may come before its password (`queues`, `lanes`): the session keeps it.
//! - Where all clients look for their answers in one place and any of them may take any
//!   (`lanes`), log-ins are answered in batches (`log_in_batch`).

use super::sessions::{Asked, Question, Session};
use super::{Exchange, Gone, Link, Refused, Token};
use crate::dialect::{Dialect, SHARED};
use crate::event::{Kind, Limit, Outcome};
use crate::host::{Ask, Io, Record, Reply};
use crate::limits::Registration;
use crate::name::Name;
use crate::request::{Request, Tag, Target};
use crate::table::{Empty, Handle};
use crate::timers::Class;

/// How far a session's log-in is, before it is bound and just after.
// With a tag of its own, so that `None` is all zero bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    /// Nothing to remember.
    None,
    /// Its password is to come in a message of its own.
    AwaitsPassword,
    /// The host is being asked.
    Asked,
    /// It is known how it went; the answer waits for its batch.
    Decided(Outcome),
    /// Answered, and perhaps not read yet.
    Answered,
    /// Its user is removed: what it leaves unread is nobody's.
    Removed,
}

/// How long after its last request a client that nothing else tells about may be replaced by one
/// that logs in with its name (`lanes`), in milliseconds.
const SILENT: u64 = 60_000;

impl Exchange<'_> {
    /// The user bound to a connection, who must be the one its bytes claim to be from. A first
    /// request binds it.
    #[inline]
    pub(super) fn claimed(
        &mut self,
        link: Link,
        claimed: &Target<'_>,
        same: bool,
        tag: Tag,
        request: &Request<'_>,
        io: &mut Io<'_>,
    ) -> Result<Option<u32>, Gone> {
        let user = self.sessions.get(link).ok_or(Gone)?.user;
        if user == 0 {
            let hello = matches!(request, Request::LogIn { .. });
            let password = match *request {
                Request::LogIn { password, .. } => Some(password),
                _ => None,
            };
            self.log_in(link, tag, *claimed, password, io);
            let user = self.sessions.get(link).ok_or(Gone)?.user;
            return Ok((user != 0 && !hello).then_some(user));
        }
        let same = same
            || match *claimed {
                Target::UserName(name) => {
                    self.directory.user(user).is_some_and(|user| user.name.is(name))
                }
                Target::User(number) => number == user,
                _ => false,
            };
        if same {
            return Ok(Some(user));
        }
        self.refuse_log_in(link, tag, Outcome::NotAllowed, io);
        self.sessions.get(link).map(|_| None).ok_or(Gone)
    }

    /// A session for a client that shares an endpoint. One that gives the address of its own queue
    /// is opened there; another (address 0) when it is known who it is.
    pub(super) fn open_at(
        &mut self,
        endpoint: Link,
        address: i64,
        io: &mut Io<'_>,
    ) -> Result<Link, Outcome> {
        let full = Outcome::Full(Limit::Sessions);
        let dialect = self.dialect_of(endpoint).ok_or(full)?;
        let bound = self.bound.get(dialect as usize).copied().unwrap_or(0);
        if address != 0 && self.session_at(address).is_some() {
            return Err(Outcome::InUse);
        }
        if bound >= dialect.clients(&self.limits) {
            return Err(full);
        }
        let session = Session { endpoint, address, ..Session::new(dialect) };
        let link = self.insert_session(session).map_err(Outcome::Full)?;
        if address == 0 {
            return Ok(link);
        }
        match io.out.open(link, endpoint, address) {
            Some(room) => {
                if let Some(session) = self.sessions.get_mut(link) {
                    session.room = room;
                }
                Ok(link)
            }
            None => {
                self.remove_session(link);
                Err(Outcome::NotAllowed)
            }
        }
    }

    /// A log-in of a client that shares an endpoint.
    pub(super) fn log_in_at(
        &mut self,
        endpoint: Link,
        address: i64,
        tag: Tag,
        user: Target<'_>,
        password: &[u8],
        io: &mut Io<'_>,
    ) {
        if !SHARED {
            return;
        }
        match self.open_at(endpoint, address, io) {
            Ok(link) => self.log_in(link, tag, user, Some(password), io),
            Err(outcome) => self.turn_away(endpoint, address, tag, outcome, io),
        }
    }

    /// A name comes before its password.
    pub(super) fn announce(&mut self, link: Link, tag: Tag, name: &[u8], io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(dialect) = self.dialect_of(link) else { return };
        let traits = dialect.traits();
        let known = self.directory.find_user(&Target::UserName(name));
        let name = match Name::new(name) {
            Ok(name) => name,
            Err(_) if traits.log_in_batched => {
                return self.refuse_log_in(link, tag, Outcome::BadName, io);
            }
            Err(_) => return self.answer(link, tag, Kind::Name, Outcome::BadName, io),
        };
        if traits.log_in_batched {
            let protected = known.is_none_or(|user| self.protected(user));
            if !protected {
                return self.log_in(link, tag, Target::UserName(name.as_bytes()), None, io);
            }
            if let Some(session) = self.sessions.get_mut(link) {
                (session.claimed, session.stage, session.tag) = (name, Stage::AwaitsPassword, tag);
            }
            return self.wait_for(link, Class::Password);
        }
        let outcome = match known {
            Some(user) if user > dialect.max_user(&self.limits) => Outcome::NoSuchUser,
            Some(user) if self.holder(user, dialect, io).is_some() => Outcome::InUse,
            Some(_) => Outcome::Done,
            None if self.limits.registration == Registration::Closed => Outcome::NoSuchUser,
            None => self.directory.next_user().map_or_else(Outcome::Full, |_| Outcome::Done),
        };
        if let Some(session) = self.sessions.get_mut(link) {
            session.claimed = if outcome == Outcome::Done { name } else { Name::EMPTY };
        }
        self.wait_for(link, Class::Lapse);
        self.answer(link, tag, Kind::Name, outcome, io);
    }

    fn protected(&self, user: u32) -> bool {
        self.directory.user(user).is_some_and(|user| user.password)
    }

    /// Binds a session to a user, or begins to: a password is a question. `None` is a request that
    /// came before any log-in: it binds too, but brings no password.
    pub(super) fn log_in(
        &mut self,
        link: Link,
        tag: Tag,
        user: Target<'_>,
        password: Option<&[u8]>,
        io: &mut Io<'_>,
    ) {
        if let Some(session) = self.sessions.get_mut(link) {
            session.tag = tag;
            if let Target::UserName(name) = user {
                session.claimed = Name::new(name).unwrap_or(Name::EMPTY);
            }
        }
        if let Err(outcome) = self.try_log_in(link, tag, &user, password, io) {
            self.refuse_log_in(link, tag, outcome, io);
        }
    }

    fn try_log_in(
        &mut self,
        link: Link,
        tag: Tag,
        user: &Target<'_>,
        password: Option<&[u8]>,
        io: &mut Io<'_>,
    ) -> Result<(), Outcome> {
        let dialect = self.dialect_of(link).ok_or(Outcome::NotAllowed)?;
        let max = dialect.max_user(&self.limits);
        let given = password.unwrap_or(&[]);
        match self.directory.find_user(user) {
            Some(user) if user > max => Err(Outcome::NoSuchUser),
            Some(user) if !self.protected(user) => self.bind(link, user, tag, io),
            Some(user) => {
                let password = password.ok_or(Outcome::NotAllowed)?;
                self.ask(link, tag, user, Ask::Verify { user: Some(user), password }, io)
            }
            None => match self.may_create(dialect, max, user) {
                Ok(_) if dialect.traits().asks_password && !given.is_empty() => {
                    self.ask(link, tag, 0, Ask::Prepare { password: given }, io)
                }
                Ok(name) => self.create_and_bind(link, tag, name, None, io),
                // An unknown name takes as long to refuse as a wrong password.
                Err(Outcome::NoSuchUser) if !given.is_empty() => {
                    self.ask(link, tag, 0, Ask::Verify { user: None, password: given }, io)
                }
                Err(outcome) => Err(outcome),
            },
        }
    }

    /// Whether an unknown name may become a user in this dialect now.
    fn may_create(
        &mut self,
        dialect: Dialect,
        max: u32,
        user: &Target<'_>,
    ) -> Result<Name, Outcome> {
        let Target::UserName(name) = *user else { return Err(Outcome::NoSuchUser) };
        let name = Name::new(name).map_err(|_| Outcome::BadName)?;
        let number = self.directory.next_user().map_err(Outcome::Full)?;
        if number > max {
            return Err(Outcome::Full(Limit::Users));
        }
        self.may_register(dialect)?;
        Ok(name)
    }

    fn create_and_bind(
        &mut self,
        link: Link,
        tag: Tag,
        name: Name,
        secret: Option<Token>,
        io: &mut Io<'_>,
    ) -> Result<(), Outcome> {
        // Others may have been made while the host was asked.
        let number = self.directory.next_user().map_err(Outcome::Full)?;
        if self.dialect_of(link).is_none_or(|dialect| number > dialect.max_user(&self.limits)) {
            return Err(Outcome::Full(Limit::Users));
        }
        let user = self.new_user(name, secret, io.store).map_err(|refused| match refused {
            Refused::Full(limit) => Outcome::Full(limit),
            _ => Outcome::BadName,
        })?;
        self.bind(link, user, tag, io)
    }

    fn ask(
        &mut self,
        link: Link,
        tag: Tag,
        user: u32,
        ask: Ask<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), Outcome> {
        let asked =
            if matches!(ask, Ask::Prepare { .. }) { Asked::Secret } else { Asked::Password };
        let question = Question { link, tag, user, asked, ..Question::EMPTY };
        let token = self.questions.insert(question).map_err(|_| Outcome::Full(Limit::Questions))?;
        if let Some(session) = self.sessions.get_mut(link) {
            session.question = token;
            session.stage = Stage::Asked;
        }
        io.out.ask(token, ask);
        Ok(())
    }

    /// The host's answer to a question about a password. A link that waited for it may be given its
    /// bytes again. Returns the link. A reply to another question than was asked is a no; to a
    /// question for a page it says that it cannot be read.
    ///
    /// # Errors
    /// [`Gone`] if the link is not there any more, or was closed because of the answer.
    pub fn answer_question(
        &mut self,
        token: Token,
        reply: Reply,
        io: &mut Io<'_>,
    ) -> Result<Link, Gone> {
        self.timers.advance(io.now);
        let Question { link, tag, user, asked, .. } = self.questions.remove(token).ok_or(Gone)?;
        if link.is_none() {
            // No page for it: it is asked for again.
            self.page_failed(user);
        }
        let session = self.sessions.get_mut(link).ok_or(Gone)?;
        (session.question, session.stage) = (Token::NONE, Stage::None);
        let name = session.claimed;
        let kind = match asked {
            Asked::History(_) => Some(Kind::History),
            Asked::Chats => Some(Kind::Chats),
            Asked::Image => Some(Kind::Image),
            Asked::Mail | Asked::Password | Asked::Secret => None,
        };
        if let Some(kind) = kind {
            let kept = reply != Reply::NotKept;
            let outcome = if kept { Outcome::Full(Limit::Store) } else { Outcome::NotKept };
            self.answer(link, tag, kind, outcome, io);
            return Ok(link);
        }
        let asked_this = match reply {
            Reply::Verified(_) => asked == Asked::Password,
            Reply::Prepared(_) => asked == Asked::Secret,
            Reply::NotKept => false,
        };
        let went = match reply {
            _ if !asked_this => Err(Outcome::NotAllowed),
            // The user may be gone, or have logged in elsewhere, since.
            Reply::Verified(true) if self.directory.user(user).is_some() => {
                self.bind(link, user, tag, io)
            }
            Reply::Verified(_) if user == 0 => Err(Outcome::NoSuchUser),
            Reply::Verified(_) => Err(Outcome::NotAllowed),
            // Or somebody may have taken the name.
            Reply::Prepared(_)
                if self.directory.find_user(&Target::UserName(name.as_bytes())).is_some() =>
            {
                Err(Outcome::NotAllowed)
            }
            Reply::Prepared(true) => self.create_and_bind(link, tag, name, Some(token), io),
            Reply::Prepared(false) | Reply::NotKept => Err(Outcome::Full(Limit::Store)),
        };
        if let Err(outcome) = went {
            self.refuse_log_in(link, tag, outcome, io);
        }
        self.sessions.get(link).map(|_| link).ok_or(Gone)
    }

    /// The session that a user has in a dialect, unless its client is known to be gone.
    fn holder(&self, user: u32, dialect: Dialect, io: &mut Io<'_>) -> Option<Link> {
        let place = *self.directory.user(user)?.sessions.get(dialect as usize)?;
        let link = self.sessions.handle(place)?;
        let session = self.sessions.get(link)?;
        let silent = self.timers.now().saturating_sub(session.seen) >= SILENT;
        let replaced = dialect.traits().log_in_batched && silent;
        let gone = replaced || io.out.gone(link);
        (!gone).then_some(link)
    }

    /// Logs a user in on a session.
    fn bind(&mut self, link: Link, user: u32, tag: Tag, io: &mut Io<'_>) -> Result<(), Outcome> {
        let dialect = self.dialect_of(link).ok_or(Outcome::NotAllowed)?;
        if let Some(holder) = self.holder(user, dialect, io) {
            return match dialect.traits().conversations {
                true => {
                    self.merge(link, holder, user, tag, io);
                    Ok(())
                }
                false => Err(Outcome::InUse),
            };
        }
        let held = self.directory.user(user).and_then(|user| user.sessions.get(dialect as usize));
        if let Some(old) = held.and_then(|place| self.sessions.handle(*place)) {
            io.out.close(old);
            self.end(old, io);
        }
        let traits = dialect.traits();
        if traits.log_in_batched {
            // Who it is says where it is answered.
            let address = dialect.lane(user);
            let endpoint = self.sessions.get(link).map_or(Link::NONE, |session| session.endpoint);
            let room = io.out.open(link, endpoint, address).ok_or(Outcome::NotAllowed)?;
            if let Some(session) = self.sessions.get_mut(link) {
                (session.address, session.room) = (address, room);
            }
            io.out.take_back(endpoint, dialect.answer_lane(user, &self.limits), &mut |_| false);
        }
        let session = self.sessions.get_mut(link).ok_or(Outcome::NotAllowed)?;
        let bound = self.directory.user_mut(user).ok_or(Outcome::NoSuchUser)?;
        let place = bound.sessions.get_mut(dialect as usize).ok_or(Outcome::NotAllowed)?;
        *place = link.place();
        bound.live |= dialect.bit();
        (session.user, session.claimed, session.seen) = (user, Name::EMPTY, self.timers.now());
        self.timers.cancel(session.timer);
        session.timer = Handle::NONE;
        if let Some(bound) = self.bound.get_mut(dialect as usize) {
            *bound = bound.saturating_add(1);
        }
        if traits.log_in_batched {
            self.note_session(link, io);
            self.owe_mail(link);
            self.hold(link, true);
            self.decide(link, Outcome::Done, io);
            return Ok(());
        }
        self.arrivals = self.arrivals.wrapping_add(1);
        session.order = self.arrivals;
        self.answer(link, tag, Kind::LogIn, Outcome::Done, io);
        if traits.log_in_at_endpoint {
            self.wait_for(link, Class::Recall);
        }
        self.note_session(link, io);
        self.owe_mail(link);
        self.pump(link, io);
        Ok(())
    }

    /// One more client of a session that its user has already.
    fn merge(&mut self, link: Link, into: Link, user: u32, tag: Tag, io: &mut Io<'_>) {
        if let Some(session) = self.sessions.get_mut(link) {
            session.user = user;
        }
        self.answer(link, tag, Kind::LogIn, Outcome::Done, io);
        io.out.merge(link, into);
        // The user's session is another one: nothing of it ends.
        self.end(link, io);
    }

    /// Has the store remember a session whose queue may outlast the server.
    fn note_session(&mut self, link: Link, io: &mut Io<'_>) {
        if !SHARED {
            return;
        }
        let Some(session) = self.sessions.get(link) else { return };
        let Session { dialect, address, user, .. } = *session;
        if !session.endpoint.is_none() {
            // Without it the client has to log in again after a crash.
            let _ = io.store.write(Record::Session { dialect, address, user });
        }
    }

    /// Takes back a session that the store remembers, after the directory was restored and its
    /// endpoint opened: a client of a server that was killed, whose queue is still there, goes on as
    /// if nothing had been. Returns its link; `None` if there is nothing at its address any more,
    /// or no place for it.
    pub fn restore_session(
        &mut self,
        dialect: Dialect,
        address: i64,
        user: u32,
        io: &mut Io<'_>,
    ) -> Option<Link> {
        self.timers.advance(io.now);
        let endpoint = *self.endpoints.get(dialect as usize)?;
        let free = self.directory.user(user)?.live & dialect.bit() == 0;
        let lane = dialect.traits().log_in_batched;
        let address_free = lane || self.session_at(address).is_none();
        let opened = (!endpoint.is_none() && free && address_free).then(|| {
            let at = if lane { 0 } else { address };
            let session = Session { endpoint, address: at, ..Session::new(dialect) };
            self.insert_session(session).ok()
        });
        let link = opened.flatten()?;
        let Some(room) = io.out.open(link, endpoint, address) else {
            self.remove_session(link);
            let _ = io.store.write(Record::Session { dialect, address, user: 0 });
            return None;
        };
        if let Some(session) = self.sessions.get_mut(link) {
            (session.address, session.room, session.user) = (address, room, user);
            session.seen = self.timers.now();
        }
        if let Some(user) = self.directory.user_mut(user) {
            user.live |= dialect.bit();
            if let Some(place) = user.sessions.get_mut(dialect as usize) {
                *place = link.place();
            }
        }
        if let Some(bound) = self.bound.get_mut(dialect as usize) {
            *bound = bound.saturating_add(1);
        }
        self.owe_mail(link);
        self.pump(link, io);
        Some(link)
    }
}
