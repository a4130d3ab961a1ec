//! The engine of mappings, on both databases, against an org whose clock the test sets.

mod cursor;
mod transport;
mod world;
