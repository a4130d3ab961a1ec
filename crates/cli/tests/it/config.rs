//! `tieline config check`, and what the service takes from its configuration.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::org::{self, json};
use crate::servers::Postgres;

fn check(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> (i32, BTreeMap<String, Value>, String) {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let arguments = [&["config", "check", "--json"], arguments].concat();
    let (code, out, err) = org::run(org::tieline(&environment, &arguments).current_dir(folder));
    let report = json(&out);
    assert_eq!(report["ok"], code == 0, "{out}{err}");
    let lines = report["checks"].as_array().unwrap().iter();
    (code, lines.map(|line| (line["name"].as_str().unwrap().to_owned(), line.clone())).collect(), out)
}

fn state<'a>(lines: &'a BTreeMap<String, Value>, name: &str) -> &'a str {
    lines.get(name).unwrap_or_else(|| panic!("{name}: {lines:?}"))["state"].as_str().unwrap()
}

const APP: &str = "3MVG9Nc1qcZ7BbZ0Ep18pfQsltTkFnFFbm4Mf";

#[test]
fn an_empty_folder_is_a_fine_configuration_and_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    let (code, lines, out) = check(folder.path(), &[], &[]);
    assert_eq!(code, 0, "{out}");
    for name in ["file", "listen", "public URL", "redirect URI", "database", "master key"] {
        assert_eq!(state(&lines, name), "ok", "{out}");
    }
    assert_eq!(state(&lines, "app"), "warning", "{out}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
    // For people: one line each.
    let (code, out, _) = org::run(org::tieline([], &["config", "check"]).current_dir(folder.path()));
    assert!(code == 0 && out.contains("ok       listen        127.0.0.1:7400\n"), "{out}");
}

#[test]
fn arguments_go_before_the_environment_and_that_before_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tieline.toml");
    let text = format!(
        "[serve]\nlisten = \"127.0.0.1:1111\"\npublic_url = \"https://file.example.com\"\n\n[database]\nurl = \"data/file.db\"\n\n\
         [salesforce]\nclient_id = \"{APP}\"\nclient_secret_file = \"secret\"\n"
    );
    std::fs::write(&file, text).unwrap();
    std::fs::write(folder.path().join("secret"), "planted\n").unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let detail = |lines: &BTreeMap<String, Value>, name: &str| lines[name]["detail"].as_str().unwrap().to_owned();
    let (code, lines, out) = check(folder.path(), &[], &[]);
    assert_eq!(code, 0, "{out}");
    assert_eq!(detail(&lines, "listen"), "127.0.0.1:1111");
    assert_eq!(detail(&lines, "public URL"), "https://file.example.com/");
    assert!(detail(&lines, "database").contains("data/file.db"), "{out}");
    assert!(detail(&lines, "app").contains("with a secret") && !out.contains("planted"), "{out}");
    assert!(detail(&lines, "redirect URI").starts_with("https://file.example.com/api/"), "{out}");

    let environment = [("APP_URL", "https://environment.example.com"), ("TIELINE_DATABASE_URL", "environment.db")];
    let (_, lines, _) = check(folder.path(), &environment, &[]);
    assert_eq!(detail(&lines, "public URL"), "https://environment.example.com/");
    assert!(detail(&lines, "database").starts_with("environment.db"));
    let arguments =
        ["--public-url", "https://argument.example.com", "--database-url", "argument.db", "--listen", "127.0.0.1:2222"];
    let (_, lines, _) = check(folder.path(), &environment, &arguments);
    assert_eq!(detail(&lines, "public URL"), "https://argument.example.com/");
    assert!(detail(&lines, "database").starts_with("argument.db"));
    assert_eq!(detail(&lines, "listen"), "127.0.0.1:2222");

    // Named from elsewhere, its files are still beside it.
    let elsewhere = tempfile::tempdir().unwrap();
    let (code, lines, out) = check(elsewhere.path(), &[("TIELINE_CONFIG", file.to_str().unwrap())], &[]);
    assert!(code == 0 && detail(&lines, "app").contains("with a secret"), "{out}");
    assert!(detail(&lines, "database").contains(folder.path().to_str().unwrap()), "{out}");
}

#[test]
fn what_would_stop_the_service_is_an_error_with_a_hint_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("no.db"),
        "this is no database, however long it may be, and never was one at all",
    )
    .unwrap();
    let usual = "https://crm.example.com/api/integrations/salesforce/callback";
    for (environment, arguments, name, hint) in [
        (vec![], vec!["--listen", "0.0.0.0:80"], "public URL", "APP_URL"),
        (vec![("APP_URL", "http://crm.example.com")], vec![], "public URL", "HTTPS"),
        (vec![("APP_URL", "crm")], vec![], "public URL", "https://crm.example.com"),
        (
            vec![("APP_URL", "https://crm.example.com"), ("SALESFORCE_REDIRECT_URI", "https://other.example.com/x")],
            vec![],
            "redirect URI",
            usual,
        ),
        (vec![("SALESFORCE_REDIRECT_URI", "callback")], vec![], "redirect URI", "to the letter"),
        (vec![], vec!["--database-url", "nowhere/t.db"], "database", "make it"),
        (vec![], vec!["--database-url", "no.db"], "database", "SQLite database"),
        (vec![], vec!["--database-url", "postgres://127.0.0.1:1/x"], "master key", "keys init"),
        (
            vec![("TIELINE_MASTER_KEY", "abc")],
            vec!["--database-url", "postgres://127.0.0.1:1/x"],
            "master key",
            "base64",
        ),
        (vec![], vec!["--config", "absent.toml"], "file", "TIELINE_CONFIG"),
        (vec![("SF_CLIENT_ID", APP)], vec![], "login", "SF_"),
    ] {
        let (code, lines, out) = check(folder.path(), &environment, &arguments);
        assert_eq!((code, state(&lines, name)), (2, "error"), "{environment:?} {arguments:?}: {out}");
        let told = lines[name]["hint"].as_str().unwrap();
        assert!(told.contains(hint), "{environment:?} {arguments:?}: {told}");
    }
    std::fs::write(folder.path().join("tieline.toml"), "[serve]\nlisten_on = \"127.0.0.1:80\"\n").unwrap();
    let (code, lines, _) = check(folder.path(), &[], &[]);
    assert!(code == 2 && lines["file"]["hint"].as_str().unwrap().contains("`listen`"), "{lines:?}");
    // The service itself says the same.
    let (code, _, err) = org::run(org::tieline([], &["serve"]).current_dir(folder.path()));
    assert!(
        code == 2 && err.contains("tieline.toml, line 2: there is no `listen_on`") && err.contains("hint: "),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_and_keys_are_tried_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let store = tieline_store::Store::open(&folder.path().join("t.db")).await.unwrap();
    let now = "2026-06-01T12:00:00Z".parse().unwrap();
    let credentials = tieline_store::Credentials::new(b"x".to_vec());
    store.own().save_integration("one", &credentials, now).await.unwrap();
    store.close().await;
    let before = std::fs::read(folder.path().join("t.db")).unwrap();
    let database = ["--database-url", "t.db"];
    let (code, lines, out) = check(folder.path(), &[], &database);
    assert!(code == 0 && state(&lines, "key canary") == "ok" && out.contains("the key is the one"), "{out}");
    std::fs::rename(folder.path().join("t.db.key"), folder.path().join("kept")).unwrap();
    let (code, lines, out) = check(folder.path(), &[], &database);
    assert!(code == 2 && state(&lines, "master key") == "error" && out.contains("from a backup"), "{out}");
    assert!(!folder.path().join("t.db.key").exists());
    assert_eq!(std::fs::read(folder.path().join("t.db")).unwrap(), before);

    let Some(server) = Postgres::start() else { return };
    let key = "ab".repeat(32);
    let environment = [("TIELINE_DATABASE_URL", server.url.as_str()), ("TIELINE_MASTER_KEY", &key)];
    let (code, lines, out) = check(folder.path(), &environment, &[]);
    assert!(code == 0 && out.contains("nothing there yet") && state(&lines, "clock") == "ok", "{out}");
    assert_eq!(server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    let ring = tieline_auth::keyring::Keyring::from_spec(&key, |_| None).unwrap();
    tieline_store::Store::connect(&server.url, ring).await.unwrap().close().await;
    let (code, lines, out) = check(folder.path(), &environment, &[]);
    assert!(code == 0 && state(&lines, "key canary") == "ok" && out.contains("schema "), "{out}");
    server.sql("UPDATE key_canaries SET sealed = wrapped");
    let (code, lines, out) = check(folder.path(), &environment, &[]);
    assert!(code == 2 && state(&lines, "key canary") == "error", "{out}");
    server.sql("UPDATE schema_support SET oldest_program = 70");
    let (code, lines, out) = check(folder.path(), &environment, &[]);
    assert!(code == 2 && lines["database"]["hint"].as_str().unwrap().contains("upgrade"), "{out}");
}

#[test]
fn the_service_runs_by_its_file() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("etc/data")).unwrap();
    let file = folder.path().join("etc/tieline.toml");
    std::fs::write(&file, "[serve]\nlisten = \"127.0.0.1:0\"\nno_sign_in = true\n\n[database]\nurl = \"data/t.db\"\n")
        .unwrap();
    let mut command = org::tieline([], &["serve", "--config", file.to_str().unwrap()]);
    let mut service = command.current_dir(folder.path()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(service.stdout.take().unwrap()).read_line(&mut line).unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    let port = line.trim().rsplit(':').next().unwrap();
    assert!(line.starts_with("tieline is ready at http://127.0.0.1:") && port != "7400" && port != "0", "{line}");
    assert!(folder.path().join("etc/data/t.db.key").exists() && !folder.path().join("tieline.db").exists());
}

#[test]
fn how_alerts_leave_is_read_and_no_password_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (url, from, allow) = ("TIELINE_SMTP_URL", "TIELINE_SMTP_FROM", "TIELINE_ALERT_ALLOW");
    let relay = (url, "smtps://ada:planted@relay.example.com");
    for (environment, expected, said) in [
        (vec![], "ok", "no mail; webhooks to public hosts alone"),
        (
            vec![relay, (from, "tieline <a@example.com>"), (allow, "10.0.0.0/8, relay.inner.example")],
            "ok",
            "mail by a relay; webhooks to public hosts and 2 more",
        ),
        (vec![relay], "error", "nobody whom its mail comes from"),
        (vec![(from, "a@example.com")], "error", "no relay is named"),
        (vec![(url, "http://ada:planted@relay.example.com"), (from, "a@example.com")], "error", "no scheme of mail"),
        (vec![(allow, "10.0.0.0/99")], "error", "10.0.0.0/99"),
    ] {
        let (code, lines, out) = check(folder.path(), &environment, &[]);
        assert_eq!((state(&lines, "alerts"), code == 0), (expected, expected == "ok"), "{out}");
        assert!(lines["alerts"]["detail"].as_str().unwrap().contains(said) && !out.contains("planted"), "{out}");
    }
    std::fs::write(folder.path().join("smtp"), "smtps://ada:planted@relay.example.com\n").unwrap();
    let text = "[alerts]\nmail_url_file = \"smtp\"\nmail_from = \"a@example.com\"\nallow = \"::1\"\n";
    std::fs::write(folder.path().join("tieline.toml"), text).unwrap();
    let (_, lines, out) = check(folder.path(), &[], &[]);
    assert_eq!(lines["alerts"]["detail"], "mail by a relay; webhooks to public hosts and 1 more", "{out}");
}
