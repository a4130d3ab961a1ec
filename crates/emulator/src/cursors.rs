//! Open queries: which rows each found. Values are read page by page, so a cursor is eight bytes a row.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::org::Org;
use crate::soql::plan::Plan;

/// How long a locator lives, and how many a user has open: one more, and the oldest is gone.
const LIFE: SignedDuration = SignedDuration::from_hours(48);
const OPEN_PER_USER: usize = 10;

pub(crate) struct Cursor {
    pub(crate) plan: Plan,
    pub(crate) rows: Vec<i64>,
    id: String,
    user_id: String,
    opened: Timestamp,
}

/// The open queries of all users, oldest first.
#[derive(Default)]
pub(crate) struct Cursors(Vec<Cursor>);

impl Cursors {
    /// Ends the queries that read this field.
    pub(crate) fn end_those_of(&mut self, object: &str, field: &str) {
        self.0.retain(|cursor| !cursor.plan.reads(object, field));
    }

    /// Ends all; answers how many.
    pub(crate) fn expire(&mut self) -> usize {
        std::mem::take(&mut self.0).len()
    }
}

impl Org {
    /// Keeps the rows of a query for later pages and answers the locator.
    pub(crate) fn open_cursor(&mut self, plan: Plan, rows: Vec<i64>, user_id: &str) -> String {
        let (id, now) = (self.new_id("01g"), self.now());
        let cursors = &mut self.cursors.0;
        cursors.retain(|c| now.duration_since(c.opened) <= LIFE);
        if cursors.iter().filter(|c| c.user_id == user_id).count() >= OPEN_PER_USER
            && let Some(oldest) = cursors.iter().position(|c| c.user_id == user_id)
        {
            cursors.remove(oldest);
        }
        cursors.push(Cursor { plan, rows, id: id.clone(), user_id: user_id.to_owned(), opened: now });
        id
    }

    /// A user's own open query.
    pub(crate) fn cursor(&self, id: &str, user_id: &str) -> Option<&Cursor> {
        let now = self.now();
        let lives = |c: &&Cursor| c.id == id && c.user_id == user_id && now.duration_since(c.opened) <= LIFE;
        self.cursors.0.iter().find(lives)
    }
}

/// What a page of results does instead of coming in its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trick {
    /// No rows; the next page is named as ever.
    Empty,
    /// No rows, and no next page.
    End,
    /// The rows of the page before, once more.
    Repeat,
    /// The rows of the page behind; those of this one are lost.
    Skip,
}

/// Which pages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Pages {
    /// Later pages of `query` and `queryAll`.
    Query,
    /// Pages of a bulk query's results, the first too.
    Bulk,
}

/// A trick, and the pages that it is played on.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageTrick {
    of: Pages,
    trick: Trick,
    /// The first page, counted from 1 among those that are asked for from now on.
    #[serde(default = "one")]
    nth: u64,
    /// How many pages from there on; 0: all.
    #[serde(default = "one")]
    times: u64,
    #[serde(skip)]
    seen: u64,
}

fn one() -> u64 {
    1
}

#[derive(Debug, Default)]
pub(crate) struct Tricks(Vec<PageTrick>);

impl Tricks {
    pub(crate) fn add(&mut self, trick: PageTrick) {
        self.0.push(trick);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What the page that is asked for now does.
    pub(crate) fn meet(&mut self, of: Pages) -> Option<Trick> {
        let mut met = None;
        for trick in self.0.iter_mut().filter(|trick| trick.of == of) {
            trick.seen += 1;
            let last = if trick.times == 0 { u64::MAX } else { trick.nth.saturating_add(trick.times - 1) };
            if met.is_none() && (trick.nth..=last).contains(&trick.seen) {
                met = Some(trick.trick);
            }
        }
        met
    }
}

impl Trick {
    /// The rows that are served instead of `from..to` of `total`, and where the next page begins.
    pub(crate) fn window(self, from: usize, to: usize, total: usize) -> (std::ops::Range<usize>, usize) {
        let length = to - from;
        match self {
            Trick::Empty => (from..from, to),
            Trick::End => (from..from, total),
            Trick::Repeat => (from.saturating_sub(length)..from.max(length.min(total)), to),
            Trick::Skip => {
                let end = (to + length).min(total);
                (to..end, end)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tricks_move_the_rows_of_a_page() {
        assert_eq!(Trick::Empty.window(200, 400, 900), (200..200, 400));
        assert_eq!(Trick::End.window(200, 400, 900), (200..200, 900));
        assert_eq!(Trick::Repeat.window(200, 400, 900), (0..200, 400));
        assert_eq!(Trick::Repeat.window(0, 200, 900), (0..200, 200), "there is none before the first");
        assert_eq!(Trick::Skip.window(200, 400, 900), (400..600, 600));
        assert_eq!(Trick::Skip.window(600, 800, 900), (800..900, 900));
        assert_eq!(Trick::Skip.window(800, 900, 900), (900..900, 900));
    }
}
