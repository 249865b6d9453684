//! `direct`, byte by byte: the examples of its description, for any exchange that speaks it.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Nothing takes longer, on a machine that does other things beside.
const LONG: Duration = Duration::from_secs(60);

const HELLO_OF_ANNA: &str = "0018000100000000 616e6e6100000000 0000000000000000";
const HELLO_OF_BARTEK: &str = "0018000100000000 62617274656b0000 0000000000000000";
const MESSAGE: &str = "001f000000000007 616e6e6100000000 62617274656b0000 637a65c59bc487";
const ANSWER: &str = "001b000100000007 62617274656b0000 616e6e6100000000 323030";
const NO_ANSWER: &str = "001b000100000007 62617274656b0000 616e6e6100000000 333030";
const OFFLINE: &str = "001f000200000007 616e6e6100000000 62617274656b0000 637a65c59bc487";

/// An exchange that nobody has used yet.
pub trait Fresh {
    /// A connection, or a line, on which nobody is bound.
    fn connect(&mut self) -> TcpStream;

    /// Whether a session that ends closes its connection. A serial line has none to close.
    fn closes(&self) -> bool {
        true
    }

    /// Bytes of the longest text.
    fn message_length(&self) -> usize;
}

/// The bytes that hexadecimal digits stand for.
fn bytes(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

struct Client {
    stream: TcpStream,
    closes: bool,
}

impl Client {
    fn connect(exchange: &mut dyn Fresh) -> Client {
        let stream = exchange.connect();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, closes: exchange.closes() }
    }

    fn send(&mut self, digits: &str) {
        self.stream.write_all(&bytes(digits)).unwrap();
    }

    /// What comes next are these bytes.
    fn expect(&mut self, digits: &str) {
        let want = bytes(digits);
        let mut got = vec![0; want.len()];
        self.stream.read_exact(&mut got).unwrap();
        assert_eq!(got, want);
    }

    fn expect_end(&mut self) {
        if !self.closes {
            return;
        }
        match crate::read_some(&mut self.stream, &mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("not the end: {other:?}"),
        }
    }
}

/// Two clients, both logged in.
fn both(exchange: &mut dyn Fresh) -> (Client, Client) {
    let (mut anna, mut bartek) = (Client::connect(exchange), Client::connect(exchange));
    anna.send(HELLO_OF_ANNA);
    bartek.send(HELLO_OF_BARTEK);
    for (client, name) in [(&mut anna, "616e6e6100000000"), (&mut bartek, "62617274656b0000")] {
        // To oneself, and answered by oneself: by then the log-in is done.
        client.send(&format!("0018000000000001 {name} {name}"));
        client.expect(&format!("0018000000000001 {name} {name}"));
        client.send(&format!("001b000100000001 {name} {name} 323030"));
        client.expect(&format!("001b000100000001 {name} {name} 323030"));
    }
    (anna, bartek)
}

/// An answer of the exchange to anna: its id, and its code in hexadecimal digits.
fn answer(id: &str, code: &str) -> String {
    format!("001b0001{id} {:016x} 616e6e6100000000 {code}", 0)
}

/// An answer of the exchange to nobody it knows.
fn to_nobody(code: &str) -> String {
    format!("001b000100000000 {:016x} {:016x} {code}", 0, 0)
}

/// A message is forwarded as it is, and so is its answer, byte by byte or many at once.
pub fn forwarded_as_it_is(exchange: &mut dyn Fresh) {
    let (mut anna, mut bartek) = both(exchange);
    anna.send(MESSAGE);
    bartek.expect(MESSAGE);
    bartek.send(ANSWER);
    anna.expect(ANSWER);
    for byte in bytes(MESSAGE) {
        anna.stream.write_all(&[byte]).unwrap();
    }
    bartek.expect(MESSAGE);
    bartek.send(&format!("{ANSWER} 0018000000000002 62617274656b0000 616e6e6100000000"));
    anna.expect(ANSWER);
    anna.expect("0018000000000002 62617274656b0000 616e6e6100000000");
}

/// Without an answer a message is offline mail after 3 s, and its recipient's session ends.
pub fn not_answered(exchange: &mut dyn Fresh) {
    let (mut anna, mut bartek) = both(exchange);
    anna.send(MESSAGE);
    bartek.expect(MESSAGE);
    anna.expect(NO_ANSWER);
    bartek.expect_end();
    anna.send(&MESSAGE.replace("0007", "0008"));
    anna.expect(&NO_ANSWER.replace("0007", "0008"));
    let mut bartek = Client::connect(exchange);
    bartek.send(HELLO_OF_BARTEK);
    bartek.expect(OFFLINE);
    bartek.expect(&OFFLINE.replace("0007", "0008"));
}

/// 404: no such user, no such group. 507: longer than this exchange keeps; its text is skipped.
pub fn refused(exchange: &mut dyn Fresh) {
    let (mut anna, _bartek) = both(exchange);
    anna.send("0018000000000001 616e6e6100000000 6e6f626f64790000");
    anna.expect(&answer("00000001", "343034"));
    anna.send("0018000000000002 616e6e6100000000 23676f6e65000000");
    anna.expect(&answer("00000002", "343034"));
    for more in [1, 100] {
        let long = "78".repeat(exchange.message_length() + more);
        let len = 24 + long.len() / 2;
        anna.send(&format!("{len:04x}000000000003 616e6e6100000000 62617274656b0000 {long}"));
        anna.expect(&answer("00000003", "353037"));
    }
    anna.send("0018000000000004 616e6e6100000000 6e6f626f64790000");
    anna.expect(&answer("00000004", "343034"));
}

/// 409: the name is in use.
pub fn in_use(exchange: &mut dyn Fresh) {
    let (mut anna, _bartek) = both(exchange);
    let mut other = Client::connect(exchange);
    other.send(HELLO_OF_ANNA);
    other.expect(&to_nobody("343039"));
    other.expect_end();
    anna.send("0018000000000001 616e6e6100000000 6e6f626f64790000");
    anna.expect(&answer("00000001", "343034"));
}

/// 400: no length of a frame, an unknown type, no name.
pub fn malformed(exchange: &mut dyn Fresh) {
    for frame in [
        "0017000000000000",
        "0018000300000000 6577610000000000 616e6e6100000000",
        "0018000000000000 0000000000000000 616e6e6100000000",
    ] {
        let mut other = Client::connect(exchange);
        other.send(frame);
        other.expect(&to_nobody("343030"));
        other.expect_end();
    }
}

/// 401: another name than the one that was bound. Then its owner is gone, and it is free.
pub fn another_name(exchange: &mut dyn Fresh) {
    let (mut anna, _bartek) = both(exchange);
    anna.send("0018000000000004 62617274656b0000 616e6e6100000000");
    anna.expect(&answer("00000004", "343031"));
    anna.expect_end();
    let mut anna = Client::connect(exchange);
    anna.send(HELLO_OF_ANNA);
    anna.send("0018000000000005 616e6e6100000000 6e6f626f64790000");
    anna.expect(&answer("00000005", "343034"));
}
