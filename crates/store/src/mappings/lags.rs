//! How far the mappings of all businesses are, for whoever runs the service.

use jiff::Timestamp;

use super::MappingState;
use crate::error::StoreError;
use crate::open::Store;

/// The mappings of an object, of all businesses, that are kept in step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLag {
    /// API name of the object.
    pub object: String,
    /// How far the one that lags most has been read; none: none has been read to its end.
    pub through: Option<Timestamp>,
    /// Up to when the least proven one is; none: nothing is proven of any.
    pub verified_through: Option<Timestamp>,
}

impl Store {
    /// How far mappings are, by object, and how many there are in each state. Those that are paused, and those whose
    /// integration is not connected, do not lag.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mapping_lags(&self) -> Result<(Vec<ObjectLag>, Vec<(MappingState, i64)>), StoreError> {
        let mut tx = self.read("reading how far mappings are").await?;
        let rows = tx
            .query(
                "SELECT m.object, min(c.through) AS through, min(c.verified_through) AS verified_through FROM mappings AS m
                 JOIN mapping_checkpoints AS c ON c.mapping_id = m.id JOIN integrations AS i ON i.id = m.integration_id
                 WHERE m.state <> 'paused' AND i.status IN ('active', 'error') GROUP BY m.object",
            )
            .all()
            .await?;
        let lag = |row: &crate::sql::Row| {
            Ok(ObjectLag {
                object: row.get("object")?,
                through: row.find("through")?,
                verified_through: row.find("verified_through")?,
            })
        };
        let lags = rows.iter().map(lag).collect::<Result<_, StoreError>>()?;
        let rows = tx.query("SELECT state, count(*) AS n FROM mappings GROUP BY state").all().await?;
        let counted = |state: MappingState| {
            let row = rows.iter().find(|row| row.get::<String>("state").is_ok_and(|name| name == state.name()));
            Ok((state, row.map(|row| row.get("n")).transpose()?.unwrap_or(0)))
        };
        let states = MappingState::ALL.into_iter().map(counted).collect::<Result<_, StoreError>>()?;
        Ok((lags, states))
    }
}
