//! Who is in the business, with which role, and who is invited.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tieline_store::{Invitation, Role, Uuid};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::{Nothing, Sent, Visit, done};
use super::words::{Ago, ago};
use crate::accounts::invitations::{self, NewInvitation};
use crate::accounts::team::{self, MemberView, NewRole};
use crate::extract::{Body, Path};
use crate::problem::Problem;

const ROLES: [Role; 4] = [Role::Viewer, Role::Member, Role::Admin, Role::Owner];

/// A member in the list.
struct Line {
    id: Uuid,
    name: String,
    email: String,
    role: Role,
    since: Ago,
    is_me: bool,
    /// Whether whoever looks may change them: nobody changes those who may more.
    changeable: bool,
    /// Without them nobody would own the business.
    last_owner: bool,
}

struct Open {
    invitation: Invitation,
    made: Ago,
    ends: Ago,
}

/// What was typed into the form of an invitation.
#[derive(Default, Deserialize)]
pub(crate) struct Invited {
    #[serde(default)]
    email: String,
    #[serde(default)]
    role: String,
}

/// An invitation that was just made: the link is in this answer and nowhere else.
struct Made {
    email: String,
    link: String,
}

#[derive(Template)]
#[template(path = "team.html")]
struct Page {
    frame: Frame,
    members: Vec<Line>,
    /// Those who may change it, by name.
    who_may: String,
    /// The roles that whoever looks may give.
    roles: Vec<Role>,
    open: Vec<Open>,
    typed: Invited,
    made: Option<Made>,
    problem: Option<Problem>,
}

/// The page.
pub(crate) async fn page(visit: Visit) -> Result<Response, Failed> {
    shown(&visit, Invited::default(), None, None).await
}

async fn shown(
    visit: &Visit,
    typed: Invited,
    made: Option<Made>,
    problem: Option<Problem>,
) -> Result<Response, Failed> {
    let (caller, now) = (&visit.caller, visit.service.now());
    let Json(team) = team::members(caller.clone()).await?;
    let role_of = |member: &MemberView| Role::from(member.role);
    let owners = team.members.iter().filter(|member| role_of(member) == Role::Owner).count();
    let may = |member: &&MemberView| role_of(member) >= Role::Admin;
    let who_may: Vec<String> =
        team.members.iter().filter(may).map(|m| format!("{} ({})", m.name, role_of(m))).collect();
    let line = |member: MemberView| {
        let role = role_of(&member);
        let last_owner = role == Role::Owner && owners == 1;
        Line {
            is_me: caller.tenant.user() == Some(member.id),
            changeable: caller.role >= Role::Admin && role <= caller.role && !last_owner,
            last_owner,
            role,
            since: ago(member.joined_at, now),
            id: member.id,
            name: member.name,
            email: member.email,
        }
    };
    // Who is invited is for those to see who may invite.
    let open = if caller.role >= Role::Admin { caller.tenant.invitations(now).await? } else { Vec::new() };
    let of = |invitation: Invitation| Open {
        made: ago(invitation.created_at, now),
        ends: ago(invitation.expires_at, now),
        invitation,
    };
    let status = problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let page = Page {
        frame: visit.frame(Place::Team, "Team").await?,
        members: team.members.into_iter().map(line).collect(),
        who_may: who_may.join(", "),
        roles: ROLES.into_iter().filter(|role| *role <= caller.role).collect(),
        open: open.into_iter().map(of).collect(),
        typed,
        made,
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Makes an invitation, and shows its link: the answer is the page itself, for the link must be in no address.
pub(crate) async fn invite(sent: Sent<Invited>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let Some(role) = Role::from_name(&form.role) else {
        let problem = Problem::invalid("there is no such role", "choose one of the list");
        return shown(&visit, form, None, Some(problem)).await;
    };
    let new = NewInvitation { email: form.email.clone(), role: role.into() };
    match invitations::invite(State(visit.service.clone()), visit.caller.clone(), Body(new)).await {
        Ok((_, Json(made))) => {
            let made = Made { email: made.email, link: made.link.unwrap_or_default() };
            shown(&visit, Invited::default(), Some(made), None).await
        }
        Err(problem) => shown(&visit, form, None, Some(problem)).await,
    }
}

/// Ends an invitation.
pub(crate) async fn take_back(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    invitations::take_back(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done("/team", "taken_back"))
}

/// Gives a member another role.
pub(crate) async fn change_role(Path(id): Path<Uuid>, sent: Sent<NewRole>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    match team::change_role(State(visit.service.clone()), visit.caller.clone(), Path(id), Body(form)).await {
        Ok(_) => Ok(done("/team", "role_changed")),
        Err(problem) => shown(&visit, Invited::default(), None, Some(problem)).await,
    }
}

/// Takes a member out. Whoever leaves by themselves goes where they still are somebody.
pub(crate) async fn remove(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    let leaves = visit.caller.tenant.user() == Some(id);
    match team::remove_member(State(visit.service.clone()), visit.caller.clone(), Path(id)).await {
        Ok(_) if leaves => Ok(done("/", "left")),
        Ok(_) => Ok(done("/team", "removed")),
        Err(problem) => shown(&visit, Invited::default(), None, Some(problem)).await,
    }
}
