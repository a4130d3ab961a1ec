//! Batches of a job of the first Bulk API.

use axum::body::Body;
use axum::extract::{Path, State as Asked};
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::job::State as JobState;
use super::message::{Fact, Facts, Refusal, Wire, document, json as as_json, respond, tell, text, xml};
use super::{answer, work};
use crate::Shared;
use crate::bulk::io_error;
use crate::metadata::xml::element_raw;

/// "A batch can't have more than 10 MB."
const LARGEST: usize = 10_000_000;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::bulk) enum State {
    Queued,
    InProgress,
    Completed,
    Failed,
    NotProcessed,
}

#[derive(Debug, Clone)]
pub(in crate::bulk) struct Batch {
    pub(in crate::bulk) id: String,
    pub(in crate::bulk) state: State,
    pub(in crate::bulk) message: Option<String>,
    pub(super) created: Timestamp,
    pub(in crate::bulk) changed: Timestamp,
    pub(super) processed: u64,
    pub(super) failed: u64,
    pub(super) processing_ms: u64,
    /// Of a query: where its rows are.
    pub(super) result: Option<String>,
}

impl Batch {
    fn told(&self, job: &str) -> Facts {
        let mut facts =
            vec![("id", text(&self.id)), ("jobId", text(job)), ("state", text(format!("{:?}", self.state)))];
        if let Some(message) = &self.message {
            facts.push(("stateMessage", text(message)));
        }
        facts.extend([
            ("createdDate", Fact::Date(self.created)),
            ("systemModstamp", Fact::Date(self.changed)),
            ("numberRecordsProcessed", Fact::Number(self.processed)),
            ("numberRecordsFailed", Fact::Number(self.failed)),
            ("totalProcessingTime", Fact::Number(self.processing_ms)),
            ("apiActiveProcessingTime", Fact::Number(self.processing_ms)),
            ("apexProcessingTime", Fact::Number(0)),
        ]);
        facts
    }
}

pub(super) fn unknown(id: &str) -> Refusal {
    Refusal::new("InvalidBatch", format!("Unable to find batch: {id}"))
}

/// The file that came, beside the batch's results.
pub(super) fn request_file(batch: &str) -> String {
    format!("{batch}.request")
}

pub(in crate::bulk) async fn add(
    Asked(shared): Asked<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = axum::body::to_bytes(body, LARGEST).await;
    let mut response = answer(&shared, version, headers, move |call| {
        let body =
            body.map_err(|_| Refusal::new("ClientInputError", format!("the batch has more than {LARGEST} bytes")))?;
        let now = call.org.now();
        let job = call.job(&id)?;
        if job.state != JobState::Open {
            let message = format!("adding a batch to a job that is {:?} is not allowed", job.state);
            return Err(Refusal::new("InvalidJobState", message));
        }
        let (job, turn) = (job.id.clone(), job.turn.clone());
        let batch = Batch {
            id: call.org.new_id("751"),
            state: State::Queued,
            message: None,
            created: now,
            changed: now,
            processed: 0,
            failed: 0,
            processing_ms: 0,
            result: None,
        };
        let folder = call.org.bulk.folder(&job).map_err(|e| io_error(&e))?;
        std::fs::write(folder.join(request_file(&batch.id)), &body).map_err(|e| io_error(&e))?;
        let told = batch.told(&job);
        let added = Added { job: job.clone(), batch: batch.id.clone(), turn };
        let job = call.job(&job)?;
        job.batches.push(batch);
        let mut response = tell(job.wire(), 201, "batchInfo", &told);
        response.extensions_mut().insert(added);
        Ok(response)
    })
    .await;
    if let Some(Added { job, batch, turn }) = response.extensions_mut().remove() {
        shared.workers.spawn(work::work(shared.clone(), job, batch, turn));
    }
    response
}

#[derive(Debug, Clone)]
struct Added {
    job: String,
    batch: String,
    turn: std::sync::Arc<tokio::sync::Mutex<()>>,
}

pub(in crate::bulk) async fn list(
    Asked(shared): Asked<Shared>,
    Path((version, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(&shared, version, headers, move |call| {
        let job = call.job(&id)?;
        let batches = job.batches.iter().map(|batch| batch.told(&job.id));
        Ok(match job.wire() {
            Wire::Xml => {
                let all: String = batches.map(|facts| element_raw("batchInfo", &xml(&facts))).collect();
                document(200, "batchInfoList", &all)
            }
            Wire::Json => {
                let all: Vec<Value> = batches.map(|facts| as_json(&facts)).collect();
                respond(200, "application/json", json!({"batchInfo": all}).to_string())
            }
        })
    })
    .await
}

pub(in crate::bulk) async fn read(
    Asked(shared): Asked<Shared>,
    Path((version, id, batch)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    answer(&shared, version, headers, move |call| {
        let job = call.job(&id)?;
        let found = job.batches.iter().find(|b| b.id == batch || b.id[..15] == batch).ok_or_else(|| unknown(&batch))?;
        Ok(tell(job.wire(), 200, "batchInfo", &found.told(&job.id)))
    })
    .await
}
