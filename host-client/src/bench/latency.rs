//! `latency`: one message at a time, from one user to another.

use super::Single;
use super::fleet::{Came, Fleet, SILENCE};
use super::relay::Relay;
use super::report::{Progress, Report};
use super::server::Process;
use super::text::Texts;
use crate::failure::Failure;
use crate::signals::Stop;
use crate::url::Url;
use crate::wait::TICK;
use centrala_core::dialect::native::{Event, HEADER, Request, To, Who};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Nanoseconds that the histogram tells apart: 1 to a minute, three digits.
const LONGEST: u64 = 60_000_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("one to a minute, in three digits")
}

/// Messages from the first user to the second.
pub fn latency(url: &Url, relay: bool, load: &Single, stop: &Stop) -> Result<Report, Failure> {
    Fleet::name(url, 1)?;
    let mut progress = Progress::new();
    let mut fleet = Fleet::new(url, stop)?;
    fleet.log_in(2, &mut progress)?;
    let (from, to) = (fleet.number(0), fleet.number(1));
    let texts = Texts::new(load.amount.size as usize);
    let mut relay = if relay { Some(Relay::start()?) } else { None };
    let process = load.amount.pid.map(Process);
    let used = || process.map(Process::seconds).transpose();
    let (mut through, mut relayed) = (histogram(), histogram());
    let (mut text, mut frame) = (Vec::new(), Vec::new());
    let step = Duration::from_secs(1) / load.rate;
    let (before, begun) = (used()?, Instant::now());
    let (mut sent, mut due) = (0, begun);
    let goes_on = |sent| match (load.amount.messages, load.amount.time()) {
        (Some(messages), _) => sent < messages,
        (None, time) => time.is_some_and(|time| begun.elapsed() < time),
    };
    while goes_on(sent) {
        texts.write(0, sent, &mut text);
        let (sends, to) = (Instant::now(), To::User(Who::Number(to)));
        let send = Request::Send { to, priority: 3, receipt: false, text: &text };
        fleet.connection(0).tell(&send);
        fleet.flush(0)?;
        let mut took = None;
        while took.is_none() {
            let left = SILENCE.saturating_sub(sends.elapsed());
            if left.is_zero() {
                return Err(Failure::Wrong(format!(
                    "message {sent} did not come in {} s",
                    SILENCE.as_secs()
                )));
            }
            fleet.turn(left.min(TICK), |place, event| {
                let message = match event {
                    Event::Message(message) => message,
                    Event::Refused { why, .. } => return Err(Came::Refused(*why)),
                    _ => return Ok(()),
                };
                match texts.read(message.text) {
                    Some((0, number))
                        if (place, number, message.from.number) == (1, sent, from)
                            && took.is_none() =>
                    {
                        took = Some(sends.elapsed());
                        frame.resize(HEADER + message.text.len() + OF_A_FRAME, 0);
                        Ok(())
                    }
                    Some((_, number)) => Err(Came::Wrong(format!(
                        "message {number} came where {sent} was the next one"
                    ))),
                    // Kept since a run that was killed.
                    None if message.mark != 0 || message.offline => Ok(()),
                    None => Err(Came::Wrong("a message came that nobody sent".into())),
                }
            })?;
        }
        through.saturating_record(took.unwrap_or_default().as_nanos() as u64);
        if let Some(relay) = &mut relay {
            let took = relay.pass(&frame, SILENCE)?;
            relayed.saturating_record(took.as_nanos() as u64);
        }
        sent += 1;
        progress.show(|| format!("{sent} messages"));
        due += step;
        match due.checked_duration_since(Instant::now()) {
            Some(early) => std::thread::sleep(early),
            // Late: the next one does not hurry after.
            None => due = Instant::now(),
        }
        if stop.asked() {
            return Err(Failure::Interrupted);
        }
    }
    let (seconds, after) = (begun.elapsed().as_secs_f64(), used()?);
    fleet.ask_all(0..2, &Request::Ping, |_, event| match event {
        Event::Message(message) if texts.read(message.text).is_some() => {
            Err(Came::Wrong("a message came a second time".into()))
        }
        _ => Ok(()),
    })?;
    let mut report = Report::new("latency");
    report.count("size", "bytes a message", load.amount.size.into());
    report.count("messages", "messages, each verified", sent);
    report.figure("seconds", "seconds", 2, seconds);
    let microseconds = |ns: u64| ns as f64 / 1000.0;
    let at = |of: &Histogram<u64>, quantile| microseconds(of.value_at_quantile(quantile));
    report.figure("p50_us", "p50, µs", 1, at(&through, 0.5));
    report.figure("p99_us", "p99, µs", 1, at(&through, 0.99));
    report.figure("p99_9_us", "p99.9, µs", 1, at(&through, 0.999));
    report.figure("max_us", "longest, µs", 1, microseconds(through.max()));
    if relay.is_some() {
        report.figure("relay_p50_us", "plain relay: p50, µs", 1, at(&relayed, 0.5));
        report.figure("relay_p99_us", "plain relay: p99, µs", 1, at(&relayed, 0.99));
        report.figure("relay_p99_9_us", "plain relay: p99.9, µs", 1, at(&relayed, 0.999));
        report.figure("relay_max_us", "plain relay: longest, µs", 1, microseconds(relayed.max()));
    }
    if let (Some(before), Some(after)) = (before, after) {
        report.figure("server_cpu_seconds", "seconds of processor time, server", 2, after - before);
    }
    Ok(report)
}

/// Bytes of a message's frame beside its header and text, more or less: what the relay copies is as
/// long.
const OF_A_FRAME: usize = 30;
