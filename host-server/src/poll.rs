//! Readiness: one epoll for everything that the thread of the exchange waits for.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Who an event is for. Goes through the kernel as 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Threads handed something over.
    Wake,
    /// A signal arrived.
    Signal,
    /// A connection waits to be accepted, at the listener of this place.
    Listener(u32),
    /// A connection: its place, and a number that tells it from others that had the place.
    Connection(u32, u32),
    /// The process of a queue client, likewise.
    Process(u32, u32),
}

/// A serial number in a [`Source`] has so many bits.
const SERIAL: u32 = 0x0fff_ffff;

impl Source {
    fn to_u64(self) -> u64 {
        let (class, place, serial) = match self {
            Source::Wake => (0u64, 0, 0),
            Source::Signal => (1, 0, 0),
            Source::Listener(place) => (2, place, 0),
            Source::Connection(place, serial) => (3, place, serial),
            Source::Process(place, serial) => (4, place, serial),
        };
        class << 60 | u64::from(serial & SERIAL) << 32 | u64::from(place)
    }

    fn from_u64(data: u64) -> Source {
        let (place, serial) = (data as u32, (data >> 32) as u32 & SERIAL);
        match data >> 60 {
            0 => Source::Wake,
            1 => Source::Signal,
            2 => Source::Listener(place),
            3 => Source::Connection(place, serial),
            _ => Source::Process(place, serial),
        }
    }
}

/// A number that tells the next occupant of a place from those before it.
pub fn next_serial(last: &mut u32) -> u32 {
    *last = last.wrapping_add(1) & SERIAL;
    *last
}

/// What to be told of. Errors and hang-ups are always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// There is something to read.
    pub read: bool,
    /// There is room to write.
    pub write: bool,
}

impl Interest {
    /// Something to read.
    pub const READ: Interest = Interest { read: true, write: false };

    fn flags(self) -> EpollFlags {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, self.read);
        flags.set(EpollFlags::EPOLLOUT, self.write);
        flags
    }
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Who it is for.
    pub source: Source,
    /// There is something to read, or the end of it.
    pub readable: bool,
    /// There is room to write, or nobody to write to.
    pub writable: bool,
}

/// Events taken at once: as many as make a batch.
const EVENTS: usize = 256;

/// The epoll.
#[derive(Debug)]
pub struct Poll {
    epoll: Epoll,
    wake: Arc<EventFd>,
}

/// Wakes the thread that polls, from any other.
#[derive(Clone, Debug)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    /// Wakes it, now or when it polls next.
    pub fn wake(&self) {
        // It fails only when the counter is at its end: then it is awake.
        let _ = self.0.write(1);
    }
}

impl Poll {
    /// An epoll with nothing in it but its waker.
    ///
    /// # Errors
    /// The system has no descriptors left.
    pub fn new() -> io::Result<Poll> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let wake =
            EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let poll = Poll { epoll, wake: Arc::new(wake) };
        poll.add(&*poll.wake, Source::Wake, Interest::READ)?;
        Ok(poll)
    }

    /// A waker for other threads.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.wake))
    }

    /// Watches a descriptor, until it is closed.
    ///
    /// # Errors
    /// The kernel's: no memory, or too many watches.
    pub fn add(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.add(fd, EpollEvent::new(interest.flags(), source.to_u64()))?)
    }

    /// Changes what is watched of a descriptor.
    ///
    /// # Errors
    /// The descriptor is not watched.
    pub fn change(&self, fd: impl AsFd, source: Source, interest: Interest) -> io::Result<()> {
        let mut event = EpollEvent::new(interest.flags(), source.to_u64());
        Ok(self.epoll.modify(fd, &mut event)?)
    }

    /// No longer watches a descriptor that stays open.
    pub fn remove(&self, fd: impl AsFd) {
        let _ = self.epoll.delete(fd);
    }

    /// Waits for events, at most so many milliseconds (`None`: however long), and puts them in the
    /// place of what is in `events`.
    ///
    /// # Errors
    /// The kernel's; an interruption is none.
    pub fn wait(&self, events: &mut Vec<Event>, milliseconds: Option<u64>) -> io::Result<()> {
        let timeout = match milliseconds {
            None => EpollTimeout::NONE,
            Some(ms) => EpollTimeout::from(u16::try_from(ms).unwrap_or(u16::MAX)),
        };
        let mut raw = [EpollEvent::empty(); EVENTS];
        let n = match self.epoll.wait(&mut raw, timeout) {
            Ok(n) => n,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        events.clear();
        for event in raw.iter().take(n) {
            let (source, flags) = (Source::from_u64(event.data()), event.events());
            if source == Source::Wake {
                let _ = self.wake.read();
            }
            let over = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
            events.push(Event {
                source,
                readable: over || flags.contains(EpollFlags::EPOLLIN),
                writable: over || flags.contains(EpollFlags::EPOLLOUT),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_comes_back_as_it_was() {
        for source in [
            Source::Wake,
            Source::Signal,
            Source::Listener(1),
            Source::Connection(u32::MAX, SERIAL),
            Source::Process(7, 1),
        ] {
            assert_eq!(Source::from_u64(source.to_u64()), source);
        }
    }

    #[test]
    fn a_waker_ends_the_wait_once() {
        let poll = Poll::new().unwrap();
        poll.waker().wake();
        poll.waker().wake();
        let mut events = Vec::new();
        poll.wait(&mut events, None).unwrap();
        assert_eq!(events.len(), 1);
        poll.wait(&mut events, Some(0)).unwrap();
        assert!(events.is_empty());
    }
}
