//! Children whose parents have changed. A parent's change does not move its children's stamp, so no scan of theirs sees it.

use tieline_client::soql;

use super::poll::is_too_slow;
use super::work::{Kind, Work};
use crate::error::SyncError;
use crate::scan::before;

impl Work<'_> {
    /// Reads the children of each parent that has changed since they were read last.
    pub(super) async fn parents(&mut self) -> Result<(), SyncError> {
        let plan = self.plan.clone();
        let stamps: Vec<&str> = plan.parents.iter().filter_map(|parent| parent.stamp_path.as_deref()).collect();
        let Some(through) = self.standing.progress.parents_through.filter(|_| !stamps.is_empty()) else {
            return Ok(());
        };
        let window = self.window();
        let from = before(through, window.lookback);
        let mut reached = None;
        for stamp in stamps {
            let condition = format!("{stamp} >= {}", soql::datetime(from));
            let since = plan.cursor.as_deref().and_then(|cursor| self.since(cursor));
            let reading = self.reading.clone();
            let mut pages = self.pages(&reading, [Some(condition), since], "Id");
            loop {
                let page = match self.next(&mut pages).await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    // A parent with very many children: all rows are read again when that is due.
                    Err(SyncError::Client(error)) if is_too_slow(&error) => {
                        tracing::warn!(mapping = %self.mapping.name, stamp, "too many children of changed parents: they follow with the next refresh");
                        self.standing.progress.refreshed_at = None;
                        break;
                    }
                    Err(error) => return Err(error),
                };
                let org = || self.engine.connection.org().to_owned();
                let server_time = page.server_time.ok_or_else(|| SyncError::NoServerTime { org: org() })?;
                reached.get_or_insert(before(server_time, window.lag));
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
