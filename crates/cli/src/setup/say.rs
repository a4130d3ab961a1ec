//! What a setup tells while it works: a line for each thing done, on standard error; a line that moves while it waits.

use std::time::Duration;

use console::style;
use indicatif::ProgressBar;

use crate::output::note_as;

/// Tells people how it goes.
#[derive(Clone, Copy)]
pub(crate) struct Say;

impl Say {
    /// Something is done, or was done before.
    pub(crate) fn done(self, what: impl std::fmt::Display) {
        note_as(style("✓").for_stderr().green(), &what.to_string());
    }

    /// Something to know.
    pub(crate) fn note(self, what: impl std::fmt::Display) {
        note!("  {what}");
    }

    /// Something to look at.
    pub(crate) fn warn(self, what: impl std::fmt::Display) {
        note_as(style("warning:").for_stderr().yellow().bold(), &what.to_string());
    }

    /// A line that says what is waited for.
    pub(crate) fn waiting(self, what: impl Into<String>) -> Waiting {
        let what = what.into();
        let bar = crate::login::spinner(&what);
        if bar.is_hidden() {
            note!("… {what}");
        }
        Waiting { bar, last: what }
    }
}

/// A wait that goes on.
pub(crate) struct Waiting {
    bar: ProgressBar,
    last: String,
}

impl Waiting {
    /// What is waited for now. Where there is no terminal, each change is a line.
    pub(crate) fn change(&mut self, what: String) {
        if self.bar.is_hidden() && what != self.last {
            note!("… {what}");
        }
        self.bar.set_message(what.clone());
        self.last = what;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `2 min 30 s`.
pub(crate) fn span(time: Duration) -> String {
    match (time.as_secs() / 60, time.as_secs() % 60) {
        (0, seconds) => format!("{seconds} s"),
        (minutes, 0) => format!("{minutes} min"),
        (minutes, seconds) => format!("{minutes} min {seconds} s"),
    }
}
