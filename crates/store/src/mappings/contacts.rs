//! The mapping that is built in: the contacts of an integration, in the table `contacts`.
//!
//! It has the integration's id, so that it is found without looking, comes with the integration and goes with it. Nothing is
//! asked of the org for it: what it reads, its first run finds out.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::{Mapping, Target};
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::Tx;
use crate::sync_work::Work;

/// Its name, and that of its table.
pub const CONTACTS: &str = "contacts";

/// Whether no other mapping may be called so: `contact` is what people say for it.
pub fn is_reserved(name: &str) -> bool {
    [CONTACTS, "contact"].iter().any(|reserved| name.eq_ignore_ascii_case(reserved))
}

impl Mapping {
    /// Whether it is the one that is built in.
    pub fn is_contacts(&self) -> bool {
        self.target == Target::Contacts
    }

    /// What it is in the queue.
    pub fn work(&self) -> Work {
        match self.target {
            Target::Table => Work::Mapping { mapping: self.id },
            Target::Contacts => Work::Contacts { integration: self.id },
        }
    }
}

impl Tenant {
    /// The contacts of an integration. None, if there is no such integration.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn contacts_mapping(&self, integration: Uuid) -> Result<Option<Mapping>, StoreError> {
        Ok(self.mapping(integration).await?.filter(Mapping::is_contacts))
    }
}

/// Makes the mapping of a new integration's contacts; one that is there stays as it is.
pub(crate) async fn make_contacts_mapping(
    tx: &mut Tx,
    business: Uuid,
    integration: Uuid,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.query(
        "INSERT INTO mappings (id, business_id, integration_id, name, object, table_name, target, definition, columns, created_at, updated_at)
         VALUES ($1, $2, $1, $3, 'Contact', $4, 'contacts', $5, $6, $7, $7) ON CONFLICT DO NOTHING",
    )
    .bind(integration)
    .bind(business)
    .bind(CONTACTS)
    // With a space, which no table's name has.
    .bind(format!("{CONTACTS} {integration}"))
    .bind(json!({"name": CONTACTS, "object": "Contact"}))
    .bind(json!([]))
    .bind(now)
    .execute()
    .await?;
    tx.query("INSERT INTO mapping_checkpoints (mapping_id, business_id) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(integration)
        .bind(business)
        .execute()
        .await
        .map(drop)
}
