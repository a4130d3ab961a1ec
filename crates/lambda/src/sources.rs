//! From the environment to the broker's orgs: `TIELINE_CONNECTIONS`, and the places where settings are.
//!
//! | place | what is there |
//! | --- | --- |
//! | `env` | the `SF_*` variables of this process |
//! | `file:PATH` | a JSON object with them |
//! | `secretsmanager:ID` (name or ARN) | the same as a secret, or a Salesforce secret that AWS itself rotates; a refresh token is kept up to date there |
//! | `ssm:NAME` | the same as a parameter (SecureString) |
//!
//! In each of them a value may be written as a reference to where it is: `kms:BASE64` (encrypted with KMS),
//! `secretsmanager:ID` or `secretsmanager:ID#FIELD`, `ssm:NAME`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use tieline_auth::aws::{Aws, AwsError, Service, Variable, kms};
use tieline_auth::certificate::Certificate;
use tieline_auth::environment::{KEY_SERVICE, SETTINGS};
use tieline_auth::refresh_token_home::Home;
use tieline_auth::sealing::MasterKey;
use tieline_auth::token_store::memory::MemoryStore;
use tieline_auth::{Clock, ConfigError, Credentials, Grant, OrgConfig, Settings, SharedStore};
use tokio::sync::OnceCell;

use crate::broker::DEFAULT_CONNECTION;
use crate::dynamodb::DynamoDbStore;
use crate::orgs::{Org, OrgError, Orgs, Source, Variables};
use crate::secret_home::{self, Current};

/// The settings whose value may be a reference. Not `TIELINE_SIGNING_KEY`: there, `kms:` names a key.
const MAY_REFER: [&str; 10] = [
    "SF_CLIENT_ID",
    "SF_CLIENT_SECRET",
    "SF_USERNAME",
    "SF_PASSWORD",
    "SF_PRIVATE_KEY",
    "SF_REFRESH_TOKEN",
    "SF_ACCESS_TOKEN",
    "VAULT_TOKEN",
    "BAO_TOKEN",
    CERTIFICATE,
];

pub(crate) const REFRESH_TOKEN: &str = "SF_REFRESH_TOKEN";
/// The app's certificate, in PEM. No login needs it: it is there to be warned about before it ends.
const CERTIFICATE: &str = "SF_CERTIFICATE";

/// The names in a Salesforce secret that Secrets Manager rotates by itself, and ours for them. Source: Secrets Manager
/// User Guide, "Salesforce Client Secret".
const MANAGED: [(&str, &str); 3] =
    [("consumerKey", "SF_CLIENT_ID"), ("consumerSecret", "SF_CLIENT_SECRET"), ("baseUri", "SF_LOGIN_URL")];

/// What reading settings needs, once for all connections.
pub struct Sources {
    variable: Variable,
    clock: Arc<dyn Clock>,
    api_version: String,
    aws: OnceCell<Aws>,
    settings: OnceCell<Settings>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// A value that is somewhere else.
enum Reference {
    Kms(String),
    Ssm(String),
    /// Secret, and the field in it.
    Secret(String, Option<String>),
}

impl Reference {
    fn of(value: &str) -> Option<Self> {
        match value.trim().split_once(':')? {
            ("kms", ciphertext) => Some(Reference::Kms(ciphertext.to_owned())),
            ("ssm", name) => Some(Reference::Ssm(name.to_owned())),
            ("secretsmanager", rest) => Some(match rest.split_once('#') {
                Some((id, field)) => Reference::Secret(id.to_owned(), Some(field.to_owned())),
                None => Reference::Secret(rest.to_owned(), None),
            }),
            _ => None,
        }
    }
}

/// Where a connection's settings are.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Environment,
    File(PathBuf),
    SecretsManager(String),
    Ssm(String),
}

#[derive(Debug)]
struct Placed {
    place: Place,
    sources: Arc<Sources>,
}

impl Sources {
    /// Nothing is read yet. `api_version`: what orgs are called with where their settings do not say.
    pub fn new(variable: Variable, clock: Arc<dyn Clock>, api_version: impl Into<String>) -> Self {
        let (aws, settings) = (OnceCell::new(), OnceCell::new());
        Self { variable, clock, api_version: api_version.into(), aws, settings }
    }

    /// With a token store that is open already, instead of the one that `TIELINE_TOKEN_STORE` names.
    #[must_use]
    pub fn with_settings(self, settings: Settings) -> Self {
        Self { settings: OnceCell::new_with(Some(settings)), ..self }
    }

    /// The orgs that `TIELINE_CONNECTIONS` names (`NAME=PLACE`, separated by commas); without it `default`, from the
    /// `SF_*` variables. Nothing is fetched yet.
    ///
    /// # Errors
    /// Names what cannot be read in the variable.
    pub fn orgs(self) -> Result<Orgs, ConfigError> {
        let listed = (self.variable)("TIELINE_CONNECTIONS").filter(|text| !text.trim().is_empty());
        let listed = listed.unwrap_or_else(|| format!("{DEFAULT_CONNECTION}=env"));
        let places = connections(&listed)?;
        let sources = Arc::new(self);
        let orgs = Orgs::new(sources.clock.clone());
        Ok(places.into_iter().fold(orgs, |orgs, (name, place)| {
            orgs.with_source(name, Arc::new(Placed { place, sources: sources.clone() }))
        }))
    }

    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    async fn aws(&self) -> Result<&Aws, ConfigError> {
        self.aws.get_or_try_init(|| async { Aws::from_variables(self.variable.clone()) }).await
    }

    /// The token store is opened with the first org: its key may be a secret too.
    async fn settings(&self) -> Result<Settings, Failure> {
        let settings = self.settings.get_or_try_init(|| async {
            let store = match self.get("TIELINE_TOKEN_STORE") {
                Some(url) => {
                    self.store(url.trim(), self.get("TIELINE_MASTER_KEY_FILE").as_deref().map(Path::new)).await?
                }
                None => None,
            };
            // Credentials that are replaced must find what the ones before have: the newest refresh token.
            let store = store.or_else(|| {
                let store = Arc::new(MemoryStore::with_clock(self.clock.clone()));
                MasterKey::ephemeral().map(|key| SharedStore { store, key })
            });
            Ok::<_, Failure>(Settings { clock: self.clock.clone(), store, ..Settings::default() })
        });
        settings.await.cloned()
    }

    /// Opens `memory:` (which is `None`) or `dynamodb:TABLE`. The master key is `TIELINE_MASTER_KEY`, which may be a
    /// reference, or in `key_file`.
    ///
    /// # Errors
    /// The store or the key cannot be used, or the key cannot be fetched.
    pub async fn token_store(&self, url: &str, key_file: Option<&Path>) -> Result<Option<SharedStore>, ConfigError> {
        self.store(url, key_file).await.map_err(|failure| match failure {
            Failure::Setting(error) => error,
            Failure::Unavailable { reason, hint } => ConfigError::new(reason, hint),
        })
    }

    async fn store(&self, url: &str, key_file: Option<&Path>) -> Result<Option<SharedStore>, Failure> {
        let table = match url.split_once(':') {
            Some(("memory", _)) => return Ok(None),
            Some(("dynamodb", table)) => table,
            _ => {
                let scheme = url.split(':').next().unwrap_or_default();
                return Err(ConfigError::new(
                    format!("TIELINE_TOKEN_STORE begins with `{scheme}:`, which is no token store here"),
                    "write memory: or dynamodb:TABLE",
                )
                .into());
            }
        };
        let key = match (self.get("TIELINE_MASTER_KEY"), key_file) {
            (Some(text), _) => {
                let text = match Reference::of(&text) {
                    Some(reference) => self.resolved(&reference).await?.0,
                    None => text,
                };
                MasterKey::from_text(&text).map_err(|reason| format!("TIELINE_MASTER_KEY cannot be used: {reason}"))
            }
            (None, Some(file)) => MasterKey::load(file).map_err(|e| e.to_string()),
            (None, None) => Err("the token store needs a master key, and TIELINE_MASTER_KEY is not set".to_owned()),
        };
        let hint = "make one with `head -c 32 /dev/urandom | base64`, keep it as a secret, and set \
                    TIELINE_MASTER_KEY=secretsmanager:ID (or kms:…, ssm:NAME) for all who share the store";
        let key = key.map_err(|message| ConfigError::new(message, hint))?;
        let store = DynamoDbStore::new(self.aws().await?.clone(), table, self.clock.clone())?;
        Ok(Some(SharedStore { store: Arc::new(store), key }))
    }

    /// The value that is referred to; and where it lives, if it can be kept up to date there.
    async fn resolved(&self, reference: &Reference) -> Result<(String, Option<Home>), Failure> {
        match reference {
            Reference::Kms(ciphertext) => Ok((self.decrypted(ciphertext).await?, None)),
            Reference::Ssm(name) => Ok((self.parameter(name).await?, None)),
            Reference::Secret(id, None) => Ok((self.secret(id).await?.text, None)),
            Reference::Secret(id, Some(field)) => {
                let secret = self.secret(id).await?;
                let object: Value = serde_json::from_str(&secret.text).unwrap_or_default();
                let value = object[field].as_str().map(str::to_owned).ok_or_else(|| {
                    let message = format!("the secret {id} has no field `{field}`");
                    ConfigError::new(message, "a secret with fields is a JSON object of texts")
                })?;
                Ok((value, secret.home(self.aws().await?, field)))
            }
        }
    }

    async fn secret(&self, id: &str) -> Result<Current, Failure> {
        let found = secret_home::read(self.aws().await?, id).await;
        let found = found.map_err(|error| Failure::of(&format!("the secret {id}"), &error))?;
        found.ok_or_else(|| ConfigError::new(format!("the secret {id} is binary"), "store it as text").into())
    }

    async fn parameter(&self, name: &str) -> Result<String, Failure> {
        let body = json!({ "Name": name, "WithDecryption": true });
        let answer = self.aws().await?.ask(Service::Ssm, "GetParameter", name, &body).await;
        let answer = answer.map_err(|error| Failure::of(&format!("the parameter {name}"), &error))?;
        let text = answer["Parameter"]["Value"].as_str().map(str::to_owned);
        text.ok_or_else(|| ConfigError::new(format!("the parameter {name} has no value"), "see it in SSM").into())
    }

    /// Lambda's console binds what it encrypts to the function's name; other tools bind it to nothing.
    async fn decrypted(&self, ciphertext: &str) -> Result<String, Failure> {
        let what = "a variable that KMS has encrypted";
        let bytes = STANDARD.decode(ciphertext.trim()).map_err(|_| {
            ConfigError::new(
                format!("{what} is not base64"),
                "write kms: and the ciphertext as `aws kms encrypt` prints it",
            )
        })?;
        let aws = self.aws().await?;
        let function = self.get("AWS_LAMBDA_FUNCTION_NAME");
        let bound: BTreeMap<_, _> = function.into_iter().map(|name| ("LambdaFunctionName".to_owned(), name)).collect();
        let mut outcome = kms::decrypt(aws, &bytes, &bound).await;
        if matches!(&outcome, Err(error) if error.code == "InvalidCiphertextException") && !bound.is_empty() {
            outcome = kms::decrypt(aws, &bytes, &BTreeMap::new()).await;
        }
        let text = outcome.map_err(|error| Failure::of(what, &error))?;
        String::from_utf8(text.to_vec())
            .map_err(|_| ConfigError::new(format!("{what} is not text"), "encrypt the value as it is").into())
    }
}

/// Reading failed, for a reason that passes or not.
enum Failure {
    Setting(ConfigError),
    Unavailable { reason: String, hint: String },
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Failure::Setting(error)
    }
}

impl Failure {
    fn of(what: &str, error: &AwsError) -> Self {
        match error.passing {
            true => Failure::Unavailable { reason: format!("{what}: {error}"), hint: error.hint() },
            false => Failure::Setting(ConfigError::new(format!("{what} cannot be read: {error}"), error.hint())),
        }
    }

    fn at(self, place: &str, connection: &str) -> OrgError {
        match self {
            Failure::Setting(error) => OrgError::Setting { connection: connection.to_owned(), error },
            Failure::Unavailable { reason, hint } => OrgError::Unavailable { place: place.to_owned(), reason, hint },
        }
    }
}

impl Placed {
    async fn settings(&self) -> Result<Variables, Failure> {
        let sources = &*self.sources;
        let mut settings = match &self.place {
            Place::Environment => {
                let values = names().filter_map(|name| Some((name.to_owned(), sources.get(name)?))).collect();
                Variables { values, home: None }
            }
            Place::File(path) => {
                let text = tokio::fs::read_to_string(path).await.map_err(|e| Failure::Unavailable {
                    reason: format!("{}: {e}", path.display()),
                    hint: "see that the file is there and can be read".to_owned(),
                })?;
                object(&text, &self.describe())?
            }
            Place::SecretsManager(id) => {
                let secret = sources.secret(id).await?;
                let mut settings = object(&secret.text, &self.describe())?;
                // What only refers to the token is not written over.
                if settings.values.get(REFRESH_TOKEN).is_some_and(|value| Reference::of(value).is_none()) {
                    settings.home = secret.home(sources.aws().await?, REFRESH_TOKEN);
                }
                settings
            }
            Place::Ssm(name) => object(&sources.parameter(name).await?, &self.describe())?,
        };
        // The content counts: a key may be replaced in its place.
        if let Some(file) = settings.values.remove("SF_PRIVATE_KEY_FILE")
            && !settings.values.contains_key("SF_PRIVATE_KEY")
        {
            let pem = tokio::fs::read_to_string(&file).await.map_err(|e| {
                ConfigError::new(
                    format!("could not read the private key file `{file}`: {e}"),
                    "SF_PRIVATE_KEY_FILE must name a readable PEM file",
                )
            })?;
            settings.values.insert("SF_PRIVATE_KEY".to_owned(), pem);
        }
        for (name, value) in &mut settings.values {
            if !MAY_REFER.contains(&name.as_str()) {
                continue;
            }
            let Some(reference) = Reference::of(value) else { continue };
            let (resolved, home) = sources.resolved(&reference).await?;
            if name == REFRESH_TOKEN {
                settings.home = home;
            }
            *value = resolved;
        }
        Ok(settings)
    }

    fn describe(&self) -> String {
        match &self.place {
            Place::Environment => "the environment".to_owned(),
            Place::File(path) => format!("the file {}", path.display()),
            Place::SecretsManager(id) => format!("the secret {id}"),
            Place::Ssm(name) => format!("the parameter {name}"),
        }
    }
}

impl Source for Placed {
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Variables, OrgError>> {
        Box::pin(async move { self.settings().await.map_err(|failure| failure.at(&self.describe(), name)) })
    }

    fn org<'a>(&'a self, name: &'a str, settings: &'a Variables) -> BoxFuture<'a, Result<Org, OrgError>> {
        Box::pin(async move {
            let sources = &*self.sources;
            let get = |name: &str| settings.values.get(name).cloned();
            let version = get("SF_API_VERSION").map(|text| text.trim().trim_start_matches('v').to_owned());
            let made = async {
                let mut config = OrgConfig::from_variables(get)?;
                config.alias = name.to_owned();
                if matches!(config.grant, Grant::RefreshToken { .. }) {
                    config.home.clone_from(&settings.home);
                }
                Ok(Credentials::with(config, sources.settings().await?)?)
            };
            let credentials = made.await.map_err(|failure: Failure| failure.at("the token store", name))?;
            let certificate = get(CERTIFICATE).filter(|pem| !pem.trim().is_empty());
            let certificate_ends = certificate.and_then(|pem| certificate_ends(name, &pem));
            let api_version = version.unwrap_or_else(|| sources.api_version.clone());
            Ok(Org { credentials, api_version, certificate_ends })
        })
    }
}

/// The names of all settings.
fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.into_iter().chain(KEY_SERVICE).chain([CERTIFICATE])
}

/// When the certificate ends. One that cannot be read is no reason not to log in.
fn certificate_ends(connection: &str, pem: &str) -> Option<Timestamp> {
    match Certificate::from_pem(pem) {
        Ok(certificate) => Some(certificate.not_after),
        Err(error) => {
            tracing::warn!(connection, "{CERTIFICATE}: {error} (hint: {})", error.hint());
            None
        }
    }
}

/// The settings in a JSON object. Its other members are none of our business.
fn object(text: &str, place: &str) -> Result<Variables, ConfigError> {
    let object: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(|_| {
        ConfigError::new(
            format!("{place} is not a JSON object"),
            r#"write it like {"SF_CLIENT_ID": "…", "SF_CLIENT_SECRET": "…", "SF_LOGIN_URL": "https://…"}"#,
        )
    })?;
    let mut variables = Variables::default();
    for (name, value) in object {
        let ours = MANAGED.into_iter().find(|(theirs, _)| *theirs == name).map_or(name.as_str(), |(_, ours)| ours);
        let value = match value {
            Value::String(text) => text,
            Value::Null => continue,
            other => other.to_string(),
        };
        if names().any(|known| known == ours) {
            variables.values.entry(ours.to_owned()).or_insert(value);
        }
    }
    Ok(variables)
}

/// Reads `NAME=PLACE, NAME=PLACE`.
fn connections(text: &str) -> Result<BTreeMap<String, Place>, ConfigError> {
    let bad = |what: String| {
        ConfigError::new(
            format!("TIELINE_CONNECTIONS cannot be read: {what}"),
            "write it like default=secretsmanager:tieline/prod, crm=ssm:/tieline/crm, old=file:/opt/sf.json, own=env",
        )
    };
    let mut places = BTreeMap::new();
    for entry in text.split([',', '\n']).map(str::trim).filter(|entry| !entry.is_empty()) {
        let (name, place) = entry.split_once('=').ok_or_else(|| bad(format!("`{entry}` has no place")))?;
        let (name, place) = (name.trim(), place.trim());
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(fits) {
            return Err(bad(format!("`{name}` is no name (letters, digits, - _ .)")));
        }
        let place = match place.split_once(':') {
            None if place == "env" => Place::Environment,
            Some(("file", path)) if !path.is_empty() => Place::File(path.into()),
            Some(("secretsmanager", id)) if !id.is_empty() => Place::SecretsManager(id.to_owned()),
            Some(("ssm", id)) if !id.is_empty() => Place::Ssm(id.to_owned()),
            _ => return Err(bad(format!("`{place}` is no place"))),
        };
        if places.insert(name.to_owned(), place).is_some() {
            return Err(bad(format!("`{name}` is there twice")));
        }
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_named_with_their_places() {
        let found = connections(
            " default=secretsmanager:arn:aws:secretsmanager:eu-central-1:111122223333:secret:a/b=c,\n crm=ssm:/t/crm,f=file:/a b.json, own = env,",
        )
        .unwrap();
        let places: Vec<_> = found.values().collect();
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["crm", "default", "f", "own"]);
        assert_eq!(places[0], &Place::Ssm("/t/crm".to_owned()));
        assert_eq!(
            places[1],
            &Place::SecretsManager("arn:aws:secretsmanager:eu-central-1:111122223333:secret:a/b=c".to_owned())
        );
        assert_eq!(places[3], &Place::Environment);
        for bad in ["default", "=env", "a b=env", "a=ENV", "a=secretsmanager:", "a=vault:x", "a=env,a=env"] {
            let error = connections(bad).expect_err(bad);
            assert!(error.hint().contains("secretsmanager:"), "{bad}");
        }
    }

    #[test]
    fn a_secret_that_aws_rotates_is_understood() {
        let text = r#"{"consumerKey":"3MVG9","consumerSecret":"hush","baseUri":"https://acme.my.salesforce.com",
            "appId":"0x1","consumerId":"0y2","SF_API_VERSION":67.0,"SF_AUDIENCE":null}"#;
        let found = object(text, "the secret").unwrap();
        let pairs: Vec<_> = found.values.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("SF_API_VERSION", "67.0"),
                ("SF_CLIENT_ID", "3MVG9"),
                ("SF_CLIENT_SECRET", "hush"),
                ("SF_LOGIN_URL", "https://acme.my.salesforce.com"),
            ]
        );
        assert!(!format!("{found:?}").contains("hush"));
        let error = object("hush", "the secret x").map(drop).unwrap_err();
        assert!(error.to_string().contains("the secret x") && !error.to_string().contains("hush"));
    }
}
