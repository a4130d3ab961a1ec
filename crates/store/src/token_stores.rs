//! `TIELINE_TOKEN_STORE`: from a URL to the store that a fleet shares.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tieline_auth::sealing::{KeyError, MasterKey};
use tieline_auth::token_store::file::FileStore;
use tieline_auth::token_store::redis::RedisStore;
use tieline_auth::token_store::{TokenStoreError, keychain};
use tieline_auth::{ConfigError, SharedStore};

use crate::token_table::TokenTable;

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The setting.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The master key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store.
    #[error(transparent)]
    Store(#[from] TokenStoreError),
}

impl OpenError {
    /// The next act.
    pub fn hint(&self) -> String {
        match self {
            OpenError::Config(error) => error.hint().to_owned(),
            OpenError::Key(_) => {
                "TIELINE_MASTER_KEY_FILE must name the key that all who share the store have: 32 bytes in base64, mode 0600".to_owned()
            }
            OpenError::Store(_) => "check TIELINE_TOKEN_STORE, and that it can be reached from here".to_owned(),
        }
    }
}

/// Opens `memory:`, `file:PATH`, `keychain:[PATH]`, `redis://…` (`rediss://…`) or `postgres://…`. `None` is `memory:`.
///
/// `state_folder` is where the keychain's file goes when no path is named (`~/.local/state/tieline`, say); it is made if
/// need be. The master key is read from `key_file`. Without one a file store makes its own beside the file (`….key`), and the
/// keychain holds its own; a store that several machines share must be given one.
///
/// # Errors
/// [`OpenError`], with a hint.
pub async fn open(
    url: &str,
    key_file: Option<&Path>,
    state_folder: Option<&Path>,
) -> Result<Option<SharedStore>, OpenError> {
    let given = |what: &str| {
        key_file.ok_or_else(|| {
            ConfigError::new(
                format!("a token store in {what} needs a master key, and TIELINE_MASTER_KEY_FILE is not set"),
                "make one with `head -c 32 /dev/urandom | base64 > tieline.key; chmod 600 tieline.key`, and give it to every machine",
            )
        })
    };
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    let (store, key): (Arc<dyn tieline_auth::token_store::TokenStore>, MasterKey) = match scheme {
        "memory" => return Ok(None),
        "file" => {
            let path = file(rest)?;
            let key_file = key_file.map_or_else(|| path.with_added_extension("key"), Path::to_owned);
            let key = MasterKey::load_or_create(&key_file)?;
            (Arc::new(FileStore::new(path)), key)
        }
        "keychain" => {
            let path = match state_folder.filter(|_| rest.is_empty()) {
                Some(folder) => made(folder)?.join("tokens.json"),
                None => file(rest)?,
            };
            (Arc::new(FileStore::new(path)), keychain::master_key("default")?)
        }
        "redis" | "rediss" => {
            let key = MasterKey::load(given("Redis")?)?;
            (Arc::new(RedisStore::connect(url).await?), key)
        }
        "postgres" | "postgresql" => {
            let key = MasterKey::load(given("PostgreSQL")?)?;
            (Arc::new(TokenTable::connect(url).await?), key)
        }
        _ => {
            return Err(ConfigError::new(
                format!("TIELINE_TOKEN_STORE begins with `{scheme}:`, which is no token store"),
                "write memory:, file:PATH, keychain:, redis://HOST or postgres://HOST/DATABASE",
            )
            .into());
        }
    };
    Ok(Some(SharedStore { store, key }))
}

fn file(rest: &str) -> Result<PathBuf, ConfigError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(ConfigError::new(
            "TIELINE_TOKEN_STORE names no file",
            "write it like file:/var/lib/tieline/tokens.json",
        ));
    }
    Ok(PathBuf::from(path))
}

fn made(folder: &Path) -> Result<&Path, ConfigError> {
    std::fs::create_dir_all(folder).map_err(|e| {
        ConfigError::new(
            format!("could not make {}: {e}", folder.display()),
            "name the file: keychain:/path/tokens.json",
        )
    })?;
    Ok(folder)
}
