//! The thinnest programs that do the same work, with no tokens, retries, limits or checks: a bound, not a forecast. They run
//! on one thread, unless told otherwise.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{future, stream};
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{CALLERS, CALLING};
use crate::contact::{CONTACTS, Contact, NewContact, ROWS, SMALL_SOQL, SOQL};
use crate::measure::Span;

#[derive(Clone)]
struct Floor {
    who: &'static str,
    http: Client,
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    next_records_url: Option<String>,
    records: Vec<T>,
}

pub(crate) async fn run(case: &str, who: &'static str) -> Result<()> {
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer 00D!static"))]);
    let org = std::env::var("ORG").context("ORG names no org")?;
    let floor = Floor {
        who,
        http: Client::builder().default_headers(headers).build()?,
        data: format!("{}/services/data/v60.0", org.trim_end_matches('/')),
    };
    match case {
        "query" | "query, gzip" => floor.query(case).await,
        "bulk query" => floor.bulk_query().await,
        "ingest" => floor.ingest().await,
        "50 callers" => floor.callers().await,
        other => bail!("there is no case {other}"),
    }
}

impl Floor {
    async fn found(&self, soql: &str) -> Result<Bytes> {
        Ok(self.http.get(format!("{}/query", self.data)).query(&[("q", soql)]).send().await?.bytes().await?)
    }

    async fn query(&self, case: &str) -> Result<()> {
        let span = Span::begin();
        let mut body = self.found(SOQL).await?;
        let mut count = 0;
        loop {
            let page: Page<Contact> = serde_json::from_slice(&body)?;
            count += page.records.len() as u64;
            black_box(&page.records);
            let Some(next) = page.next_records_url else { break };
            let at = next.rfind('/').context("the next page has no path")?;
            body = self.http.get(format!("{}/query{}", self.data, &next[at..])).send().await?.bytes().await?;
        }
        span.told(case, self.who, count);
        ensure!(count == CONTACTS, "there were {count} records");
        Ok(())
    }

    /// Makes a job of a kind, and answers its URL.
    async fn job(&self, kind: &str, body: &Value) -> Result<String> {
        let jobs = format!("{}/jobs/{kind}", self.data);
        let job: Value = self.http.post(&jobs).json(body).send().await?.json().await?;
        Ok(format!("{jobs}/{}", job["id"].as_str().context("a job without an id")?))
    }

    async fn bulk_query(&self) -> Result<()> {
        let span = Span::begin();
        let job = self.job("query", &json!({"operation": "query", "query": SOQL})).await?;
        let look: Value = self.http.get(&job).send().await?.json().await?;
        ensure!(look["state"] == "JobComplete", "the job is not complete");
        let (mut url, mut count, mut bytes) = (format!("{job}/results"), 0, 0);
        loop {
            let response = self.http.get(&url).send().await?;
            let locator = response.headers().get("sforce-locator").context("no locator")?.to_str()?.to_owned();
            let body = response.bytes().await?;
            let mut reader = csv::Reader::from_reader(&body[..]);
            let mut record = csv::ByteRecord::new();
            while reader.read_byte_record(&mut record)? {
                count += 1;
                bytes += record.iter().map(<[u8]>::len).sum::<usize>();
            }
            if locator == "null" {
                break;
            }
            url = format!("{job}/results?locator={locator}");
        }
        span.told("bulk query", self.who, count);
        ensure!(count == ROWS && bytes > 0, "there were {count} rows of {bytes} bytes");
        Ok(())
    }

    async fn ingest(&self) -> Result<()> {
        const AT_ONCE: u64 = 2_000;
        let span = Span::begin();
        let wanted = json!({"operation": "insert", "object": "Contact", "contentType": "CSV", "lineEnding": "LF"});
        let job = self.job("ingest", &wanted).await?;
        let pieces = (0..ROWS / AT_ONCE).map(|piece| {
            let buffer = Vec::with_capacity(256 * 1024);
            let mut writer = csv::WriterBuilder::new().has_headers(piece == 0).from_writer(buffer);
            for n in piece * AT_ONCE..(piece + 1) * AT_ONCE {
                writer.serialize(NewContact::new(n)).map_err(std::io::Error::other)?;
            }
            writer.into_inner().map(Bytes::from).map_err(|error| error.into_error())
        });
        let upload = self.http.put(format!("{job}/batches")).header(CONTENT_TYPE, "text/csv");
        let upload = upload.body(reqwest::Body::wrap_stream(stream::iter(pieces)));
        upload.send().await?.error_for_status()?;
        self.http.patch(&job).json(&json!({"state": "UploadComplete"})).send().await?.error_for_status()?;
        let look: Value = self.http.get(&job).send().await?.json().await?;
        span.told("ingest", self.who, ROWS);
        ensure!(look["numberRecordsProcessed"] == ROWS, "{look}");
        Ok(())
    }

    async fn callers(&self) -> Result<()> {
        let span = Span::begin();
        let until = Instant::now() + CALLING;
        let callers = (0..CALLERS).map(|_| {
            let floor = self.clone();
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < until {
                    let page: Page<Value> = serde_json::from_slice(&floor.found(SMALL_SOQL).await?)?;
                    ensure!(page.records.len() == 1, "a call was answered wrongly");
                    calls += 1;
                }
                anyhow::Ok(calls)
            })
        });
        let mut calls = 0;
        for caller in future::try_join_all(callers).await? {
            calls += caller?;
        }
        span.told("50 callers", self.who, calls);
        Ok(())
    }
}
