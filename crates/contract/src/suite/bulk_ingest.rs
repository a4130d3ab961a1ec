//! Bulk API 2.0, in.

use std::time::Duration;

use serde_json::{Value, json};
use tieline_client::Method;
use tieline_client::bulk::{Ingest, IngestOptions, Operation, Outcome, Wait};

use super::{documented, observed, reported};
use crate::answer::{Answer, has_keys};
use crate::case::{Case, unanswered};
use crate::expectation::{Area, Check, Expectation, Need, Unmet, same, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::BulkIngest, name, source, check).needs(Need::Write)
}

/// An org works bulk jobs off when it has time.
pub(super) const PATIENCE: Duration = Duration::from_secs(300);

async fn open(case: &Case<'_>) -> Result<(Answer, String), Unmet> {
    let answer = case.post("jobs/ingest", &json!({"object": "Account", "operation": "insert"})).await?;
    let job = answer.json()?;
    if answer.code().is_some() {
        answer.clone().is(200)?;
    }
    let id = case.remember_job("ingest", &job)?;
    Ok((answer, id))
}

/// A job whose data is in the org's hands, until it has ended.
async fn ended(case: &Case<'_>, csv: &str) -> Result<(Value, String), Unmet> {
    let (_, id) = open(case).await?;
    case.text(Method::PUT, &format!("jobs/ingest/{id}/batches"), "text/csv", csv).await?.is(201)?.without_body()?;
    case.patch(&format!("jobs/ingest/{id}"), &json!({"state": "UploadComplete"})).await?.is(200)?;
    let look = async || {
        let info = case.get(&format!("jobs/ingest/{id}")).await?.is(200)?.json()?;
        let over = matches!(info["state"].as_str(), Some("JobComplete" | "Failed" | "Aborted"));
        Ok(over.then_some(info))
    };
    let info = case.wait_for("the job", PATIENCE, look).await?;
    Ok((info, id))
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a job is made with 200, Open, and a contentUrl without a slash in front", documented("4.1"), |case| {
            Box::pin(async move {
                let (answer, id) = open(case).await?;
                let job = answer.is(200)?.json()?;
                let keys = ["createdById", "createdDate", "systemModstamp", "concurrencyMode", "contentType"];
                has_keys(&job, &keys)?;
                same("state", &job["state"], &json!("Open"))?;
                same("lineEnding", &job["lineEnding"], &json!("LF"))?;
                same("columnDelimiter", &job["columnDelimiter"], &json!("COMMA"))?;
                that(job["apiVersion"].is_f64(), "apiVersion as a number", &job["apiVersion"])?;
                let version = case.connection().api_version();
                let url = format!("services/data/v{version}/jobs/ingest/{id}/batches");
                same("contentUrl", job["contentUrl"].as_str(), Some(url.as_str()))?;
                Ok("200 Open".to_owned())
            })
        }),
        on("a job is aborted with 200, and then deleted with 204", documented("4.5"), |case| {
            Box::pin(async move {
                let (_, id) = open(case).await?;
                let path = format!("jobs/ingest/{id}");
                let job = case.patch(&path, &json!({"state": "Aborted"})).await?.is(200)?.json()?;
                same("state", &job["state"], &json!("Aborted"))?;
                case.delete(&path).await?.is(204)?.without_body()?;
                Ok("204".to_owned())
            })
        }),
        on(
            "an upload is answered 201 without a body, and a job with failures is JobComplete",
            observed("4.2"),
            |case| {
                Box::pin(async move {
                    let csv = format!("Name,Phone\n{},1\n,2\n", case.name("bulk"));
                    let (info, _) = ended(case, &csv).await?;
                    same("state", &info["state"], &json!("JobComplete"))?;
                    same("numberRecordsProcessed", &info["numberRecordsProcessed"], &json!(2))?;
                    same("numberRecordsFailed", &info["numberRecordsFailed"], &json!(1))?;
                    same("jobType", &info["jobType"], &json!("V2Ingest"))?;
                    Ok("1 of 2 failed".to_owned())
                })
            },
        ),
        on(
            "results have sf__Id and sf__Created, failures sf__Error as CODE:words:fields --",
            reported("4.4"),
            |case| {
                Box::pin(async move {
                    let csv = format!("Name,Phone\n{},1\n,2\n", case.name("bulk"));
                    let (_, id) = ended(case, &csv).await?;
                    let good = case.get(&format!("jobs/ingest/{id}/successfulResults")).await?.is(200)?;
                    let good =
                        good.with_header("content-type", "text/csv", |value| value.starts_with("text/csv"))?.text();
                    let header = good.lines().next().unwrap_or_default().replace('"', "");
                    same("the header of successfulResults", header.as_str(), "sf__Id,sf__Created,Name,Phone")?;
                    that(
                        good.lines().nth(1).is_some_and(|line| line.contains("\"true\"")),
                        "\"true\" in quotes",
                        &good,
                    )?;
                    let bad = case.get(&format!("jobs/ingest/{id}/failedResults/")).await?.is(200)?.text();
                    let words = "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --";
                    that(bad.contains("REQUIRED_FIELD_MISSING:") && bad.contains(" --"), words, &bad)?;
                    that(bad.lines().nth(1).is_some_and(|line| line.starts_with("\"\",")), "an empty sf__Id", &bad)?;
                    Ok("both".to_owned())
                })
            },
        ),
        on("unprocessed rows are asked for in any case", observed("4.4"), |case| {
            Box::pin(async move {
                let (_, id) = ended(case, &format!("Name\n{}\n", case.name("bulk"))).await?;
                for name in ["unprocessedrecords", "unprocessedRecords"] {
                    case.get(&format!("jobs/ingest/{id}/{name}")).await?.is(200)?;
                }
                Ok("both".to_owned())
            })
        }),
        on("#N/A is null, and values are not trimmed", documented("4.6"), |case| {
            Box::pin(async move {
                let name = case.name("bulk");
                let csv = format!("Name,Phone,Site\n{name},#N/A,\" x\"\n");
                ended(case, &csv).await?;
                let page = case.found(&format!("SELECT Phone, Site FROM Account WHERE Name = '{name}'")).await?;
                same("Phone", &page["records"][0]["Phone"], &Value::Null)?;
                same("Site", &page["records"][0]["Site"], &json!(" x"))?;
                Ok("null and a space".to_owned())
            })
        }),
        on("an unknown column fails the job as InvalidBatch", documented("4.3"), |case| {
            Box::pin(async move {
                let (info, _) = ended(case, &format!("Name,Bacon__c\n{},1\n", case.name("column"))).await?;
                same("state", &info["state"], &json!("Failed"))?;
                let message = info["errorMessage"].as_str().unwrap_or_default();
                let words = "InvalidBatch : Field name not found : Bacon__c";
                that(message.starts_with("InvalidBatch"), words, message)?;
                case.words(words, message);
                Ok("Failed".to_owned())
            })
        }),
        on("line ends other than the job's fail it as ClientInputError", documented("4.3"), |case| {
            Box::pin(async move {
                let csv = format!("Name\r\n{}\r\n", case.name("crlf"));
                let (info, _) = ended(case, &csv).await?;
                same("state", &info["state"], &json!("Failed"))?;
                let message = info["errorMessage"].as_str().unwrap_or_default();
                let words = "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF";
                that(message.starts_with("ClientInputError"), words, message)?;
                case.words(words, message);
                Ok("Failed".to_owned())
            })
        }),
        on("an operation that there is not is 400", documented("4.1"), |case| {
            Box::pin(async move {
                let body = json!({"object": "Account", "operation": "tieline"});
                case.post("jobs/ingest", &body).await?.is(400)?.done()
            })
        }),
        on("a job that there is not is 404 NOT_FOUND", documented("4.7"), |case| {
            Box::pin(async move {
                let answer = case.get("jobs/ingest/750000000000001AAA").await?.refused(404, "NOT_FOUND")?;
                answer.says("The requested resource does not exist").done()
            })
        }),
        on("a list of jobs is done, records and nextRecordsUrl", documented("4.5"), |case| {
            Box::pin(async move {
                let list = case.get("jobs/ingest?jobType=V2Ingest").await?.is(200)?.json()?;
                has_keys(&list, &["done", "records", "nextRecordsUrl"])?;
                Ok("three keys".to_owned())
            })
        }),
        on("a job made together with its data is UploadComplete", documented("4.1"), |case| {
            Box::pin(async move {
                let body = format!(
                    "--B\r\nContent-Disposition: form-data; name=\"job\"\r\nContent-Type: application/json\r\n\r\n\
                     {{\"object\":\"Account\",\"operation\":\"insert\"}}\r\n--B\r\nContent-Disposition: form-data; \
                     name=\"content\"; filename=\"content\"\r\nContent-Type: text/csv\r\n\r\nName\n{}\n\r\n--B--\r\n",
                    case.name("multipart")
                );
                let answer = case.text(Method::POST, "jobs/ingest", "multipart/form-data; boundary=B", &body).await?;
                let job = answer.is(200)?.json()?;
                case.remember_job("ingest", &job)?;
                same("state", &job["state"], &json!("UploadComplete"))?;
                Ok("UploadComplete".to_owned())
            })
        }),
        on("our client tells what became of each row", documented("4.4"), |case| {
            Box::pin(async move {
                let csv = format!("Name,Phone\n{},1\n,2\n", case.name("bulk"));
                let mut ingest = Ingest::new(case.connection(), IngestOptions::new("Account", Operation::Insert));
                ingest.feed_csv(csv.as_bytes()).await.map_err(|error| unanswered(&error))?;
                for job in &ingest.handle().jobs {
                    case.remember_job("ingest", &json!({"id": job.id}))?;
                }
                let wait = Wait { at_most: Some(PATIENCE), ..Wait::default() };
                let summary = ingest.wait(&wait).await.map_err(|error| unanswered(&error))?;
                same("processed and failed", (summary.processed(), summary.failed()), (2, 1))?;
                let mut outcomes = ingest.outcomes(csv.as_bytes());
                let mut seen = Vec::new();
                while let Some((_, outcome)) = outcomes.next().await.map_err(|error| unanswered(&error))? {
                    seen.push(match outcome {
                        Outcome::Success { created, .. } => format!("created: {created}"),
                        Outcome::Failure { code, .. } => code,
                        other => format!("{other:?}"),
                    });
                }
                same("the rows", seen, vec!["created: true".to_owned(), "REQUIRED_FIELD_MISSING".to_owned()])?;
                Ok("a success and a failure".to_owned())
            })
        }),
    ]
}
