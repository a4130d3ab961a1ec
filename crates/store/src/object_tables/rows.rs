//! Rows on their way into a table: cells side by side, all texts in one piece of memory.

use std::collections::HashSet;
use std::ops::Range;

/// How a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deletion {
    /// Into the recycle bin, from which it may come back.
    Deleted,
    /// Into another record, which took over what belonged to it.
    Merged,
    /// Out of the recycle bin, or past it.
    Erased,
    /// Out of the user's sight: whether it is still there, nobody can say.
    Hidden,
}

impl Deletion {
    /// Its name in the database and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Deletion::Deleted => "deleted",
            Deletion::Merged => "merged",
            Deletion::Erased => "erased",
            Deletion::Hidden => "hidden",
        }
    }

    /// The one of that name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Deleted, Self::Merged, Self::Erased, Self::Hidden].into_iter().find(|deletion| deletion.name() == name)
    }
}

/// A cell. What it means is said by its column's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell {
    Null,
    /// A text, a number as decimal text, or JSON: where it stands.
    Text(usize, usize),
    /// A number; days or milliseconds since 1970; milliseconds since midnight.
    Int(i64),
    Bool(bool),
}

#[derive(Debug, Clone)]
pub(super) struct Record {
    id: Range<usize>,
    /// Milliseconds since 1970.
    pub(super) stamp: Option<i64>,
    pub(super) deleted: Option<Deletion>,
    master: Option<Range<usize>>,
}

/// A batch of rows of one width.
///
/// ```
/// use tieline_store::object_tables::Rows;
///
/// let mut rows = Rows::new(2);
/// let mut row = rows.row();
/// row.text(0, "Ada");
/// row.int(1, 36);
/// row.end("003000000000001AAA", Some(1_704_164_645_000), None, None);
/// assert_eq!((rows.len(), rows.id(0)), (1, "003000000000001AAA"));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Rows {
    width: usize,
    cells: Vec<Cell>,
    text: String,
    records: Vec<Record>,
}

impl Rows {
    /// No rows yet, of so many columns.
    pub fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// The same, with room for so many rows with so many bytes of text in all.
    pub fn with_capacity(width: usize, rows: usize, text: usize) -> Self {
        Self {
            width,
            cells: Vec::with_capacity(width * rows),
            text: String::with_capacity(text),
            records: Vec::with_capacity(rows),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Columns of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// About how much memory they take, in bytes.
    pub fn size(&self) -> usize {
        self.text.len() + self.cells.len() * size_of::<Cell>() + self.records.len() * size_of::<Record>()
    }

    /// Begins a row, all of whose cells are null. One that is dropped before its end leaves nothing behind.
    pub fn row(&mut self) -> Row<'_> {
        let (cells, text) = (self.cells.len(), self.text.len());
        self.cells.resize(cells + self.width, Cell::Null);
        Row { rows: self, cells, text, ended: false }
    }

    /// The record's id.
    pub fn id(&self, row: usize) -> &str {
        &self.text[self.records[row].id.clone()]
    }

    /// The record's version, in milliseconds since 1970.
    pub fn stamp(&self, row: usize) -> Option<i64> {
        self.records[row].stamp
    }

    /// How the record went; none if it is there.
    pub fn deleted(&self, row: usize) -> Option<Deletion> {
        self.records[row].deleted
    }

    /// A cell as text, if it is one: for previews and match rules.
    pub fn text(&self, row: usize, column: usize) -> Option<&str> {
        match self.cell(row, column) {
            Cell::Text(start, end) => Some(&self.text[start..end]),
            _ => None,
        }
    }

    /// All rows of another batch behind these.
    pub fn append(&mut self, other: &Rows) {
        debug_assert_eq!(self.width, other.width, "rows of one width");
        let moved = self.text.len();
        self.text.push_str(&other.text);
        self.cells.extend(other.cells.iter().map(|cell| match *cell {
            Cell::Text(start, end) => Cell::Text(start + moved, end + moved),
            other => other,
        }));
        let range = |range: &Range<usize>| range.start + moved..range.end + moved;
        self.records.extend(other.records.iter().map(|record| Record {
            id: range(&record.id),
            master: record.master.as_ref().map(range),
            ..record.clone()
        }));
    }

    /// Takes rows out, by their ids.
    pub(crate) fn take_out(&mut self, ids: &HashSet<String>) {
        let kept: Vec<usize> = (0..self.len()).filter(|row| !ids.contains(self.id(*row))).collect();
        let cells = kept.iter().flat_map(|row| self.cells[row * self.width..(row + 1) * self.width].to_vec()).collect();
        self.records = kept.iter().map(|row| self.records[*row].clone()).collect();
        self.cells = cells;
    }

    /// Forgets all rows; the memory stays for the next ones.
    pub fn clear(&mut self) {
        self.cells.clear();
        self.text.clear();
        self.records.clear();
    }

    /// How much of it is texts, in bytes.
    pub(super) fn text_size(&self) -> usize {
        self.text.len()
    }

    pub(super) fn cell(&self, row: usize, column: usize) -> Cell {
        self.cells[row * self.width + column]
    }

    pub(super) fn slice(&self, start: usize, end: usize) -> &str {
        &self.text[start..end]
    }

    /// The record into which this one went.
    pub fn master(&self, row: usize) -> Option<&str> {
        self.records[row].master.clone().map(|range| &self.text[range])
    }

    /// The rows to write, each record once: a source without order may give two versions of one record, of which the
    /// newer counts, and of two equal ones the later. In the order of their ids, as the trees of both databases have them:
    /// neighbours go into one page, where the order of stamps goes to another for each row.
    pub(super) fn each_once(&self) -> Vec<usize> {
        // Sixteen bytes compare as one number; ids of an org have two more.
        let key = |row: usize| {
            let (mut head, id) = ([0; 16], self.id(row).as_bytes());
            let length = id.len().min(16);
            head[..length].copy_from_slice(&id[..length]);
            u128::from_be_bytes(head)
        };
        let mut rows: Vec<(u128, usize)> = (0..self.len()).map(|row| (key(row), row)).collect();
        let rest = |row: usize| (self.id(row), self.records[row].stamp, row);
        rows.sort_unstable_by(|(a, one), (b, other)| a.cmp(b).then_with(|| rest(*one).cmp(&rest(*other))));
        rows.dedup_by(|(_, later), (_, kept)| {
            let same = self.id(*later) == self.id(*kept);
            if same {
                *kept = *later;
            }
            same
        });
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// A row that is being written.
#[derive(Debug)]
pub struct Row<'r> {
    rows: &'r mut Rows,
    cells: usize,
    text: usize,
    ended: bool,
}

impl Row<'_> {
    fn put(&mut self, text: &str) -> Range<usize> {
        let start = self.rows.text.len();
        self.rows.text.push_str(text);
        start..self.rows.text.len()
    }

    /// A text, a number in decimal digits, or JSON, as the column's kind has it.
    pub fn text(&mut self, column: usize, text: &str) {
        let Range { start, end } = self.put(text);
        self.rows.cells[self.cells + column] = Cell::Text(start, end);
    }

    /// A whole number; a date in days since 1970, a moment in milliseconds since 1970, a time of day in milliseconds.
    pub fn int(&mut self, column: usize, number: i64) {
        self.rows.cells[self.cells + column] = Cell::Int(number);
    }

    /// A truth value.
    pub fn bool(&mut self, column: usize, truth: bool) {
        self.rows.cells[self.cells + column] = Cell::Bool(truth);
    }

    /// A cell of another batch.
    pub fn copy(&mut self, column: usize, from: &Rows, row: usize, from_column: usize) {
        match from.cell(row, from_column) {
            Cell::Text(start, end) => self.text(column, from.slice(start, end)),
            other => self.rows.cells[self.cells + column] = other,
        }
    }

    /// Nothing, where something stood.
    pub fn null(&mut self, column: usize) {
        self.rows.cells[self.cells + column] = Cell::Null;
    }

    /// The record that it is of: its id, its version in milliseconds since 1970, how it went, and into which record.
    pub fn end(mut self, id: &str, stamp: Option<i64>, deleted: Option<Deletion>, master: Option<&str>) {
        let id = self.put(id);
        let master = master.map(|master| self.put(master));
        self.rows.records.push(Record { id, stamp, deleted, master });
        self.ended = true;
    }
}

impl Drop for Row<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.rows.cells.truncate(self.cells);
            self.rows.text.truncate(self.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(rows: &mut Rows, id: &str, stamp: i64, text: &str) {
        let mut row = rows.row();
        row.text(0, text);
        row.end(id, Some(stamp), None, None);
    }

    #[test]
    fn a_row_that_is_given_up_leaves_nothing_behind() {
        let mut rows = Rows::new(1);
        one(&mut rows, "a", 1, "first");
        rows.row().text(0, "given up");
        one(&mut rows, "b", 2, "second");
        assert_eq!((rows.len(), rows.text(0, 0), rows.text(1, 0)), (2, Some("first"), Some("second")));
        assert!(!rows.text.contains("given up"));
    }

    #[test]
    fn a_record_that_comes_twice_is_written_in_its_newer_version() {
        let mut rows = Rows::new(1);
        one(&mut rows, "a", 2, "newer");
        one(&mut rows, "b", 1, "first");
        one(&mut rows, "a", 1, "older");
        one(&mut rows, "b", 1, "again");
        let texts: Vec<_> = rows.each_once().into_iter().map(|row| rows.text(row, 0).unwrap()).collect();
        assert_eq!(texts, ["newer", "again"]);
    }

    #[test]
    fn rows_of_two_pages_become_one_batch() {
        let (mut first, mut second) = (Rows::new(1), Rows::new(1));
        one(&mut first, "a", 1, "x");
        let mut row = second.row();
        row.text(0, "y");
        row.end("b", None, Some(Deletion::Merged), Some("a"));
        let mut two = second.clone();
        two.append(&first);
        two.take_out(&HashSet::from(["b".to_owned()]));
        assert_eq!((two.len(), two.id(0), two.text(0, 0)), (1, "a", Some("x")));
        first.append(&second);
        assert_eq!((first.id(1), first.text(1, 0), first.master(1)), ("b", Some("y"), Some("a")));
        first.clear();
        assert!(first.is_empty() && first.size() == 0);
    }
}
