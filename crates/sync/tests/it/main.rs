//! Runs against the local org, one file per family of traps. The numbers (T1, T2, …) are those of the list of
//! correctness traps that the design names.

mod commits;
mod contact_pages;
mod decoding;
mod decoding_cost;
mod deletes;
mod importing;
mod mapping_docs;
mod moving;
mod planning;
mod previewing;
mod recorded;
mod ties;
mod transforming;
mod world;
