//! Reading from Data Cloud: the same queries as `bench/datacloud/peers.py`, from the same Hyper.
//!
//! `direct` goes to the engine itself, `tenant` through the local org's host, which checks each call's token.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tieline_auth::{Grant, OrgConfig, PrivateKey, Reuse};
use tieline_datacloud::output::{Format, Output};
use tieline_datacloud::{DataCloud, DataCloudTokenProvider, Results};

use crate::measure::{peak, print};

const WHO: &str = "tieline";

/// Rows that have not been asked for before: Hyper keeps results, and would answer from memory.
fn series(rows: u64, salt: u64) -> String {
    format!(
        "SELECT g AS id, CAST(g * 1.5 AS DOUBLE PRECISION) AS v, 'name ' || g AS n \
         FROM generate_series({salt}, {}) g(g)",
        salt + rows - 1
    )
}

pub(crate) async fn run(case: &str, where_to: &str) -> Result<()> {
    let org: Value = serde_json::from_str(&std::env::var("ORG").context("ORG is not set")?)?;
    let cloud = connect(&org, where_to).await?;
    // Neither logging in nor connecting is measured; peers have done both as well.
    warm(&cloud).await?;
    let salt = std::process::id().into();
    match case {
        "read" => read(&cloud, &series(2_000_000, salt), 2_000_000, where_to).await,
        "parquet" => parquet(&cloud, &series(10_000_000, salt), 10_000_000, where_to).await,
        other => bail!("there is no case {other}"),
    }
}

async fn connect(org: &Value, where_to: &str) -> Result<DataCloud> {
    let text = |key: &str| org[key].as_str().unwrap_or_default();
    let key = PrivateKey::from_pem(&std::fs::read_to_string(text("private_key_file"))?)?;
    let grant = Grant::JwtBearer { username: text("username").to_owned(), key };
    let mut config = OrgConfig::new(text("login_url"), text("client_id"), grant)?;
    config.reuse = Reuse::UntilRefused;
    if where_to == "direct" {
        // The engine takes any token: the org is made to name it as the tenant.
        let engine = text("engine").trim_start_matches("http://");
        let body = json!({"access_token": "e.y.J", "instance_url": engine, "expires_in": 7_200});
        let fault = json!({"path": "/services/a360/token", "status": 200, "body": body});
        let url = format!("{}/faults", text("control_url"));
        tieline_auth::http::token_client()?.post(url).json(&fault).send().await?.error_for_status()?;
    }
    let provider = DataCloudTokenProvider::of(tieline_auth::Credentials::new(config)?, None);
    Ok(DataCloud::new(provider)?)
}

async fn warm(cloud: &DataCloud) -> Result<()> {
    let mut rows = cloud.query("SELECT 1").run().await?;
    while rows.next().await?.is_some() {}
    Ok(())
}

async fn read(cloud: &DataCloud, sql: &str, expected: u64, where_to: &str) -> Result<()> {
    let started = Instant::now();
    let mut rows = cloud.query(sql).run().await?;
    let (mut count, mut sum) = (0, 0_u64);
    while let Some(batch) = rows.next().await? {
        count += batch.num_rows() as u64;
        sum += batch.get_array_memory_size() as u64;
    }
    told("read 2,000,000 rows", where_to, started.elapsed(), count, expected)?;
    anyhow::ensure!(sum > 0, "nothing was decoded");
    Ok(())
}

async fn parquet(cloud: &DataCloud, sql: &str, expected: u64, where_to: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let started = Instant::now();
    let mut rows: Results = cloud.query(sql).run().await?;
    let mut out = Output::new(Format::Parquet, std::io::BufWriter::new(file.reopen()?), rows.schema())?;
    let mut count = 0;
    while let Some(batch) = rows.next().await? {
        count += batch.num_rows() as u64;
        tokio::task::block_in_place(|| out.write(&batch))?;
    }
    out.finish()?;
    told("10,000,000 rows to Parquet", where_to, started.elapsed(), count, expected)?;
    let case = format!("10,000,000 rows to Parquet, {where_to}");
    print(&case, WHO, "rss_mb", peak());
    print(&format!("{case}: file"), WHO, "mb", file.as_file().metadata()?.len() as f64 / 1e6);
    Ok(())
}

fn told(case: &str, where_to: &str, took: Duration, rows: u64, expected: u64) -> Result<()> {
    anyhow::ensure!(rows == expected, "{rows} rows instead of {expected}");
    print(&format!("{case}, {where_to}"), WHO, "ms", took.as_secs_f64() * 1e3);
    Ok(())
}
