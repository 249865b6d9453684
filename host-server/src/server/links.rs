//! Links: how much each can take, when that is looked at again, and how a queue client ends.
//!
//! The exchange is told anew how much a link takes when messages have used up most of what it was
//! told. Only a link that may have been sent less than there was for it is looked at again later: in
//! 1 ms, then in twice the time before, up to half a second, and at once in 1 ms again when it has
//! taken something. So a client that reads gets its backlog as fast as it reads, and one that does
//! not costs two looks a second.

use std::cmp::Ordering;

use centrala_core::dialect::Dialect;
use centrala_core::exchange::{Link, scratch_len};
use centrala_core::host::Room;

use super::{Server, lend};
use crate::config::LONGEST_TEXT;
use crate::outbox::Port;
use crate::sysv::lanes::Lanes;
use crate::sysv::process::Life;
use crate::tcp::connection::{NATIVE_ROOM, ROOM};

/// Milliseconds between two looks at a link that takes nothing.
const BACKOFF: u64 = 512;
/// A connection with less room than this is asked how much it has.
const LOW_TCP: u32 = ROOM / 4;
/// The same in `native`: what one read of a publisher's connection can bring is counted as less.
const LOW_NATIVE: u32 = NATIVE_ROOM / 2;
/// One with more is not looked at again: so any message must fit it, in any dialect, or it would
/// wait for ever.
const _: () = assert!(LOW_TCP as usize >= scratch_len(LONGEST_TEXT as usize));
const _: () = assert!(LOW_NATIVE as usize >= scratch_len(LONGEST_TEXT as usize));

fn low(dialect: Dialect) -> u32 {
    match dialect {
        Dialect::Native => LOW_NATIVE,
        _ => LOW_TCP,
    }
}

/// When to look at a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: u64,
    link: Link,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.at == other.at
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    /// The earliest is the greatest: it is taken first.
    fn cmp(&self, other: &Due) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl Server<'_> {
    /// Has a link looked at again: soon if it took something (`progress`), else later than before.
    pub(super) fn look_later(&mut self, link: Link, progress: bool) {
        let now = self.out.now;
        let Some(seat) = self.out.seats.get(link) else { return };
        seat.backoff = if progress { 1 } else { (seat.backoff * 2).clamp(1, BACKOFF) };
        let at = now + seat.backoff;
        if seat.due.is_none_or(|due| at < due) {
            seat.due = Some(at);
            self.due.push(Due { at, link });
        }
    }

    /// Looks at the links whose time has come.
    pub(super) fn look_at_due(&mut self) {
        while let Some(Due { at, link }) = self.due.peek().copied()
            && at <= self.out.now
        {
            self.due.pop();
            let Some(seat) = self.out.seats.get(link) else { continue };
            if seat.due != Some(at) {
                continue;
            }
            seat.due = None;
            match seat.port {
                Port::Tcp(place) => self.look_at_connection(link, place),
                Port::Client(place) => self.look_at_queue(link, place),
                Port::Endpoint(at) => self.look_at_endpoint(link, at as usize),
                Port::Lane(at, user) => self.look_at_lane(link, at, user),
                Port::Rooms => self.look_at_sockets(link),
            }
        }
    }

    fn look_at_connection(&mut self, link: Link, place: u32) {
        let Some(connection) = self.tcp.connections.get_mut(place as usize) else { return };
        let acknowledged = connection.acknowledged();
        let (room, has_mail) = (connection.room(), connection.has_mail());
        let low = low(connection.dialect);
        if let Some(mark) = acknowledged {
            self.exchange.taken(link, mark, lend!(self));
        }
        let more = self.tell(link, Room::of(room), false);
        if room < low || has_mail {
            self.look_later(link, more || acknowledged.is_some());
        }
    }

    fn look_at_queue(&mut self, link: Link, place: u32) {
        let Some(client) = self.out.queues.clients.get_mut(place as usize) else { return };
        let Ok(stat) = client.queue.stat() else { return self.queue_gone(place) };
        client.learn(&stat);
        let answered = client.flush_answers() != 0;
        let again = client.is_tight() || client.owes_answers();
        let room = client.room();
        let more = self.tell(link, room, false);
        if again {
            self.look_later(link, more || answered);
        }
    }

    fn look_at_endpoint(&mut self, link: Link, at: usize) {
        let now = self.out.now;
        let Some(endpoint) = self.out.queues.endpoints.get_mut(at) else { return };
        self.out.counters.junk += endpoint.remove_junk(now) as u64;
        let progress = endpoint.flush_answers(now) != 0;
        if endpoint.owes_answers() {
            self.look_later(link, progress);
        }
    }

    /// Tells the exchange how much a link takes, if that is more than it knows, or `always`.
    /// Returns whether it did.
    pub(super) fn tell(&mut self, link: Link, room: Room, always: bool) -> bool {
        self.out.settle();
        let Some(seat) = self.out.seats.get(link) else { return false };
        let less = |bytes: u32| bytes.saturating_sub(seat.queued);
        let room = Room {
            messages: less(room.messages),
            direct: less(room.direct),
            replies: room.replies.saturating_sub(seat.queued_replies),
        };
        let more = room.messages > seat.left.messages
            || room.direct > seat.left.direct
            || room.replies > seat.left.replies;
        if more || always {
            seat.left = room;
            self.exchange.room(link, room, lend!(self));
        }
        more
    }

    /// Tells the exchange anew of the links that were given messages, where it may be needed.
    pub(super) fn tell_rooms(&mut self) {
        for link in std::mem::take(&mut self.out.touched) {
            let Some(seat) = self.out.seats.get(link) else { continue };
            seat.touched = false;
            let left = seat.left.messages;
            let port = seat.port;
            match port {
                Port::Tcp(place) => {
                    let Some(connection) = self.tcp.connections.get(place as usize) else {
                        continue;
                    };
                    let (has_mail, low) = (connection.has_mail(), low(connection.dialect));
                    if left < low {
                        let room = connection.room();
                        self.tell(link, Room::of(room), true);
                    }
                    if left < low || has_mail {
                        self.look_later(link, true);
                    }
                }
                Port::Client(place) => {
                    let Some(client) = self.out.queues.clients.get_mut(place as usize) else {
                        continue;
                    };
                    if !client.might_be_tight(seat.left) {
                        continue;
                    }
                    let Ok(stat) = client.queue.stat() else {
                        self.queue_gone(place);
                        continue;
                    };
                    client.learn(&stat);
                    let (room, tight) = (client.room(), client.is_tight());
                    self.tell(link, room, true);
                    if tight {
                        self.look_later(link, true);
                    }
                }
                Port::Lane(at, user) => {
                    let room = seat.left;
                    if Lanes::might_be_tight(room) {
                        self.tell_lane(link, at, user);
                    }
                }
                Port::Rooms => {
                    let left = seat.left;
                    self.tell_sockets(link, left);
                }
                Port::Endpoint(_) => {}
            }
        }
    }

    /// Looks whether a queue client is still there. `ended`: the process that was watched is not.
    pub(super) fn look_at_client(&mut self, place: u32, ended: bool) {
        let Some(client) = self.out.queues.clients.get_mut(place as usize) else { return };
        let Ok(stat) = client.queue.stat() else { return self.queue_gone(place) };
        client.learn(&stat);
        let life = match ended {
            true => client.process.ended(&stat),
            false => client.process.look_cheaply(&stat),
        };
        match life {
            Life::Alive => {}
            Life::Changed => self.out.queues.watch(place),
            Life::Dead => {
                self.out.counters.died += 1;
                tracing::info!(key = client.key, "a client's process is gone: logged out");
                self.client_over(place);
            }
        }
    }

    /// A client's queue is gone: what lay in it counts as delivered, what does not, does not.
    pub(super) fn queue_gone(&mut self, place: u32) {
        if let Some(client) = self.out.queues.clients.get(place as usize) {
            self.out.counters.queue_gone += 1;
            tracing::info!(key = client.key, "a client's queue is gone: logged out");
        }
        self.client_over(place);
    }

    /// Ends a queue client's session. What lies unread in its queue, and what was noted down for
    /// it, comes back to its mailbox meanwhile.
    pub(super) fn client_over(&mut self, place: u32) {
        let Some(client) = self.out.queues.clients.get(place as usize) else { return };
        let link = client.link;
        self.exchange.disconnect(link, lend!(self));
        self.out.queues.clients.try_remove(place as usize);
        self.out.seats.remove(link);
    }
}
