//! Connected orgs, with their credentials sealed.

use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::error::StoreError;
use crate::open::Store;

/// Credentials in clear: zeroed when dropped, never printed.
pub struct Credentials(Zeroizing<Vec<u8>>);

impl Credentials {
    /// Takes the bytes in.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[credentials]")
    }
}

/// An integration without its secrets.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Integration {
    /// UUID.
    pub id: String,
    /// The business it belongs to.
    pub business_id: String,
    /// What people call it.
    pub name: String,
    /// `active`, `inactive`, `error` or `pending`.
    pub status: String,
    /// Instance URL, organization id and the like.
    pub config: serde_json::Value,
    /// End of the last successful run, in milliseconds since 1970.
    pub last_sync_at: Option<i64>,
}

impl Store {
    /// Saves an integration under its name, replacing the credentials of one that is there. Answers its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save_integration(
        &self,
        name: &str,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<String, StoreError> {
        let doing = StoreError::doing("saving the integration");
        let mut tx = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(&doing)?;
        let known: Option<String> =
            sqlx::query_scalar("SELECT id FROM integrations WHERE business_id = $1 AND name = $2")
                .bind(&self.business)
                .bind(name)
                .fetch_optional(&mut *tx)
                .await
                .map_err(&doing)?;
        let id = known.unwrap_or_else(|| Uuid::now_v7().to_string());
        let sealed = self.key.seal(credentials.expose(), &self.place(&id));
        let sealed = sealed
            .ok_or_else(|| StoreError::Sealed { integration: id.clone(), reason: "the system gives no randomness" })?;
        sqlx::query(
            "INSERT INTO integrations (id, business_id, name, type, status, credentials, created_at, updated_at)
             VALUES ($1, $2, $3, 'salesforce', 'active', $4, $5, $5)
             ON CONFLICT (business_id, name) DO UPDATE SET credentials = excluded.credentials, status = 'active', updated_at = excluded.updated_at",
        )
        .bind(&id)
        .bind(&self.business)
        .bind(name)
        .bind(sealed)
        .bind(now.as_millisecond())
        .execute(&mut *tx)
        .await
        .map_err(&doing)?;
        tx.commit().await.map_err(&doing)?;
        Ok(id)
    }

    /// All integrations, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn integrations(&self) -> Result<Vec<Integration>, StoreError> {
        let rows = sqlx::query("SELECT id, business_id, name, status, config, last_sync_at FROM integrations WHERE business_id = $1 ORDER BY created_at, id")
            .bind(&self.business)
            .fetch_all(&self.reader)
            .await
            .map_err(StoreError::doing("listing the integrations"))?;
        Ok(rows.iter().map(integration).collect())
    }

    /// Opens the credentials of an integration.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] with another master key, or for a row that was tampered with.
    pub async fn open_credentials(&self, id: &str) -> Result<Credentials, StoreError> {
        let sealed: Vec<u8> =
            sqlx::query_scalar("SELECT credentials FROM integrations WHERE business_id = $1 AND id = $2")
                .bind(&self.business)
                .bind(id)
                .fetch_one(&self.reader)
                .await
                .map_err(StoreError::doing("reading the integration"))?;
        let opened = self.key.open(&sealed, &self.place(id));
        opened.map(Credentials).map_err(|reason| StoreError::Sealed { integration: id.to_owned(), reason })
    }

    /// Notes how the integration is and what its token told about the org.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_integration(
        &self,
        id: &str,
        status: &str,
        config: Option<&serde_json::Value>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE integrations SET status = $1, config = coalesce($2, config), updated_at = $3 WHERE business_id = $4 AND id = $5")
            .bind(status)
            .bind(config.map(ToString::to_string))
            .bind(now.as_millisecond())
            .bind(&self.business)
            .bind(id)
            .execute(&self.writer)
            .await
            .map_err(StoreError::doing("noting the integration's state"))?;
        Ok(())
    }

    /// What ciphertext is bound to.
    fn place(&self, id: &str) -> String {
        format!("integrations:{}:{id}", self.business)
    }
}

fn integration(row: &SqliteRow) -> Integration {
    let config: String = row.get("config");
    Integration {
        id: row.get("id"),
        business_id: row.get("business_id"),
        name: row.get("name"),
        status: row.get("status"),
        config: serde_json::from_str(&config).unwrap_or_default(),
        last_sync_at: row.get("last_sync_at"),
    }
}
