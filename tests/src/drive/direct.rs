//! Clients of `direct`.

use centrala_core::dialect::{Dialect, direct};
use centrala_core::exchange::{Exchange, Link};
use centrala_core::request::Target;

use super::model::{Model, Owed, Seen};
use super::{GROUPS, Life, MESSAGE_LENGTH, NAMES, model, pick};

impl Life<'_, '_> {
    /// How a user writes its name in `direct`.
    pub(super) fn field(&self, name: &str) -> [u8; 8] {
        let number = self.exchange.find_user(Target::UserName(name.as_bytes()));
        direct::name_field(name.as_bytes(), number.map_or(0, |user| user.number), false)
    }

    /// Puts a frame behind what a link already has to say.
    pub(super) fn write(
        &mut self,
        link: Link,
        kind: u16,
        id: u32,
        src: &[u8; 8],
        dst: &[u8; 8],
        text: &[u8],
    ) {
        let frame = direct::Frame { kind, id, src, dst, text };
        let mut bytes = vec![0; frame.emitted_len()];
        frame.emit(&mut bytes).expect("it fits");
        self.client(link).buffer.extend(bytes);
    }

    pub(super) fn send(&mut self, link: Link, group: bool, to: u8, offline: bool, more: u8) {
        let user = self.client(link).user;
        let Some(from) = self.exchange.find_user(Target::User(user)) else { return };
        let src = direct::name_field(from.name, from.number, false);
        let dst = match group {
            true => {
                let Some(name) = pick(&GROUPS, to) else { return };
                let number = self.group(to).unwrap_or(9);
                direct::name_field(name.as_bytes(), number, true)
            }
            false => self.field(pick(&NAMES, to).unwrap_or("ann")),
        };
        let serial = self.world.model.reserve();
        let text = model::text(serial, usize::from(more % 80));
        let kind = if offline { direct::OFFLINE } else { direct::MESSAGE };
        let id = self.world.model.next_id();
        self.write(link, kind, id, &src, &dst, &text);
    }

    /// Gives a link's bytes to the exchange, as many calls as it takes.
    pub(super) fn feed(&mut self, link: Link, len: usize) {
        let waiting = |life: &Self| life.world.model.clients.get(&link).map(|c| c.buffer.len());
        let mut before = None;
        while waiting(self).is_some() && waiting(self) != before {
            before = waiting(self);
            self.give(link, len);
            if len != usize::MAX {
                return;
            }
        }
    }

    /// Gives a link's bytes to the exchange once, and tells the model what they say.
    fn give(&mut self, link: Link, len: usize) {
        let now = self.world.now;
        let model = &mut self.world.model;
        let Some(client) = model.clients.get_mut(&link) else { return };
        let bound = client.user;
        if client.question.is_some() {
            let bytes = client.buffer.clone();
            let used = self.call(|exchange, io| exchange.receive(link, &bytes, io));
            return assert_eq!(used, Ok(0), "a question is open");
        }
        let mut bytes = client.buffer[..client.buffer.len().min(len)].to_vec();
        let (mut at, mut accepted, mut closes) = (client.skip.min(bytes.len()), Vec::new(), false);
        let (mut skip, begin, mut alone) = (client.skip - at, at, false);
        while at < bytes.len() && !closes {
            let rest = &bytes[at..];
            let frame = match direct::Frame::look(rest) {
                direct::Look::Malformed => {
                    closes = true;
                    break;
                }
                direct::Look::Partial => {
                    let Some(header) = rest.first_chunk::<24>() else { break };
                    let text = usize::from(u16::from_be_bytes([header[0], header[1]])) - 24;
                    if text <= MESSAGE_LENGTH {
                        break;
                    }
                    let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                    model.owe(link, id, None, now);
                    skip = text - (rest.len() - 24);
                    at = bytes.len();
                    break;
                }
                // A message to a group comes alone, so that it is clear whose copies are not kept.
                direct::Look::Frame(frame, _)
                    if at > begin && (alone || frame.dst.first() == Some(&b'#')) =>
                {
                    bytes.truncate(at);
                    break;
                }
                direct::Look::Frame(frame, len) => {
                    alone |= frame.dst.first() == Some(&b'#');
                    at += len;
                    frame
                }
            };
            if frame.text.len() > MESSAGE_LENGTH {
                model.owe(link, frame.id, None, now);
                continue;
            }
            let text = frame.text.split(|byte| *byte == 0).next().unwrap_or(&[]);
            let response = frame.kind == direct::RESPONSE;
            if frame.source().is_empty() || frame.kind > direct::OFFLINE {
                closes = true;
            } else if response && !frame.destination().is_empty() && text != direct::code::TAKEN {
                continue;
            } else if bound == 0 {
                // One frame at a time until somebody is logged in: what follows depends on it.
                let claimed = self.exchange.find_user(direct::user(frame.source()));
                let claim = claimed.map_or(frame.source(), |user| user.name).to_vec();
                if let Some(client) = model.clients.get_mut(&link) {
                    client.claim = Some(claim);
                }
                if !response {
                    model.owe(link, frame.id, None, now);
                }
                bytes.truncate(at);
                break;
            } else if self
                .exchange
                .find_user(direct::user(frame.source()))
                .is_none_or(|user| user.number != bound)
            {
                closes = true;
            } else if response {
                let from = self.exchange.find_user(direct::user(frame.destination()));
                if let Some(from) = from.filter(|_| !frame.destination().is_empty()) {
                    model.receipt(link, from.number, frame.id);
                }
            } else {
                let (to, parts) = (direct::target(frame.destination()), (frame.text, 3));
                let serial = model.accept(&self.exchange, bound, to, parts, now);
                model.owe(link, frame.id, serial, now);
                accepted.extend(serial);
            }
        }
        model.feeding = Some(link);
        let used = self.call(|exchange, io| exchange.receive(link, &bytes, io));
        match used {
            Ok(used) => {
                assert!(!closes, "{link:?} is still open after {bytes:?}");
                assert_eq!(used, at, "bytes used");
                let client = self.client(link);
                client.buffer.drain(..used);
                client.skip = skip;
            }
            Err(_) => assert!(closes || bound == 0, "{link:?} closed because of {bytes:?}"),
        }
        // What was refused never was: nobody is to get it.
        for serial in accepted {
            let nobody = |message: &model::Message| message.copies.is_empty();
            if self.world.model.messages.get(&serial).is_some_and(nobody) {
                self.world.model.forget(serial);
            }
        }
    }

    /// A `direct` client answers for a message it was sent.
    pub(super) fn answer(&mut self, link: u8, which: u8) {
        let Some(link) = pick(&self.of(Dialect::Direct), link) else { return };
        let waiting = self.client(link).unanswered.clone();
        let Some(index) = pick(&(0..waiting.len()).collect::<Vec<_>>(), which) else { return };
        let user = self.client(link).user;
        let Some(me) = self.exchange.find_user(Target::User(user)) else { return };
        let src = direct::name_field(me.name, me.number, false);
        let (id, dst) = (waiting[index].id, waiting[index].src);
        self.write(link, direct::RESPONSE, id, &src, &dst, direct::code::TAKEN);
        self.feed(link, usize::MAX);
    }
}

impl Model {
    /// An answer of `direct`.
    pub(super) fn direct_answered(&mut self, exchange: &Exchange<'_>, link: Link, frame: &[u8]) {
        let Some(client) = self.clients.get_mut(&link) else { return };
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
}

/// A delivery of `direct`.
pub(super) fn seen(exchange: &Exchange<'_>, user: u32, frame: &[u8]) -> Seen {
    let direct::Look::Frame(seen, len) = direct::Frame::look(frame) else {
        panic!("not a frame: {frame:?}");
    };
    assert_eq!(len, frame.len());
    assert!(matches!(seen.kind, direct::MESSAGE | direct::OFFLINE));
    let (live, dm) = (seen.kind == direct::MESSAGE, seen.dst.first() != Some(&b'#'));
    if dm {
        let me = exchange.find_user(direct::target(seen.destination()));
        assert_eq!(me.map(|me| me.number), Some(user), "addressed to another");
    }
    let from = exchange.find_user(direct::target(seen.source()));
    Seen {
        text: seen.text.to_vec(),
        dm,
        former: seen.destination() == b"#0",
        live,
        answer: live.then_some((seen.id, *seen.src)),
        sender: Some(from.map_or(&b""[..], |from| from.name).to_vec()),
        ..Seen::default()
    }
}
