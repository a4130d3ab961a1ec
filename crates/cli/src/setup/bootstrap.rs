//! The first login to an org that has no app yet: as somebody who may set it up.

use std::process::Command;

use dialoguer::{Input, Password, Select};
use serde_json::Value;
use tieline_auth::grant::soap_login::{self, LoginFailed};
use tieline_auth::{Credentials, Grant, OrgConfig, Secret, Settings};
use tieline_client::Connection;
use url::Url;

use super::state::State;
use crate::failure::Failure;
use crate::login::{self, Browser, CALLBACK, COMMAND_LINE_APP, Where};
use crate::orgs::Orgs;
use crate::settings::saved_org;

/// How to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Method {
    /// In the browser, with PKCE
    Browser,
    /// An access token: SF_ACCESS_TOKEN, with SF_INSTANCE_URL or --instance-url
    Token,
    /// The session of the Salesforce CLI (`sf`)
    Sf,
    /// SF_USERNAME and SF_PASSWORD, where the org still allows it
    Password,
    /// A login that `tieline login` has saved
    Saved,
}

/// The login of whoever sets up the org: an administrator.
#[derive(clap::Args, Clone)]
pub(crate) struct Bootstrap {
    #[command(flatten)]
    pub(crate) place: Where,
    /// How to log in for the setup [default: SF_ACCESS_TOKEN if it is set, else you are asked]
    #[arg(long, value_enum, value_name = "METHOD")]
    pub(crate) login: Option<Method>,
    /// Org of the Salesforce CLI to borrow the session of, or saved org, by alias or user name
    #[arg(long, value_name = "ALIAS")]
    pub(crate) from: Option<String>,
    /// Print the login page's address instead of opening it
    #[arg(long)]
    pub(crate) no_browser: bool,
    /// Ask nothing: fail where an answer would be needed
    #[arg(long)]
    pub(crate) non_interactive: bool,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl Bootstrap {
    /// Somebody is there to answer.
    pub(crate) fn can_ask(&self) -> bool {
        !self.non_interactive && console::user_attended() && console::user_attended_stderr()
    }

    /// Logs in. What was named must be where the login leads.
    pub(crate) async fn connect(&self) -> Result<Connection, Failure> {
        let connection = match self.method()? {
            Method::Token => self.token()?,
            Method::Browser => self.browser().await?,
            Method::Sf => sf(self.from.as_deref())?,
            Method::Password => self.password().await?,
            Method::Saved => self.saved().await?,
        };
        let token = connection.credentials().token().await?;
        if let Some(named) = &self.place.instance_url {
            let named = OrgConfig::new(named, "", Grant::ClientCredentials)?.login_url;
            let common = matches!(named.host_str(), Some("login.salesforce.com" | "test.salesforce.com"));
            if !common && named.origin() != token.instance_url().origin() {
                return Err(Failure::usage(
                    format!("the login is to {}, and --instance-url names {named}", token.instance_url()),
                    "leave --instance-url out, or log in to that org",
                ));
            }
        }
        Ok(connection)
    }

    /// Logs in to the org of a setup, and not as one of the apps that it has made: they are about to go.
    pub(crate) async fn connect_to(&self, state: &State, not_as: &[&str]) -> Result<Connection, Failure> {
        let admin = self.at(&state.instance_url).connect().await?;
        let me = admin.credentials().userinfo().await?;
        if me.organization_id != state.org_id {
            return Err(Failure::usage(
                format!("the setup was made in another org: {} ({})", state.instance_url, state.org_id),
                "log in to that org",
            ));
        }
        let through = admin.credentials().config().client_id.as_str();
        // A session that was borrowed or given tells no app.
        if !through.is_empty() && not_as.contains(&through) {
            return Err(Failure::usage(
                "this login goes through the very app that is to be removed",
                "log in as an administrator in another way: --login browser, sf or password, or SF_ACCESS_TOKEN",
            ));
        }
        Ok(admin)
    }

    /// The same at this org, where nobody has named one.
    pub(crate) fn at(&self, instance_url: &str) -> Self {
        let mut there = self.clone();
        if there.place.instance_url.is_none() && !there.place.sandbox {
            there.place.instance_url = Some(instance_url.to_owned());
        }
        there
    }

    fn method(&self) -> Result<Method, Failure> {
        if self.from.is_some() && !matches!(self.login, Some(Method::Sf | Method::Saved)) {
            return Err(Failure::usage(
                "--from names an org, and nothing says whose",
                "add --login sf (an org of the Salesforce CLI) or --login saved (one of `tieline orgs`)",
            ));
        }
        if self.login == Some(Method::Browser) && self.non_interactive {
            return Err(Failure::usage(
                "a login by browser needs somebody, and --non-interactive says that nobody is there",
                "set SF_ACCESS_TOKEN and SF_INSTANCE_URL, or choose --login sf, saved or password",
            ));
        }
        if let Some(method) = self.login {
            return Ok(method);
        }
        if variable("SF_ACCESS_TOKEN").is_some() {
            return Ok(Method::Token);
        }
        if std::env::var_os("SF_ACCESS_TOKEN").is_some() && !self.can_ask() {
            return Err(Failure::usage(
                "SF_ACCESS_TOKEN is set, and empty",
                "see that the command that was to tell the token has worked",
            ));
        }
        if !self.can_ask() {
            return Err(Failure::usage(
                "nobody can be asked how to log in for the setup",
                "set SF_ACCESS_TOKEN and SF_INSTANCE_URL, or choose with --login: sf, saved or password",
            ));
        }
        let mut choices = vec![("in the browser", Method::Browser)];
        let saved = Orgs::open().ok().is_some_and(|orgs| orgs.entries().next().is_some());
        if saved {
            choices.push(("with a login saved by tieline", Method::Saved));
        }
        choices.push(("with the session of the Salesforce CLI (sf)", Method::Sf));
        choices.push(("with user name and password (legacy)", Method::Password));
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let chosen =
            Select::new().with_prompt("Log in as an administrator of the org").items(&names).default(0).interact();
        Ok(choices[chosen.map_err(asked)?].1)
    }

    fn token(&self) -> Result<Connection, Failure> {
        let token = variable("SF_ACCESS_TOKEN").ok_or_else(|| {
            Failure::usage(
                "SF_ACCESS_TOKEN is not set",
                "set it to an access token of an administrator, and SF_INSTANCE_URL to the org",
            )
        })?;
        let instance = self.place.instance_url.clone().or_else(|| variable("SF_INSTANCE_URL")).ok_or_else(|| {
            Failure::usage(
                "an access token does not tell which org it is for",
                "name the org with --instance-url or SF_INSTANCE_URL",
            )
        })?;
        with_token(&instance, Secret::new(token))
    }

    async fn browser(&self) -> Result<Connection, Failure> {
        // An app that is in the environment need not have a callback on this machine: the one that was set up has none.
        let own = variable("SF_REDIRECT_URI").is_some();
        let app = self.place.app(Some(COMMAND_LINE_APP).filter(|_| !own))?;
        let callback = variable("SF_REDIRECT_URI").unwrap_or_else(|| CALLBACK.to_owned());
        let callback = Url::parse(&callback).map_err(|e| {
            Failure::usage(
                format!("SF_REDIRECT_URI `{callback}` is not a URL: {e}"),
                format!("write it like {CALLBACK}"),
            )
        })?;
        // No refresh token: the setup ends, and its login with it.
        let scopes = vec!["api".to_owned(), "web".to_owned()];
        let browser = Browser { callback, tell_only: self.no_browser, scopes, login_hint: None };
        let begun = login::login(&app, browser).await?;
        connection(begun.config().clone())
    }

    async fn password(&self) -> Result<Connection, Failure> {
        let (username, password) = match (variable("SF_USERNAME"), variable("SF_PASSWORD")) {
            (Some(username), Some(password)) => (username, password),
            (username, _) if self.can_ask() => return self.ask_for_password(username).await,
            _ => {
                return Err(Failure::usage(
                    "SF_USERNAME and SF_PASSWORD are not both set",
                    "set both, or choose another --login",
                ));
            }
        };
        self.with_password(username, Secret::new(password)).await
    }

    /// Asks until it is right, three times at most: orgs lock a user who is wrong more often.
    async fn ask_for_password(&self, known: Option<String>) -> Result<Connection, Failure> {
        let (mut left, mut typed) = (3, None);
        loop {
            let username = match &known {
                Some(username) => username.clone(),
                None => {
                    let input = Input::<String>::new().with_prompt("User name");
                    let again = typed.clone().map_or_else(|| input.clone(), |name| input.clone().default(name));
                    again.interact_text().map_err(asked)?
                }
            };
            typed = Some(username.clone());
            let prompt =
                format!("Password of {username} (with the security token at its end, where the org wants one)");
            let password = Password::new().with_prompt(prompt).interact().map_err(asked)?;
            left -= 1;
            match self.with_password(username, Secret::new(password)).await {
                Err(failure) if left > 0 && failure.needs_a_person() => {
                    let hint = failure.hint().unwrap_or_default();
                    note!("{}\nhint: {hint}; Ctrl-C ends this", failure.message());
                }
                outcome => return outcome,
            }
        }
    }

    async fn with_password(&self, username: String, password: Secret) -> Result<Connection, Failure> {
        if let (Some(client_id), Some(secret)) = (variable("SF_CLIENT_ID"), variable("SF_CLIENT_SECRET")) {
            let mut config = OrgConfig::new(&self.place.url(), client_id, Grant::Password { username, password })?;
            config.client_secret = Some(Secret::new(secret));
            return connection(config);
        }
        let http = login::http_client()?;
        match soap_login::login(&self.place.url(), &username, &password, &http).await {
            Ok(config) => connection(config),
            Err(LoginFailed::Config(error)) => Err(error.into()),
            Err(LoginFailed::Auth(error)) => Err(error.into()),
        }
    }

    async fn saved(&self) -> Result<Connection, Failure> {
        let orgs = Orgs::open()?;
        let wanted = self.from.clone().or_else(|| orgs.default_alias().map(str::to_owned)).ok_or_else(|| {
            Failure::usage("no org is saved as the default", "name one with --from, or log in first: tieline login")
        })?;
        let (alias, entry) = orgs.find(&wanted)?;
        saved_org(&orgs, &alias, &entry).await
    }
}

/// As a shell counts a program that Ctrl-C has ended.
pub(crate) const ENDED_BY_A_PERSON: u8 = 130;

/// Nobody answered a question.
pub(crate) fn asked(error: dialoguer::Error) -> Failure {
    let dialoguer::Error::IO(reason) = &error;
    // Ctrl-C, seen here before it was seen as a signal.
    if reason.kind() == std::io::ErrorKind::Interrupted {
        let _ = console::Term::stderr().show_cursor();
        return Failure::told(ENDED_BY_A_PERSON);
    }
    Failure::new(
        format!("the question was not answered: {error}"),
        "nothing was changed; --non-interactive asks nothing",
    )
}

fn with_token(instance: &str, token: Secret) -> Result<Connection, Failure> {
    let instance_url = OrgConfig::new(instance, "", Grant::ClientCredentials)?.login_url;
    let grant = Grant::AccessToken { access_token: token, instance_url };
    connection(OrgConfig::new(instance, "", grant)?)
}

fn connection(config: OrgConfig) -> Result<Connection, Failure> {
    let credentials = Credentials::with(config, Settings::default())?;
    Ok(Connection::new(credentials)?)
}

/// Borrows the session of the Salesforce CLI. Older versions print the token with the org's other data; newer ones hide it
/// there and have a command of its own.
fn sf(org: Option<&str>) -> Result<Connection, Failure> {
    let shown = run_sf(&["org", "display"], org)?;
    let text = |value: &Value, key: &str| value["result"][key].as_str().unwrap_or_default().to_owned();
    let instance = text(&shown, "instanceUrl");
    let mut token = text(&shown, "accessToken");
    // What is hidden has no `!` after the org's id.
    if !token.starts_with("00D") || !token.contains('!') {
        let username = text(&shown, "username");
        let org = org.or_else(|| Some(username.as_str()).filter(|name| !name.is_empty()));
        token = text(&run_sf(&["org", "auth", "show-access-token"], org)?, "accessToken");
    }
    if instance.is_empty() || !token.contains('!') {
        return Err(Failure::new(
            "the Salesforce CLI tells no access token",
            "log in again with it: sf org login web; or choose another --login",
        ));
    }
    with_token(&instance, Secret::new(token))
}

fn run_sf(arguments: &[&str], org: Option<&str>) -> Result<Value, Failure> {
    let hint = "see that `sf org display` works, name the org with --from, or choose another --login";
    let mut command = Command::new("sf");
    command.args(arguments).arg("--json");
    if let Some(org) = org {
        command.args(["--target-org", org]);
    }
    let output = command.output().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::new("the Salesforce CLI (`sf`) is not installed here", "choose another --login, such as browser")
        }
        _ => Failure::new(format!("could not run sf: {e}"), hint),
    })?;
    // Warnings may stand before the object.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer: Value = text.find('{').and_then(|at| serde_json::from_str(&text[at..]).ok()).unwrap_or_default();
    if output.status.success() && answer["result"].is_object() {
        return Ok(answer);
    }
    let reason = answer["message"].as_str().unwrap_or("it gave no reason");
    Err(Failure::new(format!("sf {} failed: {}", arguments.join(" "), reason.trim()), hint))
}
