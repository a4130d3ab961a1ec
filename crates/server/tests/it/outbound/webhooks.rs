use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tieline_auth::{Clock, ManualClock, Secret};
use tieline_server::outbound::Outcome;
use tieline_server::outbound::address::Policy;
use tieline_server::outbound::sender::{Limits, Sender};
use tieline_server::outbound::slack::{Message, Slack};
use tieline_server::outbound::webhook::{Delivery, SigningSecret, TOLERANCE, Webhooks, verify};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-06-01T12:00:00Z".parse().unwrap()))
}

fn policy(allow: &[&str]) -> Policy {
    Policy { allow: allow.iter().map(|text| text.parse().unwrap()).collect() }
}

fn to_loopback() -> Webhooks {
    Webhooks::new(Sender::new(policy(&["127.0.0.1"]), clock()).unwrap())
}

fn delivery(url: &str) -> (Delivery, SigningSecret) {
    let (secret, _) = SigningSecret::generate().unwrap();
    let body = Bytes::from_static(br#"{"type":"sync.error","data":{}}"#);
    (Delivery { id: "msg_1".into(), url: Secret::new(url), body, secrets: vec![secret.clone()] }, secret)
}

/// A server that keeps what it is sent and answers each request as told.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) seen: Arc<Mutex<Vec<(Uri, HeaderMap, Bytes)>>>,
    answer: Arc<dyn Fn() -> Response + Send + Sync>,
}

pub(crate) async fn receiver(
    address: &str,
    answer: impl Fn() -> Response + Send + Sync + 'static,
) -> (SocketAddr, Receiver) {
    let receiver = Receiver { seen: Arc::default(), answer: Arc::new(answer) };
    let keep = |State(receiver): State<Receiver>, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        receiver.seen.lock().unwrap().push((uri, headers, body));
        (receiver.answer)()
    };
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(keep).with_state(receiver.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, receiver)
}

impl Receiver {
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// Counts connections and answers none.
async fn trap(address: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(address).await.unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, count)
}

/// A server that reads a request and then writes what it is given, and at the end the last piece for ever; it tells how
/// many bytes it got rid of before the other side hung up.
async fn raw(first: &'static [u8], endless: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let mut written = 0;
        let mut piece = first;
        loop {
            match stream.write(piece).await {
                Ok(0) | Err(_) => return written,
                Ok(count) => written += count,
            }
            if endless.is_empty() {
                // Until the other side hangs up.
                let _ = stream.read(&mut [0; 1]).await;
                return written;
            }
            piece = endless;
        }
    });
    (address, task)
}

/// Names with the addresses that they lead to at the first look, the second, and so on; the last stays.
pub(crate) struct Names {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
}

impl Names {
    pub(crate) fn new(answers: &[&[&str]]) -> Arc<Self> {
        let answer = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self { answers: answers.iter().map(answer).collect(), asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Names {
    fn resolve(&self, _: Name) -> Resolving {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers[asked.min(self.answers.len() - 1)].clone();
        Box::pin(async move { Ok(Box::new(answer.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs) })
    }
}

fn with_names(allow: &[&str], names: &Arc<Names>) -> Webhooks {
    let names = Arc::clone(names) as Arc<dyn Resolve>;
    let limits = Limits { connect: Duration::from_secs(1), whole: Duration::from_secs(3), ..Limits::default() };
    Webhooks::new(Sender::with_resolver(policy(allow), clock(), limits, names).unwrap())
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Retry { reason, .. } | Outcome::Failed { reason } | Outcome::Disable { reason } => reason,
    }
}

#[tokio::test]
async fn a_receiver_gets_what_was_signed_and_can_verify_it() {
    let (address, seen) = receiver("127.0.0.1", || StatusCode::ACCEPTED.into_response()).await;
    let clock = clock();
    let webhooks = Webhooks::new(Sender::new(policy(&["127.0.0.1"]), clock.clone()).unwrap());
    let (mut delivery, old) = delivery(&format!("http://{address}/in?key=k"));
    let (new, _) = SigningSecret::generate().unwrap();
    delivery.secrets.insert(0, new.clone());
    assert_eq!(webhooks.deliver(&delivery).await, Outcome::Delivered { status: 202 });
    clock.advance(Duration::from_secs(3600));
    assert_eq!(webhooks.deliver(&delivery).await, Outcome::Delivered { status: 202 });

    let seen = seen.seen.lock().unwrap().clone();
    let (uri, headers, body) = &seen[0];
    assert_eq!((uri.to_string().as_str(), body), ("/in?key=k", &delivery.body));
    let header = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("user-agent"), concat!("tieline/", env!("CARGO_PKG_VERSION")));
    assert_eq!(header("webhook-timestamp"), "1780315200");
    assert!(!headers.contains_key("accept-encoding") && !headers.contains_key("cookie"), "{headers:?}");
    let now = "2026-06-01T12:00:00Z".parse().unwrap();
    for secret in [old, new] {
        assert_eq!(verify(headers, body, std::slice::from_ref(&secret), now, TOLERANCE), Ok("msg_1"));
        // Each attempt has its own time, and the same id.
        verify(&seen[1].1, body, std::slice::from_ref(&secret), now, TOLERANCE).unwrap_err();
        assert_eq!(verify(&seen[1].1, body, &[secret], clock.now(), TOLERANCE), Ok("msg_1"));
    }
}

#[tokio::test]
async fn each_status_has_its_outcome() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    for (status, retry_after, body, expected) in [
        (200, None, "x", Outcome::Delivered { status: 200 }),
        (204, None, "", Outcome::Delivered { status: 204 }),
        (
            400,
            None,
            "invalid_payload\r\n",
            Outcome::Retry { after: None, reason: "400 Bad Request: invalid_payload".into() },
        ),
        (404, None, "", Outcome::Retry { after: None, reason: "404 Not Found".into() }),
        (410, None, "gone", Outcome::Disable { reason: "410 Gone: gone".into() }),
        (429, Some("30"), "", Outcome::Retry { after: seconds(30), reason: "429 Too Many Requests".into() }),
        (429, None, "", Outcome::Retry { after: None, reason: "429 Too Many Requests".into() }),
        (500, None, "", Outcome::Retry { after: None, reason: "500 Internal Server Error".into() }),
        (502, Some("x"), "", Outcome::Retry { after: None, reason: "502 Bad Gateway".into() }),
        (
            503,
            Some("Mon, 01 Jun 2026 12:01:30 GMT"),
            "",
            Outcome::Retry { after: seconds(90), reason: "503 Service Unavailable".into() },
        ),
        (504, Some("9999999"), "", Outcome::Retry { after: seconds(86_400), reason: "504 Gateway Timeout".into() }),
    ] {
        let answer = move || {
            let headers: HeaderMap =
                retry_after.into_iter().map(|text| ("retry-after".parse().unwrap(), text.parse().unwrap())).collect();
            (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
        };
        let (address, _) = receiver("127.0.0.1", answer).await;
        let mut outcome = to_loopback().deliver(&delivery(&format!("http://{address}/secret-path")).0).await;
        match &mut outcome {
            Outcome::Retry { reason, .. } | Outcome::Disable { reason } | Outcome::Failed { reason } => {
                assert!(!reason.contains("secret-path"), "{reason}");
                *reason = reason.strip_prefix("127.0.0.1 answered ").unwrap().to_owned();
            }
            Outcome::Delivered { .. } => {}
        }
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (elsewhere, trapped) = trap("127.0.0.1:0".parse().unwrap()).await;
    for (status, target) in [
        (301, "http://169.254.169.254/latest/meta-data/".to_owned()),
        (302, format!("http://{elsewhere}/")),
        (303, format!("http://{elsewhere}/")),
        (307, format!("http://{elsewhere}/")),
        (308, "//169.254.169.254/".to_owned()),
        (300, String::new()),
    ] {
        let answer = move || (StatusCode::from_u16(status).unwrap(), [("location", target.clone())]).into_response();
        let (address, seen) = receiver("127.0.0.1", answer).await;
        let outcome = to_loopback().deliver(&delivery(&format!("http://{address}/")).0).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{status}: {outcome:?}");
        assert!(reason(&outcome).contains("redirects are not followed"), "{outcome:?}");
        assert_eq!(seen.count(), 1);
    }
    assert_eq!(trapped.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_answers_differently_the_second_time_reaches_nothing() {
    let (good, reached) = trap("127.0.0.2:0".parse().unwrap()).await;
    // The same port, where the second answer leads.
    let (_, trapped) = trap(([127, 0, 0, 1], good.port()).into()).await;
    let names = Names::new(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let webhooks = with_names(&["127.0.0.2"], &names);
    let to_name = delivery(&format!("https://hooks.example:{}/", good.port())).0;
    let first = webhooks.deliver(&to_name).await;
    assert!(matches!(first, Outcome::Retry { .. }), "a trap speaks no TLS: {first:?}");
    assert_eq!(names.asked.load(Ordering::SeqCst), 1, "the addresses that were checked are connected to");
    for _ in 0..3 {
        let outcome = webhooks.deliver(&to_name).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
        assert!(reason(&outcome).contains("hooks.example: it leads to 127.0.0.1, a loopback address"), "{outcome:?}");
    }
    let reached = reached.load(Ordering::SeqCst);
    assert_eq!((names.asked.load(Ordering::SeqCst), reached, trapped.load(Ordering::SeqCst)), (4, 1, 0));

    // The same over HTTP, where the operator allows the name as well: the first goes through, and what is not inner
    // never does.
    let (good, seen) = receiver("127.0.0.2", || StatusCode::OK.into_response()).await;
    let (_, trapped) = trap(([127, 0, 0, 1], good.port()).into()).await;
    let names = Names::new(&[&["127.0.0.2"], &["169.254.169.254"], &["::ffff:127.0.0.1"]]);
    let webhooks = with_names(&["hooks.example"], &names);
    let to_name = delivery(&format!("http://hooks.example:{}/", good.port())).0;
    assert_eq!(webhooks.deliver(&to_name).await, Outcome::Delivered { status: 200 });
    for what in ["a cloud's metadata service", "an IPv4 address within an IPv6 one"] {
        let outcome = webhooks.deliver(&to_name).await;
        assert!(matches!(outcome, Outcome::Failed { .. }) && reason(&outcome).contains(what), "{outcome:?}");
    }
    assert_eq!((trapped.load(Ordering::SeqCst), seen.count()), (0, 1));
}

#[tokio::test]
async fn one_inner_address_among_others_is_enough_to_refuse() {
    let (good, seen) = receiver("127.0.0.2", || StatusCode::OK.into_response()).await;
    let (_, trapped) = trap(([127, 0, 0, 1], good.port()).into()).await;
    for answer in
        [["127.0.0.2", "127.0.0.1"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.2", "10.0.0.1"], ["127.0.0.2", "::1"]]
    {
        let webhooks = with_names(&["127.0.0.2"], &Names::new(&[&answer]));
        let outcome = webhooks.deliver(&delivery(&format!("https://hooks.example:{}/", good.port())).0).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    }
    assert_eq!((trapped.load(Ordering::SeqCst), seen.count()), (0, 0));
}

#[tokio::test]
async fn an_address_is_refused_before_anything_connects() {
    let (address, trapped) = trap("127.0.0.1:0".parse().unwrap()).await;
    let port = address.port();
    let webhooks = Webhooks::new(Sender::new(Policy::default(), clock()).unwrap());
    for url in [
        format!("http://{address}/"),
        format!("https://{address}/"),
        format!("https://2130706433:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://localhost:{port}/"),
        format!("https://user@127.0.0.1:{port}/"),
        "https://169.254.169.254/latest/meta-data/planted".to_owned(),
    ] {
        let outcome = webhooks.deliver(&delivery(&url).0).await;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{url}: {outcome:?}");
        assert!(reason(&outcome).starts_with("cannot send to") && !reason(&outcome).contains("planted"), "{outcome:?}");
    }
    assert_eq!(trapped.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn long_and_endless_answers_are_cut_off() {
    // What loopback's buffers may hold besides what was read.
    const BUFFERS: usize = 16 * 1024 * 1024;
    static PIECE: [u8; 65_536] = [b'x'; 65_536];
    for first in [
        &b"HTTP/1.1 500 Oh\r\n\r\n"[..],
        b"HTTP/1.1 500 Oh\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        // An endless header.
        b"HTTP/1.1 200 OK\r\nx: ",
        b"HTTP/1.1 500 Oh\r\ncontent-encoding: gzip\r\n\r\n",
    ] {
        let (address, task) = raw(first, &PIECE).await;
        let outcome = to_loopback().deliver(&delivery(&format!("http://{address}/")).0).await;
        let written = tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
        assert!(written < BUFFERS, "{written} bytes were taken");
        assert!(reason(&outcome).chars().count() < 300, "{outcome:?}");
        if first.starts_with(b"HTTP/1.1 500") {
            assert!(matches!(&outcome, Outcome::Retry { reason, .. } if reason.contains("xxx")), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn a_receiver_that_stays_silent_is_not_waited_for() {
    let limits = Limits { whole: Duration::from_millis(300), ..Limits::default() };
    let names = Names::new(&[&["127.0.0.1"]]);
    let webhooks = Webhooks::new(Sender::with_resolver(policy(&["127.0.0.1"]), clock(), limits, names).unwrap());
    for (first, said) in [
        (&b"H"[..], "no answer from 127.0.0.1: operation timed out"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 9\r\n\r\nhalf", "127.0.0.1 answered 500 Internal Server Error: half"),
    ] {
        let (address, _task) = raw(first, b"").await;
        let outcome = webhooks.deliver(&delivery(&format!("http://{address}/planted")).0).await;
        assert_eq!(outcome, Outcome::Retry { after: None, reason: said.to_owned() });
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let outcome = webhooks.deliver(&delivery(&format!("http://{closed}/planted")).0).await;
    assert!(matches!(&outcome, Outcome::Retry { reason, .. } if !reason.contains("planted")), "{outcome:?}");
}

#[tokio::test]
async fn a_delivery_that_cannot_be_signed_is_not_sent() {
    let (address, trapped) = trap("127.0.0.1:0".parse().unwrap()).await;
    let (good, _) = delivery(&format!("http://{address}/planted"));
    assert!(!format!("{good:?}").contains("planted") && !format!("{good:?}").contains("sync.error"), "{good:?}");
    for bad in [
        Delivery { id: "a.1".into(), ..good.clone() },
        Delivery { id: String::new(), ..good.clone() },
        Delivery { id: "a\r\nx: y".into(), ..good.clone() },
        Delivery { secrets: Vec::new(), ..good },
    ] {
        let outcome = to_loopback().deliver(&bad).await;
        assert!(matches!(outcome, Outcome::Failed { .. }) && reason(&outcome).contains("cannot sign"), "{outcome:?}");
    }
    assert_eq!(trapped.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn slack_gets_text_and_blocks_and_its_refusals_are_told() {
    let (address, seen) = receiver("127.0.0.1", || (StatusCode::NOT_FOUND, "no_service").into_response()).await;
    let slack = Slack::new(Sender::new(policy(&["127.0.0.1"]), clock()).unwrap());
    let message = Message {
        header: "Sync failed".into(),
        text: "3 records of <Contact>".into(),
        fields: vec![("Org".into(), "00D & co".into())],
        link: Some(("Open".into(), "https://tieline.example/runs/1".parse().unwrap())),
    };
    let outcome = slack.deliver(&Secret::new(format!("http://{address}/services/planted")), &message).await;
    assert_eq!(outcome, Outcome::Retry { after: None, reason: "127.0.0.1 answered 404 Not Found: no_service".into() });
    let (_, headers, body) = seen.seen.lock().unwrap()[0].clone();
    assert_eq!(headers["content-type"], "application/json");
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["text"], "Sync failed: 3 records of &lt;Contact&gt;");
    assert_eq!(body["blocks"][2]["fields"][0]["text"], "*Org*\n00D &amp; co");
    assert_eq!(body["blocks"][3]["text"]["text"], "<https://tieline.example/runs/1|Open>");

    let refused = slack.deliver(&Secret::new("https://10.0.0.1/services/planted"), &message).await;
    assert!(matches!(&refused, Outcome::Failed { reason } if !reason.contains("planted")), "{refused:?}");
}

/// Variables of the environment belong to a whole process, so this test is run again in one of its own.
#[tokio::test]
async fn a_proxy_of_the_environment_is_not_asked() {
    const RECEIVER: &str = "TIELINE_TEST_OUTBOUND_RECEIVER";
    if let Ok(url) = std::env::var(RECEIVER) {
        assert_eq!(to_loopback().deliver(&delivery(&url).0).await, Outcome::Delivered { status: 200 });
        return;
    }
    let (address, seen) = receiver("127.0.0.1", || StatusCode::OK.into_response()).await;
    let (proxy, trapped) = trap("127.0.0.1:0".parse().unwrap()).await;
    let proxy = format!("http://{proxy}");
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "outbound::webhooks::a_proxy_of_the_environment_is_not_asked"])
        .env(RECEIVER, format!("http://{address}/"))
        .envs(["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"].map(|name| (name, &proxy)))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY");
    let child = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert_eq!((seen.count(), trapped.load(Ordering::SeqCst)), (1, 0));
}
