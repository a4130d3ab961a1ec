//! `/services/oauth2/authorize`: what is asked, whether it may be asked, and where the answer goes.

use super::app::{App, Policy};
use super::code::Code;
use super::token::{Form, field, implicit};
use super::{OAuthError, access, client, random_token};
use crate::org::Org;

/// An authorization request that may be answered by a redirect.
pub(crate) struct Request {
    pub(crate) app: App,
    pub(crate) scope: String,
    redirect_uri: String,
    state: Option<String>,
    challenge: Option<String>,
    nonce: Option<String>,
    /// `response_type=token`: the answer stands after `#`.
    implicit: bool,
    pub(crate) immediate: bool,
    pub(crate) prompt: Vec<String>,
    pub(crate) login_hint: String,
}

/// Why a request is not answered with a page.
pub(crate) enum Refused {
    /// Nobody to send it to: the browser is told.
    Here(OAuthError),
    /// The client is told.
    There(String),
}

impl Request {
    pub(crate) fn read(org: &Org, form: &Form) -> Result<Self, Refused> {
        let app = client::app(org, field(form, "client_id")).map_err(Refused::Here)?.clone();
        let redirect_uri = field(form, "redirect_uri").to_owned();
        if redirect_uri.is_empty() {
            return Err(Refused::Here(OAuthError("redirect_uri_missing", "redirect_uri not provided")));
        }
        if !app.policy.callback_urls.contains(&redirect_uri) {
            return Err(Refused::Here(OAuthError("redirect_uri_mismatch", "redirect_uri must match configuration")));
        }
        let implicit = match field(form, "response_type") {
            "code" => false,
            "token" => true,
            _ => {
                const KINDS: &str = "response type must be one of the following: code, token";
                return Err(Refused::Here(OAuthError("unsupported_response_type", KINDS)));
            }
        };
        let some = |name: &str| form.get(name).filter(|value| !value.is_empty()).cloned();
        let mut request = Request {
            scope: String::new(),
            redirect_uri,
            state: some("state"),
            challenge: some("code_challenge"),
            nonce: some("nonce"),
            implicit,
            immediate: field(form, "immediate") == "true",
            prompt: field(form, "prompt").split_whitespace().map(str::to_owned).collect(),
            login_hint: field(form, "login_hint").to_owned(),
            app,
        };
        let Policy { pkce_required, .. } = request.app.policy;
        if pkce_required && request.challenge.is_none() && !implicit {
            return Err(request.refuse(&OAuthError("invalid_request", "missing required code challenge")));
        }
        match request.app.policy.grant(field(form, "scope")) {
            Ok(scope) => request.scope = scope,
            Err(error) => return Err(request.refuse(&error)),
        }
        Ok(request)
    }

    pub(crate) fn refuse(&self, error: &OAuthError) -> Refused {
        Refused::There(self.redirect(&[("error", error.0), ("error_description", error.1)]))
    }

    /// The policies shut this user out: the client is told by other words than the token endpoint's.
    pub(crate) fn shut_out(&self, org: &Org, user_id: &str) -> Option<Refused> {
        let error = match access::check(org, &self.app, user_id).err()? {
            OAuthError("app_blocked", text) => OAuthError("OAUTH_APP_BLOCKED", text),
            OAuthError(_, text) => OAuthError("OAUTH_APP_ACCESS_DENIED", text),
        };
        Some(self.refuse(&error))
    }

    pub(crate) fn is_approved(&self, org: &Org, user_id: &str) -> bool {
        access::is_approved(org, &self.app, user_id)
    }

    /// The user has said yes: where the browser goes with the code (or, in the implicit flow, the token).
    pub(crate) fn allow(self, org: &mut Org, user_id: &str) -> Result<String, OAuthError> {
        if !self.is_approved(org, user_id) {
            org.approvals.push((self.app.client_id.clone(), user_id.to_owned()));
        }
        if self.implicit {
            let token = implicit(org, user_id, self.app.clone(), self.scope.clone())?;
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let pairs: Vec<_> = token.as_object().into_iter().flatten().map(|(k, v)| (k.as_str(), text(v))).collect();
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
            return Ok(self.redirect(&pairs));
        }
        // Real codes end in equal signs, which a client must not lose.
        let code = format!("aPrx{}==", random_token(60));
        let kept = Code {
            client_id: self.app.client_id.clone(),
            user_id: user_id.to_owned(),
            redirect_uri: self.redirect_uri.clone(),
            scope: self.scope.clone(),
            challenge: self.challenge.clone(),
            nonce: self.nonce.clone(),
            issued: org.now(),
        };
        org.codes.insert(code.clone(), kept);
        Ok(self.redirect(&[("code", &code)]))
    }

    fn redirect(&self, pairs: &[(&str, &str)]) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs);
        if let Some(state) = &self.state {
            query.append_pair("state", state);
        }
        let mark = match (self.implicit, self.redirect_uri.contains('?')) {
            (true, _) => '#',
            (false, true) => '&',
            (false, false) => '?',
        };
        format!("{}{mark}{}", self.redirect_uri, query.finish())
    }
}
