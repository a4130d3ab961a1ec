//! Ingest data on a bad wire: one job gets all of it, once, and no job with a part of it is worked off.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tieline_client::ClientError;
use tieline_client::bulk::{Ingest, IngestOptions, Operation};

use crate::server::{Answer, End, Seen, Server};

const CSV: &str = "LastName,Title\nLovelace,\"Countess, \"\"Ada\"\"\"\nBabbage,\n";

#[derive(Debug, Default, Clone)]
struct Job {
    state: String,
    data: Option<Vec<u8>>,
}

type Jobs = Arc<Mutex<Vec<Job>>>;

/// An org that takes jobs, as far as uploads need one.
fn answer(jobs: &Jobs, seen: &Seen) -> Answer {
    let mut jobs = jobs.lock().unwrap();
    let told = |at: usize, job: &Job| {
        let info = json!({"id": format!("750{at}"), "operation": "insert", "object": "Contact", "state": job.state});
        Answer::json(200, &info)
    };
    let at = || seen.path.split("/ingest/750").nth(1).unwrap().trim_end_matches("/batches").parse::<usize>().unwrap();
    match seen.method.as_str() {
        "POST" => {
            jobs.push(Job { state: "Open".to_owned(), data: None });
            told(jobs.len() - 1, &jobs[jobs.len() - 1])
        }
        "PUT" => {
            let job = &mut jobs[at()];
            // Data is taken once, and only by a job that waits for it.
            if job.state != "Open" || job.data.is_some() {
                return Answer::json(400, &json!([{"errorCode": "INVALIDJOBSTATE", "message": "it has its data"}]));
            }
            job.data = Some(seen.body.clone());
            Answer::new(201, "", "")
        }
        "PATCH" => {
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            let wanted = body["state"].as_str().unwrap();
            let job = &mut jobs[at()];
            if job.state != "Open" {
                return Answer::json(400, &json!([{"errorCode": "INVALIDJOBSTATE", "message": job.state}]));
            }
            job.state = wanted.to_owned();
            told(at(), job)
        }
        _ => told(at(), &jobs[at()]),
    }
}

/// Feeds an org that spoils some of its answers, and answers the jobs as they are then.
async fn fed(
    spoil: impl Fn(&Seen, usize, Answer) -> Answer + Send + Sync + 'static,
    deaf: impl Fn(&Seen, usize) -> Option<(usize, End)> + Send + Sync + 'static,
) -> (Result<(), ClientError>, Vec<Job>, Vec<String>) {
    let jobs = Jobs::default();
    let (own, puts, heads) = (jobs.clone(), AtomicUsize::new(0), AtomicUsize::new(0));
    let server = Server::deaf(
        move |seen| spoil(seen, puts.fetch_add(1, Ordering::SeqCst), answer(&own, seen)),
        move |seen| deaf(seen, if seen.method == "PUT" { heads.fetch_add(1, Ordering::SeqCst) } else { usize::MAX }),
    )
    .await;
    let mut ingest = Ingest::new(&server.connect(), IngestOptions::new("Contact", Operation::Insert));
    let outcome = ingest.feed_csv(CSV.as_bytes()).await;
    let told = ingest.handle().jobs.iter().map(|job| job.id.clone()).collect();
    let jobs = jobs.lock().unwrap().clone();
    (outcome, jobs, told)
}

/// One job is worked off, it is the one that the client names, and it has all rows.
fn whole(jobs: &[Job], told: &[String], of: &dyn std::fmt::Debug) {
    let closed: Vec<usize> = (0..jobs.len()).filter(|at| jobs[*at].state == "UploadComplete").collect();
    assert_eq!(closed.len(), 1, "{of:?} {jobs:?}");
    assert_eq!(told, [format!("750{}", closed[0])], "{of:?}");
    assert_eq!(jobs[closed[0]].data.as_deref(), Some(CSV.as_bytes()), "{of:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_cut_on_its_way_goes_into_another_job() {
    let cases = (0..CSV.len()).flat_map(|at| [(at, End::Close), (at, End::Reset)]);
    stream::iter(cases)
        .for_each_concurrent(16, async |(at, end)| {
            let (outcome, jobs, told) = fed(|_, _, answer| answer, move |_, n| (n == 0).then_some((at, end))).await;
            outcome.unwrap_or_else(|e| panic!("{at} {end:?} {e}"));
            whole(&jobs, &told, &(at, end));
            assert_eq!((jobs.len(), jobs[0].state.as_str(), &jobs[0].data), (2, "Aborted", &None), "{at} {end:?}");
            // Again and again: nothing is worked off.
            if at % 8 == 0 {
                let (outcome, jobs, told) =
                    fed(|_, _, answer| answer, move |_, n| (n != usize::MAX).then_some((at, end))).await;
                assert!(outcome.unwrap_err().outcome_unknown(), "{at} {end:?}");
                assert!(told.is_empty() && jobs.iter().all(|job| job.state == "Aborted"), "{jobs:?}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t30_an_answer_that_is_lost_on_any_step_leaves_one_job_with_all_rows() {
    let length = Answer::json(200, &json!({"id": "7500", "operation": "insert", "object": "Contact", "state": "Open"}))
        .bytes
        .len();
    let cases = ["POST", "PUT", "PATCH"].into_iter().flat_map(|method| {
        let ends = [End::Close, End::Reset].into_iter();
        ends.flat_map(move |end| (0..length).map(move |at| (method, end, at)))
    });
    stream::iter(cases)
        .for_each_concurrent(16, async |(method, end, at)| {
            let spoiled = AtomicUsize::new(0);
            let spoil = move |seen: &Seen, _: usize, answer: Answer| {
                let first = seen.method == method && spoiled.fetch_add(1, Ordering::SeqCst) == 0;
                if first && at < answer.bytes.len() { answer.cut(at, end) } else { answer }
            };
            let (outcome, jobs, told) = fed(spoil, |_, _| None).await;
            outcome.unwrap_or_else(|e| panic!("{method} {at} {end:?} {e}"));
            whole(&jobs, &told, &(method, at, end));
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_somebody_else_answers_has_not_arrived() {
    const LOGIN: &str = "<html><form></form></html>";
    for (name, status, body) in
        [("login page", 200, LOGIN), ("gateway", 503, LOGIN), ("created by a proxy", 201, LOGIN)]
    {
        for takes in [false, true] {
            let jobs = Jobs::default();
            let (own, puts) = (jobs.clone(), AtomicUsize::new(0));
            let server = Server::start(move |seen| {
                let spoiled = seen.method == "PUT" && puts.fetch_add(1, Ordering::SeqCst) == 0;
                if !spoiled || takes {
                    let answer = answer(&own, seen);
                    if !spoiled {
                        return answer;
                    }
                }
                Answer::new(status, "content-type: text/html\r\n", body)
            })
            .await;
            let mut ingest = Ingest::new(&server.connect(), IngestOptions::new("Contact", Operation::Insert));
            ingest.feed_csv(CSV.as_bytes()).await.unwrap_or_else(|e| panic!("{name} {e}"));
            let told: Vec<String> = ingest.handle().jobs.iter().map(|job| job.id.clone()).collect();
            whole(&jobs.lock().unwrap(), &told, &(name, takes));
        }
    }
}
