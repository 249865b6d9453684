//! Every dialect to every dialect, and ten thousand messages through each that has queues.

mod common;

use centrala_core::dialect::direct;
use centrala_core::dialect::lanes::Order;
use centrala_core::dialect::native::{Request, To, Who};
use centrala_core::dialect::queues::kind;
use centrala_core::dialect::topics::request;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use common::native::Native;
use common::sysv::{Lanes, Office, Queues};
use common::{Direct, Topics, until};

/// A client of any dialect.
enum Client {
    Direct(Box<Direct>),
    Topics(Topics),
    Queues(Queues),
    Lanes(Lanes),
    Native(Box<Native>),
}

const NAMES: [&str; 5] = ["direct", "topics", "queues", "lanes", "native"];
const ALL: usize = NAMES.len();

impl Client {
    fn log_in(office: &Office, dialect: usize, name: &str) -> Client {
        match dialect {
            0 => Client::Direct(Box::new(office.connect(name))),
            1 => Client::Topics(office.log_in(name)),
            2 => Client::Queues(office.log_in_queues(name)),
            3 => Client::Lanes(office.log_in_lanes(name)),
            _ => Client::Native(Box::new(Native::log_in(office.native, name))),
        }
    }

    /// Writes to a user, whose number and name are given; `false`: the dialect has no word for it.
    fn write(&mut self, number: u32, name: &str, text: &str) -> bool {
        match self {
            Client::Direct(client) => {
                client.send(direct::MESSAGE, 1, name, text);
            }
            Client::Topics(_) => return false,
            Client::Queues(client) => client.write(number, text),
            Client::Lanes(client) => {
                assert_eq!(client.ask(Order::ToUser(number), text), "Wiadomosc wyslana");
            }
            Client::Native(client) => client.send(To::User(Who::Number(number)), text),
        }
        true
    }

    /// What was written has been received.
    fn written(&mut self) {
        match self {
            Client::Direct(client) => assert_eq!(client.next().3, "200"),
            Client::Native(client) => client.done(),
            _ => {}
        }
    }

    /// Writes to a group of which it is a member.
    fn publish(&mut self, group: u32, name: &str, text: &str) {
        match self {
            Client::Direct(client) => {
                client.send(direct::MESSAGE, 2, &format!("#{name}"), text);
                assert_eq!(client.next().3, "200");
            }
            Client::Topics(client) => {
                assert_eq!(client.request(request::PUBLISH, group as i32 - 1, 3, text), 0);
            }
            Client::Queues(client) => client.publish(group, text),
            Client::Lanes(client) => {
                assert_eq!(client.ask(Order::ToGroup(group), text), "Wiadomosc wyslana");
            }
            Client::Native(client) => {
                client.send(To::Group(Who::Number(group)), text);
                client.done();
            }
        }
    }

    fn join(&mut self, group: u32) {
        match self {
            Client::Direct(_) => unreachable!("it has no word for it"),
            Client::Topics(client) => {
                assert_eq!(client.request(request::SUBSCRIBE, group as i32 - 1, -1, ""), 0);
            }
            Client::Queues(client) => drop(client.join(group)),
            Client::Lanes(client) => assert_eq!(client.ask(Order::Join(group), ""), ""),
            Client::Native(client) => {
                client.ask(&Request::Join { group: Who::Number(group), count: None });
                client.done();
            }
        }
    }

    /// The text of the next message, with what the dialect writes before it.
    fn next(&mut self) -> String {
        match self {
            Client::Direct(client) => {
                let (kind, id, from, text) = client.next();
                if kind == direct::MESSAGE {
                    client.send(direct::RESPONSE, id, &from, "200");
                }
                text
            }
            Client::Topics(client) => until("a delivery", || {
                client.maybe_next(0).filter(|message| message.0 > 3).map(|message| message.2)
            }),
            Client::Queues(client) => client.next(0).text,
            Client::Lanes(client) => client.next().2,
            Client::Native(client) => client.text(),
        }
    }
}

/// A user's number, from the file of names that clients of `lanes` read.
fn number(office: &Office, name: &str) -> u32 {
    until("a user's number", || {
        let names = std::fs::read_to_string(&office.names).ok()?;
        names.lines().find_map(|line| {
            let mut words = line.strip_prefix("o ")?.split(' ');
            let number = words.next()?.parse().ok()?;
            (words.next() == Some(name)).then_some(number)
        })
    })
}

#[test]
fn every_dialect_reaches_every_dialect() {
    let office = Office::start();
    // One group for each sender, made by a client of `topics`; users by their first log-in.
    let maker = office.log_in("maker");
    for group in 0..ALL {
        assert_eq!(maker.request(request::NEW_TOPIC, 0, 0, &format!("g{group}")), 0);
    }
    let mut from: Vec<Client> =
        (0..ALL).map(|d| Client::log_in(&office, d, &format!("from{d}"))).collect();
    // `direct` has no word for joining. Membership is the user's, and holds in every dialect.
    let client = office.log_in_queues("to0");
    (1..=ALL as u32).for_each(|group| drop(client.join(group)));
    client.send(kind::LOG_OUT, client.key, &client.index.to_string());
    let mut to: Vec<Client> =
        (0..ALL).map(|d| Client::log_in(&office, d, &format!("to{d}"))).collect();
    to.iter_mut().skip(1).for_each(|client| (1..=ALL as u32).for_each(|group| client.join(group)));
    from[3].join(4);
    let numbers: Vec<u32> = (0..ALL).map(|d| number(&office, &format!("to{d}"))).collect();
    let mut table = format!("{:<8}", "DM");
    let heads: String = NAMES.iter().map(|name| format!("{name:>8}")).collect();
    table += &heads;
    for (d, sender) in from.iter_mut().enumerate() {
        table += &format!("\n{:<8}", NAMES[d]);
        for (r, receiver) in to.iter_mut().enumerate() {
            let text = format!("dm {d} {r}");
            let cell = match sender.write(numbers[r], &format!("to{r}"), &text) {
                false => "-",
                true => {
                    let got = receiver.next();
                    assert!(got.ends_with(&text), "{got}");
                    sender.written();
                    "yes"
                }
            };
            table += &format!("{cell:>8}");
        }
    }
    table += &format!("\n\n{:<8}{heads}", "group");
    for (d, sender) in from.iter_mut().enumerate() {
        table += &format!("\n{:<8}", NAMES[d]);
        let text = format!("group {d}");
        sender.publish(d as u32 + 1, &format!("g{d}"), &text);
        for receiver in &mut to {
            let got = receiver.next();
            assert!(got.ends_with(&text), "{got}");
            table += &format!("{:>8}", "yes");
        }
    }
    println!("from (rows) to (columns)\n{table}");
}

/// Sends ten thousand messages, of which `write` sends one and `read` takes one, and checks that
/// each comes once and in order.
fn ten_thousand(what: &str, write: impl Fn(&str) + Send + Sync, read: impl Fn() -> Option<String>) {
    let begun = Instant::now();
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..10_000 {
                // A mailbox holds 1,024; not every dialect has a word for one that is full.
                until("room", || (n - taken.load(Relaxed) < 1000).then_some(()));
                write(&format!("nr {n}"));
            }
        });
        for n in 0..10_000 {
            let got = until("a message", &read);
            assert!(got.ends_with(&format!("nr {n}")), "{n}: {got}");
            taken.store(n + 1, Relaxed);
        }
    });
    println!("{what}: 10,000 messages in {:?}", begun.elapsed());
}

#[test]
fn ten_thousand_messages_through_topics() {
    let office = Office::start();
    let (ola, jan) = (office.log_in("ola"), office.log_in("jan"));
    assert_eq!(ola.request(request::NEW_TOPIC, 0, 0, "news"), 0);
    assert_eq!(jan.request(request::SUBSCRIBE, 0, -1, ""), 0);
    let write = |text: &str| assert_eq!(ola.request(request::PUBLISH, 0, 3, text), 0);
    let read = || jan.maybe_next(0).map(|message| message.2);
    ten_thousand("topics", write, read);
    assert_eq!(jan.maybe_next(0), None);
}

#[test]
fn ten_thousand_messages_through_queues() {
    let office = Office::start();
    let (ola, jan) = (office.log_in_queues("ola"), office.log_in_queues("jan"));
    let write = |text: &str| ola.write(jan.index as u32, text);
    ten_thousand("queues", write, || jan.maybe_next(0).map(|got| got.text));
    assert_eq!(jan.maybe_next(0), None);
}

#[test]
fn ten_thousand_messages_through_lanes() {
    let office = Office::start();
    let (ola, jan) = (office.log_in_lanes("ola"), office.log_in_lanes("jan"));
    let write = |text: &str| {
        assert_eq!(ola.ask(Order::ToUser(jan.user), text), "Wiadomosc wyslana");
    };
    ten_thousand("lanes", write, || jan.maybe_next().map(|got| got.2));
    assert_eq!(jan.maybe_next(), None);
}
