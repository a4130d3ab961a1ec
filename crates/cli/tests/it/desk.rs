//! A desk at which somebody sets up an org, and what the org looks like from there.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::org::{Org, json as parse, run, tieline};

pub(crate) type Environment = BTreeMap<String, String>;

/// A folder for what is written, and a home of its own.
pub(crate) struct Desk {
    pub(crate) folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Desk { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn out(&self) -> String {
        self.folder.path().join("out").display().to_string()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        let path = self.folder.path().join("out").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.folder.path().join("out")) else { return Vec::new() };
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The environment that the setup has written.
    pub(crate) fn login(&self) -> Environment {
        let text = self.read(".env.jwt");
        let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    pub(crate) fn environment(&self, more: &[(&str, &str)]) -> Environment {
        let home = self.folder.path().display().to_string();
        let own = [("HOME", home.as_str()), ("TMPDIR", home.as_str())];
        own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// `tieline setup …` as an administrator whose token is in the environment.
    pub(crate) fn setup(&self, org: &Org, more: &[&str]) -> Command {
        let out = self.out();
        let mut arguments = vec![
            "setup",
            "jwt",
            "--non-interactive",
            "--json",
            "--instance-url",
            org.get("instance_url"),
            "--output",
            &out,
            "--poll-seconds",
            "1",
        ];
        if !more.contains(&"--wait-seconds") {
            arguments.extend(["--wait-seconds", "8"]);
        }
        if more.first() == Some(&"rotate-certificate") {
            arguments[1] = "rotate-certificate";
        }
        arguments.extend(more.iter().filter(|argument| **argument != "rotate-certificate"));
        tieline(&self.environment(&[("SF_ACCESS_TOKEN", org.get("access_token"))]), &arguments)
    }

    /// Runs it; it has to succeed.
    pub(crate) fn done(&self, org: &Org, more: &[&str]) -> Value {
        let (code, out, err) = run(&mut self.setup(org, more));
        assert_eq!(code, 0, "{more:?}: {out}{err}");
        parse(&out)
    }

    /// Runs it; it has to fail with this code, message and hint.
    pub(crate) fn refused(&self, command: &mut Command, code: i32, said: &str, hinted: &str) {
        let (found, out, err) = run(command);
        let line = |start: &str| {
            err.lines().rev().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{err}")).to_owned()
        };
        assert_eq!(found, code, "{out}{err}");
        assert!(line("error: ").contains(said), "should say `{said}`: {err}");
        assert!(line("hint: ").contains(hinted), "should hint `{hinted}`: {err}");
        assert_eq!(out, "", "nothing on stdout");
    }
}

/// What the org has of apps and permission sets, by the control API and a query.
pub(crate) fn apps(org: &Org) -> Vec<String> {
    let mut names: Vec<String> =
        org.control("GET", "apps", &Value::Null).as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

fn ask(org: &Org, soql: &str) -> Vec<Value> {
    let (code, out, err) = run(&mut tieline(&org.login(), &["query", "--json", soql]));
    assert_eq!(code, 0, "{err}");
    out.lines().map(parse).collect()
}

/// Consumer secrets can be read by the Metadata API.
pub(crate) fn secrets_are_on(org: &Org) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = format!(
        "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Header><SessionHeader><sessionId>{}</sessionId></SessionHeader></e:Header>\
         <e:Body><readMetadata><type>ExternalClientAppSettings</type><fullNames>ExternalClientApp</fullNames></readMetadata></e:Body></e:Envelope>",
        org.get("access_token")
    );
    let url = format!("{}/services/Soap/m/67.0", org.get("instance_url"));
    let answer = runtime.block_on(async {
        let http = reqwest::Client::builder().build().unwrap();
        http.post(url).header("SOAPAction", "\"\"").body(body).send().await.unwrap().text().await.unwrap()
    });
    answer.contains("<enableConsumerSecretApiAccess>true<")
}

/// The org is as it was before: no app, no permission set, no switch.
pub(crate) fn assert_untouched(org: &Org) {
    assert_eq!(apps(org), ["Salesforce CLI", "tieline local app"]);
    assert!(ask(org, "SELECT Name FROM PermissionSet").is_empty());
    assert!(ask(org, "SELECT Id FROM PermissionSetAssignment").is_empty());
    assert!(!secrets_are_on(org));
}
