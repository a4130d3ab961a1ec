//! A local org in a process of its own, and the program run against it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tieline");

/// `tieline emulate` with its credentials; ends with the value.
pub(crate) struct Org {
    process: Child,
    info: Value,
}

impl Org {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub(crate) fn start_with(arguments: &[&str], variables: &[(&str, &std::ffi::OsStr)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["emulate", "--json"]).args(arguments).envs(variables.iter().copied());
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let info = serde_json::from_str(&line).unwrap_or_else(|_| panic!("emulate printed `{line}`"));
        Org { process, info }
    }

    pub(crate) fn get(&self, key: &str) -> &str {
        self.info[key].as_str().unwrap_or_else(|| panic!("{key} is not in {}", self.info))
    }

    /// Asks the control API, and answers what it says.
    pub(crate) fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}/{path}", self.get("control_url"));
        let asking = async {
            let mut client = reqwest::Client::builder();
            if let Some(file) = self.info["ca_file"].as_str() {
                let authority = reqwest::Certificate::from_pem(&std::fs::read(file).unwrap()).unwrap();
                client = client.add_root_certificate(authority);
            }
            let request = client.build().unwrap().request(method.parse().unwrap(), url);
            let request = if body.is_null() { request } else { request.json(body) };
            let response = request.send().await.unwrap();
            assert!(response.status().is_success(), "{method} {path}: {}", response.status());
            response.text().await.unwrap()
        };
        // In a thread of its own: whoever asks may be within a runtime.
        let text = std::thread::scope(|scope| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            scope.spawn(move || runtime.block_on(asking)).join().unwrap()
        });
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// What the org itself counted.
    pub(crate) fn ledger(&self) -> Value {
        self.control("GET", "ledger", &Value::Null)
    }

    /// The environment of a JWT login.
    pub(crate) fn login(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("SF_LOGIN_URL", "login_url"),
            ("SF_CLIENT_ID", "client_id"),
            ("SF_USERNAME", "username"),
            ("SF_PRIVATE_KEY_FILE", "private_key_file"),
        ];
        pairs.into_iter().map(|(name, key)| (name.to_owned(), self.get(key).to_owned())).collect()
    }
}

impl Drop for Org {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // A killed org cannot remove its key folder.
        if let Some(folder) = Path::new(self.get("private_key_file")).parent() {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

/// The program with just these variables.
pub(crate) fn tieline<'a>(
    environment: impl IntoIterator<Item = (&'a String, &'a String)>,
    arguments: &[&str],
) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().envs(environment);
    command
}

pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    // Scenario 37, in every test that runs the program.
    let leak = tieline_auth::redact::find(&stderr).map(|at| stderr[at].to_owned());
    assert!(leak.is_none(), "{command:?} shows {leak:?}");
    (status.code().unwrap_or(-1), stdout, stderr)
}

/// The same, with that on standard input.
pub(crate) fn run_with(command: &mut Command, input: &str) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whoever does not read it all is no failure of this test.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text.trim()).unwrap_or_else(|e| panic!("{e}: {text}"))
}
