//! The end of a business, and of an account.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use crate::audit::{Action, Actor, Entry, append};
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::tenancy;

/// Tables that may be long, and are emptied in batches first; then the rest goes at once.
const LONG: [&str; 6] = ["alert_deliveries", "integration_logs", "runs", "leads", "contacts", "import_rows"];

/// Rows that one statement takes out: others wait for it.
const BATCH: u32 = 5_000;

/// How often a deletion is begun again that another transaction stood in the way of.
const TRIES: u32 = 5;

/// How the deletion of an account ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountDeletion {
    /// It is gone.
    Done,
    /// The person is the only owner of these businesses (by name): nothing was done.
    SoleOwner(Vec<String>),
    /// There is no such account, or it was deleted before.
    NotFound,
}

impl Tenant {
    /// Takes the business out with every row that it has, keys included: what they sealed, and is left anywhere without
    /// them, opens no more. Its people keep their accounts. The service's own audit log says that it is gone. False if it
    /// was gone before.
    ///
    /// Its access to orgs is to be ended before, for the tokens are gone after it. Whoever works on an import or a sync
    /// of it finds nothing to write to.
    ///
    /// # Errors
    /// [`StoreError`]; rows may have gone by then, and to begin again goes on.
    pub async fn delete_business(&self, now: Timestamp) -> Result<bool, StoreError> {
        self.clear_long_tables(now).await?;
        self.drop_object_tables().await?;
        self.clear_audit_log().await?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.delete_rest(now).await {
                // Two that waited for each other, perhaps: the other one has nothing to wait for now.
                Err(error) if error.is_passing() && tries < TRIES => continue,
                gone => return gone,
            }
        }
    }

    async fn clear_long_tables(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write("ending a business's imports").await?;
        tx.query(
            "UPDATE imports SET state = 'cancelled', finished_at = $1, leased_until = NULL
             WHERE business_id = $2 AND state IN ('waiting', 'running')",
        )
        .bind(now)
        .bind(self.business())
        .execute()
        .await?;
        tx.commit().await?;
        for table in LONG {
            // Rows of an import have no id of their own.
            let key = if table == "import_rows" { "(import_id, position)" } else { "id" };
            let columns = key.trim_matches(['(', ')']);
            loop {
                let mut tx = self.write("deleting a business").await?;
                let gone = tx
                    .query(format!(
                        "DELETE FROM {table} WHERE business_id = $1 AND {key} IN
                         (SELECT {columns} FROM {table} WHERE business_id = $1 LIMIT $2)"
                    ))
                    .bind(self.business())
                    .bind(BATCH)
                    .execute()
                    .await?;
                tx.commit().await?;
                if gone < u64::from(BATCH) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The log of a business is nobody's to change but the service's.
    async fn clear_audit_log(&self) -> Result<(), StoreError> {
        loop {
            let mut tx = self.store().write("deleting a business").await?;
            let gone = tx
                .query(
                    "DELETE FROM audit_log WHERE business_id = $1 AND id IN
                     (SELECT id FROM audit_log WHERE business_id = $1 LIMIT $2)",
                )
                .bind(self.business())
                .bind(BATCH)
                .execute()
                .await?;
            tx.commit().await?;
            if gone < u64::from(BATCH) {
                return Ok(());
            }
        }
    }

    async fn delete_rest(&self, now: Timestamp) -> Result<bool, StoreError> {
        let business = self.business();
        let mut tx = self.store().write("deleting a business").await?;
        // As whoever erases: those who write people, and hold the business, come to their ends first.
        let there = tx.query("UPDATE businesses SET name = name WHERE id = $1").bind(business).execute().await?;
        if there == 0 {
            return Ok(false);
        }
        let keys = tx.query("SELECT id FROM data_keys WHERE business_id = $1").bind(business).all().await?;
        // The list has what is referred to before what refers to it.
        let tables: Vec<&str> = tenancy::tables_of_tenants().collect();
        for table in tables.into_iter().rev() {
            let of = if table == "businesses" { "id" } else { "business_id" };
            tx.query(format!("DELETE FROM {table} WHERE {of} = $1")).bind(business).execute().await?;
        }
        let (actor, address) = self.changed_by();
        let id = business.to_string();
        let entry = Entry { address, ..Entry::new(actor, Action::BusinessDeleted).on("business", &id) };
        append(&mut tx, None, &entry, now).await?;
        tx.commit().await?;
        for key in keys {
            self.store().keys().opened().forget(key.get::<Uuid>("id")?.into_bytes());
        }
        self.store().database().fold().await;
        Ok(true)
    }
}

impl Store {
    /// Takes a person's account out: address, name and password go, all sessions end, and no business has them as a member
    /// any more. What stays is the id, which entries of audit logs name.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was done then.
    pub async fn delete_account(
        &self,
        user: Uuid,
        address: Option<&str>,
        now: Timestamp,
    ) -> Result<AccountDeletion, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_delete_account(user, address, now).await {
                Err(error) if error.is_passing() && tries < TRIES => continue,
                gone => return gone,
            }
        }
    }

    async fn try_delete_account(
        &self,
        user: Uuid,
        address: Option<&str>,
        now: Timestamp,
    ) -> Result<AccountDeletion, StoreError> {
        let mut tx = self.write("deleting an account").await?;
        let account = tx.query("SELECT email FROM users WHERE id = $1 AND disabled_at IS NULL FOR UPDATE");
        let Some(account) = account.bind(user).optional().await? else { return Ok(AccountDeletion::NotFound) };
        let email: String = account.get("email")?;
        // Locked: nobody makes them an owner meanwhile, and no other owner leaves.
        let memberships = tx
            .query("SELECT business_id, role FROM team_members WHERE user_id = $1 ORDER BY business_id FOR UPDATE")
            .bind(user)
            .all()
            .await?;
        let mut sole = Vec::new();
        for membership in &memberships {
            if membership.get::<String>("role")? != "owner" {
                continue;
            }
            let business: Uuid = membership.get("business_id")?;
            let owners = tx
                .query("SELECT user_id FROM team_members WHERE business_id = $1 AND role = 'owner' FOR UPDATE")
                .bind(business)
                .all()
                .await?;
            if owners.len() == 1 {
                sole.push(tx.query("SELECT name FROM businesses WHERE id = $1").bind(business).value("name").await?);
            }
        }
        if !sole.is_empty() {
            return Ok(AccountDeletion::SoleOwner(sole));
        }
        for statement in [
            "DELETE FROM sessions WHERE user_id = $1",
            "DELETE FROM login_attempts WHERE user_id = $1",
            "DELETE FROM user_identities WHERE user_id = $1",
            "DELETE FROM sign_in_attempts WHERE user_id = $1",
            "DELETE FROM password_resets WHERE user_id = $1",
            "DELETE FROM team_members WHERE user_id = $1",
        ] {
            tx.query(statement).bind(user).execute().await?;
        }
        tx.query("DELETE FROM invitations WHERE email = $1").bind(email).execute().await?;
        // A domain that no address has (RFC 2606): nobody signs in or is invited by it.
        tx.query("UPDATE users SET email = $2, name = 'deleted', password_hash = NULL, disabled_at = $3 WHERE id = $1")
            .bind(user)
            .bind(format!("{user}@deleted.invalid"))
            .bind(now)
            .execute()
            .await?;
        let (actor, id) = (Actor::User(user), user.to_string());
        let entry = |action| Entry { address, detail: json!({}), ..Entry::new(actor, action).on("user", &id) };
        for membership in &memberships {
            append(&mut tx, Some(membership.get("business_id")?), &entry(Action::MemberRemoved), now).await?;
        }
        append(&mut tx, None, &entry(Action::AccountDeleted), now).await?;
        tx.commit().await?;
        self.database().fold().await;
        Ok(AccountDeletion::Done)
    }
}
