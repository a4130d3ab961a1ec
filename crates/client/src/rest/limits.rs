//! `GET /limits`, and how many records there are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::sobject::segment;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::Request;

/// One of the org's limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// How much there is.
    #[serde(rename = "Max")]
    pub max: i64,
    /// How much of it is left.
    #[serde(rename = "Remaining")]
    pub remaining: i64,
    /// The same for single apps, by their names, where the org has such limits.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

#[derive(Deserialize)]
struct Counts {
    #[serde(rename = "sObjects")]
    objects: Vec<Count>,
}

#[derive(Deserialize)]
struct Count {
    name: String,
    count: u64,
}

impl Connection {
    /// The org's limits by name, such as `DailyApiRequests`. What has no `Max` and `Remaining` is none, and left out.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn limits(&self) -> Result<BTreeMap<String, Limit>, ClientError> {
        let all: BTreeMap<String, Value> = self.send_json(&Request::get(self.data_path("limits"))).await?;
        let limit = |(name, value)| Some((name, serde_json::from_value(value).ok()?));
        Ok(all.into_iter().filter_map(limit).collect())
    }

    /// About how many records objects have, by their names. The org counts from time to time; objects that it has not
    /// counted are left out.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub async fn record_counts(&self, objects: &[&str]) -> Result<BTreeMap<String, u64>, ClientError> {
        let path = format!("limits/recordCount?sObjects={}", segment(&objects.join(",")));
        let counts: Counts = self.send_json(&Request::get(self.data_path(&path))).await?;
        Ok(counts.objects.into_iter().map(|one| (one.name, one.count)).collect())
    }
}
