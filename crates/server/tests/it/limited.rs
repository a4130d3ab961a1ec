//! How often clients may ask.

use serde_json::json;

use crate::database::Db;
use crate::world::World;

#[tokio::test]
async fn a_limit_is_one_for_all_nodes() {
    let Some(db) = Db::postgres().await else { return };
    let world = World::limited(db, 2).await;
    let owner = world.owner().await;
    let mut at: Vec<_> = world
        .nodes
        .iter()
        .map(|node| {
            let mut browser = owner.clone();
            browser.url = node.url.clone();
            browser
        })
        .collect();
    let mut answered = Vec::new();
    for n in 0..110 {
        answered.push(at[n % 2].get("/api/integrations").await.0.as_u16());
    }
    let allowed = answered.iter().filter(|status| **status == 200).count();
    // A hundred in a quarter of an hour, and one more every nine seconds.
    assert!((100..=102).contains(&allowed), "{allowed}");
    let refused = at[0].send(reqwest::Method::GET, "/api/integrations", None).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.headers()["ratelimit"].to_str().unwrap().starts_with("\"api\";r=0"));
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "rate_limited");
    assert_eq!(at[0].get("/api/members").await.0, 200, "other routes have limits of their own");
}

#[tokio::test]
async fn guessing_a_password_is_slow_from_wherever() {
    let world = World::limited(Db::sqlite().await, 1).await;
    world.owner().await;
    let mut guesser = world.browser();
    let mut last = 0;
    for n in 0..12 {
        let guess = json!({"email": "owner@example.com", "password": format!("guess number {n}")});
        last = guesser.post("/api/session", guess).await.0.as_u16();
    }
    assert_eq!(last, 429);
    assert_eq!(guesser.get("/health/ready").await.0, 200);
}
