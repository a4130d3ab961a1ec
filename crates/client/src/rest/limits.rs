//! `GET /limits`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::connection::Connection;
use crate::error::ClientError;
use crate::send::Request;

/// One of the org's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// How much there is.
    #[serde(rename = "Max")]
    pub max: i64,
    /// How much of it is left.
    #[serde(rename = "Remaining")]
    pub remaining: i64,
}

impl Connection {
    /// The org's limits by name, such as `DailyApiRequests`.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn limits(&self) -> Result<BTreeMap<String, Limit>, ClientError> {
        self.send_json(&Request::get(self.data_path("limits"))).await
    }
}
