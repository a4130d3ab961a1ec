//! Where a list has led to so far. An org tells where its next page is, and one that leads in a circle must not be followed
//! for ever.

use std::collections::HashSet;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

/// Paths by their hashes: the pages of a hundred million rows take a few megabytes at most.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    hashes: HashSet<u64>,
    hasher: RandomState,
}

impl Visited {
    /// False if it was asked for this path before.
    pub(crate) fn is_new(&mut self, path: &str) -> bool {
        self.hashes.insert(self.hasher.hash_one(path))
    }
}
