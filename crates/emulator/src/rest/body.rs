//! Bodies of requests: JSON, or a multipart form with JSON and a file.

use std::convert::Infallible;

use axum::body::Bytes;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::api_error::ApiError;

/// The largest body that is read. Salesforce takes 50 MB of JSON with a file in it.
pub(super) const LARGEST: usize = 50 << 20;

/// What a request brought. Refusals wait in it: the session is checked before the body is.
pub(super) struct Payload(Result<Content, ApiError>);

struct Content {
    json: Bytes,
    /// Name of the field that the file is for, and its bytes.
    file: Option<(String, Bytes)>,
}

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = Infallible;

    async fn from_request(request: Request, state: &S) -> Result<Self, Infallible> {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
        if content_type.starts_with("multipart/form-data") {
            return Ok(Payload(match Multipart::from_request(request, state).await {
                Ok(form) => parts(form).await,
                Err(error) => Err(malformed_form(&error.body_text())),
            }));
        }
        let body = match Bytes::from_request(request, state).await {
            Ok(body) => body,
            // Unverified code and wording.
            Err(error) => return Ok(Payload(Err(ApiError::new(413, "LIMIT_EXCEEDED", error.body_text())))),
        };
        let json = content_type.is_empty() || content_type.to_ascii_lowercase().contains("json");
        // XML bodies, which Salesforce takes too, are not read here.
        if !json && !body.is_empty() {
            let message = format!("Content-Type header specified in HTTP request is not supported: {content_type}");
            return Ok(Payload(Err(ApiError::new(415, "UNSUPPORTED_MEDIA_TYPE", message))));
        }
        Ok(Payload(Ok(Content { json: body, file: None })))
    }
}

fn malformed_form(text: &str) -> ApiError {
    ApiError::bad("INVALID_MULTIPART_REQUEST", text)
}

/// The part with JSON has any name; `entity_document` and `entity_content` are those of the documents. The other one
/// is named after the field that takes the file.
async fn parts(mut form: Multipart) -> Result<Content, ApiError> {
    let (mut json, mut file) = (None, None);
    while let Some(part) = form.next_field().await.map_err(|e| malformed_form(&e.body_text()))? {
        let name = part.name().unwrap_or("").to_owned();
        let is_json = part.content_type().is_some_and(|t| t.contains("json")) || name.starts_with("entity_");
        let bytes = part.bytes().await.map_err(|e| malformed_form(&e.body_text()))?;
        if is_json && json.is_none() {
            json = Some(bytes);
        } else {
            file = Some((name, bytes));
        }
    }
    let json = json.ok_or_else(|| malformed_form("the part with the record is missing"))?;
    Ok(Content { json, file })
}

impl Payload {
    /// The fields of one record, with the file as base64.
    pub(super) fn record(self) -> Result<Map<String, Value>, ApiError> {
        use base64::Engine;
        let content = self.0?;
        let mut record = match parse(&content.json)? {
            Value::Object(record) => record,
            other => return Err(wrong_shape("sobject", &other)),
        };
        if let Some((field, bytes)) = content.file {
            record.insert(field, Value::String(base64::engine::general_purpose::STANDARD.encode(bytes)));
        }
        Ok(record)
    }

    pub(super) fn json(self) -> Result<Value, ApiError> {
        parse(&self.0?.json)
    }

    /// A request of a known form.
    pub(super) fn typed<T: DeserializeOwned>(self, of: &str) -> Result<T, ApiError> {
        let value = self.json()?;
        if !value.is_object() {
            return Err(wrong_shape(of, &value));
        }
        // Salesforce names the unknown or missing property; its words for this are not known.
        serde_json::from_value(value)
            .map_err(|e| ApiError::bad("JSON_PARSER_ERROR", format!("{e} at [line:1, column:1]")))
    }
}

fn parse(body: &[u8]) -> Result<Value, ApiError> {
    if body.is_empty() {
        let message = "The HTTP entity body is required, but this request has no entity body.";
        return Err(ApiError::bad("JSON_PARSER_ERROR", message));
    }
    serde_json::from_slice(body).map_err(|e| ApiError::bad("JSON_PARSER_ERROR", parser_message(body, &e)))
}

fn wrong_shape(wanted: &str, found: &Value) -> ApiError {
    let token = match found {
        Value::Array(_) => "START_ARRAY",
        Value::String(_) => "VALUE_STRING",
        Value::Number(_) => "VALUE_NUMBER_INT",
        Value::Bool(true) => "VALUE_TRUE",
        Value::Bool(false) => "VALUE_FALSE",
        _ => "VALUE_NULL",
    };
    let message = format!(
        "Cannot deserialize instance of {wanted} from {token} value or request may be missing a required field at [line:1, column:1]"
    );
    ApiError::bad("JSON_PARSER_ERROR", message)
}

/// In the words of Jackson, the parser behind Salesforce's API. The one for a missing colon is seen in the wild, the
/// others are Jackson's own.
fn parser_message(body: &[u8], error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    let place = format!("at [line:{line}, column:{column}]");
    if error.is_eof() {
        return format!("Unexpected end-of-input: expected close marker for Object {place}");
    }
    let text = String::from_utf8_lossy(body);
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or("");
    // The parser counts bytes.
    let at = line.get(column.saturating_sub(1)..).and_then(|rest| rest.chars().next()).unwrap_or(' ');
    let told = error.to_string();
    let wanted = if told.contains("expected `:`") {
        "was expecting a colon to separate field name and value"
    } else if told.contains("expected `,` or `}`") {
        "was expecting comma to separate OBJECT entries"
    } else if told.contains("expected `,` or `]`") {
        "was expecting comma to separate ARRAY entries"
    } else if told.contains("key must be a string") || told.contains("trailing comma") {
        "was expecting double-quote to start field name"
    } else {
        "expected a valid value (number, String, array, object, 'true', 'false' or 'null')"
    };
    format!("Unexpected character ('{at}' (code {})): {wanted} {place}", u32::from(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_no_json_is_refused_in_the_parsers_words() {
        let told = |body: &str| parse(body.as_bytes()).unwrap_err().message;
        // The text is recorded, with another column.
        assert_eq!(
            told(r#"{"Name" j: 1}"#),
            "Unexpected character ('j' (code 106)): was expecting a colon to separate field name and value at [line:1, column:9]"
        );
        assert_eq!(
            told("{\"a\": 1\n x}"),
            "Unexpected character ('x' (code 120)): was expecting comma to separate OBJECT entries at [line:2, column:2]"
        );
        assert!(told("").starts_with("The HTTP entity body is required"));
        assert!(told("{\"a\"").starts_with("Unexpected end-of-input"));
    }
}
