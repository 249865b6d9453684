//! Images: what is one, and where they are kept.
//!
//! An image is one by its content: the magic number and the header that tells its dimensions, of
//! one of [`TYPES`], which has to be the type that its sender named. It is kept in a file of its own
//! in `images/` beside the store, named after the SHA-256 of its bytes, so that the same image is
//! kept once and a damaged one is never taken for good. The file and its directory entry are on the
//! disk when [`Images::keep`] returns: so before any promise rests on it.
//!
//! Which message has which image is in the store. An image that no message got, because the
//! exchange refused it or the server was killed before the commit, is removed: at once
//! ([`Images::refused`]), or when all are looked through (`super::sweep`).

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use imagesize::ImageType;
use sha2::{Digest, Sha256};

use super::event::NoImage;

/// Bytes of the longest image.
pub const LONGEST: usize = 1024 * 1024;
/// Images in memory where nothing is kept on a disk, in bytes.
const IN_MEMORY: u64 = 64 << 20;
/// Where their files are, beside the store.
pub const DIRECTORY: &str = "images";
/// The extension of a file that is being written.
const NEW: &str = "new";
/// What an image may be.
pub const TYPES: [&str; 4] = ["image/gif", "image/jpeg", "image/png", "image/webp"];

/// The SHA-256 of an image.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    fn of(bytes: &[u8]) -> Hash {
        Hash(Sha256::digest(bytes).into())
    }

    fn parse(name: &str) -> Option<Hash> {
        let mut hash = [0; 32];
        let digits = name.as_bytes();
        if digits.len() != 64
            || name.bytes().any(|b| !b.is_ascii_digit() && !(b'a'..=b'f').contains(&b))
        {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Hash(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether this is an image of the type that it says to be.
///
/// # Errors
/// Why it is none.
pub fn check(bytes: &[u8], kind: &str) -> Result<(), NoImage> {
    if bytes.len() > LONGEST {
        return Err(NoImage::TooLong);
    }
    let is = match imagesize::image_type(bytes) {
        Ok(ImageType::Gif) => "image/gif",
        Ok(ImageType::Jpeg) => "image/jpeg",
        Ok(ImageType::Png) => "image/png",
        Ok(ImageType::Webp) => "image/webp",
        _ => return Err(NoImage::Content),
    };
    let sized = imagesize::blob_size(bytes).is_ok_and(|size| size.width != 0 && size.height != 0);
    if is == kind && sized { Ok(()) } else { Err(NoImage::Content) }
}

/// All images.
#[derive(Debug)]
pub struct Images {
    /// Held for a moment only.
    inner: Mutex<Inner>,
    /// Held while an image is written, so that nobody rests on one that is half there.
    writing: Mutex<()>,
    /// Where the files are; without it all are in memory.
    directory: Option<PathBuf>,
    /// Bytes of all images together, at most.
    most: u64,
}

#[derive(Debug, Default)]
struct Inner {
    /// Images that are not in files.
    memory: HashMap<Hash, Bytes>,
    /// Bytes of all images together.
    bytes: u64,
    /// Those that messages may get.
    pending: HashMap<Hash, Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    /// How many messages.
    by: u32,
    /// No message has it yet.
    new: bool,
}

impl Images {
    /// Those in a directory, which is made if need be. Together they may have so many bytes.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(directory: &Path, most: u64) -> io::Result<Images> {
        fs::create_dir_all(directory)?;
        if let Some(parent) = directory.parent() {
            File::open(parent)?.sync_all()?;
        }
        let mut bytes = 0;
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if named(&entry).is_some() {
                bytes += entry.metadata()?.len();
            } else if entry.path().extension().is_some_and(|extension| extension == NEW) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(Images {
            inner: Mutex::new(Inner { bytes, ..Inner::default() }),
            writing: Mutex::new(()),
            directory: Some(directory.into()),
            most,
        })
    }

    /// Those that are gone when the server ends. Together they may have so many bytes, and no more
    /// than there is memory meant for them.
    pub fn in_memory(most: u64) -> Images {
        Images {
            inner: Mutex::default(),
            writing: Mutex::new(()),
            directory: None,
            most: most.min(IN_MEMORY),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, hash: Hash) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(hash.to_string()))
    }

    /// Keeps an image that a message is about to get: [`Images::accepted`] or [`Images::refused`]
    /// says what became of that. Waits for the disk.
    ///
    /// # Errors
    /// There is no room for more, or it cannot be written.
    pub fn keep(&self, image: &Bytes) -> io::Result<Hash> {
        let hash = Hash::of(image);
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pending) = self.inner().pending.get_mut(&hash) {
            pending.by += 1;
            return Ok(hash);
        }
        self.inner().pending.insert(hash, Pending { by: 1, new: false });
        if self.read(hash).is_ok() {
            return Ok(hash);
        }
        let kept = self.put(hash, image);
        let mut inner = self.inner();
        match inner.pending.get_mut(&hash) {
            Some(pending) if kept.is_ok() => pending.new = true,
            _ => drop(inner.pending.remove(&hash)),
        }
        kept.map(|()| hash)
    }

    fn put(&self, hash: Hash, image: &Bytes) -> io::Result<()> {
        // What is there is damaged.
        let damaged = self.path(hash).and_then(|path| fs::metadata(path).ok());
        let before = damaged.map_or(0, |metadata| metadata.len());
        let len = image.len() as u64;
        if self.inner().bytes.saturating_sub(before) + len > self.most {
            let most = self.most;
            return Err(io::Error::other(format!("there are {most} bytes of images already")));
        }
        if let Some(directory) = &self.directory {
            write(directory, hash, image)?;
        }
        let mut inner = self.inner();
        if self.directory.is_none() {
            inner.memory.insert(hash, image.clone());
        }
        inner.bytes = inner.bytes.saturating_sub(before) + len;
        Ok(())
    }

    /// A message has this image.
    pub fn accepted(&self, hash: Hash) {
        let mut inner = self.inner();
        if let Some(pending) = inner.pending.get_mut(&hash) {
            pending.new = false;
            inner.settle(hash);
        }
    }

    /// A message did not get this image: it is removed, unless another has it or may get it.
    pub fn refused(&self, hash: Hash) {
        let mut inner = self.inner();
        if inner.settle(hash) {
            self.remove(&mut inner, hash);
        }
    }

    /// All of them that are as old as this, in no order.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self, old: Duration) -> io::Result<Vec<Hash>> {
        let Some(directory) = &self.directory else {
            return Ok(self.inner().memory.keys().copied().collect());
        };
        let mut list = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let is_old = || {
                let changed = entry.metadata().and_then(|metadata| metadata.modified());
                changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= old))
            };
            list.extend(named(&entry).filter(|_| is_old()));
        }
        Ok(list)
    }

    /// No message has this image any more: it is removed, unless one may get it.
    pub fn removed(&self, hash: Hash) {
        let mut inner = self.inner();
        match inner.pending.get_mut(&hash) {
            Some(pending) => pending.new = true,
            None => self.remove(&mut inner, hash),
        }
    }

    fn remove(&self, inner: &mut Inner, hash: Hash) {
        let removed = match self.path(hash) {
            None => inner.memory.remove(&hash).map_or(0, |image| image.len() as u64),
            Some(path) => {
                let len = fs::metadata(&path).map(|metadata| metadata.len());
                len.and_then(|len| fs::remove_file(&path).map(|()| len)).unwrap_or_else(|error| {
                    tracing::warn!(%error, path = %path.display(), "an image stays behind");
                    0
                })
            }
        };
        inner.bytes = inner.bytes.saturating_sub(removed);
    }

    /// Reads an image.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is damaged.
    pub fn read(&self, hash: Hash) -> io::Result<Bytes> {
        let Some(path) = self.path(hash) else {
            let image = self.inner().memory.get(&hash).cloned();
            return image.ok_or_else(|| io::ErrorKind::NotFound.into());
        };
        let mut bytes = Vec::new();
        File::open(path)?.take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
        if Hash::of(&bytes) != hash {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its bytes are damaged"));
        }
        Ok(bytes.into())
    }
}

impl Inner {
    /// One message less may get the image. Returns whether nobody needs it any more.
    fn settle(&mut self, hash: Hash) -> bool {
        let Some(pending) = self.pending.get_mut(&hash) else { return false };
        pending.by -= 1;
        let (none, new) = (pending.by == 0, pending.new);
        if none {
            self.pending.remove(&hash);
        }
        none && new
    }
}

/// The image that a file is, by its name.
pub fn named(entry: &fs::DirEntry) -> Option<Hash> {
    entry.file_name().to_str().and_then(Hash::parse)
}

/// Writes an image under its name, in one step: whoever looks finds all of it or nothing.
fn write(directory: &Path, hash: Hash, image: &[u8]) -> io::Result<()> {
    let path = directory.join(hash.to_string());
    let new = path.with_extension(NEW);
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(image)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&new, &path));
    if let Err(error) = renamed {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    File::open(directory)?.sync_all()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The smallest of each type.
    pub const PNG: &[u8] =
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";
    const GIF: &[u8] = b"GIF89a\x01\0\x01\0\0\0\0;";
    const JPEG: &[u8] = b"\xff\xd8\xff\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x11\0\xff\xd9";
    const WEBP: &[u8] =
        b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0";

    #[test]
    fn an_image_is_one_by_its_content_and_of_the_type_that_it_says() {
        let images =
            [("image/png", PNG), ("image/gif", GIF), ("image/jpeg", JPEG), ("image/webp", WEBP)];
        for (kind, bytes) in images {
            for (other, _) in images {
                let expected = if kind == other { Ok(()) } else { Err(NoImage::Content) };
                assert_eq!(check(bytes, other), expected, "{kind} as {other}");
            }
            assert_eq!(check(&bytes[..10], kind), Err(NoImage::Content), "half of {kind}");
            let mut long = bytes.to_vec();
            long.resize(LONGEST, 0);
            assert_eq!(check(&long, kind), Ok(()));
            long.push(0);
            assert_eq!(check(&long, kind), Err(NoImage::TooLong));
        }
        for bytes in
            [&b""[..], b"<svg></svg>", b"BM\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"]
        {
            assert_eq!(check(bytes, "image/png"), Err(NoImage::Content));
        }
        let flat = PNG.to_vec().into_iter().enumerate().map(|(i, b)| if i == 19 { 0 } else { b });
        assert_eq!(check(&flat.collect::<Vec<_>>(), "image/png"), Err(NoImage::Content));
    }

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[test]
    fn an_image_is_kept_once_and_read_back_and_a_damaged_one_is_not_served() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("images");
        let images = Images::open(&path, 100).unwrap();
        let image = Bytes::from_static(PNG);
        let hash = images.keep(&image).unwrap();
        images.accepted(hash);
        assert_eq!(images.keep(&image).unwrap(), hash);
        images.refused(hash);
        assert_eq!(images.read(hash).unwrap(), image, "a message has it");
        assert_eq!(files(&path), 1);
        let images = Images::open(&path, 100).unwrap();
        assert_eq!(images.read(hash).unwrap(), image);

        let file = path.join(hash.to_string());
        fs::write(&file, b"something else").unwrap();
        assert_eq!(images.read(hash).unwrap_err().kind(), io::ErrorKind::InvalidData);
        // It is good again when somebody sends it again.
        assert_eq!(images.keep(&image).unwrap(), hash);
        assert_eq!(images.read(hash).unwrap(), image);
        assert_eq!(images.read(Hash([7; 32])).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn an_image_that_no_message_got_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let images = Images::open(directory.path(), 100).unwrap();
        let (png, gif) = (Bytes::from_static(PNG), Bytes::from_static(GIF));
        let hash = images.keep(&png).unwrap();
        images.keep(&png).unwrap();
        images.refused(hash);
        assert_eq!(files(directory.path()), 1, "another may get it");
        images.refused(hash);
        assert_eq!(files(directory.path()), 0);
        let (png, gif) = (images.keep(&png).unwrap(), images.keep(&gif).unwrap());
        images.accepted(gif);
        fs::write(directory.path().join("half.new"), b"").unwrap();
        fs::write(directory.path().join("else"), b"").unwrap();
        // As after a crash.
        let images = Images::open(directory.path(), 100).unwrap();
        let mut list = images.list(Duration::ZERO).unwrap();
        list.sort();
        let mut both = [png, gif];
        both.sort();
        assert_eq!(list, both);
        assert_eq!(images.list(Duration::from_secs(60)).unwrap(), [], "they are young");
        images.removed(png);
        assert_eq!(images.list(Duration::ZERO).unwrap(), [gif]);
        assert!(images.read(png).is_err());
        // One that a message may get just now stays, until that is refused.
        images.keep(&Bytes::from_static(GIF)).unwrap();
        images.removed(gif);
        assert!(images.read(gif).is_ok());
        images.refused(gif);
        assert!(images.read(gif).is_err());
        assert_eq!(files(directory.path()), 1, "what is not ours");
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let directory = tempfile::tempdir().unwrap();
        let on_disk = Images::open(directory.path(), PNG.len() as u64).unwrap();
        for images in [on_disk, Images::in_memory(PNG.len() as u64)] {
            let (png, gif) = (Bytes::from_static(PNG), Bytes::from_static(GIF));
            let hash = images.keep(&png).unwrap();
            assert!(images.keep(&gif).is_err());
            assert_eq!(images.keep(&png).unwrap(), hash, "it is there");
            images.refused(hash);
            images.refused(hash);
            assert!(images.keep(&gif).is_ok());
            assert!(images.read(hash).is_err());
        }
    }
}
