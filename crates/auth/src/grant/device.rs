//! OAuth 2.0 device flow: the program shows a code, the person enters it in a browser elsewhere.
//!
//! Salesforce blocks it for apps that are not installed in the org, and its own command line has dropped it; it works
//! where the app allows it.

use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

use crate::clock::Clock;
use crate::config::App;
use crate::error::{AuthError, AuthErrorKind};
use crate::grant::begun_login::BegunLogin;
use crate::secret::Secret;
use crate::token_endpoint::{self, Form, post, refused};

/// A device code is good for ten minutes.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// What `slow_down` adds to the interval (RFC 8628, 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// A code that waits to be entered.
#[derive(Debug)]
pub struct DeviceLogin {
    app: App,
    device_code: Secret,
    /// What the person enters.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// How long to wait between questions.
    pub interval: Duration,
}

#[derive(Deserialize)]
struct Started {
    device_code: String,
    user_code: String,
    verification_uri: String,
    interval: u64,
}

impl DeviceLogin {
    /// Asks for a code.
    ///
    /// # Errors
    /// What the org says; some have the flow switched off.
    pub async fn start(app: &App, scopes: &[&str], http: &reqwest::Client) -> Result<Self, AuthError> {
        let host = app.login_url.host_str().unwrap_or_default();
        let failed = |kind| AuthError::new(host, kind);
        let form = Form::bare().with("response_type", "device_code").with("client_id", &app.client_id);
        let form = if scopes.is_empty() { form } else { form.with("scope", scopes.join(" ")) };
        let answer = post(http, app.as_ref(), "token", &form).await.map_err(|f| failed(f.kind))?;
        let started = serde_json::from_slice::<Started>(&answer.body).ok().filter(|_| answer.status == 200);
        let Some(started) = started else { return Err(failed(refused(app.as_ref(), None, answer).kind)) };
        Ok(Self {
            app: app.clone(),
            device_code: Secret::new(started.device_code),
            user_code: started.user_code,
            verification_uri: started.verification_uri,
            interval: Duration::from_secs(started.interval.clamp(1, 60)),
        })
    }

    /// Waits until the person has entered the code, for ten minutes at most.
    ///
    /// # Errors
    /// The person refused, the code ran out, or the org cannot be reached.
    pub async fn wait(self, http: &reqwest::Client, clock: &dyn Clock) -> Result<BegunLogin, AuthError> {
        let host = self.app.login_url.host_str().unwrap_or_default().to_owned();
        let failed = |kind| AuthError::new(&host, kind);
        let begun = clock.now();
        let mut interval = self.interval;
        loop {
            tokio::time::sleep(interval).await;
            let form = Form::of_app("device", self.app.as_ref()).with("code", self.device_code.expose());
            match token_endpoint::exchange(http, self.app.as_ref(), &form, None, clock.now()).await {
                Ok(issued) => return BegunLogin::new(self.app, issued, clock.now()).map_err(failed),
                Err(refusal) => match &refusal.kind {
                    AuthErrorKind::Refused { error, .. } if error == "authorization_pending" => {}
                    AuthErrorKind::Refused { error, .. } if error == "slow_down" => interval += SLOWER,
                    AuthErrorKind::Unreachable { .. } => {}
                    _ => return Err(failed(refusal.kind)),
                },
            }
            if clock.now().duration_since(begun).abs() > LIFE {
                return Err(failed(AuthErrorKind::Callback { reason: "nobody entered the code within ten minutes" }));
            }
        }
    }
}
