//! The device flow: a code is shown here, entered there.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::client::{self, Client};
use super::token::{Form, Granted, field};
use super::{OAuthError, random_token};
use crate::org::Org;

const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Seconds between two questions.
const INTERVAL: i64 = 5;

#[derive(Debug)]
pub(crate) struct Device {
    device_code: String,
    pub(crate) user_code: String,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    started: Timestamp,
    asked: Option<Timestamp>,
    /// Who allowed it, or nobody who was asked; unset while nobody was.
    pub(crate) decision: Option<Option<String>>,
}

/// `response_type=device_code`.
pub(super) fn start(org: &mut Org, form: &Form) -> Result<Value, OAuthError> {
    let app = client::app(org, field(form, "client_id"))?;
    if !app.policy.device_flow {
        return Err(OAuthError("oauth_flow_disabled", "device flow disabled"));
    }
    let device = Device {
        device_code: format!("M{}==", random_token(60)),
        // Without letters and digits that look alike.
        user_code: (0..8).map(|_| b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789"[fastrand::usize(..32)] as char).collect(),
        client_id: app.client_id.clone(),
        scope: app.policy.grant(field(form, "scope"))?,
        started: org.now(),
        asked: None,
        decision: None,
    };
    let answer = json!({
        "device_code": device.device_code, "user_code": device.user_code,
        "verification_uri": format!("{}/setup/connect", org.base_url), "interval": INTERVAL,
    });
    org.devices.push(device);
    Ok(answer)
}

/// The `device` grant.
pub(super) fn poll(org: &mut Org, form: &Form) -> Result<Granted, OAuthError> {
    const UNKNOWN: OAuthError = OAuthError("invalid_grant", "invalid device code");
    let app = Client::identify(org, form)?.app;
    let (now, code) = (org.now(), field(form, "code"));
    let found = org.devices.iter().position(|d| d.device_code == code && d.client_id == app.client_id);
    let index = found.ok_or(UNKNOWN)?;
    if now.duration_since(org.devices[index].started) > LIFE {
        org.devices.remove(index);
        return Err(OAuthError("invalid_grant", "expired device code"));
    }
    match org.devices[index].decision.take() {
        Some(decision) => {
            let device = org.devices.remove(index);
            let user_id = decision.ok_or(OAuthError("access_denied", "end-user denied authorization"))?;
            Ok(Granted { user_id, app, scope: device.scope, nonce: None, opens_family: true })
        }
        None => {
            let before = org.devices[index].asked.replace(now);
            match before {
                Some(before) if now.duration_since(before).as_secs() < INTERVAL => {
                    Err(OAuthError("slow_down", "polling too fast"))
                }
                _ => Err(OAuthError("authorization_pending", "authorization pending")),
            }
        }
    }
}

/// The device that waits for this code, which people type as they like.
pub(crate) fn waiting<'a>(org: &'a mut Org, user_code: &str) -> Option<&'a mut Device> {
    let wanted: String =
        user_code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    let now = org.now();
    org.devices
        .iter_mut()
        .find(|d| d.user_code == wanted && d.decision.is_none() && now.duration_since(d.started) <= LIFE)
}
