//! A record on its way into a row, value by value.

use tieline_store::object_tables::Deletion;
use tieline_store::object_tables::rows::Row;

use super::cell::{self, Cell};
use super::chain::{Buffer, Reason};
use super::decoder::{CellError, Decoded, Last, MOST_ERRORS, MOST_SHOWN};
use super::layout::{Control, Layout};
use super::plan::{Making, Planned};
use super::template::Piece;

/// What is known of a record while it is read.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    id: String,
    stamp: Option<i64>,
    deleted: Option<bool>,
    master: String,
    archived: bool,
    /// Values for columns of several fields, by leaf.
    kept: Vec<Option<String>>,
    buffer: Buffer,
}

impl Scratch {
    pub(super) fn new(leaves: usize) -> Self {
        Self { kept: vec![None; leaves], ..Self::default() }
    }
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
