//! The sentences, one file per area.
//!
//! Their sources are sections of our notes on the wire, with how each was learnt.

mod apex;
mod bulk_ingest;
mod bulk_query;
mod changes;
mod collections;
mod composite;
mod describes;
mod errors;
mod limits;
mod locators;
mod logins;
mod logins_jwt;
mod metadata;
mod queries;
mod queries_refused;
mod records;
mod records_refused;
mod search;
mod tokens;
mod tooling;
mod upserts;

use crate::expectation::{Evidence, Expectation};

/// Every expectation, in the order in which they are tried.
pub(crate) fn all() -> Vec<Expectation> {
    [
        logins::all(),
        logins_jwt::all(),
        tokens::all(),
        errors::all(),
        limits::all(),
        queries::all(),
        queries_refused::all(),
        locators::all(),
        describes::all(),
        records::all(),
        records_refused::all(),
        upserts::all(),
        collections::all(),
        composite::all(),
        search::all(),
        changes::all(),
        bulk_ingest::all(),
        bulk_query::all(),
        metadata::all(),
        apex::all(),
        tooling::all(),
    ]
    .concat()
}

/// Where an expectation comes from.
type Source = (&'static str, Evidence);

const fn recorded(section: &'static str) -> Source {
    (section, Evidence::Recorded)
}

const fn observed(section: &'static str) -> Source {
    (section, Evidence::Observed)
}

const fn documented(section: &'static str) -> Source {
    (section, Evidence::Documented)
}

const fn source(section: &'static str) -> Source {
    (section, Evidence::Source)
}

const fn reported(section: &'static str) -> Source {
    (section, Evidence::Reported)
}

const fn memory(section: &'static str) -> Source {
    (section, Evidence::Memory)
}

const fn unverified(section: &'static str) -> Source {
    (section, Evidence::Unverified)
}
