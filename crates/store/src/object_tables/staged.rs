//! Rows that go to the database before it is their turn to be written.
//!
//! Into PostgreSQL many rows go by `COPY` into a temporary table, and from there into theirs. The first half concerns nobody
//! else: it takes no lock that others wait for. So the rows of a step go there while those of the step before are written, on
//! another connection, and PostgreSQL uses two processors for a run: 200,000 rows took 0.94 to 0.99 s one after the other, and
//! 0.76 to 0.80 s so, on two processors that the program shares with the server.
//!
//! What comes after that, from the first lock to the commit, stays one step after the other. To insert while the step before
//! commits would take the rows' locks before the checkpoint's: whoever erases a person would wait for a run without a gap,
//! and whoever changes a mapping could wait for a step that waits for him.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use sqlx::error::BoxDynError;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;
use uuid::Uuid;

use super::binary::{COPY_END, COPY_HEAD, given, oids, tuple};
use super::postgres::Source;
use super::step::Change;
use super::{ObjectTable, Rows};
use crate::error::StoreError;
use crate::mappings::Mapping;
use crate::open::Tenant;
use crate::personal_data::Markers;
use crate::sql::{Database, Tx};

/// Rows from which on `COPY` is worth a temporary table, which takes PostgreSQL four milliseconds to make and to forget.
const MANY: usize = 2_000;
/// Bytes that are encoded before they are sent: PostgreSQL reads them while the next are.
const PIECE: usize = 128 * 1024;

/// Rows of a step. Those that [`Tenant::stage_rows`] answers may be with the database already; others go there as they are
/// written.
///
/// ```
/// use tieline_store::object_tables::{Rows, StagedRows};
///
/// let mut rows = Rows::new(1);
/// let mut row = rows.row();
/// row.text(0, "Ada");
/// row.end("003000000000001AAA", None, None, None);
/// assert_eq!(StagedRows::from(rows).len(), 1);
/// ```
pub struct StagedRows {
    pub(super) rows: Rows,
    pub(super) ahead: Option<Ahead>,
}

impl From<Rows> for StagedRows {
    fn from(rows: Rows) -> Self {
        Self { rows, ahead: None }
    }
}

impl From<StagedRows> for Rows {
    fn from(staged: StagedRows) -> Self {
        staged.rows
    }
}

impl Deref for StagedRows {
    type Target = Rows;

    fn deref(&self) -> &Rows {
        &self.rows
    }
}

impl fmt::Debug for StagedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedRows").field("rows", &self.rows).field("ahead", &self.ahead.is_some()).finish()
    }
}

/// A transaction that has the rows, or is to be given them.
pub(super) struct Ahead {
    /// Whoever is erased while it waits is asked for within it.
    pub(super) markers: Markers,
    pub(super) tx: Tx,
    pub(super) source: Source,
    /// Business and mapping.
    of: (Uuid, Uuid),
    /// What it may wait on.
    permit: Option<OwnedSemaphorePermit>,
}

impl Ahead {
    /// A transaction without rows.
    async fn empty(tenant: &Tenant, mapping: &Mapping) -> Result<Self, StoreError> {
        let markers = tenant.markers().await?;
        let tx = tenant.write("writing rows").await?;
        Ok(Self { markers, tx, source: Source::Arrays, of: (tenant.business(), mapping.id), permit: None })
    }

    /// Gives it the rows, if they go before the statement that writes them.
    async fn take(mut self, mapping: &Mapping, change: Change<'_>, mut rows: Rows) -> Result<(Rows, Self), StoreError> {
        if are_many(mapping, change, &rows) {
            (self.tx, rows, self.source) = stage(self.tx, mapping.table.clone(), rows).await?;
        }
        Ok((rows, self))
    }

    pub(super) async fn begin(
        tenant: &Tenant,
        mapping: &Mapping,
        change: Change<'_>,
        rows: Rows,
    ) -> Result<(Rows, Self), StoreError> {
        Self::empty(tenant, mapping).await?.take(mapping, change, rows).await
    }

    pub(super) fn is_of(&self, tenant: &Tenant, mapping: &Mapping) -> bool {
        self.of == (tenant.business(), mapping.id)
    }

    /// It has waited for its turn.
    pub(super) fn has_waited(&self) -> bool {
        self.permit.is_some()
    }
}

/// Whether rows go by way of a temporary table.
fn are_many(mapping: &Mapping, change: Change<'_>, rows: &Rows) -> bool {
    matches!(change, Change::Rows) && !mapping.is_contacts() && rows.len() >= MANY
}

impl Tenant {
    /// Lets rows go to the database while those of the step before are written, if that gains time: many rows, on PostgreSQL,
    /// while connections can be spared. Nothing is written and nobody held up until [`Tenant::commit_rows`] is given them, with
    /// the same mapping and change; dropped, they leave nothing behind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stage_rows(
        &self,
        mapping: &Mapping,
        change: Change<'_>,
        rows: Rows,
    ) -> Result<StagedRows, StoreError> {
        let Database::Postgres { ahead, .. } = self.store().database() else { return Ok(rows.into()) };
        if !are_many(mapping, change, &rows) {
            return Ok(rows.into());
        }
        let Ok(permit) = ahead.clone().try_acquire_owned() else { return Ok(rows.into()) };
        // Where there is no connection to be had, they go in their turn.
        let Ok(empty) = Ahead::empty(self, mapping).await else { return Ok(rows.into()) };
        let (rows, ahead) = empty.take(mapping, change, rows).await?;
        let ahead = Ahead { permit: Some(permit), ..ahead };
        Ok(StagedRows { rows, ahead: Some(ahead).filter(|ahead| ahead.source == Source::Copied) })
    }
}

/// Brings many rows into a temporary table of the transaction, if this database lets us have one.
///
/// Before the transaction takes any lock: while PostgreSQL waits for the rest of a `COPY`, no timeout ends the transaction of a
/// process that was frozen in the middle of it. And in a task of its own, which ends whoever waits for it: given up after
/// its last piece, it leaves an answer that sqlx takes for the one to the connection's next statement.
async fn stage(mut tx: Tx, table: Arc<ObjectTable>, rows: Rows) -> Result<(Tx, Rows, Source), StoreError> {
    let staged = async move {
        let may = "SELECT has_database_privilege(current_database(), 'TEMPORARY') AS may";
        let source = if tx.query(may).value::<bool>("may").await? {
            copy(&mut tx, &table, &rows).await?;
            Source::Copied
        } else {
            Source::Arrays
        };
        Ok((tx, rows, source))
    };
    match tokio::spawn(staged.in_current_span()).await {
        Ok(staged) => staged,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::doing("writing rows")(sqlx::Error::WorkerCrashed)),
        },
    }
}

async fn copy(tx: &mut Tx, table: &ObjectTable, rows: &Rows) -> Result<(), StoreError> {
    let (columns, names) = (given(table), table.quoted_columns());
    let typed: Vec<_> =
        names.iter().zip(&columns).map(|(name, (_, kind))| format!("{name} {}", oids(*kind).2)).collect();
    tx.query(format!("CREATE TEMP TABLE _given ({}) ON COMMIT DROP", typed.join(", "))).execute().await?;
    let mut chosen = rows.each_once().into_iter();
    let fill = move |out: &mut Vec<u8>| -> Result<bool, BoxDynError> {
        while out.len() < PIECE {
            let Some(row) = chosen.next() else { return Ok(false) };
            tuple(rows, row, &columns, out)?;
        }
        Ok(true)
    };
    tx.postgres_copy("COPY pg_temp._given FROM STDIN (FORMAT binary)", (COPY_HEAD, &COPY_END), fill).await
}
