//! The engine of mappings, on both databases, against an org whose clock the test sets.

mod cursor;
mod transport;
mod deletes;
mod drift;
mod objects;
mod parents;
mod schema;
pub(crate) mod world;
