//! Steps of the mapping of contacts, as the engine writes them: from contacts as a test has them.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tieline_store::mappings::{MappingStep, Spent, Standing};
use tieline_store::object_tables::{Change, Column, ColumnKind, Deletion, Rows};
use tieline_store::{Checkpoint, ContactRow, Run, StepOutcome, StoreError, Tenant, Uuid};

/// Into the recycle bin.
pub(crate) const DELETED: Option<Deletion> = Some(Deletion::Deleted);

const TEXTS: [&str; 7] = ["first_name", "last_name", "name", "email", "phone", "company", "title"];

/// What one page of a scan brings.
pub(crate) struct Step<'a> {
    pub(crate) contacts: &'a [ContactRow],
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) api_calls: u64,
}

pub(crate) trait ContactSteps {
    async fn start_run(&self, integration: Uuid, now: Timestamp) -> Result<Run, StoreError>;
    async fn commit_step(&self, run: &Run, step: &Step<'_>, now: Timestamp) -> Result<StepOutcome, StoreError>;
    async fn checkpoint(&self, integration: Uuid) -> Result<Checkpoint, StoreError>;
}

impl ContactSteps for Tenant {
    async fn start_run(&self, integration: Uuid, now: Timestamp) -> Result<Run, StoreError> {
        let none = || StoreError::NoIntegration { mapping: "contacts".to_owned() };
        self.start_mapping_run(&self.contacts_mapping(integration).await?.ok_or_else(none)?, now).await
    }

    async fn commit_step(&self, run: &Run, step: &Step<'_>, now: Timestamp) -> Result<StepOutcome, StoreError> {
        let fenced = || StoreError::Fenced { run: run.id.to_string() };
        let mut mapping = self.contacts_mapping(run.integration_id).await?.ok_or_else(fenced)?;
        let (columns, rows) = rows_of(step.contacts);
        mapping.table = Arc::new(mapping.table.with_columns(columns));
        let standing = Standing { checkpoint: step.checkpoint.clone(), ..mapping.standing.clone() };
        let spent = Spent { read: rows.len() as u64, api_calls: step.api_calls, ..Spent::default() };
        let step = MappingStep { rows: rows.into(), change: Change::Rows, standing: &standing, spent, errors: &[] };
        Ok(self.commit_rows(run, &mapping, step, now).await?.1)
    }

    async fn checkpoint(&self, integration: Uuid) -> Result<Checkpoint, StoreError> {
        Ok(self.contacts_mapping(integration).await?.map(|mapping| mapping.standing.checkpoint).unwrap_or_default())
    }
}

/// The columns that these contacts need, and their rows.
fn rows_of(contacts: &[ContactRow]) -> (Vec<Column>, Rows) {
    let fields = |contact: &ContactRow| {
        let of = [&contact.source_metadata, &contact.custom_fields];
        of.into_iter().filter_map(|json| json.as_object().cloned()).flatten().collect::<Vec<_>>()
    };
    let keys: BTreeSet<String> = contacts.iter().flat_map(fields).map(|(key, _)| key).collect();
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let mut columns: Vec<Column> = TEXTS.iter().map(|name| column(name, ColumnKind::Text)).collect();
    columns.extend(keys.iter().map(|key| column(key, ColumnKind::Json)));
    let mut rows = Rows::new(columns.len());
    for contact in contacts {
        let ContactRow { first_name, last_name, name, email, phone, company, title, .. } = contact;
        let mut row = rows.row();
        for (n, text) in [first_name, last_name, name, email, phone, company, title].into_iter().enumerate() {
            if let Some(text) = text {
                row.text(n, text);
            }
        }
        for (key, value) in fields(contact) {
            if let Some(n) = columns.iter().position(|column| column.name == key) {
                row.text(n, &value.to_string());
            }
        }
        let master = contact.source_metadata["MasterRecordId"].as_str();
        let deleted = contact.deleted.map(|deleted| if master.is_some() { Deletion::Merged } else { deleted });
        row.end(&contact.source_id, Some(contact.source_stamp.as_millisecond()), deleted, master);
    }
    (columns, rows)
}
