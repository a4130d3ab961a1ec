//! All of a business, row by row, for it to take along: everything but secrets and what is sealed.
//!
//! Each column is named in `tables`, or named there as one that stays behind: one that nobody has thought about is in no export, and
//! a test asks either database for columns that stand in neither list.

mod tables;

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
use tables::As::{Bool, Hex, Id, Int, Json, Text, Time};
use tables::{Exported, TABLES};

pub use tables::is_decided;

/// Bytes of one piece of the stream.
const PIECE: usize = 64 * 1024;

/// Pieces that wait for whoever reads.
const WAITING: usize = 4;

/// How long a reader may take for a piece: it holds a connection to the database, and the moment that it reads from.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long all of it may take: it reads from one moment, which the database keeps for it.
const LONGEST: Duration = Duration::from_secs(30 * 60);

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
    /// the others, under the names of their tables. Some 64 kB at a time are in memory. That it was asked for stands in the audit log before the first line.
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
            if !put(&mut piece, table, &as_json(table, &row?)?, to).await? {
                return Ok(());
            }
        }
    }
    for table in personal_data::tables(tx, business).await? {
        let sql = object_tables::select(&table, tx.is_postgres());
        let mut rows = tx.query(sql).stream()?;
        while let Some(row) = rows.next().await {
            if !put(&mut piece, table.name(), &object_tables::as_json(&table, &row?)?, to).await? {
                return Ok(());
            }
        }
    }
    sent(to, piece).await.map(drop)
}

/// A line; and the piece, if it is full. False: nobody reads any more.
async fn put(piece: &mut Vec<u8>, table: &str, row: &Value, to: &Pieces) -> Result<bool, StoreError> {
    piece.extend_from_slice(format!("{{\"table\":\"{table}\",\"row\":{row}}}\n").as_bytes());
    if piece.len() < PIECE {
        return Ok(true);
    }
    sent(to, std::mem::replace(piece, Vec::with_capacity(PIECE + 4_096))).await
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
