//! Credentials as an integration keeps them: the `SF_*` settings of its login, as one sealed JSON object.

use std::collections::BTreeMap;

use tieline_auth::environment::{KEY_SERVICE, SETTINGS};
use tieline_auth::{ConfigError, Credentials, OrgConfig, Settings};
use tieline_client::{ApiVersion, ClientError, Connection, Options};
use tieline_store::{Credentials as SealedLater, StoreError};

use crate::error::SyncError;

/// What the settings lead to.
#[derive(Debug)]
pub struct Login {
    /// The org and how to log in to it.
    pub config: OrgConfig,
    /// How it is called: `SF_API_VERSION` pins the version of the API.
    pub options: Options,
}

impl Login {
    fn new(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let api_version = ApiVersion::told(variable("SF_API_VERSION").as_deref());
        let options = Options { api_version, ..Options::default() };
        Ok(Self { config: OrgConfig::from_variables(variable)?, options })
    }

    /// A connection that logs in at its first call, with tokens kept where `settings` says.
    ///
    /// # Errors
    /// When HTTPS cannot be prepared on this machine.
    pub fn connect(self, settings: Settings) -> Result<Connection, ClientError> {
        Connection::with(Credentials::with(self.config, settings)?, self.options)
    }
}

/// Takes the settings from any source of variables, checked to be complete, as they are to be sealed.
///
/// # Errors
/// As [`OrgConfig::from_variables`].
pub fn capture(variable: impl Fn(&str) -> Option<String>) -> Result<(Login, SealedLater), ConfigError> {
    let login = Login::new(&variable)?;
    let mut kept: BTreeMap<&str, String> = SETTINGS.iter().filter_map(|name| Some((*name, variable(name)?))).collect();
    // The database must work where the file is not.
    if let Some(file) = kept.remove("SF_PRIVATE_KEY_FILE")
        && !kept.contains_key("SF_PRIVATE_KEY")
        && let Ok(pem) = std::fs::read_to_string(file)
    {
        kept.insert("SF_PRIVATE_KEY", pem);
    }
    if kept.get("TIELINE_SIGNING_KEY").is_some_and(|place| place.starts_with("transit:")) {
        kept.extend(KEY_SERVICE.iter().filter_map(|name| Some((*name, variable(name)?))));
    }
    let bytes = serde_json::to_vec(&kept).unwrap_or_default();
    Ok((login, SealedLater::new(bytes)))
}

/// True if any setting of a login is there, complete or not.
pub fn is_any_set(variable: impl Fn(&str) -> Option<String>) -> bool {
    // These say how, not who: they alone are no login.
    let mut who = SETTINGS.iter().filter(|name| !["SF_API_VERSION", "TIELINE_TOKEN_REUSE"].contains(name));
    who.any(|name| variable(name).is_some_and(|v| !v.is_empty()))
}

/// The login that sealed settings lead to.
///
/// # Errors
/// As [`OrgConfig::from_variables`]; [`StoreError::Sealed`] is the store's.
pub fn login_of(name: &str, credentials: &SealedLater) -> Result<Login, SyncError> {
    let kept: BTreeMap<String, String> = serde_json::from_slice(credentials.expose()).map_err(|_| {
        StoreError::Sealed { table: "integrations", row: name.to_owned(), reason: "it is not the JSON that was sealed" }
    })?;
    let mut login = Login::new(|variable| kept.get(variable).cloned())?;
    login.config.alias = name.to_owned();
    Ok(login)
}
