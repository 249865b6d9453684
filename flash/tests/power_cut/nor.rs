//! NOR flash whose power can be cut at any byte of a write or an erase.
//!
//! Bits go from 1 to 0 by writing, whole sectors back to 1 by erasing; no word is written twice.
//! Each byte written and each byte erased is a step, and the power lasts so many of them. What was
//! going on when it ends leaves its word, or its whole sector, in one of the ways of [`Torn`].

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};
use std::cell::Cell;
use std::rc::Rc;

/// Random numbers (splitmix64), the same for a seed everywhere.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }
}

/// What is left of a word or a sector whose write or erase was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// As before: the power failed just before.
    Before,
    /// As if it had ended: the power failed just after.
    After,
    /// Each bit as before or as after.
    Bits,
    /// Anything.
    Anything,
    /// Each bit that was to change reads differently each time.
    Loose,
    /// As if it had ended, or not begun, but for a bit here and there that reads differently each
    /// time.
    Weak,
    /// Reading it is an error, as of flash with an error-correcting code.
    Unreadable,
}

pub const TORN: [Torn; 7] = [
    Torn::Before,
    Torn::After,
    Torn::Bits,
    Torn::Anything,
    Torn::Loose,
    Torn::Weak,
    Torn::Unreadable,
];

/// The power: how many steps it lasts, and how many were made.
#[derive(Debug)]
pub struct Power {
    pub left: Cell<u64>,
    pub steps: Cell<u64>,
    pub cut: Cell<bool>,
}

impl Power {
    pub fn new() -> Rc<Power> {
        Rc::new(Power { left: Cell::new(u64::MAX), steps: Cell::new(0), cut: Cell::new(false) })
    }

    /// Lasts so many steps from now on.
    pub fn on_for(&self, steps: u64) {
        self.left.set(steps);
        self.cut.set(false);
    }

    /// As many of these steps as there is power for.
    fn take(&self, steps: u64) -> u64 {
        let taken = steps.min(self.left.get());
        self.left.set(self.left.get() - taken);
        self.steps.set(self.steps.get() + taken);
        if taken < steps {
            self.cut.set(true);
        }
        taken
    }
}

#[derive(Debug)]
pub struct Nor<const WORD: usize, const ERASE: usize> {
    bytes: Vec<u8>,
    /// Bits that read as they like.
    loose: Vec<u8>,
    /// Words that were written, or may have been, since their sector was erased.
    written: Vec<bool>,
    unreadable: Vec<bool>,
    pub erased: Vec<u32>,
    pub power: Rc<Power>,
    pub torn: Torn,
    pub dice: Dice,
}

impl<const WORD: usize, const ERASE: usize> Nor<WORD, ERASE> {
    /// As it may come from the factory.
    pub fn new(sectors: usize, power: Rc<Power>, seed: u64) -> Self {
        let len = sectors * ERASE;
        Nor {
            bytes: vec![0xff; len],
            loose: vec![0; len],
            written: vec![false; len / WORD],
            unreadable: vec![false; len / WORD],
            erased: vec![0; sectors],
            power,
            torn: Torn::Before,
            dice: Dice(seed),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Holds these bytes, wherever they come from, and what was not erased since counts as written.
    pub fn fill(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.written.fill(true);
    }

    fn tear(&mut self, at: usize, after: u8) {
        let before = self.bytes[at];
        let random = self.dice.roll() as u8;
        match self.torn {
            Torn::Before => {}
            Torn::After => self.bytes[at] = after,
            Torn::Bits => self.bytes[at] = (before & random) | (after & !random),
            Torn::Anything => self.bytes[at] = random,
            Torn::Loose => self.loose[at] |= before ^ after,
            Torn::Weak => {
                let bit = (before ^ after) & (1 << (random & 7));
                // A write is almost done, an erase has hardly begun.
                self.bytes[at] = before & after;
                if random < 64 {
                    self.loose[at] |= bit;
                }
            }
            Torn::Unreadable => self.unreadable[at / WORD] = true,
        }
    }
}

impl<const WORD: usize, const ERASE: usize> ErrorType for Nor<WORD, ERASE> {
    type Error = NorFlashErrorKind;
}

impl<const WORD: usize, const ERASE: usize> ReadNorFlash for Nor<WORD, ERASE> {
    const READ_SIZE: usize = WORD;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        check_read(self, offset, bytes.len()).expect("a read within the flash");
        let words = offset as usize / WORD..(offset as usize + bytes.len()) / WORD;
        if self.power.cut.get() || self.unreadable[words].contains(&true) {
            return Err(NorFlashErrorKind::Other);
        }
        for (at, byte) in (offset as usize..).zip(bytes) {
            *byte = self.bytes[at];
            if self.loose[at] != 0 {
                *byte ^= self.loose[at] & self.dice.roll() as u8;
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WORD: usize, const ERASE: usize> NorFlash for Nor<WORD, ERASE> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        check_erase(self, from, to).expect("whole sectors");
        for begin in (from as usize..to as usize).step_by(ERASE) {
            if self.power.cut.get() {
                return Err(NorFlashErrorKind::Other);
            }
            self.erased[begin / ERASE] += 1;
            let done = self.power.take(ERASE as u64) as usize;
            let sector = begin..begin + ERASE;
            if done == ERASE {
                self.bytes[sector.clone()].fill(0xff);
                self.loose[sector].fill(0);
                self.written[begin / WORD..(begin + ERASE) / WORD].fill(false);
                self.unreadable[begin / WORD..(begin + ERASE) / WORD].fill(false);
                continue;
            }
            // All of it is erased at once, and so all of it is torn: more of it the later.
            for at in sector {
                if self.dice.below(ERASE as u64) < done as u64 {
                    self.tear(at, 0xff);
                }
            }
            self.written[begin / WORD..(begin + ERASE) / WORD].fill(true);
            return Err(NorFlashErrorKind::Other);
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        check_write(self, offset, bytes.len()).expect("whole words within the flash");
        for (word, bytes) in (offset as usize / WORD..).zip(bytes.chunks(WORD)) {
            if self.power.cut.get() {
                return Err(NorFlashErrorKind::Other);
            }
            assert!(!self.written[word], "a word is written twice at {}", word * WORD);
            self.written[word] = true;
            let whole = self.power.take(WORD as u64) == WORD as u64;
            for (at, byte) in (word * WORD..).zip(bytes) {
                if whole {
                    self.bytes[at] &= *byte;
                } else {
                    self.tear(at, self.bytes[at] & *byte);
                }
            }
        }
        if self.power.cut.get() { Err(NorFlashErrorKind::Other) } else { Ok(()) }
    }
}
