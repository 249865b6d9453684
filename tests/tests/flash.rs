//! What the microcontroller keeps in its flash, over resets and power cuts of the emulated machine:
//! `cargo test -p centrala-tests --features firmware --test flash`.
//!
//! The flash is a file that outlasts QEMU, so that this machine reads it as the image does. A cut at
//! every byte of a write is `flash/tests/power_cut`'s.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use centrala_core::dialect::direct::{self, MESSAGE, OFFLINE, RESPONSE};
use centrala_core::dialect::native::{self, Event, Request, Who, serial};
use centrala_core::host::{Record, Store};
use centrala_flash::{FlashStore, Layout, OpenError, Place};
use centrala_tests::direct_table;
use centrala_tests::image::{Image, LONG, PSRAM};
use centrala_tests::lab;
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_read, check_write,
};

/// As `firmware/board/src/flash.rs` has it.
const BYTES: usize = 64 * 1024;
const SECTOR: usize = 4096;
const TEXT: usize = 128;
/// More than the image has places for.
const PLACES: usize = 1_000;

/// What the chip says, which the PSRAM holds the complement of.
#[derive(Clone, PartialEq)]
struct Chip(Vec<u8>);

impl Chip {
    fn erased() -> Chip {
        Chip(vec![0xff; BYTES])
    }

    fn read_from(file: &Path) -> Chip {
        let mut bytes = vec![0; BYTES];
        std::fs::File::open(file).unwrap().read_exact(&mut bytes).unwrap();
        Chip(bytes.iter().map(|byte| !byte).collect())
    }

    /// A file that is the PSRAM of a machine with this chip.
    fn write_to(&self, file: &Path) {
        std::fs::write(file, self.0.iter().map(|byte| !byte).collect::<Vec<u8>>()).unwrap();
        std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(PSRAM).unwrap();
    }

    fn store<T>(&mut self, with: impl FnOnce(&mut FlashStore<'_, &mut Chip>) -> T) -> T {
        let mut places = [Place::EMPTY; PLACES];
        let layout = Layout::new(SECTOR as u32, TEXT);
        let mut store = FlashStore::open(self, layout, &mut places).expect("a store");
        with(&mut store)
    }

    fn kept(&self) -> Kept {
        let mut kept = Kept::default();
        self.clone().store(|store| {
            store.restore(&mut [0; TEXT], |record| match record {
                Record::User { number, name, .. } => {
                    kept.users.insert(number, text_of(name));
                }
                Record::Group { number, name, .. } => {
                    kept.groups.insert(number, text_of(name));
                }
                Record::Member { user, group, .. } => kept.members.push((user, group)),
                Record::Mail(mail) => {
                    kept.mail.entry(mail.user).or_default().push(text_of(mail.text));
                }
                _ => {}
            });
            assert_eq!(store.usage().damaged, 0);
            kept.opened = store.usage().opened;
        });
        kept
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 4;
    fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, at, bytes.len())?;
        bytes.copy_from_slice(&self.0[at as usize..][..bytes.len()]);
        Ok(())
    }
    fn capacity(&self) -> usize {
        BYTES
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = SECTOR;
    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }
    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, at, bytes.len())?;
        self.0[at as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

/// What a store gives back.
#[derive(Clone, Debug, Default)]
struct Kept {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
    members: Vec<(u32, u32)>,
    /// By user, in its order.
    mail: BTreeMap<u32, Vec<String>>,
    /// Sectors that were opened since the flash was empty.
    opened: u32,
}

impl Kept {
    fn mail_of(&self, name: &str) -> &[String] {
        let user = self.users.iter().find(|user| user.1 == name).expect("a user").0;
        self.mail.get(user).map_or(&[], Vec::as_slice)
    }
}

/// A machine with its flash in a file.
struct Machine {
    image: Image,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Machine {
    fn start(chip: &Chip) -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("psram");
        chip.write_to(&file);
        let image = Image::with_psram("exchange-flash", 4, &file);
        Machine { image, file, _directory: directory }
    }

    /// Its flash at one moment, wherever the machine is.
    fn stopped(&mut self) -> Chip {
        let Machine { image, file, .. } = self;
        image.stopped(|| Chip::read_from(file))
    }

    /// Cuts its power wherever it is, and says what is left.
    fn cut(self) -> Chip {
        self.image.kill();
        Chip::read_from(&self.file)
    }

    /// Resets it, and waits until it has begun anew.
    fn reset(&mut self) {
        let begun = |line: &str| line.starts_with("exchange: ").then(|| line.to_owned());
        let line = self.image.logged("start", begun);
        let times = self.image.times(&line);
        self.image.reset();
        self.image.logged_again(&line, times);
    }

    /// Waits until its flash is in some state.
    fn until(&mut self, what: &str, state: impl Fn(&Kept) -> bool) {
        let deadline = Instant::now() + LONG;
        loop {
            let kept = self.stopped().kept();
            if state(&kept) {
                return;
            }
            assert!(Instant::now() < deadline, "no {what}: {kept:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn connect(place: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A line that speaks `direct`.
struct Direct {
    stream: TcpStream,
    name: String,
}

impl Direct {
    fn new(place: SocketAddr, name: &str) -> Direct {
        let mut line = Direct { stream: connect(place), name: String::new() };
        line.hello(name);
        line.settle();
        line
    }

    /// Somebody begins a session here, and whoever was here before has left.
    fn hello(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        self.send(RESPONSE, 0, "", "");
    }

    fn send(&mut self, kind: u16, id: u32, to: &str, text: &str) {
        let frame = lab::frame(kind, id, &self.name, to, text.as_bytes());
        self.stream.write_all(&frame).unwrap();
    }

    /// Type, id and text of the next frame.
    fn next(&mut self) -> (u16, u32, String) {
        let mut bytes = [0; direct::FRAME_MAX];
        self.stream.read_exact(&mut bytes[..2]).unwrap();
        let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        self.stream.read_exact(&mut bytes[2..len]).unwrap();
        let direct::Look::Frame(frame, _) = direct::Frame::look(&bytes[..len]) else {
            panic!("no frame: {bytes:?}")
        };
        (frame.kind, frame.id, text_of(frame.text))
    }

    fn answer(&mut self, id: u32) -> String {
        let (kind, of, code) = self.next();
        assert_eq!((kind, of), (RESPONSE, id), "{code}");
        code
    }

    /// By the answer to this its log-in is done, and nothing else came before it.
    fn settle(&mut self) {
        self.send(MESSAGE, 9_999, "nobody", "");
        assert_eq!(self.answer(9_999), "404");
    }

    /// The mail that comes with a log-in: text and id.
    fn fetch(&mut self, name: &str, count: usize) -> Vec<String> {
        self.hello(name);
        (0..count)
            .map(|_| {
                let (kind, _, text) = self.next();
                assert_eq!(kind, OFFLINE, "{text}");
                text
            })
            .collect()
    }
}

/// A line that speaks `native`.
struct Native(TcpStream);

impl Native {
    fn send(&mut self, id: u32, request: &Request<'_>) {
        let frame = lab::asked(id, request);
        let mut line = vec![0; serial::encoded_max(frame.len())];
        let len = serial::encode(&frame, &mut line).unwrap();
        self.0.write_all(&line[..len]).unwrap();
    }

    fn next<T>(&mut self, of: impl FnOnce(Event<'_>) -> T) -> T {
        let mut receiver = serial::Receiver::new([0; 512]);
        let mut byte = [0];
        loop {
            self.0.read_exact(&mut byte).unwrap();
            if receiver.push(byte[0]) == serial::Arrived::Frame {
                let (payload, _) = native::look(receiver.frame()).unwrap();
                return of(Event::decode(payload).unwrap());
            }
        }
    }

    fn hello(&mut self, name: &str) {
        let user = Who::Name(name.as_bytes());
        self.send(1, &Request::Hello { version: native::VERSION, user, password: b"" });
        self.next(|event| assert!(matches!(event, Event::Welcome { id: 1, .. }), "{event:?}"));
    }

    fn done(&mut self, request: &Request<'_>) {
        self.send(2, request);
        self.next(|event| assert!(matches!(event, Event::Done { id: 2, .. }), "{event:?}"));
    }

    /// The next message: its text, and the mark to acknowledge it by.
    fn message(&mut self) -> (String, u32) {
        self.next(|event| match event {
            Event::Message(message) => (text_of(message.text), message.mark),
            _ => panic!("no message: {event:?}"),
        })
    }
}

#[test]
fn users_groups_memberships_and_mail_outlast_a_reset_and_mail_comes_once_and_in_order() {
    let mut machine = Machine::start(&Chip::erased());
    let places = machine.image.places.clone();
    let mut anna = Direct::new(places[0], "anna");
    let mut other = Direct::new(places[1], "bartek");
    let mut dorota = Native(connect(places[2]));
    dorota.hello("dorota");
    dorota.done(&Request::CreateGroup { name: b"news" });
    dorota.done(&Request::Join { group: Who::Name(b"news"), count: None });
    dorota.done(&Request::LogOut);
    other.hello("celina");
    other.settle();
    let texts: Vec<String> = (1..=5).map(|n| format!("{n} of 5")).collect();
    for (id, text) in (1..).zip(&texts) {
        anna.send(MESSAGE, id, "bartek", text);
        assert_eq!(anna.answer(id), "300", "bartek is not there");
    }
    anna.send(MESSAGE, 6, "#news", "to whoever reads");
    assert_eq!(anna.answer(6), "200");
    let before = machine.stopped().kept();
    assert_eq!(before.mail_of("bartek"), texts);
    assert_eq!(before.mail_of("dorota"), ["to whoever reads"]);

    machine.reset();
    assert_eq!(other.fetch("bartek", 5), texts);
    other.settle();
    dorota.hello("dorota");
    let (text, mark) = dorota.message();
    assert_eq!(text, "to whoever reads");
    dorota.send(0, &Request::Ack { mark });
    dorota.done(&Request::Ping);
    machine.until("end of the mail", |kept| kept.mail.is_empty());

    machine.reset();
    other.hello("bartek");
    other.settle();
    dorota.hello("dorota");
    dorota.done(&Request::Ping);
    anna.hello("anna");
    anna.send(MESSAGE, 7, "#news", "still a member");
    assert_eq!(anna.answer(7), "200");
    assert_eq!(dorota.message().0, "still a member");
    anna.send(MESSAGE, 8, "#all", "all of you");
    assert_eq!(anna.answer(8), "200");
    let (kind, _, text) = other.next();
    assert_eq!((kind, text.as_str()), (MESSAGE, "all of you"));
    assert_eq!(dorota.message().0, "all of you");
    let after = machine.stopped().kept();
    assert_eq!(
        (after.users, after.groups, after.members),
        (before.users, before.groups, before.members)
    );
}

/// The rest of `direct` is `tests/firmware.rs`'s, for the image without a store.
#[test]
fn with_a_store_it_speaks_as_without() {
    direct_table::refused(&mut Machine::start(&Chip::erased()).image);
    direct_table::forwarded_as_it_is(&mut Machine::start(&Chip::erased()).image);
}

/// What a machine that begins with this flash gives to a user who logs in.
fn fetched(chip: &Chip, name: &str, count: usize) -> Vec<String> {
    let machine = Machine::start(chip);
    let mut line = Direct { stream: connect(machine.image.places[0]), name: String::new() };
    let texts = line.fetch(name, count);
    line.settle();
    texts
}

#[test]
fn whatever_was_acknowledged_is_there_after_a_power_cut_at_any_moment() {
    const ROUNDS: u32 = 6;
    /// Under way at once, and for a user in each round.
    const WINDOW: u32 = 4;
    const MAIL: u32 = 24;
    // Mail that nobody ever fetches, while everything around it is copied again and again.
    let kept_for_ever = ["first", "second", "third"];
    let machine = Machine::start(&Chip::erased());
    let mut anna = Direct::new(machine.image.places[0], "anna");
    let mut other = Direct::new(machine.image.places[1], "keeper");
    other.hello("celina");
    other.settle();
    for (id, text) in (1..).zip(kept_for_ever) {
        anna.send(MESSAGE, id, "keeper", text);
        assert_eq!(anna.answer(id), "300");
    }
    let mut chip = machine.cut();
    // Most of a round of the flash goes faster here.
    chip.store(|store| {
        let counted = |left| Record::Member { user: 1, group: 1, left };
        (0..1_700).for_each(|left| store.write(counted(left)).unwrap());
        store.write(counted(-1)).unwrap();
    });
    let mut machine = Machine::start(&chip);
    let mut anna = Direct::new(machine.image.places[0], "anna");
    let mut other = Direct::new(machine.image.places[1], "bartek");
    other.hello("celina");
    other.settle();
    let mut dice = 1u32;
    let mut roll = move |below: u32| {
        dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (dice >> 16) % below
    };
    let text = |round: u32, n: u32| format!("{round}.{n} {}", "x".repeat(100));
    // What was there at some moment, and how many for `bartek` at least.
    let check = |chip: &Chip, round: u32, sent: u32, acknowledged: u32| {
        let kept = chip.kept();
        assert_eq!(kept.mail_of("keeper"), kept_for_ever);
        let mail = kept.mail_of("bartek");
        let whole = mail.iter().zip(0..).all(|(kept, n)| *kept == text(round, n));
        let enough = (acknowledged as usize..=sent as usize).contains(&mail.len());
        assert!(whole && enough, "{acknowledged} of {sent} were acknowledged in {round}: {mail:?}");
        kept
    };
    let mut cuts = Vec::new();
    let mut checked = 0;
    for round in 0..ROUNDS {
        let at = [roll(MAIL / 2), MAIL / 2 + roll(MAIL / 2)];
        let (mut sent, mut acknowledged) = (0, 0);
        while acknowledged < MAIL {
            while sent < MAIL && sent < acknowledged + WINDOW {
                anna.send(MESSAGE, sent, "bartek", &text(round, sent));
                sent += 1;
            }
            assert_eq!(anna.answer(acknowledged), "300");
            acknowledged += 1;
            if at.contains(&acknowledged) {
                let chip = machine.stopped();
                check(&chip, round, sent, acknowledged);
                checked += 1;
                if round >= 2 && cuts.len() < 2 {
                    cuts.push(chip);
                }
            }
        }
        // All of it is fetched; what of it is there in the meantime is in its order.
        other.hello("bartek");
        let stop = roll(MAIL);
        for n in 0..MAIL {
            assert_eq!(other.next(), (OFFLINE, n, text(round, n)));
            if n == stop {
                let kept = machine.stopped().kept();
                assert_eq!(kept.mail_of("keeper"), kept_for_ever);
                let mail = kept.mail_of("bartek");
                // Nothing twice, and in its order.
                let mut all = (0..MAIL).map(|n| text(round, n));
                assert!(mail.iter().all(|kept| all.any(|text| text == *kept)), "{mail:?}");
                checked += 1;
            }
        }
        other.settle();
        machine.until("end of the mail", |kept| kept.mail_of("bartek").is_empty());
        other.hello("celina");
        other.settle();
    }
    let opened = machine.stopped().kept().opened;
    assert!(opened as usize > BYTES / SECTOR + 1, "not once around the flash: {opened}");

    // The last cut ends it, wherever it is.
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < 10 {
        while sent < acknowledged + WINDOW {
            anna.send(MESSAGE, sent, "bartek", &text(ROUNDS, sent));
            sent += 1;
        }
        assert_eq!(anna.answer(acknowledged), "300");
        acknowledged += 1;
    }
    let chip = machine.cut();
    check(&chip, ROUNDS, sent, acknowledged);
    cuts.push(chip);
    for chip in &cuts {
        let kept = chip.kept();
        let mail = kept.mail_of("bartek");
        assert_eq!(fetched(chip, "bartek", mail.len()), mail);
        assert_eq!(fetched(chip, "keeper", 3), kept_for_ever);
    }
    println!("{checked} moments, {opened} sectors opened, {} machines begun anew", cuts.len() * 2);
}

#[test]
fn a_full_flash_is_507_and_has_room_again_for_what_is_fetched() {
    // All places but five are taken, by what the exchange has no tables for.
    let mut chip = Chip::erased();
    chip.store(|store| {
        for (number, name) in [(1, b"anna".as_slice()), (2, b"bartek")] {
            store.write(Record::User { number, name, secret: None }).unwrap();
        }
        store.write(Record::Group { number: 1, name: b"all", owner: 0 }).unwrap();
        for user in [1, 2] {
            store.write(Record::Member { user, group: 1, left: -1 }).unwrap();
        }
        let places = 8 + 8 + 64 + 48;
        for user in 0..places - 5 - 5 {
            store.write(Record::Member { user: 100 + user, group: 1, left: -1 }).unwrap();
        }
    });
    let machine = Machine::start(&chip);
    let unfit = machine.image.logged("what does not fit", |line| {
        line.strip_prefix("flash: 0 damaged, ")?.split(' ').next()?.parse::<u32>().ok()
    });
    assert_eq!(unfit, 118);
    let mut anna = Direct::new(machine.image.places[0], "anna");
    for id in 0..5 {
        anna.send(MESSAGE, id, "bartek", "hej");
        assert_eq!(anna.answer(id), "300");
    }
    for id in 5..8 {
        anna.send(MESSAGE, id, "bartek", "one too many");
        assert_eq!(anna.answer(id), "507");
    }
    machine
        .image
        .logged("refusal", |line| line.starts_with("flash: a record was refused").then_some(()));
    let mut other = Direct { stream: connect(machine.image.places[1]), name: String::new() };
    assert_eq!(other.fetch("bartek", 5), ["hej"; 5]);
    other.settle();
    let mut machine = machine;
    machine.until("end of the mail", |kept| kept.mail.is_empty());
    // There is no room for another user's membership and mail, but for mail of who left.
    other.hello("celina");
    other.settle();
    anna.send(MESSAGE, 8, "bartek", "again");
    assert_eq!(anna.answer(8), "300");
    // What it has no tables for is still there.
    let kept = machine.stopped().kept();
    assert_eq!(kept.mail_of("bartek"), ["again"]);
    assert_eq!(kept.members.len(), 2 + 118 + 1);
}

#[test]
fn flash_that_holds_something_else_is_not_touched() {
    let mut chip = Chip::erased();
    chip.0[..13].copy_from_slice(b"another thing");
    let mut places = [Place::EMPTY; 1];
    let layout = Layout::new(SECTOR as u32, TEXT);
    let opened = FlashStore::open(&mut chip, layout, &mut places).map(|_| ());
    assert_eq!(opened, Err(OpenError::Foreign));
    let mut machine = Machine::start(&chip);
    machine
        .image
        .logged("why", |line| line.starts_with("flash: not touched: Foreign").then_some(()));
    let mut anna = Direct { stream: connect(machine.image.places[0]), name: String::new() };
    anna.hello("anna");
    assert_eq!(anna.next().2, "507");
    assert!(machine.stopped() == chip);
}
