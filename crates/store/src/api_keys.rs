//! API keys: how a program acts for a business.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::audit::Action;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::people::{Role, role};
use crate::sql::Row;

/// Uses are noted once in so long: a key that is used a thousand times a second is not written as often.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// How long a request waits for that.
const NOTED_WITHIN: Duration = Duration::from_millis(250);

/// A key, without the key.
#[derive(Debug, Clone, Serialize)]
pub struct ApiKey {
    /// UUID.
    pub id: Uuid,
    /// The business that it acts for.
    pub business_id: Uuid,
    /// What people call it.
    pub name: String,
    /// How it begins.
    pub prefix: String,
    /// What it may do.
    pub role: Role,
    /// Who made it.
    pub created_by: Option<Uuid>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its last use, to a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// What a new key is to be.
#[derive(Debug, Clone, Copy)]
pub struct NewApiKey<'a> {
    /// What people call it.
    pub name: &'a str,
    /// How it begins.
    pub prefix: &'a str,
    /// Of the whole key.
    pub digest: Digest,
    /// What it may do.
    pub role: Role,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

impl Tenant {
    /// Keeps a new key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_api_key(&self, new: &NewApiKey<'_>, now: Timestamp) -> Result<ApiKey, StoreError> {
        let mut tx = self.write("making an API key").await?;
        let row = tx
            .query(
                "INSERT INTO api_keys (id, business_id, name, prefix, key_hash, role, created_by, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING *",
            )
            .bind(Uuid::now_v7())
            .bind(self.business())
            .bind(new.name)
            .bind(new.prefix)
            .bind(new.digest)
            .bind(new.role.name())
            .bind(self.user())
            .bind(now)
            .bind(new.expires_at)
            .one()
            .await?;
        let made = api_key(&row)?;
        let detail = json!({"name": made.name, "role": made.role.name()});
        self.note(&mut tx, Action::ApiKeyCreated, Some(("api_key", made.id)), detail, now).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// The keys that work, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn api_keys(&self, now: Timestamp) -> Result<Vec<ApiKey>, StoreError> {
        let mut tx = self.read("listing the API keys").await?;
        let rows = tx
            .query(
                "SELECT * FROM api_keys WHERE business_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)
                 ORDER BY created_at, id",
            )
            .bind(self.business())
            .bind(now)
            .all()
            .await?;
        rows.iter().map(api_key).collect()
    }

    /// Ends a key. False if there is none that works.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_api_key(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("revoking an API key").await?;
        let revoked = tx
            .query("UPDATE api_keys SET revoked_at = $1 WHERE business_id = $2 AND id = $3 AND revoked_at IS NULL")
            .bind(now)
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if revoked > 0 {
            self.note(&mut tx, Action::ApiKeyRevoked, Some(("api_key", id)), json!({}), now).await?;
        }
        tx.commit().await?;
        Ok(revoked > 0)
    }
}

impl Store {
    /// The key of a digest with the business that it opens, if it works; its use is noted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn api_key(&self, digest: Digest, now: Timestamp) -> Result<Option<(ApiKey, Tenant)>, StoreError> {
        let mut tx = self.read("looking for an API key").await?;
        let row = tx
            .query(
                "SELECT * FROM api_keys WHERE key_hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            )
            .bind(digest)
            .bind(now)
            .optional()
            .await?;
        drop(tx);
        let Some(key) = row.as_ref().map(api_key).transpose()? else { return Ok(None) };
        let tenant = self.tenant(key.business_id, None);
        if key.last_used_at.is_none_or(|used| now.duration_since(used) >= NOTED_EVERY) {
            // A database that takes no writes for a while still tells who may read.
            match tokio::time::timeout(NOTED_WITHIN, tenant.note_use(key.id, now)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "an API key's use was not noted"),
                Err(_) => tracing::warn!("an API key's use was not noted: the database takes too long to write"),
            }
        }
        Ok(Some((key, tenant)))
    }
}

impl Tenant {
    async fn note_use(&self, key: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("noting an API key's use").await?;
        tx.query("UPDATE api_keys SET last_used_at = $1 WHERE id = $2").bind(now).bind(key).execute().await?;
        tx.commit().await
    }
}

fn api_key(row: &Row) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.get("id")?,
        business_id: row.get("business_id")?,
        name: row.get("name")?,
        prefix: row.get("prefix")?,
        role: role(row)?,
        created_by: row.find("created_by")?,
        created_at: row.get("created_at")?,
        last_used_at: row.find("last_used_at")?,
        expires_at: row.find("expires_at")?,
    })
}
