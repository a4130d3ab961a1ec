//! Data to stdout, talk to stderr.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, presets};
use console::{StyledObject, style as styled};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::visible::visible;

/// A table without walls, as wide as the terminal at the most. Nothing in its cells acts upon a terminal.
pub(crate) struct Table(comfy_table::Table);

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.iter().map(|name| visible(name)));
    Table(table)
}

impl Table {
    pub(crate) fn add_row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| visible(cell.as_ref()).into_owned()).collect();
        self.0.add_row(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// `eprintln!` for this program: it goes on where nobody reads any more, and what quotes the org acts upon no terminal.
macro_rules! note {
    ($($what:tt)*) => { $crate::output::note_line(None, &format!($($what)*)) };
}

/// `println!` for this program, for people alone: it goes on where nobody reads any more.
macro_rules! say {
    ($($what:tt)*) => {{
        let _ = $crate::output::line(&format!($($what)*));
    }};
}

/// The same behind a word such as `hint:`, in colour on a terminal.
pub(crate) fn note_as(word: StyledObject<&str>, text: &str) {
    note_line(Some(word), text);
}

pub(crate) fn note_line(word: Option<StyledObject<&str>>, text: &str) {
    let word = word.map(|word| format!("{word} ")).unwrap_or_default();
    // In one piece, for other programs may write there too.
    let _ = std::io::stderr().write_all(format!("{word}{}\n", visible(text)).as_bytes());
}

/// The next act.
pub(crate) fn hint(text: &str) {
    note_as(styled("hint:").for_stderr().cyan().bold(), text);
}

/// A bar on stderr, shown only to a terminal.
pub(crate) fn progress_bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    bar.set_style(style("{msg} [{bar:30}] {human_pos}/{human_len} {rate} {eta}"));
    bar.set_message(what);
    bar
}

const ROWS: &str = "{spinner} {msg}{human_pos} rows, {elapsed}";

/// On stderr, shown only to a terminal: time while something is waited for, rows when they come.
pub(crate) fn rows_bar() -> ProgressBar {
    let bar = ProgressBar::no_length().with_style(style(ROWS));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The same, which appears only if it takes a moment. Needs a Tokio runtime.
pub(crate) fn late_rows_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style(ROWS));
    let later = bar.downgrade();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Some(bar) = later.upgrade().filter(|bar| !bar.is_finished()) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.enable_steady_tick(Duration::from_millis(200));
        }
    });
    bar
}

/// So many rows there are going to be.
pub(crate) fn total_is(bar: &ProgressBar, total: u64) {
    bar.set_length(total);
    bar.set_style(style("{msg}{human_pos} of {human_len} rows {bar:20} {rate} {eta} left"));
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    // The rate that the library has of its own has four decimals.
    let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        let _ = write!(to, "{}/s", HumanCount(state.per_sec() as u64));
    };
    style.with_key("rate", rate).progress_chars("=> ")
}

/// A number and what it counts.
pub(crate) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Writes a line to stdout. A reader that has seen enough (`| head`) ends the output quietly: false.
pub(crate) fn line(text: &str) -> std::io::Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}
