//! Result pages that break off: a row is told as it is or not at all, and a result is never smaller than it was.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};
use serde_json::json;
use tieline_client::bulk::{Rows, Wait};
use tieline_client::{ClientError, Connection};

use crate::server::{Answer, End, Seen, Server};

const QUOTED: &str = "\"Id\",\"Name\"\n\"1\",\"a \"\"b\"\"\"\n\"2\",\"é\nx\"\n";
const PLAIN: &str = "Id,Name\n1,abc\n2,def\n";
const NOBODY: &str = "\"Id\",\"Name\"\n";

fn expected(csv: &str) -> Vec<Vec<String>> {
    let of = |rows: &[[&str; 2]]| rows.iter().map(|row| row.iter().map(|v| (*v).to_owned()).collect()).collect();
    match csv {
        QUOTED => of(&[["1", "a \"b\""], ["2", "é\nx"]]),
        PLAIN => of(&[["1", "abc"], ["2", "def"]]),
        _ => Vec::new(),
    }
}

async fn read(mut rows: Rows) -> Result<Vec<Vec<String>>, ClientError> {
    let mut all = Vec::new();
    while let Some(row) = rows.next().await? {
        assert_eq!(row.columns().collect::<Vec<_>>(), ["Id", "Name"]);
        all.push(row.values().map(str::to_owned).collect());
    }
    Ok(all)
}

fn info(seen: &Seen, rows: usize) -> Option<Answer> {
    let info = json!({"id": "750", "operation": "query", "state": "JobComplete", "numberRecordsProcessed": rows});
    (!seen.path.contains("/result")).then(|| Answer::json(200, &info))
}

/// Both readers of the result, each told right or with an error.
async fn check(org: &Connection, csv: &str, waited: bool, at_once: usize, of: &dyn std::fmt::Debug) -> [bool; 2] {
    let job = org.query_job("750");
    if waited {
        job.wait(&Wait::default()).await.unwrap();
    }
    let rows = read(job.rows_at_once(at_once)).await;
    let mut written = Vec::new();
    let count = job.rows_at_once(at_once).write_csv(&mut written).await;
    for error in [rows.as_ref().err(), count.as_ref().err()].into_iter().flatten() {
        assert!(matches!(error, ClientError::Unreachable { .. } | ClientError::Unreadable { .. }), "{of:?} {error}");
    }
    if let Ok(rows) = &rows {
        assert_eq!(*rows, expected(csv), "{of:?}");
    }
    if let Ok(count) = count {
        assert_eq!(count as usize, expected(csv).len(), "{of:?}");
        // A result without rows may come without a header.
        assert!(written == csv.as_bytes() || count == 0 && written.is_empty(), "{of:?} {}", written.escape_ascii());
    }
    [rows.is_ok(), count.is_ok()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_ends_where_the_connection_does_is_whole_or_an_error() {
    let cases = [QUOTED, PLAIN, NOBODY].into_iter().flat_map(|csv| {
        let kinds = [(true, true), (true, false), (false, true), (false, false)].into_iter();
        kinds.flat_map(move |kind| (0..=csv.len()).map(move |at| (csv, kind, at)))
    });
    stream::iter(cases)
        .for_each_concurrent(16, async |(csv, (counted, waited), at)| {
            let rows = expected(csv).len();
            let server = Server::start(move |seen| {
                info(seen, rows).unwrap_or_else(|| {
                    let count = if counted { format!("Sforce-NumberOfRecords: {rows}\r\n") } else { String::new() };
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\nconnection: close\r\nSforce-Locator: null\r\n{count}\r\n");
                    let whole = [head.as_bytes(), &csv.as_bytes()[..at]].concat();
                    Answer { end: End::Close, ..Answer::raw(whole) }
                })
            })
            .await;
            let told = check(&server.connect(), csv, waited, 1, &(csv, counted, waited, at)).await;
            assert!(at < csv.len() || told == [true, true], "{csv:?} {counted} {waited}");
            assert!(at == csv.len() || csv == NOBODY && at == 0 || told == [false, false], "{csv:?} {counted} {waited} {at}");
        })
        .await;
}

/// The pages of a result of two rows, each of its own form.
fn pages(csv: &'static str, seen: &Seen, gzip: bool) -> Answer {
    if seen.path.contains("resultPages") {
        let url = |n: usize| json!({"resultUrl": format!("/services/data/v67.0/jobs/query/750/results?locator={n}&maxRecords=1")});
        return Answer::json(200, &json!({"resultPages": [url(1), url(2)], "done": true}));
    }
    let second = seen.path.contains("locator=2");
    let at = csv[csv.find('\n').unwrap() + 1..].find('\n').unwrap() + csv.find('\n').unwrap() + 2;
    let header = &csv[..=csv.find('\n').unwrap()];
    let body = if second { format!("{header}{}", &csv[at..]) } else { csv[..at].to_owned() };
    let locator = if second { "null" } else { "2" };
    let headers = format!("content-type: text/csv\r\nSforce-Locator: {locator}\r\nSforce-NumberOfRecords: 1\r\n");
    if !gzip {
        return Answer::new(200, &headers, body);
    }
    let mut writer = GzEncoder::new(Vec::new(), Compression::default());
    writer.write_all(body.as_bytes()).unwrap();
    Answer::new(200, &format!("{headers}content-encoding: gzip\r\n"), writer.finish().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_breaks_off_is_gone_on_with_and_no_row_comes_twice() {
    let cases = [1, 2].into_iter().flat_map(|at_once| {
        let of = [End::Close, End::Reset].into_iter().flat_map(|end| [(end, false), (end, true)]);
        of.flat_map(move |(end, gzip)| {
            let page = move |n: usize| pages(QUOTED, &Seen { path: format!("?locator={n}"), ..Seen::default() }, gzip);
            [1, 2]
                .into_iter()
                .flat_map(move |n| (0..page(n).bytes.len()).step_by(at_once).map(move |at| (at_once, end, gzip, n, at)))
        })
    });
    stream::iter(cases)
        .for_each_concurrent(16, async |(at_once, end, gzip, page, at)| {
            let broken = AtomicUsize::new(0);
            let server = Server::start(move |seen| {
                let answer = info(seen, 2).unwrap_or_else(|| pages(QUOTED, seen, gzip));
                let is_second = seen.path.contains("locator=2");
                let is_page = seen.path.contains("/results") && (page == 2) == is_second;
                // Each of the two readers meets it once.
                let spoiled = is_page && broken.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
                if spoiled { answer.cut(at, end) } else { answer }
            })
            .await;
            let told = check(&server.connect(), QUOTED, false, at_once, &(at_once, end, gzip, page, at)).await;
            assert_eq!(told, [true, true], "{at_once} {end:?} {gzip} {page} {at}");
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_page_of_the_result_is_an_error() {
    const LOGIN: &str = "<html>\n<form>\n</form>\n";
    let head = "content-type: text/csv\r\nSforce-Locator: null\r\n";
    for (name, status, headers, body) in [
        ("login page", 200, "content-type: text/html; charset=UTF-8\r\n", LOGIN),
        ("json", 200, "content-type: application/json\r\n", "{}"),
        ("a part", 206, "content-type: text/csv\r\nSforce-NumberOfRecords: 2\r\n", QUOTED),
        ("fewer rows than told", 200, "content-type: text/csv\r\nSforce-NumberOfRecords: 3\r\n", QUOTED),
        (
            "no locator where one must follow",
            200,
            "content-type: text/csv\r\nSforce-NumberOfRecords: 1\r\n",
            "\"Id\",\"Name\"\n\"1\",\"a\"\n",
        ),
        ("fewer rows than the job has", 200, head, "\"Id\",\"Name\"\n\"1\",\"a\"\n"),
        ("a quote that stays open, with a length that fits", 200, head, "\"Id\",\"Name\"\n\"1\",\"a\"\n\"2\",\"b"),
        ("not text", 204, "", ""),
    ] {
        let headers = headers.to_owned();
        let server =
            Server::start(move |seen| info(seen, 2).unwrap_or_else(|| Answer::new(status, &headers, body))).await;
        let told = check(&server.connect(), QUOTED, false, 1, &name).await;
        assert_eq!(told, [false, false], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_lead_in_a_circle_end() {
    let ended = tokio::time::timeout(Duration::from_secs(30), circles()).await;
    assert!(ended.is_ok(), "it goes round and round");
}

async fn circles() {
    let circle = |n: &'static [&'static str]| {
        move |seen: &Seen| {
            let at = seen.path.split("locator=").nth(1).and_then(|at| at.parse::<usize>().ok()).unwrap_or(0);
            let next = n[at.min(n.len() - 1)];
            let list = json!({"resultPages": [], "nextRecordsUrl": format!("/services/data/v67.0/jobs/query/750/resultPages?locator={next}"), "done": false});
            let jobs = json!({"records": [], "nextRecordsUrl": format!("/services/data/v67.0/jobs/query?locator={next}"), "done": false});
            match seen.path.as_str() {
                path if path.contains("resultPages") => Answer::json(200, &list),
                path if path.contains("results") => Answer::new(
                    200,
                    &format!("content-type: text/csv\r\nSforce-Locator: {next}\r\nSforce-NumberOfRecords: 0\r\n"),
                    NOBODY,
                ),
                path if path.contains("jobs") => Answer::json(200, &jobs),
                _ => Answer::json(
                    200,
                    &json!({"totalSize": 9, "done": false, "records": [{}], "nextRecordsUrl": format!("/services/data/v67.0/query/01g?locator={next}")}),
                ),
            }
        }
    };
    for way in [&["1", "1"][..], &["1", "2", "0", "1"]] {
        let server = Server::start(circle(way)).await;
        let org = server.connect();
        let job = org.query_job("750");
        for error in [
            read(job.rows()).await.unwrap_err(),
            read(job.rows_at_once(3)).await.unwrap_err(),
            job.rows().write_csv(&mut Vec::new()).await.unwrap_err(),
            org.jobs(tieline_client::bulk::JobKind::Query, 1_000).await.unwrap_err(),
            super::call::Call::Query.run(&org).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains("circle"), "{error}");
        }
        assert!(server.seen().len() < 40);
    }
}
