//! What the users of the API see of the org: objects and fields that their permissions show, rows that are shared with
//! them. The org itself sees all.
//!
//! Fields and objects are left out of [`Org::schema`], so that every request meets them as names that do not exist. Rows
//! are left out by a view of the table's name, which SQLite finds before the table; writes name the table.

use std::collections::BTreeSet;

use rusqlite::Connection;
use serde_json::{Map, Value};

use super::Org;
use crate::api_error::ApiError;
use crate::schema::Schema;

/// Fields that no permission takes away.
const ALWAYS: [&str; 9] = [
    "Id",
    "IsDeleted",
    "Name",
    "CreatedDate",
    "CreatedById",
    "LastModifiedDate",
    "LastModifiedById",
    "SystemModstamp",
    "MasterRecordId",
];

/// What is kept from the users, by names as the schema spells them.
#[derive(Debug, Default)]
pub(super) struct Unseen {
    objects: BTreeSet<String>,
    /// Object and field.
    fields: BTreeSet<(String, String)>,
    /// Objects whose table has a view before it.
    views: BTreeSet<String>,
    rows: bool,
    /// The whole schema, while a part of it is not seen.
    whole: Option<Schema>,
    /// The org itself is at work.
    all: bool,
}

/// Tables behind the views.
pub(crate) fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TABLE main.unseen_rows (id TEXT PRIMARY KEY) WITHOUT ROWID;
         CREATE TABLE main.sight (whole INTEGER NOT NULL);
         INSERT INTO main.sight VALUES (0);",
    )
}

impl Org {
    /// Runs `work` as the org itself: with the whole schema and all rows.
    pub(crate) fn as_system<T>(&mut self, work: impl FnOnce(&mut Org) -> T) -> T {
        if self.unseen.all || (self.unseen.whole.is_none() && !self.unseen.rows) {
            return work(self);
        }
        self.unseen.all = true;
        self.look(true);
        let seen = self.unseen.whole.take().map(|whole| std::mem::replace(&mut self.schema, whole));
        let edits = self.schema_edits;
        let done = work(self);
        self.unseen.all = false;
        self.look(false);
        match seen {
            // The same as before: there is no need to work it out again.
            Some(seen) if self.schema_edits == edits => {
                self.unseen.whole = Some(std::mem::replace(&mut self.schema, seen));
            }
            _ => self.narrow(),
        }
        done
    }

    fn look(&self, whole: bool) {
        if self.unseen.rows
            && let Err(error) = self.db.execute("UPDATE main.sight SET whole = ?", [whole])
        {
            tracing::error!(%error, "what the users see could not be changed");
        }
    }

    /// Leaves out of the schema what is not seen. A place that is not there any more is forgotten.
    fn narrow(&mut self) {
        let unseen = &mut self.unseen;
        unseen.objects.retain(|object| self.schema.object(object).is_some());
        unseen.fields.retain(|(object, field)| self.schema.object(object).is_some_and(|o| o.field(field).is_some()));
        if unseen.objects.is_empty() && unseen.fields.is_empty() {
            return;
        }
        let mut seen = self.schema.clone();
        for (object, field) in &unseen.fields {
            if let Some(object) = seen.object_mut(object) {
                object.remove_field(field);
            }
        }
        for object in &unseen.objects {
            seen.remove(object);
        }
        unseen.whole = Some(std::mem::replace(&mut self.schema, seen));
    }

    /// Takes an object, or fields of it, from the users, or gives them back. Describes change with it.
    pub(crate) fn permit(&mut self, object: &str, fields: &[String], seen: bool) -> Result<(), ApiError> {
        // The changed lists count when the schema is narrowed again.
        self.unseen.all = true;
        if let Some(whole) = self.unseen.whole.take() {
            self.schema = whole;
        }
        let done = self.change_permissions(object, fields, seen);
        self.unseen.all = false;
        self.narrow();
        self.schema_changed = self.now();
        done
    }

    fn change_permissions(&mut self, object: &str, fields: &[String], seen: bool) -> Result<(), ApiError> {
        let described = self.schema.object(object).ok_or_else(ApiError::not_found)?;
        let object = described.name.clone();
        let mut names = Vec::with_capacity(fields.len());
        for field in fields {
            let found = described.field(field).ok_or_else(|| {
                ApiError::bad("INVALID_FIELD", format!("No such column '{field}' on sobject of type {object}"))
            })?;
            if ALWAYS.contains(&found.name.as_str()) {
                return Err(ApiError::bad("INVALID_FIELD", format!("everybody sees the field {}", found.name)));
            }
            names.push((object.clone(), found.name.clone()));
        }
        let unseen = &mut self.unseen;
        match (seen, fields.is_empty()) {
            (true, true) => drop(unseen.objects.remove(&object)),
            (false, true) => drop(unseen.objects.insert(object)),
            (true, false) => unseen.fields.retain(|known| !names.contains(known)),
            (false, false) => unseen.fields.extend(names),
        }
        Ok(())
    }

    /// Rows that the users do not see from now on, or see again.
    pub(crate) fn share(&mut self, object: &str, ids: &[String], seen: bool) -> Result<(), ApiError> {
        let object = self.as_system(|org| org.object(object).map(|o| o.name.clone()))?;
        if !seen && self.unseen.views.insert(object.clone()) {
            self.db.execute_batch(&format!(
                "CREATE TEMP VIEW \"{object}\" AS SELECT \"_row\" AS rowid, * FROM main.\"{object}\"
                 WHERE (SELECT whole FROM main.sight) OR \"Id\" NOT IN (SELECT id FROM main.unseen_rows)"
            ))?;
        }
        let sql = if seen {
            "DELETE FROM main.unseen_rows WHERE id = ?"
        } else {
            "INSERT OR IGNORE INTO main.unseen_rows VALUES (?)"
        };
        for id in ids {
            self.db.prepare_cached(sql)?.execute([id])?;
        }
        self.unseen.rows = self.db.query_row("SELECT EXISTS (SELECT 1 FROM main.unseen_rows)", [], |row| row.get(0))?;
        if !self.unseen.rows {
            for object in std::mem::take(&mut self.unseen.views) {
                self.db.execute_batch(&format!("DROP VIEW temp.\"{object}\""))?;
            }
        }
        Ok(())
    }

    /// Refuses to write what the user does not see, as if it were not there.
    pub(super) fn require_seen(
        &self,
        object: &str,
        id: Option<&str>,
        body: Option<&Map<String, Value>>,
    ) -> Result<(), ApiError> {
        let described = self.object(object)?;
        if let Some(id) = id
            && !self.is_seen(id)?
        {
            // A guess: a record that is not shared looks like none.
            return Err(ApiError::not_found());
        }
        let known =
            |key: &str| key == "attributes" || described.field(key).is_some() || described.relationship(key).is_some();
        match body.filter(|_| self.unseen.whole.is_some()).and_then(|body| body.keys().find(|key| !known(key))) {
            None => Ok(()),
            Some(key) => {
                let message = format!("No such column '{key}' on sobject of type {}", described.name);
                Err(ApiError::bad("INVALID_FIELD", message))
            }
        }
    }

    /// Whether the users may know of a row.
    pub(crate) fn is_seen(&self, id: &str) -> Result<bool, ApiError> {
        if !self.unseen.rows || self.unseen.all {
            return Ok(true);
        }
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM main.unseen_rows WHERE id = ?)";
        Ok(self.db.prepare_cached(sql)?.query_row([id], |row| row.get(0))?)
    }

    /// Rows of an object that is about to go.
    pub(super) fn show_all_of(&mut self, object: &str) -> Result<(), ApiError> {
        if self.unseen.views.remove(object) {
            self.db.execute_batch(&format!("DROP VIEW temp.\"{object}\""))?;
        }
        Ok(())
    }

    /// All is seen again.
    pub(crate) fn open_eyes(&mut self) -> Result<(), ApiError> {
        self.db.execute("DELETE FROM main.unseen_rows", [])?;
        self.unseen.rows = false;
        for object in std::mem::take(&mut self.unseen.views) {
            self.db.execute_batch(&format!("DROP VIEW temp.\"{object}\""))?;
        }
        (self.unseen.objects, self.unseen.fields) = (BTreeSet::new(), BTreeSet::new());
        if let Some(whole) = self.unseen.whole.take() {
            self.schema = whole;
            self.schema_changed = self.now();
        }
        Ok(())
    }
}
