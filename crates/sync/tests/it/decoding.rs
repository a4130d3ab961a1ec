//! Records of an org, read into rows: what every value becomes, and what happens to one that has no place.

use serde_json::{Value, json};
use tieline_client::RecordReader;
use tieline_client::rest::describe::Describe;
use tieline_store::object_tables::Deletion;
use tieline_sync::mapping::{Decoded, Decoder, Definition, Describes, Plan};

fn field(name: &str, kind: &str) -> Value {
    json!({"name": name, "type": kind, "filterable": true, "sortable": true})
}

fn reference(name: &str, relationship: &str, to: &[&str]) -> Value {
    json!({"name": name, "type": "reference", "relationshipName": relationship, "referenceTo": to, "filterable": true})
}

fn controls() -> Vec<Value> {
    vec![field("Id", "id"), field("SystemModstamp", "datetime"), field("IsDeleted", "boolean")]
}

fn describe(name: &str, fields: Vec<Value>) -> Describe {
    let fields: Vec<Value> = controls().into_iter().chain(fields).collect();
    serde_json::from_value(json!({"name": name, "queryable": true, "fields": fields})).unwrap()
}

/// A Contact with a field of each kind, and what its paths lead to.
pub(crate) fn org() -> Describes {
    let contact = describe(
        "Contact",
        vec![
            field("MasterRecordId", "reference"),
            field("IsArchived", "boolean"),
            field("FirstName", "string"),
            field("LastName", "string"),
            field("Email", "email"),
            field("Phone", "phone"),
            field("Score__c", "double"),
            field("Worth__c", "currency"),
            field("Visits__c", "int"),
            field("Active__c", "boolean"),
            field("Birthdate", "date"),
            field("CreatedDate", "datetime"),
            field("Calls_At__c", "time"),
            field("MailingAddress", "address"),
            field("Topics__c", "multipicklist"),
            field("Anything__c", "anyType"),
            field("Photo__c", "base64"),
            json!({"name": "Age__c", "type": "double", "calculated": true}),
            reference("AccountId", "Account", &["Account"]),
            reference("OwnerId", "Owner", &["Group", "User"]),
        ],
    );
    let account = describe(
        "Account",
        vec![
            field("Name", "string"),
            field("AnnualRevenue", "currency"),
            reference("OwnerId", "Owner", &["User"]),
            reference("ParentId", "Parent", &["Account"]),
        ],
    );
    let user = describe("User", vec![field("Name", "string"), field("Email", "email")]);
    [contact, account, user].into_iter().collect()
}

pub(crate) fn plan(definition: Value) -> Plan {
    let definition = Definition::from_json(definition).unwrap();
    Plan::new(&definition, &org()).unwrap_or_else(|error| panic!("{error}"))
}

/// A mapping of these columns.
pub(crate) fn columns(columns: Value) -> Plan {
    plan(json!({"name": "people", "object": "contact", "columns": columns}))
}

pub(crate) fn decode(plan: &Plan, records: &[&str]) -> Result<Decoded, serde_json::Error> {
    let decoder = Decoder::new(plan);
    let mut decoded = decoder.batch(records.len(), 0);
    for record in records {
        decoder.record(&mut decoded, &mut serde_json::Deserializer::from_str(record))?;
    }
    Ok(decoded)
}

/// A record with the fields that every one has.
pub(crate) fn record(rest: &str) -> String {
    format!(
        r#"{{"attributes":{{"type":"Contact","url":"/x"}},"Id":"003000000000001AAA","SystemModstamp":"2024-01-02T03:04:05.000+0000","IsDeleted":false,"MasterRecordId":null,"IsArchived":false{rest}}}"#
    )
}

pub(crate) fn row(plan: &Plan, decoded: &Decoded, row: usize) -> Value {
    let cells = plan.columns.iter().enumerate().map(|(n, column)| {
        let value = decoded.rows.json(row, n, column.kind);
        (column.name.clone(), value)
    });
    Value::Object(cells.collect())
}

#[test]
fn every_kind_of_value_has_its_place() {
    let plan = plan(json!({"name": "people", "object": "Contact"}));
    let names: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    assert!(!names.contains(&"mailing_address") && !names.contains(&"photo"), "{names:?}");
    let decoded = decode(
        &plan,
        &[&record(
            r#","FirstName":"Ad\u00e4","LastName":"Lovelace","Email":null,"Phone":"1","Score__c":0.1,"Worth__c":123456789012345.67,
            "Visits__c":7,"Active__c":true,"Birthdate":"1815-12-10","CreatedDate":"2024-01-02T03:04:05.678Z",
            "Calls_At__c":"09:30:00.000Z","Topics__c":"a;b","Anything__c":5,"Age__c":1E+2,
            "AccountId":"001000000000001AAA","OwnerId":null"#,
        )],
    )
    .unwrap();
    let row = row(&plan, &decoded, 0);
    let expected = json!({
        "system_modstamp": "2024-01-02T03:04:05.000Z", "is_deleted": false, "master_record_id": null, "is_archived": false,
        "first_name": "Adä", "last_name": "Lovelace", "email": null, "phone": "1", "score": 0.1,
        "worth": "123456789012345.67", "visits": 7, "active": true, "birthdate": "1815-12-10",
        "created_date": "2024-01-02T03:04:05.678Z", "calls_at": "09:30:00.000", "topics": "a;b", "anything": "5",
        "age": 100.0, "account_id": "001000000000001AAA", "owner_id": null,
    });
    assert_eq!(row, expected);
    assert_eq!((decoded.failed, decoded.rows.stamp(0)), (0, Some(1_704_164_645_000)));
}

#[test]
fn numbers_keep_every_digit_that_they_came_with() {
    let plan = columns(json!(["Worth__c"]));
    let texts = ["123456789012345.67", "0.1", "1E+2", "1234567890123456.78", "999999999999999999", "-0.00", "5"];
    for text in texts {
        let decoded = decode(&plan, &[&record(&format!(r#","Worth__c":{text}"#))]).unwrap();
        assert_eq!(decoded.rows.text(0, 0), Some(text));
    }
}

#[test]
fn parents_may_be_missing_and_keys_may_come_in_any_order() {
    let plan = columns(json!(["Account.Name", "Account.Owner.Name", "Owner.Name", "LastName"]));
    let whole = r#"{"LastName":"L","Owner":{"attributes":{},"Name":"Queue"},"new":[{"x":1}],"Account":{"attributes":{},
        "Owner":{"Name":"Grace"},"Name":"Acme"},"IsArchived":false,"MasterRecordId":null,"IsDeleted":false,
        "SystemModstamp":"2024-01-02T03:04:05.000+0000","Id":"003000000000001AAA"}"#;
    let decoded = decode(
        &plan,
        &[
            whole,
            &record(r#","Account":null,"Owner":null,"LastName":null"#),
            &record(r#","Account":{"Name":"B","Owner":null}"#),
        ],
    )
    .unwrap();
    let texts = |n| [0, 1, 2, 3].map(|column| decoded.rows.text(n, column));
    assert_eq!(texts(0), [Some("Acme"), Some("Grace"), Some("Queue"), Some("L")]);
    assert_eq!(texts(1), [None; 4]);
    assert_eq!(texts(2), [Some("B"), None, None, None]);
}

#[test]
fn a_value_without_a_place_is_told_and_loses_nothing_else() {
    let plan = columns(json!([
        "Visits__c", "Birthdate", "Score__c", "Email", {"field": "Active__c", "default": true},
        {"template": "{Visits__c} visits", "column": "told"}
    ]));
    let long = "x".repeat(60);
    let decoded = decode(
        &plan,
        &[
            &record(&format!(
                r#","Visits__c":"{long}","Birthdate":"soon","Score__c":[1],"Email":{{"a":1}},"Active__c":"perhaps""#
            )),
            &record(r#","Visits__c":1.5,"Birthdate":"2024-02-30","Score__c":"7.5","Email":true,"Active__c":false"#),
        ],
    )
    .unwrap();
    assert_eq!((decoded.rows.len(), decoded.failed, decoded.errors.len()), (2, 9, 9));
    let expected = json!({
        "visits": null, "birthdate": null, "score": null, "email": null, "active": true, "told": null,
    });
    assert_eq!(row(&plan, &decoded, 0), expected);
    let first = &decoded.errors[0];
    assert_eq!((first.record.as_str(), first.column.as_str()), ("003000000000001AAA", "visits"));
    assert_eq!((first.value.chars().count(), first.reason.as_str()), (40, "it is no whole number"));
    let second = row(&plan, &decoded, 1);
    assert_eq!((&second["score"], &second["email"], &second["active"]), (&json!(7.5), &json!("true"), &json!(false)));
}

#[test]
fn errors_are_counted_beyond_those_that_are_kept() {
    let plan = columns(json!(["Birthdate"]));
    let one = record(r#","Birthdate":"soon""#);
    let decoded = decode(&plan, &vec![one.as_str(); 150]).unwrap();
    assert_eq!((decoded.rows.len(), decoded.errors.len(), decoded.failed), (150, 100, 150));
}

#[test]
fn memory_that_is_used_again_keeps_nothing_of_what_was_in_it() {
    let plan = columns(json!(["LastName"]));
    let decoder = Decoder::new(&plan);
    for (text, width) in [(r#","LastName":"a""#, 1), ("", 1), ("", 2)] {
        let mut decoded = decoder.batch(1, 100);
        decoder.record(&mut decoded, &mut serde_json::Deserializer::from_str(&record(text))).unwrap();
        assert_eq!((decoded.rows.len(), decoded.rows.width()), (1, 1));
        assert_eq!(decoded.rows.text(0, 0), text.contains('a').then_some("a"));
        decoder.reuse(if width == 1 { decoded.rows } else { tieline_store::object_tables::Rows::new(width) });
    }
    assert_eq!(decoder.decoded().rows.width(), 1, "rows of another table are not taken");
}

#[test]
fn deletions_say_how_a_record_went() {
    let plan = columns(json!(["LastName"]));
    let of = |deleted: bool, master: &str, archived: bool| {
        format!(
            r#"{{"Id":"003000000000001AAA","SystemModstamp":"2024-01-02T03:04:05.000Z","IsDeleted":{deleted},
            "MasterRecordId":{master},"IsArchived":{archived},"LastName":"a"}}"#
        )
    };
    let records = [of(false, "null", true), of(true, "null", false), of(true, "\"003000000000002AAA\"", false)];
    let decoded = decode(&plan, &records.each_ref().map(String::as_str)).unwrap();
    let how = [0, 1, 2].map(|row| decoded.rows.deleted(row));
    assert_eq!(how, [None, Some(Deletion::Deleted), Some(Deletion::Merged)]);
    assert_eq!(decoded.archived, 1, "archived is not deleted");
    let last = decoded.last.unwrap();
    assert_eq!((last.stamp, last.id.as_str()), (Some(1_704_164_645_000), "003000000000001AAA"));
}

#[test]
fn a_record_without_what_it_cannot_be_without_fails_the_page() {
    let plan = columns(json!(["LastName"]));
    let stamp = r#""SystemModstamp":"2024-01-02T03:04:05.000Z""#;
    for wrong in [
        format!(r#"{{{stamp},"IsDeleted":false}}"#),
        format!(r#"{{"Id":null,{stamp},"IsDeleted":false}}"#),
        r#"{"Id":"a","IsDeleted":false}"#.to_owned(),
        r#"{"Id":"a","SystemModstamp":"yesterday","IsDeleted":false}"#.to_owned(),
        r#"{"Id":"a","SystemModstamp":5,"IsDeleted":false}"#.to_owned(),
        format!(r#"{{"Id":"a",{stamp}}}"#),
        format!(r#"{{"Id":"a",{stamp},"IsDeleted":"maybe"}}"#),
        r#""a""#.to_owned(),
    ] {
        assert!(decode(&plan, &[&wrong]).is_err(), "{wrong}");
    }
    let error = decode(&plan, &[r#"{"Id":"a","SystemModstamp":"yesterday","IsDeleted":false}"#]).unwrap_err();
    assert!(error.to_string().contains("the SystemModstamp `yesterday` of record `a` cannot be read"), "{error}");
}
