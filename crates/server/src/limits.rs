//! How often a client may ask: a layer for each class of routes.
//!
//! Answers carry `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), a refusal `Retry-After`
//! (RFC 9110) as well. The older `X-RateLimit-*` are left out on purpose: no text says what they mean, and their `Reset`
//! is a time of day with some services and a number of seconds with others, so that a client who takes ours for the
//! other's waits for decades or not at all. What every client understands is `Retry-After`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{FromFnLayer, Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tieline_store::Uuid;
use tieline_store::rate_limits::{self, Decision, Limit, RateLimits};

use crate::client_address::Trusted;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

const QUARTER_OF_AN_HOUR: Duration = Duration::from_secs(900);

/// Which limit a route has. Static files have none, and no layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// `/api/integrations/*`: by API key or user, else by address.
    Api,
    /// Trying to sign in, and all else where somebody guesses: by address, whoever they are already.
    SignIn,
    /// The same by the account that is tried, from wherever. See [`Limits::take_account`].
    SignInAccount,
    /// Coming back from an org's login: by user, else by address.
    Callback,
    /// Signed-in pages: by user, else by address.
    Pages,
    /// API keys and sessions that are none, each once: by address, in the memory of each node. Keys that have worked there are
    /// taken all the same.
    WrongKeys,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 6] =
        [Class::Api, Class::SignIn, Class::SignInAccount, Class::Callback, Class::Pages, Class::WrongKeys];

    /// Its name in the configuration, and of its policy in headers.
    pub fn name(self) -> &'static str {
        match self {
            Class::Api => "api",
            Class::SignIn => "sign_in",
            Class::SignInAccount => "sign_in_account",
            Class::Callback => "callback",
            Class::Pages => "pages",
            Class::WrongKeys => "wrong_keys",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

    /// Requests in a quarter of an hour, unless configured otherwise.
    fn default_burst(self) -> u32 {
        match self {
            Class::Api => 100,
            Class::SignIn => 10,
            // More than one address may try: whoever does must not lock the owner out by that.
            Class::SignInAccount => 50,
            Class::Callback | Class::WrongKeys => 20,
            Class::Pages => 600,
        }
    }
}

/// The limit of each class.
///
/// ```
/// use tieline_server::limits::{Class, Classes};
/// let mut classes = Classes::default();
/// classes.set(Class::Api, "1000/1h").unwrap();
/// assert_eq!(classes.limit(Class::Api).unwrap().burst, 1000);
/// classes.set(Class::Pages, "off").unwrap();
/// assert!(classes.limit(Class::Pages).is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes([Option<Limit>; 6]);

impl Default for Classes {
    fn default() -> Self {
        Self(Class::ALL.map(|class| Some(Limit { burst: class.default_burst(), period: QUARTER_OF_AN_HOUR })))
    }
}

/// A limit that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{0}` as a limit of requests; hint: `100/15m` (100 in 15 minutes; also s, h and d), or `off`")]
pub struct NoLimit(String);

impl Classes {
    /// The limit of a class; none if it is off.
    pub fn limit(&self, class: Class) -> Option<Limit> {
        self.0[class as usize]
    }

    /// Sets the limit of a class: requests and a time (`100/15m`), or `off`.
    ///
    /// # Errors
    /// [`NoLimit`], also for no requests or no time at all.
    pub fn set(&mut self, class: Class, text: &str) -> Result<(), NoLimit> {
        let limit = || {
            let (burst, period) = text.split_once('/')?;
            let (number, unit) = period.trim().split_at_checked(period.trim().len().checked_sub(1)?)?;
            let seconds: u64 = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            let burst: u32 = burst.trim().parse().ok().filter(|burst| *burst > 0)?;
            let period = number.parse::<u64>().ok().filter(|n| *n > 0)?.checked_mul(seconds)?;
            Some(Limit { burst, period: Duration::from_secs(period) })
        };
        self.0[class as usize] = match text.trim() {
            "off" => None,
            _ => Some(limit().ok_or_else(|| NoLimit(text.to_owned()))?),
        };
        Ok(())
    }
}

/// Who is known to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// A program, by the id of its API key.
    ApiKey(Uuid),
    /// A signed-in user.
    User(Uuid),
}

/// What the layers need of a service's state.
pub trait Guarded: Clone + Send + Sync + 'static {
    /// The limits.
    fn limits(&self) -> &Limits;

    /// Who has proven to be behind the request. What was found out may be left in its extensions, so that the handler
    /// need not ask again. `None` for credentials that are wrong: then the address counts, and guessing is limited.
    fn identify(&self, parts: &mut Parts) -> impl Future<Output = Option<Identity>> + Send;
}

/// The limits of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    counters: RateLimits,
    classes: Classes,
    trusted: Trusted,
}

impl Limits {
    /// What is counted, how much is allowed, and which proxies are believed.
    pub fn new(counters: RateLimits, classes: Classes, trusted: Trusted) -> Self {
        Self(Arc::new(Inner { counters, classes, trusted }))
    }

    /// The proxies that are believed.
    pub fn trusted(&self) -> &Trusted {
        &self.0.trusted
    }

    /// Counts one more try to sign in to an account, from wherever it comes; an account that does not exist counts too,
    /// so that the answer does not tell.
    ///
    /// # Errors
    /// The answer (429) for one try too many.
    pub async fn take_account(&self, account: &str) -> Result<(), Box<Response>> {
        match self.take(Class::SignInAccount, &account.trim().to_lowercase()).await {
            Some(told) if !told.decision.allowed => Err(Box::new(told.refusal())),
            _ => Ok(()),
        }
    }

    /// None: the class has no limit.
    async fn take(&self, class: Class, client: &str) -> Option<Told> {
        let limit = self.0.classes.limit(class)?;
        let decision = self.0.counters.take(&rate_limits::key(class.name(), client), limit, 1).await;
        Some(Told { class, limit, decision })
    }
}

/// The layer that counts the requests to its routes and refuses those that are too many.
pub type RateLimited<S> = FromFnLayer<
    fn(State<(S, Class)>, Request, Next) -> BoxFuture<'static, Response>,
    (S, Class),
    (State<(S, Class)>, Request),
>;

/// A layer for the routes of one class. It notes the [`ClientAddress`](crate::client_address::ClientAddress) in the
/// request's extensions.
pub fn rate_limited<S: Guarded>(state: S, class: Class) -> RateLimited<S> {
    from_fn_with_state((state, class), |State((state, class)), request, next| {
        limited(state, class, request, next).boxed()
    })
}

async fn limited<S: Guarded>(state: S, class: Class, request: Request, next: Next) -> Response {
    let limits = state.limits();
    let (mut parts, body) = request.into_parts();
    let address = limits.trusted().client_of(&parts);
    parts.extensions.insert(address);
    let identity = match class {
        Class::SignIn | Class::SignInAccount | Class::WrongKeys => None,
        Class::Api | Class::Callback | Class::Pages => state.identify(&mut parts).await,
    };
    let client = match identity {
        Some(Identity::ApiKey(id)) => format!("api_key {id}"),
        Some(Identity::User(id)) => format!("user {id}"),
        None => format!("address {}", address.network()),
    };
    match limits.take(class, &client).await {
        None => next.run(Request::from_parts(parts, body)).await,
        Some(told) if told.decision.allowed => {
            let mut response = next.run(Request::from_parts(parts, body)).await;
            told.write(response.headers_mut());
            response
        }
        Some(told) => {
            crate::telemetry::measures::rate_limited(class.name());
            told.refusal()
        }
    }
}

/// A decision, to be told to the client.
struct Told {
    class: Class,
    limit: Limit,
    decision: Decision,
}

impl Told {
    /// Both headers are lists: what an inner layer has said stays.
    fn write(&self, headers: &mut HeaderMap) {
        let (name, Decision { limit, remaining, more_after, .. }) = (self.class.name(), self.decision);
        let policy = format!("\"{name}\";q={limit};w={}", seconds(self.limit.period));
        // `t`: when there is more than `r`.
        let state = format!("\"{name}\";r={remaining};t={}", seconds(more_after));
        for (header, value) in [(POLICY, policy), (STATE, state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(header, value);
            }
        }
    }

    fn refusal(&self) -> Response {
        let wait = seconds(self.decision.retry_after).max(1);
        let unit = if wait == 1 { "second" } else { "seconds" };
        let body = serde_json::json!({
            "type": "urn:tieline:problem:rate_limited",
            "title": "Too Many Requests",
            "status": 429,
            "code": "rate_limited",
            "detail": format!(
                "more requests than {} in {} seconds (limit `{}`)",
                self.decision.limit, seconds(self.limit.period), self.class.name()
            ),
            "hint": format!("try again in {wait} {unit}; the header RateLimit says how many requests are left"),
        });
        let mut response = (StatusCode::TOO_MANY_REQUESTS, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::RETRY_AFTER, wait.into());
        self.write(headers);
        response
    }
}

/// Whole seconds, rounded up: whoever waits so long has waited long enough.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::extract::ConnectInfo;
    use axum::routing::get;
    use tieline_auth::ManualClock;
    use tieline_store::Store;
    use tower::ServiceExt;

    use super::*;
    use crate::client_address::ClientAddress;

    #[derive(Clone)]
    struct App(Limits);

    impl Guarded for App {
        fn limits(&self) -> &Limits {
            &self.0
        }

        /// The tests' clients say who they are.
        async fn identify(&self, parts: &mut Parts) -> Option<Identity> {
            let (kind, id) = parts.headers.get("who")?.to_str().ok()?.split_once(' ')?;
            let id = id.parse().ok()?;
            Some(if kind == "user" { Identity::User(id) } else { Identity::ApiKey(id) })
        }
    }

    struct Fixture {
        router: Router,
        limits: Limits,
        clock: Arc<ManualClock>,
        _folder: tempfile::TempDir,
    }

    async fn fixture(settings: &[(Class, &str)]) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("t.db")).await.unwrap();
        let clock = Arc::new(ManualClock::at("2026-06-01T12:00:00Z".parse().unwrap()));
        let mut classes = Classes::default();
        for (class, text) in settings {
            classes.set(*class, text).unwrap();
        }
        let trusted = Trusted { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Trusted::default() };
        let limits = Limits::new(RateLimits::new(store, clock.clone()), classes, trusted);
        let app = App(limits.clone());
        let address = |request: Request| async move { format!("{:?}", request.extensions().get::<ClientAddress>()) };
        let mut router = Router::new().route("/assets", get(async || "css"));
        for class in Class::ALL {
            let routes = Router::new().route(&format!("/{}", class.name()), get(address));
            router = router.merge(routes.layer(rate_limited(app.clone(), class)));
        }
        Fixture { router, limits, clock, _folder: folder }
    }

    impl Fixture {
        async fn ask(&self, path: &str, peer: &str, headers: &[(&str, &str)]) -> Response {
            let mut request = Request::get(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut request = request.body(Body::empty()).unwrap();
            request.extensions_mut().insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
            self.router.clone().oneshot(request).await.unwrap()
        }

        /// How many of so many requests pass.
        async fn passed(&self, n: usize, path: &str, peer: &str, headers: &[(&str, &str)]) -> usize {
            let mut passed = 0;
            for _ in 0..n {
                passed += usize::from(self.ask(path, peer, headers).await.status() == StatusCode::OK);
            }
            passed
        }
    }

    async fn body(response: Response) -> String {
        String::from_utf8(to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()).unwrap()
    }

    fn text<'r>(response: &'r Response, name: &str) -> &'r str {
        response.headers().get(name).map_or("-", |value| value.to_str().unwrap())
    }

    const PEER: &str = "192.0.2.1:1234";

    #[tokio::test]
    async fn an_answer_says_what_is_left_and_a_refusal_when_to_come_back() {
        let fixture = fixture(&[(Class::Api, "3/15m")]).await;
        for (left, more) in [(2, 300), (1, 300), (0, 300)] {
            let response = fixture.ask("/api", PEER, &[]).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(text(&response, "ratelimit-policy"), "\"api\";q=3;w=900");
            assert_eq!(text(&response, "ratelimit"), format!("\"api\";r={left};t={more}"));
            assert_eq!((text(&response, "retry-after"), text(&response, "x-ratelimit-limit")), ("-", "-"));
        }
        fixture.clock.advance(Duration::from_millis(100_500));
        let refused = fixture.ask("/api", PEER, &[]).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(text(&refused, "retry-after"), "200");
        assert_eq!(text(&refused, "ratelimit-policy"), "\"api\";q=3;w=900");
        assert_eq!(text(&refused, "ratelimit"), "\"api\";r=0;t=200");
        assert_eq!(text(&refused, "content-type"), "application/problem+json");
        assert_eq!(text(&refused, "cache-control"), "no-store");
        let problem: serde_json::Value = serde_json::from_str(&body(refused).await).unwrap();
        assert_eq!((&problem["status"], &problem["code"]), (&429.into(), &"rate_limited".into()));
        assert_eq!(problem["type"], "urn:tieline:problem:rate_limited");
        assert_eq!(problem["title"], "Too Many Requests");
        assert_eq!(problem["detail"], "more requests than 3 in 900 seconds (limit `api`)");
        assert!(problem["hint"].as_str().unwrap().starts_with("try again in 200 seconds;"));
        fixture.clock.advance(Duration::from_secs(200));
        assert_eq!(fixture.passed(2, "/api", PEER, &[]).await, 1, "who waits as long as told is let through");
    }

    #[tokio::test]
    async fn classes_have_their_own_limits_and_defaults() {
        let fixture = fixture(&[]).await;
        for (class, most) in [("api", 100), ("sign_in", 10), ("callback", 20), ("pages", 600)] {
            assert_eq!(fixture.passed(most + 5, &format!("/{class}"), PEER, &[]).await, most, "{class}");
        }
        let asset = fixture.ask("/assets", PEER, &[]).await;
        assert_eq!((asset.status(), text(&asset, "ratelimit")), (StatusCode::OK, "-"));
        let off = self::fixture(&[(Class::Pages, "off")]).await;
        assert_eq!(off.passed(700, "/pages", PEER, &[]).await, 700);
        assert_eq!(text(&off.ask("/pages", PEER, &[]).await, "ratelimit-policy"), "-");
    }

    #[tokio::test]
    async fn clients_are_told_apart_by_who_they_are_and_else_by_network() {
        let fixture = fixture(&[(Class::Api, "2/1h"), (Class::SignIn, "2/1h")]).await;
        let id = Uuid::now_v7();
        let (key, user) = (format!("api_key {id}"), format!("user {id}"));
        for who in [[("who", key.as_str())], [("who", user.as_str())]] {
            assert_eq!(fixture.passed(2, "/api", PEER, &who).await, 2);
            assert_eq!(
                fixture.passed(1, "/api", "198.51.100.9:1", &who).await,
                0,
                "another address is no other client"
            );
        }
        assert_eq!(fixture.passed(3, "/api", PEER, &[("who", "api_key guessed")]).await, 2, "the address has its own");
        assert_eq!(fixture.passed(1, "/api", PEER, &[]).await, 0);
        let who = [("who", user.as_str())];
        assert_eq!(fixture.passed(3, "/sign_in", "198.51.100.9:1", &who).await, 2);
        assert_eq!(fixture.passed(1, "/sign_in", "198.51.100.9:1", &[]).await, 0, "who they are does not count here");
        assert_eq!(fixture.passed(2, "/api", "[2001:db8:1:2::1]:1", &[]).await, 2);
        assert_eq!(fixture.passed(1, "/api", "[2001:db8:1:2:ffff::9]:1", &[]).await, 0, "the same network");
        assert_eq!(fixture.passed(1, "/api", "[2001:db8:1:3::1]:1", &[]).await, 1);
    }

    #[tokio::test]
    async fn a_client_behind_our_proxy_counts_and_one_who_makes_addresses_up_does_not() {
        let fixture = fixture(&[(Class::SignIn, "2/1h")]).await;
        let mut passed = 0;
        for n in 0..20 {
            let made_up = format!("203.0.113.{n}");
            passed += fixture.passed(1, "/sign_in", PEER, &[("x-forwarded-for", &made_up)]).await;
            let through = format!("{made_up}, 198.51.100.1");
            passed += fixture.passed(1, "/sign_in", "10.0.0.1:1", &[("x-forwarded-for", &through)]).await;
        }
        assert_eq!(passed, 4);
        let behind = fixture.ask("/pages", "10.0.0.1:1", &[("x-forwarded-for", "198.51.100.2")]).await;
        assert_eq!(body(behind).await, "Some(ClientAddress(Some(198.51.100.2)))");
    }

    #[tokio::test]
    async fn an_account_is_guarded_from_all_addresses_at_once() {
        let limits = fixture(&[(Class::SignInAccount, "2/1h")]).await.limits;
        assert!(limits.take_account("Ada@example.com").await.is_ok());
        assert!(limits.take_account(" ada@example.com").await.is_ok());
        let refused = limits.take_account("ADA@EXAMPLE.COM").await.unwrap_err();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(text(&refused, "ratelimit"), "\"sign_in_account\";r=0;t=1800");
        assert!(limits.take_account("bob@example.com").await.is_ok());
    }

    #[test]
    fn limits_are_read_from_text() {
        let mut classes = Classes::default();
        for (text, burst, seconds) in
            [("100/15m", 100, 900), (" 5 / 1s ", 5, 1), ("1/2h", 1, 7_200), ("9/1d", 9, 86_400)]
        {
            classes.set(Class::Callback, text).unwrap();
            let limit = classes.limit(Class::Callback).unwrap();
            assert_eq!((limit.burst, limit.period), (burst, Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "/", "100", "100/", "100/m", "0/1m", "1/0s", "-1/1m", "1/1w", "1/é", "1/99999999999999999999d"]
        {
            assert!(classes.set(Class::Callback, text).is_err(), "{text}");
        }
        assert!(Class::ALL.iter().enumerate().all(|(n, class)| *class as usize == n));
        assert!(Class::ALL.iter().all(|class| Class::from_name(class.name()) == Some(*class)));
    }
}
