//! What we expect of Salesforce, as one suite of our own: sentences that can be tried.
//!
//! It runs on the emulator in the everyday tests, and on a real org by `cargo xtask contract`. A sentence that does not
//! hold there is a mistake in our picture of Salesforce, and so in the emulator and perhaps in the client. Answers are
//! looked at as they come over the wire; a few checks go through the typed client, where its behaviour is the point.
//!
//! Reading order: `expectation` (a sentence), `case` and `answer` (what a check has at hand), `suite` (the sentences, one
//! file per area), `org` (what is asked, and cleaned up), `run`, `redact` and `report`.

#![recursion_limit = "256"]

mod answer;
mod case;
mod expectation;
mod org;
mod redact;
mod report;
mod run;
mod suite;

pub use answer::Words;
pub use expectation::{Area, Evidence, Expectation, Need};
pub use redact::Redactor;
pub use report::{Finding, Report, Verdict};
pub use run::{Settings, run, run_until};

/// Every expectation, in the order in which they are tried.
pub fn expectations() -> Vec<Expectation> {
    suite::all()
}
