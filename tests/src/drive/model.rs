//! What must arrive: a model of the exchange that knows messages and who is to get them, and
//! nothing of tables, lists or rooms.

mod audit;
mod watch;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use centrala_core::dialect::Dialect;
use centrala_core::exchange::{Exchange, Link, Token};
use centrala_core::request::Target;

use super::lanes::{Batch, LogIn};
use super::shelf::Shelf;
pub(super) use watch::Seen;

/// One message for one user.
#[derive(Clone, Debug, Default)]
pub(super) struct Copy {
    /// The user has it.
    pub(super) taken: bool,
    /// A counted membership ends with it.
    last: bool,
    /// It was handed back, and comes before its turn.
    pub(super) returned: bool,
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
    pub(super) from: u32,
    pub(super) sender_name: Vec<u8>,
    /// The first to be accepted is 1.
    arrival: u32,
    pub(super) group: u32,
    /// That group is no more.
    former: bool,
    priority: u8,
    pub(super) accepted: u64,
    /// The sender was told that it is delivered or kept.
    pub(super) promised: bool,
    pub(super) copies: BTreeMap<u32, Copy>,
    /// Links on which its sender has seen it.
    pub(super) echoed: Vec<Link>,
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
    pub(super) serial: Option<u32>,
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
    /// Of its queue, if it has one.
    pub(super) key: i64,
    /// `lanes`: when its log-in was answered, until it makes a request.
    pub(super) answered: Option<u64>,
    /// `queues`: whether one message brought both the name and the password.
    pub(super) both: bool,
    /// Lists asked for, less those that ended.
    pub(super) lists: u32,
    /// Of each list of `queues` that is still to come: the type of its request.
    pub(super) due: Vec<i64>,
    /// What a `queues` client asked for by half: the operation, when, and when that was answered.
    pub(super) half: Option<(i64, u64, Option<u64>)>,
    /// The newest message of each priority, of groups, direct, and of groups that are no more.
    newest: BTreeMap<(u8, bool, bool), u32>,
    /// Answers of a number and a text since the call began.
    pub(super) results: Vec<(i32, Vec<u8>)>,
    /// Answers of `rooms` since the call began.
    pub(super) events: Vec<serde_json::Value>,
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
            key: 0,
            answered: None,
            both: false,
            lists: 0,
            due: Vec::new(),
            half: None,
            newest: BTreeMap::new(),
            results: Vec::new(),
            events: Vec::new(),
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
    accepted: u32,
    ids: u32,
    pub(super) clients: HashMap<Link, Client>,
    /// What is left of each membership, by user and group.
    pub(super) members: BTreeMap<(u32, u32), i32>,
    pub(super) passwords: BTreeMap<u32, bool>,
    /// Private chats, by group and user.
    pub(super) chats: BTreeSet<super::rooms::Chat>,
    /// Who is in which conversation.
    pub(super) present: BTreeSet<(u32, super::rooms::Chat)>,
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
    /// Log-ins of `lanes` that are not answered yet, in order.
    pub(super) arrivals: Vec<LogIn>,
    /// When the newest of them came.
    pub(super) arrived: u64,
    /// What was seen of them in this call.
    pub(super) lanes: Batch,
    /// Answers on lanes to numbers that nobody is logged in with.
    pub(super) strangers: Vec<(i64, Vec<u8>)>,
    /// Answers to clients that have no link, in this call.
    pub(super) turned_away: Vec<(i64, Vec<u8>)>,
    /// Who is being removed: what waits may still come as one of its sessions ends before another.
    pub(super) leaving: u32,
    /// Who was behind a link that is over in this call.
    over: HashMap<Link, u32>,
}

/// The text of message number `serial`, so many bytes longer than it must be.
pub(super) fn text(serial: u32, more: usize) -> Vec<u8> {
    let mut text = format!("m{serial}.").into_bytes();
    text.resize(text.len() + more, b'-');
    text
}

/// Which message a text is, with names or a frame's fields before it or none.
pub(super) fn serial(text: &[u8]) -> Option<u32> {
    let begins = |at: usize| {
        text[at..].starts_with(b"m")
            && text.get(at + 1).is_some_and(u8::is_ascii_digit)
            && (at == 0 || matches!(text[at - 1], b' ' | 0))
    };
    let at = (0..text.len()).find(|at| begins(*at))?;
    let digits = text[at + 1..].split(|byte| *byte == b'.').next()?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// A name as it is compared: `lanes` writes an inner space as `_`.
pub(super) fn folded(name: &[u8]) -> Vec<u8> {
    name.iter().map(|byte| if *byte == b' ' { b'_' } else { *byte }).collect()
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
        let sender = exchange.find_user(Target::User(from));
        let sender_name = sender.map_or(&b""[..], |sender| sender.name).to_vec();
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
        self.accepted += 1;
        let message = Message {
            from,
            sender_name,
            arrival: self.accepted,
            group,
            former: false,
            priority,
            accepted: now,
            promised: false,
            copies,
            echoed: Vec::new(),
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
        self.arrivals.clear();
        self.members.clone_from(&shelf.members);
        self.chats.clone_from(&shelf.chats);
        self.present.clear();
        for message in self.messages.values_mut() {
            for copy in message.copies.values_mut() {
                copy.doubtful |= !message.promised;
                copy.given.clear();
            }
        }
    }

    /// The questions that are open.
    pub(super) fn questions(&self) -> Vec<Token> {
        let mut open: Vec<Token> = self.clients.values().filter_map(|c| c.question).collect();
        open.extend(self.arrivals.iter().filter_map(|log_in| log_in.question));
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
        self.over.insert(link, client.user);
        if client.dialect == Dialect::Rooms {
            self.present.retain(|(user, _)| *user != client.user);
        }
        self.arrivals.retain(|log_in| log_in.link != Some(link));
        for message in self.messages.values_mut() {
            if let Some(copy) = message.copies.get_mut(&client.user) {
                copy.moved = true;
            }
        }
    }
}
