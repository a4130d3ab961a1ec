//! The web server flow with PKCE, with the callback on this machine: a listener for one request, and a page that says how
//! it went.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{OriginalUri, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use tieline_auth::grant::authorization_code::{Authorize, Pending};
use tieline_auth::grant::begun_login::BegunLogin;
use tieline_auth::{App, SystemClock};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;

use super::{http_client, now};
use crate::failure::Failure;

/// How long a login page is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// How to show the login page.
pub(crate) struct Browser {
    /// Where the browser comes back to: an address of this machine.
    pub(crate) callback: Url,
    /// Only tell the address; somebody opens it elsewhere, or a test does.
    pub(crate) tell_only: bool,
    /// Scopes to ask for.
    pub(crate) scopes: Vec<String>,
    /// User name to fill in.
    pub(crate) login_hint: Option<String>,
}

#[derive(Template)]
#[template(path = "closing.html")]
struct Closing {
    title: String,
    person: Option<Person>,
    problem: String,
    hint: String,
}

struct Person {
    username: String,
    instance_url: String,
}

struct Waiting {
    pending: Mutex<Option<Pending>>,
    callback: Url,
    done: mpsc::Sender<Result<BegunLogin, Failure>>,
}

/// Opens the login page, waits for the browser to come back, and takes the tokens.
pub(crate) async fn login(app: &App, browser: Browser) -> Result<BegunLogin, Failure> {
    is_reachable(app).await?;
    let listeners = listen(&browser.callback).await?;
    let ask = Authorize {
        redirect_uri: browser.callback.clone(),
        scopes: browser.scopes,
        // Whoever is signed in as somebody else must be able to choose.
        prompt: Some("login".to_owned()),
        login_hint: browser.login_hint,
    };
    let pending = ask.begin(app, now())?;
    let page = pending.url().clone();
    let (done, mut outcome) = mpsc::channel(1);
    let waiting = Arc::new(Waiting { pending: Mutex::new(Some(pending)), callback: browser.callback.clone(), done });
    let router = Router::new().fallback(answer).with_state(waiting);
    let (stop, _) = tokio::sync::watch::channel(false);
    let servers: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            let (router, mut stopped) = (router.clone(), stop.subscribe());
            tokio::spawn(async move {
                let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
                    let _ = stopped.changed().await;
                });
                serving.await
            })
        })
        .collect();
    if browser.tell_only || open::that_detached(page.as_str()).is_err() {
        note!("Open this page in a browser on this machine:\n\n{page}\n");
    } else {
        note!(
            "The login page of {} opens in your browser. If it does not, open it yourself:\n\n{page}\n",
            app.login_url
        );
    }
    let waiting = super::spinner("waiting for the login in the browser");
    let outcome = tokio::select! {
        outcome = outcome.recv() => outcome.unwrap_or_else(|| Err(gave_up())),
        () = tokio::time::sleep(PATIENCE) => Err(gave_up()),
        () = crate::commands::stopped() => Err(Failure::new("stopped before the login was done", "nothing was changed: log in again when you like")),
    };
    waiting.finish_and_clear();
    // The page must have arrived before the listener goes.
    let _ = stop.send(true);
    for server in servers {
        let _ = tokio::time::timeout(Duration::from_secs(2), server).await;
    }
    outcome
}

/// A page that does not open would be waited for in vain.
async fn is_reachable(app: &App) -> Result<(), Failure> {
    let mut url = app.login_url.clone();
    url.set_path("/services/data");
    match http_client()?.get(url).send().await {
        Err(error) if error.is_connect() => Err(Failure::transient(
            format!("{} cannot be reached: {}", app.login_url, tieline_auth::http::innermost(&error)),
            "check the network, and the host (--instance-url, SF_LOGIN_URL)",
        )),
        // Whatever it answered, it is there.
        _ => Ok(()),
    }
}

fn gave_up() -> Failure {
    Failure::needs_person("nobody logged in within ten minutes", "begin again, and finish the login in the browser")
}

/// Listens where the callback points. `localhost` is both addresses: browsers choose either.
async fn listen(callback: &Url) -> Result<Vec<TcpListener>, Failure> {
    let bad = |reason: &str| {
        Failure::usage(
            format!("the browser cannot come back to {callback}: {reason}"),
            "set SF_REDIRECT_URI to a callback URL of the app on this machine, such as http://localhost:1717/OauthRedirect",
        )
    };
    let port = callback.port_or_known_default().ok_or_else(|| bad("it names no port"))?;
    let addresses: Vec<SocketAddr> = match callback.host_str() {
        Some("localhost") => vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()],
        Some("127.0.0.1") => vec![(Ipv4Addr::LOCALHOST, port).into()],
        Some("[::1]") => vec![(Ipv6Addr::LOCALHOST, port).into()],
        _ => return Err(bad("it is not on this machine")),
    };
    let mut listeners = Vec::new();
    for address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 has the other one.
            Err(_) if address.is_ipv6() && !listeners.is_empty() => {}
            Err(error) => {
                return Err(Failure::new(
                    format!("could not listen on {address} for the browser to come back: {error}"),
                    "another login may be waiting there (the Salesforce CLI uses this port too): end it, and try again",
                ));
            }
        }
    }
    Ok(listeners)
}

async fn answer(State(waiting): State<Arc<Waiting>>, OriginalUri(uri): OriginalUri) -> Response {
    if uri.path() != waiting.callback.path() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut callback = waiting.callback.clone();
    callback.set_query(uri.query());
    let pending = {
        let mut pending = waiting.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.as_ref().is_some_and(|pending| !pending.is_answered_by(&callback)) {
            let problem = "It does not belong to the login that was begun here: its `state` is another one.";
            let hint = "Go on in the page of the login.";
            return page(StatusCode::BAD_REQUEST, failed("This is not the answer to the login", problem, hint));
        }
        pending.take()
    };
    let Some(pending) = pending else {
        return page(StatusCode::CONFLICT, failed("This login is done already", "Go back to the terminal.", ""));
    };
    let outcome = finish(pending, &callback).await;
    let (status, closing) = match &outcome {
        Ok((login, person)) => (
            StatusCode::OK,
            Closing {
                title: "You are logged in".to_owned(),
                person: Some(Person { username: person.clone(), instance_url: login.config().alias.clone() }),
                problem: String::new(),
                hint: String::new(),
            },
        ),
        Err(failure) => (
            StatusCode::BAD_REQUEST,
            failed("The login did not work", failure.message(), failure.hint().unwrap_or_default()),
        ),
    };
    let _ = waiting.done.send(outcome.map(|(login, _)| login)).await;
    page(status, closing)
}

async fn finish(pending: Pending, callback: &Url) -> Result<(BegunLogin, String), Failure> {
    let http = http_client()?;
    let login = pending.finish(callback, &http, &SystemClock::default()).await?;
    let username = login.username(&http).await.unwrap_or_default();
    Ok((login, username))
}

fn failed(title: &str, problem: &str, hint: &str) -> Closing {
    Closing { title: title.to_owned(), person: None, problem: problem.to_owned(), hint: hint.to_owned() }
}

fn page(status: StatusCode, closing: Closing) -> Response {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        // One answer, and the connection goes: the program is about to end.
        (header::CONNECTION, "close"),
    ];
    match closing.render() {
        Ok(html) => (status, headers, Html(html)).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
