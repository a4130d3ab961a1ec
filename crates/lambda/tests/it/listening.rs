//! Where the broker listens, to how many, and how it ends.

use std::time::{Duration, Instant};

use serde_json::json;
use tieline_lambda::broker::{Broker, Listeners, serve};
use tieline_lambda::orgs::Orgs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{SECRET, World, org, run, start, system};

#[tokio::test]
async fn loopback_in_both_address_families_and_nothing_else() {
    let world = World::new().await;
    let broker = start(&world).await;
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let url = format!("http://{host}:{}/v1/token", broker.port);
        let answer = world.http.get(url).header("X-Tieline-Token", SECRET).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{host}");
    }
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = Listeners::bind(address.parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("other machines") && error.hint().contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_in_either_family_is_an_error() {
    for taken in ["127.0.0.1:0", "[::1]:0"] {
        let stranger = TcpListener::bind(taken).await.unwrap();
        let port = stranger.local_addr().unwrap().port();
        for wanted in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            let error = Listeners::bind(wanted.parse().unwrap()).await.unwrap_err();
            assert!(error.hint().contains("another port"), "{taken} {wanted}: {error}");
        }
    }
}

#[tokio::test]
async fn who_comes_before_it_serves_waits_for_it() {
    let world = World::new().await;
    let listeners = Listeners::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let url = format!("http://127.0.0.1:{}/v1/token", listeners.port());
    let early = tokio::spawn(world.http.get(url).header("X-Tieline-Token", SECRET).send());
    tokio::time::sleep(Duration::from_millis(50)).await;
    let orgs = Orgs::new(system()).with("default", org(world.jwt(), system()));
    let served = tokio::spawn(serve(listeners, Broker::new(SECRET, orgs, system()), std::future::pending()));
    assert_eq!(early.await.unwrap().unwrap().status(), 200);
    served.abort();
}

#[tokio::test]
async fn more_connections_than_allowed_are_told_so_and_the_others_go_on() {
    let world = World::new().await;
    let orgs = Orgs::new(system()).with("default", org(world.jwt(), system()));
    let broker = run(Broker::new(SECRET, orgs, system()).with_limit(2)).await;
    let idle = [connect(broker.port).await, connect(broker.port).await];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (status, after, body) = broker.ask(&world.http, "").await;
    assert_eq!((status, after, &body["code"]), (429, Some(1), &json!("connection_limit")), "{body}");
    // Not even then does anybody learn more than he may know.
    let stranger = world.http.get(broker.url("/v1/token")).send().await.unwrap();
    assert_eq!(stranger.status(), 403);
    drop(idle);
    let started = Instant::now();
    while broker.ask(&world.http, "").await.0 != 200 {
        assert!(started.elapsed() < Duration::from_secs(5), "the seats of those who left are free again");
    }
}

#[tokio::test]
async fn it_ends_at_once_with_idle_connections_and_answers_what_is_under_way() {
    let world = World::new().await;
    let broker = start(&world).await;
    let _idle = connect(broker.port).await;
    world.token_fault(json!({"delay_ms": 150}), 1).await;
    let mut asking = connect(broker.port).await;
    let request = format!("GET /v1/token HTTP/1.1\r\nHost: localhost\r\nX-Tieline-Token: {SECRET}\r\n\r\n");
    asking.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (port, started) = (broker.port, Instant::now());
    broker.stop().await;
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn without_keep_alive_no_connection_outlives_its_answer() {
    let world = World::new().await;
    let orgs = Orgs::new(system()).with("default", org(world.jwt(), system()));
    let broker = run(Broker::new(SECRET, orgs, system()).without_keep_alive()).await;
    let mut stream = connect(broker.port).await;
    let request = format!("GET /v1/token HTTP/1.1\r\nHost: localhost\r\nX-Tieline-Token: {SECRET}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("connection: close"), "{answer}");
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}
