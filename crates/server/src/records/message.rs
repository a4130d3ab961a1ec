//! What a webhook of changed records says.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tieline_store::Uuid;
use tieline_store::records::{RecordBatch, RecordWebhook};

/// Its type.
pub(super) const CHANGED: &str = "records.changed";

#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    business_id: Uuid,
    webhook_id: Uuid,
    integration_id: Option<Uuid>,
    mapping: MappingName<'a>,
    run_id: Option<Uuid>,
    counts: Counts,
    from_cursor: String,
    to_cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<&'a [Box<RawValue>]>,
}

#[derive(Serialize)]
struct MappingName<'a> {
    id: Uuid,
    name: &'a str,
    object: &'a str,
}

#[derive(Serialize)]
struct Counts {
    records: i64,
    deleted: i64,
}

/// The body of a message: as long as its records do not change, the same for each attempt.
pub(super) fn body(business_id: Uuid, webhook: &RecordWebhook, batch: &RecordBatch) -> Bytes {
    let mapping = &batch.mapping;
    let message = Message {
        kind: CHANGED,
        timestamp: &batch.written_at,
        data: Data {
            business_id,
            webhook_id: webhook.id,
            integration_id: mapping.integration_id,
            mapping: MappingName { id: mapping.id, name: &mapping.name, object: &mapping.object },
            run_id: batch.run,
            counts: Counts { records: batch.count, deleted: batch.deleted },
            from_cursor: batch.from.to_string(),
            to_cursor: batch.to.to_string(),
            records: batch.records.as_deref(),
        },
    };
    serde_json::to_vec(&message).unwrap_or_default().into()
}

/// The body of a test.
pub(super) fn test(business_id: Uuid, webhook: &RecordWebhook, now: Timestamp) -> Bytes {
    json!({"type": "records.test", "timestamp": now, "data": {
        "business_id": business_id, "webhook_id": webhook.id, "mapping": {"id": webhook.mapping_id},
    }})
    .to_string()
    .into()
}
