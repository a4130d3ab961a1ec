//! The files of a bulk job, and what becomes of them.

use std::path::{Path as FilePath, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::StreamExt;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::jobs::{Job, Phase, job, open_job};
use super::land::{self, Operation};
use super::schema::{Object, field, find, text};
use crate::Shared;
use crate::datacloud::Engine;
use crate::datacloud::refusal::{RestError, settled};
use crate::rest::json_response;

/// The bounds of a file and of a job.
const LARGEST: usize = 150 * 1_000_000;
const MOST_FILES: usize = 100;

/// Where Hyper, and so its clients, cannot read.
fn folder(engine: &Engine, id: &str) -> PathBuf {
    engine.folder.join("uploads").join(id)
}

/// Keeps a file until the job is closed.
pub(super) async fn upload(State(shared): State<Shared>, Path(id): Path<String>, body: Body) -> Response {
    let kept = async {
        let engine = shared.engine.as_deref().ok_or_else(RestError::no_engine)?;
        let asked = id.clone();
        let number = shared
            .with_org(move |org| {
                let job = open_job(org, &asked)?;
                if job.files.len() == MOST_FILES {
                    return Err(RestError::new(400, "a job takes at most 100 files"));
                }
                job.begun += 1;
                Ok(job.begun)
            })
            .await?;
        let file = folder(engine, &id).join(format!("{number}.csv"));
        let kept = match keep(&file, body).await {
            // The job may have been closed in the meantime.
            Ok(true) => shared.with_org(move |org| open_job(org, &id).map(|job| job.files.push(number))).await,
            Ok(false) => Err(RestError::new(413, "a file has at most 150 MB")),
            Err(error) => Err(error.into()),
        };
        if kept.is_err() {
            let _ = std::fs::remove_file(&file);
        }
        kept?;
        Ok(json_response(202, json!({"accepted": true}).to_string().into_bytes()))
    };
    settled(&shared, kept.await).await
}

/// Writes the body as it comes; false if it is too long.
async fn keep(file: &FilePath, body: Body) -> anyhow::Result<bool> {
    let folder = file.parent().context("a file is in a folder")?;
    tokio::fs::create_dir_all(folder).await?;
    let mut kept = tokio::fs::File::create(file).await?;
    let (mut body, mut length) = (body.into_data_stream(), 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        length += chunk.len();
        if length > LARGEST {
            return Ok(false);
        }
        kept.write_all(&chunk).await?;
    }
    kept.flush().await?;
    Ok(true)
}

/// Removes the files of a job.
pub(super) fn forget(shared: &Shared, id: &str) {
    if let Some(engine) = &shared.engine {
        // A job without files has no folder.
        let _ = std::fs::remove_dir_all(folder(engine, id));
    }
}

/// What follows upon `UploadComplete`.
pub(super) async fn work_off(shared: Shared, id: String) {
    let Some(engine) = shared.engine.clone() else { return };
    let Some(begun) = change(&shared, &id, |job| job.phase = Phase::InProgress).await else { return };
    let started = Instant::now();
    let end = match process(&engine, &id, &begun).await {
        Ok(()) => Phase::JobComplete,
        Err(error) => {
            tracing::warn!(job = id, "a bulk job has failed: {error:#}");
            Phase::Failed
        }
    };
    forget(&shared, &id);
    let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    change(&shared, &id, move |job| (job.phase, job.processing_ms) = (end, took)).await;
}

/// The job after a change; nothing if it was deleted.
async fn change(shared: &Shared, id: &str, change: impl FnOnce(&mut Job) + Send + 'static) -> Option<Job> {
    let id = id.to_owned();
    shared
        .with_org(move |org| {
            let now = org.now();
            let job = job(org, &id).ok()?;
            change(job);
            job.changed = now;
            Some(job.clone())
        })
        .await
}

async fn process(engine: &Engine, id: &str, job: &Job) -> anyhow::Result<()> {
    let object = find(&job.connector, &job.object).context("the object is gone")?;
    let (uploads, operation, target) = (folder(engine, id), job.operation, land::file(engine));
    let files: Vec<PathBuf> = job.files.iter().map(|number| uploads.join(format!("{number}.csv"))).collect();
    let (object, target) = tokio::task::spawn_blocking(move || {
        let read = read(&object, operation, &files, &target);
        if read.is_err() {
            // Half of it is worth nothing.
            let _ = std::fs::remove_file(&target);
        }
        read.map(|()| (object, target))
    })
    .await??;
    if let Err(refused) = land::land(engine, &object, operation, &target).await? {
        bail!("{}", refused.message);
    }
    Ok(())
}

/// Reads all files of a job into one for Hyper. One field that does not fit fails the whole.
fn read(object: &Object, operation: Operation, files: &[PathBuf], target: &FilePath) -> anyhow::Result<()> {
    let mut rows = csv::Writer::from_path(target)?;
    let mut number = 0u64;
    for file in files {
        // Deletions have no header: one or two columns, the key first.
        let has_headers = operation == Operation::Upsert;
        let mut csv = csv::ReaderBuilder::new().has_headers(has_headers).flexible(!has_headers).from_path(file)?;
        let places = match operation {
            Operation::Upsert => places(object, csv.headers()?)?,
            Operation::Delete => vec![0],
        };
        for record in csv.into_records() {
            let record = record?;
            number += 1;
            rows.write_field(number.to_string())?;
            for (at, (column, place)) in object.table.columns.iter().zip(&places).enumerate() {
                let value = text(column.kind, record.get(*place).unwrap_or("")).map_err(anyhow::Error::msg);
                let value = value.with_context(|| format!("row {number}, field {}", field(column)))?;
                if at == 0 && value.is_empty() {
                    bail!("row {number} has no key");
                }
                rows.write_field(value)?;
            }
            rows.write_record(None::<&[u8]>)?;
        }
    }
    rows.flush()?;
    Ok(())
}

/// Where in the file each field is. All must be there; others are passed over.
fn places(object: &Object, header: &csv::StringRecord) -> anyhow::Result<Vec<usize>> {
    let place = |name: &str| header.iter().position(|column| column == name);
    let places = object
        .table
        .columns
        .iter()
        .map(|column| place(field(column)).with_context(|| format!("the file has no column {}", field(column))));
    places.collect()
}
