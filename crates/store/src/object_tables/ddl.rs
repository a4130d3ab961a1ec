//! Making and changing the tables.

use std::fmt::Write;

use uuid::Uuid;

use super::table::{ColumnKind, ObjectTable, quoted};

/// The type of a column in either database.
fn type_of(kind: ColumnKind, postgres: bool) -> &'static str {
    match (kind, postgres) {
        (ColumnKind::Text, _) => "text",
        (ColumnKind::Integer, true) => "bigint",
        (ColumnKind::Number, true) => "numeric",
        (ColumnKind::Bool, true) => "boolean",
        (ColumnKind::Date, true) => "date",
        (ColumnKind::DateTime, true) => "timestamptz",
        (ColumnKind::Time, true) => "time",
        (ColumnKind::Json, true) => "jsonb",
        (ColumnKind::Integer | ColumnKind::Bool, false) => "integer",
        // In a strict table this keeps a value as it is given: a number where that is exact, else its digits.
        (ColumnKind::Number, false) => "any",
        (ColumnKind::Date | ColumnKind::DateTime | ColumnKind::Time | ColumnKind::Json, false) => "text",
    }
}

/// The statements that make the table, and on PostgreSQL keep it for its business alone.
pub(crate) fn create(table: &ObjectTable, business: Uuid, postgres: bool) -> Vec<String> {
    let name = quoted(table.name());
    // Ids are compared by byte, as the org and SQLite do it.
    let (id, time, change) =
        if postgres { ("text COLLATE \"C\"", "timestamptz", "bigint") } else { ("text", "text", "integer") };
    let mut sql = format!("CREATE TABLE {name} (\"id\" {id} PRIMARY KEY NOT NULL");
    for column in table.columns() {
        let _ = write!(sql, ", {} {}", quoted(&column.name), type_of(column.kind, postgres));
    }
    let _ = write!(
        sql,
        ", \"_stamp\" {time}, \"_deleted\" text, \"_master_id\" {id}, \"_synced_at\" {time} NOT NULL, \"_change\" {change} NOT NULL)"
    );
    if !postgres {
        sql.push_str(" STRICT");
    }
    // For whoever reads what has changed since: the cursor of the feed.
    let index = format!("CREATE INDEX {} ON {name} (\"_change\", \"id\")", index_name(table.name()));
    let mut statements = vec![sql, index];
    if postgres {
        statements.extend([
            format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"),
            // All rows are one business's: it needs no column for that. Asked for by a query of its own, it is asked for once
            // a statement, and not for each row.
            format!(
                "CREATE POLICY business ON {name} TO tieline_app USING ((SELECT tieline_business()) = '{business}')
                 WITH CHECK ((SELECT tieline_business()) = '{business}')"
            ),
            format!("CREATE POLICY everybody ON {name} TO tieline_system USING (true) WITH CHECK (true)"),
            format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO tieline_app, tieline_system"),
        ]);
    }
    statements
}

/// The statements that give the table its columns, where `there` are those that it has: columns are renamed where they
/// still have their old name, and added where they are missing.
pub(crate) fn alter(
    table: &ObjectTable,
    there: &[String],
    renamed: &[(String, String)],
    postgres: bool,
) -> Vec<String> {
    let name = quoted(table.name());
    let mut there: Vec<&str> = there.iter().map(String::as_str).collect();
    let mut statements = Vec::new();
    for (old, new) in renamed {
        if there.contains(&old.as_str()) && !there.contains(&new.as_str()) {
            statements.push(format!("ALTER TABLE {name} RENAME COLUMN {} TO {}", quoted(old), quoted(new)));
            there.retain(|column| column != old);
        }
    }
    for column in table.columns().iter().filter(|column| !there.contains(&column.name.as_str())) {
        let kind = type_of(column.kind, postgres);
        statements.push(format!("ALTER TABLE {name} ADD COLUMN {} {kind}", quoted(&column.name)));
    }
    statements
}

pub(crate) fn drop_table(table: &str) -> String {
    format!("DROP TABLE IF EXISTS {}", quoted(table))
}

/// PostgreSQL keeps 63 bytes of a name, and two tables may begin alike.
fn index_name(table: &str) -> String {
    let digest = crate::digest::Digest::of(table);
    let short: String = digest.as_bytes().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    quoted(&format!("{}_feed_{short}", &table[..table.len().min(40)]))
}
