//! Bulk API 2.0, out; and how the first Bulk API refuses a session.

use serde_json::{Value, json};
use tieline_client::{Method, Request};

use super::bulk_ingest::PATIENCE;
use super::{documented, observed, source, unverified};
use crate::answer::{Answer, has_keys};
use crate::case::{Auth, Case};
use crate::expectation::{Area, Check, Expectation, Unmet, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::BulkQuery, name, source, check)
}

async fn begin(case: &Case<'_>, soql: &str) -> Result<Answer, Unmet> {
    case.post("jobs/query", &json!({"operation": "query", "query": soql})).await
}

/// A query job that has ended.
async fn ended(case: &Case<'_>) -> Result<(Value, String), Unmet> {
    let job = begin(case, "SELECT Id, IsActive FROM User LIMIT 3").await?.is(200)?.json()?;
    let id = case.remember_job("query", &job)?;
    let look = async || {
        let info = case.get(&format!("jobs/query/{id}")).await?.is(200)?.json()?;
        let over = matches!(info["state"].as_str(), Some("JobComplete" | "Failed" | "Aborted"));
        Ok(over.then_some(info))
    };
    let info = case.wait_for("the job", PATIENCE, look).await?;
    same("state", &info["state"], &json!("JobComplete"))?;
    Ok((info, id))
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a query job is made with 200, and is UploadComplete at once", documented("4.7"), |case| {
            Box::pin(async move {
                let job = begin(case, "SELECT Id FROM User LIMIT 1").await?.is(200)?.json()?;
                case.remember_job("query", &job)?;
                same("state", &job["state"], &json!("UploadComplete"))?;
                same("object", &job["object"], &json!("User"))?;
                same("operation", &job["operation"], &json!("query"))?;
                that(job["apiVersion"].is_f64(), "apiVersion as a number", &job["apiVersion"])?;
                Ok("UploadComplete".to_owned())
            })
        }),
        on("a query job that has ended tells its rows and its kind", documented("4.7"), |case| {
            Box::pin(async move {
                let (info, _) = ended(case).await?;
                has_keys(&info, &["numberRecordsProcessed", "retries", "totalProcessingTime"])?;
                same("jobType", &info["jobType"], &json!("V2Query"))?;
                Ok("V2Query".to_owned())
            })
        }),
        on("the last page of results has the locator null, and its number of rows", documented("4.7"), |case| {
            Box::pin(async move {
                let (info, id) = ended(case).await?;
                let answer = case.get(&format!("jobs/query/{id}/results")).await?.is(200)?;
                let answer = answer.with_header("sforce-locator", "null", |value| value == "null")?;
                let rows = info["numberRecordsProcessed"].to_string();
                answer.with_header("sforce-numberofrecords", &rows, |value| value == rows)?;
                Ok("null".to_owned())
            })
        }),
        on("results are CSV with every value in quotes", documented("4.7"), |case| {
            Box::pin(async move {
                let (_, id) = ended(case).await?;
                let text = case.get(&format!("jobs/query/{id}/results")).await?.is(200)?.text();
                same("the header", text.lines().next(), Some("\"Id\",\"IsActive\""))?;
                let quoted = text.lines().all(|line| line.starts_with('"') && line.ends_with('"'));
                that(quoted, "every value in quotes", &text)?;
                Ok("quoted".to_owned())
            })
        }),
        on("maxRecords makes pages, each with the header", documented("4.7"), |case| {
            Box::pin(async move {
                let (info, id) = ended(case).await?;
                let rows = info["numberRecordsProcessed"].as_u64().unwrap_or_default();
                if rows < 2 {
                    return crate::expectation::not_applicable("the org has but one user");
                }
                let page = case.get(&format!("jobs/query/{id}/results?maxRecords=1")).await?.is(200)?;
                let locator = page.header("sforce-locator").unwrap_or("none").to_owned();
                if locator == "null" {
                    return crate::expectation::not_applicable("the org took another page size");
                }
                let path = format!("jobs/query/{id}/results?maxRecords=1&locator={}", crate::case::encoded(&locator));
                let next = case.get(&path).await?.is(200)?.text();
                same("the header", next.lines().next(), Some("\"Id\",\"IsActive\""))?;
                same("lines", next.lines().count(), 2)?;
                Ok("one row a page".to_owned())
            })
        }),
        on("from version 58 on the pages of a result are told beforehand", documented("4.7"), |case| {
            Box::pin(async move {
                let (_, id) = ended(case).await?;
                let found = case.get(&format!("jobs/query/{id}/resultPages")).await?.is(200)?.json()?;
                has_keys(&found, &["resultPages", "done"])?;
                let url = found["resultPages"][0]["resultUrl"].as_str().unwrap_or_default();
                that(url.contains(&format!("/jobs/query/{id}/results")), "a resultUrl", url)?;
                Ok("resultPages".to_owned())
            })
        }),
        on("Accept: text/csv on a job is overlooked", observed("9.5"), |case| {
            Box::pin(async move {
                let (_, id) = ended(case).await?;
                let request = Request::get(case.path(&format!("jobs/query/{id}")));
                let accept = reqwest::header::HeaderValue::from_static("text/csv; charset=UTF-8");
                let answer = case.send(request.with_header(reqwest::header::ACCEPT, accept)).await?.is(200)?;
                answer.json()?;
                Ok("JSON".to_owned())
            })
        }),
        on("a job that is complete cannot be aborted: INVALIDJOBSTATE", documented("4.7"), |case| {
            Box::pin(async move {
                let (_, id) = ended(case).await?;
                let answer = case.patch(&format!("jobs/query/{id}"), &json!({"state": "Aborted"})).await?;
                let answer = answer.refused(400, "INVALIDJOBSTATE")?;
                answer.says("Aborting already Completed Job not allowed").done()
            })
        }),
        on("a query job is deleted with 204", documented("4.7"), |case| {
            Box::pin(async move {
                let (_, id) = ended(case).await?;
                case.delete(&format!("jobs/query/{id}")).await?.is(204)?.without_body()?;
                case.get(&format!("jobs/query/{id}")).await?.refused(404, "NOT_FOUND")?.done()
            })
        }),
        on("a grouped query is refused with 400", documented("4.7"), |case| {
            Box::pin(async move { begin(case, "SELECT COUNT(Id) FROM User GROUP BY IsActive").await?.is(400)?.done() })
        }),
        on("an unknown field is refused with 400 when the job is made", unverified("4.7"), |case| {
            Box::pin(async move { begin(case, "SELECT Bacon__c FROM User").await?.is(400)?.done() })
        }),
        on("a query job that there is not is 404 NOT_FOUND", documented("4.7"), |case| {
            Box::pin(async move { case.get("jobs/query/750000000000001AAA").await?.refused(404, "NOT_FOUND")?.done() })
        }),
        on("the first Bulk API answers a bad session with 400 InvalidSessionId in XML", source("4.8"), |case| {
            Box::pin(async move {
                let version = case.connection().api_version();
                let path = format!("/services/async/{version}/job");
                let xml = "<jobInfo xmlns=\"http://www.force.com/2009/06/asyncapi/dataload\"><operation>query</operation>\
                           <object>User</object><contentType>CSV</contentType></jobInfo>";
                let auth = Auth::Session("00D000000000000!invalid".to_owned());
                let body = Some(("application/xml; charset=UTF-8", xml.to_owned()));
                let answer = case.raw(Method::POST, &path, &auth, body).await?.is(400)?;
                let good = answer.text().contains("<exceptionCode>InvalidSessionId</exceptionCode>");
                that(good, "<exceptionCode>InvalidSessionId</exceptionCode>", answer.shown())?;
                Ok("400 InvalidSessionId".to_owned())
            })
        }),
    ]
}
