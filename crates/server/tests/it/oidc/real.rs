//! The npm package `oidc-provider`, a certified provider: it knows the standards, not us.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use reqwest::Url;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use tieline_auth::Secret;
use tieline_server::OpenIdProvider;
use tokio::net::TcpListener;

use super::{back, begin, invite, location};
use crate::database::Db;
use crate::parts::part;
use crate::world::World;

struct Real {
    issuer: String,
    process: Child,
    /// It ends when the first does, and fails to write when the second is gone.
    _pipes: (ChildStdin, BufReader<ChildStdout>),
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Real {
    fn start(public_url: &str, algorithm: &str, auth: &str, secret: &str) -> Option<Self> {
        let (node, modules) = (part("node", "TIELINE_TEST_NODE")?, part("oidc", "TIELINE_TEST_OIDC_MODULES")?);
        let mut process = Command::new(node)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/oidc_provider.mjs"))
            .env("TIELINE_TEST_OIDC_MODULES", modules)
            .env("REDIRECT_URI", format!("{public_url}/sign-in/callback"))
            .envs([("ALGORITHM", algorithm), ("CLIENT_AUTH", auth), ("CLIENT_SECRET", secret)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut said = String::new();
        stdout.read_line(&mut said).unwrap();
        let said: Value = serde_json::from_str(&said).unwrap();
        let pipes = (process.stdin.take().unwrap(), stdout);
        Some(Self { issuer: said["issuer"].as_str().unwrap().to_owned(), process, _pipes: pipes })
    }

    /// What a person does there: signs in, and allows. Answers the query that the browser is sent back with.
    async fn sign_in(&self, page: &Url, name: &str) -> String {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut cookies = BTreeMap::new();
        let mut request = http.get(page.clone());
        for _ in 0..12 {
            let sent: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = request.header(COOKIE, sent.join("; ")).send().await.unwrap();
            for cookie in answer.headers().get_all(SET_COOKIE) {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                cookies.insert(pair.0.to_owned(), pair.1.to_owned());
            }
            let at = answer.url().clone();
            if let Some(next) = answer.headers().get(LOCATION) {
                let next = at.join(next.to_str().unwrap()).unwrap();
                if next.path() == "/sign-in/callback" {
                    return next.query().unwrap().to_owned();
                }
                request = http.get(next);
                continue;
            }
            let html = answer.text().await.unwrap();
            let prompt = if html.contains("value=\"login\"") { "login" } else { "consent" };
            assert!(html.contains("name=\"prompt\""), "{at}: {html}");
            let fields = [("prompt", prompt), ("login", name), ("password", "any")];
            let action = html.split("action=\"").nth(1).unwrap().split('"').next().unwrap();
            request = http.post(at.join(action).unwrap()).form(&fields);
        }
        panic!("the provider sends the browser in circles")
    }
}

#[tokio::test]
async fn a_certified_provider_signs_people_in() {
    for (algorithm, auth) in [("RS256", "client_secret_basic"), ("ES256", "client_secret_post"), ("EdDSA", "none")] {
        let secret = "a secret: with %signs+";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let public_url = format!("http://{}", listener.local_addr().unwrap());
        let Some(real) = Real::start(&public_url, algorithm, auth, secret) else { return };
        drop(listener);
        let mut told = OpenIdProvider::new(&real.issuer, "tieline").unwrap();
        told.client_secret = (auth != "none").then(|| Secret::new(secret));
        assert!(told.try_discovery().await.unwrap().contains("answers"));
        let world = World::with_settings(Db::sqlite().await, 1, |settings| {
            settings.public_url = public_url.parse().unwrap();
            settings.open_id = Some(told);
        })
        .await;
        let mut owner = world.owner().await;
        let csrf = owner.csrf.clone();
        let page = begin(&mut owner, &[("purpose", "link"), ("csrf", &csrf)]).await;
        let query = real.sign_in(&page, "ada").await;
        // It names itself, and says that it does (RFC 9207).
        assert!(query.contains("iss="), "{query}");
        assert_eq!(location(&back(&mut owner, &query).await), "/account", "{algorithm} {auth}");

        let mut browser = world.browser();
        let page = begin(&mut browser, &[("return_to", "/connect")]).await;
        let query = real.sign_in(&page, "ada").await;
        let without: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("iss=")).collect();
        assert_eq!(location(&back(&mut browser, &query).await), "/connect", "{algorithm} {auth}");
        assert_eq!(browser.get("/api/session").await.1["user"]["email"], "owner@example.com");
        assert_eq!(
            super::refused(back(&mut browser, &without.join("&")).await).await.1,
            "invalid_state",
            "code replayed"
        );
        let page = begin(&mut browser, &[]).await;
        let query = real.sign_in(&page, "ada").await;
        let without: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("iss=")).collect();
        assert_eq!(super::refused(back(&mut browser, &without.join("&")).await).await.1, "issuer_mismatch");

        let token = invite(&mut owner, "grace@example.com").await;
        let mut joined = world.browser();
        let page = begin(&mut joined, &[("purpose", "join"), ("token", &token)]).await;
        let query = real.sign_in(&page, "grace").await;
        assert_eq!(location(&back(&mut joined, &query).await), "/", "{algorithm} {auth}");
        let session = joined.get("/api/session").await.1;
        assert_eq!(session["user"]["name"], json!("The grace"), "{session}");
    }
}
