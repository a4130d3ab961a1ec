//! The metrics that the extension writes: the format that CloudWatch reads, and what is in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tieline_auth::ManualClock;
use tieline_auth::aws::Variable;
use tieline_auth::certificate::Certificate;
use tieline_lambda::broker::Broker;
use tieline_lambda::counters::Counters;
use tieline_lambda::metrics::{ApiCalls, Metrics};
use tieline_lambda::orgs::Orgs;
use tieline_lambda::sources::Sources;

use crate::environment::jwt;
use crate::world::{SECRET, World, hex, org, run, system};

fn variable(pairs: &'static [(&'static str, &'static str)]) -> Variable {
    Arc::new(move |name| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

/// What the specification asks of a line.
fn check(line: &str) -> Value {
    assert!(!line.contains('\n') && line.starts_with('{'));
    let line: Value = serde_json::from_str(line).unwrap();
    let told = &line["_aws"];
    assert!(told["Timestamp"].is_i64() && told.as_object().unwrap().len() == 2, "{told}");
    for directive in told["CloudWatchMetrics"].as_array().unwrap() {
        assert!(!directive["Namespace"].as_str().unwrap().is_empty());
        for name in directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap()) {
            assert!(line[name.as_str().unwrap()].is_string(), "the dimension {name} is a text of the root");
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()));
        for metric in metrics {
            let value = &line[metric["Name"].as_str().unwrap()];
            let numbers = value.as_array().map_or_else(|| vec![value], |values| values.iter().collect());
            assert!((1..=100).contains(&numbers.len()) && numbers.iter().all(|number| number.is_number()), "{metric}");
            assert!(["Count", "Milliseconds", "Percent"].contains(&metric["Unit"].as_str().unwrap()));
        }
    }
    line
}

#[tokio::test]
async fn a_line_tells_what_happened_since_the_last_one() {
    let world = World::new().await;
    let clock = Arc::new(ManualClock::at(system().now()));
    let orgs = Orgs::new(clock.clone()).with("default", org(world.jwt(), clock.clone()));
    let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
    let names = variable(&[("AWS_LAMBDA_FUNCTION_NAME", "orders"), ("AWS_LAMBDA_FUNCTION_VERSION", "7")]);
    let mut metrics = Metrics::new(&names, clock.clone());
    assert_eq!(metrics.line(broker.broker.counters(), broker.broker.orgs(), None, true), None, "nothing has happened");
    let token = broker.token(&world.http, "").await;
    broker.token(&world.http, "").await;
    broker.token(&world.http, &format!("?seen={}", hex(&token))).await;
    let line = check(&metrics.line(broker.broker.counters(), broker.broker.orgs(), None, false).unwrap());
    let told = |names: &[&str]| names.iter().map(|name| line[*name].as_u64().unwrap()).collect::<Vec<_>>();
    assert_eq!(told(&["TokensServed", "TokenCacheHits", "TokenRequests", "TokenRefusals"]), [3, 1, 2, 1]);
    assert_eq!(told(&["AuthFailures", "TokenErrors"]), [0, 0]);
    assert_eq!((&line["FunctionName"], &line["FunctionVersion"]), (&json!("orders"), &json!("7")));
    assert_eq!(line["TokenWait"].as_array().unwrap().len(), 3);

    // Soon after, only a failure is worth a line; strangers are none, but are told of with it.
    broker.token(&world.http, "").await;
    broker.ask(&world.http, "?connection=other").await;
    assert_eq!(metrics.line(broker.broker.counters(), broker.broker.orgs(), None, false), None);
    clock.advance(Duration::from_secs(200));
    let refusal = json!({"status": 400, "body": {"error": "invalid_grant", "error_description": "inactive user"}});
    world.token_fault(refusal, 2).await;
    broker.ask(&world.http, "").await;
    let line = check(&metrics.line(broker.broker.counters(), broker.broker.orgs(), None, false).unwrap());
    let told = |name: &str| line[name].as_u64().unwrap();
    assert_eq!((told("AuthFailures"), told("TokenErrors"), told("TokensServed"), told("TokenRequests")), (1, 1, 1, 2));
    assert_eq!(line["Refused"], json!({"reauth_required": 1, "unknown_connection": 1}));
    let text = line.to_string();
    assert!(!text.contains("00D") && !text.contains(&world.info().client_id), "no org, no app: {text}");

    let mut off = Metrics::new(&variable(&[("TIELINE_METRICS", "off")]), clock.clone());
    broker.ask(&world.http, "").await;
    assert_eq!(off.line(broker.broker.counters(), broker.broker.orgs(), None, true), None);
}

#[tokio::test]
async fn the_days_that_a_certificate_has_left_are_told() {
    let world = World::new().await;
    let mut variables = jwt(&world);
    let pem = std::fs::read_to_string(&world.info().certificate_file).unwrap();
    let end = Certificate::from_pem(&pem).unwrap().not_after;
    variables.insert("SF_CERTIFICATE".to_owned(), pem);
    let told = async |variables: BTreeMap<String, String>, clock: ManualClock| {
        let clock = Arc::new(clock);
        let variable: Variable = Arc::new(move |name| variables.get(name).cloned());
        let orgs = Sources::new(variable.clone(), clock.clone(), "67.0").orgs().unwrap();
        let broker = run(Broker::new(SECRET, orgs, clock.clone())).await;
        // Whether it logs in is another matter: a year later the org would not take the assertion.
        broker.ask(&world.http, "").await;
        let mut metrics = Metrics::new(&variable, clock);
        check(&metrics.line(broker.broker.counters(), broker.broker.orgs(), None, true).unwrap())["CertificateDaysLeft"]
            .take()
    };
    let hours = jiff::SignedDuration::from_hours;
    assert_eq!(told(variables.clone(), ManualClock::at(end - hours(20 * 24 + 1))).await, 20);
    assert_eq!(told(variables.clone(), ManualClock::at(end + hours(1))).await, -1, "it is over");
    variables.insert("SF_CERTIFICATE".to_owned(), "no certificate".to_owned());
    assert_eq!(told(variables, ManualClock::at(end)).await, Value::Null, "and that is no reason not to log in");
}

#[tokio::test]
async fn calls_that_an_org_has_left_are_told_in_numbers_and_as_a_share() {
    let orgs = Orgs::new(system());
    let counters = Counters::default();
    let variable = variable(&[]);
    let mut metrics = Metrics::new(&variable, system());
    let left = ApiCalls { left: 123, allowed: 100_000 };
    assert_eq!(metrics.line(&counters, &orgs, Some(left), true), None, "nothing has happened");
    let world = World::new().await;
    let broker = crate::world::start(&world).await;
    broker.token(&world.http, "").await;
    let line = check(&metrics.line(broker.broker.counters(), &orgs, Some(left), true).unwrap());
    assert_eq!((&line["ApiCallsLeft"], &line["ApiCallsLeftPercent"]), (&json!(123), &json!(0.1)));
}
