//! Up to 200 records at a time.

use serde_json::{Value, json};

use super::{recorded, unverified};
use crate::case::Case;
use crate::expectation::{Area, Check, Expectation, Need, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Collections, name, source, check).needs(Need::Write)
}

/// A good account, one without a name, and another good one.
fn three(case: &Case<'_>) -> Vec<Value> {
    let account = |name: Option<String>| json!({"attributes": {"type": "Account"}, "Phone": "1", "Name": name});
    vec![account(Some(case.name("one"))), account(None), account(Some(case.name("three")))]
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a collection is answered 200 in its order, whatever became of each", recorded("3.7"), |case| {
            Box::pin(async move {
                let body = json!({"allOrNone": false, "records": three(case)});
                let found = case.post("composite/sobjects", &body).await?.is(200)?.json()?;
                let seen: Vec<&Value> = (0..3).map(|at| &found[at]["success"]).collect();
                same("success", seen, vec![&json!(true), &json!(false), &json!(true)])?;
                Ok("true, false, true".to_owned())
            })
        }),
        on("a record that failed has statusCode, message and fields, and no id", recorded("3.7"), |case| {
            Box::pin(async move {
                let body = json!({"allOrNone": false, "records": three(case)});
                let found = case.post("composite/sobjects", &body).await?.is(200)?.json()?;
                let failed = &found[1];
                that(failed.get("id").is_none(), "no id", failed)?;
                let error = &failed["errors"][0];
                same("statusCode", &error["statusCode"], &json!("REQUIRED_FIELD_MISSING"))?;
                same("fields", &error["fields"], &json!(["Name"]))?;
                that(error.get("errorCode").is_none(), "no errorCode", error)?;
                Ok("statusCode".to_owned())
            })
        }),
        on("with allOrNone the good ones are rolled back, and say so", recorded("3.7"), |case| {
            Box::pin(async move {
                let body = json!({"allOrNone": true, "records": three(case)});
                let answer = case.post("composite/sobjects", &body).await?.is(200)?;
                let found = answer.json()?;
                let error = &found[0]["errors"][0];
                same("statusCode", &error["statusCode"], &json!("ALL_OR_NONE_OPERATION_ROLLED_BACK"))?;
                let words =
                    "Record rolled back because not all records were valid and the request was using AllOrNone header";
                same("fields", &error["fields"], &json!([]))?;
                case.words(words, error["message"].as_str().unwrap_or_default());
                Ok("rolled back".to_owned())
            })
        }),
        on("changes name their record by id", recorded("3.7"), |case| {
            Box::pin(async move {
                let id = case.account("many").await?;
                let record = json!({"attributes": {"type": "Account"}, "id": id, "Phone": "2"});
                let found = case.patch("composite/sobjects", &json!({"allOrNone": true, "records": [record]})).await?;
                let found = found.is(200)?.json()?;
                same("the answer", found, json!([{"id": id, "success": true, "errors": []}]))?;
                Ok("200".to_owned())
            })
        }),
        on("deletes name their records in the URL", recorded("3.7"), |case| {
            Box::pin(async move {
                let (one, two) = (case.account("first").await?, case.account("second").await?);
                let found = case.delete(&format!("composite/sobjects?ids={one},{two}&allOrNone=true")).await?;
                let found = found.is(200)?.json()?;
                let seen: Vec<Option<&str>> = (0..2).map(|at| found[at]["id"].as_str()).collect();
                same("ids", seen, vec![Some(one.as_str()), Some(two.as_str())])?;
                Ok("200".to_owned())
            })
        }),
        on("records that are read are null where there is none", recorded("3.7"), |case| {
            Box::pin(async move {
                let id = case.account("there").await?;
                let body = json!({"ids": [id, "001000000000000AAA"], "fields": ["Id", "Name"]});
                let found = case.post("composite/sobjects/Account", &body).await?.is(200)?.json()?;
                same("the first", found[0]["Id"].as_str(), Some(id.as_str()))?;
                same("the second", &found[1], &Value::Null)?;
                Ok("a record and null".to_owned())
            })
        }),
        on("records are read by GET too", recorded("3.7"), |case| {
            Box::pin(async move {
                let id = case.account("get").await?;
                let found =
                    case.get(&format!("composite/sobjects/Account?ids={id}&fields=Id,Name")).await?.is(200)?.json()?;
                same("the first", found[0]["Id"].as_str(), Some(id.as_str()))?;
                Ok("200".to_owned())
            })
        }),
        on("more than 200 records are 400", unverified("3.7"), |case| {
            Box::pin(async move {
                let record = |_| json!({"attributes": {"type": "Account"}, "Name": case.name("toomany")});
                let records: Vec<Value> = (0..201).map(record).collect();
                case.post("composite/sobjects", &json!({"allOrNone": true, "records": records})).await?.is(400)?.done()
            })
        }),
    ]
}
