//! How the first Bulk API says things: the same facts in XML or in JSON.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::api_error::ApiError;
use crate::clock::datetime;
use crate::metadata::xml::{Node, element, element_raw};

const NAMESPACE: &str = "http://www.force.com/2009/06/asyncapi/dataload";

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wire {
    Xml,
    Json,
}

#[derive(Debug, Clone)]
pub(super) enum Fact {
    Text(String),
    Number(u64),
    Date(Timestamp),
    /// `67.0`
    Version(String),
}

/// In the order of the XML; JSON has its keys in alphabetical order.
pub(super) type Facts = Vec<(&'static str, Fact)>;

pub(super) fn text(value: impl Into<String>) -> Fact {
    Fact::Text(value.into())
}

pub(super) fn xml(facts: &Facts) -> String {
    let elements = facts.iter().map(|(name, fact)| match fact {
        Fact::Text(text) | Fact::Version(text) => element(name, text),
        Fact::Number(n) => element(name, n),
        Fact::Date(at) => element(name, at.strftime("%Y-%m-%dT%H:%M:%S.000Z")),
    });
    elements.collect()
}

pub(super) fn json(facts: &Facts) -> Value {
    let mut facts: Vec<(&str, Value)> = facts
        .iter()
        .map(|(name, fact)| {
            let value = match fact {
                Fact::Text(text) => json!(text),
                Fact::Number(n) => json!(n),
                Fact::Date(at) => json!(datetime(*at)),
                Fact::Version(text) => json!(text.parse::<f64>().unwrap_or_default()),
            };
            (*name, value)
        })
        .collect();
    facts.sort_by_key(|(name, _)| *name);
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

pub(super) fn document(status: u16, root: &str, inner: &str) -> Response {
    let body = element_raw(root, inner).replacen('>', &format!(" xmlns=\"{NAMESPACE}\">"), 1);
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}");
    respond(status, "application/xml", body)
}

pub(super) fn respond(status: u16, content_type: &'static str, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [("content-type", content_type)], body).into_response()
}

pub(super) fn tell(wire: Wire, status: u16, root: &str, facts: &Facts) -> Response {
    match wire {
        Wire::Xml => document(status, root, &xml(facts)),
        Wire::Json => respond(status, "application/json", json(facts).to_string()),
    }
}

/// What a request says, whether in XML or in JSON, as texts.
pub(super) fn read(wire: Wire, body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    let invalid = |e: String| match wire {
        Wire::Xml => Refusal::new("InvalidXML", format!("Unable to parse the request: {e}")),
        Wire::Json => Refusal::new("ClientInputError", format!("Unable to parse the request: {e}")),
    };
    match wire {
        Wire::Json => serde_json::from_slice(body).map_err(|e| invalid(e.to_string())),
        Wire::Xml => {
            let root = Node::parse(body).map_err(invalid)?;
            Ok(root.children.iter().map(|child| (child.name.clone(), json!(child.text.trim()))).collect())
        }
    }
}

#[derive(Debug)]
pub(super) struct Refusal {
    code: String,
    message: String,
}

impl Refusal {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Refusal { code: code.to_owned(), message: message.into() }
    }

    /// Documented in XML; the form in JSON is believed to be the same.
    pub(super) fn told(&self, wire: Wire) -> Response {
        let facts = vec![("exceptionCode", text(&self.code)), ("exceptionMessage", text(&self.message))];
        tell(wire, 400, "error", &facts)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Refusal::new("Unknown", error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_order_differ_between_the_two() {
        let at: Timestamp = "2024-01-02T03:04:05Z".parse().unwrap();
        let facts =
            vec![("id", text("a<b")), ("createdDate", Fact::Date(at)), ("apiVersion", Fact::Version("67.0".into()))];
        assert_eq!(
            xml(&facts),
            "<id>a&lt;b</id><createdDate>2024-01-02T03:04:05.000Z</createdDate><apiVersion>67.0</apiVersion>"
        );
        assert_eq!(
            json(&facts).to_string(),
            r#"{"apiVersion":67.0,"createdDate":"2024-01-02T03:04:05.000+0000","id":"a<b"}"#
        );
    }
}
