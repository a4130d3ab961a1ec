//! The thinnest program that keeps contacts in a database: pages read one after the other, decoded, and written by the
//! cheapest way that the database has. No state, no checkpoint, no proof, and a second run would fail: a bound, not a
//! forecast.

use std::borrow::Cow;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use rusqlite::Connection;
use serde::Deserialize;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor};

use crate::contact::SOQL;

/// A record as it is written: its values borrowed from the page where JSON lets it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contact<'p> {
    id: &'p str,
    #[serde(borrow)]
    account_id: Option<Text<'p>>,
    #[serde(borrow)]
    first_name: Option<Text<'p>>,
    #[serde(borrow)]
    last_name: Option<Text<'p>>,
    #[serde(borrow)]
    email: Option<Text<'p>>,
    #[serde(borrow)]
    phone: Option<Text<'p>>,
    #[serde(borrow)]
    title: Option<Text<'p>>,
    #[serde(borrow)]
    department: Option<Text<'p>>,
    #[serde(borrow)]
    mailing_city: Option<Text<'p>>,
    #[serde(borrow)]
    mailing_country: Option<Text<'p>>,
    created_date: &'p str,
    system_modstamp: &'p str,
}

/// Borrowed unless it holds escapes. Serde makes a copy of a `Cow` within an `Option`, but not of one within this.
#[derive(Deserialize)]
struct Text<'p>(#[serde(borrow)] Cow<'p, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Contact<'_> {
    fn values(&self) -> [Option<&str>; 12] {
        [
            Some(self.id),
            self.account_id.as_deref(),
            self.first_name.as_deref(),
            self.last_name.as_deref(),
            self.email.as_deref(),
            self.phone.as_deref(),
            self.title.as_deref(),
            self.department.as_deref(),
            self.mailing_city.as_deref(),
            self.mailing_country.as_deref(),
            Some(self.created_date),
            Some(self.system_modstamp),
        ]
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'p> {
    total_size: u64,
    next_records_url: Option<&'p str>,
    #[serde(borrow)]
    records: Vec<Contact<'p>>,
}

const TABLE: &str = "CREATE TABLE contact_floor (id text PRIMARY KEY, account_id text, first_name text, last_name text, \
     email text, phone text, title text, department text, mailing_city text, mailing_country text, created_date MOMENT, \
     system_modstamp MOMENT)";

/// Reads all contacts of the org in `ORG` into a new table of the database in `DATABASE`.
pub(crate) async fn run(case: &str) -> Result<()> {
    let database = std::env::var("DATABASE").context("DATABASE names no database")?;
    let mut into = match case {
        "postgres" => Into::postgres(&database).await?,
        "sqlite" => Into::sqlite(&database)?,
        other => bail!("there is no database {other}"),
    };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer 00D!static"))]);
    let org = std::env::var("ORG").context("ORG names no org")?;
    let (http, org) = (Client::builder().default_headers(headers).build()?, org.trim_end_matches('/').to_owned());
    let first = http.get(format!("{org}/services/data/v60.0/query")).query(&[("q", SOQL)]);
    let mut body: Bytes = first.send().await?.bytes().await?;
    let mut count = 0;
    loop {
        let page: Page<'_> = serde_json::from_str(std::str::from_utf8(&body)?)?;
        into.write(&page.records).await?;
        count += page.records.len() as u64;
        let Some(next) = page.next_records_url else {
            ensure!(count == page.total_size, "there were {count} records");
            break;
        };
        body = http.get(format!("{org}{next}")).send().await?.bytes().await?;
    }
    into.end().await
}

/// Where records go.
enum Into {
    /// One `COPY` for all, its text sent page by page.
    Postgres { copy: sqlx::postgres::PgCopyIn<sqlx::pool::PoolConnection<sqlx::Postgres>>, text: Vec<u8> },
    /// A transaction a page.
    Sqlite(Connection),
}

impl Into {
    async fn postgres(url: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        connection.execute(sqlx::AssertSqlSafe(TABLE.replace("MOMENT", "timestamptz"))).await?;
        connection.close().await?;
        let pool = sqlx::PgPool::connect(url).await?;
        let copy = sqlx::postgres::PgPoolCopyExt::copy_in_raw(&pool, "COPY contact_floor FROM STDIN").await?;
        Ok(Self::Postgres { copy, text: Vec::new() })
    }

    fn sqlite(path: &str) -> Result<Self> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        connection.execute_batch(&TABLE.replace("MOMENT", "text"))?;
        Ok(Self::Sqlite(connection))
    }

    async fn write(&mut self, records: &[Contact<'_>]) -> Result<()> {
        match self {
            Self::Postgres { copy, text } => {
                text.clear();
                records.iter().for_each(|record| line(text, &record.values()));
                copy.send(text.as_slice()).await?;
            }
            Self::Sqlite(connection) => {
                let transaction = connection.transaction()?;
                let mut insert = transaction
                    .prepare_cached("INSERT INTO contact_floor VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")?;
                for record in records {
                    insert.execute(record.values())?;
                }
                drop(insert);
                transaction.commit()?;
            }
        }
        Ok(())
    }

    async fn end(self) -> Result<()> {
        match self {
            Self::Postgres { copy, .. } => drop(copy.finish().await?),
            Self::Sqlite(connection) => connection.close().map_err(|(_, error)| error)?,
        }
        Ok(())
    }
}

/// A line of `COPY`'s text form. Source: PostgreSQL, "COPY", "Text Format".
fn line(text: &mut Vec<u8>, values: &[Option<&str>; 12]) {
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(b'\t');
        }
        let Some(value) = value else {
            text.extend(b"\\N");
            continue;
        };
        for byte in value.bytes() {
            match byte {
                b'\\' => text.extend(b"\\\\"),
                b'\t' => text.extend(b"\\t"),
                b'\n' => text.extend(b"\\n"),
                b'\r' => text.extend(b"\\r"),
                other => text.push(other),
            }
        }
    }
    text.push(b'\n');
}
