//! What must not get through: other hosts, other paths, other people's headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::upstream::Upstream;
use super::{Program, integration_of, key};
use crate::database::Db;
use crate::world::World;

/// A place that nothing may connect to. Answers its address and how many came.
async fn trap() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let came = Arc::new(AtomicUsize::new(0));
    let count = came.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    (address, came)
}

/// Sends a request as it stands; no client of ours would. Answers status and all of the answer.
async fn raw(service: &str, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(service.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(std::time::Duration::from_secs(20), reading).await.unwrap();
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

#[tokio::test]
async fn s35_no_path_leads_elsewhere() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let program = Program::connected(&world, &mut owner).await;
    let (evil, came) = trap().await;
    let service = &world.nodes[0].url;
    let own = url::Url::parse(&program.base).unwrap().path().to_owned();
    let before = world.ledger().await;
    let mut tried = 0;
    for path in [
        // Other hosts.
        "/http://EVIL/services/data",
        "//EVIL/services/data",
        "///EVIL/services/data",
        "/%2f%2fEVIL/services/data",
        "/%2F%2FEVIL",
        "/\\\\EVIL/services/data",
        "/%5c%5cEVIL",
        "/@EVIL/services/data",
        "/:80@EVIL/services/data",
        "/services@EVIL/data",
        "/services/data@EVIL",
        "/services/data/v67.0@EVIL/limits",
        "/services/data/https://EVIL/",
        "/.EVIL/services/data",
        "/services/data/v67.0/%0d%0aHost:%20EVIL",
        // Other paths of the org's.
        "/services/data/../oauth2/userinfo",
        "/services/data/v67.0/../../oauth2/userinfo",
        "/services/data/..%2foauth2/userinfo",
        "/services/data/%2e%2e/oauth2/userinfo",
        "/services/data/%2e%2e%2foauth2%2fuserinfo",
        "/services/data/.%2e/oauth2/userinfo",
        "/services/data/v67.0/%252e%252e/%252e%252e/oauth2/userinfo",
        "/services/data/v67.0/..;/..;/oauth2/userinfo",
        "/services/data/v67.0/..%3b/oauth2/userinfo",
        "/services/data;x=1/v67.0/limits",
        "/services;/oauth2/userinfo",
        "/services/data/v67.0/;/limits",
        "/services/data/v67.0/..%5c..%5coauth2",
        "/services/data/v67.0/..\\oauth2",
        "/services/data/v67.0/%c0%ae%c0%ae/oauth2/userinfo",
        "/services/data/v67.0/%EF%BC%8E%EF%BC%8E/oauth2",
        "/services/data/v67.0/%E2%80%A5/oauth2",
        "/services/data/v67.0/%E3%80%82%E3%80%82/oauth2",
        "/services/data/v67.0/..%EF%BC%8Foauth2",
        "/services/data/v67.0/%E2%88%95oauth2",
        "/services/data/v67.0//limits",
        "/services//data/v67.0/limits",
        "/services/./data/v67.0/limits",
        "/services/data/v67.0/%00/limits",
        "/services/data/v67.0/limits%",
        "/services/data/v67.0/limits%zz",
        "/services/data/v67.0/%0a",
        "/services/data/v67.0/%7f",
        "/services/data/v67.0/query?q=%00",
        "/services/data/v67.0/query?q=%1b",
        "/services/data/v6x.0/limits",
        "/services/data/67.0/limits",
        "/services/data/..",
        "/services/data/.",
        "/services/%2e%2e/secur/frontdoor.jsp",
        "/services%2fdata%2fv67.0%2flimits",
        "/SERVICES/data/v67.0/limits",
        // What gives sessions away, and what is no REST API.
        "/services/oauth2/token",
        "/services/oauth2/userinfo",
        "/services/oauth2/singleaccess",
        "/services/oauth2/introspect",
        "/services/oauth2/revoke",
        "/services/%6fauth2/userinfo",
        "/services/OAUTH2/userinfo",
        "/services/Soap/u/67.0",
        "/services/soap/m/67.0",
        "/services/a360/token",
        "/services/auth/sso/x",
        "/services/apexrest",
        "/services/apexrest/",
        "/services",
        "/services/",
        "/",
        "",
        "/secur/frontdoor.jsp?sid=x",
        "/id/00D000000000001AAA/005000000000001AAA",
        "/.well-known/openid-configuration",
        "/lightning/page/home",
        "/-/emulator/ledger",
        "/..%2f-/emulator/ledger",
    ] {
        let path = path.replace("EVIL", &evil);
        let request = format!(
            "GET {own}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            program.key
        );
        let (status, answer) = raw(service, request.as_bytes()).await;
        assert!(matches!(status, 400 | 403 | 404), "{path}: {answer}");
        assert!(!answer.contains("x-tieline-upstream"), "{path}: {answer}");
        tried += 1;
    }
    assert!(tried > 70);
    // The request line may name a host as well: it is ours all the same.
    for target in [
        format!("http://{evil}{own}/services/data/v67.0/limits"),
        format!("http://{evil}{own}/services/data/v67.0/limits#@{evil}/"),
    ] {
        let key = &program.key;
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: {evil}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        );
        let (status, answer) = raw(service, request.as_bytes()).await;
        assert_eq!(status, 200, "{answer}");
    }
    let after = world.ledger().await;
    let (mut resources, expected) = (before["resources"].clone(), after["resources"].clone());
    let limits = expected.as_object().unwrap().keys().find(|name| name.contains("limits")).unwrap().clone();
    resources[&limits] = json!(resources[&limits].as_u64().unwrap_or(0) + 2);
    assert_eq!(resources, expected, "nothing but the two calls arrived");
    assert_eq!(after["api_calls"].as_u64().unwrap(), before["api_calls"].as_u64().unwrap() + 2);
    assert_eq!(after["token_requests"], before["token_requests"]);
    assert_eq!(came.load(Ordering::SeqCst), 0, "something connected to the trap");
}

#[tokio::test]
async fn headers_of_the_callers_do_not_reach_the_org() {
    let world = World::new(Db::sqlite().await).await;
    let mut owner = world.owner().await;
    let upstream = Upstream::start().await;
    let (evil, came) = trap().await;
    let integration = integration_of(&world, &upstream.url).await;
    let key = key(&mut owner, "member").await;
    let service = &world.nodes[0].url;
    let own = format!("/api/connections/{}/proxy", integration.id);
    let host = upstream.url.strip_prefix("http://").unwrap();
    for headers in [
        format!("Host: {evil}\r\n"),
        format!(
            "Host: 127.0.0.1\r\nX-Forwarded-Host: {evil}\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: host={evil}\r\n"
        ),
        format!("Host: 127.0.0.1\r\nX-Original-URL: //{evil}/\r\nX-Rewrite-URL: /services/oauth2/userinfo\r\n"),
        "Host: 127.0.0.1\r\nCookie: sid=00D!x\r\nX-SFDC-Session: 00D!x\r\nProxy-Authorization: Basic eA==\r\n"
            .to_owned(),
        "Host: 127.0.0.1\r\nX-HTTP-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\n".to_owned(),
        "Host: 127.0.0.1\r\nTE: trailers\r\nUpgrade: h2c\r\nExpect: x\r\nAccept-Encoding: br\r\nUser-Agent: evil\r\n"
            .to_owned(),
    ] {
        let request = format!(
            "GET {own}/services/apexrest/x HTTP/1.1\r\n{headers}Authorization: Bearer {key}\r\nSforce-Query-Options: batchSize=200\r\nConnection: close, Sforce-Query-Options\r\n\r\n"
        );
        let (status, answer) = raw(service, request.as_bytes()).await;
        assert_eq!(status, 200, "{headers}: {answer}");
        let seen = upstream.seen();
        assert_eq!(seen.len(), 1);
        let (line, got) = &seen[0];
        assert_eq!(line, "GET /services/apexrest/x");
        assert_eq!(
            (&got["host"], &got["authorization"]),
            (&host.parse().unwrap(), &"Bearer 00D000000000001!upstream".parse().unwrap())
        );
        assert_eq!(got["sforce-query-options"], "batchSize=200");
        assert!(got["user-agent"].to_str().unwrap().starts_with("tieline/"));
        let mut names: Vec<&str> = got.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        let ours = ["accept", "accept-encoding", "authorization", "host", "sforce-query-options", "user-agent"];
        assert!(names.iter().all(|name| ours.contains(name)), "{names:?}");
    }
    // Headers that are none, or two requests in one: hyper refuses them, or they are two requests to us.
    for (request, arrives) in [
        (
            format!(
                "GET {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nSforce-Call-Options: a\rb\r\nConnection: close\r\n\r\n"
            ),
            false,
        ),
        (
            format!(
                "GET {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nSforce-Call-Options: a\0b\r\nConnection: close\r\n\r\n"
            ),
            false,
        ),
        (
            format!(
                "GET {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nSforce-Call-Options : a\r\nConnection: close\r\n\r\n"
            ),
            false,
        ),
        (
            format!(
                "POST {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
            false,
        ),
        (
            format!(
                "POST {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 30\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\nabc"
            ),
            false,
        ),
        (
            format!(
                "GET {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer 00D!x\r\nConnection: close\r\n\r\n"
            ),
            false,
        ),
        (format!("GET {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"), false),
        (
            format!(
                "CONNECT {evil} HTTP/1.1\r\nHost: {evil}\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
            ),
            false,
        ),
        (
            format!(
                "TRACE {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
            ),
            false,
        ),
        (
            format!(
                "POST {own}/services/apexrest/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {key}\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\nConnection: close\r\n\r\n0\r\n\r\nGET http://{evil}/ HTTP/1.1\r\nHost: {evil}\r\n\r\n"
            ),
            true,
        ),
    ] {
        let (status, answer) = raw(service, request.as_bytes()).await;
        let seen = upstream.seen();
        assert_eq!(seen.len(), usize::from(arrives && status == 200), "{request}: {answer}");
        assert!(arrives || status != 200, "{request}: {answer}");
        assert!(seen.iter().all(|(line, got)| line == "POST /services/apexrest/x" && got["host"] == host), "{seen:?}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 0, "something connected to the trap");
}
