//! Salesforce's Contact as a row, for imports: they ask for contacts by id, without a describe.

use serde::{Deserialize, Serialize};
use tieline_store::ContactRow;
use tieline_store::object_tables::Deletion;

/// API name of the object.
pub const OBJECT: &str = "Contact";

/// What is read. The fields without a column of their own are kept under their names in `source_metadata`.
pub const FIELDS: &str = "Id, FirstName, LastName, Name, Email, Phone, Title, Account.Name, AccountId, OwnerId, MobilePhone, \
    Department, Description, LeadSource, Birthdate, MailingStreet, MailingCity, MailingState, MailingPostalCode, \
    MailingCountry, CreatedDate, LastModifiedDate, MasterRecordId, SystemModstamp, IsDeleted";

/// A record of the answer, read straight into the row that the database takes.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Contact")]
pub struct Row(pub ContactRow);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contact {
    id: String,
    first_name: Option<String>,
    last_name: Option<String>,
    name: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    title: Option<String>,
    account: Option<Account>,
    system_modstamp: String,
    is_deleted: bool,
    // What goes into `source_metadata`; `flatten` would read every record twice.
    account_id: Option<String>,
    birthdate: Option<String>,
    created_date: Option<String>,
    department: Option<String>,
    description: Option<String>,
    last_modified_date: Option<String>,
    lead_source: Option<String>,
    mailing_city: Option<String>,
    mailing_country: Option<String>,
    mailing_postal_code: Option<String>,
    mailing_state: Option<String>,
    mailing_street: Option<String>,
    master_record_id: Option<String>,
    mobile_phone: Option<String>,
    owner_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Account {
    name: Option<String>,
}

/// Always in this order, so that two readings of one version are the same text.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    birthdate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    department: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_date: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lead_source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailing_city: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailing_country: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailing_postal_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailing_state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mailing_street: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    master_record_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mobile_phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner_id: Option<&'a str>,
}

impl TryFrom<Contact> for Row {
    type Error = String;

    fn try_from(contact: Contact) -> Result<Self, String> {
        let stamp = &contact.system_modstamp;
        let source_stamp =
            parse_datetime(stamp).ok_or_else(|| format!("record {} has the SystemModstamp `{stamp}`", contact.id))?;
        let metadata = Metadata {
            account_id: contact.account_id.as_deref(),
            birthdate: contact.birthdate.as_deref(),
            created_date: contact.created_date.as_deref(),
            department: contact.department.as_deref(),
            description: contact.description.as_deref(),
            last_modified_date: contact.last_modified_date.as_deref(),
            lead_source: contact.lead_source.as_deref(),
            mailing_city: contact.mailing_city.as_deref(),
            mailing_country: contact.mailing_country.as_deref(),
            mailing_postal_code: contact.mailing_postal_code.as_deref(),
            mailing_state: contact.mailing_state.as_deref(),
            mailing_street: contact.mailing_street.as_deref(),
            master_record_id: contact.master_record_id.as_deref(),
            mobile_phone: contact.mobile_phone.as_deref(),
            owner_id: contact.owner_id.as_deref(),
        };
        let source_metadata = serde_json::to_value(&metadata).map_err(|e| format!("record {}: {e}", contact.id))?;
        Ok(Row(ContactRow {
            source_id: contact.id,
            first_name: contact.first_name,
            last_name: contact.last_name,
            name: contact.name,
            email: contact.email,
            phone: contact.phone,
            company: contact.account.and_then(|account| account.name),
            title: contact.title,
            source_metadata,
            custom_fields: serde_json::json!({}),
            source_stamp,
            deleted: contact.is_deleted.then_some(Deletion::Deleted),
        }))
    }
}

/// Reads `2024-01-02T03:04:05.000+0000`, the REST API's form.
fn parse_datetime(text: &str) -> Option<jiff::Timestamp> {
    jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).or_else(|_| text.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_fields_get_columns_and_the_rest_stays_under_its_name() {
        let Row(row) = serde_json::from_str(
            r#"{"attributes":{"type":"Contact"},"Id":"003x","FirstName":null,"LastName":"Müller 🦀","Account":{"attributes":{},"Name":"Acme"},
            "SystemModstamp":"2024-01-02T03:04:05.000+0000","IsDeleted":false,"Department":"R&D","Birthdate":null}"#,
        )
        .unwrap();
        assert_eq!(
            (row.first_name, row.last_name.as_deref(), row.company.as_deref()),
            (None, Some("Müller 🦀"), Some("Acme"))
        );
        assert_eq!(row.source_metadata, serde_json::json!({"Department": "R&D"}));
        assert_eq!(row.source_stamp.to_string(), "2024-01-02T03:04:05Z");
    }

    #[test]
    fn a_record_without_id_stamp_or_deletion_flag_is_refused() {
        for json in [
            r#"{"SystemModstamp":"2024-01-02T03:04:05.000+0000","IsDeleted":false}"#,
            r#"{"Id":"003x","IsDeleted":false}"#,
            r#"{"Id":"003x","SystemModstamp":"yesterday","IsDeleted":false}"#,
            r#"{"Id":"003x","SystemModstamp":"2024-01-02T03:04:05.000+0000"}"#,
        ] {
            assert!(serde_json::from_str::<Row>(json).is_err(), "{json}");
        }
    }
}
