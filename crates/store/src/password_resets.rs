//! Passwords that are set anew by a link of the operator's, and what else the operator does with people's accounts.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, Action, Actor, Entry};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::open::Store;
use crate::people::{User, account, user};

/// A user as the operator's list shows one.
#[derive(Debug, Clone, Serialize)]
pub struct ListedUser {
    /// Who it is.
    #[serde(flatten)]
    pub user: User,
    /// Has a password.
    pub has_password: bool,
    /// May not sign in any more.
    pub is_disabled: bool,
    /// So many identities of providers.
    pub identities: i64,
    /// So many browsers that are signed in.
    pub sessions: i64,
    /// So many businesses.
    pub businesses: i64,
}

impl Store {
    /// All users, by address.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn users(&self, now: Timestamp) -> Result<Vec<ListedUser>, StoreError> {
        let mut tx = self.read("listing the users").await?;
        let rows = tx
            .query(
                "SELECT u.*,
                 (SELECT count(*) FROM user_identities AS i WHERE i.user_id = u.id) AS identities,
                 (SELECT count(*) FROM sessions AS s WHERE s.user_id = u.id AND s.expires_at > $1) AS sessions,
                 (SELECT count(*) FROM team_members AS m WHERE m.user_id = u.id) AS businesses
                 FROM users AS u ORDER BY u.email",
            )
            .bind(now)
            .all()
            .await?;
        let listed = |row: &crate::sql::Row| {
            let account = account(row)?;
            Ok(ListedUser {
                has_password: account.password_hash.is_some(),
                is_disabled: account.is_disabled,
                user: account.user,
                identities: row.get("identities")?,
                sessions: row.get("sessions")?,
                businesses: row.get("businesses")?,
            })
        };
        rows.iter().map(listed).collect()
    }

    /// Lets whoever has the token set a user's password anew, until then. An earlier token of the user's ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_password_reset(
        &self,
        user: Uuid,
        token: Digest,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write("making a reset link").await?;
        tx.query("DELETE FROM password_resets WHERE user_id = $1 OR expires_at < $2")
            .bind(user)
            .bind(now)
            .execute()
            .await?;
        tx.query("INSERT INTO password_resets (user_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4)")
            .bind(user)
            .bind(token)
            .bind(now)
            .bind(expires_at)
            .execute()
            .await?;
        let target = user.to_string();
        let entry = Entry::new(Actor::System, Action::PasswordResetCreated).on("user", &target);
        audit::append(&mut tx, None, &entry, now).await?;
        tx.commit().await
    }

    /// Whose password a token sets anew, if it has not ended and the user may sign in. It stays good.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn password_reset(&self, token: Digest, now: Timestamp) -> Result<Option<User>, StoreError> {
        let mut tx = self.read("looking for a reset link").await?;
        let row = tx
            .query(
                "SELECT u.* FROM password_resets AS r JOIN users AS u ON u.id = r.user_id
                 WHERE r.token_hash = $1 AND r.expires_at > $2 AND u.disabled_at IS NULL",
            )
            .bind(token)
            .bind(now)
            .optional()
            .await?;
        row.as_ref().map(user).transpose()
    }

    /// Sets a password anew and ends all sessions of the user's; the token is used up. `None` if it is not there (any
    /// more).
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reset_password(
        &self,
        token: Digest,
        hash: &str,
        address: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let mut tx = self.write("setting a password anew").await?;
        let row = tx
            .query("DELETE FROM password_resets WHERE token_hash = $1 AND expires_at > $2 RETURNING user_id")
            .bind(token)
            .bind(now)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id: Uuid = row.get("user_id")?;
        let changed = tx
            .query("UPDATE users SET password_hash = $1 WHERE id = $2 AND disabled_at IS NULL RETURNING *")
            .bind(hash)
            .bind(id)
            .optional()
            .await?;
        let Some(changed) = changed else { return Ok(None) };
        let ended = tx.query("DELETE FROM sessions WHERE user_id = $1").bind(id).execute().await?;
        let (target, detail) = (id.to_string(), json!({"sessions_ended": ended}));
        let entry = Entry { detail, address, ..Entry::new(Actor::User(id), Action::PasswordReset) };
        audit::append(&mut tx, None, &entry.on("user", &target), now).await?;
        tx.commit().await?;
        user(&changed).map(Some)
    }

    /// Ends all sessions of a user, as the operator; how many there were.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_sessions_of(&self, user: Uuid, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.write("ending a user's sessions").await?;
        let ended = tx.query("DELETE FROM sessions WHERE user_id = $1").bind(user).execute().await?;
        let (target, detail) = (user.to_string(), json!({"sessions_ended": ended}));
        let entry = Entry { detail, ..Entry::new(Actor::System, Action::SessionEnded) };
        audit::append(&mut tx, None, &entry.on("user", &target), now).await?;
        tx.commit().await?;
        Ok(ended)
    }
}
