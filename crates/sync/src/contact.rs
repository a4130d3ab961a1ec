//! Salesforce's Contact as a row.

use std::collections::BTreeMap;

use serde_json::Value;
use tieline_client::Record;
use tieline_store::ContactRow;

/// API name of the object.
pub const OBJECT: &str = "Contact";

/// What is read. The fields without a column of their own are kept under their names in `source_metadata`.
pub const FIELDS: &str = "Id, FirstName, LastName, Name, Email, Phone, Title, Account.Name, AccountId, OwnerId, MobilePhone, \
    Department, Description, LeadSource, Birthdate, MailingStreet, MailingCity, MailingState, MailingPostalCode, \
    MailingCountry, CreatedDate, LastModifiedDate, MasterRecordId, SystemModstamp, IsDeleted";

/// A record as a row.
///
/// # Errors
/// Names what a record lacks that every record has: `Id`, `SystemModstamp` or `IsDeleted`.
pub fn row(mut record: Record) -> Result<ContactRow, String> {
    let mut text = |field: &str| match record.remove(field) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let source_id = text("Id").ok_or("it has no Id")?;
    let stamp = text("SystemModstamp").ok_or_else(|| format!("{source_id} has no SystemModstamp"))?;
    let source_stamp = parse_datetime(&stamp).ok_or_else(|| format!("{source_id} has the SystemModstamp `{stamp}`"))?;
    let [first_name, last_name, name, email, phone, title] =
        ["FirstName", "LastName", "Name", "Email", "Phone", "Title"].map(text);
    let deleted =
        record.remove("IsDeleted").and_then(|v| v.as_bool()).ok_or_else(|| format!("{source_id} has no IsDeleted"))?;
    let company = record.remove("Account").and_then(|account| Some(account.get("Name")?.as_str()?.to_owned()));
    record.remove("attributes");
    // Sorted, so that two readings of one version are the same text.
    let rest: BTreeMap<String, Value> = record.into_iter().filter(|(_, value)| !value.is_null()).collect();
    let source_metadata = serde_json::to_string(&rest).map_err(|e| format!("{source_id}: {e}"))?;
    Ok(ContactRow {
        source_id,
        first_name,
        last_name,
        name,
        email,
        phone,
        company,
        title,
        source_metadata,
        source_stamp,
        deleted,
    })
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
        let record = serde_json::from_str(
            r#"{"attributes":{"type":"Contact"},"Id":"003x","FirstName":null,"LastName":"Müller 🦀","Account":{"attributes":{},"Name":"Acme"},
            "SystemModstamp":"2024-01-02T03:04:05.000+0000","IsDeleted":false,"Department":"R&D","Birthdate":null}"#,
        );
        let row = row(record.unwrap()).unwrap();
        assert_eq!(
            (row.first_name, row.last_name.as_deref(), row.company.as_deref()),
            (None, Some("Müller 🦀"), Some("Acme"))
        );
        assert_eq!(row.source_metadata, r#"{"Department":"R&D"}"#);
        assert_eq!(row.source_stamp.to_string(), "2024-01-02T03:04:05Z");
        assert!(super::row(serde_json::from_str(r#"{"Id":"003x","IsDeleted":true}"#).unwrap()).is_err());
    }
}
