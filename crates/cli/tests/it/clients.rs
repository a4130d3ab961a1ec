//! Real clients, unchanged, against the local org over HTTPS.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::org::{Org, json, run};
use crate::parts::part;

const CONTACTS: usize = 4_500;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Runs a client's script; it has checked everything itself and prints what it saw.
fn passes(command: &mut Command, org: &Org) -> serde_json::Value {
    let pairs = [
        ("SF_LOGIN_URL", "login_url"),
        ("SF_INSTANCE_URL", "instance_url"),
        ("SF_CLIENT_ID", "client_id"),
        ("SF_CLIENT_SECRET", "client_secret"),
        ("SF_REFRESH_TOKEN", "refresh_token"),
        ("SF_ACCESS_TOKEN", "access_token"),
        ("NODE_EXTRA_CA_CERTS", "ca_file"),
        ("REQUESTS_CA_BUNDLE", "ca_file"),
    ];
    command.envs(pairs.map(|(name, key)| (name, org.get(key)))).env("EXPECT_CONTACTS", CONTACTS.to_string());
    let (code, out, err) = run(command);
    assert_eq!(code, 0, "{out}{err}");
    let told = json(&out);
    assert_eq!((&told["ok"], &told["contacts"]), (&true.into(), &CONTACTS.into()), "{told}");
    told
}

#[test]
fn jsforce_refreshes_reads_creates_updates_and_deletes() {
    let Some(node) = part("node", "TIELINE_TEST_NODE") else { return };
    let org = Org::start(&["--tls", "--contacts", &CONTACTS.to_string()]);
    let told = passes(Command::new(node).arg(script("jsforce.mjs")), &org);
    assert_eq!(told["refreshes"], 1);
}

#[test]
fn jsforce_logs_in_in_every_way_that_it_knows() {
    let Some(node) = part("node", "TIELINE_TEST_NODE") else { return };
    let org = Org::start(&["--contacts", "3"]);
    let mut command = Command::new(node);
    let pairs = [
        ("SF_LOGIN_URL", "login_url"),
        ("SF_CLIENT_ID", "client_id"),
        ("SF_CLIENT_SECRET", "client_secret"),
        ("ORG_USERNAME", "username"),
        ("ORG_PASSWORD", "password"),
    ];
    command.arg(script("jsforce_logins.mjs")).envs(pairs.map(|(name, key)| (name, org.get(key))));
    let (code, out, err) = run(&mut command);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(json(&out)["logins"].as_array().unwrap().len(), 4);
}

#[test]
fn jsforce_loads_and_exports_in_bulk() {
    let Some(node) = part("node", "TIELINE_TEST_NODE") else { return };
    let org = Org::start(&["--tls", "--contacts", &CONTACTS.to_string()]);
    passes(Command::new(node).arg(script("jsforce_bulk.mjs")), &org);
}

#[test]
fn simple_salesforce_loads_and_exports_in_bulk() {
    let Some(python) = part("python", "TIELINE_TEST_PYTHON") else { return };
    let org = Org::start(&["--tls", "--contacts", &CONTACTS.to_string()]);
    passes(Command::new(python).arg(script("simple_salesforce_bulk.py")), &org);
}

#[test]
fn simple_salesforce_reads_creates_updates_and_deletes() {
    let Some(python) = part("python", "TIELINE_TEST_PYTHON") else { return };
    let org = Org::start(&["--tls", "--contacts", &CONTACTS.to_string()]);
    passes(Command::new(python).arg(script("simple_salesforce_client.py")), &org);
}
