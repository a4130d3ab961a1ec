//! What all lists of the API have in common: a limit, and a cursor.

use std::str::FromStr;

use serde::Deserialize;
use utoipa::IntoParams;

use crate::problem::Problem;

/// Entries of one page, unless told otherwise, and at most.
const DEFAULT: u32 = 50;
const MOST: u32 = 200;

/// Where a page begins, and how long it is.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Place {
    /// `next` of the page before; left out for the first page.
    #[param(max_length = 200)]
    pub(crate) cursor: Option<String>,
    /// Entries of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub(crate) limit: Option<u32>,
}

impl Place {
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT);
        if (1..=MOST).contains(&limit) {
            return Ok(limit);
        }
        Err(Problem::invalid(
            format!("limit is {limit}, and a page has from 1 to {MOST} entries"),
            "ask for the next page",
        ))
    }

    pub(crate) fn cursor<C: FromStr>(&self) -> Result<Option<C>, Problem> {
        let Some(text) = &self.cursor else { return Ok(None) };
        if text.len() > 200 {
            return Err(bad_cursor());
        }
        text.parse().map(Some).map_err(|_| bad_cursor())
    }
}

pub(crate) fn bad_cursor() -> Problem {
    Problem::invalid(
        "cursor is none of ours",
        "give the `next` of the page before as it is, or none for the first page",
    )
}
