//! A business that is deleted leaves nothing, and another one all; so does an account.

use std::time::Duration;

use jiff::SignedDuration;
use tieline_store::audit::{AuditFilter, Verification};
use tieline_store::integration_logs::{Event, Level};
use tieline_store::mappings::{MappingStep, RowError, Spent, Standing};
use tieline_store::object_tables::{Change, Rows};
use tieline_store::{
    AccountDeletion, Batch, Checkpoint, Digest, Fetched, Invited, NewApiKey, NewLogin, NewUser, Person, Retention,
    Role, Session, StoreError, Tenant, User, Uuid, tenancy,
};

use crate::contact_steps::{ContactSteps, Step};
use crate::database::{Db, now};
use crate::imports::{asked, contact, create};

on_both!(
    a_deleted_business_leaves_nothing_behind,
    a_deleted_account_is_an_id_and_nothing_else,
    when_the_last_account_has_gone_somebody_may_be_the_first_again,
);

async fn owner(db: &Db) -> User {
    let new = NewUser { email: "owner@example.com", name: "Ada", password_hash: Some("$argon2id$x") };
    db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap()
}

async fn business(db: &Db, owner: Uuid, name: &str) -> Tenant {
    let business = db.store.create_business(name, owner, "", now()).await.unwrap();
    db.store.as_member(&db.store.membership(owner, business).await.unwrap().unwrap())
}

/// A row at least in every table.
pub(crate) async fn fill(db: &Db, tenant: &Tenant) -> Uuid {
    let credentials = tieline_store::Credentials::new(b"hidden".to_vec());
    let integration = tenant.save_integration("org", &credentials, now()).await.unwrap();
    let soon = now() + SignedDuration::from_hours(1);
    let token = Digest::of(format!("invited by {}", tenant.business()));
    tenant.invite("invited@example.com", Role::Viewer, token, now(), soon).await.unwrap();
    let digest = Digest::of(format!("key of {}", tenant.business()));
    let new = NewApiKey { name: "k", prefix: "tl_x", digest, role: Role::Viewer, expires_at: None };
    tenant.create_api_key(&new, now()).await.unwrap();
    let made = tenant.integration(integration).await.unwrap().unwrap();
    let tokens = tenant.token_store(&made).await.unwrap();
    let lease = tokens.store.lease("x", "me", Duration::from_secs(9), tieline_auth::token_store::Take::IfFree);
    let tieline_auth::token_store::Lease::Held { fence } = lease.await.unwrap() else { panic!() };
    tokens.store.compare_and_swap("x", 0, fence, &tokens.key.seal(b"hidden", "x").unwrap()).await.unwrap();
    let login = NewLogin {
        integration: &made,
        state: Digest::of(format!("state of {}", tenant.business())),
        browser: Digest::of("browser"),
        secrets: b"hidden",
        login_url: "https://login.salesforce.com",
        redirect_uri: "https://example.com",
        return_to: "/",
        expires_at: soon,
    };
    tenant.begin_login(&login, now()).await.unwrap();
    let run = tenant.start_run(integration, now()).await.unwrap();
    let contacts = [contact("1", "x"), contact("2", "x"), contact("3", "x")];
    let step = Step { contacts: &contacts, checkpoint: &Checkpoint::default(), api_calls: 1 };
    tenant.commit_step(&run, &step, now()).await.unwrap();
    create(tenant, &asked(integration, &["1".to_owned()]), now()).await;
    let claim = db.store.claim_import(now(), Duration::from_secs(60)).await.unwrap().unwrap();
    claim.commit_batch(&[Fetched { position: 0, contact: Ok(contact("1", "x")) }], now()).await.unwrap();
    claim.finish_import(None, now()).await.unwrap();
    tenant.log(Some(integration), Event::SyncSuccess, Level::Info, "x", serde_json::json!({}), now()).await.unwrap();
    tenant.set_match_rules(&tieline_store::duplicates::MatchRules::default(), now()).await.unwrap();
    assert_eq!(tenant.find_duplicates(9, now()).await.unwrap().found, 3);
    tenant.erase_person(&Person::Email("2@example.com"), now()).await.unwrap();
    tenant.set_retention(&Retention::default(), now()).await.unwrap();
    let hook = crate::alerts::channel(tenant, "ops").await;
    let settings = tieline_store::alerts::RuleSettings::default();
    crate::alerts::rule(tenant, tieline_store::alerts::AlertKind::AuthFailure, settings, &[hook.id]).await;
    tenant.note_failure(integration, &crate::alerts::LOGIN, now()).await.unwrap();
    let mapping = crate::object_tables::mapped(tenant, integration, "accounts", &[]).await;
    let run = tenant.start_mapping_run(&mapping, now()).await.unwrap();
    let error = RowError { record: "1".into(), column: "name".into(), reason: "r".into(), value: None };
    let (rows, standing, spent) = (Rows::new(0), Standing::default(), Spent::default());
    let step = MappingStep { rows: rows.into(), change: Change::Rows, standing: &standing, spent, errors: &[error] };
    tenant.commit_rows(&run, &mapping, step, now()).await.unwrap();
    crate::records::webhook(tenant, &mapping, false).await;
    db.store.follow_integrations(Duration::from_secs(900), now()).await.unwrap();
    integration
}

async fn rows(db: &Db, table: &str, business: Uuid) -> u64 {
    let of = if table == "businesses" { "id" } else { "business_id" };
    let n = db.raw.texts(&format!("SELECT CAST(count(*) AS text) FROM {table} WHERE {of} = '{business}'")).await;
    n[0].parse().unwrap()
}

async fn a_deleted_business_leaves_nothing_behind(db: Db) {
    let owner = owner(&db).await;
    let (a, b) = (business(&db, owner.id, "a").await, business(&db, owner.id, "b").await);
    let (integration, _) = (fill(&db, &a).await, fill(&db, &b).await);
    let mut before = Vec::new();
    for table in tenancy::tables_of_tenants() {
        assert!(rows(&db, table, a.business()).await > 0, "{table}: the test has no row there");
        before.push((table, rows(&db, table, b.business()).await));
    }
    // Somebody is at an import, and somebody at a sync.
    let given: Vec<String> = (10..20).map(|n| n.to_string()).collect();
    create(&a, &asked(integration, &given), now()).await;
    let claim = db.store.claim_import(now(), Duration::from_secs(60)).await.unwrap().unwrap();
    let run = a.start_run(integration, now()).await.unwrap();
    // And the second one's deletion of the same finds nothing.
    let (first, second) = tokio::join!(a.delete_business(now()), a.delete_business(now()));
    assert!([first.unwrap(), second.unwrap()].iter().filter(|gone| **gone).count() == 1);
    for table in tenancy::tables_of_tenants() {
        assert_eq!(rows(&db, table, a.business()).await, 0, "{table}");
    }
    let tables = if db.is_sqlite() { "SELECT name FROM sqlite_master" } else { "SELECT tablename FROM pg_tables" };
    let tables = db.raw.texts(tables).await;
    assert!(!tables.contains(&a.table_name("accounts")) && tables.contains(&b.table_name("accounts")), "{tables:?}");
    for (table, n) in before {
        assert_eq!(rows(&db, table, b.business()).await, n, "{table} of another business");
    }
    let written = claim.commit_batch(&[Fetched { position: 0, contact: Ok(contact("10", "x")) }], now()).await;
    assert_eq!(written.unwrap(), Batch::Fenced);
    assert!(!claim.finish_import(None, now()).await.unwrap());
    let rows_ = [contact("11", "x")];
    let step = Step { contacts: &rows_, checkpoint: &Checkpoint::default(), api_calls: 1 };
    assert!(matches!(a.commit_step(&run, &step, now()).await, Err(StoreError::Fenced { .. })));
    assert!(a.open_credentials(integration).await.is_err());
    for table in tenancy::tables_of_tenants() {
        assert_eq!(rows(&db, table, a.business()).await, 0, "{table}, after those who were at work");
    }
    let told = db.store.audit_entries(&AuditFilter::default(), None, 9).await.unwrap();
    assert_eq!((told[0].action.as_str(), told[0].detail.as_str()), ("business.deleted", "{}"));
    assert_eq!(told[0].target_id.as_deref(), Some(a.business().to_string().as_str()));
    assert!(matches!(b.verify_audit().await.unwrap(), Verification::Verified { .. }));
    let left = db.store.memberships(owner.id).await.unwrap();
    assert_eq!(left.iter().map(|m| m.name()).collect::<Vec<_>>(), ["b", "first"], "its people keep their accounts");
}

async fn when_the_last_account_has_gone_somebody_may_be_the_first_again(db: Db) {
    let owner = owner(&db).await;
    let membership = db.store.membership(owner.id, db.store.own().business()).await.unwrap().unwrap();
    assert!(db.store.as_member(&membership).delete_business(now()).await.unwrap());
    assert!(db.store.has_users().await.unwrap());
    assert_eq!(db.store.delete_account(owner.id, None, now()).await.unwrap(), AccountDeletion::Done);
    assert!(!db.store.has_users().await.unwrap());
    let new = NewUser { email: "next@example.com", name: "N", password_hash: None };
    let next = db.store.set_up(&new, "Anew", "", now()).await.unwrap().unwrap();
    assert_eq!(db.store.memberships(next.id).await.unwrap()[0].name(), "Anew");
}

async fn a_deleted_account_is_an_id_and_nothing_else(db: Db) {
    let owner = owner(&db).await;
    let b = business(&db, owner.id, "b").await;
    let session = Session {
        id: Uuid::now_v7(),
        user_id: owner.id,
        created_at: now(),
        last_seen_at: now(),
        expires_at: now() + SignedDuration::from_hours(1),
        address: "127.0.0.1".to_owned(),
        user_agent: "test".to_owned(),
    };
    db.store.begin_session(Digest::of("s"), &session, "password").await.unwrap();
    fill(&db, &b).await;
    let token = Digest::of("t");
    let soon = now() + SignedDuration::from_hours(1);
    let refused = db.store.delete_account(owner.id, None, now()).await.unwrap();
    assert_eq!(refused, AccountDeletion::SoleOwner(vec!["first".to_owned(), "b".to_owned()]));
    b.invite("second@example.com", Role::Owner, token, now(), soon).await.unwrap();
    let invited = Invited::New(NewUser { email: "", name: "Second", password_hash: None });
    let (_, second) = db.store.accept_invitation(token, invited, "", now()).await.unwrap().unwrap();
    let refused = db.store.delete_account(owner.id, None, now()).await.unwrap();
    assert_eq!(refused, AccountDeletion::SoleOwner(vec!["first".to_owned()]));
    assert!(db.store.own().delete_business(now()).await.unwrap());
    // Both owners go at once: one stays.
    let both = tokio::join!(
        db.store.delete_account(owner.id, Some("192.0.2.1"), now()),
        db.store.delete_account(second, None, now())
    );
    let both = [both.0.unwrap(), both.1.unwrap()];
    assert!(
        both.contains(&AccountDeletion::Done) && both.contains(&AccountDeletion::SoleOwner(vec!["b".to_owned()])),
        "{both:?}"
    );
    let (gone, email) =
        if both[0] == AccountDeletion::Done { (owner.id, "owner@example.com") } else { (second, "second@example.com") };
    assert!(db.store.account(email).await.unwrap().is_none());
    let account = db.store.account_of(gone).await.unwrap().unwrap();
    assert!(account.is_disabled && account.password_hash.is_none() && account.user.name == "deleted");
    assert_eq!(account.user.email, format!("{gone}@deleted.invalid"));
    assert!(db.store.memberships(gone).await.unwrap().is_empty());
    assert!(db.store.sessions_of(gone, now()).await.unwrap().is_empty());
    assert_eq!(db.store.delete_account(gone, None, now()).await.unwrap(), AccountDeletion::NotFound);
    let left = b.audit_entries(&AuditFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!((left.action.as_str(), left.target_id), ("member.removed", Some(gone.to_string())));
    let told = db.store.audit_entries(&AuditFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!((told.action.as_str(), told.actor_id), ("account.deleted", Some(gone.to_string())));
    // The address is free again.
    b.invite(email, Role::Viewer, Digest::of("again"), now(), soon).await.unwrap();
}
