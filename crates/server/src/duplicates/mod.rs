//! Duplicates among the contacts and leads of a business: how they are found, shown, and made one.
//!
//! The store finds and decides (`tieline_store::duplicates`). Here is the API: `pairs`, `rules`; and `passes`, which have
//! it look.

pub(crate) mod pairs;
pub(crate) mod passes;
pub(crate) mod rules;
