//! Workers as processes of their own, which are killed, put to sleep and stopped.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::nodes::{Caller, Node, Plan};
use crate::org::Org;
use crate::servers::Postgres;

const CONTACTS: usize = 12_000;

/// An org whose pages take a while, so that a run is met under way.
fn org() -> Org {
    let org = Org::start(&["--contacts", &CONTACTS.to_string()]);
    org.control("POST", "faults", &json!({"path": "/services/data", "delay_ms": 700, "times": 0}));
    org
}

/// Whatever the database says by itself.
enum Database {
    File(tempfile::TempDir),
    Server(Postgres),
}

impl Database {
    fn url(&self) -> String {
        match self {
            Database::File(folder) => folder.path().join("t.db").to_str().unwrap().to_owned(),
            Database::Server(server) => server.url.clone(),
        }
    }

    /// One text; empty if there is no row.
    fn at(&self, sql: &str) -> String {
        match self {
            Database::File(folder) => {
                let file = rusqlite::Connection::open(folder.path().join("t.db")).unwrap();
                file.busy_timeout(Duration::from_secs(10)).unwrap();
                file.query_row(sql, [], |row| row.get::<_, Option<String>>(0)).ok().flatten().unwrap_or_default()
            }
            Database::Server(server) => server.sql(sql),
        }
    }

    fn count(&self, of: &str) -> usize {
        self.at(&format!("SELECT CAST(count(*) AS text) FROM {of}")).parse().unwrap()
    }

    fn until(&self, sql: &str, longest: Duration, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let found = self.at(sql);
            if wanted(&found) {
                return found;
            }
            assert!(begun.elapsed() < longest, "{sql}: `{found}` after {longest:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a run that has written, and answers which of the workers is at it.
    fn under_way(&self, workers: &[Node]) -> usize {
        let sql = "SELECT w.owner FROM sync_work AS w JOIN runs AS r ON r.integration_id = w.integration_id
            WHERE r.state = 'running' AND r.rows_read > 0 AND w.owner IS NOT NULL";
        let owner = self.until(sql, Duration::from_secs(60), |owner| !owner.is_empty());
        let id = owner.split('-').next().unwrap();
        workers.iter().position(|worker| worker.id().to_string() == id).unwrap_or_else(|| panic!("{owner} is nobody"))
    }

    /// All contacts are there, each once; the last run ended well and is the only one that did, or was asked for besides.
    fn is_exact(&self) {
        self.until("SELECT outcome FROM sync_work WHERE owner IS NULL", Duration::from_secs(90), |outcome| {
            outcome == "done"
        });
        assert_eq!(self.count("contacts"), CONTACTS);
        assert_eq!(self.count("sync_work"), 1);
        assert_eq!(self.count("runs WHERE state = 'running'"), 0);
        assert!(self.count("runs WHERE state = 'success'") >= 1);
    }
}

pub(crate) fn signal(node: &Node, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &node.id().to_string()]).status().unwrap().success());
}

/// The node that serves, without a worker, and two workers.
fn begin(org: &Org, database: &Database, lease: u32) -> (Node, Vec<Plan>, Vec<Node>) {
    let mut serve = Plan::new(org, &database.url());
    serve.arguments.push("--no-worker".to_owned());
    let serving = serve.start();
    let plans: Vec<Plan> = (0..2).map(|_| Plan::worker(org, &database.url(), lease)).collect();
    let workers = plans.iter().map(Plan::start).collect();
    (serving, plans, workers)
}

/// `kill -9`, while requests come in: another worker goes on, there is one run at a time, and all is there in the end.
fn killed(database: &Database) {
    let org = org();
    let (serving, plans, mut workers) = begin(&org, database, 3);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let caller = runtime.block_on(Caller::first(&serving.url));
    let at_it = database.under_way(&workers);
    workers[at_it].kill();
    let killed = Instant::now();
    let storm = (0..12).map(|_| {
        let (http, key, url) = (caller.http.clone(), caller.key.clone(), format!("{}/sync", serving.url));
        async move {
            http.post(url)
                .bearer_auth(key)
                .header("sec-fetch-site", "same-origin")
                .send()
                .await
                .map(|a| a.status().as_u16())
        }
    });
    let asked: Vec<_> = runtime.block_on(futures_util::future::join_all(storm));
    assert!(asked.iter().all(|status| matches!(status, Ok(200..400))), "{asked:?}");
    // Until its lease ends, the one that was killed has the work.
    let begun = Instant::now();
    while database.under_way(&workers) == at_it {
        assert!(begun.elapsed() < Duration::from_secs(60), "the one that was killed is at it");
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("the other worker was at it {:.1} s after the kill", killed.elapsed().as_secs_f64());
    workers[at_it] = plans[at_it].start();
    database
        .until("SELECT CAST(requested - served AS text) FROM sync_work", Duration::from_secs(90), |left| left == "0");
    database.is_exact();
    // Twelve requests at once, and a tick: the run that was interrupted, the one that went on, and one for those who asked
    // during it.
    let runs = database.count("runs");
    assert!((2..=4).contains(&runs), "{runs} runs");
    for node in workers.into_iter().chain([serving]) {
        assert!(node.stop().0.success());
    }
}

#[test]
fn t37_a_worker_that_is_killed_is_replaced_and_requests_are_few_runs_on_postgres() {
    let Some(postgres) = Postgres::start() else { return };
    killed(&Database::Server(postgres));
}

#[test]
fn t37_a_worker_that_is_killed_is_replaced_and_requests_are_few_runs_on_sqlite() {
    killed(&Database::File(tempfile::tempdir().unwrap()));
}

#[test]
fn t38_a_worker_that_slept_longer_than_its_lease_writes_nothing() {
    let Some(postgres) = Postgres::start() else { return };
    let database = Database::Server(postgres);
    let org = org();
    let (serving, _, workers) = begin(&org, &database, 3);
    let zombie = database.under_way(&workers);
    signal(&workers[zombie], "STOP");
    let asleep = database.at("SELECT fence::text FROM sync_work");
    let newer = database.until("SELECT fence::text FROM sync_work", Duration::from_secs(30), |fence| fence != asleep);
    let other = database.under_way(&workers);
    assert_ne!(other, zombie);
    // It wakes in the middle of the other one's run.
    signal(&workers[zombie], "CONT");
    database.is_exact();
    assert_eq!(database.at("SELECT fence::text FROM sync_work"), newer, "the work was taken once more");
    let interrupted = "runs WHERE state = 'failed' AND error LIKE 'interrupted%'";
    assert_eq!((database.count(interrupted), database.count("runs")), (1, 2));
    // The other one read what was left, then once more the columns that may have changed between the two parts of the load;
    // and the zombie told of nothing.
    let read: usize = database.at("SELECT sum(rows_read)::text FROM runs").parse().unwrap();
    assert!(read <= CONTACTS * 2 + 2_000 * 2, "{read} rows were read");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let told = |node: &Node| {
        let url = format!("{}/metrics", node.url);
        runtime.block_on(async { reqwest::get(url).await.unwrap().text().await.unwrap() })
    };
    let metrics = told(&workers[zombie]);
    assert!(metrics.contains("tieline_sync_runs_total{outcome=\"taken_over\"} 1"), "{metrics}");
    assert!(
        metrics.contains("tieline_sync_queue_waiting 0") && metrics.contains("tieline_sync_queue_running 0"),
        "{metrics}"
    );
    assert!(told(&workers[other]).contains("tieline_sync_runs_total{outcome=\"done\"} 1"));
    for node in workers.into_iter().chain([serving]) {
        assert!(node.stop().0.success());
    }
}

/// The lease is an hour: whoever waited for it would not see the end.
#[test]
fn a_worker_that_is_stopped_in_order_gives_its_work_back() {
    let Some(postgres) = Postgres::start() else { return };
    let database = Database::Server(postgres);
    let org = org();
    let (serving, _, mut workers) = begin(&org, &database, 3_600);
    let at_it = database.under_way(&workers);
    let (status, took, _, stderr) = workers.remove(at_it).stop();
    assert!(status.success() && took < Duration::from_secs(6), "{took:?}: {stderr}");
    let begun = Instant::now();
    database.is_exact();
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(database.count("runs"), 2);
    for node in workers.into_iter().chain([serving]) {
        assert!(node.stop().0.success());
    }
}
