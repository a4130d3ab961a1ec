//! A job: what the org says of it, and waiting for it.

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::Request;
use crate::rest::sobject::segment;
use crate::visited::Visited;
use crate::wait::Wait;

/// Which way a job's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Into the org.
    Ingest,
    /// Out of it.
    Query,
}

impl JobKind {
    pub(super) fn path(self) -> &'static str {
        match self {
            JobKind::Ingest => "jobs/ingest",
            JobKind::Query => "jobs/query",
        }
    }
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum JobState {
    /// Waits for its data.
    Open,
    /// Has its data, and waits for its turn.
    UploadComplete,
    /// Is being worked off.
    InProgress,
    /// Done. Rows may have failed all the same.
    JobComplete,
    /// Ended by the org.
    Failed,
    /// Ended by somebody.
    Aborted,
    /// One that this library does not know.
    Other(String),
}

impl From<String> for JobState {
    fn from(text: String) -> Self {
        match text.as_str() {
            "Open" => JobState::Open,
            "UploadComplete" => JobState::UploadComplete,
            "InProgress" => JobState::InProgress,
            "JobComplete" => JobState::JobComplete,
            "Failed" => JobState::Failed,
            "Aborted" => JobState::Aborted,
            _ => JobState::Other(text),
        }
    }
}

impl From<JobState> for String {
    fn from(state: JobState) -> Self {
        state.to_string()
    }
}

impl std::fmt::Display for JobState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            JobState::Open => "Open",
            JobState::UploadComplete => "UploadComplete",
            JobState::InProgress => "InProgress",
            JobState::JobComplete => "JobComplete",
            JobState::Failed => "Failed",
            JobState::Aborted => "Aborted",
            JobState::Other(text) => text,
        })
    }
}

impl JobState {
    /// It does not change any more.
    pub fn is_final(&self) -> bool {
        matches!(self, JobState::JobComplete | JobState::Failed | JobState::Aborted)
    }
}

/// What the org says of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobInfo {
    /// Under which it is found.
    pub id: String,
    /// `insert`, `query` and so on.
    pub operation: String,
    /// Its object; a query job does not name it in every version.
    #[serde(default)]
    pub object: Option<String>,
    /// Where it is.
    pub state: JobState,
    /// When it was made, as the org writes it.
    #[serde(default)]
    pub created_date: Option<String>,
    /// Rows that were worked off, those that failed among them.
    #[serde(default)]
    pub number_records_processed: u64,
    /// Rows that failed.
    #[serde(default)]
    pub number_records_failed: u64,
    /// Why it failed.
    #[serde(default)]
    pub error_message: Option<String>,
    /// How often the org began parts of it again.
    #[serde(default)]
    pub retries: u64,
    /// How long it was worked on, in milliseconds.
    #[serde(default)]
    pub total_processing_time: u64,
    /// What else the org says.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Looks that may fail in a row. A job does not end because nobody can see it for a while.
const BLIND: u32 = 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    done: bool,
    records: Vec<JobInfo>,
    next_records_url: Option<String>,
}

impl Connection {
    /// What the org says of a job.
    ///
    /// # Errors
    /// As [`Connection::send`]; `NOT_FOUND` for one that never was, or that is older than seven days.
    pub async fn job_info(&self, kind: JobKind, id: &str) -> Result<JobInfo, ClientError> {
        self.send_json(&Request::get(self.data_path(&self.job_path(kind, id)?))).await
    }

    /// Without an id it would be the path of all jobs.
    fn job_path(&self, kind: JobKind, id: &str) -> Result<String, ClientError> {
        if id.is_empty() {
            let (org, reason) = (self.org().to_owned(), "its id is empty".to_owned());
            return Err(ClientError::Unsendable { org, what: "a call for a job".to_owned(), reason });
        }
        Ok(format!("{}/{}", kind.path(), segment(id)))
    }

    /// Ends a job. Rows that were worked off before stay as they are.
    ///
    /// # Errors
    /// As [`Connection::send`]; `INVALIDJOBSTATE` for one that has ended already.
    pub async fn abort_job(&self, kind: JobKind, id: &str) -> Result<JobInfo, ClientError> {
        self.set_state(kind, id, "Aborted").await
    }

    pub(super) async fn set_state(&self, kind: JobKind, id: &str, state: &str) -> Result<JobInfo, ClientError> {
        let path = self.job_path(kind, id)?;
        self.send_json(&self.json(Method::PATCH, &path, &json!({"state": state}))?).await
    }

    /// Removes a job that has ended, with its results.
    ///
    /// # Errors
    /// As [`Connection::send`]; `API_ERROR` for one that has not ended.
    pub async fn delete_job(&self, kind: JobKind, id: &str) -> Result<(), ClientError> {
        let path = self.data_path(&self.job_path(kind, id)?);
        self.send_for_nothing(&Request::new(Method::DELETE, path)).await
    }

    /// The org's jobs of a kind, in the order in which it lists them, which is not documented: up to `at_most`.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn jobs(&self, kind: JobKind, at_most: usize) -> Result<Vec<JobInfo>, ClientError> {
        let (mut found, mut path) = (Vec::new(), self.data_path(kind.path()));
        let mut visited = Visited::default();
        loop {
            let request = Request::get(path);
            if !visited.is_new(&request.path) {
                return Err(self.unreadable_answer(&request, "its list leads in a circle"));
            }
            let page: Listed = self.send_json(&request).await?;
            found.extend(page.records);
            match page.next_records_url {
                _ if page.done || found.len() >= at_most => break,
                Some(next) => path = next,
                None => return Err(self.unreadable_answer(&request, "it says `done: false` and names no next page")),
            }
        }
        found.truncate(at_most);
        Ok(found)
    }

    /// Waits until a job has ended, and shows `seen` what the org said at each look.
    ///
    /// # Errors
    /// [`ClientError::StillRunning`] when the time is over: the job goes on, and may be waited for again.
    /// [`ClientError::JobEnded`] when it failed or was aborted. A look that fails is repeated for a while.
    pub async fn wait_for_job(
        &self,
        kind: JobKind,
        id: &str,
        wait: &Wait,
        mut seen: impl FnMut(&JobInfo),
    ) -> Result<JobInfo, ClientError> {
        let (mut waiting, mut blind, mut state) = (wait.begin(), 0, "not seen yet".to_owned());
        loop {
            match self.job_info(kind, id).await {
                Ok(info) => {
                    seen(&info);
                    blind = 0;
                    state = info.state.to_string();
                    match info.state {
                        JobState::JobComplete => return Ok(info),
                        JobState::Failed | JobState::Aborted => return Err(self.ended(info)),
                        _ => {}
                    }
                }
                Err(error) if error.is_transient() && blind < BLIND => {
                    blind += 1;
                    tracing::info!(job = id, "{}; looking again", error.without_data());
                }
                Err(error) => return Err(error),
            }
            waiting.pause(self.org(), id, &state).await?;
        }
    }

    fn ended(&self, info: JobInfo) -> ClientError {
        let reason = info.error_message.filter(|text| !text.is_empty());
        let reason = reason.unwrap_or_else(|| match info.state {
            JobState::Aborted => "somebody aborted it".to_owned(),
            _ => "the org gives no reason".to_owned(),
        });
        ClientError::JobEnded { org: self.org().to_owned(), job: info.id, state: info.state.to_string(), reason }
    }
}
