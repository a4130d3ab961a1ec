//! The first Bulk API, as far as clients still use it: jobs of many batches, in CSV or JSON.
//!
//! [`message`] is how things are said, [`job`] and [`batch`] what there is, [`work`] what becomes of a batch, [`outcome`]
//! what a client gets back.

pub(super) mod batch;
pub(super) mod job;
mod message;
pub(super) mod outcome;
mod work;

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::Shared;
use crate::oauth::app::has_scope;
use crate::org::Org;
use message::{Refusal, Wire};

/// A call by somebody who is logged in.
struct Call<'a> {
    org: &'a mut Org,
    user: String,
    /// `67.0`
    version: String,
    /// What the request is written in.
    wire: Wire,
}

impl Call<'_> {
    fn job(&mut self, id: &str) -> Result<&mut job::Job, Refusal> {
        let now = self.org.now();
        self.org.bulk.expire(now);
        let unknown = || Refusal::new("InvalidJob", format!("Unable to find job: {id}"));
        let known = crate::id::normalise(id).ok_or_else(unknown)?;
        self.org.bulk.classic.get_mut(&known).ok_or_else(unknown)
    }
}

/// Checks session, version and limits, then answers.
async fn answer(
    shared: &Shared,
    version: String,
    headers: HeaderMap,
    answer: impl FnOnce(&mut Call<'_>) -> Result<Response, Refusal> + Send + 'static,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    let wire = if text("content-type").contains("json") { Wire::Json } else { Wire::Xml };
    let token = text("x-sfdc-session");
    shared
        .with_org(move |org| {
            let session = org.session(&token).filter(|s| ["api", "full"].iter().any(|api| has_scope(&s.scope, api)));
            let Some(user) = session.map(|session| session.user_id.clone()) else {
                return Refusal::new("InvalidSessionId", "Invalid session id").told(wire);
            };
            let number = version.strip_suffix(".0").and_then(|v| v.parse::<u32>().ok());
            if number.is_none_or(|number| !crate::rest::VERSIONS.contains(&number)) {
                return Refusal::new("InvalidVersion", "Api version is not supported").told(wire);
            }
            if !org.count_call() {
                return Refusal::new("ExceededQuota", "TotalRequests Limit exceeded.").told(wire);
            }
            answer(&mut Call { org, user, version, wire }).unwrap_or_else(|refusal| refusal.told(wire))
        })
        .await
        .into_response()
}
