//! What the orgs of a business have cost and brought, day by day: counted by the database from what it keeps anyway.
//!
//! There is no table of figures: runs, imports and the integrations' log are kept for a quarter of a year, unless a business
//! says otherwise ([`crate::retention`]), and each is found by an index that begins with whose it is and goes on with when.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::error::StoreError;
use crate::integration_logs::Event;
use crate::open::Tenant;
use crate::sql::{Row, Tx, Value};

/// Days that may be asked for.
pub const MOST_DAYS: u32 = 366;
const SECONDS: i64 = 86_400;

/// One day, by UTC. A run counts on the day on which it began, and so does an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DayUsage {
    /// Its beginning.
    pub day: Timestamp,
    /// Rows that were new here.
    pub new: i64,
    /// Rows that changed here, and are there.
    pub changed: i64,
    /// Rows that became tombstones.
    pub deleted: i64,
    /// Requests that runs have made to the orgs.
    pub api_calls: i64,
    /// Bytes of the orgs' answers.
    pub bytes: i64,
    /// Runs that ended well.
    pub succeeded: i64,
    /// Runs that failed.
    pub failed: i64,
    /// Contacts that became leads.
    pub leads: i64,
    /// Contacts of imports that could not become leads.
    pub failed_imports: i64,
    /// Times that an org let somebody in, or renewed a token.
    pub sign_ins: i64,
    /// Times that it did not.
    pub failed_sign_ins: i64,
}

impl DayUsage {
    fn empty(day: Timestamp) -> Self {
        Self {
            day,
            new: 0,
            changed: 0,
            deleted: 0,
            api_calls: 0,
            bytes: 0,
            succeeded: 0,
            failed: 0,
            leads: 0,
            failed_imports: 0,
            sign_ins: 0,
            failed_sign_ins: 0,
        }
    }

    /// Rows that were written.
    pub fn rows(&self) -> i64 {
        self.new + self.changed + self.deleted
    }
}

/// The days that are asked for, by the number of each since 1970.
#[derive(Clone, Copy)]
struct Days {
    first: i64,
    count: u32,
}

impl Days {
    fn until(now: Timestamp, count: u32) -> Self {
        let count = count.clamp(1, MOST_DAYS);
        Self { first: now.as_second().div_euclid(SECONDS) - i64::from(count) + 1, count }
    }

    fn beginning(self, n: u32) -> Timestamp {
        Timestamp::from_second((self.first + i64::from(n)) * SECONDS).unwrap_or(Timestamp::MIN)
    }
}

impl Tenant {
    /// The last days, today among them, oldest first, of one integration or of all; a day without anything is there too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn usage(
        &self,
        integration: Option<Uuid>,
        days: u32,
        now: Timestamp,
    ) -> Result<Vec<DayUsage>, StoreError> {
        let days = Days::until(now, days);
        let mut usage: Vec<DayUsage> = (0..days.count).map(|n| DayUsage::empty(days.beginning(n))).collect();
        // A row of a clock that is ahead belongs to no day yet.
        let place = |row: &Row| Ok::<_, StoreError>(usize::try_from(row.get::<i64>("day")? - days.first).ok());
        let mut tx = self.read("counting what the orgs have cost and brought").await?;
        for row in self.runs_by_day(&mut tx, integration, days).await? {
            let Some(day) = place(&row)?.and_then(|n| usage.get_mut(n)) else { continue };
            day.new = row.get("new")?;
            day.changed = row.get("changed")?;
            day.deleted = row.get("deleted")?;
            day.api_calls = row.get("api_calls")?;
            day.bytes = row.get("bytes")?;
            day.succeeded = row.get("succeeded")?;
            day.failed = row.get("failed")?;
        }
        for row in self.imports_by_day(&mut tx, integration, days).await? {
            let Some(day) = place(&row)?.and_then(|n| usage.get_mut(n)) else { continue };
            day.leads = row.get("created")?;
            day.failed_imports = row.get("failed")?;
        }
        for row in self.sign_ins_by_day(&mut tx, integration, days).await? {
            let Some(day) = place(&row)?.and_then(|n| usage.get_mut(n)) else { continue };
            day.sign_ins = row.get("good")?;
            day.failed_sign_ins = row.get("bad")?;
        }
        Ok(usage)
    }

    async fn runs_by_day(&self, tx: &mut Tx, integration: Option<Uuid>, days: Days) -> Result<Vec<Row>, StoreError> {
        // By their ids, for the index of runs begins with those.
        let ids: Vec<Uuid> = match integration {
            Some(id) => vec![id],
            None => {
                let all = tx.query("SELECT id FROM integrations WHERE business_id = $1").bind(self.business()).all();
                all.await?.iter().map(|row| row.get("id")).collect::<Result<_, _>>()?
            }
        };
        // Runs count a tombstone among the rows that changed, too; or among the new ones, where it came as one.
        let sql = format!(
            "SELECT {} AS day,
             CAST(sum(inserted - CASE WHEN deleted > updated THEN deleted - updated ELSE 0 END) AS bigint) AS new,
             CAST(sum(CASE WHEN updated > deleted THEN updated - deleted ELSE 0 END) AS bigint) AS changed,
             CAST(sum(deleted) AS bigint) AS deleted, CAST(sum(api_calls) AS bigint) AS api_calls, CAST(sum(bytes) AS bigint) AS bytes,
             count(CASE WHEN state = 'success' THEN 1 END) AS succeeded, count(CASE WHEN state = 'failed' THEN 1 END) AS failed
             FROM runs WHERE business_id = $1 AND integration_id = ANY($2) AND started_at >= $3 GROUP BY 1",
            day_of(tx, "started_at")
        );
        tx.query(sql).bind(self.business()).bind(ids).bind(days.beginning(0)).all().await
    }

    async fn imports_by_day(&self, tx: &mut Tx, integration: Option<Uuid>, days: Days) -> Result<Vec<Row>, StoreError> {
        let (only, values) = self.since(integration, days);
        let sql = format!(
            "SELECT {} AS day, CAST(sum(created) AS bigint) AS created, CAST(sum(failed) AS bigint) AS failed
             FROM imports WHERE business_id = $1 AND created_at >= $2{only} GROUP BY 1",
            day_of(tx, "created_at")
        );
        tx.query(sql).bind_all(values).all().await
    }

    async fn sign_ins_by_day(
        &self,
        tx: &mut Tx,
        integration: Option<Uuid>,
        days: Days,
    ) -> Result<Vec<Row>, StoreError> {
        let (only, values) = self.since(integration, days);
        let [ok, renewed, refused, unrenewed] =
            [Event::AuthSuccess, Event::TokenRefreshed, Event::AuthFailure, Event::TokenRefused].map(Event::name);
        let sql = format!(
            "SELECT {} AS day, count(CASE WHEN event IN ('{ok}', '{renewed}') THEN 1 END) AS good,
             count(CASE WHEN event IN ('{refused}', '{unrenewed}') THEN 1 END) AS bad FROM integration_logs
             WHERE business_id = $1 AND at >= $2{only} AND event IN ('{ok}', '{renewed}', '{refused}', '{unrenewed}') GROUP BY 1",
            day_of(tx, "at")
        );
        tx.query(sql).bind_all(values).all().await
    }

    fn since(&self, integration: Option<Uuid>, days: Days) -> (&'static str, Vec<Value>) {
        let mut values: Vec<Value> = vec![self.business().into(), days.beginning(0).into()];
        let only = if integration.is_some() { " AND integration_id = $3" } else { "" };
        values.extend(integration.map(Value::from));
        (only, values)
    }
}

/// The number of a moment's day since 1970, by UTC whatever the database's own zone is.
fn day_of(tx: &Tx, column: &str) -> String {
    if tx.is_postgres() {
        format!("CAST(floor(extract(epoch FROM {column}) / {SECONDS}) AS bigint)")
    } else {
        format!("{column} / {}", SECONDS * 1_000)
    }
}
