//! What ends jobs early, and what the control API does to them.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Bulk};

fn insert() -> Value {
    json!({"object": "Account", "operation": "insert"})
}

#[tokio::test]
async fn files_that_break_the_rules_fail_their_job() {
    let org = Bulk::start().await;
    let long = format!("Name{}\nA\n", ",".repeat(32_000));
    for (csv, message) in [
        ("Nmae\nA\n", "InvalidBatch : Field name not found : Nmae"),
        ("\u{feff}Name\nA\n", "InvalidBatch : Field name not found : \u{feff}Name"),
        ("Name\r\nA\r\n", "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF"),
        (
            "Name\n\"A\r\nB\"\n",
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF",
        ),
        (
            "Name,Account:Parent.Id\nA,\n",
            "InvalidBatch : type is not needed for non polymorphic foreign key references: Parent",
        ),
        ("Name,Account.Name\nA,\n", "InvalidBatch : Unable to find relationship: Account"),
        (long.as_str(), "InvalidBatch : the header has more than 32000 characters"),
    ] {
        let job = org.ingest(insert(), csv).await;
        assert_eq!([&job["state"], &job["errorMessage"]], ["Failed", message]);
        assert_eq!(job["numberRecordsProcessed"], 0);
        let rest = org.results(&job, "unprocessedrecords").await;
        assert!(rest.contains('A'), "{message}: {rest}");
    }
    assert!(
        org.soql("SELECT Id FROM Account WHERE Name LIKE 'A%' AND Name < 'B' AND CreatedDate > TODAY").await.is_empty()
    );
    let job = org.ingest(insert(), "Name,Phone\nGood,1\nBad\nNext,2\n").await;
    assert_eq!([&job["state"], &job["numberRecordsProcessed"]], [&json!("Failed"), &json!(1)], "{job}");
    assert_eq!(org.results(&job, "unprocessedrecords").await, "Name,Phone\nBad\nNext,2\n");
}

#[tokio::test]
async fn every_delimiter_is_read_and_written() {
    let org = Bulk::start().await;
    let names = [("BACKQUOTE", '`'), ("CARET", '^'), ("COMMA", ','), ("PIPE", '|'), ("SEMICOLON", ';'), ("TAB", '\t')];
    for (name, d) in names {
        let create = json!({"object": "Account", "operation": "insert", "columnDelimiter": name});
        let job = org.ingest(create, &format!("Name{d}Phone\n{name}{d}1\n")).await;
        assert_eq!(job["numberRecordsFailed"], 0, "{job}");
        let successful = org.results(&job, "successfulResults").await;
        assert!(successful.starts_with(&format!("\"sf__Id\"{d}\"sf__Created\"{d}Name{d}Phone\n\"001")), "{successful}");
        let query = json!({"operation": "query", "columnDelimiter": name, "lineEnding": "CRLF",
            "query": format!("SELECT Name, Phone FROM Account WHERE Name = '{name}'")});
        let id = org.post("/jobs/query", query).await.json()["id"].as_str().unwrap().to_owned();
        org.finished(&format!("/jobs/query/{id}")).await;
        let results = org.read(&format!("/jobs/query/{id}/results")).await.text;
        assert_eq!(results, format!("\"Name\"{d}\"Phone\"\r\n\"{name}\"{d}\"1\"\r\n"));
    }
}

#[tokio::test]
async fn an_abort_in_the_middle_keeps_what_is_done_and_returns_the_rest() {
    let org = Bulk::start().await;
    org.limits(json!({"bulk_slice_rows": 10, "bulk_slice_pause_ms": 60_000})).await;
    for ending in ["LF", "CRLF"] {
        let newline = if ending == "LF" { "\n" } else { "\r\n" };
        let rows: Vec<String> = (0..30).map(|n| format!("{ending}{n}{newline}")).collect();
        let create = json!({"object": "Account", "operation": "insert", "lineEnding": ending});
        let id = org.begin(create, &format!("Name{newline}{}", rows.concat())).await;
        let path = format!("/jobs/ingest/{id}");
        let job = org.job_when(&path, |job| job["numberRecordsProcessed"] == 10).await;
        assert_eq!(job["state"], "InProgress");
        assert_eq!(org.read(&format!("{path}/successfulResults")).await.error().1, "INVALIDJOBSTATE");
        assert_eq!(Answer::of(org.call(Method::DELETE, &path)).await.status, 400);
        assert_eq!(org.state(&path, "Aborted").await.json()["state"], "Aborted");
        let job = org.finished(&path).await;
        assert_eq!([&job["state"], &job["numberRecordsProcessed"]], [&json!("Aborted"), &json!(10)]);
        assert_eq!(org.results(&job, "successfulResults").await.lines().count(), 11);
        assert_eq!(org.results(&job, "unprocessedrecords").await, format!("Name{newline}{}", rows[10..].concat()));
        assert_eq!(org.soql(&format!("SELECT Id FROM Account WHERE Name LIKE '{ending}%'")).await.len(), 10);
    }
}

#[tokio::test]
async fn jobs_are_held_and_let_go_and_aborted_while_they_wait() {
    let org = Bulk::start().await;
    for state in ["UploadComplete", "InProgress"] {
        org.limits(json!({"bulk_hold": state})).await;
        let (waits, ends) = (org.begin(insert(), "Name\nHeld\n").await, org.begin(insert(), "Name\nHeld\n").await);
        let query = json!({"operation": "query", "query": "SELECT Id FROM Contact"});
        let query = org.post("/jobs/query", query).await.json()["id"].as_str().unwrap().to_owned();
        for path in [format!("/jobs/ingest/{waits}"), format!("/jobs/ingest/{ends}"), format!("/jobs/query/{query}")] {
            org.job_when(&path, |job| job["state"] == state).await;
        }
        assert_eq!(org.read(&format!("/jobs/query/{query}/results")).await.error().1, "INVALIDJOBSTATE");
        let aborted = org.state(&format!("/jobs/ingest/{ends}"), "Aborted").await;
        assert_eq!(aborted.json()["state"], "Aborted");
        org.limits(json!({"bulk_hold": null})).await;
        assert_eq!(org.finished(&format!("/jobs/ingest/{waits}")).await["state"], "JobComplete");
        assert_eq!(org.finished(&format!("/jobs/query/{query}")).await["state"], "JobComplete");
        let job = org.finished(&format!("/jobs/ingest/{ends}")).await;
        assert_eq!([&job["state"], &job["numberRecordsProcessed"]], [&json!("Aborted"), &json!(0)]);
        assert_eq!(org.results(&job, "unprocessedrecords").await, "Name\nHeld\n");
    }
    assert_eq!(org.soql("SELECT Id FROM Account WHERE Name = 'Held'").await.len(), 2);
}

#[tokio::test]
async fn a_job_is_held_in_the_middle_and_goes_on_after_a_reset() {
    let org = Bulk::start().await;
    org.limits(json!({"bulk_slice_rows": 2, "bulk_slice_pause_ms": 300})).await;
    let id = org.begin(insert(), "Name\nM0\nM1\nM2\nM3\nM4\n").await;
    let path = format!("/jobs/ingest/{id}");
    org.job_when(&path, |job| job["numberRecordsProcessed"].as_u64() > Some(0)).await;
    org.limits(json!({"bulk_hold": "InProgress"})).await;
    // Long enough for the pauses of a job that is not held.
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    let job = org.read(&path).await.json();
    assert_eq!(job["state"], "InProgress", "{job}");
    assert!(job["numberRecordsProcessed"].as_u64() < Some(5), "{job}");
    let reset = org.http.post(format!("{}/reset", org.emulator.info().control_url));
    assert_eq!(Answer::of(reset).await.status, 204);
    assert_eq!(org.finished(&path).await["numberRecordsProcessed"], 5);
    let url = format!("{}/limits", org.emulator.info().control_url);
    for unknown in [json!({"bulk_nope": 1}), json!({"nope": 1}), json!({"bulk_hold": "Later"})] {
        assert_eq!(Answer::of(org.http.put(&url).json(&unknown)).await.status, 422, "{unknown}");
    }
}

#[tokio::test]
async fn a_job_fails_where_it_is_told_to_and_rows_are_locked() {
    let org = Bulk::start().await;
    org.limits(json!({"bulk_slice_rows": 4, "bulk_fail_after_rows": 6, "bulk_fail_message": "TooManyLockFailure : x"}))
        .await;
    let csv = format!("Name\n{}", (0..9).map(|n| format!("F{n}\n")).collect::<String>());
    let job = org.ingest(insert(), &csv).await;
    assert_eq!(
        [&job["state"], &job["errorMessage"], &job["numberRecordsProcessed"]],
        [&json!("Failed"), &json!("TooManyLockFailure : x"), &json!(6)]
    );
    assert_eq!(org.results(&job, "unprocessedrecords").await, "Name\nF6\nF7\nF8\n");
    assert_eq!(org.ingest(insert(), &csv).await["state"], "JobComplete", "only one fails");

    org.limits(json!({"bulk_lock_rows": 1})).await;
    let id = org.soql("SELECT Id FROM Contact LIMIT 1").await[0]["Id"].as_str().unwrap().to_owned();
    let update = json!({"object": "Contact", "operation": "update"});
    let job = org.ingest(update.clone(), &format!("Id,Phone\n{id},1\n")).await;
    let locked =
        format!("\"UNABLE_TO_LOCK_ROW:unable to obtain exclusive access to this record or 1 records: {id}:--\"");
    assert!(org.results(&job, "failedResults").await.contains(&locked));
    assert_eq!(org.ingest(update, &format!("Id,Phone\n{id},1\n")).await["numberRecordsFailed"], 0);
}

#[tokio::test]
async fn other_requests_are_answered_while_a_job_runs() {
    let org = Bulk::start().await;
    org.limits(json!({"bulk_slice_rows": 100})).await;
    let csv = format!("Name,Phone\n{}", (0..20_000).map(|n| format!("Many{n},{n}\n")).collect::<String>());
    let id = org.begin(insert(), &csv).await;
    let path = format!("/jobs/ingest/{id}");
    let mut between = 0;
    loop {
        let job = org.read(&path).await.json();
        let n = job["numberRecordsProcessed"].as_u64().unwrap();
        between += u64::from(n > 0 && n < 20_000 && job["state"] == "InProgress");
        if job["state"] == "JobComplete" {
            break;
        }
    }
    assert!(between > 3, "{between} answers while it ran");
}

#[tokio::test]
async fn jobs_are_listed_by_kind_and_page_and_expire_after_a_week() {
    let org = Bulk::start().await;
    let query = json!({"operation": "query", "query": "SELECT Id FROM Account"});
    let query = org.post("/jobs/query", query).await.json()["id"].clone();
    for _ in 0..1_001 {
        assert_eq!(org.post("/jobs/ingest", insert()).await.status, 200);
    }
    let first = org.read("/jobs/ingest").await.json();
    assert_eq!((&first["done"], first["records"].as_array().unwrap().len()), (&json!(false), 1_000));
    let item = &first["records"][0];
    assert_eq!([&item["jobType"], &item["state"], &item["object"]], ["V2Ingest", "Open", "Account"]);
    let next = first["nextRecordsUrl"].as_str().unwrap().trim_start_matches(super::V);
    let second = org.read(next).await.json();
    assert_eq!((&second["done"], second["records"].as_array().unwrap().len()), (&json!(true), 1));
    assert_eq!(second["nextRecordsUrl"], Value::Null);
    assert_ne!(second["records"][0]["id"], first["records"][999]["id"]);
    let queries = org.read("/jobs/ingest?jobType=V2Query").await.json();
    assert_eq!(queries["records"].as_array().unwrap().iter().map(|job| &job["id"]).collect::<Vec<_>>(), [&query]);
    assert_eq!(org.read("/jobs/query").await.json()["records"].as_array().unwrap().len(), 1);
    assert_eq!(org.read("/jobs/ingest?isPkChunkingEnabled=true").await.json()["records"], json!([]));

    let clock = format!("{}/clock", org.emulator.info().control_url);
    Answer::of(org.http.put(&clock).json(&json!({"advance_seconds": 7 * 24 * 3_600 + 1}))).await;
    // The session is older than two hours; another one is made.
    let info = org.emulator.info();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", &info.refresh_token),
        ("client_id", &info.client_id),
        ("client_secret", &info.client_secret),
    ];
    let token = org.token(&form).await.1["access_token"].as_str().unwrap().to_owned();
    let url = org.url(&format!("{}/jobs/query/{}", super::V, query.as_str().unwrap()));
    assert_eq!(Answer::of(org.http.get(url).bearer_auth(token)).await.status, 404);
}
