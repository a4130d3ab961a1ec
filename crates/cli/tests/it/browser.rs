//! The pages, as people walk through them in a real browser. Tests begin in the order of their names: the longest early.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::crashes::connect;
use crate::org::{Org, json, tieline};
use crate::parts::part;

const CHANGED: &str = "Changed While Looked At";

#[test]
fn people_walk_through_the_pages_in_a_real_browser() {
    let (Some(node), Some(chromium)) = (part("node", "TIELINE_TEST_NODE"), part("chromium", "TIELINE_TEST_CHROMIUM"))
    else {
        return;
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let callback = format!("http://{address}/api/integrations/salesforce/callback");
    let org = Org::start(&["--contacts", "120", "--callback", &callback]);
    // Two that are one person.
    for (first, email, title) in
        [("Grace", "grace@example.com", "Rear admiral"), ("Grace M.", "GRACE@example.com", "Computer scientist")]
    {
        let twin = serde_json::json!({"FirstName": first, "LastName": "Hopper", "Email": email, "Title": title});
        tokio::runtime::Runtime::new().unwrap().block_on(connect(&org).create("Contact", &twin)).unwrap();
    }
    // What wants to be markup, in each field that takes it.
    let markup = "<img src=x onerror=document.title='pwned'>";
    let hostile = serde_json::json!({"FirstName": &markup[..40], "LastName": markup, "Title": markup, "Department": markup,
        "Description": markup, "MailingCity": &markup[..40], "Phone": "\"><b>1", "Email": "hostile@example.com"});
    tokio::runtime::Runtime::new().unwrap().block_on(connect(&org).create("Contact", &hostile)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("t.db");
    let mut arguments = vec!["serve", "--listen", &address, "--allow-loopback", "--every", "1"];
    arguments.extend(["--database-url", database.to_str().unwrap()]);
    let mut service = tieline(&BTreeMap::new(), &arguments)
        .env("SALESFORCE_CLIENT_ID", org.get("client_id"))
        .env("SALESFORCE_CLIENT_SECRET", org.get("client_secret"))
        // A receiver of alerts is on this machine.
        .env("TIELINE_ALERT_ALLOW", "127.0.0.1")
        // Nobody looks at as many pages in a minute as the walk does.
        .env("TIELINE_RATE_LIMITS", "pages=off")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines().map(Result::unwrap);
    let setup = lines.by_ref().nth(1).unwrap();
    let pictures = std::env::var_os("TIELINE_TEST_PICTURES").map_or_else(|| folder.path().to_owned(), Into::into);
    let mut browser = Command::new(node)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/ui.mjs"))
        .env("TIELINE_TEST_CHROMIUM", chromium)
        .env("PAGE_URL", format!("http://{address}"))
        .env("SETUP_TOKEN", setup.rsplit(' ').next().unwrap())
        .env("ORG_URL", org.get("login_url"))
        .env("ORG_PASSWORD", org.get("password"))
        .env("CONTROL_URL", org.get("control_url"))
        .env("CHANGED_NAME", CHANGED)
        .env("SCREENSHOT_DIR", &pictures)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The change is made when the browser looks, not before.
    let mut talk = BufReader::new(browser.stderr.take().unwrap());
    let mut said = String::new();
    while talk.read_line(&mut said).unwrap() > 0 {
        if said.contains("change") {
            let contact = serde_json::json!({"LastName": CHANGED, "Email": "changed@example.com"});
            tokio::runtime::Runtime::new().unwrap().block_on(connect(&org).create("Contact", &contact)).unwrap();
            break;
        }
    }
    talk.read_to_string(&mut said).unwrap();
    let output = browser.wait_with_output().unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(output.status.success(), "{said}");
    let told = json(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(told["ok"], true);
    assert!(told["weights"]["/"]["bytes"].as_u64().unwrap() > 1_000, "{told}");
    if std::env::var_os("TIELINE_UPDATE_PICTURES").is_some() {
        for name in told_in_the_document() {
            std::fs::copy(pictures.join(&name), documents().join("pictures").join(&name)).unwrap();
        }
    }
}

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// File names of the pictures that docs/ui.md shows.
fn told_in_the_document() -> BTreeSet<String> {
    let text = std::fs::read_to_string(documents().join("ui.md")).unwrap();
    let after = text.split("(pictures/").skip(1);
    after.map(|rest| rest.split(')').next().unwrap().to_owned()).collect()
}

#[test]
fn the_document_shows_the_pictures_that_are_kept() {
    let kept = std::fs::read_dir(documents().join("pictures")).unwrap();
    let kept: BTreeSet<String> = kept.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(told_in_the_document(), kept, "TIELINE_UPDATE_PICTURES=1 with the test above takes them anew");
}
