//! Why an org was not connected, in words for the person who tried: as a page for a browser, as problem details for a
//! program.

use askama::Template;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use tieline_auth::AuthError;
use tieline_auth::catalogue::{Remedy, explain};
use tieline_auth::error::AuthErrorKind;
use tieline_store::NoLogin;

use crate::connect::authorize::wants_page;
use crate::problem::Problem;

/// The page.
#[derive(Template)]
#[template(path = "refused.html")]
struct Page<'a> {
    title: &'a str,
    detail: &'a str,
    hint: &'a str,
    code: &'a str,
    return_to: &'a str,
    /// Where it is tried again.
    again: Option<String>,
}

/// A refusal: the problem, and how the page is headed.
#[derive(Debug)]
pub(crate) struct Refusal {
    title: &'static str,
    problem: Problem,
    try_again: bool,
}

impl Refusal {
    fn new(title: &'static str, problem: Problem) -> Self {
        Self { title, problem, try_again: true }
    }

    /// For whoever asked.
    pub(crate) fn answer(&self, headers: &HeaderMap, return_to: &str) -> Response {
        if !wants_page(headers) {
            return self.problem.clone().into_response();
        }
        let page = Page {
            title: self.title,
            detail: self.problem.detail(),
            hint: self.problem.hint(),
            code: self.problem.code(),
            return_to,
            again: self.try_again.then(|| again(return_to)),
        };
        match page.render() {
            Ok(html) => (self.problem.status(), [(header::CACHE_CONTROL, "no-store")], Html(html)).into_response(),
            Err(error) => Problem::internal("a page could not be made", &error).into_response(),
        }
    }

    /// The code, for logs.
    pub(crate) fn code(&self) -> &'static str {
        self.problem.code()
    }

    /// What happened, for logs.
    pub(crate) fn detail(&self) -> &str {
        self.problem.detail()
    }
}

/// A setup goes on with its own step; else the login begins anew.
fn again(return_to: &str) -> String {
    if return_to.starts_with("/connections/") && return_to.ends_with("/setup") {
        return return_to.to_owned();
    }
    let query: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
    format!("/connect?{query}")
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::new("The org was not connected", problem)
    }
}

impl From<NoLogin> for Refusal {
    fn from(reason: NoLogin) -> Self {
        let (detail, hint) = match reason {
            NoLogin::Unknown => (
                "no login is waiting for this answer: it was used before, or was begun more than ten minutes ago",
                "connect the org once more, and finish the login within ten minutes",
            ),
            NoLogin::OtherBrowser => (
                "this login was begun in another browser",
                "finish it in the browser that began it, or connect the org once more in this one",
            ),
            NoLogin::OtherUser => (
                "this login was begun by another user of this service",
                "sign in as the user who began it, or connect the org once more",
            ),
        };
        Self::new(
            "This login is not waiting any more",
            Problem::new(StatusCode::BAD_REQUEST, "invalid_state", detail, hint),
        )
    }
}

/// The org has another id than the one that the integration is connected to.
pub(crate) fn other_org(expected: &str, found: &str) -> Refusal {
    Refusal::new(
        "That is another org",
        Problem::conflict(
            "other_org",
            format!("this integration is connected to the org {expected}, and you have logged in to {found}"),
            "log in to the same org; to connect the other one as well, make a new integration. What was synced from one org must not be mixed with another's",
        ),
    )
}

/// The org named no id.
pub(crate) fn no_org() -> Refusal {
    Refusal::new(
        "The org was not connected",
        Problem::new(
            StatusCode::BAD_GATEWAY,
            "token_exchange_failed",
            "the org's answer does not say which org it is",
            "add the scope `id` (or `openid`) to the app, and connect it once more",
        ),
    )
}

/// Nothing that would last was granted.
pub(crate) fn no_refresh_token() -> Refusal {
    Refusal::new(
        "The app gives no lasting access",
        Problem::conflict(
            "refresh_token_missing",
            "the org granted an access token only, which ends within hours",
            "add the scope `refresh_token` (Perform requests at any time) to the app, and connect the org once more",
        ),
    )
}

pub(crate) fn revoked() -> Refusal {
    Refusal::new(
        "Access was taken away in the meantime",
        Problem::conflict(
            "revoked",
            "somebody disconnected this integration while you were logging in; nothing was kept",
            "connect the org once more if that is meant",
        ),
    )
}

impl From<&AuthError> for Refusal {
    fn from(error: &AuthError) -> Self {
        let AuthErrorKind::Refused { error: code, description, hint } = error.kind() else {
            let problem = Problem::unavailable(
                "token_exchange_failed",
                format!("the login was granted, and could not be finished: {error}"),
                error.hint(),
            );
            return Self::new("Salesforce could not be reached", problem);
        };
        let known = explain(code, description);
        let detail = known.map_or_else(|| format!("the org says {code}: {description}"), |row| row.meaning.to_owned());
        let hint = known.map_or_else(|| hint.to_string(), |row| row.next.to_owned());
        let (title, code, status) = match code.as_str() {
            "access_denied" => ("Access was not granted", "access_denied", StatusCode::FORBIDDEN),
            "invalid_client_id" => ("The org does not know the app", "invalid_client_id", StatusCode::CONFLICT),
            "redirect_uri_mismatch" => {
                ("The app does not know this service", "redirect_uri_mismatch", StatusCode::CONFLICT)
            }
            _ if known.is_some_and(|row| row.remedy != Remedy::Person) => {
                ("Salesforce asks for patience", "salesforce_unavailable", StatusCode::SERVICE_UNAVAILABLE)
            }
            _ => ("The org was not connected", "token_exchange_failed", StatusCode::BAD_GATEWAY),
        };
        // The catalogue speaks to whoever sets variables; here an admin of the org reads.
        let hint = match code {
            "redirect_uri_mismatch" => {
                "in the org's setup, add this service's callback URL to the app, to the letter (docs/admin-setup.md)".to_owned()
            }
            "invalid_client_id" => {
                "check the consumer key of the app, and that you log in to the org that has it; a new app takes up to ten minutes to become known".to_owned()
            }
            _ => hint,
        };
        Self::new(title, Problem::new(status, code, detail, hint))
    }
}
