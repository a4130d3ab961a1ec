//! Requests made of requests.

use serde_json::{Value, json};

use super::{documented, memory, recorded};
use crate::expectation::{Area, Check, Expectation, Need, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Composite, name, source, check).needs(Need::Write)
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a later request of a composite refers to an earlier one's id", recorded("3.8"), |case| {
            Box::pin(async move {
                let body = json!({"allOrNone": true, "compositeRequest": [
                    {"method": "POST", "url": case.path("sobjects/Account"), "referenceId": "refA",
                     "body": {"Name": case.name("ref")}},
                    {"method": "POST", "url": case.path("sobjects/Contact"), "referenceId": "refB",
                     "body": {"LastName": case.name("ref"), "AccountId": "@{refA.id}"}},
                    {"method": "GET", "url": case.path("sobjects/Contact/@{refB.id}?fields=AccountId"), "referenceId": "refC"},
                ]});
                let found = case.post("composite", &body).await?.is(200)?.json()?;
                let parts = &found["compositeResponse"];
                same("status of the first", &parts[0]["httpStatusCode"], &json!(201))?;
                same("its reference", &parts[0]["referenceId"], &json!("refA"))?;
                that(parts[0]["httpHeaders"]["Location"].is_string(), "a Location", &parts[0]["httpHeaders"])?;
                same("AccountId", &parts[2]["body"]["AccountId"], &parts[0]["body"]["id"])?;
                Ok("201, 201, 200".to_owned())
            })
        }),
        on("a composite is 200, whatever became of its requests", recorded("3.8"), |case| {
            Box::pin(async move {
                let body = json!({"allOrNone": false, "compositeRequest": [
                    {"method": "POST", "url": case.path("sobjects/Account"), "referenceId": "bad", "body": {"Phone": "1"}},
                    {"method": "POST", "url": case.path("sobjects/Account"), "referenceId": "good",
                     "body": {"Name": case.name("good")}},
                ]});
                let found = case.post("composite", &body).await?.is(200)?.json()?;
                let parts = &found["compositeResponse"];
                same("the first", &parts[0]["httpStatusCode"], &json!(400))?;
                same("its code", &parts[0]["body"][0]["errorCode"], &json!("REQUIRED_FIELD_MISSING"))?;
                same("the second", &parts[1]["httpStatusCode"], &json!(201))?;
                Ok("400 and 201".to_owned())
            })
        }),
        on("with allOrNone what was done is PROCESSING_HALTED", recorded("3.8"), |case| {
            Box::pin(async move {
                let name = case.name("halted");
                let body = json!({"allOrNone": true, "compositeRequest": [
                    {"method": "POST", "url": case.path("sobjects/Account"), "referenceId": "good", "body": {"Name": name}},
                    {"method": "POST", "url": case.path("sobjects/Account"), "referenceId": "bad", "body": {"Phone": "1"}},
                ]});
                let found = case.post("composite", &body).await?.is(200)?.json()?;
                let first = &found["compositeResponse"][0];
                same("status", &first["httpStatusCode"], &json!(400))?;
                same("code", &first["body"][0]["errorCode"], &json!("PROCESSING_HALTED"))?;
                let words = "The transaction was rolled back since another operation in the same transaction failed.";
                case.words(words, first["body"][0]["message"].as_str().unwrap_or_default());
                let page = case.found(&format!("SELECT Id FROM Account WHERE Name = '{name}'")).await?;
                same("records", &page["totalSize"], &json!(0))?;
                Ok("nothing was saved".to_owned())
            })
        }),
        on("an answer without a body is body: null in a composite", recorded("3.8"), |case| {
            Box::pin(async move {
                let id = case.account("empty").await?;
                let body = json!({"compositeRequest": [{"method": "PATCH", "referenceId": "r",
                    "url": case.path(&format!("sobjects/Account/{id}")), "body": {"Phone": "1"}}]});
                let found = case.post("composite", &body).await?.is(200)?.json()?;
                let part = &found["compositeResponse"][0];
                same("status", &part["httpStatusCode"], &json!(204))?;
                same("body", part.get("body"), Some(&Value::Null))?;
                Ok("null".to_owned())
            })
        }),
        on("a reference that leads nowhere is PROCESSING_HALTED", memory("3.8"), |case| {
            Box::pin(async move {
                let body = json!({"compositeRequest": [
                    {"method": "POST", "url": case.path("sobjects/Account"), "referenceId": "refA", "body": {"Phone": "1"}},
                    {"method": "GET", "url": case.path("sobjects/Account/@{refA.id}"), "referenceId": "refB"},
                ]});
                let found = case.post("composite", &body).await?.is(200)?.json()?;
                let part = &found["compositeResponse"][1];
                same("status", &part["httpStatusCode"], &json!(400))?;
                same("code", &part["body"][0]["errorCode"], &json!("PROCESSING_HALTED"))?;
                let words = "Invalid reference specified. No value for refA.id found in refA";
                let seen = part["body"][0]["message"].as_str().unwrap_or_default();
                case.words(words, seen.get(..words.len()).unwrap_or(seen));
                Ok("400 PROCESSING_HALTED".to_owned())
            })
        }),
        on("a graph is done as a whole or not at all", documented("3.8"), |case| {
            Box::pin(async move {
                let node = |id: &str, body: Value| json!({"method": "POST", "url": case.path("sobjects/Account"), "referenceId": id, "body": body});
                let body = json!({"graphs": [
                    {"graphId": "good", "compositeRequest": [node("a", json!({"Name": case.name("graph")}))]},
                    {"graphId": "bad", "compositeRequest": [node("b", json!({"Name": case.name("graph")})),
                        node("c", json!({"Phone": "1"}))]},
                ]});
                let found = case.post("composite/graph", &body).await?.is(200)?.json()?;
                let graphs = found["graphs"].as_array().cloned().unwrap_or_default();
                let of = |id: &str| graphs.iter().find(|graph| graph["graphId"] == id).cloned().unwrap_or_default();
                same("the good one", &of("good")["isSuccessful"], &json!(true))?;
                same("the bad one", &of("bad")["isSuccessful"], &json!(false))?;
                let part = &of("good")["graphResponse"]["compositeResponse"][0];
                same("status", &part["httpStatusCode"], &json!(201))?;
                Ok("one of two".to_owned())
            })
        }),
        on("a batch tells the status of each request, and whether one failed", documented("3.8"), |case| {
            Box::pin(async move {
                let id = case.account("batch").await?;
                let version = case.connection().api_version();
                let body = json!({"batchRequests": [
                    {"method": "PATCH", "url": format!("v{version}/sobjects/Account/{id}"), "richInput": {"Phone": "1"}},
                    {"method": "GET", "url": format!("v{version}/sobjects/Account/{id}?fields=Phone")},
                ]});
                let found = case.post("composite/batch", &body).await?.is(200)?.json()?;
                same("hasErrors", &found["hasErrors"], &json!(false))?;
                same("the first", &found["results"][0], &json!({"statusCode": 204, "result": null}))?;
                same("Phone", &found["results"][1]["result"]["Phone"], &json!("1"))?;
                Ok("204 and 200".to_owned())
            })
        }),
        on("after a failure a batch halts with 412, if asked to", documented("3.8"), |case| {
            Box::pin(async move {
                let version = case.connection().api_version();
                let body = json!({"haltOnError": true, "batchRequests": [
                    {"method": "GET", "url": format!("v{version}/tielineContract")},
                    {"method": "GET", "url": format!("v{version}/limits")},
                ]});
                let found = case.post("composite/batch", &body).await?.is(200)?.json()?;
                same("hasErrors", &found["hasErrors"], &json!(true))?;
                let second = &found["results"][1];
                same("status", &second["statusCode"], &json!(412))?;
                same("code", &second["result"][0]["errorCode"], &json!("BATCH_PROCESSING_HALTED"))?;
                let seen = second["result"][0]["message"].as_str().unwrap_or_default();
                case.words("Batch processing halted per request", seen);
                Ok("412".to_owned())
            })
        }),
        on("a tree is saved with 201 and an id for each reference", documented("3.8"), |case| {
            Box::pin(async move {
                let body = json!({"records": [{"attributes": {"type": "Account", "referenceId": "r1"}, "Name": case.name("tree"),
                    "Contacts": {"records": [{"attributes": {"type": "Contact", "referenceId": "r2"},
                        "LastName": case.name("leaf")}]}}]});
                let found = case.post("composite/tree/Account", &body).await?.is(201)?.json()?;
                same("hasErrors", &found["hasErrors"], &json!(false))?;
                let ids: Vec<&str> = found["results"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|one| one["referenceId"].as_str())
                    .collect();
                same("references", ids, vec!["r1", "r2"])?;
                Ok("201".to_owned())
            })
        }),
        on("a tree with a failure is 400, and names the record", documented("3.8"), |case| {
            Box::pin(async move {
                let body = json!({"records": [
                    {"attributes": {"type": "Account", "referenceId": "r1"}, "Name": case.name("tree")},
                    {"attributes": {"type": "Account", "referenceId": "r2"}, "Phone": "1"},
                ]});
                let found = case.post("composite/tree/Account", &body).await?.is(400)?.json()?;
                same("hasErrors", &found["hasErrors"], &json!(true))?;
                same("reference", &found["results"][0]["referenceId"], &json!("r2"))?;
                let code = &found["results"][0]["errors"][0]["statusCode"];
                same("statusCode", code, &json!("REQUIRED_FIELD_MISSING"))?;
                Ok("400".to_owned())
            })
        }),
    ]
}
