//! A client of `native` for a microcontroller on a serial line: without heap, clock or I/O of its
//! own. It logs in, publishes a counter to a topic, and obeys messages.
//!
//! # The line
//!
//! It carries the frames of `native` over TCP, each behind its length, as what stands between the
//! line and the exchange is a bridge that only copies bytes. So nothing says when a connection
//! begins or ends, and there is no checksum: a byte that is lost or doubled shifts all that follows,
//! one that flips within a text stays flipped. Hence:
//!
//! 1. **Each question has an answer in time**: [`ANSWER`] after the last sign of life, [`PATIENCE`]
//!    in all. After [`QUIET`] without an event the client asks with a ping; also after a frame that
//!    it does not know, which a later version may have sent, or noise.
//! 2. **Without an answer the line is lost**, and at once where a frame is longer than any of this
//!    exchange, where the marks of mail have a gap, and where the exchange knows of no session. What
//!    was not sent yet is dropped, and a hello begins the session anew.
//! 3. **Before a hello the other side is brought into step**: [`PADDING`] zeros end whatever frame it
//!    waits for (a frame of length 0 means nothing), then `01 00 00` and 254 zeros, which end at the
//!    same byte whether that side takes the 1 for the first byte of a length or for the second.
//! 4. **Behind a hello the client hunts**: everything is dropped, byte by byte, up to the answer with
//!    the id of this hello.
//! 5. A hello that was refused is repeated: after [`SOON`] the first time, as noise may have made it
//!    another, and where the name is in use, as that may be the session this client has lost; else
//!    after [`LATER`], as somebody has to do something. One that was malformed, or welcomed under
//!    another name, was noise: the line is lost.
//!
//! # The counter
//!
//! The topic is made and joined in each session. The next number is published every so often, and
//! counts as soon as the exchange has it: no number is left out, one may come twice.
//!
//! # Commands
//!
//! `led on`, `led off`, `rate N` (milliseconds, 100 to 3,600,000), `count?`: sent to the client or to
//! its topic, answered by a message to the sender. Anything else that is sent to it is answered with
//! what is allowed, and in the topic ignored, as is what begins with `ok: ` or `error: `: answers are
//! not answered. Mail is acknowledged behind its answer; what comes a second time, as that was lost, is
//! answered again and not obeyed again.
#![no_std]
#![forbid(unsafe_code)]

pub mod command;
mod input;
mod output;
mod state;

use centrala_core::dialect::native::{Event, Refusal};
use command::Command;
use input::{Input, Next};
use output::Output;
use state::State;

/// Milliseconds within which an answer, or another event, has to come.
pub const ANSWER: u64 = 5_000;
/// Milliseconds within which an answer has to come, whatever else does.
pub const PATIENCE: u64 = 60_000;
/// Milliseconds without an event after which the client asks whether anybody is there. Less than an
/// exchange waits for a hello: so a connection that the bridge made anew is not lost.
pub const QUIET: u64 = 5_000;
/// Milliseconds between hellos, at least.
pub const PAUSE: u64 = 1_000;
/// Milliseconds until what was refused is tried again, where that ends by itself.
pub const SOON: u64 = 2_000;
/// Milliseconds until it is tried again where somebody has to do something.
pub const LATER: u64 = 30_000;
/// Zeros before the first hello, the second and the third; then again: none for a line in step; for
/// half a frame of an exchange with texts of up to 1,024 bytes; for half of the longest there is.
pub const PADDING: [u32; 3] = [0, 2_048, 65_536];
/// Milliseconds between two numbers, unless the client was told otherwise.
pub const RATE: u32 = 1_000;

/// Who the client is.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its password; empty for none.
    pub password: &'a str,
    /// The topic that it publishes to.
    pub topic: &'a str,
}

impl Settings<'_> {
    /// Whether the requests with these have room. If not, they are never sent.
    pub const fn fit(&self) -> bool {
        let most = output::RESERVE - 24;
        self.name.len() + self.password.len() <= most && self.topic.len() <= most
    }
}

/// Why a session was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Loss {
    /// No answer in time.
    NoAnswer,
    /// A frame that is longer than any of this exchange, or a hello that became another.
    Noise,
    /// Mail was lost on the line.
    Gap,
    /// The exchange knows of no session here.
    NotLoggedIn,
}

/// What happened, for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Note {
    /// A hello goes out.
    Hello,
    /// A session has begun.
    Welcome {
        /// Who the client is.
        user: u32,
    },
    /// The topic is there.
    Joined {
        /// Its number.
        group: u32,
    },
    /// A command was obeyed.
    Obeyed(Command),
    /// A message was none, or one out of its range.
    Disobeyed,
    /// The exchange refused something.
    Refused(Refusal),
    /// A frame that this version does not know.
    Unknown,
    /// The session is given up.
    Lost(Loss),
}

/// The client. Call [`Client::receive`] with what the line brought, then [`Client::handle_timeout`],
/// then send what [`Client::transmit`] gives, until it gives nothing or the line takes no more.
#[derive(Debug)]
pub struct Client<'a> {
    input: Input,
    output: Output,
    state: State<'a>,
}

impl<'a> Client<'a> {
    /// A client that has said nothing yet.
    pub const fn new(settings: Settings<'a>) -> Client<'a> {
        Client { input: Input::NEW, output: Output::NEW, state: State::new(settings) }
    }

    /// The number that was published last.
    pub fn count(&self) -> u32 {
        self.state.count
    }

    /// Whether the LED is to be on.
    pub fn led(&self) -> bool {
        self.state.led
    }

    /// Milliseconds between two numbers.
    pub fn rate(&self) -> u32 {
        self.state.rate
    }

    /// Bytes that [`Client::receive`] takes now. None while answers to what came before wait to be
    /// sent.
    pub fn space(&self) -> usize {
        self.input.space()
    }

    /// Whether there is something to send.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes bytes of the line, as far as there is room, and returns how many. `now` is in
    /// milliseconds, and never goes back.
    pub fn receive(&mut self, bytes: &[u8], now: u64, note: &mut dyn FnMut(Note)) -> usize {
        let mut used = 0;
        loop {
            let some = self.input.receive(bytes.get(used..).unwrap_or(&[]));
            used = used.saturating_add(some);
            self.work(now, note);
            if some == 0 {
                return used;
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: u64, note: &mut dyn FnMut(Note)) {
        self.work(now, note);
        if let Some(loss) = self.state.overdue(now) {
            self.lose(loss, now, note);
        }
        if let Some(id) = self.state.act(now, &mut self.output, note) {
            self.input.hunt(id);
        }
    }

    /// When [`Client::handle_timeout`] has something to do, if nothing comes or leaves before that.
    pub fn poll_timeout(&self) -> u64 {
        self.state.poll_timeout(&self.output)
    }

    /// Writes what is to be sent next, as far as it fits, and returns how much that is.
    pub fn transmit(&mut self, out: &mut [u8], now: u64) -> usize {
        let len = self.output.take(out);
        if len != 0 {
            self.state.sent(now);
        }
        len
    }

    fn lose(&mut self, loss: Loss, now: u64, note: &mut dyn FnMut(Note)) {
        note(Note::Lost(loss));
        self.input.close();
        self.output.clear();
        self.state.part(now);
    }

    /// Handles the events that are whole.
    fn work(&mut self, now: u64, note: &mut dyn FnMut(Note)) {
        loop {
            // What answers an event must have room.
            if self.output.free() < output::RESERVE {
                return;
            }
            let next = self.input.next();
            let outcome = match next {
                Next::Wait => return,
                Next::TooLong => Err(Loss::Noise),
                Next::Frame(payload) => match Event::decode(payload) {
                    Ok(event) => self.state.event(&event, now, &mut self.output, note),
                    Err(_) => {
                        self.state.doubt(note);
                        Ok(())
                    }
                },
                Next::Begun(payload) => match input::message_head(payload) {
                    Some(message) => self.state.too_long(&message, now, &mut self.output, note),
                    None => {
                        self.state.doubt(note);
                        Ok(())
                    }
                },
            };
            self.input.consume();
            if let Err(loss) = outcome {
                self.lose(loss, now, note);
            } else if let Some(message_length) = self.state.message_length() {
                self.input.follow(message_length);
            }
        }
    }
}

/// Drops the first bytes of those that a buffer holds, and returns how many are left.
fn drop_first(buffer: &mut [u8], held: usize, first: usize) -> usize {
    match buffer.get_mut(..held) {
        // What the condition says, `copy_within` need not check.
        Some(held) if first <= held.len() => {
            held.copy_within(first.., 0);
            held.len().saturating_sub(first)
        }
        _ => 0,
    }
}
