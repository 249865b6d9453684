//! What the client can be told to do, and what it says then.

/// Milliseconds between two numbers, at least and at most.
pub const RATES: core::ops::RangeInclusive<u32> = 100..=3_600_000;
/// Bytes of the longest answer.
pub const ANSWER_MAX: usize = 96;
/// How answers begin.
const OK: &str = "ok: ";
const ERROR: &str = "error: ";

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// Switch the LED.
    Led(bool),
    /// Publish a number every so many milliseconds.
    Rate(u32),
    /// Say which number was published last.
    Count,
}

/// What is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum NoCommand {
    /// Nothing of that name.
    Unknown,
    /// A rate that is no number, or outside [`RATES`].
    BadRate,
}

impl Command {
    /// Takes a text apart; spaces around it do not matter.
    ///
    /// # Errors
    /// [`NoCommand`].
    pub fn parse(text: &[u8]) -> Result<Command, NoCommand> {
        match text.trim_ascii() {
            b"led on" => Ok(Command::Led(true)),
            b"led off" => Ok(Command::Led(false)),
            b"count?" => Ok(Command::Count),
            text => {
                let number = text.strip_prefix(b"rate ").ok_or(NoCommand::Unknown)?;
                let rate = decimal(number.trim_ascii()).ok_or(NoCommand::BadRate)?;
                RATES.contains(&rate).then_some(Command::Rate(rate)).ok_or(NoCommand::BadRate)
            }
        }
    }
}

/// Whether a text is an answer, which nobody answers: two clients would never end.
pub fn is_answer(text: &[u8]) -> bool {
    text.starts_with(OK.as_bytes()) || text.starts_with(ERROR.as_bytes())
}

/// The answer to what was sent, where `count` was published last.
pub fn answer(sent: Result<Command, NoCommand>, count: u32) -> Text {
    let mut text = Text::new();
    match sent {
        Ok(Command::Led(on)) => text.add(OK).add(if on { "led on" } else { "led off" }),
        Ok(Command::Rate(rate)) => text.add(OK).add("rate ").number(rate),
        Ok(Command::Count) => text.add(OK).add("count ").number(count),
        Err(NoCommand::BadRate) => text.add(ERROR).add("a rate is ").rates().add(" milliseconds"),
        Err(NoCommand::Unknown) => {
            text.add(ERROR).add("allowed are led on, led off, rate ").rates().add(", count?")
        }
    };
    text
}

fn decimal(digits: &[u8]) -> Option<u32> {
    core::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?.parse().ok()
}

/// A short text, put together; what does not fit is cut.
#[derive(Clone, Copy, Debug)]
pub struct Text {
    bytes: [u8; ANSWER_MAX],
    len: usize,
}

impl Text {
    /// An empty one.
    pub const fn new() -> Text {
        Text { bytes: [0; ANSWER_MAX], len: 0 }
    }

    /// Its bytes, at most so many.
    pub fn cut(&self, most: usize) -> &[u8] {
        self.bytes.get(..self.len.min(most)).unwrap_or(&[])
    }

    /// Adds words.
    pub fn add(&mut self, words: &str) -> &mut Text {
        for byte in words.bytes() {
            if let Some(place) = self.bytes.get_mut(self.len) {
                *place = byte;
                self.len = self.len.saturating_add(1);
            }
        }
        self
    }

    /// Adds a number, in decimal.
    pub fn number(&mut self, number: u32) -> &mut Text {
        // Without `core::fmt`, which takes more flash than all of this client.
        let mut divisor = 1_000_000_000;
        while divisor != 0 {
            if number >= divisor || divisor == 1 {
                let digit = b'0'.wrapping_add((number / divisor % 10) as u8);
                self.add(core::str::from_utf8(&[digit]).unwrap_or_default());
            }
            divisor /= 10;
        }
        self
    }

    fn rates(&mut self) -> &mut Text {
        self.number(*RATES.start()).add(" to ").number(*RATES.end())
    }
}

impl Default for Text {
    fn default() -> Self {
        Text::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_apart_and_answered() {
        let unknown: &[u8] = b"error: allowed are led on, led off, rate 100 to 3600000, count?";
        let bad_rate: &[u8] = b"error: a rate is 100 to 3600000 milliseconds";
        let rows: [(&[u8], _, &[u8]); 19] = [
            (b"led on", Ok(Command::Led(true)), b"ok: led on"),
            (b" led off\n", Ok(Command::Led(false)), b"ok: led off"),
            (b"rate 100", Ok(Command::Rate(100)), b"ok: rate 100"),
            (b"rate  3600000", Ok(Command::Rate(3_600_000)), b"ok: rate 3600000"),
            (b"count?", Ok(Command::Count), b"ok: count 4294967295"),
            (b"rate 99", Err(NoCommand::BadRate), bad_rate),
            (b"rate 3600001", Err(NoCommand::BadRate), bad_rate),
            (b"rate 99999999999", Err(NoCommand::BadRate), bad_rate),
            (b"rate -500", Err(NoCommand::BadRate), bad_rate),
            (b"rate +500", Err(NoCommand::BadRate), bad_rate),
            (b"rate 5 0 0", Err(NoCommand::BadRate), bad_rate),
            (b"rate \xff", Err(NoCommand::BadRate), bad_rate),
            (b"rate ", Err(NoCommand::Unknown), unknown),
            (b"rate500", Err(NoCommand::Unknown), unknown),
            (b"", Err(NoCommand::Unknown), unknown),
            (b"led", Err(NoCommand::Unknown), unknown),
            (b"Led on", Err(NoCommand::Unknown), unknown),
            (b"count", Err(NoCommand::Unknown), unknown),
            (b"\xff\0", Err(NoCommand::Unknown), unknown),
        ];
        for (text, command, said) in rows {
            assert_eq!(Command::parse(text), command, "{text:?}");
            let answer = answer(command, u32::MAX);
            assert_eq!(answer.cut(ANSWER_MAX), said, "{text:?}");
            assert!(is_answer(said) && !is_answer(text));
            assert_eq!(answer.cut(3), &said[..3]);
        }
    }

    #[test]
    fn a_number_is_written_in_decimal() {
        for (number, said) in [(0, "0"), (7, "7"), (10, "10"), (1_009, "1009")] {
            assert_eq!(Text::new().number(number).cut(ANSWER_MAX), said.as_bytes());
        }
    }
}
