//! Sessions: who is behind a link, log-in, questions, answers, the end.

use super::log_in::Stage;
use super::pages::{DESCRIBED, describe};
use super::send::{DEFAULT_PRIORITY, Draft};
use super::{Exchange, Gone, Link, Token};
use crate::dialect::{Dialect, Progress, Recipient};
use crate::event::{Answer, Event, Kind, Limit, Outcome};
use crate::host::{Io, Record, Room};
use crate::name::Name;
use crate::request::{Chat, List, Request, Sender, Tag, Target};
use crate::table::{Empty, Handle};
use crate::timers::{Class, Timer};

/// One client's connection, or one endpoint that clients share.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    pub(super) dialect: Dialect,
    /// The endpoint that the client shares with others, if it does.
    pub(super) endpoint: Link,
    /// Where the client is answered; 0 for a connection.
    pub(super) address: i64,
    /// The next session of the same bucket, by address.
    pub(super) chain: u32,
    /// User number; 0 until it is logged in.
    pub(super) user: u32,
    pub(super) room: Room,
    /// How far its log-in is.
    pub(super) stage: Stage,
    /// The name that it wants to log in with, until it is.
    pub(super) claimed: Name,
    /// Of the log-in.
    pub(super) tag: Tag,
    /// Which log-in of all, from 1.
    pub(super) order: u32,
    /// When its last request came.
    pub(super) seen: u64,
    /// Mailbox entries that wait for this session: of groups, and direct.
    pub(super) waiting: [u32; 2],
    pub(super) progress: Progress,
    /// The question that is open.
    pub(super) question: Token,
    pub(super) timer: Handle<Timer>,
    pub(super) cursor: super::lists::Cursor,
    /// Of the last mail sent.
    pub(super) mark: u32,
}

impl Empty for Session {
    #[allow(clippy::indexing_slicing)] // At compile time.
    const EMPTY: Self = Session::new(Dialect::ALL[0]);
}

impl Session {
    pub(super) const fn new(dialect: Dialect) -> Session {
        Session {
            dialect,
            endpoint: Link::NONE,
            address: 0,
            chain: 0,
            user: 0,
            room: Room::of(0),
            stage: Stage::None,
            claimed: Name::EMPTY,
            tag: Tag(0),
            order: 0,
            seen: 0,
            waiting: [0; 2],
            progress: Progress { skip: 0, source: [0; 8], half: 0, answered: false },
            question: Token::NONE,
            timer: Handle::NONE,
            cursor: super::lists::Cursor::NONE,
            mark: 0,
        }
    }

    /// Whether input waits: a question is open, or a list is being sent.
    #[inline]
    pub(super) fn paused(&self) -> bool {
        !self.question.is_none() || self.cursor.open
    }

    /// Whether a message of so many bytes of text can go out now.
    #[inline]
    pub(super) fn takes(&self, text: u32, direct: bool) -> bool {
        let traits = self.dialect.traits();
        let bytes = traits.delivery(text);
        let [groups, directs] = self.waiting;
        if traits.direct_share && direct {
            directs == 0 && self.room.direct.min(self.room.messages) >= bytes
        } else {
            groups == 0 && (directs == 0 || traits.direct_share) && self.room.messages >= bytes
        }
    }

    /// Whether there is room for a message of so many bytes of text, whatever waits before it.
    pub(super) fn has_room(&self, text: u32, direct: bool) -> bool {
        let traits = self.dialect.traits();
        let bytes = traits.delivery(text);
        self.room.messages >= bytes
            && (!direct || !traits.direct_share || self.room.direct >= bytes)
    }

    /// Takes the room for a message of so many bytes of text.
    #[cfg_attr(not(target_os = "none"), inline)]
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn charge(&mut self, text: u32, direct: bool) {
        let bytes = self.dialect.traits().delivery(text);
        self.room.messages = self.room.messages.saturating_sub(bytes);
        if direct && self.dialect.traits().direct_share {
            self.room.direct = self.room.direct.saturating_sub(bytes);
        }
    }

    #[inline]
    pub(super) fn recipient(&self) -> Recipient {
        Recipient { address: self.address, user: self.user, part: 0 }
    }
}

/// A question that the host has not answered yet.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    pub(super) link: Link,
    pub(super) tag: Tag,
    /// The user whose password is being checked, or who asks; 0 if there is none.
    pub(super) user: u32,
    pub(super) asked: Asked,
    /// A part of the answer has come.
    pub(super) begun: bool,
    /// Rows of it that have come.
    pub(super) sent: u32,
}

/// What a question is about. With a tag of its own, so that an empty question is all zero bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Asked {
    /// Mail.
    Mail,
    /// Whether a password is right.
    Password,
    /// What to keep of a password.
    Secret,
    History(Chat),
    Chats,
    Image,
}

impl Empty for Question {
    const EMPTY: Self = Question {
        link: Link::NONE,
        tag: Tag(0),
        user: 0,
        asked: Asked::Mail,
        begun: false,
        sent: 0,
    };
}

/// What an answer says beside its outcome.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub(super) number: u32,
    pub(super) group: bool,
}

impl About {
    pub(super) const NOTHING: About = About { number: 0, group: false };

    #[inline]
    pub(super) const fn group(number: u32) -> About {
        About { number, group: true }
    }

    #[inline]
    pub(super) const fn user(number: u32) -> About {
        About { number, group: false }
    }
}

impl Exchange<'_> {
    /// Obeys a request that came in on `via`.
    #[inline]
    pub(super) fn apply(
        &mut self,
        via: Link,
        sender: Sender<'_>,
        tag: Tag,
        request: &Request<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), Gone> {
        let (link, user) = match sender {
            Sender::Same(claimed) | Sender::Link(claimed) => match self.claimed(
                via,
                &claimed,
                matches!(sender, Sender::Same(_)),
                tag,
                request,
                io,
            )? {
                Some(user) => (via, user),
                None => return Ok(()),
            },
            Sender::User(number) => match self.session_of(number, via) {
                _ if matches!(request, Request::ShutDown) => {
                    if io.out.may_shut_down(via) {
                        io.out.shut_down();
                    }
                    return Ok(());
                }
                Some(link) => (link, number),
                None => {
                    self.drop_bytes(via, io);
                    return Ok(());
                }
            },
            Sender::Own => {
                let user = self.sessions.get(via).ok_or(Gone)?.user;
                let answer = match *request {
                    // Only another name would be another session.
                    Request::LogIn { user: again, .. } if user != 0 && self.converses(via) => {
                        let same = self.directory.find_user(&again) == Some(user);
                        Some((Kind::LogIn, if same { Outcome::Done } else { Outcome::InUse }))
                    }
                    Request::LogIn { .. } => None,
                    _ => (user == 0).then_some((Kind::Frame, Outcome::NotLoggedIn)),
                };
                if let Some((kind, outcome)) = answer {
                    self.answer(via, tag, kind, outcome, io);
                    return Ok(());
                }
                (via, user)
            }
            Sender::New(address) => {
                if let Request::LogIn { user, password } = *request {
                    self.log_in_at(via, address, tag, user, password, io);
                }
                return Ok(());
            }
        };
        self.obey(via, link, user, tag, request, io)
    }

    /// Obeys a request of a session.
    #[inline]
    pub(super) fn obey(
        &mut self,
        via: Link,
        link: Link,
        user: u32,
        tag: Tag,
        request: &Request<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), Gone> {
        match *request {
            Request::LogIn { user: target, password } if user == 0 || self.renew(link, io) => {
                self.log_in(link, tag, target, Some(password), io);
            }
            // Logging in again as who one is already changes nothing.
            Request::LogIn { .. } => {}
            Request::Name { .. } | Request::Password { .. } if user != 0 => {}
            Request::Name { user } => self.announce(link, tag, user, io),
            Request::Password { password } => {
                let name = self.sessions.get(link).map_or(Name::EMPTY, |session| session.claimed);
                self.log_in(link, tag, Target::UserName(name.as_bytes()), Some(password), io);
            }
            Request::LogOut => {
                self.answer(link, tag, Kind::LogOut, Outcome::Done, io);
                self.end(link, io);
                io.out.close(link);
                return if link == via { Err(Gone) } else { Ok(()) };
            }
            Request::Send { to, text, priority, receipt, id, member } => {
                let priority = u8::try_from(priority).ok().filter(|p| (1..=5).contains(p));
                let priority = priority.unwrap_or(DEFAULT_PRIORITY);
                if member && !self.may_post(user, &to) {
                    self.answer(link, tag, Kind::Send, Outcome::NotMember, io);
                    return Ok(());
                }
                let draft =
                    Draft { tag, text, priority, receipt, id, link, from: user, ..Draft::NONE };
                self.send(&draft, &to, io);
            }
            Request::SendToMyGroups { text } => {
                let draft = Draft { tag, text, link, from: user, ..Draft::NONE };
                // Sending may end a membership: each step looks for the next number.
                let mut last = 0;
                loop {
                    let next = self.directory.groups_of(user).find(|(group, _)| *group > last);
                    let Some((group, _)) = next else { break };
                    self.send(&draft, &Target::Group(group), io);
                    last = group;
                }
            }
            Request::Receipt { from, id } => self.receipt(user, &from, id, io),
            Request::Taken { mark } => self.taken(link, mark, io),
            Request::CreateGroup { name, max } => {
                let made = self.new_group(name, user, max, io.store);
                let about = About::group(made.unwrap_or(0));
                self.answer_about(link, tag, Kind::CreateGroup, outcome(made.map(drop)), about, io);
            }
            Request::Join { group, count } => {
                let joined = self.member_of(&group, count).and_then(|group| {
                    let joined = self.join(user, group, count, io.store);
                    joined.map(|()| group).map_err(|e| outcome(Err(e)))
                });
                let about = About::group(joined.unwrap_or(0));
                let outcome = joined.err().unwrap_or(Outcome::Done);
                self.answer_about(link, tag, Kind::Join, outcome, about, io);
            }
            Request::Leave { group } => {
                let left = self.member_of(&group, -1).and_then(|group| {
                    self.exit_group(user, group, io);
                    let left = self.leave(user, group, io.store);
                    left.map(|()| group).map_err(|e| outcome(Err(e)))
                });
                let about = About::group(left.unwrap_or(0));
                let outcome = left.err().unwrap_or(Outcome::Done);
                self.answer_about(link, tag, Kind::Leave, outcome, about, io);
            }
            Request::List(list) => self.open_list(link, tag, list, io),
            Request::Members { group } => match self.directory.find_group(&group) {
                Some(group) => self.open_list(link, tag, List::Members(group), io),
                None => self.answer(link, tag, Kind::List, Outcome::NoSuchGroup, io),
            },
            Request::NewChat { group } => self.new_chat(link, tag, user, group, io),
            Request::Enter(chat) => self.visit(link, tag, user, chat, true, io),
            Request::Exit(chat) => self.visit(link, tag, user, chat, false, io),
            Request::Say { chat, text } => {
                self.say(&Draft { tag, text, link, from: user, ..Draft::NONE }, chat, io);
            }
            Request::SayImage { chat, name, kind, size } => {
                let mut described = [0; DESCRIBED];
                match describe(name, kind, size, &mut described) {
                    Some(text) => {
                        let image = true;
                        let draft = Draft { tag, text, link, from: user, image, ..Draft::NONE };
                        self.say(&draft, chat, io);
                    }
                    None => self.answer(link, tag, Kind::Send, Outcome::BadName, io),
                }
            }
            Request::History { chat, before, limit } => {
                self.ask_history(link, tag, user, (chat, before, limit), io);
            }
            Request::Chats => self.ask_chats(link, tag, user, io),
            Request::Image { id } => self.ask_image(link, tag, user, id, io),
            Request::ShutDown => {
                let may = io.out.may_shut_down(link);
                if may {
                    io.out.shut_down();
                }
                let outcome = if may { Outcome::Done } else { Outcome::NotAllowed };
                self.answer(link, tag, Kind::ShutDown, outcome, io);
            }
            Request::Ping => self.answer(link, tag, Kind::Ping, Outcome::Done, io),
        }
        Ok(())
    }

    /// Whether a user is a member of a group, or there is no such group.
    fn may_post(&self, user: u32, group: &Target<'_>) -> bool {
        let group = self.directory.find_group(group);
        group.is_none_or(|group| self.directory.membership(user, group).is_some())
    }

    /// Checks a membership request: the group's number, or what is wrong.
    fn member_of(&self, group: &Target<'_>, count: i32) -> Result<u32, Outcome> {
        let group = self.directory.find_group(group).ok_or(Outcome::NoSuchGroup)?;
        if count == 0 || count < -1 { Err(Outcome::Malformed) } else { Ok(group) }
    }

    /// The session of a user in the dialect of `via`.
    pub(super) fn session_of(&self, user: u32, via: Link) -> Option<Link> {
        let dialect = self.sessions.get(via)?.dialect;
        let place = *self.directory.user(user)?.sessions.get(dialect as usize)?;
        self.sessions.handle(place)
    }

    /// Whoever has this address.
    pub(super) fn session_at(&self, address: i64) -> Option<Link> {
        let mut place = self.addresses.head(address_hash(address));
        while let Some(session) = self.sessions.at(place) {
            if session.address == address {
                return self.sessions.handle(place);
            }
            place = session.chain;
        }
        None
    }

    /// Puts a session into its table, and into the index if it has an address.
    pub(super) fn insert_session(&mut self, mut session: Session) -> Result<Link, Limit> {
        let hash = address_hash(session.address);
        session.chain = if session.address == 0 { 0 } else { self.addresses.head(hash) };
        let link = self.sessions.insert(session).map_err(|_| Limit::Sessions)?;
        if session.address != 0 {
            self.addresses.set_head(hash, link.place());
        }
        Ok(link)
    }

    pub(super) fn remove_session(&mut self, link: Link) {
        let Some(session) = self.sessions.remove(link) else { return };
        if session.address == 0 {
            return;
        }
        let hash = address_hash(session.address);
        let mut before = self.addresses.head(hash);
        if before == link.place() {
            return self.addresses.set_head(hash, session.chain);
        }
        while let Some(other) = self.sessions.at_mut(before) {
            if other.chain == link.place() {
                other.chain = session.chain;
                return;
            }
            before = other.chain;
        }
    }

    /// Answers a request.
    pub(super) fn answer(
        &mut self,
        link: Link,
        tag: Tag,
        kind: Kind,
        outcome: Outcome,
        io: &mut Io<'_>,
    ) {
        self.answer_about(link, tag, kind, outcome, About::NOTHING, io);
    }

    /// Answers a request, naming whom or what it was about.
    pub(super) fn answer_about(
        &mut self,
        link: Link,
        tag: Tag,
        kind: Kind,
        outcome: Outcome,
        about: About,
        io: &mut Io<'_>,
    ) {
        let Some(session) = self.sessions.get(link) else { return };
        let granted = matches!(outcome, Outcome::Done | Outcome::Received | Outcome::Stored);
        if granted && tag == Tag(0) && kind != Kind::LogIn && session.dialect.traits().quiet {
            return;
        }
        self.finish_list(link, io);
        let mut part = 0;
        while self.answer_part(link, tag, kind, outcome, about, part, io) {
            part = part.saturating_add(1);
        }
    }

    /// One message of an answer; whether there are more. What promises something goes out with its
    /// refusal.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn answer_part(
        &mut self,
        link: Link,
        tag: Tag,
        kind: Kind,
        outcome: Outcome,
        about: About,
        part: u8,
        io: &mut Io<'_>,
    ) -> bool {
        let Some(session) = self.sessions.get(link) else { return false };
        let dialect = session.dialect;
        let at_endpoint = kind == Kind::LogIn && dialect.traits().log_in_at_endpoint;
        let target = if at_endpoint { session.endpoint } else { link };
        let about_party = match about.group {
            true => self.directory.group_party(about.number),
            false => self.directory.user_party(about.number),
        };
        let to = self.directory.user_party(session.user);
        let (size, group) = (self.size_of(outcome), about.group);
        let mut answer = Answer { tag, kind, outcome, size, about: about_party, group, to };
        let more = part.saturating_add(1) < dialect.parts(&answer);
        let to = Recipient { part, ..session.recipient() };
        let len = dialect.encode(&Event::Answer(answer), to, &self.limits, self.scratch);
        let Some((frame, rest)) = self.scratch.split_at_mut_checked(len) else { return false };
        if len == 0 {
            return more;
        }
        if !matches!(outcome, Outcome::Done | Outcome::Stored) {
            io.out.reply(target, frame);
            return more;
        }
        // A refusal is one message, whatever the answer is.
        (answer.outcome, answer.size) = (Outcome::Full(Limit::Store), 0);
        let len = match part {
            0 => dialect.encode(&Event::Answer(answer), to, &self.limits, rest),
            _ => 0,
        };
        io.out.promise(target, frame, rest.get(..len).unwrap_or(&[]));
        if kind == Kind::LogIn && part == 0 {
            io.out.logged_in(target, link, session.order);
        }
        more
    }

    /// Ends the session of a link that stays, if that is how its dialect logs in anew.
    fn renew(&mut self, link: Link, io: &mut Io<'_>) -> bool {
        let Some(old) = self.sessions.get(link).copied() else { return false };
        if !old.dialect.traits().log_in_renews {
            return false;
        }
        self.log_out(link, &old, io);
        true
    }

    /// Ends the session of a link that stays: it may log in anew.
    pub(super) fn log_out(&mut self, link: Link, old: &Session, io: &mut Io<'_>) {
        let Session { dialect, endpoint, address, chain, room, progress, user, .. } = *old;
        self.timers.cancel(old.timer);
        self.unbind(link, old);
        if let Some(session) = self.sessions.get_mut(link) {
            *session =
                Session { endpoint, address, chain, room, progress, ..Session::new(dialect) };
        }
        // Whoever is behind the link now did not send these, and may use their ids anew.
        for message in self.messages.iter_mut().filter(|message| message.sender == link) {
            message.sender = Link::NONE;
        }
        if dialect.traits().conversations {
            self.exit_all(user, io);
        }
        self.release(user, dialect, io);
        if !dialect.traits().conversations {
            self.wait_for(link, if endpoint.is_none() { Class::Idle } else { Class::Lapse });
        }
    }

    /// The user has no session there any more; whether it was this link's.
    fn unbind(&mut self, link: Link, session: &Session) -> bool {
        let dialect = session.dialect;
        let user = self.directory.user_mut(session.user);
        if let Some(user) = user
            && let Some(place) = user.sessions.get_mut(dialect as usize)
            && *place == link.place()
        {
            *place = 0;
            user.live &= !dialect.bit();
            if let Some(bound) = self.bound.get_mut(dialect as usize) {
                *bound = bound.saturating_sub(1);
            }
            return true;
        }
        false
    }

    /// Ends a session, whatever it was doing.
    pub(super) fn end(&mut self, link: Link, io: &mut Io<'_>) {
        let Some(session) = self.sessions.get(link).copied() else { return };
        self.timers.cancel(session.timer);
        self.questions.remove(session.question);
        if session.user != 0 && !session.endpoint.is_none() {
            self.take_back_answer(link, io);
            self.take_unread(link, io);
            let Session { dialect, address, .. } = session;
            let _ = io.store.write(Record::Session { dialect, address, user: 0 });
        }
        let bound = self.unbind(link, &session);
        self.remove_session(link);
        if bound {
            if session.dialect.traits().conversations {
                self.exit_all(session.user, io);
            }
            self.release(session.user, session.dialect, io);
        }
    }
}

/// Keys of neighbours (process ids) differ in their low bits.
#[inline]
fn address_hash(address: i64) -> u32 {
    address as u32
}

/// How a change of the directory went, as an answer.
pub(super) fn outcome(result: Result<(), super::Refused>) -> Outcome {
    match result {
        Ok(()) => Outcome::Done,
        Err(super::Refused::Name(_)) => Outcome::BadName,
        Err(super::Refused::Exists) => Outcome::Exists,
        Err(super::Refused::NoSuch) => Outcome::NoSuchGroup,
        Err(super::Refused::Full(limit)) => Outcome::Full(limit),
    }
}
