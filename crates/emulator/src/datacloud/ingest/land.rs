//! How records that fit get into their table.

use std::path::{Path, PathBuf};

use super::schema::Object;
use crate::datacloud::Engine;
use crate::datacloud::engine::Refused;
use crate::datacloud::tables::literal;

/// What to do with the keys of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Operation {
    /// Replaces whole records: there are no partial updates.
    Upsert,
    Delete,
}

/// A new file where Hyper may read it. Its rows begin with a number, by which the last of several with one key wins.
pub(super) fn file(engine: &Engine) -> PathBuf {
    engine.folder.join("files").join(format!("{:032x}.csv", fastrand::u128(..)))
}

/// Takes a file into the object's table, and removes it. For deletions it has the keys only.
///
/// Between two statements other readers see the table without the records: Hyper has neither `MERGE` for such tables
/// nor a transaction across calls.
pub(super) async fn land(
    engine: &Engine,
    object: &Object,
    operation: Operation,
    file: &Path,
) -> anyhow::Result<Result<(), Refused>> {
    let _alone = engine.writing.lock().await;
    let stage = format!("\"tieline stage {:016x}\"", fastrand::u64(..));
    let landed = steps(engine, object, operation, file, &stage).await;
    // Neither is there if a step before has failed; what matters has been told by then.
    let _ = engine.run(&format!("drop table if exists {stage}"), true).await;
    let _ = std::fs::remove_file(file);
    landed
}

async fn steps(
    engine: &Engine,
    object: &Object,
    operation: Operation,
    file: &Path,
    stage: &str,
) -> anyhow::Result<Result<(), Refused>> {
    let table = format!("\"{}\"", object.table.name);
    let names: Vec<String> = object.table.columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let key = &names[0];
    let columns = match operation {
        Operation::Upsert => object.table.definitions(),
        Operation::Delete => format!("{key} varchar"),
    };
    let mut statements = vec![
        format!("create table {stage} (number bigint, {columns})"),
        format!("copy {stage} from {} with (format csv)", literal(file)),
        format!("delete from {table} where {key} in (select {key} from {stage})"),
    ];
    if operation == Operation::Upsert {
        let names = names.join(", ");
        statements.push(format!(
            "insert into {table} ({names}) select {names} from \
             (select *, row_number() over (partition by {key} order by number desc) as place from {stage}) numbered \
             where place = 1"
        ));
    }
    for statement in statements {
        if let Err(refused) = engine.run(&statement, true).await? {
            return Ok(Err(refused));
        }
    }
    Ok(Ok(()))
}
