//! The commands.

pub(crate) mod apex;
pub(crate) mod broker;
pub(crate) mod bulk;
mod children;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod datacloud;
pub(crate) mod demo;
pub(crate) mod describe;
pub(crate) mod doctor;
pub(crate) mod emulate;
pub(crate) mod keys;
pub(crate) mod limits;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod man;
pub(crate) mod orgs;
pub(crate) mod query;
pub(crate) mod records;
pub(crate) mod request;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod sync;
pub(crate) mod token;
pub(crate) mod users;
pub(crate) mod whoami;
pub(crate) mod worker;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::failure::Failure;
use crate::setup::bootstrap::ENDED_BY_A_PERSON;

/// Something is under way that ends by itself when it is asked to.
static CAREFUL: AtomicBool = AtomicBool::new(false);

/// A question hides the cursor. Whoever ends the program then, by Ctrl-C, has it again.
pub(crate) fn end_questions_well() {
    // Before the question is asked, not when the task has its turn.
    listen();
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

/// Does something that nothing is lost by ending, whoever has begun to listen for Ctrl-C.
pub(crate) async fn or_stopped<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::select! {
        outcome = work => outcome,
        () = stopped() => Err(Failure::told(ENDED_BY_A_PERSON)),
    }
}

/// Set once somebody has stopped the program.
static STOPPED: OnceLock<watch::Receiver<bool>> = OnceLock::new();

/// Resolves at Ctrl-C, or when the system asks the process to end; from then on at once. One listener hears for all: a
/// signal that comes between two waits is lost to both.
pub(crate) async fn stopped() {
    if listen().clone().wait_for(|stopped| *stopped).await.is_err() {
        std::future::pending().await
    }
}

/// Begins to listen, if nobody does.
fn listen() -> &'static watch::Receiver<bool> {
    STOPPED.get_or_init(|| {
        let (tell, heard) = watch::channel(false);
        let mut signals = Signals::new();
        tokio::spawn(async move {
            signals.next().await;
            let _ = tell.send(true);
            // Whatever is being ended well takes too long for somebody who says it twice.
            signals.next().await;
            let _ = console::Term::stderr().show_cursor();
            std::process::exit(i32::from(ENDED_BY_A_PERSON));
        });
        heard
    })
}

/// Ctrl-C, and the system's wish that the process end; heard from the making on, not only when they are awaited.
struct Signals {
    #[cfg(unix)]
    both: Option<(tokio::signal::unix::Signal, tokio::signal::unix::Signal)>,
}

impl Signals {
    fn new() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let (term, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
            Self { both: term.ok().zip(interrupt.ok()) }
        }
        #[cfg(not(unix))]
        Self {}
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some((term, interrupt)) = &mut self.both {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = term.recv() => {}
            }
            return;
        }
        let _ = tokio::signal::ctrl_c().await;
    }
}
