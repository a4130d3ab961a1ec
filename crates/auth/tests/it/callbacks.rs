//! The web server flow: a login page that is walked through by plain HTTP, and callbacks that must not pass (scenario 36).

use std::time::Duration;

use serde_json::json;
use tieline_auth::error::AuthErrorKind;
use tieline_auth::grant::authorization_code::{Authorize, PendingLogins};
use tieline_auth::{Grant, SystemClock};
use url::Url;

use crate::world::{World, at, manual, quick, text};

const CALLBACK: &str = "http://localhost:1717/OauthRedirect";

fn ask() -> Authorize {
    Authorize::new(CALLBACK.parse().unwrap())
}

/// The first form of a page: where it goes, and its fields as they are.
fn form(page: &str) -> (String, Vec<(String, String)>) {
    let attribute = |tag: &str, name: &str| -> Option<String> {
        let value = tag.split_once(&format!("{name}=\""))?.1.split('"').next()?;
        Some(value.replace("&amp;", "&").replace("&#x3D;", "=").replace("&quot;", "\"").replace("&#38;", "&"))
    };
    let form = page.split_once("<form").unwrap_or_else(|| panic!("no form in {page}")).1;
    let form = form.split("</form>").next().unwrap();
    let action = attribute(form.split('>').next().unwrap(), "action").unwrap_or_default();
    let inputs = form.split("<input").skip(1).map(|tag| tag.split('>').next().unwrap());
    let fields = inputs.filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default())));
    (action, fields.collect())
}

/// Signs in as the admin and presses Allow or Deny; answers where the browser is sent, if it is sent anywhere.
pub(crate) async fn sign_in_and_decide(
    browser: &reqwest::Client,
    url: &str,
    world: &World,
    user_code: Option<&str>,
    allow: bool,
) -> Option<Url> {
    let base: Url = url.parse().unwrap();
    let mut cookie = String::new();
    let mut response = browser.get(url).send().await.unwrap();
    for _ in 0..8 {
        if let Some(set) = response.headers().get("set-cookie") {
            set.to_str().unwrap().split(';').next().unwrap().clone_into(&mut cookie);
        }
        if let Some(location) = response.headers().get("location") {
            let location = location.to_str().unwrap();
            let next = base.join(location).unwrap();
            if next.port() != base.port() {
                return Some(next);
            }
            response = browser.get(next).header("cookie", &cookie).send().await.unwrap();
            continue;
        }
        let page = response.text().await.unwrap();
        if !page.contains("<form") {
            return None;
        }
        let (action, mut fields) = form(&page);
        let mut decided = false;
        for (name, value) in &mut fields {
            match name.as_str() {
                "username" | "un" => value.clone_from(&world.info().username),
                "password" | "pw" => value.clone_from(&world.info().password),
                "user_code" => user_code.unwrap_or_default().clone_into(value),
                _ => {}
            }
        }
        if page.contains("Deny") {
            fields.retain(|(name, _)| name != "decision");
            fields.push(("decision".to_owned(), if allow { "allow" } else { "deny" }.to_owned()));
            decided = true;
        }
        let post = browser.post(base.join(&action).unwrap()).header("cookie", &cookie);
        response = post.form(&fields).send().await.unwrap();
        if decided && response.headers().get("location").is_none() {
            return None;
        }
    }
    panic!("the pages do not end");
}

pub(crate) fn browser() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

async fn walk(world: &World, url: &Url, allow: bool) -> Url {
    sign_in_and_decide(&browser(), url.as_str(), world, None, allow).await.expect("the browser is sent back")
}

#[tokio::test]
async fn a_login_by_browser_leaves_credentials_that_renew_themselves() {
    let world = World::new().await;
    world.put("app", json!({"pkce_required": true})).await;
    let mut ask = ask();
    ask.scopes = ["api", "refresh_token", "openid"].map(str::to_owned).to_vec();
    let clock = SystemClock::default();
    let pending = ask.begin(&world.app(), tieline_auth::Clock::now(&clock)).unwrap();
    let callback = walk(&world, pending.url(), true).await;
    let begun = pending.finish(&callback, &world.http, &clock).await.unwrap();
    assert!(begun.id_token().is_some(), "openid was asked for");
    let credentials = begun.into_credentials(quick()).await.unwrap();
    let before = world.token_requests().await;
    let token = credentials.token().await.unwrap();
    assert!(world.takes(token.access_token().expose()).await);
    assert_eq!(world.token_requests().await, before, "the first token is the login's own");
    credentials.refused(&token);
    assert!(world.takes(&text(&credentials).await).await, "and the refresh token brings the next");
    assert_eq!(world.token_requests().await, before + 1);
}

#[tokio::test]
async fn a_login_without_refresh_scope_is_good_for_one_token() {
    let world = World::new().await;
    let mut ask = ask();
    ask.scopes = vec!["api".to_owned()];
    let clock = SystemClock::default();
    let pending = ask.begin(&world.app(), tieline_auth::Clock::now(&clock)).unwrap();
    let callback = walk(&world, pending.url(), true).await;
    let begun = pending.finish(&callback, &world.http, &clock).await.unwrap();
    assert!(matches!(begun.config().grant, Grant::AccessToken { .. }));
    let credentials = begun.into_credentials(quick()).await.unwrap();
    credentials.refused(&credentials.token().await.unwrap());
    assert!(matches!(credentials.token().await.unwrap_err().kind(), AuthErrorKind::NotRenewable));
}

#[tokio::test]
async fn a_denied_login_says_who_denied_it() {
    let world = World::new().await;
    let clock = SystemClock::default();
    // The admin has approved the app already; only then is there a page to deny it on.
    let ask = Authorize { prompt: Some("consent".to_owned()), ..ask() };
    let pending = ask.begin(&world.app(), tieline_auth::Clock::now(&clock)).unwrap();
    let callback = walk(&world, pending.url(), false).await;
    let error = pending.finish(&callback, &world.http, &clock).await.unwrap_err();
    assert!(error.to_string().contains("access_denied") && error.hint().contains("allow the app"), "{error}");
}

#[tokio::test]
async fn s36_a_callback_counts_once_in_its_own_browser_and_in_time() {
    let world = World::new().await;
    let clock = manual();
    let logins = PendingLogins::new(clock.clone());
    let requests = world.token_requests().await;
    let refused = |error: &tieline_auth::AuthError, said: &str| {
        assert!(matches!(error.kind(), AuthErrorKind::Callback { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    };

    let url = logins.begin(&world.app(), &ask(), "session a").unwrap();
    let callback = walk(&world, &url, true).await;
    let error = logins.finish(&callback, "session b", &world.http).await.unwrap_err();
    refused(&error, "another browser session");
    let error = logins.finish(&callback, "session a", &world.http).await.unwrap_err();
    refused(&error, "used before");

    let url = logins.begin(&world.app(), &ask(), "session a").unwrap();
    let callback = walk(&world, &url, true).await;
    let mut forged = callback.clone();
    let pairs: Vec<_> = callback.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
    forged.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(k, v)| (k, if k == "state" { "x" } else { v })));
    refused(&logins.finish(&forged, "session a", &world.http).await.unwrap_err(), "unknown");
    clock.advance(Duration::from_secs(601));
    refused(&logins.finish(&callback, "session a", &world.http).await.unwrap_err(), "ten minutes");
    assert_eq!(world.token_requests().await, requests, "none of these reached the token endpoint");

    let url = logins.begin(&world.app(), &ask(), "session a").unwrap();
    let callback = walk(&world, &url, true).await;
    let begun = logins.finish(&callback, "session a", &world.http).await.unwrap();
    assert!(world.takes(&text(&begun.into_credentials(at(&clock)).await.unwrap()).await).await);
    refused(&logins.finish(&callback, "session a", &world.http).await.unwrap_err(), "used before");
    assert_eq!(world.token_requests().await, requests + 1);
}

#[tokio::test]
async fn s36_a_code_without_its_verifier_is_worth_nothing() {
    let world = World::new().await;
    let clock = SystemClock::default();
    let now = tieline_auth::Clock::now(&clock);
    let (theirs, ours) = (ask().begin(&world.app(), now).unwrap(), ask().begin(&world.app(), now).unwrap());
    let stolen = walk(&world, theirs.url(), true).await;
    let code = stolen.query_pairs().find(|(k, _)| k == "code").unwrap().1.into_owned();
    let state = ours.url().query_pairs().find(|(k, _)| k == "state").unwrap().1.into_owned();
    let mut callback: Url = CALLBACK.parse().unwrap();
    callback.query_pairs_mut().append_pair("code", &code).append_pair("state", &state);
    let error = ours.finish(&callback, &world.http, &clock).await.unwrap_err();
    assert!(error.to_string().contains("invalid_grant"), "{error}");
}

#[tokio::test]
async fn s36_a_callback_with_another_state_reaches_no_token_endpoint() {
    let world = World::new().await;
    let clock = SystemClock::default();
    let pending = ask().begin(&world.app(), tieline_auth::Clock::now(&clock)).unwrap();
    let callback = walk(&world, pending.url(), true).await;
    let code = callback.query_pairs().find(|(key, _)| key == "code").unwrap().1.into_owned();
    let forged = Url::parse_with_params(CALLBACK, [("code", code.as_str()), ("state", "guessed")]).unwrap();
    let error = pending.finish(&forged, &world.http, &clock).await.unwrap_err();
    assert!(error.to_string().contains("`state` is not the one that was sent"), "{error}");
    assert_eq!(world.token_requests().await, 0);
}
