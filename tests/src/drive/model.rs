//! What must arrive: a model of the exchange that knows messages and who is to get them, and
//! nothing of tables, lists or rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use centrala_core::dialect::{Dialect, direct, topics};
use centrala_core::event::Limit;
use centrala_core::exchange::{Exchange, Link, Token};
use centrala_core::request::Target;

use super::host::{Event, Shelf};

/// One message for one user.
#[derive(Clone, Debug, Default)]
pub(super) struct Copy {
    /// The user has it.
    pub(super) taken: bool,
    /// A counted membership ends with it.
    last: bool,
    /// It was handed back, and comes before its turn.
    returned: bool,
    /// Links it was given to.
    given: Vec<Link>,
    /// It may have been lost while nobody was promised anything about it.
    doubtful: bool,
    /// The exchange said that it is not kept.
    pub(super) lost: bool,
    /// A link that it waited for ended: another one gets it behind what is newer.
    moved: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    from: u32,
    sender_name: Vec<u8>,
    /// The first to be accepted is 1.
    arrival: u32,
    pub(super) group: u32,
    /// That group is no more.
    former: bool,
    priority: u8,
    accepted: u64,
    /// The sender was told that it is delivered or kept.
    pub(super) promised: bool,
    pub(super) copies: BTreeMap<u32, Copy>,
}

/// An answer that a `direct` sender must get.
#[derive(Clone, Debug)]
pub(super) struct Owed {
    pub(super) id: u32,
    since: u64,
    /// `None`: the message was too long.
    pub(super) serial: Option<u32>,
}

/// A message that a `direct` client was sent live and has not answered.
#[derive(Clone, Debug)]
pub(super) struct Unanswered {
    pub(super) id: u32,
    pub(super) src: [u8; 8],
    serial: Option<u32>,
}

/// What the model knows of a link.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) dialect: Dialect,
    pub(super) since: u64,
    pub(super) user: u32,
    /// The name that it said it is.
    pub(super) claim: Option<Vec<u8>>,
    /// What arrived and was not used.
    pub(super) buffer: Vec<u8>,
    pub(super) skip: usize,
    pub(super) owed: Vec<Owed>,
    pub(super) unanswered: Vec<Unanswered>,
    /// Mail that its transport has not taken, by mark.
    pub(super) outstanding: Vec<(u32, Option<u32>)>,
    /// Deliveries that a `topics` client has not read.
    pub(super) unread: Vec<(Vec<u8>, u32)>,
    /// Lists asked for, less those that ended.
    pub(super) lists: u32,
    /// The newest message of each priority, of groups, direct, and of groups that are no more.
    newest: BTreeMap<(u8, bool, bool), u32>,
    /// Answers of type 2 since the call began.
    pub(super) results: Vec<i32>,
    /// The question that is open.
    pub(super) question: Option<Token>,
}

impl Client {
    pub(super) fn new(dialect: Dialect, since: u64) -> Client {
        Client {
            dialect,
            since,
            user: 0,
            claim: None,
            buffer: Vec::new(),
            skip: 0,
            owed: Vec::new(),
            unanswered: Vec::new(),
            outstanding: Vec::new(),
            unread: Vec::new(),
            lists: 0,
            newest: BTreeMap::new(),
            results: Vec::new(),
            question: None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) messages: BTreeMap<u32, Message>,
    /// The number of the newest message, and those that were not accepted yet.
    next: u32,
    reserved: BTreeSet<u32>,
    arrivals: u32,
    ids: u32,
    pub(super) clients: HashMap<Link, Client>,
    /// What is left of each membership, by user and group.
    pub(super) members: BTreeMap<(u32, u32), i32>,
    pub(super) passwords: BTreeMap<u32, bool>,
    /// Who is being given bytes.
    pub(super) feeding: Option<Link>,
    /// Whom the log-in that is being given says it is from.
    pub(super) claim: Option<Vec<u8>>,
    /// Whether a question was answered with yes in this call.
    pub(super) verified: bool,
    /// The endings of memberships that must follow a delivery of this call.
    pub(super) endings: Vec<(Link, u32)>,
    /// Memberships counted down in this call, with what was left of them before.
    counted: Vec<(u32, u32, i32)>,
    /// Users who got something in this call that they need not answer for.
    took: BTreeSet<u32>,
    /// Copies not kept in this call.
    pub(super) lost: BTreeMap<u32, u32>,
}

/// The text of message number `serial`, so many bytes longer than it must be.
pub(super) fn text(serial: u32, more: usize) -> Vec<u8> {
    let mut text = format!("m{serial}.").into_bytes();
    text.resize(text.len() + more, b'-');
    text
}

/// Which message a text is, with names before it or none.
pub(super) fn serial(text: &[u8]) -> Option<u32> {
    let after_name = text.windows(2).position(|pair| pair == b": ").map(|at| &text[at + 2..]);
    match text.strip_prefix(b"m") {
        Some(digits) => {
            let digits = digits.split(|byte| *byte == b'.').next()?;
            core::str::from_utf8(digits).ok()?.parse().ok()
        }
        None => serial(after_name?),
    }
}

impl Model {
    /// A number for a message that is being made.
    pub(super) fn reserve(&mut self) -> u32 {
        self.next += 1;
        self.reserved.insert(self.next);
        self.next
    }

    /// An id that no message had before.
    pub(super) fn next_id(&mut self) -> u32 {
        self.ids += 1;
        // Far from the server's own counters, as ids may be the same by chance.
        1_000_000 + self.ids
    }

    /// A `direct` client answers for a message.
    pub(super) fn receipt(&mut self, link: Link, from: u32, id: u32) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        let of = |unanswered: &Unanswered| {
            let message = unanswered.serial.and_then(|serial| self.messages.get(&serial));
            unanswered.id == id && message.is_none_or(|message| message.from == from)
        };
        let Some(at) = client.unanswered.iter().position(of) else { return };
        let (serial, user) = (client.unanswered.remove(at).serial, client.user);
        self.take(serial, user, true);
    }

    /// A message is on its way in. Its text was made for it, or it is anybody's: 0.
    pub(super) fn accept(
        &mut self,
        exchange: &Exchange<'_>,
        from: u32,
        to: Target<'_>,
        (body, priority): (&[u8], u8),
        now: u64,
    ) -> Option<u32> {
        let group = exchange.find_group(to).map_or(0, |group| group.number);
        let user = exchange.find_user(to).map_or(0, |user| user.number);
        let sender_name = exchange.find_user(Target::User(from))?.name.to_vec();
        let mut copies = BTreeMap::new();
        if user != 0 {
            copies.insert(user, Copy::default());
        }
        if group != 0 {
            for ((member, of), left) in &mut self.members {
                if *of == group && *member != from {
                    let mut copy = Copy::default();
                    if *left > 0 {
                        self.counted.push((*member, group, *left));
                        *left -= 1;
                        copy.last = *left == 0;
                    }
                    copies.insert(*member, copy);
                }
            }
            self.members.retain(|_, left| *left != 0);
        }
        let serial = serial(body).filter(|serial| self.reserved.remove(serial))?;
        self.arrivals += 1;
        let message = Message {
            from,
            sender_name,
            arrival: self.arrivals,
            group,
            former: false,
            priority,
            accepted: now,
            promised: false,
            copies,
        };
        self.messages.insert(serial, message);
        Some(serial)
    }

    /// The sender of a message is told that all copies are delivered or kept, but for those that
    /// the exchange says are not.
    pub(super) fn promise(&mut self, serial: Option<u32>) {
        if let Some(message) = serial.and_then(|serial| self.messages.get_mut(&serial)) {
            message.promised = true;
        }
    }

    pub(super) fn owe(&mut self, link: Link, id: u32, serial: Option<u32>, since: u64) {
        if let Some(client) = self.clients.get_mut(&link) {
            client.owed.push(Owed { id, since, serial });
        }
    }

    /// Nothing came of a message: its sender was refused.
    pub(super) fn forget(&mut self, serial: u32) {
        self.messages.remove(&serial);
    }

    pub(super) fn take(&mut self, serial: Option<u32>, user: u32, taken: bool) {
        let message = serial.and_then(|serial| self.messages.get_mut(&serial));
        if let Some(copy) = message.and_then(|message| message.copies.get_mut(&user)) {
            copy.taken = taken;
            copy.returned |= !taken;
        }
    }

    /// A delivery comes back unread: whoever gets it next was told before that it is the last.
    pub(super) fn give_back(&mut self, serial: Option<u32>, user: u32) {
        self.take(serial, user, false);
        let message = serial.and_then(|serial| self.messages.get_mut(&serial));
        if let Some(copy) = message.and_then(|message| message.copies.get_mut(&user)) {
            copy.last = false;
        }
    }

    /// A user is gone.
    pub(super) fn remove_user(&mut self, user: u32) {
        self.members.retain(|(member, _), _| *member != user);
        self.passwords.remove(&user);
        for message in self.messages.values_mut() {
            message.copies.remove(&user);
            if message.from == user {
                message.from = 0;
            }
        }
    }

    /// The exchange begins anew with what its store kept.
    pub(super) fn restart(&mut self, shelf: &Shelf) {
        self.clients.clear();
        self.members.clone_from(&shelf.members);
        for message in self.messages.values_mut() {
            for copy in message.copies.values_mut() {
                copy.doubtful |= !message.promised;
                copy.given.clear();
            }
        }
    }

    /// Looks at all that a call gave the outbox.
    pub(super) fn saw<'e>(
        &mut self,
        exchange: &Exchange<'_>,
        events: impl Iterator<Item = &'e Event> + Clone,
        now: u64,
    ) {
        self.lost.clear();
        // What a link's end lets go makes room again, behind what was refused for want of it.
        let freed = events.clone().any(|event| matches!(event, Event::Close(_)));
        // First whose copies were not kept, and who is behind which link: both are needed below.
        for event in events.clone() {
            match event {
                Event::NotKept(user, limit) => self.not_kept(exchange, *user, *limit, freed),
                Event::Open(link, _) => {
                    let mut client = Client::new(Dialect::Topics, now);
                    client.claim.clone_from(&self.claim);
                    self.clients.insert(*link, client);
                    self.feeding = Some(*link);
                }
                _ => {}
            }
        }
        self.bind(exchange);
        for event in events {
            match event {
                Event::Deliver(link, frame) => self.delivered(exchange, *link, frame, None),
                Event::Mail(link, frame, mark) => {
                    self.delivered(exchange, *link, frame, Some(*mark));
                }
                Event::Answer(link, frame) => self.answered(exchange, *link, frame),
                Event::Close(link) => self.ended(*link),
                Event::Ask(token) => {
                    let client = self.feeding.and_then(|link| self.clients.get_mut(&link));
                    let client = client.expect("a question about a link that is there");
                    assert!(client.question.is_none(), "two questions at once");
                    client.question = Some(*token);
                }
                Event::NotKept(..) | Event::Open(..) => {}
            }
        }
        let endings = std::mem::take(&mut self.endings);
        let live = |link: &Link| self.clients.contains_key(link);
        let silent: Vec<_> = endings.into_iter().filter(|(link, _)| live(link)).collect();
        assert!(silent.is_empty(), "the end of a membership was not told: {silent:?}");
        let took = std::mem::take(&mut self.took);
        for (user, group, left) in self.counted.drain(..) {
            // A message that was neither delivered nor kept does not count.
            if self.lost.contains_key(&user) && !took.contains(&user) {
                self.members.insert((user, group), left);
            }
        }
        self.verified = false;
        self.feeding = None;
        self.claim = None;
    }

    /// The questions that are open.
    pub(super) fn questions(&self) -> Vec<Token> {
        let mut open: Vec<Token> = self.clients.values().filter_map(|c| c.question).collect();
        open.sort_by_key(|token| (token.index(), token.generation()));
        open
    }

    /// A group is removed: its number may be another's soon.
    pub(super) fn remove_group(&mut self, group: u32) {
        self.members.retain(|(_, of), _| *of != group);
        for message in self.messages.values_mut().filter(|message| message.group == group) {
            message.former = true;
        }
    }

    /// Whether any message of a group came back unread from a session of a user.
    pub(super) fn came_back(&self, user: u32, group: u32) -> bool {
        let of_group = self.messages.values().filter(|m| m.group == group && !m.former);
        of_group.filter_map(|message| message.copies.get(&user)).any(|copy| copy.returned)
    }

    /// The session of a link is about to begin anew: what its transport or client has not confirmed
    /// may come on it once more.
    pub(super) fn comes_again(&mut self, link: Link) {
        let Some(client) = self.clients.get(&link) else { return };
        for serial in client.outstanding.iter().filter_map(|(_, serial)| *serial) {
            let message = self.messages.get_mut(&serial);
            if let Some(copy) = message.and_then(|message| message.copies.get_mut(&client.user)) {
                copy.given.retain(|given| *given != link);
            }
        }
    }

    /// A link is over.
    pub(super) fn ended(&mut self, link: Link) {
        let client = self.clients.remove(&link).expect("a link that was there");
        for message in self.messages.values_mut() {
            if let Some(copy) = message.copies.get_mut(&client.user) {
                copy.moved = true;
            }
        }
    }

    fn not_kept(&mut self, exchange: &Exchange<'_>, user: u32, limit: Limit, freed: bool) {
        let (usage, capacity) = (exchange.usage(), exchange.capacity());
        match limit {
            Limit::Messages | Limit::Entries if freed => {}
            Limit::Messages => assert!(usage.messages >= capacity.messages.saturating_sub(1)),
            Limit::Entries => assert!(usage.entries >= capacity.entries.saturating_sub(1)),
            Limit::Mailbox | Limit::Store => {}
            other => panic!("a message for {user} is not kept because of {other:?}"),
        }
        *self.lost.entry(user).or_default() += 1;
        for message in self.messages.values_mut().filter(|message| !message.promised) {
            if let Some(copy) = message.copies.get_mut(&user) {
                copy.doubtful = true;
            }
        }
    }

    /// Who is behind each link.
    fn bind(&mut self, exchange: &Exchange<'_>) {
        for (link, client) in &mut self.clients {
            let Some(user) = exchange.user_of(*link) else { continue };
            if client.user == 0 {
                let claim = client.claim.as_deref();
                assert_eq!(Some(user.name), claim, "{link:?} is somebody else");
                let asked = self.passwords.get(&user.number).is_some_and(|known| *known);
                assert!(!asked || self.verified, "logged in without a password");
                client.user = user.number;
            }
            assert_eq!(client.user, user.number, "{link:?} became somebody else");
        }
    }

    fn delivered(&mut self, exchange: &Exchange<'_>, link: Link, frame: &[u8], mark: Option<u32>) {
        let client = self.clients.get_mut(&link).expect("a delivery to a link that is known");
        let user = client.user;
        assert_ne!(user, 0, "a delivery to nobody");
        let (dm, former, live, body) = match client.dialect {
            Dialect::Direct => {
                let direct::Look::Frame(seen, len) = direct::Frame::look(frame) else {
                    panic!("not a frame: {frame:?}");
                };
                assert_eq!(len, frame.len());
                assert!(matches!(seen.kind, direct::MESSAGE | direct::OFFLINE));
                let live = seen.kind == direct::MESSAGE;
                assert!(!(live && mark.is_some()), "a live message is no mail");
                let group = seen.dst.first() == Some(&b'#');
                if !group {
                    let me = exchange.find_user(direct::target(seen.destination()));
                    assert_eq!(me.map(|me| me.number), Some(user), "addressed to another");
                }
                if live {
                    let serial = serial(seen.text);
                    client.unanswered.push(Unanswered { id: seen.id, src: *seen.src, serial });
                }
                (!group, seen.destination() == b"#0", live, seen.text)
            }
            Dialect::Native => {
                let (group, body, _) = Model::native_message(frame, mark);
                (group.is_none(), group == Some(0), false, body)
            }
            _ => {
                let message = topics::ServerMessage::new_checked(frame).expect("whole");
                assert!(message.kind >= topics::kind::TOPIC, "not a delivery");
                client.unread.push((frame.to_vec(), mark.unwrap_or(0)));
                let direct = message.kind >= topics::kind::DIRECT;
                let former = direct && message.text.starts_with(b"#0: ");
                (direct && !former, former, false, message.text)
            }
        };
        let serial = serial(body);
        if let Some(mark) = mark {
            client.outstanding.push((mark, serial));
        }
        let Some(serial) = serial else { return };
        let Some(message) = self.messages.get_mut(&serial) else { return };
        // A sender that is gone must not look like another user.
        if client.dialect == Dialect::Direct
            && let direct::Look::Frame(seen, _) = direct::Frame::look(frame)
        {
            let from = exchange.find_user(direct::target(seen.source()));
            let name = from.map_or(&b""[..], |from| from.name);
            let known = name == message.sender_name || name.is_empty();
            assert!(known, "m{serial} is not from {from:?}: {message:?}, {seen:?}");
        }
        if client.dialect == Dialect::Native {
            let (_, _, name) = Model::native_message(frame, mark);
            assert!(
                name == message.sender_name || name.is_empty(),
                "m{serial} is not from {name:?}"
            );
        }
        let Some(copy) = message.copies.get_mut(&user) else {
            panic!("m{serial} was delivered to user {user}, who is no recipient");
        };
        assert_eq!(dm, message.group == 0, "m{serial} is of another kind");
        assert_eq!(former, message.former, "m{serial} is of another group");
        let again = copy.given.contains(&link);
        assert!(!again || copy.returned, "m{serial} twice on {link:?}");
        if copy.given.is_empty() && !copy.returned && !copy.moved {
            let newest = client.newest.entry((message.priority, dm, former)).or_default();
            assert!(*newest <= message.arrival, "m{serial} after a newer one on {link:?}");
            *newest = message.arrival;
        }
        copy.given.push(link);
        copy.taken |= !live && mark.is_none();
        if copy.taken {
            self.took.insert(user);
        }
        if copy.last && !former && client.dialect != Dialect::Direct {
            self.endings.push((link, message.group));
        }
    }

    fn answered(&mut self, exchange: &Exchange<'_>, link: Link, frame: &[u8]) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        if client.dialect == Dialect::Native {
            return self.native_answered(exchange, link, frame);
        }
        if client.dialect == Dialect::Topics {
            let message = topics::ServerMessage::new_checked(frame).expect("an answer");
            match message.kind {
                topics::kind::LIST if message.text.is_empty() => {
                    client.lists = client.lists.checked_sub(1).expect("a list nobody asked for");
                }
                topics::kind::LIST => assert_ne!(client.lists, 0, "a line of no list"),
                topics::kind::RESULT => client.results.push(message.info),
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
            return;
        }
        let direct::Look::Frame(seen, _) = direct::Frame::look(frame) else {
            panic!("not a frame: {frame:?}");
        };
        assert_eq!(seen.kind, direct::RESPONSE);
        if [direct::code::MALFORMED, direct::code::NOT_ALLOWED, direct::code::IN_USE]
            .contains(&seen.text.first_chunk().expect("three digits"))
        {
            // The connection closes: nothing is owed on it any more.
            client.owed.clear();
            return;
        }
        let Some(at) = client.owed.iter().position(|owed| owed.id == seen.id) else {
            // A first frame is refused as a log-in.
            assert_eq!(client.user, 0, "an answer to {} that nobody waits for", seen.id);
            return;
        };
        let Owed { serial, .. } = client.owed.remove(at);
        let Some(message) = serial.and_then(|serial| self.messages.get_mut(&serial)) else {
            return;
        };
        let code: &[u8; 3] = seen.text.try_into().expect("three digits");
        let dm = message.group == 0;
        match code {
            direct::code::TAKEN if dm => {
                let taken = message.copies.values().all(|copy| copy.taken);
                assert!(taken, "200 for {serial:?}, which nobody has");
                message.promised = true;
            }
            direct::code::TAKEN => message.promised = true,
            direct::code::STORED => {
                assert!(dm, "300 for a group");
                message.promised = true;
            }
            direct::code::FULL => {
                assert!(self.lost.values().any(|lost| *lost != 0), "507 for nothing");
                if dm {
                    self.messages.remove(&serial.expect("known above"));
                } else {
                    message.promised = true;
                }
            }
            direct::code::NO_SUCH => {
                let user = message.copies.keys().next().copied();
                let there = user.and_then(|user| exchange.find_user(Target::User(user)));
                assert!(there.is_none() && message.group == 0, "404 for {serial:?}");
            }
            other => panic!("an answer {other:?}"),
        }
    }

    /// Nothing promised is missing: who is to get it has it, or the store has it.
    pub(super) fn audit(&mut self, exchange: &Exchange<'_>, shelf: &Shelf, now: u64) {
        let kept: HashSet<(u32, u32)> = shelf
            .mail
            .iter()
            .filter_map(|((_, user), kept)| Some((*user, serial(&kept.text)?)))
            .collect();
        let mut missing: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (serial, message) in &mut self.messages {
            let late = message.accepted + 3_000 <= now;
            for (user, copy) in &message.copies {
                let promised = message.promised || (late && !copy.doubtful);
                if promised && !copy.taken && !copy.lost && !kept.contains(&(*user, *serial)) {
                    missing.entry(*user).or_default().push(*serial);
                }
            }
        }
        for (user, serials) in missing {
            let excused = self.lost.get(&user).copied().unwrap_or(0) as usize;
            assert!(serials.len() <= excused, "user {user} neither has nor is kept {serials:?}");
            for serial in serials {
                let message = self.messages.get_mut(&serial);
                if let Some(copy) = message.and_then(|message| message.copies.get_mut(&user)) {
                    copy.lost = true;
                }
            }
        }
        for (link, client) in &self.clients {
            let late = client.owed.iter().find(|owed| owed.since + 3_000 <= now);
            assert!(late.is_none(), "{link:?} waits for {late:?} since more than 3 s");
            let idle = client.user == 0 && client.since + 10_000 <= now;
            assert!(!idle || client.dialect == Dialect::Topics, "{link:?} says nothing for 10 s");
        }
        let usage = exchange.usage();
        assert_eq!(usage.sessions as usize, self.clients.len() + 1, "sessions and the endpoint");
        assert_eq!(usage.questions as usize, self.questions().len(), "questions");
        for group in exchange.groups() {
            let members: Vec<u32> = exchange.members(group.number).map(|m| m.number).collect();
            let of = self.members.keys().filter(|(_, of)| *of == group.number);
            assert_eq!(members, of.map(|(user, _)| *user).collect::<Vec<_>>(), "members");
            let owner = exchange.owner_of(group.number).map_or(0, |owner| owner.number);
            assert_eq!(owner, shelf.groups[&group.number].1, "who made the group");
        }
        assert_eq!(usage.memberships as usize, self.members.len());
        let done = |message: &Message| message.promised && message.copies.values().all(|c| c.taken);
        // What everybody has for long is forgotten, so that a long run does not slow down. What
        // lies unread may still come back.
        if self.messages.len() > 500 {
            let newest = self.next;
            self.messages.retain(|serial, message| serial + 250 > newest || !done(message));
        }
    }
}
