//! Who somebody is at an OpenID provider, and the sign-in that waits for its browser.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, Action, Actor, Entry};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::invitations::{Invitation, Invited, take_up};
use crate::open::Store;
use crate::people::{Account, account};
use crate::sql::{Row, Tx};

/// Who somebody is at a provider.
#[derive(Debug, Clone, Serialize)]
pub struct Identity {
    /// UUID.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// The provider.
    pub issuer: String,
    /// Whom the provider means: it never gives the same to somebody else.
    pub subject: String,
    /// The address that the provider told last. For people to read: nobody is found by it.
    pub email: Option<String>,
    /// Since when they can sign in with it.
    pub created_at: Timestamp,
    /// When they did last.
    pub last_used_at: Option<Timestamp>,
}

/// What a provider has proven.
#[derive(Debug, Clone, Copy)]
pub struct NewIdentity<'a> {
    /// The provider.
    pub issuer: &'a str,
    /// Whom it means.
    pub subject: &'a str,
    /// The address that it tells.
    pub email: Option<&'a str>,
}

/// A sign-in to be begun.
#[derive(Debug)]
pub struct NewSignIn<'a> {
    /// Of the `state` that the provider sends back.
    pub state: Digest,
    /// Of what only this browser has.
    pub browser: Digest,
    /// The provider.
    pub issuer: &'a str,
    /// Whom the identity is to be linked to.
    pub user: Option<Uuid>,
    /// Of the invitation that is to be taken up.
    pub invitation: Option<Digest>,
    /// Where the person was.
    pub return_to: &'a str,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A sign-in whose browser has come back. It is used up.
#[derive(Debug)]
pub struct TakenSignIn {
    /// The provider that it was begun at.
    pub issuer: String,
    /// Whom the identity is to be linked to.
    pub user: Option<Uuid>,
    /// Of the invitation that is to be taken up.
    pub invitation: Option<Digest>,
    /// Where the person was.
    pub return_to: String,
    /// When it was begun.
    pub begun_at: Timestamp,
}

/// Why no sign-in is taken. In neither case is one used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSignIn {
    /// Nobody waits for this `state`: it is unknown, was used, or has ended.
    Unknown,
    /// It was begun in another browser.
    OtherBrowser,
}

/// How a sign-in is possible at all, for deciding which identity is somebody's last way in.
#[derive(Debug, Clone, Copy)]
pub struct WaysIn<'a> {
    /// By an identity of this provider.
    pub issuer: Option<&'a str>,
    /// By password.
    pub password: bool,
}

/// How taking an identity off a user ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlinked {
    /// It is gone.
    Done,
    /// The user has no such identity.
    NotFound,
    /// They could not sign in any more.
    LastWayIn,
}

impl Store {
    /// Writes down a sign-in that is under way; those that have ended are taken out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_sign_in(&self, new: &NewSignIn<'_>, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("beginning a sign-in").await?;
        tx.query("DELETE FROM sign_in_attempts WHERE expires_at < $1").bind(now).execute().await?;
        tx.query(
            "INSERT INTO sign_in_attempts (state_hash, browser_hash, issuer, user_id, invitation_hash, return_to, created_at,
             expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(new.state)
        .bind(new.browser)
        .bind(new.issuer)
        .bind(new.user)
        .bind(new.invitation.map(|digest| digest.as_bytes().to_vec()))
        .bind(new.return_to)
        .bind(now)
        .bind(new.expires_at)
        .execute()
        .await?;
        tx.commit().await
    }

    /// Takes the sign-in that a browser comes back for, if it is this browser's.
    ///
    /// # Errors
    /// [`StoreError`]; within, why there is none to take.
    pub async fn take_sign_in(
        &self,
        state: Digest,
        browser: Digest,
        now: Timestamp,
    ) -> Result<Result<TakenSignIn, NoSignIn>, StoreError> {
        let mut tx = self.write("taking up a sign-in").await?;
        let row = tx
            .query("SELECT * FROM sign_in_attempts WHERE state_hash = $1 AND expires_at > $2 FOR UPDATE")
            .bind(state)
            .bind(now)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(Err(NoSignIn::Unknown)) };
        if row.get::<Vec<u8>>("browser_hash")? != browser.as_bytes() {
            return Ok(Err(NoSignIn::OtherBrowser));
        }
        tx.query("DELETE FROM sign_in_attempts WHERE state_hash = $1").bind(state).execute().await?;
        tx.commit().await?;
        Ok(Ok(TakenSignIn {
            issuer: row.get("issuer")?,
            user: row.find("user_id")?,
            invitation: row.find::<Vec<u8>>("invitation_hash")?.and_then(|bytes| Digest::from_bytes(&bytes)),
            return_to: row.get("return_to")?,
            begun_at: row.get("created_at")?,
        }))
    }

    /// The account that an identity signs in to, if it is anybody's. Its use and its address are noted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account_by_identity(
        &self,
        identity: &NewIdentity<'_>,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        let mut tx = self.write("looking for an identity").await?;
        let used = tx
            .query(
                "UPDATE user_identities SET last_used_at = $1, email = coalesce($2, email) WHERE issuer = $3 AND subject = $4
                 RETURNING user_id",
            )
            .bind(now)
            .bind(identity.email)
            .bind(identity.issuer)
            .bind(identity.subject)
            .optional()
            .await?;
        let Some(used) = used else { return Ok(None) };
        let user: Uuid = used.get("user_id")?;
        let row = tx.query("SELECT * FROM users WHERE id = $1").bind(user).one().await?;
        tx.commit().await?;
        account(&row).map(Some)
    }

    /// The identities of a user, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn identities_of(&self, user: Uuid) -> Result<Vec<Identity>, StoreError> {
        let mut tx = self.read("listing the identities").await?;
        let rows = tx
            .query("SELECT * FROM user_identities WHERE user_id = $1 ORDER BY created_at, id")
            .bind(user)
            .all()
            .await?;
        rows.iter().map(identity).collect()
    }

    /// Lets a user sign in with an identity from now on. An identity that is theirs already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Taken`], if it is somebody else's.
    pub async fn link_identity(
        &self,
        user: Uuid,
        new: &NewIdentity<'_>,
        address: Option<&str>,
        now: Timestamp,
    ) -> Result<Identity, StoreError> {
        let mut tx = self.write("linking an identity").await?;
        // Who links and who unlinks wait for each other.
        tx.query("SELECT id FROM users WHERE id = $1 FOR UPDATE").bind(user).one().await?;
        let kept = link(&mut tx, user, new, address, now).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// Takes an identity off a user, unless it is the last way in that they have.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn unlink_identity(
        &self,
        user: Uuid,
        id: Uuid,
        ways: WaysIn<'_>,
        address: Option<&str>,
        now: Timestamp,
    ) -> Result<Unlinked, StoreError> {
        let mut tx = self.write("unlinking an identity").await?;
        // Two that are taken off at once must not each be the second last.
        let row = tx.query("SELECT * FROM users WHERE id = $1 FOR UPDATE").bind(user).one().await?;
        let gone = tx
            .query("DELETE FROM user_identities WHERE user_id = $1 AND id = $2 RETURNING *")
            .bind(user)
            .bind(id)
            .optional()
            .await?;
        let Some(gone) = gone else { return Ok(Unlinked::NotFound) };
        let left = tx
            .query("SELECT id FROM user_identities WHERE user_id = $1 AND issuer = $2 LIMIT 1")
            .bind(user)
            .bind(ways.issuer.unwrap_or_default())
            .optional()
            .await?;
        let by_password = ways.password && account(&row)?.password_hash.is_some();
        if left.is_none() && !by_password {
            return Ok(Unlinked::LastWayIn);
        }
        let gone = identity(&gone)?;
        let (target, detail) = (gone.id.to_string(), json!({"issuer": gone.issuer}));
        let entry = Entry { detail, address, ..Entry::new(Actor::User(user), Action::IdentityUnlinked) };
        audit::append(&mut tx, None, &entry.on("identity", &target), now).await?;
        tx.commit().await?;
        Ok(Unlinked::Done)
    }

    /// Takes an invitation up with an identity instead of a password: it is gone, the person is a member, and the identity
    /// is theirs. `None` if the invitation is not there (any more).
    ///
    /// # Errors
    /// [`StoreError::Taken`], if somebody new has an account already, or the identity is somebody else's: nothing happened.
    pub async fn accept_invitation_with_identity(
        &self,
        token: Digest,
        who: Invited<'_>,
        new: &NewIdentity<'_>,
        address: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<(Invitation, Uuid)>, StoreError> {
        let mut tx = self.write("taking up an invitation").await?;
        let Some((invitation, user)) = take_up(&mut tx, token, who, address.unwrap_or_default(), now).await? else {
            return Ok(None);
        };
        link(&mut tx, user, new, address, now).await?;
        tx.commit().await?;
        Ok(Some((invitation, user)))
    }
}

/// The identity as this user's, with its entry in the service's chain as the transaction's last statement.
async fn link(
    tx: &mut Tx,
    user: Uuid,
    new: &NewIdentity<'_>,
    address: Option<&str>,
    now: Timestamp,
) -> Result<Identity, StoreError> {
    let made = tx
        .query(
            "INSERT INTO user_identities (id, user_id, issuer, subject, email, created_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (issuer, subject) DO NOTHING RETURNING *",
        )
        .bind(Uuid::now_v7())
        .bind(user)
        .bind(new.issuer)
        .bind(new.subject)
        .bind(new.email)
        .bind(now)
        .optional()
        .await?;
    let Some(made) = made else {
        let known = tx
            .query("SELECT * FROM user_identities WHERE issuer = $1 AND subject = $2")
            .bind(new.issuer)
            .bind(new.subject)
            .one()
            .await?;
        let known = identity(&known)?;
        if known.user_id != user {
            return Err(StoreError::Taken("this identity is another user's".to_owned()));
        }
        return Ok(known);
    };
    let made = identity(&made)?;
    let (target, detail) = (made.id.to_string(), json!({"issuer": made.issuer}));
    let entry = Entry { detail, address, ..Entry::new(Actor::User(user), Action::IdentityLinked) };
    audit::append(tx, None, &entry.on("identity", &target), now).await?;
    Ok(made)
}

fn identity(row: &Row) -> Result<Identity, StoreError> {
    Ok(Identity {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
        email: row.find("email")?,
        created_at: row.get("created_at")?,
        last_used_at: row.find("last_used_at")?,
    })
}
