//! `tieline serve` as processes that are started, killed and stopped, and somebody who asks them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::org::{Org, PROGRAM};

pub(crate) const SETUP_TOKEN: &str = "the-setup-token";
/// 32 bytes, for databases that live as long as a test.
pub(crate) const MASTER_KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A process of the service.
pub(crate) struct Node {
    process: Child,
    pub(crate) url: String,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<JoinHandle<String>>,
}

/// How a node is started, each time alike and at the same address.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) address: String,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) arguments: Vec<String>,
    /// A program and its arguments that start the service in their turn.
    pub(crate) within: Vec<String>,
}

impl Plan {
    /// On that database, with the org as the integration `default`, and without limits.
    pub(crate) fn new(org: &Org, database: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut variables = org.login();
        for (name, value) in [
            ("TIELINE_SETUP_TOKEN", SETUP_TOKEN),
            ("TIELINE_LOG", "warn"),
            ("TIELINE_RATE_LIMITS", "api=off,pages=off,sign_in=off,sign_in_account=off,callback=off,wrong_keys=off"),
        ] {
            variables.insert(name.to_owned(), value.to_owned());
        }
        if database.starts_with("postgres:") {
            variables.insert("TIELINE_MASTER_KEY".to_owned(), MASTER_KEY.to_owned());
        }
        let arguments =
            ["serve", "--listen", &address, "--allow-loopback", "--every", "100000", "--database-url", database];
        let arguments = arguments.map(str::to_owned).to_vec();
        Self { address, variables, arguments, within: Vec::new() }
    }

    /// A worker on that database, beside whoever serves it; at its address it tells how it is.
    pub(crate) fn worker(org: &Org, database: &str, lease: u32) -> Self {
        let mut plan = Self::new(org, database);
        let lease = lease.to_string();
        let arguments = ["worker", "--listen", &plan.address, "--allow-loopback", "--every", "100000"];
        plan.arguments = arguments
            .into_iter()
            .chain(["--sync-lease", &lease, "--database-url", database])
            .map(str::to_owned)
            .collect();
        plan
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn start(&self) -> Node {
        let mut command = match self.within.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(PROGRAM).env("PATH", std::env::var_os("PATH").unwrap_or_default());
                command
            }
            None => {
                let mut command = Command::new(PROGRAM);
                command.env_clear();
                command
            }
        };
        command.args(&self.arguments).envs(&self.variables).stdin(Stdio::null());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut err = process.stderr.take().unwrap();
        // A pipe that nobody empties would hold the service up.
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            err.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready = line.trim() == format!("tieline is ready at http://{}", self.address)
            || line.starts_with("tieline works, ") && line.contains(&self.address);
        let mut node =
            Node { process, url: format!("http://{}", self.address), stdout: Some(stdout), stderr: Some(stderr) };
        if !ready {
            panic!("`{line}`: {}", node.kill());
        }
        node
    }
}

impl Node {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// kill -9; what it wrote on standard error.
    pub(crate) fn kill(&mut self) -> String {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.stderr.take().map(|thread| thread.join().unwrap()).unwrap_or_default()
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// SIGTERM; how it ended, after how long, and what it wrote on standard output and error.
    pub(crate) fn stop(mut self) -> (ExitStatus, Duration, String, String) {
        let begun = Instant::now();
        assert!(Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap().success());
        let status = self.process.wait().unwrap();
        let took = begun.elapsed();
        let mut out = String::new();
        self.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        (status, took, out, self.stderr.take().unwrap().join().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Somebody with an API key, who asks a node.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) http: Client,
    pub(crate) key: String,
}

impl Caller {
    /// The first user, who makes a key.
    pub(crate) async fn first(url: &str) -> Self {
        let http = Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        let first = json!({"token": SETUP_TOKEN, "email": "owner@example.com", "name": "Ada",
            "password": "correct horse battery", "business": "Acme"});
        let made = http.post(format!("{url}/api/setup")).json(&first).send().await.unwrap();
        assert_eq!(made.status(), 201);
        let cookie = made.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let csrf = made.json::<Value>().await.unwrap()["csrf_token"].as_str().unwrap().to_owned();
        let key = http.post(format!("{url}/api/keys")).header("cookie", cookie).header("x-csrf-token", csrf);
        let key = key.json(&json!({"name": "test", "role": "admin"})).send().await.unwrap();
        let key = key.json::<Value>().await.unwrap()["key"].as_str().unwrap().to_owned();
        Self { http, key }
    }

    /// None: the node did not answer.
    pub(crate) async fn ask(&self, method: Method, url: &str, body: Value) -> Option<(StatusCode, Value)> {
        let request = self.http.request(method, url).bearer_auth(&self.key);
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    pub(crate) async fn get(&self, url: &str) -> Option<(StatusCode, Value)> {
        self.ask(Method::GET, url, Value::Null).await
    }

    /// Asks for an import, which the node must take.
    pub(crate) async fn import(&self, url: &str, ids: &[String]) -> String {
        let url = format!("{url}/api/integrations/salesforce/contacts");
        let (status, import) = self.ask(Method::POST, &url, json!({"ids": ids})).await.unwrap();
        assert_eq!(status, 202, "{import}");
        import["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a question is answered as wanted, by whatever node.
    pub(crate) async fn until(
        &self,
        url: &str,
        longest: Duration,
        wanted: impl Fn(StatusCode, &Value) -> bool,
    ) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.get(url).await;
            if let Some((status, body)) = &answer
                && wanted(*status, body)
            {
                return body.clone();
            }
            assert!(begun.elapsed() < longest, "{url} after {longest:?}: {answer:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Ids of all contacts of the org.
pub(crate) async fn contact_ids(org: &Org) -> Vec<String> {
    use futures_util::TryStreamExt;
    let connection = crate::crashes::connect(org);
    let found: Vec<tieline_client::Record> =
        connection.query("SELECT Id FROM Contact ORDER BY Id").try_collect().await.unwrap();
    found.iter().map(|record| record["Id"].as_str().unwrap().to_owned()).collect()
}
