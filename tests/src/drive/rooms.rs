//! Clients of `rooms`: events both ways, conversations that users enter and leave.

use centrala_core::dialect::Dialect;
use centrala_core::exchange::{Exchange, Link};
use centrala_core::host::Room;
use centrala_core::request::Target;
use serde_json::Value;

use super::model::{self, Client, Model, Seen};
use super::{Life, MESSAGE_LENGTH, NAMES, pick, room};

/// A conversation: an advert and a chat about it (`anons_id`, `chat_id`).
pub(super) type Chat = (u32, u32);

/// An event in MessagePack: its name, its numbers, and a text if it has one.
fn packed(name: &str, numbers: &[u32], texts: &[&[u8]]) -> Vec<u8> {
    let text = |text: &[u8], out: &mut Vec<u8>| {
        out.push(0xdb);
        out.extend((text.len() as u32).to_be_bytes());
        out.extend_from_slice(text);
    };
    let mut out = vec![0x90 | (1 + numbers.len() + texts.len()) as u8];
    text(name.as_bytes(), &mut out);
    for number in numbers {
        out.push(0xce);
        out.extend(number.to_be_bytes());
    }
    texts.iter().for_each(|bytes| text(bytes, &mut out));
    out
}

impl Life<'_, '_> {
    pub(super) fn connect_socket(&mut self, messages: u8) {
        let (now, room) = (self.world.now, Room::of(room(messages)));
        let Ok(link) = self.exchange.connect(Dialect::Rooms, room, now) else {
            let (usage, capacity) = (self.exchange.usage(), self.exchange.capacity());
            return assert_eq!(usage.sessions, capacity.sessions);
        };
        self.world.desk.links.insert(link, (Dialect::Rooms, room));
        self.world.model.clients.insert(link, Client::new(Dialect::Rooms, now));
        self.world.links.push(link);
    }

    /// Gives one event; the answers to it, unless a question is open.
    fn event(
        &mut self,
        link: Link,
        name: &str,
        numbers: &[u32],
        texts: &[&[u8]],
    ) -> Option<Vec<Value>> {
        let bytes = packed(name, numbers, texts);
        let asked = self.client(link).question.is_some();
        self.client(link).events.clear();
        self.world.model.feeding = Some(link);
        let used = self.call(|exchange, io| exchange.receive(link, &bytes, io));
        if asked {
            assert_eq!(used, Ok(0), "a question is open");
            return None;
        }
        assert_eq!(used, Ok(bytes.len()), "{name}");
        // One more socket of a user is a link of its own no more.
        let client = self.world.model.clients.get_mut(&link)?;
        Some(std::mem::take(&mut client.events))
    }

    /// One event with its one answer: whether it was good.
    fn answered(&mut self, link: Link, name: &str, chat: Chat, texts: &[&[u8]]) -> Option<bool> {
        let numbers: &[u32] = if name == "new-chat" { &[chat.0] } else { &[chat.0, chat.1] };
        let events = self.event(link, name, numbers, texts)?;
        let [event] = events.as_slice() else { panic!("answers to {name}: {events:?}") };
        assert_eq!(event[0], format!("{name}-response"));
        // -1 in place of the chat: refused.
        let good = event[2] != -1;
        if good {
            assert_eq!((&event[1], &event[2]), (&chat.0.into(), &chat.1.into()), "{event}");
        }
        Some(good)
    }

    pub(super) fn authenticate(&mut self, link: u8, who: u8, password: bool) {
        let Some(link) = pick(&self.of(Dialect::Rooms), link) else { return };
        let Some(name) = pick(&NAMES, who) else { return };
        let known = self.exchange.find_user(Target::UserName(name.as_bytes()));
        let claim = known.map_or(name.as_bytes(), |user| user.name).to_vec();
        let known = known.map(|user| user.number);
        let user = self.client(link).user;
        if user == 0 && self.client(link).question.is_none() {
            self.client(link).claim = Some(claim);
        }
        let texts: &[&[u8]] =
            if password { &[name.as_bytes(), b"secret"] } else { &[name.as_bytes()] };
        let Some(events) = self.event(link, "auth-request", &[], texts) else { return };
        let asks = self.client(link).question.is_some();
        let status: Vec<&Value> = events.iter().map(|event| &event[1]).collect();
        let now = self.client(link).user;
        match (user, now) {
            _ if asks => assert!(events.is_empty(), "{events:?}"),
            (0, 0) => assert_eq!(status, [-1]),
            (0, now) => {
                assert_eq!((status[0], &events[0][2]), (&1.into(), &now.to_string().into()))
            }
            (user, _) => {
                let same = if Some(user) == known { 1 } else { -1 };
                assert_eq!(status, [same], "logged in already");
            }
        }
    }

    fn rooms_client(&mut self, which: u8) -> Option<(Link, u32)> {
        let link = pick(&self.of(Dialect::Rooms), which)?;
        let Client { user, question, .. } = *self.client(link);
        (user != 0 && question.is_none()).then_some((link, user))
    }

    /// Which conversation two numbers mean, among those there may be.
    fn chat(g: u8, k: u8) -> Chat {
        (u32::from(g % 5), u32::from(k % 6))
    }

    fn owner(&self, group: u32) -> Option<u32> {
        self.exchange.owner_of(group).map(|owner| owner.number)
    }

    /// Whether there is such a conversation, and the user may be in it.
    fn may_enter(&self, user: u32, (group, with): Chat) -> bool {
        match (group, with) {
            (0, with) => self.exchange.find_user(Target::User(with)).is_some(),
            (group, 0) => self.exchange.find_group(Target::Group(group)).is_some(),
            chat => {
                let party = user == with || self.owner(group) == Some(user);
                party && self.world.model.chats.contains(&chat)
            }
        }
    }

    pub(super) fn enter(&mut self, link: u8, g: u8, k: u8, leave: bool) {
        let Some((link, user)) = self.rooms_client(link) else { return };
        let chat = Life::chat(g, k);
        let may = self.may_enter(user, chat);
        if leave {
            let entered = chat.0 == 0 || self.world.model.entered(user, chat);
            // Who is told is told that it is gone.
            self.world.model.present.remove(&(user, chat));
            let good = self.answered(link, "leave-chat", chat, &[]);
            return assert_eq!(good, Some(may && entered), "leaving {chat:?}");
        }
        let fits = chat.1 != 0 || chat.0 == 0 || self.joins(user, chat.0);
        if may && fits && chat.0 != 0 {
            self.world.model.present.insert((user, chat));
        }
        let good = self.answered(link, "join-chat", chat, &[]);
        assert_eq!(good, Some(may && fits), "entering {chat:?}");
    }

    /// Entering an advert's room makes a member, if there is a place; who is one stays it.
    fn joins(&mut self, user: u32, group: u32) -> bool {
        self.world.model.members.contains_key(&(user, group)) || self.member(user, group, true)
    }

    pub(super) fn new_chat(&mut self, link: u8, g: u8) {
        let Some((link, user)) = self.rooms_client(link) else { return };
        let group = u32::from(g % 5);
        let (usage, capacity) = (self.exchange.usage(), self.exchange.capacity());
        let owner = self.owner(group);
        let good = owner.is_some_and(|owner| owner != user)
            && !self.world.model.chats.contains(&(group, user))
            && usage.chats < capacity.chats
            && !self.world.shelf.full;
        if good {
            self.world.model.chats.insert((group, user));
            self.world.model.present.insert((user, (group, user)));
        }
        let made = self.answered(link, "new-chat", (group, user), &[]);
        assert_eq!(made, Some(good), "a chat about {group}");
    }

    pub(super) fn create_advert(&mut self, link: u8, name: u8) {
        let Some((link, _)) = self.rooms_client(link) else { return };
        let Some(name) = pick(&super::GROUPS, name) else { return };
        let known = self.exchange.find_group(Target::GroupName(name.as_bytes())).is_some();
        let Some(events) = self.event(link, "create-anons", &[], &[name.as_bytes()]) else {
            return;
        };
        let [event] = events.as_slice() else { panic!("{events:?}") };
        let there = self.exchange.find_group(Target::GroupName(name.as_bytes()));
        match event[1].as_i64() {
            Some(-1) => assert!(known || there.is_none(), "{event}"),
            number => assert_eq!(there.map(|group| group.number.into()), number),
        }
    }

    /// A message to a conversation.
    pub(super) fn talk(&mut self, link: u8, g: u8, k: u8, more: u8) {
        let Some((link, user)) = self.rooms_client(link) else { return };
        let chat = Life::chat(g, k);
        let to = match chat {
            (0, with) => Target::User(with),
            (group, 0) => Target::Group(group),
            (group, with) if with == user => Target::User(self.owner(group).unwrap_or(0)),
            (_, with) => Target::User(with),
        };
        let serial = self.world.model.reserve();
        let text = model::text(serial, usize::from(more % 80));
        let entered = chat.0 == 0 || self.world.model.entered(user, chat);
        let may = self.may_enter(user, chat) && entered && text.len() <= MESSAGE_LENGTH;
        let now = self.world.now;
        if may {
            let serial = self.world.model.accept(&self.exchange, user, to, (&text, 3), now);
            // The answer comes at once.
            self.world.model.promise(serial);
        }
        let events = self.event(link, "chat-msg", &[chat.0, chat.1], &[&text]);
        let mut events = events.expect("no question is open");
        // A direct message is shown to its sender, before it is answered; one to itself once.
        let own = may && to != Target::User(user) && matches!(to, Target::User(_));
        if own && events.last().is_some_and(|event| event[1] == 1) {
            let shown = events.remove(0);
            assert_eq!(shown[0], "chat-msg");
            assert_eq!((shown[2] == chat.0, shown[3] == chat.1), (true, true), "{shown}");
            assert_eq!(shown[6].as_str().map(str::as_bytes), Some(text.as_slice()));
        }
        let [event] = events.as_slice() else { panic!("answers to a message: {events:?}") };
        assert_eq!(event[0], "chat-response");
        let lost = !self.world.model.lost.is_empty();
        match event[1].as_i64() {
            Some(1) => assert!(may, "{user} said something in {chat:?}"),
            _ if may => {
                assert!(lost, "{chat:?} was refused for nothing: {event}");
                if matches!(to, Target::User(_)) {
                    self.world.model.forget(serial);
                }
            }
            _ => {}
        }
    }
}

impl Model {
    /// Whether a user is in a conversation.
    pub(super) fn entered(&self, user: u32, chat: Chat) -> bool {
        self.present.contains(&(user, chat))
    }

    /// What is over with a membership, a group, a user or a session.
    pub(super) fn absent(&mut self) {
        let Model { present, members, chats, clients, .. } = self;
        present.retain(|(user, (group, with))| {
            let here = |client: &Client| (client.user, client.dialect) == (*user, Dialect::Rooms);
            let known = match with {
                0 => members.contains_key(&(*user, *group)),
                with => chats.contains(&(*group, *with)),
            };
            known && clients.values().any(here)
        });
    }

    /// An answer of `rooms`.
    pub(super) fn rooms_answered(&mut self, link: Link, frame: &[u8]) {
        let event: Value = serde_json::from_slice(frame).expect("JSON");
        if let Some(client) = self.clients.get_mut(&link) {
            client.events.push(event);
        }
    }
}

/// A delivery of `rooms`; who enters or leaves is none, and told only to those who are there.
pub(super) fn seen(model: &Model, exchange: &Exchange<'_>, user: u32, frame: &[u8]) -> Seen {
    let event: Value = serde_json::from_slice(frame).expect("JSON");
    let name = event[0].as_str().expect("the name of an event");
    let number = |at: usize| event[at].as_u64().expect("a number") as u32;
    if name == "user-join" || name == "user-leave" {
        let (chat, who) = ((number(1), number(2)), event[3].as_str().expect("a name"));
        assert!(model.entered(user, chat), "{user} is not in {chat:?}: {event}");
        let who = exchange.find_user(Target::UserName(who.as_bytes())).map(|who| who.number);
        assert_ne!(who, Some(user), "its own coming and going");
        return Seen::default();
    }
    let chat = (number(2), number(3));
    let here = match name {
        "chat-msg" => true,
        "new-msg-notification" => false,
        other => panic!("a delivery {other}"),
    };
    // What waited is a notification.
    let is = chat.0 == 0 || model.entered(user, chat);
    assert!(is || !here, "{user} is not in {chat:?}: {event}");
    Seen {
        text: event[6].as_str().expect("a text").as_bytes().to_vec(),
        dm: chat.0 == 0 || chat.1 != 0,
        unsure: chat == (0, 0),
        sender: Some(event[4].as_str().expect("a name").as_bytes().to_vec()),
        group: Some(if chat.1 == 0 { chat.0 } else { 0 }),
        ..Seen::default()
    }
}
