//! What has changed since the checkpoint, in the order of the object's cursor.

use jiff::Timestamp;
use tieline_client::{ClientError, soql};
use tieline_store::object_tables::Rows;

use super::bisect::{OLDEST, Span, number};
use super::work::{Batch, Kind, Work};
use crate::error::SyncError;
use crate::scan::{Scan, before};

/// Answers in one scan whose pages do not make a whole.
const MOST_BROKEN: u32 = 3;

impl Work<'_> {
    /// A scan that an earlier run left unfinished, then a new one.
    pub(super) async fn poll(&mut self) -> Result<(), SyncError> {
        loop {
            let window = self.window();
            let mut scan = Scan::begin(&self.standing.checkpoint, &window);
            if !scan.is_resumed()
                && self.proof.is_some()
                && (self.standing.verified_through.is_some() || self.standing.progress.proof.is_none())
                && let Some(from) = scan.position().map(|position| position.stamp)
            {
                // Where the first load began without a proof to be, all of it is looked at again.
                let verified = self.standing.verified_through.or(self.definition.since).unwrap_or(OLDEST);
                self.look_again(verified, from).await?;
            }
            self.scan(&mut scan).await?;
            if !scan.is_resumed() {
                return Ok(());
            }
        }
    }

    /// Reads from the scan's position to its end, in spans as large as the org is able to answer.
    async fn scan(&mut self, scan: &mut Scan) -> Result<(), SyncError> {
        let mut span = Span::whole();
        let mut broken = 0;
        loop {
            let from = scan.clone();
            match self.ask(scan, &span).await {
                Ok(_) if span.is_whole() => return Ok(()),
                // To the scan's end all is answered. What came since is left to the next scan: it may be too much.
                Ok(_) if scan.until().is_some_and(|end| span.reaches(end) || scan.stands_at(end)) => {
                    self.finish(scan);
                    return self.note().await;
                }
                Ok(had) => {
                    span.pass(scan, had);
                    self.standing.checkpoint = scan.checkpoint();
                }
                Err(SyncError::Client(error)) if is_too_slow(&error) => self.narrow(scan, &mut span, &error).await?,
                // The org has closed the cursor on the way; what was read by then is kept.
                Err(SyncError::Client(error))
                    if error.salesforce_code() == Some("INVALID_QUERY_LOCATOR") && *scan != from => {}
                // The scan stands where this query began.
                Err(SyncError::Inconsistent { reason, .. }) if broken + 1 < MOST_BROKEN => {
                    tracing::warn!(mapping = %self.mapping.name, reason, "the pages of an answer are no whole; they are asked for again");
                    broken += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// All to the scan's end was read. Of parents nothing is known before the first one: theirs are looked for from there
    /// on, whatever becomes of this run.
    fn finish(&mut self, scan: &Scan) {
        self.standing.checkpoint = scan.finished();
        let progress = &mut self.standing.progress;
        progress.parents_through = progress.parents_through.or(self.standing.checkpoint.through);
    }

    /// One query. The numbers of its records' first and last id in their order.
    async fn ask(&mut self, scan: &mut Scan, span: &Span) -> Result<Option<(u128, u128)>, SyncError> {
        let plan = self.plan.clone();
        let Some(cursor) = plan.cursor.as_deref() else { return Ok(None) };
        let conditions = [self.since(cursor), scan.condition(cursor), span.condition(cursor)];
        let reading = self.reading.clone();
        let mut pages = self.pages(&reading, conditions, &format!("{cursor}, Id"));
        let mut batch: Option<Batch> = None;
        let begun = scan.clone();
        let mut had = None;
        loop {
            let page = match self.next(&mut pages).await {
                Ok(Some(page)) => page,
                Ok(None) => return Ok(had),
                Err(error) => {
                    // What came before it is kept. If a page was lost, nobody knows which: all of it is read again.
                    let lost = matches!(error, SyncError::Inconsistent { .. });
                    if lost {
                        *scan = begun;
                        self.standing.checkpoint = scan.checkpoint();
                        self.commit(Kind::Rows, batch.take().unwrap_or_default(), 0).await?;
                    } else if let Some(batch) = batch.take() {
                        self.standing.checkpoint = scan.checkpoint();
                        self.commit(Kind::Rows, batch, 0).await?;
                    }
                    return Err(error);
                }
            };
            let org = || self.engine.connection.org().to_owned();
            let server_time = page.server_time.ok_or_else(|| SyncError::NoServerTime { org: org() })?;
            scan.fix_end(server_time, &self.window());
            saw(scan, &page.batch.rows);
            had = reached(had, &page.batch.rows);
            self.show(page.batch.rows.len() as u64, Some(page.total_size));
            // Copied into memory that the last step has left: a step that grew page by page would be moved and made anew.
            let mut whole = match batch.take() {
                Some(batch) => batch,
                None => Batch::of(self.empty_rows(plan.columns.len())),
            };
            reading.reuse(whole.append(page.batch));
            if page.is_last || self.is_full(&whole.rows) {
                if page.is_last && span.is_whole() {
                    self.finish(scan);
                } else {
                    self.standing.checkpoint = scan.checkpoint();
                }
                self.commit(Kind::Rows, whole, 0).await?;
            } else {
                batch = Some(whole);
            }
        }
    }

    /// Reads what was stamped in between once more, and counts what should have been here.
    async fn look_again(&mut self, from: Timestamp, to: Timestamp) -> Result<(), SyncError> {
        let plan = self.plan.clone();
        let Some(cursor) = plan.cursor.as_deref().filter(|_| from < to) else { return Ok(()) };
        let mut scan = Scan::from(from, to);
        let mut span = Span::until(to);
        let mut broken = 0;
        loop {
            let begun = scan.clone();
            let conditions = [scan.condition(cursor), span.condition(cursor), Some(ends(cursor, to))];
            let reading = self.reading.clone();
            let mut pages = self.pages(&reading, conditions, &format!("{cursor}, Id"));
            let mut had = None;
            let asked = loop {
                match self.next(&mut pages).await {
                    Ok(Some(page)) => {
                        saw(&mut scan, &page.batch.rows);
                        had = reached(had, &page.batch.rows);
                        self.settle().await?;
                        let table = self.mapping.table.clone();
                        let drift = self.differing(&page.batch.rows, &table).await?.len() as u64;
                        self.commit(Kind::Rows, page.batch, drift).await?;
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            match asked {
                Ok(()) if span.reaches(to) => return Ok(()),
                Ok(()) => span.pass(&mut scan, had),
                Err(SyncError::Client(error)) if is_too_slow(&error) => {
                    self.narrow(&scan, &mut span, &error).await?;
                }
                Err(SyncError::Inconsistent { .. }) if broken + 1 < MOST_BROKEN => {
                    broken += 1;
                    scan = begun;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The mapping's own window, or the usual one.
    pub(super) fn window(&self) -> crate::scan::Window {
        let usual = self.engine.care.window;
        crate::scan::Window {
            lookback: self.definition.lookback.unwrap_or(usual.lookback),
            lag: self.definition.lag.unwrap_or(usual.lag),
        }
    }

    /// Records from before the mapping's start are not its.
    pub(super) fn since(&self, cursor: &str) -> Option<String> {
        let since = self.definition.since?;
        Some(format!("{cursor} >= {}", soql::datetime(before(since, std::time::Duration::ZERO))))
    }
}

pub(super) fn ends(cursor: &str, at: Timestamp) -> String {
    format!("{cursor} < {}", soql::datetime(at))
}

/// The org gave up on a query; on a part of it, it may not.
pub(super) fn is_too_slow(error: &ClientError) -> bool {
    error.salesforce_code() == Some("QUERY_TIMEOUT")
}

/// From which id to which a query has come with another page.
fn reached(so_far: Option<(u128, u128)>, rows: &Rows) -> Option<(u128, u128)> {
    let Some(last) = rows.len().checked_sub(1) else { return so_far };
    let first = so_far.map_or_else(|| number(rows.id(0)), |(first, _)| first);
    Some((first, number(rows.id(last))))
}

/// The rows are in order: the last one before the scan's end is as far as it got.
fn saw(scan: &mut Scan, rows: &Rows) {
    for row in (0..rows.len()).rev() {
        let stamp = rows.stamp(row).and_then(|stamp| Timestamp::from_millisecond(stamp).ok());
        if let Some(stamp) = stamp
            && scan.until().is_none_or(|until| stamp < until)
        {
            scan.saw(stamp, rows.id(row));
            return;
        }
    }
}
