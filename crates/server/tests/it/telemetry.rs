//! What operators see: metrics, lines, ids; and how the service goes.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tieline_auth::Secret;
use tieline_server::telemetry::{Metrics, measures};
use tieline_server::{Service, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing_subscriber::layer::SubscriberExt;

use crate::database::Db;
use crate::exposition::Exposition;

const TOKEN: &str = "planted-metrics-token";

/// The service on an address of its own.
struct Running {
    url: String,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
    _db: Db,
}

async fn start(change: impl FnOnce(&mut Settings)) -> Running {
    let db = Db::sqlite().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}");
    let mut settings = Settings { every: Duration::from_secs(100_000), ..Settings::new(url.parse().unwrap()) };
    change(&mut settings);
    let service = Service::new(db.store.clone(), settings).unwrap();
    service.setup_token(Some(Secret::new("setup-token"))).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(tieline_server::serve(listener, service, async {
        let _ = stopped.await;
    }));
    Running { url, address, stop, serving, _db: db }
}

impl Running {
    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = http().request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    async fn status(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        self.send("GET", path, headers).await.status().as_u16()
    }

    async fn metrics(&self) -> Exposition {
        let answer = self.send("GET", "/metrics", &[]).await;
        assert_eq!(answer.status(), 200);
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
        Exposition::read(&answer.text().await.unwrap())
    }
}

/// Each request on a connection of its own: none is kept open when the service is to end.
fn http() -> reqwest::Client {
    reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap()
}

fn with_metrics(token: Option<&str>) -> impl FnOnce(&mut Settings) {
    let (metrics, _) = Metrics::new(token.map(Secret::new)).unwrap();
    move |settings| settings.metrics = Some(metrics)
}

#[tokio::test]
async fn metrics_are_read_on_this_machine_or_with_their_token_alone() {
    let none = start(|_| ()).await;
    assert_eq!(none.status("/metrics", &[]).await, 404);

    let local = start(with_metrics(None)).await;
    assert_eq!(local.status("/metrics", &[]).await, 200);
    assert_eq!(local.status("/metrics", &[("host", "rebound.example")]).await, 404);

    // Behind a proxy everybody seems to be here.
    let proxied = start(|settings| {
        with_metrics(None)(settings);
        settings.public_url = "https://crm.example.com".parse().unwrap();
    })
    .await;
    assert_eq!(proxied.status("/metrics", &[]).await, 404);

    let open = start(|settings| {
        with_metrics(Some(TOKEN))(settings);
        settings.public_url = "https://crm.example.com".parse().unwrap();
    })
    .await;
    for wrong in
        [None, Some("Bearer planted-metrics-toke"), Some("Bearer "), Some("Basic planted-metrics-token"), Some(TOKEN)]
    {
        let headers: Vec<_> = wrong.map(|value| ("authorization", value)).into_iter().collect();
        assert_eq!(open.status("/metrics", &headers).await, 401, "{wrong:?}");
    }
    assert_eq!(open.status("/metrics", &[("authorization", "bearer planted-metrics-token")]).await, 200);

    let error = Metrics::new(Some(Secret::new("short"))).map(drop).unwrap_err();
    assert!(error.to_string().contains("16 characters") && !error.to_string().contains("short"), "{error}");
}

#[tokio::test]
async fn counters_move_lines_are_well_formed_and_nobody_can_make_a_series() {
    let (metrics, recorder) = Metrics::new(None).unwrap();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let service = start(|settings| {
        settings.metrics = Some(metrics);
        settings.sign_in = false;
    })
    .await;
    let before = service.metrics().await;
    assert_eq!(before.get("tieline_logins_begun_total"), 0.0);
    assert!(before.samples.contains_key("tieline_logins_begun_total"), "an increase begins at 0");
    for _ in 0..3 {
        assert_eq!(service.status("/health/live", &[]).await, 200);
    }
    for n in 0..20 {
        assert_eq!(service.status(&format!("/planted-{n}?planted"), &[]).await, 404);
        let path = format!("/api/integrations/planted-{n}");
        assert!(service.status(&path, &[]).await >= 400);
    }
    assert_eq!(service.send("PLANTED", "/health/live", &[]).await.status(), 405);
    let watched = service.send("GET", "/events", &[]).await;
    let after = service.metrics().await;
    let moved = |series: &str| after.get(series) - before.get(series);
    let requests = |route: &str, method: &str, status: &str| {
        moved(&format!("tieline_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}"))
    };
    assert_eq!(requests("/health/live", "GET", "2xx"), 3.0);
    assert_eq!(requests("unmatched", "GET", "4xx"), 20.0);
    assert_eq!(requests("/api/integrations/{id}", "GET", "4xx"), 20.0);
    assert_eq!(requests("/health/live", "OTHER", "4xx"), 1.0);
    let live = "tieline_http_request_duration_seconds_count{route=\"/health/live\",method=\"GET\"}";
    assert_eq!(moved(live), 3.0);
    // The one that asks.
    assert_eq!(after.get("tieline_http_requests_in_flight"), 1.0);
    assert_eq!(after.get("tieline_event_streams"), 1.0);
    for (series, least) in [
        ("tieline_database_connections{pool=\"sqlite_reader\"}", 1.0),
        ("tieline_database_connections_limit{pool=\"sqlite_writer\"}", 1.0),
        ("tieline_process_resident_memory_bytes", 1e6),
        ("tieline_process_open_files", 5.0),
    ] {
        assert!(after.get(series) >= least, "{series}: {}", after.get(series));
    }
    assert!(after.samples.keys().any(|series| series.starts_with("tieline_build_info{version=\"0.")));
    assert!(!after.samples.keys().any(|series| series.contains("lanted") || series.contains("PLANTED")));

    drop(watched);
    measures::rate_limited("sign_in");
    measures::import_ended("done");
    measures::import_rows("inserted", 200);
    measures::login_refused("invalid_state");
    let mut last = service.metrics().await;
    for _ in 0..100 {
        if last.get("tieline_event_streams") == 0.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        last = service.metrics().await;
    }
    assert_eq!(last.get("tieline_event_streams"), 0.0, "a stream that has ended is none");
    assert_eq!(last.get("tieline_import_rows_total{outcome=\"inserted\"}"), 200.0);
    assert_eq!(last.get("tieline_rate_limited_total{class=\"sign_in\"}"), 1.0);
    let told = include_str!("../../../../docs/metrics.md");
    for name in last.kinds.keys() {
        assert!(told.matches(name.as_str()).count() >= 2, "docs/metrics.md does not have {name} with an alert");
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_counted() {
    let (metrics, recorder) = Metrics::new(None).unwrap();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let service = start(|settings| settings.metrics = Some(metrics)).await;
    let half = begun(&service).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(half);
    let gone = "tieline_http_requests_total{route=\"/api/setup\",method=\"POST\",status=\"gone\"}";
    let bad = gone.replace("gone", "4xx");
    for _ in 0..100 {
        let now = service.metrics().await;
        // Whether the handler sees the end of the body, or is dropped before, is hyper's choice.
        if now.get(gone) + now.get(&bad) == 1.0 {
            return assert_eq!(now.get("tieline_http_requests_in_flight"), 1.0);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("nobody has noticed");
}

/// Lines of JSON, kept.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn access(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == "tieline_server::access").collect()
    }
}

#[tokio::test]
async fn each_request_has_an_id_and_one_line_that_holds_no_query() {
    let lines = Lines::default();
    let writer = lines.clone();
    let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(move || writer.clone());
    let filter = tracing_subscriber::filter::LevelFilter::DEBUG;
    let _logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(filter).with(layer));
    let service = start(|_| ()).await;
    // A callsite that another test reached first, at the moment at which this one began to listen, may think that nobody
    // does: all are asked anew once each has been reached.
    for path in ["/health/live", "/nothing/warm"] {
        service.send("GET", path, &[]).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    tracing::callsite::rebuild_interest_cache();
    lines.0.lock().unwrap().clear();
    let http = http();
    let first = json!({
        "token": "setup-token", "email": "planted@example.com", "name": "Planted", "password": "planted battery staple",
        "business": "Acme",
    });
    let set_up = http.post(format!("{}/api/setup", service.url)).json(&first).send().await.unwrap();
    assert_eq!(set_up.status(), 201);
    let cookie = set_up.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let id = |headers: &HeaderMap| headers["x-request-id"].to_str().unwrap().to_owned();
    let session =
        service.send("GET", "/api/session?planted", &[("cookie", &cookie), ("x-request-id", "given-1")]).await;
    assert_eq!((session.status(), id(session.headers()).as_str()), (StatusCode::OK, "given-1"));
    let refused = service
        .send(
            "GET",
            "/api/integrations/salesforce/callback?code=planted&state=planted",
            &[("x-request-id", "not plain")],
        )
        .await;
    let refused_id = id(refused.headers());
    assert_eq!(refused_id.len(), 36, "made anew: {refused_id}");
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["instance"], format!("urn:tieline:request:{refused_id}"));
    let other = service.send("GET", "/nothing/planted", &[]).await;
    assert_ne!(id(other.headers()), refused_id);
    service.status("/health/live", &[]).await;

    // A line is written once its answer is sent, which may be after it was read here.
    let mut access = lines.access();
    for _ in 0..100 {
        if access.len() >= 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        access = lines.access();
    }
    let line = |id: &str| access.iter().find(|line| line["spans"][0]["request_id"] == id).unwrap();
    let session = line("given-1");
    let span = &session["spans"][0];
    assert_eq!((&session["level"], &session["status"]), (&json!("INFO"), &json!(200)));
    assert_eq!(
        (&span["method"], &span["route"], &span["client"]),
        (&json!("GET"), &json!("/api/session"), &json!("127.0.0.1"))
    );
    assert_eq!(span["user"].as_str().unwrap().len(), 36);
    assert!(session["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0));
    assert_eq!(line(&refused_id)["spans"][0]["route"], "/api/integrations/salesforce/callback");
    let live: Vec<_> = access.iter().filter(|line| line["spans"][0]["route"] == "/health/live").collect();
    assert_eq!((live.len(), &live[0]["level"]), (1, &json!("DEBUG")));
    assert_eq!(access.len(), 5);
    let all = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(!all.contains("planted"), "{all}");
}

const BODY: &str =
    r#"{"token":"wrong","email":"a@example.com","name":"A","password":"correct horse battery","business":"B"}"#;

/// A request of which half has been sent.
async fn begun(service: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(service.address).await.unwrap();
    let head = format!(
        "POST /api/setup HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        service.address,
        BODY.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&BODY.as_bytes()[..20]).await.unwrap();
    stream
}

#[tokio::test]
async fn a_service_that_is_stopped_says_so_first_and_finishes_what_it_has_begun() {
    let service = start(|settings| {
        settings.sign_in = false;
        settings.drain = Duration::from_millis(1_000);
    })
    .await;
    assert_eq!(service.status("/health/ready", &[]).await, 200);
    let mut events = service.send("GET", "/events", &[]).await;
    let mut half = begun(&service).await;
    tokio::time::sleep(Duration::from_millis(50)).await;

    let Running { url, address, stop, serving, _db } = service;
    stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let http = http();
    let ready = http.get(format!("{url}/health/ready")).send().await.unwrap();
    assert_eq!(
        (ready.status(), &ready.headers()["connection"]),
        (StatusCode::SERVICE_UNAVAILABLE, &"close".parse().unwrap())
    );
    let reason: Value = ready.json().await.unwrap();
    assert_eq!(reason["reason"], "the service is being stopped");
    // Whom the load balancer still sends is served.
    assert_eq!(http.get(format!("{url}/health/live")).send().await.unwrap().status(), 200);

    let ended = async { while events.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(3), ended).await.expect("event streams end");
    // The drain is over.
    assert!(TcpStream::connect(address).await.is_err(), "new connections are refused");
    assert!(!serving.is_finished(), "a request is under way");
    half.write_all(&BODY.as_bytes()[20..]).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(5), half.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 4") && answer.contains("urn:tieline:request:"), "{answer}");
    tokio::time::timeout(Duration::from_secs(2), serving).await.unwrap().unwrap().unwrap();
}
