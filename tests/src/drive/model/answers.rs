//! Answers: each request has one.

use centrala_core::dialect::{Dialect, direct, topics};
use centrala_core::exchange::{Exchange, Link};
use centrala_core::request::Target;

use super::{Model, Owed};

impl Model {
    pub(super) fn answered(&mut self, exchange: &Exchange<'_>, link: Link, frame: &[u8]) {
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
}
