//! Whether the login works: waits until the org knows the app, then logs in, asks who that is, and calls the API.

use std::time::Duration;

use serde_json::{Value, json};
use tieline_auth::error::AuthErrorKind;
use tieline_auth::{AuthError, Credentials, Grant, OrgConfig, PrivateKey, Settings};
use tieline_client::Connection;

use super::bootstrap::Bootstrap;
use super::plan::Plan;
use super::say::{Say, span};
use super::state::{Done, State};
use crate::failure::Failure;

/// The login that was set up.
pub(crate) struct Login<'a> {
    pub(crate) instance_url: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) username: &'a str,
    pub(crate) key: &'a PrivateKey,
    pub(crate) audience: Option<&'a str>,
    pub(crate) approval: Approval<'a>,
    /// The org may have known this app before with another certificate.
    pub(crate) certificate_is_new: bool,
}

/// Who approves the app.
#[derive(Clone, Copy)]
pub(crate) enum Approval<'a> {
    /// An administrator has, by a permission set.
    Given,
    /// The user must, in a browser that comes back to `callback`.
    ByUser {
        callback: &'a str,
        /// Somebody is there to say when it is done.
        ask: bool,
        /// Open the page, and not only tell it.
        open: bool,
    },
}

impl<'a> Approval<'a> {
    pub(crate) fn of(plan: &'a Plan, bootstrap: &Bootstrap) -> Self {
        match plan.self_authorize {
            false => Approval::Given,
            true => Approval::ByUser {
                callback: plan.callbacks.first().map_or("", String::as_str),
                ask: bootstrap.can_ask(),
                open: !bootstrap.no_browser,
            },
        }
    }
}

/// How long to wait, and how often to look.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    pub(crate) every: Duration,
    pub(crate) at_most: Duration,
}

impl Patience {
    pub(crate) fn new(every: u64, at_most: u64) -> Self {
        Patience { every: Duration::from_secs(every.max(1)), at_most: Duration::from_secs(at_most) }
    }
}

/// What a refusal means while an app is new.
#[derive(PartialEq)]
enum Meaning {
    /// The org does not know the app yet.
    Unknown,
    /// It does not know of the approval yet, or there is none.
    NotApproved,
    /// It has the old certificate still, or another one.
    OldCertificate,
    /// Waiting does not help.
    Final,
    /// Something on the way.
    Passing,
}

fn meaning(error: &AuthError) -> Meaning {
    let AuthErrorKind::Refused { error: code, description, .. } = error.kind() else {
        return if error.is_transient() { Meaning::Passing } else { Meaning::Final };
    };
    let description = description.to_ascii_lowercase();
    match code.as_str() {
        "invalid_client_id"
        | "invalid_client"
        | "app_not_found"
        | "oauth_policy_not_found"
        | "ecapp_policy_not_found" => Meaning::Unknown,
        "invalid_app_access" => Meaning::NotApproved,
        _ if description.contains("approved") => Meaning::NotApproved,
        _ if description.contains("invalid assertion") || description.contains("couldn't validate jwt") => {
            Meaning::OldCertificate
        }
        _ if error.is_transient() => Meaning::Passing,
        _ => Meaning::Final,
    }
}

impl<'a> Login<'a> {
    /// The login that a setup has made, or is about to.
    pub(crate) fn of(state: &'a State, key: &'a PrivateKey, bootstrap: &Bootstrap) -> Self {
        Login {
            instance_url: &state.instance_url,
            client_id: state.client_id.as_deref().unwrap_or_default(),
            username: &state.username,
            key,
            audience: state.audience.as_deref(),
            approval: Approval::of(&state.plan, bootstrap),
            certificate_is_new: !state.is(Done::Verified),
        }
    }

    fn config(&self) -> Result<OrgConfig, Failure> {
        let grant = Grant::JwtBearer { username: self.username.to_owned(), key: self.key.clone() };
        let mut config = OrgConfig::new(self.instance_url, self.client_id, grant)?;
        config.audience = self.audience.map(str::to_owned);
        Ok(config)
    }

    pub(crate) fn connection(&self) -> Result<Connection, Failure> {
        Ok(Connection::new(Credentials::with(self.config()?, Settings::default())?)?)
    }

    /// Waits until a login works; looks at once, and then every so often.
    pub(crate) async fn wait(&self, patience: Patience, say: Say) -> Result<Connection, Failure> {
        let began = tokio::time::Instant::now();
        let mut waiting = None;
        let mut asked = false;
        loop {
            // New each time: what failed before is not remembered.
            let connection = self.connection()?;
            let error = match connection.credentials().token().await {
                Ok(_) => return Ok(connection),
                Err(error) => error,
            };
            let what = match meaning(&error) {
                Meaning::Unknown => "the org does not know the app yet (it takes 2 to 10 minutes)",
                // Nobody but the user can give it.
                Meaning::NotApproved if !asked && matches!(self.approval, Approval::ByUser { .. }) => {
                    asked = true;
                    drop(waiting.take());
                    self.ask_for_approval()?;
                    continue;
                }
                Meaning::NotApproved => "the org does not know yet that the user is pre-authorised",
                Meaning::OldCertificate if self.certificate_is_new => "the org does not take the certificate yet",
                Meaning::Passing => "the org cannot be reached at the moment",
                Meaning::OldCertificate | Meaning::Final => return Err(explained(error)),
            };
            if began.elapsed() >= patience.at_most {
                return Err(gave_up(error, patience.at_most));
            }
            let line = format!(
                "{what}; {} of {}, the next look in {}",
                span(began.elapsed()),
                span(patience.at_most),
                span(patience.every)
            );
            match &mut waiting {
                None => waiting = Some(say.waiting(line)),
                Some(waiting) => waiting.change(line),
            }
            tokio::time::sleep(patience.every).await;
        }
    }

    /// Where the user approves the app for himself.
    fn approval_page(&self, callback: &str) -> Result<url::Url, Failure> {
        let mut app = tieline_auth::App::new(self.instance_url, self.client_id)?;
        app.client_secret = None;
        let callback = url::Url::parse(callback).map_err(anyhow::Error::from)?;
        let mut ask = tieline_auth::grant::authorization_code::Authorize::new(callback);
        // All that the app has: an approval counts for what was asked.
        ask.scopes = Vec::new();
        ask.login_hint = Some(self.username.to_owned());
        Ok(ask.begin(&app, crate::login::now())?.url().clone())
    }

    /// Shows the page, and waits for the word that it is done; where nobody can be asked, the next run finds it so.
    fn ask_for_approval(&self) -> Result<(), Failure> {
        let Approval::ByUser { callback, ask, open } = self.approval else { return Ok(()) };
        let page = self.approval_page(callback)?;
        note!("\n{} must approve the app once, in a browser:\n\n{page}\n", self.username);
        if !ask {
            return Err(Failure::needs_person(
                format!("{} has not approved the app yet", self.username),
                "open the page above as that user and press Allow, then run the same command again: it goes on from here",
            ));
        }
        if open {
            let _ = open::that_detached(page.as_str());
        }
        dialoguer::Confirm::new().with_prompt("Approved?").default(true).interact().map_err(super::bootstrap::asked)?;
        Ok(())
    }
}

/// The audience that worked, where the rule would have named another one: other programs must be told.
pub(crate) async fn unusual_audience(connection: &Connection) -> Option<String> {
    let credentials = connection.credentials();
    let used = credentials.audience().await.ok()?;
    (used != credentials.config().audience()).then_some(used)
}

fn explained(error: AuthError) -> Failure {
    let blocked = matches!(error.kind(), AuthErrorKind::Refused { error, .. } if error == "app_blocked");
    let failure = Failure::from(error);
    if blocked {
        return failure.or(
            "if API Access Control is on (Setup, API Access Control), the app must be pre-authorised: set it up without --self-authorize",
        );
    }
    failure
}

fn gave_up(error: AuthError, after: Duration) -> Failure {
    let (last, hint) = (error.to_string(), error.hint());
    Failure::transient(
        format!("the login did not work within {}: {last}", span(after)),
        format!("{hint}; run the same command again to go on waiting"),
    )
}

/// What was seen to work.
pub(crate) async fn verify(connection: &Connection, username: &str) -> Result<Value, Failure> {
    let user = connection.credentials().userinfo().await?;
    let who = user.preferred_username.clone().unwrap_or_default();
    if !who.eq_ignore_ascii_case(username) {
        return Err(Failure::new(
            format!("the app logs in {who}, not {username}"),
            "the org maps user names in some way that setup does not know: give the user name as the org writes it",
        ));
    }
    let limits = connection.limits().await?;
    let token = connection.credentials().token().await?;
    let left = limits.get("DailyApiRequests");
    Ok(json!({
        "exchange": true, "userinfo": {"username": who, "user_id": user.user_id, "organization_id": user.organization_id},
        "limits": left, "scope": token.scope(), "instance_url": token.instance_url().as_str().trim_end_matches('/'),
    }))
}
