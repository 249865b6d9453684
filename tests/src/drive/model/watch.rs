//! What the outbox was given, against what must be.

use centrala_core::dialect::Dialect;
use centrala_core::event::Limit;
use centrala_core::exchange::{Exchange, Link};
use centrala_core::request::Target;

use super::{Client, Model, Unanswered, folded, serial};
use crate::drive::host::Event;
use crate::drive::{direct, lanes, line, queues, rooms, topics};

/// A delivery, whatever its dialect.
#[derive(Debug, Default)]
pub(in crate::drive) struct Seen {
    pub(in crate::drive) text: Vec<u8>,
    /// Whether it is a direct message.
    pub(in crate::drive) dm: bool,
    /// Whether its group is no more.
    pub(in crate::drive) former: bool,
    /// Whether it does not tell one of these from a direct message of nobody.
    pub(in crate::drive) unsure: bool,
    /// Whether its recipient has to answer for it.
    pub(in crate::drive) live: bool,
    /// The id to answer with, and to whom.
    pub(in crate::drive) answer: Option<(u32, [u8; 8])>,
    /// The name of its sender, where it says that; empty is nobody.
    pub(in crate::drive) sender: Option<Vec<u8>>,
    /// Its group, where it says that; 0 for a direct message.
    pub(in crate::drive) group: Option<u32>,
    /// When it was accepted, in Unix seconds, where it says that.
    pub(in crate::drive) time: Option<u64>,
}

impl Model {
    /// Looks at all that a call gave the outbox.
    pub(in crate::drive) fn saw<'e>(
        &mut self,
        exchange: &Exchange<'_>,
        events: impl Iterator<Item = &'e Event> + Clone,
        now: u64,
    ) {
        self.lost.clear();
        self.turned_away.clear();
        // What a link's end lets go makes room again, behind what was refused for want of it.
        let freed = events.clone().any(|event| matches!(event, Event::Close(_)));
        // First whose copies were not kept, and who is behind which link: both are needed below.
        for event in events.clone() {
            match event {
                Event::NotKept(user, limit) => self.not_kept(exchange, *user, *limit, freed),
                Event::Open(link, address) => {
                    // One that was opened and closed in the same call is not there any more.
                    let dialect = exchange.dialect_of(*link).unwrap_or(Dialect::Topics);
                    let mut client = Client::new(dialect, now);
                    client.key = *address;
                    client.claim.clone_from(&self.claim);
                    if dialect == Dialect::Lanes {
                        client.claim = self.claim_of_lane(*link);
                    }
                    self.clients.insert(*link, client);
                    self.feeding = Some(*link);
                }
                Event::TurnedAway(address, frame) => {
                    self.turned_away.push((*address, frame.clone()));
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
                Event::Merge(link, into) => {
                    let client = self.clients.remove(link).expect("a socket");
                    let known = self.clients.get(into).expect("a session");
                    let user = exchange.find_user(Target::User(known.user)).map(|user| user.name);
                    assert_eq!(user, client.claim.as_deref(), "the session of another");
                    assert_eq!(known.dialect, Dialect::Rooms);
                }
                Event::Close(link) if self.clients.contains_key(link) => self.ended(*link),
                Event::Close(link) => assert!(self.refused_of_lanes(), "{link:?} was closed"),
                Event::Unread(link, frame) => {
                    let client = self.clients.get(link).map(|client| client.user);
                    let user = client.or(self.over.get(link).copied()).expect("who was there");
                    self.give_back(serial(frame), user);
                }
                Event::Ask(token) if self.asks_for_lane(*token) => {}
                Event::Ask(token) => {
                    let client = self.feeding.and_then(|link| self.clients.get_mut(&link));
                    let client = client.expect("a question about a link that is there");
                    assert!(client.question.is_none(), "two questions at once");
                    client.question = Some(*token);
                }
                Event::NotKept(..) | Event::Open(..) | Event::TurnedAway(..) => {}
            }
        }
        self.absent();
        self.lanes_settled(now);
        self.over.clear();
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
        self.leaving = 0;
        self.feeding = None;
        self.claim = None;
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
                let claim = client.claim.as_deref().map(folded);
                assert_eq!(Some(folded(user.name)), claim, "{link:?} is somebody else");
                let asked = self.passwords.get(&user.number).is_some_and(|known| *known);
                assert!(!asked || self.verified, "logged in without a password");
                client.user = user.number;
            }
            assert_eq!(client.user, user.number, "{link:?} became somebody else");
        }
    }

    fn delivered(&mut self, exchange: &Exchange<'_>, link: Link, frame: &[u8], mark: Option<u32>) {
        let client = self.clients.get(&link).expect("a delivery to a link that is known");
        let (user, dialect) = (client.user, client.dialect);
        assert_ne!(user, 0, "a delivery to nobody");
        let seen = match dialect {
            Dialect::Direct => direct::seen(exchange, user, frame),
            Dialect::Native => line::seen(frame, mark.unwrap_or(0)),
            Dialect::Topics => topics::seen(frame),
            Dialect::Queues => queues::seen(exchange, user, client.key, frame),
            Dialect::Lanes => lanes::seen(exchange, user, frame),
            Dialect::Rooms => rooms::seen(self, exchange, user, frame),
        };
        assert!(!(seen.live && mark.is_some()), "a live message is no mail");
        let serial = serial(&seen.text);
        let client = self.clients.get_mut(&link).expect("known above");
        if let Some((id, src)) = seen.answer {
            client.unanswered.push(Unanswered { id, src, serial });
        }
        if let Some(mark) = mark {
            client.outstanding.push((mark, serial));
        }
        if user == self.leaving {
            return;
        }
        let Some(serial) = serial else { return };
        let Some(message) = self.messages.get_mut(&serial) else { return };
        if dialect == Dialect::Rooms && message.from == user && !message.copies.contains_key(&user)
        {
            assert!(!message.echoed.contains(&link), "m{serial} is shown twice on {link:?}");
            return message.echoed.push(link);
        }
        let Some(copy) = message.copies.get_mut(&user) else {
            panic!("m{serial} was delivered to user {user}, who is no recipient");
        };
        // A sender that is gone must not look like another user; and what a queue gave back does
        // not always say whom it was from.
        if let Some(name) = &seen.sender {
            let known = *name == message.sender_name || name.is_empty();
            assert!(known || copy.returned, "m{serial} is not from {name:?}: {message:?}");
        }
        if let (Some(time), false) = (seen.time, copy.returned) {
            assert_eq!(
                time,
                (crate::drive::EPOCH + message.accepted) / 1000,
                "when m{serial} came"
            );
        }
        if !copy.returned && !seen.unsure {
            let group = if message.former { 0 } else { message.group };
            assert!(seen.group.is_none_or(|of| of == group), "m{serial} is of another group");
            assert_eq!(seen.former, message.former, "m{serial} is of another group");
            assert_eq!(seen.dm, message.group == 0, "m{serial} is of another kind");
        }
        let again = copy.given.contains(&link);
        assert!(!again || copy.returned, "m{serial} twice on {link:?}");
        if copy.given.is_empty() && !copy.returned && !copy.moved {
            let dm = message.group == 0;
            let newest = client.newest.entry((message.priority, dm, message.former)).or_default();
            assert!(*newest <= message.arrival, "m{serial} after a newer one on {link:?}");
            *newest = message.arrival;
        }
        copy.given.push(link);
        copy.taken |= !seen.live && mark.is_none();
        if copy.taken {
            self.took.insert(user);
        }
        if copy.last && !message.former && matches!(dialect, Dialect::Topics | Dialect::Native) {
            self.endings.push((link, message.group));
        }
    }

    fn answered(&mut self, exchange: &Exchange<'_>, link: Link, frame: &[u8]) {
        match exchange.dialect_of(link).or(self.clients.get(&link).map(|client| client.dialect)) {
            Some(Dialect::Direct) => self.direct_answered(exchange, link, frame),
            Some(Dialect::Native) => self.native_answered(exchange, link, frame),
            Some(Dialect::Topics) => self.topics_answered(link, frame),
            Some(Dialect::Queues) => self.queues_answered(link, frame),
            Some(Dialect::Lanes) => self.lanes_answered(exchange, link, frame),
            Some(Dialect::Rooms) => self.rooms_answered(link, frame),
            None => panic!("an answer to {link:?}"),
        }
    }
}
