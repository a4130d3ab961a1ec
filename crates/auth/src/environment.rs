//! Configuration from the environment: the one place of the library that reads it.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SF_CLIENT_ID`, `SF_CLIENT_SECRET` | the app |
//! | `SF_PRIVATE_KEY` (PEM) or `SF_PRIVATE_KEY_FILE`, with `SF_USERNAME` | JWT bearer |
//! | `SF_REFRESH_TOKEN` | refresh token |
//! | `SF_ACCESS_TOKEN` with `SF_INSTANCE_URL` | that token, not renewable |
//! | `SF_LOGIN_URL` | token host; default `SF_INSTANCE_URL`, then `https://login.salesforce.com` |
//! | `SF_AUDIENCE` | `aud` of an assertion, where the rule of [`OrgConfig::audience`] does not fit |
//!
//! Where several are complete, the first of the table is taken.

use crate::config::{OrgConfig, parse_host_url};
use crate::error::ConfigError;
use crate::grant::Grant;
use crate::grant::jwt_bearer::PrivateKey;
use crate::secret::Secret;

impl OrgConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable that is missing or bad, with everything that was tried.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The same from any source of variables. Empty values count as absent.
    ///
    /// # Errors
    /// As [`OrgConfig::from_env`].
    ///
    /// ```
    /// use tieline_auth::OrgConfig;
    /// let error = OrgConfig::from_variables(|name| (name == "SF_CLIENT_ID").then(|| "3MVG9".into())).unwrap_err();
    /// assert!(error.to_string().contains("SF_REFRESH_TOKEN"));
    /// ```
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let get = |name: &str| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
        let grant = grant(&get)?;
        let login = get("SF_LOGIN_URL")
            .or_else(|| get("SF_INSTANCE_URL"))
            .unwrap_or_else(|| "https://login.salesforce.com".to_owned());
        let client_id = match (&grant, get("SF_CLIENT_ID")) {
            (_, Some(id)) => id,
            (Grant::AccessToken { .. }, None) => String::new(),
            (_, None) => {
                return Err(ConfigError::new(
                    "SF_CLIENT_ID is not set",
                    "set it to the consumer key of your connected app or external client app",
                ));
            }
        };
        let mut config = OrgConfig::new(&login, client_id, grant)?;
        config.client_secret = get("SF_CLIENT_SECRET").map(Secret::new);
        config.audience = get("SF_AUDIENCE");
        Ok(config)
    }
}

fn grant(get: &impl Fn(&str) -> Option<String>) -> Result<Grant, ConfigError> {
    let key = match (get("SF_PRIVATE_KEY"), get("SF_PRIVATE_KEY_FILE")) {
        (Some(pem), _) => Some((pem, "SF_PRIVATE_KEY".to_owned())),
        (None, Some(file)) => {
            let pem = std::fs::read_to_string(&file).map_err(|e| {
                ConfigError::new(
                    format!("could not read the private key file `{file}`: {e}"),
                    "SF_PRIVATE_KEY_FILE must name a readable PEM file",
                )
            })?;
            Some((pem, format!("SF_PRIVATE_KEY_FILE ({file})")))
        }
        (None, None) => None,
    };
    if let (Some((pem, source)), Some(username)) = (&key, get("SF_USERNAME")) {
        let key = PrivateKey::from_pem(pem).map_err(|e| ConfigError::new(format!("{source}: {e}"), e.hint()))?;
        return Ok(Grant::JwtBearer { username, key });
    }
    if let Some(token) = get("SF_REFRESH_TOKEN") {
        return Ok(Grant::RefreshToken { refresh_token: Secret::new(token) });
    }
    if let (Some(token), Some(instance)) = (get("SF_ACCESS_TOKEN"), get("SF_INSTANCE_URL")) {
        let instance_url = parse_host_url("instance URL", &instance)?;
        return Ok(Grant::AccessToken { access_token: Secret::new(token), instance_url });
    }
    if key.is_some() {
        return Err(ConfigError::new(
            "a private key is given, but SF_USERNAME is not",
            "set SF_USERNAME to the user whom the app logs in",
        ));
    }
    Err(ConfigError::new(
        "no complete set of credentials is in the environment: tried SF_PRIVATE_KEY or SF_PRIVATE_KEY_FILE with SF_USERNAME, SF_REFRESH_TOKEN, and SF_ACCESS_TOKEN with SF_INSTANCE_URL",
        "set SF_CLIENT_ID and one of them, or try a local org: `tieline emulate` prints all that is needed",
    ))
}
