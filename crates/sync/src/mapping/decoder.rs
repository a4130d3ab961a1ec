//! From the org's answers straight into rows.

use std::sync::Arc;

use tieline_store::object_tables::rows::Row;
use tieline_store::object_tables::{ColumnKind, Deletion, Rows};

use super::cell::{self, Cell, Fixed};
use super::chain::{Buffer, Reason};
use super::plan::{Making, Plan, Planned};
use super::template::Piece;

/// Errors of cells that are kept of a batch; the others are only counted.
pub const MOST_ERRORS: usize = 100;
/// Characters of a value that an error keeps: it may be somebody's personal data.
pub const MOST_SHOWN: usize = 40;

/// Reads the records of a plan's query. Cheap to clone.
///
/// As a [`RecordReader`](tieline_client::RecordReader) it reads pages of a query's answer; by [`Decoder::csv`] it reads
/// the results of a Bulk job. Both give the same rows.
#[derive(Debug, Clone)]
pub struct Decoder {
    pub(super) layout: Arc<Layout>,
}

/// What was read.
#[derive(Debug)]
pub struct Decoded {
    /// The rows.
    pub rows: Rows,
    /// The record that was read last.
    pub last: Option<Last>,
    /// Values that have no place in their column, the first [`MOST_ERRORS`] of them.
    pub errors: Vec<CellError>,
    /// How many there were.
    pub failed: u64,
    /// Records that are archived. They are as much there as the others.
    pub archived: u64,
    scratch: Scratch,
}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// Its version, in milliseconds since 1970; none if the object has none.
    pub stamp: Option<i64>,
    /// Its id.
    pub id: String,
}

/// A value that has no place in its column. The row has the column's default there, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CellError {
    /// Id of the record.
    pub record: String,
    /// Name of the column.
    pub column: String,
    /// The value, [`MOST_SHOWN`] characters of it at most.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A plan as it is needed value by value.
#[derive(Debug)]
pub(super) struct Layout {
    /// The selected paths, in their order.
    pub(super) leaves: Vec<Leaf>,
    pub(super) nodes: Vec<Node>,
    columns: Vec<Arc<Planned>>,
    /// What stands in a column until the record says otherwise.
    prefilled: Vec<(usize, Fixed)>,
    /// Columns of several fields, with the number of the leaf for each of them.
    templates: Vec<(usize, Vec<usize>)>,
    stamped: bool,
    stamp_may_be_empty: bool,
    deletable: bool,
}

/// A selected field.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) path: String,
    pub(super) kind: ColumnKind,
    control: Option<Control>,
    /// Columns that it is the value of.
    columns: Vec<usize>,
    /// Kept until the record's end, for columns of several fields.
    kept: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    Id,
    Stamp,
    Deleted,
    Master,
    Archived,
}

/// A record or a parent within it: its keys in the order in which the org is expected to write them.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) children: Vec<(String, Child)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Child {
    Leaf(usize),
    Node(usize),
}

/// What is known of a record while it is read.
#[derive(Debug, Default)]
struct Scratch {
    id: String,
    stamp: Option<i64>,
    deleted: Option<bool>,
    master: String,
    archived: bool,
    /// Values for columns of several fields, by leaf.
    kept: Vec<Option<String>>,
    buffer: Buffer,
}

impl Decoder {
    /// For a plan's query.
    pub fn new(plan: &Plan) -> Self {
        Self { layout: Arc::new(Layout::new(plan)) }
    }

    /// An empty batch.
    pub fn decoded(&self) -> Decoded {
        self.decoded_with(0, 0)
    }

    /// An empty batch with room for so many rows, as far as so many bytes of JSON can hold them.
    pub(super) fn decoded_with(&self, rows: usize, json: usize) -> Decoded {
        let kept = vec![None; self.layout.leaves.len()];
        let width = self.layout.columns.len();
        // A record has a hundred bytes of attributes, and eight at least for a value with its key.
        let rows = rows.min(json / (100 + 8 * width));
        Decoded {
            // About half of a page is values.
            rows: Rows::with_capacity(width, rows, json / 2),
            last: None,
            errors: Vec::new(),
            failed: 0,
            archived: 0,
            scratch: Scratch { kept, ..Scratch::default() },
        }
    }
}

impl Layout {
    fn new(plan: &Plan) -> Self {
        let controls = [
            (Some("Id"), Control::Id, ColumnKind::Text),
            (plan.cursor.as_deref(), Control::Stamp, ColumnKind::DateTime),
            (plan.can_be_deleted.then_some("IsDeleted"), Control::Deleted, ColumnKind::Bool),
            (plan.merges.then_some("MasterRecordId"), Control::Master, ColumnKind::Text),
            (plan.archives.then_some("IsArchived"), Control::Archived, ColumnKind::Bool),
        ];
        let mut leaves: Vec<Leaf> = Vec::with_capacity(plan.select.len());
        for path in &plan.select {
            let control = controls.iter().find(|(name, ..)| *name == Some(path.as_str()));
            let fields = plan.planned.iter().flat_map(|planned| &planned.fields);
            let field = fields.into_iter().find(|field| field.path == *path);
            let kind = field.map(|field| field.kind).or(control.map(|(_, _, kind)| *kind));
            leaves.push(Leaf {
                path: path.clone(),
                kind: kind.unwrap_or(ColumnKind::Text),
                control: control.map(|(_, control, _)| *control),
                columns: Vec::new(),
                kept: false,
            });
        }
        let leaf_of = |path: &str| plan.select.iter().position(|selected| selected == path).unwrap_or_default();
        let (mut prefilled, mut templates) = (Vec::new(), Vec::new());
        for (n, planned) in plan.planned.iter().enumerate() {
            let of: Vec<usize> = planned.fields.iter().map(|field| leaf_of(&field.path)).collect();
            match &planned.making {
                Making::Field => of.iter().for_each(|leaf| leaves[*leaf].columns.push(n)),
                Making::Constant(value) => prefilled.push((n, value.clone())),
                Making::Template(_) => {
                    of.iter().for_each(|leaf| leaves[*leaf].kept = true);
                    templates.push((n, of));
                }
            }
            if let Some(default) = &planned.default {
                prefilled.push((n, default.clone()));
            }
        }
        Self {
            nodes: tree(&plan.select),
            leaves,
            columns: plan.planned.clone(),
            prefilled,
            templates,
            stamped: plan.cursor.is_some(),
            stamp_may_be_empty: plan.cursor_may_be_empty,
            deletable: plan.can_be_deleted,
        }
    }
}

/// The paths as records and parents within them; the first node is the record.
fn tree(paths: &[String]) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    for (leaf, path) in paths.iter().enumerate() {
        let mut names: Vec<&str> = path.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut node = 0;
        for name in names {
            let found = nodes[node].children.iter().find_map(|(known, child)| match child {
                Child::Node(n) if known == name => Some(*n),
                _ => None,
            });
            node = found.unwrap_or_else(|| {
                let new = nodes.len();
                nodes.push(Node::default());
                nodes[node].children.push((name.to_owned(), Child::Node(new)));
                new
            });
        }
        nodes[node].children.push((last.to_owned(), Child::Leaf(leaf)));
    }
    nodes
}

/// A record that is being read into a row.
pub(super) struct Reading<'l, 'b> {
    pub(super) layout: &'l Layout,
    row: Row<'b>,
    scratch: &'b mut Scratch,
    errors: &'b mut Vec<CellError>,
    failed: &'b mut u64,
    archived: &'b mut u64,
    last: &'b mut Option<Last>,
    /// Errors of the records before.
    before: usize,
}

impl<'l, 'b> Reading<'l, 'b> {
    pub(super) fn begin(layout: &'l Layout, batch: &'b mut Decoded) -> Self {
        let Decoded { rows, last, errors, failed, archived, scratch } = batch;
        scratch.id.clear();
        scratch.master.clear();
        scratch.stamp = None;
        scratch.deleted = None;
        scratch.archived = false;
        for (_, leaves) in &layout.templates {
            leaves.iter().for_each(|leaf| scratch.kept[*leaf] = None);
        }
        let mut row = rows.row();
        for (column, value) in &layout.prefilled {
            value.cell().write(&mut row, *column);
        }
        let before = errors.len();
        Self { layout, row, scratch, errors, failed, archived, last, before }
    }

    /// Takes a text, as JSON and CSV have it for a field of any kind.
    pub(super) fn text(&mut self, leaf: usize, text: &str) -> Result<(), String> {
        let kind = self.layout.leaves[leaf].kind;
        match cell::read(kind, text) {
            Ok(cell) => self.value(leaf, cell),
            Err(reason) => self.refuse(leaf, text, reason),
        }
    }

    /// Takes a value that is what its field is.
    pub(super) fn value(&mut self, leaf: usize, value: Cell<'_>) -> Result<(), String> {
        let layout = self.layout;
        let at = &layout.leaves[leaf];
        if let Some(control) = at.control {
            self.control(control, value);
        }
        for column in &at.columns {
            let planned = &layout.columns[*column];
            if planned.chain.plain {
                value.write(&mut self.row, *column);
            } else {
                self.chained(*column, planned, value);
            }
        }
        if at.kept {
            let mut text = String::new();
            value.append(&mut text);
            self.scratch.kept[leaf] = Some(text);
        }
        Ok(())
    }

    fn control(&mut self, control: Control, value: Cell<'_>) {
        match (control, value) {
            (Control::Id, Cell::Text(id)) => self.scratch.id.push_str(id),
            (Control::Master, Cell::Text(id)) => self.scratch.master.push_str(id),
            (Control::Stamp, Cell::DateTime(at)) => self.scratch.stamp = Some(at),
            (Control::Deleted, Cell::Bool(is)) => self.scratch.deleted = Some(is),
            (Control::Archived, Cell::Bool(is)) => self.scratch.archived = is,
            // A leaf's value is of its kind.
            _ => {}
        }
    }

    fn chained(&mut self, column: usize, planned: &Planned, value: Cell<'_>) {
        match planned.chain.run(value, &mut self.scratch.buffer) {
            Ok(Some(cell)) => cell.write(&mut self.row, column),
            Ok(None) => {}
            Err(reason) => {
                let mut shown = String::new();
                value.append(&mut shown);
                self.error(column, &shown, reason);
            }
        }
    }

    /// Takes note of a value that is not what its field is. What the record cannot be without is an error.
    pub(super) fn refuse(&mut self, leaf: usize, shown: &str, reason: &'static str) -> Result<(), String> {
        let layout = self.layout;
        let at = &layout.leaves[leaf];
        if matches!(at.control, Some(Control::Id | Control::Stamp | Control::Deleted)) {
            let id = &self.scratch.id;
            return Err(format!("the {} `{}` of record `{id}` cannot be read: {reason}", at.path, short(shown)));
        }
        for column in &at.columns {
            self.error(*column, shown, reason.into());
        }
        for (column, leaves) in &layout.templates {
            if leaves.contains(&leaf) {
                self.error(*column, shown, reason.into());
            }
        }
        Ok(())
    }

    fn error(&mut self, column: usize, shown: &str, reason: Reason) {
        *self.failed += 1;
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(CellError {
                record: String::new(),
                column: self.layout.columns[column].column.name.clone(),
                value: short(shown),
                reason: reason.into_owned(),
            });
        }
    }

    /// Ends the row.
    ///
    /// # Errors
    /// A record without an id, without a stamp where it has to have one, or of which it is not said whether it is
    /// deleted.
    pub(super) fn end(mut self) -> Result<(), String> {
        let layout = self.layout;
        let missing = |what: &str, id: &str| Err(format!("the record `{id}` has no {what}"));
        if self.scratch.id.is_empty() {
            return Err("a record has no Id".to_owned());
        }
        if layout.stamped && self.scratch.stamp.is_none() && !layout.stamp_may_be_empty {
            return missing("stamp", &self.scratch.id);
        }
        if layout.deletable && self.scratch.deleted.is_none() {
            return missing("IsDeleted", &self.scratch.id);
        }
        self.templates();
        let Self { row, scratch, errors, archived, last, before, .. } = self;
        for error in &mut errors[before..] {
            error.record.clone_from(&scratch.id);
        }
        *archived += u64::from(scratch.archived);
        let master = Some(scratch.master.as_str()).filter(|master| !master.is_empty());
        let deletion = match (scratch.deleted, master) {
            (Some(true), Some(_)) => Some(Deletion::Merged),
            (Some(true), None) => Some(Deletion::Deleted),
            _ => None,
        };
        row.end(&scratch.id, scratch.stamp, deletion, master.filter(|_| deletion.is_some()));
        let last = last.get_or_insert_with(|| Last { stamp: None, id: String::with_capacity(18) });
        last.stamp = scratch.stamp;
        last.id.clone_from(&scratch.id);
        Ok(())
    }

    fn templates(&mut self) {
        let layout = self.layout;
        for (column, leaves) in &layout.templates {
            let planned = &layout.columns[*column];
            let Making::Template(pieces) = &planned.making else { continue };
            if leaves.iter().all(|leaf| self.scratch.kept[*leaf].is_none()) {
                continue;
            }
            let (mut text, mut fields) = (String::new(), leaves.iter());
            for piece in pieces {
                match piece {
                    Piece::Text(piece) => text.push_str(piece),
                    Piece::Field(_) => {
                        let value = fields.next().and_then(|leaf| self.scratch.kept[*leaf].as_deref());
                        text.push_str(value.unwrap_or_default());
                    }
                }
            }
            self.chained(*column, planned, Cell::Text(&text));
        }
    }
}

/// What an error keeps of a value.
fn short(value: &str) -> String {
    if value.chars().count() <= MOST_SHOWN {
        return value.to_owned();
    }
    value.chars().take(MOST_SHOWN - 1).chain(['…']).collect()
}
