//! What transports, the host and time do.

use centrala_core::dialect::{Dialect, topics};
use centrala_core::exchange::{Link, Token};
use centrala_core::host::{Reply, Room};

use super::{Life, model, pick};

/// Room for anything.
pub(super) const LOTS: Room = Room::of(1 << 20);

impl Life<'_, '_> {
    pub(super) fn make_room(&mut self, link: Link, room: Room) {
        if let Some((_, known)) = self.world.desk.links.get_mut(&link) {
            *known = room;
        }
        self.call(|exchange, io| exchange.room(link, room, io));
    }

    pub(super) fn taken(&mut self, link: u8, which: u8) {
        let Some(link) = pick(&self.world.links.clone(), link) else { return };
        let Some(client) = self.world.model.clients.get_mut(&link) else { return };
        let marks: Vec<u32> = client.outstanding.iter().map(|(mark, _)| *mark).collect();
        let Some(mark) = pick(&marks, which) else { return };
        let user = client.user;
        let taken: Vec<_> = client.outstanding.extract_if(.., |(of, _)| *of <= mark).collect();
        for (_, serial) in taken {
            self.world.model.take(serial, user, true);
        }
        match self.client(link).dialect {
            Dialect::Native => self.acknowledge(link, mark),
            _ => self.call(|exchange, io| exchange.taken(link, mark, io)),
        }
    }

    pub(super) fn not_taken(&mut self, link: u8, which: u8) {
        let Some(link) = pick(&self.world.links.clone(), link) else { return };
        let Some(client) = self.world.model.clients.get_mut(&link) else { return };
        let marks: Vec<u32> = client.outstanding.iter().map(|(mark, _)| *mark).collect();
        let Some(mark) = pick(&marks, which) else { return };
        let user = client.user;
        client.unread.retain(|(_, of)| *of < mark);
        let back: Vec<_> = client.outstanding.extract_if(.., |(of, _)| *of >= mark).collect();
        for (_, serial) in back {
            self.world.model.take(serial, user, false);
        }
        self.call(|exchange, io| exchange.not_taken(link, mark, io));
    }

    /// A link is gone. Of a queue some deliveries come back that nobody had read.
    pub(super) fn disconnect(&mut self, link: Link, back: usize) {
        let Some(client) = self.world.model.clients.get_mut(&link) else { return };
        let (user, outstanding) = (client.user, client.outstanding.clone());
        let unread: Vec<_> = client.unread.iter().rev().take(back).cloned().collect();
        for (frame, mark) in unread {
            // Mail that the transport has not taken is still the exchange's.
            if mark != 0 && outstanding.iter().any(|(of, _)| *of == mark) {
                continue;
            }
            let text = topics::ServerMessage::new_checked(&frame).expect("a delivery").text;
            self.world.model.give_back(model::serial(text), user);
            self.call(|exchange, io| exchange.give_back(link, &frame, io));
        }
        self.world.desk.links.remove(&link);
        self.world.model.ended(link);
        self.call(|exchange, io| exchange.disconnect(link, io));
    }

    pub(super) fn verify(&mut self, token: Token, right: bool) {
        for client in self.world.model.clients.values_mut() {
            client.question = client.question.filter(|open| *open != token);
        }
        self.world.answered.push(token);
        self.world.model.verified = right;
        let reply = Reply::Verified(right);
        let link = self.call(|exchange, io| exchange.answer_question(token, reply, io));
        if let Ok(link) = link {
            self.feed(link, usize::MAX);
        }
    }

    /// Time passes: each timer when it is due, or all at once.
    pub(super) fn wait(&mut self, milliseconds: u64, at_once: bool) {
        let end = self.world.now + milliseconds;
        while let Some(due) = self.exchange.poll_timeout().filter(|due| *due <= end && !at_once) {
            self.world.now = self.world.now.max(due);
            self.call(|exchange, io| exchange.handle_timeout(io));
        }
        self.world.now = end;
        self.call(|exchange, io| exchange.handle_timeout(io));
        let next = self.exchange.poll_timeout();
        assert!(next.is_none_or(|due| due > end), "due, and not done");
    }

    /// What is over stays over.
    pub(super) fn stale(&mut self, which: u8) {
        let clients = &self.world.model.clients;
        let over: Vec<_> =
            self.world.links.iter().filter(|link| !clients.contains_key(link)).copied().collect();
        if let Some(link) = pick(&over, which) {
            let hello = [0, 24, 0, 1, 0, 0, 0, 0, b'a', b'n', b'n', 0, 0, 0, 0, 0];
            let before = self.exchange.usage();
            assert!(self.call(|exchange, io| exchange.receive(link, &hello, io)).is_err());
            self.call(|exchange, io| exchange.room(link, LOTS, io));
            self.call(|exchange, io| exchange.taken(link, 1, io));
            self.call(|exchange, io| exchange.not_taken(link, 1, io));
            self.call(|exchange, io| exchange.give_back(link, &hello, io));
            self.call(|exchange, io| exchange.disconnect(link, io));
            assert_eq!(self.exchange.usage(), before, "{link:?} is over");
        }
        if let Some(token) = pick(&self.world.answered.clone(), which) {
            let reply = Reply::Verified(true);
            assert!(self.call(|exchange, io| exchange.answer_question(token, reply, io)).is_err());
        }
    }
}
