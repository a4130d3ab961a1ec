//! What became of an ingest job's rows: three CSV files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path as FilePath;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::job::{Job, Phase};
use super::slice::{FAILED, SUCCESSFUL, UPLOAD, result_header};
use super::stream::Content;
use super::{io_error, job};
use crate::Shared;
use crate::api_error::ApiError;

pub(super) async fn read(
    State(shared): State<Shared>,
    Path((version, id, part)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    let asked = headers.clone();
    shared
        .answer(version, headers, move |call| {
            let job = job(call.org, &id, false)?.clone();
            let folder = call.org.bulk.folder(&job.id).map_err(|e| io_error(&e))?;
            // Clients differ in the case of the last letters.
            let content = match part.to_ascii_lowercase().as_str() {
                "successfulresults" => rows(&job, &folder, SUCCESSFUL)?,
                "failedresults" => rows(&job, &folder, FAILED)?,
                "unprocessedrecords" => unprocessed(&job, &folder)?,
                _ => return Err(ApiError::not_found()),
            };
            Ok(content.answer("text/csv", &asked))
        })
        .await
}

/// The answer to who asks too early is not documented.
pub(super) fn not_finished(job: &Job) -> ApiError {
    ApiError::bad("INVALIDJOBSTATE", format!("Results are not available while the job is {:?}", job.phase))
}

fn rows(job: &Job, folder: &FilePath, name: &str) -> Result<Content, ApiError> {
    if !job.phase.is_end() {
        return Err(not_finished(job));
    }
    Content::text(result_header(name, job)).and_file(&folder.join(name), 0, None)
}

/// The upload from the first row on that was not processed, under its own header.
fn unprocessed(job: &Job, folder: &FilePath) -> Result<Content, ApiError> {
    if !job.phase.is_end() {
        return Err(not_finished(job));
    }
    let path = folder.join(UPLOAD);
    if job.header.is_empty() {
        // Nobody has read the file: all of it is left.
        let whole = Content::text("");
        return if job.phase == Phase::JobComplete { Ok(whole) } else { whole.and_file(&path, 0, None) };
    }
    let mut header = job.header.clone();
    header.extend(job.format.line_ending().as_bytes());
    let from = job.unprocessed_from + u64::from(begins_with_newline(&path, job.unprocessed_from)?);
    Content::text(header).and_file(&path, from, None)
}

/// Of CR and LF the reader takes the second one only with the row behind it.
fn begins_with_newline(path: &FilePath, at: u64) -> Result<bool, ApiError> {
    let mut first = [0];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(at))?;
        file.read(&mut first)
    });
    Ok(read.map_err(|e| io_error(&e))? == 1 && first[0] == b'\n')
}
