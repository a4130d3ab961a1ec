//! From when on a condition is told, and to whom.

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use tieline_store::alerts::{AlertChannel, QUIET_SECONDS};
use tieline_store::{Integration, Role, Uuid};

use super::super::Failed;
use super::super::denied::denied;
use super::super::frame::{Frame, Place};
use super::super::visit::{Nothing, Sent, Visit, done};
use super::kinds::{KINDS, Kind, QUIET, from_when, quiet_words};
use crate::alerts::KindName;
use crate::alerts::rules::{self as api, AlertRuleChange, NewAlertRule, RuleView};
use crate::extract::{Body, Path, Query};
use crate::problem::Problem;

const ABOUT: &str = "Rules say of what this business is told, from when on, and by which channels.";

/// A rule in words.
struct Line {
    id: Uuid,
    words: &'static str,
    from: String,
    connection: String,
    quiet: String,
    channels: String,
    enabled: bool,
}

fn connection_words(id: Option<Uuid>, integrations: &[Integration]) -> String {
    let Some(id) = id else { return "all connections".to_owned() };
    let found = integrations.iter().find(|integration| integration.id == id);
    found.map_or_else(|| "a connection that is gone".to_owned(), |integration| integration.name.clone())
}

#[derive(Template)]
#[template(path = "rules.html")]
struct Listed {
    frame: Frame,
    rules: Vec<Line>,
}

/// All of them.
pub(crate) async fn rules(visit: Visit) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(&visit, Place::Alerts, "Alert rules", Role::Admin, ABOUT).await;
    }
    let tenant = &visit.caller.tenant;
    let Json(found) = api::rules(visit.caller.clone()).await?;
    let (channels, integrations) = (tenant.alert_channels().await?, tenant.integrations().await?);
    let line = |rule: RuleView| {
        let kind = Kind::of(&rule.kind);
        let told: Vec<&str> =
            channels.iter().filter(|c| rule.channels.contains(&c.id)).map(|c| c.name.as_str()).collect();
        Line {
            id: rule.id,
            words: kind.map_or("Of a kind that a newer program has made", |kind| kind.words),
            from: kind.map_or_else(String::new, |kind| from_when(kind, kind.number(&rule))),
            connection: connection_words(rule.integration_id, &integrations),
            quiet: quiet_words(rule.quiet_seconds),
            channels: told.join(", "),
            enabled: rule.enabled,
        }
    };
    let rules = found.rules.into_iter().map(line).collect();
    let page = Listed { frame: visit.frame(Place::Alerts, "Alerts").await?, rules };
    Ok(Html(page.render()?).into_response())
}

/// What a form of a rule sends.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    kind: String,
    /// A connection's id; empty: of all.
    #[serde(default)]
    connection: String,
    #[serde(default)]
    number: String,
    #[serde(default)]
    quiet: String,
    #[serde(default)]
    enabled: String,
    #[serde(default)]
    channel: Vec<Uuid>,
}

/// The threshold, where the kind has one, by the fields of the API: failures, percent, days.
type Numbers = (Option<u32>, Option<u32>, Option<u32>);

impl Wanted {
    /// As a form begins.
    fn usual(kind: &Kind) -> Self {
        Self {
            kind: kind.name.to_owned(),
            connection: String::new(),
            number: kind.threshold.as_ref().map(|of| of.usual.to_string()).unwrap_or_default(),
            quiet: QUIET_SECONDS.to_string(),
            enabled: "yes".to_owned(),
            channel: Vec::new(),
        }
    }

    fn of(rule: &RuleView, kind: &Kind) -> Self {
        Self {
            kind: rule.kind.clone(),
            connection: rule.integration_id.map(|id| id.to_string()).unwrap_or_default(),
            number: kind
                .threshold
                .as_ref()
                .map(|of| kind.number(rule).unwrap_or(of.usual).to_string())
                .unwrap_or_default(),
            quiet: rule.quiet_seconds.to_string(),
            enabled: if rule.enabled { "yes".to_owned() } else { String::new() },
            channel: rule.channels.clone(),
        }
    }

    fn numbers(&self, kind: &Kind) -> Result<Numbers, Problem> {
        let Some(threshold) = &kind.threshold else { return Ok((None, None, None)) };
        let number = self.number.trim().parse::<u32>().ok().filter(|n| (1..=threshold.most).contains(n));
        let number = number.ok_or_else(|| {
            let detail = format!("`{}` is no number that this takes", self.number);
            Problem::invalid(detail, format!("write one from 1 to {}", threshold.most))
        })?;
        let only = |of: KindName| (kind.kind == of).then_some(number);
        Ok((only(KindName::SyncFailure), only(KindName::ApiBudget), only(KindName::CertificateExpiry)))
    }

    fn quiet(&self) -> Result<u32, Problem> {
        self.quiet.parse().map_err(|_| Problem::invalid("there is no such quiet time", "choose one of the list"))
    }

    fn integration(&self) -> Result<Option<Uuid>, Problem> {
        match self.connection.as_str() {
            "" => Ok(None),
            id => Uuid::parse_str(id).map(Some).map_err(|_| Problem::not_found("connection")),
        }
    }
}

#[derive(Template)]
#[template(path = "rule.html")]
struct Page {
    frame: Frame,
    /// None: it is a new one.
    id: Option<Uuid>,
    kind: &'static Kind,
    typed: Wanted,
    channels: Vec<AlertChannel>,
    integrations: Vec<Integration>,
    /// Quiet times: seconds, and in words.
    quiet: Vec<(String, String)>,
    connection: String,
    problem: Option<Problem>,
}

impl Page {
    fn kinds(&self) -> impl Iterator<Item = &'static Kind> {
        KINDS.iter()
    }

    fn is_told(&self, id: &Uuid) -> bool {
        self.typed.channel.contains(id)
    }

    fn is_of(&self, id: &Uuid) -> bool {
        self.typed.connection == id.to_string()
    }
}

/// Which kind is to be made.
#[derive(Deserialize)]
pub(crate) struct OfKind {
    #[serde(default)]
    kind: String,
}

/// The form of a new one.
pub(crate) async fn new(visit: Visit, Query(of): Query<OfKind>) -> Result<Response, Failed> {
    let kind = Kind::of(&of.kind).unwrap_or(&KINDS[0]);
    shown(&visit, None, kind, Wanted::usual(kind), None).await
}

/// Makes it.
pub(crate) async fn make(sent: Sent<Wanted>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    let kind = Kind::of(&form.kind).unwrap_or(&KINDS[0]);
    let made = async {
        let (failures, percent, days) = form.numbers(kind)?;
        let new = NewAlertRule {
            kind: kind.kind,
            integration: form.integration()?,
            percent,
            days,
            failures,
            quiet_seconds: Some(form.quiet()?),
            enabled: Some(!form.enabled.is_empty()),
            channels: form.channel.clone(),
        };
        api::create_rule(State(visit.service.clone()), visit.caller.clone(), Body(new)).await
    };
    match made.await {
        Ok(_) => Ok(done("/alerts/rules", "rule_made")),
        Err(problem) => shown(&visit, None, kind, form, Some(problem)).await,
    }
}

/// A rule, by its id.
async fn found(visit: &Visit, id: Uuid) -> Result<(RuleView, &'static Kind), Problem> {
    let rule = visit.caller.tenant.alert_rule(id).await?.ok_or_else(|| Problem::not_found("alert rule"))?;
    let kind = Kind::of(&rule.kind).ok_or_else(|| {
        let hint = "bring this program up to date to change it";
        Problem::conflict("unknown_kind", "a newer program has made this rule", hint)
    })?;
    Ok((rule.into(), kind))
}

/// One of them.
pub(crate) async fn rule(visit: Visit, Path(id): Path<Uuid>) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(&visit, Place::Alerts, "Alert rules", Role::Admin, ABOUT).await;
    }
    let (rule, kind) = found(&visit, id).await?;
    shown(&visit, Some(id), kind, Wanted::of(&rule, kind), None).await
}

async fn shown(
    visit: &Visit,
    id: Option<Uuid>,
    kind: &'static Kind,
    typed: Wanted,
    problem: Option<Problem>,
) -> Result<Response, Failed> {
    if visit.caller.role < Role::Admin {
        return denied(visit, Place::Alerts, "Alert rules", Role::Admin, ABOUT).await;
    }
    let tenant = &visit.caller.tenant;
    let integrations = tenant.integrations().await?;
    let mut quiet = QUIET.to_vec();
    // One that a program has chosen.
    if let Ok(seconds) = typed.quiet.parse::<i64>()
        && !quiet.contains(&seconds)
    {
        quiet.push(seconds);
        quiet.sort_unstable();
    }
    let status = problem.as_ref().map_or(StatusCode::OK, Problem::status);
    let title = if id.is_some() { kind.words } else { "A new rule" };
    let page = Page {
        frame: visit.frame(Place::Alerts, title).await?,
        id,
        kind,
        connection: connection_words(typed.integration().unwrap_or(None), &integrations),
        typed,
        channels: tenant.alert_channels().await?,
        integrations,
        quiet: quiet.into_iter().map(|seconds| (seconds.to_string(), quiet_words(seconds))).collect(),
        problem,
    };
    Ok((status, Html(page.render()?)).into_response())
}

/// Changes it.
pub(crate) async fn change(Path(id): Path<Uuid>, sent: Sent<Wanted>) -> Result<Response, Failed> {
    let Sent { visit, form } = sent;
    if visit.caller.role < Role::Admin {
        return denied(&visit, Place::Alerts, "Alert rules", Role::Admin, ABOUT).await;
    }
    let (rule, kind) = found(&visit, id).await?;
    let changed = async {
        let (failures, percent, days) = form.numbers(kind)?;
        let change = AlertRuleChange {
            percent,
            days,
            failures,
            quiet_seconds: Some(form.quiet()?),
            enabled: Some(!form.enabled.is_empty()),
            channels: Some(form.channel.clone()),
        };
        api::change_rule(State(visit.service.clone()), visit.caller.clone(), Path(id), Body(change)).await
    };
    match changed.await {
        Ok(_) => Ok(done("/alerts/rules", "saved")),
        Err(problem) => {
            // A form of a rule does not send which connection it is of: that does not change.
            let connection = rule.integration_id.map(|id| id.to_string()).unwrap_or_default();
            shown(&visit, Some(id), kind, Wanted { connection, ..form }, Some(problem)).await
        }
    }
}

/// Takes it out.
pub(crate) async fn delete(Path(id): Path<Uuid>, sent: Sent<Nothing>) -> Result<Response, Failed> {
    let Sent { visit, .. } = sent;
    api::delete_rule(State(visit.service.clone()), visit.caller.clone(), Path(id)).await?;
    Ok(done("/alerts/rules", "deleted"))
}
