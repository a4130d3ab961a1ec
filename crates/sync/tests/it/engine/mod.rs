//! The engine of mappings, on both databases, against an org whose clock the test sets.

mod change;
mod cursor;
mod deletes;
mod drift;
mod objects;
mod parents;
mod schema;
mod transport;
pub(crate) mod world;
