//! A real browser walks through sign-in and consent, and a program of a stranger's (`examples/browser_login.rs`) gets
//! its token.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::org::{Org, json};
use crate::parts::part;

#[test]
fn a_person_allows_a_program_in_a_real_browser() {
    let (Some(node), Some(chromium)) = (part("node", "TIELINE_TEST_NODE"), part("chromium", "TIELINE_TEST_CHROMIUM"))
    else {
        return;
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let callback = format!("http://127.0.0.1:{port}/callback");
    let org = Org::start(&["--contacts", "0", "--callback", &callback]);
    org.control("PUT", "app", &json!({"pkce_required": true}));
    // Nobody has approved the app for this user yet, so there is something to allow.
    let username = "unapproved@local.tieline.test";
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/browser_login");
    let mut program = Command::new(program)
        .env_clear()
        .env("SF_LOGIN_URL", org.get("login_url"))
        .env("SF_CLIENT_ID", org.get("client_id"))
        .env("SF_CLIENT_SECRET", org.get("client_secret"))
        .env("SF_REDIRECT_URI", &callback)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(program.stdout.take().unwrap());
    let mut page = String::new();
    said.read_line(&mut page).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pictures = std::env::var_os("TIELINE_TEST_PICTURES").map_or_else(|| folder.path().to_owned(), Into::into);
    let output = Command::new(node)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/consent.mjs"))
        .env("TIELINE_TEST_CHROMIUM", chromium)
        .env("PAGE_URL", page.trim())
        .env("ORG_URL", org.get("login_url"))
        .env("ORG_USERNAME", username)
        .env("ORG_PASSWORD", org.get("password"))
        .env("SCREENSHOT_DIR", pictures)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json(&String::from_utf8(output.stdout).unwrap())["landed"], callback);
    let mut user = String::new();
    said.read_to_string(&mut user).unwrap();
    assert!(program.wait().unwrap().success());
    assert_eq!(json(&user)["preferred_username"], username);
}
