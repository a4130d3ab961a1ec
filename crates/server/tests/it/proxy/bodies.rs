//! Bodies in both directions: large, cut off, and never whole in memory.

use std::io::Write;
use std::process::Command;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::json;

use super::upstream::{SOURCE, Upstream};
use super::{Program, integration_of, key, value};
use crate::database::Db;
use crate::world::World;

/// Bytes that the service may take besides, while 20 MB go through.
const BOUND: u64 = 8 * 1024 * 1024;
const MEASURED: &str = "TIELINE_TEST_MEASURED";
const PIECE: usize = 64 * 1024;

/// A body of so many bytes, without its length or with it.
fn pieces(bytes: usize) -> reqwest::Body {
    let piece = Bytes::from(vec![b'y'; PIECE]);
    reqwest::Body::wrap_stream(stream::iter((0..bytes / PIECE).map(move |_| Ok::<_, std::io::Error>(piece.clone()))))
}

#[tokio::test]
async fn a_large_load_becomes_records_and_comes_back() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let jobs = "/services/data/v67.0/jobs/ingest";
    let job = json!({"object": "Contact", "operation": "insert", "contentType": "CSV", "lineEnding": "LF"});
    let (status, job) = program.call(Method::POST, jobs, Some(job)).await;
    assert_eq!(status, 200, "{job}");
    let job = format!("{jobs}/{}", job["id"].as_str().unwrap());
    // 20 MB in 2,000 rows: what is tested is the way, not the org.
    let mut csv = String::from("LastName,Description\n");
    let filler = "d".repeat(10_000);
    for n in 0..2_000 {
        csv.push_str(&format!("Row{n},{filler}\n"));
    }
    assert!(csv.len() > 20_000_000);
    let upload = program.request(Method::PUT, &format!("{job}/batches")).header("content-type", "text/csv").body(csv);
    let answer = upload.send().await.unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
    let (status, closed) = program.call(Method::PATCH, &job, Some(json!({"state": "UploadComplete"}))).await;
    assert_eq!(status, 200, "{closed}");
    let mut state = json!(null);
    for _ in 0..600 {
        state = program.get(&job).await.1;
        if state["state"] == "JobComplete" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!((&state["state"], &state["numberRecordsProcessed"]), (&json!("JobComplete"), &json!(2_000)), "{state}");
    let answer = program.request(Method::GET, &format!("{job}/successfulResults")).send().await.unwrap();
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
    let results = answer.text().await.unwrap();
    assert_eq!(results.lines().count(), 2_001);
    assert!(results.len() > 20_000_000, "{}", results.len());
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_cut_off_here() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let path = "/services/data/v67.0/query?q=SELECT+Id,Name+FROM+Contact";
    let whole = program.request(Method::GET, path).send().await.unwrap().bytes().await.unwrap();
    assert!(whole.len() > 300);
    world.control(Method::POST, "faults", json!({"path": "/services/data", "cut": 200, "times": 1})).await;
    let answer = program.request(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let cut = answer.bytes().await;
    assert!(cut.is_err(), "a part was taken for the whole: {} bytes of {}", cut.unwrap().len(), whole.len());
    assert_eq!(program.request(Method::GET, path).send().await.unwrap().bytes().await.unwrap(), whole);
}

/// Where no length was told, only the way in which it ends says that it is not whole.
#[tokio::test]
async fn an_answer_without_a_length_that_is_cut_off_is_cut_off_here() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let upstream = Upstream::start().await;
    let integration = integration_of(&world, &upstream.url).await;
    let program = Program::new(&world, &integration.id.to_string(), key(&mut owner, "member").await);
    let answer = program.request(Method::GET, "/services/apexrest/cut").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let cut = answer.bytes().await;
    assert!(cut.is_err(), "a part was taken for the whole: {cut:?}");
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let upstream = Upstream::start().await;
    let integration = integration_of(&world, &upstream.url).await;
    let program = Program::new(&world, &integration.id.to_string(), key(&mut owner, "member").await);
    let told = program.request(Method::PUT, "/services/apexrest/sink").header("content-length", "150000001");
    let told = told.body(pieces(PIECE)).send().await;
    assert!(told.is_err() || told.unwrap().status() == 413);
    assert_eq!(upstream.seen().len(), 0);
    for size in [PIECE, 1024 * 1024, 1024 * 1024 + PIECE, 3 * 1024 * 1024] {
        let answer = program.request(Method::PUT, "/services/apexrest/sink").body(pieces(size)).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), value(answer).await), (200, json!(size)));
        let sent = upstream.seen().remove(0).1;
        assert_eq!(
            sent.contains_key("content-length"),
            size <= 1024 * 1024,
            "{size}: small ones are sent as one piece"
        );
    }
    let told =
        program.request(Method::PUT, "/services/apexrest/sink").body(vec![0; 3 * 1024 * 1024]).send().await.unwrap();
    assert_eq!(value(told).await, json!(3 * 1024 * 1024));
    assert_eq!(upstream.seen()[0].1["content-length"], "3145728", "a length that is known is told");
}

/// In a process of its own: other tests take memory, too.
#[test]
fn memory_stays_bounded_in_both_directions() {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "proxy::bodies::measured", "--nocapture"]).env(MEASURED, "1");
    let output = process.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("upload took") && told.contains("download took"), "nothing was measured: {told}");
}

#[tokio::test]
async fn measured() {
    if std::env::var_os(MEASURED).is_none() {
        return;
    }
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let upstream = Upstream::start().await;
    let integration = integration_of(&world, &upstream.url).await;
    let program = Program::new(&world, &integration.id.to_string(), key(&mut owner, "member").await);
    let upload = async |bytes: usize| {
        let answer = program.request(Method::PUT, "/services/apexrest/sink").body(pieces(bytes)).send().await.unwrap();
        assert_eq!(value(answer).await, json!(bytes));
    };
    let download = async || {
        let answer = program.request(Method::GET, "/services/apexrest/source").send().await.unwrap();
        // Whoever reads slowly holds back the org, and fills nothing.
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let mut pieces = answer.bytes_stream();
        let mut bytes = 0;
        while let Some(piece) = pieces.next().await {
            bytes += piece.unwrap().len();
        }
        assert_eq!(bytes, SOURCE);
    };
    upload(2 * 1024 * 1024).await;
    for (what, after) in [("upload", peak_of(upload(SOURCE)).await), ("download", peak_of(download()).await)] {
        writeln!(std::io::stdout(), "{what} took {after} bytes at most").unwrap();
        assert!(after < BOUND, "the {what} of {SOURCE} bytes took {after} bytes");
    }
}

/// By how much the process grows at most while it does something.
async fn peak_of(work: impl Future<Output = ()>) -> u64 {
    let before = status("VmRSS:");
    // Makes the peak what it is now (proc(5), `clear_refs`).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    work.await;
    status("VmHWM:").saturating_sub(before)
}

fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
