//! Images: the store knows whose bytes a message is, and not the bytes.

use crate::reader::{PAGE, unless_damaged};
use crate::rows::image_sum;
use crate::sum;
use rusqlite::{Connection, OptionalExtension, Result as Sql, Row, Statement};

/// By which an image is found: the SHA-256 of its bytes, or whatever else the host chooses. What it
/// is called, its type and its size are in the message's text.
pub type ImageHash = [u8; 32];

/// What [`image_row`] reads.
pub(crate) const IMAGE: &str = "SELECT sequence, hash, sum FROM images";

/// Reads a row of [`IMAGE`]; `None` if it is damaged.
pub(crate) fn image_row(row: &Row<'_>) -> Sql<Option<ImageHash>> {
    let (sequence, hash) = (row.get(0)?, row.get(1)?);
    Ok(sum::good(row.get(2)?, image_sum(sequence, &hash)).then_some(hash))
}

/// The statements of the reader, compiled once.
pub(crate) struct Images<'c> {
    image: Statement<'c>,
    hashes: Statement<'c>,
}

impl<'c> Images<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Sql<Self> {
        Ok(Images {
            image: connection.prepare(&format!("{IMAGE} WHERE sequence = ?1"))?,
            hashes: connection.prepare(
                "SELECT DISTINCT hash FROM images WHERE hash > ?1 ORDER BY hash LIMIT ?2",
            )?,
        })
    }

    /// `Err` if it is damaged.
    pub(crate) fn image(&mut self, sequence: u64) -> Sql<Result<Option<ImageHash>, ()>> {
        let found =
            self.image.query_row([sequence as i64], |row| Ok(unless_damaged(image_row(row))));
        Ok(match found.optional()?.transpose()? {
            None => Ok(None),
            Some(None) => Err(()),
            Some(Some(hash)) => Ok(Some(hash)),
        })
    }

    pub(crate) fn hashes(&mut self, after: Option<ImageHash>) -> Sql<Vec<ImageHash>> {
        // The empty blob is before all others.
        let after = after.as_ref().map_or(&[][..], |after| after);
        self.hashes.query_map((after, PAGE), |row| row.get(0))?.collect()
    }
}
