//! What several commands read from environment and arguments.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tieline_auth::keyring::Keyring;
use tieline_auth::{Grant, SharedStore};
use tieline_client::{ApiVersion, Connection, Options, Reserve};
use tieline_lambda::sources::Sources;
use tieline_store::{Store, Tenant, Uuid, token_stores};
use tieline_sync::{Window, integration};

use crate::config::{ConfigFile, File};
use crate::failure::Failure;
use crate::orgs::{Entry, KeyPlace, Orgs, Variables};

/// Which org a command works on.
#[derive(Args, Clone, Default)]
pub(crate) struct OrgChoice {
    /// Saved org to use, by alias or user name [default: the SF_* variables, then the default org]
    #[arg(long, value_name = "ALIAS", env = "TIELINE_ORG", hide_env = true)]
    pub(crate) org: Option<String>,
    /// API calls of the org's 24 hours that are left to others: a number, or per cent of what is allowed
    #[arg(long, value_name = "N|N%", env = "TIELINE_API_RESERVE", hide_env = true, value_parser = reserve)]
    pub(crate) reserve: Option<Reserve>,
}

fn reserve(text: &str) -> Result<Reserve, String> {
    let text = text.trim();
    let read = match text.strip_suffix('%') {
        // A variable that is set to nothing.
        None if text.is_empty() => Some(Reserve::None),
        None => text.parse().ok().map(Reserve::Calls),
        Some(percent) => {
            percent.trim().parse().ok().filter(|percent| (0.0..=100.0).contains(percent)).map(Reserve::Percent)
        }
    };
    read.ok_or_else(|| "give a number of calls, or per cent such as 20%".to_owned())
}

/// An org, and how it came to be chosen.
pub(crate) struct Chosen {
    pub(crate) connection: Connection,
    /// The saved org's name; none for a login from the environment.
    pub(crate) alias: Option<String>,
    /// What a saved login consists of.
    pub(crate) variables: Variables,
}

impl OrgChoice {
    /// The org that was named; else the one of the SF_* variables; else the default among the saved ones.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        Ok(self.choose().await?.connection)
    }

    /// The same for calls of its API. With a reserve it is first asked what is left: a command is often one call, and the
    /// first of a process goes out before anything is known.
    pub(crate) async fn to_call(&self) -> Result<Connection, Failure> {
        let connection = self.connection().await?;
        if self.reserve() != Reserve::None {
            connection.refresh_api_usage().await?;
        }
        Ok(connection)
    }

    fn reserve(&self) -> Reserve {
        self.reserve.unwrap_or_default()
    }

    pub(crate) async fn choose(&self) -> Result<Chosen, Failure> {
        let wanted = self.org.as_deref().filter(|org| !org.is_empty());
        if wanted.is_none() && integration::is_any_set(|name| std::env::var(name).ok()) {
            let connection = from_environment(self.reserve()).await?;
            return Ok(Chosen { connection, alias: None, variables: Variables::new() });
        }
        let saved = match (wanted, Orgs::open()) {
            (Some(wanted), orgs) => {
                let orgs = orgs?;
                let found = orgs.find(wanted)?;
                Some((orgs, found))
            }
            (None, Ok(orgs)) => {
                let found = orgs.default_alias().map(str::to_owned).map(|alias| orgs.find(&alias)).transpose()?;
                found.map(|found| (orgs, found))
            }
            (None, Err(_)) => None,
        };
        match saved {
            Some((orgs, (alias, entry))) => {
                let connection = saved_org_with(&orgs, &alias, &entry, self.reserve()).await?;
                Ok(Chosen { connection, alias: Some(alias), variables: orgs.variables(&entry)? })
            }
            // Nothing at all: what is missing in the environment is told, and the other way.
            None => match from_environment(self.reserve()).await {
                Ok(connection) => Ok(Chosen { connection, alias: None, variables: Variables::new() }),
                Err(failure) => Err(failure.or("log in with `tieline login`")),
            },
        }
    }
}

/// A saved org's connection, with its tokens where the other commands find them.
pub(crate) async fn saved_org(orgs: &Orgs, alias: &str, entry: &Entry) -> Result<Connection, Failure> {
    saved_org_with(orgs, alias, entry, Reserve::None).await
}

async fn saved_org_with(orgs: &Orgs, alias: &str, entry: &Entry, reserve: Reserve) -> Result<Connection, Failure> {
    let variables = orgs.variables(entry)?;
    let config = entry.config(alias, &variables)?;
    let tokens = match token_store(master_key_file().as_deref()).await? {
        Some(store) => store,
        None => orgs.token_store(orgs.key_place().unwrap_or(KeyPlace::File))?,
    };
    let settings = tieline_auth::Settings { store: Some(tokens), ..tieline_auth::Settings::default() };
    let version = std::env::var("SF_API_VERSION").ok().filter(|version| !version.is_empty());
    let version = version.or_else(|| variables.get("SF_API_VERSION").cloned());
    let options = Options { api_version: ApiVersion::told(version.as_deref()), reserve, ..Options::default() };
    let credentials = tieline_auth::Credentials::with(config, settings)?;
    Ok(Connection::with(credentials, options)?)
}

/// The org that the SF_* variables name, with the tokens in `TIELINE_TOKEN_STORE`.
async fn from_environment(reserve: Reserve) -> Result<Connection, Failure> {
    let (mut login, _) = integration::capture(|name| std::env::var(name).ok())?;
    let tokens = match token_store(master_key_file().as_deref()).await? {
        Some(store) => Some(store),
        // Where refresh tokens rotate, the next command must find the new one.
        None if matches!(login.config.grant, Grant::RefreshToken { .. }) => own_token_store(),
        None => None,
    };
    login.options.reserve = reserve;
    Ok(login.connect(tieline_auth::Settings { store: tokens, ..tieline_auth::Settings::default() })?)
}

/// What `TIELINE_TOKEN_STORE` names; nothing where it is not set, or `memory:`.
pub(crate) async fn token_store(key_file: Option<&Path>) -> Result<Option<SharedStore>, Failure> {
    let Some(url) = std::env::var("TIELINE_TOKEN_STORE").ok().filter(|url| !url.trim().is_empty()) else {
        return Ok(None);
    };
    if url.trim().starts_with("dynamodb:") {
        return Ok(sources().token_store(url.trim(), key_file).await?);
    }
    Ok(token_stores::open(url.trim(), key_file, state_folder().as_deref()).await?)
}

/// Where connections' settings are, for this process.
pub(crate) fn sources() -> Sources {
    let clock = Arc::new(tieline_auth::SystemClock::default());
    Sources::new(Arc::new(|name| std::env::var(name).ok()), clock, tieline_client::DEFAULT_API_VERSION)
}

pub(crate) fn master_key_file() -> Option<PathBuf> {
    std::env::var_os("TIELINE_MASTER_KEY_FILE").filter(|file| !file.is_empty()).map(PathBuf::from)
}

/// A file among this user's own. `None` where the user has no folder for that (a bare environment).
pub(crate) fn own_token_store() -> Option<SharedStore> {
    let asked_for_memory = std::env::var_os("TIELINE_TOKEN_STORE").is_some_and(|url| !url.is_empty());
    let orgs = Orgs::open().ok().filter(|_| !asked_for_memory)?;
    orgs.token_store(orgs.key_place().unwrap_or(KeyPlace::File)).ok()
}

/// Where a person's programs keep what they should not lose.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_STATE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("tieline"))
}

/// Where the database is.
#[derive(Args)]
pub(crate) struct Database {
    /// Database: a SQLite file (or sqlite:FILE), or postgres://USER@HOST/NAME [default: tieline.db]
    #[arg(long, value_name = "URL", env = "TIELINE_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// File of the master keys that seal what is secret [default: of SQLite beside the database, ….key]
    #[arg(long, value_name = "FILE", env = "TIELINE_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// Which kind of database, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A URL of PostgreSQL.
    Server(String),
    /// SQLite.
    File(PathBuf),
}

/// What arguments, environment and file say together.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) address: Address,
    /// The key file that was named.
    pub(crate) key_file: Option<PathBuf>,
}

impl Database {
    /// The configuration file.
    pub(crate) fn file(&self) -> Result<File, Failure> {
        self.config.load()
    }

    pub(crate) fn resolved(&self, file: &File) -> Resolved {
        let told = self.database_url.clone().filter(|url| !url.trim().is_empty());
        let from_file = told.is_none().then(|| file.text("database", "url")).flatten();
        let is_from_file = from_file.is_some();
        let url = told.or(from_file).unwrap_or_else(|| "tieline.db".to_owned());
        let address = if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Address::Server(url)
        } else {
            let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")).unwrap_or(&url);
            let path = Path::new(path);
            Address::File(if is_from_file { file.beside(path) } else { path.to_owned() })
        };
        let named = self.master_key_file.clone().filter(|path| !path.as_os_str().is_empty());
        Resolved { address, key_file: named.or_else(|| file.file("database", "master_key_file")) }
    }

    pub(crate) async fn open(&self) -> Result<Store, Failure> {
        self.resolved(&self.file()?).open().await
    }

    /// One that is there: a name that was mistyped is no reason to make a database.
    pub(crate) async fn open_existing(&self) -> Result<Store, Failure> {
        let resolved = self.resolved(&self.file()?);
        if let Address::File(path) = &resolved.address
            && !path.exists()
        {
            return Err(Failure::usage(
                format!("there is no database {}", path.display()),
                "name it by --database-url or TIELINE_DATABASE_URL, as `tieline serve` is given it",
            ));
        }
        resolved.open().await
    }
}

impl Resolved {
    pub(crate) async fn open(&self) -> Result<Store, Failure> {
        self.open_with(None).await
    }

    /// The same with so many connections to PostgreSQL at most.
    pub(crate) async fn open_with(&self, connections: Option<u32>) -> Result<Store, Failure> {
        let ring = keyring(self.key_file.as_deref())?;
        Ok(match (&self.address, &self.key_file, ring, connections) {
            (Address::Server(url), _, Some(ring), None) => Store::connect(url, ring).await?,
            (Address::Server(url), _, Some(ring), Some(connections)) => {
                Store::connect_with(url, ring, connections).await?
            }
            (Address::Server(_), ..) => return Err(self.no_key()),
            (Address::File(path), Some(key), ..) => Store::open_with_key(path, key).await?,
            (Address::File(path), None, Some(ring), _) => Store::open_with_ring(path, ring).await?,
            (Address::File(path), None, None, _) => Store::open(path).await?,
        })
    }

    /// PostgreSQL's key is made by nobody unasked.
    fn no_key(&self) -> Failure {
        const MAKE: &str = "make one with `tieline keys init tieline.key`, and give it to every node";
        match &self.key_file {
            Some(file) => Failure::usage(format!("the master key file {} is not there", file.display()), MAKE),
            None => Failure::usage(
                "a PostgreSQL database needs a master key, and neither TIELINE_MASTER_KEY nor TIELINE_MASTER_KEY_FILE is set",
                MAKE,
            ),
        }
    }

    /// The key file that the database's keys are in, whether it is there or not. `None`: they are in `TIELINE_MASTER_KEY`.
    pub(crate) fn own_key_file(&self) -> Option<PathBuf> {
        let beside = |path: &PathBuf| path.with_added_extension("key");
        match (&self.address, &self.key_file) {
            (Address::File(path), None) if key_variable().is_none() => Some(beside(path)),
            (Address::Server(_), _) if key_variable().is_some() => {
                let spec = key_variable()?;
                let file = spec.trim().strip_prefix("file:")?;
                (!file.contains([',', '\n'])).then(|| PathBuf::from(file))
            }
            (_, file) => file.clone(),
        }
    }

    /// The ring without anything being made. `None`, where the first start makes it.
    pub(crate) fn ring_to_look(&self) -> Result<Option<Keyring>, Failure> {
        let file = match (&self.address, self.own_key_file()) {
            (Address::File(_), Some(file)) if file.exists() => file,
            (Address::File(_), Some(_)) => return Ok(None),
            (Address::File(_), None) => return keyring(None),
            (Address::Server(_), _) => {
                return keyring(self.key_file.as_deref())?.map(Some).ok_or_else(|| self.no_key());
            }
        };
        let variable = |name: &str| std::env::var(name).ok();
        Ok(Some(Keyring::from_spec(&format!("file:{}", file.display()), variable)?))
    }
}

fn key_variable() -> Option<String> {
    std::env::var("TIELINE_MASTER_KEY").ok().filter(|spec| !spec.trim().is_empty())
}

/// The keys that the environment names: `TIELINE_MASTER_KEY`, or the file.
fn keyring(file: Option<&Path>) -> Result<Option<Keyring>, Failure> {
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(spec) = key_variable() {
        return Ok(Some(Keyring::from_spec(&spec, variable)?));
    }
    // A file that is not there yet is made, where that may be: SQLite's.
    let Some(file) = file.filter(|file| file.exists()) else { return Ok(None) };
    Ok(Some(Keyring::from_spec(&format!("file:{}", file.display()), variable)?))
}

/// Where all integrations' tokens are kept, if `TIELINE_TOKEN_STORE` names a place; else each has its own in the
/// database.
pub(crate) async fn shared_tokens() -> Result<tieline_auth::Settings, Failure> {
    let store = token_store(master_key_file().as_deref()).await?;
    Ok(tieline_auth::Settings { store, ..tieline_auth::Settings::default() })
}

/// Where the tokens of one integration are kept.
pub(crate) async fn tokens(tenant: &Tenant, integration: Uuid) -> Result<tieline_auth::Settings, Failure> {
    let mut settings = shared_tokens().await?;
    if settings.store.is_none()
        && let Some(integration) = tenant.integration(integration).await?
    {
        settings.store = Some(tenant.token_store(&integration).await?);
    }
    Ok(settings)
}

/// How carefully a sync reads.
#[derive(Args, Clone, Copy)]
pub(crate) struct Care {
    /// Seconds before the checkpoint at which every scan begins again [default: 600]
    #[arg(long, value_name = "SECONDS")]
    lookback: Option<u64>,
    /// Seconds that the checkpoint stays behind the org's clock [default: 60]
    #[arg(long, value_name = "SECONDS")]
    lag: Option<u64>,
}

impl Care {
    pub(crate) fn window(self) -> Window {
        self.window_with(&File::default())
    }

    /// With what the configuration file says.
    pub(crate) fn window_with(self, file: &File) -> Window {
        let lookback = self.lookback.or_else(|| file.number("serve", "lookback")).unwrap_or(600);
        let lag = self.lag.or_else(|| file.number("serve", "lag")).unwrap_or(60);
        Window { lookback: Duration::from_secs(lookback), lag: Duration::from_secs(lag) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_a_number_or_per_cent() {
        for (text, read) in [
            ("500", Ok(Reserve::Calls(500))),
            ("12.5%", Ok(Reserve::Percent(12.5))),
            ("", Ok(Reserve::None)),
            ("101%", Err(())),
            ("-1", Err(())),
            ("many", Err(())),
        ] {
            assert_eq!(reserve(text).map_err(drop), read, "{text}");
        }
    }
}
