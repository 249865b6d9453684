//! One connection.
//!
//! **Room.** A connection takes up to [`room_of`] bytes that its peer has not acknowledged; the
//! socket's buffer is as large, so that they lie in the kernel. What the exchange sends beyond that
//! waits in its mailboxes. Mail has been taken when the peer's TCP has acknowledged its last byte
//! (`SIOCOUTQ`); in `native`, when the client says so.
//!
//! **Answers** go out whatever the room. A peer that asks and does not read its answers is not read
//! from while more than [`PAUSE`] bytes of them wait, and closed when [`OVERRUN`] do.
//!
//! **A dead peer** is found within 15 s: by keepalive when nothing is said, by `TCP_USER_TIMEOUT`
//! when something is unacknowledged. The latter also closes a peer that lives and does not read for
//! so long.
//!
//! **The end.** What was given for a link leaves before it closes: then the sending half is shut
//! down, and the rest waits for the peer to do the same, for [`LINGER`]: a socket closed with
//! something unread in it would take back what is on its way.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

use centrala_core::dialect::Dialect;
use centrala_core::exchange::Link;
use nix::sys::socket::{setsockopt, sockopt};

use crate::poll::{Interest, Poll, Source};

/// Bytes that a connection takes beyond what its peer has acknowledged.
pub const ROOM: u32 = 64 * 1024;
/// The same in `native`, whose clients acknowledge mail themselves: a burst of messages fits.
pub const NATIVE_ROOM: u32 = 256 * 1024;

/// Bytes that a connection of a dialect takes beyond what its peer has acknowledged.
pub const fn room_of(dialect: Dialect) -> u32 {
    match dialect {
        Dialect::Native => NATIVE_ROOM,
        _ => ROOM,
    }
}

/// Bytes that are worth a write of their own.
const AT_ONCE: usize = 2048;
/// Bytes of memory that an empty buffer may keep.
const KEPT: usize = 1024;
/// Bytes of output that wait in the server, from which on a connection is not read.
pub const PAUSE: usize = 64 * 1024;
/// Bytes of output that wait in the server, from which on a connection is closed.
pub const OVERRUN: usize = 1024 * 1024;
/// Bytes of input that the exchange did not use yet, from which on a connection is not read.
pub const UNUSED: usize = 16 * 1024;
/// Bytes read at once.
const READ: usize = 32 * 1024;
/// Bytes that were not used before, up to which they are put before those that are read: as a rule
/// they are a part of a frame.
const BEFORE: usize = 2048;
/// Bytes of a buffer to read into.
pub const BUFFER: usize = BEFORE + READ;
/// Milliseconds that a closed connection may take to leave.
pub const LINGER: u64 = 2_000;
/// A dead peer is found in `IDLE + PROBES * INTERVAL` seconds of silence.
const IDLE: u32 = 6;
const INTERVAL: u32 = 3;
const PROBES: u32 = 3;
const _: () = assert!(IDLE + PROBES * INTERVAL <= 15);

/// A connection and its buffers. Both are without memory while they are empty.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// What it speaks.
    pub dialect: Dialect,
    /// Its link; none once that is over.
    pub link: Option<Link>,
    /// Tells it from others that had its place.
    pub serial: u32,
    /// What arrived and was not used yet.
    pub input: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
    /// Bytes that were ever to be sent.
    given: u64,
    /// Marks of mail, and how many bytes were given by the end of each.
    marks: VecDeque<(u32, u64)>,
    interest: Interest,
    watched: bool,
    /// Nothing more is read for the exchange: it leaves when its output has.
    pub leaving: bool,
    shut: bool,
    /// Its peer sends no more.
    pub ended: bool,
    /// Noted down to be written.
    pub touched: bool,
}

/// What a read brought.
#[derive(Debug)]
pub enum Got {
    /// So many bytes, with what was not used before in front of them.
    Bytes(usize),
    /// More of what was not used before, behind it.
    More,
    /// Nothing for now.
    Nothing,
    /// The end, in peace or not.
    End(Option<io::Error>),
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        dialect: Dialect,
        serial: u32,
    ) -> io::Result<Connection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        // The room, and what the kernel counts for keeping it.
        setsockopt(&stream, sockopt::SndBuf, &(2 * room_of(dialect) as usize))?;
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &IDLE)?;
        setsockopt(&stream, sockopt::TcpKeepInterval, &INTERVAL)?;
        setsockopt(&stream, sockopt::TcpKeepCount, &PROBES)?;
        let unacknowledged = (IDLE + PROBES * INTERVAL) * 1000;
        setsockopt(&stream, sockopt::TcpUserTimeout, &unacknowledged)?;
        Ok(Connection {
            stream,
            peer,
            dialect,
            link: None,
            serial,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            given: 0,
            marks: VecDeque::new(),
            interest: Interest::READ,
            watched: false,
            leaving: false,
            shut: false,
            ended: false,
            touched: false,
        })
    }

    /// Reads once.
    pub fn read(&mut self, buffer: &mut [u8; BUFFER]) -> Got {
        let (before, rest) = buffer.split_at_mut(self.input.len().min(BEFORE));
        match (&self.stream).read(&mut rest[..READ]) {
            Ok(0) => Got::End(None),
            Ok(n) if self.input.len() > BEFORE => {
                self.input.extend_from_slice(&rest[..n]);
                Got::More
            }
            Ok(n) => {
                before.copy_from_slice(&self.input);
                Got::Bytes(before.len() + n)
            }
            Err(error) if is_later(&error) => Got::Nothing,
            Err(error) => Got::End(Some(error)),
        }
    }

    /// Keeps what was not used, in the place of what was kept before.
    pub fn keep(&mut self, unused: &[u8]) {
        self.input.clear();
        self.input.extend_from_slice(unused);
        if unused.is_empty() {
            self.input = Vec::new();
        }
    }

    /// So many bytes are to come behind the output.
    pub fn expect(&mut self, bytes: u32) {
        self.output.reserve(bytes as usize);
    }

    /// Puts bytes behind the output.
    pub fn give(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.given += bytes.len() as u64;
    }

    /// Gives bytes that others are given too: written at once if they are many and nothing waits
    /// before them. What the socket does not take is put behind the output.
    pub fn give_many(&mut self, bytes: &[u8]) {
        let mut written = 0;
        if self.waiting() == 0 && bytes.len() >= AT_ONCE && !self.leaving {
            // If it is broken the next flush finds that, too.
            written = (&self.stream).write(bytes).unwrap_or(0);
            self.given += written as u64;
        }
        self.give(&bytes[written..]);
    }

    /// Puts mail behind the output.
    pub fn give_mail(&mut self, bytes: &[u8], mark: u32) {
        self.give(bytes);
        if self.dialect != Dialect::Native {
            self.marks.push_back((mark, self.given));
        }
    }

    /// Bytes that wait in the server.
    pub fn waiting(&self) -> usize {
        self.output.len() - self.written
    }

    /// Whether its peer leaves too many answers unread.
    pub fn is_overrun(&self) -> bool {
        self.waiting() > OVERRUN
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    /// The connection is broken, or over at both ends.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.waiting() != 0 {
            match (&self.stream).write(&self.output[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.waiting() == 0 {
            self.output.clear();
            if self.output.capacity() > KEPT {
                self.output = Vec::new();
            }
            self.written = 0;
            if self.leaving && !self.shut {
                self.shut = true;
                // The peer may have gone meanwhile: nothing is left to be told.
                let _ = self.stream.shutdown(Shutdown::Write);
            }
            if self.shut && self.ended {
                return Err(io::ErrorKind::NotConnected.into());
            }
        } else if self.written > ROOM as usize {
            self.output.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Bytes that were given and that the peer has not acknowledged.
    pub fn unacknowledged(&self) -> u64 {
        let mut queued: libc::c_int = 0;
        // SAFETY: SIOCOUTQ writes one int, which `queued` is, about a socket that is open.
        let result = unsafe { outq(self.stream.as_raw_fd(), &raw mut queued) };
        match result {
            Ok(_) => u64::try_from(queued).unwrap_or(0) + self.waiting() as u64,
            // Nobody can tell: then nothing of it is.
            Err(_) => self.given,
        }
    }

    /// How much it can take now.
    pub fn room(&self) -> u32 {
        room_of(self.dialect)
            .saturating_sub(u32::try_from(self.unacknowledged()).unwrap_or(u32::MAX))
    }

    /// Whether mail waits to be acknowledged.
    pub fn has_mail(&self) -> bool {
        !self.marks.is_empty()
    }

    /// The mark up to which mail has been acknowledged since the last time, if any has.
    pub fn acknowledged(&mut self) -> Option<u32> {
        if self.marks.is_empty() {
            return None;
        }
        let until = self.given.saturating_sub(self.unacknowledged());
        let mut last = None;
        while let Some((mark, end)) = self.marks.front()
            && *end <= until
        {
            last = Some(*mark);
            self.marks.pop_front();
        }
        last
    }

    /// Watches for what matters now.
    ///
    /// # Errors
    /// The kernel's: no memory, or too many watches.
    pub fn watch(&mut self, poll: &Poll, place: u32) -> io::Result<()> {
        let paused = self.waiting() > PAUSE || self.input.len() >= UNUSED;
        let read = !self.ended && (self.leaving || !paused);
        let interest = Interest { read, write: self.waiting() != 0 };
        let source = Source::Connection(place, self.serial);
        if !self.watched {
            poll.add(&self.stream, source, interest)?;
            self.watched = true;
        } else if interest != self.interest {
            poll.change(&self.stream, source, interest)?;
        }
        self.interest = interest;
        Ok(())
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

nix::ioctl_read_bad!(
    /// Bytes in a socket's send queue that are not acknowledged (`SIOCOUTQ`, the same number as
    /// `TIOCOUTQ`).
    outq,
    libc::TIOCOUTQ,
    libc::c_int
);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, address) = listener.accept().unwrap();
        (Connection::new(stream, address, Dialect::Direct, 1).unwrap(), peer)
    }

    #[test]
    fn a_peer_that_does_not_read_takes_its_room_and_no_more() {
        let (mut connection, mut peer) = pair();
        // What its kernel took for it is acknowledged, though it read nothing.
        let (mut given, mut full) = (0, 0);
        loop {
            let room = connection.room().min(4096) as usize;
            if room == 0 {
                // On a busy machine what it took is acknowledged later.
                full += 1;
                if full == 100 {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
                continue;
            }
            full = 0;
            connection.give(&vec![7; room]);
            connection.flush().unwrap();
            given += room;
            assert!(given < 64 << 20, "no end of it");
        }
        assert_eq!(connection.waiting(), 0, "all of it lies in the kernel");
        connection.give_mail(b"mail", 1);
        connection.flush().unwrap();
        assert_eq!(connection.acknowledged(), None);
        let mut read = vec![0; given + 4];
        peer.read_exact(&mut read).unwrap();
        assert!(read.ends_with(b"mail"));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while connection.acknowledged() != Some(1) {
            assert!(std::time::Instant::now() < deadline);
            connection.flush().unwrap();
        }
        assert_eq!(connection.room(), ROOM);
    }

    #[test]
    fn what_was_given_leaves_before_the_end() {
        let (mut connection, mut peer) = pair();
        peer.write_all(b"never read").unwrap();
        connection.give(b"401");
        connection.leaving = true;
        connection.flush().unwrap();
        let mut read = Vec::new();
        peer.read_to_end(&mut read).unwrap();
        assert_eq!(read, b"401");
    }
}
