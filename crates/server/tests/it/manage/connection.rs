//! The page of a connection.

use jiff::SignedDuration;
use reqwest::Method;
use serde_json::json;

use super::{between, look, send};
use crate::connect::connect;
use crate::database::Db;
use crate::world::{PASSWORD, World};

on_both!(how_old_the_token_is_stands_on_every_node_and_costs_no_request);

async fn how_old_the_token_is_stands_on_every_node_and_costs_no_request(db: Db) {
    let world = World::with_nodes(db, 2).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let page = format!("/connections/{}", integration["id"].as_str().unwrap());
    let program = world.nodes[0].service.clone();
    let tenant = world.db.store.own();
    let known = tenant.integrations().await.unwrap().remove(0);
    let connection = program.connection(&tenant, &known).await.unwrap();
    // The org issues it by the machine's clock.
    let later = connection.credentials().token().await.unwrap().issued_at() + SignedDuration::from_secs(750);
    world.clock.set_wall(later);

    let asked = world.ledger().await["token_requests"].clone();
    assert!(asked.is_object() || asked.is_u64(), "{asked}");
    let mut other = world.browser_at(1);
    other.sign_in("owner@example.com", PASSWORD).await;
    for browser in [&mut owner, &mut other] {
        let shown = look(browser, &page).await;
        let token = between(&shown.body, "data-token>", "</dd>");
        assert!(token.contains("issued") && token.contains("12 min ago") && token.contains("another one"), "{token}");
    }
    assert_eq!(world.ledger().await["token_requests"], asked, "a look is no login");

    // The org has ended it: what this service still keeps opens nothing.
    world.control(Method::POST, "tokens/revoke", json!({"grants": true})).await;
    let live = format!("/api/connections/{}/proxy/services/data/v67.0/limits", integration["id"].as_str().unwrap());
    assert_ne!(owner.get(&live).await.0, 200);
    for browser in [&mut owner, &mut other] {
        assert!(!look(browser, &page).await.body.contains("data-token"), "a token that is refused is shown");
    }

    assert_eq!(send(&mut owner, &format!("{page}/disconnect"), &[]).await.status, 303);
    assert!(!look(&mut owner, &page).await.body.contains("data-token"), "there is none any more");
    assert_eq!(other.send(Method::GET, &page, None).await.status(), 200);
}
