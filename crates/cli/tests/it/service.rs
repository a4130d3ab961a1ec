//! The service with a real browser before it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::org::{Org, json, tieline};
use crate::parts::part;

#[test]
fn a_person_sets_the_service_up_and_connects_an_org_in_a_real_browser() {
    let (Some(node), Some(chromium)) = (part("node", "TIELINE_TEST_NODE"), part("chromium", "TIELINE_TEST_CHROMIUM"))
    else {
        return;
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let callback = format!("http://{address}/api/integrations/salesforce/callback");
    let org = Org::start(&["--contacts", "30", "--callback", &callback]);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("t.db");
    let arguments = ["serve", "--listen", &address, "--allow-loopback", "--database-url", database.to_str().unwrap()];
    let mut service = tieline(&BTreeMap::new(), &arguments)
        .env("SALESFORCE_CLIENT_ID", org.get("client_id"))
        .env("SALESFORCE_CLIENT_SECRET", org.get("client_secret"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(service.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().unwrap(), format!("tieline is ready at http://{address}"));
    let setup = said.next().unwrap();
    let token = setup.rsplit(' ').next().unwrap();
    let pictures = std::env::var_os("TIELINE_TEST_PICTURES").map_or_else(|| folder.path().to_owned(), Into::into);
    let output = Command::new(node)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/service.mjs"))
        .env("TIELINE_TEST_CHROMIUM", chromium)
        .env("PAGE_URL", format!("http://{address}"))
        .env("SETUP_TOKEN", token)
        .env("ORG_URL", org.get("login_url"))
        .env("ORG_PASSWORD", org.get("password"))
        .env("SCREENSHOT_DIR", pictures)
        .output()
        .unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json(&String::from_utf8(output.stdout).unwrap())["ok"], true);
}
