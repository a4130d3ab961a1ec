//! Contacts as people look through them.

use jiff::SignedDuration;
use tieline_store::duplicates::{Decision, DuplicateFilter, Subject};
use tieline_store::{Checkpoint, ContactCursor, ContactFilter, ContactRow, Credentials, NewUser, Tenant, Uuid};

use crate::contact_steps::{ContactSteps, DELETED, Step};
use crate::database::{Db, now};
use crate::imports::contact;

on_both!(
    pages_of_either_order_leave_nothing_out_and_repeat_nothing,
    a_search_finds_letters_of_all_languages_and_what_is_a_part,
    a_search_goes_on_where_it_stopped,
    contacts_of_another_business_are_not_there,
);

async fn bring(tenant: &Tenant, integration: Uuid, contacts: &[ContactRow], second: i64) {
    let at = now() + SignedDuration::from_secs(second);
    let run = tenant.start_run(integration, at).await.unwrap();
    let step = Step { contacts, checkpoint: &Checkpoint::default(), api_calls: 1 };
    tenant.commit_step(&run, &step, at).await.unwrap();
    tenant.finish_run(&run, tieline_store::RunState::Success, None, at).await.unwrap();
}

async fn all(tenant: &Tenant, filter: &ContactFilter<'_>, limit: u32) -> Vec<String> {
    let (mut seen, mut cursor): (Vec<String>, Option<ContactCursor>) = (Vec::new(), None);
    loop {
        let page = tenant.contact_page(filter, cursor, limit).await.unwrap();
        assert!(page.items.len() <= limit as usize);
        seen.extend(page.items.into_iter().map(|listed| listed.contact.row.source_id));
        // As an address has it.
        cursor = page.next.map(|next| next.to_string().parse().unwrap());
        if cursor.is_none() {
            return seen;
        }
    }
}

async fn pages_of_either_order_leave_nothing_out_and_repeat_nothing(db: Db) {
    let (tenant, a) = (db.store.own(), db.integration().await);
    let b = tenant.save_integration("other", &Credentials::new(b"{}".to_vec()), now()).await.unwrap();
    let batch = |range: std::ops::Range<i32>| range.map(|n| contact(&format!("{n:03}"), "x")).collect::<Vec<_>>();
    bring(&tenant, a, &batch(0..20), 0).await;
    bring(&tenant, b, &batch(20..33), 1).await;
    bring(&tenant, a, &batch(33..40), 2).await;
    let gone: Vec<ContactRow> = batch(40..43).into_iter().map(|row| ContactRow { deleted: DELETED, ..row }).collect();
    bring(&tenant, a, &gone, 3).await;
    for (integration, without_gone, count) in
        [(None, false, 43), (None, true, 40), (Some(a), false, 30), (Some(a), true, 27), (Some(b), false, 13)]
    {
        for text in [None, Some("ADA")] {
            let filter = ContactFilter { integration, without_gone, text };
            let seen = all(&tenant, &filter, 7).await;
            let mut ids = seen.clone();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!((ids.len(), seen.len()), (count, count), "{filter:?}");
            // The newest come first.
            let newest = if integration == Some(b) {
                "0"
            } else if without_gone {
                "03"
            } else {
                "04"
            };
            assert!(seen[0].starts_with(newest), "{filter:?}: {seen:?}");
        }
    }
    let other_order = ContactCursor::Change(1, "x".to_owned());
    let page = tenant.contact_page(&ContactFilter::default(), Some(other_order), 50).await.unwrap();
    assert_eq!(page.items.len(), 43, "the cursor of another list begins this one");
    let one = &page.items[0];
    assert_eq!(tenant.contact(one.contact.id).await.unwrap().as_ref(), Some(one));
    assert_eq!((one.integration_id, one.merged_into), (Some(a), None));
    assert_eq!(tenant.contact(Uuid::nil()).await.unwrap(), None);
}

async fn a_search_finds_letters_of_all_languages_and_what_is_a_part(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let of = |id: &str, name: Option<&str>, email: &str, company: &str| ContactRow {
        name: name.map(str::to_owned),
        email: Some(email.to_owned()),
        company: Some(company.to_owned()),
        ..contact(id, "Nachname")
    };
    let contacts = [
        of("1", Some("Änne MÜLLER"), "anne@example.com", "100% Bio"),
        of("2", Some("O'Brien"), "same@example.com", "'; DROP TABLE contacts; --"),
        of("3", None, "SAME@example.com", "Ελλάδα"),
    ];
    bring(&tenant, integration, &contacts, 0).await;
    let found = async |text: &str| {
        let mut ids = all(&tenant, &ContactFilter { text: Some(text), ..ContactFilter::default() }, 50).await;
        ids.sort_unstable();
        ids
    };
    for (text, expected) in [
        ("änne", vec!["1"]),
        ("müller", vec!["1"]),
        ("100%", vec!["1"]),
        ("%", vec!["1"]),
        ("_", vec![]),
        ("'; drop", vec!["2"]),
        ("ελλ", vec!["3"]),
        ("ada nachname", vec!["3"]),
        ("same@", vec!["2", "3"]),
        ("nobody", vec![]),
    ] {
        assert_eq!(found(text).await, expected, "{text}");
    }
    assert!(found(&"%\0".repeat(100_000)).await.is_empty());
    // Merged: the part is no more in the list, and found as the other.
    tenant.find_duplicates(10, now()).await.unwrap();
    let pair = tenant.duplicates(&DuplicateFilter::default(), None, 9).await.unwrap().items.remove(0);
    assert_eq!(pair.subject, Subject::Contact);
    for row in pair.rows {
        assert_eq!(tenant.duplicates_of(Subject::Contact, row).await.unwrap(), std::slice::from_ref(&pair));
    }
    assert!(tenant.duplicates_of(Subject::Lead, pair.rows[0]).await.unwrap().is_empty());
    let names = all(&tenant, &ContactFilter::default(), 50).await;
    let kept = pair.rows[0];
    let decision = tenant.merge_duplicate(pair.id, kept, &["company".to_owned()].into(), now()).await.unwrap();
    assert!(matches!(decision, Decision::Done(_)), "{decision:?}");
    assert_eq!((names.len(), all(&tenant, &ContactFilter::default(), 50).await.len()), (3, 2));
    let (standing, part) =
        (tenant.contact(kept).await.unwrap().unwrap(), tenant.contact(pair.rows[1]).await.unwrap().unwrap());
    assert_eq!((part.merged_into, standing.merged_into), (Some(kept), None));
    assert_eq!(standing.contact.row.company, part.contact.row.company, "a field of the other is shown");
    let (id, parts_own) = (standing.contact.row.source_id.clone(), part.contact.row.email.clone().unwrap());
    assert_eq!(found("same@").await, std::slice::from_ref(&id), "once");
    let only_of_the_part = if id == "2" { "ada nachname" } else { "o'brien" };
    assert_eq!(found(only_of_the_part).await, [id], "{parts_own}");
}

async fn a_search_goes_on_where_it_stopped(db: Db) {
    let (tenant, integration) = (db.store.own(), db.integration().await);
    let first = [contact("wanted", "Needle")];
    bring(&tenant, integration, &first, 0).await;
    for batch in 0..5 {
        let rows: Vec<ContactRow> = (0..5_000).map(|n| contact(&format!("{batch}-{n:05}"), "x")).collect();
        bring(&tenant, integration, &rows, 1 + batch).await;
    }
    for of in [None, Some(integration)] {
        let filter = ContactFilter { text: Some("needle"), integration: of, ..ContactFilter::default() };
        let begun = std::time::Instant::now();
        let page = tenant.contact_page(&filter, None, 50).await.unwrap();
        eprintln!("a page of a search that finds nothing: {:?}", begun.elapsed());
        assert!(page.items.is_empty() && page.next.is_some(), "25,000 rows are more than a page looks at");
        let rest = tenant.contact_page(&filter, page.next, 50).await.unwrap();
        assert_eq!((rest.items.len(), rest.next), (1, None));
    }
}

async fn contacts_of_another_business_are_not_there(db: Db) {
    let ours = db.integration().await;
    let owner = NewUser { email: "owner@example.com", name: "O", password_hash: None };
    let owner = db.store.set_up(&owner, "first", "", now()).await.unwrap().unwrap();
    let business = db.store.create_business("b", owner.id, "", now()).await.unwrap();
    let theirs = db.store.as_member(&db.store.membership(owner.id, business).await.unwrap().unwrap());
    bring(&db.store.own(), ours, &[contact("1", "x")], 0).await;
    let listed = db.store.own().contact_page(&ContactFilter::default(), None, 9).await.unwrap().items.remove(0);
    assert_eq!(theirs.contact(listed.contact.id).await.unwrap(), None);
    for integration in [None, Some(ours)] {
        let filter = ContactFilter { integration, ..ContactFilter::default() };
        assert!(theirs.contact_page(&filter, None, 9).await.unwrap().items.is_empty());
    }
}
