//! Persons in tables of mappings: they are erased, kept away, told and exported like all others.

use std::time::Duration;

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tieline_store::mappings::Mapping;
use tieline_store::object_tables::{Change, ColumnKind, Rows};
use tieline_store::{Checkpoint, ContactRow, Person, Run, SourceType, StepOutcome, Tenant};

use crate::database::{Db, now};
use crate::erasure::{Acme, businesses, slow};
use crate::imports::contact;
use crate::object_tables::mapped;

on_both!(
    a_record_of_an_erased_person_is_emptied_and_stays_away,
    among_thousands_nobody_comes_back,
    a_commit_at_the_same_moment_brings_nobody_back,
    columns_that_are_filled_later_stay_empty_and_who_was_erased_is_known,
    records_are_told_and_exported_as_they_are,
);

const PEOPLE: [(&str, ColumnKind); 4] = [
    ("name", ColumnKind::Text),
    ("email", ColumnKind::Text),
    ("mobile_phone", ColumnKind::Text),
    ("born", ColumnKind::Date),
];
const BOOKINGS: [(&str, ColumnKind); 2] = [("guest_email", ColumnKind::Text), ("seats", ColumnKind::Integer)];
const ADA: &str = "003000000000001AAA";
const BOB: &str = "003000000000002AAA";
const BOOKING: &str = "a01000000000001AAA";

struct Tables {
    people: (Mapping, Run),
    bookings: (Mapping, Run),
}

async fn tables(acme: &Acme) -> Tables {
    let tenant = &acme.tenant;
    let people = mapped(tenant, acme.integration, "people", &PEOPLE).await;
    let bookings = mapped(tenant, acme.integration, "bookings", &BOOKINGS).await;
    let run = async |mapping: &Mapping| tenant.start_mapping_run(mapping, now()).await.unwrap();
    Tables { people: (people.clone(), run(&people).await), bookings: (bookings.clone(), run(&bookings).await) }
}

async fn write(tenant: &Tenant, (mapping, run): &(Mapping, Run), rows: Rows) -> StepOutcome {
    crate::object_tables::written(tenant, run, mapping, rows, Checkpoint::default()).await.unwrap()
}

fn person(rows: &mut Rows, id: &str, email: &str, phone: &str, second: i64) {
    let mut row = rows.row();
    row.text(0, "Ada Lovelace");
    row.text(1, email);
    row.text(2, phone);
    row.int(3, -56_269);
    row.end(id, Some(second * 1_000), None, None);
}

fn people(second: i64) -> Rows {
    let mut rows = Rows::new(4);
    person(&mut rows, ADA, " Ada@Example.com", "+49 30 1", second);
    person(&mut rows, BOB, "bob@example.com", "+49 30 1234567", second);
    rows
}

fn bookings(second: i64) -> Rows {
    let mut rows = Rows::new(2);
    let mut row = rows.row();
    row.text(0, "ADA@example.com");
    row.int(1, 2);
    row.end(BOOKING, Some(second * 1_000), None, None);
    rows
}

async fn fill(acme: &Acme) -> Tables {
    let tables = tables(acme).await;
    assert_eq!(write(&acme.tenant, &tables.people, people(1)).await.inserted, 2);
    assert_eq!(write(&acme.tenant, &tables.bookings, bookings(1)).await.inserted, 1);
    tables
}

/// What stands in a table, empty cells as `-`.
async fn rows(db: &Db, tenant: &Tenant, table: &str, columns: &[&str]) -> Vec<String> {
    let columns: Vec<_> = columns.iter().map(|c| format!("coalesce(cast(\"{c}\" AS text), '-')")).collect();
    let table = tenant.table_name(table);
    db.raw.texts(&format!("SELECT {} FROM \"{table}\" ORDER BY \"id\"", columns.join(" || '|' || "))).await
}

async fn a_record_of_an_erased_person_is_emptied_and_stays_away(db: Db) {
    let [a, b] = businesses(&db).await;
    let (of_a, of_b) = (fill(&a).await, fill(&b).await);
    // The contact's number stands in a record of somebody else.
    let number = "+49 30 1234567";
    a.sync(&[ContactRow {
        email: Some("ada@example.com".into()),
        phone: Some(number.into()),
        ..contact("003000000000009AAA", "x")
    }])
    .await;
    let email = Person::Email("ada@example.COM");
    let preview = a.tenant.preview_erasure(&email).await.unwrap();
    assert_eq!((preview.contacts, preview.object_rows, preview.messages), (1, 2, 1));
    let shown = ["id", "name", "email", "mobile_phone", "born", "_deleted", "_stamp", "_master_id"];
    assert_eq!(
        rows(&db, &a.tenant, "people", &shown[..4]).await[0],
        format!("{ADA}|Ada Lovelace| Ada@Example.com|+49 30 1")
    );
    let erased = a.tenant.erase_person(&email, now()).await.unwrap();
    assert_eq!(erased.removed, preview);
    let left = rows(&db, &a.tenant, "people", &shown).await;
    assert_eq!(left[0], format!("{ADA}|-|-|-|-|erased|-|-"), "what is left is that it is gone");
    assert!(left[1].starts_with(&format!("{BOB}|Ada Lovelace|bob@example.com|-|")), "{left:?}");
    assert_eq!(
        rows(&db, &a.tenant, "bookings", &["id", "guest_email", "seats", "_deleted"]).await,
        [format!("{BOOKING}|-|-|erased")]
    );
    let synced = rows(&db, &a.tenant, "people", &["_synced_at"]).await;
    let other = rows(&db, &b.tenant, "people", &["_synced_at"]).await;
    assert_eq!(synced[0], other[0], "written as whoever writes rows writes it");

    // Newer versions of the record, the same under another address, and another record with the address.
    let mut again = people(2);
    person(&mut again, ADA, "changed@example.com", "", 3);
    person(&mut again, "003000000000003AAA", "ada@example.com", "", 2);
    person(&mut again, "003000000000004AAA", "new@example.com", "", 2);
    let outcome = write(&a.tenant, &of_a.people, again).await;
    assert_eq!((outcome.inserted, outcome.updated), (1, 1), "Bob and the new one");
    assert_eq!(write(&a.tenant, &of_a.bookings, bookings(2)).await, StepOutcome::default());
    assert_eq!(a.tenant.run(of_a.people.1.id).await.unwrap().unwrap().rows_read, 7, "all that came was read");
    let ids = rows(&db, &a.tenant, "people", &["id", "_deleted"]).await;
    assert_eq!(ids, [format!("{ADA}|erased"), format!("{BOB}|-"), "003000000000004AAA|-".to_owned()]);
    // A contact of the same record stays away, too.
    assert_eq!(a.sync(&[contact(ADA, "x")]).await.inserted, 0);
    let repeated = a.tenant.erase_person(&email, now()).await.unwrap();
    assert_eq!((repeated.id, repeated.removed.object_rows), (erased.id, 0));

    assert_eq!(rows(&db, &b.tenant, "people", &["id", "_deleted"]).await, [format!("{ADA}|-"), format!("{BOB}|-")]);
    assert_eq!(write(&b.tenant, &of_b.people, people(2)).await.updated, 2, "another business has what it had");
    assert!(a.tenant.lift_erasure(erased.id, now()).await.unwrap());
    assert_eq!(write(&a.tenant, &of_a.people, people(2)).await.updated, 1);
    assert!(rows(&db, &a.tenant, "people", &shown).await[0].starts_with(&format!("{ADA}|Ada Lovelace")));
    // By the record's id alone; of an object that is no contact, too.
    let booking = Person::Source { kind: SourceType::Salesforce, id: BOOKING };
    assert_eq!(a.tenant.erase_person(&booking, now()).await.unwrap().removed.object_rows, 0, "it was emptied before");
    write(&a.tenant, &of_a.bookings, bookings(3)).await;
    assert_eq!(rows(&db, &a.tenant, "bookings", &["guest_email"]).await, ["-"]);
}

async fn among_thousands_nobody_comes_back(db: Db) {
    let [a, _] = businesses(&db).await;
    let of_a = fill(&a).await;
    a.tenant.erase_person(&Person::Email("ada@example.com"), now()).await.unwrap();
    for (second, expected) in [(2, (2_999, 1)), (3, (0, 3_000))] {
        let mut many = people(second);
        for n in 0..3_000 {
            let email = if n == 1_500 { "Ada@Example.com" } else { "x@example.com" };
            person(&mut many, &format!("0030000000{n:05}AAB"), email, "", second);
        }
        let outcome = write(&a.tenant, &of_a.people, many).await;
        assert_eq!((outcome.inserted, outcome.updated), expected, "Bob, and all but the one with the address");
        let left = rows(&db, &a.tenant, "people", &["id", "email", "_deleted"]).await;
        assert_eq!(left.len(), 3_001);
        assert_eq!(left.iter().filter(|row| row.to_lowercase().contains("ada@")).count(), 0);
        assert!(left.contains(&format!("{ADA}|-|erased")), "what is left of her stays as it is");
    }
}

async fn columns_that_are_filled_later_stay_empty_and_who_was_erased_is_known(db: Db) {
    let [a, b] = businesses(&db).await;
    let (of_a, of_b) = (fill(&a).await, fill(&b).await);
    let table = &of_a.people.0.table;
    assert!(a.tenant.erased_are_known_by(table).await.unwrap().is_empty());
    assert!(a.tenant.erased_among(table, &people(1)).await.unwrap().is_empty());
    a.tenant.erase_person(&Person::Email("ada@example.com"), now()).await.unwrap();
    // A walk for the name alone, and one for the address.
    let mut names = Rows::new(1);
    for id in [ADA, BOB] {
        let mut row = names.row();
        row.text(0, "filled");
        row.end(id, Some(9_000), None, None);
    }
    for (tenant, (mapping, run), touched) in [(&a.tenant, &of_a.people, 1), (&b.tenant, &of_b.people, 2)] {
        let filled = (Change::Cells(&[0]), names.clone());
        let outcome = crate::object_tables::change(tenant, run, mapping, filled, Checkpoint::default()).await.unwrap();
        assert_eq!(outcome.updated, touched);
    }
    assert_eq!(rows(&db, &a.tenant, "people", &["name", "_deleted"]).await, ["-|erased", "filled|-"]);
    // By the id; by an address, where the rows have it; of this business alone.
    let mut some = people(2);
    person(&mut some, "003000000000003AAA", "ADA@example.com", "", 2);
    let known = a.tenant.erased_among(table, &some).await.unwrap();
    let mut known: Vec<&str> = known.iter().map(String::as_str).collect();
    known.sort_unstable();
    assert_eq!(known, [ADA, "003000000000003AAA"]);
    assert_eq!(a.tenant.erased_are_known_by(table).await.unwrap(), vec![1_usize]);
    assert_eq!(a.tenant.erased_among(&table.part(&[]), &names).await.unwrap().len(), 1);
    assert!(b.tenant.erased_among(table, &some).await.unwrap().is_empty());
}

async fn a_commit_at_the_same_moment_brings_nobody_back(db: Db) {
    let [a, _] = businesses(&db).await;
    let tables = tables(&a).await;
    // Somebody is being erased, the first of the business, when the rows come.
    slow(&db, "INSERT ON erasures").await;
    let email = Person::Email("ada@example.com");
    let erase = a.tenant.erase_person(&email, now());
    let commit = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        write(&a.tenant, &tables.people, people(1)).await
    };
    let (erased, _) = tokio::join!(erase, commit);
    erased.unwrap();
    assert_eq!(rows(&db, &a.tenant, "people", &["id"]).await, [BOB]);
    // Rows are being written when somebody is erased.
    if !db.is_sqlite() {
        db.raw.run("DROP TRIGGER slow ON erasures").await;
    }
    let table = a.tenant.table_name("people");
    slow(&db, &format!("INSERT ON \"{table}\"")).await;
    let email = Person::Email("bob@example.com");
    let erase = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        a.tenant.erase_person(&email, now()).await.unwrap()
    };
    tokio::join!(write(&a.tenant, &tables.people, people(2)), erase);
    assert_eq!(rows(&db, &a.tenant, "people", &["name", "email", "_deleted"]).await, ["-|-|erased"]);
    // Many at once, as they fall.
    let many: Vec<String> = (0..30).map(|n| format!("0030000000000{n:02}AAD")).collect();
    let commits = async {
        for ids in many.chunks(3) {
            let mut rows = Rows::new(4);
            for id in ids {
                person(&mut rows, id, &format!("{id}@example.com"), "", 1);
            }
            write(&a.tenant, &tables.people, rows).await;
        }
    };
    let erasing = async {
        for id in &many {
            a.tenant.erase_person(&Person::Email(&format!("{id}@example.com")), now()).await.unwrap();
        }
    };
    tokio::join!(commits, erasing);
    let held = rows(&db, &a.tenant, "people", &["email"]).await;
    assert!(held.iter().all(|email| email == "-"), "{held:?}");
}

async fn records_are_told_and_exported_as_they_are(db: Db) {
    let [a, _] = businesses(&db).await;
    fill(&a).await;
    let kinds = [
        ("i", ColumnKind::Integer),
        ("n", ColumnKind::Number),
        ("b", ColumnKind::Bool),
        ("d", ColumnKind::Date),
        ("at", ColumnKind::DateTime),
        ("tod", ColumnKind::Time),
        ("j", ColumnKind::Json),
    ];
    let all = mapped(&a.tenant, a.integration, "order", &kinds).await;
    let run = a.tenant.start_mapping_run(&all, now()).await.unwrap();
    let mut rows = Rows::new(kinds.len());
    let mut row = rows.row();
    row.int(0, i64::MAX);
    row.text(1, "-1234567890123456.78");
    row.bool(2, true);
    row.int(3, -165);
    row.int(4, 1_704_164_645_120);
    row.int(5, 45_296_700);
    row.text(6, r#"{"a":[1,null]}"#);
    row.end(ADA, Some(1_000), None, None);
    write(&a.tenant, &(all.clone(), run), rows).await;
    let expected = json!({
        "id": ADA, "i": i64::MAX, "n": "-1234567890123456.78", "b": true, "d": "1969-07-20",
        "at": "2024-01-02T03:04:05.120Z", "tod": "12:34:56.700", "j": {"a": [1, null]},
        "_stamp": "1970-01-01T00:00:01.000Z", "_deleted": null, "_master_id": null, "_synced_at": "2026-06-01T12:00:00.000Z",
    });
    let data = a.tenant.person_data(&Person::Email("ada@example.com"), now()).await.unwrap();
    let of = |table: &str| {
        let name = a.tenant.table_name(table);
        data.objects.iter().filter(|one| one["table"] == name).map(|one| one["row"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("order"), std::slice::from_ref(&expected));
    assert_eq!((of("people").len(), of("bookings")[0]["seats"].clone()), (1, json!(2)));
    let pieces: Vec<Vec<u8>> = a.tenant.export(now()).await.unwrap().try_collect().await.unwrap();
    let text = String::from_utf8(pieces.concat()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |table: &str| {
        let name = a.tenant.table_name(table);
        lines.iter().filter(|line| line["table"] == name).map(|line| line["row"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((of("order"), of("people").len(), of("bookings").len()), (vec![expected], 2, 1));
    // A mapping whose table has gone already is in nobody's way.
    db.raw.run(&format!("DROP TABLE \"{}\"", a.tenant.table_name("order"))).await;
    a.tenant.erase_person(&Person::Email("ada@example.com"), now()).await.unwrap();
    a.tenant.export(now()).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
}
