//! Functions in Rust: the examples in a Lambda environment that is really frozen, and what the helpers promise.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tieline_auth::aws::Variable;
use tieline_lambda::handler::{HandlerError, Invocation, Salesforce, queue};

use crate::environment::{Environment, jwt};
use crate::world::{World, system};

/// Longer than a connection is kept idle.
const FREEZE: Duration = Duration::from_millis(4_200);

fn example(name: &str, world: &World) -> Command {
    let folder = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples");
    let mut command = Command::new(folder.join(name));
    command.envs(jwt(world)).env("TIELINE_TOKEN_REUSE", "until_refused");
    command
}

fn get(name: &str) -> Value {
    json!({ "requestContext": { "http": { "method": "GET" } }, "queryStringParameters": { "name": name } })
}

fn post(name: &str) -> Value {
    let body = json!({ "LastName": name }).to_string();
    json!({ "requestContext": { "http": { "method": "POST" } }, "body": body })
}

fn people(answer: &Value) -> Vec<Value> {
    assert_eq!(answer["statusCode"], 200, "{answer}");
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s13_dead_connections_after_a_freeze_cost_neither_a_call_nor_a_duplicate() {
    let world = World::new().await;
    let environment = Environment::alone(example("lambda_api", &world)).await;
    let cold = environment.invoke(get("Nobody")).await.unwrap();
    assert!(people(&cold).is_empty());
    assert_eq!(world.logins().await, 1, "ahead of the first event, and once");
    for round in 1..=3 {
        environment.frozen().await;
        world.control("DELETE", "connections", Value::Null).await;
        tokio::time::sleep(FREEZE).await;
        // The first call after the thaw is one that may not be made twice.
        let created = environment.invoke(post("Once")).await.unwrap();
        assert_eq!(created["statusCode"], 201, "{created} {}", environment.function_log());
        let found = environment.invoke(get("Once")).await.unwrap();
        assert_eq!(people(&found).len(), round);
    }
    // The session is over too: one login, no failure.
    environment.frozen().await;
    world.control("PUT", "clock", json!({ "advance_seconds": 5 * 60 * 60 })).await;
    assert_eq!(people(&environment.invoke(get("Once")).await.unwrap()).len(), 3);
    assert_eq!(world.logins().await, 2);
    let line = environment.function_metrics().remove(0);
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "tieline");
    assert_eq!((&line["TokensServed"], &line["TokenRequests"]), (&json!(2), &json!(1)));
    assert!(line["ApiCallsLeft"].as_u64().unwrap() > 0 && line["ApiCallsLeftPercent"].as_f64().unwrap() > 90.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_is_not_let_in_says_so_in_a_word() {
    let world = World::new().await;
    let mut refused = example("lambda_schedule", &world);
    refused.env("SF_USERNAME", "inactive@local.tieline.test");
    let environment = Environment::alone(refused).await;
    let error = environment.invoke(json!({})).await.unwrap_err();
    assert!(error.contains("reauth_required") && error.contains("hint: "), "{error}");
    assert!(environment.function_log().contains(r#""code":"reauth_required""#), "{}", environment.function_log());
    let mut api = example("lambda_api", &world);
    api.env("SF_USERNAME", "inactive@local.tieline.test");
    let answer = Environment::alone(api).await.invoke(get("Smith")).await.unwrap();
    assert_eq!(answer["statusCode"], 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schedule_and_the_queue_work_as_they_stand() {
    let world = World::new().await;
    let api = Environment::alone(example("lambda_api", &world)).await;
    api.invoke(post("New")).await.unwrap();
    let schedule = Environment::alone(example("lambda_schedule", &world)).await;
    let told = schedule.invoke(json!({ "detail-type": "Scheduled Event" })).await.unwrap();
    assert_eq!(told["changed"], 1, "{told}");
    assert!(told["calls_left"].as_u64().unwrap() > 0);

    let queue = Environment::alone(example("lambda_queue", &world)).await;
    let url = format!("{}/services/data/v67.0/query", world.info().instance_url);
    let contacts = |soql: &'static str| {
        let asked = world.http.get(&url).query(&[("q", soql)]).bearer_auth(&world.info().access_token);
        async { serde_json::from_str::<Value>(&asked.send().await.unwrap().text().await.unwrap()).unwrap() }
    };
    let found = contacts("SELECT Id FROM Contact").await;
    let change = |id: &str, body: String| json!({ "messageId": id, "body": body });
    let email = |n: usize| json!({ "contact": found["records"][n]["Id"], "email": "new@example.com" }).to_string();
    let gone = json!({ "contact": "003000000000000AAA", "email": "a@example.com" }).to_string();
    let batch =
        [change("one", email(0)), change("two", "no JSON".to_owned()), change("three", gone), change("four", email(1))];
    let answer = queue.invoke(json!({ "Records": batch })).await.unwrap();
    assert_eq!(
        answer["batchItemFailures"],
        json!([{ "itemIdentifier": "two" }, { "itemIdentifier": "three" }]),
        "{}",
        queue.function_log()
    );
    let changed = contacts("SELECT Id FROM Contact WHERE Email = 'new@example.com'").await;
    assert_eq!(changed["totalSize"], 2);
}

fn salesforce(world: &World) -> Salesforce {
    let variables = jwt(world);
    let variable: Variable = Arc::new(move |name| variables.get(name).cloned());
    Salesforce::with(variable, system()).unwrap()
}

fn invocation(salesforce: &Salesforce, time: Duration) -> Invocation {
    salesforce.invocation(system().now() + time)
}

#[tokio::test]
async fn invocations_at_the_same_time_share_a_login_and_a_connection() {
    let world = World::new().await;
    let salesforce = salesforce(&world);
    let asking = (0..50).map(|_| {
        let invocation = invocation(&salesforce, Duration::from_secs(10));
        async move { invocation.connection("default").await.unwrap() }
    });
    let connections = join_all(asking).await;
    join_all(connections.iter().map(|org| org.limits())).await;
    assert_eq!(world.logins().await, 1);
    assert!(connections.iter().all(|org| org.api_calls() == 50), "they are one");
    let other = invocation(&salesforce, Duration::from_secs(10)).connection("other").await.unwrap_err();
    assert_eq!(
        (other.code(), other.hint().as_str()),
        ("unknown_connection", "name one of the connections that there are")
    );
}

#[tokio::test]
async fn an_invocation_without_time_waits_for_no_login() {
    let world = World::new().await;
    world.token_fault(json!({ "delay_ms": 5_000 }), 0).await;
    let salesforce = salesforce(&world);
    let started = std::time::Instant::now();
    let error = invocation(&salesforce, Duration::from_millis(500)).connection("default").await.unwrap_err();
    assert!(matches!(error, HandlerError::Deadline) && error.code() == "deadline", "{error}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

fn batch(ids: &[&str], queue: &str) -> SqsEvent {
    let records: Vec<Value> = ids
        .iter()
        .map(|id| json!({ "messageId": id, "body": id, "eventSourceARN": format!("arn:aws:sqs:eu-central-1:1:{queue}") }))
        .collect();
    serde_json::from_value(json!({ "Records": records })).unwrap()
}

async fn failed(invocation: &Invocation, event: SqsEvent, at_once: usize, seen: &AtomicUsize) -> Vec<String> {
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = |message: SqsMessage| {
        let (now, most) = (&now, &most);
        async move {
            seen.fetch_add(1, Ordering::Relaxed);
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let body = message.body.unwrap();
            tokio::time::sleep(Duration::from_millis(if body.starts_with("slow") { 60_000 } else { 20 })).await;
            now.fetch_sub(1, Ordering::Relaxed);
            assert!(!body.starts_with("panic"), "this one panics");
            if body.starts_with("bad") { Err("this one is bad".into()) } else { Ok(()) }
        }
    };
    let answer = queue::each(invocation, event, at_once, work).await;
    assert!(most.load(Ordering::Relaxed) <= at_once);
    let mut failed: Vec<_> = answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
    failed.sort();
    failed
}

#[tokio::test]
async fn only_the_messages_that_failed_come_again() {
    let world = World::new().await;
    let salesforce = salesforce(&world);
    let seen = AtomicUsize::new(0);
    let long = invocation(&salesforce, Duration::from_secs(60));
    let ids = ["a", "bad-b", "c", "panic-d", "bad-e", "f"];
    assert_eq!(failed(&long, batch(&ids, "orders"), 3, &seen).await, ["bad-b", "bad-e", "panic-d"]);
    assert_eq!(seen.swap(0, Ordering::Relaxed), 6);
    // In order: one at a time whatever is asked for, and nothing is done after the first that fails.
    let rest = ["bad-b", "bad-e", "c", "f", "panic-d"];
    assert_eq!(failed(&long, batch(&ids, "orders.fifo"), 3, &seen).await, rest);
    assert_eq!(seen.swap(0, Ordering::Relaxed), 2);
    // What there is no time for comes again; what is done does not, and one that hangs holds up nobody.
    let short = invocation(&salesforce, Duration::from_millis(1_500));
    let ids = ["slow-a", "b", "c", "d", "e", "f", "g"];
    assert_eq!(failed(&short, batch(&ids, "orders"), 2, &seen).await, ["slow-a"]);
    assert_eq!(seen.swap(0, Ordering::Relaxed), 7);
    assert!(short.time_left() > Duration::ZERO, "there is time left for the answer");
    // And nothing is begun that there is no time for.
    let over = invocation(&salesforce, Duration::ZERO);
    assert_eq!(failed(&over, batch(&["a", "b"], "orders"), 2, &seen).await, ["a", "b"]);
    assert_eq!(seen.load(Ordering::Relaxed), 0);
}
