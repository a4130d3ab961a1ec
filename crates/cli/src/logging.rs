//! Where events go: standard error, as text or JSON, masked; and with the spans around them to OpenTelemetry, if the
//! environment of a service asks for it.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tieline_auth::redact::Masked;
use tieline_server::telemetry::Traces;
use tieline_server::telemetry::traces::Tracing;
use tokio::runtime::Handle;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::failure::Failure;

/// What an event tells is told again by the error that ends the command.
const OF_A_COMMAND: &str = "warn,tieline_auth::event=error";
/// Nobody waits for a service to end: what happens is told as it happens.
const OF_A_SERVICE: &str = "warn,tieline=info";

static TRACING: OnceLock<Tracing> = OnceLock::new();

/// Events are written from now on. `is_service`: for a program that runs for long, alone.
///
/// # Errors
/// When the environment asks for what there is not.
pub(crate) fn start(is_service: bool, runtime: &Handle) -> Result<(), Failure> {
    let is_json = is_json(std::env::var("TIELINE_LOG_FORMAT").ok().as_deref())?;
    let traces = if is_service { Traces::from_variables(|name| std::env::var(name).ok())? } else { None };
    let tracing = traces.map(|traces| traces.start(runtime.clone())).transpose()?;
    let default = if is_service { OF_A_SERVICE } else { OF_A_COMMAND };
    let filter = EnvFilter::try_from_env("TIELINE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    let written = fmt::layer()
        .with_writer(|| Masked::new(std::io::stderr()))
        // It would be told on stderr, which is what cannot be written.
        .log_internal_errors(false);
    let written = if is_json {
        written.json().flatten_event(true).with_current_span(false).boxed()
    } else {
        written.with_ansi(std::io::stderr().is_terminal() && !plain).with_target(false).boxed()
    };
    tracing_subscriber::registry().with(written.with_filter(filter)).with(tracing.as_ref().map(Tracing::layer)).init();
    if let Some(tracing) = tracing {
        let _ = TRACING.set(tracing);
    }
    if is_service {
        tell_panics();
    }
    Ok(())
}

/// Sends what has not been sent yet; takes 5 seconds at most.
pub(crate) fn finish() {
    if let Some(tracing) = TRACING.get() {
        tracing.shut_down();
    }
}

/// Whether spans leave this process.
pub(crate) fn is_tracing() -> bool {
    TRACING.get().is_some()
}

fn is_json(format: Option<&str>) -> Result<bool, Failure> {
    match format.map(str::trim).unwrap_or_default() {
        "" | "text" => Ok(false),
        "json" => Ok(true),
        other => Err(Failure::usage(
            format!("TIELINE_LOG_FORMAT is `{other}`, which is no format"),
            "set it to text or json",
        )),
    }
}

/// A panic's message may hold anything: it goes the way of all events, within the request that it happened in.
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("it says nothing");
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => Some(backtrace.to_string()),
            _ => None,
        };
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, backtrace, "a thread panicked: {message}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_there_is_not_is_refused() {
        assert!(is_json(Some(" json ")).is_ok_and(|json| json));
        assert!(is_json(None).is_ok_and(|json| !json) && is_json(Some("text")).is_ok_and(|json| !json));
        let failure = is_json(Some("logfmt")).unwrap_err();
        assert!(failure.message().contains("logfmt") && failure.hint().is_some());
    }
}
