//! The store against a real SQLite file: what is written together stays together.

use futures_util::TryStreamExt;
use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tieline_store::{Checkpoint, Contact, ContactRow, Credentials, Position, RunState, Step, Store, StoreError};

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn contact(id: &str, last_name: &str, stamp: i64) -> ContactRow {
    ContactRow {
        source_id: id.to_owned(),
        first_name: None,
        last_name: Some(last_name.to_owned()),
        name: None,
        email: None,
        phone: None,
        company: None,
        title: None,
        source_metadata: "{}".to_owned(),
        source_stamp: Timestamp::from_second(stamp).unwrap(),
        deleted: false,
    }
}

fn checkpoint(second: i64) -> Checkpoint {
    let position = Position { stamp: Timestamp::from_second(second).unwrap(), id: "x".to_owned() };
    Checkpoint { through: None, scan: Some((position, Timestamp::from_second(second + 1).unwrap())) }
}

struct Fixture {
    store: Store,
    integration: String,
    /// A connection beside the store's, for what the store would never do.
    raw: SqlitePool,
    folder: tempfile::TempDir,
}

async fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let store = Store::open(&path).await.unwrap();
    let integration =
        store.save_integration("acme", &Credentials::new(b"hidden-refresh-token".to_vec()), now()).await.unwrap();
    // One connection: another would not know at once what this one did to the schema.
    let raw = SqlitePoolOptions::new().max_connections(1);
    let raw = raw.connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
    Fixture { store, integration, raw, folder }
}

#[tokio::test]
async fn t9_whichever_statement_of_a_step_fails_none_of_it_stays() {
    let Fixture { store, integration, raw, folder: _folder } = fixture().await;
    let run = store.start_run(&integration, "Contact", now()).await.unwrap();
    let rows: Vec<ContactRow> = (0..600).map(|n| contact(&format!("{n:05}"), "before", 10)).collect();
    let step = Step { contacts: &rows, checkpoint: &checkpoint(10), api_calls: 1 };
    store.commit_step(&run, &step, now()).await.unwrap();

    let changed: Vec<ContactRow> = (0..900).map(|n| contact(&format!("{n:05}"), "after", 20)).collect();
    let step = Step { contacts: &changed, checkpoint: &checkpoint(20), api_calls: 1 };
    // A failpoint at each statement: the checkpoint, each chunk of rows (by a row that it holds), the counters.
    let failpoints =
        ["BEFORE UPDATE OF scan_stamp ON checkpoints".to_owned(), "BEFORE UPDATE OF rows_read ON runs".to_owned()];
    let chunks = [0, 249, 250, 499, 599].map(|n| format!("BEFORE UPDATE ON contacts WHEN new.source_id = '{n:05}'"));
    let inserts = [600, 750, 899].map(|n| format!("BEFORE INSERT ON contacts WHEN new.source_id = '{n:05}'"));
    for failpoint in failpoints.into_iter().chain(chunks).chain(inserts) {
        let trigger = format!("CREATE TRIGGER failpoint {failpoint} BEGIN SELECT RAISE(ABORT, 'failpoint'); END");
        sqlx::query(sqlx::AssertSqlSafe(trigger)).execute(&raw).await.unwrap();
        let error = store.commit_step(&run, &step, now()).await.expect_err(&failpoint);
        assert!(error.to_string().contains("failpoint"), "{error}");
        sqlx::query("DROP TRIGGER failpoint").execute(&raw).await.unwrap();

        let kept: Vec<Contact> = store.contacts().try_collect().await.unwrap();
        assert_eq!(kept.len(), 600, "{failpoint}");
        assert!(kept.iter().all(|c| c.row.last_name.as_deref() == Some("before")), "{failpoint}");
        assert_eq!(store.checkpoint(&integration, "Contact").await.unwrap(), checkpoint(10), "{failpoint}");
        assert_eq!(store.run(&run.id).await.unwrap().unwrap().rows_read, 600, "{failpoint}");
    }
    let outcome = store.commit_step(&run, &step, now()).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated), (300, 600));
}

#[tokio::test]
async fn t9_a_full_disk_loses_nothing_and_says_so() {
    let Fixture { store, integration, raw, folder } = fixture().await;
    let run = store.start_run(&integration, "Contact", now()).await.unwrap();
    let small: Vec<ContactRow> = (0..10).map(|n| contact(&format!("{n:05}"), "first", 10)).collect();
    store
        .commit_step(&run, &Step { contacts: &small, checkpoint: &checkpoint(10), api_calls: 1 }, now())
        .await
        .unwrap();
    drop((store, raw));

    // SQLite's own limit stands for the disk's: it fails with the same code at the same places.
    let store = Store::open(&folder.path().join("t.db")).await.unwrap();
    store.limit_pages(60).await;
    let run = store.start_run(&integration, "Contact", now()).await.unwrap();
    let large: Vec<ContactRow> = (0..5_000).map(|n| contact(&format!("{n:05}"), "second", 20)).collect();
    let error = store
        .commit_step(&run, &Step { contacts: &large, checkpoint: &checkpoint(20), api_calls: 1 }, now())
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::DiskFull), "{error}");
    assert_eq!(store.checkpoint(&integration, "Contact").await.unwrap(), checkpoint(10));
    assert_eq!(store.contacts().try_collect::<Vec<_>>().await.unwrap().len(), 10);
}

#[tokio::test]
async fn an_older_version_of_a_row_does_not_replace_a_newer_one() {
    let Fixture { store, integration, .. } = fixture().await;
    let run = store.start_run(&integration, "Contact", now()).await.unwrap();
    for (name, stamp) in [("newer", 20), ("older", 10)] {
        let rows = [contact("1", name, stamp)];
        store
            .commit_step(&run, &Step { contacts: &rows, checkpoint: &checkpoint(stamp), api_calls: 0 }, now())
            .await
            .unwrap();
    }
    let kept = store.recent_contacts(10).await.unwrap();
    assert_eq!(kept[0].row.last_name.as_deref(), Some("newer"));
}

#[tokio::test]
async fn a_database_of_a_newer_program_is_left_alone() {
    let Fixture { store, raw, folder, .. } = fixture().await;
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (7, 'later', 1, x'00', 0)").execute(&raw).await.unwrap();
    store.close().await;
    let path = folder.path().join("t.db");
    Store::open(&path).await.expect("a newer schema that old programs may use");
    sqlx::query("UPDATE schema_support SET oldest_program = 7").execute(&raw).await.unwrap();
    raw.close().await;
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 7, needed: 7, known: 1, .. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn credentials_are_sealed_in_the_file_and_bound_to_their_row() {
    let Fixture { store, integration, raw, folder } = fixture().await;
    assert_eq!(store.open_credentials(&integration).await.unwrap().expose(), b"hidden-refresh-token");
    let other = store.save_integration("other", &Credentials::new(b"x".to_vec()), now()).await.unwrap();
    sqlx::query(
        "UPDATE integrations SET credentials = (SELECT credentials FROM integrations WHERE id = $1) WHERE id = $2",
    )
    .bind(&integration)
    .bind(&other)
    .execute(&raw)
    .await
    .unwrap();
    assert!(matches!(store.open_credentials(&other).await, Err(StoreError::Sealed { .. })), "moved to another row");
    raw.close().await;
    store.close().await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(14).any(|w| w == b"hidden-refresh"));
    }
}

#[tokio::test]
async fn a_failed_run_is_told_as_one_and_a_crashed_one_is_closed_by_the_next() {
    let Fixture { store, integration, .. } = fixture().await;
    let crashed = store.start_run(&integration, "Contact", now()).await.unwrap();
    let run = store.start_run(&integration, "Contact", now()).await.unwrap();
    store.finish_run(&run, RunState::Failed, Some("no answer"), now()).await.unwrap();
    store.finish_run(&crashed, RunState::Success, None, now()).await.unwrap();
    let runs = store.runs(&integration, 5).await.unwrap();
    assert_eq!(runs.iter().map(|r| r.state.as_str()).collect::<Vec<_>>(), ["failed", "failed"]);
    assert!(runs.iter().any(|r| r.error.as_deref() == Some("interrupted: a later run took over")));
}
