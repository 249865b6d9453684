//! Sockets of `rooms`: what has arrived from them, and what becomes of what they were sent.

use std::io;

use centrala_core::dialect::Dialect;
use centrala_core::exchange::{Link, message_id};
use centrala_core::host::Room;

use super::{Server, lend};
use crate::outbox::{Batch, Port, What};
use crate::rooms::links::{Fate, Input, ROOM};
use crate::rooms::{Arrival, Rooms, Why};

/// Of what has arrived from sockets, so much is looked at before others have their turn.
const TURN: usize = 1024;

impl Server<'_> {
    /// Gives the exchange what has arrived from sockets, at most so much at once that others have
    /// their turn. Returns whether there is more.
    pub(super) fn receive_from_rooms(&mut self) -> bool {
        if self.out.rooms.rooms().is_some_and(Rooms::is_over) {
            self.broken = Some(io::Error::other("the thread of rooms has ended"));
        }
        self.out.rooms.take();
        for _ in 0..TURN {
            let Some(arrival) = self.out.rooms.next_arrival() else { break };
            match arrival {
                Arrival::Connected(socket) => self.socket_connected(socket),
                Arrival::Event { socket, bytes, image } => {
                    self.out.rooms.arrived(socket, Input { bytes, image });
                    self.feed_socket(socket);
                }
                Arrival::Gone(socket, why) => self.socket_gone(socket, why),
            }
        }
        self.feed_sockets();
        self.out.rooms.has_more()
    }

    /// Gives the exchange what it did not take from sockets before, as far as it does now.
    pub(super) fn feed_sockets(&mut self) {
        for socket in self.out.rooms.blocked() {
            self.feed_socket(socket);
        }
        let exchange = &self.exchange;
        self.out.rooms.tell_used(|link| exchange.user_of(link).is_some());
    }

    fn socket_connected(&mut self, socket: u64) {
        let room = Room::of(ROOM);
        match self.exchange.connect(Dialect::Rooms, room, self.out.now) {
            Ok(link) => {
                self.out.counters.sockets += 1;
                self.out.seats.put(link, Port::Rooms, room);
                self.out.rooms.connected(socket, link);
            }
            Err(limit) => {
                self.out.counters.refused += 1;
                tracing::debug!(?limit, "refused a socket");
                self.out.rooms.refused(socket);
            }
        }
    }

    fn feed_socket(&mut self, socket: u64) {
        while let Some((link, Input { bytes, image })) = self.out.rooms.begin(socket) {
            if let Some(image) = &image {
                self.store.hold_image(centrala_store::Image {
                    hash: image.hash.0,
                    name: image.name.clone().into_bytes(),
                    kind: image.kind.clone().into_bytes(),
                    size: image.bytes.len() as u32,
                });
            }
            let used = self.exchange.receive(link, &bytes, lend!(self));
            let posted = image.as_ref().and_then(|_| self.store.drop_image()).map(message_id);
            if used == Ok(0) {
                return self.out.rooms.not_used(Input { bytes, image });
            }
            // Of a link that was closed because of it, what was given for it leaves with the batch.
            self.out.rooms.used(image, posted);
        }
    }

    fn socket_gone(&mut self, socket: u64, why: Why) {
        match why {
            Why::Left => self.out.counters.sockets_left += 1,
            Why::Flood => {
                self.out.counters.flooded += 1;
                tracing::info!(socket, "closed a socket that sent more than it may");
            }
            Why::Overrun => self.out.counters.overrun += 1,
        }
        if let Some(link) = self.out.rooms.gone(socket) {
            self.exchange.disconnect(link, lend!(self));
            self.out.rooms.disconnected(link);
            self.out.seats.remove(link);
        }
        tracing::debug!(socket, ?why, "a socket is gone");
    }

    /// Tells the exchange what has become of mail.
    pub(super) fn settle_rooms_mail(&mut self) {
        while let Some(fate) = self.out.rooms.fate(self.out.now) {
            match fate {
                Fate::Taken(link, mark) => self.exchange.taken(link, mark, lend!(self)),
                Fate::NotTaken(link, mark) => self.exchange.not_taken(link, mark, lend!(self)),
            }
        }
    }

    /// Lets one thing out to a link's sockets.
    pub(super) fn out_to_rooms(&mut self, batch: &Batch, link: Link, what: What, refused: bool) {
        let rooms = &mut self.out.rooms;
        match what {
            What::Deliver(frame) => rooms.emit(link, batch.frame(frame), Some(frame)),
            What::Mail(frame, mark) => {
                rooms.emit_mail(link, batch.frame(frame), mark, self.out.now);
            }
            What::Part(frame, last) => rooms.emit_part(link, batch.frame(frame), last),
            What::Promise(_, frame) if refused => rooms.emit(link, batch.frame(frame), None),
            What::Reply(frame) | What::Promise(frame, _) => {
                rooms.emit(link, batch.frame(frame), None);
            }
            What::Merge(into) => {
                rooms.merged(link, into);
                self.out.seats.remove(link);
            }
            What::Close => {
                rooms.close(link);
                self.out.seats.remove(link);
            }
            What::Run(_) | What::LoggedIn(..) | What::Done => {}
        }
    }

    /// Looks at a link whose time has come.
    pub(super) fn look_at_sockets(&mut self, link: Link) {
        let room = self.out.rooms.room();
        let more = self.tell(link, Room::of(room), false);
        if room == 0 {
            self.look_later(link, more);
        }
        self.feed_sockets();
    }

    /// Tells the exchange anew of a link that was given messages, where it may be needed.
    pub(super) fn tell_sockets(&mut self, link: Link, left: Room) {
        if left.messages.min(left.replies) > ROOM / 4 {
            return;
        }
        let room = self.out.rooms.room();
        self.tell(link, Room::of(room), true);
        if room == 0 {
            self.look_later(link, true);
        }
    }
}
