//! `centrala bench`: load on an exchange, and what it costs.
//!
//! Every delivery is verified: that it is one of this run's messages, whole, for this recipient, and
//! the next one of its sender. What is missing at the end, doubled or out of order is an error. A
//! sender has no more messages on their way than its window: it waits for the slowest of its
//! recipients, so that nothing is dropped unseen.
//!
//! - [`fleet`]: many logged-in connections, watched by one epoll.
//! - [`traffic`]: senders, recipients, and what each is still to get.
//! - [`text`]: the texts that are sent.
//! - [`fanout`], [`latency`], [`idle`], [`relay`]: what is measured.
//! - [`server`]: what a process has used. [`report`]: what is printed.

mod fanout;
mod fleet;
mod idle;
mod latency;
mod relay;
mod report;
mod server;
mod text;
mod traffic;

use crate::failure::Failure;
use crate::signals::Stop;
use crate::url::{Dialect, Url};
use clap::{Args, Subcommand};
use std::time::Duration;

const USERS_HELP: &str = "\
The users are named after the URL's, native://load@HOST as load-0, load-1, …; every benchmark uses the
same ones again. Those that are not there yet are registered, which an exchange does 10 times a
minute unless its configuration says more: [accounts] registrations_per_minute = 60000. For a
thousand users raise clients under [limits] too.";

/// What is measured.
#[derive(Clone, Debug, Subcommand)]
pub enum Bench {
    /// Messages of a few publishers to a group with many subscribers.
    #[command(after_help = USERS_HELP)]
    Fanout {
        /// Users who get each message.
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        subscribers: u32,
        /// Users who send.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        publishers: u32,
        #[command(flatten)]
        load: Load,
    },
    /// Messages of users to one other user each.
    #[command(after_help = USERS_HELP)]
    Pairs {
        /// Pairs of a sender and a recipient.
        #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        pairs: u32,
        #[command(flatten)]
        load: Load,
    },
    /// The time from sending a message to having it, one message at a time.
    #[command(after_help = USERS_HELP)]
    Latency {
        /// Measure beside it, message by message, a relay that only copies bytes between two sockets.
        #[arg(long)]
        relay: bool,
        #[command(flatten)]
        load: Single,
    },
    /// Connections that say nothing.
    #[command(after_help = USERS_HELP)]
    Idle {
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=MOST))]
        connections: u32,
        /// How long they say nothing.
        #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
        seconds: u32,
        /// The server's process, for the memory and processor time that they take of it.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        pid: Option<u32>,
    },
}

/// The largest number of users of a kind.
const MOST: i64 = 50_000;
/// The longest run, in seconds.
const LONGEST: i64 = 3_600;

/// How much is sent.
#[derive(Clone, Debug, Args)]
pub struct Load {
    /// Messages that a sender has on their way to any recipient, at most [default: as many as
    /// take 128 KiB of a connection's room].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    window: Option<u32>,
    /// Messages a second, of all senders together [default: as many as it takes].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
    #[command(flatten)]
    amount: Amount,
}

/// The same for one message at a time.
#[derive(Clone, Debug, Args)]
pub struct Single {
    /// Messages a second.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    #[command(flatten)]
    amount: Amount,
}

/// What is sent, and when it ends.
#[derive(Clone, Debug, Args)]
pub struct Amount {
    /// Bytes of a message's text.
    #[arg(long, value_name = "BYTES", default_value_t = 128, value_parser = clap::value_parser!(u32).range(SIZES))]
    size: u32,
    /// Messages of each sender, after which it ends, instead of a time.
    #[arg(long, value_name = "N", conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    messages: Option<u64>,
    /// When it ends.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    seconds: u32,
    /// The server's process, for the processor time that it takes.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
}

/// A text has room for what tells it from others, and is no longer than an exchange takes.
const SIZES: std::ops::RangeInclusive<i64> =
    text::HEADER as i64..=centrala_core::limits::MESSAGE_LENGTH_MAX as i64;

impl Amount {
    /// How long it may take; `None` if it ends by its number of messages.
    fn time(&self) -> Option<Duration> {
        self.messages.is_none().then(|| Duration::from_secs(self.seconds.into()))
    }
}

/// Measures, and prints what came of it.
///
/// # Errors
/// [`Failure`]: also a message that was lost, doubled or came out of order.
pub fn run(url: &Url, bench: &Bench, stop: &Stop, json: bool) -> Result<(), Failure> {
    if url.dialect != Dialect::Native {
        return Err(Failure::Usage(format!(
            "{} has no 'bench'; it measures native alone, as in --url native://load@127.0.0.1:4811",
            url.dialect
        )));
    }
    let report = match *bench {
        Bench::Fanout { subscribers, publishers, ref load } => {
            fanout::fanout(url, (publishers, subscribers), load, stop)?
        }
        Bench::Pairs { pairs, ref load } => fanout::pairs(url, pairs, load, stop)?,
        Bench::Latency { relay, ref load } => latency::latency(url, relay, load, stop)?,
        Bench::Idle { connections, seconds, pid } => {
            idle::idle(url, connections, Duration::from_secs(seconds.into()), pid, stop)?
        }
    };
    report.print(json)
}
