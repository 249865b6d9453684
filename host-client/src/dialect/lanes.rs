//! `lanes`: one SysV queue for everything, in which a user has a lane for messages and another for
//! answers.
//!
//! - A log-in has two answers on a lane of all log-ins: our number, then how many users and groups
//!   there are, from which every other number follows. Whoever asks first takes them. So the
//!   clients of this program log in one at a time ([`turn`]), what can be seen to be somebody
//!   else's is put back, and Ctrl-C does not leave ours behind.
//! - Every command logs out at its end, Ctrl-C included, and waits for the answer: a number that is
//!   not logged out is not free.
//! - Names come from the file that the exchange writes ([`names`]), whose place it does not tell.
//! - `listen` says a word every half minute: a number of which nothing is heard for a minute may be
//!   taken over by another log-in.

mod names;
mod turn;

use super::sysv::{self, GRACE, Wanted, checked_text, failure, waiter};
use super::{Client, Entry, Group, To};
use crate::failure::Failure;
use crate::output::{Fate, Line, Message, Output};
use crate::signals::Stop;
use crate::url::{Dialect, Place, Url};
use crate::wait::{Ended, PATIENCE, Waiter};
use centrala_core::dialect::lanes::{
    Element, LOG_IN_ANSWER, NUMBER, Order, SIZE, TEXT, TO_SERVER, answer_lane, lane, text,
};
use centrala_sysv::{Buffer, Queue};
use names::{Names, same};
use std::time::{Duration, Instant};
use turn::Turn;

/// How often `listen` says a word.
const WORD: Duration = Duration::from_secs(30);
/// Between two looks at answers to log-ins that are somebody else's.
const PAUSE: Duration = Duration::from_millis(5);
/// More users or groups than this is no answer to a log-in.
const PLACES_MAX: i32 = 1 << 24;

/// A client of `lanes`.
#[derive(Debug)]
pub struct Lanes<'a> {
    url: &'a Url,
    stop: &'a Stop,
    output: &'a mut Output,
    word: Duration,
}

impl<'a> Lanes<'a> {
    /// A client, not logged in yet.
    pub fn new(url: &'a Url, stop: &'a Stop, output: &'a mut Output) -> Self {
        Lanes { url, stop, output, word: WORD }
    }

    fn names(&self) -> Result<Names, Failure> {
        Names::read(self.url.directory.clone())
    }

    /// Logs in, does `work`, prints what else came, and logs out.
    fn with<T>(
        &mut self,
        names: Names,
        work: impl FnOnce(&mut Session, &mut Output) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let log_in = self.log_in_text()?;
        let queue = sysv::exchange(self.url)?;
        let mut session = Session::new(queue, self.stop, names)?;
        session.log_in(self.url, &log_in)?;
        let done = work(&mut session, self.output);
        let left = session.close(self.output);
        done.and_then(|done| left.map(|()| done))
    }

    /// `"login password"`.
    fn log_in_text(&self) -> Result<String, Failure> {
        let (name, password) = (self.url.user()?, self.url.password());
        if password.is_empty() {
            return Err(Failure::Usage(
                "lanes asks for a password: set CENTRALA_PASSWORD, or write it between user and @"
                    .into(),
            ));
        }
        let text = format!("{} {password}", name.replace(' ', "_"));
        if text.len() >= TEXT || text.contains('\0') {
            return Err(Failure::Usage(format!(
                "a password in lanes has no NUL and, with the name, at most {} bytes",
                TEXT - 2
            )));
        }
        Ok(text)
    }
}

impl Client for Lanes<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Lanes
    }

    fn has(&self) -> &'static [&'static str] {
        &["send", "listen", "users", "groups", "members", "join", "leave"]
    }

    fn send(&mut self, to: &To, text: &[u8], priority: Option<u8>) -> Result<Fate, Failure> {
        if priority.is_some() {
            return Err(self.lacks("send --priority"));
        }
        checked_text(Dialect::Lanes, text, TEXT - 1)?;
        let names = self.names()?;
        let order = match to {
            To::User(name) => Order::ToUser(names.typed_user(name)?),
            To::Group(name) => Order::ToGroup(names.typed_group(name)?),
        };
        self.with(names, |session, _| {
            let answer = session.request(order, text)?.text;
            let why = match known(&answer) {
                text::SENT => return Ok(Fate::Accepted),
                text::NOT_A_MEMBER => "only members may write to it",
                text::ERROR => "nobody has this number, or there is no room",
                _ => "an answer that lanes does not have",
            };
            Err(refused(&to.to_string(), why, &answer))
        })
    }

    fn listen(&mut self, groups: &[Group], sync: bool) -> Result<(), Failure> {
        let (names, word) = (self.names()?, self.word);
        let chosen: Result<Vec<u32>, _> = groups.iter().map(|g| names.typed_group(&g.0)).collect();
        let chosen = chosen?;
        self.with(names, |session, output| {
            chosen.iter().try_for_each(|group| session.within(Order::Members(*group)))?;
            session.wanted = Wanted::chosen(chosen);
            if sync {
                return session.read_there(output);
            }
            match session.read(word, output) {
                Err(Failure::Interrupted) => Ok(()),
                ended => ended,
            }
        })
    }

    fn users(&mut self) -> Result<Vec<Entry>, Failure> {
        let names = self.names()?;
        self.with(names, |session, _| {
            let answer = session.list(Order::Online, "the users")?;
            Ok(session.entries(answer.split([',', '\n'])))
        })
    }

    fn groups(&mut self, mine: bool) -> Result<Vec<Entry>, Failure> {
        let (names, me) = (self.names()?, self.url.user()?);
        if names.known() {
            let number = names.find_user(me);
            let of_mine = |members: &[u32]| number.is_some_and(|number| members.contains(&number));
            let groups = names.groups().iter().filter(|(_, g)| !mine || of_mine(&g.members));
            return Ok(groups.map(|(j, group)| Entry::new(*j, group.name.clone())).collect());
        }
        self.with(names, |session, _| {
            let mut groups = Vec::new();
            for group in 1..=session.groups {
                if !mine || session.members(group)?.iter().any(|user| same(&user.name, me)) {
                    groups.push(Entry::new(group, String::new()));
                }
            }
            Ok(groups)
        })
    }

    fn members(&mut self, Group(name): &Group) -> Result<Vec<Entry>, Failure> {
        let names = self.names()?;
        let group = names.typed_group(name)?;
        self.with(names, |session, _| session.members(group))
    }

    fn join(&mut self, group: &Group, count: Option<u32>) -> Result<(), Failure> {
        if count.is_some() {
            return Err(self.lacks("join --count"));
        }
        self.change(group, Order::Join)
    }

    fn leave(&mut self, group: &Group) -> Result<(), Failure> {
        self.change(group, Order::Leave)
    }
}

impl Lanes<'_> {
    fn change(&mut self, Group(name): &Group, order: fn(u32) -> Order) -> Result<(), Failure> {
        let names = self.names()?;
        let group = names.typed_group(name)?;
        self.with(names, |session, _| {
            let answer = session.request(order(group), b"")?;
            if u32::try_from(answer.second) == Ok(group) {
                return Ok(());
            }
            Err(refused(&format!("#{name}"), "the exchange has not done it", &answer.text))
        })
    }
}

/// The text of an answer as this dialect has it; some servers end one with a line, and some do not.
/// Empty for any other.
fn known(answer: &str) -> &'static [u8] {
    let texts = [
        text::LOGGED_IN,
        text::WRONG_PASSWORD,
        text::WRONG_LOGIN,
        text::IN_USE,
        text::SENT,
        text::NOT_A_MEMBER,
        text::ERROR,
    ];
    let same = |text: &&[u8]| text.trim_ascii_end() == answer.as_bytes().trim_ascii_end();
    texts.into_iter().find(same).unwrap_or(b"")
}

fn refused(what: &str, why: &str, answer: &str) -> Failure {
    Failure::Refused(format!("{what}: {why} ({})", answer.trim_end()))
}

fn not_lanes() -> Failure {
    Failure::Unreachable("the exchange does not speak lanes".into())
}

/// An element of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Received {
    first: i32,
    second: i32,
    text: String,
}

impl Received {
    fn new(bytes: &[u8]) -> Result<Received, Failure> {
        let element = Element::new_checked(bytes).ok_or_else(not_lanes)?;
        let text = String::from_utf8_lossy(element.text).into_owned();
        Ok(Received { first: element.first, second: element.second, text })
    }
}

/// A session, from before its log-in.
#[derive(Debug)]
struct Session {
    queue: Queue,
    waiter: Waiter,
    /// Waits whatever signals come.
    patient: Waiter,
    names: Names,
    /// Our k.
    user: u32,
    users: u32,
    groups: u32,
    /// Requests whose answers have not come.
    open: u32,
    wanted: Wanted<u32>,
    buf: Buffer<SIZE>,
}

impl Session {
    fn new(queue: Queue, stop: &Stop, names: Names) -> Result<Session, Failure> {
        Ok(Session {
            queue,
            waiter: waiter(stop, queue)?,
            patient: waiter(&Stop::new(), queue)?,
            names,
            user: 0,
            users: 0,
            groups: 0,
            open: 0,
            wanted: Wanted::Nothing,
            buf: Buffer::new(),
        })
    }

    fn log_in(&mut self, url: &Url, log_in: &str) -> Result<(), Failure> {
        let Place::Key(key) = url.place else { unreachable!("a lanes URL has a key") };
        let me = url.user()?;
        let _turn = Turn::wait(key, &self.waiter)?;
        self.put(0, Order::LogIn, log_in.as_bytes())?;

        let expected = self.names.find_user(me).map(lane);
        let first = self.log_in_answer(|answer| {
            let others = expected.is_some_and(|number| number != i64::from(answer.first));
            match answer.second {
                0 => others,
                1 => false,
                // Somebody's second answer.
                _ => answer.text.is_empty(),
            }
        })?;
        let number = u32::try_from(first.first).ok().and_then(|first| first.checked_sub(NUMBER));
        match (first.second, number) {
            (0, Some(number)) if number != 0 => self.user = number,
            (0, _) => return Err(not_lanes()),
            _ => {
                let why = match known(&first.text) {
                    text::WRONG_PASSWORD => "a wrong password",
                    text::WRONG_LOGIN => "the exchange does not know or allow this name",
                    text::IN_USE => "logged in to lanes already",
                    _ => "the exchange does not log it in",
                };
                return Err(refused(me, why, &first.text));
            }
        }

        // Somebody's first answer has a text.
        let firsts = [text::LOGGED_IN, text::WRONG_PASSWORD, text::WRONG_LOGIN, text::IN_USE];
        let second = self.log_in_answer(|answer| firsts.contains(&known(&answer.text)));
        let second = second.inspect_err(|_| {
            // Nothing else would free the number.
            self.put_log_out(Instant::now() + GRACE);
        })?;
        let places = 0..PLACES_MAX;
        if !places.contains(&second.first) || !places.contains(&second.second) {
            return Err(not_lanes());
        }
        (self.users, self.groups) = (second.first as u32, second.second as u32);
        // Answers to whoever had the number before.
        let answers = self.answers();
        while sysv::there(self.queue, &mut self.buf, answers)?.is_some() {}
        Ok(())
    }

    /// The next answer to a log-in that is not `foreign`. An end that is asked for waits for it,
    /// but not for long: nobody else would take it.
    fn log_in_answer(&mut self, foreign: impl Fn(&Received) -> bool) -> Result<Received, Failure> {
        let mut deadline = Instant::now() + PATIENCE;
        let (mut stopped, mut others) = (false, None);
        let ended = loop {
            let waiter = if stopped { &self.patient } else { &self.waiter };
            match waiter.receive(self.queue, &mut self.buf, LOG_IN_ANSWER, Some(deadline)) {
                Err(Ended::Stopped) => {
                    stopped = true;
                    deadline = deadline.min(Instant::now() + GRACE);
                }
                Err(ended) => break ended,
                Ok(len) => {
                    let answer = Received::new(&self.buf[..len])?;
                    if !foreign(&answer) {
                        return Ok(answer);
                    }
                    let back = self.patient.send(self.queue, &self.buf[..len], deadline);
                    let late = back.and_then(|()| self.patient.look_around(Some(deadline)));
                    others = Some(answer.first);
                    if let Err(ended) = late {
                        break ended;
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        };
        Err(match (ended, others) {
            (Ended::Late, _) if stopped => Failure::Interrupted,
            (Ended::Late, Some(number)) => Failure::Unreachable(format!(
                "only an answer to somebody else's log-in is there, of number {number}: is the \
                 directory another exchange's?"
            )),
            (ended, _) => failure(ended),
        })
    }

    /// The lane of the exchange's answers to us.
    fn answers(&self) -> i64 {
        answer_lane(self.user, self.users)
    }

    /// Sends a request from the user with this number.
    fn put(&self, first: i64, order: Order, text: &[u8]) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        self.waiter.send(self.queue, &self.element(first, order, text), deadline).map_err(failure)
    }

    /// Logs out, whatever signals come, and says whether the exchange will hear of it.
    fn put_log_out(&self, deadline: Instant) -> bool {
        let log_out = self.element(lane(self.user), Order::LogOut, b"");
        self.patient.send(self.queue, &log_out, deadline).is_ok()
    }

    fn element(&self, first: i64, order: Order, text: &[u8]) -> Vec<u8> {
        let first = i32::try_from(first).expect("numbers of places are small");
        let element = Element { lane: TO_SERVER, first, second: order.second(self.groups), text };
        let mut out = vec![0; SIZE];
        let len = element.emit(&mut out).expect("the buffer has its size");
        out.truncate(len);
        out
    }

    /// Checks that a group's or user's number is one of those that there are.
    fn within(&self, order: Order) -> Result<(), Failure> {
        let (what, number, most) = match order {
            Order::Join(j) | Order::Leave(j) | Order::Members(j) | Order::ToGroup(j) => {
                ("group", j, self.groups)
            }
            Order::ToUser(k) => ("user", k, self.users),
            Order::LogIn | Order::LogOut | Order::Online => return Ok(()),
        };
        if number <= most {
            return Ok(());
        }
        Err(Failure::Refused(format!("no {what} {number}: lanes reaches {what}s 1 to {most} here")))
    }

    /// Sends a request and waits for its answer.
    fn request(&mut self, order: Order, text: &[u8]) -> Result<Received, Failure> {
        self.within(order)?;
        self.put(lane(self.user), order, text)?;
        self.open += 1;
        let deadline = Instant::now() + PATIENCE;
        let answers = self.answers();
        let len = self.waiter.receive(self.queue, &mut self.buf, answers, Some(deadline));
        let len = len.map_err(failure)?;
        self.open -= 1;
        Received::new(&self.buf[..len])
    }

    /// Asks for a list of names.
    fn list(&mut self, order: Order, what: &str) -> Result<String, Failure> {
        let answer = self.request(order, b"")?.text;
        // No list of names is this: they have no end of line.
        match known(&answer) == text::ERROR {
            true => Err(refused(what, "the exchange does not tell", &answer)),
            false => Ok(answer),
        }
    }

    fn members(&mut self, group: u32) -> Result<Vec<Entry>, Failure> {
        let answer = self.list(Order::Members(group), &format!("#{group}"))?;
        Ok(self.entries(answer.split_whitespace()))
    }

    /// A list of names, with their numbers where the file has them.
    fn entries<'t>(&self, names: impl Iterator<Item = &'t str>) -> Vec<Entry> {
        names
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(|name| Entry { number: self.names.find_user(name), name: name.to_owned() })
            .collect()
    }

    /// The line for a message, and the group that it is about.
    fn line(&mut self, message: Received) -> (Option<u32>, Line) {
        let Received { first, second, text } = message;
        let sender = u32::try_from(first).ok().and_then(|first| first.checked_sub(NUMBER));
        let (from, text) = match sender {
            // From somebody without a place here, whose name the exchange puts before the text.
            Some(0) if !text.starts_with('#') => match text.split_once(": ") {
                Some((name, rest)) => (Some(name.to_owned()), rest.to_owned()),
                None => (None, text),
            },
            Some(0) | None => (None, text),
            Some(number) => (Some(self.names.user(number)), text),
        };
        let number = u32::try_from(second).ok().filter(|number| *number != 0);
        let group = number.map(|number| self.names.group(number));
        (number, Line::Message(Message { from, group, text, ..Message::default() }))
    }

    /// Prints the message in `self.buf`.
    fn show(&mut self, len: usize, output: &mut Output) -> Result<(), Failure> {
        let message = Received::new(&self.buf[..len])?;
        let (group, line) = self.line(message);
        self.wanted.print(output, group.as_ref(), &line).map(drop)
    }

    /// Prints every message as it comes, and says a word every so often.
    fn read(&mut self, word: Duration, output: &mut Output) -> Result<(), Failure> {
        let ours = lane(self.user);
        let mut next = Instant::now() + word;
        loop {
            match self.waiter.receive(self.queue, &mut self.buf, ours, Some(next)) {
                Ok(len) => self.show(len, output)?,
                Err(Ended::Late) => {
                    self.say_a_word()?;
                    next = Instant::now() + word;
                }
                Err(ended) => return Err(failure(ended)),
            }
        }
    }

    /// Asks who is logged in, unless that was asked and not answered: an exchange of the document
    /// answers nobody while somebody logs in. Looks at what it said last.
    fn say_a_word(&mut self) -> Result<(), Failure> {
        let answers = self.answers();
        while let Some(len) = sysv::there(self.queue, &mut self.buf, answers)? {
            self.open = self.open.saturating_sub(1);
            if known(&Received::new(&self.buf[..len])?.text) == text::ERROR {
                return Err(Failure::Unreachable("the exchange has logged us out".into()));
            }
        }
        if self.open == 0 {
            self.put(lane(self.user), Order::Online, b"")?;
            self.open = 1;
        }
        Ok(())
    }

    /// Prints what is there. Asks who is logged in, in between: the answer comes behind everything
    /// that the exchange had for us before.
    fn read_there(&mut self, output: &mut Output) -> Result<(), Failure> {
        loop {
            self.request(Order::Online, b"")?;
            if self.take(output)? == 0 {
                return Ok(());
            }
        }
    }

    /// Prints what is in our lane, and returns how many messages that was.
    fn take(&mut self, output: &mut Output) -> Result<usize, Failure> {
        let (ours, mut taken) = (lane(self.user), 0);
        while let Some(len) = sysv::there(self.queue, &mut self.buf, ours)? {
            self.show(len, output)?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Prints what is left in our lane, or prints it aside if nobody asked for it, and logs out.
    fn close(mut self, output: &mut Output) -> Result<(), Failure> {
        let taken = match self.take(output) {
            // Then there is nothing to log out of.
            Err(Failure::Unreachable(_)) => return Ok(()),
            taken => taken.map(drop),
        };
        let deadline = Instant::now() + GRACE;
        if self.put_log_out(deadline) {
            let answers = self.answers();
            for _ in 0..=self.open {
                // It is asked for and will be done; nobody needs to know it late.
                let _ = self.patient.receive(self.queue, &mut self.buf, answers, Some(deadline));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests;
