//! The client against the exchange: over a line that is clean, noisy, silent, or begins anew.

use centrala_core::dialect::native::{Event, HEADER, Refusal, Request, To, Who, look};
use centrala_core::exchange::Link;
use centrala_core::limits::Limits;
use centrala_counter::command::Command;
use centrala_counter::{ANSWER, Client, LATER, Loss, Note, PADDING, QUIET, SOON, Settings};
use centrala_tests::lab::{Lab, ROOMY, asked};

const SETTINGS: Settings<'static> = Settings { name: "node", password: "", topic: "counter" };
/// Longer than it takes out of any state: each padding once, after an answer that did not come.
const RECOVERY: u64 = 5 * ANSWER + QUIET;

/// What happens to bytes on the line; the number of those that came before.
type Noise = Box<dyn FnMut(usize, Vec<u8>) -> Vec<u8>>;

fn clean() -> Noise {
    Box::new(|_, bytes| bytes)
}

fn silent() -> Noise {
    Box::new(|_, _| Vec::new())
}

/// Does something to the byte of this number.
fn once(at: usize, change: impl Fn(u8) -> Vec<u8> + 'static) -> Noise {
    Box::new(move |before, bytes| {
        let numbered = (before..).zip(bytes);
        numbered.flat_map(|(n, byte)| if n == at { change(byte) } else { vec![byte] }).collect()
    })
}

/// xorshift
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Loses, doubles and flips about one byte in so many.
fn noisy(seed: u64, one_in: u64) -> Noise {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Box::new(move |_, bytes| {
        let mut out = Vec::new();
        for byte in bytes {
            match random(&mut state) % (3 * one_in) {
                0 => {}
                1 => out.extend([byte, byte]),
                2 => out.push(byte ^ 1 << (random(&mut state) % 8)),
                _ => out.push(byte),
            }
        }
        out
    })
}

struct Rig {
    lab: Lab,
    link: Link,
    client: Client<'static>,
    /// What the exchange has not used, and the client.
    up: Vec<u8>,
    down: Vec<u8>,
    /// Bytes so far.
    passed: [usize; 2],
    noise: [Noise; 2],
    notes: Vec<Note>,
}

impl Rig {
    fn new() -> Rig {
        Rig::with(Lab::default())
    }

    fn with(mut lab: Lab) -> Rig {
        let link = lab.line();
        Rig {
            lab,
            link,
            client: Client::new(SETTINGS),
            up: Vec::new(),
            down: Vec::new(),
            passed: [0; 2],
            noise: [clean(), clean()],
            notes: Vec::new(),
        }
    }

    /// The bridge connects anew.
    fn connect(&mut self) {
        self.lab.disconnect(self.link);
        self.lab.desk.closed.clear();
        self.link = self.lab.line();
        self.up.clear();
    }

    /// Moves bytes until nothing moves.
    fn exchange(&mut self) {
        loop {
            let now = self.lab.now;
            let note = &mut |note| self.notes.push(note);
            let used = self.client.receive(&self.down, now, note);
            self.down.drain(..used);
            self.client.handle_timeout(now, note);
            let mut bytes = vec![0; 100];
            let len = self.client.transmit(&mut bytes, now);
            bytes.truncate(len);
            let before = self.passed[0];
            self.passed[0] += len;
            self.up.extend((self.noise[0])(before, bytes));
            if self.lab.desk.closed.contains(&self.link) {
                self.connect();
            }
            let taken = self.lab.receive(self.link, &self.up).unwrap_or(self.up.len());
            self.up.drain(..taken);
            let bytes = self.lab.got(self.link).concat();
            let (before, got) = (self.passed[1], bytes.len());
            self.passed[1] += got;
            self.down.extend((self.noise[1])(before, bytes));
            if used + len + taken + got == 0 {
                return;
            }
        }
    }

    fn run(&mut self, milliseconds: u64) {
        let end = self.lab.now + milliseconds;
        while self.lab.now < end {
            self.exchange();
            self.lab.wait(50);
        }
        self.exchange();
    }

    /// Runs until a number was published behind those there are, for a time at most.
    fn until_it_counts(&mut self, what: &str) {
        let (before, end) = (self.client.count(), self.lab.now + RECOVERY);
        while self.client.count() == before {
            assert!(self.lab.now < end, "{what}: {:?}", self.notes);
            self.run(50);
        }
    }

    /// Somebody asks something, and is not answered.
    fn ask(&mut self, link: Link, request: &Request<'_>) {
        self.lab.send(link, &asked(0, request));
    }

    fn tell(&mut self, link: Link, text: &str) {
        let to = To::User(Who::Name(b"node"));
        self.ask(link, &Request::Send { to, priority: 3, receipt: false, text: text.as_bytes() });
    }

    /// What a link was told: the sender, and the text.
    fn told(&mut self, link: Link) -> Vec<(String, String)> {
        let frames = self.lab.got(link);
        let texts = frames.iter().filter_map(|frame| {
            match Event::decode(look(frame).expect("a frame").0).expect("an event") {
                Event::Message(message) => {
                    let text = String::from_utf8_lossy(message.text).into_owned();
                    let group = message.group.map_or(&b"node"[..], |group| group.name);
                    Some((String::from_utf8_lossy(group).into_owned(), text))
                }
                _ => None,
            }
        });
        texts.collect()
    }

    /// What a link was told by the client itself.
    fn answers(&mut self, link: Link) -> Vec<String> {
        let told = self.told(link).into_iter().filter(|(from, _)| from == "node");
        told.map(|(_, text)| text).collect()
    }

    /// A member of the topic.
    fn member(&mut self, name: &str) -> Link {
        let link = self.lab.native(name);
        self.ask(link, &Request::Join { group: Who::Name(b"counter"), count: None });
        link
    }

    fn noted(&self, note: Note) -> usize {
        self.notes.iter().filter(|noted| **noted == note).count()
    }
}

#[test]
fn it_makes_its_topic_and_publishes_each_number() {
    let mut rig = Rig::new();
    rig.run(0);
    assert_eq!(rig.client.count(), 1);
    let anna = rig.member("anna");
    rig.run(10_000);
    let numbers: Vec<_> = (2..=11).map(|n| ("counter".to_owned(), n.to_string())).collect();
    assert_eq!(rig.told(anna), numbers);
    let begun = [Note::Hello, Note::Welcome { user: 1 }, Note::Joined { group: 1 }];
    assert_eq!(rig.notes, begun);
}

#[test]
fn a_command_is_obeyed_and_answered_to_its_sender() {
    let mut rig = Rig::new();
    rig.run(0);
    let (anna, bartek) = (rig.member("anna"), rig.member("bartek"));
    for (text, answer) in [
        ("led on", "ok: led on"),
        ("rate 250", "ok: rate 250"),
        ("count?", "ok: count 1"),
        ("rate 5", "error: a rate is 100 to 3600000 milliseconds"),
        ("dance", "error: allowed are led on, led off, rate 100 to 3600000, count?"),
    ] {
        rig.tell(anna, text);
        rig.exchange();
        assert_eq!(rig.answers(anna), [answer], "{text}");
    }
    assert!(rig.client.led());
    assert_eq!(rig.told(bartek), []);
    rig.run(1_000);
    assert_eq!(rig.told(bartek).len(), 4, "every 250 ms");
    let to = To::Group(Who::Name(b"counter"));
    for (text, answers) in [("led off", &["ok: led off"][..]), ("good morning", &[])] {
        let text = text.as_bytes();
        rig.ask(bartek, &Request::Send { to, priority: 3, receipt: false, text });
        rig.exchange();
        assert_eq!(rig.answers(bartek), answers);
    }
    assert!(!rig.client.led());
}

#[test]
fn an_answer_is_not_answered() {
    let mut rig = Rig::new();
    rig.run(0);
    let anna = rig.lab.native("anna");
    for text in ["ok: led on", "error: allowed are led on"] {
        rig.tell(anna, text);
    }
    rig.run(5_000);
    assert_eq!(rig.answers(anna), [""; 0]);
    assert!(!rig.client.led());
}

#[test]
fn a_text_that_does_not_fit_is_answered_and_the_line_goes_on() {
    let mut rig = Rig::new();
    rig.run(0);
    let anna = rig.lab.native("anna");
    for length in [150, 200, 230, 240, 256, 500, 1_024] {
        rig.tell(anna, &"led on ".repeat(147)[..length]);
        rig.tell(anna, "count?");
        rig.exchange();
        let answers = rig.answers(anna);
        assert_eq!(answers.len(), 2, "{length}");
        assert!(answers[0].starts_with("error: allowed") && answers[1].starts_with("ok: count"));
    }
    assert!(!rig.client.led());
    assert_eq!(rig.notes.len(), 3 + 14, "it begins once, and is told 14 times: {:?}", rig.notes);
}

#[test]
fn mail_is_obeyed_once_and_acknowledged() {
    let mut rig = Rig::new();
    rig.run(0);
    let anna = rig.lab.native("anna");
    rig.connect();
    let long = "x".repeat(1_000);
    for text in ["rate 500", &long, "led on"] {
        rig.tell(anna, text);
    }
    rig.told(anna);
    assert_eq!(rig.lab.exchange.usage().entries, 3);
    // All comes, and nothing of what the client says about it arrives.
    rig.run(QUIET);
    rig.noise[0] = Box::new(|_, bytes| {
        // But its hello, and what is before it.
        let hello = bytes.windows(4).any(|part| part == b"node");
        if hello || bytes.iter().all(|byte| *byte <= 1) { bytes } else { Vec::new() }
    });
    rig.connect();
    rig.tell(anna, "count?");
    rig.run(RECOVERY);
    assert_eq!(rig.noted(Note::Obeyed(Command::Led(true))), 1);
    rig.told(anna);
    assert_ne!(rig.lab.exchange.usage().entries, 0);
    rig.noise[0] = clean();
    rig.run(RECOVERY);
    assert_eq!(rig.noted(Note::Obeyed(Command::Led(true))), 1);
    assert_eq!(rig.noted(Note::Obeyed(Command::Count)), 1);
    assert_eq!(rig.noted(Note::Obeyed(Command::Rate(500))), 1);
    assert_eq!((rig.lab.exchange.usage().entries, rig.lab.shelf.mail.len()), (0, 0));
}

#[test]
fn after_a_gap_in_the_marks_the_session_begins_anew_and_nothing_is_missed() {
    let mut rig = Rig::new();
    rig.run(0);
    let anna = rig.lab.native("anna");
    rig.connect();
    for text in ["led on", "rate 500", "count?"] {
        rig.tell(anna, text);
    }
    // The first mail is lost as a whole.
    let mut lost = false;
    rig.noise[1] = Box::new(move |_, bytes| {
        let mut rest = &bytes[..];
        let mut out = Vec::new();
        while let Some((payload, used)) = look(rest) {
            let mail = matches!(Event::decode(payload), Ok(Event::Message(m)) if m.mark == 1);
            if !mail || lost {
                out.extend(&rest[..used]);
            }
            lost |= mail;
            rest = &rest[used..];
        }
        out
    });
    rig.run(RECOVERY);
    assert_eq!(rig.noted(Note::Lost(Loss::Gap)), 1);
    assert_eq!(rig.answers(anna).len(), 3);
    assert!(rig.client.led());
    assert_eq!(rig.lab.exchange.usage().entries, 0);
}

#[test]
fn when_the_exchange_begins_anew_so_does_the_session_and_the_counter_goes_on() {
    let mut rig = Rig::new();
    rig.run(3_000);
    let before = rig.client.count();
    // Another one, which knows nobody, and a bridge that connects to it at once.
    let now = rig.lab.now;
    rig.lab = Lab::default();
    rig.lab.now = now;
    rig.link = rig.lab.line();
    rig.up.clear();
    rig.run(0);
    let anna = rig.lab.native("anna");
    rig.run(1_500);
    rig.ask(anna, &Request::Join { group: Who::Name(b"counter"), count: None });
    rig.run(1_000);
    assert_eq!(rig.noted(Note::Lost(Loss::NotLoggedIn)), 1);
    let numbers: Vec<u32> =
        rig.told(anna).into_iter().map(|(_, text)| text.parse().unwrap()).collect();
    assert!(numbers[0] > before && numbers[0] <= before + 2, "{before}: {numbers:?}");
}

#[test]
fn a_line_that_was_silent_is_found_again_and_no_number_is_left_out() {
    let mut rig = Rig::new();
    rig.run(0);
    let anna = rig.member("anna");
    rig.told(anna);
    for direction in 0..2 {
        rig.noise[direction] = silent();
        rig.run(60_000);
        rig.noise[direction] = clean();
        rig.until_it_counts("the line is there again");
    }
    let numbers: Vec<u32> =
        rig.told(anna).into_iter().map(|(_, text)| text.parse().unwrap()).collect();
    let ends = (numbers[0], *numbers.last().unwrap());
    assert_eq!(ends, (2, rig.client.count()));
    assert!(numbers.windows(2).all(|pair| pair[1] - pair[0] <= 1), "{numbers:?}");
}

#[test]
fn a_client_with_nothing_to_publish_asks_whether_anybody_is_there() {
    let mut rig = Rig::new();
    rig.run(0);
    let anna = rig.lab.native("anna");
    rig.tell(anna, "rate 3600000");
    rig.run(60_000);
    assert_eq!(rig.noted(Note::Hello), 1, "answers keep a session");
    // A new connection is found by the ping, before the exchange ends its wait for a hello.
    rig.connect();
    let link = rig.link;
    rig.run(QUIET + 1_000);
    assert_eq!((rig.link, rig.noted(Note::Lost(Loss::NotLoggedIn))), (link, 1));
    assert_eq!(rig.lab.exchange.user_of(link).map(|user| user.number), Some(1));
}

#[test]
fn a_name_in_use_is_tried_again_soon_and_what_cannot_be_later() {
    let mut rig = Rig::new();
    let other = rig.lab.native("node");
    rig.run(3 * SOON);
    assert_eq!(rig.noted(Note::Refused(Refusal::InUse)), 4);
    rig.lab.disconnect(other);
    rig.run(SOON);
    assert_eq!(rig.client.count(), 1);

    let mut rig = Rig::new();
    rig.client = Client::new(Settings { name: "#node", ..SETTINGS });
    rig.run(SOON + 2 * LATER);
    assert_eq!(rig.noted(Note::Refused(Refusal::BadName)), 4);

    // No room for the topic: commands are obeyed all the same.
    let mut limits = Limits::new(1024);
    limits.message_length = 1024;
    let sizes = centrala_tests::lab::Sizes { groups: 1, ..ROOMY };
    let mut rig = Rig::with(Lab::new(&sizes, limits));
    let anna = rig.lab.native("anna");
    rig.ask(anna, &Request::CreateGroup { name: b"other" });
    rig.run(LATER + QUIET);
    assert_eq!(rig.noted(Note::Refused(Refusal::NoSuchGroup)), 2);
    rig.tell(anna, "led on");
    rig.exchange();
    assert_eq!(rig.answers(anna), ["ok: led on"]);
    assert_eq!(rig.client.count(), 0);
}

#[test]
fn a_hello_brings_an_exchange_into_step_that_waits_for_the_rest_of_any_frame() {
    for length in [1, 2, 3, 100, 255, 256, 257, 1_000, 1_150, 1_151, 30_000, 65_534, 65_535_u16] {
        for there in [0, 1, 2, 5] {
            let mut rig = Rig::new();
            rig.up =
                [&length.to_le_bytes()[..], &[7; 5][..there.min(length as usize - 1)]].concat();
            rig.until_it_counts(&format!("{there} of {length}"));
        }
    }
    let mut rig = Rig::new();
    rig.up = vec![9];
    rig.until_it_counts("half a length");
    assert!(u64::from(PADDING[2]) > u64::from(u16::MAX) - HEADER as u64);
}

#[test]
fn the_answer_to_a_hello_is_found_behind_anything() {
    for seed in 1..100 {
        let (mut rig, mut state) = (Rig::new(), seed);
        rig.noise[1] = Box::new(move |before, bytes| {
            let noise = (0..seed * 3).map(|_| random(&mut state) as u8);
            if before == 0 && !bytes.is_empty() { noise.chain(bytes).collect() } else { bytes }
        });
        rig.until_it_counts(&format!("seed {seed}"));
    }
}

#[test]
fn a_byte_lost_doubled_or_flipped_anywhere_costs_no_more_than_a_new_session() {
    let mut quiet = Rig::new();
    quiet.run(3_000);
    for direction in 0..2 {
        // What was before the first hello is not looked at.
        let (first, last) = ([257, 0][direction], quiet.passed[direction]);
        for at in first..last {
            let flips = [0, 3, 7].map(|bit| once(at, move |byte| vec![byte ^ 1 << bit]));
            let others = [once(at, |_| vec![]), once(at, |byte| vec![byte, byte])];
            for (kind, noise) in flips.into_iter().chain(others).enumerate() {
                let mut rig = Rig::new();
                rig.noise[direction] = noise;
                rig.run(3_000);
                rig.until_it_counts(&format!("direction {direction}, byte {at}, {kind}"));
                rig.until_it_counts("and again");
            }
        }
    }
}

#[test]
fn when_noise_ends_the_counter_goes_on() {
    for seed in 1..60 {
        let mut rig = Rig::new();
        let anna = rig.lab.native("anna");
        rig.noise = [noisy(seed, 60), noisy(seed + 1_000, 60)];
        for _ in 0..20 {
            rig.tell(anna, "count?");
            rig.run(2_000);
        }
        rig.noise = [clean(), clean()];
        rig.run(RECOVERY);
        rig.until_it_counts(&format!("seed {seed}"));
    }
}

#[test]
fn any_bytes_leave_it_able_to_begin() {
    for seed in 1..40 {
        let (mut rig, mut state) = (Rig::new(), seed);
        rig.run(1_000);
        for _ in 0..50 {
            let small = random(&mut state) & 1 == 0;
            let noise = (0..random(&mut state) % 300).map(|_| {
                let byte = random(&mut state) as u8;
                if small { byte % 8 } else { byte }
            });
            let noise: Vec<u8> = noise.collect();
            rig.down.extend(noise);
            rig.run(500);
        }
        rig.run(RECOVERY);
        rig.until_it_counts(&format!("seed {seed}"));
    }
}
