//! Alerts: what is wrong, who is told of it, and the messages themselves.
//!
//! The store decides what is told to whom, in the transaction that notes what happened (`tieline_store::alerts`). Here is
//! what comes before and after: where failures are noted (`conditions`), how messages are written (`message`) and sent
//! (`sending`), what of a channel is sealed (`setting`), and the API: `channels`, `rules`, `notifications`.

pub(crate) mod channels;
mod conditions;
mod message;
pub(crate) mod notifications;
pub(crate) mod rules;
mod sending;
mod setting;

pub(crate) use conditions::Noted;
pub(crate) use setting::{Setting, shown};

use serde::{Deserialize, Serialize};
use tieline_store::alerts::AlertKind;
use utoipa::ToSchema;

use crate::problem::Problem;

/// What kind of condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AlertKind)]
pub(crate) enum KindName {
    /// Somebody must log in to the org, or change its settings.
    AuthFailure,
    /// Sync runs fail.
    SyncFailure,
    /// The org's API calls of 24 hours are nearly used up.
    ApiBudget,
    /// The certificate of the app's key ends soon.
    CertificateExpiry,
    /// A webhook of changed records was switched off, for its receiver takes nothing.
    WebhookFailure,
    /// A mapping is paused until somebody decides: much of its table is not to be found in the org.
    SyncHeld,
}

impl From<KindName> for AlertKind {
    fn from(name: KindName) -> Self {
        match name {
            KindName::AuthFailure => AlertKind::AuthFailure,
            KindName::SyncFailure => AlertKind::SyncFailure,
            KindName::ApiBudget => AlertKind::ApiBudget,
            KindName::CertificateExpiry => AlertKind::CertificateExpiry,
            KindName::WebhookFailure => AlertKind::WebhookFailure,
            KindName::SyncHeld => AlertKind::SyncHeld,
        }
    }
}

/// 409: there are as many as there may be.
pub(crate) fn full(what: &str, most: u32) -> Problem {
    Problem::conflict("limit_reached", format!("there are {most} {what} already"), "delete one that is not needed")
}
