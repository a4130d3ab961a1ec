//! One way to speak to either database: values, rows and transactions, and the few words in which the dialects
//! differ.
//!
//! Statements are written once, in the SQL that both know (`$1`, `ON CONFLICT`, `RETURNING`, `->>`). What remains is
//! told apart here and nowhere else: the types of values ([`value`], [`row`]), how a transaction comes to know for
//! whom it works ([`transaction`]), and three forms of words ([`dialect`]).

mod dialect;
mod row;
mod time;
mod transaction;
mod value;

pub(crate) use dialect::for_sqlite;
pub(crate) use row::Row;
pub(crate) use time::PgTime;
pub(crate) use transaction::{Access, Database, Scope, Tx};
pub(crate) use value::Value;
