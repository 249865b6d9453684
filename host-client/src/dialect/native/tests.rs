//! Against an exchange of a few lines, on 127.0.0.1, that does what each test says.

use super::super::tests::{Printed, run, until};
use super::*;
use centrala_core::dialect::native::serial::{Arrived, Receiver, encode};
use centrala_core::dialect::native::{HEADER, Party, To as Target, look};
use centrala_tests::read_some;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

const ANNA: Party<'static> = Party { number: 3, name: b"anna" };
const NEWS: Party<'static> = Party { number: 1, name: b"news" };
const WELCOME: Event<'static> =
    Event::Welcome { id: 1, version: VERSION, user: ANNA, message_length: 1024 };

/// The exchange's end of a connection.
struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Peer {
    fn send(&mut self, event: Event<'_>) {
        let mut out = [0; 2048];
        let len = event.encode(&mut out).unwrap();
        self.stream.write_all(&out[..len]).unwrap();
    }

    /// Checks that this request comes next, with this id.
    fn expect(&mut self, id: u32, request: &Request<'_>) {
        let used = loop {
            if let Some((payload, used)) = look(&self.input) {
                assert_eq!(Request::decode(payload), Ok((id, *request)));
                break used;
            }
            let mut bytes = [0; 4096];
            let n = read_some(&mut self.stream, &mut bytes).unwrap();
            assert_ne!(n, 0, "the end instead of {request:?}");
            self.input.extend_from_slice(&bytes[..n]);
        };
        self.input.drain(..used);
    }

    fn done(&mut self, id: u32, how: How) {
        self.send(Event::Done { id, how, number: 0 });
    }

    /// Logs the client out.
    fn log_out(&mut self, id: u32) {
        self.expect(id, &Request::LogOut);
        self.done(id, How::Done);
        assert_eq!(read_some(&mut self.stream, &mut [0; 1]).unwrap(), 0, "nothing but the end");
    }

    fn message(&mut self, mark: u32, group: Option<Party<'_>>, text: &str) {
        self.send(Event::Message(message(mark, group, text)));
    }
}

fn message<'a>(mark: u32, group: Option<Party<'a>>, text: &'a str) -> native::Message<'a> {
    native::Message {
        number: 7,
        id: 0,
        mark,
        time: 1_763_696_285_000,
        priority: 3,
        offline: mark != 0,
        from: Party { number: 4, name: b"bartek" },
        group,
        private: None,
        image: false,
        text: text.as_bytes(),
    }
}

/// Runs a client's command against `exchange`, behind its log-in, and returns how it ended.
fn against<T: Send>(
    stop: &Stop,
    printed: &Printed,
    command: impl FnOnce(&mut dyn Client) -> Result<T, Failure> + Send,
    exchange: impl FnOnce(&mut Peer),
) -> Result<T, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("native://anna:secret@{}", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| run(&url, stop, printed, command));
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut peer = Peer { stream, input: Vec::new() };
        let user = Who::Name(b"anna");
        peer.expect(1, &Request::Hello { version: VERSION, user, password: b"secret" });
        exchange(&mut peer);
        drop(peer);
        client.join().unwrap()
    })
}

/// As [`against`], with a log-in that goes well.
fn welcomed<T: Send>(
    printed: &Printed,
    command: impl FnOnce(&mut dyn Client) -> Result<T, Failure> + Send,
    exchange: impl FnOnce(&mut Peer),
) -> Result<T, Failure> {
    against(&Stop::new(), printed, command, |peer| {
        peer.send(WELCOME);
        exchange(peer);
    })
}

#[test]
fn a_message_to_a_user_waits_for_its_receipt_and_one_to_a_group_does_not() {
    let to_user = |name: &'static str| To::User(name.into());
    let to_group = |name: &'static str| To::Group(name.into());
    for (to, target, receipt, how, fate) in [
        (to_user("jan"), Target::User(Who::Name(b"jan")), true, How::Received, Fate::Delivered),
        (to_user("~5"), Target::User(Who::Number(5)), true, How::Done, Fate::Delivered),
        (to_user("jan"), Target::User(Who::Name(b"jan")), true, How::Stored, Fate::Stored),
        (to_group("news"), Target::Group(Who::Name(b"news")), false, How::Done, Fate::Accepted),
    ] {
        let send = |client: &mut dyn Client| client.send(&to, b"hi", Some(1));
        let sent = welcomed(&Printed::default(), send, |peer| {
            peer.expect(2, &Request::Send { to: target, priority: 1, receipt, text: b"hi" });
            peer.done(2, how);
            peer.log_out(3);
        });
        assert_eq!(sent.unwrap(), fate, "{to:?}");
    }
}

#[test]
fn a_group_is_meant_by_its_name_and_else_by_its_number() {
    let join = |client: &mut dyn Client| client.join(&Group("7".into()), Some(5));
    let joined = welcomed(&Printed::default(), join, |peer| {
        peer.expect(2, &Request::Join { group: Who::Name(b"7"), count: Some(5) });
        peer.send(Event::Refused { id: 2, why: Refusal::NoSuchGroup });
        peer.expect(3, &Request::Join { group: Who::Number(7), count: Some(5) });
        peer.done(3, How::Done);
        peer.log_out(4);
    });
    joined.unwrap();
}

#[test]
fn a_refusal_says_which_limit_and_how_much_it_is() {
    let full = Refusal::Full { limit: Limit::Memberships, size: 16 };
    for (why, says) in [
        (full, "#news: no room: the exchange has at most 16 memberships"),
        (Refusal::NoSuchGroup, "#news: no such group"),
        (Refusal::NotAllowed, "#news: not allowed"),
    ] {
        let leave = |client: &mut dyn Client| client.leave(&Group("news".into()));
        let failure = welcomed(&Printed::default(), leave, |peer| {
            peer.expect(2, &Request::Leave { group: Who::Name(b"news") });
            peer.send(Event::Refused { id: 2, why });
            peer.log_out(3);
        });
        let failure = failure.unwrap_err();
        assert!(failure.to_string().starts_with(says), "{failure}");
        assert_eq!(failure.exit_code(), 1);
    }
    let failure = against(
        &Stop::new(),
        &Printed::default(),
        |c| c.users(),
        |peer| {
            peer.send(Event::Refused { id: 1, why: Refusal::Version { speaks: 2 } });
        },
    );
    let failure = failure.unwrap_err().to_string();
    assert_eq!(failure, "anna: the exchange speaks version 2 of native, this client 1");
}

#[test]
fn lists_end_with_their_answer_and_what_is_unknown_is_passed_over() {
    let users = welcomed(
        &Printed::default(),
        |client| client.users(),
        |peer| {
            peer.expect(2, &Request::List(List::Online));
            let row = |id, party| Event::Row { id, party, active: true, left: None };
            peer.send(row(2, ANNA));
            // An event of a later exchange, and a row of no list of ours.
            peer.stream.write_all(b"\x03\0\x7f\x01\x02").unwrap();
            peer.send(row(9, NEWS));
            peer.send(row(2, Party { number: 4, name: b"bartek" }));
            peer.done(2, How::Done);
            peer.log_out(3);
        },
    );
    let names = users.unwrap().into_iter().map(|user| (user.number, user.name));
    let want = [(Some(3), "anna".to_string()), (Some(4), "bartek".to_string())];
    assert_eq!(names.collect::<Vec<_>>(), want);
}

#[test]
fn listen_prints_and_then_acknowledges_mail() {
    let (stop, printed) = (Stop::new(), Printed::default());
    let listened = against(
        &stop,
        &printed,
        |client| client.listen(&[], false),
        |peer| {
            peer.send(WELCOME);
            peer.message(1, None, "one");
            peer.expect(0, &Request::Ack { mark: 1 });
            peer.message(0, Some(NEWS), "live");
            peer.send(Event::Ended { group: NEWS });
            until("the end is printed", || printed.out.text().contains("subscription ended"));
            peer.message(2, None, "two");
            peer.message(3, None, "three");
            // Whether in one go or in two: nothing unprinted, and in the end all of it.
            let mut marks = Vec::new();
            while marks.last() != Some(&3) {
                let mark = loop {
                    if let Some((payload, used)) = look(&peer.input) {
                        let Ok((0, Request::Ack { mark })) = Request::decode(payload) else {
                            panic!("{payload:?}")
                        };
                        peer.input.drain(..used);
                        break mark;
                    }
                    let mut bytes = [0; HEADER + 8];
                    let n = read_some(&mut peer.stream, &mut bytes).unwrap();
                    peer.input.extend_from_slice(&bytes[..n]);
                };
                let last = if mark == 3 { "three" } else { "two" };
                assert!(printed.out.text().contains(last));
                marks.push(mark);
            }
            stop.ask();
            peer.log_out(2);
        },
    );
    listened.unwrap();
    let stored = "(stored) bartek (2025-11-21 03:38:05 UTC): ";
    let want = format!(
        "{stored}one\n#news bartek: live\n#news: subscription ended\n{stored}two\n{stored}three\n"
    );
    assert_eq!(printed.out.text(), want);
}

#[test]
fn what_comes_while_something_else_is_done_is_printed_aside_and_mail_stays() {
    let printed = Printed::default();
    let created = welcomed(
        &printed,
        |client| client.create(&Group("news".into())),
        |peer| {
            peer.message(1, None, "mail");
            peer.message(0, None, "live");
            peer.expect(2, &Request::CreateGroup { name: b"news" });
            peer.done(2, How::Done);
            // Neither acknowledged before the end nor printed.
            peer.log_out(3);
        },
    );
    created.unwrap();
    assert_eq!((printed.out.text(), printed.aside.text()), ("".into(), "bartek: live\n".into()));
}

#[test]
fn listen_to_groups_prints_the_others_aside() {
    let printed = Printed::default();
    let groups = [Group("news".into())];
    let listened = welcomed(
        &printed,
        |client| client.listen(&groups, true),
        |peer| {
            peer.message(1, Some(NEWS), "of the group");
            peer.message(2, None, "direct");
            peer.expect(2, &Request::List(List::Groups));
            peer.send(Event::Row { id: 2, party: NEWS, active: true, left: None });
            peer.done(2, How::Done);
            peer.expect(3, &Request::Ping);
            peer.message(3, Some(NEWS), "more");
            peer.done(3, How::Done);
            peer.expect(0, &Request::Ack { mark: 3 });
            peer.expect(4, &Request::Ping);
            peer.done(4, How::Done);
            peer.log_out(5);
        },
    );
    listened.unwrap();
    let (out, aside) = (printed.out.text(), printed.aside.text());
    assert!(out.contains("of the group") && out.contains("more") && out.lines().count() == 2);
    assert!(aside.contains("direct") && aside.lines().count() == 1, "{aside}");
}

#[test]
fn a_history_is_of_a_group_or_of_direct_messages_with_a_user() {
    let row = |id, party| Event::Row { id, party, active: false, left: None };
    let (number, time, image) = (8, 1_763_696_285_000, false);
    let said = |id, text| Event::Said { id, number, time, priority: 3, from: ANNA, image, text };
    for (of, list, party, chat, printed_as) in [
        (To::Group("news".into()), List::Groups, NEWS, Chat::Group(1), "#news anna"),
        (To::Group("1".into()), List::Groups, NEWS, Chat::Group(1), "#1 anna"),
        (To::User("anna".into()), List::Users, ANNA, Chat::User(3), "anna"),
        (To::User("~3".into()), List::Users, ANNA, Chat::User(3), "anna"),
    ] {
        let printed = Printed::default();
        let history = |client: &mut dyn Client| client.history(&of);
        let read = welcomed(&printed, history, |peer| {
            peer.expect(2, &Request::List(list));
            peer.send(row(2, party));
            peer.done(2, How::Done);
            peer.expect(3, &Request::History { chat, before: None, limit: HISTORY });
            peer.send(said(3, b"hi"));
            peer.done(3, How::Done);
            peer.log_out(4);
        });
        read.unwrap();
        let want = format!("{printed_as} (2025-11-21 03:38:05 UTC): hi\n");
        assert_eq!(printed.out.text(), want);
    }
    let nobody = To::User("jan".into());
    let history = |client: &mut dyn Client| client.history(&nobody);
    let failure = welcomed(&Printed::default(), history, |peer| {
        peer.expect(2, &Request::List(List::Users));
        peer.done(2, How::Done);
        peer.log_out(3);
    });
    assert_eq!(failure.unwrap_err().to_string(), "@jan: no such user");
}

#[test]
fn shutdown_waits_until_the_exchange_is_gone() {
    let down = welcomed(
        &Printed::default(),
        |client| client.shutdown(),
        |peer| {
            peer.expect(2, &Request::ShutDown);
            peer.done(2, How::Done);
        },
    );
    down.unwrap();
}

#[test]
fn an_exchange_that_goes_away_is_unreachable() {
    let lost = welcomed(
        &Printed::default(),
        |client| client.users(),
        |peer| {
            peer.expect(2, &Request::List(List::Online));
        },
    );
    let failure = lost.unwrap_err();
    assert!(failure.to_string().ends_with("has closed the connection"), "{failure}");
    assert_eq!(failure.exit_code(), 1);
}

/// The exchange's end of a serial line.
struct Line<S> {
    stream: S,
    receiver: Receiver<Vec<u8>>,
}

impl<S: Read + Write> Line<S> {
    fn new(stream: S) -> Self {
        Line { stream, receiver: Receiver::new(vec![0; 2048]) }
    }

    /// The next request, with its id.
    fn next<T>(&mut self, of: impl FnOnce(u32, Request<'_>) -> T) -> T {
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            if self.receiver.push(byte[0]) == Arrived::Frame {
                let (payload, _) = look(self.receiver.frame()).unwrap();
                let (id, request) = Request::decode(payload).unwrap();
                return of(id, request);
            }
        }
    }

    /// Checks that a hello comes next, and returns its id.
    fn hello(&mut self) -> u32 {
        self.next(|id, request| {
            let Request::Hello { user, .. } = request else { panic!("{request:?}") };
            assert_eq!(user, Who::Name(b"anna"));
            id
        })
    }

    /// Answers each hello, and sends mail or messages behind it, until another request comes: that
    /// one.
    fn greet<T>(&mut self, behind: &[Event<'_>], other: impl Fn(u32, Request<'_>) -> T) -> T {
        loop {
            let came = self.next(|id, request| match request {
                Request::Hello { .. } => Err(id),
                request => Ok(other(id, request)),
            });
            match came {
                Ok(came) => return came,
                Err(id) => {
                    let (version, message_length) = (VERSION, 128);
                    self.send(Event::Welcome { id, version, user: ANNA, message_length });
                    behind.iter().for_each(|event| self.send(*event));
                }
            }
        }
    }

    fn bytes(&self, event: Event<'_>) -> Vec<u8> {
        let (mut frame, mut line) = ([0; 2048], vec![0; 2048]);
        let len = event.encode(&mut frame).unwrap();
        let len = encode(&frame[..len], &mut line).unwrap();
        line.truncate(len);
        line
    }

    fn send(&mut self, event: Event<'_>) {
        let bytes = self.bytes(event);
        self.stream.write_all(&bytes).unwrap();
    }

    /// Answers what comes next, which is this.
    fn obey(&mut self, wanted: Request<'_>) {
        let id = self.next(|id, request| {
            assert_eq!(request, wanted);
            id
        });
        self.send(Event::Done { id, how: How::Done, number: 0 });
    }
}

#[test]
fn on_a_line_the_hello_is_repeated_and_what_is_for_somebody_else_or_noise_is_passed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("native+serial://anna@{}", listener.local_addr().unwrap());
    let (stop, printed) = (Stop::new(), Printed::default());
    let create = |client: &mut dyn Client| client.create(&Group("news".into()));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| run(&url, &stop, &printed, create));
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut line = Line::new(stream);
        let id = line.hello();
        // Half of a frame, and a message of the session before.
        line.stream.write_all(b"\x09half\0").unwrap();
        line.send(Event::Message(message(0, None, "for bartek")));
        line.send(Event::Done { id: 2, how: How::Done, number: 0 });
        // The welcome is hit.
        let welcome = Event::Welcome { id, version: VERSION, user: ANNA, message_length: 128 };
        let mut hit = line.bytes(welcome);
        hit[6] ^= 4;
        line.stream.write_all(&hit).unwrap();
        let asked = line.greet(&[], |again, request| {
            assert_eq!(request, Request::CreateGroup { name: b"news" });
            assert_ne!(again, id);
            again
        });
        line.send(Event::Done { id: asked, how: How::Done, number: 0 });
        line.obey(Request::LogOut);
        client.join().unwrap().unwrap();
    });
    assert_eq!((printed.out.text(), printed.aside.text()), (String::new(), String::new()));
}

#[test]
fn on_a_line_mail_behind_a_gap_is_not_acknowledged_and_comes_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("native+serial://anna@{}", listener.local_addr().unwrap());
    let (stop, printed) = (Stop::new(), Printed::default());
    let listen = |client: &mut dyn Client| client.listen(&[], true);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| run(&url, &stop, &printed, listen));
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut line = Line::new(stream);
        let mail = |mark, text| Event::Message(message(mark, None, text));
        let ping = |id, request: Request<'_>| {
            assert_eq!(request, Request::Ping);
            id
        };
        // Two is lost on the line.
        let id = line.greet(&[mail(1, "one"), mail(3, "three")], ping);
        line.send(Event::Done { id, how: How::Done, number: 0 });
        line.next(|_, request| assert_eq!(request, Request::Ack { mark: 1 }));
        let id = line.greet(&[mail(1, "two"), mail(2, "three")], ping);
        line.send(Event::Done { id, how: How::Done, number: 0 });
        line.next(|_, request| assert_eq!(request, Request::Ack { mark: 2 }));
        line.obey(Request::Ping);
        line.obey(Request::LogOut);
        client.join().unwrap().unwrap();
    });
    let texts: Vec<_> =
        printed.out.text().lines().map(|line| line[line.len() - 5..].to_owned()).collect();
    assert_eq!(texts, [": one", ": two", "three"]);
}

#[test]
fn a_line_is_a_terminal_device_too() {
    let pty = nix::pty::openpty(None, None).unwrap();
    let path = nix::unistd::ttyname(&pty.slave).unwrap();
    let url = format!("native+serial://anna@{}", path.display());
    let (stop, printed) = (Stop::new(), Printed::default());
    let leave = |client: &mut dyn Client| client.leave(&Group("news".into()));
    std::thread::scope(|scope| {
        let client = scope.spawn(|| run(&url, &stop, &printed, leave));
        // Bytes that a terminal would change or take for itself pass as they are.
        let mut line = Line::new(File::from(pty.master));
        let texts: Vec<_> =
            (0..40).map(|number| "\n\r\u{3}\u{4}\u{11}\u{13}".repeat(number)).collect();
        let messages: Vec<_> =
            texts.iter().map(|text| Event::Message(message(0, None, text))).collect();
        line.greet(&messages, |_, request| assert!(matches!(request, Request::Leave { .. })));
        drop(line);
        assert!(client.join().unwrap().is_err(), "the device is gone");
    });
    assert_eq!(printed.aside.text().matches("bartek").count(), 40);
}
