//! What `tieline config check` looks at. Nothing is changed by it, in the database or anywhere else.

use serde_json::{Value, json};
use tieline_auth::keyring::Keyring;
use tieline_auth::{Clock, SystemClock};
use tieline_server::OpenIdProvider;
use tieline_store::Canary;
use tieline_store::inspection::{Inspection, inspect_file, inspect_server};
use tieline_sync::integration;
use url::Url;

use crate::commands::serve::Serve;
use crate::config::{File, USUAL, open_id};
use crate::failure::Failure;
use crate::settings::Address;
use crate::visible::visible;

/// Beginning of every consumer key that Salesforce has given so far. Source: Connected App and External Client App
/// pages; the format is promised nowhere, so another one is a warning.
const APP_ID: &str = "3MVG9";

/// Clocks that differ by more make tokens and sessions end too early or too late. JWT logins are refused from three
/// minutes on.
const CLOCKS_APART: i64 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Ok,
    Warning,
    Error,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Error => "error",
        }
    }
}

struct Line {
    name: &'static str,
    state: State,
    detail: String,
    hint: String,
}

/// The lines so far; tells each as it comes.
pub(crate) struct Report {
    quiet: bool,
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, lines: Vec::new() }
    }

    pub(crate) fn worst(&self) -> State {
        self.lines.iter().map(|line| line.state).max().unwrap_or(State::Ok)
    }

    pub(crate) fn json(&self) -> Value {
        let line = |line: &Line| json!({ "name": line.name, "state": line.state.name(), "detail": line.detail, "hint": line.hint });
        json!({ "ok": self.worst() < State::Error, "checks": self.lines.iter().map(line).collect::<Vec<_>>() })
    }

    fn ok(&mut self, name: &'static str, detail: impl Into<String>) {
        self.add(name, State::Ok, detail.into(), String::new());
    }

    fn warn(&mut self, name: &'static str, detail: impl Into<String>, hint: impl Into<String>) {
        self.add(name, State::Warning, detail.into(), hint.into());
    }

    fn error(&mut self, name: &'static str, detail: impl Into<String>, hint: impl Into<String>) {
        self.add(name, State::Error, detail.into(), hint.into());
    }

    pub(crate) fn failed(&mut self, name: &'static str, failure: &Failure) {
        self.error(name, failure.message(), failure.hint().unwrap_or_default());
    }

    fn add(&mut self, name: &'static str, state: State, detail: String, hint: String) {
        if !self.quiet {
            let word = console::style(format!("{:<7}", state.name()));
            let word = match state {
                State::Ok => word.green(),
                State::Warning => word.yellow(),
                State::Error => word.red().bold(),
            };
            let mut text = format!("{word}  {name:<13} {}", visible(&detail));
            if !hint.is_empty() {
                text.push_str(&format!("\n         {:<13} {} {}", "", console::style("→").cyan(), visible(&hint)));
            }
            // A reader that has seen enough ends the output, not the checks.
            let _ = crate::output::line(&text);
        }
        self.lines.push(Line { name, state, detail, hint });
    }
}

/// Looks at everything, in the order in which one thing needs another.
pub(crate) async fn examine(report: &mut Report, serve: &Serve) {
    let file = match serve.database.file() {
        Ok(file) => file,
        // What else holds depends on it.
        Err(failure) => return report.failed("file", &failure),
    };
    match file.path() {
        Some(path) => {
            report.ok("file", format!("{} says {}", path.display(), crate::output::count(file.len() as u64, "setting")))
        }
        None => report.ok("file", format!("there is no {USUAL} here: environment and defaults alone")),
    }
    let public_url = addresses(report, serve, &file);
    app(report, &file, public_url.as_ref());
    alerts(report, &file);
    login(report);
    sign_in(report, &file, public_url.as_ref()).await;
    let ring = keys(report, serve, &file);
    if let Ok(ring) = ring {
        database(report, serve, &file, ring.as_ref()).await;
    }
}

/// Nothing is sent: whether the relay takes mail is seen by a channel's test.
fn alerts(report: &mut Report, file: &File) {
    match crate::commands::serve::outbound(file) {
        Ok(outbound) => {
            let mail = if outbound.mail.is_some() { "mail by a relay" } else { "no mail" };
            let beyond = match outbound.policy.allow.len() {
                0 => "public hosts alone".to_owned(),
                more => format!("public hosts and {more} more"),
            };
            report.ok("alerts", format!("{mail}; webhooks to {beyond}"));
        }
        Err(failure) => report.failed("alerts", &failure),
    }
}

fn addresses(report: &mut Report, serve: &Serve, file: &File) -> Option<Url> {
    match serve.listen(file) {
        Ok(listen) => report.ok("listen", listen.to_string()),
        Err(failure) => {
            report.failed("listen", &failure);
            return None;
        }
    }
    let told = match serve.told_url(file).and_then(|url| serve.check(file, url.as_ref()).map(|()| url)) {
        Ok(told) => told,
        Err(failure) => {
            report.failed("public URL", &failure);
            return None;
        }
    };
    match &told {
        Some(url) if !matches!(url.path(), "" | "/") => report.warn(
            "public URL",
            format!("{url} has a path, and pages are found at its root alone"),
            "give the service a host name of its own",
        ),
        Some(url) => report.ok("public URL", url.to_string()),
        None => report.ok("public URL", "none: it is reached on this machine alone"),
    }
    told
}

fn app(report: &mut Report, file: &File, public_url: Option<&Url>) {
    let app = match Serve::app(file) {
        Ok(app) => app,
        Err(failure) => return report.failed("app", &failure),
    };
    match &app {
        None => report.warn(
            "app",
            "no app is named: orgs cannot be connected by a login in the browser",
            "set SALESFORCE_CLIENT_ID and SALESFORCE_CLIENT_SECRET (docs/setup.md)",
        ),
        Some(app) if !app.client_id.starts_with(APP_ID) || app.client_id.chars().any(char::is_whitespace) => report
            .warn(
                "app",
                format!("the app's id does not look like one: they begin with {APP_ID}"),
                "copy the consumer key of the app, without spaces",
            ),
        Some(app) => {
            let secret = if app.client_secret.is_some() { "with" } else { "without" };
            report.ok("app", format!("{}…, {secret} a secret", app.client_id.chars().take(9).collect::<String>()));
        }
    }
    let redirect = match Serve::redirect_uri(file) {
        Ok(redirect) => redirect,
        Err(failure) => return report.failed("redirect URI", &failure),
    };
    let usual = public_url.and_then(|url| url.join("/api/integrations/salesforce/callback").ok());
    match (redirect, usual) {
        (None, Some(usual)) => report.ok("redirect URI", format!("{usual}, which the app must have as a callback URL")),
        (None, None) => report.ok("redirect URI", "the usual one on this machine"),
        (Some(uri), Some(usual)) if uri == usual => report.ok("redirect URI", uri.to_string()),
        (Some(uri), Some(usual)) if uri.origin() == usual.origin() => report.warn(
            "redirect URI",
            format!("{uri} is not the usual {usual}: a proxy must lead the one to the other"),
            "leave SALESFORCE_REDIRECT_URI out, and give the app the usual one",
        ),
        (Some(uri), Some(usual)) => report.error(
            "redirect URI",
            format!("{uri} is not under the public URL: the browser would not come back here"),
            format!("set SALESFORCE_REDIRECT_URI={usual}, or leave it out"),
        ),
        (Some(uri), None) => {
            report.warn("redirect URI", format!("{uri} cannot be compared: no public URL is set"), "set APP_URL")
        }
    }
}

/// The login that becomes the integration `default`.
fn login(report: &mut Report) {
    let variable = |name: &str| std::env::var(name).ok();
    if !integration::is_any_set(variable) {
        return;
    }
    match integration::capture(variable) {
        Ok(_) => report.ok("login", "the SF_* variables are complete"),
        Err(error) => report.error("login", error.to_string(), error.hint()),
    }
}

/// The provider that people may sign in with; nothing, where none is set.
async fn sign_in(report: &mut Report, file: &File, public_url: Option<&Url>) {
    const NAME: &str = "sign-in";
    let told = match open_id(file) {
        Ok(Some(told)) => told,
        Ok(None) => return,
        Err(failure) => return report.failed(NAME, &failure),
    };
    match told.try_discovery().await {
        Ok(found) => report.ok(NAME, found),
        Err(error) => return report.error(NAME, error.to_string(), error.hint()),
    }
    let back = public_url.map(OpenIdProvider::redirect_uri);
    let back = back.unwrap_or_else(|| "the service's own address and /sign-in/callback".to_owned());
    report.ok("sign-in URI", format!("{back}, which the provider must have as a redirect URI"));
    if told.trust_email {
        report.warn(
            "sign-in trust",
            format!("whoever has an address verified at {} signs in as the user with that address here", told.issuer),
            "leave oidc.trust_email out unless nobody else gives out addresses there (docs/sign-in.md)",
        );
    }
}

/// The ring, where there is one already. `Err`: it cannot be read, and nothing can be said of the database.
fn keys(report: &mut Report, serve: &Serve, file: &File) -> Result<Option<Keyring>, ()> {
    let resolved = serve.database.resolved(file);
    match resolved.ring_to_look() {
        Ok(Some(ring)) => {
            let names = ring.names();
            let others = crate::output::count(names.len() as u64 - 1, "other");
            report.ok("master key", format!("{} wraps new data keys; {others} to unwrap", names[0]));
            Ok(Some(ring))
        }
        Ok(None) => Ok(None),
        Err(failure) => {
            report.failed("master key", &failure);
            Err(())
        }
    }
}

async fn database(report: &mut Report, serve: &Serve, file: &File, ring: Option<&Keyring>) {
    let resolved = serve.database.resolved(file);
    let found = match &resolved.address {
        Address::Server(url) => inspect_server(url, ring).await,
        Address::File(path) => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                let detail = format!("the folder {} of the database is not there", folder.display());
                return report.error("database", detail, "make it, or name another one");
            }
            inspect_file(path, ring).await
        }
    };
    let found = match found {
        Ok(found) => found,
        Err(error) => return report.error("database", error.to_string(), error.hint()),
    };
    schema(report, &found);
    if ring.is_none() {
        let key_file = resolved.own_key_file().map(|path| path.display().to_string()).unwrap_or_default();
        match found.sealed {
            true => report.error(
                "master key",
                format!("{key_file} is not there, and the database holds what was sealed with it"),
                "put the key file back from a backup (docs/keys.md)",
            ),
            false => report.ok("master key", format!("{key_file} is made at the first start: back it up")),
        }
    } else {
        canary(report, &found.canary);
    }
    if let Some(theirs) = found.clock {
        let apart = (SystemClock::default().now().as_second() - theirs.as_second()).abs();
        match apart > CLOCKS_APART {
            true => report.warn(
                "clock",
                format!("this machine and the database are {apart} seconds apart"),
                "let both keep time by NTP",
            ),
            false => report.ok("clock", "this machine and the database agree"),
        }
    }
}

fn schema(report: &mut Report, found: &Inspection) {
    let place = &found.place;
    match found.schema {
        None => report.ok("database", format!("{place}: nothing there yet, the first start makes it")),
        Some(schema) if schema < found.newest => report.warn(
            "database",
            format!("{place} has schema {schema}; the next start brings it to {}", found.newest),
            "make a backup before",
        ),
        Some(schema) => report.ok("database", format!("{place}, schema {schema}")),
    }
}

fn canary(report: &mut Report, canary: &Canary) {
    match canary {
        Canary::Opens => report.ok("key canary", "the key is the one that the database knows"),
        Canary::None | Canary::Unchecked => report.ok("key canary", "none yet: the next start leaves one"),
        Canary::Away(reason) => {
            report.error(
                "key canary",
                reason,
                "see that the key service can be reached: without it the service does not start",
            );
        }
        Canary::Refused(reason) => {
            report.error("key canary", reason, "give the key that the database was made with (docs/keys.md)");
        }
    }
}
