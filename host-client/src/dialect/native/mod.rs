//! `native`: a TCP connection or a serial line, on which everything can be asked.
//!
//! - Every command says hello, asks, waits for the answers, and logs out.
//! - `listen` acknowledges mail once its line is written, and not before. Other commands leave mail
//!   unacknowledged: it comes again. A live message that comes meanwhile is printed aside.
//! - A group is meant by its name; by its number if there is none of that name.
//!
//! A serial line loses what noise hits, and has neither beginning nor end:
//!
//! - A hello is repeated until it is answered. What comes before that is for whoever had the line
//!   before: it is passed over.
//! - Where the marks of mail have a gap nothing behind it is acknowledged, and another hello lets it
//!   come again.
//! - `listen` asks with a ping whether the exchange is there when it has said nothing for
//!   [`QUIET`]: so its user keeps the line. Without an answer in [`PATIENCE`] it is gone.
//! - Any other request that is not answered is not repeated: it may have been obeyed.

pub mod connection;

use super::{Client, Entry, Group, To};
use crate::failure::Failure;
use crate::output::{Fate, Line, Message, Output};
use crate::signals::Stop;
use crate::url::{Dialect, Url};
use crate::wait::{PATIENCE, TICK};
use centrala_core::dialect::native::{
    self, Chat, Event, How, Limit, List, Refusal, Request, VERSION, Who,
};
use centrala_core::limits::MESSAGE_LENGTH_MAX;
use centrala_core::name::Name;
use connection::Connection;
use std::io;
use std::time::{Duration, Instant};

/// Messages of a history that are printed: the newest.
const HISTORY: u32 = 1_000;
/// How long the exchange may take to end a session that we have ended.
const CLOSING: Duration = Duration::from_secs(2);
/// How long a serial line may say nothing before it is asked whether anybody is there, and between
/// two questions.
const QUIET: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_secs(2);
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// A client of `native`.
#[derive(Debug)]
pub struct Native<'a> {
    url: &'a Url,
    stop: &'a Stop,
    output: &'a mut Output,
}

impl<'a> Native<'a> {
    /// A client, not connected yet.
    pub fn new(url: &'a Url, stop: &'a Stop, output: &'a mut Output) -> Self {
        Native { url, stop, output }
    }

    /// Logs in, does `work`, and logs out.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut session = Session::log_in(self.url, self.stop, self.output)?;
        let done = work(&mut session);
        let left = session.close();
        done.and_then(|done| left.map(|()| done))
    }

    fn list(&mut self, list: List<'_>) -> Result<Vec<Entry>, Failure> {
        self.with(|session| session.list(&Request::List(list), "the list"))
    }
}

impl Client for Native<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Native
    }

    fn has(&self) -> &'static [&'static str] {
        &[
            "send", "listen", "users", "groups", "members", "create", "join", "leave", "history",
            "shutdown",
        ]
    }

    fn send(&mut self, to: &To, text: &[u8], priority: Option<u8>) -> Result<Fate, Failure> {
        if text.len() > MESSAGE_LENGTH_MAX {
            return Err(Failure::Usage(format!(
                "the text has {} bytes; native takes at most {MESSAGE_LENGTH_MAX}",
                text.len()
            )));
        }
        let priority = priority.unwrap_or(3);
        self.with(|session| {
            let send = |to, receipt| Request::Send { to, priority, receipt, text };
            let what = to.to_string();
            let how = match to {
                To::User(name) => session.ask(&send(native::To::User(user(name)), true), &what)?,
                To::Group(name) => {
                    session.ask_of_group(name, |who| send(native::To::Group(who), false))?
                }
            };
            Ok(match (to, how) {
                (_, How::Stored) => Fate::Stored,
                (To::User(_), _) => Fate::Delivered,
                // The exchange has it, not its members.
                (To::Group(_), _) => Fate::Accepted,
            })
        })
    }

    fn listen(&mut self, groups: &[Group], sync: bool) -> Result<(), Failure> {
        self.with(|session| {
            (session.listening, session.takes_mail) = (true, true);
            session.wanted = groups.iter().map(|Group(name)| name.clone()).collect();
            for Group(name) in groups {
                session.group(name)?;
            }
            let listened = if sync { session.read_there() } else { session.read_all() };
            match listened {
                Err(Failure::Interrupted) if !sync => Ok(()),
                listened => listened,
            }
        })
    }

    fn users(&mut self) -> Result<Vec<Entry>, Failure> {
        self.list(List::Online)
    }

    fn groups(&mut self, mine: bool) -> Result<Vec<Entry>, Failure> {
        self.list(if mine { List::MyGroups } else { List::Groups })
    }

    fn members(&mut self, Group(name): &Group) -> Result<Vec<Entry>, Failure> {
        self.with(|session| {
            let number = session.group(name)?;
            let members = List::Members(Who::Number(number));
            session.list(&Request::List(members), &format!("#{name}"))
        })
    }

    fn create(&mut self, Group(name): &Group) -> Result<(), Failure> {
        let request = Request::CreateGroup { name: name.as_bytes() };
        self.with(|session| session.ask(&request, &format!("#{name}")).map(drop))
    }

    fn join(&mut self, Group(name): &Group, count: Option<u32>) -> Result<(), Failure> {
        if count.is_some_and(|count| i32::try_from(count).is_err()) {
            let most = i32::MAX;
            return Err(Failure::Usage(format!("--count is 1 to {most} messages in native")));
        }
        let request = |group| Request::Join { group, count };
        self.with(|session| session.ask_of_group(name, request).map(drop))
    }

    fn leave(&mut self, Group(name): &Group) -> Result<(), Failure> {
        let request = |group| Request::Leave { group };
        self.with(|session| session.ask_of_group(name, request).map(drop))
    }

    fn history(&mut self, of: &To) -> Result<(), Failure> {
        self.with(|session| {
            let chat = match of {
                To::Group(name) => Chat::Group(session.group(name)?),
                To::User(name) => Chat::User(session.user(name)?),
            };
            session.history(chat, of)
        })
    }

    fn shutdown(&mut self) -> Result<(), Failure> {
        let mut session = Session::log_in(self.url, self.stop, self.output)?;
        session.ask(&Request::ShutDown, "shutdown")?;
        // It is down when it closes the connection.
        let deadline = Instant::now() + PATIENCE;
        while session.arrive(Some(deadline))? {
            session.pass_over();
        }
        Ok(())
    }
}

/// A user as it was typed: a name, or `~number`.
fn user(name: &str) -> Who<'_> {
    let number = name.strip_prefix('~').and_then(|number| number.parse().ok());
    number.map_or(Who::Name(name.as_bytes()), Who::Number)
}

/// What a refusal says about `what`.
pub fn refused(what: &str, why: Refusal) -> Failure {
    let why = match why {
        Refusal::Malformed => "the exchange could not read it".into(),
        Refusal::Version { speaks } => {
            format!("the exchange speaks version {speaks} of native, this client {VERSION}")
        }
        Refusal::NotLoggedIn => "not logged in".into(),
        Refusal::BadName => "not a name".into(),
        Refusal::NotAllowed => "not allowed, or a wrong password".into(),
        Refusal::NotMember => "only for members".into(),
        Refusal::NoSuchUser => "no such user".into(),
        Refusal::NoSuchGroup => "no such group".into(),
        Refusal::InUse => "this user is logged in to native already".into(),
        Refusal::NoSuchChat => "no such chat".into(),
        Refusal::Exists => "there is such a group already".into(),
        Refusal::Own => "it is your own".into(),
        Refusal::NotKept => "the exchange keeps no history".into(),
        Refusal::Full { limit, size } => full(limit, size),
    };
    Failure::Refused(format!("{what}: {why}"))
}

fn full(limit: Limit, size: u32) -> String {
    let of = match limit {
        Limit::Sessions => "sessions",
        Limit::Users => "users",
        Limit::Groups => "groups",
        Limit::Memberships => "memberships",
        Limit::Messages => "waiting messages",
        Limit::Copies => "copies of waiting messages",
        Limit::Mailbox => "messages for one user",
        Limit::MessageLength => "bytes a message",
        Limit::Questions => "log-ins at once",
        Limit::Registrations => "new users a minute",
        Limit::Chats => "private chats",
        Limit::Store => return "the exchange's store has no room".into(),
    };
    format!("no room: the exchange has at most {size} {of}")
}

fn name(party: &native::Party<'_>) -> Option<String> {
    match party.name {
        [] if party.number == 0 => None,
        [] => Some(format!("~{}", party.number)),
        name => Some(String::from_utf8_lossy(name).into_owned()),
    }
}

/// Unix seconds.
fn seconds(time: u64) -> i64 {
    (time / 1000) as i64
}

fn line(message: &native::Message<'_>) -> Line {
    Line::Message(Message {
        from: name(&message.from),
        group: message.group.as_ref().and_then(name),
        text: String::from_utf8_lossy(message.text).into_owned(),
        id: Some(message.id),
        priority: Some(message.priority.into()),
        // Of a live one everybody knows.
        time: message.offline.then_some(seconds(message.time)),
        stored: message.offline,
    })
}

/// The number of the entry of this name.
fn find(list: &[Entry], name: &str) -> Option<u32> {
    list.iter().find(|entry| same(entry.name.as_bytes(), name))?.number
}

/// The number, if there is an entry of it.
fn with_number(list: &[Entry], number: Option<u32>) -> Option<u32> {
    number.filter(|_| list.iter().any(|entry| entry.number == number))
}

/// Whether an exchange takes both for one name.
fn same(name: &[u8], typed: &str) -> bool {
    Name::new(name).is_ok_and(|name| name.is(typed.as_bytes()))
}

/// Whether a message of this group, or of none, is among those wanted.
fn wants(wanted: &[String], group: Option<&native::Party<'_>>) -> bool {
    let is = |group: &native::Party<'_>, typed: &String| {
        same(group.name, typed) || typed.parse() == Ok(group.number)
    };
    wanted.is_empty() || group.is_some_and(|group| wanted.iter().any(|typed| is(group, typed)))
}

/// What came.
enum Came {
    Message,
    Answer(u32, Result<(How, u32), Refusal>),
    Row(u32, Entry),
    Said(u32, Message),
    Other,
}

/// A session, from its hello to its end.
struct Session<'a> {
    url: &'a Url,
    connection: Connection,
    place: String,
    stop: Option<&'a Stop>,
    output: &'a mut Output,
    buffer: Box<[u8]>,
    /// Messages are what was asked for.
    listening: bool,
    /// Mail is printed and acknowledged. Otherwise it stays with the exchange.
    takes_mail: bool,
    /// The groups that are listened to, by name or number; all messages, if there are none.
    wanted: Vec<String>,
    /// Whether the hello was answered: what comes is for this session.
    welcomed: bool,
    /// Of the last mail that has come without a gap.
    last: u32,
    /// Mail has come behind a gap.
    gap: bool,
    /// Of the last mail printed, while it is not acknowledged.
    mark: u32,
    /// Messages printed.
    printed: u64,
}

impl<'a> Session<'a> {
    fn log_in(url: &'a Url, stop: &'a Stop, output: &'a mut Output) -> Result<Self, Failure> {
        if url.password().len() > MESSAGE_LENGTH_MAX {
            return Err(Failure::Usage(format!(
                "a password has at most {MESSAGE_LENGTH_MAX} bytes"
            )));
        }
        url.user()?;
        let mut session = Session {
            url,
            connection: Connection::open(&url.place)?,
            place: url.place.to_string(),
            stop: Some(stop),
            output,
            buffer: vec![0; READ].into(),
            listening: false,
            takes_mail: false,
            wanted: Vec::new(),
            welcomed: false,
            last: 0,
            gap: false,
            mark: 0,
            printed: 0,
        };
        session.hello()?;
        Ok(session)
    }

    /// Begins the session, or begins it anew.
    fn hello(&mut self) -> Result<(), Failure> {
        let (user, password) = (user(self.url.user()?), self.url.password().as_bytes());
        let what = match user {
            Who::Name(name) => String::from_utf8_lossy(name).into_owned(),
            Who::Number(number) => format!("~{number}"),
        };
        let hello = Request::Hello { version: VERSION, user, password };
        (self.welcomed, self.last, self.gap, self.mark) = (false, 0, false, 0);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asked = self.connection.request(&hello);
            let repeat = match self.connection.is_serial() {
                true => deadline.min(Instant::now() + AGAIN),
                false => deadline,
            };
            while self.waits(repeat)? {
                let Came::Answer(id, answer) = self.come(Some(deadline))? else { continue };
                if id == asked {
                    self.welcomed = true;
                    return answer.map(drop).map_err(|why| refused(&what, why));
                }
            }
            if Instant::now() >= deadline {
                return Err(self.silent());
            }
        }
    }

    fn lost(&self, how: &dyn std::fmt::Display) -> Failure {
        Failure::Unreachable(format!("the exchange at {} {how}", self.place))
    }

    fn silent(&self) -> Failure {
        self.lost(&format_args!("has not answered in {} s", PATIENCE.as_secs()))
    }

    /// Waits until an event has arrived; `false`: none has until then.
    fn waits(&mut self, until: Instant) -> Result<bool, Failure> {
        match self.arrive(Some(until)) {
            // Or it has closed the connection, which is found there.
            Ok(_) => Ok(true),
            Err(Failure::Unreachable(_)) if Instant::now() >= until => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Waits until an event has arrived; `false`: the exchange has closed the connection.
    fn arrive(&mut self, deadline: Option<Instant>) -> Result<bool, Failure> {
        let gone = |error: &io::Error| format!("is gone: {error}");
        while !self.connection.has_next() {
            if self.stop.is_some_and(Stop::asked) {
                return Err(Failure::Interrupted);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(self.silent());
            }
            // It has closed: what it said last tells why, and is read next.
            let _ = self.connection.flush();
            self.connection.wait(TICK).map_err(|error| self.lost(&gone(&error)))?;
            match self.connection.fill(&mut self.buffer) {
                Ok(Some(0)) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(self.lost(&gone(&error))),
            }
        }
        Ok(true)
    }

    /// The next event; a message is printed.
    fn come(&mut self, deadline: Option<Instant>) -> Result<Came, Failure> {
        if !self.arrive(deadline)? {
            return Err(self.lost(&"has closed the connection"));
        }
        let Some(Ok(event)) = self.connection.next() else { return Ok(Came::Other) };
        Ok(match event {
            Event::Welcome { id, user, .. } => Came::Answer(id, Ok((How::Done, user.number))),
            Event::Done { id, how, number } => Came::Answer(id, Ok((how, number))),
            Event::Refused { id, why } => Came::Answer(id, Err(why)),
            Event::Row { id, party, .. } => {
                let name = String::from_utf8_lossy(party.name).into_owned();
                Came::Row(id, Entry::new(party.number, name))
            }
            // For whoever had the line before.
            Event::Message(_) | Event::Ended { .. } if !self.welcomed => Came::Other,
            Event::Message(message) if message.mark != 0 && message.mark != self.last + 1 => {
                self.gap = true;
                Came::Other
            }
            Event::Message(message) => {
                let (mark, line) = (message.mark, line(&message));
                if mark != 0 {
                    self.last = mark;
                }
                let wanted = wants(&self.wanted, message.group.as_ref());
                if self.takes_mail || mark == 0 {
                    self.print(wanted, &line)?;
                }
                if self.takes_mail && mark != 0 {
                    self.mark = mark;
                }
                Came::Message
            }
            Event::Ended { group } => {
                let line = Line::Ended { group: String::from_utf8_lossy(group.name).into_owned() };
                let wanted = wants(&self.wanted, Some(&group));
                self.print(wanted, &line)?;
                Came::Message
            }
            Event::Said { id, time, priority, from, text, .. } => {
                let (priority, time) = (Some(priority.into()), Some(seconds(time)));
                let (from, text) = (name(&from), String::from_utf8_lossy(text).into_owned());
                Came::Said(id, Message { from, text, priority, time, ..Message::default() })
            }
            Event::Count { .. } => Came::Other,
        })
    }

    fn print(&mut self, wanted: bool, line: &Line) -> Result<(), Failure> {
        self.printed += 1;
        match self.listening && wanted {
            true => self.output.print(line),
            false => self.output.aside(line),
        }
    }

    /// Asks, and waits for the answer. `what` it is about is said when it is refused.
    fn ask(&mut self, request: &Request<'_>, what: &str) -> Result<How, Failure> {
        self.answer(request)?.map(|(how, _)| how).map_err(|why| refused(what, why))
    }

    fn answer(&mut self, request: &Request<'_>) -> Result<Result<(How, u32), Refusal>, Failure> {
        let asked = self.connection.request(request);
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Came::Answer(id, answer) = self.come(Some(deadline))?
                && id == asked
            {
                return Ok(answer);
            }
        }
    }

    /// Asks about the group of this name, or else of this number.
    fn ask_of_group<'b>(
        &mut self,
        name: &'b str,
        request: impl Fn(Who<'b>) -> Request<'b>,
    ) -> Result<How, Failure> {
        let mut answer = self.answer(&request(Who::Name(name.as_bytes())))?;
        if let (Err(Refusal::NoSuchGroup), Ok(number)) = (&answer, name.parse()) {
            answer = self.answer(&request(Who::Number(number)))?;
        }
        answer.map(|(how, _)| how).map_err(|why| refused(&format!("#{name}"), why))
    }

    /// Asks for a list.
    fn list(&mut self, request: &Request<'_>, what: &str) -> Result<Vec<Entry>, Failure> {
        let asked = self.connection.request(request);
        let (mut deadline, mut list) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            match self.come(Some(deadline))? {
                Came::Row(id, entry) if id == asked => list.push(entry),
                Came::Answer(id, answer) if id == asked => {
                    return answer.map(|_| list).map_err(|why| refused(what, why));
                }
                _ => continue,
            }
            deadline = Instant::now() + PATIENCE;
        }
    }

    /// The number of the group of this name, or else of this number.
    fn group(&mut self, name: &str) -> Result<u32, Failure> {
        let groups = self.list(&Request::List(List::Groups), "the groups")?;
        let found = find(&groups, name).or_else(|| with_number(&groups, name.parse().ok()));
        found.ok_or_else(|| refused(&format!("#{name}"), Refusal::NoSuchGroup))
    }

    /// The number of a user.
    fn user(&mut self, typed: &str) -> Result<u32, Failure> {
        let users = self.list(&Request::List(List::Users), "the users")?;
        let found = match user(typed) {
            Who::Number(number) => with_number(&users, Some(number)),
            Who::Name(_) => find(&users, typed),
        };
        found.ok_or_else(|| refused(&format!("@{typed}"), Refusal::NoSuchUser))
    }

    /// Prints what was said in a conversation.
    fn history(&mut self, chat: Chat, of: &To) -> Result<(), Failure> {
        let request = Request::History { chat, before: None, limit: HISTORY };
        let asked = self.connection.request(&request);
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            match self.come(Some(deadline))? {
                Came::Said(id, message) if id == asked => {
                    let group = match of {
                        To::Group(name) => Some(name.clone()),
                        To::User(_) => None,
                    };
                    self.output.print(&Line::Message(Message { group, ..message }))?;
                }
                Came::Answer(id, answer) if id == asked => {
                    return answer.map(drop).map_err(|why| refused(&of.to_string(), why));
                }
                _ => continue,
            }
            deadline = Instant::now() + PATIENCE;
        }
    }

    /// Prints messages as they come.
    fn read_all(&mut self) -> Result<(), Failure> {
        let mut heard = Instant::now();
        loop {
            let serial = self.connection.is_serial();
            if serial {
                self.keep_line(heard)?;
            }
            match self.come(None)? {
                // There is no such session: the exchange has begun anew, or somebody has the line.
                Came::Answer(_, Err(why)) if serial => return Err(refused("the session", why)),
                _ => heard = Instant::now(),
            }
            self.close_gap()?;
            if !self.connection.has_next() {
                self.acknowledge();
            }
        }
    }

    /// Waits until an event has arrived, and asks for one where none does.
    fn keep_line(&mut self, heard: Instant) -> Result<(), Failure> {
        let mut ask = heard + QUIET;
        while !self.waits(ask)? {
            if ask >= heard + QUIET + PATIENCE {
                return Err(self.silent());
            }
            self.connection.request(&Request::Ping);
            ask += AGAIN;
        }
        Ok(())
    }

    /// Lets mail come again that was lost on the line.
    fn close_gap(&mut self) -> Result<(), Failure> {
        if self.gap {
            self.acknowledge();
            self.hello()?;
        }
        Ok(())
    }

    /// Prints the messages that are there: until nothing has come before an answer.
    fn read_there(&mut self) -> Result<(), Failure> {
        loop {
            let before = self.printed;
            self.answer(&Request::Ping)?.map_err(|why| refused("ping", why))?;
            self.acknowledge();
            if self.gap {
                self.close_gap()?;
            } else if self.printed == before {
                return Ok(());
            }
        }
    }

    /// What was printed need not come again.
    fn acknowledge(&mut self) {
        if self.mark != 0 {
            self.connection.tell(&Request::Ack { mark: self.mark });
            self.mark = 0;
        }
    }

    /// Takes what has arrived, without a look.
    fn pass_over(&mut self) {
        while self.connection.next().is_some() {}
    }

    /// Logs out, and hands over what is still on its way. Heeds no signal, for [`CLOSING`].
    fn close(mut self) -> Result<(), Failure> {
        self.stop = None;
        self.acknowledge();
        self.takes_mail = false;
        let asked = self.connection.request(&Request::LogOut);
        let deadline = Instant::now() + CLOSING;
        loop {
            match self.come(Some(deadline)) {
                Ok(Came::Answer(id, _)) if id == asked => break,
                Ok(_) => {}
                Err(error @ Failure::Streams(_)) => return Err(error),
                // It is gone: so is the session.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
