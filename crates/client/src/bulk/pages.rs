//! The result pages of a job as bytes: each once and whole, however often the connection breaks.

use std::collections::VecDeque;

use bytes::Bytes;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::connection::Connection;
use crate::error::{ClientError, joined};
use crate::reply::Download;
use crate::request::Request;
use crate::rest::sobject::segment;
use crate::visited::Visited;

/// Pieces of a body that wait for their reader: a few kilobytes each over TLS, up to half a megabyte without it.
const AHEAD: usize = 16;
const CIRCLE: &str = "its pages lead in a circle";

/// What comes of the pages.
#[derive(Debug)]
pub(super) enum Event {
    /// A page begins, with so many records if the org says so.
    Page { records: Option<u64> },
    /// Some bytes of it.
    Chunk(Bytes),
    /// It has ended.
    End {
        /// HTTP says where the body ends; otherwise it ends where the connection does, which may be anywhere.
        framed: bool,
        /// The org says whether a page follows.
        led_on: bool,
    },
}

/// Pages one after the other, each read ahead by a task.
#[derive(Debug)]
pub(super) struct Feed {
    connection: Connection,
    tasks: VecDeque<Reading>,
    /// Pages that nobody reads yet.
    waiting: VecDeque<String>,
    /// Where the org tells the next ones.
    more: Option<String>,
    at_once: usize,
    visited: Visited,
}

#[derive(Debug)]
struct Reading {
    events: mpsc::Receiver<Result<Event, ClientError>>,
    task: JoinHandle<()>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Feed {
    /// The pages of a list that leads from one to the next.
    pub(super) fn chain(connection: Connection, first: String) -> Self {
        let reading = read(connection.clone(), first, true);
        Self {
            connection,
            tasks: [reading].into(),
            waiting: VecDeque::new(),
            more: None,
            at_once: 1,
            visited: Visited::default(),
        }
    }

    /// The pages of a query job, so many at once. Where the org does not offer that (before v58), one after the other.
    pub(super) async fn parallel(connection: Connection, job: &str, at_once: usize) -> Result<Self, ClientError> {
        let path = connection.data_path(&format!("jobs/query/{job}/resultPages"));
        let mut feed = Self {
            connection,
            tasks: VecDeque::new(),
            waiting: VecDeque::new(),
            more: Some(path),
            at_once: at_once.max(1),
            visited: Visited::default(),
        };
        match feed.ask().await {
            Err(ClientError::Refused(refusal)) if matches!(refusal.status, 400 | 404 | 405) => {
                let first = feed.connection.data_path(&format!("jobs/query/{job}/results"));
                Ok(Self::chain(feed.connection, first))
            }
            Err(error) => Err(error),
            Ok(()) => Ok(feed),
        }
    }

    /// Asks for the next few pages.
    async fn ask(&mut self) -> Result<(), ClientError> {
        // It stays until it is answered: who gives up in between asks again.
        let Some(path) = self.more.clone() else { return Ok(()) };
        let request = Request::get(path);
        let listed: Listed = self.connection.send_json(&request).await?;
        self.waiting.extend(listed.result_pages.into_iter().map(|page| page.result_url));
        if !self.visited.is_new(&request.path) || !self.waiting.iter().all(|page| self.visited.is_new(page)) {
            return Err(self.connection.unreadable_answer(&request, CIRCLE));
        }
        self.more = match (listed.done, listed.next) {
            (true, _) => None,
            (false, Some(next)) => Some(next),
            (false, None) => {
                return Err(self
                    .connection
                    .unreadable_answer(&request, "it says `done: false` and names no next page"));
            }
        };
        Ok(())
    }

    /// The next event; `None` after the last page.
    pub(super) async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            while self.tasks.len() < self.at_once {
                // A list may be empty, and lead on all the same.
                while self.waiting.is_empty() && self.more.is_some() {
                    self.ask().await?;
                }
                let Some(path) = self.waiting.pop_front() else { break };
                self.tasks.push_back(read(self.connection.clone(), path, false));
            }
            let Some(first) = self.tasks.front_mut() else { return Ok(None) };
            match first.events.recv().await {
                Some(Ok(event)) => return Ok(Some(event)),
                Some(Err(error)) => {
                    self.tasks.clear();
                    self.waiting.clear();
                    self.more = None;
                    return Err(error);
                }
                None => {
                    // A task that did not come to its end must not look as if it had.
                    joined(self.connection.org(), (&mut first.task).await.map(Ok))?;
                    self.tasks.pop_front();
                }
            }
        }
    }
}

/// `resultPages`. Its guide names the next list `nextRecordUrl` in a table and `nextRecordsUrl` in an example.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    result_pages: Vec<ListedPage>,
    #[serde(rename = "nextRecordsUrl", alias = "nextRecordUrl")]
    next: Option<String>,
    #[serde(default)]
    done: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedPage {
    result_url: String,
}

/// Reads a page, and with `onward` those that it leads to.
fn read(connection: Connection, path: String, onward: bool) -> Reading {
    let (to, events) = mpsc::channel(AHEAD);
    let task = tokio::spawn(async move {
        let mut next = Some(path);
        let mut visited = Visited::default();
        while let Some(path) = next.take() {
            if !visited.is_new(&path) {
                let error = connection.unreadable_answer(&Request::get(path), CIRCLE);
                return drop(to.send(Err(error)).await);
            }
            match page(&connection, &path, onward, &to).await {
                Ok(locator) if onward => {
                    next = locator
                        .map(|at| format!("{}?locator={}", path.split('?').next().unwrap_or(&path), segment(&at)));
                }
                Ok(_) => {}
                // Nobody listens any more when this fails.
                Err(error) => drop(to.send(Err(error)).await),
            }
        }
    });
    Reading { events, task }
}

/// Reads one page to its end, and answers the locator of the next.
async fn page(
    connection: &Connection,
    path: &str,
    onward: bool,
    to: &mpsc::Sender<Result<Event, ClientError>>,
) -> Result<Option<String>, ClientError> {
    let request = Request::get(path).with_header(ACCEPT, HeaderValue::from_static("text/csv"));
    let mut download = connection.download(&request).await?;
    // A page of a proxy's is text as well.
    let foreign = text(&download.headers, "content-type").is_some_and(|of| {
        let of = of.to_ascii_lowercase();
        ["html", "json", "xml"].iter().any(|other| of.contains(other))
    });
    if download.status != 200 || foreign {
        return Err(connection.unreadable_answer(&request, "it is no CSV"));
    }
    let (records, locator) = (number(&download.headers), locator(&download.headers));
    if to.send(Ok(Event::Page { records })).await.is_err() {
        return Ok(None);
    }
    let (mut seen, mut delivered, mut attempt) = (crc32fast::Hasher::new(), 0u64, 1);
    loop {
        match download.chunk().await {
            Ok(None) => {
                let framed =
                    ["content-length", "transfer-encoding"].iter().any(|of| download.headers.contains_key(*of));
                let led_on = !onward || download.headers.contains_key("sforce-locator");
                return Ok(to.send(Ok(Event::End { framed, led_on })).await.ok().and(locator));
            }
            Ok(Some(chunk)) => {
                seen.update(&chunk);
                connection.count_bytes(chunk.len());
                delivered += chunk.len() as u64;
                if to.send(Ok(Event::Chunk(chunk))).await.is_err() {
                    return Ok(None);
                }
            }
            Err(mut error) => {
                let rest = loop {
                    if attempt >= connection.options().retry.attempts {
                        return Err(error);
                    }
                    tokio::time::sleep(connection.options().retry.pause(attempt, None)).await;
                    attempt += 1;
                    tracing::info!(attempt, delivered, "{}; going on with the page", error.without_data());
                    match again(connection, &request, delivered, &seen).await {
                        Ok((reopened, rest)) => {
                            download = reopened;
                            break rest;
                        }
                        // What is read of a broken body after its error looks like its end.
                        Err(Again::Broken(broken)) => error = broken,
                        Err(Again::Other(other)) => return Err(other),
                    }
                };
                if !rest.is_empty() {
                    seen.update(&rest);
                    delivered += rest.len() as u64;
                    if to.send(Ok(Event::Chunk(rest))).await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

enum Again {
    Broken(ClientError),
    Other(ClientError),
}

/// Opens a page again and passes over what was delivered, if it is the same; answers what came with its last piece.
async fn again(
    connection: &Connection,
    request: &Request,
    delivered: u64,
    seen: &crc32fast::Hasher,
) -> Result<(Download, Bytes), Again> {
    let mut download = connection.download(request).await.map_err(Again::Other)?;
    let (mut passed, mut same) = (0u64, crc32fast::Hasher::new());
    loop {
        let left = delivered - passed;
        if left == 0 {
            break;
        }
        let Some(chunk) = download.chunk().await.map_err(Again::Broken)? else {
            return Err(Again::Other(connection.unreadable_answer(request, "the page is shorter than it was")));
        };
        let old = (chunk.len() as u64).min(left) as usize;
        same.update(&chunk[..old]);
        passed += old as u64;
        if passed == delivered {
            if same.finalize() != seen.clone().finalize() {
                return Err(Again::Other(connection.unreadable_answer(request, "the page is not what it was")));
            }
            return Ok((download, chunk.slice(old..)));
        }
    }
    Ok((download, Bytes::new()))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(headers: &HeaderMap) -> Option<u64> {
    text(headers, "sforce-numberofrecords")?.parse().ok()
}

/// The end is the word `null`, and for those who read it so, no header at all.
fn locator(headers: &HeaderMap) -> Option<String> {
    text(headers, "sforce-locator").filter(|locator| !locator.is_empty() && *locator != "null").map(str::to_owned)
}
