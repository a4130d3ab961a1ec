//! What the client and the sync are to be, and the table that tells whether it is.

use super::client::FIRST_QUERY;
use super::sync::{POLL_POSTGRES, POLL_SQLITE};
use super::{Measurements, median, readable};

const CPU: &str = "cpu_us";
const WALL: &str = "wall_s";
const PEAK: &str = "peak_mb";
const CALLS: &str = "calls";
/// Who does the same work in another language.
const PEERS: [&str; 4] = ["jsforce", "simple-salesforce", "simple-salesforce + COPY", "simple-salesforce + sqlite3"];
/// Whose measurements are held against the targets.
const JUDGED: [&str; 2] = ["tieline", "tieline query"];

/// What a measurement is held against.
#[derive(Clone, Copy)]
enum Bound {
    /// A part of what the cheapest peer takes.
    OfBestPeer(f64),
    /// A part of what this one takes.
    Of(&'static str, f64),
    /// So many megabytes.
    Megabytes(f64),
    /// So many microseconds for each row.
    Microseconds(f64),
    /// So many API calls.
    Calls(f64),
}

use Bound::{Calls, Megabytes, Microseconds, Of, OfBestPeer};

/// Sixty per cent of the floor's rows in a second.
const SIXTY_PER_CENT: Bound = Of("floor", 1.0 / 0.6);
/// CPU time of a row: 0.6 s for 200,000 into PostgreSQL, and 0.9 s into SQLite.
const INTO_POSTGRES: Bound = Microseconds(3.0);
const INTO_SQLITE: Bound = Microseconds(4.5);
/// A run's memory, however many rows there are.
const MEMORY: Bound = Megabytes(64.0);

const TARGETS: [(&str, &str, Bound); 33] = [
    ("query", CPU, OfBestPeer(1.0 / 5.0)),
    ("query", CPU, Of("floor", 1.3)),
    ("query", PEAK, Megabytes(25.0)),
    ("query, gzip", CPU, OfBestPeer(1.0 / 5.0)),
    ("query, gzip", CPU, Of("floor", 1.3)),
    ("query, gzip", PEAK, Megabytes(25.0)),
    ("bulk query", CPU, OfBestPeer(1.0 / 8.0)),
    ("bulk query", CPU, Of("jsforce", 1.0 / 40.0)),
    ("bulk query", PEAK, Megabytes(40.0)),
    ("ingest", CPU, OfBestPeer(1.0 / 15.0)),
    ("ingest", PEAK, Megabytes(40.0)),
    ("50 callers", CPU, Of("jsforce", 1.0 / 10.0)),
    ("50 callers", CPU, OfBestPeer(1.0 / 10.0)),
    (FIRST_QUERY, CPU, Of("jsforce", 1.0 / 40.0)),
    (FIRST_QUERY, WALL, Of("jsforce", 1.0 / 40.0)),
    ("200,000 by REST into PostgreSQL", CPU, INTO_POSTGRES),
    ("200,000 by REST into PostgreSQL", WALL, SIXTY_PER_CENT),
    ("200,000 by REST into PostgreSQL", PEAK, MEMORY),
    ("200,000 by REST into SQLite", CPU, INTO_SQLITE),
    ("200,000 by REST into SQLite", WALL, SIXTY_PER_CENT),
    ("200,000 by REST into SQLite", PEAK, MEMORY),
    ("1,000,000 by REST into PostgreSQL", CPU, INTO_POSTGRES),
    ("1,000,000 by REST into PostgreSQL", WALL, SIXTY_PER_CENT),
    ("1,000,000 by REST into PostgreSQL", PEAK, MEMORY),
    ("1,000,000 by REST into SQLite", CPU, INTO_SQLITE),
    ("1,000,000 by REST into SQLite", WALL, SIXTY_PER_CENT),
    ("1,000,000 by REST into SQLite", PEAK, MEMORY),
    ("1,000,000 by Bulk into PostgreSQL", CPU, INTO_POSTGRES),
    ("1,000,000 by Bulk into PostgreSQL", PEAK, MEMORY),
    ("1,000,000 by Bulk into SQLite", CPU, INTO_SQLITE),
    ("1,000,000 by Bulk into SQLite", PEAK, MEMORY),
    (POLL_POSTGRES, CALLS, Calls(1.0)),
    (POLL_SQLITE, CALLS, Calls(1.0)),
];

impl Measurements {
    fn median_of(&self, case: &str, who: &str, unit: &str) -> Option<f64> {
        let key = (case.to_owned(), who.to_owned(), unit.to_owned());
        self.values.get(&key).map(|values| median(values))
    }

    fn best_peer(&self, case: &str, unit: &str) -> Option<f64> {
        PEERS.iter().filter_map(|who| self.median_of(case, who, unit)).min_by(f64::total_cmp)
    }

    /// One row for who does which work: what it costs, against the best peer, and against its targets.
    #[expect(clippy::print_stdout, reason = "the result of the command")]
    pub(super) fn print_with_targets(&self) {
        println!("| work | who | CPU | wall | peak | CPU to the best peer's | targets |");
        println!("| --- | --- | ---: | ---: | ---: | ---: | --- |");
        let mut rows: Vec<(&str, &str)> = Vec::new();
        let place = |case: &str| self.order.iter().position(|(c, _, _)| c == case);
        for (case, who, _) in &self.order {
            if !rows.contains(&(case, who)) {
                rows.push((case, who));
            }
        }
        rows.sort_by_key(|(case, _)| place(case));
        for (case, who) in rows {
            let shown =
                |unit: &str, show: fn(f64) -> String| self.median_of(case, who, unit).map(show).unwrap_or_default();
            let ratio = self.median_of(case, who, CPU).zip(self.best_peer(case, CPU)).map(|(ours, best)| ours / best);
            println!(
                "| {case} | {who} | {} | {} | {} | {} | {} |",
                shown(CPU, microseconds),
                shown(WALL, seconds),
                shown(PEAK, |peak| format!("{} MB", readable(peak.round()))),
                ratio.map(fraction).unwrap_or_default(),
                self.verdicts(case, who).join("; "),
            );
        }
    }

    /// Each target of a case, and whether it is met.
    fn verdicts(&self, case: &str, who: &str) -> Vec<String> {
        if !JUDGED.contains(&who) {
            return Vec::new();
        }
        let targets = TARGETS.iter().filter(|(target, ..)| *target == case);
        let verdict = |(_, unit, bound): &(&str, &str, Bound)| {
            let ours = self.median_of(case, who, unit)?;
            let what = if *unit == WALL { "wall time " } else { "" };
            let (wanted, share, is) = match *bound {
                Megabytes(most) => (format!("{most} MB"), ours / most, format!("{} MB", readable(ours.round()))),
                Microseconds(most) => (microseconds(most), ours / most, microseconds(ours)),
                Calls(most) => (format!("{most} API call"), ours / most, readable(ours)),
                Of(other, most) => {
                    let ratio = ours / self.median_of(case, other, unit)?;
                    (format!("{} of {other}", fraction(most)), ratio / most, fraction(ratio))
                }
                OfBestPeer(most) => {
                    let ratio = ours / self.best_peer(case, unit)?;
                    (format!("{} of the best peer", fraction(most)), ratio / most, fraction(ratio))
                }
            };
            let verdict = if share <= 1.0 { "met" } else { "**missed**" };
            Some(format!("{what}at most {wanted}: {is}, {verdict}"))
        };
        targets.filter_map(verdict).collect()
    }
}

/// `1/5.2` for less than one, `1.3×` for more.
fn fraction(ratio: f64) -> String {
    let digits = |number: f64| {
        let text = format!("{number:.*}", if number >= 100.0 { 0 } else { 2 });
        text.strip_suffix(".00").unwrap_or(&text).to_owned()
    };
    if ratio < 1.0 { format!("1/{}", digits(1.0 / ratio)) } else { format!("{}×", digits(ratio)) }
}

fn microseconds(time: f64) -> String {
    if time >= 1_000.0 { format!("{} ms", readable(time / 1e3)) } else { format!("{} µs", readable(time)) }
}

fn seconds(time: f64) -> String {
    if time < 1.0 { format!("{} ms", readable((time * 1e4).round() / 10.0)) } else { format!("{} s", readable(time)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fractions_are_read_as_they_are_written_in_the_targets() {
        assert_eq!([0.2, 1.3, 1.0 / 40.0, 0.19, 1.0].map(fraction), ["1/5", "1.30×", "1/40", "1/5.26", "1×"]);
    }

    #[test]
    fn a_target_is_met_or_missed() {
        let mut found = Measurements::default();
        for (who, unit, value) in [
            ("tieline", CPU, 1.0),
            ("floor", CPU, 0.5),
            ("jsforce", CPU, 6.0),
            ("simple-salesforce", CPU, 5.0),
            ("tieline", PEAK, 12.2),
        ] {
            found.take(&json!({"case": "query", "who": who, "unit": unit, "value": value}).to_string()).unwrap();
        }
        assert_eq!(
            found.verdicts("query", "tieline"),
            [
                "at most 1/5 of the best peer: 1/5, met",
                "at most 1.30× of floor: 2×, **missed**",
                "at most 25 MB: 12 MB, met"
            ]
        );
        assert!(found.verdicts("query", "floor").is_empty());
    }
}
