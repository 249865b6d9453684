//! `direct`: a TCP connection, bound to the user by its first frame.
//!
//! - `send` binds with the message itself; only a user with a password says hello first. It ends
//!   with the answer: `200`, `300`, or a refusal.
//! - `listen` says hello, which an exchange that knows only the original document takes for a stray
//!   answer. Every message is answered `200` once its line is written, and not before.
//! - What came while a message was sent is printed aside: the exchange holds mail for delivered
//!   once our TCP has it.

use super::{Client, Group, To};
use crate::failure::Failure;
use crate::output::{Fate, Line, Message, Output};
use crate::signals::Stop;
use crate::url::{Dialect, Place, Url};
use crate::wait::{PATIENCE, TICK};
use centrala_core::dialect::direct::{
    FRAME_MAX, Frame, Look, MESSAGE, NAME_FIELD, OFFLINE, RESPONSE, TEXT_MAX, code,
};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

/// How long the exchange may take to close a connection that we have closed.
const CLOSING: Duration = Duration::from_secs(2);

/// A client of `direct`.
#[derive(Debug)]
pub struct Direct<'a> {
    url: &'a Url,
    stop: &'a Stop,
    output: &'a mut Output,
}

impl<'a> Direct<'a> {
    /// A client, not connected yet.
    pub fn new(url: &'a Url, stop: &'a Stop, output: &'a mut Output) -> Self {
        Direct { url, stop, output }
    }

    fn connect(&self, me: [u8; NAME_FIELD]) -> Result<Connection<'a>, Failure> {
        let Place::Address { host, port } = &self.url.place else {
            unreachable!("a direct URL has an address");
        };
        let no = |error: io::Error| {
            Failure::Unreachable(format!("no exchange at {}: {error}", self.url.place))
        };
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in (host.as_str(), *port).to_socket_addrs().map_err(no)? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    let place = self.url.place.to_string();
                    return Connection::new(stream, me, self.stop, place).map_err(no);
                }
                Err(error) => last = error,
            }
        }
        Err(no(last))
    }

    /// Sends one message on a connection and waits for its answer.
    fn exchange(
        &mut self,
        connection: &mut Connection<'_>,
        (name, to): (&str, [u8; NAME_FIELD]),
        text: &[u8],
    ) -> Result<Fate, Failure> {
        if !self.url.password().is_empty() {
            connection.hello(self.url.password())?;
        }
        // The first that this connection sends: of number 0.
        connection.write(MESSAGE, 0, to, text)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = connection.read(Some(deadline))?;
            match frame.kind {
                RESPONSE if frame.id == 0 => return answer(&frame, name),
                RESPONSE => {}
                _ => {
                    self.output.aside(&line(&frame))?;
                    connection.acknowledge(&frame)?;
                }
            }
        }
    }
}

impl Direct<'_> {
    /// Prints messages and answers them.
    fn follow(&mut self, connection: &mut Connection<'_>) -> Result<(), Failure> {
        loop {
            let frame = connection.read(None)?;
            if frame.kind == RESPONSE {
                // We have sent nothing that is answered but the hello, if it is refused.
                answer(&frame, "the log-in")?;
                continue;
            }
            self.output.print(&line(&frame))?;
            connection.acknowledge(&frame)?;
        }
    }
}

impl Client for Direct<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Direct
    }

    fn has(&self) -> &'static [&'static str] {
        &["send", "listen"]
    }

    fn send(&mut self, to: &To, text: &[u8], priority: Option<u8>) -> Result<Fate, Failure> {
        if priority.is_some() {
            return Err(self.lacks("send --priority"));
        }
        let me = field(self.url.user()?)?;
        let dst = match to {
            To::User(name) => field(name)?,
            To::Group(name) => field(&format!("#{name}"))?,
        };
        if text.len() > TEXT_MAX {
            return Err(Failure::Usage(format!(
                "the text has {} bytes; direct takes at most {TEXT_MAX}",
                text.len()
            )));
        }
        let mut connection = self.connect(me)?;
        let fate = self.exchange(&mut connection, (&to.to_string(), dst), text);
        connection.close(|mail| self.output.aside(mail))?;
        // A group's 200 says that the exchange has it, not its members.
        fate.map(|fate| match (to, fate) {
            (To::Group(_), Fate::Delivered) => Fate::Accepted,
            _ => fate,
        })
    }

    fn listen(&mut self, groups: &[Group], sync: bool) -> Result<(), Failure> {
        if sync {
            return Err(self.lacks("listen --sync"));
        }
        if !groups.is_empty() {
            return Err(self.lacks("listen #group"));
        }
        let mut connection = self.connect(field(self.url.user()?)?)?;
        connection.hello(self.url.password())?;
        match self.follow(&mut connection) {
            Err(Failure::Interrupted) => connection.close(|mail| self.output.print(mail)),
            ended => ended,
        }
    }
}

/// A name's field in a frame.
fn field(name: &str) -> Result<[u8; NAME_FIELD], Failure> {
    let mut field = [0; NAME_FIELD];
    match field.get_mut(..name.len()) {
        Some(place) => place.copy_from_slice(name.as_bytes()),
        None => {
            let number = if name.starts_with('#') { "as #k" } else { "as ~k" };
            return Err(Failure::Usage(format!(
                "'{name}' has {} bytes, and a name in direct has room for {NAME_FIELD}: give its \
                 number instead, {number}",
                name.len()
            )));
        }
    }
    Ok(field)
}

/// What a response says about `what`.
fn answer(frame: &Received, what: &str) -> Result<Fate, Failure> {
    let text = String::from_utf8_lossy(&frame.text);
    let refusal = |why: &str| Err(Failure::Refused(format!("{what}: {why} ({text})")));
    let Ok(code) = <&[u8; 3]>::try_from(&frame.text[..]) else {
        return refusal("an answer that direct does not have");
    };
    match code {
        code::TAKEN => Ok(Fate::Delivered),
        code::STORED => Ok(Fate::Stored),
        code::MALFORMED => refusal("the exchange could not read it"),
        code::NOT_ALLOWED => refusal("not allowed, or a wrong password"),
        code::NO_SUCH => refusal("no such user or group"),
        code::IN_USE => refusal("this user is logged in to direct already"),
        code::FULL => refusal("no room: the message, or a copy of it, was not kept"),
        _ => refusal("an answer that direct does not have"),
    }
}

fn line(frame: &Received) -> Line {
    let name = |field| String::from_utf8_lossy(field).trim_end_matches('\0').to_owned();
    let to = name(&frame.dst);
    Line::Message(Message {
        from: Some(name(&frame.src)),
        group: to.strip_prefix('#').map(str::to_owned),
        text: String::from_utf8_lossy(&frame.text).into_owned(),
        id: Some(frame.id),
        stored: frame.kind == OFFLINE,
        ..Message::default()
    })
}

/// A frame of its own.
#[derive(Debug)]
struct Received {
    kind: u16,
    id: u32,
    src: [u8; NAME_FIELD],
    dst: [u8; NAME_FIELD],
    text: Vec<u8>,
}

/// A connection and what has arrived on it.
#[derive(Debug)]
struct Connection<'a> {
    stream: TcpStream,
    me: [u8; NAME_FIELD],
    stop: Option<&'a Stop>,
    place: String,
    buf: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn new(
        stream: TcpStream,
        me: [u8; NAME_FIELD],
        stop: &'a Stop,
        place: String,
    ) -> io::Result<Self> {
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        // A dead exchange is found in 15 s.
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &5)?;
        setsockopt(&stream, sockopt::TcpKeepInterval, &5)?;
        setsockopt(&stream, sockopt::TcpKeepCount, &2)?;
        Ok(Connection { stream, me, stop: Some(stop), place, buf: Vec::new() })
    }

    fn lost(&self, how: &dyn std::fmt::Display) -> Failure {
        Failure::Unreachable(format!("the exchange at {} {how}", self.place))
    }

    fn hello(&mut self, password: &str) -> Result<(), Failure> {
        if password.len() > TEXT_MAX {
            return Err(Failure::Usage(format!("a password has at most {TEXT_MAX} bytes")));
        }
        self.write(RESPONSE, 0, [0; NAME_FIELD], password.as_bytes())
    }

    /// Answers a message that wants an answer.
    fn acknowledge(&mut self, frame: &Received) -> Result<(), Failure> {
        match frame.kind {
            MESSAGE => self.write(RESPONSE, frame.id, frame.src, code::TAKEN),
            _ => Ok(()),
        }
    }

    fn write(
        &mut self,
        kind: u16,
        id: u32,
        dst: [u8; NAME_FIELD],
        text: &[u8],
    ) -> Result<(), Failure> {
        let mut out = [0; FRAME_MAX];
        let frame = Frame { kind, id, src: &self.me, dst: &dst, text };
        let len = frame.emit(&mut out).expect("the text was measured");
        match self.stream.write_all(&out[..len]) {
            // It has closed: what it said last tells why, and is read next.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| self.lost(&format_args!("takes nothing: {error}"))),
        }
    }

    /// The next frame.
    fn read(&mut self, deadline: Option<Instant>) -> Result<Received, Failure> {
        loop {
            match Frame::look(&self.buf) {
                Look::Frame(frame, len) => {
                    let received = Received {
                        kind: frame.kind,
                        id: frame.id,
                        src: *frame.src,
                        dst: *frame.dst,
                        text: frame.text.to_vec(),
                    };
                    self.buf.drain(..len);
                    return Ok(received);
                }
                Look::Malformed => return Err(self.lost(&"does not speak direct")),
                Look::Partial => {}
            }
            if self.stop.is_some_and(Stop::asked) {
                return Err(Failure::Interrupted);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                let seconds = PATIENCE.as_secs();
                return Err(self.lost(&format_args!("has not answered in {seconds} s")));
            }
            let mut bytes = [0; 4 * FRAME_MAX];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(self.lost(&"has closed the connection")),
                Ok(len) => self.buf.extend_from_slice(&bytes[..len]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Err(self.lost(&format_args!("is gone: {error}"))),
                },
            }
        }
    }

    /// Closes our side and hands over the mail that is still on its way: it counts as delivered.
    /// Messages that want an answer do not, and will come again. Heeds no signal, for [`CLOSING`].
    fn close(mut self, mut mail: impl FnMut(&Line) -> Result<(), Failure>) -> Result<(), Failure> {
        self.stop = None;
        let deadline = Instant::now() + CLOSING;
        if self.stream.shutdown(Shutdown::Write).is_err() {
            return Ok(());
        }
        while let Ok(frame) = self.read(Some(deadline)) {
            if frame.kind == OFFLINE {
                mail(&line(&frame))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
