//! Imports from the org: exact, resumable, and each contact one lead whatever dies.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tieline_auth::{Clock, ManualClock};
use tieline_client::Connection;
use tieline_store::{
    Creation, Import, ImportRow, ImportState, Lead, LeadFilter, NewImport, RowOutcome, Store, Tenant, Uuid,
};
use tieline_sync::importer::import_ids;
use tieline_sync::{Ended, Importer, SyncError, Worked};

use crate::world::{WINDOW, World, connect, start};

type Connect = std::future::Ready<Result<Connection, SyncError>>;

fn importer(
    store: &Store,
    connection: &Connection,
    clock: &Arc<ManualClock>,
    batch: u32,
) -> Importer<impl Fn(Tenant, Uuid) -> Connect + Send + Sync + use<>> {
    let connection = connection.clone();
    let connect = move |_: Tenant, _: Uuid| std::future::ready(Ok(connection.clone()));
    Importer::new(store.clone(), connect, clock.clone()).with_batch(batch)
}

/// Somebody's import, a clock, and who works on it.
struct Bench {
    world: World,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn of(world: World) -> Self {
        Self { world, clock: Arc::new(ManualClock::at(start())) }
    }

    /// An org with so many contacts, and their ids.
    async fn with(contacts: usize) -> (Self, Vec<String>) {
        let csv: String = (0..contacts).map(|n| format!("\nName{n:05}")).collect();
        let bench = Self::of(World::with(Some(&format!("LastName{csv}")), WINDOW).await);
        let found = bench.world.connection.query::<serde_json::Value>("SELECT Id FROM Contact ORDER BY LastName");
        let found: Vec<serde_json::Value> = futures_util::TryStreamExt::try_collect(found).await.unwrap();
        let ids = found.iter().map(|record| record["Id"].as_str().unwrap().to_owned()).collect();
        (bench, ids)
    }

    fn tenant(&self) -> &Tenant {
        &self.world.syncer.store
    }

    async fn ask(&self, ids: &[String]) -> Import {
        let new = NewImport {
            integration: self.world.syncer.integration,
            idempotency_key: None,
            campaign: Some("spring"),
            tags: &["imported".to_owned()],
            source_ids: ids,
            created_by: None,
        };
        match self.tenant().create_import(&new, self.clock.now()).await.unwrap() {
            Creation::Created(import) => import,
            other => panic!("{other:?}"),
        }
    }

    async fn run(&self, batch: u32) -> Option<Worked> {
        importer(self.tenant().store(), &self.world.connection, &self.clock, batch).run_once().await.unwrap()
    }

    async fn import(&self, id: Uuid) -> Import {
        self.tenant().import(id).await.unwrap().unwrap()
    }

    async fn leads(&self) -> Vec<Lead> {
        self.tenant().leads(&LeadFilter::default(), None, 100_000).await.unwrap().items
    }

    async fn rows(&self, import: Uuid) -> Vec<ImportRow> {
        self.tenant().import_rows(import, None, None, 100_000).await.unwrap().items
    }

    /// Every contact is one lead, and the report has no gap.
    async fn is_whole(&self, import: Uuid, ids: &[String]) {
        let mut kept: Vec<String> = self.leads().await.into_iter().map(|lead| lead.source_id).collect();
        let mut expected = ids.to_vec();
        kept.sort();
        expected.sort();
        assert_eq!(kept, expected);
        let import = self.import(import).await;
        assert_eq!((import.state, import.pending, import.failed), (ImportState::Success, 0, 0), "{import:?}");
        assert_eq!(import.created, ids.len() as i64, "a row was told twice or as another");
        let rows = self.rows(import.id).await;
        assert!(rows.iter().all(|row| row.outcome == RowOutcome::Created && row.lead_id.is_some()));
    }
}

#[tokio::test]
async fn each_row_is_told_as_what_it_became() {
    let bench = Bench::of(World::new().await);
    let account = bench.world.connection.create("Account", &json!({"Name": "Acme"})).await.unwrap();
    let record = json!({"LastName": "O'Brien", "FirstName": "Ada", "Email": "a@example.com", "AccountId": account,
        "Department": "R&D"});
    let first = bench.world.connection.create("Contact", &record).await.unwrap();
    let (second, gone) = (bench.world.create("Second").await, bench.world.create("Gone").await);
    bench.world.connection.delete("Contact", &gone).await.unwrap();
    let given = [
        first.clone(),
        first[..15].to_owned(),
        second.to_lowercase(),
        gone,
        "003000000000999".to_owned(),
        account.clone(),
        "' OR Name != '".to_owned(),
    ];
    let import = bench.ask(&given).await;
    // A batch that ends between the two spellings, and one that does not.
    for (batch, outcomes) in [(1, ["created", "unchanged", "created"]), (1_000, ["unchanged"; 3])] {
        let import = if batch == 1 { import.clone() } else { bench.ask(&given).await };
        let worked = bench.run(batch).await.unwrap();
        assert_eq!((worked.import, &worked.ended, worked.outcome.failed), (import.id, &Ended::Success, 4));
        let rows = bench.rows(import.id).await;
        let told: Vec<&str> = rows.iter().map(|row| row.outcome.name()).collect();
        assert_eq!(told, [&outcomes[..], &["failed"; 4]].concat());
        let reasons: Vec<&str> = rows[3..].iter().map(|row| row.error.as_deref().unwrap()).collect();
        let missing = "the org has no such contact (or this user may not see it)";
        assert_eq!(reasons[..2], [missing; 2]);
        assert!(reasons[2].contains("something else than a contact") && reasons[3].contains("is not an id"));
        assert_eq!(rows[0].lead_id, rows[1].lead_id);
    }
    let leads = bench.leads().await;
    assert_eq!(leads.len(), 2);
    let lead = leads.iter().find(|lead| lead.source_id == first).unwrap();
    assert_eq!((lead.company.as_deref(), lead.name.as_deref()), (Some("Acme"), Some("Ada O'Brien")));
    assert_eq!((lead.campaign.as_deref(), &lead.tags[..]), (Some("spring"), &["imported".to_owned()][..]));
    assert_eq!(
        (&lead.source_metadata["Department"], &lead.source_metadata["AccountId"]),
        (&json!("R&D"), &json!(account))
    );
    assert!(bench.run(1_000).await.is_none(), "there is nothing left");
    // Asked for with the ids of `import_ids`, two spellings are one row.
    assert_eq!(bench.ask(&import_ids(&given)).await.total, 6);
}

#[tokio::test]
async fn a_batch_of_a_thousand_is_three_queries_that_fit_into_an_address() {
    let (bench, ids) = Bench::with(2_100).await;
    let import = bench.ask(&ids).await;
    let calls = bench.world.connection.api_calls();
    assert_eq!(bench.run(1_000).await.unwrap().ended, Ended::Success);
    assert_eq!(bench.world.connection.api_calls() - calls, 3 + 3 + 1);
    bench.is_whole(import.id, &ids).await;
}

#[tokio::test]
async fn what_passes_by_itself_is_waited_for_and_the_import_goes_on() {
    let (bench, ids) = Bench::with(12).await;
    let import = bench.ask(&ids).await;
    // The third batch of four meets an org that is away, for longer than the client tries.
    bench.world.fault(json!({"path": "/services/data", "nth": 3, "times": 3, "status": 503})).await;
    let worked = bench.run(4).await.unwrap();
    let Ended::Postponed(reason, again) = worked.ended else { panic!("{:?}", worked.ended) };
    assert_eq!((worked.outcome.created, again), (8, start() + SignedDuration::from_secs(60)));
    let waiting = bench.import(import.id).await;
    assert_eq!((waiting.state, waiting.pending, waiting.error), (ImportState::Running, 4, Some(reason)));
    bench.clock.advance(Duration::from_secs(59));
    assert!(bench.run(4).await.is_none());
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.run(4).await.unwrap().ended, Ended::Success);
    bench.is_whole(import.id, &ids).await;

    // An org whose calls are used up is left alone for longer.
    bench.ask(&ids).await;
    let body = json!([{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]);
    bench.world.fault(json!({"path": "/services/data", "times": 3, "status": 403, "body": body})).await;
    let worked = bench.run(4).await.unwrap();
    let expected = bench.clock.now() + SignedDuration::from_mins(15);
    assert!(matches!(worked.ended, Ended::Postponed(_, again) if again == expected), "{worked:?}");
}

#[tokio::test]
async fn what_needs_a_person_is_told_and_goes_on_when_somebody_says_so() {
    let (bench, ids) = Bench::with(12).await;
    let import = bench.ask(&ids).await;
    let body = json!([{"errorCode": "API_CURRENTLY_DISABLED", "message": "API is disabled for this User"}]);
    bench.world.fault(json!({"path": "/services/data", "nth": 2, "status": 403, "body": body})).await;
    let worked = bench.run(4).await.unwrap();
    assert!(matches!(&worked.ended, Ended::Failed(reason) if reason.contains("hint: enable the API")), "{worked:?}");
    let failed = bench.import(import.id).await;
    assert_eq!((failed.state, failed.created, failed.pending), (ImportState::Failed, 4, 8));
    bench.clock.advance(Duration::from_secs(100_000));
    assert!(bench.run(4).await.is_none(), "nobody has said so yet");
    assert!(bench.tenant().retry_import(import.id, bench.clock.now()).await.unwrap());
    assert_eq!(bench.run(4).await.unwrap().ended, Ended::Success);
    bench.is_whole(import.id, &ids).await;
}

#[tokio::test]
async fn a_cancelled_import_stops_at_the_next_batch() {
    let (bench, ids) = Bench::with(12).await;
    let import = bench.ask(&ids).await;
    let connect = |tenant: Tenant, _| {
        let (connection, id) = (bench.world.connection.clone(), import.id);
        async move {
            assert!(tenant.cancel_import(id, start()).await.unwrap());
            Ok(connection)
        }
    };
    let importer = Importer::new(bench.tenant().store().clone(), connect, bench.clock.clone()).with_batch(4);
    assert_eq!(importer.run_once().await.unwrap().unwrap().ended, Ended::Cancelled);
    assert!(importer.run_once().await.unwrap().is_none());
    assert!(bench.leads().await.is_empty());
    assert_eq!(bench.import(import.id).await.state, ImportState::Cancelled);
}

/// Scenario 20 of the fault list, by the database: at every row, the write fails.
#[tokio::test]
async fn an_import_that_fails_at_row_k_of_n_for_every_k_resumes_exactly() {
    const N: usize = 10;
    let (bench, all) = Bench::with(2 * N * N).await;
    let points = (0..N).flat_map(|k| {
        [
            format!("UPDATE ON import_rows WHEN new.position = {k}"),
            format!("INSERT ON leads WHEN new.last_name LIKE 'Name___{k:02}' OR new.last_name LIKE '%{k}'"),
        ]
    });
    let mut whole = 0;
    for (point, ids) in points.zip(all.chunks(N)) {
        let import = bench.ask(ids).await;
        let trigger =
            format!("CREATE TRIGGER main.failpoint BEFORE {point} BEGIN SELECT RAISE(ABORT, 'failpoint'); END");
        bench.tenant().sql(&trigger).await.unwrap();
        let worked = bench.run(3).await.unwrap();
        assert!(matches!(&worked.ended, Ended::Failed(reason) if reason.contains("failpoint")), "{point}: {worked:?}");
        bench.tenant().sql("DROP TRIGGER main.failpoint").await.unwrap();
        let so_far = bench.import(import.id).await;
        assert_eq!(so_far.created, worked.outcome.created as i64, "{point}");
        assert_eq!(bench.tenant().count_leads().await.unwrap(), whole + so_far.created, "{point}");
        assert!(bench.tenant().retry_import(import.id, bench.clock.now()).await.unwrap());
        assert_eq!(bench.run(3).await.unwrap().ended, Ended::Success);
        whole += N as i64;
        let done = bench.import(import.id).await;
        assert_eq!((done.created, done.pending, bench.leads().await.len() as i64), (N as i64, 0, whole), "{point}");
    }
}

#[tokio::test]
async fn workers_at_once_on_overlapping_imports_make_each_lead_once() {
    let (bench, ids) = Bench::with(60).await;
    for turn in [0, 20, 40] {
        let mut ids = ids.clone();
        ids.rotate_left(turn);
        bench.ask(&ids).await;
    }
    let store = bench.tenant().store();
    let workers = (0..3).map(|_| importer(store, &bench.world.connection, &bench.clock, 7));
    let workers: Vec<_> = workers.collect();
    let worked = futures_util::future::join_all(workers.iter().map(Importer::run_once)).await;
    let worked: Vec<Worked> = worked.into_iter().filter_map(Result::unwrap).collect();
    assert!(worked.iter().all(|worked| worked.ended == Ended::Success), "{worked:?}");
    let sum = |of: fn(&Worked) -> u64| worked.iter().map(of).sum::<u64>();
    assert_eq!((sum(|w| w.outcome.created), sum(|w| w.outcome.unchanged), worked.len()), (60, 120, 3));
    assert_eq!(bench.leads().await.len(), 60);
}

/// Scenario 20 by the process: it is killed (SIGKILL) at moments of chance, until the import is done.
#[tokio::test]
async fn an_import_whose_process_is_killed_again_and_again_resumes_exactly() {
    let kills = if std::env::var_os("TIELINE_TEST_LONG").is_some() { 60 } else { 8 };
    let (bench, ids) = Bench::with(2_000).await;
    let import = bench.ask(&ids).await;
    let mut random = fastrand::Rng::with_seed(20);
    let (mut killed, mut turn) = (0, 0);
    while bench.import(import.id).await.state != ImportState::Success {
        let mut child = child(&bench.world, turn);
        turn += 1;
        if killed < kills {
            tokio::time::sleep(Duration::from_millis(random.u64(20..400))).await;
            killed += u32::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
        }
        // Not here: the org that it talks to lives on this thread.
        tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
        let there = bench.tenant().count_leads().await.unwrap();
        let told = bench.import(import.id).await;
        assert_eq!(there, told.created, "leads and report differ after {turn} turns");
        assert!(turn < 500, "{told:?}");
    }
    assert!(killed > 0, "no process lived long enough to be killed");
    bench.is_whole(import.id, &ids).await;
}

const CHILD: &str = "TIELINE_TEST_IMPORT_CHILD";

/// This program once more, as a process that works on the next import and ends. Each turn is an hour later, so that the
/// lease of the one before has ended.
fn child(world: &World, turn: i64) -> std::process::Child {
    let info = world.info();
    let told = json!({
        "database": world.database(), "login_url": info.login_url, "client_id": info.client_id,
        "client_secret": info.client_secret, "refresh_token": info.refresh_token,
        "now": start() + SignedDuration::from_hours(turn), "batch": 50,
    });
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "importing::the_child", "--nocapture"])
        .env(CHILD, told.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What [`child`] starts; by itself it does nothing.
#[tokio::test]
async fn the_child() {
    let Ok(told) = std::env::var(CHILD) else { return };
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let text = |name: &str| told[name].as_str().unwrap().to_owned();
    let store = Store::open(&PathBuf::from(text("database"))).await.unwrap();
    let connection = connect(&text("login_url"), &text("client_id"), &text("client_secret"), &text("refresh_token"));
    let now: Timestamp = text("now").parse().unwrap();
    let batch = told["batch"].as_u64().unwrap() as u32;
    importer(&store, &connection, &Arc::new(ManualClock::at(now)), batch).run_once().await.unwrap();
}
