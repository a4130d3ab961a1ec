//! Jobs of the first Bulk API.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State as Asked};
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::batch::{Batch, State as BatchState};
use super::message::{Fact, Facts, Refusal, Wire, read as read_message, tell, text};
use super::{Call, answer};
use crate::Shared;
use crate::bulk::ingest::{NO_HARD_DELETE, external_id};
use crate::bulk::job::Operation;
use crate::clock::datetime;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum State {
    Open,
    Closed,
    Aborted,
}

/// What the batches are written in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ContentType {
    Csv,
    Json,
}

pub(crate) struct Job {
    pub(in crate::bulk) id: String,
    pub(in crate::bulk) created: Timestamp,
    pub(super) operation: Operation,
    pub(super) object: String,
    pub(super) external_id: Option<String>,
    pub(super) content_type: ContentType,
    pub(super) created_by: String,
    pub(super) state: State,
    pub(in crate::bulk) batches: Vec<Batch>,
    pub(super) version: String,
    /// Batches are worked off one after the other. A real org does so only in serial mode.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    serial: bool,
    changed: Timestamp,
}

impl Job {
    pub(super) fn wire(&self) -> Wire {
        match self.content_type {
            ContentType::Csv => Wire::Xml,
            ContentType::Json => Wire::Json,
        }
    }

    fn told(&self) -> Facts {
        let count = |state: BatchState| self.batches.iter().filter(|b| b.state == state).count() as u64;
        let sum = |of: fn(&Batch) -> u64| Fact::Number(self.batches.iter().map(of).sum());
        let mut facts = vec![
            ("id", text(&self.id)),
            ("operation", text(self.operation.name())),
            ("object", text(&self.object)),
            ("createdById", text(&self.created_by)),
            ("createdDate", Fact::Date(self.created)),
            ("systemModstamp", Fact::Date(self.changed)),
            ("state", text(format!("{:?}", self.state))),
        ];
        if let Some(field) = &self.external_id {
            facts.push(("externalIdFieldName", text(field)));
        }
        facts.extend([
            ("concurrencyMode", text(if self.serial { "Serial" } else { "Parallel" })),
            ("contentType", text(if self.content_type == ContentType::Csv { "CSV" } else { "JSON" })),
            ("numberBatchesQueued", Fact::Number(count(BatchState::Queued))),
            ("numberBatchesInProgress", Fact::Number(count(BatchState::InProgress))),
            ("numberBatchesCompleted", Fact::Number(count(BatchState::Completed))),
            ("numberBatchesFailed", Fact::Number(count(BatchState::Failed))),
            ("numberBatchesTotal", Fact::Number(self.batches.len() as u64)),
            ("numberRecordsProcessed", sum(|b| b.processed)),
            ("numberRetries", Fact::Number(0)),
            ("apiVersion", Fact::Version(self.version.clone())),
            ("numberRecordsFailed", sum(|b| b.failed)),
            ("totalProcessingTime", sum(|b| b.processing_ms)),
            ("apiActiveProcessingTime", sum(|b| b.processing_ms)),
            ("apexProcessingTime", Fact::Number(0)),
        ]);
        facts
    }

    /// One of a list of Bulk API 2.0.
    pub(in crate::bulk) fn listed(&self) -> Map<String, Value> {
        let listed = json!({
            "id": self.id, "operation": self.operation.name(), "object": self.object, "createdById": self.created_by,
            "createdDate": datetime(self.created), "systemModstamp": datetime(self.changed),
            "state": format!("{:?}", self.state), "concurrencyMode": if self.serial { "Serial" } else { "Parallel" },
            "contentType": if self.content_type == ContentType::Csv { "CSV" } else { "JSON" },
            "apiVersion": self.version.parse::<f64>().unwrap_or_default(), "jobType": "Classic",
        });
        listed.as_object().cloned().unwrap_or_default()
    }
}

pub(in crate::bulk) async fn create(
    Asked(shared): Asked<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&shared, version, headers, move |call| {
        let asked = read_message(call.wire, &body)?;
        let job = made(call, &asked)?;
        let response = tell(call.wire, 201, "jobInfo", &job.told());
        call.org.bulk.classic.insert(job.id.clone(), job);
        Ok(response)
    })
    .await
}

fn made(call: &mut Call<'_>, asked: &Map<String, Value>) -> Result<Job, Refusal> {
    let get = |key: &str| asked.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let invalid = |message: String| Refusal::new("InvalidJob", message);
    let (object, named) = (get("object"), get("operation"));
    let operation = Operation::named(&named).ok_or_else(|| invalid(format!("Unknown operation: {named}")))?;
    let content_type = match get("contentType").as_str() {
        "CSV" => ContentType::Csv,
        "JSON" => ContentType::Json,
        other => {
            let other = if other.is_empty() { "XML" } else { other };
            return Err(Refusal::new("FeatureNotEnabled", format!("the emulator has no batches in {other}")));
        }
    };
    let described =
        call.org.schema.object(&object).ok_or_else(|| invalid(format!("Unable to find object: {object}")))?;
    let field = Some(get("externalIdFieldName")).filter(|field| !field.is_empty());
    let external_id = external_id(described, operation, field).map_err(invalid)?;
    if described.read_only && !operation.is_query() {
        let message = format!("Entity '{}' is not supported by the Bulk API.", described.name);
        return Err(Refusal::new("InvalidEntity", message));
    }
    if operation == Operation::HardDelete && !call.org.bulk.behaviour.hard_delete {
        return Err(Refusal::new("FeatureNotEnabled", NO_HARD_DELETE));
    }
    // One client sends a number: 1 is serial.
    let serial = match asked.get("concurrencyMode") {
        Some(Value::Number(n)) => n.as_u64() == Some(1),
        Some(Value::String(mode)) => mode.eq_ignore_ascii_case("Serial"),
        _ => false,
    };
    let object = described.name.clone();
    let now = call.org.now();
    Ok(Job {
        id: call.org.new_id("750"),
        created: now,
        operation,
        object,
        external_id,
        content_type,
        created_by: call.user.clone(),
        state: State::Open,
        batches: Vec::new(),
        version: call.version.clone(),
        turn: Arc::default(),
        serial,
        changed: now,
    })
}

pub(in crate::bulk) async fn read(
    Asked(shared): Asked<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(&shared, version, headers, move |call| {
        let job = call.job(&id)?;
        Ok(tell(job.wire(), 200, "jobInfo", &job.told()))
    })
    .await
}

/// Closes or aborts.
pub(in crate::bulk) async fn change(
    Asked(shared): Asked<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&shared, version, headers, move |call| {
        let asked = read_message(call.wire, &body)?;
        let now = call.org.now();
        let job = call.job(&id)?;
        let (wanted, doing) = match asked.get("state").and_then(Value::as_str).unwrap_or("") {
            "Closed" => (State::Closed, "Closing"),
            "Aborted" => (State::Aborted, "Aborting"),
            other => return Err(Refusal::new("InvalidJob", format!("Unknown job state: {other}"))),
        };
        if job.state == State::Aborted || wanted == State::Closed && job.state == State::Closed {
            let message = format!("{doing} already {:?} Job not allowed", job.state);
            return Err(Refusal::new("InvalidJobState", message));
        }
        (job.state, job.changed) = (wanted, now);
        if wanted == State::Aborted {
            for batch in job.batches.iter_mut().filter(|batch| batch.state == BatchState::Queued) {
                (batch.state, batch.changed) = (BatchState::NotProcessed, now);
            }
        }
        let response = tell(job.wire(), 200, "jobInfo", &job.told());
        call.org.bulk.moved.notify_waiters();
        Ok(response)
    })
    .await
}
