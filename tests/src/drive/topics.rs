//! Clients of `topics`.

use centrala_core::dialect::{Dialect, topics};
use centrala_core::exchange::Link;
use centrala_core::request::Target;

use super::host::Place;
use super::model::{Model, Seen};
use super::{Life, pick};

impl Life<'_, '_> {
    pub(super) fn log_in(&mut self, key: i32, name: &str) {
        if self.world.desk.endpoint(Dialect::Topics).is_none() {
            return;
        }
        let known = self.exchange.find_user(Target::UserName(name.as_bytes()));
        let claim = known.map_or(name.as_bytes(), |user| user.name).to_vec();
        self.world.model.claim = Some(claim);
        let before = self.world.model.questions().len();
        let lying = self.lying(key);
        self.receive_request(&request(topics::request::LOG_IN, key, 0, 0, name.as_bytes()));
        let answers = self.lying(key) - lying;
        let asked = self.world.model.questions().len() > before;
        assert_eq!(answers, usize::from(!asked), "a log-in is answered once");
    }

    /// Answers at the endpoint that a client has not fetched.
    pub(super) fn lying(&self, key: i32) -> usize {
        self.world.desk.count(Place::Endpoint(Dialect::Topics as u8, key.into()))
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
        self.receive_at(Dialect::Topics, bytes);
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
        results[0].0
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
}

/// A request of `topics`.
pub(super) fn request(kind: i64, id: i32, topic: i32, number: i32, field: &[u8]) -> Vec<u8> {
    let mut out = vec![0; topics::REQUEST_SIZE];
    let request = topics::ClientMessage { kind, id, topic, number, field };
    let len = request.emit(&mut out).expect("it fits");
    out.truncate(len);
    out
}

impl Model {
    /// An answer of `topics`.
    pub(super) fn topics_answered(&mut self, link: Link, frame: &[u8]) {
        // At the endpoint it is of a log-in, whose client looks for it there.
        let Some(client) = self.clients.get_mut(&link) else { return };
        let message = topics::ServerMessage::new_checked(frame).expect("an answer");
        match message.kind {
            topics::kind::LIST if message.text.is_empty() => {
                client.lists = client.lists.checked_sub(1).expect("a list nobody asked for");
            }
            topics::kind::LIST => assert_ne!(client.lists, 0, "a line of no list"),
            topics::kind::RESULT => client.results.push((message.info, Vec::new())),
            topics::kind::ENDED => {
                let number: u32 = String::from_utf8_lossy(message.text)
                    .split('.')
                    .next()
                    .and_then(|number| number.parse().ok())
                    .expect("the number of a topic");
                let due = self.endings.iter().position(|due| *due == (link, number + 1));
                self.endings.remove(due.expect("an end without a last message"));
            }
            other => panic!("an answer of type {other}"),
        }
    }
}

/// A delivery of `topics`.
pub(super) fn seen(frame: &[u8]) -> Seen {
    let message = topics::ServerMessage::new_checked(frame).expect("whole");
    assert!(message.kind >= topics::kind::TOPIC, "not a delivery");
    let direct = message.kind >= topics::kind::DIRECT;
    let former = direct && message.text.starts_with(b"#0: ");
    let dm = direct && !former;
    let group = (!direct).then(|| (message.kind - topics::kind::TOPIC) as u32 + 1);
    Seen { text: message.text.to_vec(), dm, former, group, ..Seen::default() }
}
