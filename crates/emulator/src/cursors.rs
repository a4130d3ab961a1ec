//! Open queries: which rows each found. Values are read page by page, so a cursor is eight bytes a row.

use jiff::{SignedDuration, Timestamp};

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
