//! Opening a database: the schema brought up to date, the keys checked, the door that everything goes through.

pub(crate) mod postgres;
mod sqlite;
mod statistics;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tieline_auth::keyring::{self, DataKeys, Keyring};
use uuid::Uuid;

use crate::alerts::AlertSignals;
use crate::audit::Actor;
use crate::error::StoreError;
use crate::keys::Keys;
use crate::records::RecordSignals;
use crate::sql::{Access, Database, Scope, Tx};

/// The business that a database with one owner belongs to.
const OWN_BUSINESS: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0001);

/// What a write must find room for to prove that there is any, in bytes: more pages than a small change takes, and few
/// enough to stay in the file for the next ones.
const PROVEN_ROOM: usize = 32 * 1024;

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
    alerts: AlertSignals,
    records: RecordSignals,
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
    by: Option<By>,
}

/// Whose changes these are, for the audit log.
#[derive(Debug, Clone)]
struct By {
    actor: Actor,
    address: Option<Arc<str>>,
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
        let ring = Keyring::load_or_create(key_file).map_err(StoreError::KeyConfig)?;
        let before = keyring::file::master_keys(key_file).map_err(StoreError::KeyConfig)?;
        Self::sqlite(path, prepared.database, Keys::new(ring, before)).await
    }

    /// Opens a SQLite file with the keys of a ring.
    ///
    /// # Errors
    /// As [`Store::open`]; also when the ring's keys are not those that the database was made with.
    pub async fn open_with_ring(path: &Path, ring: Keyring) -> Result<Self, StoreError> {
        let prepared = sqlite::prepared(path).await?;
        Self::sqlite(path, prepared.database, Keys::new(ring, Vec::new())).await
    }

    async fn sqlite(path: &Path, database: Database, keys: Keys) -> Result<Self, StoreError> {
        Self::opened(database, keys, Place::File(path.to_owned())).await
    }

    /// Connects to PostgreSQL (14 or later) by `postgres://user:password@host/database`, and brings its schema up to
    /// date.
    ///
    /// Behind a pooler that gives every transaction another connection, the URL must end with
    /// `?pooler=transaction`.
    ///
    /// # Errors
    /// [`StoreError`]; also when the ring's keys are not those that the database was made with.
    pub async fn connect(url: &str, ring: Keyring) -> Result<Self, StoreError> {
        Self::connect_with(url, ring, postgres::CONNECTIONS).await
    }

    /// The same with so many connections at most: for processes of which there are many, each with little to do. A sync run
    /// needs two.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn connect_with(url: &str, ring: Keyring, connections: u32) -> Result<Self, StoreError> {
        let (database, place) = postgres::prepared(url, connections).await?;
        let keys = Keys::new(ring, Vec::new());
        Self::opened(database, keys, Place::Server(place)).await
    }

    /// Opens either kind (a path, or a URL of PostgreSQL) with data keys that keep other times: for tests of what a
    /// node does while its key service is away.
    ///
    /// # Errors
    /// As [`Store::open`] and [`Store::connect`].
    #[doc(hidden)]
    pub async fn open_with_data_keys(place: &str, opened: DataKeys) -> Result<Self, StoreError> {
        let keys = Keys::with(opened, Vec::new());
        if place.starts_with("postgres:") {
            let (database, place) = postgres::prepared(place, postgres::CONNECTIONS).await?;
            return Self::opened(database, keys, Place::Server(place)).await;
        }
        let path = Path::new(place);
        let prepared = sqlite::prepared(path).await?;
        Self::sqlite(path, prepared.database, keys).await
    }

    async fn opened(database: Database, keys: Keys, place: Place) -> Result<Self, StoreError> {
        let (alerts, records) = (AlertSignals::default(), RecordSignals::default());
        let store = Self(Arc::new(Inner { database, keys, place, alerts, records }));
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
        Tenant { store: self.clone(), business, user, by: None }
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

    pub(crate) fn database(&self) -> &Database {
        &self.0.database
    }

    /// Whether several machines can share it.
    pub fn is_shared(&self) -> bool {
        matches!(self.0.place, Place::Server(_))
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// What this process has changed of alerts, and the bell for whoever sends them.
    pub fn alerts(&self) -> &AlertSignals {
        &self.0.alerts
    }

    /// The bell for whoever sends webhooks of changed records.
    pub fn records(&self) -> &RecordSignals {
        &self.0.records
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

    /// Whether a write commits: one row is written as it is. On SQLite there must be room for a few more pages as well, of
    /// which no row that is only written anew would tell.
    ///
    /// # Errors
    /// [`StoreError`], when it does not; see [`StoreError::refusal`].
    pub async fn prove_writable(&self) -> Result<(), StoreError> {
        let mut tx = self.write("proving that a write commits").await?;
        if !tx.is_postgres() {
            let long = format!("ready {}", "-".repeat(PROVEN_ROOM));
            tx.query("INSERT INTO chores (name, due_at) VALUES ($1, $2)")
                .bind(long.as_str())
                .bind(Timestamp::UNIX_EPOCH)
                .execute()
                .await?;
            tx.query("DELETE FROM chores WHERE name = $1").bind(long.as_str()).execute().await?;
        }
        // A row that nobody else waits for.
        tx.query(
            "INSERT INTO chores (name, due_at) VALUES ('ready', $1)
             ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at",
        )
        .bind(Timestamp::UNIX_EPOCH)
        .execute()
        .await?;
        tx.commit().await
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

    /// The same business, with its changes told of in the audit log as this one's. Without it they are the person's on
    /// whose behalf this is, and the service's own if there is none.
    #[must_use]
    pub fn by(&self, actor: Actor, address: Option<&str>) -> Self {
        Self { by: Some(By { actor, address: address.map(Arc::from) }), ..self.clone() }
    }

    /// Whose changes these are, and where from.
    pub(crate) fn changed_by(&self) -> (Actor, Option<&str>) {
        match (&self.by, self.user) {
            (Some(by), _) => (by.actor, by.address.as_deref()),
            (None, Some(user)) => (Actor::User(user), None),
            (None, None) => (Actor::System, None),
        }
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

    /// A reading transaction that sees one moment.
    pub(crate) async fn snapshot(&self, doing: &'static str) -> Result<Tx, StoreError> {
        self.store.0.database.begin(self.scope(), Access::Snapshot, doing).await
    }

    /// The same business, on behalf of nobody.
    #[doc(hidden)]
    pub fn without_person(&self) -> Self {
        Self { user: None, ..self.clone() }
    }

    /// Runs a statement as this business's are run; how many rows it answers or touches. For tests of tenancy: a
    /// caller elsewhere has methods.
    ///
    /// # Errors
    /// [`StoreError`].
    #[doc(hidden)]
    pub async fn sql(&self, sql: &str) -> Result<u64, StoreError> {
        let mut tx = self.write("running a statement").await?;
        let touched = match sql.starts_with("SELECT") {
            true => tx.query(sql.to_owned()).all().await?.len() as u64,
            false => tx.query(sql.to_owned()).execute().await?,
        };
        tx.commit().await?;
        Ok(touched)
    }
}
