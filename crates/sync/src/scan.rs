//! The arithmetic of a scan: where it begins, how far it got, what the checkpoint becomes. No I/O, no clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tieline_client::soql;
use tieline_store::{Checkpoint, Position};

/// How carefully to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// How far before the checkpoint every scan begins again. Commits that take longer than this (and the lag)
    /// are left to the drift pass. Ten minutes is what careful connectors use.
    pub lookback: Duration,
    /// How far behind the org's clock the checkpoint stays.
    pub lag: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { lookback: Duration::from_secs(10 * 60), lag: Duration::from_secs(60) }
    }
}

/// A scan under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    through: Option<Timestamp>,
    position: Option<Position>,
    /// Fixed by the scan's first answer; the checkpoint moves there when the scan ends.
    until: Option<Timestamp>,
    resumed: bool,
}

impl Scan {
    /// Goes on with the scan that the checkpoint tells of, or begins a new one.
    pub fn begin(checkpoint: &Checkpoint, window: &Window) -> Self {
        let through = checkpoint.through;
        match &checkpoint.scan {
            Some((position, until)) => {
                Self { through, position: Some(position.clone()), until: Some(*until), resumed: true }
            }
            None => {
                let position = through.map(|t| Position { stamp: before(t, window.lookback), id: String::new() });
                Self { through, position, until: None, resumed: false }
            }
        }
    }

    /// A scan of what was stamped from one instant to another.
    pub fn from(from: Timestamp, until: Timestamp) -> Self {
        let position = Position { stamp: before(from, Duration::ZERO), id: String::new() };
        Self { through: None, position: Some(position), until: Some(until), resumed: false }
    }

    /// It began in an earlier run. Another scan must follow it to come up to date.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// The org's clock, as the scan's first answer told it, fixes where the checkpoint will be. Later calls
    /// change nothing; the checkpoint never moves back.
    pub fn fix_end(&mut self, server_time: Timestamp, window: &Window) {
        if self.until.is_none() {
            let end = before(server_time, window.lag);
            self.until = Some(self.through.map_or(end, |through| through.max(end)));
        }
    }

    /// A record has been read. Only records stamped before the end move the position: one that changed while the
    /// scan was passing carries a later stamp, and those between would be skipped by a resumed scan.
    pub fn saw(&mut self, stamp: Timestamp, id: &str) {
        if self.until.is_some_and(|until| stamp >= until) {
            return;
        }
        let further = self.position.as_ref().is_none_or(|p| (p.stamp, p.id.as_str()) < (stamp, id));
        if further {
            self.position = Some(Position { stamp, id: id.to_owned() });
        }
    }

    /// The checkpoint after what has been seen so far.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { through: self.through, scan: self.position.clone().zip(self.until) }
    }

    /// The checkpoint after the scan's last record.
    pub fn finished(&self) -> Checkpoint {
        Checkpoint { through: self.until.or(self.through), scan: None }
    }

    /// Where the next query begins.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Where the checkpoint will be when the scan has ended; none before its first answer.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// It has come to this instant: all that is left lies behind.
    pub fn stands_at(&self, end: Timestamp) -> bool {
        self.position.as_ref().is_some_and(|position| position.stamp >= end)
    }

    /// Everything before this instant has been read.
    pub fn passed(&mut self, before: Timestamp) {
        self.saw(before, "");
    }

    /// The condition that leaves out what has been read, by the object's cursor; none at the very beginning.
    pub fn condition(&self, cursor: &str) -> Option<String> {
        match &self.position {
            None => None,
            Some(Position { stamp, id }) if id.is_empty() => Some(format!("{cursor} >= {}", soql::datetime(*stamp))),
            // Written so that the first part alone bounds the range: an index can serve it.
            Some(Position { stamp, id }) => {
                let stamp = soql::datetime(*stamp);
                Some(format!("{cursor} >= {stamp} AND ({cursor} > {stamp} OR Id > {})", soql::text(id)))
            }
        }
    }
}

/// `by` before `at`, down to the whole second: SystemModstamp is compared in seconds.
pub(crate) fn before(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    let earlier = at.checked_sub(by).unwrap_or(Timestamp::MIN);
    Timestamp::from_second(earlier.as_millisecond().div_euclid(1_000)).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const WINDOW: Window = Window { lookback: Duration::from_secs(600), lag: Duration::from_secs(60) };

    #[test]
    fn the_first_scan_reads_everything_and_ends_behind_the_orgs_clock() {
        let mut scan = Scan::begin(&Checkpoint::default(), &WINDOW);
        assert_eq!(scan.condition("SystemModstamp"), None);
        scan.fix_end(at(100_000), &WINDOW);
        scan.saw(at(5), "a");
        scan.saw(at(99_999), "late");
        assert_eq!(scan.checkpoint().scan, Some((Position { stamp: at(5), id: "a".into() }, at(99_940))));
        assert_eq!(scan.finished(), Checkpoint { through: Some(at(99_940)), scan: None });
    }

    #[test]
    fn a_new_scan_looks_back_and_a_killed_one_goes_on_in_the_middle_of_a_tie() {
        let done = Checkpoint { through: Some(at(99_940)), scan: None };
        let condition = Scan::begin(&done, &WINDOW).condition("SystemModstamp").unwrap();
        assert_eq!(condition, "SystemModstamp >= 1970-01-02T03:35:40Z");
        let killed = Checkpoint { through: None, scan: Some((Position { stamp: at(7), id: "003x".into() }, at(50))) };
        let scan = Scan::begin(&killed, &WINDOW);
        assert!(scan.is_resumed());
        assert_eq!(
            scan.condition("LastModifiedDate").unwrap(),
            "LastModifiedDate >= 1970-01-01T00:00:07Z AND (LastModifiedDate > 1970-01-01T00:00:07Z OR Id > '003x')"
        );
        assert_eq!(scan.finished().through, Some(at(50)), "the end that was fixed then, not now");
    }

    #[test]
    fn an_org_clock_that_jumps_back_does_not_move_the_checkpoint_back() {
        let mut scan = Scan::begin(&Checkpoint { through: Some(at(5_000)), scan: None }, &WINDOW);
        scan.fix_end(at(1_000), &WINDOW);
        assert_eq!(scan.finished().through, Some(at(5_000)));
    }
}
