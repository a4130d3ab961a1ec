//! What records are read from: the table of a mapping, or the contacts of an integration.

use uuid::Uuid;

use crate::error::StoreError;
use crate::mappings::{self, Mapping};
use crate::object_tables::{Column, ColumnKind, quoted};
use crate::open::Tenant;
use crate::sql::Value;

/// Where records are.
#[derive(Debug, Clone)]
pub struct RecordSource {
    pub(super) id: Uuid,
    columns: Vec<Column>,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// A table of its own.
    Table(String),
    /// The rows of an integration in `contacts`, whose id their mapping has.
    Contacts,
}

/// The columns of `contacts` that are shown as they are.
const CONTACTS: [(&str, ColumnKind); 10] = [
    ("first_name", ColumnKind::Text),
    ("last_name", ColumnKind::Text),
    ("name", ColumnKind::Text),
    ("email", ColumnKind::Text),
    ("phone", ColumnKind::Text),
    ("company", ColumnKind::Text),
    ("title", ColumnKind::Text),
    ("source_metadata", ColumnKind::Json),
    ("custom_fields", ColumnKind::Json),
    ("created_at", ColumnKind::DateTime),
];

/// The columns that every record has, beside the mapped ones.
pub(super) const OURS: [(&str, ColumnKind); 5] = [
    ("id", ColumnKind::Text),
    ("_stamp", ColumnKind::DateTime),
    ("_deleted", ColumnKind::Text),
    ("_master_id", ColumnKind::Text),
    ("_synced_at", ColumnKind::DateTime),
];

impl RecordSource {
    /// The rows of a mapping.
    pub fn mapping(mapping: &Mapping) -> Self {
        if mapping.is_contacts() {
            return Self::contacts(mapping.id);
        }
        let table = &mapping.table;
        Self { id: mapping.id, columns: table.columns().to_vec(), form: Form::Table(table.name().to_owned()) }
    }

    /// The contacts that came from an integration.
    pub fn contacts(integration: Uuid) -> Self {
        let columns = CONTACTS.map(|(name, kind)| Column { name: name.to_owned(), kind });
        Self { id: integration, columns: columns.to_vec(), form: Form::Contacts }
    }

    /// Its columns, without those that every record has.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The kind of a column, ours among them.
    pub(super) fn kind(&self, name: &str) -> Option<ColumnKind> {
        let ours = OURS.iter().find(|(ours, _)| *ours == name).map(|(_, kind)| *kind);
        ours.or_else(|| self.columns.iter().find(|column| column.name == name).map(|column| column.kind))
    }

    /// The names that a filter may say.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        OURS.iter().map(|(name, _)| *name).chain(self.columns.iter().map(|column| column.name.as_str()))
    }

    /// What it is read from.
    pub(super) fn from(&self) -> String {
        match &self.form {
            Form::Table(name) => quoted(name),
            Form::Contacts => "contacts".to_owned(),
        }
    }

    /// What its rows have in common, with values from `$1` on.
    pub(super) fn condition(&self, business: Uuid) -> (&'static str, Vec<Value>) {
        match &self.form {
            Form::Table(_) => ("true", Vec::new()),
            Form::Contacts => (
                "business_id = $1 AND source_type = 'salesforce' AND integration_id = $2",
                vec![business.into(), self.id.into()],
            ),
        }
    }

    pub(super) fn change(&self) -> &'static str {
        match &self.form {
            Form::Table(_) => "\"_change\"",
            Form::Contacts => "change",
        }
    }

    /// A column as it is compared and put in order. The name was checked: it is one of [`RecordSource::names`].
    pub(super) fn compared(&self, name: &str, postgres: bool) -> String {
        match &self.form {
            Form::Table(_) => quoted(name),
            Form::Contacts => {
                let column = match name {
                    "id" => "source_id",
                    "_stamp" => "source_stamp",
                    "_synced_at" => "last_synced_at",
                    "_deleted" => "deletion",
                    "_master_id" => {
                        return "CASE WHEN deletion = 'merged' THEN source_metadata ->> 'MasterRecordId' END"
                            .to_owned();
                    }
                    name => name,
                };
                // SQLite has milliseconds there, and texts in the tables of mappings.
                match self.kind(name) {
                    Some(ColumnKind::DateTime) if !postgres => {
                        format!("strftime('%Y-%m-%dT%H:%M:%fZ', {column} / 1000.0, 'unixepoch')")
                    }
                    _ => column.to_owned(),
                }
            }
        }
    }

    /// A column as the text that [`super::json`] reads.
    pub(super) fn told(&self, name: &str, postgres: bool) -> String {
        let column = self.compared(name, postgres);
        let kind = self.kind(name).unwrap_or(ColumnKind::Text);
        match (kind, postgres) {
            (ColumnKind::Text, _) => column,
            (ColumnKind::DateTime, true) => {
                format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')")
            }
            (ColumnKind::Time, true) => format!("to_char(CAST({column} AS interval), 'HH24:MI:SS.MS')"),
            // The form `2026-06-01` whatever the session's settings are.
            (ColumnKind::Date, true) => format!("to_char({column}, 'YYYY-MM-DD')"),
            (ColumnKind::Date | ColumnKind::DateTime | ColumnKind::Time | ColumnKind::Json, false) => column,
            (ColumnKind::Integer | ColumnKind::Number | ColumnKind::Bool, false) | (_, true) => {
                format!("CAST({column} AS text)")
            }
        }
    }
}

impl Tenant {
    /// All mappings of the business, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn every_mapping(&self) -> Result<Vec<Mapping>, StoreError> {
        let mut tx = self.read("reading the mappings").await?;
        let sql = format!("{} WHERE m.business_id = $1 ORDER BY m.created_at, m.id", mappings::SELECT);
        tx.query(sql).bind(self.business()).all().await?.iter().map(mappings::mapping).collect()
    }
}
