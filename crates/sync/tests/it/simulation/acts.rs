//! What the org's people and its operators do.

use reqwest::Method;
use serde_json::{Value, json};

use super::cast::Cast;
use super::life::{Act, Deed, Fault};
use super::stage::{Open, Stage};

const TYPES: [&str; 5] = ["string 40", "double 18,2", "date", "boolean", "picklist 255 : A; B"];

impl Stage {
    /// An act of the org's. What it refuses has not happened.
    pub(super) async fn act(&mut self, act: &Act) {
        let refused = self.try_act(act).await.err();
        let how = refused.map_or(String::new(), |refusal| format!(" — refused: {}", short(&refusal)));
        self.note(format!("{act:?}{how}"));
    }

    async fn try_act(&mut self, act: &Act) -> Result<(), String> {
        let object = self.life.cast.object();
        self.odd_parents |= matches!(act, Act::EmptyBin | Act::Purge(_));
        self.odd |= !is_plain(act);
        match act {
            Act::Pass(seconds) => self.pass(*seconds).await,
            Act::Skew(seconds) => {
                self.skew = *seconds;
                self.world.clock.set_wall(self.here());
            }
            Act::Write(deeds) => {
                let (writes, places) = self.steps(deeds);
                let written = self.post("records/write", json!({"writes": writes})).await?;
                let (ids, parents) = made(&written, &places);
                self.ids.extend(ids);
                self.parents.extend(parents);
            }
            Act::Begin(deeds) => {
                let (writes, places) = self.steps(deeds);
                let begun = self.post("transactions", json!({"writes": writes})).await?;
                let id = begun["id"].as_str().unwrap_or_default().to_owned();
                self.open.push(Open { id, makes: made(&begun, &places) });
            }
            Act::Commit(pick) => self.commit(*pick as usize).await?,
            Act::RollBack(pick) => {
                if !self.open.is_empty() {
                    let open = self.open.remove(*pick as usize % self.open.len());
                    self.send(Method::DELETE, &format!("transactions/{}", open.id), json!({})).await?;
                }
            }
            Act::Purge(pick) => {
                let ids = [self.record(*pick)];
                self.post("records/purge", json!({"object": object, "ids": ids})).await?;
            }
            // Parents that are erased, by hand or by time, have no stamp any more.
            Act::EmptyBin => drop(self.post("recycle-bin/empty", json!({})).await?),
            Act::PurgeLog { ago, refuse } => {
                let before = self.org_time() - jiff::SignedDuration::from_secs(*ago);
                let log = json!({"object": object, "before": before.to_string(), "refuse": refuse});
                self.post("delete-log/purge", log).await?;
            }
            Act::Archive(pick, archived) => {
                if self.life.cast == Cast::Task {
                    let ids = [self.record(*pick)];
                    let archive = json!({"object": object, "ids": ids, "archived": archived});
                    self.post("records/archive", archive).await?;
                }
            }
            Act::Share { pick, parents, visible } => {
                let (object, id) =
                    if *parents { ("Account", self.parent(*pick)) } else { (object, self.record(*pick)) };
                let (id, share) = (id.to_owned(), json!({"object": object, "ids": [id], "visible": visible}));
                self.send(Method::PUT, "sharing", share).await?;
                self.odd_parents |= *parents || self.life.cast == Cast::Account;
                if *visible {
                    self.unseen.remove(&id)
                } else {
                    self.unseen.insert(id.clone())
                };
                self.hidden.insert(id);
            }
            Act::Field { pick, visible } => {
                let fields = self.life.cast.hideable();
                let field = fields[*pick as usize % fields.len()];
                let permission = json!({"object": object, "fields": [field], "visible": visible});
                self.send(Method::PUT, "permissions", permission).await?;
                self.odd_parents = true;
            }
            Act::Object { visible } => {
                self.send(Method::PUT, "permissions", json!({"object": object, "visible": visible})).await?;
                self.hidden_object = !visible;
                self.ails |= !visible;
            }
            // A field that comes back between two describes, or changes its type and back, leaves no trace: each name is
            // used once, and each type changed once.
            Act::AddField(kind) => {
                self.fields += 1;
                let name = format!("Extra{}__c", self.fields);
                let field = json!({"object": object, "name": name, "type": TYPES[usize::from(*kind)]});
                self.post("fields", field).await?;
                self.fill(&name).await;
                self.extra.push((name, false));
            }
            Act::RemoveField(pick) => {
                if !self.extra.is_empty() {
                    let (name, _) = self.extra.remove(*pick as usize % self.extra.len());
                    self.send(Method::DELETE, "fields", json!({"object": object, "name": name})).await?;
                }
            }
            Act::Retype(kind) => {
                if let Some((name, retyped)) = self.extra.iter_mut().find(|(_, retyped)| !retyped) {
                    *retyped = true;
                    let field = json!({"object": object, "name": name, "type": TYPES[usize::from(*kind)]});
                    self.send(Method::PATCH, "fields", field).await?;
                }
            }
            ail => {
                self.ails = true;
                self.ail(ail).await?;
            }
        }
        Ok(())
    }

    /// What ails the org itself.
    async fn ail(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Timeout(rows) => {
                let rows = (*rows > 0).then_some(*rows);
                self.world.limits(json!({"query_timeout_rows": rows})).await;
            }
            Act::ReplicationIds(most) => self.world.limits(json!({"replication_ids": most})).await,
            Act::Calls { allowed, used } => {
                self.world.limits(json!({"daily_api_requests": allowed, "api_requests_used": used})).await;
            }
            Act::Fault(fault) => self.world.fault(fault_of(fault)).await,
            Act::Trick { bulk, trick, nth } => {
                let (of, trick) = (if *bulk { "bulk" } else { "query" }, trick_of(*trick));
                self.post("pages", json!({"of": of, "trick": trick, "nth": nth})).await?;
            }
            Act::Job(0) => self.world.limits(json!({"bulk_fail_after_rows": 2})).await,
            Act::Job(1) => drop(self.post("bulk/jobs", json!({"state": "Failed", "message": "x"})).await?),
            Act::Job(2) => drop(self.post("bulk/jobs", json!({"state": "Aborted"})).await?),
            Act::Job(3) => drop(self.post("bulk/expire", json!({})).await?),
            Act::Job(4) => self.world.limits(json!({"bulk_processed_delta": 1})).await,
            Act::Job(_) => self.world.limits(json!({"bulk_hold": "InProgress"})).await,
            Act::Locators => drop(self.post("query-locators/expire", json!({})).await?),
            Act::Sessions => drop(self.post("tokens/revoke", json!({"all": true})).await?),
            _ => self.calm().await,
        }
        Ok(())
    }

    /// Whatever was wrong with the org is over.
    pub(super) async fn calm(&mut self) {
        self.world.control(Method::DELETE, "faults", json!({})).await;
        self.world.control(Method::DELETE, "pages", json!({})).await;
        let object = json!({"object": self.life.cast.object(), "visible": true});
        self.world.control(Method::PUT, "permissions", object).await;
        let limits = json!({
            "query_timeout_rows": null, "replication_ids": 600_000, "daily_api_requests": 100_000,
            "api_requests_used": 0, "bulk_fail_after_rows": null, "bulk_hold": null,
            "bulk_processed_delta": 0,
        });
        self.world.limits(limits).await;
        // A process remembers for some seconds that it could not log in.
        self.world.restart();
        (self.ails, self.hidden_object) = (false, false);
    }

    /// Ends a transaction well. What it makes visible may be older than any scan looks back.
    async fn commit(&mut self, pick: usize) -> Result<(), String> {
        if self.open.is_empty() {
            return Ok(());
        }
        // The greatest number is the youngest one.
        let nth = if pick == u32::MAX as usize { self.open.len() - 1 } else { pick % self.open.len() };
        let open = self.open.remove(nth);
        let object = self.life.cast.object();
        let before = self.world.truth_and_purged(object).await.0;
        // Nor is a parent looked for that became visible late.
        self.odd_parents = true;
        self.post(&format!("transactions/{}/commit", open.id), json!({})).await?;
        let (ids, parents) = open.makes;
        self.ids.extend(ids);
        self.parents.extend(parents);
        for (id, record) in self.world.truth_and_purged(object).await.0 {
            let stamp = &record["SystemModstamp"];
            let at = tieline_client::parse_datetime(stamp.as_str().unwrap_or_default()).unwrap_or_default();
            let age = self.org_time().duration_since(at).as_secs();
            // A second is lost to the org's clock, whose answers have whole ones.
            let seen = i64::try_from(self.life.lookback + self.life.lag).unwrap_or(i64::MAX) - 1;
            if before.get(&id) != Some(&record) && age > seen {
                self.odd = true;
                self.late.insert(id, stamp.clone());
            }
        }
        Ok(())
    }

    /// The steps of a transaction, and where in it records and parents are made.
    fn steps(&mut self, deeds: &[Deed]) -> (Vec<Value>, Vec<Option<bool>>) {
        let steps = deeds.iter().map(|deed| self.step(*deed)).collect();
        let places = deeds.iter().map(|deed| match deed {
            Deed::Insert(_) => Some(true),
            Deed::ParentInsert => Some(false),
            _ => None,
        });
        (steps, places.collect())
    }

    fn step(&mut self, deed: Deed) -> Value {
        let cast = self.life.cast;
        let object = cast.object();
        self.versions += 1;
        let version = cast.at_version(self.versions);
        let versioned = |key: &str, value: Value| json!({cast.version(): version, key: value});
        match deed {
            Deed::Insert(seed) => self.insert(seed),
            Deed::Update(pick, seed) => {
                let mut fields = cast.fields(&mut fastrand::Rng::with_seed(seed));
                fields.insert(cast.version().to_owned(), version);
                json!({"op": "update", "object": object, "id": self.record(pick), "fields": fields})
            }
            Deed::Delete(pick) => json!({"op": "delete", "object": object, "id": self.record(pick)}),
            Deed::Undelete(pick) => json!({"op": "undelete", "object": object, "id": self.record(pick)}),
            Deed::HardDelete(pick) => json!({"op": "hard_delete", "object": object, "id": self.record(pick)}),
            Deed::Merge(winner, loser, modifies) if cast.merges() => json!({"op": "merge", "object": object,
                "winner": self.record(winner), "losers": [self.record(loser)], "modifies_children": modifies}),
            Deed::Merge(pick, ..) | Deed::Touch(pick) => json!({"op": "touch", "object": object,
                "ids": [self.record(pick)], "fields": {cast.version(): version}}),
            Deed::Reparent(pick, parent) => {
                let fields = match cast.parent() {
                    Some(reference) => versioned(reference, json!(self.parent(parent))),
                    None => json!({cast.version(): version}),
                };
                json!({"op": "update", "object": object, "id": self.record(pick), "fields": fields})
            }
            Deed::ParentInsert => json!({"op": "insert", "object": "Account", "fields": {"Name": "parent"}}),
            Deed::ParentRename(pick) => json!({"op": "update", "object": "Account", "id": self.parent(pick),
                "fields": {"Name": format!("parent {}", self.versions)}}),
            Deed::ParentDelete(pick) => json!({"op": "delete", "object": "Account", "id": self.parent(pick)}),
            Deed::ParentMerge(winner, loser) => json!({"op": "merge", "object": "Account",
                "winner": self.parent(winner), "losers": [self.parent(loser)]}),
        }
    }

    /// Values for a new field, of which the stamps know nothing.
    async fn fill(&self, field: &str) {
        for (n, id) in self.ids.iter().enumerate().filter(|(n, _)| n % 3 == 0) {
            for value in [json!("A"), json!(n), json!("2026-02-03"), json!(true)] {
                let touch = json!({"object": self.life.cast.object(), "ids": [id], "system_modstamp": null,
                    "fields": {field: value}});
                if self.post("records/touch", touch).await.is_ok() {
                    break;
                }
            }
        }
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, String> {
        self.send(Method::POST, path, body).await
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Result<Value, String> {
        self.world.attempt(method, path, &body).await
    }
}

/// All that it does is seen by the next scan.
fn is_plain(act: &Act) -> bool {
    match act {
        Act::Write(deeds) | Act::Begin(deeds) => !deeds.iter().any(|deed| matches!(deed, Deed::HardDelete(_))),
        Act::Pass(_) | Act::Skew(_) | Act::Commit(_) | Act::RollBack(_) => true,
        Act::Timeout(_) | Act::Calls { .. } | Act::Locators | Act::Sessions | Act::Calm => true,
        _ => false,
    }
}

/// Ids of records and of parents that were made.
fn made(written: &Value, places: &[Option<bool>]) -> (Vec<String>, Vec<String>) {
    let ids = written["ids"].as_array().into_iter().flatten().zip(places);
    let of = |which: bool| {
        let those = ids.clone().filter(move |(_, place)| **place == Some(which));
        those.filter_map(|(id, _)| Some(id.as_str()?.to_owned())).collect()
    };
    (of(true), of(false))
}

fn fault_of(fault: &Fault) -> Value {
    let code = |code: &str| json!([{"message": "made to fail", "errorCode": code}]);
    let mut body = match fault.kind {
        0 => json!({"status": 503}),
        1 => json!({"status": 500, "body": code("UNKNOWN_EXCEPTION")}),
        2 => json!({"status": 401, "body": code("INVALID_SESSION_ID")}),
        3 => json!({"status": 400, "body": code("QUERY_TIMEOUT")}),
        4 => json!({"cut": fault.bytes}),
        5 => json!({"truncate": fault.bytes}),
        6 => json!({"delay_ms": 2}),
        7 => json!({"status": 400, "body": code("INVALID_QUERY_LOCATOR")}),
        8 => json!({"status": 403, "body": code("REQUEST_LIMIT_EXCEEDED")}),
        9 => json!({"status": 400, "body": code("INVALID_FIELD")}),
        _ => json!({"status": 200, "body": "<html>please log in</html>"}),
    };
    // Logins have tests of their own, and remember for seconds what went wrong with them.
    let places = ["", "queryAll", "queryAll", "query/", "query", "sobjects", "jobs", "jobs/query/"];
    body["path"] = json!(format!("/services/data/v67.0/{}", places[usize::from(fault.place) % places.len()]));
    body["nth"] = json!(fault.nth);
    body["times"] = json!(if fault.kind == 2 { 1 } else { [1, 1, 4][usize::from(fault.bytes) % 3] });
    body
}

fn trick_of(trick: u8) -> &'static str {
    // A page that comes twice in the place of another cannot be told by its number of records.
    ["empty", "end", "skip"][usize::from(trick) % 3]
}

fn short(text: &str) -> String {
    text.chars().take(90).collect()
}
