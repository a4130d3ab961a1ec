//! Why somebody was not signed in, in words for them: a page for a browser, problem details for a program.

use askama::Template;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use tieline_store::{NoSignIn, StoreError};

use super::door::ProviderError;
use crate::connect::authorize::wants_page;
use crate::problem::Problem;

/// The page.
#[derive(Template)]
#[template(path = "sign_in_refused.html")]
struct Page<'a> {
    title: &'a str,
    detail: &'a str,
    hint: &'a str,
    code: &'a str,
}

/// A refusal: the problem, and how the page is headed.
#[derive(Debug)]
pub(crate) struct Refusal {
    title: &'static str,
    problem: Problem,
}

impl Refusal {
    fn new(title: &'static str, problem: Problem) -> Self {
        Self { title, problem }
    }

    /// For whoever asked.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response {
        if !wants_page(headers) {
            return self.problem.clone().into_response();
        }
        let (detail, hint, code) = (self.problem.detail(), self.problem.hint(), self.problem.code());
        match (Page { title: self.title, detail, hint, code }).render() {
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

    /// An ID token, or what belongs to it, is not as it must be.
    pub(super) fn id_token(why: &'static str) -> Self {
        Self::provider("id_token_refused", format!("the provider's answer was not accepted: {why}"))
    }

    fn provider(code: &'static str, detail: String) -> Self {
        let hint = "try again; if it stays, tell the operator of this service: its log says the same";
        Self::new("You were not signed in", Problem::new(StatusCode::BAD_GATEWAY, code, detail, hint))
    }

    /// The token endpoint gives nothing for the code.
    pub(super) fn code_refused(error: &str) -> Self {
        Self::provider("code_refused", format!("the provider does not take the code back: {}", plain(error)))
    }

    /// The browser came back without a code.
    pub(super) fn denied(error: &str) -> Self {
        match error {
            "access_denied" => Self::new(
                "The provider did not let you in",
                Problem::forbidden(
                    "access_denied",
                    "the sign-in was cancelled, or the provider does not let you use this application",
                    "try again, or ask whoever manages the provider to give you access to this application",
                ),
            ),
            _ => Self::provider("provider_refused", format!("the provider answers {}", plain(error))),
        }
    }

    /// The answer comes from another provider than the one that was asked (RFC 9207).
    pub(super) fn other_issuer() -> Self {
        Self::provider("issuer_mismatch", "the answer does not come from the provider that was asked".to_owned())
    }

    pub(super) fn no_code() -> Self {
        Self::provider("provider_refused", "the provider's answer holds neither a code nor an error".to_owned())
    }

    /// Nobody here has this identity.
    pub(super) fn unknown(provider: &str) -> Self {
        Self::new(
            "Nobody here signs in with that",
            Problem::forbidden(
                "unknown_identity",
                format!("{provider} knows who you are, and no account here is linked to that"),
                "with an account here: sign in as before and link the two on the page Account; without one: ask for an invitation, and open its link",
            ),
        )
    }

    /// The provider does not vouch for an address.
    pub(super) fn unverified(provider: &str) -> Self {
        Self::new(
            "Your address is not verified",
            Problem::forbidden(
                "email_unverified",
                format!(
                    "{provider} does not say that your e-mail address was verified, and the invitation is for an address"
                ),
                "have the address verified there; or join with a password, and link the two on the page Account",
            ),
        )
    }

    /// The invitation is for somebody else.
    pub(super) fn other_address(provider: &str, told: &str) -> Self {
        Self::new(
            "The invitation is for another address",
            Problem::forbidden(
                "other_address",
                format!("{provider} says that your address is {told}, and the invitation is for another one"),
                "sign in at the provider with the invited address, or ask for an invitation of this one",
            ),
        )
    }

    pub(super) fn disabled() -> Self {
        Self::new(
            "You were not signed in",
            Problem::forbidden(
                "account_disabled",
                "this account may not sign in any more",
                "ask the operator of this service",
            ),
        )
    }

    pub(super) fn other_user() -> Self {
        Self::new(
            "You were not linked",
            Problem::forbidden(
                "other_user",
                "this was begun by somebody who is not signed in here any more",
                "sign in, and link the two once more on the page Account",
            ),
        )
    }

    pub(super) fn invitation_ended() -> Self {
        Self::new("The invitation has ended", crate::accounts::invitations::ended())
    }
}

/// A code of the provider's, which may be anything.
fn plain(error: &str) -> String {
    error.chars().filter(|c| c.is_ascii_alphanumeric() || "_- ".contains(*c)).take(60).collect()
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::new("You were not signed in", problem)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let problem = Problem::from(error);
        let title = match problem.code() {
            "taken" => "That belongs to somebody else",
            _ => "You were not signed in",
        };
        Self::new(title, problem)
    }
}

impl From<NoSignIn> for Refusal {
    fn from(reason: NoSignIn) -> Self {
        let (detail, hint) = match reason {
            NoSignIn::Unknown => (
                "no sign-in is waiting for this answer: it was used before, or was begun more than ten minutes ago",
                "sign in once more, and finish within ten minutes",
            ),
            NoSignIn::OtherBrowser => (
                "this sign-in was begun in another browser",
                "finish it in the browser that began it, or sign in once more in this one",
            ),
        };
        Self::new(
            "This sign-in is not waiting any more",
            Problem::new(StatusCode::BAD_REQUEST, "invalid_state", detail, hint),
        )
    }
}

impl From<ProviderError> for Refusal {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Away(detail) => Self::new(
                "The provider cannot be reached",
                Problem::unavailable("provider_unavailable", detail, "try again in a moment"),
            ),
            ProviderError::Wrong(detail) => Self::provider("provider_unusable", detail),
        }
    }
}
