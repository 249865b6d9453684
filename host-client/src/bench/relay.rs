//! A plain relay: a thread that copies bytes from one socket to another, and nothing else.

use crate::failure::Failure;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The relay, seen from its two ends.
#[derive(Debug)]
pub struct Relay {
    into: TcpStream,
    out_of: TcpStream,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Relay {
    /// Starts one on loopback.
    ///
    /// # Errors
    /// The system's.
    pub fn start() -> Result<Relay, Failure> {
        let started = || -> std::io::Result<Relay> {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            let into = TcpStream::connect(address)?;
            let (mut from, _) = listener.accept()?;
            let out_of = TcpStream::connect(address)?;
            let (mut to, _) = listener.accept()?;
            for stream in [&into, &from, &out_of, &to] {
                stream.set_nodelay(true)?;
            }
            out_of.set_nonblocking(true)?;
            let thread = std::thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = from.read(&mut buffer) {
                    if to.write_all(&buffer[..n]).is_err() {
                        return;
                    }
                }
            });
            Ok(Relay { into, out_of, thread: Some(thread) })
        };
        started().map_err(|error| Failure::Unreachable(format!("no relay: {error}")))
    }

    /// Sends so many bytes and waits until they are back. Returns how long that took.
    ///
    /// # Errors
    /// The system's, or it takes longer than `longest`.
    pub fn pass(&mut self, bytes: &[u8], longest: Duration) -> Result<Duration, Failure> {
        let mut buffer = vec![0; 64 * 1024];
        let mut pass = || -> std::io::Result<Duration> {
            let begun = Instant::now();
            self.into.write_all(bytes)?;
            let mut left = bytes.len();
            while left != 0 {
                let mut watched = [PollFd::new(self.out_of.as_fd(), PollFlags::POLLIN)];
                let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
                match poll(&mut watched, timeout) {
                    Ok(0) => return Err(ErrorKind::TimedOut.into()),
                    Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
                match self.out_of.read(&mut buffer) {
                    Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                    Ok(n) => left = left.saturating_sub(n),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(begun.elapsed())
        };
        pass().map_err(|error| Failure::Unreachable(format!("the relay: {error}")))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.into.shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_copies_what_it_is_given_and_ends() {
        let mut relay = Relay::start().unwrap();
        for size in [1, 100, 100_000] {
            relay.pass(&vec![7; size], Duration::from_secs(60)).unwrap();
        }
    }
}
