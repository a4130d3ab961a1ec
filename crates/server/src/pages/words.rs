//! How pages say things: times, numbers, states.

use std::borrow::Borrow;
use std::fmt::{self, Display, Formatter};

use askama::filters::{Html, HtmlSafe, escape};
use jiff::{SignedDuration, Timestamp};

/// A moment, as the time that has passed since; in full where one points at it. A script of ours counts on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ago {
    at: Timestamp,
    now: Timestamp,
}

/// `at`, seen from `now`. Templates have both by reference.
pub(crate) fn ago(at: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> Ago {
    Ago { at: *at.borrow(), now: *now.borrow() }
}

impl Display for Ago {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let passed = self.now.duration_since(self.at);
        write!(f, r#"<time datetime="{}" title="{}">"#, self.at.strftime("%Y-%m-%dT%H:%M:%SZ"), moment(self.at))?;
        match passed {
            passed if passed.abs() < SignedDuration::from_secs(5) => f.write_str("just now")?,
            passed if passed.is_negative() => write!(f, "in {}", Span(-passed).nearest())?,
            passed => write!(f, "{} ago", Span(passed))?,
        }
        f.write_str("</time>")
    }
}

// Made of digits and words of ours.
impl HtmlSafe for Ago {}

/// A span of time in its largest unit: `40 s`, `12 min`, `3 h`, `5 days`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) SignedDuration);

impl Span {
    /// The whole number of the same unit that is nearest: a link of seven days ends "in 7 days", a second after it was made.
    fn nearest(self) -> Self {
        let half = self.unit().0 / 2;
        Self(self.0 + SignedDuration::from_secs(half))
    }

    /// The largest unit that says something, in seconds, and its name.
    fn unit(self) -> (i64, &'static str) {
        match self.0.as_secs() {
            0..60 => (1, "s"),
            60..3_600 => (60, "min"),
            3_600..172_800 => (3_600, "h"),
            _ => (86_400, "days"),
        }
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (seconds, name) = self.unit();
        write!(f, "{} {name}", self.0.as_secs() / seconds)
    }
}

impl HtmlSafe for Span {}

/// How long something took: `0.4 s`, `75.2 s`.
pub(crate) fn took(from: Timestamp, to: Option<Timestamp>) -> String {
    to.map_or_else(|| "…".to_owned(), |to| format!("{:.1} s", to.duration_since(from).as_secs_f64()))
}

/// `2026-11-23 09:15:02 UTC`
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What the program or the org says, as people read it: names between backticks as code, moments as they stand elsewhere on
/// the page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said<'t>(&'t str);

/// A message, marked up.
pub(crate) fn said(text: &str) -> Said<'_> {
    Said(text)
}

impl Display for Said<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((before, code, behind)) = first_code(rest) {
            with_moments(before, f)?;
            write!(f, "<code>{}</code>", escaped(code))?;
            rest = behind;
        }
        with_moments(rest, f)
    }
}

// All that comes from elsewhere is escaped.
impl HtmlSafe for Said<'_> {}

/// What stands before the first pair of backticks, between them and behind them. Of nothing, or over lines, it is no name.
fn first_code(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (code, behind) = rest.split_once('`')?;
    (!code.is_empty() && !code.contains('\n')).then_some((before, code, behind))
}

fn with_moments(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        match bare.parse::<Timestamp>() {
            Ok(at) => {
                let (before, behind) = word.split_once(bare).unwrap_or_default();
                let exact = at.strftime("%Y-%m-%dT%H:%M:%SZ");
                write!(f, r#"{}<time datetime="{exact}">{}</time>{}"#, escaped(before), moment(at), escaped(behind))?;
            }
            Err(_) => write!(f, "{}", escaped(word))?,
        }
    }
    Ok(())
}

fn escaped(text: &str) -> impl Display {
    let Ok(safe) = escape(text, Html);
    safe
}

/// Whether two texts are one; templates have them behind references of any depth.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other
}

/// `1,234,567`
pub(crate) fn grouped(n: impl TryInto<u64>) -> String {
    let digits = n.try_into().unwrap_or_default().to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 lead`, `3 leads`
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

/// What happened to a connection, by the name of its event.
pub(crate) fn event(name: &str) -> String {
    let words = match name {
        "auth_success" => "logged in",
        "auth_failure" => "login failed",
        "token_refreshed" => "token renewed",
        "token_refused" => "token refused",
        "sync_success" => "synced",
        "sync_error" => "sync failed",
        "sync_recovered" => "syncs work again",
        "sync_paused_quota" => "sync waits for API calls",
        "sync_held" => "sync held",
        "import_success" => "imported",
        "import_error" => "import failed",
        other => return other.replace('_', " "),
    };
    words.to_owned()
}

/// A state in a word, with its colour: never the colour alone.
#[derive(Debug, Clone)]
pub(crate) struct Pill {
    /// The name that programs know it by.
    pub(crate) name: String,
    /// What people read.
    pub(crate) text: String,
    /// `good`, `bad`, `busy` or `idle`: the class of the pill.
    pub(crate) tone: &'static str,
}

/// The pill of a state, by its name in the API.
pub(crate) fn pill(name: &str) -> Pill {
    let tone = match name {
        "active" | "success" | "synced" | "sent" | "created" | "updated" | "resolved" | "completed" | "merged" => {
            "good"
        }
        "error" | "failed" | "needs_reauth" | "schema_changed" | "open" | "deleted" | "rejected" | "held" => "bad",
        "running" | "pending" | "initial" | "reload" | "resync" | "paused_quota" | "queued" | "processing" => "busy",
        _ => "idle",
    };
    Pill { name: name.to_owned(), text: name.replace('_', " "), tone }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_largest_unit() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let said = |seconds: i64| {
            let text = ago(now - SignedDuration::from_secs(seconds), now).to_string();
            text.split_once('>').unwrap().1.trim_end_matches("</time>").to_owned()
        };
        let expected = [(0, "just now"), (59, "59 s ago"), (61, "1 min ago"), (7_200, "2 h ago"), (-90, "in 2 min")];
        for (seconds, words) in expected {
            assert_eq!(said(seconds), words, "{seconds}");
        }
        assert_eq!(said(3 * 86_400), "3 days ago");
        assert_eq!(said(2 - 7 * 86_400), "in 7 days", "and not in six");
        assert_eq!(said(3_590 - 7_200), "in 1 h");
        let whole = ago(now, now).to_string();
        assert!(
            whole.starts_with(r#"<time datetime="2026-11-23T12:00:00Z" title="2026-11-23 12:00:00 UTC">"#),
            "{whole}"
        );
    }

    #[test]
    fn names_and_moments_of_a_message_are_marked_and_the_rest_is_escaped() {
        let marked = said("`Title__c` of <b>: last read at 2026-06-01T12:00:07.250Z, (`a<b`)").to_string();
        let moment = r#"<time datetime="2026-06-01T12:00:07Z">2026-06-01 12:00:07 UTC</time>"#;
        assert_eq!(
            marked,
            format!("<code>Title__c</code> of &#60;b&#62;: last read at {moment}, (<code>a&#60;b</code>)")
        );
        for plain in ["one ` alone", "``", "`over\nlines`", "2026-06-01", "12 of 13"] {
            assert_eq!(said(plain).to_string(), plain);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!((grouped(7_u64).as_str(), grouped(1_234_567_i64).as_str()), ("7", "1,234,567"));
    }
}
