//! Bulk jobs: created, given files, closed, worked off.

use std::collections::HashMap;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::batches;
use super::land::Operation;
use super::schema::find;
use crate::Shared;
use crate::datacloud::access::Caller;
use crate::datacloud::refusal::{RestError, settled};
use crate::datacloud::uuid;
use crate::org::Org;
use crate::rest::json_response;

/// "Any open bulk jobs older than seven days, with state as Open or UploadComplete are deleted from the queue."
const OPEN_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// By id.
pub(in crate::datacloud) type Jobs = HashMap<String, Job>;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Phase {
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

#[derive(Debug, Clone)]
pub(in crate::datacloud) struct Job {
    pub(super) object: String,
    pub(super) connector: String,
    pub(super) operation: Operation,
    pub(super) phase: Phase,
    /// How many files have been begun.
    pub(super) begun: usize,
    /// The numbers of those that have arrived.
    pub(super) files: Vec<usize>,
    created_by: String,
    created: Timestamp,
    pub(super) changed: Timestamp,
    pub(super) processing_ms: u64,
}

impl Job {
    fn told(&self, id: &str) -> Value {
        json!({
            "id": id, "operation": if self.operation == Operation::Upsert { "upsert" } else { "delete" },
            "object": self.object, "sourceName": self.connector, "createdById": self.created_by,
            "createdDate": date(self.created), "systemModstamp": date(self.changed),
            "state": format!("{:?}", self.phase), "contentType": "CSV", "apiVersion": "v1",
            "contentUrl": format!("api/v1/ingest/jobs/{id}/batches"), "retries": 0,
            "totalProcessingTime": self.processing_ms,
        })
    }
}

/// In milliseconds, as the documents' examples have it.
fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The jobs that have not been forgotten.
pub(super) fn jobs(org: &mut Org) -> Result<&mut Jobs, RestError> {
    let now = org.now();
    let jobs = &mut org.datacloud.as_mut().ok_or_else(RestError::no_engine)?.jobs;
    jobs.retain(|_, job| job.phase != Phase::Open || now.duration_since(job.created) <= OPEN_LIFE);
    Ok(jobs)
}

/// A job that takes files and may be closed. Which status a job in another phase brings is not documented.
pub(super) fn open_job<'a>(org: &'a mut Org, id: &str) -> Result<&'a mut Job, RestError> {
    let job = job(org, id)?;
    if job.phase != Phase::Open {
        return Err(RestError::new(400, format!("the job is not open, but {:?}", job.phase)));
    }
    Ok(job)
}

pub(super) fn job<'a>(org: &'a mut Org, id: &str) -> Result<&'a mut Job, RestError> {
    jobs(org)?.get_mut(id).ok_or_else(|| RestError::new(404, format!("there is no job {id}")))
}

fn answer(status: u16, body: &Value) -> Response {
    json_response(status, body.to_string().into_bytes())
}

pub(super) async fn create(
    State(shared): State<Shared>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Response {
    let created = async {
        shared.engine.as_ref().ok_or_else(RestError::no_engine)?;
        let body: Value = serde_json::from_slice(&body).map_err(|_| RestError::new(400, "the body is not JSON"))?;
        let text = |key: &str| body[key].as_str().unwrap_or("").to_owned();
        let (object, connector) = (text("object"), text("sourceName"));
        let operation = match text("operation").as_str() {
            "upsert" => Operation::Upsert,
            "delete" => Operation::Delete,
            other => return Err(RestError::new(400, format!("there is no operation {other:?}"))),
        };
        if find(&connector, &object).is_none() {
            return Err(RestError::new(404, format!("the connector {connector} has no object {object}")));
        }
        let job = move |now: Timestamp| Job {
            object,
            connector,
            operation,
            phase: Phase::Open,
            begun: 0,
            files: Vec::new(),
            created_by: caller.user_id,
            created: now,
            changed: now,
            processing_ms: 0,
        };
        shared
            .with_org(move |org| {
                let job = job(org.now());
                let jobs = jobs(org)?;
                let id = uuid();
                let told = job.told(&id);
                jobs.insert(id, job);
                Ok(answer(201, &told))
            })
            .await
    };
    settled(&shared, created.await).await
}

pub(super) async fn list(State(shared): State<Shared>, Query(asked): Query<HashMap<String, String>>) -> Response {
    let listed = shared
        .with_org(move |org| {
            let number = |key: &str, default| asked.get(key).and_then(|n| n.parse().ok()).unwrap_or(default);
            let (limit, offset): (usize, usize) = (number("limit", 20).clamp(1, 100), number("offset", 0));
            let is_asked = |job: &Job| {
                asked.get("states").is_none_or(|states| states.split(',').any(|s| s == format!("{:?}", job.phase)))
            };
            let mut jobs: Vec<(&String, &mut Job)> = jobs(org)?.iter_mut().filter(|(_, job)| is_asked(job)).collect();
            jobs.sort_by_key(|(_, job)| job.changed);
            let told: Vec<Value> = jobs.iter().skip(offset).take(limit).map(|(id, job)| job.told(id)).collect();
            Ok(answer(200, &json!({"data": told})))
        })
        .await;
    settled(&shared, listed).await
}

pub(super) async fn read(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let read = shared.with_org(move |org| job(org, &id).map(|job| answer(200, &job.told(&id)))).await;
    settled(&shared, read).await
}

/// Closes a job, which is then worked off, or aborts it.
pub(super) async fn change(State(shared): State<Shared>, Path(id): Path<String>, body: Bytes) -> Response {
    let wanted = match serde_json::from_slice::<Value>(&body).unwrap_or_default()["state"].as_str() {
        Some("UploadComplete") => Phase::UploadComplete,
        Some("Aborted") => Phase::Aborted,
        _ => return settled(&shared, Err(RestError::new(400, "a job becomes UploadComplete or Aborted"))).await,
    };
    let asked = id.clone();
    let changed = shared
        .with_org(move |org| {
            let now = org.now();
            let job = open_job(org, &asked)?;
            (job.phase, job.changed) = (wanted, now);
            Ok(answer(200, &job.told(&asked)))
        })
        .await;
    if changed.is_ok() {
        match wanted {
            Phase::UploadComplete => drop(tokio::spawn(batches::work_off(shared.clone(), id))),
            _ => batches::forget(&shared, &id),
        }
    }
    settled(&shared, changed).await
}

pub(super) async fn delete(State(shared): State<Shared>, Path(id): Path<String>) -> Response {
    let asked = id.clone();
    let deleted = shared
        .with_org(move |org| {
            let phase = job(org, &asked)?.phase;
            if matches!(phase, Phase::Open | Phase::InProgress) {
                return Err(RestError::new(400, format!("a job that is {phase:?} cannot be deleted")));
            }
            jobs(org)?.remove(&asked);
            Ok(StatusCode::NO_CONTENT.into_response())
        })
        .await;
    if deleted.is_ok() {
        batches::forget(&shared, &id);
    }
    settled(&shared, deleted).await
}
