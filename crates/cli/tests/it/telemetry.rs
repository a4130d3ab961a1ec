//! What leaves a running service: lines, spans and metrics, without secrets (scenario 37); and how it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use reqwest::{Client, Method, Response};
use serde_json::Value;

use crate::org::tieline;

/// What is searched for afterwards. Each that is sent somewhere has something of its own behind it.
const PLANTED: &str = "plantedcanary";
const METRICS_TOKEN: &str = "plantedcanary-metrics";

/// Takes whatever is sent, and keeps it: an OTLP receiver, or an org that refuses everybody.
#[derive(Clone, Default)]
pub(crate) struct Receiver(Arc<Mutex<Vec<Received>>>);

/// Path, headers and body.
type Received = (String, HeaderMap, Vec<u8>);

impl Receiver {
    pub(crate) async fn start(&self, status: StatusCode) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = self.0.clone();
        let take = async move |request: Request| {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 64 << 20).await.unwrap().to_vec();
            kept.lock().unwrap().push((head.uri.path().to_owned(), head.headers, body));
            status
        };
        let router = Router::new().fallback(any(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// All bodies, one after the other.
    pub(crate) fn bodies(&self) -> Vec<u8> {
        self.0.lock().unwrap().iter().flat_map(|(_, _, body)| body.clone()).collect()
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let kept = self.0.lock().unwrap();
        let requests = kept.iter().filter(|(path, ..)| path == "/v1/traces");
        let requests = requests.map(|(_, _, body)| ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
        let scopes = requests.flat_map(|r| r.resource_spans).flat_map(|r| r.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.clone()?.value? {
        Any::StringValue(text) => Some(text),
        Any::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

struct Service {
    process: Child,
    url: String,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: std::thread::JoinHandle<String>,
    _folder: tempfile::TempDir,
}

impl Service {
    fn start(variables: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("t.db");
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut command = tieline(&variables, &["serve", "--listen", "127.0.0.1:0", "--database-url"]);
        command.arg(&database).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut err = process.stderr.take().unwrap();
        // A pipe that nobody empties would hold the service up.
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("tieline is ready at ").unwrap_or_else(|| panic!("`{line}`")).to_owned();
        Self { process, url, stdout, stderr, _folder: folder }
    }

    fn stop(&self) {
        assert!(Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status().unwrap().success());
    }

    /// Ends it; answers how long that took, and all that it wrote on standard output and error.
    fn ended(mut self) -> (Duration, String, String) {
        let begun = Instant::now();
        self.stop();
        let status = self.process.wait().unwrap();
        let took = begun.elapsed();
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let stderr = self.stderr.join().unwrap();
        assert!(status.success(), "{status}: {stderr}");
        (took, stdout, stderr)
    }
}

async fn send(service: &Service, method: &str, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Response {
    let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let mut request = http.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", service.url));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    request.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_in_logs_spans_or_metrics() {
    let receiver = Receiver::default();
    let endpoint = receiver.start(StatusCode::OK).await;
    let planted = |what: &str| format!("{PLANTED}-{what}");
    let headers = format!("x-api-key={}", planted("otlp-key"));
    let service = Service::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", &headers),
            ("OTEL_SERVICE_NAME", "crm"),
            ("TIELINE_METRICS_TOKEN", METRICS_TOKEN),
            ("TIELINE_LOG", "trace"),
            ("TIELINE_LOG_FORMAT", "json"),
        ],
        &[],
    );
    let callback = "/api/integrations/salesforce/callback";
    let query = format!("?code={0}-code&state={0}-state&access_token={0}-token&error_description={0}", PLANTED);
    let in_headers = [
        ("authorization", format!("Bearer tl_{PLANTED}")),
        ("cookie", format!("tieline_session={PLANTED}; tieline_login={PLANTED}")),
        ("x-csrf-token", planted("csrf")),
        ("x-request-id", "5Aep861plantedcanaryplantedcanary".to_owned()),
        ("x-tieline-business", planted("business")),
        ("user-agent", planted("agent")),
        ("referer", format!("http://127.0.0.1/?code={PLANTED}")),
        ("idempotency-key", planted("key")),
        ("tracestate", format!("a={PLANTED}")),
    ];
    let in_headers: Vec<(&str, &str)> = in_headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let bodies = [
        format!("{{\"email\":\"{PLANTED}@example.com\",\"password\":\"{PLANTED}\"}}"),
        format!(
            "{{\"token\":\"{0}\",\"email\":\"{0}@x.com\",\"name\":\"{0}\",\"password\":\"{0}\",\"business\":\"{0}\"}}",
            PLANTED
        ),
        format!("{{\"password\": {{\"{PLANTED}\": 1}}, \"email\": [\"{PLANTED}"),
        PLANTED.to_owned(),
    ];
    let refused = send(&service, "GET", &format!("{callback}{query}"), &[], None).await;
    let id = refused.headers()["x-request-id"].to_str().unwrap().to_owned();
    let status = refused.status().as_u16();
    assert!((400..500).contains(&status));
    for headers in [&in_headers[..1], &in_headers[1..], &in_headers] {
        for (method, path) in [
            ("GET", callback.to_owned()),
            ("GET", "/".to_owned()),
            ("GET", "/sign-in".to_owned()),
            ("GET", "/api/session".to_owned()),
            ("POST", "/sync".to_owned()),
            ("GET", format!("/{PLANTED}")),
            ("DELETE", format!("/api/integrations/{PLANTED}")),
            ("PLANTEDCANARY", "/api/session".to_owned()),
            ("GET", "/metrics".to_owned()),
        ] {
            let answer = send(&service, method, &format!("{path}{query}"), headers, None).await;
            assert!(answer.status().as_u16() < 500, "{method} {path}: {}", answer.status());
        }
        for body in &bodies {
            for path in ["/api/session", "/api/setup", "/sign-in", "/api/integrations"] {
                let answer = send(&service, "POST", &format!("{path}{query}"), headers, Some(body.clone())).await;
                assert!(answer.status().as_u16() < 500, "POST {path}: {}", answer.status());
            }
        }
    }
    let bearer = format!("Bearer {METRICS_TOKEN}");
    let metrics = send(&service, "GET", "/metrics", &[("authorization", &bearer)], None).await;
    assert_eq!(metrics.status(), 200);
    let metrics = metrics.text().await.unwrap();
    let (_, stdout, stderr) = tokio::task::spawn_blocking(move || service.ended()).await.unwrap();

    // The search finds what is there: the receiver was shown its key.
    let kept = receiver.0.lock().unwrap().clone();
    assert!(
        !kept.is_empty() && kept.iter().all(|(_, headers, _)| headers["x-api-key"].to_str().unwrap().contains(PLANTED))
    );
    let spans: Vec<u8> = kept.into_iter().flat_map(|(_, _, body)| body).collect();
    let spans_text = String::from_utf8_lossy(&spans).into_owned();
    for (place, text) in [("stdout", &stdout), ("log", &stderr), ("metrics", &metrics), ("spans", &spans_text)] {
        let text = text.to_lowercase();
        let at = text.find(PLANTED);
        assert!(
            at.is_none(),
            "{place}: {:?}",
            at.map(|at| text.get(at.saturating_sub(300)..(at + 100).min(text.len())))
        );
    }
    assert!(
        metrics.contains("tieline_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"4xx\"} 3"),
        "{metrics}"
    );
    assert!(
        metrics.contains(&format!("route=\"{callback}\"")) && metrics.contains("tieline_logins_refused_total{code=")
    );

    let lines: Vec<Value> = stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        assert!(["timestamp", "level", "target"].iter().all(|key| line[key].is_string()), "{line}");
    }
    let access = lines.iter().find(|line| line["spans"][0]["request_id"] == id && line["message"] == "answered");
    let access = access.unwrap_or_else(|| panic!("no line for {id}"));
    assert_eq!((&access["status"], &access["spans"][0]["route"]), (&status.into(), &callback.into()));
    for told in ["started", "stopping: not ready any more, and still taking requests for so long"] {
        assert!(lines.iter().any(|line| line["message"] == told), "{told}");
    }

    let spans = receiver.spans();
    let span = spans.iter().find(|span| attribute(span, "tieline.request_id").as_deref() == Some(&id)).unwrap();
    assert_eq!((span.name.as_str(), span.kind), (format!("GET {callback}").as_str(), 2), "{span:?}");
    assert_eq!(attribute(span, "http.route").as_deref(), Some(callback));
    assert_eq!(attribute(span, "http.response.status_code"), Some(status.to_string()));
    assert_eq!(attribute(span, "client.address").as_deref(), Some("127.0.0.1"));
    assert!(spans_text.contains("crm") && spans.len() > 60, "{}", spans.len());
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_continued_where_that_is_asked_for_and_never_passed_on_to_an_org() {
    for trusted in ["false", "true"] {
        let (receiver, org) = (Receiver::default(), Receiver::default());
        let (endpoint, login_url) = (receiver.start(StatusCode::OK).await, org.start(StatusCode::BAD_REQUEST).await);
        let service = Service::start(
            &[
                ("OTEL_TRACES_EXPORTER", "otlp"),
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &format!("{endpoint}/v1/traces")),
                ("TIELINE_TRUST_TRACEPARENT", trusted),
                ("SF_CLIENT_ID", "3MVG9"),
                ("SF_REFRESH_TOKEN", "5Aep861KIlZ1J1QzuxxTMj1Ck1u"),
                ("SF_LOGIN_URL", &login_url),
            ],
            &["--no-sign-in", "--allow-loopback"],
        );
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let headers = [("traceparent", parent.as_str()), ("baggage", "a=b")];
        assert_eq!(send(&service, "POST", "/sync", &headers, None).await.status(), 303);
        let (_, _, stderr) = tokio::task::spawn_blocking(move || service.ended()).await.unwrap();
        let spans = receiver.spans();
        let request =
            spans.iter().find(|span| span.name == "POST /sync").unwrap_or_else(|| panic!("{spans:?} {stderr}"));
        let hex: String = request.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex == TRACE, trusted == "true", "{hex}");
        assert!(spans.iter().any(|span| span.name == "sync_run"));
        let asked = org.0.lock().unwrap();
        assert!(!asked.is_empty(), "the org was asked for a token");
        for (path, headers, _) in &*asked {
            for name in ["traceparent", "tracestate", "baggage", "x-request-id"] {
                assert!(!headers.contains_key(name), "{path} got {name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_with_an_open_event_stream_ends_within_two_seconds_and_tells_its_last_span() {
    let receiver = Receiver::default();
    let endpoint = receiver.start(StatusCode::OK).await;
    let service = Service::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], &["--no-sign-in"]);
    let mut stream = send(&service, "GET", "/events", &[], None).await;
    assert_eq!(stream.status(), 200);
    let ended = tokio::task::spawn_blocking(move || service.ended());
    while stream.chunk().await.unwrap().is_some() {}
    let (took, _, stderr) = ended.await.unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(receiver.spans().iter().any(|span| span.name == "GET /events"));
    assert!(stderr.contains("stopped: every request was answered"), "{stderr}");
}

/// Takes connections, and says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_answer_holds_the_end_up_for_five_seconds_at_most() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let service = Service::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], &["--no-sign-in"]);
    for _ in 0..20 {
        assert_eq!(send(&service, "GET", "/health/ready", &[], None).await.status(), 200);
    }
    let (took, _, stderr) = tokio::task::spawn_blocking(move || service.ended()).await.unwrap();
    assert!(took > Duration::from_secs(3) && took < Duration::from_millis(6_500), "{took:?}: {stderr}");
    assert!(stderr.contains("the last spans were not sent"), "{stderr}");
}

#[test]
fn what_traces_and_formats_there_are_not_is_told_at_the_start() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("TIELINE_LOG_FORMAT", "logfmt"),
        ("TIELINE_METRICS_TOKEN", "short"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"), (name, value)];
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let database = folder.path().join("t.db");
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--database-url", database.to_str().unwrap()];
        let (code, _, stderr) = crate::org::run(&mut tieline(&variables, &arguments));
        assert!(code == 2 && stderr.contains("hint: "), "{name}: {code} {stderr}");
        assert_eq!(stderr.contains(value), name != "TIELINE_METRICS_TOKEN", "{stderr}");
    }
}
