//! What must hold, whatever has happened.

use std::collections::BTreeMap;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tieline_store::mappings::MappingState;

use super::stage::Stage;

pub(super) type Records = BTreeMap<String, Map<String, Value>>;

/// A promise that was broken.
pub(super) type Broken = String;

impl Stage {
    pub(super) async fn truth(&self) -> (Records, BTreeMap<String, Timestamp>) {
        self.world.truth_and_purged(self.life.cast.object()).await
    }

    /// What holds after every run, also one that failed or was killed:
    ///
    /// - what is proven never goes back, and is not later than the org's clock;
    /// - every record that the user may see and that was changed last before what is proven is in the table in that
    ///   version, and what was deleted before it is not shown as there;
    /// - no row is counted twice;
    /// - as long as nothing has happened that no cursor can see, comparisons and second looks find nothing.
    ///
    /// And after one that ended well, moreover: all that was there when it began, but for what was committed later than
    /// scans look back.
    pub(super) async fn keep_promises(&mut self, before: Option<&Records>) -> Result<(), Broken> {
        let mapping = self.mapping().await;
        let verified = mapping.standing.verified_through;
        if verified < self.proven {
            return Err(format!("the proof went back from {:?} to {verified:?}", self.proven));
        }
        self.proven = verified;
        if verified.is_some_and(|verified| verified > self.org_time()) {
            return Err(format!("{verified:?} is proven, and the org's clock shows {}", self.org_time()));
        }
        if mapping.standing.checkpoint.through.is_some_and(|through| through > self.org_time()) {
            return Err(format!(
                "read up to {:?}, and the org's clock shows less",
                mapping.standing.checkpoint.through
            ));
        }
        let rows = self.world.rows_of(&mapping).await;
        self.counts(mapping.table.name()).await?;
        if !self.odd {
            self.no_drift().await?;
        }
        if self.hidden_object {
            return Ok(());
        }
        let (truth, purged) = self.truth().await;
        for (id, record) in truth.iter().filter(|(id, _)| !self.hidden.contains(*id)) {
            let stamp = tieline_client::parse_datetime(record["SystemModstamp"].as_str().unwrap_or_default());
            let proven = stamp < verified.map(Some).unwrap_or_default();
            let late = self.late.get(id) == Some(&record["SystemModstamp"]);
            // A query that takes too long for the org may have been cut off behind the checkpoint.
            let passed = !self.ails || stamp < mapping.standing.checkpoint.through.map(Some).unwrap_or_default();
            let read = !late && passed && before.is_some_and(|before| before.get(id) == Some(record));
            if !proven && !read {
                continue;
            }
            let why = if proven {
                format!("changes before {verified:?} are proven")
            } else {
                "it was there when the run began".to_owned()
            };
            self.is_in_step(id, record, rows.get(id)).map_err(|wrong| format!("{wrong}, though {why}"))?;
        }
        for (id, at) in purged.iter().filter(|(id, _)| !self.hidden.contains(*id)) {
            let there = rows.get(id).is_some_and(|row| row["_deleted"].is_null());
            if there && Some(*at) < verified {
                return Err(format!("{id} was erased at {at}, and {verified:?} is proven, but the table shows it"));
            }
        }
        Ok(())
    }

    /// Whether the table has this version of a record.
    fn is_in_step(
        &self,
        id: &str,
        record: &Map<String, Value>,
        row: Option<&Map<String, Value>>,
    ) -> Result<(), Broken> {
        let gone = record["IsDeleted"] == json!(true);
        let there = row.filter(|row| row["_deleted"].is_null());
        match (gone, there) {
            (true, None) => Ok(()),
            (true, Some(_)) => Err(format!("{id} is deleted, and shown as there")),
            (false, None) => Err(format!("{id} is {}", if row.is_some() { "marked as gone" } else { "missing" })),
            (false, Some(row)) => {
                let moment = |value: &Value| tieline_client::parse_datetime(value.as_str().unwrap_or_default());
                let stamps = (moment(&record["SystemModstamp"]), moment(&row["_stamp"]));
                let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse::<f64>().ok());
                let versions = (number(&record[self.life.cast.version()]), number(&row[self.life.cast.columns().0]));
                if stamps.0 == stamps.1 && versions.0 == versions.1 {
                    return Ok(());
                }
                Err(format!("{id} is of {stamps:?}, version {versions:?}, in the org and here"))
            }
        }
    }

    /// The names of parents have followed, but for records that were out of sight.
    pub(super) async fn parents_followed(&self) -> Result<(), Broken> {
        let Some(path) = self.life.cast.parents_name() else { return Ok(()) };
        let soql = format!("SELECT Id, {path} FROM {}", self.life.cast.object());
        let records = self.world.connection().query_pages::<Map<String, Value>>(&soql).records();
        let records: Vec<Map<String, Value>> = records.try_collect().await.unwrap();
        let rows = self.world.rows().await;
        let (parent, field) = path.split_once('.').unwrap_or_default();
        for record in records {
            let id = record["Id"].as_str().unwrap_or_default();
            if self.hidden.contains(id) {
                continue;
            }
            let (theirs, ours) =
                (&record[parent][field], rows.get(id).map_or(&Value::Null, |row| &row[self.life.cast.columns().1]));
            if theirs != ours {
                return Err(format!("{path} of {id} is {theirs}, and here {ours}"));
            }
        }
        Ok(())
    }

    /// Nothing was found that a scan should have seen.
    async fn no_drift(&self) -> Result<(), Broken> {
        let id = self.world.mapping;
        let sql = format!("SELECT CAST(coalesce(sum(drift_found), 0) AS text) FROM runs WHERE mapping_id = '{id}'");
        match self.world.db.raw.texts(&sql).await.first().map(String::as_str) {
            Some("0") => Ok(()),
            found => Err(format!("nothing odd has happened, and yet drift was found: {found:?}")),
        }
    }

    /// Every row was inserted by one run, and counted by it. In one look: a killed run's last step may be on its way.
    async fn counts(&self, table: &str) -> Result<(), Broken> {
        let id = self.world.mapping;
        let sql = format!(
            "SELECT concat(coalesce(sum(inserted), 0), ' ', (SELECT count(*) FROM \"{table}\")) FROM runs WHERE mapping_id = '{id}'"
        );
        let counts = self.world.db.raw.texts(&sql).await;
        match counts.first().and_then(|counts| counts.split_once(' ')) {
            Some((inserted, rows)) if inserted == rows => Ok(()),
            _ => Err(format!("rows that the runs have inserted, and rows of the table: {counts:?}")),
        }
    }

    /// What holds at the end, when nothing is wrong any more.
    pub(super) async fn keep_all_promises(&self) -> Result<(), Broken> {
        let found = self.world.differences().await;
        if !found.is_empty() {
            return Err(format!("in the end: {}", found.join("; ")));
        }
        if let Some(id) = self.hidden.first() {
            return Err(format!("in the end all ids were compared, but {id} is counted among the hidden ones"));
        }
        self.parents_followed().await.map_err(|wrong| format!("in the end: {wrong}"))?;
        let mapping = self.mapping().await;
        if mapping.state != MappingState::Synced && mapping.standing.progress.lost.is_empty() {
            return Err(format!("in the end the mapping is {:?}: {:?}", mapping.state, mapping.state_reason));
        }
        let behind = mapping.standing.verified_through.map(|at| self.org_time().duration_since(at).as_secs());
        if behind.is_none_or(|behind| behind >= 120) {
            return Err(format!("in the end the proof is {behind:?} seconds behind"));
        }
        let (truth, _) = self.truth().await;
        for (id, row) in self.world.rows_of(&mapping).await {
            let master = truth
                .get(&id)
                .filter(|record| record["IsDeleted"] == json!(true))
                .and_then(|record| record.get("MasterRecordId"));
            if let Some(master) = master.filter(|master| !master.is_null())
                && (row["_deleted"] != json!("merged") || row["_master_id"] != *master)
            {
                return Err(format!(
                    "{id} was merged into {master}, and here {} {}",
                    row["_deleted"], row["_master_id"]
                ));
            }
        }
        Ok(())
    }
}
