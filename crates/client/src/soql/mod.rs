//! Queries whose values cannot become syntax.
//!
//! Three ways, from the shortest to the one for queries that are put together:
//!
//! ```
//! use tieline_client::soql::{self, field, select};
//!
//! // A value in a text that the program knows.
//! let one = format!("SELECT Id FROM Contact WHERE LastName = {}", soql::text("O'Brien"));
//! // Bind variables, as in Apex.
//! let two = soql::bind("SELECT Id FROM Contact WHERE LastName = :name", [("name", "O'Brien")])?;
//! // Built from parts, every name checked.
//! let three = select(["Id"]).from("Contact").filter(field("LastName").eq("O'Brien")).build()?;
//! assert_eq!(one, two);
//! assert_eq!(two, three);
//! assert_eq!(three, r"SELECT Id FROM Contact WHERE LastName = 'O\'Brien'");
//! # Ok::<(), soql::SoqlError>(())
//! ```

mod bind;
mod resume;
mod select;
mod value;

pub use bind::bind;
pub(crate) use resume::{is_ordered, resume};
pub use select::{Condition, Field, Select, field, select};
pub use value::{Like, Value, datetime, identifier, text};

/// A query that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SoqlError {
    /// A name with characters that names do not have.
    #[error(
        "`{0}` is not a name of an object, a field or a path of them; hint: values belong into values, not into names"
    )]
    Name(String),
    /// A `:variable` without a value, or the other way round.
    #[error("the bind variable `:{0}` {1}")]
    Variable(String, &'static str),
    /// Nothing is selected, or from nowhere.
    #[error("the query selects {0}")]
    Incomplete(&'static str),
    /// A number that SOQL cannot write.
    #[error("`{0}` cannot be written in a query")]
    Number(String),
}
