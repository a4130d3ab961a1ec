//! Where an org says that its next page is: the token goes to no other host, and every list ends.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use serde_json::json;
use tieline_client::Record;
use tieline_client::bulk::JobKind;

use super::{first_seed, time};
use crate::server::{Answer, Server};

/// Ways to another host, and to nowhere.
fn locator(rng: &mut fastrand::Rng, other: &str, own: &str) -> String {
    let host = other.trim_start_matches("http://");
    let own_host = own.trim_start_matches("http://");
    let all = [
        format!("http://{host}/x"),
        format!("//{host}/services/data/v67.0/query/01g"),
        format!("/\\{host}/x"),
        format!("\\\\{host}\\x"),
        format!("http:\\\\{host}/x"),
        format!("@{host}/x"),
        format!(":@{host}/x"),
        format!("http://{own_host}@{host}/x"),
        format!("/services/data/v67.0/..//{host}/x"),
        format!("\t//{host}/x"),
        format!("/\n/{host}/x"),
        format!("http://{host}#{own}"),
        format!("{own}/services/data/v67.0/query/01g-2000"),
        format!("/services/data/v67.0/query/01g-{}", rng.u8(..4)),
        "/services/data/v67.0/query/../../../x".to_owned(),
        "MTAwMDA".to_owned(),
        format!("&x=//{host}#"),
        "null".to_owned(),
        String::new(),
        (0..rng.usize(..12)).map(|_| rng.char(..)).collect(),
    ];
    all[rng.usize(..all.len())].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_goes_to_no_other_host_and_every_list_ends() {
    let elsewhere = Server::start(|_| Answer::json(200, &json!({"totalSize": 0, "done": true, "records": []}))).await;
    let rng = Arc::new(Mutex::new(fastrand::Rng::new()));
    let own = Arc::new(Mutex::new(String::new()));
    let (random, host, other) = (rng.clone(), own.clone(), elsewhere.url.clone());
    let server = Server::start(move |seen| {
        let mut rng = random.lock().unwrap();
        let mut next = || locator(&mut rng, &other, &host.lock().unwrap());
        if seen.path.contains("resultPages") {
            let pages = [json!({"resultUrl": next()}), json!({"resultUrl": next()})];
            return Answer::json(200, &json!({"resultPages": pages, "nextRecordsUrl": next(), "done": false}));
        }
        if seen.path.contains("/results") {
            // What a header cannot hold is left out.
            let next: String = next().chars().filter(|c| c.is_ascii_graphic()).collect();
            let headers = format!("content-type: text/csv\r\nSforce-NumberOfRecords: 1\r\nSforce-Locator: {next}\r\n");
            return Answer::new(200, &headers, "\"Id\"\n\"1\"\n");
        }
        let records = [json!({"id": "1", "operation": "query", "state": "Open"})];
        Answer::json(200, &json!({"totalSize": 9, "done": false, "nextRecordsUrl": next(), "records": records}))
    })
    .await;
    own.lock().unwrap().clone_from(&server.url);
    let org = server.connect();
    let begun = Instant::now();
    let mut seed = first_seed();
    let mut runs = 0;
    while runs == 0 || begun.elapsed() < time() {
        *rng.lock().unwrap() = fastrand::Rng::with_seed(seed);
        let job = org.query_job("750");
        let all = async {
            let query = org.query::<Record>("SELECT Id FROM Contact").try_collect::<Vec<_>>().await;
            assert!(query.is_err(), "TIELINE_FUZZ_SEED={seed}: no page was the last");
            assert!(org.jobs(JobKind::Query, usize::MAX).await.is_err(), "TIELINE_FUZZ_SEED={seed}");
            for at_once in [1, 3] {
                let mut rows = job.rows_at_once(at_once);
                while let Ok(Some(_)) = rows.next().await {}
                let _ = job.rows_at_once(at_once).write_csv(&mut Vec::new()).await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(60), all).await;
        assert!(ended.is_ok(), "TIELINE_FUZZ_SEED={seed}: a list has no end");
        seed = seed.wrapping_add(1);
        runs += 1;
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    assert!(server.seen().len() > 5 * runs);
}
