//! Calls that the caller gives up in the middle, as `select!` and time-outs do, and takes up again: nothing is lost and
//! nothing comes twice.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tieline_client::bulk::{Ingest, IngestHandle, Outcome};
use tieline_client::{ApiVersion, Connection, Options};

use crate::server::{Answer, Seen, Server, credentials, quick};

/// Gives up after 1 ms, and the next time after twice as long: within an answer of the server, at several places of it.
macro_rules! impatient {
    ($call:expr) => {{
        let mut patience = Duration::from_millis(1);
        loop {
            match tokio::time::timeout(patience, $call).await {
                Ok(outcome) => break outcome,
                Err(_) => patience *= 2,
            }
        }
    }};
}

/// An answer whose bytes take their time.
fn slow(answer: Answer) -> Answer {
    Answer { pause: Duration::from_micros(200), ..answer }
}

fn csv(seen: &Seen, body: &str) -> Answer {
    let leads_on = ["/results", "/successfulResults"].iter().any(|first| seen.path.ends_with(first));
    let next = if leads_on { "two" } else { "null" };
    let rows = body.lines().count() - 1;
    let headers = format!("content-type: text/csv\r\nSforce-Locator: {next}\r\nSforce-NumberOfRecords: {rows}\r\n");
    slow(Answer::new(200, &headers, body))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    id: String,
}

#[tokio::test]
async fn pages_of_a_query_come_once_each() {
    let server = Server::start(|seen| {
        let page = |ids: [&str; 2], next: Option<&str>| {
            let records = ids.map(|id| json!({"Id": id}));
            let page = json!({"totalSize": 6, "done": next.is_none(), "nextRecordsUrl": next, "records": records});
            slow(Answer::json(200, &page))
        };
        let forgotten = json!([{"errorCode": "INVALID_QUERY_LOCATOR", "message": "invalid query locator"}]);
        match seen.path.rsplit_once('/').unwrap().1 {
            "01g1-2" => page(["3", "4"], Some("/services/data/v67.0/query/01g1-4")),
            "01g1-4" => slow(Answer::json(400, &forgotten)),
            path if path.contains("%3E") => page(["5", "6"], None),
            _ => page(["1", "2"], Some("/services/data/v67.0/query/01g1-2")),
        }
    })
    .await;
    let mut pages = server.connect().query_pages::<Named>("SELECT Id FROM Contact ORDER BY Id");
    let mut ids = Vec::new();
    while let Some(page) = impatient!(pages.next()).unwrap() {
        ids.extend(page.records.into_iter().map(|record| record.id));
    }
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
}

#[tokio::test]
async fn rows_of_a_job_come_once_each_one_page_at_a_time_and_several() {
    let server = Server::start(|seen| {
        let pages = |names: [&str; 2], next: Option<&str>| {
            let pages = names.map(|name| json!({"resultUrl": format!("/services/data/v67.0/jobs/query/750/{name}")}));
            slow(Answer::json(200, &json!({"resultPages": pages, "nextRecordsUrl": next, "done": next.is_none()})))
        };
        match seen.path.rsplit_once('/').unwrap().1 {
            "resultPages" => pages(["p1", "p2"], Some("/services/data/v67.0/jobs/query/750/more")),
            "more" => pages(["p3", "p4"], None),
            "p1" | "results" => csv(seen, "Id\n1\n2\n"),
            "p2" | "results?locator=two" => csv(seen, "Id\n3\n4\n"),
            "p3" => csv(seen, "Id\n5\n6\n"),
            _ => csv(seen, "Id\n7\n8\n"),
        }
    })
    .await;
    for (at_once, expected) in [(1, "1 2 3 4"), (2, "1 2 3 4 5 6 7 8")] {
        // By its id alone: nobody has told how many rows it has.
        let mut rows = server.connect().query_job("750").rows_at_once(at_once);
        let mut ids = Vec::new();
        while let Some(id) =
            impatient!(async { rows.next().await.map(|row| row.map(|row| row.at(0).map(str::to_owned))) }).unwrap()
        {
            ids.extend(id);
        }
        assert_eq!(ids.join(" "), expected);
    }
}

#[tokio::test]
async fn what_became_of_a_row_stays_with_it() {
    let server = Server::start(|seen| match seen.path.rsplit_once('/').unwrap().1 {
        "successfulResults" => csv(seen, "sf__Id,sf__Created,Name\n003a,true,a\n"),
        "successfulResults?locator=two" => csv(seen, "sf__Id,sf__Created,Name\n003c,true,c\n"),
        "failedResults" => csv(seen, "sf__Id,sf__Error,Name\n,X:no:Name --,b\n"),
        _ => csv(seen, "Name\n"),
    })
    .await;
    let handle: Value = json!({"options": {"object": "Contact", "operation": "insert"},
        "jobs": [{"id": "750", "first_row": 0, "rows": 3}], "complete": true});
    let handle: IngestHandle = serde_json::from_value(handle).unwrap();
    let ingest = Ingest::resume(&server.connect(), handle);
    let mut outcomes = ingest.outcomes(&b"Name\na\nb\nc\n"[..]);
    let mut found = Vec::new();
    while let Some((row, outcome)) = impatient!(outcomes.next()).unwrap() {
        found.push((row, matches!(outcome, Outcome::Success { .. }), matches!(outcome, Outcome::Failure { .. })));
    }
    assert_eq!(found, [(0, true, false), (1, false, true), (2, true, false)]);
}

#[tokio::test]
async fn calls_that_set_out_under_a_version_that_the_org_lacks_all_arrive() {
    let server = Server::start(|seen| {
        let missing = json!([{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]);
        let body = String::from_utf8_lossy(&seen.body);
        match &*seen.path {
            "/services/data" => {
                slow(Answer::json(200, &json!([{"label": "", "url": "/services/data/v66.0", "version": "66.0"}])))
            }
            _ if body.contains("lost") => Answer { pause: Duration::from_millis(12), ..Answer::json(503, &json!([])) },
            path if path.contains("/v67.0/") => slow(Answer::json(404, &missing)),
            // Whose parts are told under the old version is told so.
            _ if body.contains("v67.0") => Answer::json(
                200,
                &json!({"compositeResponse": [
                {"body": missing, "httpHeaders": {}, "httpStatusCode": 404, "referenceId": "ref0"}]}),
            ),
            path if path.ends_with("/composite") => Answer::json(
                200,
                &json!({"compositeResponse": [
                {"body": {"Name": "x"}, "httpHeaders": {}, "httpStatusCode": 200, "referenceId": "ref0"}]}),
            ),
            _ => Answer::json(200, &json!({"Id": "003"})),
        }
    })
    .await;
    let options = || Options { api_version: ApiVersion::Negotiated, ..quick() };
    let org = Connection::with(credentials(&server.url), options()).unwrap();
    let ids = ["003000000000001AAA", "003000000000002AAA", "003000000000003AAA"];
    let read = |id| org.read::<Value>("Contact", id);
    let all = futures_util::future::join_all(ids.map(read)).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(org.api_version(), "66.0");
    // One that failed otherwise while the version changed is not sent again: it may have created something.
    let org = Connection::with(credentials(&server.url), options()).unwrap();
    let mut call = tieline_client::composite::Composite::new();
    let _ = call.create("Contact", &json!({"LastName": "lost"}));
    let lost = || server.seen().iter().filter(|seen| String::from_utf8_lossy(&seen.body).contains("lost")).count();
    let (answers, read) = tokio::join!(org.composite(&call), org.read::<Value>("Contact", ids[0]));
    assert!(answers.unwrap_err().outcome_unknown() && read.is_ok() && org.api_version() == "66.0");
    assert_eq!(lost(), 1);
    // The paths within a call change with its own.
    let org = Connection::with(credentials(&server.url), options()).unwrap();
    let mut call = tieline_client::composite::Composite::new();
    let part = call.read::<Value>("Contact", ids[0], &[]);
    assert_eq!(org.composite(&call).await.unwrap().get(&part).unwrap()["Name"], "x");
}
