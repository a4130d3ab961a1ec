//! `limits` and `limits/recordCount`.

use std::collections::HashMap;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::json_response;
use crate::Shared;
use crate::api_error::ApiError;

/// Those that stand still: maximum and remainder, as in a Developer Edition (recorded by SwiftlySalesforce).
const CONSTANTS: [(&str, u64, u64); 26] = [
    ("ActiveScratchOrgs", 3, 3),
    ("AnalyticsExternalDataSizeMB", 40_960, 40_960),
    ("ConcurrentAsyncGetReportInstances", 200, 200),
    ("ConcurrentSyncReportRuns", 20, 20),
    ("DailyAsyncApexExecutions", 250_000, 250_000),
    ("DailyBulkApiBatches", 15_000, 15_000),
    ("DailyBulkV2QueryFileStorageMB", 976_562, 976_562),
    ("DailyBulkV2QueryJobs", 10_000, 10_000),
    ("DailyDurableGenericStreamingApiEvents", 10_000, 10_000),
    ("DailyDurableStreamingApiEvents", 10_000, 10_000),
    ("DailyGenericStreamingApiEvents", 10_000, 10_000),
    ("DailyScratchOrgs", 6, 6),
    ("DailyStandardVolumePlatformEvents", 10_000, 10_000),
    ("DailyStreamingApiEvents", 10_000, 10_000),
    ("DailyWorkflowEmails", 195, 195),
    ("DataStorageMB", 1_024, 1_000),
    ("DurableStreamingApiConcurrentClients", 20, 20),
    ("FileStorageMB", 1_024, 1_024),
    ("HourlyAsyncReportRuns", 1_200, 1_200),
    ("HourlyPublishedPlatformEvents", 50_000, 50_000),
    ("HourlyPublishedStandardVolumePlatformEvents", 1_000, 1_000),
    ("MassEmail", 10, 10),
    ("Package2VersionCreates", 6, 6),
    ("Package2VersionCreatesWithoutValidation", 500, 500),
    ("SingleEmail", 15, 15),
    ("StreamingApiConcurrentClients", 20, 20),
];

pub(super) async fn limits(State(shared): State<Shared>, Path(version): Path<String>, headers: HeaderMap) -> Response {
    shared
        .answer(version, headers, |call| {
            let (max, used) = (call.org.daily_limit, call.org.usage.used(call.org.now()));
            let mut body: Map<String, Value> = CONSTANTS
                .map(|(key, max, left)| (key.to_owned(), json!({"Max": max, "Remaining": left})))
                .into_iter()
                .collect();
            body.insert("DailyApiRequests".to_owned(), json!({"Max": max, "Remaining": max.saturating_sub(used)}));
            Ok(json_response(200, Value::Object(body).to_string().into_bytes()))
        })
        .await
}

/// Salesforce's counts are estimates that lag; these are exact.
pub(super) async fn record_count(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    Query(parameters): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    shared
        .answer(version, headers, move |call| {
            let wanted = parameters.get("sObjects").map(|names| names.split(',').map(str::trim).collect::<Vec<_>>());
            let objects: Vec<_> = match &wanted {
                // Unknown names are passed over; unverified.
                Some(names) => names.iter().filter_map(|n| call.org.schema.object(n)).collect(),
                None => call.org.schema.objects().collect(),
            };
            let counts: Vec<Value> = objects
                .into_iter()
                .map(|object| {
                    let alive = if object.field("IsDeleted").is_some() { " WHERE \"IsDeleted\" = 0" } else { "" };
                    let sql = format!("SELECT count(*) FROM \"{}\"{alive}", object.name);
                    let count: i64 = call.org.db.query_row(&sql, [], |row| row.get(0))?;
                    Ok(json!({"count": count, "name": object.name}))
                })
                .collect::<Result<_, ApiError>>()?;
            Ok(json_response(200, json!({"sObjects": counts}).to_string().into_bytes()))
        })
        .await
}
