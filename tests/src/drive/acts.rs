//! What transports, the host and time do.

use centrala_core::dialect::Dialect;
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
        self.world.desk.arrived(link, mark);
        let client = self.client(link);
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
        self.world.desk.not_arrived(link, mark);
        let client = self.client(link);
        let back: Vec<_> = client.outstanding.extract_if(.., |(of, _)| *of >= mark).collect();
        for (_, serial) in back {
            self.world.model.take(serial, user, false);
        }
        self.call(|exchange, io| exchange.not_taken(link, mark, io));
    }

    /// A link is gone. What a queue client had not read comes back, some of it before that; unless
    /// its queue is gone, too.
    pub(super) fn disconnect(&mut self, link: Link, back: usize, removed: bool) {
        let Some(client) = self.world.model.clients.get_mut(&link) else { return };
        let user = client.user;
        if let Some(place) = self.world.desk.places.get(&link).copied() {
            for _ in 0..back {
                let Some(lying) = self.world.desk.lying.get_mut(&place) else { break };
                let Some(last) = lying.iter().rposition(|lying| lying.mark == 0) else { break };
                let frame = lying.remove(last).frame;
                self.world.model.give_back(model::serial(&frame), user);
                self.call(|exchange, io| exchange.give_back(link, &frame, io));
            }
        }
        if removed {
            self.world.desk.removed.insert(link);
        }
        self.world.desk.links.remove(&link);
        self.world.model.ended(link);
        self.call(|exchange, io| exchange.disconnect(link, io));
    }

    pub(super) fn verify(&mut self, token: Token, right: bool) {
        let model = &mut self.world.model;
        let asked = model.clients.iter().find(|(_, client)| client.question == Some(token));
        let asked = asked.map(|(link, client)| (*link, client.dialect));
        for client in model.clients.values_mut() {
            client.question = client.question.filter(|open| *open != token);
        }
        model.lanes_verified(token);
        self.world.answered.push(token);
        self.world.model.verified = right;
        let reply = match self.world.desk.prepares.remove(&token) {
            true => Reply::Prepared(right),
            false => Reply::Verified(right),
        };
        let link = self.call(|exchange, io| exchange.answer_question(token, reply, io));
        if let Some((link, Dialect::Queues)) = asked {
            self.queues_logged_in(link);
        }
        if let Ok(link) = link {
            self.feed(link, usize::MAX);
        }
    }

    /// Time passes: each timer when it is due, or all at once.
    pub(super) fn wait(&mut self, milliseconds: u64, at_once: bool) {
        // A host is never so late that what came together is not together any more.
        let at_once = at_once && self.world.model.arrivals.is_empty();
        if milliseconds > 10_000 {
            for token in self.world.model.questions() {
                self.verify(token, false);
            }
        }
        let end = self.world.now + milliseconds;
        while let Some(due) = self.exchange.poll_timeout().filter(|due| *due <= end && !at_once) {
            self.world.now = self.world.now.max(due);
            self.world.model.elapse(self.world.now);
            self.call(|exchange, io| exchange.handle_timeout(io));
        }
        self.world.now = end;
        self.world.model.elapse(end);
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
