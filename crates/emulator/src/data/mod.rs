//! Where the org's first records come from: its people and app, generated ones, files.

pub(crate) mod generate;
pub(crate) mod load;
pub(crate) mod people;
