//! `topics`: a SysV queue of our own, and the exchange's for requests.
//!
//! - Every command but `shutdown` logs in: the answer is in the exchange's own queue, its type our
//!   queue's key. There is no logging out: the end of our queue is the end of the session.
//! - A topic's number on the wire is any that the exchange gives it, from 0; here it counts from 1,
//!   as in the exchange's directory. A new topic is proposed the lowest number that is free, as the
//!   original exchange takes what is proposed.
//! - Reading is the client's own doing, by the types in its queue. `listen` alone waits for
//!   whatever comes; with groups it looks for their types again and again, as the original does in
//!   a process of its own; `listen --sync` takes what is there and ends.
//! - Whatever is left unread at the end is printed aside: a queue that is gone counts as read.

use super::sysv::{self, Wanted, checked_text, failure, waiter};
use super::{Client, Entry, Group, To};
use crate::failure::Failure;
use crate::output::{Fate, Line, Message, Output};
use crate::own_queue::OwnQueue;
use crate::signals::Stop;
use crate::url::{Dialect, Url};
use crate::wait::{Ended, PATIENCE, Waiter};
use centrala_core::dialect::topics::{
    ClientMessage, REQUEST_SIZE, REQUEST_TEXT, SIZE, ServerMessage, kind, request,
};
use centrala_core::name::Name;
use centrala_sysv::{Buffer, Queue};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The pauses between two looks at chosen topics: doubled from the first to the last while nothing
/// comes.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// A client of `topics`.
#[derive(Debug)]
pub struct Topics<'a> {
    url: &'a Url,
    stop: &'a Stop,
    output: &'a mut Output,
}

impl<'a> Topics<'a> {
    /// A client, not logged in yet.
    pub fn new(url: &'a Url, stop: &'a Stop, output: &'a mut Output) -> Self {
        Topics { url, stop, output }
    }

    /// Logs in, does `work`, prints what else came, and removes our queue.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Session, &mut Output) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let name = self.url.user()?;
        let exchange = sysv::exchange(self.url)?;
        let mut session = Session::log_in(exchange, self.stop, name, self.url.password())?;
        let done = work(&mut session, self.output);
        let left = session.close(self.output);
        done.and_then(|done| left.map(|()| done))
    }
}

impl Client for Topics<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Topics
    }

    fn has(&self) -> &'static [&'static str] {
        &["send", "listen", "groups", "create", "join", "shutdown"]
    }

    fn send(&mut self, to: &To, text: &[u8], priority: Option<u8>) -> Result<Fate, Failure> {
        let To::Group(name) = to else { return Err(self.lacks("send @user")) };
        checked_text(Dialect::Topics, text, REQUEST_TEXT - 1)?;
        self.with(|session, _| {
            let topic = find(&session.list(request::ALL_TOPICS)?, name)?;
            let number = priority.map_or(3, i32::from);
            match session.request(request::PUBLISH, topic, number, text)? {
                0 => Ok(Fate::Accepted),
                info => Err(refused(&to.to_string(), info, "no such topic")),
            }
        })
    }

    fn listen(&mut self, groups: &[Group], sync: bool) -> Result<(), Failure> {
        self.with(|session, output| {
            let list = session.list(request::ALL_TOPICS)?;
            let chosen: Result<Vec<i32>, _> = groups.iter().map(|g| find(&list, &g.0)).collect();
            session.wanted = Wanted::chosen(chosen?);
            let listened = match (sync, &session.wanted) {
                (true, _) => session.read_there(output),
                (false, Wanted::These(_)) => session.read_chosen(output),
                (false, _) => session.read_all(output),
            };
            match listened {
                Err(Failure::Interrupted) if !sync => Ok(()),
                listened => listened,
            }
        })
    }

    fn groups(&mut self, mine: bool) -> Result<Vec<Entry>, Failure> {
        let which = if mine { request::MY_TOPICS } else { request::ALL_TOPICS };
        self.with(|session, _| {
            let list = session.list(which)?.into_iter();
            Ok(list.map(|(topic, name)| Entry::new(shown(topic), name)).collect())
        })
    }

    fn create(&mut self, Group(name): &Group) -> Result<(), Failure> {
        self.with(|session, _| {
            let list = session.list(request::ALL_TOPICS)?;
            let free = (0..).find(|topic| !list.contains_key(topic)).unwrap_or(0);
            match session.request(request::NEW_TOPIC, 0, free, name.as_bytes())? {
                0 => Ok(()),
                2 => Err(refused(&format!("#{name}"), 2, "no room for another topic")),
                info => Err(refused(&format!("#{name}"), info, "there is such a topic already")),
            }
        })
    }

    fn join(&mut self, Group(name): &Group, count: Option<u32>) -> Result<(), Failure> {
        let number = match count.map(i32::try_from) {
            None => -1,
            Some(Ok(count)) if count > 0 => count,
            Some(_) => {
                let most = i32::MAX;
                return Err(Failure::Usage(format!("--count is 1 to {most} messages in topics")));
            }
        };
        self.with(|session, _| {
            let topic = find(&session.list(request::ALL_TOPICS)?, name)?;
            match session.request(request::SUBSCRIBE, topic, number, b"")? {
                0 => Ok(()),
                info => Err(refused(&format!("#{name}"), info, "no such topic")),
            }
        })
    }

    fn shutdown(&mut self) -> Result<(), Failure> {
        let queue = sysv::exchange(self.url)?;
        let waiter = waiter(self.stop, queue)?;
        let deadline = Instant::now() + PATIENCE;
        send(&waiter, queue, (request::SHUT_DOWN, 0, 0, 0), b"", deadline)?;
        match waiter.until_gone(deadline) {
            Err(Ended::Late) => Err(Failure::Refused(format!(
                "the exchange has not shut down in {} s: it may be configured not to",
                PATIENCE.as_secs()
            ))),
            ended => ended.map_err(failure),
        }
    }
}

/// A topic's number as people see it.
fn shown(topic: i32) -> u32 {
    u32::try_from(topic).map_or(0, |topic| topic + 1)
}

fn refused(what: &str, info: i32, why: &str) -> Failure {
    Failure::Refused(format!("{what}: {why} ({info})"))
}

/// Sends a request: type, id, topic, number and text.
fn send(
    waiter: &Waiter,
    exchange: Queue,
    (kind, id, topic, number): (i64, i32, i32, i32),
    text: &[u8],
    deadline: Instant,
) -> Result<(), Failure> {
    let mut out = Buffer::<REQUEST_SIZE>::new();
    let message = ClientMessage { kind, id, topic, number, field: text };
    let len = message.emit(&mut out).expect("the text was measured");
    waiter.send(exchange, &out[..len], deadline).map_err(failure)
}

/// `"N. name"`, as lists and ends of subscriptions have it. The original says only that it is a
/// number and a name.
fn entry(text: &str) -> Option<(i32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, rest) = text.split_at(end);
    let name = rest.strip_prefix(['.', ':', ')']).unwrap_or(rest);
    Some((number.parse().ok()?, name.trim_start()))
}

/// The number of the topic with this name; else of the one with this number, as it is shown.
fn find(list: &BTreeMap<i32, String>, name: &str) -> Result<i32, Failure> {
    let same = |other: &str| {
        other == name || Name::new(other.as_bytes()).is_ok_and(|o| o.is(name.as_bytes()))
    };
    let number = name.parse().ok().and_then(|k: i32| k.checked_sub(1));
    let by_number = || number.filter(|topic| list.contains_key(topic));
    let found = list.iter().find(|(_, other)| same(other)).map(|(topic, _)| *topic);
    found.or_else(by_number).ok_or_else(|| {
        let known: Vec<String> = list.values().map(|name| format!("#{name}")).collect();
        let known = if known.is_empty() { "none".into() } else { known.join(", ") };
        Failure::Refused(format!("no topic #{name}; there are: {known}"))
    })
}

/// The names of topics, as far as the exchange has told them.
#[derive(Clone, Debug, Default)]
struct Names(BTreeMap<i32, String>);

impl Names {
    /// The line for a message, and the topic that it is about; none for what is not for people to
    /// read.
    fn line(&self, message: &ServerMessage<'_>) -> Option<(Option<i32>, Line)> {
        let text = String::from_utf8_lossy(message.text).into_owned();
        if message.kind == kind::ENDED {
            let (topic, group) = match entry(&text) {
                Some((topic, name)) => (Some(topic), name.to_owned()),
                None => (None, text),
            };
            return Some((topic, Line::Ended { group }));
        }
        if message.kind >= kind::DIRECT {
            let (from, text) = match text.split_once(": ") {
                Some((from, text)) => (Some(from.to_owned()), text.to_owned()),
                None => (None, text),
            };
            return Some((None, Line::Message(Message { from, text, ..Message::default() })));
        }
        let topic = topic_of(message)?;
        let (group, text) = self.split(topic, text);
        let (group, priority) = (Some(group), Some(message.info));
        Some((Some(topic), Line::Message(Message { group, text, priority, ..Message::default() })))
    }

    /// Splits `"topic name: content"`. The original says only that the name goes before.
    fn split(&self, topic: i32, text: String) -> (String, String) {
        if let Some(name) = self.0.get(&topic) {
            let content = match text.strip_prefix(name.as_str()) {
                Some(rest) => {
                    let rest = rest.strip_prefix(':').unwrap_or(rest);
                    rest.strip_prefix(' ').unwrap_or(rest)
                }
                None => &text,
            };
            return (name.clone(), content.to_owned());
        }
        match text.split_once(": ") {
            Some((name, content)) => (name.to_owned(), content.to_owned()),
            None => (shown(topic).to_string(), text),
        }
    }
}

/// The topic that a message was published to.
fn topic_of(message: &ServerMessage<'_>) -> Option<i32> {
    let published = (kind::TOPIC..kind::DIRECT).contains(&message.kind);
    i32::try_from(message.kind - kind::TOPIC).ok().filter(|_| published)
}

/// A session, from its log-in to the end of its queue.
#[derive(Debug)]
struct Session {
    own: OwnQueue,
    exchange: Queue,
    waiter: Waiter,
    id: i32,
    names: Names,
    wanted: Wanted<i32>,
    buf: Buffer<SIZE>,
}

impl Session {
    fn log_in(
        exchange: Queue,
        stop: &Stop,
        name: &str,
        password: &str,
    ) -> Result<Session, Failure> {
        let stat =
            exchange.stat().map_err(|e| Failure::queue("look at the exchange's queue", e))?;
        let mut text = name.as_bytes().to_vec();
        if !password.is_empty() {
            text.push(0);
            text.extend_from_slice(password.as_bytes());
        }
        if text.len() >= REQUEST_TEXT || password.contains('\0') {
            return Err(Failure::Usage(format!(
                "a password in topics has no NUL and, with the name, at most {} bytes",
                REQUEST_TEXT - 2
            )));
        }
        let (own, waiter) = (OwnQueue::create(stat.uid)?, waiter(stop, exchange)?);
        let (key, deadline) = (own.key(), Instant::now() + PATIENCE);
        send(&waiter, exchange, (request::LOG_IN, key, 0, 0), &text, deadline)?;
        let mut session = Session {
            own,
            exchange,
            waiter,
            id: 0,
            names: Names::default(),
            wanted: Wanted::Nothing,
            buf: Buffer::new(),
        };
        match session.receive(exchange, key.into(), deadline)?.info {
            -1 => Err(refused(
                name,
                -1,
                "logged in to topics already, or the exchange does not allow this name, or it has \
                 another password",
            )),
            -2 => Err(refused(name, -2, "the exchange has no room for another client")),
            id if id < 0 => Err(refused(name, id, "the exchange does not log it in")),
            id => {
                session.id = id;
                Ok(session)
            }
        }
    }

    fn receive(
        &mut self,
        from: Queue,
        kind: i64,
        deadline: Instant,
    ) -> Result<ServerMessage<'_>, Failure> {
        let len =
            self.waiter.receive(from, &mut self.buf, kind, Some(deadline)).map_err(failure)?;
        ServerMessage::new_checked(&self.buf[..len])
            .ok_or_else(|| Failure::Unreachable("the exchange does not speak topics".into()))
    }

    /// Sends a request and waits for its result.
    fn request(&mut self, kind: i64, topic: i32, number: i32, text: &[u8]) -> Result<i32, Failure> {
        let deadline = Instant::now() + PATIENCE;
        send(&self.waiter, self.exchange, (kind, self.id, topic, number), text, deadline)?;
        Ok(self.receive(self.own.queue(), self::kind::RESULT, deadline)?.info)
    }

    /// Asks for a list of topics, and notes their names.
    fn list(&mut self, which: i64) -> Result<BTreeMap<i32, String>, Failure> {
        let mut deadline = Instant::now() + PATIENCE;
        send(&self.waiter, self.exchange, (which, self.id, 0, 0), b"", deadline)?;
        let (own, mut list) = (self.own.queue(), BTreeMap::new());
        loop {
            let message = self.receive(own, kind::LIST, deadline)?;
            if message.text.is_empty() {
                break;
            }
            if let Some((topic, name)) = entry(&String::from_utf8_lossy(message.text)) {
                list.insert(topic, name.to_owned());
            }
            deadline = Instant::now() + PATIENCE;
        }
        self.names.0.extend(list.clone());
        Ok(list)
    }

    /// The line for the message in `self.buf`. Asks for its topic's name if that is not known.
    fn line(&mut self, len: usize) -> Result<Option<(Option<i32>, Line)>, Failure> {
        let kept = self.buf;
        let Some(message) = ServerMessage::new_checked(&kept[..len]) else { return Ok(None) };
        if topic_of(&message).is_some_and(|topic| !self.names.0.contains_key(&topic)) {
            self.list(request::ALL_TOPICS)?;
        }
        Ok(self.names.line(&message))
    }

    /// Prints every message as it comes.
    fn read_all(&mut self, output: &mut Output) -> Result<(), Failure> {
        loop {
            let queue = self.own.queue();
            let len = self.waiter.receive(queue, &mut self.buf, 0, None).map_err(failure)?;
            if let Some((_, line)) = self.line(len)? {
                output.print(&line)?;
            }
        }
    }

    /// Prints messages of the chosen topics as they come, and the ends of their subscriptions.
    fn read_chosen(&mut self, output: &mut Output) -> Result<(), Failure> {
        let mut pause = PAUSES.0;
        loop {
            pause = match self.take(output)? {
                0 => (2 * pause).min(PAUSES.1),
                _ => PAUSES.0,
            };
            self.waiter.look_around(None).map_err(failure)?;
            std::thread::sleep(pause);
        }
    }

    /// Prints what is there. Asks for the list in between: its answer comes behind everything that
    /// the exchange had for us before.
    fn read_there(&mut self, output: &mut Output) -> Result<(), Failure> {
        while self.take(output)? != 0 {
            self.waiter.look_around(None).map_err(failure)?;
            self.list(request::ALL_TOPICS)?;
        }
        Ok(())
    }

    /// Prints what is there of what is wanted, and returns how many lines that was.
    fn take(&mut self, output: &mut Output) -> Result<usize, Failure> {
        let Wanted::These(chosen) = self.wanted.clone() else { return self.take_type(0, output) };
        let mut printed = 0;
        for topic in chosen {
            printed += self.take_type(i64::from(topic) + kind::TOPIC, output)?;
        }
        while let Some(len) = sysv::there(self.own.queue(), &mut self.buf, kind::ENDED)? {
            let Some((topic, line)) = self.line(len)? else { continue };
            if !self.wanted.has(topic.as_ref()) {
                output.aside(&line)?;
                continue;
            }
            // The last messages stand before it, and may have come since we looked.
            let last = topic.map_or(0, i64::from) + kind::TOPIC;
            printed += 1 + self.take_type(last, output)?;
            output.print(&line)?;
        }
        Ok(printed)
    }

    /// Prints what is there of one type (0: of all) and returns how many lines that was.
    fn take_type(&mut self, kind: i64, output: &mut Output) -> Result<usize, Failure> {
        let mut printed = 0;
        while let Some(len) = sysv::there(self.own.queue(), &mut self.buf, kind)? {
            if let Some((_, line)) = self.line(len)? {
                output.print(&line)?;
                printed += 1;
            }
        }
        Ok(printed)
    }

    /// Ends the session with its queue. What is left in it is printed, or printed aside if nobody
    /// asked for it.
    fn close(self, output: &mut Output) -> Result<(), Failure> {
        let Session { own, names, wanted, mut buf, .. } = self;
        let mut printed = Ok(());
        own.close(&mut buf, |bytes| {
            let message = ServerMessage::new_checked(bytes);
            let Some((topic, line)) = message.and_then(|m| names.line(&m)) else { return };
            let done = wanted.print(output, topic.as_ref(), &line).map(drop);
            if printed.is_ok() {
                printed = done;
            }
        });
        printed
    }
}

#[cfg(test)]
mod tests;
