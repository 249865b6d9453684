//! Bytes into each dialect: they give a value or an error, what is a value can be written and read
//! again, and an exchange that gets them goes on.
//!
//! The fuzz target `decode_frame` gives it its bytes.

use centrala_core::dialect::native::{self, serial};
use centrala_core::dialect::{Dialect, direct, lanes, queues, topics};
use centrala_core::exchange::{Exchange, Link, Token};
use centrala_core::host::{Ask, Count, Io, Outbox, Posted, Reply, Room, Volatile};
use centrala_core::limits::Limits;
use centrala_core::request::Chat;

centrala_core::storage! {
    struct Memory {
        users: 6,
        groups: 3,
        memberships: 8,
        sessions: 8,
        messages: 12,
        message_length: 400,
        entries: 16,
        questions: 2,
        chats: 4,
    }
}

/// Decodes bytes: the first picks the dialect, the rest go through its views and into an exchange.
///
/// # Panics
/// When something written is read as something else, or a stream means something else in parts.
pub fn decode(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let dialect = Dialect::ALL[usize::from(*which) % Dialect::ALL.len()];
    match dialect {
        Dialect::Direct => {
            direct(bytes);
            let [whole, in_parts] = stream(dialect, bytes);
            assert_eq!(without_ids(whole), without_ids(in_parts), "the same bytes in parts");
        }
        Dialect::Native => {
            native(bytes);
            let [whole, in_parts] = stream(dialect, bytes);
            assert_eq!(whole, in_parts, "the same bytes in parts");
        }
        Dialect::Topics => topics(bytes),
        Dialect::Queues => queues(bytes),
        Dialect::Lanes => lanes(bytes),
        Dialect::Rooms => {
            let whole = given(|office| office.rooms(bytes.chunks(bytes.len().max(1))));
            let in_parts = given(|office| office.rooms(bytes.chunks(1)));
            assert_eq!(whole, in_parts, "the same bytes in parts");
        }
    }
    if !matches!(dialect, Dialect::Direct | Dialect::Native | Dialect::Rooms) {
        given(|office| office.queue(dialect, bytes));
    }
}

/// What an exchange gives for a stream that comes at once, and for one that comes byte by byte.
fn stream(dialect: Dialect, bytes: &[u8]) -> [Vec<(Link, Vec<u8>)>; 2] {
    [bytes.len().max(1), 1].map(|size| given(|office| office.stream(dialect, bytes.chunks(size))))
}

fn native(bytes: &[u8]) {
    let mut out = vec![0; bytes.len() + native::HEADER + 1];
    if let Some((payload, used)) = native::look(bytes) {
        // A number may be written longer than it need be: what is written is no longer.
        if let Ok((id, request)) = native::Request::decode(payload) {
            let len = request.encode(id, &mut out).expect("no longer than it was");
            assert!(len <= used);
            let (again, _) = native::look(&out[..len]).expect("what was written");
            assert_eq!(native::Request::decode(again), Ok((id, request)));
            assert_eq!(request.encode(id, &mut out[..len - 1]), None, "one byte too few");
        }
        if let Ok(event) = native::Event::decode(payload) {
            let len = event.encode(&mut out).expect("no longer than it was");
            assert!(len <= used);
            let (again, _) = native::look(&out[..len]).expect("what was written");
            assert_eq!(native::Event::decode(again), Ok(event));
        }
        let mut line = vec![0; serial::encoded_max(used)];
        let len = serial::encode(&bytes[..used], &mut line);
        let len = len.expect("it has room for any frame");
        // An empty frame is none on a line: it says nothing, and zeros are all that is between two.
        let want = (!payload.is_empty()).then(|| bytes[..used].to_vec());
        assert_eq!(received(&line[..len], used + 4).last(), want.as_ref());
    }
    // Of bytes that are noise a frame may be made only if its checksum holds.
    for frame in received(bytes, 500) {
        let mut line = vec![0; serial::encoded_max(frame.len())];
        let len = serial::encode(&frame, &mut line).expect("it has room for any frame");
        assert_eq!(received(&line[..len], 500), [frame]);
    }
}

/// The frames that a receiver with so much room finds in the bytes of a serial line. An empty frame
/// is none.
fn received(bytes: &[u8], room: usize) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; room];
    let mut receiver = serial::Receiver::new(&mut buffer[..]);
    let mut frames = Vec::new();
    for byte in bytes {
        if receiver.push(*byte) == serial::Arrived::Frame {
            frames.push(receiver.frame().to_vec());
        }
    }
    frames
}

fn direct(bytes: &[u8]) {
    let direct::Look::Frame(frame, len) = direct::Frame::look(bytes) else { return };
    let mut out = [0; direct::FRAME_MAX];
    assert_eq!(frame.emit(&mut out), Some(len));
    assert_eq!(out[..len], bytes[..len]);
    assert_eq!(frame.emit(&mut out[..len - 1]), None, "one byte too few");
    for field in [frame.source(), frame.destination()] {
        assert!(!field.contains(&0));
        let _ = (direct::target(field), direct::user(field));
    }
}

fn topics(bytes: &[u8]) {
    use topics::{ClientMessage, ServerMessage};
    let mut out = [0; topics::SIZE];
    if let Some(message) = ClientMessage::new_checked(bytes)
        && let Some(len) = message.emit(&mut out)
    {
        let again = ClientMessage::new_checked(&out[..len]).expect("what was written");
        let parts = |m: &ClientMessage<'_>| (m.kind, m.id, m.topic, m.number);
        assert_eq!(parts(&again), parts(&message));
        assert_eq!(again.text(), message.text());
        assert_eq!(again.second_text(), message.second_text());
    }
    if let Some(message) = ServerMessage::new_checked(bytes) {
        let len = message.emit(&mut out).expect("any text is cut");
        let again = ServerMessage::new_checked(&out[..len]).expect("what was written");
        assert!(again == message || message.text.len() >= topics::TEXT);
    }
}

fn queues(bytes: &[u8]) {
    let Some(message) = queues::Message::new_checked(bytes) else { return };
    let mut out = [0; queues::SIZE];
    assert_eq!(message.emit(&mut out), Some(queues::SIZE));
    let again = queues::Message::new_checked(&out).expect("what was written");
    assert!(again == message || message.text.len() >= queues::TEXT);
    assert_eq!(message.emit(&mut out[..queues::SIZE - 1]), None, "one byte too few");
}

fn lanes(bytes: &[u8]) {
    let Some(element) = lanes::Element::new_checked(bytes) else { return };
    let mut out = [0; lanes::SIZE];
    let len = element.emit(&mut out).expect("any text is cut");
    let again = lanes::Element::new_checked(&out[..len]).expect("what was written");
    assert!(again == element || element.text.len() >= lanes::TEXT);
    let _ = lanes::Order::from_second(element.second, 32, 16);
}

/// The id of a frame that has no length is there or is not when it is refused.
fn without_ids(mut given: Vec<(Link, Vec<u8>)>) -> Vec<(Link, Vec<u8>)> {
    for (_, frame) in given.iter_mut().filter(|(_, frame)| frame.ends_with(b"400")) {
        frame[4..direct::HEADER - 2 * direct::NAME_FIELD].fill(0);
    }
    given
}

/// What an exchange gives its host while it gets some bytes, by link.
fn given(run: impl FnOnce(&mut Office<'_>)) -> Vec<(Link, Vec<u8>)> {
    let mut memory = Box::new(Memory::EMPTY);
    let exchange = Exchange::new(memory.lend(), Limits::new(Memory::MESSAGE_LENGTH));
    let mut office = Office { exchange, out: Given::default() };
    run(&mut office);
    let (usage, capacity) = (office.exchange.usage(), office.exchange.capacity());
    assert!(usage.sessions <= capacity.sessions && usage.entries <= capacity.entries);
    office.out.0
}

/// An exchange with a user or two.
struct Office<'a> {
    exchange: Exchange<'a>,
    out: Given,
}

impl Office<'_> {
    fn connect(&mut self, dialect: Dialect) -> Link {
        self.exchange.connect(dialect, Room::of(4_096), 0).expect("a session")
    }

    /// A connection of `rooms`, logged in and in a chat, that gets bytes in these parts. All that it
    /// is sent is whole events.
    fn rooms<'b>(&mut self, parts: impl Iterator<Item = &'b [u8]>) {
        self.open();
        let link = self.exchange.connect(Dialect::Rooms, Room::of(1 << 20), 0).expect("a session");
        self.receive(link, b"\x92\xacauth-request\xa3ola");
        self.receive(link, b"\x92\xaccreate-anons\xa4flat");
        self.receive(link, b"\x93\xa9join-chat\x01\x00");
        let mut buffer = Vec::new();
        for part in parts {
            buffer.extend_from_slice(part);
            while let Some(used) = self.receive(link, &buffer) {
                buffer.drain(..used);
                if !self.answer_reads() {
                    break;
                }
            }
        }
        self.out.check_events(link);
    }

    /// Answers a question with two messages and two counts; whether there was one.
    fn answer_reads(&mut self) -> bool {
        let Some(token) = self.out.1.pop() else { return false };
        let text = b"\"\xff\0\\";
        let said = Posted { sequence: (1 << 62) + 3, from: 1, group: 1, text, ..Posted::NONE };
        let image = Posted { image: true, text: b"[image: a, b.png, image/png, 9]", ..said };
        let count = Count { chat: Chat::Private { group: 1, user: 2 }, all: u64::MAX, new: 1 };
        let mut io = Io { now: 0, time: 0, store: &mut Volatile, out: &mut self.out };
        let (exchange, mut half) = (&mut self.exchange, [said, image].into_iter());
        // Whatever it was: the other answer is to a question that is not open any more.
        exchange.history_page(token, 2, half.by_ref().take(1), false, &mut io);
        exchange.history_page(token, 2, half, true, &mut io);
        exchange.chats_page(token, 2, [count; 2], true, &mut io);
        let _ = exchange.answer_question(token, Reply::Verified(true), &mut io);
        true
    }

    fn receive(&mut self, link: Link, bytes: &[u8]) -> Option<usize> {
        let mut io = Io { now: 0, time: 0, store: &mut Volatile, out: &mut self.out };
        let used = self.exchange.receive(link, bytes, &mut io).ok()?;
        assert!(used <= bytes.len());
        Some(used)
    }

    /// Somebody to write to, and a group to write to.
    fn open(&mut self) {
        let anna = self.connect(Dialect::Direct);
        self.receive(anna, b"\0\x18\0\x01\0\0\0\0anna\0\0\0\0\0\0\0\0\0\0\0\0");
        let group = self.exchange.create_group(b"all", 0, &mut Volatile).expect("a group");
        self.exchange.join(1, group, 2, &mut Volatile).expect("a member");
    }

    /// A connection that gets bytes in these parts.
    fn stream<'b>(&mut self, dialect: Dialect, parts: impl Iterator<Item = &'b [u8]>) {
        self.open();
        let link = self.connect(dialect);
        let mut buffer = Vec::new();
        for part in parts {
            buffer.extend_from_slice(part);
            loop {
                match self.receive(link, &buffer) {
                    Some(used) => drop(buffer.drain(..used)),
                    None => return,
                }
                let Some(token) = self.out.1.pop() else { break };
                let mut io = Io { now: 0, time: 0, store: &mut Volatile, out: &mut self.out };
                let _ = self.exchange.answer_question(token, Reply::Prepared(true), &mut io);
            }
        }
    }

    /// An endpoint that gets bytes, one message at a time, and its answers to questions.
    fn queue(&mut self, dialect: Dialect, bytes: &[u8]) {
        self.open();
        let endpoint = self.exchange.endpoint(dialect, 12_345).expect("a session");
        for message in bytes.chunks(topics::REQUEST_SIZE + 1) {
            assert_eq!(self.receive(endpoint, message), Some(message.len()));
            while let Some(token) = self.out.1.pop() {
                let mut io = Io { now: 0, time: 0, store: &mut Volatile, out: &mut self.out };
                let _ = self.exchange.answer_question(token, Reply::Prepared(true), &mut io);
            }
        }
        // Whatever was asked for in halves, and whoever is to be gone, by then is.
        for now in [200, 5_000, 20_000, 100_000] {
            let mut io = Io { now, time: 0, store: &mut Volatile, out: &mut self.out };
            self.exchange.handle_timeout(&mut io);
        }
        assert_eq!(self.exchange.poll_timeout().filter(|due| *due <= 100_000), None);
    }
}

/// Frames by link, and open questions; then what has come of an answer in parts.
#[derive(Default)]
struct Given(Vec<(Link, Vec<u8>)>, Vec<Token>, Vec<u8>);

impl Given {
    /// Whether all frames of a link are whole lines, each a JSON array that begins with a name.
    fn check_events(&self, link: Link) {
        assert!(self.2.is_empty(), "an answer that does not end");
        for (_, frame) in self.0.iter().filter(|(to, _)| *to == link) {
            let event: serde_json::Value = serde_json::from_slice(frame).expect("JSON");
            assert!(event[0].is_string() && frame.ends_with(b"]\n"), "{event}");
            assert_eq!(frame.iter().filter(|byte| **byte == b'\n').count(), 1);
            if let (Some(length), Some(rows)) = (event[1].as_u64(), event[2].as_array()) {
                assert_eq!(length, rows.len() as u64, "{event}");
            }
        }
    }

    fn give(&mut self, to: Link, frame: &[u8]) {
        assert!(!frame.is_empty(), "an empty frame");
        self.0.push((to, frame.to_vec()));
    }
}

impl Outbox for Given {
    fn open(&mut self, _: Link, _: Link, _: i64) -> Option<Room> {
        Some(Room::of(4_096))
    }
    fn deliver(&mut self, to: &[Link], frame: &[u8]) {
        to.iter().for_each(|to| self.give(*to, frame));
    }
    fn mail(&mut self, to: Link, frame: &[u8], _: u32) {
        self.give(to, frame);
    }
    fn reply(&mut self, to: Link, frame: &[u8]) {
        self.give(to, frame);
    }
    fn promise(&mut self, to: Link, granted: &[u8], _: &[u8]) {
        self.give(to, granted);
    }
    fn part(&mut self, to: Link, frame: &[u8], last: bool) {
        self.2.extend_from_slice(frame);
        if last {
            let whole = std::mem::take(&mut self.2);
            self.give(to, &whole);
        }
    }
    fn ask(&mut self, token: Token, _: Ask<'_>) {
        self.1.push(token);
    }
    fn turn_away(&mut self, endpoint: Link, _: i64, frame: &[u8]) {
        self.give(endpoint, frame);
    }
    fn take_back(&mut self, _: Link, _: i64, _: &mut dyn FnMut(&[u8]) -> bool) {}
    fn unread(&mut self, _: Link, _: &mut dyn FnMut(&[u8])) {}
    fn gone(&mut self, _: Link) -> bool {
        false
    }
    fn close(&mut self, _: Link) {}
    fn shut_down(&mut self) {}
}
