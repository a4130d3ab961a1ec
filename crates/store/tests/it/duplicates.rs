//! Duplicates: found, shown, and made one by somebody or by a rule; both sources go on all the while.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tieline_store::audit::AuditFilter;
use tieline_store::duplicates::{
    Decision, Duplicate, DuplicateFilter, DuplicateState, KeyKind, MatchAction, MatchRule, MatchRules, Scan, Subject,
};
use tieline_store::{
    Checkpoint, ContactRow, Credentials, Fetched, Lead, LeadFilter, NewUser, Person, RunState, SourceType, Tenant, Uuid,
};

use crate::contact_steps::{ContactSteps, DELETED, Step};
use crate::database::{Db, now};
use crate::imports::{asked, contact, create};

on_both!(
    what_agrees_is_shown_and_what_was_dismissed_stays_away_until_a_key_changes,
    the_first_rule_all_of_whose_keys_agree_counts,
    a_value_that_many_share_is_no_sign,
    a_merge_copies_nothing_and_both_sources_go_on,
    a_decision_is_taken_back_while_nothing_else_has_happened,
    a_rule_merges_and_what_was_taken_back_stays_two,
    leads_follow_their_contacts,
    t17_leads_of_contacts_that_the_org_has_merged_go_to_the_winner,
    a_kept_contact_that_is_deleted_gives_its_parts_back,
    decisions_at_once_are_one_decision,
    passes_and_merges_beside_a_running_sync_lose_nothing,
    t40_two_businesses_with_the_same_people_know_nothing_of_each_other,
    whoever_is_erased_takes_keys_pairs_and_parts_along,
);

fn at(second: i64) -> Timestamp {
    now() + SignedDuration::from_secs(second)
}

/// Somebody with nothing in common with others.
fn person(id: &str, second: i64) -> ContactRow {
    ContactRow {
        email: Some(format!("{id}@example.com")),
        phone: None,
        company: Some(format!("Company of {id}")),
        source_stamp: at(second),
        ..contact(id, id)
    }
}

fn with_email(id: &str, email: &str, second: i64) -> ContactRow {
    ContactRow { email: Some(email.to_owned()), ..person(id, second) }
}

struct Acme {
    tenant: Tenant,
    integration: Uuid,
}

impl Acme {
    async fn of(db: &Db) -> Self {
        Self { tenant: db.store.own(), integration: db.integration().await }
    }

    async fn sync(&self, contacts: &[ContactRow]) {
        let run = self.tenant.start_run(self.integration, now()).await.unwrap();
        let step = Step { contacts, checkpoint: &Checkpoint::default(), api_calls: 1 };
        self.tenant.commit_step(&run, &step, now()).await.unwrap();
        self.tenant.finish_run(&run, RunState::Success, None, now()).await.unwrap();
    }

    async fn import(&self, db: &Db, contacts: &[ContactRow]) {
        let given: Vec<String> = contacts.iter().map(|contact| contact.source_id.clone()).collect();
        create(&self.tenant, &asked(self.integration, &given), now()).await;
        let claim = db.store.claim_import(now(), Duration::from_secs(60)).await.unwrap().unwrap();
        let rows = contacts.iter().zip(0..).map(|(c, position)| Fetched { position, contact: Ok(c.clone()) });
        claim.commit_batch(&rows.collect::<Vec<_>>(), now()).await.unwrap();
        assert!(claim.finish_import(None, now()).await.unwrap());
    }

    async fn scan(&self) -> Scan {
        let scan = self.tenant.find_duplicates(1_000, now()).await.unwrap();
        assert!(scan.done);
        scan
    }

    async fn pairs(&self, state: Option<DuplicateState>) -> Vec<Duplicate> {
        self.tenant.duplicates(&DuplicateFilter { state, rule: None }, None, 1_000).await.unwrap().items
    }

    async fn open(&self) -> Vec<Duplicate> {
        self.pairs(Some(DuplicateState::Open)).await
    }

    /// The one pair that is open.
    async fn one(&self) -> Duplicate {
        let mut open = self.open().await;
        assert_eq!(open.len(), 1, "{open:?}");
        open.remove(0)
    }

    /// The contact of a source id.
    async fn id(&self, db: &Db, table: &str, source_id: &str) -> Uuid {
        let sql = format!(
            "SELECT CAST(id AS text) FROM {table} WHERE business_id = '{}' AND source_id = '{source_id}'",
            self.tenant.business()
        );
        db.raw.texts(&sql).await[0].parse().unwrap()
    }

    async fn merge(&self, pair: &Duplicate, keep: Uuid, fields: &[&str]) -> Decision {
        let fields: BTreeSet<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        self.tenant.merge_duplicate(pair.id, keep, &fields, now()).await.unwrap()
    }

    async fn leads(&self) -> Vec<Lead> {
        let mut leads = self.tenant.leads(&LeadFilter::default(), None, 1_000).await.unwrap().items;
        leads.sort_by(|a, b| a.source_id.cmp(&b.source_id));
        leads
    }
}

fn done(decision: Decision) -> Duplicate {
    match decision {
        Decision::Done(pair) => *pair,
        other => panic!("{other:?}"),
    }
}

fn rule(name: &str, keys: &[KeyKind], action: MatchAction) -> MatchRule {
    let field = keys.contains(&KeyKind::ExternalId).then(|| "Erp__c".to_owned());
    MatchRule { name: name.to_owned(), keys: keys.to_vec(), field, action }
}

fn rules(rules: Vec<MatchRule>) -> MatchRules {
    MatchRules { rules, ..MatchRules::default() }
}

async fn what_agrees_is_shown_and_what_was_dismissed_stays_away_until_a_key_changes(db: Db) {
    let acme = Acme::of(&db).await;
    acme.sync(&[with_email("a", "Ada@Example.com ", 0), with_email("b", "ada@example.COM", 0), person("c", 0)]).await;
    assert_eq!(acme.scan().await, Scan { looked_at: 3, found: 1, merged: 0, common: 0, done: true });
    assert_eq!(acme.scan().await.looked_at, 0, "only what has changed is looked at");
    let pair = acme.one().await;
    assert_eq!((pair.rule.as_str(), pair.agreed.as_slice()), ("email", &["email".to_owned()][..]));
    let shown = acme.tenant.duplicate(pair.id).await.unwrap().unwrap();
    assert_eq!(shown.differing, ["last_name", "name", "email", "company"]);
    assert_eq!(shown.sides[0].source_type, SourceType::Salesforce);

    done(acme.tenant.dismiss_duplicate(pair.id, now()).await.unwrap());
    let again = done(acme.tenant.dismiss_duplicate(pair.id, at(9)).await.unwrap());
    assert_eq!(again.decided_at, Some(now()), "it was decided before");
    // Another version with the same key, and a look at all rows anew.
    acme.sync(&[ContactRow { title: Some("Dr.".into()), ..with_email("a", "ada@example.com", 1) }]).await;
    assert_eq!((acme.scan().await.found, acme.open().await.len()), (0, 0));
    acme.tenant.set_match_rules(&MatchRules::default(), now()).await.unwrap();
    let scan = acme.scan().await;
    assert_eq!((scan.looked_at, scan.found, acme.open().await.len()), (3, 0, 0));
    // A key less is no news; one more is.
    let phoned = |id: &str, email: &str, second| ContactRow {
        phone: Some("+49 30 1234567".into()),
        ..with_email(id, email, second)
    };
    acme.sync(&[phoned("a", "ada@example.com", 2), phoned("b", "b@example.com", 2)]).await;
    assert_eq!(acme.scan().await.found, 1);
    assert_eq!(acme.one().await.rule, "phone");
    // What agrees no more is no pair any more.
    acme.sync(&[person("b", 3)]).await;
    acme.scan().await;
    assert_eq!(acme.pairs(None).await, []);
    let told = acme.tenant.audit_entries(&AuditFilter::default(), None, 50).await.unwrap();
    assert_eq!(told.iter().filter(|entry| entry.action == "duplicate.dismissed").count(), 1);
    assert!(told.iter().all(|entry| !entry.detail.contains('@')), "{told:?}");
}

async fn the_first_rule_all_of_whose_keys_agree_counts(db: Db) {
    let acme = Acme::of(&db).await;
    let of = |id: &str, email: &str, erp: &str| ContactRow {
        phone: Some("030 1234567".into()),
        source_metadata: serde_json::json!({"Erp__c": erp}),
        ..with_email(id, email, 0)
    };
    let strict = rule("strict", &[KeyKind::Email, KeyKind::Phone, KeyKind::ExternalId], MatchAction::Show);
    let loose = rule("loose", &[KeyKind::Phone], MatchAction::Show);
    acme.tenant.set_match_rules(&rules(vec![strict.clone()]), now()).await.unwrap();
    let abroad = ContactRow { phone: Some("+49 30 1234567".into()), ..of("d", "x@example.com", "1") };
    acme.sync(&[of("a", "x@example.com", "1"), of("b", "x@example.com", "1"), of("c", "x@example.com", "2"), abroad])
        .await;
    acme.scan().await;
    let pair = acme.one().await;
    assert_eq!(
        (pair.rule.as_str(), pair.agreed),
        ("strict", ["email", "external_id:Erp__c", "phone"].map(String::from).to_vec())
    );
    let both = MatchRules { default_region: Some("DE".into()), ..rules(vec![strict, loose]) };
    acme.tenant.set_match_rules(&both, now()).await.unwrap();
    let scan = acme.scan().await;
    assert_eq!(scan.looked_at, 4, "all rows are looked at anew");
    let mut by: Vec<String> = acme.open().await.into_iter().map(|pair| pair.rule).collect();
    by.sort();
    assert_eq!(
        by,
        ["loose", "loose", "loose", "strict", "strict", "strict"],
        "a number of the region is one of the world's"
    );
    assert_eq!(acme.tenant.match_rules().await.unwrap(), both);
    acme.tenant.set_match_rules(&rules(vec![]), now()).await.unwrap();
    acme.scan().await;
    assert_eq!(acme.pairs(None).await, [], "without a rule there is no pair");
    assert!(db.raw.texts("SELECT kind FROM match_keys").await.is_empty());
}

async fn a_value_that_many_share_is_no_sign(db: Db) {
    let acme = Acme::of(&db).await;
    let all: Vec<ContactRow> = (0..600).map(|n| with_email(&format!("{n:03}"), "info@example.com", 0)).collect();
    acme.sync(&all).await;
    let scan = acme.scan().await;
    assert_eq!((scan.looked_at, scan.found), (600, 0));
    assert!(scan.common > 0);
    acme.sync(&(0..20).map(|n| with_email(&format!("few{n:02}"), "few@example.com", 0)).collect::<Vec<_>>()).await;
    assert_eq!(acme.scan().await.found, 190);
    // Pages repeat nothing.
    let (mut seen, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = acme.tenant.duplicates(&DuplicateFilter::default(), cursor, 50).await.unwrap();
        assert!(page.items.iter().all(|pair| seen.insert(pair.id)));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 190);
    let none = DuplicateFilter { state: Some(DuplicateState::Merged), rule: None };
    assert!(acme.tenant.duplicates(&none, None, 9).await.unwrap().items.is_empty());
    let phone = DuplicateFilter { state: None, rule: Some("phone") };
    assert!(acme.tenant.duplicates(&phone, None, 9).await.unwrap().items.is_empty());
}

async fn a_merge_copies_nothing_and_both_sources_go_on(db: Db) {
    let acme = Acme::of(&db).await;
    let named = |id: &str, last: &str, title: &str, second| ContactRow {
        last_name: Some(last.to_owned()),
        name: Some(format!("Ada {last}")),
        title: Some(title.to_owned()),
        ..with_email(id, "ada@example.com", second)
    };
    acme.import(&db, &[named("a", "King", "Countess", 0), named("b", "Byron", "Dr.", 0), person("c", 0)]).await;
    acme.scan().await;
    let pair = acme.one().await;
    assert_eq!(pair.subject, Subject::Lead);
    let (a, b) = (acme.id(&db, "leads", "a").await, acme.id(&db, "leads", "b").await);
    assert_eq!(acme.merge(&pair, acme.id(&db, "leads", "c").await, &[]).await, Decision::NotOfPair);
    let merged = done(acme.merge(&pair, a, &["last_name", "name"]).await);
    assert_eq!((merged.kept_id, merged.merged_id, merged.state), (Some(a), Some(b), DuplicateState::Merged));
    let leads = acme.leads().await;
    assert_eq!(leads.len(), 2);
    let shown = |lead: &Lead| (lead.last_name.clone().unwrap(), lead.title.clone().unwrap());
    assert_eq!(shown(&leads[0]), ("Byron".into(), "Countess".into()));
    assert_eq!(acme.tenant.count_leads().await.unwrap(), 2);
    // Whoever knows the other finds the one.
    assert_eq!(acme.tenant.lead_of_source(SourceType::Salesforce, "b").await.unwrap().unwrap().id, a);
    assert_eq!(acme.tenant.lead(b).await.unwrap().unwrap().merged_into, Some(a));
    let known = acme.tenant.leads_of_sources(SourceType::Salesforce, vec!["a".into(), "b".into()]).await.unwrap();
    assert_eq!((known["a"], known["b"]), (a, a));
    let found = async |text: &str| {
        let filter = LeadFilter { text: Some(text), ..LeadFilter::default() };
        acme.tenant.leads(&filter, None, 9).await.unwrap().items.into_iter().map(|lead| lead.id).collect::<Vec<_>>()
    };
    assert_eq!((found("byron").await, found("king").await), (vec![a], vec![a]));

    // Each source brings its own, and the other row does not come back as a second one.
    acme.import(&db, &[named("a", "King-Noel", "Lady", 1), named("b", "Byron-Milbanke", "Prof.", 1)]).await;
    acme.scan().await;
    let leads = acme.leads().await;
    assert_eq!((leads.len(), shown(&leads[0])), (2, ("Byron-Milbanke".into(), "Lady".into())));
    assert_eq!(acme.open().await, []);
    // A third one agrees with the part, and so with the whole.
    acme.import(&db, &[with_email("d", "byron@example.com", 0), with_email("b", "byron@example.com", 2)]).await;
    acme.scan().await;
    let pair = acme.one().await;
    assert!(pair.rows.contains(&a) && !pair.rows.contains(&b), "{pair:?}");
    // What is a part's is taken of it, not of the row in between.
    let d = acme.id(&db, "leads", "d").await;
    done(acme.merge(&pair, d, &["last_name"]).await);
    acme.import(&db, &[named("b", "Last", "x", 3)]).await;
    assert_eq!(acme.tenant.lead(d).await.unwrap().unwrap().last_name.as_deref(), Some("Last"));
    let told = acme.tenant.audit_entries(&AuditFilter::default(), None, 50).await.unwrap();
    let merges: Vec<_> = told.iter().filter(|entry| entry.action == "duplicate.merged").collect();
    assert_eq!(merges.len(), 2);
    assert!(merges[1].detail.contains(&a.to_string()) && merges[1].detail.contains("last_name"), "{merges:?}");
    assert!(merges.iter().all(|entry| !entry.detail.contains("Byron")), "{merges:?}");
}

async fn a_decision_is_taken_back_while_nothing_else_has_happened(db: Db) {
    let acme = Acme::of(&db).await;
    let same = |id: &str, title: &str, second| ContactRow {
        title: Some(title.into()),
        ..with_email(id, "x@example.com", second)
    };
    acme.import(&db, &[same("a", "A", 0), same("b", "B", 0)]).await;
    acme.scan().await;
    let first = acme.one().await;
    let (a, b) = (acme.id(&db, "leads", "a").await, acme.id(&db, "leads", "b").await);
    assert_eq!(acme.tenant.undo_duplicate(first.id, now()).await.unwrap(), Decision::Decided(DuplicateState::Open));
    done(acme.merge(&first, a, &["title"]).await);
    assert_eq!(acme.merge(&first, a, &[]).await, Decision::Decided(DuplicateState::Merged));
    assert_eq!(
        acme.tenant.dismiss_duplicate(first.id, now()).await.unwrap(),
        Decision::Decided(DuplicateState::Merged)
    );
    acme.import(&db, &[same("b", "B2", 1), same("c", "C", 0)]).await;
    acme.scan().await;
    let second = acme.one().await;
    let c = acme.id(&db, "leads", "c").await;
    done(acme.merge(&second, c, &["title"]).await);
    assert_eq!(acme.tenant.lead(c).await.unwrap().unwrap().title.as_deref(), Some("B2"));
    assert_eq!(
        acme.tenant.undo_duplicate(first.id, now()).await.unwrap(),
        Decision::Moved,
        "the kept one is a part now"
    );
    assert_eq!(done(acme.tenant.undo_duplicate(second.id, now()).await.unwrap()).state, DuplicateState::Open);
    assert_eq!(done(acme.tenant.undo_duplicate(first.id, now()).await.unwrap()).state, DuplicateState::Open);
    let titles: Vec<_> = acme.leads().await.into_iter().map(|lead| lead.title.unwrap()).collect();
    assert_eq!(titles, ["A", "B2", "C"], "each as its source has it by now");
    acme.scan().await;
    assert_eq!(acme.open().await.len(), 3);
    done(acme.tenant.dismiss_duplicate(first.id, now()).await.unwrap());
    assert_eq!(acme.merge(&first, b, &[]).await, Decision::Decided(DuplicateState::Dismissed));
    assert_eq!(done(acme.tenant.undo_duplicate(first.id, now()).await.unwrap()).state, DuplicateState::Open);
    assert_eq!(acme.tenant.undo_duplicate(Uuid::nil(), now()).await.unwrap(), Decision::NotFound);
    assert_eq!(acme.tenant.dismiss_duplicate(Uuid::nil(), now()).await.unwrap(), Decision::NotFound);
}

async fn a_rule_merges_and_what_was_taken_back_stays_two(db: Db) {
    let acme = Acme::of(&db).await;
    acme.import(&db, &[ContactRow { title: None, ..with_email("a", "x@example.com", 0) }]).await;
    acme.import(&db, &[with_email("b", "x@example.com", 0), person("c", 0)]).await;
    acme.scan().await;
    let pair = acme.one().await;
    acme.tenant
        .set_match_rules(&rules(vec![rule("email", &[KeyKind::Email], MatchAction::Merge)]), now())
        .await
        .unwrap();
    assert_eq!(acme.scan().await.merged, 1);
    let merged = acme.pairs(None).await.remove(0);
    assert_eq!((merged.id, merged.decided_by.as_deref()), (pair.id, Some("rule:email")));
    assert_eq!((merged.kept_id, merged.fields), (Some(acme.id(&db, "leads", "a").await), vec!["title".to_owned()]));
    assert_eq!(acme.leads().await[0].title.as_deref(), Some("Countess"), "what the older one lacks is the other's");
    let told = acme.tenant.audit_entries(&AuditFilter::default(), None, 1).await.unwrap().remove(0);
    assert!(told.action == "duplicate.merged" && told.detail.contains("rule:email"), "{told:?}");
    assert_eq!(done(acme.tenant.undo_duplicate(pair.id, now()).await.unwrap()).state, DuplicateState::Dismissed);
    acme.import(&db, &[with_email("a", "X@example.com", 1)]).await;
    assert_eq!((acme.scan().await.merged, acme.leads().await.len()), (0, 3));
    // A person's, taken back, is open; and no rule's to decide.
    let other = with_email("d", "c@example.com", 0);
    acme.tenant.set_match_rules(&MatchRules::default(), now()).await.unwrap();
    acme.import(&db, &[other]).await;
    acme.scan().await;
    let pair = acme.one().await;
    done(acme.merge(&pair, pair.rows[0], &[]).await);
    done(acme.tenant.undo_duplicate(pair.id, now()).await.unwrap());
    acme.tenant
        .set_match_rules(&rules(vec![rule("email", &[KeyKind::Email], MatchAction::Merge)]), now())
        .await
        .unwrap();
    assert_eq!((acme.scan().await.merged, acme.one().await.id), (0, pair.id));
}

async fn leads_follow_their_contacts(db: Db) {
    let acme = Acme::of(&db).await;
    let people = [
        with_email("a", "x@example.com", 0),
        with_email("b", "x@example.com", 0),
        with_email("c", "c@example.com", 0),
        with_email("d", "c@example.com", 0),
    ];
    acme.sync(&people).await;
    acme.import(&db, &people[..2]).await;
    acme.scan().await;
    let of = |rows: Vec<Duplicate>, subject| {
        rows.into_iter().filter(move |pair| pair.subject == subject).collect::<Vec<_>>()
    };
    let contacts = of(acme.open().await, Subject::Contact);
    let (a, c) = (acme.id(&db, "contacts", "a").await, acme.id(&db, "contacts", "c").await);
    let first = contacts.iter().find(|pair| pair.rows.contains(&a)).unwrap();
    let second = contacts.iter().find(|pair| pair.rows.contains(&c)).unwrap();
    done(acme.merge(first, a, &["last_name"]).await);
    assert_eq!(acme.tenant.count_contacts().await.unwrap(), 3);
    let recent = acme.tenant.recent_contacts(9).await.unwrap();
    let shown = recent.iter().find(|contact| contact.id == a).unwrap();
    assert_eq!((recent.len(), shown.row.last_name.as_deref()), (3, Some("b")));
    let leads = acme.leads().await;
    assert_eq!((leads.len(), leads[0].last_name.as_deref()), (1, Some("b")));
    let followed = of(acme.pairs(Some(DuplicateState::Merged)).await, Subject::Lead).remove(0);
    assert_eq!(followed.cause, Some(first.id));
    // Leads that come later follow, too.
    done(acme.merge(second, c, &[]).await);
    acme.import(&db, &people[3..]).await;
    assert_eq!(acme.leads().await.len(), 2, "a part of a contact alone is a lead");
    acme.import(&db, &people[2..]).await;
    assert_eq!(acme.scan().await.merged, 1);
    let leads: Vec<_> = acme.leads().await.into_iter().map(|lead| lead.source_id).collect();
    assert_eq!(leads, ["a", "c"]);
    // And part with them.
    done(acme.tenant.undo_duplicate(first.id, now()).await.unwrap());
    done(acme.tenant.undo_duplicate(second.id, now()).await.unwrap());
    assert_eq!((acme.leads().await.len(), acme.tenant.count_contacts().await.unwrap()), (4, 4));
    acme.scan().await;
    assert_eq!(acme.leads().await.len(), 4);
    assert_eq!(acme.open().await.len(), 4);
}

async fn t17_leads_of_contacts_that_the_org_has_merged_go_to_the_winner(db: Db) {
    let acme = Acme::of(&db).await;
    let people: Vec<ContactRow> = ["w", "x", "y", "z"].into_iter().map(|id| person(id, 0)).collect();
    acme.sync(&people).await;
    // Of the winner there is no lead yet.
    acme.import(&db, &people[1..3]).await;
    let lost = |id: &str, to: &str, second| ContactRow {
        deleted: DELETED,
        source_metadata: serde_json::json!({"MasterRecordId": to}),
        ..person(id, second)
    };
    let (x, y) = (acme.id(&db, "leads", "x").await, acme.id(&db, "leads", "y").await);
    let page = [lost("x", "w", 1), lost("y", "w", 1), person("w", 1)];
    acme.sync(&page).await;
    let leads = acme.leads().await;
    assert_eq!((leads.len(), leads[0].source_id.as_str(), leads[0].id), (1, "w", x));
    assert_eq!(acme.tenant.lead(y).await.unwrap().unwrap().merged_into, Some(x));
    // The same page again, as every scan reads its last minutes again.
    acme.sync(&page).await;
    acme.import(&db, &[person("w", 1)]).await;
    assert_eq!(acme.leads().await.len(), 1);
    assert_eq!(acme.leads().await[0].last_name.as_deref(), Some("w"), "the winner's own version");
    // The winner loses in its turn, to one that has a lead, in one page with another loss to it.
    acme.import(&db, &people[3..]).await;
    let z = acme.id(&db, "leads", "z").await;
    acme.sync(&[lost("w", "z", 2), lost("x", "w", 2)]).await;
    let leads = acme.leads().await;
    assert_eq!((leads.len(), leads[0].id), (1, z));
    for lead in [x, y] {
        assert!(acme.tenant.lead(lead).await.unwrap().unwrap().merged_into.is_some());
    }
    let listed = acme.pairs(Some(DuplicateState::Merged)).await;
    assert_eq!(listed.len(), 2);
    assert!(listed.iter().all(|pair| pair.rule == "salesforce" && pair.decided_by.as_deref() == Some("salesforce")));
    let told = acme.tenant.audit_entries(&AuditFilter::default(), None, 50).await.unwrap();
    assert_eq!(told.iter().filter(|entry| entry.action == "duplicate.merged").count(), 3);
    // Whoever says that they are two is not overruled by the next page.
    let last = listed.iter().find(|pair| pair.kept_id == Some(z)).unwrap();
    done(acme.tenant.undo_duplicate(last.id, now()).await.unwrap());
    acme.sync(&[lost("w", "z", 2)]).await;
    assert_eq!(acme.leads().await.len(), 2);
}

async fn a_kept_contact_that_is_deleted_gives_its_parts_back(db: Db) {
    let acme = Acme::of(&db).await;
    let same = |id: &str, second| with_email(id, "x@example.com", second);
    acme.sync(&[same("a", 0), same("b", 0), person("w", 0)]).await;
    acme.scan().await;
    let a = acme.id(&db, "contacts", "a").await;
    done(acme.merge(&acme.one().await, a, &["title"]).await);
    assert_eq!(acme.tenant.count_contacts().await.unwrap(), 2);
    acme.sync(&[ContactRow { deleted: DELETED, ..same("a", 1) }]).await;
    acme.scan().await;
    assert_eq!(acme.tenant.count_contacts().await.unwrap(), 2, "b is there again");
    // Back again, and merged by the org itself: what was a part of it is a part of the winner.
    acme.sync(&[same("a", 2)]).await;
    acme.scan().await;
    done(acme.merge(&acme.one().await, a, &[]).await);
    let merged = serde_json::json!({"MasterRecordId": "w"});
    acme.sync(&[ContactRow { deleted: DELETED, source_metadata: merged, ..same("a", 3) }]).await;
    acme.scan().await;
    assert_eq!(acme.tenant.count_contacts().await.unwrap(), 1);
    let winner = acme.id(&db, "contacts", "w").await;
    let into = db.raw.texts("SELECT CAST(merged_into AS text) FROM contacts WHERE source_id = 'b'").await;
    assert_eq!(into, [winner.to_string()]);
}

async fn decisions_at_once_are_one_decision(db: Db) {
    let acme = Acme::of(&db).await;
    for n in 0..8 {
        let email = format!("{n}@example.com");
        acme.import(&db, &[with_email(&format!("a{n}"), &email, 0), with_email(&format!("b{n}"), &email, 0)]).await;
        acme.scan().await;
        let pair = acme.one().await;
        let (one, other) = (pair.rows[0], pair.rows[1]);
        let (dismissed, kept, also, _) = tokio::join!(
            acme.tenant.dismiss_duplicate(pair.id, now()),
            acme.merge(&pair, one, &["title"]),
            acme.merge(&pair, other, &[]),
            acme.tenant.find_duplicates(9, now()),
        );
        let dismissed = dismissed.unwrap();
        let stood = [&dismissed, &kept, &also].into_iter().filter(|d| matches!(d, Decision::Done(_))).count();
        assert_eq!(stood, 1, "{dismissed:?} {kept:?} {also:?}");
        let state = acme.pairs(None).await.into_iter().find(|p| p.id == pair.id).unwrap().state;
        assert_eq!(state == DuplicateState::Dismissed, matches!(dismissed, Decision::Done(_)));
        let parts = acme.tenant.sql("SELECT id FROM leads WHERE merged_into IS NOT NULL").await.unwrap();
        let merges = acme.pairs(Some(DuplicateState::Merged)).await.len() as u64;
        assert_eq!(parts, merges, "a pair that is merged is one part");
    }
}

async fn passes_and_merges_beside_a_running_sync_lose_nothing(db: Db) {
    let acme = Acme::of(&db).await;
    let of = |n: usize, second| with_email(&format!("{n:04}"), &format!("{}@example.com", n / 2), second);
    acme.sync(&(0..400).map(|n| of(n, 0)).collect::<Vec<_>>()).await;
    acme.scan().await;
    let pairs = acme.open().await;
    assert_eq!(pairs.len(), 200);
    let syncing = async {
        for second in 1..6 {
            for page in (0..400).collect::<Vec<_>>().chunks(100) {
                acme.sync(
                    &page
                        .iter()
                        .map(|n| ContactRow { title: Some(format!("{second}")), ..of(*n, second) })
                        .collect::<Vec<_>>(),
                )
                .await;
            }
        }
    };
    let passing = async {
        for _ in 0..20 {
            acme.tenant.find_duplicates(3, now()).await.unwrap();
        }
    };
    let merging = async {
        for pair in pairs.iter().take(60) {
            done(acme.merge(pair, pair.rows[0], &["email"]).await);
        }
    };
    let last = acme.tenant.duplicate(pairs[199].id).await.unwrap().unwrap().sides[0].source_id.clone();
    let person = Person::Source { kind: SourceType::Salesforce, id: &last };
    let erasing = acme.tenant.erase_person(&person, now());
    let (_, _, _, erased) = tokio::join!(syncing, passing, merging, erasing);
    erased.unwrap();
    acme.scan().await;
    assert_eq!(acme.tenant.count_contacts().await.unwrap(), 400 - 60 - 1);
    let titles = db.raw.texts("SELECT DISTINCT title FROM contacts").await;
    assert_eq!(titles, ["5"], "parts are kept in step as well");
    assert_eq!((acme.open().await.len(), acme.pairs(Some(DuplicateState::Merged)).await.len()), (139, 60));
}

async fn t40_two_businesses_with_the_same_people_know_nothing_of_each_other(db: Db) {
    let new = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&new, "first", "", now()).await.unwrap().unwrap();
    let mut both = Vec::new();
    for name in ["a", "b"] {
        let business = db.store.create_business(name, owner.id, "", now()).await.unwrap();
        let tenant = db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap());
        let integration = tenant.save_integration("org", &Credentials::new(name.into()), now()).await.unwrap();
        both.push(Acme { tenant, integration });
    }
    let [a, b] = &both[..] else { unreachable!() };
    let people = [with_email("1", "x@example.com", 0), with_email("2", "x@example.com", 0)];
    a.sync(&people).await;
    b.sync(&people[..1]).await;
    a.tenant.set_match_rules(&rules(vec![rule("mine", &[KeyKind::Email], MatchAction::Show)]), now()).await.unwrap();
    a.scan().await;
    assert_eq!(b.scan().await.found, 0, "who is alone in a business is no duplicate");
    assert_eq!(b.tenant.match_rules().await.unwrap(), MatchRules::default());
    b.sync(&people).await;
    b.scan().await;
    let (of_a, of_b) = (a.one().await, b.one().await);
    assert_eq!((of_a.rule.as_str(), of_b.rule.as_str()), ("mine", "email"));
    let digests = db.raw.texts("SELECT DISTINCT digest FROM match_keys WHERE kind = 'email'").await;
    assert_eq!(digests.len(), 2, "the digest of one address is another one in each business");
    assert!(b.tenant.duplicate(of_a.id).await.unwrap().is_none());
    assert_eq!(b.tenant.dismiss_duplicate(of_a.id, now()).await.unwrap(), Decision::NotFound);
    assert_eq!(b.merge(&of_a, of_a.rows[0], &[]).await, Decision::NotFound);
    done(a.merge(&of_a, of_a.rows[0], &[]).await);
    assert_eq!(b.tenant.undo_duplicate(of_a.id, now()).await.unwrap(), Decision::NotFound);
    assert_eq!((b.one().await, b.tenant.count_contacts().await.unwrap()), (of_b, 2));
}

async fn whoever_is_erased_takes_keys_pairs_and_parts_along(db: Db) {
    let acme = Acme::of(&db).await;
    let phoned =
        |id: &str, email: &str| ContactRow { phone: Some("+49 30 1234567".into()), ..with_email(id, email, 0) };
    let people = [phoned("a", "a@example.com"), phoned("b", "b@example.com"), phoned("c", "c@example.com")];
    acme.sync(&people).await;
    acme.import(&db, &people).await;
    acme.scan().await;
    let a = acme.id(&db, "contacts", "a").await;
    let b = acme.id(&db, "contacts", "b").await;
    let pair = acme.open().await.into_iter().find(|pair| pair.rows.contains(&a) && pair.rows.contains(&b)).unwrap();
    done(acme.merge(&pair, a, &["email"]).await);
    let data = acme.tenant.person_data(&Person::Email("b@example.com"), now()).await.unwrap();
    assert_eq!((data.contacts.len(), data.leads.len()), (2, 2), "whoever was merged is one person");
    let removed = acme.tenant.erase_person(&Person::Email("b@example.com"), now()).await.unwrap().removed;
    assert_eq!((removed.contacts, removed.leads), (2, 2));
    assert_eq!(acme.pairs(None).await, []);
    let rows = "SELECT CAST(count(DISTINCT coalesce(contact_id, lead_id)) AS text) FROM match_keys";
    assert_eq!(db.raw.texts(rows).await, ["2"]);
    acme.sync(&people).await;
    assert_eq!(acme.tenant.count_contacts().await.unwrap(), 1, "nor does the other part come back");
}
