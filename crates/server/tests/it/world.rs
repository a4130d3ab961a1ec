//! A running service with a local org beside it, and browsers that talk to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tieline_auth::{Clock, ManualClock, Secret};
use tieline_emulator::{Emulator, Options};
use tieline_server::limits::{Class, Classes};
use tieline_server::{SalesforceApp, Service, Settings};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::database::Db;

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) org: Emulator,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clock: Arc<ManualClock>,
}

/// One process of the service.
pub(crate) struct Node {
    pub(crate) service: Service,
    pub(crate) url: String,
    _stop: oneshot::Sender<()>,
}

impl World {
    pub(crate) async fn new(db: Db) -> Self {
        Self::with_nodes(db, 1).await
    }

    /// With the limits that a service has unless told otherwise.
    pub(crate) async fn limited(db: Db, nodes: usize) -> Self {
        Self::with_settings(db, nodes, |settings| settings.classes = Classes::default()).await
    }

    /// Several nodes on one database. All say that they are the first: a proxy stands before them.
    pub(crate) async fn with_nodes(db: Db, count: usize) -> Self {
        Self::with_settings(db, count, |_| {}).await
    }

    pub(crate) async fn with_settings(db: Db, count: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let public_url = format!("http://{}", listeners[0].local_addr().unwrap());
        let callback = format!("{public_url}/api/integrations/salesforce/callback");
        let options = Options { contacts: 20, callback_urls: vec![callback], ..Options::default() };
        let org = Emulator::start(options).await.unwrap();
        // The org's own clock is the machine's: tokens live by it, and the service's must not be far from it.
        let clock = Arc::new(ManualClock::at(server_time(&org).await));
        let app = SalesforceApp {
            client_id: org.info().client_id.clone(),
            client_secret: Some(Secret::new(&org.info().client_secret)),
        };
        let mut classes = Classes::default();
        for class in Class::ALL {
            classes.set(class, "off").unwrap();
        }
        let mut settings = Settings {
            classes,
            app: Some(app),
            allow_loopback: true,
            every: std::time::Duration::from_secs(100_000),
            // A test says itself when something is synced.
            syncs: None,
            ..Settings::new(public_url.parse().unwrap())
        };
        change(&mut settings);
        let mut nodes = Vec::new();
        for (n, listener) in listeners.into_iter().enumerate() {
            let store = if n == 0 { db.store.clone() } else { db.place.open().await };
            let clock: Arc<dyn Clock> = clock.clone();
            let service = Service::with_clock(store, settings.clone(), clock).unwrap();
            service.setup_token(Some(Secret::new("setup-token"))).unwrap();
            let address: SocketAddr = listener.local_addr().unwrap();
            let (stop, stopped) = oneshot::channel::<()>();
            let serving = tieline_server::serve(listener, service.clone(), async {
                let _ = stopped.await;
            });
            tokio::spawn(serving);
            nodes.push(Node { service, url: format!("http://{address}"), _stop: stop });
        }
        Self { db, org, nodes, clock }
    }

    pub(crate) fn browser(&self) -> Browser {
        self.browser_at(0)
    }

    pub(crate) fn browser_at(&self, node: usize) -> Browser {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Browser {
            http,
            url: self.nodes[node].url.clone(),
            cookies: BTreeMap::new(),
            csrf: String::new(),
            accept: "application/json",
        }
    }

    /// The first user, signed in.
    pub(crate) async fn owner(&self) -> Browser {
        let mut browser = self.browser();
        let first = json!({
            "token": "setup-token", "email": "owner@example.com", "name": "Ada", "password": PASSWORD, "business": "Acme",
        });
        let (status, session) = browser.post("/api/setup", first).await;
        assert_eq!(status, 201, "{session}");
        browser.csrf = session["csrf_token"].as_str().unwrap().to_owned();
        browser
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: Value) {
        let url = format!("{}/{path}", self.org.info().control_url);
        let http = reqwest::Client::builder().build().unwrap();
        let answer = http.request(method, url).json(&body).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
    }

    pub(crate) async fn ledger(&self) -> Value {
        let url = format!("{}/ledger", self.org.info().control_url);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    }

    /// What a person does at the org's login page: signs in, and allows or denies. Answers where the org sends the browser.
    pub(crate) async fn decide(&self, page: &str, decision: &str) -> String {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let form = |html: &str| {
            let rest = html.split("name=\"form\" value=\"").nth(1).unwrap_or_else(|| panic!("no form in {html}"));
            rest.split('"').next().unwrap().to_owned()
        };
        let base = &self.org.info().login_url;
        let html = http.get(page).send().await.unwrap().text().await.unwrap();
        // Nobody has approved the app for this user yet, so there is something to decide.
        let username = "unapproved@local.tieline.test".to_owned();
        let fields = [("form", form(&html)), ("username", username), ("password", self.org.info().password.clone())];
        let signed = http.post(format!("{base}/login")).form(&fields).send().await.unwrap();
        let cookie = signed.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let next = format!("{base}{}", signed.headers()["location"].to_str().unwrap());
        let mut decided = http.get(next).header("cookie", cookie).send().await.unwrap();
        // Whoever has allowed it before is not asked again.
        if decided.status() == 200 {
            let fields = [("form", form(&decided.text().await.unwrap())), ("decision", decision.to_owned())];
            decided = http.post(format!("{base}/services/oauth2/consent")).form(&fields).send().await.unwrap();
        }
        decided.headers()["location"].to_str().unwrap().to_owned()
    }
}

async fn server_time(org: &Emulator) -> jiff::Timestamp {
    let answer = reqwest::get(format!("{}/clock", org.info().control_url)).await.unwrap();
    let body: Value = answer.json().await.unwrap();
    body["now"].as_str().unwrap().parse().unwrap()
}

/// A browser: it keeps cookies, and follows no redirect by itself.
#[derive(Clone)]
pub(crate) struct Browser {
    http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) cookies: BTreeMap<String, String>,
    pub(crate) csrf: String,
    pub(crate) accept: &'static str,
}

impl Browser {
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Option<Value>) -> Response {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        let mut request = self.http.request(method.clone(), url).header("accept", self.accept);
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        if method != Method::GET {
            request = request.header("x-csrf-token", &self.csrf);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.keep(request).await
    }

    /// Sends a form of one of our pages.
    pub(crate) async fn form(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let mut request = self.http.post(format!("{}{path}", self.url)).header("accept", self.accept).form(fields);
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        self.keep(request).await
    }

    async fn keep(&mut self, request: reqwest::RequestBuilder) -> Response {
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => self.cookies.remove(name),
                value => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        response
    }

    pub(crate) async fn get(&mut self, path: &str) -> (StatusCode, Value) {
        let response = self.send(Method::GET, path, None).await;
        (response.status(), value(response).await)
    }

    pub(crate) async fn post(&mut self, path: &str, body: Value) -> (StatusCode, Value) {
        let response = self.send(Method::POST, path, Some(body)).await;
        (response.status(), value(response).await)
    }

    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let response = self.send(method, path, body).await;
        (response.status(), value(response).await)
    }

    /// Signs in, in this browser.
    pub(crate) async fn sign_in(&mut self, email: &str, password: &str) -> (StatusCode, Value) {
        let (status, session) = self.post("/api/session", json!({"email": email, "password": password})).await;
        if status == 200 {
            self.csrf = session["csrf_token"].as_str().unwrap().to_owned();
        }
        (status, session)
    }
}

async fn value(response: Response) -> Value {
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}
