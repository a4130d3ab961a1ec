//! Tokens of integrations: rows of their business, beside the integration that they belong to.
//!
//! A fleet's rules (one renewal at a time, none by who has lost the lease) are those of
//! [`tieline_auth::token_store`]. One is added here: whoever opened the store before access was revoked can neither
//! take a lease nor write an entry after it, for the integration's `generation` has grown.
//!
//! What is kept is sealed here, with the data key that is in use at that moment, and opened with the one that sealed it:
//! whoever opened the store before data keys were changed goes on with it, and no token is lost between two keys.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tieline_auth::SharedStore;
use tieline_auth::sealing::MasterKey;
use tieline_auth::token_store::{Answer, Entry, Lease, Swap, Take, TokenStore, TokenStoreError};
use uuid::Uuid;

use crate::error::StoreError;
use crate::integrations::Integration;
use crate::keys::Spot;
use crate::open::Tenant;

const TABLE: &str = "integration_tokens";

/// Takes, extends or refuses the lease. No row comes back where somebody else has it, or access was revoked.
const LEASE: &str = "
INSERT INTO integration_tokens (business_id, integration_id, name, fence, owner, lease_until)
SELECT business_id, id, $3, 1, $4, clock_ms() + $5 FROM integrations WHERE id = $1 AND generation = $2
ON CONFLICT (integration_id, name) DO UPDATE SET
    fence = integration_tokens.fence + CASE WHEN integration_tokens.owner IS NOT DISTINCT FROM $4 THEN 0 ELSE 1 END,
    owner = excluded.owner,
    lease_until = excluded.lease_until
WHERE $6 OR integration_tokens.owner IS NULL OR integration_tokens.owner = $4
    OR integration_tokens.lease_until <= clock_ms() OR integration_tokens.lease_until > excluded.lease_until
RETURNING fence";

const REMAINING: &str = "
SELECT lease_until - clock_ms() AS remaining FROM integration_tokens WHERE integration_id = $1 AND name = $2";

const SWAP: &str = "
UPDATE integration_tokens SET sealed = $1, version = version + 1
WHERE integration_id = $2 AND name = $3 AND version = $4 AND fence = $5
    AND (SELECT generation FROM integrations WHERE id = $2) = $6
RETURNING version";

#[derive(Clone)]
struct IntegrationTokens {
    tenant: Tenant,
    integration: Uuid,
    generation: i64,
}

impl std::fmt::Debug for IntegrationTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntegrationTokens").field("integration", &self.integration).finish_non_exhaustive()
    }
}

impl Tenant {
    /// Where an integration's tokens are kept, sealed with its own data key, as long as nobody revokes its access.
    ///
    /// # Errors
    /// [`StoreError`], when the data key cannot be had.
    pub async fn token_store(&self, integration: &Integration) -> Result<SharedStore, StoreError> {
        let store = Arc::new(IntegrationTokens {
            tenant: self.clone(),
            integration: integration.id,
            generation: integration.generation,
        });
        // Found out now rather than when a token has come that cannot be kept.
        self.has_key(integration.id).await?;
        Ok(SharedStore { store, key: inner()? })
    }
}

/// The key of the seal that [`SharedStore`] makes of its own. It protects nothing and is no secret: each entry is sealed
/// in whole by its data key. It must be the same in every process, whatever becomes of data keys.
fn inner() -> Result<MasterKey, StoreError> {
    let refused = |reason| StoreError::Sealed { table: TABLE, row: String::new(), reason };
    MasterKey::from_text(&"00".repeat(32)).map_err(refused)
}

impl IntegrationTokens {
    fn row(&self, name: &str) -> String {
        format!("{}:{name}", self.integration)
    }

    fn spot<'a>(&self, row: &'a str) -> Spot<'a> {
        Spot { table: TABLE, column: "sealed", row, owner: self.integration }
    }

    fn failed(&self, error: &StoreError) -> TokenStoreError {
        TokenStoreError { store: self.describe(), reason: error.to_string() }
    }

    async fn entry(&self, name: &str) -> Result<Option<Entry>, StoreError> {
        let mut refused = None;
        loop {
            let mut tx = self.tenant.read("reading a token's entry").await?;
            let row = tx
                .query("SELECT version, sealed FROM integration_tokens WHERE integration_id = $1 AND name = $2 AND version > 0")
                .bind(self.integration)
                .bind(name)
                .optional()
                .await?;
            drop(tx);
            let Some(row) = row else { return Ok(None) };
            let sealed: Vec<u8> = row.get("sealed")?;
            match self.tenant.unseal_at(self.spot(&self.row(name)), &sealed).await {
                // Sealed anew meanwhile, unless it is what it was.
                Err(StoreError::Sealed { .. }) if refused.as_ref() != Some(&sealed) => refused = Some(sealed),
                opened => {
                    let version = unsigned(row.get("version")?);
                    return Ok(Some(Entry { version, sealed: opened?.to_vec() }));
                }
            }
        }
    }

    async fn take(&self, name: &str, owner: &str, time: Duration, take: Take) -> Result<Lease, StoreError> {
        let mut tx = self.tenant.write("taking the lease on a token").await?;
        let fence = tx
            .query(LEASE)
            .bind(self.integration)
            .bind(self.generation)
            .bind(name)
            .bind(owner)
            .bind(i64::try_from(time.as_millis()).unwrap_or(i64::MAX))
            .bind(take == Take::ByForce)
            .optional()
            .await?;
        if let Some(row) = fence {
            let fence = unsigned(row.get("fence")?);
            tx.commit().await?;
            return Ok(Lease::Held { fence });
        }
        let row = tx.query(REMAINING).bind(self.integration).bind(name).optional().await?;
        match row {
            Some(row) => Ok(Lease::Busy { remaining: Duration::from_millis(unsigned(row.get("remaining")?)) }),
            None => Err(StoreError::Revoked { integration: self.integration.to_string() }),
        }
    }

    async fn swap(&self, name: &str, expected: u64, fence: u64, sealed: &[u8]) -> Result<Swap, StoreError> {
        let row = self.row(name);
        let (mut tx, sealed) = self.tenant.write_sealed_at("keeping a token", self.spot(&row), sealed).await?;
        // Whoever revokes access waits until this is done, and then takes the entry away; or was first, and this
        // finds nothing.
        tx.query("SELECT generation FROM integrations WHERE id = $1 FOR UPDATE")
            .bind(self.integration)
            .optional()
            .await?;
        let version = tx
            .query(SWAP)
            .bind(sealed)
            .bind(self.integration)
            .bind(name)
            .bind(signed(expected))
            .bind(signed(fence))
            .bind(self.generation)
            .optional()
            .await?;
        let Some(row) = version else { return Ok(Swap::Refused) };
        let version = unsigned(row.get("version")?);
        tx.commit().await?;
        Ok(Swap::Done(version))
    }

    /// When the integration got other credentials, or lost them, if it did since this was opened.
    async fn out_of_date_since(&self) -> Result<Option<Timestamp>, StoreError> {
        let mut tx = self.tenant.read("looking whether access was revoked").await?;
        let row = tx
            .query("SELECT generation, updated_at FROM integrations WHERE id = $1")
            .bind(self.integration)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(Some(Timestamp::UNIX_EPOCH)) };
        if row.get::<i64>("generation")? == self.generation {
            return Ok(None);
        }
        row.get("updated_at").map(Some)
    }

    async fn give_back(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        let mut tx = self.tenant.write("giving the lease on a token back").await?;
        tx.query("UPDATE integration_tokens SET owner = NULL WHERE integration_id = $1 AND name = $2 AND owner = $3")
            .bind(self.integration)
            .bind(name)
            .bind(owner)
            .execute()
            .await?;
        tx.commit().await
    }
}

impl TokenStore for IntegrationTokens {
    fn describe(&self) -> String {
        format!("the tokens of integration {} in {}", self.integration, self.tenant.store().place())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn load<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Entry>> {
        Box::pin(async move { self.entry(key).await.map_err(|e| self.failed(&e)) })
    }

    fn lease<'a>(&'a self, key: &'a str, owner: &'a str, time: Duration, take: Take) -> Answer<'a, Lease> {
        Box::pin(async move { self.take(key, owner, time, take).await.map_err(|e| self.failed(&e)) })
    }

    fn compare_and_swap<'a>(&'a self, key: &'a str, expected: u64, fence: u64, sealed: &'a [u8]) -> Answer<'a, Swap> {
        Box::pin(async move { self.swap(key, expected, fence, sealed).await.map_err(|e| self.failed(&e)) })
    }

    fn revoked_at(&self) -> Answer<'_, Option<Timestamp>> {
        Box::pin(async move { self.out_of_date_since().await.map_err(|e| self.failed(&e)) })
    }

    fn release<'a>(&'a self, key: &'a str, owner: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.give_back(key, owner).await.map_err(|e| self.failed(&e)) })
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
