//! Where a life is lived: the world, and what the org's own people know of it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use tieline_store::mappings::Mapping;

use super::cast::Cast;
use super::life::{Life, Pick};
use crate::database::Db;
use crate::engine::world::World;
use crate::world::start;

/// A transaction that is open.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: String,
    /// Records and parents that it makes.
    pub(super) makes: (Vec<String>, Vec<String>),
}

pub(super) struct Stage {
    pub(super) world: World,
    pub(super) life: Life,
    /// Seconds since the start, by the org's clock.
    pub(super) now: i64,
    /// How far the clock of this machine is off.
    pub(super) skew: i64,
    pub(super) ids: Vec<String>,
    pub(super) parents: Vec<String>,
    pub(super) open: Vec<Open>,
    /// Custom fields that were added, and whether their type was changed.
    pub(super) extra: Vec<(String, bool)>,
    pub(super) fields: u32,
    /// How often a record was written.
    pub(super) versions: u64,
    /// Something is wrong with the org, so that a run may fail.
    pub(super) ails: bool,
    /// The object is not to be seen.
    pub(super) hidden_object: bool,
    /// Records and parents that are out of sight.
    pub(super) unseen: BTreeSet<String>,
    /// Records that were out of sight, until all ids are compared.
    pub(super) hidden: BTreeSet<String>,
    /// Records that became visible later than any scan looks back, with the stamp that they have.
    pub(super) late: BTreeMap<String, Value>,
    /// Parents have changed in a way that only a reading of all children shows.
    pub(super) odd_parents: bool,
    /// Something has happened that no cursor can see.
    pub(super) odd: bool,
    /// A promise that was broken in the middle of a run.
    pub(super) broken: Option<String>,
    /// The farthest proof that was seen.
    pub(super) proven: Option<Timestamp>,
    pub(super) log: Vec<String>,
    pub(super) aloud: bool,
}

impl Stage {
    pub(super) async fn set(db: Db, life: &Life, aloud: bool) -> Self {
        let mut world = World::bare(db).await;
        if let Some(object) = life.cast.custom() {
            world.control(Method::POST, "objects", object).await;
        }
        let limits =
            json!({"query_page_rows": life.page, "bulk_page_rows": life.bulk_page, "bulk_shuffle_seed": life.shuffle});
        world.limits(limits).await;
        let name = format!("t{}", life.seed);
        let definition = life.cast.definition(&name, life.method, life.percent);
        world.mapping = match life.cast {
            Cast::BuiltIn => world.integration,
            _ => world.map(&definition).await.id,
        };
        let mut stage = Self {
            world,
            life: life.clone(),
            now: 0,
            skew: 0,
            ids: Vec::new(),
            parents: Vec::new(),
            open: Vec::new(),
            extra: Vec::new(),
            fields: 0,
            versions: 0,
            ails: false,
            hidden_object: false,
            unseen: BTreeSet::new(),
            hidden: BTreeSet::new(),
            late: BTreeMap::new(),
            odd_parents: false,
            odd: false,
            broken: None,
            proven: None,
            log: Vec::new(),
            aloud,
        };
        stage.populate().await;
        stage
    }

    /// The first records and their parents: some of one second, some older than others.
    async fn populate(&mut self) {
        let parents = json!({"op": "insert", "object": "Account", "fields": {"Name": "parent"}});
        self.parents = self.world.write(json!([parents, parents, parents])).await;
        let mut rng = fastrand::Rng::with_seed(self.life.seed);
        let mut of_one_second = Vec::new();
        for n in 1..=self.life.records {
            of_one_second.push(self.insert(rng.u64(..)));
            let passes = rng.u8(..4) == 0;
            if passes || n == self.life.records {
                self.ids.extend(self.world.write(Value::Array(std::mem::take(&mut of_one_second))).await);
            }
            if passes {
                self.pass(rng.i64(1..=900)).await;
            }
        }
    }

    pub(super) async fn pass(&mut self, seconds: i64) {
        self.now += seconds;
        self.world.at(self.now).await;
        self.world.clock.set_wall(self.here());
    }

    /// What the clock of this machine shows.
    pub(super) fn here(&self) -> Timestamp {
        self.org_time() + SignedDuration::from_secs(self.skew)
    }

    pub(super) fn org_time(&self) -> Timestamp {
        start() + SignedDuration::from_secs(self.now)
    }

    /// A step that makes a record.
    pub(super) fn insert(&mut self, seed: u64) -> Value {
        let cast = self.life.cast;
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut fields = cast.needed();
        fields.extend(cast.fields(&mut rng));
        self.versions += 1;
        fields.insert(cast.version().to_owned(), cast.at_version(self.versions));
        if let (Some(parent), true) = (cast.parent(), rng.bool()) {
            fields.insert(parent.to_owned(), json!(self.parent(rng.u32(..))));
        }
        json!({"op": "insert", "object": cast.object(), "fields": fields})
    }

    pub(super) fn record(&self, pick: Pick) -> &str {
        counted_out(&self.ids, pick)
    }

    pub(super) fn parent(&self, pick: Pick) -> &str {
        counted_out(&self.parents, pick)
    }

    pub(super) async fn mapping(&self) -> Mapping {
        self.world.mapping().await
    }

    pub(super) fn note(&mut self, line: String) {
        let line = format!("{:>8}s {line}", self.now);
        if self.aloud {
            eprintln!("{line}");
        }
        self.log.push(line);
    }

    /// Takes the mapping out, so that the database can serve the next life.
    pub(super) async fn strike(self) -> Db {
        let mapping = self.mapping().await;
        if mapping.is_contacts() {
            self.world.tenant().delete_integration(mapping.id, self.here()).await.unwrap();
            self.world.db.raw.run("DELETE FROM contacts").await;
        } else {
            self.world.tenant().delete_mapping(&mapping, start()).await.unwrap();
        }
        self.world.db
    }
}

/// An id that is none, where there is nothing.
fn counted_out(ids: &[String], pick: Pick) -> &str {
    if ids.is_empty() { "001000000000000AAA" } else { &ids[pick as usize % ids.len()] }
}
