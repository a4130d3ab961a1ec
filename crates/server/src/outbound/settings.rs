//! What the operator says of messages that leave.

use std::sync::Arc;

use reqwest::dns::Resolve;
use tieline_auth::{Clock, ConfigError, Secret};

use super::address::Policy;
use super::email::{BadMail, Mailer};
use super::sender::{Limits, Sender};
use super::slack::Slack;
use super::webhook::Webhooks;

/// Where messages may go, and through which relay mail does.
#[derive(Clone, Default)]
pub struct Outbound {
    /// What may be reached beyond public hosts.
    pub policy: Policy,
    /// The relay; without one there is no mail.
    pub mail: Option<Relay>,
    /// Other names than this machine's, for tests. What they lead to is checked all the same.
    pub names: Option<Arc<dyn Resolve>>,
}

/// A mail relay.
#[derive(Debug, Clone)]
pub struct Relay {
    /// `smtps://user:password@host:465`, see [`Mailer::from_url`].
    pub url: Secret,
    /// Who writes: `Name <name@example.com>`.
    pub from: String,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound").field("policy", &self.policy).field("mail", &self.mail).finish_non_exhaustive()
    }
}

/// Everything that sends.
#[derive(Debug)]
pub(crate) struct Ways {
    pub(crate) sender: Sender,
    pub(crate) webhooks: Webhooks,
    pub(crate) slack: Slack,
    pub(crate) mailer: Option<Mailer>,
}

impl Outbound {
    /// A mailer through the relay, if there is one.
    ///
    /// # Errors
    /// [`BadMail`] says what is wrong with it.
    pub fn mailer(&self, clock: Arc<dyn Clock>) -> Result<Option<Mailer>, BadMail> {
        let Some(relay) = &self.mail else { return Ok(None) };
        Mailer::from_url(&relay.url, &relay.from, &self.policy, clock).map(Some)
    }

    pub(crate) fn ways(&self, clock: &Arc<dyn Clock>) -> Result<Ways, ConfigError> {
        let sender = match &self.names {
            None => Sender::new(self.policy.clone(), clock.clone()),
            Some(names) => Sender::with_resolver(self.policy.clone(), clock.clone(), Limits::default(), names.clone()),
        };
        let sender = sender.map_err(|e| {
            ConfigError::new(format!("HTTPS cannot be prepared: {e}"), "check this machine's certificates")
        })?;
        let mailer = self
            .mailer(clock.clone())
            .map_err(|e| ConfigError::new(e.to_string(), "correct TIELINE_SMTP_URL and TIELINE_SMTP_FROM"))?;
        Ok(Ways { webhooks: Webhooks::new(sender.clone()), slack: Slack::new(sender.clone()), sender, mailer })
    }
}
