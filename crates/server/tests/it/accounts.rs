//! People, teams and keys, over HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::Db;
use crate::world::{PASSWORD, World};

on_both!(
    the_first_user_needs_the_token_and_comes_once,
    signing_in_makes_a_new_session_and_tells_nothing_of_accounts,
    a_change_needs_the_sessions_token_and_our_own_pages,
    roles_say_who_may_what,
    a_key_acts_for_its_business_alone,
    an_invited_person_joins_with_the_role_that_was_meant,
);

async fn the_first_user_needs_the_token_and_comes_once(db: Db) {
    let world = World::new(db).await;
    let mut browser = world.browser();
    assert_eq!(browser.get("/api/setup").await.1, json!({"needed": true}));
    let first = |token: &str, password: &str| json!({"token": token, "email": "Owner@Example.com", "name": "Ada", "password": password, "business": "Acme"});
    let (status, problem) = browser.post("/api/setup", first("guessed", PASSWORD)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("setup_token")), "{problem}");
    let (status, problem) = browser.post("/api/setup", first("setup-token", "short")).await;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{problem}");
    let (status, session) = browser.post("/api/setup", first("setup-token", PASSWORD)).await;
    assert_eq!(status, 201, "{session}");
    assert_eq!(session["businesses"][0]["role"], "owner");
    assert_eq!(browser.get("/api/setup").await.1, json!({"needed": false}));
    assert_eq!(world.browser().post("/api/setup", first("setup-token", PASSWORD)).await.0, 409);
    assert_eq!(browser.get("/api/session").await.1["user"]["email"], "owner@example.com");
}

async fn signing_in_makes_a_new_session_and_tells_nothing_of_accounts(db: Db) {
    let world = World::new(db).await;
    world.owner().await;
    let mut browser = world.browser();
    assert_eq!(browser.get("/api/session").await.0, 401);
    let (status, mut wrong) = browser.sign_in("owner@example.com", "another password").await;
    let (_, mut unknown) = browser.sign_in("nobody@example.com", "another password").await;
    assert_eq!(status, 401);
    // It names the request, and nothing else.
    for answer in [&mut wrong, &mut unknown] {
        assert_eq!(answer["instance"].take().as_str().map(str::len), Some("urn:tieline:request:".len() + 36));
    }
    assert_eq!(wrong, unknown, "an address with an account is told from one without");
    assert_eq!(browser.sign_in("OWNER@example.com", PASSWORD).await.0, 200);
    let first = browser.cookies.clone();
    assert_eq!(browser.sign_in("owner@example.com", PASSWORD).await.0, 200);
    assert_ne!(first, browser.cookies, "the session is a new one at every sign-in");
    let mut old = browser.clone();
    old.cookies = first;
    assert_eq!(old.get("/api/session").await.0, 401, "and the one before has ended");
    let (_, sessions) = browser.get("/api/sessions").await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 2, "{sessions}");
    world.clock.advance(std::time::Duration::from_secs(15 * 24 * 3600));
    assert_eq!(browser.get("/api/session").await.0, 401, "a session that nobody uses ends");
    browser.sign_in("owner@example.com", PASSWORD).await;
    let changed = json!({"current": PASSWORD, "new": "another battery horse"});
    assert_eq!(browser.post("/api/password", changed).await.0, 204);
    assert_eq!(browser.get("/api/session").await.0, 200);
    assert_eq!(browser.call(Method::DELETE, "/api/session", None).await.0, 204);
    assert!(browser.cookies.is_empty());
    assert_eq!(browser.sign_in("owner@example.com", PASSWORD).await.0, 401);
    assert_eq!(browser.sign_in("owner@example.com", "another battery horse").await.0, 200);
}

async fn a_change_needs_the_sessions_token_and_our_own_pages(db: Db) {
    let world = World::new(db).await;
    let owner = world.owner().await;
    let mut forged = owner.clone();
    forged.csrf = String::new();
    let (status, problem) = forged.post("/api/businesses", json!({"name": "Forged"})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("csrf")));
    let cookies: Vec<String> = owner.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let http = reqwest::Client::builder().build().unwrap();
        let request = http.post(format!("{}/api/businesses", owner.url)).header("cookie", cookies.join("; "));
        let answer = request
            .header("x-csrf-token", &owner.csrf)
            .header(name, value)
            .json(&json!({"name": "Forged"}))
            .send()
            .await
            .unwrap();
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "foreign_origin", "{name}: {value}");
        let login = json!({"email": "owner@example.com", "password": PASSWORD});
        let answer =
            http.post(format!("{}/api/session", owner.url)).header(name, value).json(&login).send().await.unwrap();
        assert_eq!(answer.status(), 403, "another site signs somebody in: {name}: {value}");
    }
    let mut owner = owner;
    assert_eq!(owner.post("/api/businesses", json!({"name": "Mine"})).await.0, 201);
}

/// A member with a role, signed in.
pub(crate) async fn member(
    world: &World,
    owner: &mut crate::world::Browser,
    email: &str,
    role: &str,
) -> crate::world::Browser {
    let (status, invitation) = owner.post("/api/invitations", json!({"email": email, "role": role})).await;
    assert_eq!(status, 201, "{invitation}");
    let token = invitation["link"].as_str().unwrap().split_once('#').unwrap().1.to_owned();
    let mut browser = world.browser();
    let joined = json!({"token": token, "name": "Somebody", "password": PASSWORD});
    let (status, session) = browser.post("/api/invitations/accept", joined).await;
    assert_eq!(status, 200, "{session}");
    browser.csrf = session["csrf_token"].as_str().unwrap().to_owned();
    browser
}

async fn roles_say_who_may_what(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut viewer = member(&world, &mut owner, "viewer@example.com", "viewer").await;
    let mut admin = member(&world, &mut owner, "admin@example.com", "admin").await;
    assert_eq!(viewer.get("/api/integrations").await.0, 200);
    for (path, body) in [
        ("/api/integrations", json!({"name": "x"})),
        ("/api/keys", json!({"name": "x", "role": "viewer"})),
        ("/api/invitations", json!({"email": "x@example.com", "role": "viewer"})),
        ("/api/integrations/salesforce/revoke-all", json!({})),
    ] {
        let (status, problem) = viewer.post(path, body).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("role_required")), "{path}");
    }
    assert_eq!(viewer.get("/api/integrations/salesforce/authorize").await.0, 403);
    // An admin makes nobody an owner, nor unmakes one.
    assert_eq!(admin.post("/api/invitations", json!({"email": "x@example.com", "role": "owner"})).await.0, 403);
    assert_eq!(admin.post("/api/keys", json!({"name": "x", "role": "owner"})).await.0, 403);
    let (_, team) = admin.get("/api/members").await;
    let id = |email: &str| {
        let members = team["members"].as_array().unwrap();
        members.iter().find(|m| m["email"] == email).unwrap()["id"].as_str().unwrap().to_owned()
    };
    let (owners, viewers, admins) = (id("owner@example.com"), id("viewer@example.com"), id("admin@example.com"));
    let role = |role: &str| Some(json!({"role": role}));
    assert_eq!(admin.call(Method::PATCH, &format!("/api/members/{owners}"), role("viewer")).await.0, 403);
    assert_eq!(admin.call(Method::DELETE, &format!("/api/members/{owners}"), None).await.0, 403);
    assert_eq!(admin.call(Method::PATCH, &format!("/api/members/{admins}"), role("owner")).await.0, 403);
    assert_eq!(admin.call(Method::PATCH, &format!("/api/members/{viewers}"), role("member")).await.0, 204);
    assert_eq!(viewer.call(Method::DELETE, &format!("/api/members/{admins}"), None).await.0, 403);
    let (status, problem) = owner.call(Method::DELETE, &format!("/api/members/{owners}"), None).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("last_owner")));
    // Everybody may leave, and is out at once.
    assert_eq!(viewer.call(Method::DELETE, &format!("/api/members/{viewers}"), None).await.0, 204);
    let (status, problem) = viewer.get("/api/integrations").await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("no_business")));
}

async fn a_key_acts_for_its_business_alone(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let (_, other) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    let (status, made) = owner.post("/api/keys", json!({"name": "ci", "role": "admin"})).await;
    assert_eq!(status, 201);
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("tl_") && key.starts_with(made["prefix"].as_str().unwrap()), "{made}");
    let http = reqwest::Client::builder().build().unwrap();
    let ask = async |method: Method, path: &str, key: &str, body: Value| {
        let request = http.request(method, format!("{}{path}", owner.url)).bearer_auth(key).json(&body);
        // A key opens its own business, whatever header comes along.
        let answer = request.header("x-tieline-business", other["id"].as_str().unwrap()).send().await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap_or_default())
    };
    let (status, integration) = ask(Method::POST, "/api/integrations", key, json!({"name": "by key"})).await;
    assert_eq!(status, 201, "{integration}");
    let mut owner2 = owner.clone();
    assert_eq!(owner2.get("/api/integrations").await.1["integrations"][0]["name"], "by key");
    let (status, problem) = ask(Method::GET, "/api/integrations/salesforce/authorize", key, json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("session_required")));
    let (_, listed) = ask(Method::GET, "/api/keys", key, json!({})).await;
    assert!(listed["keys"][0].get("key").is_none() && !listed["keys"][0]["last_used_at"].is_null(), "{listed}");
    let (status, problem) = ask(Method::GET, "/api/integrations", "tl_wrong", json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")));
    let path = format!("/api/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(owner2.call(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(ask(Method::GET, "/api/integrations", key, json!({})).await.0, 401);
    assert_eq!(owner2.call(Method::DELETE, &path, None).await.0, 404);
}

async fn an_invited_person_joins_with_the_role_that_was_meant(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let mut joined = member(&world, &mut owner, "new@example.com", "member").await;
    let (_, session) = joined.get("/api/session").await;
    assert_eq!(session["businesses"][0]["role"], "member");
    // The other business invites somebody who has an account.
    let (_, other) = owner.post("/api/businesses", json!({"name": "Other"})).await;
    let mut answer = {
        let http = reqwest::Client::builder().build().unwrap();
        let cookies: Vec<String> = owner.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let request = http.post(format!("{}/api/invitations", owner.url)).header("cookie", cookies.join("; "));
        let request =
            request.header("x-csrf-token", &owner.csrf).header("x-tieline-business", other["id"].as_str().unwrap());
        request
            .json(&json!({"email": "new@example.com", "role": "viewer"}))
            .send()
            .await
            .unwrap()
            .json::<Value>()
            .await
            .unwrap()
    };
    let token = answer["link"].take().as_str().unwrap().split_once('#').unwrap().1.to_owned();
    let (status, problem) = owner.post("/api/invitations/accept", json!({"token": token})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("other_address")), "{problem}");
    let (status, problem) = world
        .browser()
        .post("/api/invitations/accept", json!({"token": token, "name": "X", "password": PASSWORD}))
        .await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("taken")), "{problem}");
    let (status, session) = joined.post("/api/invitations/accept", json!({"token": token})).await;
    assert_eq!(status, 200, "{session}");
    assert_eq!(session["businesses"].as_array().unwrap().len(), 2);
    let (status, problem) = joined.post("/api/invitations/accept", json!({"token": token})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::GONE, &json!("invitation_ended")));
}
