//! How long a token is used, and what clocks that jump do to it (scenarios 8, 11 and 12).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tieline_auth::{Clock, Reuse};

use crate::world::{World, at, manual, open, over, quick, text};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_defaults_are_those_of_the_documentation() {
    let world = World::new().await;
    for (config, life) in [(world.jwt(), 150), (world.refresh(), 1_800)] {
        let clock = manual();
        let credentials = open(config, at(&clock));
        let first = text(&credentials).await;
        clock.advance(Duration::from_secs(life - 1));
        assert_eq!(text(&credentials).await, first, "{life}");
        clock.advance(Duration::from_secs(1));
        assert_ne!(text(&credentials).await, first, "{life}");
    }
}

#[tokio::test]
async fn until_refused_means_until_refused() {
    let world = World::new().await;
    let clock = manual();
    let mut config = world.jwt();
    config.reuse = Reuse::UntilRefused;
    let credentials = open(config, at(&clock));
    let first = credentials.token().await.unwrap();
    assert_eq!(first.expires_at(), None);
    clock.advance(MINUTE * 60 * 24);
    assert_eq!(text(&credentials).await, first.access_token().expose());
    credentials.refused(&first);
    assert_ne!(text(&credentials).await, first.access_token().expose());
}

#[tokio::test]
async fn a_known_end_beats_the_policy() {
    let world = World::new().await;
    let clock = manual();
    let mut config = world.refresh();
    config.client_secret = None;
    let body = json!({"access_token": "00Dx!y", "instance_url": world.info().instance_url, "expires_in": 600});
    world.token_fault(json!({"status": 200, "body": body}), 1).await;
    let token = open(config, at(&clock)).token().await.unwrap();
    let left = token.expires_at().unwrap().duration_since(clock.now());
    assert_eq!(left, SignedDuration::from_secs(570), "ten minutes less thirty seconds, not thirty minutes");
}

#[tokio::test]
async fn s08_while_the_token_endpoint_is_down_callers_keep_the_token_that_still_works() {
    let world = World::new().await;
    let clock = manual();
    let credentials = open(world.jwt(), at(&clock));
    let first = credentials.token().await.unwrap();
    clock.advance(Duration::from_secs(151));
    world.token_fault(json!({"status": 503, "body": "down"}), 1_000).await;
    let before = world.token_requests().await;
    for _ in 0..200 {
        assert_eq!(text(&credentials).await, first.access_token().expose());
    }
    let tried = credentials.stats().token_requests;
    assert!(tried <= 1 + 3, "one round of three attempts, not {tried}: the others wait for the cool-down");
    // A minute of outage, one call a second: the rounds get rarer.
    for _ in 0..60 {
        clock.advance(Duration::from_secs(1));
        assert_eq!(text(&credentials).await, first.access_token().expose());
    }
    let tried = credentials.stats().token_requests;
    assert!((7..=30).contains(&tried), "{tried} requests in a minute");
    assert_eq!(world.token_requests().await, before, "a fault answers before the org counts");

    world.no_faults().await;
    clock.advance(Duration::from_secs(31));
    let all = futures_util::future::join_all((0..200).map(|_| text(&credentials))).await;
    assert!(all.iter().all(|token| *token != first.access_token().expose() && *token == all[0]));
    assert_eq!(world.token_requests().await, before + 1, "no herd on recovery");
}

#[tokio::test]
async fn s08_a_token_that_the_org_has_refused_does_not_come_back_in_an_outage() {
    let world = World::new().await;
    let credentials = open(world.jwt(), quick());
    let token = credentials.token().await.unwrap();
    credentials.refused(&token);
    world.token_fault(json!({"status": 503, "body": "down"}), 1_000).await;
    let error = credentials.token().await.unwrap_err();
    assert!(error.is_transient() && !error.needs_person(), "{error}");
    assert!(error.next_attempt().is_some(), "the error tells when it is worth asking again");
}

#[tokio::test]
async fn s11_a_wrong_clock_is_corrected_by_the_orgs_date_once() {
    for minutes in [-10, 10] {
        let world = World::new().await;
        world.put("app", json!({"jwt_max_seconds_ahead": 300})).await;
        let clock = manual();
        clock.set_wall(clock.now() + SignedDuration::from_mins(minutes));
        let credentials = open(world.jwt(), at(&clock));
        let before = world.token_requests().await;
        assert!(world.takes(&text(&credentials).await).await, "{minutes} minutes");
        assert_eq!(world.token_requests().await, before + 2, "one refused, one by the org's clock");
        clock.advance(MINUTE * 3);
        world.put("clock", json!({"advance_seconds": 180})).await;
        text(&credentials).await;
        assert_eq!(world.token_requests().await, before + 3, "and the difference is remembered");
    }
}

#[tokio::test]
async fn s11_where_the_clock_explains_a_refusal_the_error_names_it() {
    let world = World::new().await;
    let clock = manual();
    clock.set_wall(clock.now() - SignedDuration::from_mins(10));
    let mut config = world.jwt();
    config.audience = Some("https://example.org".to_owned());
    let error = open(config, at(&clock)).token().await.unwrap_err();
    assert!(
        error.to_string().contains("clock is 10 min") || error.to_string().contains("clock is 9 min 59"),
        "{error}"
    );
    assert!(error.to_string().contains("behind the org's"), "{error}");
}

#[tokio::test]
async fn s12_no_token_is_served_past_its_time_and_none_fetched_twice_when_the_clock_jumps() {
    for hours in [1, -1] {
        let world = World::new().await;
        let clock = manual();
        let credentials = open(world.jwt(), at(&clock));
        let first = text(&credentials).await;
        clock.set_wall(clock.now() + SignedDuration::from_hours(hours));
        let second = text(&credentials).await;
        if hours > 0 {
            assert_ne!(second, first, "by the wall clock its time is over");
        } else {
            assert_eq!(second, first, "the monotonic clock says that no time has passed");
        }
        // The monotonic clock ends it even if the wall clock has gone back for good.
        clock.advance(Duration::from_secs(151));
        let third = text(&credentials).await;
        assert_ne!(third, second);
        let requests = world.token_requests().await;
        for _ in 0..100 {
            assert_eq!(text(&credentials).await, third);
        }
        clock.set_wall(clock.now() - SignedDuration::from_hours(hours));
        for _ in 0..100 {
            text(&credentials).await;
        }
        assert!(world.token_requests().await <= requests + 1, "no busy refresh");
    }
}

#[tokio::test]
async fn s12_a_token_that_a_wrong_clock_wrote_down_is_not_believed_for_longer_than_its_time() {
    let world = World::new().await;
    let store = std::sync::Arc::new(tieline_auth::token_store::memory::MemoryStore::default());
    let ahead = manual();
    ahead.set_wall(ahead.now() + SignedDuration::from_hours(1));
    let there = open(world.jwt(), tieline_auth::Settings { clock: ahead, ..over(store.clone()) });
    let theirs = text(&there).await;
    let clock = manual();
    let here = open(world.jwt(), tieline_auth::Settings { clock: clock.clone(), ..over(store) });
    assert_ne!(text(&here).await, theirs, "written down an hour from now: its age is unknown");
    clock.advance(Duration::from_secs(151));
    let token = here.token().await.unwrap();
    let now: Timestamp = clock.now();
    assert!(token.expires_at().unwrap() <= now + SignedDuration::from_secs(150));
}

#[tokio::test]
async fn what_is_known_of_a_token_costs_no_login_and_takes_nothing_up() {
    let world = World::new().await;
    let store = std::sync::Arc::new(tieline_auth::token_store::memory::MemoryStore::default());
    let clock = manual();
    let settings = || tieline_auth::Settings { clock: clock.clone(), ..over(store.clone()) };
    let (one, other) = (open(world.jwt(), settings()), open(world.jwt(), settings()));
    assert!(one.known_token().await.unwrap().is_none(), "nobody has logged in");
    assert_eq!(world.token_requests().await, 0);

    let token = one.token().await.unwrap();
    for credentials in [&one, &other] {
        let known = credentials.known_token().await.unwrap().unwrap();
        assert_eq!(known.issued_at(), token.issued_at());
        assert_eq!(known.access_token().expose(), token.access_token().expose());
    }
    assert!(!other.has_token() && other.stats().adopted == 0, "a look is no use");
    clock.advance(Duration::from_secs(150));
    assert!(one.known_token().await.unwrap().is_none(), "its time is over");
    assert_eq!(world.token_requests().await, 1);
}

#[tokio::test]
async fn a_token_of_no_time_serves_one_call_and_a_short_one_until_its_half() {
    let world = World::new().await;
    let clock = manual();
    let mut config = world.jwt();
    config.reuse = Reuse::For(Duration::ZERO);
    let credentials = open(config, at(&clock));
    for number in 1..=3 {
        assert!(world.takes(&text(&credentials).await).await);
        assert_eq!(credentials.stats().token_requests, number, "one request for each, not a loop");
    }
    let mut config = world.refresh();
    config.client_secret = None;
    let body = json!({"access_token": "00Dx!y", "instance_url": world.info().instance_url, "expires_in": 20});
    world.token_fault(json!({"status": 200, "body": body}), 1).await;
    let token = open(config, at(&clock)).token().await.unwrap();
    assert_eq!(token.expires_at().unwrap().duration_since(clock.now()), SignedDuration::from_secs(10));
}

#[tokio::test]
async fn a_given_token_is_used_until_it_is_refused_and_no_longer() {
    let world = World::new().await;
    let instance_url = world.info().instance_url.parse().unwrap();
    let access_token = tieline_auth::Secret::new(&world.info().access_token);
    let credentials = open(world.config(tieline_auth::Grant::AccessToken { access_token, instance_url }), quick());
    let token = credentials.token().await.unwrap();
    credentials.forget();
    assert_eq!(text(&credentials).await, token.access_token().expose(), "forgotten is not refused");
    credentials.refused(&credentials.token().await.unwrap());
    let error = credentials.token().await.unwrap_err();
    assert!(error.needs_person() && error.to_string().contains("nothing was given to renew it"), "{error}");
}
