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

/// What a person does at the login page, by plain requests: signs in, and allows the app.
pub(crate) fn allow(org: &Org, page: &str, username: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let form = |html: &str| {
            let rest = html.split("name=\"form\" value=\"").nth(1).unwrap_or_else(|| panic!("no form in {html}"));
            rest.split('"').next().unwrap().to_owned()
        };
        let base = org.get("login_url");
        let html = http.get(page).send().await.unwrap().text().await.unwrap();
        let fields =
            [("form", form(&html)), ("username", username.to_owned()), ("password", org.get("password").to_owned())];
        let signed = http.post(format!("{base}/login")).form(&fields).send().await.unwrap();
        let cookie = signed.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let next = format!("{base}{}", signed.headers()["location"].to_str().unwrap());
        let mut allowed = http.get(next).header("cookie", cookie).send().await.unwrap();
        // Whoever has allowed it before is not asked again.
        if allowed.status() == 200 {
            let fields = [("form", form(&allowed.text().await.unwrap())), ("decision", "allow".to_owned())];
            allowed = http.post(format!("{base}/services/oauth2/consent")).form(&fields).send().await.unwrap();
        }
        assert!(allowed.status() == 302 || allowed.status() == 200, "{}", allowed.status());
        // What waits at the callback, where it is on this machine.
        let to = allowed.headers().get("location").map_or("", |to| to.to_str().unwrap());
        if to.starts_with("http://localhost") || to.starts_with("http://127.0.0.1") {
            let _ = http.get(to).send().await;
        }
    });
}
