//! Whatever the power does, nothing for which `write` returned is lost, and nothing else is there.

mod model;
mod nor;

use centrala_core::host::{FORMER_GROUP, Mail, Record, Store};
use centrala_flash::{Defect, FlashStore, Layout, OpenError, Place};
use model::{LONGEST, Model};
use nor::{Dice, Nor, Power, TORN, Torn};
use std::rc::Rc;

const PLACES: usize = 40;

/// One flash over many starts.
struct World<const WORD: usize, const ERASE: usize> {
    flash: Nor<WORD, ERASE>,
    power: Rc<Power>,
    dice: Dice,
    sequence: u64,
    /// The highest sequence of all that was written.
    newest: u64,
    /// What may be found at the next start. One alone unless the power was cut since.
    may: Vec<Model>,
    defect: Option<Defect>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    cuts: u64,
    starts: u64,
    written: u64,
    refused: u64,
    opened: u64,
}

type Wrong = String;

impl<const WORD: usize, const ERASE: usize> World<WORD, ERASE> {
    fn new(sectors: usize, seed: u64, defect: Option<Defect>) -> Self {
        let power = Power::new();
        let flash = Nor::new(sectors, Rc::clone(&power), seed ^ 0xf1a5);
        World {
            flash,
            power,
            dice: Dice(seed),
            sequence: 1,
            newest: 0,
            may: vec![Model::default()],
            defect,
            counts: Counts::default(),
        }
    }

    /// One start: looks at what is there, then writes until the power is cut, or so many records.
    fn start(&mut self, torn: Torn, steps: u64, writes: u64) -> Result<(), Wrong> {
        self.power.on_for(u64::MAX);
        self.flash.torn = torn;
        self.counts.starts += 1;
        let mut places = [Place::EMPTY; PLACES];
        let layout = Layout::new(ERASE as u32, LONGEST);
        let mut store = match self.defect {
            None => FlashStore::open(&mut self.flash, layout, &mut places),
            Some(defect) => {
                FlashStore::open_with_defect(&mut self.flash, layout, &mut places, defect)
            }
        }
        .map_err(|error| error.to_string())?;
        let found = restore(&mut store, self.newest)?;
        if !self.may.contains(&found) {
            return Err(format!("{found:?}\nbut it must be one of\n{:?}", self.may));
        }
        self.power.on_for(steps);
        let mut now = found;
        let mut text = Vec::new();
        for _ in 0..writes {
            let record = now.next(&mut self.dice, &mut self.sequence, &mut text);
            let mut then = now.clone();
            then.apply(&record);
            let usage = store.usage();
            let written = store.write(record).is_ok();
            if self.power.cut.get() {
                // It may be there or not. But what was found at the start is there now only if
                // something was written since.
                if self.may.len() == 1 {
                    self.may = vec![now.clone()];
                }
                if written {
                    return Err("written without power".to_owned());
                }
                self.may.push(then);
                self.counts.cuts += 1;
                return Ok(());
            }
            if !written {
                let longest = 44 + LONGEST as u32 + 2 * WORD as u32;
                let full = usage.records == PLACES || usage.bytes + longest > usage.capacity;
                let adds = matches!(
                    record,
                    Record::User { .. }
                        | Record::Group { .. }
                        | Record::Member { .. }
                        | Record::Chat { .. }
                        | Record::Mail(_)
                );
                if !full || !adds {
                    return Err(format!("refused {record:?} with {usage:?}"));
                }
                self.counts.refused += 1;
                continue;
            }
            if let Record::Mail(mail) = record {
                self.newest = self.newest.max(mail.sequence);
            }
            self.counts.written += 1;
            now = then;
            self.may = vec![now.clone()];
            if store.usage().records != now.records() {
                return Err(format!("{:?} after {record:?} and {now:?}", store.usage()));
            }
        }
        self.counts.opened = u64::from(store.usage().opened);
        // As much without a cut, within the same start.
        let found = restore(&mut store, self.newest)?;
        if found != now {
            return Err(format!("{found:?}\nbut it must be\n{now:?}"));
        }
        Ok(())
    }
}

/// What a store gives back, in the order that it must be in.
fn restore<F>(store: &mut FlashStore<'_, F>, newest: u64) -> Result<Model, Wrong>
where
    F: embedded_storage::nor_flash::NorFlash,
{
    let mut model = Model::default();
    let mut order = Vec::new();
    let mut posted = None;
    store.restore(&mut [0; LONGEST], |record| {
        order.push(match record {
            Record::User { number, .. } => (0, u64::from(number), 0),
            Record::Group { number, .. } => (1, u64::from(number), 0),
            Record::Member { user, group, .. } => (2, u64::from(user), group),
            Record::Chat { user, group } => (3, u64::from(user), group),
            Record::Mail(mail) => (4, mail.sequence, mail.user),
            _ => (5, 0, 0),
        });
        if let Record::Posted(newest) = record {
            posted = Some(newest.sequence);
        }
        model.apply(&record);
    });
    if !order.is_sorted_by(|a, b| a < b) {
        return Err(format!("out of order: {order:?}"));
    }
    if posted.unwrap_or(0) < newest {
        return Err(format!("the newest message was {newest}, and not {posted:?}"));
    }
    Ok(model)
}

/// Many flashes, each with many cuts at random.
fn cut_at_random<const WORD: usize, const ERASE: usize>(
    flashes: u64,
    ways: &[Torn],
    defect: Option<Defect>,
) -> (Counts, Vec<Wrong>) {
    let mut total = Counts::default();
    let mut wrong = Vec::new();
    for seed in 0..flashes {
        let sectors = 3 + (seed % 6) as usize;
        let mut world = World::<WORD, ERASE>::new(sectors, seed, defect);
        for _ in 0..40 {
            let torn = ways[world.dice.below(ways.len() as u64) as usize];
            // Some cuts in the first steps of a start, some after a few rounds of the flash.
            let most = [ERASE as u64 / 4, 2 * ERASE as u64, 20 * ERASE as u64];
            let most = most[world.dice.below(3) as usize];
            let steps = world.dice.below(most);
            if let Err(what) = world.start(torn, steps, 400) {
                wrong.push(format!("seed {seed}: {what}"));
                break;
            }
        }
        total.cuts += world.counts.cuts;
        total.starts += world.counts.starts;
        total.written += world.counts.written;
        total.refused += world.counts.refused;
        total.opened += world.counts.opened;
    }
    (total, wrong)
}

fn nothing_is_lost<const WORD: usize, const ERASE: usize>() {
    let (counts, wrong) = cut_at_random::<WORD, ERASE>(300, &TORN, None);
    println!("words of {WORD}, sectors of {ERASE}: {counts:?}, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} of 300 flashes; the first: {}", wrong.len(), wrong[0]);
    assert!(counts.cuts > 5_000 && counts.refused > 100, "{counts:?}");
}

#[test]
fn nothing_is_lost_with_words_of_1_byte() {
    nothing_is_lost::<1, 512>();
}

#[test]
fn nothing_is_lost_with_words_of_4_bytes() {
    nothing_is_lost::<4, 512>();
}

#[test]
fn nothing_is_lost_with_words_of_8_bytes() {
    nothing_is_lost::<8, 1024>();
}

#[test]
fn nothing_is_lost_with_words_of_32_bytes() {
    nothing_is_lost::<32, 2048>();
}

/// The same story, cut at each of its steps in each way, and once more soon after.
#[test]
fn a_cut_at_every_byte_of_a_round_loses_nothing() {
    const STORY: u64 = 120;
    fn story<const WORD: usize>(torn: Torn, cut: u64) -> Result<(World<WORD, 256>, bool), Wrong> {
        let mut world = World::<WORD, 256>::new(5, 7, None);
        world.start(torn, cut, STORY)?;
        let ended = world.counts.cuts == 0;
        if !ended {
            world.dice = Dice(cut);
            let again = world.dice.below(700);
            world.start(torn, again, 20)?;
            world.start(torn, u64::MAX, 20)?;
            world.start(torn, u64::MAX, 0)?;
        }
        Ok((world, ended))
    }
    fn every_cut<const WORD: usize>() {
        let (world, _) = story::<WORD>(Torn::Before, u64::MAX).unwrap();
        let steps = world.power.steps.get();
        assert!(world.counts.opened > 2 * 5, "two rounds: {:?}", world.counts);
        let mut cuts = 0;
        for cut in 0..steps {
            for torn in TORN {
                let (world, ended) = story::<WORD>(torn, cut)
                    .unwrap_or_else(|what| panic!("{torn:?} at {cut}: {what}"));
                assert!(!ended);
                cuts += world.counts.cuts;
            }
        }
        println!("words of {WORD}: {steps} bytes in 7 ways, {cuts} cuts");
    }
    every_cut::<1>();
    every_cut::<4>();
}

/// A test that cannot fail proves nothing: with each defect it does.
#[test]
fn each_defect_is_noticed() {
    for (defect, ways) in [
        (Defect::SkipChecksum, &TORN[..]),
        // Its checksum finds what is torn, unless that reads right once.
        (Defect::CommitEarly, &[Torn::Weak]),
        (Defect::AppendAfterStart, &TORN),
        (Defect::SkipCopies, &TORN),
    ] {
        let found = std::panic::catch_unwind(|| cut_at_random::<4, 512>(240, ways, Some(defect)));
        match found {
            Ok((counts, wrong)) => {
                println!("{defect:?}: {} of 240 flashes wrong, {} cuts", wrong.len(), counts.cuts);
                assert!(!wrong.is_empty(), "{defect:?} was not noticed");
            }
            Err(_) => println!("{defect:?}: writes a word twice"),
        }
    }
}

#[test]
fn wear_is_even() {
    let mut world = World::<4, 512>::new(7, 3, None);
    world.start(Torn::Before, u64::MAX, 5_000).unwrap();
    let erased = &world.flash.erased;
    let (most, least) = (erased.iter().max().unwrap(), erased.iter().min().unwrap());
    println!("{:?}: erased {erased:?}", world.counts);
    assert!(most - least <= 1 && *least > 50, "{erased:?}");
}

const MAIL: Mail<'_> = Mail { user: 1, sequence: 5, from: 1, ..Mail::NONE };

/// Somebody may send a text that would be a record at the very place where it lies.
#[test]
fn a_text_that_would_be_a_record_is_none_even_if_it_is_torn() {
    let layout = Layout::new(512, LONGEST);
    let power = Power::new();
    let mut flash = Nor::<4, 512>::new(4, Rc::clone(&power), 0);
    let mut places = [Place::EMPTY; PLACES];
    let evil = Record::User { number: 9, name: b"evil", secret: None };
    // 40 bytes before it, as before the text of mail.
    let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
    store.write(Record::Group { number: 1, name: b"", owner: 0 }).unwrap();
    store.write(Record::Group { number: 2, name: b"", owner: 0 }).unwrap();
    store.write(evil).unwrap();
    let text = flash.bytes()[512 + 40 + 40..][..20].to_vec();
    assert_eq!(&text[8..12], b"evil");

    for torn in TORN {
        for steps in 0..680 {
            let power = Power::new();
            let mut flash = Nor::<4, 512>::new(4, Rc::clone(&power), steps);
            flash.torn = torn;
            let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
            power.on_for(steps);
            let written = store.write(Record::Mail(Mail { text: &text, ..MAIL })).is_ok();
            power.on_for(u64::MAX);
            let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
            let found = restore(&mut store, 0).unwrap();
            assert!(found.users.is_empty(), "{torn:?} at {steps}");
            assert!(found.mail.len() == 1 || !written, "{torn:?} at {steps}");
            assert!(written == (steps >= 512 + 40 + 68), "{torn:?} at {steps}");
        }
    }
}

/// Also where it is longer than what is read at once, and has been copied from sector to sector.
#[test]
fn a_text_of_any_length_comes_back_as_it_was() {
    fn each_length<const WORD: usize>() {
        let layout = Layout::new(1024, 300);
        let mut places = [Place::EMPTY; PLACES];
        let mut flash = Nor::<WORD, 1024>::new(4, Power::new(), 0);
        let text: Vec<u8> = (0..300u32).map(|n| (n * 7 + 1) as u8).collect();
        for length in 0..=300 {
            let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
            let text = &text[..length];
            store.write(Record::Mail(Mail { text, ..MAIL })).unwrap();
            for left in 0..40 {
                store.write(Record::Member { user: 1, group: 1, left }).unwrap();
            }
            let mut found = Vec::new();
            store.restore(&mut [0; 300], |record| {
                if let Record::Mail(mail) = record {
                    found.push(mail.text.to_vec());
                }
            });
            assert_eq!(found, [text], "words of {WORD}");
        }
    }
    each_length::<1>();
    each_length::<4>();
    each_length::<32>();
}

#[test]
fn nobody_is_sent_by_who_is_gone() {
    let mut flash = Nor::<8, 1024>::new(3, Power::new(), 0);
    let layout = Layout::new(1024, LONGEST);
    let mut places = [Place::EMPTY; PLACES];
    let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
    for number in [1, 2] {
        store.write(Record::User { number, name: b"somebody", secret: None }).unwrap();
    }
    store.write(Record::Group { number: 1, name: b"theirs", owner: 2 }).unwrap();
    store.write(Record::Mail(Mail { from: 2, text: b"hello", ..MAIL })).unwrap();
    store.write(Record::NoUser { number: 2 }).unwrap();
    // Its number is another's now, whose these are not; not after many rounds either.
    store.write(Record::User { number: 2, name: b"another", secret: None }).unwrap();
    for left in 0..200 {
        let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
        let found = restore(&mut store, 5).unwrap();
        assert_eq!(found.mail[&(5, 1)].from, 0);
        assert_eq!(found.groups[&1].1, 0);
        assert_eq!(found.users[&2], b"another");
        store.write(Record::Member { user: 1, group: 1, left }).unwrap();
    }
}

#[test]
fn mail_of_a_group_that_is_gone_is_never_of_the_next_one_of_its_number() {
    let mut flash = Nor::<8, 1024>::new(3, Power::new(), 0);
    let layout = Layout::new(1024, LONGEST);
    let mut places = [Place::EMPTY; PLACES];
    let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
    store.write(Record::User { number: 1, name: b"somebody", secret: None }).unwrap();
    store.write(Record::Group { number: 1, name: b"news", owner: 1 }).unwrap();
    store.write(Record::Mail(Mail { sequence: 3, group: 1, ..MAIL })).unwrap();
    store.write(Record::Mail(Mail { sequence: 4, from: 1, about: 1, ..MAIL })).unwrap();
    store.write(Record::NoGroup { number: 1 }).unwrap();
    store.write(Record::Group { number: 1, name: b"sport", owner: 1 }).unwrap();
    store.write(Record::Mail(Mail { sequence: 5, group: 1, ..MAIL })).unwrap();
    // Not after many rounds either.
    for left in 0..200 {
        let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
        let found = restore(&mut store, 5).unwrap();
        let of = |sequence| (found.mail[&(sequence, 1)].group, found.mail[&(sequence, 1)].about);
        assert_eq!([of(3), of(4), of(5)], [(FORMER_GROUP, 0), (0, 0), (1, 0)]);
        store.write(Record::Member { user: 1, group: 1, left }).unwrap();
    }
}

#[test]
fn a_full_store_refuses_what_adds_and_takes_what_removes() {
    let mut flash = Nor::<4, 512>::new(5, Power::new(), 0);
    let layout = Layout::new(512, LONGEST);
    let mut places = [Place::EMPTY; 100];
    let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
    let text = [b'x'; LONGEST];
    let full = (1..).find(|sequence| {
        store.write(Record::Mail(Mail { sequence: *sequence, text: &text, ..MAIL })).is_err()
    });
    let full = full.unwrap();
    let usage = store.usage();
    println!("{usage:?}");
    assert!(full > 8 && usage.bytes + 108 > usage.capacity, "{usage:?}");
    for sequence in 1..full {
        let mail = Mail { sequence: full, text: &text, ..MAIL };
        store.write(Record::Mail(mail)).unwrap_err();
        store.write(Record::Settled { user: 1, sequence }).unwrap();
        store.write(Record::Mail(mail)).unwrap();
        store.write(Record::Settled { user: 1, sequence: full }).unwrap();
        store.write(Record::Mail(Mail { sequence: full + sequence, text: &text, ..MAIL })).unwrap();
    }
    assert_eq!(store.usage().records as u64, full - 1);
    let longer = [b'x'; LONGEST + 1];
    for sequence in 1..100 {
        store.write(Record::Settled { user: 1, sequence }).unwrap();
    }
    store.write(Record::Mail(Mail { text: &longer, ..MAIL })).unwrap_err();
    assert_eq!((store.usage().records, store.usage().bytes), (0, 0));
}

#[test]
fn a_store_says_why_it_is_not_opened() {
    let mut flash = Nor::<4, 512>::new(5, Power::new(), 0);
    let mut places = [Place::EMPTY; 3];
    fn open(
        flash: &mut Nor<4, 512>,
        layout: Layout,
        places: &mut [Place],
    ) -> Result<(), OpenError> {
        FlashStore::open(flash, layout, places).map(|_| ())
    }
    for layout in
        [Layout::new(500, 60), Layout::new(512, 500), Layout::new(1024, 60), Layout::new(0, 60)]
    {
        assert_eq!(open(&mut flash, layout, &mut places), Err(OpenError::Layout), "{layout:?}");
    }
    let layout = Layout::new(512, 60);
    let mut store = FlashStore::open(&mut flash, layout, &mut places).unwrap();
    for number in 1..=3 {
        store.write(Record::User { number, name: b"somebody", secret: None }).unwrap();
    }
    store.write(Record::User { number: 4, name: b"too many", secret: None }).unwrap_err();
    assert_eq!(open(&mut flash, layout, &mut places[..2]), Err(OpenError::Places));
    let mut longer = Nor::<4, 512>::new(6, Power::new(), 0);
    longer.fill(flash.bytes());
    assert_eq!(open(&mut longer, layout, &mut places), Err(OpenError::OtherLayout));
    // With shorter words, and longer sectors.
    let mut others =
        (Nor::<1, 512>::new(5, Power::new(), 0), Nor::<4, 1024>::new(5, Power::new(), 0));
    let long = Layout::new(1024, 60);
    let mut store = FlashStore::open(&mut others.1, long, &mut places).unwrap();
    store.write(Record::User { number: 1, name: b"somebody", secret: None }).unwrap();
    others.0.fill(others.1.bytes());
    let other = FlashStore::open(&mut others.0, layout, &mut places).map(|_| ());
    assert_eq!(other, Err(OpenError::OtherLayout));
}

/// Erased flash is an empty store, and so is what a first write that was cut short has left; with
/// anything else in it nothing is written.
#[test]
fn flash_that_holds_something_else_is_refused() {
    let layout = Layout::new(512, LONGEST);
    let mut places = [Place::EMPTY; 3];
    for (sector, at, empty) in [(1, 512, true), (0, 0, false), (4, 4 * 512, false)] {
        let mut flash = Nor::<4, 512>::new(5, Power::new(), 0);
        let mut bytes = flash.bytes().to_vec();
        bytes[at..at + 8].copy_from_slice(b"whatever");
        flash.fill(&bytes);
        let opened = FlashStore::open(&mut flash, layout, &mut places).map(|_| ());
        assert_eq!(opened, if empty { Ok(()) } else { Err(OpenError::Foreign) }, "sector {sector}");
        assert_eq!(flash.bytes(), bytes);
    }
}

/// Whatever is in the flash, it is opened without a panic or never coming back, and can be written.
#[test]
fn any_content_is_opened() {
    let mut opened = [0u32; 2];
    for seed in 0..1_500u64 {
        let mut world = World::<4, 256>::new(5, seed % 10, None);
        world.start(Torn::Before, u64::MAX, 40 + seed % 60).unwrap();
        let mut dice = Dice(seed);
        let mut bytes = world.flash.bytes().to_vec();
        for _ in 0..1 + dice.below(20) {
            let at = dice.below(bytes.len() as u64) as usize;
            match dice.below(4) {
                0 => bytes[at] ^= 1 << dice.below(8),
                1 => bytes[at] = dice.roll() as u8,
                2 => bytes[at..].iter_mut().take(40).for_each(|byte| *byte = dice.roll() as u8),
                // A sector where another was.
                _ => bytes.copy_within(at / 256 * 256..at / 256 * 256 + 256, at % 5 * 256),
            }
        }
        let mut flash = Nor::<4, 256>::new(5, Power::new(), 0);
        flash.fill(&bytes);
        let mut places = [Place::EMPTY; PLACES];
        let Ok(mut store) = FlashStore::open(&mut flash, Layout::new(256, LONGEST), &mut places)
        else {
            opened[0] += 1;
            continue;
        };
        opened[1] += 1;
        store.restore(&mut [0; LONGEST], |_| {});
        for number in 1..40 {
            let _ = store.write(Record::User { number, name: b"somebody", secret: None });
            let _ = store.write(Record::Settled { user: 1, sequence: number.into() });
            let _ = store.write(Record::NoUser { number });
        }
        store.restore(&mut [0; LONGEST], |_| {});
    }
    println!("{} opened, {} not", opened[1], opened[0]);
    assert!(opened[1] > 1_000);
}
