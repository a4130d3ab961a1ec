//! What results look like as files, read back by other code than ours.

use std::io::Write;

use arrow_array::RecordBatch;
use futures_util::TryStreamExt;
use tieline_datacloud::output::{Format, Output};

use crate::world::{World, part};

const EVERYTHING: &str = r#"SELECT "id__c", "amount__c", "page__c", "at__c", "day__c", "revenue__c", "converted__c"
                            FROM "WebEngagement__dll" ORDER BY "id__c""#;

async fn batches(world: &World, sql: &str) -> Vec<RecordBatch> {
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    cloud.query(sql).run().await.unwrap().into_stream().try_collect().await.unwrap()
}

fn written(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
    let mut out = Output::new(format, Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| out.write(batch).unwrap());
    out.finish().unwrap()
}

#[tokio::test]
async fn csv_and_json_lines_hold_every_value() {
    let Some(world) = World::with_engine(500).await else { return };
    let batches = batches(&world, EVERYTHING).await;
    let csv = String::from_utf8(written(Format::Csv, &batches)).unwrap();
    let mut lines = csv.lines();
    assert_eq!(lines.next().unwrap(), "id__c,amount__c,page__c,at__c,day__c,revenue__c,converted__c");
    assert_eq!(lines.clone().count(), 500);
    let json = String::from_utf8(written(Format::JsonLines, &batches)).unwrap();
    let mut nulls = 0;
    for (csv, json) in lines.zip(json.lines()) {
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        for (column, cell) in ["id__c", "amount__c", "page__c", "at__c", "day__c", "revenue__c", "converted__c"]
            .into_iter()
            .zip(csv.split(','))
        {
            match &json[column] {
                serde_json::Value::Null => {
                    nulls += 1;
                    assert!(json.get(column).is_some(), "null is written: {json}");
                    assert_eq!(cell, "");
                }
                serde_json::Value::Number(number) if number.is_f64() => {
                    assert_eq!(cell.parse::<f64>().unwrap(), number.as_f64().unwrap());
                }
                serde_json::Value::String(text) => assert_eq!(cell, text),
                other => assert_eq!(cell, other.to_string()),
            }
        }
    }
    assert!(nulls > 0);
}

#[tokio::test]
async fn pyarrow_reads_parquet_and_arrow() {
    let Some(python) = part("TIELINE_TEST_PYARROW") else { return };
    let Some(world) = World::with_engine(5_000).await else { return };
    let batches = batches(&world, EVERYTHING).await;
    let folder = tempfile::tempdir().unwrap();
    for (format, name) in [(Format::Parquet, "x.parquet"), (Format::Arrow, "x.arrows"), (Format::ArrowFile, "x.arrow")]
    {
        std::fs::File::create(folder.path().join(name)).unwrap().write_all(&written(format, &batches)).unwrap();
    }
    let program = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
                   t = pq.read_table(sys.argv[1] + '/x.parquet'); u = pa.ipc.open_stream(sys.argv[1] + '/x.arrows').read_all()\n\
                   assert t.num_rows == u.num_rows == 5000, t.num_rows\n\
                   v = pa.ipc.open_file(sys.argv[1] + '/x.arrow').read_all()\n\
                   assert t.to_pylist() == u.to_pylist() == v.to_pylist()\n\
                   print(t.column('id__c')[4999], t.schema.field('revenue__c').type, t.column('amount__c').null_count > 0)";
    let output = std::process::Command::new(python).args(["-c", program]).arg(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.trim(), "5000 decimal128(18, 2) True");
}

#[tokio::test]
async fn an_empty_result_is_a_file_with_columns() {
    let Some(world) = World::with_engine(5).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let rows = cloud.query(r#"SELECT "id__c" FROM "WebEngagement__dll" WHERE FALSE"#).run().await.unwrap();
    let file = |format| Output::new(format, Vec::new(), rows.schema()).unwrap().finish().unwrap();
    assert_eq!(file(Format::Csv), b"id__c\n");
    assert_eq!(file(Format::JsonLines), b"");
    assert!(file(Format::Parquet).starts_with(b"PAR1") && file(Format::Parquet).ends_with(b"PAR1"));
    assert!(!file(Format::Arrow).is_empty());
}
