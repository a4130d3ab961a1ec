//! Logs a person in by browser (web server flow with PKCE) and says who it is.
//!
//! ```sh
//! tieline emulate --json > org.json &
//! export SF_LOGIN_URL=$(jq -r .login_url org.json) SF_CLIENT_ID=$(jq -r .client_id org.json)
//! export SF_CLIENT_SECRET=$(jq -r .client_secret org.json)
//! cargo run --example browser_login     # then open the page that it names; user and password are in org.json
//! ```
//!
//! `SF_REDIRECT_URI` must be one of the app's callback URLs; the default is the one that Salesforce's own command line
//! uses.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use tieline_auth::grant::authorization_code::Authorize;
use tieline_auth::{App, Clock, Secret, Settings, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let login_url = variable("SF_LOGIN_URL").unwrap_or_else(|| "https://login.salesforce.com".to_owned());
    let mut app = App::new(&login_url, variable("SF_CLIENT_ID").unwrap_or_else(|| "PlatformCLI".to_owned()))?;
    app.client_secret = variable("SF_CLIENT_SECRET").map(Secret::new);
    let redirect = variable("SF_REDIRECT_URI").unwrap_or_else(|| "http://localhost:1717/OauthRedirect".to_owned());
    let redirect: Url = redirect.parse()?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", redirect.port().unwrap_or(80))).await?;

    let clock = SystemClock::default();
    let login = Authorize::new(redirect.clone()).begin(&app, clock.now())?;
    println!("{}", login.url());
    let callback = loop {
        if let Some(callback) = answer(&listener, &redirect).await? {
            break callback;
        }
    };
    let http = tieline_auth::http::token_client()?;
    let credentials = login.finish(&callback, &http, &clock).await?.into_credentials(Settings::default()).await?;
    let user = credentials.userinfo().await?;
    println!("{}", serde_json::to_string(&user)?);
    Ok(())
}

/// Serves one request. The callback, if it was that; browsers ask for other things too.
async fn answer(listener: &tokio::net::TcpListener, redirect: &Url) -> anyhow::Result<Option<Url>> {
    let (mut stream, _) = listener.accept().await?;
    let mut request = vec![0; 16 * 1024];
    let length = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..length]);
    let target = request.split(' ').nth(1).unwrap_or("/").to_owned();
    let callback = redirect.join(&target).ok().filter(|url| url.path() == redirect.path());
    let (status, text) = match callback {
        Some(_) => ("200 OK", "<h1>Logged in</h1><p>You can close this page.</p>"),
        None => ("404 Not Found", ""),
    };
    let page = format!("<!doctype html><html lang=en><meta charset=utf-8><title>tieline</title>{text}");
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(page.as_bytes()).await?;
    stream.flush().await?;
    Ok(callback)
}
