//! The page in a real browser, and the demo's end.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::crashes::connect;
use crate::org::{Org, PROGRAM, json, tieline};
use crate::parts::part;

#[test]
fn the_page_shows_contacts_runs_and_a_change_that_arrives_while_one_looks() {
    let (Some(node), Some(chromium)) = (part("node", "TIELINE_TEST_NODE"), part("chromium", "TIELINE_TEST_CHROMIUM"))
    else {
        return;
    };
    let org = Org::start(&["--contacts", "300"]);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("t.db");
    let arguments = [
        "serve",
        "--no-sign-in",
        "--listen",
        "127.0.0.1:0",
        "--allow-loopback",
        "--every",
        "1",
        "--database-url",
        database.to_str().unwrap(),
    ];
    let mut service = tieline(&org.login(), &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(service.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("tieline is ready at ").unwrap_or_else(|| panic!("{line}"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/page.mjs");
    let mut browser = Command::new(node)
        .arg(script)
        .env("TIELINE_TEST_CHROMIUM", chromium)
        .env("PAGE_URL", address)
        .env("SCREENSHOT_DIR", folder.path())
        .env("WATCH_TEXT", "Arrives Just Now")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The change is made when the browser looks, not before.
    let mut talk = BufReader::new(browser.stderr.take().unwrap());
    let mut said = String::new();
    while talk.read_line(&mut said).unwrap() > 0 {
        if said.contains("watching") {
            let contact = serde_json::json!({"FirstName": "Arrives", "LastName": "Just Now"});
            tokio::runtime::Runtime::new().unwrap().block_on(connect(&org).create("Contact", &contact)).unwrap();
            break;
        }
    }
    talk.read_to_string(&mut said).unwrap();
    let output = browser.wait_with_output().unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(json(&String::from_utf8(output.stdout).unwrap())["contacts"], 10);
    assert!(folder.path().join("live.png").exists());
}

#[test]
fn the_demo_stays_changes_its_org_and_ends_cleanly() {
    let mut demo = Command::new(PROGRAM).args(["demo", "--contacts", "20"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let open = lines.by_ref().find_map(|line| Some(line.strip_prefix("Open ")?.split(": ").next()?.to_owned()));
    let change = lines.by_ref().find(|line| line.contains("in the org: "));
    assert!(change.is_some_and(|line| line.contains("Ada Lovelace is new")));
    let address = open.expect("the demo says where its page is");
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for _ in 0..100 {
            if reqwest::get(&address).await.unwrap().text().await.unwrap().contains("Ada Lovelace") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the change does not arrive");
    });
    assert!(Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success());
    assert!(lines.any(|line| line.contains("Stopped")), "it says goodbye");
    assert!(demo.wait().unwrap().success());
}
