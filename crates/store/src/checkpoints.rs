//! How far an object has been read.
//!
//! A *scan* walks the object in the order (SystemModstamp, Id). While it is under way its position is kept, so
//! that a run which was killed goes on there. When it ends, `through` moves to what was fixed at its start: the
//! org's time then, less the lag.

use jiff::Timestamp;

/// A place in the order (SystemModstamp, Id).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// SystemModstamp.
    pub stamp: Timestamp,
    /// Id of the record (18 characters, which sort by byte); empty: before all records of that second.
    pub id: String,
}

/// An object's progress.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Everything stamped before this has been seen.
    pub through: Option<Timestamp>,
    /// The scan under way: where it stands, and what `through` becomes at its end.
    pub scan: Option<(Position, Timestamp)>,
}
