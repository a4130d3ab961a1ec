//! An export is all of one business from one moment, and nothing secret.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use tieline_store::audit::AuditFilter;
use tieline_store::{NewUser, Person, Tenant, Uuid, export, tenancy};

use crate::database::{Db, Raw, now};
use crate::imports::ids;

on_both!(every_column_is_exported_or_left_out_on_purpose, all_of_a_business_is_exported_and_nothing_secret,);

async fn every_column_is_exported_or_left_out_on_purpose(db: Db) {
    let columns = match &db.raw {
        Raw::Sqlite(_) => {
            "SELECT m.name || '.' || c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'"
        }
        Raw::Postgres(_) => {
            "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'"
        }
    };
    let tables: BTreeSet<&str> = tenancy::tables_of_tenants().chain(["users"]).collect();
    let mut seen = 0;
    for column in db.raw.texts(columns).await {
        let (table, column) = column.split_once('.').unwrap();
        if tables.contains(table) {
            seen += 1;
            assert!(export::is_decided(table, column), "nobody has said whether {table}.{column} is exported");
        }
    }
    assert!(seen > 100, "{seen}");
}

async fn lines(tenant: &Tenant) -> BTreeMap<String, Vec<Value>> {
    let pieces: Vec<Vec<u8>> = tenant.export(now()).await.unwrap().try_collect().await.unwrap();
    told(&pieces.concat())
}

fn told(text: &[u8]) -> BTreeMap<String, Vec<Value>> {
    let mut tables: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in std::str::from_utf8(text).unwrap().lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line.as_object().unwrap().len(), 2);
        tables.entry(line["table"].as_str().unwrap().to_owned()).or_default().push(line["row"].take());
    }
    tables
}

/// Leads, written beside the store.
async fn many_leads(db: &Db, tenant: &Tenant, range: std::ops::Range<usize>) {
    let (business, stamp) = (tenant.business(), if db.is_sqlite() { "0" } else { "now()" });
    for chunk in ids(range).chunks(1_000) {
        let rows: Vec<String> = chunk
            .iter()
            .map(|id| {
                format!("('{}', '{business}', 'csv', '{id}', 'x', 'synced', {stamp}, {stamp}, {stamp})", Uuid::now_v7())
            })
            .collect();
        db.raw
            .run(&format!(
                "INSERT INTO leads (id, business_id, source_type, source_id, name, sync_status, last_synced_at, created_at, updated_at) VALUES {}",
                rows.join(", ")
            ))
            .await;
    }
}

async fn all_of_a_business_is_exported_and_nothing_secret(db: Db) {
    let new = NewUser { email: "owner@example.com", name: "Ada", password_hash: Some("$argon2id$canary") };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let business = db.store.create_business("acme", owner.id, "", now()).await.unwrap();
    let tenant = db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap());
    crate::deletion::fill(&db, &tenant).await;
    let exported = lines(&tenant).await;
    for table in tenancy::tables_of_tenants().chain(["users"]) {
        let is_secret = [
            "data_keys",
            "integration_tokens",
            "login_attempts",
            "erasure_keys",
            "mapping_checkpoints",
            "sync_turns",
            "match_keys",
        ]
        .contains(&table);
        assert_eq!(exported.contains_key(table), !is_secret, "{table}");
    }
    assert_eq!(exported["users"][0]["email"], "owner@example.com");
    assert_eq!(exported["businesses"][0]["name"], "acme");
    let lead = &exported["leads"][0];
    assert_eq!(
        (&lead["source_metadata"]["Department"], &lead["created_at"]),
        (&"R&D".into(), &"2026-06-01T12:00:00Z".into())
    );
    assert_eq!(exported["contacts"][0]["deleted"], false);
    let text = serde_json::to_string(&exported).unwrap();
    for name in ["password_hash", "key_hash", "token_hash", "credentials", "sealed", "wrapped", "state_hash"] {
        assert!(!text.contains(name), "{name}");
    }
    // Of each secret in the database, by its bytes too.
    let (hex, end) = if db.is_sqlite() { ("lower(hex(", "))") } else { ("encode(", ", 'hex')") };
    for (table, column) in [
        ("integrations", "credentials"),
        ("integration_tokens", "sealed"),
        ("login_attempts", "sealed"),
        ("data_keys", "wrapped"),
        ("erasure_keys", "sealed"),
        ("record_webhooks", "setting"),
        ("api_keys", "key_hash"),
        ("invitations", "token_hash"),
    ] {
        let of = format!("WHERE business_id = '{business}' AND {column} IS NOT NULL");
        let values = db.raw.texts(&format!("SELECT {hex}{column}{end} FROM {table} {of}")).await;
        assert!(!values.is_empty(), "{table}.{column}");
        assert!(values.iter().all(|value| !value.is_empty() && !text.contains(value)), "{table}.{column}");
    }
    assert!(!text.contains("canary"));
    let begun = tenant.audit_entries(&AuditFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!((begun.action.as_str(), begun.target_id), ("business.exported", Some(business.to_string())));

    // Many rows, from the moment of the first, whatever is done while somebody reads slowly.
    many_leads(&db, &tenant, 0..50_000).await;
    let before = tenant.count_leads().await.unwrap();
    let mut pieces = Box::pin(tenant.export(now()).await.unwrap());
    let mut all = pieces.next().await.unwrap().unwrap();
    tenant.erase_person(&Person::Email("1@example.com"), now()).await.unwrap();
    many_leads(&db, &tenant, 50_000..50_100).await;
    let mut longest = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece.unwrap();
        longest = longest.max(piece.len());
        all.extend(piece);
    }
    assert!(longest < 80_000, "{longest} bytes at once");
    let all = told(&all);
    assert_eq!(all["leads"].len() as i64, before);
    // Tables that were read later are of the same moment.
    assert_eq!(all["erasures"].len(), 1, "what was done meanwhile is not in it");
    assert_eq!(all["audit_log"].last().unwrap()["action"], "business.exported");
    // Whoever goes away early leaves no transaction behind.
    for _ in 0..12 {
        let mut pieces = Box::pin(tenant.export(now()).await.unwrap());
        pieces.next().await.unwrap().unwrap();
    }
    assert_eq!(lines(&tenant).await["leads"].len() as i64, tenant.count_leads().await.unwrap());
}
