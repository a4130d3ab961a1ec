//! Sending data: one request for a few rows, a job for many.
//!
//! An ingestion connector and its objects are set up in Data Cloud; what is sent lands in a data lake object some minutes
//! later. Source: Data 360 Ingestion API documentation.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cloud::DataCloud;
use crate::error::DataCloudError;
use crate::http::{Call, segment};

mod bulk;
mod split;

pub use bulk::BulkOptions;

/// The most that one streaming request may carry, in bytes.
pub const STREAMING_LIMIT: usize = 200_000;
/// The most keys that one request may delete.
const DELETE_LIMIT: usize = 200;
/// Room for what stands round the rows.
const FRAME: usize = 64;

/// What happens to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Rows with a known primary key are replaced, others added.
    Upsert,
    /// Rows with these primary keys are deleted.
    Delete,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum JobState {
    /// It takes files.
    Open,
    /// It waits to be worked on.
    UploadComplete,
    /// It is worked on.
    InProgress,
    /// Done.
    JobComplete,
    /// It failed; Data Cloud's own pages tell why.
    Failed,
    /// Somebody ended it.
    Aborted,
    /// A state that this program does not know.
    #[serde(other)]
    Other,
}

impl JobState {
    /// Nothing will change any more.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::JobComplete | JobState::Failed | JobState::Aborted)
    }
}

/// A bulk job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// Its id.
    pub id: String,
    /// How far it is.
    pub state: JobState,
    /// The object that its rows are for.
    #[serde(default)]
    pub object: String,
    /// The connector.
    #[serde(default)]
    pub source_name: String,
    /// What happens to its rows.
    #[serde(default)]
    pub operation: Option<Operation>,
    /// When it was made.
    #[serde(default)]
    pub created_date: Option<String>,
}

/// An object of an ingestion connector.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) cloud: DataCloud,
    pub(crate) connector: String,
    pub(crate) object: String,
}

impl DataCloud {
    /// An object of a connector, by their API names.
    pub fn ingest(&self, connector: impl Into<String>, object: impl Into<String>) -> Target {
        Target { cloud: self.clone(), connector: connector.into(), object: object.into() }
    }

    /// A bulk job by its id.
    ///
    /// # Errors
    /// When there is none, or it cannot be asked for.
    pub async fn ingest_job(&self, id: &str) -> Result<Job, DataCloudError> {
        let path = format!("/api/v1/ingest/jobs/{}", segment(id));
        self.rest_json(&Call::get(format!("asking for ingest job {id}"), path)).await
    }

    /// Ends a bulk job that has not been worked on; its rows are dropped.
    ///
    /// # Errors
    /// When it is too far for that, or cannot be reached.
    pub async fn abort_ingest_job(&self, id: &str) -> Result<(), DataCloudError> {
        self.change_job(id, "Aborted").await
    }

    pub(crate) async fn change_job(&self, id: &str, state: &str) -> Result<(), DataCloudError> {
        let path = format!("/api/v1/ingest/jobs/{}", segment(id));
        let what = format!("setting ingest job {id} to {state}");
        self.rest(&Call::json(what, Method::PATCH, path, &json!({"state": state})).idempotent()).await.map(drop)
    }
}

impl Target {
    /// Sends rows at once, in as many requests as their size asks for, in order; answers how many were taken. They are
    /// objects by the connector's schema. An upsert by primary key: sending rows again does no harm. Taken means received:
    /// rows that do not fit the schema are dropped later, without a word; [`Target::check`] asks before.
    ///
    /// # Errors
    /// When a row is too large for a request, before anything is sent; else the failure of token or call, which tells how
    /// many rows were taken before.
    ///
    /// ```no_run
    /// # async fn example(cloud: tieline_datacloud::DataCloud) -> Result<(), tieline_datacloud::DataCloudError> {
    /// use serde_json::json;
    /// let views = cloud.ingest("web", "page_view");
    /// views.send(&[json!({"id": "v-1", "page": "/", "seconds": 12.5})]).await?;
    /// # Ok(()) }
    /// ```
    pub async fn send(&self, rows: &[Value]) -> Result<usize, DataCloudError> {
        let mut sent = 0;
        for bundle in bundles("rows", rows, usize::MAX)? {
            let call = Call::json(self.what("sending rows"), Method::POST, self.path(""), &json!({"data": bundle}));
            self.cloud.rest(&call.idempotent()).await.map_err(|error| after(sent, "rows", error))?;
            sent += bundle.len();
        }
        Ok(sent)
    }

    /// Lets Data Cloud check rows against the connector's schema. Nothing is stored.
    ///
    /// # Errors
    /// [`DataCloudError::Refused`] names what does not fit.
    pub async fn check(&self, rows: &[Value]) -> Result<(), DataCloudError> {
        for bundle in bundles("rows", rows, usize::MAX)? {
            let (what, path) = (self.what("checking rows"), self.path("/actions/test"));
            self.cloud.rest(&Call::json(what, Method::POST, path, &json!({"data": bundle})).idempotent()).await?;
        }
        Ok(())
    }

    /// Deletes rows by their primary keys; answers how many were taken.
    ///
    /// # Errors
    /// As [`Target::send`].
    pub async fn delete(&self, ids: &[String]) -> Result<usize, DataCloudError> {
        let ids: Vec<Value> = ids.iter().map(|id| json!(id)).collect();
        let mut sent = 0;
        for bundle in bundles("ids", &ids, DELETE_LIMIT)? {
            let call = Call::json(self.what("deleting rows"), Method::DELETE, self.path(""), &json!({"ids": bundle}));
            self.cloud.rest(&call.idempotent()).await.map_err(|error| after(sent, "ids", error))?;
            sent += bundle.len();
        }
        Ok(sent)
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/ingest/sources/{}/{}{rest}", segment(&self.connector), segment(&self.object))
    }

    pub(crate) fn what(&self, doing: &str) -> String {
        format!("{doing} of {}/{}", self.connector, self.object)
    }
}

/// What has been taken already is told with the error.
fn after(sent: usize, what: &str, error: DataCloudError) -> DataCloudError {
    if sent == 0 { error } else { with_note(error, &format!("after {sent} {what} that were taken")) }
}

pub(crate) fn with_note(error: DataCloudError, note: &str) -> DataCloudError {
    let noted = |what: &str| format!("{what} ({note})");
    match error {
        DataCloudError::Refused(mut refusal) => {
            refusal.what = noted(&refusal.what);
            DataCloudError::Refused(refusal)
        }
        DataCloudError::Unreachable { org, what, reason, attempts } => {
            DataCloudError::Unreachable { org, what: noted(&what), reason, attempts }
        }
        DataCloudError::Local { what, reason, hint } => DataCloudError::Local { what: noted(&what), reason, hint },
        error => error,
    }
}

/// Cuts rows into requests of the size that is taken.
fn bundles<'a>(what: &str, rows: &'a [Value], at_most: usize) -> Result<Vec<&'a [Value]>, DataCloudError> {
    let (mut bundles, mut start, mut size) = (Vec::new(), 0, FRAME);
    for (number, row) in rows.iter().enumerate() {
        let length = row.to_string().len() + 1;
        if length + FRAME > STREAMING_LIMIT {
            return Err(DataCloudError::Local {
                what: format!("sending {what}"),
                reason: format!("number {} has {length} bytes, a request takes {STREAMING_LIMIT}", number + 1),
                hint: "send it by a bulk job".to_owned(),
            });
        }
        if size + length > STREAMING_LIMIT || number - start == at_most {
            bundles.push(&rows[start..number]);
            (start, size) = (number, FRAME);
        }
        size += length;
    }
    if start < rows.len() {
        bundles.push(&rows[start..]);
    }
    Ok(bundles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_hold_all_rows_in_order_and_stay_below_the_limit() {
        let row = |n: usize| json!({"id": n, "text": "ä".repeat(n % 3_000)});
        let rows: Vec<Value> = (0..1_000).map(row).collect();
        let bundles = bundles("rows", &rows, usize::MAX).unwrap();
        assert!(bundles.len() > 1);
        assert!(bundles.iter().all(|bundle| json!({"data": bundle}).to_string().len() <= STREAMING_LIMIT));
        assert_eq!(bundles.concat(), rows);
        assert!(super::bundles("rows", &[], 5).unwrap().is_empty());
        let few = super::bundles("rows", &rows[..11], 5).unwrap();
        assert_eq!(few.iter().map(|bundle| bundle.len()).collect::<Vec<_>>(), [5, 5, 1]);
        let too_large = json!({"text": "x".repeat(STREAMING_LIMIT)});
        let error = super::bundles("rows", &[row(1), too_large], 5).unwrap_err();
        assert!(error.to_string().contains("number 2"), "{error}");
    }

    #[test]
    fn a_state_that_nobody_knows_yet_is_no_failure() {
        let job: Job = serde_json::from_str(r#"{"id": "1", "state": "Paused"}"#).unwrap();
        assert_eq!((job.state, job.state.is_final()), (JobState::Other, false));
    }
}
