//! Opening a database: the schema brought up to date, the keys checked, the door that everything goes through.

mod postgres;
mod sqlite;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tieline_auth::keyring::Keyring;
use tieline_auth::sealing::MasterKey;
use tieline_auth::token_store::TokenStore;
use tieline_auth::token_store::file::FileStore;
use uuid::Uuid;

use crate::error::StoreError;
use crate::keys::Keys;
use crate::sql::{Access, Database, Scope, Tx};
use crate::token_table::TokenTable;

/// The business that a database with one owner belongs to.
const OWN_BUSINESS: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001);

/// The database. Cheap to clone.
///
/// What belongs to a business is reached through its [`Tenant`].
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    keys: Keys,
    place: Place,
    tokens: Arc<dyn TokenStore>,
}

#[derive(Debug)]
enum Place {
    File(PathBuf),
    /// Address and name, without user and password.
    Server(String),
}

/// A business, as the one who works in it may see it: every statement made through this sees its rows alone.
#[derive(Debug, Clone)]
pub struct Tenant {
    store: Store,
    business: Uuid,
    user: Option<Uuid>,
}

impl Store {
    /// Opens the SQLite file, making it (and a master key beside it, mode 0600) where there is none, and brings
    /// its schema up to date.
    ///
    /// # Errors
    /// [`StoreError`]; a database that a newer program made is left untouched.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with_key(path, &path.with_added_extension("key")).await
    }

    /// The same with the master key in another file.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with_key(path: &Path, key_file: &Path) -> Result<Self, StoreError> {
        let prepared = sqlite::prepared(path).await?;
        if prepared.holds_credentials && !key_file.exists() {
            let reason = "it is not there, and the database holds credentials that were sealed with it".to_owned();
            return Err(tieline_auth::sealing::KeyError { path: key_file.to_owned(), reason }.into());
        }
        let ring = Keyring::load_or_create(key_file)?;
        let before = MasterKey::load(key_file).ok();
        Self::sqlite(path, prepared.database, Keys::new(ring, before)).await
    }

    /// Opens a SQLite file with the keys of a ring.
    ///
    /// # Errors
    /// As [`Store::open`]; also when the ring's keys are not those that the database was made with.
    pub async fn open_with_ring(path: &Path, ring: Keyring) -> Result<Self, StoreError> {
        let prepared = sqlite::prepared(path).await?;
        Self::sqlite(path, prepared.database, Keys::new(ring, None)).await
    }

    async fn sqlite(path: &Path, database: Database, keys: Keys) -> Result<Self, StoreError> {
        let tokens = Arc::new(FileStore::new(path.with_added_extension("tokens.json")));
        Self::opened(Inner { database, keys, place: Place::File(path.to_owned()), tokens }).await
    }

    /// Connects to PostgreSQL (14 or later) by `postgres://user:password@host/database`, and brings its schema up to
    /// date.
    ///
    /// Behind a pooler that gives every transaction another connection, the URL must end with
    /// `?statement-cache-capacity=0`.
    ///
    /// # Errors
    /// [`StoreError`]; also when the ring's keys are not those that the database was made with.
    pub async fn connect(url: &str, ring: Keyring) -> Result<Self, StoreError> {
        let (database, place) = postgres::prepared(url).await?;
        let tokens = TokenTable::connect(url)
            .await
            .map_err(|e| StoreError::Open { place: place.clone(), reason: e.to_string() })?;
        let place = Place::Server(place);
        Self::opened(Inner { database, keys: Keys::new(ring, None), place, tokens: Arc::new(tokens) }).await
    }

    async fn opened(inner: Inner) -> Result<Self, StoreError> {
        let store = Self(Arc::new(inner));
        store.check_keys().await?;
        let mut tx = store.write("preparing the database").await?;
        tx.query("INSERT INTO businesses (id, name, created_at) VALUES ($1, 'own', $2) ON CONFLICT DO NOTHING")
            .bind(OWN_BUSINESS)
            .bind(Timestamp::UNIX_EPOCH)
            .execute()
            .await?;
        tx.commit().await?;
        Ok(store)
    }

    /// The business that a database with one owner belongs to: what commands on a terminal work with.
    pub fn own(&self) -> Tenant {
        self.tenant(OWN_BUSINESS, None)
    }

    pub(crate) fn tenant(&self, business: Uuid, user: Option<Uuid>) -> Tenant {
        Tenant { store: self.clone(), business, user }
    }

    /// The file, of SQLite.
    pub fn path(&self) -> Option<&Path> {
        match &self.0.place {
            Place::File(path) => Some(path),
            Place::Server(_) => None,
        }
    }

    /// Where it is, for people: the file, or address and name without password.
    pub fn place(&self) -> String {
        match &self.0.place {
            Place::File(path) => path.display().to_string(),
            Place::Server(place) => place.clone(),
        }
    }

    /// Whether several machines can share it.
    pub fn is_shared(&self) -> bool {
        matches!(self.0.place, Place::Server(_))
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Where the entries of all tokens are.
    pub(crate) fn token_entries(&self) -> Arc<dyn TokenStore> {
        self.0.tokens.clone()
    }

    /// A writing transaction of the service itself.
    pub(crate) async fn write(&self, doing: &'static str) -> Result<Tx, StoreError> {
        self.0.database.begin(Scope::System, Access::Write, doing).await
    }

    /// A reading transaction of the service itself.
    pub(crate) async fn read(&self, doing: &'static str) -> Result<Tx, StoreError> {
        self.0.database.begin(Scope::System, Access::Read, doing).await
    }

    /// A reading transaction of a person, who is not in any business yet.
    pub(crate) async fn read_as(&self, user: Uuid, doing: &'static str) -> Result<Tx, StoreError> {
        self.0.database.begin(Scope::User(user), Access::Read, doing).await
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError`], when it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.read("asking whether it answers").await?.query("SELECT 1").execute().await.map(drop)
    }

    /// Lets the file of SQLite grow to so many pages (of 4 kB, as a rule) and no further: a disk that fills up, for
    /// tests and for hosts with a quota.
    pub async fn limit_pages(&self, pages: u32) {
        if let Err(error) = self.0.database.limit_pages(pages).await {
            tracing::warn!(%error, "could not limit the database's size");
        }
    }

    /// Closes all connections; SQLite's write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.0.database.close().await;
    }
}

impl Tenant {
    /// The business.
    pub fn business(&self) -> Uuid {
        self.business
    }

    /// The person on whose behalf this is, if it is one's.
    pub fn user(&self) -> Option<Uuid> {
        self.user
    }

    /// The whole database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    fn scope(&self) -> Scope {
        Scope::Tenant { business: self.business, user: self.user }
    }

    pub(crate) async fn write(&self, doing: &'static str) -> Result<Tx, StoreError> {
        self.store.0.database.begin(self.scope(), Access::Write, doing).await
    }

    pub(crate) async fn read(&self, doing: &'static str) -> Result<Tx, StoreError> {
        self.store.0.database.begin(self.scope(), Access::Read, doing).await
    }
}
