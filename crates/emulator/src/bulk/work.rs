//! Jobs are worked off in the background, slice by slice, so that other requests are answered in between.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use csv::StringRecord;

use super::behaviour::Behaviour;
use super::columns::Columns;
use super::csv_file::{CsvFile, check_line_endings};
use super::export;
use super::job::{Job, Phase};
use super::rows::Task;
use super::slice::{self, Next, Results, UPLOAD};
use crate::Shared;
use crate::api_error::ApiError;
use crate::org::Org;

/// How a job ends of itself.
pub(super) enum End {
    Complete,
    Failed(String),
    /// Somebody else has ended it.
    Stopped,
}

impl From<ApiError> for End {
    /// The emulator's own faults; what Salesforce refuses ends as a message or in a row.
    fn from(error: ApiError) -> Self {
        End::Failed(format!("Unknown : {}", error.message))
    }
}

/// Begins the work on a job whose state is `UploadComplete`.
pub(super) fn start(shared: &Shared, id: String) {
    shared.workers.spawn(work(shared.clone(), id));
}

async fn work(shared: Shared, id: String) {
    if !released(&shared, &id, Phase::UploadComplete).await {
        return;
    }
    let Some(job) = change(&shared, &id, |job| job.phase = Phase::InProgress).await else { return };
    let started = Instant::now();
    let query = job.operation.is_query();
    let end = if query { export::run(&shared, job).await } else { ingest(&shared, job).await };
    let (phase, error) = match end {
        Ok(End::Complete) => (Phase::JobComplete, None),
        Ok(End::Failed(message)) | Err(End::Failed(message)) => (Phase::Failed, Some(message)),
        Ok(End::Stopped) | Err(End::Stopped | End::Complete) => return,
    };
    let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    change(&shared, &id, move |job| (job.phase, job.error, job.processing_ms) = (phase, error, took)).await;
}

/// Waits while jobs in this state are held; false if the job has left it otherwise.
pub(super) async fn released(shared: &Shared, id: &str, phase: Phase) -> bool {
    let moved = shared.with_org(|org| org.bulk.moved.clone()).await;
    loop {
        // Made before the look, so that no change in between is missed.
        let notified = moved.notified();
        let asked = id.to_owned();
        let go = shared
            .with_org(move |org| {
                let there = org.bulk.jobs.get(&asked).is_some_and(|job| job.phase == phase);
                there.then_some(org.bulk.behaviour.hold != Some(phase))
            })
            .await;
        match go {
            Some(true) => return true,
            None => return false,
            Some(false) => notified.await,
        }
    }
}

/// The job after a change; nothing if it has ended or is gone.
async fn change(shared: &Shared, id: &str, change: impl FnOnce(&mut Job) + Send + 'static) -> Option<Job> {
    let id = id.to_owned();
    shared
        .with_org(move |org| {
            let now = org.now();
            let job = org.bulk.jobs.get_mut(&id).filter(|job| !job.phase.is_end())?;
            change(job);
            job.changed = now;
            Some(job.clone())
        })
        .await
}

/// Work that reads or writes files.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down.
            Err(_) => std::future::pending().await,
        },
    }
}

/// How many of the next rows are written before the job is made to fail, if it is.
fn until_failure(behaviour: &Behaviour, processed: u64, rows: usize) -> Option<usize> {
    let left = behaviour.fail_after_rows?.saturating_sub(processed);
    usize::try_from(left).ok().filter(|left| *left <= rows)
}

async fn ingest(shared: &Shared, job: Job) -> Result<End, End> {
    let (id, format) = (job.id.clone(), job.format);
    let folder = folder(shared, &id).await?;
    let upload = folder.join(UPLOAD);
    let opened = blocking(move || {
        check_line_endings(&upload, format)?;
        let file = CsvFile::open(&upload, format)?;
        let results = Results::create(&folder, format).map_err(|e| format!("Unknown : emulator files: {e}"))?;
        Ok((file, results))
    });
    let (mut file, mut results) = opened.await.map_err(End::Failed)?;
    let (header, line, from) = (file.header.clone(), file.header_line.clone(), file.position());
    let (task, columns) = shared
        .with_org(move |org| {
            if let Some(job) = org.bulk.jobs.get_mut(&job.id) {
                (job.header, job.unprocessed_from) = (line, from);
            }
            let object = org.object(&job.object)?;
            let columns = Columns::find(&org.schema, object, &header, job.operation).map_err(End::Failed)?;
            let task = Task {
                operation: job.operation,
                object: object.name.clone(),
                prefix: object.key_prefix.clone(),
                external_id: job.external_id,
                user: job.created_by,
            };
            Ok::<_, End>((task, std::sync::Arc::new(columns)))
        })
        .await?;
    while released(shared, &id, Phase::InProgress).await {
        let most = shared.with_org(|org| org.bulk.behaviour.slice_rows).await;
        let (rows, read) = blocking(move || (file.next(most), file)).await;
        file = read;
        let at_end = rows.records.len() < most;
        let broken = rows.broken.clone();
        let (id, task, columns) = (id.clone(), task.clone(), columns.clone());
        let (next, pause, written) = shared
            .with_org(move |org| {
                let next = one_slice(org, &id, &task, &columns, &rows, &mut results);
                (next, org.bulk.behaviour.slice_pause_ms, results)
            })
            .await;
        results = written;
        match (next?, broken) {
            (Next::Stop, _) => return Ok(End::Stopped),
            (Next::Fail(message), _) | (Next::Go, Some(message)) => return Ok(End::Failed(message)),
            (Next::Go, None) if at_end => return Ok(End::Complete),
            (Next::Go, None) => {}
        }
        if pause > 0 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
    Ok(End::Stopped)
}

fn one_slice(
    org: &mut Org,
    id: &str,
    task: &Task,
    columns: &Columns,
    rows: &super::csv_file::Rows,
    results: &mut Results,
) -> Result<Next, ApiError> {
    let processed = org.bulk.jobs.get(id).map_or(0, |job| job.processed);
    let Some(fail_at) = until_failure(&org.bulk.behaviour, processed, rows.records.len()) else {
        return slice::write(org, id, task, columns, &rows.records, rows.end, results);
    };
    let before = &rows.records[..fail_at];
    // A record knows where it began.
    let end = rows.records.get(fail_at).and_then(StringRecord::position).map_or(rows.end, csv::Position::byte);
    Ok(match slice::write(org, id, task, columns, before, end, results)? {
        Next::Go => {
            org.bulk.behaviour.fail_after_rows = None;
            Next::Fail(org.bulk.behaviour.fail_message.clone())
        }
        other => other,
    })
}

/// The folder of a job's files.
pub(super) async fn folder(shared: &Shared, id: &str) -> Result<PathBuf, End> {
    let id = id.to_owned();
    let folder = shared.with_org(move |org| org.bulk.folder(&id)).await;
    folder.map_err(|e| End::Failed(format!("Unknown : emulator files: {e}")))
}
