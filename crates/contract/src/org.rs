//! The org that is asked: its connection, what is known of it, and what was left in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tieline_auth::{Credentials, Grant, OrgConfig, Secret};
use tieline_client::{ApiVersion, Connection, Method, Options, Request};
use url::Url;

use crate::case::encoded;
use crate::redact::Redactor;
use crate::run::Settings;

/// Objects that checks make records of, children first, and the field that has the marker.
const MARKED: [(&str, &str); 4] =
    [("Opportunity", "Name"), ("Lead", "LastName"), ("Contact", "LastName"), ("Account", "Name")];

/// An org under test.
#[derive(Debug)]
pub(crate) struct Org {
    pub(crate) config: OrgConfig,
    pub(crate) connection: Connection,
    pub(crate) http: reqwest::Client,
    pub(crate) marker: String,
    pub(crate) external_id: Mutex<Option<(String, String)>>,
    pub(crate) control: Option<Url>,
    pub(crate) rotates: bool,
    pub(crate) kind: String,
    pub(crate) redactor: Redactor,
    pub(crate) raw_calls: AtomicU64,
    pub(crate) jobs: Mutex<Vec<(&'static str, String)>>,
}

impl Org {
    /// Logs in, and refuses an org that people work in.
    pub(crate) async fn open(mut config: OrgConfig, settings: &Settings) -> Result<Self> {
        let http = tieline_auth::http::api_client().context("HTTPS cannot be prepared on this machine")?;
        let raw_calls = AtomicU64::new(0);
        let rotates = follow_rotation(&mut config, &http, &raw_calls).await?;
        let credentials = Credentials::new(config.clone())?;
        let options = Options { api_version: ApiVersion::told(settings.api_version.as_deref()), ..Options::default() };
        let connection = Connection::with(credentials, options)?;
        let token = connection.credentials().token().await.context("the login failed")?;
        let user = connection.credentials().userinfo().await.context("the org does not say who is logged in")?;
        let kind = kind_of(&connection).await?;
        if !kind.for_trying && !settings.even_production {
            bail!(
                "this is a production org ({}): nothing was written\nhint: take a scratch org, a sandbox or a Developer \
                 Edition; --even-production overrules this",
                kind.words
            );
        }
        let mut redactor = Redactor::new();
        redactor.hide("user name", user.preferred_username.as_deref().unwrap_or_default());
        redactor.hide("user", user.name.as_deref().unwrap_or_default());
        redactor.hide("address", user.email.as_deref().unwrap_or_default());
        redactor.hide("org id", &user.organization_id);
        redactor.hide("user id", &user.user_id);
        redactor.hide("secret", token.access_token().expose());
        redactor.hide("consumer key", &config.client_id);
        redactor.hide("secret", config.client_secret.as_ref().map(Secret::expose).unwrap_or_default());
        for url in [token.instance_url(), &config.login_url] {
            if let Some(host) = url.host_str() {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                redactor.hide("host", &format!("{host}{port}"));
            }
        }
        match &config.grant {
            Grant::RefreshToken { refresh_token } => redactor.hide("secret", refresh_token.expose()),
            Grant::Password { password, username } => {
                redactor.hide("secret", password.expose());
                redactor.hide("user name", username);
            }
            Grant::JwtBearer { username, .. } => redactor.hide("user name", username),
            _ => {}
        }
        let marker = format!("tieline-contract-{:08x}", fastrand::u32(..));
        let external_id = Mutex::new(settings.external_id.clone());
        let control = settings.control.clone();
        let jobs = Mutex::default();
        let kind = kind.words;
        Ok(Self { config, connection, http, marker, external_id, control, rotates, kind, redactor, raw_calls, jobs })
    }

    /// API calls and token requests so far.
    pub(crate) fn calls(&self) -> u64 {
        self.connection.api_calls() + self.raw_calls.load(Ordering::Relaxed)
    }

    /// Deletes the jobs, and the records that carry the marker if any were written. Answers what could not be deleted.
    pub(crate) async fn clean_up(&self, wrote: bool) -> Vec<String> {
        let mut left = Vec::new();
        let jobs = std::mem::take(&mut *self.jobs.lock().unwrap_or_else(PoisonError::into_inner));
        for (kind, id) in jobs {
            let path = self.connection.data_path(&format!("jobs/{kind}/{id}"));
            // An open job is deleted only after it was aborted; one that has ended only is not aborted.
            if let Ok(abort) = Request::json(Method::PATCH, &path, &json!({"state": "Aborted"})) {
                let _ = self.connection.send(&abort).await;
            }
            let _ = self.connection.send(&Request::new(Method::DELETE, path)).await;
        }
        for (object, field) in MARKED {
            if !wrote {
                break;
            }
            if let Err(error) = self.sweep(object, field).await {
                left.push(format!(
                    "{object} records named {}…: {}",
                    self.marker,
                    self.redactor.clean(&error.to_string())
                ));
            }
        }
        left
    }

    async fn sweep(&self, object: &str, field: &str) -> Result<()> {
        // Deletes of some may wait for those of others, so it is looked again, a few times.
        for _ in 0..10 {
            let soql = format!("SELECT Id FROM {object} WHERE {field} LIKE '{}%' LIMIT 200", self.marker);
            let path = self.connection.data_path(&format!("query?q={}", encoded(&soql)));
            let found: Value = self.connection.send_json(&Request::get(path)).await?;
            let ids: Vec<&str> =
                found["records"].as_array().into_iter().flatten().filter_map(|record| record["Id"].as_str()).collect();
            if ids.is_empty() {
                return Ok(());
            }
            let path = self.connection.data_path(&format!("composite/sobjects?ids={}&allOrNone=false", ids.join(",")));
            let answers: Value = self.connection.send_json(&Request::new(Method::DELETE, path)).await?;
            let deleted = |one: &Value| one["success"] == true;
            if !answers.as_array().into_iter().flatten().any(deleted) {
                bail!("{}", answers[0]["errors"][0]["statusCode"].as_str().unwrap_or("the org gives no reason"));
            }
        }
        bail!("some are left")
    }
}

/// A kind of org, in words without a name.
struct Kind {
    words: String,
    for_trying: bool,
}

async fn kind_of(connection: &Connection) -> Result<Kind> {
    let soql = "SELECT IsSandbox, OrganizationType, TrialExpirationDate FROM Organization";
    let path = connection.data_path(&format!("query?q={}", encoded(soql)));
    let found: Value = connection
        .send_json(&Request::get(path))
        .await
        .context("what kind of org this is cannot be read, so nothing is tried")?;
    let org = &found["records"][0];
    let edition = org["OrganizationType"].as_str().unwrap_or("unknown edition").to_owned();
    let (sandbox, trial) = (org["IsSandbox"] == true, org["TrialExpirationDate"].is_string());
    let for_trying = sandbox || trial || edition == "Developer Edition";
    let mut words = edition;
    for (is, word) in [(sandbox, ", sandbox"), (trial, ", with an end")] {
        if is {
            words.push_str(word);
        }
    }
    Ok(Kind { words, for_trying })
}

/// A refresh token is used once before anything else: if the app rotates, the new one serves from here on, and the
/// checks that would show an old one again are left out, for that would end the family.
async fn follow_rotation(config: &mut OrgConfig, http: &reqwest::Client, calls: &AtomicU64) -> Result<bool> {
    let Grant::RefreshToken { refresh_token } = &config.grant else { return Ok(false) };
    let mut form = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.expose()),
        ("client_id", config.client_id.as_str()),
    ];
    if let Some(secret) = &config.client_secret {
        form.push(("client_secret", secret.expose()));
    }
    let mut url = config.login_url.clone();
    url.set_path("/services/oauth2/token");
    calls.fetch_add(1, Ordering::Relaxed);
    let body = http.post(url).form(&form).send().await.context("the login failed")?.bytes().await?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Some(next) = answer["refresh_token"].as_str().filter(|next| *next != refresh_token.expose()) else {
        return Ok(false);
    };
    config.grant = Grant::RefreshToken { refresh_token: Secret::new(next) };
    Ok(true)
}
