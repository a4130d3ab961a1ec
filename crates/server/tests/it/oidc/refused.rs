//! What a provider, a person or a page in between may not do.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::fake::Lie;
use super::{audited, back, begin, go, invite, kept, link, location, refused, world};
use crate::database::Db;
use crate::world::PASSWORD;

on_both!(
    a_token_that_is_not_this_sign_ins_is_refused_and_nothing_kept,
    an_answer_belongs_to_its_browser_once,
    keys_are_asked_for_anew_once_a_minute_at_most,
    a_provider_that_is_away_or_another_signs_in_nobody,
    a_link_is_finished_by_whoever_began_it,
);

async fn a_token_that_is_not_this_sign_ins_is_refused_and_nothing_kept(db: Db) {
    let (world, fake) = world(db, |told| told.trust_email = true).await;
    let mut owner = world.owner().await;
    link(&mut owner, &fake).await;
    let invitation = invite(&mut owner, "new@example.com").await;
    let before = kept(&world).await;
    let lies = [
        Lie::Nonce,
        Lie::NoNonce,
        Lie::AlgorithmNone,
        Lie::MacOfPublicKey,
        Lie::MacOfClientSecret,
        Lie::Audience,
        Lie::TwoAudiences,
        Lie::AuthorizedParty,
        Lie::Issuer,
        Lie::Expired,
        Lie::Future,
        Lie::UnknownKey,
        Lie::ForeignSignature,
        Lie::ClaimsChangedAfter,
        Lie::AccessToken,
    ];
    for lie in lies {
        fake.lie(lie);
        for fields in [&[][..], &[("purpose", "join"), ("token", invitation.as_str())]] {
            let (status, code) = refused(go(&mut world.browser(), &fake, fields).await).await;
            assert_eq!((status.as_u16(), code.as_str()), (502, "id_token_refused"), "{lie:?} {fields:?}");
        }
        let csrf = owner.csrf.clone();
        let answer = go(&mut owner, &fake, &[("purpose", "link"), ("csrf", &csrf)]).await;
        assert_eq!(refused(answer).await.1, "id_token_refused", "{lie:?}");
    }
    fake.lie(Lie::Endless);
    assert_eq!(refused(go(&mut world.browser(), &fake, &[]).await).await.1, "provider_unusable");
    assert_eq!(kept(&world).await, before);
    assert_eq!(audited(&world, "session.failed").await.len(), lies.len() * 3 + 1);
    // It is the lie alone that was refused.
    fake.lie(Lie::None);
    assert_eq!(location(&go(&mut world.browser(), &fake, &[]).await), "/");
}

async fn an_answer_belongs_to_its_browser_once(db: Db) {
    let (world, fake) = world(db, |_| {}).await;
    link(&mut world.owner().await, &fake).await;
    let before = kept(&world).await;
    let (mut one, mut other) = (world.browser(), world.browser());
    let (page, others) = (begin(&mut one, &[]).await, begin(&mut other, &[]).await);
    let (query, theirs) = (fake.sign_in(&page), fake.sign_in(&others));
    let exchanges = fake.exchanges.load(Ordering::Relaxed);

    // Another browser, which began one of its own, and one that began none: the victim of a forged sign-in.
    assert_eq!(refused(back(&mut other, &query).await).await.1, "invalid_state");
    assert_eq!(refused(back(&mut world.browser(), &query).await).await.1, "invalid_state");
    assert_eq!(refused(back(&mut one, "state=guessed&code=x").await).await.1, "invalid_state");
    assert_eq!(refused(back(&mut one, "code=x").await).await.1, "invalid_state");
    assert_eq!(refused(back(&mut one, &format!("{query}&code=other")).await).await.1, "invalid_request");
    assert_eq!(fake.exchanges.load(Ordering::Relaxed), exchanges, "no code was sent anywhere");

    // The state of one and the code of another sign-in: the provider sees it by PKCE, and we by the nonce if it does not.
    let state = query.split('&').next().unwrap();
    let code = theirs.split('&').nth(1).unwrap();
    assert_eq!(refused(back(&mut one, &format!("{state}&{code}")).await).await.1, "code_refused");
    *fake.careful.lock().unwrap() = false;
    let again = fake.sign_in(&begin(&mut one, &[]).await);
    let state = again.split('&').next().unwrap();
    let stolen = fake.sign_in(&begin(&mut other, &[]).await);
    let code = stolen.split('&').nth(1).unwrap();
    assert_eq!(refused(back(&mut one, &format!("{state}&{code}")).await).await.1, "id_token_refused");
    *fake.careful.lock().unwrap() = true;

    // A mixed-up provider: its answer is not exchanged.
    let exchanges = fake.exchanges.load(Ordering::Relaxed);
    let query = fake.sign_in(&begin(&mut one, &[]).await);
    let mixed = format!("{query}&iss=https%3A%2F%2Fevil.example");
    assert_eq!(refused(back(&mut one, &mixed).await).await.1, "issuer_mismatch");
    assert_eq!(refused(back(&mut one, &query).await).await.1, "invalid_state", "it is used up");
    let state = |query: &str| query.split('&').next().unwrap().to_owned();
    let denied = state(&fake.sign_in(&begin(&mut one, &[]).await));
    let answer = back(&mut one, &format!("{denied}&error=access_denied&error_description=%3Cscript%3E")).await;
    assert_eq!(refused(answer).await.1, "access_denied");
    let empty = state(&fake.sign_in(&begin(&mut one, &[]).await));
    assert_eq!(refused(back(&mut one, &empty).await).await.1, "provider_refused");
    let late = fake.sign_in(&begin(&mut one, &[]).await);
    world.clock.advance(std::time::Duration::from_secs(601));
    assert_eq!(refused(back(&mut one, &late).await).await.1, "invalid_state");
    assert_eq!(fake.exchanges.load(Ordering::Relaxed), exchanges);
    assert_eq!(kept(&world).await, before);

    // Two tabs of one browser both come back, once each.
    let (first, second) = (begin(&mut one, &[]).await, begin(&mut one, &[]).await);
    let (first, second) = (fake.sign_in(&first), fake.sign_in(&second));
    let named = format!("{first}&iss={}", fake.issuer);
    assert_eq!(location(&back(&mut one, &named).await), "/");
    assert_eq!(location(&back(&mut one, &second).await), "/");
    assert_eq!(refused(back(&mut one, &second).await).await.1, "invalid_state");
}

async fn keys_are_asked_for_anew_once_a_minute_at_most(db: Db) {
    let (world, fake) = world(db, |_| {}).await;
    link(&mut world.owner().await, &fake).await;
    let asked = || fake.key_sets.load(Ordering::Relaxed);
    assert_eq!(asked(), 1);
    fake.lie(Lie::UnknownKey);
    for _ in 0..3 {
        assert_eq!(refused(go(&mut world.browser(), &fake, &[]).await).await.1, "id_token_refused");
    }
    assert_eq!(asked(), 1, "they are not a minute old");
    world.clock.advance(std::time::Duration::from_secs(61));
    for _ in 0..3 {
        assert_eq!(refused(go(&mut world.browser(), &fake, &[]).await).await.1, "id_token_refused");
    }
    assert_eq!(asked(), 2);
    // The provider has taken a new key.
    fake.lie(Lie::None);
    fake.rotate("k2");
    world.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(location(&go(&mut world.browser(), &fake, &[]).await), "/");
    assert_eq!(asked(), 3);
    // A redirect leads to no key.
    fake.rotate("k3");
    fake.lie(Lie::KeysElsewhere);
    world.clock.advance(std::time::Duration::from_secs(61));
    assert_eq!(refused(go(&mut world.browser(), &fake, &[]).await).await.1, "provider_unusable");
}

async fn a_provider_that_is_away_or_another_signs_in_nobody(db: Db) {
    let (world, _fake) = world(db, |told| {
        // Nobody listens there.
        "http://127.0.0.1:9".clone_into(&mut told.issuer);
    })
    .await;
    let mut browser = world.browser();
    let (status, code) = refused(browser.form("/sign-in/provider", &[]).await).await;
    assert_eq!((status.as_u16(), code.as_str()), (503, "provider_unavailable"));
    browser.accept = "text/html";
    let page = browser.form("/sign-in/provider", &[]).await.text().await.unwrap();
    assert!(page.contains("The provider cannot be reached") && !page.contains("urn:tieline"), "{page}");
    // A page of another site cannot begin a sign-in.
    let http = reqwest::Client::builder().build().unwrap();
    let foreign = http.post(format!("{}/sign-in/provider", browser.url)).header("origin", "https://evil.example");
    let answer = foreign.form(&[("purpose", "")]).send().await.unwrap();
    assert_eq!(refused(answer).await.1, "foreign_origin");
    world.owner().await;
    assert_eq!(world.browser().sign_in("owner@example.com", PASSWORD).await.0, 200, "passwords go on");
}

async fn a_link_is_finished_by_whoever_began_it(db: Db) {
    let (world, fake) = world(db, |_| {}).await;
    let mut owner = world.owner().await;
    let csrf = owner.csrf.clone();
    let link = [("purpose", "link"), ("csrf", csrf.as_str())];
    let query = fake.sign_in(&begin(&mut owner, &link).await);
    let session = owner.cookies.remove("tieline_session").unwrap();
    assert_eq!(refused(back(&mut owner, &query).await).await.1, "other_user", "nobody is signed in");
    owner.cookies.insert("tieline_session".to_owned(), session);
    let answer = world.browser().form("/sign-in/provider", &link).await;
    assert_eq!(refused(answer).await.1, "unauthenticated");
    assert_eq!(location(&go(&mut owner, &fake, &link).await), "/account");
    // Somebody else cannot have the same identity.
    let token = invite(&mut owner, "second@example.com").await;
    let mut member = world.browser();
    let accept = json!({"token": token, "name": "Second", "password": PASSWORD});
    let (status, session) = member.post("/api/invitations/accept", accept).await;
    assert_eq!(status, 200, "{session}");
    let csrf = session["csrf_token"].as_str().unwrap().to_owned();
    let answer = go(&mut member, &fake, &[("purpose", "link"), ("csrf", &csrf)]).await;
    assert_eq!(refused(answer).await.1, "taken");
    assert_eq!(member.get("/api/session/identities").await.1, json!({"identities": []}));
}
