//! What happened to an integration, for whoever looks after it: tokens, syncs, imports, limits.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::cleaned;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::pages::{Cursor, Page};
use crate::sql::{self, Row, Tx};

/// Longest message, and longest text within a detail, in characters: an org's answer may be a page of HTML.
const LONGEST: usize = 2_000;

/// Longest detail, in bytes of JSON.
const LONGEST_DETAIL: usize = 16_384;

/// Rows that one statement of a sweep takes out: others wait for it.
const SWEPT: u32 = 5_000;

/// The events, each with the name that it keeps for ever.
macro_rules! events {
    ($($(#[$doc:meta])* $event:ident = $name:literal,)*) => {
        /// What happened. The names never change; new ones may come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Event {
            $($(#[$doc])* $event,)*
        }

        impl Event {
            /// All of them.
            pub const ALL: &[Event] = &[$(Event::$event,)*];

            /// Its name in the database and in the API.
            pub fn name(self) -> &'static str {
                match self {
                    $(Event::$event => $name,)*
                }
            }
        }
    };
}

events! {
    /// Signed in to the org.
    AuthSuccess = "auth_success",
    /// The org refused the sign-in.
    AuthFailure = "auth_failure",
    /// A new access token came.
    TokenRefreshed = "token_refreshed",
    /// The org refused to renew a token.
    TokenRefused = "token_refused",
    /// Disconnected by somebody here.
    Disconnected = "disconnected",
    /// The tokens were revoked at the org.
    Revoked = "revoked",
    /// A sync ended well.
    SyncSuccess = "sync_success",
    /// A sync failed.
    SyncError = "sync_error",
    /// A sync that had failed ended well.
    SyncRecovered = "sync_recovered",
    /// A mapping was paused, for much of its table is not to be found in the org.
    SyncHeld = "sync_held",
    /// A sync waits for the org's API calls.
    SyncPausedQuota = "sync_paused_quota",
    /// An import ended well.
    ImportSuccess = "import_success",
    /// An import failed.
    ImportError = "import_error",
    /// The org refused requests for there were too many.
    RateLimited = "rate_limited",
    /// The org's share of API calls for the day is nearly used up.
    ApiBudgetLow = "api_budget_low",
    /// A sign-in led to another org than before.
    OrgChanged = "org_changed",
    /// A certificate ends soon.
    CertificateExpiring = "certificate_expiring",
    /// Fields or objects of the org are other than before.
    SchemaChanged = "schema_changed",
    /// A webhook of changed records was switched off, for its receiver takes nothing.
    WebhookDisabled = "webhook_disabled",
    /// Settings were changed here.
    ConfigChanged = "config_changed",
}

impl Event {
    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Event::ALL.iter().copied().find(|event| event.name() == name)
    }
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// It may become an error.
    Warning,
    /// Somebody must do something.
    Error,
}

impl Level {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Level::Info, Level::Warning, Level::Error].into_iter().find(|level| level.name() == name)
    }
}

/// An entry as it was kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IntegrationLog {
    /// UUID.
    pub id: Uuid,
    /// The integration; none if it concerns all of the business's.
    pub integration_id: Option<Uuid>,
    /// See [`Event`]; a newer program may have written one that this one does not know.
    pub event: String,
    /// `info`, `warning` or `error`.
    pub level: String,
    /// For people.
    pub message: String,
    /// For programs.
    pub detail: Value,
    /// When it happened, to a millisecond.
    pub at: Timestamp,
}

/// Which entries to list. All conditions must hold; none lists all.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogFilter {
    /// Of this integration.
    pub integration: Option<Uuid>,
    /// Of this event.
    pub event: Option<Event>,
    /// Of this level.
    pub level: Option<Level>,
}

impl Tenant {
    /// Keeps what happened, without what looks like a credential; its id.
    ///
    /// # Errors
    /// [`StoreError`]; also for an integration that is not this business's.
    pub async fn log(
        &self,
        integration: Option<Uuid>,
        event: Event,
        level: Level,
        message: &str,
        detail: Value,
        now: Timestamp,
    ) -> Result<Uuid, StoreError> {
        let mut tx = self.write("writing an integration's log").await?;
        let id = write_log(&mut tx, self.business(), integration, event, level, message, detail, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// A page of the entries, newest first: at most `limit`, from behind the cursor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn integration_logs(
        &self,
        filter: &LogFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<IntegrationLog>, StoreError> {
        let mut tx = self.read("reading the integrations' log").await?;
        let conditions: [(&str, Option<sql::Value>); 3] = [
            ("integration_id", filter.integration.map(Into::into)),
            ("event", filter.event.map(|event| event.name().into())),
            ("level", filter.level.map(|level| level.name().into())),
        ];
        let mut sql = "SELECT * FROM integration_logs WHERE business_id = $1".to_owned();
        let mut values: Vec<sql::Value> = vec![self.business().into()];
        for (column, value) in conditions {
            if let Some(value) = value {
                values.push(value);
                sql.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        if let Some(Cursor { at, id }) = after {
            sql.push_str(&format!(" AND (at, id) < (${}, ${})", values.len() + 1, values.len() + 2));
            values.extend([at.into(), id.into()]);
        }
        values.push(i64::from(limit).saturating_add(1).into());
        sql.push_str(&format!(" ORDER BY at DESC, id DESC LIMIT ${}", values.len()));
        let rows = tx.query(sql).bind_all(values).all().await?;
        let logs = rows.iter().map(integration_log).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(logs, limit, |log| Cursor { at: log.at, id: log.id }))
    }

    /// What happened to an integration between two moments, both included, the oldest first: `limit` entries at most.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn integration_logs_between(
        &self,
        integration: Uuid,
        (from, until): (Timestamp, Timestamp),
        limit: u32,
    ) -> Result<Vec<IntegrationLog>, StoreError> {
        let mut tx = self.read("reading the integrations' log").await?;
        let rows = tx
            .query(
                "SELECT * FROM integration_logs WHERE business_id = $1 AND integration_id = $2 AND at >= $3 AND at <= $4
                 ORDER BY at, id LIMIT $5",
            )
            .bind(self.business())
            .bind(integration)
            .bind(from)
            .bind(until)
            .bind(limit)
            .all()
            .await?;
        rows.iter().map(integration_log).collect()
    }
}

/// Writes an entry within a transaction, so that what is noted of an integration and its entry are one; its id.
#[expect(clippy::too_many_arguments, reason = "an entry, its transaction and its business")]
pub(crate) async fn write_log(
    tx: &mut Tx,
    business: Uuid,
    integration: Option<Uuid>,
    event: Event,
    level: Level,
    message: &str,
    detail: Value,
    now: Timestamp,
) -> Result<Uuid, StoreError> {
    let id = Uuid::now_v7();
    tx.query(
        "INSERT INTO integration_logs (id, business_id, integration_id, event, level, message, detail, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id)
    .bind(business)
    .bind(integration)
    .bind(event.name())
    .bind(level.name())
    .bind(cleaned::text(message, LONGEST))
    .bind(bounded(cleaned::json(detail, LONGEST)))
    .bind(now)
    .execute()
    .await?;
    Ok(id)
}

impl Store {
    /// Takes out what happened before that time, of every business; how much there was.
    ///
    /// # Errors
    /// [`StoreError`]; what has gone by then is gone.
    pub async fn sweep_integration_logs(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut swept = 0;
        for tenant in self.every_tenant().await? {
            loop {
                let mut tx = tenant.write("clearing away an integration's log").await?;
                let n = tx
                    .query(
                        "DELETE FROM integration_logs WHERE id IN
                         (SELECT id FROM integration_logs WHERE business_id = $1 AND at < $2 ORDER BY at, id LIMIT $3)",
                    )
                    .bind(tenant.business())
                    .bind(before)
                    .bind(SWEPT)
                    .execute()
                    .await?;
                tx.commit().await?;
                swept += n;
                if n < u64::from(SWEPT) {
                    break;
                }
            }
        }
        Ok(swept)
    }
}

/// A detail of bounded size: of a longer one the beginning is kept, as text.
fn bounded(detail: Value) -> Value {
    let mut text = detail.to_string();
    if text.len() <= LONGEST_DETAIL {
        return detail;
    }
    text.truncate(text.floor_char_boundary(LONGEST_DETAIL));
    serde_json::json!({ "cut": text })
}

fn integration_log(row: &Row) -> Result<IntegrationLog, StoreError> {
    Ok(IntegrationLog {
        id: row.get("id")?,
        integration_id: row.find("integration_id")?,
        event: row.get("event")?,
        level: row.get("level")?,
        message: row.get("message")?,
        detail: row.get("detail")?,
        at: row.get("at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_their_own_and_lead_back() {
        let names: std::collections::BTreeSet<_> = Event::ALL.iter().map(|event| event.name()).collect();
        assert_eq!(names.len(), Event::ALL.len());
        assert!(Event::ALL.iter().all(|event| Event::from_name(event.name()) == Some(*event)));
        assert_eq!(Level::from_name("warning"), Some(Level::Warning));
    }

    #[test]
    fn a_long_detail_is_cut_between_characters() {
        let cut = bounded(serde_json::json!({ "body": "é".repeat(LONGEST_DETAIL) }));
        assert!(cut["cut"].as_str().unwrap().starts_with("{\"body\":\"éé"));
        assert!(cut.to_string().len() < LONGEST_DETAIL + 100);
        assert_eq!(bounded(serde_json::json!({"a": 1})), serde_json::json!({"a": 1}));
    }
}
