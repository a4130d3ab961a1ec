//! A step of a mapping's run: rows, checkpoint and counters, all of it or nothing.

use jiff::Timestamp;
use uuid::Uuid;

use super::sqlite::{Batch, Beside};
use super::{Rows, postgres};
use crate::checkpoints::Checkpoint;
use crate::error::StoreError;
use crate::mappings::Mapping;
use crate::open::Tenant;
use crate::runs::{Run, StepOutcome};
use crate::sql::Database;

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

/// The number that this step's rows get, if it changes any. The checkpoint's row is held from its move to the commit: the
/// next step waits for it, so that numbers are committed in their order, and one that came to nothing is taken again by
/// the next.
fn next_change(mapping: &Mapping) -> Beside {
    Beside {
        sql: "SELECT changes + 1 AS change FROM mapping_checkpoints WHERE mapping_id = $1",
        values: vec![mapping.id.into()],
    }
}

/// What is written behind the rows: the run's counters, and the number, if a row has it.
fn count(run: Uuid, mapping: Uuid, (read, calls): (usize, u64), outcome: StepOutcome, change: i64) -> Vec<Beside> {
    let touched = outcome.inserted + outcome.updated > 0;
    let counters = Beside {
        sql:
            "UPDATE runs SET rows_read = rows_read + $1, inserted = inserted + $2, updated = updated + $3,
              deleted = deleted + $4, api_calls = api_calls + $5, last_change = coalesce($6, last_change) WHERE id = $7",
        values: vec![
            (read as i64).into(),
            (outcome.inserted as i64).into(),
            (outcome.updated as i64).into(),
            (outcome.deleted as i64).into(),
            (calls as i64).into(),
            touched.then_some(change).into(),
            run.into(),
        ],
    };
    let taken = Beside {
        sql: "UPDATE mapping_checkpoints SET changes = $1 WHERE mapping_id = $2",
        values: vec![change.into(), mapping.into()],
    };
    std::iter::once(counters).chain(touched.then_some(taken)).collect()
}

pub(crate) async fn commit(tenant: &Tenant, step: &Step<'_>, rows: Rows) -> Result<(Rows, StepOutcome), StoreError> {
    let fenced = || StoreError::Fenced { run: step.run.id.to_string() };
    let (run, mapping, told) = (step.run.id, step.mapping.id, (rows.len(), step.api_calls));
    let (mut rows, outcome) = match tenant.store().database() {
        Database::Sqlite { writer, bulk, .. } => {
            // Whoever holds it is the one that writes.
            let turn = writer.acquire().await.map_err(StoreError::doing("writing rows"))?;
            let batch = Batch {
                before: vec![move_checkpoint(step)],
                change: next_change(step.mapping),
                table: step.mapping.table.clone(),
                rows,
                after: Box::new(move |outcome, change| count(run, mapping, told, outcome, change)),
                now: step.now,
            };
            let (rows, outcome) = bulk.write(batch).await?;
            drop(turn);
            (rows, outcome.ok_or_else(fenced)?)
        }
        Database::Postgres { .. } => {
            let mut tx = tenant.write("writing rows").await?;
            tenant.hold_integration(&mut tx, step.run.integration_id).await?;
            let checkpoint = move_checkpoint(step);
            if tx.query(checkpoint.sql).bind_all(checkpoint.values).execute().await? != 1 {
                return Err(fenced());
            }
            let next = next_change(step.mapping);
            let change = tx.query(next.sql).bind_all(next.values).value("change").await?;
            let outcome = postgres::write(&mut tx, &step.mapping.table, &rows, step.now, change).await?;
            for beside in count(run, mapping, told, outcome, change) {
                tx.query(beside.sql).bind_all(beside.values).execute().await?;
            }
            tx.commit().await?;
            (rows, outcome)
        }
    };
    if outcome.inserted + outcome.updated > 0 {
        tenant.store().records().ring();
    }
    rows.clear();
    Ok((rows, outcome))
}
