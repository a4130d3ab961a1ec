//! Describes.

use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use tieline_client::Request;

use super::{documented, recorded};
use crate::answer::has_keys;
use crate::case::Case;
use crate::expectation::{Area, Check, Expectation, Unmet, not_applicable, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Describes, name, source, check)
}

async fn describe(case: &Case<'_>, object: &str) -> Result<Value, Unmet> {
    case.get(&format!("sobjects/{object}/describe")).await?.is(200)?.json()
}

fn field<'a>(describe: &'a Value, name: &str) -> &'a Value {
    describe["fields"].as_array().into_iter().flatten().find(|field| field["name"] == name).unwrap_or(&Value::Null)
}

#[rustfmt::skip]
const OBJECT: [&str; 35] = [
    "actionOverrides", "activateable", "childRelationships", "compactLayoutable", "createable", "custom",
    "customSetting", "deepCloneable", "defaultImplementation", "deletable", "deprecatedAndHidden", "extendedBy",
    "extendsInterfaces", "feedEnabled", "fields", "hasSubtypes", "isInterface", "isSubtype", "keyPrefix", "label",
    "labelPlural", "layoutable", "mergeable", "mruEnabled", "name", "namedLayoutInfos", "queryable", "recordTypeInfos",
    "replicateable", "retrieveable", "searchable", "supportedScopes", "undeletable", "updateable", "urls",
];

#[rustfmt::skip]
const FIELD: [&str; 52] = [
    "aggregatable", "autoNumber", "byteLength", "calculated", "calculatedFormula", "cascadeDelete", "caseSensitive",
    "compoundFieldName", "controllerName", "createable", "custom", "defaultValue", "defaultValueFormula",
    "defaultedOnCreate", "dependentPicklist", "deprecatedAndHidden", "digits", "displayLocationInDecimal", "encrypted",
    "externalId", "extraTypeInfo", "filterable", "filteredLookupInfo", "groupable", "highScaleNumber", "htmlFormatted",
    "idLookup", "inlineHelpText", "label", "length", "mask", "maskType", "name", "nameField", "namePointing", "nillable",
    "permissionable", "picklistValues", "polymorphicForeignKey", "precision", "queryByDistance", "referenceTo",
    "relationshipName", "relationshipOrder", "restrictedDelete", "restrictedPicklist", "scale", "soapType", "sortable",
    "type", "unique", "updateable",
];

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("the list of objects has what describes have, without fields", recorded("3.5"), |case| {
            Box::pin(async move {
                let found = case.get("sobjects").await?.is(200)?.json()?;
                same("encoding", &found["encoding"], &json!("UTF-8"))?;
                same("maxBatchSize", &found["maxBatchSize"], &json!(200))?;
                let list = found["sobjects"].as_array().cloned().unwrap_or_default();
                let Some(account) = list.iter().find(|one| one["name"] == "Account") else {
                    return not_applicable("the user does not see accounts");
                };
                has_keys(
                    account,
                    &["createable", "custom", "keyPrefix", "label", "queryable", "replicateable", "urls"],
                )?;
                same("keyPrefix", &account["keyPrefix"], &json!("001"))?;
                same("fields", account.get("fields"), None)?;
                Ok(format!("{} objects", list.len()))
            })
        }),
        on("a describe has the 35 keys that we know", recorded("3.5"), |case| {
            Box::pin(async move {
                has_keys(&describe(case, "Account").await?, &OBJECT)?;
                Ok("35 keys".to_owned())
            })
        }),
        on("each field of a describe has the 52 keys that we know", recorded("3.5"), |case| {
            Box::pin(async move {
                let found = describe(case, "Account").await?;
                for field in found["fields"].as_array().into_iter().flatten() {
                    has_keys(field, &FIELD)?;
                }
                Ok("52 keys".to_owned())
            })
        }),
        on("Id is of type id and tns:ID, 18 long, set by the org", recorded("3.5"), |case| {
            Box::pin(async move {
                let found = describe(case, "Account").await?;
                let id = field(&found, "Id");
                for (key, value) in [
                    ("type", json!("id")),
                    ("soapType", json!("tns:ID")),
                    ("length", json!(18)),
                    ("idLookup", json!(true)),
                    ("defaultedOnCreate", json!(true)),
                    ("createable", json!(false)),
                    ("nillable", json!(false)),
                ] {
                    same(key, &id[key], &value)?;
                }
                Ok("as expected".to_owned())
            })
        }),
        on("an account's name is a text of 255 characters, of three bytes each", recorded("3.5"), |case| {
            Box::pin(async move {
                let found = describe(case, "Account").await?;
                let name = field(&found, "Name");
                same("length", &name["length"], &json!(255))?;
                same("byteLength", &name["byteLength"], &json!(765))?;
                same("nameField", &name["nameField"], &json!(true))?;
                same("soapType", &name["soapType"], &json!("xsd:string"))?;
                Ok("765 bytes".to_owned())
            })
        }),
        on("a lookup names what it points at and how it is followed", recorded("3.5"), |case| {
            Box::pin(async move {
                let found = describe(case, "Contact").await?;
                let lookup = field(&found, "AccountId");
                same("type", &lookup["type"], &json!("reference"))?;
                same("referenceTo", &lookup["referenceTo"], &json!(["Account"]))?;
                same("relationshipName", &lookup["relationshipName"], &json!("Account"))?;
                Ok("Account".to_owned())
            })
        }),
        on("children are told by object, field and relationship", recorded("3.5"), |case| {
            Box::pin(async move {
                let found = describe(case, "Account").await?;
                let children = found["childRelationships"].as_array().cloned().unwrap_or_default();
                let contacts = children.iter().find(|one| one["relationshipName"] == "Contacts");
                let contacts = contacts.cloned().unwrap_or_default();
                has_keys(&contacts, &["cascadeDelete", "childSObject", "field", "restrictedDelete"])?;
                same("childSObject", &contacts["childSObject"], &json!("Contact"))?;
                same("field", &contacts["field"], &json!("AccountId"))?;
                Ok("Contacts".to_owned())
            })
        }),
        on("a picklist value is active, defaultValue, label, validFor and value", recorded("3.5"), |case| {
            Box::pin(async move {
                let found = describe(case, "Account").await?;
                let value = &field(&found, "Industry")["picklistValues"][0];
                if value.is_null() {
                    return not_applicable("this org has no industries");
                }
                has_keys(value, &["active", "defaultValue", "label", "validFor", "value"])?;
                Ok("five keys".to_owned())
            })
        }),
        on(
            "a describe tells when the schema changed, and If-Modified-Since is answered 304",
            recorded("3.5"),
            |case| {
                Box::pin(async move {
                    let answer = case.get("sobjects/Account/describe").await?.is(200)?;
                    let Some(since) = answer.headers.get("last-modified").cloned() else {
                        return not_applicable("the describe came without Last-Modified");
                    };
                    let request = Request::get(case.path("sobjects/Account/describe"));
                    let request = request.with_header(HeaderName::from_static("if-modified-since"), since);
                    case.send(request).await?.is(304)?.without_body()?;
                    Ok("304".to_owned())
                })
            },
        ),
        on("If-Modified-Since an old day is answered in full", documented("3.5"), |case| {
            Box::pin(async move {
                let since = HeaderValue::from_static("Sat, 01 Jan 2000 00:00:00 GMT");
                let request = Request::get(case.path("sobjects/Account/describe"));
                let request = request.with_header(HeaderName::from_static("if-modified-since"), since);
                that(!case.send(request).await?.is(200)?.body.is_empty(), "a describe", "nothing")?;
                Ok("200".to_owned())
            })
        }),
        on("an object itself answers its describe in short, and recent records", documented("3.4"), |case| {
            Box::pin(async move {
                let found = case.get("sobjects/Account").await?.is(200)?.json()?;
                has_keys(&found, &["objectDescribe", "recentItems"])?;
                same("name", &found["objectDescribe"]["name"], &json!("Account"))?;
                Ok("both".to_owned())
            })
        }),
    ]
}
