//! What held, expectation by expectation: for a person, for a program, and as a file to attach to an issue.

use std::fmt::Write as _;

use serde_json::json;

use crate::answer::Words;
use crate::expectation::Area;

/// How an expectation came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The org is as expected.
    Held {
        /// What was seen, in a word or two.
        detail: String,
    },
    /// It is not.
    NotHeld {
        /// What was expected.
        expected: String,
        /// What was seen.
        seen: String,
    },
    /// It was not tried, or the org cannot tell.
    Skipped {
        /// Why.
        why: String,
    },
}

/// An expectation and how it came out, without anything that must not be told.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The expectation.
    pub name: &'static str,
    /// What it is about.
    pub area: Area,
    /// Where it comes from.
    pub source: String,
    /// How it came out.
    pub verdict: Verdict,
    /// Where the meaning is as expected and the words are not.
    pub words: Vec<Words>,
}

impl Finding {
    /// One word for how it came out.
    pub fn outcome(&self) -> &'static str {
        match &self.verdict {
            Verdict::NotHeld { .. } => "not_held",
            Verdict::Skipped { .. } => "skipped",
            Verdict::Held { .. } if self.words.is_empty() => "held",
            Verdict::Held { .. } => "words_differ",
        }
    }

    /// Lines for a person.
    pub fn lines(&self) -> String {
        let mut text = match &self.verdict {
            Verdict::Held { detail } if self.words.is_empty() => format!("held          {} ({detail})\n", self.name),
            Verdict::Held { .. } => format!("words differ  {}\n", self.name),
            Verdict::NotHeld { expected, seen } => format!(
                "NOT HELD      {} ({})\n              expected: {expected}\n              seen:     {seen}\n",
                self.name, self.source
            ),
            Verdict::Skipped { why } => format!("skipped       {}: {why}\n", self.name),
        };
        for words in &self.words {
            let _ = writeln!(
                text,
                "              expected: {:?}\n              seen:     {:?}",
                words.expected, words.seen
            );
        }
        text
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        let mut line = json!({
            "expectation": self.name,
            "area": self.area.to_string(),
            "source": self.source,
            "outcome": self.outcome(),
        });
        match &self.verdict {
            Verdict::Held { detail } => line["detail"] = json!(detail),
            Verdict::NotHeld { expected, seen } => (line["expected"], line["seen"]) = (json!(expected), json!(seen)),
            Verdict::Skipped { why } => line["why"] = json!(why),
        }
        if !self.words.is_empty() {
            let words = self.words.iter().map(|words| json!({"expected": words.expected, "seen": words.seen}));
            line["words"] = words.collect();
        }
        line.to_string()
    }
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Each expectation, in the order of the areas.
    pub findings: Vec<Finding>,
    /// It was stopped before its end.
    pub stopped: bool,
    /// Edition, and whether it is a sandbox.
    pub kind: String,
    /// Version of the API.
    pub api_version: String,
    /// API calls and token requests that the run took.
    pub calls: u64,
    /// What was made and could not be deleted.
    pub left: Vec<String>,
    /// With what every record's name begins that the run made.
    pub marker: String,
}

impl Report {
    /// Nothing was found to be otherwise.
    pub fn all_held(&self) -> bool {
        !self.findings.iter().any(|finding| finding.outcome() == "not_held")
    }

    /// How many came out so.
    pub fn count(&self, outcome: &str) -> usize {
        self.findings.iter().filter(|finding| finding.outcome() == outcome).count()
    }

    /// The last lines for a person.
    pub fn summary(&self) -> String {
        let [held, words, not_held, skipped] =
            ["held", "words_differ", "not_held", "skipped"].map(|outcome| self.count(outcome));
        let mut text = format!(
            "{} expectations: {held} held, {words} held in other words, {not_held} NOT HELD, {skipped} skipped\n\
             {} calls, API version {}, {}\n",
            self.findings.len(),
            self.calls,
            self.api_version,
            self.kind
        );
        if self.stopped {
            text.push_str("stopped before the end\n");
        }
        for left in &self.left {
            let _ = writeln!(text, "left in the org: {left}");
        }
        text
    }

    /// The report as a file for an issue.
    pub fn markdown(&self) -> String {
        let mut text = format!("# What held\n\n{}\n", self.summary().replace('\n', "  \n"));
        for area in Area::ALL {
            let mut findings = self.findings.iter().filter(|finding| finding.area == area).peekable();
            if findings.peek().is_none() {
                continue;
            }
            let _ = writeln!(text, "## {area}\n\n| outcome | expectation | source | |\n| --- | --- | --- | --- |");
            for finding in findings {
                let mut more = match &finding.verdict {
                    Verdict::Held { detail } => detail.clone(),
                    Verdict::NotHeld { expected, seen } => format!("expected {expected}; seen {seen}"),
                    Verdict::Skipped { why } => why.clone(),
                };
                for words in &finding.words {
                    let _ = write!(more, "; expected words {:?}, seen {:?}", words.expected, words.seen);
                }
                let outcome = match finding.outcome() {
                    "not_held" => "**NOT HELD**",
                    "words_differ" => "words differ",
                    other => other,
                };
                let _ = writeln!(text, "| {outcome} | {} | {} | {} |", finding.name, finding.source, cell(&more));
            }
            text.push('\n');
        }
        text
    }
}

/// Text within a table of Markdown.
fn cell(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_stays_one() {
        assert_eq!(cell("a|b\n<host>"), "a\\|b &lt;host>");
    }
}
