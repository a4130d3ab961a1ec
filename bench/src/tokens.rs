//! What a token costs: to find, to sign for, and when a thousand ask at once.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use futures_util::FutureExt;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tieline_auth::error::AuthErrorKind;
use tieline_auth::grant::jwt_bearer;
use tieline_auth::{Clock, Credentials, Grant, OrgConfig, PrivateKey, Secret, SystemClock};
use tieline_client::{Connection, Connections};

use crate::measure::{Span, print, thread_cpu};

const US: &str = "tieline";

struct Org(Value);

impl Org {
    fn get(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn config(&self) -> anyhow::Result<OrgConfig> {
        let grant = Grant::RefreshToken { refresh_token: Secret::new(self.get("refresh_token")) };
        let mut config = OrgConfig::new(self.get("login_url"), self.get("client_id"), grant)?;
        config.client_secret = Some(Secret::new(self.get("client_secret")));
        Ok(config)
    }

    async fn control(&self, method: reqwest::Method, path: &str, body: Value) -> anyhow::Result<Value> {
        let http = reqwest::Client::builder().build()?;
        let request = http.request(method, format!("{}/{path}", self.get("control_url")));
        let request = if body.is_null() { request } else { request.json(&body) };
        Ok(serde_json::from_str(&request.send().await?.text().await?).unwrap_or(Value::Null))
    }

    async fn token_requests(&self) -> anyhow::Result<u64> {
        let ledger = self.control(reqwest::Method::GET, "ledger", Value::Null).await?;
        Ok(ledger["token_requests"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum())
    }

    /// The token endpoint takes 150 ms, as a real one does.
    async fn slow_down(&self) -> anyhow::Result<()> {
        let fault = json!({"path": "/services/oauth2/token", "delay_ms": 150, "times": 0});
        self.control(reqwest::Method::POST, "faults", fault).await.map(drop)
    }

    async fn calm(&self) -> anyhow::Result<()> {
        self.control(reqwest::Method::DELETE, "faults", Value::Null).await.map(drop)
    }
}

pub(crate) async fn run(case: &str) -> anyhow::Result<()> {
    let org = Org(serde_json::from_str(&std::env::var("ORG").context("ORG names no org")?)?);
    match case {
        "lookup" => lookup(&org).await,
        "sign" => sign(&org),
        "herd" => herd(&org).await,
        _ => anyhow::bail!("there is no case `{case}`"),
    }
}

/// A connection by name, with a look whether its token is good; and the same with the token in hand.
async fn lookup(org: &Org) -> anyhow::Result<()> {
    let orgs: &'static Connections = Connections::global();
    let config = org.config()?;
    // As long as the keys of the caches that services write themselves: app and refresh token.
    let name: &'static str = format!("{}:{}", config.client_id, org.get("refresh_token")).leak();
    let opened = orgs.get_or_open(name, || Connection::new(Credentials::new(config)?))?;
    opened.credentials().token().await?;
    let connection = move || black_box(orgs.get(black_box(name))).is_some_and(|org| org.credentials().has_token());
    let token = move || black_box(orgs.get(black_box(name)).and_then(|org| org.credentials().cached_token())).is_some();
    look_up("connection", connection).await?;
    look_up("connection-and-token", token).await
}

async fn look_up(what: &str, look: impl Fn() -> bool + Copy + Send + 'static) -> anyhow::Result<()> {
    const LOOKUPS: u64 = 10_000_000;
    for tasks in [1u64, 8] {
        let each = LOOKUPS / tasks;
        let span = Span::begin();
        let workers = (0..tasks).map(|_| {
            tokio::spawn(async move {
                let mut found = 0;
                for _ in 0..each {
                    found += u64::from(look());
                }
                found
            })
        });
        let found: u64 = futures_util::future::join_all(workers).await.into_iter().map(Result::unwrap_or_default).sum();
        anyhow::ensure!(found == LOOKUPS, "only {found} lookups found a token");
        let (wall, cpu) = span.end();
        let case = format!("lookup-{what}-{tasks}-task{}", if tasks == 1 { "" } else { "s" });
        print(&case, US, "cpu_us", cpu.as_secs_f64() * 1e6 / LOOKUPS as f64);
        print(&case, US, "per_s", LOOKUPS as f64 / wall.as_secs_f64());
    }
    Ok(())
}

/// A signed assertion, beside the crypto library's bare signature over bytes of the same length.
fn sign(org: &Org) -> anyhow::Result<()> {
    const SIGNATURES: u32 = 1_500;
    let pem = std::fs::read_to_string(org.get("private_key_file"))?;
    let key = PrivateKey::from_pem(&pem)?;
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| anyhow::anyhow!("{e}"))?;
    let bare = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())?;
    let now = SystemClock::default().now();
    // A key of this process signs without waiting, so that no runtime is measured with it.
    let assertion = || -> anyhow::Result<String> {
        let (client_id, username) = (org.get("client_id"), org.get("username"));
        let signed = jwt_bearer::assertion(client_id, username, "https://login.salesforce.com", now, &key);
        signed.now_or_never().unwrap_or(Err(AuthErrorKind::NotRenewable)).map_err(|e| anyhow::anyhow!("{e}"))
    };
    let message = assertion()?.rsplit_once('.').map(|(m, _)| m.to_owned());
    let message = message.unwrap_or_default();
    let mut signature = vec![0; bare.public_modulus_len()];
    // In turns, so that a busy neighbour slows both.
    let (mut ours, mut floor) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..10 {
        let begun = thread_cpu();
        for _ in 0..SIGNATURES / 10 {
            black_box(assertion()?);
        }
        ours += thread_cpu() - begun;
        let begun = thread_cpu();
        for _ in 0..SIGNATURES / 10 {
            bare.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)?;
            black_box(&signature);
        }
        floor += thread_cpu() - begun;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(SIGNATURES);
    print("sign", US, "cpu_us", each(ours));
    print("sign", "floor", "cpu_us", each(floor));
    Ok(())
}

async fn herd(org: &Org) -> anyhow::Result<()> {
    org.slow_down().await?;
    let outcome = async {
        // Cold: nobody has a token.
        let credentials = Credentials::new(org.config()?)?;
        let token = || {
            let credentials = credentials.clone();
            async move { credentials.token().await.is_ok() }
        };
        measured(org, "herd-cold-1000", 1_000, token).await?;

        // Everybody holds a token that the org has dropped, and calls.
        let connection = Arc::new(Connection::new(Credentials::new(org.config()?)?)?);
        connection.limits().await?;
        let call = || {
            let connection = connection.clone();
            async move { connection.send(&tieline_client::Request::get("/services/data/v67.0/limits")).await.is_ok() }
        };
        for (case, callers) in [("dead-token-1000", 1_000), ("dead-token-500", 500)] {
            org.control(reqwest::Method::POST, "tokens/revoke", json!({"all": true})).await?;
            measured(org, case, callers, call).await?;
        }

        // Tokens come, and none of them is taken: twenty callers who do not give up, for eight seconds.
        let fault = json!({"path": "/services/data", "times": 0, "status": 401,
            "body": [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]});
        org.control(reqwest::Method::POST, "faults", fault).await?;
        let before = org.token_requests().await?;
        let until = Instant::now() + Duration::from_secs(8);
        let stubborn = (0..20).map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move {
                while Instant::now() < until {
                    let _ = connection.limits().await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        });
        futures_util::future::join_all(stubborn).await;
        print("refresh-yields-dead-token: refreshes", US, "count", (org.token_requests().await? - before) as f64);
        anyhow::Ok(())
    }
    .await;
    org.calm().await?;
    outcome
}

/// So many at once: token requests by the org's own count, and the time until the last one was served.
async fn measured<F>(org: &Org, case: &str, callers: usize, call: impl Fn() -> F) -> anyhow::Result<()>
where
    F: Future<Output = bool> + Send + 'static,
{
    let before = org.token_requests().await?;
    let started = Instant::now();
    let all = futures_util::future::join_all((0..callers).map(|_| tokio::spawn(call()))).await;
    let took = started.elapsed();
    let served = all.into_iter().filter(|outcome| matches!(outcome, Ok(true))).count();
    anyhow::ensure!(served == callers, "{case}: {served} of {callers} were served");
    print(case, US, "count", (org.token_requests().await? - before) as f64);
    print(case, US, "ms", took.as_secs_f64() * 1e3);
    Ok(())
}
