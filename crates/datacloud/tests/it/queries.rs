//! SQL over gRPC to a real Hyper.

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use futures_util::TryStreamExt;
use jiff::Timestamp;
use tieline_datacloud::{DataCloud, DataCloudError, ParameterStyle, Results, Transfer, Value};

use crate::world::World;

pub(crate) const SERIES: &str = "SELECT g AS id, CAST(g * 1.5 AS DOUBLE PRECISION) AS v, 'name ' || g AS n \
                      FROM generate_series(1, 1000000) g(g)";

/// Reads everything; the ids must be those of the series, each once. Answers how many there were.
pub(crate) async fn all_ids(rows: &mut Results) -> Result<Vec<i32>, DataCloudError> {
    let mut ids = Vec::new();
    while let Some(batch) = rows.next().await? {
        ids.extend(batch.column(0).as_primitive::<Int32Type>().values());
    }
    Ok(ids)
}

pub(crate) fn each_once(mut ids: Vec<i32>, count: i32) {
    assert_eq!(ids.len(), count as usize);
    ids.sort_unstable();
    assert!(ids.iter().copied().eq(1..=count), "each row once");
}

async fn one(cloud: &DataCloud, sql: &str) -> RecordBatch {
    let mut rows = cloud.query(sql).run().await.unwrap();
    let batch = rows.next().await.unwrap().unwrap();
    assert!(rows.next().await.unwrap().is_none());
    batch
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rows_come_once_in_every_mode() {
    let Some(world) = World::with_engine(100).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    for transfer in [Transfer::Adaptive, Transfer::Async, Transfer::Sync] {
        let mut rows = cloud.query(SERIES).transfer(transfer).run().await.unwrap();
        let names: Vec<&str> = rows.schema().fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["id", "v", "n"]);
        each_once(all_ids(&mut rows).await.unwrap(), 1_000_000);
        let status = rows.status();
        assert!(status.complete && status.rows == 1_000_000 && status.progress == 1.0, "{status:?}");
        // By its id, from the first row again, as another process would.
        let mut again = cloud.results(&status.query_id).await.unwrap();
        assert_eq!(again.schema(), rows.schema());
        each_once(all_ids(&mut again).await.unwrap(), 1_000_000);
    }
    let batches: Vec<_> = cloud.query(SERIES).run().await.unwrap().into_stream().try_collect().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000_000);
}

#[tokio::test]
async fn columns_have_the_types_of_the_tenant() {
    let Some(world) = World::with_engine(1_000).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let sql = r#"SELECT "id__c", "amount__c", "page__c", "at__c", "day__c", "revenue__c", "converted__c"
                 FROM "WebEngagement__dll" ORDER BY "id__c" LIMIT 100"#;
    let batch = one(&cloud, sql).await;
    assert_eq!(batch.num_rows(), 100);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 1);
    assert!(batch.column(1).as_primitive::<Float64Type>().null_count() > 0);
    assert!(batch.column(5).as_primitive::<Decimal128Type>().null_count() > 0);
    assert!(
        batch.column(3).as_any().is::<arrow_array::PrimitiveArray<TimestampMicrosecondType>>(),
        "{:?}",
        batch.schema()
    );
    let people = one(&cloud, r#"SELECT COUNT(*) FROM "ssot__Individual__dlm""#).await;
    assert_eq!(people.column(0).as_primitive::<Int64Type>().value(0), 25, "the org's own contacts");
    // None at all is an answer too.
    let mut none = cloud.query(r#"SELECT "id__c" FROM "WebEngagement__dll" WHERE "id__c" < 0"#).run().await.unwrap();
    assert_eq!((none.schema().fields().len(), none.next().await.unwrap()), (1, None));
    // The schema alone.
    let mut none = cloud.query(SERIES).row_limit(0).run().await.unwrap();
    assert_eq!((none.schema().fields().len(), none.next().await.unwrap()), (3, None));
    let mut few = cloud.query(SERIES).row_limit(7).run().await.unwrap();
    assert_eq!(all_ids(&mut few).await.unwrap().len(), 7);
}

#[tokio::test]
async fn values_are_bound_and_come_back_as_they_are() {
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let at: Timestamp = "2026-11-28T12:34:56.789012Z".parse().unwrap();
    let date = jiff::civil::date(1999, 12, 31);
    let evil = "'; DROP TABLE x; -- \"ä€😀\\ \0".replace('\0', "");
    let values: Vec<(Value, &str)> = vec![
        (true.into(), "boolean"),
        ((-7_i64).into(), "bigint"),
        (i64::MAX.into(), "bigint"),
        (0.1.into(), "double precision"),
        (1e300.into(), "double precision"),
        (Value::Decimal("-12345678901234567890.123456".to_owned()), "numeric(26,6)"),
        (evil.as_str().into(), "text"),
        ("".into(), "text"),
        (date.into(), "date"),
        (at.into(), "timestamptz"),
    ];
    for (value, kind) in &values {
        let sql = format!("SELECT ? = CAST(CAST(? AS TEXT) AS {kind}), ? IS NULL");
        let mut rows =
            cloud.query(sql).bind(value.clone()).bind(value.clone()).bind(value.clone()).run().await.unwrap();
        let batch = rows.next().await.unwrap().unwrap();
        assert!(batch.column(0).as_boolean().value(0) && !batch.column(1).as_boolean().value(0), "{value:?}");
    }
    let text = |batch: &RecordBatch, column: usize| batch.column(column).as_string::<i32>().value(0).to_owned();
    let mut rows = cloud
        .query("SELECT $2 || $1, $2")
        .style(ParameterStyle::Numbered)
        .bind("one")
        .bind(evil.as_str())
        .run()
        .await
        .unwrap();
    let batch = rows.next().await.unwrap().unwrap();
    assert_eq!((text(&batch, 0), text(&batch, 1)), (format!("{evil}one"), evil.clone()));
    let mut rows = cloud
        .query("SELECT :who || :what, :none_at_all IS NULL")
        .bind_named("what", "!")
        .bind_named("who", "you")
        .bind_named("none_at_all", None::<String>)
        .run()
        .await
        .unwrap();
    let batch = rows.next().await.unwrap().unwrap();
    assert_eq!((text(&batch, 0), batch.column(1).as_boolean().value(0)), ("you!".to_owned(), true));
    let error = cloud.query("SELECT ?, :x").bind(1).bind_named("x", 1).run().await.unwrap_err();
    assert!(error.hint().contains("bind_named"), "{error}");
}

#[tokio::test]
async fn a_wrong_statement_is_told_with_its_place() {
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let refused = |error: DataCloudError| match error {
        DataCloudError::Query(refused) => *refused,
        other => panic!("{other}"),
    };
    let error = cloud.query("SELECT 'äöü€',\n  nosuch(1)").run().await.unwrap_err();
    let text = error.to_string();
    let refused_here = refused(error);
    assert_eq!((refused_here.sqlstate.as_str(), refused_here.place().unwrap().0), ("42883", 2), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let caret = lines[2].find('^').unwrap();
    assert!(lines[1][caret..].starts_with("nosuch"), "{text}");
    let error = cloud.query("SELECT * FROM nosuch").run().await.unwrap_err();
    assert!(error.hint().contains("tieline datacloud objects"), "{}", error.hint());
    assert!(!error.is_transient() && refused(error).by_user);
    // One that fails while it runs, after the answer has begun; the reason is told whoever asks for it.
    let late = "SELECT 1 / (g - 900000) FROM generate_series(1, 1000000) g(g)";
    for transfer in [Transfer::Adaptive, Transfer::Async] {
        let outcome = match cloud.query(late).transfer(transfer).run().await {
            Ok(mut rows) => all_ids(&mut rows).await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert_eq!(refused(outcome.unwrap_err()).message, "division by zero", "{transfer:?}");
    }
    let error = cloud.results("OjA_no-such-query").await.unwrap_err();
    assert!(error.to_string().starts_with("looking at query OjA_no-such-query failed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_can_be_watched_and_ended() {
    const LONG: &str = "SELECT COUNT(*) FROM generate_series(1, 3000000) a(a), generate_series(1, 30000) b(b) \
                        WHERE a % 7 = b % 5";
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let rows = cloud.query(LONG).transfer(Transfer::Async).run().await.unwrap();
    let id = rows.status().query_id;
    assert!(!cloud.query_status(&id).await.unwrap().complete);
    rows.cancel().await.unwrap();
    assert_eq!(ended(&cloud, &id).await, "canceled by user");
    // One that nobody reads any more ends by itself.
    let rows = cloud.query(LONG).transfer(Transfer::Async).run().await.unwrap();
    let id = rows.status().query_id;
    drop(rows);
    assert_eq!(ended(&cloud, &id).await, "canceled by user");
}

async fn ended(cloud: &DataCloud, id: &str) -> String {
    for _ in 0..600 {
        match cloud.query_status(id).await {
            Err(DataCloudError::Query(refused)) => return refused.message,
            Err(error) => panic!("{error}"),
            Ok(status) => assert!(!status.complete, "it was to be ended"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{id} still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_nobody_reads_hold_nobody_up() {
    let Some(world) = World::with_engine(10).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut rows = cloud.query(SERIES).run().await.unwrap();
        rows.next().await.unwrap().unwrap();
        waiting.push(rows);
    }
    let mut last = cloud.query(SERIES).run().await.unwrap();
    each_once(all_ids(&mut last).await.unwrap(), 1_000_000);
}

#[tokio::test]
async fn the_same_rows_come_by_rest() {
    let Some(world) = World::with_engine(12_345).await else { return };
    let cloud = world.cloud(&world.provider(world.jwt(), world.settings()));
    let sql = r#"SELECT "id__c", "amount__c", "page__c", "at__c", "day__c", "revenue__c", "converted__c"
                 FROM "WebEngagement__dll" ORDER BY "id__c""#;
    let mut rest = cloud.query_by_rest(sql).await.unwrap();
    let mut pages = Vec::new();
    while let Some(page) = rest.next().await.unwrap() {
        pages.push(page);
    }
    assert!(pages.len() > 1 && rest.rows() == 12_345, "{} pages", pages.len());
    let grpc: Vec<RecordBatch> = cloud.query(sql).run().await.unwrap().into_stream().try_collect().await.unwrap();
    let csv = |batches: &[RecordBatch]| {
        use tieline_datacloud::output::{Format, Output};
        let mut out = Output::new(Format::JsonLines, Vec::new(), &batches[0].schema()).unwrap();
        batches.iter().for_each(|batch| out.write(batch).unwrap());
        String::from_utf8(out.finish().unwrap()).unwrap()
    };
    let (by_rest, by_grpc) = (csv(&pages), csv(&grpc));
    let parsed =
        |text: &str| -> Vec<serde_json::Value> { text.lines().map(|l| serde_json::from_str(l).unwrap()).collect() };
    for (left, right) in parsed(&by_rest).into_iter().zip(parsed(&by_grpc)) {
        for column in ["id__c", "amount__c", "page__c", "at__c", "day__c", "converted__c"] {
            assert_eq!(left[column], right[column], "{column} of {left}");
        }
        // Over REST, numbers have the places that Data Cloud keeps.
        let number = |value: &serde_json::Value| value.as_str().map(str::to_owned).unwrap_or(value.to_string());
        let (left, right) = (number(&left["revenue__c"]), number(&right["revenue__c"]));
        assert!(left.trim_end_matches('0') == right.trim_end_matches('0'), "{left} {right}");
    }
    let error = cloud.query_by_rest("SELECT * FROM nosuch").await.unwrap_err();
    assert!(error.to_string().contains("nosuch"), "{error}");
}
