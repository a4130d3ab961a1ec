//! Transactions that stay open: what is written in one is stamped at once and seen by nobody until it commits.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Org;
use super::system::{Merge, Touch};
use crate::api_error::ApiError;
use crate::id;
use crate::records::Write;

/// A transaction that has begun.
pub(crate) struct Open {
    pub(crate) began: Timestamp,
    pub(super) writes: Vec<Write>,
}

/// One step of the org's own work.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Audit fields may be given too.
    Insert {
        object: String,
        #[serde(default)]
        fields: Map<String, Value>,
    },
    Update {
        object: String,
        id: String,
        #[serde(default)]
        fields: Map<String, Value>,
    },
    Delete {
        object: String,
        id: String,
    },
    /// Past the recycle bin.
    HardDelete {
        object: String,
        id: String,
    },
    Undelete {
        object: String,
        id: String,
    },
    Merge {
        object: String,
        winner: String,
        losers: Vec<String>,
        #[serde(default)]
        fields: Map<String, Value>,
        #[serde(default)]
        modifies_children: bool,
    },
    Touch(TouchStep),
}

/// What the system changes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TouchStep {
    pub(crate) object: String,
    pub(crate) ids: Vec<String>,
    #[serde(default)]
    pub(crate) fields: Map<String, Value>,
    /// Left out: now; null: not moved.
    #[serde(default, deserialize_with = "crate::oauth::app::null_counts")]
    pub(crate) system_modstamp: Option<Option<Timestamp>>,
    /// Left out: not moved.
    #[serde(default)]
    pub(crate) last_modified_date: Option<Timestamp>,
}

fn normal(id: &str) -> Result<String, ApiError> {
    id::normalise(id).ok_or_else(ApiError::not_found)
}

impl Org {
    /// Does the steps in order, all or none, and answers the id of each. `"@{0}"` in a later one stands for the id of the
    /// first.
    pub(crate) fn steps(&mut self, steps: &[Step], user_id: &str) -> Result<Vec<String>, ApiError> {
        self.begin()?;
        let mut ids = Vec::with_capacity(steps.len());
        for step in steps {
            match self.step(step, &ids, user_id) {
                Ok(id) => ids.push(id),
                Err(error) => {
                    self.roll_back()?;
                    return Err(error);
                }
            }
        }
        self.commit()?;
        Ok(ids)
    }

    fn step(&mut self, step: &Step, ids: &[String], user_id: &str) -> Result<String, ApiError> {
        let known = |id: &str| match reference(id, ids) {
            Some(id) => Ok(id),
            None => normal(id),
        };
        let filled = |fields: &Map<String, Value>| -> Map<String, Value> {
            let fill = |value: &Value| match value.as_str().and_then(|text| reference(text, ids)) {
                Some(id) => Value::String(id),
                None => value.clone(),
            };
            fields.iter().map(|(key, value)| (key.clone(), fill(value))).collect()
        };
        match step {
            Step::Insert { object, fields } => self.create(object, &filled(fields), user_id, true),
            Step::Update { object, id, fields } => {
                let id = known(id)?;
                self.update(object, &id, &filled(fields), user_id).map(|()| id)
            }
            Step::Delete { object, id } => {
                let id = known(id)?;
                self.set_deleted(object, &id, true, user_id).map(|()| id)
            }
            Step::HardDelete { object, id } => {
                let id = known(id)?;
                self.remove(object, &id).map(|()| id)
            }
            Step::Undelete { object, id } => {
                let id = known(id)?;
                self.set_deleted(object, &id, false, user_id).map(|()| id)
            }
            Step::Merge { object, winner, losers, fields, modifies_children } => {
                let merge = Merge {
                    object: object.clone(),
                    winner: known(winner)?,
                    losers: losers.iter().map(|id| known(id)).collect::<Result<_, _>>()?,
                    fields: filled(fields),
                    modifies_children: *modifies_children,
                };
                self.merge(&merge, user_id).map(|()| merge.winner)
            }
            Step::Touch(step) => {
                let ids = step.ids.iter().map(|id| known(id)).collect::<Result<Vec<_>, _>>()?;
                let touch = Touch {
                    fields: filled(&step.fields),
                    stamp: step.system_modstamp.unwrap_or(Some(self.now())),
                    modified: step.last_modified_date,
                };
                self.touch(&step.object, &ids, &touch).map(|()| ids.first().cloned().unwrap_or_default())
            }
        }
    }

    /// Begins a transaction that stays open.
    pub(crate) fn open(&mut self) -> String {
        let id = self.new_id("0XA");
        self.open.insert(id.clone(), Open { began: self.now(), writes: Vec::new() });
        id
    }

    /// Writes in an open transaction, which sees what it has written before. A step that fails leaves it as it was.
    pub(crate) fn write_in_open(&mut self, id: &str, steps: &[Step], user_id: &str) -> Result<Vec<String>, ApiError> {
        let mut open = self.open.remove(id).ok_or_else(ApiError::not_found)?;
        let purged = self.purged.len();
        let done = self.write_unseen(&open.writes, steps, user_id);
        self.purged.truncate(purged);
        let done = done.map(|(ids, writes)| {
            open.writes.extend(writes);
            ids
        });
        self.open.insert(id.to_owned(), open);
        done
    }

    fn write_unseen(
        &mut self,
        before: &[Write],
        steps: &[Step],
        user_id: &str,
    ) -> Result<(Vec<String>, Vec<Write>), ApiError> {
        self.db.execute_batch("SAVEPOINT open_transaction")?;
        let mut done = before.iter().try_for_each(|write| self.apply(write)).map(|()| (Vec::new(), Vec::new()));
        if done.is_ok() {
            self.captured = Some(Vec::new());
            let ids = self.steps(steps, user_id);
            let writes = self.captured.take().unwrap_or_default();
            done = ids.map(|ids| (ids, writes));
        }
        self.db.execute_batch("ROLLBACK TO open_transaction; RELEASE open_transaction")?;
        done
    }

    /// What was written becomes visible, with the stamps that it has.
    pub(crate) fn commit_open(&mut self, id: &str) -> Result<usize, ApiError> {
        let open = self.open.remove(id).ok_or_else(ApiError::not_found)?;
        for write in &open.writes {
            self.apply(write)?;
        }
        Ok(open.writes.len())
    }

    /// What was written never was.
    pub(crate) fn abandon_open(&mut self, id: &str) -> Result<(), ApiError> {
        let open = self.open.remove(id).ok_or_else(ApiError::not_found)?;
        self.ledger.records_written = self.ledger.records_written.saturating_sub(open.writes.len() as u64);
        Ok(())
    }

    /// Writes of all transactions that others do not see yet.
    pub(super) fn unseen_writes(&self) -> impl Iterator<Item = &Write> {
        self.pending.iter().map(|(_, write)| write).chain(self.open.values().flat_map(|open| &open.writes))
    }

    /// When the oldest transaction that is still open began.
    pub(crate) fn oldest_open(&self) -> Option<Timestamp> {
        self.open.values().map(|open| open.began).min()
    }
}

/// `@{2}`: the id of the third step.
fn reference(text: &str, ids: &[String]) -> Option<String> {
    let nth: usize = text.strip_prefix("@{")?.strip_suffix('}')?.parse().ok()?;
    ids.get(nth).cloned()
}
