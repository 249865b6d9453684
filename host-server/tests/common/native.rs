//! A client of `native`.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use centrala_core::dialect::native::{Chat, Event, HEADER, How, Request, To, VERSION, Who, look};

use super::LONG;

/// A client that keeps answers and messages apart.
pub struct Native {
    pub stream: TcpStream,
    input: Vec<u8>,
    /// Answers that came: of requests by id, and how.
    answers: VecDeque<(u32, Result<How, String>)>,
    /// Messages that came, with their marks.
    messages: VecDeque<(u32, String)>,
    /// What histories showed: numbers and texts.
    pub said: VecDeque<(u64, String)>,
    /// What was counted: of each conversation all messages, and new ones.
    pub counts: VecDeque<(Chat, u64, u64)>,
    id: u32,
    /// Its number.
    pub user: u32,
}

impl Native {
    /// A connection on which nothing has been said yet.
    pub fn connect(address: SocketAddr) -> Native {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        let (answers, messages) = (VecDeque::new(), VecDeque::new());
        let (said, counts) = (VecDeque::new(), VecDeque::new());
        Native { stream, input: Vec::new(), answers, messages, said, counts, id: 0, user: 0 }
    }

    pub fn log_in(address: SocketAddr, name: &str) -> Native {
        Native::try_log_in(address, name).unwrap()
    }

    /// Logs in, or says why not.
    pub fn try_log_in(address: SocketAddr, name: &str) -> Result<Native, String> {
        let mut client = Native::connect(address);
        let user = Who::Name(name.as_bytes());
        client.ask(&Request::Hello { version: VERSION, user, password: b"" });
        client.answer().map(|_| client)
    }

    /// Sends a request with the next id.
    pub fn ask(&mut self, request: &Request<'_>) {
        self.id += 1;
        let mut out = [0; 2048];
        let len = request.encode(self.id, &mut out).unwrap();
        self.stream.write_all(&out[..len]).unwrap();
    }

    pub fn send(&mut self, to: To<'_>, text: &str) {
        self.ask(&Request::Send { to, priority: 3, receipt: true, text: text.as_bytes() });
    }

    /// What the last request was answered.
    pub fn answer(&mut self) -> Result<How, String> {
        loop {
            match self.answers.pop_front() {
                Some((id, answer)) if id == self.id => return answer,
                Some(_) => {}
                None => self.read(),
            }
        }
    }

    /// The last request was obeyed.
    pub fn done(&mut self) {
        let answer = self.answer();
        assert!(answer.is_ok(), "{answer:?}");
    }

    /// The next message's mark and text.
    pub fn next(&mut self) -> (u32, String) {
        loop {
            match self.messages.pop_front() {
                Some(message) => return message,
                None => self.read(),
            }
        }
    }

    /// The next message's text, acknowledged if it is mail.
    pub fn take(&mut self) -> String {
        let (mark, text) = self.next();
        if mark != 0 {
            let mut out = [0; 16];
            let len = Request::Ack { mark }.encode(0, &mut out).unwrap();
            self.stream.write_all(&out[..len]).unwrap();
        }
        text
    }

    /// The next message's text.
    pub fn text(&mut self) -> String {
        self.next().1
    }

    fn read(&mut self) {
        let mut buffer = [0; 4096];
        let n = centrala_tests::read_some(&mut self.stream, &mut buffer).unwrap();
        assert_ne!(n, 0, "the server has closed the connection");
        self.input.extend_from_slice(&buffer[..n]);
        let mut at = 0;
        while let Some((payload, used)) = look(&self.input[at..]) {
            match Event::decode(payload).unwrap() {
                Event::Welcome { id, user, .. } => {
                    self.user = user.number;
                    self.answers.push_back((id, Ok(How::Done)));
                }
                Event::Done { id, how, .. } => self.answers.push_back((id, Ok(how))),
                Event::Refused { id, why } => {
                    self.answers.push_back((id, Err(format!("{why:?}"))));
                }
                Event::Message(message) => {
                    let text = String::from_utf8(message.text.to_vec()).unwrap();
                    self.messages.push_back((message.mark, text));
                }
                Event::Said { number, text, .. } => {
                    self.said.push_back((number, String::from_utf8(text.to_vec()).unwrap()));
                }
                Event::Count { chat, all, new, .. } => self.counts.push_back((chat, all, new)),
                _ => {}
            }
            assert!(used >= HEADER);
            at += used;
        }
        self.input.drain(..at);
    }
}
