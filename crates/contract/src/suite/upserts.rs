//! Records by external id.

use std::sync::PoisonError;

use serde_json::{Value, json};

use super::{documented, memory, observed, recorded};
use crate::case::{Case, encoded, unanswered};
use crate::expectation::{Area, Check, Expectation, Need, Unmet, not_applicable, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Upserts, name, source, check).needs(Need::Write)
}

/// Object and field that records are told apart by: what the settings name, else a text field with `externalId`, else
/// the e-mail address of contacts, by which the org looks up too (`idLookup`).
async fn external_id(case: &Case<'_>) -> Result<(String, String), Unmet> {
    let known = case.org.external_id.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(known) = known {
        return Ok(known);
    }
    let mut found = ("Contact".to_owned(), "Email".to_owned());
    for object in ["Account", "Contact"] {
        let describe = case.get(&format!("sobjects/{object}/describe")).await?.is(200)?.json()?;
        let fields = describe["fields"].as_array().cloned().unwrap_or_default();
        let good =
            |field: &&Value| field["externalId"] == true && field["type"] == "string" && field["createable"] == true;
        if let Some(name) = fields.iter().find(good).and_then(|field| field["name"].as_str()) {
            found = (object.to_owned(), name.to_owned());
            break;
        }
    }
    *case.org.external_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
    Ok(found)
}

/// Path, value and name field of a record that is not there yet.
async fn absent(case: &Case<'_>) -> Result<(String, Value), Unmet> {
    let (object, field) = external_id(case).await?;
    let value = value(case, &field);
    let name = if object == "Contact" { "LastName" } else { "Name" };
    Ok((format!("sobjects/{object}/{field}/{}", encoded(&value)), json!({name: case.name("upsert")})))
}

fn value(case: &Case<'_>, field: &str) -> String {
    let short = format!("tc{:x}", fastrand::u64(..));
    if field == "Email" {
        format!("{short}@tieline-contract.invalid")
    } else {
        format!("{short}{}", &case.org.marker[17..])
    }
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("an upsert that creates is 201 and says created", recorded("3.4"), |case| {
            Box::pin(async move {
                let (path, fields) = absent(case).await?;
                let saved = case.patch(&path, &fields).await?.is(201)?.json()?;
                same("created", &saved["created"], &json!(true))?;
                same("success", &saved["success"], &json!(true))?;
                Ok("201".to_owned())
            })
        }),
        on("an upsert that changes is 200 and says not created", documented("3.4"), |case| {
            Box::pin(async move {
                let (path, fields) = absent(case).await?;
                let first = case.patch(&path, &fields).await?.is(201)?.json()?;
                let second = case.patch(&path, &fields).await?.is(200)?.json()?;
                same("created", &second["created"], &json!(false))?;
                same("id", &second["id"], &first["id"])?;
                Ok("200".to_owned())
            })
        }),
        on("our client tells created from changed", documented("3.4"), |case| {
            Box::pin(async move {
                let (object, field) = external_id(case).await?;
                let value = value(case, &field);
                let (_, fields) = absent(case).await?;
                let mut seen = Vec::new();
                for _ in 0..2 {
                    let saved = case.connection().upsert(&object, &field, &value, &fields).await;
                    seen.push(saved.map_err(|error| unanswered(&error))?.created);
                }
                same("created", seen, vec![true, false])?;
                Ok("created, changed".to_owned())
            })
        }),
        on("a record is read by its external id", recorded("3.4"), |case| {
            Box::pin(async move {
                let (path, fields) = absent(case).await?;
                let saved = case.patch(&path, &fields).await?.is(201)?.json()?;
                let record = case.get(&path).await?.is(200)?.json()?;
                same("Id", &record["Id"], &saved["id"])?;
                Ok("200".to_owned())
            })
        }),
        on("a value with spaces and a slash is found again", observed("9.4"), |case| {
            Box::pin(async move {
                let (object, field) = external_id(case).await?;
                if field == "Email" {
                    return not_applicable("there is no external id here but an e-mail address");
                }
                let (_, fields) = absent(case).await?;
                let path = format!("sobjects/{object}/{field}/{}", encoded(&format!("E 1/{:x}", fastrand::u32(..))));
                case.patch(&path, &fields).await?.is(201)?;
                case.patch(&path, &fields).await?.is(200)?;
                Ok("created, changed".to_owned())
            })
        }),
        on("an external id that the object lacks is 404 NOT_FOUND", recorded("3.1"), |case| {
            Box::pin(async move {
                let answer = case.patch("sobjects/Account/Bacon__c/1", &json!({"Name": case.name("x")})).await?;
                let answer = answer.refused(404, "NOT_FOUND")?;
                answer.says("Provided external ID field does not exist or is not accessible: Bacon__c").done()
            })
        }),
        on("the external id in the body too is INVALID_FIELD", memory("3.4"), |case| {
            Box::pin(async move {
                let (object, field) = external_id(case).await?;
                let value = value(case, &field);
                let (_, mut fields) = absent(case).await?;
                fields[&field] = json!(value);
                let answer = case.patch(&format!("sobjects/{object}/{field}/{}", encoded(&value)), &fields).await?;
                let answer = answer.refused(400, "INVALID_FIELD")?;
                answer.says(&format!("The {field} field should not be specified in the sobject data.")).done()
            })
        }),
        on("a POST to the path of Id creates", documented("3.4"), |case| {
            Box::pin(async move {
                case.post("sobjects/Account/Id", &json!({"Name": case.name("path")})).await?.is(201)?;
                Ok("201".to_owned())
            })
        }),
        on("several records with the value are 300 with their paths", recorded("3.4"), |case| {
            Box::pin(async move {
                let email = value(case, "Email");
                for _ in 0..2 {
                    case.create("Contact", &json!({"LastName": case.name("twin"), "Email": email})).await?;
                }
                let answer = case.get(&format!("sobjects/Contact/Email/{}", encoded(&email))).await?.is(300)?;
                let paths = answer.json()?;
                let begin = case.path("sobjects/Contact/003");
                let good = paths.as_array().is_some_and(|list| {
                    list.len() == 2
                        && list.iter().all(|path| path.as_str().is_some_and(|path| path.starts_with(&begin)))
                });
                that(good, "two paths", answer.shown())?;
                Ok("300".to_owned())
            })
        }),
        on(
            "a value that another record has is DUPLICATE_VALUE, with that record's id of 15 characters",
            recorded("3.1"),
            |case| {
                Box::pin(async move {
                    let (object, field) = external_id(case).await?;
                    let describe = case.get(&format!("sobjects/{object}/describe")).await?.is(200)?.json()?;
                    let fields = describe["fields"].as_array().cloned().unwrap_or_default();
                    if !fields.iter().any(|one| one["name"] == *field && one["unique"] == true) {
                        return not_applicable("there is no unique external id here");
                    }
                    let value = value(case, &field);
                    let (_, mut record) = absent(case).await?;
                    record[&field] = json!(value);
                    let id = case.create(&object, &record).await?;
                    let answer = case.post(&format!("sobjects/{object}"), &record).await?;
                    let answer = answer.refused(400, "DUPLICATE_VALUE")?;
                    let words =
                        format!("duplicate value found: {field} duplicates value on record with id: {}", &id[..15]);
                    answer.naming(&[])?.says(&words).done()
                })
            },
        ),
    ]
}
