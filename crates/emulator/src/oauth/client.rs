//! Who calls: the client, and whether it proved so by its secret or by an assertion signed with its key.

use super::app::App;
use super::token::Form;
use super::{OAuthError, jwt};
use crate::org::Org;

const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
pub(super) const WRONG: OAuthError = OAuthError("invalid_client", "invalid client credentials");

pub(super) struct Client {
    pub(super) app: App,
    pub(super) proven: bool,
}

impl Client {
    /// Credentials that are given must be right; giving none is for the grant to allow.
    pub(super) fn identify(org: &Org, form: &Form) -> Result<Self, OAuthError> {
        let given_id = form.get("client_id");
        if let Some(assertion) = form.get("client_assertion") {
            if form.get("client_assertion_type").is_none_or(|kind| kind != ASSERTION) {
                return Err(OAuthError("invalid_assertion_type", "client assertion type not supported"));
            }
            let app = jwt::client(org, assertion).map_err(|_| WRONG)?;
            if given_id.is_some_and(|id| *id != app.client_id) {
                return Err(WRONG);
            }
            return Ok(Client { app, proven: true });
        }
        let app = app(org, given_id.map_or("", String::as_str))?.clone();
        match form.get("client_secret") {
            Some(secret) if *secret != app.client_secret => Err(WRONG),
            secret => Ok(Client { proven: secret.is_some(), app }),
        }
    }

    pub(super) fn must_be_proven(org: &Org, form: &Form) -> Result<App, OAuthError> {
        let client = Client::identify(org, form)?;
        if client.proven { Ok(client.app) } else { Err(WRONG) }
    }
}

pub(super) fn app<'a>(org: &'a Org, client_id: &str) -> Result<&'a App, OAuthError> {
    // The newest version that has become active.
    let now = org.now();
    let found = org.apps.iter().rev().find(|app| app.client_id == client_id && app.active_from <= now);
    found.ok_or(OAuthError("invalid_client_id", "client identifier invalid"))
}
