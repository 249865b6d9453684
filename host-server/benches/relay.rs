//! Messages a second, and processor time of the server for each, of every SysV dialect, beside a
//! bare relay: a process that receives messages of the same sizes and sends them on, with the same
//! answers, and does nothing else. One run shows both: `cargo bench -p centralad --bench relay`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use centrala_core::dialect::lanes::{self, Element, Order};
use centrala_core::dialect::queues;
use centrala_core::dialect::topics::{self, ClientMessage, request};
use centrala_sysv::{Buffer, Queue, Receive, Removed};

const MESSAGES: usize = 30_000;
const TEXT: &[u8] = &[b'x'; 100];
/// Messages sent and not yet received, at most.
const WINDOW: usize = 16;

/// What a run took.
struct Took {
    per_second: f64,
    /// Microseconds of processor time of the process in the middle, for each message.
    cpu: f64,
}

/// Processor time of a process so far, in seconds.
fn used(pid: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
    let nanoseconds = threads.filter_map(|thread| {
        let schedstat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        schedstat.split(' ').next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Sends as many messages as are to be sent, and receives what comes of them: `answered` says
/// whether an answer follows each.
fn run(
    pid: u32,
    to: Queue,
    frame: &[u8],
    deliveries: (Queue, i64),
    answers: Option<(Queue, i64)>,
) -> Took {
    let receive = |(queue, kind): (Queue, i64)| {
        let mut buffer = Buffer::<1100>::new();
        queue.receive(&mut buffer, kind, Receive::WAIT).expect("a message");
    };
    let (before, begun) = (used(pid), Instant::now());
    let mut sent = 0;
    for received in 0..MESSAGES {
        while sent < MESSAGES && sent < received + WINDOW {
            to.send(frame, true).expect("room");
            sent += 1;
        }
        receive(deliveries);
        answers.into_iter().for_each(receive);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = (used(pid) - before) / MESSAGES as f64 * 1e6;
    Took { per_second: MESSAGES as f64 / seconds, cpu }
}

/// Receives at one queue and sends on to two: what the arguments of the relay's process say.
fn relay(arguments: &[String]) {
    let number = |at: usize| arguments[at].parse::<i64>().expect("a number");
    let queue = |at: usize| Queue::open(number(at) as i32).expect("a queue");
    let (from, kind, to, delivery, answer) = (queue(0), number(1), queue(2), number(3), number(5));
    let (lengths, mut out) = ([number(4) as usize, number(6) as usize], Buffer::<1100>::new());
    let mut buffer = Buffer::<1100>::new();
    while from.receive(&mut buffer, kind, Receive::WAIT).is_ok() {
        for (kind, len) in [(delivery, lengths[0]), (answer, lengths[1])] {
            if kind != 0 {
                out[..8].copy_from_slice(&kind.to_ne_bytes());
                if to.send(&out[..len], true).is_err() {
                    return;
                }
            }
        }
    }
}

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same through a bare relay: types and lengths are those of what the server sends.
fn bare(
    key: i32,
    frame: &[u8],
    shared: bool,
    delivery: (i64, usize),
    answer: (i64, usize),
) -> Took {
    let from = Removed(Queue::create_new(key, 0o600).expect("a queue"));
    let own = (!shared).then(|| Removed(Queue::create_new(key + 1, 0o600).expect("a queue")));
    let to = if shared { *from } else { **own.as_ref().expect("a queue") };
    let kind = if shared { 1 } else { 0 };
    let child = Command::new(std::env::current_exe().expect("this program"))
        .arg("relay")
        .args([i64::from(key), kind, i64::from(key + i32::from(!shared))].map(|n| n.to_string()))
        .args([delivery.0, delivery.1 as i64, answer.0, answer.1 as i64].map(|n| n.to_string()))
        .spawn()
        .expect("a relay");
    let child = Running(child);
    let answers = (answer.0 != 0).then_some((to, answer.0));
    run(child.0.id(), *from, frame, (to, delivery.0), answers)
}

fn receive(queue: Queue, kind: i64) -> Vec<u8> {
    let mut buffer = Buffer::<1100>::new();
    let len = queue.receive(&mut buffer, kind, Receive::WAIT).expect("a message");
    buffer[..len].to_vec()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "relay") {
        return relay(&arguments[1..]);
    }
    let base = 0x5800_0000 + (std::process::id() as i32 % 0x1_0000) * 16;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("centrala.toml");
    let names = directory.path().join("basic.txt");
    let config = format!(
        "data = \":memory:\"\n[topics]\nkey = {base}\n[queues]\nkey = {}\n[lanes]\nkey = {}\n\
         directory = {names:?}\n",
        base + 1,
        base + 2
    );
    std::fs::write(&file, config).expect("a configuration");
    let mut server = Command::new(env!("CARGO_BIN_EXE_centralad"));
    server.arg("--config").arg(&file).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.spawn().expect("the server starts");
    let out = BufReader::new(server.stdout.take().expect("its output"));
    assert_eq!(out.lines().take(3).count(), 3, "three dialects are ready");
    let server = Running(server);
    let pid = server.0.id();
    let open = |key| Removed(Queue::open(key).expect("the server's queue"));
    let (at_topics, at_queues, at_lanes) = (open(base), open(base + 1), open(base + 2));
    let mut frame = Buffer::<1100>::new();

    // topics: one client publishes to a topic that another subscribes to, with an answer each.
    let client = |key| Removed(Queue::create_new(key, 0o600).expect("a queue"));
    let (ola, jan) = (client(base + 3), client(base + 4));
    let mut ask = |kind, id, number, text: &[u8]| {
        let message = ClientMessage { kind, id, topic: 0, number, field: text };
        let len = message.emit(&mut frame).expect("it fits");
        frame[..len].to_vec()
    };
    let mut ids = Vec::new();
    for (key, name) in [(base + 3, &b"ola"[..]), (base + 4, b"jan")] {
        at_topics.send(&ask(request::LOG_IN, key, 0, name), true).expect("room");
        let answer = receive(*at_topics, key.into());
        ids.push(i32::from_le_bytes(answer[8..12].try_into().expect("four bytes")));
    }
    at_topics.send(&ask(request::NEW_TOPIC, ids[0], 0, b"news"), true).expect("room");
    receive(*ola, topics::kind::RESULT);
    at_topics.send(&ask(request::SUBSCRIBE, ids[1], -1, b""), true).expect("room");
    receive(*jan, topics::kind::RESULT);
    let publish = ask(request::PUBLISH, ids[0], 3, TEXT);
    let kind = topics::kind::TOPIC;
    let answers = Some((*ola, topics::kind::RESULT));
    let through = run(pid, *at_topics, &publish, (*jan, kind), answers);
    let sizes = (topics::FIXED + TEXT.len() + 7, topics::FIXED + 1);
    let relayed = bare(base + 8, &publish, false, (kind, sizes.0), (2, sizes.1));
    print("topics", &through, &relayed);
    drop((ola, jan));

    // queues: direct messages, which have no answer.
    let (ola, jan) = (client(base + 5), client(base + 6));
    let message = |kind, address, text| {
        let mut out = [0; queues::SIZE];
        queues::Message { kind, text, address, time: 0 }.emit(&mut out).expect("it fits");
        out
    };
    let mut numbers = Vec::new();
    for (queue, key, name) in [(*ola, base + 5, &b"eva/"[..]), (*jan, base + 6, b"ann/")] {
        at_queues.send(&message(queues::kind::LOG_IN, key, name), true).expect("room");
        receive(queue, queues::kind::LOG_IN);
        receive(queue, queues::kind::LOG_IN);
        let answer = receive(queue, queues::kind::LOG_IN);
        let text = queues::Message::new_checked(&answer).expect("a message").text;
        numbers.push(std::str::from_utf8(text).expect("text").parse::<i32>().expect("a number"));
    }
    let write = message(numbers[0].into(), numbers[1], TEXT);
    let kind = i64::from(numbers[0]);
    let through = run(pid, *at_queues, &write, (*jan, kind), None);
    let relayed = bare(base + 8, &write, false, (kind, queues::SIZE), (0, 0));
    print("queues", &through, &relayed);
    drop((ola, jan));

    // lanes: direct messages, with an answer each, all in one queue.
    let element = |first, second, text| {
        let mut out = [0; lanes::SIZE];
        let element = Element { lane: lanes::TO_SERVER, first, second, text };
        let len = element.emit(&mut out).expect("it fits");
        out[..len].to_vec()
    };
    let mut numbers = Vec::new();
    let (mut users, mut groups) = (0, 0);
    for name in [&b"leo "[..], b"max "] {
        at_lanes.send(&element(0, 1, name), true).expect("room");
        let first = receive(*at_lanes, lanes::LOG_IN_ANSWER);
        let second = receive(*at_lanes, lanes::LOG_IN_ANSWER);
        numbers.push(Element::new_checked(&first).expect("an element").first);
        let sizes = Element::new_checked(&second).expect("an element");
        (users, groups) = (sizes.first as u32, sizes.second as u32);
    }
    let order = Order::ToUser(numbers[1] as u32 - lanes::NUMBER).second(groups);
    let write = element(numbers[0], order, TEXT);
    let own = (i64::from(numbers[1]), i64::from(numbers[0]) + i64::from(users));
    let through = run(pid, *at_lanes, &write, (*at_lanes, own.0), Some((*at_lanes, own.1)));
    let sizes = (write.len(), lanes::FIXED + lanes::text::SENT.len() + 1);
    let relayed = bare(base + 8, &write, true, (own.0, sizes.0), (own.1, sizes.1));
    print("lanes", &through, &relayed);
}

fn print(dialect: &str, through: &Took, relayed: &Took) {
    println!(
        "{dialect:<8} server {:>8.0} messages/s {:>6.2} µs each | bare relay {:>8.0} messages/s \
         {:>6.2} µs each | {:.2} times its processor time",
        through.per_second,
        through.cpu,
        relayed.per_second,
        relayed.cpu,
        through.cpu / relayed.cpu
    );
}
