//! The service that is measured, and as whom.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::http::{Answer, Http, request};
use crate::measure;

/// What the variable `SERVICE` says.
pub(super) struct Target {
    told: Value,
    pub(super) address: SocketAddr,
}

impl Target {
    pub(super) fn from_env() -> Result<Self> {
        let told: Value = serde_json::from_str(&std::env::var("SERVICE").context("SERVICE names no service")?)?;
        let address = told["address"].as_str().context("no address")?.parse()?;
        Ok(Self { told, address })
    }

    /// `tieline on postgres`, or a peer.
    pub(super) fn who(&self) -> &str {
        self.get("who")
    }

    pub(super) fn get(&self, key: &str) -> &str {
        self.told[key].as_str().unwrap_or_default()
    }

    /// A request with the API key.
    pub(super) fn by_key(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
        let key = format!("Bearer {}", self.get("key"));
        let headers = [&[("authorization", key.as_str())], headers].concat();
        request(self.get("address"), method, path, &headers, body)
    }

    /// A request by the browser that is signed in.
    pub(super) fn by_cookie(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let headers = [("cookie", self.get("cookie")), ("x-csrf-token", self.get("csrf"))];
        request(self.get("address"), method, path, &headers, body)
    }

    pub(super) fn anonymous(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
        request(self.get("address"), method, path, headers, body)
    }

    /// Path of the proxy to the org.
    pub(super) fn proxied(&self, path: &str) -> String {
        format!("/api/connections/{}/proxy/services/data/latest/{path}", self.get("integration"))
    }

    /// CPU time of the service so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.told["pid"])).context("the service is gone")?;
        // Fields are counted after the program's name, which is in parentheses and may hold anything.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Ok(Duration::from_millis((ticks(11) + ticks(12)) * 10))
    }

    /// Memory of the service that is not the program's file, in MB.
    pub(super) fn memory(&self) -> Result<f64> {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.told["pid"])).context("the service is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        Ok(kilobytes.context("no RssAnon")? / 1024.0)
    }
}

fn cookie(answer: &Answer) -> Option<&str> {
    answer.head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("set-cookie").then(|| value.trim().split(';').next().unwrap_or_default())
    })
}

/// The org takes more calls in a day than the load makes.
async fn unbounded() -> Result<()> {
    let org: Value = serde_json::from_str(&std::env::var("ORG").context("ORG names no org")?)?;
    let url = url::Url::parse(org["control_url"].as_str().context("the org has no control URL")?)?;
    let address = *url.socket_addrs(|| None)?.first().context("the org has no address")?;
    let limits = json!({"daily_api_requests": 1_000_000_000}).to_string();
    let path = format!("{}/limits", url.path().trim_end_matches('/'));
    let answer = Http::connect(address).await?.send(&request(&address.to_string(), "PUT", &path, &[], &limits)).await?;
    ensure!(answer.status == 204, "the org keeps its limits: {}", answer.status);
    Ok(())
}

/// Makes the first user, who makes a key, and prints all that the other cases need.
pub(super) async fn prepare() -> Result<()> {
    let mut target = Target::from_env()?;
    unbounded().await?;
    let mut http = Http::connect(target.address).await?;
    let first = json!({"token": target.get("setup_token"), "email": "owner@example.com", "name": "Ada",
        "password": "correct horse battery", "business": "Acme"});
    let made = http.send(&target.anonymous("POST", "/api/setup", &[], &first.to_string())).await?;
    ensure!(made.status == 201, "{}", String::from_utf8_lossy(&made.body));
    target.told["cookie"] = cookie(&made).context("setting up gives no cookie")?.into();
    target.told["csrf"] = made.json()?["csrf_token"].clone();
    let key = json!({"name": "bench", "role": "admin"}).to_string();
    let key = http.send(&target.by_cookie("POST", "/api/keys", &key)).await?;
    ensure!(key.status == 201, "{}", String::from_utf8_lossy(&key.body));
    target.told["key"] = key.json()?["key"].clone();
    // The first sync reads the whole org, and would be measured too.
    let synced = loop {
        let found = http.send(&target.by_key("GET", "/api/integrations", &[], "")).await?.json()?;
        let one = &found["integrations"][0];
        ensure!(
            one["id"].is_string() && one["status"] != "error",
            "the service has no integration that works: {found}"
        );
        if !one["last_sync_at"].is_null() {
            break one["id"].clone();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    target.told["integration"] = synced;
    measure::line(&target.told);
    Ok(())
}
