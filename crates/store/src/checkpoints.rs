//! How far an object has been read.
//!
//! A *scan* walks the object in the order (SystemModstamp, Id). While it is under way its position is kept, so
//! that a run which was killed goes on there. When it ends, `through` moves to what was fixed at its start: the
//! org's time then, less the lag.

use jiff::Timestamp;
use uuid::Uuid;

use crate::error::StoreError;
use crate::open::Tenant;

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

impl Tenant {
    /// An object's checkpoint; the default one where nothing was read yet.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn checkpoint(&self, integration: Uuid, object: &str) -> Result<Checkpoint, StoreError> {
        let mut tx = self.read("reading the checkpoint").await?;
        let row = tx
            .query("SELECT through, scan_stamp, scan_id, scan_until FROM checkpoints WHERE business_id = $1 AND integration_id = $2 AND object = $3")
            .bind(self.business())
            .bind(integration)
            .bind(object)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(Checkpoint::default()) };
        let position = row.find("scan_stamp")?.zip(row.find("scan_id")?).map(|(stamp, id)| Position { stamp, id });
        Ok(Checkpoint { through: row.find("through")?, scan: position.zip(row.find("scan_until")?) })
    }
}
