//! What is printed: a line each, for people or, with `--json`, an object each.
//!
//! What a command was asked for goes to standard output and is flushed line by line. A message
//! that came meanwhile and was not asked for goes to standard error in the same form: the exchange
//! has handed it over, so that it would be lost otherwise.

use crate::failure::Failure;
use serde::Serialize;
use std::fmt;
use std::io::{self, Write};

/// A message from somebody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The sender, where the dialect names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The group that it was sent to, without `#`; none for a direct message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The text; what was not UTF-8 is U+FFFD.
    pub text: String,
    /// The sender's number for the message (`direct`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// 1 (highest) to 5 (`topics`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// When the exchange took it, in Unix seconds (`queues`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
    /// Whether the exchange kept it while the user was away, where the dialect tells.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stored: bool,
}

/// What became of a message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The recipient has it.
    Delivered,
    /// The recipient did not answer: it is kept for later.
    Stored,
    /// The exchange has it, and the dialect tells no more.
    Accepted,
    /// It was put into the exchange's queue, and the dialect has no answer.
    Sent,
}

/// A line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// A message came.
    Message(Message),
    /// A counted subscription has ended.
    Ended {
        /// The group, without `#`.
        group: String,
    },
    /// A message was sent.
    Sent {
        /// `@user` or `#group`.
        to: String,
        /// What became of it.
        fate: Fate,
    },
    /// A user of a list.
    User {
        /// Its number, from 1, where the dialect tells it.
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<u32>,
        /// Its name, empty where the dialect does not tell it.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
    },
    /// A group of a list.
    Group {
        /// Its number, from 1, where the dialect tells it.
        #[serde(skip_serializing_if = "Option::is_none")]
        number: Option<u32>,
        /// Its name, empty where the dialect does not tell it.
        #[serde(skip_serializing_if = "String::is_empty")]
        name: String,
    },
    /// What a list had no room for.
    More {
        /// How many.
        count: u32,
    },
    /// A group was made.
    Created {
        /// The group, without `#`.
        group: String,
    },
    /// A group was joined.
    Joined {
        /// The group, without `#`.
        group: String,
        /// For how many messages; none for ever.
        #[serde(skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    },
    /// A group was left.
    Left {
        /// The group, without `#`.
        group: String,
    },
    /// The exchange has shut down.
    ShutDown,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Message(message) => {
                if message.stored {
                    f.write_str("(stored) ")?;
                }
                let from = message.from.as_deref();
                match (&message.group, from) {
                    (Some(group), Some(from)) => write!(f, "#{} {}", plain(group), plain(from))?,
                    (Some(group), None) => write!(f, "#{}", plain(group))?,
                    (None, from) => f.write_str(&plain(from.unwrap_or("?")))?,
                }
                if let Some(priority) = message.priority.filter(|priority| *priority != 3) {
                    write!(f, " (priority {priority})")?;
                }
                if let Some(time) = message.time {
                    write!(f, " ({})", utc(time))?;
                }
                write!(f, ": {}", plain(&message.text))
            }
            Line::Ended { group } => write!(f, "#{}: subscription ended", plain(group)),
            Line::Sent { to, fate } => match fate {
                Fate::Delivered => write!(f, "{}: delivered", plain(to)),
                Fate::Stored => write!(f, "{}: not answering, stored for later", plain(to)),
                Fate::Accepted => write!(f, "{}: accepted", plain(to)),
                Fate::Sent => write!(f, "{}: sent (this dialect has no answer)", plain(to)),
            },
            Line::User { number, name } | Line::Group { number, name } => match number {
                Some(number) if name.is_empty() => write!(f, "{number}"),
                Some(number) => write!(f, "{number} {}", plain(name)),
                None => f.write_str(&plain(name)),
            },
            Line::More { count } => write!(f, "… and {count} more, for which the list had no room"),
            Line::Created { group } => write!(f, "#{}: created", plain(group)),
            Line::Joined { group, count: None } => write!(f, "#{}: joined", plain(group)),
            Line::Joined { group, count: Some(1) } => {
                write!(f, "#{}: joined for 1 message", plain(group))
            }
            Line::Joined { group, count: Some(count) } => {
                write!(f, "#{}: joined for {count} messages", plain(group))
            }
            Line::Left { group } => write!(f, "#{}: left", plain(group)),
            Line::ShutDown => f.write_str("shut down"),
        }
    }
}

/// A Unix time as date and time of day, in UTC.
fn utc(time: i64) -> String {
    let (days, second) = (time.div_euclid(86_400), time.rem_euclid(86_400));
    // Years that begin in March, so that the leap day is their last; eras of 400 of them, of
    // 146,097 days, from 1 March 0.
    let day = days.saturating_add(719_468);
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (year, month + 3),
        _ => (year + 1, month - 9),
    };
    let year = year + 400 * era;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Text that cannot play tricks on a terminal: further lines are indented, so that none passes for
/// a line of ours, and other control characters become U+FFFD.
pub fn plain(text: &str) -> String {
    let text = text.trim_end_matches('\n');
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => plain.push_str("\n    "),
            '\t' => plain.push(c),
            c if c.is_control() => plain.push(char::REPLACEMENT_CHARACTER),
            c => plain.push(c),
        }
    }
    plain
}

/// Where lines go, and in which form.
pub struct Output {
    json: bool,
    out: Box<dyn Write>,
    aside: Box<dyn Write>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Output {
    /// Standard output and standard error.
    pub fn standard(json: bool) -> Output {
        Output::new(json, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// Writes what was asked for to `out` and the rest to `aside`.
    pub fn new(json: bool, out: Box<dyn Write>, aside: Box<dyn Write>) -> Output {
        Output { json, out, aside }
    }

    /// Prints a line that was asked for, and flushes.
    ///
    /// # Errors
    /// [`Failure::Streams`]: nobody reads standard output any more. The line is not printed then.
    pub fn print(&mut self, line: &Line) -> Result<(), Failure> {
        Ok(write(&mut self.out, line, self.json)?)
    }

    /// Prints a message that came unasked for.
    ///
    /// # Errors
    /// As [`Output::print`].
    pub fn aside(&mut self, line: &Line) -> Result<(), Failure> {
        Ok(write(&mut self.aside, line, self.json)?)
    }
}

fn write(to: &mut dyn Write, line: &Line, json: bool) -> io::Result<()> {
    let mut text = if json { serde_json::to_string(line)? } else { line.to_string() };
    text.push('\n');
    to.write_all(text.as_bytes())?;
    to.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(from: &str, group: &str, text: &str) -> Message {
        let some = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
        Message { from: some(from), group: some(group), text: text.into(), ..Message::default() }
    }

    #[test]
    fn a_line_for_people_and_an_object_for_programs() {
        let stored = Message { id: Some(7), stored: true, ..message("anna", "", "cześć") };
        let urgent = Message { priority: Some(1), ..message("", "news", "fire") };
        let timed = Message { time: Some(1_763_696_285), ..message("anna", "", "hi") };
        for (line, text, json) in [
            (
                Line::Message(message("anna", "", "hi")),
                "anna: hi",
                r#"{"event":"message","from":"anna","text":"hi"}"#,
            ),
            (
                Line::Message(message("anna", "news", "hi")),
                "#news anna: hi",
                r#"{"event":"message","from":"anna","group":"news","text":"hi"}"#,
            ),
            (
                Line::Message(stored),
                "(stored) anna: cześć",
                r#"{"event":"message","from":"anna","text":"cześć","id":7,"stored":true}"#,
            ),
            (
                Line::Message(urgent),
                "#news (priority 1): fire",
                r#"{"event":"message","group":"news","text":"fire","priority":1}"#,
            ),
            (
                Line::Message(timed),
                "anna (2025-11-21 03:38:05 UTC): hi",
                r#"{"event":"message","from":"anna","text":"hi","time":1763696285}"#,
            ),
            (
                Line::Ended { group: "news".into() },
                "#news: subscription ended",
                r#"{"event":"ended","group":"news"}"#,
            ),
            (
                Line::Sent { to: "@b".into(), fate: Fate::Stored },
                "@b: not answering, stored for later",
                r##"{"event":"sent","to":"@b","fate":"stored"}"##,
            ),
            (
                Line::Sent { to: "#3".into(), fate: Fate::Sent },
                "#3: sent (this dialect has no answer)",
                r##"{"event":"sent","to":"#3","fate":"sent"}"##,
            ),
            (
                Line::User { number: Some(2), name: "anna".into() },
                "2 anna",
                r#"{"event":"user","number":2,"name":"anna"}"#,
            ),
            (
                Line::User { number: None, name: "anna".into() },
                "anna",
                r#"{"event":"user","name":"anna"}"#,
            ),
            (
                Line::Group { number: Some(1), name: "".into() },
                "1",
                r#"{"event":"group","number":1}"#,
            ),
            (
                Line::More { count: 12 },
                "… and 12 more, for which the list had no room",
                r#"{"event":"more","count":12}"#,
            ),
            (
                Line::Created { group: "news".into() },
                "#news: created",
                r#"{"event":"created","group":"news"}"#,
            ),
            (
                Line::Joined { group: "news".into(), count: None },
                "#news: joined",
                r#"{"event":"joined","group":"news"}"#,
            ),
            (
                Line::Joined { group: "news".into(), count: Some(2) },
                "#news: joined for 2 messages",
                r#"{"event":"joined","group":"news","count":2}"#,
            ),
            (
                Line::Left { group: "news".into() },
                "#news: left",
                r#"{"event":"left","group":"news"}"#,
            ),
            (Line::ShutDown, "shut down", r#"{"event":"shut_down"}"#),
        ] {
            assert_eq!(line.to_string(), text);
            assert_eq!(serde_json::to_string(&line).unwrap(), json);
        }
    }

    #[test]
    fn times_are_dates_in_utc() {
        for (time, date) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (1_735_689_599, "2024-12-31 23:59:59 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
        ] {
            assert_eq!(utc(time), date);
        }
        // No time that a stranger sends is too far away.
        assert!(utc(i64::MAX).ends_with("UTC") && utc(i64::MIN).ends_with("UTC"));
    }

    #[test]
    fn a_text_cannot_pass_for_a_line_of_ours_or_steer_the_terminal() {
        let forged = Line::Message(message("eve", "", "x\nanna: pay eve\x1b[2J\r\u{9b}m\n"));
        let text = forged.to_string();
        assert_eq!(text, "eve: x\n    anna: pay eve\u{fffd}[2J\u{fffd}\u{fffd}m");
        let json = serde_json::to_string(&forged).unwrap();
        assert!(!json.contains('\n') && json.contains(r"x\nanna"));
    }
}
