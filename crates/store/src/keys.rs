//! Data keys: each integration has one of its own, and each business one for the rest; a key service wraps them.

use std::sync::Arc;

use jiff::Timestamp;
use tieline_auth::SystemClock;
use tieline_auth::keyring::{CacheRules, DataKey, DataKeys, Keyring, Place, Wrapped, sealed_with};
use tieline_auth::sealing::MasterKey;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::sql::Row;

/// What is sealed to show that a key is the one it says it is.
const CANARY: &[u8] = b"tieline: this key opens this database";

/// The keys of a database.
#[derive(Debug)]
pub(crate) struct Keys {
    opened: DataKeys,
    /// The key that sealed everything itself, in databases of schema 1.
    before: Option<MasterKey>,
}

impl Keys {
    pub(crate) fn new(ring: Keyring, before: Option<MasterKey>) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self { opened: DataKeys::new(Arc::new(ring), clock, CacheRules::default()), before }
    }

    fn ring(&self) -> &Keyring {
        self.opened.ring()
    }
}

/// A value's place: what its ciphertext is bound to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) row: Uuid,
    /// Whose data key seals it: an integration, or the business itself.
    pub(crate) owner: Uuid,
}

impl Cell {
    fn place<'a>(&self, tenant: &'a str, row: &'a str) -> Place<'a> {
        Place { tenant, table: self.table, row, column: self.column }
    }

    fn refused(&self, reason: &'static str) -> StoreError {
        StoreError::Sealed { table: self.table, row: self.row.to_string(), reason }
    }
}

impl Tenant {
    /// Seals a value for its cell, with its owner's data key, which is made where there is none.
    pub(crate) async fn seal(&self, cell: Cell, text: &[u8]) -> Result<Vec<u8>, StoreError> {
        let key = self.sealing_key(cell.owner).await?;
        let (tenant, row) = (self.business().to_string(), cell.row.to_string());
        key.seal(text, &cell.place(&tenant, &row)).ok_or_else(|| cell.refused("the system gives no randomness"))
    }

    /// Opens what was sealed for this cell, and for no other.
    pub(crate) async fn unseal(&self, cell: Cell, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let Some(id) = sealed_with(sealed) else {
            return self.unseal_old(cell, sealed);
        };
        let mut tx = self.read("reading a data key").await?;
        let row = tx
            .query("SELECT id, service, wrapped FROM data_keys WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(Uuid::from_bytes(id))
            .optional()
            .await?;
        drop(tx);
        let row = row.ok_or_else(|| cell.refused("its data key is gone, or belongs to another business"))?;
        let key = self.unwrapped(&row).await?;
        let (tenant, row) = (self.business().to_string(), cell.row.to_string());
        key.open(sealed, &cell.place(&tenant, &row)).map_err(|reason| cell.refused(reason))
    }

    /// What a program of schema 1 has sealed.
    fn unseal_old(&self, cell: Cell, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let key = self.store().keys().before.as_ref();
        let key = key.ok_or_else(|| cell.refused("it was sealed with a master key that was not given"))?;
        key.open(sealed, &format!("{}:{}:{}", cell.table, self.business(), cell.row)).map_err(|e| cell.refused(e))
    }

    /// The key for the token entries of an integration.
    pub(crate) async fn token_key(&self, integration: Uuid) -> Result<MasterKey, StoreError> {
        Ok(self.sealing_key(integration).await?.master_key())
    }

    /// The data key in use of an owner.
    async fn sealing_key(&self, owner: Uuid) -> Result<Arc<DataKey>, StoreError> {
        if let Some(row) = self.key_in_use(owner).await? {
            return self.unwrapped(&row).await;
        }
        let id = Uuid::now_v7();
        let (key, wrapped) = self.store().keys().ring().wrap_new(id.into_bytes(), &self.context(id)).await?;
        let mut tx = self.write("keeping a new data key").await?;
        // Whoever was first wins: the other's key is forgotten before anything was sealed with it.
        let kept = tx
            .query(
                "INSERT INTO data_keys (id, business_id, owner_id, service, wrapped, created_at)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            )
            .bind(id)
            .bind(self.business())
            .bind(owner)
            .bind(&wrapped.service)
            .bind(wrapped.bytes)
            .bind(made_at(id))
            .execute()
            .await?;
        tx.commit().await?;
        if kept == 1 {
            let key = Arc::new(key);
            self.store().keys().opened.keep(key.clone(), &self.context(id)).await;
            return Ok(key);
        }
        match self.key_in_use(owner).await? {
            Some(row) => self.unwrapped(&row).await,
            None => Err(StoreError::Revoked { integration: owner.to_string() }),
        }
    }

    async fn key_in_use(&self, owner: Uuid) -> Result<Option<Row>, StoreError> {
        let mut tx = self.read("reading a data key").await?;
        tx.query("SELECT id, service, wrapped FROM data_keys WHERE business_id = $1 AND owner_id = $2 AND retired_at IS NULL")
            .bind(self.business())
            .bind(owner)
            .optional()
            .await
    }

    async fn unwrapped(&self, row: &Row) -> Result<Arc<DataKey>, StoreError> {
        let id: Uuid = row.get("id")?;
        let wrapped = Wrapped { service: row.get("service")?, bytes: row.get("wrapped")? };
        Ok(self.store().keys().opened.get(id.into_bytes(), &wrapped, &self.context(id)).await?)
    }

    /// What a wrapped key is bound to.
    fn context(&self, id: Uuid) -> String {
        format!("data_keys:{}:{id}", self.business())
    }
}

/// The time in a UUID of version 7: when the key was made.
fn made_at(id: Uuid) -> Timestamp {
    let time = id.get_timestamp().map(|time| time.to_unix());
    time.and_then(|(seconds, nanos)| Timestamp::new(seconds as i64, nanos as i32).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl Store {
    /// Sees that the primary key is the one this database was made with, and leaves a canary for it where there is
    /// none.
    pub(crate) async fn check_keys(&self) -> Result<(), StoreError> {
        let ring = self.keys().ring();
        let service = ring.primary().name().to_owned();
        let mut tx = self.read("checking the master key").await?;
        let row =
            tx.query("SELECT wrapped, sealed FROM key_canaries WHERE service = $1").bind(&service).optional().await?;
        drop(tx);
        let id = Uuid::nil().into_bytes();
        let context = format!("key_canaries:{service}");
        let place = Place { tenant: "", table: "key_canaries", row: &service, column: "sealed" };
        let wrong = || StoreError::WrongKey { service: service.clone() };
        if let Some(row) = row {
            let key = ring.unwrap(&service, &row.get::<Vec<u8>>("wrapped")?, id, &context).await;
            let key = key.map_err(|e| if e.passing() { e.into() } else { wrong() })?;
            let opened = key.open(&row.get::<Vec<u8>>("sealed")?, &place).map_err(|_| wrong())?;
            return if opened.as_slice() == CANARY { Ok(()) } else { Err(wrong()) };
        }
        let (key, wrapped) = ring.wrap_new(id, &context).await?;
        let sealed = key.seal(CANARY, &place).ok_or_else(wrong)?;
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
