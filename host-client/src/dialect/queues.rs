//! `queues`: a SysV queue of our own, and the exchange's for requests.
//!
//! - A log-in is two messages, each with its answer; a third with our index may follow, and where
//!   it does not, the exchange is one written from the original document: our index is then the
//!   one beside our name in the list of users. An exchange that answers the first only together
//!   with the second is heard out, too.
//! - A direct message has our index as its type and the recipient's as its address, as the
//!   document's struct says. A group message has the group as its address. That form does not name
//!   its sender: an exchange that told us our index takes it with our queue's key as its address
//!   and `number/text`, and then the members learn whom it is from.
//! - Neither has an answer. The list of users, asked for behind it, has: when that comes, the
//!   message was taken out of the exchange's queue, and we may log out.
//! - Groups have numbers here and no names. What is joined is only told in answers to joining and
//!   leaving; `groups --mine` asks with the first half of a request to join, and not at all an
//!   exchange of the original document, which may wait for the second half for ever.
//! - Whatever comes while an answer is waited for is taken and kept: an original exchange stops at
//!   a client's full queue, for everybody.
//! - Every command logs out and removes our queue; what is left in it is printed aside.

use super::sysv::{self, GRACE, Wanted, checked_text, failure, waiter};
use super::{Client, Entry, Group, To};
use crate::failure::Failure;
use crate::output::{Fate, Line, Message as Shown, Output};
use crate::own_queue::OwnQueue;
use crate::signals::Stop;
use crate::url::{Dialect, Url};
use crate::wait::{Ended, PATIENCE, Waiter};
use centrala_core::dialect::queues::{Message, RIGHT, SIZE, TEXT, kind};
use centrala_core::name::Name;
use centrala_sysv::{Buffer, Queue};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the answer to the first half of a log-in is waited for before the second half goes out
/// without it.
const HESITATION: Duration = Duration::from_secs(2);
/// How long a third answer to a log-in is waited for.
const THIRD: Duration = Duration::from_millis(300);
/// How many strangers' names are asked for.
const ASKED_MAX: usize = 1_000;

/// A client of `queues`.
#[derive(Debug)]
pub struct Queues<'a> {
    url: &'a Url,
    stop: &'a Stop,
    output: &'a mut Output,
    hesitation: Duration,
}

impl<'a> Queues<'a> {
    /// A client, not logged in yet.
    pub fn new(url: &'a Url, stop: &'a Stop, output: &'a mut Output) -> Self {
        Queues { url, stop, output, hesitation: HESITATION }
    }

    /// Logs in, does `work`, logs out, prints what else came, and removes our queue.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Session, &mut Output) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (name, password) = (self.url.user()?, self.url.password());
        if password.len() >= TEXT || password.contains('\0') {
            let most = TEXT - 1;
            return Err(Failure::Usage(format!(
                "a password in queues has no NUL and at most {most} bytes"
            )));
        }
        let mut session = Session::new(sysv::exchange(self.url)?, self.stop)?;
        let done = match session.log_in(name, password, self.hesitation) {
            Ok(()) => work(&mut session, self.output),
            Err(failure) => Err(failure),
        };
        let left = session.close(self.output);
        done.and_then(|done| left.map(|()| done))
    }

    /// Prints how many of a list did not fit.
    fn whole(&mut self, list: List) -> Result<Vec<Entry>, Failure> {
        if list.more != 0 {
            self.output.aside(&Line::More { count: list.more })?;
        }
        Ok(list.users)
    }
}

impl Client for Queues<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Queues
    }

    fn has(&self) -> &'static [&'static str] {
        &["send", "listen", "users", "groups --mine", "members", "join", "leave"]
    }

    fn send(&mut self, to: &To, text: &[u8], priority: Option<u8>) -> Result<Fate, Failure> {
        if priority.is_some() {
            return Err(self.lacks("send --priority"));
        }
        // A number and its '/' may stand before a group's text.
        let group = match to {
            To::User(_) => None,
            To::Group(name) => Some(group_number(name)?),
        };
        let before = group.map_or(0, |group| format!("{group}/").len());
        checked_text(Dialect::Queues, text, TEXT - 1 - before)?;
        self.with(|session, _| {
            match (to, group) {
                (To::User(name), _) => session.send_to_user(name, text)?,
                (_, Some(group)) => session.send_to_group(group, text)?,
                (To::Group(_), None) => unreachable!("a group has its number"),
            }
            Ok(Fate::Sent)
        })
    }

    fn listen(&mut self, groups: &[Group], sync: bool) -> Result<(), Failure> {
        let chosen: Result<Vec<u32>, _> = groups.iter().map(|g| group_number(&g.0)).collect();
        let chosen = chosen?;
        self.with(|session, output| {
            session.wanted = Wanted::chosen(chosen);
            if sync {
                return session.read_there(output);
            }
            match session.read(output) {
                Err(Failure::Interrupted) => Ok(()),
                ended => ended,
            }
        })
    }

    fn users(&mut self) -> Result<Vec<Entry>, Failure> {
        let list = self.with(|session, _| session.users())?;
        self.whole(list)
    }

    fn groups(&mut self, mine: bool) -> Result<Vec<Entry>, Failure> {
        if !mine {
            return Err(self.lacks("groups"));
        }
        let joined = self.with(|session, _| session.memberships())?;
        Ok(joined.into_iter().map(|number| Entry::new(number, String::new())).collect())
    }

    fn members(&mut self, Group(name): &Group) -> Result<Vec<Entry>, Failure> {
        let group = group_number(name)?;
        let list = self.with(|session, _| session.members(group))?;
        self.whole(list)
    }

    fn join(&mut self, Group(name): &Group, count: Option<u32>) -> Result<(), Failure> {
        if count.is_some() {
            return Err(self.lacks("join --count"));
        }
        let group = group_number(name)?;
        self.with(|session, _| match session.change(kind::JOIN, group)? {
            true => Ok(()),
            false => Err(Failure::Refused(format!(
                "#{group}: the exchange does not count us among its members: there may be no \
                 such group, or no room"
            ))),
        })
    }

    fn leave(&mut self, Group(name): &Group) -> Result<(), Failure> {
        let group = group_number(name)?;
        self.with(|session, _| match session.change(kind::LEAVE, group)? {
            false => Ok(()),
            true => Err(Failure::Refused(format!(
                "#{group}: the exchange still counts us among its members"
            ))),
        })
    }
}

/// A group, which has no name here.
fn group_number(name: &str) -> Result<u32, Failure> {
    let number = sysv::number(name).filter(|number| i32::try_from(*number).is_ok());
    number.ok_or_else(|| {
        Failure::Usage(format!("#{name}: queues has no names of groups: give a number, as '#3'"))
    })
}

/// A list of users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    users: Vec<Entry>,
    /// How many more there are.
    more: u32,
}

impl List {
    /// Reads lines `"k name"`, and a last `"+N"` for those that did not fit. The original says
    /// nothing of their form: a mark may stand behind the number, or there may be none.
    fn new(text: &str) -> List {
        let mut list = List::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(more) = line.strip_prefix('+').and_then(sysv::number) {
                list.more = more;
                continue;
            }
            let end = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len());
            let (number, name) = line.split_at(end);
            let name = name.strip_prefix(['.', ':', ')']).unwrap_or(name).trim_start();
            list.users.push(match sysv::number(number) {
                Some(number) if !name.is_empty() => Entry::new(number, name.into()),
                _ => Entry { number: None, name: line.into() },
            });
        }
        list
    }

    /// The user of this name.
    fn find(&self, name: &str) -> Option<&Entry> {
        let same = |other: &str| {
            other == name || Name::new(other.as_bytes()).is_ok_and(|o| o.is(name.as_bytes()))
        };
        self.users.iter().find(|user| same(&user.name))
    }
}

/// Own membership of groups 1, 2, … as `"1 0 1"`; none if it is anything else.
fn states(text: &str) -> Option<Vec<bool>> {
    text.split_whitespace()
        .map(|state| match state {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })
        .collect()
}

/// The names of users, as far as the exchange has told them.
#[derive(Clone, Debug, Default)]
struct Names {
    users: BTreeMap<u32, String>,
    /// Whose names were asked for: none is asked for twice.
    asked: BTreeSet<String>,
}

impl Names {
    /// The line for a message, and the group that it is about; none for what is not for people to
    /// read.
    fn line(&self, message: &Message<'_>) -> Option<(Option<u32>, Line)> {
        let text = String::from_utf8_lossy(message.text).into_owned();
        let time = Some(message.time).filter(|time| *time != 0);
        let shown = Shown { time, ..Shown::default() };
        match message.kind {
            kind::GROUP => {
                // Group 0 is none: a message to us from nobody who is known.
                let number = u32::try_from(message.address).ok().filter(|number| *number != 0);
                let group = number.map(|number| number.to_string());
                // A sender's name stands before the text, where the exchange knows it.
                let (from, text) = match text.split_once(": ") {
                    Some((from, rest)) if self.users.values().any(|name| name == from) => {
                        (Some(from.to_owned()), rest.to_owned())
                    }
                    _ => (None, text),
                };
                Some((number, Line::Message(Shown { from, group, text, ..shown })))
            }
            12..=16 | kind::LOG_IN => None,
            sender => {
                let index = u32::try_from(sender).ok()?;
                let from = self.users.get(&index).cloned().unwrap_or_else(|| format!("~{index}"));
                Some((None, Line::Message(Shown { from: Some(from), text, ..shown })))
            }
        }
    }

    /// Whether the list of users should be asked for, to know this message's sender.
    fn lacks(&mut self, message: &Message<'_>) -> bool {
        let who = match message.kind {
            kind::GROUP => {
                let text = String::from_utf8_lossy(message.text);
                let Some((name, _)) = text.split_once(": ") else { return false };
                if Name::new(name.as_bytes()).is_err() || self.users.values().any(|n| n == name) {
                    return false;
                }
                name.to_owned()
            }
            12..=16 | kind::LOG_IN => return false,
            sender => {
                if u32::try_from(sender).is_ok_and(|index| self.users.contains_key(&index)) {
                    return false;
                }
                format!("~{sender}")
            }
        };
        self.asked.len() < ASKED_MAX && self.asked.insert(who)
    }
}

/// A session, from before its log-in to the end of its queue.
#[derive(Debug)]
struct Session {
    own: OwnQueue,
    exchange: Queue,
    waiter: Waiter,
    name: String,
    index: Option<u32>,
    /// Whether the exchange told us our index, as no original does.
    told: bool,
    names: Names,
    wanted: Wanted<u32>,
    /// What came while an answer was waited for.
    early: VecDeque<Vec<u8>>,
    buf: Buffer<SIZE>,
}

impl Session {
    fn new(exchange: Queue, stop: &Stop) -> Result<Session, Failure> {
        let stat =
            exchange.stat().map_err(|e| Failure::queue("look at the exchange's queue", e))?;
        Ok(Session {
            own: OwnQueue::create_beyond_indices(stat.uid)?,
            exchange,
            waiter: waiter(stop, exchange)?,
            name: String::new(),
            index: None,
            told: false,
            names: Names::default(),
            wanted: Wanted::Nothing,
            early: VecDeque::new(),
            buf: Buffer::new(),
        })
    }

    fn log_in(&mut self, name: &str, password: &str, hesitation: Duration) -> Result<(), Failure> {
        self.name = name.to_owned();
        let step = |answer: String, why: &str| match answer.trim().as_bytes() == RIGHT {
            true => Ok(()),
            false => Err(Failure::Refused(format!("{name}: {why} ({})", answer.trim()))),
        };
        let why_name = "the exchange does not know or allow this name, or it is logged in to \
                        queues already";
        let why_password = "a wrong password, or logged in to queues already";
        self.request(kind::LOG_IN, name.as_bytes())?;
        let first = match self.receive(kind::LOG_IN, hesitation) {
            Err(Ended::Late) => None,
            answer => Some(answer.map_err(failure)?),
        };
        // A password that followed a name refused would be taken for the next try's name.
        let hesitant = first.is_none();
        first.map_or(Ok(()), |answer| step(answer, why_name))?;
        self.request(kind::LOG_IN, password.as_bytes())?;
        if hesitant {
            step(self.answer(kind::LOG_IN)?, why_name)?;
        }
        step(self.answer(kind::LOG_IN)?, why_password)?;

        match self.receive(kind::LOG_IN, THIRD) {
            Err(Ended::Late) => {}
            third => {
                let third = third.map_err(failure)?;
                self.told(&third);
            }
        }
        if self.index.is_none() {
            let list = self.users()?;
            // The exchange may have told it meanwhile.
            self.index = self.index.or(list.find(name).and_then(|user| user.number));
        }
        Ok(())
    }

    /// The third answer to a log-in.
    fn told(&mut self, text: &str) {
        self.index = sysv::number(text.trim());
        self.told = self.index.is_some();
    }

    fn index(&self) -> Result<u32, Failure> {
        self.index.ok_or_else(|| {
            Failure::Refused(format!(
                "{}: the exchange has not told our index, nor is it in its list of users",
                self.name
            ))
        })
    }

    /// Sends a message to the exchange.
    fn put(&mut self, kind: i64, text: &[u8], address: i32) -> Result<(), Failure> {
        let mut out = Buffer::<SIZE>::new();
        let message = Message { kind, text, address, time: now() };
        let len = message.emit(&mut out).expect("the buffer has its size");
        let deadline = Instant::now() + PATIENCE;
        self.waiter.send(self.exchange, &out[..len], deadline).map_err(failure)
    }

    /// Sends a request: its address is our queue's key.
    fn request(&mut self, kind: i64, text: &[u8]) -> Result<(), Failure> {
        self.put(kind, text, self.own.key())
    }

    /// Waits for an answer of this type and returns its text.
    fn receive(&mut self, kind: i64, patience: Duration) -> Result<String, Ended> {
        let deadline = Instant::now() + patience;
        loop {
            let len = self.waiter.receive(self.own.queue(), &mut self.buf, 0, Some(deadline))?;
            let Some(message) = Message::new_checked(&self.buf[..len]) else { continue };
            let text = || String::from_utf8_lossy(message.text).into_owned();
            match message.kind {
                came if came == kind => return Ok(text()),
                kind::LOG_IN => {
                    let text = text();
                    self.told(&text);
                }
                _ => self.early.push_back(self.buf[..len].to_vec()),
            }
        }
    }

    fn answer(&mut self, kind: i64) -> Result<String, Failure> {
        self.receive(kind, PATIENCE).map_err(failure)
    }

    /// Asks who is logged in, and notes their names.
    fn users(&mut self) -> Result<List, Failure> {
        let index = self.index.unwrap_or(0).to_string();
        self.request(kind::ONLINE, index.as_bytes())?;
        let list = List::new(&self.answer(kind::ONLINE)?);
        for user in &list.users {
            if let Some(number) = user.number {
                self.names.users.insert(number, user.name.clone());
            }
        }
        Ok(list)
    }

    fn members(&mut self, group: u32) -> Result<List, Failure> {
        self.request(kind::MEMBERS, group.to_string().as_bytes())?;
        Ok(List::new(&self.answer(kind::MEMBERS)?))
    }

    /// Joins or leaves a group, and returns whether we are a member then.
    fn change(&mut self, kind: i64, group: u32) -> Result<bool, Failure> {
        let index = self.index()?;
        self.request(kind, index.to_string().as_bytes())?;
        self.request(kind, group.to_string().as_bytes())?;
        let states = states(&self.answer(kind)?);
        let place = group as usize - 1;
        let state = states.and_then(|states| states.get(place).copied());
        if state == Some(kind == kind::JOIN) {
            return Ok(kind == kind::JOIN);
        }
        // The answer does not reach so far, or came before the second half was looked at.
        let list = self.members(group)?;
        let named = list.find(&self.name).is_some();
        let member = named || list.users.iter().any(|user| user.number == Some(index));
        if !member && list.more != 0 {
            return Err(Failure::Refused(format!(
                "#{group}: it was asked for, but has so many members that the exchange's list \
                 does not show whether we are one"
            )));
        }
        Ok(member)
    }

    /// The groups that we are a member of.
    fn memberships(&mut self) -> Result<Vec<u32>, Failure> {
        let index = self.index()?;
        if !self.told {
            return Err(Failure::Refused(
                "this exchange shows what is joined only to who joins or leaves".into(),
            ));
        }
        self.request(kind::JOIN, index.to_string().as_bytes())?;
        let answer = self.answer(kind::JOIN)?;
        let states = states(&answer).ok_or_else(|| {
            Failure::Refused(format!("memberships cannot be read from the answer '{answer}'"))
        })?;
        Ok((1..).zip(states).filter(|(_, joined)| *joined).map(|(group, _)| group).collect())
    }

    fn send_to_user(&mut self, name: &str, text: &[u8]) -> Result<(), Failure> {
        let index = self.index()?;
        let to = match name.strip_prefix('~').and_then(sysv::number) {
            Some(number) => number,
            None => {
                let list = self.users()?;
                list.find(name).and_then(|user| user.number).ok_or_else(|| {
                    let cut = if list.more == 0 { "" } else { " that the list has room for" };
                    Failure::Refused(format!(
                        "@{name}: nobody of this name is logged in{cut}; somebody absent is \
                         reached by number, as @~5"
                    ))
                })?
            }
        };
        let no = |_| Failure::Usage(format!("@~{to}: no user has this number"));
        self.put(index.into(), text, i32::try_from(to).map_err(no)?)?;
        self.users().map(drop)
    }

    fn send_to_group(&mut self, group: u32, text: &[u8]) -> Result<(), Failure> {
        if self.told {
            self.request(kind::GROUP, &[format!("{group}/").as_bytes(), text].concat())?;
        } else {
            self.put(kind::GROUP, text, i32::try_from(group).unwrap_or(i32::MAX))?;
        }
        self.users().map(drop)
    }

    /// Prints every message as it comes.
    fn read(&mut self, output: &mut Output) -> Result<(), Failure> {
        loop {
            self.show_early(output)?;
            let own = self.own.queue();
            let len = self.waiter.receive(own, &mut self.buf, 0, None).map_err(failure)?;
            self.early.push_back(self.buf[..len].to_vec());
        }
    }

    /// Prints what is there. Asks for the list in between: its answer comes behind everything that
    /// the exchange had for us before.
    fn read_there(&mut self, output: &mut Output) -> Result<(), Failure> {
        loop {
            self.users()?;
            while let Some(len) = sysv::there(self.own.queue(), &mut self.buf, 0)? {
                self.early.push_back(self.buf[..len].to_vec());
            }
            if self.show_early(output)? == 0 {
                return Ok(());
            }
        }
    }

    /// Prints what was received, and returns how many messages that was. Asks for the list of users
    /// where a sender is not known.
    fn show_early(&mut self, output: &mut Output) -> Result<usize, Failure> {
        let mut shown = 0;
        while let Some(bytes) = self.early.pop_front() {
            let Some(message) = Message::new_checked(&bytes) else { continue };
            // It is ours already, and printed whatever becomes of the question.
            let asked = if self.names.lacks(&message) { self.users().map(drop) } else { Ok(()) };
            if let Some((group, line)) = self.names.line(&message) {
                self.wanted.print(output, group.as_ref(), &line)?;
                shown += 1;
            }
            asked?;
        }
        Ok(shown)
    }

    /// Logs out and ends the session with its queue. What is left in it is printed, or printed
    /// aside if nobody asked for it.
    fn close(self, output: &mut Output) -> Result<(), Failure> {
        let Session { own, exchange, index, names, wanted, early, mut buf, .. } = self;
        if let Some(index) = index {
            let (index, address) = (index.to_string(), own.key());
            let message =
                Message { kind: kind::LOG_OUT, text: index.as_bytes(), address, time: now() };
            let len = message.emit(&mut buf).expect("the buffer has its size");
            // Where it cannot be sent, the end of our queue says the same.
            if let Ok(patient) = waiter(&Stop::new(), exchange) {
                let _ = patient.send(exchange, &buf[..len], Instant::now() + GRACE);
            }
        }
        let mut printed = Ok(());
        let mut show = |bytes: &[u8]| {
            let message = Message::new_checked(bytes);
            let Some((group, line)) = message.and_then(|m| names.line(&m)) else { return };
            let done = wanted.print(output, group.as_ref(), &line).map(drop);
            if printed.is_ok() {
                printed = done;
            }
        };
        early.iter().for_each(|bytes| show(bytes));
        own.close(&mut buf, show);
        printed
    }
}

/// Unix seconds.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

#[cfg(test)]
mod tests;
