//! A step of a mapping's run: rows, where the mapping stands, and counters, all of it or nothing.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::postgres::Batch;
use super::sqlite::{self, Beside};
use super::staged::Ahead;
use super::{Rows, contacts};
use crate::audit::Action;
use crate::error::StoreError;
use crate::mappings::{Mapping, MappingStep, RowError};
use crate::open::Tenant;
use crate::personal_data::{Markers, addresses, hold};
use crate::runs::{Run, StepOutcome};
use crate::sql::{Database, Tx, Value};

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
fn errors(
    run: &Run,
    mapping: &Mapping,
    step: &MappingStep<'_>,
    erased: &HashSet<String>,
    now: Timestamp,
) -> Vec<Beside> {
    let mut statements = Vec::new();
    if step.standing.progress.failing && matches!(step.change, Change::Rows) && !step.rows.is_empty() {
        let ids: Vec<String> = (0..step.rows.len()).map(|row| step.rows.id(row).to_owned()).collect();
        statements.push(Beside {
            sql: "DELETE FROM row_errors WHERE mapping_id = $1 AND record_id = ANY($2)",
            values: vec![mapping.id.into(), ids.into()],
        });
    }
    let told = step.errors.iter().filter(|error| !erased.contains(&error.record));
    statements.extend(told.map(|error| {
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
    let MappingStep { mut rows, change, standing, spent, errors } = step;
    // It ends: a key of erased persons that is there stays.
    loop {
        let step = MappingStep { rows, change, standing, spent, errors };
        let (given, outcome) = try_commit(tenant, run, mapping, step, now).await?;
        let Some(outcome) = outcome else {
            rows = given.into();
            continue;
        };
        if outcome.inserted + outcome.updated > 0 {
            tenant.store().records().ring();
        }
        let mut rows = given;
        rows.clear();
        return Ok((rows, outcome));
    }
}

/// No outcome: somebody was erased at this moment, the first of the business, or has made a lead of the winner of a merge, or
/// rows that waited are lost; nothing was written.
async fn try_commit(
    tenant: &Tenant,
    run: &Run,
    mapping: &Mapping,
    mut step: MappingStep<'_>,
    now: Timestamp,
) -> Result<(Rows, Option<StepOutcome>), StoreError> {
    let fenced = || StoreError::Fenced { run: run.id.to_string() };
    let (stand, count) = (stand(run, mapping, &step), count(run, mapping, &step));
    let kind = match step.change {
        _ if step.rows.is_empty() || step.change.is_nothing() => Kind::Nothing,
        Change::Rows => Kind::Whole,
        Change::Cells(_) => Kind::Cells,
        Change::Marks => Kind::Marks,
    };
    let table = match step.change {
        Change::Cells(columns) if kind == Kind::Cells => Arc::new(mapping.table.part(columns)),
        Change::Marks => Arc::new(mapping.table.part(&[])),
        _ => mapping.table.clone(),
    };
    match tenant.store().database() {
        Database::Sqlite { writer, bulk, .. } if !mapping.is_contacts() => {
            let markers = tenant.markers().await?;
            // Whoever holds it is the one that writes.
            let turn = writer.acquire().await.map_err(StoreError::doing("writing rows"))?;
            // Nobody can be erased before that: it takes the same turn.
            let mut tx = tenant.read("looking for erased persons").await?;
            let Some(erased) = leave_erased(&mut tx, mapping, &markers, &mut step).await? else {
                return Ok((step.rows.into(), None));
            };
            drop(tx);
            let errors = errors(run, mapping, &step, &erased, now);
            let after = Box::new(move |outcome, change| errors.into_iter().chain(count(outcome, change)).collect());
            let before = vec![stand];
            let batch =
                sqlite::Batch { before, change: next_change(mapping), table, rows: step.rows.into(), kind, after, now };
            let (rows, outcome) = bulk.write(batch).await?;
            drop(turn);
            Ok((rows, Some(outcome.ok_or_else(fenced)?)))
        }
        _ => {
            let ahead = step.rows.ahead.take().filter(|ahead| kind == Kind::Whole && ahead.is_of(tenant, mapping));
            let mut ahead = match ahead {
                Some(ahead) => ahead,
                None => {
                    let (rows, ahead) = Ahead::begin(tenant, mapping, step.change, step.rows.into()).await?;
                    step.rows = rows.into();
                    ahead
                }
            };
            match hold(&mut ahead.tx, tenant.business()).await {
                // Its connection died meanwhile, or the server has ended what lay still for too long.
                Err(error) if ahead.has_waited() => {
                    tracing::debug!(mapping = %mapping.name, %error, "rows that waited for their turn are brought anew");
                    return Ok((step.rows.into(), None));
                }
                held => held?,
            }
            let Ahead { markers, mut tx, source, .. } = ahead;
            tenant.hold_integration(&mut tx, run.integration_id).await?;
            let moved = tx.query(format!("{} RETURNING changes + 1 AS change", stand.sql)).bind_all(stand.values);
            let change = moved.optional().await?.ok_or_else(fenced)?.get("change")?;
            let Some(erased) = leave_erased(&mut tx, mapping, &markers, &mut step).await? else {
                return Ok((step.rows.into(), None));
            };
            source.take_out(&mut tx, &erased).await?;
            let (outcome, merged) = if mapping.is_contacts() {
                let Some(written) = contacts::write(tenant, &mut tx, mapping, &step, change, now).await? else {
                    return Ok((step.rows.into(), None));
                };
                written
            } else {
                // As far as a first load goes, no record has come before. One that comes twice costs this attempt.
                let is_new = mapping.standing.checkpoint.through.is_none();
                let batch = Batch { kind, table: &table, rows: &step.rows, source, now, change, is_new };
                (batch.write(&mut tx).await?, Vec::new())
            };
            let errors = errors(run, mapping, &step, &erased, now);
            for statement in errors.into_iter().chain(count(outcome, change)) {
                tx.query(statement.sql).bind_all(statement.values).execute().await?;
            }
            for (lead, detail) in merged {
                tenant.note(&mut tx, Action::DuplicateMerged, Some(("lead", lead)), detail, now).await?;
            }
            tx.commit().await?;
            Ok((step.rows.into(), Some(outcome)))
        }
    }
}

/// Takes the records of erased persons out, and says which. None: begin again (see [`Markers::erased_records`]).
async fn leave_erased(
    tx: &mut Tx,
    mapping: &Mapping,
    markers: &Markers,
    step: &mut MappingStep<'_>,
) -> Result<Option<HashSet<String>>, StoreError> {
    // What is left of somebody is a row, into which no column is filled again. Marks have no columns.
    let columns = match step.change {
        Change::Rows => addresses(&mapping.table),
        Change::Cells(columns) => addresses(&mapping.table.part(columns)),
        Change::Marks => return Ok(Some(HashSet::new())),
    };
    let rows = &step.rows;
    let records = (0..rows.len()).map(|row| {
        let emails = columns.iter().filter_map(|column| rows.text(row, *column)).collect();
        (rows.id(row), emails)
    });
    let erased = markers.erased_records(tx, mapping.business_id, records).await?;
    if let Some(erased) = erased.as_ref().filter(|erased| !erased.is_empty()) {
        step.rows.rows.take_out(erased);
    }
    Ok(erased)
}
