//! Changing keys while everything runs: data keys come under another master key, or are themselves made anew.
//!
//! Every step is a transaction of its own that changes what it found or nothing, so that several may do the same at
//! once, and whoever is stopped goes on where it stopped. No transaction waits for a key service.

use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;
use tieline_auth::keyring::Wrapped;
use uuid::Uuid;

use crate::error::StoreError;
use crate::keys::made_at;
use crate::open::{Store, Tenant};
use crate::sealed::{SEALED, SealedColumn};
use crate::sql::Row;

/// So many data keys are under way at once: a key service answers within tens of milliseconds.
const AT_ONCE: usize = 8;

/// What one call has done, and whether there is more.
#[derive(Debug, Default)]
pub struct Progress {
    /// Data keys that were changed.
    pub done: u64,
    /// Values that were sealed anew.
    pub resealed: u64,
    /// How many data keys are still to be changed, in the whole database.
    pub left: u64,
    /// What could not be changed, and stays as it was. A service that is out of reach for now ends the call instead.
    pub failed: Vec<(Uuid, StoreError)>,
    /// Where the next call goes on; `None` at the end.
    pub next: Option<Uuid>,
}

impl Store {
    /// Brings data keys under the ring's first key, up to `batch` of them behind `after` (see [`Progress::next`]). What
    /// they sealed stays as it is, and opens throughout on every node whose ring holds both keys.
    ///
    /// # Errors
    /// [`StoreError`]: the database, or a key service that is out of reach for now. What was done is done.
    pub async fn rewrap_data_keys(&self, after: Option<Uuid>, batch: u32) -> Result<Progress, StoreError> {
        let primary = self.keys().ring().primary().name().to_owned();
        let mut tx = self.read("listing data keys").await?;
        let rows = tx
            .query(
                "SELECT id, business_id, service, wrapped FROM data_keys WHERE service <> $1 AND id > $2 ORDER BY id LIMIT $3",
            )
            .bind(&primary)
            .bind(after.unwrap_or(Uuid::nil()))
            .bind(i64::from(batch.max(1)))
            .all()
            .await?;
        drop(tx);
        let mut progress = Progress { next: next(&rows, batch)?, ..Progress::default() };
        let mut under_way = stream::iter(rows).map(|row| self.rewrap(row)).buffer_unordered(AT_ONCE);
        while let Some((id, outcome)) = under_way.next().await {
            progress.note(id, outcome.map(u64::from))?;
        }
        drop(under_way);
        let mut tx = self.read("counting data keys").await?;
        let left: i64 =
            tx.query("SELECT count(*) AS n FROM data_keys WHERE service <> $1").bind(&primary).value("n").await?;
        progress.left = left.unsigned_abs();
        Ok(progress)
    }

    async fn rewrap(&self, row: Row) -> (Uuid, Result<bool, StoreError>) {
        let id = row.get("id").unwrap_or(Uuid::nil());
        let rewrapped = async {
            let tenant = self.tenant(row.get("business_id")?, None);
            let before = Wrapped { service: row.get("service")?, bytes: row.get("wrapped")? };
            let Some(now) = self.keys().ring().rewrap(&before, id.into_bytes(), &tenant.context(id)).await? else {
                return Ok(false);
            };
            let mut tx = self.write("bringing a data key under another master key").await?;
            // Unless somebody else was first, or its integration is gone.
            let changed = tx
                .query(
                    "UPDATE data_keys SET service = $1, wrapped = $2 WHERE id = $3 AND service = $4 AND wrapped = $5",
                )
                .bind(&now.service)
                .bind(now.bytes)
                .bind(id)
                .bind(&before.service)
                .bind(before.bytes)
                .execute()
                .await?;
            tx.commit().await?;
            Ok(changed == 1)
        };
        (id, rewrapped.await)
    }

    /// Seals with data keys what a master key has sealed by itself, in databases that began as schema 1. How many
    /// values it was.
    ///
    /// # Errors
    /// [`StoreError`]; what was done is done.
    pub async fn reseal_old_values(&self) -> Result<u64, StoreError> {
        let mut tx = self.read("listing what a master key has sealed").await?;
        let rows = tx.query(OLD).bind(vec![1]).all().await?;
        drop(tx);
        let mut done = 0;
        for row in rows {
            let tenant = self.tenant(row.get("business_id")?, None);
            let cell = crate::integrations::place(row.get("id")?);
            let before: Vec<u8> = row.get("credentials")?;
            let text = tenant.unseal(cell, &before).await?;
            let (mut tx, sealed) = tenant.write_sealed("sealing with a data key", cell, &text).await?;
            done += tx
                .query("UPDATE integrations SET credentials = $1 WHERE id = $2 AND credentials = $3")
                .bind(sealed)
                .bind(cell.row)
                .bind(before)
                .execute()
                .await?;
            tx.commit().await?;
        }
        Ok(done)
    }

    /// Makes a fresh data key for each owner whose key was made before `older_than`, and seals anew what the old one
    /// sealed, up to `batch` keys behind `after`. What an earlier call has begun is ended. An old key goes once nothing
    /// is sealed with it any more. `older_than` must have passed: else the keys that are made are to be made anew too.
    ///
    /// # Errors
    /// [`StoreError`]: the database, or a key service that is out of reach for now. What was done is done.
    pub async fn renew_data_keys(
        &self,
        older_than: Timestamp,
        now: Timestamp,
        after: Option<Uuid>,
        batch: u32,
    ) -> Result<Progress, StoreError> {
        let mut tx = self.read("listing data keys").await?;
        let rows = tx
            .query(
                "SELECT id, business_id, owner_id, retired_at FROM data_keys
                 WHERE (retired_at IS NOT NULL OR created_at < $1) AND id > $2 ORDER BY id LIMIT $3",
            )
            .bind(older_than)
            .bind(after.unwrap_or(Uuid::nil()))
            .bind(i64::from(batch.max(1)))
            .all()
            .await?;
        drop(tx);
        let mut progress = Progress { next: next(&rows, batch)?, ..Progress::default() };
        for row in rows {
            let (id, owner): (Uuid, Uuid) = (row.get("id")?, row.get("owner_id")?);
            let tenant = self.tenant(row.get("business_id")?, None);
            let is_retired = row.find::<Timestamp>("retired_at")?.is_some();
            let renewed = async {
                if !is_retired {
                    tenant.retire(id, owner, now).await?;
                }
                let mut resealed = 0;
                for column in &SEALED {
                    resealed += tenant.reseal(column, id, owner).await?;
                }
                Ok((resealed, tenant.delete_if_unused(id, owner).await?))
            };
            let outcome = renewed.await;
            if let Ok((resealed, _)) = &outcome {
                progress.resealed += resealed;
            }
            progress.note(id, outcome.map(|(_, gone)| u64::from(gone)))?;
        }
        let mut tx = self.read("counting data keys").await?;
        let left: i64 = tx
            .query("SELECT count(*) AS n FROM data_keys WHERE retired_at IS NOT NULL OR created_at < $1")
            .bind(older_than)
            .value("n")
            .await?;
        progress.left = left.unsigned_abs();
        Ok(progress)
    }
}

/// What a master key of schema 1 has sealed by itself.
pub(crate) const OLD: &str =
    "SELECT id, business_id, credentials FROM integrations WHERE substr(credentials, 1, 1) = $1";

impl Progress {
    fn note(&mut self, id: Uuid, outcome: Result<u64, StoreError>) -> Result<(), StoreError> {
        match outcome {
            Ok(done) => self.done += done,
            Err(error @ (StoreError::Sealed { .. } | StoreError::Keyring(_))) if !error.is_passing() => {
                self.failed.push((id, error));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn next(rows: &[Row], batch: u32) -> Result<Option<Uuid>, StoreError> {
    match rows.last() {
        Some(last) if rows.len() >= batch.max(1) as usize => last.get("id").map(Some),
        _ => Ok(None),
    }
}

impl Tenant {
    /// Puts a fresh data key in the place of one. From then on nothing new is sealed with the old one.
    async fn retire(&self, old: Uuid, owner: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let id = Uuid::now_v7();
        let (_, wrapped) = self.store().keys().ring().wrap_new(id.into_bytes(), &self.context(id)).await?;
        let mut tx = self.write("renewing a data key").await?;
        // The business before the key, as a login that is kept takes them.
        tx.query("SELECT id FROM businesses WHERE id = $1 FOR NO KEY UPDATE").bind(self.business()).optional().await?;
        let retired = tx
            .query("UPDATE data_keys SET retired_at = $1 WHERE business_id = $2 AND id = $3 AND retired_at IS NULL")
            .bind(now)
            .bind(self.business())
            .bind(old)
            .execute()
            .await?;
        // Somebody else was first, or the integration is gone.
        if retired == 0 {
            return Ok(());
        }
        tx.query(
            "INSERT INTO data_keys (id, business_id, owner_id, service, wrapped, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id)
        .bind(self.business())
        .bind(owner)
        .bind(&wrapped.service)
        .bind(wrapped.bytes)
        .bind(made_at(id))
        .execute()
        .await?;
        tx.commit().await
    }

    /// Seals a column's values that a retired key has sealed with the one in use. Who changes a value meanwhile seals it
    /// with that one anyway, and theirs stays.
    async fn reseal(&self, column: &'static SealedColumn, old: Uuid, owner: Uuid) -> Result<u64, StoreError> {
        let SealedColumn { table, column: name, owner: owner_column, row } = column;
        let mut tx = self.read("listing what a data key has sealed").await?;
        let rows = tx
            .query(format!(
                "SELECT {row} AS row_key, {name} AS sealed FROM {table} WHERE {owner_column} = $1 AND substr({name}, 2, 16) = $2"
            ))
            .bind(owner)
            .bind(old.into_bytes().to_vec())
            .all()
            .await?;
        drop(tx);
        let mut done = 0;
        for found in rows {
            let (key, before): (String, Vec<u8>) = (found.get("row_key")?, found.get("sealed")?);
            let spot = crate::keys::Spot { table, column: name, row: &key, owner };
            let text = match self.unseal_at(spot, &before).await {
                // Another node did it meanwhile, and the old key is gone.
                Err(StoreError::Sealed { .. }) if !self.still_holds(column, owner, &key, &before).await? => continue,
                text => text?,
            };
            let (mut tx, sealed) = self.write_sealed_at("sealing with another data key", spot, &text).await?;
            done += tx
                .query(format!(
                    "UPDATE {table} SET {name} = $1 WHERE {owner_column} = $2 AND {row} = $3 AND {name} = $4"
                ))
                .bind(sealed)
                .bind(owner)
                .bind(&key)
                .bind(before)
                .execute()
                .await?;
            tx.commit().await?;
        }
        Ok(done)
    }

    /// Whether a row has that value still.
    async fn still_holds(
        &self,
        column: &'static SealedColumn,
        owner: Uuid,
        key: &str,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let SealedColumn { table, column, owner: owner_column, row } = column;
        let mut tx = self.read("reading what a data key has sealed").await?;
        let found = tx
            .query(format!(
                "SELECT {owner_column} FROM {table} WHERE {owner_column} = $1 AND {row} = $2 AND {column} = $3"
            ))
            .bind(owner)
            .bind(key)
            .bind(value)
            .optional()
            .await?;
        Ok(found.is_some())
    }

    /// Whether a retired key is gone, for nothing is sealed with it.
    async fn delete_if_unused(&self, old: Uuid, owner: Uuid) -> Result<bool, StoreError> {
        let mut tx = self.write("deleting a data key").await?;
        let key = tx
            .query("SELECT id FROM data_keys WHERE business_id = $1 AND id = $2 AND retired_at IS NOT NULL FOR UPDATE")
            .bind(self.business())
            .bind(old)
            .optional()
            .await?;
        if key.is_none() {
            return Ok(false);
        }
        for SealedColumn { table, column, owner: owner_column, .. } in &SEALED {
            let used = tx
                .query(format!(
                    "SELECT {owner_column} FROM {table} WHERE {owner_column} = $1 AND substr({column}, 2, 16) = $2 LIMIT 1"
                ))
                .bind(owner)
                .bind(old.into_bytes().to_vec())
                .optional()
                .await?;
            if used.is_some() {
                return Ok(false);
            }
        }
        tx.query("DELETE FROM data_keys WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(old)
            .execute()
            .await?;
        tx.commit().await?;
        self.store().keys().opened().forget(old.into_bytes());
        Ok(true)
    }
}
