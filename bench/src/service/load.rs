//! One route under load, and one large import.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::http::{Http, request};
use super::target::Target;
use crate::measure::print;

/// How long is not measured, and how long is.
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(4);

/// Contacts of a small import.
const SMALL: usize = 10;

/// The request of a case; `n` makes those different that must be.
pub(super) fn asked(target: &Target, case: &str, ids: &[String], n: usize) -> Result<Vec<u8>> {
    Ok(match case {
        "live" => target.anonymous("GET", "/health/live", &[], ""),
        "session" => target.by_cookie("GET", "/api/session", ""),
        "integrations" => target.by_key("GET", "/api/integrations", &[], ""),
        "leads" => target.by_key("GET", "/api/leads?limit=50", &[], ""),
        "contacts" => target.by_key("GET", "/api/integrations/salesforce/contacts?limit=50", &[], ""),
        "proxy" => target.by_key("GET", &target.proxied("query?q=SELECT+Id,Name,Email+FROM+Contact+LIMIT+50"), &[], ""),
        "import of 10" => {
            let from = n * SMALL % ids.len().saturating_sub(SMALL).max(1);
            let body = json!({"ids": ids[from..from + SMALL], "campaign": "bench"}).to_string();
            target.by_key("POST", "/api/integrations/salesforce/contacts", &[], &body)
        }
        other => bail!("there is no case {other:?}"),
    })
}

/// Asks for the same over so many connections, and prints requests in a second, how long they took, and what one costs the
/// service.
pub(super) async fn run(case: &str, connections: usize) -> Result<()> {
    let target = std::sync::Arc::new(Target::from_env()?);
    let ids = if case.starts_with("import") { contact_ids(&target, 2_000).await? } else { Vec::new() };
    let begun = Instant::now();
    let (from, until) = (begun + WARM_UP, begun + WARM_UP + MEASURED);
    let mut callers = Vec::new();
    for caller in 0..connections {
        let (target, case, ids) = (target.clone(), case.to_owned(), ids.clone());
        callers.push(tokio::spawn(async move {
            let mut http = Http::connect(target.address).await?;
            let (mut took, mut n) = (Vec::with_capacity(100_000), caller * 10_000);
            let mut bytes = asked(&target, &case, &ids, n)?;
            loop {
                let begun = Instant::now();
                if begun >= until {
                    return anyhow::Ok(took);
                }
                let answer = http.send(&bytes).await?;
                ensure!((200..300).contains(&answer.status), "{case}: {}", String::from_utf8_lossy(&answer.body));
                if begun >= from {
                    took.push(begun.elapsed().as_secs_f32());
                }
                if !ids.is_empty() {
                    n += 1;
                    bytes = asked(&target, &case, &ids, n)?;
                }
            }
        }));
    }
    tokio::time::sleep_until(from.into()).await;
    let before = target.cpu()?;
    tokio::time::sleep_until(until.into()).await;
    let cpu = target.cpu()?.saturating_sub(before);
    let mut took = Vec::new();
    for caller in callers {
        took.extend(caller.await??);
    }
    took.sort_by(f32::total_cmp);
    let at = |part: f64| took.get(((took.len() as f64 * part) as usize).min(took.len().saturating_sub(1)));
    let milliseconds = |part: f64| at(part).map(|seconds| f64::from(*seconds) * 1e3).context("nothing was answered");
    let (case, who) = (format!("{case}, {connections}"), target.who());
    print(&case, who, "requests_per_s", took.len() as f64 / MEASURED.as_secs_f64());
    print(&case, who, "p50_ms", milliseconds(0.5)?);
    print(&case, who, "p99_ms", milliseconds(0.99)?);
    print(&case, who, "cpu_us", cpu.as_secs_f64() * 1e6 / took.len() as f64);
    print(&case, who, "memory_mb", target.memory()?);
    Ok(())
}

/// Ids of the org's contacts, straight from the org: a peer's service need not have a proxy.
pub(super) async fn contact_ids(target: &Target, most: usize) -> Result<Vec<String>> {
    let org: Value = serde_json::from_str(&std::env::var("ORG").context("ORG names no org")?)?;
    let url = url::Url::parse(org["instance_url"].as_str().context("the org has no URL")?)?;
    let address = *url.socket_addrs(|| None)?.first().context("the org has no address")?;
    let token = format!("Bearer {}", org["access_token"].as_str().unwrap_or_default());
    let mut http = Http::connect(address).await?;
    let mut next = "/services/data/v62.0/query?q=SELECT+Id+FROM+Contact".to_owned();
    let mut ids = Vec::new();
    loop {
        let bytes = request(&address.to_string(), "GET", &next, &[("authorization", &token)], "");
        let page = http.send(&bytes).await?.json()?;
        for record in page["records"].as_array().with_context(|| format!("no records: {page}"))? {
            ids.push(record["Id"].as_str().unwrap_or_default().to_owned());
        }
        match page["nextRecordsUrl"].as_str() {
            Some(more) if ids.len() < most => more.clone_into(&mut next),
            _ => break,
        }
    }
    ids.truncate(most);
    ensure!(!ids.is_empty(), "the org {} has no contacts", target.who());
    Ok(ids)
}

/// One import, from its request to its end.
pub(super) async fn import(rows: usize) -> Result<()> {
    let target = Target::from_env()?;
    let ids = contact_ids(&target, rows).await?;
    ensure!(ids.len() == rows, "the org has {} contacts", ids.len());
    let mut http = Http::connect(target.address).await?;
    let body = json!({"ids": ids, "campaign": "large"}).to_string();
    let (begun, cpu) = (Instant::now(), target.cpu()?);
    let asked = http.send(&target.by_key("POST", "/api/integrations/salesforce/contacts", &[], &body)).await?;
    ensure!(asked.status == 202, "{}", String::from_utf8_lossy(&asked.body));
    let id = asked.json()?["id"].as_str().context("no id")?.to_owned();
    let ended = loop {
        let import = http.send(&target.by_key("GET", &format!("/api/imports/{id}"), &[], "")).await?.json()?;
        match import["state"].as_str() {
            Some("waiting" | "running") => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => break import,
        }
    };
    let (wall, cpu) = (begun.elapsed().as_secs_f64(), target.cpu()?.saturating_sub(cpu));
    ensure!(ended["state"] == "success" && ended["failed"] == 0, "{ended}");
    let case = format!("import of {rows}");
    print(&case, target.who(), "rows_per_s", rows as f64 / wall);
    print(&case, target.who(), "cpu_us", cpu.as_secs_f64() * 1e6 / rows as f64);
    print(&case, target.who(), "memory_mb", target.memory()?);
    Ok(())
}
