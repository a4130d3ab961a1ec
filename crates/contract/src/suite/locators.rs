//! Pages of a query.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use tieline_client::{Method, Record, Request};

use super::{documented, observed, recorded, unverified};
use crate::case::{Case, encoded, unanswered};
use crate::expectation::{Area, Check, Expectation, Need, Unmet, not_applicable, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Locators, name, source, check)
}

/// An object with more rows than a page has, if the org has one.
async fn large(case: &Case<'_>) -> Result<&'static str, Unmet> {
    for object in ["Contact", "Account", "Lead", "Opportunity", "Case", "Task"] {
        let page = case.found(&format!("SELECT COUNT() FROM {object}")).await?;
        if page["totalSize"].as_u64().is_some_and(|rows| rows > 2_000) {
            return Ok(object);
        }
    }
    not_applicable("none of six objects has more than 2,000 rows here")
}

/// The first page of a query that has more, in pages of 200 of our own records, or none if the org takes another size.
async fn small_page(case: &Case<'_>, resource: &str) -> Result<Value, Unmet> {
    let soql = format!("SELECT Id FROM Account WHERE Name LIKE '{}-page%'", case.org.marker);
    let there = case.found(&soql.replace("Id", "COUNT()")).await?["totalSize"].as_u64().unwrap_or_default();
    for chunk in [200, 10] {
        if there > 0 {
            break;
        }
        let record = |_| json!({"attributes": {"type": "Account"}, "Name": case.name("page")});
        let records: Vec<Value> = (0..chunk).map(record).collect();
        let made = case.post("composite/sobjects", &json!({"allOrNone": true, "records": records})).await?;
        let made = made.is(200)?.json()?;
        if made[0]["success"] != true {
            return not_applicable(format!("the org lets no accounts be made: {}", made[0]["errors"]));
        }
    }
    let header = (HeaderName::from_static("sforce-query-options"), HeaderValue::from_static("batchSize=200"));
    let request = Request::get(case.path(&format!("{resource}?q={}", encoded(&soql)))).with_header(header.0, header.1);
    let page = case.send(request).await?.is(200)?.json()?;
    if page["done"] == true {
        return not_applicable("the org took another page size, as it may");
    }
    Ok(page)
}

async fn next(case: &Case<'_>, page: &Value) -> Result<Value, Unmet> {
    let path = page["nextRecordsUrl"].as_str().unwrap_or_default();
    case.send(Request::get(path)).await?.is(200)?.json()
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a page has 2,000 rows, and says where the next one is", recorded("3.3"), |case| {
            Box::pin(async move {
                let object = large(case).await?;
                let page = case.found(&format!("SELECT Id FROM {object}")).await?;
                let keys: Vec<&String> = page.as_object().into_iter().flatten().map(|(key, _)| key).collect();
                same("keys", keys, vec!["totalSize", "done", "nextRecordsUrl", "records"])?;
                same("rows", page["records"].as_array().map(Vec::len), Some(2_000))?;
                let url = page["nextRecordsUrl"].as_str().unwrap_or_default();
                let begin = case.path("query/01g");
                that(url.starts_with(&begin) && url.ends_with("-2000"), format_args!("{begin}…-2000"), url)?;
                Ok("01g…-2000".to_owned())
            })
        }),
        on("our client reads more than 2,000 rows, each once", observed("9.3"), |case| {
            Box::pin(async move {
                let object = large(case).await?;
                let soql = format!("SELECT Id FROM {object} LIMIT 4500");
                let rows: Vec<Record> =
                    case.connection().query(&soql).try_collect().await.map_err(|error| unanswered(&error))?;
                let ids: BTreeSet<&str> = rows.iter().filter_map(|row| row["Id"].as_str()).collect();
                that(rows.len() > 2_000 && ids.len() == rows.len(), "more than 2,000, each once", rows.len())?;
                Ok(format!("{} rows", rows.len()))
            })
        }),
        on("batchSize makes pages smaller, and their locators count on", documented("3.3"), |case| {
            Box::pin(async move {
                let page = small_page(case, "query").await?;
                let url = page["nextRecordsUrl"].as_str().unwrap_or_default();
                that(url.ends_with("-200"), "…-200", url)?;
                Ok("…-200".to_owned())
            })
        })
        .needs(Need::Write),
        on("the last page is done and has no next one, and each page tells the total", recorded("3.3"), |case| {
            Box::pin(async move {
                let page = small_page(case, "query").await?;
                let last = next(case, &page).await?;
                same("done", &last["done"], &json!(true))?;
                that(last.get("nextRecordsUrl").is_none(), "no nextRecordsUrl", &last["nextRecordsUrl"])?;
                same("totalSize", &last["totalSize"], &page["totalSize"])?;
                same("rows", last["records"].as_array().map(Vec::len), Some(10))?;
                Ok("done".to_owned())
            })
        })
        .needs(Need::Write),
        on("later pages of queryAll lie under query", observed("3.3"), |case| {
            Box::pin(async move {
                let page = small_page(case, "queryAll").await?;
                let url = page["nextRecordsUrl"].as_str().unwrap_or_default();
                let last = url.rsplit('/').next().unwrap_or_default();
                case.get(&format!("query/{last}")).await?.is(200)?;
                Ok("200".to_owned())
            })
        })
        .needs(Need::Write),
        on("a locator that the org does not know is INVALID_QUERY_LOCATOR", unverified("3.1"), |case| {
            Box::pin(async move {
                let answer = case.get("query/01g000000000001AAA-2000").await?.refused(400, "INVALID_QUERY_LOCATOR")?;
                answer.says("invalid query locator").done()
            })
        }),
        on("a locator that has ended is INVALID_QUERY_LOCATOR", documented("3.3"), |case| {
            Box::pin(async move {
                let page = small_page(case, "query").await?;
                case.control(Method::POST, "query-locators/expire", &json!({})).await?;
                let path = page["nextRecordsUrl"].as_str().unwrap_or_default();
                let answer = case.send(Request::get(path)).await?;
                answer.refused(400, "INVALID_QUERY_LOCATOR")?.done()
            })
        })
        .needs(Need::Write)
        .needs(Need::Control),
    ]
}
