//! What an exchange lives through, one operation after another.

use arbitrary::Unstructured;
use centrala_core::dialect::{Dialect, direct, lanes, topics};
use centrala_core::exchange::{Exchange, Link};
use centrala_core::host::{Io, Room};
use centrala_core::limits::Registration;
use centrala_core::request::Target;

use super::host::Desk;
use super::host::{Event, Place};
use super::model::{self, Client};
use super::topics::request;
use super::{EPOCH, GROUPS, Life, Line, NAMES, Op, World, pick, room};

/// The dialects whose clients share an endpoint, and its key.
const ENDPOINTS: [(Dialect, i32); 3] =
    [(Dialect::Topics, 12_345), (Dialect::Queues, 99_999), (Dialect::Lanes, 6_661)];

impl Life<'_, '_> {
    /// Restores what the store kept, and opens the endpoint.
    pub(super) fn begin(&mut self, endpoints: u8, queues_live: bool) {
        let World { shelf, model, desk, now, .. } = &mut *self.world;
        model.restart(shelf);
        // What could not be settled comes twice, as far as there is room for it beside the rest.
        let capacity = self.exchange.capacity();
        let room = capacity.entries.min(capacity.messages).min(self.exchange.limits().mailbox);
        if shelf.mail.len() > room as usize && !shelf.pages {
            let stale = std::mem::take(&mut shelf.unsettled);
            shelf.mail.retain(|key, _| !stale.contains(key));
        }
        if let (true, Some((sequence, _))) = (shelf.pages, shelf.mail.keys().next()) {
            self.exchange.restore_oldest(*sequence);
        }
        for record in shelf.records() {
            let restored = self.exchange.restore(record);
            assert_eq!(restored, Ok(()), "{record:?} is not restored");
        }
        for (user, known) in &model.passwords {
            self.exchange.set_password(*user, *known).expect("a user that was restored");
        }
        if shelf.pages {
            shelf.mail.keys().for_each(|(_, user)| self.exchange.restore_tail(*user));
        }
        let mut lying = std::mem::take(&mut desk.lying);
        lying.values_mut().for_each(|lying| lying.retain(|lying| lying.mark == 0));
        // What lay for a log-in that is not known any more is dropped, as the host drops it.
        lying.retain(|place, _| match place {
            Place::Endpoint(dialect, kind) => {
                queues_live && *dialect == Dialect::Lanes as u8 && *kind != lanes::LOG_IN_ANSWER
            }
            Place::Queue(_) => queues_live,
        });
        *desk = Desk { now: *now, queue: Some(Room::of(1 << 20)), lying, ..Desk::default() };
        for (i, (dialect, key)) in ENDPOINTS.into_iter().enumerate() {
            if endpoints & (1 << i) != 0 {
                let link = self.exchange.endpoint(dialect, key.into()).expect("a session");
                desk.endpoints.push((link, dialect));
            }
        }
        self.world.links.clear();
        self.world.answered.clear();
        self.check();
        self.go_on(queues_live);
    }

    /// Clients of the exchange before this go on, whose queues are still there.
    fn go_on(&mut self, queues_live: bool) {
        self.world.desk.queue = queues_live.then_some(Room::of(1 << 20));
        for ((_, address), (dialect, user)) in self.world.shelf.sessions.clone() {
            let name = self.exchange.find_user(Target::User(user)).map(|user| user.name.to_vec());
            self.world.model.claim = name;
            self.world.model.verified = true;
            self.call(|exchange, io| exchange.restore_session(dialect, address, user, io));
        }
    }

    /// A few users, groups and members, most of them logged in.
    pub(super) fn open_for_business(&mut self) {
        for number in 0..3 {
            self.step(Op::CreateUser { who: number });
            self.step(Op::CreateGroup { name: number % 2 });
            self.step(Op::Join { who: number, group: 0, count: -1 });
            self.step(Op::Connect { room: 0 });
            self.step(Op::Hello { link: number, who: number, password: false });
        }
        self.step(Op::LogIn { key: 0, who: 0, room: 0, missing: false });
        self.step(Op::LogIn { key: 1, who: 3, room: 0, missing: false });
        self.step(Op::Join { who: 3, group: 0, count: 2 });
        self.step(Op::Line { room: 0 });
        self.step(Op::Greet { link: 0, who: 1, password: false });
        self.step(Op::Socket { room: 0 });
        self.step(Op::Authenticate { link: 0, who: 2, password: false });
        self.step(Op::Enter { link: 0, g: 1, k: 0, leave: false });
        self.step(Op::Fetch { key: 0 });
        self.step(Op::Fetch { key: 1 });
    }

    /// Does what the bytes say; whether the exchange is to begin anew, and if so, whether the queues
    /// of its clients are still there then.
    pub(super) fn play(&mut self, bytes: &mut Unstructured<'_>) -> Option<bool> {
        while !bytes.is_empty() {
            let Ok(op) = bytes.arbitrary::<Op>() else { return None };
            if let Op::Restart { queues_live } = op {
                return Some(queues_live);
            }
            self.world.log.push(Line::Op(self.world.now, op));
            self.step(op);
        }
        None
    }

    /// One call of the exchange, and a look at what came of it.
    pub(super) fn call<R>(&mut self, call: impl FnOnce(&mut Exchange<'_>, &mut Io<'_>) -> R) -> R {
        let World { now, desk, shelf, .. } = &mut *self.world;
        desk.now = *now;
        let mut io = Io { now: *now, time: EPOCH + *now, store: shelf, out: desk };
        let result = call(&mut self.exchange, &mut io);
        self.check();
        result
    }

    pub(super) fn check(&mut self) {
        let World { desk, model, shelf, now, log, links, .. } = &mut *self.world;
        for page in desk.pages.iter_mut().filter(|page| page.then.is_none()) {
            page.then = Some(shelf.mail_of(page.user));
        }
        for user in &shelf.secrets {
            model.passwords.entry(*user).or_insert(true);
        }
        let opened = desk.events.iter().filter_map(|event| match event {
            Event::Open(link, _) => Some(*link),
            _ => None,
        });
        links.extend(opened);
        let begin = log.len();
        log.extend(desk.events.drain(..).map(Line::Event));
        let events = log[begin..].iter().filter_map(Line::event);
        model.saw(&self.exchange, events, *now);
        let (usage, capacity) = (self.exchange.usage(), self.exchange.capacity());
        let pairs = [
            (usage.users, capacity.users),
            (usage.groups, capacity.groups),
            (usage.memberships, capacity.memberships),
            (usage.chats, capacity.chats),
            (usage.sessions, capacity.sessions),
            (usage.messages, capacity.messages),
            (usage.entries, capacity.entries),
            (usage.questions, capacity.questions),
        ];
        assert!(pairs.iter().all(|(taken, all)| taken <= all), "{usage:?} of {capacity:?}");
        assert!(usage.messages <= usage.entries, "a message that waits for nobody: {usage:?}");
        model.audit(&self.exchange, shelf, desk, *now);
        self.lanes_audit();
    }

    /// One message at the endpoint of a dialect.
    pub(super) fn receive_at(&mut self, dialect: Dialect, bytes: &[u8]) {
        let Some(endpoint) = self.world.desk.endpoint(dialect) else { return };
        let before = self.world.model.clients.len();
        let used = self.call(|exchange, io| exchange.receive(endpoint, bytes, io));
        assert_eq!(used, Ok(bytes.len()), "one message at a time");
        assert!(self.world.model.clients.len() <= before + 1);
    }

    /// A membership begins or ends by a client's request: known before, as the audit behind the call
    /// needs it. Whether it goes well.
    pub(super) fn member(&mut self, user: u32, group: u32, join: bool) -> bool {
        let known = self.exchange.find_group(Target::Group(group)).is_some();
        let (usage, capacity) = (self.exchange.usage(), self.exchange.capacity());
        let (full, members) = (self.world.shelf.full, &mut self.world.model.members);
        let is = members.contains_key(&(user, group));
        let good = match join {
            true => known && !full && (is || usage.memberships < capacity.memberships),
            false => known && (!is || !full),
        };
        match (good, join) {
            (true, true) => drop(members.insert((user, group), -1)),
            (true, false) => drop(members.remove(&(user, group))),
            (false, _) => {}
        }
        good
    }

    pub(super) fn users(&self) -> Vec<u32> {
        self.exchange.users().map(|user| user.number).collect()
    }

    /// Whether a user has a session in any dialect.
    pub(super) fn is_online(&self, user: u32) -> bool {
        self.world.model.clients.values().any(|client| client.user == user)
    }

    /// Whether a key is one of the exchange's own.
    pub(super) fn is_endpoint(&self, key: i32) -> bool {
        let of = ENDPOINTS.iter().find(|(_, own)| *own == key);
        of.is_some_and(|(dialect, _)| self.world.desk.endpoint(*dialect).is_some())
    }

    pub(super) fn closed(&self) -> bool {
        self.exchange.limits().registration == Registration::Closed
    }

    pub(super) fn of(&self, dialect: Dialect) -> Vec<Link> {
        let clients = &self.world.model.clients;
        let live = |link: &&Link| clients.get(link).is_some_and(|c| c.dialect == dialect);
        self.world.links.iter().filter(live).copied().collect()
    }

    /// What the model knows of a live link.
    pub(super) fn client(&mut self, link: Link) -> &mut Client {
        self.world.model.clients.get_mut(&link).expect("a live link")
    }

    pub(super) fn user(&self, who: u8) -> Option<u32> {
        let name = pick(&NAMES, who)?;
        Some(self.exchange.find_user(Target::UserName(name.as_bytes()))?.number)
    }

    pub(super) fn group(&self, which: u8) -> Option<u32> {
        let name = pick(&GROUPS, which)?;
        Some(self.exchange.find_group(Target::GroupName(name.as_bytes()))?.number)
    }

    /// What a client's queue takes, if there is one.
    fn queue(&mut self, messages: u8, missing: bool) {
        let half = room(messages) / 2;
        let room = Room { messages: 2 * half, direct: half, replies: half };
        self.world.desk.queue = (!missing).then_some(room);
    }

    pub(super) fn step(&mut self, op: Op) {
        match op {
            Op::Connect { room: messages } => {
                let now = self.world.now;
                let room = Room::of(room(messages));
                let connected = self.exchange.connect(Dialect::Direct, room, now);
                let Ok(link) = connected else {
                    let (usage, capacity) = (self.exchange.usage(), self.exchange.capacity());
                    return assert_eq!(usage.sessions, capacity.sessions);
                };
                self.world.desk.links.insert(link, (Dialect::Direct, room));
                self.world.model.clients.insert(link, Client::new(Dialect::Direct, now));
                self.world.links.push(link);
            }
            Op::Hello { link, who, password } => {
                let Some(link) = pick(&self.of(Dialect::Direct), link) else { return };
                let Some(name) = pick(&NAMES, who) else { return };
                let text: &[u8] = if password { b"secret" } else { b"" };
                let src = self.field(name);
                self.write(link, direct::RESPONSE, 0, &src, &[0; 8], text);
                self.feed(link, usize::MAX);
            }
            Op::Send { link, group, to, offline, more, hold } => {
                let Some(link) = pick(&self.of(Dialect::Direct), link) else { return };
                self.send(link, group, to, offline, more);
                match hold {
                    0..=200 => self.feed(link, usize::MAX),
                    201..=230 => self.feed(link, usize::from(hold - 200)),
                    _ => {}
                }
            }
            Op::Answer { link, which } => self.answer(link, which),
            Op::AnswerAll { link } => {
                if let Some(link) = pick(&self.world.links.clone(), link) {
                    self.read_all(link);
                }
            }
            Op::Raw { link, bytes, len } => {
                let Some(link) = pick(&self.of(Dialect::Direct), link) else { return };
                let mut bytes = bytes[..usize::from(len) % 13].to_vec();
                // Texts that begin so are the driver's own.
                bytes.iter_mut().filter(|byte| **byte == b'm').for_each(|byte| *byte = b'n');
                self.client(link).buffer.extend(bytes);
                self.feed(link, usize::MAX);
            }
            Op::Feed { link, len } => {
                let Some(link) = pick(&self.of(Dialect::Direct), link) else { return };
                self.feed(link, if len > 200 { usize::MAX } else { usize::from(len) });
            }
            Op::Room { link, messages, direct } => {
                let Some(link) = pick(&self.world.links.clone(), link) else { return };
                self.make_room(
                    link,
                    Room { messages: room(messages), direct: room(direct), replies: room(direct) },
                );
            }
            Op::Taken { link, which } => self.taken(link, which),
            Op::NotTaken { link, which } => self.not_taken(link, which),
            Op::Disconnect { link, back } => {
                if let Some(link) = pick(&self.world.links.clone(), link) {
                    self.disconnect(link, usize::from(back % 4), back & 4 != 0);
                }
            }
            Op::LogIn { key, who, room: messages, missing } => {
                let Some(name) = pick(&NAMES, who) else { return };
                self.queue(messages, missing);
                self.log_in(100 + i32::from(key % 8), name);
            }
            Op::Fetch { key } => {
                let key = i64::from(100 + i32::from(key % 8));
                self.world.desk.lying.remove(&Place::Endpoint(Dialect::Topics as u8, key));
            }
            Op::QueuesLogIn { key, who, room, missing, both, password } => {
                self.queue(room, missing);
                let key = match key % 11 {
                    8 => 3,
                    9 => 12_345,
                    10 => 99_999,
                    free => 100 + i32::from(free),
                };
                if self.world.desk.endpoint(Dialect::Queues).is_some() {
                    self.queues_log_in(key, who, both, password);
                }
            }
            Op::QueuesAsk { link, what, group } => self.queues_ask(link, what, group),
            Op::QueuesHalf { link, join, group, how } => self.queues_half(link, join, group, how),
            Op::QueuesSend { link, group, to, form, more } => {
                self.queues_send(link, group, to, form, more);
            }
            Op::LanesLogIn { who, room, missing, alone, password } => {
                self.queue(room, missing);
                self.lanes_log_in(who, alone, password);
            }
            Op::LanesPassword { right } => self.lanes_password(right),
            Op::LanesRead { lane } => self.lanes_read(lane),
            Op::LanesAsk { link, what, group } => self.lanes_ask(link, what, group),
            Op::LanesSend { link, group, to, more } => self.lanes_send(link, group, to, more),
            Op::LanesStranger { k } => self.lanes_stranger(k),
            Op::Read { link, count } => {
                let Some(link) = pick(&self.world.links.clone(), link) else { return };
                let Some(place) = self.world.desk.places.get(&link).copied() else { return };
                (0..count % 8).for_each(|_| drop(self.world.desk.read(place)));
            }
            Op::Gone { link } => {
                let Some(link) = pick(&self.world.links.clone(), link) else { return };
                self.world.desk.gone.insert(link);
            }
            Op::Socket { room } => self.connect_socket(room),
            Op::Authenticate { link, who, password } => self.authenticate(link, who, password),
            Op::Enter { link, g, k, leave } => self.enter(link, g, k, leave),
            Op::NewChat { link, g } => self.new_chat(link, g),
            Op::CreateAdvert { link, name } => self.create_advert(link, name),
            Op::Talk { link, g, k, more } => self.talk(link, g, k, more),
            Op::Page { which, late, empty } => self.page(which, late, empty),
            Op::NewTopic { link, name } => {
                let Some(name) = pick(&GROUPS, name) else { return };
                let Some((link, _)) = self.topics_client(link) else { return };
                let known = self.exchange.find_group(Target::GroupName(name.as_bytes())).is_some();
                let made = self.request(link, topics::request::NEW_TOPIC, 0, 0, name.as_bytes());
                let there = self.exchange.find_group(Target::GroupName(name.as_bytes())).is_some();
                match made {
                    0 => assert!(!known && there),
                    1 => assert!(known),
                    _ => assert!(!there),
                }
            }
            Op::Subscribe { link, topic, count } => {
                let Some((link, user)) = self.topics_client(link) else { return };
                let (group, listed) = self.topic(topic);
                let count = i32::from(count) % 5;
                let (kind, number) = (topics::request::SUBSCRIBE, i32::from(topic % 8));
                let result = self.subscribe(link, kind, number, count, (user, group));
                let known = self.world.model.members.contains_key(&(user, group));
                assert!(result != 0 || (listed && known));
            }
            Op::Publish { link, topic, priority, more } => {
                let Some((link, _)) = self.topics_client(link) else { return };
                let number = i32::from(priority % 8) - 1;
                let serial = self.world.model.reserve();
                let body = model::text(serial, usize::from(more % 40));
                let (_, listed) = self.topic(topic);
                let kind = topics::request::PUBLISH;
                let result = self.request(link, kind, i32::from(topic % 8), number, &body);
                assert!(listed || result == 1, "a publication to no topic");
            }
            Op::List { link, mine } => {
                let Some((link, user)) = self.topics_client(link) else { return };
                let kind =
                    if mine { topics::request::MY_TOPICS } else { topics::request::ALL_TOPICS };
                self.client(link).lists += 1;
                let request = request(kind, user as i32 - 1, 0, 0, b"");
                self.receive_request(&request);
            }
            Op::RawRequest { bytes, len } => {
                let mut bytes = bytes[..usize::from(len) % 25].to_vec();
                // What would ask for something real has operations of its own.
                if let Some(kind) = bytes.first_chunk_mut::<8>()
                    && (1..=7).contains(&i64::from_le_bytes(*kind))
                {
                    kind[7] |= 0x80;
                }
                self.receive_request(&bytes);
            }
            Op::Verify { which, right } => {
                let Some(token) = pick(&self.world.model.questions(), which) else { return };
                self.verify(token, right);
            }
            Op::CreateUser { who } => {
                let Some(name) = pick(&NAMES, who) else { return };
                self.call(|exchange, io| exchange.create_user(name.as_bytes(), io.store)).ok();
            }
            Op::Password { who, known } => {
                let Some(user) = self.user(who) else { return };
                self.exchange.set_password(user, known).expect("a user");
                self.world.model.passwords.insert(user, known);
            }
            Op::RemoveUser { who } => {
                let Some(user) = self.user(who) else { return };
                if self.world.shelf.full {
                    let refused = self.call(|exchange, io| exchange.remove_user(user, io));
                    return assert!(refused.is_err());
                }
                // Known before, as the audit behind the call needs it.
                self.world.model.remove_user(user);
                self.world.model.leaving = user;
                let owner = |group| self.exchange.owner_of(group).map(|owner| owner.number);
                let gone = |group, with| with == user || owner(group) == Some(user);
                self.world.model.chats.retain(|(group, with)| !gone(*group, *with));
                self.call(|exchange, io| exchange.remove_user(user, io)).expect("a user");
            }
            Op::CreateGroup { name } => {
                let Some(name) = pick(&GROUPS, name) else { return };
                self.call(|exchange, io| exchange.create_group(name.as_bytes(), 0, io.store)).ok();
            }
            Op::RemoveGroup { name } => {
                let Some(group) = self.group(name) else { return };
                if !self.world.shelf.full {
                    self.world.model.remove_group(group);
                    self.world.model.chats.retain(|(of, _)| *of != group);
                }
                self.call(|exchange, io| exchange.remove_group(group, io.store)).ok();
            }
            Op::Join { who, group, count } => {
                let (Some(user), Some(group)) = (self.user(who), self.group(group)) else { return };
                let left = if count < 0 { -1 } else { i32::from(count % 4) + 1 };
                let joined = self.exchange.join(user, group, left, &mut self.world.shelf);
                if joined.is_ok() {
                    self.world.model.members.insert((user, group), left);
                }
                self.check();
            }
            Op::Leave { who, group } => {
                let (Some(user), Some(group)) = (self.user(who), self.group(group)) else { return };
                let left = self.exchange.leave(user, group, &mut self.world.shelf);
                if left.is_ok() {
                    self.world.model.members.remove(&(user, group));
                }
                self.check();
            }
            Op::Wait { how_long } => {
                let times = [0, 1, 99, 1_000, 2_999, 3_000, 3_001, 10_000, 61_000];
                self.wait(pick(&times, how_long).unwrap_or(0), how_long & 128 != 0);
            }
            Op::Store { full } => self.world.shelf.full = full > 200,
            Op::Stale { which } => self.stale(which),
            Op::Line { room } => self.connect_line(room),
            Op::Greet { link, who, password } => self.greet(link, who, password),
            Op::Say { link, group, to, receipt, more } => self.say(link, group, to, receipt, more),
            Op::RawLine { link, bytes, len } => self.raw_line(link, &bytes[..usize::from(len) % 9]),
            Op::Restart { .. } => {}
        }
    }
}
