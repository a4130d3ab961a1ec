//! What is done with a mapping: run, paused, resumed, decided about, deleted. By the API's own functions, all of it.

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use tieline_store::{Role, Uuid};

use super::one::shown;
use crate::extract::{Body, Path, Query};
use crate::mappings::changing::{self, Confirmed};
use crate::mappings::no_mapping;
use crate::mappings::resting::{self, ToPause, ToResume};
use crate::mappings::runs::{self, ToRun};
use crate::pages::Failed;
use crate::pages::visit::{Sent, Visit, done};
use crate::problem::Problem;

/// What a run is to do beside what is due.
#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    what: String,
}

async fn answer(visit: &Visit, id: Uuid, word: &str, done_so: Result<(), Problem>) -> Result<Response, Failed> {
    match done_so {
        Ok(()) => Ok(done(&format!("/mappings/{id}"), word)),
        Err(problem) => shown(visit, id, None, Some(problem)).await,
    }
}

/// Asks for a run.
pub(crate) async fn run(Path(id): Path<Uuid>, sent: Sent<Asked>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let asked = match form.what.as_str() {
        "verify" => ToRun { verify: true, ..ToRun::default() },
        "compare" => ToRun { compare: true, ..ToRun::default() },
        "reload" => ToRun { reload: true, ..ToRun::default() },
        _ => ToRun::default(),
    };
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    let asked = runs::request_run(service, caller, Path(id), Body(asked)).await.map(drop);
    answer(&visit, id, "asked", asked).await
}

/// Why it is paused.
#[derive(Deserialize)]
pub(crate) struct Reason {
    #[serde(default)]
    reason: String,
}

/// Pauses it.
pub(crate) async fn pause(Path(id): Path<Uuid>, sent: Sent<Reason>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let reason = Some(form.reason.trim()).filter(|reason| !reason.is_empty()).map(str::to_owned);
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    let paused = resting::pause_mapping(service, caller, Path(id), Body(ToPause { reason })).await.map(drop);
    answer(&visit, id, "paused", paused).await
}

/// Whether what is gone is gone.
#[derive(Deserialize)]
pub(crate) struct Gone {
    #[serde(default)]
    gone: Option<String>,
}

/// Has it go on; of one that is held, what its next comparison does not find is marked, if somebody says so.
pub(crate) async fn resume(Path(id): Path<Uuid>, sent: Sent<Gone>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let allow_gone = form.gone.as_deref() == Some("yes");
    let (service, caller) = (State(visit.service.clone()), visit.caller.clone());
    let resumed = resting::resume_mapping(service, caller, Path(id), Body(ToResume { allow_gone })).await.map(drop);
    answer(&visit, id, "resumed", resumed).await
}

/// What somebody types to say that they mean it.
#[derive(Deserialize)]
pub(crate) struct Named {
    #[serde(default)]
    name: String,
}

/// Deletes it with its table, if its name was typed.
pub(crate) async fn delete(Path(id): Path<Uuid>, sent: Sent<Named>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let delete = async {
        visit.caller.at_least(Role::Admin)?;
        let mapping = visit.caller.tenant.mapping(id).await?.ok_or_else(no_mapping)?;
        if form.name.trim() != mapping.name {
            let hint = "type the mapping's name as it stands there";
            return Err(Problem::invalid(format!("nothing was deleted: `{}` is not its name", form.name), hint));
        }
        let confirmed = Query(Confirmed { confirm: Some(mapping.name) });
        changing::delete_mapping(State(visit.service.clone()), visit.caller.clone(), Path(id), confirmed).await
    };
    match delete.await {
        Ok(_) => Ok(done("/mappings", "deleted")),
        Err(problem) => shown(&visit, id, None, Some(problem)).await,
    }
}
