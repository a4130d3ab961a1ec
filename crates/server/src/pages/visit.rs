//! Whoever looks at a page, and what they send with its forms.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::de::DeserializeOwned;

use super::frame::{Frame, Place};
use super::{Failed, PageCaller, check_csrf};
use crate::caller::{Caller, SignedIn};
use crate::cookies::Theme;
use crate::problem::Problem;
use crate::service::Service;

/// Longest form, in bytes: twice as much as a mapping may have.
const LONGEST_FORM: usize = 512 * 1024;

/// A request for a page, by somebody who is in a business.
pub(crate) struct Visit {
    /// Who it is.
    pub(crate) caller: Caller,
    pub(crate) service: Service,
    pub(crate) theme: Theme,
    /// What was done on the way here: a word of ours, see [`said`].
    said: Option<&'static str>,
    /// The path, to come back to.
    pub(crate) path: String,
    /// The page is the answer to a form: at its address another one may be found, or none.
    pub(super) answers: bool,
}

impl FromRequestParts<Service> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Response> {
        let found = PageCaller::from_request_parts(parts, service).await;
        let PageCaller(caller) = found.map_err(IntoResponse::into_response)?;
        let said = parts.uri.query().and_then(|query| {
            url::form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == "said")
                .and_then(|(_, word)| said(&word))
        });
        let theme = service.cookies().theme(&parts.headers);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let answers = parts.method == Method::POST;
        Ok(Self { caller, service: service.clone(), theme, said, path, answers })
    }
}

impl Visit {
    /// What surrounds the page.
    pub(crate) async fn frame(&self, place: Place, title: impl Into<String>) -> Result<Frame, Failed> {
        Frame::read(self, place, title.into(), self.said).await
    }

    /// The token of this session in this business, for forms. A form that was opened in one business does nothing in another,
    /// which its reader may have gone to in another tab.
    pub(crate) fn csrf(&self) -> String {
        let token = |signed_in: &SignedIn| format!("{}.{}", signed_in.csrf_token, self.caller.tenant.business());
        self.caller.signed_in().map(token).unwrap_or_default()
    }
}

/// What was done, by the word that stands in the address behind it.
pub(super) fn said(word: &str) -> Option<&'static str> {
    Some(match word {
        "synced" => "A sync was asked for. It runs now.",
        "renamed" => "The new name is saved.",
        "saved" => "Saved.",
        "finished" => "The setup is done. The org is kept in step from now on.",
        "known_org" => "This org was connected before: that connection has the new login now.",
        "disconnected" => "The connection is shut, and its tokens are ended at the org.",
        "deleted" => "Deleted.",
        "tested" => "The org answered: the connection works.",
        "acknowledged" => "Acknowledged. Nobody is told of it again.",
        "dismissed" => "These two are kept apart from now on.",
        "merged" => "Merged. You can undo it here.",
        "undone" => "Undone.",
        "found" => "Looked. What was found is here.",
        "none_found" => "Looked. There is nothing new.",
        "looking" => "Some were looked at. The rest is looked at by itself, within minutes.",
        "rules_saved" => "Saved. All contacts and leads are looked at anew, within minutes.",
        "invited" => "The invitation is made.",
        "removed" => "Taken out of the team.",
        "revoked" => "Revoked. It works no more.",
        "paused" => "Paused. Nothing is read until somebody resumes it.",
        "resumed" => "It goes on.",
        "cancelled" => "Cancelled. What was written stays.",
        "asked" => "A run was asked for. It begins soon.",
        "mapped" => "The mapping is made. Its first run begins soon.",
        "redefined" => "Saved. The next run, which begins soon, fills columns that are new.",
        "retried" => "What failed is tried again.",
        "channel_made" => "The channel is made. Try it with a test message.",
        "rule_made" => "The rule is made.",
        "role_changed" => "The role is changed.",
        "taken_back" => "The invitation is taken back. Its link works no more.",
        "left" => "You have left that business.",
        "ended" => "The business is gone, with all that it had.",
        "lifted" => "Lifted. The person may come back.",
        "halted" => "Paused. Nothing is sent until it goes on.",
        "rewound" => "It sends from there on.",
        "session_ended" => "Signed out there.",
        "others_ended" => "Signed out everywhere else.",
        "password_changed" => "Your password is changed. All your other sessions have ended.",
        _ => return None,
    })
}

/// A redirect to a page that says what was done.
pub(crate) fn done(path: &str, word: &str) -> Response {
    debug_assert!(said(word).is_some(), "{word} says nothing");
    let joint = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{path}{joint}said={word}")).into_response()
}

/// What a form of a page sends, proven to come from this session's own page.
pub(crate) struct Sent<T> {
    pub(crate) visit: Visit,
    pub(crate) form: T,
}

impl<T: DeserializeOwned> FromRequest<Service> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, service: &Service) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, service).await?;
        let refuse = |problem: Problem| Failed::from(problem).into_response();
        let bytes: Bytes = axum::body::to_bytes(body, LONGEST_FORM).await.map_err(|_| {
            refuse(Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "the form is too long",
                "send less at once",
            ))
        })?;
        if !bytes.is_empty() && !is_form(&parts.headers) {
            return Err(refuse(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "this is sent by a form of a page",
                "programs use the API: see /docs",
            )));
        }
        if let Ok(signed_in) = visit.caller.signed_in() {
            let token = url::form_urlencoded::parse(&bytes).find(|(key, _)| key == "csrf");
            let token = token.map(|(_, value)| value).unwrap_or_default();
            check_csrf(signed_in, &token).map_err(refuse)?;
            if token != visit.csrf() {
                let hint = "go back to that business, or open the page again in this one";
                return Err(refuse(Problem::conflict("other_business", "this form is of another business", hint)));
            }
        }
        // Never what serde says of it, which names values.
        let form = serde_html_form::from_bytes(&bytes).map_err(|_| {
            refuse(Problem::invalid("this form lacks a value, or has one that cannot be", "open the page again"))
        })?;
        Ok(Self { visit, form })
    }
}

/// A form that says nothing beyond what its button does.
#[derive(serde::Deserialize)]
pub(crate) struct Nothing {}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim() == "application/x-www-form-urlencoded"
}
