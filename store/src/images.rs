//! Images: the store knows whose bytes a message is, and not the bytes.

use crate::pages::{PAGE, unless_damaged};
use crate::rows::image_sum;
use crate::sum;
use rusqlite::{Connection, OptionalExtension, Result as Sql, Row, Statement};

/// An image that a message is. Its bytes are the host's, who finds them by their hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Of its bytes.
    pub hash: [u8; 32],
    /// The name that its file had.
    pub name: Vec<u8>,
    /// Its media type.
    pub kind: Vec<u8>,
    /// How many bytes it has.
    pub size: u32,
}

/// What [`image_row`] reads.
pub(crate) const IMAGE: &str = "SELECT sequence, hash, name, kind, size, sum FROM images";

/// Reads a row of [`IMAGE`]; `None` if it is damaged.
pub(crate) fn image_row(row: &Row<'_>) -> Sql<Option<Image>> {
    let (sequence, hash, size) = (row.get(0)?, row.get(1)?, row.get(4)?);
    let image = Image { hash, name: row.get(2)?, kind: row.get(3)?, size };
    let sum = image_sum(sequence, &hash, &image.name, &image.kind, size);
    Ok(sum::good(row.get(5)?, sum).then_some(image))
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
    pub(crate) fn image(&mut self, sequence: u64) -> Sql<Result<Option<Image>, ()>> {
        let found =
            self.image.query_row([sequence as i64], |row| Ok(unless_damaged(image_row(row))));
        Ok(match found.optional()?.transpose()? {
            None => Ok(None),
            Some(None) => Err(()),
            Some(Some(image)) => Ok(Some(image)),
        })
    }

    pub(crate) fn hashes(&mut self, after: Option<[u8; 32]>) -> Sql<Vec<[u8; 32]>> {
        // The empty blob is before all others.
        let after = after.as_ref().map_or(&[][..], |after| after);
        self.hashes.query_map((after, PAGE), |row| row.get(0))?.collect()
    }
}
