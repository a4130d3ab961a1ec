//! The org's contacts, live.

use std::collections::BTreeSet;

use serde_json::json;
use tieline_auth::{Clock, ManualClock};
use tieline_store::NewImport;
use tieline_sync::{ContactPage, ContactPageError, ContactRequest, Importer, contact_page};

use crate::world::{WINDOW, World, start};

async fn page(world: &World, cursor: Option<&str>, limit: u32, q: Option<&str>) -> ContactPage {
    let request = ContactRequest { cursor, limit: Some(limit), q };
    contact_page(&world.connection, &world.syncer.store, &request).await.unwrap()
}

async fn found(world: &World, q: &str) -> Vec<String> {
    let page = page(world, None, 200, Some(q)).await;
    let mut names: Vec<String> = page.items.into_iter().filter_map(|contact| contact.last_name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn pages_repeat_nothing_and_leave_nothing_out_while_contacts_come_and_go() {
    let csv: String = (0..23).map(|n| format!("\nName{n}")).collect();
    let world = World::with(Some(&format!("LastName{csv}")), WINDOW).await;
    let (mut seen, mut cursor): (Vec<String>, Option<String>) = (Vec::new(), None);
    let mut deleted = None;
    loop {
        let page = page(&world, cursor.as_deref(), 5, None).await;
        assert!(page.items.len() <= 5);
        seen.extend(page.items.into_iter().map(|contact| contact.id));
        if seen.len() == 10 {
            // A new one comes before what was seen, one that was seen goes, and so does one that was not.
            world.create("Latecomer").await;
            world.connection.delete("Contact", &seen[3]).await.unwrap();
            let all: Vec<String> = self::page(&world, None, 200, None).await.items.into_iter().map(|c| c.id).collect();
            let gone = all.last().unwrap().clone();
            world.connection.delete("Contact", &gone).await.unwrap();
            deleted = Some(gone);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 22, "23 less the one that went before it was seen");
    assert!(seen.is_sorted_by(|a, b| a > b), "newest first");
    assert!(!seen.contains(&deleted.unwrap()));
    assert_eq!(page(&world, None, 22, None).await.next, None, "a page that is full need not have a next one");
}

#[tokio::test]
async fn a_search_looks_at_name_email_and_company_and_takes_its_text_as_it_is() {
    let world = World::new().await;
    let account = world.connection.create("Account", &json!({"Name": "Müller & Söhne 100%"})).await.unwrap();
    for (last, first, email, account) in [
        ("O'Brien", "Ada", "ada@example.com", None),
        ("Müller", "Änne", "a_b@example.com", Some(&account)),
        ("Back\\slash", "X", "axb@example.org", None),
    ] {
        let record = json!({"LastName": last, "FirstName": first, "Email": email, "AccountId": account});
        world.connection.create("Contact", &record).await.unwrap();
    }
    for (q, expected) in [
        ("o'b", vec!["O'Brien"]),
        ("ada o'", vec!["O'Brien"]),
        ("MÜLL", vec!["Müller"]),
        ("söhne", vec!["Müller"]),
        ("0%", vec!["Müller"]),
        ("a_b@", vec!["Müller"]),
        ("k\\s", vec!["Back\\slash"]),
        ("example.com", vec!["Müller", "O'Brien"]),
        ("%%", vec![]),
        ("__", vec![]),
        ("' OR Name != '", vec![]),
        ("  ", vec!["Back\\slash", "Müller", "O'Brien"]),
    ] {
        assert_eq!(found(&world, q).await, expected, "{q}");
    }
    let only = page(&world, None, 10, Some("söhne")).await.items.remove(0);
    assert_eq!(
        serde_json::to_value(&only).unwrap(),
        json!({"id": only.id, "first_name": "Änne", "last_name": "Müller", "name": "Änne Müller",
            "email": "a_b@example.com", "phone": null, "title": null, "company": "Müller & Söhne 100%", "lead_id": null})
    );
}

#[tokio::test]
async fn a_page_tells_who_is_a_lead_already() {
    let world = World::new().await;
    let (a, b) = (world.create("A").await, world.create("B").await);
    let new = NewImport {
        integration: world.syncer.integration,
        idempotency_key: None,
        campaign: None,
        tags: &[],
        source_ids: std::slice::from_ref(&a),
        created_by: None,
    };
    let clock = std::sync::Arc::new(ManualClock::at(start()));
    world.syncer.store.create_import(&new, clock.now()).await.unwrap();
    let connection = world.connection.clone();
    let connect = move |_, _| std::future::ready(Ok(connection.clone()));
    Importer::new(world.syncer.store.store().clone(), connect, clock).run_once().await.unwrap().unwrap();
    let page = page(&world, None, 10, None).await;
    let leads: BTreeSet<(String, bool)> = page.items.into_iter().map(|c| (c.id, c.lead_id.is_some())).collect();
    assert_eq!(leads, BTreeSet::from([(a, true), (b, false)]));
}

#[tokio::test]
async fn a_malformed_cursor_is_told_and_asks_the_org_nothing() {
    let world = World::new().await;
    let calls = world.connection.api_calls();
    let request = ContactRequest { cursor: Some("bm90IG91cnM"), ..ContactRequest::default() };
    let error = contact_page(&world.connection, &world.syncer.store, &request).await.unwrap_err();
    assert!(matches!(&error, ContactPageError::Cursor(text) if text == "bm90IG91cnM"));
    assert!(error.hint().contains("`next`"));
    assert_eq!(world.connection.api_calls(), calls);
}
