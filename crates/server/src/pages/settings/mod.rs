//! What goes for the business as a whole: its name, how long things are kept, what seals its secrets, its end.

pub(crate) mod personal_data;

use std::collections::BTreeMap;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tieline_store::{Role, Uuid};

use super::Failed;
use super::frame::{Frame, Place};
use super::visit::{Sent, Visit, done};
use super::words::{Ago, ago};
use crate::accounts::businesses::{self, BusinessChange, Meant};
use crate::caller::Address;
use crate::extract::{Body, Path};
use crate::problem::Problem;
use crate::retention::{self, RetentionView};

/// A data key in the list, without the key.
struct SealingKey {
    id: Uuid,
    /// What it seals: a connection's credentials, or what is the business's own.
    of: String,
    made: Ago,
    values: u64,
    /// The name of the master key that has wrapped it.
    service: String,
    retired: bool,
    /// Whether that master key wraps new ones, too.
    is_current: bool,
}

/// For how many days things are kept, as it was typed.
#[derive(Default, Deserialize)]
pub(crate) struct Days {
    #[serde(default)]
    log_days: String,
    #[serde(default)]
    audit_days: String,
    #[serde(default)]
    import_days: String,
    #[serde(default)]
    lead_days: String,
    #[serde(default)]
    contact_days: String,
    /// Whether they have been told that something goes.
    #[serde(default)]
    sure: String,
}

impl Days {
    fn of(keeps: &RetentionView) -> Self {
        let or_nothing = |days: Option<u32>| days.map(|days| days.to_string()).unwrap_or_default();
        Self {
            log_days: keeps.log_days.to_string(),
            audit_days: keeps.audit_days.to_string(),
            import_days: keeps.import_days.to_string(),
            lead_days: or_nothing(keeps.lead_days),
            contact_days: or_nothing(keeps.contact_days),
            sure: String::new(),
        }
    }

    fn read(&self) -> Result<RetentionView, Problem> {
        let number = |text: &str| {
            let hint = "write a number of days";
            text.trim().parse::<u32>().map_err(|_| Problem::invalid(format!("`{text}` is no number of days"), hint))
        };
        let perhaps = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
        Ok(RetentionView {
            log_days: number(&self.log_days)?,
            audit_days: number(&self.audit_days)?,
            import_days: number(&self.import_days)?,
            lead_days: perhaps(&self.lead_days)?,
            contact_days: perhaps(&self.contact_days)?,
        })
    }
}

/// Whether something is kept for a shorter time than before.
fn is_shorter(to: &RetentionView, from: &RetentionView) -> bool {
    let for_ever = |days: Option<u32>| days.unwrap_or(u32::MAX);
    to.log_days < from.log_days
        || to.audit_days < from.audit_days
        || to.import_days < from.import_days
        || for_ever(to.lead_days) < for_ever(from.lead_days)
        || for_ever(to.contact_days) < for_ever(from.contact_days)
}

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    frame: Frame,
    name: String,
    /// None: it is not for whoever looks.
    days: Option<Days>,
    /// Whether what was typed takes something out, and they are to say that they mean it.
    asks: bool,
    sealing: Vec<SealingKey>,
    primary: String,
    /// Whether an org could not be told of the business's end.
    unreached: bool,
    problem: Option<Problem>,
}

/// What was tried, and why it failed.
#[derive(Default)]
struct Tried {
    name: Option<String>,
    days: Option<Days>,
    asks: bool,
    unreached: bool,
    problem: Option<Problem>,
}

/// The page.
pub(crate) async fn page(visit: Visit) -> Result<Response, Failed> {
    shown(&visit, Tried::default()).await
}

async fn shown(visit: &Visit, tried: Tried) -> Result<Response, Failed> {
    let caller = &visit.caller;
    let is_admin = caller.role >= Role::Admin;
    let days = match tried.days {
        _ if !is_admin => None,
        Some(days) => Some(days),
        None => Some(Days::of(&retention::retention(caller.clone()).await?.0)),
    };
    let status = tried.problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let frame = visit.frame(Place::Settings, "Settings").await?;
    let page = Page {
        name: tried.name.unwrap_or_else(|| frame.business().to_owned()),
        days,
        asks: tried.asks,
        sealing: if is_admin { sealing(visit).await? } else { Vec::new() },
        primary: visit.service.store().primary_key().to_owned(),
        unreached: tried.unreached,
        problem: tried.problem,
        frame,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// The business's data keys. What a data key is of is told by the connection's name.
async fn sealing(visit: &Visit) -> Result<Vec<SealingKey>, Failed> {
    let (tenant, now) = (&visit.caller.tenant, visit.service.now());
    let primary = visit.service.store().primary_key();
    let names: BTreeMap<Uuid, String> = tenant.integrations().await?.into_iter().map(|i| (i.id, i.name)).collect();
    let key = |key: tieline_store::DataKeyUse| SealingKey {
        of: match names.get(&key.owner) {
            Some(name) => format!("the connection {name}"),
            None if key.owner == tenant.business() => "channels, webhooks and erasures".to_owned(),
            None => "a connection that is gone".to_owned(),
        },
        is_current: key.service == primary,
        id: key.id,
        made: ago(key.created_at, now),
        values: key.values,
        service: key.service,
        retired: key.retired,
    };
    Ok(tenant.data_keys().await?.into_iter().map(key).collect())
}

/// Renames the business.
pub(crate) async fn rename(sent: Sent<BusinessChange>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let signed_in = visit.caller.signed_in()?.clone();
    let (service, id) = (State(visit.service.clone()), Path(visit.caller.tenant.business()));
    let name = form.name.clone();
    let address = Address(visit.caller.address.clone());
    match businesses::change_business(service, signed_in, address, id, Body(form)).await {
        Ok(_) => Ok(done("/settings", "renamed")),
        Err(problem) => shown(&visit, Tried { name: Some(name), problem: Some(problem), ..Tried::default() }).await,
    }
}

/// Changes how long things are kept. Where that takes something out, it asks once more.
pub(crate) async fn keep(sent: Sent<Days>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let caller = visit.caller.clone();
    let changed = async {
        let Json(before) = retention::retention(caller.clone()).await?;
        let to = form.read()?;
        to.checked()?;
        if form.sure.is_empty() && is_shorter(&to, &before) {
            return Ok(false);
        }
        retention::change_retention(State(visit.service.clone()), caller, Body(to)).await.map(|_| true)
    };
    let (asks, problem) = match changed.await {
        Ok(true) => return Ok(done("/settings", "saved")),
        Ok(false) => (true, None),
        Err(problem) => (false, Some(problem)),
    };
    shown(&visit, Tried { days: Some(form), asks, problem, ..Tried::default() }).await
}

/// That somebody means the end of the business.
#[derive(Deserialize)]
pub(crate) struct Ended {
    #[serde(default)]
    name: String,
    #[serde(default)]
    anyway: String,
}

/// Ends the business, if its name was typed. They go where they still are somebody.
pub(crate) async fn end(sent: Sent<Ended>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let signed_in = visit.caller.signed_in()?.clone();
    let (service, id) = (State(visit.service.clone()), Path(visit.caller.tenant.business()));
    let address = Address(visit.caller.address.clone());
    let meant = Meant { name: form.name.trim().to_owned(), anyway: !form.anyway.is_empty() };
    match businesses::delete_business(service, signed_in, address, id, Body(meant)).await {
        Ok(_) => Ok(done("/", "ended")),
        Err(problem) => {
            let unreached = problem.code() == "orgs_not_told";
            shown(&visit, Tried { unreached, problem: Some(problem), ..Tried::default() }).await
        }
    }
}
