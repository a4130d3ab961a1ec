//! What is sent on the wire by those who should get nothing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{SECRET, World, start};

async fn raw(port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // The broker may hang up while we still write.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn nobody_gets_a_token_by_a_request_that_is_none() {
    let world = World::new().await;
    let broker = start(&world).await;
    let secret = format!("X-Tieline-Token: {SECRET}\r\nConnection: close\r\n");
    let huge = format!("GET /v1/token HTTP/1.1\r\nHost: localhost\r\nX-Filler: {}\r\n{secret}\r\n", "x".repeat(64_000));
    for (what, request, status) in [
        ("no host", format!("GET /v1/token HTTP/1.1\r\n{secret}\r\n"), "400"),
        ("no host in HTTP/1.0", format!("GET /v1/token HTTP/1.0\r\n{secret}\r\n"), "400"),
        ("two hosts", format!("GET /v1/token HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n{secret}\r\n"), "400"),
        ("a name that points here", format!("GET /v1/token HTTP/1.1\r\nHost: rebound.example\r\n{secret}\r\n"), "400"),
        (
            "a proxy's request line",
            format!("GET http://evil.example/v1/token HTTP/1.1\r\nHost: localhost\r\n{secret}\r\n"),
            "400",
        ),
        (
            "a page's form",
            format!("POST /v1/token HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nContent-Length: 0\r\n{secret}\r\n"),
            "400",
        ),
        (
            "a forwarded one",
            format!("GET /v1/token HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: ::1\r\n{secret}\r\n"),
            "400",
        ),
        (
            "a bearer token",
            format!(
                "GET /v1/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\nConnection: close\r\n\r\n"
            ),
            "403",
        ),
        (
            "the secret in the query",
            format!("GET /v1/token?token={} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "x"),
            "403",
        ),
        ("another method", format!("PUT /v1/token HTTP/1.1\r\nHost: localhost\r\n{secret}\r\n"), "405"),
        ("another path", format!("GET /v1/tokens HTTP/1.1\r\nHost: localhost\r\n{secret}\r\n"), "404"),
        ("the path above", format!("GET /v1/../v1/token HTTP/1.1\r\nHost: localhost\r\n{secret}\r\n"), "404"),
        ("a header without end", huge, "431"),
        ("a tunnel", format!("CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n{secret}\r\n"), "400"),
    ] {
        let answer = raw(broker.port, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")) || answer.starts_with(&format!("HTTP/1.0 {status}")),
            "{what}: {answer}"
        );
        assert!(!answer.contains("access_token") && !answer.contains(SECRET), "{what}");
    }
    for (what, bytes) in [
        ("TLS", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("noise", b"\0\0\0\0\r\n\r\n"),
    ] {
        let answer = raw(broker.port, bytes).await;
        assert!(!answer.contains("access_token") && !answer.contains(" 200 "), "{what}: {answer}");
    }
    assert_eq!(world.token_requests().await, 0, "nothing was asked of the org");
    // And the broker is as well as before.
    let fine = raw(broker.port, format!("GET /v1/token HTTP/1.1\r\nHost: localhost\r\n{secret}\r\n").as_bytes()).await;
    assert!(fine.starts_with("HTTP/1.1 200") && fine.contains("x-content-type-options: nosniff"), "{fine}");
}

#[tokio::test]
async fn anybody_may_ask_whether_somebody_is_there() {
    let world = World::new().await;
    let broker = start(&world).await;
    let answer = world.http.get(broker.url("/ping")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "healthy"));
    // What AWS's extension calls the header works too.
    let url = broker.url("/v1/token");
    let answer = world.http.get(&url).header("X-Aws-Parameters-Secrets-Token", SECRET).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer = world.http.post(&url).header("X-Tieline-Token", SECRET).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"GET".parse().unwrap()));
}
