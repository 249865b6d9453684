//! The flash as sectors of whole words: reading, checking and writing one header or record.

use crate::defect::{Defect, Defects};
use crate::index::{Place, WORDS};
use crate::record::{HEAD, Head, Key, PREFIX};
use centrala_core::host::Record;
use centrala_core::name::NAME_LENGTH;
use crc::{CRC_32_ISO_HDLC, Crc, Digest};
use embedded_storage::nor_flash::NorFlash;

/// Read and written at once; a word has at most so many bytes.
pub(crate) const CHUNK: usize = 64;
const MAGIC: [u8; 4] = *b"CFL1";
/// Magic 4, word 1, nothing 1, sectors 2, sector's length 4, epoch 4, end of the sector before 4,
/// newest message 8, CRC-32 of these 4.
const HEADER: usize = 32;
static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// How a store uses its flash. It must be the same at each start, but for `text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Layout {
    pub(crate) sector: u32,
    pub(crate) text: usize,
}

impl Layout {
    /// Sectors of so many bytes, a multiple of what the flash erases at once, for texts of up to
    /// `text` bytes. The longer the sectors, the less room is kept free for the longest record at
    /// the end of each; the more there are, the less the two spare ones cost.
    pub const fn new(sector: u32, text: usize) -> Layout {
        Layout { sector, text }
    }
}

/// What a sector's header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// From 1.
    pub(crate) epoch: u32,
    /// Where the records of the sector before end, from its begin.
    pub(crate) end_before: u32,
    /// The highest sequence so far.
    pub(crate) newest: u64,
}

/// What begins at some place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begins {
    /// A record whose checksum agrees.
    Record(Found),
    /// Nothing, or what is none.
    Nothing,
}

/// A record whose checksum agrees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) head: Head,
    /// Bytes that it takes, with its commit word.
    pub(crate) size: u32,
    pub(crate) committed: bool,
}

/// Something could not be written.
pub(crate) struct Failed;

pub(crate) struct Medium<F> {
    flash: F,
    pub(crate) word: u32,
    pub(crate) sector: u32,
    pub(crate) sectors: u32,
    /// Bytes of the longest record.
    pub(crate) longest: u32,
    pub(crate) defects: Defects,
}

const fn round_up(bytes: u32, word: u32) -> u32 {
    match bytes.checked_rem(word) {
        None | Some(0) => bytes,
        Some(over) => bytes.wrapping_add(word.wrapping_sub(over)),
    }
}

impl<F: NorFlash> Medium<F> {
    /// `None` if the layout does not fit the flash.
    pub(crate) fn new(flash: F, layout: Layout) -> Option<Medium<F>> {
        let capacity = u32::try_from(flash.capacity()).ok()?;
        let word = F::WRITE_SIZE.max(F::READ_SIZE);
        let erased = u32::try_from(F::ERASE_SIZE).ok()?;
        let whole = |of: usize| of != 0 && word.checked_rem(of) == Some(0);
        if word > CHUNK || !word.is_power_of_two() || !whole(F::WRITE_SIZE) || !whole(F::READ_SIZE)
        {
            return None;
        }
        let word = word as u32;
        if layout.sector.checked_rem(erased)? != 0 || layout.sector.checked_rem(word)? != 0 {
            return None;
        }
        let sectors = capacity.checked_div(layout.sector)?;
        let text = u16::try_from(layout.text.max(NAME_LENGTH)).ok()?;
        let longest = round_up((HEAD as u32).checked_add(u32::from(text))?, word);
        let longest = longest.checked_add(word)?;
        let medium = Medium {
            flash,
            word,
            sector: layout.sector,
            sectors,
            longest,
            defects: Defects::default(),
        };
        let fits = longest <= medium.room();
        let told_apart = capacity.checked_div(word)? <= WORDS;
        (fits && told_apart && (3..=u32::from(u16::MAX)).contains(&sectors)).then_some(medium)
    }

    /// Where the records of a sector begin.
    pub(crate) fn start(&self) -> u32 {
        round_up(HEADER as u32, self.word)
    }

    /// Bytes of a mark, for which there is always room.
    fn mark(&self) -> u32 {
        self.size(&crate::record::mark())
    }

    /// Where records end at the latest.
    pub(crate) fn limit(&self) -> u32 {
        self.sector.saturating_sub(self.mark())
    }

    /// Bytes for records of one sector.
    fn room(&self) -> u32 {
        self.limit().saturating_sub(self.start())
    }

    /// Bytes of records that are sure to fit, whatever becomes of which: then, of the n - 2 sectors
    /// that hold data, one has room for the longest once more, and is found in one round.
    pub(crate) fn capacity(&self) -> u32 {
        let each = self.room().saturating_sub(self.longest);
        self.sectors.saturating_sub(2).saturating_mul(each)
    }

    /// The sector of an epoch.
    pub(crate) fn sector_of(&self, epoch: u32) -> u32 {
        epoch.checked_rem(self.sectors).unwrap_or(0)
    }

    /// Where an epoch's sector begins.
    pub(crate) fn begin(&self, epoch: u32) -> u32 {
        self.sector_of(epoch).wrapping_mul(self.sector)
    }

    /// The sector that a place is in.
    pub(crate) fn sector_at(&self, place: Place) -> u32 {
        self.address(place).checked_div(self.sector).unwrap_or(0)
    }

    pub(crate) fn address(&self, place: Place) -> u32 {
        place.word().wrapping_mul(self.word)
    }

    /// Where a record is now that was copied from a place to an address.
    pub(crate) fn moved(&self, place: Place, address: u32) -> Place {
        Place::new(address.checked_div(self.word).unwrap_or(0), place.tag())
    }

    pub(crate) fn place(&self, address: u32, key: Key) -> Place {
        Place::new(address.checked_div(self.word).unwrap_or(0), key.tag())
    }

    /// Reads as much as fits into a chunk and lies before `end`. How much: none if that fails.
    fn read<'c>(&mut self, at: u32, end: u32, chunk: &'c mut [u8; CHUNK]) -> &'c [u8] {
        let len = (end.saturating_sub(at) as usize).min(CHUNK);
        let Some(bytes) = chunk.get_mut(..len) else { return &[] };
        match self.flash.read(at, bytes) {
            Ok(()) => bytes,
            Err(_) => &[],
        }
    }

    /// The header in a sector, if there is a whole one.
    pub(crate) fn header(&mut self, sector: u32) -> Result<Option<Header>, OtherLayout> {
        let begin = sector.wrapping_mul(self.sector);
        let mut chunk = [0; CHUNK];
        let bytes = self.read(begin, begin.wrapping_add(self.start()), &mut chunk);
        let Some((covered, rest)) = bytes.split_first_chunk::<28>() else { return Ok(None) };
        if rest.first_chunk().copied().map(u32::from_le_bytes) != Some(CRC.checksum(covered)) {
            return Ok(None);
        }
        let [m0, m1, m2, m3, word, _, s0, s1, rest @ ..] = *covered;
        if [m0, m1, m2, m3] != MAGIC {
            return Ok(None);
        }
        let [l0, l1, l2, l3, e0, e1, e2, e3, b0, b1, b2, b3, newest @ ..] = rest;
        let same = u32::from(word) == self.word
            && u32::from(u16::from_le_bytes([s0, s1])) == self.sectors
            && u32::from_le_bytes([l0, l1, l2, l3]) == self.sector;
        if !same {
            return Err(OtherLayout);
        }
        let header = Header {
            epoch: u32::from_le_bytes([e0, e1, e2, e3]),
            end_before: u32::from_le_bytes([b0, b1, b2, b3]),
            newest: u64::from_le_bytes(newest),
        };
        Ok((header.epoch != 0 && self.sector_of(header.epoch) == sector).then_some(header))
    }

    /// Erases an epoch's sector and writes its header.
    pub(crate) fn begin_sector(&mut self, header: &Header) -> Result<(), Failed> {
        let begin = self.begin(header.epoch);
        self.flash.erase(begin, begin.wrapping_add(self.sector)).map_err(|_| Failed)?;
        let [m0, m1, m2, m3] = MAGIC;
        let [s0, s1, ..] = self.sectors.to_le_bytes();
        let mut digest = CRC.digest();
        let mut pen = Pen::new(self, begin);
        for part in [
            &[m0, m1, m2, m3, pen.medium.word as u8, 0, s0, s1][..],
            &pen.medium.sector.to_le_bytes(),
            &header.epoch.to_le_bytes(),
            &header.end_before.to_le_bytes(),
            &header.newest.to_le_bytes(),
        ] {
            digest.update(part);
            pen.put(part)?;
        }
        pen.put(&digest.finalize().to_le_bytes())?;
        pen.finish()
    }

    /// What stands before the text of a record, without a look at its checksum.
    pub(crate) fn head(&mut self, place: Place) -> Option<Head> {
        let at = self.address(place);
        let end = at.checked_div(self.sector)?.wrapping_add(1).wrapping_mul(self.sector);
        self.head_at(at, end)
    }

    fn head_at(&mut self, at: u32, end: u32) -> Option<Head> {
        // No further than the record goes: what is torn behind it may be an error to read.
        let prefix = self.head_until(at, at.wrapping_add(PREFIX as u32), end)?;
        let text = prefix.text_at()?.wrapping_add(prefix.text_len());
        self.head_until(at, at.wrapping_add(text.min(HEAD) as u32), end)
    }

    fn head_until(&mut self, at: u32, until: u32, end: u32) -> Option<Head> {
        let mut chunk = [0; CHUNK];
        let len = round_up(until.wrapping_sub(at), self.word);
        let until = Some(at.wrapping_add(len)).filter(|until| *until <= end)?;
        let mut head = Head([0; HEAD]);
        for (to, from) in head.0.iter_mut().zip(self.read(at, until, &mut chunk)) {
            *to = *from;
        }
        Some(head)
    }

    /// The key of a record that is known to be whole, and the record but for its text.
    pub(crate) fn known(&mut self, place: Place) -> Option<(Head, Record<'static>)> {
        let head = self.head(place)?;
        let record = head.record(&[])?;
        Some((head, record))
    }

    /// Bytes that a record takes, with its commit word.
    pub(crate) fn size(&self, head: &Head) -> u32 {
        let text = head.text_at().unwrap_or(0).wrapping_add(head.text_len());
        round_up(text as u32, self.word).wrapping_add(self.word)
    }

    /// What begins at a place of an epoch's sector, `at` bytes from its begin.
    pub(crate) fn look(&mut self, epoch: u32, at: u32) -> Begins {
        let (begin, sector) = (self.begin(epoch), self.sector);
        let from = begin.wrapping_add(at);
        let Some(head) = self.head_at(from, begin.wrapping_add(sector)) else {
            return Begins::Nothing;
        };
        let size = self.size(&head);
        if at.checked_add(size).is_none_or(|end| end > sector) {
            return Begins::Nothing;
        }
        let mut digest = digest(epoch, at, &head);
        self.each_of_text(from, &head, |part| digest.update(part));
        let agrees = digest.finalize() == head.checksum() || self.defects.has(Defect::SkipChecksum);
        if !agrees {
            return Begins::Nothing;
        }
        let end = from.wrapping_add(size);
        let mut chunk = [0; CHUNK];
        let commit = self.read(end.wrapping_sub(self.word), end, &mut chunk);
        let committed = commit.iter().any(|byte| *byte != 0xff);
        Begins::Record(Found { head, size, committed })
    }

    /// Gives the text of a record, which is within its sector, in parts.
    fn each_of_text(&mut self, from: u32, head: &Head, mut each: impl FnMut(&[u8])) {
        let begin = head.text_at().unwrap_or(0);
        let end = begin.wrapping_add(head.text_len());
        let until = from.wrapping_add(round_up(end as u32, self.word));
        let mut chunk = [0; CHUNK];
        let mut read = 0usize;
        while read < end {
            let bytes = self.read(from.wrapping_add(read as u32), until, &mut chunk);
            let part =
                bytes.get(begin.saturating_sub(read)..end.wrapping_sub(read).min(bytes.len()));
            each(part.unwrap_or(&[]));
            if bytes.is_empty() {
                return;
            }
            read = read.wrapping_add(bytes.len());
        }
    }

    /// Reads a record's text, if there is room for it.
    pub(crate) fn text<'t>(
        &mut self,
        place: Place,
        head: &Head,
        to: &'t mut [u8],
    ) -> Option<&'t [u8]> {
        let to = to.get_mut(..head.text_len())?;
        let mut filled = 0usize;
        self.each_of_text(self.address(place), head, |part| {
            for byte in part {
                if let Some(place) = to.get_mut(filled) {
                    *place = *byte;
                }
                filled = filled.wrapping_add(1);
            }
        });
        (filled == to.len()).then_some(to)
    }

    /// Writes a record `at` bytes from the begin of an epoch's sector, where there is room for it.
    pub(crate) fn write(
        &mut self,
        (epoch, at): (u32, u32),
        mut head: Head,
        text: &[u8],
    ) -> Result<(), Failed> {
        let mut digest = digest(epoch, at, &head);
        digest.update(text);
        head.set_checksum(digest.finalize());
        let from = self.begin(epoch).wrapping_add(at);
        if self.defects.has(Defect::CommitEarly) {
            self.commit(from, &head)?;
        }
        let mut pen = Pen::new(self, from);
        pen.put(head.0.get(..head.text_at().unwrap_or(0)).unwrap_or(&[]))?;
        pen.put(text)?;
        pen.finish()?;
        if self.defects.has(Defect::CommitEarly) {
            return Ok(());
        }
        self.commit(from, &head)
    }

    /// Copies a record into an epoch's sector; its checksum is one for its new place.
    pub(crate) fn copy(
        &mut self,
        place: Place,
        old: &Head,
        (epoch, at): (u32, u32),
    ) -> Result<(), Failed> {
        let mut head = old.to_copy(place);
        let (source, from) = (self.address(place), self.begin(epoch).wrapping_add(at));
        let mut digest = digest(epoch, at, &head);
        self.each_of_text(source, old, |part| digest.update(part));
        head.set_checksum(digest.finalize());
        let (begin, len) = (head.text_at().unwrap_or(0), head.text_len());
        let mut pen = Pen::new(self, from);
        pen.put(head.0.get(..begin).unwrap_or(&[]))?;
        let mut copied = 0;
        while copied < len {
            let mut chunk = [0; CHUNK];
            let at = begin.wrapping_add(copied) as u32;
            let word = pen.medium.word;
            // A read begins with a whole word.
            let over = at.checked_rem(word).unwrap_or(0);
            let until = source.wrapping_add(round_up(begin.wrapping_add(len) as u32, word));
            let bytes =
                pen.medium.read(source.wrapping_add(at).wrapping_sub(over), until, &mut chunk);
            let part = bytes.get(over as usize..).unwrap_or(&[]);
            let part = part.get(..part.len().min(len.wrapping_sub(copied))).unwrap_or(&[]);
            if part.is_empty() {
                return Err(Failed);
            }
            pen.put(part)?;
            copied = copied.wrapping_add(part.len());
        }
        pen.finish()?;
        self.commit(from, &head)
    }

    fn commit(&mut self, from: u32, head: &Head) -> Result<(), Failed> {
        let at = from.wrapping_add(self.size(head)).wrapping_sub(self.word);
        let zeros = [0; CHUNK];
        let word = zeros.get(..self.word as usize).unwrap_or(&zeros);
        self.flash.write(at, word).map_err(|_| Failed)
    }
}

/// The flash was written with another layout.
pub(crate) struct OtherLayout;

fn digest(epoch: u32, at: u32, head: &Head) -> Digest<'static, u32> {
    let mut digest = CRC.digest();
    digest.update(&epoch.to_le_bytes());
    digest.update(&at.to_le_bytes());
    let (before, after) = head.covered();
    digest.update(before);
    digest.update(after);
    digest
}

/// Writes bytes one after another, in whole words.
struct Pen<'m, F> {
    medium: &'m mut Medium<F>,
    at: u32,
    chunk: [u8; CHUNK],
    filled: usize,
}

impl<'m, F: NorFlash> Pen<'m, F> {
    fn new(medium: &'m mut Medium<F>, at: u32) -> Pen<'m, F> {
        Pen { medium, at, chunk: [0xff; CHUNK], filled: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        for byte in bytes {
            if let Some(place) = self.chunk.get_mut(self.filled) {
                *place = *byte;
            }
            self.filled = self.filled.wrapping_add(1);
            if self.filled >= CHUNK {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// What is over of the last word keeps its bits at 1.
    fn finish(mut self) -> Result<(), Failed> {
        if self.filled == 0 { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Failed> {
        let len = round_up(self.filled as u32, self.medium.word);
        let bytes = self.chunk.get(..len as usize).unwrap_or(&self.chunk);
        self.medium.flash.write(self.at, bytes).map_err(|_| Failed)?;
        self.at = self.at.wrapping_add(len);
        (self.chunk, self.filled) = ([0xff; CHUNK], 0);
        Ok(())
    }
}
