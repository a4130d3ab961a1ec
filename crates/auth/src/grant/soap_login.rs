//! `login()` of the Partner SOAP API: user name and password, and no app at all.
//!
//! Legacy, for the first login to an org that has no app yet. Not there in API version 65 and later, off in orgs made
//! since 2025, and gone everywhere in Summer '27 (Salesforce Help 005132110).

use url::Url;

use crate::config::{OrgConfig, parse_host_url};
use crate::error::{AuthError, AuthErrorKind, ConfigError};
use crate::grant::Grant;
use crate::host::AllowedHosts;
use crate::http::{innermost, without_url};
use crate::secret::Secret;

/// The last version that has the call.
const VERSION: &str = "64.0";

/// Logs in at `login_url` and answers an org with the session as a token that cannot be renewed.
///
/// # Errors
/// What the org says, as [`AuthErrorKind::Refused`] with the fault's code.
pub async fn login(
    login_url: &str,
    username: &str,
    password: &Secret,
    http: &reqwest::Client,
) -> Result<OrgConfig, LoginFailed> {
    let mut url = parse_host_url("login URL", login_url)?;
    url.set_path(&format!("/services/Soap/u/{VERSION}"));
    let failed = |kind| LoginFailed::Auth(AuthError::new(url.host_str().unwrap_or_default(), kind));
    let unreachable = |error: reqwest::Error| {
        failed(AuthErrorKind::Unreachable { url: url.to_string(), reason: innermost(&without_url(error)) })
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><se:Envelope xmlns:se=\"http://schemas.xmlsoap.org/soap/envelope/\"><se:Header/>\
         <se:Body><login xmlns=\"urn:partner.soap.sforce.com\"><username>{}</username><password>{}</password></login></se:Body></se:Envelope>",
        escape(username),
        escape(password.expose())
    );
    let request =
        http.post(url.clone()).header("content-type", "text/xml; charset=UTF-8").header("SOAPAction", "login");
    let response = request.body(body).send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let body = response.text().await.map_err(unreachable)?;
    let (Some(session), Some(server)) = (element(&body, "sessionId"), element(&body, "serverUrl")) else {
        let (Some(code), Some(text)) = (element(&body, "faultcode"), element(&body, "faultstring")) else {
            return Err(failed(AuthErrorKind::Unintelligible { url: url.to_string(), status }));
        };
        let error = code.rsplit(':').next().unwrap_or(code).to_owned();
        let description = text.strip_prefix(&error).map_or(text, |rest| rest.trim_start_matches([':', ' '])).to_owned();
        let hint =
            "check user name, password and security token (appended to the password); if the org has SOAP login \
                    switched off, log in by browser instead"
                .to_owned();
        return Err(failed(AuthErrorKind::Refused { error, description, hint }));
    };
    let mut instance_url: Url = parse_host_url("instance URL", server)?;
    AllowedHosts::default().check(&instance_url).map_err(|e| failed(AuthErrorKind::Host(e)))?;
    instance_url.set_path("");
    let grant = Grant::AccessToken { access_token: Secret::new(session), instance_url: instance_url.clone() };
    Ok(OrgConfig::new(instance_url.as_str(), "", grant)?)
}

/// No session.
#[derive(Debug, thiserror::Error)]
pub enum LoginFailed {
    /// The host.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The org.
    #[error(transparent)]
    Auth(AuthError),
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The text of the first element of that name. Enough for this answer: Salesforce writes its elements without prefix or
/// attributes, and session ids and URLs need no escapes.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let rest = &xml[xml.find(&format!("<{name}>"))? + name.len() + 2..];
    rest.find(&format!("</{name}>")).map(|end| &rest[..end])
}
