//! Tables of mappings: every kind of value comes back as it was written, and rows, checkpoint and counters are one.

use jiff::Timestamp;
use serde_json::json;
use tieline_store::mappings::{Mapping, MappingStep, NewMapping, RowError, Spent, Standing, TableChange};
use tieline_store::object_tables::{Change, Column, ColumnKind, Deletion, Rows, StagedRows};
use tieline_store::{Checkpoint, NewUser, Position, Run, StepOutcome, Store, StoreError, Tenant, Uuid};

use crate::database::{Db, Place, now};

on_both!(
    every_kind_of_value_is_kept_as_it_is,
    what_is_newer_replaces_and_what_is_the_same_touches_nothing,
    a_page_with_a_record_twice_keeps_the_newer,
    t8_a_run_whose_checkpoint_was_taken_over_writes_nothing,
    t9_whichever_statement_fails_none_of_the_step_stays,
    a_table_is_its_businesss_own,
    a_name_that_is_taken_is_refused_and_leaves_nothing,
    many_rows_go_in_at_once,
    rows_together_become_what_they_become_alone,
    some_columns_of_rows_that_are_there_are_set,
    how_records_went_is_marked,
    t20_a_table_follows_its_object_and_loses_nothing,
    what_did_not_fit_is_told_until_it_fits,
);

pub(crate) fn column(name: &str, kind: ColumnKind) -> Column {
    Column { name: name.to_owned(), kind }
}

pub(crate) async fn mapped(tenant: &Tenant, integration: Uuid, table: &str, columns: &[(&str, ColumnKind)]) -> Mapping {
    let columns = columns.iter().map(|(name, kind)| column(name, *kind)).collect();
    let new = NewMapping { name: table, object: "Account", table, columns, definition: &json!({}) };
    tenant.create_mapping(integration, &new, now()).await.unwrap()
}

pub(crate) fn checkpoint(second: i64) -> Checkpoint {
    let position = Position { stamp: Timestamp::from_second(second).unwrap(), id: "x".to_owned() };
    Checkpoint { through: None, scan: Some((position, Timestamp::from_second(second + 1).unwrap())) }
}

pub(crate) fn named(rows: &mut Rows, id: &str, stamp: Option<i64>, name: &str) {
    let mut row = rows.row();
    row.text(0, name);
    row.end(id, stamp.map(|second| second * 1_000), None, None);
}

/// A step whose rows change the table so.
pub(crate) async fn change(
    tenant: &Tenant,
    run: &Run,
    mapping: &Mapping,
    (change, rows): (Change<'_>, Rows),
    checkpoint: Checkpoint,
) -> Result<StepOutcome, StoreError> {
    let rows = tenant.stage_rows(mapping, change, rows).await?;
    staged(tenant, run, mapping, (change, rows), checkpoint).await
}

/// A step whose rows are on their way already, or are not.
pub(crate) async fn staged(
    tenant: &Tenant,
    run: &Run,
    mapping: &Mapping,
    (change, rows): (Change<'_>, StagedRows),
    checkpoint: Checkpoint,
) -> Result<StepOutcome, StoreError> {
    let standing = Standing { checkpoint, ..mapping.standing.clone() };
    let spent = Spent { read: rows.len() as u64, api_calls: 1, ..Spent::default() };
    let step = MappingStep { rows, change, standing: &standing, spent, errors: &[] };
    tenant.commit_rows(run, mapping, step, now()).await.map(|(_, outcome)| outcome)
}

pub(crate) async fn written(
    tenant: &Tenant,
    run: &Run,
    mapping: &Mapping,
    rows: Rows,
    checkpoint: Checkpoint,
) -> Result<StepOutcome, StoreError> {
    change(tenant, run, mapping, (Change::Rows, rows), checkpoint).await
}

async fn commit(tenant: &Tenant, run: &Run, mapping: &Mapping, rows: Rows) -> (u64, u64, u64) {
    let outcome = written(tenant, run, mapping, rows, checkpoint(1)).await.unwrap();
    (outcome.inserted, outcome.updated, outcome.deleted)
}

pub(crate) const NAMES: [(&str, ColumnKind); 1] = [("name", ColumnKind::Text)];

async fn every_kind_of_value_is_kept_as_it_is(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let kinds = [
        ("t", ColumnKind::Text),
        ("i", ColumnKind::Integer),
        ("n", ColumnKind::Number),
        ("b", ColumnKind::Bool),
        ("d", ColumnKind::Date),
        ("at", ColumnKind::DateTime),
        ("tod", ColumnKind::Time),
        ("j", ColumnKind::Json),
    ];
    let mapping = mapped(&tenant, integration, "order", &kinds).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(kinds.len());
    let day = -165;
    let moment: Timestamp = "1969-07-20T20:17:40.123Z".parse().unwrap();
    let mut row = rows.row();
    row.text(0, "Ünïcödé 🦀 'quoted' \"\\");
    row.int(1, i64::MAX);
    row.text(2, "-1234567890123456.78");
    row.bool(3, true);
    row.int(4, day);
    row.int(5, moment.as_millisecond());
    row.int(6, 45_296_789);
    row.text(7, r#"{"a":[1,null]}"#);
    row.end("001000000000001AAA", Some(1_000), Some(Deletion::Merged), Some("001000000000002AAA"));
    rows.row().end("001000000000002AAA", None, None, None);
    let mut row = rows.row();
    row.text(0, "");
    row.text(2, "0.1");
    row.bool(3, false);
    row.end("001000000000003AAA", Some(0), None, None);
    assert_eq!(commit(&tenant, &run, &mapping, rows).await, (3, 0, 1));

    let texts = async |columns: &[&str]| {
        let columns: Vec<_> = columns.iter().map(|c| format!("coalesce(cast(\"{c}\" AS text), '-')")).collect();
        db.raw.texts(&format!("SELECT {} FROM \"order\" ORDER BY \"id\"", columns.join(" || '|' || "))).await
    };
    let sqlite = db.is_sqlite();
    let (yes, no) = if sqlite { ("1", "0") } else { ("true", "false") };
    assert_eq!(
        texts(&["t", "i", "n", "b", "d"]).await,
        [
            format!("Ünïcödé 🦀 'quoted' \"\\|9223372036854775807|-1234567890123456.78|{yes}|1969-07-20"),
            "-|-|-|-|-".to_owned(),
            format!("|-|0.1|{no}|-"),
        ]
    );
    assert_eq!(texts(&["_deleted", "_master_id"]).await, ["merged|001000000000002AAA", "-|-", "-|-"]);
    if sqlite {
        assert_eq!(
            texts(&["at", "tod", "j", "_stamp"]).await[0],
            "1969-07-20T20:17:40.123Z|12:34:56.789|{\"a\":[1,null]}|1970-01-01T00:00:01.000Z"
        );
        assert_eq!(db.raw.texts("SELECT typeof(n) FROM \"order\" ORDER BY id").await, ["text", "null", "real"]);
    } else {
        let utc = "SELECT to_char(\"at\" AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS') || '|' || tod::text || '|' || j::text FROM \"order\" WHERE j IS NOT NULL";
        assert_eq!(db.raw.texts(utc).await, ["1969-07-20 20:17:40.123|12:34:56.789|{\"a\": [1, null]}"]);
        let kinds = "SELECT string_agg(data_type, ' ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_name = 'order'";
        assert_eq!(
            db.raw.texts(kinds).await,
            [
                "text text bigint numeric boolean date timestamp with time zone time without time zone jsonb timestamp with time zone text text timestamp with time zone bigint"
            ]
        );
    }
}

async fn what_is_newer_replaces_and_what_is_the_same_touches_nothing(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let write = async |stamp: Option<i64>, name: &str| {
        let mut rows = Rows::new(1);
        named(&mut rows, "a", stamp, name);
        commit(&tenant, &run, &mapping, rows).await
    };
    assert_eq!(write(Some(10), "first").await, (1, 0, 0));
    assert_eq!(write(Some(10), "first").await, (0, 0, 0), "the same");
    assert_eq!(write(Some(9), "older").await, (0, 0, 0));
    assert_eq!(write(Some(10), "a formula moved").await, (0, 1, 0), "of one version, the later reading counts");
    assert_eq!(write(Some(11), "newer").await, (0, 1, 0));
    assert_eq!(write(None, "unstamped").await, (0, 1, 0));
    assert_eq!(db.raw.texts("SELECT name FROM accounts").await, ["unstamped"]);
    let mut rows = Rows::new(1);
    rows.row().end("a", Some(12_000), Some(Deletion::Deleted), None);
    assert_eq!(commit(&tenant, &run, &mapping, rows).await, (0, 1, 1));
    let mut back = Rows::new(1);
    named(&mut back, "a", Some(13), "back");
    assert_eq!(commit(&tenant, &run, &mapping, back).await, (0, 1, 0));
    let told = tenant.run(run.id).await.unwrap().unwrap();
    assert_eq!((told.rows_read, told.inserted, told.updated, told.deleted, told.api_calls), (8, 1, 5, 1, 8));
    assert_eq!(tenant.mapping(mapping.id).await.unwrap().unwrap().standing.checkpoint, checkpoint(1));
}

async fn a_page_with_a_record_twice_keeps_the_newer(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(1);
    named(&mut rows, "a", Some(2), "newer");
    named(&mut rows, "a", Some(1), "older");
    assert_eq!(commit(&tenant, &run, &mapping, rows).await, (1, 0, 0));
    assert_eq!(db.raw.texts("SELECT name FROM accounts").await, ["newer"]);
}

async fn t8_a_run_whose_checkpoint_was_taken_over_writes_nothing(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let stale = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let later = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(1);
    named(&mut rows, "a", Some(1), "x");
    let refused = written(&tenant, &stale, &mapping, rows.clone(), checkpoint(5)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused}");
    assert_eq!(db.raw.texts("SELECT name FROM accounts").await, Vec::<String>::new());
    assert_eq!(tenant.mapping(mapping.id).await.unwrap().unwrap().standing.checkpoint, Checkpoint::default());
    written(&tenant, &later, &mapping, rows.clone(), checkpoint(5)).await.unwrap();
    // Nor may anybody write for an org that was disconnected.
    let before = tenant.integration(integration).await.unwrap().unwrap();
    tenant.shut_integration(&before, None, true, "disconnected", now()).await.unwrap().unwrap();
    let refused = written(&tenant, &later, &mapping, rows, checkpoint(6)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused}");
}

async fn t9_whichever_statement_fails_none_of_the_step_stays(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let rows = |name: &str, range: std::ops::Range<usize>, stamp| {
        let mut rows = Rows::new(1);
        range.for_each(|n| named(&mut rows, &format!("{n:05}"), Some(stamp), name));
        rows
    };
    written(&tenant, &run, &mapping, rows("before", 0..200, 1), checkpoint(10)).await.unwrap();
    for (table, event, when) in [
        ("mapping_checkpoints", "BEFORE UPDATE OF scan_stamp ON mapping_checkpoints", String::new()),
        ("runs", "BEFORE UPDATE OF rows_read ON runs", String::new()),
        ("accounts", "BEFORE UPDATE ON accounts", "new.id = '00000'".to_owned()),
        ("accounts", "BEFORE UPDATE ON accounts", "new.id = '00199'".to_owned()),
        ("accounts", "BEFORE INSERT ON accounts", "new.id = '00299'".to_owned()),
    ] {
        db.raw.failpoint(event, &when).await;
        let after = rows("after", 0..300, 2);
        let error = written(&tenant, &run, &mapping, after, checkpoint(20)).await.expect_err(event);
        assert!(error.to_string().contains("failpoint"), "{error}");
        db.raw.mend(table).await;
        assert_eq!(db.raw.texts("SELECT name || count(*) FROM accounts GROUP BY name").await, ["before200"], "{event}");
        assert_eq!(tenant.mapping(mapping.id).await.unwrap().unwrap().standing.checkpoint, checkpoint(10), "{event}");
        assert_eq!(tenant.run(run.id).await.unwrap().unwrap().rows_read, 200, "{event}");
    }
    assert_eq!(commit(&tenant, &run, &mapping, rows("after", 0..300, 2)).await, (100, 200, 0));
}

#[tokio::test]
async fn t9_a_full_disk_loses_nothing_and_says_so() {
    let db = Db::sqlite().await;
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    db.store.close().await;
    let Place::File(folder) = &db.place else { unreachable!() };
    let size = std::fs::metadata(folder.path().join("t.db")).unwrap().len();
    let tenant = Store::open(&folder.path().join("t.db")).await.unwrap().own();
    tenant.store().limit_pages(u32::try_from(size / 8192).unwrap() + 10).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(1);
    (0..20_000).for_each(|n| named(&mut rows, &format!("{n:05}"), Some(1), "a name of some length"));
    let error = written(&tenant, &run, &mapping, rows, checkpoint(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::DiskFull), "{error}");
    assert_eq!(tenant.mapping(mapping.id).await.unwrap().unwrap().standing.checkpoint, Checkpoint::default());
}

async fn a_table_is_its_businesss_own(db: Db) {
    let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let other = db.store.create_business("second", owner.id, "", now()).await.unwrap();
    let other = db.store.as_member(&db.store.membership(owner.id, other).await.unwrap().unwrap());
    let own = db.store.own();
    let mut mappings = Vec::new();
    for tenant in [&own, &other] {
        let integration = tenant.create_integration("acme", None, &json!({}), now()).await.unwrap();
        let mapping = mapped(tenant, integration.id, "accounts", &NAMES).await;
        let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
        let mut rows = Rows::new(1);
        named(&mut rows, "a", Some(1), &tenant.business().to_string());
        assert_eq!(commit(tenant, &run, &mapping, rows).await, (1, 0, 0));
        mappings.push(mapping);
    }
    assert_ne!(mappings[0].table.name(), mappings[1].table.name());
    assert!(other.mapping(mappings[0].id).await.unwrap().is_none());
    assert!(!other.delete_mapping(&mappings[0], now()).await.unwrap());
    if !db.is_sqlite() {
        // A statement that names the other's table sees nothing and writes nothing.
        let theirs = mappings[1].table.name();
        assert_eq!(own.sql(&format!("SELECT * FROM {theirs}")).await.unwrap(), 0);
        assert_eq!(own.sql(&format!("DELETE FROM {theirs}")).await.unwrap(), 0);
        let insert = format!("INSERT INTO {theirs} (id, _synced_at, _change) VALUES ('x', now(), 1)");
        assert!(own.sql(&insert).await.is_err());
    }
    assert!(other.delete_mapping(&mappings[1], now()).await.unwrap());
    assert_eq!(db.raw.texts("SELECT name FROM accounts").await, [own.business().to_string()]);
}

async fn a_name_that_is_taken_is_refused_and_leaves_nothing(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    db.raw.run("CREATE TABLE somebodys (x integer)").await;
    mapped(&tenant, integration, "accounts", &NAMES).await;
    for (name, table) in
        [("other", "accounts"), ("accounts", "other"), ("a", "somebodys"), ("a", "users"), ("a", "audit_log")]
    {
        let new = NewMapping { name, object: "Account", table, columns: vec![], definition: &json!({}) };
        let refused = tenant.create_mapping(integration, &new, now()).await.unwrap_err();
        assert!(matches!(refused, StoreError::Taken(_)), "{name} {table}: {refused}");
    }
    let new = NewMapping { name: "a", object: "Account", table: "x\"y", columns: vec![], definition: &json!({}) };
    assert!(matches!(tenant.create_mapping(integration, &new, now()).await, Err(StoreError::Table(_))));
    let left: Vec<_> = tenant.mappings(integration).await.unwrap().into_iter().map(|m| m.name).collect();
    assert_eq!(left, ["accounts", "contacts"]);
}

async fn many_rows_go_in_at_once(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(1);
    (0..30_000).for_each(|n| named(&mut rows, &format!("{n:05}"), Some(1), "x"));
    assert_eq!(commit(&tenant, &run, &mapping, rows).await, (30_000, 0, 0));
}

/// Forty rows, of which some are there already, changed, older or gone: in one batch, and each in one of its own.
async fn rows_together_become_what_they_become_alone(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let kinds =
        [("t", ColumnKind::Text), ("n", ColumnKind::Number), ("at", ColumnKind::DateTime), ("b", ColumnKind::Bool)];
    let row = |rows: &mut Rows, id: usize, stamp: i64, text: &str, deleted: Option<Deletion>| {
        let mut row = rows.row();
        row.text(0, text);
        match id % 3 {
            0 => row.text(1, &format!("{id}.50")),
            1 => row.text(1, "12345678901234567890.123"),
            _ => {}
        }
        row.int(2, id as i64 * 1_000);
        row.bool(3, id.is_multiple_of(2));
        row.end(&format!("{id:02}"), Some(stamp), deleted, None);
    };
    let before = (0..40).step_by(2).map(|id| (id, 10, "was there", None));
    let after = (0..40).map(|id| match id {
        4 => (id, 11, "changed", None),
        6 => (id, 9, "older", None),
        20 => (id, 11, "gone", Some(Deletion::Deleted)),
        21 => (id, 11, "new and gone", Some(Deletion::Merged)),
        _ => (id, 10, "was there", None),
    });
    let mut kept = Vec::new();
    for (table, at_once) in [("together", 40), ("alone", 1)] {
        let mapping = mapped(&tenant, integration, table, &kinds).await;
        let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
        let write = async |records: &[(usize, i64, &str, Option<Deletion>)]| {
            let mut sums = (0, 0, 0);
            for some in records.chunks(at_once) {
                let mut rows = Rows::new(kinds.len());
                some.iter().for_each(|(id, stamp, text, deleted)| row(&mut rows, *id, *stamp, text, *deleted));
                let (inserted, updated, deleted) = commit(&tenant, &run, &mapping, rows).await;
                sums = (sums.0 + inserted, sums.1 + updated, sums.2 + deleted);
            }
            sums
        };
        let (before, after): (Vec<_>, Vec<_>) = (before.clone().collect(), after.clone().collect());
        assert_eq!(write(&before).await, (20, 0, 0), "{table}");
        assert_eq!(write(&after).await, (20, 2, 2), "{table}: 4 and 20 changed, 6 did not");
        assert_eq!(write(&after).await, (0, 0, 0), "{table}: the same");
        let columns: Vec<_> = ["id", "t", "n", "at", "b", "_stamp", "_deleted", "_synced_at"]
            .map(|column| format!("coalesce(cast(\"{column}\" AS text), '-')"))
            .into();
        kept.push(db.raw.texts(&format!("SELECT {} FROM \"{table}\" ORDER BY id", columns.join(" || '|' || "))).await);
    }
    assert_eq!(kept[0].len(), 40);
    assert_eq!(kept[0], kept[1]);
}

async fn some_columns_of_rows_that_are_there_are_set(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let columns = [("name", ColumnKind::Text), ("size", ColumnKind::Number), ("at", ColumnKind::DateTime)];
    let mapping = mapped(&tenant, integration, "accounts", &columns).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(3);
    for (id, stamp) in [("a", 10), ("b", 20), ("c", 30)] {
        let mut row = rows.row();
        row.text(0, id);
        row.end(id, Some(stamp), (id == "c").then_some(Deletion::Deleted), None);
    }
    written(&tenant, &run, &mapping, rows, checkpoint(1)).await.unwrap();
    let sizes = || {
        let mut rows = Rows::new(2);
        for (id, stamp) in [("a", 10), ("b", 19), ("c", 31), ("d", 1)] {
            let mut row = rows.row();
            row.int(0, 0);
            row.text(1, "12.50");
            row.end(id, Some(stamp), None, None);
        }
        (Change::Cells(&[2, 1]), rows)
    };
    let outcome = change(&tenant, &run, &mapping, sizes(), checkpoint(2)).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated), (0, 2), "not the older version, and no new row");
    let outcome = change(&tenant, &run, &mapping, sizes(), checkpoint(2)).await.unwrap();
    assert_eq!(outcome.updated, 0, "what is the same is not touched");
    let told = "SELECT id || name || coalesce(_deleted, '-') || coalesce(cast(cast(size AS real) AS text), '-') || (at IS NULL) FROM accounts ORDER BY id";
    let [yes, no] = if db.is_sqlite() { ["1", "0"] } else { ["true", "false"] };
    assert_eq!(db.raw.texts(told).await, [format!("aa-12.5{no}"), format!("bb--{yes}"), format!("ccdeleted12.5{no}")]);
    // The stamp is that of the whole row: what else the newer version changed has yet to come.
    let newest = tenant.versions(&mapping, vec!["c".into(), "x".into()]).await.unwrap();
    assert_eq!(newest.len(), 1);
    assert_eq!(newest["c"].stamp.unwrap().as_millisecond(), 30);
    assert_eq!(newest["c"].deleted.as_deref(), Some("deleted"));
}

async fn how_records_went_is_marked(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(1);
    ["a", "b", "c", "d"].iter().for_each(|id| named(&mut rows, id, Some(10), id));
    written(&tenant, &run, &mapping, rows, checkpoint(1)).await.unwrap();
    let mut marks = Rows::new(0);
    marks.row().end("a", None, Some(Deletion::Erased), None);
    marks.row().end("b", None, Some(Deletion::Merged), Some("c"));
    marks.row().end("x", None, Some(Deletion::Erased), None);
    let outcome = change(&tenant, &run, &mapping, (Change::Marks, marks.clone()), checkpoint(2)).await.unwrap();
    assert_eq!((outcome.inserted, outcome.updated, outcome.deleted), (0, 2, 2));
    let outcome = change(&tenant, &run, &mapping, (Change::Marks, marks), checkpoint(2)).await.unwrap();
    assert_eq!(outcome.updated, 0);
    let told = "SELECT id || name || coalesce(_deleted, '-') || coalesce(_master_id, '-') FROM accounts ORDER BY id";
    assert_eq!(db.raw.texts(told).await, ["aaerased-", "bbmergedc", "cc--", "dd--"]);
    assert_eq!(tenant.present_ids(&mapping, "", None, 10).await.unwrap(), ["c", "d"]);
    assert_eq!(tenant.present_ids(&mapping, "", Some("c"), 10).await.unwrap(), ["c"]);
    assert_eq!(tenant.present_ids(&mapping, "c", None, 1).await.unwrap(), ["d"]);
    assert_eq!(tenant.count_present(&mapping).await.unwrap(), 2);
}

async fn t20_a_table_follows_its_object_and_loses_nothing(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let mut rows = Rows::new(1);
    named(&mut rows, "a", Some(10), "Ada");
    written(&tenant, &run, &mapping, rows, checkpoint(1)).await.unwrap();
    let altered = TableChange {
        columns: vec![column("size", ColumnKind::Number), column("name", ColumnKind::Integer)],
        renamed: vec![("name".into(), "name_was_text".into())],
    };
    // Whoever was cut off does it again.
    for _ in 0..2 {
        tenant.alter_mapping(&run, &mapping, &altered, &json!({"v": 1}), now()).await.unwrap();
    }
    let mapping = tenant.mapping(mapping.id).await.unwrap().unwrap();
    assert_eq!((mapping.table.columns(), &mapping.plan), (&altered.columns[..], &Some(json!({"v": 1}))));
    let mut rows = Rows::new(2);
    let mut row = rows.row();
    row.text(0, "1.5");
    row.int(1, 7);
    row.end("a", Some(10_000), None, None);
    assert_eq!(written(&tenant, &run, &mapping, rows, checkpoint(2)).await.unwrap().updated, 1);
    let all =
        "SELECT name_was_text || '|' || cast(name AS text) || '|' || cast(cast(size AS real) AS text) FROM accounts";
    assert_eq!(db.raw.texts(all).await, ["Ada|7|1.5"]);
    let stale = run;
    tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let refused = tenant.alter_mapping(&stale, &mapping, &altered, &json!({}), now()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { .. }), "{refused}");
}

async fn what_did_not_fit_is_told_until_it_fits(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let mapping = mapped(&tenant, integration, "accounts", &NAMES).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let step = async |ids: &[&str], errors: &[RowError]| {
        let mut rows = Rows::new(1);
        ids.iter().for_each(|id| named(&mut rows, id, Some(10), id));
        let mut standing = mapping.standing.clone();
        standing.progress.failing = true;
        let spent = Spent { failed_cells: errors.len() as u64, ..Spent::default() };
        let step = MappingStep { rows: rows.into(), change: Change::Rows, standing: &standing, spent, errors };
        tenant.commit_rows(&run, &mapping, step, now()).await.unwrap();
        db.raw
            .texts("SELECT record_id || column_name || reason || coalesce(value, '-') FROM row_errors ORDER BY 1")
            .await
    };
    let error = |record: &str, reason: &str| RowError {
        record: record.into(),
        column: "name".into(),
        reason: reason.into(),
        value: Some("v".into()),
    };
    let two = [error("a", "r"), error("b", "r")];
    assert_eq!(step(&["a", "b"], &two).await, ["anamerv", "bnamerv"]);
    assert_eq!(step(&["b"], &[error("b", "again")]).await, ["anamerv", "bnameagainv"]);
    assert_eq!(step(&["a"], &[]).await, ["bnameagainv"]);
    assert_eq!(tenant.run(run.id).await.unwrap().unwrap().failed_cells, 3);
    let errors = tenant.row_errors(&mapping, 10).await.unwrap();
    assert_eq!(errors.iter().map(|e| e.error.record.as_str()).collect::<Vec<_>>(), ["b"]);
}
