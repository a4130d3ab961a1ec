//! `tieline broker`: the token broker on any host.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::org::{Org, PROGRAM, json as parse, run, tieline};
use crate::parts::part;

pub(crate) const SECRET: &str = "planted-secret-of-the-broker-0123456789";

/// A broker on a free port; ends with the value.
pub(crate) struct Broker {
    process: Child,
    pub(crate) port: u16,
}

impl Broker {
    pub(crate) fn start<'a>(
        environment: impl IntoIterator<Item = (&'a String, &'a String)>,
        arguments: &[&str],
    ) -> Self {
        let mut process = tieline(environment, &["broker", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .env("TIELINE_BROKER_TOKEN", SECRET)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.contains(SECRET));
        let port = line.split("localhost:").nth(1).and_then(|rest| rest.split(' ').next());
        let port = port.unwrap_or_else(|| panic!("broker printed `{line}`")).parse().unwrap();
        Broker { process, port }
    }

    fn ask(&self, query: &str) -> (u16, Value) {
        let url = format!("http://localhost:{}/v1/token{query}", self.port);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let request = reqwest::Client::builder().build().unwrap().get(url).header("X-Tieline-Token", SECRET);
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), parse(&answer.text().await.unwrap()))
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_broker_that_is_killed_and_started_again_logs_in_once_with_a_store() {
    let org = Org::start(&["--contacts", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let mut login = org.login();
    login.insert("TIELINE_TOKEN_STORE".to_owned(), format!("file:{}", folder.path().join("tokens.json").display()));
    let mut broker = Broker::start(&login, &[]);
    let (status, first) = broker.ask("");
    assert_eq!((status, &first["api_version"]), (200, &json!("67.0")), "{first}");
    broker.process.kill().unwrap();
    broker.process.wait().unwrap();
    let broker = Broker::start(&login, &[]);
    let (_, again) = broker.ask("?connection=default");
    assert_eq!((&again["access_token"], &again["from_cache"]), (&first["access_token"], &json!(true)));
    assert_eq!(org.ledger()["logins"], 1);
    // A signal ends it well.
    let ended = Command::new("kill").args(["-TERM", &broker.process.id().to_string()]).status().unwrap();
    assert!(ended.success());
    let mut broker = broker;
    assert!(broker.process.wait().unwrap().success());
}

#[test]
fn saved_orgs_are_handed_out_by_their_aliases() {
    let org = Org::start(&["--contacts", "0"]);
    let home = tempfile::tempdir().unwrap();
    let state = ("XDG_STATE_HOME".to_owned(), home.path().display().to_string());
    let mut login = tieline(&org.login(), &["login", "--alias", "acme", "--from-environment", "--credentials", "file"]);
    let (code, _, err) = run(login.env(&state.0, &state.1));
    assert_eq!(code, 0, "{err}");
    let environment = [state];
    let environment = || environment.iter().map(|(name, value)| (name, value));
    let broker = Broker::start(environment(), &["--connection", "acme"]);
    assert_eq!(broker.ask("?connection=acme").0, 200);
    assert_eq!(broker.ask("").0, 200, "the only saved org is the default one too");
    let (status, told) = broker.ask("?connection=other");
    assert_eq!((status, &told["code"]), (404, &json!("unknown_connection")));
    assert!(told["hint"].as_str().unwrap().contains("acme, default"), "{told}");
    let mut unknown = tieline(environment(), &["broker", "--connection", "other", "--listen", "127.0.0.1:0"]);
    let (code, _, err) = run(unknown.env("TIELINE_BROKER_TOKEN", SECRET));
    assert!(code == 2 && err.contains("no saved org is called `other`"), "{err}");
}

#[test]
fn connections_are_read_from_files_too() {
    let org = Org::start(&["--contacts", "0"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("crm.json");
    let login = json!({ "SF_LOGIN_URL": org.get("login_url"), "SF_CLIENT_ID": org.get("client_id"), "SF_CLIENT_SECRET": org.get("client_secret") });
    std::fs::write(&file, login.to_string()).unwrap();
    let environment = [("TIELINE_CONNECTIONS".to_owned(), format!("crm=file:{}", file.display()))];
    let broker = Broker::start(environment.iter().map(|(name, value)| (name, value)), &[]);
    let (status, told) = broker.ask("?connection=crm");
    assert_eq!(status, 200, "{told}");
    assert_eq!(broker.ask("").0, 404, "there is no default one");
}

#[test]
fn what_is_missing_is_told_before_anything_listens() {
    let org = Org::start(&["--contacts", "0"]);
    let login = org.login();
    let start = |secret: Option<&str>, arguments: &[&str]| {
        let mut command = tieline(&login, &["broker", "--listen", "127.0.0.1:0"]);
        command.args(arguments);
        if let Some(secret) = secret {
            command.env("TIELINE_BROKER_TOKEN", secret);
        }
        run(&mut command)
    };
    for (secret, said) in [
        (None, "TIELINE_BROKER_TOKEN is not set"),
        (Some(""), "TIELINE_BROKER_TOKEN is empty"),
        (Some("short"), "16 visible ASCII characters"),
        (Some("with a space in it, sadly"), "16 visible ASCII characters"),
    ] {
        let (code, _, err) = start(secret, &[]);
        assert!(code == 2 && err.contains(said) && err.contains("openssl rand -hex 32"), "{err}");
    }
    let mut wide = tieline(&login, &["broker", "--listen", "0.0.0.0:0"]);
    let (code, _, err) = run(wide.env("TIELINE_BROKER_TOKEN", SECRET));
    assert!(code == 2 && err.contains("other machines"), "{err}");
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = stranger.local_addr().unwrap().to_string();
    let mut taken = tieline(&login, &["broker", "--listen", &taken]);
    let (code, _, err) = run(taken.env("TIELINE_BROKER_TOKEN", SECRET));
    assert!(code == 1 && err.contains("cannot listen on") && err.contains("hint: another program listens"), "{err}");
    let nothing =
        Command::new(PROGRAM).args(["broker"]).env_clear().env("TIELINE_BROKER_TOKEN", SECRET).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2), "{}", String::from_utf8_lossy(&nothing.stderr));
}

#[test]
fn the_extension_names_the_version_that_the_client_calls() {
    assert_eq!(tieline_lambda::extension::API_VERSION, tieline_client::DEFAULT_API_VERSION);
}

/// The programs of docs/broker.md, as they stand there, with another port and a call at the end.
fn program(language: &str, port: u16, call: &str) -> String {
    let page = include_str!("../../../../docs/broker.md");
    let code = page.split(&format!("```{language}\n")).nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(code.contains("localhost:2774"));
    format!("{}\n{call}\n", code.replace("localhost:2774", &format!("localhost:{port}")))
}

#[test]
fn the_programs_of_the_documentation_work_and_one_meets_a_revoked_token() {
    let (Some(node), Some(python)) = (part("node", "TIELINE_TEST_NODE"), part("python", "TIELINE_TEST_PYTHON")) else {
        return;
    };
    let org = Org::start(&["--contacts", "5", "--tls"]);
    let mut login = org.login();
    login.insert("SSL_CERT_FILE".to_owned(), org.get("ca_file").to_owned());
    login.insert("TIELINE_TOKEN_REUSE".to_owned(), "until_refused".to_owned());
    let broker = Broker::start(&login, &[]);
    let folder = tempfile::tempdir().unwrap();
    let modules = std::env::var_os("TIELINE_TEST_NODE_MODULES").unwrap();
    std::os::unix::fs::symlink(modules, folder.path().join("node_modules")).unwrap();
    let call = "console.log(JSON.stringify({ found: (await conn.query('SELECT Id FROM Contact')).totalSize }));";
    let file = folder.path().join("program.mjs");
    std::fs::write(&file, program("js", broker.port, call)).unwrap();
    let mut javascript = Command::new(node);
    javascript.arg(&file);
    let call = "print('{\"found\": %d}' % sf.query('SELECT Id FROM Contact')['totalSize'])";
    let file = folder.path().join("program.py");
    std::fs::write(&file, program("python", broker.port, call)).unwrap();
    let mut snake = Command::new(python);
    snake.arg(&file);
    for command in [&mut javascript, &mut snake] {
        let (code, out, err) = run(command
            .env("TIELINE_BROKER_TOKEN", SECRET)
            .env("NODE_EXTRA_CA_CERTS", org.get("ca_file"))
            .env("REQUESTS_CA_BUNDLE", org.get("ca_file")));
        assert_eq!((code, parse(&out)["found"].as_u64()), (0, Some(5)), "{err}");
    }
    assert_eq!(org.ledger()["logins"], 1, "both had the same token");
    org.control("POST", "tokens/revoke", &json!({ "all": true }));
    let (code, out, err) = run(&mut javascript);
    assert_eq!((code, parse(&out)["found"].as_u64()), (0, Some(5)), "{err}");
    assert_eq!(org.ledger()["logins"], 2);
}
