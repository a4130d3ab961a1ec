//! Opening a database: newer ones, older ones, many at once, other keys.

use tieline_store::object_tables::Deletion;
use tieline_store::{Store, StoreError, Uuid};

use crate::contact_steps::{ContactSteps, Step};
use crate::database::{Db, KEY, Place, Raw, empty_postgres, ring};

on_both!(
    a_database_of_a_newer_program_is_left_alone,
    another_master_key_is_told_at_the_start,
    whoever_is_dropped_while_a_transaction_begins_leaves_none_behind,
);

async fn whoever_is_dropped_while_a_transaction_begins_leaves_none_behind(db: Db) {
    let id = db.integration().await;
    for round in 0..150 {
        // As a request whose client goes away: at every moment of a reading transaction.
        let readers = (0..10).map(|n| {
            let store = db.store.clone();
            let moment = std::time::Duration::from_micros((round * 10 + n) % 700);
            async move {
                let _ = tokio::time::timeout(moment, store.own().integrations()).await;
            }
        });
        futures_util::future::join_all(readers).await;
        let credentials = tieline_store::Credentials::new(b"x".to_vec());
        let written = db.store.own().save_integration("acme", &credentials, crate::database::now()).await;
        assert_eq!(written.unwrap(), id, "in round {round}");
    }
}

async fn a_database_of_a_newer_program_is_left_alone(db: Db) {
    let (bytes, truth) = if db.is_sqlite() { ("x'00'", "1") } else { ("'\\x00'", "true") };
    db.raw
        .run(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (70, 'later', {truth}, {bytes}, 0)"
        ))
        .await;
    db.store.close().await;
    db.place.open().await.close().await;
    db.raw.run("UPDATE schema_support SET oldest_program = 70").await;
    if let Raw::Sqlite(pool) = &db.raw {
        pool.close().await;
    }
    let opened = match &db.place {
        Place::File(folder) => {
            let path = folder.path().join("t.db");
            let before = std::fs::read(&path).unwrap();
            let opened = Store::open(&path).await;
            assert_eq!(std::fs::read(&path).unwrap(), before);
            opened
        }
        Place::Server(url, _) => Store::connect(url, ring(KEY)).await,
    };
    let error = opened.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 70, needed: 70, .. }), "{error}");
}

async fn another_master_key_is_told_at_the_start(db: Db) {
    let integration = db.integration().await;
    db.store.close().await;
    // The same name, as if somebody had put another key in its place.
    let forge = "UPDATE key_canaries SET service = 'local:";
    let other = ring(&"ef".repeat(32));
    let name = other.primary().name().strip_prefix("local:").unwrap().to_owned();
    let open = async |ring| match &db.place {
        Place::File(folder) => Store::open_with_ring(&folder.path().join("t.db"), ring).await,
        Place::Server(url, _) => Store::connect(url, ring).await,
    };
    db.raw.run(&format!("{forge}{name}'")).await;
    let error = open(other).await.unwrap_err();
    assert!(matches!(error, StoreError::WrongKey { .. }), "{error}");
    // Nor does one that the database has never seen: the error names the one that is missing.
    let error = open(ring(&"cd".repeat(32))).await.unwrap_err();
    assert!(matches!(error, StoreError::Keyring(_)), "{error}");
    let sealed_with = db.raw.texts(&format!("SELECT service FROM data_keys WHERE owner_id = '{integration}'")).await;
    assert!(error.to_string().contains(&sealed_with[0]), "{error}");
}

/// What is in a file that was just made, as text.
async fn content(path: &std::path::Path) -> Vec<String> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let raw = Raw::Sqlite(sqlx::SqlitePool::connect_with(options).await.unwrap());
    let mut content = Vec::new();
    for rows in [
        "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name",
        "SELECT oldest_program || '' FROM schema_support",
        "SELECT version || description || success || hex(checksum) FROM _sqlx_migrations ORDER BY version",
        "SELECT tbl || ' ' || coalesce(idx, '') || ' ' || stat FROM sqlite_stat1 ORDER BY tbl, idx",
    ] {
        content.extend(raw.texts(rows).await);
    }
    for table in raw.texts("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").await {
        content.extend(raw.texts(&format!("SELECT '{table} ' || count(*) FROM \"{table}\"")).await);
    }
    content
}

#[tokio::test]
async fn a_new_file_has_the_schema_that_all_versions_make() {
    let folder = tempfile::tempdir().unwrap();
    let (new, grown) = (folder.path().join("new.db"), folder.path().join("grown.db"));
    // Not empty, and so not new: it gets one version after the other.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&grown).create_if_missing(true);
    let old = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE other (a TEXT)").execute(&old).await.unwrap();
    Store::open(&grown).await.unwrap().close().await;
    sqlx::raw_sql("DROP TABLE other").execute(&old).await.unwrap();
    if std::env::var_os("TIELINE_UPDATE_SCHEMA").is_some() {
        write_schema(&old).await;
    }
    old.close().await;
    Store::open(&new).await.unwrap().close().await;
    assert_eq!(
        content(&new).await,
        content(&grown).await,
        "hint: TIELINE_UPDATE_SCHEMA=1 with this test writes migrations/sqlite/new.sql, from which new files are made"
    );
}

async fn write_schema(grown: &sqlx::SqlitePool) {
    let made = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND substr(name, 1, 1) <> '_' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY rowid";
    let made: Vec<String> = sqlx::query_scalar(made).fetch_all(grown).await.unwrap();
    let oldest: i64 = sqlx::query_scalar("SELECT oldest_program FROM schema_support").fetch_one(grown).await.unwrap();
    let text = format!(
        "-- What the versions beside this one make of a new file, as SQLite keeps it. Written by a test (opening.rs), not by hand.\n\n\
         {};\n\nINSERT INTO schema_support VALUES ({oldest});\n",
        made.join(";\n\n")
    );
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite/new.sql"), text).unwrap();
}

#[tokio::test]
async fn processes_that_begin_at_once_make_one_schema() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let opened = (0..4).map(|_| {
        let (path, ring) = (path.clone(), ring(KEY));
        tokio::spawn(async move { Store::open_with_ring(&path, ring).await })
    });
    for opened in futures_util::future::join_all(opened).await {
        opened.unwrap().unwrap().close().await;
    }
}

/// A file of schema 1, as its program left it.
#[tokio::test]
async fn a_file_of_schema_1_is_brought_up_to_date_with_all_that_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let old = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let schema = include_str!("../../migrations/sqlite/0001_contacts_and_checkpoints.sql");
    sqlx::raw_sql(schema).execute(&old).await.unwrap();
    let key = tieline_auth::sealing::MasterKey::load_or_create(&folder.path().join("t.db.key")).unwrap();
    let business = "00000000-0000-7000-8000-000000000001";
    let id = "0197a000-0000-7000-8000-00000000000a";
    let sealed = key.seal(br#"{"SF_CLIENT_ID":"x"}"#, &format!("integrations:{business}:{id}")).unwrap();
    sqlx::query("INSERT INTO businesses VALUES ($1, 'own', 0)").bind(business).execute(&old).await.unwrap();
    sqlx::query(
        r#"INSERT INTO integrations VALUES ($1, $2, 'default', 'salesforce', 'active', $3, '{"organization_id":"00DA"}', 5, 1, 2)"#,
    )
    .bind(id)
    .bind(business)
    .bind(sealed)
    .execute(&old)
    .await
    .unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "INSERT INTO contacts (id, business_id, integration_id, source_type, source_id, last_name, source_stamp, sync_status, last_synced_at, created_at)
            VALUES ('0197a000-0000-7000-8000-00000000000b', '{business}', '{id}', 'salesforce', '003', 'Müller', 9, 'synced', 9, 9);
         INSERT INTO checkpoints (integration_id, object, through, fence) VALUES ('{id}', 'Contact', 7000, 3);
         INSERT INTO runs (id, integration_id, object, fence, state, started_at) VALUES ('0197a000-0000-7000-8000-00000000000c', '{id}', 'Contact', 3, 'running', 1);
         CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
            success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL);"
    )))
    .execute(&old)
    .await
    .unwrap();
    let checksum = sqlx::migrate::Migration::new(
        1,
        "contacts and checkpoints".into(),
        sqlx::migrate::MigrationType::Simple,
        sqlx::SqlSafeStr::into_sql_str(schema),
        false,
    )
    .checksum;
    sqlx::query("INSERT INTO _sqlx_migrations VALUES (1, 'contacts and checkpoints', CURRENT_TIMESTAMP, true, $1, 1)")
        .bind(checksum.to_vec())
        .execute(&old)
        .await
        .unwrap();
    old.close().await;

    let tenant = Store::open(&path).await.unwrap().own();
    let integration = tenant.integrations().await.unwrap().remove(0);
    assert_eq!((integration.name.as_str(), integration.organization_id.as_deref()), ("default", Some("00DA")));
    let opened = tenant.open_credentials(integration.id).await.unwrap().unwrap();
    assert_eq!(opened.expose(), br#"{"SF_CLIENT_ID":"x"}"#);
    assert_eq!(tenant.count_contacts().await.unwrap(), 1);
    let through = tenant.checkpoint(integration.id).await.unwrap().through;
    assert_eq!(through.map(|t| t.as_millisecond()), Some(7000));
    let mapping = tenant.contacts_mapping(integration.id).await.unwrap().unwrap();
    assert_eq!(
        (mapping.name.as_str(), mapping.state.name(), mapping.table.columns().len()),
        ("contacts", "synced", 22)
    );
    assert_eq!(tenant.count_present(&mapping).await.unwrap(), 1);
    let run = tenant.start_run(integration.id, crate::database::now()).await.unwrap();
    assert_eq!(tenant.runs(integration.id, 9).await.unwrap().len(), 2);
    tenant.finish_run(&run, tieline_store::RunState::Success, None, crate::database::now()).await.unwrap();
}

/// What schema 10 had of the contacts becomes the mapping that is built in.
#[tokio::test]
async fn a_server_of_schema_10_has_its_contacts_become_a_mapping() {
    let Some(place) = empty_postgres() else { return };
    // The roles are the server's.
    let other = empty_postgres().unwrap();
    other.open().await.close().await;
    let Place::Server(url, _) = &place else { unreachable!() };
    let old = sqlx::PgPool::connect(url).await.unwrap();
    let versions = [
        (2, "service", include_str!("../../migrations/postgres/0002_service.sql")),
        (3, "alerts", include_str!("../../migrations/postgres/0003_alerts.sql")),
        (4, "personal data", include_str!("../../migrations/postgres/0004_personal_data.sql")),
        (5, "sign in", include_str!("../../migrations/postgres/0005_sign_in.sql")),
        (6, "mappings", include_str!("../../migrations/postgres/0006_mappings.sql")),
        (7, "mapping progress", include_str!("../../migrations/postgres/0007_mapping_progress.sql")),
        (8, "sync work", include_str!("../../migrations/postgres/0008_sync_work.sql")),
        (9, "records", include_str!("../../migrations/postgres/0009_records.sql")),
        (10, "duplicates", include_str!("../../migrations/postgres/0010_duplicates.sql")),
    ];
    sqlx::raw_sql(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
            installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, checksum BYTEA NOT NULL,
            execution_time BIGINT NOT NULL)",
    )
    .execute(&old)
    .await
    .unwrap();
    for (version, description, sql) in versions {
        sqlx::raw_sql(sql).execute(&old).await.unwrap();
        let kind = sqlx::migrate::MigrationType::Simple;
        let sql = sqlx::SqlSafeStr::into_sql_str(sql);
        let checksum = sqlx::migrate::Migration::new(version, description.into(), kind, sql, false).checksum;
        sqlx::query("INSERT INTO _sqlx_migrations VALUES ($1, $2, now(), true, $3, 1)")
            .bind(version)
            .bind(description)
            .bind(checksum.to_vec())
            .execute(&old)
            .await
            .unwrap();
    }
    let business = "00000000-0000-7000-8000-000000000001";
    let [id, idle, mapping] = ["a", "b", "c"].map(|n| format!("0197a000-0000-7000-8000-00000000000{n}"));
    let row = |n: u8, deleted: bool, metadata: &str| {
        format!(
            "INSERT INTO contacts (id, business_id, integration_id, source_type, source_id, last_name, source_metadata, source_stamp,
                 deleted, sync_status, last_synced_at, created_at, change)
             VALUES ('0197a000-0000-7000-8000-00000000001{n}', '{business}', '{id}', 'salesforce', '00{n}', 'x', '{metadata}', now(),
                 {deleted}, 'synced', now(), now(), {n});"
        )
    };
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "INSERT INTO businesses (id, name, created_at) VALUES ('{business}', 'own', now()) ON CONFLICT DO NOTHING;
         INSERT INTO integrations (id, business_id, name, type, status, created_at, updated_at)
             VALUES ('{id}', '{business}', 'default', 'salesforce', 'active', now(), now()),
                 ('{idle}', '{business}', 'idle', 'salesforce', 'active', now(), now());
         INSERT INTO checkpoints (integration_id, object, business_id, through, fence, changes)
             VALUES ('{id}', 'Contact', '{business}', '2026-05-01T00:00:00Z', 7, 41);
         INSERT INTO mappings (id, business_id, integration_id, name, object, table_name, definition, columns, created_at, updated_at)
             VALUES ('{mapping}', '{business}', '{id}', 'contacts', 'Contact', 'people', '{{\"name\":\"contacts\",\"object\":\"Contact\"}}', '[]',
                 now(), now());
         INSERT INTO mapping_checkpoints (mapping_id, business_id) VALUES ('{mapping}', '{business}');
         INSERT INTO runs (id, business_id, integration_id, object, fence, state, started_at)
             VALUES ('{mapping}', '{business}', '{id}', 'Contact', 7, 'success', now());{}{}{}",
        row(1, false, "{}"),
        row(2, true, "{}"),
        row(3, true, r#"{"MasterRecordId":"001"}"#)
    )))
    .execute(&old)
    .await
    .unwrap();
    old.close().await;

    let tenant = place.open().await.own();
    let id: Uuid = id.parse().unwrap();
    let found = tenant.contacts_mapping(id).await.unwrap().unwrap();
    let through: jiff::Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
    assert_eq!((found.standing.checkpoint.through, found.state.name()), (Some(through), "synced"));
    assert_eq!(tenant.mapping_runs(&found, 9).await.unwrap().len(), 1);
    let unread = tenant.contacts_mapping(idle.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((unread.state.name(), unread.table.columns().len()), ("initial", 0));
    let mut names: Vec<String> = tenant.mappings(id).await.unwrap().into_iter().map(|mapping| mapping.name).collect();
    names.sort();
    assert_eq!(names, ["contacts", "contacts_mapping"]);
    let rows: Vec<tieline_store::Contact> = futures_util::TryStreamExt::try_collect(tenant.contacts()).await.unwrap();
    let went: Vec<_> = rows.iter().map(|contact| contact.row.deleted.map(Deletion::name)).collect();
    assert_eq!(went, [None, Some("deleted"), Some("merged")]);
    // The run before can write no more, and numbers go on.
    let run = tenant.start_run(id, crate::database::now()).await.unwrap();
    let contacts = [crate::imports::contact("009", "New")];
    let step = Step { contacts: &contacts, checkpoint: &found.standing.checkpoint, api_calls: 1 };
    tenant.commit_step(&run, &step, crate::database::now()).await.unwrap();
    let change = tenant.run(run.id).await.unwrap().unwrap();
    assert_eq!(change.inserted, 1);
    let raw = sqlx::PgPool::connect(url).await.unwrap();
    let number: i64 =
        sqlx::query_scalar("SELECT change FROM contacts WHERE source_id = '009'").fetch_one(&raw).await.unwrap();
    assert_eq!(number, 42);
}

#[tokio::test]
async fn many_nodes_that_start_at_once_make_the_schema_once() {
    let Some(place) = empty_postgres() else { return };
    let Place::Server(url, _) = &place else { unreachable!() };
    let nodes = (0..8).map(|_| Store::connect(url, ring(KEY)));
    for node in futures_util::future::join_all(nodes).await {
        let node = node.unwrap();
        node.ping().await.unwrap();
        node.close().await;
    }
}

#[tokio::test]
async fn a_user_who_may_make_no_roles_is_told_what_an_administrator_does() {
    let Some(place) = empty_postgres() else { return };
    let Place::Server(url, server) = &place else { unreachable!() };
    let name = url.rsplit_once('/').unwrap().1;
    let user = format!("u{name}");
    server.sql(&format!("CREATE ROLE {user} LOGIN; GRANT ALL ON DATABASE {name} TO {user}"));
    let theirs = url.replace("postgres@", &format!("{user}@"));
    let error = Store::connect(&theirs, ring(KEY)).await.unwrap_err();
    assert!(matches!(error, StoreError::Roles { .. }), "{error}");
    assert!(error.hint().contains("CREATE ROLE tieline_app"), "{}", error.hint());
    // What the hint says is enough, with the right to make tables.
    for role in ["tieline_app", "tieline_system"] {
        server.sql(&format!("DO $$ BEGIN CREATE ROLE {role} NOLOGIN; EXCEPTION WHEN duplicate_object THEN END $$"));
        server.sql(&format!("GRANT {role} TO {user}"));
    }
    server.sql_at(url, &format!("GRANT CREATE, USAGE ON SCHEMA public TO {user}"));
    let store = Store::connect(&theirs, ring(KEY)).await.unwrap();
    assert!(store.own().integrations().await.unwrap().is_empty());
}
