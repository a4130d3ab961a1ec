//! Businesses do not see each other, and the database itself holds to it.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use tieline_store::{Checkpoint, Contact, ContactRow, Credentials, NewUser, Role, Tenant, Uuid, tenancy};

use crate::contact_steps::{ContactSteps, Step};
use crate::database::{Db, Raw, now};

on_both!(
    every_table_is_a_tenants_and_kept_so_or_shared_and_named,
    two_businesses_with_the_same_org_never_touch,
    a_statement_without_its_business_finds_nothing_of_another,
);

async fn two(db: &Db) -> (Tenant, Tenant) {
    let mut tenants = Vec::new();
    let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    for name in ["a", "b"] {
        let business = db.store.create_business(name, owner.id, "", now()).await.unwrap();
        let membership = db.store.membership(owner.id, business).await.unwrap().unwrap();
        assert_eq!((membership.role(), membership.name()), (Role::Owner, name));
        tenants.push(db.store.as_member(&membership));
    }
    let b = tenants.pop().unwrap();
    (tenants.pop().unwrap(), b)
}

async fn every_table_is_a_tenants_and_kept_so_or_shared_and_named(db: Db) {
    let ours: BTreeSet<String> = tenancy::tables_of_tenants().map(str::to_owned).collect();
    let shared: BTreeSet<String> = tenancy::shared_tables().map(str::to_owned).collect();
    let listed: BTreeSet<String> = ours.union(&shared).cloned().collect();
    let tables = match &db.raw {
        Raw::Sqlite(_) => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'"
        }
        Raw::Postgres(_) => {
            "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname NOT LIKE '\\_%'"
        }
    };
    let there: BTreeSet<String> = db.raw.texts(tables).await.into_iter().collect();
    assert_eq!(there, listed, "a table stands in neither list of the module `tenancy`");
    if db.is_sqlite() {
        let named = db
            .raw
            .texts("SELECT m.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c WHERE c.name = 'business_id'")
            .await;
        let named: BTreeSet<String> = named.into_iter().chain(["businesses".to_owned()]).collect();
        assert_eq!(named, ours);
        return;
    }
    let kept = db
        .raw
        .texts(
            "SELECT c.relname::text FROM pg_class AS c WHERE c.relrowsecurity AND c.relforcerowsecurity
             AND EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND p.polname = 'business'
                AND p.polcmd = '*' AND p.polroles = ARRAY['tieline_app'::regrole::oid]
                AND pg_get_expr(p.polqual, p.polrelid) IN ('(business_id = tieline_business())', '(id = tieline_business())')
                AND pg_get_expr(p.polwithcheck, p.polrelid) = pg_get_expr(p.polqual, p.polrelid))",
        )
        .await;
    assert_eq!(
        kept.into_iter().collect::<BTreeSet<_>>(),
        ours,
        "row-level security is not forced, or its rule is another"
    );
    let open = "SELECT polrelid::regclass::text FROM pg_policy WHERE polname NOT IN ('business', 'everybody', 'own')
        OR polroles && ARRAY[0::oid] OR (polname = 'everybody' AND polroles <> ARRAY['tieline_system'::regrole::oid])";
    assert_eq!(db.raw.texts(open).await, Vec::<String>::new(), "a policy opens a table to others");
    let rights = "SELECT rolname::text FROM pg_roles WHERE rolname IN ('tieline_app', 'tieline_system') AND (rolsuper OR rolbypassrls OR rolcanlogin)
        UNION SELECT tableowner::text FROM pg_tables WHERE tableowner IN ('tieline_app', 'tieline_system')";
    assert_eq!(db.raw.texts(rights).await, Vec::<String>::new());
}

fn contact(last_name: &str) -> ContactRow {
    ContactRow {
        source_id: "003000000000001AAA".to_owned(),
        first_name: None,
        last_name: Some(last_name.to_owned()),
        name: None,
        email: None,
        phone: None,
        company: None,
        title: None,
        source_metadata: serde_json::json!({}),
        custom_fields: serde_json::json!({}),
        source_stamp: now(),
        deleted: None,
    }
}

async fn two_businesses_with_the_same_org_never_touch(db: Db) {
    let (a, b) = two(&db).await;
    let mut integrations = Vec::new();
    for (tenant, name) in [(&a, "A's"), (&b, "B's")] {
        let integration = tenant.save_integration("org", &Credentials::new(name.into()), now()).await.unwrap();
        let run = tenant.start_run(integration, now()).await.unwrap();
        let rows = [contact(name)];
        let checkpoint = Checkpoint { through: Some(now()), scan: None };
        tenant
            .commit_step(&run, &Step { contacts: &rows, checkpoint: &checkpoint, api_calls: 1 }, now())
            .await
            .unwrap();
        integrations.push((integration, run));
    }
    for (tenant, name, (theirs, their_run)) in [(&a, "A's", &integrations[1]), (&b, "B's", &integrations[0])] {
        let rows: Vec<Contact> = tenant.contacts().try_collect().await.unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].row.last_name.as_deref(), Some(name));
        assert_eq!(tenant.integrations().await.unwrap().len(), 1);
        // Everything that takes an id, with the other's.
        assert!(tenant.integration(*theirs).await.unwrap().is_none());
        assert!(tenant.open_credentials(*theirs).await.is_err());
        assert_eq!(tenant.checkpoint(*theirs).await.unwrap(), Checkpoint::default());
        assert!(tenant.runs(*theirs, 9).await.unwrap().is_empty());
        assert!(tenant.run(their_run.id).await.unwrap().is_none());
        assert!(tenant.start_run(*theirs, now()).await.is_err(), "a run on another's integration");
        tenant.finish_run(their_run, tieline_store::RunState::Failed, Some("meddled"), now()).await.unwrap();
        let step = Step { contacts: &[contact("meddled")], checkpoint: &Checkpoint::default(), api_calls: 0 };
        assert!(tenant.commit_step(their_run, &step, now()).await.is_err());
        let status = tieline_store::Status::Error;
        tenant.note_integration(*theirs, status, Some("meddled"), None, now()).await.unwrap();
    }
    for (tenant, (integration, run)) in [(&a, &integrations[0]), (&b, &integrations[1])] {
        let own = tenant.integration(*integration).await.unwrap().unwrap();
        assert_eq!((own.status, own.status_reason), (tieline_store::Status::Active, None));
        assert_eq!(tenant.run(run.id).await.unwrap().unwrap().state, "running");
        assert!(tenant.checkpoint(*integration).await.unwrap().through.is_some());
    }
    assert_eq!(db.store.own().count_contacts().await.unwrap(), 0);
}

/// What a forgotten condition, or one that an attacker has written, would reach: asked through connections that are
/// set up as the store's are.
async fn a_statement_without_its_business_finds_nothing_of_another(db: Db) {
    let (a, b) = two(&db).await;
    let integration = a.save_integration("org", &Credentials::new(b"x".to_vec()), now()).await.unwrap();
    let lead = |id: Uuid, business: Uuid| {
        format!(
            "INSERT INTO leads (id, business_id, source_type, source_id, sync_status, last_synced_at, created_at, updated_at)
             VALUES ('{id}', '{business}', 'csv', '{id}', 'synced', {now}, {now}, {now})",
            now = if db.is_sqlite() { "0" } else { "now()" },
        )
    };
    let row = Uuid::now_v7();
    a.sql(&lead(row, a.business())).await.unwrap();
    let count = async |tenant: &Tenant, sql: &str| tenant.sql(sql).await.unwrap();
    assert_eq!(count(&a, "SELECT id FROM leads WHERE true OR business_id IS NULL").await, 1);
    assert_eq!(count(&b, "SELECT id FROM leads WHERE true OR business_id IS NULL").await, 0);
    assert_eq!(count(&b, "UPDATE leads SET title = 'x' WHERE true").await, 0);
    assert_eq!(count(&b, "DELETE FROM leads WHERE true").await, 0);
    assert_eq!(count(&b, &format!("DELETE FROM integrations WHERE id = '{integration}'")).await, 0);
    assert!(b.sql(&lead(Uuid::now_v7(), a.business())).await.is_err(), "a row of another business was written");
    let moved = format!("UPDATE leads SET business_id = '{}' WHERE true", b.business());
    assert!(a.sql(&moved).await.is_err(), "a row was moved into another business");
    let joined = "SELECT l.id FROM leads AS l LEFT JOIN integrations AS i ON true";
    assert_eq!((count(&a, joined).await, count(&b, joined).await), (1, 0));
    assert_eq!(count(&b, "SELECT id FROM businesses WHERE name = 'a'").await, 1, "the owner of both sees both names");
    let other = tenant_of_nobody(&db).await;
    for table in tenancy::tables_of_tenants() {
        assert_eq!(count(&other, &format!("SELECT * FROM {table}")).await, 0, "{table}");
    }
}

/// A business that does not exist.
async fn tenant_of_nobody(db: &Db) -> Tenant {
    let user = db.store.account("owner@example.com").await.unwrap().unwrap().user.id;
    let gone = db.store.create_business("gone", user, "", now()).await.unwrap();
    let membership = db.store.membership(user, gone).await.unwrap().unwrap();
    let delete = format!("DELETE FROM businesses WHERE id = '{gone}'");
    match &db.raw {
        Raw::Sqlite(_) => db.raw.run(&format!("PRAGMA foreign_keys = ON; {delete}")).await,
        Raw::Postgres(_) => db.raw.run(&delete).await,
    }
    let tenant = db.store.as_member(&membership);
    tenant.without_person()
}
