//! Erasing people: all of them goes, and nothing brings them back.

use std::time::Duration;

use futures_util::TryStreamExt;
use tieline_store::audit::{AuditFilter, Verification};
use tieline_store::integration_logs::{Event, Level, LogFilter};
use tieline_store::{
    Batch, BatchOutcome, Checkpoint, ContactRow, Credentials, Digest, Fetched, NewImport, NewUser, Person, Removed,
    Role, RowOutcome, RunState, SourceType, Status, StepOutcome, Tenant, Uuid,
};

use crate::contact_steps::{ContactSteps, DELETED, Step};
use crate::database::{Db, Place, Raw, now};
use crate::imports::{asked, contact, create};

on_both!(
    whoever_is_erased_by_address_stays_away_until_that_is_lifted,
    whoever_is_erased_by_id_stays_away_under_that_id,
    an_import_or_sync_at_the_same_moment_does_not_bring_anybody_back,
    nothing_of_an_erased_person_is_anywhere,
    what_is_kept_of_a_person_is_told_to_them,
    a_key_that_is_renewed_still_knows_who_was_erased,
);

const LEASE: Duration = Duration::from_secs(60);

/// A business with an org.
pub(crate) struct Acme {
    pub(crate) tenant: Tenant,
    pub(crate) integration: Uuid,
}

pub(crate) async fn businesses(db: &Db) -> [Acme; 2] {
    let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let mut all = Vec::new();
    for name in ["a", "b"] {
        let business = db.store.create_business(name, owner.id, "", now()).await.unwrap();
        let tenant = db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap());
        let integration = tenant.save_integration("org", &Credentials::new(name.into()), now()).await.unwrap();
        all.push(Acme { tenant, integration });
    }
    all.try_into().unwrap_or_else(|_| unreachable!())
}

impl Acme {
    pub(crate) async fn sync(&self, contacts: &[ContactRow]) -> StepOutcome {
        let run = self.tenant.start_run(self.integration, now()).await.unwrap();
        let step = Step { contacts, checkpoint: &Checkpoint::default(), api_calls: 1 };
        let outcome = self.tenant.commit_step(&run, &step, now()).await.unwrap();
        self.tenant.finish_run(&run, RunState::Success, None, now()).await.unwrap();
        outcome
    }

    async fn import(&self, db: &Db, contacts: &[ContactRow]) -> (Uuid, BatchOutcome) {
        let given: Vec<String> = contacts.iter().map(|contact| contact.source_id.clone()).collect();
        let import = create(&self.tenant, &asked(self.integration, &given), now()).await;
        let claim = db.store.claim_import(now(), LEASE).await.unwrap().unwrap();
        let Batch::Written(outcome) = claim.commit_batch(&fetched(contacts), now()).await.unwrap() else { panic!() };
        assert!(claim.finish_import(None, now()).await.unwrap());
        (import.id, outcome)
    }

    async fn contacts(&self) -> Vec<String> {
        let all: Vec<tieline_store::Contact> = self.tenant.contacts().try_collect().await.unwrap();
        all.into_iter().map(|contact| contact.row.source_id).collect()
    }

    async fn has_lead(&self, id: &str) -> bool {
        self.tenant.lead_of_source(SourceType::Salesforce, id).await.unwrap().is_some()
    }
}

fn fetched(contacts: &[ContactRow]) -> Vec<Fetched> {
    contacts.iter().zip(0..).map(|(contact, position)| Fetched { position, contact: Ok(contact.clone()) }).collect()
}

fn with_email(id: &str, email: &str) -> ContactRow {
    ContactRow { email: Some(email.to_owned()), ..contact(id, "Lovelace") }
}

fn people() -> [ContactRow; 4] {
    [
        with_email("003000000000001AAA", "Ada@Example.COM"),
        ContactRow { deleted: DELETED, ..with_email("003000000000002AAA", " ada@example.com") },
        with_email("003000000000003AAA", "ÄDA@exämple.com"),
        with_email("003000000000004AAA", "adaXexample.com"),
    ]
}

async fn whoever_is_erased_by_address_stays_away_until_that_is_lifted(db: Db) {
    let [a, b] = businesses(&db).await;
    let people = people();
    for acme in [&a, &b] {
        assert_eq!(acme.sync(&people).await.inserted, 4);
        assert_eq!(acme.import(&db, &people).await.1.created, 4);
    }
    let person = Person::Email("ADA@example.com");
    let preview = a.tenant.preview_erasure(&person).await.unwrap();
    assert_eq!(preview, Removed { contacts: 2, leads: 2, import_rows: 2, ..Removed::default() });
    assert_eq!(a.contacts().await.len(), 4, "a preview changes nothing");
    let erasure = a.tenant.erase_person(&person, now()).await.unwrap();
    assert_eq!(erasure.removed, preview);
    assert_eq!(a.contacts().await, ["003000000000003AAA", "003000000000004AAA"], "a tombstone is no less personal");
    let other = a.tenant.erase_person(&Person::Email("äda@EXÄMPLE.com"), now()).await.unwrap();
    assert_eq!((other.removed.contacts, other.removed.leads), (1, 1), "beyond ASCII a case is a case too");

    // The same records, a new one with the address, and an old one that has another by now.
    let again = [
        people[0].clone(),
        people[1].clone(),
        with_email("003000000000009AAA", "ada@EXAMPLE.com"),
        with_email("003000000000001AAA", "changed@example.com"),
        people[3].clone(),
        with_email("003000000000010AAA", "new@example.com"),
    ];
    let outcome = a.sync(&again[..3]).await;
    assert_eq!((outcome.inserted, outcome.updated, outcome.deleted), (0, 0, 0));
    assert_eq!(a.sync(&again[3..]).await, StepOutcome { inserted: 1, ..StepOutcome::default() });
    assert_eq!(a.contacts().await, ["003000000000004AAA", "003000000000010AAA"]);
    let chosen = [again[0].clone(), again[2].clone(), again[4].clone(), again[5].clone()];
    let (import, written) = a.import(&db, &chosen).await;
    assert_eq!(written, BatchOutcome { created: 1, unchanged: 1, skipped_erased: 2, ..BatchOutcome::default() });
    let import = a.tenant.import(import).await.unwrap().unwrap();
    assert_eq!((import.total, import.pending, import.created, import.skipped_erased), (4, 0, 1, 2));
    let skipped = a.tenant.import_rows(import.id, Some(RowOutcome::SkippedErased), None, 9).await.unwrap().items;
    let told: Vec<_> = skipped.iter().map(|row| (row.position, row.source_id.as_str(), row.lead_id)).collect();
    assert_eq!(told, [(0, "", None), (1, "", None)], "an id of somebody who was erased is not kept");

    // Another business has what it had.
    assert_eq!(b.contacts().await.len(), 4);
    assert!(b.has_lead("003000000000001AAA").await);
    assert_eq!(b.sync(&[people[0].clone()]).await, StepOutcome::default());

    // To ask again is the same request.
    let repeated = a.tenant.erase_person(&person, now()).await.unwrap();
    assert_eq!((repeated.id, repeated.removed), (erasure.id, Removed::default()));
    let standing = a.tenant.erasures(None, 10).await.unwrap().items;
    assert_eq!(standing.len(), 2);
    assert_eq!(standing.iter().find(|one| one.id == erasure.id).unwrap().removed, preview);
    assert!(!b.tenant.lift_erasure(erasure.id, now()).await.unwrap(), "another business's");
    assert!(a.tenant.lift_erasure(erasure.id, now()).await.unwrap());
    assert!(!a.tenant.lift_erasure(erasure.id, now()).await.unwrap());
    assert_eq!(a.sync(&again[..2]).await.inserted, 2);
    assert_eq!(a.import(&db, &again[..1]).await.1.created, 1);
    assert_eq!(a.sync(&[people[2].clone()]).await.inserted, 0, "the other one was not lifted");
    let told = a.tenant.audit_entries(&AuditFilter::default(), None, 50).await.unwrap();
    let mut actions: Vec<&str> = told.iter().map(|entry| entry.action.as_str()).collect();
    actions.retain(|action| action.starts_with("contact."));
    actions.sort_unstable();
    actions.dedup();
    assert_eq!(actions, ["contact.erased", "contact.erasure_lifted"]);
    assert!(told.iter().all(|entry| !entry.detail.contains('@') && !entry.detail.contains("003")), "{told:?}");
    assert!(matches!(a.tenant.verify_audit().await.unwrap(), Verification::Verified { .. }));
}

async fn whoever_is_erased_by_id_stays_away_under_that_id(db: Db) {
    let [a, b] = businesses(&db).await;
    let people = people();
    for acme in [&a, &b] {
        acme.sync(&people).await;
    }
    // Rows that wait and rows that failed are no one's any more either.
    let given = ["003000000000001AAA", "003000000000003AAA"].map(str::to_owned);
    let import = create(&a.tenant, &asked(a.integration, &given), now()).await;
    let person = Person::Source { kind: SourceType::Salesforce, id: "003000000000001AAA" };
    let erased = a.tenant.erase_person(&person, now()).await.unwrap();
    assert_eq!(erased.removed, Removed { contacts: 1, import_rows: 1, ..Removed::default() });
    let waiting = a.tenant.import(import.id).await.unwrap().unwrap();
    assert_eq!((waiting.total, waiting.pending, waiting.skipped_erased), (2, 1, 1));
    // What was fetched before is written after.
    let claim = db.store.claim_import(now(), LEASE).await.unwrap().unwrap();
    let rows = [
        Fetched { position: 0, contact: Ok(people[0].clone()) },
        Fetched { position: 1, contact: Err("no such contact".to_owned()) },
    ];
    let Batch::Written(written) = claim.commit_batch(&rows, now()).await.unwrap() else { panic!() };
    assert_eq!(written, BatchOutcome { failed: 1, ..BatchOutcome::default() });
    assert!(claim.finish_import(None, now()).await.unwrap());
    assert!(!a.has_lead("003000000000001AAA").await);
    let third = Person::Source { kind: SourceType::Salesforce, id: "003000000000003AAA" };
    a.tenant.erase_person(&third, now()).await.unwrap();
    let done = a.tenant.import(import.id).await.unwrap().unwrap();
    assert_eq!((done.pending, done.failed, done.skipped_erased), (0, 0, 2));
    assert!(!a.tenant.retry_import(import.id, now()).await.unwrap(), "there is nobody to try again");
    // The address alone is another person's right.
    let outcome = a.sync(&[people[0].clone(), with_email("003000000000011AAA", "ada@example.com")]).await;
    assert_eq!(outcome.inserted, 1);
    // The same id at another source is somebody else.
    let csv = Person::Source { kind: SourceType::Csv, id: "003000000000004AAA" };
    assert_eq!(a.tenant.erase_person(&csv, now()).await.unwrap().removed, Removed::default());
    assert_eq!(b.contacts().await.len(), 4);
}

/// Makes a statement take long: on PostgreSQL; on SQLite a writing transaction is the only one anyway.
pub(crate) async fn slow(db: &Db, event: &str) {
    if let Raw::Postgres(_) = &db.raw {
        db.raw
            .run(&format!(
                "CREATE OR REPLACE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END $$;
                 CREATE TRIGGER slow AFTER {event} FOR EACH STATEMENT EXECUTE FUNCTION slow()"
            ))
            .await;
    }
}

async fn an_import_or_sync_at_the_same_moment_does_not_bring_anybody_back(db: Db) {
    let [a, _] = businesses(&db).await;
    let soon = || tokio::time::sleep(Duration::from_millis(150));
    for (n, (event, table, erases_first)) in [
        // The writer has looked, and is about to write, when somebody is erased.
        ("INSERT ON leads", "leads", false),
        ("INSERT ON contacts", "contacts", false),
        // Somebody is being erased when the writer looks.
        ("INSERT ON erasures", "erasures", true),
    ]
    .into_iter()
    .enumerate()
    {
        let (one, other) = (format!("00300000000000{n}AAB"), format!("00300000000000{n}AAC"));
        let (first, second) = (with_email(&one, &format!("p{n}@example.com")), with_email(&other, "q@example.com"));
        let import = create(&a.tenant, &asked(a.integration, &[one.clone(), other.clone()]), now()).await;
        let claim = db.store.claim_import(now(), LEASE).await.unwrap().unwrap();
        let run = a.tenant.start_run(a.integration, now()).await.unwrap();
        let contacts = [first.clone(), second.clone()];
        let email = format!("P{n}@example.com");
        let person = Person::Email(&email);
        slow(&db, event).await;
        let import_ = async {
            if erases_first {
                soon().await;
            }
            claim.commit_batch(&fetched(&contacts), now()).await.unwrap();
        };
        let sync = async {
            if erases_first {
                soon().await;
            }
            let step = Step { contacts: &contacts, checkpoint: &Checkpoint::default(), api_calls: 1 };
            a.tenant.commit_step(&run, &step, now()).await.unwrap();
        };
        let erase = async {
            if !erases_first {
                soon().await;
            }
            a.tenant.erase_person(&person, now()).await.unwrap();
        };
        tokio::join!(import_, sync, erase);
        if !db.is_sqlite() {
            db.raw.run(&format!("DROP TRIGGER slow ON {table}")).await;
        }
        assert!(claim.finish_import(None, now()).await.unwrap());
        assert!(!a.has_lead(&one).await, "{event}: an import brought somebody back");
        assert!(!a.contacts().await.contains(&one), "{event}: a sync brought somebody back");
        assert!(a.has_lead(&other).await && a.contacts().await.contains(&other), "{event}");
        let done = a.tenant.import(import.id).await.unwrap().unwrap();
        assert_eq!((done.total, done.pending), (2, 0));
    }
    // Many at once, as they fall.
    let people: Vec<ContactRow> =
        (0..40).map(|n| with_email(&format!("0030000000000{n:02}AAD"), &format!("m{n}@example.com"))).collect();
    let given: Vec<String> = people.iter().map(|contact| contact.source_id.clone()).collect();
    create(&a.tenant, &asked(a.integration, &given), now()).await;
    let claim = db.store.claim_import(now(), LEASE).await.unwrap().unwrap();
    let rows = fetched(&people);
    let batches = async {
        for rows in rows.chunks(4) {
            claim.commit_batch(rows, now()).await.unwrap();
        }
    };
    let erasing = async {
        for person in &people {
            a.tenant.erase_person(&Person::Email(person.email.as_deref().unwrap()), now()).await.unwrap();
        }
    };
    tokio::join!(batches, erasing);
    for id in &given {
        assert!(!a.has_lead(id).await, "{id}");
    }
}

/// A person whose every field says so, wherever a field can come to stand.
async fn nothing_of_an_erased_person_is_anywhere(db: Db) {
    let [a, _] = businesses(&db).await;
    let canary = ContactRow {
        source_id: "003CANARY000001AAA".to_owned(),
        first_name: Some("Canaryfirst".to_owned()),
        last_name: Some("Canarylast \"O'Quote\" Größe".to_owned()),
        name: Some("Canaryfirst Canarylast \"O'Quote\" Größe".to_owned()),
        email: Some("Canary.Mail@Example.com".to_owned()),
        phone: Some("+49 30 canary".to_owned()),
        company: Some("Canary Company".to_owned()),
        title: Some("Canary of the mine".to_owned()),
        source_metadata: serde_json::json!({"Description": "a canary sings", "MobilePhone": "canary mobile"}),
        ..contact("x", "x")
    };
    let others: Vec<ContactRow> = (0..300).map(|n| contact(&format!("{n:06}"), "Somebody")).collect();
    a.sync(&others).await;
    a.sync(std::slice::from_ref(&canary)).await;
    a.import(&db, std::slice::from_ref(&canary)).await;
    a.import(&db, &others).await;
    a.tenant.import(Uuid::nil()).await.unwrap();
    let lead = a.tenant.lead_of_source(SourceType::Salesforce, &canary.source_id).await.unwrap().unwrap();
    // Lines that name the person by each of their names.
    for (message, detail) in [
        ("duplicate value found: canary.MAIL@example.com".to_owned(), serde_json::json!({})),
        ("no such record 003CANARY000001".to_owned(), serde_json::json!({})),
        ("x".to_owned(), serde_json::json!({"said": [{"record": canary.name}]})),
        ("called +49 30 canary".to_owned(), serde_json::json!({"lead": lead.id})),
    ] {
        let log = a.tenant.log(Some(a.integration), Event::SyncError, Level::Error, &message, detail, now());
        log.await.unwrap();
    }
    a.tenant.log(None, Event::SyncError, Level::Error, "of nobody", serde_json::json!({}), now()).await.unwrap();
    let run = a.tenant.start_run(a.integration, now()).await.unwrap();
    let failed = "the org refused canary.mail@example.com";
    a.tenant.finish_run(&run, RunState::Failed, Some(failed), now()).await.unwrap();
    a.tenant.note_integration(a.integration, Status::Error, Some(failed), None, now()).await.unwrap();
    let given = [canary.source_id.clone(), "003CANARY000001AAB".to_owned()];
    let new = NewImport { idempotency_key: Some("for Canary.Mail@example.com"), ..asked(a.integration, &given[..1]) };
    create(&a.tenant, &new, now()).await;
    let claim = db.store.claim_import(now(), LEASE).await.unwrap().unwrap();
    let row = Fetched { position: 0, contact: Err("003CANARY000001AAA is locked".to_owned()) };
    claim.commit_batch(&[row], now()).await.unwrap();
    claim.finish_import(Some(failed), now()).await.unwrap();
    create(&a.tenant, &asked(a.integration, &given[..1]), now()).await;
    a.tenant.invite("Canary.Mail@example.com", Role::Viewer, Digest::of("t"), now(), now()).await.unwrap();
    assert!(holds(&db).await, "the test looks where the person is");

    let removed = a.tenant.erase_person(&Person::Email("canary.mail@example.com"), now()).await.unwrap().removed;
    let expected =
        Removed { contacts: 1, leads: 1, import_rows: 3, logs: 4, messages: 4, invitations: 1, ..Removed::default() };
    assert_eq!(removed, expected);
    assert!(!holds(&db).await, "something is left");
    assert_eq!(a.tenant.integration_logs(&LogFilter::default(), None, 9).await.unwrap().items.len(), 1);
    assert_eq!(a.contacts().await.len(), 300);
    assert_eq!(a.tenant.count_leads().await.unwrap(), 300);
}

/// Whether a canary is in any table; on SQLite, in any byte of its files.
async fn holds(db: &Db) -> bool {
    let holds = |bytes: &[u8]| bytes.to_ascii_lowercase().windows(6).any(|part| part == b"canary");
    match &db.place {
        Place::File(folder) => {
            let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
            let holding: Vec<_> = files.filter(|path| holds(&std::fs::read(path).unwrap())).collect();
            !holding.is_empty()
        }
        Place::Server(url, _) => {
            let program = std::path::Path::new(&std::env::var("TIELINE_TEST_POSTGRES").unwrap()).join("pg_dump");
            let dump = std::process::Command::new(program).args(["--inserts", url]).output().unwrap();
            assert!(dump.status.success() && dump.stdout.len() > 10_000);
            holds(&dump.stdout)
        }
    }
}

async fn what_is_kept_of_a_person_is_told_to_them(db: Db) {
    let [a, b] = businesses(&db).await;
    for acme in [&a, &b] {
        acme.sync(&people()).await;
        acme.import(&db, &people()).await;
    }
    let line = "duplicate value found: ADA@example.com";
    a.tenant.log(None, Event::SyncError, Level::Error, line, serde_json::json!({}), now()).await.unwrap();
    let data = a.tenant.person_data(&Person::Email("ada@example.com"), now()).await.unwrap();
    let counts = [data.contacts.len(), data.leads.len(), data.import_rows.len(), data.logs.len()];
    assert_eq!(counts, [2, 2, 2, 1]);
    assert_eq!(data.contacts[0]["source_metadata"]["Department"], "R&D");
    assert_eq!(data.contacts.iter().filter(|contact| contact["deleted"] == true).count(), 1, "{:?}", data.contacts);
    assert_eq!(data.logs[0]["message"], line);
    assert!(data.contacts.iter().chain(&data.leads).all(|row| row["business_id"] == a.tenant.business().to_string()));
    let person = Person::Source { kind: SourceType::Salesforce, id: "003000000000004AAA" };
    assert_eq!(a.tenant.person_data(&person, now()).await.unwrap().contacts[0]["email"], "adaXexample.com");
    let read = a.tenant.audit_entries(&AuditFilter::default(), None, 1).await.unwrap().remove(0);
    assert_eq!((read.action.as_str(), read.actor_type.as_str()), ("contact.read", "user"));
    assert!(!read.detail.contains('@'));
}

async fn a_key_that_is_renewed_still_knows_who_was_erased(db: Db) {
    let [a, _] = businesses(&db).await;
    a.tenant.erase_person(&Person::Email("ada@example.com"), now()).await.unwrap();
    let later = now() + jiff::SignedDuration::from_hours(100_000);
    let renewed = db.store.renew_data_keys(later, later, None, 100).await.unwrap();
    assert!(renewed.failed.is_empty() && renewed.resealed >= 2, "{renewed:?}");
    assert_eq!(a.sync(&people()[..1]).await.inserted, 0);
    let other = db.place.open().await;
    let member = other.membership(a.tenant.user().unwrap(), a.tenant.business()).await.unwrap().unwrap();
    let again = other.as_member(&member).preview_erasure(&Person::Email("ada@example.com")).await.unwrap();
    assert_eq!(again, Removed::default());
}
