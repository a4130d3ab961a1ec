//! Opening a database: newer ones, older ones, many at once, other keys.

use tieline_store::{Store, StoreError};

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
    let through = tenant.checkpoint(integration.id, "Contact").await.unwrap().through;
    assert_eq!(through.map(|t| t.as_millisecond()), Some(7000));
    let run = tenant.start_run(integration.id, "Contact", crate::database::now()).await.unwrap();
    assert_eq!(tenant.runs(integration.id, 9).await.unwrap().len(), 2);
    tenant.finish_run(&run, tieline_store::RunState::Success, None, crate::database::now()).await.unwrap();
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
