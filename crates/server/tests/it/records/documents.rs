//! The programs of `docs/records.md`, run against the service.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::webhooks::{to_loopback, webhook};
use super::*;
use crate::parts::part;

const RECORDS: &str = include_str!("../../../../../docs/records.md");
const ALERTS: &str = include_str!("../../../../../docs/alerts.md");

/// Both receives and follows, and prints what it has.
const PROGRAM: &str = "
import { receive } from './receive.mjs';
import { follow } from './follow.mjs';
const [secret, url, key] = process.argv.slice(2);
const heard = [], ids = new Set(), kept = {};
let done;
const all = new Promise((resolve) => (done = resolve));
const keep = async (records) => {
  heard.push(...records.map((record) => record.id + record.fields.name));
  if (heard.length === 3) done();
};
const seen = async (id) => ids.has(id) || (ids.add(id), false);
const server = receive(secret, keep, seen);
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
await all;
const first = await follow(url, key, null, async (record) => (kept[record.id] = record.fields.amount));
const second = await follow(url, key, first, async () => (kept.again = true));
console.log(JSON.stringify({ heard, kept, same: first === second }));
process.exit(0);
";

/// A block of JavaScript, by what stands in its first line.
fn block(text: &str, named: &str) -> String {
    let mut blocks = text.split("```js\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .find(|block| block.lines().next().unwrap().contains(named))
        .unwrap_or_else(|| panic!("no {named}"))
        .to_owned()
}

#[tokio::test]
async fn the_documents_programs_receive_and_follow() {
    let Some(node) = part("node", "TIELINE_TEST_NODE") else { return };
    let (world, mut owner, mapped) = scene(Db::sqlite().await, 1, to_loopback).await;
    let (id, secret) = webhook(&mut owner, &mapped.0, "http://127.0.0.1:1/").await;
    let (_, made) = owner.post("/api/keys", json!({"name": "copy", "role": "viewer"})).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    file("follow.mjs", block(RECORDS, "follow.mjs"));
    file("receive.mjs", block(RECORDS, "receive.mjs"));
    file("verify.mjs", block(ALERTS, "createHmac"));
    file("run.mjs", PROGRAM.to_owned());
    let url = format!("{}/api/mappings/{}/records", owner.url, mapped.0.id);
    let mut command = Command::new(node);
    command.arg(folder.path().join("run.mjs")).args([secret.expose(), &url, made["key"].as_str().unwrap()]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut port = String::new();
    said.read_line(&mut port).unwrap();
    let leads = json!({"url": format!("http://127.0.0.1:{}/", port.trim())});
    let (status, changed) = owner.call(Method::PATCH, &format!("/api/webhooks/{id}"), Some(leads)).await;
    assert_eq!(status, 200, "{changed}");
    let tenant = world.db.store.own();
    write(&tenant, &mapped, &["a", "b"], "x", 1).await;
    write(&tenant, &mapped, &["c"], "y", 2).await;
    let told = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        said.read_to_string(&mut text).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
        text
    });
    let told: Value = serde_json::from_str(&told.await.unwrap()).unwrap();
    assert_eq!(told, json!({"heard": ["ax", "bx", "cy"], "kept": {"a": 0.5, "b": 1.5, "c": 0.5}, "same": true}));
}
