//! What `tieline doctor` looks at, in the order in which a login depends on it: configuration, network, login, org.

mod configuration;
mod network;
mod org;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::failure::{FAILED, Failure};
use crate::settings::Chosen;
use crate::visible::visible;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Pass,
    /// It works, and there is something to look at; or it could not be found out.
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) state: State,
    pub(crate) detail: String,
    /// The next act; empty for what is in order.
    pub(crate) hint: String,
    /// Exit code of a failure.
    code: u8,
}

impl Check {
    fn pass(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, state: State::Pass, detail: detail.into(), hint: String::new(), code: 0 }
    }

    fn warn(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, state: State::Warn, detail: detail.into(), hint: hint.into(), code: 0 }
    }

    fn fail(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { name, state: State::Fail, detail: detail.into(), hint: hint.into(), code: FAILED }
    }

    fn failed(name: &'static str, failure: Failure) -> Self {
        let code = failure.code();
        Self { code, ..Self::fail(name, failure.message(), failure.hint().unwrap_or_default()) }
    }
}

/// The checks so far; tells each as it comes.
pub(crate) struct Report {
    quiet: bool,
    pub(crate) checks: Vec<Check>,
}

impl Report {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, checks: Vec::new() }
    }

    fn add(&mut self, check: Check) {
        if !self.quiet {
            let word = match check.state {
                State::Pass => console::style("pass").green(),
                State::Warn => console::style("warn").yellow(),
                State::Fail => console::style("fail").red().bold(),
            };
            let mut text = format!("{word}  {:<13} {}", check.name, visible(&check.detail));
            if !check.hint.is_empty() {
                text.push_str(&format!("\n      {:<13} {} {}", "", console::style("→").cyan(), visible(&check.hint)));
            }
            // A reader that has seen enough ends the output, not the checks.
            let _ = crate::output::line(&text);
        }
        self.checks.push(check);
    }

    fn add_all(&mut self, checks: Vec<Check>) {
        for check in checks {
            self.add(check);
        }
    }

    fn has_failed(&self) -> bool {
        self.worst() == State::Fail
    }

    pub(crate) fn worst(&self) -> State {
        self.checks.iter().map(|check| check.state).max().unwrap_or(State::Pass)
    }

    /// Exit code: that of the first failure, for what comes after it follows from it as a rule.
    pub(crate) fn code(&self, strict: bool) -> u8 {
        match self.worst() {
            State::Fail => {
                self.checks.iter().find(|check| check.state == State::Fail).map_or(FAILED, |check| check.code)
            }
            State::Warn if strict => FAILED,
            _ => 0,
        }
    }

    pub(crate) fn json(&self) -> Value {
        let word = |state: State| match state {
            State::Pass => "pass",
            State::Warn => "warn",
            State::Fail => "fail",
        };
        let checks: Vec<_> = self
            .checks
            .iter()
            .map(|check| json!({"name": check.name, "state": word(check.state), "detail": check.detail, "hint": check.hint}))
            .collect();
        json!({"result": word(self.worst()), "checks": checks})
    }
}

/// Runs all checks that can be run; what depends on something that failed is left out.
pub(crate) async fn examine(report: &mut Report, chosen: &Chosen, certificate: Option<PathBuf>) {
    let connection = &chosen.connection;
    let config = connection.credentials().config().clone();
    report.add_all(configuration::check(&config, certificate, chosen).await);
    report.add_all(network::check(&config).await);
    if report.has_failed()
        && report.checks.iter().any(|check| check.state == State::Fail && matches!(check.name, "DNS" | "TLS"))
    {
        return;
    }
    let (checks, logged_in) = org::login(connection).await;
    report.add_all(checks);
    if let Some(connection) = logged_in {
        report.add_all(org::check(&connection).await);
    }
}

/// The configuration itself cannot lead to a login.
pub(crate) fn cannot_begin(report: &mut Report, failure: Failure) {
    report.add(Check::failed("configuration", failure));
}
