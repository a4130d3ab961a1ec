//! What a query says: where to begin, which records, which columns.

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use jiff::Timestamp;
use tieline_store::Uuid;
use tieline_store::object_tables::Column;
use tieline_store::records::{
    Deleted, Filter, Operator, Place, RecordCursor, RecordQuery, RecordSource, Start, chosen, nearest,
};
use utoipa::IntoParams;

use super::unprocessable;
use crate::lists::bad_cursor;
use crate::problem::Problem;

/// Records of a page, unless told otherwise, and at most.
const DEFAULT: u32 = 100;
const MOST: u32 = 1_000;
/// Filters of one query.
const MOST_FILTERS: usize = 20;
/// Longest cursor, in characters: ids of 400 bytes.
const LONGEST_CURSOR: usize = 1_000;

/// Names of parameters that are no filters.
const NAMES: [&str; 7] = ["cursor", "changed_since", "order", "deleted", "fields", "limit", "integration"];

/// Which records.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// `next_cursor` of an answer before, to go on behind it.
    #[param(max_length = 1000)]
    cursor: Option<String>,
    /// In the order of changes: a `next_cursor` of an answer before, or a time from which on a record was written here.
    #[param(max_length = 1000, example = "2026-06-01T12:00:00Z")]
    changed_since: Option<String>,
    /// `id` (unless told otherwise), or `change`: all records in the order of their last changes. A cursor keeps the order that
    /// it was given in.
    #[param(pattern = "^(id|change)$")]
    order: Option<String>,
    /// Records that have gone in the org: `exclude` (by id, unless told otherwise), `include` (by change, unless told
    /// otherwise), `only`.
    #[param(pattern = "^(exclude|include|only)$")]
    deleted: Option<String>,
    /// The columns to answer with, parted by commas; all of them, unless told otherwise.
    fields: Option<String>,
    /// Records of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Conditions that all hold, each as `operator.column=value`: `eq`, `ne`, `gt`, `gte`, `lt`, `lte`, `in` (values parted by
    /// commas), `prefix`, `null` (`true` or `false`). The columns are the mapping's, and `id`, `_stamp`, `_deleted`,
    /// `_master_id` and `_synced_at`.
    #[param(style = Form, explode = true, value_type = BTreeMap<String, String>)]
    filter: Vec<(String, String)>,
    /// Of `/api/contacts` alone.
    #[param(ignore)]
    integration: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(parts.uri.query().unwrap_or_default())
    }
}

impl Wanted {
    fn read(query: &str) -> Result<Self, Problem> {
        let mut wanted = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "cursor" => &mut wanted.cursor,
                "changed_since" => &mut wanted.changed_since,
                "order" => &mut wanted.order,
                "deleted" => &mut wanted.deleted,
                "fields" => &mut wanted.fields,
                "integration" => &mut wanted.integration,
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=MOST).contains(limit));
                    let limit = limit.ok_or_else(|| {
                        let detail = format!("limit is no number from 1 to {MOST}");
                        Problem::invalid(detail, "ask for the next page")
                    })?;
                    if wanted.limit.replace(limit).is_some() {
                        return Err(twice("limit"));
                    }
                    continue;
                }
                _ => {
                    wanted.filter.push((name.into_owned(), value.into_owned()));
                    continue;
                }
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(twice(&name));
            }
        }
        if wanted.filter.len() > MOST_FILTERS {
            let detail = format!("there are {} filters", wanted.filter.len());
            return Err(Problem::invalid(detail, format!("there may be {MOST_FILTERS}")));
        }
        // What is no filter is checked before there is a source to look at.
        wanted.order()?;
        wanted.deleted(false)?;
        Ok(wanted)
    }

    /// The same, where there is no integration to be named.
    pub(super) fn without_integration(self) -> Result<Self, Problem> {
        if self.integration.is_some() { Err(unknown("integration")) } else { Ok(self) }
    }

    /// The integration that is named.
    pub(super) fn integration(&self) -> Result<Option<Uuid>, Problem> {
        let id = self.integration.as_deref().map(Uuid::parse_str).transpose();
        id.map_err(|_| Problem::invalid("integration is no id", "ids are UUIDs"))
    }

    /// True: by change.
    fn order(&self) -> Result<bool, Problem> {
        match self.order.as_deref() {
            None | Some("id") => Ok(false),
            Some("change") => Ok(true),
            Some(_) => Err(Problem::invalid("there is no such order", "one of id, change")),
        }
    }

    fn deleted(&self, by_change: bool) -> Result<Deleted, Problem> {
        match self.deleted.as_deref() {
            None if by_change => Ok(Deleted::Include),
            None | Some("exclude") => Ok(Deleted::Exclude),
            Some("include") => Ok(Deleted::Include),
            Some("only") => Ok(Deleted::Only),
            Some(_) => Err(Problem::invalid("`deleted` is none of its values", "one of exclude, include, only")),
        }
    }

    fn start(&self, source: Uuid) -> Result<Start, Problem> {
        let read = |text: &str| place(text, source);
        match (&self.cursor, &self.changed_since) {
            (Some(_), Some(_)) => {
                Err(Problem::invalid("there are both `cursor` and `changed_since`", "to go on, send `cursor` alone"))
            }
            (Some(cursor), None) => read(cursor).map(Start::After),
            (None, Some(since)) => {
                if self.order.as_deref() == Some("id") {
                    let hint = "leave `order` out";
                    return Err(Problem::invalid("`changed_since` is in the order of changes", hint));
                }
                match since.parse::<Timestamp>() {
                    Ok(time) => Ok(Start::Since(time)),
                    Err(_) => read(since).map(Start::After).map_err(|_| {
                        let detail = "changed_since is neither a time nor a cursor of this";
                        Problem::invalid(
                            detail,
                            "send 2026-06-01T12:00:00Z, or the `next_cursor` of an answer as it is",
                        )
                    }),
                }
            }
            (None, None) if self.order()? => Ok(Start::Changes),
            (None, None) => Ok(Start::Ids),
        }
    }

    /// The columns to answer with.
    pub(super) fn fields<'s>(&self, source: &'s RecordSource) -> Result<Vec<&'s Column>, Problem> {
        match self.fields.as_deref() {
            None => Ok(source.columns().iter().collect()),
            Some("") => Ok(Vec::new()),
            Some(names) => {
                let names: Vec<&str> = names.split(',').map(str::trim).collect();
                chosen(source, &names).map_err(|e| unprocessable(&e))
            }
        }
    }

    pub(super) fn filters(&self, source: &RecordSource) -> Result<Vec<Filter>, Problem> {
        let filter = |(name, value): &(String, String)| match name.split_once('.') {
            Some((operator, column)) => Filter::new(source, operator, column, value).map_err(|e| unprocessable(&e)),
            None => Err(unknown(name)),
        };
        self.filter.iter().map(filter).collect()
    }

    pub(super) fn query<'q>(
        &self,
        source: Uuid,
        filters: &'q [Filter],
        fields: &'q [&'q Column],
    ) -> Result<RecordQuery<'q>, Problem> {
        let start = self.start(source)?;
        let by_change = !matches!(start, Start::Ids | Start::After(Place::Id { .. }));
        let deleted = self.deleted(by_change)?;
        Ok(RecordQuery { start, filters, fields, deleted, limit: self.limit.unwrap_or(DEFAULT) })
    }
}

/// The place that a cursor of this source names.
pub(super) fn place(text: &str, source: Uuid) -> Result<Place, Problem> {
    let read = || (text.len() <= LONGEST_CURSOR).then(|| text.parse::<RecordCursor>().ok())?;
    read().and_then(|cursor| cursor.place_in(source).cloned()).ok_or_else(bad_cursor)
}

fn twice(name: &str) -> Problem {
    Problem::invalid(format!("`{name}` is there twice"), "send it once")
}

/// 422, as for a column that there is not: a slip of the hand is not to answer with everything.
fn unknown(name: &str) -> Problem {
    let name: String = name.chars().take(100).collect();
    let nearest = nearest(&name, NAMES.into_iter().chain(Operator::ALL.into_iter().map(Operator::name)));
    let hint = format!("did you mean `{}`? A filter is `operator.column=value`", nearest.unwrap_or_default());
    let detail = format!("there is no parameter `{name}`");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_filter", detail, hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str) -> (u16, String) {
        let source = RecordSource::contacts(Uuid::nil());
        let found = Wanted::read(query).and_then(|wanted| {
            let (filters, fields) = (wanted.filters(&source)?, wanted.fields(&source)?);
            wanted.query(Uuid::nil(), &filters, &fields).map(drop)
        });
        found.map_or_else(|problem| (problem.status().as_u16(), problem.hint().to_owned()), |()| (200, String::new()))
    }

    #[test]
    fn a_slip_of_the_hand_is_told_with_the_nearest_name() {
        for (query, status, hint) in [
            ("eq.emial=x", 422, "`email`"),
            ("eqq.email=x", 422, "`eq`"),
            ("fields=name,titel", 422, "`title`"),
            ("limits=5", 422, "`limit`"),
            ("changed-since=x", 422, "`changed_since`"),
            ("gt.created_at=yesterday", 422, ""),
            ("limit=0", 400, ""),
            ("limit=1001", 400, ""),
            ("limit=1&limit=2", 400, "once"),
            ("order=name", 400, "id, change"),
            ("deleted=yes", 400, "only"),
            ("cursor=x", 400, ""),
            ("changed_since=x", 400, ""),
            ("changed_since=2026-06-01T12:00:00Z&order=id", 400, "order"),
            ("cursor=c-00000000-1-&changed_since=2026-06-01T12:00:00Z", 400, "alone"),
            ("cursor=c-00000001-1-", 400, ""),
            ("cursor=c-00000000-1-&eq.email=a%26b&in.name=a,b&null.phone=true&fields=name,email&limit=1000", 200, ""),
            ("changed_since=c-00000000-1-&fields=", 200, ""),
        ] {
            let (found, told) = refused(query);
            assert!(found == status && told.contains(hint), "{query}: {found} {told}");
        }
        let many = (0..21).map(|_| "eq.name=x").collect::<Vec<_>>().join("&");
        assert_eq!(refused(&many).0, 400);
    }
}
