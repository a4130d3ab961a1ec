//! OAuth 2.0 web server flow with PKCE.
//!
//! 1. [`Authorize::begin`] makes the URL of the login page, with a `state`, a PKCE challenge (S256) and, for OpenID
//!    Connect, a `nonce`. The person goes there.
//! 2. The org sends the browser back to the redirect URI with a code, or an error.
//! 3. [`Pending::finish`] checks that the answer belongs to this login and swaps the code, once, for tokens.
//!
//! A service that serves many people keeps logins between 1 and 3 in [`PendingLogins`], bound to the browser session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::clock::Clock;
use crate::config::App;
use crate::error::{AuthError, AuthErrorKind, ConfigError, hint_for};
use crate::grant::begun_login::BegunLogin;
use crate::secret::Secret;
use crate::token_endpoint::{self, Form};
use crate::token_state::Fingerprint;

/// A login page is not looked at for longer than this. The code itself lives 15 minutes.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Logins that wait at once; more than people can be in one service. The oldest goes first.
const WAITING: usize = 10_000;

/// What to ask the person for.
#[derive(Debug, Clone)]
pub struct Authorize {
    /// One of the app's callback URLs, exactly. `SF_REDIRECT_URI`.
    pub redirect_uri: Url,
    /// Scopes: `api refresh_token` is enough for an integration. None asks for all that the app has.
    pub scopes: Vec<String>,
    /// `login`, `consent` or `select_account`.
    pub prompt: Option<String>,
    /// User name to fill in.
    pub login_hint: Option<String>,
}

/// A login that waits for its person. It can be finished once.
pub struct Pending {
    app: App,
    redirect_uri: Url,
    url: Url,
    state: Secret,
    verifier: Secret,
    nonce: Option<Secret>,
    begun: Timestamp,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("app", &self.app).field("begun", &self.begun).finish_non_exhaustive()
    }
}

/// 256 random bits as text of 43 characters: the shortest that PKCE allows, and enough.
fn random_text() -> Result<Secret, ConfigError> {
    let mut bytes = [0u8; 32];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| ConfigError::new("the system gives no randomness", "see that /dev/urandom can be read"))?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(bytes)))
}

impl Authorize {
    /// Asks for the scopes that an integration needs: `api refresh_token`.
    pub fn new(redirect_uri: Url) -> Self {
        let scopes = vec!["api".to_owned(), "refresh_token".to_owned()];
        Self { redirect_uri, scopes, prompt: None, login_hint: None }
    }

    /// Step 1.
    ///
    /// # Errors
    /// When the login host is not allowed to see a credential, or the system gives no randomness.
    ///
    /// ```
    /// use tieline_auth::grant::authorization_code::Authorize;
    /// use tieline_auth::{App, Clock, SystemClock};
    ///
    /// let app = App::new("https://login.salesforce.com", "3MVG9…").unwrap();
    /// let ask = Authorize::new("https://example.org/callback".parse().unwrap());
    /// let login = ask.begin(&app, SystemClock::default().now()).unwrap();
    /// assert!(login.url().as_str().contains("code_challenge_method=S256"));
    /// ```
    pub fn begin(&self, app: &App, now: Timestamp) -> Result<Pending, ConfigError> {
        let mut url = app.as_ref().oauth_url("authorize");
        app.hosts.check(&url).map_err(|refused| {
            ConfigError::new(format!("the login URL cannot be used: {refused}"), "name a Salesforce login host")
        })?;
        let (state, verifier) = (random_text()?, random_text()?);
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose().as_bytes()));
        let nonce = self.scopes.iter().any(|scope| scope == "openid").then(random_text).transpose()?;
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("response_type", "code").append_pair("client_id", &app.client_id);
            query.append_pair("redirect_uri", self.redirect_uri.as_str()).append_pair("state", state.expose());
            query.append_pair("code_challenge", &challenge).append_pair("code_challenge_method", "S256");
            if !self.scopes.is_empty() {
                query.append_pair("scope", &self.scopes.join(" "));
            }
            let nonce = nonce.as_ref().map(Secret::expose);
            let rest =
                [("nonce", nonce), ("prompt", self.prompt.as_deref()), ("login_hint", self.login_hint.as_deref())];
            for (name, value) in rest {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
        }
        let (app, redirect_uri) = (app.clone(), self.redirect_uri.clone());
        Ok(Pending { app, redirect_uri, url, state, verifier, nonce, begun: now })
    }
}

/// What is kept of a begun login where another process may have to finish it. All of it is secret.
pub struct Kept {
    /// What the browser brings back. A place that many can read keeps its digest alone.
    pub state: Secret,
    /// The PKCE verifier.
    pub verifier: Secret,
    /// What the ID token must hold, where `openid` was asked for.
    pub nonce: Option<Secret>,
    /// When the login was begun.
    pub begun: Timestamp,
}

impl Pending {
    /// What to keep of it, to finish it elsewhere by [`Pending::resume`].
    pub fn kept(&self) -> Kept {
        let (state, verifier, nonce) = (self.state.clone(), self.verifier.clone(), self.nonce.clone());
        Kept { state, verifier, nonce, begun: self.begun }
    }

    /// A login that was begun elsewhere. App and redirect URI must be the same ones.
    pub fn resume(app: App, redirect_uri: Url, kept: Kept) -> Self {
        let Kept { state, verifier, nonce, begun } = kept;
        let url = app.as_ref().oauth_url("authorize");
        Self { app, redirect_uri, url, state, verifier, nonce, begun }
    }

    /// Where to send the person. It holds the `state`: not for logs.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Whether a callback is an answer to this login, by its `state`. Looking uses nothing up: whoever can make a browser
    /// ask for the callback must not be able to end somebody's login.
    pub fn is_answered_by(&self, callback: &Url) -> bool {
        let state = callback.query_pairs().find(|(key, _)| key == "state").map(|(_, value)| value.into_owned());
        verify_slices_are_equal(state.unwrap_or_default().as_bytes(), self.state.expose().as_bytes()).is_ok()
    }

    /// Steps 2 and 3: `callback` is the URL that the browser was sent to, with its query string.
    ///
    /// # Errors
    /// [`AuthErrorKind::Callback`] if it does not belong to this login: nothing is sent then. Else what the org says.
    pub async fn finish(
        self,
        callback: &Url,
        http: &reqwest::Client,
        clock: &dyn Clock,
    ) -> Result<BegunLogin, AuthError> {
        let host = self.app.login_url.host_str().unwrap_or_default().to_owned();
        let failed = |kind| AuthError::new(&host, kind);
        let field =
            |name: &str| callback.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let refuse = |reason| Err(failed(AuthErrorKind::Callback { reason }));
        if !self.is_answered_by(callback) {
            return refuse("its `state` is not the one that was sent");
        }
        if clock.now().duration_since(self.begun).abs() > LIFE {
            return refuse("the login was begun more than ten minutes ago");
        }
        if let Some(error) = field("error") {
            let description = field("error_description").unwrap_or_default();
            let hint = hint_for(&error, &description, None, &self.app.login_url);
            return Err(failed(AuthErrorKind::Refused { error, description, hint }));
        }
        let Some(code) = field("code") else { return refuse("it carries neither a code nor an error") };
        let form = Form::of_app("authorization_code", self.app.as_ref())
            .with("code", code)
            .with("redirect_uri", self.redirect_uri.as_str())
            .with("code_verifier", self.verifier.expose());
        let issued = token_endpoint::exchange(http, self.app.as_ref(), &form, None, clock.now()).await;
        let issued = issued.map_err(|refusal| failed(refusal.kind))?;
        let login = BegunLogin::new(self.app, issued, clock.now()).map_err(failed)?;
        // The ID token came straight from the token endpoint over TLS, so its issuer is certain without a signature
        // check (OpenID Connect Core 3.1.3.7); the nonce tells that it was made for this login.
        if let Some(nonce) = &self.nonce
            && !login.has_nonce(nonce)
        {
            return Err(AuthError::new(
                &host,
                AuthErrorKind::Callback { reason: "its ID token was made for another login" },
            ));
        }
        Ok(login)
    }
}

/// Logins under way in one process, each bound to a browser session and good for one callback.
#[derive(Debug)]
pub struct PendingLogins {
    clock: Arc<dyn Clock>,
    waiting: Mutex<HashMap<String, (Pending, Fingerprint)>>,
}

impl PendingLogins {
    /// None yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, waiting: Mutex::default() }
    }

    /// Begins a login for the browser with this session (any text that only this browser has) and answers where to
    /// send it.
    ///
    /// # Errors
    /// As [`Authorize::begin`].
    pub fn begin(&self, app: &App, ask: &Authorize, session: &str) -> Result<Url, ConfigError> {
        let now = self.clock.now();
        let pending = ask.begin(app, now)?;
        let url = pending.url().clone();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (pending, _)| now.duration_since(pending.begun).abs() <= LIFE);
        if waiting.len() >= WAITING
            && let Some(oldest) = waiting.iter().min_by_key(|(_, (p, _))| p.begun).map(|(key, _)| key.clone())
        {
            waiting.remove(&oldest);
        }
        // By its digest: what is compared is no secret.
        let key = Fingerprint::of(&[pending.state.expose()]).as_str().to_owned();
        waiting.insert(key, (pending, Fingerprint::of(&[session])));
        Ok(url)
    }

    /// Finishes the login that the callback belongs to. Whatever comes of it, it is used up.
    ///
    /// # Errors
    /// [`AuthErrorKind::Callback`] for an unknown, used or foreign `state`; else as [`Pending::finish`].
    pub async fn finish(&self, callback: &Url, session: &str, http: &reqwest::Client) -> Result<BegunLogin, AuthError> {
        let state = callback.query_pairs().find(|(key, _)| key == "state").map(|(_, value)| value.into_owned());
        let key = Fingerprint::of(&[&state.unwrap_or_default()]).as_str().to_owned();
        let found = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let refuse = |reason| {
            let host = callback.host_str().unwrap_or_default();
            Err(AuthError::new(host, AuthErrorKind::Callback { reason }))
        };
        match found {
            None => refuse("no login with this `state` is waiting: it is unknown, was used before, or is too old"),
            Some((_, owner)) if owner != Fingerprint::of(&[session]) => {
                refuse("the login was begun in another browser session")
            }
            Some((pending, _)) => pending.finish(callback, http, &*self.clock).await,
        }
    }
}
