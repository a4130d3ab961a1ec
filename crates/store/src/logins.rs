//! Connecting an org: the login that waits for its browser, and what is kept once it comes back.

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::alerts::AlertKind;
use crate::audit::Action;
use crate::digest::Digest;
use crate::error::StoreError;
use crate::integrations::{COLUMNS, Credentials, Integration, Status, integration, merged_config, place};
use crate::keys::{BusinessLock, Cell, in_use, key_of};
use crate::mappings::make_contacts_mapping;
use crate::open::{Store, Tenant};
use crate::sql::Tx;
use crate::sync_work::schedule_contacts;

/// A login to be begun.
#[derive(Debug)]
pub struct NewLogin<'a> {
    /// What is to be connected, as it stands now.
    pub integration: &'a Integration,
    /// Of the `state` that the org sends back.
    pub state: Digest,
    /// Of what only this browser has.
    pub browser: Digest,
    /// What finishing it takes: sealed.
    pub secrets: &'a [u8],
    /// Where the person logs in.
    pub login_url: &'a str,
    /// Where the org sends the browser back to.
    pub redirect_uri: &'a str,
    /// Where the person was.
    pub return_to: &'a str,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A login whose browser has come back. It is used up.
pub struct TakenLogin {
    /// The business, on behalf of the person who began it.
    pub tenant: Tenant,
    /// What is to be connected.
    pub integration: Uuid,
    /// [`Integration::generation`] when it was begun.
    pub generation: i64,
    /// As they were given.
    pub secrets: Zeroizing<Vec<u8>>,
    /// As it was given.
    pub login_url: String,
    /// As it was given.
    pub redirect_uri: String,
    /// As it was given.
    pub return_to: String,
    /// When it was begun.
    pub begun_at: Timestamp,
}

impl std::fmt::Debug for TakenLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TakenLogin").field("integration", &self.integration).finish_non_exhaustive()
    }
}

/// Why no login is taken. In none of these cases is one used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLogin {
    /// Nobody waits for this `state`: it is unknown, was used, or has ended.
    Unknown,
    /// It was begun in another browser.
    OtherBrowser,
    /// It was begun by another user.
    OtherUser,
}

/// What a login has brought.
#[derive(Debug)]
pub struct NewAccess<'a> {
    /// All credentials from now on.
    pub credentials: &'a Credentials,
    /// The org: 18 characters.
    pub organization_id: &'a str,
    /// Instance URL and the like.
    pub config: &'a Value,
    /// When the login was begun.
    pub begun_at: Timestamp,
}

/// What became of it.
#[derive(Debug)]
pub enum Connected {
    /// It is kept.
    Done(Integration),
    /// The business has that org already: its access is the new one's, and the row that was begun for it is gone.
    Known(Integration),
    /// The integration is another org's, and stays so. Nothing was kept.
    OtherOrg {
        /// The org that it is connected to.
        expected: String,
    },
    /// Access was revoked, or the integration deleted, while the person was logging in. Nothing was kept.
    Revoked,
}

impl Tenant {
    /// Makes an integration that nobody has logged in to yet.
    ///
    /// # Errors
    /// [`StoreError::Taken`], if there is one of that name.
    pub async fn create_integration(
        &self,
        name: &str,
        credentials: Option<&Credentials>,
        config: &Value,
        now: Timestamp,
    ) -> Result<Integration, StoreError> {
        let id = Uuid::now_v7();
        let text = credentials.map(Credentials::expose);
        let (mut tx, sealed) = self.write_sealed_if("making the integration", place(id), text).await?;
        let row = tx
            .query(format!(
                "INSERT INTO integrations (id, business_id, name, type, status, credentials, config, created_at, updated_at)
                 VALUES ($1, $2, $3, 'salesforce', 'pending', $4, $5, $6, $6) RETURNING {COLUMNS}"
            ))
            .bind(id)
            .bind(self.business())
            .bind(name)
            .bind(sealed)
            .bind(config)
            .bind(now)
            .one()
            .await
            .map_err(|e| e.or_taken(|| format!("there is an integration named `{name}` already")))?;
        make_contacts_mapping(&mut tx, self.business(), id, now).await?;
        self.note(&mut tx, Action::ConnectionCreated, Some(("integration", id)), json!({}), now).await?;
        tx.commit().await?;
        integration(&row)
    }

    /// Renames an integration, changes settings (those that stand in `config`; the others stay) or its credentials; what is
    /// `None` stays. Other credentials end what was opened with the old ones. `None`, if there is no such integration.
    ///
    /// # Errors
    /// [`StoreError::Taken`], if another one has that name.
    pub async fn update_integration(
        &self,
        id: Uuid,
        name: Option<&str>,
        config: Option<&Value>,
        credentials: Option<&Credentials>,
        now: Timestamp,
    ) -> Result<Option<Integration>, StoreError> {
        let text = credentials.map(Credentials::expose);
        let (mut tx, sealed) = self.write_sealed_if("changing the integration", place(id), text).await?;
        let changed = i64::from(sealed.is_some());
        let merged = merged_config(&mut tx, self.business(), id, config).await?;
        let row = tx
            .query(format!(
                "UPDATE integrations SET name = coalesce($1, name), config = coalesce($2, config),
                 credentials = coalesce($3, credentials), generation = generation + $4, updated_at = $5
                 WHERE business_id = $6 AND id = $7 RETURNING {COLUMNS}"
            ))
            .bind(name)
            .bind(merged)
            .bind(sealed)
            .bind(changed)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .optional()
            .await
            .map_err(|e| {
                e.or_taken(|| format!("there is an integration named `{}` already", name.unwrap_or_default()))
            })?;
        let Some(row) = row else { return Ok(None) };
        let detail = json!({
            "renamed": name.is_some(), "app_changed": credentials.is_some(), "settings_changed": config.is_some(),
        });
        self.note(&mut tx, Action::ConnectionUpdated, Some(("integration", id)), detail, now).await?;
        tx.commit().await?;
        integration(&row).map(Some)
    }

    /// Takes an integration out, with its tokens, its logs and its data key. What was synced and imported stays.
    /// False if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn delete_integration(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("deleting the integration").await?;
        // Before its rows, as whoever writes rows for it does: otherwise each could wait for the other.
        tx.query("SELECT id FROM integrations WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        delete_rows_of(&mut tx, self.business(), id).await?;
        let gone = tx
            .query("DELETE FROM integrations WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if gone > 0 {
            self.note(&mut tx, Action::ConnectionDeleted, Some(("integration", id)), json!({}), now).await?;
        }
        tx.commit().await?;
        Ok(gone > 0)
    }

    /// Writes down a login that is under way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_login(&self, login: &NewLogin<'_>, now: Timestamp) -> Result<(), StoreError> {
        let id = Uuid::now_v7();
        // Not held in use: that lock and the business's, which the row below refers to, are taken by others the other way
        // round. A login whose key is retired and gone within these milliseconds is begun again.
        let sealed = self.seal(secrets(id, login.integration.id), login.secrets).await?;
        let mut tx = self.write("beginning a login").await?;
        tx.query("DELETE FROM login_attempts WHERE business_id = $1 AND expires_at < $2")
            .bind(self.business())
            .bind(now)
            .execute()
            .await?;
        tx.query(
            "INSERT INTO login_attempts (id, business_id, user_id, integration_id, generation, state_hash, browser_hash, sealed,
             login_url, redirect_uri, return_to, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(id)
        .bind(self.business())
        .bind(self.user())
        .bind(login.integration.id)
        .bind(login.integration.generation)
        .bind(login.state)
        .bind(login.browser)
        .bind(sealed)
        .bind(login.login_url)
        .bind(login.redirect_uri)
        .bind(login.return_to)
        .bind(now)
        .bind(login.expires_at)
        .execute()
        .await?;
        tx.commit().await
    }

    /// Keeps what a login has brought, if access was not revoked since it began.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_access(
        &self,
        id: Uuid,
        generation: i64,
        access: &NewAccess<'_>,
        now: Timestamp,
    ) -> Result<Connected, StoreError> {
        // Which row it becomes is known before it is sealed for it, and looked at again when it is written.
        let known = self.other_integration_of(access.organization_id, id).await?;
        let target = known.as_ref().map_or(id, |known| known.id);
        let sealed = self.seal(place(target), access.credentials.expose()).await?;
        let mut tx = self.write("keeping the new access").await?;
        // One login at a time in a business: two that come from the same org must not both find that it is new.
        tx.query("SELECT id FROM businesses WHERE id = $1 FOR NO KEY UPDATE").bind(self.business()).optional().await?;
        // Both data keys before both rows, as everybody takes them.
        tx.query(
            "SELECT id FROM data_keys WHERE business_id = $1 AND owner_id = ANY($2) AND retired_at IS NULL FOR UPDATE",
        )
        .bind(self.business())
        .bind(vec![id, target])
        .all()
        .await?;
        if !in_use(&mut tx, &sealed).await? {
            // Retired between the seal and the lock.
            drop(tx);
            return Box::pin(self.keep_access(id, generation, access, now)).await;
        }
        let begun = tx
            .query("SELECT generation, organization_id FROM integrations WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(begun) = begun else { return Ok(Connected::Revoked) };
        if begun.get::<i64>("generation")? != generation {
            return Ok(Connected::Revoked);
        }
        if let Some(expected) = begun.find::<String>("organization_id")?
            && expected != access.organization_id
        {
            return Ok(Connected::OtherOrg { expected });
        }
        let there: Option<Uuid> = tx
            .query("SELECT id FROM integrations WHERE business_id = $1 AND type = 'salesforce' AND organization_id = $2 AND id <> $3 ORDER BY created_at LIMIT 1")
            .bind(self.business())
            .bind(access.organization_id)
            .bind(id)
            .optional()
            .await?
            .map(|row| row.get("id"))
            .transpose()?;
        if there.unwrap_or(id) != target {
            // Another login of this org was kept between the look and the lock.
            drop(tx);
            return Box::pin(self.keep_access(id, generation, access, now)).await;
        }
        if there.is_some() {
            delete_rows_of(&mut tx, self.business(), id).await?;
            tx.query("DELETE FROM integrations WHERE business_id = $1 AND id = $2")
                .bind(self.business())
                .bind(id)
                .execute()
                .await?;
        }
        let there_now = tx
            .query("SELECT status, updated_at FROM integrations WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.business())
            .bind(target)
            .one()
            .await?;
        if there.is_some()
            && there_now.get::<String>("status")? == Status::Inactive.name()
            && there_now.get::<Timestamp>("updated_at")? >= access.begun_at
        {
            // The org was disconnected while this person was logging in to it by another name.
            return Ok(Connected::Revoked);
        }
        // What somebody has set stays; what the login tells is new.
        let config = merged_config(&mut tx, self.business(), target, Some(access.config)).await?;
        tx.query("DELETE FROM integration_tokens WHERE integration_id = $1").bind(target).execute().await?;
        let row = tx
            .query(format!(
                "UPDATE integrations SET credentials = $1, organization_id = $2, config = coalesce($3, config), status = 'active', status_reason = NULL,
                 failed_runs = 0, generation = generation + 1, updated_at = $4 WHERE business_id = $5 AND id = $6 RETURNING {COLUMNS}"
            ))
            .bind(sealed)
            .bind(access.organization_id)
            .bind(config)
            .bind(now)
            .bind(self.business())
            .bind(target)
            .one()
            .await?;
        let kept = integration(&row)?;
        schedule_contacts(&mut tx, self.business(), target, now).await?;
        self.forget_logins(&mut tx, target).await?;
        let changes = self.resolve(&mut tx, target, &[AlertKind::AuthFailure], now).await?;
        let detail = json!({"organization_id": access.organization_id});
        self.note(&mut tx, Action::ConnectionAuthorized, Some(("integration", target)), detail, now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        Ok(if there.is_some() { Connected::Known(kept) } else { Connected::Done(kept) })
    }

    /// Ends what was opened or begun for any integration of the business: whatever a token was asked for before this, it
    /// cannot be kept any more, nor can a login that is under way be finished. The tokens at hand stay, to be ended at
    /// their orgs.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_all_access(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("ending all access").await?;
        tx.query("SELECT id FROM businesses WHERE id = $1 FOR NO KEY UPDATE").bind(self.business()).optional().await?;
        let ended = tx
            .query(
                "UPDATE integrations SET generation = generation + 1, updated_at = $1,
                 status = CASE WHEN status = 'pending' THEN status ELSE 'inactive' END WHERE business_id = $2",
            )
            .bind(now)
            .bind(self.business())
            .execute()
            .await?;
        tx.query("DELETE FROM login_attempts WHERE business_id = $1").bind(self.business()).execute().await?;
        self.note(&mut tx, Action::ConnectionRevoked, None, json!({"integrations": ended}), now).await?;
        tx.commit().await
    }

    async fn other_integration_of(&self, organization: &str, id: Uuid) -> Result<Option<Integration>, StoreError> {
        let mut tx = self.read("reading the integration").await?;
        let row = tx
            .query(format!(
                "SELECT {COLUMNS} FROM integrations WHERE business_id = $1 AND type = 'salesforce' AND organization_id = $2
                 AND id <> $3 ORDER BY created_at LIMIT 1"
            ))
            .bind(self.business())
            .bind(organization)
            .bind(id)
            .optional()
            .await?;
        row.as_ref().map(integration).transpose()
    }

    /// Shuts an integration: whatever was opened before can keep no new token, and nothing uses it until somebody
    /// connects it again. `credentials`: what is left of them. `tokens_ended`: the org has ended its tokens, and they
    /// are forgotten; otherwise they stay for the next attempt to end them. `None`, if there is none, or if it has got
    /// other credentials since it was read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn shut_integration(
        &self,
        before: &Integration,
        credentials: Option<&Credentials>,
        tokens_ended: bool,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Integration>, StoreError> {
        let id = before.id;
        let text = credentials.map(Credentials::expose);
        let (mut tx, sealed) =
            self.write_sealed_holding("disconnecting the integration", place(id), text, BusinessLock::Share).await?;
        let row = tx
            .query(format!(
                "UPDATE integrations SET status = 'inactive', status_reason = $1, credentials = coalesce($2, credentials),
                 generation = generation + 1, updated_at = $3 WHERE business_id = $4 AND id = $5 AND generation = $6 RETURNING {COLUMNS}"
            ))
            .bind(reason)
            .bind(sealed)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .bind(before.generation)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let gone: &[&str] = if tokens_ended { &["integration_tokens", "login_attempts"] } else { &["login_attempts"] };
        for table in gone {
            tx.query(format!("DELETE FROM {table} WHERE business_id = $1 AND integration_id = $2"))
                .bind(self.business())
                .bind(id)
                .execute()
                .await?;
        }
        // Nothing is expected of it any more.
        let changes = self.resolve(&mut tx, id, &AlertKind::ALL, now).await?;
        let detail = json!({"ended_at_org": tokens_ended});
        self.note(&mut tx, Action::ConnectionDisconnected, Some(("integration", id)), detail, now).await?;
        tx.commit().await?;
        self.store().alerts().note(&changes);
        integration(&row).map(Some)
    }
}

/// What an integration leaves behind that goes with it. SQLite's first schema let rows point to one without saying what
/// becomes of them.
async fn delete_rows_of(tx: &mut Tx, business: Uuid, id: Uuid) -> Result<(), StoreError> {
    for statement in [
        "UPDATE contacts SET integration_id = NULL WHERE business_id = $1 AND integration_id = $2",
        "DELETE FROM runs WHERE business_id = $1 AND integration_id = $2",
        "DELETE FROM mappings WHERE business_id = $1 AND integration_id = $2 AND target = 'contacts'",
        "DELETE FROM data_keys WHERE business_id = $1 AND owner_id = $2",
    ] {
        tx.query(statement).bind(business).bind(id).execute().await?;
    }
    Ok(())
}

impl Store {
    /// Takes the login that a browser comes back for, if it is this browser's and this user's.
    ///
    /// # Errors
    /// [`StoreError`]; within, why there is none to take.
    pub async fn take_login(
        &self,
        state: Digest,
        browser: Digest,
        user: Uuid,
        now: Timestamp,
    ) -> Result<Result<TakenLogin, NoLogin>, StoreError> {
        let mut tx = self.write("taking up a login").await?;
        let row = tx
            .query("SELECT * FROM login_attempts WHERE state_hash = $1 AND expires_at > $2 FOR UPDATE")
            .bind(state)
            .bind(now)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(Err(NoLogin::Unknown)) };
        if row.get::<Vec<u8>>("browser_hash")? != browser.as_bytes() {
            return Ok(Err(NoLogin::OtherBrowser));
        }
        if row.get::<Uuid>("user_id")? != user {
            return Ok(Err(NoLogin::OtherUser));
        }
        let id: Uuid = row.get("id")?;
        let tenant = self.tenant(row.get("business_id")?, Some(user));
        let integration: Uuid = row.get("integration_id")?;
        let sealed = row.get::<Vec<u8>>("sealed")?;
        // Before the row is gone: a data key that nothing refers to may go too.
        let key = key_of(&mut tx, tenant.business(), &sealed).await?;
        tx.query("DELETE FROM login_attempts WHERE id = $1").bind(id).execute().await?;
        tx.commit().await?;
        let opened = tenant.unseal_cell_with(secrets(id, integration), &sealed, key).await?;
        Ok(Ok(TakenLogin {
            integration,
            tenant,
            generation: row.get("generation")?,
            secrets: opened,
            login_url: row.get("login_url")?,
            redirect_uri: row.get("redirect_uri")?,
            return_to: row.get("return_to")?,
            begun_at: row.get("created_at")?,
        }))
    }
}

fn secrets(id: Uuid, integration: Uuid) -> Cell {
    Cell { table: "login_attempts", column: "sealed", row: id, owner: integration }
}
