//! Data to stdout, talk to stderr.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};

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
    bar.set_style(style("{msg} [{bar:30}] {human_pos}/{human_len} {per_sec} {eta}"));
    bar.set_message(what);
    bar
}

/// On stderr, shown only to a terminal: time while something is waited for, rows when they come.
pub(crate) fn rows_bar() -> ProgressBar {
    let bar = ProgressBar::no_length().with_style(style("{spinner} {msg}{human_pos} rows, {elapsed}"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// So many rows there are going to be.
pub(crate) fn total_is(bar: &ProgressBar, total: u64) {
    bar.set_length(total);
    bar.set_style(style("{msg}{human_pos} of {human_len} rows {bar:20} {per_sec} {eta}"));
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.progress_chars("=> ")
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
