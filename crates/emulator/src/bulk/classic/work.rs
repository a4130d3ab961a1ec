//! What becomes of a batch. It has ten thousand rows at most, which fit into memory.

use std::io::Cursor;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};

use super::batch::{Batch, State, request_file};
use super::job::{ContentType, Job};
use super::outcome::{result_file, write_results};
use crate::Shared;
use crate::api_error::ApiError;
use crate::bulk::columns::{self, Columns};
use crate::bulk::csv_file::CsvFile;
use crate::bulk::export;
use crate::bulk::io_error;
use crate::bulk::job::{Format, Operation, Phase};
use crate::bulk::query::allowed_plan;
use crate::bulk::rows::{CHUNK, Done, Row, Task, write_chunk};
use crate::org::Org;
use crate::soql::run;

/// "A batch can contain a maximum of 10,000 records."
const MOST_ROWS: usize = 10_000;

type Written = Vec<Result<Done, ApiError>>;

pub(super) async fn work(shared: Shared, job: String, batch: String, turn: Arc<tokio::sync::Mutex<()>>) {
    let _turn = turn.lock().await;
    if !begun(&shared, &job, &batch, State::Queued, Phase::UploadComplete).await {
        return;
    }
    change(&shared, &job, &batch, |batch| {
        // It may have been ended meanwhile.
        if batch.state == State::Queued {
            batch.state = State::InProgress;
        }
    })
    .await;
    if !begun(&shared, &job, &batch, State::InProgress, Phase::InProgress).await {
        return;
    }
    let started = Instant::now();
    let end = process(&shared, &job, &batch).await;
    let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    change(&shared, &job, &batch, move |batch| {
        batch.processing_ms = took;
        if batch.state != State::InProgress {
            return;
        }
        (batch.state, batch.message) = match end {
            Ok(()) => (State::Completed, None),
            Err(message) => (State::Failed, Some(message)),
        };
    })
    .await;
}

/// Waits while the state is held; false if the batch has left it otherwise.
async fn begun(shared: &Shared, job: &str, batch: &str, state: State, held: Phase) -> bool {
    let moved = shared.with_org(|org| org.bulk.moved.clone()).await;
    loop {
        let notified = moved.notified();
        let (job, batch) = (job.to_owned(), batch.to_owned());
        let go = shared
            .with_org(move |org| {
                let there = find(org, &job, &batch).is_some_and(|batch| batch.state == state);
                there.then_some(org.bulk.behaviour.hold != Some(held))
            })
            .await;
        match go {
            Some(true) => return true,
            None => return false,
            Some(false) => notified.await,
        }
    }
}

fn find<'a>(org: &'a mut Org, job: &str, batch: &str) -> Option<&'a mut Batch> {
    org.bulk.classic.get_mut(job)?.batches.iter_mut().find(|b| b.id == batch)
}

async fn change(shared: &Shared, job: &str, batch: &str, change: impl FnOnce(&mut Batch) + Send + 'static) {
    let (job, batch) = (job.to_owned(), batch.to_owned());
    shared
        .with_org(move |org| {
            let now = org.now();
            if let Some(batch) = find(org, &job, &batch) {
                change(batch);
                batch.changed = now;
            }
        })
        .await;
}

async fn process(shared: &Shared, job: &str, batch: &str) -> Result<(), String> {
    let (id, asked) = (job.to_owned(), batch.to_owned());
    let prepared = shared.with_org(move |org| prepare(org, &id, &asked)).await?;
    let Prepared { task, rows, folder, content_type } = match prepared {
        None => return Ok(()),
        Some(prepared) => prepared,
    };
    let mut rows = rows.into_iter();
    let mut outcomes: Written = Vec::new();
    loop {
        let slice = shared.with_org(|org| org.bulk.behaviour.slice_rows).await;
        let next: Vec<_> = rows.by_ref().take(slice).collect();
        if next.is_empty() {
            break;
        }
        let (id, asked, task) = (job.to_owned(), batch.to_owned(), task.clone());
        let (written, pause) =
            shared.with_org(move |org| (write(org, &id, &asked, &task, next), org.bulk.behaviour.slice_pause_ms)).await;
        outcomes.extend(written.map_err(|e| e.message)?);
        tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
    }
    let file = folder.join(result_file(batch));
    std::fs::write(file, write_results(content_type, &outcomes)).map_err(|e| io_error(&e).message)
}

struct Prepared {
    task: Task,
    rows: Vec<Result<Row, ApiError>>,
    folder: PathBuf,
    content_type: ContentType,
}

/// Reads a batch; nothing more is to be done for a query.
fn prepare(org: &mut Org, id: &str, batch: &str) -> Result<Option<Prepared>, String> {
    let folder = org.bulk.folder(id).map_err(|e| io_error(&e).message)?;
    let request = std::fs::read(folder.join(request_file(batch))).map_err(|e| io_error(&e).message)?;
    let Some(job) = org.bulk.classic.get(id) else { return Ok(None) };
    if job.operation.is_query() {
        return query(org, id, batch, &request, &folder).map(|()| None);
    }
    let object = org.object(&job.object).map_err(|e| e.message)?;
    let task = Task {
        operation: job.operation,
        object: object.name.clone(),
        prefix: object.key_prefix.clone(),
        external_id: job.external_id.clone(),
        user: job.created_by.clone(),
    };
    let rows = match job.content_type {
        ContentType::Csv => csv_rows(org, job, request)?,
        ContentType::Json => json_rows(org, job, &request)?,
    };
    if rows.len() > MOST_ROWS {
        // Wording unverified.
        return Err(format!("InvalidBatch : {} records are more than {MOST_ROWS}", rows.len()));
    }
    Ok(Some(Prepared { task, rows, folder, content_type: job.content_type }))
}

fn csv_rows(org: &Org, job: &Job, request: Vec<u8>) -> Result<Vec<Result<Row, ApiError>>, String> {
    // Both kinds of line endings are taken.
    let mut file = CsvFile::read(Box::new(Cursor::new(request)), Format::PLAIN)?;
    let object = org.object(&job.object).map_err(|e| e.message)?;
    let columns = Columns::find(&org.schema, object, &file.header, job.operation)?;
    let rows = file.next(MOST_ROWS + 1);
    match rows.broken {
        Some(message) => Err(message),
        None => Ok(rows.records.iter().map(|record| columns.row(record)).collect()),
    }
}

fn json_rows(org: &Org, job: &Job, request: &[u8]) -> Result<Vec<Result<Row, ApiError>>, String> {
    let records: Vec<Map<String, Value>> =
        serde_json::from_slice(request).map_err(|e| format!("InvalidBatch : Records not found: {e}"))?;
    let object = org.object(&job.object).map_err(|e| e.message)?;
    let read = records.into_iter().map(|record| {
        let mut row = Row { id: None, body: Map::new(), references: Vec::new() };
        for (key, value) in record {
            match value {
                _ if key == "attributes" => {}
                value if key.eq_ignore_ascii_case("Id") => {
                    row.id = value.as_str().filter(|id| !id.is_empty()).map(str::to_owned);
                }
                _ if job.operation.is_delete() => {}
                Value::Object(parent) => {
                    let by = parent.iter().find(|(key, _)| *key != "attributes");
                    let (field, value) = by.ok_or_else(|| no_column(&key, &object.name))?;
                    let lookup = columns::reference(&org.schema, object, &key, field)
                        .map_err(|_| no_column(&key, &object.name))?;
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    row.references.push((lookup, text));
                }
                value if object.field(&key).is_some() => {
                    row.body.insert(key, value);
                }
                _ => return Err(no_column(&key, &object.name)),
            }
        }
        if job.operation == Operation::Insert && row.id.is_some() {
            let message = "cannot specify Id in an insert call";
            return Err(ApiError::bad("INVALID_FIELD_FOR_INSERT_UPDATE", message).on_fields(&["Id"]));
        }
        Ok(row)
    });
    Ok(read.collect())
}

/// Seen in an answer to a batch in JSON.
fn no_column(key: &str, object: &str) -> ApiError {
    let message = format!("Unexpected JsonMappingException: No such column '{key}' on sobject of type {object}");
    ApiError::bad("INVALID_FIELD", message).on_fields(&[])
}

fn write(
    org: &mut Org,
    job: &str,
    batch: &str,
    task: &Task,
    rows: Vec<Result<Row, ApiError>>,
) -> Result<Written, ApiError> {
    org.db.execute_batch("SAVEPOINT bulk")?;
    let mut outcomes = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let chunk = rows.by_ref().take(CHUNK).collect();
        outcomes.extend(write_chunk(org, task, chunk));
    }
    org.db.execute_batch("RELEASE bulk")?;
    if let Some(batch) = find(org, job, batch) {
        batch.processed += outcomes.len() as u64;
        batch.failed += outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64;
    }
    Ok(outcomes)
}

/// Runs a query into the file of its result.
fn query(org: &mut Org, id: &str, batch: &str, request: &[u8], folder: &std::path::Path) -> Result<(), String> {
    let failed = |e: ApiError| format!("InvalidBatch : Failed to process query: {}: {}", e.code, e.message);
    let Some(job) = org.bulk.classic.get(id) else { return Ok(()) };
    let soql = std::str::from_utf8(request).map_err(|_| "InvalidBatch : the query is not UTF-8".to_owned())?;
    let plan =
        allowed_plan(org, soql.trim_start_matches('\u{feff}'), job.operation).map_err(|error| match error.code {
            // The first Bulk API has a name of its own for it.
            "API_ERROR" => failed(ApiError { code: "FUNCTIONALITY_NOT_ENABLED", ..error }),
            _ => failed(error),
        })?;
    org.in_time(&plan).map_err(failed)?;
    let run::Found::Rows(rows) = run::find(&org.db, &plan).map_err(failed)? else { return Ok(()) };
    let (content, count) = match job.content_type {
        ContentType::Csv => {
            let columns = export::columns(&org.schema, &plan);
            let mut content = export::header(&org.schema, &plan, Format::PLAIN);
            let lines = export::lines(org, &plan, &columns, &rows, Format::PLAIN).map_err(failed)?;
            content.extend(&lines.bytes);
            (content, lines.lengths.len())
        }
        ContentType::Json => {
            let records = run::records(&org.db, &plan, &rows, &job.version).map_err(failed)?;
            ([b"[".as_slice(), &records, b"]"].concat(), rows.len())
        }
    };
    let result = org.new_id("752");
    std::fs::write(folder.join(&result), content).map_err(|e| io_error(&e).message)?;
    if let Some(batch) = find(org, id, batch) {
        (batch.processed, batch.result) = (count as u64, Some(result));
    }
    Ok(())
}
