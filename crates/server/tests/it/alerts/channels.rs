//! Channels and rules: where they may lead, who may change them, and what is found by looking around.

use super::*;

on_both!(roles_say_who_may_what_and_all_of_it_is_audited, the_orgs_calls_and_certificates_are_looked_at);

#[tokio::test]
async fn inner_places_are_refused_when_a_channel_is_made_and_when_it_is_sent_to() {
    let names = Names::new(&[&["127.0.0.1"], &["203.0.114.7"], &["127.0.0.1"]]);
    let resolver = names.clone();
    let world = World::with_settings(Db::sqlite().await, 1, |settings| {
        settings.outbound.names = Some(resolver);
    })
    .await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    for (url, why) in [
        ("https://169.254.169.254/latest/meta-data/planted", "metadata"),
        ("https://hooks.example.com@127.0.0.1/planted", "user name"),
        ("https://user@hooks.example.com/planted", "user name"),
        ("https://localhost/planted", "localhost"),
        ("http://hooks.example.com/planted", "only https"),
        ("https://0x7f.1/planted", "loopback"),
        // The name leads there now.
        ("https://hooks.example.com/planted", "leads to 127.0.0.1, a loopback address"),
    ] {
        for kind in ["webhook", "slack"] {
            if kind == "slack" && why.starts_with("leads") {
                continue;
            }
            let new = json!({"name": "x", "kind": kind, "url": url});
            let (status, problem) = owner.post("/api/alerts/channels", new).await;
            assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_request")), "{url}: {problem}");
            let text = problem.to_string();
            assert!(text.contains(why) && !text.contains("planted"), "{url}: {problem}");
        }
    }
    // It leads to a public address when the channel is made, and inside when it is sent to.
    let (channel, _) = told_of(&mut owner, "https://hooks.example.com/planted", &["sync_failure"]).await;
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    let failed = message(&mut owner, &world, "failed").await;
    assert!(failed["error"].as_str().unwrap().contains("leads to 127.0.0.1, a loopback address"), "{failed}");
    assert_eq!(failed["attempts"], 1, "it can never succeed");
    let (status, tested) = owner.post(&format!("/api/alerts/channels/{channel}/test"), json!({})).await;
    assert_eq!((status.as_u16(), &tested["delivered"], &tested["retryable"]), (200, &json!(false), &json!(false)));
    // Nor can a channel be led there later.
    let path = format!("/api/alerts/channels/{channel}");
    let (status, problem) = owner.call(Method::PATCH, &path, Some(json!({"url": "https://10.0.0.1/"}))).await;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_request")), "{problem}");
}

async fn roles_say_who_may_what_and_all_of_it_is_audited(db: Db) {
    let world = World::with_settings(db, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let (url, seen) = taking().await;
    let (channel, secret) = told_of(&mut owner, &url, &[]).await;
    let path = format!("/api/alerts/channels/{channel}");
    let (_, view) = owner.get(&path).await;
    assert_eq!((&view["leads_to"], view.get("secret")), (&json!("127.0.0.1"), None), "{view}");
    let (_, all) = owner.get("/api/alerts/channels").await;
    assert!(!all.to_string().contains("planted") && !all.to_string().contains("whsec_"), "{all}");
    let (status, tested) = owner.post(&format!("{path}/test"), json!({})).await;
    assert_eq!(
        (status.as_u16(), &tested),
        (200, &json!({"delivered": true, "status": 204, "reason": null, "retryable": false}))
    );
    let (status, rotated) = owner.post(&format!("{path}/rotate-secret"), json!({})).await;
    assert_eq!(status, 200, "{rotated}");
    let new = Secret::new(rotated["secret"].as_str().unwrap());
    owner.post(&format!("{path}/test"), json!({})).await;
    {
        let seen = seen.seen.lock().unwrap();
        let (_, headers, body) = &seen[1];
        for secret in [&secret, &new] {
            let secrets = [SigningSecret::parse(secret).unwrap()];
            verify(headers, body, &secrets, world.clock.now(), TOLERANCE).unwrap();
        }
        let old = [SigningSecret::parse(&new).unwrap()];
        verify(&seen[0].1, &seen[0].2, &old, world.clock.now(), TOLERANCE).unwrap_err();
    }
    let (status, _) = owner.call(Method::PATCH, &path, Some(json!({"name": "pager", "enabled": false}))).await;
    assert_eq!(status, 200);

    let (status, rule) = owner
        .post("/api/alerts/rules", json!({"kind": "api_budget", "percent": 90, "channels": [channel, channel]}))
        .await;
    assert_eq!((status.as_u16(), &rule["channels"], &rule["percent"]), (201, &json!([channel]), &json!(90)), "{rule}");
    let rule = format!("/api/alerts/rules/{}", rule["id"].as_str().unwrap());
    for wrong in [
        json!({"kind": "auth_failure", "percent": 50}),
        json!({"kind": "api_budget", "percent": 0}),
        json!({"kind": "api_budget", "percent": 101}),
        json!({"kind": "sync_failure", "quiet_seconds": 299}),
        json!({"kind": "storm"}),
        json!({"kind": "sync_failure", "channels": vec![Uuid::now_v7(); 21]}),
    ] {
        let (status, problem) = owner.post("/api/alerts/rules", wrong.clone()).await;
        assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_request")), "{wrong}: {problem}");
    }
    for missing in [
        json!({"kind": "sync_failure", "channels": [Uuid::now_v7()]}),
        json!({"kind": "sync_failure", "integration": Uuid::now_v7()}),
    ] {
        assert_eq!(owner.post("/api/alerts/rules", missing).await.0, 404);
    }
    let (status, changed) = owner.call(Method::PATCH, &rule, Some(json!({"channels": [], "quiet_seconds": 300}))).await;
    assert_eq!(
        (status.as_u16(), &changed["channels"], &changed["percent"]),
        (200, &json!([]), &json!(90)),
        "{changed}"
    );

    connect(&world, &mut owner).await;
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    let found = notifications(&mut owner, "").await.remove(0);
    let one = format!("/api/notifications/{}", found["id"].as_str().unwrap());
    let mut keys = std::collections::BTreeMap::new();
    for role in ["viewer", "member", "admin"] {
        let (_, made) = owner.post("/api/keys", json!({"name": role, "role": role})).await;
        keys.insert(role, made["key"].as_str().unwrap().to_owned());
    }
    let http = reqwest::Client::builder().build().unwrap();
    let ask = async |role: &str, method: Method, path: &str| {
        let request = http.request(method, format!("{}{path}", owner.url)).bearer_auth(&keys[role]);
        let body = match path {
            "/api/alerts/channels" => json!({"name": "no URL", "kind": "slack"}),
            "/api/alerts/rules" => json!({"kind": "auth_failure", "percent": 1}),
            _ => json!({}),
        };
        request.json(&body).send().await.unwrap().status().as_u16()
    };
    let acknowledge = format!("{one}/acknowledge");
    for (method, path, expected) in [
        (Method::GET, "/api/notifications", [200, 200, 200]),
        (Method::GET, one.as_str(), [200, 200, 200]),
        (Method::POST, acknowledge.as_str(), [403, 200, 200]),
        (Method::GET, "/api/alerts/channels", [403, 403, 200]),
        (Method::GET, path.as_str(), [403, 403, 200]),
        (Method::POST, "/api/alerts/channels", [403, 403, 400]),
        (Method::PATCH, path.as_str(), [403, 403, 200]),
        (Method::POST, &format!("{path}/test"), [403, 403, 200]),
        (Method::POST, &format!("{path}/rotate-secret"), [403, 403, 200]),
        (Method::GET, "/api/alerts/rules", [403, 403, 200]),
        (Method::POST, "/api/alerts/rules", [403, 403, 400]),
        (Method::PATCH, rule.as_str(), [403, 403, 200]),
        (Method::DELETE, rule.as_str(), [403, 403, 204]),
        (Method::DELETE, path.as_str(), [403, 403, 204]),
    ] {
        for (role, expected) in ["viewer", "member", "admin"].into_iter().zip(expected) {
            assert_eq!(ask(role, method.clone(), path).await, expected, "{role}: {method} {path}");
        }
    }
    for wrong in ["state=new", "kind=storm", "limit=0", "cursor=x"] {
        assert_eq!(owner.get(&format!("/api/notifications?{wrong}")).await.0, 400, "{wrong}");
    }
    let (_, entries) = owner.get("/api/audit?limit=200").await;
    let count = |action: &str, target: &str| {
        let of = |e: &&Value| e["action"] == action && e["target_type"] == target;
        entries["items"].as_array().unwrap().iter().filter(of).count()
    };
    for (action, target, expected) in [
        ("alert.created", "alert_channel", 1),
        ("alert.created", "alert_rule", 1),
        ("alert.updated", "alert_channel", 2),
        ("alert.updated", "alert_rule", 2),
        ("alert.key_rotated", "alert_channel", 2),
        ("alert.acknowledged", "notification", 1),
        ("alert.deleted", "alert_channel", 1),
        ("alert.deleted", "alert_rule", 1),
    ] {
        assert_eq!(count(action, target), expected, "{action} {target}");
    }
    assert!(!entries.to_string().contains("planted"));
}

async fn the_orgs_calls_and_certificates_are_looked_at(db: Db) {
    let world = World::with_settings(db, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let path = format!("/api/integrations/{}", integration["id"].as_str().unwrap());
    let (url, seen) = taking().await;
    let (_, secret) = told_of(&mut owner, &url, &["api_budget", "certificate_expiry"]).await;
    let service = &world.nodes[0].service;

    let pem = std::fs::read_to_string(&world.org.info().certificate_file).unwrap();
    let (status, changed) = owner.call(Method::PATCH, &path, Some(json!({"certificate": pem}))).await;
    assert_eq!(status, 200, "{changed}");
    let end: jiff::Timestamp = changed["config"]["certificate"]["not_after"].as_str().unwrap().parse().unwrap();
    let wrong = json!({"certificate": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"});
    assert_eq!(owner.call(Method::PATCH, &path, Some(wrong)).await.0, 400);
    assert!(notifications(&mut owner, "").await.is_empty(), "it is good for long");

    // The org has ten calls a day, and most of them are used.
    world.control(Method::PUT, "limits", json!({"daily_api_requests": 10})).await;
    while world.ledger().await["api_calls"].as_u64().unwrap() < 8 {
        owner.get("/api/integrations/salesforce/contacts?limit=1").await;
    }
    world.clock.advance(Duration::from_secs(31 * 60));
    assert!(service.look_around().await.unwrap());
    assert!(!service.look_around().await.unwrap(), "once in half an hour");
    arrived(&world, &seen, 1).await;
    let found = notifications(&mut owner, "?kind=api_budget").await;
    assert!(found.len() == 1 && found[0]["title"].as_str().unwrap().contains("% of its API calls"), "{found:?}");
    world.control(Method::PUT, "limits", json!({"daily_api_requests": 10_000})).await;
    service.run_all().await;
    arrived(&world, &seen, 2).await;

    let left = end.duration_since(world.clock.now());
    world.clock.advance(Duration::try_from(left).unwrap() - Duration::from_secs(6 * 86_400));
    assert!(service.look_around().await.unwrap());
    arrived(&world, &seen, 3).await;
    // The session is long over.
    assert_eq!(owner.sign_in("owner@example.com", crate::world::PASSWORD).await.0, 200);
    let found = notifications(&mut owner, "?kind=certificate_expiry").await;
    assert!(found.len() == 1 && found[0]["title"].as_str().unwrap().ends_with("ends in 6 days"), "{found:?}");
    assert_eq!(owner.call(Method::PATCH, &path, Some(json!({"certificate": ""}))).await.0, 200);
    arrived(&world, &seen, 4).await;
    let told: Vec<_> = seen
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|(_, _, body)| serde_json::from_slice::<Value>(body).unwrap()["type"].clone())
        .collect();
    let (opened, resolved) = (json!("notification.opened"), json!("notification.resolved"));
    assert_eq!(told, [opened.clone(), resolved.clone(), opened, resolved]);
    drop(secret);
    let (_, logs) = owner.get("/api/logs?event=certificate_expiring").await;
    assert_eq!(logs["items"].as_array().unwrap().len(), 1, "{logs}");
}
