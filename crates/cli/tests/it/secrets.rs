//! Scenario 37, for the program: its output at the finest log level, its files, its page and its arguments hold none of
//! the org's secrets.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::org::{Org, run, tieline};

/// What must not be seen. The access tokens come in as they are issued.
fn secrets(org: &Org) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = ["client_secret", "password", "refresh_token", "access_token"]
        .into_iter()
        .map(|key| (key.to_owned(), org.get(key).to_owned()))
        .collect();
    let pem = std::fs::read_to_string(org.get("private_key_file")).unwrap();
    let line = pem.lines().nth(5).unwrap().to_owned();
    all.push(("private key".to_owned(), line));
    all
}

fn check(place: &str, text: &[u8], secrets: &[(String, String)]) {
    for (name, secret) in secrets {
        let found = text.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "the {name} is in {place}");
    }
    let text = String::from_utf8_lossy(text);
    let found = tieline_auth::redact::find(&text).map(|at| text[at].to_owned());
    assert!(found.is_none(), "{place} holds {found:?}");
}

fn check_files(folder: &Path, secrets: &[(String, String)]) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += check_files(&path, secrets);
        } else if let Ok(bytes) = std::fs::read(&path) {
            for (name, secret) in secrets {
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "the {name} is in {}", path.display());
            }
            count += 1;
        }
    }
    count
}

/// The arguments of every process of this program, as any user of the machine can read them.
fn check_arguments(secrets: &[(String, String)]) {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Ok(arguments) = std::fs::read(entry.path().join("cmdline")) {
            check("a process's arguments", &arguments, secrets);
        }
    }
}

#[test]
fn s37_the_program_shows_no_secret_in_logs_files_pages_or_arguments() {
    let org = Org::start(&["--contacts", "20"]);
    org.control("PUT", "app", &json!({"rotation": true}));
    let folder = tempfile::tempdir().unwrap();
    let mut secrets = secrets(&org);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let base = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let own = [
            ("SF_LOGIN_URL", org.get("login_url")),
            ("SF_CLIENT_ID", org.get("client_id")),
            ("SF_CLIENT_SECRET", org.get("client_secret")),
            ("TIELINE_LOG", "trace"),
            ("TMPDIR", folder.path().to_str().unwrap()),
        ];
        own.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let store = format!("file:{}", file("tokens.json"));
    let (username, password) = (org.get("username"), org.get("password"));
    let logins = [
        base(&[("SF_USERNAME", username), ("SF_PRIVATE_KEY_FILE", org.get("private_key_file"))]),
        base(&[("SF_REFRESH_TOKEN", org.get("refresh_token")), ("TIELINE_TOKEN_STORE", &store)]),
        base(&[("SF_USERNAME", username), ("SF_PASSWORD", password)]),
        base(&[]),
        base(&[("SF_ACCESS_TOKEN", org.get("access_token")), ("SF_INSTANCE_URL", org.get("instance_url"))]),
        // And logins that fail.
        base(&[("SF_USERNAME", username), ("SF_PASSWORD", "planted-wrong-password")]),
        base(&[("SF_REFRESH_TOKEN", "5Aep861plantedPlantedPlantedPlanted"), ("TIELINE_TOKEN_STORE", &store)]),
        base(&[("SF_USERNAME", username), ("SF_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\nplantedKeyBytes")]),
    ];
    secrets.extend(
        ["planted-wrong-password", "plantedPlanted", "plantedKeyBytes"].map(|s| ("planted".to_owned(), s.to_owned())),
    );
    for (number, login) in logins.iter().enumerate() {
        let (code, out, err) = run(&mut tieline(login, &["token"]));
        check(&format!("the log of login {number}"), err.as_bytes(), &secrets);
        if code == 0 {
            secrets.push(("access token".to_owned(), out.trim().to_owned()));
        } else {
            check("a failed command's output", out.as_bytes(), &secrets);
        }
        let (_, out, err) = run(&mut tieline(login, &["query", "SELECT Id FROM Contact LIMIT 1", "--json"]));
        check("a query's output", (out + &err).as_bytes(), &secrets);
    }
    let database = file("people.db");
    let (code, out, err) =
        run(&mut tieline(&logins[1], &["sync", "run", "--once", "--json", "--database-url", &database]));
    assert_eq!(code, 0, "{err}");
    check("a sync's output", (out + &err).as_bytes(), &secrets);

    // The service: page, log, files and arguments while it runs.
    let arguments =
        ["serve", "--listen", "127.0.0.1:0", "--no-sign-in", "--allow-loopback", "--database-url", &database];
    let log = std::fs::File::create(folder.path().join("serve.log")).unwrap();
    let mut service = tieline(&logins[1], &arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(service.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("tieline is ready at ").unwrap_or_else(|| panic!("{line}")).to_owned();
    std::thread::sleep(Duration::from_millis(500));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let page = runtime.block_on(async {
        let http = reqwest::Client::builder().build().unwrap();
        http.get(address).send().await.unwrap().text().await.unwrap()
    });
    check_arguments(&secrets);
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(page.contains("<h2"), "{page}");
    check("the page", page.as_bytes(), &secrets);
    let log = std::fs::read(folder.path().join("serve.log")).unwrap();
    assert!(log.len() > 1_000, "trace logs are long");
    check("the service's log", &log, &secrets);
    assert!(check_files(folder.path(), &secrets) >= 5, "database, tokens, keys and log");
}
