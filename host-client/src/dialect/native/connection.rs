//! A connection of `native` that never blocks: requests go behind its output, events come out of
//! its input, and [`Connection::flush`] and [`Connection::fill`] move what the socket takes and has.
//! Whoever has many watches them with an epoll; [`Connection::wait`] watches one.
//!
//! Its buffers have little memory while nothing is in them.
//!
//! On a serial line ([`centrala_core::dialect::native::serial`]) the same frames go with a checksum between zeros; what is
//! noise is passed over.

use crate::failure::Failure;
use crate::url::Place;
use crate::wait::PATIENCE;
use centrala_core::dialect::native::serial::{Arrived, Receiver, send};
use centrala_core::dialect::native::{Event, HEADER, NoEvent, Request, frame_max, look};
use centrala_core::limits::MESSAGE_LENGTH_MAX;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Bytes that an empty buffer may keep.
const KEPT: usize = 4096;

/// What carries the bytes.
#[derive(Debug)]
enum Wire {
    Stream(TcpStream),
    Device(File),
}

impl Wire {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Stream(stream) => (&mut &*stream).write(bytes),
            Wire::Device(device) => (&mut &*device).write(bytes),
        }
    }

    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Stream(stream) => (&mut &*stream).read(into),
            Wire::Device(device) => (&mut &*device).read(into),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Wire::Stream(stream) => stream.as_fd(),
            Wire::Device(device) => device.as_fd(),
        }
    }
}

/// A connection and its buffers.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    /// Of a serial line: what has come of the next frame.
    serial: Option<Receiver<Vec<u8>>>,
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
        let no =
            |error: io::Error| Failure::Unreachable(format!("no exchange at {place}: {error}"));
        match place {
            Place::Address { host, port } => {
                Ok(Connection::new(Wire::Stream(connect(host, *port).map_err(no)?), false))
            }
            Place::Line { host, port } => {
                Ok(Connection::new(Wire::Stream(connect(host, *port).map_err(no)?), true))
            }
            Place::Device(path) => {
                Ok(Connection::new(Wire::Device(device(path).map_err(no)?), true))
            }
            Place::Key(_) => unreachable!("a native URL has an address"),
        }
    }

    fn new(wire: Wire, serial: bool) -> Connection {
        let serial = serial.then(|| Receiver::new(vec![0; frame_max(MESSAGE_LENGTH_MAX)]));
        // What a line brings may be for whoever had it before: their requests had other ids.
        let id = match &serial {
            Some(_) => SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.subsec_nanos()),
            None => 0,
        };
        let (input, output) = (Vec::new(), Vec::new());
        Connection { wire, serial, input, taken: 0, output, written: 0, id }
    }

    /// Whether it is a serial line.
    pub fn is_serial(&self) -> bool {
        self.serial.is_some()
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
        if self.is_serial() {
            let frame = self.output.split_off(begin);
            send(&frame, &mut |bytes| self.output.extend_from_slice(bytes));
        }
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
            match self.wire.write(&self.output[self.written..]) {
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
        match self.wire.read(buffer) {
            Ok(n) => {
                match &mut self.serial {
                    Some(receiver) => {
                        for byte in &buffer[..n] {
                            if receiver.push(*byte) == Arrived::Frame {
                                self.input.extend_from_slice(receiver.frame());
                            }
                        }
                    }
                    None => self.input.extend_from_slice(&buffer[..n]),
                }
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
        let mut watched = [PollFd::new(self.wire.as_fd(), flags)];
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

/// Connects to the first address of a host that takes it.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                // A dead exchange is found in 15 s.
                setsockopt(&stream, sockopt::KeepAlive, &true)?;
                setsockopt(&stream, sockopt::TcpKeepIdle, &5)?;
                setsockopt(&stream, sockopt::TcpKeepInterval, &5)?;
                setsockopt(&stream, sockopt::TcpKeepCount, &2)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Opens a terminal device for bytes as they are. Its speed stays as it was set.
fn device(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits();
    let device = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    let mut settings = tcgetattr(&device)?;
    cfmakeraw(&mut settings);
    tcsetattr(&device, SetArg::TCSANOW, &settings)?;
    Ok(device)
}
