//! What is read and written: the same records for us, for the floor and for the peers.

use serde::{Deserialize, Serialize};

pub(crate) const SOQL: &str = "SELECT Id,AccountId,FirstName,LastName,Email,Phone,Title,Department,MailingCity,\
     MailingCountry,CreatedDate,SystemModstamp FROM Contact";
pub(crate) const SMALL_SOQL: &str = "SELECT Id,LastName FROM Contact LIMIT 1";
/// Records that the query finds.
pub(crate) const CONTACTS: u64 = 200_000;
/// Rows of a bulk query, and of an ingest.
pub(crate) const ROWS: u64 = 1_000_000;

/// A record of the query.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "read as a program would, and then let go")]
pub(crate) struct Contact {
    id: String,
    account_id: Option<String>,
    first_name: Option<String>,
    last_name: String,
    email: Option<String>,
    phone: Option<String>,
    title: Option<String>,
    department: Option<String>,
    mailing_city: Option<String>,
    mailing_country: Option<String>,
    created_date: String,
    system_modstamp: String,
}

/// A record that is inserted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NewContact {
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) email: String,
    pub(crate) phone: String,
    #[serde(rename = "External_Id__c")]
    pub(crate) external_id: String,
}

impl NewContact {
    pub(crate) fn new(n: u64) -> Self {
        Self {
            first_name: format!("First{n}"),
            last_name: format!("Last, {n}"),
            email: format!("user{n}@example.com"),
            phone: format!("+1 555 {n}"),
            external_id: format!("EXT-{n}"),
        }
    }
}
