//! kill -9 in the middle, memory, and what is in the database afterwards.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use tieline_auth::{Credentials, OrgConfig};
use tieline_client::{Connection, Record};
use tieline_store::{Contact, Store};

use crate::org::{Org, run, tieline};

pub(crate) fn connect(org: &Org) -> Connection {
    let login = org.login();
    Connection::new(Credentials::new(OrgConfig::from_variables(|name| login.get(name).cloned()).unwrap()).unwrap())
        .unwrap()
}

/// Reads both sides afresh and finds them the same, every row once.
pub(crate) fn assert_equal(org: &Org, database: &Path) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = Store::open(database).await.unwrap();
        let compared = tieline_sync::compare_contacts(&connect(org), &store.own()).await.unwrap();
        assert!(compared.is_equal() && compared.org > 0, "{compared:?}");
        store.close().await;
    });
}

fn arguments(database: &Path) -> Vec<&str> {
    vec!["sync", "run", "--once", "--json", "--database-url", database.to_str().unwrap()]
}

/// By pages, whose positions can be looked at.
fn paged(database: &Path) -> Vec<&str> {
    [arguments(database), vec!["--bulk-from", "1000000"]].concat()
}

#[test]
fn kill_9_at_twenty_random_moments_leaves_every_row_once_and_no_checkpoint_ahead() {
    // Eight pages of 2,000 rows, of which a kill may meet each; 25 in the long tests.
    let contacts = if std::env::var_os("TIELINE_TEST_LONG").is_some() { 50_000 } else { 15_000 };
    let org = Org::start(&["--contacts", &contacts.to_string()]);
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The org does not change: its records in the order of the scan, read once.
    let truth: Vec<(jiff::Timestamp, String)> = runtime.block_on(async {
        let soql = "SELECT Id, SystemModstamp FROM Contact ORDER BY SystemModstamp, Id";
        let found: Vec<Record> = connect(&org).query(soql).try_collect().await.unwrap();
        let stamp = |r: &Record| {
            jiff::Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", r["SystemModstamp"].as_str().unwrap()).unwrap()
        };
        found.iter().map(|r| (stamp(r), r["Id"].as_str().unwrap().to_owned())).collect()
    });
    assert_eq!(truth.len(), contacts);
    let began = Instant::now();
    let whole = folder.path().join("whole.db");
    assert_eq!(run(&mut tieline(&org.login(), &paged(&whole))).0, 0);
    let takes = began.elapsed();

    let mut interrupted = 0;
    for round in 0..20 {
        let database = folder.path().join(format!("{round}.db"));
        let mut process = tieline(&org.login(), &paged(&database)).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(takes.mul_f64(fastrand::f64()));
        process.kill().unwrap();
        process.wait().unwrap();

        let (rows, checkpoint) = runtime.block_on(state(&database));
        if let Some((position, _)) = &checkpoint.scan {
            interrupted += 1;
            let passed = truth.partition_point(|(stamp, id)| (stamp, id) <= (&position.stamp, &position.id));
            let here: std::collections::HashSet<&str> = rows.iter().map(|c| c.row.source_id.as_str()).collect();
            let ahead = truth[..passed].iter().filter(|(_, id)| !here.contains(id.as_str())).count();
            assert_eq!(ahead, 0, "round {round}: the checkpoint passed rows that are not here");
            assert!(passed > 0 && rows.len() == passed, "round {round}: {passed} passed, {} here", rows.len());
        }
        assert_eq!(run(&mut tieline(&org.login(), &paged(&database))).0, 0, "round {round}");
        let (rows, checkpoint) = runtime.block_on(state(&database));
        assert!(checkpoint.scan.is_none() && checkpoint.through.is_some());
        let mut here: Vec<(jiff::Timestamp, String)> =
            rows.into_iter().map(|c| (c.row.source_stamp, c.row.source_id)).collect();
        here.sort();
        assert!(here == truth, "round {round}: every row exactly once");
        if round == 19 {
            assert_equal(&org, &database);
        }
    }
    assert!(interrupted >= 5, "only {interrupted} of 20 kills met a scan under way: the test proves too little");
}

async fn state(database: &Path) -> (Vec<Contact>, tieline_store::Checkpoint) {
    let store = Store::open(database).await.unwrap();
    let rows = store.own().contacts().try_collect().await.unwrap();
    let checkpoint = match store.own().integrations().await.unwrap().first() {
        Some(integration) => {
            let mapping = store.own().contacts_mapping(integration.id).await.unwrap();
            mapping.map(|mapping| mapping.standing.checkpoint).unwrap_or_default()
        }
        None => Default::default(),
    };
    store.close().await;
    (rows, checkpoint)
}

/// Highest memory that a program holds, in MB: without the pages of the program file, of which an unoptimised build has many,
/// and which the system takes back when it needs them.
pub(crate) fn peak_of(command: &mut std::process::Command) -> f64 {
    let mut process = command.spawn().unwrap();
    let status = format!("/proc/{}/status", process.id());
    let mut kilobytes = 0.0f64;
    while process.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let own = text.lines().find_map(|l| l.strip_prefix("RssAnon:")?.trim().strip_suffix("kB")?.trim().parse().ok());
        kilobytes = kilobytes.max(own.unwrap_or(0.0));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(process.wait().unwrap().success());
    kilobytes / 1024.0
}

/// That of a sync of so many contacts.
fn peak(contacts: usize) -> f64 {
    let org = Org::start(&["--contacts", &contacts.to_string()]);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("t.db");
    peak_of(tieline(&org.login(), &paged(&database)).stdout(std::process::Stdio::null()))
}

#[test]
fn memory_stays_below_64_mb_and_does_not_grow_with_the_org() {
    let long = std::env::var_os("TIELINE_TEST_LONG").is_some();
    let (small, large) = if long { (100_000, 400_000) } else { (30_000, 90_000) };
    let (less, more) = (peak(small), peak(large));
    eprintln!("peak memory of a sync: {less:.1} MB for {small} contacts, {more:.1} MB for {large}");
    assert!(more < 64.0, "{more:.1} MB for {large} contacts");
    assert!(more < less + 8.0, "{less:.1} MB for {small} contacts, {more:.1} MB for {large}: it grows");
}
