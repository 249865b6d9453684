//! The clients: they send, and enter into the ledger what comes back.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use centrala_core::dialect::direct::{Frame, Look, MESSAGE, OFFLINE, RESPONSE};
use centrala_core::dialect::lanes::{self, Order};
use centrala_core::dialect::queues;
use centrala_core::dialect::topics::{ClientMessage, ServerMessage, kind, request};
use centrala_sysv::{Queue, Receive, Removed};

use crate::common::sysv::{Lanes, element, take};
use crate::common::{key, until};
use crate::ledger::{GROUP, Id, Ledger, OTHERS};

/// A client of `direct`: a sender, or a recipient.
pub struct Direct {
    pub name: &'static str,
    pub stream: Option<TcpStream>,
    pub input: Vec<u8>,
    pub connections: u32,
}

impl Direct {
    pub fn new(name: &'static str) -> Direct {
        Direct { name, stream: None, input: Vec::new(), connections: 0 }
    }

    pub fn connect(&mut self, address: SocketAddr) {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.stream = Some(stream);
        self.connections += 1;
        self.send(RESPONSE, 0, "", "");
    }

    /// Whether all of it went out: what did not is as good as not sent.
    pub fn send(&mut self, kind: u16, id: u32, to: &str, text: &str) -> bool {
        let field = |name: &str| {
            let mut field = [0; 8];
            field[..name.len()].copy_from_slice(name.as_bytes());
            field
        };
        let mut out = [0; 256];
        let (src, dst) = (&field(self.name), &field(to));
        let len = Frame { kind, id, src, dst, text: text.as_bytes() }.emit(&mut out).unwrap();
        let sent = self.stream.as_mut().is_some_and(|stream| stream.write_all(&out[..len]).is_ok());
        if !sent {
            self.end();
        }
        sent
    }

    pub fn end(&mut self) {
        self.stream = None;
        self.input.clear();
    }

    /// Takes in what there is. `last`: what came before the end.
    pub fn take(&mut self, ledger: &mut Ledger, last: bool) {
        let mut buffer = [0; 4096];
        let over = loop {
            let Some(stream) = &mut self.stream else { return };
            match centrala_tests::read_some(stream, &mut buffer) {
                Ok(0) => break true,
                Ok(n) => self.input.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !last => {
                    break false;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                Err(_) => break true,
            }
        };
        let mut used = 0;
        let mut answers = Vec::new();
        while let Look::Frame(frame, len) = Frame::look(&self.input[used..]) {
            used += len;
            let text = std::str::from_utf8(frame.text).unwrap();
            match frame.kind {
                RESPONSE => match text {
                    "200" | "300" => drop(ledger.acknowledged.insert((self.name, frame.id))),
                    // Nobody has that name yet, or there was no room.
                    "404" | "507" => ledger.refused += 1,
                    // Logged in already, as far as the server knows.
                    "409" | "401" => {}
                    text => panic!("{} got {text}", self.name),
                },
                MESSAGE => {
                    ledger.came(self.name, self.connections, text);
                    let from = String::from_utf8_lossy(frame.source()).into_owned();
                    answers.push((frame.id, from));
                }
                OFFLINE => ledger.came(self.name, self.connections, text),
                kind => panic!("a frame of kind {kind}"),
            }
        }
        self.input.drain(..used);
        for (id, from) in answers {
            self.send(RESPONSE, id, &from, "200");
        }
        if over {
            self.end();
        }
    }
}

/// A client of `topics`: it publishes and subscribes. Its queue outlasts the server.
pub struct Topics {
    pub name: &'static str,
    pub queue: Removed,
    pub key: i32,
    pub state: State,
    /// What its next answers are to, in order.
    pub asked: VecDeque<Option<Id>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    Out,
    LoggingIn,
    In(i32),
}

impl Topics {
    pub fn new(name: &'static str) -> Topics {
        let key = key();
        let (queue, _) = Queue::create(key, 0o600).unwrap();
        let queue = Removed(queue);
        Topics { name, queue, key, state: State::Out, asked: VecDeque::new() }
    }

    /// Whether the server's queue took it.
    pub fn ask(&mut self, server: Queue, id: i32, kind: i64, number: i32, text: &str) -> bool {
        let message = ClientMessage { kind, id, topic: 0, number, field: text.as_bytes() };
        let mut out = [0; 1100];
        let len = message.emit(&mut out).unwrap();
        server.send(&out[..len], false).is_ok()
    }

    pub fn log_in(&mut self, server: Queue) {
        if self.ask(server, self.key, request::LOG_IN, 0, self.name) {
            self.state = State::LoggingIn;
        }
    }

    /// Takes in what there is.
    pub fn take(&mut self, server: Queue, ledger: &mut Ledger) {
        let mut buffer = [0; 1100];
        if self.state == State::LoggingIn
            && let Ok(len) = server.receive(&mut buffer, self.key.into(), Receive::NOW)
        {
            let info = ServerMessage::new_checked(&buffer[..len]).unwrap().info;
            assert!(info >= 0, "{} was refused: {info}", self.name);
            self.state = State::In(info);
            for (kind, number, text) in
                [(request::NEW_TOPIC, 0, "news"), (request::SUBSCRIBE, -1, "")]
            {
                if self.ask(server, info, kind, number, text) {
                    self.asked.push_back(None);
                }
            }
        }
        while let Ok(len) = self.queue.receive(&mut buffer, 0, Receive::NOW) {
            let message = ServerMessage::new_checked(&buffer[..len]).unwrap();
            let text = std::str::from_utf8(message.text).unwrap();
            if message.kind == kind::RESULT {
                match (self.asked.pop_front().expect("nothing was asked"), message.info) {
                    (Some(id), 0) => drop(ledger.acknowledged.insert(id)),
                    (Some(_), _) => ledger.refused += 1,
                    (None, _) => {}
                }
            } else {
                let (_, text) = text.split_once(": ").unwrap();
                ledger.came(self.name, 0, text);
            }
        }
    }
}

/// A client of `queues` and one of `lanes`. The server is there while they log in.
pub struct Others {
    /// Keys of the server's queues.
    pub keys: [i32; 2],
    pub names_file: PathBuf,
    pub queue: Removed,
    pub key: i32,
    /// The index of the client of `queues`.
    pub index: i64,
    /// Whether they are logged in.
    pub within: [bool; 2],
    pub lanes: Lanes,
    /// What the next answers to the client of `lanes` are to, in order.
    pub asked: VecDeque<Id>,
}

impl Others {
    pub fn new(directory: &Path) -> Others {
        let (keys, own) = ([key(), key()], key());
        let queue = Removed(Queue::create(own, 0o600).unwrap().0);
        // Not its queue before it is logged in.
        let lanes = Lanes { queue: *queue, user: 0, users: 0, groups: 0 };
        let names_file = directory.join("names.txt");
        let (within, asked) = ([false; 2], VecDeque::new());
        Others { keys, names_file, queue, key: own, index: 0, within, lanes, asked }
    }

    /// Whether the server's queue of `queues` took it.
    pub fn send(&self, kind: i64, address: i32, text: &str) -> bool {
        let Ok(server) = Queue::open(self.keys[0]) else { return false };
        let mut out = [0; queues::SIZE];
        let message = queues::Message { kind, text: text.as_bytes(), address, time: 0 };
        let len = message.emit(&mut out).unwrap();
        server.send(&out[..len], false).is_ok()
    }

    /// An answer of a type that nothing else has.
    pub fn answer(&self, kind: i64) -> String {
        let mut buffer = [0; queues::SIZE];
        let answer = || self.queue.receive(&mut buffer, kind, Receive::NOW).ok();
        let len = until("an answer of queues", answer);
        let text = queues::Message::new_checked(&buffer[..len]).unwrap().text;
        String::from_utf8(text.to_vec()).unwrap()
    }

    /// Logs in those that are not, of whom `chance` says so.
    pub fn log_in(&mut self, mut chance: impl FnMut() -> bool) {
        if !self.within[0] && chance() {
            let text = format!("{}/", OTHERS[0]);
            until("room for a log-in", || {
                self.send(queues::kind::LOG_IN, self.key, &text).then_some(())
            });
            for right in [true, true, false] {
                let answer = self.answer(queues::kind::LOG_IN);
                match right {
                    true => assert_eq!(answer, "poprawne"),
                    false => self.index = answer.parse().unwrap(),
                }
            }
            self.within[0] = true;
        }
        if !self.within[1] && chance() {
            self.lanes.queue = Queue::open(self.keys[1]).unwrap();
            assert_eq!(self.lanes.try_log_in(OTHERS[1]), "Zalogowano\n");
            self.within[1] = true;
        }
    }

    /// Both become members of the group, which is there.
    pub fn join(&mut self) {
        let text = format!("{}/{GROUP}", self.index);
        assert!(self.send(queues::kind::JOIN, self.key, &text));
        assert_eq!(self.answer(queues::kind::JOIN), "1");
        self.lanes.send(Order::Join(GROUP), "");
        assert_eq!(self.lanes.answer().1, GROUP as i32);
    }

    /// The number of a user, as clients of `lanes` find it out.
    pub fn number(&self, name: &str) -> Option<u32> {
        let file = std::fs::read_to_string(&self.names_file).ok()?;
        file.lines().find_map(|line| {
            let mut words = line.split(' ');
            let number = (words.next()? == "o").then(|| words.next())??;
            (words.next()? == name).then(|| number.parse().ok())?
        })
    }

    /// Sends a message to a user, or to the group, as one of the two. Returns whether it went out.
    pub fn write(&mut self, which: usize, id: Id, to: Option<&str>) -> bool {
        let text = Ledger::text(id);
        let Some(number) = to.map_or(Some(GROUP), |name| self.number(name)) else { return false };
        match (which, to) {
            (0, Some(_)) => self.send(self.index, number as i32, &text),
            (0, None) => self.send(queues::kind::GROUP, self.key, &format!("{GROUP}/{text}")),
            (_, to) => {
                let order = to.map_or(Order::ToGroup(number), |_| Order::ToUser(number));
                let first = lanes::lane(self.lanes.user) as i32;
                let frame = element(1, first, order.second(self.lanes.groups), &text);
                let sent = self.lanes.queue.send(&frame, false).is_ok();
                if sent {
                    self.asked.push_back(id);
                }
                sent
            }
        }
    }

    pub fn take(&mut self, ledger: &mut Ledger) {
        let mut buffer = [0; queues::SIZE];
        let last = |text: &str| text.trim_end().rsplit(' ').next().unwrap().to_owned();
        while let Ok(len) = self.queue.receive(&mut buffer, 0, Receive::NOW) {
            let message = queues::Message::new_checked(&buffer[..len]).unwrap();
            ledger.came(OTHERS[0], 0, &last(std::str::from_utf8(message.text).unwrap()));
        }
        if !self.within[1] {
            return;
        }
        while let Some((_, _, text)) = self.lanes.maybe_next() {
            ledger.came(OTHERS[1], 0, &last(&text));
        }
        let lane = lanes::answer_lane(self.lanes.user, self.lanes.users);
        while let Some((_, _, text)) = take(self.lanes.queue, lane) {
            let id = self.asked.pop_front().expect("nothing was asked");
            match text.as_str() {
                "Wiadomosc wyslana" => drop(ledger.acknowledged.insert(id)),
                "Blad\n" => ledger.refused += 1,
                text => panic!("{id:?} was answered {text:?}"),
            }
        }
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for key in self.keys {
            if let Ok(queue) = Queue::open(key) {
                let _ = queue.remove();
            }
        }
    }
}
