//! The sockets, on the thread of the rooms.
//!
//! - [`super::inbox`]: what they send, on its way to the exchange.
//! - [`super::outlet`]: what they are sent.
//!
//! All of it is one state behind one lock, which nobody holds while waiting; only this thread and,
//! for moments, those that fetch images take it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engineioxide::handler::EngineIoHandler;
use engineioxide::socket::Sid;
use engineioxide::{DisconnectReason, Str};
use socketioxide_core::Value;
use socketioxide_core::packet::{Packet as Wire, PacketData};
use socketioxide_core::parser::{Parse, ParseConfig, ParseError, ParserState};
use socketioxide_parser_common::CommonParser;
use tokio::sync::mpsc::UnboundedSender;

use super::images::{Hash, Images, LONGEST};
use super::inbox::Incoming;
use super::outlet::Cache;
use super::packet::{Gauge, Packet};
use super::session::{Bucket, Rate};
use super::{Arrival, Arrivals, Command, Index, Why};

/// How long a client may take to connect to the namespace after its transport has.
const CONNECT: Duration = Duration::from_secs(20);
/// Images whose rows may not be in the store yet.
const RECENT: usize = 4096;
/// Bytes beside an image in the packet that carries it.
const BESIDE: usize = 64 * 1024;

/// A socket of the library's.
pub(super) type Engine = engineioxide::Socket<Data>;

/// What the library keeps for us with each socket.
#[derive(Default)]
pub(super) struct Data {
    /// Its number, when it has connected to the namespace.
    id: OnceLock<u64>,
    parser: ParserState,
}

/// A socket that has connected to the namespace.
pub(super) struct Socket {
    pub(super) engine: Arc<Engine>,
    /// The exchange has a link for it.
    pub(super) accepted: bool,
    /// Its link is bound to a user.
    pub(super) bound: bool,
    /// The session that it belongs to.
    pub(super) session: u64,
    /// Events that wait, and their bytes.
    pub(super) inbox: VecDeque<Incoming>,
    pub(super) inbox_bytes: usize,
    /// Events given to the exchange that it has not used.
    pub(super) in_flight: u32,
    /// An image of its is being kept.
    pub(super) keeping: bool,
    /// It is looked at when its session may send again.
    pub(super) timer: bool,
    /// Packets that wait for an image, and their bytes.
    pub(super) outlet: VecDeque<Arc<Packet>>,
    pub(super) outlet_bytes: usize,
    pub(super) gauge: Arc<Gauge>,
}

/// Sockets of one user.
pub(super) struct Session {
    pub(super) bucket: Bucket,
    sockets: u32,
}

/// How much a socket may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rate: Rate,
    /// Bytes that may wait for its client.
    pub(super) buffer: usize,
    /// Sockets at once.
    pub(super) sockets: usize,
}

/// What changes.
#[derive(Default)]
pub(super) struct State {
    /// Transports, of sockets and of those that have not connected to the namespace.
    transports: HashMap<Sid, Weak<Engine>>,
    pub(super) sockets: HashMap<u64, Socket>,
    pub(super) sessions: HashMap<u64, Session>,
    last: u64,
    /// Which images those are that the store may not know yet.
    pub(super) recent: VecDeque<(u64, Hash)>,
    pub(super) cache: Cache,
    /// Sockets that wait for an image.
    pub(super) fetching: HashMap<u64, Vec<u64>>,
}

/// All sockets.
pub(super) struct Hall {
    state: Mutex<State>,
    pub(super) limits: Limits,
    pub(super) arrivals: Arc<Arrivals>,
    pub(super) images: Arc<Images>,
    pub(super) index: Arc<dyn Index>,
    low: UnboundedSender<u64>,
    parse: ParseConfig,
}

impl fmt::Debug for Hall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hall").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Hall {
    /// Without sockets. The number of one that can be sent more images is told to `low`.
    pub(super) fn new(
        limits: Limits,
        arrivals: Arc<Arrivals>,
        images: Arc<Images>,
        index: Arc<dyn Index>,
        low: UnboundedSender<u64>,
    ) -> Hall {
        let parse = ParseConfig {
            max_incoming_binaries: 1,
            max_incoming_binary_buf_size: LONGEST + BESIDE,
            ..ParseConfig::default()
        };
        Hall { state: Mutex::default(), limits, arrivals, images, index, low, parse }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is no room for another socket.
    pub(super) fn is_full(&self) -> bool {
        self.state().transports.len() >= self.limits.sockets
    }

    /// Does what the thread of the exchange asks for.
    pub(super) fn command(self: &Arc<Hall>, command: Command) {
        match command {
            Command::Accept(id) => {
                let sid = Sid::new().to_string();
                let answer = format!("0{{\"sid\":\"{sid}\"}}");
                if let Some(socket) = self.state().sockets.get_mut(&id) {
                    socket.accepted = true;
                    // One whose line is full already is closed when it is sent more.
                    let _ = socket.engine.emit(answer);
                }
                self.pass_on(id);
            }
            Command::Refuse(id) => {
                let socket = self.forget(id);
                if let Some(socket) = socket {
                    let message = "4{\"message\":\"no room for another client\"}";
                    let _ = socket.engine.emit(message);
                    socket.engine.close(DisconnectReason::ClosingServer);
                }
            }
            Command::Used { socket, events, bound } => {
                if let Some(socket) = self.state().sockets.get_mut(&socket) {
                    socket.in_flight = socket.in_flight.saturating_sub(events);
                    socket.bound = bound;
                }
                self.pass_on(socket);
            }
            Command::Join { socket, with } => self.state().join(socket, with),
            Command::Emit { to, line } => self.emit(&to, &Arc::new(Packet::new(&line))),
            Command::Image { id, hash, bytes } => {
                let mut state = self.state();
                state.recent.push_back((id, hash));
                if state.recent.len() > RECENT {
                    state.recent.pop_front();
                }
                state.cache.put(id, bytes);
            }
            // Done by whoever reads the commands.
            Command::End => {}
            Command::Close(id) => {
                if let Some(socket) = self.forget(id) {
                    let _ = socket.engine.emit("1");
                    socket.engine.close(DisconnectReason::ClosingServer);
                }
            }
        }
    }

    /// Ends the transport of every socket: their clients come back by themselves.
    pub(super) fn close_all(&self) {
        let mut state = self.state();
        state.sockets.clear();
        let transports: Vec<Arc<Engine>> =
            state.transports.values().filter_map(Weak::upgrade).collect();
        drop(state);
        for engine in transports {
            engine.close(DisconnectReason::ClosingServer);
        }
    }

    /// Waits until no transport is left.
    pub(super) async fn empty(&self) {
        while !self.state().transports.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes a socket for what its client did. It is told so: it does not come back by itself.
    pub(super) fn close(&self, id: u64, why: Why) {
        if let Some(socket) = self.forget(id) {
            let _ = socket.engine.emit("1");
            socket.engine.close(DisconnectReason::TransportClose);
            self.arrivals.push(Arrival::Gone(id, why));
        }
    }

    fn forget(&self, id: u64) -> Option<Socket> {
        self.state().forget(id)
    }

    fn on_packet(self: &Arc<Hall>, packet: Result<Wire, ParseError>, engine: &Arc<Engine>) {
        let packet = match packet {
            Ok(packet) => packet,
            Err(ParseError::NeedsMoreBinaryData) => return,
            Err(error) => {
                tracing::debug!(%error, "closed a socket: it does not speak Socket.IO");
                return engine.close(DisconnectReason::PacketParsingError);
            }
        };
        let (data, attachment) = match packet.inner {
            PacketData::Connect(_) => return self.connect(&packet.ns, engine),
            PacketData::Disconnect => return engine.close(DisconnectReason::TransportClose),
            PacketData::Event(Value::Str(data, _), _) => (data, None),
            PacketData::BinaryEvent(Value::Str(data, bytes), _) => {
                (data, bytes.and_then(|mut bytes| bytes.pop_front()))
            }
            // Nothing that is sent asks for an acknowledgement.
            _ => return,
        };
        let id = engine.data.id.get().filter(|_| packet.ns == "/");
        let Some(id) = id.copied() else {
            tracing::debug!("closed a socket: an event, and it has not connected");
            return engine.close(DisconnectReason::PacketParsingError);
        };
        match super::event::Event::parse(&data) {
            Ok(event) => self.arrived(id, event, attachment),
            Err(error) => {
                tracing::debug!(%error, "closed a socket: what it sent is no event");
                engine.close(DisconnectReason::PacketParsingError);
            }
        }
    }

    /// A socket asks for a namespace.
    fn connect(&self, namespace: &str, engine: &Arc<Engine>) {
        if namespace != "/" {
            let name: String = namespace.chars().filter(|c| !c.is_control()).take(64).collect();
            let _ = engine.emit(format!("4{name},{{\"message\":\"Invalid namespace\"}}"));
            return;
        }
        let mut state = self.state();
        if engine.data.id.get().is_some() {
            return;
        }
        state.last += 1;
        let id = state.last;
        // It is set nowhere else.
        let _ = engine.data.id.set(id);
        state.sessions.insert(id, Session { bucket: Bucket::new(Instant::now()), sockets: 1 });
        let socket = Socket {
            engine: Arc::clone(engine),
            accepted: false,
            bound: false,
            session: id,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            in_flight: 0,
            keeping: false,
            timer: false,
            outlet: VecDeque::new(),
            outlet_bytes: 0,
            gauge: Arc::new(Gauge::new(id, self.low.clone())),
        };
        state.sockets.insert(id, socket);
        drop(state);
        self.arrivals.push(Arrival::Connected(id));
    }
}

impl State {
    pub(super) fn forget(&mut self, id: u64) -> Option<Socket> {
        let socket = self.sockets.remove(&id)?;
        self.leave(socket.session);
        Some(socket)
    }

    fn leave(&mut self, session: u64) {
        if let Some(left) = self.sessions.get_mut(&session) {
            left.sockets -= 1;
            if left.sockets == 0 {
                self.sessions.remove(&session);
            }
        }
    }

    /// A socket is of the same user as another one.
    fn join(&mut self, id: u64, with: u64) {
        let Some(session) = self.sockets.get(&with).map(|socket| socket.session) else { return };
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        let before = std::mem::replace(&mut socket.session, session);
        if let Some(joined) = self.sessions.get_mut(&session) {
            joined.sockets += 1;
        }
        self.leave(before);
    }
}

impl EngineIoHandler for Hall {
    type Data = Data;

    fn on_connect(self: Arc<Self>, engine: Arc<Engine>) {
        let weak = Arc::downgrade(&engine);
        self.state().transports.insert(engine.id, weak.clone());
        tokio::spawn(async move {
            tokio::time::sleep(CONNECT).await;
            if let Some(engine) = weak.upgrade()
                && engine.data.id.get().is_none()
            {
                engine.close(DisconnectReason::TransportClose);
            }
        });
    }

    fn on_disconnect(&self, engine: Arc<Engine>, _reason: DisconnectReason) {
        self.state().transports.remove(&engine.id);
        let Some(id) = engine.data.id.get().copied() else { return };
        if self.forget(id).is_some() {
            self.arrivals.push(Arrival::Gone(id, Why::Left));
        }
    }

    fn on_message(self: &Arc<Self>, text: Str, engine: Arc<Engine>) {
        let packet = CommonParser.decode_str(&self.parse, &engine.data.parser, text);
        self.on_packet(packet, &engine);
    }

    fn on_binary(self: &Arc<Self>, bytes: Bytes, engine: Arc<Engine>) {
        let packet = CommonParser.decode_bin(&self.parse, &engine.data.parser, bytes);
        self.on_packet(packet, &engine);
    }
}
