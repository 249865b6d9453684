//! Events from sockets to the exchange.
//!
//! The events of a socket pass on in their order, at most [`AHEAD`] beyond what the exchange has
//! used of them, and no faster than the token bucket of its session allows. What comes faster waits
//! here; what comes so much faster that [`WAITING`] events or [`WAITING_BYTES`] wait is a flood, for
//! which the socket is closed: its client is told (`io server disconnect`) and does not come back by
//! itself.
//!
//! An image is kept before its event passes on, on a thread that may wait for the disk, and only if
//! the socket is logged in by then: what it sent before has been used when that is looked at.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::event::{Event, NoImage};
use super::hall::Hall;
use super::images::check;
use super::{Arrival, Image, Why};

/// Events of a socket that the exchange has and has not used.
const AHEAD: u32 = 32;
/// Events of a socket that wait, at most.
const WAITING: usize = 512;
/// Bytes of them, at most: room for some images.
const WAITING_BYTES: usize = 4 << 20;

/// An event that waits.
pub(super) struct Incoming {
    event: Event,
    /// The image that it carries, or why that is none.
    image: Result<Bytes, NoImage>,
}

impl Incoming {
    fn len(&self) -> usize {
        self.event.len() + self.image.as_ref().map_or(0, Bytes::len)
    }
}

impl Hall {
    /// A socket has sent an event.
    pub(super) fn arrived(self: &Arc<Hall>, id: u64, event: Event, attachment: Option<Bytes>) {
        let image = match (event.image(), attachment) {
            (Some((0, _, kind)), Some(bytes)) => check(&bytes, kind).map(|()| bytes),
            _ => Err(NoImage::Content),
        };
        let incoming = Incoming { event, image };
        let mut state = self.state();
        let Some(socket) = state.sockets.get_mut(&id) else { return };
        socket.inbox_bytes += incoming.len();
        socket.inbox.push_back(incoming);
        drop(state);
        self.pass_on(id);
        let flood = self.state().sockets.get(&id).is_some_and(|socket| {
            socket.inbox.len() > WAITING || socket.inbox_bytes > WAITING_BYTES
        });
        if flood {
            self.close(id, Why::Flood);
        }
    }

    /// Passes on what a socket has sent, as far as it may now.
    pub(super) fn pass_on(self: &Arc<Hall>, id: u64) {
        let state = &mut *self.state();
        let Some(socket) = state.sockets.get_mut(&id) else { return };
        let Some(session) = state.sessions.get_mut(&socket.session) else { return };
        while let Some(head) = socket.inbox.front()
            && socket.accepted
            && !socket.keeping
            && socket.in_flight < if head.image.is_ok() { 1 } else { AHEAD }
        {
            if let Err(wait) = session.bucket.take(self.limits.rate, Instant::now()) {
                if !socket.timer {
                    socket.timer = true;
                    self.pass_on_later(id, wait);
                }
                return;
            }
            let Some(incoming) = socket.inbox.pop_front() else { return };
            socket.inbox_bytes -= incoming.len();
            socket.in_flight += 1;
            let Incoming { event, image } = incoming;
            match image {
                Ok(image) if socket.bound => {
                    socket.keeping = true;
                    self.keep(id, event, image);
                }
                // It will be refused.
                Ok(image) => self.give(id, event.encode(Ok(image.len() as u32)), None),
                Err(why) => self.give(id, event.encode(Err(why)), None),
            }
        }
    }

    fn give(&self, socket: u64, bytes: Vec<u8>, image: Option<Image>) {
        self.arrivals.push(Arrival::Event { socket, bytes, image });
    }

    fn pass_on_later(self: &Arc<Hall>, id: u64, wait: std::time::Duration) {
        let hall = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            if let Some(socket) = hall.state().sockets.get_mut(&id) {
                socket.timer = false;
            }
            hall.pass_on(id);
        });
    }

    /// Keeps an image, then passes its event on.
    fn keep(self: &Arc<Hall>, id: u64, event: Event, bytes: Bytes) {
        let hall = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let kept = hall.images.keep(&bytes);
            let mut state = hall.state();
            let Some(socket) = state.sockets.get_mut(&id) else {
                drop(state);
                return kept.map_or((), |hash| hall.images.refused(hash));
            };
            socket.keeping = false;
            drop(state);
            match kept {
                Ok(hash) => {
                    let (name, kind) =
                        event.image().map_or(("", ""), |(_, name, kind)| (name, kind));
                    let (name, kind) = (name.to_owned(), kind.to_owned());
                    let event = event.encode(Ok(bytes.len() as u32));
                    hall.give(id, event, Some(Image { name, kind, hash, bytes }));
                }
                Err(error) => {
                    tracing::warn!(%error, "an image cannot be kept");
                    hall.give(id, event.encode(Err(NoImage::NotKept)), None);
                }
            }
        });
    }
}
