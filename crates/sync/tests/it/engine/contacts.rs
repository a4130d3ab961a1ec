//! The mapping that is built in: contacts, in the table that everybody knows.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use reqwest::Method as Http;
use serde_json::{Map, Value, json};
use tieline_store::mappings::{MappingState, NewMapping};
use tieline_store::object_tables::Deletion;
use tieline_store::{ContactRow, Person, Retention, SourceType, StoreError};
use tieline_sync::engine::{Asked, change_mapping, create_mapping};
use tieline_sync::mapping::Definition;
use tieline_sync::{SyncError, compare_contacts};

use super::world::{World, all_of};
use crate::database::{Db, now};

on_both!(
    contacts_come_with_custom_fields_typed_and_without_what_is_empty,
    contacts_go_as_other_records_do_and_come_back,
    contacts_that_the_user_may_not_see_any_more_are_hidden_and_never_many_at_once,
    the_company_follows_its_account_with_the_next_proof,
    a_custom_field_that_is_new_is_filled_alone,
    a_field_that_is_hidden_keeps_what_is_known,
    an_org_that_hides_known_fields_from_the_beginning_is_read_all_the_same,
    more_custom_fields_than_a_query_takes,
    a_bulk_job_brings_the_same_as_pages,
    persons_who_were_erased_stay_away_and_errors_of_theirs_too,
    the_mapping_comes_with_its_integration_and_goes_with_it,
    the_feed_of_contacts_tells_how_they_went,
    contacts_that_were_taken_out_by_age_are_not_missing,
);

const DAY: i64 = 86_400;
const COMPARE: Asked = Asked { verify: false, compare: true, reload: false, allow_gone: false };
const VERIFY: Asked = Asked { verify: true, compare: false, reload: false, allow_gone: false };

async fn world(db: Db) -> World {
    let mut world = World::bare(db).await;
    world.mapping = world.integration;
    // Only what a test asks for, or the engine by itself.
    world.engine.care.compare_every = Duration::from_secs(1_000 * DAY.unsigned_abs());
    world
}

async fn field(world: &World, name: &str, kind: &str) {
    world.post("fields", json!({"object": "Contact", "name": name, "type": kind})).await;
}

async fn show(world: &World, fields: &[&str], visible: bool) {
    world.put("permissions", json!({"object": "Contact", "fields": fields, "visible": visible})).await;
}

fn insert(fields: Value) -> Value {
    json!({"op": "insert", "object": "Contact", "fields": fields})
}

fn update(object: &str, id: &str, fields: Value) -> Value {
    json!({"op": "update", "object": object, "id": id, "fields": fields})
}

fn delete(op: &str, id: &str) -> Value {
    json!({"op": op, "object": "Contact", "id": id})
}

async fn people(world: &World, number: usize) -> Vec<String> {
    world.write((0..number).map(|n| insert(json!({"LastName": format!("l{n}")}))).collect()).await
}

async fn rows(world: &World) -> BTreeMap<String, ContactRow> {
    let all: Vec<_> = world.tenant().contacts().try_collect().await.unwrap();
    all.into_iter().map(|contact| (contact.row.source_id.clone(), contact.row)).collect()
}

async fn row(world: &World, id: &str) -> ContactRow {
    rows(world).await.remove(id).unwrap()
}

async fn contacts_come_with_custom_fields_typed_and_without_what_is_empty(db: Db) {
    let world = world(db).await;
    for (name, kind) in [
        ("Score__c", "double 18,2"),
        ("Vip__c", "boolean"),
        ("Joined__c", "date"),
        ("Note__c", "string 80"),
        ("Empty__c", "string 80"),
    ] {
        field(&world, name, kind).await;
    }
    let formula = json!({"object": "Contact", "name": "Loud__c", "type": "string 255", "formula": "UPPER(LastName)"});
    world.post("fields", formula).await;
    let accounts = world.accounts(["Acme".to_owned()]).await;
    let ids = world
        .write(json!([
            insert(json!({"FirstName": "Ada", "LastName": "Lovelace", "Email": "ada@example.com", "Phone": "+49 30 1",
                "Title": "Countess", "AccountId": accounts[0], "Department": "R&D", "Birthdate": "1815-12-10",
                "Score__c": 4.5, "Vip__c": true, "Joined__c": "2026-05-01", "Note__c": "ü 🦀"})),
            insert(json!({"LastName": "Only", "Score__c": 7})),
        ]))
        .await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.inserted, report.run.failed_cells, report.mapping.as_str()), (2, 0, "contacts"));
    let ada = row(&world, &ids[0]).await;
    let texts = [&ada.first_name, &ada.last_name, &ada.name, &ada.email, &ada.phone, &ada.title, &ada.company];
    assert_eq!(
        texts.map(|text| text.as_deref().unwrap_or_default()),
        ["Ada", "Lovelace", "Ada Lovelace", "ada@example.com", "+49 30 1", "Countess", "Acme"]
    );
    let custom =
        json!({"Joined__c": "2026-05-01", "Loud__c": "LOVELACE", "Note__c": "ü 🦀", "Score__c": 4.5, "Vip__c": true});
    assert_eq!(ada.custom_fields, custom);
    let metadata = ada.source_metadata.as_object().unwrap();
    assert_eq!((&metadata["Department"], &metadata["Birthdate"]), (&json!("R&D"), &json!("1815-12-10")));
    assert_eq!((&metadata["AccountId"], metadata.get("MailingCity")), (&json!(accounts[0]), None));
    assert!(metadata["CreatedDate"].as_str().unwrap().ends_with(".000Z"), "{metadata:?}");
    let only = row(&world, &ids[1]).await;
    assert_eq!(only.custom_fields, json!({"Loud__c": "ONLY", "Score__c": 7, "Vip__c": false}));
    world.assert_in_step().await;
    assert!(compare_contacts(world.connection(), world.tenant()).await.unwrap().is_equal());

    // Another process, some minutes later: nothing has changed, and one call says so.
    let mut world = world;
    world.restart();
    world.at(900).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.api_calls, report.run.inserted, report.run.updated), (1, 0, 0));
    let verified = world.through().await.1;
    world.at(4_000).await;
    world.sync().await.unwrap();
    assert!(world.through().await.1 > verified, "an hour later it is proven");
    // A number that becomes empty goes out of the JSON.
    world.write(json!([update("Contact", &ids[1], json!({"Score__c": null}))])).await;
    world.at(4_700).await;
    assert_eq!(world.sync().await.unwrap().run.updated, 1);
    assert_eq!(row(&world, &ids[1]).await.custom_fields, json!({"Loud__c": "ONLY", "Vip__c": false}));
    world.assert_in_step().await;
}

async fn contacts_go_as_other_records_do_and_come_back(db: Db) {
    let world = world(db).await;
    let ids = people(&world, 6).await;
    world.sync().await.unwrap();
    world.at(900).await;
    world.write(json!([delete("delete", &ids[0]), delete("delete", &ids[1])])).await;
    let merge = json!({"object": "Contact", "winner": ids[2], "losers": [ids[3]], "fields": {"Title": "won"}});
    world.post("records/merge", merge).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.deleted, report.run.drift_found), (3, 0));
    let went = async |world: &World| -> Vec<Option<Deletion>> {
        let rows = rows(world).await;
        ids.iter().map(|id| rows[id].deleted).collect()
    };
    let (deleted, merged, erased) = (Some(Deletion::Deleted), Some(Deletion::Merged), Some(Deletion::Erased));
    assert_eq!(went(&world).await, [deleted, deleted, None, merged, None, None]);
    assert_eq!(row(&world, &ids[3]).await.source_metadata["MasterRecordId"], ids[2].as_str());
    assert_eq!(row(&world, &ids[0]).await.last_name.as_deref(), Some("l0"), "a tombstone keeps what is known");
    assert_eq!(world.tenant().count_contacts().await.unwrap(), 3);
    world.at(1_800).await;
    world.write(json!([delete("undelete", &ids[0]), delete("hard_delete", &ids[4])])).await;
    world.sync().await.unwrap();
    assert_eq!(went(&world).await, [None, deleted, None, merged, None, None]);
    // The log of deletes is read with the next proof.
    world.at(5_400).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.deleted, report.run.drift_found), (1, 0));
    assert_eq!(went(&world).await, [None, deleted, None, merged, erased, None]);
    world.assert_in_step().await;
    assert!(compare_contacts(world.connection(), world.tenant()).await.unwrap().is_equal());
}

async fn contacts_that_the_user_may_not_see_any_more_are_hidden_and_never_many_at_once(db: Db) {
    let world = world(db).await;
    let ids = people(&world, 120).await;
    world.sync().await.unwrap();
    let share = async |ids: &[String], visible: bool| {
        world.put("sharing", json!({"object": "Contact", "ids": ids, "visible": visible})).await;
    };
    share(&ids[..3], false).await;
    world.at(900).await;
    let report = world.ask(COMPARE).await.unwrap();
    assert_eq!((report.run.deleted, report.run.drift_found), (3, 3));
    assert_eq!(row(&world, &ids[0]).await.deleted, Some(Deletion::Hidden));
    share(&ids[..3], true).await;
    world.at(1_800).await;
    world.ask(COMPARE).await.unwrap();
    assert_eq!(row(&world, &ids[0]).await.deleted, None);
    world.assert_in_step().await;
    share(&ids[..60], false).await;
    world.at(2_700).await;
    let error = world.ask(COMPARE).await.unwrap_err();
    assert!(matches!(error, SyncError::MassDelete { records: 60, of: 120, .. }), "{error}");
    let mapping = world.mapping().await;
    assert_eq!(mapping.state, MappingState::Paused);
    assert_eq!(world.tenant().count_contacts().await.unwrap(), 120, "nothing was marked");
    assert!(matches!(world.sync().await.unwrap_err(), SyncError::Paused { .. }));
    assert!(world.tenant().resume_mapping(&mapping, true, world.engine.clock.now()).await.unwrap());
    assert_eq!(world.sync().await.unwrap().run.deleted, 60);
    assert_eq!(world.state().await, MappingState::Synced);
}

async fn the_company_follows_its_account_with_the_next_proof(db: Db) {
    let world = world(db).await;
    // So long ago that no scan reads them again by itself.
    world.at(-5_000).await;
    let accounts = world.accounts(["Acme".to_owned(), "Other".to_owned()]).await;
    let of = |n: usize| insert(json!({"LastName": "l", "AccountId": accounts[n]}));
    let ids = world.write(json!([of(0), of(0), of(1)])).await;
    world.at(0).await;
    world.sync().await.unwrap();
    world.at(2_000).await;
    world.write(json!([update("Account", &accounts[0], json!({"Name": "Acme Inc."}))])).await;
    assert_eq!(world.sync().await.unwrap().run.api_calls, 1);
    world.at(5_600).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.updated, report.run.drift_found), (2, 0));
    assert_eq!(row(&world, &ids[1]).await.company.as_deref(), Some("Acme Inc."));
    assert_eq!(row(&world, &ids[2]).await.company.as_deref(), Some("Other"));
    world.assert_in_step().await;
}

async fn a_custom_field_that_is_new_is_filled_alone(db: Db) {
    let world = world(db).await;
    world.at(-5_000).await;
    let ids = people(&world, 120).await;
    world.at(0).await;
    world.sync().await.unwrap();
    field(&world, "Added__c", "double 18,0").await;
    let touch = json!({"object": "Contact", "ids": ids[..60], "system_modstamp": null, "fields": {"Added__c": 5}});
    world.post("records/touch", touch).await;
    world.at(700).await;
    assert_eq!(world.sync().await.unwrap().run.updated, 0, "it is not known yet");
    world.at(4_000).await;
    let newest = row(&world, &ids[0]).await;
    // Its query is this one and no other.
    let fill = "SELECT Id, SystemModstamp, IsDeleted, MasterRecordId, Added__c FROM Contact ORDER BY Id";
    let refusal = json!([{"message": "no", "errorCode": "UNKNOWN_EXCEPTION"}]);
    world.fault(json!({"query": fill, "status": 400, "body": refusal})).await;
    world.sync().await.unwrap_err();
    assert_eq!(world.state().await, MappingState::Resync);
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.updated, report.run.drift_found), (60, 0));
    let filled = row(&world, &ids[0]).await;
    assert_eq!(filled, ContactRow { custom_fields: json!({"Added__c": 5}), ..newest });
    assert_eq!(row(&world, &ids[60]).await.custom_fields, json!({}));
    assert_eq!(world.state().await, MappingState::Synced);
    world.assert_in_step().await;
    // It becomes a text: the same key, another kind.
    let patch = json!({"object": "Contact", "name": "Added__c", "type": "string 40"});
    world.control(Http::PATCH, "fields", patch).await;
    world.at(8_000).await;
    world.sync().await.unwrap();
    assert!(row(&world, &ids[0]).await.custom_fields["Added__c"].is_string());
    world.assert_in_step().await;
}

async fn a_field_that_is_hidden_keeps_what_is_known(db: Db) {
    let world = world(db).await;
    field(&world, "Score__c", "double 18,0").await;
    let ids = world
        .write(json!([
            insert(json!({"LastName": "a", "Score__c": 3, "Title": "t", "Department": "d"})),
            insert(json!({"LastName": "b"}))
        ]))
        .await;
    world.sync().await.unwrap();
    show(&world, &["Score__c", "Title", "Department"], false).await;
    world.at(4_000).await;
    world.write(json!([update("Contact", &ids[0], json!({"LastName": "changed", "Score__c": 4}))])).await;
    world.sync().await.unwrap();
    let kept = row(&world, &ids[0]).await;
    assert_eq!((kept.last_name.as_deref(), kept.title.as_deref()), (Some("changed"), Some("t")));
    assert_eq!((&kept.custom_fields, &kept.source_metadata["Department"]), (&json!({"Score__c": 3}), &json!("d")));
    let mapping = world.mapping().await;
    assert_eq!(mapping.state, MappingState::SchemaChanged);
    assert!(mapping.state_reason.unwrap().contains("title, Department, Score__c;"));
    world.at(4_700).await;
    let report = world.sync().await.unwrap();
    assert_eq!((report.run.api_calls, report.run.updated), (1, 0), "and costs nothing");
    show(&world, &["Score__c", "Title", "Department"], true).await;
    world.at(8_000).await;
    world.sync().await.unwrap();
    assert_eq!(row(&world, &ids[0]).await.custom_fields, json!({"Score__c": 4}), "though the stamp is long behind");
    assert_eq!(world.state().await, MappingState::Synced);
    world.assert_in_step().await;
}

async fn an_org_that_hides_known_fields_from_the_beginning_is_read_all_the_same(db: Db) {
    let world = world(db).await;
    show(&world, &["Birthdate", "Phone"], false).await;
    world.put("permissions", json!({"object": "Account", "visible": false})).await;
    let ids = people(&world, 2).await;
    world.sync().await.unwrap();
    assert_eq!(row(&world, &ids[0]).await.last_name.as_deref(), Some("l0"));
    assert_eq!((world.state().await, rows(&world).await.len()), (MappingState::Synced, 2));
    assert!(compare_contacts(world.connection(), world.tenant()).await.unwrap().is_equal());
}

async fn more_custom_fields_than_a_query_takes(db: Db) {
    let mut world = world(db).await;
    world.engine.care.longest_query = 600;
    for n in 0..60 {
        field(&world, &format!("Custom_{n}__c"), "string 40").await;
    }
    let custom: Map<String, Value> = (0..60).map(|n| (format!("Custom_{n}__c"), json!(format!("v{n}")))).collect();
    let mut fields = custom.clone();
    fields.insert("LastName".to_owned(), json!("wide"));
    let ids = world.write(json!([insert(Value::Object(fields)), insert(json!({"LastName": "narrow"}))])).await;
    world.sync().await.unwrap();
    assert_eq!(row(&world, &ids[0]).await.custom_fields, Value::Object(custom));
    assert_eq!(row(&world, &ids[1]).await.custom_fields, json!({}));
    world.assert_in_step().await;
}

async fn a_bulk_job_brings_the_same_as_pages(db: Db) {
    let mut world = world(db).await;
    for (name, kind) in [("Score__c", "double 18,2"), ("Vip__c", "boolean")] {
        field(&world, name, kind).await;
    }
    let accounts = world.accounts(["Acme".to_owned()]).await;
    let of = |n: usize| {
        insert(
            json!({"LastName": format!("l{n}"), "AccountId": accounts[0], "Score__c": n as f64 / 4.0, "Vip__c": n == 1,
            "Birthdate": "1815-12-10"}),
        )
    };
    world.write((0..300).map(of).collect()).await;
    world.engine.care.bulk_from = 100;
    assert_eq!(world.sync().await.unwrap().run.inserted, 300);
    world.assert_in_step().await;
    // Everything once more, by pages: not a single row is another one.
    world.engine.care.bulk_from = 50_000;
    world.at(900).await;
    let report = world.ask(Asked { reload: true, ..Asked::default() }).await.unwrap();
    assert_eq!((report.run.inserted, report.run.updated, report.run.drift_found), (0, 0, 0));
    assert!(report.run.rows_read >= 300);
}

async fn persons_who_were_erased_stay_away_and_errors_of_theirs_too(db: Db) {
    let world = world(db).await;
    let ids = world
        .write(json!([insert(json!({"LastName": "a", "Email": "ada@example.com"})), insert(json!({"LastName": "b"}))]))
        .await;
    world.sync().await.unwrap();
    world.tenant().erase_person(&Person::Email("ada@example.com"), now()).await.unwrap();
    world.at(900).await;
    world.write(json!([update("Contact", &ids[0], json!({"LastName": "again"}))])).await;
    let report = world.ask(Asked { verify: true, ..COMPARE }).await.unwrap();
    assert_eq!((report.run.inserted, report.run.updated), (0, 0));
    assert_eq!(rows(&world).await.into_keys().collect::<Vec<_>>(), [ids[1].clone()]);
    // A bulk job has a record that is not here, and is whole all the same.
    let mut world = world;
    world.engine.care.bulk_from = 1;
    world.at(1_800).await;
    world.ask(Asked { reload: true, ..Asked::default() }).await.unwrap();
    let bob = Person::Source { kind: SourceType::Salesforce, id: &ids[1] };
    let told = world.tenant().person_data(&bob, now()).await.unwrap();
    assert_eq!((told.contacts.len(), told.objects.len()), (1, 0), "once, and in no table of a mapping");
}

async fn the_mapping_comes_with_its_integration_and_goes_with_it(db: Db) {
    let world = world(db).await;
    let tenant = world.tenant();
    people(&world, 2).await;
    world.sync().await.unwrap();
    let mapping = world.mapping().await;
    assert!(mapping.is_contacts() && mapping.table.name() == "contacts");
    assert_eq!(tenant.count_present(&mapping).await.unwrap(), 2);
    assert_eq!(tenant.mapping_runs(&mapping, 9).await.unwrap().len(), 1);
    // It cannot be made by hand, nor deleted.
    for (name, table, flaw) in
        [("contacts", "people", "name"), ("people", "contacts", "table"), ("Contact", "p", "name")]
    {
        let definition = Definition { table: Some(table.to_owned()), ..Definition::all_of(name, "Contact") };
        let error =
            create_mapping(world.connection(), tenant, world.integration, &definition, now()).await.unwrap_err();
        assert!(error.to_string().contains(&format!("{flaw}: `")) && error.to_string().contains("built in"), "{error}");
        let new = NewMapping { name, object: "Contact", table, columns: Vec::new(), definition: &definition.to_json() };
        let error = tenant.create_mapping(world.integration, &new, now()).await.unwrap_err();
        assert!(matches!(error, StoreError::Taken(_)), "{error}");
    }
    let other = Definition { name: "people".to_owned(), ..all_of("Contact") };
    let error = change_mapping(world.connection(), tenant, &mapping, &other, now()).await.unwrap_err();
    assert!(matches!(error, SyncError::Store(StoreError::BuiltIn { .. })), "{error}");
    let error = tenant.delete_mapping(&mapping, jiff::Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert_eq!(error.to_string(), "the mapping `contacts` is built in: it can be neither changed nor deleted");
    assert_eq!(world.mapping().await.id, mapping.id);
    // Contacts stay when their integration goes, and are another one's when it reads them.
    assert!(tenant.delete_integration(world.integration, now()).await.unwrap());
    assert!(tenant.contacts_mapping(world.integration).await.unwrap().is_none());
    assert_eq!(tenant.count_contacts().await.unwrap(), 2);
    let integration = world.db.integration().await;
    let mapping = tenant.contacts_mapping(integration).await.unwrap().unwrap();
    assert_eq!(tenant.count_present(&mapping).await.unwrap(), 0);
    let report = world.engine.run(integration, Asked::default(), &mut |_| {}).await.unwrap();
    assert_eq!((report.run.inserted, report.run.updated), (0, 2));
    assert_eq!(tenant.count_present(&mapping).await.unwrap(), 2);
}

async fn the_feed_of_contacts_tells_how_they_went(db: Db) {
    use tieline_store::records::{Deleted, RecordQuery, RecordSource, Start};
    let world = world(db).await;
    let ids = people(&world, 3).await;
    world.sync().await.unwrap();
    let mapping = world.mapping().await;
    let source = RecordSource::mapping(&mapping);
    let page = async |start: Start| {
        let fields: Vec<_> = source.columns().iter().collect();
        let query = RecordQuery { start, filters: &[], fields: &fields, deleted: Deleted::Include, limit: 9 };
        world.tenant().records(&source, &query).await.unwrap().unwrap()
    };
    let first = page(Start::Changes).await;
    assert_eq!(first.records.len(), 3);
    let place = first.next.place_in(mapping.id).unwrap().clone();
    world.at(900).await;
    let merge = json!({"object": "Contact", "winner": ids[0], "losers": [ids[1]], "fields": {}});
    world.post("records/merge", merge).await;
    world.write(json!([delete("hard_delete", &ids[2])])).await;
    world.at(1_000).await;
    world.ask(VERIFY).await.unwrap();
    let changed = page(Start::After(place)).await;
    let told: BTreeMap<String, Value> = changed
        .records
        .iter()
        .map(|record| serde_json::from_str(record.get()).unwrap())
        .map(|record: Value| (record["id"].as_str().unwrap().to_owned(), record))
        .collect();
    assert_eq!((&told[&ids[1]]["deleted"], &told[&ids[1]]["master_id"]), (&json!("merged"), &json!(ids[0])));
    assert_eq!((&told[&ids[2]]["deleted"], &told[&ids[2]]["master_id"]), (&json!("erased"), &Value::Null));
    assert!(told[&ids[0]]["fields"]["custom_fields"].is_object());
}

async fn contacts_that_were_taken_out_by_age_are_not_missing(db: Db) {
    let world = world(db).await;
    let ids = people(&world, 3).await;
    world.sync().await.unwrap();
    let keeps = Retention { contact_days: Some(30), ..Retention::default() };
    world.tenant().set_retention(&keeps, now()).await.unwrap();
    world.at(40 * DAY).await;
    world.write(json!([update("Contact", &ids[0], json!({"Title": "new"}))])).await;
    world.sync().await.unwrap();
    assert_eq!(world.tenant().sweep(world.engine.clock.now()).await.unwrap().contacts, 2);
    world.at(40 * DAY + 900).await;
    let report = world.ask(COMPARE).await.unwrap();
    assert_eq!((report.run.inserted, report.run.drift_found), (0, 0));
    assert_eq!(rows(&world).await.into_keys().collect::<Vec<_>>(), [ids[0].clone()]);
    // One that changes comes back.
    world.write(json!([update("Contact", &ids[1], json!({"Title": "new"}))])).await;
    world.at(40 * DAY + 1_800).await;
    assert_eq!(world.sync().await.unwrap().run.inserted, 1);
}
