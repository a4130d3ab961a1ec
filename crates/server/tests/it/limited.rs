//! How often clients may ask.

use serde_json::json;
use tieline_server::limits::Class;

use crate::database::Db;
use crate::world::{PASSWORD, World};

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

/// Twenty new keys or sessions that are none, and the database is not asked for more that come from there. Those who share
/// the address and were there before notice nothing.
#[tokio::test]
async fn wrong_keys_cost_no_look_and_those_who_share_the_address_go_on() {
    let settings = |settings: &mut tieline_server::Settings| settings.classes.set(Class::WrongKeys, "20/15m").unwrap();
    let world = World::with_settings(Db::sqlite().await, 1, settings).await;
    let mut owner = world.owner().await;
    let (_, made) = owner.post("/api/keys", json!({"name": "nightly", "role": "viewer"})).await;
    let key = made["key"].as_str().unwrap().to_owned();
    let http = reqwest::Client::builder().build().unwrap();
    let url = format!("{}/api/leads", world.nodes[0].url);
    let ask = async |header: &str, value: String| http.get(&url).header(header, value).send().await.unwrap();
    let mut answered = Vec::new();
    for n in 0..30 {
        let answer = match n % 2 {
            0 => ask("authorization", format!("Bearer tl_guess-{n}")).await,
            _ => ask("cookie", format!("tieline_session=guess-{n}")).await,
        };
        answered.push(answer.status().as_u16());
    }
    assert_eq!(answered, [[401; 20].as_slice(), &[429; 10]].concat());
    assert_eq!(ask("authorization", format!("Bearer {key}")).await.status(), 200);
    assert_eq!(owner.get("/api/session").await.0, 200);
    let mut again = world.browser();
    assert_eq!(again.sign_in("owner@example.com", PASSWORD).await.0, 200, "signing in asks for no key");
    assert_eq!(again.get("/api/session").await.0, 200, "and its session has worked here");

    // Without a database, whoever is looked for gets no answer.
    world.db.store.close().await;
    assert!(ask("authorization", format!("Bearer {key}")).await.status().is_server_error());
    let refused = ask("authorization", "Bearer tl_another".to_owned()).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (429, true));
    assert_eq!(refused.json::<serde_json::Value>().await.unwrap()["code"], "rate_limited");
    assert_eq!(ask("authorization", "Bearer tl_guess-0".to_owned()).await.status(), 401, "known to be none");
}
