//! The engine of mappings, on both databases, against an org whose clock the test sets.

mod change;
mod clocks;
mod contacts;
mod cursor;
mod deletes;
mod drift;
mod erased;
mod found;
mod objects;
mod parents;
mod samples;
mod schema;
mod transport;
mod wire;
pub(crate) mod world;
