//! A job of Bulk API 2.0, and how it is told.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::api_error::ApiError;
use crate::clock::datetime;
use crate::org::Org;
use crate::soql::plan::Plan;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Phase {
    Open,
    UploadComplete,
    InProgress,
    JobComplete,
    Failed,
    Aborted,
}

impl Phase {
    pub(super) fn is_end(self) -> bool {
        matches!(self, Phase::JobComplete | Phase::Failed | Phase::Aborted)
    }

    /// As the refusals to change a job write it: "Aborting already Completed Job not allowed".
    pub(super) fn past(self) -> &'static str {
        match self {
            Phase::Open => "Opened",
            Phase::UploadComplete => "Closed",
            Phase::InProgress => "Started",
            Phase::JobComplete => "Completed",
            Phase::Failed => "Failed",
            Phase::Aborted => "Aborted",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Insert,
    Update,
    Upsert,
    Delete,
    HardDelete,
    Query,
    QueryAll,
}

impl Operation {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "insert" => Operation::Insert,
            "update" => Operation::Update,
            "upsert" => Operation::Upsert,
            "delete" => Operation::Delete,
            "hardDelete" => Operation::HardDelete,
            "query" => Operation::Query,
            "queryAll" => Operation::QueryAll,
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Insert => "insert",
            Operation::Update => "update",
            Operation::Upsert => "upsert",
            Operation::Delete => "delete",
            Operation::HardDelete => "hardDelete",
            Operation::Query => "query",
            Operation::QueryAll => "queryAll",
        }
    }

    pub(super) fn is_query(self) -> bool {
        matches!(self, Operation::Query | Operation::QueryAll)
    }

    pub(super) fn is_delete(self) -> bool {
        matches!(self, Operation::Delete | Operation::HardDelete)
    }
}

/// Column delimiters by their names.
const DELIMITERS: [(&str, u8); 6] =
    [("BACKQUOTE", b'`'), ("CARET", b'^'), ("COMMA", b','), ("PIPE", b'|'), ("SEMICOLON", b';'), ("TAB", b'\t')];

/// How the lines of a job's files look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Format {
    pub(super) delimiter: u8,
    pub(super) crlf: bool,
}

impl Format {
    pub(super) const PLAIN: Format = Format { delimiter: b',', crlf: false };

    /// Reads `columnDelimiter`, `lineEnding` and `contentType` of a request.
    pub(super) fn read(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let delimiter = match text(body, "columnDelimiter")? {
            None => b',',
            Some(name) => {
                let found = DELIMITERS.iter().find(|(known, _)| *known == name);
                found.ok_or_else(|| invalid_value("columnDelimiter", &name))?.1
            }
        };
        let crlf = match text(body, "lineEnding")?.as_deref() {
            None | Some("LF") => false,
            Some("CRLF") => true,
            Some(other) => return Err(invalid_value("lineEnding", other)),
        };
        match text(body, "contentType")?.as_deref() {
            None | Some("CSV") => Ok(Format { delimiter, crlf }),
            Some(other) => Err(invalid_value("contentType", other)),
        }
    }

    pub(super) fn line_ending(self) -> &'static str {
        if self.crlf { "\r\n" } else { "\n" }
    }

    pub(super) fn line_ending_name(self) -> &'static str {
        if self.crlf { "CRLF" } else { "LF" }
    }

    fn delimiter_name(self) -> &'static str {
        DELIMITERS.iter().find(|(_, byte)| *byte == self.delimiter).map_or("COMMA", |(name, _)| name)
    }
}

/// Recorded: `[{"errorCode":"API_ERROR","message":"Invalid value: '' supplied for property: 'operation'"}]`.
pub(super) fn invalid_value(property: &str, value: &str) -> ApiError {
    ApiError::bad("API_ERROR", format!("Invalid value: '{value}' supplied for property: '{property}'"))
}

/// A text of a request; null counts as left out.
pub(super) fn text(body: &Map<String, Value>, key: &str) -> Result<Option<String>, ApiError> {
    match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(invalid_value(key, &other.to_string())),
    }
}

/// A request's JSON object.
pub(super) fn object_of(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if body.is_empty() {
        return Err(ApiError::bad(
            "JSON_PARSER_ERROR",
            "The HTTP entity body is required, but this request has no entity body.",
        ));
    }
    serde_json::from_slice(body).map_err(|e| {
        let place = format!("[line:{}, column:{}]", e.line(), e.column());
        ApiError::bad("JSON_PARSER_ERROR", format!("Unexpected character: {e} at {place}"))
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Upload {
    None,
    /// Its body is being read.
    Coming,
    Here,
}

#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(super) id: String,
    pub(super) operation: Operation,
    pub(super) object: String,
    pub(super) external_id: Option<String>,
    pub(super) assignment_rule: Option<String>,
    pub(super) format: Format,
    /// `67.0`
    pub(super) version: String,
    pub(super) created_by: String,
    pub(super) created: Timestamp,
    pub(super) changed: Timestamp,
    pub(super) phase: Phase,
    pub(super) error: Option<String>,
    pub(super) upload: Upload,
    /// Failures count too.
    pub(super) processed: u64,
    pub(super) failed: u64,
    pub(super) processing_ms: u64,
    /// The header as it was sent, without the line's end.
    pub(super) header: Vec<u8>,
    /// Where in the upload the rows begin that have not been processed.
    pub(super) unprocessed_from: u64,
    /// Of a query.
    pub(super) plan: Option<Plan>,
    /// The results are gone, though the job is still told of.
    pub(super) expired: bool,
}

impl Job {
    /// A new job; its phase is that of the one that makes it.
    pub(super) fn new(org: &mut Org, operation: Operation, object: &str, version: &str, user: &str) -> Self {
        let now = org.now();
        Job {
            id: org.new_id("750"),
            operation,
            object: object.to_owned(),
            external_id: None,
            assignment_rule: None,
            format: Format::PLAIN,
            version: version.to_owned(),
            created_by: user.to_owned(),
            created: now,
            changed: now,
            phase: if operation.is_query() { Phase::UploadComplete } else { Phase::Open },
            error: None,
            upload: Upload::None,
            processed: 0,
            failed: 0,
            processing_ms: 0,
            header: Vec::new(),
            unprocessed_from: 0,
            plan: None,
            expired: false,
        }
    }

    pub(super) fn job_type(&self) -> &'static str {
        if self.operation.is_query() { "V2Query" } else { "V2Ingest" }
    }

    /// The answer to a create or a change.
    pub(super) fn told(&self) -> Map<String, Value> {
        let mut told = Map::new();
        let mut tell = |key: &str, value: Value| told.insert(key.to_owned(), value);
        tell("id", json!(self.id));
        tell("operation", json!(self.operation.name()));
        tell("object", json!(self.object));
        tell("createdById", json!(self.created_by));
        tell("createdDate", json!(datetime(self.created)));
        tell("systemModstamp", json!(datetime(self.changed)));
        tell("state", json!(format!("{:?}", self.phase)));
        if let Some(field) = &self.external_id {
            tell("externalIdFieldName", json!(field));
        }
        if let Some(rule) = &self.assignment_rule {
            tell("assignmentRuleId", json!(rule));
        }
        tell("concurrencyMode", json!("Parallel"));
        tell("contentType", json!("CSV"));
        tell("apiVersion", json!(self.version.parse::<f64>().unwrap_or_default()));
        if !self.operation.is_query() {
            let url = format!("services/data/v{}/jobs/ingest/{}/batches", self.version, self.id);
            tell("contentUrl", json!(url));
        }
        tell("lineEnding", json!(self.format.line_ending_name()));
        tell("columnDelimiter", json!(self.format.delimiter_name()));
        told
    }

    /// One of a list of jobs.
    pub(super) fn listed(&self) -> Map<String, Value> {
        let mut told = self.told();
        told.insert("jobType".to_owned(), json!(self.job_type()));
        told
    }

    /// The answer to a question about the job.
    ///
    /// A query's number of rows is told wrong by `processed_delta`.
    pub(super) fn told_whole(&self, processed_delta: i64) -> Map<String, Value> {
        let mut told = self.listed();
        let mut tell = |key: &str, value: Value| told.insert(key.to_owned(), value);
        tell("retries", json!(0));
        tell("totalProcessingTime", json!(self.processing_ms));
        let delta = if self.operation.is_query() { processed_delta } else { 0 };
        tell("numberRecordsProcessed", json!(self.processed.saturating_add_signed(delta)));
        if !self.operation.is_query() {
            tell("numberRecordsFailed", json!(self.failed));
            tell("apiActiveProcessingTime", json!(self.processing_ms));
            tell("apexProcessingTime", json!(0));
        }
        if let Some(message) = &self.error {
            tell("errorMessage", json!(message));
        }
        tell("isPkChunkingSupported", json!(self.operation.is_query()));
        told
    }
}
