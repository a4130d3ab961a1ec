//! Invitations into a business: a link that works once.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, Action, Actor, Entry};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::people::{NewUser, Role, User, insert_member, insert_user, role};
use crate::sql::{Row, Tx};

/// An invitation that nobody has taken up yet.
#[derive(Debug, Clone, Serialize)]
pub struct Invitation {
    /// UUID.
    pub id: Uuid,
    /// Into which business.
    pub business_id: Uuid,
    /// For whom, in lower case.
    pub email: String,
    /// As what.
    pub role: Role,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Who takes an invitation up.
#[derive(Debug, Clone, Copy)]
pub enum Invited<'a> {
    /// Somebody with an account, who is signed in.
    User(Uuid),
    /// Somebody new.
    New(NewUser<'a>),
}

impl Tenant {
    /// Makes an invitation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn invite(
        &self,
        email: &str,
        role: Role,
        token: Digest,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<Invitation, StoreError> {
        let invitation = Invitation {
            id: Uuid::now_v7(),
            business_id: self.business(),
            email: email.to_lowercase(),
            role,
            created_at: now,
            expires_at,
        };
        let mut tx = self.write("making an invitation").await?;
        // A second one for the same person replaces the first.
        tx.query("DELETE FROM invitations WHERE business_id = $1 AND (email = $2 OR expires_at < $3)")
            .bind(self.business())
            .bind(&invitation.email)
            .bind(now)
            .execute()
            .await?;
        tx.query(
            "INSERT INTO invitations (id, business_id, email, role, token_hash, invited_by, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(invitation.id)
        .bind(self.business())
        .bind(&invitation.email)
        .bind(role.name())
        .bind(token)
        .bind(self.user())
        .bind(now)
        .bind(expires_at)
        .execute()
        .await?;
        // Who it is for stands in the invitation, which may be erased; an entry of the log is never changed.
        let domain = invitation.email.rsplit_once('@').map(|(_, domain)| domain);
        let detail = json!({"domain": domain, "role": role.name()});
        self.note(&mut tx, Action::MemberInvited, Some(("invitation", invitation.id)), detail, now).await?;
        tx.commit().await?;
        Ok(invitation)
    }

    /// The invitations that are open, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn invitations(&self, now: Timestamp) -> Result<Vec<Invitation>, StoreError> {
        let mut tx = self.read("listing the invitations").await?;
        let rows = tx
            .query("SELECT * FROM invitations WHERE business_id = $1 AND expires_at > $2 ORDER BY created_at, id")
            .bind(self.business())
            .bind(now)
            .all()
            .await?;
        rows.iter().map(invitation).collect()
    }

    /// Takes an invitation back. False if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_back_invitation(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("taking an invitation back").await?;
        let gone = tx
            .query("DELETE FROM invitations WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .execute()
            .await?;
        if gone > 0 {
            self.note(&mut tx, Action::MemberInvitationRevoked, Some(("invitation", id)), json!({}), now).await?;
        }
        tx.commit().await?;
        Ok(gone > 0)
    }
}

impl Store {
    /// The invitation of a token, with the name of its business, if it has not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn invitation(&self, token: Digest, now: Timestamp) -> Result<Option<(Invitation, String)>, StoreError> {
        let mut tx = self.read("looking for an invitation").await?;
        let row = tx
            .query(
                "SELECT i.*, b.name AS business FROM invitations AS i JOIN businesses AS b ON b.id = i.business_id
                 WHERE i.token_hash = $1 AND i.expires_at > $2",
            )
            .bind(token)
            .bind(now)
            .optional()
            .await?;
        row.map(|row| Ok((invitation(&row)?, row.get("business")?))).transpose()
    }

    /// Takes an invitation up: it is gone, and the person is a member. `None` if it is not there (any more).
    ///
    /// # Errors
    /// [`StoreError::Taken`] if somebody new has an account already: nothing happened.
    pub async fn accept_invitation(
        &self,
        token: Digest,
        who: Invited<'_>,
        from: &str,
        now: Timestamp,
    ) -> Result<Option<(Invitation, Uuid)>, StoreError> {
        let mut tx = self.write("taking up an invitation").await?;
        let Some(taken) = take_up(&mut tx, token, who, from, now).await? else { return Ok(None) };
        tx.commit().await?;
        Ok(Some(taken))
    }
}

/// Takes an invitation up within a transaction.
pub(crate) async fn take_up(
    tx: &mut Tx,
    token: Digest,
    who: Invited<'_>,
    from: &str,
    now: Timestamp,
) -> Result<Option<(Invitation, Uuid)>, StoreError> {
    let row = tx
        .query("DELETE FROM invitations WHERE token_hash = $1 AND expires_at > $2 RETURNING *")
        .bind(token)
        .bind(now)
        .optional()
        .await?;
    let Some(row) = row else { return Ok(None) };
    let invitation = invitation(&row)?;
    let user = match who {
        Invited::User(user) => user,
        Invited::New(new) => {
            let User { id, .. } = insert_user(tx, &NewUser { email: &invitation.email, ..new }, now).await?;
            id
        }
    };
    insert_member(tx, invitation.business_id, user, invitation.role, now).await?;
    let detail = json!({"role": invitation.role.name()});
    let joined = Entry { detail, address: Some(from), ..Entry::new(Actor::User(user), Action::MemberJoined) };
    audit::append(tx, Some(invitation.business_id), &joined, now).await?;
    Ok(Some((invitation, user)))
}

fn invitation(row: &Row) -> Result<Invitation, StoreError> {
    Ok(Invitation {
        id: row.get("id")?,
        business_id: row.get("business_id")?,
        email: row.get("email")?,
        role: role(row)?,
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
    })
}
