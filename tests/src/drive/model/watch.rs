//! What the outbox was given, against what must be.

use centrala_core::dialect::{Dialect, direct, topics};
use centrala_core::event::Limit;
use centrala_core::exchange::{Exchange, Link};

use super::{Client, Model, Unanswered, serial};
use crate::drive::host::Event;

impl Model {
    /// Looks at all that a call gave the outbox.
    pub(in crate::drive) fn saw<'e>(
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
        let (dm, live, body) = match client.dialect {
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
                (!group, live, seen.text)
            }
            Dialect::Native => {
                let (dm, body, _) = Model::native_message(frame, mark);
                (dm, false, body)
            }
            _ => {
                let message = topics::ServerMessage::new_checked(frame).expect("whole");
                assert!(message.kind >= topics::kind::TOPIC, "not a delivery");
                client.unread.push((frame.to_vec(), mark.unwrap_or(0)));
                (message.kind >= topics::kind::DIRECT, false, message.text)
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
        let again = copy.given.contains(&link);
        assert!(!again || copy.returned, "m{serial} twice on {link:?}");
        if copy.given.is_empty() && !copy.returned && !copy.moved {
            let newest = client.newest.entry((message.priority, dm)).or_default();
            assert!(*newest <= message.arrival, "m{serial} after a newer one on {link:?}");
            *newest = message.arrival;
        }
        copy.given.push(link);
        copy.taken |= !live && mark.is_none();
        if copy.taken {
            self.took.insert(user);
        }
        if copy.last && client.dialect != Dialect::Direct {
            self.endings.push((link, message.group));
        }
    }
}
