//! Configuration from the environment: the one place of the library that reads it.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SF_CLIENT_ID`, `SF_CLIENT_SECRET` | the app |
//! | `SF_GRANT` | which of the grants below, by its short name; without it the first complete one |
//! | `SF_PRIVATE_KEY` (PEM) or `SF_PRIVATE_KEY_FILE`, with `SF_USERNAME` | `jwt`: JWT bearer |
//! | `SF_REFRESH_TOKEN` | `refresh_token` |
//! | `SF_USERNAME` with `SF_PASSWORD` | `password` (legacy) |
//! | `SF_CLIENT_SECRET` alone | `client_credentials` |
//! | `SF_ACCESS_TOKEN` with `SF_INSTANCE_URL` | `access_token`: that token, not renewable |
//! | `SF_LOGIN_URL` | token host; default `SF_INSTANCE_URL`, then `https://login.salesforce.com` |
//! | `SF_AUDIENCE` | `aud` of an assertion, where the rule of [`OrgConfig::audience`] does not fit |
//! | `TIELINE_TOKEN_REUSE` | `until_refused`, `introspected`, or seconds; default by grant |

use std::time::Duration;

use crate::config::{OrgConfig, Reuse, parse_host_url};
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
        if let Some(reuse) = get("TIELINE_TOKEN_REUSE") {
            config.reuse = parse_reuse(&reuse)?;
        }
        Ok(config)
    }
}

fn parse_reuse(text: &str) -> Result<Reuse, ConfigError> {
    Ok(match text {
        "until_refused" => Reuse::UntilRefused,
        "introspected" => Reuse::Introspected,
        seconds => Reuse::For(Duration::from_secs(seconds.parse().map_err(|_| {
            ConfigError::new(
                format!("TIELINE_TOKEN_REUSE is `{seconds}`"),
                "set it to until_refused, introspected, or a number of seconds",
            )
        })?)),
    })
}

/// The grants in the order in which they are tried, and what each needs.
const GRANTS: [(&str, &str); 5] = [
    ("jwt", "SF_PRIVATE_KEY or SF_PRIVATE_KEY_FILE, with SF_USERNAME"),
    ("refresh_token", "SF_REFRESH_TOKEN"),
    ("password", "SF_USERNAME with SF_PASSWORD"),
    ("client_credentials", "SF_CLIENT_SECRET"),
    ("access_token", "SF_ACCESS_TOKEN with SF_INSTANCE_URL"),
];

fn grant(get: &impl Fn(&str) -> Option<String>) -> Result<Grant, ConfigError> {
    if let Some(wanted) = get("SF_GRANT") {
        let wanted = wanted.replace('-', "_");
        let name = if wanted == "jwt_bearer" { "jwt" } else { &wanted };
        let Some((name, needs)) = GRANTS.into_iter().find(|(known, _)| *known == name) else {
            let known = GRANTS.map(|(name, _)| name).join(", ");
            return Err(ConfigError::new(format!("SF_GRANT is `{wanted}`"), format!("set it to one of {known}")));
        };
        return complete(name, get)?.ok_or_else(|| {
            ConfigError::new(format!("SF_GRANT is `{name}`, but what it needs is not set"), format!("set {needs}"))
        });
    }
    for (name, _) in GRANTS {
        if let Some(grant) = complete(name, get)? {
            return Ok(grant);
        }
    }
    if get("SF_PRIVATE_KEY").or_else(|| get("SF_PRIVATE_KEY_FILE")).is_some() {
        return Err(ConfigError::new(
            "a private key is given, but SF_USERNAME is not",
            "set SF_USERNAME to the user whom the app logs in",
        ));
    }
    let tried = GRANTS.map(|(name, needs)| format!("{name} ({needs})")).join(", ");
    Err(ConfigError::new(
        format!("no complete set of credentials is in the environment: tried {tried}"),
        "set SF_CLIENT_ID and one of them, or try a local org: `tieline emulate` prints all that is needed",
    ))
}

/// The grant, if all that it needs is there.
fn complete(name: &str, get: &impl Fn(&str) -> Option<String>) -> Result<Option<Grant>, ConfigError> {
    Ok(match name {
        "jwt" => match get("SF_USERNAME") {
            Some(username) => private_key(get)?.map(|key| Grant::JwtBearer { username, key }),
            None => None,
        },
        "refresh_token" => {
            get("SF_REFRESH_TOKEN").map(|token| Grant::RefreshToken { refresh_token: Secret::new(token) })
        }
        "password" => get("SF_USERNAME")
            .zip(get("SF_PASSWORD"))
            .map(|(username, password)| Grant::Password { username, password: Secret::new(password) }),
        "client_credentials" => get("SF_CLIENT_SECRET").map(|_| Grant::ClientCredentials),
        _ => match (get("SF_ACCESS_TOKEN"), get("SF_INSTANCE_URL")) {
            (Some(token), Some(instance)) => {
                let instance_url = parse_host_url("instance URL", &instance)?;
                Some(Grant::AccessToken { access_token: Secret::new(token), instance_url })
            }
            _ => None,
        },
    })
}

fn private_key(get: &impl Fn(&str) -> Option<String>) -> Result<Option<PrivateKey>, ConfigError> {
    let (pem, source) = match (get("SF_PRIVATE_KEY"), get("SF_PRIVATE_KEY_FILE")) {
        (Some(pem), _) => (pem, "SF_PRIVATE_KEY".to_owned()),
        (None, Some(file)) => {
            let pem = std::fs::read_to_string(&file).map_err(|e| {
                ConfigError::new(
                    format!("could not read the private key file `{file}`: {e}"),
                    "SF_PRIVATE_KEY_FILE must name a readable PEM file",
                )
            })?;
            (pem, format!("SF_PRIVATE_KEY_FILE ({file})"))
        }
        (None, None) => return Ok(None),
    };
    let key = PrivateKey::from_pem(&pem).map_err(|e| ConfigError::new(format!("{source}: {e}"), e.hint()))?;
    Ok(Some(key))
}
