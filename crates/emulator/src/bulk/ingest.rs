//! Ingest jobs: created, closed, aborted, deleted.

use axum::body::Bytes;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{FromRequest, Multipart, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::job::{Format, Job, Operation, Phase, Upload, invalid_value, object_of, text};
use super::slice::UPLOAD;
use super::{io_error, job, jobs, work};
use crate::Shared;
use crate::api_error::ApiError;
use crate::rest::{Call, json_response};
use crate::schema::SObject;

/// "The CSV data can't exceed 100,000 characters" in a multipart request.
const LONGEST_PART: usize = 100_000;

pub(super) fn told(job: Map<String, Value>) -> Response {
    json_response(200, Value::Object(job).to_string().into_bytes())
}

/// JSON alone, or JSON and the file in one multipart request: such a job is closed at once.
pub(super) async fn create(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let kind = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    let parts = if kind.starts_with("multipart/form-data") {
        parts(Multipart::from_request(request, &()).await).await
    } else {
        let body = Bytes::from_request(request, &()).await;
        body.map(|body| (body, None)).map_err(|e| ApiError::bad("JSON_PARSER_ERROR", e.to_string()))
    };
    let mut response = shared
        .clone()
        .answer(version, headers, move |call| {
            let (body, content) = parts?;
            let mut made = made(call, &object_of(&body)?)?;
            let id = made.id.clone();
            if let Some(content) = &content {
                let path = call.org.bulk.folder(&id).map_err(|e| io_error(&e))?.join(UPLOAD);
                std::fs::write(path, content).map_err(|e| io_error(&e))?;
                (made.upload, made.phase) = (Upload::Here, Phase::UploadComplete);
            }
            let mut response = told(made.told());
            jobs(call.org).insert(id.clone(), made);
            if content.is_some() {
                response.extensions_mut().insert(Closed(id));
            }
            Ok(response)
        })
        .await;
    begin(&shared, &mut response);
    response
}

/// A job that may now be worked off.
#[derive(Debug, Clone)]
struct Closed(String);

fn begin(shared: &Shared, response: &mut Response) {
    if let Some(Closed(id)) = response.extensions_mut().remove() {
        work::start(shared, id);
    }
}

/// `job` is JSON, `content` is CSV.
async fn parts(form: Result<Multipart, MultipartRejection>) -> Result<(Bytes, Option<Bytes>), ApiError> {
    let bad = |message: String| ApiError::bad("INVALID_MULTIPART_REQUEST", message);
    let mut form = form.map_err(|e| bad(e.to_string()))?;
    let (mut job, mut content) = (None, None);
    while let Some(field) = form.next_field().await.map_err(|e| bad(e.to_string()))? {
        let name = field.name().unwrap_or("").to_owned();
        let bytes = field.bytes().await.map_err(|e| bad(e.to_string()))?;
        match name.as_str() {
            "job" => job = Some(bytes),
            "content" => content = Some(bytes),
            _ => {}
        }
    }
    let (Some(job), Some(content)) = (job, content) else {
        return Err(bad("the parts `job` and `content` are needed".to_owned()));
    };
    if String::from_utf8_lossy(&content).chars().count() > LONGEST_PART {
        // Wording unverified.
        return Err(bad(format!("the content has more than {LONGEST_PART} characters")));
    }
    Ok((job, Some(content)))
}

/// A job as the request wants it, or what is wrong with it.
fn made(call: &mut Call<'_>, body: &Map<String, Value>) -> Result<Job, ApiError> {
    let object = text(body, "object")?.unwrap_or_default();
    let named = text(body, "operation")?.unwrap_or_default();
    let operation = Operation::named(&named).filter(|operation| !operation.is_query());
    let operation = operation.ok_or_else(|| invalid_value("operation", &named))?;
    let format = Format::read(body)?;
    let described = call
        .org
        .schema
        .object(&object)
        .ok_or_else(|| ApiError::bad("INVALIDJOB", format!("InvalidJob : Unable to find object: {object}")))?;
    let external_id = external_id(described, operation, text(body, "externalIdFieldName")?)
        .map_err(|message| ApiError::bad("INVALIDJOB", format!("InvalidJob : {message}")))?;
    if described.read_only {
        let message = format!("InvalidEntity : Entity '{}' is not supported by the Bulk API.", described.name);
        return Err(ApiError::bad("INVALIDENTITY", message));
    }
    if operation == Operation::HardDelete && !call.org.bulk.behaviour.hard_delete {
        return Err(ApiError::bad("FEATURENOTENABLED", format!("FeatureNotEnabled : {NO_HARD_DELETE}")));
    }
    let object = described.name.clone();
    let mut job = Job::new(call.org, operation, &object, &call.version, &call.user_id);
    (job.external_id, job.format, job.assignment_rule) = (external_id, format, text(body, "assignmentRuleId")?);
    Ok(job)
}

pub(super) const NO_HARD_DELETE: &str =
    "hardDelete operation requires special user profile permission, please contact your system administrator";

/// The field by which an upsert finds its records.
pub(super) fn external_id(
    object: &SObject,
    operation: Operation,
    given: Option<String>,
) -> Result<Option<String>, String> {
    if operation != Operation::Upsert {
        return Ok(None);
    }
    let Some(given) = given else {
        return Err(format!("External ID was blank for {}. An External ID must be specified for upsert.", object.name));
    };
    match object.field(&given).filter(|field| field.external_id || field.id_lookup) {
        Some(field) => Ok(Some(field.name.clone())),
        None => Err(format!(
            "Field name provided, {given} does not match an External ID, Salesforce Id, or indexed field for {}",
            object.name
        )),
    }
}

pub(super) async fn read(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shared.answer(version, headers, move |call| Ok(told(job(call.org, &id, false)?.told_whole(0)))).await
}

/// Closes a job, which is then worked off, or aborts it.
pub(super) async fn change(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut response = shared
        .clone()
        .answer(version, headers, move |call| {
            let wanted = text(&object_of(&body)?, "state")?.unwrap_or_default();
            let now = call.org.now();
            let job = job(call.org, &id, false)?;
            match wanted.as_str() {
                "Aborted" => {
                    abort(job)?;
                    job.changed = now;
                    let response = told(job.told());
                    call.org.bulk.moved.notify_waiters();
                    Ok(response)
                }
                "UploadComplete" => {
                    close(job)?;
                    job.changed = now;
                    let mut response = told(job.told());
                    response.extensions_mut().insert(Closed(job.id.clone()));
                    Ok(response)
                }
                other => Err(invalid_value("state", other)),
            }
        })
        .await;
    begin(&shared, &mut response);
    response
}

pub(super) fn abort(job: &mut Job) -> Result<(), ApiError> {
    if job.phase.is_end() {
        let message = format!("Aborting already {} Job not allowed", job.phase.past());
        return Err(ApiError::bad("INVALIDJOBSTATE", message));
    }
    job.phase = Phase::Aborted;
    Ok(())
}

fn close(job: &mut Job) -> Result<(), ApiError> {
    if job.phase != Phase::Open {
        let message = format!("Closing already {} Job not allowed", job.phase.past());
        return Err(ApiError::bad("INVALIDJOBSTATE", message));
    }
    if job.upload != Upload::Here {
        // Wording unverified.
        return Err(ApiError::bad("INVALIDJOBSTATE", "Closing a Job without data is not allowed"));
    }
    job.phase = Phase::UploadComplete;
    Ok(())
}

/// A job that is open or in progress stays.
pub(super) async fn delete(
    State(shared): State<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let job = job(call.org, &id, false)?;
            if matches!(job.phase, Phase::Open | Phase::InProgress) {
                return Err(not_terminated());
            }
            let id = job.id.clone();
            call.org.bulk.jobs.remove(&id);
            call.org.bulk.remove_files(&id);
            call.org.bulk.moved.notify_waiters();
            Ok(StatusCode::NO_CONTENT.into_response())
        })
        .await
}

pub(super) fn not_terminated() -> ApiError {
    ApiError::bad("API_ERROR", "Error encountered when deleting the job because the job is not terminated")
}
