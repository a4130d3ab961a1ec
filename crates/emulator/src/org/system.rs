//! What happens to rows without a user of the API: merges, changes by the system, archiving, the recycle bin's end.

use jiff::{SignedDuration, Timestamp};
use rusqlite::OptionalExtension;
use rusqlite::types::Value as SqlValue;
use serde_json::{Map, Value};

use super::{Org, Purged};
use crate::api_error::ApiError;
use crate::clock::datetime;
use crate::records::{self, Author, Write};
use crate::schema::{FieldKind, SObject};
use crate::soql::plan::Plan;
use crate::soql::run;

/// Objects whose records are archived. Others have a field `IsArchived` too, which hides nothing.
pub(crate) const ARCHIVED: [&str; 2] = ["Task", "Event"];

/// Deleted records of these objects are gone at once.
const NO_BIN: [&str; 1] = ["CampaignMember"];

/// What a copy of another org has too.
const SETUP: [&str; 8] = [
    "LoginHistory",
    "Organization",
    "PermissionSet",
    "PermissionSetAssignment",
    "Profile",
    "RecordType",
    "User",
    "UserRole",
];

/// How the org ends what it keeps; `None`: never.
#[derive(Debug, Clone)]
pub(crate) struct Keeping {
    /// Days in the recycle bin. Salesforce empties it after 15.
    pub(crate) bin_days: Option<i64>,
    /// Days after which tasks and events are archived. Salesforce does after 365; here only if asked to, so that old
    /// test data is not hidden by surprise.
    pub(crate) archive_days: Option<i64>,
    /// The most ids that `updated` and `deleted` tell.
    pub(crate) most_ids: usize,
    /// Queries that match more rows time out.
    pub(crate) timeout_rows: Option<u64>,
    /// Records of a query's page at most, where that is less than the usual. Salesforce does not promise the size
    /// that was asked for (SOAP API Developer Guide, "Changing the Batch Size in Queries").
    pub(crate) page_rows: Option<usize>,
    /// When this was last looked after.
    swept: Option<Timestamp>,
}

impl Default for Keeping {
    fn default() -> Self {
        Keeping {
            bin_days: Some(15),
            archive_days: None,
            most_ids: 600_000,
            timeout_rows: None,
            page_rows: None,
            swept: None,
        }
    }
}

impl Keeping {
    /// How many records a page has, of so many that are asked for.
    pub(crate) fn page_of(&self, asked: usize) -> usize {
        self.page_rows.map_or(asked, |most| asked.min(most.max(1)))
    }

    /// What is left out stays.
    pub(crate) fn change(
        &mut self,
        most_ids: Option<usize>,
        timeout_rows: Option<Option<u64>>,
        bin_days: Option<Option<i64>>,
        archive_days: Option<Option<i64>>,
    ) {
        self.most_ids = most_ids.unwrap_or(self.most_ids);
        self.timeout_rows = timeout_rows.unwrap_or(self.timeout_rows);
        self.bin_days = bin_days.unwrap_or(self.bin_days);
        self.archive_days = archive_days.unwrap_or(self.archive_days);
        self.swept = None;
    }
}

/// A time that the log of deletes does not reach back to.
#[derive(Debug, Clone)]
pub(crate) struct LogPurge {
    /// In the stored form.
    pub(crate) before: String,
    /// Whether a span that begins earlier is refused. Salesforce's documents speak of both: the log's entries may be
    /// gone after two hours, and a call before `earliestDateAvailable` fails.
    pub(crate) refuse: bool,
}

/// A change that no user made.
#[derive(Debug)]
pub(crate) struct Touch {
    pub(crate) fields: Map<String, Value>,
    /// `SystemModstamp`; `None` leaves it.
    pub(crate) stamp: Option<Timestamp>,
    /// `LastModifiedDate`; `None` leaves it.
    pub(crate) modified: Option<Timestamp>,
}

/// Records that become one.
#[derive(Debug)]
pub(crate) struct Merge {
    pub(crate) object: String,
    pub(crate) winner: String,
    pub(crate) losers: Vec<String>,
    pub(crate) fields: Map<String, Value>,
    /// Whether children that get another parent count as modified by the user, besides their `SystemModstamp`. What
    /// Salesforce does is not documented.
    pub(crate) modifies_children: bool,
}

impl Org {
    /// Whether a delete of this object leaves nothing in the recycle bin.
    pub(super) fn has_no_bin(object: &SObject) -> bool {
        NO_BIN.contains(&object.name.as_str())
    }

    /// Merges up to two records into another, in one transaction.
    pub(crate) fn merge(&mut self, merge: &Merge, user_id: &str) -> Result<(), ApiError> {
        self.begin()?;
        match self.merge_all(merge, user_id) {
            Ok(()) => self.commit(),
            Err(error) => {
                self.roll_back()?;
                Err(error)
            }
        }
    }

    fn merge_all(&mut self, merge: &Merge, user_id: &str) -> Result<(), ApiError> {
        let object = self.object(&merge.object)?.name.clone();
        // Codes are those of the SOAP API's `merge`; words are unverified.
        if self.object(&object)?.field("MasterRecordId").is_none() {
            return Err(ApiError::bad("INVALID_TYPE", format!("entity type is not mergeable: {object}")));
        }
        if merge.losers.is_empty() || merge.losers.len() > 2 {
            return Err(ApiError::bad("INVALID_ID_FIELD", "a merge has one or two losers"));
        }
        if merge.losers.contains(&merge.winner) {
            return Err(ApiError::bad("INVALID_ID_FIELD", "a record cannot be merged with itself"));
        }
        self.update(&object, &merge.winner, &merge.fields, user_id)?;
        let now = datetime(self.now());
        let author = Author { user_id, now: &now, seeding: false };
        for loser in &merge.losers {
            let mut write = records::set_deleted(&self.db, self.object(&object)?, loser, true, &author)?;
            if let Write::Update { columns, .. } = &mut write {
                columns.push(("MasterRecordId".to_owned(), SqlValue::Text(merge.winner.clone())));
            }
            self.write(write)?;
            for write in self.children_moved(&object, loser, merge, &author)? {
                self.write(write)?;
            }
        }
        Ok(())
    }

    /// The children of a loser, with the winner as their parent. One that is deleted keeps its own.
    fn children_moved(
        &self,
        object: &str,
        loser: &str,
        merge: &Merge,
        author: &Author<'_>,
    ) -> Result<Vec<Write>, ApiError> {
        let mut moved = Vec::new();
        for (child, field, _) in self.schema.children(self.object(object)?) {
            // Who was merged earlier stays with whom it was merged into.
            if field.name == "MasterRecordId" || !field.is_stored() {
                continue;
            }
            let alive = if child.field("IsDeleted").is_some() { " AND \"IsDeleted\" = 0" } else { "" };
            let sql = format!(
                "SELECT \"Id\" FROM main.\"{}\" WHERE \"{}\" = ?{alive} ORDER BY \"Id\"",
                child.name, field.name
            );
            let mut statement = self.db.prepare_cached(&sql)?;
            let ids: Vec<String> = statement.query_map([loser], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for id in ids {
                let parent = match &field.kind {
                    // A record is not its own parent.
                    FieldKind::Reference { .. } if id == merge.winner => SqlValue::Null,
                    _ => SqlValue::Text(merge.winner.clone()),
                };
                let mut columns = vec![(field.name.clone(), parent)];
                if merge.modifies_children {
                    records::touch(child, &mut columns, author);
                } else if child.field("SystemModstamp").is_some() {
                    columns.push(("SystemModstamp".to_owned(), SqlValue::Text(author.now.to_owned())));
                }
                moved.push(Write::Update { object: child.name.clone(), id, columns });
            }
        }
        Ok(moved)
    }

    /// Changes records as the system does: whatever their fields allow, with the stamps that are asked for.
    pub(crate) fn touch(&mut self, object: &str, ids: &[String], touch: &Touch) -> Result<(), ApiError> {
        let described = self.object(object)?;
        let mut columns = Vec::new();
        for (name, value) in &touch.fields {
            let field = described.field(name).filter(|field| field.is_stored()).ok_or_else(|| {
                ApiError::bad("INVALID_FIELD", format!("No such column '{name}' on sobject of type {object}"))
            })?;
            columns.push((field.name.clone(), records::stored(&self.db, &self.schema, described, field, value)?));
        }
        for (name, at) in [("SystemModstamp", touch.stamp), ("LastModifiedDate", touch.modified)] {
            if let (Some(at), Some(field)) = (at, described.field(name)) {
                columns.push((field.name.clone(), SqlValue::Text(datetime(at))));
            }
        }
        let object = described.name.clone();
        let there = format!("SELECT 1 FROM main.\"{object}\" WHERE \"Id\" = ?");
        for id in ids {
            if !self.db.prepare_cached(&there)?.exists([id])? {
                return Err(ApiError::not_found());
            }
            if !columns.is_empty() {
                self.write(Write::Update { object: object.clone(), id: id.clone(), columns: columns.clone() })?;
            }
        }
        Ok(())
    }

    /// Deletes past the recycle bin, or out of it.
    pub(super) fn remove(&mut self, object: &str, id: &str) -> Result<(), ApiError> {
        let object = self.object(object)?;
        let name = object.name.clone();
        let stamp = if object.field("IsDeleted").is_some() {
            "CASE WHEN \"IsDeleted\" THEN \"SystemModstamp\" END"
        } else {
            "NULL"
        };
        let sql = format!("SELECT {stamp} FROM main.\"{name}\" WHERE \"Id\" = ?");
        let found: Option<Option<String>> = self.db.query_row(&sql, [id], |row| row.get(0)).optional()?;
        let at = found.ok_or_else(ApiError::not_found)?.unwrap_or_else(|| datetime(self.now()));
        self.write(Write::Remove { object: name, id: id.to_owned(), at })
    }

    /// Archives tasks and events: those that are named, or all that ended so long ago. Their stamps stay, which is a
    /// guess: no document says that they move.
    pub(crate) fn archive(&mut self, object: &str, ids: &[String], archived: bool) -> Result<(), ApiError> {
        let name = self.object(object)?.name.clone();
        if !ARCHIVED.contains(&name.as_str()) {
            return Err(ApiError::bad("INVALID_TYPE", format!("records of {name} are not archived")));
        }
        let fields = Map::from_iter([("IsArchived".to_owned(), Value::Bool(archived))]);
        self.touch(&name, ids, &Touch { fields, stamp: None, modified: None })
    }

    /// Tasks whose day, and events whose end, lies more than `days` back; of tasks the closed ones and those without a
    /// day by when they were made.
    pub(crate) fn archive_older(&mut self, days: i64) -> Result<usize, ApiError> {
        let day = datetime(self.now() - SignedDuration::from_hours(24 * days));
        let mut archived = 0;
        for object in ARCHIVED {
            let sql = format!(
                "UPDATE main.\"{object}\" SET \"IsArchived\" = 1 WHERE \"IsArchived\" = 0 AND \"IsDeleted\" = 0 \
                 AND coalesce(\"ActivityDate\", substr(\"CreatedDate\", 1, 10)) < ?"
            );
            archived += self.db.prepare_cached(&sql)?.execute([&day[..10]])?;
        }
        Ok(archived)
    }

    /// Refuses a query that goes over more rows than the org has time for.
    pub(crate) fn in_time(&self, plan: &Plan) -> Result<(), ApiError> {
        match self.keeping.timeout_rows {
            Some(most) if run::matches_more_than(&self.db, plan, most)? => {
                Err(ApiError::bad("QUERY_TIMEOUT", "Your query request was running for too long."))
            }
            _ => Ok(()),
        }
    }

    /// Once an hour of its clock the org ends what it has kept long enough.
    pub(super) fn sweep(&mut self) -> Result<(), ApiError> {
        let now = self.now();
        let hour = SignedDuration::from_hours(1);
        if self.keeping.swept.is_some_and(|swept| swept <= now && now.duration_since(swept) < hour) {
            return Ok(());
        }
        self.keeping.swept = Some(now);
        if let Some(days) = self.keeping.archive_days {
            self.archive_older(days)?;
        }
        if let Some(days) = self.keeping.bin_days {
            self.as_system(|org| org.empty_bin(now - SignedDuration::from_hours(24 * days)))?;
        }
        Ok(())
    }

    /// The org becomes another one, as a sandbox does that is copied anew.
    pub(crate) fn refresh(&mut self, id: String, keep_tokens: bool, keep_records: bool) -> Result<(), ApiError> {
        self.db.execute("UPDATE main.\"Organization\" SET \"Id\" = ?", [&id])?;
        self.id = id;
        if !keep_tokens {
            self.grants.end_all();
        }
        if !keep_records {
            self.as_system(|org| {
                for object in org.schema.objects().filter(|object| !SETUP.contains(&object.name.as_str())) {
                    org.db.execute(&format!("DELETE FROM main.\"{}\"", object.name), [])?;
                }
                Ok::<_, ApiError>(())
            })?;
            self.purged.clear();
            self.pending.clear();
            self.open.clear();
            self.cursors.expire();
        }
        Ok(())
    }

    /// Ends what was deleted before this; answers how many records. `deleted` still tells of them as long as it can.
    pub(crate) fn empty_bin(&mut self, before: Timestamp) -> Result<usize, ApiError> {
        let before = datetime(before);
        let mut gone = Vec::new();
        for object in
            self.schema.objects().filter(|o| o.field("IsDeleted").is_some() && o.field("SystemModstamp").is_some())
        {
            let sql = format!(
                "DELETE FROM main.\"{}\" WHERE \"SystemModstamp\" < ? AND \"IsDeleted\" = 1 RETURNING \"Id\", \"SystemModstamp\"",
                object.name
            );
            let mut statement = self.db.prepare_cached(&sql)?;
            let rows = statement.query_map([&before], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for row in rows {
                let (id, at) = row?;
                gone.push(Purged { object: object.name.clone(), id, at });
            }
        }
        let count = gone.len();
        self.purged.extend(gone);
        Ok(count)
    }
}
