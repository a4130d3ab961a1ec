//! SOSL. What is found depends on an index that lags behind, so only forms are looked at.

use super::{documented, recorded};
use crate::case::encoded;
use crate::expectation::{Area, Check, Expectation, that};

fn on(name: &'static str, source: super::Source, check: Check) -> Expectation {
    Expectation::new(Area::Search, name, source, check)
}

pub(super) fn all() -> Vec<Expectation> {
    vec![
        on("a search answers searchRecords", recorded("3.9"), |case| {
            Box::pin(async move {
                let sosl = "FIND {tielinecontract} IN NAME FIELDS RETURNING Account(Id)";
                let found = case.get(&format!("search?q={}", encoded(sosl))).await?.is(200)?.json()?;
                that(found["searchRecords"].is_array(), "searchRecords: []", &found)?;
                Ok("searchRecords".to_owned())
            })
        }),
        on("a search without a term in braces is MALFORMED_SEARCH", recorded("3.1"), |case| {
            Box::pin(async move {
                let answer = case.get("search?q=FIND+tieline").await?.refused(400, "MALFORMED_SEARCH")?;
                let words = "No search term found. The search term must be enclosed in braces.";
                answer.mentions(words).done()
            })
        }),
        on("a search by parameters answers searchRecords too", documented("3.9"), |case| {
            Box::pin(async move {
                let path = "parameterizedSearch?q=tielinecontract&sobject=Account&Account.fields=Id";
                let found = case.get(path).await?.is(200)?.json()?;
                that(found["searchRecords"].is_array(), "searchRecords: []", &found)?;
                Ok("searchRecords".to_owned())
            })
        }),
    ]
}
