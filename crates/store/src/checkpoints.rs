//! How far an object has been read.
//!
//! A *scan* walks the object in the order (SystemModstamp, Id). While it is under way its position is kept, so
//! that a run which was killed goes on there. When it ends, `through` moves to what was fixed at its start: the
//! org's time then, less the lag.

use jiff::Timestamp;
use sqlx::Row;

use crate::error::StoreError;
use crate::open::Store;

/// A place in the order (SystemModstamp, Id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// SystemModstamp.
    pub stamp: Timestamp,
    /// Id of the record (18 characters, which sort by byte); empty: before all records of that second.
    pub id: String,
}

/// An object's progress.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Everything stamped before this has been seen.
    pub through: Option<Timestamp>,
    /// The scan under way: where it stands, and what `through` becomes at its end.
    pub scan: Option<(Position, Timestamp)>,
}

impl Store {
    /// An object's checkpoint; the default one where nothing was read yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint(&self, integration: &str, object: &str) -> Result<Checkpoint, StoreError> {
        let row = sqlx::query("SELECT through, scan_stamp, scan_id, scan_until FROM checkpoints WHERE integration_id = $1 AND object = $2")
            .bind(integration)
            .bind(object)
            .fetch_optional(&self.reader)
            .await
            .map_err(StoreError::doing("reading the checkpoint"))?;
        let Some(row) = row else { return Ok(Checkpoint::default()) };
        let time = |column: &str| row.get::<Option<i64>, _>(column).and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let position = time("scan_stamp").zip(row.get::<Option<String>, _>("scan_id"));
        let position = position.map(|(stamp, id)| Position { stamp, id });
        Ok(Checkpoint { through: time("through"), scan: position.zip(time("scan_until")) })
    }
}
