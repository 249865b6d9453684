//! Against an exchange of a few lines, on 127.0.0.1, that does what each test says.

use super::super::tests::{LONG, Printed, run, until};
use super::*;
use centrala_tests::read_some;
use std::net::TcpListener;

const HELLO_OF_ANNA: &[u8] = b"\x00\x18\x00\x01\0\0\0\0anna\0\0\0\0\0\0\0\0\0\0\0\0";
const ANNA_TO_BARTEK: &[u8] = b"\x00\x1a\x00\x00\0\0\0\0anna\0\0\0\0bartek\0\0hi";

/// The exchange's end of a connection.
struct Peer(TcpStream);

impl Peer {
    fn frame(kind: u16, id: u32, src: &str, dst: &str, text: &str) -> Vec<u8> {
        let (src, dst) = (field(src).unwrap(), field(dst).unwrap());
        let frame = Frame { kind, id, src: &src, dst: &dst, text: text.as_bytes() };
        let mut out = vec![0; frame.emitted_len()];
        frame.emit(&mut out).unwrap();
        out
    }

    fn send(&mut self, kind: u16, id: u32, src: &str, dst: &str, text: &str) {
        self.0.write_all(&Peer::frame(kind, id, src, dst, text)).unwrap();
    }

    /// Checks that these bytes come next.
    fn expect(&mut self, bytes: &[u8]) {
        let mut got = vec![0; bytes.len()];
        self.0.read_exact(&mut got).unwrap();
        assert_eq!(got, bytes);
    }

    /// Checks that nothing comes but the end.
    fn expect_end(&mut self) {
        assert_eq!(read_some(&mut self.0, &mut [0; 1]).unwrap(), 0);
    }
}

/// Runs a client's command against `exchange`, and returns how it ended.
fn against<T: Send>(
    user: &str,
    stop: &Stop,
    printed: &Printed,
    command: impl FnOnce(&mut dyn Client) -> Result<T, Failure> + Send,
    exchange: impl FnOnce(&mut Peer),
) -> Result<T, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("direct://{user}@{}", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        let client = scope.spawn(|| run(&url, stop, printed, command));
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        exchange(&mut Peer(stream));
        client.join().unwrap()
    })
}

fn to_bartek(client: &mut dyn Client) -> Result<Fate, Failure> {
    client.send(&To::User("bartek".into()), b"hi", None)
}

fn listen(client: &mut dyn Client) -> Result<(), Failure> {
    client.listen(&[], false)
}

#[test]
fn send_binds_with_the_message_and_waits_for_its_answer() {
    for (answer, fate) in [("200", Fate::Delivered), ("300", Fate::Stored)] {
        let sent = against("anna", &Stop::new(), &Printed::default(), to_bartek, |peer| {
            peer.expect(ANNA_TO_BARTEK);
            peer.send(RESPONSE, 9, "bartek", "anna", "404");
            peer.send(RESPONSE, 0, "bartek", "anna", answer);
            peer.expect_end();
        });
        assert_eq!(sent.unwrap(), fate);
    }
}

#[test]
fn a_groups_200_is_the_exchanges_word() {
    let printed = Printed::default();
    let to_group = |client: &mut dyn Client| client.send(&To::Group("news".into()), b"", None);
    let sent = against("~12", &Stop::new(), &printed, to_group, |peer| {
        peer.expect(b"\x00\x18\x00\x00\0\0\0\0~12\0\0\0\0\0#news\0\0\0");
        peer.send(RESPONSE, 0, "", "~12", "200");
        peer.expect_end();
    });
    assert_eq!(sent.unwrap(), Fate::Accepted);
}

#[test]
fn refusals_say_why() {
    for (code, says) in [
        ("400", "could not read it"),
        ("401", "wrong password"),
        ("404", "@bartek: no such user"),
        ("409", "logged in to direct already"),
        ("507", "no room"),
        ("418", "does not have (418)"),
        ("", "does not have ()"),
    ] {
        let sent = against("anna", &Stop::new(), &Printed::default(), to_bartek, |peer| {
            peer.expect(ANNA_TO_BARTEK);
            peer.send(RESPONSE, 0, "", "anna", code);
        });
        let failure = sent.unwrap_err();
        assert!(failure.to_string().contains(says), "{code}: {failure}");
        assert_eq!(failure.exit_code(), 1);
    }
}

#[test]
fn a_password_goes_into_a_hello_before_the_message() {
    let printed = Printed::default();
    let sent = against("anna:s%3acret", &Stop::new(), &printed, to_bartek, |peer| {
        peer.expect(&Peer::frame(RESPONSE, 0, "anna", "", "s:cret"));
        peer.expect(ANNA_TO_BARTEK);
        peer.send(RESPONSE, 0, "bartek", "anna", "200");
    });
    assert_eq!(sent.unwrap(), Fate::Delivered);
}

#[test]
fn what_comes_while_a_message_is_sent_is_printed_aside() {
    let printed = Printed::default();
    let sent = against("anna", &Stop::new(), &printed, to_bartek, |peer| {
        peer.expect(ANNA_TO_BARTEK);
        peer.send(OFFLINE, 3, "celina", "anna", "old");
        peer.send(MESSAGE, 4, "celina", "anna", "new");
        peer.expect(&Peer::frame(RESPONSE, 4, "anna", "celina", "200"));
        peer.send(RESPONSE, 0, "bartek", "anna", "200");
        peer.expect_end();
        // On its way when the client closed: mail counts as delivered, a message does not.
        peer.send(OFFLINE, 5, "celina", "anna", "older");
        peer.send(MESSAGE, 6, "celina", "anna", "comes again");
    });
    assert_eq!(sent.unwrap(), Fate::Delivered);
    assert_eq!(printed.out.text(), "");
    assert_eq!(printed.aside.text(), "(stored) celina: old\ncelina: new\n(stored) celina: older\n");
}

#[test]
fn listen_says_hello_prints_and_answers_until_it_is_stopped() {
    let (printed, stop) = (Printed::default(), Stop::new());
    let listened = against("anna", &stop, &printed, listen, |peer| {
        peer.expect(HELLO_OF_ANNA);
        peer.send(OFFLINE, 7, "bartek", "anna", "cześć");
        // A frame split at every byte.
        for byte in Peer::frame(MESSAGE, 8, "bartek", "anna", "hi") {
            peer.0.write_all(&[byte]).unwrap();
        }
        peer.expect(&Peer::frame(RESPONSE, 8, "anna", "bartek", "200"));
        assert_eq!(printed.out.text(), "(stored) bartek: cześć\nbartek: hi\n", "line before 200");
        // Two frames in one write; a group's is answered like any other, a stray answer is not.
        let two = [
            Peer::frame(MESSAGE, 1, "~12", "#news", "all"),
            Peer::frame(RESPONSE, 8, "bartek", "anna", "200"),
        ];
        peer.0.write_all(&two.concat()).unwrap();
        peer.expect(&Peer::frame(RESPONSE, 1, "anna", "~12", "200"));
        stop.ask();
        peer.expect_end();
        peer.send(OFFLINE, 9, "bartek", "anna", "last");
    });
    listened.unwrap();
    assert!(printed.out.text().ends_with("#news ~12: all\n(stored) bartek: last\n"));
    assert_eq!(printed.aside.text(), "");
}

#[test]
fn a_message_that_cannot_be_printed_is_not_answered() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("direct://anna@{}", listener.local_addr().unwrap())).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut output = Output::new(false, Box::new(Closed), Box::new(Closed));
            Direct::new(&url, &Stop::new(), &mut output).listen(&[], false)
        });
        let mut peer = Peer(listener.accept().unwrap().0);
        peer.expect(HELLO_OF_ANNA);
        peer.send(MESSAGE, 0, "bartek", "anna", "hi");
        peer.expect_end();
        assert!(matches!(client.join().unwrap(), Err(Failure::Streams(_))));
    });
}

#[test]
fn a_vanished_or_foreign_exchange_is_noticed() {
    for (bytes, says) in [
        (&b""[..], "has closed the connection"),
        (b"\x00\x18\x00\x00", "has closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n", "does not speak direct"),
    ] {
        let listened = against("anna", &Stop::new(), &Printed::default(), listen, |peer| {
            peer.expect(HELLO_OF_ANNA);
            peer.0.write_all(bytes).unwrap();
            peer.0.shutdown(Shutdown::Write).unwrap();
        });
        let failure = listened.unwrap_err();
        assert!(failure.to_string().contains(says), "{failure}");
        assert_eq!(failure.exit_code(), 1);
    }
    let listened = against("anna", &Stop::new(), &Printed::default(), listen, |peer| {
        peer.expect(HELLO_OF_ANNA);
        peer.send(RESPONSE, 0, "", "anna", "409");
    });
    assert!(listened.unwrap_err().to_string().starts_with("the log-in: this user is logged in"));
}

#[test]
fn a_signal_ends_send_while_it_waits() {
    let stop = Stop::new();
    let sent = against("anna", &stop, &Printed::default(), to_bartek, |peer| {
        peer.expect(ANNA_TO_BARTEK);
        stop.ask();
        peer.expect_end();
    });
    assert!(matches!(sent, Err(Failure::Interrupted)));
}

#[test]
fn what_direct_has_no_room_for_is_wrong_usage() {
    let fails = |url: &str, command: fn(&mut dyn Client) -> Result<(), Failure>| {
        let failure = run(url, &Stop::new(), &Printed::default(), command).unwrap_err();
        assert_eq!(failure.exit_code(), 2, "{failure}");
        failure.to_string()
    };
    let url = "direct://anna@127.0.0.1:1";
    let user = |c: &mut dyn Client| c.send(&To::User("kazimierz".into()), b"", None).map(drop);
    let says = "'kazimierz' has 9 bytes, and a name in direct has room for 8: give its number \
                instead, as ~k";
    assert_eq!(fails(url, user), says);
    assert_eq!(fails("direct://kazimierz@127.0.0.1:1", listen), says);
    let group = |c: &mut dyn Client| c.send(&To::Group("obserwac".into()), b"", None).map(drop);
    assert!(fails(url, group).contains("'#obserwac' has 9 bytes"));
    let long = |c: &mut dyn Client| c.send(&To::User("b".into()), &[b'x'; 1001], None).map(drop);
    assert_eq!(fails(url, long), "the text has 1001 bytes; direct takes at most 1000");
    let urgent = |c: &mut dyn Client| c.send(&To::User("b".into()), b"", Some(1)).map(drop);
    assert!(fails(url, urgent).starts_with("direct has no 'send --priority'"));
    assert!(fails(url, |c| c.listen(&[], true)).starts_with("direct has no 'listen --sync'"));
    let chosen = |c: &mut dyn Client| c.listen(&[Group("a".into())], false);
    assert!(fails(url, chosen).starts_with("direct has no 'listen #group'"));
}

#[test]
fn waiting_ends_after_stop_although_nothing_more_comes() {
    let (stop, printed) = (Stop::new(), Printed::default());
    let listened = against("anna", &stop, &printed, listen, |peer| {
        peer.expect(HELLO_OF_ANNA);
        peer.send(MESSAGE, 0, "b", "anna", "x");
        until("printed", || !printed.out.text().is_empty());
        stop.ask();
        peer.expect(&Peer::frame(RESPONSE, 0, "anna", "b", "200"));
        peer.expect_end();
    });
    listened.unwrap();
}
