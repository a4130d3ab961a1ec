//! A value of each key service, wrapped: shows whether a key is the one it says it is.

use tieline_auth::keyring::{Keyring, KeyringError, Place};
use uuid::Uuid;

use crate::error::StoreError;
use crate::open::Store;

/// What is sealed.
const CANARY: &[u8] = b"tieline: this key opens this database";

/// What a key's canary says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Canary {
    /// There is none: the key has not been the first of a ring yet.
    None,
    /// There is one, and the key to open it is not in the ring.
    Unchecked,
    /// The key is the one that it says it is.
    Opens,
    /// The key service is out of reach for now.
    Away(String),
    /// It is another key, or the service refuses. Why.
    Refused(String),
}

fn context(service: &str) -> String {
    format!("key_canaries:{service}")
}

fn place(service: &str) -> Place<'_> {
    Place { tenant: "", table: "key_canaries", row: service, column: "sealed" }
}

/// Opens a canary with the key of that name.
pub(crate) async fn open(ring: &Keyring, service: &str, wrapped: &[u8], sealed: &[u8]) -> Canary {
    let id = Uuid::nil().into_bytes();
    let key = match ring.unwrap(service, wrapped, id, &context(service)).await {
        Ok(key) => key,
        Err(KeyringError::Missing { .. }) => return Canary::Unchecked,
        Err(error) if error.passing() => return Canary::Away(error.to_string()),
        Err(error) => return Canary::Refused(error.to_string()),
    };
    match key.open(sealed, &place(service)) {
        Ok(opened) if opened.as_slice() == CANARY => Canary::Opens,
        Ok(_) => Canary::Refused("it seals something else".to_owned()),
        Err(reason) => Canary::Refused(reason.to_owned()),
    }
}

impl Store {
    /// Sees that the primary key is the one this database was made with, and leaves a canary for it where there is
    /// none. The ring's other keys only unwrap: each has had its canary since it was the first, or needs none.
    pub(crate) async fn check_keys(&self) -> Result<(), StoreError> {
        let ring = self.keys().ring();
        let service = ring.primary().name().to_owned();
        let mut tx = self.read("checking the master key").await?;
        let row =
            tx.query("SELECT wrapped, sealed FROM key_canaries WHERE service = $1").bind(&service).optional().await?;
        drop(tx);
        let id = Uuid::nil().into_bytes();
        let wrong = || StoreError::WrongKey { service: service.clone() };
        if let Some(row) = row {
            let key = ring.unwrap(&service, &row.get::<Vec<u8>>("wrapped")?, id, &context(&service)).await;
            let key = key.map_err(|e| if e.passing() { e.into() } else { wrong() })?;
            let opened = key.open(&row.get::<Vec<u8>>("sealed")?, &place(&service)).map_err(|_| wrong())?;
            return if opened.as_slice() == CANARY { Ok(()) } else { Err(wrong()) };
        }
        // A ring without any key that something here is sealed with is another database's, or one that was lost and made
        // anew.
        let mut tx = self.read("checking the master key").await?;
        let known = tx.query("SELECT DISTINCT service FROM data_keys ORDER BY service").all().await?;
        drop(tx);
        let known = known.iter().map(|row| row.get::<String>("service")).collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = known.first()
            && !known.iter().any(|name| ring.by_name(name).is_some())
        {
            let held = ring.names().into_iter().map(str::to_owned).collect();
            return Err(KeyringError::Missing { service: first.clone(), held }.into());
        }
        let (key, wrapped) = ring.wrap_new(id, &context(&service)).await?;
        let sealed = key.seal(CANARY, &place(&service)).ok_or_else(wrong)?;
        let mut tx = self.write("checking the master key").await?;
        tx.query("INSERT INTO key_canaries (service, wrapped, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(&service)
            .bind(wrapped.bytes)
            .bind(sealed)
            .execute()
            .await?;
        tx.commit().await
    }
}
