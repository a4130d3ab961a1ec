//! Bulk API 2.0 against the local org.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tieline_client::bulk::{
    BulkQueryOptions, Ingest, IngestHandle, IngestOptions, JobKind, JobState, Operation, Outcome, Wait, csv,
};
use tieline_client::{ClientError, Connection, Record};

use crate::world::World;

const QUICK: Wait = Wait { first: Duration::from_millis(20), longest: Duration::from_millis(50), at_most: None };

#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
struct Person {
    last_name: String,
    email: Option<String>,
}

async fn count(org: &Connection, condition: &str) -> u64 {
    org.count(&format!("SELECT COUNT() FROM Contact WHERE {condition}")).await.unwrap()
}

#[tokio::test]
async fn a_query_job_gives_every_row_once_page_by_page() {
    let world = World::new(2_345).await;
    let org = world.connect(world.jwt());
    world.put("limits", json!({"bulk_page_rows": 1_000})).await;
    let expected: Vec<Record> = org.query("SELECT Id, Email FROM Contact ORDER BY Id").try_collect().await.unwrap();
    let job = org
        .bulk_query("SELECT Id, Email, Account.Name FROM Contact ORDER BY Id", BulkQueryOptions::default())
        .await
        .unwrap();
    let info = job.wait(&QUICK).await.unwrap();
    assert_eq!((info.state, info.number_records_processed), (JobState::JobComplete, 2_345));
    for at_once in [1, 3] {
        let mut rows = job.rows_at_once(at_once);
        let mut n = 0;
        while let Some(row) = rows.next().await.unwrap() {
            assert_eq!((row.get("id"), row.get("Email")), (expected[n]["Id"].as_str(), expected[n]["Email"].as_str()));
            n += 1;
        }
        assert_eq!((n, rows.columns()), (2_345, vec!["Id", "Email", "Account.Name"]), "{at_once}");
    }
    let mut file = Vec::new();
    assert_eq!(job.rows().write_csv(&mut file).await.unwrap(), 2_345);
    let text = String::from_utf8(file).unwrap();
    assert_eq!((text.lines().count(), text.matches("\"Id\"").count()), (2_346, 1));
    // Found again by its id alone, typed.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Found {
        id: String,
        email: Option<String>,
    }
    let typed: Vec<Found> = org.query_job(job.id()).rows().typed().try_collect().await.unwrap();
    assert!(typed.iter().zip(&expected).all(|(a, b)| Some(a.id.as_str()) == b["Id"].as_str()));
    assert!(typed.iter().any(|row| row.email.is_none()));
    job.delete().await.unwrap();
    assert_eq!(job.info().await.unwrap_err().salesforce_code(), Some("NOT_FOUND"));
}

#[tokio::test]
async fn a_page_that_breaks_goes_on_and_one_that_is_short_is_an_error() {
    let world = World::new(3_000).await;
    let org = world.connect(world.jwt());
    let job = org.bulk_query("SELECT Id, Name FROM Contact", BulkQueryOptions::default()).await.unwrap();
    job.wait(&QUICK).await.unwrap();
    let mut whole = Vec::new();
    job.rows().write_csv(&mut whole).await.unwrap();
    let results = format!("/services/data/v67.0/jobs/query/{}/results", job.id());
    // Twice within the body, at different places: the second time behind the first.
    for at in [1, 20_000, 70_000] {
        world.post("faults", json!({"path": results, "cut": at})).await;
        let mut again = Vec::new();
        assert_eq!(job.rows().write_csv(&mut again).await.unwrap(), 3_000, "{at}");
        assert!(again == whole, "{at}");
    }
    // Cut between two rows, as if it were complete: only the number of records tells. (A compressed body tells itself.)
    let plain = tieline_auth::http::token_client().unwrap();
    let org = Connection::sending_by(plain, org.credentials().clone(), org.options().clone());
    let job = org.query_job(job.id());
    let line = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1_000).unwrap().0 + 1;
    for cut in [line, line - 3] {
        world.post("faults", json!({"path": results, "truncate": cut})).await;
        let error = job.rows().write_csv(&mut Vec::new()).await.unwrap_err();
        assert!(matches!(&error, ClientError::Unreadable { .. }), "{error}");
        world.post("faults", json!({"path": results, "truncate": cut})).await;
        let mut rows = org.query_job(job.id()).rows();
        let error = loop {
            match rows.next().await {
                Ok(row) => assert!(row.is_some(), "it must not end well"),
                Err(error) => break error,
            }
        };
        let known = ["the org said 3000", "values", "within a quoted value"];
        assert!(known.iter().any(|text| error.to_string().contains(text)), "{error}");
        assert!(rows.next().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn waiting_ends_without_a_verdict_and_goes_on_elsewhere() {
    let world = World::new(10).await;
    let org = world.connect(world.jwt());
    world.put("limits", json!({"bulk_hold": "InProgress"})).await;
    let job = org.bulk_query("SELECT Id FROM Contact", BulkQueryOptions::default()).await.unwrap();
    let limited = Wait { at_most: Some(Duration::from_millis(200)), ..QUICK };
    let error = job.wait(&limited).await.unwrap_err();
    let ClientError::StillRunning { job: id, state, .. } = &error else { panic!("{error}") };
    assert_eq!((id.as_str(), state.as_str()), (job.id(), "InProgress"));
    assert!(error.is_transient() && error.hint().contains(job.id()), "{}", error.hint());
    world.put("limits", json!({"bulk_hold": null})).await;
    // A look that fails is no verdict either.
    world.post("faults", json!({"path": "/services/data/v67.0/jobs/query/", "times": 9, "status": 503})).await;
    assert_eq!(org.query_job(id.clone()).wait(&QUICK).await.unwrap().number_records_processed, 10);
    // Aborted by somebody else meanwhile.
    world.put("limits", json!({"bulk_hold": "InProgress"})).await;
    let job = org.bulk_query("SELECT Id FROM Contact", BulkQueryOptions::default()).await.unwrap();
    job.abort().await.unwrap();
    let error = job.wait(&QUICK).await.unwrap_err();
    assert!(matches!(&error, ClientError::JobEnded { state, .. } if state == "Aborted"), "{error}");
}

#[tokio::test]
async fn rows_are_sent_as_they_come_split_into_jobs_and_joined_to_what_became_of_them() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let mut input = String::from("\u{feff}LastName,Email,Description\r\n");
    for n in 0..2_000 {
        let name = if n % 100 == 7 { "" } else { "Person" };
        let gap = if n == 5 { "\r\n" } else { "" };
        input.push_str(&format!(
            "{name}{},p{n}@example.com,\"says \"\"{n}\"\",\r\nand more\"\r\n{gap}",
            if name.is_empty() { String::new() } else { n.to_string() }
        ));
    }
    let events = Arc::new(Mutex::new((0, 0, 0)));
    let options = {
        let mut options = IngestOptions::new("Contact", Operation::Insert);
        options.bytes_per_job = 40_000;
        options
    };
    let mut ingest = Ingest::new(&org, options).on_event({
        let events = events.clone();
        move |handle, event| {
            let mut events = events.lock().unwrap();
            match event {
                tieline_client::bulk::ingest::IngestEvent::Opened { .. } => events.0 += 1,
                tieline_client::bulk::ingest::IngestEvent::Closed { job } => {
                    events.1 += 1;
                    assert_eq!(handle.jobs.last(), Some(job));
                }
                _ => events.2 += 1,
            }
        }
    });
    ingest.feed_csv(input.as_bytes()).await.unwrap();
    let handle = ingest.handle().clone();
    assert!(handle.complete && handle.open_job.is_none() && handle.jobs.len() >= 2, "{handle:?}");
    assert_eq!((handle.rows(), *events.lock().unwrap()).1.0, handle.jobs.len());
    let summary = ingest.wait(&QUICK).await.unwrap();
    assert_eq!((summary.rows, summary.processed(), summary.failed()), (2_000, 2_000, 20));
    assert!(!summary.is_success());
    let mut outcomes = ingest.outcomes(input.as_bytes());
    let (mut n, mut failed) = (0, 0);
    while let Some((row, outcome)) = outcomes.next().await.unwrap() {
        assert_eq!(row, n);
        match outcome {
            Outcome::Success { id, created } => assert!(id.starts_with("003") && created && n % 100 != 7),
            Outcome::Failure { code, fields, id, .. } => {
                assert_eq!(
                    (code.as_str(), &fields[..], id),
                    ("REQUIRED_FIELD_MISSING", &["LastName".to_owned()][..], None)
                );
                assert_eq!(n % 100, 7);
                failed += 1;
            }
            other => panic!("row {n}: {other:?}"),
        }
        n += 1;
    }
    assert_eq!((n, failed), (2_000, 20));
    assert_eq!(count(&org, "LastName LIKE 'Person%'").await, 1_980);
    let one: Vec<Record> =
        org.query("SELECT Description FROM Contact WHERE LastName = 'Person9'").try_collect().await.unwrap();
    // The rest of the record as it was; line ends within values are those of the file.
    assert_eq!(one[0]["Description"], json!("says \"9\",\nand more"));
}

#[tokio::test]
async fn typed_records_are_inserted_changed_upserted_and_deleted() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let people = |n: usize| {
        stream::iter(
            (0..n).map(|n| Person { last_name: format!("Ö'Neil, \"{n}\""), email: Some(format!("p{n}@example.com")) }),
        )
    };
    let mut insert = Ingest::new(&org, IngestOptions::new("Contact", Operation::Insert));
    insert.feed(people(300)).await.unwrap();
    assert!(insert.wait(&QUICK).await.unwrap().is_success());
    assert_eq!(count(&org, "LastName LIKE 'Ö''Neil%'".replace("''", "\\'").as_str()).await, 300);
    // Contact.Email is looked up by upserts in the local org.
    let mut upsert = Ingest::new(&org, IngestOptions::upsert("Contact", "Email"));
    upsert.feed(people(310)).await.unwrap();
    let summary = upsert.wait(&QUICK).await.unwrap();
    assert!(summary.is_success(), "{summary:?}");
    let rows: Vec<Record> = org.query("SELECT Id FROM Contact ORDER BY Id").try_collect().await.unwrap();
    assert_eq!(rows.len(), 310);
    let csv = |value: &str| {
        let lines: String = rows.iter().map(|row| format!("{},{value}\n", row["Id"].as_str().unwrap())).collect();
        format!("Id,Email\n{lines}")
    };
    let mut update = Ingest::new(&org, IngestOptions::new("Contact", Operation::Update));
    update.feed_csv(csv(csv::NULL).as_bytes()).await.unwrap();
    assert!(update.wait(&QUICK).await.unwrap().is_success());
    assert_eq!(count(&org, "Email = null").await, 310);
    let ids = rows.iter().map(|row| Id { id: row["Id"].as_str().unwrap().to_owned() });
    let mut delete = Ingest::new(&org, IngestOptions::new("Contact", Operation::Delete));
    delete.feed(stream::iter(ids)).await.unwrap();
    assert!(delete.wait(&QUICK).await.unwrap().is_success());
    assert_eq!(count(&org, "Id != null").await, 0);
}

#[derive(Serialize)]
struct Id {
    #[serde(rename = "Id")]
    id: String,
}

#[tokio::test]
async fn input_that_is_not_csv_is_told_by_record_and_leaves_no_open_job() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    for (input, told) in [
        ("", "it is empty"),
        ("LastName,,Email\na,b,c\n", "column 2 has no name"),
        ("LastName,lastname\na,b\n", "names `lastname` twice"),
        ("LastName,Email\na,b\nc\n", "record 2 has 1 values and the header 2"),
        ("LastName,Email\na,b\n\"c,d\ne,f\n", "record 2 ends within a quoted value"),
        // As spreadsheets on a Mac write it: one line to some, three to others.
        ("LastName,Email\ra,b\rc,d\r", "the header line: a carriage return stands outside of quotes"),
        ("LastName,Email\na,b\rc,d\n", "record 1: a carriage return stands outside of quotes"),
        ("LastName,Email\n\"a\",b\nc,5\" wide\nd,6\" wide\n", "record 2: a quote stands in a value that is not quoted"),
    ] {
        let mut ingest = Ingest::new(&org, IngestOptions::new("Contact", Operation::Insert));
        let error = ingest.feed_csv(input.as_bytes()).await.unwrap_err();
        assert!(matches!(&error, ClientError::Input { reason, .. } if reason.contains(told)), "{error}");
        assert!(ingest.handle().open_job.is_none() && !ingest.handle().complete);
    }
    let jobs = org.jobs(JobKind::Ingest, 100).await.unwrap();
    assert!(jobs.iter().all(|job| job.state == JobState::Aborted), "{jobs:?}");
    assert_eq!(count(&org, "Id != null").await, 0);
    // An unknown column fails the job, and the reason comes through.
    let mut ingest = Ingest::new(&org, IngestOptions::new("Contact", Operation::Insert));
    ingest.feed_csv(&b"LastName,Nope\na,b\n"[..]).await.unwrap();
    let summary = ingest.wait(&QUICK).await.unwrap();
    assert_eq!(summary.jobs[0].error_message.as_deref(), Some("InvalidBatch : Field name not found : Nope"));
    assert!(!summary.is_success());
    let mut outcomes = ingest.outcomes(&b"LastName,Nope\na,b\n"[..]);
    assert_eq!(outcomes.next().await.unwrap(), Some((0, Outcome::Unprocessed)));
}

#[tokio::test]
async fn a_lost_upload_never_doubles_a_row() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let input: String = std::iter::once("LastName\n".to_owned()).chain((0..500).map(|n| format!("P{n}\n"))).collect();
    let batches = "/services/data/v67.0/jobs/ingest/";
    for fault in [
        // The org took the data, and its answer was lost; or it never saw the request; or it refused the token.
        json!({"path": batches, "method": "PUT", "cut": 0}),
        json!({"path": batches, "method": "PUT", "status": 503}),
        json!({"path": batches, "method": "PUT", "status": 401, "body": [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]}),
        // The job was closed, and nobody heard of it.
        json!({"path": batches, "method": "PATCH", "cut": 0}),
        json!({"path": "/services/data/v67.0/jobs/ingest", "method": "POST", "cut": 0}),
    ] {
        let before = count(&org, "Id != null").await;
        world.post("faults", fault.clone()).await;
        let mut ingest = Ingest::new(&org, IngestOptions::new("Contact", Operation::Insert));
        ingest.feed_csv(input.as_bytes()).await.unwrap();
        let summary = ingest.wait(&QUICK).await.unwrap();
        assert!(summary.is_success(), "{fault}: {summary:?}");
        assert_eq!(count(&org, "Id != null").await - before, 500, "{fault}");
    }
}

#[tokio::test]
async fn a_job_that_was_handed_over_is_not_sent_again_wherever_the_process_died() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let input: String = std::iter::once("LastName\n".to_owned()).chain((0..200).map(|n| format!("P{n}\n"))).collect();
    let saved_handle = Arc::new(Mutex::new(None));
    // As it was written down before the org heard that the job has its data, with the org having heard it and not.
    for heard in [true, false] {
        let before = count(&org, "Id != null").await;
        let mut first = Ingest::new(&org, IngestOptions::new("Contact", Operation::Insert)).on_event({
            let saved = saved_handle.clone();
            move |handle, _| {
                if handle.handed.is_some() {
                    *saved.lock().unwrap() = Some(handle.clone());
                }
            }
        });
        if !heard {
            let fault =
                json!({"path": "/services/data/v67.0/jobs/ingest/", "method": "PATCH", "times": 0, "status": 503});
            world.post("faults", fault).await;
        }
        assert_eq!(first.feed_csv(input.as_bytes()).await.is_ok(), heard);
        world.delete("faults").await;
        let handle = saved_handle.lock().unwrap().take().unwrap();
        assert!(handle.jobs.is_empty() && handle.open_job.is_none());
        let mut second = Ingest::resume(&org, handle);
        second.feed_csv(input.as_bytes()).await.unwrap();
        assert!(second.wait(&QUICK).await.unwrap().is_success());
        assert_eq!(count(&org, "Id != null").await - before, 200, "{heard}");
    }
    // Aborted by somebody meanwhile: what it came to before stays, and the rest is told as unprocessed.
    let before = count(&org, "Id != null").await;
    let mut open = Ingest::new(&org, IngestOptions::new("Contact", Operation::Insert)).on_event({
        let saved = saved_handle.clone();
        move |handle, _| {
            if handle.handed.is_some() {
                *saved.lock().unwrap() = Some(handle.clone());
            }
        }
    });
    let fault = json!({"path": "/services/data/v67.0/jobs/ingest/", "method": "PATCH", "times": 0, "status": 503});
    world.post("faults", fault).await;
    open.feed_csv(input.as_bytes()).await.unwrap_err();
    world.delete("faults").await;
    let handle = saved_handle.lock().unwrap().take().unwrap();
    // Not by telling it to begin first.
    Ingest::resume(&org, handle.clone()).abort().await.unwrap();
    let mut again = Ingest::resume(&org, handle);
    again.feed_csv(input.as_bytes()).await.unwrap();
    let summary = again.wait(&QUICK).await.unwrap();
    assert_eq!((summary.jobs.len(), &summary.jobs[0].state, summary.processed()), (1, &JobState::Aborted, 0));
    let mut outcomes = again.outcomes(input.as_bytes());
    assert_eq!(outcomes.next().await.unwrap(), Some((0, Outcome::Unprocessed)));
    assert_eq!(count(&org, "Id != null").await, before);
    // Not noted at all: nobody knows what it holds, so nothing is sent and nothing aborted.
    let mut done = Ingest::new(&org, IngestOptions::new("Contact", Operation::Insert));
    done.feed_csv(input.as_bytes()).await.unwrap();
    done.wait(&QUICK).await.unwrap();
    let open_job = Some(done.handle().jobs[0].id.clone());
    let lost = IngestHandle { open_job, ..IngestHandle::new(done.handle().options.clone()) };
    let before = count(&org, "Id != null").await;
    let error = Ingest::resume(&org, lost).feed_csv(input.as_bytes()).await.unwrap_err();
    assert!(matches!(error, ClientError::Input { .. }), "{error}");
    assert_eq!(count(&org, "Id != null").await, before);
}

#[tokio::test]
async fn an_ingest_goes_on_in_another_process() {
    let world = World::new(0).await;
    let org = world.connect(world.jwt());
    let input: String = std::iter::once("LastName\n".to_owned()).chain((0..3_000).map(|n| format!("P{n}\n"))).collect();
    let mut options = IngestOptions::new("Contact", Operation::Insert);
    options.bytes_per_job = 5_000;
    // The process dies while it feeds the third job: what is left of it is the handle as it was written down then.
    let saved = Arc::new(Mutex::new(None));
    let mut first = Ingest::new(&org, options).on_event({
        let saved = saved.clone();
        move |handle, _| {
            if handle.jobs.len() == 2 && handle.open_job.is_some() {
                saved.lock().unwrap().get_or_insert_with(|| serde_json::to_string(handle).unwrap());
            }
        }
    });
    first.feed_csv(Breaking(&input.as_bytes()[..13_000])).await.unwrap_err();
    let handle: IngestHandle = serde_json::from_str(saved.lock().unwrap().as_deref().unwrap()).unwrap();
    assert_eq!(handle.jobs.len(), 2, "{handle:?}");
    // Another input, or this one as somebody has changed it: the rest of it is not the rest of what was begun.
    for other in [input.replace("P7\n", "Q7\n"), input.replace("LastName", "FirstName")] {
        let error = Ingest::resume(&org, handle.clone()).feed_csv(other.as_bytes()).await.unwrap_err();
        let told = |reason: &str| reason.contains("records are not those that the org has already");
        assert!(matches!(&error, ClientError::Input { reason, .. } if told(reason)), "{error}");
    }
    let mut second = Ingest::resume(&org, handle);
    second.feed_csv(input.as_bytes()).await.unwrap();
    let summary = second.wait(&QUICK).await.unwrap();
    assert!(summary.is_success() && summary.rows == 3_000, "{summary:?}");
    // Its first two jobs are the dead process's; the third was begun anew, and what it had open is aborted.
    let names: Vec<Record> = org.query("SELECT LastName FROM Contact").try_collect().await.unwrap();
    let mut names: Vec<&str> = names.iter().map(|row| row["LastName"].as_str().unwrap()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((names.len(), count(&org, "Id != null").await), (3_000, 3_000));
}

/// A reader that fails at the end of what it has.
struct Breaking<'a>(&'a [u8]);

impl tokio::io::AsyncRead for Breaking<'_> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        into: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        if self.0.is_empty() {
            return std::task::Poll::Ready(Err(std::io::Error::other("the pipe broke")));
        }
        let n = self.0.len().min(into.remaining()).min(1_000);
        into.put_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        std::task::Poll::Ready(Ok(()))
    }
}
