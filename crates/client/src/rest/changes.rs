//! What was changed and deleted in a window of time, by the org's own account.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::sobject::segment;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::Request;

/// Records that were created or changed in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Updated {
    /// Their ids.
    pub ids: Vec<String>,
    /// Up to when the answer is complete: where the next window begins.
    #[serde(deserialize_with = "moment")]
    pub latest_date_covered: Timestamp,
    /// What else the org says.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// Records that were deleted in a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// Them.
    pub deleted_records: Vec<DeletedRecord>,
    /// Deletions before this are forgotten: a window that begins earlier is not complete.
    #[serde(deserialize_with = "moment")]
    pub earliest_date_available: Timestamp,
    /// Up to when the answer is complete.
    #[serde(deserialize_with = "moment")]
    pub latest_date_covered: Timestamp,
    /// What else the org says.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// A record that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeletedRecord {
    /// Its id.
    pub id: String,
    /// When.
    #[serde(deserialize_with = "moment")]
    pub deleted_date: Timestamp,
    /// What else the org says.
    #[serde(flatten)]
    pub more: serde_json::Map<String, serde_json::Value>,
}

/// Reads a datetime in all forms in which Salesforce writes them: with `Z`, with `+00:00`, and with `+0000`.
///
/// ```
/// let at = tieline_client::parse_datetime("2024-01-02T03:04:05.000+0000").unwrap();
/// assert_eq!(at.to_string(), "2024-01-02T03:04:05Z");
/// ```
pub fn parse_datetime(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    // `+0000`: jiff wants a colon in it.
    let (sign, digits) = (text.len().checked_sub(5)?, text.len().checked_sub(2)?);
    if !text.is_char_boundary(sign) || !text.is_char_boundary(digits) || !text[sign..].starts_with(['+', '-']) {
        return None;
    }
    format!("{}:{}", &text[..digits], &text[digits..]).parse().ok()
}

fn moment<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
    parse_datetime(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a datetime")))
}

impl Connection {
    /// Ids of the records that were created or changed from `start` to `end`: within the last 30 days, more than a minute
    /// apart; seconds do not count.
    ///
    /// # Errors
    /// As [`Connection::send`]; `INVALID_REPLICATION_DATE` for a window that the org does not have, `EXCEEDED_ID_LIMIT` for
    /// one with more than 600,000 records.
    pub async fn updated(&self, object: &str, start: Timestamp, end: Timestamp) -> Result<Updated, ClientError> {
        self.send_json(&self.window(object, "updated", start, end)).await
    }

    /// The records that were deleted from `start` to `end`, as [`Connection::updated`]. Compare
    /// [`Deleted::earliest_date_available`] with `start`.
    ///
    /// # Errors
    /// As [`Connection::updated`].
    pub async fn deleted(&self, object: &str, start: Timestamp, end: Timestamp) -> Result<Deleted, ClientError> {
        self.send_json(&self.window(object, "deleted", start, end)).await
    }

    fn window(&self, object: &str, resource: &str, start: Timestamp, end: Timestamp) -> Request {
        let written = |at: Timestamp| segment(&at.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string());
        let path = format!("sobjects/{}/{resource}?start={}&end={}", segment(object), written(start), written(end));
        Request::get(self.data_path(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes_are_read_in_every_form() {
        let at: Timestamp = "2024-01-02T03:04:05.678Z".parse().unwrap();
        for text in [
            "2024-01-02T03:04:05.678Z",
            "2024-01-02T03:04:05.678+0000",
            "2024-01-02T03:04:05.678+00:00",
            "2024-01-02T05:04:05.678+0200",
            "2024-01-01T22:34:05.678-0430",
        ] {
            assert_eq!(parse_datetime(text), Some(at), "{text}");
        }
        for text in [
            "",
            "+0000",
            "2024-01-02",
            "yesterday",
            "2024-01-02T03:04:05",
            "2024-13-02T03:04:05.000+0000",
            "é+000",
            "日本",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }
}
