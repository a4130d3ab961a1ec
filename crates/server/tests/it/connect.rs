//! Connecting an org: authorize, consent at the local org, callback, active; and away again.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::database::Db;
use crate::world::{Browser, World};

on_both!(
    an_org_is_connected_and_the_browser_comes_back,
    s36_a_login_is_finished_once_by_the_same_user_in_the_same_browser,
    what_the_org_refuses_is_told_in_words_and_as_json,
    connecting_again_makes_no_second_integration,
    t41_another_org_is_refused,
    s38_what_is_revoked_stays_revoked,
    an_app_of_the_integrations_own_comes_first_in_every_path,
    what_was_begun_is_done_although_the_browser_has_left,
);

async fn what_was_begun_is_done_although_the_browser_has_left(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let slow = |path: &str| json!({"path": path, "delay_ms": 1500, "times": 1});
    let moment = std::time::Duration::from_millis(500);

    let begun = begin(&world, &mut owner, "").await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    world.control(Method::POST, "faults", slow("/services/oauth2/token")).await;
    let mut leaving = owner.clone();
    assert!(tokio::time::timeout(moment, leaving.get(&back)).await.is_err(), "it was to take longer");
    let path = format!("/api/integrations/{}", begun["integration"].as_str().unwrap());
    let reaches = async |owner: &mut Browser, status: &str| {
        for _ in 0..100 {
            if owner.get(&path).await.1["status"] == status {
                return true;
            }
            tokio::time::sleep(moment / 10).await;
        }
        false
    };
    assert!(reaches(&mut owner, "active").await, "what the org granted was forgotten");
    let (_, audit) = owner.get("/api/audit?action=connection.authorized").await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");

    world.control(Method::POST, "faults", slow("/services/oauth2/revoke")).await;
    let mut leaving = owner.clone();
    let disconnect = format!("{path}/disconnect");
    assert!(tokio::time::timeout(moment, leaving.post(&disconnect, json!({}))).await.is_err(), "as above");
    assert!(reaches(&mut owner, "inactive").await, "it was left half shut");
}

/// Begins a login of the local org.
async fn begin(world: &World, browser: &mut Browser, more: &str) -> Value {
    let domain = world.org.info().login_url.replace(':', "%3A").replace('/', "%2F");
    let path = format!("/api/integrations/salesforce/authorize?environment=custom&domain={domain}{more}");
    let (status, begun) = browser.get(&path).await;
    assert_eq!(status, 200, "{begun}");
    begun
}

/// All of it. Answers the integration.
pub(crate) async fn connect(world: &World, browser: &mut Browser) -> Value {
    let begun = begin(world, browser, "").await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    let answer = browser.send(Method::GET, &back, None).await;
    assert_eq!(answer.status(), 302, "{}", answer.text().await.unwrap());
    let (_, all) = browser.get("/api/integrations").await;
    all["integrations"].as_array().unwrap().iter().find(|i| i["status"] == "active").unwrap().clone()
}

async fn an_org_is_connected_and_the_browser_comes_back(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let begun = begin(&world, &mut owner, "&return_to=/integrations%3Ftab%3Dlogs").await;
    let url: url::Url = begun["url"].as_str().unwrap().parse().unwrap();
    let query: std::collections::HashMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!((query["code_challenge_method"].as_str(), query["scope"].as_str()), ("S256", "api refresh_token"));
    let (_, pending) = owner.get("/api/integrations").await;
    assert_eq!(pending["integrations"][0]["status"], "pending");

    let back = world.decide(url.as_str(), "allow").await;
    let answer = owner.send(Method::GET, &back, None).await;
    assert_eq!(answer.status(), 302);
    let place = answer.headers()["location"].to_str().unwrap().to_owned();
    let id = begun["integration"].as_str().unwrap();
    assert_eq!(place, format!("/integrations?tab=logs&connected={id}"));
    let (_, integration) = owner.get(&format!("/api/integrations/{id}")).await;
    assert_eq!(
        (integration["status"].as_str(), integration["organization_id"].as_str().map(str::len)),
        (Some("active"), Some(18))
    );
    assert_eq!(integration["config"]["environment"], "custom");
    assert_eq!(owner.get("/api/session").await.0, 200, "still signed in");
    // The token at hand is used, and the connection works.
    let before = world.ledger().await["token_requests"].clone();
    world.nodes[0].service.run_all().await;
    let (_, integration) = owner.get(&format!("/api/integrations/{id}")).await;
    assert!(!integration["last_sync_at"].is_null(), "{integration}");
    assert_eq!(world.ledger().await["token_requests"], before, "no second login was needed");
    assert_eq!(world.db.store.own().count_contacts().await.unwrap(), 20);
}

async fn s36_a_login_is_finished_once_by_the_same_user_in_the_same_browser(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let begun = begin(&world, &mut owner, "").await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    let before = world.ledger().await["token_requests"].clone();
    let refused = async |mut browser: Browser, url: &str, code: &str| {
        let (status, problem) = browser.get(url).await;
        assert!(status.is_client_error(), "{problem}");
        assert_eq!(problem["code"], code, "{problem}");
    };
    refused(world.browser(), &back, "unauthenticated").await;
    let mut other_browser = world.browser();
    other_browser.sign_in("owner@example.com", crate::world::PASSWORD).await;
    refused(other_browser, &back, "invalid_state").await;
    let mut other_user = owner.clone();
    let (_, invitation) = owner.post("/api/invitations", json!({"email": "b@example.com", "role": "admin"})).await;
    let token = invitation["link"].as_str().unwrap().split_once('#').unwrap().1;
    let joined = json!({"token": token, "name": "B", "password": crate::world::PASSWORD});
    assert_eq!(other_user.post("/api/invitations/accept", joined).await.0, 200);
    refused(other_user, &back, "invalid_state").await;
    let guessed = back.replace("state=", "state=x");
    refused(owner.clone(), &guessed, "invalid_state").await;
    assert_eq!(world.ledger().await["token_requests"], before, "no code was sent for any of them");
    // None of that has used it up; but once it is, it is.
    assert_eq!(owner.send(Method::GET, &back, None).await.status(), 302);
    refused(owner.clone(), &back, "invalid_state").await;
    let late = begin(&world, &mut owner, "").await;
    let back = world.decide(late["url"].as_str().unwrap(), "allow").await;
    world.clock.advance(std::time::Duration::from_secs(601));
    refused(owner.clone(), &back, "invalid_state").await;
}

async fn what_the_org_refuses_is_told_in_words_and_as_json(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    for (denied, code) in [
        ("error=access_denied&error_description=end-user+denied+authorization", "access_denied"),
        ("error=invalid_client_id&error_description=client+identifier+invalid", "invalid_client_id"),
        (
            "error=redirect_uri_mismatch&error_description=redirect_uri+must+match+configuration",
            "redirect_uri_mismatch",
        ),
        ("error=OAUTH_APP_BLOCKED&error_description=this+app+is+blocked+by+admin", "token_exchange_failed"),
        ("code=never-issued", "token_exchange_failed"),
    ] {
        for accept in ["application/json", "text/html"] {
            let begun = begin(&world, &mut owner, "&return_to=/somewhere").await;
            let url: url::Url = begun["url"].as_str().unwrap().parse().unwrap();
            let state = url.query_pairs().find(|(k, _)| k == "state").unwrap().1.into_owned();
            let mut browser = owner.clone();
            browser.accept = accept;
            let (status, told) =
                browser.get(&format!("/api/integrations/salesforce/callback?{denied}&state={state}")).await;
            assert!(status.is_client_error() || status.is_server_error(), "{told}");
            if accept == "text/html" {
                let page = told.as_str().unwrap();
                assert!(page.contains(&format!("data-code=\"{code}\"")) && page.contains("What to do:"), "{page}");
                assert!(page.contains("href=\"/somewhere\""), "{page}");
            } else {
                assert_eq!(told["code"], code, "{told}");
                assert!(!told["hint"].as_str().unwrap().is_empty(), "{told}");
            }
        }
    }
    let (_, all) = owner.get("/api/integrations").await;
    assert_eq!(all["integrations"].as_array().unwrap().len(), 1, "failed logins leave one pending integration");
    assert_eq!(all["integrations"][0]["status"], "pending");
    // A person who presses Deny.
    let begun = begin(&world, &mut owner, "").await;
    let back = world.decide(begun["url"].as_str().unwrap(), "deny").await;
    assert_eq!(owner.get(&back).await.1["code"], "access_denied");
}

async fn connecting_again_makes_no_second_integration(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let first = connect(&world, &mut owner).await;
    let id = first["id"].as_str().unwrap();
    // The same integration, by its id.
    let begun = begin(&world, &mut owner, &format!("&integration={id}")).await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    assert_eq!(owner.send(Method::GET, &back, None).await.status(), 302);
    // A new one, which turns out to be the same org.
    let begun = begin(&world, &mut owner, "&name=Again").await;
    assert_ne!(begun["integration"], first["id"]);
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    let answer = owner.send(Method::GET, &back, None).await;
    assert!(answer.headers()["location"].to_str().unwrap().ends_with(id), "the browser is told which one it is");
    let (_, all) = owner.get("/api/integrations").await;
    assert_eq!(all["integrations"].as_array().unwrap().len(), 1, "{all}");
    assert_eq!((&all["integrations"][0]["id"], &all["integrations"][0]["status"]), (&first["id"], &json!("active")));
    world.nodes[0].service.run_all().await;
    let (_, again) = owner.get(&format!("/api/integrations/{id}")).await;
    assert!(!again["last_sync_at"].is_null(), "{again}");
}

async fn t41_another_org_is_refused(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let first = connect(&world, &mut owner).await;
    let id = first["id"].as_str().unwrap();
    // The same login, once the integration belongs to another org.
    world
        .db
        .raw
        .run(&format!("UPDATE integrations SET organization_id = '00D000000000009AAA' WHERE id = '{id}'"))
        .await;
    let begun = begin(&world, &mut owner, &format!("&integration={id}")).await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    let (status, problem) = owner.get(&back).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("other_org")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("00D000000000009AAA"), "{problem}");
    let (_, after) = owner.get(&format!("/api/integrations/{id}")).await;
    assert_eq!((&after["organization_id"], &after["updated_at"]), (&json!("00D000000000009AAA"), &first["updated_at"]));
}

async fn s38_what_is_revoked_stays_revoked(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let id = integration["id"].as_str().unwrap();
    let begun = begin(&world, &mut owner, &format!("&integration={id}")).await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    let (status, report) = owner.post("/api/integrations/salesforce/revoke-all", json!({})).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!(
        (&report["integrations"][0]["shut"], &report["integrations"][0]["ended_at_org"]),
        (&json!(true), &json!(true))
    );
    // A login that was under way is gone with it.
    assert_eq!(owner.get(&back).await.1["code"], "invalid_state");
    let (_, after) = owner.get(&format!("/api/integrations/{id}")).await;
    assert_eq!(after["status"], "inactive");
    let tokens = world.db.raw.texts("SELECT name FROM integration_tokens").await;
    assert_eq!(tokens, Vec::<String>::new());
    let before = world.ledger().await;
    world.nodes[0].service.run_all().await;
    assert_eq!(world.ledger().await["api_calls"], before["api_calls"], "nothing uses it any more");
    // Connecting it again is the same integration.
    let again = connect(&world, &mut owner).await;
    assert_eq!(again["id"], integration["id"]);
    // An org that cannot be told is told so, and later.
    world.control(Method::POST, "faults", json!({"path": "/services/oauth2/revoke", "status": 503, "times": 50})).await;
    let (_, shut) = owner.post(&format!("/api/integrations/{id}/disconnect"), json!({})).await;
    assert_eq!((&shut["shut"], &shut["ended_at_org"]), (&json!(true), &json!(false)), "{shut}");
    assert!(shut["error"].is_string());
    world.control(Method::DELETE, "faults", json!({})).await;
    let (_, shut) = owner.post(&format!("/api/integrations/{id}/disconnect"), json!({})).await;
    assert_eq!(shut["ended_at_org"], true, "{shut}");
}

/// The state is in the database: whichever node the browser comes back to knows it.
#[tokio::test]
async fn a_login_begun_on_one_node_is_finished_on_another() {
    let Some(db) = Db::postgres().await else { return };
    let world = World::with_nodes(db, 2).await;
    let mut owner = world.owner().await;
    let begun = begin(&world, &mut owner, "").await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    let mut elsewhere = owner.clone();
    elsewhere.url = world.nodes[1].url.clone();
    let there = back.replace(&world.nodes[0].url, &world.nodes[1].url);
    assert_eq!(elsewhere.send(Method::GET, &there, None).await.status(), 302);
    assert_eq!(owner.get(&back).await.1["code"], "invalid_state", "and only once for both");
    // Both use the one token.
    let before = world.ledger().await["token_requests"].clone();
    for node in &world.nodes {
        node.service.run_all().await;
    }
    assert_eq!(world.ledger().await["token_requests"], before);
    // What one takes away is gone for the other.
    let (_, report) = elsewhere.post("/api/integrations/salesforce/revoke-all", json!({})).await;
    assert_eq!(report["complete"], true, "{report}");
    let calls = world.ledger().await["api_calls"].clone();
    world.nodes[0].service.run_all().await;
    assert_eq!(world.ledger().await["api_calls"], calls);
}

async fn an_app_of_the_integrations_own_comes_first_in_every_path(db: Db) {
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let own = json!({"name": "own", "app": {"client_id": "3MVG9.own", "client_secret": "own-secret"}});
    let (status, made) = owner.post("/api/integrations", own).await;
    assert_eq!((status, &made["own_app"]), (StatusCode::CREATED, &json!(true)), "{made}");
    assert!(!made.to_string().contains("own-secret"));
    let id = made["id"].as_str().unwrap();
    let begun = begin(&world, &mut owner, &format!("&integration={id}")).await;
    assert!(begun["url"].as_str().unwrap().contains("client_id=3MVG9.own"), "{begun}");
    // The org knows the other app: once the integration names that, it connects, and keeps it.
    let info = world.org.info().clone();
    let app = json!({"app": {"client_id": info.client_id, "client_secret": info.client_secret}});
    let (status, changed) = owner.call(Method::PATCH, &format!("/api/integrations/{id}"), Some(app)).await;
    assert_eq!(status, 200, "{changed}");
    let begun = begin(&world, &mut owner, &format!("&integration={id}")).await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    assert_eq!(owner.send(Method::GET, &back, None).await.status(), 302);
    let tenant = world.db.store.own();
    let integration = tenant.integrations().await.unwrap().remove(0);
    let kept = tenant.open_credentials(integration.id).await.unwrap().unwrap();
    let kept: Value = serde_json::from_slice(kept.expose()).unwrap();
    assert_eq!(
        (&kept["SF_CLIENT_ID"], &kept["SF_CLIENT_SECRET"]),
        (&json!(info.client_id), &json!(info.client_secret))
    );
    // A refresh goes through it, too: the access token at hand is gone, and the next one is asked for.
    world.db.raw.run("DELETE FROM integration_tokens").await;
    world.nodes[0].service.run_all().await;
    let (_, after) = owner.get(&format!("/api/integrations/{id}")).await;
    assert!(!after["last_sync_at"].is_null(), "{after}");
    assert_eq!(world.ledger().await["token_requests"]["refresh_token"], 1);
}

#[tokio::test]
async fn what_somebody_has_set_survives_a_new_login() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let id = integration["id"].as_str().unwrap();
    let set = json!({"proxy": "read", "api_reserve": "20%"});
    assert_eq!(owner.call(Method::PATCH, &format!("/api/integrations/{id}"), Some(set)).await.0, 200);
    let begun = begin(&world, &mut owner, &format!("&integration={id}")).await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    assert_eq!(owner.send(Method::GET, &back, None).await.status(), 302);
    let (_, after) = owner.get(&format!("/api/integrations/{id}")).await;
    assert_eq!(
        (&after["config"]["proxy"], &after["config"]["api_reserve"]),
        (&json!("read"), &json!("20%")),
        "{after}"
    );
}

/// A login of an integration that is still pending is ended by `revoke-all`, too.
#[tokio::test]
async fn s38_a_login_that_is_under_way_is_not_finished_after_a_revocation() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    let begun = begin(&world, &mut owner, "&name=Second").await;
    let back = world.decide(begun["url"].as_str().unwrap(), "allow").await;
    let (_, report) = owner.post("/api/integrations/salesforce/revoke-all", json!({})).await;
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!(owner.get(&back).await.1["code"], "invalid_state");
    let (_, all) = owner.get("/api/integrations").await;
    let active = all["integrations"].as_array().unwrap().iter().filter(|i| i["status"] == "active").count();
    assert_eq!(active, 0, "{all}");
}

/// A grant that could log in by itself does not, once its access was taken away: not even in a process that had it open.
#[tokio::test]
async fn s38_a_private_key_logs_in_no_more_after_a_revocation() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let info = world.org.info().clone();
    let login = json!({
        "SF_LOGIN_URL": info.login_url, "SF_CLIENT_ID": info.client_id, "SF_USERNAME": info.username,
        "SF_PRIVATE_KEY": std::fs::read_to_string(&info.private_key_file).unwrap(),
    });
    let tenant = world.db.store.own();
    let credentials = tieline_store::Credentials::new(login.to_string().into_bytes());
    tenant.save_integration("default", &credentials, crate::database::now()).await.unwrap();
    let integration = tenant.integrations().await.unwrap().remove(0);
    let service = &world.nodes[0].service;
    let open = service.connection(&tenant, &integration).await.unwrap();
    let token = open.credentials().token().await.unwrap();
    let (_, report) = owner.post("/api/integrations/salesforce/revoke-all", json!({})).await;
    assert_eq!(report["complete"], true, "{report}");
    let logins = world.ledger().await["token_requests"].clone();
    open.credentials().refused(&token);
    let error = open.credentials().token().await.unwrap_err();
    assert!(error.to_string().contains("revoked"), "{error}");
    assert_eq!(world.ledger().await["token_requests"], logins, "it has logged in again");
    // The environment that is read at the next start does not bring it back either.
    tenant.save_integration("default", &credentials, crate::database::now()).await.unwrap();
    let after = tenant.integrations().await.unwrap().remove(0);
    assert_eq!(after.status, tieline_store::Status::Inactive);
}

#[tokio::test]
async fn credentials_that_do_not_open_can_be_disconnected_and_replaced() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let id = integration["id"].as_str().unwrap();
    world.db.raw.run("UPDATE integrations SET credentials = x'020000'").await;
    let (status, report) = owner.post("/api/integrations/salesforce/revoke-all", json!({})).await;
    assert_eq!((status.as_u16(), &report["complete"]), (200, &json!(false)), "{report}");
    assert_eq!(
        (&report["integrations"][0]["shut"], &report["integrations"][0]["ended_at_org"]),
        (&json!(true), &json!(false))
    );
    let again = connect(&world, &mut owner).await;
    assert_eq!(again["id"].as_str(), Some(id));
}

#[tokio::test]
async fn another_sites_page_sends_nobody_to_connect_an_org() {
    let world = World::new(Db::sqlite().await).await;
    let owner = world.owner().await;
    let cookies: Vec<String> = owner.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
    for path in ["/api/integrations/salesforce/authorize?name=x", "/connect?environment=production"] {
        let http = reqwest::Client::builder().build().unwrap();
        let request = http.get(format!("{}{path}", owner.url)).header("cookie", cookies.join("; "));
        let answer = request.header("sec-fetch-site", "cross-site").send().await.unwrap();
        assert_eq!(answer.status(), 403, "{path}");
    }
    assert!(world.db.store.own().integrations().await.unwrap().is_empty(), "nothing was begun");
}
