//! Users, their sessions, and the businesses that they are members of.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use crate::audit::{self, Action, Actor, Entry};
use crate::digest::Digest;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::sql::{Row, Tx};

/// What a member may do. Each role may do all that the ones below it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Viewer,
    /// Import, and run what is set up.
    Member,
    /// Connect orgs, make API keys, invite people.
    Admin,
    /// Everything: name other owners, delete the business.
    Owner,
}

impl Role {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Member => "member",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Role::Viewer, Role::Member, Role::Admin, Role::Owner].into_iter().find(|role| role.name() == name)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A person.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    /// UUID.
    pub id: Uuid,
    /// Address, in lower case.
    pub email: String,
    /// What to call them.
    pub name: String,
    /// When the account was made.
    pub created_at: Timestamp,
}

/// A user with what signing in needs.
#[derive(Clone)]
pub struct Account {
    /// Who it is.
    pub user: User,
    /// argon2id in its text form; none: signs in elsewhere.
    pub password_hash: Option<String>,
    /// May not sign in any more.
    pub is_disabled: bool,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A signed-in browser.
#[derive(Debug, Clone, Serialize)]
pub struct Session {
    /// UUID.
    pub id: Uuid,
    /// Whose it is.
    pub user_id: Uuid,
    /// When they signed in.
    pub created_at: Timestamp,
    /// Its last request, to a minute.
    pub last_seen_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Where they signed in from.
    pub address: String,
    /// What with.
    pub user_agent: String,
}

/// Proof that a user belongs to a business: only the store makes it, from a row of `team_members`.
#[derive(Debug, Clone)]
pub struct Membership {
    business: Uuid,
    name: String,
    user: Uuid,
    role: Role,
}

impl Membership {
    /// The business.
    pub fn business(&self) -> Uuid {
        self.business
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user.
    pub fn user(&self) -> Uuid {
        self.user
    }

    /// What they may do there.
    pub fn role(&self) -> Role {
        self.role
    }
}

/// A member as a team's list shows one.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Who it is.
    #[serde(flatten)]
    pub user: User,
    /// What they may do.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
}

/// How a change of a team ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeamChange {
    /// It was made.
    Done,
    /// There is no such member.
    NotFound,
    /// A business keeps at least one owner.
    LastOwner,
}

/// A new user's row.
#[derive(Debug, Clone, Copy)]
pub struct NewUser<'a> {
    /// Address; kept in lower case.
    pub email: &'a str,
    /// What to call them.
    pub name: &'a str,
    /// argon2id in its text form.
    pub password_hash: Option<&'a str>,
}

const ANYBODY: &str = "SELECT id FROM users WHERE disabled_at IS NULL LIMIT 1";

impl Store {
    /// Whether there is anybody who may sign in. An account that was deleted leaves a row behind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_users(&self) -> Result<bool, StoreError> {
        let mut tx = self.read("counting the users").await?;
        Ok(tx.query(ANYBODY).optional().await?.is_some())
    }

    /// Makes the first user, as owner of the business that the database began with, which takes the name. `None` if
    /// somebody was there already.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_up(
        &self,
        user: &NewUser<'_>,
        business: &str,
        from: &str,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        let mut tx = self.write("setting up the first user").await?;
        // Whoever comes second waits here, and then finds a user.
        tx.query(
            "INSERT INTO businesses (id, name, created_at) VALUES ($2, $1, $3)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        )
        .bind(business)
        .bind(self.own().business())
        .bind(now)
        .execute()
        .await?;
        if tx.query(ANYBODY).optional().await?.is_some() {
            return Ok(None);
        }
        let user = insert_user(&mut tx, user, now).await?;
        insert_member(&mut tx, self.own().business(), user.id, Role::Owner, now).await?;
        noted(&mut tx, None, user.id, Action::ServiceSetUp, from, now).await?;
        tx.commit().await?;
        Ok(Some(user))
    }

    /// Makes a business with its owner. `from`: the address of whoever asks, for the audit log, here and below.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_business(
        &self,
        name: &str,
        owner: Uuid,
        from: &str,
        now: Timestamp,
    ) -> Result<Uuid, StoreError> {
        let mut tx = self.write("making a business").await?;
        let id = Uuid::now_v7();
        tx.query("INSERT INTO businesses (id, name, created_at) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(name)
            .bind(now)
            .execute()
            .await?;
        insert_member(&mut tx, id, owner, Role::Owner, now).await?;
        noted(&mut tx, Some(id), owner, Action::BusinessCreated, from, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The account of an address.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account(&self, email: &str) -> Result<Option<Account>, StoreError> {
        let mut tx = self.read("looking for a user").await?;
        let row = tx.query("SELECT * FROM users WHERE email = $1").bind(email.to_lowercase()).optional().await?;
        row.as_ref().map(account).transpose()
    }

    /// The account of a user.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn account_of(&self, user: Uuid) -> Result<Option<Account>, StoreError> {
        let mut tx = self.read("looking for a user").await?;
        tx.query("SELECT * FROM users WHERE id = $1").bind(user).optional().await?.as_ref().map(account).transpose()
    }

    /// Gives a user another password, and ends all sessions of theirs but one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_password(
        &self,
        user: Uuid,
        hash: &str,
        keep: Option<Uuid>,
        from: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut tx = self.write("changing a password").await?;
        tx.query("UPDATE users SET password_hash = $1 WHERE id = $2").bind(hash).bind(user).execute().await?;
        tx.query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2")
            .bind(user)
            .bind(keep.unwrap_or_default())
            .execute()
            .await?;
        noted(&mut tx, None, user, Action::PasswordChanged, from, now).await?;
        tx.commit().await
    }

    /// Begins a session; those that have ended are taken out. `method`: how somebody has proven who they are, for the audit
    /// log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_session(&self, token: Digest, session: &Session, method: &str) -> Result<(), StoreError> {
        let mut tx = self.write("beginning a session").await?;
        tx.query("DELETE FROM sessions WHERE expires_at < $1").bind(session.created_at).execute().await?;
        tx.query(
            "INSERT INTO sessions (id, token_hash, user_id, created_at, last_seen_at, expires_at, address, user_agent)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(session.id)
        .bind(token)
        .bind(session.user_id)
        .bind(session.created_at)
        .bind(session.last_seen_at)
        .bind(session.expires_at)
        .bind(&session.address)
        .bind(&session.user_agent)
        .execute()
        .await?;
        let (user, from) = (session.user_id, session.address.as_str());
        let started = Entry::new(Actor::User(user), Action::SessionStarted);
        let started = Entry { detail: json!({"method": method}), address: Some(from), ..started };
        audit::append(&mut tx, None, &started, session.created_at).await?;
        tx.commit().await
    }

    /// The session of a token, with its user, if it has not ended and the user may still sign in.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn session(&self, token: Digest, now: Timestamp) -> Result<Option<(Session, User)>, StoreError> {
        let mut tx = self.read("looking for a session").await?;
        let row = tx
            .query(
                "SELECT s.*, u.email, u.name, u.created_at AS user_since FROM sessions AS s
                 JOIN users AS u ON u.id = s.user_id
                 WHERE s.token_hash = $1 AND s.expires_at > $2 AND u.disabled_at IS NULL",
            )
            .bind(token)
            .bind(now)
            .optional()
            .await?;
        let Some(row) = row else { return Ok(None) };
        let session = session(&row)?;
        let user = User {
            id: session.user_id,
            email: row.get("email")?,
            name: row.get("name")?,
            created_at: row.get("user_since")?,
        };
        Ok(Some((session, user)))
    }

    /// Notes that a session is in use, and moves its end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch_session(&self, id: Uuid, now: Timestamp, expires_at: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("noting a session's use").await?;
        tx.query("UPDATE sessions SET last_seen_at = $1, expires_at = $2 WHERE id = $3")
            .bind(now)
            .bind(expires_at)
            .bind(id)
            .execute()
            .await?;
        tx.commit().await
    }

    /// The sessions of a user, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn sessions_of(&self, user: Uuid, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let mut tx = self.read("listing the sessions").await?;
        let rows = tx
            .query("SELECT * FROM sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY created_at DESC, id DESC")
            .bind(user)
            .bind(now)
            .all()
            .await?;
        rows.iter().map(session).collect()
    }

    /// Ends a session of a user. False if there is none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn end_session(&self, user: Uuid, id: Uuid, from: &str, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write("ending a session").await?;
        let ended =
            tx.query("DELETE FROM sessions WHERE user_id = $1 AND id = $2").bind(user).bind(id).execute().await?;
        if ended > 0 {
            noted(&mut tx, None, user, Action::SessionEnded, from, now).await?;
        }
        tx.commit().await?;
        Ok(ended > 0)
    }

    /// The businesses of a user, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn memberships(&self, user: Uuid) -> Result<Vec<Membership>, StoreError> {
        let mut tx = self.read_as(user, "listing a user's businesses").await?;
        let rows = tx
            .query(
                "SELECT m.business_id, m.role, b.name FROM team_members AS m JOIN businesses AS b ON b.id = m.business_id
                 WHERE m.user_id = $1 ORDER BY b.name, b.id",
            )
            .bind(user)
            .all()
            .await?;
        rows.iter().map(|row| membership(row, user)).collect()
    }

    /// The proof that a user is a member of a business; none if they are not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn membership(&self, user: Uuid, business: Uuid) -> Result<Option<Membership>, StoreError> {
        let mut tx = self.read_as(user, "looking for a membership").await?;
        let row = tx
            .query(
                "SELECT m.business_id, m.role, b.name FROM team_members AS m JOIN businesses AS b ON b.id = m.business_id
                 WHERE m.user_id = $1 AND m.business_id = $2",
            )
            .bind(user)
            .bind(business)
            .optional()
            .await?;
        row.map(|row| membership(&row, user)).transpose()
    }

    /// A business, for a member of it.
    pub fn as_member(&self, membership: &Membership) -> Tenant {
        self.tenant(membership.business, Some(membership.user))
    }

    /// One business, for the service's own work in it.
    pub fn for_work(&self, business: Uuid) -> Tenant {
        self.tenant(business, None)
    }

    /// Every business, for the service's own work in each.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn every_tenant(&self) -> Result<Vec<Tenant>, StoreError> {
        let mut tx = self.read("listing the businesses").await?;
        let rows = tx.query("SELECT id FROM businesses ORDER BY id").all().await?;
        rows.iter().map(|row| Ok(self.tenant(row.get("id")?, None))).collect()
    }
}

impl Tenant {
    /// The members, by address.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let mut tx = self.read("listing the team").await?;
        let rows = tx
            .query(
                "SELECT u.*, m.role, m.created_at AS joined_at FROM team_members AS m JOIN users AS u ON u.id = m.user_id
                 WHERE m.business_id = $1 ORDER BY u.email",
            )
            .bind(self.business())
            .all()
            .await?;
        let member = |row: &Row| Ok(Member { user: user(row)?, role: role(row)?, joined_at: row.get("joined_at")? });
        rows.iter().map(member).collect()
    }

    /// Gives the business another name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rename_business(&self, name: &str, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("renaming a business").await?;
        tx.query("UPDATE businesses SET name = $1 WHERE id = $2").bind(name).bind(self.business()).execute().await?;
        let detail = json!({"changed": ["name"]});
        self.note(&mut tx, Action::BusinessUpdated, None, detail, now).await?;
        tx.commit().await
    }

    /// Gives a member another role, or (`None`) takes the member out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn change_member(
        &self,
        member: Uuid,
        to: Option<Role>,
        now: Timestamp,
    ) -> Result<TeamChange, StoreError> {
        let mut tx = self.write("changing the team").await?;
        // All owners are locked: two who leave at once must not both be the second last.
        let owners = tx
            .query("SELECT user_id FROM team_members WHERE business_id = $1 AND role = 'owner' FOR UPDATE")
            .bind(self.business())
            .all()
            .await?;
        let owners: Vec<Uuid> = owners.iter().map(|row| row.get("user_id")).collect::<Result<_, _>>()?;
        if to != Some(Role::Owner) && owners == [member] {
            return Ok(TeamChange::LastOwner);
        }
        let changed = match to {
            Some(role) => {
                tx.query("UPDATE team_members SET role = $1 WHERE business_id = $2 AND user_id = $3").bind(role.name())
            }
            None => tx.query("DELETE FROM team_members WHERE business_id = $1 AND user_id = $2"),
        };
        if changed.bind(self.business()).bind(member).execute().await? == 0 {
            return Ok(TeamChange::NotFound);
        }
        let action = if to.is_some() { Action::MemberRoleChanged } else { Action::MemberRemoved };
        let detail = json!({"role": to.map(Role::name)});
        self.note(&mut tx, action, Some(("user", member)), detail, now).await?;
        tx.commit().await?;
        Ok(TeamChange::Done)
    }
}

/// Tells of what a person did, in the chain of a business or in the service's own.
async fn noted(
    tx: &mut Tx,
    business: Option<Uuid>,
    user: Uuid,
    action: Action,
    from: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let entry = Entry { address: Some(from), ..Entry::new(Actor::User(user), action) };
    audit::append(tx, business, &entry, now).await.map(drop)
}

pub(crate) async fn insert_user(tx: &mut Tx, new: &NewUser<'_>, now: Timestamp) -> Result<User, StoreError> {
    let user = User { id: Uuid::now_v7(), email: new.email.to_lowercase(), name: new.name.to_owned(), created_at: now };
    tx.query("INSERT INTO users (id, email, name, password_hash, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(user.id)
        .bind(&user.email)
        .bind(&user.name)
        .bind(new.password_hash)
        .bind(now)
        .execute()
        .await
        .map_err(|e| e.or_taken(|| format!("there is a user with the address {} already", user.email)))?;
    Ok(user)
}

pub(crate) async fn insert_member(
    tx: &mut Tx,
    business: Uuid,
    user: Uuid,
    role: Role,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.query(
        "INSERT INTO team_members (business_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (business_id, user_id) DO NOTHING",
    )
    .bind(business)
    .bind(user)
    .bind(role.name())
    .bind(now)
    .execute()
    .await
    .map(drop)
}

pub(crate) fn role(row: &Row) -> Result<Role, StoreError> {
    // The database's own check lets no other name in; the least of them is the safe reading of one that it did.
    Ok(Role::from_name(&row.get::<String>("role")?).unwrap_or(Role::Viewer))
}

fn membership(row: &Row, user: Uuid) -> Result<Membership, StoreError> {
    Ok(Membership { business: row.get("business_id")?, name: row.get("name")?, user, role: role(row)? })
}

pub(crate) fn user(row: &Row) -> Result<User, StoreError> {
    Ok(User {
        id: row.get("id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        created_at: row.get("created_at")?,
    })
}

pub(crate) fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        user: user(row)?,
        password_hash: row.find("password_hash")?,
        is_disabled: row.find::<Timestamp>("disabled_at")?.is_some(),
    })
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        created_at: row.get("created_at")?,
        last_seen_at: row.get("last_seen_at")?,
        expires_at: row.get("expires_at")?,
        address: row.get("address")?,
        user_agent: row.get("user_agent")?,
    })
}
