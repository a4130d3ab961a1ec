//! Mappings: what of an object goes into which column.
//!
//! A [`Definition`] is what somebody writes, in TOML or JSON. Held against the org's describes it becomes a [`Plan`]:
//! what is selected, which columns the table has, by which field changes are found, and which parents' changes matter.
//! A [`Decoder`] reads what the org answers to that straight into [`Rows`](tieline_store::object_tables::Rows).
//!
//! ```
//! use tieline_sync::mapping::Definition;
//!
//! let definition = Definition::from_toml(
//!     r#"
//!     name = "people"
//!     object = "Contact"
//!     columns = ["LastName", "Account.Name", { field = "Email", transforms = ["trim", "lower"] }]
//!     "#,
//! )?;
//! assert_eq!((definition.table(), definition.columns.len()), ("people", 3));
//! # Ok::<(), tieline_sync::mapping::MappingError>(())
//! ```
//!
//! A value that has no place in its column never loses the row: the cell is empty or has its default, and a
//! [`CellError`] says so.
//!
//! Reading order: `definition`, `column`, `transform`, `template`, `schedule` (what is written), `form` (from TOML and
//! JSON), `built_in` (the mapping of contacts), `describes` and `resolve` (what the org has), `naming`, `compile` and `plan` (what follows), `cell`, `chain`,
//! `steps`, `phone` and `moment` (values), `decoder`, `layout`, `reading`, `json` and `csv` (records), `preview`, `check`.

mod built_in;
mod cell;
mod chain;
mod check;
mod column;
mod compile;
mod csv;
mod decoder;
mod definition;
mod describes;
mod error;
mod form;
mod json;
mod layout;
mod moment;
mod naming;
mod nearest;
mod phone;
mod plan;
mod preview;
mod reading;
mod resolve;
mod schedule;
mod steps;
mod template;
mod transform;

pub(crate) use check::plan_of;
pub use check::{Checked, check};
pub use column::{ColumnDefinition, Source};
pub use csv::{CsvDecoder, CsvError};
pub use decoder::{CellError, Decoded, Decoder, Last, MOST_ERRORS, MOST_SHOWN};
pub use definition::{Definition, Method};
pub use describes::Describes;
pub use error::{Flaw, MappingError};
pub use form::json_of_toml;
pub use plan::{Parent, Plan};
pub use preview::{MOST_PREVIEWED, Preview, PreviewCell, PreviewRow, preview};
pub use schedule::Schedule;
pub use transform::{Marks, Otherwise, Transform};
