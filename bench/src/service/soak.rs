//! All routes at a moderate rate for a long time, and whether the service's memory stays.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::interval;

use super::http::Http;
use super::load::{asked, contact_ids};
use super::target::Target;
use crate::measure::print;

/// Requests in a second.
const RATE: u32 = 40;
/// What is asked for in turn. The first ones are answers as they should be, the others are not.
const MIX: [&str; 16] = [
    "integrations",
    "leads",
    "session",
    "contacts",
    "proxy",
    "live",
    "leads",
    "import of 10",
    "ready",
    "wrong key",
    "metrics",
    "wrong session",
    "no such path",
    "failing query",
    "sign in",
    "openapi",
];
/// Between two samples.
const SAMPLED: Duration = Duration::from_secs(60);
/// How much more than before is flat, in MB or as a part.
const FLAT_MB: f64 = 5.0;
const FLAT_PART: f64 = 0.10;

/// Runs for so many minutes. The last third's median must be that of the second third, or close to it: the first third fills
/// caches and pools.
pub(super) async fn run(minutes: u64) -> Result<()> {
    ensure!(minutes >= 6, "a soak takes six minutes at least, to have two samples in each third");
    let target = std::sync::Arc::new(Target::from_env()?);
    let ids = contact_ids(&target, 2_000).await?;
    let ends = Instant::now() + Duration::from_secs(minutes * 60);
    let load = {
        let (target, ids) = (target.clone(), ids.clone());
        tokio::spawn(async move { load(&target, &ids, ends).await })
    };
    let mut samples = Vec::new();
    let mut clock = interval(SAMPLED);
    clock.tick().await;
    while Instant::now() < ends {
        clock.tick().await;
        samples.push(target.memory()?);
        told(&target, samples.len(), &samples);
    }
    let requests = load.await??;
    let third = samples.len() / 3;
    let median = |part: &[f64]| {
        let mut sorted = part.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    };
    let second = median(&samples[third..2 * third]).context("no sample")?;
    let last = median(&samples[2 * third..]).context("no sample")?;
    let who = target.who();
    print("soak", who, "requests", requests as f64);
    print("soak", who, "second_third_mb", second);
    print("soak", who, "last_third_mb", last);
    print("soak", who, "kb_per_minute", slope(&samples[third..]) * 1024.0);
    let bound = (second * FLAT_PART).max(FLAT_MB);
    ensure!(last <= second + bound, "{who}: memory grows: {second:.1} MB, then {last:.1} MB");
    Ok(())
}

#[expect(clippy::print_stderr, reason = "whoever waits for an hour wants to know how it goes")]
fn told(target: &Target, minute: usize, samples: &[f64]) {
    eprintln!("{}: minute {minute}: {:.1} MB", target.who(), samples.last().copied().unwrap_or_default());
}

/// Least squares: MB in a minute.
fn slope(samples: &[f64]) -> f64 {
    let n = samples.len() as f64;
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, samples.iter().sum::<f64>() / n);
    let (mut above, mut below) = (0.0, 0.0);
    for (x, y) in samples.iter().enumerate() {
        above += (x as f64 - mean_x) * (y - mean_y);
        below += (x as f64 - mean_x).powi(2);
    }
    if below == 0.0 { 0.0 } else { above / below }
}

async fn load(target: &Target, ids: &[String], ends: Instant) -> Result<u64> {
    let mut clock = interval(Duration::from_secs(1) / RATE);
    let mut http = Http::connect(target.address).await?;
    let mut n = 0_usize;
    while Instant::now() < ends {
        clock.tick().await;
        n += 1;
        let what = MIX[n % MIX.len()];
        let made_up = format!("{n}-{}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (bytes, expected) = match what {
            "ready" => (target.anonymous("GET", "/health/ready", &[], ""), &[200][..]),
            "metrics" => (target.anonymous("GET", "/metrics", &[], ""), &[200][..]),
            "openapi" => (target.anonymous("GET", "/openapi.json", &[], ""), &[200][..]),
            "no such path" => (target.anonymous("GET", &format!("/api/{made_up}"), &[], ""), &[404][..]),
            "wrong key" => {
                let key = format!("Bearer tl_{made_up}");
                (target.anonymous("GET", "/api/leads", &[("authorization", &key)], ""), &[401, 429][..])
            }
            "wrong session" => {
                let cookie = format!("tieline_session={made_up}");
                (target.anonymous("GET", "/api/session", &[("cookie", &cookie)], ""), &[401, 429][..])
            }
            "failing query" => {
                let path = target.proxied(&format!("query?q=SELECT+N{n}+FROM+Contact"));
                (target.by_key("GET", &path, &[], ""), &[400][..])
            }
            // A password takes 20 MB and more for a moment: once in a while.
            "sign in" if n % (MIX.len() * 20) == 14 => {
                let body = json!({"email": "owner@example.com", "password": "correct horse battery"}).to_string();
                (target.anonymous("POST", "/api/session", &[], &body), &[200][..])
            }
            "sign in" => continue,
            "import of 10" if n % (MIX.len() * 8) != 7 => continue,
            case => (asked(target, case, ids, n)?, &[200, 202][..]),
        };
        let answer = http.send(&bytes).await.with_context(|| format!("{what}, request {n}"))?;
        ensure!(
            expected.contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
    }
    Ok(n as u64)
}
