//! Children whose parents have changed. A parent's change does not move its children's stamp, so no scan of theirs sees it.

use tieline_client::soql;

use super::poll::is_too_slow;
use super::work::{Kind, Work};
use crate::error::SyncError;
use crate::scan::before;

impl Work<'_> {
    /// Reads the children of each parent that has changed since they were read last. Of contacts with each proof only: a poll
    /// of an org where nothing has changed is to be one call.
    pub(super) async fn parents(&mut self) -> Result<(), SyncError> {
        if self.mapping.is_contacts() && self.proof.is_none() {
            return Ok(());
        }
        let plan = self.plan.clone();
        let stamps: Vec<&str> = plan.parents.iter().filter_map(|parent| parent.stamp_path.as_deref()).collect();
        let Some(through) = self.standing.progress.parents_through.filter(|_| !stamps.is_empty()) else {
            return Ok(());
        };
        let window = self.window();
        // What is to be proven of the records is so of their parents.
        let proven = self.proof.and(self.standing.verified_through);
        let from = before(through.min(proven.unwrap_or(through)), window.lookback);
        let mut reached = None;
        for stamp in stamps {
            let condition = format!("{stamp} >= {}", soql::datetime(from));
            let since = plan.cursor.as_deref().and_then(|cursor| self.since(cursor));
            if reached.is_none() {
                reached = Some(before(self.org_time().await?, window.lag));
            }
            let reading = self.reading.clone();
            let mut pages = self.pages(&reading, [Some(condition), since], "Id");
            loop {
                let page = match self.next(&mut pages).await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    // A parent with very many children: all rows are read again at once.
                    Err(SyncError::Client(error)) if is_too_slow(&error) => {
                        tracing::warn!(mapping = %self.mapping.name, stamp, "too many children of changed parents: all of their columns are read again");
                        self.standing.progress.refreshed_at = None;
                        break;
                    }
                    Err(error) => return Err(error),
                };
                if !page.batch.rows.is_empty() {
                    self.show(page.batch.rows.len() as u64, None);
                    self.commit(Kind::Rows, page.batch, 0).await?;
                }
            }
        }
        if let Some(reached) = reached {
            self.standing.progress.parents_through = Some(reached.max(through));
        }
        self.note().await
    }
}
