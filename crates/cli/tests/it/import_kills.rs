//! Imports through the running service whose processes are killed, or stopped in order.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::nodes::{Caller, Node, Plan, contact_ids};
use crate::org::Org;
use crate::servers::Postgres;

/// What the database says by itself: `SELECT …` with one text.
enum Look<'a> {
    File(&'a Path),
    Server(&'a Postgres),
}

impl Look<'_> {
    fn at(&self, sql: &str) -> String {
        match self {
            Look::File(path) => rusqlite::Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap(),
            Look::Server(server) => server.sql(sql),
        }
    }
}

/// Imports all contacts of an org while nodes are killed at random moments, and looks at what is left.
async fn killed(contacts: usize, kills: usize, apart: Duration, plans: &[Plan], org: &Org, look: &Look<'_>) {
    let seed = std::env::var("TIELINE_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("an import of {contacts} contacts, {kills} kills: TIELINE_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut nodes: Vec<Node> = plans.iter().map(Plan::start).collect();
    let caller = Caller::first(&nodes[0].url).await;
    let ids = contact_ids(org).await;
    assert_eq!(ids.len(), contacts);
    let import = caller.import(&nodes[0].url, &ids).await;
    let (begun, mut met, mut pending) = (Instant::now(), 0, contacts as i64);
    for kill in 0..kills {
        tokio::time::sleep(apart.mul_f64(random.f64())).await;
        let n = random.usize(..nodes.len());
        nodes[n].kill();
        nodes[n] = plans[n].start();
        let url = format!("{}/api/imports/{import}", nodes[n].url);
        let (_, now) = caller.get(&url).await.unwrap();
        met += usize::from(now["pending"].as_i64().unwrap() > 0);
        // Something is written between two kills, or there would be no end.
        let longest = Duration::from_secs(60);
        let now = caller.until(&url, longest, |_, now| now["pending"].as_i64().unwrap() < pending.max(1)).await;
        pending = now["pending"].as_i64().unwrap();
        eprintln!("{:.1} s: kill {kill} of node {n}, {pending} rows to go", begun.elapsed().as_secs_f64());
    }
    let url = format!("{}/api/imports/{import}", nodes[0].url);
    let ended = caller.until(&url, Duration::from_secs(600), |_, import| import["state"] == "success").await;
    let counters = ["total", "created", "updated", "unchanged", "failed", "pending"].map(|key| ended[key].clone());
    assert_eq!(json!(counters), json!([contacts, contacts, 0, 0, 0, 0]), "{ended}");
    let audit = caller.get(&format!("{}/api/audit/verify", nodes[0].url)).await.unwrap();
    assert!(audit.0 == 200 && audit.1["whole"] == true, "{audit:?}");
    for node in nodes {
        assert!(node.stop().0.success());
    }
    let count = |sql: &str| look.at(&format!("SELECT CAST(({sql}) AS text)"));
    for (sql, expected) in [
        ("SELECT count(*) FROM leads", contacts),
        ("SELECT count(DISTINCT source_id) FROM leads", contacts),
        ("SELECT count(*) FROM import_rows WHERE outcome = 'created' AND lead_id IS NOT NULL", contacts),
        ("SELECT count(*) FROM import_rows", contacts),
    ] {
        assert_eq!(count(sql), expected.to_string(), "{sql}, TIELINE_TEST_SEED={seed}");
    }
    assert!(met > 0, "no kill met the import under way: the test proves nothing");
}

/// Contacts, kills, the longest time between two, and what a query of the org takes.
fn size() -> (usize, usize, Duration, u64) {
    match std::env::var_os("TIELINE_TEST_LONG") {
        Some(_) => (100_000, 12, Duration::from_millis(4_000), 20),
        None => (2_000, 2, Duration::from_millis(1_200), 300),
    }
}

fn org(contacts: usize, delay: u64) -> Org {
    let org = Org::start(&["--contacts", &contacts.to_string()]);
    let slow = json!({"path": "/services/data", "delay_ms": delay, "times": 0});
    org.control("POST", "faults", &slow);
    org
}

#[test]
fn an_import_through_two_nodes_that_are_killed_is_exact_on_postgres() {
    let Some(postgres) = Postgres::start() else { return };
    let (contacts, kills, apart, delay) = size();
    let org = org(contacts, delay);
    let plans = [(); 2].map(|()| Plan::new(&org, &postgres.url).with("TIELINE_IMPORT_LEASE_SECONDS", "3"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(killed(contacts, kills, apart, &plans, &org, &Look::Server(&postgres)));
}

#[test]
fn an_import_through_a_node_that_is_killed_is_exact_on_sqlite() {
    let (contacts, kills, apart, delay) = size();
    let org = org(contacts, delay);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.db");
    let plan = Plan::new(&org, file.to_str().unwrap()).with("TIELINE_IMPORT_LEASE_SECONDS", "3");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(killed(contacts, kills, apart, &[plan], &org, &Look::File(&file)));
}

/// The lease is an hour: whoever waited for it would not see the end.
#[test]
fn a_node_that_is_stopped_in_order_gives_its_import_back() {
    let Some(postgres) = Postgres::start() else { return };
    let org = org(5_000, 500);
    let plans = [(); 2].map(|()| Plan::new(&org, &postgres.url).with("TIELINE_IMPORT_LEASE_SECONDS", "3600"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let first = plans[0].start();
        let caller = Caller::first(&first.url).await;
        let import = caller.import(&first.url, &contact_ids(&org).await).await;
        let path = format!("/api/imports/{import}");
        let under_way = |_, import: &Value| import["created"].as_i64() > Some(0);
        caller.until(&format!("{}{path}", first.url), Duration::from_secs(30), under_way).await;
        let second = plans[1].start();
        let (status, took, _, stderr) = first.stop();
        assert!(status.success() && took < Duration::from_secs(4), "{took:?}: {stderr}");
        let left = postgres.sql("SELECT state || ' ' || (leased_until IS NULL)::text || ' ' || created FROM imports");
        // The other node may have it already.
        assert!(left.starts_with("waiting true ") || left.starts_with("running false "), "{left}");
        let ended = |_, import: &Value| import["state"] == "success";
        let ended = caller.until(&format!("{}{path}", second.url), Duration::from_secs(30), ended).await;
        assert_eq!((&ended["created"], &ended["pending"]), (&5_000.into(), &0.into()), "{ended}");
    });
}
