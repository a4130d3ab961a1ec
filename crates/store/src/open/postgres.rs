//! PostgreSQL: roles, schema, pool.

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use tokio::sync::Semaphore;

use crate::error::StoreError;
use crate::migrations;
use crate::sql::Database;

/// Connections of one node. PostgreSQL has 100 by default, for all.
pub(super) const CONNECTIONS: u32 = 10;
const IDLE: Duration = Duration::from_secs(300);
const ACQUIRE: Duration = Duration::from_secs(10);
/// How long a transaction may lie still before the server ends it. A process that is frozen or cut off in the middle of one would
/// hold what it has locked (a business's turn, a mapping's checkpoint) until TCP gives up, which takes hours. What waits
/// longest for anybody but the database is an export: a minute for its reader.
const STILL: &str = "90s";

/// Any number that no other program takes: under it one process at a time changes the schema.
const MIGRATION_LOCK: i64 = 0x0074_6965_6c69_6e65;

/// Whether the schema is there, and whether the user may take the two roles.
const STATE: &str = "SELECT to_regclass('schema_support') IS NOT NULL AS there,
    (SELECT count(*) FROM pg_roles WHERE rolname IN ('tieline_app', 'tieline_system')
        AND pg_has_role(current_user, oid, 'MEMBER')) = 2 AS roles";

const ROLES: [&str; 3] = [
    "DO $$ BEGIN CREATE ROLE tieline_app NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$",
    "DO $$ BEGIN CREATE ROLE tieline_system NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$",
    "GRANT tieline_app, tieline_system TO CURRENT_USER",
];

// Before a transaction there are plain texts only (`raw_sql`): of a prepared statement, even one without a name, the halves
// could reach two connections of a pooler's.

/// Where the server is, and whether a transaction pooler is in between.
pub(crate) struct Address {
    pub(crate) options: PgConnectOptions,
    pub(crate) pooled: bool,
}

/// Reads the URL. `pooler=transaction` among its parameters is ours, all others are sqlx's.
pub(crate) fn address(url: &str) -> Result<Address, sqlx::Error> {
    let (mut url, mut pooled) = (url.to_owned(), false);
    if let Some((before, parameters)) = url.clone().split_once('?') {
        let kept: Vec<&str> = parameters.split('&').filter(|p| *p != "pooler=transaction").collect();
        pooled = kept.len() < parameters.split('&').count();
        url = if kept.is_empty() { before.to_owned() } else { format!("{before}?{}", kept.join("&")) };
    }
    let options: PgConnectOptions = url.parse()?;
    Ok(Address { options: options.application_name("tieline"), pooled })
}

pub(super) async fn prepared(url: &str, connections: u32) -> Result<(Database, String), StoreError> {
    let Address { options, pooled } = address(url).map_err(|e| StoreError::Open {
        place: "postgresql".to_owned(),
        reason: format!("the URL cannot be read ({e})"),
    })?;
    let place =
        format!("postgresql {}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or(""));
    let failed = |error: sqlx::Error| StoreError::Open { place: place.clone(), reason: error.to_string() };
    // Not through the pool, which would try until its time is up and then say no more than that.
    let mut connection = options.clone().connect().await.map_err(failed)?;
    let state = sqlx::raw_sql(STATE).fetch_one(&mut connection).await.map_err(failed)?;
    let (there, roles): (bool, bool) = (state.get("there"), state.get("roles"));
    if !roles {
        make_roles(&mut connection, &place).await?;
    }
    // A node that finds all in place needs no right to change it.
    if !there || refuse_newer(&mut connection, &place).await? < migrations::NEWEST {
        bring_up_to_date(&mut connection).await.map_err(|e| match e {
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => {
                StoreError::doing("bringing the schema up to date")(e)
            }
            other => StoreError::Open { place: place.clone(), reason: other.to_string() },
        })?;
    }
    connection.close().await.map_err(failed)?;
    // A pooler refuses what it does not know at the start of a connection.
    let options = if pooled { options } else { options.options([("idle_in_transaction_session_timeout", STILL)]) };
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .idle_timeout(IDLE)
        .acquire_timeout(ACQUIRE)
        .connect_with(options)
        .await
        .map_err(failed)?;
    // A run needs two, and so do others.
    let spare = if connections < 4 { 0 } else { (connections - 1) / 2 };
    let ahead = Arc::new(Semaphore::new(spare as usize));
    Ok((Database::Postgres { pool, prepared: !pooled, ahead }, place))
}

async fn make_roles(connection: &mut PgConnection, place: &str) -> Result<(), StoreError> {
    for statement in ROLES {
        let made = sqlx::raw_sql(statement).execute(&mut *connection).await;
        // Two processes that grant at once: "tuple concurrently updated", or the same row twice.
        let made = match made {
            Err(sqlx::Error::Database(e)) if matches!(e.code().as_deref(), Some("XX000" | "23505")) => {
                sqlx::raw_sql(statement).execute(&mut *connection).await
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
    let row = sqlx::raw_sql(migrations::VERSIONS).fetch_one(connection).await.map_err(doing)?;
    let found = row.get("found");
    migrations::check(found, row.get("needed"), place)?;
    Ok(found)
}

/// The schema, and the roles' right to look into it.
async fn bring_up_to_date(connection: &mut PgConnection) -> Result<(), MigrateError> {
    let mut tx = connection.begin().await?;
    run(&mut tx, &migrations::postgres()).await?;
    sqlx::raw_sql(
        "DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO tieline_app, tieline_system', current_schema()); END $$",
    )
    .execute(&mut *tx)
    .await?;
    Ok(tx.commit().await?)
}

/// Migrations of something that stands beside the schema.
pub(crate) async fn migrate(options: &PgConnectOptions, migrator: &Migrator) -> Result<(), MigrateError> {
    let mut connection = options.connect().await?;
    let mut tx = connection.begin().await?;
    run(&mut tx, migrator).await?;
    tx.commit().await?;
    Ok(connection.close().await?)
}

/// All in one transaction and under a lock that ends with it, so that a pooler may be in between.
async fn run(tx: &mut PgConnection, migrator: &Migrator) -> Result<(), MigrateError> {
    let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut *tx).await?;
    // sqlx prepares what it migrates with under names, and a pooler hands the connection on with them.
    sqlx::raw_sql("DEALLOCATE ALL").execute(&mut *tx).await?;
    migrator.run_direct(None, &mut *tx, false).await?;
    sqlx::raw_sql("DEALLOCATE ALL").execute(&mut *tx).await?;
    Ok(())
}
