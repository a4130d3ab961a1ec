//! A business with an org of its own, in which something changes all the time.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tieline_auth::Settings;
use tieline_emulator::{Emulator, Options};
use tieline_store::mappings::Mapping;
use tieline_store::{Store, Uuid};
use tieline_sync::engine::create_mapping;
use tieline_sync::integration;
use tieline_sync::mapping::Definition;

use crate::servers::Postgres;

/// Name, object, and each field with the name of its column.
type Synced = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const MAPPINGS: [Synced; 2] = [
    ("people", "Contact", &[("LastName", "last_name"), ("Email", "email"), ("AccountId", "account_id")]),
    ("firms", "Account", &[("Name", "name"), ("Website", "website")]),
];

pub(super) struct Business {
    org: Emulator,
    http: reqwest::Client,
    /// In every name, so that a row of another business is one that differs.
    mark: String,
    pub(super) id: Uuid,
    pub(super) mappings: Vec<Mapping>,
    /// Ids of the records that are there, of contacts and accounts.
    alive: [Vec<String>; 2],
    written: u64,
}

impl Business {
    /// With records in its org, none in the database, and its firms at a schedule of their own.
    pub(super) async fn new(store: &Store, number: usize, owner: Uuid, firms_every: u32, now: Timestamp) -> Self {
        let mark = format!("T{number:02}");
        let org = Emulator::start(Options { contacts: 0, ..Options::default() }).await.unwrap();
        let id = store.create_business(&mark, owner, "127.0.0.1", now).await.unwrap();
        let tenant = store.for_work(id);
        let info = org.info();
        let login: BTreeMap<&str, String> = [
            ("SF_LOGIN_URL", info.login_url.clone()),
            ("SF_CLIENT_ID", info.client_id.clone()),
            ("SF_USERNAME", info.username.clone()),
            ("SF_PRIVATE_KEY_FILE", info.private_key_file.display().to_string()),
        ]
        .into();
        let (login, credentials) = integration::capture(|name| login.get(name).cloned()).unwrap();
        let integration = tenant.save_integration("default", &credentials, now).await.unwrap();
        let connection = login.connect(Settings::default()).unwrap();
        let mut business = Self {
            org,
            http: reqwest::Client::builder().build().unwrap(),
            mark,
            id,
            mappings: Vec::new(),
            alive: [Vec::new(), Vec::new()],
            written: 0,
        };
        for (name, object, fields) in MAPPINGS {
            let columns: Vec<&str> = fields.iter().map(|(field, _)| *field).collect();
            let mut definition = json!({"name": name, "object": object, "columns": columns});
            if object == "Account" {
                definition["every"] = format!("{firms_every}s").into();
            }
            let definition = Definition::from_json(definition).unwrap();
            let made = create_mapping(&connection, &tenant, integration, &definition, now).await.unwrap();
            business.mappings.push(made);
        }
        let mut random = fastrand::Rng::with_seed(number as u64);
        for _ in 0..20 {
            business.change(&mut random).await;
        }
        // An answer takes its time, so that a node that is killed is killed in the middle of something.
        business.control("faults", json!({"path": "/services/data", "delay_ms": 120, "times": 0})).await;
        business
    }

    async fn control(&self, path: &str, body: Value) -> String {
        let url = format!("{}/{path}", self.org.info().control_url);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path} {body}: {text}");
        text
    }

    /// A transaction in the org: some records come, some change, now and then some go or come back.
    pub(super) async fn change(&mut self, random: &mut fastrand::Rng) {
        let mut writes = Vec::new();
        for (kind, (_, object, fields)) in MAPPINGS.iter().enumerate() {
            let mut values = |random: &mut fastrand::Rng| {
                self.written += 1;
                let mut value = |field: &str| match field {
                    "AccountId" => match random.choice(&self.alive[1]) {
                        Some(id) => json!(id),
                        None => Value::Null,
                    },
                    "Email" => json!(format!("{}@{}.example", self.written, self.mark.to_lowercase())),
                    _ => json!(format!("{} {}", self.mark, self.written)),
                };
                fields.iter().map(|(field, _)| ((*field).to_owned(), value(field))).collect::<Map<_, _>>()
            };
            for _ in 0..random.usize(1..4) {
                writes.push(json!({"op": "insert", "object": object, "fields": values(random)}));
            }
            if let Some(id) = random.choice(&self.alive[kind]) {
                writes.push(json!({"op": "update", "object": object, "id": id, "fields": values(random)}));
            }
        }
        // Contacts only: an account takes its contacts along.
        if self.alive[0].len() > 20 && random.u8(0..3) == 0 {
            let gone = self.alive[0].swap_remove(random.usize(0..self.alive[0].len()));
            if random.bool() {
                self.alive[0].push(gone.clone());
                writes.push(json!({"op": "delete", "object": "Contact", "id": gone}));
                writes.push(json!({"op": "undelete", "object": "Contact", "id": gone}));
            } else {
                writes.push(json!({"op": "delete", "object": "Contact", "id": gone}));
            }
        }
        let done: Value =
            serde_json::from_str(&self.control("records/write", json!({"writes": writes})).await).unwrap();
        for (write, id) in writes.iter().zip(done["ids"].as_array().unwrap()) {
            if write["op"] == "insert" {
                let kind = usize::from(write["object"] == "Account");
                self.alive[kind].push(id.as_str().unwrap().to_owned());
            }
        }
    }

    /// What the tables have otherwise than the org, a line each.
    pub(super) async fn differences(&self, database: &Postgres) -> Vec<String> {
        let mut found = Vec::new();
        for (mapping, (_, object, fields)) in self.mappings.iter().zip(MAPPINGS) {
            let table = mapping.table.name();
            let rows = database.sql(&format!("SELECT row_to_json(t)::text FROM \"{table}\" AS t"));
            let mut rows: BTreeMap<String, Value> = rows
                .lines()
                .map(|row| serde_json::from_str::<Value>(row).unwrap())
                .map(|row| (row["id"].as_str().unwrap().to_owned(), row))
                .collect();
            let truth = self.control("snapshot", json!({"objects": [object]})).await;
            let mut deleted = 0;
            for line in truth.lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                let (id, gone) = (record["Id"].as_str().unwrap(), record["IsDeleted"] == true);
                deleted += usize::from(gone);
                let Some(row) = rows.remove(id) else {
                    // What came and went between two scans was never here.
                    if !gone {
                        found.push(format!("{table}: {id} is missing"));
                    }
                    continue;
                };
                if (row["_deleted"] == "deleted") != gone || (!gone && !row["_deleted"].is_null()) {
                    found.push(format!("{table}: {id} is deleted: {gone}, and here {}", row["_deleted"]));
                }
                let ours: Option<Timestamp> = row["_stamp"].as_str().and_then(|at| at.parse().ok());
                let theirs = tieline_client::parse_datetime(record["SystemModstamp"].as_str().unwrap());
                if ours != theirs {
                    found.push(format!(
                        "{table}: {id} is of {}, and here of {}",
                        record["SystemModstamp"], row["_stamp"]
                    ));
                }
                for (field, column) in fields.iter().filter(|_| !gone) {
                    if record[field] != row[column] {
                        found.push(format!("{table}: {id}.{field} is {}, and here {}", record[field], row[column]));
                    }
                }
            }
            found.extend(rows.keys().map(|id| format!("{table}: {id} is nowhere in the org")));
            assert!(truth.lines().count() > 20, "{table}: the org has next to nothing");
            assert!(object != "Contact" || deleted > 0, "{table}: nothing was deleted");
        }
        found
    }
}
