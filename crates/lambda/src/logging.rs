//! Logs as Lambda keeps them: one JSON object a line, without secrets.

use std::io::stderr;

use tieline_auth::redact::Masked;
use tracing_subscriber::EnvFilter;

/// From now on events are written to standard error: those that `TIELINE_LOG` names, else warnings and errors. Anything that looks like a
/// credential is masked. Does nothing if the program has set up its own logging.
pub fn start() {
    let filter = EnvFilter::try_from_env("TIELINE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let writer = || Masked::new(stderr());
    let _ = tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(writer).try_init();
}
