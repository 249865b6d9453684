//! Many sessions of `native` in one thread, watched by one epoll.

use super::report::Progress;
use crate::dialect::native::connection::Connection;
use crate::dialect::native::refused;
use crate::failure::Failure;
use crate::signals::Stop;
use crate::url::{Url, checked_name};
use crate::wait::TICK;
use centrala_core::dialect::native::{Event, Limit, Refusal, Request, VERSION, Who};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::time::{Duration, Instant};

/// How long nothing may come while something is on its way: the exchange may be busy.
pub const SILENCE: Duration = Duration::from_secs(30);
/// Log-ins that wait for their answer, at most.
const AT_ONCE: usize = 16;
/// Bytes read from a connection at once.
const READ: usize = 256 * 1024;
/// Connections looked at in one turn.
const TURN: usize = 256;

/// The sessions, by place.
#[derive(Debug)]
pub struct Fleet<'a> {
    url: &'a Url,
    stop: &'a Stop,
    sessions: Vec<Session>,
    epoll: Epoll,
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Session {
    connection: Connection,
    name: String,
    number: u32,
    /// Watched for room to write.
    writes: bool,
}

impl<'a> Fleet<'a> {
    /// Without sessions.
    ///
    /// # Errors
    /// The system's.
    pub fn new(url: &'a Url, stop: &'a Stop) -> Result<Fleet<'a>, Failure> {
        if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
            && soft < hard
        {
            // Each session takes a descriptor; if there are too few, the one that is missing says so.
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system)?;
        Ok(Fleet { url, stop, sessions: Vec::new(), epoll, buffer: vec![0; READ].into() })
    }

    /// The name of the user of this place among a benchmark's.
    ///
    /// # Errors
    /// The URL has no user, or one with which it would be no name.
    pub fn name(url: &Url, place: usize) -> Result<String, Failure> {
        let name = format!("{}-{place}", url.user()?);
        checked_name(&name, "user")?;
        Ok(name)
    }

    /// Logs in so many users, at places from the last one on.
    ///
    /// # Errors
    /// The exchange is not there, or has no room for them.
    pub fn log_in(&mut self, count: usize, progress: &mut Progress) -> Result<(), Failure> {
        let first = self.sessions.len();
        for place in first..first + count {
            progress.show(|| format!("logging in: {} of {count}", place - first));
            let name = Fleet::name(self.url, place)?;
            self.begin(name)?;
            if (place + 1 - first).is_multiple_of(AT_ONCE) {
                self.await_log_ins()?;
            }
        }
        self.await_log_ins()
    }

    /// Logs in one more user; returns its place.
    ///
    /// # Errors
    /// As [`Fleet::log_in`].
    pub fn log_in_as(&mut self, name: String) -> Result<usize, Failure> {
        self.begin(name)?;
        self.await_log_ins()?;
        Ok(self.sessions.len() - 1)
    }

    fn begin(&mut self, name: String) -> Result<(), Failure> {
        let place = self.sessions.len();
        let mut connection = Connection::open(&self.url.place)?;
        let password = self.url.password().as_bytes();
        let user = Who::Name(name.as_bytes());
        connection.request(&Request::Hello { version: VERSION, user, password });
        let event = EpollEvent::new(EpollFlags::EPOLLIN, place as u64);
        self.epoll.add(&connection, event).map_err(system)?;
        self.sessions.push(Session { connection, name, number: 0, writes: false });
        self.flush(place)
    }

    fn await_log_ins(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + SILENCE;
        while let Some(waits) = self.sessions.iter().rposition(|session| session.number == 0) {
            if Instant::now() >= deadline {
                let name = &self.sessions[waits].name;
                return Err(self.lost(&format!("has not answered the log-in of {name}")));
            }
            let mut numbers = Vec::new();
            self.turn(TICK, |place, event| {
                match *event {
                    Event::Welcome { user, .. } => numbers.push((place, user.number)),
                    Event::Refused { why, .. } => return Err(Came::Refused(why)),
                    // Left over from a run that was killed.
                    _ => {}
                }
                Ok(())
            })?;
            for (place, number) in numbers {
                self.sessions[place].number = number;
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// The number of the user at a place.
    pub fn number(&self, place: usize) -> u32 {
        self.sessions[place].number
    }

    /// The place of the user of a number.
    pub fn place_of(&self, number: u32) -> Option<usize> {
        self.sessions.iter().position(|session| session.number == number)
    }

    /// The connection of a place.
    pub fn connection(&mut self, place: usize) -> &mut Connection {
        &mut self.sessions[place].connection
    }

    /// Writes what the socket takes; the rest goes out in later turns.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, place: usize) -> Result<(), Failure> {
        let session = &mut self.sessions[place];
        // What it said last is read before its end is told.
        let all = session.connection.flush().unwrap_or(true);
        if session.writes == all {
            session.writes = !all;
            let mut flags = EpollFlags::EPOLLIN;
            flags.set(EpollFlags::EPOLLOUT, !all);
            let mut event = EpollEvent::new(flags, place as u64);
            self.epoll.modify(&session.connection, &mut event).map_err(system)?;
        }
        Ok(())
    }

    /// Waits until something has arrived, at most so long, and hands over each event with its place.
    /// Mail is acknowledged. Returns whether anything has arrived.
    ///
    /// # Errors
    /// The exchange is gone, the run was interrupted, or what `each` says.
    pub fn turn(
        &mut self,
        longest: Duration,
        mut each: impl FnMut(usize, &Event<'_>) -> Result<(), Came>,
    ) -> Result<bool, Failure> {
        if self.stop.asked() {
            return Err(Failure::Interrupted);
        }
        let mut ready = [EpollEvent::empty(); TURN];
        let timeout = EpollTimeout::try_from(longest).unwrap_or(EpollTimeout::MAX);
        let n = match self.epoll.wait(&mut ready, timeout) {
            Ok(n) => n,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(errno) => return Err(system(errno)),
        };
        let mut arrived = false;
        for event in &ready[..n] {
            let place = event.data() as usize;
            if self.sessions[place].writes {
                self.flush(place)?;
            }
            let session = &mut self.sessions[place];
            match session.connection.fill(&mut self.buffer) {
                Ok(None) => continue,
                Ok(Some(0)) => return Err(self.lost("has closed a connection")),
                Ok(Some(_)) => arrived = true,
                Err(error) => return Err(self.lost(&format!("is gone: {error}"))),
            }
            let (mut mark, mut failed) = (0, None);
            while let Some(next) = session.connection.next() {
                let Ok(event) = next else {
                    failed =
                        Some(Came::Wrong("sent an event that this client does not know".into()));
                    break;
                };
                if let Event::Message(message) = &event {
                    mark = if message.mark != 0 { message.mark } else { mark };
                }
                if let Err(came) = each(place, &event) {
                    failed = Some(came);
                    break;
                }
            }
            match failed {
                Some(Came::Refused(why)) => return Err(refusal(&session.name, why)),
                Some(Came::Wrong(what)) => {
                    return Err(Failure::Wrong(format!("{}: {what}", session.name)));
                }
                None => {}
            }
            if mark != 0 {
                session.connection.tell(&Request::Ack { mark });
                self.flush(place)?;
            }
        }
        Ok(arrived)
    }

    /// Asks for something at a place and waits for the answer: the number that it has, or why it
    /// was refused. Rows of a list are handed over.
    ///
    /// # Errors
    /// The exchange is gone or silent.
    pub fn ask(
        &mut self,
        place: usize,
        request: &Request<'_>,
        mut row: impl FnMut(u32, &str),
    ) -> Result<Result<u32, Refusal>, Failure> {
        let asked = self.connection(place).request(request);
        self.flush(place)?;
        let deadline = Instant::now() + SILENCE;
        let mut answer = None;
        while answer.is_none() {
            if Instant::now() >= deadline {
                return Err(self.lost("does not answer"));
            }
            self.turn(TICK, |at, event| {
                match *event {
                    Event::Done { id, number, .. } if (at, id) == (place, asked) => {
                        answer = Some(Ok(number));
                    }
                    Event::Refused { id, why } if (at, id) == (place, asked) => {
                        answer = Some(Err(why));
                    }
                    Event::Row { id, party, .. } if (at, id) == (place, asked) => {
                        row(party.number, &String::from_utf8_lossy(party.name));
                    }
                    // Left over from a run that was killed.
                    _ => {}
                }
                Ok(())
            })?;
        }
        answer.ok_or_else(|| self.lost("does not answer"))
    }

    /// Asks for the same at many places, a few at a time, and waits for all the answers.
    ///
    /// # Errors
    /// As [`Fleet::ask`], or one was refused.
    pub fn ask_all(
        &mut self,
        places: std::ops::Range<usize>,
        request: &Request<'_>,
        mut other: impl FnMut(usize, &Event<'_>) -> Result<(), Came>,
    ) -> Result<u32, Failure> {
        let mut number = 0;
        for begin in places.clone().step_by(TURN) {
            let some = begin..places.end.min(begin + TURN);
            let mut asked = Vec::new();
            for place in some.clone() {
                asked.push(Some(self.connection(place).request(request)));
                self.flush(place)?;
            }
            let mut left = some.len();
            let mut deadline = Instant::now() + SILENCE;
            while left != 0 {
                if Instant::now() >= deadline {
                    return Err(self.lost("does not answer"));
                }
                let before = left;
                self.turn(TICK, |place, event| {
                    let mine = place.checked_sub(begin).and_then(|at| asked.get_mut(at));
                    match (event, mine) {
                        (Event::Done { id, number: of, .. }, Some(own)) if *own == Some(*id) => {
                            (*own, left, number) = (None, left - 1, *of);
                        }
                        (Event::Refused { why, .. }, _) => return Err(Came::Refused(*why)),
                        (event, _) => return other(place, event),
                    }
                    Ok(())
                })?;
                if left != before {
                    deadline = Instant::now() + SILENCE;
                }
            }
        }
        Ok(number)
    }

    /// What is said of an exchange that does not do as it should.
    pub fn lost(&self, how: &str) -> Failure {
        Failure::Unreachable(format!("the exchange at {} {how}", self.url.place))
    }
}

/// An event that ends a run.
#[derive(Debug)]
pub enum Came {
    /// A request was refused.
    Refused(Refusal),
    /// A delivery is not as it must be.
    Wrong(String),
}

/// What a refusal says, and what to do about it.
pub fn refusal(name: &str, why: Refusal) -> Failure {
    let advice = match why {
        Refusal::Full { limit: Limit::Registrations, .. } => {
            "; let it register more under [accounts] in its configuration, \
             registrations_per_minute = 60000, or wait a minute for the next ones: those that were \
             registered are used again"
        }
        Refusal::Full { limit: Limit::Sessions | Limit::Users, .. } => {
            "; raise clients under [limits] in its configuration"
        }
        Refusal::Full { limit: Limit::MessageLength, .. } => {
            "; give a smaller --size, or raise message_length under [limits] in its configuration"
        }
        Refusal::Full { limit: Limit::Mailbox | Limit::Messages | Limit::Copies, .. } => {
            "; give a smaller --window"
        }
        _ => "",
    };
    Failure::Refused(format!("{}{advice}", refused(name, why)))
}

fn system(errno: nix::errno::Errno) -> Failure {
    Failure::Unreachable(format!("cannot watch connections: {}", errno.desc()))
}
