//! Signing in with a provider: a real one, and one of ours that lies on demand.

mod fake;
mod real;
mod refused;

use std::sync::Arc;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tieline_auth::{Clock, Secret};
use tieline_server::OpenIdProvider;
use tieline_store::audit::AuditFilter;
use url::Url;

use crate::database::Db;
use crate::world::{Browser, PASSWORD, World};
use fake::{Fake, SECRET};

on_both!(
    an_identity_is_linked_signs_in_and_is_unlinked,
    an_invited_person_joins_with_the_provider,
    an_address_signs_in_only_where_the_operator_trusts_it,
    without_passwords_the_provider_and_the_operators_link_are_the_ways_in,
);

/// A service whose people may sign in with the fake.
async fn world(db: Db, change: impl FnOnce(&mut OpenIdProvider)) -> (World, Arc<Fake>) {
    let fake = Fake::start().await;
    let mut told = OpenIdProvider::new(&fake.issuer, "tieline").unwrap();
    told.client_secret = Some(Secret::new(SECRET));
    "Example ID".clone_into(&mut told.name);
    change(&mut told);
    let world = World::with_settings(db, 1, |settings| settings.open_id = Some(told)).await;
    let _ = fake.clock.set(world.clock.clone());
    (world, fake)
}

/// Presses a button with the provider's name: the provider's page.
async fn begin(browser: &mut Browser, fields: &[(&str, &str)]) -> Url {
    let answer = browser.form("/sign-in/provider", fields).await;
    let status = answer.status();
    let html = answer.text().await.unwrap();
    assert_eq!(status, 200, "{html}");
    let url = html.split("0; url=").nth(1).unwrap_or_else(|| panic!("no way on: {html}")).split('"').next().unwrap();
    url.replace("&#38;", "&").parse().unwrap()
}

async fn back(browser: &mut Browser, query: &str) -> Response {
    browser.send(Method::GET, &format!("/sign-in/callback?{query}"), None).await
}

/// The whole way, from the button to the answer of the callback.
async fn go(browser: &mut Browser, fake: &Fake, fields: &[(&str, &str)]) -> Response {
    let page = begin(browser, fields).await;
    back(browser, &fake.sign_in(&page)).await
}

async fn refused(answer: Response) -> (StatusCode, String) {
    let (status, cookie) = (answer.status(), answer.headers().get("set-cookie").is_some());
    assert!(!cookie, "{status}: a session for somebody who was refused");
    let problem: Value = answer.json().await.unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

fn location(answer: &Response) -> &str {
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    answer.headers()["location"].to_str().unwrap()
}

async fn link(owner: &mut Browser, fake: &Fake) {
    let csrf = owner.csrf.clone();
    let answer = go(owner, fake, &[("purpose", "link"), ("csrf", &csrf)]).await;
    assert_eq!(location(&answer), "/account");
}

/// An invitation's token.
async fn invite(owner: &mut Browser, email: &str) -> String {
    let (status, made) = owner.post("/api/invitations", json!({"email": email, "role": "member"})).await;
    assert_eq!(status, 201, "{made}");
    made["link"].as_str().unwrap().split_once('#').unwrap().1.to_owned()
}

/// Everything of people that a sign-in could have changed.
async fn kept(world: &World) -> Value {
    let users = world.db.store.users(world.clock.now()).await.unwrap();
    let mut identities = Vec::new();
    for user in &users {
        identities.extend(world.db.store.identities_of(user.user.id).await.unwrap().into_iter().map(|i| i.subject));
    }
    json!({"users": users, "identities": identities})
}

async fn audited(world: &World, action: &str) -> Vec<Value> {
    let entries = world.db.store.audit_entries(&AuditFilter::default(), None, 100).await.unwrap();
    let entries = entries.into_iter().filter(|entry| entry.action == action);
    entries.map(|entry| serde_json::from_str(&entry.detail).unwrap()).collect()
}

async fn an_identity_is_linked_signs_in_and_is_unlinked(db: Db) {
    let (world, fake) = world(db, |_| {}).await;
    let mut owner = world.owner().await;
    let (status, code) = refused(go(&mut world.browser(), &fake, &[]).await).await;
    assert_eq!((status.as_u16(), code.as_str()), (403, "unknown_identity"), "an address alone signs in nobody");
    let forged = owner.form("/sign-in/provider", &[("purpose", "link"), ("csrf", "guessed")]).await;
    assert_eq!(refused(forged).await.1, "csrf");
    link(&mut owner, &fake).await;
    let (_, listed) = owner.get("/api/session/identities").await;
    let identity = &listed["identities"][0];
    assert_eq!((&identity["issuer"], &identity["email"]), (&json!(fake.issuer), &json!("owner@example.com")));

    // In a browser that is signed in: another session begins, and the one before ends.
    let before = owner.cookies["tieline_session"].clone();
    let answer = go(&mut owner, &fake, &[("return_to", "/connect?x=1")]).await;
    assert_eq!(location(&answer), "/connect?x=1");
    assert_ne!(owner.cookies["tieline_session"], before);
    let mut old = owner.clone();
    old.cookies.insert("tieline_session".to_owned(), before);
    assert_eq!(old.get("/api/session").await.0, 401);
    let (_, session) = owner.get("/api/session").await;
    assert_eq!(session["user"]["email"], "owner@example.com");
    owner.csrf = session["csrf_token"].as_str().unwrap().to_owned();
    for evil in ["//evil.example", "https://evil.example/", "/\\evil.example"] {
        let answer = go(&mut world.browser(), &fake, &[("return_to", evil)]).await;
        assert_eq!(location(&answer), "/", "{evil}");
    }
    // The account's own address is not the provider's to change.
    fake.person(json!({"sub": "s1", "email": "other@example.com", "email_verified": true}));
    let mut elsewhere = world.browser();
    go(&mut elsewhere, &fake, &[]).await;
    assert_eq!(elsewhere.get("/api/session").await.1["user"]["email"], "owner@example.com");

    let path = format!("/api/session/identities/{}", identity["id"].as_str().unwrap());
    assert_eq!(owner.call(Method::DELETE, &path, None).await.0, 204);
    assert_eq!(owner.call(Method::DELETE, &path, None).await.0, 404);
    assert_eq!(refused(go(&mut world.browser(), &fake, &[]).await).await.1, "unknown_identity");
    assert_eq!(audited(&world, "identity.linked").await, [json!({"issuer": fake.issuer})]);
    assert_eq!(audited(&world, "identity.unlinked").await.len(), 1);
    let started = audited(&world, "session.started").await;
    assert_eq!((&started[0], started.last()), (&json!({"method": "oidc"}), Some(&json!({"method": "password"}))));
    let failed = json!({"method": "oidc", "code": "unknown_identity"});
    assert_eq!(audited(&world, "session.failed").await, [failed.clone(), failed]);
}

async fn an_invited_person_joins_with_the_provider(db: Db) {
    let (world, fake) = world(db, |_| {}).await;
    let mut owner = world.owner().await;
    link(&mut owner, &fake).await;
    let token = invite(&mut owner, "new@example.com").await;
    let join = [("purpose", "join"), ("token", token.as_str())];
    let before = kept(&world).await;
    for (person, wanted) in [
        (json!({"sub": "s2", "email": "new@example.com"}), "email_unverified"),
        (json!({"sub": "s2", "email": "new@example.com", "email_verified": false}), "email_unverified"),
        (json!({"sub": "s2"}), "email_unverified"),
        (json!({"sub": "s2", "email": "another@example.com", "email_verified": true}), "other_address"),
        // The owner's identity, which now tells the invited address.
        (json!({"sub": "s1", "email": "new@example.com", "email_verified": true}), "other_address"),
    ] {
        fake.person(person.clone());
        assert_eq!(refused(go(&mut world.browser(), &fake, &join).await).await.1, wanted, "{person}");
    }
    let mut after = kept(&world).await;
    assert_eq!(before["identities"], after["identities"]);
    assert_eq!(after["users"].as_array_mut().unwrap().len(), 1);
    fake.person(json!({"sub": "s2", "email": "New@Example.com", "email_verified": true, "name": "Grace"}));
    let guessed = [("purpose", "join"), ("token", "guessed")];
    assert_eq!(refused(go(&mut world.browser(), &fake, &guessed).await).await.1, "invitation_ended");
    // The address may be behind the userinfo endpoint; and that of somebody else is not taken.
    *fake.thin.lock().unwrap() = true;
    fake.lie(fake::Lie::OtherPerson);
    assert_eq!(refused(go(&mut world.browser(), &fake, &join).await).await.1, "id_token_refused");
    fake.lie(fake::Lie::None);
    let mut joined = world.browser();
    assert_eq!(location(&go(&mut joined, &fake, &join).await), "/");
    let (_, session) = joined.get("/api/session").await;
    assert_eq!(session["user"]["name"], "Grace", "{session}");
    assert_eq!(session["businesses"][0]["role"], "member");
    joined.csrf = session["csrf_token"].as_str().unwrap().to_owned();
    assert_eq!(refused(go(&mut world.browser(), &fake, &join).await).await.1, "invitation_ended");

    // Without a password, all that needs one says so.
    let changed = json!({"current": PASSWORD, "new": "another battery horse"});
    let (status, problem) = joined.post("/api/password", changed).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("no_password")));
    assert_eq!(world.browser().sign_in("new@example.com", PASSWORD).await.0, 401);
    let (_, listed) = joined.get("/api/session/identities").await;
    let path = format!("/api/session/identities/{}", listed["identities"][0]["id"].as_str().unwrap());
    let (status, problem) = joined.call(Method::DELETE, &path, None).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("last_way_in")));
    joined.accept = "text/html";
    let page = joined.send(Method::GET, "/account", None).await.text().await.unwrap();
    assert!(page.contains("You have no password") && page.contains("Link Example ID"), "{page}");
    let foreign = owner.call(Method::DELETE, &path, None).await;
    assert_eq!(foreign.0, 404, "another user's");
}

async fn an_address_signs_in_only_where_the_operator_trusts_it(db: Db) {
    let (world, fake) = world(db, |told| told.trust_email = true).await;
    world.owner().await;
    for untrusted in [json!(false), Value::Null, json!(1)] {
        fake.person(json!({"sub": "s1", "email": "owner@example.com", "email_verified": untrusted}));
        assert_eq!(refused(go(&mut world.browser(), &fake, &[]).await).await.1, "unknown_identity", "{untrusted}");
    }
    fake.person(json!({"sub": "s1", "email": "nobody@example.com", "email_verified": true}));
    assert_eq!(refused(go(&mut world.browser(), &fake, &[]).await).await.1, "unknown_identity");
    fake.person(json!({"sub": "s1", "email": "Owner@example.com", "email_verified": true}));
    let mut browser = world.browser();
    assert_eq!(location(&go(&mut browser, &fake, &[]).await), "/");
    assert_eq!(browser.get("/api/session").await.1["user"]["email"], "owner@example.com");
    assert_eq!(kept(&world).await["identities"], json!(["s1"]), "from now on it is linked");
}

async fn without_passwords_the_provider_and_the_operators_link_are_the_ways_in(db: Db) {
    let (world, fake) = world(db, |told| told.only = true).await;
    let mut owner = world.owner().await;
    link(&mut owner, &fake).await;
    let (status, problem) = world.browser().sign_in("owner@example.com", PASSWORD).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("password_sign_in_off")));
    let token = invite(&mut owner, "new@example.com").await;
    let accept = json!({"token": token, "name": "New", "password": PASSWORD});
    let (status, problem) = world.browser().post("/api/invitations/accept", accept).await;
    assert_eq!((status.as_u16(), &problem["code"]), (403, &json!("password_sign_in_off")));
    let (_, listed) = owner.get("/api/session/identities").await;
    let path = format!("/api/session/identities/{}", listed["identities"][0]["id"].as_str().unwrap());
    assert_eq!(owner.call(Method::DELETE, &path, None).await.1["code"], "last_way_in", "the password is none");
    let mut browser = world.browser();
    browser.accept = "text/html";
    let page = browser.send(Method::GET, "/sign-in", None).await.text().await.unwrap();
    assert!(page.contains("Sign in with Example ID") && !page.contains("type=\"password\""), "{page}");
    go(&mut browser, &fake, &[]).await;
    assert_eq!(browser.get("/api/session").await.0, 200);

    // The provider is away: the operator's link is the way in.
    let user = world.db.store.account("owner@example.com").await.unwrap().unwrap().user.id;
    let now = world.clock.now();
    let ends = now + jiff::SignedDuration::from_mins(30);
    world.db.store.begin_password_reset(user, tieline_store::Digest::of("link"), now, ends).await.unwrap();
    let mut locked_out = world.browser();
    let reset = json!({"token": "link", "password": "another battery horse"});
    assert_eq!(locked_out.post("/api/password-reset", reset).await.0, 204);
    assert_eq!(locked_out.get("/api/session").await.1["user"]["email"], "owner@example.com");
    assert_eq!(browser.get("/api/session").await.0, 401, "all other sessions have ended");
    assert_eq!(audited(&world, "session.started").await[0], json!({"method": "reset_link"}));
}
