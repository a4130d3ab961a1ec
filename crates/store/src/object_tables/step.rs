//! A step of a mapping's run: rows, where the mapping stands, and counters, all of it or nothing.

use std::sync::Arc;

use jiff::Timestamp;

use super::sqlite::{Batch, Beside};
use super::{Rows, postgres};
use crate::error::StoreError;
use crate::mappings::{Mapping, MappingStep, RowError};
use crate::open::Tenant;
use crate::runs::{Run, StepOutcome};
use crate::sql::{Database, Value};

/// What rows do to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    /// What is new goes in, what is newer or different in the same version replaces.
    Rows,
    /// They have these columns of the table only, by their places, which are set in rows that are there in no newer
    /// version.
    Cells(&'a [usize]),
    /// They have no columns: they say how records went, or that they came back.
    Marks,
}

impl Change<'_> {
    pub(super) fn is_nothing(self) -> bool {
        matches!(self, Change::Cells([]))
    }
}

/// What a batch does with its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// They go in, or replace.
    Whole,
    /// Their columns are set in rows that are there.
    Cells,
    /// The same, and how the records went.
    Marks,
    /// None.
    Nothing,
}

/// Moves where the mapping stands, if that is still this run's and the integration connected.
fn stand(run: &Run, mapping: &Mapping, step: &MappingStep<'_>) -> Beside {
    let standing = step.standing;
    let scan = standing.checkpoint.scan.as_ref();
    Beside {
        sql: "UPDATE mapping_checkpoints SET through = $1, scan_stamp = $2, scan_id = $3, scan_until = $4,
              verified_through = $5, progress = $6 WHERE mapping_id = $7 AND fence = $8
              AND (SELECT status FROM integrations WHERE id = $9) <> 'inactive'",
        values: vec![
            standing.checkpoint.through.into(),
            scan.map(|(position, _)| position.stamp).into(),
            scan.map(|(position, _)| position.id.clone()).into(),
            scan.map(|(_, until)| *until).into(),
            standing.verified_through.into(),
            serde_json::to_value(&standing.progress).unwrap_or_default().into(),
            mapping.id.into(),
            run.fence().into(),
            run.integration_id.into(),
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
fn count(
    run: &Run,
    mapping: &Mapping,
    step: &MappingStep<'_>,
) -> impl FnOnce(StepOutcome, i64) -> Vec<Beside> + Send + use<> {
    let (run, mapping, spent) = (run.id, mapping.id, step.spent);
    let number = |n: u64| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    move |outcome, change| {
        let touched = outcome.inserted + outcome.updated > 0;
        let counters = Beside {
            sql: "UPDATE runs SET rows_read = rows_read + $1, inserted = inserted + $2, updated = updated + $3,
                  deleted = deleted + $4, api_calls = api_calls + $5, bytes = bytes + $6, drift_found = drift_found + $7,
                  failed_cells = failed_cells + $8, last_change = coalesce($9, last_change) WHERE id = $10",
            values: vec![
                number(spent.read),
                number(outcome.inserted),
                number(outcome.updated),
                number(outcome.deleted),
                number(spent.api_calls),
                number(spent.bytes),
                number(spent.drift_found),
                number(spent.failed_cells),
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
}

/// Of the records that are written, what was wrong before goes, and what is wrong now comes.
fn errors(run: &Run, mapping: &Mapping, step: &MappingStep<'_>, now: Timestamp) -> Vec<Beside> {
    let mut statements = Vec::new();
    if step.standing.progress.failing && matches!(step.change, Change::Rows) && !step.rows.is_empty() {
        let ids: Vec<String> = (0..step.rows.len()).map(|row| step.rows.id(row).to_owned()).collect();
        statements.push(Beside {
            sql: "DELETE FROM row_errors WHERE mapping_id = $1 AND record_id = ANY($2)",
            values: vec![mapping.id.into(), ids.into()],
        });
    }
    statements.extend(step.errors.iter().map(|error| {
        let RowError { record, column, reason, value } = error;
        Beside {
            sql: "INSERT INTO row_errors (business_id, mapping_id, record_id, column_name, run_id, reason, value, at)
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                  ON CONFLICT (mapping_id, record_id, column_name) DO UPDATE SET run_id = excluded.run_id,
                      reason = excluded.reason, value = excluded.value, at = excluded.at",
            values: vec![
                mapping.business_id.into(),
                mapping.id.into(),
                record.into(),
                column.into(),
                run.id.into(),
                reason.into(),
                value.into(),
                now.into(),
            ],
        }
    }));
    statements
}

pub(crate) async fn commit(
    tenant: &Tenant,
    run: &Run,
    mapping: &Mapping,
    step: MappingStep<'_>,
    now: Timestamp,
) -> Result<(Rows, StepOutcome), StoreError> {
    let fenced = || StoreError::Fenced { run: run.id.to_string() };
    let (stand, count, errors) =
        (stand(run, mapping, &step), count(run, mapping, &step), errors(run, mapping, &step, now));
    let (table, kind) = match step.change {
        _ if step.rows.is_empty() || step.change.is_nothing() => (mapping.table.clone(), Kind::Nothing),
        Change::Rows => (mapping.table.clone(), Kind::Whole),
        Change::Cells(columns) => (Arc::new(mapping.table.part(columns)), Kind::Cells),
        Change::Marks => (Arc::new(mapping.table.part(&[])), Kind::Marks),
    };
    let (mut rows, outcome) = match tenant.store().database() {
        Database::Sqlite { writer, bulk, .. } => {
            // Whoever holds it is the one that writes.
            let turn = writer.acquire().await.map_err(StoreError::doing("writing rows"))?;
            let after = Box::new(move |outcome, change| errors.into_iter().chain(count(outcome, change)).collect());
            let before = vec![stand];
            let batch = Batch { before, change: next_change(mapping), table, rows: step.rows, kind, after, now };
            let (rows, outcome) = bulk.write(batch).await?;
            drop(turn);
            (rows, outcome.ok_or_else(fenced)?)
        }
        Database::Postgres { .. } => {
            let mut tx = tenant.write("writing rows").await?;
            tenant.hold_integration(&mut tx, run.integration_id).await?;
            if tx.query(stand.sql).bind_all(stand.values).execute().await? != 1 {
                return Err(fenced());
            }
            let next = next_change(mapping);
            let change = tx.query(next.sql).bind_all(next.values).value("change").await?;
            let outcome = postgres::write(&mut tx, kind, &table, &step.rows, now, change).await?;
            for statement in errors.into_iter().chain(count(outcome, change)) {
                tx.query(statement.sql).bind_all(statement.values).execute().await?;
            }
            tx.commit().await?;
            (step.rows, outcome)
        }
    };
    if outcome.inserted + outcome.updated > 0 {
        tenant.store().records().ring();
    }
    rows.clear();
    Ok((rows, outcome))
}
