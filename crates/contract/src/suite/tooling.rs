//! The Tooling API.

use serde_json::json;

use super::{documented, observed, recorded};
use crate::answer::has_keys;
use crate::case::encoded;
use crate::expectation::{Area, Check, Expectation, same};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Tooling, name, source, check)
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("the schema can be asked", documented("10.2"), |case| {
            Box::pin(async move {
                let soql =
                    "SELECT QualifiedApiName, KeyPrefix FROM EntityDefinition WHERE QualifiedApiName = 'Account'";
                let found = case.get(&format!("tooling/query?q={}", encoded(soql))).await?.is(200)?.json()?;
                same("KeyPrefix", &found["records"][0]["KeyPrefix"], &json!("001"))?;
                Ok("001".to_owned())
            })
        }),
        on("an object's fields can be asked", documented("10.2"), |case| {
            Box::pin(async move {
                let soql = "SELECT QualifiedApiName FROM FieldDefinition WHERE EntityDefinition.QualifiedApiName = 'Account' \
                            AND QualifiedApiName = 'Name'";
                let found = case.get(&format!("tooling/query?q={}", encoded(soql))).await?.is(200)?.json()?;
                same("totalSize", &found["totalSize"], &json!(1))?;
                Ok("Name".to_owned())
            })
        }),
        on("tooling's objects are described like others", documented("3.9"), |case| {
            Box::pin(async move {
                let found = case.get("tooling/sobjects/ApexClass/describe").await?.is(200)?.json()?;
                has_keys(&found, &["name", "fields", "keyPrefix", "queryable"])?;
                same("name", &found["name"], &json!("ApexClass"))?;
                Ok("described".to_owned())
            })
        }),
        on("an unknown object of tooling is INVALID_TYPE", recorded("10.3"), |case| {
            Box::pin(async move {
                let answer = case.get("tooling/query?q=SELECT+Id+FROM+Xyzzy").await?;
                answer.refused(400, "INVALID_TYPE")?.mentions("sObject type 'Xyzzy' is not supported.").done()
            })
        }),
        on("an org that is no hub does not know ScratchOrgInfo: 400 INVALID_TYPE", observed("9.2"), |case| {
            Box::pin(async move {
                let answer = case.query("SELECT Id FROM ScratchOrgInfo LIMIT 1").await?;
                if answer.status == 200 {
                    return crate::expectation::not_applicable("this org is a Dev Hub");
                }
                answer.refused(400, "INVALID_TYPE")?.done()
            })
        }),
    ]
}
