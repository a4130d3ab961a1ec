//! What messages say: one payload, as a webhook's body, a Slack message and a mail.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use tieline_store::Uuid;
use tieline_store::alerts::{AlertChannel, AlertDelivery};
use url::Url;

use crate::outbound::slack;

/// The payload of a message that was written down.
pub(super) fn payload(delivery: &AlertDelivery) -> Value {
    if delivery.event != "summary" {
        return delivery.payload.clone();
    }
    let count = delivery.folded;
    json!({"type": "notification.summary", "timestamp": delivery.created_at, "data": {
        "count": count,
        "title": format!("and {count} more"),
        "detail": format!("{count} more messages were not sent here within the hour, for there were too many"),
        "hint": "GET /api/notifications has all of them",
    }})
}

/// The payload of a test.
pub(super) fn test(channel: &AlertChannel, now: Timestamp) -> Value {
    json!({"type": "notification.test", "timestamp": now, "data": {
        "title": "a test",
        "detail": format!("the alert channel `{}` leads here", channel.name),
        "hint": "nothing is to be done",
    }})
}

/// The id of a message, the same over all attempts.
pub(super) fn id(delivery: Uuid) -> String {
    format!("msg_{}", delivery.simple())
}

pub(super) fn webhook(payload: &Value) -> Bytes {
    payload.to_string().into()
}

fn text<'p>(payload: &'p Value, name: &str) -> &'p str {
    payload["data"][name].as_str().unwrap_or_default()
}

/// The first line: how it stands, and what it is.
fn headline(payload: &Value) -> String {
    let title = text(payload, "title");
    match payload["type"].as_str() {
        Some("notification.resolved") => format!("Resolved: {title}"),
        Some("notification.reminder") => format!("Still: {title}"),
        Some("notification.opened") if text(payload, "severity") == "error" => format!("Error: {title}"),
        Some("notification.opened") => format!("Warning: {title}"),
        _ => format!("tieline: {title}"),
    }
}

/// Names and values below the text.
fn fields(payload: &Value) -> Vec<(String, String)> {
    let data = &payload["data"];
    let found = [
        ("Integration", data["integration"]["name"].as_str().map(str::to_owned)),
        ("Kind", data["kind"].as_str().map(str::to_owned)),
        ("Since", data["opened_at"].as_str().map(str::to_owned)),
        ("Resolved", data["resolved_at"].as_str().map(str::to_owned)),
        ("Found", data["kind"].as_str().and(data["count"].as_i64()).map(|count| format!("{count} times"))),
    ];
    found.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn body(payload: &Value) -> String {
    let is_over = payload["type"] == "notification.resolved";
    let parts = [text(payload, "detail"), if is_over { "" } else { text(payload, "hint") }];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

pub(super) fn slack(payload: &Value, link: &Url) -> slack::Message {
    slack::Message {
        header: headline(payload),
        text: body(payload),
        fields: fields(payload),
        link: Some(("Open tieline".to_owned(), link.clone())),
    }
}

/// Subject and text.
pub(super) fn mail(payload: &Value, link: &Url) -> (String, String) {
    let mut text = body(payload);
    text.push_str("\n\n");
    for (name, value) in fields(payload) {
        text.push_str(&format!("{name}: {value}\n"));
    }
    text.push_str(&format!("\n{link}\n"));
    (format!("[tieline] {}", headline(payload)), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_how_it_stands() {
        let mut payload = json!({"type": "notification.opened", "data": {
            "severity": "error", "title": "the sync of `acme` fails", "detail": "503", "hint": "wait", "count": 2,
            "kind": "sync_failure", "integration": {"name": "acme"}, "opened_at": "2026-06-01T12:00:00Z", "resolved_at": null,
        }});
        let link: Url = "https://t.example/".parse().unwrap();
        let (subject, text) = mail(&payload, &link);
        assert_eq!(subject, "[tieline] Error: the sync of `acme` fails");
        assert!(text.starts_with("503\nwait\n\nIntegration: acme\nKind: sync_failure\nSince: 2026-"), "{text}");
        assert!(text.ends_with("Found: 2 times\n\nhttps://t.example/\n") && !text.contains("Resolved"), "{text}");
        payload["type"] = "notification.resolved".into();
        let message = slack(&payload, &link);
        assert_eq!((message.header.as_str(), message.text.as_str()), ("Resolved: the sync of `acme` fails", "503"));
    }
}
