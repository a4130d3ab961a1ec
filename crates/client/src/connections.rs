//! Many orgs: one connection each, shared by all who ask.
//!
//! Lookups take no lock. The number of entries is bounded: when it is reached, entries that nobody has asked for
//! since the last sweep go first ("second chance"). Those whose token has run out leave in the same way, unasked for.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use foldhash::fast::RandomState;
use futures_util::StreamExt;
use papaya::HashMap;
use tieline_auth::revocation::Revocation;
use tieline_auth::{AuthError, Credentials, EventKind, OrgConfig, Settings};

use crate::connection::{Connection, Options};
use crate::error::ClientError;

/// Entries unless told otherwise; one takes a few kilobytes.
const CAPACITY: usize = 10_000;
/// Openings between two looks for entries that have run out.
const SWEEP_EVERY: usize = 256;
/// Orgs that are told of a revocation at the same time.
const REVOKE_AT_ONCE: usize = 8;

/// How connections are made, and how many are kept.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    /// Entries at most.
    pub capacity: usize,
    /// Clock, token store, events and patience of all of them.
    pub settings: Settings,
    /// How their calls are made.
    pub calls: Options,
}

impl Default for ConnectionOptions {
    fn default() -> Self {
        Self { capacity: CAPACITY, settings: Settings::default(), calls: Options::default() }
    }
}

/// Connections by name, or by what they log in with.
///
/// ```
/// # fn example() -> Result<(), tieline_client::ClientError> {
/// use tieline_auth::{Credentials, Grant, OrgConfig, Secret};
/// use tieline_client::{Connection, Connections};
///
/// let orgs = Connections::default();
/// let open = || {
///     let grant = Grant::RefreshToken { refresh_token: Secret::new("5Aep861…") };
///     Connection::new(Credentials::new(OrgConfig::new("login.salesforce.com", "3MVG9…", grant)?)?)
/// };
/// orgs.get_or_open("acme", open)?;
/// orgs.get_or_open("acme", || unreachable!("it is open already"))?;
/// assert_eq!(orgs.stats().total, 1);
/// assert!(orgs.forget("acme"));
/// # Ok(()) }
/// # example().unwrap();
/// ```
#[derive(Debug)]
pub struct Connections {
    /// A fast hash with a random seed: names are long, and looked up before every call.
    entries: HashMap<String, Arc<Entry>, RandomState>,
    options: ConnectionOptions,
    /// Held while an entry is made, so that two askers do not make two.
    opening: Mutex<()>,
    opened: AtomicUsize,
    evicted: AtomicUsize,
    http: OnceClients,
}

#[derive(Debug)]
struct Entry {
    connection: Connection,
    /// The same for each of so many threads, made when one of them first asks.
    apart: [OnceLock<Connection>; STRIPES],
    asked_for: AtomicBool,
}

const STRIPES: usize = 16;

thread_local! {
    static STRIPE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES
    };
}

/// What all connections of a registry send with: one pool of sockets instead of one an org.
type OnceClients = OnceLock<reqwest::Client>;

/// A registry in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct ConnectionStats {
    /// Entries.
    pub total: usize,
    /// Entries with a token at hand.
    pub valid: usize,
    /// Entries whose token has run out or was refused, or that have not logged in yet.
    pub expired: usize,
    /// Tokens that were at hand when asked for.
    pub hits: u64,
    /// Askers that caused a look at the token store or a request.
    pub misses: u64,
    /// Askers that waited for another one's.
    pub waits: u64,
    /// Tokens that orgs gave.
    pub refreshes: u64,
    /// Tokens that other processes had.
    pub adopted: u64,
    /// Tokens that orgs refused.
    pub refusals: u64,
    /// Entries that left by themselves.
    pub evicted: usize,
}

impl Default for Connections {
    fn default() -> Self {
        Self::new(ConnectionOptions::default())
    }
}

impl Connections {
    /// A registry without entries.
    pub fn new(options: ConnectionOptions) -> Self {
        Self {
            entries: HashMap::default(),
            options,
            opening: Mutex::new(()),
            opened: AtomicUsize::new(0),
            evicted: AtomicUsize::new(0),
            http: OnceClients::new(),
        }
    }

    /// The one of this process, with the usual options: in a function-as-a-service it outlives the single invocation.
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<Connections> = LazyLock::new(Connections::default);
        &GLOBAL
    }

    /// The connection of these credentials, made at the first call. It is found again by a digest of host, app and
    /// credential; name it yourself with [`Connections::get_or_open`] where you look it up often.
    ///
    /// # Errors
    /// When HTTPS cannot be prepared on this machine.
    pub fn connect(&self, config: OrgConfig) -> Result<Connection, ClientError> {
        let name = config.digest();
        self.get_or_open(&name, || self.open(config))
    }

    /// A connection with the options of this registry, which it does not keep.
    ///
    /// # Errors
    /// When HTTPS cannot be prepared on this machine.
    pub fn open(&self, config: OrgConfig) -> Result<Connection, ClientError> {
        let ConnectionOptions { settings, calls, .. } = &self.options;
        let mut settings = settings.clone();
        if settings.http.is_none() {
            settings.http = Some(match self.http.get() {
                Some(http) => http.clone(),
                None => {
                    let made =
                        tieline_auth::http::token_client().map_err(|e| ClientError::no_https(&config.alias, &e))?;
                    self.http.get_or_init(|| made).clone()
                }
            });
        }
        Connection::with(Credentials::with(config, settings)?, calls.clone())
    }

    /// The connection of that name, made by `open` at the first call.
    ///
    /// # Errors
    /// What `open` answers; nothing is remembered then.
    pub fn get_or_open(
        &self,
        alias: &str,
        open: impl FnOnce() -> Result<Connection, ClientError>,
    ) -> Result<Connection, ClientError> {
        if let Some(connection) = self.get(alias) {
            return Ok(connection);
        }
        let _one_at_a_time = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = self.get(alias) {
            return Ok(connection);
        }
        let connection = open()?;
        self.make_room();
        let entry = Entry {
            connection: connection.clone(),
            apart: std::array::from_fn(|_| OnceLock::new()),
            asked_for: AtomicBool::new(true),
        };
        self.entries.pin().insert(alias.to_owned(), Arc::new(entry));
        Ok(connection)
    }

    /// The connection of that name, if it is open.
    pub fn get(&self, alias: &str) -> Option<Connection> {
        let entries = self.entries.pin();
        let entry = entries.get(alias)?;
        // Read first: a write would take the line from the other cores, and it is set almost always.
        if !entry.asked_for.load(Ordering::Relaxed) {
            entry.asked_for.store(true, Ordering::Relaxed);
        }
        let own = &entry.apart[STRIPE.with(|stripe| *stripe)];
        Some(own.get_or_init(|| entry.connection.apart()).clone())
    }

    /// Closes it: those who hold it keep it, the next asker opens a new one.
    pub fn forget(&self, alias: &str) -> bool {
        self.entries.pin().remove(alias).is_some()
    }

    /// How it stands.
    pub fn stats(&self) -> ConnectionStats {
        let mut all = ConnectionStats { evicted: self.evicted.load(Ordering::Relaxed), ..ConnectionStats::default() };
        for entry in self.entries.pin().values() {
            let of = entry.connection.credentials().stats();
            all.total += 1;
            if is_valid(entry) {
                all.valid += 1
            } else {
                all.expired += 1
            }
            all.hits += of.hits;
            all.misses += of.misses;
            all.waits += of.waits;
            all.refreshes += of.refreshes;
            all.adopted += of.adopted;
            all.refusals += of.refusals;
        }
        all
    }

    /// Closes those that have no token at hand. Answers how many.
    pub fn clear_expired(&self) -> usize {
        self.evict_if(|entry| !is_valid(entry))
    }

    /// Closes all. Answers how many.
    pub fn clear_all(&self) -> usize {
        self.evict_if(|_| true)
    }

    /// Ends every grant in here, at the org and for the whole fleet, and tells what became of each.
    /// See [`Credentials::revoke`].
    pub async fn revoke_all(&self) -> Vec<(String, Result<Revocation, AuthError>)> {
        let all: Vec<(String, Connection)> =
            self.entries.pin().iter().map(|(name, entry)| (name.clone(), entry.connection.clone())).collect();
        futures_util::stream::iter(all)
            .map(|(name, connection)| async move { (name, connection.credentials().revoke().await) })
            .buffer_unordered(REVOKE_AT_ONCE)
            .collect()
            .await
    }

    fn make_room(&self) {
        let sweep = self.opened.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1;
        let full = self.entries.len() >= self.options.capacity;
        if sweep || full {
            self.evict_if(|entry| !entry.asked_for.swap(false, Ordering::Relaxed) && !is_valid(entry));
        }
        // Everybody was asked for, or has a token: an eighth goes all the same, the unasked first.
        for only_unasked in [true, false] {
            let excess = (self.entries.len() + 1).saturating_sub(self.options.capacity);
            if excess == 0 {
                return;
            }
            let mut left = excess.max(self.options.capacity / 8);
            self.evict_if(|entry| {
                let goes = left > 0 && (!only_unasked || !entry.asked_for.load(Ordering::Relaxed));
                left -= usize::from(goes);
                goes
            });
        }
    }

    fn evict_if(&self, mut goes: impl FnMut(&Entry) -> bool) -> usize {
        let entries = self.entries.pin();
        let names: Vec<String> =
            entries.iter().filter(|(_, entry)| goes(entry)).map(|(name, _)| name.clone()).collect();
        let mut count = 0;
        for name in names {
            if let Some(entry) = entries.remove(&name) {
                count += 1;
                let settings = &self.options.settings;
                settings.events.emit(entry.connection.org(), settings.clock.now(), EventKind::Evicted);
            }
        }
        self.evicted.fetch_add(count, Ordering::Relaxed);
        count
    }
}

fn is_valid(entry: &Entry) -> bool {
    entry.connection.credentials().has_token()
}
