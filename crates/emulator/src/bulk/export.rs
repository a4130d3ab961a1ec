//! The rows of a query job go into a file, slice by slice, with a second file that says where each row begins.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use rusqlite::types::ValueRef;

use super::io_error;
use super::job::{Format, Job, Phase};
use super::slice::write_quoted;
use super::work::{End, blocking, folder, released};
use crate::Shared;
use crate::api_error::ApiError;
use crate::org::Org;
use crate::schema::{FieldKind, SObject, Schema};
use crate::soql::plan::{Output, Plan, Render};
use crate::soql::run;

pub(super) const ROWS: &str = "rows.csv";
pub(super) const INDEX: &str = "rows.index";

/// A column of the file.
pub(super) struct Column {
    /// `Account.Name`
    pub(super) name: String,
    at: usize,
    render: Render,
    datetime: bool,
}

/// The columns in the order in which the query names them.
pub(super) fn columns(schema: &Schema, plan: &Plan) -> Vec<Column> {
    let mut columns = Vec::new();
    gather(schema, schema.object(&plan.object), "", &plan.outputs, &mut columns);
    columns.sort_by_key(|column| column.at);
    columns
}

fn gather(schema: &Schema, object: Option<&SObject>, path: &str, outputs: &[Output], into: &mut Vec<Column>) {
    for output in outputs {
        match output {
            Output::Field { key, column, render } => {
                let datetime = object.and_then(|o| o.field(key)).is_some_and(|field| field.kind == FieldKind::DateTime);
                into.push(Column { name: format!("{path}{key}"), at: *column, render: *render, datetime });
            }
            Output::Parent { key, object, fields, .. } => {
                gather(schema, schema.object(object), &format!("{path}{key}."), fields, into);
            }
            Output::Name { key, fields, .. } => gather(schema, None, &format!("{path}{key}."), fields, into),
            Output::Children { .. } | Output::TypeOf { .. } => {}
        }
    }
}

/// The header of every page.
pub(super) fn header(schema: &Schema, plan: &Plan, format: Format) -> Vec<u8> {
    let columns = columns(schema, plan);
    let mut out = Vec::new();
    // Writing to memory cannot fail.
    let _ = super::slice::write_line(&mut out, columns.iter().map(|column| column.name.as_str()), format);
    out
}

/// Lines of rows, and how long each is.
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    pub(super) lengths: Vec<u32>,
}

/// The rows as lines. One that is gone by now is left out.
pub(super) fn lines(
    org: &Org,
    plan: &Plan,
    columns: &[Column],
    rows: &[i64],
    format: Format,
) -> Result<Lines, ApiError> {
    let wanted = format!("[{}]", rows.iter().map(i64::to_string).collect::<Vec<_>>().join(","));
    let sql = format!(
        "SELECT {} FROM json_each(?) wanted CROSS JOIN \"{}\" t0 ON t0.rowid = wanted.value{} ORDER BY wanted.key",
        plan.columns.join(", "),
        plan.object,
        plan.joins
    );
    let mut statement = org.db.prepare_cached(&sql)?;
    let mut found = statement.query([wanted])?;
    let mut lines = Lines { bytes: Vec::with_capacity(rows.len() * 128), lengths: Vec::with_capacity(rows.len()) };
    while let Some(row) = found.next()? {
        let start = lines.bytes.len();
        for (nth, column) in columns.iter().enumerate() {
            if nth > 0 {
                lines.bytes.push(format.delimiter);
            }
            write_value(&mut lines.bytes, row.get_ref(column.at)?, column);
        }
        lines.bytes.extend(format.line_ending().as_bytes());
        lines.lengths.push(u32::try_from(lines.bytes.len() - start).unwrap_or(u32::MAX));
    }
    Ok(lines)
}

fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>, column: &Column) {
    match value {
        ValueRef::Null => out.extend(b"\"\""),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            let text = std::str::from_utf8(text).unwrap_or("");
            // Stored as the REST API writes it.
            let utc = text.strip_suffix("+0000").filter(|_| column.datetime).map(|at| format!("{at}Z"));
            // Writing to memory cannot fail.
            let _ = write_quoted(out, utc.as_deref().unwrap_or(text));
        }
        number => {
            out.push(b'"');
            run::write_value(out, number, column.render);
            out.push(b'"');
        }
    }
}

struct Files {
    rows: BufWriter<File>,
    index: BufWriter<File>,
    end: u64,
}

impl Files {
    fn create(folder: &Path) -> std::io::Result<Self> {
        let file = |name: &str| File::create(folder.join(name)).map(BufWriter::new);
        Ok(Files { rows: file(ROWS)?, index: file(INDEX)?, end: 0 })
    }

    fn write(&mut self, lines: &Lines) -> std::io::Result<()> {
        for length in &lines.lengths {
            self.index.write_all(&self.end.to_le_bytes())?;
            self.end += u64::from(*length);
        }
        self.rows.write_all(&lines.bytes)?;
        self.index.flush()?;
        self.rows.flush()
    }
}

/// Where in the file of rows the `row`-th begins.
pub(super) fn offset(folder: &Path, row: u64) -> Result<u64, ApiError> {
    let mut bytes = [0; 8];
    let read = File::open(folder.join(INDEX)).and_then(|mut index| {
        index.seek(SeekFrom::Start(row * 8))?;
        index.read_exact(&mut bytes)
    });
    read.map_err(|e| io_error(&e))?;
    Ok(u64::from_le_bytes(bytes))
}

pub(super) async fn run(shared: &Shared, job: Job) -> Result<End, End> {
    let Some(plan) = job.plan.clone() else { return Ok(End::Failed("InvalidJob : there is no query".to_owned())) };
    let (id, format) = (job.id, job.format);
    let folder = folder(shared, &id).await?;
    let files_failed = |e: std::io::Error| End::Failed(format!("Unknown : emulator files: {e}"));
    let mut files = blocking(move || Files::create(&folder)).await.map_err(files_failed)?;
    let asked = plan.clone();
    let (found, columns) = shared
        .with_org(move |org| {
            if let Err(refused) = org.in_time(&asked) {
                let timed_out = refused.code == "QUERY_TIMEOUT";
                return Err(if timed_out {
                    End::Failed(org.bulk.behaviour.timeout_message.clone())
                } else {
                    refused.into()
                });
            }
            let mut found = run::find(&org.db, &asked)?;
            if let (run::Found::Rows(rows), Some(seed)) = (&mut found, org.bulk.behaviour.shuffle_seed)
                && asked.order.is_empty()
            {
                fastrand::Rng::with_seed(seed).shuffle(rows);
            }
            Ok((found, columns(&org.schema, &asked)))
        })
        .await?;
    let run::Found::Rows(rows) = found else { return Ok(End::Complete) };
    let (plan, columns, rows) = (std::sync::Arc::new(plan), std::sync::Arc::new(columns), std::sync::Arc::new(rows));
    let mut from = 0;
    while released(shared, &id, Phase::InProgress).await {
        let (asked, plan, columns, wanted) = (id.clone(), plan.clone(), columns.clone(), rows.clone());
        let (slice, pause) = shared
            .with_org(move |org| {
                let behaviour = org.bulk.behaviour.clone();
                (one_slice(org, &asked, &plan, &columns, &wanted[from..], format), behaviour.slice_pause_ms)
            })
            .await;
        let Some(slice) = slice? else { return Ok(End::Stopped) };
        from += slice.taken;
        let (lines, written) = (slice.lines, files);
        files = blocking(move || {
            let mut files = written;
            files.write(&lines).map(|()| files)
        })
        .await
        .map_err(files_failed)?;
        if let Some(message) = slice.failure {
            return Ok(End::Failed(message));
        }
        if from == rows.len() {
            return Ok(End::Complete);
        }
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
    Ok(End::Stopped)
}

struct Slice {
    lines: Lines,
    /// How many of the rows that were found are done with.
    taken: usize,
    failure: Option<String>,
}

/// Nothing if the job was aborted or deleted.
fn one_slice(
    org: &mut Org,
    id: &str,
    plan: &Plan,
    columns: &[Column],
    rows: &[i64],
    format: Format,
) -> Result<Option<Slice>, ApiError> {
    let Some(processed) = org.bulk.jobs.get(id).filter(|job| job.phase == Phase::InProgress).map(|job| job.processed)
    else {
        return Ok(None);
    };
    let behaviour = &mut org.bulk.behaviour;
    let mut taken = rows.len().min(behaviour.slice_rows);
    let mut failure = None;
    if let Some(left) = behaviour.fail_after_rows.map(|n| n.saturating_sub(processed))
        && left <= taken as u64
    {
        taken = usize::try_from(left).unwrap_or(taken);
        behaviour.fail_after_rows = None;
        failure = Some(behaviour.fail_message.clone());
    }
    let lines = lines(org, plan, columns, &rows[..taken], format)?;
    if let Some(job) = org.bulk.jobs.get_mut(id) {
        job.processed += lines.lengths.len() as u64;
    }
    Ok(Some(Slice { lines, taken, failure }))
}
