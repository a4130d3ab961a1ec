//! `POST /services/oauth2/introspect`: whether a token lives, and until when.

use jiff::Timestamp;
use serde::Deserialize;

use crate::config::AppRef;
use crate::error::AuthErrorKind;
use crate::token_endpoint::{Failed, Form, Outcome, post, refused};

/// What the org says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Introspection {
    /// It lives. Also false when the app may not know: the org does not tell the difference.
    pub active: bool,
    /// When it will end, if nobody uses it before.
    pub ends_at: Option<Timestamp>,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
    /// Scopes, separated by spaces.
    pub scope: Option<String>,
    /// The user's name.
    pub username: Option<String>,
    /// `access_token` or `refresh_token`.
    pub token_type: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    active: bool,
    exp: Option<i64>,
    iat: Option<i64>,
    scope: Option<String>,
    username: Option<String>,
    token_type: Option<String>,
}

/// Asks about a token. `kind` is `access_token` or `refresh_token`.
pub(crate) async fn ask(
    http: &reqwest::Client,
    app: AppRef<'_>,
    token: &str,
    kind: &str,
) -> Result<Introspection, Failed> {
    let form = Form::bare().with("token", token).with("token_type_hint", kind).with_app(app);
    let answer = post(http, app, "introspect", &form).await?;
    if answer.status != 200 {
        return Err(refused(app, None, answer));
    }
    let Ok(body) = serde_json::from_slice::<Body>(&answer.body) else {
        let kind = AuthErrorKind::Unintelligible { url: answer.url.to_string(), status: answer.status };
        return Err(Failed { kind, outcome: Outcome::Refused, date: answer.date, retry_after: None });
    };
    let time = |seconds: Option<i64>| seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    Ok(Introspection {
        active: body.active,
        ends_at: time(body.exp),
        issued_at: time(body.iat),
        scope: body.scope,
        username: body.username,
        token_type: body.token_type,
    })
}
