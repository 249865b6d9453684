//! What clients, their transports and time do, and how it all ends.

use centrala_core::dialect::{Dialect, direct, topics};
use centrala_core::exchange::{Link, Token};
use centrala_core::host::{Reply, Room};
use centrala_core::request::Target;

use super::{GROUPS, Life, MESSAGE_LENGTH, NAMES, Op, host, model, pick};

/// Room for anything.
const LOTS: Room = Room::of(1 << 20);

impl Life<'_, '_> {
    /// How a user writes its name in `direct`.
    pub(super) fn field(&self, name: &str) -> [u8; 8] {
        let number = self.exchange.find_user(Target::UserName(name.as_bytes()));
        direct::name_field(name.as_bytes(), number.map_or(0, |user| user.number), false)
    }

    /// Puts a frame behind what a link already has to say.
    pub(super) fn write(
        &mut self,
        link: Link,
        kind: u16,
        id: u32,
        src: &[u8; 8],
        dst: &[u8; 8],
        text: &[u8],
    ) {
        let frame = direct::Frame { kind, id, src, dst, text };
        let mut bytes = vec![0; frame.emitted_len()];
        frame.emit(&mut bytes).expect("it fits");
        self.client(link).buffer.extend(bytes);
    }

    pub(super) fn send(&mut self, link: Link, group: bool, to: u8, offline: bool, more: u8) {
        let user = self.client(link).user;
        let Some(from) = self.exchange.find_user(Target::User(user)) else { return };
        let src = direct::name_field(from.name, from.number, false);
        let dst = match group {
            true => {
                let Some(name) = pick(&GROUPS, to) else { return };
                let number = self.group(to).unwrap_or(9);
                direct::name_field(name.as_bytes(), number, true)
            }
            false => self.field(pick(&NAMES, to).unwrap_or("ann")),
        };
        let serial = self.world.model.reserve();
        let text = model::text(serial, usize::from(more % 80));
        let kind = if offline { direct::OFFLINE } else { direct::MESSAGE };
        let id = self.world.model.next_id();
        self.write(link, kind, id, &src, &dst, &text);
    }

    /// Gives a link's bytes to the exchange, as many calls as it takes.
    pub(super) fn feed(&mut self, link: Link, len: usize) {
        let waiting = |life: &Self| life.world.model.clients.get(&link).map(|c| c.buffer.len());
        let mut before = None;
        while waiting(self).is_some() && waiting(self) != before {
            before = waiting(self);
            self.give(link, len);
            if len != usize::MAX {
                return;
            }
        }
    }

    /// Gives a link's bytes to the exchange once, and tells the model what they say.
    fn give(&mut self, link: Link, len: usize) {
        let now = self.world.now;
        let model = &mut self.world.model;
        let Some(client) = model.clients.get_mut(&link) else { return };
        let bound = client.user;
        if client.question.is_some() {
            let bytes = client.buffer.clone();
            let used = self.call(|exchange, io| exchange.receive(link, &bytes, io));
            return assert_eq!(used, Ok(0), "a question is open");
        }
        let mut bytes = client.buffer[..client.buffer.len().min(len)].to_vec();
        let (mut at, mut accepted, mut closes) = (client.skip.min(bytes.len()), Vec::new(), false);
        let (mut skip, begin, mut alone) = (client.skip - at, at, false);
        while at < bytes.len() && !closes {
            let rest = &bytes[at..];
            let frame = match direct::Frame::look(rest) {
                direct::Look::Malformed => {
                    closes = true;
                    break;
                }
                direct::Look::Partial => {
                    let Some(header) = rest.first_chunk::<24>() else { break };
                    let text = usize::from(u16::from_be_bytes([header[0], header[1]])) - 24;
                    if text <= MESSAGE_LENGTH {
                        break;
                    }
                    let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                    model.owe(link, id, None, now);
                    skip = text - (rest.len() - 24);
                    at = bytes.len();
                    break;
                }
                // A message to a group comes alone, so that it is clear whose copies are not kept.
                direct::Look::Frame(frame, _)
                    if at > begin && (alone || frame.dst.first() == Some(&b'#')) =>
                {
                    bytes.truncate(at);
                    break;
                }
                direct::Look::Frame(frame, len) => {
                    alone |= frame.dst.first() == Some(&b'#');
                    at += len;
                    frame
                }
            };
            if frame.text.len() > MESSAGE_LENGTH {
                model.owe(link, frame.id, None, now);
                continue;
            }
            let text = frame.text.split(|byte| *byte == 0).next().unwrap_or(&[]);
            let response = frame.kind == direct::RESPONSE;
            if frame.source().is_empty() || frame.kind > direct::OFFLINE {
                closes = true;
            } else if response && !frame.destination().is_empty() && text != direct::code::TAKEN {
                continue;
            } else if bound == 0 {
                // One frame at a time until somebody is logged in: what follows depends on it.
                let claimed = self.exchange.find_user(direct::user(frame.source()));
                let claim = claimed.map_or(frame.source(), |user| user.name).to_vec();
                if let Some(client) = model.clients.get_mut(&link) {
                    client.claim = Some(claim);
                }
                if !response {
                    model.owe(link, frame.id, None, now);
                }
                bytes.truncate(at);
                break;
            } else if self
                .exchange
                .find_user(direct::user(frame.source()))
                .is_none_or(|user| user.number != bound)
            {
                closes = true;
            } else if response {
                let from = self.exchange.find_user(direct::user(frame.destination()));
                if let Some(from) = from.filter(|_| !frame.destination().is_empty()) {
                    model.receipt(link, from.number, frame.id);
                }
            } else {
                let (to, parts) = (direct::target(frame.destination()), (frame.text, 3));
                let serial = model.accept(&self.exchange, bound, to, parts, now);
                model.owe(link, frame.id, serial, now);
                accepted.extend(serial);
            }
        }
        model.feeding = Some(link);
        let used = self.call(|exchange, io| exchange.receive(link, &bytes, io));
        match used {
            Ok(used) => {
                assert!(!closes, "{link:?} is still open after {bytes:?}");
                assert_eq!(used, at, "bytes used");
                let client = self.client(link);
                client.buffer.drain(..used);
                client.skip = skip;
            }
            Err(_) => assert!(closes || bound == 0, "{link:?} closed because of {bytes:?}"),
        }
        // What was refused never was: nobody is to get it.
        for serial in accepted {
            let nobody = |message: &model::Message| message.copies.is_empty();
            if self.world.model.messages.get(&serial).is_some_and(nobody) {
                self.world.model.forget(serial);
            }
        }
    }

    /// A `direct` client answers for a message it was sent.
    pub(super) fn answer(&mut self, link: u8, which: u8) {
        let Some(link) = pick(&self.of(Dialect::Direct), link) else { return };
        let waiting = self.client(link).unanswered.clone();
        let Some(index) = pick(&(0..waiting.len()).collect::<Vec<_>>(), which) else { return };
        let user = self.client(link).user;
        let Some(me) = self.exchange.find_user(Target::User(user)) else { return };
        let src = direct::name_field(me.name, me.number, false);
        let (id, dst) = (waiting[index].id, waiting[index].src);
        self.write(link, direct::RESPONSE, id, &src, &dst, direct::code::TAKEN);
        self.feed(link, usize::MAX);
    }

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

    pub(super) fn log_in(&mut self, key: i32, name: &str) {
        let known = self.exchange.find_user(Target::UserName(name.as_bytes()));
        let claim = known.map_or(name.as_bytes(), |user| user.name).to_vec();
        self.world.model.claim = Some(claim);
        let before = self.exchange.usage().questions;
        let lying = self.lying(key);
        self.receive_request(&request(topics::request::LOG_IN, key, 0, 0, name.as_bytes()));
        let answers = self.lying(key) - lying;
        let asked = self.exchange.usage().questions > before;
        assert_eq!(answers, usize::from(!asked), "a log-in is answered once");
    }

    /// Answers at the endpoint that a client has not fetched.
    pub(super) fn lying(&self, key: i32) -> usize {
        self.world.desk.unfetched.get(&i64::from(key)).map_or(0, Vec::len)
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

    pub(super) fn topics_client(&mut self, which: u8) -> Option<(Link, u32)> {
        let clients = &self.world.model.clients;
        let links = self.of(Dialect::Topics);
        let bound: Vec<_> = links.into_iter().filter(|link| clients[link].user != 0).collect();
        let link = pick(&bound, which)?;
        Some((link, clients[&link].user))
    }

    /// The group of a topic number, and whether this dialect lists it.
    pub(super) fn topic(&self, topic: u8) -> (u32, bool) {
        let group = u32::from(topic % 8) + 1;
        let known = self.exchange.find_group(Target::Group(group)).is_some();
        (group, known && group <= self.exchange.limits().topics.topics)
    }

    /// One message at the endpoint.
    pub(super) fn receive_request(&mut self, bytes: &[u8]) {
        let endpoint = self.world.desk.endpoint.expect("an endpoint");
        let now = self.world.now;
        if let Some(message) = topics::ClientMessage::new_checked(bytes)
            && message.kind == topics::request::PUBLISH
            && let Ok(id) = u32::try_from(message.id)
            && let Some((_, true)) = u8::try_from(message.topic).ok().map(|topic| self.topic(topic))
        {
            let to = Target::Group(message.topic as u32 + 1);
            let priority = if (1..=5).contains(&message.number) { message.number as u8 } else { 3 };
            let parts = (message.text(), priority);
            let serial = self.world.model.accept(&self.exchange, id + 1, to, parts, now);
            // The answer comes at once.
            self.world.model.promise(serial);
        }
        let before = self.world.model.clients.len();
        let used = self.call(|exchange, io| exchange.receive(endpoint, bytes, io));
        assert_eq!(used, Ok(bytes.len()), "one message at a time");
        assert!(self.world.model.clients.len() <= before + 1);
        let known: Vec<Link> = self.world.model.clients.keys().copied().collect();
        for link in known {
            if !self.world.links.contains(&link) {
                self.world.links.push(link);
            }
        }
    }

    /// One request with its one answer.
    pub(super) fn request(
        &mut self,
        link: Link,
        kind: i64,
        topic: i32,
        number: i32,
        field: &[u8],
    ) -> i32 {
        let user = self.client(link).user;
        self.client(link).results.clear();
        self.receive_request(&request(kind, user as i32 - 1, topic, number, field));
        let results = &self.client(link).results;
        assert_eq!(results.len(), 1, "a request is answered once");
        results[0]
    }

    pub(super) fn subscribe(
        &mut self,
        link: Link,
        kind: i64,
        topic: i32,
        count: i32,
        of: (u32, u32),
    ) -> i32 {
        let before = self.world.model.members.get(&of).copied();
        let known = self.exchange.find_group(Target::Group(of.1)).is_some();
        // The audit behind the call must know: as if it goes well, and back if it does not.
        let fits = self.exchange.usage().memberships < self.exchange.capacity().memberships;
        let listed = of.1 <= self.exchange.limits().topics.topics;
        let good = known
            && listed
            && (count > 0 || count == -1)
            && (fits || before.is_some())
            && !self.world.shelf.full;
        if good {
            self.world.model.members.insert(of, count);
        }
        let result = self.request(link, kind, topic, count, b"");
        assert_eq!(result == 0, good, "subscribing to {of:?} for {count}");
        result
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

    /// Everybody reads all there is, and leaves: then nothing is left anywhere.
    pub(super) fn settle(&mut self) {
        self.world.shelf.full = false;
        for token in self.world.model.questions() {
            self.verify(token, false);
        }
        let links = self.world.links.clone();
        for link in &links {
            if self.world.model.clients.contains_key(link) {
                self.make_room(*link, LOTS);
            }
        }
        for client in self.world.model.clients.values() {
            assert_eq!(client.lists, 0, "a list was not ended");
        }
        for link in links {
            self.read_all(link);
        }
        // Whoever is away comes back for its mail.
        let users: Vec<u32> = self.exchange.users().map(|user| user.number).collect();
        for user in users {
            for link in self.world.links.clone() {
                self.disconnect(link, 0);
            }
            self.exchange.set_password(user, false).expect("a user");
            self.world.model.passwords.insert(user, false);
            self.step(Op::Connect { room: 0 });
            let link = *self.world.links.last().expect("the link that was just opened");
            let me = self.exchange.find_user(Target::User(user)).expect("a user");
            let src = direct::name_field(me.name, user, false);
            self.write(link, direct::RESPONSE, 0, &src, &[0; 8], b"");
            self.feed(link, usize::MAX);
            assert_eq!(self.client(link).user, user);
            self.read_all(link);
        }
        for link in self.world.links.clone() {
            self.disconnect(link, 0);
        }
        self.wait(20_000, false);
        let left = self.exchange.usage();
        assert_eq!((left.sessions, left.messages, left.entries, left.questions), (1, 0, 0, 0));
        assert_eq!(self.exchange.poll_timeout(), None);
        let shelf = &self.world.shelf;
        let mut left = shelf.mail.iter().filter(|(key, _)| !shelf.unsettled.contains(key));
        assert_eq!(left.next(), None, "in the store, though all is settled");
        for (serial, message) in &self.world.model.messages {
            for (user, copy) in &message.copies {
                // What could not be settled comes again after a restart.
                let kept = |((_, of), kept): (&(u64, u32), &host::Kept)| {
                    of == user && model::serial(&kept.text) == Some(*serial)
                };
                let has = copy.taken
                    || copy.lost
                    || !message.promised
                    || self.world.shelf.mail.iter().any(kept);
                assert!(has, "m{serial} never arrived: {message:?}");
            }
        }
    }

    /// A client answers for all it was sent, and its transport has taken all mail.
    pub(super) fn read_all(&mut self, link: Link) {
        let direct = self.of(Dialect::Direct);
        if let Some(at) = direct.iter().position(|of| *of == link) {
            while self
                .world
                .model
                .clients
                .get(&link)
                .is_some_and(|client| !client.unanswered.is_empty())
            {
                let before = self.client(link).unanswered.len();
                self.answer(at as u8, 0);
                let after = self.world.model.clients.get(&link).map(|c| c.unanswered.len());
                if after == Some(before) {
                    // Its sender is gone.
                    self.client(link).unanswered.remove(0);
                }
            }
        }
        let marks = self.world.model.clients.get(&link).map_or(0, |c| c.outstanding.len());
        if let (Some(at), true) = (self.world.links.iter().position(|of| *of == link), marks != 0) {
            self.taken(at as u8, (marks - 1) as u8);
        }
    }
}

/// A request of `topics`.
pub(super) fn request(kind: i64, id: i32, topic: i32, number: i32, field: &[u8]) -> Vec<u8> {
    let mut out = vec![0; topics::REQUEST_SIZE];
    let request = topics::ClientMessage { kind, id, topic, number, field };
    let len = request.emit(&mut out).expect("it fits");
    out.truncate(len);
    out
}
