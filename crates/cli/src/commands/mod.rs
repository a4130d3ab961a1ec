//! The commands.

pub(crate) mod demo;
pub(crate) mod emulate;
pub(crate) mod query;
pub(crate) mod serve;
pub(crate) mod sync;
pub(crate) mod token;

/// Resolves at Ctrl-C, or when the system asks the process to end.
pub(crate) async fn stopped() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut term) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = term.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
