//! The engine of mappings, on both databases, against an org whose clock the test sets.

mod cursor;
pub(crate) mod world;
