//! Data keys: each integration has one of its own, and each business one for the rest; a key service wraps them.
//!
//! Which data key is in use is read from the database for every value that is sealed or opened (one row by its index;
//! the unwrapping, which is dear, is done once in minutes, see [`DataKeys`]). So every node goes by a change of keys at
//! once, and nothing but keys themselves, which never change, is remembered.

use std::sync::Arc;

use jiff::Timestamp;
use tieline_auth::SystemClock;
use tieline_auth::keyring::{CacheRules, DataKey, DataKeys, Keyring, Place, Wrapped, sealed_with};
use tieline_auth::sealing::MasterKey;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::open::Tenant;
use crate::sealed;
use crate::sql::{Row, Tx};

/// The keys of a database.
#[derive(Debug)]
pub(crate) struct Keys {
    opened: DataKeys,
    /// The keys that may have sealed everything themselves, in databases of schema 1.
    before: Vec<MasterKey>,
}

impl Keys {
    pub(crate) fn new(ring: Keyring, before: Vec<MasterKey>) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self::with(DataKeys::new(Arc::new(ring), clock, CacheRules::default()), before)
    }

    pub(crate) fn with(opened: DataKeys, before: Vec<MasterKey>) -> Self {
        Self { opened, before }
    }

    pub(crate) fn ring(&self) -> &Keyring {
        self.opened.ring()
    }

    pub(crate) fn opened(&self) -> &DataKeys {
        &self.opened
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

/// How a transaction holds its business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BusinessLock {
    /// Beside others who do so.
    Share,
    /// One at a time.
    Alone,
}

/// The same with the row's key as text, for rows whose key is no UUID.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spot<'a> {
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) row: &'a str,
    pub(crate) owner: Uuid,
}

impl Cell {
    fn spot<'a>(&self, row: &'a str) -> Spot<'a> {
        Spot { table: self.table, column: self.column, row, owner: self.owner }
    }
}

impl Spot<'_> {
    fn place<'a>(&'a self, tenant: &'a str) -> Place<'a> {
        Place { tenant, table: self.table, row: self.row, column: self.column }
    }

    fn refused(&self, reason: &'static str) -> StoreError {
        StoreError::Sealed { table: self.table, row: self.row.to_owned(), reason }
    }
}

impl Tenant {
    /// Seals a value for its cell, with its owner's data key, which is made where there is none.
    ///
    /// Whoever writes the value must see that the key is still in use when it is written
    /// ([`in_use`]): [`Tenant::write_sealed`] does both.
    pub(crate) async fn seal(&self, cell: Cell, text: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.seal_at(cell.spot(&cell.row.to_string()), text).await
    }

    pub(crate) async fn seal_at(&self, spot: Spot<'_>, text: &[u8]) -> Result<Vec<u8>, StoreError> {
        if !sealed::is_listed(spot.table, spot.column) {
            return Err(
                spot.refused("a change of data keys would not find it: its column is not in the list of sealed ones")
            );
        }
        let key = self.sealing_key(spot.owner).await?;
        let tenant = self.business().to_string();
        key.seal(text, &spot.place(&tenant)).ok_or_else(|| spot.refused("the system gives no randomness"))
    }

    /// Seals a value and begins the transaction that writes it. Until its end the data key stays in use: who retires the
    /// key waits, and then finds the value.
    pub(crate) async fn write_sealed(
        &self,
        doing: &'static str,
        cell: Cell,
        text: &[u8],
    ) -> Result<(Tx, Vec<u8>), StoreError> {
        self.write_sealed_at(doing, cell.spot(&cell.row.to_string()), text).await
    }

    pub(crate) async fn write_sealed_at(
        &self,
        doing: &'static str,
        spot: Spot<'_>,
        text: &[u8],
    ) -> Result<(Tx, Vec<u8>), StoreError> {
        loop {
            let sealed = self.seal_at(spot, text).await?;
            let mut tx = self.write(doing).await?;
            if in_use(&mut tx, &sealed).await? {
                return Ok((tx, sealed));
            }
        }
    }

    /// The same in a transaction that holds the business first (`FOR SHARE`, or `FOR NO KEY UPDATE` for one at a time): for what
    /// is sealed with a key that was there before, in a transaction that writes rows which refer to the business. Who
    /// retires a key, or keeps a login, takes both in that order.
    pub(crate) async fn write_sealed_holding(
        &self,
        doing: &'static str,
        cell: Cell,
        text: Option<&[u8]>,
        lock: BusinessLock,
    ) -> Result<(Tx, Option<Vec<u8>>), StoreError> {
        loop {
            let sealed = match text {
                Some(text) => Some(self.seal(cell, text).await?),
                None => None,
            };
            let mut tx = self.write(doing).await?;
            let hold = match lock {
                BusinessLock::Share => "SELECT id FROM businesses WHERE id = $1 FOR SHARE",
                BusinessLock::Alone => "SELECT id FROM businesses WHERE id = $1 FOR NO KEY UPDATE",
            };
            tx.query(hold).bind(self.business()).optional().await?;
            match &sealed {
                Some(sealed) if !in_use(&mut tx, sealed).await? => {}
                _ => return Ok((tx, sealed)),
            }
        }
    }

    /// The same for a value that may be left as it is.
    pub(crate) async fn write_sealed_if(
        &self,
        doing: &'static str,
        cell: Cell,
        text: Option<&[u8]>,
    ) -> Result<(Tx, Option<Vec<u8>>), StoreError> {
        Ok(match text {
            Some(text) => {
                let (tx, sealed) = self.write_sealed(doing, cell, text).await?;
                (tx, Some(sealed))
            }
            None => (self.write(doing).await?, None),
        })
    }

    /// Opens what was sealed for this cell, and for no other.
    ///
    /// Between the reading of a value and this, a change of data keys may have sealed it anew: then it is told to be
    /// gone, and reading again finds it.
    pub(crate) async fn unseal(&self, cell: Cell, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.unseal_at(cell.spot(&cell.row.to_string()), sealed).await
    }

    pub(crate) async fn unseal_at(&self, spot: Spot<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let mut tx = self.read("reading a data key").await?;
        let row = key_of(&mut tx, self.business(), sealed).await?;
        drop(tx);
        self.unseal_with(spot, sealed, row).await
    }

    /// With the row of its data key, which was read before.
    pub(crate) async fn unseal_cell_with(
        &self,
        cell: Cell,
        sealed: &[u8],
        key: Option<Row>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        self.unseal_with(cell.spot(&cell.row.to_string()), sealed, key).await
    }

    async fn unseal_with(
        &self,
        spot: Spot<'_>,
        sealed: &[u8],
        key: Option<Row>,
    ) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        if sealed_with(sealed).is_none() {
            return self.unseal_old(spot, sealed);
        }
        let row = key.ok_or_else(|| spot.refused("its data key is gone, or belongs to another business"))?;
        let key = self.unwrapped(&row).await?;
        let tenant = self.business().to_string();
        key.open(sealed, &spot.place(&tenant)).map_err(|reason| spot.refused(reason))
    }

    /// What a program of schema 1 has sealed.
    fn unseal_old(&self, spot: Spot<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let place = format!("{}:{}:{}", spot.table, self.business(), spot.row);
        let mut refused = "it was sealed with a master key that was not given";
        for key in &self.store().keys().before {
            match key.open(sealed, &place) {
                Ok(opened) => return Ok(opened),
                Err(reason) => refused = reason,
            }
        }
        Err(spot.refused(refused))
    }

    /// Sees that an owner's data key can be had, and makes it where there is none.
    pub(crate) async fn has_key(&self, owner: Uuid) -> Result<(), StoreError> {
        self.sealing_key(owner).await.map(drop)
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
    pub(crate) fn context(&self, id: Uuid) -> String {
        format!("data_keys:{}:{id}", self.business())
    }
}

/// Whether the data key that sealed a value is still in use, and from now to the transaction's end stays so.
pub(crate) async fn in_use(tx: &mut Tx, sealed: &[u8]) -> Result<bool, StoreError> {
    let Some(id) = sealed_with(sealed) else { return Ok(false) };
    let row = tx
        .query("SELECT id FROM data_keys WHERE id = $1 AND retired_at IS NULL FOR SHARE")
        .bind(Uuid::from_bytes(id))
        .optional()
        .await?;
    Ok(row.is_some())
}

/// The row of the data key that sealed a value.
pub(crate) async fn key_of(tx: &mut Tx, business: Uuid, sealed: &[u8]) -> Result<Option<Row>, StoreError> {
    let Some(id) = sealed_with(sealed) else { return Ok(None) };
    tx.query("SELECT id, service, wrapped FROM data_keys WHERE business_id = $1 AND id = $2")
        .bind(business)
        .bind(Uuid::from_bytes(id))
        .optional()
        .await
}

/// The time in a UUID of version 7: when the key was made.
pub(crate) fn made_at(id: Uuid) -> Timestamp {
    let time = id.get_timestamp().map(|time| time.to_unix());
    time.and_then(|(seconds, nanos)| Timestamp::new(seconds as i64, nanos as i32).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}
