//! The HTTP clients: one for tokens, one for calls. Neither carries credentials of its own and neither
//! follows redirects: a redirect would take a secret to a host that nobody has checked.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use rustls_platform_verifier::BuilderVerifierExt;

/// How long a connection may take to come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the other side may stay silent. Long: a slow query is answered after up to two minutes.
pub const READ_TIMEOUT: Duration = Duration::from_secs(150);
/// Idle connections are dropped before the other side does it: a request on a connection that is being
/// closed fails after it was sent.
const POOL_IDLE: Duration = Duration::from_secs(20);
/// A login takes a second or two, and no load balancer closes what has been idle for so short a time.
const SERVICE_POOL_IDLE: Duration = Duration::from_secs(4);
/// A token response that takes longer is lost anyway.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(30);

/// A file of 150 MB takes so long at 170 kbit/s.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

fn builder() -> reqwest::ClientBuilder {
    without_read_timeout().read_timeout(READ_TIMEOUT)
}

fn without_read_timeout() -> reqwest::ClientBuilder {
    let builder = reqwest::Client::builder();
    // Otherwise reqwest makes its own, and fails with the reason why there is none.
    let builder = tls().into_iter().fold(builder, reqwest::ClientBuilder::tls_backend_preconfigured);
    builder
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(POOL_IDLE)
        .user_agent(concat!("tieline/", env!("CARGO_PKG_VERSION")))
}

/// TLS 1.2 and 1.3 with the system's certificates. They are read once in a process, and not for each client: that takes a
/// millisecond or two, and a process has several.
fn tls() -> Option<rustls::ClientConfig> {
    static TLS: OnceLock<rustls::ClientConfig> = OnceLock::new();
    if let Some(made) = TLS.get() {
        return Some(made.clone());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let mut made = versions.with_platform_verifier().ok()?.with_no_client_auth();
    made.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(TLS.get_or_init(|| made).clone())
}

/// The client for API calls.
///
/// # Errors
/// When the machine has no usable certificate store.
pub fn api_client() -> reqwest::Result<reqwest::Client> {
    builder().build()
}

/// The client for API calls with times of the caller's: until a connection has come about, and for which the other side
/// may stay silent. It asks for compressed answers and leaves them so: who calls inflates them.
///
/// # Errors
/// As [`api_client`].
pub fn api_client_within(connect: Duration, idle: Duration) -> reqwest::Result<reqwest::Client> {
    let compressed = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
    let builder = without_read_timeout().connect_timeout(connect).read_timeout(idle);
    builder.gzip(false).default_headers(compressed).build()
}

/// The client for uploads, which go on for as long as something is sent; an answer that never comes ends it after two
/// hours. The silence of the other side tells nothing while it listens.
///
/// # Errors
/// As [`api_client`].
pub fn upload_client() -> reqwest::Result<reqwest::Client> {
    without_read_timeout().timeout(UPLOAD_TIMEOUT).build()
}

/// The client for API calls of a process that is frozen at times. What has been idle for longer than a few seconds is
/// not used again: the other side may have closed it during the freeze, and a POST that fails on such a connection cannot
/// be repeated. Time goes on in a freeze for the clock that this is counted by (aws-lambda-web-adapter#830, measured).
///
/// # Errors
/// As [`api_client`].
pub fn thawing_client() -> reqwest::Result<reqwest::Client> {
    builder().pool_idle_timeout(SERVICE_POOL_IDLE).build()
}

/// The client for token requests. Each has a connection of its own: they are rare, and one that fails on a connection
/// that somebody has closed meanwhile (a load balancer, the thaw of a frozen Lambda) may have spent a refresh token.
///
/// # Errors
/// As [`api_client`].
pub fn token_client() -> reqwest::Result<reqwest::Client> {
    token_client_within(TOKEN_TIMEOUT)
}

/// The same with another time for each request.
///
/// # Errors
/// As [`api_client`].
pub fn token_client_within(timeout: Duration) -> reqwest::Result<reqwest::Client> {
    builder().timeout(timeout).gzip(false).pool_max_idle_per_host(0).build()
}

/// The client for services that are asked several times within one login: AWS, Vault. Connections outlive a login, and
/// hardly a freeze.
///
/// # Errors
/// As [`api_client`].
pub(crate) fn service_client() -> reqwest::Result<reqwest::Client> {
    builder().timeout(TOKEN_TIMEOUT).gzip(false).pool_idle_timeout(SERVICE_POOL_IDLE).build()
}

/// The innermost cause of a transport error: "connection refused" rather than "error sending request".
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Reqwest's errors carry the whole URL, and a query string may hold a secret.
pub(crate) fn without_url(error: reqwest::Error) -> reqwest::Error {
    error.without_url()
}
