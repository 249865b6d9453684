//! A connection of `native` that never blocks: requests go behind its output, events come out of
//! its input, and [`Connection::flush`] and [`Connection::fill`] move what the socket takes and has.
//! Whoever has many watches them with an epoll; [`Connection::wait`] watches one.
//!
//! Its buffers have little memory while nothing is in them.

use crate::failure::Failure;
use crate::url::Place;
use crate::wait::PATIENCE;
use centrala_core::dialect::native::{Event, HEADER, NoEvent, Request, frame_max, look};
use centrala_core::limits::MESSAGE_LENGTH_MAX;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Bytes that an empty buffer may keep.
const KEPT: usize = 4096;

/// A connection and its buffers.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    input: Vec<u8>,
    /// How much of `input` was taken.
    taken: usize,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    /// Of the last request.
    id: u32,
}

impl Connection {
    /// Connects, which may take [`PATIENCE`] for each address of the place.
    ///
    /// # Errors
    /// [`Failure::Unreachable`]: nobody listens there.
    ///
    /// # Panics
    /// The place is a queue.
    pub fn open(place: &Place) -> Result<Connection, Failure> {
        let Place::Address { host, port } = place else {
            unreachable!("a native URL has an address");
        };
        let no =
            |error: io::Error| Failure::Unreachable(format!("no exchange at {place}: {error}"));
        let mut last = io::Error::from(ErrorKind::NotFound);
        for address in (host.as_str(), *port).to_socket_addrs().map_err(no)? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => return Connection::new(stream).map_err(no),
                Err(error) => last = error,
            }
        }
        Err(no(last))
    }

    fn new(stream: TcpStream) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // A dead exchange is found in 15 s.
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &5)?;
        setsockopt(&stream, sockopt::TcpKeepInterval, &5)?;
        setsockopt(&stream, sockopt::TcpKeepCount, &2)?;
        let (input, output) = (Vec::new(), Vec::new());
        Ok(Connection { stream, input, taken: 0, output, written: 0, id: 0 })
    }

    /// Puts a request behind the output and returns its id, which its answer will repeat.
    ///
    /// # Panics
    /// Its frame is longer than any exchange takes.
    pub fn request(&mut self, request: &Request<'_>) -> u32 {
        self.id = self.id.wrapping_add(1).max(1);
        self.put(self.id, request);
        self.id
    }

    /// Puts a request behind the output that is answered only if it is refused, with id 0.
    ///
    /// # Panics
    /// As [`Connection::request`].
    pub fn tell(&mut self, request: &Request<'_>) {
        self.put(0, request);
    }

    fn put(&mut self, id: u32, request: &Request<'_>) {
        let text = match request {
            Request::Send { text, .. } => text.len(),
            Request::Hello { password, .. } => password.len(),
            _ => 0,
        };
        let begin = self.output.len();
        self.output.resize(begin + HEADER + frame_max(text.min(MESSAGE_LENGTH_MAX)), 0);
        let len = request.encode(id, &mut self.output[begin..]).expect("the text was measured");
        self.output.truncate(begin + len);
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    /// Writes what the socket takes. Returns whether nothing waits any more.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self) -> io::Result<bool> {
        while self.waiting() != 0 {
            match (&self.stream).write(&self.output[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        self.output.shrink_to(KEPT);
        self.written = 0;
        Ok(true)
    }

    /// Reads once, by way of a buffer that connections may share, which says how much at most.
    /// `None`: there is nothing now; 0: the exchange has closed the connection.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn fill(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        self.input.drain(..self.taken);
        self.taken = 0;
        if self.input.is_empty() {
            self.input.shrink_to(KEPT);
        }
        match (&self.stream).read(buffer) {
            Ok(n) => {
                self.input.extend_from_slice(&buffer[..n]);
                Ok(Some(n))
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Whether [`Connection::next`] has something.
    pub fn has_next(&self) -> bool {
        look(&self.input[self.taken..]).is_some()
    }

    /// The next event that has arrived; an error is one that this version does not know, and is to
    /// be passed over.
    pub fn next(&mut self) -> Option<Result<Event<'_>, NoEvent>> {
        let (_, used) = look(&self.input[self.taken..])?;
        let payload = self.taken + HEADER..self.taken + used;
        self.taken = payload.end;
        Some(Event::decode(&self.input[payload]))
    }

    /// Waits until the socket has something, or takes something if anything waits to be written,
    /// for at most so long.
    ///
    /// # Errors
    /// The system's; an interruption is none.
    pub fn wait(&self, longest: Duration) -> io::Result<()> {
        let mut flags = PollFlags::POLLIN;
        flags.set(PollFlags::POLLOUT, self.waiting() != 0);
        let mut watched = [PollFd::new(self.stream.as_fd(), flags)];
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
