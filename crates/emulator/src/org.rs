//! The org: its data, people, apps, tokens and counters, behind one lock.

mod fields;
mod open;
mod rows;
pub(crate) mod sight;
mod snapshot;
mod system;
mod transaction;
mod usage;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Map, Value};

use crate::api_error::ApiError;
use crate::bulk;
use crate::clock::{Clock, datetime};
use crate::cursors::Cursors;
use crate::datacloud;
use crate::id::record_id;
use crate::metadata::Metadata;
use crate::oauth::app::App;
use crate::oauth::browser::Browsers;
use crate::oauth::code::Code;
use crate::oauth::device::Device;
use crate::oauth::grants::{Grants, Session};
use crate::oauth::id_token::SigningKey;
use crate::records::{self, Author, Write};
use crate::schema::{SObject, Schema};
use crate::stand_ins::StandIns;

pub(crate) use self::fields::{FieldChange, check_name};
pub(crate) use self::open::{Open, Step, TouchStep};
pub(crate) use self::rows::{Purged, Upserted, several, unknown_external_id};
pub(crate) use self::system::{ARCHIVED, Keeping, LogPurge};
use self::transaction::Transaction;
pub(crate) use self::usage::Usage;

/// API calls a day. Generous: an org that runs dry in the middle of a test is asked for, not met by chance.
pub(crate) const DAILY_LIMIT: u64 = 1_000_000;

/// Rows in one page of a query (the REST API's default and maximum).
pub(crate) const PAGE: usize = 2_000;

pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) active: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) token_requests: BTreeMap<String, u64>,
    pub(crate) logins: u64,
    pub(crate) spent_refresh_tokens_replayed: u64,
    pub(crate) api_calls: u64,
    pub(crate) records_written: u64,
    pub(crate) deploys: u64,
    pub(crate) faults_injected: u64,
    /// Calls of the REST API by method and resource.
    pub(crate) resources: BTreeMap<String, u64>,
    /// Mails that actions sent.
    pub(crate) emails: Vec<Value>,
    pub(crate) datacloud: datacloud::Counts,
}

pub(crate) struct Org {
    pub(crate) db: Connection,
    pub(crate) schema: Schema,
    pub(crate) clock: Clock,
    pub(crate) id: String,
    pub(crate) admin_id: String,
    pub(crate) base_url: String,
    pub(crate) apps: Vec<App>,
    /// (client id, user id) pairs that have approved the app, or been approved for it.
    pub(crate) approvals: Vec<(String, String)>,
    /// Passwords by user id; a user without one cannot sign in.
    pub(crate) passwords: HashMap<String, String>,
    pub(crate) grants: Grants,
    pub(crate) codes: HashMap<String, Code>,
    pub(crate) devices: Vec<Device>,
    pub(crate) browsers: Browsers,
    /// The key of the first app, to be given back.
    pub(crate) app_key: Option<crate::data::people::LentKey>,
    /// Signs ID tokens. Made at first use: it takes a tenth of a second.
    pub(crate) signing_key: Option<SigningKey>,
    pub(crate) cursors: Cursors,
    pub(crate) metadata: Metadata,
    pub(crate) bulk: bulk::State,
    /// None: the org has no Data Cloud.
    pub(crate) datacloud: Option<datacloud::State>,
    pub(crate) ledger: Ledger,
    pub(crate) daily_limit: u64,
    /// How long a write stays invisible after it was stamped.
    pub(crate) commit_delay: SignedDuration,
    /// When an object or a field was last added.
    pub(crate) schema_changed: Timestamp,
    /// How often the schema has changed: the clock may stand still meanwhile.
    schema_edits: u64,
    /// Rows that are gone for good.
    pub(crate) purged: Vec<Purged>,
    /// How long the log of deletes reaches back, where it was cut short.
    pub(crate) delete_log: BTreeMap<String, LogPurge>,
    pub(crate) keeping: Keeping,
    /// What answers Apex REST and custom actions.
    pub(crate) stand_ins: StandIns,
    /// The calls that count against the daily limit.
    pub(crate) usage: Usage,
    /// The base URL that assertions may name besides the present one.
    pub(crate) first_url: String,
    /// What pages of results do instead of coming in order.
    pub(crate) page_tricks: crate::cursors::Tricks,
    /// The org's time in seconds, as formulas read it.
    time: Arc<AtomicI64>,
    unseen: sight::Unseen,
    /// Transactions that were begun by name.
    pub(crate) open: BTreeMap<String, Open>,
    /// Collects the writes of an open transaction.
    captured: Option<Vec<Write>>,
    transactions: Vec<Transaction>,
    pending: VecDeque<(Timestamp, Write)>,
    logins: HashMap<String, VecDeque<Timestamp>>,
    next_number: HashMap<String, u64>,
}

impl Org {
    pub(crate) fn new(base_url: String) -> Result<Self, ApiError> {
        let schema = Schema::standard();
        let db = records::open()?;
        let time = Arc::new(AtomicI64::new(0));
        crate::formula::register(&db, &time)?;
        // One transaction, for making tables one by one takes longer.
        db.execute_batch("BEGIN")?;
        for object in schema.objects() {
            records::create_table(&db, object)?;
        }
        db.execute_batch("COMMIT")?;
        let clock = Clock::default();
        let mut org = Org {
            db,
            schema,
            clock,
            id: record_id("00D", 1),
            admin_id: record_id("005", 1),
            first_url: base_url.clone(),
            base_url,
            apps: Vec::new(),
            approvals: Vec::new(),
            passwords: HashMap::new(),
            grants: Grants::default(),
            codes: HashMap::new(),
            devices: Vec::new(),
            browsers: Browsers::default(),
            app_key: None,
            signing_key: None,
            cursors: Cursors::default(),
            metadata: Metadata::default(),
            bulk: bulk::State::default(),
            datacloud: None,
            ledger: Ledger::default(),
            daily_limit: DAILY_LIMIT,
            commit_delay: SignedDuration::ZERO,
            schema_changed: clock.now(),
            schema_edits: 0,
            purged: Vec::new(),
            delete_log: BTreeMap::new(),
            keeping: Keeping::default(),
            usage: Usage::default(),
            page_tricks: crate::cursors::Tricks::default(),
            time,
            unseen: sight::Unseen::default(),
            open: BTreeMap::new(),
            captured: None,
            stand_ins: StandIns::default(),
            transactions: Vec::new(),
            pending: VecDeque::new(),
            logins: HashMap::new(),
            next_number: HashMap::new(),
        };
        org.next_number.extend([("00D".to_owned(), 1), ("005".to_owned(), 0)]);
        org.reset_setup();
        Ok(org)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Counts calls that have been let in.
    pub(crate) fn count_calls(&mut self, calls: u64) {
        self.ledger.api_calls += calls;
        self.usage.count(self.now(), calls);
    }

    /// Counts a call; false if the day's calls are used up. A refused one does not count against them, or the org would
    /// never be free again.
    pub(crate) fn count_call(&mut self) -> bool {
        if self.usage.used(self.now()) >= self.daily_limit {
            self.ledger.api_calls += 1;
            return false;
        }
        self.count_calls(1);
        true
    }

    pub(crate) fn new_id(&mut self, prefix: &str) -> String {
        let next = self.next_number.entry(prefix.to_owned()).or_insert(0);
        *next += 1;
        record_id(prefix, *next)
    }

    pub(crate) fn object(&self, name: &str) -> Result<&SObject, ApiError> {
        self.schema.object(name).ok_or_else(ApiError::not_found)
    }

    /// Creates a record and answers its id.
    pub(crate) fn create(
        &mut self,
        object: &str,
        body: &Map<String, Value>,
        user_id: &str,
        seeding: bool,
    ) -> Result<String, ApiError> {
        self.require_seen(object, None, Some(body))?;
        self.as_system(|org| org.insert(object, body, user_id, seeding))
    }

    fn insert(
        &mut self,
        object: &str,
        body: &Map<String, Value>,
        user_id: &str,
        seeding: bool,
    ) -> Result<String, ApiError> {
        let prefix = self.object(object)?.key_prefix.clone();
        let now = datetime(self.now());
        let author = Author { user_id, now: &now, seeding };
        // Checked under a stand-in first, so that a refused record uses no number.
        let id = record_id(&prefix, self.next_number.get(&prefix).copied().unwrap_or(0) + 1);
        let described = self.object(object)?;
        let body = rows::with_ids(&self.db, &self.schema, described, body)?;
        let write = records::insert(&self.db, &self.schema, described, &body, id, &author)?;
        self.require_unique(&write)?;
        let id = self.new_id(&prefix);
        debug_assert_eq!(write.id(), id);
        self.write(write)?;
        Ok(id)
    }

    pub(crate) fn update(
        &mut self,
        object: &str,
        id: &str,
        body: &Map<String, Value>,
        user_id: &str,
    ) -> Result<(), ApiError> {
        self.require_seen(object, Some(id), Some(body))?;
        self.as_system(|org| {
            let now = datetime(org.now());
            let author = Author { user_id, now: &now, seeding: false };
            let described = org.object(object)?;
            let body = rows::with_ids(&org.db, &org.schema, described, body)?;
            let write = records::update(&org.db, &org.schema, described, id, &body, &author)?;
            org.require_unique(&write)?;
            org.write(write)
        })
    }

    pub(crate) fn set_deleted(&mut self, object: &str, id: &str, deleted: bool, user_id: &str) -> Result<(), ApiError> {
        self.require_seen(object, Some(id), None)?;
        self.as_system(|org| {
            let now = datetime(org.now());
            let author = Author { user_id, now: &now, seeding: false };
            let described = org.object(object)?;
            let mut write = records::set_deleted(&org.db, described, id, deleted, &author)?;
            if deleted && Org::has_no_bin(described) {
                write = Write::Remove { object: described.name.clone(), id: id.to_owned(), at: now };
            }
            org.write(write)
        })
    }

    /// Deletes past the recycle bin.
    pub(crate) fn hard_delete(&mut self, object: &str, id: &str) -> Result<(), ApiError> {
        let object = self.object(object)?;
        if records::row_of(&self.db, object, id)?.is_none() {
            return Err(ApiError::not_found());
        }
        let write = Write::Remove { object: object.name.clone(), id: id.to_owned(), at: datetime(self.now()) };
        self.write(write)
    }

    fn write(&mut self, write: Write) -> Result<(), ApiError> {
        // A transaction that has not committed yet holds the row.
        if self.unseen_writes().any(|pending| pending.id() == write.id()) {
            return Err(
                ApiError::bad("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record").on_fields(&[])
            );
        }
        self.ledger.records_written += 1;
        if let Some(captured) = &mut self.captured {
            captured.push(write.clone());
            return self.apply(&write);
        }
        if self.commit_delay.is_zero() {
            return self.apply(&write);
        }
        if let Some(transaction) = self.transactions.last_mut() {
            transaction.writes.push(write.clone());
            return self.apply(&write);
        }
        self.pending.push_back((self.now() + self.commit_delay, write));
        Ok(())
    }

    /// Makes visible what is due. Called before every request is answered.
    pub(crate) fn settle(&mut self) -> Result<(), ApiError> {
        self.time.store(self.now().as_second(), Ordering::Relaxed);
        // What others wrote must not be given up with an open transaction.
        if !self.transactions.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let (due, later): (VecDeque<_>, _) =
            std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= now);
        self.pending = later;
        for (_, write) in due {
            self.apply(&write)?;
        }
        self.settle_deploys();
        self.sweep()
    }

    pub(crate) fn user(&self, username: &str) -> Result<Option<User>, ApiError> {
        self.one_user("\"Username\" = ? COLLATE SOQL", username)
    }

    pub(crate) fn user_by_id(&self, id: &str) -> Result<Option<User>, ApiError> {
        self.one_user("\"Id\" = ?", id)
    }

    fn one_user(&self, condition: &str, value: &str) -> Result<Option<User>, ApiError> {
        let sql = format!("SELECT \"Id\", \"Username\", \"IsActive\" FROM main.\"User\" WHERE {condition}");
        let row = |row: &rusqlite::Row<'_>| Ok(User { id: row.get(0)?, username: row.get(1)?, active: row.get(2)? });
        Ok(self.db.query_row(&sql, [value], row).optional()?)
    }

    /// Activates or deactivates a user, at once and past the API: a deactivated one has no session left.
    pub(crate) fn set_active(&mut self, user_id: &str, active: bool) -> Result<(), ApiError> {
        let sql = "UPDATE main.\"User\" SET \"IsActive\" = ?1, \"LastModifiedDate\" = ?2, \"SystemModstamp\" = ?2 WHERE \"Id\" = ?3";
        self.db.execute(sql, rusqlite::params![active, datetime(self.now()), user_id])?;
        if !active {
            self.grants.end_sessions_of(user_id);
        }
        Ok(())
    }

    /// Counts a login against the 3,600 an hour that a user has, and writes it into the login history; false when they
    /// are used up.
    pub(crate) fn count_login(&mut self, user_id: &str, application: &str) -> bool {
        let now = self.now();
        let logins = self.logins.entry(user_id.to_owned()).or_default();
        while logins.front().is_some_and(|at| now.duration_since(*at) > SignedDuration::from_hours(1)) {
            logins.pop_front();
        }
        if logins.len() >= 3_600 {
            return false;
        }
        logins.push_back(now);
        self.ledger.logins += 1;
        if let Err(error) = self.write_history(user_id, application) {
            tracing::error!(?error, "the login history could not be written");
        }
        true
    }

    fn write_history(&mut self, user_id: &str, application: &str) -> Result<(), ApiError> {
        let id = self.new_id("0Ya");
        let sql = "INSERT INTO main.\"LoginHistory\" (\"Id\", \"UserId\", \"LoginTime\", \"LoginType\", \"SourceIp\", \"Status\", \"Application\") \
                   VALUES (?1, ?2, ?3, 'Remote Access 2.0', '127.0.0.1', 'Success', ?4)";
        self.db.prepare_cached(sql)?.execute(rusqlite::params![
            id,
            user_id,
            datetime(self.clock.now()),
            application
        ])?;
        Ok(())
    }

    /// A new session; the token looks like a real one: org id, `!`, opaque.
    pub(crate) fn open_session(&mut self, session: Session) -> String {
        let token = format!("{}!{}", &self.id[..15], crate::oauth::random_token(48));
        self.grants.open_session(token.clone(), session);
        token
    }

    /// Looks up a token, and moves its timeout.
    pub(crate) fn session(&mut self, token: &str) -> Option<&Session> {
        let now = self.now();
        self.grants.session(token, now)
    }
}
