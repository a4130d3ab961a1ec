//! The file of an ingest job. It goes from the connection to the disk and never lies in memory whole.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::job::{Phase, Upload};
use super::slice::UPLOAD;
use super::{io_error, job};
use crate::Shared;
use crate::api_error::ApiError;

/// Where an upload that has been let in goes.
#[derive(Debug, Clone)]
struct Target {
    id: String,
    path: PathBuf,
    most: u64,
}

pub(super) async fn upload(
    State(shared): State<Shared>,
    Path((version, id, part)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let asked = headers.clone();
    let mut response = shared
        .clone()
        .answer(version, headers, move |call| {
            if !part.eq_ignore_ascii_case("batches") {
                return Err(ApiError::not_found());
            }
            suits(&asked)?;
            let most = call.org.bulk.behaviour.upload_bytes;
            let job = job(call.org, &id, false)?;
            if job.phase != Phase::Open {
                // Wording unverified.
                let message = format!("Uploading data is not allowed while the job is {:?}", job.phase);
                return Err(ApiError::bad("INVALIDJOBSTATE", message));
            }
            if job.upload != Upload::None {
                return Err(second_upload(&job.id));
            }
            job.upload = Upload::Coming;
            let id = job.id.clone();
            let path = call.org.bulk.folder(&id).map_err(|e| io_error(&e))?.join(UPLOAD);
            let mut response = StatusCode::CREATED.into_response();
            response.extensions_mut().insert(Target { id, path, most });
            Ok(response)
        })
        .await;
    let Some(target) = response.extensions_mut().remove::<Target>() else {
        // A client that is still sending would otherwise see a broken connection and not the answer.
        drain(body).await;
        return response;
    };
    let coming = Coming { shared: &shared, id: target.id.clone(), settled: false };
    match keep(&target, body).await {
        Ok(()) => {
            coming.settle(Upload::Here).await;
            response
        }
        Err(refused) => {
            coming.settle(Upload::None).await;
            refused.into_response()
        }
    }
}

fn suits(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_ascii_lowercase();
    let (kind, coding) = (text("content-type"), text("content-encoding"));
    let unsupported = |header: &str, value: &str| {
        let message = format!("{header} header specified in HTTP request is not supported: {value}");
        ApiError::new(415, "UNSUPPORTED_MEDIA_TYPE", message)
    };
    if kind.split(';').next().map(str::trim) != Some("text/csv") {
        return Err(unsupported("Content-Type", &kind));
    }
    // Salesforce unpacks gzip; the emulator has no library for it.
    if !matches!(coding.as_str(), "" | "identity") {
        return Err(unsupported("Content-Encoding", &coding));
    }
    Ok(())
}

/// Seen in two spellings of "multiple"; the id has 15 characters.
fn second_upload(id: &str) -> ApiError {
    ApiError::bad(
        "BULK_API_ERROR",
        format!(
            "Found multiple contents for job: <{}>, please 'Close' / 'Abort' / 'Delete' the current Job then create a new Job and make sure you only do 'PUT' once on a given Job.",
            &id[..15]
        ),
    )
}

async fn drain(body: Body) {
    let mut body = body.into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

async fn keep(target: &Target, body: Body) -> Result<(), ApiError> {
    let mut file = tokio::fs::File::create(&target.path).await.map_err(|e| io_error(&e))?;
    let (mut body, mut length) = (body.into_data_stream(), 0);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| ApiError::bad("UNKNOWN_EXCEPTION", "the request's body ended too early"))?;
        length += chunk.len() as u64;
        if length <= target.most {
            file.write_all(&chunk).await.map_err(|e| io_error(&e))?;
        }
    }
    file.flush().await.map_err(|e| io_error(&e))?;
    if length > target.most {
        // Status and wording unverified.
        let message = format!("The uploaded data has {length} bytes, the maximum is {}", target.most);
        return Err(ApiError::new(413, "REQUEST_ENTITY_TOO_LARGE", message));
    }
    Ok(())
}

/// An upload on its way. One that breaks off leaves the job without a file, to be sent again.
struct Coming<'a> {
    shared: &'a Shared,
    id: String,
    settled: bool,
}

impl Coming<'_> {
    async fn settle(mut self, upload: Upload) {
        self.settled = true;
        self.set(upload).await;
    }

    fn set(&self, upload: Upload) -> impl Future<Output = ()> + Send + 'static {
        let (shared, id) = (self.shared.clone(), self.id.clone());
        async move {
            shared
                .with_org(move |org| {
                    if let Some(job) = org.bulk.jobs.get_mut(&id) {
                        job.upload = upload;
                    }
                })
                .await;
        }
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        // There is nothing to tell when the whole program ends.
        if !self.settled && tokio::runtime::Handle::try_current().is_ok() {
            self.shared.workers.spawn(self.set(Upload::None));
        }
    }
}
