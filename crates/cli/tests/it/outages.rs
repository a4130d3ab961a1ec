//! Scenario 30: the database is away, full or locked while the service runs. What was acknowledged is there afterwards, the
//! service says that it is not ready, and it recovers alone.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::nodes::{Caller, Node, Plan, contact_ids};
use crate::org::Org;
use crate::servers::Postgres;

const SOON: Duration = Duration::from_secs(30);

async fn ready(caller: &Caller, node: &Node, wanted: u16) -> Value {
    let url = format!("{}/health/ready", node.url);
    caller.until(&url, SOON, |status, _| status.as_u16() == wanted).await
}

/// Asks for small imports, one after the other, until told to stop; the ids of those that were acknowledged.
async fn importing(
    caller: Caller,
    url: String,
    ids: Vec<String>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let url = format!("{url}/api/integrations/salesforce/contacts");
    for n in 0.. {
        if *stop.borrow_and_update() {
            break;
        }
        let from = n * 3 % (ids.len() - 3);
        if let Some((StatusCode::ACCEPTED, import)) =
            caller.ask(Method::POST, &url, json!({"ids": ids[from..from + 3]})).await
        {
            acknowledged.push(import["id"].as_str().unwrap().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    acknowledged
}

/// Each import that was acknowledged is there, and ends.
async fn all_end(caller: &Caller, node: &Node, imports: &[String]) {
    for import in imports {
        let url = format!("{}/api/imports/{import}", node.url);
        caller
            .until(&url, Duration::from_secs(90), |status, import| status == 200 && import["state"] == "success")
            .await;
    }
}

#[test]
fn s30_a_database_server_that_crashes_and_returns_loses_nothing_acknowledged() {
    let Some(postgres) = Postgres::start() else { return };
    let org = Org::start(&["--contacts", "6000"]);
    org.control("POST", "faults", &json!({"path": "/services/data", "delay_ms": 200, "times": 0}));
    let plan = Plan::new(&org, &postgres.url).with("TIELINE_IMPORT_LEASE_SECONDS", "3");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = plan.start();
        let caller = Caller::first(&node.url).await;
        let ids = contact_ids(&org).await;
        ready(&caller, &node, 200).await;
        let large = caller.import(&node.url, &ids).await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let small = tokio::spawn(importing(caller.clone(), node.url.clone(), ids.clone(), stopped));
        let under_way = |_, import: &Value| import["created"].as_i64() > Some(0);
        caller.until(&format!("{}/api/imports/{large}", node.url), SOON, under_way).await;
        for how in ["immediate", "fast"] {
            postgres.stop(how);
            let refused = ready(&caller, &node, 503).await;
            // Which of the two, is the pool's patience.
            let reasons = ["the database does not answer", "the database takes too long to write"];
            assert!(reasons.iter().any(|reason| refused["reason"] == *reason), "{refused}");
            let live = caller.get(&format!("{}/health/live", node.url)).await.unwrap();
            assert_eq!(live.0, 200, "a database that is away is no reason to start the process anew");
            postgres.begin();
            ready(&caller, &node, 200).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        stop.send_replace(true);
        let mut acknowledged = small.await.unwrap();
        assert!(acknowledged.len() > 10, "{}", acknowledged.len());
        acknowledged.push(large);
        all_end(&caller, &node, &acknowledged).await;
        assert_eq!(postgres.sql("SELECT count(*) || ' ' || count(DISTINCT source_id) FROM leads"), "6000 6000");
        let (status, _, _, stderr) = node.stop();
        assert!(status.success() && stderr.contains("not ready: "), "{stderr}");
    });
}

#[test]
fn s30_a_server_that_lets_nobody_write_is_not_ready() {
    let Some(postgres) = Postgres::start() else { return };
    let org = Org::start(&["--contacts", "3"]);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = Plan::new(&org, &postgres.url).start();
        let caller = Caller::first(&node.url).await;
        ready(&caller, &node, 200).await;
        let set = |to: &str| {
            postgres.sql(&format!("ALTER SYSTEM SET default_transaction_read_only = {to}"));
            postgres.sql("SELECT pg_reload_conf()");
        };
        set("on");
        let refused = ready(&caller, &node, 503).await;
        assert_eq!(refused["reason"], "the database can be read only", "{refused}");
        set("off");
        ready(&caller, &node, 200).await;
    });
}

/// A real full disk: a file system of 8 MB in a mount namespace of its own, which another process there fills and frees.
#[test]
fn s30_a_full_disk_is_told_and_the_service_recovers_alone() {
    // More than the log that SQLite lets grow before it folds it into the file (16 MB), or imports alone would fill it.
    let script = r#"
        mount -t tmpfs -o size=48m none "$1" || exit 77
        (while sleep 0.1 && [ -d "$2" ]; do
            [ -e "$2/fill" ] && { rm "$2/fill"; cat /dev/zero > "$1/filler" 2> "$2/cat"; mv "$2/cat" "$2/filled"; }
            [ -e "$2/free" ] && { rm "$2/free" "$1/filler"; : > "$2/freed"; }
        done) > /dev/null 2>&1 < /dev/null &
        shift 2
        exec "$@""#;
    let folder = tempfile::tempdir().unwrap();
    let (small, told) = (folder.path().join("small"), folder.path().join("told"));
    std::fs::create_dir(&small).unwrap();
    std::fs::create_dir(&told).unwrap();
    if !can_mount(&small) {
        eprintln!("SKIPPED: this machine lets nobody mount a file system");
        return;
    }
    let org = Org::start(&["--contacts", "3000"]);
    let mut plan = Plan::new(&org, small.join("t.db").to_str().unwrap()).with("TIELINE_IMPORT_LEASE_SECONDS", "3");
    let paths = [small.to_str().unwrap(), told.to_str().unwrap()];
    let within = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh"];
    plan.within = within.iter().chain(&paths).map(|text| (*text).to_owned()).collect();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut node = plan.start();
        let caller = Caller::first(&node.url).await;
        let ids = contact_ids(&org).await;
        ready(&caller, &node, 200).await;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let small = tokio::spawn(importing(caller.clone(), node.url.clone(), ids.clone(), stopped));
        tokio::time::sleep(Duration::from_millis(500)).await;
        order(&told, "fill", "filled").await;
        let refused = ready(&caller, &node, 503).await;
        if refused["reason"] != "the database's disk is full" {
            panic!("{refused}: {}", node.kill());
        }
        // What cannot be kept is not taken; what only reads goes on.
        let url = format!("{}/api/integrations/salesforce/contacts", node.url);
        let (status, problem) = caller.ask(Method::POST, &url, json!({"ids": ids})).await.unwrap();
        assert!(status.is_server_error() && !problem.to_string().contains(plan.arguments[7].as_str()), "{problem}");
        assert_eq!(caller.get(&format!("{}/api/leads?limit=1", node.url)).await.unwrap().0, 200);
        tokio::time::sleep(Duration::from_millis(500)).await;
        order(&told, "free", "freed").await;
        ready(&caller, &node, 200).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        stop.send_replace(true);
        let acknowledged = small.await.unwrap();
        assert!(acknowledged.len() > 5, "{}", acknowledged.len());
        all_end(&caller, &node, &acknowledged).await;
    });
}

fn can_mount(at: &Path) -> bool {
    let script = r#"mount -t tmpfs -o size=1m none "$1""#;
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]).arg(at);
    command.output().is_ok_and(|output| output.status.success())
}

/// Has the other process in the namespace do something, and waits until it has.
async fn order(told: &Path, what: &str, done: &str) {
    std::fs::write(told.join(what), "").unwrap();
    for _ in 0..300 {
        if told.join(done).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the disk was not {done}");
}

#[test]
fn s30_another_program_that_holds_the_lock_is_waited_for() {
    let org = Org::start(&["--contacts", "30"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.db");
    let plan = Plan::new(&org, file.to_str().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let node = plan.start();
        let caller = Caller::first(&node.url).await;
        let ids = contact_ids(&org).await;
        ready(&caller, &node, 200).await;
        let other = rusqlite::Connection::open(&file).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        // It waits for the lock, for ten seconds at most, and then is as good as any other.
        let (asking, url, waiting) = (caller.clone(), node.url.clone(), ids.clone());
        let import = tokio::spawn(async move { asking.import(&url, &waiting).await });
        let refused = ready(&caller, &node, 503).await;
        assert_eq!(refused["reason"], "the database takes too long to write", "{refused}");
        assert_eq!(caller.get(&format!("{}/api/leads", node.url)).await.unwrap().0, 200, "reading needs no lock");
        tokio::time::sleep(Duration::from_secs(2)).await;
        other.execute_batch("ROLLBACK").unwrap();
        ready(&caller, &node, 200).await;
        let import = import.await.unwrap();
        all_end(&caller, &node, &[import]).await;
    });
}
