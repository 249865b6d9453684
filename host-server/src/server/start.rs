//! Starting: everything that the server needs, or nothing.

use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use centrala_core::dialect::Dialect;
use centrala_core::exchange::{Exchange, Tables};
use centrala_core::host::Room;
use centrala_store::{Restored, Session};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::commits::Commits;
use super::lanes::NamesFile;
use super::questions::Questions;
use super::{Server, lend};
use crate::config::{self, Config, Shutdown};
use crate::outbox::{Out, Port};
use crate::poll::Poll;
use crate::restore::restore;
use crate::rooms::Rooms;
use crate::rooms::images::{DIRECTORY, Images};
use crate::store::Keep;
use crate::sysv::endpoint::{Endpoint, Unavailable};
use crate::sysv::{LANES, QUEUES, Queues, Spec, TOPICS};
use crate::tcp::Tcp;

/// Why the server cannot start: one line for whoever starts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartError(pub String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for StartError {}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> StartError {
        StartError(error.to_string())
    }
}

/// Lets the process have as many descriptors as it may: each connection takes one.
pub fn raise_descriptor_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(%error, "cannot raise the limit of descriptors");
    }
}

/// An address that cannot be had.
fn no_address(key: &str, address: SocketAddr, error: &io::Error) -> StartError {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => "is in use".into(),
        io::ErrorKind::AddrNotAvailable => "is no address of this machine".into(),
        io::ErrorKind::PermissionDenied => "is not allowed to this user".into(),
        _ => error.to_string(),
    };
    StartError(format!("{key}: {address} {what}"))
}

/// The kernel gives no process a higher number (`PID_MAX_LIMIT`).
const PID_MAX: i32 = 4 << 20;

impl<'m> Server<'m> {
    /// Takes every address that the configuration names, with what the store kept. From here on
    /// clients can connect; they are answered when it runs.
    ///
    /// # Errors
    /// What was kept is more than the configuration has room for, or an address cannot be had: the line names it. Nothing is left started then.
    pub fn start(
        config: &Config,
        tables: Tables<'m>,
        store: Box<dyn Keep>,
        restored: &Restored,
    ) -> Result<Server<'m>, StartError> {
        let poll = Rc::new(Poll::new()?);
        let mut exchange = Exchange::new(tables, config.exchange_limits());
        restore(&mut exchange, restored)?;
        let commits = Commits::new(poll.waker());
        let mut server = Server {
            exchange,
            store,
            out: Out::new(Queues::new(Rc::clone(&poll))),
            questions: Questions::new(config.limits.questions, poll.waker())?,
            tcp: Tcp::new(),
            poll,
            started: Instant::now(),
            time: 0,
            commits,
            // A new link's last time is 0.
            round: 1,
            gone_through: 0,
            fresh: 0,
            spares: Vec::new(),
            wet: Vec::new(),
            due: BinaryHeap::new(),
            leaving: VecDeque::new(),
            next_look: 0,
            stop: Arc::new(AtomicBool::new(false)),
            ready: Vec::new(),
            names: None,
            broken: None,
        };
        server.tick();
        if let Some(direct) = &config.direct {
            server.listen(Dialect::Direct, direct.listen)?;
        }
        if let Some(native) = &config.native {
            server.listen(Dialect::Native, native.listen)?;
            server.out.shutdown = native.shutdown == Shutdown::Allow;
        }
        if let Some(topics) = &config.topics {
            let shutdown = topics.shutdown == Shutdown::Allow;
            server.add_queue(&TOPICS, topics.key, topics.mode, 0, shutdown)?;
        }
        if let Some(queues) = &config.queues {
            server.add_queue(&QUEUES, queues.key, queues.mode, 0, false)?;
        }
        if let Some(lanes) = &config.lanes {
            server.add_queue(&LANES, lanes.key, lanes.mode, lanes.users, false)?;
            let path = lanes.names_file();
            server.names = Some(NamesFile::new(path.clone()));
            server.write_names().map_err(|error| {
                StartError(format!("lanes.directory: {}: {error}", path.display()))
            })?;
        }
        if let Some(rooms) = &config.rooms {
            server.add_rooms(rooms, config)?;
        }
        server.restore_sessions(&restored.sessions);
        Ok(server)
    }

    /// Starts the thread of `rooms`.
    fn add_rooms(&mut self, rooms: &config::Rooms, config: &Config) -> Result<(), StartError> {
        let most = u64::from(rooms.images) << 20;
        let images = match config.data.directory().map_err(|e| StartError(e.to_string()))? {
            None => Images::in_memory(most),
            Some(directory) => {
                let directory = directory.join(DIRECTORY);
                Images::open(&directory, most).map_err(|error| {
                    StartError(format!("data: {}: {error}", directory.display()))
                })?
            }
        };
        let (clients, index) = (config.limits.clients, self.store.image_index());
        let thread = Rooms::start(rooms, clients, images, index, self.poll.waker());
        let thread = thread.map_err(|error| no_address("rooms.listen", rooms.listen, &error))?;
        self.ready.push(format!("rooms: http://{}/", thread.address()));
        self.out.rooms.set(thread);
        Ok(())
    }

    fn listen(&mut self, dialect: Dialect, address: SocketAddr) -> Result<(), StartError> {
        let name = dialect.name();
        let address = self
            .tcp
            .listen(dialect, address, &self.poll)
            .map_err(|error| no_address(&format!("{name}.listen"), address, &error))?;
        self.ready.push(format!("{name}: {address}"));
        Ok(())
    }

    /// Lets clients of a server that was killed go on, whose queues are still there. Whoever is
    /// seen to have ended meanwhile is logged out: what it left unread comes back to its mailbox.
    fn restore_sessions(&mut self, sessions: &[Session]) {
        let mut restored = 0;
        for session in sessions {
            let dialect =
                Dialect::ALL.iter().find(|dialect| **dialect as u8 == session.dialect).copied();
            let link = dialect.and_then(|dialect| {
                let Session { address, user, .. } = *session;
                self.exchange.restore_session(dialect, address, user, lend!(self))
            });
            let Some(link) = link else { continue };
            if let Some(Port::Client(place)) = self.out.seats.get(link).map(|seat| seat.port)
                && let Some(client) = self.out.queues.clients.get(place as usize)
                && client.process.watch().is_none()
                && client.queue.stat().is_ok_and(|stat| {
                    // It has read from its queue, or its key is the PID that it had; whoever did
                    // neither may still come to it.
                    stat.last_receive_pid != 0 || client.key <= PID_MAX
                })
            {
                tracing::info!(key = client.key, "a client ended while there was no server");
                self.client_over(place);
                continue;
            }
            restored += 1;
        }
        if restored != 0 {
            tracing::info!(sessions = restored, "clients of the server before this go on");
        }
    }

    /// Takes the key of a dialect's queue, in which so many users have lanes.
    fn add_queue(
        &mut self,
        spec: &'static Spec,
        key: i32,
        mode: u16,
        users: u32,
        shutdown: bool,
    ) -> Result<(), StartError> {
        let name = spec.dialect.name();
        let endpoint = Endpoint::open(spec, key, mode, users, &self.poll.waker());
        let endpoint = endpoint.map_err(|error| {
            let advice = match error {
                Unavailable::InUse => "; give this one another key",
                Unavailable::NotOurs(_) => "; remove it (ipcrm -Q) or choose another key",
                _ => "",
            };
            StartError(format!("{name}.key: key {key} {error}{advice}"))
        })?;
        self.add_endpoint(endpoint, shutdown)?;
        self.ready.push(format!("{name}: key {key}"));
        Ok(())
    }

    fn add_endpoint(&mut self, mut endpoint: Endpoint, shutdown: bool) -> Result<(), StartError> {
        let link = self.exchange.endpoint(endpoint.spec.dialect, endpoint.key.into());
        let link = link.map_err(|_| StartError("limits.clients: no room for a queue".into()))?;
        endpoint.link = link;
        endpoint.shutdown = shutdown;
        let at = self.out.queues.endpoints.len() as u32;
        self.out.seats.put(link, Port::Endpoint(at), Room::default());
        self.out.queues.endpoints.push(endpoint);
        Ok(())
    }
}
