//! What a request asks of a run beside what is due.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::schedule::{USABLE, ticket};
use super::{Ticket, Work};
use crate::audit::Action;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::{Row, Tx};

/// What a run is asked to do beside what is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct Asked {
    /// Prove that nothing is missing, now.
    pub verify: bool,
    /// Compare all ids, now.
    pub compare: bool,
    /// Read everything anew.
    pub reload: bool,
    /// Compare all ids now, and mark what is gone, however much it is: a person has looked. A paused mapping goes on.
    pub allow_gone: bool,
}

impl Asked {
    /// Whether nothing is.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// With what another one asks for.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            verify: self.verify || other.verify,
            compare: self.compare || other.compare,
            reload: self.reload || other.reload,
            allow_gone: self.allow_gone || other.allow_gone,
        }
    }
}

impl Tenant {
    /// Asks for a run of a mapping, as [`Tenant::request_sync`], with what it is to do beside what is due. That reaches
    /// whichever node runs it next. No ticket: there is no such work, its integration cannot be used, or it is paused.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn request_run(&self, mapping: Uuid, asked: Asked, now: Timestamp) -> Result<Option<Ticket>, StoreError> {
        let mut tx = self.write("asking for a sync run").await?;
        let row = tx
            .query(format!(
                "SELECT id FROM sync_work WHERE business_id = $1 AND id = $2 AND integration_id IN (SELECT i.id FROM integrations AS i WHERE {USABLE})
                 AND id IN (SELECT m.id FROM mappings AS m WHERE m.state <> 'paused') FOR UPDATE"
            ))
            .bind(self.business())
            .bind(mapping)
            .optional()
            .await?;
        if row.is_none() {
            return Ok(None);
        }
        // One statement: of a row that is changed twice in a transaction PostgreSQL holds the integration, too, which others
        // hold before they come to this row.
        let row = tx
            .query(
                "UPDATE sync_work SET requested = requested + 1, ready_at = CASE WHEN leased_until IS NOT NULL THEN ready_at
                 WHEN ready_at <= $1 THEN ready_at ELSE $1 END, asked_verify = (asked_verify OR $2),
                 asked_compare = (asked_compare OR $3), asked_reload = (asked_reload OR $4),
                 asked_allow_gone = (asked_allow_gone OR $5) WHERE id = $6 RETURNING *",
            )
            .bind(now)
            .bind(asked.verify)
            .bind(asked.compare)
            .bind(asked.reload)
            .bind(asked.allow_gone)
            .bind(mapping)
            .one()
            .await?;
        let ticket = ticket(&row)?;
        let detail = json!({"ticket": ticket.number(), "asked": asked});
        self.note(&mut tx, Action::SyncTriggered, Some(("mapping", mapping)), detail, now).await?;
        tx.commit().await?;
        Ok(Some(ticket))
    }
}

/// Takes what was asked for: the row is held, and has it no more once the transaction is committed.
pub(crate) async fn take_asked(tx: &mut Tx, business: Uuid, work: Work) -> Result<Asked, StoreError> {
    let row = tx.query("SELECT * FROM sync_work WHERE business_id = $1 AND id = $2 FOR UPDATE");
    let row = row.bind(business).bind(work.id()).optional().await?;
    let asked = row.as_ref().map(read).transpose()?.unwrap_or_default();
    if !asked.is_nothing() {
        tx.query(
            "UPDATE sync_work SET asked_verify = $1, asked_compare = $1, asked_reload = $1, asked_allow_gone = $1
             WHERE business_id = $2 AND id = $3",
        )
        .bind(false)
        .bind(business)
        .bind(work.id())
        .execute()
        .await?;
    }
    Ok(asked)
}

pub(super) fn read(row: &Row) -> Result<Asked, StoreError> {
    Ok(Asked {
        verify: row.get("asked_verify")?,
        compare: row.get("asked_compare")?,
        reload: row.get("asked_reload")?,
        allow_gone: row.get("asked_allow_gone")?,
    })
}
