//! Runs against the local org, one file per family of traps. The numbers (T1, T2, …) are those of the list of
//! correctness traps that the design names.

mod commits;
mod contact_pages;
mod deletes;
mod importing;
mod moving;
mod ties;
mod working;
mod world;
