//! PostgreSQL: roles, schema, pool.

use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, Row};

use crate::error::StoreError;
use crate::migrations;
use crate::sql::Database;

/// Connections of one node. PostgreSQL has 100 by default, for all.
const CONNECTIONS: u32 = 10;
const IDLE: Duration = Duration::from_secs(300);
const ACQUIRE: Duration = Duration::from_secs(10);

/// Any number that no other program takes: under it one process at a time changes the schema.
const MIGRATION_LOCK: i64 = 0x7469_656c_696e_65;

/// Whether the schema is there, and whether the user may take the two roles.
const STATE: &str = "SELECT to_regclass('schema_support') IS NOT NULL AS there,
    (SELECT count(*) FROM pg_roles WHERE rolname IN ('tieline_app', 'tieline_system')
        AND pg_has_role(current_user, oid, 'MEMBER')) = 2 AS roles";

const ROLES: [&str; 3] = [
    "DO $$ BEGIN CREATE ROLE tieline_app NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$",
    "DO $$ BEGIN CREATE ROLE tieline_system NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$",
    "GRANT tieline_app, tieline_system TO CURRENT_USER",
];

pub(super) async fn prepared(url: &str) -> Result<(Database, String), StoreError> {
    let options: PgConnectOptions = url.parse().map_err(|e: sqlx::Error| StoreError::Open {
        place: "postgresql".to_owned(),
        reason: format!("the URL cannot be read ({e})"),
    })?;
    let options = options.application_name("tieline");
    let place = format!(
        "postgresql {}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap_or("")
    );
    let failed = |error: sqlx::Error| StoreError::Open { place: place.clone(), reason: error.to_string() };
    // Not through the pool, which would try until its time is up and then say no more than that.
    let mut connection = options.clone().statement_cache_capacity(0).connect().await.map_err(failed)?;
    let state = sqlx::query(STATE).fetch_one(&mut connection).await.map_err(failed)?;
    let (there, roles): (bool, bool) = (state.get("there"), state.get("roles"));
    if !roles {
        make_roles(&mut connection, &place).await?;
    }
    // A node that finds all in place needs no right to change it.
    if !there || refuse_newer(&mut connection, &place).await? < migrations::NEWEST {
        migrate(&mut connection, &place).await?;
    }
    connection.close().await.map_err(failed)?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .idle_timeout(IDLE)
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await
        .map_err(failed)?;
    Ok((Database::Postgres(pool), place))
}

async fn make_roles(connection: &mut PgConnection, place: &str) -> Result<(), StoreError> {
    for statement in ROLES {
        let made = sqlx::query(statement).execute(&mut *connection).await;
        // Two processes that grant at once: "tuple concurrently updated".
        let made = match made {
            Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some("XX000") => {
                sqlx::query(statement).execute(&mut *connection).await
            }
            made => made,
        };
        made.map_err(|e| StoreError::Roles { place: place.to_owned(), reason: e.to_string() })?;
    }
    Ok(())
}

/// The schema's version.
async fn refuse_newer(connection: &mut PgConnection, place: &str) -> Result<i64, StoreError> {
    let doing = StoreError::doing("reading the schema's version");
    let row = sqlx::query(migrations::VERSIONS).fetch_one(connection).await.map_err(doing)?;
    let found = row.get("found");
    migrations::check(found, row.get("needed"), place)?;
    Ok(found)
}

/// All in one transaction and under a lock that ends with it, so that a pooler may be in between.
async fn migrate(connection: &mut PgConnection, place: &str) -> Result<(), StoreError> {
    let doing = StoreError::doing("bringing the schema up to date");
    let mut tx = connection.begin().await.map_err(&doing)?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(MIGRATION_LOCK).execute(&mut *tx).await.map_err(&doing)?;
    migrations::postgres().run_direct(None, &mut *tx, false).await.map_err(|e| match e {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => doing(e),
        other => StoreError::Open { place: place.to_owned(), reason: other.to_string() },
    })?;
    sqlx::query(
        "DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO tieline_app, tieline_system', current_schema()); END $$",
    )
    .execute(&mut *tx)
    .await
    .map_err(&doing)?;
    tx.commit().await.map_err(&doing)
}
