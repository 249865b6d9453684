//! `idle`: connections that are logged in and say nothing.

use super::fleet::{Came, Fleet};
use super::report::{Progress, Report};
use super::server::Process;
use crate::failure::Failure;
use crate::signals::Stop;
use crate::url::Url;
use crate::wait::TICK;
use centrala_core::dialect::native::{Event, Request};
use std::time::{Duration, Instant};

/// Holds so many connections for so long, and asks each for a sign of life then.
pub fn idle(
    url: &Url,
    connections: u32,
    time: Duration,
    pid: Option<u32>,
    stop: &Stop,
) -> Result<Report, Failure> {
    let count = connections as usize;
    Fleet::name(url, count)?;
    let process = pid.map(Process);
    let (memory, used) =
        (|| process.map(Process::memory).transpose(), || process.map(Process::seconds).transpose());
    let mut progress = Progress::new();
    let mut fleet = Fleet::new(url, stop)?;
    let before = memory()?;
    let begun = Instant::now();
    fleet.log_in(count, &mut progress)?;
    let logged_in = begun.elapsed().as_secs_f64();
    let (begun, used_before) = (Instant::now(), used()?);
    while begun.elapsed() < time {
        let left = time.saturating_sub(begun.elapsed()).min(TICK);
        fleet.turn(left, said)?;
        progress.show(|| format!("{count} connections say nothing: {left:?}"));
    }
    let (seconds, used_after, after) = (begun.elapsed().as_secs_f64(), used()?, memory()?);
    fleet.ask_all(0..count, &Request::Ping, said)?;
    let mut report = Report::new("idle");
    report.count("connections", "connections, each answered at the end", connections.into());
    report.figure("log_in_seconds", "seconds until all were logged in", 2, logged_in);
    report.figure("seconds", "seconds of silence", 2, seconds);
    if let (Some(before), Some(after)) = (before, after) {
        let each = after.saturating_sub(before) as f64 / f64::from(connections);
        report.count("server_memory_kib", "KiB of memory, server", after);
        report.figure("kib_per_connection", "the same, more for each connection", 2, each);
    }
    if let (Some(before), Some(after)) = (used_before, used_after) {
        report.figure(
            "server_cpu_percent",
            "percent of a core, server, in silence",
            2,
            (after - before) / seconds * 100.0,
        );
    }
    Ok(report)
}

fn said(_: usize, event: &Event<'_>) -> Result<(), Came> {
    match event {
        Event::Refused { why, .. } => Err(Came::Refused(*why)),
        _ => Ok(()),
    }
}
