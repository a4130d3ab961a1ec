//! Leads as they are listed and searched.

use jiff::SignedDuration;
use tieline_store::{ContactRow, Cursor, Fetched, Lead, LeadFilter, NewImport, SourceType, Tenant, Uuid};

use crate::database::{Db, now};
use crate::imports::{asked, contact, create};

on_both!(a_search_takes_its_text_as_it_is, pages_repeat_nothing_and_leave_nothing_out, a_lead_shows_all_that_is_kept,);

async fn import(db: &Db, integration: Uuid, contacts: Vec<ContactRow>, campaign: Option<&str>, second: i64) {
    let at = now() + SignedDuration::from_secs(second);
    let given: Vec<String> = contacts.iter().map(|contact| contact.source_id.clone()).collect();
    create(&db.store.own(), &NewImport { campaign, ..asked(integration, &given) }, at).await;
    let claim = db.store.claim_import(at, std::time::Duration::from_secs(60)).await.unwrap().unwrap();
    let rows: Vec<Fetched> =
        contacts.into_iter().zip(0..).map(|(contact, position)| Fetched { position, contact: Ok(contact) }).collect();
    claim.commit_batch(&rows, at).await.unwrap();
    claim.finish_import(None, at).await.unwrap();
}

async fn found(tenant: &Tenant, text: &str) -> Vec<String> {
    let filter = LeadFilter { text: Some(text), ..LeadFilter::default() };
    let mut ids: Vec<String> =
        tenant.leads(&filter, None, 100).await.unwrap().items.into_iter().map(|lead| lead.source_id).collect();
    ids.sort();
    ids
}

async fn a_search_takes_its_text_as_it_is(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let of = |id: &str, name: Option<&str>, email: Option<&str>, company: Option<&str>| ContactRow {
        name: name.map(str::to_owned),
        email: email.map(str::to_owned),
        company: company.map(str::to_owned),
        ..contact(id, "Nachname")
    };
    let contacts = vec![
        of("1", Some("Änne MÜLLER"), Some("anne@example.com"), Some("100% Bio")),
        of("2", Some("O'Brien \\ Sons"), Some("o_brien@example.com"), Some("1000 Bio")),
        of("3", None, Some("oxbrien@example.com"), None),
        of("4", Some("x"), None, Some("'; DROP TABLE leads; --")),
    ];
    import(&db, integration, contacts, None, 0).await;
    for (text, expected) in [
        ("änne", vec!["1"]),
        ("müller", vec!["1"]),
        ("MÜLLER", vec!["1"]),
        ("100%", vec!["1"]),
        ("o_brien@", vec!["2"]),
        ("\\", vec!["2"]),
        ("o'b", vec!["2"]),
        ("%", vec!["1"]),
        ("_", vec!["2"]),
        ("EXAMPLE.com", vec!["1", "2", "3"]),
        ("ada nachname", vec!["3"]),
        ("'; drop", vec!["4"]),
        ("müller\nanne", vec!["1"]),
        ("", vec!["1", "2", "3", "4"]),
        ("nobody", vec![]),
    ] {
        assert_eq!(found(&tenant, text).await, expected, "{text}");
    }
    assert!(found(&tenant, &"%".repeat(100_000)).await.is_empty());
    let filter = LeadFilter { source_type: Some(SourceType::Csv), ..LeadFilter::default() };
    assert!(tenant.leads(&filter, None, 9).await.unwrap().items.is_empty());
    // A version with another name is found by that and no longer by the old one.
    import(&db, integration, vec![of("4", Some("Renamed"), None, None)], None, 1).await;
    assert_eq!((found(&tenant, "renamed").await, found(&tenant, "drop table").await.len()), (vec!["4".to_owned()], 0));
}

async fn pages_repeat_nothing_and_leave_nothing_out(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let batch = |range: std::ops::Range<i32>| range.map(|n| contact(&format!("{n:03}"), "x")).collect::<Vec<_>>();
    import(&db, integration, batch(0..20), Some("old"), 0).await;
    import(&db, integration, batch(20..50), Some("new"), 1).await;
    for (campaign, count) in [(None, 50), (Some("old"), 20), (Some("new"), 30), (Some("none"), 0)] {
        let filter = LeadFilter { campaign, source_type: Some(SourceType::Salesforce), text: Some("ada") };
        let (mut seen, mut cursor): (Vec<Lead>, Option<Cursor>) = (Vec::new(), None);
        loop {
            let page = tenant.leads(&filter, cursor, 7).await.unwrap();
            assert!(page.items.len() <= 7);
            seen.extend(page.items);
            // Newer ones that come meanwhile move nothing.
            if seen.len() == 14 && campaign.is_none() {
                import(&db, integration, batch(50..60), Some("later"), 2).await;
            }
            cursor = page.next.map(|next| next.to_string().parse().unwrap());
            if cursor.is_none() {
                break;
            }
        }
        let mut ids: Vec<&str> = seen.iter().map(|lead| lead.source_id.as_str()).collect();
        assert!(seen.is_sorted_by_key(|lead| std::cmp::Reverse((lead.created_at, lead.id))));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), seen.len()), (count, count), "{campaign:?}");
    }
    assert_eq!(tenant.count_leads().await.unwrap(), 60);
}

async fn a_lead_shows_all_that_is_kept(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    import(&db, integration, vec![contact("1", "x")], Some("c"), 0).await;
    let lead = tenant.lead_of_source(SourceType::Salesforce, "1").await.unwrap().unwrap();
    assert_eq!(
        serde_json::to_value(&lead).unwrap(),
        serde_json::json!({
            "id": lead.id, "integration_id": integration, "source_type": "salesforce", "source_id": "1",
            "first_name": "Ada", "last_name": "x", "name": "Ada x", "email": "1@example.com", "phone": "+49 30 1",
            "company": "Analytical Engines", "title": "Countess",
            "source_metadata": {"Department": "R&D", "OwnerId": "005000000000001AAA"},
            "tags": [], "custom_fields": {}, "campaign": "c", "sync_status": "synced",
            "merged_into": null, "last_synced_at": now(), "created_at": now(), "updated_at": now(),
        })
    );
    assert_eq!(tenant.lead(lead.id).await.unwrap(), Some(lead));
}
