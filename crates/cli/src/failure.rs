//! How a command fails: one message, a hint, an exit code.

use std::process::ExitCode;

use tieline_auth::{AuthError, ConfigError};
use tieline_client::ClientError;
use tieline_datacloud::DataCloudError;
use tieline_store::StoreError;
use tieline_store::token_stores::OpenError;
use tieline_sync::SyncError;

use crate::output;

/// Done with an error.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

pub(crate) const FAILED: u8 = 1;
const USAGE: u8 = 2;
const NEEDS_PERSON: u8 = 3;
pub(crate) const TRANSIENT: u8 = 4;
/// Some of it was done, and some was not.
pub(crate) const PARTLY: u8 = 5;
/// It goes on in the org, or nobody knows whether it was done. Not [`TRANSIENT`]: whoever repeats the command then does
/// everything twice.
pub(crate) const UNFINISHED: u8 = 6;

impl Failure {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()), code: FAILED }
    }

    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: USAGE, ..Self::new(message, hint) }
    }

    /// With another way out after the first.
    pub(crate) fn or(mut self, other: &str) -> Self {
        self.hint = Some(match self.hint {
            Some(hint) => format!("{hint}; or {other}"),
            None => other.to_owned(),
        });
        self
    }

    /// Somebody has to do something before it can work.
    pub(crate) fn needs_person(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: NEEDS_PERSON, ..Self::new(message, hint) }
    }

    /// Told as what may pass.
    pub(crate) fn transient(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: TRANSIENT, ..Self::new(message, hint) }
    }

    /// The same with another exit code.
    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// It came after rows were sent: the same command again would send them twice. `next` goes on instead.
    pub(crate) fn after_sending(self, next: &str) -> Self {
        if !self.is_transient() {
            return self;
        }
        Self { hint: Some(format!("go on with: {next}")), code: UNFINISHED, ..self }
    }

    /// All has been told already; only the exit code is left.
    pub(crate) fn told(code: u8) -> Self {
        Self { message: String::new(), hint: None, code }
    }

    pub(crate) fn needs_a_person(&self) -> bool {
        self.code == NEEDS_PERSON
    }

    /// It may work later, as it is.
    pub(crate) fn is_transient(&self) -> bool {
        self.code == TRANSIENT
    }

    /// It may be done, or go on.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.code == UNFINISHED
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Of a call that may be repeated without harm: that its answer was lost does not matter.
    pub(crate) fn repeatable(error: ClientError) -> Self {
        let unknown = error.outcome_unknown() && !error.needs_person();
        let passes = match &error {
            ClientError::Unreachable { .. } => true,
            ClientError::Refused(refusal) => matches!(refusal.status, 502..=504),
            _ => false,
        };
        let failure = Self::from(error);
        match (unknown, passes) {
            (false, _) => failure,
            (true, false) => failure.with_code(FAILED),
            (true, true) => Self::transient(failure.message, "run the same command again; twice does no harm"),
        }
    }

    /// Prints to stderr and answers the exit code.
    pub(crate) fn report(self) -> ExitCode {
        if self.message.is_empty() {
            return self.code.into();
        }
        output::note_as(console::style("error:").for_stderr().red().bold(), &self.message);
        if let Some(hint) = self.hint {
            output::hint(&hint);
        }
        self.code.into()
    }
}

fn code(needs_person: bool, transient: bool) -> u8 {
    match (needs_person, transient) {
        (true, _) => NEEDS_PERSON,
        (_, true) => TRANSIENT,
        _ => FAILED,
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string(), error.hint())
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self { code: code(error.needs_person(), error.is_transient()), ..Self::new(error.to_string(), error.hint()) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Config(error) => error.into(),
            // Whoever read the output has seen enough.
            ClientError::Output { broken_pipe: true, .. } => Self::told(0),
            ClientError::StillRunning { ref job, .. } => {
                let hint = format!("wait for it again: tieline bulk resume {job}");
                Self { code: UNFINISHED, ..Self::new(error.to_string(), hint) }
            }
            ClientError::Unsendable { .. } => Self::usage(error.to_string(), error.hint()),
            // Who lacks a right is refused for certain, whatever the status.
            error if error.outcome_unknown() && !error.needs_person() => {
                Self { code: UNFINISHED, ..Self::new(error.to_string(), error.hint()) }
            }
            error => Self {
                code: code(error.needs_person(), error.is_transient()),
                ..Self::new(error.to_string(), error.hint())
            },
        }
    }
}

impl From<DataCloudError> for Failure {
    fn from(error: DataCloudError) -> Self {
        match error {
            DataCloudError::Config(error) => error.into(),
            error => Self {
                code: code(error.needs_person(), error.is_transient()),
                ..Self::new(error.to_string(), error.hint())
            },
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Config(error) => error.into(),
            OpenError::Store(_) => Self { code: TRANSIENT, ..Self::new(error.to_string(), error.hint()) },
            error => Self::new(error.to_string(), error.hint()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::KeyConfig(_) => USAGE,
            StoreError::Keyring(keys) if keys.passing() => TRANSIENT,
            _ => FAILED,
        };
        Self::new(error.to_string(), error.hint()).with_code(code)
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::Client(error) => error.into(),
            SyncError::Config(error) => error.into(),
            error => Self {
                code: code(error.needs_person(), error.is_transient()),
                ..Self::new(error.to_string(), error.hint())
            },
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let in_use = error
            .chain()
            .any(|e| e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::AddrInUse));
        let text = format!("{error:#}");
        // The emulator's messages carry their hint on a line of its own.
        let (message, hint) =
            text.split_once("\nhint: ").map_or((text.as_str(), None), |(m, h)| (m, Some(h.to_owned())));
        let hint = if in_use {
            Some("another program listens there: choose another port, or 0 for any free one".to_owned())
        } else {
            hint
        };
        Self { message: message.to_owned(), hint, code: FAILED }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        anyhow::Error::from(error).into()
    }
}
