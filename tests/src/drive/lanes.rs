//! Clients of `lanes`: all read from one queue, each its own types. Who logs in has no lane yet, and
//! any of them may read any answer to a log-in.

use centrala_core::dialect::Dialect;
use centrala_core::dialect::lanes::{self, Element, Order, answer_lane, lane, text};
use centrala_core::exchange::{Exchange, Link, Token};
use centrala_core::request::Target;

use super::host::Place;
use super::model::{self, Model, Seen};
use super::{Life, MESSAGE_LENGTH, NAMES, pick};

/// Log-ins that come within so many milliseconds are answered together.
const GATHER: u64 = 5;
/// So long a password may follow its name.
const PASSWORD: u64 = 1_000;
/// So long the answer to a log-in may lie unread.
const UNREAD: u64 = 5_000;

/// A log-in that is not answered yet.
#[derive(Clone, Debug)]
pub(super) struct LogIn {
    /// The name it gave, as this dialect writes it.
    claim: Vec<u8>,
    since: u64,
    /// It gave no password, and may give it still.
    awaits: bool,
    pub(super) question: Option<Token>,
    /// Its session, once it is known who it is.
    pub(super) link: Option<Link>,
}

/// What is seen of log-ins in one call.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The log-in that this call is about.
    asking: Option<usize>,
    /// Log-ins whose first message was seen, by place.
    first: Vec<usize>,
    /// Users who are logged in.
    good: Vec<u32>,
    seconds: usize,
    /// Refused ones whose session has not ended yet.
    refused: u32,
    /// There is no session for the one that comes in: its answer goes out at once.
    full: bool,
}

impl Life<'_, '_> {
    fn element(&mut self, lane: i64, first: i32, second: i32, text: &[u8]) {
        let mut bytes = vec![0; lanes::SIZE];
        let len = Element { lane, first, second, text }.emit(&mut bytes).expect("it fits");
        self.receive_at(Dialect::Lanes, &bytes[..len]);
    }

    /// A log-in: a name, and perhaps a password behind it.
    pub(super) fn lanes_log_in(&mut self, who: u8, alone: bool, password: bool) {
        let Some(name) = pick(&NAMES, who) else { return };
        if self.world.desk.endpoint(Dialect::Lanes).is_none() {
            return;
        }
        let known = self.exchange.find_user(Target::UserName(name.as_bytes()));
        let known = known.map(|user| user.number);
        let claim = model::folded(name.as_bytes());
        let mut text = claim.clone();
        if !alone {
            text.extend_from_slice(if password { b" secret" } else { b" " });
        }
        let passwords = &self.world.model.passwords;
        let open = known.is_some_and(|user| !passwords.get(&user).is_some_and(|known| *known));
        let full = self.exchange.usage().sessions == self.exchange.capacity().sessions;
        let since = self.world.now;
        let model = &mut self.world.model;
        if full {
            model.lanes.full = true;
        } else {
            let awaits = alone && !open;
            model.arrivals.push(LogIn { claim, since, awaits, question: None, link: None });
            model.arrived = since;
            model.lanes.asking = Some(model.arrivals.len() - 1);
        }
        let users = self.exchange.limits().lanes.users;
        let free = |user: &u32| {
            *user <= users && !self.has_session(*user, Dialect::Lanes) && open && !full
        };
        let binds = known.filter(free).filter(|_| self.world.desk.queue.is_some());
        self.element(lanes::TO_SERVER, 0, Order::LogIn.second(0), &text);
        if let Some(user) = binds {
            assert!(self.has_session(user, Dialect::Lanes), "{name} is not logged in");
        }
    }

    /// A password that follows a name.
    pub(super) fn lanes_password(&mut self, right: bool) {
        if self.world.desk.endpoint(Dialect::Lanes).is_none() {
            return;
        }
        let model = &mut self.world.model;
        // Of the one that has waited longest.
        if let Some(at) = model.arrivals.iter().position(|log_in| log_in.awaits) {
            model.arrivals[at].awaits = false;
            model.lanes.asking = Some(at);
        }
        self.element(lanes::PASSWORD, 0, 0, if right { b"secret" } else { b"" });
    }

    /// Somebody reads what lies where the answers to log-ins lie, or one of a user's messages or
    /// answers.
    pub(super) fn lanes_read(&mut self, lane: u8) {
        let p = self.exchange.limits().lanes.users;
        let lane = match i64::from(lane) % (2 * i64::from(p) + 1) {
            0 => lanes::LOG_IN_ANSWER,
            lane => lane + 3,
        };
        self.world.desk.read(Place::lane(lane));
    }

    fn lanes_client(&mut self, which: u8) -> Option<(Link, u32)> {
        // Whoever does not know its number yet asks for nothing.
        let arrivals = &self.world.model.arrivals;
        let answered = |link: &Link| !arrivals.iter().any(|log_in| log_in.link == Some(*link));
        let links: Vec<Link> = self.of(Dialect::Lanes).into_iter().filter(answered).collect();
        let link = pick(&links, which)?;
        let user = self.client(link).user;
        Some((link, user))
    }

    /// A client has to read its number before it can use it.
    fn read_number(&mut self, user: u32) {
        let place = Place::lane(lanes::LOG_IN_ANSWER);
        let Some(lying) = self.world.desk.lying.get_mut(&place) else { return };
        for second in [false, true] {
            let first = lying.iter().position(|lying| {
                let element = Element::new_checked(&lying.frame).expect("an answer");
                match element.text.is_empty() {
                    true => second,
                    false => !second && i64::from(element.first) == lane(user),
                }
            });
            if let Some(first) = first {
                lying.remove(first);
            }
        }
    }

    /// One request of a client that is logged in, with its one answer.
    fn lanes_request(&mut self, link: Link, second: i32, text: &[u8]) -> Option<(i32, Vec<u8>)> {
        let user = self.client(link).user;
        self.read_number(user);
        let client = self.client(link);
        client.results.clear();
        client.answered = None;
        let lists = client.due.len();
        self.element(lanes::TO_SERVER, lane(user) as i32, second, text);
        // Of whoever logged out only the end is seen.
        let client = self.world.model.clients.get(&link)?;
        let answers = client.results.len() + client.due.len() - lists.min(client.due.len());
        assert!(answers <= 1 + lists, "more than one answer to {second}: {:?}", client.results);
        client.results.last().cloned()
    }

    /// Anything but a message.
    pub(super) fn lanes_ask(&mut self, link: u8, what: u8, group: u8) {
        let Some((link, user)) = self.lanes_client(link) else { return };
        let lanes = self.exchange.limits().lanes;
        let j = u32::from(group) % lanes.groups + 1;
        let known = self.exchange.find_group(Target::Group(j)).is_some();
        match what % 6 {
            0 => {
                let second = Order::LogOut.second(lanes.groups);
                self.lanes_request(link, second, b"");
                assert!(!self.world.model.clients.contains_key(&link), "logged out");
            }
            1 => {
                self.client(link).due.push(0);
                let got = self.lanes_request(link, Order::Online.second(lanes.groups), b"");
                let names = self.users().into_iter().filter(|user| self.is_online(*user));
                let want = self.names(names, b",");
                if self.client(link).due.is_empty() {
                    assert_eq!(got, Some((0, want)));
                }
            }
            2 if known => {
                self.client(link).due.push(0);
                let got = self.lanes_request(link, Order::Members(j).second(lanes.groups), b"");
                let members = self.world.model.members.keys().filter(|(_, of)| *of == j);
                let members: Vec<u32> = members.map(|(user, _)| *user).collect();
                let want = self.names(members.into_iter(), b" ");
                if self.client(link).due.is_empty() {
                    assert_eq!(got, Some((0, want)));
                }
            }
            3 | 4 => {
                let join = what % 6 == 3;
                let order = if join { Order::Join(j) } else { Order::Leave(j) };
                let good = self.member(user, j, join);
                let got = self.lanes_request(link, order.second(lanes.groups), b"");
                match good {
                    true => assert_eq!(got, Some((j as i32, Vec::new())), "{order:?}"),
                    false => assert_eq!(got, Some((0, text::ERROR.to_vec())), "{order:?}"),
                }
            }
            // Out of range, or about no group.
            which => {
                let beyond = Order::ToUser(lanes.users + 1).second(lanes.groups);
                let none = Order::Members(j).second(lanes.groups);
                let second = if which == 2 { none } else { beyond };
                self.world.model.strangers.clear();
                let got = self.lanes_request(link, second, b"");
                let error = match got {
                    Some(got) => vec![(answer_lane(user, lanes.users), got.1)],
                    None => self.world.model.strangers.clone(),
                };
                let want = [(answer_lane(user, lanes.users), text::ERROR.to_vec())];
                assert_eq!(error, want, "{second} is out of range");
            }
        }
    }

    /// A number that nobody is logged in with.
    pub(super) fn lanes_stranger(&mut self, k: u8) {
        let lanes = self.exchange.limits().lanes;
        let k = u32::from(k) % (lanes.users + 2);
        let bound = k != 0
            && self
                .world
                .model
                .clients
                .values()
                .any(|client| (client.dialect, client.user) == (Dialect::Lanes, k));
        if bound || self.world.desk.endpoint(Dialect::Lanes).is_none() {
            return;
        }
        self.world.model.strangers.clear();
        self.element(lanes::TO_SERVER, lane(k) as i32, Order::Online.second(lanes.groups), b"");
        let want: &[_] = match k {
            // It names no lane.
            0 => &[],
            k if k > lanes.users => &[],
            k => &[(answer_lane(k, lanes.users), text::ERROR.to_vec())],
        };
        assert_eq!(self.world.model.strangers, want);
    }

    fn names(&self, users: impl Iterator<Item = u32>, behind: &[u8]) -> Vec<u8> {
        let mut names = Vec::new();
        for user in users {
            let name = self.exchange.find_user(Target::User(user)).expect("a user").name;
            names.extend(model::folded(name));
            names.extend_from_slice(behind);
        }
        names
    }

    /// A message to a user, or to a group.
    pub(super) fn lanes_send(&mut self, link: u8, group: bool, to: u8, more: u8) {
        let Some((link, user)) = self.lanes_client(link) else { return };
        let lanes = self.exchange.limits().lanes;
        let number = match group {
            true => u32::from(to) % lanes.groups + 1,
            false => u32::from(to) % lanes.users + 1,
        };
        let (order, to) = match group {
            true => (Order::ToGroup(number), Target::Group(number)),
            false => (Order::ToUser(number), Target::User(number)),
        };
        let known = match group {
            true => self.exchange.find_group(to).is_some(),
            false => self.exchange.find_user(to).is_some(),
        };
        let member = !group || !known || self.world.model.members.contains_key(&(user, number));
        let serial = self.world.model.reserve();
        let body = model::text(serial, usize::from(more % 80));
        let fits = body.len() <= MESSAGE_LENGTH;
        let now = self.world.now;
        let accepted = (fits && known && member).then(|| {
            let serial = self.world.model.accept(&self.exchange, user, to, (&body, 3), now);
            // Its answer comes at once.
            self.world.model.promise(serial);
            serial
        });
        let got = self.lanes_request(link, order.second(lanes.groups), &body);
        let (_, got) = got.expect("an answer");
        let lost = !self.world.model.lost.is_empty();
        match accepted {
            None if known && !member => assert_eq!(got, text::NOT_A_MEMBER, "{order:?}"),
            None => assert_eq!(got, text::ERROR, "{order:?}"),
            Some(serial) if got == text::ERROR => {
                assert!(lost, "{order:?} was refused for nothing");
                if let (false, Some(serial)) = (group, serial) {
                    self.world.model.forget(serial);
                }
            }
            Some(_) => assert_eq!(got, text::SENT, "{order:?}"),
        }
    }

    /// What lies where the answers to log-ins lie does not lie there for long.
    pub(super) fn lanes_audit(&self) {
        let Some(lying) = self.world.desk.lying.get(&Place::lane(lanes::LOG_IN_ANSWER)) else {
            return;
        };
        let now = self.world.now;
        let mut seconds = 0;
        for lying in lying {
            let element = Element::new_checked(&lying.frame).expect("an answer");
            seconds += usize::from(element.text.is_empty());
            let old = lying.since + UNREAD <= now;
            assert!(!old || element.text != text::LOGGED_IN, "{element:?} lies too long");
        }
        let fresh = |client: &&model::Client| client.answered.is_some_and(|at| at + UNREAD > now);
        let fresh = self.world.model.clients.values().filter(fresh).count();
        assert!(seconds <= fresh, "{seconds} second messages for {fresh} log-ins");
    }
}

impl Model {
    /// The name that a session that was just opened gave.
    pub(super) fn claim_of_lane(&mut self, link: Link) -> Option<Vec<u8>> {
        match self.lanes.asking.and_then(|at| self.arrivals.get_mut(at)) {
            Some(log_in) => {
                log_in.link = Some(link);
                Some(log_in.claim.clone())
            }
            None => self.claim.clone(),
        }
    }

    /// A question is about to be answered.
    pub(super) fn lanes_verified(&mut self, token: Token) {
        let asked = self.arrivals.iter().position(|log_in| log_in.question == Some(token));
        if let Some(at) = asked {
            self.arrivals[at].question = None;
            self.lanes.asking = asked;
        }
    }

    /// Whether a question is about the log-in of this call.
    pub(super) fn asks_for_lane(&mut self, token: Token) -> bool {
        let log_in = self.lanes.asking.and_then(|at| self.arrivals.get_mut(at));
        log_in.is_some_and(|log_in| {
            assert!(log_in.question.is_none(), "two questions at once");
            log_in.question = Some(token);
            true
        })
    }

    /// The session of a log-in that was refused is over.
    pub(super) fn refused_of_lanes(&mut self) -> bool {
        let any = self.lanes.refused != 0;
        self.lanes.refused = self.lanes.refused.saturating_sub(1);
        any
    }

    /// An answer of `lanes`.
    pub(super) fn lanes_answered(&mut self, exchange: &Exchange<'_>, link: Link, frame: &[u8]) {
        let element = Element::new_checked(frame).expect("an answer");
        let limits = exchange.limits().lanes;
        if element.lane == lanes::LOG_IN_ANSWER {
            return self.log_in_answered(exchange, &element);
        }
        let Some(client) = self.clients.get_mut(&link) else {
            return self.strangers.push((element.lane, element.text.to_vec()));
        };
        let own = (answer_lane(client.user, limits.users), lane(client.user) as i32);
        assert_eq!((element.lane, element.first), own, "an answer on another's lane");
        // A list that had to wait goes out before any other answer.
        if !client.due.is_empty() {
            client.due.remove(0);
        }
        client.results.push((element.second, element.text.to_vec()));
    }

    fn log_in_answered(&mut self, exchange: &Exchange<'_>, element: &Element<'_>) {
        let limits = exchange.limits().lanes;
        let refusals = [text::WRONG_LOGIN, text::WRONG_PASSWORD, text::IN_USE];
        if element.text.is_empty() {
            let all = (element.first, element.second);
            assert_eq!(all, (limits.users as i32, limits.groups as i32), "a second message");
            self.lanes.seconds += 1;
            return;
        }
        assert_eq!(self.lanes.seconds, 0, "a first message behind a second one");
        if std::mem::take(&mut self.lanes.full) {
            return assert_eq!((element.second, element.text), (1, text::WRONG_LOGIN));
        }
        let open = self.arrivals.iter().find(|log_in| log_in.question.is_some());
        assert!(open.is_none(), "answers before it is known how {open:?} went");
        // Those that are still to give a password are answered later.
        let after = self.lanes.first.last().map_or(0, |at| at + 1);
        let next = (after..self.arrivals.len()).find(|at| !self.arrivals[*at].awaits);
        let next = next.expect("an answer to nobody");
        self.lanes.first.push(next);
        match element.second {
            0 => {
                assert_eq!(element.text, text::LOGGED_IN);
                let user = element.first as u32 - lanes::NUMBER;
                let name = exchange.find_user(Target::User(user)).map(|user| user.name);
                let claim = self.arrivals[next].claim.clone();
                assert_eq!(
                    name.map(model::folded),
                    Some(claim),
                    "answers in the order of their requests"
                );
                self.lanes.good.push(user);
            }
            second => {
                assert!(second == 1 && refusals.contains(&element.text), "{element:?}");
                self.lanes.refused += 1;
            }
        }
    }

    /// After a call: who was answered is no log-in any more.
    pub(super) fn lanes_settled(&mut self, now: u64) {
        let batch = std::mem::take(&mut self.lanes);
        assert_eq!((batch.good.len(), batch.refused), (batch.seconds, 0), "{batch:?}");
        assert!(!batch.full, "no answer to a log-in for which there is no session");
        if batch.first.is_empty() {
            return;
        }
        let all: Vec<usize> =
            (0..self.arrivals.len()).filter(|at| !self.arrivals[*at].awaits).collect();
        assert_eq!(batch.first, all, "all that wait are answered together");
        for client in self.clients.values_mut().filter(|of| of.dialect == Dialect::Lanes) {
            if batch.good.contains(&client.user) {
                client.answered = Some(now);
            }
        }
        self.arrivals.retain(|log_in| log_in.awaits);
    }

    /// Time has come to this: a password that has not come is not waited for.
    pub(super) fn passwords_overdue(&mut self, now: u64) {
        for log_in in &mut self.arrivals {
            log_in.awaits &= log_in.since + PASSWORD > now;
        }
    }

    /// How late an answer to a log-in may be.
    pub(super) fn audit_log_ins(&self, now: u64) {
        let open = self.arrivals.iter().any(|log_in| log_in.question.is_some());
        for log_in in &self.arrivals {
            let late = !log_in.awaits && !open && self.arrived + GATHER <= now;
            assert!(!late, "{log_in:?} waits at {now}");
        }
    }
}

/// A delivery of `lanes`.
pub(super) fn seen(exchange: &Exchange<'_>, user: u32, frame: &[u8]) -> Seen {
    let element = Element::new_checked(frame).expect("whole");
    let limits = exchange.limits().lanes;
    assert_eq!(element.lane, lane(user), "on another's lane");
    let from = element.first as u32 - lanes::NUMBER;
    assert!(from <= limits.users, "a sender without a lane");
    let sender = exchange.find_user(Target::User(from)).map(|from| from.name.to_vec());
    let group = element.second as u32;
    assert!(group <= limits.groups, "a group that is not addressed here");
    let beyond = element.text.first() == Some(&b'#');
    Seen {
        text: element.text.to_vec(),
        dm: group == 0 && !beyond,
        former: group == 0 && element.text.starts_with(b"#0 "),
        sender,
        group: (!beyond).then_some(group),
        ..Seen::default()
    }
}
