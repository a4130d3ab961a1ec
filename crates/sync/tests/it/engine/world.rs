//! An org, a database, a mapping between them, and what is true of the org in the end.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tieline_auth::ManualClock;
use tieline_client::Connection;
use tieline_emulator::{Emulator, Options};
use tieline_store::mappings::{Mapping, MappingState};
use tieline_store::object_tables::{ColumnKind, Deletion};
use tieline_store::{Contact, ContactRow, Tenant, Uuid};
use tieline_sync::engine::{Asked, Engine, EngineCare, MappingReport, create_mapping};
use tieline_sync::mapping::{Definition, Describes, Plan};
use tieline_sync::{SyncError, Window};

use crate::database::Db;
use crate::world::{connect, start};

pub(crate) struct World {
    org: Emulator,
    http: reqwest::Client,
    pub(crate) db: Db,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) integration: Uuid,
    pub(crate) mapping: Uuid,
}

/// Small steps, so that little data goes through all of it.
pub(crate) fn care() -> EngineCare {
    EngineCare {
        window: Window { lookback: Duration::from_secs(600), lag: Duration::from_secs(60) },
        step_rows: 50,
        gone_at_least: 5,
        job_wait: Duration::from_secs(20),
        ..EngineCare::default()
    }
}

/// All fields of an object, in a table of its name. `contact` is no name of another mapping than the built-in one.
pub(crate) fn all_of(object: &str) -> Definition {
    let name = if object == "Contact" { "people".to_owned() } else { object.to_ascii_lowercase().replace("__c", "s") };
    Definition::all_of(&name, object)
}

impl World {
    /// An org with nothing in it, and a mapping of all fields of an object.
    pub(crate) async fn new(db: Db, object: &str) -> Self {
        Self::with(db, &all_of(object)).await
    }

    pub(crate) async fn with(db: Db, definition: &Definition) -> Self {
        let mut world = Self::bare(db).await;
        world.mapping = world.map(definition).await.id;
        world
    }

    /// The same without a mapping.
    pub(crate) async fn bare(db: Db) -> Self {
        Self::begun(db, None).await
    }

    /// The same with the records of a folder in the org.
    pub(crate) async fn loaded(db: Db, folder: PathBuf) -> Self {
        Self::begun(db, Some(folder)).await
    }

    async fn begun(db: Db, data: Option<PathBuf>) -> Self {
        let org = Emulator::start(Options { contacts: 0, data, ..Options::default() }).await.unwrap();
        let info = org.info();
        let connection = connect(&info.login_url, &info.client_id, &info.client_secret, &info.refresh_token);
        let integration = db.integration().await;
        let clock = Arc::new(ManualClock::at(start()));
        let engine = Engine { connection, store: db.store.own(), care: care(), clock: clock.clone() };
        let http = reqwest::Client::builder().build().unwrap();
        let world = Self { org, http, db, engine, clock, integration, mapping: Uuid::nil() };
        world.at(0).await;
        world
    }

    /// Another process comes up, which knows nothing but what is written down.
    pub(crate) fn restart(&mut self) {
        let info = self.org.info();
        self.engine.connection = connect(&info.login_url, &info.client_id, &info.client_secret, &info.refresh_token);
    }

    /// Makes a mapping.
    pub(crate) async fn map(&self, definition: &Definition) -> Mapping {
        create_mapping(self.connection(), self.tenant(), self.integration, definition, start()).await.unwrap()
    }

    /// How to log in.
    pub(crate) fn info(&self) -> &tieline_emulator::OrgInfo {
        self.org.info()
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.engine.connection
    }

    pub(crate) fn tenant(&self) -> &Tenant {
        &self.engine.store
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        self.attempt(method, path, &body).await.unwrap_or_else(|refusal| panic!("{path} {body}: {refusal}"))
    }

    /// The same for what the org may refuse.
    pub(crate) async fn attempt(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}/{path}", self.org.info().control_url);
        let answer = self.http.request(method, url).json(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        if status.is_success() { Ok(serde_json::from_str(&text).unwrap_or(Value::Null)) } else { Err(text) }
    }

    /// What a route of the control API answers that answers more than one JSON value.
    pub(crate) async fn text(&self, path: &str, body: Value) -> String {
        let url = format!("{}/{path}", self.org.info().control_url);
        self.http.post(url).json(&body).send().await.unwrap().text().await.unwrap()
    }

    /// Clock of the org and of this machine, so many seconds after the start.
    pub(crate) async fn at(&self, seconds: i64) {
        let now = start() + SignedDuration::from_secs(seconds);
        self.control(Method::PUT, "clock", json!({"now": now.to_string(), "frozen": true})).await;
        self.clock.set_wall(now);
    }

    /// Writes as the org itself does, in one transaction; the ids.
    pub(crate) async fn write(&self, writes: Value) -> Vec<String> {
        let written = self.control(Method::POST, "records/write", json!({"writes": writes})).await;
        serde_json::from_value(written["ids"].clone()).unwrap()
    }

    /// So many accounts in one transaction.
    pub(crate) async fn accounts(&self, names: impl IntoIterator<Item = String>) -> Vec<String> {
        let insert = |name: String| json!({"op": "insert", "object": "Account", "fields": {"Name": name}});
        self.write(Value::Array(names.into_iter().map(insert).collect())).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        self.control(Method::POST, path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) {
        self.control(Method::PUT, path, body).await;
    }

    /// The row of a record.
    pub(crate) async fn row(&self, id: &str) -> Map<String, Value> {
        self.rows().await.remove(id).unwrap()
    }

    /// How the records went, in the order of their ids; an empty text for those that are there.
    pub(crate) async fn went(&self, ids: &[String]) -> Vec<String> {
        let rows = self.rows().await;
        ids.iter().map(|id| rows[id]["_deleted"].as_str().unwrap_or_default().to_owned()).collect()
    }

    pub(crate) async fn fault(&self, fault: Value) {
        self.control(Method::POST, "faults", fault).await;
    }

    pub(crate) async fn limits(&self, limits: Value) {
        self.control(Method::PUT, "limits", limits).await;
    }

    pub(crate) async fn ledger(&self) -> Value {
        self.control(Method::GET, "ledger", json!({})).await
    }

    pub(crate) async fn sync(&self) -> Result<MappingReport, SyncError> {
        self.ask(Asked::default()).await
    }

    pub(crate) async fn ask(&self, asked: Asked) -> Result<MappingReport, SyncError> {
        self.engine.run(self.mapping, asked, &mut |_| {}).await
    }

    pub(crate) async fn mapping(&self) -> Mapping {
        self.tenant().mapping(self.mapping).await.unwrap().unwrap()
    }

    pub(crate) async fn state(&self) -> MappingState {
        self.mapping().await.state
    }

    /// Seconds from the start to the checkpoint, and to the proof.
    pub(crate) async fn through(&self) -> (Option<i64>, Option<i64>) {
        let standing = self.mapping().await.standing;
        let seconds = |at: Timestamp| at.duration_since(start()).as_secs();
        (standing.checkpoint.through.map(seconds), standing.verified_through.map(seconds))
    }

    /// The table's rows by id, as JSON.
    pub(crate) async fn rows(&self) -> BTreeMap<String, Map<String, Value>> {
        self.rows_of(&self.mapping().await).await
    }

    pub(crate) async fn rows_of(&self, mapping: &Mapping) -> BTreeMap<String, Map<String, Value>> {
        if mapping.is_contacts() {
            return self.contacts().await;
        }
        let names: Vec<&str> = mapping.table.columns().iter().map(|column| column.name.as_str()).collect();
        let names = ["id", "_deleted", "_master_id", "_stamp"].into_iter().chain(names);
        let sql = if self.db.is_sqlite() {
            // A function takes no more than 127 values.
            let cells: Vec<String> = names.map(|name| format!("'{name}', \"{name}\"")).collect();
            let objects: Vec<String> =
                cells.chunks(40).map(|some| format!("json_object({})", some.join(", "))).collect();
            format!("SELECT json_array({}) FROM \"{}\"", objects.join(", "), mapping.table.name())
        } else {
            format!("SELECT json_build_array(row_to_json(t))::text FROM \"{}\" AS t", mapping.table.name())
        };
        let rows = self.db.raw.texts(&sql).await;
        let rows = rows.iter().map(|row| {
            let parts: Vec<Map<String, Value>> = serde_json::from_str(row).unwrap();
            let row: Map<String, Value> = parts.into_iter().flatten().collect();
            (row["id"].as_str().unwrap().to_owned(), row)
        });
        rows.collect()
    }

    /// The same of contacts: what stands in JSON stands beside the columns.
    async fn contacts(&self) -> BTreeMap<String, Map<String, Value>> {
        let all: Vec<Contact> = self.tenant().contacts().try_collect().await.unwrap();
        let row = |Contact { row, .. }: Contact| {
            let ContactRow { first_name, last_name, name, email, phone, company, title, .. } = row;
            let (metadata, custom) = (row.source_metadata, row.custom_fields);
            let deleted = row.deleted.map(Deletion::name);
            let mut fields = json!({
                "id": row.source_id, "_stamp": row.source_stamp, "_deleted": deleted,
                "_master_id": metadata.get("MasterRecordId").filter(|_| deleted == Some("merged")),
                "first_name": first_name, "last_name": last_name, "name": name, "email": email, "phone": phone,
                "company": company, "title": title,
            });
            let of_json = [metadata, custom].into_iter().filter_map(|json| json.as_object().cloned()).flatten();
            let fields = fields.as_object_mut().map(std::mem::take).unwrap_or_default();
            (row.source_id, fields.into_iter().chain(of_json).collect())
        };
        all.into_iter().map(row).collect()
    }

    /// What is true of the object's records: of each column, as the org has it.
    async fn truth(&self, object: &str) -> BTreeMap<String, Map<String, Value>> {
        self.truth_and_purged(object).await.0
    }

    /// The same, and what is gone for good: ids and when they were deleted.
    pub(crate) async fn truth_and_purged(
        &self,
        object: &str,
    ) -> (BTreeMap<String, Map<String, Value>>, BTreeMap<String, Timestamp>) {
        let url = format!("{}/snapshot", self.org.info().control_url);
        let answer = self.http.post(url).json(&json!({"objects": [object], "purged": true})).send().await.unwrap();
        let text = answer.text().await.unwrap();
        let (mut truth, mut purged) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            let record: Map<String, Value> = serde_json::from_str(line).unwrap();
            let id = record["Id"].as_str().unwrap().to_owned();
            match record.get("deletedDate").and_then(Value::as_str) {
                Some(at) => drop(purged.insert(id, tieline_client::parse_datetime(at).unwrap())),
                None => drop(truth.insert(id, record)),
            }
        }
        (truth, purged)
    }

    /// Holds the table against the org, value by value; what differs, a line each.
    pub(crate) async fn differences(&self) -> Vec<String> {
        let mapping = self.mapping().await;
        let definition = Definition::of(&mapping).unwrap();
        let describes = Describes::load_now(self.connection(), &definition).await.unwrap();
        let plan = Plan::of_shown(&definition, &describes).unwrap();
        let (mut rows, truth) = (self.rows_of(&mapping).await, self.truth(&plan.object).await);
        let mut found = Vec::new();
        for (id, record) in &truth {
            let gone = record.get("IsDeleted") == Some(&json!(true));
            let Some(row) = rows.remove(id) else {
                // What came and went between two runs was never here.
                if !gone {
                    found.push(format!("{id} is missing"));
                }
                continue;
            };
            if row["_deleted"].is_null() == gone {
                found.push(format!("{id} is deleted: {gone}, and here {}", row["_deleted"]));
            }
            if gone {
                continue;
            }
            for (n, column) in plan.columns.iter().enumerate() {
                let [source] = plan.sources(n)[..] else { continue };
                let Some(theirs) = record.get(source) else { continue };
                let ours = row.get(&column.name).unwrap_or(&Value::Null);
                if !same(column.kind, theirs, ours) {
                    found.push(format!("{id}.{source} is {theirs}, and here {ours}"));
                }
            }
        }
        let left = rows.into_iter().filter(|(_, row)| row["_deleted"].is_null());
        found.extend(left.map(|(id, _)| format!("{id} is gone, and here")));
        found
    }

    /// The table is as the org.
    pub(crate) async fn assert_in_step(&self) {
        let found = self.differences().await;
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// Whether a value of the org's and one of the table's mean the same.
pub(super) fn same(kind: ColumnKind, theirs: &Value, ours: &Value) -> bool {
    if theirs.is_null() || ours.is_null() {
        return theirs.is_null() && ours.is_null();
    }
    let moment = |value: &Value| tieline_client::parse_datetime(value.as_str().unwrap_or_default());
    match kind {
        ColumnKind::Bool => theirs.as_bool() == ours.as_bool().or(ours.as_i64().map(|n| n == 1)),
        ColumnKind::Integer | ColumnKind::Number => {
            let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
            number(theirs) == number(ours)
        }
        ColumnKind::DateTime => moment(theirs) == moment(ours),
        ColumnKind::Time => {
            let time =
                |value: &Value| value.as_str().unwrap_or_default().trim_end_matches('Z').parse::<jiff::civil::Time>();
            time(theirs).ok() == time(ours).ok()
        }
        ColumnKind::Json => {
            let json = |value: &Value| match value {
                Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| value.clone()),
                other => other.clone(),
            };
            json(theirs) == json(ours)
        }
        ColumnKind::Text | ColumnKind::Date => theirs == ours,
    }
}
