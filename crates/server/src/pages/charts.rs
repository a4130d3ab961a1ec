//! Charts of days: bars, one upon the other, drawn here and coloured by the style sheet.
//!
//! The picture is stretched to its place, wide or narrow, and so it has no text: scale and days stand around it as the page's own
//! text, which no phone makes smaller. Every number is in the table beside it, too. Why no library does this:
//! `docs/decisions/0020-charts.md`.

use std::fmt::Write;

use jiff::Timestamp;

use super::words::grouped;

/// How wide the place of a day is, and how wide its bar.
const STEP: usize = 10;
const BAR: usize = 8;
/// How high the picture is.
const HEIGHT: f64 = 100.0;
/// What is not nothing is seen, be it above a bar that reaches the top: there the picture has room for two such.
const LOWEST: f64 = 2.0;
const HEADROOM: f64 = 4.0;

/// What is counted, one upon the other.
pub(crate) struct Series {
    pub(crate) words: &'static str,
    /// The class that has its colour.
    pub(crate) class: &'static str,
    /// Of each day.
    pub(crate) values: Vec<i64>,
}

/// One of them as it is drawn.
pub(crate) struct Drawn {
    pub(crate) words: &'static str,
    pub(crate) class: &'static str,
    pub(crate) total: String,
    /// All of its bars.
    pub(crate) path: String,
}

/// A day, to point at.
pub(crate) struct Day {
    /// `21 Nov`
    pub(crate) name: String,
    pub(crate) x: usize,
    /// Its numbers, in the order of the series, and what else the table has.
    pub(crate) numbers: Vec<String>,
    pub(crate) is_empty: bool,
    /// All of that in words.
    pub(crate) says: String,
}

/// A chart with its table.
pub(crate) struct Chart {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What it shows above all, in a sentence.
    pub(crate) says: String,
    pub(crate) width: usize,
    pub(crate) series: Vec<Drawn>,
    pub(crate) days: Vec<Day>,
    /// Names of the table's further columns.
    pub(crate) more: Vec<&'static str>,
    /// The greatest number of the scale, and the one in its middle.
    pub(crate) top: String,
    pub(crate) middle: String,
    /// Whether all of it is nothing.
    pub(crate) is_empty: bool,
}

impl Chart {
    /// Of days, oldest first; each series has a value of each.
    pub(crate) fn of(id: &'static str, title: &'static str, says: String, days: &[Timestamp], of: Vec<Series>) -> Self {
        let total = |n: usize| of.iter().map(|series| series.values[n]).sum::<i64>();
        let top = scale((0..days.len()).map(total).max().unwrap_or_default());
        let mut ground = vec![0.0; days.len()];
        let series = of.iter().map(|series| Drawn {
            words: series.words,
            class: series.class,
            total: grouped(series.values.iter().sum::<i64>()),
            path: path(&series.values, &mut ground, top),
        });
        let series = series.collect();
        let days = days.iter().enumerate().map(|(n, day)| {
            let numbers: Vec<String> = of.iter().map(|series| grouped(series.values[n])).collect();
            let name = short(*day);
            let told: Vec<String> =
                of.iter().zip(&numbers).map(|(series, number)| format!("{number} {}", series.words)).collect();
            let says = format!("{name}: {}", told.join(", "));
            Day { name, x: n * STEP, says, numbers, is_empty: total(n) == 0 }
        });
        let days: Vec<Day> = days.collect();
        Self {
            id,
            title,
            says,
            width: days.len() * STEP,
            series,
            is_empty: days.iter().all(|day| day.is_empty),
            days,
            more: Vec::new(),
            top: grouped(top),
            // Half a row is none.
            middle: if top % 2 == 0 { grouped(top / 2) } else { String::new() },
        }
    }

    /// With another column of the table, which the picture does not show.
    pub(crate) fn with_column(mut self, name: &'static str, values: impl Iterator<Item = String>) -> Self {
        self.more.push(name);
        for (day, value) in self.days.iter_mut().zip(values) {
            day.numbers.push(value);
        }
        self
    }

    /// The id of the sentence within the picture.
    pub(crate) fn label(&self) -> String {
        format!("s-{}", self.id)
    }

    /// The first, the middle and the last day.
    pub(crate) fn ends(&self) -> impl Iterator<Item = &str> {
        let last = self.days.len().saturating_sub(1);
        [0, last / 2, last].into_iter().filter_map(|n| self.days.get(n)).map(|day| day.name.as_str())
    }
}

/// Bars of all days upon what is there already.
fn path(values: &[i64], ground: &mut [f64], top: i64) -> String {
    let mut path = String::new();
    for (n, (value, ground)) in values.iter().zip(ground).enumerate() {
        if *value <= 0 {
            continue;
        }
        let height = (*value as f64 / top as f64 * HEIGHT).max(LOWEST);
        let (x, y) = (n * STEP + (STEP - BAR) / 2, HEIGHT - *ground);
        *ground = (*ground + height).min(HEIGHT + HEADROOM);
        let upper = HEIGHT - *ground;
        let _ = write!(path, "M{x} {y:.1}V{upper:.1}h{BAR}V{y:.1}z");
    }
    path
}

/// The least of 1, 2, 5, 10, 20, 50, … that is not less.
fn scale(most: i64) -> i64 {
    let mut unit: i64 = 1;
    loop {
        for step in [1, 2, 5] {
            match unit.checked_mul(step) {
                Some(top) if top < most => {}
                Some(top) => return top,
                None => return i64::MAX,
            }
        }
        unit = unit.saturating_mul(10);
    }
}

/// `21 Nov`
pub(crate) fn short(day: Timestamp) -> String {
    day.strftime("%-d %b").to_string()
}

/// `3,412 rows in 7 days; most on 21 November (1,200).`
pub(crate) fn most(days: &[Timestamp], values: &[i64], one: &str, many: &str) -> String {
    let total: i64 = values.iter().sum();
    let mut says = sum(days.len(), total, one, many);
    let peak = values.iter().copied().max().unwrap_or_default();
    // The first of those that have as many.
    if let Some(n) = values.iter().position(|value| *value == peak).filter(|_| peak > 0 && days.len() > 1) {
        let _ = write!(says, "; most on {} ({})", days[n].strftime("%-d %B"), grouped(peak));
    }
    says + "."
}

/// `120 sync runs in 7 days; 3 failed.`
pub(crate) fn failures(days: usize, all: &[i64], bad: &[i64], one: &str, many: &str) -> String {
    let (all, bad): (i64, i64) = (all.iter().sum(), bad.iter().sum());
    let mut says = sum(days, all, one, many);
    if all + bad > 0 {
        let _ = if bad == 0 { write!(says, "; none failed") } else { write!(says, "; {} failed", grouped(bad)) };
    }
    says + "."
}

fn sum(days: usize, total: i64, one: &str, many: &str) -> String {
    let number = if total == 0 { "No".to_owned() } else { grouped(total) };
    let span = if days == 1 { "today".to_owned() } else { format!("in {days} days") };
    format!("{number} {} {span}", if total == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(count: i64) -> Vec<Timestamp> {
        (0..count).map(|n| Timestamp::from_second(1_763_683_200 + n * 86_400).unwrap()).collect()
    }

    #[test]
    fn a_scale_ends_at_a_round_number() {
        let tops: Vec<i64> = [0, 1, 2, 3, 7, 10, 11, 499, 501, 1_200].into_iter().map(scale).collect();
        assert_eq!(tops, [1, 1, 2, 5, 10, 10, 20, 500, 1_000, 2_000]);
        assert_eq!(scale(i64::MAX), i64::MAX);
    }

    #[test]
    fn bars_stand_one_upon_the_other_and_never_above_the_picture() {
        let series = |class, values: &[i64]| Series { words: class, class, values: values.to_vec() };
        let of = vec![series("a", &[6, 0, 10]), series("b", &[3, 0, 0])];
        let chart = Chart::of("x", "X", String::new(), &days(3), of);
        assert_eq!((chart.top.as_str(), chart.middle.as_str(), chart.width), ("10", "5", 30));
        assert_eq!(chart.series[0].path, "M1 100.0V40.0h8V100.0zM21 100.0V0.0h8V100.0z");
        assert_eq!(chart.series[1].path, "M1 40.0V10.0h8V40.0z", "upon the first, and nothing of the others");
        assert_eq!(chart.days[0].says, "21 Nov: 6 a, 3 b");
        assert!(chart.days[1].is_empty && !chart.is_empty);
        assert_eq!(chart.ends().collect::<Vec<_>>(), ["21 Nov", "22 Nov", "23 Nov"]);
        // One of a million is seen, and nothing leaves the picture.
        let of = vec![series("a", &[999_999]), series("b", &[1])];
        let chart = Chart::of("x", "X", String::new(), &days(1), of);
        assert_eq!(chart.series[1].path, "M1 0.0V-2.0h8V0.0z");
        let chart = Chart::of("x", "X", String::new(), &days(2), vec![series("a", &[1_000_000, 1])]);
        assert!(chart.series[0].path.ends_with("M11 100.0V98.0h8V100.0z"), "{}", chart.series[0].path);
    }

    #[test]
    fn a_sentence_says_the_main_thing() {
        let days = days(7);
        let said = most(&days, &[0, 1_200, 3, 9, 1_200, 0, 1_000], "row", "rows");
        assert_eq!(said, "3,412 rows in 7 days; most on 22 November (1,200).");
        assert_eq!(most(&days, &[0; 7], "row", "rows"), "No rows in 7 days.");
        assert_eq!(most(&days[..1], &[1], "row", "rows"), "1 row today.");
        assert_eq!(failures(7, &[120], &[2], "sync run", "sync runs"), "120 sync runs in 7 days; 2 failed.");
        assert_eq!(failures(7, &[1], &[0], "sync run", "sync runs"), "1 sync run in 7 days; none failed.");
        assert_eq!(failures(7, &[0], &[2], "new lead", "new leads"), "No new leads in 7 days; 2 failed.");
    }
}
