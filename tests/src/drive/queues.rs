//! Clients of `queues`: each has a queue of its own, and is known by its key.

use centrala_core::dialect::Dialect;
use centrala_core::dialect::queues::{self, Message, kind};
use centrala_core::exchange::{Exchange, Link};
use centrala_core::request::Target;

use super::host::Place;
use super::model::{self, Model, Seen};
use super::{Life, NAMES, pick};

/// The second half of a request is waited for so long before the first one is answered.
const HALF: u64 = 100;
/// A request left half done lapses so long after that.
const LAPSE: u64 = 60_000;

impl Life<'_, '_> {
    fn queues_request(&mut self, kind: i64, address: i32, text: &[u8]) {
        let mut bytes = vec![0; queues::SIZE];
        let message = Message { kind, text, address, time: 1 };
        message.emit(&mut bytes).expect("it fits");
        self.receive_at(Dialect::Queues, &bytes);
    }

    /// A client that is logged in: its link, its user and its key.
    pub(super) fn queues_client(&mut self, which: u8) -> Option<(Link, u32, i32)> {
        let clients = &self.world.model.clients;
        let links = self.of(Dialect::Queues);
        let bound: Vec<_> = links.into_iter().filter(|link| clients[link].user != 0).collect();
        let link = pick(&bound, which)?;
        let Some(Place::Queue(key)) = self.world.desk.places.get(&link) else {
            panic!("{link:?} has no queue");
        };
        Some((link, clients[&link].user, *key as i32))
    }

    /// One message of a log-in from a key: a name, a password, or both.
    pub(super) fn queues_log_in(&mut self, key: i32, who: u8, both: bool, password: bool) {
        let Some(name) = pick(&NAMES, who) else { return };
        let place = Place::Queue(key.into());
        let links = &self.world.desk.places;
        let link = self.world.links.iter().find(|link| {
            links.get(link) == Some(&place) && self.world.model.clients.contains_key(link)
        });
        let link = link.copied();
        let client = link.map(|link| self.world.model.clients[&link].clone());
        let password: &[u8] = if password { b"secret" } else { b"" };
        let named = client.as_ref().is_some_and(|client| client.claim.is_some());
        let known = self.exchange.find_user(Target::UserName(name.as_bytes()));
        let claim = known.map_or(name.as_bytes(), |user| user.name).to_vec();
        let (now, user) = (self.world.now, known.map(|user| user.number));
        let foreign = client.as_ref().is_some_and(|client| {
            client.dialect != Dialect::Queues || client.user != 0 || client.question.is_some()
        });
        let mut text = name.as_bytes().to_vec();
        if named && !foreign {
            text = password.to_vec();
        } else if both {
            text.push(b'/');
            text.extend_from_slice(password);
        }
        if foreign || self.is_endpoint(key) {
            let before = self.world.log.len();
            self.queues_request(kind::LOG_IN, key, &text);
            let since = self.world.log[before..].iter().filter_map(|line| line.event());
            return assert_eq!(since.count(), 0, "an answer to a key that is not free");
        }
        let expected = self.name_is_right(user);
        let small = (1..=self.exchange.limits().users).contains(&(key as u32));
        if let Some(link) = link {
            let client = self.client(link);
            (client.since, client.both) = (now, both && !named);
            if !named {
                client.claim = Some(claim.clone());
            }
        }
        self.world.model.claim = Some(claim);
        self.world.model.feeding = link;
        let (sessions, all) = (self.exchange.usage().sessions, self.exchange.capacity().sessions);
        let asked = self.world.model.questions().len();
        self.queues_request(kind::LOG_IN, key, &text);
        let opened = self.world.links.iter().rev().find(|link| {
            self.world.desk.places.get(link) == Some(&place)
                && self.world.model.clients.contains_key(link)
        });
        let Some(link) = link.or(opened.copied()) else {
            let turned = &self.world.model.turned_away;
            let answered = turned.iter().any(|(at, frame)| {
                let text = Message::new_checked(frame).map(|message| message.text.to_vec());
                *at == i64::from(key) && text.as_deref() == Some(queues::WRONG)
            });
            let missing = self.world.desk.queue.is_none();
            return match sessions == all {
                true => assert!(answered, "nobody told {key} that there is no room"),
                false => assert!(missing && !answered, "{key} was not opened"),
            };
        };
        let client = self.client(link);
        if client.since != now || (both && !named) {
            client.both = both && !named;
        }
        if client.user != 0 || self.world.model.questions().len() > asked {
            assert!(!small, "logged in with a key that is a user's number");
            return self.queues_logged_in(link);
        }
        let results = std::mem::take(&mut self.client(link).results);
        let texts: Vec<&[u8]> = results.iter().map(|(_, text)| text.as_slice()).collect();
        if !named && !both {
            let right = if expected && !small { queues::RIGHT } else { queues::WRONG };
            assert_eq!(texts, [right], "the answer to a name");
            if right == queues::WRONG {
                self.client(link).claim = None;
            }
            return;
        }
        self.client(link).results = results;
        self.queues_logged_in(link);
    }

    /// Whether the first step of a log-in is right: of a user who is there, or may be made.
    fn name_is_right(&self, user: Option<u32>) -> bool {
        let capacity = self.exchange.capacity();
        match user {
            Some(user) => !self.has_session(user, Dialect::Queues),
            None => !self.closed() && self.exchange.usage().users < capacity.users,
        }
    }

    /// Whether a user has a session in a dialect whose client is not known to be gone.
    pub(super) fn has_session(&self, user: u32, dialect: Dialect) -> bool {
        self.world.model.clients.iter().any(|(link, client)| {
            (client.user, client.dialect) == (user, dialect) && !self.world.desk.gone.contains(link)
        })
    }

    /// The last step of a log-in was answered, or is a question still.
    pub(super) fn queues_logged_in(&mut self, link: Link) {
        let now = self.world.now;
        let Some(client) = self.world.model.clients.get_mut(&link) else { return };
        let results = std::mem::take(&mut client.results);
        let texts: Vec<&[u8]> = results.iter().map(|(_, text)| text.as_slice()).collect();
        if client.question.is_some() {
            return assert!(texts.is_empty(), "an answer before it is known");
        }
        if client.user != 0 {
            let index = client.user.to_string();
            let right: &[&[u8]] = &[queues::RIGHT, queues::RIGHT, index.as_bytes()];
            return assert_eq!(texts, right[usize::from(!client.both)..], "the answer to a log-in");
        }
        client.since = now;
        match texts.as_slice() {
            // The same step once more: a name again.
            [one] if client.both && *one == queues::WRONG => client.claim = None,
            // A password again.
            [one] if !client.both && *one == queues::WRONG => {}
            [one, two] if client.both && (*one, *two) == (queues::RIGHT, queues::WRONG) => {}
            other => panic!("the answer to a log-in: {other:?}"),
        }
    }

    /// Any request but a log-in: what was left half done lapses, and is answered first.
    fn interrupt(&mut self, link: Link, kind: i64) {
        let client = self.client(link);
        client.results.clear();
        if let Some((half, _, elapsed)) = client.half.filter(|(half, ..)| *half != kind) {
            client.half = None;
            if elapsed.is_none() {
                client.due.push(half);
            }
        }
    }

    /// Who is logged in, who is in a group, or the end of a session.
    pub(super) fn queues_ask(&mut self, link: u8, what: u8, group: u8) {
        let Some((link, user, key)) = self.queues_client(link) else { return };
        let own = user.to_string();
        let group = u32::from(group % 6);
        match what % 4 {
            0 => {
                self.queues_request(kind::LOG_OUT, key, b"9");
                assert!(self.world.model.clients.contains_key(&link), "another's index");
                self.interrupt(link, kind::LOG_OUT);
                self.queues_request(kind::LOG_OUT, key, own.as_bytes());
                assert!(!self.world.model.clients.contains_key(&link), "logged out");
            }
            1 => {
                self.interrupt(link, kind::ONLINE);
                self.client(link).due.push(kind::ONLINE);
                self.queues_request(kind::ONLINE, key, own.as_bytes());
                let online = |user: &u32| self.is_online(*user);
                let lines = self.lines(self.users().into_iter().filter(online));
                self.shown(link, kind::ONLINE, &lines);
            }
            _ => {
                self.interrupt(link, kind::MEMBERS);
                let known = self.exchange.find_group(Target::Group(group)).is_some();
                self.client(link).due.push(kind::MEMBERS);
                self.queues_request(kind::MEMBERS, key, group.to_string().as_bytes());
                let members = self.world.model.members.keys().filter(|(_, of)| *of == group);
                let members: Vec<u32> = members.map(|(user, _)| *user).collect();
                let lines = self.lines(members.into_iter().filter(|_| known));
                self.shown(link, kind::MEMBERS, &lines);
            }
        }
    }

    fn lines(&self, users: impl Iterator<Item = u32>) -> Vec<u8> {
        let mut lines = Vec::new();
        for user in users {
            let name = self.exchange.find_user(Target::User(user)).expect("a user").name;
            lines.extend(format!("{user} ").into_bytes());
            lines.extend_from_slice(name);
            lines.push(b'\n');
        }
        lines
    }

    /// What a list says that came at once.
    fn shown(&mut self, link: Link, kind: i64, want: &[u8]) {
        let client = self.client(link);
        if client.due.is_empty() {
            let last = client.results.last().expect("it is not due any more");
            assert_eq!((i64::from(last.0), last.1.as_slice()), (kind, want));
        }
        client.results.clear();
    }

    /// Joins or leaves a group: one half of the request, or both.
    pub(super) fn queues_half(&mut self, link: u8, join: bool, group: u8, how: u8) {
        let Some((link, user, key)) = self.queues_client(link) else { return };
        let kind = if join { kind::JOIN } else { kind::LEAVE };
        let group = u32::from(group % 6);
        self.interrupt(link, kind);
        let now = self.world.now;
        let client = self.client(link);
        let (text, effect) = match (client.half.take(), how % 4) {
            (Some((_, _, elapsed)), _) => {
                if elapsed.is_none() {
                    client.due.push(kind);
                }
                (group.to_string(), true)
            }
            (None, 0 | 1) => {
                client.half = Some((kind, now, None));
                (user.to_string(), false)
            }
            (None, 2) => {
                client.due.push(kind);
                (format!("{user}/{group}"), true)
            }
            (None, _) => {
                client.due.push(kind);
                let foreign = user + 1;
                let text = if group < 3 { format!("{foreign}/1") } else { foreign.to_string() };
                (text, false)
            }
        };
        let answered = client.due.len();
        if effect {
            self.member(user, group, join);
        }
        self.queues_request(kind, key, text.as_bytes());
        let client = self.client(link);
        if answered == 1 && client.due.is_empty() {
            let flags = client.results.last().expect("it is not due any more").1.clone();
            let flags: Vec<&[u8]> = flags.split(|byte| *byte == b' ').collect();
            for (i, flag) in flags.into_iter().filter(|flag| !flag.is_empty()).enumerate() {
                let member = self.world.model.members.contains_key(&(user, i as u32 + 1));
                assert_eq!(flag, if member { b"1" } else { b"0" }, "group {}", i + 1);
            }
        }
        self.client(link).results.clear();
    }

    /// A message to a user or to a group, in one of the forms it may have.
    pub(super) fn queues_send(&mut self, link: u8, group: bool, to: u8, form: u8, more: u8) {
        let Some((link, user, key)) = self.queues_client(link) else { return };
        let serial = self.world.model.reserve();
        let text = model::text(serial, usize::from(more % 80));
        let fits = text.len() <= super::MESSAGE_LENGTH;
        let number = if group { u32::from(to % 6) } else { self.user(to).unwrap_or(4) };
        let now = self.world.now;
        let (mut from, mut sent) = (user, text.clone());
        let mut to = if group { Target::Group(number) } else { Target::User(number) };
        let (kind, address) = match (group, form % 4) {
            (false, 0 | 1) => (user.into(), number as i32),
            (false, _) => (number.into(), key),
            // It does not say who sends it.
            (true, 0) => {
                from = 0;
                (kind::GROUP, number as i32)
            }
            (true, 1) => {
                // Content without a number goes to every group of the sender.
                let groups = self.world.model.members.keys().filter(|(of, _)| *of == user);
                match groups.map(|(_, group)| *group).collect::<Vec<_>>().as_slice() {
                    [] => return,
                    [one] => to = Target::Group(*one),
                    // The same text would come more than once.
                    _ => return,
                }
                (kind::GROUP, key)
            }
            (true, _) => {
                sent = [format!("{number}/").as_bytes(), text.as_slice()].concat();
                (kind::GROUP, key)
            }
        };
        if from != 0 {
            self.interrupt(link, kind);
        }
        if fits {
            let serial = self.world.model.accept(&self.exchange, from, to, (&text, 3), now);
            // The dialect has no word for what is not kept: it is taken, or counted.
            self.world.model.promise(serial);
        }
        self.queues_request(kind, address, &sent);
        // What was left half done before is answered; the message is not.
        if let Some(client) = self.world.model.clients.get(&link) {
            let kinds: Vec<i32> = client.results.iter().map(|(kind, _)| *kind).collect();
            assert!(!kinds.contains(&(kind::LOG_IN as i32)), "an answer to a message");
        }
    }
}

impl Model {
    /// An answer of `queues`.
    pub(super) fn queues_answered(&mut self, link: Link, frame: &[u8]) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        let message = Message::new_checked(frame).expect("an answer");
        let kind = message.kind;
        if kind != kind::LOG_IN {
            assert!(!client.due.is_empty(), "an answer of type {kind} that nobody waits for");
            assert_eq!(client.due.remove(0), kind, "answers in the order of their requests");
        }
        client.results.push((kind as i32, message.text.to_vec()));
    }

    /// Time has come to this: halves of requests are answered, or lapse.
    pub(super) fn elapse(&mut self, now: u64) {
        for client in self.clients.values_mut() {
            match &mut client.half {
                Some((kind, since, elapsed @ None)) if *since + HALF <= now => {
                    client.due.push(*kind);
                    *elapsed = Some(now);
                }
                Some((_, _, Some(elapsed))) if *elapsed + LAPSE <= now => client.half = None,
                _ => {}
            }
        }
        self.passwords_overdue(now);
    }
}

/// A delivery of `queues`.
pub(super) fn seen(exchange: &Exchange<'_>, user: u32, key: i64, frame: &[u8]) -> Seen {
    assert_eq!(frame.len(), queues::SIZE);
    let message = Message::new_checked(frame).expect("whole");
    let mut seen = Seen {
        text: message.text.to_vec(),
        dm: message.kind != kind::GROUP,
        unsure: message.kind == kind::GROUP && message.address == 0,
        time: Some(message.time as u64),
        ..Seen::default()
    };
    if !seen.dm {
        seen.group = Some(message.address as u32);
    } else {
        assert_eq!(i64::from(message.address), key, "addressed to another than {user}");
        let from = exchange.find_user(Target::User(message.kind as u32));
        seen.sender = Some(from.map_or(&b""[..], |from| from.name).to_vec());
    }
    seen
}
