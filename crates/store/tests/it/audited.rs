//! A change and its entry in the audit log are one: neither stands without the other.

use std::pin::Pin;

use serde_json::json;
use tieline_store::audit::{Action, Actor, AuditEntry, AuditFilter, Entry};
use tieline_store::mappings::Mapping;
use tieline_store::records::{NewRecordWebhook, Rewind, WebhookChange};
use tieline_store::{
    Connected, Credentials, Digest, Integration, Invited, NewAccess, NewApiKey, NewUser, Role, Session, StoreError,
    Tenant, Uuid,
};

use crate::database::{Db, now};
use crate::imports::{asked, ids};

on_both!(
    a_change_has_one_entry_and_without_it_does_not_happen,
    entries_and_the_end_of_access_do_not_wait_for_each_other,
);

type Change<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + 'a>>;
/// Begins a change, as often as one likes.
type Begin<'a> = Box<dyn Fn() -> Change<'a> + 'a>;

/// What the changes are made to.
struct Scene {
    owner: Uuid,
    member: Uuid,
    tenant: Tenant,
    integration: Integration,
    key: Uuid,
    invitation: Uuid,
    import: Uuid,
    failed_import: Uuid,
    session: Session,
    mapping: Mapping,
    webhook: Uuid,
}

const ADDRESS: &str = "192.0.2.7";

async fn scene(db: &Db) -> Scene {
    let new = |email| NewUser { email, name: "A", password_hash: None };
    let owner = db.store.set_up(&new("owner@example.com"), "Acme", ADDRESS, now()).await.unwrap().unwrap();
    let business = db.store.own().business();
    let membership = db.store.membership(owner.id, business).await.unwrap().unwrap();
    let tenant = db.store.as_member(&membership).by(Actor::User(owner.id), Some(ADDRESS));
    let invite = async |email: &str| {
        tenant.invite(email, Role::Member, Digest::of(email), now(), now() + std::time::Duration::from_secs(60)).await
    };
    invite("member@example.com").await.unwrap();
    let invited = Invited::New(new("member@example.com"));
    let token = Digest::of("member@example.com");
    let (_, member) = db.store.accept_invitation(token, invited, ADDRESS, now()).await.unwrap().unwrap();
    let invitation = invite("next@example.com").await.unwrap().id;
    let integration = tenant.create_integration("acme", None, &json!({}), now()).await.unwrap();
    let import = crate::imports::create(&tenant, &asked(integration.id, &ids(0..3)), now()).await.id;
    let failed_import = crate::imports::create(&tenant, &asked(integration.id, &ids(6..9)), now()).await.id;
    db.raw.run(&format!("UPDATE imports SET state = 'failed' WHERE id = '{failed_import}'")).await;
    let new = NewApiKey { name: "k", prefix: "tl_1", digest: Digest::of("k"), role: Role::Member, expires_at: None };
    let key = tenant.create_api_key(&new, now()).await.unwrap().id;
    let session = session(owner.id);
    db.store.begin_session(Digest::of("s"), &session, "password").await.unwrap();
    let mapping = crate::object_tables::mapped(&tenant, integration.id, "accounts", &[]).await;
    let webhook = crate::records::webhook(&tenant, &mapping, false).await.id;
    Scene {
        owner: owner.id,
        member,
        tenant,
        integration,
        key,
        invitation,
        import,
        failed_import,
        session,
        mapping,
        webhook,
    }
}

fn session(user_id: Uuid) -> Session {
    Session {
        id: Uuid::now_v7(),
        user_id,
        created_at: now(),
        last_seen_at: now(),
        expires_at: now() + std::time::Duration::from_secs(60),
        address: ADDRESS.to_owned(),
        user_agent: String::new(),
    }
}

/// Every change that is told of, in an order in which each finds what it needs; and the name of its entry.
fn changes<'a>(db: &'a Db, s: &'a Scene) -> Vec<(&'static str, Begin<'a>)> {
    macro_rules! change {
        ($name:literal, $work:expr) => {
            ($name, Box::new(move || -> Change<'a> { Box::pin(async move { $work.await.map(drop) }) }))
        };
    }
    let (t, id) = (&s.tenant, s.integration.id);
    vec![
        change!("session.started", db.store.begin_session(Digest::of("other"), &session(s.owner), "password")),
        change!("password.changed", db.store.set_password(s.owner, "$argon2id$y", Some(s.session.id), ADDRESS, now())),
        change!("session.ended", db.store.end_session(s.owner, s.session.id, ADDRESS, now())),
        change!("business.updated", t.rename_business("Acme & Sons", now())),
        change!("business.created", db.store.create_business("Other", s.owner, ADDRESS, now())),
        change!(
            "member.joined",
            db.store.accept_invitation(Digest::of("next@example.com"), Invited::User(s.member), ADDRESS, now())
        ),
        change!("member.invited", t.invite("x@example.com", Role::Viewer, Digest::of("x"), now(), now())),
        change!("member.role_changed", t.change_member(s.member, Some(Role::Admin), now())),
        change!("member.removed", t.change_member(s.member, None, now())),
        change!(
            "api_key.created",
            t.create_api_key(
                &NewApiKey { name: "l", prefix: "tl_2", digest: Digest::of("l"), role: Role::Viewer, expires_at: None },
                now()
            )
        ),
        change!("api_key.revoked", t.revoke_api_key(s.key, now())),
        change!("connection.created", async { t.create_integration("second", None, &json!({}), now()).await }),
        change!("connection.updated", t.update_integration(id, Some("renamed"), None, None, now())),
        change!("connection.authorized", authorized(s)),
        change!("import.created", async { t.create_import(&asked(id, &ids(3..5)), now()).await }),
        change!("import.cancelled", t.cancel_import(s.import, now())),
        change!("import.retried", t.retry_import(s.failed_import, now())),
        change!("record_webhook.created", async {
            let (shown, setting) = ("hooks.example", b"x".as_slice());
            let new = NewRecordWebhook { shown, setting, fields: None, include_records: false, from_beginning: false };
            t.create_record_webhook(&s.mapping, &new, 100, now()).await
        }),
        change!("record_webhook.updated", async {
            let change = WebhookChange { include_records: Some(true), ..WebhookChange::default() };
            t.update_record_webhook(s.webhook, &change, now()).await
        }),
        change!("record_webhook.rewound", t.rewind_record_webhook(s.webhook, &Rewind::Beginning, now())),
        change!("record_webhook.key_rotated", t.rotate_record_webhook_secret(s.webhook, b"y", now())),
        change!("record_webhook.deleted", t.delete_record_webhook(s.webhook, now())),
        change!("connection.revoked", t.end_all_access(now())),
        change!("connection.disconnected", async {
            let now_there = t.integration(id).await?.unwrap();
            t.shut_integration(&now_there, None, true, "disconnected", now()).await
        }),
        change!("connection.deleted", t.delete_integration(id, now())),
    ]
}

async fn authorized(s: &Scene) -> Result<Connected, StoreError> {
    let credentials = Credentials::new(b"{}".to_vec());
    let there = s.tenant.integration(s.integration.id).await?.unwrap();
    let access = NewAccess {
        credentials: &credentials,
        organization_id: "00D000000000001EAA",
        config: &json!({}),
        begun_at: now(),
    };
    s.tenant.keep_access(there.id, there.generation, &access, now()).await
}

async fn a_change_has_one_entry_and_without_it_does_not_happen(db: Db) {
    let s = scene(&db).await;
    for (name, change) in changes(&db, &s) {
        let before = rows(&db).await;
        db.raw.failpoint("BEFORE INSERT ON audit_log", "").await;
        let failed = change().await;
        db.raw.mend("audit_log").await;
        assert!(failed.is_err(), "{name}: was done without an entry");
        assert_eq!(rows(&db).await, before, "{name}: left something behind");

        let told = newest(&db, &s).await.len();
        change().await.unwrap_or_else(|e| panic!("{name}: {e}"));
        let entries = newest(&db, &s).await;
        let new: Vec<_> = entries[told..].iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(new, [name], "the entries of one change");
        let entry = entries.last().unwrap();
        let who = entry.actor_id.as_deref().and_then(|id| Uuid::parse_str(id).ok());
        assert!(who == Some(s.owner) || who == Some(s.member), "{name}: {entry:?}");
        assert_eq!(entry.address.as_deref(), Some(ADDRESS), "{name}");
    }
    // What changes nothing is not told of.
    let told = newest(&db, &s).await.len();
    assert!(!s.tenant.revoke_api_key(s.key, now()).await.unwrap());
    assert!(!s.tenant.take_back_invitation(s.invitation, now()).await.unwrap());
    assert!(!s.tenant.delete_integration(s.integration.id, now()).await.unwrap());
    assert_eq!(newest(&db, &s).await.len(), told);
}

async fn entries_and_the_end_of_access_do_not_wait_for_each_other(db: Db) {
    let s = scene(&db).await;
    let entry = Entry::new(Actor::System, Action::ProxyBegun);
    let calls = async {
        for _ in 0..150 {
            s.tenant.audit(&entry, now()).await.unwrap();
        }
    };
    let changes = async {
        for n in 0..150 {
            let name = format!("name {n}");
            s.tenant.update_integration(s.integration.id, Some(&name), None, None, now()).await.unwrap();
        }
    };
    let ends = async {
        for _ in 0..150 {
            s.tenant.end_all_access(now()).await.unwrap();
        }
    };
    let logins = async {
        for _ in 0..30 {
            authorized(&s).await.unwrap();
        }
    };
    tokio::join!(calls, changes, ends, logins);
}

/// The entries of all chains, oldest first.
async fn newest(db: &Db, s: &Scene) -> Vec<AuditEntry> {
    let filter = AuditFilter::default();
    let mut all = db.store.audit_entries(&filter, None, 500).await.unwrap();
    for membership in db.store.memberships(s.owner).await.unwrap() {
        all.extend(db.store.as_member(&membership).audit_entries(&filter, None, 500).await.unwrap());
    }
    all.sort_by_key(|entry| entry.id);
    all
}

/// Everything that the changes could touch.
async fn rows(db: &Db) -> Vec<String> {
    let mut all = Vec::new();
    for (table, columns) in [
        ("users", "id, password_hash"),
        ("sessions", "id"),
        ("businesses", "id, name"),
        ("team_members", "user_id, role"),
        ("invitations", "id"),
        ("api_keys", "id, revoked_at"),
        ("integrations", "id, name, status, generation"),
        ("login_attempts", "id"),
        ("imports", "id, state"),
        ("import_rows", "import_id, position"),
        ("record_webhooks", "id, include_records, rewinds, position_change, fence"),
        ("audit_chains", "business_id, head_position"),
    ] {
        let columns: Vec<_> = columns.split(", ").map(|c| format!("coalesce(cast({c} AS text), '')")).collect();
        let mut rows = db.raw.texts(&format!("SELECT {} FROM {table}", columns.join(" || ' ' || "))).await;
        rows.sort();
        all.push(format!("{table}: {rows:?}"));
    }
    all
}
