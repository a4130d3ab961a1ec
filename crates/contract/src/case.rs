//! What a check has at hand: the org, and words to ask it with.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tieline_auth::{Clock, Secret, SystemClock};
use tieline_client::{Body, ClientError, Connection, Method, Request};

use crate::answer::{Answer, Notes, Words};
use crate::expectation::{Unmet, not_applicable, that};
use crate::org::Org;

/// A check under way.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) org: &'a Org,
    pub(crate) notes: Notes,
}

/// How a request without the connection's help says who asks.
#[derive(Debug, Clone)]
pub(crate) enum Auth {
    Nobody,
    Header(String),
    /// The header of the first Bulk API.
    Session(String),
}

/// Text as part of a URL.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// An error of the client's that is no answer of the org's.
pub(crate) fn unanswered(error: &ClientError) -> Unmet {
    Unmet::Different { expected: "an answer".to_owned(), seen: error.to_string() }
}

impl Case<'_> {
    pub(crate) fn connection(&self) -> &Connection {
        &self.org.connection
    }

    /// A name for a record that nobody else has.
    pub(crate) fn name(&self, what: &str) -> String {
        format!("{}-{what}-{:04x}", self.org.marker, fastrand::u16(..))
    }

    /// Words that stand somewhere in an answer. Others are reported, and do not fail the expectation.
    pub(crate) fn words(&self, expected: &str, seen: &str) {
        if expected != seen {
            let words = Words { expected: expected.to_owned(), seen: seen.to_owned() };
            self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(words);
        }
    }

    /// The time by the machine's clock.
    pub(crate) fn now(&self) -> jiff::Timestamp {
        SystemClock::default().now()
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        self.connection().data_path(rest)
    }

    /// Sends by the connection. Of a refusal it does not keep the headers: see [`Case::raw`].
    pub(crate) async fn send(&self, mut request: Request) -> Result<Answer, Unmet> {
        if request.method == Method::POST || request.method == Method::PATCH {
            // Orgs come with rules that take two records of similar names for one.
            let name = HeaderName::from_static("sforce-duplicate-rule-header");
            request = request.with_header(name, HeaderValue::from_static("allowSave=true"));
        }
        match self.connection().send(&request).await {
            Ok(reply) => Ok(self.answer(reply.status, reply.headers, reply.body)),
            Err(ClientError::Refused(refusal)) => {
                let body = Bytes::copy_from_slice(refusal.body());
                Ok(self.answer(refusal.status, HeaderMap::new(), body))
            }
            Err(error) => Err(unanswered(&error)),
        }
    }

    fn answer(&self, status: u16, headers: HeaderMap, body: Bytes) -> Answer {
        Answer { status, headers, body, notes: self.notes.clone() }
    }

    pub(crate) async fn get(&self, rest: &str) -> Result<Answer, Unmet> {
        self.send(Request::get(self.path(rest))).await
    }

    pub(crate) async fn delete(&self, rest: &str) -> Result<Answer, Unmet> {
        self.send(Request::new(Method::DELETE, self.path(rest))).await
    }

    pub(crate) async fn post(&self, rest: &str, body: &Value) -> Result<Answer, Unmet> {
        self.json(Method::POST, rest, body).await
    }

    pub(crate) async fn patch(&self, rest: &str, body: &Value) -> Result<Answer, Unmet> {
        self.json(Method::PATCH, rest, body).await
    }

    async fn json(&self, method: Method, rest: &str, body: &Value) -> Result<Answer, Unmet> {
        let bytes = Bytes::from(body.to_string());
        self.send(Request::new(method, self.path(rest)).with_body(Body::Json(bytes))).await
    }

    pub(crate) async fn text(
        &self,
        method: Method,
        rest: &str,
        content_type: &str,
        text: &str,
    ) -> Result<Answer, Unmet> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let body = Body::Raw { content_type: content_type.to_owned(), bytes };
        self.send(Request::new(method, self.path(rest)).with_body(body)).await
    }

    pub(crate) async fn query(&self, soql: &str) -> Result<Answer, Unmet> {
        self.get(&format!("query?q={}", encoded(soql))).await
    }

    /// A query's answer, which must be one.
    pub(crate) async fn found(&self, soql: &str) -> Result<Value, Unmet> {
        self.query(soql).await?.is(200)?.json()
    }

    /// Creates a record, and answers its id.
    pub(crate) async fn create(&self, object: &str, fields: &Value) -> Result<String, Unmet> {
        let answer = self.post(&format!("sobjects/{object}"), fields).await?;
        if answer.status == 400 {
            return not_applicable(format!("the org lets no such {object} be made: {}", answer.shown()));
        }
        let saved = answer.is(201)?.json()?;
        match saved["id"].as_str() {
            Some(id) if id.len() == 18 && id.is_ascii() => Ok(id.to_owned()),
            _ => Err(Unmet::Different { expected: "an id of 18 characters".to_owned(), seen: saved.to_string() }),
        }
    }

    /// Creates an account, and answers its id.
    pub(crate) async fn account(&self, what: &str) -> Result<String, Unmet> {
        self.create("Account", &json!({"Name": self.name(what)})).await
    }

    /// Remembers a bulk job, so that it is deleted in the end.
    pub(crate) fn remember_job(&self, kind: &'static str, job: &Value) -> Result<String, Unmet> {
        let id = job["id"].as_str().unwrap_or_default().to_owned();
        that(!id.is_empty(), "a job's id", job)?;
        self.org.jobs.lock().unwrap_or_else(PoisonError::into_inner).push((kind, id.clone()));
        Ok(id)
    }

    /// The access token at hand.
    pub(crate) async fn token(&self) -> Result<Secret, Unmet> {
        let token = self.connection().credentials().token().await;
        token
            .map(|token| token.access_token().clone())
            .map_err(|error| Unmet::Different { expected: "a token".to_owned(), seen: error.to_string() })
    }

    /// `Bearer` with the token at hand.
    pub(crate) async fn bearer(&self) -> Result<Auth, Unmet> {
        Ok(Auth::Header(format!("Bearer {}", self.token().await?.expose())))
    }

    /// Sends to the org's host without the connection: nothing is repeated, and a refusal keeps its headers.
    pub(crate) async fn raw(
        &self,
        method: Method,
        path: &str,
        auth: &Auth,
        body: Option<(&str, String)>,
    ) -> Result<Answer, Unmet> {
        let token = self.connection().credentials().token().await;
        let token = token.map_err(|error| Unmet::Different { expected: "a token".into(), seen: error.to_string() })?;
        let host = token.instance_url().clone();
        self.raw_at(host, method, path, auth, body).await
    }

    pub(crate) async fn raw_at(
        &self,
        host: url::Url,
        method: Method,
        path: &str,
        auth: &Auth,
        body: Option<(&str, String)>,
    ) -> Result<Answer, Unmet> {
        let lost = |reason: String| Unmet::Different { expected: "an answer".to_owned(), seen: reason };
        let url = host.join(path).map_err(|error| lost(error.to_string()))?;
        let mut request = self.org.http.request(method, url);
        request = match auth {
            Auth::Nobody => request,
            Auth::Header(value) => request.header("Authorization", value),
            Auth::Session(value) => request.header("X-SFDC-Session", value),
        };
        if let Some((content_type, text)) = body {
            if content_type.starts_with("text/xml") {
                // Required by SOAP, and its value ignored.
                request = request.header("SOAPAction", "\"\"");
            }
            request = request.header("Content-Type", content_type).body(text);
        }
        self.org.raw_calls.fetch_add(1, Ordering::Relaxed);
        let gone = |error: reqwest::Error| lost(error.without_url().to_string());
        let response = request.send().await.map_err(gone)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await.map_err(gone)?;
        Ok(self.answer(status, headers, body))
    }

    /// An envelope of SOAP to the org's host.
    pub(crate) async fn soap_raw(&self, path: &str, envelope: &str) -> Result<Answer, Unmet> {
        let body = Some(("text/xml; charset=UTF-8", envelope.to_owned()));
        self.raw(Method::POST, path, &Auth::Nobody, body).await
    }

    /// Posts a form to an endpoint of OAuth at the login host.
    pub(crate) async fn form(&self, endpoint: &str, fields: &[(&str, &str)]) -> Result<Answer, Unmet> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let path = format!("/services/oauth2/{endpoint}");
        let body = Some(("application/x-www-form-urlencoded", form.finish()));
        self.raw_at(self.org.config.login_url.clone(), Method::POST, &path, &Auth::Nobody, body).await
    }

    /// The control API of the emulator.
    pub(crate) async fn control(&self, method: Method, what: &str, body: &Value) -> Result<Value, Unmet> {
        let Some(url) = &self.org.control else { return not_applicable("there is no control over this org") };
        let url = format!("{}/{what}", url.as_str().trim_end_matches('/'));
        let request = self.org.http.request(method, url).header("Content-Type", "application/json");
        let answer = request.body(body.to_string()).send().await;
        let done = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
        that(done, format_args!("control of the org ({what})"), "a failure")?;
        let body = match answer {
            Ok(answer) => answer.bytes().await.unwrap_or_default(),
            Err(_) => Bytes::new(),
        };
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Looks again and again, for at most so long.
    pub(crate) async fn wait_for<T>(
        &self,
        what: &str,
        at_most: Duration,
        look: impl AsyncFn() -> Result<Option<T>, Unmet>,
    ) -> Result<T, Unmet> {
        let begun = tokio::time::Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if begun.elapsed() > at_most {
                return not_applicable(format!("{what} takes longer than {} s", at_most.as_secs()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }
}
