//! Configuration from the environment: the one place of the library that reads it.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `SF_CLIENT_ID`, `SF_CLIENT_SECRET` | the app |
//! | `SF_GRANT` | which of the grants below, by its short name; without it the first complete one |
//! | `SF_PRIVATE_KEY` (PEM), `SF_PRIVATE_KEY_FILE` or `TIELINE_SIGNING_KEY` (`keychain:NAME`, `kms:KEY`, `transit:MOUNT/NAME@VERSION`), with `SF_USERNAME` | `jwt`: JWT bearer |
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
use crate::transit::Transit;

/// All settings of a login, and `SF_API_VERSION`, which says how the org is called afterwards.
pub const SETTINGS: [&str; 15] = [
    "SF_GRANT",
    "SF_CLIENT_ID",
    "SF_CLIENT_SECRET",
    "SF_LOGIN_URL",
    "SF_INSTANCE_URL",
    "SF_AUDIENCE",
    "SF_USERNAME",
    "SF_PASSWORD",
    "SF_PRIVATE_KEY",
    "SF_PRIVATE_KEY_FILE",
    "TIELINE_SIGNING_KEY",
    "SF_REFRESH_TOKEN",
    "SF_ACCESS_TOKEN",
    "SF_API_VERSION",
    "TIELINE_TOKEN_REUSE",
];

/// What a key that never leaves its service needs besides, under the names of Vault's own programs.
pub const KEY_SERVICE: [&str; 6] =
    ["VAULT_ADDR", "VAULT_TOKEN", "VAULT_NAMESPACE", "BAO_ADDR", "BAO_TOKEN", "BAO_NAMESPACE"];

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
    ("jwt", "SF_PRIVATE_KEY, SF_PRIVATE_KEY_FILE or TIELINE_SIGNING_KEY, with SF_USERNAME"),
    ("refresh_token", "SF_REFRESH_TOKEN"),
    ("password", "SF_USERNAME with SF_PASSWORD"),
    ("client_credentials", "SF_CLIENT_SECRET"),
    ("access_token", "SF_ACCESS_TOKEN with SF_INSTANCE_URL"),
];

/// The grants of which everything is set, by their short names; the first one is taken where `SF_GRANT` names none.
///
/// ```
/// use tieline_auth::environment::complete_grants;
/// let set = |name: &str| (name == "SF_REFRESH_TOKEN" || name == "SF_CLIENT_SECRET").then(|| "x".to_owned());
/// assert_eq!(complete_grants(set), ["refresh_token", "client_credentials"]);
/// ```
pub fn complete_grants(variable: impl Fn(&str) -> Option<String>) -> Vec<&'static str> {
    let get = |name: &str| variable(name).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty());
    let names = GRANTS.into_iter().map(|(name, _)| name);
    names.filter(|name| matches!(complete(name, &get), Ok(Some(_)))).collect()
}

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
    if ["SF_PRIVATE_KEY", "SF_PRIVATE_KEY_FILE", "TIELINE_SIGNING_KEY"].into_iter().any(|name| get(name).is_some()) {
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
        (None, None) => return signing_key(get),
    };
    let key = PrivateKey::from_pem(&pem).map_err(|e| ConfigError::new(format!("{source}: {e}"), e.hint()))?;
    Ok(Some(key))
}

/// `TIELINE_SIGNING_KEY`: a key in the keychain of this machine, or one that never leaves its service.
fn signing_key(get: &impl Fn(&str) -> Option<String>) -> Result<Option<PrivateKey>, ConfigError> {
    let Some(place) = get("TIELINE_SIGNING_KEY") else { return Ok(None) };
    match place.split_once(':') {
        Some(("keychain", name)) => from_keychain(name).map(Some),
        Some(("kms", id)) => from_kms(id).map(Some),
        Some(("transit", rest)) => {
            let (place, version) = match rest.split_once('@') {
                Some((place, version)) => (place, Some(version)),
                None => (rest, None),
            };
            let version = version.map(str::parse).transpose().map_err(|_| unknown_place(rest))?;
            Ok(Some(transit(get, place)?.unasked(version)))
        }
        _ => Err(unknown_place(&place)),
    }
}

fn unknown_place(place: &str) -> ConfigError {
    ConfigError::new(
        format!("TIELINE_SIGNING_KEY is `{place}`, which is no place of a key"),
        "write keychain:NAME, kms:KEY, or transit:MOUNT/NAME@VERSION with VAULT_ADDR and VAULT_TOKEN",
    )
}

/// The key service that `VAULT_ADDR`, `VAULT_TOKEN` and `VAULT_NAMESPACE` (or `BAO_…`) name, and a key in it.
///
/// # Errors
/// Names the variable that is missing.
pub fn transit(get: &impl Fn(&str) -> Option<String>, place: &str) -> Result<Transit, ConfigError> {
    let either = |name: &str| get(&format!("VAULT_{name}")).or_else(|| get(&format!("BAO_{name}")));
    let needed = |name: &str, what: &str| {
        either(name).ok_or_else(|| {
            ConfigError::new(
                format!("the key {place} is in a key service, and VAULT_{name} is not set"),
                format!("set VAULT_{name} (or BAO_{name}) to {what}"),
            )
        })
    };
    let address = needed("ADDR", "its address, such as https://vault.example.org:8200")?;
    let token = needed("TOKEN", "a token that may use the key")?;
    Transit::new(&address, Secret::new(token), either("NAMESPACE"), place)
}

#[cfg(feature = "keychain")]
fn from_keychain(name: &str) -> Result<PrivateKey, ConfigError> {
    let hint = "make it again with `tieline setup jwt --key keychain`, or give SF_PRIVATE_KEY_FILE";
    let failed =
        |reason: String| ConfigError::new(format!("the private key `{name}` is not to be had: {reason}"), hint);
    let pem = crate::token_store::keychain::read(&crate::token_store::keychain::private_key(name));
    let pem =
        pem.map_err(|e| failed(e.to_string()))?.ok_or_else(|| failed("the keychain does not have it".to_owned()))?;
    PrivateKey::from_pem(&pem)
}

#[cfg(not(feature = "keychain"))]
fn from_keychain(name: &str) -> Result<PrivateKey, ConfigError> {
    Err(ConfigError::new(
        format!("the private key `{name}` is in a keychain, which this program was built without"),
        "build it with the feature `keychain`, or give SF_PRIVATE_KEY_FILE",
    ))
}

#[cfg(feature = "aws")]
fn from_kms(id: &str) -> Result<PrivateKey, ConfigError> {
    crate::aws::kms::KmsKey::unasked(crate::aws::Aws::from_env()?, id)
}

#[cfg(not(feature = "aws"))]
fn from_kms(id: &str) -> Result<PrivateKey, ConfigError> {
    Err(ConfigError::new(
        format!("the private key `{id}` is in AWS KMS, which this program was built without"),
        "build it with the feature `aws`, or give SF_PRIVATE_KEY_FILE",
    ))
}
