//! Schemathesis against the running service: whatever it sends, nothing fails within, and every answer is as described.

use std::process::Command;

use serde_json::json;

use crate::database::{Db, now};
use crate::parts::part;
use crate::world::World;

on_both!(no_request_breaks_the_service_or_its_description);

/// Enough for every operation's edges; the long test looks further.
const EXAMPLES: &str = "8";
const EXAMPLES_LONG: &str = "100";

async fn no_request_breaks_the_service_or_its_description(db: Db) {
    let Some(program) = part("schemathesis", "TIELINE_TEST_SCHEMATHESIS") else { return };
    let world = World::new(db).await;
    let mut owner = world.owner().await;
    let (status, made) = owner.post("/api/keys", json!({"name": "schemathesis", "role": "owner"})).await;
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap();
    // Records to be found: nothing of the API makes a mapping.
    let tenant = world.db.store.own();
    let integration = tenant.create_integration("org", None, &json!({}), now()).await.unwrap();
    let mapped = crate::records::mapped(&tenant, integration.id, "deals").await;
    crate::records::write(&tenant, &mapped, &["006000000000001AAA"], "x", 1).await;
    // What a key may do, and what needs somebody who signed in; of either, not what would end them.
    let headers = [format!("Authorization: Bearer {key}")];
    run(
        &program,
        &world,
        &headers,
        &[&["--exclude-operation-id", "revoke_key"], excluded(SIGNED_IN).as_slice()].concat(),
    )
    .await;
    let cookies: Vec<String> = owner.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let headers = [format!("Cookie: {}", cookies.join("; ")), format!("X-CSRF-Token: {}", owner.csrf)];
    // It does not know that the cookie is among the headers, and takes it for missing.
    let operations =
        [included(SIGNED_IN).as_slice(), &["--exclude-checks", "negative_data_rejection,ignored_auth"]].concat();
    run(&program, &world, &headers, &operations).await;
}

/// Operations of signed-in users alone.
const SIGNED_IN: &[&str] = &[
    "session",
    "sessions",
    "identities",
    "unlink_identity",
    "create_business",
    "change_business",
    "delete_business",
    "delete_account",
    "authorize",
    "callback",
];
/// They would end the session.
const ENDING: &[&str] = &["sign_out", "end_session", "change_password"];

fn excluded(ids: &[&'static str]) -> Vec<&'static str> {
    ids.iter().chain(ENDING).flat_map(|id| ["--exclude-operation-id", id]).collect()
}

fn included(ids: &[&'static str]) -> Vec<&'static str> {
    ids.iter().flat_map(|id| ["--include-operation-id", id]).collect()
}

async fn run(program: &std::path::Path, world: &World, headers: &[String], operations: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    // A key that does not work would pass everything with 401. 422: a filter by a column that no description can know.
    let settings = "[warnings]\nfail-on = [\"missing_auth\"]\n\n[checks.positive_data_acceptance]\n\
        expected-statuses = [\"2xx\", \"3xx\", 400, 401, 403, 404, 409, 410, 422, 429]\n";
    std::fs::write(folder.path().join("schemathesis.toml"), settings).unwrap();
    let long = std::env::var_os("TIELINE_TEST_LONG").is_some();
    let mut command = Command::new(program);
    command.current_dir(folder.path()).arg("run").arg(format!("{}/openapi.json", world.nodes[0].url));
    for header in headers {
        command.args(["-H", header]);
    }
    command
        .args(["--seed", "1", "--max-examples", if long { EXAMPLES_LONG } else { EXAMPLES }])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--generation-database", "none", "--no-color", "--continue-on-failure"])
        .args(operations);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
}
