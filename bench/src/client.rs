//! The client as programs use it: large queries, bulk jobs, and many callers at once.

use std::hint::black_box;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{TryStreamExt, future, stream};
use serde::de::DeserializeOwned;
use tieline_auth::{Credentials, Grant, OrgConfig, Secret};
use tieline_client::bulk::{BulkQueryOptions, Ingest, IngestOptions, Operation, QueryJob, Wait};
use tieline_client::{Connection, Record};

use crate::contact::{CONTACTS, Contact, NewContact, ROWS, SMALL_SOQL, SOQL};
use crate::measure::Span;

/// How many call at once, and for how long.
pub(crate) const CALLERS: usize = 50;
pub(crate) const CALLING: Duration = Duration::from_secs(5);

/// Runs a case against the fixture; `case` is also how the table calls it, up to its first `:`.
pub(crate) async fn run(case: &str, who: &str) -> Result<()> {
    let org = connect()?;
    match case {
        "query" | "query, gzip" => query::<Contact>(&org, case, who).await,
        "query: dynamic" => query::<Record>(&org, "query", &format!("{who}, any fields")).await,
        "query, gzip: dynamic" => query::<Record>(&org, "query, gzip", &format!("{who}, any fields")).await,
        "bulk query" => bulk_query(&org, who).await,
        "bulk query: file" => bulk_query_to_file(&org, &format!("{who}, to a file")).await,
        "ingest" => ingest(&org, who).await,
        "ingest: file" => ingest_file(&org, &format!("{who}, from a file")).await,
        "50 callers" => callers(&org, who).await,
        other => bail!("there is no case {other}"),
    }
}

fn connect() -> Result<Connection> {
    let org = url::Url::parse(&std::env::var("ORG").context("ORG names no org")?)?;
    let grant = Grant::AccessToken { access_token: Secret::new("00D!static"), instance_url: org.clone() };
    let config = OrgConfig::new(org.as_str(), "", grant)?;
    Ok(Connection::new(Credentials::new(config)?)?)
}

async fn query<T: DeserializeOwned + Send + 'static>(org: &Connection, case: &str, who: &str) -> Result<()> {
    let span = Span::begin();
    let mut records = pin!(org.query::<T>(SOQL));
    let mut count = 0;
    while let Some(record) = records.try_next().await? {
        black_box(record);
        count += 1;
    }
    span.told(case, who, count);
    ensure!(count == CONTACTS, "there were {count} records");
    Ok(())
}

async fn complete(org: &Connection) -> Result<QueryJob> {
    let job = org.bulk_query(SOQL, BulkQueryOptions::default()).await?;
    job.wait(&Wait::default()).await?;
    Ok(job)
}

async fn bulk_query(org: &Connection, who: &str) -> Result<()> {
    let span = Span::begin();
    let mut rows = complete(org).await?.rows();
    let (mut count, mut bytes) = (0, 0);
    while let Some(row) = rows.next().await? {
        bytes += row.values().map(str::len).sum::<usize>();
        count += 1;
    }
    span.told("bulk query", who, count);
    ensure!(count == ROWS && bytes > 0, "there were {count} rows of {bytes} bytes");
    Ok(())
}

async fn bulk_query_to_file(org: &Connection, who: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let span = Span::begin();
    let mut output = tokio::fs::File::from_std(file.reopen()?);
    let count = complete(org).await?.rows().write_csv(&mut output).await?;
    span.told("bulk query", who, count);
    ensure!(count == ROWS, "there were {count} rows");
    Ok(())
}

async fn ingest(org: &Connection, who: &str) -> Result<()> {
    let span = Span::begin();
    let mut ingest = Ingest::new(org, IngestOptions::new("Contact", Operation::Insert));
    ingest.feed(stream::iter((0..ROWS).map(NewContact::new))).await?;
    finish(ingest, who, &span).await
}

async fn ingest_file(org: &Connection, who: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    let mut writer = csv::Writer::from_writer(file.reopen()?);
    for n in 0..ROWS {
        writer.serialize(NewContact::new(n))?;
    }
    writer.flush()?;
    let span = Span::begin();
    let mut ingest = Ingest::new(org, IngestOptions::new("Contact", Operation::Insert));
    ingest.feed_csv(tokio::fs::File::from_std(file.reopen()?)).await?;
    finish(ingest, who, &span).await
}

async fn finish(mut ingest: Ingest, who: &str, span: &Span) -> Result<()> {
    let summary = ingest.wait(&Wait::default()).await?;
    span.told("ingest", who, summary.rows);
    ensure!(summary.rows == ROWS && summary.is_success(), "{summary:?}");
    Ok(())
}

async fn callers(org: &Connection, who: &str) -> Result<()> {
    let span = Span::begin();
    let until = Instant::now() + CALLING;
    let callers = (0..CALLERS).map(|_| {
        let org = org.clone();
        tokio::spawn(async move {
            let mut calls = 0;
            while Instant::now() < until {
                let found: Vec<Record> = org.query(SMALL_SOQL).try_collect().await?;
                ensure!(found.len() == 1, "a call was answered wrongly");
                calls += 1;
            }
            Ok(calls)
        })
    });
    let mut calls = 0;
    for caller in future::try_join_all(callers).await? {
        calls += caller?;
    }
    span.told("50 callers", who, calls);
    Ok(())
}
