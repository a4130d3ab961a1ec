//! Credentials as an integration keeps them: the `SF_*` settings of its login, as one sealed JSON object.

use std::collections::BTreeMap;

use tieline_auth::{ConfigError, OrgConfig};
use tieline_store::{Credentials, StoreError};

/// The settings that make a login. `SF_PRIVATE_KEY_FILE` is read and kept as `SF_PRIVATE_KEY`: the database must
/// work where the file is not.
const KEPT: [&str; 10] = [
    "SF_CLIENT_ID",
    "SF_CLIENT_SECRET",
    "SF_LOGIN_URL",
    "SF_INSTANCE_URL",
    "SF_AUDIENCE",
    "SF_USERNAME",
    "SF_PRIVATE_KEY",
    "SF_REFRESH_TOKEN",
    "SF_ACCESS_TOKEN",
    "SF_API_VERSION",
];

/// Takes the settings from any source of variables, checked to be complete, as they are to be sealed.
///
/// # Errors
/// As [`OrgConfig::from_variables`].
pub fn capture(variable: impl Fn(&str) -> Option<String>) -> Result<(OrgConfig, Credentials), ConfigError> {
    let config = OrgConfig::from_variables(&variable)?;
    let mut kept: BTreeMap<&str, String> = KEPT.iter().filter_map(|name| Some((*name, variable(name)?))).collect();
    if !kept.contains_key("SF_PRIVATE_KEY")
        && let Some(pem) = variable("SF_PRIVATE_KEY_FILE").and_then(|file| std::fs::read_to_string(file).ok())
    {
        kept.insert("SF_PRIVATE_KEY", pem);
    }
    let bytes = serde_json::to_vec(&kept).unwrap_or_default();
    Ok((config, Credentials::new(bytes)))
}

/// The login that sealed settings lead to.
///
/// # Errors
/// As [`OrgConfig::from_variables`]; [`StoreError::Sealed`] is the store's.
pub fn config_of(name: &str, credentials: &Credentials) -> Result<OrgConfig, crate::SyncError> {
    let kept: BTreeMap<String, String> = serde_json::from_slice(credentials.expose()).map_err(|_| {
        StoreError::Sealed { integration: name.to_owned(), reason: "it is not the JSON that was sealed" }
    })?;
    let mut config = OrgConfig::from_variables(|variable| kept.get(variable).cloned())?;
    config.alias = name.to_owned();
    Ok(config)
}
