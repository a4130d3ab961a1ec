//! Results of a Bulk job, read by the same plan.

use tieline_client::bulk::Row;

use super::decoder::{Decoded, Decoder};
use super::reading::Reading;

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
        let (errors, failed) = (into.errors.len(), into.failed);
        let read = self.read(values, into);
        if read.is_err() {
            into.errors.truncate(errors);
            into.failed = failed;
        }
        read.map_err(CsvError::Row)
    }

    fn read<'v>(&self, values: impl Iterator<Item = &'v str>, into: &mut Decoded) -> Result<(), String> {
        let mut reading = Reading::begin(&self.decoder.layout, into);
        for (field, value) in self.fields.iter().zip(values) {
            if let Some(leaf) = field
                && !value.is_empty()
            {
                reading.text(*leaf, value)?;
            }
        }
        reading.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tieline_client::rest::describe::Describe;
    use tieline_store::object_tables::Deletion;

    use super::*;
    use crate::mapping::{Definition, Describes, Plan};

    fn plan() -> Plan {
        let field = |name: &str, kind: &str| json!({"name": name, "type": kind, "filterable": true, "sortable": true});
        let describe: Describe = serde_json::from_value(json!({"name": "Thing__c", "queryable": true, "fields": [
            field("Id", "id"), field("SystemModstamp", "datetime"), field("IsDeleted", "boolean"),
            field("Name", "string"), field("Price__c", "currency"), field("On__c", "boolean"), field("Day__c", "date"),
        ]}))
        .unwrap();
        let describes: Describes = [describe].into_iter().collect();
        Plan::new(&Definition::all_of("things", "Thing__c"), &describes).unwrap()
    }

    const HEADER: [&str; 8] = ["Day__c", "Name", "more", "Id", "IsDeleted", "SystemModstamp", "Price__c", "On__c"];

    #[test]
    fn a_row_is_the_same_as_a_record() {
        let plan = plan();
        let csv = Decoder::new(&plan).csv(&HEADER).unwrap();
        let mut decoded = csv.decoded();
        let rows = [
            [
                "2024-02-29",
                "NA",
                "x",
                "a01000000000001AAA",
                "false",
                "2024-01-02T03:04:05.000Z",
                "1234567890123456.78",
                "true",
            ],
            ["", "", "", "a01000000000002AAA", "true", "2024-01-02T03:04:06.000Z", "", ""],
            ["soon", "NULL", "", "a01000000000003AAA", "false", "2024-01-02T03:04:07.000Z", "1,5", "yes"],
        ];
        for row in rows {
            csv.values(row.into_iter(), &mut decoded).unwrap();
        }
        let shown = |row: usize| {
            let cell = |name: &str| {
                let n = plan.columns.iter().position(|column| column.name == name).unwrap();
                decoded.rows.json(row, n, plan.columns[n].kind)
            };
            json!([cell("name"), cell("price"), cell("on"), cell("day")])
        };
        assert_eq!(shown(0), json!(["NA", "1234567890123456.78", true, "2024-02-29"]));
        assert_eq!(shown(1), json!([null, null, null, null]));
        assert_eq!(shown(2), json!(["NULL", null, null, null]));
        assert_eq!((decoded.failed, decoded.rows.deleted(1)), (3, Some(Deletion::Deleted)));
        assert_eq!(decoded.last.unwrap().id, "a01000000000003AAA");
    }

    #[test]
    fn what_the_plan_needs_must_be_there() {
        let decoder = Decoder::new(&plan());
        let error = decoder.csv(&HEADER[2..]).unwrap_err();
        assert_eq!(error.to_string(), "the results have no column Name, Day__c");
        let csv = decoder.csv(&HEADER).unwrap();
        let mut decoded = csv.decoded();
        for wrong in [
            ["", "a", "", "", "false", "2024-01-02T03:04:05.000Z", "", ""],
            ["", "a", "", "a01", "false", "yesterday", "", ""],
            ["soon", "a", "", "a01", "", "2024-01-02T03:04:05.000Z", "", ""],
        ] {
            assert!(matches!(csv.values(wrong.into_iter(), &mut decoded), Err(CsvError::Row(_))), "{wrong:?}");
        }
        assert!(decoded.rows.is_empty() && decoded.errors.is_empty() && decoded.failed == 0, "nothing of them stays");
    }
}
