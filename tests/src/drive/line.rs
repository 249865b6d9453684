//! Clients of `native`, and what the model makes of what they get.

use centrala_core::dialect::Dialect;
use centrala_core::dialect::native::{self, Event, How, Refusal, Request, To, VERSION, Who};
use centrala_core::exchange::{Exchange, Gone, Link};
use centrala_core::host::Room;
use centrala_core::request::Target;

use super::model::{Client, Model, Seen};
use super::{Life, NAMES, model, pick, room};

/// Requests below this id are no messages: their answers are not looked at.
const OTHERS: u32 = 1_000;

impl Life<'_, '_> {
    pub(super) fn connect_line(&mut self, messages: u8) {
        let now = self.world.now;
        let room = Room::of(room(messages));
        let Ok(link) = self.exchange.connect(Dialect::Native, room, now) else {
            let (usage, capacity) = (self.exchange.usage(), self.exchange.capacity());
            return assert_eq!(usage.sessions, capacity.sessions);
        };
        self.world.desk.links.insert(link, (Dialect::Native, room));
        self.world.model.clients.insert(link, Client::new(Dialect::Native, now));
        self.world.links.push(link);
    }

    /// Gives one request; `None` if it waits for a question to be answered.
    fn request_line(&mut self, link: Link, id: u32, request: &Request<'_>) -> Option<()> {
        let mut bytes = [0; 512];
        let len = request.encode(id, &mut bytes).expect("it fits");
        let asked = self.client(link).question.is_some();
        self.world.model.feeding = Some(link);
        let used = self.call(|exchange, io| exchange.receive(link, &bytes[..len], io));
        match used {
            Err(Gone) => assert_eq!(*request, Request::LogOut, "{link:?} closed"),
            Ok(0) => {
                // A list that has no room yet holds up what is behind it, too.
                let lists = self.client(link).lists != 0;
                assert!(asked || lists, "{request:?} was not used");
                return None;
            }
            Ok(used) => assert_eq!(used, len),
        }
        Some(())
    }

    pub(super) fn greet(&mut self, link: u8, who: u8, password: bool) {
        let Some(link) = pick(&self.of(Dialect::Native), link) else { return };
        let Some(name) = pick(&NAMES, who) else { return };
        let client = self.client(link);
        if client.question.is_some() || client.lists != 0 {
            return;
        }
        let known = self.exchange.find_user(Target::UserName(name.as_bytes()));
        let claim = known.map_or(name.as_bytes(), |user| user.name).to_vec();
        // A new user brings a password along as a question of another kind.
        let password: &[u8] = if password && known.is_some() { b"secret" } else { b"" };
        let now = self.world.now;
        let model = &mut self.world.model;
        if self.exchange.user_of(link).is_some() {
            // Whatever was said before is over; mail that was not acknowledged comes again.
            model.comes_again(link);
            model.ended(link);
            model.clients.insert(link, Client::new(Dialect::Native, now));
            self.world.desk.marks.remove(&link);
        }
        self.client(link).claim = Some(claim);
        let user = Who::Name(name.as_bytes());
        self.request_line(link, 1, &Request::Hello { version: VERSION, user, password });
    }

    pub(super) fn say(&mut self, link: u8, group: bool, to: u8, receipt: bool, more: u8) {
        let Some(link) = pick(&self.of(Dialect::Native), link) else { return };
        let Client { user, question, lists, .. } = *self.client(link);
        if question.is_some() || lists != 0 {
            return;
        }
        let number = if group { self.group(to) } else { self.user(to) }.unwrap_or(99);
        let (to, target) = match group {
            true => (To::Group(Who::Number(number)), Target::Group(number)),
            false => (To::User(Who::Number(number)), Target::User(number)),
        };
        let (now, model) = (self.world.now, &mut self.world.model);
        let (id, serial) = (model.next_id(), model.reserve());
        let text = model::text(serial, usize::from(more % 80));
        let priority = more % 7;
        let fits = text.len() <= super::MESSAGE_LENGTH;
        if user != 0 {
            let counted = if (1..=5).contains(&priority) { priority } else { 3 };
            let serial = match fits {
                true => model.accept(&self.exchange, user, target, (&text, counted), now),
                false => None,
            };
            model.owe(link, id, serial, now);
        }
        self.request_line(link, id, &Request::Send { to, priority, receipt, text: &text });
        let model = &mut self.world.model;
        if model.messages.get(&serial).is_some_and(|message| message.copies.is_empty()) {
            model.forget(serial);
        }
    }

    /// A client acknowledges its mail up to a mark.
    pub(super) fn acknowledge(&mut self, link: Link, mark: u32) {
        self.request_line(link, 0, &Request::Ack { mark });
    }

    pub(super) fn raw_line(&mut self, link: u8, bytes: &[u8]) {
        let Some(link) = pick(&self.of(Dialect::Native), link) else { return };
        let client = self.client(link);
        if client.question.is_some() || client.lists != 0 {
            return;
        }
        // What is a request of those that have operations of their own is not for here.
        let own = match bytes {
            [first, ..] => matches!(first, 0 | 2..=6 | 10 | 11),
            [] => true,
        };
        if own {
            return;
        }
        let mut frame = (bytes.len() as u16 + 1).to_le_bytes().to_vec();
        frame.push(9);
        frame.extend_from_slice(bytes);
        if let Ok((_, Request::List(_))) = Request::decode(&frame[native::HEADER..]) {
            self.client(link).lists += 1;
        }
        self.world.model.feeding = Some(link);
        let used = self.call(|exchange, io| exchange.receive(link, &frame, io));
        match used {
            Ok(used) => assert_eq!(used, frame.len()),
            Err(Gone) => assert_eq!(bytes, [1], "{link:?} closed"),
        }
    }
}

impl Model {
    /// An answer of `native`.
    pub(super) fn native_answered(&mut self, exchange: &Exchange<'_>, link: Link, frame: &[u8]) {
        let (payload, used) = native::look(frame).expect("a frame");
        assert_eq!(used, frame.len());
        let Some(client) = self.clients.get_mut(&link) else { return };
        let (id, answer) = match Event::decode(payload).expect("an event") {
            Event::Welcome { user, .. } => {
                let bound = exchange.user_of(link).map(|user| user.number);
                return assert!(bound.is_none_or(|bound| bound == user.number));
            }
            Event::Done { id, how, .. } => (id, Ok(how)),
            Event::Refused { id, why } => (id, Err(why)),
            Event::Ended { group } => {
                let (user, number) = (client.user, group.number);
                match self.endings.iter().position(|due| *due == (link, number)) {
                    Some(due) => drop(self.endings.remove(due)),
                    // The last message waited for this session, while another one of its user
                    // gave it back.
                    None => assert!(self.came_back(user, number), "an end without a last message"),
                }
                return;
            }
            Event::Row { .. } => return assert_ne!(client.lists, 0, "a row of no list"),
            other => panic!("nobody asked for {other:?}"),
        };
        if id < OTHERS {
            client.lists = client.lists.saturating_sub(u32::from(id == 9));
            return;
        }
        let Some(at) = client.owed.iter().position(|owed| owed.id == id) else {
            assert_eq!(answer, Err(Refusal::NotLoggedIn), "nobody waits for {id}");
            return;
        };
        let serial = client.owed.remove(at).serial;
        let Some(message) = serial.and_then(|serial| self.messages.get_mut(&serial)) else {
            return assert!(answer.is_err(), "{id}: {answer:?}");
        };
        let dm = message.group == 0;
        match answer {
            Ok(How::Received) => {
                assert!(message.copies.values().all(|copy| copy.taken), "{serial:?} is not there");
                message.promised = true;
            }
            Ok(How::Stored) => {
                assert!(dm, "a group has no mail");
                message.promised = true;
            }
            Ok(How::Done) => message.promised = true,
            Err(Refusal::Full { .. }) => {
                assert!(self.lost.values().any(|lost| *lost != 0), "full for nothing");
                match (dm, serial) {
                    (true, Some(serial)) => drop(self.messages.remove(&serial)),
                    _ => message.promised = true,
                }
            }
            Err(Refusal::NoSuchUser) => {
                let user = message.copies.keys().next().copied();
                let there = user.and_then(|user| exchange.find_user(Target::User(user)));
                assert!(there.is_none() && dm, "no such user for {serial:?}");
            }
            Err(Refusal::NoSuchGroup) => assert!(message.copies.is_empty(), "there is a group"),
            Err(other) => panic!("an answer {other:?}"),
        }
    }
}

/// A delivery of `native`.
pub(super) fn seen(frame: &[u8], mark: u32) -> Seen {
    let (payload, used) = native::look(frame).expect("a frame");
    assert_eq!(used, frame.len());
    let Ok(Event::Message(message)) = Event::decode(payload) else {
        panic!("not a message: {frame:?}");
    };
    assert_eq!(message.mark, mark);
    Seen {
        text: message.text.to_vec(),
        dm: message.group.is_none(),
        former: message.group.is_some_and(|group| group.number == 0),
        sender: Some(message.from.name.to_vec()),
        group: Some(message.group.map_or(0, |group| group.number)),
        ..Seen::default()
    }
}
