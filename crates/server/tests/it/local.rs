//! Without sign-in: the routes, asked directly, for whoever sits at this machine.

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::response::Response;
use tieline_server::router::router;
use tieline_server::{Service, Settings};
use tieline_store::{Credentials, Store};
use tower::ServiceExt;

async fn service() -> (Service, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("t.db")).await.unwrap();
    let settings = Settings { sign_in: false, ..Settings::new("http://127.0.0.1:7400".parse().unwrap()) };
    (Service::new(store, settings).unwrap(), folder)
}

async fn ask(service: &Service, method: &str, path: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:7400");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = router(service.clone()).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    (Response::from_parts(parts, ()), text)
}

#[tokio::test]
async fn an_empty_database_gets_a_page_that_says_what_to_do() {
    let (service, _folder) = service().await;
    let (response, page) = ask(&service, "GET", "/", &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(page.contains("No org is connected yet") && page.contains("tieline serve"), "{page}");
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for path in ["/assets/page.css", "/assets/live.js", "/connections", "/health/live", "/health/ready"] {
        assert_eq!(ask(&service, "GET", path, &[]).await.0.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_browser_keeps_the_style_of_this_version_and_of_no_other() {
    let (service, _folder) = service().await;
    let (_, page) = ask(&service, "GET", "/", &[]).await;
    let address = |start: &str| {
        let rest = &page[page.find(start).unwrap()..];
        rest[..rest.find('"').unwrap()].to_owned()
    };
    for (path, kind) in [("/assets/page.css", "text/css"), ("/assets/live.js", "text/javascript")] {
        let (told, other) = (address(path), format!("{path}?v=another"));
        assert!(told.starts_with(&format!("{path}?v=")), "{told}");
        for (asked, kept) in
            [(told.as_str(), "public, max-age=31536000, immutable"), (&other, "no-store"), (path, "max-age=300")]
        {
            let (response, _) = ask(&service, "GET", asked, &[]).await;
            assert_eq!(response.headers()["cache-control"], kept, "{asked}");
            assert_eq!(response.headers()["content-type"], format!("{kind}; charset=utf-8"));
        }
    }
    assert_eq!(ask(&service, "GET", "/connections", &[]).await.0.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn a_form_of_another_site_and_a_foreign_name_are_refused() {
    let (service, _folder) = service().await;
    for headers in [
        [("sec-fetch-site", "cross-site")].as_slice(),
        &[("origin", "https://evil.example")],
        &[("host", "rebound.example")],
    ] {
        assert_eq!(ask(&service, "POST", "/sync", headers).await.0.status(), StatusCode::FORBIDDEN, "{headers:?}");
    }
    assert_eq!(ask(&service, "GET", "/", &[("host", "rebound.example")]).await.0.status(), StatusCode::FORBIDDEN);
    let (response, _) = ask(&service, "POST", "/sync", &[("sec-fetch-site", "same-origin")]).await;
    let back = response.headers()["location"].to_str().unwrap();
    assert_eq!((response.status(), back), (StatusCode::SEE_OTHER, "/?said=synced"));
}

#[tokio::test]
async fn a_login_that_fails_shows_on_the_page_and_a_loopback_org_is_refused_unless_allowed() {
    let (service, _folder) = service().await;
    let login =
        br#"{"SF_CLIENT_ID":"3MVG9","SF_REFRESH_TOKEN":"planted-refresh-token","SF_LOGIN_URL":"http://127.0.0.1:9"}"#;
    let now = "2026-06-01T12:00:00Z".parse().unwrap();
    service.store().own().save_integration("acme <b>", &Credentials::new(login.to_vec()), now).await.unwrap();
    let worker = service.clone();
    tokio::spawn(async move { worker.work_syncs().await });
    let (response, _) = ask(&service, "POST", "/sync", &[]).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let mut page = String::new();
    // The answer does not wait for long.
    for _ in 0..200 {
        (_, page) = ask(&service, "GET", "/", &[]).await;
        if page.contains("data-connection-state>error") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(page.contains("data-connection-state>error"), "{page}");
    assert!(page.contains("loopback is not allowed here"), "{page}");
    assert!(page.contains("acme &#60;b&#62;") || page.contains("acme &lt;b&gt;"), "names are escaped: {page}");
    assert!(!page.contains("planted-refresh-token"));
}
