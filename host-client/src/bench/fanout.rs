//! `fanout` and `pairs`: as much as an exchange takes, or at a rate.

use super::fleet::{Came, Fleet, refusal};
use super::report::{Progress, Report};
use super::server::{Process, own_seconds};
use super::text::Texts;
use super::traffic::{Plan, Target, Traffic};
use super::{Amount, Load};
use crate::failure::Failure;
use crate::signals::Stop;
use crate::url::{Url, checked_name};
use centrala_core::dialect::native::{List, OVERHEAD, Refusal, Request, Who};
use std::time::Instant;

/// Half of the bytes that an exchange takes for a connection beyond what its peer has read.
const BUFFER: usize = 128 * 1024;

/// A window, of each of so many senders to one recipient: half of what its connection takes.
fn window(load: &Load, senders: usize) -> u64 {
    let frame = load.amount.size as usize + OVERHEAD;
    let default = (BUFFER / frame / senders).max(1);
    load.window.map_or(default as u64, u64::from)
}

fn plan(load: &Load, senders: usize) -> Plan {
    let Amount { messages, .. } = load.amount;
    let window = window(load, senders);
    Plan { messages, time: load.amount.time(), window, rate: load.rate }
}

/// `publishers` users send to a group that `subscribers` others have joined.
pub fn fanout(
    url: &Url,
    (publishers, subscribers): (u32, u32),
    load: &Load,
    stop: &Stop,
) -> Result<Report, Failure> {
    let (senders, all) = (publishers as usize, (publishers + subscribers) as usize);
    let group = format!("{}-fanout", url.user()?);
    checked_name(&group, "group")?;
    Fleet::name(url, all)?;
    let mut progress = Progress::new();
    let mut fleet = Fleet::new(url, stop)?;
    fleet.log_in(all, &mut progress)?;
    let name = group.as_bytes();
    match fleet.ask(0, &Request::CreateGroup { name }, |_, _| {})? {
        Ok(_) | Err(Refusal::Exists) => {}
        Err(why) => return Err(refusal(&group, why)),
    }
    clear(&mut fleet, url, &group, senders..all)?;
    let group = Who::Name(name);
    let members = senders..all;
    let number = fleet.ask_all(members.clone(), &Request::Join { group, count: None }, ignore)?;
    let texts = Texts::new(load.amount.size as usize);
    let mut traffic = Traffic::new(&texts);
    for place in 0..senders {
        traffic.sender(place, Target::Group(number), subscribers);
    }
    for place in members.clone() {
        traffic.recipient(place, 0..senders);
    }
    let mut report = Report::new("fanout");
    report.count("publishers", "publishers", publishers.into());
    report.count("subscribers", "subscribers", subscribers.into());
    let measured = measure(&mut fleet, traffic, load, senders, &mut progress, report);
    // Who stays a member would be sent the next run's messages as mail.
    let left = fleet.ask_all(members, &Request::Leave { group }, ignore);
    measured.and_then(|report| left.map(|_| report))
}

/// Has those leave the group who are members since a run that was killed.
fn clear(
    fleet: &mut Fleet<'_>,
    url: &Url,
    group: &str,
    subscribers: std::ops::Range<usize>,
) -> Result<(), Failure> {
    let mut others = Vec::new();
    let who = Who::Name(group.as_bytes());
    let subscriber: Vec<u32> = subscribers.map(|place| fleet.number(place)).collect();
    let asked = fleet.ask(0, &Request::List(List::Members(who)), |number, name| {
        if !subscriber.contains(&number) {
            others.push((number, name.to_owned()));
        }
    })?;
    asked.map_err(|why| refusal(group, why))?;
    let ours = format!("{}-", url.user()?);
    for (number, name) in others {
        if !name.starts_with(&ours) {
            return Err(Failure::Refused(format!(
                "#{group} has a member that is none of the benchmark's: @{name}"
            )));
        }
        let known = fleet.place_of(number);
        let place = known.map_or_else(|| fleet.log_in_as(name.clone()), Ok)?;
        fleet
            .ask(place, &Request::Leave { group: who }, |_, _| {})?
            .map_err(|why| refusal(&name, why))?;
    }
    Ok(())
}

fn ignore(_: usize, _: &centrala_core::dialect::native::Event<'_>) -> Result<(), Came> {
    Ok(())
}

/// Each of `pairs` users sends to one other.
pub fn pairs(url: &Url, pairs: u32, load: &Load, stop: &Stop) -> Result<Report, Failure> {
    let count = pairs as usize;
    Fleet::name(url, 2 * count)?;
    let mut progress = Progress::new();
    let mut fleet = Fleet::new(url, stop)?;
    fleet.log_in(2 * count, &mut progress)?;
    let texts = Texts::new(load.amount.size as usize);
    let mut traffic = Traffic::new(&texts);
    for pair in 0..count {
        traffic.sender(pair, Target::User(fleet.number(count + pair)), 1);
        traffic.recipient(count + pair, pair..pair + 1);
    }
    let mut report = Report::new("pairs");
    report.count("pairs", "pairs", pairs.into());
    measure(&mut fleet, traffic, load, 1, &mut progress, report)
}

fn measure(
    fleet: &mut Fleet<'_>,
    mut traffic: Traffic<'_>,
    load: &Load,
    senders: usize,
    progress: &mut Progress,
    mut report: Report,
) -> Result<Report, Failure> {
    let process = load.amount.pid.map(Process);
    let used = || process.map(Process::seconds).transpose();
    let plan = plan(load, senders);
    let (before, own, begun) = (used()?, own_seconds(), Instant::now());
    let moved = traffic.run(fleet, &plan, progress)?;
    let (seconds, own, after) = (begun.elapsed().as_secs_f64(), own_seconds() - own, used()?);
    traffic.look_behind(fleet)?;
    let millions = moved.deliveries as f64 / 1e6;
    report.count("size", "bytes a message", load.amount.size.into());
    report.count("window", "messages on their way, each sender", plan.window);
    report.count("messages", "messages", moved.messages);
    report.count("deliveries", "deliveries, each verified", moved.deliveries);
    report.count("waited", "of these, had waited as mail", moved.waited);
    report.figure("seconds", "seconds", 2, seconds);
    report.figure("deliveries_per_second", "deliveries a second", 1, millions * 1e6 / seconds);
    report.figure("client_cpu_seconds", "seconds of processor time, client", 2, own);
    if let (Some(before), Some(after)) = (before, after) {
        let used = after - before;
        report.figure("server_cpu_seconds", "seconds of processor time, server", 2, used);
        report.figure(
            "server_cpu_seconds_per_million",
            "the same, for a million deliveries",
            3,
            used / millions,
        );
    }
    Ok(report)
}
