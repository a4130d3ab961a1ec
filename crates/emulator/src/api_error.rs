//! The error bodies of the data API: an array of one object, `[{"message": …, "errorCode": …}]`.

use serde_json::{Value, json};

/// One refusal, with the status it travels under.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// `Some`, even if empty, for record errors; query and session errors carry no `fields`.
    pub(crate) fields: Option<Vec<String>>,
}

impl ApiError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), fields: None }
    }

    pub(crate) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, code, message)
    }

    pub(crate) fn on_fields(mut self, fields: &[&str]) -> Self {
        self.fields = Some(fields.iter().map(|f| (*f).to_owned()).collect());
        self
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "NOT_FOUND", "The requested resource does not exist")
    }

    pub(crate) fn invalid_session() -> Self {
        Self::new(401, "INVALID_SESSION_ID", "Session expired or invalid")
    }

    /// As one of several records tells it: `statusCode`, and always `fields`.
    pub(crate) fn of_record(&self) -> Value {
        json!({"statusCode": self.code, "message": self.message, "fields": self.fields.as_deref().unwrap_or_default()})
    }

    pub(crate) fn body(&self) -> Value {
        match &self.fields {
            // Recorded: NOT_FOUND puts errorCode first, so nobody may rely on the order.
            None if self.code == "NOT_FOUND" => json!([{"errorCode": self.code, "message": self.message}]),
            None => json!([{"message": self.message, "errorCode": self.code}]),
            Some(fields) => json!([{"message": self.message, "errorCode": self.code, "fields": fields}]),
        }
    }
}

impl From<rusqlite::Error> for ApiError {
    fn from(error: rusqlite::Error) -> Self {
        // The emulator's own fault, said as such: it must never pass for an answer of Salesforce.
        tracing::error!(%error, "the emulator's database refused a statement");
        Self::new(500, "UNKNOWN_EXCEPTION", format!("emulator database: {error}"))
    }
}
