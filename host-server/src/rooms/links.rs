//! Which socket belongs to which link: what the thread of the exchange knows of the sockets.
//!
//! A socket that connects gets a link of its own. When it logs in as a user whose session is there
//! already, it becomes one more of the sockets of that session's link, and its own link is over
//! ([`Links::merge`]): from then on it speaks for that link, and when the batch is let out it is sent
//! what that link is sent ([`Links::merged`]).
//!
//! Events of a socket are given to the exchange in order. While a question of its link is open they
//! wait here; there are never more than the far end sends ahead of what was used.
//!
//! **Mail** is taken when one of the sockets that it was sent to is still there `TAKEN` later:
//! frames of a socket stay in order, and by then its client has answered a ping that was sent behind
//! them, or is found to be gone. If none is, the link's other sockets are sent it again.

use std::collections::{HashMap, VecDeque};

use centrala_core::exchange::{Link, Token};

use super::{Arrival, Command, Image, PING_INTERVAL, PING_TIMEOUT, Rooms};
use crate::outbox::Frame;

/// Milliseconds after which what was sent to a socket that is still there has been received. No ping
/// is sent while a transport is changed for another: that may leave one out.
const TAKEN: u64 = 2 * PING_INTERVAL.as_millis() as u64 + PING_TIMEOUT.as_millis() as u64 + 2_000;
const _: () = assert!(super::UPGRADE_TIMEOUT.as_millis() < PING_INTERVAL.as_millis());

/// Bytes that a link takes before the exchange is told anew how much it takes.
pub const ROOM: u32 = 1 << 20;
/// Bytes of an event that is put together of parts: more than the longest list has.
const LONGEST: usize = 64 << 20;

/// An event that waits for the exchange.
#[derive(Debug)]
pub struct Input {
    /// As the exchange reads it.
    pub bytes: Vec<u8>,
    /// The image that comes with it.
    pub image: Option<Image>,
}

#[derive(Debug)]
struct Socket {
    /// What it speaks for.
    link: Link,
    input: VecDeque<Input>,
    /// Events that were used since the far end was told.
    used: u32,
    /// The question that one of its events made, while that is open.
    asking: Option<Token>,
}

/// The sockets of a link.
#[derive(Debug, Default)]
struct Members {
    /// That speak for it.
    speaking: u32,
    /// That are sent what it is sent.
    sockets: Vec<u64>,
    /// Of an event that comes in parts, those that have come.
    part: Vec<u8>,
}

/// Mail that was sent.
#[derive(Debug)]
struct Sent {
    /// When it counts as taken.
    at: u64,
    link: Link,
    mark: u32,
    /// To these, as far as they are still there.
    to: Vec<u64>,
}

/// What has become of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of the link's up to this mark was taken.
    Taken(Link, u32),
    /// All of the link's from this mark on was not.
    NotTaken(Link, u32),
}

/// The sockets and their links.
#[derive(Debug, Default)]
pub struct Links {
    rooms: Option<Rooms>,
    arrived: VecDeque<Arrival>,
    sockets: HashMap<u64, Socket>,
    links: HashMap<Link, Members>,
    mail: VecDeque<Sent>,
    /// Whose event the exchange is given.
    current: Option<u64>,
    /// Sockets whose events were used since the far end was told.
    used: Vec<u64>,
    /// Sockets whose events the exchange did not take.
    blocked: Vec<u64>,
    /// Who asked what is open.
    asking: HashMap<Token, u64>,
    /// Mail may have nobody left who was sent it.
    lost: bool,
    /// The frame that the last command sends.
    last: Option<Frame>,
}

impl Links {
    /// With the thread that has the sockets.
    pub fn set(&mut self, rooms: Rooms) {
        self.rooms = Some(rooms);
    }

    /// The thread that has the sockets.
    pub fn rooms(&self) -> Option<&Rooms> {
        self.rooms.as_ref()
    }

    /// Ends: the thread is handed over.
    pub fn end(&mut self) -> Option<Rooms> {
        self.rooms.take()
    }

    /// Takes over what has arrived.
    pub fn take(&mut self) {
        self.arrived.extend(self.rooms.iter().flat_map(Rooms::take));
    }

    /// The next of what has arrived and was taken over.
    pub fn next_arrival(&mut self) -> Option<Arrival> {
        self.arrived.pop_front()
    }

    /// Whether there is more of it.
    pub fn has_more(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// All links.
    pub fn all(&self) -> Vec<Link> {
        self.links.keys().copied().collect()
    }

    fn push(&mut self, command: Command) {
        self.last = None;
        if let Some(rooms) = &mut self.rooms {
            rooms.push(command);
        }
    }

    /// Frames are those of another batch from now on.
    pub fn next_batch(&mut self) {
        self.last = None;
    }

    /// Hands over what the thread is to do.
    pub fn flush(&mut self) {
        self.last = None;
        if let Some(rooms) = &mut self.rooms {
            rooms.flush();
        }
    }

    /// How much any link takes now.
    pub fn room(&self) -> u32 {
        if self.rooms.as_ref().is_some_and(Rooms::is_behind) { 0 } else { ROOM }
    }

    /// A socket has this link.
    pub fn connected(&mut self, socket: u64, link: Link) {
        let new = Socket { link, input: VecDeque::new(), used: 0, asking: None };
        self.sockets.insert(socket, new);
        let members = Members { speaking: 1, sockets: vec![socket], part: Vec::new() };
        self.links.insert(link, members);
        self.push(Command::Accept(socket));
    }

    /// There is no link for a socket.
    pub fn refused(&mut self, socket: u64) {
        self.push(Command::Refuse(socket));
    }

    /// An event of a socket has arrived.
    pub fn arrived(&mut self, socket: u64, input: Input) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.input.push_back(input);
        } else {
            self.drop_input(input);
        }
    }

    /// An event that nobody is given.
    fn drop_input(&self, input: Input) {
        if let (Some(image), Some(rooms)) = (input.image, &self.rooms) {
            rooms.images.refused(image.hash);
        }
    }

    /// The next event of a socket, and the link it is for: until [`Links::used`] or
    /// [`Links::not_used`], what the exchange asks is asked for it.
    pub fn begin(&mut self, id: u64) -> Option<(Link, Input)> {
        let socket = self.sockets.get_mut(&id).filter(|socket| socket.asking.is_none())?;
        let input = socket.input.pop_front()?;
        self.current = Some(id);
        Some((socket.link, input))
    }

    /// The exchange has used the event. `posted`: the id of the message that has its image.
    pub fn used(&mut self, image: Option<Image>, posted: Option<u64>) {
        let Some(id) = self.current.take() else { return };
        if let Some(Image { hash, bytes, .. }) = image
            && let Some(rooms) = &self.rooms
        {
            match posted {
                Some(id) => {
                    rooms.images.accepted(hash);
                    self.push(Command::Image { id, hash, bytes });
                }
                None => rooms.images.refused(hash),
            }
        }
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.used += 1;
            if socket.used == 1 {
                self.used.push(id);
            }
        }
    }

    /// The exchange takes no event of this link now.
    pub fn not_used(&mut self, input: Input) {
        let Some(id) = self.current.take() else { return };
        if let Some(socket) = self.sockets.get_mut(&id) {
            socket.input.push_front(input);
            self.blocked.push(id);
        }
    }

    /// The sockets whose events the exchange did not take: it may now.
    pub fn blocked(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.blocked)
    }

    /// The exchange asks something, perhaps because of an event.
    pub fn asks(&mut self, token: Token) {
        if let Some(id) = self.current
            && let Some(socket) = self.sockets.get_mut(&id)
        {
            socket.asking = Some(token);
            self.asking.insert(token, id);
        }
    }

    /// A question was answered. Whose event made it may go on.
    pub fn answered(&mut self, token: Token) {
        let Some(id) = self.asking.remove(&token) else { return };
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.asking = None;
        self.used.push(id);
        self.blocked.push(id);
    }

    /// Tells the thread which events were used, and whether their sockets are logged in now.
    pub fn tell_used(&mut self, bound: impl Fn(Link) -> bool) {
        for id in std::mem::take(&mut self.used) {
            let Some(socket) = self.sockets.get_mut(&id) else { continue };
            // What it asks for decides whether it is logged in.
            if socket.asking.is_some() {
                continue;
            }
            let (events, link) = (std::mem::take(&mut socket.used), socket.link);
            if events != 0 {
                self.push(Command::Used { socket: id, events, bound: bound(link) });
            }
        }
    }

    /// A link is over, and what speaks for it speaks for another one.
    pub fn merge(&mut self, link: Link, into: Link) {
        for socket in self.sockets.values_mut().filter(|socket| socket.link == link) {
            socket.link = into;
        }
        let speaking =
            self.links.get_mut(&link).map_or(0, |members| std::mem::take(&mut members.speaking));
        if let Some(members) = self.links.get_mut(&into) {
            members.speaking += speaking;
        }
    }

    /// What was given for the link itself has been let out: its sockets are the other one's.
    pub fn merged(&mut self, link: Link, into: Link) {
        let Some(members) = self.links.remove(&link) else { return };
        for socket in members.sockets {
            let there = self.sockets.contains_key(&socket);
            let Some(into) = self.links.get_mut(&into).filter(|_| there) else { continue };
            let with = into.sockets.first().copied();
            into.sockets.push(socket);
            if let Some(with) = with {
                self.push(Command::Join { socket, with });
            }
        }
    }

    /// A socket is gone. Returns its link if that has no other.
    pub fn gone(&mut self, id: u64) -> Option<Link> {
        let socket = self.sockets.remove(&id)?;
        for input in socket.input {
            self.drop_input(input);
        }
        if let Some(token) = socket.asking {
            self.asking.remove(&token);
        }
        for sent in &mut self.mail {
            sent.to.retain(|to| *to != id);
            self.lost |= sent.to.is_empty();
        }
        let members = self.links.get_mut(&socket.link)?;
        members.sockets.retain(|member| *member != id);
        members.speaking -= 1;
        (members.speaking == 0).then_some(socket.link)
    }

    /// The exchange has been told that a link is gone.
    pub fn disconnected(&mut self, link: Link) {
        self.links.remove(&link);
        self.mail.retain(|sent| sent.link != link);
    }

    /// The exchange has ended a link.
    pub fn close(&mut self, link: Link) {
        let members = self.links.remove(&link).unwrap_or_default();
        self.mail.retain(|sent| sent.link != link);
        for id in members.sockets {
            if let Some(socket) = self.sockets.remove(&id) {
                socket.input.into_iter().for_each(|input| self.drop_input(input));
                self.asking.retain(|_, asks| *asks != id);
            }
            self.push(Command::Close(id));
        }
    }

    /// Sends a link's sockets an event. `shared`: the frame, if others are sent the same.
    pub fn emit(&mut self, link: Link, bytes: &[u8], shared: Option<Frame>) {
        let Some(members) = self.links.get(&link).filter(|of| !of.sockets.is_empty()) else {
            return;
        };
        if shared.is_some()
            && shared == self.last
            && let Some(rooms) = &mut self.rooms
        {
            members.sockets.iter().for_each(|socket| rooms.also_to(*socket));
            return;
        }
        let to = members.sockets.clone();
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        match String::from_utf8(bytes.to_vec()) {
            Ok(line) if !line.is_empty() => {
                self.push(Command::Emit { to, line });
                self.last = shared;
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "an event that is not UTF-8 was left out"),
        }
    }

    /// Sends mail.
    pub fn emit_mail(&mut self, link: Link, bytes: &[u8], mark: u32, now: u64) {
        self.emit(link, bytes, None);
        let to = self.links.get(&link).map(|members| members.sockets.clone()).unwrap_or_default();
        self.lost |= to.is_empty();
        self.mail.push_back(Sent { at: now + TAKEN, link, mark, to });
    }

    /// Takes a part of an event, and sends all of it when it is the last one.
    pub fn emit_part(&mut self, link: Link, bytes: &[u8], last: bool) {
        let Some(members) = self.links.get_mut(&link) else { return };
        if members.part.len() + bytes.len() <= LONGEST {
            members.part.extend_from_slice(bytes);
        }
        if last {
            let event = std::mem::take(&mut members.part);
            self.emit(link, &event, None);
        }
    }

    /// When something becomes of mail.
    pub fn due(&self) -> Option<u64> {
        self.mail.front().map(|sent| sent.at)
    }

    /// What has become of mail by now, if anything has.
    pub fn fate(&mut self, now: u64) -> Option<Fate> {
        if self.lost {
            if let Some(at) = self.mail.iter().position(|sent| sent.to.is_empty()) {
                let Sent { link, mark, .. } = self.mail[at];
                // All that was sent to that link later is handed back with it.
                let mut places = 0..;
                self.mail.retain(|sent| places.next() < Some(at) || sent.link != link);
                return Some(Fate::NotTaken(link, mark));
            }
            self.lost = false;
        }
        let sent = self.mail.pop_front_if(|sent| sent.at <= now)?;
        Some(Fate::Taken(sent.link, sent.mark))
    }
}
