//! How messages leave: tried again, given up, sent again after a death, and readable by whoever gets them.

use super::*;

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_message_again() {
    let world = World::with_settings(Db::sqlite().await, 1, to_loopback).await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let (url, seen) = answering(move || match asked.fetch_add(1, Ordering::SeqCst) {
        0 => (StatusCode::INTERNAL_SERVER_ERROR, "database is down").into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let (channel, secret) = told_of(&mut owner, &url, &["sync_failure"]).await;
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    arrived(&world, &seen, 1).await;
    let waiting = message(&mut owner, &world, "waiting").await;
    assert_eq!((&waiting["attempts"], &waiting["status"]), (&json!(1), &Value::Null), "{waiting}");
    assert!(waiting["error"].as_str().unwrap().contains("500 Internal Server Error: database is down"), "{waiting}");
    assert!(!waiting.to_string().contains("planted"), "{waiting}");
    let (_, view) = owner.get(&format!("/api/alerts/channels/{channel}")).await;
    assert!(view["last_error"].is_string() && view["last_success_at"].is_null(), "{view}");
    // Five seconds and up to a fifth more.
    world.clock.advance(Duration::from_secs(6));
    ring(&world);
    arrived(&world, &seen, 2).await;
    let told = heard(&world, &seen, &secret);
    assert_eq!((&told[0].0, &told[0].1), (&told[1].0, &told[1].1), "the same message");
    let times: Vec<_> = seen.seen.lock().unwrap().iter().map(|(_, h, _)| h["webhook-timestamp"].clone()).collect();
    assert_ne!(times[0], times[1], "each attempt has its own time");
    message(&mut owner, &world, "delivered").await;
    let (_, view) = owner.get(&format!("/api/alerts/channels/{channel}")).await;
    assert!(view["last_error"].is_null() && view["last_success_at"].is_string(), "{view}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_given_up_after_three_days_and_told_why() {
    let world = World::with_settings(Db::sqlite().await, 1, to_loopback).await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    // Nobody listens there any more.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/planted", listener.local_addr().unwrap());
    drop(listener);
    told_of(&mut owner, &url, &["sync_failure"]).await;
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    for attempt in 1..10 {
        // Noted, and put off: while it is under way its time has come.
        let mut waiting = Value::Null;
        for _ in 0..500 {
            waiting = message(&mut owner, &world, "waiting").await;
            let due: jiff::Timestamp = waiting["next_attempt_at"].as_str().unwrap().parse().unwrap();
            if due > world.clock.now() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(waiting["attempts"] == attempt && waiting["error"].is_string(), "{waiting}");
        world.clock.advance(Duration::from_secs(86_400 * 6 / 5));
    }
    let failed = message(&mut owner, &world, "failed").await;
    assert_eq!(failed["attempts"], 10, "{failed}");
    assert!(failed["error"].as_str().unwrap().starts_with("no answer from 127.0.0.1"), "{failed}");
    assert!(failed["ended_at"].is_string() && failed["next_attempt_at"].is_null(), "{failed}");
}

/// At least once, and the receiver can tell that it is the same.
#[tokio::test]
async fn what_a_node_sent_before_it_died_is_sent_again_under_the_same_id() {
    let world = World::with_settings(Db::sqlite().await, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let integration = connect(&world, &mut owner).await;
    let id = integration["id"].as_str().unwrap();
    let (address, seen) = receiver("127.0.0.1", || StatusCode::OK.into_response()).await;
    let (_, secret) = told_of(&mut owner, &format!("http://{address}/"), &["auth_failure"]).await;
    let World { db, nodes, clock, org } = world;
    // The node of the world stops; another one takes its place, and dies once the receiver has the message.
    drop(nodes);
    let mut settings = Settings::new("http://127.0.0.1:1".parse().unwrap());
    to_loopback(&mut settings);
    let node = || Service::with_clock(db.store.clone(), settings.clone(), clock.clone()).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    // How it went cannot be noted, which is as if it had died right then.
    db.raw.failpoint("BEFORE UPDATE OF ended_at ON alert_deliveries", "").await;
    let failure = tieline_store::alerts::Failure {
        needs_person: true,
        is_run: false,
        work: None,
        run: None,
        reason: "revoked",
        hint: "",
    };
    let tenant = db.store.own();
    tenant.note_failure(Uuid::parse_str(id).unwrap(), &failure, clock.now()).await.unwrap();
    let first = node();
    let dying = tokio::spawn(async move { first.work_alerts().await });
    for _ in 0..500 {
        if seen.count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    dying.abort();
    db.raw.mend("alert_deliveries").await;
    assert_eq!(seen.count(), 1);
    let second = node();
    let living = tokio::spawn(async move { second.work_alerts().await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(seen.count(), 1, "the lease of the dead one holds");
    clock.advance(Duration::from_secs(120));
    db.store.alerts().ring();
    for _ in 0..500 {
        if seen.count() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    living.abort();
    let seen = seen.seen.lock().unwrap().clone();
    let secrets = [SigningSecret::parse(&secret).unwrap()];
    let ids: Vec<_> = seen.iter().map(|(_, h, b)| verify(h, b, &secrets, clock.now(), TOLERANCE).unwrap()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!((ids[0], &seen[0].2), (ids[1], &seen[1].2));
    drop(org);
}

#[tokio::test]
async fn slack_and_mail_are_told_too() {
    let (port, said) = relay(None).await;
    let world = World::with_settings(Db::sqlite().await, 1, |settings| {
        to_loopback(settings);
        let (url, from) =
            (Secret::new(format!("smtp://127.0.0.1:{port}")), "tieline <alerts@tieline.example>".to_owned());
        settings.outbound.mail = Some(Relay { url, from });
    })
    .await;
    let mut owner = world.owner().await;
    connect(&world, &mut owner).await;
    let (url, seen) = taking().await;
    let slack = json!({"name": "chat", "kind": "slack", "url": url});
    let mail = json!({"name": "mail", "kind": "email", "to": "ops@example.com"});
    let mut channels = Vec::new();
    for new in [slack, mail] {
        let (status, made) = owner.post("/api/alerts/channels", new).await;
        assert!(status == 201 && made.get("secret").is_none(), "{made}");
        channels.push(made["id"].as_str().unwrap().to_owned());
    }
    for wrong in [
        json!({"name": "y", "kind": "email", "to": "ops"}),
        json!({"name": "y", "kind": "email"}),
        json!({"name": "y", "kind": "email", "url": url, "to": "a@b.de"}),
        json!({"name": "y", "kind": "slack", "to": "a@b.de"}),
    ] {
        assert_eq!(owner.post("/api/alerts/channels", wrong.clone()).await.0, 400, "{wrong}");
    }
    let (status, problem) = owner.post(&format!("/api/alerts/channels/{}/rotate-secret", channels[0]), json!({})).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("not_signed")), "{problem}");
    let (status, rule) = owner.post("/api/alerts/rules", json!({"kind": "sync_failure", "channels": channels})).await;
    assert_eq!(status, 201, "{rule}");
    fail_queries(&world).await;
    world.nodes[0].service.run_all().await;
    arrived(&world, &seen, 1).await;
    let body: Value = serde_json::from_slice(&seen.seen.lock().unwrap()[0].2).unwrap();
    assert!(body["text"].as_str().unwrap().starts_with("Error: the sync of `"), "{body}");
    for _ in 0..500 {
        if said.lock().unwrap().iter().any(|line| line == ".") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let said = said.lock().unwrap().join("\n");
    assert!(
        said.contains("RCPT TO:<ops@example.com>") && said.contains("Subject: [tieline] Error: the sync"),
        "{said}"
    );
    assert!(said.contains("Message-ID: <msg_"), "{said}");
    // Without a relay there is no such channel.
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let mail = json!({"name": "mail", "kind": "email", "to": "ops@example.com"});
    let (status, problem) = owner.post("/api/alerts/channels", mail).await;
    assert_eq!((status.as_u16(), &problem["code"]), (409, &json!("mail_not_configured")), "{problem}");
}

/// The code block of a language in the documentation.
fn snippet(language: &str) -> &'static str {
    let text = include_str!("../../../../../docs/alerts.md");
    text.split_once(&format!("```{language}\n")).unwrap().1.split_once("```").unwrap().0
}

/// What a program says to a message on its standard input.
async fn answer_of(program: std::path::PathBuf, arguments: Vec<String>, message: Value) -> String {
    let run = move || {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let mut command = Command::new(program);
        let child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        child.stdin.take().unwrap().write_all(message.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_lowercase()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn the_documents_snippets_verify_what_is_sent() {
    let world = World::with_settings(Db::sqlite().await, 1, to_loopback).await;
    let mut owner = world.owner().await;
    let (url, seen) = taking().await;
    let (channel, secret) = told_of(&mut owner, &url, &[]).await;
    let (_, tested) = owner.post(&format!("/api/alerts/channels/{channel}/test"), json!({})).await;
    assert_eq!(tested["delivered"], true, "{tested}");
    // Two signatures, as while a secret is exchanged.
    owner.post(&format!("/api/alerts/channels/{channel}/rotate-secret"), json!({})).await;
    owner.post(&format!("/api/alerts/channels/{channel}/test"), json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("verify.mjs", snippet("js").to_owned());
    write(
        "run.mjs",
        "import { readFileSync } from 'node:fs';\nimport { verify } from './verify.mjs';\n\
         const m = JSON.parse(readFileSync(0));\nconsole.log(verify(m.secret, m.headers, m.body, m.now));\n"
            .to_owned(),
    );
    write(
        "run.py",
        format!(
            "{}\nimport json, sys\nm = json.load(sys.stdin)\n\
             print(verify(m['secret'], m['headers'], m['body'].encode(), m['now']))\n",
            snippet("python")
        ),
    );
    let path = |name: &str| folder.path().join(name).display().to_string();
    let programs = [
        (part("node", "TIELINE_TEST_NODE"), vec![path("run.mjs")]),
        (part("python", "TIELINE_TEST_PYTHON"), vec![path("run.py")]),
    ];
    let seen = seen.seen.lock().unwrap().clone();
    let now = world.clock.now().as_second();
    for (program, arguments) in programs {
        let Some(program) = program else { continue };
        let asked = async |index: usize, change: &dyn Fn(&mut Value)| {
            let (_, headers, body) = &seen[index];
            let headers: serde_json::Map<String, Value> =
                headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().into())).collect();
            let body = String::from_utf8(body.to_vec()).unwrap();
            let mut message = json!({"secret": secret.expose(), "headers": headers, "body": body, "now": now});
            change(&mut message);
            answer_of(program.clone(), arguments.clone(), message).await
        };
        assert_eq!(asked(0, &|_| {}).await, "true");
        assert_eq!(asked(1, &|_| {}).await, "true");
        assert_eq!(asked(0, &|m| m["body"] = "{}".into()).await, "false");
        assert_eq!(asked(0, &|m| m["now"] = (now + 301).into()).await, "false");
        assert_eq!(asked(0, &|m| m["headers"]["webhook-id"] = "msg_other".into()).await, "false");
        assert_eq!(asked(0, &|m| m["headers"]["webhook-signature"] = "v1, v1a,x".into()).await, "false");
        let other = SigningSecret::generate().unwrap().1;
        assert_eq!(asked(0, &|m| m["secret"] = other.expose().into()).await, "false");
    }
}
