//! A microcontroller as a client: logs in as `node` with `direct` over its first UART, which leads to
//! an exchange's TCP port, and publishes a counter to `#count`.
//!
//! - Each [`PERIOD`] it sends the next number to the group, and waits for the answer first: what was
//!   not answered within [`PATIENCE`] is lost with its connection. Then it says hello anew, and sends
//!   the number again. Told to stop it says hello as often.
//! - It answers every message that is sent to it with `200`, and obeys it: `set N` goes on from
//!   there, `stop` and `go` do what they say. What it cannot make out it only confirms. A message
//!   comes twice if its answer was lost: all three do the same twice.
//! - Bytes that are no frame, and half of one that nothing follows for [`PATIENCE`], are dropped.
#![no_std]
#![no_main]

use centrala_board::clock::Clock;
use centrala_board::stack::Watermark;
use centrala_board::uart::{self, Rings, UARTS, Uart};
use centrala_core::dialect::direct::{
    Frame, HEADER, Look, MESSAGE, NAME_FIELD, RESPONSE, code, name_field,
};
use cortex_m_rt::entry;
use static_cell::ConstStaticCell;

/// Milliseconds between two numbers.
const PERIOD: u64 = 1_000;
/// Milliseconds that an answer, or the rest of a frame, may take.
const PATIENCE: u64 = 5_000;
/// Bytes of the longest frame that it makes out; of a longer one the text is cut.
const INPUT: usize = 64;
/// Bytes of the longest frame that it sends.
const OUTPUT: usize = HEADER + 10;

static RINGS: ConstStaticCell<[Rings; UARTS]> = ConstStaticCell::new([Rings::EMPTY; UARTS]);

/// The client's state.
struct Node {
    /// The next number to publish.
    count: u32,
    /// The id of the next message.
    id: u32,
    running: bool,
    /// The message that is not answered yet.
    awaited: Option<u32>,
    /// When that was sent, or answered.
    since: u64,
    input: [u8; INPUT],
    len: usize,
    /// Bytes of a frame that are still to come and have no place.
    skip: usize,
    heard: u64,
}

#[entry]
fn main() -> ! {
    let peripherals = cortex_m::Peripherals::take().expect("taken once");
    let mut clock = Clock::start(peripherals.SYST);
    let [mut uart, ..] = uart::start(RINGS.take());
    let mut node = Node {
        count: 0,
        id: 0,
        running: true,
        awaited: None,
        since: clock.now(),
        input: [0; INPUT],
        len: 0,
        skip: 0,
        heard: 0,
    };
    let mut watermark = Watermark::new();
    defmt::info!("node: begins");
    node.hello(&mut uart);
    loop {
        let now = clock.now();
        node.receive(&mut uart, now);
        node.turn(&mut uart, now);
        if let Some(bytes) = watermark.grown() {
            defmt::info!("stack: {=usize} bytes", bytes);
        }
        centrala_board::sleep_unless(|| uart.has_received());
    }
}

fn me() -> [u8; NAME_FIELD] {
    name_field(b"node", 0, false)
}

fn send(uart: &mut Uart, frame: &Frame<'_>) {
    let mut bytes = [0; OUTPUT];
    let Some(frame) = frame.emit(&mut bytes).and_then(|len| bytes.get(..len)) else { return };
    // What has no room is lost as on the line, and made up for as there.
    if uart.free() >= frame.len() {
        uart.send(frame);
    }
}

impl Node {
    fn hello(&mut self, uart: &mut Uart) {
        let (src, dst) = (me(), [0; NAME_FIELD]);
        send(uart, &Frame { kind: RESPONSE, id: 0, src: &src, dst: &dst, text: b"" });
    }

    /// Sends the next number when it is time, and begins anew when nothing answers.
    fn turn(&mut self, uart: &mut Uart, now: u64) {
        if (self.len != 0 || self.skip != 0) && now.saturating_sub(self.heard) >= PATIENCE {
            (self.len, self.skip) = (0, 0);
        }
        let passed = now.saturating_sub(self.since);
        if self.awaited.is_some() {
            if passed >= PATIENCE {
                defmt::warn!("no answer: hello again");
                self.awaited = None;
                self.hello(uart);
            }
            return;
        }
        if !self.running && passed >= PATIENCE {
            // Nothing else would tell it of a new connection.
            self.since = now;
            self.hello(uart);
        }
        if !self.running || passed < PERIOD {
            return;
        }
        let mut digits = [0; 10];
        let text = decimal(self.count, &mut digits);
        let (src, dst) = (me(), name_field(b"count", 0, true));
        send(uart, &Frame { kind: MESSAGE, id: self.id, src: &src, dst: &dst, text });
        self.awaited = Some(self.id);
        self.id = self.id.wrapping_add(1);
        self.since = now;
    }

    /// Takes what has come, frame by frame.
    fn receive(&mut self, uart: &mut Uart, now: u64) {
        loop {
            let got = uart.receive(self.input.get_mut(self.len..).unwrap_or(&mut []));
            if got == 0 {
                return;
            }
            self.heard = now;
            self.len += got;
            while let Some(used) = self.frame(uart, now) {
                self.input.copy_within(used..self.len, 0);
                self.len -= used;
            }
        }
    }

    /// Makes out the first frame, and says how many bytes it was.
    fn frame(&mut self, uart: &mut Uart, now: u64) -> Option<usize> {
        let input = self.input;
        let bytes = input.get(..self.len)?;
        if self.skip != 0 {
            let some = self.skip.min(self.len);
            self.skip -= some;
            return (some != 0).then_some(some);
        }
        match Frame::look(bytes) {
            Look::Frame(frame, used) => {
                self.obey(&frame, uart, now);
                Some(used)
            }
            // A frame with no place for its end: its beginning is enough to confirm it.
            Look::Partial if self.len == INPUT => {
                let (len, _) = bytes.split_first_chunk::<2>()?;
                self.skip = usize::from(u16::from_be_bytes(*len)).saturating_sub(INPUT);
                let mut cut = input;
                cut.first_chunk_mut::<2>()?.copy_from_slice(&(INPUT as u16).to_be_bytes());
                if let Look::Frame(frame, _) = Frame::look(&cut) {
                    self.obey(&frame, uart, now);
                }
                Some(INPUT)
            }
            Look::Partial => None,
            Look::Malformed => Some(self.len),
        }
    }

    fn obey(&mut self, frame: &Frame<'_>, uart: &mut Uart, now: u64) {
        if frame.kind == RESPONSE {
            if self.awaited == Some(frame.id) {
                self.awaited = None;
                self.since = now;
                match frame.text {
                    text if text == code::TAKEN => self.count = self.count.wrapping_add(1),
                    // Nobody has made the group yet, or the like: the number is sent again.
                    text => defmt::warn!("refused: {=[u8]:a}", text),
                }
            }
            return;
        }
        match frame.text {
            b"stop" => self.running = false,
            b"go" => self.running = true,
            [b's', b'e', b't', b' ', digits @ ..] => {
                if let Some(count) = number(digits) {
                    self.count = count;
                    // What is under way is of the numbers before.
                    self.awaited = None;
                }
            }
            _ => {}
        }
        defmt::info!("told: {=[u8]:a}", frame.text);
        if frame.kind == MESSAGE {
            let (kind, id, src) = (RESPONSE, frame.id, me());
            send(uart, &Frame { kind, id, src: &src, dst: frame.src, text: code::TAKEN });
        }
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}

fn decimal(mut number: u32, digits: &mut [u8; 10]) -> &[u8] {
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[first..];
        }
    }
}
