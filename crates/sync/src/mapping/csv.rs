//! Results of a Bulk job, read by the same plan.

use tieline_client::bulk::Row;

use super::decoder::{Decoded, Decoder, Reading};

/// Reads rows whose columns come in the order of one header.
#[derive(Debug, Clone)]
pub struct CsvDecoder {
    decoder: Decoder,
    /// Which field each column of the text is; none: nobody asked for it.
    fields: Vec<Option<usize>>,
}

/// The results are not those of the plan's query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Columns that the plan needs are not there.
    #[error("the results have no column {}", .0.join(", "))]
    Missing(Vec<String>),
    /// A row that is no record.
    #[error("a row of the results cannot be read: {0}")]
    Row(String),
}

impl CsvError {
    /// The next act.
    pub fn hint(&self) -> &'static str {
        "the job was made by another query than this mapping's: make a new one"
    }
}

impl Decoder {
    /// For results with this header; the columns may come in any order.
    ///
    /// # Errors
    /// [`CsvError::Missing`].
    pub fn csv(&self, header: &[&str]) -> Result<CsvDecoder, CsvError> {
        let leaves = &self.layout.leaves;
        let of = |name: &&str| leaves.iter().position(|leaf| leaf.path.eq_ignore_ascii_case(name));
        let fields: Vec<Option<usize>> = header.iter().map(of).collect();
        let missing = |(n, _): &(usize, _)| !fields.contains(&Some(*n));
        let missing: Vec<String> =
            leaves.iter().enumerate().filter(missing).map(|(_, leaf)| leaf.path.clone()).collect();
        if missing.is_empty() {
            Ok(CsvDecoder { decoder: self.clone(), fields })
        } else {
            Err(CsvError::Missing(missing))
        }
    }
}

impl CsvDecoder {
    /// An empty batch.
    pub fn decoded(&self) -> Decoded {
        self.decoder.decoded()
    }

    /// Reads a row; an empty value is none.
    ///
    /// # Errors
    /// [`CsvError::Row`] for a row without an id, or whose stamp cannot be read. Nothing of it is in the batch.
    pub fn row(&self, row: Row<'_>, into: &mut Decoded) -> Result<(), CsvError> {
        self.values(row.values(), into)
    }

    fn values<'v>(&self, values: impl Iterator<Item = &'v str>, into: &mut Decoded) -> Result<(), CsvError> {
        let mut reading = Reading::begin(&self.decoder.layout, into);
        for (field, value) in self.fields.iter().zip(values) {
            if let Some(leaf) = field
                && !value.is_empty()
            {
                reading.text(*leaf, value).map_err(CsvError::Row)?;
            }
        }
        reading.end().map_err(CsvError::Row)
    }
}
