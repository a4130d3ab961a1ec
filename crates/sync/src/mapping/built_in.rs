//! The mapping that is built in: contacts, into columns that every reader of them knows.

use tieline_store::mappings::{CONTACTS, Mapping};

use super::column::ColumnDefinition;
use super::definition::Definition;
use super::error::MappingError;

/// Fields with a column of their own in `contacts`.
const COLUMNS: [(&str, &str); 7] = [
    ("FirstName", "first_name"),
    ("LastName", "last_name"),
    ("Name", "name"),
    ("Email", "email"),
    ("Phone", "phone"),
    ("Title", "title"),
    ("Account.Name", "company"),
];

/// Fields that are kept in `source_metadata`, under their own names.
const METADATA: [&str; 15] = [
    "AccountId",
    "Birthdate",
    "CreatedDate",
    "Department",
    "Description",
    "LastModifiedDate",
    "LeadSource",
    "MailingCity",
    "MailingCountry",
    "MailingPostalCode",
    "MailingState",
    "MailingStreet",
    "MasterRecordId",
    "MobilePhone",
    "OwnerId",
];

impl Definition {
    /// What a mapping is. Of contacts there are only settings in the database; their columns are this program's.
    ///
    /// # Errors
    /// As [`Definition::from_json`].
    pub fn of(mapping: &Mapping) -> Result<Self, MappingError> {
        let definition = Self::from_json(mapping.definition.clone())?;
        Ok(if mapping.is_contacts() { definition.with_contacts() } else { definition })
    }

    /// The mapping of contacts: known fields, and all that the org's own people have made.
    pub fn contacts() -> Self {
        Self::all_of(CONTACTS, "Contact").with_contacts()
    }

    fn with_contacts(mut self) -> Self {
        let named = |(field, column): (&str, &str)| ColumnDefinition {
            column: Some(column.to_owned()),
            ..ColumnDefinition::of(field)
        };
        // Under their own names: they are keys of JSON.
        let kept = METADATA.map(|field| (field, field));
        self.columns = COLUMNS.into_iter().chain(kept).map(named).collect();
        (self.all_fields, self.built_in) = (Some(true), true);
        self
    }
}
