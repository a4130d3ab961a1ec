//! Pages of lists that go by time, and the place where the next one begins.

use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

/// A page of a list, and where the next one begins.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Page<T, C = Cursor> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins; none: this was the last.
    pub next: Option<C>,
}

impl<T, C> Page<T, C> {
    /// Of `limit` rows and perhaps one more, which says that there is a next page.
    pub(crate) fn of(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }
}

/// The last row that was seen, by its time and its id. Rows that come or go elsewhere in the list move nothing: no page
/// repeats a row, and none leaves one out.
///
/// ```
/// use tieline_store::Cursor;
///
/// let cursor: Cursor = "19e832a5c00-01890000000070008000000000000001".parse().unwrap();
/// assert_eq!(cursor.to_string(), "19e832a5c00-01890000000070008000000000000001");
/// assert!("1".parse::<Cursor>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub(crate) at: Timestamp,
    pub(crate) id: Uuid,
}

/// A text that is no cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("could not read the cursor; hint: give the `next` of the page before as it is, or none to begin")]
pub struct MalformedCursor;

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}", self.at.as_millisecond(), self.id.simple())
    }
}

impl FromStr for Cursor {
    type Err = MalformedCursor;

    fn from_str(text: &str) -> Result<Self, MalformedCursor> {
        let (at, id) = text.split_once('-').ok_or(MalformedCursor)?;
        let at = i64::from_str_radix(at, 16).map_err(|_| MalformedCursor)?;
        Ok(Self {
            at: Timestamp::from_millisecond(at).map_err(|_| MalformedCursor)?,
            id: Uuid::parse_str(id).map_err(|_| MalformedCursor)?,
        })
    }
}

impl serde::Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in ["", "-", "x", "19e-", "19e-zz", "7fffffffffffffff-01890000000070008000000000000001", "é-é"] {
            assert_eq!(text.parse::<Cursor>(), Err(MalformedCursor), "{text}");
        }
    }

    #[test]
    fn the_row_beyond_the_limit_only_says_that_there_is_more() {
        assert_eq!(Page::of(vec![1, 2, 3], 2, |n| *n), Page { items: vec![1, 2], next: Some(2) });
        assert_eq!(Page::of(vec![1, 2], 2, |n| *n), Page { items: vec![1, 2], next: None::<i32> });
        assert_eq!(Page::of(Vec::<i32>::new(), 2, |n| *n), Page { items: vec![], next: None });
    }
}
