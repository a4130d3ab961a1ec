//! Notifications: conditions that hold or held, as people see them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::AlertKind;
use crate::audit::Action;
use crate::error::StoreError;
use crate::open::{Store, Tenant};
use crate::pages::{Cursor, Page};
use crate::sql::{Row, Value};

/// Rows that one statement of a sweep takes out: others wait for it.
const SWEPT: u32 = 1_000;

/// How a notification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationState {
    /// The condition holds.
    Open,
    /// It holds, and somebody has seen it: nobody is told again.
    Acknowledged,
    /// It holds no more.
    Resolved,
}

impl NotificationState {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            NotificationState::Open => "open",
            NotificationState::Acknowledged => "acknowledged",
            NotificationState::Resolved => "resolved",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Open, Self::Acknowledged, Self::Resolved].into_iter().find(|state| state.name() == name)
    }
}

/// A condition that holds or held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    /// UUID.
    pub id: Uuid,
    /// See [`AlertKind`]; a newer program may have written one that this one does not know.
    pub kind: String,
    /// Of which integration.
    pub integration_id: Option<Uuid>,
    /// `warning` or `error`.
    pub severity: String,
    /// A line.
    pub title: String,
    /// What was found last.
    pub detail: String,
    /// What to do.
    pub hint: String,
    /// How it stands.
    pub state: NotificationState,
    /// How often it was found.
    pub count: i64,
    /// When it was found first.
    pub opened_at: Timestamp,
    /// When it was found last.
    pub last_at: Timestamp,
    /// Who has acknowledged it.
    pub acknowledged_by: Option<String>,
    /// When.
    pub acknowledged_at: Option<Timestamp>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    #[serde(skip)]
    pub(super) dedup_key: String,
}

/// Which notifications to list. All conditions must hold; none lists all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotificationFilter {
    /// In this state.
    pub state: Option<NotificationState>,
    /// Of this kind.
    pub kind: Option<AlertKind>,
}

/// What became of an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acknowledgement {
    /// It is acknowledged, now or since before.
    Done(Box<Notification>),
    /// It is over: there is nothing to acknowledge.
    Resolved,
    /// There is none.
    None,
}

impl Tenant {
    /// A page of the notifications, newest first: at most `limit`, from behind the cursor.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn notifications(
        &self,
        filter: &NotificationFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Page<Notification>, StoreError> {
        let mut tx = self.read("listing notifications").await?;
        let mut sql = "SELECT * FROM notifications WHERE business_id = $1".to_owned();
        let mut values: Vec<Value> = vec![self.business().into()];
        for (column, value) in
            [("state", filter.state.map(NotificationState::name)), ("kind", filter.kind.map(AlertKind::name))]
        {
            if let Some(value) = value {
                values.push(value.into());
                sql.push_str(&format!(" AND {column} = ${}", values.len()));
            }
        }
        if let Some(Cursor { at, id }) = after {
            sql.push_str(&format!(" AND (opened_at, id) < (${}, ${})", values.len() + 1, values.len() + 2));
            values.extend([at.into(), id.into()]);
        }
        values.push(i64::from(limit).saturating_add(1).into());
        sql.push_str(&format!(" ORDER BY opened_at DESC, id DESC LIMIT ${}", values.len()));
        let rows = tx.query(sql).bind_all(values).all().await?;
        let found = rows.iter().map(notification).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(found, limit, |one| Cursor { at: one.opened_at, id: one.id }))
    }

    /// One notification.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn notification(&self, id: Uuid) -> Result<Option<Notification>, StoreError> {
        let mut tx = self.read("reading a notification").await?;
        let row = tx
            .query("SELECT * FROM notifications WHERE business_id = $1 AND id = $2")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        row.as_ref().map(notification).transpose()
    }

    /// Notes that somebody has seen a notification: nobody is told of it again, until it is over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn acknowledge(&self, id: Uuid, by: &str, now: Timestamp) -> Result<Acknowledgement, StoreError> {
        let mut tx = self.write("acknowledging a notification").await?;
        self.hold_business(&mut tx).await?;
        let row = tx
            .query("SELECT * FROM notifications WHERE business_id = $1 AND id = $2 FOR UPDATE")
            .bind(self.business())
            .bind(id)
            .optional()
            .await?;
        let Some(before) = row.as_ref().map(notification).transpose()? else { return Ok(Acknowledgement::None) };
        match before.state {
            NotificationState::Resolved => return Ok(Acknowledgement::Resolved),
            NotificationState::Acknowledged => return Ok(Acknowledgement::Done(Box::new(before))),
            NotificationState::Open => {}
        }
        let row = tx
            .query(
                "UPDATE notifications SET state = 'acknowledged', acknowledged_by = $1, acknowledged_at = $2
                 WHERE business_id = $3 AND id = $4 RETURNING *",
            )
            .bind(by)
            .bind(now)
            .bind(self.business())
            .bind(id)
            .one()
            .await?;
        let after = notification(&row)?;
        let detail = json!({"kind": after.kind});
        self.note(&mut tx, Action::AlertAcknowledged, Some(("notification", id)), detail, now).await?;
        tx.commit().await?;
        Ok(Acknowledgement::Done(Box::new(after)))
    }
}

impl Store {
    /// Takes out notifications that were over before that time, and messages that ended before it, of every business; how
    /// much there was.
    ///
    /// # Errors
    /// [`StoreError`]; what has gone by then is gone.
    pub async fn sweep_notifications(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut swept = 0;
        for statement in [
            "DELETE FROM notifications WHERE id IN
             (SELECT id FROM notifications WHERE state = 'resolved' AND resolved_at < $1 ORDER BY resolved_at LIMIT $2)",
            "DELETE FROM alert_deliveries WHERE id IN
             (SELECT id FROM alert_deliveries WHERE event = 'summary' AND ended_at < $1 ORDER BY ended_at LIMIT $2)",
        ] {
            loop {
                let mut tx = self.write("clearing away notifications").await?;
                let n = tx.query(statement).bind(before).bind(SWEPT).execute().await?;
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

pub(super) fn notification(row: &Row) -> Result<Notification, StoreError> {
    Ok(Notification {
        id: row.get("id")?,
        kind: row.get("kind")?,
        integration_id: row.find("integration_id")?,
        severity: row.get("severity")?,
        title: row.get("title")?,
        detail: row.get("detail")?,
        hint: row.get("hint")?,
        state: NotificationState::from_name(&row.get::<String>("state")?).unwrap_or(NotificationState::Open),
        count: row.get("count")?,
        opened_at: row.get("opened_at")?,
        last_at: row.get("last_at")?,
        acknowledged_by: row.find("acknowledged_by")?,
        acknowledged_at: row.find("acknowledged_at")?,
        resolved_at: row.find("resolved_at")?,
        dedup_key: row.get("dedup_key")?,
    })
}
