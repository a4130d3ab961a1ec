//! SOQL: what a query answers.

use serde_json::{Value, json};

use super::{documented, memory, recorded, source};
use crate::answer::has_keys;
use crate::case::encoded;
use crate::expectation::{Area, Check, Expectation, Need, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Queries, name, source, check)
}

/// Names of an object's keys, in their order.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a last page is totalSize, done and records, in this order", recorded("3.3"), |case| {
            Box::pin(async move {
                let page = case.found("SELECT Id FROM Organization").await?;
                same("keys", keys(&page), vec!["totalSize", "done", "records"])?;
                same("totalSize", &page["totalSize"], &json!(1))?;
                same("done", &page["done"], &json!(true))?;
                Ok("in order".to_owned())
            })
        }),
        on("a record begins with its attributes: type and path", recorded("3.3"), |case| {
            Box::pin(async move {
                let page = case.found("SELECT Id FROM Organization").await?;
                let record = &page["records"][0];
                same("keys", keys(record), vec!["attributes", "Id"])?;
                same("type", &record["attributes"]["type"], &json!("Organization"))?;
                let id = record["Id"].as_str().unwrap_or_default();
                let path = case.path(&format!("sobjects/Organization/{id}"));
                same("url", record["attributes"]["url"].as_str(), Some(path.as_str()))?;
                Ok("type and url".to_owned())
            })
        }),
        on("names are written in any case, and come back in the schema's", documented("10.1"), |case| {
            Box::pin(async move {
                let page = case.found("select ID, issandbox from ORGANIZATION").await?;
                same("keys", keys(&page["records"][0]), vec!["attributes", "Id", "IsSandbox"])?;
                Ok("Id, IsSandbox".to_owned())
            })
        }),
        on("plus and %20 are both a space", recorded("3.3"), |case| {
            Box::pin(async move {
                case.get("query?q=SELECT+Id+FROM%20Organization").await?.is(200)?;
                Ok("200".to_owned())
            })
        }),
        on("COUNT() answers its number as totalSize, and no records", recorded("3.3"), |case| {
            Box::pin(async move {
                let page = case.found("SELECT COUNT() FROM Organization").await?;
                same("the answer", page, json!({"totalSize": 1, "done": true, "records": []}))?;
                Ok("totalSize".to_owned())
            })
        }),
        on("an aggregate without a name is expr0, in an AggregateResult without a path", recorded("3.3"), |case| {
            Box::pin(async move {
                let page = case.found("SELECT COUNT(Id), MAX(CreatedDate) latest FROM User").await?;
                let record = &page["records"][0];
                same("attributes", &record["attributes"], &json!({"type": "AggregateResult"}))?;
                same("keys", keys(record), vec!["attributes", "expr0", "latest"])?;
                Ok("expr0".to_owned())
            })
        }),
        on("a grouped query has a record for each group", recorded("3.3"), |case| {
            Box::pin(async move {
                let page = case.found("SELECT IsActive, COUNT(Id) n FROM User GROUP BY IsActive").await?;
                let count = page["records"].as_array().map(Vec::len).unwrap_or_default();
                that((1..=2).contains(&count), "one or two groups", count)?;
                that(page["records"][0]["n"].is_u64(), "numbers as numbers", &page["records"][0]["n"])?;
                Ok(format!("{count} groups"))
            })
        }),
        on("a field without a value is null, and one that was not asked for is absent", recorded("3.3"), |case| {
            Box::pin(async move {
                let id = case.account("null").await?;
                let page = case.found(&format!("SELECT Id, Phone FROM Account WHERE Id = '{id}'")).await?;
                same("keys", keys(&page["records"][0]), vec!["attributes", "Id", "Phone"])?;
                same("Phone", &page["records"][0]["Phone"], &Value::Null)?;
                Ok("null".to_owned())
            })
        })
        .needs(Need::Write),
        on("a parent that is not there is null, and so are children", recorded("3.3"), |case| {
            Box::pin(async move {
                let id = case.account("alone").await?;
                let soql = format!("SELECT Id, Parent.Name, (SELECT Id FROM Contacts) FROM Account WHERE Id = '{id}'");
                let page = case.found(&soql).await?;
                let record = &page["records"][0];
                has_keys(record, &["Parent", "Contacts"])?;
                same("Parent", &record["Parent"], &Value::Null)?;
                same("Contacts", &record["Contacts"], &Value::Null)?;
                Ok("null".to_owned())
            })
        })
        .needs(Need::Write),
        on("a parent is a record, and children are a page", recorded("3.3"), |case| {
            Box::pin(async move {
                let id = case.account("family").await?;
                let name = case.name("child");
                case.create("Contact", &json!({"LastName": name, "AccountId": id})).await?;
                let soql = format!("SELECT Id, Owner.Name, (SELECT LastName FROM Contacts) FROM Account WHERE Id = '{id}'");
                let page = case.found(&soql).await?;
                let record = &page["records"][0];
                same("the parent's type", &record["Owner"]["attributes"]["type"], &json!("User"))?;
                let children = &record["Contacts"];
                same("keys", keys(children), vec!["totalSize", "done", "records"])?;
                same("the child", children["records"][0]["LastName"].as_str(), Some(name.as_str()))?;
                Ok("both".to_owned())
            })
        })
        .needs(Need::Write),
        on("LIKE and = take no notice of case", documented("10.1"), |case| {
            Box::pin(async move {
                let name = case.name("CaSe");
                case.create("Account", &json!({"Name": name})).await?;
                for condition in [format!("= '{}'", name.to_lowercase()), format!("LIKE '{}%'", name.to_uppercase())] {
                    let page = case.found(&format!("SELECT Id FROM Account WHERE Name {condition}")).await?;
                    same("totalSize", &page["totalSize"], &json!(1))?;
                }
                Ok("found".to_owned())
            })
        })
        .needs(Need::Write),
        on("an empty text is compared like null", memory("10.1"), |case| {
            Box::pin(async move {
                let id = case.account("empty").await?;
                let page = case.found(&format!("SELECT Id FROM Account WHERE Id = '{id}' AND Phone = ''")).await?;
                same("totalSize", &page["totalSize"], &json!(1))?;
                Ok("found".to_owned())
            })
        })
        .needs(Need::Write),
        on("date literals are ranges: what was made now is TODAY or YESTERDAY's, and in LAST_N_DAYS:2", documented("10.1"), |case| {
            Box::pin(async move {
                let id = case.account("today").await?;
                let soql = format!(
                    "SELECT Id FROM Account WHERE Id = '{id}' AND CreatedDate = LAST_N_DAYS:2 AND CreatedDate < TOMORROW"
                );
                same("totalSize", &case.found(&soql).await?["totalSize"], &json!(1))?;
                Ok("found".to_owned())
            })
        })
        .needs(Need::Write),
        on("a time is written with milliseconds and +0000", recorded("8"), |case| {
            Box::pin(async move {
                let page = case.found("SELECT CreatedDate FROM Organization").await?;
                let seen = page["records"][0]["CreatedDate"].as_str().unwrap_or_default();
                let good = seen.len() == 28 && seen.ends_with(".000+0000");
                that(good, "2024-01-02T03:04:05.000+0000", seen)?;
                Ok(".000+0000".to_owned())
            })
        }),
        on("queryAll has deleted records, and query has not", documented("3.3"), |case| {
            Box::pin(async move {
                let id = case.account("gone").await?;
                case.delete(&format!("sobjects/Account/{id}")).await?.is(204)?;
                let soql = format!("SELECT Id, IsDeleted FROM Account WHERE Id = '{id}'");
                same("totalSize of query", &case.found(&soql).await?["totalSize"], &json!(0))?;
                let all = case.get(&format!("queryAll?q={}", encoded(&soql))).await?.is(200)?.json()?;
                same("IsDeleted of queryAll", &all["records"][0]["IsDeleted"], &json!(true))?;
                Ok("IsDeleted".to_owned())
            })
        })
        .needs(Need::Write),
        on("columns=true describes what is selected", source("3.3"), |case| {
            Box::pin(async move {
                let found = case.get("query?q=SELECT+Id+FROM+Account&columns=true").await?.is(200)?.json()?;
                has_keys(&found, &["columnMetadata", "entityName", "keyPrefix"])?;
                has_keys(&found["columnMetadata"][0], &["columnName", "apexType", "joinColumns", "aggregate"])?;
                same("columnName", &found["columnMetadata"][0]["columnName"], &json!("Id"))?;
                Ok("columnMetadata".to_owned())
            })
        }),
        on("explain= answers plans", documented("3.3"), |case| {
            Box::pin(async move {
                let found = case.get("query?explain=SELECT+Id+FROM+Account").await?.is(200)?.json()?;
                has_keys(&found, &["plans", "sourceQuery"])?;
                has_keys(&found["plans"][0], &["cardinality", "leadingOperationType", "relativeCost"])?;
                Ok("plans".to_owned())
            })
        }),
        on("FIELDS(STANDARD) stands for the standard fields", documented("10.1"), |case| {
            Box::pin(async move {
                let page = case.found("SELECT FIELDS(STANDARD) FROM Organization").await?;
                has_keys(&page["records"][0], &["Id", "Name", "IsSandbox", "OrganizationType"])?;
                Ok("expanded".to_owned())
            })
        }),
    ]
}
