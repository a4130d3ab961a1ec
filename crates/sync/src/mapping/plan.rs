//! A definition, held against what the org says of the object: what is asked for, and where it goes.

use std::fmt::Write;
use std::sync::Arc;

use serde_json::Value;
use tieline_store::Digest;
use tieline_store::object_tables::Column;

use super::cell::Fixed;
use super::chain::Chain;
use super::resolve::{Hop, Resolved};

/// What of an object is read, and into which columns it goes.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Name of the mapping.
    pub name: String,
    /// API name of the object.
    pub object: String,
    /// Table, as the business names it.
    pub table: String,
    /// What is selected: `Id`, the cursor, `IsDeleted`, `MasterRecordId` and `IsArchived` as far as the object has them,
    /// then what the columns need. Nothing stands twice.
    pub select: Vec<String>,
    /// The table's columns.
    pub columns: Vec<Column>,
    /// The field by which changes are found. None: the object has no such field and is read anew as a whole.
    pub cursor: Option<String>,
    /// The parents whose fields are among the columns. A parent that changes does not move its children's stamp.
    pub parents: Vec<Parent>,
    /// Columns whose values change without the record's stamp: formulas, their own or a parent's, and what the
    /// definition says is like one.
    pub calculated: Vec<usize>,
    /// Columns that the Bulk API does not answer: addresses and places as a whole.
    pub rest_only: Vec<usize>,
    /// The object has `IsDeleted`: deleted records can be asked for.
    pub can_be_deleted: bool,
    /// The object has `MasterRecordId`: records become one.
    pub merges: bool,
    /// The object has `IsArchived`.
    pub archives: bool,
    /// What somebody should know, though nothing is wrong.
    pub warnings: Vec<String>,
    pub(super) planned: Vec<Arc<Planned>>,
    /// The cursor of a record may be empty.
    pub(super) cursor_may_be_empty: bool,
}

/// A parent on the way to a column's field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Path of the reference: `AccountId`, `Account.OwnerId`.
    pub reference: String,
    /// Path of the relationship: `Account`, `Account.Owner`.
    pub relationship: String,
    /// The object that it leads to; `Name` where it may be one of several, for that is what is read then.
    pub object: String,
    /// The objects that it may be: one, unless the reference leads to several.
    pub targets: Vec<String>,
    /// The columns whose fields lie behind it.
    pub columns: Vec<usize>,
    /// Path of the parent's stamp, by which its changes are found: `Account.SystemModstamp`. None where it cannot be
    /// asked for: the parent may be one of several objects, or has no stamp.
    pub stamp_path: Option<String>,
}

/// A column, ready.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) column: Column,
    pub(super) making: Making,
    /// The fields that it needs.
    pub(super) fields: Vec<Resolved>,
    pub(super) chain: Chain,
    pub(super) default: Option<Fixed>,
    pub(super) calculated: bool,
    /// As it was defined, for the fingerprint.
    pub(super) written: Value,
}

/// How a column's value is made.
#[derive(Debug)]
pub(super) enum Making {
    Field,
    Constant(Fixed),
    Template(Vec<super::template::Piece>),
}

impl Plan {
    /// The same object with these columns only, in this order; ids, stamps and deletions stay. For columns that are
    /// filled later, for formulas, and for objects whose fields do not fit into one query.
    #[must_use]
    pub fn part(&self, columns: &[usize]) -> Plan {
        let planned = columns.iter().filter_map(|column| self.planned.get(*column)).cloned().collect();
        let mut part = Plan { planned, ..self.clone() };
        part.lay_out();
        part
    }

    /// What is selected, as SOQL: `Id, SystemModstamp, …`.
    pub fn select_list(&self) -> String {
        self.select.join(", ")
    }

    /// A digest of the object, of what is selected, and of the columns with all that is done to their values. It stays the
    /// same as long as they do, in every version of this program.
    pub fn fingerprint(&self) -> String {
        let mut text = format!("{}\n{}\n", self.object, self.select_list());
        for planned in &self.planned {
            let Column { name, kind } = &planned.column;
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{name} {} {}", kind.name(), planned.written);
        }
        let digest = Digest::of(text);
        digest.as_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The columns that another plan of the object has, too, of the same kind, and makes otherwise: of other fields, or by
    /// other steps.
    pub fn made_otherwise_than(&self, other: &Plan) -> Vec<String> {
        let making = |planned: &Planned| {
            let mut written = planned.written.clone();
            // However its name came about.
            if let Some(written) = written.as_object_mut() {
                written.remove("column");
            }
            let fields: Vec<String> = planned.fields.iter().map(|field| field.path.clone()).collect();
            (written, fields)
        };
        let changed = self.planned.iter().filter(|planned| {
            let before = other.planned.iter().find(|before| before.column == planned.column);
            before.is_some_and(|before| making(before) != making(planned))
        });
        changed.map(|planned| planned.column.name.clone()).collect()
    }

    /// The fields that a column is made of, as paths.
    pub fn sources(&self, column: usize) -> Vec<&str> {
        self.planned.get(column).into_iter().flat_map(|p| &p.fields).map(|field| field.path.as_str()).collect()
    }

    /// Everything that follows from the columns.
    pub(super) fn lay_out(&mut self) {
        self.columns = self.planned.iter().map(|planned| planned.column.clone()).collect();
        self.select = vec!["Id".to_owned()];
        self.parents.clear();
        let controls = [
            self.cursor.clone(),
            self.can_be_deleted.then(|| "IsDeleted".to_owned()),
            self.merges.then(|| "MasterRecordId".to_owned()),
            self.archives.then(|| "IsArchived".to_owned()),
        ];
        let fields = self.planned.iter().flat_map(|planned| planned.fields.iter().map(|field| field.path.clone()));
        for path in controls.into_iter().flatten().chain(fields) {
            if !self.select.contains(&path) {
                self.select.push(path);
            }
        }
        for (n, planned) in self.planned.iter().enumerate() {
            for hop in planned.fields.iter().flat_map(|field| &field.hops) {
                match self.parents.iter_mut().find(|parent| parent.relationship == hop.relationship) {
                    Some(parent) if parent.columns.contains(&n) => {}
                    Some(parent) => parent.columns.push(n),
                    None => self.parents.push(Parent::of(hop, n)),
                }
            }
        }
        let those = |is: fn(&Planned) -> bool| {
            let columns = self.planned.iter().enumerate().filter(|(_, planned)| is(planned));
            columns.map(|(n, _)| n).collect()
        };
        self.calculated = those(|planned| planned.calculated);
        self.rest_only = those(|planned| planned.fields.iter().any(|field| field.compound));
    }
}

impl Parent {
    fn of(hop: &Hop, column: usize) -> Self {
        let object = match hop.objects.as_slice() {
            [only] => only.clone(),
            _ => "Name".to_owned(),
        };
        Self {
            reference: hop.reference.clone(),
            relationship: hop.relationship.clone(),
            object,
            targets: hop.objects.clone(),
            columns: vec![column],
            stamp_path: hop.stamp.clone(),
        }
    }
}
