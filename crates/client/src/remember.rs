//! What the org said of itself, remembered by this process: one answer for all connections to an org as one user.
//!
//! An answer that is old is asked for again on the condition that it has changed (`If-Modified-Since`, `If-None-Match`):
//! mostly it has not, and the org says so in a few bytes.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use reqwest::header::{DATE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::request::Request;
use crate::rest::describe::Remembered;

/// Answers at most; a describe takes about as many kilobytes as its object has fields.
const CAPACITY: usize = 1_000;

static ANSWERS: LazyLock<Mutex<HashMap<String, Arc<Slot>>>> = LazyLock::new(Mutex::default);

/// One answer, or the place where it will be. Held while the org is asked, so that one asks for all.
#[derive(Default)]
struct Slot {
    known: tokio::sync::Mutex<Option<Known>>,
    used: Mutex<Option<Instant>>,
}

struct Known {
    value: Arc<dyn Any + Send + Sync>,
    at: Instant,
    modified: Option<HeaderValue>,
    tag: Option<HeaderValue>,
}

fn slot(key: &str) -> Arc<Slot> {
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let used = |slot: &Slot| *slot.used.lock().unwrap_or_else(PoisonError::into_inner);
    if answers.len() >= CAPACITY && !answers.contains_key(key) {
        let oldest = answers.iter().min_by_key(|(_, slot)| used(slot)).map(|(key, _)| key.clone());
        oldest.and_then(|key| answers.remove(&key));
    }
    let slot = answers.entry(key.to_owned()).or_default().clone();
    *slot.used.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    slot
}

impl Connection {
    /// The answer to a GET below the version's path: from memory if it is young, `now` or not.
    pub(crate) async fn remembered<T: Remembered>(&self, rest: &str, now: bool) -> Result<Arc<T>, ClientError> {
        let path = self.data_path(rest);
        let slot = slot(&format!("{} {path}", self.credentials().config().digest()));
        let mut known = slot.known.lock().await;
        if let Some(known) = &*known
            && !now
            && known.at.elapsed() < self.options().describes
            && let Ok(value) = known.value.clone().downcast()
        {
            return Ok(value);
        }
        let mut request = Request::get(path);
        if let Some(known) = &*known {
            let conditions = [(IF_MODIFIED_SINCE, &known.modified), (IF_NONE_MATCH, &known.tag)];
            for (name, value) in conditions {
                if let Some(value) = value {
                    request = request.with_header(name, value.clone());
                }
            }
        }
        let at = Instant::now();
        let (answered, headers) = self
            .send_and(&request, |reply| match reply.status {
                304 => Ok((None, reply.headers)),
                _ => Ok((Some(T::read(&reply.body)?), reply.headers)),
            })
            .await?;
        let Some(value) = answered else {
            let unchanged = known.as_mut().and_then(|known| {
                known.at = at;
                known.value.clone().downcast().ok()
            });
            return unchanged
                .ok_or_else(|| self.unreadable_answer(&request, "it says `not modified` to a first question"));
        };
        let value = Arc::new(value);
        let header = |headers: &HeaderMap, name| headers.get(name).cloned();
        // Without a date of the last change, that of the answer is as good: it was true then.
        let modified = header(&headers, LAST_MODIFIED).or_else(|| header(&headers, DATE));
        *known = Some(Known { value: value.clone(), at, modified, tag: header(&headers, ETAG) });
        Ok(value)
    }
}
