//! Passwords set anew by a link of the operator's.

use jiff::SignedDuration;
use serde_json::json;
use tieline_auth::Clock;
use tieline_store::Digest;

use crate::database::Db;
use crate::world::{PASSWORD, World};

on_both!(a_link_sets_a_password_once_and_ends_all_sessions);

async fn a_link_sets_a_password_once_and_ends_all_sessions(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let user = world.db.store.account("owner@example.com").await.unwrap().unwrap().user.id;
    let now = world.clock.now();
    let link = async |token: &str| {
        let ends = now + SignedDuration::from_mins(30);
        world.db.store.begin_password_reset(user, Digest::of(token), now, ends).await.unwrap();
    };
    link("one").await;
    let mut browser = world.browser();
    let new = "another battery horse";
    for (token, password, wanted) in [
        ("guessed", new, (410, "reset_ended")),
        ("one", "short", (400, "invalid_request")),
        ("one", "ownerowner12", (400, "invalid_request")),
    ] {
        let (status, problem) =
            browser.post("/api/password-reset", json!({"token": token, "password": password})).await;
        assert_eq!((status.as_u16(), problem["code"].as_str().unwrap()), wanted, "{problem}");
    }
    let reset = json!({"token": "one", "password": new});
    assert_eq!(browser.post("/api/password-reset", reset.clone()).await.0, 204);
    assert!(browser.cookies.is_empty(), "one signs in with it");
    assert_eq!(browser.post("/api/password-reset", reset).await.0, 410, "it works once");
    assert_eq!(owner.get("/api/session").await.0, 401);
    assert_eq!(browser.sign_in("owner@example.com", PASSWORD).await.0, 401);
    assert_eq!(browser.sign_in("owner@example.com", new).await.0, 200);

    // Nobody has set a provider up.
    let none = browser.form("/sign-in/provider", &[]).await;
    assert_eq!(none.status(), 404);

    // By the page, without script.
    link("two").await;
    let mut browser = world.browser();
    browser.accept = "text/html";
    let page = browser.send(reqwest::Method::GET, "/reset", None).await.text().await.unwrap();
    assert!(page.contains("action=\"/reset\"") && page.contains("/assets/join.js"), "{page}");
    let wrong = browser.form("/reset", &[("token", "three"), ("password", PASSWORD)]).await;
    assert_eq!(wrong.status(), 410);
    assert!(wrong.text().await.unwrap().contains("there is no such link"));
    let done = browser.form("/reset", &[("token", "two"), ("password", PASSWORD)]).await;
    assert_eq!(done.status(), 200);
    assert!(done.text().await.unwrap().contains("Your password is set"));
    assert_eq!(browser.sign_in("owner@example.com", PASSWORD).await.0, 200);
    link("three").await;
    world.clock.advance(std::time::Duration::from_secs(1800));
    let late = json!({"token": "three", "password": new});
    assert_eq!(browser.post("/api/password-reset", late).await.0, 410, "it has ended");
}
