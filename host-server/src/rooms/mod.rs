//! `rooms`: Socket.IO, on a thread of its own.
//!
//! The thread runs the library, on HTTP and WebSocket. It turns events of its sockets into what the
//! exchange reads, and lines of the exchange into events; it hands over what has arrived in batches
//! ([`Rooms::take`]), and is told in batches what to do ([`Command`]). Of the protocol of `rooms` it
//! knows nothing but where the bytes of an image are, which never go through the exchange. Which
//! socket belongs to which link is known at the near end ([`links`]).
//!
//! - `site`: HTTP; `origin`: which pages may ask; `page`: the page itself.
//! - `hall`: the sockets; `inbox`, `session`: what they send, and how fast; `outlet`: what
//!   they are sent.
//! - `event`, `packet`: the two directions' bytes; [`images`]: images in files.
//!
//! **The library** is socketioxide without its uppermost layer: its Engine.IO (sessions, heartbeats,
//! both transports and the step from one to the other) and its parser of packets. The layer above
//! encodes a packet once for each socket, runs each handler in a task of its own, and counts what
//! waits for a client in packets of any size; here an event is encoded once for all its sockets,
//! events stay in order, and what waits is counted in bytes. It would bring rooms and
//! acknowledgements, of which the exchange has its own and the protocol none.
//!
//! **Bounds**, each for one client: `inbox` says what may wait on its way in, `outlet` on its way
//! out, `site` how long a connection may stand still. A packet has at most [`PAYLOAD`] bytes. A
//! transport that does not become a socket within 20 s is closed, as is one whose client misses a
//! heartbeat.

mod event;
mod hall;
pub mod images;
mod inbox;
pub mod index;
pub mod links;
mod origin;
mod outlet;
mod packet;
mod page;
mod session;
mod site;
mod sweep;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use engineioxide::config::EngineIoConfig;
use engineioxide::service::EngineIoService;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config;
use crate::poll::Waker;
use hall::{Hall, Limits};
use images::{Hash, Images};
use origin::Guard;
use session::Rate;
use site::Site;

/// Bytes of one request or packet from a client, at most.
pub const PAYLOAD: u32 = 1_500_000;
/// Between two pings.
pub const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long the answer to one may take.
pub const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a step from polling to WebSocket may take.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(5);
/// Packets that wait for one client, at most, however small they are.
const PACKETS: usize = 16 * 1024;
/// Connections beside those of sessions.
const VISITORS: usize = 64;
/// Bytes on their way to the thread, from which on it counts as behind.
const BEHIND: usize = 16 << 20;
/// Threads that wait for the disk.
const DISK_THREADS: usize = 2;
/// How long sockets may take to leave when the server ends.
const FAREWELL: Duration = Duration::from_millis(1000);
/// How long answers on their way may take then.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Called with an answer, from any thread.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

/// Knows which message has which image, as far as that is committed.
pub trait Index: std::fmt::Debug + Send + Sync {
    /// The image of a message, by the message's id.
    fn find(&self, id: u64, answer: Answer<Option<Hash>>);

    /// Images that messages have, in order, behind one: the next of them, none if there are no more.
    /// `None` as the answer: it cannot be told now.
    fn used(&self, after: Option<Hash>, answer: Answer<Option<Vec<Hash>>>);
}

/// An image that was kept, for a message that is about to be.
#[derive(Clone, Debug)]
pub struct Image {
    /// What its sender calls it.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Of its bytes.
    pub hash: Hash,
    /// Its bytes.
    pub bytes: Bytes,
}

/// What has happened to a socket. Sockets are numbered from 1 and no number comes twice.
#[derive(Debug)]
pub enum Arrival {
    /// It is there, and waits to be accepted.
    Connected(u64),
    /// It has sent an event.
    Event {
        /// Which socket.
        socket: u64,
        /// As the exchange reads it.
        bytes: Vec<u8>,
        /// The image that comes with it.
        image: Option<Image>,
    },
    /// It is gone.
    Gone(u64, Why),
}

/// Why a socket is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its client or the network ended it.
    Left,
    /// It sent more than it may.
    Flood,
    /// Its client does not read.
    Overrun,
}

/// What the thread is told to do.
#[derive(Debug)]
pub enum Command {
    /// There is a link for this socket.
    Accept(u64),
    /// There is none.
    Refuse(u64),
    /// The exchange has used so many events of a socket, whose link is now bound to a user or not.
    Used {
        /// Which socket.
        socket: u64,
        /// How many.
        events: u32,
        /// Whether it is logged in.
        bound: bool,
    },
    /// A socket is one more of the session of another one.
    Join {
        /// Which socket.
        socket: u64,
        /// One of that session.
        with: u64,
    },
    /// Send this event to these sockets.
    Emit {
        /// Which sockets.
        to: Vec<u64>,
        /// The event, without the end of its line.
        line: String,
    },
    /// A message has an image.
    Image {
        /// The message's id.
        id: u64,
        /// Of the image's bytes.
        hash: Hash,
        /// The image.
        bytes: Bytes,
    },
    /// The link is over.
    Close(u64),
    /// The server ends.
    End,
}

impl Command {
    /// What it takes on its way, about.
    fn len(&self) -> usize {
        size_of::<Command>()
            + match self {
                Command::Emit { to, line } => size_of_val(to.as_slice()) + line.len(),
                _ => 0,
            }
    }
}

/// What has arrived and was not taken yet.
#[derive(Debug)]
struct Arrivals {
    batch: Mutex<Vec<Arrival>>,
    waker: Waker,
}

impl Arrivals {
    fn push(&self, arrival: Arrival) {
        let mut batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever takes the batch takes all of it: the first one is enough to wake it.
        let first = batch.is_empty();
        batch.push(arrival);
        drop(batch);
        if first {
            self.waker.wake();
        }
    }
}

/// The near end of the thread.
#[derive(Debug)]
pub struct Rooms {
    address: SocketAddr,
    arrivals: Arc<Arrivals>,
    commands: UnboundedSender<Vec<Command>>,
    batch: Vec<Command>,
    /// Bytes on their way.
    behind: Arc<AtomicUsize>,
    /// Where images are kept.
    pub images: Arc<Images>,
    thread: JoinHandle<()>,
}

impl Rooms {
    /// Takes the address and starts the thread: for at most so many clients at once.
    ///
    /// # Errors
    /// The address cannot be had, or the system has no threads left.
    pub fn start(
        config: &config::Rooms,
        clients: u32,
        images: Images,
        index: Arc<dyn Index>,
        waker: Waker,
    ) -> io::Result<Rooms> {
        let listener = TcpListener::bind(config.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(DISK_THREADS)
            .build()?;
        let images = Arc::new(images);
        let arrivals = Arc::new(Arrivals { batch: Mutex::default(), waker });
        let (commands, orders) = unbounded_channel();
        let (low, lows) = unbounded_channel();
        let behind = Arc::new(AtomicUsize::new(0));
        let limits = Limits {
            rate: Rate::new(config.events_per_second, config.burst),
            buffer: config.buffer as usize,
            sockets: clients as usize,
        };
        let hall =
            Arc::new(Hall::new(limits, Arc::clone(&arrivals), Arc::clone(&images), index, low));
        let guard = Guard::new(&config.origins, address.ip().is_loopback());
        let run = Run {
            hall,
            orders,
            lows,
            behind: Arc::clone(&behind),
            guard,
            connections: 2 * limits.sockets + VISITORS,
        };
        let over = WakeAtTheEnd(arrivals.waker.clone());
        let thread = std::thread::Builder::new().name("rooms".into()).spawn(move || {
            let _over = over;
            match runtime.block_on(run.run(listener)) {
                Ok(()) => {}
                Err(error) => tracing::error!(%error, "rooms cannot go on"),
            }
            runtime.shutdown_timeout(FAREWELL);
        })?;
        Ok(Rooms { address, arrivals, commands, batch: Vec::new(), behind, images, thread })
    }

    /// Whether the thread has ended, though nobody told it to.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes what has arrived, in order.
    pub fn take(&self) -> Vec<Arrival> {
        let mut batch = self.arrivals.batch.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *batch)
    }

    /// Notes down what is to be done.
    pub fn push(&mut self, command: Command) {
        self.batch.push(command);
    }

    /// Adds a socket to the event that was noted down last.
    pub fn also_to(&mut self, socket: u64) {
        if let Some(Command::Emit { to, .. }) = self.batch.last_mut() {
            to.push(socket);
        }
    }

    /// Hands over what is noted down.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        let bytes = batch.iter().map(Command::len).sum();
        self.behind.fetch_add(bytes, Ordering::Relaxed);
        // A thread that has ended has said why.
        let _ = self.commands.send(batch);
    }

    /// Whether so much is on its way to the thread that no more messages are to follow.
    pub fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed) > BEHIND
    }

    /// Has the thread end every socket, and itself.
    pub fn hang_up(&self) {
        // It has ended by itself, and has said why.
        let _ = self.commands.send(vec![Command::End]);
    }

    /// Waits a while for the end of the thread, which was told so.
    pub fn join(self) {
        let until = Instant::now() + 3 * FAREWELL;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if self.thread.is_finished() {
            let _ = self.thread.join();
        }
    }
}

/// Has the thread of the exchange notice the end of this one, however that comes.
struct WakeAtTheEnd(Waker);

impl Drop for WakeAtTheEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// What the thread runs.
struct Run {
    hall: Arc<Hall>,
    orders: UnboundedReceiver<Vec<Command>>,
    lows: UnboundedReceiver<u64>,
    behind: Arc<AtomicUsize>,
    guard: Guard,
    connections: usize,
}

impl Run {
    async fn run(mut self, listener: TcpListener) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let config = EngineIoConfig::builder()
            .req_path(site::PATH)
            .ping_interval(PING_INTERVAL)
            .ping_timeout(PING_TIMEOUT)
            .upgrade_timeout(UPGRADE_TIMEOUT)
            .max_buffer_size(PACKETS)
            .max_payload(PAYLOAD.into())
            .ws_max_message_size(PAYLOAD as usize)
            .ws_max_frame_size(PAYLOAD as usize)
            .build();
        let engine = EngineIoService::with_config(Arc::clone(&self.hall), config);
        let site = Arc::new(Site::new(Arc::clone(&self.hall), engine, self.guard));
        let accepting = tokio::spawn(site::serve(listener, site, self.connections));
        let sweeping = tokio::spawn(sweep::run(Arc::clone(&self.hall)));
        'run: loop {
            tokio::select! {
                batch = self.orders.recv() => {
                    let Some(batch) = batch else { break };
                    let bytes = batch.iter().map(Command::len).sum();
                    for command in batch {
                        if matches!(command, Command::End) {
                            break 'run;
                        }
                        self.hall.command(command);
                    }
                    self.behind.fetch_sub(bytes, Ordering::Relaxed);
                }
                Some(socket) = self.lows.recv() => self.hall.flush(socket, None),
            }
        }
        accepting.abort();
        sweeping.abort();
        self.hall.close_all();
        let _ = tokio::time::timeout(FAREWELL, self.hall.empty()).await;
        tokio::time::sleep(LAST_WORDS).await;
        Ok(())
    }
}
