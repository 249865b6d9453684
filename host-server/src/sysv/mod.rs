//! SysV queues: the endpoints of the dialects that clients reach through a queue of the server's,
//! and the queues of those clients.
//!
//! - [`endpoint`]: the server's own queue: taken over from a dead server, read by threads
//!   ([`receiver`]), kept free of what nobody reads, removed at the end.
//! - [`lanes`]: what may lie for whom in an own queue that clients read their messages from.
//! - [`client`]: a client's queue: how much of it deliveries may fill, and what is sent to it.
//! - [`process`]: whether a client still lives.
//! - [`lock`]: one server for each key.
//!
//! What differs between the dialects is one [`Spec`] each.

pub mod client;
pub mod endpoint;
pub mod lanes;
pub mod lock;
pub mod process;
pub mod receiver;

use std::rc::Rc;

use centrala_core::dialect::{self, Dialect, queues, topics};
use centrala_core::exchange::{Link, Token};
use centrala_core::host::Room;
use centrala_core::name::NAME_LENGTH;
use centrala_sysv::Queue;
use slab::Slab;

use crate::outbox::Port;
use crate::poll::{Interest, Poll, Source, next_serial};
use client::Client;
use endpoint::Endpoint;
use lanes::Lanes;

/// What a dialect's queues are like.
#[derive(Debug)]
pub struct Spec {
    /// Which dialect.
    pub dialect: Dialect,
    /// What the server's threads wait for in its queue, one each: as the type of `msgrcv`.
    pub receives: &'static [i64],
    /// Whether a message of a type is for the server.
    pub is_request: fn(i64) -> bool,
    /// Whether a message that was received is, or belongs to, a log-in whose sender is to be found
    /// out by the queue's `msg_lspid`.
    pub tells_sender: fn(&[u8]) -> bool,
    /// Bytes of the largest request, with its `long`.
    pub largest_request: usize,
    /// Bytes of the largest delivery, as the exchange counts them.
    pub largest_delivery: u32,
    /// Direct messages fill at most one part in so many of a client's queue; 0: no share of their
    /// own.
    pub direct_share: u32,
    /// Deliveries from this type on are direct messages.
    pub direct_from: i64,
}

impl Spec {
    /// Whether a delivery is a direct message.
    fn is_direct(&self, frame: &[u8]) -> bool {
        self.direct_share != 0 && kind_of(frame) >= self.direct_from
    }
}

/// `topics`.
pub static TOPICS: Spec = Spec {
    dialect: Dialect::Topics,
    // The lowest type up to 7 first: what is above are answers to log-ins.
    receives: &[-topics::request::SHUT_DOWN],
    is_request: |kind| (topics::request::LOG_IN..=topics::request::SHUT_DOWN).contains(&kind),
    tells_sender: |_| false,
    largest_request: topics::REQUEST_SIZE,
    largest_delivery: (topics::FIXED + NAME_LENGTH + 2 + topics::REQUEST_TEXT) as u32,
    direct_share: 8,
    direct_from: topics::kind::DIRECT,
};

/// `queues`.
pub static QUEUES: Spec = Spec {
    dialect: Dialect::Queues,
    // All that comes is for the server, in the order it was sent.
    receives: &[0],
    is_request: |_| true,
    tells_sender: |_| false,
    largest_request: queues::SIZE,
    largest_delivery: queues::SIZE as u32,
    direct_share: 0,
    direct_from: 0,
};

/// `lanes`.
pub static LANES: Spec = Spec {
    dialect: Dialect::Lanes,
    // By name, as the clients' own lanes are types of this queue.
    receives: &[dialect::lanes::TO_SERVER, dialect::lanes::PASSWORD],
    is_request: |kind| [dialect::lanes::TO_SERVER, dialect::lanes::PASSWORD].contains(&kind),
    tells_sender: |message| {
        dialect::lanes::Element::new_checked(message)
            .is_some_and(|e| e.lane == dialect::lanes::PASSWORD || e.second == 1)
    },
    largest_request: dialect::lanes::SIZE,
    largest_delivery: dialect::lanes::SIZE as u32,
    direct_share: 0,
    direct_from: 0,
};

/// A key for a test, told apart from those of its others by a number, and of other processes.
#[cfg(test)]
pub(crate) fn own_key(test: i32) -> i32 {
    0x4c00_0000 + ((std::process::id() as i32 & 0xffff) << 8) + test
}

/// The type of a message: its leading `long`.
pub fn kind_of(message: &[u8]) -> i64 {
    message.first_chunk().map_or(0, |bytes| i64::from_ne_bytes(*bytes))
}

/// Every queue that the server has to do with.
#[derive(Debug)]
pub struct Queues {
    /// Its own.
    pub endpoints: Vec<Endpoint>,
    /// Those of its clients.
    pub clients: Slab<Client>,
    /// The process that sent the log-in which the exchange was given; 0: unknown.
    pub sender: i32,
    /// The same of log-ins about which the exchange asked something.
    asked: Vec<(Token, i32)>,
    serial: u32,
    poll: Rc<Poll>,
}

impl Queues {
    /// None yet.
    pub fn new(poll: Rc<Poll>) -> Queues {
        let (endpoints, clients, asked) = (Vec::new(), Slab::new(), Vec::new());
        Queues { endpoints, clients, sender: 0, asked, serial: 0, poll }
    }

    /// Opens the queue, or the lane, of a client that logs in at an endpoint. Returns where it is
    /// and what it can take; `None` if there is no such queue, or it is one of the server's own.
    pub fn open(&mut self, link: Link, at: u32, address: i64) -> Option<(Port, Room)> {
        let endpoint = self.endpoints.get_mut(at as usize)?;
        if let Some(lanes) = &mut endpoint.lanes {
            let (user, room) = lanes.open(link, address, self.sender)?;
            return Some((Port::Lane(at, user), room));
        }
        let key = i32::try_from(address).ok()?;
        let spec = endpoint.spec;
        let serial = next_serial(&mut self.serial);
        let client = Client::open(link, key, spec, serial)?;
        if self.is_known(client.queue) {
            return None;
        }
        let room = client.room();
        let place = self.clients.insert(client) as u32;
        self.watch(place);
        Some((Port::Client(place), room))
    }

    /// The lanes of an endpoint that has some.
    pub fn lanes(&mut self, at: u32) -> Option<&mut Lanes> {
        self.endpoints.get_mut(at as usize)?.lanes.as_mut()
    }

    /// The exchange asks something about the log-in that it was given.
    pub fn asked(&mut self, token: Token) {
        if self.sender != 0 {
            self.asked.push((token, self.sender));
        }
    }

    /// The exchange is given the answer: whose log-in it was.
    pub fn answered(&mut self, token: Token) -> i32 {
        let found = self.asked.iter().position(|(asked, _)| *asked == token);
        found.map_or(0, |at| self.asked.swap_remove(at).1)
    }

    /// Sends an answer to whoever has a queue with this key, if it has room: to a client that gets
    /// no session.
    pub fn turn_away(&self, address: i64, frame: &[u8]) {
        let queue = i32::try_from(address).ok().and_then(|key| Queue::open(key).ok());
        if let Some(queue) = queue.filter(|queue| !self.is_known(*queue)) {
            client::send(queue, frame);
        }
    }

    /// Whether a queue is the server's own or that of a client with a session.
    fn is_known(&self, queue: Queue) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.queue() == queue)
            || self.clients.iter().any(|(_, client)| client.queue == queue && !client.leaving)
    }

    /// Has the poll tell of the end of a client's process.
    pub fn watch(&self, place: u32) {
        let Some(client) = self.clients.get(place as usize) else { return };
        if let Some(fd) = client.process.watch() {
            let source = Source::Process(place, client.serial);
            if let Err(error) = self.poll.add(fd, source, Interest::READ) {
                // It is looked at every now and then all the same.
                tracing::debug!(%error, key = client.key, "cannot watch the client's process");
            }
        }
    }
}
