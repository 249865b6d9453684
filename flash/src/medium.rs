//! The flash as sectors of whole words: reading, checking and writing one record.

use crate::defect::{Defect, Defects};
use crate::index::{Place, WORDS};
use crate::record::{AROUND, CHECKSUM, HEAD, HEADER, Head, halves, whole};
use centrala_core::name::NAME_LENGTH;
use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};
use embedded_storage::nor_flash::NorFlash;

/// Read and written at once; a word has at most so many bytes.
pub(crate) const CHUNK: usize = 32;
const MAGIC: u32 = u32::from_le_bytes(*b"CFL2");
static CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
/// The checksum of whatever has its checksum behind it.
const GOOD: u32 = CRC_32_ISO_HDLC.residue ^ CRC_32_ISO_HDLC.xorout;

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

/// What a sector begins with.
pub(crate) enum Begins {
    Header(Header),
    /// A header of a store with another layout.
    OtherLayout,
    /// Bits that are all 1.
    Erased,
    /// Anything else.
    Something,
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

/// A word is a power of two.
const fn round_up(bytes: u32, word: u32) -> u32 {
    let rest = word.wrapping_sub(1);
    bytes.wrapping_add(rest) & !rest
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
        // No sum of lengths goes beyond 32 bits.
        if capacity > u32::MAX / 2
            || layout.sector.checked_rem(erased)? != 0
            || layout.sector.checked_rem(word)? != 0
        {
            return None;
        }
        let sectors = capacity.checked_div(layout.sector)?;
        let text = u16::try_from(layout.text.max(NAME_LENGTH)).ok()?;
        let longest = round_up(AROUND.checked_add(u32::from(text))?, word).checked_add(word)?;
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

    fn header_head(&self, header: &Header) -> Head {
        let [upper, lower] = halves(header.newest);
        let Header { epoch, end_before, .. } = *header;
        let fields = [MAGIC, self.sectors, self.sector, epoch, end_before, upper, lower];
        Head::new(HEADER, self.word as u8, 0, &fields)
    }

    /// Where the records of a sector begin.
    pub(crate) fn start(&self) -> u32 {
        self.size(&Head::new(HEADER, 0, 0, &[]))
    }

    /// Where records end at the latest: there is always room for a mark.
    pub(crate) fn limit(&self) -> u32 {
        self.sector.saturating_sub(self.size(&Head::mark()))
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

    pub(crate) fn place(&self, address: u32, tag: u32) -> Place {
        Place::new(address.checked_div(self.word).unwrap_or(0), tag)
    }

    /// Reads what stands at any place, word by word; whether it could be read.
    fn get(&mut self, mut at: u32, mut to: &mut [u8]) -> bool {
        while !to.is_empty() {
            let mut chunk = [0; CHUNK];
            let over = at & self.word.wrapping_sub(1);
            let len = round_up(over.wrapping_add(to.len() as u32), self.word) as usize;
            let words = chunk.get_mut(..len.min(CHUNK)).unwrap_or(&mut []);
            if self.flash.read(at.wrapping_sub(over), words).is_err() {
                return false;
            }
            let mut got = 0usize;
            for (to, from) in to.iter_mut().zip(words.iter().skip(over as usize)) {
                *to = *from;
                got = got.wrapping_add(1);
            }
            at = at.wrapping_add(got as u32);
            to = to.get_mut(got..).unwrap_or(&mut []);
        }
        true
    }

    /// What stands before the text of what may be a record, without a look at its checksum; `None`
    /// if it is none or does not fit its sector. No further than that is read: what is torn behind
    /// it may be an error to read.
    pub(crate) fn head(&mut self, at: u32) -> Option<Head> {
        let room = self.sector.checked_sub(at.checked_rem(self.sector)?)?;
        let mut bytes = [0; HEAD];
        let mut head = Head::EMPTY;
        // The first word tells how many there are.
        for _ in 0..2 {
            let before_text = bytes.get_mut(..head.text_at() as usize)?;
            if self.size(&head) > room || !self.get(at, before_text) {
                return None;
            }
            head = Head::read(&bytes)?;
        }
        (self.size(&head) <= room).then_some(head)
    }

    /// Bytes that a record takes, with its commit word.
    pub(crate) fn size(&self, head: &Head) -> u32 {
        let end = head.text_at().wrapping_add(head.text_len()).wrapping_add(CHECKSUM);
        round_up(end, self.word).wrapping_add(self.word)
    }

    /// The record at an address in an epoch's sector, if there is one; its text, as far as there
    /// is room for it.
    pub(crate) fn look(&mut self, epoch: u32, at: u32, text: &mut [u8]) -> Option<Found> {
        let head = self.head(at)?;
        let mut digest = self.digest(epoch, at);
        for word in head.words() {
            digest.update(&word.to_le_bytes());
        }
        let mut text = text.iter_mut().take(head.text_len() as usize);
        let mut from = at.wrapping_add(head.text_at());
        let end = from.wrapping_add(head.text_len()).wrapping_add(CHECKSUM);
        while from != end {
            let mut chunk = [0; CHUNK];
            let part = self.part(from, end, &mut chunk)?;
            digest.update(part);
            // In this order: what ends takes nothing from the other.
            for (byte, to) in part.iter().zip(text.by_ref()) {
                *to = *byte;
            }
            from = from.wrapping_add(part.len() as u32);
        }
        if digest.finalize() != GOOD && !self.defects.has(Defect::SkipChecksum) {
            return None;
        }
        let size = self.size(&head);
        let mut commit = [0xff; CHUNK];
        let word = commit.get_mut(..self.word as usize).unwrap_or(&mut []);
        let readable = self.get(at.wrapping_add(size).wrapping_sub(self.word), word);
        let committed = readable && commit.iter().any(|byte| *byte != 0xff);
        Some(Found { head, size, committed })
    }

    /// As much of what stands between two addresses as a chunk takes.
    fn part<'c>(&mut self, from: u32, end: u32, chunk: &'c mut [u8; CHUNK]) -> Option<&'c [u8]> {
        let len = (end.wrapping_sub(from) as usize).min(CHUNK);
        let part = chunk.get_mut(..len)?;
        self.get(from, part).then_some(part)
    }

    /// What a sector begins with.
    pub(crate) fn header(&mut self, sector: u32) -> Begins {
        let begin = sector.wrapping_mul(self.sector);
        let Some(Found { head, .. }) = self.look(0, begin, &mut []).filter(Found::is_header) else {
            let mut first = [0; 4];
            let erased = self.get(begin, &mut first) && first == [0xff; 4];
            return if erased { Begins::Erased } else { Begins::Something };
        };
        let [_, _, _, _, epoch, end_before, upper, lower, ..] = head.0;
        let header = Header { epoch, end_before, newest: whole(upper, lower) };
        if self.header_head(&header).0 != head.0 {
            Begins::OtherLayout
        } else if epoch == 0 || self.sector_of(epoch) != sector {
            Begins::Something
        } else {
            Begins::Header(header)
        }
    }

    /// Erases an epoch's sector and writes its header.
    pub(crate) fn begin_sector(&mut self, header: &Header) -> Result<(), Failed> {
        let begin = self.begin(header.epoch);
        self.flash.erase(begin, begin.wrapping_add(self.sector)).map_err(|_| Failed)?;
        self.write(0, begin, &self.header_head(header), &[], 0)
    }

    /// Writes a record at an address in an epoch's sector, where there is room for it. What is not
    /// in `text` of its text is copied from the address `copied`.
    pub(crate) fn write(
        &mut self,
        epoch: u32,
        at: u32,
        head: &Head,
        text: &[u8],
        copied: u32,
    ) -> Result<(), Failed> {
        let size = self.size(head);
        let early = self.defects.has(Defect::CommitEarly);
        if early {
            self.commit(at, size)?;
        }
        let digest = self.digest(epoch, at);
        let mut pen = Pen { medium: self, at, chunk: [0xff; CHUNK], filled: 0, digest };
        for word in head.words() {
            pen.put(&word.to_le_bytes())?;
        }
        pen.put(text)?;
        let mut from = copied;
        let rest = head.text_len().saturating_sub(text.len() as u32);
        let end = from.wrapping_add(rest);
        while from != end {
            let mut chunk = [0; CHUNK];
            let part = pen.medium.part(from, end, &mut chunk).ok_or(Failed)?;
            pen.put(part)?;
            from = from.wrapping_add(part.len() as u32);
        }
        let checksum = pen.digest.clone().finalize();
        pen.put(&checksum.to_le_bytes())?;
        if pen.filled != 0 {
            // What is over of the last word keeps its bits at 1.
            pen.flush()?;
        }
        if early { Ok(()) } else { self.commit(at, size) }
    }

    fn commit(&mut self, at: u32, size: u32) -> Result<(), Failed> {
        let zeros = [0; CHUNK];
        let word = zeros.get(..self.word as usize).unwrap_or(&zeros);
        let at = at.wrapping_add(size).wrapping_sub(self.word);
        self.flash.write(at, word).map_err(|_| Failed)
    }

    fn digest(&self, epoch: u32, at: u32) -> Digest<'static, u32, NoTable> {
        let at = at.checked_rem(self.sector).unwrap_or(0);
        let mut digest = CRC.digest();
        digest.update(&epoch.to_le_bytes());
        digest.update(&at.to_le_bytes());
        digest
    }
}

impl Found {
    fn is_header(&self) -> bool {
        self.head.kind() == HEADER
    }
}

/// Writes bytes one after another, in whole words.
struct Pen<'m, F> {
    medium: &'m mut Medium<F>,
    at: u32,
    chunk: [u8; CHUNK],
    filled: usize,
    digest: Digest<'static, u32, NoTable>,
}

impl<F: NorFlash> Pen<'_, F> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        self.digest.update(bytes);
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

    fn flush(&mut self) -> Result<(), Failed> {
        let len = round_up(self.filled as u32, self.medium.word);
        let bytes = self.chunk.get(..len as usize).unwrap_or(&self.chunk);
        self.medium.flash.write(self.at, bytes).map_err(|_| Failed)?;
        self.at = self.at.wrapping_add(len);
        (self.chunk, self.filled) = ([0xff; CHUNK], 0);
        Ok(())
    }
}
