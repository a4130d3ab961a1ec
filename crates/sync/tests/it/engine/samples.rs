//! Sample records of public projects: every object of which there are any, with all of its fields, and each value held against
//! what the org answers to a query.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use tieline_client::Record;
use tieline_sync::mapping::{Definition, Describes, Plan};

use super::world::{World, all_of, same};
use crate::database::Db;

on_both!(sample_records_are_in_step_value_by_value);

/// A folder, or a file with the name that the org takes it by; and how many records there are of some objects at least.
type Sample = (&'static str, &'static str, &'static [(&'static str, usize)]);

const SAMPLES: [Sample; 6] = [
    ("SalesforceFoundation+NPSP/dev_org", "", &[("Contact", 100), ("Campaign", 10), ("npe01__OppPayment__c", 600)]),
    ("trailheadapps+dreamhouse-lwc/data", "", &[("Contact", 5), ("Property__c", 5)]),
    (
        "trailheadapps+apex-recipes/data",
        "",
        &[("Account", 100), ("Contact", 100), ("Opportunity", 50), ("Campaign", 5)],
    ),
    ("trailheadapps+easy-spaces-lwc/data", "", &[("Contact", 5), ("Lead", 5), ("Space__c", 20)]),
    ("salesforcecli+plugin-data/nut", "", &[("Account", 3), ("Contact", 3)]),
    ("jsforce+jsforce/Account_bulk1_test.csv", "Account.csv", &[("Account", 100)]),
];

/// The folder of samples: beside the repository, or where the test command found it.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn samples() -> Option<PathBuf> {
    let given = std::env::var_os("TIELINE_TEST_FIXTURES").map(PathBuf::from);
    let path = given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"));
    if !path.is_dir() {
        eprintln!("SKIPPED: the folder of sample records ({}) is not here", path.display());
        return None;
    }
    Some(path)
}

#[expect(clippy::print_stderr, reason = "a test says aloud what it measured")]
async fn sample_records_are_in_step_value_by_value(db: Db) {
    let Some(samples) = samples() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (mut db, mut values) = (Some(db), 0);
    for (number, (from, name, expected)) in SAMPLES.into_iter().enumerate() {
        let mut data = samples.join(from);
        if !name.is_empty() {
            let beside = folder.path().join(number.to_string());
            std::fs::create_dir(&beside).unwrap();
            std::fs::copy(data, beside.join(name)).unwrap();
            data = beside;
        }
        let mut world = World::loaded(db.take().unwrap(), data).await;
        let objects = world.objects().await;
        for (object, at_least) in expected {
            let found = objects.get(*object).copied().unwrap_or(0);
            assert!(found >= *at_least, "{from}: {found} records of {object}: {objects:?}");
        }
        for (object, count) in &objects {
            // Tables of one database: each object once for each of the samples.
            let name = format!("s{number}_{}", object.to_ascii_lowercase());
            let definition = Definition { name, ..all_of(object) };
            world.mapping = world.map(&definition).await.id;
            world.sync().await.unwrap_or_else(|error| panic!("{from}: {object}: {error}"));
            values += compared(&world, object, *count).await;
        }
        db = Some(world.db);
    }
    eprintln!("{values} values of sample records compared");
    assert!(values > 50_000, "{values}");
}

/// Holds the table against the answers to queries; how many values were compared.
async fn compared(world: &World, object: &str, count: usize) -> usize {
    let mapping = world.mapping().await;
    let definition = Definition::from_json(mapping.definition.clone()).unwrap();
    let describes = Describes::load_now(world.connection(), &definition).await.unwrap();
    let plan = Plan::new(&definition, &describes).unwrap();
    let fields: BTreeSet<&str> = (0..plan.columns.len()).flat_map(|n| plan.sources(n)).collect();
    let fields: Vec<&str> = fields.into_iter().filter(|field| *field != "Id").collect();
    let soql = format!("SELECT Id, {} FROM {object}", fields.join(", "));
    let answered: Vec<Record> = world.connection().query(&soql).try_collect().await.unwrap();
    let mut rows = world.rows().await;
    assert_eq!((answered.len(), rows.len()), (count, count), "{object}");
    let mut values = 0;
    for record in &answered {
        let record = serde_json::to_value(record).unwrap();
        let id = record["Id"].as_str().unwrap();
        let row = rows.remove(id).unwrap_or_else(|| panic!("{object} {id} is missing"));
        assert!(row["_deleted"].is_null(), "{object} {id}: {row:?}");
        for (n, column) in plan.columns.iter().enumerate() {
            let [source] = plan.sources(n)[..] else { continue };
            let (theirs, ours) = (&record[source], row.get(&column.name).unwrap_or(&Value::Null));
            assert!(same(column.kind, theirs, ours), "{object} {id}.{source} is {theirs}, and here {ours}");
            values += 1;
        }
    }
    values
}

impl World {
    /// How many records the org has, of each object that can be queried.
    async fn objects(&self) -> BTreeMap<String, usize> {
        let mut objects = BTreeMap::new();
        for line in self.text("snapshot", json!({})).await.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            *objects.entry(record["attributes"]["type"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        objects
    }
}
