//! Seats: what the host knows of each link.

use centrala_core::exchange::Link;
use centrala_core::host::Room;

/// What a link is, for the host. The numbers are places in tables of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// A TCP connection.
    Tcp(u32),
    /// A client's queue.
    Client(u32),
    /// A queue of the server's own.
    Endpoint(u32),
    /// A user's lane in such a queue: the endpoint, and the user.
    Lane(u32, u32),
    /// Sockets of `rooms`.
    Rooms,
}

/// What the host knows of a link.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The link.
    pub link: Link,
    /// What it is.
    pub port: Port,
    /// Bytes of messages noted down and not let out yet.
    pub queued: u32,
    /// Bytes of answers likewise.
    pub queued_replies: u32,
    /// What of the room that the exchange was told of is left at least.
    pub left: Room,
    /// The time the batches were gone through in which a promise on this link was held back.
    pub held: u64,
    /// Noted down as having been given messages.
    pub touched: bool,
    /// The run that was begun last with this link in it.
    pub(super) run: u64,
    /// When it is looked at next, if it has to be.
    pub due: Option<u64>,
    /// Milliseconds from one such look to the next.
    pub backoff: u64,
}

/// The seats, by the place of the link in the exchange's table.
#[derive(Debug, Default)]
pub struct Seats {
    by_place: Vec<Option<Seat>>,
    /// Links that are over, and have something to be let out, while their place is taken again.
    former: Vec<Seat>,
}

impl Seats {
    /// The seat of a link.
    pub fn get(&mut self, link: Link) -> Option<&mut Seat> {
        match self.by_place.get_mut(link.index()) {
            Some(Some(seat)) if seat.link == link => Some(seat),
            _ => self.former.iter_mut().find(|seat| seat.link == link),
        }
    }

    /// A seat for a new link.
    pub fn put(&mut self, link: Link, port: Port, room: Room) {
        let place = link.index();
        if self.by_place.len() <= place {
            self.by_place.resize_with(place + 1, || None);
        }
        let seat = Seat {
            link,
            port,
            queued: 0,
            queued_replies: 0,
            left: room,
            held: 0,
            touched: false,
            run: 0,
            due: None,
            backoff: 0,
        };
        if let Some(former) = self.by_place[place].replace(seat) {
            self.former.push(former);
        }
    }

    /// The link is over, and all it had is let out.
    pub fn remove(&mut self, link: Link) {
        match self.by_place.get_mut(link.index()) {
            Some(place) if place.as_ref().is_some_and(|seat| seat.link == link) => *place = None,
            _ => self.former.retain(|seat| seat.link != link),
        }
    }
}
