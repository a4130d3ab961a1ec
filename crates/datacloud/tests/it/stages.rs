//! Which requests go out, in each state of the two tokens.

use serde_json::json;
use tieline_auth::Grant;
use tieline_datacloud::{DataCloudError, DataCloudTokenProvider};

use crate::world::World;

/// The login's token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Login {
    /// Just issued.
    Valid,
    /// Old, and within the life that one assumes.
    LikelyValid,
    /// The org has ended the session; nobody has told us.
    DeadAtTheOrg,
    /// Past the life that one assumes.
    Past,
}

/// The Data Cloud token.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Second {
    Fresh,
    /// 250 s are left.
    NearItsEnd,
    /// 901 s old.
    Old,
    /// Data Cloud does not take it any more; nobody has told us.
    Refused,
}

const LOGINS: [Login; 4] = [Login::Valid, Login::LikelyValid, Login::DeadAtTheOrg, Login::Past];
const SECONDS: [Second; 4] = [Second::Fresh, Second::NearItsEnd, Second::Old, Second::Refused];

/// Logins, exchanges and calls to Hyper that one query costs.
fn expected(login: Login, second: Second) -> (u64, u64, u64) {
    let (logins, exchanges) = match (second, login) {
        (Second::Fresh, _) => (0, 0),
        (_, Login::Valid | Login::LikelyValid) => (0, 1),
        (_, Login::Past) => (1, 1),
        // The first exchange is refused.
        (_, Login::DeadAtTheOrg) => (1, 2),
    };
    (logins, exchanges, if second == Second::Refused { 2 } else { 1 })
}

async fn arrange(world: &World, provider: &DataCloudTokenProvider, login: Login, second: Second) {
    provider.get_token().await.unwrap();
    world
        .advance(match login {
            Login::Valid | Login::DeadAtTheOrg => 0,
            Login::LikelyValid => 6_000,
            Login::Past => 7_190,
        })
        .await;
    let life = if second == Second::NearItsEnd { 1_000 } else { 7_200 };
    world.put("limits", json!({"datacloud_token_life_seconds": life})).await;
    let before = world.counts().await;
    provider.refresh_token().await.unwrap();
    assert_eq!(world.counts().await - before, (0, 1, 0), "{login:?}: the login's token is kept");
    world
        .advance(match second {
            Second::Fresh | Second::Refused => 10,
            Second::NearItsEnd => 750,
            Second::Old => 901,
        })
        .await;
    if second == Second::Refused {
        world.post("tokens/revoke", json!({"datacloud": true})).await;
    }
    if login == Login::DeadAtTheOrg {
        world.post("tokens/revoke", json!({"all": true})).await;
    }
}

async fn matrix(grant: impl Fn(&World) -> Grant, rotation: bool) {
    let world = World::without_engine().await;
    world.put("app", json!({"rotation": rotation})).await;
    for login in LOGINS {
        for second in SECONDS {
            // Another store for each, so that each begins with nothing; a rotated refresh token would be lost with it.
            let world = if rotation { &World::without_engine().await } else { &world };
            if rotation {
                world.put("app", json!({"rotation": true})).await;
            }
            let provider = world.provider(grant(world), world.settings());
            arrange(world, &provider, login, second).await;
            let before = world.counts().await;
            let error = world.cloud(&provider).query("SELECT 1").run().await.unwrap_err();
            // The token was taken: there is no engine behind it.
            assert!(matches!(error, DataCloudError::Unreachable { .. }), "{login:?} {second:?}: {error}");
            assert_eq!(world.counts().await - before, expected(login, second), "{login:?} {second:?}");
            // All is well again: the next query costs nothing but itself.
            let before = world.counts().await;
            world.cloud(&provider).query("SELECT 1").run().await.unwrap_err();
            assert_eq!(world.counts().await - before, (0, 0, 1), "after {login:?} {second:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_costs_what_the_states_of_both_tokens_ask_for_by_private_key() {
    matrix(World::jwt, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_costs_what_the_states_of_both_tokens_ask_for_by_refresh_token() {
    matrix(World::refresh, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_costs_the_same_where_refresh_tokens_rotate_and_none_is_sent_twice() {
    matrix(World::refresh, true).await;
}

#[tokio::test]
async fn a_login_by_password_serves_one_exchange() {
    let world = World::without_engine().await;
    world.put("app", json!({"password_flow": true})).await;
    let provider = world.provider(world.password(), world.settings());
    let before = world.counts().await;
    provider.get_token().await.unwrap();
    assert_eq!(world.counts().await - before, (1, 1, 0));
    world.advance(901).await;
    let before = world.counts().await;
    provider.get_token().await.unwrap();
    // The second exchange with it is answered with a page for people.
    assert_eq!(world.counts().await - before, (1, 2, 0));
}

#[tokio::test]
async fn the_bounds_of_age_and_time_left_are_those_of_the_documentation() {
    let world = World::without_engine().await;
    for (life, waits) in [(7_200, [899, 2]), (1_000, [699, 2])] {
        world.put("limits", json!({"datacloud_token_life_seconds": life})).await;
        let provider = world.provider(world.jwt(), world.settings());
        let first = provider.get_token().await.unwrap();
        assert_eq!(first.created_at() + jiff::SignedDuration::from_secs(life), first.expires_at().unwrap());
        for (wait, renewed) in waits.into_iter().zip([false, true]) {
            world.advance(wait).await;
            let token = provider.get_token().await.unwrap();
            let other = token.access_token().expose() != first.access_token().expose();
            assert_eq!(other, renewed, "a life of {life} s, {wait} s later");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_queries_with_a_dying_token_cost_one_renewal_of_each_stage() {
    let world = World::without_engine().await;
    for (both, expected) in [(false, (0, 1)), (true, (1, 2))] {
        let provider = world.provider(world.refresh(), world.settings());
        provider.get_token().await.unwrap();
        world.post("tokens/revoke", json!({"datacloud": true, "all": both})).await;
        let before = world.counts().await;
        let cloud = world.cloud(&provider);
        let queries = (0..100).map(|_| {
            let cloud = cloud.clone();
            tokio::spawn(async move { cloud.query("SELECT 1").run().await.unwrap_err() })
        });
        for query in queries.collect::<Vec<_>>() {
            let error = query.await.unwrap();
            assert!(matches!(error, DataCloudError::Unreachable { .. }), "{error}");
        }
        let (logins, exchanges, queries) = world.counts().await - before;
        assert_eq!((logins, exchanges), expected, "both dead: {both}");
        assert!((101..=200).contains(&queries), "each is replayed once at the most, not {queries}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_force_a_renewal_at_the_same_time_share_it() {
    let world = World::without_engine().await;
    let provider = world.provider(world.refresh(), world.settings());
    provider.get_token().await.unwrap();
    // Slow enough that all of them are there.
    world.post("faults", json!({"path": "/services/a360/token", "delay_ms": 300, "times": 0})).await;
    let before = world.counts().await;
    let all = (0..50).map(|_| {
        let provider = provider.clone();
        tokio::spawn(async move { provider.force_refresh().await.unwrap() })
    });
    let mut tokens = std::collections::HashSet::new();
    for one in all.collect::<Vec<_>>() {
        tokens.insert(one.await.unwrap().access_token().expose().to_owned());
    }
    assert_eq!((world.counts().await - before, tokens.len()), ((1, 1, 0), 1));
    let before = world.counts().await;
    let all = (0..50).map(|_| {
        let provider = provider.clone();
        tokio::spawn(async move { provider.refresh_token().await.unwrap() })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(world.counts().await - before, (0, 1, 0), "the login's token is kept");
}
