//! What is told of calls: two entries of the audit for each that changes something, before it is sent and after; numbers
//! and a line for all.

use std::time::Duration;

use serde_json::json;
use tieline_store::audit::{Action, Actor, Entry, Outcome};
use tieline_store::{StoreError, Tenant, Uuid};
use tokio::time::Instant;

use crate::caller::{Caller, Who};
use crate::service::Service;

/// A call through the proxy, as the audit has it.
#[derive(Debug, Clone)]
pub(super) struct ProxyCall {
    /// UUID: what its two entries have in common.
    pub(super) id: Uuid,
    /// The integration.
    pub(super) integration: Uuid,
    /// The user or the API key; nobody where there is no sign-in.
    pub(super) actor: Option<Uuid>,
    /// `user`, `api_key` or `local`.
    pub(super) actor_kind: &'static str,
    /// Where from.
    pub(super) address: String,
    /// HTTP method.
    pub(super) method: String,
    /// Path on the org's host, without the query string.
    pub(super) path: String,
    /// It changes something in the org.
    pub(super) changes: bool,
    /// The org's status; none if there was no answer.
    pub(super) status: Option<u16>,
    /// Code of this service's own problem where the org gave no answer, or nobody waited for it.
    pub(super) problem: Option<&'static str>,
    /// Bytes of the body that was sent, as far as they are known.
    pub(super) sent: Option<u64>,
    /// Until the answer began.
    pub(super) took: Duration,
}

impl ProxyCall {
    fn actor(&self) -> Actor {
        match (self.actor_kind, self.actor) {
            ("user", Some(id)) => Actor::User(id),
            ("api_key", Some(id)) => Actor::ApiKey(id),
            _ => Actor::System,
        }
    }

    async fn audit(&self, service: &Service, tenant: &Tenant, entry: Entry<'_>) -> Result<(), StoreError> {
        let id = self.integration.to_string();
        let entry = Entry { address: Some(&self.address), ..entry };
        tenant.audit(&entry.on("integration", &id), service.now()).await.map(drop)
    }
}

/// Says in the audit that a call is about to be sent. Without that it is not.
async fn begun(service: &Service, tenant: &Tenant, call: &ProxyCall) -> Result<(), StoreError> {
    let detail = json!({"call": call.id, "method": call.method, "path": call.path});
    call.audit(service, tenant, Entry { detail, ..Entry::new(call.actor(), Action::ProxyBegun) }).await
}

/// Puts into the audit how a call ended. The org has done by now what it was asked for, so that what cannot be written
/// down stands in the log at least.
async fn record(service: &Service, tenant: &Tenant, call: &ProxyCall) {
    let outcome = match call.status {
        Some(200..400) => Outcome::Success,
        _ => Outcome::Failure,
    };
    let detail = json!({
        "call": call.id, "method": call.method, "path": call.path, "status": call.status, "problem": call.problem, "sent": call.sent,
        "ms": u64::try_from(call.took.as_millis()).unwrap_or(u64::MAX),
    });
    let entry = Entry { outcome, detail, ..Entry::new(call.actor(), Action::ProxyCalled) };
    if let Err(error) = call.audit(service, tenant, entry).await {
        tracing::error!(%error, method = call.method, path = call.path, "a call of the org could not be written down");
    }
}

/// A call that is on its way. Whoever asked may leave before the answer; what they began is told all the same.
pub(super) struct Underway {
    service: Service,
    tenant: Tenant,
    call: ProxyCall,
    began: Instant,
    told: bool,
}

impl Underway {
    /// # Errors
    /// When a call that changes something could not be written down: then it must not be sent.
    pub(super) async fn begin(
        service: &Service,
        caller: &Caller,
        integration: Uuid,
        method: &str,
        path: &str,
        changes: bool,
    ) -> Result<Self, StoreError> {
        let (actor, actor_kind) = match &caller.who {
            Who::User(signed_in) => (Some(signed_in.user.id), "user"),
            Who::ApiKey(id) => (Some(*id), "api_key"),
            Who::Local => (None, "local"),
        };
        let call = ProxyCall {
            id: Uuid::now_v7(),
            integration,
            actor,
            actor_kind,
            address: caller.address.clone(),
            method: method.to_owned(),
            path: path.to_owned(),
            changes,
            status: None,
            problem: None,
            sent: None,
            took: Duration::ZERO,
        };
        if changes {
            begun(service, &caller.tenant, &call).await?;
        }
        Ok(Self { service: service.clone(), tenant: caller.tenant.clone(), call, began: Instant::now(), told: false })
    }

    /// So much is sent with it.
    pub(super) fn sends(&mut self, bytes: Option<u64>) {
        self.call.sent = bytes;
    }

    /// The org has answered, or this service in its place.
    pub(super) async fn ended(mut self, status: Option<u16>, problem: Option<&'static str>) {
        (self.call.status, self.call.problem) = (status, problem);
        self.call.took = self.began.elapsed();
        self.told = true;
        let label = status.map_or_else(|| problem.unwrap_or("none").to_owned(), |status| status.to_string());
        let method = self.call.method.clone();
        metrics::counter!("tieline_proxy_calls_total", "method" => method, "outcome" => label).increment(1);
        metrics::histogram!("tieline_proxy_seconds").record(self.call.took.as_secs_f64());
        metrics::counter!("tieline_proxy_sent_bytes_total").increment(self.call.sent.unwrap_or(0));
        if self.call.changes {
            record(&self.service, &self.tenant, &self.call).await;
        } else {
            tracing::debug!(method = self.call.method, path = self.call.path, status, problem, "read from the org");
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if self.told || !self.call.changes {
            return;
        }
        let (service, tenant, mut call) = (self.service.clone(), self.tenant.clone(), self.call.clone());
        (call.problem, call.took) = (Some("caller_left"), self.began.elapsed());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { record(&service, &tenant, &call).await });
        }
    }
}
