//! `POST /services/oauth2/introspect`.

use serde_json::{Value, json};

use super::client::Client;
use super::token::{Form, field};
use crate::org::Org;

/// What the org tells of a token, to a client that has proved itself; to any other it knows none.
pub(crate) fn introspect(org: &Org, form: &Form) -> Value {
    let unknown = json!({"active": false});
    let Ok(app) = Client::must_be_proven(org, form) else { return unknown };
    let (token, now) = (field(form, "token"), org.now());
    let (user_id, scope, kind, from, until) =
        if let Some(session) = org.grants.peek(token, now).filter(|session| session.client_id == app.client_id) {
            (&session.user_id, &session.scope, "access_token", session.opened, Some(org.grants.end(session)))
        } else if let Some((_, family)) = org.grants.family(token).filter(|(_, f)| f.client_id == app.client_id) {
            (&family.user_id, &family.scope, "refresh_token", family.opened, None)
        } else {
            return unknown;
        };
    let username = org.user_by_id(user_id).ok().flatten().map(|user| user.username);
    let mut answer = json!({
        "active": true, "scope": scope, "client_id": app.client_id, "username": username,
        "sub": format!("{}/id/{}/{user_id}", org.base_url, org.id),
        "token_type": kind, "iat": from.as_second(), "nbf": from.as_second(),
    });
    if let Some(until) = until {
        answer["exp"] = json!(until.as_second());
    }
    answer
}
