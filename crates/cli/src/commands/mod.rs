//! The commands.

pub(crate) mod broker;
pub(crate) mod completions;
pub(crate) mod datacloud;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod emulate;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod man;
pub(crate) mod orgs;
pub(crate) mod query;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod sync;
pub(crate) mod token;
pub(crate) mod whoami;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::Failure;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Something is under way that ends by itself when it is asked to.
static CAREFUL: AtomicBool = AtomicBool::new(false);

/// A question hides the cursor. Whoever ends the program then, by Ctrl-C, has it again.
pub(crate) fn end_questions_well() {
    tokio::spawn(async {
        stopped().await;
        if !CAREFUL.load(Ordering::Acquire) {
            let _ = console::Term::stderr().show_cursor();
            std::process::exit(i32::from(ENDED_BY_A_PERSON));
        }
    });
}

/// Does something that may be stopped at any await, and is completed by the next run.
pub(crate) async fn unless_stopped<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    CAREFUL.store(true, Ordering::Release);
    tokio::select! {
        outcome = work => outcome,
        () = stopped() => {
            Err(Failure::transient("stopped before it was done", "run the same command again: it goes on from here"))
        }
    }
}

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
