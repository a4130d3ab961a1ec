//! All of a business, row by row, for it to take along: everything but secrets and what is sealed.
//!
//! Each column is named here, or named as one that stays behind: one that nobody has thought about is in no export, and
//! a test asks either database for columns that stand in neither list.

use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::audit::Action;
use crate::error::StoreError;
use crate::open::Tenant;
use crate::sql::{Row, Tx};
use crate::{object_tables, personal_data};

/// Bytes of one piece of the stream.
const PIECE: usize = 64 * 1024;

/// Pieces that wait for whoever reads.
const WAITING: usize = 4;

/// How long a reader may take for a piece: it holds a connection to the database, and the moment that it reads from.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long all of it may take: it reads from one moment, which the database keeps for it.
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// How a column is written.
#[derive(Debug, Clone, Copy)]
enum As {
    Id,
    Text,
    Int,
    Bool,
    Time,
    Json,
    Hex,
}

use As::{Bool, Hex, Id, Int, Json, Text, Time};

struct Exported {
    table: &'static str,
    columns: &'static [(&'static str, As)],
    /// Secrets, what is sealed, and what is only of use here.
    left_out: &'static [&'static str],
}

const TABLES: [Exported; 29] = [
    Exported {
        table: "businesses",
        columns: &[("id", Id), ("name", Text), ("settings", Json), ("created_at", Time)],
        left_out: &[],
    },
    Exported {
        table: "team_members",
        columns: &[("business_id", Id), ("user_id", Id), ("role", Text), ("created_at", Time)],
        left_out: &[],
    },
    Exported {
        table: "invitations",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("email", Text),
            ("role", Text),
            ("invited_by", Id),
            ("created_at", Time),
            ("expires_at", Time),
        ],
        left_out: &["token_hash"],
    },
    Exported {
        table: "api_keys",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("name", Text),
            ("prefix", Text),
            ("role", Text),
            ("created_by", Id),
            ("created_at", Time),
            ("last_used_at", Time),
            ("expires_at", Time),
            ("revoked_at", Time),
        ],
        left_out: &["key_hash"],
    },
    Exported {
        table: "integrations",
        columns: &[
            ("failed_runs", Int),
            ("id", Id),
            ("business_id", Id),
            ("name", Text),
            ("type", Text),
            ("status", Text),
            ("status_reason", Text),
            ("config", Json),
            ("organization_id", Text),
            ("last_sync_at", Time),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        left_out: &["credentials", "generation"],
    },
    Exported {
        table: "contacts",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("integration_id", Id),
            ("source_type", Text),
            ("source_id", Text),
            ("first_name", Text),
            ("last_name", Text),
            ("name", Text),
            ("email", Text),
            ("phone", Text),
            ("company", Text),
            ("title", Text),
            ("source_metadata", Json),
            ("tags", Json),
            ("custom_fields", Json),
            ("source_stamp", Time),
            ("deleted", Bool),
            ("sync_status", Text),
            ("last_synced_at", Time),
            ("created_at", Time),
            ("merged_into", Id),
            ("merged_fields", Json),
        ],
        left_out: &["change", "matched"],
    },
    Exported {
        table: "leads",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("integration_id", Id),
            ("source_type", Text),
            ("source_id", Text),
            ("first_name", Text),
            ("last_name", Text),
            ("name", Text),
            ("email", Text),
            ("phone", Text),
            ("company", Text),
            ("title", Text),
            ("source_metadata", Json),
            ("tags", Json),
            ("custom_fields", Json),
            ("campaign", Text),
            ("source_stamp", Time),
            ("sync_status", Text),
            ("last_synced_at", Time),
            ("created_at", Time),
            ("updated_at", Time),
            ("merged_into", Id),
            ("merged_fields", Json),
        ],
        left_out: &["search_text", "matched"],
    },
    Exported {
        table: "match_rules",
        columns: &[
            ("business_id", Id),
            ("rules", Json),
            ("default_region", Text),
            ("provider_rules", Bool),
            ("updated_at", Time),
        ],
        left_out: &["rescan"],
    },
    Exported {
        table: "duplicates",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("contact_a", Id),
            ("contact_b", Id),
            ("lead_a", Id),
            ("lead_b", Id),
            ("rule", Text),
            ("agreed", Json),
            ("state", Text),
            ("kept_id", Id),
            ("merged_id", Id),
            ("fields", Json),
            ("cause", Id),
            ("decided_by", Text),
            ("decided_at", Time),
            ("created_at", Time),
        ],
        left_out: &["before", "after"],
    },
    Exported {
        table: "imports",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("integration_id", Id),
            ("idempotency_key", Text),
            ("campaign", Text),
            ("tags", Json),
            ("state", Text),
            ("error", Text),
            ("total", Int),
            ("created", Int),
            ("updated", Int),
            ("unchanged", Int),
            ("failed", Int),
            ("skipped_erased", Int),
            ("created_by", Text),
            ("created_at", Time),
            ("finished_at", Time),
        ],
        left_out: &["request_hash", "leased_until", "fence"],
    },
    Exported {
        table: "import_rows",
        columns: &[
            ("business_id", Id),
            ("import_id", Id),
            ("position", Int),
            ("source_id", Text),
            ("outcome", Text),
            ("lead_id", Id),
            ("error", Text),
        ],
        left_out: &[],
    },
    Exported {
        table: "checkpoints",
        columns: &[
            ("business_id", Id),
            ("integration_id", Id),
            ("object", Text),
            ("through", Time),
            ("scan_stamp", Time),
            ("scan_id", Text),
            ("scan_until", Time),
        ],
        left_out: &["fence", "changes"],
    },
    Exported {
        table: "alert_channels",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("name", Text),
            ("kind", Text),
            ("shown", Text),
            ("enabled", Bool),
            ("last_success_at", Time),
            ("last_failure_at", Time),
            ("last_error", Text),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        left_out: &["setting"],
    },
    Exported {
        table: "alert_rules",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("kind", Text),
            ("integration_id", Id),
            ("settings", Json),
            ("quiet_seconds", Int),
            ("enabled", Bool),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        left_out: &[],
    },
    Exported {
        table: "alert_rule_channels",
        columns: &[("business_id", Id), ("rule_id", Id), ("channel_id", Id)],
        left_out: &[],
    },
    Exported {
        table: "notifications",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("dedup_key", Text),
            ("kind", Text),
            ("integration_id", Id),
            ("severity", Text),
            ("title", Text),
            ("detail", Text),
            ("hint", Text),
            ("state", Text),
            ("count", Int),
            ("opened_at", Time),
            ("last_at", Time),
            ("acknowledged_by", Text),
            ("acknowledged_at", Time),
            ("resolved_at", Time),
        ],
        left_out: &[],
    },
    Exported {
        table: "alert_deliveries",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("channel_id", Id),
            ("notification_id", Id),
            ("event", Text),
            ("state", Text),
            ("payload", Json),
            ("folded", Int),
            ("attempts", Int),
            ("next_attempt_at", Time),
            ("status", Int),
            ("error", Text),
            ("created_at", Time),
            ("ended_at", Time),
        ],
        left_out: &["leased_until"],
    },
    Exported {
        table: "mappings",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("integration_id", Id),
            ("name", Text),
            ("object", Text),
            ("table_name", Text),
            ("definition", Json),
            ("columns", Json),
            ("state", Text),
            ("state_reason", Text),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        left_out: &["plan"],
    },
    Exported {
        table: "row_errors",
        columns: &[
            ("business_id", Id),
            ("mapping_id", Id),
            ("record_id", Text),
            ("column_name", Text),
            ("run_id", Id),
            ("reason", Text),
            ("value", Text),
            ("at", Time),
        ],
        left_out: &[],
    },
    Exported {
        table: "record_webhooks",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("mapping_id", Id),
            ("shown", Text),
            ("fields", Json),
            ("include_records", Bool),
            ("enabled", Bool),
            ("disabled_reason", Text),
            ("last_success_at", Time),
            ("last_failure_at", Time),
            ("last_error", Text),
            ("created_at", Time),
            ("updated_at", Time),
        ],
        // Places in a feed of this database, and who sends.
        left_out: &[
            "setting",
            "position_change",
            "position_id",
            "sending_change",
            "sending_id",
            "rewinds",
            "attempts",
            "next_attempt_at",
            "fence",
            "leased_until",
        ],
    },
    Exported {
        table: "sync_work",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("kind", Text),
            ("integration_id", Id),
            ("mapping_id", Id),
            ("pace", Text),
            ("priority", Int),
            ("due_at", Time),
            ("retry_at", Time),
            ("failures", Int),
            ("started_at", Time),
            ("ended_at", Time),
            ("outcome", Text),
            ("error", Text),
        ],
        left_out: &["requested", "taken", "served", "ready_at", "owner", "leased_until", "fence"],
    },
    Exported {
        table: "runs",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("integration_id", Id),
            ("mapping_id", Id),
            ("object", Text),
            ("state", Text),
            ("started_at", Time),
            ("finished_at", Time),
            ("rows_read", Int),
            ("inserted", Int),
            ("updated", Int),
            ("deleted", Int),
            ("api_calls", Int),
            ("bytes", Int),
            ("drift_found", Int),
            ("failed_cells", Int),
            ("retry_at", Time),
            ("error", Text),
        ],
        left_out: &["fence", "last_change"],
    },
    Exported {
        table: "integration_logs",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("integration_id", Id),
            ("event", Text),
            ("level", Text),
            ("message", Text),
            ("detail", Json),
            ("at", Time),
        ],
        left_out: &[],
    },
    Exported {
        table: "erasures",
        columns: &[("id", Id), ("business_id", Id), ("removed", Json), ("created_at", Time)],
        left_out: &[],
    },
    Exported {
        table: "erased_persons",
        columns: &[("business_id", Id), ("digest", Text), ("erasure_id", Id), ("source_type", Text)],
        left_out: &[],
    },
    Exported {
        table: "retention",
        columns: &[
            ("business_id", Id),
            ("log_days", Int),
            ("audit_days", Int),
            ("import_days", Int),
            ("lead_days", Int),
            ("contact_days", Int),
            ("updated_at", Time),
        ],
        left_out: &[],
    },
    // The digests let whoever has the export follow the chain.
    Exported {
        table: "audit_log",
        columns: &[
            ("id", Id),
            ("business_id", Id),
            ("position", Int),
            ("at", Time),
            ("actor_type", Text),
            ("actor_id", Text),
            ("action", Text),
            ("outcome", Text),
            ("target_type", Text),
            ("target_id", Text),
            ("detail", Text),
            ("address", Text),
            ("digest", Hex),
        ],
        left_out: &[],
    },
    Exported {
        table: "audit_chains",
        columns: &[
            ("business_id", Id),
            ("anchor_position", Int),
            ("anchor_digest", Hex),
            ("head_position", Int),
            ("head_digest", Hex),
        ],
        left_out: &[],
    },
    // Of the members alone.
    Exported {
        table: "users",
        columns: &[("id", Id), ("email", Text), ("name", Text), ("created_at", Time)],
        left_out: &["password_hash", "disabled_at"],
    },
];

/// Tables of tenants of which nothing is exported: keys, tokens, logins under way, turns in the queue, and digests that follow
/// from rows.
const LEFT_OUT: [&str; 7] = [
    "data_keys",
    "integration_tokens",
    "login_attempts",
    "erasure_keys",
    "mapping_checkpoints",
    "sync_turns",
    "match_keys",
];

/// Whether anybody has decided about a column. For a test.
#[doc(hidden)]
pub fn is_decided(table: &str, column: &str) -> bool {
    LEFT_OUT.contains(&table)
        || TABLES.iter().filter(|exported| exported.table == table).any(|exported| {
            exported.columns.iter().any(|(name, _)| *name == column) || exported.left_out.contains(&column)
        })
}

/// A row as the export has it.
pub(crate) fn as_json(table: &str, row: &Row) -> Result<Value, StoreError> {
    let mut fields = Map::new();
    for (name, kind) in TABLES.iter().find(|exported| exported.table == table).map_or(&[][..], |e| e.columns) {
        let value: Option<Value> = match kind {
            Id => row.find::<Uuid>(name)?.map(|id| id.to_string().into()),
            Text => row.find::<String>(name)?.map(Value::from),
            Int => row.find::<i64>(name)?.map(Value::from),
            Bool => row.find::<bool>(name)?.map(Value::from),
            Time => row.find::<Timestamp>(name)?.map(|time| time.to_string().into()),
            Json => row.find::<Value>(name)?,
            Hex => {
                let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                row.find::<Vec<u8>>(name)?.map(|bytes| hex(bytes).into())
            }
        };
        fields.insert((*name).to_owned(), value.unwrap_or_default());
    }
    Ok(Value::Object(fields))
}

impl Tenant {
    /// All rows of the business as lines of JSON, `{"table":…,"row":…}`, as they were at one moment; those of mappings behind
    /// the others, under the names of their tables. Some 64 kB at a time
    /// are in memory. That it was asked for stands in the audit log before the first line.
    ///
    /// A reader that takes no piece for a minute gets an error, and so does one whose database fails: what ends without
    /// an error is whole.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing is sent.
    pub async fn export(
        &self,
        now: Timestamp,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, StoreError>> + Send + use<>, StoreError> {
        let mut tx = self.write("beginning an export").await?;
        let business = self.business();
        self.note(&mut tx, Action::BusinessExported, Some(("business", business)), json!({}), now).await?;
        tx.commit().await?;
        let mut tx = self.snapshot("exporting a business").await?;
        let (send, receive) = mpsc::channel(WAITING);
        // In a task of its own: it goes on while its reader does something else, and ends with its reader.
        tokio::spawn(async move {
            let written = tokio::time::timeout(LONGEST, write_all(&mut tx, business, &send)).await;
            let written = written.unwrap_or_else(|_| Err(too_slow()));
            // Before the reader is told, which may take for ever.
            drop(tx);
            if let Err(error) = written {
                let _ = send.send(Err(error)).await;
            }
        });
        Ok(stream::unfold(receive, |mut receive| async move { Some((receive.recv().await?, receive)) }))
    }
}

type Pieces = mpsc::Sender<Result<Vec<u8>, StoreError>>;

async fn write_all(tx: &mut Tx, business: Uuid, to: &Pieces) -> Result<(), StoreError> {
    let mut piece = Vec::with_capacity(PIECE + 4_096);
    for Exported { table, columns, .. } in &TABLES {
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let of = match *table {
            "businesses" => "id = $1",
            "users" => "id IN (SELECT user_id FROM team_members WHERE business_id = $1)",
            _ => "business_id = $1",
        };
        let mut rows =
            tx.query(format!("SELECT {} FROM {table} WHERE {of}", names.join(", "))).bind(business).stream()?;
        while let Some(row) = rows.next().await {
            let row = as_json(table, &row?)?;
            piece.extend_from_slice(format!("{{\"table\":\"{table}\",\"row\":{row}}}\n").as_bytes());
            if piece.len() >= PIECE {
                let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE + 4_096));
                if !sent(to, full).await? {
                    return Ok(());
                }
            }
        }
    }
    for table in personal_data::tables(tx, business).await? {
        let sql = object_tables::select(&table, tx.is_postgres());
        let mut rows = tx.query(sql).stream()?;
        while let Some(row) = rows.next().await {
            let row = object_tables::as_json(&table, &row?)?;
            piece.extend_from_slice(format!("{{\"table\":\"{}\",\"row\":{row}}}\n", table.name()).as_bytes());
            if piece.len() >= PIECE {
                let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE + 4_096));
                if !sent(to, full).await? {
                    return Ok(());
                }
            }
        }
    }
    sent(to, piece).await.map(drop)
}

fn too_slow() -> StoreError {
    let reason = std::io::Error::other("its reader has taken half an hour");
    StoreError::doing("exporting a business")(sqlx::Error::Io(reason))
}

/// False: nobody reads any more.
async fn sent(to: &Pieces, piece: Vec<u8>) -> Result<bool, StoreError> {
    match tokio::time::timeout(PATIENCE, to.send(Ok(piece))).await {
        Ok(sent) => Ok(sent.is_ok()),
        Err(_) => Err(StoreError::doing("exporting a business")(sqlx::Error::Io(std::io::Error::other(
            "nobody has read for a minute",
        )))),
    }
}
