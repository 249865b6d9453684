//! Senders and recipients, and what each recipient is still to get.

use super::fleet::{Came, Fleet, SILENCE};
use super::report::Progress;
use super::text::Texts;
use crate::failure::Failure;
use crate::wait::TICK;
use centrala_core::dialect::native::{Event, Message, Request, To, Who};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Where a sender's messages go.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// To the user of this number.
    User(u32),
    /// To the group of this number.
    Group(u32),
}

/// Who sends.
#[derive(Debug)]
pub struct Sender {
    place: usize,
    to: Target,
    /// Recipients of each message.
    copies: u32,
    /// Messages sent.
    sent: u64,
    /// Messages that all recipients have.
    settled: u64,
    /// How many recipients have each message behind those.
    have: VecDeque<u32>,
}

/// Who gets messages, of senders that follow one another.
#[derive(Debug)]
struct Recipient {
    first: usize,
    /// The number of the next message of each.
    next: Vec<u64>,
}

/// How much is sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Messages of each sender; `None`: until the time is over.
    pub messages: Option<u64>,
    /// How long; `None`: until all messages are sent.
    pub time: Option<Duration>,
    /// Messages on their way, of each sender.
    pub window: u64,
    /// Messages a second, of all senders.
    pub rate: Option<u32>,
}

/// What was sent and has arrived.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// Messages.
    pub messages: u64,
    /// What came of them.
    pub deliveries: u64,
    /// Those among them that had waited with the exchange.
    pub waited: u64,
}

/// The traffic of a run.
#[derive(Debug)]
pub struct Traffic<'t> {
    texts: &'t Texts,
    senders: Vec<Sender>,
    /// By place.
    recipients: Vec<Option<Recipient>>,
    moved: Moved,
}

impl<'t> Traffic<'t> {
    /// Of nobody.
    pub fn new(texts: &'t Texts) -> Traffic<'t> {
        Traffic { texts, senders: Vec::new(), recipients: Vec::new(), moved: Moved::default() }
    }

    /// Adds a sender.
    pub fn sender(&mut self, place: usize, to: Target, copies: u32) {
        let have = VecDeque::new();
        self.senders.push(Sender { place, to, copies, sent: 0, settled: 0, have });
    }

    /// Adds a recipient of the messages of `senders`.
    pub fn recipient(&mut self, place: usize, senders: std::ops::Range<usize>) {
        if self.recipients.len() <= place {
            self.recipients.resize_with(place + 1, || None);
        }
        let recipient = Recipient { first: senders.start, next: vec![0; senders.len()] };
        self.recipients[place] = Some(recipient);
    }

    /// Takes in an event; says what is wrong with it.
    fn arrived(&mut self, fleet: &Numbers, place: usize, event: &Event<'_>) -> Result<(), Came> {
        let message = match event {
            Event::Message(message) => message,
            Event::Refused { why, .. } => return Err(Came::Refused(*why)),
            _ => return Ok(()),
        };
        let wrong = |what: String| Err(Came::Wrong(what));
        let Some((sender, number)) = self.texts.read(message.text) else {
            if message.mark != 0 || message.offline {
                // Kept since a run that was killed.
                return Ok(());
            }
            return wrong(format!("got a message that nobody sent, {}", described(message)));
        };
        let recipient = self.recipients.get_mut(place).and_then(Option::as_mut);
        let next = recipient.and_then(|recipient| {
            let at = (sender as usize).checked_sub(recipient.first)?;
            recipient.next.get_mut(at)
        });
        let (Some(next), Some(of)) = (next, self.senders.get_mut(sender as usize)) else {
            return wrong(format!("got message {number} of sender {sender}, which is for others"));
        };
        let group = match of.to {
            Target::Group(group) => Some(group),
            Target::User(_) => None,
        };
        if message.from.number != fleet.0[of.place]
            || message.group.map(|group| group.number) != group
        {
            return wrong(format!(
                "message {number} of sender {sender} came as {}",
                described(message)
            ));
        }
        if number != *next {
            let how = if number < *next { "a second time" } else { "too early" };
            return wrong(format!(
                "message {number} of sender {sender} came {how}: the next one is {next}"
            ));
        }
        *next += 1;
        self.moved.deliveries += 1;
        self.moved.waited += u64::from(message.mark != 0);
        let Some(have) = number.checked_sub(of.settled).and_then(|at| of.have.get_mut(at as usize))
        else {
            return wrong(format!("message {number} of sender {sender} came before it was sent"));
        };
        *have += 1;
        while of.have.front().is_some_and(|have| *have == of.copies) {
            of.have.pop_front();
            of.settled += 1;
        }
        Ok(())
    }

    /// Sends all that may be sent. `allowed`: messages of each sender so far, by the rate.
    fn send(&mut self, fleet: &mut Fleet<'_>, plan: &Plan, allowed: u64) -> Result<(), Failure> {
        let mut text = Vec::new();
        for (at, sender) in self.senders.iter_mut().enumerate() {
            let on_their_way = sender.sent - sender.settled;
            // A window half empty is filled at once: few large writes.
            if plan.rate.is_none() && on_their_way > plan.window / 2 {
                continue;
            }
            let most = (sender.settled + plan.window).min(allowed);
            if sender.sent >= most {
                continue;
            }
            while sender.sent < most {
                self.texts.write(at as u32, sender.sent, &mut text);
                let to = match sender.to {
                    Target::User(number) => To::User(Who::Number(number)),
                    Target::Group(number) => To::Group(Who::Number(number)),
                };
                let send = Request::Send { to, priority: 3, receipt: false, text: &text };
                fleet.connection(sender.place).tell(&send);
                sender.sent += 1;
                sender.have.push_back(0);
                self.moved.messages += 1;
            }
            fleet.flush(sender.place)?;
        }
        Ok(())
    }

    /// Sends, and waits until all of it has arrived.
    ///
    /// # Errors
    /// The exchange is gone, or a delivery is missing or not as it must be.
    pub fn run(
        &mut self,
        fleet: &mut Fleet<'_>,
        plan: &Plan,
        progress: &mut Progress,
    ) -> Result<Moved, Failure> {
        let numbers = Numbers((0..fleet.len()).map(|place| fleet.number(place)).collect());
        let begun = Instant::now();
        let mut last = begun;
        loop {
            let elapsed = begun.elapsed();
            let over = plan.time.is_some_and(|time| elapsed >= time);
            let mut allowed = plan.messages.unwrap_or(u64::MAX);
            let mut due = TICK;
            if let Some(rate) = plan.rate {
                let each = f64::from(rate) / self.senders.len() as f64;
                let by_rate = (elapsed.as_secs_f64() * each) as u64 + 1;
                let next = Duration::from_secs_f64(by_rate as f64 / each);
                due = next.saturating_sub(elapsed).min(TICK).max(Duration::from_millis(1));
                allowed = allowed.min(by_rate);
            }
            if !over {
                self.send(fleet, plan, allowed)?;
            }
            let settled = self.senders.iter().all(|sender| sender.sent == sender.settled);
            let all = plan.messages.is_some_and(|all| self.senders.iter().all(|s| s.sent == all));
            if settled && (over || all) {
                break;
            }
            if fleet.turn(due, |place, event| self.arrived(&numbers, place, event))? || settled {
                last = Instant::now();
            } else if last.elapsed() >= SILENCE {
                return Err(Failure::Wrong(self.missing()));
            }
            progress.show(|| {
                let per_second = self.moved.deliveries as f64 / begun.elapsed().as_secs_f64();
                format!("{} deliveries, {per_second:.0} a second", self.moved.deliveries)
            });
        }
        Ok(self.moved)
    }

    /// Looks for what comes behind the last message: everything given for a link is in front of the
    /// answer to a ping.
    ///
    /// # Errors
    /// As [`Traffic::run`].
    pub fn look_behind(&mut self, fleet: &mut Fleet<'_>) -> Result<(), Failure> {
        let numbers = Numbers((0..fleet.len()).map(|place| fleet.number(place)).collect());
        let all = 0..fleet.len();
        let arrived = |place, event: &Event<'_>| self.arrived(&numbers, place, event);
        fleet.ask_all(all, &Request::Ping, arrived).map(drop)
    }

    fn missing(&self) -> String {
        let silence = SILENCE.as_secs();
        let late = self.senders.iter().enumerate().filter(|(_, of)| of.sent != of.settled);
        let which = late.map(|(at, of)| {
            let missing: u64 = of.have.iter().map(|have| u64::from(of.copies - have)).sum();
            (at, of.settled, missing)
        });
        let (mut first, mut all) = (None, 0);
        for (at, number, missing) in which {
            first = first.or(Some((at, number)));
            all += missing;
        }
        let (at, number) = first.unwrap_or_default();
        format!(
            "{all} deliveries are missing: nothing came for {silence} s; the first is message \
             {number} of sender {at}"
        )
    }
}

/// The users' numbers, by place.
#[derive(Debug)]
struct Numbers(Vec<u32>);

fn described(message: &Message<'_>) -> String {
    let name = String::from_utf8_lossy(message.from.name);
    let group = message
        .group
        .map_or(String::new(), |group| format!(" in #{}", String::from_utf8_lossy(group.name)));
    format!("{} bytes of @{name}{group}", message.text.len())
}
