//! Who sees which rows: the rule that both databases hold to by themselves.
//!
//! A statement of a business's transaction sees, changes and deletes the rows of that business alone, whatever its
//! WHERE clause says, and cannot write a row of another; where no business is named, there are no rows.
//!
//! - **PostgreSQL**: row-level security, forced, on every table of tenants. A transaction takes the role
//!   `tieline_app`, which owns nothing, and names its business (`SET LOCAL`); the service's own work takes
//!   `tieline_system`. Both ends with the transaction, so that a pooler may hand the connection to anyone.
//! - **SQLite** has no such thing, so every connection is given its like (`prepare`): a table's plain name is a
//!   temporary view of the business's rows, and temporary triggers keep writes to them, which the dialect addresses
//!   to the table itself. The business is the one row of `temp.scope`, set by the statement that begins the
//!   transaction.
//!
//! One test asks either database for all its tables and fails if one stands in neither list below.

use sqlx::sqlite::SqliteConnection;

/// A table with rows of tenants: its column that names the business, and who else may see a row.
struct Tenants {
    table: &'static str,
    business: &'static str,
    /// A further condition, in SQLite's words, that shows a row to a person.
    person: Option<&'static str>,
}

const fn tenants(table: &'static str) -> Tenants {
    Tenants { table, business: "business_id", person: None }
}

const TENANT_TABLES: [Tenants; 32] = [
    Tenants {
        table: "businesses",
        business: "id",
        person: Some(
            "id IN (SELECT business_id FROM main.team_members WHERE user_id = (SELECT person FROM temp.scope))",
        ),
    },
    Tenants {
        table: "team_members",
        business: "business_id",
        person: Some("user_id = (SELECT person FROM temp.scope)"),
    },
    tenants("invitations"),
    tenants("api_keys"),
    tenants("data_keys"),
    tenants("integrations"),
    tenants("integration_tokens"),
    tenants("login_attempts"),
    tenants("contacts"),
    tenants("leads"),
    tenants("match_rules"),
    tenants("match_keys"),
    tenants("duplicates"),
    tenants("imports"),
    tenants("import_rows"),
    tenants("runs"),
    tenants("integration_logs"),
    tenants("alert_channels"),
    tenants("alert_rules"),
    tenants("alert_rule_channels"),
    tenants("notifications"),
    tenants("alert_deliveries"),
    tenants("mappings"),
    tenants("mapping_checkpoints"),
    tenants("row_errors"),
    tenants("record_webhooks"),
    // In this order: a deletion takes turns out before work, as whoever takes work holds them.
    tenants("sync_work"),
    tenants("sync_turns"),
    tenants("erasure_keys"),
    tenants("erasures"),
    tenants("erased_persons"),
    tenants("retention"),
];

/// Tables whose rows belong to a business or to none: only the system writes and reads the latter.
const AUDIT_TABLES: [Tenants; 2] = [tenants("audit_log"), tenants("audit_chains")];

/// What a business may not do with its own rows of these either, as rights see to it on PostgreSQL: take an entry out
/// (other than with the business itself), or move the beginning of the chain. The schema's own triggers keep everybody
/// from changing an entry.
const AUDIT_RULES: &str = "CREATE TEMP TRIGGER audit_log_kept BEFORE DELETE ON main.audit_log
        WHEN (SELECT business FROM temp.scope) = old.business_id AND EXISTS (SELECT 1 FROM main.businesses WHERE id = old.business_id)
        BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
     CREATE TEMP TRIGGER audit_chains_kept BEFORE DELETE ON main.audit_chains
        WHEN (SELECT business FROM temp.scope) = old.business_id AND EXISTS (SELECT 1 FROM main.businesses WHERE id = old.business_id)
        BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;
     CREATE TEMP TRIGGER audit_chains_anchored BEFORE UPDATE OF anchor_position, anchor_digest ON main.audit_chains
        WHEN (SELECT business FROM temp.scope) = old.business_id
        BEGIN SELECT RAISE(ABORT, 'the audit log is never changed'); END;\n";

/// Tables with nothing of a business in them.
const SHARED_TABLES: [&str; 10] = [
    "users",
    "sessions",
    "user_identities",
    "sign_in_attempts",
    "password_resets",
    "key_canaries",
    "rate_limits",
    "chores",
    "alert_checks",
    "schema_support",
];

/// Whether the word names one of our tables.
pub(crate) fn is_table(word: &str) -> bool {
    tenant_tables().any(|tenants| tenants.table == word) || SHARED_TABLES.contains(&word)
}

/// Whether a table of that name is the program's own, or the database's.
pub(crate) fn is_ours(name: &str) -> bool {
    let theirs = ["sqlite_", "pg_", "_", "tieline_"];
    is_table(name) || name == "scope" || theirs.iter().any(|prefix| name.starts_with(prefix))
}

fn tenant_tables() -> impl Iterator<Item = &'static Tenants> {
    TENANT_TABLES.iter().chain(&AUDIT_TABLES)
}

/// The tables of tenants.
pub fn tables_of_tenants() -> impl Iterator<Item = &'static str> {
    tenant_tables().map(|tenants| tenants.table)
}

/// The tables without rows of tenants.
pub fn shared_tables() -> impl Iterator<Item = &'static str> {
    SHARED_TABLES.into_iter()
}

/// Gives a SQLite connection its views and triggers.
///
/// A row of another business is left alone in silence, as row-level security leaves it, when it is changed or
/// deleted; to write one is an error.
pub(crate) async fn prepare(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut script = "CREATE TEMP TABLE scope (business TEXT NOT NULL, person TEXT NOT NULL);
        INSERT INTO temp.scope VALUES ('', '');\n"
        .to_owned();
    for Tenants { table, business, person } in tenant_tables() {
        let or_person = person.map(|person| format!(" OR {person}")).unwrap_or_default();
        let foreign =
            |row: &str| format!("(SELECT business FROM temp.scope) NOT IN ('*', coalesce({row}.{business}, '-'))");
        script.push_str(&format!(
            "CREATE TEMP VIEW {table} AS
                SELECT * FROM main.{table} WHERE {business} = (SELECT business FROM temp.scope){or_person};
             CREATE TEMP TRIGGER {table}_insert BEFORE INSERT ON main.{table} WHEN {new}
                BEGIN SELECT RAISE(ABORT, 'row of another business'); END;
             CREATE TEMP TRIGGER {table}_update BEFORE UPDATE ON main.{table} WHEN {old} OR {new}
                BEGIN SELECT CASE WHEN {old} THEN RAISE(IGNORE) ELSE RAISE(ABORT, 'row of another business') END; END;
             CREATE TEMP TRIGGER {table}_delete BEFORE DELETE ON main.{table} WHEN {old}
                BEGIN SELECT RAISE(IGNORE); END;\n",
            new = foreign("new"),
            old = foreign("old"),
        ));
    }
    script.push_str(AUDIT_RULES);
    sqlx::Executor::execute(connection, sqlx::AssertSqlSafe(script)).await.map(drop)
}
