//! `direct`, byte by byte against the real server: the examples of its description.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use common::{LONG, Server};

const HELLO_OF_ANNA: &str = "0018000100000000 616e6e6100000000 0000000000000000";
const HELLO_OF_BARTEK: &str = "0018000100000000 62617274656b0000 0000000000000000";
const MESSAGE: &str = "001f000000000007 616e6e6100000000 62617274656b0000 637a65c59bc487";
const ANSWER: &str = "001b000100000007 62617274656b0000 616e6e6100000000 323030";
const NO_ANSWER: &str = "001b000100000007 62617274656b0000 616e6e6100000000 333030";
const OFFLINE: &str = "001f000200000007 616e6e6100000000 62617274656b0000 637a65c59bc487";

/// The bytes that hexadecimal digits stand for.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

struct Client(TcpStream);

impl Client {
    fn connect(server: &Server) -> Client {
        let stream = TcpStream::connect(server.address.unwrap()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(stream)
    }

    fn send(&mut self, digits: &str) {
        self.0.write_all(&bytes(digits)).unwrap();
    }

    /// What comes next are these bytes.
    fn expect(&mut self, digits: &str) {
        let want = bytes(digits);
        let mut got = vec![0; want.len()];
        self.0.read_exact(&mut got).unwrap();
        assert_eq!(got, want);
    }

    fn expect_end(&mut self) {
        match self.0.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not the end: {other:?}"),
        }
    }
}

/// Two clients, both logged in.
fn both(server: &Server) -> (Client, Client) {
    let (mut anna, mut bartek) = (Client::connect(server), Client::connect(server));
    anna.send(HELLO_OF_ANNA);
    bartek.send(HELLO_OF_BARTEK);
    // To oneself, and answered by oneself: by then the log-in is done.
    bartek.send("0018000000000001 62617274656b0000 62617274656b0000");
    bartek.expect("0018000000000001 62617274656b0000 62617274656b0000");
    bartek.send("001b000100000001 62617274656b0000 62617274656b0000 323030");
    bartek.expect("001b000100000001 62617274656b0000 62617274656b0000 323030");
    (anna, bartek)
}

#[test]
fn a_message_is_forwarded_as_it_is_and_so_is_its_answer() {
    let server = Server::start("", "");
    let (mut anna, mut bartek) = both(&server);
    anna.send(MESSAGE);
    bartek.expect(MESSAGE);
    bartek.send(ANSWER);
    anna.expect(ANSWER);
    // Byte by byte, and many at once.
    for byte in bytes(MESSAGE) {
        anna.0.write_all(&[byte]).unwrap();
    }
    bartek.expect(MESSAGE);
    bartek.send(&format!("{ANSWER} 0018000000000002 62617274656b0000 616e6e6100000000"));
    anna.expect(ANSWER);
    anna.expect("0018000000000002 62617274656b0000 616e6e6100000000");
}

#[test]
fn without_an_answer_it_is_offline_mail_after_3_s() {
    let server = Server::start("", "");
    let (mut anna, mut bartek) = both(&server);
    anna.send(MESSAGE);
    bartek.expect(MESSAGE);
    anna.expect(NO_ANSWER);
    bartek.expect_end();
    anna.send(&MESSAGE.replace("0007", "0008"));
    anna.expect(&NO_ANSWER.replace("0007", "0008"));
    let mut bartek = Client::connect(&server);
    bartek.send(HELLO_OF_BARTEK);
    bartek.expect(OFFLINE);
    bartek.expect(&OFFLINE.replace("0007", "0008"));
}

#[test]
fn what_cannot_be_done_has_its_code() {
    let server = Server::start("", "[limits]\nmessage_length = 100");
    let (mut anna, _bartek) = both(&server);
    let answer = |id: &str, code: &str| format!("001b0001{id} {:016x} 616e6e6100000000 {code}", 0);
    // 404: no such user, no such group.
    anna.send("0018000000000001 616e6e6100000000 6e6f626f64790000");
    anna.expect(&answer("00000001", "343034"));
    anna.send("0018000000000002 616e6e6100000000 23676f6e65000000");
    anna.expect(&answer("00000002", "343034"));
    // 507: longer than this server keeps; its text is skipped.
    let long = "78".repeat(101);
    anna.send(&format!("007d000000000003 616e6e6100000000 62617274656b0000 {long}"));
    anna.expect(&answer("00000003", "353037"));
    // 409: the name is in use.
    let mut other = Client::connect(&server);
    other.send(HELLO_OF_ANNA);
    let nobody = format!("001b000100000000 {:016x} {:016x} 343039", 0, 0);
    other.expect(&nobody);
    other.expect_end();
    // 400: no length of a frame, an unknown type, no name.
    for frame in [
        "0017000000000000",
        "0018000300000000 6577610000000000 616e6e6100000000",
        "0018000000000000 0000000000000000 616e6e6100000000",
    ] {
        let mut other = Client::connect(&server);
        other.send(frame);
        other.expect(&nobody.replace("343039", "343030"));
        other.expect_end();
    }
    // 401: another name than the one that was bound; anna is gone, and her name is free.
    anna.send("0018000000000004 62617274656b0000 616e6e6100000000");
    anna.expect(&answer("00000004", "343031"));
    anna.expect_end();
    let mut anna = Client::connect(&server);
    anna.send(HELLO_OF_ANNA);
    anna.send("0018000000000005 616e6e6100000000 6e6f626f64790000");
    anna.expect(&answer("00000005", "343034"));
}
