//! The OAuth client (a connected app or an external client app) and the policy that its owner sets.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::OAuthError;

#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    /// The public key (PKCS#1 in DER) of the uploaded certificate.
    pub(crate) public_key: Option<Vec<u8>>,
    pub(crate) policy: Policy,
    /// The policy that a reset brings back.
    pub(crate) initial: Policy,
    /// Metadata type and name of the component that it comes from.
    pub(crate) made_by: Option<(&'static str, String)>,
    /// Before this moment the token endpoint does not know it, or knows the version before it.
    pub(crate) active_from: Timestamp,
}

impl App {
    pub(crate) fn is_like(&self, other: &App) -> bool {
        let facts = |app: &App| (app.name.clone(), app.client_secret.clone(), app.public_key.clone());
        facts(self) == facts(other) && self.initial == other.initial
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    pub(crate) callback_urls: Vec<String>,
    pub(crate) scopes: Vec<String>,
    /// Nobody approves it for himself: an admin has, for the users of these profiles and permission sets.
    pub(crate) admin_approved: bool,
    /// Ids.
    pub(crate) permission_sets: Vec<String>,
    /// Names.
    pub(crate) profiles: Vec<String>,
    /// Each refresh spends the refresh token and answers a new one.
    pub(crate) rotation: bool,
    pub(crate) secret_required_for_refresh: bool,
    pub(crate) pkce_required: bool,
    /// Username that the client credentials flow runs as; none: the flow is not enabled.
    pub(crate) client_credentials_user: Option<String>,
    pub(crate) password_flow: bool,
    pub(crate) device_flow: bool,
    /// Subject tokens and the usernames they stand for, instead of an Apex token exchange handler.
    pub(crate) exchange_subjects: BTreeMap<String, String>,
    /// What `aud` of an assertion may be; empty: the org itself, `login` and `test`.
    pub(crate) audiences: Vec<String>,
    /// How far ahead the `exp` of an assertion may lie; none: anything goes, which is what clients see.
    pub(crate) jwt_max_seconds_ahead: Option<i64>,
}

impl Policy {
    pub(crate) fn new(mut callback_urls: Vec<String>, admin: &str) -> Self {
        if callback_urls.is_empty() {
            callback_urls.push("http://localhost:1717/OauthRedirect".to_owned());
        }
        Policy {
            callback_urls,
            scopes: ["api", "web", "refresh_token", "openid", "id", "full"].map(str::to_owned).into(),
            admin_approved: false,
            permission_sets: Vec::new(),
            profiles: Vec::new(),
            rotation: false,
            secret_required_for_refresh: true,
            pkce_required: false,
            client_credentials_user: Some(admin.to_owned()),
            password_flow: true,
            device_flow: true,
            exchange_subjects: BTreeMap::new(),
            audiences: Vec::new(),
            jwt_max_seconds_ahead: None,
        }
    }

    /// The scopes granted when these are asked for: all of the app's when none are. Their order is the app's,
    /// not that of the request, as with a real org.
    pub(crate) fn grant(&self, asked: &str) -> Result<String, OAuthError> {
        let asked: Vec<&str> = asked.split_whitespace().map(one_name).collect();
        let own: Vec<&str> = self.scopes.iter().map(|s| one_name(s)).collect();
        if asked.iter().any(|scope| !own.contains(scope)) {
            return Err(OAuthError("invalid_scope", "the requested scope is not allowed"));
        }
        let granted = self.scopes.iter().map(String::as_str);
        Ok(granted.filter(|s| asked.is_empty() || asked.contains(&one_name(s))).collect::<Vec<_>>().join(" "))
    }

    /// The app's scopes for a grant that never brings a refresh token.
    pub(crate) fn scope_without_refresh(&self) -> String {
        let scopes = self.scopes.iter().map(String::as_str);
        scopes.filter(|s| one_name(s) != "refresh_token").collect::<Vec<_>>().join(" ")
    }
}

/// `offline_access` is another name of `refresh_token`.
fn one_name(scope: &str) -> &str {
    if scope == "offline_access" { "refresh_token" } else { scope }
}

pub(crate) fn has_scope(scope: &str, wanted: &str) -> bool {
    scope.split(' ').any(|s| one_name(s) == wanted)
}

/// A change of the policy: keys that are absent stay as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Change {
    callback_urls: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    rotation: Option<bool>,
    secret_required_for_refresh: Option<bool>,
    pkce_required: Option<bool>,
    #[serde(deserialize_with = "null_counts")]
    client_credentials_user: Option<Option<String>>,
    password_flow: Option<bool>,
    device_flow: Option<bool>,
    exchange_subjects: Option<BTreeMap<String, String>>,
    audiences: Option<Vec<String>>,
    #[serde(deserialize_with = "null_counts")]
    jwt_max_seconds_ahead: Option<Option<i64>>,
}

/// Tells `null` (some nothing) from an absent key (nothing).
pub(crate) fn null_counts<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Change {
    pub(crate) fn apply(self, to: &mut Policy) {
        fn set<T>(to: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *to = value;
            }
        }
        set(&mut to.callback_urls, self.callback_urls);
        set(&mut to.scopes, self.scopes);
        set(&mut to.rotation, self.rotation);
        set(&mut to.secret_required_for_refresh, self.secret_required_for_refresh);
        set(&mut to.pkce_required, self.pkce_required);
        set(&mut to.client_credentials_user, self.client_credentials_user);
        set(&mut to.password_flow, self.password_flow);
        set(&mut to.device_flow, self.device_flow);
        set(&mut to.exchange_subjects, self.exchange_subjects);
        set(&mut to.audiences, self.audiences);
        set(&mut to.jwt_max_seconds_ahead, self.jwt_max_seconds_ahead);
    }
}
