//! A step of a mapping's run: rows, checkpoint and counters, all of it or nothing.

use jiff::Timestamp;

use super::sqlite::{Batch, Beside};
use super::{Rows, postgres};
use crate::checkpoints::Checkpoint;
use crate::error::StoreError;
use crate::mappings::Mapping;
use crate::open::Tenant;
use crate::personal_data::{Markers, addresses, hold};
use crate::runs::{Run, StepOutcome};
use crate::sql::{Database, Tx};

/// What goes with the rows.
pub(crate) struct Step<'a> {
    pub(crate) run: &'a Run,
    pub(crate) mapping: &'a Mapping,
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) api_calls: u64,
    pub(crate) now: Timestamp,
}

/// Moves the checkpoint, if it is still this run's and the integration connected.
fn move_checkpoint(step: &Step<'_>) -> Beside {
    let scan = step.checkpoint.scan.as_ref();
    Beside {
        sql: "UPDATE mapping_checkpoints SET through = $1, scan_stamp = $2, scan_id = $3, scan_until = $4
              WHERE mapping_id = $5 AND fence = $6 AND (SELECT status FROM integrations WHERE id = $7) <> 'inactive'",
        values: vec![
            step.checkpoint.through.into(),
            scan.map(|(position, _)| position.stamp).into(),
            scan.map(|(position, _)| position.id.clone()).into(),
            scan.map(|(_, until)| *until).into(),
            step.mapping.id.into(),
            step.run.fence().into(),
            step.run.integration_id.into(),
        ],
    }
}

fn count(run: uuid::Uuid, read: usize, calls: u64, outcome: StepOutcome) -> Beside {
    Beside {
        sql: "UPDATE runs SET rows_read = rows_read + $1, inserted = inserted + $2, updated = updated + $3,
              deleted = deleted + $4, api_calls = api_calls + $5 WHERE id = $6",
        values: vec![
            (read as i64).into(),
            (outcome.inserted as i64).into(),
            (outcome.updated as i64).into(),
            (outcome.deleted as i64).into(),
            (calls as i64).into(),
            run.into(),
        ],
    }
}

pub(crate) async fn commit(tenant: &Tenant, step: &Step<'_>, rows: Rows) -> Result<(Rows, StepOutcome), StoreError> {
    let read = rows.len();
    let mut rows = rows;
    // It ends: a key of erased persons that is there stays.
    loop {
        let (given, outcome) = try_commit(tenant, step, rows, read).await?;
        rows = given;
        if let Some(outcome) = outcome {
            rows.clear();
            return Ok((rows, outcome));
        }
    }
}

/// No outcome: somebody was erased at this moment, the first of the business; nothing was written.
async fn try_commit(
    tenant: &Tenant,
    step: &Step<'_>,
    mut rows: Rows,
    read: usize,
) -> Result<(Rows, Option<StepOutcome>), StoreError> {
    let markers = tenant.markers().await?;
    let fenced = || StoreError::Fenced { run: step.run.id.to_string() };
    let (run, calls) = (step.run.id, step.api_calls);
    match tenant.store().database() {
        Database::Sqlite { writer, bulk, .. } => {
            // Whoever holds it is the one that writes.
            let turn = writer.acquire().await.map_err(StoreError::doing("writing rows"))?;
            // Nobody can be erased before that: it takes the same turn.
            let mut tx = tenant.read("looking for erased persons").await?;
            if !leave_erased(&mut tx, tenant, &markers, step, &mut rows).await? {
                return Ok((rows, None));
            }
            drop(tx);
            let batch = Batch {
                before: vec![move_checkpoint(step)],
                table: step.mapping.table.clone(),
                rows,
                after: Box::new(move |outcome| vec![count(run, read, calls, outcome)]),
                now: step.now,
            };
            let (rows, outcome) = bulk.write(batch).await?;
            drop(turn);
            Ok((rows, Some(outcome.ok_or_else(fenced)?)))
        }
        Database::Postgres { .. } => {
            let mut tx = tenant.write("writing rows").await?;
            hold(&mut tx, tenant.business()).await?;
            tenant.hold_integration(&mut tx, step.run.integration_id).await?;
            let checkpoint = move_checkpoint(step);
            if tx.query(checkpoint.sql).bind_all(checkpoint.values).execute().await? != 1 {
                return Err(fenced());
            }
            if !leave_erased(&mut tx, tenant, &markers, step, &mut rows).await? {
                return Ok((rows, None));
            }
            let outcome = postgres::write(&mut tx, &step.mapping.table, &rows, step.now).await?;
            let counters = count(run, read, calls, outcome);
            tx.query(counters.sql).bind_all(counters.values).execute().await?;
            tx.commit().await?;
            Ok((rows, Some(outcome)))
        }
    }
}

/// Takes the records of erased persons out. False: begin again (see [`Markers::erased_records`]).
async fn leave_erased(
    tx: &mut Tx,
    tenant: &Tenant,
    markers: &Markers,
    step: &Step<'_>,
    rows: &mut Rows,
) -> Result<bool, StoreError> {
    let columns = addresses(&step.mapping.table);
    let records = (0..rows.len()).map(|row| {
        let emails = columns.iter().filter_map(|column| rows.text(row, *column)).collect();
        (rows.id(row), emails)
    });
    let Some(erased) = markers.erased_records(tx, tenant.business(), records).await? else { return Ok(false) };
    if !erased.is_empty() {
        rows.take_out(&erased);
    }
    Ok(true)
}
