//! Connected orgs, with their credentials sealed.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::alerts::{AlertKind, Changes};
use crate::error::StoreError;
use crate::keys::{BusinessLock, Cell};
use crate::mappings::make_contacts_mapping;
use crate::open::Tenant;
use crate::sql::{Row, Tx};

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

/// How an integration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Active,
    /// Somebody has disconnected it.
    Inactive,
    /// It does not work; the reason says what to do.
    Error,
    /// Nobody has logged in yet.
    Pending,
}

impl Status {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Inactive => "inactive",
            Status::Error => "error",
            Status::Pending => "pending",
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "active" => Status::Active,
            "inactive" => Status::Inactive,
            "pending" => Status::Pending,
            _ => Status::Error,
        }
    }
}

/// An integration without its secrets.
#[derive(Debug, Clone, Serialize)]
pub struct Integration {
    /// UUID.
    pub id: Uuid,
    /// The business it belongs to.
    pub business_id: Uuid,
    /// What people call it.
    pub name: String,
    /// `salesforce`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it stands.
    pub status: Status,
    /// Why it does not work, for people.
    pub status_reason: Option<String>,
    /// Instance URL, environment, API version.
    pub config: Value,
    /// The org: 18 characters. It never changes.
    pub organization_id: Option<String>,
    /// Whether there are credentials.
    pub has_credentials: bool,
    /// End of the last successful run.
    pub last_sync_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its last change.
    pub updated_at: Timestamp,
    /// Grows when its credentials change or its access is taken away: what was opened before is out of date.
    #[serde(skip)]
    pub generation: i64,
}

pub(crate) const COLUMNS: &str = "id, business_id, name, type, status, status_reason, config, organization_id, credentials IS NOT NULL AS has_credentials,
    generation, last_sync_at, created_at, updated_at";

impl Tenant {
    /// Saves an integration under its name, replacing the credentials of one that is there. One that somebody has
    /// disconnected stays so. Answers its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save_integration(
        &self,
        name: &str,
        credentials: &Credentials,
        now: Timestamp,
    ) -> Result<Uuid, StoreError> {
        let known = self.integration_named(name).await?.map(|integration| integration.id);
        // The same ones change nothing: what was opened with them stays good. What does not open is replaced.
        if let Some(id) = known
            && let Ok(Some(kept)) = self.open_credentials(id).await
            && kept.expose() == credentials.expose()
        {
            return Ok(id);
        }
        let id = known.unwrap_or_else(Uuid::now_v7);
        let text = Some(credentials.expose());
        let (mut tx, sealed) =
            self.write_sealed_holding("saving the integration", place(id), text, BusinessLock::Share).await?;
        let saved = tx
            .query(
                "INSERT INTO integrations (id, business_id, name, type, status, credentials, created_at, updated_at)
                 VALUES ($1, $2, $3, 'salesforce', 'active', $4, $5, $5)
                 ON CONFLICT (business_id, name) DO UPDATE SET credentials = excluded.credentials,
                     status = CASE WHEN integrations.status = 'inactive' THEN 'inactive' ELSE 'active' END, status_reason = NULL, failed_runs = 0, generation = integrations.generation + 1, updated_at = excluded.updated_at
                 RETURNING id",
            )
            .bind(id)
            .bind(self.business())
            .bind(name)
            .bind(sealed)
            .bind(now)
            .value("id")
            .await?;
        if saved != id {
            // Somebody else has made it in between, and the seal is for another row.
            drop(tx);
            return Box::pin(self.save_integration(name, credentials, now)).await;
        }
        make_contacts_mapping(&mut tx, self.business(), saved, now).await?;
        self.forget_logins(&mut tx, saved).await?;
        let changes = self.resolve(&mut tx, saved, &[AlertKind::AuthFailure], now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(saved)
    }

    /// All integrations, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn integrations(&self) -> Result<Vec<Integration>, StoreError> {
        let mut tx = self.read("listing the integrations").await?;
        let rows = tx
            .query(format!("SELECT {COLUMNS} FROM integrations WHERE business_id = $1 ORDER BY created_at, id"))
            .bind(self.business())
            .all()
            .await?;
        rows.iter().map(integration).collect()
    }

    /// One integration.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn integration(&self, id: Uuid) -> Result<Option<Integration>, StoreError> {
        let mut tx = self.read("reading the integration").await?;
        let row = tx
            .query(format!("SELECT {COLUMNS} FROM integrations WHERE business_id = $1 AND id = $2"))
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        row.as_ref().map(integration).transpose()
    }

    /// The integration of a name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn integration_named(&self, name: &str) -> Result<Option<Integration>, StoreError> {
        let mut tx = self.read("reading the integration").await?;
        let row = tx
            .query(format!("SELECT {COLUMNS} FROM integrations WHERE business_id = $1 AND name = $2"))
            .bind(self.business())
            .bind(name)
            .optional()
            .await?;
        row.as_ref().map(integration).transpose()
    }

    /// Opens the credentials of an integration; none before anybody has given any.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] with another master key, or for a row that was tampered with.
    pub async fn open_credentials(&self, id: Uuid) -> Result<Option<Credentials>, StoreError> {
        let mut refused = None;
        loop {
            let mut tx = self.read("reading the integration").await?;
            let row = tx
                .query("SELECT credentials FROM integrations WHERE business_id = $1 AND id = $2")
                .bind(self.business())
                .bind(id)
                .one()
                .await?;
            drop(tx);
            let Some(sealed) = row.find::<Vec<u8>>("credentials")? else { return Ok(None) };
            match self.unseal(place(id), &sealed).await {
                // Sealed anew meanwhile, unless it is what it was.
                Err(StoreError::Sealed { .. }) if refused.as_ref() != Some(&sealed) => refused = Some(sealed),
                opened => return Ok(Some(Credentials(opened?))),
            }
        }
    }

    /// Notes how the integration is, and in `config` what its token told about the org: what stands there is set, and all
    /// else stays. One that somebody has disconnected stays so, and one of which something fails does not become active.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_integration(
        &self,
        id: Uuid,
        status: Status,
        reason: Option<&str>,
        config: Option<&Value>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write("noting the integration's state").await?;
        self.hold_business(&mut tx).await?;
        let merged = merged_config(&mut tx, self.business(), id, config).await?;
        tx.query(
            "UPDATE integrations SET status = $1, status_reason = $2, config = coalesce($3, config), updated_at = $4,
             organization_id = coalesce(organization_id, $7) WHERE business_id = $5 AND id = $6 AND status <> 'inactive'",
        )
        .bind(status.name())
        .bind(reason)
        .bind(merged)
        .bind(now)
        .bind(self.business())
        .bind(id)
        .bind(config.and_then(|config| config["organization_id"].as_str()))
        .execute()
        .await?;
        let changes = match status {
            Status::Active => self.settle_failures(&mut tx, id, false, now).await?,
            _ => Changes::default(),
        };
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(())
    }

    /// Failed logins of runs are over: somebody has given other credentials.
    pub(crate) async fn forget_logins(&self, tx: &mut Tx, id: Uuid) -> Result<(), StoreError> {
        tx.query(
            "UPDATE sync_work SET failing = NULL, failing_reason = NULL, failing_since = NULL, failed_runs = 0
             WHERE business_id = $1 AND integration_id = $2 AND failing = 'auth'",
        )
        .bind(self.business())
        .bind(id)
        .execute()
        .await
        .map(drop)
    }
}

/// The settings of an integration with `changes` in their place; null takes a setting out. The row is locked: of two who change different settings
/// at once, neither takes back what the other has set. `None` without changes or without such an integration.
pub(crate) async fn merged_config(
    tx: &mut Tx,
    business: Uuid,
    id: Uuid,
    changes: Option<&Value>,
) -> Result<Option<Value>, StoreError> {
    let Some(changes) = changes.and_then(Value::as_object) else { return Ok(None) };
    let row = tx
        .query("SELECT config FROM integrations WHERE business_id = $1 AND id = $2 FOR UPDATE")
        .bind(business)
        .bind(id)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut config: Value = row.get("config")?;
    for (key, value) in changes {
        if value.is_null() {
            config.as_object_mut().map(|config| config.remove(key));
        } else {
            config[key] = value.clone();
        }
    }
    Ok(Some(config))
}

/// What the credentials' ciphertext is bound to.
pub(crate) fn place(id: Uuid) -> Cell {
    Cell { table: "integrations", column: "credentials", row: id, owner: id }
}

pub(crate) fn integration(row: &Row) -> Result<Integration, StoreError> {
    Ok(Integration {
        id: row.get("id")?,
        business_id: row.get("business_id")?,
        name: row.get("name")?,
        kind: row.get("type")?,
        status: Status::from_name(&row.get::<String>("status")?),
        status_reason: row.find("status_reason")?,
        config: row.get("config")?,
        organization_id: row.find("organization_id")?,
        has_credentials: row.get("has_credentials")?,
        generation: row.get("generation")?,
        last_sync_at: row.find("last_sync_at")?,
        created_at: row.get("created_at")?,
        updated_at: row.get("updated_at")?,
    })
}
