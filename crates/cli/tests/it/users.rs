//! `tieline users`, and signing in with a provider as an operator sets it up.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tieline_store::{Digest, NewUser, Session, Store, Uuid};

use crate::org::{self, json, tieline};
use crate::parts::part;

struct Place(tempfile::TempDir);

impl Place {
    /// A folder with a database of one user, who is signed in somewhere.
    async fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let store = place.store().await;
        let now = "2026-06-01T12:00:00Z".parse().unwrap();
        let new = NewUser { email: "ada@example.com", name: "Ada", password_hash: Some("$argon2id$x") };
        let user = store.set_up(&new, "Acme", "", now).await.unwrap().unwrap();
        let session = Session {
            id: Uuid::now_v7(),
            user_id: user.id,
            created_at: now,
            last_seen_at: now,
            expires_at: "9999-01-01T00:00:00Z".parse().unwrap(),
            address: String::new(),
            user_agent: String::new(),
        };
        store.begin_session(Digest::of("s"), &session, "password").await.unwrap();
        store.close().await;
        place
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("tieline.db")
    }

    async fn store(&self) -> Store {
        Store::open(&self.database()).await.unwrap()
    }

    fn run(&self, environment: &[(&str, &str)], arguments: &[&str]) -> (i32, String, String) {
        let environment: BTreeMap<String, String> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        org::run(tieline(&environment, arguments).current_dir(self.0.path()))
    }
}

#[tokio::test]
async fn an_operator_lists_users_ends_sessions_and_makes_reset_links() {
    let place = Place::new().await;
    let (code, out, err) = place.run(&[], &["users", "list", "--json"]);
    assert_eq!(code, 0, "{err}");
    let user = &json(&out)["users"][0];
    assert_eq!(
        (&user["email"], &user["sessions"], &user["has_password"]),
        (&"ada@example.com".into(), &1.into(), &true.into())
    );
    assert!(!out.contains("argon2id"), "{out}");
    let (_, out, _) = place.run(&[], &["users", "list"]);
    assert!(out.contains("ada@example.com") && out.contains("password"), "{out}");

    let (code, out, err) = place.run(&[], &["users", "end-sessions", "Ada@Example.com"]);
    assert_eq!((code, out.as_str()), (0, "Ended 1 session of ada@example.com.\n"), "{err}");
    // A name that was mistyped makes no database.
    let typo = ["users", "list", "--database-url", "sqlite:typo.db"];
    let (code, _, err) = place.run(&[], &typo);
    assert!(code == 2 && err.contains("there is no database typo.db"), "{err}");
    let (code, _, err) = place.run(&[], &typo);
    assert!(code == 2 && err.contains("there is no database"), "it was made all the same: {err}");
    let (code, _, err) = place.run(&[], &["users", "reset-password", "nobody@example.com"]);
    assert!(code == 2 && err.contains("the user nobody@example.com is not there"), "{err}");

    let environment = [("APP_URL", "https://crm.example.com")];
    let (code, out, err) = place.run(&environment, &["users", "reset-password", "ada@example.com"]);
    let token = out.strip_prefix("https://crm.example.com/reset#").map(str::trim_end);
    assert!(code == 0 && token.is_some_and(|token| token.len() == 43), "{out}{err}");
    // A second link ends the first; without a URL it is the token alone.
    let (code, second, err) = place.run(&[], &["users", "reset-password", "ada@example.com"]);
    assert!(code == 0 && second.trim_end().len() == 43 && err.contains("/reset"), "{second}{err}");
    let (_, third, _) = place.run(&environment, &["users", "reset-password", "ada@example.com", "--json"]);
    let third = json(&third);
    let store = place.store().await;
    let ends: jiff::Timestamp = third["expires_at"].as_str().unwrap().parse().unwrap();
    let before = ends - jiff::SignedDuration::from_secs(1);
    for (token, is_good) in
        [(token.unwrap(), false), (second.trim_end(), false), (third["token"].as_str().unwrap(), true)]
    {
        assert_eq!(store.password_reset(Digest::of(token), before).await.unwrap().is_some(), is_good);
    }
    let entries = store.audit_entries(&tieline_store::audit::AuditFilter::default(), None, 10).await.unwrap();
    let told: Vec<(&str, &str)> = entries.iter().map(|e| (e.action.as_str(), e.actor_type.as_str())).collect();
    assert_eq!(
        told[..4],
        [
            ("password.reset_created", "system"),
            ("password.reset_created", "system"),
            ("password.reset_created", "system"),
            ("session.ended", "system"),
        ]
    );
}

#[test]
fn a_provider_is_checked_before_the_service_starts() {
    let place = Place(tempfile::tempdir().unwrap());
    let check = |environment: &[(&str, &str)]| {
        let (code, out, _) = place.run(environment, &["config", "check", "--json"]);
        let report = json(&out);
        let lines = report["checks"].as_array().unwrap().clone();
        (code, lines.into_iter().find(|line| line["name"] == "sign-in").unwrap_or_default())
    };
    assert_eq!(check(&[]), (0, Value::Null), "nothing is set, and nothing said");
    for (environment, said) in [
        (&[("TIELINE_OIDC_ISSUER", "https://id.example.com")][..], "set in part"),
        (&[("TIELINE_OIDC_CLIENT_SECRET", "planted")], "set in part"),
        (&[("TIELINE_OIDC_ONLY", "true")], "set in part"),
        (&[("TIELINE_OIDC_ISSUER", "http://id.example.com"), ("TIELINE_OIDC_CLIENT_ID", "t")], "is not https"),
        (&[("TIELINE_OIDC_ISSUER", "http://127.0.0.1:9"), ("TIELINE_OIDC_CLIENT_ID", "t")], "does not answer"),
        (&[("TIELINE_OIDC_ONLY", "perhaps")], "neither true nor false"),
    ] {
        let (code, line) = check(environment);
        assert!(code == 2 && line["detail"].as_str().unwrap().contains(said), "{environment:?}: {line}");
        assert!(!line["hint"].as_str().unwrap().is_empty() && !line.to_string().contains("planted"), "{line}");
    }
    let file = "[oidc]\nissuer = \"http://127.0.0.1:9\"\nclient_id = \"t\"\nname = \"Example ID\"\nonly = true\n";
    std::fs::write(place.0.path().join("tieline.toml"), file).unwrap();
    assert!(check(&[]).1["detail"].as_str().unwrap().contains("does not answer"));
    let (code, _, err) = place.run(&[], &["serve", "--no-sign-in"]);
    assert!(code == 2 && err.contains("nobody signs in"), "{err}");
}

#[test]
fn a_person_signs_in_with_a_provider_in_a_real_browser() {
    let parts = [
        part("node", "TIELINE_TEST_NODE"),
        part("chromium", "TIELINE_TEST_CHROMIUM"),
        part("oidc", "TIELINE_TEST_OIDC_MODULES"),
    ];
    let [Some(node), Some(chromium), Some(modules)] = parts else { return };
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let mut provider = Command::new(&node)
        .arg(clients.join("../../../server/tests/clients/oidc_provider.mjs"))
        .env("TIELINE_TEST_OIDC_MODULES", modules)
        .env("REDIRECT_URI", format!("http://{address}/sign-in/callback"))
        .envs([("ALGORITHM", "RS256"), ("CLIENT_AUTH", "client_secret_basic"), ("CLIENT_SECRET", "planted-secret")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(provider.stdout.take().unwrap()).lines().map(Result::unwrap);
    let issuer = json(&said.next().unwrap())["issuer"].as_str().unwrap().to_owned();
    let place = Place(tempfile::tempdir().unwrap());
    let environment: BTreeMap<String, String> = [
        ("TIELINE_OIDC_ISSUER", issuer.as_str()),
        ("TIELINE_OIDC_CLIENT_ID", "tieline"),
        ("TIELINE_OIDC_CLIENT_SECRET", "planted-secret"),
        ("TIELINE_OIDC_NAME", "Example ID"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    let (code, out, err) = org::run(tieline(&environment, &["config", "check"]).current_dir(place.0.path()));
    assert!(code == 0 && out.contains("answers; the service proves itself by client_secret_basic"), "{out}{err}");
    let mut service = tieline(&environment, &["serve", "--listen", &address])
        .current_dir(place.0.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines().map(Result::unwrap);
    let token = lines.by_ref().nth(1).unwrap().rsplit(' ').next().unwrap().to_owned();
    let pictures = std::env::var_os("TIELINE_TEST_PICTURES").map_or_else(|| place.0.path().to_owned(), Into::into);
    let output = Command::new(node)
        .arg(clients.join("sign_in.mjs"))
        .env("TIELINE_TEST_CHROMIUM", chromium)
        .env("PAGE_URL", format!("http://{address}"))
        .env("SETUP_TOKEN", token)
        .env("SCREENSHOT_DIR", pictures)
        .output()
        .unwrap();
    for process in [&mut service, &mut provider] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    drop(said);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json(&String::from_utf8(output.stdout).unwrap())["ok"], true);
}
