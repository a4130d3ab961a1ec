//! Many orgs: one connection each, shared by all who ask.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::connection::Connection;
use crate::error::ClientError;

/// Connections by alias.
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
/// assert!(orgs.forget("acme"));
/// # Ok(()) }
/// # example().unwrap();
/// ```
#[derive(Debug, Default)]
pub struct Connections(RwLock<HashMap<String, Connection>>);

impl Connections {
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
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = all.get(alias) {
            return Ok(connection.clone());
        }
        let connection = open()?;
        all.insert(alias.to_owned(), connection.clone());
        Ok(connection)
    }

    /// The connection of that name, if it is open.
    pub fn get(&self, alias: &str) -> Option<Connection> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(alias).cloned()
    }

    /// Closes it: those who hold it keep it, the next asker opens a new one.
    pub fn forget(&self, alias: &str) -> bool {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(alias).is_some()
    }
}
