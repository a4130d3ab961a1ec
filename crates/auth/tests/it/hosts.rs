//! Scenario 35: a credential goes to no host that the allow-list has not passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tieline_auth::{AllowedHosts, Grant, OrgConfig, Secret};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::world::{World, my_domain, open, quick};

/// A server that counts who connects, and answers each with the same bytes.
async fn listener(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let seen = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            seen.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (url, count)
}

#[tokio::test]
async fn s35_no_byte_reaches_a_login_host_outside_the_list() {
    let grant = || Grant::RefreshToken { refresh_token: Secret::new("5Aep861planted") };
    for url in [
        "https://evilcrmforce.mil",
        "https://evilsalesforce.com",
        "https://salesforce.com.evil.example",
        "https://login.salesforce.com@evil.example",
        "https://login.salesforce.com:pw@evil.example",
        "https://169.254.169.254",
        "https://[::ffff:169.254.169.254]",
        "https://0x7f000001.evil.example",
        "http://login.salesforce.com",
        "https://xn--slesforce-d4a.com",
        "https://login.salesforce.com\u{3002}evil.example",
        "https://login.salesforce.com\\@evil.example",
    ] {
        let error = match OrgConfig::new(url, "id", grant()) {
            Err(error) => error.to_string(),
            // Some of these the URL parser makes harmless; then the host must be Salesforce's own.
            Ok(config) => {
                let host = config.login_url.host_str().unwrap_or_default().to_owned();
                assert!(host.ends_with(".salesforce.com"), "{url} became {host}");
                continue;
            }
        };
        assert!(error.contains("login URL") && !error.contains("planted"), "{url}: {error}");
    }
    // The list is asked again before each request: a configuration can be changed after it was made.
    let (url, seen) = listener("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut config = OrgConfig::new(&url, "id", grant()).unwrap();
    config.hosts = AllowedHosts { loopback: false, extra: Vec::new() };
    let error = open(config, quick()).token().await.unwrap_err();
    assert!(error.to_string().contains("loopback is not allowed here"), "{error}");
    assert_eq!(seen.load(Ordering::SeqCst), 0, "not even a connection");
}

#[tokio::test]
async fn s35_an_instance_url_outside_the_list_gets_no_token_and_the_login_fails() {
    let world = World::new().await;
    for instance in [
        "https://evil.example",
        "https://evilcrmforce.mil",
        "https://acme.my.salesforce.com@evil.example",
        "http://169.254.169.254/latest/meta-data",
        "javascript:alert(1)",
        "not a url",
    ] {
        let body = json!({"access_token": "00Dplanted", "instance_url": instance, "id": "x", "issued_at": "1"});
        world.token_fault(json!({"status": 200, "body": body}), 1).await;
        let mut config = world.jwt();
        config.client_secret = None;
        let error = open(config, quick()).token().await.expect_err(instance);
        assert!(error.to_string().contains("is not allowed"), "{instance}: {error}");
        assert!(!format!("{error:?}").contains("planted"));
    }
}

#[tokio::test]
async fn s35_a_service_that_forbids_loopback_is_not_led_there_by_an_org() {
    // The org is reached by its My Domain, and names this machine as its instance.
    let (_org, mut config, http) = my_domain().await;
    config.hosts.loopback = false;
    let settings = tieline_auth::Settings { http: Some(http), ..quick() };
    let credentials = open(config.clone(), settings.clone());
    let error = credentials.token().await.unwrap_err();
    assert!(error.to_string().contains("host `localhost` is not allowed: loopback is not allowed here"), "{error}");
    assert_eq!(credentials.stats().token_requests, 1, "the login itself went through");
    config.hosts.loopback = true;
    assert!(open(config, settings).token().await.is_ok());
}

#[tokio::test]
async fn s35_a_redirect_is_not_followed() {
    let (evil, seen) = listener("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let world = World::new().await;
    for status in [301, 302, 303, 307, 308] {
        world.token_fault(json!({"status": status, "headers": {"location": evil}}), 1).await;
        let error = open(world.refresh(), quick()).token().await.unwrap_err();
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    assert_eq!(seen.load(Ordering::SeqCst), 0);
}
