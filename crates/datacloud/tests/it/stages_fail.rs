//! What goes wrong between the two stages.

use serde_json::json;
use tieline_auth::sealing::MasterKey;

use crate::world::World;

#[tokio::test]
async fn what_passes_by_itself_is_waited_for() {
    let world = World::without_engine().await;
    for fault in [json!({"status": 503}), json!({"status": 500, "body": {"error": "x"}}), json!({"cut": 0})] {
        let provider = world.provider(world.jwt(), world.settings());
        let before = world.counts().await;
        let mut fault = fault;
        (fault["path"], fault["times"]) = (json!("/services/a360/token"), json!(2));
        world.post("faults", fault.clone()).await;
        provider.get_token().await.unwrap();
        let (logins, ..) = world.counts().await - before;
        assert_eq!(
            (logins, provider.stats().token_requests),
            (1, 3),
            "{fault}: no login for what the login cannot help"
        );
    }
}

#[tokio::test]
async fn while_the_exchange_is_down_the_token_at_hand_serves_to_its_end() {
    let world = World::without_engine().await;
    let provider = world.provider(world.jwt(), world.settings());
    let first = provider.get_token().await.unwrap();
    world.post("faults", json!({"path": "/services/a360/token", "status": 503, "times": 0})).await;
    world.advance(901).await;
    for _ in 0..3 {
        let token = provider.get_token().await.unwrap();
        assert_eq!(token.access_token().expose(), first.access_token().expose());
    }
    assert_eq!(provider.stats().token_requests, 1 + 3, "askers do not knock again at once");
    world.advance(6_300).await;
    let error = provider.get_token().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().starts_with("could not get a Data Cloud token for 127.0.0.1: "), "{error}");
}

#[tokio::test]
async fn a_login_that_is_down_is_not_taken_for_a_refusal() {
    let world = World::without_engine().await;
    let provider = world.provider(world.jwt(), world.settings());
    let first = provider.get_token().await.unwrap();
    world.advance(901).await;
    world.post("tokens/revoke", json!({"all": true})).await;
    world.post("faults", json!({"path": "/services/oauth2/token", "status": 503, "times": 0})).await;
    // The session is over and no other can be had: the token at hand serves.
    let token = provider.get_token().await.unwrap();
    assert_eq!(token.access_token().expose(), first.access_token().expose());
    world.post("tokens/revoke", json!({"datacloud": true})).await;
    provider.refused(&token);
    world.advance(40).await;
    let error = provider.get_token().await.unwrap_err();
    assert!(error.is_transient() && !error.needs_person(), "{error}");
    // The org is back: nothing stands in the way.
    let url = format!("{}/faults", world.info().control_url);
    tieline_auth::http::token_client().unwrap().delete(url).send().await.unwrap();
    world.advance(40).await;
    provider.get_token().await.unwrap();
}

#[tokio::test]
async fn a_token_that_came_of_a_revoked_login_is_not_handed_on() {
    let world = World::without_engine().await;
    let folder = tempfile::tempdir().unwrap();
    let key = MasterKey::ephemeral().unwrap();
    let settings = || world.sharing(folder.path(), &key);
    let provider = world.provider(world.jwt(), settings());
    provider.get_token().await.unwrap();
    provider.credentials().revoke().await.unwrap();
    let other = world.provider(world.jwt(), settings());
    let error = other.get_token().await.unwrap_err();
    assert!(error.to_string().contains("was revoked"), "{error}");
}

#[tokio::test]
async fn an_org_that_refuses_for_good_is_not_asked_again_at_once() {
    let world = World::without_engine().await;
    world.put("app", json!({"scopes": ["api", "refresh_token", "web"]})).await;
    let provider = world.provider(world.jwt(), world.settings());
    let before = world.counts().await;
    let error = provider.get_token().await.unwrap_err();
    assert!(error.to_string().contains("invalid_scope") && error.hint().contains("cdp_query_api"), "{error}");
    assert!(error.needs_person() && error.next_attempt().is_some());
    assert_eq!(
        world.counts().await - before,
        (2, 2, 0),
        "once more with another login, as for a session that has ended"
    );
    for _ in 0..20 {
        let again = provider.get_token().await.unwrap_err();
        assert!(again.to_string().contains("remembered"), "{again}");
    }
    assert_eq!(world.counts().await - before, (2, 2, 0));
    // The app is mended, and the time is over.
    world.put("app", json!({"scopes": ["api", "refresh_token", "web", "cdp_query_api"]})).await;
    world.advance(6).await;
    // The login that is at hand has the old scopes.
    provider.get_token().await.unwrap();
    assert_eq!(world.counts().await - before, (3, 4, 0));
}

#[tokio::test]
async fn a_tenant_elsewhere_never_sees_the_token() {
    let world = World::without_engine().await;
    for host in
        ["evil.example", "https://c360a.salesforce.com.evil.example", "user@127.0.0.1:1", "not a host", "", "10.0.0.7"]
    {
        let provider = world.provider(world.jwt(), world.settings());
        let body = json!({"access_token": "e.y.J", "instance_url": host, "expires_in": 7_200});
        world.post("faults", json!({"path": "/services/a360/token", "status": 200, "body": body})).await;
        let error = provider.get_token().await.unwrap_err();
        assert!(error.to_string().contains("is not allowed"), "`{host}`: {error}");
        assert!(!error.is_transient(), "`{host}`");
    }
}

#[tokio::test]
async fn a_tenant_is_named_without_a_scheme_or_with_one() {
    let world = World::without_engine().await;
    for (host, url) in [
        ("tenant.c360a.salesforce.com", "https://tenant.c360a.salesforce.com/"),
        ("https://tenant.c360a.salesforce.com/some/path?x=1", "https://tenant.c360a.salesforce.com/"),
        ("127.0.0.1:4711", "http://127.0.0.1:4711/"),
    ] {
        let provider = world.provider(world.jwt(), world.settings());
        let body = json!({"access_token": "e.y.J", "instance_url": host});
        world.post("faults", json!({"path": "/services/a360/token", "status": 200, "body": body})).await;
        let token = provider.get_token().await.unwrap();
        assert_eq!(token.tenant_url_str(), url);
        let life = token.expires_at().unwrap().duration_since(token.created_at());
        assert_eq!(life.as_secs(), 1_800, "where nothing tells, half an hour");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_shares_both_tokens_and_the_memory_of_a_refusal() {
    let world = World::without_engine().await;
    let folder = tempfile::tempdir().unwrap();
    let key = MasterKey::ephemeral().unwrap();
    let settings = || world.sharing(folder.path(), &key);
    let fleet: Vec<_> = (0..8).map(|_| world.provider(world.refresh(), settings())).collect();
    let before = world.counts().await;
    let all = fleet.iter().cloned().map(|one| tokio::spawn(async move { one.get_token().await.unwrap() }));
    let mut tokens = std::collections::HashSet::new();
    for one in all.collect::<Vec<_>>() {
        tokens.insert(one.await.unwrap().access_token().expose().to_owned());
    }
    assert_eq!((world.counts().await - before, tokens.len()), ((1, 1, 0), 1));
    // Each of them finds it refused.
    world.post("tokens/revoke", json!({"datacloud": true})).await;
    let before = world.counts().await;
    let all = fleet
        .iter()
        .map(|one| (one.clone(), world.cloud(one)))
        .map(|(_, cloud)| tokio::spawn(async move { cloud.query("SELECT 1").run().await.unwrap_err() }));
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let (logins, exchanges, _) = world.counts().await - before;
    assert_eq!((logins, exchanges), (0, 1));
    let text = std::fs::read_to_string(folder.path().join("tokens.json")).unwrap();
    assert!(!text.contains("eyJ"), "tokens lie there sealed");
    // A refusal is remembered for all.
    world.put("app", json!({"scopes": ["api", "refresh_token", "web"]})).await;
    world.post("tokens/revoke", json!({"datacloud": true, "all": true})).await;
    world.advance(901).await;
    let provider = world.provider(world.jwt(), settings());
    provider.get_token().await.unwrap_err();
    let before = world.counts().await;
    let other = world.provider(world.jwt(), settings());
    let error = other.get_token().await.unwrap_err();
    assert!(error.to_string().contains("remembered"), "{error}");
    assert_eq!(world.counts().await - before, (0, 0, 0));
}

#[tokio::test]
async fn data_spaces_have_tokens_of_their_own() {
    let world = World::without_engine().await;
    let folder = tempfile::tempdir().unwrap();
    let key = MasterKey::ephemeral().unwrap();
    let settings = world.sharing(folder.path(), &key);
    let credentials = tieline_auth::Credentials::with(world.config(world.jwt()), settings).unwrap();
    let before = world.counts().await;
    let mut tokens = std::collections::HashSet::new();
    for space in [None, Some("sales"), Some("service")] {
        let provider = tieline_datacloud::DataCloudTokenProvider::of(credentials.clone(), space);
        tokens.insert(provider.get_token().await.unwrap().access_token().expose().to_owned());
    }
    assert_eq!((world.counts().await - before, tokens.len()), ((1, 3, 0), 3));
}

#[tokio::test]
async fn no_token_is_printed() {
    let world = World::without_engine().await;
    let provider = world.provider(world.jwt(), world.settings());
    let token = provider.get_token().await.unwrap();
    let text = format!("{token:?} {provider:?} {:?}", world.cloud(&provider));
    assert!(!text.contains(token.access_token().expose()), "{text}");
    assert_eq!(token.lakehouse_name(Some("sales")).unwrap(), format!("lakehouse:{};sales", token.tenant_id().unwrap()));
}
