//! A token store whose key lives in a real keychain: GNOME's, on a session bus of the test's own.

use std::process::Command;

use crate::org::{Org, PROGRAM, json};
use crate::parts::part;

/// Runs shell commands in a session with an unlocked keychain, in a home of its own.
pub(crate) fn in_session(home: &std::path::Path, script: &str, environment: &[(&str, &str)]) -> (bool, String, String) {
    let session = format!(
        r#"echo -n test | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1
        {script}"#
    );
    let output = Command::new("dbus-run-session")
        .args(["--", "sh", "-c", &session])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_keychain_holds_the_key_and_the_next_process_finds_the_token() {
    if part("keychain", "TIELINE_TEST_KEYCHAIN").is_none() {
        return;
    }
    let org = Org::start(&["--contacts", "0"]);
    let home = tempfile::tempdir().unwrap();
    let environment: Vec<(&str, &str)> = vec![
        ("SF_LOGIN_URL", org.get("login_url")),
        ("SF_CLIENT_ID", org.get("client_id")),
        ("SF_USERNAME", org.get("username")),
        ("SF_PRIVATE_KEY_FILE", org.get("private_key_file")),
        ("TIELINE_TOKEN_STORE", "keychain:"),
    ];
    let twice = format!("'{PROGRAM}' token --json && '{PROGRAM}' token --json");
    let (fine, out, err) = in_session(home.path(), &twice, &environment);
    assert!(fine, "{out}{err}");
    let told: Vec<_> = out.lines().map(json).collect();
    assert_eq!((&told[0]["from_cache"], &told[1]["from_cache"]), (&false.into(), &true.into()), "{out}");
    assert_eq!(told[0]["access_token"], told[1]["access_token"]);
    assert_eq!(org.ledger()["logins"], 1);
    let folder = home.path().join(".local/state/tieline");
    assert!(folder.join("tokens.json").exists() && !folder.join("tokens.json.key").exists(), "the key is elsewhere");

    // Without a keychain it says so, and does not fall back to something weaker.
    let output = Command::new(PROGRAM).arg("token").env_clear().envs(environment).env("HOME", home.path()).output();
    let output = output.unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && err.contains("keychain") && err.contains("hint:"), "{err}");
}
