//! Records for whoever is outside: followed without a gap, filtered by kind, and told of by webhooks at least once.

mod feed;
mod filters;
mod webhooks;

use serde_json::Value;
use tieline_store::mappings::Mapping;
use tieline_store::object_tables::Rows;
use tieline_store::records::{
    Deleted, Filter, NewRecordWebhook, RecordCursor, RecordQuery, RecordSource, RecordWebhook, Start,
};
use tieline_store::{Run, Tenant, Uuid};

use crate::database::now;
use crate::object_tables::{NAMES, checkpoint, mapped, named};

pub(crate) async fn webhook(tenant: &Tenant, mapping: &Mapping, include_records: bool) -> RecordWebhook {
    let new = NewRecordWebhook {
        shown: "hooks.example",
        setting: b"hidden-url",
        fields: None,
        include_records,
        from_beginning: true,
    };
    tenant.create_record_webhook(mapping, &new, 100, now()).await.unwrap().unwrap()
}

/// A mapping with a text, and a run that writes to it.
async fn scene(tenant: &Tenant, integration: Uuid) -> (Mapping, Run) {
    let mapping = mapped(tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    (mapping, run)
}

/// Writes these ids with this name, as one step of that second.
async fn write(tenant: &Tenant, run: &Run, mapping: &Mapping, ids: &[&str], name: &str, second: i64) {
    let mut rows = Rows::new(1);
    ids.iter().for_each(|id| named(&mut rows, id, Some(second), name));
    crate::object_tables::written(tenant, run, mapping, rows, checkpoint(second)).await.unwrap();
}

struct Got {
    records: Vec<Value>,
    next: RecordCursor,
    more: bool,
}

impl Got {
    fn ids(&self) -> Vec<&str> {
        self.records.iter().map(|record| record["id"].as_str().unwrap()).collect()
    }
}

struct Asked<'a> {
    start: Start,
    filters: &'a [(&'a str, &'a str, &'a str)],
    deleted: Deleted,
    limit: u32,
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self { start: Start::Changes, filters: &[], deleted: Deleted::Include, limit: 100 }
    }
}

async fn find(tenant: &Tenant, source: &RecordSource, asked: Asked<'_>) -> Option<Got> {
    let filters: Vec<Filter> = asked
        .filters
        .iter()
        .map(|(operator, column, text)| Filter::new(source, operator, column, text).unwrap())
        .collect();
    let fields: Vec<_> = source.columns().iter().collect();
    let (deleted, limit) = (asked.deleted, asked.limit);
    let query = RecordQuery { start: asked.start, filters: &filters, fields: &fields, deleted, limit };
    let page = tenant.records(source, &query).await.unwrap()?;
    let records = page.records.iter().map(|record| serde_json::from_str(record.get()).unwrap()).collect();
    Some(Got { records, next: page.next, more: page.more })
}

/// What is behind a cursor.
fn after(source: &Mapping, cursor: &RecordCursor) -> Start {
    Start::After(cursor.place_in(source.id).unwrap().clone())
}
