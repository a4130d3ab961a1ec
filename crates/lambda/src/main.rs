//! `tieline-extension`: the token broker as an AWS Lambda extension. Lambda starts it from `/opt/extensions`.

use std::io::stdout;
use std::process::ExitCode;
use std::sync::Arc;

use tieline_auth::{Clock, SystemClock};
use tieline_lambda::extension::{Extension, ExtensionError};

fn main() -> ExitCode {
    tieline_lambda::logging::start();
    // More than one crypto provider in a graph makes rustls guess, and guessing panics.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // One thread: it waits for the network, and shares the function's fraction of a processor.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run());
            // A login that is under way need not be waited for.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(ExtensionError::Runtime(error.to_string())),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, hint = error.hint(), "the extension cannot go on");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), ExtensionError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let variable = Arc::new(|name: &str| std::env::var(name).ok());
    Extension::bind(variable, clock).await?.run(Box::new(stdout())).await
}
