//! Packets to sockets.
//!
//! A packet is given to the library at once, and counted until its bytes have left for the client's
//! connection ([`Gauge`]). One that carries an image waits until few bytes are ahead of it, and
//! until the image is fetched; what comes behind it waits too. So a client that asks for many images
//! gets them as fast as it takes them, and costs no more memory than others.
//!
//! A socket for which more than `rooms.buffer` bytes wait when it is to be sent more is closed: its
//! client does not read. It comes back by itself, and reads the history.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use engineioxide::DisconnectReason;
use tokio::sync::oneshot;

use super::hall::{Hall, Socket};
use super::images::Hash;
use super::packet::{Gauge, Packet};
use super::{Arrival, Why};

/// Bytes of images that are kept at hand.
const CACHE: usize = 8 << 20;
/// Images that are kept at hand, at most.
const CACHED: usize = 64;

/// Images that were used last.
#[derive(Default)]
pub(super) struct Cache {
    images: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

impl Cache {
    fn get(&self, id: u64) -> Option<Bytes> {
        self.images.iter().rev().find(|(of, _)| *of == id).map(|(_, bytes)| bytes.clone())
    }

    pub(super) fn put(&mut self, id: u64, bytes: Bytes) {
        self.bytes += bytes.len();
        self.images.push_back((id, bytes));
        while self.bytes > CACHE || self.images.len() > CACHED {
            let Some((_, oldest)) = self.images.pop_front() else { return };
            self.bytes -= oldest.len();
        }
    }
}

/// What became of sending a socket what waits for it.
enum Sent {
    /// It waits for nothing, or for its client.
    Done,
    /// It waits for an image that has to be fetched.
    Wants(u64),
    /// Its line is full.
    Full,
}

impl Socket {
    fn send(&mut self, cache: &Cache, fetched: Option<&(u64, Option<Bytes>)>) -> Sent {
        while let Some(packet) = self.outlet.front() {
            let image = match packet.image() {
                None => None,
                Some(_) if self.gauge.waiting() >= Gauge::LOW => return Sent::Done,
                Some(id) => match (fetched, cache.get(id)) {
                    (Some((of, image)), _) if *of == id => image.clone(),
                    (_, Some(image)) => Some(image),
                    _ => return Sent::Wants(id),
                },
            };
            let (text, image) = packet.with(image, &self.gauge);
            self.outlet_bytes -= packet.len();
            self.outlet.pop_front();
            let Ok(permit) = self.engine.reserve() else { return Sent::Full };
            match image {
                None => permit.emit(text),
                Some(image) => permit.emit_many(text, [image].into()),
            }
        }
        Sent::Done
    }
}

impl Hall {
    /// Sends a packet to sockets.
    pub(super) fn emit(self: &Arc<Hall>, to: &[u64], packet: &Arc<Packet>) {
        for id in to {
            let mut state = self.state();
            let Some(socket) = state.sockets.get_mut(id) else { continue };
            let waiting = socket.gauge.waiting() + socket.outlet_bytes;
            if waiting > self.limits.buffer {
                drop(state);
                self.overrun(*id, waiting);
                continue;
            }
            socket.outlet_bytes += packet.len();
            socket.outlet.push_back(Arc::clone(packet));
            // Else it waits already for what is ahead.
            let alone = socket.outlet.len() == 1;
            drop(state);
            if alone {
                self.flush(*id, None);
            }
        }
    }

    /// Sends a socket what waits for it, as far as possible now. `fetched`: an image, if it was
    /// there.
    pub(super) fn flush(self: &Arc<Hall>, id: u64, fetched: Option<&(u64, Option<Bytes>)>) {
        let state = &mut *self.state();
        let Some(socket) = state.sockets.get_mut(&id) else { return };
        match socket.send(&state.cache, fetched) {
            Sent::Done => {}
            Sent::Full => self.overrun_later(id),
            Sent::Wants(image) => match state.fetching.get_mut(&image) {
                Some(sockets) => sockets.push(id),
                None => {
                    state.fetching.insert(image, vec![id]);
                    let known = state.recent.iter().rev().find(|(of, _)| *of == image);
                    self.fetch(image, known.map(|(_, hash)| *hash));
                }
            },
        }
    }

    fn overrun_later(self: &Arc<Hall>, id: u64) {
        let hall = Arc::clone(self);
        tokio::spawn(async move { hall.overrun(id, 0) });
    }

    /// The client of a socket does not read.
    fn overrun(&self, id: u64, waiting: usize) {
        let socket = self.state().forget(id);
        if let Some(socket) = socket {
            tracing::info!(waiting, "closed a socket: its client does not read");
            socket.engine.close(DisconnectReason::TransportClose);
            self.arrivals.push(Arrival::Gone(id, Why::Overrun));
        }
    }

    /// Fetches an image, and sends it to whom it was fetched for.
    fn fetch(self: &Arc<Hall>, id: u64, known: Option<Hash>) {
        let hall = Arc::clone(self);
        tokio::spawn(async move {
            let hash = match known {
                Some(hash) => Some(hash),
                None => {
                    let (found, answer) = oneshot::channel();
                    // Who asked may be gone when the answer comes.
                    let answer_to = Box::new(move |hash| {
                        let _ = found.send(hash);
                    });
                    hall.index.find(id, answer_to);
                    answer.await.ok().flatten()
                }
            };
            let images = Arc::clone(&hall.images);
            let read = move || {
                let read = images.read(hash?);
                read.inspect_err(|error| tracing::error!(%error, id, "an image cannot be read"))
                    .ok()
            };
            let image = tokio::task::spawn_blocking(read).await.ok().flatten();
            let sockets = {
                let mut state = hall.state();
                if let Some(image) = &image {
                    state.cache.put(id, image.clone());
                }
                state.fetching.remove(&id).unwrap_or_default()
            };
            let fetched = (id, image);
            for socket in sockets {
                hall.flush(socket, Some(&fetched));
            }
        });
    }
}
