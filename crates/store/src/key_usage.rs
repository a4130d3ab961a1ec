//! Which keys a database needs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::canaries::{self, Canary};
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::rotation::OLD;
use crate::sealed::{SEALED, SealedColumn};

/// A key of the ring or of the database, and what needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Its name.
    pub service: String,
    /// Whether the ring holds it.
    pub in_ring: bool,
    /// Whether it wraps new data keys.
    pub primary: bool,
    /// Data keys that it has wrapped.
    pub data_keys: u64,
    /// Values that it has sealed by itself, in databases that began as schema 1.
    pub values: u64,
    /// What its canary says.
    pub canary: Canary,
}

impl KeyUse {
    /// Whether something would no longer open without it.
    pub fn is_needed(&self) -> bool {
        self.primary || self.data_keys > 0 || self.values > 0
    }
}

/// A data key of a business, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyUse {
    /// Its id.
    pub id: Uuid,
    /// Whose values it seals: an integration, or the business itself.
    pub owner: Uuid,
    /// The name of the master key that has wrapped it.
    pub service: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether another has taken its place: nothing new is sealed with it.
    pub retired: bool,
    /// Values that are sealed with it.
    pub values: u64,
}

impl Tenant {
    /// The business's data keys, oldest first, with how much each has sealed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn data_keys(&self) -> Result<Vec<DataKeyUse>, StoreError> {
        let mut tx = self.read("counting what each data key has sealed").await?;
        let rows = tx
            .query(
                "SELECT id, owner_id, service, created_at, retired_at FROM data_keys WHERE business_id = $1 ORDER BY id",
            )
            .bind(self.business())
            .all()
            .await?;
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for SealedColumn { table, column, .. } in &SEALED {
            let sealed = tx
                .query(format!(
                    "SELECT substr({column}, 2, 16) AS data_key, count(*) AS n FROM {table}
                     WHERE business_id = $1 AND {column} IS NOT NULL GROUP BY substr({column}, 2, 16)"
                ))
                .bind(self.business())
                .all()
                .await?;
            for row in sealed {
                *counts.entry(row.get("data_key")?).or_default() += row.get::<i64>("n")?.unsigned_abs();
            }
        }
        let key = |row: &crate::sql::Row| {
            let id: Uuid = row.get("id")?;
            Ok(DataKeyUse {
                id,
                owner: row.get("owner_id")?,
                service: row.get("service")?,
                created_at: row.get("created_at")?,
                retired: row.find::<Timestamp>("retired_at")?.is_some(),
                values: counts.get(id.as_bytes().as_slice()).copied().unwrap_or_default(),
            })
        };
        rows.iter().map(key).collect()
    }
}

impl Store {
    /// The name of the master key that wraps new data keys.
    pub fn primary_key(&self) -> &str {
        self.keys().ring().primary().name()
    }

    /// The ring's keys in order, then those that the database knows besides. The canaries of those in the ring are
    /// tried: a key service may be asked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn key_usage(&self) -> Result<Vec<KeyUse>, StoreError> {
        let ring = self.keys().ring();
        let mut tx = self.read("counting what each key has wrapped").await?;
        let wrapped = tx.query("SELECT service, count(*) AS n FROM data_keys GROUP BY service").all().await?;
        let old = tx.query(OLD).bind(vec![1]).all().await?;
        let canaries = tx.query("SELECT service, wrapped, sealed FROM key_canaries").all().await?;
        drop(tx);
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for row in wrapped {
            counts.entry(row.get("service")?).or_default().0 = row.get::<i64>("n")?.unsigned_abs();
        }
        for row in old {
            counts.entry(sealed_by(&row.get::<Vec<u8>>("credentials")?)).or_default().1 += 1;
        }
        let mut kept = BTreeMap::new();
        for row in canaries {
            let service: String = row.get("service")?;
            counts.entry(service.clone()).or_default();
            kept.insert(service, (row.get::<Vec<u8>>("wrapped")?, row.get::<Vec<u8>>("sealed")?));
        }
        let held: Vec<String> = ring.names().into_iter().map(str::to_owned).collect();
        let besides = counts.keys().filter(|service| !held.contains(service)).cloned().collect::<Vec<_>>();
        let mut all = Vec::new();
        for service in held.iter().chain(&besides) {
            let (data_keys, values) = counts.get(service).copied().unwrap_or_default();
            let canary = match kept.get(service) {
                None => Canary::None,
                Some((wrapped, sealed)) => canaries::open(ring, service, wrapped, sealed).await,
            };
            let (in_ring, primary) = (held.contains(service), *service == held[0]);
            all.push(KeyUse { service: service.clone(), in_ring, primary, data_keys, values, canary });
        }
        Ok(all)
    }

    /// Forgets a key that nothing needs, with its canary.
    ///
    /// # Errors
    /// [`StoreError::KeyNeeded`], while it is the ring's first or something would no longer open without it.
    pub async fn forget_key(&self, service: &str) -> Result<(), StoreError> {
        let needed = |reason: String| StoreError::KeyNeeded { service: service.to_owned(), reason };
        if self.keys().ring().primary().name() == service {
            return Err(needed("it wraps new data keys".to_owned()));
        }
        let mut tx = self.write("forgetting a key").await?;
        let data_keys: i64 =
            tx.query("SELECT count(*) AS n FROM data_keys WHERE service = $1").bind(service).value("n").await?;
        if data_keys > 0 {
            return Err(needed(format!("{data_keys} data keys are wrapped with it")));
        }
        let mut values = 0;
        for row in tx.query(OLD).bind(vec![1]).all().await? {
            values += u64::from(sealed_by(&row.get::<Vec<u8>>("credentials")?) == service);
        }
        if values > 0 {
            return Err(needed(format!("{values} values are sealed with it")));
        }
        tx.query("DELETE FROM key_canaries WHERE service = $1").bind(service).execute().await?;
        tx.commit().await
    }
}

/// The name of the key that sealed a value of schema 1: its id stands behind the version.
fn sealed_by(value: &[u8]) -> String {
    let id = value.get(1..9).unwrap_or_default();
    id.iter().fold("local:".to_owned(), |name, byte| name + &format!("{byte:02x}"))
}
