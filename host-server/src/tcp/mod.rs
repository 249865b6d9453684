//! TCP: the listeners, one for each dialect that has one, and the connections in their table.
//!
//! The thread of the exchange does all of it, by one epoll: what is ready at one moment is one
//! batch, without handing bytes from thread to thread, and what the kernel says of a socket's buffer
//! holds when the exchange is told of it. A connection that is idle costs its socket and some 200
//! bytes. (A dialect that comes with a server of its own, such as Socket.IO, can run that on threads
//! of its own and hand over batches, as the SysV queues do.)
//!
//! - [`connection`]: one connection: its buffers, how much it can take, its end.

pub mod connection;

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};

use centrala_core::dialect::Dialect;
use slab::Slab;

use crate::poll::{Interest, Poll, Source, next_serial};
use connection::{BUFFER, Connection};

/// Connections accepted at once, at most: those that are there must not wait for long.
const ACCEPT: usize = 64;

/// The listeners and all connections.
#[derive(Debug)]
pub struct Tcp {
    listeners: Vec<(TcpListener, Dialect)>,
    /// Every connection, also those whose link is over and that only have to leave.
    pub connections: Slab<Connection>,
    serial: u32,
    /// A descriptor in reserve: with none left, it is given up to accept a connection and close
    /// it, as it would else be ready for ever.
    spare: Option<File>,
    /// Connections refused as there were no descriptors left.
    pub refused: u64,
    /// To read into.
    pub buffer: Box<[u8; BUFFER]>,
}

impl Tcp {
    /// Without listeners.
    pub fn new() -> Tcp {
        Tcp {
            listeners: Vec::new(),
            connections: Slab::new(),
            serial: 0,
            spare: File::open("/dev/null").ok(),
            refused: 0,
            buffer: Box::new([0; BUFFER]),
        }
    }

    /// Listens for connections of a dialect; returns the address, with the port that was given
    /// where 0 was asked for.
    ///
    /// # Errors
    /// The address is in use, or not this machine's.
    pub fn listen(
        &mut self,
        dialect: Dialect,
        address: SocketAddr,
        poll: &Poll,
    ) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        poll.add(&listener, Source::Listener(self.listeners.len() as u32), Interest::READ)?;
        self.listeners.push((listener, dialect));
        Ok(address)
    }

    /// Accepts no more.
    pub fn stop_listening(&mut self) {
        self.listeners.clear();
    }

    /// Accepts what waits at a listener. Returns their places; they are watched when they have a
    /// link.
    pub fn accept(&mut self, at: u32) -> Vec<u32> {
        let mut accepted = Vec::new();
        let Some((listener, dialect)) = self.listeners.get(at as usize) else { return accepted };
        for _ in 0..ACCEPT {
            match listener.accept() {
                Ok((stream, peer)) => {
                    let serial = next_serial(&mut self.serial);
                    match Connection::new(stream, peer, *dialect, serial) {
                        Ok(connection) => {
                            accepted.push(self.connections.insert(connection) as u32);
                        }
                        Err(error) => {
                            tracing::debug!(%error, %peer, "a connection was over at once")
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_out_of_descriptors(&error) => {
                    if self.spare.take().is_none() {
                        break;
                    }
                    tracing::debug!(%error, "refused a connection");
                    self.refused += 1;
                    drop(listener.accept());
                    self.spare = File::open("/dev/null").ok();
                }
                // The connection was over before it was accepted.
                Err(error) => tracing::debug!(%error, "accept"),
            }
        }
        accepted
    }

    /// The connection at a place, if it is still the one that an event is for.
    pub fn find(&mut self, place: u32, serial: u32) -> Option<&mut Connection> {
        self.connections.get_mut(place as usize).filter(|connection| connection.serial == serial)
    }
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp::new()
    }
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
