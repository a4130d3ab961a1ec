//! Single records: how writes are refused, and in which words.

use serde_json::json;

use super::{memory, recorded, reported};
use crate::expectation::{Area, Check, Expectation, Need, not_applicable, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Records, name, source, check).needs(Need::Write)
}

/// What stands for the upper-case letters among five characters.
const CHECK: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a required field that is missing is REQUIRED_FIELD_MISSING, and named", recorded("3.1"), |case| {
            Box::pin(async move {
                let answer = case.post("sobjects/Account", &json!({"Phone": "1"})).await?;
                let answer = answer.refused(400, "REQUIRED_FIELD_MISSING")?.naming(&["Name"])?;
                answer.says("Required fields are missing: [Name]").done()
            })
        }),
        on("an unknown field is INVALID_FIELD, and not among fields", recorded("3.1"), |case| {
            Box::pin(async move {
                let answer = case.post("sobjects/Account", &json!({"Name": case.name("x"), "Bacon__c": 1})).await?;
                let answer = answer.refused(400, "INVALID_FIELD")?;
                that(answer.json()?[0].get("fields").is_none(), "no key fields", answer.shown())?;
                answer.says("No such column 'Bacon__c' on sobject of type Account").done()
            })
        }),
        on("a text that is too long is STRING_TOO_LONG", recorded("3.1"), |case| {
            Box::pin(async move {
                let long = format!("{:x<256}", case.name("long"));
                let answer = case.post("sobjects/Account", &json!({"Name": long})).await?;
                let answer = answer.refused(400, "STRING_TOO_LONG")?.naming(&["Name"])?;
                answer.says(&format!("Account Name: data value too large: {long} (max length=255)")).done()
            })
        }),
        on("an e-mail address that is none is INVALID_EMAIL_ADDRESS", recorded("3.1"), |case| {
            Box::pin(async move {
                let fields = json!({"LastName": case.name("mail"), "Email": "123"});
                let answer = case.post("sobjects/Contact", &fields).await?;
                let answer = answer.refused(400, "INVALID_EMAIL_ADDRESS")?.naming(&["Email"])?;
                answer.says("Email: invalid email address: 123").done()
            })
        }),
        on("a value that a restricted picklist lacks is refused", recorded("3.1"), |case| {
            Box::pin(async move {
                for (object, name) in [("Account", "Name"), ("Contact", "LastName"), ("Lead", "LastName")] {
                    let describe = case.get(&format!("sobjects/{object}/describe")).await?.is(200)?.json()?;
                    let fields = describe["fields"].as_array().cloned().unwrap_or_default();
                    let good = |field: &&serde_json::Value| {
                        field["restrictedPicklist"] == true
                            && field["createable"] == true
                            && field["type"] == "picklist"
                    };
                    let Some(field) = fields.iter().find(good) else { continue };
                    let (key, label) = (field["name"].as_str().unwrap_or_default(), field["label"].as_str());
                    let mut record = json!({name: case.name("picklist"), key: "Terrible"});
                    if object == "Lead" {
                        record["Company"] = json!(case.name("picklist"));
                    }
                    let answer = case.post(&format!("sobjects/{object}"), &record).await?;
                    let answer = answer.refused(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST")?.naming(&[key])?;
                    let label = label.unwrap_or_default();
                    return answer.says(&format!("{label}: bad value for restricted picklist field: Terrible")).done();
                }
                not_applicable("no picklist of accounts, contacts and leads is restricted here")
            })
        }),
        on("a lookup that is no id is MALFORMED_ID", recorded("3.1"), |case| {
            Box::pin(async move {
                let fields = json!({"LastName": case.name("lookup"), "AccountId": "tieline"});
                let answer = case.post("sobjects/Contact", &fields).await?.refused(400, "MALFORMED_ID")?;
                answer.naming(&["AccountId"])?.says("Account ID: id value of incorrect type: tieline").done()
            })
        }),
        on("an id whose last three characters do not belong to it is MALFORMED_ID", recorded("3.1"), |case| {
            Box::pin(async move {
                let mut id = case.account("checksum").await?;
                // It calls the first character an upper-case letter, and that is a digit.
                let check = CHECK.find(&id[15..16]).and_then(|at| CHECK.get(at + 1..at + 2)).unwrap_or("5");
                id.replace_range(15..16, check);
                let answer = case.patch(&format!("sobjects/Account/{id}"), &json!({"Phone": "1"})).await?;
                let answer = answer.refused(400, "MALFORMED_ID")?.naming(&["Id"])?;
                answer.says(&format!("Record ID: id value of incorrect type: {id}")).done()
            })
        }),
        on("what stands in an id's place and is none is taken for an external id", recorded("3.1"), |case| {
            Box::pin(async move {
                let answer = case.get("sobjects/Account/tieline").await?.refused(404, "NOT_FOUND")?;
                answer.says("Provided external ID field does not exist or is not accessible: tieline").done()
            })
        }),
        on("a field that the org sets is INVALID_FIELD_FOR_INSERT_UPDATE", memory("3.1"), |case| {
            Box::pin(async move {
                let fields = json!({"Name": case.name("set"), "CreatedDate": "2024-01-02T03:04:05Z"});
                let answer = case.post("sobjects/Account", &fields).await?;
                let answer = answer.refused(400, "INVALID_FIELD_FOR_INSERT_UPDATE")?.naming(&["CreatedDate"])?;
                answer
                    .says(
                        "Unable to create/update fields: CreatedDate. Please check the security settings of this field and \
                         verify that it is read/write for your profile or permission set.",
                    )
                    .done()
            })
        }),
        on("an id in the body of a change is INVALID_FIELD", memory("3.4"), |case| {
            Box::pin(async move {
                let id = case.account("id").await?;
                let answer = case.patch(&format!("sobjects/Account/{id}"), &json!({"Id": id})).await?;
                let answer = answer.refused(400, "INVALID_FIELD")?;
                answer.says("The Id field should not be specified in the sobject data.").done()
            })
        }),
        on("a date that cannot be read is JSON_PARSER_ERROR", reported("3.1"), |case| {
            Box::pin(async move {
                let fields = json!({"Name": case.name("date"), "StageName": "x", "CloseDate": "soon"});
                let answer = case.post("sobjects/Opportunity", &fields).await?.refused(400, "JSON_PARSER_ERROR")?;
                answer.mentions("Cannot deserialize instance of date from VALUE_STRING value soon").done()
            })
        }),
    ]
}
