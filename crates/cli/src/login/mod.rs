//! Logins that need a person: by browser on this machine, or by a code on another.

mod browser;

use std::time::Duration;

use tieline_auth::grant::begun_login::BegunLogin;
use tieline_auth::grant::device::DeviceLogin;
use tieline_auth::{App, Clock, Secret, SystemClock};

use crate::failure::Failure;

pub(crate) use browser::{Browser, login};

/// The app of Salesforce's own command line: public, known to every org, with one fixed callback. Whoever has an app of
/// his own names it instead. Source: the requests of the Salesforce CLI (`sf org login web`).
pub(crate) const COMMAND_LINE_APP: &str = "PlatformCLI";
/// The callback that goes with it.
pub(crate) const CALLBACK: &str = "http://localhost:1717/OauthRedirect";
/// Production's login host.
pub(crate) const PRODUCTION: &str = "https://login.salesforce.com";
/// The login host of all sandboxes.
pub(crate) const SANDBOX: &str = "https://test.salesforce.com";

/// Where and as which app somebody logs in.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct Where {
    /// Login host or My Domain of the org [default: SF_LOGIN_URL, then login.salesforce.com]
    #[arg(long, value_name = "URL")]
    pub(crate) instance_url: Option<String>,
    /// The org is a sandbox: log in at test.salesforce.com
    #[arg(long, conflicts_with = "instance_url")]
    pub(crate) sandbox: bool,
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl Where {
    pub(crate) fn url(&self) -> String {
        match &self.instance_url {
            Some(url) => url.clone(),
            None if self.sandbox => SANDBOX.to_owned(),
            None => variable("SF_LOGIN_URL")
                .or_else(|| variable("SF_INSTANCE_URL"))
                .unwrap_or_else(|| PRODUCTION.to_owned()),
        }
    }

    /// The app that logs in: the one named, that of `SF_CLIENT_ID` (with `SF_CLIENT_SECRET`), or the command line's.
    pub(crate) fn app(&self, client_id: Option<&str>) -> Result<App, Failure> {
        let own = client_id.map(str::to_owned).or_else(|| variable("SF_CLIENT_ID"));
        let mut app = App::new(&self.url(), own.clone().unwrap_or_else(|| COMMAND_LINE_APP.to_owned()))?;
        if own.is_some_and(|id| id != COMMAND_LINE_APP) {
            app.client_secret = variable("SF_CLIENT_SECRET").map(Secret::new);
        }
        Ok(app)
    }
}

/// Shows a code and waits until somebody has entered it.
pub(crate) async fn device(app: &App, scopes: &[&str]) -> Result<BegunLogin, Failure> {
    let http = http_client()?;
    let login = DeviceLogin::start(app, scopes, &http).await?;
    note!("Open {} in any browser and enter this code:\n\n    {}\n", login.verification_uri, login.user_code);
    let waiting = spinner("waiting for the code to be entered");
    let begun = login.wait(&http, &SystemClock::default()).await;
    waiting.finish_and_clear();
    Ok(begun?)
}

pub(crate) fn http_client() -> Result<reqwest::Client, Failure> {
    tieline_auth::http::token_client().map_err(|e| {
        Failure::new(
            format!("could not prepare HTTPS: {}", tieline_auth::http::innermost(&e)),
            "install the system's CA certificates (Debian: apt-get install ca-certificates)",
        )
    })
}

/// A line that moves while something is waited for; on a terminal only.
pub(crate) fn spinner(what: &str) -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new_spinner();
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Now, by this machine.
pub(crate) fn now() -> jiff::Timestamp {
    SystemClock::default().now()
}
