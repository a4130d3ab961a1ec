//! Data to stdout, talk to stderr.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// A table without walls, as wide as the terminal at the most.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header.to_vec());
    table
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
