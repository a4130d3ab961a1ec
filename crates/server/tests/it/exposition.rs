//! Reads Prometheus' text format as strictly as Prometheus does, and somewhat more.

use std::collections::BTreeMap;

/// The samples, by name and labels as they are written.
pub(crate) struct Exposition {
    pub(crate) samples: BTreeMap<String, f64>,
    /// Kind of each metric.
    pub(crate) kinds: BTreeMap<String, String>,
}

impl Exposition {
    /// Panics at the first line that is not well formed.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line does not end");
        let (mut samples, mut kinds, mut helps) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(helps.insert(name.to_owned(), help.to_owned()).is_none(), "described twice: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "typed twice: {line}");
            } else {
                assert!(!line.starts_with('#'), "a comment of no kind: {line}");
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                let name = series.split('{').next().unwrap();
                check_name(name, line);
                check_labels(&series[name.len()..], line);
                let kind = |name: &str| kinds.get(name).map(String::as_str);
                let is_known = matches!(kind(name), Some("counter" | "gauge"))
                    || ["_bucket", "_sum", "_count"]
                        .iter()
                        .any(|end| name.strip_suffix(end).is_some_and(|name| kind(name) == Some("histogram")));
                assert!(is_known, "a sample before its type: {line}");
                assert!(samples.insert(series.to_owned(), value).is_none(), "a sample twice: {line}");
            }
        }
        let read = Self { samples, kinds };
        for (name, kind) in &read.kinds {
            assert!(helps.contains_key(name), "{name} is not described");
            assert!(name.starts_with("tieline_"), "{name}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
            if kind == "histogram" {
                read.check_histogram(name);
            }
        }
        read
    }

    /// The value of a series; 0, where there is none.
    pub(crate) fn get(&self, series: &str) -> f64 {
        self.samples.get(series).copied().unwrap_or_default()
    }

    /// Buckets grow, and the last holds all.
    fn check_histogram(&self, name: &str) {
        let counts =
            self.samples.range(format!("{name}_count")..).take_while(|(s, _)| s.starts_with(&format!("{name}_count")));
        for (series, count) in counts {
            let labels = series[name.len() + "_count".len()..].trim_matches(['{', '}']);
            let mut buckets: Vec<(f64, f64)> = (self.samples.iter())
                .filter_map(|(series, value)| {
                    let rest = series.strip_prefix(&format!("{name}_bucket{{"))?.strip_suffix("\"}")?;
                    let (others, bound) = rest.rsplit_once("le=\"")?;
                    let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
                    (others.trim_end_matches(',') == labels).then_some((bound, *value))
                })
                .collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.len() > 5 && buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name} {labels}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{name} {labels}");
        }
    }
}

fn check_name(name: &str, line: &str) {
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':');
    assert!(begins && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':'), "{line}");
}

/// `{name="value",…}`, quotes and backslashes escaped.
fn check_labels(text: &str, line: &str) {
    if text.is_empty() {
        return;
    }
    let mut rest = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_else(|| panic!("{line}"));
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        check_name(name, line);
        let mut escaped = false;
        let end = after.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let (end, _) = end.unwrap_or_else(|| panic!("{line}"));
        rest = &after[end + 1..];
        rest = match rest.strip_prefix(',') {
            Some(more) => more,
            None if rest.is_empty() => rest,
            None => panic!("{line}"),
        };
    }
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let good = "# HELP tieline_a_total x\n# TYPE tieline_a_total counter\ntieline_a_total{b=\"c\\\"d\",e=\"\"} 1\n";
    assert_eq!(Exposition::read(good).samples.len(), 1);
    for (from, to) in [
        ("counter", "thing"),
        ("# TYPE tieline_a_total counter\n", ""),
        ("# HELP tieline_a_total x\n", ""),
        (" 1\n", " one\n"),
        (" 1\n", " 1"),
        ("c\\\"d", "c\"d"),
        ("e=\"\"", "e=\"\"f=\"\""),
        ("_total", ""),
        ("tieline_a_total{", "tieline_b_total{"),
    ] {
        let bad = if from == "_total" { good.replace(from, to) } else { good.replacen(from, to, 1) };
        assert!(std::panic::catch_unwind(|| Exposition::read(&bad)).is_err(), "{bad}");
    }
}
