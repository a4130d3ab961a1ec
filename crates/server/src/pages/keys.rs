//! API keys: how programs act for the business. A key is in the answer that makes it, and nowhere after.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::Deserialize;
use tieline_store::{Role, Uuid};

use super::Failed;
use super::denied::denied;
use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Ago, ago, moment};
use crate::accounts::api_keys::{self, KeyView, NewKey};
use crate::extract::{Body, Path};
use crate::problem::Problem;

const ABOUT: &str = "API keys are how programs act for this business.";
/// Longest name of a key, in characters.
const LONGEST_NAME: usize = 100;

struct Line {
    id: Uuid,
    name: String,
    prefix: String,
    role: Role,
    by: String,
    made: Ago,
    used: Option<Ago>,
    ends: Option<String>,
    /// Whether whoever looks may make one like it.
    can_follow: bool,
}

/// What was typed into the form of a new key.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
    /// The last day, in UTC; empty: for ever.
    #[serde(default)]
    ends: String,
    /// The key that this one is to take the place of: its role, and its name with a number.
    after: Option<Uuid>,
}

impl Wanted {
    fn nothing() -> Self {
        Self { name: String::new(), role: "member".to_owned(), ends: String::new(), after: None }
    }

    fn read(&self) -> Result<NewKey, Problem> {
        let role = Role::from_name(&self.role);
        let role = role.ok_or_else(|| Problem::invalid("there is no such role", "choose one of the list"))?;
        Ok(NewKey { name: self.name.clone(), role: role.into(), expires_at: end_of(&self.ends)? })
    }
}

/// The end of a day that was typed.
fn end_of(day: &str) -> Result<Option<Timestamp>, Problem> {
    if day.trim().is_empty() {
        return Ok(None);
    }
    let end = day.trim().parse::<Date>().and_then(|day| day.checked_add(1.day()));
    let end = end.and_then(|next| next.to_zoned(TimeZone::UTC)).map(|next| next.timestamp());
    end.map(Some)
        .map_err(|_| Problem::invalid("the last day is no date", "write it like 2027-06-30, or leave it empty"))
}

/// The name of a key that takes the place of one: `import`, `import 2`, `import 3`.
fn next_name(name: &str) -> String {
    let (stem, n) = match name.rsplit_once(' ').map(|(stem, n)| (stem, n.parse::<u32>())) {
        Some((stem, Ok(n))) => (stem, n),
        _ => (name, 1),
    };
    let end = format!(" {}", n.saturating_add(1));
    let stem: String = stem.chars().take(LONGEST_NAME - end.len()).collect();
    stem + &end
}

/// What a key is to be that takes the place of this one: it lives as long as that was to live, from now on.
fn successor(of: &KeyView, now: Timestamp) -> NewKey {
    let life = of.expires_at.map(|end| end.duration_since(of.created_at));
    NewKey { name: next_name(&of.name), role: of.role, expires_at: life.and_then(|life| now.checked_add(life).ok()) }
}

/// A key that was just made.
struct Made {
    name: String,
    role: Role,
    key: String,
    /// The name of the key whose place it is to take.
    after: Option<String>,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Page {
    frame: Frame,
    keys: Vec<Line>,
    roles: Vec<Role>,
    typed: Wanted,
    made: Option<Made>,
    origin: String,
    problem: Option<Problem>,
}

/// The page.
pub(crate) async fn page(visit: Visit) -> Result<Response, Failed> {
    shown(&visit, Wanted::nothing(), None, None).await
}

async fn shown(visit: &Visit, typed: Wanted, made: Option<Made>, problem: Option<Problem>) -> Result<Response, Failed> {
    let (caller, now) = (&visit.caller, visit.service.now());
    if caller.role < Role::Admin {
        return denied(visit, Place::Keys, "API keys", Role::Admin, ABOUT).await;
    }
    let Json(found) = api_keys::keys(State(visit.service.clone()), caller.clone()).await?;
    let members = caller.tenant.members().await?;
    let by = |id: Option<Uuid>| {
        let member = members.iter().find(|member| Some(member.user.id) == id);
        member.map_or_else(|| "somebody who has left".to_owned(), |member| member.user.name.clone())
    };
    let line = |key: KeyView| Line {
        by: by(key.created_by),
        made: ago(key.created_at, now),
        used: key.last_used_at.map(|at| ago(at, now)),
        ends: key.expires_at.map(moment),
        can_follow: Role::from(key.role) <= caller.role,
        role: key.role.into(),
        id: key.id,
        name: key.name,
        prefix: key.prefix,
    };
    let status = problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let roles = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];
    let page = Page {
        frame: visit.frame(Place::Keys, "API keys").await?,
        keys: found.keys.into_iter().map(line).collect(),
        roles: roles.into_iter().filter(|role| *role <= caller.role).collect(),
        typed,
        made,
        origin: visit.service.origin(),
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Makes a key and shows it: the answer is the page itself, so that the key is in no address and gone with the next look.
pub(crate) async fn make(sent: Sent<Wanted>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    let before = match form.after {
        None => None,
        Some(id) => {
            let Json(found) = api_keys::keys(service.clone(), caller.clone()).await?;
            let found = found.keys.into_iter().find(|key| key.id == id);
            Some(found.ok_or_else(|| Problem::not_found("API key"))?)
        }
    };
    let new = match &before {
        Some(before) => Ok(successor(before, visit.service.now())),
        None => form.read(),
    };
    let made = match new {
        Ok(new) => api_keys::create_key(service, caller, Body(new)).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok((_, Json(made))) => {
            let key = made.key.unwrap_or_default();
            let after = before.map(|before| before.name);
            let made = Made { name: made.name, role: made.role.into(), key, after };
            shown(&visit, Wanted::nothing(), Some(made), None).await
        }
        Err(problem) => shown(&visit, form, None, Some(problem)).await,
    }
}

/// Ends a key.
pub(crate) async fn revoke(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    api_keys::revoke_key(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done("/keys", "revoked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_has_the_next_number_and_fits() {
        for (name, next) in [("import", "import 2"), ("import 2", "import 3"), ("a b", "a b 2"), ("7", "7 2")] {
            assert_eq!(next_name(name), next);
        }
        assert_eq!(next_name(&"é".repeat(100)), "é".repeat(98) + " 2");
        assert_eq!(next_name("x 4294967295"), "x 4294967295");
    }

    #[test]
    fn a_key_works_to_the_end_of_its_last_day() {
        assert_eq!(end_of("2027-06-30").unwrap().unwrap().to_string(), "2027-07-01T00:00:00Z");
        assert!(end_of(" ").unwrap().is_none());
        for bad in ["30.06.2027", "2027-02-30", "9999-12-31"] {
            assert!(end_of(bad).is_err(), "{bad}");
        }
    }
}
