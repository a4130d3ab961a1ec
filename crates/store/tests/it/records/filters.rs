//! What a record looks like, and which are found.

use serde_json::json;
use tieline_store::object_tables::{ColumnKind, Deletion};
use tieline_store::records::FilterError;

use super::*;
use crate::database::Db;

on_both!(
    values_are_told_in_json_of_their_kind,
    filters_compare_by_kind,
    hostile_names_and_values_are_only_values,
    a_page_ends_before_it_is_too_long,
);

const KINDS: [(&str, ColumnKind); 8] = [
    ("t", ColumnKind::Text),
    ("i", ColumnKind::Integer),
    ("n", ColumnKind::Number),
    ("b", ColumnKind::Bool),
    ("d", ColumnKind::Date),
    ("at", ColumnKind::DateTime),
    ("tod", ColumnKind::Time),
    ("j", ColumnKind::Json),
];

/// Three records: all kinds, nothing, and what is small.
async fn filled(db: &Db) -> (Tenant, Mapping) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "order", &KINDS).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(8);
    let mut row = rows.row();
    row.text(0, "Ünïcödé 🦀 'quoted' \"\\%_,");
    row.int(1, i64::MAX);
    row.text(2, "-1234567890123456.780");
    row.bool(3, true);
    row.int(4, -165);
    row.int(5, "1969-07-20T20:17:40.123Z".parse::<jiff::Timestamp>().unwrap().as_millisecond());
    row.int(6, 45_296_789);
    row.text(7, r#"{"a":[1,null]}"#);
    row.end("001000000000001AAA", Some(1_000), Some(Deletion::Merged), Some("001000000000002AAA"));
    rows.row().end("001000000000002AAA", None, None, None);
    let mut row = rows.row();
    row.text(0, "");
    row.int(1, 5);
    row.text(2, "0.10");
    row.bool(3, false);
    row.int(4, 20_605);
    row.int(5, 1_780_315_200_000);
    row.int(6, 0);
    row.text(7, "null");
    row.end("001000000000003AAA", Some(0), None, None);
    crate::object_tables::written(&tenant, &run, &mapping, rows, checkpoint(1)).await.unwrap();
    (tenant, mapping)
}

async fn values_are_told_in_json_of_their_kind(db: Db) {
    let (tenant, mapping) = filled(&db).await;
    let source = RecordSource::mapping(&mapping);
    let got = find(&tenant, &source, Asked { start: Start::Ids, ..Asked::default() }).await.unwrap();
    assert_eq!(
        got.records[0],
        json!({
            "id": "001000000000001AAA", "deleted": "merged", "master_id": "001000000000002AAA",
            "stamp": "1970-01-01T00:00:01.000Z", "synced_at": "2026-06-01T12:00:00.000Z",
            "fields": {
                "t": "Ünïcödé 🦀 'quoted' \"\\%_,", "i": "9223372036854775807", "n": "-1234567890123456.78", "b": true,
                "d": "1969-07-20", "at": "1969-07-20T20:17:40.123Z", "tod": "12:34:56.789", "j": {"a": [1, null]},
            },
        })
    );
    let nothing: serde_json::Map<String, Value> =
        KINDS.iter().map(|(name, _)| ((*name).to_owned(), Value::Null)).collect();
    assert_eq!((&got.records[1]["fields"], &got.records[1]["stamp"]), (&Value::Object(nothing), &Value::Null));
    let exact =
        tenant.record(&source, "001000000000003AAA", &source.columns().iter().collect::<Vec<_>>()).await.unwrap();
    let exact = exact.unwrap();
    assert!(exact.get().contains(r#""i":5,"n":0.1,"b":false,"d":"2026-06-01""#), "{exact}");
    assert!(exact.get().contains(r#""at":"2026-06-01T12:00:00.000Z","tod":"00:00:00.000","j":null"#), "{exact}");
    let two = tieline_store::records::chosen(&source, &["n", "t", "n"]).unwrap();
    let some = tenant.record(&source, "001000000000003AAA", &two).await.unwrap().unwrap();
    assert!(some.get().ends_with(r#""fields":{"n":0.1,"t":""}}"#), "{some}");
    assert!(tenant.record(&source, "001", &two).await.unwrap().is_none());
}

async fn filters_compare_by_kind(db: Db) {
    let (tenant, mapping) = filled(&db).await;
    let source = RecordSource::mapping(&mapping);
    for (filter, expected) in [
        (("eq", "t", "Ünïcödé 🦀 'quoted' \"\\%_,"), "1"),
        (("eq", "t", ""), "3"),
        (("ne", "t", ""), "12"),
        (("prefix", "t", "Ünï"), "1"),
        (("prefix", "t", "ünï"), ""),
        (("prefix", "t", "%"), ""),
        (("in", "t", "x,Ünïcödé 🦀 'quoted' \"\\\\%_\\,"), "1"),
        (("in", "i", "5,6"), "3"),
        (("gt", "t", "Z"), "1"),
        (("null", "t", "true"), "2"),
        (("null", "t", "false"), "13"),
        (("gte", "i", "9223372036854775807"), "1"),
        (("lt", "i", "6"), "3"),
        (("eq", "n", "0.1"), "3"),
        (("eq", "n", "1e-1"), "3"),
        (("lt", "n", "0"), "1"),
        (("eq", "n", "-1234567890123456.78"), "1"),
        (("gte", "n", "-1234567890123456.78"), "13"),
        (("in", "n", "0.10,7"), "3"),
        (("eq", "b", "true"), "1"),
        (("ne", "b", "true"), "23"),
        (("lte", "d", "1969-07-20"), "1"),
        (("gt", "d", "1969-07-20"), "3"),
        (("eq", "at", "1969-07-20T22:17:40.123+02:00"), "1"),
        (("gt", "at", "1969-07-20T20:17:40.123Z"), "3"),
        (("eq", "tod", "12:34:56.789"), "1"),
        (("lt", "tod", "00:00:01"), "3"),
        (("null", "j", "true"), "2"),
        (("eq", "id", "001000000000002AAA"), "2"),
        (("gt", "id", "001000000000002AAA"), "3"),
        (("eq", "_master_id", "001000000000002AAA"), "1"),
        (("eq", "_deleted", "merged"), "1"),
        (("eq", "_stamp", "1970-01-01T00:00:01Z"), "1"),
        (("lt", "_synced_at", "2026-06-01T12:00:00Z"), ""),
    ] {
        for start in [Start::Ids, Start::Changes] {
            let got = find(&tenant, &source, Asked { start, filters: &[filter], ..Asked::default() }).await.unwrap();
            let ids: String = got.ids().iter().map(|id| &id[14..15]).collect();
            assert_eq!(ids, expected, "{filter:?}");
        }
    }
    for (deleted, expected) in [(Deleted::Exclude, 2), (Deleted::Include, 3), (Deleted::Only, 1)] {
        assert_eq!(
            find(&tenant, &source, Asked { deleted, ..Asked::default() }).await.unwrap().records.len(),
            expected
        );
    }
    let both: &[_] = &[("gte", "i", "0"), ("lte", "n", "1")];
    assert_eq!(find(&tenant, &source, Asked { filters: both, ..Asked::default() }).await.unwrap().records.len(), 2);
    let since = |time: &str| Asked { start: Start::Since(time.parse().unwrap()), ..Asked::default() };
    assert_eq!(find(&tenant, &source, since("2026-06-01T12:00:00Z")).await.unwrap().records.len(), 3);
    assert!(find(&tenant, &source, since("2026-06-01T12:00:00.001Z")).await.unwrap().records.is_empty());
}

async fn hostile_names_and_values_are_only_values(db: Db) {
    let (tenant, mapping) = filled(&db).await;
    let source = RecordSource::mapping(&mapping);
    let hostile = [
        "' OR '1'='1",
        "'; DROP TABLE \"order\"; --",
        "\" OR 1=1 --",
        "$1",
        "?1",
        "= ANY($1)",
        " FOR UPDATE",
        "\0",
        "\\",
        "%",
        "{}",
    ];
    for text in hostile {
        for operator in ["eq", "prefix", "gt", "in", "ne"] {
            let got = find(&tenant, &source, Asked { filters: &[(operator, "t", text)], ..Asked::default() }).await;
            assert!(got.unwrap().records.len() < 4, "{operator} {text}");
        }
        assert!(
            find(&tenant, &source, Asked { filters: &[("eq", "t", text)], ..Asked::default() })
                .await
                .unwrap()
                .records
                .is_empty()
        );
        assert!(matches!(Filter::new(&source, "eq", text, "x"), Err(FilterError::Column { .. })), "{text}");
        assert!(matches!(Filter::new(&source, text, "t", "x"), Err(FilterError::Operator { .. })), "{text}");
        for column in ["i", "n", "b", "d", "at", "tod"] {
            assert!(
                matches!(Filter::new(&source, "eq", column, text), Err(FilterError::Value { .. })),
                "{column} {text}"
            );
        }
        assert!(tenant.record(&source, text, &[]).await.unwrap().is_none());
    }
    assert!(matches!(Filter::new(&source, "eq", "j", "{}"), Err(FilterError::Unfit { .. })));
    assert!(matches!(Filter::new(&source, "prefix", "i", "1"), Err(FilterError::Unfit { .. })));
    let Err(FilterError::Column { nearest, .. }) = Filter::new(&source, "eq", "todd", "x") else { panic!() };
    assert_eq!(nearest, "tod");
    let Err(FilterError::Operator { nearest, .. }) = Filter::new(&source, "prefx", "t", "x") else { panic!() };
    assert_eq!(nearest, "prefix");
    assert_eq!(find(&tenant, &source, Asked::default()).await.unwrap().records.len(), 3, "nothing was done");
}

async fn a_page_ends_before_it_is_too_long(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let (mapping, run) = scene(&tenant, integration).await;
    let long = "x".repeat(1_500_000);
    for (second, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        write(&tenant, &run, &mapping, &[id], &long, second as i64).await;
    }
    let source = RecordSource::mapping(&mapping);
    let first = find(&tenant, &source, Asked::default()).await.unwrap();
    assert_eq!((first.ids(), first.more), (vec!["a", "b", "c"], true), "four megabytes and what goes over");
    let rest = find(&tenant, &source, Asked { start: after(&mapping, &first.next), ..Asked::default() }).await.unwrap();
    assert_eq!((rest.ids(), rest.more), (vec!["d", "e"], false));
}
