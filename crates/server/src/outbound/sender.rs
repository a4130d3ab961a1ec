//! The one place that connects to a URL of a tenant's.
//!
//! No redirects, no proxies of the environment, no cookies, no compression, a connection for each request. The name is
//! resolved once for a connection, every address is checked, and it is these addresses that are connected to.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::RETRY_AFTER;
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tieline_auth::http::innermost;
use tieline_auth::{Clock, Secret};
use url::{Host, Url};

use super::address::{Policy, Refused};
use super::{Outcome, quoted, retry};

/// How much of an answer is read, and for how long somebody is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Until a connection has come about: name, TCP and TLS.
    pub connect: Duration,
    /// Until the answer is there. The specification of Standard Webhooks asks for 15 to 30 seconds.
    pub whole: Duration,
    /// As much of an answer's body as is read, in bytes.
    pub answer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), whole: Duration::from_secs(15), answer: 64 * 1024 }
    }
}

/// Sends to URLs that it checks. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    client: reqwest::Client,
    policy: Arc<Policy>,
    names: Arc<Checked>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("policy", &self.policy).field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Sender {
    /// With this machine's names.
    ///
    /// # Errors
    /// When the machine has no usable certificate store.
    pub fn new(policy: Policy, clock: Arc<dyn Clock>) -> reqwest::Result<Self> {
        Self::with_resolver(policy, clock, Limits::default(), Arc::new(System))
    }

    /// With names and limits of the caller's. What the resolver answers is checked all the same.
    ///
    /// # Errors
    /// As [`Sender::new`].
    pub fn with_resolver(
        policy: Policy,
        clock: Arc<dyn Clock>,
        limits: Limits,
        names: Arc<dyn Resolve>,
    ) -> reqwest::Result<Self> {
        let policy = Arc::new(policy);
        let names = Arc::new(Checked { names, policy: Arc::clone(&policy) });
        let client = client(&names, limits)?;
        Ok(Self { client, policy, names, clock, limits })
    }

    /// What may be reached.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Passes a URL that is to be stored: by what it says, and by the addresses that its name leads to now. A name that
    /// leads nowhere for now passes; where it leads is looked at again whenever something is sent.
    ///
    /// # Errors
    /// [`Refused`] says what was refused and why.
    pub async fn check(&self, url: &str) -> Result<Url, Refused> {
        let parsed = self.policy.check(url)?;
        let Some(Host::Domain(name)) = parsed.host() else { return Ok(parsed) };
        let Ok(name) = name.parse::<Name>() else { return Ok(parsed) };
        let Ok(Err(error)) = tokio::time::timeout(self.limits.connect, self.names.resolve(name)).await else {
            return Ok(parsed);
        };
        match error.downcast::<Refused>() {
            Ok(refused) => Err(*refused),
            Err(_) => Ok(parsed),
        }
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// One attempt. The URL is a secret: those of Slack's webhooks are all that it takes to write there.
    pub(super) async fn post(&self, url: &Secret, headers: HeaderMap, body: Bytes) -> Outcome {
        let url = match self.policy.check(url.expose()) {
            Ok(url) => url,
            Err(refused) => return refusal(&refused),
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        match self.client.post(url).headers(headers).body(body).send().await {
            Ok(answer) => self.judge(&host, answer).await,
            Err(error) => match refused_within(&error) {
                Some(refused) => refusal(refused),
                None if error.is_builder() => {
                    Outcome::Failed { reason: format!("cannot send to {host}: {}", innermost(&error)) }
                }
                None => Outcome::Retry { after: None, reason: format!("no answer from {host}: {}", innermost(&error)) },
            },
        }
    }

    /// Source: the Standard Webhooks specification, "Delivery success and failure".
    async fn judge(&self, host: &str, answer: reqwest::Response) -> Outcome {
        let status = answer.status();
        if status.is_success() {
            return Outcome::Delivered { status: status.as_u16() };
        }
        if status.is_redirection() {
            let reason = format!("{host} answered {status}: redirects are not followed; give the URL that it leads to");
            return Outcome::Failed { reason };
        }
        let asked = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = asked.and_then(|text| retry::retry_after(text, self.clock.now()));
        let said = quoted(&self.beginning(answer).await);
        let reason = if said.is_empty() {
            format!("{host} answered {status}")
        } else {
            format!("{host} answered {status}: {said}")
        };
        match status.as_u16() {
            410 => Outcome::Disable { reason },
            _ => Outcome::Retry { after, reason },
        }
    }

    /// As much of the body as the limits allow; what is cut off or does not come is left out.
    async fn beginning(&self, mut answer: reqwest::Response) -> String {
        let mut read = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            read.extend_from_slice(&chunk[..chunk.len().min(self.limits.answer - read.len())]);
            if read.len() == self.limits.answer {
                break;
            }
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

fn client(names: &Arc<Checked>, limits: Limits) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .dns_resolver(Arc::clone(names))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .referer(false)
        .gzip(false)
        .retry(reqwest::retry::never())
        // What is left open would be used again without its addresses being looked up.
        .pool_max_idle_per_host(0)
        .connect_timeout(limits.connect)
        .timeout(limits.whole)
        .user_agent(concat!("tieline/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A client with the same rules and this machine's names, for whoever reads answers. URLs are checked by its caller.
pub(crate) fn client_of_this_machine(policy: &Arc<Policy>, limits: Limits) -> reqwest::Result<reqwest::Client> {
    let names: Arc<dyn Resolve> = Arc::new(System);
    client(&Arc::new(Checked { names, policy: Arc::clone(policy) }), limits)
}

fn refusal(refused: &Refused) -> Outcome {
    Outcome::Failed { reason: format!("{refused}; {}", refused.hint()) }
}

/// The resolver's refusal, which comes out as the cause of a connection error.
fn refused_within(error: &reqwest::Error) -> Option<&Refused> {
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(refused) = cause.downcast_ref() {
            return Some(refused);
        }
        cause = cause.source()?;
    }
}

/// The names of this machine.
struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs)
        })
    }
}

/// Passes the addresses on when each of them may be reached: of two, one of them inner, it is not left to chance which is
/// taken.
struct Checked {
    names: Arc<dyn Resolve>,
    policy: Arc<Policy>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (host, policy) = (name.as_str().to_owned(), Arc::clone(&self.policy));
        let found = self.names.resolve(name);
        Box::pin(async move {
            // The scope of an IPv6 address would lead to this machine's own networks; the port comes from the URL.
            let found: Vec<_> = found.await?.map(|found| (found.ip(), 0).into()).collect();
            for address in &found {
                let address: &std::net::SocketAddr = address;
                policy.check_address(&host, address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
