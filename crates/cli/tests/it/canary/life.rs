//! What a service goes through: its first user, an org, work, refusals of every kind, and the end of access.

use std::collections::BTreeMap;

use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

use super::random;
use super::search::Secrets;
use super::wire::Wire;
use crate::nodes::Node;
use crate::org::Org;

/// Somebody at a browser, and all that they get to see.
pub(super) struct Life<'a> {
    url: String,
    org: &'a Org,
    wire: &'a Wire,
    http: Client,
    cookies: BTreeMap<String, String>,
    csrf: String,
    key: Option<String>,
    pub(super) secrets: Secrets,
    /// Bodies in which no secret belongs, and of what.
    pub(super) answers: Vec<(String, Vec<u8>)>,
}

impl<'a> Life<'a> {
    pub(super) fn new(node: &Node, org: &'a Org, wire: &'a Wire, secrets: Secrets) -> Self {
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let (cookies, answers) = (BTreeMap::new(), Vec::new());
        Self { url: node.url.clone(), org, wire, http, cookies, csrf: String::new(), key: None, secrets, answers }
    }

    async fn send(&mut self, method: &str, path: &str, body: Value) -> Response {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) };
        let mut request = self.http.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        request = request.header("accept", "application/json");
        match &self.key {
            Some(key) => request = request.bearer_auth(key),
            None => {
                let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
                request = request.header("cookie", cookies.join("; ")).header("x-csrf-token", &self.csrf);
            }
        }
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let (name, value) = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
                continue;
            }
            self.secrets.add(if name.ends_with("session") { "session" } else { "login cookie" }, value);
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        response
    }

    /// Asks, and keeps the answer, which holds no secret.
    async fn ask(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let answer = self.send(method, path, body).await;
        let status = answer.status().as_u16();
        let location = answer.headers().get("location").map(|place| place.as_bytes().to_vec()).unwrap_or_default();
        let body = answer.bytes().await.unwrap_or_default().to_vec();
        let value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        self.answers.push((format!("the answer {status} to {method} {}", path.split('?').next().unwrap()), body));
        self.answers.push((format!("the way of {method} {}", path.split('?').next().unwrap()), location));
        (status, value)
    }

    /// Asks for what is told once, to whoever asks.
    async fn told(&mut self, method: &str, path: &str, body: Value) -> Value {
        let answer = self.send(method, path, body).await;
        let status = answer.status();
        let value = answer.json::<Value>().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status} {value}");
        if let Some(csrf) = value["csrf_token"].as_str() {
            self.secrets.add("CSRF token", csrf);
            csrf.clone_into(&mut self.csrf);
        }
        value
    }

    pub(super) async fn live(&mut self, setup: &str, metrics: &str) {
        let password = self.people(setup).await;
        self.connected().await;
        let integration = self.work().await;
        self.refused(&integration, metrics, &password).await;
        self.taken_away(&integration).await;
    }

    async fn people(&mut self, setup: &str) -> String {
        let (first, password, guess) = (random("first"), random("second"), random("guess"));
        for secret in [&first, &password, &guess] {
            self.secrets.add("password", secret);
        }
        let user = |token: &str| json!({"token": token, "email": "owner@example.com", "name": "Ada", "password": first, "business": "Acme"});
        assert_eq!(self.ask("POST", "/api/setup", user(&guess)).await.0, 403);
        self.told("POST", "/api/setup", user(setup)).await;
        assert_eq!(self.ask("POST", "/api/setup", user(setup)).await.0, 409);
        let change = json!({"current": first, "new": password});
        let changed = self.ask("POST", "/api/password", change).await;
        assert!(changed.0 < 300, "{changed:?}");
        self.cookies.clear();
        let sign_in = |password: &str| json!({"email": "owner@example.com", "password": password});
        assert_eq!(self.ask("POST", "/api/session", sign_in(&guess)).await.0, 401);
        self.told("POST", "/api/session", sign_in(&password)).await;
        let key = self.told("POST", "/api/keys", json!({"name": "program", "role": "admin"})).await;
        let key = key["key"].as_str().unwrap().to_owned();
        self.secrets.add("API key", &key);
        let invited =
            self.told("POST", "/api/invitations", json!({"email": "bob@example.com", "role": "member"})).await;
        let link = invited["link"].as_str().unwrap().to_owned();
        let secret = link.rsplit('#').next().unwrap().to_owned();
        self.secrets.add("invitation", &secret);
        for path in ["/api/keys", "/api/invitations", "/api/sessions", "/api/members", "/api/integrations"] {
            assert_eq!(self.ask("GET", path, Value::Null).await.0, 200, "{path}");
        }
        let theirs = random("theirs");
        self.secrets.add("password", &theirs);
        let accepted = json!({"token": secret, "name": "Bob", "password": theirs});
        let (cookies, csrf) = (std::mem::take(&mut self.cookies), std::mem::take(&mut self.csrf));
        self.told("POST", "/api/invitations/accept", accepted.clone()).await;
        self.cookies.clear();
        let again = self.ask("POST", "/api/invitations/accept", accepted).await;
        assert!((400..500).contains(&again.0), "{again:?}");
        (self.cookies, self.csrf) = (cookies, csrf);
        self.key = Some(key);
        password
    }

    /// Twice: once with what is not right, once as it should be.
    async fn connected(&mut self) {
        let key = self.key.take();
        let domain = self.wire.url.replace(':', "%3A").replace('/', "%2F");
        let begin = format!("/api/integrations/salesforce/authorize?environment=custom&domain={domain}");
        let begun = self.told("GET", &begin, Value::Null).await;
        let denied = self.decide(begun["url"].as_str().unwrap(), "deny").await;
        let refused = self.ask("GET", &denied, Value::Null).await;
        assert!(refused.0 >= 400, "{refused:?}");
        let begun = self.told("GET", &begin, Value::Null).await;
        let back = self.decide(begun["url"].as_str().unwrap(), "allow").await;
        let code = back.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
        self.secrets.add("authorization code", url_decoded(&code));
        let cookies = std::mem::take(&mut self.cookies);
        let stranger = self.ask("GET", &back, Value::Null).await;
        assert!((400..500).contains(&stranger.0), "{stranger:?}");
        self.cookies = cookies;
        let state = back.split("state=").nth(1).unwrap().split('&').next().unwrap();
        self.secrets.add("state", url_decoded(state));
        assert_eq!(self.ask("GET", &back, Value::Null).await.0, 302);
        assert!(self.ask("GET", &back, Value::Null).await.0 >= 400, "it was used up");
        self.key = key;
    }

    async fn work(&mut self) -> String {
        let (_, all) = self.ask("GET", "/api/integrations", Value::Null).await;
        let integration = all["integrations"].as_array().unwrap().iter().find(|one| one["status"] == "active");
        let integration = integration.unwrap_or_else(|| panic!("{all}"))["id"].as_str().unwrap().to_owned();
        let (status, page) = self.ask("GET", "/api/integrations/salesforce/contacts?limit=5", Value::Null).await;
        assert_eq!(status, 200, "{page}");
        let ids: Vec<Value> = page["items"].as_array().unwrap().iter().map(|contact| contact["id"].clone()).collect();
        let asked = json!({"ids": ids, "campaign": "spring"});
        let (status, import) = self.ask("POST", "/api/integrations/salesforce/contacts", asked).await;
        assert_eq!(status, 202, "{import}");
        let path = format!("/api/imports/{}", import["id"].as_str().unwrap());
        for _ in 0..200 {
            if self.ask("GET", &path, Value::Null).await.1["state"] == "success" {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let proxied = format!("/api/connections/{integration}/proxy/services/data/latest/limits");
        assert_eq!(self.ask("GET", &proxied, Value::Null).await.0, 200);
        // A session that has ended is renewed, and its refresh token exchanged for another.
        self.org.control("POST", "tokens/revoke", &json!({"all": true}));
        assert_eq!(self.ask("GET", &proxied, Value::Null).await.0, 200);
        integration
    }

    /// Everything that can be wrong, at the service and at the org.
    async fn refused(&mut self, integration: &str, metrics: &str, password: &str) {
        let proxy = format!("/api/connections/{integration}/proxy/services/data/latest");
        let secret = random("bodied");
        self.secrets.add("what was sent in a wrong body", &secret);
        for (method, path, body) in [
            ("GET", format!("{proxy}/query?q=SELECT+Nothing+FROM+Contact"), Value::Null),
            ("GET", format!("/api/connections/{integration}/proxy/services/oauth2/token"), Value::Null),
            ("GET", format!("/api/connections/{integration}/proxy/../secrets"), Value::Null),
            ("PUT", format!("{proxy}/sobjects/Contact/none"), json!({"x": secret})),
            ("POST", "/api/keys".to_owned(), json!({"name": 1, "role": secret})),
            ("PATCH", format!("/api/integrations/{integration}"), json!({"app": {"client_secret": secret}})),
            ("GET", "/api/leads?cursor=nonsense".to_owned(), Value::Null),
            ("GET", "/nowhere".to_owned(), Value::Null),
        ] {
            let (status, _) = self.ask(method, &path, body).await;
            assert!((400..500).contains(&status), "{method} {path}: {status}");
        }
        for fault in [
            json!({"path": "/services/data", "status": 500, "body": "not even JSON", "times": 9}),
            json!({"path": "/services/data", "status": 401, "times": 9,
                "body": [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]}),
            json!({"path": "/services/data", "status": 403, "times": 9,
                "body": [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]}),
            json!({"path": "/services/data", "cut": 0, "times": 9}),
        ] {
            self.org.control("POST", "faults", &fault);
            let (status, _) = self.ask("GET", &format!("{proxy}/limits"), Value::Null).await;
            assert!(status >= 400, "{fault}: {status}");
            self.ask("GET", "/api/integrations/salesforce/contacts", Value::Null).await;
            self.org.control("DELETE", "faults", &Value::Null);
        }
        // The token endpoint fails while a new token is needed.
        self.org.control("POST", "tokens/revoke", &json!({"all": true}));
        let down = json!({"path": "/services/oauth2/token", "status": 503, "body": "down", "times": 0});
        self.org.control("POST", "faults", &down);
        assert!(self.ask("GET", &format!("{proxy}/limits"), Value::Null).await.0 >= 400);
        self.org.control("DELETE", "faults", &Value::Null);

        let key = self.key.take();
        let wrong = format!("tl_{}", random("wrong"));
        self.secrets.add("wrong key", &wrong);
        self.key = Some(wrong);
        assert_eq!(self.ask("GET", "/api/leads", Value::Null).await.0, 401);
        self.key = Some(metrics.to_owned());
        assert_eq!(self.ask("GET", "/api/leads", Value::Null).await.0, 401);
        self.key = None;
        let csrf = std::mem::replace(&mut self.csrf, random("forged"));
        self.secrets.add("forged token", self.csrf.clone());
        assert_eq!(self.ask("POST", "/api/keys", json!({"name": "x", "role": "viewer"})).await.0, 403);
        self.csrf = csrf;
        let body = format!("{{\"email\": \"owner@example.com\", \"password\": \"{password}\", ");
        let broken = self.http.post(format!("{}/api/session", self.url)).header("content-type", "application/json");
        let broken = broken.body(body).send().await.unwrap();
        assert_eq!(broken.status(), 400);
        self.answers.push(("the answer to a broken sign-in".to_owned(), broken.bytes().await.unwrap().to_vec()));
        for page in ["/", "/connect", "/sign-in", "/setup", "/join", "/docs", "/openapi.json"] {
            // Pages of whoever is signed in carry the session's token for their forms.
            let (cookies, csrf) = (std::mem::take(&mut self.cookies), std::mem::take(&mut self.csrf));
            self.ask("GET", page, Value::Null).await;
            (self.cookies, self.csrf) = (cookies, csrf);
        }
        self.key = key;
    }

    async fn taken_away(&mut self, integration: &str) {
        let own = random("own");
        self.secrets.add("consumer secret of its own", &own);
        let app = json!({"app": {"client_id": "3MVG9own", "client_secret": own}});
        let (status, changed) = self.ask("PATCH", &format!("/api/integrations/{integration}"), app).await;
        assert_eq!(status, 200, "{changed}");
        let proxy = format!("/api/connections/{integration}/proxy/services/data/latest/limits");
        assert!(self.ask("GET", &proxy, Value::Null).await.0 >= 400);
        let (status, ended) =
            self.ask("POST", &format!("/api/integrations/{integration}/disconnect"), Value::Null).await;
        assert!(status < 500, "{ended}");
        for path in ["/api/logs", "/api/audit", "/api/audit/verify", "/api/imports", "/api/leads", "/api/integrations"]
        {
            assert_eq!(self.ask("GET", path, Value::Null).await.0, 200, "{path}");
        }
    }

    pub(super) async fn metrics(&self, token: &str) -> String {
        let request = self.http.get(format!("{}/metrics", self.url)).bearer_auth(token);
        request.send().await.unwrap().text().await.unwrap()
    }

    /// What a person does at the org's login page. Answers where the org sends the browser.
    async fn decide(&self, page: &str, decision: &str) -> String {
        let form = |html: &str| {
            let rest = html.split("name=\"form\" value=\"").nth(1).unwrap_or_else(|| panic!("no form in {html}"));
            rest.split('"').next().unwrap().to_owned()
        };
        let base = &self.wire.url;
        let html = self.http.get(page).send().await.unwrap().text().await.unwrap();
        let username = "unapproved@local.tieline.test".to_owned();
        let fields = [("form", form(&html)), ("username", username), ("password", self.org.get("password").to_owned())];
        let signed = self.http.post(format!("{base}/login")).form(&fields).send().await.unwrap();
        let cookie = signed.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let next = format!("{base}{}", signed.headers()["location"].to_str().unwrap());
        let mut decided = self.http.get(next).header("cookie", cookie).send().await.unwrap();
        if decided.status() == 200 {
            let fields = [("form", form(&decided.text().await.unwrap())), ("decision", decision.to_owned())];
            decided = self.http.post(format!("{base}/services/oauth2/consent")).form(&fields).send().await.unwrap();
        }
        decided.headers()["location"].to_str().unwrap().to_owned()
    }
}

fn url_decoded(text: &str) -> String {
    url::form_urlencoded::parse(format!("x={text}").as_bytes()).next().unwrap().1.into_owned()
}
