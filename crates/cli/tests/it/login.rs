//! `tieline login` and the commands that live by it: a person logs in once, and every later command knows the org.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::consent::allow;
use crate::org::{Org, PROGRAM, json as parse, run, tieline};
use crate::parts::part;

/// A person's machine: a home of its own, and an app with a callback on it.
struct Home {
    folder: tempfile::TempDir,
    callback: String,
    org: Org,
}

impl Home {
    fn new() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let callback = format!("http://localhost:{port}/OauthRedirect");
        let org = Org::start(&["--contacts", "3", "--callback", &callback]);
        Home { folder: tempfile::tempdir().unwrap(), callback, org }
    }

    /// Nothing of a login in the environment.
    fn bare(&self) -> BTreeMap<String, String> {
        [("HOME".to_owned(), self.folder.path().display().to_string())].into()
    }

    fn app(&self) -> BTreeMap<String, String> {
        let mut environment = self.bare();
        for (name, value) in [
            ("SF_CLIENT_ID", self.org.get("client_id")),
            ("SF_CLIENT_SECRET", self.org.get("client_secret")),
            ("SF_REDIRECT_URI", &self.callback),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        environment
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&mut tieline(&self.bare(), arguments))
    }

    fn works(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    /// Begins a login; answers it with the line of standard error that holds `wanted`.
    fn begin(&self, arguments: &[&str], wanted: &str) -> (Child, String, BufReader<std::process::ChildStderr>) {
        let url = self.org.get("login_url");
        let arguments = [&["login", "--instance-url", url], arguments].concat();
        let mut child = tieline(&self.app(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended before it said {wanted}");
        }
        (child, line.trim().to_owned(), said)
    }

    /// Logs in as a person does, by the login page.
    fn log_in(&self, arguments: &[&str], username: &str) -> String {
        let (child, page, _said) = self.begin(&[&["--no-browser"], arguments].concat(), "/services/oauth2/authorize");
        allow(&self.org, &page, username);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    fn state(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(".local/state/tieline").join(name)
    }
}

#[test]
fn a_login_by_browser_serves_every_later_command_until_it_is_ended() {
    let home = Home::new();
    // Rotation, so that the commands must hand the newest refresh token on to each other.
    home.org.control("PUT", "app", &json!({"rotation": true, "pkce_required": true}));
    let (code, _, err) = home.run(&["query", "SELECT Id FROM Contact"]);
    assert!(code == 2 && err.contains("tieline login"), "{err}");
    let told = home.log_in(&["--alias", "one"], "admin@local.tieline.test");
    assert!(told.contains("as admin@local.tieline.test") && told.contains("the default org"), "{told}");

    assert_eq!(home.works(&["query", "--json", "SELECT Id FROM Contact"]).lines().count(), 3);
    let me = parse(&home.works(&["whoami", "--json"]));
    assert_eq!(
        (&me["username"], &me["alias"], &me["grant"]),
        (&json!("admin@local.tieline.test"), &json!("one"), &json!("refresh_token"))
    );
    let first = parse(&home.works(&["token", "--json"]));
    let again = parse(&home.works(&["token", "--json"]));
    assert_eq!((&first["access_token"], &again["from_cache"]), (&again["access_token"], &json!(true)));

    // The org has refused it: another one, once; whoever comes later with the same one finds that.
    let refuse = |token: &str| {
        let mut child = tieline(&home.bare(), &["token", "--json", "--refused", "-"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        parse(&String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
    };
    let old = first["access_token"].as_str().unwrap();
    let requests = || home.org.ledger()["token_requests"]["refresh_token"].as_u64().unwrap_or(0);
    let before = requests();
    let (second, third) = (refuse(old), refuse(old));
    assert_ne!(second["access_token"], first["access_token"]);
    assert_eq!((&third["access_token"], requests()), (&second["access_token"], before + 1), "refusal is by comparison");
    // A refresh token's access tokens are used for half an hour: an hour is too much to ask of the one at hand.
    let (code, out, err) = home.run(&["token", "--json", "--min-ttl", "3600"]);
    assert!(code == 0 && err.contains("warning: a new token is used for"), "{err}");
    assert_ne!(parse(&out)["access_token"], third["access_token"]);
    let (code, out, err) = home.run(&["token", "--json", "--min-ttl", "60"]);
    assert_eq!((code, err.as_str(), &parse(&out)["from_cache"]), (0, "", &json!(true)));
    let (code, _, err) = home.run(&["token", "--refused", "00Dxx!secret"]);
    assert!(code == 2 && err.contains("cannot be given as an argument") && !err.contains("secret"), "{err}");

    // A second user of the same org, by an alias of its own.
    home.log_in(&["--alias", "two"], "unapproved@local.tieline.test");
    let orgs = parse(&home.works(&["orgs", "--json"]));
    let aliases: Vec<_> = orgs
        .as_array()
        .unwrap()
        .iter()
        .map(|o| (o["alias"].as_str().unwrap(), o["default"].as_bool().unwrap()))
        .collect();
    assert_eq!(aliases, [("one", true), ("two", false)]);
    let who = |arguments: &[&str]| parse(&home.works(&[&["whoami", "--json"], arguments].concat()))["username"].clone();
    assert_eq!(who(&["--org", "two"]), "unapproved@local.tieline.test");
    assert_eq!(who(&["--org", "unapproved@local.tieline.test"]), "unapproved@local.tieline.test");
    home.works(&["orgs", "default", "two"]);
    assert_eq!(who(&[]), "unapproved@local.tieline.test");
    home.works(&["orgs", "rename", "two", "second"]);
    assert_eq!(who(&[]), "unapproved@local.tieline.test");
    let (code, _, err) = home.run(&["orgs", "rename", "second", "one"]);
    assert!(code == 2 && err.contains("another org is called `one` already"), "{err}");
    let (code, _, err) = home.run(&["query", "--org", "nowhere", "SELECT Id FROM User"]);
    assert!(code == 2 && err.contains("the saved orgs are one, second"), "{err}");
    // The environment goes before the default, and a name before both.
    let with_environment = home.org.login().into_iter().chain(home.bare()).collect::<BTreeMap<_, _>>();
    let (_, out, _) = run(&mut tieline(&with_environment, &["whoami", "--json"]));
    assert_eq!((&parse(&out)["alias"], &parse(&out)["grant"]), (&Value::Null, &json!("jwt-bearer")));
    let (_, out, _) = run(&mut tieline(&with_environment, &["whoami", "--json", "--org", "second"]));
    assert_eq!(parse(&out)["alias"], "second");

    // At rest: nothing that could be used, and for nobody else's eyes.
    let book = std::fs::read_to_string(home.state("orgs.json")).unwrap();
    assert!(
        book.contains("admin@local.tieline.test")
            && !book.contains("5Aep861")
            && !book.contains(home.org.get("client_secret")),
        "{book}"
    );
    for name in ["orgs.json", "tokens.json", "tokens.json.key"] {
        let mode = std::fs::metadata(home.state(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    assert_eq!(home.org.ledger()["spent_refresh_tokens_replayed"], 0);

    // Logging out ends it at the org, not just here.
    let token = home.works(&["token", "--org", "one"]).trim().to_owned();
    assert!(home.works(&["logout", "--org", "one"]).contains("Logged out of admin@local.tieline.test"));
    let mut dead = home.bare();
    dead.extend([
        ("SF_ACCESS_TOKEN".to_owned(), token),
        ("SF_INSTANCE_URL".to_owned(), home.org.get("instance_url").to_owned()),
    ]);
    assert_eq!(run(&mut tieline(&dead, &["query", "SELECT Id FROM User"])).0, 3, "its tokens are dead");
    home.works(&["logout", "--all"]);
    assert_eq!(home.works(&["orgs", "--json"]).trim(), "[]");
    assert!(!home.state("orgs.json").exists());
    let (code, _, err) = home.run(&["logout"]);
    assert!(code == 2 && err.contains("no org is saved as the default"), "{err}");
}

#[test]
fn the_browser_s_last_page_says_how_it_went() {
    let (Some(node), Some(chromium)) = (part("node", "TIELINE_TEST_NODE"), part("chromium", "TIELINE_TEST_CHROMIUM"))
    else {
        return;
    };
    let home = Home::new();
    let pictures = std::env::var_os("TIELINE_TEST_PICTURES").map_or_else(|| home.folder.path().to_owned(), Into::into);
    for (decision, code, heading) in [("Deny", 3, "The login did not work"), ("Allow", 0, "You are logged in")] {
        let (child, page, mut said) = home.begin(&["--no-browser", "--alias", "seen"], "/services/oauth2/authorize");
        let username = "unapproved@local.tieline.test";
        let output = Command::new(&node)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/login.mjs"))
            .env("TIELINE_TEST_CHROMIUM", &chromium)
            .envs([("PAGE_URL", page.as_str()), ("ORG_USERNAME", username), ("ORG_PASSWORD", home.org.get("password"))])
            .envs([("DECISION", decision), ("HEADING", heading)])
            .env("SCREENSHOT_DIR", &pictures)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let output = child.wait_with_output().unwrap();
        let mut err = String::new();
        said.read_to_string(&mut err).unwrap();
        assert_eq!(output.status.code(), Some(code), "{err}");
        if decision == "Deny" {
            assert!(err.contains("access_denied") && err.contains("hint: log in again and allow the app"), "{err}");
        }
    }
}

#[test]
fn a_machine_without_a_browser_shows_a_code() {
    let home = Home::new();
    let (child, line, mut said) = home.begin(&["--device", "--alias", "box", "--json"], "enter this code");
    let page = line.split_whitespace().find(|word| word.starts_with("http")).unwrap().to_owned();
    let mut code = String::new();
    while code.trim().is_empty() {
        code.clear();
        said.read_line(&mut code).unwrap();
    }
    allow(&home.org, &format!("{page}?user_code={}", code.trim()), "unapproved@local.tieline.test");
    let output = child.wait_with_output().unwrap();
    let told = parse(&String::from_utf8(output.stdout).unwrap());
    assert_eq!((&told["alias"], &told["username"]), (&json!("box"), &json!("unapproved@local.tieline.test")));
    assert_eq!(home.works(&["query", "--json", "SELECT Id FROM Contact"]).lines().count(), 3);
    // Orgs block the flow for the Salesforce CLI's app, so an app of one's own is needed.
    let (code, _, err) = home.run(&["login", "--device", "--instance-url", home.org.get("login_url")]);
    assert!(code == 2 && err.contains("needs an app of your own"), "{err}");
}

#[test]
fn a_login_of_the_environment_is_kept_and_one_that_cannot_be_ended_is_said() {
    let home = Home::new();
    let environment: BTreeMap<_, _> = home.org.login().into_iter().chain(home.bare()).collect();
    let (code, out, err) = run(&mut tieline(&environment, &["login", "--from-environment", "--alias", "ci", "--json"]));
    assert_eq!(code, 0, "{err}");
    assert_eq!((&parse(&out)["grant"], &parse(&out)["key"]), (&json!("jwt-bearer"), &json!("a file")));
    assert_eq!(home.works(&["query", "--json", "SELECT Id FROM Contact"]).lines().count(), 3);
    // The org goes away.
    home.org.control("POST", "faults", &json!({"path": "/services/oauth2/revoke", "times": 0, "status": 503}));
    let (code, _, err) = home.run(&["logout"]);
    assert!(code != 0 && err.contains("--forget"), "{code} {err}");
    assert_eq!(parse(&home.works(&["orgs", "--json"])).as_array().unwrap().len(), 1, "it is still saved");
    // Logging in again takes the revocation back.
    let (code, _, err) = run(&mut tieline(&environment, &["login", "--from-environment", "--alias", "ci"]));
    assert_eq!(code, 0, "{err}");
    home.works(&["query", "SELECT Id FROM Contact"]);
    let (code, out, err) = home.run(&["logout", "--forget"]);
    assert!(code == 0 && out.contains("Forgot") && err.contains("may live on"), "{out}{err}");
    // The key is sealed with the login: the file may go.
    home.org.control("DELETE", "faults", &Value::Null);
    assert_eq!(run(&mut tieline(&environment, &["login", "--from-environment", "--alias", "ci"])).0, 0);
    std::fs::remove_file(home.org.get("private_key_file")).unwrap();
    assert_eq!(home.works(&["query", "--json", "SELECT Id FROM Contact"]).lines().count(), 3);
}

#[test]
fn a_login_that_was_ended_in_a_fleet_s_store_is_begun_again_there() {
    let home = Home::new();
    let store = format!("file:{}", home.folder.path().join("fleet.json").display());
    let fleet = [("TIELINE_TOKEN_STORE".to_owned(), store)];
    let bare: BTreeMap<_, _> = home.bare().into_iter().chain(fleet).collect();
    let environment: BTreeMap<_, _> = home.org.login().into_iter().chain(bare.clone()).collect();
    // Also under a name that is the user's own, beside another of his.
    let name = home.org.get("username");
    for alias in ["ci", name] {
        let login = ["login", "--from-environment", "--alias", alias];
        let query = ["query", "--org", alias, "SELECT Id FROM Contact"];
        for _ in 0..2 {
            let (code, _, err) = run(&mut tieline(&environment, &login));
            assert_eq!(code, 0, "{err}");
            let (code, _, err) = run(&mut tieline(&bare, &query));
            assert_eq!(code, 0, "{alias}: {err}");
            let (code, _, err) = run(&mut tieline(&bare, &["logout", "--org", alias]));
            assert_eq!(code, 0, "{err}");
        }
        assert_eq!(run(&mut tieline(&environment, &login)).0, 0);
    }
}

#[test]
fn a_port_in_use_and_a_stranger_s_callback_are_refused() {
    let home = Home::new();
    let port: u16 = home.callback.split(':').nth(2).unwrap().split('/').next().unwrap().parse().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let arguments = ["login", "--instance-url", home.org.get("login_url"), "--no-browser"];
    let (code, _, err) = run(&mut tieline(&home.app(), &arguments));
    assert!(
        code == 1 && err.contains("could not listen on 127.0.0.1") && err.contains("another login may be waiting"),
        "{err}"
    );
    drop(taken);
    let mut elsewhere = home.app();
    elsewhere.insert("SF_REDIRECT_URI".to_owned(), "https://example.org/callback".to_owned());
    let (code, _, err) = run(&mut tieline(&elsewhere, &arguments));
    assert!(code == 2 && err.contains("it is not on this machine"), "{err}");
    // Nobody waits for a page that cannot open.
    let nowhere = ["login", "--instance-url", &format!("http://127.0.0.1:{port}"), "--no-browser"];
    let (code, _, err) = run(&mut tieline(&home.bare(), &nowhere));
    assert!(code == 4 && err.contains("cannot be reached") && !err.contains("Open this page"), "{err}");
    // A forged callback, which any page in the browser can ask for, is refused; the login goes on.
    let (child, page, _said) = home.begin(&["--no-browser", "--alias", "real"], "/services/oauth2/authorize");
    let requests = home.org.ledger()["token_requests"].clone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (status, told) = runtime.block_on(async {
        let answer = reqwest::get(format!("{}?code=stolen&state=forged", home.callback)).await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    });
    assert!(status == 400 && told.contains("This is not the answer to the login") && told.contains("state"), "{told}");
    assert_eq!(home.org.ledger()["token_requests"], requests, "nothing was sent to the org");
    allow(&home.org, &page, "admin@local.tieline.test");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

#[test]
fn a_second_user_takes_no_name_away_and_a_login_that_is_replaced_is_ended() {
    let home = Home::new();
    home.log_in(&[], "admin@local.tieline.test");
    home.log_in(&[], "unapproved@local.tieline.test");
    let orgs = parse(&home.works(&["orgs", "--json"]));
    let aliases: Vec<_> = orgs
        .as_array()
        .unwrap()
        .iter()
        .map(|o| (o["alias"].as_str().unwrap(), o["username"].as_str().unwrap()))
        .collect();
    assert_eq!(aliases, [("local", "admin@local.tieline.test"), ("local-2", "unapproved@local.tieline.test")]);
    // The same user again: one login, and the refresh token before lives no more.
    let alive = || home.org.ledger()["refresh_families"]["alive"].as_u64().unwrap();
    let before = alive();
    home.log_in(&[], "admin@local.tieline.test");
    assert_eq!((alive(), parse(&home.works(&["orgs", "--json"])).as_array().unwrap().len()), (before, 2));
    home.works(&["query", "--org", "local", "SELECT Id FROM Contact"]);
    // A variable that says how, and not who, is no login: the saved one is used, by that policy.
    let mut policy = home.bare();
    policy.insert("TIELINE_TOKEN_REUSE".to_owned(), "until_refused".to_owned());
    let (code, out, err) = run(&mut tieline(&policy, &["token", "--json", "--min-ttl", "100000"]));
    assert_eq!((code, err.as_str(), &parse(&out)["expires_at"]), (0, "", &Value::Null), "{out}{err}");
}

#[test]
fn two_logins_at_once_lose_nothing_of_each_other() {
    let home = Home::new();
    let environment: BTreeMap<_, _> = home.org.login().into_iter().chain(home.bare()).collect();
    let logins: Vec<Child> = (0..12)
        .map(|number| {
            let alias = format!("org{number}");
            tieline(&environment, &["login", "--from-environment", "--alias", &alias])
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut login in logins {
        assert!(login.wait().unwrap().success());
    }
    assert_eq!(parse(&home.works(&["orgs", "--json"])).as_array().unwrap().len(), 12);
}

#[test]
fn the_keychain_seals_saved_logins_where_there_is_one() {
    if part("keychain", "TIELINE_TEST_KEYCHAIN").is_none() {
        return;
    }
    let home = Home::new();
    let environment: Vec<(String, String)> = home.org.login().into_iter().collect();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let script = format!(
        "'{PROGRAM}' login --from-environment --alias kept --json && unset SF_CLIENT_ID SF_USERNAME SF_LOGIN_URL SF_PRIVATE_KEY_FILE \
         && '{PROGRAM}' whoami --json"
    );
    let (fine, out, err) = crate::keychain::in_session(home.folder.path(), &script, &environment);
    assert!(fine, "{out}{err}");
    let told: Vec<_> = out.lines().map(parse).collect();
    assert_eq!((&told[0]["key"], &told[1]["alias"]), (&json!("the keychain"), &json!("kept")));
    assert!(home.state("orgs.json").exists() && !home.state("tokens.json.key").exists(), "the key is elsewhere");
    // Without the keychain it says so, and opens nothing.
    let (code, _, err) = home.run(&["whoami"]);
    assert!(code != 0 && err.contains("keychain") && err.contains("hint:"), "{err}");
}
